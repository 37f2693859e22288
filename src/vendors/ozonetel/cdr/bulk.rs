//! Rows of a list of many calls, put together to calls. A call that goes on, as one of its legs says, counts nothing yet.

use std::collections::{BTreeMap, BTreeSet};

use jiff::civil::DateTime;
use serde_json::Value;

use super::{Leg, Row as _, RowV2, count_call};
use crate::ledger::windows::{Window, window_at};
use crate::reading::{CallId, Reading};

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
    /// Of an inbound call without an answered leg: when the last one ended, and whether the caller was only handed on by it.
    pub(in crate::vendors::ozonetel) unanswered: Option<(DateTime, bool)>,
    /// How long the caller waited in a queue, in seconds.
    pub(in crate::vendors::ozonetel) wait: i64,
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
            unanswered: last.filter(|_| unanswered).map(|leg| (leg.end, leg.is_queue() && !leg.hung_up)),
            wait: queued.map(|leg| leg.end.duration_since(leg.start).as_secs()).max().unwrap_or_default(),
        }
    }
}
