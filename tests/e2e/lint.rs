//! What dashboards, rules and alerts have to keep to: the community's lint rules for mixins and dashboards, and ours.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use contact_center_exporter::catalogue::{ALL, Kind};
use serde_json::Value;

use crate::children::promtool;
use crate::dashboards::{self, Dashboard, Panel, expand, files, folder, list, text};

/// Grafana's names of units that are in use here, of the list that the dashboard linter knows.
const UNITS: [&str; 8] = ["none", "short", "percentunit", "s", "bytes", "cpm", "dthms", "dateTimeFromNow"];
const TIME_UNITS: [&str; 2] = ["s", "dthms"];
/// What Prometheus adds.
const TARGET_LABELS: [&str; 2] = ["job", "instance"];
const TARGET_FAMILIES: [&str; 3] = ["up", "scrape_duration_seconds", "scrape_samples_scraped"];
/// Every selector asks for these.
const TARGET: &str = r#"job=~"$job",instance=~"$instance""#;

/// A metric in a query, and what stands around it.
#[derive(Debug)]
struct Selector {
    name: String,
    /// What is written before it, without spaces: a function with its bracket, mostly.
    before: String,
    /// Between the braces.
    matchers: String,
    /// Between the square brackets.
    range: Option<String>,
}

/// What is wrong, one line each.
#[derive(Default)]
struct Problems(Vec<String>);

impl Problems {
    fn unless(&mut self, holds: bool, place: &str, what: impl AsRef<str>) {
        if !holds {
            self.0.push(format!("{place}: {}", what.as_ref()));
        }
    }

    fn none(self) {
        assert!(self.0.is_empty(), "{} problems:\n{}", self.0.len(), self.0.join("\n"));
    }
}

#[test]
fn dashboards_keep_to_the_rules() {
    let mut problems = Problems::default();
    let all = dashboards::all();
    let uids: BTreeSet<_> = all.iter().map(|dashboard| text(&dashboard.json["uid"])).collect();
    problems.unless(uids.len() == all.len() && !uids.contains(""), "all", "each needs a uid of its own");
    for dashboard in &all {
        let place = dashboard.file.as_str();
        problems.unless(!text(&dashboard.json["title"]).is_empty(), place, "no title");
        problems.unless(dashboard.json["editable"] == false, place, "editable");
        check_variables(&mut problems, dashboard);
        check_layout(&mut problems, dashboard);
        for panel in dashboard.panels() {
            check_panel(&mut problems, &format!("{place}, panel {} “{}”", panel.id, panel.title), &panel);
        }
        for link in links(&dashboard.json) {
            let known =
                link.strip_prefix("/d/").and_then(|rest| rest.split('?').next()).is_some_and(|uid| uids.contains(uid));
            problems.unless(known, place, format!("a link leads nowhere: {link}"));
        }
    }
    problems.none();
}

#[test]
fn every_query_is_valid() {
    let mut rules = Vec::new();
    for dashboard in dashboards::all() {
        for panel in dashboard.panels() {
            for (letter, query) in panel.queries() {
                let (file, id) = (dashboard.file.replace(['.', '-'], "_"), panel.id);
                rules.push(
                    serde_json::json!({"record": format!("{file}:panel_{id}:{letter}"), "expr": expand(query, &[])}),
                );
            }
        }
    }
    let temporary = tempfile::NamedTempFile::new().unwrap();
    let groups = serde_json::json!({"groups": [{"name": "panels", "rules": rules}]});
    std::fs::write(temporary.path(), groups.to_string()).unwrap();
    let mut all = files("prometheus/rules", ".yml");
    all.extend(files("prometheus/alerts", ".yml"));
    all.push(temporary.path().to_owned());
    run(Command::new(promtool()).args(["check", "rules"]).args(&all));
    println!("{} queries of panels are valid", rules.len());
}

#[test]
fn rules_and_alerts_do_what_their_tests_say() {
    run(Command::new(promtool()).args(["test", "rules"]).args(files("prometheus/tests", ".yml")));
}

