//! From `tls_server_config` to what makes handshakes: the certificate, versions, cipher suites and groups, and whose
//! certificates clients may show.

use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, SupportedKxGroup, WebPkiSupportedAlgorithms, aws_lc_rs, aws_lc_rs::kx_group};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, ServerConfig, SignatureScheme,
    SupportedProtocolVersion,
};
use x509_parser::prelude::{FromDer as _, GeneralName, X509Certificate};

use super::config::{ClientAuth, Curve, Pem, Tls, Version, same_suite};

/// Why TLS cannot be had.
pub(super) struct Refusal {
    /// Key path.
    pub(super) place: String,
    /// What is wrong.
    pub(super) message: String,
    /// Whether the trouble lies in a file that the configuration only names.
    pub(super) elsewhere: bool,
}

/// Asks clients for a certificate, of whose key they have to be the owners, and says which one will do.
#[derive(Debug)]
struct Clients {
    /// Whether nobody gets in without one.
    mandatory: bool,
    /// Who has to have certified it; anybody if there is none.
    authorities: Option<Arc<dyn ClientCertVerifier>>,
    /// The names of which it has to carry one.
    names: Option<Vec<String>>,
    algorithms: WebPkiSupportedAlgorithms,
}

/// What makes handshakes as `tls` says, with these application protocols.
pub(super) fn server(tls: &Tls, http2: bool) -> Result<ServerConfig, Refusal> {
    let refuse = |place: &str, message: &str| Refusal {
        place: format!("tls_server_config{place}"),
        message: message.to_owned(),
        elsewhere: false,
    };
    let provider = provider(tls);
    if provider.kx_groups.is_empty() {
        return Err(refuse(".curve_preferences", "rustls has none of these"));
    }
    let provider = Arc::new(provider);
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_protocol_versions(&versions(tls))
        .map_err(|_| refuse(".cipher_suites", "none of these goes with the versions of TLS"))?;
    let builder = match clients(tls, &provider)? {
        None => builder.with_no_client_auth(),
        Some(clients) => builder.with_client_cert_verifier(Arc::new(clients)),
    };
    let (Some(certificate), Some(key)) = (tls.certificate(), tls.key()) else {
        return Err(refuse("", "give a certificate and its key"));
    };
    let chain = certificates(&certificate, "cert")?;
    let key_der = PrivateKeyDer::from_pem_slice(&read(&key, "key")?)
        .map_err(|_| unfit(&key, "key", "expected a private key in PEM, without a pass phrase"))?;
    let mut config = builder.with_single_cert(chain, key_der).map_err(|error| match error {
        Error::InconsistentKeys(_) => unfit(&key, "key", "is not the key of the certificate"),
        _ => unfit(&certificate, "cert", "a certificate or key of a kind that cannot be used"),
    })?;
    config.ignore_client_order = tls.our_order();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    if http2 {
        config.alpn_protocols.insert(0, b"h2".to_vec());
    }
    Ok(config)
}

fn provider(tls: &Tls) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if !tls.suites().is_empty() {
        let (newer, older): (Vec<_>, Vec<_>) = provider.cipher_suites.drain(..).partition(|s| s.tls13().is_some());
        let wanted = |name: &String| older.iter().find(|suite| same_suite(**suite, name)).copied();
        provider.cipher_suites = newer.into_iter().chain(tls.suites().iter().filter_map(wanted)).collect();
    }
    if !tls.curves().is_empty() {
        provider.kx_groups = tls.curves().iter().filter_map(|curve| group(*curve)).collect();
    }
    provider
}

fn group(curve: Curve) -> Option<&'static dyn SupportedKxGroup> {
    match curve {
        Curve::CurveP256 => Some(kx_group::SECP256R1),
        Curve::CurveP384 => Some(kx_group::SECP384R1),
        Curve::CurveP521 => None,
        Curve::X25519 => Some(kx_group::X25519),
    }
}

