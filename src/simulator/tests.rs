//! One request per documented answer, sent by an ordinary HTTP client.

use std::sync::LazyLock;

use jsonwebtoken::{Algorithm, EncodingKey, Header};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

use super::truth::{DAY, Direction, Figures, IST, Session};
use super::*;

mod ozonetel;
mod voximplant;

const NOON: &str = "2026-11-20T10:00:00Z";

async fn simulator(change: impl FnOnce(&mut Options)) -> (Simulator, Clock) {
    let clock = Clock::manual(NOON.parse().unwrap());
    let mut options = Options::new(clock.clone());
    change(&mut options);
    (Simulator::start(options).await.unwrap(), clock)
}

/// One client for all tests, as making one is slow; without a pool, as connections belong to a test's own runtime.
fn client() -> &'static Client {
    static CLIENT: LazyLock<Client> =
        LazyLock::new(|| Client::builder().pool_max_idle_per_host(0).no_proxy().build().unwrap());
    &CLIENT
}

/// Status and JSON body; null if it is none.
async fn send(request: RequestBuilder) -> (u16, Value) {
    let response = request.send().await.unwrap();
    let status = response.status().as_u16();
    (status, serde_json::from_slice(&response.bytes().await.unwrap()).unwrap_or(Value::Null))
}

fn now(clock: &Clock) -> i64 {
    clock.now().as_second()
}

// --- Huawei

fn statistics(simulator: &Simulator, id: &str, guid: &str) -> RequestBuilder {
    let url = format!("{}/agentgateway/resource/calldata/{id}/statisticsEx", simulator.url(Vendor::Huawei));
    client().get(url).header("Content-Type", "application/json; charset=UTF-8").header("Guid", guid)
}

#[tokio::test]
async fn huawei_counts_since_sign_in() {
    let (simulator, clock) = simulator(|_| ()).await;
    let guids: Value = serde_json::from_str(&simulator.credentials().huawei_guids).unwrap();
    let no_right = json!({ "message": "no right to invite resouce", "result": "", "retcode": "000-003" });
    let signed_out = json!({ "message": "agent not login", "result": "", "retcode": "100-006" });
    let mut on = 0;
    for agent in simulator.truth().agents(Vendor::Huawei) {
        let guid = guids[&agent.key].as_str().unwrap();
        let (status, body) = send(statistics(&simulator, &agent.key, guid)).await;
        assert_eq!(status, 200);
        assert_eq!(send(statistics(&simulator, &agent.key, &format!("JSESSIONID={guid}"))).await.1, body);
        assert_eq!(send(statistics(&simulator, &agent.key, "wrong")).await, (200, no_right.clone()));
        match simulator.truth().session(agent.index, now(&clock)) {
            None => assert_eq!(body, signed_out),
            Some(Session { figures, .. }) => {
                on += 1;
                let result = json!({
                    "talktime": figures.talk, "answernums": figures.answered, "calloutnums": figures.outbound,
                });
                assert_eq!(body, json!({ "message": "", "retcode": "0", "result": result }));
            }
        }
    }
    assert!((3..=7).contains(&on), "{on} of ten are signed in");
    assert_eq!(send(statistics(&simulator, "999999", "x")).await.1, signed_out);

    let old = guids["101"].as_str().unwrap();
    simulator.rotate_guids();
    assert_eq!(send(statistics(&simulator, "101", old)).await.1, no_right);
    assert_ne!(guids, serde_json::from_str::<Value>(&simulator.credentials().huawei_guids).unwrap());
}

/// Dynamic authentication: replaced every 60 s, dead after 120 s, and then either of two codes.
#[tokio::test]
async fn huawei_s_guids_expire_a_minute_after_they_were_replaced() {
    let (simulator, clock) = simulator(|options| options.huawei_guid_life = Some(Duration::from_mins(1))).await;
    let old: Value = serde_json::from_str(&simulator.credentials().huawei_guids).unwrap();
    let code = async |agent: &str| {
        send(statistics(&simulator, agent, old[agent].as_str().unwrap())).await.1["retcode"].clone()
    };
    let fresh = [code("101").await, code("102").await];
    clock.set(clock.now() + jiff::SignedDuration::from_secs(61));
    assert_ne!(old, serde_json::from_str::<Value>(&simulator.credentials().huawei_guids).unwrap());
    assert_eq!([code("101").await, code("102").await], fresh, "not dead yet");
    clock.set(clock.now() + jiff::SignedDuration::from_secs(60));
    assert_eq!([code("101").await, code("102").await], ["000-003", "100-006"]);
}

