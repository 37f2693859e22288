//! The figures of GetACDOperatorStatistics and GetACDOperatorStatusStatistics, and the four shapes in which both are asked
//! for. A status that lasts over midnight belongs to both days in part, and one that lasts still counts up to the present:
//! a day's sums are bounded by the window.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Value, json};

use crate::simulator::Vendor;
use crate::simulator::times;
use crate::simulator::truth::{Agent, Call, DAY, Status, Truth};

/// What a request asks for, checked.
pub(super) struct Query {
    pub(super) window: Range<i64>,
    pub(super) what: What,
    pub(super) aggregation: Aggregation,
    pub(super) group: Group,
    /// Short key names.
    pub(super) short: bool,
}

/// Which of the two methods.
pub(super) enum What {
    Calls {
        /// Per queue, whether its calls count.
        queues: Vec<bool>,
        items: Vec<Item>,
    },
    Statuses(Vec<Status>),
}

#[derive(Clone, Copy)]
pub(super) enum Aggregation {
    None,
    Day,
    Hour,
    HourOfDay,
}

#[derive(Clone, Copy)]
pub(super) enum Group {
    User,
    Aggregation,
}

/// One figure of the report.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) short: &'static str,
    long: &'static str,
    value: fn(&Bucket) -> Value,
}

/// Samples of one operator in one span of time.
#[derive(Default)]
struct Bucket {
    answer: Samples,
    talk: Samples,
    after: Samples,
    handling: Samples,
    unanswered: u64,
    statuses: BTreeMap<Status, Samples>,
}

#[derive(Default)]
pub(super) struct Samples {
    min: u64,
    max: u64,
    pub(super) count: u64,
    pub(super) sum: u64,
}

/// Day and hour, as far as the aggregation tells them apart.
pub(super) type Span = (Option<i64>, Option<i64>);

pub(super) const ITEMS: [Item; 10] = [
    Item { short: "SA", long: "SpeedOfAnswer", value: |bucket| bucket.answer.value() },
    Item { short: "TT", long: "TalkTime", value: |bucket| bucket.talk.value() },
    Item { short: "ACW", long: "AfterCallWork", value: |bucket| bucket.after.value() },
    Item { short: "HT", long: "HandlingTime", value: |bucket| bucket.handling.value() },
    Item { short: "AC", long: "AnsweredCalls", value: |bucket| bucket.talk.count.into() },
    Item { short: "UAC", long: "UnansweredCalls", value: |bucket| bucket.unanswered.into() },
    Item { short: "TDT", long: "TotalDialingTime", value: |bucket| bucket.answer.sum.into() },
    Item { short: "THT", long: "TotalHandlingTime", value: |bucket| bucket.handling.sum.into() },
    Item { short: "TTT", long: "TotalTalkTime", value: |bucket| bucket.talk.sum.into() },
    Item { short: "TACW", long: "TotalAfterCallWork", value: |bucket| bucket.after.sum.into() },
];

impl Query {
    /// The `result`.
    pub(super) fn run(&self, truth: &Truth, agents: &[&Agent], now: i64) -> Value {
        let per_user: Vec<_> = agents.iter().map(|agent| (*agent, self.buckets(truth, agent, now))).collect();
        match self.group {
            Group::User => per_user
                .iter()
                .filter(|(_, buckets)| !buckets.is_empty())
                .map(|(agent, buckets)| {
                    let statistics: Vec<_> =
                        buckets.iter().map(|(span, bucket)| self.record(keys(*span), bucket)).collect();
                    json!({ "user_id": user_id(agent), "statistics": statistics })
                })
                .collect(),
            Group::Aggregation => {
                let mut spans: BTreeMap<Span, Vec<Value>> = BTreeMap::new();
                for (agent, buckets) in &per_user {
                    for (span, bucket) in buckets {
                        let user = Map::from_iter([("user_id".to_owned(), user_id(agent))]);
                        spans.entry(*span).or_default().push(self.record(user, bucket));
                    }
                }
                spans
                    .into_iter()
                    .map(|(span, statistics)| {
                        let mut outer = keys(span);
                        outer.insert("statistics".to_owned(), statistics.into());
                        Value::Object(outer)
                    })
                    .collect()
            }
        }
    }

