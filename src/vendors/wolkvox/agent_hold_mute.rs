//! `agent_9`: how often and how long each agent used hold and mute, as totals of local days. The report has no key but
//! the agent's name and no date, so every day is asked for by itself, and rows of one name are one agent.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::{Access, answer};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::Lane;
use crate::failure::{Failure, Reason};
use crate::reading::{Bucket, Entity, Reading};
use crate::vendors::Poll;
use crate::vendors::parse::{self, Parsed, Text};

/// Name in the configuration and on health series.
pub(super) const NAME: &str = "agent_hold_mute";
/// The vendor's name of the API.
pub(super) const API: &str = "agent_9";

/// The report of one operation.
pub(super) struct Report {
    pub(super) access: Access,
    pub(super) lane: Lane,
}

#[derive(Deserialize)]
struct Row {
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

/// One row, read.
enum Line {
    Agent(Entity, Figures),
    /// The sum of the others, or nobody's.
    Consolidated,
    Rejected,
}

/// One day, read.
#[derive(Debug, Default, PartialEq)]
struct Day {
    agents: BTreeMap<Entity, Figures>,
    rows: u64,
    rejected: u64,
}

// === impl Report ===

impl crate::vendors::Report for Report {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let mut reading = Reading::default();
            let next_day = self.access.next_day(poll.now);
            let Some((&today, past)) = poll.days.split_last() else { return Ok(reading) };
            for &day in past.iter().chain([&today]) {
                let request = self.access.day(API, day)?;
                let asked = poll.client.ask(&self.lane, &request, |answer| {
                    Ok(Day::from_lines(answer::rows(answer, next_day, Line::read)?))
                });
                match asked.await {
                    Ok(read) if read.unreadable() && day == today => {
                        // Past days do not make up for a present that cannot be read.
                        return Ok(Reading {
                            read: 1,
                            rejected: reading.rejected + read.rejected,
                            ..Reading::default()
                        });
                    }
                    Ok(read) if read.unreadable() => {
                        reading.rejected += read.rejected;
                        reading.failures.push(Failure::malformed("no row of the answer could be read"));
                    }
                    Ok(read) => read.add_to(&mut reading, day),
                    Err(failure) if day == today || failure.ends_poll() || failure.reason == Reason::Auth => {
                        return Err(failure);
                    }
                    Err(failure) => reading.failures.push(failure),
                }
            }
            Ok(reading)
        })
    }
}

// === impl Line ===

impl Line {
    fn read(raw: &RawValue) -> Self {
        // A list would be taken for the fields in their order.
        let object = raw.get().starts_with('{').then(|| serde_json::from_str::<Row>(raw.get()));
        let Some(Ok(row)) = object else { return Self::Rejected };
        let name = row.agent_name.as_str().trim();
        if ["total", "all", "todos"].iter().any(|word| name.eq_ignore_ascii_case(word)) {
            return Self::Consolidated;
        }
        let Some(agent) = Entity::agent(name) else { return Self::Consolidated };
        let figures = [
            parse::count(row.count.as_str()),
            parse::duration(row.hold_time.as_str()),
            parse::duration(row.mute_time.as_str()),
            parse::duration(row.total_time.as_str()),
        ];
        if figures.contains(&Parsed::Wrong) {
            return Self::Rejected;
        }
        Self::Agent(agent, figures.map(Parsed::value))
    }
}

// === impl Day ===

impl Day {
    fn from_lines(lines: Vec<Line>) -> Self {
        let mut day = Self::default();
        for line in lines {
            match line {
                Line::Agent(agent, figures) => {
                    day.rows += 1;
                    for (sum, figure) in day.agents.entry(agent).or_default().iter_mut().zip(figures) {
                        *sum = sum.iter().copied().chain(figure).reduce(|sum, figure| sum + figure);
                    }
                }
                Line::Consolidated => {}
                Line::Rejected => day.rejected += 1,
            }
        }
        day
    }

    fn unreadable(&self) -> bool {
        self.rows == 0 && self.rejected > 0
    }

    fn add_to(self, reading: &mut Reading, day: Date) {
        let bucket = Bucket::Day(day);
        for (agent, figures) in &self.agents {
            for (family, figure) in FAMILIES.into_iter().zip(figures) {
                if let Some(amount) = figure {
                    reading.figure(family, agent, &bucket, *amount);
                }
            }
        }
        reading.read += 1;
        reading.rows += self.rows;
        reading.rejected += self.rejected;
        reading.days.push(day);
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use super::*;
    use crate::client::{Answer, Client, Request, Transport, TransportError};
    use crate::clock::Clock;
    use crate::health::Health;
    use crate::ledger::CallQueue;
    use crate::vendors::{Account as _, Setup};

    const GOOD: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9.json");
    const BLANK: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9_blank.json");
    const NO_DATA: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9_no_data.json");
    const TOKEN_LIMIT: &str = include_str!("../../../tests/fixtures/wolkvox/token_limit.json");
    const ALL_WRONG: &str = r#"{"data":[{"agent_name":"Bruno","count":"many"},["x"]]}"#;

    type Sent = Arc<Mutex<Vec<String>>>;

    /// Answers in turn, and keeps what was sent.
    struct Script(Mutex<Vec<(u16, &'static str)>>, Sent);

    impl Transport for Script {
        fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            let headers: Vec<_> =
                request.headers.iter().map(|(n, v)| format!("{n}: {}", v.to_str().unwrap_or("?"))).collect();
            assert!(request.headers.iter().all(|(_, value)| value.is_sensitive()));
            self.1.lock().unwrap().push(format!("{} {} {headers:?}", request.method, request.url));
            let (status, body) = self.0.lock().unwrap().remove(0);
            Box::pin(async move { Ok(Answer { status, retry_after: None, body: body.into() }) })
        }
    }

    fn account(yaml: &str) -> super::super::Account {
        serde_yaml::from_str(yaml).unwrap()
    }

    async fn polled(days: &[&str], answers: &[(u16, &'static str)]) -> (Result<Reading, Failure>, Vec<String>) {
        let account = account("{account: v, server: '0010', token: c0ffee, reports: {agent_hold_mute: {}}}");
        let sent = Sent::default();
        let now = format!("{}T23:30:00-05:00", days.last().unwrap_or(&"2026-11-20")).parse().unwrap();
        let script = Script(Mutex::new(answers.to_vec()), Arc::clone(&sent));
        let client = Client::new(account.settings(), Box::new(script), Clock::manual(now), Health::default());
        let setup = Setup { client: &client, folder: Path::new("."), at: "vendors.wolkvox[0]" };
        let mut reports = account.build(&setup).unwrap();
        let days: Vec<Date> = days.iter().map(|day| day.parse().unwrap()).collect();
        let poll = Poll { now, client: &client, days: &days, calls: &CallQueue::default() };
        let outcome = reports[0].report.poll(poll).await;
        let sent = sent.lock().unwrap().clone();
        (outcome, sent)
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
        assert_eq!((plan[0].report, plan[0].api, plan[0].quota, plan[0].limit), (NAME, API, Some(2000), None));
        let access = Access {
            base: account(base).base_url().parse().unwrap(),
            token: "t".into(),
            zone: jiff::tz::TimeZone::UTC,
        };
        let url = access.day(API, "2026-11-20".parse().unwrap()).unwrap().url;
        assert_eq!(url.path(), "/x/api/v2/reports_manager.php");
    }
}
