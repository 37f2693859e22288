//! Records of invented calls in the vendor's shape.

use jiff::civil::date;
use serde_json::json;

use super::*;
use crate::failure::Reason;
use crate::vendors::ozonetel::testing::answer;

const INBOUND: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v2_inbound.json");
const OUTBOUND: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v2_outbound.json");
const V1: &str = include_str!("../../../../tests/fixtures/ozonetel/cdr_v1.json");

fn legs(body: &str, api: Api) -> (Vec<Leg>, u64) {
    match Record::decode(&answer(200, body), api) {
        Ok(Record::Legs(legs, rejected)) => (legs, rejected),
        other => panic!("{other:?}"),
    }
}

fn reading(body: &str, api: Api) -> Reading {
    let mut reading = Reading::default();
    count(&legs(body, api).0, &mut reading);
    reading
}

/// `family entity value`, in the order of the family names.
fn figures(reading: &Reading) -> Vec<String> {
    let mut lines: Vec<_> = reading
        .figures
        .iter()
        .map(|figure| (figure.family, &figure.entity, figure.amount))
        .chain(reading.observations.iter().map(|one| (one.family, &one.entity, one.amount)))
        .map(|(family, entity, amount)| {
            format!("{} {} {amount}", family.spec().name, entity.label().map_or("", |(_, key)| key))
        })
        .collect();
    lines.sort();
    lines
}

/// The v2 outbound fixture with some fields of its row replaced.
fn outbound_with(changes: &[(&str, Value)]) -> String {
    let mut body: Value = serde_json::from_str(OUTBOUND).expect("the fixture");
    for (key, value) in changes {
        body["details"][0][*key] = value.clone();
    }
    body.to_string()
}

fn v1_with(changes: &[(&str, Value)]) -> Value {
    let mut body: Value = serde_json::from_str(V1).expect("the fixture");
    for (key, value) in changes {
        body["message"][0][*key] = value.clone();
    }
    body["message"][0].clone()
}

#[test]
fn legs_count_for_agents_and_calls_for_campaigns() {
    assert_eq!(
        figures(&reading(INBOUND, Api::V2)),
        [
            "agent_after_call_work_seconds_total asha 15",
            "agent_after_call_work_seconds_total ravi 5",
            "agent_answered_calls_total asha 1",
            "agent_answered_calls_total ravi 0",
            "agent_handle_seconds_total asha 215",
            "agent_handled_calls_total asha 1",
            "agent_handled_calls_total ravi 0",
            "agent_hold_seconds_total asha 20",
            "agent_hold_seconds_total ravi 0",
            "agent_ring_seconds_total asha 12",
            "agent_talk_seconds_total asha 180",
            "agent_unanswered_calls_total asha 0",
            "agent_unanswered_calls_total ravi 1",
            "campaign_answered_calls_total Demo_Inbound 1",
            "campaign_talk_time_seconds Demo_Inbound 180",
            // From 23:58:30 to 00:00:08 of the next day.
            "campaign_time_to_answer_seconds Demo_Inbound 98",
            "campaign_unanswered_calls_total Demo_Inbound 0",
        ]
    );
}

