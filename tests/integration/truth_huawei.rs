//! Every cell of the metric tables that Huawei feeds: the real program reads the simulated gateway through a day, two hours at
//! a time, and its page is compared, series by series, with what the truth says. Both meanings that the documents give to
//! the numbers are tried, since sign-in and since midnight, and nodes that are behind.

use std::collections::BTreeMap;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::truth::{DAY, Figures, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Since, Vendor};
use jiff::{SignedDuration, Timestamp};

use super::exposition::Exposition;
use super::support::{Running, write};

/// By agent: signed in, and answered calls, outbound calls and talk time of each session that was read.
type Expected = BTreeMap<String, (bool, Vec<(i64, Figures)>)>;

async fn start(change: impl FnOnce(&mut Options)) -> (Simulator, Running, Clock) {
    let clock = Clock::manual("2026-11-20T14:00:00Z".parse().unwrap());
    let mut options = Options { agents: 9, ..Options::new(clock.clone()) };
    change(&mut options);
    let simulator = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", simulator.credentials().huawei_guids);
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: br, base_url: '{}', guids: {{ file: guids.json }}, reports: {{
            agent_call_statistics: {{ interval: 1s, stale_after: 100h }} }} }}] }}",
        simulator.url(Vendor::Huawei)
    );
    let running = Running::start_in(folder, &yaml, &clock).await;
    (simulator, running, clock)
}

/// Takes in what a poll at `now` reads.
fn read(expected: &mut Expected, truth: &Truth, since: Since, now: i64) {
    for agent in truth.agents(Vendor::Huawei) {
        let (signed_in, sessions) = expected.entry(agent.key.clone()).or_default();
        let Some(session) = truth.session(agent.index, now) else {
            *signed_in = false;
            continue;
        };
        *signed_in = true;
        let midnight = now.div_euclid(DAY) * DAY;
        let (began, figures) = match since {
            Since::SignIn => (session.since, session.figures),
            Since::Midnight => {
                let calls = truth.ended_in(Vendor::Huawei, agent.index, midnight..now + 1);
                (midnight, Figures::of(&calls, now))
            }
        };
        match sessions.last_mut().filter(|(known, _)| *known == began) {
            Some(last) => last.1 = figures,
            None => sessions.push((began, figures)),
        }
    }
}

fn cells(expected: &Expected) -> BTreeMap<(String, String), u64> {
    let mut cells = BTreeMap::new();
    for (agent, (signed_in, sessions)) in expected {
        let mut cell = |family: &str, value| cells.insert((family.to_owned(), agent.clone()), value);
        cell("agent_signed_in", u64::from(*signed_in));
        let sum = |of: fn(&Figures) -> u64| sessions.iter().map(|(_, figures)| of(figures)).sum::<u64>();
        if !sessions.is_empty() {
            cell("agent_answered_calls_total", sum(|figures| figures.answered));
            cell("agent_outbound_calls_total", sum(|figures| figures.outbound));
            cell("agent_talk_seconds_total", sum(|figures| figures.talk));
        }
    }
    cells
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "whole seconds and calls")]
fn shown(page: &Exposition) -> BTreeMap<(String, String), u64> {
    let cell = |sample: &&super::exposition::Sample| {
        let family = sample.name.strip_prefix("contact_center_").unwrap_or(&sample.name).to_owned();
        ((family, sample.labels["agent"].clone()), sample.value as u64)
    };
    page.figures("huawei").iter().map(cell).collect()
}

async fn through_the_night(since: Since) {
    let (simulator, running, clock) = start(|options| options.huawei_since = since).await;
    let mut expected = Expected::new();
    let (mut now, end) = (clock.now(), "2026-11-21T12:00:00Z".parse::<Timestamp>().unwrap());
    let (mut on, mut off) = (0, 0);
    while now < end {
        clock.set(now);
        read(&mut expected, simulator.truth(), since, now.as_second());
        let cells = cells(&expected);
        running.until(&format!("{since:?}, the truth of {now}: {cells:?}"), |page| shown(page) == cells).await;
        on += expected.values().filter(|(signed_in, _)| *signed_in).count();
        off += expected.values().filter(|(signed_in, _)| !signed_in).count();
        now += SignedDuration::from_hours(2);
    }
    assert!(on > 20 && off > 20, "{on} {off}");
    let again = expected.values().filter(|(_, sessions)| sessions.len() > 1).count();
    assert!(again > 0, "numbers went back to 0 for {again} agents");
    let page = running.page().await;
    // 100-006 is a state, and going back to 0 is a new session and no revision.
    assert!(page.sum("entity_failures_total", &[]) + page.sum("revisions_total", &[]) < 0.5, "{}", page.text);
    assert_eq!(page.reasons("huawei").len(), 0, "{}", page.text);
    running.stop().await;
}

#[tokio::test]
async fn every_cell_is_the_truth_where_numbers_count_since_sign_in() {
    through_the_night(Since::SignIn).await;
}

#[tokio::test]
async fn every_cell_is_the_truth_where_numbers_count_since_midnight() {
    through_the_night(Since::Midnight).await;
}

/// Sticky nodes: the GUID's suffix and the cookie name the node that holds the session; another one is behind.
#[tokio::test]
async fn a_node_that_is_behind_lowers_no_counter() {
    let (simulator, running, clock) = start(|options| options.huawei_cookies = true).await;
    let mut expected = Expected::new();
    read(&mut expected, simulator.truth(), Since::SignIn, clock.now().as_second());
    let cells = cells(&expected);
    running.until("each agent's cookie leads to his node", |page| shown(page) == cells).await;

    // The source loses the cookies: answers come from the wrong node from now on.
    let with_cookies: BTreeMap<String, serde_json::Value> =
        serde_json::from_str(&simulator.credentials().huawei_guids).unwrap();
    let bare: BTreeMap<_, _> = with_cookies.iter().map(|(agent, entry)| (agent, entry["guid"].clone())).collect();
    write(running.folder.path(), "guids.json", serde_json::to_string(&bare).unwrap());
    let page = running.until("stale answers are told", |page| page.sum("revisions_total", &[]) > 0.0).await;
    for ((family, agent), value) in shown(&page).iter().filter(|((family, _), _)| family.ends_with("_total")) {
        assert_eq!(cells.get(&(family.clone(), agent.clone())), Some(value), "{family} of {agent}");
    }
    let revisions = page.sum("revisions_total", &[]);
    let polls = page.sum("polls_total", &[]);
    let page = running.until("more polls", |page| page.sum("polls_total", &[]) > polls + 1.5).await;
    assert!((page.sum("revisions_total", &[]) - revisions).abs() < 0.5, "told once");
    running.stop().await;
}
