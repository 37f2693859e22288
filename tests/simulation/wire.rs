//! The way between the program and the simulated vendors: no sockets, but every failure that sockets and vendors have.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use contact_center_exporter::client::{Answer, Request, Transport, TransportError};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Fault, Simulator, Vendor};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};

use crate::chaos::Dice;

/// The vendors, and how badly they are reached.
pub(crate) struct Net {
    pub(crate) simulator: Simulator,
    /// The vendors' own clock.
    pub(crate) clock: Clock,
    pub(crate) seed: u64,
    pub(crate) failures: u64,
    /// Nothing goes wrong any more.
    pub(crate) calm: AtomicBool,
    pub(crate) requests: AtomicU64,
    /// When each Huawei agent gave his numbers.
    read_at: Mutex<HashMap<u32, Vec<Timestamp>>>,
    /// When the Huawei report last succeeded, by the exporter's clock.
    pub(crate) huawei_success: Mutex<Option<Timestamp>>,
}

/// One vendor's transport.
pub(crate) struct Wire {
    pub(crate) net: Arc<Net>,
    pub(crate) vendor: Vendor,
}

/// After this much of a shift a Huawei agent takes no more calls, so that his last figures are read before he leaves. It is
/// longer than the story may be without a reading (an hour until it gets calm, a step and an outage), so that he is read
/// while his figures are still lower than the last shift's: else nobody can tell that he signed in anew.
pub(crate) const BUSY: i64 = 5 * 3600;

impl Net {
    pub(crate) fn new(simulator: Simulator, clock: Clock, seed: u64, failures: u64) -> Self {
        Self {
            simulator,
            clock,
            seed,
            failures,
            calm: AtomicBool::new(true),
            requests: AtomicU64::new(0),
            read_at: Mutex::default(),
            huawei_success: Mutex::default(),
        }
    }

    /// The vendor's answer as it stood at `at`.
    fn answer_at(&self, vendor: Vendor, request: &Request, at: Timestamp, fault: Fault) -> (u16, Bytes) {
        let target = &request.url[url::Position::BeforePath..];
        let mut asked = http::Request::builder().method(request.method.clone()).uri(target);
        for (name, value) in &request.headers {
            asked = asked.header(name, value);
        }
        let asked = asked.body(request.body.clone()).expect("a request");
        let now = self.clock.now();
        if vendor == Vendor::Voximplant {
            // A clock that went back would refuse the token.
            self.simulator.set_voximplant_lag(now.duration_since(at).as_secs());
        } else {
            self.clock.set(at);
        }
        self.simulator.set_fault(vendor, fault);
        let answer = self.simulator.answer(vendor, asked);
        self.simulator.set_fault(vendor, Fault::None);
        self.clock.set(now);
        answer
    }

    /// The moment whose figures a vendor gives: now, or a while ago where a late or stale figure can be told from a true one.
    fn moment(&self, vendor: Vendor, request: &Request, dice: &mut Dice, calm: bool, arrives: bool) -> Timestamp {
        let now = self.clock.now();
        match vendor {
            Vendor::Wolkvox | Vendor::Voximplant if !calm && dice.percent(15) => now - dice.seconds(1, 7200),
            Vendor::Ozonetel if !calm && is_summary(request) && dice.percent(15) => now - dice.seconds(1, 7200),
            Vendor::Huawei => self.huawei_moment(request, now, dice, calm, arrives),
            _ => now,
        }
    }

    /// Whether the request is for a Huawei agent who takes no more calls. Whoever can be read then is read: what nobody
    /// reads before the sign-out nobody can know.
    fn is_idle(&self, request: &Request) -> bool {
        let now = self.clock.now().as_second();
        let session = self.huawei_agent(request).and_then(|agent| self.simulator.truth().session(agent, now));
        session.is_some_and(|session| now >= session.since + BUSY)
    }

