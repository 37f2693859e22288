use jiff::SignedDuration;

use super::*;
use crate::simulator::{times, truth};

const AHT: &str = "/CAServices/AgentDetails/AHT.php";
const CDR: &str = "/CAServices/CDR/CallBacks.php";

async fn no_limits() -> (Simulator, Clock) {
    simulator(|options| options.limits = None).await
}

/// A v1 request; `KEY` stands for the real one.
async fn v1(simulator: &Simulator, path: &str, query: &str) -> (u16, Value) {
    let query = query.replace("KEY", &simulator.credentials().ozonetel_api_key);
    send(client().get(format!("{}{path}?{query}", simulator.url(Vendor::Ozonetel)))).await
}

async fn v2(simulator: &Simulator, method: Method, path: &str, body: Value) -> (u16, Value) {
    let request = client().request(method, format!("{}{path}", simulator.url(Vendor::Ozonetel)));
    let request = request.header("apiKey", simulator.credentials().ozonetel_api_key);
    send(request.header("Content-Type", "application/json").body(body.to_string())).await
}

async fn cdr(simulator: &Simulator, ucid: &str, day: Date) -> (u16, Value) {
    let (from, to) = (format!("{day} 00:00:00"), format!("{day} 23:59:59"));
    let body = json!({ "userName": "acme", "ucid": ucid, "fromDate": from, "toDate": to });
    v2(simulator, Method::GET, "/ca_reports/fetchCdrByUCID", body).await
}

#[tokio::test]
async fn every_documented_error_of_the_old_apis() {
    let (simulator, _clock) = no_limits().await;
    let cases = [
        (AHT, "apiKey=KEY&agentId=asha", "userName should not be empty"),
        (AHT, "userName=acme&agentId=asha", "apiKey should not be empty"),
        (
            AHT,
            "userName=acme&apiKey=KEY&agentId=asha&campaignName=sales",
            "Both agentId and campaignName cannot be passed at a time",
        ),
        (AHT, "userName=acme&apiKey=KEY&agentId=&campaignName=", "Both agentId and campaignName cannot be empty"),
        (AHT, "userName=acme&apiKey=x&agentId=asha", "userName or apiKey is Invalid"),
        (AHT, "userName=acme&apiKey=KEY&agentId=nobody", "agentId is Invalid"),
        (AHT, "userName=acme&apiKey=KEY&campaignName=nothing", "campaignName is Invalid"),
        (CDR, "apiKey=KEY&ucid=1&reportType=historical", "userName should not be empty"),
        (CDR, "userName=acme&ucid=1&reportType=historical", "apiKey should not be empty"),
        (CDR, "userName=acme&apiKey=KEY&reportType=historical", "ucid should not be empty"),
        (CDR, "userName=acme&apiKey=KEY&ucid=1", "reportType should not be empty"),
        (CDR, "userName=acme&apiKey=KEY&ucid=1&reportType=live", "Invalid reportType"),
        (CDR, "userName=acme&apiKey=KEY&ucid=1a&reportType=historical", "ucid should be numeric only"),
        (CDR, "userName=other&apiKey=KEY&ucid=1&reportType=historical", "userName or apiKey is Invalid"),
    ];
    for (path, query, message) in cases {
        assert_eq!(
            v1(&simulator, path, query).await,
            (200, json!({ "status": "error", "message": message })),
            "{query}"
        );
    }
    let (_, body) = v1(&simulator, CDR, "userName=acme&apiKey=KEY&ucid=17&reportType=historical").await;
    assert_eq!(body, json!({ "status": "success", "message": "No Data Found with UCID 17" }));
}

#[tokio::test]
async fn rate_limits_are_those_of_the_documents() {
    let (simulator, clock) = simulator(|_| ()).await;
    let mut limited = 0;
    for _ in 0..52 {
        let (_, body) = v1(&simulator, AHT, "userName=acme&apiKey=KEY&agentId=asha").await;
        limited += usize::from(body["message"] == "max limit exceeded");
    }
    assert_eq!(limited, 2);
    let today = times::day(now(&clock), IST);
    let statuses = [cdr(&simulator, "1", today).await.0, cdr(&simulator, "1", today).await.0];
    assert_eq!((statuses, cdr(&simulator, "1", today).await.0), ([200, 200], 429));
}