/// The cookie leads to the node that holds the session; any other node is behind.
#[tokio::test]
async fn huawei_s_other_node_is_behind() {
    let (simulator, clock) = simulator(|options| options.huawei_cookies = true).await;
    let entries: Value = serde_json::from_str(&simulator.credentials().huawei_guids).unwrap();
    let mut behind = 0;
    for agent in simulator.truth().agents(Vendor::Huawei) {
        let entry = &entries[&agent.key];
        let ask = || statistics(&simulator, &agent.key, entry["guid"].as_str().unwrap());
        let own = send(ask().header("Cookie", entry["cookie"].as_str().unwrap())).await.1;
        let talk = simulator.truth().session(agent.index, now(&clock)).map(|session| session.figures.talk);
        assert_eq!(own["result"]["talktime"].as_u64(), talk);
        let before = simulator.truth().session(agent.index, now(&clock) - 900).map(|session| session.figures.talk);
        let strange = send(ask()).await.1;
        assert_eq!(strange["result"]["talktime"].as_u64(), before);
        behind += u32::from(before < talk);
    }
    assert!(behind > 2, "{behind}");
}

#[tokio::test]
async fn huawei_notes_what_must_not_be_called() {
    let (simulator, _clock) = simulator(|_| ()).await;
    let base = simulator.url(Vendor::Huawei);
    send(statistics(&simulator, "101", "x")).await;
    assert_eq!(simulator.log(Vendor::Huawei).forbidden, 0);
    for (method, path) in [
        (Method::PUT, "onlineagent/101"),
        (Method::GET, "agentevent/101"),
        (Method::DELETE, "onlineagent/101/logout"),
        (Method::GET, "calldata/101/statistics"),
    ] {
        let request = client().request(method, format!("{base}/agentgateway/resource/{path}"));
        assert_eq!(send(request).await.0, 404);
    }
    let log = simulator.log(Vendor::Huawei);
    assert_eq!((log.total, log.forbidden, log.of(VendorLog::FORBIDDEN).len()), (5, 4, 4));
    let post = client().post(format!("{base}/agentgateway/resource/calldata/101/statisticsEx"));
    assert_eq!(send(post).await.0, 405);
}

// --- Wolkvox

fn agent_9(simulator: &Simulator, query: &str) -> RequestBuilder {
    let url = format!("{}/api/v2/reports_manager.php?{query}", simulator.url(Vendor::Wolkvox));
    client().get(url).header("wolkvox-token", simulator.credentials().wolkvox_token)
}

const TODAY: &str = "api=agent_9&date_ini=20261120000000&date_end=20261120235959";

#[tokio::test]
async fn wolkvox_rows_are_the_truth_of_the_day() {
    let (simulator, clock) = simulator(|_| ()).await;
    let (status, body) = send(agent_9(&simulator, TODAY)).await;
    assert_eq!((status, &body["code"], &body["error"]), (200, &json!(200), &Value::Null));
    let rows = body["data"].as_array().unwrap();
    assert_eq!(body["msg"], format!("{} records were found", rows.len()));

    let midnight = "2026-11-20T05:00:00Z".parse::<Timestamp>().unwrap().as_second();
    let truth = simulator.truth();
    let mut events = 0;
    for agent in truth.agents(Vendor::Wolkvox) {
        let namesakes = truth.agents(Vendor::Wolkvox).iter().filter(|other| other.key == agent.key);
        let calls: Vec<_> =
            namesakes.flat_map(|one| truth.ended_in(Vendor::Wolkvox, one.index, midnight..midnight + DAY)).collect();
        let figures = Figures::of(&calls, now(&clock));
        let shown = rows.iter().filter(|row| row["agent_name"] == agent.key);
        let count: u64 = shown.map(|row| row["count"].as_str().unwrap().parse::<u64>().unwrap()).sum();
        assert_eq!(count, figures.hold_events + figures.mute_events, "{}", agent.key);
        events += Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, midnight..midnight + DAY), now(&clock))
            .hold_events;
    }
    assert!(events > 10);
    let total = rows.last().unwrap();
    assert_eq!(total["agent_name"], "TOTAL");
    for field in ["hold_time", "mute_time", "total_time"] {
        assert!(total[field].as_str().unwrap().split(':').all(|part| part.len() == 2), "{total}");
    }
}

