//! The HTTP side: routes and limits; who may ask, is `access`'s. It reads the page and health and owns no data; a scrape never causes a vendor
//! request. The caller binds the socket and owns the stop signal, so that the whole program runs in a test on port 0.

mod access;
mod auth;
mod config;
mod connection;
mod hooks;
mod idle;
mod landing;
mod peers;
mod reload;
mod tls;

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::{Frame, SizeHint};
use hyper_util::server::graceful::GracefulShutdown;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
use crate::health::Health;
use crate::page::{self, Page, Representation, View, negotiate};
pub use access::{Access, WebConfigError};
use connection::Guarded;
pub use hooks::{Hooks, Intake, Receipt, serve_hooks};
use idle::Answering;
pub use reload::Reloader;

/// Requests served at once; more are told to come back.
const MAX_REQUESTS: usize = 40;
/// Size of the headers of a request; more is answered with 431.
const HEADER_BYTES: usize = 16 * 1024;
/// Time for open requests to finish once the stop signal came.
const DRAIN_TIME: Duration = Duration::from_secs(4);
/// Pause when no connection can be accepted, as when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// That it fails is told in the log this often.
const TELL_PERIOD: Duration = Duration::from_mins(1);

/// Answered while the process serves.
pub const HEALTHY: &str = "/-/healthy";
/// Answered with 200 once every report was tried.
pub(crate) const READY: &str = "/-/ready";

/// What the routes read.
#[derive(Debug)]
pub struct Site {
    /// The metrics.
    pub page: Arc<Page>,
    /// The exporter's own figures.
    pub health: Health,
    /// Wall time, for ages.
    pub clock: Clock,
    /// Path of the metrics.
    pub telemetry_path: String,
    /// Who reads the configuration again.
    pub reloader: Reloader,
    limit: Arc<Semaphore>,
}

/// What is left of an answer. A request is under way until its answer is sent, or nearly: a scraper that does not read
/// would otherwise cost no permit. It costs no copy of the page: large parts are the page's own.
struct Body {
    rest: page::Body,
    permit: Option<OwnedSemaphorePermit>,
    answering: Option<Answering>,
}

impl Site {
    /// A site over these.
    pub fn new(page: Arc<Page>, health: Health, clock: Clock, telemetry_path: String, reloader: Reloader) -> Self {
        Self { page, health, clock, telemetry_path, reloader, limit: Arc::new(Semaphore::new(MAX_REQUESTS)) }
    }

    async fn answer<B>(&self, request: &Request<B>) -> Response<Body> {
        let path = request.uri().path();
        // Health is always answered, however busy the rest is.
        let health = match path {
            HEALTHY => Some((StatusCode::OK, "healthy\n")),
            READY if self.health.ready() => Some((StatusCode::OK, "ready\n")),
            READY => Some((StatusCode::SERVICE_UNAVAILABLE, "not every report was tried yet\n")),
            _ => None,
        };
        let page = path == "/" || path == "/api/v1/reports" || path == self.telemetry_path;
        if health.is_none() && !page {
            return text(StatusCode::NOT_FOUND, "not found; the metrics are linked from /\n");
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            return not_allowed("GET, HEAD", "only GET and HEAD\n");
        }
        if let Some((status, words)) = health {
            return text(status, words);
        }
        let Ok(permit) = Arc::clone(&self.limit).try_acquire_owned() else {
            return text(StatusCode::SERVICE_UNAVAILABLE, "too many requests at once\n");
        };
        let now = self.clock.now();
        let mut response = if path == self.telemetry_path {
            self.metrics(request.headers()).await
        } else if path == "/" {
            let html = landing::html(&self.health.standings(now), now, &self.telemetry_path);
            respond(StatusCode::OK, "text/html; charset=utf-8", page::Body::whole(html))
        } else {
            let json = landing::json(&self.health.standings(now), now);
            respond(StatusCode::OK, "application/json", page::Body::whole(json))
        };
        response.body_mut().permit = Some(permit);
        response
    }

    async fn reload(&self, method: &Method) -> Response<Body> {
        if method != Method::POST {
            return not_allowed("POST", "only POST\n");
        }
        match self.reloader.reload().await {
            Ok(()) => text(StatusCode::OK, "configuration reloaded\n"),
            Err(error) => respond(
                StatusCode::INTERNAL_SERVER_ERROR,
                "text/plain; charset=utf-8",
                page::Body::whole(format!("configuration not reloaded, the old one goes on: {error}\n")),
            ),
        }
    }

