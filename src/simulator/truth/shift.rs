//! One agent's shift as a stream of calls: a pure function of the seed, the agent and the UTC day on which the shift
//! begins. Decides how people behave; what vendors make of it is theirs.

use super::Vendor;

/// A shift lasts this long; with starts spread over the day every hour finds about half of the agents at work.
pub const SHIFT: i64 = 12 * 3600;
/// The start of a shift moves by up to this much from day to day.
const JITTER: u64 = 20 * 60;
/// Seconds of a day.
pub const DAY: i64 = 86_400;
/// India has had one offset all through; Ozonetel counts in it everywhere.
pub const IST: i64 = 5 * 3600 + 1800;
/// A wait in a queue that nobody forgets, in seconds.
const LONG_WAIT: u16 = 50 * 60;
/// Waiting between two calls, in percent of the shortest, by UTC hour: two waves a day, and never nothing.
const CALM: [u64; 24] = [
    190, 200, 180, 150, 130, 110, 100, 100, 110, 120, 130, 120, 110, 100, 100, 110, 120, 130, 140, 150, 160, 170, 180,
    190,
];

/// Who called whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// A customer called.
    In,
    /// The agent, or a dialler for him.
    Out,
}

/// One call. Its parts follow each other: queue, missed dial, ring, talk, hold, after-call work; mute lies within talk.
/// Hold is no talk: the vendors that report both add them up to handle time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    /// First sign of the call, in seconds since the epoch.
    pub start: i64,
    /// UTC day, from the epoch, on which the agent's shift began.
    pub shift: i64,
    /// Place in the roster.
    pub agent: u32,
    /// Place in the shift, from 0.
    pub number: u16,
    /// Seconds in the queue before any agent was rung (Ozonetel inbound, Voximplant).
    pub queue: u16,
    /// Seconds of a first dial that the agent did not pick up, before the one that counts (Ozonetel inbound).
    pub missed: u16,
    /// Seconds of ringing.
    pub ring: u16,
    /// Seconds of talk.
    pub talk: u16,
    /// Seconds on hold.
    pub hold: u16,
    /// Of the talk, seconds muted.
    pub mute: u16,
    /// Seconds of after-call work.
    pub wrap_up: u16,
    /// Times put on hold.
    pub hold_events: u8,
    /// Times muted.
    pub mute_events: u8,
    /// Campaign or queue: place in [`super::Truth::lines`].
    pub line: u8,
    /// Direction.
    pub direction: Direction,
    /// Whether somebody talked.
    pub answered: bool,
}

/// The calls of one shift, in order; made as they are asked for.
#[derive(Debug, Clone)]
pub(super) struct Shift {
    rng: Rng,
    habits: Habits,
    vendor: Vendor,
    agent: u32,
    day: i64,
    number: u16,
    at: i64,
    end: i64,
}

/// What one agent tends to do, in seconds and percent.
#[derive(Debug, Clone, Copy)]
struct Habits {
    talk: u64,
    wrap_up: u64,
    ring: u64,
    holds: u64,
    mutes: u64,
    answers: u64,
    dials: u64,
}

/// SplitMix64: small, and the same for ever, which a library's generator does not promise.
#[derive(Debug, Clone)]
pub(in crate::simulator) struct Rng(u64);

// === impl Call ===

impl Call {
    /// When the dial that counts began to ring.
    pub fn ring_start(&self) -> i64 {
        self.start + i64::from(self.queue) + i64::from(self.missed)
    }

    /// When it was picked up, or given up.
    pub fn pickup(&self) -> i64 {
        self.ring_start() + i64::from(self.ring)
    }

    /// When the line was free again.
    pub fn end(&self) -> i64 {
        self.pickup() + i64::from(self.talk) + i64::from(self.hold)
    }

    /// When the agent was free again.
    pub fn done(&self) -> i64 {
        self.end() + i64::from(self.wrap_up)
    }

    /// After-call work as it stands at `now`: it is known once it is over.
    pub fn wrap_up_by(&self, now: i64) -> u16 {
        if self.done() <= now { self.wrap_up } else { 0 }
    }
}

// === impl Shift ===

impl Shift {
    /// From when to when the shift that begins on `day` lasts.
    pub(super) fn bounds(seed: u64, vendor: Vendor, agent: u32, day: i64) -> (i64, i64) {
        let mut rng = Rng::of(&[seed, 1, vendor as u64, u64::from(agent), day.cast_unsigned()]);
        // Multiples of the golden ratio fill a circle evenly, however many there are.
        let spread = (u64::from(agent) + 3 * vendor as u64).wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
        let offset = (spread * DAY.cast_unsigned()) >> 32;
        let start = day * DAY + offset.cast_signed() + rng.below(JITTER).cast_signed();
        (start, start + SHIFT)
    }

