//! One vendor breaks, in every way that vendors break, and the other three do not notice. The broken one says why, keeps
//! its last values until `stale_after` and shows them again once it is mended.

use contact_center_exporter::simulator::truth::Truth;
use contact_center_exporter::simulator::{Fault, Options, Simulator, Vendor};
use futures_util::future::join_all;

use super::exposition::Exposition;
use super::support::{Running, afternoon, write};

const FAULTS: [(Fault, &str); 5] = [
    (Fault::Down, "network"),
    (Fault::Hang, "timeout"),
    (Fault::Html, "malformed"),
    (Fault::CutBody, "malformed"),
    (Fault::Status(503), "unavailable"),
];

/// All four vendors, polled every second, with values that stay for sixteen seconds: three requests that time out must fit in, and a
/// machine that is busy with twenty such programs must not be taken for a vendor that hangs.
pub(crate) async fn start() -> (Simulator, Running) {
    let clock = afternoon();
    let options = Options { agents: 4, limits: None, ..Options::new(clock.clone()) };
    let simulator = Simulator::start(options).await.unwrap();
    let credentials = simulator.credentials();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", &credentials.huawei_guids);
    write(folder.path(), "credentials.json", &credentials.voximplant_key);
    let campaigns: Vec<_> = Truth::lines(Vendor::Ozonetel).iter().map(|(_, name)| *name).take(2).collect();
    let url = |vendor| simulator.url(vendor);
    let yaml = format!(
        "vendors:
  ozonetel:
    - {{ account: in, base_url: '{}', user_name: {}, api_key: {}, timeout: 4s, rate_limit: 6000/1m, reports: {{
        average_handling_time: {{ interval: 1s, stale_after: 16s, campaigns: {campaigns:?} }} }} }}
  wolkvox:
    - {{ account: co, base_url: '{}', token: '{}', timeout: 4s, reports: {{ agent_hold_mute: {{ interval: 1s, stale_after: 16s }} }} }}
  huawei:
    - {{ account: br, base_url: '{}', guids: {{ file: guids.json }}, timeout: 4s, reports: {{
        agent_call_statistics: {{ interval: 1s, stale_after: 16s }} }} }}
  voximplant:
    - {{ account: eu, base_url: '{}', credentials_file: credentials.json, timeout: 4s, reports: {{
        operator_statistics: {{ interval: 1s, stale_after: 16s }} }} }}
",
        url(Vendor::Ozonetel),
        credentials.ozonetel_user_name,
        credentials.ozonetel_api_key,
        url(Vendor::Wolkvox),
        credentials.wolkvox_token,
        url(Vendor::Huawei),
        url(Vendor::Voximplant),
    );
    let running = Running::start_in(folder, &yaml, &clock).await;
    (simulator, running)
}

fn whole(page: &Exposition, vendor: &str) -> bool {
    page.up(vendor) && !page.figures(vendor).is_empty()
}

fn last_success(page: &Exposition, vendor: &str) -> f64 {
    page.value("last_success_timestamp_seconds", &[("vendor", vendor)]).unwrap_or_default()
}

async fn break_and_mend(broken: Vendor, fault: Fault, reason: &str) {
    let (simulator, running) = start().await;
    let name = broken.label();
    let others: Vec<_> = Vendor::ALL.map(Vendor::label).into_iter().filter(|other| *other != name).collect();
    running.until("all four are up", |page| Vendor::ALL.iter().all(|vendor| whole(page, vendor.label()))).await;

    simulator.set_fault(broken, fault);
    let failed = running.until(&format!("{name} {fault:?}: the broken one says so"), |page| !page.up(name)).await;
    assert_eq!(failed.reasons(name).into_iter().collect::<Vec<_>>(), [reason], "{name} {fault:?}");
    assert!(!failed.figures(name).is_empty(), "{name} {fault:?}: the last values left before their time");

    let stale =
        running.until(&format!("{name} {fault:?}: the last values leave"), |page| page.figures(name).is_empty()).await;
    assert_eq!(stale.value("up", &[("vendor", name)]), Some(0.0), "{name} {fault:?}");
    for other in &others {
        assert!(whole(&stale, other), "{other} suffers from {name} {fault:?}");
        assert!(stale.reasons(other).is_empty(), "{other} failed while {name} was {fault:?}");
        let (before, after) = (last_success(&failed, other), last_success(&stale, other));
        assert!(after > before, "{other} stood still while {name} was {fault:?}");
    }

    simulator.set_fault(broken, Fault::None);
    running.until(&format!("{name} {fault:?}: it comes back"), |page| whole(page, name)).await;
    running.stop().await;
}

// Nearly all of it is waiting, so all of it is done at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_breaks_and_the_others_do_not_notice() {
    let cases = Vendor::ALL.into_iter().flat_map(|broken| FAULTS.map(|(fault, reason)| (broken, fault, reason)));
    let cases = cases.map(|(broken, fault, reason)| tokio::spawn(break_and_mend(broken, fault, reason)));
    for ended in join_all(cases).await {
        ended.unwrap();
    }
}
