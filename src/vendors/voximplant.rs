//! Voximplant Management API: the accounts' configuration. Who asks is in [`credentials`], what an error of the vendor's
//! means in [`errors`], how it writes figures in [`number`], what is asked in [`operator_statistics`].

pub mod credentials;
pub mod errors;
pub mod number;
pub mod operator_statistics;

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::{Deserializer, SeqAccess, Visitor};
use url::Url;

use crate::settings::{AccountSettings, Problems, SecretSource, SetupError, account_config, report_config};
use crate::vendors::{Calendar, ReportSetup};
use crate::vendors::{PlanRow, Setup};
use credentials::Credentials;

const VENDOR: &str = "voximplant";
const BASE_URL: &str = "https://api.voximplant.com";

account_config! {
    /// One account, or one child account.
    pub struct Account {
        /// Where the Management API is.
        pub base_url: Option<String>,
        /// The service account's key file, as it was downloaded.
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
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Calls and times of each operator.
    pub operator_statistics: Option<OperatorStatistics>,
}

report_config! {
    /// `operator_statistics:`
    pub struct OperatorStatistics, default Duration::from_mins(1), {
        /// Operators, by `user_id`.
        #[serde(default)]
        pub users: Selection,
        /// Queues whose calls count, by `acd_queue_id`.
        #[serde(default)]
        pub queues: Selection,
    }
}

/// `all`, or a list of ids.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Selection {
    /// Whatever the account has.
    #[default]
    All,
    /// These only.
    Ids(Vec<u64>),
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
        if let Some(report) = &self.reports.operator_statistics {
            report.users.check(&format!("{at}.reports.operator_statistics.users"), problems);
            report.queues.check(&format!("{at}.reports.operator_statistics.queues"), problems);
        }
    }

    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        let Some(report) = &self.reports.operator_statistics else { return Ok(Vec::new()) };
        let base = web_url(self.base_url())
            .ok_or_else(|| SetupError { path: format!("{}.base_url", setup.at), message: NO_URL.to_owned() })?;
        let credentials = Credentials::read(&self.secret(), self.account_id, setup)?;
        let settings = report.settings();
        let lane = setup.client.lane(operator_statistics::API, None, &settings);
        let asked = operator_statistics::Asked {
            url: method_url(&base, operator_statistics::API),
            users: report.users.to_string(),
            queues: report.queues.to_string(),
            token_life: credentials::token_life(settings.interval),
        };
        Ok(vec![ReportSetup {
            name: operator_statistics::REPORT,
            settings,
            calendar: Calendar::Days { zone: TimeZone::UTC },
            report: Box::new(operator_statistics::Statistics::new(asked, credentials, lane)),
        }])
    }

    fn plan(&self) -> Vec<PlanRow> {
        let row = |report: &OperatorStatistics| PlanRow {
            report: operator_statistics::REPORT,
            api: operator_statistics::API,
            interval: report.settings().interval,
            // However many days are open: one range holds them all.
            requests: Some(1),
            rereads: 0,
            limit: report.rate_limit.or(self.rate_limit),
            quota: None,
        };
        self.reports.operator_statistics.iter().map(row).collect()
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

// === impl Selection ===

impl Selection {
    fn check(&self, at: &str, problems: &mut Problems) {
        let Self::Ids(ids) = self else { return };
        if ids.is_empty() {
            problems.add(at, "the list is empty: give ids from 1, or leave the key out for all");
        }
        if ids.contains(&0) {
            problems.add(at, "expected ids from 1");
        }
    }
}

/// As the vendor wants it: `all`, or ids joined by semicolons.
impl fmt::Display for Selection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::Ids(ids) = self else { return f.write_str("all") };
        for (index, id) in ids.iter().enumerate() {
            write!(f, "{}{id}", if index == 0 { "" } else { ";" })?;
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for Selection {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct AllOrIds;

        impl<'de> Visitor<'de> for AllOrIds {
            type Value = Selection;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("`all` or a list of ids")
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Selection, E> {
                if text == "all" {
                    return Ok(Selection::All);
                }
                Err(E::invalid_value(serde::de::Unexpected::Str(text), &self))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Selection, S::Error> {
                let mut ids = Vec::new();
                while let Some(id) = list.next_element()? {
                    ids.push(id);
                }
                Ok(Selection::Ids(ids))
            }
        }

        deserializer.deserialize_any(AllOrIds)
    }
}

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
