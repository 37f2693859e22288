//! The HTTP side that all vendors share: connections, faults, chaos and the log. What an answer says is the vendor's
//! file's business.

use std::io;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt as _};
use http::header::{ALLOW, CONTENT_LENGTH, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt as _, Either, Full, Limited, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::log::{Log, VendorLog};
use super::truth::Rng;
use super::{Fault, FaultCell, Vendor, World};

/// Longest request body; a list of ten thousand user ids fits.
const MOST_BODY: usize = 256 * 1024;
const PAGE: &[u8] = b"<!DOCTYPE html><html><head><title>Gateway</title></head><body><h1>Gateway</h1></body></html>";
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");
const HTML: HeaderValue = HeaderValue::from_static("text/html; charset=utf-8");

/// One vendor's API.
pub(super) trait Api: Send + Sync {
    /// Which of the vendor's APIs is asked, for the log.
    fn name(&self, asked: &Parts) -> &'static str;
    /// The vendor's answer.
    fn answer(&self, asked: &Asked) -> Reply;
    /// The answer when a fault or chaos decides that the vendor refuses.
    fn refuse(&self, asked: &Asked, why: Refusal) -> Reply;
}

/// A request.
pub(super) struct Asked {
    /// Method, URL and headers.
    pub(super) head: Parts,
    /// Body.
    pub(super) body: Bytes,
    /// Requests under way, this one included.
    pub(super) in_flight: usize,
}

/// An answer.
pub(super) struct Reply {
    status: u16,
    kind: HeaderValue,
    allow: Option<&'static str>,
    body: Bytes,
}

/// Why a vendor refuses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The credentials are wrong.
    Credentials,
    /// Too many requests.
    RateLimited,
    /// Something inside is broken.
    Broken,
}

/// One vendor's listener.
pub(super) struct Room {
    vendor: Vendor,
    world: Arc<World>,
    api: Box<dyn Api>,
    pub(super) fault: FaultCell,
    pub(super) log: Log,
}

type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, io::Result<Frame<Bytes>>>>>;

// === impl Asked ===

impl Asked {
    /// A header's value; empty if absent or no text.
    pub(super) fn header(&self, name: &str) -> &str {
        self.head.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }

    /// The parameters in the URL.
    pub(super) fn query(&self) -> Vec<(String, String)> {
        super::form::urlencoded(self.head.uri.query().unwrap_or_default().as_bytes())
    }

    pub(super) fn path(&self) -> &str {
        self.head.uri.path()
    }
}

// === impl Reply ===

impl Reply {
    /// A JSON body.
    pub(super) fn json(status: u16, value: &impl serde::Serialize) -> Self {
        let body = serde_json::to_vec(value).unwrap_or_default();
        Self { status, kind: JSON, allow: None, body: body.into() }
    }

    /// A web page, as a front server sends it.
    pub(super) fn page(status: u16) -> Self {
        Self { status, kind: HTML, allow: None, body: Bytes::from_static(PAGE) }
    }

    /// 405.
    pub(super) fn wrong_method(allow: &'static str) -> Self {
        Self { status: 405, kind: HTML, allow: Some(allow), body: Bytes::new() }
    }

    fn into_response(self, cut: bool) -> Response<Body> {
        let length = self.body.len();
        let body = if cut {
            let half = self.body.slice(..length / 2);
            // The pause lets the half reach the client before the connection breaks.
            let broken = stream::once(async {
                tokio::time::sleep(Duration::from_millis(20)).await;
                Err(io::Error::other("cut"))
            });
            Either::Right(StreamBody::new(stream::iter([Ok(Frame::data(half))]).chain(broken).boxed()))
        } else {
            Either::Left(Full::new(self.body))
        };
        let mut response = Response::new(body);
        *response.status_mut() = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        response.headers_mut().insert(CONTENT_TYPE, self.kind);
        if cut {
            response.headers_mut().insert(CONTENT_LENGTH, length.into());
        }
        if let Some(allow) = self.allow {
            response.headers_mut().insert(ALLOW, HeaderValue::from_static(allow));
        }
        response
    }
}

// === impl Room ===

