//! Polls against a vendor whose list moves, with a ledger of windows that keeps what the report vouches for.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::civil::{DateTime, date};
use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::*;
use crate::catalogue::Family;
use crate::failure::Reason;
use crate::ledger::CallQueue;
use crate::vendors::ozonetel::testing::{Asked, Vendor, access, answer};

const OUTBOUND: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v2_outbound.json");
const PAGE: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_page.json");

fn india() -> TimeZone {
    TimeZone::get("Asia/Kolkata").unwrap()
}

fn at(text: &str) -> Timestamp {
    text.parse::<DateTime>().unwrap().to_zoned(india()).unwrap().timestamp()
}

/// The calls that the vendor has: whole rows, in any order.
type Calls = Arc<Mutex<Vec<Value>>>;

/// The documented outbound leg as a call of its own.
fn leg(id: u64, start: &str, changes: &Value) -> Value {
    let start: DateTime = start.parse().unwrap();
    let body: Value = serde_json::from_str(OUTBOUND).unwrap();
    let mut row = body["details"][0].clone();
    for key in ["CallID", "UCID"] {
        row[key] = id.to_string().into();
    }
    row["CallDate"] = start.date().to_string().into();
    let time = |after: i64| (start + SignedDuration::from_secs(after)).time().to_string();
    row["StartTime"] = time(0).into();
    row["PickupTime"] = time(14).into();
    row["EndTime"] = time(62).into();
    for (key, value) in changes.as_object().unwrap() {
        row[key] = value.clone();
    }
    row
}

/// A caller's wait from `start`, handed on unless it says who hung up.
fn wait(id: u64, call: u64, start: &str, minutes: i64, hung_up: &str) -> Value {
    let changes = json!({"CallID": call.to_string(), "Type": "Inbound", "Status": "Unanswered", "AgentID": "",
        "TalkTime": "00:00:00", "Duration": format!("{:02}:{:02}:00", minutes / 60, minutes % 60), "HangupBy": hung_up});
    leg(id, start, &changes)
}

fn talk(id: u64, call: u64, start: &str) -> Value {
    leg(id, start, &json!({"CallID": call.to_string(), "Type": "Inbound", "Status": "Answered"}))
}

/// When a leg began.
fn stamp(row: &Value) -> String {
    format!("{} {}", row["CallDate"].as_str().unwrap(), row["StartTime"].as_str().unwrap())
}

/// A number of the URL.
fn number(asked: &Asked, name: &str) -> usize {
    asked.url.query_pairs().find(|(key, _)| key == name).unwrap().1.parse().unwrap()
}

/// Newest first, within the asked window, a page at a time.
fn list(calls: &[Value], asked: &Asked) -> String {
    let (from, to) = (asked.parameter("fromDate"), asked.parameter("toDate"));
    assert_eq!(from[..10], to[..10], "one day per request");
    let mut rows: Vec<_> = calls.iter().filter(|row| (from.clone()..=to.clone()).contains(&stamp(row))).collect();
    rows.sort_by_key(|row| std::cmp::Reverse(stamp(row)));
    let (page, size) = (number(asked, "pageNo"), number(asked, "pageSize"));
    assert!(size <= 500);
    let page: Vec<_> = rows.iter().skip((page - 1) * size).take(size).collect();
    json!({"status": "success", "message": "success", "details": page, "totalCount": rows.len().to_string()})
        .to_string()
}

struct Scene {
    vendor: Vendor,
    report: CallRecords,
    queue: CallQueue,
}

impl Scene {
    fn new(respond: impl Fn(&Asked) -> String + Send + Sync + 'static) -> Self {
        let vendor = Vendor::new(move |asked| answer(200, &respond(asked)));
        let settings = ReportSettings::every(Duration::from_mins(5));
        let pace = Pace::new(CallRecordsReport::LIMIT, settings.interval);
        let report = CallRecords::new(access(), vendor.lane.clone(), india(), pace, settings);
        Self { vendor, report, queue: CallQueue::default() }
    }

    fn over(calls: &Calls) -> Self {
        let calls = Arc::clone(calls);
        Self::new(move |asked| list(&calls.lock().unwrap(), asked))
    }

