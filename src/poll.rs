//! One task per report of an account: asks on its interval, has the ledger store what came, shows it, and takes it off
//! the page when it has grown stale. A panic or a hang in one report touches no other.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::catalogue::{Family, Kind};
use crate::client::Client;
use crate::clock::Clock;
use crate::failure::{Failure, Reason};
use crate::health::{Health, ReportId};
use crate::ledger::calendar::Due;
use crate::ledger::slot::{Part, Slot};
use crate::ledger::{Applied, Book};
use crate::page::{Page, Sample, Value};
use crate::reading::{Entity, Gauge, Reading, fit};
use crate::vendors::{Calendar, Poll, Report, ReportSetup};

/// Everything that the task of one report needs.
pub struct Task {
    /// Whose report it is.
    pub id: ReportId,
    /// The report and its settings.
    pub setup: ReportSetup,
    /// The account's way out.
    pub client: Client,
    /// The report's counters.
    pub book: Arc<Mutex<Book>>,
    /// Where events are told.
    pub health: Health,
    /// Where the values are shown.
    pub page: Arc<Page>,
    /// The report's number on the page.
    pub slot: usize,
    /// Wall time.
    pub clock: Clock,
    /// Whether transactions leave the event loop while they wait for the disk.
    pub offload: bool,
}

/// What a poll gives back: the report, and how it went.
type Outcome = (Box<dyn Report>, Result<Reading, Failure>);

