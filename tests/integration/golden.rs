//! The main job on documented input: each vendor's sample bodies over HTTP in, the page out, compared with
//! `tests/golden`. `UPDATE_GOLDEN=1` writes the files anew; then read the difference, for they are the specification.

use std::path::Path;

use super::exposition::Exposition;
use super::support::{OPEN_METRICS, Running, fixture, noon, voximplant_key, write};
use super::vendor::{Asked, Reply, Vendor};

/// What differs from run to run, by a part of its name.
const MOVING: [&str; 6] =
    ["_timestamp_seconds", "last_poll_duration", "api_request_duration", "budget_wait", "build_info", "process_"];

/// The page without what moves.
fn still(page: &str) -> String {
    let name = |line: &str| {
        let line = line.strip_prefix("# ").map_or(line, |comment| comment.split_once(' ').map_or("", |(_, rest)| rest));
        line.split([' ', '{']).next().unwrap_or_default().to_owned()
    };
    page.split_inclusive('\n').filter(|line| !MOVING.iter().any(|part| name(line).contains(part))).collect()
}

fn compare(name: &str, page: &str) {
    Exposition::parse(page).unwrap_or_else(|error| panic!("{error}\n{page}"));
    let (path, found) = (Path::new("tests/golden").join(name), still(page));
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, &found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differs = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(found == expected, "{name}: {differs:?} is the first (found, expected) that differs\n{found}");
}

fn aht(case: &str) -> Reply {
    let answers: serde_json::Value = serde_json::from_str(&fixture("ozonetel/aht_answers.json")).unwrap();
    Reply::json(answers[case]["body"].to_string())
}

