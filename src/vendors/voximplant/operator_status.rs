//! `operator_status`: GetACDOperatorStatusStatistics by operator and UTC day, one request for all days that the poll asks
//! for. The vendor has eight statuses and the catalogue fewer states: those of one state are added up here, and being
//! offline is none. What lasts over midnight the vendor cuts by the window, so both days only grow.

use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use serde::Deserialize;

use super::method::{Method, range};
use super::number::Number;
use super::rows::{Count, Row, Single, by_operator};
use crate::amount::Amount;
use crate::catalogue::{Family, State};
use crate::client::Answer;
use crate::failure::Failure;
use crate::reading::Reading;
use crate::vendors::parse::Parsed;
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "operator_status";
/// The method, and its name on the metrics.
pub const API: &str = "GetACDOperatorStatusStatistics";

/// Which statuses make up a state. `docs/vendors/voximplant.md` shows this table.
const STATES: [(State, &[&str]); 5] = [
    (State::Ready, &["READY", "ONLINE"]),
    (State::Talking, &["IN_SERVICE"]),
    (State::AfterCallWork, &["AFTER_SERVICE"]),
    (State::NotReady, &["TIMEOUT", "DND"]),
    (State::Banned, &["BANNED"]),
];

/// The report.
#[derive(Debug)]
pub struct Statuses {
    /// The method.
    pub method: Method,
}

/// One day of one operator.
#[derive(Deserialize)]
struct Day {
    date: String,
    acd_status: Option<Single<BTreeMap<String, Option<Item>>>>,
}

/// Stays in one status.
#[derive(Debug, Clone, Deserialize)]
struct Item {
    #[serde(default)]
    count: Number,
    #[serde(default)]
    sum: Number,
}

// === impl Statuses ===

impl Report for Statuses {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let Some(oldest) = poll.days.iter().min() else { return Ok(Reading::default()) };
            let [from, to] = range(*oldest, poll.now);
            let form = [
                ("from_date", from.as_str()),
                ("to_date", &to),
                ("user_id", "all"),
                ("acd_status", "ONLINE;READY;BANNED;IN_SERVICE;AFTER_SERVICE;TIMEOUT;DND"),
                ("aggregation", "day"),
                ("group", "user"),
            ];
            let request = self.method.request(&self.method.token(poll.now)?, &form)?;
            poll.client.ask(&self.method.lane, &request, |answer| decode(answer, poll.days)).await
        })
    }
}

/// Reads an answer; days other than `days` are passed over.
pub fn decode(answer: &Answer, days: &[Date]) -> Result<Reading, Failure> {
    by_operator::<Day>(answer, days)
}

// === impl Day ===

impl Row for Day {
    fn date(&self) -> &str {
        &self.date
    }

    fn counts(&self) -> Vec<Count> {
        let statuses = match self.acd_status.as_ref().map_or(Parsed::Absent, Single::one) {
            Parsed::Value(statuses) => statuses,
            Parsed::Absent => return Vec::new(),
            Parsed::Wrong => return vec![Count::new(Family::AgentState, Parsed::Wrong)],
        };
        let count = |(state, names): (State, &[&str])| {
            let times = names.iter().filter_map(|name| statuses.get(*name)?.as_ref()).map(Item::time);
            Count { family: Family::AgentState, state: Some(state), amount: times.fold(Parsed::Absent, sum) }
        };
        STATES.into_iter().map(count).collect()
    }
}

// === impl Item ===

impl Item {
    /// Nobody was in it: no data, and no zero.
    fn time(&self) -> Parsed<Amount> {
        match (self.count.0, self.sum.0) {
            (Parsed::Wrong, _) => Parsed::Wrong,
            (Parsed::Value(Amount::ZERO), _) => Parsed::Absent,
            (_, sum) => sum,
        }
    }
}

fn sum(one: Parsed<Amount>, other: Parsed<Amount>) -> Parsed<Amount> {
    match (one, other) {
        (Parsed::Wrong, _) | (_, Parsed::Wrong) => Parsed::Wrong,
        (Parsed::Absent, only) | (only, Parsed::Absent) => only,
        (Parsed::Value(one), Parsed::Value(other)) => Parsed::Value(one + other),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::civil::date;

    use super::*;
    use crate::failure::Reason;
    use crate::reading::Bucket;

    fn read(body: &str, days: &[Date]) -> Result<Reading, Failure> {
        decode(&Answer { status: 200, retry_after: None, body: Bytes::copy_from_slice(body.as_bytes()) }, days)
    }

    /// `agent state day amount`
    fn lines(reading: &Reading) -> Vec<String> {
        let line = |figure: &crate::reading::Figure| {
            let Bucket::Day(day) = figure.bucket else { panic!("no day") };
            let agent = figure.entity.label().map_or("", |(_, agent)| agent);
            format!("{agent} {} {} {}", figure.state.map_or("-", State::name), day.day(), figure.amount)
        };
        reading.figures.iter().map(line).collect()
    }

    #[test]
    fn statuses_of_one_state_are_added_up_by_day() {
        let days = [date(2026, 11, 19), date(2026, 11, 20)];
        let reading = read(include_str!("../../../tests/fixtures/voximplant/statuses.json"), &days).unwrap();
        let expected = [
            "20481 ready 19 20500",
            "20481 talking 19 1985",
            "20481 after_call_work 19 265",
            "20481 not_ready 19 1500",
            "20481 banned 19 20",
            "20481 ready 20 7200",
            "20481 talking 20 812",
            // The types say that the object is an array; offline, unknown and empty ones are no figures.
            "20482 ready 20 310.5",
            "20482 not_ready 20 60",
        ];
        assert_eq!(lines(&reading), expected);
        assert_eq!((reading.read, reading.rows, reading.rejected), (1, 4, 0));
        assert_eq!(reading.days, days);
        let today = read(include_str!("../../../tests/fixtures/voximplant/statuses.json"), &days[1..]).unwrap();
        assert_eq!(lines(&today), expected[5..]);
    }

    #[test]
    fn a_bad_row_is_rejected_and_the_others_count() {
        let row = |status: &str| format!(r#"{{"date":"2026-11-20","acd_status":{status}}}"#);
        let bad = [
            r#"{"READY":{"count":1,"sum":-5}}"#,
            r#"{"READY":{"count":1,"sum":"long"}}"#,
            r#"{"READY":{"count":-1,"sum":5}}"#,
            r#"{"READY":5}"#,
            r#"{"DND":{"count":1,"sum":[5]},"READY":{"count":1,"sum":5}}"#,
            r#""READY""#,
            "7",
            r#"[{"READY":{"count":1,"sum":5}},{"DND":{"count":1,"sum":5}}]"#,
        ];
        let good = row(r#"{"READY":{"count":1,"sum":5}}"#);
        let rows = bad.iter().map(|status| row(status)).chain([good, r#"{"acd_status":{}}"#.to_owned()]);
        let body = format!(r#"{{"result":[{{"user_id":7,"statistics":[{}]}},7]}}"#, rows.collect::<Vec<_>>().join(","));
        let reading = read(&body, &[date(2026, 11, 20)]).unwrap();
        assert_eq!(lines(&reading), ["7 ready 20 5"]);
        assert_eq!((reading.rows, reading.rejected), (1, bad.len() as u64 + 2));
        for body in [r#"{"result":{}}"#, r#"{"result":1}"#, "{}", "[]", ""] {
            assert_eq!(read(body, &[]).unwrap_err().reason, Reason::Malformed, "{body}");
        }
    }
}
