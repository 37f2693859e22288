//! Voximplant Management API: the accounts' configuration. Who asks is in [`credentials`], what an error of the vendor's
//! means in [`errors`], how it writes figures in [`number`] and rows in [`rows`], how a request looks in [`method`]. What is
//! asked is in the reports: [`operator_statistics`], [`operator_status`], [`queue_statistics`] and [`directory`].

pub mod credentials;
pub mod directory;
pub mod errors;
pub mod method;
pub mod number;
pub mod operator_statistics;
pub mod operator_status;
pub mod queue_statistics;
pub mod rows;
mod selection;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::Deserialize;
use url::Url;

use crate::settings::{
    AccountSettings, Problems, RateLimit, ReportSettings, SecretSource, SetupError, account_config, report_config,
};
use crate::vendors::{Calendar, ReportSetup};
use crate::vendors::{PlanRow, Setup};
use credentials::{Credentials, LONGEST_LIFE};
use method::Method;
pub use selection::Selection;

const VENDOR: &str = "voximplant";
const BASE_URL: &str = "https://api.voximplant.com";

account_config! {
    /// One account, or one child account.
    pub struct Account {
        /// Where the Management API is.
        #[schemars(extend("default" = BASE_URL))]
        pub base_url: Option<String>,
        /// The service account's key file, as it was downloaded.
        #[schemars(with = "Option<String>")]
        pub credentials: Option<SecretString>,
        /// The key in a file.
        pub credentials_file: Option<PathBuf>,
        /// The key in an environment variable.
        pub credentials_env: Option<String>,
        /// A child account, read with its parent's key.
        pub account_id: Option<u64>,
        /// What to read.
        pub reports: Reports,
    }
}

/// `reports:` of an account.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Calls and times of each operator.
    pub operator_statistics: Option<OperatorStatistics>,
    /// Time of each operator in each status.
    pub operator_status: Option<OperatorStatus>,
    /// Calls, times and service level of each queue.
    pub queue_statistics: Option<QueueStatistics>,
    /// Names of operators and queues.
    pub directory: Option<Directory>,
}

report_config! {
    /// `operator_statistics:`
    pub struct OperatorStatistics, default Duration::from_mins(1), {
        /// Operators, by `user_id`.
        #[serde(default)]
        #[schemars(extend("default" = "all"))]
        pub users: Selection,
        /// Queues whose calls count, by `acd_queue_id`.
        #[serde(default)]
        #[schemars(extend("default" = "all"))]
        pub queues: Selection,
    }
}

report_config! {
    /// `operator_status:`
    pub struct OperatorStatus, default Duration::from_mins(1), {}
}

report_config! {
    /// `queue_statistics:`
    pub struct QueueStatistics, default Duration::from_mins(1), {
        /// Queues, by `acd_queue_id`; each costs a request of its own.
        #[serde(default)]
        #[schemars(extend("default" = "all"))]
        pub queues: Selection,
    }
}

report_config! {
    /// `directory:`
    pub struct Directory, default Duration::from_hours(1), {
        /// The application whose operators and queues are named, by name.
        pub application: Option<String>,
    }
}

// === impl Account ===

impl Account {
    const fn secret(&self) -> SecretSource<'_> {
        SecretSource {
            key: "credentials",
            inline: self.credentials.as_ref(),
            file: self.credentials_file.as_ref(),
            env: self.credentials_env.as_ref(),
        }
    }
}

