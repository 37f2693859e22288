//! What a queue operator does between calls, and the callers whom a queue turns away: pure functions of the shifts and the
//! seed. Only Voximplant tells of either.

use std::ops::Range;

use super::shift::{DAY, Rng, Shift};
use super::{Truth, Vendor};

/// A gap between two calls that is at least this long is a break.
const BREAK: i64 = 300;
/// Who did not pick up gets no calls for so long.
const BAN: i64 = 20;
/// Callers who are turned away are drawn by spans of so many seconds.
const SPAN: i64 = 600;
/// In so many of a hundred spans one caller is turned away.
const TURNED_AWAY: u64 = 20;

/// An operator's status.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Status {
    /// Not at work.
    Offline,
    /// Signed in, and not yet ready for calls.
    Online,
    /// Waiting for a call, or being rung.
    Ready,
    /// Gets no calls because he did not pick one up.
    Banned,
    /// Talking.
    InService,
    /// After-call work.
    AfterService,
    /// On a break.
    Timeout,
    /// Does not want to be disturbed.
    Dnd,
}

/// One status, without interruption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stay {
    /// Which.
    pub status: Status,
    /// First second.
    pub from: i64,
    /// First second after it.
    pub to: i64,
}

impl Status {
    /// Every status.
    pub const ALL: [Self; 8] = [
        Self::Offline,
        Self::Online,
        Self::Ready,
        Self::Banned,
        Self::InService,
        Self::AfterService,
        Self::Timeout,
        Self::Dnd,
    ];
}

impl Truth {
    /// The parts of a Voximplant operator's stays that lie within `window`, in order and without gaps.
    pub fn statuses(&self, agent: u32, window: Range<i64>) -> Vec<Stay> {
        let mut stays = Vec::new();
        let mut at = window.start;
        let mut stay = |status, to: i64| {
            let to = to.min(window.end);
            if to > at {
                stays.push(Stay { status, from: at, to });
                at = to;
            }
        };
        for day in window.start.div_euclid(DAY) - 1..=window.end.div_euclid(DAY) {
            let (start, end) = Shift::bounds(self.seed(), Vendor::Voximplant, agent, day);
            if end <= window.start || start >= window.end {
                continue;
            }
            stay(Status::Offline, start);
            let calls = self.shift(Vendor::Voximplant, agent, day);
            let mut next_starts = calls.iter().skip(1).map(|call| call.start).chain([end]);
            if let Some(first) = calls.first() {
                stay(Status::Online, first.start);
            }
            for call in calls.iter() {
                let next = next_starts.next().unwrap_or(end);
                stay(Status::Ready, call.pickup());
                stay(Status::InService, call.end());
                stay(Status::AfterService, call.done());
                if !call.answered {
                    stay(Status::Banned, (call.done() + BAN).min(next));
                }
                if next - call.done() >= BREAK {
                    stay(if call.number % 2 == 0 { Status::Timeout } else { Status::Dnd }, next);
                }
            }
            stay(Status::Ready, end);
        }
        stay(Status::Offline, window.end);
        stays
    }

    /// When a queue (place in [`Truth::lines`]) turned a caller away within `window`.
    pub fn turned_away(&self, line: u8, window: &Range<i64>) -> Vec<i64> {
        let spans = window.start.div_euclid(SPAN)..=window.end.div_euclid(SPAN);
        let in_span = |span: i64| {
            let mut rng = Rng::of(&[self.seed(), 7, u64::from(line), span.cast_unsigned()]);
            rng.percent(TURNED_AWAY).then(|| span * SPAN + rng.below(SPAN.cast_unsigned()).cast_signed())
        };
        spans.filter_map(in_span).filter(|at| window.contains(at)).collect()
    }
}
