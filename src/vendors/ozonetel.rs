//! Ozonetel CloudAgent: one account's configuration and what is wrong with it, its reports and what they cost. How a
//! request looks and what an error text means is said in `api`; each report has a file of its own.

mod agent_summary;
mod api;
mod average_handling_time;
mod call_details;
mod call_records;
pub mod callback;
mod cdr;
mod queue;
#[cfg(test)]
mod testing;
mod token;
mod ucids;

use std::path::PathBuf;
use std::time::Duration;

use jiff::tz::TimeZone;
use schemars::JsonSchema;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use url::Url;

use crate::ledger::calendar::rereads;
use crate::settings::{AccountSettings, Problems, RateLimit, ReportSettings, SecretSource, SetupError, account_config};
use crate::vendors::{Calendar, ReportSetup};
use crate::vendors::{PlanRow, Setup};
use agent_summary::AgentSummary;
pub use agent_summary::AgentSummaryReport;
use api::Access;
use average_handling_time::AverageHandlingTime;
pub use average_handling_time::AverageHandlingTimeReport;
use call_details::CallDetails;
pub use call_details::CallDetailsReport;
use call_records::CallRecords;
pub use call_records::CallRecordsReport;
use token::Token;

const VENDOR: &str = "ozonetel";
const INTERVAL: Duration = Duration::from_mins(5);
const TOKEN_API: &str = "token";
/// How far back the vendor answers.
const KEPT: Duration = Duration::from_hours(15 * 24);

account_config! {
    /// One account.
    pub struct Account {
        /// The vendor's host; a partner has its own.
        #[serde(default = "default_base_url")]
        pub base_url: String,
        /// The account's name at the vendor.
        pub user_name: String,
        /// The account's API key.
        #[schemars(with = "Option<String>")]
        pub api_key: Option<SecretString>,
        /// The key in a file.
        pub api_key_file: Option<PathBuf>,
        /// The key in an environment variable.
        pub api_key_env: Option<String>,
        /// How v2 requests prove who asks.
        #[serde(default)]
        pub auth: Auth,
        /// The zone of the vendor's days.
        #[serde(default = "default_timezone")]
        pub timezone: String,
        /// What is asked for.
        pub reports: Reports,
    }
}

/// `auth:`
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Auth {
    /// The key itself, with every request.
    #[default]
    ApiKey,
    /// A token that is made from the key.
    Token,
}

/// `reports:`
#[derive(Debug, Clone, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reports {
    /// Average handle time over the last two hours.
    pub average_handling_time: Option<AverageHandlingTimeReport>,
    /// Single calls, by id.
    pub call_details: Option<CallDetailsReport>,
    /// All calls, by the page.
    pub call_records: Option<CallRecordsReport>,
    /// Agents' states, by the day.
    pub agent_summary: Option<AgentSummaryReport>,
}

/// `api:`, the generation of the vendor's API.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Api {
    /// The old one, with credentials in the query.
    V1,
    /// The present one.
    #[default]
    V2,
}

// === impl Account ===

/// No report's own: a wait that the vendor asks for lasts five minutes at most.
fn token_settings() -> ReportSettings {
    ReportSettings { stale_after: INTERVAL, ..ReportSettings::every(INTERVAL) }
}

fn default_base_url() -> String {
    "https://in1-ccaas-api.ozonetel.com".to_owned()
}

fn default_timezone() -> String {
    "Asia/Kolkata".to_owned()
}

