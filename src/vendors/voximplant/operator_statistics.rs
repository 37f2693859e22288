//! `operator_statistics`: GetACDOperatorStatistics by operator and UTC day, one request for all days that the poll asks
//! for. A call's figures may still grow after it first shows; which days are read again, and for how long, the poll
//! decides. Sums and counts only: the vendor's averages are rounded down.

use futures_util::future::BoxFuture;
use jiff::civil::Date;
use serde::Deserialize;

use super::method::{Method, range};
use super::number::Number;
use super::rows::{Count, Row, by_operator};
use crate::catalogue::Family;
use crate::client::Answer;
use crate::failure::Failure;
use crate::reading::Reading;
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "operator_statistics";
/// The method, and its name on the metrics.
pub const API: &str = "GetACDOperatorStatistics";

/// The report.
#[derive(Debug)]
pub struct Statistics {
    /// The method.
    pub method: Method,
    /// `user_id`
    pub users: String,
    /// `acd_queue_id`
    pub queues: String,
}

/// One day of one operator. The long names come where the vendor ignores `abbreviation`.
#[derive(Deserialize)]
struct Day {
    date: String,
    #[serde(rename = "AC", alias = "AnsweredCalls", default)]
    answered: Number,
    #[serde(rename = "UAC", alias = "UnansweredCalls", default)]
    unanswered: Number,
    #[serde(rename = "TDT", alias = "TotalDialingTime", default)]
    ring: Number,
    #[serde(rename = "THT", alias = "TotalHandlingTime", default)]
    handle: Number,
    #[serde(rename = "TTT", alias = "TotalTalkTime", default)]
    talk: Number,
    #[serde(rename = "TACW", alias = "TotalAfterCallWork", default)]
    after_call_work: Number,
}

// === impl Statistics ===

impl Report for Statistics {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let Some(oldest) = poll.days.iter().min() else { return Ok(Reading::default()) };
            let [from, to] = range(*oldest, poll.now);
            let form = [
                ("from_date", from.as_str()),
                ("to_date", &to),
                ("user_id", &self.users),
                ("acd_queue_id", &self.queues),
                ("abbreviation", "true"),
                ("report", "AC;UAC;TDT;THT;TTT;TACW"),
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
        vec![
            Count::new(Family::AgentAnsweredCalls, self.answered.0),
            Count::new(Family::AgentHandledCalls, self.answered.0),
            Count::new(Family::AgentUnanswered, self.unanswered.0),
            Count::new(Family::AgentRing, self.ring.0),
            Count::new(Family::AgentHandle, self.handle.0),
            Count::new(Family::AgentTalk, self.talk.0),
            Count::new(Family::AgentAfterCallWork, self.after_call_work.0),
        ]
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

    /// `agent family day amount`
    fn lines(reading: &Reading) -> Vec<String> {
        let line = |figure: &crate::reading::Figure| {
            let Bucket::Day(day) = figure.bucket else { panic!("no day") };
            let agent = figure.entity.label().map_or("", |(_, agent)| agent);
            format!("{agent} {:?} {} {}", figure.family, day.day(), figure.amount)
        };
        reading.figures.iter().map(line).collect()
    }

    #[test]
    fn every_figure_goes_to_its_family_and_day() {
        let days = [date(2026, 11, 19), date(2026, 11, 20)];
        let reading = read(include_str!("../../../tests/fixtures/voximplant/operators.json"), &days).unwrap();
        let expected = [
            "20481 AgentAnsweredCalls 19 9",
            "20481 AgentHandledCalls 19 9",
            "20481 AgentUnanswered 19 1",
            "20481 AgentRing 19 41",
            "20481 AgentHandle 19 2250",
            "20481 AgentTalk 19 1985",
            "20481 AgentAfterCallWork 19 265",
            "20481 AgentAnsweredCalls 20 4",
            "20481 AgentHandledCalls 20 4",
            "20481 AgentUnanswered 20 0",
            "20481 AgentRing 20 19.5",
            "20481 AgentHandle 20 900",
            "20481 AgentTalk 20 812",
            "20481 AgentAfterCallWork 20 88",
            // Absent, null and empty figures are none; none of them is a zero.
            "20482 AgentUnanswered 20 3",
        ];
        assert_eq!(lines(&reading), expected);
        assert_eq!((reading.read, reading.rows, reading.rejected), (1, 3, 0));
        assert_eq!(reading.days, days);
        assert_eq!(reading.roster, None);

        // A closed day between the open ones is passed over.
        let today = read(include_str!("../../../tests/fixtures/voximplant/operators.json"), &days[1..]).unwrap();
        assert_eq!(lines(&today), expected[7..]);
        let long = read(include_str!("../../../tests/fixtures/voximplant/operators_long_names.json"), &days).unwrap();
        assert_eq!(long.figures.len(), 7);
    }

    #[test]
    fn a_bad_row_is_rejected_and_the_others_count() {
        let body = include_str!("../../../tests/fixtures/voximplant/operators_bad_rows.json");
        let reading = read(body, &[date(2026, 11, 20)]).unwrap();
        assert_eq!(lines(&reading), ["20483 AgentAnsweredCalls 20 6", "20483 AgentHandledCalls 20 6"]);
        assert_eq!((reading.rows, reading.rejected), (3, 16));
        let only_bad = read(r#"{"result":[{"user_id":1,"statistics":[{}]}]}"#, &[date(2026, 11, 20)]).unwrap();
        assert_eq!(only_bad.verdict().unwrap_err().reason, Reason::Malformed);
        let nobody = read(r#"{"result":[]}"#, &[date(2026, 11, 20)]).unwrap();
        assert_eq!((nobody.verdict(), nobody.days.len()), (Ok(()), 1));
        for body in [r#"{"result":{}}"#, r#"{"result":"x"}"#, r#"{"result":1}"#] {
            assert_eq!(read(body, &[]).unwrap_err().reason, Reason::Malformed, "{body}");
        }
    }

    #[test]
    fn ten_thousand_operators_are_one_answer() {
        let row = |id: u32| {
            format!(
                r#"{{"user_id":{id},"statistics":[{{"date":"2026-11-20","AC":1,"UAC":0,"TDT":4,"THT":9,"TTT":8,"TACW":1}}]}}"#
            )
        };
        let body = format!(r#"{{"result":[{}]}}"#, (1..=10_000).map(row).collect::<Vec<_>>().join(","));
        let reading = read(&body, &[date(2026, 11, 20)]).unwrap();
        assert_eq!((reading.rows, reading.figures.len()), (10_000, 70_000));
    }
}
