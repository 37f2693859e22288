//! How a connection comes about: TCP to the vendor or to the account's proxy, a tunnel through that, and TLS with the
//! account's trust. Only exporter.yml decides: a proxy that an environment variable brings in would see every key.

use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::{fmt, io};

use futures_util::future::BoxFuture;
use http::{HeaderValue, Uri};
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_rustls::{DefaultServerNameResolver, FixedServerNameResolver, HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::proxy::Tunnel;
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::client::proxy::matcher::{Intercept, Matcher};
use hyper_util::rt::TokioIo;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use rustls_platform_verifier::Verifier;
use tokio::net::TcpStream;
use tower_service::Service;

use crate::settings::{AccountSettings, Tls};

/// Connects to what a URL names, with TLS where its scheme says so.
pub(super) type Connector = HttpsConnector<Road>;

type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Straight to the vendor, or through the account's proxy.
#[derive(Clone)]
pub(super) struct Way {
    timeout: std::time::Duration,
    proxy: Option<Intercept>,
}

/// Whom an account trusts.
#[derive(Clone)]
pub(super) struct Trust {
    /// Whether any connection will be encrypted.
    needed: bool,
    /// Beside the machine's own.
    authorities: Vec<CertificateDer<'static>>,
    /// The name on the certificate, in place of the URL's host.
    name: Option<ServerName<'static>>,
    anybody: bool,
}

/// Everything below the TLS that a URL asks for.
#[derive(Clone)]
pub(super) struct Road {
    tcp: HttpConnector,
    proxy: Option<Arc<Proxy>>,
}

/// The proxy's own connection may be encrypted too.
struct Proxy {
    how: Intercept,
    connector: HttpsConnector<HttpConnector>,
}

/// A connection that knows whether its requests have to name the host.
pub(super) struct Stream {
    io: MaybeHttpsStream<TokioIo<TcpStream>>,
    proxied: bool,
}

// === impl Way ===

impl Way {
    pub(super) fn new(settings: &AccountSettings) -> Result<Self, String> {
        let proxy = match &settings.proxy_url {
            Some(url) => {
                let matcher = Matcher::builder().all(url.0.as_str()).build();
                let any = Uri::from_static("http://vendor");
                Some(matcher.intercept(&any).ok_or_else(|| "no usable URL".to_owned())?)
            }
            None => None,
        };
        Ok(Self { timeout: settings.timeout, proxy })
    }

    /// Whether the proxy is spoken to in TLS.
    pub(super) fn is_tls(&self) -> bool {
        self.proxy.as_ref().is_some_and(|proxy| proxy.uri().scheme_str() == Some("https"))
    }

    /// What the proxy wants to see on requests that are not tunnelled.
    pub(super) fn authorization(&self, target: &Uri) -> Option<&HeaderValue> {
        self.proxy.as_ref().filter(|_| target.scheme_str() == Some("http"))?.basic_auth()
    }

    pub(super) fn connector(&self, trust: &Trust) -> Result<Connector, rustls::Error> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(self.timeout));
        let tls = Arc::new(trust.tls()?);
        let proxy = self.proxy.clone().map(|how| {
            let resolver = Arc::new(DefaultServerNameResolver::default());
            Arc::new(Proxy { how, connector: HttpsConnector::new(tcp.clone(), Arc::clone(&tls), false, resolver) })
        });
        let road = Road { tcp, proxy };
        Ok(match &trust.name {
            Some(name) => HttpsConnector::new(road, tls, false, Arc::new(FixedServerNameResolver::new(name.clone()))),
            None => HttpsConnector::new(road, tls, false, Arc::new(DefaultServerNameResolver::default())),
        })
    }
}

// === impl Trust ===

impl Trust {
    /// Reads what the operator gives. `needed` says whether anything will be encrypted. An error names its key.
    pub(super) fn new(tls: &Tls, folder: &Path, needed: bool) -> Result<Self, (&'static str, String)> {
        let mut authorities = Vec::new();
        if let Some(path) = &tls.ca_file {
            let path = folder.join(path);
            let fail = |message: String| ("tls.ca_file", message);
            let pem = std::fs::read(&path).map_err(|error| {
                fail(format!("cannot read {}: {}", path.display(), crate::settings::unreadable(&error)))
            })?;
            let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
            authorities = read.unwrap_or_default();
            if authorities.is_empty() {
                return Err(fail(format!("no PEM certificates in {}", path.display())));
            }
        }
        let name = tls.server_name.clone().map(ServerName::try_from).transpose();
        let name = name.map_err(|_| ("tls.server_name", "no usable name".to_owned()))?;
        Ok(Self { needed, authorities, name, anybody: tls.insecure_skip_verify })
    }

    /// Whether it is other than the machine's.
    pub(super) fn is_own(&self) -> bool {
        self.anybody || self.name.is_some() || !self.authorities.is_empty()
    }

    fn tls(&self) -> Result<ClientConfig, rustls::Error> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder =
            ClientConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
        let mut config = if self.anybody {
            let verifier = Arc::new(Anybody(provider));
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else if self.needed || self.is_own() {
            let verifier = Arc::new(Verifier::new_with_extra_roots(self.authorities.iter().cloned(), provider)?);
            builder.dangerous().with_custom_certificate_verifier(verifier).with_no_client_auth()
        } else {
            builder.with_root_certificates(RootCertStore::empty()).with_no_client_auth()
        };
        config.alpn_protocols = vec![b"http/1.1".to_vec()];
        Ok(config)
    }
}

/// `insecure_skip_verify`: any certificate will do, but its key has to be there.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp_response: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls12_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        rustls::crypto::verify_tls13_signature(message, cert, dss, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

// === impl Road ===

impl Service<Uri> for Road {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let Some(proxy) = &self.proxy else {
            let connecting = self.tcp.call(target);
            return Box::pin(async { Ok(Stream { io: MaybeHttpsStream::Http(connecting.await?), proxied: false }) });
        };
        let (address, mut connector) = (proxy.how.uri().clone(), proxy.connector.clone());
        if target.scheme_str() == Some("https") {
            let mut tunnel = Tunnel::new(address, connector);
            if let Some(authorization) = proxy.how.basic_auth() {
                tunnel = tunnel.with_auth(authorization.clone());
            }
            let connecting = tunnel.call(target);
            Box::pin(async { Ok(Stream { io: connecting.await?, proxied: false }) })
        } else {
            let connecting = connector.call(address);
            Box::pin(async { Ok(Stream { io: connecting.await?, proxied: true }) })
        }
    }
}

impl fmt::Debug for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Road")
    }
}

// === impl Stream ===

impl Connection for Stream {
    fn connected(&self) -> Connected {
        self.io.connected().proxy(self.proxied)
    }
}

impl Read for Stream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buffer: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_read(cx, buffer)
    }
}

impl Write for Stream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, pieces)
    }
}
