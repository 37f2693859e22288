//! The vendors: which ones there are, and what each of their reports has to do.
//!
//! A vendor's room holds everything that is particular to it: its part of the configuration, its wire types, its
//! requests, and `decode`, which turns an answer into plain data or a [`Failure`]. A report must not retry, sleep,
//! log, lock, ask for the time or touch the page: the poll, the client and the ledger do that for all of them.

pub mod huawei;
pub mod ozonetel;
pub mod parse;
pub mod voximplant;
pub mod wolkvox;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use crate::client::Client;
use crate::config::ReportSettings;
use crate::failure::Failure;
use crate::ledger::CallQueue;
use crate::reading::Reading;

/// How a report's past figures come back, and so which parts of them the poll has to ask for.
#[derive(Debug, Clone)]
pub enum Calendar {
    /// Nothing but the present can be asked for.
    Present,
    /// Totals of local days, today's still growing.
    Days {
        /// Where the vendor's day begins.
        zone: TimeZone,
    },
    /// Single calls, by id.
    Calls {
        /// Where the vendor's day begins.
        zone: TimeZone,
    },
}

/// One report of one account, ready to be polled.
pub struct ReportSetup {
    /// The report's name in the configuration and on health series.
    pub name: &'static str,
    /// Interval, staleness, settle and backfill.
    pub settings: ReportSettings,
    /// What the poll has to ask for.
    pub calendar: Calendar,
    /// The report itself.
    pub report: Box<dyn Report>,
}

/// What one poll may use.
pub struct Poll<'a> {
    /// When the poll began.
    pub now: Timestamp,
    /// The account's way out.
    pub client: &'a Client,
    /// The local days to read, oldest first and today last ([`Calendar::Days`]).
    pub days: &'a [Date],
    /// The calls that are known ([`Calendar::Calls`]).
    pub calls: &'a CallQueue,
}

/// One vendor report.
///
/// An implementer asks through `poll.client`, decodes, and fills a [`Reading`]. It returns a [`Failure`] where the
/// poll as a whole cannot go on, notes the failure of one entity in [`Reading::failures`], and a row that cannot be
/// read in [`Reading::rejected`].
pub trait Report: Send + Sync {
    /// Asks the vendor once for all that `poll` names.
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>>;
}

macro_rules! vendors {
    ($($name:ident),*) => {
        /// `vendors:` of exporter.yml.
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct Vendors {
            $(
                #[doc = concat!("Accounts of ", stringify!($name), ".")]
                #[serde(default)]
                pub $name: Vec<$name::Account>,
            )*
        }

        impl Vendors {
            /// Every account with its key path.
            pub fn accounts(&self) -> Vec<(String, &dyn crate::config::Account)> {
                let mut all: Vec<(String, &dyn crate::config::Account)> = Vec::new();
                $(
                    for (index, account) in self.$name.iter().enumerate() {
                        all.push((format!("vendors.{}[{index}]", stringify!($name)), account));
                    }
                )*
                all
            }
        }
    };
}

// A new vendor is its `mod` line above, one line here, and one file or folder of this name.
vendors! {
    huawei,
    ozonetel,
    voximplant,
    wolkvox
}
