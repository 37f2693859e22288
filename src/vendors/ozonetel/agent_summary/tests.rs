//! Days of invented agents in the vendor's shape.

use jiff::civil::date;
use serde_json::json;

use super::*;
use crate::failure::Reason;
use crate::ledger::CallQueue;
use crate::vendors::ozonetel::testing::{Asked, Vendor, access, answer};

const GOOD: &str = include_str!("../../../../tests/fixtures/ozonetel/summary.json");
const TODAY: Date = date(2026, 11, 20);
const YESTERDAY: Date = date(2026, 11, 19);

async fn polled(
    days: &[Date],
    respond: impl Fn(&Asked) -> String + Send + Sync + 'static,
) -> (Result<Reading, Failure>, Vec<Asked>) {
    let vendor = Vendor::new(move |asked| answer(200, &respond(asked)));
    let mut report = AgentSummary { access: access(), lane: vendor.lane.clone() };
    let calls = CallQueue::default();
    let poll = Poll { now: "2026-11-20T06:30:00Z".parse().unwrap(), client: &vendor.client, days, calls: &calls };
    let outcome = report.poll(poll).await;
    (outcome, vendor.asked())
}

fn row(changes: &[(&str, Value)]) -> Value {
    let mut body: Value = serde_json::from_str(GOOD).unwrap();
    for (key, value) in changes {
        body["details"][2][*key] = value.clone();
    }
    body["details"][2].clone()
}

fn decode(rows: &[Value]) -> Day {
    Day::decode(&answer(200, &json!({"status": "success", "details": rows}).to_string()), TODAY).unwrap()
}

#[tokio::test(start_paused = true)]
async fn modes_of_an_agent_are_added_up_and_each_day_is_asked_for_by_itself() {
    let (outcome, asked) = polled(&[YESTERDAY, TODAY], |asked| {
        let none = r#"{"status":"error","message":"No Data Found"}"#;
        if asked.parameter("fromDate").starts_with("2026-11-19") { none.to_owned() } else { GOOD.to_owned() }
    })
    .await;
    let bodies: Vec<_> = asked.iter().map(|one| (one.url.path(), one.method.as_str(), one.body.as_str())).collect();
    assert_eq!(
        bodies,
        [
            (
                "/prefix/ca_reports/summaryReport",
                "POST",
                r#"{"fromDate":"2026-11-19 00:00:00","toDate":"2026-11-19 23:59:59","userName":"acme"}"#
            ),
            (
                "/prefix/ca_reports/summaryReport",
                "POST",
                r#"{"fromDate":"2026-11-20 00:00:00","toDate":"2026-11-20 23:59:59","userName":"acme"}"#
            ),
        ]
    );
    let reading = outcome.unwrap();
    // No Data Found is an empty day, although its status is an error.
    assert_eq!(
        (reading.days.as_slice(), reading.read, reading.rows, reading.rejected),
        ([YESTERDAY, TODAY].as_slice(), 2, 4, 1)
    );
    let lines: Vec<_> = reading
        .figures
        .iter()
        .map(|figure| {
            assert_eq!(figure.bucket, Bucket::Day(TODAY));
            format!(
                "{} {} {}",
                figure.entity.label().unwrap().1,
                figure.state.map_or("login", State::name),
                figure.amount
            )
        })
        .collect();
    assert_eq!(
        lines[..6],
        [
            "asha talking 12551",
            "asha ringing 2639",
            "asha ready 3340",
            "asha not_ready 7147",
            "asha after_call_work 6311",
            "asha login 31988"
        ]
    );
    assert_eq!(lines[6], "ravi@demo.example talking 721", "AgentUniqueID is the login id here, often a mail address");
    assert_eq!(lines.len(), 12, "the agent that is None is nobody");
    let labels: Vec<_> = reading.gauges.iter().map(|gauge| gauge.labels.clone()).collect();
    assert_eq!(labels[0], [("agent_name", "Asha Demo".to_owned()), ("agent_id", "370101".to_owned())]);
}

#[test]
fn the_list_may_stand_under_other_names_and_hours_have_any_number_of_digits() {
    for key in ["details", "message", "data"] {
        let body = json!({"status": "success", key: [row(&[])]}).to_string();
        assert_eq!(Day::decode(&answer(200, &body), TODAY).unwrap().rows, 1, "{key}");
        let body = json!({"status": "success", key: row(&[])}).to_string();
        assert_eq!(Day::decode(&answer(200, &body), TODAY).unwrap().rows, 1, "{key}, one object");
    }
    for body in [r#"{"status":"success","details":"x"}"#, r#"{"status":"success"}"#] {
        assert_eq!(Day::decode(&answer(200, body), TODAY).unwrap_err().reason, Reason::Malformed);
    }
    let spelled = decode(&[row(&[("TotalBusyTime", json!("0012:00:01")), ("CallDate", json!(null))])]);
    assert_eq!((spelled.rows, spelled.rejected), (1, 0));
}

#[test]
fn a_row_that_cannot_be_true_is_rejected_alone_and_nothing_is_not_zero() {
    for (key, value) in [
        ("TotalBusyTime", json!("-00:00:01")),
        ("TotalIdleTime", json!("25:00:01")),
        ("TotalPauseTime", json!("soon")),
        ("TotalLoginDuration", json!({})),
        ("CallDate", json!("2026-11-19")),
        ("CallDate", json!("today")),
    ] {
        let day = decode(&[row(&[(key, value.clone())]), row(&[("AgentUniqueID", json!("b"))]), json!([]), json!(7)]);
        assert_eq!((day.rows, day.rejected), (1, 3), "{key} {value}");
    }
    for nothing in [json!(""), json!(null), json!("None"), json!("-")] {
        let day = decode(&[row(&[("TotalPauseTime", nothing)])]);
        let agent = day.agents.values().next().unwrap();
        assert_eq!((agent.times[3], agent.times[0]), (None, Some(Amount::whole(721))));
    }
}

#[tokio::test(start_paused = true)]
async fn a_past_day_may_fail_and_today_may_not() {
    let bad = |day: &'static str, body: &'static str| {
        move |asked: &Asked| {
            if asked.parameter("fromDate").starts_with(day) { body.to_owned() } else { GOOD.to_owned() }
        }
    };
    let days = [YESTERDAY, TODAY];
    let (outcome, _) = polled(&days, bad("2026-11-19", "<html>")).await;
    let reading = outcome.unwrap();
    assert_eq!((reading.days.as_slice(), reading.failures.len(), reading.verdict()), ([TODAY].as_slice(), 1, Ok(())));
    let (outcome, _) = polled(&days, bad("2026-11-20", "<html>")).await;
    assert_eq!(outcome.unwrap_err().reason, Reason::Malformed);
    let (outcome, _) = polled(&days, bad("2026-11-20", r#"{"status":"success","details":[7]}"#)).await;
    assert_eq!(outcome.unwrap().verdict().unwrap_err().reason, Reason::Malformed);
    for (body, reason) in [
        (r#"{"status":"error","message":"max limit exceeded"}"#, Reason::RateLimited),
        (r#"{"status":"error","message":"userName or apiKey is Invalid"}"#, Reason::Auth),
    ] {
        let (outcome, asked) = polled(&days, bad("2026-11-19", body)).await;
        assert_eq!((outcome.unwrap_err().reason, asked.len()), (reason, 1));
    }
}
