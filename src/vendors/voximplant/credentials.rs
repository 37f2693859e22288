//! Who asks: the service account's key, read once, and the token that it signs for each request. The vendor has no
//! place where tokens are fetched, so nothing here goes out. An error names the key of the configuration, never what
//! stands in the file.

use std::fmt;
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{RSA_PKCS1_SHA256, RsaKeyPair};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use secrecy::ExposeSecret;
use serde::{Deserialize, Serialize};

use crate::failure::{Failure, Reason};
use crate::settings::{SecretSource, SetupError};
use crate::vendors::Setup;
use crate::vendors::parse::Text;

/// A clock that runs ahead of the vendor's by less than this does no harm.
const BACKDATED: i64 = 5;
/// The vendor's limit, from `iat` to `exp`.
const LONGEST: i64 = 3600;

/// How long a token lives that serves a whole poll of many requests.
pub const LONGEST_LIFE: i64 = LONGEST - BACKDATED;

/// A key that is ready to sign: `jsonwebtoken` would read it anew for every token.
pub struct Credentials {
    /// Encoded, with its dot.
    header: String,
    account_id: u64,
    key: RsaKeyPair,
}

#[derive(Deserialize)]
struct KeyFile {
    account_id: Option<Text>,
    key_id: Option<String>,
    private_key: Option<String>,
    /// The answer of CreateKey holds the same four fields in here.
    result: Option<Box<KeyFile>>,
}

#[derive(Serialize)]
struct Claims {
    iss: u64,
    iat: i64,
    exp: i64,
}

/// How long a token has to live: the request that carries it may wait for its turn, at most for one interval.
pub fn token_life(interval: Duration) -> i64 {
    let seconds = i64::try_from(interval.as_secs()).unwrap_or(LONGEST);
    seconds.saturating_add(60).min(LONGEST_LIFE)
}

// === impl Credentials ===

impl Credentials {
    /// Reads the key, flat or wrapped in `result`. `child` is the account that is asked for in place of the key's own.
    pub fn read(source: &SecretSource<'_>, child: Option<u64>, setup: &Setup<'_>) -> Result<Self, SetupError> {
        let suffix = match (source.file, source.env) {
            (Some(_), _) => "_file",
            (None, Some(_)) => "_env",
            (None, None) => "",
        };
        let path = format!("{}.{}{suffix}", setup.at, source.key);
        let text = source.read(setup.at, setup.folder)?;
        Self::parse(text.expose_secret(), child).map_err(|message| SetupError { path, message: message.to_owned() })
    }

    fn parse(text: &str, child: Option<u64>) -> Result<Self, &'static str> {
        let mut file: KeyFile =
            serde_json::from_str(text).map_err(|_| "expected the JSON of a Voximplant service account's key")?;
        if let Some(inner) = file.result.take() {
            file = *inner;
        }
        let file = file.account_id.zip(file.key_id).zip(file.private_key);
        let ((account_id, key_id), private_key) = file.ok_or("the key needs account_id, key_id and private_key")?;
        let own = account_id.as_str().trim().parse::<u64>().ok().filter(|id| *id > 0);
        let account_id = child.or(own).ok_or("account_id is no number")?;
        let key = EncodingKey::from_rsa_pem(private_key.as_bytes())
            .map_err(|_| "private_key is no RSA key in PEM form (PKCS#8: BEGIN PRIVATE KEY)")?;
        // PEM around anything would do so far. Not tried by signing: the first signature fills the machine's pool of random
        // numbers, which takes longer than the rest of the start.
        let key = RsaKeyPair::from_der(key.as_bytes())
            .map_err(|_| "private_key cannot sign: expected RSA, 2048 bits or more")?;
        let header = Header { kid: Some(key_id), ..Header::new(Algorithm::RS256) };
        let header = encoded(&header).ok_or("key_id cannot be used")? + ".";
        Ok(Self { header, account_id, key })
    }

    /// A token that lives from now for so many seconds.
    pub fn token(&self, now: Timestamp, life: i64) -> Result<String, Failure> {
        let now = now.as_second();
        let claims = Claims { iss: self.account_id, iat: now - BACKDATED, exp: now + life };
        self.signed(&claims).ok_or(Failure::new(Reason::Internal, "the request's token could not be signed"))
    }

    fn signed(&self, claims: &Claims) -> Option<String> {
        let mut token = self.header.clone() + &encoded(claims)?;
        let mut signature = vec![0; self.key.public_modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), token.as_bytes(), &mut signature).ok()?;
        token.push('.');
        URL_SAFE_NO_PAD.encode_string(signature, &mut token);
        Some(token)
    }
}

