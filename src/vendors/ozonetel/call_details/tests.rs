//! Polls against a vendor that is a function.

use std::io::Write as _;
use std::time::Duration;

use jiff::civil::date;
use serde_json::Value;

use super::*;
use crate::catalogue::Family;
use crate::settings::RateLimit;
use crate::vendors::ozonetel::testing::{Asked, Vendor, access, answer};

const OUTBOUND: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v2_outbound.json");
const V1: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v1.json");
const NO_DATA: &str = r#"{"status":"success","message":"No Data Found with UCID 100200300"}"#;
const BAD_KEY: &str = r#"{"status":"error","message":"userName or apiKey is Invalid"}"#;

fn india() -> TimeZone {
    TimeZone::get("Asia/Kolkata").expect("a known zone")
}

/// A moment of November 2026 in India.
fn at(day: i8, hour: i8, minute: i8) -> Timestamp {
    date(2026, 11, day).at(hour, minute, 0, 0).to_zoned(india()).expect("a moment").timestamp()
}

/// A report with its file, and a queue that keeps what the report decides.
struct Scene {
    vendor: Vendor,
    report: CallDetails,
    queue: CallQueue,
    _file: tempfile::NamedTempFile,
}

impl Scene {
    fn new(api: Api, listed: &str, respond: impl Fn(&Asked) -> &'static str + Send + Sync + 'static) -> Self {
        let vendor = Vendor::new(move |asked| answer(200, respond(asked)));
        let mut file = tempfile::NamedTempFile::new().expect("a file");
        file.write_all(listed.as_bytes()).expect("a file");
        let pace = Pace::new(RateLimit::per_minute(2), Duration::from_mins(5));
        let path = Some(file.path().to_owned());
        let report = CallDetails::new(access(), vendor.lane.clone(), api, india(), pace, path);
        Self { vendor, report, queue: CallQueue::default(), _file: file }
    }

    async fn poll(&mut self, now: Timestamp) -> Result<Reading, Failure> {
        let poll = Poll { now, client: &self.vendor.client, days: &[], calls: &self.queue };
        let reading = self.report.poll(poll).await?;
        reading.verdict()?;
        for update in &reading.calls {
            self.store(update);
        }
        Ok(reading)
    }

    fn store(&mut self, update: &CallUpdate) {
        let mut pending = self.queue.pending.clone();
        let (CallUpdate::Pending(PendingCall { id, .. }) | CallUpdate::Done(id)) = update;
        let mut done: Vec<_> = self.queue.is_done(id).then(|| id.clone()).into_iter().collect();
        pending.retain(|call| call.id != *id);
        match update {
            CallUpdate::Pending(call) => pending.push(call.clone()),
            CallUpdate::Done(id) => done.push(id.clone()),
        }
        // The queue's own list of finished calls cannot be read back; carry over those that the file may name.
        done.extend((0..40).map(|n| CallId::new(n.to_string())).filter(|id| self.queue.is_done(id)));
        done.extend(["100200300", "100200301"].map(CallId::new).into_iter().filter(|id| self.queue.is_done(id)));
        self.queue = CallQueue::new(pending, done);
    }

