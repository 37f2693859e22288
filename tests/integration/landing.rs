//! The landing page and its JSON, from the whole program and four simulated vendors: what they say of a report is what
//! its vendor saw, and what broke.

use std::time::Duration;

use contact_center_exporter::simulator::{Fault, Vendor};
use serde_json::Value;
use tokio::time::Instant;

use super::isolation::start;
use super::support::Running;

const KEYS: [&str; 15] = [
    "account",
    "age_seconds",
    "entity_errors",
    "interval_seconds",
    "last_error",
    "last_success",
    "next_poll",
    "next_poll_seconds",
    "oldest_pending_call",
    "pending_calls",
    "quota",
    "report",
    "requests",
    "state",
    "vendor",
];

async fn rows(running: &Running) -> Vec<Value> {
    let json: Value = serde_json::from_str(&running.get("/api/v1/reports").await.body).unwrap();
    json["reports"].as_array().unwrap().clone()
}

fn row<'a>(rows: &'a [Value], vendor: &str) -> &'a Value {
    rows.iter().find(|row| row["vendor"] == vendor).unwrap()
}

#[tokio::test]
async fn people_and_programs_are_told_the_same_and_what_the_vendor_saw() {
    let (simulator, running) = start().await;
    running.ready().await;
    let deadline = Instant::now() + Duration::from_secs(30);
    let all = loop {
        let all = rows(&running).await;
        if all.iter().all(|row| row["state"] == "up") {
            break all;
        }
        assert!(Instant::now() < deadline, "never all up: {all:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let page = running.get("/").await.body;
    assert_eq!(all.len(), 4);
    for row in &all {
        let keys: Vec<_> = row.as_object().unwrap().keys().map(String::as_str).collect();
        assert_eq!(keys, KEYS);
        let wait = row["next_poll_seconds"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&wait), "{row}");
        assert!(row["age_seconds"].as_i64().unwrap() < 16, "{row}");
        for part in ["vendor", "account", "report"].map(|key| row[key].as_str().unwrap()) {
            assert!(page.contains(part), "{part}");
        }
    }
    // Requests go on while they are compared: the vendor's count lies between the one before and the one after.
    for (vendor, name) in [(Vendor::Ozonetel, "ozonetel"), (Vendor::Wolkvox, "wolkvox"), (Vendor::Huawei, "huawei")] {
        let told = |rows: &[Value]| row(rows, name)["requests"][0]["total"].as_u64().unwrap();
        let before = told(&rows(&running).await);
        let seen = simulator.log(vendor).total;
        let after = told(&rows(&running).await);
        // One may be told and be under way to the vendor still.
        assert!(before <= seen + 8 && seen <= after, "{name}: {before} {seen} {after}");
    }
    let ozonetel = &row(&all, "ozonetel")["requests"][0];
    assert_eq!((ozonetel["limit"].as_u64(), ozonetel["period_seconds"].as_f64()), (Some(6000), Some(60.0)));
    assert!(ozonetel["used"].as_u64().is_some_and(|used| used > 0 && used <= ozonetel["total"].as_u64().unwrap()));
    let quota = &row(&all, "wolkvox")["quota"];
    assert!(quota["limit"] == 1000 && quota["used"].as_u64().is_some_and(|used| used > 0), "{quota}");
    assert!(page.contains(" of 1000 today") && page.contains(" of 6000 in 1m"), "{page}");
    running.stop().await;
}

#[tokio::test]
async fn every_key_is_documented() {
    let (_simulator, running) = start().await;
    running.ready().await;
    let document = std::fs::read_to_string("docs/operating.md").unwrap();
    for row in rows(&running).await {
        let requests = row["requests"][0].as_object().unwrap().keys();
        for key in row.as_object().unwrap().keys().chain(requests) {
            assert!(document.contains(&format!("`{key}`")), "{key}");
        }
    }
    running.stop().await;
}

#[tokio::test]
async fn what_broke_is_told_with_what_to_do() {
    let (simulator, running) = start().await;
    running.ready().await;
    simulator.set_fault(Vendor::Voximplant, Fault::Down);
    let deadline = Instant::now() + Duration::from_secs(30);
    let error = loop {
        let rows = rows(&running).await;
        let row = row(&rows, "voximplant");
        if row["state"] == "failing" {
            break row["last_error"].clone();
        }
        assert!(Instant::now() < deadline, "it does not fail: {row}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    };
    let detail = error["detail"].as_str().unwrap();
    assert!(error["reason"] == "network" && detail.contains("check base_url"), "{error}");
    let page = running.get("/").await.body;
    assert!(page.contains(detail) && page.contains("class=\"failing\">failing"), "{page}");
    running.stop().await;
}
