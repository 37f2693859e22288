//! Secrets, GUIDs, tokens, UCIDs, telephone numbers and, where pseudonyms are on, agent keys are canaries here: they go
//! in at every door and must come out at none: pages, logs of every level, error texts, Debug forms, the state's file.

use std::io::Write;
use std::sync::{Arc, Mutex};

use contact_center_exporter::app::App;
use contact_center_exporter::cli::{LogFormat, PlanFormat, check_config};
use contact_center_exporter::{config, telemetry};
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tracing_subscriber::fmt::MakeWriter;

use super::process::Process;
use super::support::{OPEN_METRICS, Running, client, fixture, noon, read, voximplant_key, write};
use super::vendor::{Asked, Reply, Vendor};

/// Every canary holds one of these: the word, a telephone number or UCID of this test, the start of any signed token or RSA key.
const MARKS: [&str; 5] = ["canary", "98123000", "715718706", "eyj", "miiev"];
const UCIDS: &str = "7157187068860001\n7157187068860002,2026-11-20\n7157187068860003,2026-11-19\nCANARY7157187068860004\n7157187068860005,CANARY\n";

/// How the vendors answer.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Mood {
    Fair,
    /// An error that repeats the whole request, in each vendor's own form, with this status.
    Echo(u16),
    Html,
    Cut,
    Types,
    Redirect,
    /// Nothing listens: the error of the connection names the URL.
    Gone,
}

const MOODS: [Mood; 9] = [
    Mood::Fair,
    Mood::Echo(200),
    Mood::Echo(401),
    Mood::Echo(500),
    Mood::Html,
    Mood::Cut,
    Mood::Types,
    Mood::Redirect,
    Mood::Gone,
];

/// A good answer in which every field that is not needed, and every agent, is a canary.
fn fair(asked: &Asked) -> String {
    let path = asked.path();
    if path.ends_with("/guids") {
        return r#"{"101":{"guid":"CANARY-guid-1","cookie":"CANARY-cookie"},"102":"CANARY-guid-2","CANARY":"CANARY-guid-3"}"#
            .to_owned();
    }
    if path.ends_with("/statisticsEx") {
        return fixture("huawei/statistics_ok.json").replace("\"message\": \"\"", "\"message\": \"CANARY\"");
    }
    if path.ends_with("reports_manager.php") {
        // The rows of all three reports in one: each reads its own fields.
        return r#"{"msg":"CANARY","data":[{"agent_name":"CANARY agent","agent_id":"98123000","agent_dni":"98123000","count":"1","hold_time":"00:00:01","inbound":"1","login_time":"00:00:01","aht":"00:00:09","telephone":"98123000","skill_id":"7","skill_name":"orders","inbound_calls":"1","comments":"CANARY"},{"agent_name":"CANARY bad","agent_id":"CANARY","count":"CANARY","inbound":"CANARY","skill_id":"8","inbound_calls":"CANARY"}]}"#
            .to_owned();
    }
    if path.ends_with("information.php") {
        return r#"{"msg":"CANARY","data":{"description":"CANARY","token_limit":"100000","token_use_today":"1","all_token_today":"5"}}"#
            .to_owned();
    }
    if path.ends_with("GetACDOperatorStatistics") {
        return fixture("voximplant/operators.json").replace("20481", "\"CANARY-user\"");
    }
    if path.ends_with("GetACDOperatorStatusStatistics") {
        return fixture("voximplant/statuses.json").replace("20481", "\"CANARY-user\"");
    }
    if path.ends_with("GetACDQueueStatistics") {
        return fixture("voximplant/queue_54.json").replace("\"percent\": 82", "\"percent\": \"CANARY\"");
    }
    if path.ends_with("GetUsers") {
        return r#"{"result":[{"user_id":"CANARY-user","user_name":"CANARY","user_display_name":"CANARY","user_custom_data":"+9198123000451"},{"user_name":"CANARY"}],"total_count":2}"#
            .to_owned();
    }
    if path.ends_with("GetQueues") {
        return r#"{"result":[{"acd_queue_id":54,"acd_queue_name":"orders","users":"CANARY"}],"total_count":1}"#
            .to_owned();
    }
    if path.ends_with("AHT.php") || path.ends_with("/aht") {
        return r#"{"status":"success","message":{"AgentID":"CANARY-agent","AgentName":"CANARY","AHT":"00:01:00"}}"#
            .to_owned();
    }
    if path.ends_with("/generateToken") {
        return r#"{"token":"eyJCANARY.CANARY.CANARY","message":"CANARY"}"#.to_owned();
    }
    if path.ends_with("/summaryReport") {
        let mut answer: Value = serde_json::from_str(&fixture("ozonetel/summary.json")).unwrap();
        for row in answer["details"].as_array_mut().unwrap() {
            for key in ["AgentUniqueID", "AgentName", "AgentIncrID", "ModeType"] {
                row[key] = "CANARY-field".into();
            }
        }
        return answer.to_string();
    }
    if path.ends_with("/CallBacks.php") {
        return record("ozonetel/cdr_v1.json", "message", "Duration", &[("monitorUCID", asked.parameter("ucid"))]);
    }
    let ids = [("CallID", "7157187068860006".to_owned()), ("UCID", "7157187068860006".to_owned())];
    record("ozonetel/cdr_v2_outbound.json", "details", "TalkTime", &ids)
}

