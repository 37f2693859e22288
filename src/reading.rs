//! What one poll brought, as plain data that knows no vendor. A report fills it; the ledger turns its figures into
//! counters, the poll keeps its gauges. Which bucket a figure belongs to is said here, what that means is the
//! ledger's business.

use std::fmt;
use std::sync::Arc;

use jiff::civil::Date;

use crate::amount::Amount;
use crate::catalogue::{Family, State};
use crate::failure::{Failure, Reason};
use crate::ledger::windows::Window;

/// Whom a figure is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Entity {
    /// The whole account.
    Account,
    /// One agent, by the vendor's own key.
    Agent(Arc<str>),
    /// One campaign, by name.
    Campaign(Arc<str>),
    /// One queue or skill, by the vendor's id.
    Queue(Arc<str>),
}

/// A call or leg id. It never prints.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(Box<str>);

/// The part of a vendor's total that a figure belongs to.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Bucket {
    /// A local day of the account (UTC where the vendor counts in UTC).
    Day(Date),
    /// One leg or call of that day.
    Call {
        /// The local day on which it started.
        day: Date,
        /// The leg's or the call's own id.
        id: CallId,
    },
    /// The agent's current sign-in session, whichever that is. All figures of one entity in one reading form one
    /// value; the ledger decides whether a new session has begun.
    Session,
}

/// One figure of a counter: the highest one per bucket counts.
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    /// Which counter.
    pub family: Family,
    /// About whom.
    pub entity: Entity,
    /// Which state, if the counter has states.
    pub state: Option<State>,
    /// Which part of the vendor's total.
    pub bucket: Bucket,
    /// The vendor's figure for that part.
    pub amount: Amount,
}

/// One observation of a histogram: the first one per bucket counts, and never moves.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Which histogram.
    pub family: Family,
    /// About whom.
    pub entity: Entity,
    /// The call.
    pub bucket: Bucket,
    /// What was observed, in the family's unit.
    pub amount: Amount,
}

/// One present value.
#[derive(Debug, Clone, PartialEq)]
pub struct Gauge {
    /// Which gauge.
    pub family: Family,
    /// About whom.
    pub entity: Entity,
    /// The family's other labels with their values, in the catalogue's order.
    pub labels: Vec<(&'static str, String)>,
    /// The value.
    pub value: f64,
}

/// All that one poll brought.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Reading {
    /// Counter figures.
    pub figures: Vec<Figure>,
    /// Histogram observations.
    pub observations: Vec<Observation>,
    /// Present values.
    pub gauges: Vec<Gauge>,
    /// Entities of which the vendor said that there is no data: their gauges leave at once, but for those of this reading.
    /// Their names (`*_info`) stay.
    pub silent: Vec<Entity>,
    /// The entities that the configuration or a source names now: gauges of others leave at once. `None` where the
    /// vendor's answer itself is the list.
    pub roster: Option<Vec<Entity>>,
    /// Answers that were read: one per entity, or one per day, or one for all.
    pub read: u64,
    /// Entities that failed while the poll went on.
    pub failures: Vec<Failure>,
    /// Rows that were read.
    pub rows: u64,
    /// Rows that could not be read.
    pub rejected: u64,
    /// Days of which the whole was read.
    pub days: Vec<Date>,
    /// Windows of days of which the whole was read (call_records).
    pub windows: Vec<Window>,
    /// What became of calls that were asked for (call_details).
    pub calls: Vec<CallUpdate>,
    /// The calls that the operator's source lists now: a finished one is remembered as long as it is listed.
    pub listed: Vec<CallId>,
    /// When a source of the operator's last gave something new, if this poll saw it change.
    pub source_changed: bool,
}

/// A call that is to be asked for, as the ledger keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingCall {
    /// Whom to ask for.
    pub id: CallId,
    /// The local day of the call, if the operator gave it.
    pub day: Option<Date>,
    /// When it was first listed, in seconds since the epoch.
    pub listed_at: i64,
    /// Not to be asked for before, in seconds since the epoch.
    pub due_at: i64,
    /// Its figures have been counted already; this is the second look.
    pub counted: bool,
}

/// What a poll decided about one call; stored in the same transaction as its figures.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CallUpdate {
    /// Newly listed, or to be asked for again.
    Pending(PendingCall),
    /// Finished: counted for good, or given up.
    Done(CallId),
}

// === impl Entity ===

impl Entity {
    /// An agent, unless the vendor's key says that there is none.
    pub fn agent(key: &str) -> Option<Self> {
        clean_key(key).map(Self::Agent)
    }

    /// A campaign, unless the vendor's key says that there is none.
    pub fn campaign(key: &str) -> Option<Self> {
        clean_key(key).map(Self::Campaign)
    }

    /// A queue, unless the vendor's key says that there is none.
    pub fn queue(key: &str) -> Option<Self> {
        clean_key(key).map(Self::Queue)
    }

