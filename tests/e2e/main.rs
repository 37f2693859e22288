//! The program as its users meet it: the real binary against the simulated vendors, scraped by a real Prometheus server.
//! What Prometheus then answers is compared, agent by agent, with what really happened.
//!
//! `PROMETHEUS` names another server than the one in the path; a `promtool` beside it is used too.

#![expect(clippy::unwrap_used, reason = "every line here is a test")]
#![expect(clippy::print_stdout, reason = "the test says what it compared")]

mod alarms;
mod children;
mod dashboards;
mod disk;
mod expected;
mod history;
mod kill;
mod lint;
mod names;
mod panels;
mod promql;
mod scrapers;
mod vendors;

use std::time::Duration;

use children::{Exporter, Server};
use promql::Prometheus;
use vendors::Vendors;

/// Nothing here should take longer, on a busy machine too.
const DEADLINE: Duration = Duration::from_mins(2);
/// All samples of a test lie in this range.
const ALL_TIME: &str = "[1h]";
/// What grows on the page.
const COUNTERS: &str = r#"{__name__=~"contact_center_.+_(total|bucket|count|sum)"}"#;
/// Counters of agents whose figures grow with every call.
const BUSY: &str = r#"{__name__=~"contact_center_agent_(talk|hold_mute)_seconds_total"}"#;

/// Two tests at a time: each has a server and a busy exporter, and waits for polls.
async fn turn() -> tokio::sync::SemaphorePermit<'static> {
    static TURNS: tokio::sync::Semaphore = tokio::sync::Semaphore::const_new(2);
    TURNS.acquire().await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn prometheus_has_the_truth_of_every_vendor() {
    let _turn = turn().await;
    vendors::away_from_midnight().await;
    let folder = tempfile::tempdir().unwrap();
    let mut vendors = Vendors::start(folder.path(), "").await;
    let exporter = Exporter::start(folder.path()).await;
    let server = Server::start(folder.path(), &exporter.address, "1s").await;
    let prometheus = Prometheus::new(&server.address);

    // Figures move, and many polls see them moving.
    let (moved, polls) = (
        format!(
            "count(sum by (vendor) (max_over_time({BUSY}{ALL_TIME}) - min_over_time({BUSY}{ALL_TIME})) > 0) == {}",
            vendors::COUNT
        ),
        format!("min(contact_center_polls_total) > 10 and count(contact_center_up == 1) == {}", vendors::REPORTS),
    );
    prometheus.until(&moved, DEADLINE).await;
    prometheus.until(&polls, DEADLINE).await;

    // Then the truth stands still. A poll that began so long after has been stored, shown and scraped, with all before it.
    let stopped = vendors.stop().await;
    let after = contact_center_exporter::clock::Clock::system().now().as_second() + 4;
    let seen = format!(
        "min(contact_center_last_success_timestamp_seconds) > {after} \
         and count(contact_center_last_success_timestamp_seconds) == {}",
        vendors::REPORTS
    );
    prometheus.until(&seen, DEADLINE).await;

    let expected = expected::families(vendors.truth(), &stopped);
    for family in &expected {
        let answered = prometheus.vector(&family.query).await;
        assert!(family.values.len() >= 2, "{} should have something to compare: {:?}", family.query, family.values);
        assert_eq!(answered, family.values, "{}", family.query);
        let sum: f64 = family.values.values().sum();
        println!("{:>4} series, sum {sum:>9}: {}", family.values.len(), family.query);
    }

    assert_eq!(prometheus.vector("up").await.into_values().collect::<Vec<_>>(), [1.0]);
    for name in prometheus.names(COUNTERS).await {
        let fell = prometheus.vector(&format!("resets({name}{ALL_TIME}) > 0")).await;
        assert!(fell.is_empty(), "{name} fell: {fell:?}");
    }
    let counters = prometheus.number(&format!("count({COUNTERS})")).await;
    let scrapes = prometheus.number(&format!("min(count_over_time(up{ALL_TIME}))")).await;
    assert!(counters > 100.0 && scrapes > 10.0, "{counters} counters in {scrapes} scrapes");
    println!("{counters} counters, none of them fell in {scrapes} scrapes");

    let problems = server.complaints();
    assert!(problems.is_empty(), "Prometheus complains:\n{}", problems.join("\n"));
    exporter.check_metrics().await;
}