#[test]
fn alerts_and_rules_keep_to_the_rules() {
    let mut problems = Problems::default();
    let runbooks = std::fs::read_to_string(folder("docs/runbooks.md")).unwrap();
    let headings: BTreeSet<_> = runbooks.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let tests: String =
        files("prometheus/tests", ".yml").iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let (alerts, records) = (rules("prometheus/alerts"), rules("prometheus/rules"));
    let recorded: BTreeSet<_> = records.iter().map(|rule| text(&rule["record"])).collect();
    for rule in alerts.iter().chain(&records) {
        for name in names(text(&rule["expr"])).filter(|name| name.contains(':')) {
            problems.unless(recorded.contains(name.as_str()), text(&rule["expr"]), format!("nobody records {name}"));
        }
        for selector in selectors(text(&rule["expr"])) {
            check_family(&mut problems, text(&rule["expr"]), &selector);
        }
    }
    for alert in &alerts {
        let name = text(&alert["alert"]);
        let note = |key: &str| text(&alert["annotations"][key]);
        let (summary, description) = (note("summary"), note("description"));
        problems.unless(name.starts_with("ContactCenter") && camel_case(name), name, "name");
        problems.unless(
            ["critical", "warning", "info"].contains(&text(&alert["labels"]["severity"])),
            name,
            "severity",
        );
        problems.unless(["exporter", "floor"].contains(&text(&alert["labels"]["area"])), name, "area");
        let sentence = summary.starts_with(|c: char| c.is_ascii_uppercase()) && summary.ends_with('.');
        problems.unless(sentence && !summary.contains("{{"), name, "summary is one sentence, the same each time");
        problems.unless(description.contains("{{"), name, "description tells what is meant");
        let anchor = note("runbook_url").strip_prefix("docs/runbooks.md#").map(str::to_owned);
        problems.unless(anchor == Some(name.to_lowercase()), name, "runbook_url");
        problems.unless(headings.contains(name), name, "the runbooks have no such heading");
        for case in ["fires", "keeps quiet"] {
            problems.unless(tests.contains(&format!("'{name} {case}")), name, format!("no test in which it {case}"));
        }
    }
    for heading in headings {
        problems.unless(alerts.iter().any(|alert| alert["alert"] == heading), heading, "a heading without alert");
    }
    for record in &records {
        let name = text(&record["record"]);
        let parts: Vec<_> = name.split(':').collect();
        problems.unless(parts.len() == 3 && parts[1].starts_with("contact_center_"), name, "level:metric:operations");
        problems.unless(tests.contains(&format!("expr: '{name}'")), name, "no test asks for it");
    }
    problems.none();
}

fn check_variables(problems: &mut Problems, dashboard: &Dashboard) {
    let place = dashboard.file.as_str();
    let by_name: BTreeMap<_, _> = dashboard.variables().iter().map(|one| (text(&one["name"]), one)).collect();
    let sources: Vec<_> = dashboard.variables().iter().filter(|one| one["type"] == "datasource").collect();
    let named = sources.len() == 1 && sources[0]["name"] == "datasource" && sources[0]["label"] == "Data source";
    problems.unless(named, place, "one data source variable, `datasource`, labelled `Data source`");
    for (name, label) in [("job", "Job"), ("instance", "Instance")] {
        let good = by_name.get(name).is_some_and(|one| {
            one["type"] == "query" && one["multi"] == true && one["allValue"] == ".+" && one["label"] == label
        });
        problems.unless(good, place, format!("variable {name}"));
    }
    for one in dashboard.variables().iter().filter(|one| one["type"] == "query") {
        let place = format!("{place}, variable {}", text(&one["name"]));
        problems.unless(one["refresh"] == 2, &place, "does not follow the time range");
        problems.unless(one["datasource"]["uid"] == "$datasource", &place, "data source");
        problems.unless(!text(&one["label"]).is_empty(), &place, "no label");
    }
    for (name, query) in dashboard.variable_queries() {
        for selector in selectors(query) {
            check_family(problems, &format!("{place}, variable {name}"), &selector);
        }
    }
}

fn check_layout(problems: &mut Problems, dashboard: &Dashboard) {
    let place = dashboard.file.as_str();
    let all = list(&dashboard.json["panels"]);
    let ids: BTreeSet<_> = all.iter().filter_map(|panel| panel["id"].as_u64()).collect();
    problems.unless(ids.len() == all.len(), place, "panels need ids of their own");
    let mut taken = BTreeSet::new();
    for panel in all {
        let side = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
        problems.unless(side("x") + side("w") <= 24, place, format!("{} is too wide", text(&panel["title"])));
        for x in side("x")..side("x") + side("w") {
            for y in side("y")..side("y") + side("h") {
                problems.unless(taken.insert((x, y)), place, format!("{} lies over another", text(&panel["title"])));
            }
        }
    }
}