impl Room {
    pub(super) fn new(vendor: Vendor, world: &Arc<World>, api: impl Api + 'static) -> Arc<Self> {
        let (world, api) = (Arc::clone(world), Box::new(api));
        Arc::new(Self { vendor, world, api, fault: FaultCell::default(), log: Log::new() })
    }

    fn fault(&self) -> Fault {
        *self.fault.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The answer without a connection.
    pub(super) fn answer(&self, request: Request<Bytes>) -> (u16, Bytes) {
        let (head, body) = request.into_parts();
        self.log.note(self.api.name(&head), &head.method, self.shows_secret(&head));
        let asked = Asked { head, body, in_flight: 1 };
        let reply = self.refusal(&asked).unwrap_or_else(|| self.api.answer(&asked));
        (reply.status, reply.body)
    }

    /// What a fault that is an answer says.
    fn refusal(&self, asked: &Asked) -> Option<Reply> {
        match self.fault() {
            Fault::Html => Some(Reply::page(200)),
            Fault::Status(status) => Some(Reply::page(status)),
            Fault::RateLimited => Some(self.api.refuse(asked, Refusal::RateLimited)),
            Fault::WrongCredentials => Some(self.api.refuse(asked, Refusal::Credentials)),
            Fault::None | Fault::Hang | Fault::Down | Fault::CutBody => None,
        }
    }

    /// An error closes the connection without an answer.
    async fn serve(&self, request: Request<Incoming>) -> io::Result<Response<Body>> {
        let under_way = self.log.enter();
        let (head, body) = request.into_parts();
        self.log.note(self.api.name(&head), &head.method, self.shows_secret(&head));
        let body = Limited::new(body, MOST_BODY).collect().await.map_err(io::Error::other)?.to_bytes();
        let asked = Asked { head, body, in_flight: under_way.count };
        if !self.world.options.latency.is_zero() {
            tokio::time::sleep(self.world.options.latency).await;
        }
        match self.fault() {
            Fault::Hang => std::future::pending().await,
            Fault::Down => Err(io::Error::other("down")),
            Fault::CutBody => Ok(self.api.answer(&asked).into_response(true)),
            _ => self.refusal(&asked).map_or_else(|| self.by_chance(&asked), |reply| Ok(reply.into_response(false))),
        }
    }

    /// The true answer, unless chaos has it otherwise.
    fn by_chance(&self, asked: &Asked) -> io::Result<Response<Body>> {
        let options = &self.world.options;
        if options.chaos > 0.0 {
            let mut rng = Rng::of(&[options.seed, 4, self.vendor as u64, self.log.total()]);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a million")]
            if rng.below(1_000_000) < (options.chaos * 1e6) as u64 {
                let reply = match rng.below(6) {
                    0 => return Err(io::Error::other("chaos")),
                    1 => return Ok(self.api.answer(asked).into_response(true)),
                    2 => Reply::page(502),
                    3 => Reply::page(200),
                    4 => self.api.refuse(asked, Refusal::RateLimited),
                    _ => self.api.refuse(asked, Refusal::Broken),
                };
                return Ok(reply.into_response(false));
            }
        }
        Ok(self.api.answer(asked).into_response(false))
    }

    fn shows_secret(&self, head: &Parts) -> bool {
        let Some(text) = head.uri.path_and_query().map(http::uri::PathAndQuery::as_str) else { return false };
        let secrets = [self.world.api_key.as_str(), &self.world.token, ".AgentGateway", "eyJ"];
        secrets.into_iter().any(|secret| text.contains(secret))
    }
}

/// Serves `room` until dropped, and its connections with it.
pub(super) async fn run(listener: TcpListener, room: Arc<Room>) {
    let mut connections = JoinSet::new();
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // Out of file descriptors, most likely; the next try may find one.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        while connections.try_join_next().is_some() {}
        if room.fault() != Fault::Down {
            connections.spawn(connection(stream, Arc::clone(&room)));
        }
    }
}

async fn connection(stream: TcpStream, room: Arc<Room>) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| room.serve(request));
    // How a connection ends is the client's own doing, or a fault's.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

/// The api of paths that the vendor does not know.
pub(super) const UNKNOWN: &str = "unknown";
/// The api of paths that must not be called.
pub(super) const FORBIDDEN: &str = VendorLog::FORBIDDEN;