fn versions(tls: &Tls) -> Vec<&'static SupportedProtocolVersion> {
    let (min, max) = tls.versions();
    let all = [(Version::Tls12, &rustls::version::TLS12), (Version::Tls13, &rustls::version::TLS13)];
    all.into_iter().filter(|(version, _)| (min..=max).contains(version)).map(|(_, version)| version).collect()
}

/// What clients' certificates have to be; nothing if none is asked for.
fn clients(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Option<Clients>, Refusal> {
    let auth = tls.client_auth_type.unwrap_or_default();
    let authorities = match auth {
        ClientAuth::NoClientCert => return Ok(None),
        ClientAuth::RequestClientCert | ClientAuth::RequireAnyClientCert => None,
        ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert => {
            Some(authorities(tls, provider)?)
        }
    };
    Ok(Some(Clients {
        mandatory: auth.requires(),
        authorities,
        names: tls.client_allowed_sans.clone(),
        algorithms: provider.signature_verification_algorithms,
    }))
}

fn authorities(tls: &Tls, provider: &Arc<CryptoProvider>) -> Result<Arc<dyn ClientCertVerifier>, Refusal> {
    let mut roots = RootCertStore::empty();
    if let Some(pem) = tls.client_ca() {
        for certificate in certificates(&pem, "client_ca")? {
            roots.add(certificate).map_err(|_| unfit(&pem, "client_ca", "holds a certificate that cannot be read"))?;
        }
    }
    match WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build() {
        Ok(verifier) => Ok(verifier),
        Err(_) => Err(Refusal {
            place: "tls_server_config.client_ca".to_owned(),
            message: "expected at least one certificate".to_owned(),
            elsewhere: false,
        }),
    }
}

fn read(pem: &Pem<'_>, key: &str) -> Result<Vec<u8>, Refusal> {
    pem.read().map_err(|message| Refusal { place: pem.place(key), message, elsewhere: true })
}

fn certificates(pem: &Pem<'_>, key: &str) -> Result<Vec<CertificateDer<'static>>, Refusal> {
    let text = read(pem, key)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.ok().filter(|chain| !chain.is_empty());
    chain.ok_or_else(|| unfit(pem, key, "expected certificates in PEM"))
}

/// What was read is not what it should be.
fn unfit(pem: &Pem<'_>, key: &str, message: &str) -> Refusal {
    let (message, elsewhere) = match pem {
        Pem::Inline(_) => (message.to_owned(), false),
        Pem::File(path) => (format!("{}: {message}", path.display()), true),
    };
    Refusal { place: pem.place(key), message, elsewhere }
}

/// The alternative names of a certificate that `client_allowed_sans` may list: hosts, addresses, e-mail addresses, URIs.
fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    let names = certificate.subject_alternative_name().ok()?;
    let name = |name: &GeneralName<'_>| match name {
        GeneralName::DNSName(name) | GeneralName::RFC822Name(name) | GeneralName::URI(name) => Some((*name).to_owned()),
        GeneralName::IPAddress(octets) => match *octets {
            [a, b, c, d] => Some(std::net::Ipv4Addr::new(*a, *b, *c, *d).to_string()),
            _ => <[u8; 16]>::try_from(*octets).ok().map(|octets| std::net::Ipv6Addr::from(octets).to_string()),
        },
        _ => None,
    };
    Some(names.iter().flat_map(|names| &names.value.general_names).filter_map(name).collect())
}

// === impl Clients ===

impl ClientCertVerifier for Clients {
    fn client_auth_mandatory(&self) -> bool {
        self.mandatory
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.authorities.as_ref().map_or(&[], |authorities| authorities.root_hint_subjects())
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        if let Some(authorities) = &self.authorities {
            authorities.verify_client_cert(end_entity, intermediates, now)?;
        }
        if let Some(allowed) = &self.names {
            let names = names(end_entity).ok_or(CertificateError::BadEncoding)?;
            if !names.iter().any(|name| allowed.contains(name)) {
                return Err(CertificateError::ApplicationVerificationFailure.into());
            }
        }
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        rustls::crypto::verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
