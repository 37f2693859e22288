//! How the exporter behaves towards Voximplant, from the request log of the simulated platform and from what a recorder of
//! headers saw: how many, how fast, how many at once, with what.

use std::time::Duration;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Entry, Options, Simulator, Vendor, VendorLog};

use super::support::{Running, afternoon, fixture, noon, voximplant_key, write};
use super::vendor::{Reply, Vendor as Recorder};

const METHODS: [&str; 5] =
    ["GetACDOperatorStatistics", "GetACDOperatorStatusStatistics", "GetACDQueueStatistics", "GetQueues", "GetUsers"];

async fn start(clock: &Clock, latency: Duration, account: &str, reports: &str) -> (Simulator, Running) {
    let voximplant_resend_window = Duration::from_millis(500);
    let options = Options {
        agents: 250,
        voximplant_queues: 20,
        voximplant_resend_window,
        latency,
        ..Options::new(clock.clone())
    };
    let simulator = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "credentials.json", simulator.credentials().voximplant_key);
    let url = simulator.url(Vendor::Voximplant);
    let yaml = format!(
        "vendors: {{ voximplant: [{{ account: shop, base_url: '{url}', credentials_file: credentials.json{account}, reports: {{ {reports} }} }}] }}"
    );
    let running = Running::start_in(folder, &yaml, clock).await;
    running.ready().await;
    (simulator, running)
}

fn queues() -> String {
    let ids: Vec<_> = (54..74).map(|id: u32| id.to_string()).collect();
    format!("queue_statistics: {{ interval: 1h, queues: [{}] }}", ids.join(", "))
}

fn of<'a>(log: &'a VendorLog, api: &str) -> Vec<&'a Entry> {
    log.of(api)
}

#[tokio::test]
async fn each_report_asks_as_often_as_its_plan_says_and_never_with_a_secret_in_the_url() {
    let reports = format!(
        "operator_statistics: {{ interval: 1h }}, operator_status: {{ interval: 1h }}, {}, directory: {{ interval: 1h, application: shop }}",
        queues()
    );
    let (simulator, running) = start(&afternoon(), Duration::ZERO, "", &reports).await;
    let log = simulator.log(Vendor::Voximplant);
    // The vendor gives 250 users in pages of 100 although a page of 1000 was asked for.
    let counts = METHODS.map(|method| of(&log, method).len());
    assert_eq!(counts, [1, 1, 20, 1, 3]);
    assert_eq!(log.total, 26, "nothing else was asked");
    assert!(log.entries.iter().all(|entry| entry.method == http::Method::POST && !entry.credentials_in_url));
    for _ in 0..20 {
        let page = running.page().await;
        assert_eq!(page.reasons("voximplant").len(), 0, "{}", page.text);
    }
    assert_eq!(simulator.log(Vendor::Voximplant).total, 26, "a scrape asks nobody");
    running.stop().await;
}

#[tokio::test]
async fn few_queues_are_asked_for_at_once() {
    for (account, most) in [("", 4), (", max_in_flight: 2", 2)] {
        let (simulator, running) = start(&afternoon(), Duration::from_millis(30), account, &queues()).await;
        assert_eq!(simulator.log(Vendor::Voximplant).peak_in_flight, most, "{account}");
        running.stop().await;
    }
}

#[tokio::test]
async fn a_rate_of_the_operator_s_own_is_an_even_spacing() {
    let (simulator, running) = start(&afternoon(), Duration::ZERO, ", rate_limit: 600/1m", &queues()).await;
    let log = simulator.log(Vendor::Voximplant);
    let entries = of(&log, "GetACDQueueStatistics");
    assert_eq!(entries.len(), 20);
    // However the machine delays one of them: no second holds more than ten, and the last comes when it is due.
    for (first, eleventh) in entries.iter().zip(&entries[10..]) {
        assert!(
            eleventh.at.saturating_sub(first.at) >= Duration::from_millis(900),
            "{:?}",
            eleventh.at.saturating_sub(first.at)
        );
    }
    assert!(entries[19].at.saturating_sub(entries[0].at) >= Duration::from_millis(1850));
    running.stop().await;
}

#[tokio::test]
async fn requests_carry_a_form_and_a_token_and_no_older_credentials() {
    let recorder = Recorder::start(|asked| match asked.path().rsplit('/').next() {
        Some("GetACDOperatorStatistics") => Reply::json(fixture("voximplant/operators.json")),
        Some("GetACDOperatorStatusStatistics") => Reply::json(fixture("voximplant/statuses.json")),
        Some("GetACDQueueStatistics") => Reply::json(fixture("voximplant/queue_54.json")),
        Some("GetUsers") => Reply::json(fixture("voximplant/users.json")),
        _ => Reply::json(fixture("voximplant/queues.json")),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "credentials.json", voximplant_key().await);
    let yaml = format!(
        "vendors: {{ voximplant: [{{ account: shop, base_url: '{}', credentials_file: credentials.json, reports: {{
            operator_statistics: {{}}, operator_status: {{}}, queue_statistics: {{ queues: [54] }}, directory: {{ application: shop }} }} }}] }}",
        recorder.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.ready().await;
    let asked = recorder.asked();
    let mut methods: Vec<_> = asked.iter().filter_map(|one| one.path().strip_prefix("/platform_api/")).collect();
    methods.sort_unstable();
    assert_eq!(methods, METHODS);
    for one in &asked {
        let header = |name: &str| one.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
        assert_eq!((one.method.as_str(), one.uri.query()), ("POST", None), "{}", one.path());
        assert_eq!(header("content-type"), "application/x-www-form-urlencoded");
        let token = header("authorization").strip_prefix("Bearer ").unwrap();
        assert_eq!(token.split('.').count(), 3);
        assert!(!one.body.contains("eyJ") && !one.body.contains("api_key") && !one.body.contains("account_"));
    }
    running.stop().await;
}

/// 484: probable automatic request resend. The simulated platform says so when the same request comes again at once.
#[tokio::test]
async fn what_fails_is_not_sent_again_at_once() {
    use contact_center_exporter::simulator::Fault;
    let (simulator, running) = start(&afternoon(), Duration::ZERO, "", "operator_status: { interval: 1s }").await;
    for fault in [Fault::Down, Fault::CutBody, Fault::Status(502), Fault::RateLimited, Fault::None] {
        simulator.set_fault(Vendor::Voximplant, fault);
        let before = running.page().await.sum("polls_total", &[]);
        running.until("three more polls", |page| page.sum("polls_total", &[]) >= before + 3.0).await;
    }
    let page = running.until("it is up again", |page| page.up("voximplant")).await;
    let log = simulator.log(Vendor::Voximplant);
    let polls = page.sum("polls_total", &[]);
    assert!(page.sum("api_requests_total", &[]) <= polls, "{}", page.text);
    for (one, next) in log.entries.iter().zip(&log.entries[1..]) {
        assert!(next.at.saturating_sub(one.at) > Duration::from_millis(500), "{:?}", next.at.saturating_sub(one.at));
    }
    running.stop().await;
}
