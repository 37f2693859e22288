//! The figures of GetACDQueueStatistics: a flat list of spans, of all queues that are asked for together, in which no queue is
//! named. The types say that counts are arrays, the texts that they are objects: every second queue shows an array.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Value, json};

use super::queue_of;
use super::statistics::{Aggregation, Samples, Span, keys};
use crate::simulator::Vendor;
use crate::simulator::truth::{Call, Truth};

/// Seconds of waiting that each queue promises to stay below.
const THRESHOLDS: [u64; 2] = [20, 60];

/// What a request asks for, checked.
pub(super) struct Query {
    pub(super) window: Range<i64>,
    /// Per queue, whether its calls count.
    pub(super) queues: Vec<bool>,
    pub(super) items: Vec<Item>,
    pub(super) aggregation: Aggregation,
    /// Short key names.
    pub(super) short: bool,
}

/// One figure of the report.
#[derive(Clone, Copy)]
pub(super) struct Item {
    pub(super) short: &'static str,
    long: &'static str,
    value: fn(&Bucket) -> Value,
}

/// Calls of one span of time.
#[derive(Default)]
struct Bucket {
    wait: Samples,
    answer: Samples,
    abandon: Samples,
    handling: Samples,
    talk: Samples,
    after: Samples,
    rejected: u64,
    in_time: [u64; THRESHOLDS.len()],
    /// Whether counts are shown in arrays.
    arrays: bool,
}

pub(super) const ITEMS: [Item; 17] = [
    Item { short: "WT", long: "WaitingTime", value: |bucket| bucket.wait.value() },
    Item { short: "SA", long: "SpeedOfAnswer", value: |bucket| bucket.answer.value() },
    Item { short: "AT", long: "AbandonmentTime", value: |bucket| bucket.abandon.value() },
    Item { short: "HT", long: "HandlingTime", value: |bucket| bucket.handling.value() },
    Item { short: "TT", long: "TalkTime", value: |bucket| bucket.talk.value() },
    Item { short: "ACW", long: "AfterCallWork", value: |bucket| bucket.after.value() },
    Item { short: "TC", long: "TotalCalls", value: |bucket| bucket.calls().into() },
    Item { short: "AC", long: "AnsweredCalls", value: |bucket| bucket.share(bucket.talk.count) },
    Item { short: "UAC", long: "UnansweredCalls", value: |bucket| bucket.share(bucket.abandon.count) },
    Item { short: "RC", long: "RejectedCalls", value: |bucket| bucket.share(bucket.rejected) },
    Item { short: "SL", long: "ServiceLevel", value: Bucket::service_level },
    Item { short: "TWT", long: "TotalWaitingTime", value: |bucket| bucket.wait.sum.into() },
    Item { short: "TST", long: "TotalSubmissionTime", value: |bucket| bucket.answer.sum.into() },
    Item { short: "TAT", long: "TotalAbandonmentTime", value: |bucket| bucket.abandon.sum.into() },
    Item { short: "THT", long: "TotalHandlingTime", value: |bucket| bucket.handling.sum.into() },
    Item { short: "TTT", long: "TotalTalkTime", value: |bucket| bucket.talk.sum.into() },
    Item { short: "TACW", long: "TotalAfterCallWork", value: |bucket| bucket.after.sum.into() },
];

impl Query {
    /// The `result`. A call falls into the span in which it came.
    pub(super) fn run(&self, truth: &Truth, now: i64) -> Value {
        let mut spans: BTreeMap<Span, Bucket> = BTreeMap::new();
        for agent in truth.agents(Vendor::Voximplant) {
            for call in truth.started_in(Vendor::Voximplant, agent.index, self.window.clone()) {
                if call.end() <= now && self.queues[queue_of(&call, self.queues.len())] {
                    spans.entry(self.aggregation.span(call.start)).or_default().add(&call, now);
                }
            }
        }
        let window = self.window.start..self.window.end.min(now + 1);
        for (queue, _) in self.queues.iter().enumerate().filter(|(_, counts)| **counts) {
            for at in u8::try_from(queue).map(|queue| truth.turned_away(queue, &window)).unwrap_or_default() {
                spans.entry(self.aggregation.span(at)).or_default().rejected += 1;
            }
        }
        let arrays = self.queues.iter().position(|counts| *counts).is_some_and(|first| first % 2 == 1);
        let record = |(span, mut bucket): (Span, Bucket)| {
            bucket.arrays = arrays;
            let mut record = keys(span);
            for item in &self.items {
                let value = (item.value)(&bucket);
                if !value.is_null() {
                    record.insert(if self.short { item.short } else { item.long }.to_owned(), value);
                }
            }
            Value::Object(record)
        };
        spans.into_iter().map(record).collect()
    }
}

impl Bucket {
    fn add(&mut self, call: &Call, now: i64) {
        let wait = u64::from(call.queue) + u64::from(call.ring);
        self.wait.add(wait);
        if !call.answered {
            self.abandon.add(wait);
            return;
        }
        let (talk, after) = (u64::from(call.talk), u64::from(call.wrap_up_by(now)));
        self.answer.add(wait);
        self.talk.add(talk);
        self.handling.add(talk + after);
        if after > 0 {
            self.after.add(after);
        }
        for (in_time, threshold) in self.in_time.iter_mut().zip(THRESHOLDS) {
            *in_time += u64::from(wait <= threshold);
        }
    }

    fn calls(&self) -> u64 {
        self.wait.count + self.rejected
    }

    fn share(&self, count: u64) -> Value {
        let share = json!({ "count": count, "percent": 100 * count / self.calls().max(1) });
        if self.arrays { json!([share]) } else { share }
    }

    #[expect(clippy::cast_precision_loss, reason = "calls of one day")]
    fn service_level(&self) -> Value {
        let level = |(threshold, in_time): (u64, u64)| {
            let share = in_time as f64 / self.calls().max(1) as f64;
            json!({ "acceptable_waiting_time": threshold, "call_count": in_time, "service_level": share })
        };
        THRESHOLDS.into_iter().zip(self.in_time).map(level).collect()
    }
}