    /// Label name and value; none for the account as a whole.
    pub fn label(&self) -> Option<(&'static str, &str)> {
        match self {
            Self::Account => None,
            Self::Agent(key) => Some(("agent", key)),
            Self::Campaign(key) => Some(("campaign", key)),
            Self::Queue(key) => Some(("queue", key)),
        }
    }
}

// === impl CallId ===

impl CallId {
    /// An id as the vendor writes it.
    pub fn new(id: impl Into<Box<str>>) -> Self {
        Self(id.into())
    }

    /// The id itself, for a request or a keyed hash and nothing else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CallId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CallId(…)")
    }
}

// === impl Reading ===

impl Reading {
    /// Adds a figure.
    pub fn figure(&mut self, family: Family, entity: &Entity, bucket: &Bucket, amount: Amount) {
        self.figures.push(Figure { family, entity: entity.clone(), state: None, bucket: bucket.clone(), amount });
    }

    /// Adds an observation.
    pub fn observe(&mut self, family: Family, entity: &Entity, bucket: &Bucket, amount: Amount) {
        self.observations.push(Observation { family, entity: entity.clone(), bucket: bucket.clone(), amount });
    }

    /// Whether nobody answers: it would only take long to find that out for every single entity.
    pub fn is_hopeless(&self) -> bool {
        const ENOUGH: usize = 3;
        let unanswered = |failure: &&Failure| matches!(failure.reason, Reason::Timeout | Reason::Network | Reason::Tls);
        self.read == 0 && self.failures.iter().filter(unanswered).count() >= ENOUGH
    }

    /// Whether the poll failed as a whole: nothing was read although something failed, or every row was rejected.
    /// The commonest reason speaks for all.
    pub fn verdict(&self) -> Result<(), Failure> {
        if self.read == 0
            && let Some(commonest) = self
                .failures
                .iter()
                .max_by_key(|one| self.failures.iter().filter(|other| other.reason == one.reason).count())
        {
            return Err(commonest.clone());
        }
        // Where the rejected ones are told as failures of their own, others were read.
        if self.rejected > 0 && self.rows == 0 && self.failures.is_empty() {
            return Err(Failure::malformed("no row of the answer could be read"));
        }
        Ok(())
    }
}

/// The longest label value that is kept, in bytes.
const MAX_KEY: usize = 256;

/// A key fit for a label: none if the vendor says that there is none (empty, blank or `None`), and trimmed.
pub fn clean_key(key: &str) -> Option<Arc<str>> {
    let key = key.trim();
    if key.is_empty() || key == "None" || key == "null" {
        return None;
    }
    Some(fit(key).into())
}

/// A text fit for a label value: cut at 256 bytes, with a digest of the whole in place of the tail, so that two long keys
/// stay two series.
pub fn fit(key: &str) -> String {
    use sha2::{Digest, Sha256};
    if key.len() <= MAX_KEY {
        return key.to_owned();
    }
    let digest = hex::encode(&Sha256::digest(key.as_bytes())[..8]);
    let mut end = MAX_KEY - digest.len() - 1;
    while !key.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}~{digest}", &key[..end])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_that_say_nothing_are_no_keys() {
        for key in ["", "  ", "None", "null"] {
            assert_eq!(clean_key(key), None, "{key:?}");
        }
        assert_eq!(clean_key(" Renée \"R\" ").as_deref(), Some("Renée \"R\""));
    }

    #[test]
    fn long_keys_are_cut_and_stay_distinct() {
        let (one, two) = ("ñ".repeat(5000) + "1", "ñ".repeat(5000) + "2");
        let (one, two) = (clean_key(&one).unwrap_or_default(), clean_key(&two).unwrap_or_default());
        assert!(one.len() <= MAX_KEY && two.len() <= MAX_KEY);
        assert_ne!(one, two);
    }

    #[test]
    fn call_ids_never_print() {
        assert!(!format!("{:?}", CallId::new("31571870688636584")).contains("3157"));
    }

    #[test]
    fn a_poll_fails_only_when_nothing_was_read() {
        let failed = |reason| Failure::new(reason, "test");
        let mut reading = Reading {
            failures: vec![failed(Reason::Config), failed(Reason::Auth), failed(Reason::Auth)],
            ..Reading::default()
        };
        assert_eq!(reading.verdict().map_err(|f| f.reason), Err(Reason::Auth));
        reading.read = 1;
        assert_eq!(reading.verdict(), Ok(()));
        let rejected = Reading { read: 1, rejected: 2, ..Reading::default() };
        assert_eq!(rejected.verdict().map_err(|f| f.reason), Err(Reason::Malformed));
        let one_of_two = Reading { failures: vec![failed(Reason::Malformed)], ..rejected };
        assert_eq!(one_of_two.verdict(), Ok(()));
        assert_eq!(Reading::default().verdict(), Ok(()));
    }
}
