//! How the vendor is asked: one request at a time over all reports, the token in its header and nowhere else, and never
//! more than the day's quota, of which the least important report gets what is left.

use std::time::Duration;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Options, Simulator, Vendor};

use super::support::{Running, afternoon};
use super::vendor::{self, Reply};

const APIS: [&str; 4] = ["agent_1", "agent_9", "skill_1", "token_info"];

fn yaml(url: &str, token: &str, keys: &str) -> String {
    format!(
        "  wolkvox: [{{ account: co, base_url: '{url}', token: '{token}', {keys} reports: {{ \
         agent_activity: {{ interval: 1s }}, agent_hold_mute: {{ interval: 1s }}, skill_service: {{ interval: 1s }}, \
         token_usage: {{ interval: 1s }} }} }}]"
    )
}

/// Traps: the same token must not be used twice at once, whichever reports use it; a key in a URL ends in logs.
#[tokio::test]
async fn one_request_at_a_time_and_no_token_in_a_url() {
    let clock = afternoon();
    let latency = Duration::from_millis(60);
    let simulator = Simulator::start(Options { latency, ..Options::new(clock.clone()) }).await.unwrap();
    let yaml = yaml(&simulator.url(Vendor::Wolkvox), &simulator.credentials().wolkvox_token, "");
    let running = Running::start(&yaml, &clock).await;
    let polled = |page: &super::exposition::Exposition| page.sum("polls_total", &[]) >= 20.0;
    let page = running.until("twenty polls", polled).await;
    assert!(page.find("up", &[("vendor", "wolkvox")]).all(|up| up.value > 0.0), "{}", page.text);
    running.stop().await;

    let log = simulator.log(Vendor::Wolkvox);
    assert_eq!(log.peak_in_flight, 1);
    for api in APIS {
        assert!(log.of(api).len() >= 4, "{api} was asked {} times", log.of(api).len());
    }
    assert_eq!(APIS.map(|api| log.of(api).len()).iter().sum::<usize>(), log.entries.len(), "nothing else was asked");
    assert!(log.entries.iter().all(|entry| entry.method == http::Method::GET && !entry.credentials_in_url));
    // The next request begins after the answer to the last one.
    let gaps: Vec<_> = log.entries.windows(2).map(|pair| pair[1].at.saturating_sub(pair[0].at)).collect();
    assert!(gaps.iter().all(|gap| *gap >= latency), "{gaps:?}");
}

#[tokio::test]
async fn the_token_is_the_only_header_of_ours() {
    let server = vendor::Vendor::start(|_| Reply::json(r#"{"data":[]}"#)).await;
    let running = Running::start(&yaml(&server.url(), "c0ffee", ""), &afternoon()).await;
    running.ready().await;
    running.stop().await;
    for asked in server.asked() {
        assert_eq!(asked.headers["wolkvox-token"], "c0ffee");
        assert!(!asked.uri.to_string().contains("c0ffee") && asked.body.is_empty());
        let mut names: Vec<_> = asked.headers.keys().map(http::HeaderName::as_str).collect();
        names.retain(|name| !["accept", "accept-encoding", "host", "user-agent"].contains(name));
        assert_eq!(names, ["wolkvox-token"]);
    }
}

/// Trap: the quota is shared by all tokens of the operation, and what others use only the vendor can tell.
#[tokio::test]
async fn near_the_quota_the_most_important_report_goes_on_and_the_vendor_never_refuses() {
    // Others have taken most.
    let [first, .., least, _] = a_hundred_and_twenty_are_left(1, 880, None).await;
    assert!(least * 2 <= first, "{first} of the most important, {least} of the least");
}

/// Trap: a token may have a limit beside the operation's quota; what others use is taken off that one and not off this.
#[tokio::test]
async fn a_token_s_own_limit_is_its_own_whatever_others_use() {
    a_hundred_and_twenty_are_left(10, 3000, Some(120)).await;
}

/// A minute before the day ends: how often each API was asked until the most important report was polled fifteen times.
async fn a_hundred_and_twenty_are_left(licences: u32, others: u32, token_limit: Option<u32>) -> [usize; 4] {
    let clock = Clock::scaled("2026-11-21T04:58:30Z".parse().unwrap(), 1.0);
    let options = Options {
        wolkvox_licences: licences,
        wolkvox_others: others,
        wolkvox_token_limit: token_limit,
        ..Options::new(clock.clone())
    };
    let simulator = Simulator::start(options).await.unwrap();
    let keys = format!("licences: {licences},");
    let yaml = yaml(&simulator.url(Vendor::Wolkvox), &simulator.credentials().wolkvox_token, &keys);
    let running = Running::start(&yaml, &clock).await;
    let polled = |page: &super::exposition::Exposition| {
        page.value("polls_total", &[("report", "agent_activity")]).is_some_and(|polls| polls >= 15.0)
    };
    let page = running.until("fifteen polls of agent_activity", polled).await;
    let refused = [("reason", "quota"), ("report", "agent_activity")];
    assert_eq!(page.value("poll_failures_total", &refused), Some(0.0));
    running.stop().await;
    let log = simulator.log(Vendor::Wolkvox);
    let asked = APIS.map(|api| log.of(api).len());
    assert!(asked[0] >= 15, "{asked:?}");
    assert!(log.total <= 120, "more than was left");
    asked
}
