//! One task per report of an account: asks on its interval, has the ledger store what came, shows it, and takes it off
//! the page when it has grown stale. A panic or a hang in one report touches no other.

mod shown;
mod workshop;

use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use crate::client::Client;
use crate::clock::Clock;
use crate::failure::{Failure, Reason};
use crate::health::{Health, ReportId};
use crate::ledger::calendar::Due;
use crate::ledger::{Applied, Book};
use crate::page::Page;
use crate::reading::Reading;
use crate::vendors::{Calendar, Poll, Report, ReportSetup};
pub use shown::Shown;
pub use workshop::Workshop;

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
    /// Who stores.
    pub store: Workshop,
    /// Who encodes.
    pub encoder: Workshop,
}

/// What a poll gives back: the report, and how it went.
type Outcome = (Box<dyn Report>, Result<Reading, Failure>);

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
        let shown = Arc::new(Shown::new(&self.id, &calendar, Arc::clone(&self.book), self.health.clone()));
        let mut fresh_until = self.fresh_from_state(settings.stale_after);
        self.publish(&shown, fresh_until.is_some()).await;

        let mut ticks = tokio::time::interval_at(Instant::now() + delay, settings.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
        self.health.next_poll(&self.id, Instant::now() + delay);
        let mut running: Option<Running> = None;
        loop {
            let expiry = shown.gauges().next_expiry(settings.stale_after).into_iter().chain(fresh_until).min();
            tokio::select! {
                // What has finished first: a tick that is due at the same moment finds the report idle.
                biased;
                () = stop.cancelled() => break,
                (report, result) = finished(&mut running) => {
                    idle = Some(report);
                    if let Some(poll) = running.take()
                        && self.finish(poll, result, &shown).await
                    {
                        fresh_until = Some(Instant::now() + settings.stale_after);
                    }
                    self.publish(&shown, fresh_until.is_some()).await;
                }
                due = ticks.tick() => {
                    self.health.next_poll(&self.id, after(due, settings.interval));
                    if let Some(report) = idle.take() {
                        running = Some(self.start(report, &calendar));
                    } else {
                        self.health.poll_skipped(&self.id);
                        self.publish(&shown, fresh_until.is_some()).await;
                    }
                }
                () = sleep_until(expiry) => {
                    fresh_until = fresh_until.filter(|until| *until > Instant::now());
                    self.publish(&shown, fresh_until.is_some()).await;
                }
            }
        }
    }

    /// Has the page show what there still is. Off the event loop, as it encodes and compresses.
    async fn publish(&self, shown: &Arc<Shown>, fresh: bool) {
        shown.set_fresh(fresh);
        shown.gauges().expire(self.setup.settings.stale_after);
        let (page, slot, source) = (Arc::clone(&self.page), self.slot, Arc::clone(shown));
        if self.encoder.run(move || page.publish(slot, source)).await.is_err() {
            tracing::error!(vendor = self.id.vendor, account = %self.id.account, report = self.id.report, "encoding panicked");
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
    async fn finish(&self, poll: Running, result: Result<Reading, Failure>, shown: &Shown) -> bool {
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
                shown.take_in(&reading);
                self.health.poll_succeeded(&self.id, poll.now, took, &reading, applied);
                self.tell_backlog();
                true
            }
            (reading, stored) => {
                if let Some(reading) = &reading {
                    shown.leave(reading);
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
        let applied = match self.store.run(apply).await {
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

/// The tick that follows the one that was due at `tick`; ticks keep their phase, and those that were missed are skipped.
fn after(tick: Instant, interval: Duration) -> Instant {
    let late = tick.elapsed().as_nanos() % interval.as_nanos().max(1);
    Instant::now() + interval - Duration::from_nanos(u64::try_from(late).unwrap_or(0))
}

/// Stands in while the report is out on a poll.
struct Nothing;

impl Report for Nothing {
    fn poll<'a>(&'a mut self, _poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        std::future::ready(Err(Failure::new(Reason::Internal, "no report"))).boxed()
    }
}
