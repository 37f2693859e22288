//! exporter.yml: parsed strictly, then checked as a whole. Parsing stops at the first syntax error, unknown key or
//! wrong type, with line and column; all other problems are collected and listed together, each with its line and
//! key path. What a vendor's own keys mean is said in the vendor's room; what every account and report may carry,
//! here.

mod check;
pub mod limits;
pub mod load;
mod parse_error;
pub mod places;
pub mod plan;
pub mod secret;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use url::Url;

pub use limits::{RateLimit, Span};
pub use load::{ConfigError, Loaded, load};
pub use places::{Problem, Problems};
pub use secret::{Hidden, SecretSource};

use crate::vendors::Vendors;

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Where counters are kept.
    #[serde(default)]
    pub state: State,
    /// How labels are written.
    #[serde(default)]
    pub labels: Labels,
    /// The accounts, by vendor.
    pub vendors: Vendors,
}

/// `state:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    /// Directory, made if missing; relative to the file's folder. Left out: `./state` of the working directory.
    pub path: Option<PathBuf>,
}

/// `labels:`
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Labels {
    /// What stands in the label `agent`.
    #[serde(default)]
    pub agent: AgentLabel,
    /// HMAC-SHA256 key of `agent: pseudonym`.
    pub pseudonym_key: Option<secrecy::SecretString>,
    /// The key in a file.
    pub pseudonym_key_file: Option<PathBuf>,
    /// The key in an environment variable.
    pub pseudonym_key_env: Option<String>,
}

/// `labels.agent`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum AgentLabel {
    /// The vendor's own key.
    #[default]
    Plain,
    /// A keyed hash of it.
    Pseudonym,
    /// No label: agent counters are summed per account.
    None,
}

/// `tls:` of an account or of a GUID source.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// PEM file of the authorities to trust beside the system's.
    pub ca_file: Option<PathBuf>,
    /// The name that the certificate must carry, where it is not the one in `base_url`.
    pub server_name: Option<String>,
    /// Trust any certificate.
    #[serde(default)]
    pub insecure_skip_verify: bool,
}

/// The keys that any account may carry, with their defaults filled in.
#[derive(Debug, Clone)]
pub struct AccountSettings {
    /// Vendor label.
    pub vendor: &'static str,
    /// Account label.
    pub account: String,
    /// Time limit of one request.
    pub timeout: Duration,
    /// In place of the vendor's documented limit, for each API of the account.
    pub rate_limit: Option<RateLimit>,
    /// Requests under way at once, over all reports of the account.
    pub max_in_flight: Option<usize>,
    /// Proxy for all requests.
    pub proxy_url: Option<Hidden<Url>>,
    /// Trust.
    pub tls: Tls,
}

/// The keys that any report may carry, with their defaults filled in.
#[derive(Debug, Clone)]
pub struct ReportSettings {
    /// Time between two polls.
    pub interval: Duration,
    /// In place of the account's limit and of the vendor's documented one.
    pub rate_limit: Option<RateLimit>,
    /// How long the last values stay after the last success.
    pub stale_after: Duration,
    /// How long after its end a day may still change.
    pub settle: Duration,
    /// How far back missed days are fetched.
    pub backfill: Duration,
}

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
    fn build(&self, setup: &Setup<'_>) -> Result<Vec<crate::vendors::ReportSetup>, SetupError>;
    /// What the account's reports cost in requests.
    fn plan(&self) -> Vec<PlanRow>;
}

/// What an account needs to ready its reports.
#[derive(Debug)]
pub struct Setup<'a> {
    /// The account's way out; lanes are made here.
    pub client: &'a crate::client::Client,
    /// Folder of exporter.yml, for relative paths.
    pub folder: &'a Path,
    /// The account's key path, for errors.
    pub at: &'a str,
}

/// A secret or file named in the configuration cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{path}: {message}")]
pub struct SetupError {
    /// Key path.
    pub path: String,
    /// What is wrong, without any value of a secret.
    pub message: String,
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
    /// The limit that holds.
    pub limit: Option<RateLimit>,
    /// Requests that the vendor allows per day, over all reports of the account.
    pub quota: Option<u64>,
}

/// Declares an account's struct: the vendor's own keys, and those that any account may carry.
macro_rules! account_config {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Label value, unique over the whole file.
            pub account: String,
            /// Time limit of one request.
            pub timeout: Option<$crate::config::Span>,
            /// In place of the vendor's documented limits.
            pub rate_limit: Option<$crate::config::RateLimit>,
            /// Requests under way at once.
            pub max_in_flight: Option<usize>,
            /// Proxy for all requests.
            pub proxy_url: Option<$crate::config::Hidden<String>>,
            /// Trust.
            #[serde(default)]
            pub tls: $crate::config::Tls,
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl $name {
            fn common(&self, vendor: &'static str) -> $crate::config::AccountSettings {
                $crate::config::AccountSettings {
                    vendor,
                    account: self.account.clone(),
                    timeout: self.timeout.map_or(std::time::Duration::from_secs(30), |span| span.0),
                    rate_limit: self.rate_limit,
                    max_in_flight: self.max_in_flight,
                    proxy_url: self.proxy_url.as_ref().and_then(|text| text.parse().ok()).map($crate::config::Hidden),
                    tls: self.tls.clone(),
                }
            }
        }
    };
}

/// Declares a report's struct: its own keys, and those that any report may carry. `default` is its interval.
macro_rules! report_config {
    ($(#[$meta:meta])* pub struct $name:ident, default $interval:expr, { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Time between two polls.
            pub interval: Option<$crate::config::Span>,
            /// In place of the account's and of the documented limit.
            pub rate_limit: Option<$crate::config::RateLimit>,
            /// How long the last values stay after the last success.
            pub stale_after: Option<$crate::config::Span>,
            /// How long after its end a day may still change.
            pub settle: Option<$crate::config::Span>,
            /// How far back missed days are fetched.
            pub backfill: Option<$crate::config::Span>,
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl $name {
            /// The keys that any report may carry, with their defaults filled in.
            pub fn settings(&self) -> $crate::config::ReportSettings {
                let interval = self.interval.map_or($interval, |span| span.0);
                $crate::config::ReportSettings {
                    interval,
                    rate_limit: self.rate_limit,
                    stale_after: self.stale_after.map_or((interval * 4).max($crate::config::MIN_STALE), |span| span.0),
                    settle: self.settle.map_or($crate::config::SETTLE, |span| span.0),
                    backfill: self.backfill.map_or($crate::config::BACKFILL, |span| span.0),
                }
            }
        }
    };
}

pub(crate) use {account_config, report_config};

/// Why a file cannot be read, in words for an operator.
pub(crate) fn unreadable(error: &std::io::Error) -> String {
    match error.kind() {
        std::io::ErrorKind::NotFound => "no such file".to_owned(),
        std::io::ErrorKind::InvalidData => "no UTF-8 text".to_owned(),
        kind => kind.to_string(),
    }
}

/// Shortest default of `stale_after`.
pub const MIN_STALE: Duration = Duration::from_mins(5);
/// Default of `settle`.
pub const SETTLE: Duration = Duration::from_hours(6);
/// Default of `backfill`.
pub const BACKFILL: Duration = Duration::from_hours(72);
