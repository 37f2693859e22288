//! `agent_1`: calls of each agent, and how he spent his time, as totals of local days. Namesakes are one agent, as in
//! agent_9, which has no key but the name: their figures are added, and an average over them is no sample. The national
//! id that stands in each row is never read.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::daily::{Day, Taken, agent};
use crate::amount::Amount;
use crate::catalogue::{Family, State};
use crate::reading::{Bucket, Entity, Figure, Gauge, Reading};
use crate::vendors::parse::{self, Parsed, Text};

/// A day of activity.
#[derive(Debug, Default)]
pub(super) struct Activity(BTreeMap<Entity, Agent>);

#[derive(Deserialize)]
#[serde(default)]
#[derive(Default)]
pub(super) struct Row {
    agent_id: Text,
    agent_name: Text,
    inbound: Text,
    outbound: Text,
    ready_time: Text,
    inbound_time: Text,
    outbound_time: Text,
    acw_time: Text,
    ring_time: Text,
    login_time: Text,
    aux_time: Text,
    aht: Text,
}

/// All rows of one name.
#[derive(Debug, Default)]
struct Agent {
    rows: u32,
    sums: Sums,
    average: Option<Amount>,
    /// The vendor's number; of namesakes the lowest.
    id: Option<String>,
}

/// A value that the vendor leaves out is no figure, nor is a sum of which it is a part.
#[derive(Debug, Default)]
struct Sums {
    inbound: Option<Amount>,
    outbound: Option<Amount>,
    handled: Option<Amount>,
    talk: Option<Amount>,
    after_call_work: Option<Amount>,
    handle: Option<Amount>,
    ready: Option<Amount>,
    ring: Option<Amount>,
    not_ready: Option<Amount>,
    login: Option<Amount>,
}

impl Day for Activity {
    const NAME: &'static str = "agent_activity";
    const API: &'static str = "agent_1";
    type Row = Row;

    fn take(&mut self, row: &Row) -> Taken {
        let Some(entity) = agent(row.agent_name.as_str()) else { return Taken::Nobodys };
        let counts = [&row.inbound, &row.outbound].map(|text| parse::count(text.as_str()));
        let times = [
            &row.inbound_time,
            &row.outbound_time,
            &row.acw_time,
            &row.ready_time,
            &row.ring_time,
            &row.aux_time,
            &row.login_time,
            &row.aht,
        ]
        .map(|text| parse::duration(text.as_str()));
        if counts.contains(&Parsed::Wrong) || times.contains(&Parsed::Wrong) {
            return Taken::Rejected;
        }
        let [inbound, outbound] = counts.map(Parsed::value);
        let [inbound_time, outbound_time, after_call_work, ready, ring, not_ready, login, aht] =
            times.map(Parsed::value);
        let both = |one: Option<Amount>, other: Option<Amount>| Some(one? + other?);
        let talk = both(inbound_time, outbound_time);

        let agent = self.0.entry(entity).or_default();
        let sums = &mut agent.sums;
        for (sum, figure) in [
            (&mut sums.inbound, inbound),
            (&mut sums.outbound, outbound),
            (&mut sums.handled, both(inbound, outbound)),
            (&mut sums.talk, talk),
            (&mut sums.after_call_work, after_call_work),
            (&mut sums.handle, both(talk, after_call_work)),
            (&mut sums.ready, ready),
            (&mut sums.ring, ring),
            (&mut sums.not_ready, not_ready),
            (&mut sums.login, login),
        ] {
            parse::add(sum, figure);
        }
        agent.rows += 1;
        agent.average = aht.filter(|aht| agent.rows == 1 && *aht > Amount::ZERO);
        let id = row.agent_id.as_str().trim();
        if !parse::is_nothing(id) {
            // Numbers of one length each, mostly: the shorter one is the lower.
            let lower = |known: &String| (id.len(), id) < (known.len(), known);
            if agent.id.as_ref().is_none_or(lower) {
                agent.id = Some(id.to_owned());
            }
        }
        Taken::Counted
    }

