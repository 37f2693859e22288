//! The listener that vendors call back on, and that serves nothing else: its route, its limits and its answers. What a body says,
//! and whether it is accepted, the [`Intake`] decides. Whoever floods it with wrong keys waits behind himself: connections and
//! requests are counted per address, before a body is read, and only a key that is right gets as far as the disk.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper_util::server::graceful::GracefulShutdown;
use percent_encoding::percent_decode_str;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::connection::{self, Respond};
use super::peers::{Pace, Seats, peer};
use super::{Body, DRAIN_TIME, MAX_REQUESTS, accept, not_allowed, text};

/// The one route, before the account.
const ROUTE: &str = "/hooks/ozonetel/";
/// Size of a body.
const BODY_BYTES: usize = 64 * 1024;
/// So much of a larger one is read all the same: who still sends would not read the answer.
const DRAIN_BYTES: usize = 1024 * 1024;
/// Time for a body to arrive.
const BODY_TIME: Duration = Duration::from_secs(10);
/// Time for a call to be stored, and before that to wait for others.
const STORE_TIME: Duration = Duration::from_secs(10);
/// Connections of all addresses: half of the file descriptors that a process usually has.
const MAX_CONNECTIONS: usize = 512;
/// Connections of one address.
const MAX_OF_ONE: usize = 256;
/// A token per address comes this often: refusing all of them costs a few percent of a processor.
const TOKEN_PERIOD: Duration = Duration::from_micros(2500);
const TOKENS: u32 = 100;
/// Who would wait any longer for a token is told to come back. Of 200 connections that send without a pause, each has its turn.
const PATIENCE: Duration = Duration::from_millis(500);
/// Refusals are told in the log this often.
const TELL_PERIOD: Duration = Duration::from_mins(1);

/// What became of a callback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Receipt {
    /// What it tells of is on disk.
    Stored,
    /// It cannot be read.
    Unreadable,
    /// There is no such account, or its key is another one.
    Refused,
    /// It could not be stored.
    Failed,
}

/// Who takes callbacks in.
pub trait Intake: Send + Sync {
    /// Takes in a callback to `account`. A refusal costs the same work whether there is such an account or not.
    fn take(&self, account: String, body: Bytes) -> BoxFuture<'static, Receipt>;
}

/// What the route needs.
pub struct Hooks {
    intake: Box<dyn Intake>,
    pace: Pace,
    /// Callbacks that are being stored.
    places: Arc<Semaphore>,
    told: Mutex<Option<Instant>>,
}

/// One peer's way to the route.
#[derive(Clone)]
struct Caller {
    hooks: Arc<Hooks>,
    peer: IpAddr,
}

/// Serves `hooks` on `listener` until `stop`, with the TLS of `access`, but not with its passwords.
pub async fn serve_hooks(listener: TcpListener, hooks: Arc<Hooks>, access: Arc<Access>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let seats = Seats::new(MAX_CONNECTIONS, MAX_OF_ONE);
    let mut told = None;
    while let Some((stream, address)) = accept(&listener, &mut told, &stop).await {
        let caller = Caller { hooks: Arc::clone(&hooks), peer: peer(address.ip()) };
        let Some(seat) = seats.take(caller.peer) else { continue };
        let connection = connection::serve(stream, caller, Arc::clone(&access), graceful.watcher(), stop.clone());
        tokio::spawn(async move {
            connection.await;
            drop(seat);
        });
    }
    drop(listener);
    let _ = timeout(DRAIN_TIME, graceful.shutdown()).await;
}

/// The account that a path names.
fn account(path: &str) -> Option<String> {
    let name = path.strip_prefix(ROUTE).filter(|name| !name.is_empty() && !name.contains('/'))?;
    percent_decode_str(name).decode_utf8().ok().map(Into::into)
}

/// A whole body, or the answer to one that is none.
async fn read<B>(mut body: B) -> Result<Bytes, (StatusCode, &'static str)>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let (mut read, mut kept) = (0, BytesMut::new());
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| (StatusCode::BAD_REQUEST, "the body is cut off\n"))?;
        let Ok(data) = frame.into_data() else { continue };
        read += data.len();
        if read > DRAIN_BYTES {
            break;
        }
        if read <= BODY_BYTES {
            kept.extend_from_slice(&data);
        }
    }
    if read > BODY_BYTES {
        return Err((StatusCode::PAYLOAD_TOO_LARGE, "the body is larger than 64 KiB\n"));
    }
    Ok(kept.freeze())
}

// === impl Hooks ===

