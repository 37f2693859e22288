//! How a request reaches a vendor: reqwest over TCP and TLS, with the account's trust and proxy. What went wrong is told
//! apart here, once, into our own words: an error of reqwest's would print the URL, and an old API's URL holds the key.

use std::error::Error as _;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http::{HeaderMap, header};
use jiff::fmt::rfc2822;
use tokio::sync::OnceCell;
use url::Url;

use super::{Answer, Request};
use crate::config::{AccountSettings, SetupError, Tls};
use crate::failure::{Failure, Reason};

/// No body is read beyond this.
pub const MAX_BODY: usize = 64 << 20;
/// Redirects within the host that are followed.
const MAX_REDIRECTS: usize = 3;

/// Carries requests out and answers back. Tests put a function in its place.
pub trait Transport: Send + Sync {
    /// Does what has to be done once before the first request: it is neither the vendor's time nor the rate's.
    fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(std::future::ready(Ok(())))
    }

    /// Sends once; no retry, no wait, no time limit.
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
    /// The time limit of the connection itself.
    #[error("no complete answer within the timeout")]
    Timeout,
    /// The body ended early, or could not be decompressed.
    #[error("the answer was cut off")]
    Cut,
    /// The body is larger than 64 MiB.
    #[error("the answer is larger than 64 MiB")]
    TooLarge,
    /// Too many redirects.
    #[error("redirect refused")]
    Redirect,
}

impl From<TransportError> for Failure {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Network => Self::new(Reason::Network, "no connection to the vendor"),
            TransportError::Tls => Self::new(
                Reason::Tls,
                "the TLS handshake failed: check tls.ca_file, tls.server_name and the vendor's certificate",
            ),
            TransportError::Timeout => Self::new(Reason::Timeout, "no complete answer within the timeout"),
            TransportError::Cut => Self::malformed("the answer was cut off"),
            TransportError::TooLarge => Self::malformed("the answer is larger than 64 MiB"),
            TransportError::Redirect => Self::new(Reason::Http, "redirect refused"),
        }
    }
}

/// reqwest with one account's trust and proxy.
pub struct Http {
    how: How,
    /// Made for the first request: reading the machine's root certificates takes longer than the rest of the start, once
    /// for each account.
    client: OnceCell<reqwest::Client>,
    /// `tls.server_name` in place of the host of every URL; the resolver knows the true host.
    server_name: Option<String>,
}

/// What a client is made of.
#[derive(Clone)]
struct How {
    timeout: Duration,
    proxy: Option<reqwest::Proxy>,
    certificates: Vec<reqwest::Certificate>,
    skip_verify: bool,
    /// Whether no certificate is ever looked at: requests stay with the host that they were made for.
    plain: bool,
    /// Where every name leads to.
    host: Option<String>,
}

// === impl Http ===

impl Http {
    /// The transport of one account. `at` is the key path for errors, `base` the host that `tls.server_name` stands for.
    pub fn new(settings: &AccountSettings, at: &str, folder: &Path, base: &Url) -> Result<Self, SetupError> {
        let fail = |key: &str, message: String| SetupError { path: format!("{at}.{key}"), message };
        let proxy = match &settings.proxy_url {
            Some(url) => {
                Some(reqwest::Proxy::all(url.0.clone()).map_err(|_| fail("proxy_url", "no usable URL".to_owned()))?)
            }
            None => None,
        };
        let Tls { ca_file, server_name, insecure_skip_verify } = &settings.tls;
        let mut certificates = Vec::new();
        if let Some(path) = ca_file {
            let path = folder.join(path);
            let pem = std::fs::read(&path).map_err(|error| {
                fail("tls.ca_file", format!("cannot read {}: {}", path.display(), crate::config::unreadable(&error)))
            })?;
            certificates = reqwest::Certificate::from_pem_bundle(&pem)
                .ok()
                .filter(|certificates| !certificates.is_empty())
                .ok_or_else(|| fail("tls.ca_file", format!("no PEM certificates in {}", path.display())))?;
        }
        let host =
            server_name.as_ref().map(|_| base.host_str().unwrap_or_default().trim_matches(['[', ']']).to_owned());
        let plain = base.scheme() == "http" && proxy.is_none();
        let how =
            How { timeout: settings.timeout, proxy, certificates, skip_verify: *insecure_skip_verify, plain, host };
        // The operator's own trust is tried at once, so that the start tells what is wrong with it.
        let given = ca_file.is_some() || server_name.is_some() || *insecure_skip_verify;
        let client = given
            .then(|| how.clone().client().map_err(|_| fail("tls", "the TLS settings cannot be used".to_owned())))
            .transpose()?;
        Ok(Self { how, client: OnceCell::new_with(client), server_name: server_name.clone() })
    }