fn encoded(part: &impl Serialize) -> Option<String> {
    Some(URL_SAFE_NO_PAD.encode(serde_json::to_vec(part).ok()?))
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::collections::HashSet;
    use std::sync::OnceLock;

    use aws_lc_rs::encoding::{AsDer as _, Pkcs8V1Der};
    use aws_lc_rs::rsa::{KeyPair, KeySize};
    use aws_lc_rs::signature::KeyPair as _;
    use jsonwebtoken::{DecodingKey, TokenData, Validation};

    use super::*;

    /// The private key in PEM, and the public one.
    pub(crate) fn keys() -> &'static (String, Vec<u8>) {
        static KEYS: OnceLock<(String, Vec<u8>)> = OnceLock::new();
        KEYS.get_or_init(|| {
            let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
            let der: Pkcs8V1Der<'_> = pair.as_der().unwrap();
            (pem(der.as_ref()), pair.public_key().as_ref().to_vec())
        })
    }

    fn pem(der: &[u8]) -> String {
        const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = String::from("-----BEGIN PRIVATE KEY-----");
        let mut column = 64;
        for chunk in der.chunks(3) {
            if column == 64 {
                text.push('\n');
                column = 0;
            }
            let bits = chunk.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte)) << (8 * (3 - chunk.len()));
            for place in 0..4 {
                let digit = DIGITS[(bits >> (18 - 6 * place) & 63) as usize];
                text.push(if place > chunk.len() { '=' } else { digit.into() });
            }
            column += 4;
        }
        text + "\n-----END PRIVATE KEY-----\n"
    }

    pub(crate) fn key_file(account_id: &str) -> String {
        let pem = serde_json::to_string(&keys().0).unwrap();
        format!(
            r#"{{"account_email":"ops@example.com","account_id":{account_id},"key_id":"kid-7c1","private_key":{pem}}}"#
        )
    }

    pub(crate) fn verify(token: &str) -> TokenData<serde_json::Value> {
        let mut validation = Validation::new(Algorithm::RS256);
        // The tests' time is not this machine's.
        validation.validate_exp = false;
        validation.required_spec_claims = HashSet::new();
        jsonwebtoken::decode(token, &DecodingKey::from_rsa_der(&keys().1), &validation).unwrap()
    }

    #[test]
    fn a_key_may_be_flat_or_wrapped_and_serve_a_child_account() {
        let wrapped = format!(r#"{{"result":{}}}"#, key_file("4711"));
        for (text, child, iss) in [
            (key_file("4711"), None, 4711),
            (key_file("\"4711\""), None, 4711),
            (wrapped.clone(), None, 4711),
            (wrapped, Some(52), 52),
        ] {
            let credentials = Credentials::parse(&text, child).unwrap();
            let now = "2026-11-20T10:00:00Z".parse::<Timestamp>().unwrap();
            let token = verify(&credentials.token(now, 120).unwrap());
            assert_eq!((token.header.alg, token.header.typ.as_deref()), (Algorithm::RS256, Some("JWT")));
            assert_eq!(token.header.kid.as_deref(), Some("kid-7c1"));
            let at = now.as_second();
            assert_eq!(token.claims, serde_json::json!({"iss": iss, "iat": at - 5, "exp": at + 120}));
        }
    }

    #[test]
    fn what_is_no_key_is_refused_without_being_shown() {
        let canary = "CANARY-c4f1";
        let good = key_file("4711");
        for text in [
            canary.to_owned(),
            format!("[\"{canary}\"]"),
            format!(r#"{{"account_id":1,"key_id":"{canary}"}}"#),
            format!(r#"{{"account_id":1,"key_id":"k","private_key":"{canary}"}}"#),
            format!(
                r#"{{"account_id":1,"key_id":"k","private_key":"-----BEGIN PRIVATE KEY-----\n{canary}\n-----END PRIVATE KEY-----"}}"#
            ),
            good.replace("4711", "\"x\""),
            good.replace("4711", "0"),
            format!(r#"{{"result":{{"result":{good}}}}}"#),
        ] {
            let message = Credentials::parse(&text, None).unwrap_err();
            assert!(!message.contains(canary) && !message.is_empty());
        }
        assert_eq!(format!("{:?}", Credentials::parse(&good, None).unwrap()), "Credentials(…)");
    }

    #[test]
    fn tokens_outlive_a_wait_and_stay_within_the_vendor_s_limit() {
        for (interval, life) in [(1, 61), (60, 120), (3600, 3595), (u64::MAX, 3595)] {
            assert_eq!(token_life(Duration::from_secs(interval)), life);
        }
    }
}
