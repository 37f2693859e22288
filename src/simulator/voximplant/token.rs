//! The service account of a Voximplant platform: a key pair of this run's own, and the checks that a client's token has
//! to pass.

use std::fmt::Write as _;
use std::io;
use std::sync::OnceLock;

use aws_lc_rs::encoding::{AsDer, Pkcs8V1Der};
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::KeyPair as _;
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde::Deserialize;

/// The account of the key.
const ACCOUNT: u64 = 100_200;
/// A child account of it.
pub(in crate::simulator) const CHILD: u64 = 4711;
/// Longest life of a token, in seconds.
const MOST_LIFE: i64 = 3600;

pub(super) struct ServiceAccount {
    key_id: String,
    key: DecodingKey,
    validation: Validation,
}

/// A token that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rejected {
    Authorization,
    Format,
    Life,
    Future,
    Expired,
}

#[derive(Deserialize)]
struct Claims {
    iss: serde_json::Value,
    iat: i64,
    exp: i64,
}

impl ServiceAccount {
    /// A new key, and the file that the vendor would let one download.
    pub(super) fn generate(key_id: String, seed: u64) -> io::Result<(Self, String)> {
        let failed = |_| io::Error::other("no RSA key could be made");
        let pair = key_pair(seed)?;
        let private: Pkcs8V1Der<'_> = pair.as_der().map_err(failed)?;
        let file = serde_json::json!({
            "account_email": "owner@example.com",
            "account_id": ACCOUNT,
            "key_id": key_id,
            "private_key": pem(private.as_ref()),
        });
        let key = DecodingKey::from_rsa_der(pair.public_key().as_ref());
        let mut validation = Validation::new(Algorithm::RS256);
        // The claims are checked here, each with an error of its own.
        validation.required_spec_claims.clear();
        validation.validate_exp = false;
        validation.validate_aud = false;
        Ok((Self { key_id, key, validation }, file.to_string()))
    }

    /// Checks an `Authorization` header.
    pub(super) fn check(&self, header: &str, now: i64) -> Result<(), Rejected> {
        let token = header.strip_prefix("Bearer ").ok_or(Rejected::Authorization)?;
        let head = jsonwebtoken::decode_header(token).map_err(|_| Rejected::Format)?;
        if head.alg != Algorithm::RS256 {
            return Err(Rejected::Format);
        }
        if head.kid.as_deref() != Some(&self.key_id) {
            return Err(Rejected::Authorization);
        }
        let claims = jsonwebtoken::decode::<Claims>(token, &self.key, &self.validation)
            .map_err(|error| match error.kind() {
                jsonwebtoken::errors::ErrorKind::InvalidSignature => Rejected::Authorization,
                _ => Rejected::Format,
            })?
            .claims;
        let issuer = claims.iss.as_u64().or_else(|| claims.iss.as_str()?.parse().ok());
        if !matches!(issuer, Some(ACCOUNT | CHILD)) {
            return Err(Rejected::Authorization);
        }
        if claims.exp - claims.iat > MOST_LIFE || claims.exp <= claims.iat {
            return Err(Rejected::Life);
        }
        if claims.iat > now {
            return Err(Rejected::Future);
        }
        if claims.exp <= now { Err(Rejected::Expired) } else { Ok(()) }
    }
}

fn pem(der: &[u8]) -> String {
    let text = base64(der);
    let mut lines = String::from("-----BEGIN PRIVATE KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        let _ = writeln!(lines, "{}", String::from_utf8_lossy(line));
    }
    lines + "-----END PRIVATE KEY-----\n"
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let [a, b, c] = [0, 1, 2].map(|at| group.get(at).copied().map_or(0, usize::from));
        let digits = [a >> 2, (a & 3) << 4 | b >> 4, (b & 15) << 2 | c >> 6, c & 63];
        for (place, digit) in digits.into_iter().enumerate() {
            text.push(if place <= group.len() { char::from(DIGITS[digit]) } else { '=' });
        }
    }
    text
}

/// Two per process, by the seed: making one takes longer than everything else at the start of a simulator.
fn key_pair(seed: u64) -> io::Result<&'static KeyPair> {
    static PAIRS: [OnceLock<Option<KeyPair>>; 2] = [OnceLock::new(), OnceLock::new()];
    let pair = PAIRS[usize::from(seed.is_multiple_of(2))].get_or_init(|| KeyPair::generate(KeySize::Rsa2048).ok());
    pair.as_ref().ok_or_else(|| io::Error::other("no RSA key could be made"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_pads() {
        for (plain, coded) in [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob~?", "Zm9vYn4/")] {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
    }
}
