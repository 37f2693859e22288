//! `agent_9`: how often and how long each agent used hold and mute, as totals of local days. The report has no key but
//! the agent's name, so rows of one name are one agent.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::daily::{Day, Taken, agent};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::reading::{Bucket, Entity, Reading};
use crate::vendors::parse::{self, Parsed, Text};

/// A day of hold and mute.
#[derive(Debug, Default)]
pub(super) struct HoldMute(BTreeMap<Entity, Figures>);

#[derive(Deserialize)]
pub(super) struct Row {
    agent_name: Text,
    #[serde(default)]
    count: Text,
    #[serde(default)]
    hold_time: Text,
    #[serde(default)]
    mute_time: Text,
    #[serde(default)]
    total_time: Text,
}

/// The figures of one agent; a value that the vendor leaves out is no figure.
type Figures = [Option<Amount>; 4];

const FAMILIES: [Family; 4] =
    [Family::AgentHoldMuteEvents, Family::AgentHold, Family::AgentMute, Family::AgentHoldMute];

impl Day for HoldMute {
    const NAME: &'static str = "agent_hold_mute";
    const API: &'static str = "agent_9";
    type Row = Row;

    fn take(&mut self, row: &Row) -> Taken {
        let Some(agent) = agent(row.agent_name.as_str()) else { return Taken::Nobodys };
        let figures = [
            parse::count(row.count.as_str()),
            parse::duration(row.hold_time.as_str()),
            parse::duration(row.mute_time.as_str()),
            parse::duration(row.total_time.as_str()),
        ];
        if figures.contains(&Parsed::Wrong) {
            return Taken::Rejected;
        }
        for (sum, figure) in self.0.entry(agent).or_default().iter_mut().zip(figures) {
            parse::add(sum, figure.value());
        }
        Taken::Counted
    }

    fn figures(&self, bucket: &Bucket, reading: &mut Reading) {
        for (agent, figures) in &self.0 {
            for (family, figure) in FAMILIES.into_iter().zip(figures) {
                if let Some(amount) = figure {
                    reading.figure(family, agent, bucket, *amount);
                }
            }
        }
    }

    fn gauges(&self, _: &mut Reading) {}
}

#[cfg(test)]
mod tests {
    use jiff::civil::Date;

    use super::*;
    use crate::failure::{Failure, Reason};
    use crate::vendors::Account as _;
    use crate::vendors::wolkvox::Access;
    use crate::vendors::wolkvox::testing::{self, account};

    const GOOD: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9.json");
    const BLANK: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9_blank.json");
    const NO_DATA: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9_no_data.json");
    const TOKEN_LIMIT: &str = include_str!("../../../tests/fixtures/wolkvox/token_limit.json");
    const ALL_WRONG: &str = r#"{"data":[{"agent_name":"Bruno","count":"many"},["x"]]}"#;

