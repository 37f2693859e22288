//! Huawei AICC / CEC, CC-Gateway: the accounts' configuration. The exporter reads the statistics of agents that others
//! have signed in, with GUIDs that others supply ([`guids`]); it never signs in or out and never polls events, because a
//! sign-in takes the agent's seat and an event poll takes his events. [`statistics`] is all that it asks.

pub mod guids;
pub mod statistics;

use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;
use url::Url;

use crate::settings::{AccountSettings, Problems, SetupError, account_config, report_config};
use crate::vendors::{Calendar, ReportSetup};
use crate::vendors::{PlanRow, Setup};

const VENDOR: &str = "huawei";
/// Agents asked at once when the configuration does not say.
const CONCURRENCY: usize = 8;

account_config! {
    /// One CC-Gateway.
    pub struct Account {
        /// Where it listens, such as `https://10.0.0.8:8043`.
        pub base_url: String,
        /// Where the agents' GUIDs come from.
        pub guids: guids::Config,
        /// What to read.
        pub reports: Reports,
    }
}

/// `reports:` of an account.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Talk time and calls of each agent.
    pub agent_call_statistics: Option<AgentCallStatistics>,
}

report_config! {
    /// `agent_call_statistics:`
    pub struct AgentCallStatistics, default Duration::from_secs(30), {
        /// Agents asked at once.
        #[schemars(extend("default" = CONCURRENCY))]
        pub concurrency: Option<usize>,
    }
}

// === impl Account ===

impl crate::vendors::Account for Account {
    fn vendor(&self) -> &'static str {
        VENDOR
    }

    fn settings(&self) -> AccountSettings {
        self.common(VENDOR)
    }

    fn base_url(&self) -> &str {
        &self.base_url
    }

    fn check(&self, at: &str, problems: &mut Problems) {
        if web_url(&self.base_url).is_none() {
            problems.add(&format!("{at}.base_url"), NO_URL);
        }
        self.guids.check(&format!("{at}.guids"), problems);
        let Some(report) = &self.reports.agent_call_statistics else { return };
        if report.concurrency == Some(0) {
            let path = format!("{at}.reports.agent_call_statistics.concurrency");
            problems.add(&path, "no agent could be asked: give a whole number from 1");
        }
    }

    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        let Some(report) = &self.reports.agent_call_statistics else { return Ok(Vec::new()) };
        let base = web_url(&self.base_url)
            .ok_or_else(|| SetupError { path: format!("{}.base_url", setup.at), message: NO_URL.to_owned() })?;
        let source = self.guids.source(setup)?;
        let settings = report.settings();
        let lane = setup.client.lane(statistics::API, None, &settings);
        let concurrency = report.concurrency.unwrap_or(CONCURRENCY).max(1);
        Ok(vec![ReportSetup {
            name: statistics::REPORT,
            settings,
            calendar: Calendar::Present,
            report: Box::new(statistics::Statistics::new(base, source, lane, concurrency)),
        }])
    }

    fn plan(&self) -> Vec<PlanRow> {
        let row = |report: &AgentCallStatistics| PlanRow {
            report: statistics::REPORT,
            api: statistics::API,
            interval: report.settings().interval,
            requests: None,
            rereads: 0,
            limit: report.rate_limit.or(self.rate_limit),
            quota: None,
        };
        self.reports.agent_call_statistics.iter().map(row).collect()
    }
}

const NO_URL: &str = "expected an http or https URL without user name, password or query";

/// A URL to which a path may be added.
fn web_url(text: &str) -> Option<Url> {
    guids::web_url(text).filter(|url| url.query().is_none())
}

