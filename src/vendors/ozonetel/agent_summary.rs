//! `summaryReport`: how long each agent was in each state, as totals of local days. A row is one agent in one mode on one
//! day; the modes of an agent are added up. Every day is asked for by itself.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use http::Method;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::Value;

use super::api::{Access, Envelope, open};
use super::{Api, INTERVAL};
use crate::amount::Amount;
use crate::catalogue::{Family, State};
use crate::client::{Answer, Lane, Request};
use crate::failure::Failure;
use crate::reading::{Bucket, Entity, Figure, Gauge, Reading};
use crate::settings::{RateLimit, report_config};
use crate::vendors::parse::{self, Parsed, Text, is_nothing};
use crate::vendors::{Poll, Report};

report_config! {
    /// `agent_summary:`
    pub struct AgentSummaryReport, default INTERVAL, {}
}

/// The report.
#[derive(Debug)]
pub(super) struct AgentSummary {
    pub(super) access: Access,
    pub(super) lane: Lane,
}

/// A row as it comes.
#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Row {
    #[serde(rename = "AgentIncrID")]
    agent_incr_id: Text,
    agent_name: Text,
    #[serde(rename = "AgentUniqueID")]
    agent_unique_id: Text,
    call_date: Text,
    total_busy_time: Text,
    total_dial_time: Text,
    total_idle_time: Text,
    total_login_duration: Text,
    total_pause_time: Text,
    total_wrapup_time: Text,
}

/// The counters, in the order of [`Row::times`]; states as the contract maps them.
const COUNTERS: [(Family, Option<State>); 6] = [
    (Family::AgentState, Some(State::Talking)),
    (Family::AgentState, Some(State::Ringing)),
    (Family::AgentState, Some(State::Ready)),
    (Family::AgentState, Some(State::NotReady)),
    (Family::AgentState, Some(State::AfterCallWork)),
    (Family::AgentLogin, None),
];

/// In one mode of one day, with room for a day of twenty-five hours.
const LONGEST: Amount = Amount::whole(25 * 3600);

/// The sums of one agent's modes; a time that the vendor leaves out is no figure.
#[derive(Debug, Default, PartialEq)]
struct Agent {
    name: Option<(String, String)>,
    times: [Option<Amount>; 6],
}

/// One day, read.
#[derive(Debug, Default, PartialEq)]
struct Day {
    agents: BTreeMap<Entity, Agent>,
    rows: u64,
    rejected: u64,
}

// === impl AgentSummaryReport ===

impl AgentSummaryReport {
    pub(super) const NAME: &str = "agent_summary";
    pub(super) const API: &str = "summary";
    pub(super) const LIMIT: RateLimit = RateLimit::per_minute(5);
}

// === impl AgentSummary ===

impl AgentSummary {
    /// POST is what was seen to work; the pages show GET too.
    fn request(&self, day: Date) -> Result<Request, Failure> {
        let (from, to) = (format!("{day} 00:00:00"), format!("{day} 23:59:59"));
        let mut request = self.access.v2("/ca_reports/summaryReport", &[("fromDate", &from), ("toDate", &to)])?;
        request.method = Method::POST;
        Ok(request)
    }
}

impl Report for AgentSummary {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let mut reading = Reading::default();
            let Some((&today, _)) = poll.days.split_last() else { return Ok(reading) };
            for &day in poll.days {
                let request = self.request(day)?;
                let decode = |answer: &Answer| Day::decode(answer, day);
                match self.access.ask(poll.client, &self.lane, Api::V2, &request, decode).await {
                    // Past days do not make up for a present that cannot be read.
                    Ok(read) if read.is_unreadable() && day == today => {
                        let rejected = reading.rejected + read.rejected;
                        return Ok(Reading { read: 1, rejected, ..Reading::default() });
                    }
                    Ok(read) if read.is_unreadable() => {
                        reading.rejected += read.rejected;
                        reading.failures.push(Failure::malformed("no row of the answer could be read"));
                    }
                    Ok(read) => read.add_to(&mut reading, day),
                    Err(failure) if day == today || failure.ends_account() => {
                        return Err(failure);
                    }
                    Err(failure) => reading.failures.push(failure),
                }
            }
            Ok(reading)
        })
    }
}

