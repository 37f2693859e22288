//! Every query of every panel and variable, asked of a real Prometheus server that has seen a day and a half of the demo:
//! no error, data in every panel and of every vendor that feeds it, and the same with one exporter as with two.
//!
//! `HISTORY=8 HISTORY_AT=FOLDER` plays so many days and leaves them there, for looking at the dashboards.

use std::collections::{BTreeMap, BTreeSet};

use contact_center_exporter::catalogue::ALL;
use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Fault, Vendor};
use jiff::SignedDuration;

use crate::children::Server;
use crate::dashboards::{self, Dashboard, Panel, expand};
use crate::history::{INSTANCES, Story};
use crate::promql::Prometheus;

/// Long enough for the hours of yesterday that are compared with today's last.
const LENGTH: SignedDuration = SignedDuration::from_hours(34);
/// What the panels of failures need: an agent that nobody knows, and a rate limit that makes requests wait. Long lists are
/// asked for less often.
const MISHAPS: [(&str, &str); 3] = [
    ("agents: [", "agents: [\"gone\","),
    ("rate_limit: 3000/1m", "rate_limit: 20/1m"),
    ("call_records: { interval: 5m }", "call_records: { interval: 20m }"),
];

fn story(length: SignedDuration) -> Story {
    let an_hour = SignedDuration::from_hours(2)..SignedDuration::from_hours(3);
    Story {
        length,
        second: SignedDuration::from_hours(2),
        fault: (an_hour, Vendor::Huawei, Fault::Status(503)),
        settings: MISHAPS.map(|(old, new)| (old, new.to_owned())).to_vec(),
        licences: 2,
        others: 300,
        zone: -5,
    }
}

