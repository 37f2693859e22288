//! A tiny HTTP server in a vendor's place: it answers whatever a test says, plainly or over TLS, and keeps what it was
//! asked. The simulators are faithful; this one need not be.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use http::{HeaderMap, Method, Response, Uri};
use http_body_util::{BodyExt as _, Either, Full, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_util::task::AbortOnDropHandle;

/// A running server. It stops when dropped.
pub(crate) struct Vendor {
    pub(crate) address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    _task: AbortOnDropHandle<()>,
}

/// A request.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) at: Instant,
    pub(crate) method: Method,
    pub(crate) uri: Uri,
    pub(crate) headers: HeaderMap,
    pub(crate) body: String,
}

/// An answer.
#[derive(Clone)]
pub(crate) struct Reply {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Bytes,
    /// How often the body is sent.
    times: usize,
    delay: Duration,
}

type Answer = Arc<dyn Fn(&Asked) -> Reply + Send + Sync>;
type Body = Either<Full<Bytes>, StreamBody<BoxStream<'static, Result<Frame<Bytes>, Infallible>>>>;

impl Vendor {
    pub(crate) async fn start(answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(None, Arc::new(answer)).await
    }

    pub(crate) async fn start_tls(tls: TlsAcceptor, answer: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        Self::listen(Some(tls), Arc::new(answer)).await
    }

    async fn listen(tls: Option<TlsAcceptor>, answer: Answer) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let log = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                let (tls, answer, log) = (tls.clone(), Arc::clone(&answer), Arc::clone(&log));
                connections.spawn(async move {
                    match tls {
                        None => serve(stream, answer, log).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                serve(stream, answer, log).await;
                            }
                        }
                    }
                });
            }
        });
        Self { address, asked, _task: AbortOnDropHandle::new(task) }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What it was asked so far.
    pub(crate) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, answer: Answer, log: Arc<Mutex<Vec<Asked>>>) {
    let service = service_fn(|request: http::Request<Incoming>| {
        let (answer, log) = (Arc::clone(&answer), Arc::clone(&log));
        async move {
            let (at, (head, body)) = (Instant::now(), request.into_parts());
            let body = String::from_utf8_lossy(&body.collect().await?.to_bytes()).into_owned();
            let asked = Asked { at, method: head.method, uri: head.uri, headers: head.headers, body };
            let reply = answer(&asked);
            log.lock().unwrap().push(asked);
            tokio::time::sleep(reply.delay).await;
            Ok::<_, hyper::Error>(reply.into_response())
        }
    });
    // How a connection ends is the client's business.
    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}

impl Asked {
    pub(crate) fn path(&self) -> &str {
        self.uri.path()
    }

    /// A parameter of the query or of a JSON body.
    pub(crate) fn parameter(&self, name: &str) -> String {
        let query = self.uri.query().unwrap_or_default();
        let in_query = url::form_urlencoded::parse(query.as_bytes()).find(|(key, _)| key == name);
        let in_body = || serde_json::from_str::<serde_json::Value>(&self.body).ok()?[name].as_str().map(str::to_owned);
        in_query.map(|(_, value)| value.into_owned()).or_else(in_body).unwrap_or_default()
    }

    /// Everything of it as one text.
    pub(crate) fn text(&self) -> String {
        format!("{} {} {:?} {}", self.method, self.uri, self.headers, self.body)
    }
}

impl Reply {
    pub(crate) fn new(status: u16, body: impl Into<Bytes>) -> Self {
        Self { status, headers: Vec::new(), body: body.into(), times: 1, delay: Duration::ZERO }
    }

    pub(crate) fn json(body: impl Into<Bytes>) -> Self {
        Self::new(200, body).with("content-type", "application/json")
    }

    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With the body sent so many times over, without a length.
    pub(crate) fn repeated(mut self, times: usize) -> Self {
        self.times = times;
        self
    }

    /// Sent so late.
    pub(crate) fn late(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    fn into_response(self) -> Response<Body> {
        let mut response = Response::builder().status(self.status);
        for (name, value) in self.headers {
            response = response.header(name, value);
        }
        let body = if self.times == 1 {
            Either::Left(Full::new(self.body))
        } else {
            let chunk = self.body;
            let frames = stream::iter(0..self.times).map(move |_| Ok(Frame::data(chunk.clone())));
            Either::Right(StreamBody::new(frames.boxed()))
        };
        response.body(body).unwrap()
    }
}
