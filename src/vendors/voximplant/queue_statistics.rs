//! `queue_statistics`: GetACDQueueStatistics by UTC day. No record says which queue it is about, so each queue is asked for
//! alone, one request for all days that the poll asks for, a few queues at a time.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use jiff::Timestamp;
use jiff::civil::Date;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::directory::{QueueRow, list};
use super::method::{Method, range};
use super::number::Number;
use super::rows::{Count, Row, Single, read, take};
use super::{Selection, errors};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::{Answer, Client};
use crate::failure::{Failure, Reason};
use crate::reading::{Entity, Gauge, Reading};
use crate::vendors::parse::Parsed;
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "queue_statistics";
/// The method, and its name on the metrics.
pub const API: &str = "GetACDQueueStatistics";

/// Queues asked for at once: the vendor has a limit on that, and names no number.
const CONCURRENCY: usize = 4;

/// The report.
#[derive(Debug)]
pub struct Statistics {
    /// The method.
    pub method: Method,
    /// Where the queues are listed, for those who want all.
    pub listing: Method,
    /// The queues.
    pub queues: Selection,
    /// With which queue the next poll begins, so that a poll that had to stop does not starve those who come last.
    pub next: String,
}

/// One day of one queue. The long names come where the vendor ignores `abbreviation`.
#[derive(Deserialize)]
struct Day {
    date: String,
    #[serde(rename = "TC", alias = "TotalCalls", default)]
    calls: Number,
    #[serde(rename = "AC", alias = "AnsweredCalls")]
    answered: Option<Single<Share>>,
    #[serde(rename = "UAC", alias = "UnansweredCalls")]
    unanswered: Option<Single<Share>>,
    #[serde(rename = "RC", alias = "RejectedCalls")]
    rejected: Option<Single<Share>>,
    #[serde(rename = "TWT", alias = "TotalWaitingTime", default)]
    wait: Number,
    #[serde(rename = "TST", alias = "TotalSubmissionTime", default)]
    answer_wait: Number,
    #[serde(rename = "TAT", alias = "TotalAbandonmentTime", default)]
    abandon_wait: Number,
    #[serde(rename = "TTT", alias = "TotalTalkTime", default)]
    talk: Number,
    #[serde(rename = "THT", alias = "TotalHandlingTime", default)]
    handle: Number,
    #[serde(rename = "TACW", alias = "TotalAfterCallWork", default)]
    after_call_work: Number,
    #[serde(rename = "SL", alias = "ServiceLevel")]
    service_levels: Option<Box<RawValue>>,
}

/// Calls of one kind; their `percent` is nobody's base for anything.
#[derive(Debug, Clone, Deserialize)]
struct Share {
    #[serde(default)]
    count: Number,
}

/// The part of the calls that was answered in time.
#[derive(Deserialize)]
struct Level {
    acceptable_waiting_time: Number,
    service_level: Option<f64>,
}

// === impl Statistics ===

impl Statistics {
    /// The ids of the queues to ask for, in order, each once, and whether these are all.
    async fn queues(&self, client: &Client, now: Timestamp) -> Result<(BTreeSet<String>, bool), Failure> {
        match &self.queues {
            Selection::Ids(ids) => Ok((ids.iter().map(u64::to_string).collect(), true)),
            Selection::All => {
                let listing = list::<QueueRow>(&self.listing, client, now, None).await?;
                Ok((listing.names.into_keys().collect(), listing.complete))
            }
        }
    }

    async fn ask(
        &self,
        client: &Client,
        token: &str,
        [from, to]: &[String; 2],
        queue: &str,
        days: &[Date],
    ) -> Result<Reading, Failure> {
        let form = [
            ("from_date", from.as_str()),
            ("to_date", to),
            ("acd_queue_id", queue),
            ("abbreviation", "true"),
            ("report", "TC;AC;UAC;RC;TWT;TST;TAT;TTT;THT;TACW;SL"),
            ("aggregation", "day"),
        ];
        let request = self.method.request(token, &form)?;
        client.ask(&self.method.lane, &request, |answer| decode(answer, queue, days)).await
    }