/// A call of a fixture, and one of which `wrong` cannot be read.
fn record(name: &str, rows: &str, wrong: &str, ids: &[(&str, String)]) -> String {
    let mut answer: Value = serde_json::from_str(&fixture(name)).unwrap();
    let mut bad = answer[rows][0].clone();
    bad[wrong] = "CANARY".into();
    let row = &mut answer[rows][0];
    for key in ["CallerID", "PhoneName", "DialedNumber", "AgentPhoneNumber", "Did", "DID", "E164", "DialOutName"] {
        row[key] = "+9198123000451".into();
    }
    for key in ["UUI", "Comments", "Disposition", "Apikey", "AgentID", "AgentName", "AudioFile", "HangupBy", "Location"]
    {
        row[key] = "CANARY-field".into();
    }
    for (key, id) in ids {
        row[*key] = id.as_str().into();
    }
    answer[rows].as_array_mut().unwrap().push(bad);
    answer.to_string()
}

fn answer(mood: Mood, asked: &Asked) -> Reply {
    let good = fair(asked);
    // Whatever the vendors do, the operator's own source of GUIDs works and tokens are made, so that the others are asked.
    let opens_doors = ["/guids", "/generateToken"].iter().any(|path| asked.path().ends_with(path));
    if opens_doors && mood != Mood::Echo(401) {
        return Reply::json(good);
    }
    let echo = format!("CANARY 7157187068860001 +9198123000451 {}", asked.text());
    match mood {
        Mood::Fair | Mood::Gone => Reply::json(good),
        Mood::Echo(status) => Reply::new(
            status,
            json!({
                "status": echo, "message": echo, "details": echo, "retcode": echo, "msg": echo, "code": echo,
                "error": {"code": echo, "msg": echo},
            })
            .to_string(),
        )
        .with("x-canary", "CANARY"),
        Mood::Html => Reply::new(200, format!("<html><title>{echo}</title>{echo}</html>")),
        Mood::Cut => Reply::json(good[..good.len() / 2].to_owned()),
        Mood::Types => Reply::json(
            json!({"status": "success", "message": [[echo], {"AHT": echo}], "result": {"talktime": echo}, "retcode": "0",
                   "data": [[echo], echo]})
            .to_string(),
        ),
        Mood::Redirect => Reply::new(302, echo).with("location", "http://CANARY.invalid/7157187068860001?apiKey=CANARY"),
    }
}

