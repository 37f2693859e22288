//! How a request reaches a vendor: hyper over the account's own connections. Compression and the size of an answer are
//! settled here, and what went wrong is told apart here, once, into our own words: another's error might print the URL,
//! and an old API's URL holds the key. A redirect is an answer like any other: following it would carry the credentials
//! on, in a request that no budget knows of.

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use flate2::write::MultiGzDecoder;
use futures_util::future::BoxFuture;
use http::{HeaderMap, HeaderValue, Uri, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use jiff::fmt::rfc2822;
use rustls::AlertDescription;
use tokio::io::AsyncReadExt as _;
use tokio::sync::OnceCell;
use tower_service::Service as _;
use url::Url;

use super::connector::{Connector, Trust, Way};
use super::{Answer, Request};
use crate::failure::{Failure, Reason};
use crate::settings::{AccountSettings, SetupError};

/// No body is read beyond this.
pub const MAX_BODY: usize = 64 << 20;
/// A connection is kept for this long: shorter than most servers do, so that a request does not meet a closing one.
const IDLE: Duration = Duration::from_secs(50);
const USER_AGENT: HeaderValue =
    HeaderValue::from_static(concat!("contact-center-exporter/", env!("CARGO_PKG_VERSION")));
const ANYTHING: HeaderValue = HeaderValue::from_static("*/*");
const GZIP: HeaderValue = HeaderValue::from_static("gzip");

/// Carries requests out and answers back. Tests put a function in its place.
pub trait Transport: Send + Sync {
    /// Does what has to be done once before the first request: it is neither the vendor's time nor the rate's.
    fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends once; no retry, no redirect, no wait, no time limit.
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>>;
}

/// Why no whole answer came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// No connection, or it broke before the answer began.
    #[error("no connection to the vendor")]
    Network,
    /// Certificate or handshake.
    #[error("the TLS handshake failed: check tls.ca_file, tls.server_name and the vendor's certificate")]
    Tls,
    /// The body ended early, or could not be decompressed.
    #[error("the answer was cut off")]
    Cut,
    /// The body is larger than 64 MiB.
    #[error("the answer is larger than 64 MiB")]
    TooLarge,
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Network => Self::new(
                Reason::Network,
                "no connection to the vendor: check base_url, proxy_url, name resolution and the firewall",
            ),
            TransportError::Tls => Self::new(
                Reason::Tls,
                "the TLS handshake failed: check tls.ca_file, tls.server_name, the vendor's certificate and this machine's clock",
            ),
            TransportError::Cut => Self::malformed("the answer was cut off"),
            TransportError::TooLarge => Self::malformed("the answer is larger than 64 MiB"),
        }
    }
}

/// One account's connections.
pub struct Http {
    way: Way,
    trust: Trust,
    /// Made for the first request: reading the machine's root certificates takes longer than the rest of the start.
    client: OnceCell<Client>,
}

type Client = legacy::Client<Connector, Full<Bytes>>;

/// A body that is being unpacked, up to the limit.
struct Capped(Vec<u8>);

// === impl Http ===

impl Http {
    /// The transport of one account. `at` is the key path for errors, `base` the only origin that will be asked.
    pub fn new(settings: &AccountSettings, at: &str, folder: &Path, base: &Url) -> Result<Self, SetupError> {
        let fail = |key, message| SetupError { path: format!("{at}.{key}"), message };
        let way = Way::new(settings).map_err(|message| fail("proxy_url", message))?;
        let needed = base.scheme() == "https" || way.is_tls();
        let trust = Trust::new(&settings.tls, folder, needed).map_err(|(key, message)| fail(key, message))?;
        // The operator's own trust is tried at once, so that the start tells what is wrong with it.
        let client = trust.is_own().then(|| client(&way, &trust)).transpose();
        let client = client.map_err(|_| fail("tls", "the TLS settings cannot be used".to_owned()))?;
        Ok(Self { way, trust, client: OnceCell::new_with(client) })
    }

    /// Whether `url` is where TLS is spoken with those only who show a certificate. The refusal comes when the handshake is
    /// over on this side, so it is waited for: a request that crosses it would take it along.
    pub async fn wants_certificate(&self, url: &Url) -> bool {
        let (Ok(mut connector), Ok(uri)) = (self.way.connector(&self.trust), url.as_str().parse()) else {
            return false;
        };
        let refusal = match connector.call(uri).await {
            Ok(stream) => TokioIo::new(stream).read_u8().await.err().map(Into::into),
            Err(error) => Some(error),
        };
        let wanted = rustls::Error::AlertReceived(AlertDescription::CertificateRequired);
        refusal.is_some_and(|error| tls_error(&*error) == Some(&wanted))
    }