    async fn poll(&mut self, now: &str) -> Result<Reading, Failure> {
        let now = at(now);
        let poll = Poll { now, client: &self.vendor.client, days: &[], calls: &self.queue };
        let reading = self.report.poll(poll).await?;
        reading.verdict()?;
        self.queue.windows.keep(&reading.windows, now, &india(), &self.report.settings);
        Ok(reading)
    }

    /// `page from to` of every request since the last call.
    fn asked(&self) -> Vec<String> {
        let print = |asked: Asked| {
            assert_eq!((asked.method.as_str(), asked.header("apikey")), ("GET", "canary-key"));
            assert_eq!(asked.url.path(), "/prefix/ca_reports/fetchCdrByPagination");
            assert!(!asked.url.as_str().contains("canary"));
            let page = number(&asked, "pageNo");
            format!("{page} {} {}", asked.parameter("fromDate"), &asked.parameter("toDate")[11..])
        };
        self.vendor.asked().into_iter().map(print).collect()
    }
}

fn sum(reading: &Reading, family: Family) -> u64 {
    let figures = reading.figures.iter().filter(|figure| figure.family == family);
    figures.map(|figure| figure.amount.as_whole().unwrap()).sum()
}

fn many(count: u64, from: &str, spacing: i64) -> Vec<Value> {
    let from: DateTime = from.parse().unwrap();
    let start = |n: u64| (from + SignedDuration::from_secs(n.cast_signed() * spacing)).to_string();
    (0..count).map(|n| leg(1000 + n, &start(n), &json!({}))).collect()
}

#[tokio::test(start_paused = true)]
async fn a_quiet_day_is_one_request_a_poll() {
    let calls = Calls::new(Mutex::new(many(100, "2026-11-20T09:00:00", 30)));
    let mut scene = Scene::over(&calls);
    let reading = scene.poll("2026-11-20T10:10:00").await.unwrap();
    assert_eq!(scene.asked(), ["1 2026-11-20 00:00:00 23:59:59"]);
    assert_eq!((sum(&reading, Family::AgentHandledCalls), sum(&reading, Family::CampaignOutbound)), (100, 100));
    assert_eq!(reading.windows.len(), 33, "all up to the running one, but those of the first two hours");
    // A row that changes later is seen at the next poll.
    calls.lock().unwrap()[0]["WrapupDuration"] = "00:02:00".into();
    let reading = scene.poll("2026-11-20T10:15:00").await.unwrap();
    let first_windows = ["1 2026-11-20 00:00:00 02:29:59", "1 2026-11-19 22:00:00 23:59:59"];
    assert_eq!(scene.asked(), [&["1 2026-11-20 00:00:00 23:59:59"], &first_windows[..]].concat());
    scene.poll("2026-11-20T10:20:00").await.unwrap();
    assert_eq!(scene.asked().len(), 1);
    assert_eq!(sum(&reading, Family::AgentAfterCallWork), 99 * 51 + 120);
}

