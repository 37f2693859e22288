//! One connection from its first byte to its last: the handshake, the protocol that was agreed on, and how long it may take.
//! Nobody else waits for it.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::graceful::{GracefulConnection, Watcher};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

use super::access::Access;
use super::idle::{Activity, Answering, Watched};
use super::{Body, HEADER_BYTES, MAX_REQUESTS, Site, text};
use crate::page;

/// Time for a handshake.
const HANDSHAKE_TIME: Duration = Duration::from_secs(10);

/// What answers the requests of a connection.
pub(super) trait Respond: Clone + Send + Sync + 'static {
    /// Requests that one HTTP/2 connection may make at once.
    const STREAMS: usize;

    fn respond(self, request: Request<Incoming>) -> impl Future<Output = Response<Body>> + Send;
}

/// The site, for whom `access` lets in.
#[derive(Clone)]
pub(super) struct Guarded {
    pub(super) site: Arc<Site>,
    pub(super) access: Arc<Access>,
}

/// Has `respond` answer over `stream` until either side has enough.
pub(super) async fn serve(
    stream: TcpStream,
    respond: impl Respond,
    access: Arc<Access>,
    watcher: Watcher,
    stop: CancellationToken,
) {
    // A page goes out in one piece: waiting to fill a packet only delays it.
    let _ = stream.set_nodelay(true);
    let Some(acceptor) = access.acceptor().await else {
        return http1(stream, respond, access, watcher).await;
    };
    let handshake = tokio::select! {
        // Nothing was asked yet that could be finished.
        () = stop.cancelled() => return,
        handshake = tokio::time::timeout(HANDSHAKE_TIME, acceptor.accept(stream)) => handshake,
    };
    match handshake {
        Ok(Ok(stream)) if stream.get_ref().1.alpn_protocol() == Some(b"h2") => {
            http2(stream, respond, access, watcher).await;
        }
        Ok(Ok(stream)) => http1(stream, respond, access, watcher).await,
        Ok(Err(error)) => tracing::debug!(%error, "handshake failed"),
        Err(_) => tracing::debug!("handshake took too long"),
    }
}