impl crate::vendors::Account for Account {
    fn vendor(&self) -> &'static str {
        VENDOR
    }

    fn settings(&self) -> AccountSettings {
        self.common(VENDOR)
    }

    fn base_url(&self) -> &str {
        self.base_url.as_deref().unwrap_or(BASE_URL)
    }

    fn check(&self, at: &str, problems: &mut Problems) {
        let folder = problems.folder.clone();
        self.secret().check(at, &folder, problems);
        if web_url(self.base_url()).is_none() {
            problems.add(&format!("{at}.base_url"), NO_URL);
        }
        if self.account_id == Some(0) {
            problems.add(&format!("{at}.account_id"), "expected an id from 1, or no account_id");
        }
        let Reports { operator_statistics, queue_statistics, directory, .. } = &self.reports;
        if let Some(report) = operator_statistics {
            report.users.check(&format!("{at}.reports.operator_statistics.users"), problems);
            report.queues.check(&format!("{at}.reports.operator_statistics.queues"), problems);
        }
        if let Some(report) = queue_statistics {
            report.queues.check(&format!("{at}.reports.queue_statistics.queues"), problems);
        }
        if directory.as_ref().and_then(|report| report.application.as_ref()).is_some_and(|name| name.trim().is_empty())
        {
            problems.add(
                &format!("{at}.reports.directory.application"),
                "the name is empty: give it, or leave the key out",
            );
        }
    }

    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        let base = web_url(self.base_url())
            .ok_or_else(|| SetupError { path: format!("{}.base_url", setup.at), message: NO_URL.to_owned() })?;
        let credentials = Arc::new(Credentials::read(&self.secret(), self.account_id, setup)?);
        let method = |api, settings: &ReportSettings, token_life| Method {
            url: method_url(&base, api),
            credentials: Arc::clone(&credentials),
            lane: setup.client.lane(api, None, settings),
            token_life,
        };
        let days = || Calendar::Days { zone: TimeZone::UTC };
        let mut reports = Vec::new();
        if let Some(report) = &self.reports.operator_statistics {
            let settings = report.settings();
            let life = credentials::token_life(settings.interval);
            let statistics = operator_statistics::Statistics {
                method: method(operator_statistics::API, &settings, life),
                users: report.users.to_string(),
                queues: report.queues.to_string(),
            };
            reports.push(ReportSetup {
                name: operator_statistics::REPORT,
                settings,
                calendar: days(),
                report: Box::new(statistics),
            });
        }
        if let Some(report) = &self.reports.operator_status {
            let settings = report.settings();
            let life = credentials::token_life(settings.interval);
            let statuses = operator_status::Statuses { method: method(operator_status::API, &settings, life) };
            reports.push(ReportSetup {
                name: operator_status::REPORT,
                settings,
                calendar: days(),
                report: Box::new(statuses),
            });
        }
        if let Some(report) = &self.reports.queue_statistics {
            let settings = report.settings();
            let statistics = queue_statistics::Statistics {
                method: method(queue_statistics::API, &settings, LONGEST_LIFE),
                listing: method(directory::QUEUES, &settings, LONGEST_LIFE),
                queues: report.queues.clone(),
                next: String::new(),
            };
            reports.push(ReportSetup {
                name: queue_statistics::REPORT,
                settings,
                calendar: days(),
                report: Box::new(statistics),
            });
        }
        if let Some(report) = &self.reports.directory {
            let settings = report.settings();
            let directory = directory::Directory {
                users: method(directory::USERS, &settings, LONGEST_LIFE),
                queues: method(directory::QUEUES, &settings, LONGEST_LIFE),
                application: report.application.clone(),
                named: Default::default(),
            };
            reports.push(ReportSetup {
                name: directory::REPORT,
                settings,
                calendar: Calendar::Present,
                report: Box::new(directory),
            });
        }
        Ok(reports)
    }

    fn plan(&self) -> Vec<PlanRow> {
        let row = |report, api, settings: &ReportSettings, requests, rate_limit: Option<RateLimit>| PlanRow {
            report,
            api,
            interval: settings.interval,
            requests,
            rereads: 0,
            limit: rate_limit.or(self.rate_limit),
            quota: None,
        };
        let mut rows = Vec::new();
        // However many days are open: one range holds them all.
        if let Some(report) = &self.reports.operator_statistics {
            let (name, api) = (operator_statistics::REPORT, operator_statistics::API);
            rows.push(row(name, api, &report.settings(), Some(1), report.rate_limit));
        }
        if let Some(report) = &self.reports.operator_status {
            let (name, api) = (operator_status::REPORT, operator_status::API);
            rows.push(row(name, api, &report.settings(), Some(1), report.rate_limit));
        }
        if let Some(report) = &self.reports.queue_statistics {
            let (name, settings) = (queue_statistics::REPORT, report.settings());
            rows.push(row(name, queue_statistics::API, &settings, report.queues.count(), report.rate_limit));
            if report.queues == Selection::All {
                rows.push(row(name, directory::QUEUES, &settings, Some(1), report.rate_limit));
            }
        }
        if let Some(report) = &self.reports.directory {
            let settings = report.settings();
            // A page holds all users that an account may have.
            for api in [directory::USERS, directory::QUEUES] {
                rows.push(row(directory::REPORT, api, &settings, Some(1), report.rate_limit));
            }
        }
        rows
    }
}

const NO_URL: &str = "expected an http or https URL without user name, password or query";

fn web_url(text: &str) -> Option<Url> {
    let plain = |url: &Url| url.username().is_empty() && url.password().is_none() && url.query().is_none();
    text.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && plain(url))
}

fn method_url(base: &Url, method: &str) -> Url {
    let mut url = base.clone();
    url.set_path(&format!("{}/platform_api/{method}", base.path().trim_end_matches('/')));
    url
}

