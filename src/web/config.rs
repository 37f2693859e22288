//! The file of `--web.config.file`, as the Prometheus exporter toolkit defines it: which keys there are and what may stand in
//! them. What is made of it is `tls`'s and `access`'s.

mod check;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use http::{HeaderMap, HeaderName, HeaderValue};
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use crate::config::ConfigError;
use crate::config::load::{Parsed, parse};
use crate::settings::{Problem, Problems, Span};

/// The whole file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct WebConfig {
    pub(super) tls_server_config: Option<Tls>,
    pub(super) http_server_config: Option<HttpServer>,
    pub(super) basic_auth_users: Option<BTreeMap<String, SecretString>>,
    pub(super) rate_limit: Option<RateLimit>,
}

/// `tls_server_config:`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct Tls {
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<SecretString>,
    key_file: Option<PathBuf>,
    client_ca: Option<String>,
    client_ca_file: Option<PathBuf>,
    pub(super) client_auth_type: Option<ClientAuth>,
    pub(super) client_allowed_sans: Option<Vec<String>>,
    min_version: Option<Version>,
    max_version: Option<Version>,
    cipher_suites: Option<Vec<String>>,
    prefer_server_cipher_suites: Option<bool>,
    curve_preferences: Option<Vec<Curve>>,
}

/// `client_auth_type`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
pub(super) enum ClientAuth {
    #[default]
    NoClientCert,
    RequestClientCert,
    /// Under its old name too.
    #[serde(alias = "RequireClientCert")]
    RequireAnyClientCert,
    VerifyClientCertIfGiven,
    RequireAndVerifyClientCert,
}

/// `min_version` and `max_version`
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(super) enum Version {
    Tls10,
    Tls11,
    Tls12,
    Tls13,
}

/// `curve_preferences`
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(super) enum Curve {
    CurveP256,
    CurveP384,
    CurveP521,
    X25519,
}

/// `http_server_config:`
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct HttpServer {
    http2: Option<bool>,
    headers: Option<BTreeMap<String, String>>,
}

/// `rate_limit:`
#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RateLimit {
    pub(super) interval: Option<Span>,
    pub(super) burst: u32,
}

