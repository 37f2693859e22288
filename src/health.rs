//! The exporter's own figures: polls, failures and requests, and what the landing page says of each report. An event is
//! counted and logged by one function, so that the two cannot drift.

mod standing;
mod usage;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::amount::Amount;
use crate::catalogue::{Family, Kind};
use crate::failure::{Failure, REASONS, Reason};
use crate::ledger::Applied;
use crate::page::histogram::Histogram;
use crate::page::{Block, Format, Representation, Sample, Value, process};
use crate::reading::Reading;
use crate::settings::RateLimit;
pub use standing::Standing;
use usage::Sent;
pub use usage::{Allowance, Day, Usage};

/// Handles of one API of one account.
#[derive(Debug, Clone)]
pub struct ApiMeter {
    sent: Arc<Sent>,
    /// Requests are remembered for so long.
    period: Option<Duration>,
    /// How the account's daily quota stands, shared by its APIs.
    day: SharedDay,
    /// The latency of requests, shared by all accounts of the vendor.
    pub duration: Histogram,
    /// Time spent waiting for the account's rate limit, shared by its APIs.
    wait: Arc<Mutex<Duration>>,
}

/// Which report of which account.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReportId {
    /// Vendor label.
    pub vendor: &'static str,
    /// Account label.
    pub account: Arc<str>,
    /// Report label.
    pub report: &'static str,
}

/// So many different failures of a poll's entities are named in the log.
const MAX_TOLD: usize = 20;

/// What is known of one report.
#[derive(Debug, Clone, Default)]
pub struct ReportHealth {
    /// Whether the last poll succeeded; none before the first one ended.
    pub up: Option<bool>,
    /// Time between two polls.
    pub interval: Duration,
    /// When a poll last succeeded.
    pub last_success: Option<Timestamp>,
    /// What a poll last failed of, and when.
    pub last_failure: Option<(Timestamp, Failure)>,
    /// What agents, campaigns, queues or calls of the last poll failed of: each cause once, and at most twenty.
    pub entities: Vec<Failure>,
    /// When the next poll is due; none before the report was set going.
    next_poll: Option<Instant>,
    allowance: Allowance,
    last_duration: Duration,
    polls: u64,
    skipped: u64,
    rejected: u64,
    revisions: u64,
    lost_days: u64,
    failures: BTreeMap<Reason, u64>,
    entity_failures: BTreeMap<Reason, u64>,
}

/// An account's daily quota, told by whichever of its reports learns of it.
type SharedDay = Arc<Mutex<Option<Day>>>;

/// Calls that wait for their figures, and since when the oldest does.
type Backlog = (usize, Option<i64>);