    fn figures(&self, bucket: &Bucket, reading: &mut Reading) {
        for (entity, Agent { sums, .. }) in &self.0 {
            for (family, figure) in [
                (Family::AgentAnsweredCalls, sums.inbound),
                (Family::AgentOutbound, sums.outbound),
                (Family::AgentHandledCalls, sums.handled),
                (Family::AgentTalk, sums.talk),
                (Family::AgentAfterCallWork, sums.after_call_work),
                (Family::AgentHandle, sums.handle),
                (Family::AgentRing, sums.ring),
                (Family::AgentLogin, sums.login),
            ] {
                if let Some(amount) = figure {
                    reading.figure(family, entity, bucket, amount);
                }
            }
            for (state, figure) in [
                (State::Ready, sums.ready),
                (State::Talking, sums.talk),
                (State::Ringing, sums.ring),
                (State::AfterCallWork, sums.after_call_work),
                (State::NotReady, sums.not_ready),
            ] {
                if let Some(amount) = figure {
                    let (family, state) = (Family::AgentState, Some(state));
                    let (entity, bucket) = (entity.clone(), bucket.clone());
                    reading.figures.push(Figure { family, entity, state, bucket, amount });
                }
            }
        }
    }

    fn gauges(&self, reading: &mut Reading) {
        for (entity, agent) in &self.0 {
            if let Some(average) = agent.average {
                reading.gauges.push(Gauge {
                    family: Family::AgentAverageHandleTime,
                    entity: entity.clone(),
                    labels: vec![("direction", "all".to_owned()), ("window", "today".to_owned())],
                    value: average.as_f64(),
                });
            }
            let name = entity.label().map_or("", |(_, name)| name);
            let id = agent.id.as_deref().unwrap_or(name);
            reading.gauges.push(Gauge {
                family: Family::AgentInfo,
                entity: entity.clone(),
                labels: vec![("agent_name", name.to_owned()), ("agent_id", id.to_owned())],
                value: 1.0,
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::failure::Reason;
    use crate::vendors::wolkvox::testing::polled;

    const GOOD: &str = include_str!("../../../tests/fixtures/wolkvox/agent_1.json");
    const NO_DATA: &str = include_str!("../../../tests/fixtures/wolkvox/agent_9_no_data.json");
    /// The vendor's own example, as it stands in its documents.
    const TEMPLATE: &str = r#"{"code":200,"error":null,"msg":"Information found for the current month","data":[{"agent_id":"","agent_dni":"","agent_name":"","calls":"","inbound":"","aht_inbound":"00:00:00","login":"-","logout":"-"}]}"#;

    async fn today(body: &'static str) -> Reading {
        let (mut outcomes, _) = polled("agent_activity", &[&["2026-11-20"]], &[(200, body)]).await;
        outcomes.remove(0).unwrap()
    }

    fn figures(reading: &Reading, agent: &str) -> Vec<(Family, Option<State>, f64)> {
        let of = reading.figures.iter().filter(|figure| figure.entity == Entity::Agent(agent.into()));
        of.map(|figure| (figure.family, figure.state, figure.amount.as_f64())).collect()
    }

    fn gauges(reading: &Reading, agent: &str) -> Vec<(Vec<String>, f64)> {
        let of = reading.gauges.iter().filter(|gauge| gauge.entity == Entity::Agent(agent.into()));
        of.map(|gauge| (gauge.labels.iter().map(|(_, value)| value.clone()).collect(), gauge.value)).collect()
    }

    #[tokio::test]
    async fn a_row_is_the_agent_s_day() {
        let (mut outcomes, sent) = polled("agent_activity", &[&["2026-11-20"]], &[(200, GOOD)]).await;
        let url = "https://wv0010.wolkvox.com/api/v2/reports_manager.php?api=agent_1";
        assert_eq!(
            sent,
            [format!("GET {url}&date_ini=20261120000000&date_end=20261120235959 [\"wolkvox-token: c0ffee\"]")]
        );
        let reading = outcomes.remove(0).unwrap();
        assert_eq!((reading.read, reading.rows, reading.rejected), (1, 5, 2));
        assert_eq!(
            figures(&reading, "COM-Íñigo Peña"),
            [
                (Family::AgentAnsweredCalls, None, 10.0),
                (Family::AgentOutbound, None, 4.0),
                (Family::AgentHandledCalls, None, 14.0),
                (Family::AgentTalk, None, 3150.0),
                (Family::AgentAfterCallWork, None, 450.0),
                (Family::AgentHandle, None, 3600.0),
                (Family::AgentRing, None, 125.0),
                (Family::AgentLogin, None, 11_400.0),
                (Family::AgentState, Some(State::Ready), 5400.0),
                (Family::AgentState, Some(State::Talking), 3150.0),
                (Family::AgentState, Some(State::Ringing), 125.0),
                (Family::AgentState, Some(State::AfterCallWork), 450.0),
                (Family::AgentState, Some(State::NotReady), 2400.0),
            ]
        );
        assert_eq!(
            gauges(&reading, "COM-Íñigo Peña"),
            [
                (vec!["all".to_owned(), "today".to_owned()], 257.0),
                (vec!["COM-Íñigo Peña".to_owned(), "12001".to_owned()], 1.0)
            ]
        );
    }

    /// Trap: nothing but the name is shared with agent_9, so homonyms collide.
    #[tokio::test]
    async fn of_namesakes_counters_are_added_and_the_average_is_no_sample() {
        let reading = today(GOOD).await;
        let figures = figures(&reading, "Lucía Rentería");
        assert_eq!(
            figures[..6],
            [
                (Family::AgentAnsweredCalls, None, 5.0),
                (Family::AgentOutbound, None, 1.0),
                (Family::AgentHandledCalls, None, 6.0),
                (Family::AgentTalk, None, 480.0),
                // One of the two has no after-call work, and so no handle time.
                (Family::AgentAfterCallWork, None, 60.0),
                (Family::AgentHandle, None, 360.0),
            ]
        );
        assert_eq!(gauges(&reading, "Lucía Rentería"), [(vec!["Lucía Rentería".to_owned(), "12003".to_owned()], 1.0)]);
    }

    /// Trap: durations have any number of hours, and an average of nothing is `00:00:00`.
    #[tokio::test]
    async fn hours_have_no_end_and_an_average_of_nothing_is_no_sample() {
        let reading = today(GOOD).await;
        let name = "ING-Órbita \"24\"";
        assert!(figures(&reading, name).contains(&(Family::AgentLogin, None, 442_801.0)));
        assert_eq!(gauges(&reading, name).len(), 1, "the name alone");
    }

    /// Trap: blank values; "nothing" is never zero, nor is a sum of which a part is missing.
    #[tokio::test]
    async fn what_is_blank_is_no_figure() {
        let reading = today(GOOD).await;
        assert_eq!(figures(&reading, "Nadia"), [(Family::AgentOutbound, None, 1.0)]);
        assert_eq!(gauges(&reading, "Nadia"), [(vec!["Nadia".to_owned(), "Nadia".to_owned()], 1.0)]);
        let reading = today(TEMPLATE).await;
        assert_eq!((reading.read, reading.rows, reading.rejected, reading.figures.len()), (1, 0, 0, 0));
        assert_eq!(reading.verdict(), Ok(()));
    }

    /// Trap: agent_dni is a national id.
    #[tokio::test]
    async fn national_ids_never_leave_the_decoder() {
        let shown = format!("{:?}", today(GOOD).await);
        assert!(shown.contains("12001") && !shown.contains("99000"), "{shown}");
    }

    /// Trap: values restart at local midnight, and the words for no data are an error's.
    #[tokio::test]
    async fn after_midnight_averages_leave_and_names_stay() {
        let answers = [(200, GOOD), (200, GOOD), (404, NO_DATA), (404, NO_DATA)];
        let polls: [&[&str]; 3] = [&["2026-11-20"], &["2026-11-20", "2026-11-21"], &["2026-11-21"]];
        let (outcomes, _) = polled("agent_activity", &polls, &answers).await;
        let silent: Vec<_> = outcomes.into_iter().map(|outcome| outcome.unwrap().silent).collect();
        let agent = || vec![Entity::Agent("COM-Íñigo Peña".into())];
        assert_eq!(silent, [vec![], agent(), vec![]], "the past day's averages are not shown either");
    }

    #[tokio::test]
    async fn rows_that_are_none_fail_the_poll() {
        for body in [
            r#"{"data":[1,"x",null,[]]}"#,
            r#"{"data":[{"agent_name":{}}]}"#,
            r#"{"data":[{"agent_name":"A","aht":"x"}]}"#,
        ] {
            assert_eq!(today(body).await.verdict().unwrap_err().reason, Reason::Malformed, "{body}");
        }
    }
}
