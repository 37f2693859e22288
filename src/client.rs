//! The one way out. Every request of every report goes through its account's client, which owns time limits, the
//! rate budget, the requests in flight, waits that a vendor asked for, one retry of a broken connection, the size cap and
//! the request metrics. It never looks into a body: the report's `decode` does, and only says what it means.

pub mod budget;
mod connector;
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
use crate::config::{AccountSettings, RateLimit, ReportSettings};
use crate::failure::{Failure, Hold, Reason};
use crate::health::{ApiMeter, Health};
use budget::Budget;
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
        let budget = report.rate_limit.map(|limit| Arc::new(Budget::new(Some(limit)))).or_else(shared);
        Lane {
            // Without a limit there is still a place to keep a wait that the vendor asks for.
            budget: Some(budget.unwrap_or_else(|| Arc::new(Budget::new(None)))),
            meter: self.0.health.api(settings.vendor, &settings.account, api),
            interval: report.interval,
        }
    }

    /// A lane without limit or wait, for a source of the operator's own.
    pub fn free_lane(&self, api: &'static str) -> Lane {
        let settings = &self.0.settings;
        let meter = self.0.health.api(settings.vendor, &settings.account, api);
        Lane { budget: None, meter, interval: Duration::ZERO }
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
        lane.meter.requests.inc();
        let started = Instant::now();
        let sent = tokio::time::timeout(shared.settings.timeout, shared.transport.send(request)).await;
        lane.meter.duration.observe(started.elapsed().as_secs_f64());
        match sent {
            Ok(Ok(answer)) => Ok(answer),
            Ok(Err(error)) => Err(error.into()),
            Err(_elapsed) => Err(Failure::new(Reason::Timeout, "no complete answer within the timeout")),
        }
    }

    /// Waits until the rate allows a request and the account has room for one. Whoever finds it full at his turn takes
    /// another turn once there is room: those who waited together would else go out together.
    async fn turn(&self, lane: &Lane) -> Result<SemaphorePermit<'_>, Failure> {
        let closed = || Failure::new(Reason::Internal, "the client is closed");
        let in_flight = &self.0.in_flight;
        let Some(budget) = &lane.budget else { return in_flight.acquire().await.map_err(|_| closed()) };
        loop {
            let waited = budget.take().await;
            if !waited.is_zero() {
                lane.meter.wait.inc_by(waited.as_secs_f64());
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
            return Err(Failure::new(Reason::Quota, "the vendor's daily quota is used up; waiting for its next day"));
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
mod tests {
    use futures_util::future::{BoxFuture, join_all};

    use super::*;
    use crate::config::Tls;

    /// Answers the first request after `0`, the others at once; keeps when each went out.
    struct Slow(Duration, Arc<Mutex<Vec<Instant>>>);

    impl Transport for Slow {
        fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            Box::pin(async move {
                let first = {
                    let mut sent = self.1.lock().unwrap();
                    sent.push(Instant::now());
                    sent.len() == 1
                };
                tokio::time::sleep(if first { self.0 } else { Duration::ZERO }).await;
                Ok(Answer { status: 200, retry_after: None, body: Bytes::new() })
            })
        }
    }

    /// Takes longer than the time limit of a request to get ready.
    struct Cold(tokio::sync::OnceCell<()>, Slow);

    impl Transport for Cold {
        fn ready(&self) -> BoxFuture<'_, Result<(), TransportError>> {
            Box::pin(async {
                self.0.get_or_init(|| tokio::time::sleep(Duration::from_mins(1))).await;
                Ok(())
            })
        }

        fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            Box::pin(async move {
                self.ready().await?;
                self.1.send(request).await
            })
        }
    }

    /// When each of eight requests at once went out, one at a time and the first answered late, and how long it all took.
    async fn eight(
        rate_limit: Option<RateLimit>,
        transport: impl FnOnce(Slow) -> Box<dyn Transport>,
    ) -> (Vec<Duration>, Duration) {
        let settings = AccountSettings {
            vendor: "huawei",
            account: "a".to_owned(),
            timeout: Duration::from_secs(30),
            rate_limit,
            max_in_flight: Some(1),
            proxy_url: None,
            tls: Tls::default(),
        };
        let report = ReportSettings {
            interval: Duration::from_mins(5),
            rate_limit: None,
            stale_after: Duration::from_mins(20),
            settle: crate::config::SETTLE,
            backfill: crate::config::BACKFILL,
        };
        let sent = Arc::<Mutex<Vec<Instant>>>::default();
        let transport = transport(Slow(Duration::from_millis(4500), Arc::clone(&sent)));
        let client = Client::new(settings, transport, Clock::manual(Timestamp::UNIX_EPOCH), Health::default());
        let lane = client.lane("test", None, &report);
        let request = Request::get("https://vendor.example/".parse().unwrap());
        let start = Instant::now();
        let asked = join_all((0..8).map(|_| client.ask(&lane, &request, |_| Ok(())))).await;
        assert!(asked.iter().all(Result::is_ok));
        let gaps = sent.lock().unwrap().windows(2).map(|pair| pair[1] - pair[0]).collect();
        (gaps, start.elapsed())
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_waited_for_room_do_not_go_out_together() {
        let (gaps, took) = eight(Some(RateLimit::per_minute(60)), |slow| Box::new(slow)).await;
        assert!(gaps.len() == 7 && gaps.iter().all(|gap| *gap >= Duration::from_millis(999)), "{gaps:?}");
        assert!(took < Duration::from_secs(16), "nobody waits longer than he has to: {took:?}");
        let (gaps, took) = eight(None, |slow| Box::new(slow)).await;
        assert!(gaps.len() == 7 && took < Duration::from_secs(5), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn getting_ready_takes_neither_the_request_s_time_nor_its_turn() {
        let cold = |slow| -> Box<dyn Transport> { Box::new(Cold(tokio::sync::OnceCell::new(), slow)) };
        let (gaps, took) = eight(Some(RateLimit::per_minute(60)), cold).await;
        assert!(gaps.len() == 7 && gaps.iter().all(|gap| *gap >= Duration::from_millis(999)), "{gaps:?}");
        assert!(took < Duration::from_secs(76), "{took:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_used_up_quota_waits_for_the_next_day_and_not_for_the_one_after() {
        let clock = Clock::manual("2026-11-20T20:00:00Z".parse().unwrap());
        let settings = AccountSettings {
            vendor: "wolkvox",
            account: "a".to_owned(),
            timeout: Duration::from_secs(30),
            rate_limit: None,
            max_in_flight: None,
            proxy_url: None,
            tls: Tls::default(),
        };
        let sent = Arc::<Mutex<Vec<Instant>>>::default();
        let transport = Box::new(Slow(Duration::ZERO, Arc::clone(&sent)));
        let client = Client::new(settings, transport, clock.clone(), Health::default());
        let lane = client.free_lane("test");
        let request = Request::get("https://vendor.example/".parse().unwrap());
        let used_up = |until: &str| {
            let until = Hold::Until(until.parse().unwrap());
            client.ask(&lane, &request, move |_| Err::<(), _>(Failure::new(Reason::Quota, "test").with_hold(until)))
        };
        let count = || sent.lock().unwrap().len();
        used_up("2026-11-21T05:00:00Z").await.unwrap_err();
        clock.set("2026-11-21T04:59:59Z".parse().unwrap());
        assert_eq!(
            (used_up("2026-11-21T05:00:00Z").await.unwrap_err().reason, count()),
            (Reason::Quota, 1),
            "not sent"
        );
        // The vendor's day begins a little later than ours.
        clock.set("2026-11-21T05:00:01Z".parse().unwrap());
        used_up("2026-11-22T05:00:00Z").await.unwrap_err();
        assert_eq!(count(), 2);
        clock.set("2026-11-21T05:20:00Z".parse().unwrap());
        client.ask(&lane, &request, |_| Ok(())).await.unwrap();
    }
}