impl Account {
    fn secret(&self) -> SecretSource<'_> {
        SecretSource {
            key: "api_key",
            inline: self.api_key.as_ref(),
            file: self.api_key_file.as_ref(),
            env: self.api_key_env.as_ref(),
        }
    }

    fn limit(&self, report: &ReportSettings, documented: RateLimit) -> RateLimit {
        report.rate_limit.or(self.rate_limit).unwrap_or(documented)
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
        &self.base_url
    }

    fn check(&self, at: &str, problems: &mut Problems) {
        if self.user_name.trim().is_empty() {
            problems.add(&format!("{at}.user_name"), "empty; expected the account's name at the vendor");
        }
        let folder = problems.folder.clone();
        self.secret().check(at, &folder, problems);
        if TimeZone::get(&self.timezone).is_err() {
            problems.add(&format!("{at}.timezone"), "unknown time zone; expected an IANA name such as Asia/Kolkata");
        }
        if let Some(report) = &self.reports.average_handling_time {
            report.check(&format!("{at}.reports.average_handling_time"), problems);
        }
        if let Some(report) = &self.reports.call_details {
            report.check(&format!("{at}.reports.call_details"), problems);
        }
        if self.reports.call_details.is_some() && self.reports.call_records.is_some() {
            for (one, other) in [("call_details", "call_records"), ("call_records", "call_details")] {
                let message = format!("counts the same calls as {other}; expected one of the two on an account");
                problems.add(&format!("{at}.reports.{one}"), message);
            }
        }
    }

    fn build(&self, setup: &Setup<'_>) -> Result<Vec<ReportSetup>, SetupError> {
        let fail =
            |key: &str, message: &str| SetupError { path: format!("{}.{key}", setup.at), message: message.to_owned() };
        let base = Url::parse(&self.base_url).map_err(|_| fail("base_url", "no usable URL"))?;
        let zone = TimeZone::get(&self.timezone).map_err(|_| fail("timezone", "unknown time zone"))?;
        let mut access = Access::new(base, &self.user_name, self.secret().read(setup.at, setup.folder)?);
        if self.auth == Auth::Token {
            access = access.with_token(Token::new(
                setup.client.lane(TOKEN_API, None, &token_settings()),
                self.rate_limit.is_none(),
            ));
        }
        let mut reports = Vec::new();
        if let Some(report) = &self.reports.average_handling_time {
            let settings = report.settings();
            let lane = setup.client.lane(report.api_name(), Some(AverageHandlingTimeReport::LIMIT), &settings);
            reports.push(ReportSetup {
                name: AverageHandlingTimeReport::NAME,
                settings,
                calendar: Calendar::Present,
                report: Box::new(AverageHandlingTime::new(access.clone(), lane, report)),
            });
        }
        if let Some(report) = &self.reports.call_details {
            let settings = report.settings();
            let lane = setup.client.lane(report.api_name(), Some(report.documented_limit()), &settings);
            let pace = queue::Pace::new(self.limit(&settings, report.documented_limit()), settings.interval);
            let file = report.ucid_file.as_ref().map(|path| setup.folder.join(path));
            reports.push(ReportSetup {
                name: CallDetailsReport::NAME,
                settings,
                calendar: Calendar::Calls { zone: zone.clone() },
                report: Box::new(CallDetails::new(access.clone(), lane, report.api, zone.clone(), pace, file)),
            });
        }
        if let Some(report) = &self.reports.call_records {
            let settings = report.settings();
            let lane = setup.client.lane(CallRecordsReport::API, Some(CallRecordsReport::LIMIT), &settings);
            let pace = queue::Pace::new(self.limit(&settings, CallRecordsReport::LIMIT), settings.interval);
            // The vendor keeps no more.
            let settings = ReportSettings { backfill: settings.backfill.min(KEPT), ..settings };
            reports.push(ReportSetup {
                name: CallRecordsReport::NAME,
                settings: settings.clone(),
                calendar: Calendar::Records { zone: zone.clone() },
                report: Box::new(CallRecords::new(access.clone(), lane, zone.clone(), pace, settings)),
            });
        }
        if let Some(report) = &self.reports.agent_summary {
            let settings = report.settings();
            let lane = setup.client.lane(AgentSummaryReport::API, Some(AgentSummaryReport::LIMIT), &settings);
            reports.push(ReportSetup {
                name: AgentSummaryReport::NAME,
                settings,
                calendar: Calendar::MovedDays { zone, ready_hour: queue::READY_HOUR },
                report: Box::new(AgentSummary { access, lane }),
            });
        }
        Ok(reports)
    }

    fn callback_key(&self, setup: &Setup<'_>) -> Result<Option<SecretString>, SetupError> {
        let wanted = self.reports.call_details.as_ref().is_some_and(|report| report.callback);
        wanted.then(|| self.secret().read(setup.at, setup.folder)).transpose()
    }

    fn plan(&self) -> Vec<PlanRow> {
        let aht = self.reports.average_handling_time.as_ref().map(|report| {
            let settings = report.settings();
            PlanRow {
                report: AverageHandlingTimeReport::NAME,
                api: report.api_name(),
                interval: settings.interval,
                requests: Some((report.agents.len() + report.campaigns.len()) as u64),
                rereads: 0,
                limit: Some(self.limit(&settings, AverageHandlingTimeReport::LIMIT)),
                quota: None,
            }
        });
        let calls = self.reports.call_details.as_ref().map(|report| {
            let settings = report.settings();
            PlanRow {
                report: CallDetailsReport::NAME,
                api: report.api_name(),
                interval: settings.interval,
                requests: None,
                rereads: 0,
                limit: Some(self.limit(&settings, report.documented_limit())),
                quota: None,
            }
        });
        let row = |report, api, settings: ReportSettings, documented, rereads| PlanRow {
            report,
            api,
            interval: settings.interval,
            requests: Some(1),
            rereads,
            limit: Some(self.limit(&settings, documented)),
            quota: None,
        };
        let records = self.reports.call_records.as_ref().map(|report| {
            let settings = report.settings();
            let limit = self.limit(&settings, CallRecordsReport::LIMIT);
            // How many pages there are only running tells; but where the least is too much, the plan says so.
            let too_much = settings.interval.saturating_mul(limit.count) < limit.per;
            // A past day is read in two parts, each with the edge of its neighbour.
            let rereads = 4 * rereads(&settings);
            let row = row(CallRecordsReport::NAME, CallRecordsReport::API, settings, CallRecordsReport::LIMIT, rereads);
            PlanRow { requests: row.requests.filter(|_| too_much), ..row }
        });
        let summary = self.reports.agent_summary.as_ref().map(|report| {
            let settings = report.settings();
            let rereads = rereads(&settings);
            row(AgentSummaryReport::NAME, AgentSummaryReport::API, settings, AgentSummaryReport::LIMIT, rereads)
        });
        let mut rows: Vec<_> = aht.into_iter().chain(calls).chain(records).chain(summary).collect();
        if self.auth == Auth::Token && !rows.is_empty() {
            let interval = token::LIFE;
            rows.push(PlanRow { interval, ..row("auth", TOKEN_API, token_settings(), token::LIMIT, 0) });
        }
        rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::Account as _;

    fn account(yaml: &str) -> Account {
        serde_yaml::from_str(yaml).expect("the YAML of the test")
    }

    fn complaints(yaml: &str) -> (Vec<String>, Vec<String>) {
        let mut problems = Problems::default();
        account(yaml).check("at", &mut problems);
        let print = |list: &[crate::settings::Problem]| list.iter().map(ToString::to_string).collect();
        (print(&problems.errors), print(&problems.warnings))
    }

    #[test]
    fn defaults_are_those_of_the_contract() {
        let account = account(
            "{account: in, user_name: acme, api_key: k, reports: {average_handling_time: {agents: [asha], campaigns: [sales, help]}, call_details: {ucid_file: u.txt}}}",
        );
        assert_eq!(account.base_url(), "https://in1-ccaas-api.ozonetel.com");
        assert_eq!((account.timezone.as_str(), account.auth), ("Asia/Kolkata", Auth::ApiKey));
        let plan: Vec<_> = account
            .plan()
            .into_iter()
            .map(|row| (row.report, row.api, row.interval.as_secs(), row.requests, row.limit))
            .collect();
        assert_eq!(
            plan,
            [
                ("average_handling_time", "aht", 300, Some(3), Some(RateLimit::per_minute(50))),
                ("call_details", "cdr", 300, None, Some(RateLimit::per_minute(2))),
            ]
        );
    }

    #[test]
    fn nobody_knows_how_many_pages_a_poll_takes_but_one_at_least() {
        for (interval, requests) in [("5m", None), ("30s", None), ("29s", Some(1))] {
            let reports = format!("{{call_records: {{interval: {interval}}}}}");
            let account = account(&format!("{{account: in, user_name: a, api_key: k, reports: {reports}}}"));
            assert_eq!(account.plan()[0].requests, requests, "{interval}");
        }
    }

    #[test]
    fn limits_are_those_that_the_vendor_documents() {
        for (api, expected) in [("v1", [50, 50, 5]), ("v2", [50, 2, 5])] {
            let reports = format!(
                "{{average_handling_time: {{api: {api}, agents: [a]}}, call_details: {{api: {api}, callback: true}}, agent_summary: {{}}}}"
            );
            let account = account(&format!("{{account: in, user_name: a, api_key: k, reports: {reports}}}"));
            let limits: Vec<_> = account.plan().into_iter().filter_map(|row| row.limit).collect();
            assert_eq!(limits, expected.map(RateLimit::per_minute), "{api}");
        }
        let yaml = "{account: in, user_name: a, api_key: k, auth: token, reports: {call_records: {}}}";
        let limits: Vec<_> = account(yaml).plan().into_iter().filter_map(|row| row.limit).collect();
        let ten_an_hour = RateLimit { count: 10, per: Duration::from_hours(1) };
        assert_eq!(limits, [RateLimit::per_minute(2), ten_an_hour]);
    }

    #[test]
    fn all_problems_are_listed_with_their_key_path() {
        let (errors, warnings) = complaints(
            "{account: in, user_name: ' ', auth: token, timezone: Asia/Kolkatta, reports: {average_handling_time: {agents: [asha, ' ', asha]}, call_details: {}}}",
        );
        let paths: Vec<_> = errors.iter().filter_map(|text| text.split(": ").next()).collect();
        assert_eq!(
            paths,
            [
                "at.user_name",
                "at",
                "at.timezone",
                "at.reports.average_handling_time.agents[1]",
                "at.reports.average_handling_time.agents[2]",
                "at.reports.call_details",
            ]
        );
        assert!(warnings.is_empty());
    }

    #[test]
    fn nobody_to_ask_about_is_an_error_and_a_missing_file_a_warning() {
        let (errors, warnings) = complaints(
            "{account: in, user_name: a, api_key: k, reports: {average_handling_time: {}, call_details: {ucid_file: /no/such.txt}}}",
        );
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert!(errors[0].contains("agents or campaigns"));
        assert!(warnings[0].starts_with("at.reports.call_details.ucid_file: no such file"), "{warnings:?}");
    }

    #[test]
    fn unknown_keys_are_refused() {
        for reports in ["{call_record: {}}", "{average_handling_time: {agent: [a]}}", "{call_details: {api: v3}}"] {
            let yaml = format!("{{account: in, user_name: a, api_key: k, reports: {reports}}}");
            assert!(serde_yaml::from_str::<Account>(&yaml).is_err(), "{reports}");
        }
    }

    #[test]
    fn the_key_never_prints() {
        let account = account("{account: in, user_name: a, api_key: canary, reports: {}}");
        assert!(!format!("{account:?}").contains("canary"));
    }
}