fn check_panel(problems: &mut Problems, place: &str, panel: &Panel<'_>) {
    problems.unless(!panel.title.is_empty() && panel.title.len() <= 48, place, "title, that is not cut");
    problems.unless(!text(&panel.json["description"]).is_empty(), place, "no description");
    problems.unless(UNITS.contains(&panel.unit()), place, format!("unit {}", panel.unit()));
    let explained = !text(&panel.json["fieldConfig"]["defaults"]["noValue"]).is_empty();
    problems.unless(explained, place, "does not say why it is empty when it is");
    problems.unless(panel.queries().next().is_some(), place, "asks nothing");
    let sources = list(&panel.json["targets"]).iter().chain([panel.json]);
    for source in sources.map(|json| &json["datasource"]["uid"]) {
        problems.unless(source == "$datasource", place, "data source");
    }
    for (letter, query) in panel.queries() {
        let place = format!("{place}, query {letter}");
        let found = selectors(query);
        problems.unless(!found.is_empty(), &place, "names no metric");
        for selector in &found {
            problems.unless(selector.matchers.starts_with(TARGET), &place, format!("{} lacks {TARGET}", selector.name));
            check_family(problems, &place, selector);
        }
        problems.unless(counts_once(query), &place, "adds up what several exporters show: `max by` comes first");
        check_unit(problems, &place, panel, query, &found);
    }
}

/// The unit fits what is asked for, where that is no quotient.
fn check_unit(problems: &mut Problems, place: &str, panel: &Panel<'_>, query: &str, found: &[Selector]) {
    let stacked_share = panel.json["fieldConfig"]["defaults"]["custom"]["stacking"]["mode"] == "percent";
    // A table has a unit per column, a heat map one of its axis.
    if query.contains('/') || query.contains("count(") || stacked_share || ["table", "heatmap"].contains(&panel.kind) {
        return;
    }
    let unit = panel.unit();
    for selector in found.iter().filter(|selector| !selector.name.ends_with("_info")) {
        let name = selector.name.trim_end_matches("_total").trim_end_matches("_bucket");
        let fits = if name.ends_with("_seconds") {
            TIME_UNITS.contains(&unit) || panel.json["options"]["textMode"] == "name" || has_unit_override(panel, "s")
        } else if name.ends_with("_ratio") {
            unit == "percentunit"
        } else if name.ends_with("_bytes") {
            unit == "bytes"
        } else {
            !TIME_UNITS.contains(&unit)
        };
        problems.unless(fits, place, format!("{} in {unit}", selector.name));
    }
}

fn has_unit_override(panel: &Panel<'_>, unit: &str) -> bool {
    let overrides = list(&panel.json["fieldConfig"]["overrides"]).iter();
    overrides.flat_map(|one| list(&one["properties"])).any(|one| one["id"] == "unit" && one["value"] == unit)
}

/// The family and the labels that are asked for exist, and a counter is asked for its growth.
fn check_family(problems: &mut Problems, place: &str, selector: &Selector) {
    let name = selector.name.as_str();
    if name.contains(':') || TARGET_FAMILIES.contains(&name) || name == "ALERTS" {
        return;
    }
    let family = ALL.iter().map(|family| family.spec()).find(|spec| {
        let full = spec.full_name();
        let part = name.strip_prefix(full.as_str());
        full == name
            || matches!(spec.kind, Kind::Histogram(_))
                && part.is_some_and(|end| ["_bucket", "_sum", "_count"].contains(&end))
    });
    let Some(family) = family else {
        problems.unless(false, place, format!("there is no {name}"));
        return;
    };
    for matcher in matcher_names(&selector.matchers) {
        let known = family.labels.contains(&matcher)
            || TARGET_LABELS.contains(&matcher)
            || matcher == "le" && name.ends_with("_bucket");
        problems.unless(known, place, format!("{name} has no label {matcher}"));
    }
    let counts = family.kind == Kind::Counter || name != family.full_name();
    if counts && !place.contains("variable") {
        let growth = ["rate(", "increase("].iter().any(|function| selector.before.ends_with(function));
        problems.unless(growth && selector.range.is_some(), place, format!("{name} is a counter: ask for its growth"));
        let rated = selector.before.ends_with("rate(") && place.contains("panel");
        let interval = selector.range.as_deref() == Some("$__rate_interval");
        problems.unless(!rated || interval, place, format!("rate of {name} over $__rate_interval"));
    }
}

