//! How agents spend their shifts, second by second: every moment between sign-in and sign-out belongs to one state. So
//! what was spent by some moment only grows, and adds up over days, whatever a vendor counts it under.

use std::ops::{AddAssign, Range};

use super::{Call, Direction, Shift, Truth, Vendor};

/// Whoever has no call for so long, in seconds, has gone for a break.
const BREAK: i64 = 300;

/// Seconds of one agent in each state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct States {
    /// Signed in, in whatever state.
    pub login: u64,
    /// Waiting for a call.
    pub ready: u64,
    /// Being rung, or waiting for somebody to pick up.
    pub ringing: u64,
    /// In calls of customers, hold included.
    pub inbound: u64,
    /// In calls to customers, hold included.
    pub outbound: u64,
    /// After-call work.
    pub after_call_work: u64,
    /// On a break.
    pub paused: u64,
}

impl Truth {
    /// What one agent did in `window`, the second of its end not included.
    pub fn states_in(&self, vendor: Vendor, agent: u32, window: Range<i64>) -> States {
        let mut states = States::default();
        let days = window.start.div_euclid(super::DAY) - 1..=window.end.div_euclid(super::DAY);
        for day in days {
            let (start, end) = Shift::bounds(self.seed, vendor, agent, day);
            if start >= window.end || end <= window.start {
                continue;
            }
            let part = |from: i64, to: i64| (to.min(window.end) - from.max(window.start)).max(0).unsigned_abs();
            states.login += part(start, end);
            let mut free = start;
            for call in self.shift(vendor, agent, day).iter() {
                states.idle(free, call.start, part);
                states.busy(call, part);
                free = call.done();
            }
            states.idle(free, end, part);
        }
        states
    }
}

impl States {
    fn idle(&mut self, from: i64, to: i64, part: impl Fn(i64, i64) -> u64) {
        let state = if to - from < BREAK { &mut self.ready } else { &mut self.paused };
        *state += part(from, to);
    }

    fn busy(&mut self, call: &Call, part: impl Fn(i64, i64) -> u64) {
        self.ringing += part(call.start, call.pickup());
        let talking = match call.direction {
            Direction::In => &mut self.inbound,
            Direction::Out => &mut self.outbound,
        };
        *talking += part(call.pickup(), call.end());
        self.after_call_work += part(call.end(), call.done());
    }
}

impl AddAssign for States {
    fn add_assign(&mut self, other: Self) {
        self.login += other.login;
        self.ready += other.ready;
        self.ringing += other.ringing;
        self.inbound += other.inbound;
        self.outbound += other.outbound;
        self.after_call_work += other.after_call_work;
        self.paused += other.paused;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_second_of_a_shift_is_in_one_state_and_days_add_up() {
        let truth = Truth::new(3, 4);
        let (from, middle, to) =
            (20_000 * super::super::DAY, 20_001 * super::super::DAY + 777, 20_003 * super::super::DAY);
        for agent in truth.agents(Vendor::Wolkvox) {
            let of = |from, to| truth.states_in(Vendor::Wolkvox, agent.index, from..to);
            let whole = of(from, to);
            let parts =
                whole.ready + whole.ringing + whole.inbound + whole.outbound + whole.after_call_work + whole.paused;
            assert_eq!(whole.login, parts);
            assert!(whole.login > 30 * 3600 && whole.paused > 0 && whole.outbound > 0, "{whole:?}");
            let mut sum = of(from, middle);
            sum += of(middle, to);
            assert_eq!(sum, whole);
        }
    }
}
