//! What any account and report may carry in exporter.yml, and the kinds of value that stand there: durations, rates,
//! secrets, trust. Vendors build their own parts of the file from these; the file as a whole is `config`'s.

pub mod limits;
pub mod places;
pub mod secret;

use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use url::Url;

pub use limits::{RateLimit, Span};
pub use places::{Problem, Problems};
pub use secret::{Hidden, SecretSource};

/// `labels.agent`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
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
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
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

impl AccountSettings {
    /// The defaults.
    pub fn new(vendor: &'static str, account: &str) -> Self {
        Self {
            vendor,
            account: account.to_owned(),
            timeout: TIMEOUT,
            rate_limit: None,
            max_in_flight: None,
            proxy_url: None,
            tls: Tls::default(),
        }
    }
}

impl ReportSettings {
    /// The defaults of a report that is polled on this interval.
    pub fn every(interval: Duration) -> Self {
        let stale_after = (interval * 4).max(MIN_STALE);
        Self { interval, rate_limit: None, stale_after, settle: SETTLE, backfill: BACKFILL }
    }
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

/// Declares an account's struct: the vendor's own keys, and those that any account may carry.
macro_rules! account_config {
    ($(#[$meta:meta])* pub struct $name:ident { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Label value, unique over the whole file.
            pub account: String,
            /// Time limit of one request.
            #[schemars(extend("default" = humantime::format_duration($crate::settings::TIMEOUT).to_string()))]
            pub timeout: Option<$crate::settings::Span>,
            /// In place of the vendor's documented limit, for each API of the account.
            pub rate_limit: Option<$crate::settings::RateLimit>,
            /// Requests under way at once, over all reports of the account. Default no limit; 1 for Wolkvox.
            pub max_in_flight: Option<usize>,
            /// Proxy for all requests, as `http://` or `https://` URL; environment variables are not looked at.
            pub proxy_url: Option<$crate::settings::Hidden<String>>,
            /// Whose certificates are trusted.
            #[serde(default)]
            pub tls: $crate::settings::Tls,
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl $name {
            fn common(&self, vendor: &'static str) -> $crate::settings::AccountSettings {
                $crate::settings::AccountSettings {
                    timeout: self.timeout.map_or($crate::settings::TIMEOUT, |span| span.0),
                    rate_limit: self.rate_limit,
                    max_in_flight: self.max_in_flight,
                    proxy_url: self.proxy_url.as_ref().and_then(|text| text.parse().ok()).map($crate::settings::Hidden),
                    tls: self.tls.clone(),
                    ..$crate::settings::AccountSettings::new(vendor, &self.account)
                }
            }
        }
    };
}

/// Declares a report's struct: its own keys, and those that any report may carry. `default` is its interval.
macro_rules! report_config {
    ($(#[$meta:meta])* pub struct $name:ident, default $interval:expr, { $($(#[$fmeta:meta])* pub $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, serde::Deserialize, schemars::JsonSchema)]
        #[serde(deny_unknown_fields)]
        pub struct $name {
            /// Time between two polls, from 1s.
            #[schemars(extend("default" = humantime::format_duration($interval).to_string()))]
            pub interval: Option<$crate::settings::Span>,
            /// In place of the account's and of the documented limit.
            pub rate_limit: Option<$crate::settings::RateLimit>,
            /// How long the last values stay after the last success. Default 4 × `interval`, at least 5m.
            pub stale_after: Option<$crate::settings::Span>,
            /// How long after its end a day may still change; until then it is read again hourly.
            #[schemars(extend("default" = humantime::format_duration($crate::settings::SETTLE).to_string()))]
            pub settle: Option<$crate::settings::Span>,
            /// How far back missed days are fetched after an outage.
            #[schemars(extend("default" = humantime::format_duration($crate::settings::BACKFILL).to_string()))]
            pub backfill: Option<$crate::settings::Span>,
            $($(#[$fmeta])* pub $field: $type,)*
        }

        impl $name {
            /// The keys that any report may carry, with their defaults filled in.
            pub fn settings(&self) -> $crate::settings::ReportSettings {
                let defaults =
                    $crate::settings::ReportSettings::every(self.interval.map_or($interval, |span| span.0));
                $crate::settings::ReportSettings {
                    rate_limit: self.rate_limit,
                    stale_after: self.stale_after.map_or(defaults.stale_after, |span| span.0),
                    settle: self.settle.map_or(defaults.settle, |span| span.0),
                    backfill: self.backfill.map_or(defaults.backfill, |span| span.0),
                    ..defaults
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

/// Default of `timeout`.
pub const TIMEOUT: Duration = Duration::from_secs(30);
/// Shortest default of `stale_after`.
const MIN_STALE: Duration = Duration::from_mins(5);
/// Default of `settle`.
pub const SETTLE: Duration = Duration::from_hours(6);
/// Default of `backfill`.
pub const BACKFILL: Duration = Duration::from_hours(72);
