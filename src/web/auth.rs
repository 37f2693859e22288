//! `basic_auth_users`: who may ask. Comparing a password with its hash costs time on purpose, so it happens off the event
//! loop, one at a time, and once per password that is right. An unknown user costs the same as a wrong password.

use std::collections::{BTreeMap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, header};
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::Semaphore;

use super::config::cost;

/// Passwords that wait for their turn; more are told to come back. Whoever is known waits for nobody.
const MAX_WAITING: usize = 40;
/// Right passwords to remember. There are more than users only if somebody plays with what follows the 72nd byte.
const MAX_KNOWN: usize = 100;

/// Names and bcrypt hashes.
#[derive(Debug)]
pub(super) struct Users {
    hashes: BTreeMap<String, SecretString>,
    /// Stands in for an unknown user's hash.
    nobodys: SecretString,
}

/// What the program remembers of passwords.
#[derive(Debug)]
pub(super) struct Passwords {
    /// So that a digest tells nothing outside of this process.
    salt: [u8; 32],
    known: Mutex<HashSet<[u8; 32]>>,
    turn: Arc<Semaphore>,
    waiting: Semaphore,
    /// Comparisons so far.
    compared: AtomicU64,
}

/// What becomes of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Goes on.
    Known,
    /// 401.
    Unknown,
    /// 503.
    Busy,
}

// === impl Users ===

impl Users {
    /// Hashes that were checked; nobody if everybody may ask.
    pub(super) fn new(hashes: BTreeMap<String, SecretString>) -> Option<Self> {
        // As dear as the dearest: with hashes of several costs, which no tool makes, a cheap one still shows.
        let cost = hashes.values().filter_map(|hash| cost(hash.expose_secret())).max()?;
        Some(Self { hashes, nobodys: format!("$2b${cost:02}${}", ".".repeat(53)).into() })
    }
}

// === impl Passwords ===

impl Passwords {
    pub(super) fn new() -> Self {
        Self {
            salt: rand::random(),
            known: Mutex::default(),
            turn: Arc::new(Semaphore::new(1)),
            waiting: Semaphore::new(MAX_WAITING),
            compared: AtomicU64::new(0),
        }
    }

    /// Whether `check` would have to compare the request's password with a hash.
    pub(super) fn is_dear(&self, users: &Users, headers: &HeaderMap) -> bool {
        credentials(headers).is_some_and(|(user, password)| {
            let hash = users.hashes.get(&user).unwrap_or(&users.nobodys);
            !self.remembers(&self.digest(&user, hash, &password))
        })
    }

    /// Whether the request's name and password are one of `users`.
    pub(super) async fn check(&self, users: &Users, headers: &HeaderMap) -> Verdict {
        let Some((user, password)) = credentials(headers) else { return Verdict::Unknown };
        let hash = users.hashes.get(&user);
        let digest = self.digest(&user, hash.unwrap_or(&users.nobodys), &password);
        if self.remembers(&digest) {
            return Verdict::Known;
        }
        let Ok(_place) = self.waiting.try_acquire() else { return Verdict::Busy };
        let Ok(turn) = Arc::clone(&self.turn).acquire_owned().await else { return Verdict::Busy };
        self.compared.fetch_add(1, Ordering::Relaxed);
        let against = hash.unwrap_or(&users.nobodys).clone();
        let same = tokio::task::spawn_blocking(move || {
            // Held here: a request that goes away does not stop the comparison.
            let _turn = turn;
            bcrypt::verify(password.expose_secret(), against.expose_secret()).unwrap_or(false)
        });
        if !same.await.unwrap_or(false) || hash.is_none() {
            return Verdict::Unknown;
        }
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= MAX_KNOWN {
            known.clear();
        }
        known.insert(digest);
        Verdict::Known
    }

    fn remembers(&self, digest: &[u8; 32]) -> bool {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).contains(digest)
    }

    fn digest(&self, user: &str, hash: &SecretString, password: &SecretString) -> [u8; 32] {
        let mut digest = Sha256::new();
        digest.update(self.salt);
        for part in [user, hash.expose_secret(), password.expose_secret()] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        digest.finalize().into()
    }
}

