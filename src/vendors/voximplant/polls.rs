//! Whole polls of each report, from exporter.yml to the reading, with a platform that is a function.

use std::path::Path;
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::HeaderValue;
use jiff::Timestamp;
use jiff::civil::{Date, date};
use url::form_urlencoded;

use super::credentials::tests::{key_file, verify};
use super::{Account, operator_statistics, operator_status, queue_statistics};
use crate::client::{Answer, Client, Request, Transport, TransportError};
use crate::clock::Clock;
use crate::failure::{Failure, Reason};
use crate::health::Health;
use crate::ledger::CallQueue;
use crate::reading::{Entity, Reading};
use crate::vendors::{Account as _, Poll, ReportSetup, Setup};

type Pairs = Vec<(String, String)>;

/// What was asked: request line, headers and form.
#[derive(Debug, Clone)]
struct Asked {
    line: String,
    headers: Pairs,
    form: Pairs,
}

/// Answers by the method and the form; none breaks the connection.
type Platform = fn(&str, &Pairs) -> Option<String>;

struct Wire(Platform, Arc<Mutex<Vec<Asked>>>);

impl Transport for Wire {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        let header = |(name, value): &(http::HeaderName, HeaderValue)| {
            (name.to_string(), value.to_str().unwrap_or_default().to_owned())
        };
        let form: Pairs = form_urlencoded::parse(&request.body).into_owned().collect();
        let method = request.url.path().rsplit('/').next().unwrap_or_default();
        let body = (self.0)(method, &form);
        let line = format!("{} {}", request.method, request.url);
        let headers = request.headers.iter().map(header).collect();
        self.1.lock().unwrap().push(Asked { line, headers, form });
        Box::pin(async {
            let body = body.ok_or(TransportError::Network)?;
            Ok(Answer { status: 200, retry_after: None, body: Bytes::from(body) })
        })
    }
}

struct Site {
    now: Timestamp,
    client: Client,
    report: ReportSetup,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Site {
    fn new(platform: Platform, now: &str, rest: &str, reports: &str) -> Self {
        let key = serde_json::to_string(&key_file("4711")).unwrap();
        let yaml = format!("account: shop\ncredentials: {key}\n{rest}\nreports: {reports}");
        let account: Account = serde_yaml::from_str(&yaml).unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let now = now.parse::<Timestamp>().unwrap();
        let transport = Box::new(Wire(platform, Arc::clone(&asked)));
        let client = Client::new(account.settings(), transport, Clock::manual(now), Health::default());
        let setup = Setup { client: &client, folder: Path::new(""), at: "vendors.voximplant[0]" };
        let report = account.build(&setup).unwrap().remove(0);
        Self { now, client, report, asked }
    }

    async fn poll(&mut self, days: &[Date]) -> Result<Reading, Failure> {
        let calls = CallQueue::default();
        self.report.report.poll(Poll { now: self.now, client: &self.client, days, calls: &calls }).await
    }

    /// What was asked since the last look.
    fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

fn value<'a>(form: &'a Pairs, name: &str) -> &'a str {
    form.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
}

const NOON: &str = "2026-11-20T10:44:07Z";
const DAYS: [Date; 3] = [date(2026, 11, 17), date(2026, 11, 19), date(2026, 11, 20)];

