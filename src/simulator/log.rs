//! What each vendor was asked, for tests of request discipline: bounded, and without anything secret in it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use http::Method;
use tokio::time::Instant;

/// Requests that are kept one by one; the counters go on.
const KEPT: usize = 10_000;

/// One request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Which API; [`VendorLog::FORBIDDEN`] for what an exporter must never call.
    pub api: &'static str,
    /// HTTP method.
    pub method: Method,
    /// Time since the simulator started, in tokio's time.
    pub at: Duration,
    /// Whether a key, token or GUID stood in the URL.
    pub credentials_in_url: bool,
}

/// What one vendor was asked so far.
#[derive(Debug, Clone)]
pub struct VendorLog {
    /// The latest requests, oldest first.
    pub entries: Vec<Entry>,
    /// All requests.
    pub total: u64,
    /// Of these, requests that an exporter must never send (Huawei).
    pub forbidden: u64,
    /// Most requests that were under way at once. Each vendor has one token.
    pub peak_in_flight: usize,
}

#[derive(Debug)]
pub(super) struct Log {
    started: Instant,
    entries: Mutex<VecDeque<Entry>>,
    total: AtomicU64,
    forbidden: AtomicU64,
    in_flight: AtomicUsize,
    peak: AtomicUsize,
}

/// Counts a request as under way until dropped.
#[derive(Debug)]
pub(super) struct InFlight<'a> {
    log: &'a Log,
    /// Requests under way, this one included.
    pub(super) count: usize,
}

// === impl VendorLog ===

impl VendorLog {
    /// The api of requests that an exporter must never send.
    pub const FORBIDDEN: &'static str = "FORBIDDEN";

    /// The kept requests of one API.
    pub fn of(&self, api: &str) -> Vec<&Entry> {
        self.entries.iter().filter(|entry| entry.api == api).collect()
    }
}

// === impl Log ===

impl Log {
    pub(super) fn new() -> Self {
        Self {
            started: Instant::now(),
            entries: Mutex::default(),
            total: AtomicU64::new(0),
            forbidden: AtomicU64::new(0),
            in_flight: AtomicUsize::new(0),
            peak: AtomicUsize::new(0),
        }
    }

    pub(super) fn enter(&self) -> InFlight<'_> {
        let count = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.peak.fetch_max(count, Ordering::SeqCst);
        InFlight { log: self, count }
    }

    pub(super) fn note(&self, api: &'static str, method: &Method, credentials_in_url: bool) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if api == VendorLog::FORBIDDEN {
            self.forbidden.fetch_add(1, Ordering::Relaxed);
        }
        let entry = Entry { api, method: method.clone(), at: self.started.elapsed(), credentials_in_url };
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        if entries.len() == KEPT {
            entries.pop_front();
        }
        entries.push_back(entry);
    }

    /// All requests so far.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    pub(super) fn snapshot(&self) -> VendorLog {
        VendorLog {
            entries: self.entries.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect(),
            total: self.total(),
            forbidden: self.forbidden.load(Ordering::Relaxed),
            peak_in_flight: self.peak.load(Ordering::SeqCst),
        }
    }
}

// === impl InFlight ===

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.log.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}