async fn http1<S, R>(stream: S, respond: R, access: Arc<Access>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Respond,
{
    let activity = Activity::new();
    let io = TokioIo::new(Watched::new(stream, activity.clone()));
    let noted = activity.clone();
    let service = service_fn(move |request| answer(respond.clone(), Arc::clone(&access), request, noted.answer()));
    let connection = hyper::server::conn::http1::Builder::new()
        .header_read_timeout(None)
        .max_buf_size(HEADER_BYTES)
        // The size of the head itself: the limit of the buffer is one of what it may grow to.
        .max_header_size(HEADER_BYTES)
        .serve_connection(io, service);
    run(connection, activity, watcher).await;
}

/// Bytes tell nothing here, as the protocol has a life of its own: only requests and answers count.
async fn http2<S, R>(stream: S, respond: R, access: Arc<Access>, watcher: Watcher)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    R: Respond,
{
    let activity = Activity::new();
    let noted = activity.clone();
    let service = service_fn(move |request| answer(respond.clone(), Arc::clone(&access), request, noted.answer()));
    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(u32::try_from(R::STREAMS).ok())
        .max_header_list_size(u32::try_from(HEADER_BYTES).unwrap_or(u32::MAX))
        .serve_connection(TokioIo::new(stream), service);
    run(connection, activity, watcher).await;
}

async fn run<C>(connection: C, activity: Activity, watcher: Watcher)
where
    C: GracefulConnection<Error = hyper::Error>,
{
    tokio::select! {
        ended = watcher.watch(connection) => if let Err(error) = ended {
            tracing::debug!(%error, "connection ended early");
        },
        () = activity.expired() => {}
    }
}

async fn answer(
    respond: impl Respond,
    access: Arc<Access>,
    request: Request<Incoming>,
    answering: Answering,
) -> Result<Response<Body>, Infallible> {
    let head = request.method() == Method::HEAD;
    let mut response = respond.respond(request).await;
    access.dress(response.headers_mut());
    if head {
        // Over HTTP/2 nobody else leaves the body away.
        let body = std::mem::replace(&mut response.body_mut().rest, page::Body::whole(Bytes::new()));
        response.headers_mut().insert(header::CONTENT_LENGTH, body.length.into());
    }
    response.body_mut().answering = Some(answering);
    Ok(response)
}

impl Respond for Guarded {
    const STREAMS: usize = MAX_REQUESTS;

    async fn respond(self, request: Request<Incoming>) -> Response<Body> {
        let path = request.uri().path();
        match self.access.refuse(path, request.headers()).await {
            Some((status, words)) => {
                let mut response = text(status, words);
                if status == StatusCode::UNAUTHORIZED {
                    let realm = HeaderValue::from_static("Basic realm=\"contact-center-exporter\", charset=\"UTF-8\"");
                    response.headers_mut().insert(header::WWW_AUTHENTICATE, realm);
                }
                response
            }
            None if path == "/-/reload" => self.site.reload(request.method()).await,
            None => self.site.answer(&request).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{BodyExt as _, Empty};
    use hyper::client::conn::http2::SendRequest;
    use hyper_util::server::graceful::GracefulShutdown;
    use tokio::task::JoinHandle;

    use super::*;
    use crate::catalogue::Family;
    use crate::clock::Clock;
    use crate::health::Health;
    use crate::page::{Page, Sample, Value};
    use crate::web::Reloader;

    /// A connection to `site`, and the task that serves it.
    async fn connected(site: &Arc<Site>, graceful: &GracefulShutdown) -> (SendRequest<Empty<Bytes>>, JoinHandle<()>) {
        let (client, server) = tokio::io::duplex(64 * 1024);
        let serving = {
            let guarded = Guarded { site: Arc::clone(site), access: Access::open() };
            tokio::spawn(http2(server, guarded, Access::open(), graceful.watcher()))
        };
        let handshake = hyper::client::conn::http2::Builder::new(TokioExecutor::new())
            .initial_stream_window_size(65_535)
            .handshake(TokioIo::new(client));
        let (sender, connection) = handshake.await.unwrap();
        tokio::spawn(connection);
        (sender, serving)
    }

    async fn ask(sender: &mut SendRequest<Empty<Bytes>>) -> Response<Incoming> {
        sender.ready().await.unwrap();
        sender.send_request(Request::get("http://x/metrics").body(Empty::new()).unwrap()).await.unwrap()
    }

    /// More than a client takes without reading.
    fn site() -> Arc<Site> {
        let agent = |n: u32| {
            let labels = vec![("agent", format!("{n:06} {}", "x".repeat(200)).into())];
            Sample { family: Family::AgentSignedIn, labels, value: Value::Gauge(1.0), created: None }
        };
        let page = Arc::new(Page::new(1));
        page.publish(0, Arc::new((0..1000).map(agent).collect::<Vec<_>>()));
        Arc::new(Site::new(page, Health::default(), Clock::system(), "/metrics".to_owned(), Reloader::new().0))
    }

    /// HTTP/2 takes a part of a page whole, read or not, and the last part is small: it is the exporter's own figures.
    #[tokio::test(start_paused = true)]
    async fn answers_that_nobody_reads_hold_their_places_for_a_minute() {
        let (site, graceful) = (site(), GracefulShutdown::new());
        let (mut idle, serving) = connected(&site, &graceful).await;
        let (mut other, _) = connected(&site, &graceful).await;
        let mut unread = Vec::new();
        for _ in 0..MAX_REQUESTS {
            unread.push(ask(&mut idle).await);
        }
        assert!(unread.iter().all(|answer| answer.status() == 200));
        assert_eq!(ask(&mut other).await.status(), 503);
        // Whoever reads gets all of it, and makes room.
        let read = unread.pop().unwrap().into_body().collect().await.unwrap().to_bytes();
        assert!(read.len() > 200_000 && read.ends_with(b"\n"), "{}", read.len());
        assert_eq!(ask(&mut other).await.status(), 200);
        tokio::time::timeout(Duration::from_secs(75), serving).await.expect("it is cut off").unwrap();
        let (mut other, _) = connected(&site, &graceful).await;
        assert_eq!(ask(&mut other).await.status(), 200);
    }
}