/// All health figures. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Health(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    reports: BTreeMap<ReportId, ReportHealth>,
    requests: BTreeMap<(&'static str, Arc<str>, &'static str), Arc<Sent>>,
    days: BTreeMap<(&'static str, Arc<str>), SharedDay>,
    durations: BTreeMap<(&'static str, &'static str), Histogram>,
    waits: BTreeMap<(&'static str, Arc<str>), Arc<Mutex<Duration>>>,
    guids_changed: BTreeMap<ReportId, Timestamp>,
    backlogs: BTreeMap<ReportId, Backlog>,
    loaded_at: Option<Timestamp>,
    /// The last attempt to load the configuration failed.
    load_failed: bool,
}

// === impl ApiMeter ===

impl ApiMeter {
    /// A request was sent.
    pub fn sent(&self) {
        self.sent.note(self.period);
    }

    /// The same, under a limit.
    #[must_use]
    pub fn limited(self, limit: Option<RateLimit>) -> Self {
        Self { period: limit.map(|limit| limit.per), ..self }
    }

    /// How the account's daily quota stands.
    pub fn day(&self, day: Day) {
        *self.day.lock().unwrap_or_else(PoisonError::into_inner) = Some(day);
    }

    /// A request waited for the rate limit.
    pub fn waited(&self, time: Duration) {
        *self.wait.lock().unwrap_or_else(PoisonError::into_inner) += time;
    }
}

// === impl Health ===

impl Health {
    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handles of `api`, made at first use.
    pub fn api(&self, vendor: &'static str, account: &str, api: &'static str) -> ApiMeter {
        let bounds: &'static [f64] = match Family::ApiRequestDuration.spec().kind {
            Kind::Histogram(bounds) => bounds,
            Kind::Counter | Kind::Gauge => &[],
        };
        let account: Arc<str> = account.into();
        let mut inner = self.lock();
        ApiMeter {
            sent: Arc::clone(inner.requests.entry((vendor, Arc::clone(&account), api)).or_default()),
            period: None,
            day: Arc::clone(inner.days.entry((vendor, Arc::clone(&account))).or_default()),
            duration: inner.durations.entry((vendor, api)).or_insert_with(|| Histogram::new(bounds)).clone(),
            wait: Arc::clone(inner.waits.entry((vendor, account)).or_default()),
        }
    }

    /// The configuration was loaded.
    pub fn loaded(&self, now: Timestamp) {
        let mut inner = self.lock();
        inner.loaded_at = Some(now);
        inner.load_failed = false;
    }

    /// A new configuration was refused.
    pub fn load_failed(&self) {
        self.lock().load_failed = true;
    }

    /// A report left the configuration, perhaps with its whole account.
    pub fn forget(&self, id: &ReportId, account_too: bool) {
        let mut inner = self.lock();
        inner.reports.remove(id);
        inner.guids_changed.remove(id);
        inner.backlogs.remove(id);
        if account_too {
            let others = |vendor: &str, account: &str| vendor != id.vendor || account != &*id.account;
            inner.requests.retain(|(vendor, account, _), _| others(vendor, account));
            inner.waits.retain(|(vendor, account), _| others(vendor, account));
            inner.days.retain(|(vendor, account), _| others(vendor, account));
        }
    }

    /// A report exists; its counters begin at zero, or go on after a reload. `last_success` is what the state says.
    pub fn register(&self, id: &ReportId, interval: Duration, last_success: Option<Timestamp>) {
        let report = ReportHealth {
            interval,
            last_success,
            failures: REASONS.iter().filter(|reason| **reason != Reason::Expired).map(|reason| (*reason, 0)).collect(),
            entity_failures: REASONS.iter().map(|reason| (*reason, 0)).collect(),
            ..ReportHealth::default()
        };
        self.lock().reports.entry(id.clone()).or_insert(report).interval = interval;
    }

    /// What the report may ask for, against which its requests are shown.
    pub fn allow(&self, id: &ReportId, allowance: Allowance) {
        self.with(id, |report| report.allowance = allowance);
    }

    /// When the report's next poll is due.
    pub fn next_poll(&self, id: &ReportId, at: Instant) {
        self.with(id, |report| report.next_poll = Some(at));
    }

    fn with(&self, id: &ReportId, change: impl FnOnce(&mut ReportHealth)) {
        if let Some(report) = self.lock().reports.get_mut(id) {
            change(report);
        }
    }

    /// A poll began.
    pub fn poll_started(&self, id: &ReportId) {
        self.with(id, |report| report.polls += 1);
    }

    /// A poll was due while the last one had not finished.
    pub fn poll_skipped(&self, id: &ReportId) {
        self.with(id, |report| report.skipped += 1);
        debug!(vendor = id.vendor, account = %id.account, report = id.report, "poll skipped, the previous one has not finished");
    }

    /// A poll succeeded, and what it read is stored.
    pub fn poll_succeeded(&self, id: &ReportId, at: Timestamp, took: Duration, reading: &Reading, applied: Applied) {
        self.look_into(id, at, reading);
        self.with(id, |report| {
            if report.up != Some(true) {
                info!(vendor = id.vendor, account = %id.account, report = id.report, read = reading.read, "report is up");
            }
            report.up = Some(true);
            report.last_success = Some(at);
            report.last_duration = took;
            for failure in &reading.failures {
                *report.entity_failures.entry(failure.reason).or_default() += 1;
            }
            report.revisions += applied.revisions;
            report.lost_days += applied.lost_days;
        });
        if applied.lost_days > 0 {
            warn!(vendor = id.vendor, account = %id.account, report = id.report, days = applied.lost_days, "days lay beyond backfill and are lost");
        }
    }

    /// A poll failed as a whole; `reading` is what it had got, if it got that far.
    pub fn poll_failed(
        &self,
        id: &ReportId,
        at: Timestamp,
        took: Duration,
        failure: &Failure,
        reading: Option<&Reading>,
    ) {
        match reading {
            Some(reading) => self.look_into(id, at, reading),
            None => self.with(id, |report| report.entities.clear()),
        }
        self.with(id, |report| {
            let reason = failure.reason.label();
            let (status, place) = (failure.status, failure.place.as_deref());
            let before = report.last_failure.as_ref().filter(|_| report.up == Some(false));
            if before.is_some_and(|(_, last)| last.is_like(failure)) {
                debug!(vendor = id.vendor, account = %id.account, report = id.report, reason, status, place, detail = failure.detail, "poll failed");
            } else {
                warn!(vendor = id.vendor, account = %id.account, report = id.report, reason, status, place, detail = failure.detail, "poll failed");
            }
            report.up = Some(false);
            report.last_duration = took;
            report.last_failure = Some((at, failure.clone()));
            *report.failures.entry(failure.reason).or_default() += 1;
        });
    }

    /// What is told of a reading whether its poll succeeded or not.
    fn look_into(&self, id: &ReportId, at: Timestamp, reading: &Reading) {
        if reading.source_changed {
            self.lock().guids_changed.insert(id.clone(), at);
        }
        self.with(id, |report| {
            report.rejected += reading.rejected;
            if reading.rejected > 0 {
                debug!(vendor = id.vendor, account = %id.account, report = id.report, rows = reading.rejected, "rows rejected");
            }
            let before = std::mem::take(&mut report.entities);
            for failure in &reading.failures {
                if report.entities.iter().any(|told| told.is_like(failure)) {
                    continue;
                }
                if report.entities.len() == MAX_TOLD {
                    // Told once, as everything.
                    if before.len() < MAX_TOLD {
                        warn!(vendor = id.vendor, account = %id.account, report = id.report, failures = reading.failures.len(), "more entities failed than are named here");
                    }
                    break;
                }
                let reason = failure.reason.label();
                let (status, place) = (failure.status, failure.place.as_deref());
                if before.iter().any(|told| told.is_like(failure)) {
                    debug!(vendor = id.vendor, account = %id.account, report = id.report, reason, status, place, detail = failure.detail, "entities failed");
                } else {
                    warn!(vendor = id.vendor, account = %id.account, report = id.report, reason, status, place, detail = failure.detail, "entities failed");
                }
                report.entities.push(failure.clone());
            }
            if report.entities.is_empty() && !before.is_empty() && report.up == Some(true) {
                info!(vendor = id.vendor, account = %id.account, report = id.report, "no entity fails any more");
            }
        });
    }

    /// How many calls of the account wait for their figures, and since when the oldest does.
    pub fn backlog(&self, id: &ReportId, calls: usize, oldest: Option<i64>) {
        self.lock().backlogs.insert(id.clone(), (calls, oldest));
    }

    /// Whether every report was tried once.
    pub fn ready(&self) -> bool {
        self.lock().reports.values().all(|report| report.up.is_some())
    }

    /// Every report, for the landing page.
    pub fn reports(&self) -> Vec<(ReportId, ReportHealth)> {
        self.lock().reports.iter().map(|(id, report)| (id.clone(), report.clone())).collect()
    }

    /// What is told of one report on the page.
    pub fn samples_of(&self, id: &ReportId) -> Vec<Sample> {
        self.lock().reports.get(id).map(|report| report.samples(id)).unwrap_or_default()
    }

    /// The exporter's own block of the page, as text: what is true at this moment only.
    pub fn block(&self, vendor_series: usize) -> Block {
        self.block_in(Representation { format: Format::Text004, gzip: false }, vendor_series)
    }

    /// The same in the form that a scraper wants.
    pub fn block_in(&self, representation: Representation, vendor_series: usize) -> Block {
        Block::live(&self.samples(vendor_series), representation)
    }

    fn samples(&self, vendor_series: usize) -> Vec<Sample> {
        let mut samples = process::samples();
        // What counts here has counted since then.
        let began = process::start();
        let inner = self.lock();
        let mut add = |family, labels: Vec<(&'static str, Arc<str>)>, value| {
            samples.push(Sample { family, labels, value, created: None });
        };
        for ((vendor, account, api), sent) in &inner.requests {
            let labels = vec![("vendor", (*vendor).into()), ("account", Arc::clone(account)), ("api", (*api).into())];
            add(Family::ApiRequests, labels, Value::Counter(Amount::whole(sent.total())));
        }
        for ((vendor, api), histogram) in &inner.durations {
            let labels = vec![("vendor", (*vendor).into()), ("api", (*api).into())];
            add(Family::ApiRequestDuration, labels, Value::Histogram(histogram.value()));
        }
        let account_labels = |vendor: &'static str, account: &Arc<str>| {
            vec![("vendor", vendor.into()), ("account", Arc::clone(account))]
        };
        for ((vendor, account), wait) in &inner.waits {
            add(
                Family::ApiBudgetWait,
                account_labels(vendor, account),
                Value::Seconds(wait.lock().unwrap_or_else(PoisonError::into_inner).as_secs_f64()),
            );
        }
        for (ReportId { vendor, account, .. }, at) in &inner.guids_changed {
            add(Family::GuidsChanged, account_labels(vendor, account), Value::Gauge(seconds(*at)));
        }
        for (ReportId { vendor, account, .. }, (calls, oldest)) in &inner.backlogs {
            #[expect(clippy::cast_precision_loss, reason = "a count, and seconds since the epoch")]
            {
                add(Family::PendingCalls, account_labels(vendor, account), Value::Gauge(*calls as f64));
                if let Some(oldest) = oldest {
                    add(Family::OldestPendingCall, account_labels(vendor, account), Value::Gauge(*oldest as f64));
                }
            }
        }
        if let Some(loaded) = inner.loaded_at {
            add(Family::ConfigReloadOk, Vec::new(), Value::Gauge(f64::from(u8::from(!inner.load_failed))));
            add(Family::ConfigReloadTime, Vec::new(), Value::Gauge(seconds(loaded)));
        }
        drop(inner);
        let build = vec![
            ("version", env!("CARGO_PKG_VERSION").into()),
            ("revision", env!("REVISION").into()),
            ("rust_version", env!("RUST_VERSION").into()),
        ];
        add(Family::BuildInfo, build, Value::Gauge(1.0));
        #[expect(clippy::cast_precision_loss, reason = "a count of series")]
        add(Family::ExporterSeries, Vec::new(), Value::Gauge(vendor_series as f64));
        for sample in &mut samples {
            sample.created = began;
        }
        samples
    }
}

