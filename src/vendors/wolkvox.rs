//! Wolkvox: the account's part of the configuration, and which of its reports are polled. What the vendor's answers
//! mean, empty windows and overloaded statuses included, is said in [`answer`]; each report has a file of its own.

mod agent_activity;
mod agent_hold_mute;
mod answer;
mod daily;
mod skill_service;
#[cfg(test)]
mod testing;
mod token_usage;

use std::path::PathBuf;
use std::time::Duration;

use http::HeaderName;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};
use schemars::JsonSchema;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;
use serde::de::Deserializer;
use url::Url;

use super::{Calendar, ReportSetup};
use crate::client::quota::Quota;
use crate::client::{Lane, Request};
use crate::failure::Failure;
use crate::ledger::calendar::rereads;
use crate::settings::{AccountSettings, Problems, ReportSettings, SecretSource, SetupError};
use crate::vendors::{PlanRow, Report, Setup};
use agent_activity::Activity;
use agent_hold_mute::HoldMute;
use daily::{Daily, Day};
use skill_service::Service;
use token_usage::Usage;

/// Requests per day that one licence buys, over all tokens and reports of the operation.
const QUOTA_PER_LICENCE: u64 = 1000;
/// Of an operation that does not say.
const LICENCES: u32 = 1;

crate::settings::account_config! {
    /// One operation.
    pub struct Account {
        /// The four digits of its server, `0010` for `https://wv0010.wolkvox.com`.
        #[schemars(with = "Option<String>", regex(pattern = "^[0-9]{4}$"))]
        pub server: Option<Server>,
        /// In place of `server`.
        pub base_url: Option<String>,
        /// API token.
        #[schemars(with = "Option<String>")]
        pub token: Option<SecretString>,
        /// The token in a file.
        pub token_file: Option<PathBuf>,
        /// The token in an environment variable.
        pub token_env: Option<String>,
        /// Licences of the operation; each allows a thousand requests a day.
        #[schemars(extend("default" = LICENCES))]
        pub licences: Option<u32>,
        /// Where the operation's day begins.
        #[serde(default)]
        #[schemars(with = "Option<String>", extend("default" = "America/Bogota"))]
        pub timezone: Zone,
        /// What is polled.
        pub reports: Reports,
    }
}

/// `server`, kept as the address that it stands for.
#[derive(Debug, Clone)]
pub struct Server {
    base_url: String,
    valid: bool,
}

/// A zone by its IANA name.
#[derive(Debug, Clone)]
pub struct Zone {
    zone: TimeZone,
    known: bool,
}

/// `reports:`
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Calls and time by state per agent (`agent_1`).
    pub agent_activity: Option<AgentActivity>,
    /// Hold and mute per agent (`agent_9`).
    pub agent_hold_mute: Option<AgentHoldMute>,
    /// Calls and service level per skill (`skill_1`).
    pub skill_service: Option<SkillService>,
    /// How much of the day's quota is used (`token_info`).
    pub token_usage: Option<TokenUsage>,
}

crate::settings::report_config! {
    /// `agent_activity:`
    pub struct AgentActivity, default Duration::from_mins(5), {}
}

crate::settings::report_config! {
    /// `agent_hold_mute:`
    pub struct AgentHoldMute, default Duration::from_mins(5), {}
}

crate::settings::report_config! {
    /// `skill_service:`
    pub struct SkillService, default Duration::from_mins(5), {}
}

crate::settings::report_config! {
    /// `token_usage:`
    pub struct TokenUsage, default Duration::from_hours(1), {}
}

/// How the operation is asked; shared by all its reports.
#[derive(Clone)]
struct Access {
    base: Url,
    token: SecretString,
    zone: TimeZone,
}

// === impl Server ===

impl<'de> Deserialize<'de> for Server {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let digits = String::deserialize(deserializer)?;
        let valid = digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit());
        Ok(Self { base_url: format!("https://wv{digits}.wolkvox.com"), valid })
    }
}

// === impl Zone ===

impl Default for Zone {
    fn default() -> Self {
        // Colombia keeps UTC-5 all year: right even on a machine without zone data.
        let zone = TimeZone::get("America/Bogota").unwrap_or_else(|_| TimeZone::fixed(jiff::tz::offset(-5)));
        Self { zone, known: true }
    }
}

impl<'de> Deserialize<'de> for Zone {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let zone = TimeZone::get(&name);
        Ok(Self { known: zone.is_ok(), zone: zone.unwrap_or(TimeZone::UTC) })
    }
}

// === impl Account ===

impl Account {
    fn token_source(&self) -> SecretSource<'_> {
        SecretSource {
            key: "token",
            inline: self.token.as_ref(),
            file: self.token_file.as_ref(),
            env: self.token_env.as_ref(),
        }
    }

    /// Requests a day.
    fn quota(&self) -> u64 {
        u64::from(self.licences.unwrap_or(LICENCES)) * QUOTA_PER_LICENCE
    }
}