fn ozonetel(asked: &Asked) -> Reply {
    match asked.path() {
        "/ca_apis/aht" | "/CAServices/AgentDetails/AHT.php" => {
            match (asked.parameter("agentId").as_str(), asked.parameter("campaignName").as_str()) {
                ("asha", "") => aht("agent, object"),
                ("ravi", "") => aht("zero"),
                ("", "sales") => aht("campaign, object"),
                _ => Reply::json(r#"{"status":"error","message":"agentId is Invalid"}"#),
            }
        }
        "/ca_reports/fetchCdrByUCID" | "/CAServices/CDR/CallBacks.php" => match asked.parameter("ucid").as_str() {
            "41571870688636585" => Reply::json(fixture("ozonetel/cdr_v2_inbound.json")),
            "41571870688640001" => Reply::json(fixture("ozonetel/cdr_v2_outbound.json")),
            "41571870688650001" => Reply::json(fixture("ozonetel/cdr_v1.json")),
            _ => Reply::json(r#"{"status":"error","message":"No Data Found"}"#),
        },
        "/ca_apis/CAToken/generateToken" => Reply::json(r#"{"token":"eyJ.x.y"}"#),
        _ if asked.headers.get("authorization").is_none_or(|token| token != "Bearer eyJ.x.y") => Reply::new(401, ""),
        "/ca_reports/fetchCdrByPagination" => Reply::json(fixture("ozonetel/cdr_page.json")),
        "/ca_reports/summaryReport" => Reply::json(fixture("ozonetel/summary.json")),
        _ => Reply::new(404, "no such API"),
    }
}

async fn run_ozonetel(api: &str, ucids: &str) -> Running {
    let vendor = Vendor::start(ozonetel).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "ucids.txt", ucids);
    let url = vendor.url();
    let yaml = format!(
        "vendors:
  ozonetel:
    - account: support-in
      base_url: {url}
      user_name: acme
      api_key: key
      rate_limit: 6000/1m
      reports:
        average_handling_time: {{ interval: 1h, api: {api}, agents: [asha, ravi, nobody], campaigns: [sales] }}
        call_details: {{ interval: 1h, api: {api}, ucid_file: ucids.txt }}
"
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.ready().await;
    running
}

#[tokio::test]
async fn ozonetel_v2() {
    // The third call is one that the vendor does not know yet.
    let ucids = "41571870688636585,2026-11-19\n41571870688640001,2026-11-20\n41571870688699999\n";
    let running = run_ozonetel("v2", ucids).await;
    compare("ozonetel.prom", &running.get("/metrics").await.body);
    compare("ozonetel.openmetrics", &running.get_as("/metrics", OPEN_METRICS).await.body);
}

#[tokio::test]
async fn ozonetel_v1() {
    let running = run_ozonetel("v1", "41571870688650001\n").await;
    compare("ozonetel_v1.prom", &running.get("/metrics").await.body);
}

#[tokio::test]
async fn ozonetel_lists() {
    let vendor = Vendor::start(ozonetel).await;
    let yaml = format!(
        "  ozonetel: [{{ account: support-in, base_url: '{}', user_name: acme, api_key: key, auth: token, reports: {{ call_records: {{ interval: 1h }}, agent_summary: {{ interval: 1h }} }} }}]",
        vendor.url()
    );
    let running = Running::start(&yaml, &noon()).await;
    running.ready().await;
    compare("ozonetel_lists.prom", &running.get("/metrics").await.body);
}

#[tokio::test]
async fn wolkvox() {
    let vendor = Vendor::start(|asked| {
        let day = (asked.parameter("date_ini"), asked.parameter("date_end"));
        match (asked.path(), asked.parameter("api").as_str(), (day.0.as_str(), day.1.as_str())) {
            ("/api/v2/information.php", "token_info", ("", "")) => Reply::json(fixture("wolkvox/token_info.json")),
            ("/api/v2/reports_manager.php", "skill_1", _) if asked.parameter("skill_id") != "all" => {
                Reply::json(fixture("wolkvox/token_limit.json"))
            }
            (
                "/api/v2/reports_manager.php",
                api @ ("agent_1" | "agent_9" | "skill_1"),
                ("20261120000000", "20261120235959"),
            ) => Reply::json(fixture(&format!("wolkvox/{api}.json"))),
            _ => Reply::new(404, fixture("wolkvox/agent_9_no_data.json")),
        }
    })
    .await;
    let reports = ["agent_activity", "agent_hold_mute", "skill_service", "token_usage"];
    let reports = reports.map(|report| format!("{report}: {{ interval: 1h }}")).join(", ");
    let yaml = format!(
        "  wolkvox: [{{ account: ventas-co, base_url: '{}', token: t, reports: {{ {reports} }} }}]",
        vendor.url()
    );
    let running = Running::start(&yaml, &noon()).await;
    running.ready().await;
    compare("wolkvox.prom", &running.get("/metrics").await.body);
}

#[tokio::test]
async fn huawei() {
    let vendor = Vendor::start(|asked| {
        let guid = asked.headers.get("guid").and_then(|guid| guid.to_str().ok()).unwrap_or_default();
        let cookie = asked.headers.get("cookie").and_then(|cookie| cookie.to_str().ok());
        match (asked.path(), guid, cookie) {
            (
                "/agentgateway/resource/calldata/101/statisticsEx",
                "5b1f7a20-3c4d-4e5f-8a9b-0c1d2e3f4a5b.AgentGateway0",
                None,
            ) => Reply::json(fixture("huawei/signed_out.json")),
            ("/agentgateway/resource/calldata/4402/statisticsEx", guid, Some("route=gw1"))
                if guid.ends_with("7d2c9b31-1a2b-4c3d-9e8f-6a5b4c3d2e1f.AgentGateway1") =>
            {
                Reply::json(fixture("huawei/statistics_ok.json"))
            }
            _ => Reply::json(fixture("huawei/refused.json")),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", fixture("huawei/guids.json"));
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: aicc-br, base_url: '{}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{ interval: 1h }} }} }}] }}",
        vendor.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.ready().await;
    compare("huawei.prom", &running.get("/metrics").await.body);
}

#[tokio::test]
async fn voximplant() {
    let vendor = Vendor::start(|asked| match asked.path() {
        "/platform_api/GetACDOperatorStatistics" if asked.body.contains("aggregation=day") => {
            Reply::json(fixture("voximplant/operators.json"))
        }
        "/platform_api/GetACDOperatorStatusStatistics" if asked.body.contains("aggregation=day") => {
            Reply::json(fixture("voximplant/statuses.json"))
        }
        "/platform_api/GetACDQueueStatistics" if asked.body.contains("acd_queue_id=54&") => {
            Reply::json(fixture("voximplant/queue_54.json"))
        }
        // Of a queue without calls there are no rows.
        "/platform_api/GetACDQueueStatistics" => Reply::json(r#"{"result":[]}"#),
        "/platform_api/GetUsers" => Reply::json(fixture("voximplant/users.json")),
        "/platform_api/GetQueues" => Reply::json(fixture("voximplant/queues.json")),
        _ => Reply::json(r#"{"error":{"code":102,"msg":"unknown command"}}"#),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "credentials.json", voximplant_key().await);
    let yaml = format!(
        "vendors: {{ voximplant: [{{ account: shop-eu, base_url: '{}', credentials_file: credentials.json, reports: {{
            operator_statistics: {{ interval: 1h }}, operator_status: {{ interval: 1h }}, queue_statistics: {{ interval: 1h, queues: [54, 55] }},
            directory: {{ interval: 1h, application: shop }} }} }}] }}",
        vendor.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.ready().await;
    compare("voximplant.prom", &running.get("/metrics").await.body);
}
