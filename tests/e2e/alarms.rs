//! Alerts in the large: the demo's hours with a vendor that fails, a quota that is nearly used and calls above their target, in a real
//! Prometheus server with our rules and a real Alertmanager with our routes. The right alerts fire and no others, and of
//! these the Alertmanager tells what is news.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Fault, Vendor};
use jiff::SignedDuration;
use serde_json::Value;

use crate::children::{Alertmanager, Server};
use crate::dashboards::{files, folder, list, text};
use crate::history::Story;
use crate::promql::Prometheus;

const DEADLINE: Duration = Duration::from_mins(2);
/// What fires, and of whom.
const FIRING: [&str; 4] = [
    "ContactCenterHandleTimeHigh shop-eu",
    "ContactCenterQuotaNearlyUsed ventas-co",
    "ContactCenterReportFailing aicc-br",
    "ContactCenterReportStale aicc-br",
];
/// That a report fails which is stale is no news.
const NEWS: [&str; 3] = [
    "ContactCenterHandleTimeHigh shop-eu",
    "ContactCenterQuotaNearlyUsed ventas-co",
    "ContactCenterReportStale aicc-br",
];
/// Who hears of it.
const RECEIVERS: [(&str, &str); 3] = [
    ("ContactCenterHandleTimeHigh", "supervisors"),
    ("ContactCenterQuotaNearlyUsed", "desk"),
    ("ContactCenterReportStale", "on-call"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_goes_wrong_is_told_and_nothing_else() {
    let _turn = crate::turn().await;
    let temporary = tempfile::tempdir().unwrap();
    let data = temporary.path().join("prometheus");
    tokio::task::spawn_blocking(move || story().play(&data)).await.unwrap();

    let example = folder("prometheus/alertmanager.yml");
    let alertmanager = Alertmanager::start(temporary.path(), &impatient(temporary.path(), &example)).await;
    let mut yml = "global: { scrape_interval: 1h, evaluation_interval: 1s }\nrule_files:\n".to_owned();
    for path in files("prometheus/rules", ".yml").into_iter().chain(files("prometheus/alerts", ".yml")) {
        writeln!(yml, "  - {}", impatient(temporary.path(), &path).display()).unwrap();
    }
    let target = &alertmanager.address;
    writeln!(yml, "alerting: {{ alertmanagers: [{{ static_configs: [{{ targets: ['{target}'] }}] }}] }}").unwrap();
    let server = Server::with(temporary.path(), &yml).await;
    let prometheus = Prometheus::new(&server.address);

    // Whatever wants to fire has had its turn several times.
    prometheus.until("min(count_over_time(ALERTS{alertname=\"ContactCenterReportStale\"}[1m])) > 5", DEADLINE).await;
    let fired = prometheus.vector("sum by (alertname, account) (ALERTS{alertstate=\"firing\"})").await;
    let fired: BTreeSet<_> = fired.keys().map(|labels| name(&serde_json::from_str(labels).unwrap())).collect();
    let reasons = prometheus.vector("ALERTS{alertname=\"ContactCenterReportFailing\"}").await;
    assert_eq!(fired, FIRING.map(str::to_owned).into(), "{reasons:?}");

    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/api/v2/alerts", alertmanager.address);
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let alerts: Value = client.get(&url).send().await.unwrap().json().await.unwrap();
        let news = list(&alerts).iter().filter(|alert| alert["status"]["state"] == "active");
        let told: BTreeSet<_> = news.clone().map(|alert| name(&alert["labels"])).collect();
        if list(&alerts).len() == FIRING.len() && told == NEWS.map(str::to_owned).into() {
            for alert in news {
                check(alert);
            }
            return;
        }
        assert!(tokio::time::Instant::now() < deadline, "Alertmanager tells {told:?} of {alerts}");
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
}

#[test]
fn the_alertmanager_example_is_valid() {
    let output =
        Command::new("amtool").arg("check-config").arg(folder("prometheus/alertmanager.yml")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// It ends in the tenant's forenoon.
fn story() -> Story {
    let hour = i8::try_from(Clock::system().now().as_second().rem_euclid(86_400) / 3600).unwrap();
    // Between -9 and +14 hours from Greenwich; the zones' names count the other way.
    let east = if hour >= 20 { 34 - hour } else { 10 - hour };
    let zone = format!("licences: 10\n      timezone: Etc/GMT{:+}", -east);
    Story {
        length: SignedDuration::from_hours(14),
        second: SignedDuration::from_hours(2),
        fault: (SignedDuration::ZERO..SignedDuration::from_mins(50), Vendor::Huawei, Fault::Status(503)),
        settings: vec![("licences: 1000", zone)],
        // Others have spent most of it; what is left suffices for the exporter.
        licences: 10,
        others: 8800,
        zone: east,
    }
}

/// A copy that waits for nothing, with a target that the simulated calls of one account exceed.
fn impatient(folder: &Path, path: &Path) -> std::path::PathBuf {
    let text = std::fs::read_to_string(path).unwrap();
    let patient = |line: &&str| !line.trim_start().starts_with("for: ");
    let text = text.lines().filter(patient).collect::<Vec<_>>().join("\n");
    let target = "contact_center_handle_time_seconds:threshold\n        expr: ";
    let lower = format!("{target}max by (vendor, account) (contact_center_up{{account=\"shop-eu\"}}) * 0 + 60 or ");
    let text = text
        .replace("interval: 1m", "interval: 1s")
        .replace("group_wait: 30s", "group_wait: 1s")
        .replace(target, &lower);
    let copy = folder.join(path.file_name().unwrap());
    std::fs::write(&copy, text).unwrap();
    copy
}

fn name(labels: &Value) -> String {
    format!("{} {}", text(&labels["alertname"]), text(&labels["account"]))
}

/// It goes to whom it concerns, in words.
fn check(alert: &Value) {
    let receiver =
        RECEIVERS.iter().find(|(name, _)| alert["labels"]["alertname"] == *name).map(|(_, receiver)| *receiver);
    assert_eq!(Some(text(&alert["receivers"][0]["name"])), receiver, "{alert}");
    let description = text(&alert["annotations"]["description"]);
    println!("{}: {description}", text(&alert["labels"]["alertname"]));
    assert!(description.contains(text(&alert["labels"]["account"])) && !description.contains("error"), "{alert}");
}