#[cfg(test)]
mod polls;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::Account as _;

    fn check(reports: &str, rest: &str) -> Vec<String> {
        let yaml = format!("account: shop\n{rest}\nreports: {{operator_statistics: {reports}}}");
        let account: Account = serde_yaml::from_str(&yaml).unwrap();
        let mut problems = Problems::default();
        account.check("vendors.voximplant[0]", &mut problems);
        problems.errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn users_and_queues_are_all_or_lists() {
        let account: Account = serde_yaml::from_str(
            "account: a\ncredentials: x\nreports: {operator_statistics: {users: [7, 8], queues: all}}",
        )
        .unwrap();
        let report = account.reports.operator_statistics.clone().unwrap();
        assert_eq!((report.users.to_string(), report.queues.to_string()), ("7;8".to_owned(), "all".to_owned()));
        assert_eq!(report.settings().interval, Duration::from_mins(1));
        assert_eq!(account.base_url(), "https://api.voximplant.com");
        assert_eq!(account.plan()[0].requests, Some(1));
        for wrong in ["users: any", "users: 7", "queues: [x]", "queues: [-1]", "agents: all"] {
            let yaml = format!("account: a\ncredentials: x\nreports: {{operator_statistics: {{{wrong}}}}}");
            assert!(serde_yaml::from_str::<Account>(&yaml).is_err(), "{wrong}");
        }
    }

    #[test]
    fn the_plan_counts_every_report_by_its_method() {
        let plan = |reports: &str| {
            let yaml = format!("account: a\ncredentials: x\nreports: {{{reports}}}");
            let account: Account = serde_yaml::from_str(&yaml).unwrap();
            account.plan().iter().map(|row| (row.api, row.interval.as_secs(), row.requests)).collect::<Vec<_>>()
        };
        assert_eq!(
            plan(
                "operator_statistics: {}, operator_status: {interval: 2m}, queue_statistics: {queues: [54, 55, 54]}, directory: {application: shop}"
            ),
            [
                ("GetACDOperatorStatistics", 60, Some(1)),
                ("GetACDOperatorStatusStatistics", 120, Some(1)),
                ("GetACDQueueStatistics", 60, Some(2)),
                ("GetUsers", 3600, Some(1)),
                ("GetQueues", 3600, Some(1)),
            ]
        );
        assert_eq!(
            plan("queue_statistics: {queues: all}"),
            [("GetACDQueueStatistics", 60, None), ("GetQueues", 60, Some(1))]
        );
        for wrong in
            ["operator_status: {users: [1]}", "queue_statistics: {queues: 54}", "directory: {application: [shop]}"]
        {
            let yaml = format!("account: a\ncredentials: x\nreports: {{{wrong}}}");
            assert!(serde_yaml::from_str::<Account>(&yaml).is_err(), "{wrong}");
        }
    }

    #[test]
    fn all_problems_are_listed() {
        assert_eq!(check("{}", "credentials: x"), Vec::<String>::new());
        let errors = check("{users: [], queues: [0, 5]}", "base_url: 'ftp://x'\naccount_id: 0");
        let expected = ["give exactly one", ".base_url:", ".account_id:", "operator_statistics.users:", ".queues:"];
        assert_eq!(errors.len(), expected.len(), "{errors:?}");
        for (error, part) in errors.iter().zip(expected) {
            assert!(error.contains(part), "{error} has no {part}");
        }
    }

    #[test]
    fn a_key_that_cannot_be_used_is_told_by_its_key_in_the_configuration() {
        use crate::client::{Client, Http};
        use crate::clock::Clock;
        use crate::health::Health;

        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("bad.json"), "{\"private_key\":\"CANARY\"}").unwrap();
        for (source, path) in [
            ("credentials: CANARY", "credentials"),
            ("credentials_file: none.json", "credentials_file"),
            ("credentials_file: bad.json", "credentials_file"),
            ("credentials_env: NO_SUCH_VARIABLE_CCE", "credentials_env"),
        ] {
            let yaml = format!("account: a\n{source}\nreports: {{operator_statistics: {{}}}}");
            let account: Account = serde_yaml::from_str(&yaml).unwrap();
            let base = BASE_URL.parse().unwrap();
            let http = Http::new(&account.settings(), "v", folder.path(), &base).unwrap();
            let client = Client::new(account.settings(), Box::new(http), Clock::system(), Health::default());
            let error = account.build(&Setup { client: &client, folder: folder.path(), at: "v" }).err().unwrap();
            assert_eq!(error.path, format!("v.{path}"));
            assert!(!error.message.contains("CANARY") && !format!("{account:?}").contains("CANARY"), "{error}");
        }
    }
}