    async fn read(&self, poll: &Poll<'_>, oldest: Date) -> Result<(Reading, Option<String>), Failure> {
        let (queues, all) = self.queues(poll.client, poll.now).await?;
        let (token, range) = (self.method.token(poll.now)?, range(oldest, poll.now));
        let mut reading = Reading {
            // Whoever is missing in a list that shifted is not gone.
            roster: all.then(|| queues.iter().filter_map(|queue| Entity::queue(queue)).collect()),
            // Nothing to ask for is an answer too.
            read: u64::from(queues.is_empty()),
            ..Reading::default()
        };
        let mut waiting = queues.range(self.next.clone()..).chain(queues.range(..self.next.clone()));
        let mut asked = FuturesUnordered::new();
        let mut stopped_at = None;
        loop {
            // The first one alone: what refuses it would refuse all.
            let most = if reading.read == 0 { 1 } else { CONCURRENCY };
            while asked.len() < most
                && let Some(queue) = waiting.next()
            {
                let asking = self.ask(poll.client, &token, &range, queue, poll.days);
                asked.push(async move { (queue, asking.await) });
            }
            let Some((queue, answer)) = asked.next().await else { break };
            match answer {
                Ok(one) => add(&mut reading, one),
                Err(failure) => {
                    // The key is the account's, not the queue's: the next queue would be refused as well.
                    let ends_poll = failure.ends_account();
                    reading.failures.push(failure);
                    if ends_poll || reading.is_hopeless() {
                        stopped_at = Some(queue.clone());
                        break;
                    }
                }
            }
        }
        // A queue that does not exist has no days to wait for, one that the list left out has.
        if all && stopped_at.is_none() && reading.failures.iter().all(|failure| failure.reason == Reason::Config) {
            reading.days = poll.days.to_vec();
        }
        Ok((reading, stopped_at))
    }
}

impl Report for Statistics {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let Some(oldest) = poll.days.iter().min() else { return Ok(Reading::default()) };
            let (reading, stopped_at) = self.read(&poll, *oldest).await?;
            if let Some(queue) = stopped_at {
                // The next one after it.
                self.next = queue + "\0";
            }
            Ok(reading)
        })
    }
}

fn add(reading: &mut Reading, mut one: Reading) {
    reading.figures.append(&mut one.figures);
    reading.gauges.append(&mut one.gauges);
    reading.silent.append(&mut one.silent);
    reading.read += one.read;
    reading.rows += one.rows;
    reading.rejected += one.rejected;
}

/// Reads the answer about one queue; days other than `days` are passed over. The last of them is today.
pub fn decode(answer: &Answer, queue: &str, days: &[Date]) -> Result<Reading, Failure> {
    let result = errors::result(answer)?;
    let rows: Vec<&RawValue> =
        serde_json::from_str(result.get()).map_err(|_| Failure::malformed("the answer holds no list of days"))?;
    let mut reading = Reading { read: 1, ..Reading::default() };
    let entity = Entity::queue(queue);
    let today = days.iter().max();
    for raw in rows {
        if let Some((day, row)) = take::<Day>(&mut reading, read(raw), entity.as_ref(), days)
            && Some(&day) == today
            && let Some(entity) = &entity
        {
            row.levels(entity, &mut reading);
        }
    }
    if reading.gauges.is_empty() {
        reading.silent.extend(entity);
    }
    Ok(reading)
}

// === impl Day ===

impl Row for Day {
    fn date(&self) -> &str {
        &self.date
    }

    fn counts(&self) -> Vec<Count> {
        vec![
            Count::new(Family::QueueCalls, self.calls.0),
            Count::new(Family::QueueAnswered, count(self.answered.as_ref())),
            Count::new(Family::QueueUnanswered, count(self.unanswered.as_ref())),
            Count::new(Family::QueueRejected, count(self.rejected.as_ref())),
            Count::new(Family::QueueWait, self.wait.0),
            Count::new(Family::QueueAnswerWait, self.answer_wait.0),
            Count::new(Family::QueueAbandonWait, self.abandon_wait.0),
            Count::new(Family::QueueTalk, self.talk.0),
            Count::new(Family::QueueHandle, self.handle.0),
            Count::new(Family::QueueAfterCallWork, self.after_call_work.0),
        ]
    }
}