/// Name and password of `Authorization: Basic`.
fn credentials(headers: &HeaderMap) -> Option<(String, SecretString)> {
    let (scheme, encoded) = headers.get(header::AUTHORIZATION)?.to_str().ok()?.split_once(' ')?;
    let decoded = scheme.eq_ignore_ascii_case("basic").then(|| STANDARD.decode(encoded.trim_start()).ok())??;
    let (user, password) = std::str::from_utf8(&decoded).ok()?.split_once(':')?;
    Some((user.to_owned(), password.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const COST: u32 = 4;

    fn users(pairs: &[(&str, &str)]) -> Users {
        let hash = |password: &str| SecretString::from(bcrypt::hash(password, COST).unwrap());
        Users::new(pairs.iter().map(|(user, password)| ((*user).to_owned(), hash(password))).collect()).unwrap()
    }

    fn basic(text: &str) -> HeaderMap {
        HeaderMap::from_iter([(header::AUTHORIZATION, format!("Basic {}", STANDARD.encode(text)).parse().unwrap())])
    }

    /// What a request costs tells nothing about names: it is counted, as time on a busy machine proves little.
    #[tokio::test]
    async fn an_unknown_user_costs_what_a_wrong_password_costs() {
        let (users, passwords) = (users(&[("asha", "hunter2")]), Passwords::new());
        let mut before = 0;
        for (text, verdict, comparisons) in [
            ("asha:hunter2", Verdict::Known, 1),
            ("asha:hunter2", Verdict::Known, 0),
            ("asha:hunter3", Verdict::Unknown, 1),
            ("asha:hunter3", Verdict::Unknown, 1),
            ("ravi:hunter2", Verdict::Unknown, 1),
            ("ravi:", Verdict::Unknown, 1),
            (":", Verdict::Unknown, 1),
            ("asha:", Verdict::Unknown, 1),
            ("asha", Verdict::Unknown, 0),
            ("asha:hunter2", Verdict::Known, 0),
        ] {
            assert_eq!(passwords.check(&users, &basic(text)).await, verdict, "{text}");
            let after = passwords.compared.load(Ordering::Relaxed);
            assert_eq!(after - before, comparisons, "{text}");
            before = after;
        }
        assert_eq!(cost(users.nobodys.expose_secret()), Some(COST), "and each comparison the same");
        assert_eq!(passwords.check(&users, &HeaderMap::new()).await, Verdict::Unknown);
        let bearer = HeaderMap::from_iter([(header::AUTHORIZATION, "Bearer hunter2".parse().unwrap())]);
        assert_eq!(passwords.check(&users, &bearer).await, Verdict::Unknown);
    }

    #[tokio::test]
    async fn a_new_hash_makes_the_old_password_unknown() {
        let passwords = Passwords::new();
        assert_eq!(passwords.check(&users(&[("asha", "old")]), &basic("asha:old")).await, Verdict::Known);
        let users = users(&[("asha", "new")]);
        assert_eq!(passwords.check(&users, &basic("asha:old")).await, Verdict::Unknown);
        assert_eq!(passwords.check(&users, &basic("asha:new")).await, Verdict::Known);
    }

    #[tokio::test]
    async fn what_is_remembered_is_bounded() {
        let (users, passwords) = (users(&[("asha", &"x".repeat(72))]), Passwords::new());
        for n in 0..=MAX_KNOWN {
            let text = format!("asha:{}{n}", "x".repeat(72));
            assert_eq!(passwords.check(&users, &basic(&text)).await, Verdict::Known);
        }
        assert_eq!(passwords.known.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_crowd_of_wrong_passwords_does_not_hold_up_who_is_known() {
        let (users, passwords) = (Arc::new(users(&[("asha", "hunter2")])), Arc::new(Passwords::new()));
        assert_eq!(passwords.check(&users, &basic("asha:hunter2")).await, Verdict::Known);
        let turn = Arc::clone(&passwords.turn).acquire_owned().await.unwrap();
        let crowd: Vec<_> = (0..=MAX_WAITING)
            .map(|n| {
                let (users, passwords) = (Arc::clone(&users), Arc::clone(&passwords));
                tokio::spawn(async move { passwords.check(&users, &basic(&format!("asha:{n}"))).await })
            })
            .collect();
        while passwords.waiting.available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        assert_eq!(passwords.check(&users, &basic("asha:hunter2")).await, Verdict::Known);
        assert_eq!(passwords.check(&users, &basic("asha:wrong")).await, Verdict::Busy);
        drop(turn);
        let mut busy = 0;
        for one in crowd {
            busy += usize::from(one.await.unwrap() == Verdict::Busy);
        }
        assert_eq!(busy, 1);
    }
}
