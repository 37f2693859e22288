//! The page, the catalogue and `docs/metrics.md` say the same. The document is written from the catalogue:
//! `UPDATE_DOCS=1 cargo test --test integration catalogue`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use contact_center_exporter::app::App;
use contact_center_exporter::catalogue::{ALL, Kind, Spec};
use contact_center_exporter::demo::Stage;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use super::exposition::Exposition;
use super::support::{OPEN_METRICS, assert_written, client, read};

const DOCUMENT: &str = "docs/metrics.md";

const INTRODUCTION: &str = "# Metrics

Every family that the exporter can show. This page is written from the table that the program itself reads
(`src/catalogue.rs`); `UPDATE_DOCS=1 cargo test --test integration catalogue` writes it anew.

- Durations are seconds. No sample carries a timestamp.
- A counter adds up what the vendor reports in days, calls or sign-in sessions, so it never falls: use `rate()` and
  `increase()`.
- `agent` is the vendor's own key: Voximplant `user_id`, Huawei agent id, Ozonetel `AgentID`, Wolkvox `agent_name`. With
  `labels.agent: pseudonym` a keyed hash stands in its place; with `none` agent counters are summed per account.
- Average handle time: `rate(contact_center_agent_handle_seconds_total[1h])` over
  `rate(contact_center_agent_handled_calls_total[1h])`.
- What the last poll read stays until the report's `stale_after` has passed since its last success, then leaves the page.
";

fn specs() -> impl Iterator<Item = (String, &'static Spec)> {
    ALL.iter().map(|family| (family.spec().full_name(), family.spec()))
}

fn section(spec: &Spec) -> &'static str {
    let of = |label: &str| spec.labels.contains(&label);
    match (of("agent"), of("campaign"), of("queue")) {
        (true, ..) => "Agent",
        (_, true, _) => "Campaign",
        (.., true) => "Queue",
        _ => "Health",
    }
}

fn document() -> String {
    let mut text = INTRODUCTION.to_owned();
    for title in ["Agent", "Campaign", "Queue", "Health"] {
        let rows: Vec<_> = specs().filter(|(_, spec)| section(spec) == title).collect();
        if rows.is_empty() {
            continue;
        }
        let fed = rows.iter().any(|(_, spec)| !spec.sources.is_empty());
        let more = if fed { [" Source, by report |", " --- |"] } else { ["", ""] };
        let _ = write!(
            text,
            "\n## {title}\n\n| Family | Type | Unit | Labels | Meaning |{}\n| --- | --- | --- | --- | --- |{}\n",
            more[0], more[1]
        );
        for (name, spec) in rows {
            text.push_str(&row(&name, spec, fed));
        }
    }
    text
}

fn row(name: &str, spec: &Spec, fed: bool) -> String {
    let kind = match spec.kind {
        Kind::Counter => "counter".to_owned(),
        Kind::Gauge => "gauge".to_owned(),
        Kind::Histogram(bounds) => {
            let bounds: Vec<_> = bounds.iter().map(f64::to_string).collect();
            format!("histogram: {}", bounds.join(" "))
        }
    };
    let labels: Vec<_> = spec.labels.iter().map(|label| format!("`{label}`")).collect();
    let unit = spec.unit().unwrap_or_default();
    let mut row = format!("| `{name}` | {kind} | {unit} | {} | {} |", labels.join(" "), spec.help);
    if fed {
        let sources: Vec<_> = spec.sources.iter().map(|(report, field)| format!("`{report}`: {field}")).collect();
        let _ = write!(row, " {} |", sources.join("; "));
    }
    row + "\n"
}

/// Labels by family.
fn families_of(page: &Exposition) -> BTreeMap<String, BTreeSet<String>> {
    let mut families = BTreeMap::<_, BTreeSet<_>>::new();
    for sample in &page.samples {
        let labels = sample.labels.keys().filter(|label| *label != "le").cloned();
        families.entry(sample.family.clone()).or_default().extend(labels);
    }
    families
}

#[test]
fn the_document_is_that_of_the_catalogue() {
    let found = assert_written(DOCUMENT, &document());
    for (name, _) in specs() {
        assert_eq!(found.matches(&format!("| `{name}` |")).count(), 1, "{name} in {DOCUMENT}");
    }
}

#[tokio::test]
async fn what_the_demo_shows_is_in_the_catalogue_and_the_document() {
    let stage = Stage::new(1.0, false).await.unwrap();
    let app = App::new(stage.loaded(), &stage.clock(), "/metrics").unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/metrics", listener.local_addr().unwrap());
    let stop = CancellationToken::new();
    let task = tokio::spawn(app.run(vec![listener], stop.clone()));
    let get = async |accept: &str| read(client().get(&url).header("accept", accept).send().await.unwrap()).await.body;

    // Whether a vendor's families are there depends on the hour for none of these.
    let wanted = [
        "contact_center_agent_hold_mute_seconds_total",
        "contact_center_agent_signed_in",
        "contact_center_agent_talk_seconds_total",
        "contact_center_agent_info",
        "contact_center_agent_state_seconds_total",
        "contact_center_api_quota_used",
        "contact_center_pending_calls",
        "contact_center_queue_info",
        "contact_center_queue_service_level_ratio",
        "contact_center_queue_wait_seconds_total",
        "contact_center_up",
    ];
    let deadline = tokio::time::Instant::now() + std::time::Duration::from_secs(30);
    let page = loop {
        let text = get("").await;
        let page = Exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
        let families = families_of(&page);
        if wanted.iter().all(|name| families.contains_key(*name)) {
            break page;
        }
        assert!(tokio::time::Instant::now() < deadline, "the demo lacks one of {wanted:?}\n{text}");
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    };
    let known: BTreeMap<_, _> = specs().collect();
    let document = std::fs::read_to_string(DOCUMENT).unwrap();
    for (name, labels) in families_of(&page) {
        let spec = known.get(&name).unwrap_or_else(|| panic!("{name} is not in the catalogue"));
        assert_eq!(labels, spec.labels.iter().map(|label| (*label).to_owned()).collect(), "labels of {name}");
        assert!(document.contains(&format!("| `{name}` |")), "{name} is not in {DOCUMENT}");
    }
    for family in &page.families {
        let expected = match known[&family.name].kind {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        assert_eq!(family.kind, expected, "{}", family.name);
    }

    let open = get(OPEN_METRICS).await;
    assert!(open.ends_with("# EOF\n"));
    let open = Exposition::parse(&open).unwrap_or_else(|error| panic!("{error}\n{open}"));
    for family in &open.families {
        let total = format!("{}_total", family.name);
        let spec = known.get(&family.name).or_else(|| known.get(&total)).unwrap();
        assert_eq!(family.unit.as_deref(), spec.unit(), "{}", family.name);
    }
    stop.cancel();
    task.await.unwrap();
}
