//! Draws from a seed: what a seed decides is the same for ever.

use jiff::civil::date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::expected::ozonetel::Choice;

/// SplitMix64.
#[derive(Debug, Clone)]
pub(crate) struct Dice(u64);

/// What a seed decides before anything happens.
#[derive(Debug, Clone)]
pub(crate) struct Setting {
    /// The zone of the Wolkvox tenant.
    pub(crate) zone: TimeZone,
    /// When the program is first started.
    pub(crate) start: Timestamp,
    /// How long things go wrong.
    pub(crate) turmoil: SignedDuration,
    /// Polling intervals in seconds: Ozonetel, Wolkvox, Huawei, Voximplant.
    pub(crate) intervals: [u64; 4],
    /// Share of the requests that fail, in percent.
    pub(crate) failures: u64,
    /// Whether outages may last for days. What Huawei agents did meanwhile nobody can know.
    pub(crate) long_outages: bool,
    /// What the Ozonetel account asks for.
    pub(crate) ozonetel: Choice,
}

type Day = (i16, i8, i8);

/// Zones with odd offsets and odd days, and days before a clock change of theirs.
const ZONES: [(&str, &[Day]); 8] = [
    ("America/Bogota", &[]),
    ("America/Santiago", &[(2026, 4, 4), (2026, 9, 5)]),
    ("America/New_York", &[(2026, 3, 7), (2026, 10, 31)]),
    ("Australia/Lord_Howe", &[(2026, 4, 4), (2026, 10, 3)]),
    ("Asia/Kathmandu", &[]),
    ("Pacific/Apia", &[]),
    ("Africa/Casablanca", &[(2026, 2, 14), (2026, 3, 21)]),
    ("UTC", &[]),
];

impl Dice {
    pub(crate) fn of(parts: &[u64]) -> Self {
        let mut dice = Self(0x243F_6A88_85A3_08D3);
        for part in parts {
            dice.0 ^= part.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            dice.next();
        }
        dice
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// From `low` to `high`, both included.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high - low + 1)
    }

    pub(crate) fn percent(&mut self, share: u64) -> bool {
        self.between(0, 99) < share
    }

    pub(crate) fn seconds(&mut self, low: u64, high: u64) -> SignedDuration {
        SignedDuration::from_secs(self.between(low, high).cast_signed())
    }
}

impl Setting {
    pub(crate) fn of(seed: u64) -> Self {
        let mut dice = Dice::of(&[seed, 1]);
        let (name, changes) = ZONES[dice.between(0, ZONES.len() as u64 - 1) as usize];
        let zone = TimeZone::get(name).expect("a known zone");
        let day = if changes.is_empty() || dice.percent(30) {
            date(2026, 1, 1).checked_add(jiff::ToSpan::days(dice.between(0, 300).cast_signed())).expect("a day of 2026")
        } else {
            let (year, month, day) = changes[dice.between(0, changes.len() as u64 - 1) as usize];
            date(year, month, day).saturating_sub(jiff::ToSpan::days(dice.between(0, 4).cast_signed()))
        };
        let midnight = day.to_zoned(TimeZone::UTC).expect("a day").timestamp();
        // The first hours are calm, and belong to one day in every zone of the story.
        let quiet = |at: &Timestamp| {
            [TimeZone::UTC, zone.clone(), india()].iter().all(|zone| (2..19).contains(&zone.to_datetime(*at).hour()))
        };
        let start = (0..48).map(|half| midnight + SignedDuration::from_mins(half * 30)).find(quiet).unwrap_or(midnight);
        let long_outages = dice.percent(25);
        let start = start + dice.seconds(0, 599);
        let turmoil = SignedDuration::from_hours(
            if dice.percent(8) { dice.between(300, 500) } else { dice.between(20, 72) }.cast_signed(),
        );
        Self {
            zone,
            start,
            turmoil,
            intervals: [
                dice.between(2400, 9000),
                dice.between(2700, 9000),
                dice.between(2400, 3600),
                // Each poll signs a token, which takes longer than all else in it.
                dice.between(5400, 14_400),
            ],
            failures: dice.between(0, 25),
            long_outages,
            ozonetel: Choice::of(seed, turmoil),
        }
    }
}

pub(crate) fn india() -> TimeZone {
    TimeZone::get("Asia/Kolkata").expect("a known zone")
}