#[tokio::test]
async fn wolkvox_says_every_documented_error() {
    let (simulator, _clock) = simulator(|_| ()).await;
    let empty = "api=agent_9&date_ini=20270101000000&date_end=20270101235959";
    let cases = [
        ("api=agent_99&date_ini=1&date_end=2", 400, "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
        ("api=agent_9&date_ini=20261120000000", 400, "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED"),
        ("", 400, "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED"),
        (empty, 404, "NOT FOUND", "Validate dates entered"),
    ];
    for (query, status, error, msg) in cases {
        let body = json!({ "code": status.to_string(), "error": error, "msg": msg });
        assert_eq!(send(agent_9(&simulator, query)).await, (status, body), "{query}");
    }
    let url = format!("{}/api/v2/reports_manager.php?{TODAY}", simulator.url(Vendor::Wolkvox));
    let (status, body) = send(client().get(&url)).await;
    assert_eq!((status, &body["msg"]), (401, &json!("PLEASE ENTER THE WOLKVOX-TOKEN")));
    let (status, body) = send(client().get(&url).header("wolkvox-token", "x")).await;
    assert_eq!((status, &body["msg"]), (403, &json!("PLEASE VALIDATE TOKEN")));
    assert_eq!(send(client().post(&url)).await.0, 405);
}

#[tokio::test]
async fn wolkvox_refuses_the_third_at_once_and_the_thousandth_and_first_of_a_day() {
    let (simulator, clock) = simulator(|options| options.latency = Duration::from_millis(300)).await;
    let asked = || send(agent_9(&simulator, TODAY));
    let answers = futures_util::future::join_all([asked(), asked(), asked()]).await;
    let refused: Vec<_> = answers.iter().filter(|(status, _)| *status == 403).collect();
    assert_eq!(refused.len(), 1);
    assert_eq!(refused[0].1["msg"], "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)");
    assert_eq!(simulator.log(Vendor::Wolkvox).peak_in_flight, 3);

    let (simulator, clock_2) = self::simulator(|options| options.limits = Some(0.002)).await;
    drop(clock);
    for status in [200, 200, 403] {
        let (got, body) = send(agent_9(&simulator, TODAY)).await;
        assert_eq!(got, status, "{body}");
    }
    clock_2.set("2026-11-21T05:00:00Z".parse().unwrap());
    assert_eq!(send(agent_9(&simulator, TODAY)).await.0, 200);
}

// --- faults

#[tokio::test]
async fn a_fault_breaks_one_vendor_and_no_other() {
    let (simulator, _clock) = simulator(|options| options.limits = None).await;
    let ask = || client().get(format!("{}/CAServices/AgentDetails/AHT.php", simulator.url(Vendor::Ozonetel)));
    let fault = |fault| simulator.set_fault(Vendor::Ozonetel, fault);

    fault(Fault::Html);
    let response = ask().send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK);
    assert!(response.text().await.unwrap().starts_with("<!DOCTYPE html>"));
    fault(Fault::Status(503));
    assert_eq!(send(ask()).await.0, 503);
    fault(Fault::RateLimited);
    assert_eq!(send(ask()).await.1["message"], "max limit exceeded");
    fault(Fault::WrongCredentials);
    assert_eq!(send(ask()).await.1["message"], "userName or apiKey is Invalid");
    fault(Fault::CutBody);
    let response = ask().send().await.unwrap();
    assert_eq!(response.status(), StatusCode::OK, "the head arrives");
    assert!(response.bytes().await.is_err(), "the body does not");
    fault(Fault::Hang);
    assert!(tokio::time::timeout(Duration::from_millis(200), ask().send()).await.is_err());
    fault(Fault::Down);
    assert!(ask().send().await.is_err());
    assert_eq!(send(agent_9(&simulator, TODAY)).await.0, 200);
    fault(Fault::None);
    assert_eq!(send(ask()).await.1["message"], "userName should not be empty");
}

#[tokio::test]
async fn chaos_fails_about_so_often() {
    let (simulator, _clock) = simulator(|options| (options.limits, options.chaos) = (None, 0.3)).await;
    let guids: Value = serde_json::from_str(&simulator.credentials().huawei_guids).unwrap();
    let mut bad = 0;
    for _ in 0..200 {
        let sent = statistics(&simulator, "101", guids["101"].as_str().unwrap()).send().await;
        let body = match sent {
            Ok(response) => serde_json::from_slice(&response.bytes().await.unwrap_or_default()).unwrap_or_default(),
            Err(_) => Value::Null,
        };
        bad += usize::from(!matches!(body["retcode"].as_str(), Some("0" | "100-006")));
    }
    assert!((35..90).contains(&bad), "{bad} of 200");
}

#[tokio::test]
async fn the_log_shows_keys_in_urls_and_dropping_stops_all() {
    let (simulator, _clock) = simulator(|_| ()).await;
    let credentials = simulator.credentials();
    assert_eq!(format!("{credentials:?}"), "Credentials(…)");
    let url = format!("{}/CAServices/AgentDetails/AHT.php", simulator.url(Vendor::Ozonetel));
    send(client().get(format!("{url}?apiKey={}", credentials.ozonetel_api_key))).await;
    send(client().get(&url)).await;
    let shown: Vec<_> = simulator.log(Vendor::Ozonetel).entries.iter().map(|entry| entry.credentials_in_url).collect();
    assert_eq!(shown, [true, false]);
    drop(simulator);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(client().get(&url).send().await.is_err());
}