#[tokio::test]
async fn average_handle_time_is_that_of_the_last_two_hours() {
    let (simulator, clock) = no_limits().await;
    let truth = simulator.truth();
    let (mut some, mut none) = (0, 0);
    for agent in truth.agents(Vendor::Ozonetel) {
        let expected = truth.average_handle_time(Some(agent.index), None, now(&clock)).map(times::duration);
        *(if expected.is_some() { &mut some } else { &mut none }) += 1;
        let expected = expected.unwrap_or_else(|| "None".to_owned());
        let (_, old) = v1(&simulator, AHT, &format!("userName=acme&apiKey=KEY&agentId={}", agent.key)).await;
        assert_eq!((&old["status"], &old["message"]["AHT"]), (&json!("success"), &json!(expected)));
        for method in [Method::GET, Method::POST] {
            let body = json!({ "userName": "acme", "agentId": agent.key });
            assert_eq!(v2(&simulator, method, "/ca_apis/aht", body).await.1, old);
        }
    }
    assert!(some >= 3 && none >= 1, "{some} {none}");
    let (_, sales) = v1(&simulator, AHT, "userName=acme&apiKey=KEY&campaignName=sales").await;
    let expected = truth.average_handle_time(None, Some(0), now(&clock)).map(times::duration);
    assert_eq!(sales["message"]["AHT"].as_str().map(str::to_owned), expected);
    let (_, called) = v1(&simulator, AHT, "userName=acme&apiKey=KEY&campaignName=support").await;
    assert_eq!(called["message"], json!({ "CampaignID": "5103", "CampaignName": "support", "AHT": "None" }));
}

