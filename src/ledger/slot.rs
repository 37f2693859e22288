//! A slot is one number of one entity: a counter, a counter's state, or one part of a histogram. In memory it is three
//! bytes; in the state file it has a name, so that files outlive changes of the catalogue.

use crate::catalogue::{ALL, Family, Kind, STATES};

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
    /// The counter of one agent state, by its place in [`STATES`].
    State(u8),
    /// Observations that fell into this bucket of a histogram and into no lower one; one past the last bound is `+Inf`.
    Bucket(u8),
}

impl Slot {
    /// The counter of a family, of one state if it has states. An unknown state has no slot.
    pub fn counter(family: Family, state: Option<&str>) -> Option<Self> {
        let part = match state {
            None => Part::Whole,
            Some(state) => Part::State(u8::try_from(STATES.iter().position(|known| *known == state)?).ok()?),
        };
        Some(Self { family, part })
    }

    /// The histogram bucket into which `value` falls.
    pub fn bucket_of(family: Family, value: f64) -> Option<Self> {
        let Kind::Histogram(bounds) = family.spec().kind else { return None };
        let index = bounds.iter().position(|bound| value <= *bound).unwrap_or(bounds.len());
        Some(Self { family, part: Part::Bucket(u8::try_from(index).ok()?) })
    }

    /// A small number of its own, for tables.
    pub(super) fn index(self) -> usize {
        let part = match self.part {
            Part::Whole => 0,
            Part::State(index) => 1 + usize::from(index),
            Part::Bucket(index) => 257 + usize::from(index),
        };
        self.family as usize * 513 + part
    }

    /// The name in the state file: `family`, `family|state`, `family|<=30`.
    pub fn name(self) -> String {
        let spec = self.family.spec();
        match (self.part, spec.kind) {
            (Part::State(index), _) => format!("{}|{}", spec.name, STATES.get(usize::from(index)).unwrap_or(&"?")),
            (Part::Bucket(index), Kind::Histogram(bounds)) => {
                let bound = bounds.get(usize::from(index)).copied().unwrap_or(f64::INFINITY);
                format!("{}|<={bound}", spec.name)
            }
            _ => spec.name.to_owned(),
        }
    }

    /// The slot of that name; none if this version has no such family, state or bucket.
    pub fn parse(name: &str) -> Option<Self> {
        let (family, part) = name.split_once('|').map_or((name, None), |(family, part)| (family, Some(part)));
        let family = ALL.iter().copied().find(|known| known.spec().name == family)?;
        let Some(part) = part else { return Some(Self { family, part: Part::Whole }) };
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
            (None, _) => Self::counter(family, Some(part)),
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
            }
            for part in parts {
                let slot = Slot { family, part };
                assert_eq!(Slot::parse(&slot.name()), Some(slot), "{}", slot.name());
            }
        }
        for name in ["nonsense", "agent_talk_seconds_total|<=3", "campaign_talk_time_seconds|<=31", "up|flying"] {
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
}
