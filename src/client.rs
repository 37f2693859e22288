//! The one way out. Every request of every report goes through its account's client, which owns time limits, the
//! rate budget, the requests in flight, waits that a vendor asked for, one retry of a broken connection, the size cap and
//! the request metrics. It never looks into a body: the report's `decode` does, and only says what it means.

pub mod budget;
mod connector;
pub mod quota;
pub mod transport;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderName, HeaderValue, Method};
use jiff::{SignedDuration, Timestamp};
use tokio::sync::{Semaphore, SemaphorePermit, TryAcquireError};
use tokio::time::Instant;
use url::Url;

use crate::clock::Clock;
use crate::failure::{Failure, Hold, Reason};
use crate::health::{ApiMeter, Health};
use crate::settings::{AccountSettings, RateLimit, ReportSettings};
use budget::Budget;
use quota::{Share, Told};
pub use transport::{Http, Transport, TransportError};

/// How long the next request waits after a rate limit when the vendor did not say.
const UNTOLD_WAIT: Duration = Duration::from_mins(1);
/// A vendor's day may begin this much later than its account's zone says,
const LATE_DAY: SignedDuration = SignedDuration::from_hours(6);
/// and is waited for in such steps.
const LATE_DAY_PAUSE: SignedDuration = SignedDuration::from_mins(15);
/// The pause before a broken connection is tried once more.
const RETRY_PAUSE: Duration = Duration::from_millis(250);

/// A request, with everything in it that must not print.
#[derive(Clone)]
pub struct Request {
    /// Method.
    pub method: Method,
    /// Where to; may hold credentials where an old API demands it.
    pub url: Url,
    /// Headers.
    pub headers: Vec<(HeaderName, HeaderValue)>,
    /// Body, also with GET where a vendor wants that.
    pub body: Bytes,
}

/// An answer, unread.
#[derive(Clone)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Retry-After`.
    pub retry_after: Option<Duration>,
    /// The whole body.
    pub body: Bytes,
}

/// One API of an account: its name on the metrics and its rate budget.
#[derive(Debug, Clone)]
pub struct Lane {
    /// Its part of a daily quota, where the vendor has one.
    share: Option<Box<Share>>,
    budget: Option<Arc<Budget>>,
    meter: ApiMeter,
    /// A wait that a vendor asked for never lasts longer than this.
    interval: Duration,
}

/// The client of one account. Clones share everything.
#[derive(Clone)]
pub struct Client(Arc<Shared>);

struct Shared {
    settings: AccountSettings,
    transport: Box<dyn Transport>,
    budgets: Mutex<HashMap<&'static str, Arc<Budget>>>,
    in_flight: Semaphore,
    held_until: Mutex<Option<Timestamp>>,
    clock: Clock,
    health: Health,
}

// === impl Request ===

impl Request {
    /// A GET without body.
    pub const fn get(url: Url) -> Self {
        Self { method: Method::GET, url, headers: Vec::new(), body: Bytes::new() }
    }

    /// With a header that is no secret.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// With a header whose value is a secret. A value that no header can carry (line breaks) is a configuration failure.
    pub fn secret_header(self, name: HeaderName, value: &str) -> Result<Self, Failure> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Failure::new(Reason::Config, "a credential holds characters that no header can carry"))?;
        value.set_sensitive(true);
        Ok(self.header(name, value))
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.method, self.url.host_str().unwrap_or("?"))
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({} bytes)", self.status, self.body.len())
    }
}

// === impl Lane ===

impl Lane {
    /// The same within a daily quota.
    #[must_use]
    pub fn within(self, share: Share) -> Self {
        Self { share: Some(Box::new(share)), ..self }
    }

    /// What the vendor says of the quota.
    pub fn tell(&self, told: Told, now: Timestamp) {
        if let Some(share) = &self.share {
            share.tell(told, now);
            self.meter.day(share.day(now));
        }
    }
}

// === impl Client ===

impl Client {
    /// A client whose requests go out through `transport`.
    pub fn new(settings: AccountSettings, transport: Box<dyn Transport>, clock: Clock, health: Health) -> Self {
        let in_flight = Semaphore::new(settings.max_in_flight.unwrap_or(Semaphore::MAX_PERMITS));
        Self(Arc::new(Shared {
            settings,
            transport,
            budgets: Mutex::default(),
            in_flight,
            held_until: Mutex::default(),
            clock,
            health,
        }))
    }

    /// A client for a source of the operator's own that belongs to this account: its own trust and requests in flight, the
    /// same clock and metrics.
    #[must_use]
    pub fn beside(&self, settings: AccountSettings, transport: Box<dyn Transport>) -> Self {
        Self::new(settings, transport, self.0.clock.clone(), self.0.health.clone())
    }

    /// The account's settings.
    pub fn settings(&self) -> &AccountSettings {
        &self.0.settings
    }

