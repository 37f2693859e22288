//! Vendors at their worst: bodies without end, bombs, redirects, rate limits, names that break formats, and figures that
//! cannot be true. The poll fails or the row is rejected, nothing is made up, and the page stays readable.

use std::collections::BTreeSet;
use std::io::Write as _;

use futures_util::future::join_all;
use serde_json::{Value, json};

use super::support::{Running, fixture, noon, voximplant_key, write};
use super::vendor::{Reply, Vendor};

const ALL: [&str; 4] = ["huawei", "ozonetel", "voximplant", "wolkvox"];

/// All four vendors behind one address, polled once an hour or at `interval`.
async fn four(url: &str, interval: &str) -> Running {
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", r#"{"101":"hostile-guid"}"#);
    write(folder.path(), "credentials.json", voximplant_key().await);
    let yaml = format!(
        "vendors:
  ozonetel: [{{ account: in, base_url: '{url}', user_name: acme, api_key: hostile-key, rate_limit: 6000/1m, reports: {{
    average_handling_time: {{ interval: {interval}, agents: [a, b, c, d, e, f, g, h] }} }} }}]
  wolkvox: [{{ account: co, base_url: '{url}', token: hostile-token, reports: {{ agent_hold_mute: {{ interval: {interval} }} }} }}]
  huawei: [{{ account: br, base_url: '{url}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{ interval: {interval} }} }} }}]
  voximplant: [{{ account: eu, base_url: '{url}', credentials_file: credentials.json, reports: {{
    operator_statistics: {{ interval: {interval} }}, operator_status: {{ interval: {interval} }},
    queue_statistics: {{ interval: {interval}, queues: [54, 55, 56, 57, 58, 59, 60, 61] }}, directory: {{ interval: {interval}, application: shop }} }} }}]
"
    );
    Running::start_in(folder, &yaml, &noon()).await
}

async fn wolkvox(reply: Reply) -> Running {
    let vendor = Vendor::start(move |_| reply.clone()).await;
    let yaml = format!(
        "  wolkvox: [{{ account: co, base_url: '{}', token: t, reports: {{ agent_hold_mute: {{ interval: 1h }} }} }}]",
        vendor.url()
    );
    let running = Running::start(&yaml, &noon()).await;
    running.ready().await;
    running
}

#[tokio::test]
async fn a_body_has_an_end() {
    let megabyte = vec![b' '; 1 << 20];
    let mut bomb = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    for _ in 0..100 {
        bomb.write_all(&megabyte).unwrap();
    }
    let bomb = bomb.finish().unwrap();
    assert!(bomb.len() < 1 << 20, "a hundred megabytes in a few");
    let endless = Reply::json(megabyte).repeated(usize::MAX);
    for (what, reply) in [("endless", endless), ("bomb", Reply::json(bomb).with("content-encoding", "gzip"))] {
        let running = wolkvox(reply).await;
        let page = running.page().await;
        assert_eq!(page.reasons("wolkvox"), BTreeSet::from(["malformed"]), "{what}");
        let reports = running.get("/api/v1/reports").await.body;
        assert!(reports.contains("larger than 64 MiB"), "{what}: {reports}");
        running.stop().await;
    }
}

#[tokio::test]
async fn credentials_never_follow_a_redirect() {
    let elsewhere = Vendor::start(|_| Reply::json(r#"{"data":[]}"#)).await;
    // To another host, and within the vendor's own: that would be a request more than the budget knows of.
    let targets = [format!("{}/there?and=back", elsewhere.url()), "/there?and=back".to_owned()];
    let cases = [301, 302, 303, 307, 308].into_iter().flat_map(|status| targets.clone().map(|target| (status, target)));
    join_all(cases.map(async |(status, target)| {
        let vendor = Vendor::start(move |_| Reply::new(status, "").with("location", target.clone())).await;
        let running = four(&vendor.url(), "1h").await;
        let page = running.ready().await;
        for name in ALL {
            assert_eq!(page.reasons(name), BTreeSet::from(["http"]), "{name} {status}");
        }
        let asked = vendor.asked();
        assert!(asked.iter().any(|asked| asked.text().contains("hostile-token")));
        assert!(asked.iter().all(|asked| asked.path() != "/there"), "{status} was followed");
        running.stop().await;
    }))
    .await;
    let seen: Vec<_> = elsewhere.asked().iter().map(super::vendor::Asked::text).collect();
    assert!(seen.is_empty(), "{seen:?}");
}

#[tokio::test]
async fn a_rate_limit_brings_no_storm() {
    join_all(["0", "1", "86400", "tomorrow"].map(async |retry_after| {
        let vendor = Vendor::start(move |_| Reply::new(429, "slow down").with("retry-after", retry_after)).await;
        let running = four(&vendor.url(), "1s").await;
        let page = running.until("a few polls of each", |page| {
            ALL.iter().all(|name| page.sum("polls_total", &[("vendor", name)]) >= 3.0)
        });
        let page = page.await;
        for name in ALL {
            assert_eq!(page.reasons(name), BTreeSet::from(["rate_limited"]), "{name}");
            let labels = [("vendor", name)];
            let (sent, polls) = (page.sum("api_requests_total", &labels), page.sum("polls_total", &labels));
            // Eight agents are not asked for when the first was one too many.
            assert!(sent <= polls, "{name} sent {sent} requests in {polls} polls, Retry-After: {retry_after}");
        }
        running.stop().await;
    }))
    .await;
}

/// Names in every place where a vendor has some, two bytes of the last one no UTF-8; Huawei names nobody, and such bytes
/// stand beside its figures.
fn named(names: &[String], path: &str) -> Reply {
    let last = "no ?? text".to_owned();
    let names = names.iter().chain([&last]).enumerate();
    let rows = |row: fn((usize, &String)) -> Value| Value::Array(names.clone().map(row).collect());
    let body = match path.rsplit('/').next().unwrap_or_default() {
        "reports_manager.php" => json!({"data": rows(|(_, name)| json!({"agent_name": name, "count": 1}))}),
        "summaryReport" => json!({"status": "success", "details": rows(|(_, name)| json!({
            "AgentUniqueID": name, "AgentName": name, "CallDate": "2026-11-20", "TotalLoginDuration": "00:00:01"}))}),
        "GetUsers" => json!({"result": rows(|(id, name)| json!({"user_id": id + 1, "user_display_name": name}))}),
        "GetQueues" => json!({"result": rows(|(id, name)| json!({"acd_queue_id": id + 1, "acd_queue_name": name}))}),
        _ => json!({"message": last, "retcode": "0",
                    "result": {"talktime": 1, "answernums": 1, "calloutnums": 1, "agentName": last}}),
    };
    let mut body = body.to_string().into_bytes();
    while let Some(at) = body.windows(2).position(|pair| pair == b"??") {
        body[at..at + 2].copy_from_slice(b"\xff\xfe");
    }
    Reply::json(body)
}

#[tokio::test]
async fn names_may_hold_anything() {
    let long = |end: &str| "x".repeat(9_999) + end;
    let names = [
        "say \"please\"".to_owned(),
        "back\\slash".to_owned(),
        "back\\\\nslash".to_owned(),
        "new\nline".to_owned(),
        "carriage\rreturn\ttab\u{0}nil\u{2028}".to_owned(),
        "\"} 1\n# TYPE evil counter".to_owned(),
        "{a=\"b\",c}".to_owned(),
        "نادية 👩‍💻 é".to_owned(),
        long("1"),
        long("2"),
        "ñ".repeat(10_000),
    ];
    let answers = names.clone();
    let vendor = Vendor::start(move |asked| named(&answers, asked.path())).await;
    let (folder, url) = (tempfile::tempdir().unwrap(), vendor.url());
    write(folder.path(), "guids.json", r#"{"101":"g"}"#);
    write(folder.path(), "credentials.json", voximplant_key().await);
    let yaml = format!(
        "vendors:
  ozonetel: [{{ account: in, base_url: '{url}', user_name: acme, api_key: k, reports: {{ agent_summary: {{ interval: 1h }} }} }}]
  wolkvox: [{{ account: co, base_url: '{url}', token: t, reports: {{ agent_hold_mute: {{ interval: 1h }} }} }}]
  huawei: [{{ account: br, base_url: '{url}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{ interval: 1h }} }} }}]
  voximplant: [{{ account: eu, base_url: '{url}', credentials_file: credentials.json, reports: {{ directory: {{ interval: 1h, application: shop }} }} }}]
"
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.ready().await;
    for accept in ["", super::support::OPEN_METRICS] {
        let text = running.get_as("/metrics", accept).await.body;
        let page = super::exposition::Exposition::parse(&text).unwrap();
        assert!(ALL.iter().all(|name| page.up(name)), "{text}");
        assert!(page.sum("rejected_records_total", &[]) < 0.5);
        assert_eq!(page.value("agent_talk_seconds_total", &[("vendor", "huawei")]), Some(1.0));
        for (vendor, family, label) in [
            ("wolkvox", "agent_hold_mute_events_total", "agent"),
            ("ozonetel", "agent_login_seconds_total", "agent"),
            ("ozonetel", "agent_info", "agent_name"),
            ("voximplant", "agent_info", "agent_name"),
            ("voximplant", "queue_info", "queue_name"),
        ] {
            let found: BTreeSet<_> =
                page.find(family, &[("vendor", vendor)]).map(|sample| sample.labels[label].clone()).collect();
            assert_eq!(found.len(), names.len() + 1, "{vendor} {family}: {found:?}");
            assert!(found.iter().all(|name| name.len() <= 256));
            for name in names.iter().filter(|name| name.len() <= 256) {
                assert!(found.contains(name.trim()), "{vendor} {family}: {name:?} in {found:?}");
            }
            assert!(found.contains("no \u{fffd}\u{fffd} text"), "{vendor} {family}: {found:?}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_not_the_answer_is_no_zero() {
    let deep = "[".repeat(100_000);
    let bodies =
        ["", " ", "null", "17", "\"x\"", "true", "[]", "[{}]", "{", "{}", "{\"a\":", "<html>", "\u{feff}", &deep];
    join_all(bodies.map(async |body| {
        let reply = Reply::json(body.to_owned());
        let vendor = Vendor::start(move |_| reply.clone()).await;
        let running = four(&vendor.url(), "1h").await;
        let page = running.ready().await;
        let body = body.get(..20).unwrap_or(body);
        for name in ALL {
            assert_eq!(page.reasons(name), BTreeSet::from(["malformed"]), "{name} {body:?}");
            assert!(page.figures(name).is_empty(), "{name} {body:?}");
        }
        running.stop().await;
    }))
    .await;
}

/// The answer to one call: `details`, in the place of the documented ones.
async fn calls(details: Vec<Value>, ucids: &str) -> super::exposition::Exposition {
    let mut answer: Value = serde_json::from_str(&fixture("ozonetel/cdr_v2_outbound.json")).unwrap();
    answer["details"] = Value::Array(details);
    let body = answer.to_string();
    let vendor = Vendor::start(move |_| Reply::json(body.clone())).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "ucids.txt", ucids);
    let yaml = format!(
        "vendors: {{ ozonetel: [{{ account: in, base_url: '{}', user_name: acme, api_key: k, rate_limit: 6000/1m, reports: {{ call_details: {{ interval: 1h, ucid_file: ucids.txt }} }} }}] }}",
        vendor.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    let page = running.ready().await;
    running.stop().await;
    page
}

/// The documented outbound leg with its own id and these changes.
fn leg(id: u64, changes: &Value) -> Value {
    let answer: Value = serde_json::from_str(&fixture("ozonetel/cdr_v2_outbound.json")).unwrap();
    let mut leg = answer["details"][0].clone();
    leg["UCID"] = id.into();
    leg["CallID"] = id.into();
    for (key, value) in changes.as_object().unwrap() {
        leg[key] = value.clone();
    }
    leg
}

#[tokio::test]
async fn a_leg_that_cannot_be_true_is_rejected_and_the_others_count() {
    let wrong = [
        json!({"TalkTime": "24:00:01"}),
        json!({"Duration": "99:59:59"}),
        json!({"TalkTime": "-00:00:05"}),
        json!({"HoldDuration": "soon"}),
        json!({"WrapupDuration": {"seconds": 5}}),
        json!({"CallDate": "20/11/2026"}),
        json!({"CallID": null}),
        json!({"UCID": ""}),
        json!({"StartTime": "None"}),
        json!({"Type": null}),
    ];
    let mut details: Vec<_> = (0..).zip(&wrong).map(|(id, change)| leg(900 + id, change)).collect();
    let mut keyless = leg(950, &json!({}));
    keyless.as_object_mut().unwrap().remove("CallDate");
    details.extend([keyless, json!(17), json!([]), Value::Null]);
    let rejected = details.len();
    details.push(leg(1000, &json!({})));
    let page = calls(details, "1000,2026-11-20\n").await;
    assert!(page.up("ozonetel"), "{}", page.text);
    #[expect(clippy::cast_precision_loss, reason = "a handful")]
    let rejected = rejected as f64;
    assert_eq!(page.value("rejected_records_total", &[]), Some(rejected), "{}", page.text);
    assert_eq!(page.value("agent_handled_calls_total", &[]), Some(1.0));
    assert_eq!(page.value("agent_talk_seconds_total", &[]), Some(48.0));
}

#[tokio::test]
async fn what_is_missing_is_absent_and_large_ids_stay_apart() {
    // Two neighbours above 2^53 are two calls; what the vendor calls "nothing" is no figure.
    let nothing = json!({"HoldDuration": "None", "WrapupDuration": "-", "AgentID": "None"});
    let day = json!({"WrapupDuration": null, "HoldDuration": "", "TalkTime": "24:00:00"});
    let details = vec![leg(41_571_870_688_636_585, &nothing), leg(41_571_870_688_636_586, &day)];
    let page = calls(details, "41571870688636585,2026-11-20\n").await;
    assert_eq!(page.value("campaign_outbound_connected_calls_total", &[]), Some(2.0), "{}", page.text);
    assert_eq!(page.value("agent_handled_calls_total", &[("agent", "asha")]), Some(1.0));
    assert_eq!(page.value("agent_talk_seconds_total", &[]), Some(86_400.0));
    for name in ["agent_hold_seconds_total", "agent_after_call_work_seconds_total"] {
        assert_eq!(page.find(name, &[]).count(), 0, "{name} was made up");
    }
    assert_eq!(page.find("agent_handled_calls_total", &[]).count(), 1, "nobody is no agent");
}