#[tokio::test(start_paused = true)]
async fn open_calls_wait_bad_rows_are_rejected_and_the_others_count() {
    let mut scene = Scene::new(|_| PAGE.to_owned());
    let reading = scene.poll("2026-11-20T12:00:00").await.unwrap();
    assert_eq!((reading.rejected, reading.rows), (1, 5), "with the row of a call that goes on");
    assert_eq!(sum(&reading, Family::AgentAnsweredCalls), 1);
    assert_eq!((sum(&reading, Family::CampaignAnswered), sum(&reading, Family::CampaignUnanswered)), (1, 0));
    assert_eq!(sum(&reading, Family::CampaignOutboundConnected), 1);
    assert!(reading.figures.iter().all(|figure| !format!("{figure:?}").contains("41571")));
    let every_row = |row: &str| format!(r#"{{"status":"success","details":[{row}],"totalCount":1}}"#);
    for row in ["7", "[]", "{\"CallID\":null,\"EndTime\":\"1\"}"] {
        let mut scene = Scene::new(move |_| every_row(row));
        assert_eq!(scene.poll("2026-11-20T12:00:00").await.unwrap_err().reason, Reason::Malformed, "{row}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_that_come_while_pages_are_read_push_the_others_on() {
    let calls = Calls::new(Mutex::new(many(1200, "2026-11-20T09:00:00", 3)));
    let shared = Arc::clone(&calls);
    // Before every page a call ends that began before all others of its minute, and one more that began last.
    let mut scene = Scene::new(move |asked| {
        let mut calls = shared.lock().unwrap();
        let n = calls.len() as u64;
        calls.push(leg(90_000 + n, "2026-11-20T10:05:00", &json!({})));
        list(&calls, asked)
    });
    let reading = scene.poll("2026-11-20T10:06:00").await.unwrap();
    assert_eq!(scene.asked().len(), 3, "what is pushed on comes twice, and nothing is missed");
    let quiet = reading.windows.iter().filter(|(_, place)| (8..36).contains(place)).count();
    assert_eq!((reading.windows.len(), quiet), (28, 28), "windows with calls are read again");
    let seen = sum(&reading, Family::AgentOutbound);
    assert!(seen >= 1200, "{seen}");
}

#[tokio::test(start_paused = true)]
async fn a_call_whose_legs_come_before_and_behind_the_reader_waits_for_the_next_look() {
    let calls = Calls::new(Mutex::new(many(900, "2026-11-20T09:00:00", 3)));
    let shared = Arc::clone(&calls);
    let mut scene = Scene::new(move |asked| {
        let mut calls = shared.lock().unwrap();
        if number(asked, "pageNo") == 2 && calls.len() == 900 {
            // One belongs on the page that was just read, the other on the one to come.
            calls.extend([wait(51, 5, "2026-11-20T09:10:01", 1, ""), talk(52, 5, "2026-11-20T09:30:01")]);
        }
        list(&calls, asked)
    });
    let first = scene.poll("2026-11-20T10:00:00").await.unwrap();
    assert_eq!((sum(&first, Family::CampaignUnanswered), sum(&first, Family::CampaignAnswered)), (0, 0));
    assert_eq!(sum(&first, Family::CampaignOutbound), 0, "all wait: nobody knows which of them came meanwhile");
    let second = scene.poll("2026-11-20T10:05:00").await.unwrap();
    assert_eq!((sum(&second, Family::CampaignUnanswered), sum(&second, Family::CampaignAnswered)), (0, 1));
    assert_eq!(sum(&second, Family::CampaignOutbound), 900);
}

#[tokio::test(start_paused = true)]
async fn a_row_that_slips_through_a_gap_is_found_by_reading_again() {
    let calls = Calls::new(Mutex::new(many(1100, "2026-11-20T09:00:00", 3)));
    let shared = Arc::clone(&calls);
    let mut scene = Scene::new(move |asked| {
        let mut calls = shared.lock().unwrap();
        // The newest row leaves after the first page: those of the second move up into the first.
        if number(asked, "pageNo") == 2 && calls.len() == 1100 {
            calls.pop();
        }
        list(&calls, asked)
    });
    let reading = scene.poll("2026-11-20T10:00:00").await.unwrap();
    assert_eq!(scene.asked().len(), 9, "three pages, and twice more, as one is gone for good");
    assert_eq!((sum(&reading, Family::AgentOutbound), reading.windows.len()), (1100, 0));
    assert!(!scene.poll("2026-11-20T10:05:00").await.unwrap().windows.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_list_that_has_shrunk_to_a_page_meanwhile_was_not_seen_whole() {
    let calls = Calls::new(Mutex::new(many(1100, "2026-11-19T12:00:00", 3)));
    let shared = Arc::clone(&calls);
    let mut scene = Scene::new(move |asked| {
        let mut calls = shared.lock().unwrap();
        // While the second page is asked for the vendor takes the day away, but for a little.
        if number(asked, "pageNo") == 2 {
            calls.truncate(50);
        }
        list(&calls, asked)
    });
    let reading = scene.poll("2026-11-19T23:59:50").await.unwrap();
    assert_eq!((reading.windows.len(), sum(&reading, Family::CampaignOutbound)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_list_that_never_stands_still_is_not_vouched_for() {
    let calls = Calls::new(Mutex::new(many(1100, "2026-11-20T09:00:00", 3)));
    let (shared, asked_so_far) = (Arc::clone(&calls), std::sync::atomic::AtomicU64::new(0));
    let mut scene = Scene::new(move |asked| {
        let mut calls = shared.lock().unwrap();
        let n = asked_so_far.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        // Every other page has lost rows, and new ones stand elsewhere.
        if n % 2 == 1 {
            let left = calls.len() - 3;
            calls.truncate(left);
        } else {
            calls.extend((0..2).map(|k| leg(70_000 + n * 10 + k, "2026-11-20T09:00:01", &json!({}))));
        }
        list(&calls, asked)
    });
    let reading = scene.poll("2026-11-20T10:00:00").await.unwrap();
    assert_eq!(reading.windows, [], "read again by the next poll");
    assert!(sum(&reading, Family::CampaignOutbound) == 0, "of calls nothing is said");
    assert!(sum(&reading, Family::AgentOutbound) >= 1090, "what was seen counts");
}

#[tokio::test(start_paused = true)]
async fn a_busy_day_is_read_in_parts_and_later_polls_are_cheap() {
    let calls = Calls::new(Mutex::new(many(8000, "2026-11-20T09:00:00", 3)));
    let mut scene = Scene::over(&calls);
    let mut cost = Vec::new();
    for minute in (0..120).step_by(5) {
        let now = format!("2026-11-20T{}:{:02}:00", 16 + minute / 60, minute % 60);
        let tail_alone = scene.poll(&now).await.unwrap().windows.len() <= 2;
        assert!(minute > 0 || tail_alone);
        cost.push(scene.asked().len());
    }
    // Half of a start's first requests find out how much there is.
    assert!(cost.iter().all(|requests| *requests <= 12), "{cost:?}");
    assert!(cost[12..].iter().sum::<usize>() <= 12 * 5, "{cost:?}");
    let due = scene.queue.windows.due(at("2026-11-20T17:55:00"), &india(), READY_HOUR, &scene.report.settings);
    assert!(due.rest.len() < 12, "the day was read: {:?}", due.rest);
}

#[tokio::test(start_paused = true)]
async fn a_tail_too_long_to_bring_anything_along_is_read_alone() {
    // A start on a busy morning, and a burst after a quiet one: in both the empty rest of the day thins the average out.
    for (count, from, spacing) in [(7650, "2026-11-20T08:00:00", 1), (4200, "2026-11-20T09:46:00", 0)] {
        let calls = Calls::new(Mutex::new(many(count, from, spacing)));
        let shared = Arc::clone(&calls);
        let sent = std::sync::atomic::AtomicU64::new(0);
        let mut scene = Scene::new(move |asked| {
            let number = sent.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            assert!(number < 40, "the poll does not end");
            list(&shared.lock().unwrap(), asked)
        });
        let reading = scene.poll("2026-11-20T10:00:00").await.unwrap();
        assert!(scene.asked().len() <= 11, "one finds out, the others bring rows");
        assert!(sum(&reading, Family::CampaignOutbound) > 0 && !reading.windows.is_empty());
    }
}

#[tokio::test(start_paused = true)]
async fn a_list_without_end_is_a_failure() {
    let mut scene = Scene::new(|asked| {
        let page = number(asked, "pageNo");
        let rows: Vec<_> = (0..500).map(|n| json!({ "UCID": page * 1000 + n })).collect();
        json!({"status": "success", "message": "success", "details": rows}).to_string()
    });
    assert_eq!(scene.poll("2026-11-20T10:00:00").await.unwrap_err().reason, Reason::Malformed);
}

#[tokio::test(start_paused = true)]
async fn legs_of_one_call_are_one_call_over_windows_and_midnight() {
    let legs = vec![wait(51, 5, "2026-11-19T23:59:50", 1, ""), talk(52, 5, "2026-11-20T00:00:10")];
    let calls = Calls::new(Mutex::new(legs));
    let mut scene = Scene::over(&calls);
    scene.poll("2026-11-19T23:59:55").await.unwrap();
    // The second leg is there, its call waits: where it began cannot be read before three.
    let reading = scene.poll("2026-11-20T00:10:00").await.unwrap();
    assert_eq!((sum(&reading, Family::AgentAnsweredCalls), sum(&reading, Family::CampaignAnswered)), (1, 0));
    assert!(reading.figures.iter().all(|figure| figure.family != Family::CampaignUnanswered));
    for now in ["2026-11-20T01:00:00", "2026-11-20T02:59:00"] {
        scene.poll(now).await.unwrap();
        assert!(scene.asked().iter().all(|line| line.contains("2026-11-20") || line.contains("2026-11-19 00:00:00")));
    }
    for now in ["2026-11-20T03:00:00", "2026-11-20T04:05:00", "2026-11-20T06:10:00"] {
        let reading = scene.poll(now).await.unwrap();
        let figure = |family| {
            let days: std::collections::BTreeSet<_> = reading
                .figures
                .iter()
                .filter(|figure| figure.family == family)
                .map(|figure| format!("{:?} {}", figure.bucket, figure.amount))
                .collect();
            days.into_iter().collect::<Vec<_>>()
        };
        assert_eq!(figure(Family::CampaignAnswered).len(), 1, "{now}: one bucket, on the day of its first leg");
        assert!(figure(Family::CampaignAnswered)[0].contains("2026-11-19"));
        assert!(figure(Family::CampaignUnanswered).iter().all(|line| line.ends_with(" 0")));
    }
    assert_eq!(scene.queue.windows.closed_through, Some(date(2026, 11, 19)));
}

/// What stands on the page in the end: calls answered and unanswered, and the first observation of each time to answer.
#[derive(Default)]
struct Kept {
    answered: BTreeSet<String>,
    unanswered: BTreeSet<String>,
    waits: BTreeMap<String, u64>,
}

impl Kept {
    fn add(&mut self, reading: &Reading) {
        let id = |bucket: &crate::reading::Bucket| match bucket {
            crate::reading::Bucket::Call { id, .. } => id.expose().to_owned(),
            _ => panic!("a call"),
        };
        for figure in reading.figures.iter().filter(|figure| figure.amount.as_whole() == Some(1)) {
            match figure.family {
                Family::CampaignAnswered => self.answered.insert(id(&figure.bucket)),
                Family::CampaignUnanswered => self.unanswered.insert(id(&figure.bucket)),
                _ => continue,
            };
        }
        for one in reading.observations.iter().filter(|one| one.family == Family::CampaignTimeToAnswer) {
            self.waits.entry(id(&one.bucket)).or_insert(one.amount.as_whole().unwrap());
        }
    }
}

#[tokio::test(start_paused = true)]
async fn callers_who_wait_for_most_of_an_hour_count_once_and_with_their_wait() {
    // So busy that a poll reads no more than it must.
    let calls = Calls::new(Mutex::new(many(3600, "2026-11-20T08:00:00", 3)));
    let mut all = calls.lock().unwrap().clone();
    all.extend([
        // Waits grow longer: the first one shows how far to look back for the others.
        wait(51, 5, "2026-11-20T08:20:00", 38, ""),
        talk(52, 5, "2026-11-20T08:58:00"),
        wait(61, 6, "2026-11-20T09:05:00", 50, ""),
        talk(62, 6, "2026-11-20T09:55:00"),
        wait(71, 7, "2026-11-20T09:10:00", 80, ""),
        talk(72, 7, "2026-11-20T10:30:00"),
        wait(81, 8, "2026-11-20T09:20:00", 50, "UserHangup"),
        // Somebody else's second leg, of a call that nobody has waited for.
        talk(91, 9, "2026-11-20T10:31:00"),
    ]);
    let ended = |row: &Value| {
        let time = |key: &str| row[key].as_str().unwrap().parse::<jiff::civil::Time>().unwrap();
        let length = time("Duration").duration_since(jiff::civil::Time::midnight());
        at(&format!("{}T{}", row["CallDate"].as_str().unwrap(), time("StartTime"))) + length
    };
    // A leg is listed when it has ended.
    let at_moment = |now: &str| -> Vec<Value> { all.iter().filter(|row| ended(row) <= at(now)).cloned().collect() };
    let mut scene = Scene::over(&calls);
    let mut kept = Kept::default();
    let day = (0..31).map(|n| format!("2026-11-20T{:02}:{:02}:00", 9 + n / 12, n % 12 * 5));
    let night = ["2026-11-21T03:00:00", "2026-11-21T03:30:00", "2026-11-21T04:40:00", "2026-11-21T06:10:00"];
    for now in day.chain(night.map(str::to_owned)) {
        *calls.lock().unwrap() = at_moment(&now);
        kept.add(&scene.poll(&now).await.unwrap());
        if now.ends_with("T11:30:00") {
            assert_eq!(kept.unanswered.iter().collect::<Vec<_>>(), ["8"], "no later than that");
        }
    }
    assert_eq!(kept.answered.iter().collect::<Vec<_>>(), ["5", "6", "7", "9"]);
    assert_eq!(kept.unanswered.iter().collect::<Vec<_>>(), ["8"]);
    let waits = ["5", "6", "7", "9"].map(|id| kept.waits[id]);
    assert_eq!(waits, [38 * 60 + 14, 50 * 60 + 14, 80 * 60 + 14, 14]);
}

#[tokio::test(start_paused = true)]
async fn a_call_over_midnight_counts_once_however_late_its_second_leg_begins() {
    let queue = wait(51, 5, "2026-11-19T23:50:00", 45, "");
    let first_talk = talk(51, 5, "2026-11-19T23:55:00");
    for (first, campaign) in [(queue, "Sales"), (first_talk, "Support")] {
        let mut second = talk(52, 5, "2026-11-20T00:35:00");
        second["CampaignName"] = campaign.into();
        // So busy a night that its windows are read in parts, and so quiet a one that they are brought along.
        for others in [0, 720] {
            let calls = Calls::new(Mutex::new(many(others, "2026-11-20T00:00:00", 10)));
            let day = calls.lock().unwrap().clone();
            let mut scene = Scene::over(&calls);
            let mut buckets = BTreeSet::new();
            for minute in (23 * 60 + 52..33 * 60).step_by(10) {
                let now = at("2026-11-19T00:00:00") + SignedDuration::from_mins(minute);
                let local = india().to_datetime(now);
                let mut listed = Vec::new();
                for (row, from) in [(&first, "2026-11-20T00:35:00"), (&second, "2026-11-20T00:36:02")] {
                    listed.extend((now >= at(from)).then(|| row.clone()));
                }
                listed.extend(day.iter().filter(|row| stamp(row) <= local.strftime("%F %T").to_string()).cloned());
                *calls.lock().unwrap() = listed;
                let reading = scene.poll(&local.to_string()).await.unwrap();
                let counted = reading.figures.iter().filter(|figure| figure.amount.as_whole() == Some(1));
                let counted = counted.filter(|figure| figure.family == Family::CampaignAnswered);
                let early = local < date(2026, 11, 20).at(2, 0, 0, 0);
                buckets.extend(counted.map(|figure| format!("{:?}", figure.bucket)));
                assert!(!early || buckets.is_empty(), "{local}: where it began cannot be read");
                assert!(local < date(2026, 11, 20).at(3, 10, 0, 0) || buckets.len() == 1, "{local}: {buckets:?}");
            }
            assert!(buckets.first().unwrap().contains("2026-11-19"), "{buckets:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_is_unanswered_once_no_other_leg_can_come() {
    let now = ["2026-11-20T10:00:30", "2026-11-20T10:05:30", "2026-11-20T10:35:00", "2026-11-20T11:30:00"];
    let start = "2026-11-20T09:59:00";
    for (hung_up, then, expected) in [
        ("UserHangup", None, [(0, 0), (0, 1), (0, 1), (0, 1)]),
        // An agent talks until half past ten, and his leg is not listed before.
        ("", Some(talk(52, 5, "2026-11-20T10:00:01")), [(0, 0), (0, 0), (1, 0), (1, 0)]),
        ("", None, [(0, 0), (0, 0), (0, 1), (0, 1)]),
    ] {
        let calls = Calls::new(Mutex::new(vec![wait(51, 5, start, 1, hung_up)]));
        let mut scene = Scene::over(&calls);
        let mut kept = Kept::default();
        for (now, expected) in now.into_iter().zip(expected) {
            if now == "2026-11-20T10:35:00" {
                calls.lock().unwrap().extend(then.clone());
            }
            kept.add(&scene.poll(now).await.unwrap());
            assert_eq!((kept.answered.len(), kept.unanswered.len()), expected, "{hung_up:?} at {now}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_row_of_a_past_day_costs_a_few_requests_more() {
    let mut costs = Vec::new();
    for minutes in [1, 23 * 60 + 59] {
        let calls = Calls::new(Mutex::new(many(8000, "2026-11-19T00:05:00", 10)));
        calls.lock().unwrap().push(wait(51, 5, "2026-11-19T06:00:00", minutes, "UserHangup"));
        let mut scene = Scene::over(&calls);
        scene.poll("2026-11-19T23:50:00").await.unwrap();
        let (mut kept, mut windows) = (Kept::default(), BTreeSet::new());
        for minute in (0..55).step_by(5) {
            let reading = scene.poll(&format!("2026-11-20T03:{minute:02}:00")).await.unwrap();
            kept.add(&reading);
            windows.extend(reading.windows.into_iter().filter(|(day, _)| *day == date(2026, 11, 19)));
        }
        assert_eq!((windows.len(), kept.unanswered.len()), (96, 1), "all of the day was read");
        costs.push(scene.asked().len());
    }
    assert!(costs[1] <= costs[0] + 9, "{costs:?}");
}

#[tokio::test(start_paused = true)]
async fn a_wait_that_says_it_ends_tomorrow_is_over() {
    for hung_up in ["UserHangup", ""] {
        let calls = Calls::new(Mutex::new(vec![wait(51, 5, "2026-11-20T10:00:00", 23 * 60 + 59, hung_up)]));
        let mut scene = Scene::over(&calls);
        let mut kept = Kept::default();
        let reading = scene.poll("2026-11-20T10:05:00").await.unwrap();
        kept.add(&reading);
        assert_eq!(kept.unanswered.len(), 1, "{hung_up:?}");
        assert!(reading.windows.contains(&(date(2026, 11, 20), 40)), "{hung_up:?}: the window was read");
        assert_eq!(scene.report.density.back(), chunk::MARGIN, "{hung_up:?}: nobody waited");
    }
}

#[tokio::test(start_paused = true)]
async fn the_present_must_be_read_and_a_past_window_may_fail() {
    for (body, reason) in [
        (r#"{"status":"false","message":"userName or apiKey is Invalid"}"#, Reason::Auth),
        (r#"{"status":"success","message":"API rate limit exceeded","details":[]}"#, Reason::RateLimited),
        (r#"{"status":"fail","message":"Invalid fromDate format."}"#, Reason::Config),
        (r#"{"status":"success","details":{}}"#, Reason::Malformed),
        ("<html>", Reason::Malformed),
    ] {
        let mut scene = Scene::new(move |_| body.to_owned());
        assert_eq!(scene.poll("2026-11-20T12:00:00").await.unwrap_err().reason, reason, "{body}");
        assert_eq!(scene.asked().len(), 1);
    }
    let calls = Calls::new(Mutex::new(many(10, "2026-11-20T09:00:00", 30)));
    let mut scene = Scene::over(&calls);
    scene.poll("2026-11-20T23:00:00").await.unwrap();
    let shared = Arc::clone(&calls);
    scene.vendor = Vendor::new(move |asked| {
        let past = asked.parameter("fromDate").starts_with("2026-11-20");
        if past { answer(504, "<html>") } else { answer(200, &list(&shared.lock().unwrap(), asked)) }
    });
    let reading = scene.poll("2026-11-21T05:00:00").await.unwrap();
    assert_eq!((reading.failures[0].reason, reading.verdict()), (Reason::Unavailable, Ok(())));
    assert!(reading.windows.iter().all(|(day, _)| *day == date(2026, 11, 21)));
}

#[tokio::test(start_paused = true)]
async fn older_than_the_vendor_keeps_and_no_data_are_empty_lists() {
    for body in [
        r#"{"status":"success","message":"success","details":[],"totalCount":"0"}"#,
        r#"{"status":"success","message":"success","details":[]}"#,
        r#"{"status":"success","message":"success","details":null,"totalCount":null}"#,
        r#"{"status":"success","message":"success","details":""}"#,
        r#"{"status":"success","message":"success"}"#,
        r#"{"status":"error","message":"No Data Found"}"#,
    ] {
        let mut scene = Scene::new(move |_| body.to_owned());
        let reading = scene.poll("2026-11-20T12:00:00").await.unwrap();
        assert_eq!((reading.read, reading.figures.len(), reading.windows.len()), (1, 0, 41), "{body}");
    }
}