    /// The lane of `api` for one report. The report's own rate limit makes a budget of its own; else the account's limit, or
    /// the vendor's documented one, is shared by all reports that use the API.
    pub fn lane(&self, api: &'static str, documented: Option<RateLimit>, report: &ReportSettings) -> Lane {
        let settings = &self.0.settings;
        let shared = || {
            let limit = settings.rate_limit.or(documented)?;
            let mut budgets = self.0.budgets.lock().unwrap_or_else(PoisonError::into_inner);
            Some(Arc::clone(budgets.entry(api).or_insert_with(|| Arc::new(Budget::new(Some(limit))))))
        };
        let limit = report.rate_limit.or(settings.rate_limit).or(documented);
        let budget = report.rate_limit.map(|limit| Arc::new(Budget::new(Some(limit)))).or_else(shared);
        Lane {
            share: None,
            // Without a limit there is still a place to keep a wait that the vendor asks for.
            budget: Some(budget.unwrap_or_else(|| Arc::new(Budget::new(None)))),
            meter: self.0.health.api(settings.vendor, &settings.account, api).limited(limit),
            interval: report.interval,
        }
    }

    /// A lane without limit or wait, for a source of the operator's own.
    pub fn free_lane(&self, api: &'static str) -> Lane {
        let settings = &self.0.settings;
        let meter = self.0.health.api(settings.vendor, &settings.account, api);
        Lane { share: None, budget: None, meter, interval: Duration::ZERO }
    }

    /// Sends one request and has its answer decoded. A failure carries the HTTP status, and what it says about waiting is
    /// obeyed by the requests that come next.
    pub async fn ask<T>(
        &self,
        lane: &Lane,
        request: &Request,
        decode: impl FnOnce(&Answer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.check_hold()?;
        let answer = match self.send(lane, request).await {
            // Only what may be asked twice: Voximplant takes a form that comes again for a machine gone wild.
            Err(failure) if failure.reason == Reason::Network && request.method == Method::GET => {
                tokio::time::sleep(RETRY_PAUSE).await;
                self.send(lane, request).await?
            }
            sent => sent?,
        };
        decode(&answer).map_err(|failure| self.note_hold(lane, &answer, failure.with_status(answer.status)))
    }

    async fn send(&self, lane: &Lane, request: &Request) -> Result<Answer, Failure> {
        self.0.transport.ready().await?;
        let _permit = self.turn(lane).await?;
        let shared = &*self.0;
        lane.meter.sent();
        let started = Instant::now();
        let sent = tokio::time::timeout(shared.settings.timeout, shared.transport.send(request)).await;
        lane.meter.duration.observe(started.elapsed().as_secs_f64());
        match sent {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => {
                Err(Failure::new(Reason::Timeout, "no complete answer within the timeout: if it lasts, raise timeout"))
            }
        }
    }

    /// Waits until quota and rate allow a request and the account has room for one. Whoever finds it full at his turn takes
    /// another turn once there is room: those who waited together would else go out together.
    async fn turn(&self, lane: &Lane) -> Result<SemaphorePermit<'_>, Failure> {
        let closed = || Failure::new(Reason::Internal, "the client is closed");
        let in_flight = &self.0.in_flight;
        if let Some(share) = &lane.share {
            let taken = share.take(&self.0.clock).await;
            lane.meter.day(share.day(self.0.clock.now()));
            lane.meter.waited(taken?);
            // The vendor may have told somebody else meanwhile that nothing is left.
            self.check_hold()?;
        }
        let Some(budget) = &lane.budget else { return in_flight.acquire().await.map_err(|_| closed()) };
        loop {
            let waited = budget.take().await;
            if !waited.is_zero() {
                lane.meter.waited(waited);
            }
            match in_flight.try_acquire() {
                Ok(permit) => return Ok(permit),
                Err(TryAcquireError::Closed) => return Err(closed()),
                Err(TryAcquireError::NoPermits) => {
                    let permit = in_flight.acquire().await.map_err(|_| closed())?;
                    if budget.take_now() {
                        return Ok(permit);
                    }
                }
            }
        }
    }

    fn check_hold(&self) -> Result<(), Failure> {
        let held = *self.0.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        if held.is_some_and(|until| self.0.clock.now() < until) {
            return Err(Failure::new(
                Reason::Quota,
                "the vendor's daily quota is used up; waiting for its next day: give longer intervals or fewer reports",
            ));
        }
        Ok(())
    }

    /// Nothing is sent until then. If the last such wait has only just ended, the vendor's day begins later than ours: a
    /// short wait is enough then, and the whole next day would be too long.
    fn hold_until(&self, until: Timestamp) {
        let mut held = self.0.held_until.lock().unwrap_or_else(PoisonError::into_inner);
        let now = self.0.clock.now();
        let just_ended =
            held.is_some_and(|ended| (SignedDuration::ZERO..LATE_DAY).contains(&now.duration_since(ended)));
        *held = Some(if just_ended { until.min(now + LATE_DAY_PAUSE) } else { until });
    }

    /// Keeps what a failure, or its `Retry-After`, says about waiting.
    fn note_hold(&self, lane: &Lane, answer: &Answer, failure: Failure) -> Failure {
        let told = match failure.hold {
            Hold::Until(until) => {
                self.hold_until(until);
                None
            }
            Hold::For(wait) => Some(wait),
            Hold::None => answer.retry_after,
        };
        let wait = told.or((failure.reason == Reason::RateLimited).then_some(UNTOLD_WAIT));
        if let (Some(budget), Some(wait)) = (&lane.budget, wait) {
            budget.hold(wait.min(lane.interval));
        }
        failure
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Client({}/{})", self.0.settings.vendor, self.0.settings.account)
    }
}

#[cfg(test)]
mod tests;