// === impl Day ===

impl Day {
    /// The rows stand under `details`; the documents print them under `message`, and one client looks for `data`.
    fn decode(answer: &Answer, day: Date) -> Result<Self, Failure> {
        let Envelope::Success(mut envelope) = open(answer)? else { return Ok(Self::default()) };
        let rows = ["details", "message", "data"].into_iter().find_map(|key| match envelope.remove(key) {
            Some(Value::Array(rows)) => Some(rows),
            Some(row @ Value::Object(_)) => Some(vec![row]),
            _ => None,
        });
        let rows = rows.ok_or(Failure::malformed("the answer holds no list of agents"))?;
        let mut read = Self::default();
        for row in rows {
            // A list would be taken for the fields in their order.
            let row = row.is_object().then(|| serde_json::from_value::<Row>(row).ok()).flatten();
            match row.and_then(|row| Some((row.times(day)?, row))) {
                Some((times, row)) => read.add(&row, times),
                None => read.rejected += 1,
            }
        }
        Ok(read)
    }

    fn add(&mut self, row: &Row, times: [Option<Amount>; 6]) {
        self.rows += 1;
        // A row without agent is nobody's.
        let Some(entity) = Entity::agent(row.agent_unique_id.as_str()) else { return };
        let agent = self.agents.entry(entity).or_default();
        for (sum, time) in agent.times.iter_mut().zip(times) {
            parse::add(sum, time);
        }
        let name = row.agent_name.as_str().trim();
        if !is_nothing(name) {
            let number = Some(&row.agent_incr_id).filter(|number| !is_nothing(number.as_str()));
            let id = number.unwrap_or(&row.agent_unique_id).as_str().trim();
            agent.name = Some((name.to_owned(), id.to_owned()));
        }
    }

    fn is_unreadable(&self) -> bool {
        self.rows == 0 && self.rejected > 0
    }

    fn add_to(self, reading: &mut Reading, day: Date) {
        let bucket = Bucket::Day(day);
        for (entity, agent) in self.agents {
            for ((family, state), time) in COUNTERS.into_iter().zip(agent.times) {
                if let Some(amount) = time {
                    reading.figures.push(Figure {
                        family,
                        entity: entity.clone(),
                        state,
                        bucket: bucket.clone(),
                        amount,
                    });
                }
            }
            if let Some((name, id)) = agent.name {
                let labels = vec![("agent_name", name), ("agent_id", id)];
                reading.gauges.push(Gauge { family: Family::AgentInfo, entity, labels, value: 1.0 });
            }
        }
        reading.read += 1;
        reading.rows += self.rows;
        reading.rejected += self.rejected;
        reading.days.push(day);
    }
}

// === impl Row ===

impl Row {
    /// Its times; none if one of them is no time, or if the row is of another day.
    fn times(&self, day: Date) -> Option<[Option<Amount>; 6]> {
        let date = self.call_date.as_str().trim();
        if !is_nothing(date) && Date::strptime("%Y-%m-%d", date).ok()? != day {
            return None;
        }
        let times = [
            &self.total_busy_time,
            &self.total_dial_time,
            &self.total_idle_time,
            &self.total_pause_time,
            &self.total_wrapup_time,
            &self.total_login_duration,
        ]
        .map(|text| parse::duration(text.as_str()));
        let wrong = |time: &Parsed<Amount>| match time {
            Parsed::Value(time) => *time > LONGEST,
            Parsed::Absent => false,
            Parsed::Wrong => true,
        };
        (!times.iter().any(wrong)).then(|| times.map(Parsed::value))
    }
}

#[cfg(test)]
mod tests;
