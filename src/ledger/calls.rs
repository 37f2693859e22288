//! The calls that a report has been told to look up: those still to be asked for, and the keyed hashes of those that are
//! finished, so that a file may go on listing them.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};

use super::Book;
use super::names::HashKey;
use super::store::StoreError;
use super::windows::Windows;
use crate::reading::{CallId, CallUpdate, PendingCall};

/// A finished call is remembered this long after it was last listed: twice what any vendor keeps.
const REMEMBER_SECONDS: i64 = 30 * 86_400;

/// The calls of one account.
#[derive(Debug, Clone)]
pub struct CallQueue {
    /// Those still to be asked for.
    pub pending: Vec<PendingCall>,
    /// What was read of days ([`super::calendar::Calendar::Records`]).
    pub windows: Windows,
    done: Arc<BTreeMap<u64, i64>>,
    key: HashKey,
}

/// The calls of one account as the ledger keeps them.
#[derive(Debug, Clone)]
pub(super) struct Calls {
    pending: BTreeMap<u64, PendingCall>,
    done: Arc<BTreeMap<u64, i64>>,
    key: HashKey,
}

#[derive(Serialize, Deserialize)]
struct Stored {
    pending: Vec<(String, Option<Date>, i64, i64, bool)>,
    done: Vec<(u64, i64)>,
}

// === impl CallQueue ===

impl Default for CallQueue {
    fn default() -> Self {
        Self::new(Vec::new(), [])
    }
}

impl CallQueue {
    /// A queue of these calls.
    pub fn new(pending: Vec<PendingCall>, done: impl IntoIterator<Item = CallId>) -> Self {
        let key = HashKey::new(b"");
        let done = done.into_iter().map(|id| (key.call(id.expose()), 0)).collect();
        Self { pending, windows: Windows::default(), done: Arc::new(done), key }
    }

    /// Whether the call was finished before.
    pub fn is_done(&self, id: &CallId) -> bool {
        self.done.contains_key(&self.key.call(id.expose()))
    }
}

// === impl Calls ===

impl Calls {
    /// No calls yet.
    pub(super) fn new(key: HashKey) -> Self {
        Self { pending: BTreeMap::new(), done: Arc::default(), key }
    }

    /// As they were stored.
    pub(super) fn decode(key: HashKey, bytes: &[u8]) -> Result<Self, super::codec::Unreadable> {
        let stored: Stored = super::codec::decode(bytes)?;
        let pending = stored.pending.into_iter().map(|(id, day, listed_at, due_at, counted)| {
            (key.call(&id), PendingCall { id: CallId::new(id), day, listed_at, due_at, counted })
        });
        Ok(Self { pending: pending.collect(), done: Arc::new(stored.done.into_iter().collect()), key })
    }

    /// To be stored.
    pub(super) fn encode(&self) -> Vec<u8> {
        let pending = self
            .pending
            .values()
            .map(|call| (call.id.expose().to_owned(), call.day, call.listed_at, call.due_at, call.counted));
        super::codec::encode(&Stored {
            pending: pending.collect(),
            done: self.done.iter().map(|(hash, at)| (*hash, *at)).collect(),
        })
    }

    /// What a report may see.
    pub(super) fn queue(&self, windows: Windows) -> CallQueue {
        CallQueue {
            pending: self.pending.values().cloned().collect(),
            windows,
            done: Arc::clone(&self.done),
            key: self.key.clone(),
        }
    }

    /// Takes in what a poll decided, and which calls its source lists; true if anything changed.
    pub(super) fn update(&mut self, updates: &[CallUpdate], listed: &[CallId], now: i64) -> bool {
        let mut changed = !updates.is_empty();
        let done = Arc::make_mut(&mut self.done);
        for update in updates {
            match update {
                CallUpdate::Pending(call) => {
                    let hash = self.key.call(call.id.expose());
                    if !done.contains_key(&hash) {
                        self.pending.insert(hash, call.clone());
                    }
                }
                CallUpdate::Done(id) => {
                    let hash = self.key.call(id.expose());
                    self.pending.remove(&hash);
                    done.insert(hash, now);
                }
            }
        }
        // Kept to the day, so that a file that does not change costs no write.
        for id in listed {
            if let Some(at) = done.get_mut(&self.key.call(id.expose()))
                && now - *at > 86_400
            {
                *at = now;
                changed = true;
            }
        }
        let before = done.len();
        done.retain(|_, at| now - *at < REMEMBER_SECONDS);
        changed || done.len() != before
    }

    /// Whether nothing is known of the call.
    pub(super) fn is_new(&self, id: &CallId) -> bool {
        let hash = self.key.call(id.expose());
        !self.pending.contains_key(&hash) && !self.done.contains_key(&hash)
    }

    /// How many wait for their first figures, and since when the oldest does.
    pub(super) fn backlog(&self) -> (usize, Option<i64>) {
        let waiting = || self.pending.values().filter(|call| !call.counted);
        (waiting().count(), waiting().map(|call| call.listed_at).min())
    }
}

impl Book {
    /// Adds a call that is told beside the polls; on disk when this returns. One that waits or is finished stays as it is.
    pub fn add_call(&mut self, id: CallId, now: Timestamp) -> Result<(), StoreError> {
        if !self.calls.is_new(&id) {
            return Ok(());
        }
        let now = now.as_second();
        let call = PendingCall { id, day: None, listed_at: now, due_at: now, counted: false };
        let mut calls = self.calls.clone();
        calls.update(&[CallUpdate::Pending(call)], &[], now);
        self.ledger.commit(vec![(format!("{}calls", self.prefix), Some(calls.encode()))])?;
        self.calls = calls;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(id: &str) -> PendingCall {
        PendingCall { id: CallId::new(id), day: None, listed_at: 5, due_at: 5, counted: false }
    }

    #[test]
    fn a_finished_call_stays_finished_while_it_is_listed() {
        let mut calls = Calls::new(HashKey::new(b"k"));
        calls.update(&[CallUpdate::Pending(call("1")), CallUpdate::Pending(call("2"))], &[], 0);
        assert_eq!(calls.backlog(), (2, Some(5)));
        calls.update(&[CallUpdate::Done(CallId::new("1")), CallUpdate::Pending(call("1"))], &[], 0);
        assert_eq!(calls.backlog().0, 1, "done wins");
        let mut calls = Calls::decode(HashKey::new(b"k"), &calls.encode()).unwrap();
        let day = 86_400;
        for today in 1..100 {
            calls.update(&[], &[CallId::new("1")], today * day);
            assert!(calls.queue(Windows::default()).is_done(&CallId::new("1")), "day {today}");
        }
        calls.update(&[], &[], 140 * day);
        assert!(!calls.queue(Windows::default()).is_done(&CallId::new("1")), "forgotten when nobody lists it any more");
        assert!(!format!("{calls:?}").contains("\"2\""));
    }
}
