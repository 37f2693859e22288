//! `operator_statistics`: GetACDOperatorStatistics by operator and UTC day, one request for all days that the poll asks
//! for. A call's figures may still grow after it first shows; which days are read again, and for how long, the poll
//! decides. Sums and counts only: the vendor's averages are rounded down.

use std::str::FromStr as _;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method};
use jiff::Timestamp;
use jiff::civil::Date;
use jiff::tz::TimeZone;
use serde::Deserialize;
use serde_json::value::RawValue;
use url::{Url, form_urlencoded};

use super::credentials::Credentials;
use super::errors;
use super::number::Number;
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::{Answer, Lane, Request};
use crate::failure::Failure;
use crate::reading::{Bucket, Entity, Reading};
use crate::vendors::parse::{Parsed, Text};
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "operator_statistics";
/// The method, and its name on the metrics.
pub const API: &str = "GetACDOperatorStatistics";

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// The report.
#[derive(Debug)]
pub struct Statistics {
    asked: Asked,
    credentials: Credentials,
    lane: Lane,
}

/// What stays the same from request to request.
#[derive(Debug, Clone)]
pub struct Asked {
    /// The method's URL.
    pub url: Url,
    /// `user_id`
    pub users: String,
    /// `acd_queue_id`
    pub queues: String,
    /// Seconds that a request's token lives.
    pub token_life: i64,
}

/// One operator; his rows are looked into one by one, so that a bad one does not spoil the others.
#[derive(Deserialize)]
struct Operator<'a> {
    user_id: Text,
    #[serde(borrow)]
    statistics: Vec<&'a RawValue>,
}

/// One day of one operator. The long names come where the vendor ignores `abbreviation`.
#[derive(Deserialize)]
struct Row {
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

impl Statistics {
    /// The report of one account.
    pub const fn new(asked: Asked, credentials: Credentials, lane: Lane) -> Self {
        Self { asked, credentials, lane }
    }

    fn request(&self, from: Date, now: Timestamp) -> Result<Request, Failure> {
        let Asked { url, users, queues, token_life } = &self.asked;
        let from = from.at(0, 0, 0, 0);
        // At the stroke of midnight the range would be empty, which the vendor may call wrong.
        let to = TimeZone::UTC.to_datetime(now).max(from.date().at(0, 0, 1, 0));
        let body = form_urlencoded::Serializer::new(String::new())
            .append_pair("from_date", &from.strftime("%Y-%m-%d %H:%M:%S").to_string())
            .append_pair("to_date", &to.strftime("%Y-%m-%d %H:%M:%S").to_string())
            .append_pair("user_id", users)
            .append_pair("acd_queue_id", queues)
            .append_pair("abbreviation", "true")
            .append_pair("report", "AC;UAC;TDT;THT;TTT;TACW")
            .append_pair("aggregation", "day")
            .append_pair("group", "user")
            .finish();
        let token = self.credentials.token(now, *token_life)?;
        let request = Request { method: Method::POST, url: url.clone(), headers: Vec::new(), body: Bytes::from(body) };
        request.header(CONTENT_TYPE, FORM).secret_header(AUTHORIZATION, &format!("Bearer {token}"))
    }
}

impl Report for Statistics {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let Some(oldest) = poll.days.iter().min() else { return Ok(Reading::default()) };
            let request = self.request(*oldest, poll.now)?;
            poll.client.ask(&self.lane, &request, |answer| decode(answer, poll.days)).await
        })
    }
}

/// Reads an answer; days other than `days` are passed over.
pub fn decode(answer: &Answer, days: &[Date]) -> Result<Reading, Failure> {
    let operators: Vec<&RawValue> = serde_json::from_str(errors::result(answer)?.get())
        .map_err(|_| Failure::malformed("the answer holds no list of operators"))?;
    let mut reading = Reading { read: 1, days: days.to_vec(), ..Reading::default() };
    for operator in operators {
        let Ok(operator) = serde_json::from_str::<Operator<'_>>(operator.get()) else {
            reading.rejected += 1;
            continue;
        };
        let entity = Entity::agent(operator.user_id.as_str());
        for raw in operator.statistics {
            let row = serde_json::from_str::<Row>(raw.get()).ok();
            let Some((day, figures)) = row.and_then(|row| Some((row.day()?, row.figures()))) else {
                reading.rejected += 1;
                continue;
            };
            if !days.contains(&day) {
                continue;
            }
            // A row with one wrong figure is not trusted for the others.
            if figures.iter().any(|(_, amount)| *amount == Parsed::Wrong) {
                reading.rejected += 1;
                continue;
            }
            reading.rows += 1;
            let Some(entity) = &entity else { continue };
            for (family, amount) in figures {
                if let Parsed::Value(amount) = amount {
                    reading.figure(family, entity, &Bucket::Day(day), amount);
                }
            }
        }
    }
    Ok(reading)
}

// === impl Row ===

impl Row {
    /// `YYYY-MM-DD` and nothing more.
    fn day(&self) -> Option<Date> {
        Date::from_str(&self.date).ok().filter(|_| self.date.len() == 10)
    }