impl Hooks {
    /// Hands everything to `intake`.
    pub fn new(intake: Box<dyn Intake>) -> Arc<Self> {
        let pace = Pace::new(TOKEN_PERIOD, TOKENS, PATIENCE);
        Arc::new(Self { intake, pace, places: Arc::new(Semaphore::new(MAX_REQUESTS)), told: Mutex::default() })
    }

    async fn answer(&self, peer: IpAddr, request: Request<Incoming>) -> Response<Body> {
        let Some(account) = account(request.uri().path()) else { return text(StatusCode::NOT_FOUND, "not found\n") };
        if request.method() != Method::POST {
            return not_allowed("POST", "only POST\n");
        }
        match self.pace.take(peer) {
            Ok(wait) => tokio::time::sleep(wait).await,
            Err(wait) => {
                let mut response = text(StatusCode::TOO_MANY_REQUESTS, "more callbacks than the rate limit allows\n");
                let seconds = HeaderValue::from(wait.as_secs() + 1);
                response.headers_mut().insert(header::RETRY_AFTER, seconds);
                return response;
            }
        }
        let body = match timeout(BODY_TIME, read(request.into_body())).await {
            Ok(Ok(body)) => body,
            Ok(Err((status, words))) => return text(status, words),
            Err(_) => return text(StatusCode::REQUEST_TIMEOUT, "the body takes too long\n"),
        };
        match self.take(account, body).await {
            Receipt::Stored => text(StatusCode::OK, "stored\n"),
            Receipt::Unreadable => {
                self.tell("it cannot be read");
                text(StatusCode::BAD_REQUEST, "expected a form with the field data, and JSON with monitorUCID in it\n")
            }
            Receipt::Refused => {
                self.tell("wrong or missing Apikey, or no such account with callback: true");
                text(StatusCode::UNAUTHORIZED, "no such account, or not its key\n")
            }
            Receipt::Failed => text(StatusCode::SERVICE_UNAVAILABLE, "not stored; send it again\n"),
        }
    }

    /// A caller that goes away must not take a transaction along: on a disk that hangs, each would leave a thread behind.
    async fn take(&self, account: String, body: Bytes) -> Receipt {
        let Ok(Ok(place)) = timeout(STORE_TIME, Arc::clone(&self.places).acquire_owned()).await else {
            return Receipt::Failed;
        };
        let taking = self.intake.take(account, body);
        let taking = tokio::spawn(async move {
            let receipt = taking.await;
            drop(place);
            receipt
        });
        timeout(STORE_TIME, taking).await.ok().and_then(Result::ok).unwrap_or(Receipt::Failed)
    }

    /// Says why, now and then, and never who: an account's name may be anything that somebody tried.
    fn tell(&self, why: &str) {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        if told.is_none_or(|told| told.elapsed() >= TELL_PERIOD) {
            *told = Some(Instant::now());
            tracing::warn!(why, "a callback was refused; more within a minute are not told");
        }
    }
}

impl std::fmt::Debug for Hooks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Hooks")
    }
}

// === impl Caller ===

impl Respond for Caller {
    /// Every body may take its 64 KiB.
    const STREAMS: usize = 1;

    async fn respond(self, request: Request<Incoming>) -> Response<Body> {
        self.hooks.answer(self.peer, request).await
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::Full;

    use super::*;

    #[test]
    fn one_route_and_every_name() {
        for (path, expected) in [
            ("/hooks/ozonetel/support-in", Some("support-in")),
            ("/hooks/ozonetel/ventas%20co%2Fn%C3%B3", Some("ventas co/nó")),
            ("/hooks/ozonetel/", None),
            ("/hooks/ozonetel", None),
            ("/hooks/ozonetel/a/b", None),
            ("/hooks/wolkvox/a", None),
            ("/hooks/ozonetel/%ff", None),
            ("//hooks/ozonetel/a", None),
            ("/metrics", None),
        ] {
            assert_eq!(account(path).as_deref(), expected, "{path}");
        }
    }

    #[tokio::test]
    async fn a_body_has_64_kib() {
        let body = |bytes: usize| Full::new(Bytes::from(vec![b'x'; bytes]));
        assert_eq!(read(body(BODY_BYTES)).await.map(|body| body.len()), Ok(BODY_BYTES));
        for bytes in [BODY_BYTES + 1, DRAIN_BYTES + 1] {
            assert_eq!(read(body(bytes)).await.unwrap_err().0, StatusCode::PAYLOAD_TOO_LARGE);
        }
    }
}