/// Before anything is added up or counted, `max by` makes one series of those of several exporters.
fn counts_once(query: &str) -> bool {
    let squeezed: String = query.chars().filter(|c| !c.is_whitespace()).collect();
    squeezed.match_indices("contact_center_").all(|(at, _)| {
        let before = &squeezed[..at];
        let inner = before.trim_end_matches("increase(").trim_end_matches("rate(");
        let group = inner.strip_suffix('(').and_then(|rest| rest.strip_suffix(')')).and_then(|rest| rest.rfind("by("));
        let by_max = group.is_some_and(|by| inner[..by].ends_with("max"));
        let whole = inner.ends_with("min(") || inner.ends_with("max(");
        // Of `a or b` the second stands behind the first in the same `max by`.
        by_max || whole || inner.ends_with("}or")
    })
}

#[test]
fn what_doubles_is_noticed() {
    assert!(counts_once("sum by (x) (max by (x, agent) (increase(contact_center_a_total[1h])))"));
    assert!(counts_once("max by (x) (contact_center_a{} or contact_center_b{})"));
    assert!(!counts_once("sum by (x) (increase(contact_center_a_total[1h]))"));
    assert!(!counts_once("sum(contact_center_a)"));
    assert!(!counts_once("max by (x) (a) + contact_center_a"));
}

/// The metrics of a query.
fn selectors(query: &str) -> Vec<Selector> {
    let mut found = Vec::new();
    for (name, at) in words(query) {
        if query[..at].ends_with('$') {
            continue;
        }
        let ours = name.starts_with("contact_center_") || name.starts_with("process_") || name.contains(':');
        let rest = &query[at + name.len()..];
        if !(ours || TARGET_FAMILIES.contains(&name) && rest.starts_with('{')) {
            continue;
        }
        let (matchers, rest) = match rest.strip_prefix('{') {
            Some(inside) => inside.split_once('}').unwrap_or((inside, "")),
            None => ("", rest),
        };
        let range = rest.strip_prefix('[').and_then(|inside| inside.split_once(']')).map(|(range, _)| range.to_owned());
        let before = query[..at].chars().filter(|c| !c.is_whitespace()).collect();
        found.push(Selector { name: name.to_owned(), before, matchers: matchers.to_owned(), range });
    }
    found
}

fn names(query: &str) -> impl Iterator<Item = String> {
    selectors(query).into_iter().map(|selector| selector.name)
}

/// Every word outside of quotes, with its place.
fn words(query: &str) -> Vec<(&str, usize)> {
    let mut words = Vec::new();
    let (mut start, mut quoted) = (None, false);
    for (at, c) in query.char_indices().chain([(query.len(), ' ')]) {
        let part = !quoted && (c.is_ascii_alphanumeric() || c == '_' || c == ':');
        match start {
            None if part => start = Some(at),
            Some(from) if !part => {
                words.push((&query[from..at], from));
                start = None;
            }
            _ => {}
        }
        quoted ^= c == '"';
    }
    words
}

fn matcher_names(matchers: &str) -> Vec<&str> {
    let words = words(matchers).into_iter();
    words.filter(|(name, at)| matchers[at + name.len()..].starts_with(['=', '!'])).map(|(name, _)| name).collect()
}

fn rules(path: &str) -> Vec<Value> {
    let read = |path: std::path::PathBuf| {
        let groups: Value = serde_yaml::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
        list(&groups["groups"]).iter().flat_map(|group| list(&group["rules"]).to_vec()).collect::<Vec<_>>()
    };
    files(path, ".yml").into_iter().flat_map(read).collect()
}

fn camel_case(name: &str) -> bool {
    let starts = name.starts_with(|c: char| c.is_ascii_uppercase());
    starts && name.chars().all(|c| c.is_ascii_alphanumeric()) && !name.ends_with(|c: char| c.is_ascii_uppercase())
}

/// Every address of a link, wherever it stands.
fn links(json: &Value) -> Vec<&str> {
    match json {
        Value::Object(fields) => {
            let own = fields.get("url").map(text).filter(|url| !url.is_empty());
            own.into_iter().chain(fields.values().flat_map(links)).collect()
        }
        Value::Array(items) => items.iter().flat_map(links).collect(),
        _ => Vec::new(),
    }
}

/// Runs it to its good end.
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
    assert!(output.status.success(), "{said}");
}
