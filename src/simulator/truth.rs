//! What really happened: the agents of all four vendors, and every call of theirs. The vendors' simulators only retell
//! it in their own words, and a test reads from here what the exporter should have counted. Nothing here knows a
//! vendor's wire format.

mod names;
mod operators;
mod shift;
mod states;

use std::collections::VecDeque;
use std::ops::{AddAssign, Range};
use std::sync::{Arc, Mutex, PoisonError};

use super::Vendor;
pub use operators::{Status, Stay};
pub(super) use shift::Rng;
use shift::Shift;
pub use shift::{Call, DAY, Direction, IST, SHIFT};
pub use states::States;

/// Shifts that are kept per agent: today's, yesterday's, and the one before for a night shift.
const KEPT: usize = 3;

/// The truth of one seed. Everything is made when it is first asked for.
#[derive(Debug)]
pub struct Truth {
    seed: u64,
    rosters: [Vec<Agent>; Vendor::COUNT],
    shifts: [Vec<Kept>; Vendor::COUNT],
    sessions: Vec<Mutex<Option<Running>>>,
}

/// Somebody who takes calls.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    /// Place in the roster.
    pub index: u32,
    /// The vendor's own key, as it stands on the label `agent`.
    pub key: String,
    /// The vendor's number, where it has one beside the key.
    pub number: u32,
    /// Display name.
    pub name: String,
}

/// Sums over calls that had ended.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Figures {
    /// Inbound calls answered.
    pub answered: u64,
    /// Inbound calls not answered.
    pub unanswered: u64,
    /// Inbound dials that were not picked up before the one that counts; a leg each.
    pub missed: u64,
    /// Outbound calls.
    pub outbound: u64,
    /// Of these, answered.
    pub connected: u64,
    /// Seconds of talk, mute included, hold not.
    pub talk: u64,
    /// Seconds on hold.
    pub hold: u64,
    /// Seconds muted.
    pub mute: u64,
    /// Times put on hold.
    pub hold_events: u64,
    /// Times muted.
    pub mute_events: u64,
    /// Seconds of after-call work that was over.
    pub wrap_up: u64,
    /// Seconds of ringing of answered calls.
    pub ring: u64,
}

/// A sign-in of an agent, so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Session {
    /// When he signed in, in seconds since the epoch.
    pub since: i64,
    /// What he has done since.
    pub figures: Figures,
}

type Kept = Mutex<VecDeque<(i64, Arc<[Call]>)>>;

/// A session that is counted on from where the last question left it, so that asking again costs next to nothing.
#[derive(Debug)]
struct Running {
    day: i64,
    asked: i64,
    figures: Figures,
    next: Option<Call>,
    calls: Shift,
}

// === impl Truth ===

impl Truth {
    /// The truth of `seed`, with so many agents at each vendor.
    pub fn new(seed: u64, agents_per_vendor: usize) -> Self {
        Self::with_huawei(seed, agents_per_vendor, agents_per_vendor)
    }

    /// The same with another number of Huawei agents.
    pub fn with_huawei(seed: u64, agents_per_vendor: usize, huawei: usize) -> Self {
        let size = |vendor| if vendor == Vendor::Huawei { huawei } else { agents_per_vendor };
        Self {
            seed,
            rosters: Vendor::ALL.map(|vendor| names::roster(vendor, size(vendor))),
            shifts: Vendor::ALL.map(|vendor| (0..size(vendor)).map(|_| Kept::default()).collect()),
            sessions: (0..huawei).map(|_| Mutex::default()).collect(),
        }
    }

    /// The seed.
    pub fn seed(&self) -> u64 {
        self.seed
    }

    /// Everybody who works with `vendor`.
    pub fn agents(&self, vendor: Vendor) -> &[Agent] {
        &self.rosters[vendor as usize]
    }

