//! What Ozonetel is asked, from the simulator's own log: how often, how many at once, by which method, and with no
//! credential in a URL but where the old APIs demand it. The vendor's limits are widened alike on both sides, so that a
//! test sees many of its periods; which header proves what, the simulator insists on itself.

use std::time::Duration;

use contact_center_exporter::simulator::{Options, Simulator, Vendor, VendorLog};

use super::support::{Running, afternoon, write};

/// Sixty of the vendor's minutes go by in one.
const FASTER: u32 = 60;

async fn run(token: bool, reports: &str) -> (VendorLog, super::exposition::Exposition) {
    let clock = afternoon();
    let limits = Some(f64::from(FASTER));
    let options = Options { agents: 40, limits, ozonetel_token: token, ..Options::new(clock.clone()) };
    let simulator = Simulator::start(options).await.unwrap();
    let credentials = simulator.credentials();
    let folder = tempfile::tempdir().unwrap();
    let listed = simulator.ozonetel_ucids(clock.now() - jiff::SignedDuration::from_mins(10), clock.now());
    let lines: Vec<_> = listed.iter().map(|(id, day)| format!("{id},{day}")).collect();
    write(folder.path(), "ucids.txt", lines.join("\n"));
    let yaml = format!(
        "vendors: {{ ozonetel: [{{ account: in, base_url: '{}', user_name: {}, api_key: {}, auth: {}, reports: {{ {reports} }} }}] }}",
        simulator.url(Vendor::Ozonetel),
        credentials.ozonetel_user_name,
        credentials.ozonetel_api_key,
        if token { "token" } else { "api_key" },
    );
    let running = Running::start_in(folder, &yaml, &clock).await;
    let page = running
        .until("some polls of each report", |page| {
            page.find("polls_total", &[]).count() > 0 && page.find("polls_total", &[]).all(|sample| sample.value >= 8.0)
        })
        .await;
    let log = simulator.log(Vendor::Ozonetel);
    running.stop().await;
    (log, page)
}

/// However many requests to `api` follow each other, they take as long as its limit spreads them over, but for how late a
/// machine with other work hands them on.
fn spaced(log: &VendorLog, api: &str, per_minute: u32) {
    const UNEVEN: Duration = Duration::from_millis(120);
    let entries = log.of(api);
    let least = Duration::from_mins(1) / (per_minute * FASTER);
    // So many that to send them all at once would be seen.
    let apart = u32::try_from(2 * UNEVEN.as_micros() / least.as_micros() + 2).unwrap();
    assert!(entries.len() > apart as usize, "{api}: {} of {apart}", entries.len());
    for (place, entry) in entries.iter().enumerate().skip(apart as usize) {
        let gap = entry.at.saturating_sub(entries[place - apart as usize].at);
        assert!(gap + UNEVEN >= least * apart, "{api}: {apart} more within {gap:?}");
    }
}

fn no_failures(page: &super::exposition::Exposition) {
    assert!(page.reasons("ozonetel").is_empty(), "{}", page.text);
    assert!(page.up("ozonetel"), "{}", page.text);
}

#[tokio::test]
async fn lists_keep_their_rate_with_one_token() {
    let (log, page) = run(
        true,
        "call_records: { interval: 1s, rate_limit: 120/1m }, agent_summary: { interval: 1s, rate_limit: 300/1m }",
    )
    .await;
    no_failures(&page);
    spaced(&log, "fetchCdrByPagination", 2);
    spaced(&log, "summaryReport", 5);
    assert_eq!(log.of("generateToken").len(), 1, "one for all reports");
    assert!(log.entries.iter().all(|entry| !entry.credentials_in_url));
    assert!(log.peak_in_flight <= 2, "a report asks for one thing after the other");
    for (api, method) in [("fetchCdrByPagination", "GET"), ("summaryReport", "POST"), ("generateToken", "POST")] {
        assert!(log.of(api).iter().all(|entry| entry.method == method), "{api}");
    }
    assert!(log.of("unknown").is_empty());
}

#[tokio::test]
async fn credentials_stand_in_the_url_of_the_old_apis_alone() {
    for (api, averages, calls, shown) in
        [("v1", "AHT.php", "CallBacks.php", true), ("v2", "aht", "fetchCdrByUCID", false)]
    {
        let limit = if api == "v1" { 3000 } else { 120 };
        let reports = format!(
            "average_handling_time: {{ interval: 1s, api: {api}, agents: [asha, ravi], rate_limit: 3000/1m }}, call_details: {{ interval: 1s, api: {api}, ucid_file: ucids.txt, rate_limit: {limit}/1m }}"
        );
        let (log, page) = run(false, &reports).await;
        no_failures(&page);
        assert!(!log.of(averages).is_empty() && !log.of(calls).is_empty());
        assert!(log.entries.iter().all(|entry| entry.credentials_in_url == shown && entry.method == "GET"), "{api}");
        spaced(&log, calls, limit / FASTER);
        spaced(&log, averages, 50);
    }
}