    async fn client(&self) -> Result<&Client, TransportError> {
        let made = self.client.get_or_try_init(async || {
            let (way, trust) = (self.way.clone(), self.trust.clone());
            // Off the event loop: it reads files, and many of them.
            let made = tokio::task::spawn_blocking(move || client(&way, &trust)).await;
            made.ok().and_then(Result::ok).ok_or(TransportError::Tls)
        });
        made.await
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

impl Transport for Http {
    fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async { self.client().await.map(drop) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let Request { method, url, headers, body } = request;
            let uri = Uri::try_from(url.as_str()).map_err(|_| TransportError::Network)?;
            let mut outgoing = http::Request::new(Full::new(body.clone()));
            *outgoing.method_mut() = method.clone();
            let sent = outgoing.headers_mut();
            sent.reserve(headers.len() + 5);
            sent.insert(header::USER_AGENT, USER_AGENT);
            sent.insert(header::ACCEPT, ANYTHING);
            sent.insert(header::ACCEPT_ENCODING, GZIP);
            if let Some(authorization) = self.way.authorization(&uri) {
                sent.insert(header::PROXY_AUTHORIZATION, authorization.clone());
            }
            for (name, value) in headers {
                sent.append(name, value.clone());
            }
            *outgoing.uri_mut() = uri;
            let response = self.client().await?.request(outgoing).await.map_err(|error| explain(&error))?;
            let status = response.status().as_u16();
            let retry_after = retry_after(response.headers());
            let body = read_capped(response).await?;
            Ok(Answer { status, retry_after, body })
        })
    }
}

fn client(way: &Way, trust: &Trust) -> Result<Client, rustls::Error> {
    let connector = way.connector(trust)?;
    let mut builder = legacy::Client::builder(TokioExecutor::new());
    builder.pool_timer(TokioTimer::new()).pool_idle_timeout(IDLE);
    Ok(builder.build(connector))
}

// === bodies ===

async fn read_capped(response: http::Response<Incoming>) -> Result<Bytes, TransportError> {
    let packed = is_gzip(response.headers());
    let mut frames = response.into_body();
    let mut first = None;
    let mut whole = BytesMut::new();
    let mut unpacked = packed.then(|| MultiGzDecoder::new(Capped(Vec::new())));
    let mut any = false;
    while let Some(frame) = frames.frame().await {
        let Ok(chunk) = frame.map_err(|_| TransportError::Cut)?.into_data() else { continue };
        any |= !chunk.is_empty();
        if let Some(unpacked) = &mut unpacked {
            unpacked.write_all(&chunk).map_err(|error| too_large_or_cut(&error))?;
        } else if first.is_none() && whole.is_empty() {
            // Most answers are one piece, which needs no copy.
            first = Some(chunk);
        } else {
            whole.extend_from_slice(&first.take().unwrap_or_default());
            whole.extend_from_slice(&chunk);
            if whole.len() > MAX_BODY {
                return Err(TransportError::TooLarge);
            }
        }
    }
    match unpacked {
        Some(unpacked) if any => unpacked.finish().map(|body| body.0.into()).map_err(|error| too_large_or_cut(&error)),
        Some(_) => Ok(Bytes::new()),
        None => Ok(first.unwrap_or_else(|| whole.freeze())),
    }
}

fn is_gzip(headers: &HeaderMap) -> bool {
    let encoding = headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    ["gzip", "x-gzip"].iter().any(|name| encoding.trim().eq_ignore_ascii_case(name))
}

impl std::io::Write for Capped {
    fn write(&mut self, piece: &[u8]) -> std::io::Result<usize> {
        if self.0.len() + piece.len() > MAX_BODY {
            return Err(std::io::ErrorKind::FileTooLarge.into());
        }
        self.0.extend_from_slice(piece);
        Ok(piece.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn too_large_or_cut(error: &std::io::Error) -> TransportError {
    if error.kind() == std::io::ErrorKind::FileTooLarge { TransportError::TooLarge } else { TransportError::Cut }
}

// === errors ===

fn explain(error: &legacy::Error) -> TransportError {
    if tls_error(error).is_some() { TransportError::Tls } else { TransportError::Network }
}

/// The TLS error at the bottom, if there is one. An I/O error does not name what it wraps as its source, and the connector
/// wraps the handshake's I/O error in another one.
fn tls_error<'a>(error: &'a (dyn std::error::Error + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    let below = || wrapped.and_then(|inner| tls_error(inner)).or_else(|| error.source().and_then(tls_error));
    error.downcast_ref().or_else(below)
}

/// `Retry-After`, in seconds or as a date. A date is meant by the vendor's clock, which the answer's own `Date` tells.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name| headers.get(name)?.to_str().ok().map(str::trim);
    let told = text(header::RETRY_AFTER)?;
    if let Ok(seconds) = told.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let moment = |text| rfc2822::parse(text).ok();
    moment(told)?.duration_since(&moment(text(header::DATE)?)?).try_into().ok()
}