    /// `ucid day` of the requests since the last call.
    fn asked(&self) -> Vec<String> {
        let print = |Asked { url, body, .. }: Asked| {
            if body.is_empty() {
                return url.to_string();
            }
            let body: Value = serde_json::from_str(&body).expect("JSON");
            let text = |key: &str| body[key].as_str().unwrap_or("?").to_owned();
            assert_eq!(text("userName"), "acme");
            assert_eq!(text("toDate"), text("fromDate").replace("00:00:00", "23:59:59"));
            assert_eq!((url.path(), url.query()), ("/prefix/ca_reports/fetchCdrByUCID", None));
            format!("{} {}", text("ucid"), text("fromDate"))
        };
        self.vendor.asked().into_iter().map(print).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_asked_for_at_once_and_read_once_more_after_three() {
    let mut scene = Scene::new(Api::V2, "100200300,2026-11-20\n", |_| OUTBOUND);
    let reading = scene.poll(at(20, 12, 0)).await.expect("a reading");
    assert_eq!(scene.asked(), ["100200300 2026-11-20 00:00:00"]);
    assert!(reading.figures.iter().any(|figure| figure.family == Family::AgentTalk));
    assert_eq!((reading.read, reading.rows, reading.calls.len()), (1, 1, 1));

    for quiet in [at(20, 12, 5), at(20, 23, 59), at(21, 0, 1), at(21, 2, 59)] {
        assert_eq!(scene.poll(quiet).await.map(|reading| reading.read), Ok(1), "nothing to ask for is no failure");
        assert!(scene.asked().is_empty(), "{quiet}");
    }
    let reading = scene.poll(at(21, 3, 1)).await.expect("a reading");
    assert_eq!(scene.asked().len(), 1);
    assert_eq!(reading.calls, [CallUpdate::Done(CallId::new("100200300"))]);
    assert!(!reading.figures.is_empty());
    let reading = scene.poll(at(22, 3, 1)).await.expect("a reading");
    assert!(scene.asked().is_empty());
    assert_eq!(reading.listed, [CallId::new("100200300")], "remembered as finished while the file lists it");
}

#[tokio::test(start_paused = true)]
async fn without_a_day_the_listed_one_and_the_one_before_are_tried() {
    let mut scene =
        Scene::new(Api::V2, "100200300", |Asked { body, .. }| if body.contains("11-19") { OUTBOUND } else { NO_DATA });
    scene.poll(at(20, 1, 0)).await.expect("a reading");
    assert_eq!(scene.asked(), ["100200300 2026-11-20 00:00:00"], "yesterday is not there before three");
    scene.poll(at(20, 3, 5)).await.expect("a reading");
    assert_eq!(scene.asked(), ["100200300 2026-11-20 00:00:00", "100200300 2026-11-19 00:00:00"]);
    assert_eq!(scene.queue.pending[0].day, Some(date(2026, 11, 19)), "the second look knows its day");
}

#[tokio::test(start_paused = true)]
async fn no_data_comes_back_daily_until_it_expires() {
    let mut scene = Scene::new(Api::V1, "100200300\n", |_| NO_DATA);
    scene.poll(at(1, 12, 0)).await.expect("a reading");
    let url = "https://vendor.example/prefix/CAServices/CDR/CallBacks.php?userName=acme&apiKey=canary-key&ucid=100200300&reportType=historical";
    assert_eq!(scene.asked(), [url]);
    for day in 2..=16 {
        scene.poll(at(day, 2, 59)).await.expect("a reading");
        assert!(scene.asked().is_empty(), "{day}");
        scene.poll(at(day, 3, 0)).await.expect("a reading");
        assert_eq!(scene.asked().len(), 1, "{day}");
    }
    let reading = scene.poll(at(17, 0, 0)).await.expect("a reading");
    assert!(scene.asked().is_empty());
    let failures: Vec<_> = reading.failures.iter().map(|f| (f.reason, f.place.as_deref())).collect();
    assert_eq!(failures, [(Reason::Expired, Some("line 1"))]);
    assert_eq!(reading.calls, [CallUpdate::Done(CallId::new("100200300"))]);
    assert_eq!(scene.poll(at(17, 0, 5)).await.map(|reading| reading.failures.len()), Ok(0));
}

#[tokio::test(start_paused = true)]
async fn what_was_counted_does_not_expire() {
    let mut scene = Scene::new(Api::V2, "", |_| NO_DATA);
    let listed = at(1, 12, 0).as_second();
    let counted = PendingCall { id: CallId::new("1"), day: None, listed_at: listed, due_at: listed, counted: true };
    scene.queue = CallQueue::new(vec![counted], []);
    let reading = scene.poll(at(20, 12, 0)).await.expect("a reading");
    assert!(reading.failures.is_empty());
    assert_eq!(reading.calls, [CallUpdate::Done(CallId::new("1"))]);
}

#[tokio::test(start_paused = true)]
async fn a_call_of_long_ago_expires_without_a_request() {
    let mut scene = Scene::new(Api::V2, "100200300,2026-11-04\n", |_| OUTBOUND);
    let reading = scene.poll(at(20, 12, 0)).await.expect("a reading");
    assert!(scene.asked().is_empty());
    assert_eq!(reading.failures.iter().map(|f| f.reason).collect::<Vec<_>>(), [Reason::Expired]);
    assert_eq!(reading.calls, [CallUpdate::Done(CallId::new("100200300"))]);
}

#[tokio::test(start_paused = true)]
async fn a_wrong_line_does_not_keep_the_others() {
    let mut scene = Scene::new(Api::V1, "12x\n100200300\n", |_| V1);
    let reading = scene.poll(at(20, 12, 0)).await.expect("a reading");
    assert_eq!(reading.failures[0].place.as_deref(), Some("line 1"));
    assert_eq!(reading.calls, [CallUpdate::Done(CallId::new("100200300"))]);
    let later = scene.poll(at(20, 12, 5)).await.expect("a reading");
    assert_eq!((later.read, later.failures.len()), (1, 1), "the wrong line fails alone, also when the rest is done");

    let mut scene = Scene::new(Api::V1, "12x\n", |_| V1);
    assert_eq!(scene.poll(at(20, 12, 0)).await.map_err(|f| f.reason), Err(Reason::Config));
}

#[tokio::test(start_paused = true)]
async fn a_file_that_is_gone_fails_the_poll_unless_something_is_pending() {
    let mut scene = Scene::new(Api::V1, "100200300\n", |_| NO_DATA);
    let file = scene.report.file.replace("/no/such/file".into());
    assert_eq!(scene.poll(at(20, 12, 0)).await.map_err(|f| f.reason), Err(Reason::Config));
    let missing = std::mem::replace(&mut scene.report.file, file);
    scene.poll(at(20, 12, 5)).await.expect("a reading");
    scene.report.file = missing;
    let reading = scene.poll(at(20, 12, 10)).await.expect("a reading");
    assert_eq!(reading.failures.iter().map(|f| f.reason).collect::<Vec<_>>(), [Reason::Config]);
}

#[tokio::test(start_paused = true)]
async fn a_backlog_is_worked_off_at_the_pace_of_the_vendor() {
    let lines: Vec<_> = (0..25).map(|n| format!("{n},2026-11-19")).collect();
    let mut scene = Scene::new(Api::V2, &lines.join("\n"), |_| NO_DATA);
    for expected in [10, 10, 5, 0] {
        scene.poll(at(20, 12, 0)).await.expect("a reading");
        assert_eq!(scene.asked().len(), expected);
    }
    // Two requests a minute: from 23:56 on, the ninth goes out after midnight, when the day cannot be read.
    let lines: Vec<_> = (0..25).map(|n| format!("{n},2026-11-20")).collect();
    let mut scene = Scene::new(Api::V2, &lines.join("\n"), |_| NO_DATA);
    scene.poll(at(20, 23, 56)).await.expect("a reading");
    assert_eq!(scene.asked().len(), 8);
}

#[tokio::test(start_paused = true)]
async fn bad_credentials_stop_the_poll_and_the_others_go_first_next_time() {
    let mut scene = Scene::new(Api::V2, "1,2026-11-19\n2,2026-11-19\n", |Asked { body, .. }| {
        if body.contains(r#""ucid":"1""#) { BAD_KEY } else { NO_DATA }
    });
    assert_eq!(scene.poll(at(20, 12, 0)).await.map_err(|f| f.reason), Err(Reason::Auth));
    assert_eq!(scene.asked(), ["1 2026-11-19 00:00:00"]);
    let reading = scene.poll(at(20, 12, 5)).await.expect("a reading");
    assert_eq!(scene.asked(), ["2 2026-11-19 00:00:00", "1 2026-11-19 00:00:00"]);
    assert_eq!((reading.read, reading.failures.len()), (1, 1));
    let first_listed: Vec<_> = scene.queue.pending.iter().map(|call| call.listed_at).collect();
    assert_eq!(first_listed, [at(20, 12, 0).as_second(); 2], "a failed poll does not move when a call was listed");
}

#[tokio::test(start_paused = true)]
async fn a_failure_without_a_day_costs_no_second_request_and_prints_no_call() {
    let mut scene = Scene::new(Api::V2, "100200300\n100200301\n", |Asked { body, .. }| {
        if body.contains("100200300") { "<html>100200300" } else { OUTBOUND }
    });
    let reading = scene.poll(at(20, 12, 0)).await.expect("a reading");
    assert_eq!(scene.asked().len(), 2);
    assert_eq!(reading.failures[0].reason, Reason::Malformed);
    let print = format!("{reading:?} {:?} {:?}", scene.report, scene.queue);
    assert!(!print.contains("100200") && !print.contains("canary"), "{print}");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_cannot_be_read_does_not_hold_up_those_without_data() {
    let mut scene = Scene::new(Api::V2, "1,2026-11-20\n2,2026-11-20\n3,2026-11-20\n", |Asked { body, .. }| {
        if body.contains("\"2\"") { r#"{"status":"success","details":[7]}"# } else { NO_DATA }
    });
    let reading = scene.poll(at(20, 9, 0)).await.expect("two of three were read");
    assert_eq!((reading.read, reading.rejected, reading.failures.len()), (2, 1, 1));
    assert_eq!(reading.failures[0].reason, Reason::Malformed);
    assert_eq!(scene.asked().len(), 3);
    scene.poll(at(20, 9, 5)).await.expect("nothing is due");
    assert_eq!(scene.asked(), Vec::<String>::new());
}
