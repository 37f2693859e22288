//! What may stand in the file of `--web.config.file`. All that is wrong is told together.

use http::HeaderValue;
use secrecy::ExposeSecret as _;

use super::{ClientAuth, Curve, HttpServer, RateLimit, Tls, Version, WebConfig, cost, same_suite};
use crate::settings::Problems;

/// Headers that may be set, and the values of those that have few.
const HEADERS: [(&str, &[&str]); 5] = [
    ("Content-Security-Policy", &[]),
    ("Strict-Transport-Security", &[]),
    ("X-Content-Type-Options", &["nosniff"]),
    ("X-Frame-Options", &["deny", "sameorigin"]),
    ("X-XSS-Protection", &[]),
];
/// Cipher suites that the toolkit knows and rustls, which has no such modes, does not.
const NOT_OURS: [&str; 4] = [
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
];

// === impl WebConfig ===

impl WebConfig {
    /// Adds all that is wrong.
    pub(super) fn check(&self, problems: &mut Problems) {
        if let Some(tls) = &self.tls_server_config {
            tls.check(problems);
        }
        if let Some(http) = &self.http_server_config {
            http.check(problems);
        }
        for (user, hash) in self.basic_auth_users.iter().flatten() {
            if cost(hash.expose_secret()).is_none() {
                problems.add(
                    &format!("basic_auth_users.{user}"),
                    "expected a bcrypt hash of 60 characters that begins with $2a$, $2b$ or $2y$, such as `htpasswd -nB` prints",
                );
            }
        }
        if let Some(RateLimit { interval: Some(interval), burst: 0 }) = self.rate_limit
            && !interval.0.is_zero()
        {
            problems
                .add("rate_limit.burst", "expected a whole number from 1: without a burst every request is refused");
        }
    }
}

// === impl HttpServer ===

impl HttpServer {
    fn check(&self, problems: &mut Problems) {
        for (name, value) in self.headers.iter().flatten() {
            let at = format!("http_server_config.headers.{name}");
            match HEADERS.iter().find(|(known, _)| known == name) {
                None => {
                    let known = HEADERS.map(|(known, _)| known).join(", ");
                    problems.add(&at, format!("cannot be set, expected one of {known}"));
                }
                Some((_, values)) if !values.is_empty() && !values.contains(&value.as_str()) => {
                    problems.add(&at, format!("expected {}", values.join(" or ")));
                }
                Some(_) if HeaderValue::try_from(value).is_err() => {
                    problems.add(&at, "expected text on one line");
                }
                Some(_) => {}
            }
        }
    }
}

// === impl Tls ===

impl Tls {
    fn check(&self, problems: &mut Problems) {
        let at = |key: &str| format!("tls_server_config.{key}");
        if self.certificate().is_none() {
            problems.add("tls_server_config", "give cert or cert_file");
        }
        if self.key().is_none() {
            problems.add("tls_server_config", "give key or key_file");
        }
        for (key, version) in [("min_version", self.min_version), ("max_version", self.max_version)] {
            if version.is_some_and(|version| version < Version::Tls12) {
                problems.add(&at(key), "rustls has no TLS before 1.2, expected TLS12 or TLS13");
            }
        }
        let (min, max) = self.versions();
        if min > max && max >= Version::Tls12 {
            problems.add(&at("min_version"), "is above max_version");
        }
        if let Some(path) = &self.key_file {
            problems.check_exposed(&at("key_file"), path);
        }
        self.check_lists(problems);
        self.check_clients(problems);
    }

    fn check_lists(&self, problems: &mut Problems) {
        let ours = rustls::crypto::aws_lc_rs::ALL_CIPHER_SUITES;
        for (index, name) in self.suites().iter().enumerate() {
            let at = format!("tls_server_config.cipher_suites[{index}]");
            if NOT_OURS.contains(&name.as_str()) {
                problems.warn(&at, format!("rustls has no {name}, it is left out"));
            } else if !ours.iter().any(|suite| same_suite(*suite, name)) {
                let names = ours.iter().filter_map(|suite| suite.suite().as_str());
                let names: Vec<_> = names.map(|name| name.replace("TLS13_", "TLS_")).collect();
                problems.add(&at, format!("unknown cipher suite, expected one of {}", names.join(", ")));
            }
        }
        for (index, curve) in self.curves().iter().enumerate() {
            if *curve == Curve::CurveP521 {
                let at = format!("tls_server_config.curve_preferences[{index}]");
                problems.warn(&at, "rustls has no CurveP521, it is left out");
            }
        }
    }

    fn check_clients(&self, problems: &mut Problems) {
        let auth = self.client_auth_type.unwrap_or_default();
        let verifies = matches!(auth, ClientAuth::VerifyClientCertIfGiven | ClientAuth::RequireAndVerifyClientCert);
        if self.client_ca().is_some() && auth == ClientAuth::NoClientCert {
            problems.add(
                "tls_server_config.client_auth_type",
                "client CAs are given and nobody is asked for a certificate, expected VerifyClientCertIfGiven or RequireAndVerifyClientCert",
            );
        }
        if verifies && self.client_ca().is_none() {
            problems.add("tls_server_config.client_auth_type", "give client_ca or client_ca_file to verify against");
        }
        if self.client_allowed_sans.is_some() && !auth.requires() {
            problems.add(
                "tls_server_config.client_allowed_sans",
                "needs client_auth_type RequireAndVerifyClientCert or RequireAnyClientCert",
            );
        }
        if self.client_allowed_sans.is_some() && auth == ClientAuth::RequireAnyClientCert {
            problems.warn(
                "tls_server_config.client_allowed_sans",
                "anybody can sign a certificate with these names, use RequireAndVerifyClientCert",
            );
        }
    }
}