    fn huawei_agent(&self, request: &Request) -> Option<u32> {
        let id = request.url.path().split('/').nth(4).and_then(|id| id.parse::<u32>().ok());
        let mut agents = self.simulator.truth().agents(Vendor::Huawei).iter();
        agents.find(|one| Some(one.number) == id || one.key.parse().ok() == id).map(|agent| agent.index)
    }

    fn huawei_moment(
        &self,
        request: &Request,
        now: Timestamp,
        dice: &mut Dice,
        calm: bool,
        arrives: bool,
    ) -> Timestamp {
        let truth = self.simulator.truth();
        let Some(agent) = self.huawei_agent(request) else { return now };
        let Some(session) = truth.session(agent, now.as_second()) else { return now };
        let figures_at = now.as_second().min(session.since + BUSY);
        let mut read_at = self.read_at.lock().expect("no panic");
        let readings = read_at.entry(agent).or_default();
        // A stale node can only be told from a new sign-in while it claims more talk than has passed since the last good
        // reading, of which the clocks may think differently.
        let good = self.huawei_success.lock().expect("no panic").and_then(|success| {
            let of_it = |at: &&Timestamp| at.duration_since(success).abs() < SignedDuration::from_mins(14);
            readings.iter().rev().find(of_it).copied()
        });
        let good = good.map_or(i64::MIN, Timestamp::as_second);
        // It has not even heard of what that reading held.
        let stale = good.saturating_sub(dice.between(60, 1800).cast_signed());
        let busy = now.as_second() < session.since + BUSY;
        let told_apart = busy && stale > session.since && {
            let talk = truth.session(agent, stale).map_or(0, |session| session.figures.talk.cast_signed());
            talk > now.as_second() - good + 1500
        };
        if arrives {
            readings.push(now);
        }
        let at = if !calm && told_apart && dice.percent(10) { stale } else { figures_at };
        Timestamp::from_second(at).expect("a moment")
    }
}

/// Whether an Ozonetel request is for the agents' day: one that is late brings lower figures. Pages of a list that are not
/// of one moment have gaps of which a reader cannot know.
fn is_summary(request: &Request) -> bool {
    request.url.path().ends_with("/summaryReport")
}

impl Transport for Wire {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let net = &self.net;
            let number = net.requests.fetch_add(1, Ordering::SeqCst);
            let mut dice = Dice::of(&[net.seed, 2, self.vendor as u64, number]);
            let calm = net.calm.load(Ordering::SeqCst);
            if calm {
                let at = net.moment(self.vendor, request, &mut dice, calm, true);
                let (status, body) = net.answer_at(self.vendor, request, at, Fault::None);
                return Ok(Answer { status, retry_after: None, body });
            }
            tokio::time::sleep(Duration::from_millis(dice.between(1, 4000))).await;
            let spared = self.vendor == Vendor::Huawei && net.is_idle(request);
            let fault = if dice.percent(net.failures) && !spared { dice.between(1, 8) } else { 0 };
            let at = net.moment(self.vendor, request, &mut dice, calm, fault == 0);
            let answer = |fault| net.answer_at(self.vendor, request, at, fault);
            let (status, body) = match fault {
                1 => std::future::pending().await,
                2 => return Err(TransportError::Network),
                3 => answer(Fault::Status(503)),
                4 => answer(Fault::Html),
                5 => {
                    let (status, body) = answer(Fault::None);
                    (status, body.slice(..body.len() / 2))
                }
                6 => return Err(TransportError::Cut),
                7 => answer(Fault::RateLimited),
                8 => answer(Fault::WrongCredentials),
                _ => answer(Fault::None),
            };
            let retry_after = (fault == 7).then(|| Duration::from_secs(dice.between(1, 600)));
            // The figures are the vendor's by now; whether they arrive is another matter.
            tokio::time::sleep(Duration::from_millis(dice.between(1, 4000))).await;
            Ok(Answer { status, retry_after, body })
        })
    }
}

/// How far the exporter's own clock may be off, while it is.
pub(crate) fn clock_error(dice: &mut Dice) -> SignedDuration {
    dice.seconds(0, 1200) - SignedDuration::from_mins(10)
}
