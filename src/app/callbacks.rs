//! Calls that a vendor tells of by itself. Whether a callback carries its account's key, and then the call into the account's
//! book, on disk before anybody says so. Its figures come with the account's polls, as those of a listed call do.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use secrecy::{ExposeSecret as _, SecretString};
use sha2::{Digest as _, Sha256};
use tokio::sync::RwLock;

use crate::clock::Clock;
use crate::health::{Health, ReportId};
use crate::ledger::Book;
use crate::poll::Workshop;
use crate::vendors::ozonetel::callback::Callback;
use crate::web::{Intake, Receipt};

/// The accounts that take callbacks, by name.
pub(super) type Targets = BTreeMap<String, Target>;

/// Clones are the same.
#[derive(Clone)]
pub(super) struct Callbacks {
    /// Held while a call is stored, so that no book is exchanged meanwhile: what the old one wrote, the new one would not know.
    pub(super) targets: Arc<RwLock<Targets>>,
    /// Compared with where there is no account, as that must not be quicker.
    nobody: KeyDigest,
    store: Workshop,
    health: Health,
    clock: Clock,
}

/// One account.
#[derive(Clone)]
pub(super) struct Target {
    key: KeyDigest,
    report: ReportId,
    book: Arc<Mutex<Book>>,
}

/// Of equal length, whatever somebody sends.
type KeyDigest = [u8; 32];

fn digest(key: &SecretString) -> KeyDigest {
    Sha256::digest(key.expose_secret().as_bytes()).into()
}

// === impl Target ===

impl Target {
    pub(super) fn new(key: &SecretString, report: ReportId, book: Arc<Mutex<Book>>) -> Self {
        Self { key: digest(key), report, book }
    }
}

// === impl Callbacks ===

impl Callbacks {
    pub(super) fn new(store: Workshop, health: Health, clock: Clock) -> Self {
        Self { targets: Arc::default(), nobody: rand::random(), store, health, clock }
    }

    async fn receive(self, account: String, body: Bytes) -> Receipt {
        let Some(Callback { key, call }) = Callback::decode(&body) else { return Receipt::Unreadable };
        let targets = self.targets.read().await;
        let target = targets.get(&account);
        let expected = target.map_or(&self.nobody, |target| &target.key);
        let (Ok(()), Some(target)) = (verify_slices_are_equal(&digest(&key), expected), target) else {
            return Receipt::Refused;
        };
        let Some(call) = call else { return Receipt::Unreadable };
        let (book, now) = (Arc::clone(&target.book), self.clock.now());
        let add = move || {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.add_call(call, now).map(|()| book.backlog())
        };
        let id = &target.report;
        match self.store.run(add).await {
            Ok(Ok((calls, oldest))) => {
                self.health.backlog(id, calls, oldest);
                tracing::debug!(vendor = id.vendor, account = %id.account, report = id.report, "a call was called back");
                Receipt::Stored
            }
            Ok(Err(error)) => {
                tracing::error!(vendor = id.vendor, account = %id.account, report = id.report, %error, "a call that was called back could not be stored");
                Receipt::Failed
            }
            Err(_panic) => Receipt::Failed,
        }
    }
}

impl Intake for Callbacks {
    fn take(&self, account: String, body: Bytes) -> BoxFuture<'static, Receipt> {
        self.clone().receive(account, body).boxed()
    }
}