#[cfg(test)]
mod polls;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RateLimit;
    use crate::vendors::Account as _;

    fn check(yaml: &str) -> (Vec<String>, Vec<String>) {
        let account: Account = serde_yaml::from_str(yaml).unwrap();
        let mut problems = Problems::default();
        account.check("vendors.huawei[0]", &mut problems);
        let texts = |list: &[crate::settings::Problem]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        (texts(&problems.errors), texts(&problems.warnings))
    }

    #[test]
    fn one_source_of_guids_and_a_usable_gateway() {
        let head = "account: norte\nreports: {agent_call_statistics: {}}\nbase_url: ";
        for (rest, wrong) in [
            ("https://10.0.0.8:8043\nguids: {url: 'https://cti.example/guids', bearer_token: t, tls: {}}", None),
            ("https://10.0.0.8:8043/aicc/\nguids: {command: [print-guids, --json]}", None),
            ("https://10.0.0.8:8043\nguids: {}", Some("guids: give exactly one of file, url and command")),
            (
                "https://10.0.0.8:8043\nguids: {file: a.json, command: [b]}",
                Some("guids: give exactly one of file, url and command"),
            ),
            ("https://10.0.0.8:8043\nguids: {command: []}", Some("guids.command: name the program")),
            ("https://10.0.0.8:8043\nguids: {url: 'ftp://x/'}", Some("guids.url: expected an http")),
            (
                "https://10.0.0.8:8043\nguids: {url: 'https://x/', bearer_token: a, bearer_token_env: B}",
                Some("guids: give exactly one of bearer_token,"),
            ),
            (
                "https://10.0.0.8:8043\nguids: {command: [a], bearer_token: t}",
                Some("guids: bearer_token and tls belong to url"),
            ),
            ("10.0.0.8:8043\nguids: {command: [a]}", Some("base_url: expected an http")),
            ("https://u:p@10.0.0.8/\nguids: {command: [a]}", Some("base_url: expected an http")),
        ] {
            let (errors, _) = check(&format!("{head}{rest}"));
            match wrong {
                None => assert_eq!(errors, Vec::<String>::new(), "{rest}"),
                Some(wrong) => {
                    assert!(errors.len() == 1 && errors[0].contains(&format!("[0].{wrong}")), "{rest}: {errors:?}");
                }
            }
        }
    }

    #[test]
    fn concurrency_is_at_least_one_and_guids_in_the_clear_are_worth_a_warning() {
        let (errors, warnings) = check(
            "account: a\nbase_url: https://10.0.0.8:8043\nguids: {url: 'http://cti.example/'}\n\
             reports: {agent_call_statistics: {concurrency: 0}}",
        );
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].starts_with("vendors.huawei[0].reports.agent_call_statistics.concurrency:"));
        assert!(warnings[0].starts_with("vendors.huawei[0].guids.url:"), "{warnings:?}");
        let (_, warnings) =
            check("account: a\nbase_url: https://10.0.0.8:8043\nguids: {url: 'http://127.0.0.1:9000/'}\nreports: {}\n");
        assert_eq!(warnings, Vec::<String>::new());
        let (_, warnings) =
            check("account: a\nbase_url: https://10.0.0.8:8043\nguids: {file: /no/such.json}\nreports: {}\n");
        assert!(warnings[0].starts_with("vendors.huawei[0].guids.file: no such file"), "{warnings:?}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        for yaml in [
            "account: a\nbase_url: x\nguids: {file: x, fils: y}\nreports: {}",
            "account: a\nbase_url: x\nguids: {file: x}\nreports: {agent_statistics: {}}",
            "account: a\nguids: {file: x}\nreports: {}",
        ] {
            assert!(serde_yaml::from_str::<Account>(yaml).is_err(), "{yaml}");
        }
    }

    #[test]
    fn the_plan_knows_no_number_of_agents() {
        let account: Account = serde_yaml::from_str(
            "account: a\nbase_url: https://h\nguids: {file: x}\nrate_limit: 50/1m\nreports: {agent_call_statistics: {}}",
        )
        .unwrap();
        let plan = account.plan();
        assert_eq!(plan.len(), 1);
        assert_eq!((plan[0].requests, plan[0].limit), (None, Some(RateLimit::per_minute(50))));
        assert_eq!(plan[0].interval, Duration::from_secs(30));
    }
}