impl ReportHealth {
    fn samples(&self, id: &ReportId) -> Vec<Sample> {
        let mut samples = Vec::new();
        let mut add = |family, reason: Option<Reason>, value| {
            let mut labels =
                vec![("vendor", id.vendor.into()), ("account", Arc::clone(&id.account)), ("report", id.report.into())];
            labels.extend(reason.map(|reason| ("reason", reason.label().into())));
            samples.push(Sample { family, labels, value, created: process::start() });
        };
        for (family, count) in [
            (Family::Polls, self.polls),
            (Family::PollsSkipped, self.skipped),
            (Family::RejectedRecords, self.rejected),
            (Family::Revisions, self.revisions),
            (Family::LostDays, self.lost_days),
        ] {
            add(family, None, Value::Counter(Amount::whole(count)));
        }
        if let Some(up) = self.up {
            add(Family::Up, None, Value::Gauge(f64::from(u8::from(up))));
            add(Family::LastPollDuration, None, Value::Gauge(self.last_duration.as_secs_f64()));
        }
        if let Some(at) = self.last_success {
            add(Family::LastSuccess, None, Value::Gauge(seconds(at)));
        }
        let by_reason = [(Family::PollFailures, &self.failures), (Family::EntityFailures, &self.entity_failures)];
        for (family, counts) in by_reason {
            for (reason, count) in counts {
                add(family, Some(*reason), Value::Counter(Amount::whole(*count)));
            }
        }
        samples
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since the epoch stay far below 2^53")]
fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}

#[cfg(test)]
mod tests;
