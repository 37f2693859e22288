//! The exporter's own figures: polls, failures and requests. Events are counted and logged by one function each, so
//! that the two cannot drift.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::histogram::Histogram;

/// Handles of one API of one account.
#[derive(Debug, Clone)]
pub struct ApiMeter {
    /// Requests sent.
    pub requests: Counter,
    /// Their latency, shared by all accounts of the vendor.
    pub duration: Histogram,
    /// Time spent waiting for the account's rate limit.
    pub wait: Counter<f64, std::sync::atomic::AtomicU64>,
}

/// All health figures. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<BTreeMap<(String, String, String), ApiMeter>>>);

impl Health {
    /// The handles of `api`, made at first use.
    pub fn api(&self, vendor: &'static str, account: &str, api: &'static str) -> ApiMeter {
        let mut meters = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        meters
            .entry((vendor.to_owned(), account.to_owned(), api.to_owned()))
            .or_insert_with(|| ApiMeter {
                requests: Counter::default(),
                duration: Histogram::new([0.1, 1.0]),
                wait: Counter::default(),
            })
            .clone()
    }
}