    /// Campaigns (Ozonetel; the first two dial out, the others are called) or queues, as id and name.
    pub fn lines(vendor: Vendor) -> &'static [(&'static str, &'static str)] {
        match vendor {
            Vendor::Ozonetel => &[("5101", "sales"), ("5102", "renewals"), ("5103", "support"), ("5104", "billing")],
            _ => &[("54", "orders"), ("55", "returns")],
        }
    }

    /// Whether the agent is at work at `now`: the day on which that shift began.
    pub fn on_shift(&self, vendor: Vendor, agent: u32, now: i64) -> Option<i64> {
        let today = now.div_euclid(DAY);
        (today - 1..=today).find(|day| {
            let (start, end) = Shift::bounds(self.seed, vendor, agent, *day);
            (start..end).contains(&now)
        })
    }

    /// The calls of the shift that began on UTC day `day`.
    pub fn shift(&self, vendor: Vendor, agent: u32, day: i64) -> Arc<[Call]> {
        let Some(kept) = usize::try_from(agent).ok().and_then(|index| self.shifts[vendor as usize].get(index)) else {
            return Arc::default();
        };
        let mut kept = kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, calls)) = kept.iter().find(|(known, _)| *known == day) {
            return Arc::clone(calls);
        }
        let calls: Arc<[Call]> = Shift::new(self.seed, vendor, agent, day).collect();
        if kept.len() == KEPT {
            kept.pop_front();
        }
        kept.push_back((day, Arc::clone(&calls)));
        calls
    }

    /// The calls of one agent that started in `window`, ended or not.
    pub fn started_in(&self, vendor: Vendor, agent: u32, window: Range<i64>) -> Vec<Call> {
        self.around(vendor, agent, &window, |call| window.contains(&call.start))
    }

    /// The calls of all agents of `vendor` that began in `window`.
    pub fn calls(&self, vendor: Vendor, window: &Range<i64>) -> Vec<Call> {
        let agents = self.agents(vendor).iter();
        agents.flat_map(|agent| self.started_in(vendor, agent.index, window.clone())).collect()
    }

    /// The calls of one agent that ended in `window`.
    pub fn ended_in(&self, vendor: Vendor, agent: u32, window: Range<i64>) -> Vec<Call> {
        self.around(vendor, agent, &window, |call| window.contains(&call.end()))
    }

    fn around(&self, vendor: Vendor, agent: u32, window: &Range<i64>, keep: impl Fn(&Call) -> bool) -> Vec<Call> {
        // A shift of the day before may reach into the window; one of two days before cannot.
        let days = window.start.div_euclid(DAY) - 1..=window.end.div_euclid(DAY);
        let mut calls = Vec::new();
        for day in days {
            let (start, end) = Shift::bounds(self.seed, vendor, agent, day);
            if start < window.end && end >= window.start {
                calls.extend(self.shift(vendor, agent, day).iter().filter(|call| keep(call)));
            }
        }
        calls
    }

    /// What a Huawei agent has done since he signed in; none while he is signed out. Cheap when `now` only grows.
    pub fn session(&self, agent: u32, now: i64) -> Option<Session> {
        let day = self.on_shift(Vendor::Huawei, agent, now)?;
        let running = usize::try_from(agent).ok().and_then(|index| self.sessions.get(index))?;
        let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
        let mut session = match running.take() {
            Some(known) if known.day == day && known.asked <= now => known,
            _ => {
                let mut calls = Shift::new(self.seed, Vendor::Huawei, agent, day);
                Running { day, asked: now, figures: Figures::default(), next: calls.next(), calls }
            }
        };
        session.asked = now;
        while let Some(call) = session.next.filter(|call| call.end() <= now) {
            session.figures.add(&call, call.done());
            session.next = session.calls.next();
        }
        let figures = session.figures;
        *running = Some(session);
        let (since, _) = Shift::bounds(self.seed, Vendor::Huawei, agent, day);
        Some(Session { since, figures })
    }

    /// Ozonetel's average handle time over the outbound calls of the last two hours, in whole seconds: talk, hold and
    /// after-call work of the answered ones. Of one agent, or of a campaign (place in [`Truth::lines`]).
    pub fn average_handle_time(&self, agent: Option<u32>, line: Option<u8>, now: i64) -> Option<u64> {
        let (mut seconds, mut calls) = (0, 0);
        for one in self.agents(Vendor::Ozonetel).iter().filter(|one| agent.is_none_or(|agent| agent == one.index)) {
            for call in self.ended_in(Vendor::Ozonetel, one.index, now - 7200..now + 1) {
                let counts = call.direction == Direction::Out && call.answered && call.done() <= now;
                if counts && line.is_none_or(|line| line == call.line) {
                    seconds += u64::from(call.talk) + u64::from(call.hold) + u64::from(call.wrap_up);
                    calls += 1;
                }
            }
        }
        (calls > 0).then(|| seconds / calls)
    }
}

// === impl Figures ===

impl Figures {
    /// Sums the calls that had ended by `now`; after-call work counts once it is over too.
    pub fn of<'a>(calls: impl IntoIterator<Item = &'a Call>, now: i64) -> Self {
        let mut figures = Self::default();
        for call in calls.into_iter().filter(|call| call.end() <= now) {
            figures.add(call, now);
        }
        figures
    }

    fn add(&mut self, call: &Call, now: i64) {
        match (call.direction, call.answered) {
            (Direction::In, true) => self.answered += 1,
            (Direction::In, false) => self.unanswered += 1,
            (Direction::Out, answered) => {
                self.outbound += 1;
                self.connected += u64::from(answered);
            }
        }
        self.missed += u64::from(call.missed > 0);
        self.talk += u64::from(call.talk);
        self.hold += u64::from(call.hold);
        self.mute += u64::from(call.mute);
        self.hold_events += u64::from(call.hold_events);
        self.mute_events += u64::from(call.mute_events);
        self.wrap_up += u64::from(call.wrap_up_by(now));
        if call.answered {
            self.ring += u64::from(call.ring);
        }
    }

    /// Calls of any kind.
    pub fn calls(&self) -> u64 {
        self.answered + self.unanswered + self.outbound
    }
}

impl AddAssign for Figures {
    fn add_assign(&mut self, other: Self) {
        self.answered += other.answered;
        self.unanswered += other.unanswered;
        self.missed += other.missed;
        self.outbound += other.outbound;
        self.connected += other.connected;
        self.talk += other.talk;
        self.hold += other.hold;
        self.mute += other.mute;
        self.hold_events += other.hold_events;
        self.mute_events += other.mute_events;
        self.wrap_up += other.wrap_up;
        self.ring += other.ring;
    }
}

#[cfg(test)]
mod tests;