#[expect(clippy::unnecessary_wraps, reason = "it is a platform")]
fn nobody(_: &str, _: &Pairs) -> Option<String> {
    Some(r#"{"result":[]}"#.to_owned())
}

#[tokio::test]
async fn one_signed_request_asks_for_all_open_days() {
    for (reports, method, rest) in [
        (
            "{operator_statistics: {}}",
            "GetACDOperatorStatistics",
            &[
                ("user_id", "all"),
                ("acd_queue_id", "all"),
                ("abbreviation", "true"),
                ("report", "AC;UAC;TDT;THT;TTT;TACW"),
                ("aggregation", "day"),
                ("group", "user"),
            ][..],
        ),
        (
            "{operator_status: {}}",
            "GetACDOperatorStatusStatistics",
            &[
                ("user_id", "all"),
                ("acd_status", "ONLINE;READY;BANNED;IN_SERVICE;AFTER_SERVICE;TIMEOUT;DND"),
                ("aggregation", "day"),
                ("group", "user"),
            ],
        ),
    ] {
        let mut site = Site::new(nobody, NOON, "", reports);
        assert_eq!(site.poll(&DAYS).await.unwrap().days, DAYS);
        let asked = site.asked();
        let [Asked { line, headers, form }] = asked.as_slice() else { panic!("one request for all days") };
        assert_eq!(*line, format!("POST https://api.voximplant.com/platform_api/{method}"));
        assert_eq!(headers[0], ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()));
        let token = verify(headers[1].1.strip_prefix("Bearer ").unwrap());
        let now = site.now.as_second();
        assert_eq!(token.claims, serde_json::json!({"iss": 4711, "iat": now - 5, "exp": now + 120}));
        let form: Vec<_> = form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(form[..2], [("from_date", "2026-11-17 00:00:00"), ("to_date", "2026-11-20 10:44:07")]);
        assert_eq!(form[2..], *rest);
    }
}

#[tokio::test]
async fn lists_a_child_account_and_another_address_are_honoured() {
    let rest = "account_id: 52\nbase_url: http://127.0.0.1:8080/vox/";
    let mut site =
        Site::new(nobody, "2026-11-20T00:00:00Z", rest, "{operator_statistics: {users: [7, 8], queues: [54]}}");
    site.poll(&[date(2026, 11, 20)]).await.unwrap();
    let asked = site.asked().remove(0);
    assert_eq!(asked.line, "POST http://127.0.0.1:8080/vox/platform_api/GetACDOperatorStatistics");
    assert_eq!(verify(asked.headers[1].1.strip_prefix("Bearer ").unwrap()).claims["iss"], 52);
    assert_eq!((value(&asked.form, "user_id"), value(&asked.form, "acd_queue_id")), ("7;8", "54"));
    // The range is never empty.
    let range = (value(&asked.form, "from_date"), value(&asked.form, "to_date"));
    assert_eq!(range, ("2026-11-20 00:00:00", "2026-11-20 00:00:01"));
}