#[tokio::test]
async fn the_new_cdr_wants_a_get_with_a_json_body() {
    let (simulator, clock) = no_limits().await;
    let path = "/ca_reports/fetchCdrByUCID";
    let url = format!("{}{path}", simulator.url(Vendor::Ozonetel));
    let (status, body) = send(client().get(format!("{url}?userName=acme&ucid=1")).header("apiKey", "x")).await;
    assert_eq!((status, &body["message"]), (200, &json!("Invalid Json Pass Valid Json")));
    let bearer = client().get(&url).header("Authorization", "Bearer x").body(r#"{"userName":"acme"}"#);
    assert_eq!(send(bearer).await, (401, json!({ "status": "false", "message": "Missing userName or apiKey" })));
    assert_eq!(v2(&simulator, Method::POST, path, json!({})).await.0, 405);

    let today = times::day(now(&clock), IST);
    let cases = [
        (json!({ "userName": "other" }), 401, "userName or apiKey is Invalid"),
        (json!({ "userName": "acme", "ucid": "1" }), 200, "Missing fromDate and toDate"),
        (
            json!({ "userName": "acme", "ucid": "1", "fromDate": "20-11-2026", "toDate": format!("{today} 23:59:59") }),
            200,
            "Invalid fromDate format. Please pass the date in the format yyyy-MM-dd HH:mm:ss",
        ),
        (
            json!({ "userName": "acme", "ucid": "1", "fromDate": "2026-12-01 00:00:00", "toDate": "2026-12-01 23:59:59" }),
            200,
            "fromDate and toDate should not be future date",
        ),
    ];
    for (body, status, message) in cases {
        let (got, answer) = v2(&simulator, Method::GET, path, body).await;
        assert_eq!((got, &answer["message"]), (status, &json!(message)));
    }
}

#[tokio::test]
async fn legs_tell_the_whole_call() {
    let (simulator, clock) = no_limits().await;
    let truth = simulator.truth();
    let now = clock.now();
    let listed = simulator.ozonetel_ucids(now - SignedDuration::from_hours(2), now);
    assert!(listed.len() > 100);
    let mut most = 0;
    for (ucid, day) in listed.iter().step_by(3) {
        assert!(ucid.parse::<u64>().unwrap() > 1 << 53);
        let (status, body) = cdr(&simulator, ucid, *day).await;
        assert_eq!((status, &body["status"]), (200, &json!("success")));
        let legs = body["details"].as_array().unwrap();
        let call = ozonetel_call(truth, ucid);
        assert!(!legs.is_empty() && legs.iter().all(|leg| leg.as_object().unwrap().len() == 46));
        assert!(legs.iter().all(|leg| leg["CallID"] == *ucid && leg["CallDate"] == day.to_string()));
        let answered: Vec<_> = legs.iter().filter(|leg| leg["Status"] == "Answered").collect();
        assert_eq!(answered.len(), usize::from(call.answered));
        if let Some(leg) = answered.first() {
            assert_eq!(leg["TalkTime"], times::duration(call.talk.into()));
            assert_eq!(leg["TimeToAnswer"], times::duration(call.ring.into()));
            assert_eq!(leg["WrapupDuration"], times::duration(call.wrap_up_by(now.as_second()).into()));
        }
        let dials = legs.iter().filter(|leg| leg["AgentID"] != "").count();
        assert_eq!(dials, 1 + usize::from(call.missed > 0));
        if call.direction == Direction::Out {
            assert_eq!((legs.len(), &legs[0]["UCID"]), (1, &json!(ucid)));
        } else {
            let leg = legs[0]["UCID"].as_str().unwrap();
            assert_ne!(leg, ucid);
            assert_eq!(cdr(&simulator, leg, *day).await.1, body, "a leg's id finds its call");
        }
        most = most.max(legs.len());
    }
    assert!(most >= 3, "some calls have several legs");
}

fn ozonetel_call(truth: &Truth, ucid: &str) -> truth::Call {
    let number: u64 = ucid.parse().unwrap();
    let rest = (number - 30_000_000_000_000_000) / 10;
    let (shift, agent) = (rest / 100_000_000, rest / 1000 % 100_000);
    truth.shift(Vendor::Ozonetel, agent.try_into().unwrap(), shift.try_into().unwrap())
        [usize::try_from(rest % 1000).unwrap()]
}

#[tokio::test]
async fn yesterday_is_readable_from_three_in_the_morning_and_for_fifteen_days() {
    let (simulator, clock) = no_limits().await;
    // An hour before midnight in India.
    let evening: Timestamp = "2026-11-19T17:30:00Z".parse().unwrap();
    let listed = simulator.ozonetel_ucids(evening - SignedDuration::from_mins(30), evening);
    let (ucid, day) = listed.last().unwrap();
    let query = format!("userName=acme&apiKey=KEY&ucid={ucid}&reportType=historical");
    let none = json!(format!("No Data Found with UCID {ucid}"));
    // (UTC, old API, new API)
    for (at, old, new) in [
        ("2026-11-19T10:00:00Z", false, false), // not yet begun
        ("2026-11-19T17:30:00Z", false, true),  // its own day
        ("2026-11-19T20:00:00Z", false, false), // 01:30, on its way
        ("2026-11-19T21:29:59Z", false, false), // 02:59:59
        ("2026-11-19T21:30:00Z", true, true),   // 03:00
        ("2026-12-04T12:00:00Z", true, true),   // the 15th day
        ("2026-12-04T18:30:00Z", false, false), // the 16th
    ] {
        clock.set(at.parse().unwrap());
        let (_, body) = v1(&simulator, CDR, &query).await;
        assert_eq!(body["status"], "success");
        assert_eq!(body["message"].is_array(), old, "old API at {at}: {body}");
        assert!(old || body["message"] == none);
        let rows = cdr(&simulator, ucid, *day).await.1["details"].as_array().map_or(0, Vec::len);
        assert_eq!(rows > 0, new, "new API at {at}");
    }
    clock.set("2026-11-20T10:00:00Z".parse().unwrap());
    let (_, body) = v1(&simulator, CDR, &query).await;
    let row = body["message"][0].as_object().unwrap();
    assert_eq!(row.len(), 38);
    assert_eq!((&row["monitorUCID"], &row["CallCompleted"]), (&json!(ucid), &json!("TRUE")));
}

const PAGES: &str = "/ca_reports/fetchCdrByPagination";
const SUMMARY: &str = "/ca_reports/summaryReport";

async fn page(simulator: &Simulator, number: usize, from: &str, to: &str) -> (u16, Value) {
    let path = format!("{PAGES}?pageNo={number}&pageSize=500");
    v2(simulator, Method::GET, &path, json!({ "userName": "acme", "fromDate": from, "toDate": to })).await
}

#[tokio::test]
async fn pages_hold_every_leg_of_the_day_newest_first() {
    let (simulator, clock) = no_limits().await;
    let (from, to) = ("2026-11-20 00:00:00", "2026-11-20 23:59:59");
    let (mut rows, mut number) = (Vec::new(), 1);
    loop {
        let (status, body) = page(&simulator, number, from, to).await;
        assert_eq!((status, &body["status"]), (200, &json!("success")));
        let details = body["details"].as_array().unwrap().clone();
        assert!(details.len() <= 500 && body["totalCount"].is_string(), "counts are strings");
        number += 1;
        if details.is_empty() {
            break;
        }
        rows.extend(details);
    }
    assert!(number > 3, "{number}");
    let starts: Vec<_> = rows.iter().map(|row| row["StartTime"].as_str().unwrap().to_owned()).collect();
    assert!(starts.is_sorted_by(|a, b| a >= b));
    let midnight = times::parse_stamp(from, IST).unwrap();
    let mut calls = simulator.truth().calls(Vendor::Ozonetel, &(midnight..now(&clock) + 1));
    calls.retain(|call| call.end() <= now(&clock));
    let ids: std::collections::BTreeSet<_> = rows.iter().map(|row| row["CallID"].as_str().unwrap()).collect();
    assert!(ids.len() >= calls.len() && ids.len() <= calls.len() + 10, "but for the system's legs after midnight");
    for (from, to) in [("2026-11-19 12:00:00", "2026-11-20 12:00:00"), ("2026-11-04 00:00:00", "2026-11-04 23:59:59")] {
        let (_, body) = page(&simulator, 1, from, to).await;
        assert_eq!(
            (&body["details"], &body["totalCount"]),
            (&json!([]), &json!("0")),
            "over midnight, or too old: nothing"
        );
    }
    assert_eq!(page(&simulator, 1, "", to).await.1["message"], "Missing fromDate and toDate");
    assert_eq!(v2(&simulator, Method::POST, PAGES, json!({})).await.0, 405);
    clock.set("2026-11-20T20:00:00Z".parse().unwrap());
    assert_eq!(page(&simulator, 1, from, to).await.1["totalCount"], "0", "on its way to the historical store");
}

#[tokio::test]
async fn the_summary_adds_up() {
    let (simulator, _clock) = no_limits().await;
    let body = |from: &str, to: &str| json!({ "userName": "acme", "fromDate": from, "toDate": to });
    let today = body("2026-11-20 00:00:00", "2026-11-20 23:59:59");
    let (_, answer) = v2(&simulator, Method::POST, SUMMARY, today.clone()).await;
    assert_eq!(v2(&simulator, Method::GET, SUMMARY, today).await.1, answer);
    let rows = answer["details"].as_array().unwrap();
    let seconds = |row: &Value, key: &str| {
        let parts: Vec<u64> = row[key].as_str().unwrap().split(':').map(|part| part.parse().unwrap()).collect();
        parts.into_iter().fold(0, |sum, part| sum * 60 + part)
    };
    assert!(rows.len() > 10);
    for row in rows {
        let parts = ["TotalBusyTime", "TotalDialTime", "TotalIdleTime", "TotalPauseTime", "TotalWrapupTime"];
        assert_eq!(parts.iter().map(|key| seconds(row, key)).sum::<u64>(), seconds(row, "TotalLoginDuration"));
    }
    for (from, to, message) in [
        ("2026-11-20", "2026-11-20", "From and To Date should be in yyyy-mm-dd HH:mm:ss Format"),
        ("2026-11-20 01:00:00", "2026-11-20 00:00:00", "From Date Should not be Greater than To Date"),
        (
            "2026-10-01 00:00:00",
            "2026-11-20 00:00:00",
            "Difference Between From and To date should not be Greater than 30 Days",
        ),
        ("2026-11-21 00:00:00", "2026-11-21 23:59:59", "No Data Found"),
    ] {
        let (status, answer) = v2(&simulator, Method::POST, SUMMARY, body(from, to)).await;
        assert_eq!((status, &answer["status"], &answer["message"]), (200, &json!("error"), &json!(message)));
    }
}

#[tokio::test]
async fn a_new_token_kills_the_old_and_ten_are_made_in_an_hour() {
    let (simulator, clock) = simulator(|options| options.ozonetel_token = true).await;
    let make = async || {
        let (_, body) =
            v2(&simulator, Method::POST, "/ca_apis/CAToken/generateToken", json!({ "userName": "acme" })).await;
        body["token"].as_str().map(str::to_owned)
    };
    let ask = async |token: &str| {
        let request = client().get(format!("{}/ca_apis/aht", simulator.url(Vendor::Ozonetel)));
        let request = request.header("Authorization", format!("Bearer {token}"));
        send(request.body(json!({ "userName": "acme", "agentId": "asha" }).to_string())).await
    };
    let (first, second) = (make().await.unwrap(), make().await.unwrap());
    let refused = |message| (401, json!({ "status": "false", "message": message, "data": null }));
    assert_eq!(ask(&first).await, refused("Invalid Token"));
    assert_eq!(ask("").await, refused("Token Should Not be Null or Empty."));
    assert_eq!(ask(&second).await.0, 200);
    clock.set(clock.now() + SignedDuration::from_mins(60));
    assert_eq!(ask(&second).await, refused("Token Expired"));
    let mut tokens = 2;
    while make().await.is_some() {
        tokens += 1;
    }
    assert_eq!(tokens, 10);
}