impl Day {
    /// The service levels of the day. Of no calls there is none; one that is no share from 0 to 1 costs itself, not the counts.
    fn levels(&self, entity: &Entity, reading: &mut Reading) {
        let Some(raw) = &self.service_levels else { return };
        if self.calls.0 == Parsed::Value(Amount::ZERO) || raw.get() == "null" {
            return;
        }
        let Ok(levels) = serde_json::from_str::<Vec<&RawValue>>(raw.get()) else {
            reading.rejected += 1;
            return;
        };
        for raw in levels {
            let level = serde_json::from_str::<Level>(raw.get()).ok();
            match level.map(|level| (level.acceptable_waiting_time.0, level.service_level)) {
                Some((Parsed::Value(threshold), Some(share))) if (0.0..=1.0).contains(&share) => {
                    reading.gauges.push(Gauge {
                        family: Family::QueueServiceLevel,
                        entity: entity.clone(),
                        labels: vec![("threshold_seconds", threshold.to_string()), ("window", "today".to_owned())],
                        value: share,
                    });
                }
                Some((Parsed::Absent, _) | (_, None)) => {}
                _ => reading.rejected += 1,
            }
        }
    }
}

fn count(share: Option<&Single<Share>>) -> Parsed<Amount> {
    match share.map_or(Parsed::Absent, Single::one) {
        Parsed::Value(share) => share.count.0,
        Parsed::Absent => Parsed::Absent,
        Parsed::Wrong => Parsed::Wrong,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use jiff::civil::date;

    use super::*;
    use crate::reading::Bucket;

    const DAYS: [Date; 2] = [date(2026, 11, 19), date(2026, 11, 20)];

    fn read(body: &str) -> Result<Reading, Failure> {
        decode(&Answer { status: 200, retry_after: None, body: Bytes::copy_from_slice(body.as_bytes()) }, "54", &DAYS)
    }

    /// `family day amount`
    fn lines(reading: &Reading) -> Vec<String> {
        let line = |figure: &crate::reading::Figure| {
            let Bucket::Day(day) = figure.bucket else { panic!("no day") };
            assert_eq!(figure.entity, Entity::Queue("54".into()), "records name no queue: it is the one asked for");
            format!("{:?} {} {}", figure.family, day.day(), figure.amount)
        };
        reading.figures.iter().map(line).collect()
    }

    fn levels(reading: &Reading) -> Vec<(String, f64)> {
        reading.gauges.iter().map(|gauge| (gauge.labels[0].1.clone(), gauge.value)).collect()
    }

    #[test]
    fn every_figure_goes_to_its_family_and_day() {
        let reading = read(include_str!("../../../tests/fixtures/voximplant/queue_54.json")).unwrap();
        let expected = [
            "QueueCalls 19 40",
            "QueueAnswered 19 33",
            "QueueUnanswered 19 5",
            "QueueRejected 19 2",
            "QueueWait 19 731",
            "QueueAnswerWait 19 520",
            "QueueAbandonWait 19 211",
            "QueueTalk 19 6930",
            "QueueHandle 19 7755",
            "QueueAfterCallWork 19 825",
            "QueueCalls 20 12",
            "QueueAnswered 20 11",
            "QueueUnanswered 20 1",
            "QueueRejected 20 0",
            "QueueWait 20 160",
            "QueueAnswerWait 20 120.5",
            "QueueAbandonWait 20 39.5",
            "QueueTalk 20 2100",
            "QueueHandle 20 2400",
            "QueueAfterCallWork 20 300",
        ];
        assert_eq!(lines(&reading), expected);
        assert_eq!((reading.read, reading.rows, reading.rejected), (1, 2, 0));
        // A fraction although the types say integer, and today's only.
        assert_eq!(levels(&reading), [("20".to_owned(), 0.75), ("60".to_owned(), 1.0)]);
        assert_eq!(reading.silent, []);
    }

    #[test]
    fn counts_are_objects_or_arrays_of_one() {
        let answered = |count: &str| {
            let body = format!(r#"{{"result":[{{"date":"2026-11-20","TC":9,"AC":{count}}}]}}"#);
            let reading = read(&body).unwrap();
            (lines(&reading).get(1).cloned(), reading.rejected)
        };
        let seven = Some("QueueAnswered 20 7".to_owned());
        for count in [r#"{"count":7,"percent":77.7}"#, r#"[{"count":7,"percent":77}]"#, r#"{"count":7.0}"#] {
            assert_eq!(answered(count), (seven.clone(), 0), "{count}");
        }
        // Nothing is no zero.
        for count in ["null", "[]", "{}", r#"{"count":null}"#, r#"[{"percent":0}]"#] {
            assert_eq!(answered(count), (None, 0), "{count}");
        }
        for count in ["7", "\"7\"", r#"{"count":-1}"#, r#"{"count":"7"}"#, r#"[{"count":7},{"count":8}]"#] {
            assert_eq!(answered(count), (None, 1), "{count}");
        }
    }

    #[test]
    fn a_service_level_that_is_none_is_not_shown_and_costs_itself() {
        let of = |calls: u32, levels: &str| {
            read(&format!(r#"{{"result":[{{"date":"2026-11-20","TC":{calls},"SL":{levels}}}]}}"#)).unwrap()
        };
        let level = r#"[{"acceptable_waiting_time":20,"call_count":3,"service_level":0.5}]"#;
        assert_eq!(levels(&of(6, level)), [("20".to_owned(), 0.5)]);
        for (calls, none, rejected) in [
            (0, level, 0),
            (6, "null", 0),
            (6, "[]", 0),
            (6, r#"[{"acceptable_waiting_time":20,"service_level":null}]"#, 0),
            (6, r#"[{"acceptable_waiting_time":20,"service_level":85}]"#, 1),
            (6, r#"[{"acceptable_waiting_time":-20,"service_level":0.5}]"#, 1),
            (6, r#"[{"acceptable_waiting_time":20,"service_level":"0.5"}]"#, 1),
            (6, "[7]", 1),
            (6, "7", 1),
        ] {
            let reading = of(calls, none);
            assert_eq!((reading.gauges.len(), reading.rejected, reading.rows), (0, rejected, 1), "{calls} {none}");
            assert_eq!(lines(&reading).len(), 1, "the calls count all the same");
            assert_eq!(reading.silent, [Entity::Queue("54".into())], "what was shown before leaves at once");
        }
        // After midnight today has no row yet.
        let yesterday = read(&format!(r#"{{"result":[{{"date":"2026-11-19","TC":6,"SL":{level}}}]}}"#)).unwrap();
        assert_eq!((yesterday.gauges.len(), yesterday.silent.len()), (0, 1));
    }

    #[test]
    fn a_bad_row_is_rejected_and_the_others_count() {
        let body = r#"{"result":[{"TC":1},{"date":"20.11.2026","TC":1},{"date":null},7,null,{"date":"2026-11-20","TC":-1},
            {"date":"2026-11-18","TC":5},{"date":"2026-11-20","TotalCalls":3,"RejectedCalls":{"count":1},"TotalWaitingTime":9}]}"#;
        let reading = read(body).unwrap();
        assert_eq!(lines(&reading), ["QueueCalls 20 3", "QueueRejected 20 1", "QueueWait 20 9"]);
        assert_eq!((reading.rows, reading.rejected), (1, 6));
        for body in [r#"{"result":{}}"#, r#"{"result":"x"}"#, "", "<html>"] {
            assert_eq!(read(body).unwrap_err().reason, Reason::Malformed, "{body}");
        }
    }
}