    pub(super) fn new(seed: u64, vendor: Vendor, agent: u32, day: i64) -> Self {
        let (at, end) = Self::bounds(seed, vendor, agent, day);
        let rng = Rng::of(&[seed, 2, vendor as u64, u64::from(agent), day.cast_unsigned()]);
        Self { rng, habits: Habits::of(seed, vendor, agent), vendor, agent, day, number: 0, at, end }
    }
}

impl Iterator for Shift {
    type Item = Call;

    fn next(&mut self) -> Option<Call> {
        let (rng, habits) = (&mut self.rng, &self.habits);
        let lull = usize::try_from(self.at.rem_euclid(DAY) / 3600).ok().and_then(|hour| CALM.get(hour)).unwrap_or(&100);
        let mut gap = (4 + rng.below(14)) * lull / 100;
        if rng.percent(2) {
            gap += 300 + rng.below(420);
        }
        let direction = if rng.percent(habits.dials) { Direction::Out } else { Direction::In };
        let answered = rng.percent(if direction == Direction::Out { habits.answers - 20 } else { habits.answers });
        let mut call = Call {
            start: self.at + gap.cast_signed(),
            shift: self.day,
            agent: self.agent,
            number: self.number,
            queue: 0,
            missed: 0,
            ring: small(2 + rng.below(habits.ring)),
            talk: 0,
            hold: 0,
            mute: 0,
            wrap_up: 0,
            hold_events: 0,
            mute_events: 0,
            line: u8::from(rng.percent(40)),
            direction,
            answered,
        };
        if answered {
            let long = if rng.percent(4) { 4 } else { 1 };
            call.talk = small(20 + (rng.below(habits.talk) + rng.below(habits.talk)) * long);
            call.wrap_up = small(2 + rng.below(habits.wrap_up));
            if rng.percent(habits.holds) {
                call.hold_events = if rng.percent(25) { 2 } else { 1 };
                call.hold = small(3 + rng.below(u64::from(call.talk) / 3));
            }
            if rng.percent(habits.mutes) {
                call.mute_events = if rng.percent(25) { 3 } else { 1 };
                call.mute = small(2 + rng.below(u64::from(call.talk) / 5));
            }
        }
        if self.vendor == Vendor::Ozonetel && direction == Direction::In {
            call.line += 2;
            if rng.percent(35) {
                call.queue = small(3 + rng.below(40));
                // Now and then somebody holds the line for most of an hour.
                if self.number % 53 == 20 {
                    call.queue += LONG_WAIT;
                }
            }
            if answered && rng.percent(20) {
                call.missed = small(8 + rng.below(12));
            }
            // All legs of a call stand on one Indian day, that of its start.
            if (call.start + IST).div_euclid(DAY) != (call.pickup() + IST).div_euclid(DAY) {
                (call.queue, call.missed) = (0, 0);
            }
        }
        if self.vendor == Vendor::Voximplant && rng.percent(35) {
            call.queue = small(3 + rng.below(40));
            // Whether the vendor files a call under the second of its arrival or of its ring, nobody says.
            if call.start.div_euclid(DAY) != call.pickup().div_euclid(DAY) {
                call.queue = 0;
            }
        }
        if call.done() > self.end {
            return None;
        }
        self.at = call.done();
        self.number += 1;
        Some(call)
    }
}

// === impl Habits ===

impl Habits {
    fn of(seed: u64, vendor: Vendor, agent: u32) -> Self {
        let mut rng = Rng::of(&[seed, 3, vendor as u64, u64::from(agent)]);
        Self {
            talk: 45 + rng.below(75),
            wrap_up: 6 + rng.below(26),
            ring: 6 + rng.below(14),
            // The others report no hold, and count it as talk.
            holds: if matches!(vendor, Vendor::Ozonetel | Vendor::Wolkvox) { 6 + rng.below(30) } else { 0 },
            mutes: 6 + rng.below(24),
            answers: 82 + rng.below(16),
            // Voximplant's operators answer queues; nobody counts what they dial.
            dials: if vendor == Vendor::Voximplant { 0 } else { 15 + rng.below(50) },
        }
    }
}

// === impl Rng ===

impl Rng {
    /// A generator that belongs to these numbers.
    pub(in crate::simulator) fn of(parts: &[u64]) -> Self {
        let mut rng = Self(0);
        for part in parts {
            rng.0 ^= part.wrapping_mul(0xD6E8_FEB8_6659_FD93);
            rng.0 = rng.next();
        }
        rng
    }

    pub(in crate::simulator) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From 0 to below `bound`.
    pub(in crate::simulator) fn below(&mut self, bound: u64) -> u64 {
        ((self.next() >> 32) * bound) >> 32
    }

    pub(in crate::simulator) fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }
}

fn small(seconds: u64) -> u16 {
    u16::try_from(seconds).unwrap_or(u16::MAX)
}
