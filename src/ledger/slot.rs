//! A slot is one number of one entity: a counter, a counter's state, or one part of a histogram. In memory it is three
//! bytes; in the state file it has a name, so that files outlive changes of the catalogue.

use crate::catalogue::{ALL, Family, Kind, State};
use crate::page::histogram::native_bucket;

/// Which number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot {
    /// The family.
    pub family: Family,
    /// Which part of it.
    pub part: Part,
}

/// Which part of a family.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The counter itself, or the sum of a histogram.
    Whole,
    /// The counter of one agent state.
    State(State),
    /// Observations that fell into this bucket of a histogram and into no lower one; one past the last bound is `+Inf`.
    Bucket(u8),
    /// Observations in the native bucket of this index plus [`NATIVE_ZERO`]; 0 holds those of zero.
    Native(u8),
}

/// Native buckets from 2^-10, the smallest amount, up to far beyond a day in seconds have a number from 1 on.
const NATIVE_ZERO: i32 = 81;

impl Part {
    /// The index of a native bucket; none for the one that holds zeros.
    pub fn native_index(number: u8) -> Option<i32> {
        (number > 0).then(|| i32::from(number) - NATIVE_ZERO)
    }
}

impl Slot {
    /// The counter of a family, of one state if it has states.
    pub fn counter(family: Family, state: Option<State>) -> Self {
        Self { family, part: state.map_or(Part::Whole, Part::State) }
    }

    /// The histogram bucket into which `value` falls.
    pub fn bucket_of(family: Family, value: f64) -> Option<Self> {
        let Kind::Histogram(bounds) = family.spec().kind else { return None };
        let index = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        Some(Self { family, part: Part::Bucket(u8::try_from(index).ok()?) })
    }

    /// The native bucket into which `value` falls.
    pub fn native_of(family: Family, value: f64) -> Self {
        let number = native_bucket(value).map_or(0, |index| index.saturating_add(NATIVE_ZERO).max(1));
        Self { family, part: Part::Native(u8::try_from(number).unwrap_or(u8::MAX)) }
    }

    /// A small number of its own, for tables.
    pub(super) fn index(self) -> usize {
        let part = match self.part {
            Part::Whole => 0,
            Part::State(state) => 1 + state as usize,
            Part::Bucket(index) => 257 + usize::from(index),
            Part::Native(number) => 513 + usize::from(number),
        };
        self.family as usize * 769 + part
    }

    /// The name in the state file: `family`, `family|state`, `family|<=30`, `family|native 9`.
    pub fn name(self) -> String {
        let spec = self.family.spec();
        match (self.part, spec.kind) {
            (Part::State(state), _) => format!("{}|{}", spec.name, state.name()),
            (Part::Bucket(index), Kind::Histogram(bounds)) => {
                let bound = bounds.get(usize::from(index)).copied().unwrap_or(f64::INFINITY);
                format!("{}|<={bound}", spec.name)
            }
            (Part::Native(number), _) => format!("{}|native {number}", spec.name),
            _ => spec.name.to_owned(),
        }
    }

    /// The slot of that name; none if this version has no such family, state or bucket.
    pub fn parse(name: &str) -> Option<Self> {
        let (family, part) = name.split_once('|').map_or((name, None), |(family, part)| (family, Some(part)));
        let family = ALL.iter().copied().find(|known| known.spec().name == family)?;
        let Some(part) = part else { return Some(Self { family, part: Part::Whole }) };
        if let Some(number) = part.strip_prefix("native ") {
            let is_histogram = matches!(family.spec().kind, Kind::Histogram(_));
            return Some(Self { family, part: Part::Native(number.parse().ok().filter(|_| is_histogram)?) });
        }
        match (part.strip_prefix("<="), family.spec().kind) {
            (Some(bound), Kind::Histogram(bounds)) => {
                let bound: f64 = bound.parse().ok()?;
                let index = if bound.is_infinite() {
                    bounds.len()
                } else {
                    bounds.iter().position(|known| (known - bound).abs() < f64::EPSILON)?
                };
                Some(Self { family, part: Part::Bucket(u8::try_from(index).ok()?) })
            }
            (Some(_), _) => None,
            (None, _) => {
                let state = State::ALL.into_iter().find(|state| state.name() == part)?;
                Some(Self::counter(family, Some(state)))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_slot_finds_itself_again_by_name() {
        for family in ALL.iter().copied() {
            let mut parts = vec![Part::Whole];
            if let Kind::Histogram(bounds) = family.spec().kind {
                parts.extend((0..=bounds.len()).map(|index| Part::Bucket(u8::try_from(index).unwrap())));
                parts.extend([0, 1, 81, 255].map(Part::Native));
            }
            for part in parts {
                let slot = Slot { family, part };
                assert_eq!(Slot::parse(&slot.name()), Some(slot), "{}", slot.name());
            }
        }
        for name in
            ["nonsense", "agent_talk_seconds_total|<=3", "campaign_talk_time_seconds|<=31", "up|flying", "up|native 3"]
        {
            assert_eq!(Slot::parse(name), None, "{name}");
        }
    }

    #[test]
    fn a_value_on_the_bound_falls_below_it() {
        let bucket = |value| Slot::bucket_of(Family::CampaignTalkTime, value).map(Slot::name);
        assert_eq!(bucket(5.0).as_deref(), Some("campaign_talk_time_seconds|<=5"));
        assert_eq!(bucket(5.1).as_deref(), Some("campaign_talk_time_seconds|<=15"));
        assert_eq!(bucket(99_999.0).as_deref(), Some("campaign_talk_time_seconds|<=inf"));
        assert_eq!(Slot::bucket_of(Family::Up, 1.0), None);
    }

    #[test]
    fn native_buckets_have_numbers() {
        let of = |value| match Slot::native_of(Family::CampaignTalkTime, value).part {
            Part::Native(number) => Part::native_index(number),
            _ => panic!("another part"),
        };
        for value in [0.001, 0.5, 1.0, 61.0, 86_400.0] {
            assert_eq!(of(value), native_bucket(value), "{value}");
        }
        assert_eq!((of(0.0), of(1e12)), (None, Some(174)));
    }
}