#[expect(clippy::unnecessary_wraps, reason = "it is a platform")]
fn one_call_each(method: &str, form: &Pairs) -> Option<String> {
    Some(match (method, value(form, "acd_queue_id")) {
        ("GetQueues", _) => {
            r#"{"result":[{"acd_queue_id":7},{"acd_queue_id":"8"}],"total_count":2,"count":2}"#.to_owned()
        }
        (_, "99") => r#"{"error":{"code":218,"msg":"The 'acd_queue_id' parameter is invalid."}}"#.to_owned(),
        (_, "98") => r#"{"error":{"code":2,"msg":"Internal error"}}"#.to_owned(),
        (_, "200") => r#"{"error":{"code":484,"msg":"probable automatic request resend"}}"#.to_owned(),
        (_, "201") => r#"{"error":{"code":100,"msg":"Authorization failed"}}"#.to_owned(),
        (_, queue) => format!(r#"{{"result":[{{"date":"2026-11-20","TC":{queue}}}]}}"#),
    })
}

/// Trap: the vendor rounds its averages down, and its sums and counts are the whole truth.
#[test]
fn an_average_is_used_for_nothing() {
    type Decode = fn(&Answer) -> Result<Reading, Failure>;
    let reports: [(&str, Decode); 3] = [
        (
            r#"{"user_id":1,"statistics":[{"date":"2026-11-20","AC":2,"TTT":9,"TT":ITEM,"SA":ITEM,"HT":ITEM,"ACW":ITEM}]}"#,
            { |answer| operator_statistics::decode(answer, &DAYS) },
        ),
        (r#"{"user_id":1,"statistics":[{"date":"2026-11-20","acd_status":{"READY":ITEM,"DND":ITEM}}]}"#, {
            |answer| operator_status::decode(answer, &DAYS)
        }),
        (r#"{"date":"2026-11-20","TC":2,"TTT":9,"WT":ITEM,"SA":ITEM,"AT":ITEM,"HT":ITEM,"TT":ITEM,"ACW":ITEM}"#, {
            |answer| queue_statistics::decode(answer, "54", &DAYS)
        }),
    ];
    for (row, decode) in reports {
        let read = |average: &str| {
            let item = format!(r#"{{"min":4,"max":5,{average}"count":2,"sum":9}}"#);
            let body = format!(r#"{{"result":[{}]}}"#, row.replace("ITEM", &item));
            decode(&Answer { status: 200, retry_after: None, body: body.into() }).unwrap()
        };
        let true_one = read(r#""avg":4,"#);
        assert!(true_one.figures.len() >= 2 && true_one.rejected == 0, "{true_one:?}");
        for average in ["", r#""avg":777,"#, r#""avg":null,"#, r#""avg":"x","#] {
            assert_eq!(read(average), true_one, "{average}");
        }
    }
}

fn queues_asked(site: &Site) -> Vec<String> {
    site.asked().iter().map(|asked| value(&asked.form, "acd_queue_id").to_owned()).collect()
}

/// Records carry no queue id.
#[tokio::test]
async fn each_queue_is_asked_for_alone_once_with_one_token() {
    let mut site = Site::new(one_call_each, NOON, "", "{queue_statistics: {queues: [54, 55, 54]}}");
    let reading = site.poll(&DAYS).await.unwrap();
    let asked = site.asked();
    assert_eq!(asked.len(), 2);
    for (asked, queue) in asked.iter().zip(["54", "55"]) {
        assert_eq!(asked.line, "POST https://api.voximplant.com/platform_api/GetACDQueueStatistics");
        let form: Vec<_> = asked.form.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(
            form,
            [
                ("from_date", "2026-11-17 00:00:00"),
                ("to_date", "2026-11-20 10:44:07"),
                ("acd_queue_id", queue),
                ("abbreviation", "true"),
                ("report", "TC;AC;UAC;RC;TWT;TST;TAT;TTT;THT;TACW;SL"),
                ("aggregation", "day"),
            ]
        );
    }
    assert_eq!(asked[0].headers, asked[1].headers);
    let calls: Vec<_> = reading.figures.iter().map(|figure| figure.entity.label().unwrap().1).collect();
    assert_eq!(calls, ["54", "55"]);
    assert_eq!((reading.read, reading.days.as_slice()), (2, &DAYS[..]));
    assert_eq!(reading.roster, Some(vec![Entity::Queue("54".into()), Entity::Queue("55".into())]));
}

#[tokio::test]
async fn all_queues_are_those_that_the_account_has() {
    let mut site = Site::new(one_call_each, NOON, "", "{queue_statistics: {}}");
    let reading = site.poll(&DAYS).await.unwrap();
    assert_eq!(queues_asked(&site), ["", "7", "8"]);
    assert_eq!((reading.read, reading.figures.len()), (2, 2));
    assert_eq!((reading.days.as_slice(), reading.roster.map(|all| all.len())), (&DAYS[..], Some(2)));
}

/// Between its two pages the list shifts by one, so that queue 9 is on neither.
#[expect(clippy::unnecessary_wraps, reason = "it is a platform")]
fn shifting(method: &str, form: &Pairs) -> Option<String> {
    Some(match (method, value(form, "offset")) {
        ("GetQueues", "0") => r#"{"result":[{"acd_queue_id":7},{"acd_queue_id":8}],"total_count":3}"#.to_owned(),
        ("GetQueues", _) => r#"{"result":[{"acd_queue_id":8}],"total_count":3}"#.to_owned(),
        _ => r#"{"result":[{"date":"2026-11-20","TC":1}]}"#.to_owned(),
    })
}

#[tokio::test]
async fn a_list_that_shifted_claims_no_days_and_dismisses_no_queue() {
    let mut site = Site::new(shifting, NOON, "", "{queue_statistics: {queues: all}}");
    let reading = site.poll(&DAYS).await.unwrap();
    assert_eq!(queues_asked(&site), ["", "", "7", "8"]);
    assert_eq!((reading.read, reading.verdict()), (2, Ok(())));
    assert_eq!((reading.days, reading.roster), (vec![], None));
}

#[tokio::test]
async fn one_queue_s_failure_does_not_stop_the_others() {
    let mut site = Site::new(one_call_each, NOON, "", "{queue_statistics: {queues: [54, 98, 99]}}");
    let reading = site.poll(&DAYS).await.unwrap();
    assert_eq!((reading.read, reading.verdict()), (1, Ok(())));
    let reasons: Vec<_> = reading.failures.iter().map(|failure| failure.reason).collect();
    assert_eq!(reasons, [Reason::Unavailable, Reason::Config]);
    assert_eq!(reading.days, [] as [Date; 0], "a day is read once every queue that there is was read");

    let mut site = Site::new(one_call_each, NOON, "", "{queue_statistics: {queues: [54, 99]}}");
    assert_eq!(site.poll(&DAYS).await.unwrap().days, DAYS, "a queue that is none must not keep days open");
}

/// 484: the vendor takes a request that comes again for a machine gone wild.
#[tokio::test(start_paused = true)]
async fn a_resent_request_is_not_resent_and_the_next_poll_goes_on_behind_it() {
    let mut site =
        Site::new(one_call_each, NOON, "", "{queue_statistics: {queues: [199, 200, 301, 302, 303, 304, 305]}}");
    let began = tokio::time::Instant::now();
    let reading = site.poll(&DAYS).await.unwrap();
    assert_eq!(reading.failures.len(), 1);
    assert_eq!(reading.failures[0].reason, Reason::RateLimited);
    let asked = queues_asked(&site);
    assert_eq!(asked.iter().filter(|queue| *queue == "200").count(), 1, "{asked:?}");
    assert!(asked.len() < 7, "the rest waits: {asked:?}");
    site.poll(&DAYS).await.unwrap();
    assert!(began.elapsed().as_secs() >= 60, "the next request came after {:?}", began.elapsed());
    assert_ne!(queues_asked(&site)[0], "200", "the next poll begins behind it");
}

#[tokio::test]
async fn a_connection_that_breaks_is_not_tried_again_at_once() {
    for reports in ["{operator_statistics: {}}", "{operator_status: {}}", "{queue_statistics: {queues: [54]}}"] {
        let mut site = Site::new(|_, _| None, NOON, "", reports);
        let result = site.poll(&DAYS).await.and_then(|reading| reading.verdict().map(|()| reading));
        assert_eq!(result.unwrap_err().reason, Reason::Network);
        assert_eq!(site.asked().len(), 1, "{reports}");
    }
}

#[tokio::test]
async fn a_refused_key_is_not_tried_on_every_queue() {
    let queues: Vec<_> = (201..=255).map(|id: u32| id.to_string()).collect();
    let reports = format!("{{queue_statistics: {{queues: [{}]}}}}", queues.join(", "));
    let mut site = Site::new(one_call_each, NOON, "", &reports);
    let reading = site.poll(&DAYS).await.unwrap();
    assert_eq!(reading.failures[0].reason, Reason::Auth);
    assert_eq!(queues_asked(&site).len(), 1);
}

/// Forty-five users in pages of twenty, whatever was asked for; one is nobody, and one has no name to show.
#[expect(clippy::unnecessary_wraps, reason = "it is a platform")]
fn pages(method: &str, form: &Pairs) -> Option<String> {
    let offset: usize = value(form, "offset").parse().unwrap_or_default();
    let total = if method == "GetUsers" { 45 } else { 2 };
    let row = |n: usize| match (method, n) {
        ("GetUsers", 3) => r#"{"user_id":null,"user_name":"x"}"#.to_owned(),
        ("GetUsers", 4) => {
            r#"{"user_id":"1004","user_display_name":" ","user_name":"bel","user_custom_data":"CANARY"}"#.to_owned()
        }
        ("GetUsers", n) => format!(r#"{{"user_id":{},"user_display_name":"Bel {n}","user_name":"b{n}"}}"#, 1000 + n),
        (_, n) => format!(r#"{{"acd_queue_id":{},"acd_queue_name":"queue {n}","application_id":1}}"#, 54 + n),
    };
    let rows: Vec<_> = (offset..total).take(20).map(row).collect();
    Some(format!(r#"{{"result":[{}],"total_count":{total},"count":{}}}"#, rows.join(","), rows.len()))
}

fn names(reading: &Reading) -> Vec<(String, String)> {
    let name = |gauge: &crate::reading::Gauge| (gauge.entity.label().unwrap().1.to_owned(), gauge.labels[0].1.clone());
    reading.gauges.iter().map(name).collect()
}

#[tokio::test]
async fn a_directory_is_read_to_its_last_page() {
    let mut site = Site::new(pages, NOON, "", "{directory: {application: shop}}");
    let reading = site.poll(&[]).await.unwrap();
    let asked = site.asked();
    let pages: Vec<_> = asked.iter().map(|asked| value(&asked.form, "offset")).collect();
    assert_eq!(pages, ["0", "20", "40", "0"], "the vendor gives fewer rows than a page was asked for");
    assert!(asked.iter().all(|asked| value(&asked.form, "application_name") == "shop"));
    assert!(asked.iter().all(|asked| value(&asked.form, "count") == "1000"));
    let names = names(&reading);
    assert_eq!(names.len(), 44 + 2);
    assert!(names.contains(&("1044".to_owned(), "Bel 44".to_owned())));
    assert!(names.contains(&("1004".to_owned(), "bel".to_owned())), "without a display name the other one");
    assert!(names.contains(&("55".to_owned(), "queue 1".to_owned())));
    assert_eq!((reading.read, reading.rejected), (2, 1));
    assert!(!format!("{reading:?}").contains("CANARY"), "custom data is nobody's label");

    let mut site = Site::new(self::pages, NOON, "", "{directory: {}}");
    site.poll(&[]).await.unwrap();
    assert!(site.asked().iter().all(|asked| value(&asked.form, "application_name").is_empty()));
}

#[tokio::test]
async fn a_list_that_never_ends_ends() {
    // Always the same page, whatever the offset; and pages that are empty although there should be more.
    let same: Platform =
        |_, _| Some(r#"{"result":[{"user_id":1,"user_name":"a","acd_queue_id":2}],"total_count":900}"#.to_owned());
    let empty: Platform = |_, _| Some(r#"{"result":[],"total_count":17}"#.to_owned());
    for (platform, most) in [(same, 4), (empty, 2)] {
        let mut site = Site::new(platform, NOON, "", "{directory: {application: shop}}");
        site.poll(&[]).await.unwrap();
        assert_eq!(site.asked().len(), most);
    }
}

#[tokio::test]
async fn a_list_that_fails_takes_no_names_away_and_a_whole_one_does() {
    let queues_only: Platform = |method, form| {
        let refused = r#"{"error":{"code":104,"msg":"Forbidden command"}}"#.to_owned();
        if method == "GetUsers" { Some(refused) } else { pages(method, form) }
    };
    let mut site = Site::new(queues_only, NOON, "", "{directory: {application: shop}}");
    let reading = site.poll(&[]).await.unwrap();
    assert_eq!((reading.verdict(), reading.failures[0].reason), (Ok(()), Reason::Auth));
    assert_eq!(reading.roster.unwrap().len(), 2);

    let one: Platform = |_, _| {
        Some(
            r#"{"result":[{"user_id":1,"user_name":"a","acd_queue_id":2,"acd_queue_name":"b"}],"total_count":1}"#
                .to_owned(),
        )
    };
    let part: Platform = |_, _| {
        Some(
            r#"{"result":[{"user_id":5,"user_name":"a","acd_queue_id":6,"acd_queue_name":"b"}],"total_count":9}"#
                .to_owned(),
        )
    };
    let mut site = Site::new(one, NOON, "", "{directory: {application: shop}}");
    site.poll(&[]).await.unwrap();
    let wire = |platform| Box::new(Wire(platform, Arc::clone(&site.asked)));
    let client = |platform| site.client.beside(site.client.settings().clone(), wire(platform));
    let (part, one) = (client(part), client(one));
    site.client = part;
    assert_eq!(site.poll(&[]).await.unwrap().roster.unwrap().len(), 4, "a list that shifted names all whom it knew");
    site.client = one;
    assert_eq!(site.poll(&[]).await.unwrap().roster.unwrap().len(), 2);
}
