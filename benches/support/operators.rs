//! A Voximplant account with many operators, all of whose figures grow with every poll: what its vendor answers, and a
//! report that is kept in memory and shown on a page.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use contact_center_exporter::client::Answer;
use contact_center_exporter::health::{Health, ReportId};
use contact_center_exporter::ledger::calendar::Due;
use contact_center_exporter::ledger::store::{Store, StoreError, Writes};
use contact_center_exporter::ledger::{Book, Ledger};
use contact_center_exporter::page::Page;
use contact_center_exporter::poll::Shown;
use contact_center_exporter::reading::Reading;
use contact_center_exporter::settings::{AgentLabel, ReportSettings};
use contact_center_exporter::vendors::Calendar;
use contact_center_exporter::vendors::voximplant::operator_statistics;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

/// Series that an operator's row makes: answered calls count as handled ones too.
pub(crate) const SERIES: usize = 7;

/// A store that forgets when it is dropped.
#[derive(Default)]
pub(crate) struct Memory(BTreeMap<String, Vec<u8>>);

/// One account's report.
pub(crate) struct Account {
    pub(crate) book: Arc<Mutex<Book>>,
    pub(crate) shown: Arc<Shown>,
    now: Timestamp,
}

/// The answer of the vendor for one day: ten figures an operator, four of which nobody asked for. They grow with `turn`.
pub(crate) fn answer(day: Date, operators: usize, turn: usize) -> String {
    let mut answer = String::with_capacity(operators * 160);
    answer.push_str("{\"result\":[");
    for n in 0..operators {
        let comma = if n == 0 { "" } else { "," };
        // Nobody's figures are another's.
        let calls = turn * (2 + n % 3) + n * 31 % 97;
        let (missed, ring, talk, after) =
            (calls / 7, calls * 4 + n % 5, calls * 171 + n * 37 % 1000, calls * 22 + n % 19);
        // Writing into a string does not fail.
        let _ = write!(
            answer,
            "{comma}{{\"user_id\":{},\"statistics\":[{{\"date\":\"{day}\",\"AC\":{calls},\"UAC\":{missed},\"TDT\":{ring},\
             \"THT\":{},\"TTT\":{talk},\"TACW\":{after},\"AHT\":{},\"ATT\":{},\"AACW\":{},\"ADT\":{}}}]}}",
            100_001 + n,
            talk + after,
            (talk + after) / calls.max(1),
            talk / calls.max(1),
            after / calls.max(1),
            ring / calls.max(1),
        );
    }
    answer.push_str("]}");
    answer
}

impl Store for Memory {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let pairs = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        for (key, value) in writes {
            match value {
                Some(value) => self.0.insert(key.clone(), value.clone()),
                None => self.0.remove(key),
            };
        }
        Ok(())
    }
}

impl Account {
    pub(crate) fn new(name: &str, now: Timestamp) -> anyhow::Result<Self> {
        let ledger = Ledger::open(Box::<Memory>::default(), "bench")?;
        let book = ledger.book("voximplant", name, "operator_statistics", ledger.names(AgentLabel::Plain, None))?;
        let book = Arc::new(Mutex::new(book));
        let id = ReportId { vendor: "voximplant", account: name.into(), report: "operator_statistics" };
        let health = Health::default();
        health.register(&id, Duration::from_mins(1), None);
        let shown = Arc::new(Shown::new(&id, &calendar(), Arc::clone(&book), health));
        shown.set_fresh(true);
        Ok(Self { book, shown, now })
    }

    /// The day that it is polled on.
    pub(crate) fn day(&self) -> Date {
        TimeZone::UTC.to_datetime(self.now).date()
    }

    pub(crate) fn decode(&self, body: &Bytes) -> anyhow::Result<Reading> {
        let answer = Answer { status: 200, retry_after: None, body: body.clone() };
        operator_statistics::decode(&answer, &[self.day()]).map_err(|failure| anyhow::anyhow!("{failure:?}"))
    }

    pub(crate) fn apply(&mut self, reading: &Reading) -> anyhow::Result<()> {
        self.now += 1.second();
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        book.apply(reading, self.now, &calendar(), &settings(), &Due::default())?;
        Ok(())
    }

    pub(crate) fn publish(&self, page: &Page, slot: usize) {
        page.publish(slot, Arc::clone(&self.shown) as Arc<_>);
    }
}

fn calendar() -> Calendar {
    Calendar::Days { zone: TimeZone::UTC }
}

fn settings() -> ReportSettings {
    let minutes = Duration::from_mins;
    ReportSettings::every(minutes(1))
}
