//! Every cell of the metric tables that Voximplant feeds: the real program reads the simulated platform, and its page is
//! compared, series by series, with what the truth says. Nothing on the page may be more or less than that.

use std::collections::BTreeMap;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::truth::{Call, DAY, Figures, Status, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};

use super::exposition::Exposition;
use super::support::{Running, write};

/// Seconds of waiting that the simulated queues promise to stay below.
const THRESHOLDS: [u64; 2] = [20, 60];

/// Series without the labels that all share, as `family{label=value,…}`.
type Cells = BTreeMap<String, f64>;

#[expect(clippy::cast_precision_loss, reason = "seconds and calls of two days")]
fn add(sheet: &mut Cells, family: &str, labels: &str, value: u64) {
    *sheet.entry(format!("{family}{{{labels}}}")).or_default() += value as f64;
}

/// All that the four reports should show of the time from `from` until `now`.
fn expected(truth: &Truth, from: i64, now: i64) -> Cells {
    let mut sheet = Cells::new();
    for agent in truth.agents(Vendor::Voximplant) {
        let labels = format!("agent={}", agent.key);
        let calls = truth.started_in(Vendor::Voximplant, agent.index, from..now);
        let ended: Vec<_> = calls.iter().filter(|call| call.end() <= now).collect();
        let figures = Figures::of(ended.iter().copied(), now);
        if !ended.is_empty() {
            add(&mut sheet, "agent_answered_calls_total", &labels, figures.answered);
            add(&mut sheet, "agent_unanswered_calls_total", &labels, figures.unanswered);
            add(&mut sheet, "agent_handled_calls_total", &labels, figures.answered);
            add(&mut sheet, "agent_talk_seconds_total", &labels, figures.talk);
            add(&mut sheet, "agent_after_call_work_seconds_total", &labels, figures.wrap_up);
            add(&mut sheet, "agent_handle_seconds_total", &labels, figures.talk + figures.wrap_up);
            add(&mut sheet, "agent_ring_seconds_total", &labels, figures.ring);
        }
        for stay in truth.statuses(agent.index, from..now) {
            let state = match stay.status {
                Status::Offline => continue,
                Status::Online | Status::Ready => "ready",
                Status::InService => "talking",
                Status::AfterService => "after_call_work",
                Status::Timeout | Status::Dnd => "not_ready",
                Status::Banned => "banned",
            };
            let labels = format!("{labels},state={state}");
            add(&mut sheet, "agent_state_seconds_total", &labels, (stay.to - stay.from).unsigned_abs());
        }
        let info = format!("agent={},agent_id={},agent_name={}", agent.key, agent.key, agent.name);
        add(&mut sheet, "agent_info", &info, 1);
    }
    for (line, (queue, name)) in (0_u8..).zip(Truth::lines(Vendor::Voximplant)) {
        let calls = of_queue(truth, line, from, now);
        let figures = Figures::of(&calls, now);
        let rejected = truth.turned_away(line, &(from..now)).len() as u64;
        let labels = format!("queue={queue}");
        if !calls.is_empty() || rejected > 0 {
            let (answered, abandoned) = (waits(&calls, true), waits(&calls, false));
            let (answered, abandoned) = (answered.iter().sum::<u64>(), abandoned.iter().sum::<u64>());
            add(&mut sheet, "queue_calls_total", &labels, calls.len() as u64 + rejected);
            add(&mut sheet, "queue_answered_calls_total", &labels, figures.answered);
            add(&mut sheet, "queue_unanswered_calls_total", &labels, figures.unanswered);
            add(&mut sheet, "queue_rejected_calls_total", &labels, rejected);
            add(&mut sheet, "queue_wait_seconds_total", &labels, answered + abandoned);
            add(&mut sheet, "queue_answer_wait_seconds_total", &labels, answered);
            add(&mut sheet, "queue_abandon_wait_seconds_total", &labels, abandoned);
            add(&mut sheet, "queue_talk_seconds_total", &labels, figures.talk);
            add(&mut sheet, "queue_handle_seconds_total", &labels, figures.talk + figures.wrap_up);
            add(&mut sheet, "queue_after_call_work_seconds_total", &labels, figures.wrap_up);
        }
        add(&mut sheet, "queue_info", &format!("{labels},queue_name={name}"), 1);
        service_levels(&mut sheet, truth, line, queue, now);
    }
    sheet
}

