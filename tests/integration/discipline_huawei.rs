//! How the exporter behaves towards Huawei, from the request log of the simulated gateway and from what a recorder of
//! headers saw: one request per agent and poll, so many at once, with the agent's own credentials of this moment, and
//! nothing that would take his seat or his events.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use tokio::time::Instant;

use super::support::{Running, afternoon, fixture, noon, write};
use super::vendor::{Reply, Vendor as Recorder};

async fn start(options: Options, report: &str) -> (Simulator, Running) {
    let clock = options.clock.clone();
    let simulator = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", simulator.credentials().huawei_guids);
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: br, base_url: '{}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {report} }} }}] }}",
        simulator.url(Vendor::Huawei)
    );
    let running = Running::start_in(folder, &yaml, &clock).await;
    running.ready().await;
    (simulator, running)
}

#[tokio::test]
async fn each_agent_is_asked_once_per_poll_and_so_many_at_once() {
    for (report, most) in [("{ interval: 1h }", 8), ("{ interval: 1h, concurrency: 3 }", 3)] {
        let latency = Duration::from_millis(5);
        let options = Options { huawei_agents: Some(200), latency, ..Options::new(afternoon()) };
        let (simulator, running) = start(options, report).await;
        let log = simulator.log(Vendor::Huawei);
        assert_eq!((log.total, log.of("statisticsEx").len(), log.forbidden), (200, 200, 0));
        assert_eq!(log.peak_in_flight, most);
        assert!(log.entries.iter().all(|entry| entry.method == http::Method::GET && !entry.credentials_in_url));
        for _ in 0..20 {
            running.page().await;
        }
        assert_eq!(simulator.log(Vendor::Huawei).total, 200, "a scrape asks nobody");
        running.stop().await;
    }
}

