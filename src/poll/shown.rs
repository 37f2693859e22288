//! What one report shows: the counters of its book while they are fresh, and its gauges, each until `stale_after` has
//! passed since its own entity's last success; and how its polls went. The page encodes it whenever it needs to.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use tokio::time::Instant;

use crate::catalogue::{Family, Kind};
use crate::health::{Health, ReportId};
use crate::ledger::slot::Part;
use crate::ledger::{Book, Total};
use crate::page::histogram::{HistogramValue, Native};
use crate::page::{Encoder, Source, Value};
use crate::reading::{Entity, Gauge, Reading, fit};
use crate::vendors::Calendar;

/// The source of one report's block.
pub struct Shown {
    id: ReportId,
    vendor: Arc<str>,
    health: Health,
    /// Where a bucket's day begins; none where buckets are no days.
    zone: Option<TimeZone>,
    book: Arc<Mutex<Book>>,
    gauges: Mutex<Gauges>,
}

/// A gauge's identity.
type GaugeKey = (Family, Entity, Extra);
/// Labels beside the entity's. Many gauges share them.
type Extra = Arc<[(&'static str, String)]>;

/// The values that are not counters, each with the time of its own last success.
#[derive(Debug, Default)]
pub(super) struct Gauges {
    /// Whether counters and names are shown.
    fresh: bool,
    values: BTreeMap<GaugeKey, (f64, Instant)>,
}

// === impl Shown ===

impl Shown {
    /// What a report shows that keeps its counters in `book`: nothing yet.
    pub fn new(id: &ReportId, calendar: &Calendar, book: Arc<Mutex<Book>>, health: Health) -> Self {
        let zone = calendar.days().or_else(|| calendar.calls()).cloned();
        let gauges = Mutex::default();
        Self { id: id.clone(), vendor: id.vendor.into(), health, zone, book, gauges }
    }

    /// Says whether counters and names may be shown.
    pub fn set_fresh(&self, fresh: bool) {
        self.gauges().fresh = fresh;
    }

    pub(super) fn gauges(&self) -> MutexGuard<'_, Gauges> {
        self.gauges.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn book(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Drops the values of entities of which the vendor says that there is no data, and also the names of those that nobody
    /// names any more.
    pub(super) fn leave(&self, reading: &Reading) {
        let book = self.book();
        let named = |entities: &[Entity]| entities.iter().map(|entity| book.name(entity)).collect::<BTreeSet<_>>();
        let silent = named(&reading.silent);
        let roster = reading.roster.as_deref().map(named);
        self.gauges().values.retain(|(family, entity, _), _| {
            let silent = silent.contains(entity) && !family.spec().is_info();
            !silent && roster.as_ref().is_none_or(|roster| roster.contains(entity))
        });
    }

    /// Takes in the gauges of a poll that succeeded.
    pub(super) fn take_in(&self, reading: &Reading) {
        self.leave(reading);
        let (book, mut gauges) = (self.book(), self.gauges());
        let now = Instant::now();
        let mut last = Extra::default();
        for Gauge { family, entity, labels, value } in &reading.gauges {
            let info = family.spec().is_info();
            if matches!(entity, Entity::Agent(_)) && (!book.shows_agents() || info && !book.shows_plain_agents()) {
                continue;
            }
            let entity = book.name(entity);
            if info {
                // One name per entity: the newest.
                let from = (*family, entity.clone(), Extra::default());
                let old = gauges.values.range(from..).map(|(key, _)| key);
                let old = old.take_while(|key| key.0 == *family && key.1 == entity);
                for key in old.cloned().collect::<Vec<_>>() {
                    gauges.values.remove(&key);
                }
            }
            if labels.as_slice() != &*last {
                last = labels.iter().map(|(name, value)| (*name, fit(value))).collect();
            }
            gauges.values.insert((*family, entity, Arc::clone(&last)), (*value, now));
        }
    }

    /// The second at which a day begins.
    fn start_of(&self, day: Date) -> Option<f64> {
        let start = day.to_zoned(self.zone.clone()?).ok()?.timestamp();
        #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch")]
        Some(start.as_second() as f64)
    }
}

impl Source for Shown {
    fn write(&self, encoder: &mut Encoder<'_>) {
        self.health.samples_of(&self.id).write(encoder);
        let gauges = {
            // Never both locks the other way round: `take_in` holds the book's first, too.
            let book = self.book();
            let gauges = self.gauges();
            if gauges.fresh {
                let mut starts = BTreeMap::new();
                book.each_total(|entity, totals| {
                    about(encoder, &self.vendor, &self.id.account, entity);
                    let start = |day: Option<Date>| *starts.entry(day?).or_insert_with_key(|day| self.start_of(*day));
                    add_counters(encoder, totals, start);
                });
            }
            gauges
        };
        for ((family, entity, extra), (value, _)) in &gauges.values {
            about(encoder, &self.vendor, &self.id.account, entity);
            let extra: Vec<(&'static str, &str)> = extra.iter().map(|(name, value)| (*name, value.as_str())).collect();
            encoder.add(*family, &extra, &Value::Gauge(*value), None);
        }
    }
}

fn about(encoder: &mut Encoder<'_>, vendor: &Arc<str>, account: &Arc<str>, entity: &Entity) {
    let (vendor, account) = (("vendor", vendor), ("account", account));
    match entity {
        Entity::Account => encoder.about(&[vendor, account]),
        Entity::Agent(key) => encoder.about(&[vendor, account, ("agent", key)]),
        Entity::Campaign(key) => encoder.about(&[vendor, account, ("campaign", key)]),
        Entity::Queue(key) => encoder.about(&[vendor, account, ("queue", key)]),
    }
}

fn add_counters(encoder: &mut Encoder<'_>, totals: &[Total], mut start: impl FnMut(Option<Date>) -> Option<f64>) {
    for group in totals.chunk_by(|a, b| a.slot.family == b.slot.family) {
        let Some(first) = group.first() else { continue };
        let family = first.slot.family;
        if let Kind::Histogram(bounds) = family.spec().kind {
            encoder.add(family, &[], &Value::Histogram(histogram(bounds, group)), start(first.since));
            continue;
        }
        for Total { slot, amount, since } in group {
            let state = match slot.part {
                Part::State(state) => Some(("state", state.name())),
                _ => None,
            };
            encoder.add(family, state.as_slice(), &Value::Counter(*amount), start(*since));
        }
    }
}

fn histogram(bounds: &[f64], totals: &[Total]) -> HistogramValue {
    let mut value = HistogramValue {
        buckets: bounds.iter().copied().chain([f64::INFINITY]).map(|bound| (bound, 0)).collect(),
        ..HistogramValue::default()
    };
    let mut native = Native::default();
    for total in totals {
        let count = total.amount.as_whole().unwrap_or_default();
        match total.slot.part {
            Part::Whole => value.sum = total.amount.as_f64(),
            Part::Bucket(index) => {
                if let Some(bucket) = value.buckets.get_mut(usize::from(index)) {
                    bucket.1 = count;
                }
            }
            Part::Native(number) => match Part::native_index(number) {
                Some(index) => native.buckets.push((index, count)),
                None => native.zero = count,
            },
            Part::State(_) => {}
        }
    }
    // What was observed before there were native buckets is in none of them.
    let count: u64 = value.buckets.iter().map(|(_, count)| count).sum();
    value.native = Some(native).filter(|native| native.count() == count);
    value
}

// === impl Gauges ===

impl Gauges {
    /// A value leaves when its own entity has been silent for too long; a name stays as long as the report's counters do.
    pub(super) fn expire(&mut self, stale_after: Duration) {
        let (now, fresh) = (Instant::now(), self.fresh);
        let stays =
            |family: &Family, at: &Instant| if family.spec().is_info() { fresh } else { *at + stale_after > now };
        self.values.retain(|(family, ..), (_, at)| stays(family, at));
    }

    pub(super) fn next_expiry(&self, stale_after: Duration) -> Option<Instant> {
        let values = self.values.iter().filter(|((family, ..), _)| !family.spec().is_info());
        values.map(|(_, (_, at))| *at + stale_after).min()
    }
}