    fn buckets(&self, truth: &Truth, agent: &Agent, now: i64) -> BTreeMap<Span, Bucket> {
        let mut buckets: BTreeMap<Span, Bucket> = BTreeMap::new();
        match &self.what {
            What::Calls { queues, .. } => {
                for call in truth.started_in(Vendor::Voximplant, agent.index, self.window.clone()) {
                    if call.end() <= now && queues[super::queue_of(&call, queues.len())] {
                        buckets.entry(self.aggregation.span(call.ring_start())).or_default().add(&call, now);
                    }
                }
            }
            What::Statuses(wanted) => {
                let window = self.window.start..self.window.end.min(now);
                for stay in truth.statuses(agent.index, window) {
                    if !wanted.contains(&stay.status) {
                        continue;
                    }
                    let (mut from, to) = (stay.from, stay.to);
                    while from < to {
                        let end = to.min(self.aggregation.end(from));
                        let bucket = buckets.entry(self.aggregation.span(from)).or_default();
                        bucket.statuses.entry(stay.status).or_default().add((end - from).unsigned_abs());
                        from = end;
                    }
                }
            }
        }
        buckets
    }

    fn record(&self, mut record: Map<String, Value>, bucket: &Bucket) -> Value {
        match &self.what {
            What::Calls { items, .. } => {
                for item in items {
                    let value = (item.value)(bucket);
                    if !value.is_null() {
                        record.insert(if self.short { item.short } else { item.long }.to_owned(), value);
                    }
                }
            }
            What::Statuses(_) => {
                let statuses =
                    bucket.statuses.iter().map(|(status, samples)| (name(*status).to_owned(), samples.value()));
                record.insert("acd_status".to_owned(), Value::Object(statuses.collect()));
            }
        }
        Value::Object(record)
    }
}

impl Aggregation {
    pub(super) fn span(self, at: i64) -> Span {
        // From 0, as the vendor's own sample has it; its text says from 1.
        let (day, hour) = (at.div_euclid(DAY), at.rem_euclid(DAY) / 3600);
        match self {
            Self::None => (None, None),
            Self::Day => (Some(day), None),
            Self::Hour => (Some(day), Some(hour)),
            Self::HourOfDay => (None, Some(hour)),
        }
    }

    /// Where the span ends in which `at` lies.
    fn end(self, at: i64) -> i64 {
        let next = |length: i64| (at.div_euclid(length) + 1) * length;
        match self {
            Self::None => i64::MAX,
            Self::Day => next(DAY),
            Self::Hour | Self::HourOfDay => next(3600),
        }
    }
}

/// As the vendor writes it.
pub(super) const fn name(status: Status) -> &'static str {
    match status {
        Status::Offline => "OFFLINE",
        Status::Online => "ONLINE",
        Status::Ready => "READY",
        Status::Banned => "BANNED",
        Status::InService => "IN_SERVICE",
        Status::AfterService => "AFTER_SERVICE",
        Status::Timeout => "TIMEOUT",
        Status::Dnd => "DND",
    }
}

impl Bucket {
    fn add(&mut self, call: &Call, now: i64) {
        if !call.answered {
            self.unanswered += 1;
            return;
        }
        let (talk, after) = (u64::from(call.talk), u64::from(call.wrap_up_by(now)));
        self.answer.add(call.ring.into());
        self.talk.add(talk);
        self.handling.add(talk + after);
        if after > 0 {
            self.after.add(after);
        }
    }
}

impl Samples {
    pub(super) fn add(&mut self, sample: u64) {
        self.min = if self.count == 0 { sample } else { self.min.min(sample) };
        self.max = self.max.max(sample);
        self.count += 1;
        self.sum += sample;
    }

    /// Absent without samples; the average is rounded down.
    pub(super) fn value(&self) -> Value {
        if self.count == 0 {
            return Value::Null;
        }
        let avg = self.sum / self.count;
        json!({ "min": self.min, "avg": avg, "max": self.max, "count": self.count, "sum": self.sum })
    }
}

pub(super) fn keys((day, hour): Span) -> Map<String, Value> {
    let mut keys = Map::new();
    if let Some(day) = day {
        keys.insert("date".to_owned(), times::day(day * DAY, 0).to_string().into());
    }
    if let Some(hour) = hour {
        keys.insert("hour".to_owned(), hour.into());
    }
    keys
}

/// The vendor's types say string, its sample says number: every fourth operator shows a string.
pub(super) fn user_id(agent: &Agent) -> Value {
    if agent.index % 4 == 3 { agent.key.clone().into() } else { agent.number.into() }
}