    async fn metrics(&self, headers: &HeaderMap) -> Response<Body> {
        let told = |name| {
            let values: Vec<&str> = headers.get_all(name).iter().filter_map(|value| value.to_str().ok()).collect();
            values.join(",")
        };
        let choice = negotiate::negotiate(&told(header::ACCEPT));
        let gzip = negotiate::accepts_gzip(&told(header::ACCEPT_ENCODING));
        let representation = Representation { format: choice.format, gzip };
        let Some(view) = self.view(representation).await else {
            return text(StatusCode::INTERNAL_SERVER_ERROR, "the page could not be made\n");
        };
        let own = self.health.block_in(representation, view.series);
        let mut response = respond(StatusCode::OK, &choice.content_type(), view.with(&own));
        let headers = response.headers_mut();
        headers.insert(header::VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
        if gzip {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response
    }

    /// The page as it is now. What nobody has asked for of late is made off the event loop.
    async fn view(&self, representation: Representation) -> Option<View> {
        if let Some(view) = self.page.view(representation) {
            return Some(view);
        }
        let page = Arc::clone(&self.page);
        tokio::task::spawn_blocking(move || page.make(representation)).await.ok()
    }
}

/// Serves `site` to whom `access` lets in on `listener` until `stop`, then lets open requests finish.
pub async fn serve(listener: TcpListener, site: Arc<Site>, access: Arc<Access>, stop: CancellationToken) {
    let graceful = GracefulShutdown::new();
    let mut told = None;
    while let Some((stream, _)) = accept(&listener, &mut told, &stop).await {
        let guarded = Guarded { site: Arc::clone(&site), access: Arc::clone(&access) };
        let (access, watcher) = (Arc::clone(&access), graceful.watcher());
        tokio::spawn(connection::serve(stream, guarded, access, watcher, stop.clone()));
    }
    drop(listener);
    let _ = tokio::time::timeout(DRAIN_TIME, graceful.shutdown()).await;
}

/// The next connection, until `stop`. `told` is when the log last said that there was none to be had.
async fn accept(
    listener: &TcpListener,
    told: &mut Option<Instant>,
    stop: &CancellationToken,
) -> Option<(TcpStream, SocketAddr)> {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return None,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok(accepted) => return Some(accepted),
            Err(error) => {
                if told.is_none_or(|told| told.elapsed() >= TELL_PERIOD) {
                    *told = Some(Instant::now());
                    tracing::warn!(%error, "connection not accepted; said once a minute while it goes on");
                }
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

/// What another method than `allowed` is answered.
fn not_allowed(allowed: &'static str, words: &str) -> Response<Body> {
    let mut response = text(StatusCode::METHOD_NOT_ALLOWED, words);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allowed));
    response
}

fn text(status: StatusCode, words: &str) -> Response<Body> {
    respond(status, "text/plain; charset=utf-8", page::Body::whole(words.to_owned()))
}

fn respond(status: StatusCode, content_type: &str, body: page::Body) -> Response<Body> {
    let mut response = Response::new(Body { rest: body, permit: None, answering: None });
    *response.status_mut() = status;
    if let Ok(value) = HeaderValue::from_str(content_type) {
        response.headers_mut().insert(header::CONTENT_TYPE, value);
    }
    response.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

// === impl Body ===

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        Poll::Ready(self.rest.next().map(|piece| Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.length == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.length)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn forty_answers_are_under_way_at_once_and_health_is_always_told() {
        let page = Arc::new(Page::new(0));
        let site = Site::new(page, Health::default(), Clock::system(), "/metrics".to_owned(), Reloader::new().0);
        let ask = async |path: &str| site.answer(&Request::get(path).body(()).unwrap()).await;
        let mut unread = Vec::new();
        for _ in 0..MAX_REQUESTS {
            unread.push(ask("/metrics").await);
        }
        assert!(unread.iter().all(|response| response.status() == 200));
        for path in ["/metrics", "/", "/api/v1/reports"] {
            assert_eq!(ask(path).await.status(), 503, "{path}");
        }
        assert_eq!(
            (ask("/-/healthy").await.status(), ask("/-/ready").await.status()),
            (StatusCode::OK, StatusCode::OK)
        );
        unread.pop();
        assert_eq!(ask("/metrics").await.status(), 200);
    }

    /// Connections whose answers nobody reads.
    #[tokio::test(start_paused = true)]
    async fn who_does_not_read_loses_his_place() {
        use crate::catalogue::Family;
        use crate::page::{Sample, Value};
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

        // More than the machine keeps for a connection.
        let agent = |n: u32| {
            let labels = vec![("agent", format!("{n:06} {}", "x".repeat(400)).into())];
            Sample { family: Family::AgentSignedIn, labels, value: Value::Gauge(1.0), created: None }
        };
        let page = Arc::new(Page::new(1));
        page.publish(0, Arc::new((0..50_000).map(agent).collect::<Vec<_>>()));
        let site = Site::new(page, Health::default(), Clock::system(), "/metrics".to_owned(), Reloader::new().0);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(serve(listener, Arc::new(site), Access::open(), CancellationToken::new()));
        let ask = async || {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
            let mut status = [0; 12];
            stream.read_exact(&mut status).await.unwrap();
            (String::from_utf8_lossy(&status).into_owned(), stream)
        };
        let mut unread = Vec::new();
        for _ in 0..MAX_REQUESTS {
            unread.push(ask().await);
        }
        assert!(unread.iter().all(|(status, _)| status == "HTTP/1.1 200"));
        assert_eq!(ask().await.0, "HTTP/1.1 503");
        tokio::time::sleep(Duration::from_secs(71)).await;
        assert_eq!(ask().await.0, "HTTP/1.1 200");
        serving.abort();
    }
}