/// All four vendors; secrets inline, in a file and, for `environment`, in variables.
async fn folder_and_yaml(url: &str, labels: &str, environment: bool) -> (TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "token", "CANARY-token\n");
    write(folder.path(), "ucids.txt", UCIDS);
    let mut key: Value = serde_json::from_str(voximplant_key().await).unwrap();
    key["key_id"] = "CANARY-key-id".into();
    write(folder.path(), "credentials.json", key.to_string());
    let (key, token, bearer, credentials) = if environment {
        ("api_key_env: A", "token_env: B", "bearer_token_env: C", "credentials_env: D")
    } else {
        (
            "api_key: CANARY-key",
            "token_file: token",
            "bearer_token: CANARY-bearer",
            "credentials_file: credentials.json",
        )
    };
    let yaml = format!(
        "labels: {labels}
vendors:
  ozonetel:
  - {{ account: in, base_url: '{url}', user_name: acme, {key}, rate_limit: 6000/1m, reports: {{
    average_handling_time: {{ interval: 1s, api: v1, agents: [CANARY-agent] }},
    call_details: {{ interval: 1s, api: v1, ucid_file: ucids.txt }} }} }}
  - {{ account: in-2, base_url: '{url}', user_name: acme, {key}, rate_limit: 6000/1m, reports: {{
    call_details: {{ interval: 1s, ucid_file: ucids.txt }} }} }}
  - {{ account: in-3, base_url: '{url}', user_name: acme, {key}, rate_limit: 6000/1m, auth: token, reports: {{
    average_handling_time: {{ interval: 1s, agents: [CANARY-agent] }},
    call_records: {{ interval: 1s }}, agent_summary: {{ interval: 1s }} }} }}
  wolkvox: [{{ account: co, base_url: '{url}', {token}, reports: {{
    agent_activity: {{ interval: 1s }}, agent_hold_mute: {{ interval: 1s }}, skill_service: {{ interval: 1s }}, token_usage: {{ interval: 1s }} }} }}]
  huawei: [{{ account: br, base_url: '{url}', guids: {{ url: '{url}/guids', {bearer} }}, reports: {{ agent_call_statistics: {{ interval: 1s }} }} }}]
  voximplant: [{{ account: eu, base_url: '{url}', {credentials}, reports: {{
    operator_statistics: {{ interval: 1s }}, operator_status: {{ interval: 1s }}, queue_statistics: {{ interval: 1s, queues: [54] }},
    directory: {{ interval: 1s, application: shop }} }} }}]
"
    );
    (folder, yaml)
}

const PSEUDONYM: &str = "{ agent: pseudonym, pseudonym_key: CANARY-pseudonym }";

fn assert_silent(text: &str, place: &str) {
    let lower = text.to_lowercase();
    for mark in MARKS {
        if let Some(at) = lower.find(mark) {
            let around = lower.get(at.saturating_sub(200)..).unwrap_or_default().chars().take(400).collect::<String>();
            panic!("{mark} is in {place}: …{around}…");
        }
    }
}

/// A log that a test can read.
#[derive(Clone, Default)]
struct Buffer(Arc<Mutex<Vec<u8>>>);

impl Write for Buffer {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl<'w> MakeWriter<'w> for Buffer {
    type Writer = Self;