    async fn client(&self) -> Result<&reqwest::Client, TransportError> {
        let made = self.client.get_or_try_init(async || {
            let how = self.how.clone();
            // Off the event loop: it reads files, and many of them.
            tokio::task::spawn_blocking(move || how.client()).await.map_err(|_| ())?.map_err(|_| ())
        });
        made.await.map_err(|()| TransportError::Tls)
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

// === impl How ===

impl How {
    fn client(self) -> reqwest::Result<reqwest::Client> {
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("contact-center-exporter/", env!("CARGO_PKG_VERSION")))
            .http1_only()
            .connect_timeout(self.timeout)
            .pool_idle_timeout(Duration::from_secs(50))
            .referer(false)
            // Only what exporter.yml says: a proxy that an environment variable brings in would see every key.
            .no_proxy()
            .redirect(reqwest::redirect::Policy::custom(|attempt| {
                let same_origin =
                    attempt.previous().first().is_some_and(|first| first.origin() == attempt.url().origin());
                if same_origin && attempt.previous().len() <= MAX_REDIRECTS { attempt.follow() } else { attempt.stop() }
            }));
        if let Some(proxy) = self.proxy {
            builder = builder.proxy(proxy);
        }
        if self.plain {
            // A machine may have none.
            builder = builder.tls_certs_only([]);
        } else if !self.certificates.is_empty() {
            builder = builder.tls_certs_merge(self.certificates);
        }
        if self.skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(host) = self.host {
            builder = builder.dns_resolver(FixedHost(host));
        }
        builder.build()
    }
}

impl Transport for Http {
    fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
        Box::pin(async { self.client().await.map(drop) })
    }

    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let mut url = request.url.clone();
            let mut outgoing = self.client().await?.request(request.method.clone(), {
                if let Some(name) = &self.server_name {
                    url.set_host(Some(name)).map_err(|_| TransportError::Tls)?;
                }
                url
            });
            if self.server_name.is_some()
                && let Some(host) = host_header(&request.url)
            {
                outgoing = outgoing.header(header::HOST, host);
            }
            for (name, value) in &request.headers {
                outgoing = outgoing.header(name, value);
            }
            if !request.body.is_empty() {
                outgoing = outgoing.body(request.body.clone());
            }
            let response = outgoing.send().await.map_err(|error| explain(&error))?;
            let status = response.status().as_u16();
            let retry_after = retry_after(response.headers());
            let body = read_capped(response).await?;
            Ok(Answer { status, retry_after, body })
        })
    }
}

async fn read_capped(response: reqwest::Response) -> Result<Bytes, TransportError> {
    let mut chunks = response.bytes_stream();
    let Some(first) = chunks.next().await else { return Ok(Bytes::new()) };
    let first = first.map_err(|error| cut(&error))?;
    let mut body: Option<BytesMut> = None;
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|error| cut(&error))?;
        let body = body.get_or_insert_with(|| BytesMut::from(&first[..]));
        if body.len() + chunk.len() > MAX_BODY {
            return Err(TransportError::TooLarge);
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body.map_or(first, BytesMut::freeze))
}

fn cut(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() { TransportError::Timeout } else { TransportError::Cut }
}

fn explain(error: &reqwest::Error) -> TransportError {
    if error.is_timeout() {
        return TransportError::Timeout;
    }
    if error.is_redirect() {
        return TransportError::Redirect;
    }
    if error.source().is_some_and(is_tls) { TransportError::Tls } else { TransportError::Network }
}

/// Whether a TLS error is at the bottom. An I/O error does not name what it wraps as its source, and the connector wraps
/// the handshake's I/O error in another one.
fn is_tls(error: &(dyn std::error::Error + 'static)) -> bool {
    let wrapped = error.downcast_ref::<std::io::Error>().and_then(std::io::Error::get_ref);
    error.is::<rustls::Error>() || wrapped.is_some_and(|inner| is_tls(inner)) || error.source().is_some_and(is_tls)
}

fn host_header(url: &Url) -> Option<String> {
    let host = url.host_str()?;
    Some(url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}")))
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

/// Resolves every name to one host: with `tls.server_name` the URL names the certificate, not the machine.
struct FixedHost(String);

impl reqwest::dns::Resolve for FixedHost {
    fn resolve(&self, _name: reqwest::dns::Name) -> reqwest::dns::Resolving {
        let host = self.0.clone();
        Box::pin(async move {
            let found: Vec<SocketAddr> = tokio::net::lookup_host((host.as_str(), 0)).await?.collect();
            Ok(Box::new(found.into_iter()) as reqwest::dns::Addrs)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wait_is_told_in_seconds_or_as_a_date() {
        let date = "Fri, 20 Nov 2026 11:59:30 GMT";
        for (told, date, expected) in [
            ("17", None, Some(17)),
            (" 0 ", None, Some(0)),
            ("Fri, 20 Nov 2026 12:00:00 GMT", Some(date), Some(30)),
            ("Fri, 20 Nov 2026 11:59:00 GMT", Some(date), None),
            ("Fri, 20 Nov 2026 12:00:00 GMT", None, None),
            ("soon", Some(date), None),
            ("-5", Some(date), None),
            ("", Some(date), None),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::RETRY_AFTER, told.parse().unwrap());
            if let Some(date) = date {
                headers.insert(header::DATE, date.parse().unwrap());
            }
            assert_eq!(retry_after(&headers), expected.map(Duration::from_secs), "{told}");
        }
    }
}