    async fn polled(days: &[&str], answers: &[(u16, &'static str)]) -> (Result<Reading, Failure>, Vec<String>) {
        let (mut outcomes, sent) = testing::polled("agent_hold_mute", &[days], answers).await;
        (outcomes.remove(0), sent)
    }

    #[tokio::test]
    async fn asks_for_each_day_from_midnight_to_midnight() {
        let (outcome, sent) = polled(&["2026-11-19", "2026-11-20"], &[(404, NO_DATA), (200, GOOD)]).await;
        let url = "https://wv0010.wolkvox.com/api/v2/reports_manager.php?api=agent_9";
        assert_eq!(
            sent,
            [
                format!("GET {url}&date_ini=20261119000000&date_end=20261119235959 [\"wolkvox-token: c0ffee\"]"),
                format!("GET {url}&date_ini=20261120000000&date_end=20261120235959 [\"wolkvox-token: c0ffee\"]"),
            ]
        );
        let reading = outcome.unwrap();
        assert_eq!(reading.days.iter().map(Date::to_string).collect::<Vec<_>>(), ["2026-11-19", "2026-11-20"]);
        assert_eq!((reading.read, reading.rows, reading.rejected), (2, 5, 2));
        assert_eq!(reading.verdict(), Ok(()));
    }

    #[tokio::test]
    async fn figures_are_per_name_and_day() {
        let (outcome, _) = polled(&["2026-11-20"], &[(200, GOOD)]).await;
        let reading = outcome.unwrap();
        let day = Bucket::Day("2026-11-20".parse().unwrap());
        let figures: Vec<_> = reading
            .figures
            .iter()
            .map(|figure| {
                assert_eq!(figure.bucket, day);
                let (_, agent) = figure.entity.label().unwrap();
                (agent, figure.family, figure.amount)
            })
            .collect();
        let figure = |agent, family, amount| (agent, family, Amount::whole(amount));
        assert_eq!(
            figures,
            [
                figure("COM-Íñigo Peña", Family::AgentHoldMuteEvents, 12),
                figure("COM-Íñigo Peña", Family::AgentHold, 754),
                figure("COM-Íñigo Peña", Family::AgentMute, 60),
                figure("COM-Íñigo Peña", Family::AgentHoldMute, 814),
                // Two rows of one name, one of them without a mute time.
                figure("Lucía Rentería", Family::AgentHoldMuteEvents, 7),
                figure("Lucía Rentería", Family::AgentHold, 90),
                figure("Lucía Rentería", Family::AgentMute, 5),
                figure("Lucía Rentería", Family::AgentHoldMute, 95),
                // The other row of this name has sixty seconds to the minute and is rejected.
                figure("Órbita \"24\"", Family::AgentHoldMuteEvents, 1),
                figure("Órbita \"24\"", Family::AgentHold, 442_801),
                figure("Órbita \"24\"", Family::AgentMute, 359_999),
                figure("Órbita \"24\"", Family::AgentHoldMute, 802_800),
            ]
        );
    }

    #[tokio::test]
    async fn the_consolidated_row_is_neither_counted_nor_rejected() {
        let (outcome, _) = polled(&["2026-11-20"], &[(200, BLANK)]).await;
        let reading = outcome.unwrap();
        assert_eq!((reading.read, reading.rows, reading.rejected, reading.figures.len()), (1, 0, 0, 0));
        assert_eq!(reading.verdict(), Ok(()));
    }

    #[tokio::test]
    async fn a_past_day_may_fail_and_today_may_not() {
        let days = ["2026-11-18", "2026-11-19", "2026-11-20"];
        let (outcome, _) = polled(&days, &[(500, ""), (200, ALL_WRONG), (200, GOOD)]).await;
        let reading = outcome.unwrap();
        assert_eq!(
            reading.failures.iter().map(|f| f.reason).collect::<Vec<_>>(),
            [Reason::Unavailable, Reason::Malformed]
        );
        assert_eq!((reading.days.len(), reading.read, reading.rejected), (1, 1, 4));

        let (outcome, _) = polled(&days[1..], &[(200, GOOD), (500, "")]).await;
        assert_eq!(outcome.unwrap_err().reason, Reason::Unavailable);

        let (outcome, _) = polled(&days[1..], &[(200, GOOD), (200, ALL_WRONG)]).await;
        assert_eq!(outcome.unwrap().verdict().unwrap_err().reason, Reason::Malformed);
    }

    #[tokio::test]
    async fn what_would_fail_again_ends_the_poll() {
        let days = ["2026-11-19", "2026-11-20"];
        let (outcome, sent) = polled(&days, &[(401, "")]).await;
        assert_eq!((outcome.unwrap_err().reason, sent.len()), (Reason::Auth, 1));
        let (outcome, sent) = polled(&days, &[(403, TOKEN_LIMIT)]).await;
        let failure = outcome.unwrap_err();
        assert_eq!((failure.reason, sent.len()), (Reason::Quota, 1));
        let midnight = "2026-11-21T00:00:00-05:00".parse().unwrap();
        assert_eq!(failure.hold, crate::failure::Hold::Until(midnight));
    }

    #[test]
    fn one_request_at_a_time_unless_told_otherwise() {
        let base =
            "account: v\nbase_url: http://127.0.0.1:9/x/\ntoken: t\nlicences: 2\nreports: {agent_hold_mute: {}}\n";
        assert_eq!(account(base).settings().max_in_flight, Some(1));
        assert_eq!(account(&format!("{base}max_in_flight: 2\n")).settings().max_in_flight, Some(2));
        let plan = account(base).plan();
        assert_eq!(
            (plan[0].report, plan[0].api, plan[0].quota, plan[0].limit),
            (HoldMute::NAME, HoldMute::API, Some(2000), None)
        );
        let access = Access {
            base: account(base).base_url().parse().unwrap(),
            token: "t".into(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let url = access.day("agent_9", &[], "2026-11-20".parse().unwrap()).unwrap().url;
        assert_eq!(url.path(), "/x/api/v2/reports_manager.php");
    }
}