impl crate::vendors::Account for Account {
    fn vendor(&self) -> &'static str {
        "wolkvox"
    }

    fn settings(&self) -> AccountSettings {
        let settings = self.common("wolkvox");
        // The vendor refuses a token that is in use.
        AccountSettings { max_in_flight: settings.max_in_flight.or(Some(1)), ..settings }
    }

    fn base_url(&self) -> &str {
        self.base_url.as_deref().or(self.server.as_ref().map(|server| server.base_url.as_str())).unwrap_or_default()
    }

    fn check(&self, at: &str, problems: &mut Problems) {
        match (&self.server, &self.base_url) {
            (Some(server), None) if !server.valid => {
                problems.add(&format!("{at}.server"), "expected the four digits of the server, in quotes: \"0010\"");
            }
            (Some(_), None) | (None, Some(_)) => {}
            _ => problems.add(at, "give exactly one of server and base_url"),
        }
        if !self.timezone.known {
            problems.add(&format!("{at}.timezone"), "expected a time zone such as America/Bogota");
        }
        if self.licences == Some(0) {
            problems.add(&format!("{at}.licences"), "expected a whole number from 1");
        }
        let folder = problems.folder.clone();
        self.token_source().check(at, &folder, problems);
    }

    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        let token = self.token_source().read(setup.at, setup.folder)?;
        let base = self.base_url().parse().map_err(|_| SetupError {
            path: format!("{}.base_url", setup.at),
            message: "expected an http or https URL".to_owned(),
        })?;
        let access = Access { base, token, zone: self.timezone.zone.clone() };
        let quota = Quota::new(self.quota(), access.zone.clone());
        let days = Calendar::Days { zone: access.zone.clone() };
        // The most important report first: where the quota is short, the last one is slowed first.
        let mut setups = Vec::new();
        let mut add = |name,
                       api,
                       settings: ReportSettings,
                       calendar: &Calendar,
                       make: fn(Access, Lane) -> Box<dyn Report>| {
            let share = match calendar {
                Calendar::Days { .. } => quota.share(&settings, rereads(&settings), false),
                _ => quota.share(&settings, 0, true),
            };
            let lane = setup.client.lane(api, None, &settings).within(share);
            setups.push(ReportSetup { name, settings, calendar: calendar.clone(), report: make(access.clone(), lane) });
        };
        let Reports { agent_activity, agent_hold_mute, skill_service, token_usage } = &self.reports;
        if let Some(report) = agent_activity {
            add(Activity::NAME, Activity::API, report.settings(), &days, Daily::<Activity>::boxed);
        }
        if let Some(report) = agent_hold_mute {
            add(HoldMute::NAME, HoldMute::API, report.settings(), &days, Daily::<HoldMute>::boxed);
        }
        if let Some(report) = skill_service {
            add(Service::NAME, Service::API, report.settings(), &days, Daily::<Service>::boxed);
        }
        if let Some(report) = token_usage {
            add(token_usage::NAME, token_usage::API, report.settings(), &Calendar::Present, Usage::boxed);
        }
        Ok(setups)
    }

    fn plan(&self) -> Vec<PlanRow> {
        let row = |report, api, settings: ReportSettings, rereads| PlanRow {
            report,
            api,
            interval: settings.interval,
            requests: Some(1),
            rereads,
            limit: settings.rate_limit.or(self.rate_limit),
            quota: Some(self.quota()),
        };
        let daily = |report, api, settings: ReportSettings| row(report, api, settings.clone(), rereads(&settings));
        let Reports { agent_activity, agent_hold_mute, skill_service, token_usage } = &self.reports;
        let activity = agent_activity.as_ref().map(|r| daily(Activity::NAME, Activity::API, r.settings()));
        let hold_mute = agent_hold_mute.as_ref().map(|r| daily(HoldMute::NAME, HoldMute::API, r.settings()));
        let service = skill_service.as_ref().map(|r| daily(Service::NAME, Service::API, r.settings()));
        let usage = token_usage.as_ref().map(|r| row(token_usage::NAME, token_usage::API, r.settings(), 0));
        [activity, hold_mute, service, usage].into_iter().flatten().collect()
    }
}

// === impl Access ===

impl Access {
    /// Asks the reports manager for one local day. A `date_end` still to come is accepted.
    fn day(&self, api: &str, parameters: &[(&str, &str)], day: Date) -> Result<Request, Failure> {
        let date = day.strftime("%Y%m%d");
        let window = [("date_ini", format!("{date}000000")), ("date_end", format!("{date}235959"))];
        let window = window.iter().map(|(name, value)| (*name, value.as_str()));
        self.get("reports_manager.php", [("api", api)].into_iter().chain(parameters.iter().copied()).chain(window))
    }

    fn get<'a>(&self, page: &str, query: impl Iterator<Item = (&'a str, &'a str)>) -> Result<Request, Failure> {
        let mut url = self.base.clone();
        url.set_path(&format!("{}/api/v2/{page}", self.base.path().trim_end_matches('/')));
        url.query_pairs_mut().extend_pairs(query);
        Request::get(url).secret_header(HeaderName::from_static("wolkvox-token"), self.token.expose_secret())
    }

    /// When the vendor's next day begins, and with it the quota anew.
    fn next_day(&self, now: Timestamp) -> Timestamp {
        let here = now.to_zoned(self.zone.clone());
        let next = here.date().checked_add(1.day()).and_then(|date| date.to_zoned(self.zone.clone()));
        next.map_or(now, |next| next.timestamp())
    }
}