/// Of today alone.
#[expect(clippy::cast_precision_loss, reason = "calls of a day")]
fn service_levels(sheet: &mut Cells, truth: &Truth, line: u8, queue: &str, now: i64) {
    let midnight = now.div_euclid(DAY) * DAY;
    let calls = of_queue(truth, line, midnight, now);
    let all = calls.len() + truth.turned_away(line, &(midnight..now)).len();
    for threshold in THRESHOLDS.into_iter().filter(|_| all > 0) {
        let in_time = waits(&calls, true).iter().filter(|wait| **wait <= threshold).count();
        let series = format!("queue_service_level_ratio{{queue={queue},threshold_seconds={threshold},window=today}}");
        sheet.insert(series, in_time as f64 / all as f64);
    }
}

fn of_queue(truth: &Truth, line: u8, from: i64, now: i64) -> Vec<Call> {
    let agents = truth.agents(Vendor::Voximplant).iter();
    let calls = agents.flat_map(|agent| truth.started_in(Vendor::Voximplant, agent.index, from..now));
    calls.filter(|call| call.line == line && call.end() <= now).collect()
}

fn waits(calls: &[Call], answered: bool) -> Vec<u64> {
    let of_kind = calls.iter().filter(|call| call.answered == answered);
    of_kind.map(|call| u64::from(call.queue) + u64::from(call.ring)).collect()
}

fn shown(page: &Exposition) -> Cells {
    let cell = |sample: &&super::exposition::Sample| {
        let labels = sample.labels.iter().filter(|(name, _)| !["vendor", "account"].contains(&name.as_str()));
        let labels: Vec<_> = labels.map(|(name, value)| format!("{name}={value}")).collect();
        let family = sample.name.strip_prefix("contact_center_").unwrap_or(&sample.name);
        (format!("{family}{{{}}}", labels.join(",")), sample.value)
    };
    page.figures("voximplant").iter().map(cell).collect()
}

#[tokio::test]
async fn every_cell_is_the_truth_over_midnight_too() {
    let at = |text: &str| text.parse::<jiff::Timestamp>().unwrap();
    let clock = Clock::manual(at("2026-11-20T14:00:00Z"));
    let options = Options { agents: 9, limits: None, ..Options::new(clock.clone()) };
    let simulator = Simulator::start(options).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "credentials.json", simulator.credentials().voximplant_key);
    let yaml = format!(
        "vendors: {{ voximplant: [{{ account: shop, base_url: '{}', credentials_file: credentials.json, reports: {{
            operator_statistics: {{ interval: 1s, stale_after: 10h }}, operator_status: {{ interval: 1s, stale_after: 10h }},
            queue_statistics: {{ interval: 1s, stale_after: 10h, queues: [54, 55] }},
            directory: {{ interval: 1s, stale_after: 10h, application: shop }} }} }}] }}",
        simulator.url(Vendor::Voximplant)
    );
    let running = Running::start_in(folder, &yaml, &clock).await;
    let from = at("2026-11-20T00:00:00Z").as_second();
    let families = |cells: &Cells| {
        let names = cells.keys().filter_map(|series| Some(series.split_once('{')?.0.to_owned()));
        names.collect::<std::collections::BTreeSet<_>>()
    };
    for (now, rich) in [
        ("2026-11-20T14:00:00Z", true),
        ("2026-11-20T15:30:17Z", true),
        // Stays and calls last over midnight; service levels of a day that has no calls leave.
        ("2026-11-21T00:00:03Z", false),
        ("2026-11-21T03:20:00Z", true),
    ] {
        clock.set(at(now));
        let expected = expected(simulator.truth(), from, clock.now().as_second());
        // Every family that the vendor has a source for: 7 and the states and names of agents, 10 and two of queues.
        assert_eq!(families(&expected).len(), if rich { 21 } else { 20 }, "{:?}", families(&expected));
        let mut states = expected.keys().filter(|series| series.starts_with("agent_state")).collect::<Vec<_>>();
        states.retain(|series| series.contains("state=banned") || series.contains("state=not_ready"));
        assert!(states.len() > 4, "{states:?}");
        running.until(&format!("the truth of {now}: {expected:#?}"), |page| shown(page) == expected).await;
    }
    let page = running.page().await;
    assert_eq!(page.reasons("voximplant").len(), 0, "{}", page.text);
    assert!(page.sum("rejected_records_total", &[]) + page.sum("revisions_total", &[]) < 0.5);
    running.stop().await;
}
