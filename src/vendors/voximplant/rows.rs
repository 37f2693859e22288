//! Rows of a day, as both statistics of operators and that of queues have them: which day a row is about, and that one
//! bad row costs itself and nothing else.

use std::str::FromStr as _;

use jiff::civil::Date;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::errors;
use crate::amount::Amount;
use crate::catalogue::{Family, State};
use crate::client::Answer;
use crate::failure::Failure;
use crate::reading::{Bucket, Entity, Figure, Reading};
use crate::vendors::parse::{Parsed, Text};

/// One day of one entity.
pub trait Row: DeserializeOwned {
    /// The UTC day, as it came.
    fn date(&self) -> &str;
    /// What it counts.
    fn counts(&self) -> Vec<Count>;
}

/// One figure of a row.
#[derive(Debug, Clone, Copy)]
pub struct Count {
    /// Which counter.
    pub family: Family,
    /// Which state, if the counter has states.
    pub state: Option<State>,
    /// What came.
    pub amount: Parsed<Amount>,
}

/// One operator with all of his rows, which can nearly always be read at once.
#[derive(Deserialize)]
struct Operator<R> {
    user_id: Text,
    statistics: Vec<R>,
}

/// What a type calls an array and a text an object.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Single<T> {
    /// In an array. First, because an array would do for an object whose fields stand in order.
    Listed(Vec<T>),
    /// Alone.
    Alone(T),
}

// === impl Count ===

impl Count {
    /// A figure of a counter without states.
    pub const fn new(family: Family, amount: Parsed<Amount>) -> Self {
        Self { family, state: None, amount }
    }
}

// === impl Single ===

impl<T> Single<T> {
    /// The one that there is; absent if there is none, wrong if there are several.
    pub fn one(&self) -> Parsed<&T> {
        match self {
            Self::Alone(one) => Parsed::Value(one),
            Self::Listed(list) => match list.as_slice() {
                [] => Parsed::Absent,
                [one] => Parsed::Value(one),
                _ => Parsed::Wrong,
            },
        }
    }
}

/// Reads an answer that is grouped by operator and day; days other than `days` are passed over.
pub fn by_operator<R: Row>(answer: &Answer, days: &[Date]) -> Result<Reading, Failure> {
    let result = errors::result(answer)?;
    let operators: Vec<&RawValue> =
        serde_json::from_str(result.get()).map_err(|_| Failure::malformed("the answer holds no list of operators"))?;
    let mut reading = Reading { read: 1, days: days.to_vec(), ..Reading::default() };
    for operator in operators {
        if let Ok(Operator { user_id, statistics }) = serde_json::from_str::<Operator<R>>(operator.get()) {
            let entity = Entity::agent(user_id.as_str());
            for row in statistics {
                take(&mut reading, Some(row), entity.as_ref(), days);
            }
        } else if let Ok(Operator { user_id, statistics }) = serde_json::from_str::<Operator<&RawValue>>(operator.get())
        {
            // One by one, so that a bad row does not spoil the others.
            let entity = Entity::agent(user_id.as_str());
            for raw in statistics {
                take::<R>(&mut reading, read(raw), entity.as_ref(), days);
            }
        } else {
            reading.rejected += 1;
        }
    }
    Ok(reading)
}

/// The row, if it can be read.
pub fn read<R: Row>(raw: &RawValue) -> Option<R> {
    serde_json::from_str(raw.get()).ok()
}

/// Takes one row in, unless it could not be read, is about another day or cannot be trusted.
pub fn take<R: Row>(
    reading: &mut Reading,
    row: Option<R>,
    entity: Option<&Entity>,
    days: &[Date],
) -> Option<(Date, R)> {
    let Some((day, row)) = row.and_then(|row| Some((day(row.date())?, row))) else {
        reading.rejected += 1;
        return None;
    };
    if !days.contains(&day) {
        return None;
    }
    let counts = row.counts();
    // A row with one wrong figure is not trusted for the others.
    if counts.iter().any(|count| count.amount == Parsed::Wrong) {
        reading.rejected += 1;
        return None;
    }
    reading.rows += 1;
    let entity = entity?;
    for Count { family, state, amount } in counts {
        if let Parsed::Value(amount) = amount {
            reading.figures.push(Figure { family, entity: entity.clone(), state, bucket: Bucket::Day(day), amount });
        }
    }
    Some((day, row))
}

/// `YYYY-MM-DD` and nothing more.
fn day(text: &str) -> Option<Date> {
    Date::from_str(text).ok().filter(|_| text.len() == 10)
}