#[test]
fn history_to_look_at() {
    let number = std::env::var("HISTORY").ok().and_then(|days| days.parse::<i64>().ok());
    let Some((days, data)) = number.zip(std::env::var_os("HISTORY_AT")) else { return };
    story(SignedDuration::from_hours(24 * days)).play(data.as_ref());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_panel_has_data() {
    let _turn = crate::turn().await;
    let folder = tempfile::tempdir().unwrap();
    let data = folder.path().join("prometheus");
    tokio::task::spawn_blocking(move || story(LENGTH).play(&data)).await.unwrap();
    let server = Server::with(folder.path(), "global: { scrape_interval: 1h }\n").await;
    let prometheus = Prometheus::new(&server.address);
    let end = Clock::system().now().as_second();
    let end = prometheus.number(&format!("max(max_over_time(timestamp(up)[1h:1m] @ {end}))")).await;
    #[expect(clippy::cast_possible_truncation, reason = "seconds since the epoch")]
    let end = end as i64;

    let fed = feeders(&prometheus, end).await;
    let mut problems = Vec::new();
    let mut asked = 0;
    for dashboard in dashboards::all() {
        for (name, query) in dashboard.variable_queries() {
            if let Some(problem) = ask_variable(&prometheus, query, end).await {
                problems.push(format!("{}, variable {name}: {problem}", dashboard.file));
            }
        }
        for panel in dashboard.panels() {
            let place = format!("{}, panel {} “{}”", dashboard.file, panel.id, panel.title);
            asked += panel.queries().count();
            problems
                .extend(ask(&prometheus, &panel, end, &fed).await.into_iter().map(|what| format!("{place}: {what}")));
            problems.extend(
                twice(&prometheus, &dashboard, &panel, end).await.into_iter().map(|what| format!("{place}: {what}")),
            );
        }
    }
    assert!(problems.is_empty(), "{} problems:\n{}", problems.len(), problems.join("\n"));
    println!("{asked} queries of panels have been asked, each for all vendors and for each that feeds it");
}

/// The vendors whose series of a family are there, by family.
async fn feeders(prometheus: &Prometheus, end: i64) -> BTreeMap<String, BTreeSet<String>> {
    let mut fed: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for family in ALL {
        let name = family.spec().full_name();
        for vendor in Vendor::ALL.map(Vendor::label) {
            let query = format!("{{__name__=~\"{name}(_bucket)?\",vendor=\"{vendor}\"}}");
            if prometheus.series(&query, (end - 3600, end, 240)).await.unwrap().0 > 0 {
                fed.entry(name.clone()).or_default().insert(vendor.to_owned());
            }
        }
    }
    fed
}

/// What is wrong with a panel's answers.
async fn ask(
    prometheus: &Prometheus,
    panel: &Panel<'_>,
    end: i64,
    fed: &BTreeMap<String, BTreeSet<String>>,
) -> Vec<String> {
    let mut problems = Vec::new();
    let mut numbers = 0;
    for (letter, query) in panel.queries() {
        let times = times(panel, end);
        match prometheus.series(&expand(query, &[]), times).await {
            Err(error) => problems.push(format!("query {letter}: {error}")),
            Ok((_, found)) => numbers += found,
        }
        // A comparison leaves series out on purpose, and what is compared with last week is not there yet.
        if query.contains("> 0") || query.contains(">= ") || query.contains("== ") || query.contains("offset ") {
            continue;
        }
        for vendor in Vendor::ALL.map(Vendor::label) {
            let families: Vec<_> = families(query).filter(|name| !name.ends_with("_info")).collect();
            let all = families.iter().all(|name| fed.get(*name).is_some_and(|vendors| vendors.contains(vendor)));
            if all && !families.is_empty() {
                let answer = prometheus.series(&expand(query, &[("vendor", vendor)]), times).await;
                if answer.is_ok_and(|(_, found)| found == 0) {
                    problems.push(format!("query {letter} has no data of {vendor}"));
                }
            }
        }
    }
    if numbers == 0 {
        problems.push("no data".to_owned());
    }
    problems
}

/// A figure of the business is the same whether one exporter is asked or both: nothing is counted twice.
async fn twice(prometheus: &Prometheus, dashboard: &Dashboard, panel: &Panel<'_>, end: i64) -> Vec<String> {
    let mut problems = Vec::new();
    if dashboard.file.starts_with("exporter") {
        return problems;
    }
    for (letter, query) in panel.queries() {
        let both = prometheus.at(&expand(query, &[]), end).await;
        let one = prometheus.at(&expand(query, &[("instance", INSTANCES[0])]), end).await;
        if both != one {
            problems.push(format!("query {letter} counts twice: {both:?} instead of {one:?}"));
        }
    }
    problems
}

async fn ask_variable(prometheus: &Prometheus, query: &str, end: i64) -> Option<String> {
    let inner = query.split_once('(').and_then(|(_, rest)| rest.strip_suffix(')')).unwrap_or_default();
    let inner = if query.starts_with("label_values") {
        let (selector, label) = inner.rsplit_once(", ").unwrap_or_default();
        format!("count by ({label}) ({selector})")
    } else {
        inner.to_owned()
    };
    match prometheus.series(&expand(&inner, &[]), (end - 3600, end, 600)).await {
        Ok((0, _)) => Some("no values".to_owned()),
        Ok(_) => None,
        Err(error) => Some(error),
    }
}

/// Of what is shown over time, a day; of a table or figure, its last values.
fn times(panel: &Panel<'_>, end: i64) -> (i64, i64, i64) {
    let over_time = panel.json["targets"][0]["instant"] != true;
    if over_time { (end - 24 * 3600, end, 900) } else { (end, end, 60) }
}

/// The families that a query names.
fn families(query: &str) -> impl Iterator<Item = &str> {
    let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let histogram = |word: &str| ["_bucket", "_sum", "_count"].into_iter().find(|end| word.ends_with(end));
    words
        .filter(|word| word.starts_with("contact_center_"))
        .map(move |word| histogram(word).map_or(word, |end| word.trim_end_matches(end)))
}