    fn make_writer(&'w self) -> Self {
        self.clone()
    }
}

/// Polls vendors in that mood twice; looks at everything that the program shows and keeps.
async fn watch(mood: Mood) {
    let vendor = Vendor::start(move |asked| answer(mood, asked)).await;
    let (folder, yaml) = folder_and_yaml(&vendor.url(), PSEUDONYM, false).await;
    let yaml = if mood == Mood::Gone {
        let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        yaml.replace(&vendor.url(), &format!("http://{closed}"))
    } else {
        yaml
    };
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running
        .until("two polls each", |page| {
            page.find("polls_total", &[]).count() == 15
                && page.find("polls_total", &[]).all(|sample| sample.value >= 3.0)
        })
        .await;
    for (path, accept) in [("/metrics", ""), ("/metrics", OPEN_METRICS), ("/", ""), ("/api/v1/reports", "")] {
        assert_silent(&running.get_as(path, accept).await.body, &format!("{path} ({accept}), {mood:?}"));
    }
    let page = running.page().await;
    if mood == Mood::Fair {
        // The doors were really open: agents, rows and calls went through.
        for name in [
            "agent_hold_seconds_total",
            "agent_talk_seconds_total",
            "agent_average_handle_time_seconds",
            "agent_state_seconds_total",
            "agent_login_seconds_total",
            "queue_calls_total",
            "campaign_outbound_connected_calls_total",
            "queue_info",
            "api_quota_used",
        ] {
            assert!(page.find(name, &[]).count() > 0, "{name} is missing\n{}", page.text);
        }
        for (account, name) in [
            ("in", "agent_talk_seconds_total"),
            ("in-2", "agent_talk_seconds_total"),
            ("in-3", "agent_talk_seconds_total"),
            ("in-3", "agent_login_seconds_total"),
            ("in-3", "agent_average_handle_time_seconds"),
        ] {
            assert!(page.find(name, &[("account", account)]).count() > 0, "{name} of {account}\n{}", page.text);
        }
        assert!(page.sum("rejected_records_total", &[]) > 0.0);
        let asked: String = vendor.asked().iter().map(Asked::text).collect();
        for secret in [
            "CANARY-key",
            "CANARY-token",
            "CANARY-bearer",
            "CANARY-guid-1",
            "CANARY-cookie",
            "715718706",
            "eyJ0",
            "eyJC",
        ] {
            assert!(asked.contains(secret), "{secret} was never sent");
        }
    } else {
        assert!(page.find("poll_failures_total", &[]).any(|sample| sample.value > 0.0), "{mood:?}\n{}", page.text);
    }
    let folder = running.stop().await;
    let state = std::fs::read(folder.path().join("state").join("state.redb")).unwrap();
    let state = String::from_utf8_lossy(&state).to_lowercase();
    assert!(!state.contains("canary"), "an agent's key or a secret is in the state, {mood:?}");
}

#[tokio::test]
async fn no_mood_of_a_vendor_makes_the_program_talk() {
    for format in [LogFormat::Logfmt, LogFormat::Json] {
        let buffer = Buffer::default();
        let subscriber = telemetry::subscriber(tracing::Level::DEBUG, format, buffer.clone());
        // With a single subscriber alive, a thread that has none would decide for all which events are wanted.
        let _second = tracing::Dispatch::new(telemetry::subscriber(tracing::Level::DEBUG, format, std::io::sink));
        let guard = tracing::subscriber::set_default(subscriber);
        join_all(MOODS.map(watch)).await;
        drop(guard);
        let log = String::from_utf8(buffer.0.lock().unwrap().clone()).unwrap();
        for line in ["report is up", "poll failed", "entities failed", "rows rejected"] {
            assert!(log.contains(line), "{line} is not in the log:\n{log}");
        }
        assert_silent(&log, &format!("the log, {format:?}"));
    }
}

#[tokio::test]
async fn secrets_of_the_environment_stay_there() {
    for mood in [Mood::Fair, Mood::Echo(401)] {
        let vendor = Vendor::start(move |asked| answer(mood, asked)).await;
        let (folder, yaml) = folder_and_yaml(&vendor.url(), PSEUDONYM, true).await;
        let key = std::fs::read_to_string(folder.path().join("credentials.json")).unwrap();
        let environment = [("A", "CANARY-key"), ("B", "CANARY-token"), ("C", "CANARY-bearer"), ("D", &key)];
        let mut process = Process::serve(folder.path(), &yaml, &environment);
        let url = format!("http://{}", process.address().await);
        let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
        while client().get(format!("{url}/-/ready")).send().await.unwrap().status() != 200 {
            assert!(tokio::time::Instant::now() < deadline, "never ready");
            tokio::time::sleep(std::time::Duration::from_millis(50)).await;
        }
        for path in ["/metrics", "/", "/api/v1/reports"] {
            let page = read(client().get(format!("{url}{path}")).send().await.unwrap()).await.body;
            assert_silent(&page, &format!("{path}, {mood:?}"));
        }
        let asked: String = vendor.asked().iter().map(Asked::text).collect();
        for secret in ["CANARY-key", "CANARY-token", "CANARY-bearer"] {
            assert!(asked.contains(secret), "{secret} was never sent");
        }
        process.signal("TERM");
        let (code, log) = process.end().await;
        assert_eq!(code, Some(0));
        assert!(log.contains("stopping"), "{log}");
        assert_silent(&log, &format!("the log, {mood:?}"));
    }
}

#[tokio::test]
async fn a_configuration_never_prints_its_secrets() {
    let (folder, yaml) = folder_and_yaml("http://127.0.0.1:9", PSEUDONYM, false).await;
    let account = |vendor: &str, keys: &str| {
        format!("\nvendors: {{ {vendor}: [{{ account: a, base_url: 'http://127.0.0.1:9', {keys} }}] }}")
    };
    let wolkvox = |keys: &str| account("wolkvox", &format!("reports: {{ agent_hold_mute: {{}} }}, {keys}"));
    let huawei =
        |guids: &str| account("huawei", &format!("reports: {{ agent_call_statistics: {{}} }}, guids: {{ {guids} }}"));
    let voximplant = |keys: &str| account("voximplant", &format!("reports: {{ operator_statistics: {{}} }}, {keys}"));
    let yaml = yaml.replace("CANARY-agent", "asha");
    for (what, yaml, fine) in [
        ("good", yaml.clone(), true),
        ("syntax", yaml.replace("api_key: CANARY-key", "api_key: CANARY: key: [CANARY"), false),
        ("unknown key", yaml.replace("user_name: acme", "user_nam: acme"), false),
        ("unknown key before a secret", format!("secret: CANARY\n{yaml}"), false),
        ("list for a secret", yaml.replace("api_key: CANARY-key", "api_key: [CANARY-key]"), false),
        ("mapping for a secret", yaml.replace("api_key: CANARY-key", "api_key: { CANARY: CANARY }"), false),
        ("secret for a word", yaml.replace("agent: pseudonym", "agent: CANARY"), false),
        ("secret for a number", yaml.replace("user_name: acme", "user_name: acme, max_in_flight: CANARY"), false),
        (
            "secret for a duration",
            yaml.replace("interval: 1s, api: v1, agents", "interval: CANARY, api: v1, agents"),
            false,
        ),
        ("secret twice", yaml.replace("api_key: CANARY-key", "api_key: CANARY-1, api_key: CANARY-2"), false),
        ("two sources", yaml.replace("api_key: CANARY-key", "api_key: CANARY-key, api_key_file: token"), false),
        ("password in base_url", wolkvox("token: CANARY").replace("//127", "//user:CANARY@127"), false),
        ("password in proxy_url", wolkvox("token: CANARY, proxy_url: 'http://user:CANARY@127.0.0.1:9'"), true),
        ("no proxy_url", wolkvox("token: CANARY, proxy_url: 'CANARY CANARY'"), false),
        ("secret in the query of guids.url", huawei("url: 'http://127.0.0.1:9/?key=CANARY'"), true),
        ("password in guids.url", huawei("url: 'http://user:CANARY@127.0.0.1:9/'"), false),
        ("secret in guids.command", huawei("command: [print-guids, '--key=CANARY']"), true),
        ("secret with a line break", huawei("url: 'http://127.0.0.1:9/', bearer_token: \"CANARY\\nCANARY\""), true),
        ("key that is none", voximplant("credentials: CANARY"), true),
        ("key that lacks its key", voximplant("credentials: '{\"account_id\": 1, \"key_id\": \"CANARY\"}'"), true),
        (
            "key that is no RSA key",
            voximplant("credentials: '{\"account_id\": 1, \"key_id\": \"CANARY\", \"private_key\": \"CANARY\"}'"),
            true,
        ),
    ] {
        let file = write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{}", yaml.trim_start()));
        for format in [PlanFormat::Table, PlanFormat::Json] {
            assert_silent(&check_config(&file, format).1, &format!("check-config, {what}"));
        }
        match config::load(&file) {
            Err(error) => {
                assert!(!fine, "{what}: {error}");
                assert_silent(&format!("{error} {error:?}"), &format!("the error, {what}"));
            }
            Ok(loaded) => {
                assert!(fine, "{what} was accepted");
                assert_silent(&format!("{loaded:?} {loaded:#?}"), &format!("Debug, {what}"));
                for (at, account) in loaded.config.vendors.accounts() {
                    assert_silent(
                        &format!("{:?}", account.settings()),
                        &format!("Debug of the settings of {at}, {what}"),
                    );
                }
                if let Err(error) = App::new(&loaded, &noon(), "/metrics") {
                    assert_silent(&format!("{error} {error:?}"), &format!("the error at start, {what}"));
                }
            }
        }
    }
}
