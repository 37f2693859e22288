//! Placeholder of the shape that reports see.

use std::collections::BTreeSet;

use crate::reading::{CallId, PendingCall};

/// The calls that one account's call_details knows.
#[derive(Debug, Clone, Default)]
pub struct CallQueue {
    /// Those still to be asked for.
    pub pending: Vec<PendingCall>,
    done: BTreeSet<CallId>,
}

impl CallQueue {
    /// A queue of these calls.
    pub fn new(pending: Vec<PendingCall>, done: impl IntoIterator<Item = CallId>) -> Self {
        Self { pending, done: done.into_iter().collect() }
    }

    /// Whether the call was finished before.
    pub fn is_done(&self, id: &CallId) -> bool {
        self.done.contains(id)
    }
}
