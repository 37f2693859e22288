//! What the reports of local days have in common: they hold no date, so every day is asked for by itself. Today has to be
//! read for the poll to succeed; a past day that fails is asked for again by the next poll. What stands in a row, and what
//! the rows of a day add up to, is each report's own.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::{Access, answer};
use crate::catalogue::Family;
use crate::client::Lane;
use crate::failure::Failure;
use crate::reading::{Bucket, Entity, Reading};
use crate::vendors::Poll;

/// One day of a report, as its rows add up.
pub(super) trait Day: Default + Send + 'static {
    /// Name in the configuration and on health series.
    const NAME: &'static str;
    /// The vendor's name of the API.
    const API: &'static str;
    /// What is asked for beside the window.
    const PARAMETERS: &'static [(&'static str, &'static str)] = &[];
    /// A row as the vendor writes it.
    type Row: DeserializeOwned;

    /// Takes a row in.
    fn take(&mut self, row: &Self::Row) -> Taken;
    /// What the day adds to counters.
    fn figures(&self, bucket: &Bucket, reading: &mut Reading);
    /// What is shown of it while it is today.
    fn gauges(&self, reading: &mut Reading);
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Taken {
    /// It counts.
    Counted,
    /// It is the sum of the others, or nobody's.
    Nobodys,
    /// It cannot be read.
    Rejected,
}

/// A report of local days.
pub(super) struct Daily<D> {
    access: Access,
    lane: Lane,
    shown: Shown,
    day: std::marker::PhantomData<fn() -> D>,
}

/// The values that the last poll showed: what today's answer holds no more has to leave the page.
type Shown = BTreeSet<(Entity, Family, Vec<(&'static str, String)>)>;

/// One answer, read.
#[derive(Default)]
struct Sheet<D> {
    day: D,
    rows: u64,
    rejected: u64,
}

/// A consolidated row has no name, or a word for all.
pub(super) fn agent(name: &str) -> Option<Entity> {
    let name = name.trim();
    let all = ["total", "all", "todos"].iter().any(|word| name.eq_ignore_ascii_case(word));
    if all { None } else { Entity::agent(name) }
}

// === impl Daily ===

impl<D: Day> Daily<D> {
    pub(super) fn boxed(access: Access, lane: Lane) -> Box<dyn crate::vendors::Report> {
        Box::new(Self { access, lane, shown: Shown::new(), day: std::marker::PhantomData })
    }

    /// Shows today's values. Those of the last poll that it lacks are told as gone, which leaves the names.
    fn show(&mut self, day: &D, reading: &mut Reading) {
        day.gauges(reading);
        let values = reading.gauges.iter().filter(|gauge| !gauge.family.spec().is_info());
        let shown = values.map(|gauge| (gauge.entity.clone(), gauge.family, gauge.labels.clone())).collect();
        let gone: BTreeSet<_> = self.shown.difference(&shown).map(|(entity, ..)| entity.clone()).collect();
        reading.silent.extend(gone);
        self.shown = shown;
    }
}

impl<D: Day> crate::vendors::Report for Daily<D> {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let mut reading = Reading::default();
            let next_day = self.access.next_day(poll.now);
            let Some((&today, past)) = poll.days.split_last() else { return Ok(reading) };
            for &day in past.iter().chain([&today]) {
                let request = self.access.day(D::API, D::PARAMETERS, day)?;
                let asked = poll.client.ask(&self.lane, &request, |answer| {
                    let mut sheet = Sheet::<D>::default();
                    answer::rows(answer, next_day, |row| sheet.take(row))?;
                    Ok(sheet)
                });
                match asked.await {
                    Ok(read) if read.unreadable() && day == today => {
                        // Past days do not make up for a present that cannot be read.
                        return Ok(Reading {
                            read: 1,
                            rejected: reading.rejected + read.rejected,
                            ..Reading::default()
                        });
                    }
                    Ok(read) if read.unreadable() => {
                        reading.rejected += read.rejected;
                        reading.failures.push(Failure::malformed("no row of the answer could be read"));
                    }
                    Ok(read) => {
                        read.add_to(&mut reading, day);
                        if day == today {
                            self.show(&read.day, &mut reading);
                        }
                    }
                    Err(failure) if day == today || failure.ends_account() => {
                        return Err(failure);
                    }
                    Err(failure) => reading.failures.push(failure),
                }
            }
            Ok(reading)
        })
    }
}

// === impl Sheet ===

impl<D: Day> Sheet<D> {
    fn take(&mut self, raw: &RawValue) {
        // A list would be taken for the fields in their order.
        let row = raw.get().starts_with('{').then(|| serde_json::from_str::<D::Row>(raw.get()));
        let taken = match row {
            Some(Ok(row)) => self.day.take(&row),
            _ => Taken::Rejected,
        };
        self.rows += u64::from(taken == Taken::Counted);
        self.rejected += u64::from(taken == Taken::Rejected);
    }

    fn unreadable(&self) -> bool {
        self.rows == 0 && self.rejected > 0
    }

    fn add_to(&self, reading: &mut Reading, day: Date) {
        self.day.figures(&Bucket::Day(day), reading);
        reading.read += 1;
        reading.rows += self.rows;
        reading.rejected += self.rejected;
        reading.days.push(day);
    }
}