    fn figures(&self) -> [(Family, Parsed<Amount>); 7] {
        [
            (Family::AgentAnsweredCalls, self.answered.0),
            (Family::AgentHandledCalls, self.answered.0),
            (Family::AgentUnanswered, self.unanswered.0),
            (Family::AgentRing, self.ring.0),
            (Family::AgentHandle, self.handle.0),
            (Family::AgentTalk, self.talk.0),
            (Family::AgentAfterCallWork, self.after_call_work.0),
        ]
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, Mutex};

    use jiff::civil::date;

    use super::super::credentials::tests::{key_file, verify};
    use super::*;
    use crate::client::{Client, Transport, TransportError};
    use crate::clock::Clock;
    use crate::failure::Reason;
    use crate::health::Health;
    use crate::ledger::CallQueue;
    use crate::vendors::{Account as _, Setup};

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

    type Pairs = Vec<(String, String)>;

    /// Keeps request line, headers and body of what was asked.
    struct Recorder(Arc<Mutex<Vec<(String, Pairs, Bytes)>>>);

    impl Transport for Recorder {
        fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            let header = |(name, value): &(http::HeaderName, HeaderValue)| {
                (name.to_string(), value.to_str().unwrap_or_default().to_owned())
            };
            let headers = request.headers.iter().map(header).collect();
            self.0.lock().unwrap().push((format!("{} {}", request.method, request.url), headers, request.body.clone()));
            Box::pin(async {
                Ok(Answer { status: 200, retry_after: None, body: Bytes::from_static(b"{\"result\":[]}") })
            })
        }
    }

    async fn ask(yaml: &str, now: &str, days: &[Date]) -> (String, Pairs, Pairs) {
        let account: super::super::Account = serde_yaml::from_str(yaml).unwrap();
        let sent = Arc::new(Mutex::new(Vec::new()));
        let now = now.parse::<Timestamp>().unwrap();
        let transport = Box::new(Recorder(Arc::clone(&sent)));
        let client = Client::new(account.settings(), transport, Clock::manual(now), Health::default());
        let setup = Setup { client: &client, folder: Path::new(""), at: "vendors.voximplant[0]" };
        let mut reports = account.build(&setup).unwrap();
        let calls = CallQueue::default();
        let reading = reports[0].report.poll(Poll { now, client: &client, days, calls: &calls }).await.unwrap();
        assert_eq!(reading.days, days);
        let (line, headers, body) = sent.lock().unwrap().remove(0);
        assert!(sent.lock().unwrap().is_empty(), "one request for all days");
        (line, headers, form_urlencoded::parse(&body).into_owned().collect())
    }

    fn yaml(rest: &str, reports: &str) -> String {
        let key = serde_json::to_string(&key_file("4711")).unwrap();
        format!("account: shop\ncredentials: {key}\n{rest}\nreports: {{operator_statistics: {reports}}}")
    }

    #[tokio::test]
    async fn one_signed_request_asks_for_all_open_days() {
        let days = [date(2026, 11, 17), date(2026, 11, 19), date(2026, 11, 20)];
        let (line, headers, form) = ask(&yaml("", "{}"), "2026-11-20T10:44:07Z", &days).await;
        assert_eq!(line, "POST https://api.voximplant.com/platform_api/GetACDOperatorStatistics");
        assert_eq!(headers[0], ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        let token = verify(headers[1].1.strip_prefix("Bearer ").unwrap());
        let now = "2026-11-20T10:44:07Z".parse::<Timestamp>().unwrap().as_second();
        assert_eq!(token.claims, serde_json::json!({"iss": 4711, "iat": now - 5, "exp": now + 120}));
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            form,
            [
                ("from_date", "2026-11-17 00:00:00"),
                ("to_date", "2026-11-20 10:44:07"),
                ("user_id", "all"),
                ("acd_queue_id", "all"),
                ("abbreviation", "true"),
                ("report", "AC;UAC;TDT;THT;TTT;TACW"),
                ("aggregation", "day"),
                ("group", "user"),
            ]
        );
    }

    #[tokio::test]
    async fn lists_a_child_account_and_another_address_are_honoured() {
        let yaml = yaml("account_id: 52\nbase_url: http://127.0.0.1:8080/vox/", "{users: [7, 8], queues: [54]}");
        let (line, headers, form) = ask(&yaml, "2026-11-20T00:00:00Z", &[date(2026, 11, 20)]).await;
        assert_eq!(line, "POST http://127.0.0.1:8080/vox/platform_api/GetACDOperatorStatistics");
        assert_eq!(verify(headers[1].1.strip_prefix("Bearer ").unwrap()).claims["iss"], 52);
        assert_eq!((form[2].1.as_str(), form[3].1.as_str()), ("7;8", "54"));
        // The range is never empty.
        assert_eq!((form[0].1.as_str(), form[1].1.as_str()), ("2026-11-20 00:00:00", "2026-11-20 00:00:01"));
    }
}