#[test]
fn ids_beyond_2_53_keep_their_digits_and_days_are_those_of_the_vendor() {
    let reading = reading(INBOUND, Api::V2);
    let buckets: BTreeSet<_> = reading
        .figures
        .iter()
        .filter_map(|figure| match &figure.bucket {
            Bucket::Call { day, id } => Some((*day, id.expose())),
            _ => None,
        })
        .collect();
    let day = date(2026, 11, 19);
    let expected = [(day, "41571870688636585"), (day, "41571870688636700"), (day, "41571870688636701")];
    assert_eq!(buckets.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn other_types_are_outbound_and_spelling_does_not_matter() {
    let outbound = [
        "agent_after_call_work_seconds_total asha 51",
        "agent_handle_seconds_total asha 99",
        "agent_handled_calls_total asha 1",
        "agent_hold_seconds_total asha 0",
        "agent_outbound_calls_total asha 1",
        "agent_outbound_connected_calls_total asha 1",
        "agent_ring_seconds_total asha 14",
        "agent_talk_seconds_total asha 48",
        "campaign_outbound_calls_total Demo_Outbound 1",
        "campaign_outbound_connected_calls_total Demo_Outbound 1",
        "campaign_talk_time_seconds Demo_Outbound 48",
        "campaign_time_to_answer_seconds Demo_Outbound 14",
    ];
    for (kind, status) in [("Manual", "Answered"), ("progressive", "ANSWERED"), ("Predictive", "answered")] {
        let body = outbound_with(&[("Type", json!(kind)), ("Status", json!(status))]);
        assert_eq!(figures(&reading(&body, Api::V2)), outbound, "{kind} {status}");
    }
}

#[test]
fn an_unanswered_leg_has_neither_talk_nor_ring_and_its_call_no_observation() {
    let body = outbound_with(&[
        ("Status", json!("NotAnswered")),
        ("TimeToAnswer", json!("00:00:31")),
        ("TalkTime", json!("00:00:00")),
    ]);
    assert_eq!(
        figures(&reading(&body, Api::V2)),
        [
            "agent_after_call_work_seconds_total asha 51",
            "agent_handled_calls_total asha 0",
            "agent_hold_seconds_total asha 0",
            "agent_outbound_calls_total asha 1",
            "agent_outbound_connected_calls_total asha 0",
            "campaign_outbound_calls_total Demo_Outbound 1",
            "campaign_outbound_connected_calls_total Demo_Outbound 0",
        ]
    );
}

#[test]
fn a_key_that_says_nothing_feeds_no_family() {
    for nobody in [json!(""), json!(null), json!("None")] {
        let body = outbound_with(&[("AgentID", nobody.clone()), ("CampaignName", nobody)]);
        assert!(figures(&reading(&body, Api::V2)).is_empty());
    }
}

#[test]
fn v1_has_talk_but_neither_hold_nor_wrap_up_nor_handle_time() {
    assert_eq!(
        figures(&reading(V1, Api::V1)),
        [
            "agent_handled_calls_total asha 1",
            "agent_outbound_calls_total asha 1",
            "agent_outbound_connected_calls_total asha 1",
            "agent_ring_seconds_total asha 11",
            "agent_talk_seconds_total asha 286",
            "campaign_outbound_calls_total Demo_Outbound 1",
            "campaign_outbound_connected_calls_total Demo_Outbound 1",
            "campaign_talk_time_seconds Demo_Outbound 286",
            "campaign_time_to_answer_seconds Demo_Outbound 11",
        ]
    );
}

#[test]
fn v1_rows_of_one_call_are_legs_of_their_own() {
    let later = v1_with(&[("StartTime", json!("2026-11-19 10:36:00")), ("AgentID", json!("ravi"))]);
    let body = json!({"status": "success", "message": [later, v1_with(&[]), v1_with(&[])]}).to_string();
    let (legs, rejected) = legs(&body, Api::V1);
    assert_eq!((legs.len(), rejected), (2, 0), "the row that came twice is one leg");
    let mut reading = Reading::default();
    count(&legs, &mut reading);
    assert_eq!(reading.observations.len(), 2);
    assert_eq!(reading.observations[0].amount, Amount::whole(2 * 286));
}

#[test]
fn a_call_that_goes_on_counts_nothing_yet() {
    let body = |row| json!({"status": "success", "message": [v1_with(&[]), row]}).to_string();
    for (body, api) in [
        (body(v1_with(&[("CallCompleted", json!("FALSE"))])), Api::V1),
        (body(v1_with(&[("CallCompleted", json!(null))])), Api::V1),
        (outbound_with(&[("EndTime", json!(""))]), Api::V2),
        (outbound_with(&[("EndTime", json!(null)), ("TalkTime", json!("nonsense"))]), Api::V2),
    ] {
        assert!(matches!(Record::decode(&answer(200, &body), api), Ok(Record::Open)), "{body}");
    }
}

#[test]
fn no_data_is_a_text_or_an_empty_list() {
    for (body, api) in [
        (r#"{"status":"success","message":"No Data Found with UCID 100200300"}"#, Api::V1),
        (r#"{"status":"success","message":[]}"#, Api::V1),
        (r#"{"status":"success","message":"success","details":[]}"#, Api::V2),
        (r#"{"status":"success","message":"No Data Found","details":null}"#, Api::V2),
        // How the new API writes it is not known.
        (r#"{"status":"success","message":"success","details":null}"#, Api::V2),
        (r#"{"status":"success","message":"success","details":""}"#, Api::V2),
        (r#"{"status":"success","message":"success"}"#, Api::V2),
    ] {
        assert!(matches!(Record::decode(&answer(200, body), api), Ok(Record::NoData)), "{body}");
    }
    for (body, api) in [
        (r#"{"status":"success","message":"fine"}"#, Api::V1),
        (r#"{"status":"success","message":"success"}"#, Api::V1),
        (r#"{"status":"success","message":"please try later"}"#, Api::V2),
        (r#"{"status":"success","message":"success","details":"later"}"#, Api::V2),
        (r#"{"status":"success","details":{}}"#, Api::V2),
    ] {
        let failed = Record::decode(&answer(200, body), api).map_err(|failure| failure.reason);
        assert!(matches!(failed, Err(Reason::Malformed)), "{body}");
    }
}

#[test]
fn a_leg_that_cannot_be_true_is_rejected_alone() {
    let good: Value = serde_json::from_str(OUTBOUND).expect("the fixture");
    for (key, value) in [
        ("TalkTime", json!("24:00:01")),
        ("TalkTime", json!("-00:00:48")),
        ("TalkTime", json!("soon")),
        ("TalkTime", json!({})),
        ("HoldDuration", json!("00:61:00")),
        ("WrapupDuration", json!(-5)),
        ("TimeToAnswer", json!("1:2:3")),
        ("Duration", json!("99:59:59")),
        ("StartTime", json!("")),
        ("StartTime", json!("25:00:00")),
        ("EndTime", json!("later")),
        ("PickupTime", json!("later")),
        ("CallDate", json!("None")),
        ("CallID", json!("")),
        ("UCID", json!(null)),
        ("Type", json!("")),
    ] {
        let bad = outbound_with(&[("UCID", json!("7")), (key, value.clone())]);
        let bad: Value = serde_json::from_str(&bad).expect("JSON");
        let mut both = good.clone();
        both["details"] = json!([bad["details"][0], good["details"][0], "no row"]);
        let (legs, rejected) = legs(&both.to_string(), Api::V2);
        assert_eq!((legs.len(), rejected), (1, 2), "{key} {value}");
    }
}

#[test]
fn absent_durations_are_no_figures() {
    let nothing = json!(null);
    let body = outbound_with(&[
        ("HoldDuration", nothing.clone()),
        ("WrapupDuration", json!("None")),
        ("TimeToAnswer", json!("")),
        ("PickupTime", nothing),
    ]);
    let lines = figures(&reading(&body, Api::V2));
    assert!(lines.contains(&"agent_handle_seconds_total asha 48".to_owned()), "{lines:?}");
    for absent in ["hold", "after_call_work", "ring", "time_to_answer"] {
        assert!(!lines.iter().any(|line| line.contains(absent)), "{absent} in {lines:?}");
    }
}

/// Unanswered inbound legs of one call that begin at these times, each with an id of its own.
fn missed(starts: &[&str]) -> Vec<Value> {
    let row = |(place, start): (usize, &&str)| {
        let mut row: Value = serde_json::from_str(OUTBOUND).expect("the fixture");
        let row = row["details"][0].take();
        let mut row = row.as_object().cloned().expect("a row");
        for (key, value) in [
            ("UCID", format!("4157187068863670{place}")),
            ("StartTime", (*start).to_owned()),
            ("EndTime", (*start).to_owned()),
            ("PickupTime", String::new()),
            ("TalkTime", "00:00:00".to_owned()),
            ("Type", "Inbound".to_owned()),
            ("Status", "Unanswered".to_owned()),
            ("DialStatus", "InvalidNumber".to_owned()),
        ] {
            row.insert(key.to_owned(), value.into());
        }
        Value::Object(row)
    };
    starts.iter().enumerate().map(row).collect()
}

fn value_of(rows: &[Value], figure: &str) -> u64 {
    let body = json!({"status": "success", "message": "success", "details": rows}).to_string();
    let lines = figures(&reading(&body, Api::V2));
    let values = lines.iter().filter_map(|line| line.strip_prefix(figure)?.rsplit_once(' ')?.1.parse::<u64>().ok());
    values.sum()
}

#[test]
fn a_broken_phone_is_a_dozen_legs_a_second_apart_and_one_call() {
    let starts: Vec<_> = (10..22).map(|second| format!("10:00:{second}")).collect();
    let rows = missed(&starts.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(value_of(&rows, "agent_unanswered_calls_total"), 12);
    assert_eq!(value_of(&rows, "campaign_unanswered_calls_total"), 1);
}

#[test]
fn two_legs_in_the_same_second_are_two() {
    let rows = missed(&["10:00:10", "10:00:10"]);
    assert_eq!(value_of(&rows, "agent_unanswered_calls_total"), 2);
    assert_eq!(value_of(&rows, "campaign_unanswered_calls_total"), 1);
}

#[test]
fn legs_of_a_call_more_than_half_an_hour_apart_are_one_call() {
    let mut rows = missed(&["10:00:00", "10:55:00"]);
    for (key, value) in [("Status", "Answered"), ("PickupTime", "10:55:09"), ("TalkTime", "00:01:00")] {
        rows[1][key] = value.into();
    }
    for newest_first in [false, true] {
        if newest_first {
            rows.reverse();
        }
        assert_eq!(value_of(&rows, "campaign_answered_calls_total"), 1);
        assert_eq!(value_of(&rows, "campaign_unanswered_calls_total"), 0);
        assert_eq!(value_of(&rows, "campaign_time_to_answer_seconds"), 55 * 60 + 9);
    }
}

#[test]
fn a_47th_key_changes_nothing() {
    let with = outbound_with(&[("DialCount", json!("3"))]);
    assert_eq!(serde_json::from_str::<Value>(&with).unwrap()["details"][0].as_object().unwrap().len(), 47);
    assert_eq!(reading(&with, Api::V2), reading(OUTBOUND, Api::V2));
}

#[test]
fn a_pick_up_before_the_start_of_its_leg_is_one_of_the_next_day() {
    let body = outbound_with(&[
        ("StartTime", json!("23:59:58")),
        ("PickupTime", json!("00:00:10")),
        ("EndTime", json!("00:00:58")),
    ]);
    let lines = figures(&reading(&body, Api::V2));
    assert!(lines.contains(&"campaign_time_to_answer_seconds Demo_Outbound 12".to_owned()), "{lines:?}");
}

#[test]
fn nothing_that_prints_names_a_call() {
    for (body, api) in [(INBOUND, Api::V2), (V1, Api::V1)] {
        let record = Record::decode(&answer(200, body), api);
        let print = format!("{record:?} {:?}", reading(body, api));
        assert!(!print.contains("4157187") && !print.contains("0990000"), "{print}");
    }
}