/// What a PEM block is read from.
pub(super) enum Pem<'a> {
    Inline(&'a str),
    File(&'a Path),
}

/// A file without errors. Its paths are relative to the working directory.
pub(super) struct Checked {
    pub(super) config: WebConfig,
    pub(super) warnings: Vec<Problem>,
    /// Nothing stands in it.
    pub(super) empty: bool,
    /// As it stands.
    pub(super) text: String,
    file: String,
}

/// Reads and checks the file; the files that it names are not read.
pub(super) fn load(path: &Path) -> Result<Checked, ConfigError> {
    let Parsed { file, text, value, .. } = parse::<Option<WebConfig>>(path)?;
    let empty = value.is_none();
    let mut config = value.unwrap_or_default();
    let mut problems = Problems::default();
    let folder = path.parent().unwrap_or(Path::new(""));
    config.tls_server_config = config.tls_server_config.map(|tls| tls.under(folder)).filter(Tls::is_given);
    config.check(&mut problems);
    problems.locate(&text);
    let Problems { errors, warnings, .. } = problems;
    if errors.is_empty() {
        Ok(Checked { config, warnings, empty, text, file })
    } else {
        Err(ConfigError::Check { file, errors, warnings })
    }
}

/// Whether rustls has a cipher suite of this name, which is Go's.
pub(super) fn same_suite(suite: rustls::SupportedCipherSuite, name: &str) -> bool {
    let ours = suite.suite().as_str().unwrap_or_default();
    ours == name || ours.strip_prefix("TLS13_").is_some_and(|rest| name.strip_prefix("TLS_") == Some(rest))
}

// === impl Checked ===

impl Checked {
    /// What turned out only when it was put to use.
    pub(super) fn refused(&self, path: &str, message: String) -> ConfigError {
        let mut problems = Problems::default();
        problems.add(path, message);
        problems.locate(&self.text);
        ConfigError::Check { file: self.file.clone(), errors: problems.errors, warnings: Vec::new() }
    }
}

// === impl WebConfig ===

impl WebConfig {
    /// Whether clients may speak HTTP/2.
    pub(super) fn http2(&self) -> bool {
        self.http_server_config.as_ref().and_then(|http| http.http2).unwrap_or(true)
    }

    /// Whether clients have to show a certificate, and one with a certain name.
    pub(super) fn asks(&self) -> (bool, bool) {
        let Some(tls) = &self.tls_server_config else { return (false, false) };
        (tls.client_auth_type.is_some_and(ClientAuth::requires), tls.client_allowed_sans.is_some())
    }

    /// What every answer carries.
    pub(super) fn headers(&self) -> HeaderMap {
        let headers = self.http_server_config.iter().flat_map(|http| &http.headers).flatten();
        let pair = |(name, value): (&String, &String)| {
            Some((HeaderName::try_from(name).ok()?, HeaderValue::try_from(value).ok()?))
        };
        headers.filter_map(pair).collect()
    }
}

/// The cost of a bcrypt hash, if it is one.
pub(super) fn cost(hash: &str) -> Option<u32> {
    let parts: bcrypt::HashParts = hash.parse().ok()?;
    Some(parts.get_cost()).filter(|cost| (4..=31).contains(cost))
}

// === impl ClientAuth ===

impl ClientAuth {
    /// Whether nobody gets in without a certificate.
    pub(super) fn requires(self) -> bool {
        matches!(self, Self::RequireAnyClientCert | Self::RequireAndVerifyClientCert)
    }
}

// === impl Tls ===

impl Tls {
    fn under(self, folder: &Path) -> Self {
        let under = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty()).map(|p| folder.join(p));
        Self {
            cert_file: under(self.cert_file),
            key_file: under(self.key_file),
            client_ca_file: under(self.client_ca_file),
            ..self
        }
    }

    /// A section that only tunes TLS does not turn it on.
    fn is_given(&self) -> bool {
        let files = [&self.cert_file, &self.key_file, &self.client_ca_file];
        files.into_iter().any(Option::is_some)
            || self.certificate().is_some()
            || self.key().is_some()
            || self.client_ca().is_some()
            || self.client_auth_type.is_some()
    }

    /// The files that it names.
    pub(super) fn files(&self) -> Vec<PathBuf> {
        [&self.cert_file, &self.key_file, &self.client_ca_file].into_iter().flatten().cloned().collect()
    }

    /// The certificate and its chain. A file comes before what stands in the place.
    pub(super) fn certificate(&self) -> Option<Pem<'_>> {
        Pem::of(self.cert_file.as_deref(), self.cert.as_deref())
    }

    /// Its key.
    pub(super) fn key(&self) -> Option<Pem<'_>> {
        Pem::of(self.key_file.as_deref(), self.key.as_ref().map(SecretString::expose_secret))
    }

    /// Who signs clients' certificates.
    pub(super) fn client_ca(&self) -> Option<Pem<'_>> {
        Pem::of(self.client_ca_file.as_deref(), self.client_ca.as_deref())
    }

    /// TLS versions to speak, lowest and highest.
    pub(super) fn versions(&self) -> (Version, Version) {
        (self.min_version.unwrap_or(Version::Tls12), self.max_version.unwrap_or(Version::Tls13))
    }

    /// Names of cipher suites for TLS 1.2, in order of preference; empty for all. Those of TLS 1.3 are always on, as in Go.
    pub(super) fn suites(&self) -> &[String] {
        self.cipher_suites.as_deref().unwrap_or_default()
    }

    /// Whether our order of cipher suites counts, or the client's.
    pub(super) fn our_order(&self) -> bool {
        self.prefer_server_cipher_suites.unwrap_or(true)
    }

    /// Groups of the key exchange, in order of preference; empty for rustls' own choice.
    pub(super) fn curves(&self) -> &[Curve] {
        self.curve_preferences.as_deref().unwrap_or_default()
    }
}

// === impl Pem ===

impl<'a> Pem<'a> {
    fn of(file: Option<&'a Path>, text: Option<&'a str>) -> Option<Self> {
        file.map(Self::File).or_else(|| text.filter(|text| !text.is_empty()).map(Self::Inline))
    }

    /// The key in the file, given its name without `_file`.
    pub(super) fn place(&self, key: &str) -> String {
        let suffix = if matches!(self, Self::File(_)) { "_file" } else { "" };
        format!("tls_server_config.{key}{suffix}")
    }

    /// The text, or why a file cannot be read.
    pub(super) fn read(&self) -> Result<Vec<u8>, String> {
        match self {
            Self::Inline(text) => Ok(text.as_bytes().to_vec()),
            Self::File(path) => std::fs::read(path)
                .map_err(|error| format!("cannot read {}: {}", path.display(), crate::settings::unreadable(&error))),
        }
    }
}