/// Trap, 000-007: an agent must not be asked again before he was answered. A poll is due while one of two agents still waits
/// for his answer: it is left out, for the other one too.
#[tokio::test]
async fn nobody_is_asked_again_before_he_was_answered() {
    const LATE: Duration = Duration::from_millis(2300);
    let last = Mutex::new(None);
    let gateway = Recorder::start(move |asked| {
        let good = Reply::json(fixture("huawei/statistics_ok.json"));
        if !asked.path().contains("/102/") {
            return good;
        }
        let before: Option<Instant> = last.lock().unwrap().replace(asked.at);
        match before {
            Some(before) if asked.at - before < LATE => {
                Reply::json(r#"{"message":"","result":"","retcode":"000-007"}"#)
            }
            _ => good.late(LATE),
        }
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", r#"{"101":"g101","102":"g102"}"#);
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: br, base_url: '{}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{ interval: 1s }} }} }}] }}",
        gateway.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    let page = running.until("three polls", |page| page.sum("polls_total", &[]) >= 3.0).await;
    assert!(page.sum("polls_skipped_total", &[]) >= 2.0, "{}", page.text);
    assert!(page.up("huawei") && page.sum("entity_failures_total", &[]) < 0.5, "{}", page.text);
    running.stop().await;
    let asked = gateway.asked();
    for agent in ["/101/", "/102/"] {
        let times: Vec<_> = asked.iter().filter(|asked| asked.path().contains(agent)).map(|asked| asked.at).collect();
        assert!(times.len() >= 2 && times.windows(2).all(|pair| pair[1] - pair[0] >= LATE), "{agent} {times:?}");
    }
}

#[tokio::test]
async fn a_rate_of_the_operator_s_own_is_an_even_spacing() {
    let options = Options { huawei_agents: Some(20), ..Options::new(afternoon()) };
    let (simulator, running) = start(options, "{ interval: 1h, rate_limit: 600/1m }").await;
    let entries = simulator.log(Vendor::Huawei).entries;
    for (first, eleventh) in entries.iter().zip(&entries[10..]) {
        assert!(
            eleventh.at.saturating_sub(first.at) >= Duration::from_millis(900),
            "{:?}",
            eleventh.at.saturating_sub(first.at)
        );
    }
    running.stop().await;
}

/// Dynamic authentication, AUTHMODE 2: a GUID is replaced every 60 s and dead after 120 s. Here a minute lasts two seconds.
#[tokio::test]
async fn guids_that_rotate_are_followed() {
    let clock = Clock::scaled("2026-11-20T14:00:00Z".parse().unwrap(), 30.0);
    let options = Options {
        huawei_agents: Some(30),
        huawei_guid_life: Some(Duration::from_mins(1)),
        huawei_cookies: true,
        ..Options::new(clock)
    };
    let (simulator, running) = start(options, "{ interval: 1s }").await;
    let (simulator, path) = (Arc::new(simulator), running.folder.path().join("guids.json"));
    let middleware = {
        let (simulator, path) = (Arc::clone(&simulator), path.clone());
        tokio::spawn(async move {
            loop {
                let aside = path.with_extension("new");
                std::fs::write(&aside, simulator.credentials().huawei_guids).unwrap();
                std::fs::rename(&aside, &path).unwrap();
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        })
    };
    let first = simulator.credentials().huawei_guids;
    let page = running.until("six minutes of the gateway's", |page| page.sum("polls_total", &[]) > 12.0).await;
    assert_ne!(simulator.credentials().huawei_guids, first);
    assert!(page.up("huawei") && page.sum("entity_failures_total", &[]) < 0.5, "{}", page.text);
    assert!(page.sum("revisions_total", &[]) < 0.5, "every cookie went with its own agent");
    assert!(page.value("guids_last_changed_timestamp_seconds", &[]).is_some());
    assert_eq!(simulator.log(Vendor::Huawei).forbidden, 0, "nobody was signed in or out, and no events were taken");

    // The middleware dies: what it left behind expires, which either code may say.
    middleware.abort();
    let page =
        running.until("expired GUIDs", |page| page.sum("entity_failures_total", &[("reason", "auth")]) > 0.0).await;
    assert!(page.find("entity_failures_total", &[]).all(|one| one.labels["reason"] == "auth" || one.value < 0.5));
    write(running.folder.path(), "guids.json", simulator.credentials().huawei_guids);
    running.stop().await;
}

/// Every code that the documents list: a DR switch-over and what else may be wrong fails the poll; nothing becomes zeros.
#[tokio::test]
async fn every_documented_code_has_its_reason() {
    let options = Options { huawei_agents: Some(2), ..Options::new(afternoon()) };
    let (simulator, running) = start(options, "{ interval: 1s, stale_after: 1h }").await;
    let figures = |page: &super::exposition::Exposition| {
        let counters = page.figures("huawei").into_iter().filter(|sample| sample.name.ends_with("_total"));
        counters.map(|sample| sample.value).sum::<f64>()
    };
    let before = figures(&running.page().await);
    for (code, reason) in [
        ("000-003", "auth"),
        ("000-001", "unavailable"),
        ("000-002", "unavailable"),
        ("000-004", "unavailable"),
        ("000-007", "unavailable"),
        ("100-007", "unavailable"),
        ("105-001", "unavailable"),
        ("105-002", "unavailable"),
        ("105-003", "unavailable"),
        ("105-005", "unavailable"),
        ("105-006", "unavailable"),
        ("105-007", "unavailable"),
    ] {
        simulator.set_huawei_retcode(None);
        running.until("it is up", |page| page.up("huawei")).await;
        let labels = [("vendor", "huawei"), ("reason", reason)];
        let failed = running.page().await.sum("poll_failures_total", &labels);
        simulator.set_huawei_retcode(Some(code));
        let page = running.until(code, |page| page.sum("poll_failures_total", &labels) > failed).await;
        assert!(figures(&page) >= before, "{code} became figures");
    }
    simulator.set_huawei_retcode(Some("100-006"));
    let page =
        running.until("all signed out", |page| page.up("huawei") && page.sum("agent_signed_in", &[]) < 0.5).await;
    assert_eq!(page.find("agent_signed_in", &[]).count(), 2, "0 is said of both");
    assert!(figures(&page) >= before, "100-006 ends nothing");
    running.stop().await;
}

/// Behind a load balancer each agent has a cookie of his own, and what an answer wants to set is nobody's.
#[tokio::test]
async fn cookies_are_never_shared_and_never_kept() {
    let count = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&count);
    let recorder = Recorder::start(move |_| {
        let number = counted.fetch_add(1, Ordering::SeqCst);
        Reply::json(fixture("huawei/statistics_ok.json")).with("set-cookie", format!("route=stranger{number}; Path=/"))
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let guids = r#"{"101":{"guid":"g101","cookie":"route=gw0"},"102":{"guid":"g102","cookie":"route=gw1; x=y"},"103":"JSESSIONID=g103","999999":"g6"}"#;
    write(folder.path(), "guids.json", guids);
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: br, base_url: '{}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{ interval: 1s }} }} }}] }}",
        recorder.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.until("three polls", |page| page.sum("polls_total", &[]) > 3.5).await;
    running.stop().await;
    let mut seen: BTreeMap<String, Vec<[String; 2]>> = BTreeMap::new();
    for asked in recorder.asked() {
        let header = |name: &str| asked.headers.get(name).map_or("-", |value| value.to_str().unwrap()).to_owned();
        assert_eq!(header("content-type"), "application/json; charset=UTF-8", "also with GET");
        assert_eq!((asked.method.as_str(), asked.body.as_str(), asked.uri.query()), ("GET", "", None));
        let agent = asked.path().strip_prefix("/agentgateway/resource/calldata/").unwrap().to_owned();
        seen.entry(agent).or_default().push([header("guid"), header("cookie")]);
    }
    for (agent, guid, cookie) in
        [("101", "g101", "route=gw0"), ("102", "g102", "route=gw1; x=y"), ("103", "g103", "-"), ("999999", "g6", "-")]
    {
        let asked = &seen[&format!("{agent}/statisticsEx")];
        assert!(asked.len() >= 3 && asked.iter().all(|headers| *headers == [guid, cookie]), "{agent}: {asked:?}");
    }
    assert_eq!(seen.len(), 4);
}