/// A gauge's identity.
type GaugeKey = (Family, Entity, Vec<(&'static str, String)>);

/// The values that are not counters, each with the time of its own last success.
#[derive(Debug, Default)]
struct Gauges(BTreeMap<GaugeKey, (f64, Instant)>);

/// A poll under way.
struct Running {
    outcome: BoxFuture<'static, Outcome>,
    now: Timestamp,
    started: Instant,
    due: Due,
}

impl Task {
    /// Polls until `stop`. The first poll comes after `delay`, later ones keep its phase.
    pub async fn run(mut self, delay: Duration, stop: CancellationToken) {
        let Task { setup, .. } = &mut self;
        let settings = setup.settings.clone();
        let calendar = setup.calendar.clone();
        let mut idle = Some(std::mem::replace(&mut setup.report, Box::new(Nothing)));
        let mut gauges = Gauges::default();
        let mut fresh_until = self.fresh_from_state(settings.stale_after);
        self.publish(&gauges, fresh_until.is_some());

        let mut ticks = tokio::time::interval_at(Instant::now() + delay, settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        let mut running: Option<Running> = None;
        loop {
            let expiry = gauges.next_expiry(settings.stale_after).into_iter().chain(fresh_until).min();
            tokio::select! {
                // What has finished first: a tick that is due at the same moment finds the report idle.
                biased;
                () = stop.cancelled() => break,
                (report, result) = finished(&mut running) => {
                    idle = Some(report);
                    if let Some(poll) = running.take()
                        && self.finish(poll, result, &mut gauges).await
                    {
                        fresh_until = Some(Instant::now() + settings.stale_after);
                    }
                    gauges.expire(settings.stale_after, fresh_until.is_some());
                    self.publish(&gauges, fresh_until.is_some());
                }
                _ = ticks.tick() => match idle.take() {
                    Some(report) => running = Some(self.start(report, &calendar)),
                    None => self.health.poll_skipped(&self.id),
                },
                () = sleep_until(expiry) => {
                    fresh_until = fresh_until.filter(|until| *until > Instant::now());
                    gauges.expire(settings.stale_after, fresh_until.is_some());
                    self.publish(&gauges, fresh_until.is_some());
                }
            }
        }
    }

    /// Until when the counters that the state holds may be shown.
    fn fresh_from_state(&self, stale_after: Duration) -> Option<Instant> {
        let book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let age = self.clock.now().duration_since(book.last_success()?);
        let age = Duration::try_from(age).unwrap_or_default();
        Some(Instant::now() + stale_after.checked_sub(age).filter(|left| !left.is_zero())?)
    }

    fn start(&self, mut report: Box<dyn Report>, calendar: &Calendar) -> Running {
        self.health.poll_started(&self.id);
        let now = self.clock.now();
        let (due, calls) = {
            let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
            (book.due(now, calendar, &self.setup.settings), book.queue())
        };
        let client = self.client.clone();
        let days = due.days.clone();
        let outcome = async move {
            let poll = Poll { now, client: &client, days: &days, calls: &calls };
            let result = AssertUnwindSafe(report.poll(poll)).catch_unwind().await;
            let result = result.unwrap_or_else(|_| Err(Failure::new(Reason::Internal, "the report panicked")));
            (report, result)
        };
        Running { outcome: outcome.boxed(), now, started: Instant::now(), due }
    }

    /// Has a finished poll stored and told; true if it succeeded.
    async fn finish(&self, poll: Running, result: Result<Reading, Failure>, gauges: &mut Gauges) -> bool {
        let (reading, stored) = match result.map(|reading| (reading.verdict(), reading)) {
            Ok((Ok(()), reading)) => {
                let (reading, stored) = self.store(reading, poll.now, poll.due).await;
                (Some(reading), stored)
            }
            Ok((Err(failure), reading)) => (Some(reading), Err(failure)),
            Err(failure) => (None, Err(failure)),
        };
        let took = poll.started.elapsed();
        match (reading, stored) {
            (Some(reading), Ok(applied)) => {
                gauges.take_in(&reading, &self.book);
                self.health.poll_succeeded(&self.id, poll.now, took, &reading, applied);
                self.tell_backlog();
                true
            }
            (reading, stored) => {
                if let Some(reading) = &reading {
                    gauges.leave(reading, &self.book);
                    self.keep_calls(reading, poll.now);
                }
                let failure = stored.err().unwrap_or(Failure::new(Reason::Internal, "nothing was read"));
                self.health.poll_failed(&self.id, poll.now, took, &failure, reading.as_ref());
                false
            }
        }
    }

    fn tell_backlog(&self) {
        if matches!(self.setup.calendar, Calendar::Calls { .. }) {
            let (calls, oldest) = self.book.lock().unwrap_or_else(PoisonError::into_inner).backlog();
            self.health.backlog(&self.id, calls, oldest);
        }
    }

    /// What a poll that failed listed all the same. If that cannot be stored either, the next poll lists it again.
    fn keep_calls(&self, reading: &Reading, now: Timestamp) {
        if reading.calls.is_empty() {
            return;
        }
        let kept = self.book.lock().unwrap_or_else(PoisonError::into_inner).keep_calls(reading, now);
        if let Err(error) = kept {
            tracing::error!(vendor = self.id.vendor, account = %self.id.account, report = self.id.report, %error, "listed calls could not be stored");
        }
        self.tell_backlog();
    }

    /// One transaction; off the event loop, as it waits for the disk.
    async fn store(&self, reading: Reading, now: Timestamp, due: Due) -> (Reading, Result<Applied, Failure>) {
        let reading = Arc::new(reading);
        let (book, calendar, settings) =
            (Arc::clone(&self.book), self.setup.calendar.clone(), self.setup.settings.clone());
        let shared = Arc::clone(&reading);
        let apply = move || {
            let mut book = book.lock().unwrap_or_else(PoisonError::into_inner);
            book.apply(&shared, now, &calendar, &settings, &due)
        };
        let applied = match if self.offload { tokio::task::spawn_blocking(apply).await } else { Ok(apply()) } {
            Ok(Ok(applied)) => Ok(applied),
            Ok(Err(error)) => {
                tracing::error!(vendor = self.id.vendor, account = %self.id.account, report = self.id.report, %error, "what was read could not be stored");
                Err(Failure::new(
                    Reason::Internal,
                    "what was read could not be stored; is the state directory full or read-only?",
                ))
            }
            Err(_panic) => Err(Failure::new(Reason::Internal, "the ledger panicked")),
        };
        (Arc::unwrap_or_clone(reading), applied)
    }

    fn publish(&self, gauges: &Gauges, fresh: bool) {
        let mut samples = Vec::new();
        if fresh {
            let totals = self.book.lock().unwrap_or_else(PoisonError::into_inner).totals();
            for (entity, slots) in &totals {
                self.add_counters(&mut samples, entity, slots);
            }
        }
        for ((family, entity, extra), (value, _)) in &gauges.0 {
            let mut labels = self.labels(entity);
            labels.extend(extra.iter().map(|(name, value)| (*name, Arc::from(value.as_str()))));
            samples.push(Sample { family: *family, labels, value: Value::Gauge(*value) });
        }
        self.page.publish(self.slot, samples);
    }

    fn add_counters(&self, samples: &mut Vec<Sample>, entity: &Entity, slots: &[(Slot, crate::amount::Amount)]) {
        for group in slots.chunk_by(|(a, _), (b, _)| a.family == b.family) {
            let Some((first, _)) = group.first() else { continue };
            let family = first.family;
            if let Kind::Histogram(bounds) = family.spec().kind {
                samples.push(Sample { family, labels: self.labels(entity), value: histogram(bounds, group) });
                continue;
            }
            for (slot, amount) in group {
                let mut labels = self.labels(entity);
                if let Part::State(index) = slot.part
                    && let Some(state) = crate::catalogue::STATES.get(usize::from(index))
                {
                    labels.push(("state", (*state).into()));
                }
                samples.push(Sample { family, labels, value: Value::Counter(*amount) });
            }
        }
    }

    fn labels(&self, entity: &Entity) -> Vec<(&'static str, Arc<str>)> {
        let mut labels = vec![("vendor", self.id.vendor.into()), ("account", Arc::clone(&self.id.account))];
        if let Some((name, value)) = entity.label() {
            labels.push((name, value.into()));
        }
        labels
    }
}

fn histogram(bounds: &[f64], slots: &[(Slot, crate::amount::Amount)]) -> Value {
    let of = |part| slots.iter().find(|(slot, _)| slot.part == part).map_or(0.0, |(_, amount)| amount.as_f64());
    let buckets = bounds.iter().copied().chain([f64::INFINITY]).enumerate().map(|(index, bound)| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a small index, a whole count")]
        (bound, of(Part::Bucket(index as u8)) as u64)
    });
    Value::Histogram { sum: of(Part::Whole), buckets: buckets.collect() }
}

// === impl Gauges ===

impl Gauges {
    /// Drops the values of entities of which the vendor says that there is no data, and also the names of those that nobody
    /// names any more.
    fn leave(&mut self, reading: &Reading, book: &Mutex<Book>) {
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let named = |entities: &[Entity]| entities.iter().map(|entity| book.name(entity)).collect::<BTreeSet<_>>();
        let silent = named(&reading.silent);
        let roster = reading.roster.as_deref().map(named);
        self.0.retain(|(family, entity, _), _| {
            let silent = silent.contains(entity) && !family.spec().is_info();
            !silent && roster.as_ref().is_none_or(|roster| roster.contains(entity))
        });
    }

    fn take_in(&mut self, reading: &Reading, book: &Mutex<Book>) {
        self.leave(reading, book);
        let book = book.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        for Gauge { family, entity, labels, value } in &reading.gauges {
            let info = family.spec().is_info();
            if matches!(entity, Entity::Agent(_)) && (!book.shows_agents() || info && !book.shows_plain_agents()) {
                continue;
            }
            let entity = book.name(entity);
            if info {
                // One name per entity: the newest.
                let from = (*family, entity.clone(), Vec::new());
                let old =
                    self.0.range(from..).map(|(key, _)| key).take_while(|key| key.0 == *family && key.1 == entity);
                for key in old.cloned().collect::<Vec<_>>() {
                    self.0.remove(&key);
                }
            }
            let labels = labels.iter().map(|(name, value)| (*name, fit(value))).collect();
            self.0.insert((*family, entity, labels), (*value, now));
        }
    }

    /// A value leaves when its own entity has been silent for too long; a name stays as long as the report's counters do.
    fn expire(&mut self, stale_after: Duration, fresh: bool) {
        let now = Instant::now();
        self.0.retain(|(family, ..), (_, at)| if family.spec().is_info() { fresh } else { *at + stale_after > now });
    }

    fn next_expiry(&self, stale_after: Duration) -> Option<Instant> {
        let values = self.0.iter().filter(|((family, ..), _)| !family.spec().is_info());
        values.map(|(_, (_, at))| *at + stale_after).min()
    }
}

async fn finished(running: &mut Option<Running>) -> Outcome {
    match running {
        Some(poll) => (&mut poll.outcome).await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

/// Stands in while the report is out on a poll.
struct Nothing;

impl Report for Nothing {
    fn poll<'a>(&'a mut self, _poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        std::future::ready(Err(Failure::new(Reason::Internal, "no report"))).boxed()
    }
}
