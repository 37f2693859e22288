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

use std::path::Path;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use jiff::civil::Date;
use secrecy::SecretString;

use crate::client::Client;
use crate::failure::Failure;
use crate::ledger::CallQueue;
pub use crate::ledger::calendar::Calendar;
use crate::reading::Reading;
use crate::settings::{AccountSettings, Problems, RateLimit, ReportSettings, SetupError};

/// One account of any vendor, as the rest of the program sees it.
pub trait Account: Send + Sync {
    /// Vendor label.
    fn vendor(&self) -> &'static str;
    /// The keys that any account may carry.
    fn settings(&self) -> AccountSettings;
    /// Where its requests go.
    fn base_url(&self) -> &str;
    /// Adds what is wrong; `at` is the account's key path.
    fn check(&self, at: &str, problems: &mut Problems);
    /// Reads secrets and readies the reports. An error names the key (below `setup.at`) and the file, never a value.
    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError>;
    /// The key in the vendor's callbacks, where those are to name calls.
    fn callback_key(&self, _setup: &Setup<'_>) -> Result<Option<SecretString>, SetupError> {
        Ok(None)
    }
    /// What the account's reports cost in requests.
    fn plan(&self) -> Vec<PlanRow>;
}

/// What an account needs to ready its reports.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The account's way out; lanes are made here.
    pub client: &'a Client,
    /// Folder of exporter.yml, for relative paths.
    pub folder: &'a Path,
    /// The account's key path, for errors.
    pub at: &'a str,
}

/// One row of the request plan.
#[derive(Debug, Clone, PartialEq)]
pub struct PlanRow {
    /// The report.
    pub report: &'static str,
    /// The vendor API that it asks.
    pub api: &'static str,
    /// Time between two polls.
    pub interval: Duration,
    /// Requests of one poll; none where only running tells (GUID sources, files of call ids).
    pub requests: Option<u64>,
    /// Requests per day beside those: past days that are read again.
    pub rereads: u64,
    /// The limit that holds.
    pub limit: Option<RateLimit>,
    /// Requests that the vendor allows per day, over all reports of the account.
    pub quota: Option<u64>,
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
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
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
            pub fn accounts(&self) -> Vec<(String, &dyn Account)> {
                let mut all: Vec<(String, &dyn Account)> = Vec::new();
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
