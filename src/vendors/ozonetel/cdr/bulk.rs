//! Rows of a list of many calls, put together to calls. A call that goes on, as one of its legs says, counts nothing yet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::SignedDuration;
use jiff::civil::DateTime;
use serde_json::Value;

use super::{Leg, Row as _, RowV2, count_call};
use crate::ledger::windows::{Window, window_at};
use crate::reading::{CallId, Reading};

/// So long after its end a leg, and the next one of its call, is listed for sure.
const LISTED_BY: SignedDuration = SignedDuration::from_mins(1);
/// The same where the caller left a queue and nobody hung up: he talks to somebody, and that leg may come with its end.
const HANDED_ON: SignedDuration = SignedDuration::from_mins(30);
/// Legs of a call that begin further apart are not put together.
const LONGEST_WAIT: SignedDuration = SignedDuration::from_hours(2);

/// What a list held.
#[derive(Debug, Default)]
pub(in crate::vendors::ozonetel) struct Listed {
    calls: BTreeMap<CallId, Vec<Leg>>,
    /// Rows that could not be read.
    pub(in crate::vendors::ozonetel) rejected: u64,
    /// Rows of calls that go on.
    open: u64,
}

impl Listed {
    /// How many rows could be read.
    pub(in crate::vendors::ozonetel) fn legs(&self) -> u64 {
        self.calls.values().map(|legs| legs.len() as u64).sum::<u64>() + self.open
    }

    /// The calls.
    pub(in crate::vendors::ozonetel) fn calls(&self) -> impl Iterator<Item = Seen> {
        self.calls.values().map(|legs| Seen::of(legs))
    }

    /// When they began.
    pub(in crate::vendors::ozonetel) fn starts(&self) -> impl Iterator<Item = DateTime> {
        self.calls.values().flatten().map(|leg| leg.start)
    }
}

/// What is known of a call, for whoever decides whether it counts.
pub(in crate::vendors::ozonetel) struct Seen {
    /// Those in which its legs began.
    pub(in crate::vendors::ozonetel) windows: Vec<Window>,
    /// Of an inbound call without an answered leg: the last one.
    pub(in crate::vendors::ozonetel) unanswered: Option<LastLeg>,
    /// From when to when the caller waited in a queue, the longest time.
    pub(in crate::vendors::ozonetel) wait: Option<(DateTime, DateTime)>,
}

/// The last leg of a call that nobody has answered.
#[derive(Debug, Clone, Copy)]
pub(in crate::vendors::ozonetel) struct LastLeg {
    pub(in crate::vendors::ozonetel) start: DateTime,
    pub(in crate::vendors::ozonetel) end: DateTime,
    /// Whether it was a queue, and the caller went on from there.
    pub(in crate::vendors::ozonetel) handed_on: bool,
}

/// Reads rows, each of which comes once.
pub(in crate::vendors::ozonetel) fn assemble(rows: impl Iterator<Item = Value>) -> Listed {
    let mut listed = Listed::default();
    let mut open = BTreeSet::new();
    for row in rows {
        // A list would be taken for the fields in their order.
        let row: Option<RowV2> = row.is_object().then(|| serde_json::from_value(row).ok()).flatten();
        match row {
            Some(row) if row.is_open() => {
                listed.open += 1;
                open.extend(super::id(&row.call_id).map(CallId::new));
            }
            Some(row) => match row.leg() {
                Some(leg) => listed.calls.entry(leg.call.clone()).or_default().push(leg),
                None => listed.rejected += 1,
            },
            None => listed.rejected += 1,
        }
    }
    for id in open {
        listed.open += listed.calls.remove(&id).map_or(0, |legs| legs.len() as u64);
    }
    for legs in listed.calls.values_mut() {
        legs.sort_by_key(|leg| leg.start);
    }
    listed
}

/// Adds the figures of all legs, and those of the calls of which `may_count` says so, by the windows of their legs.
pub(in crate::vendors::ozonetel) fn count(
    listed: &Listed,
    mut may_count: impl FnMut(&CallId, &Seen) -> bool,
    reading: &mut Reading,
) {
    for (id, legs) in &listed.calls {
        for leg in legs {
            leg.count(reading);
        }
        if may_count(id, &Seen::of(legs)) {
            count_call(id, &legs.iter().collect::<Vec<_>>(), reading);
        }
    }
}

impl Seen {
    fn of(legs: &[Leg]) -> Self {
        let last = legs.iter().max_by_key(|leg| (leg.end, leg.hung_up));
        let unanswered = legs.iter().all(|leg| leg.inbound && !leg.answered);
        let queued = legs.iter().filter(|leg| leg.is_queue());
        Self {
            windows: legs.iter().map(|leg| (leg.day, window_at(leg.start.time()))).collect(),
            unanswered: last.filter(|_| unanswered).map(LastLeg::of),
            wait: queued.map(|leg| (leg.start, leg.end)).max_by_key(|(start, end)| end.duration_since(*start)),
        }
    }
}

impl LastLeg {
    fn of(leg: &Leg) -> Self {
        Self { start: leg.start, end: leg.end, handed_on: leg.is_queue() && !leg.hung_up }
    }

    /// Whether another leg may follow that is not listed yet.
    pub(in crate::vendors::ozonetel) fn may_go_on(&self, now: DateTime) -> bool {
        // A leg is listed when it is over: so long a one that has yet to end says something wrong.
        let believed = self.end <= now || self.end.duration_since(self.start) <= LONGEST_WAIT;
        let patience = if self.handed_on { HANDED_ON } else { LISTED_BY };
        believed && self.end.saturating_add(patience) > now
    }
}
