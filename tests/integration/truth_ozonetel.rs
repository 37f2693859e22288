//! Every figure that Ozonetel feeds, read from the page of the real program and compared with what really happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::truth::{Agent, Call, DAY, Direction, Figures, IST, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use jiff::{SignedDuration, Timestamp};

use super::support::{Running, write};

const ACCOUNT: &str = "vendor=\"ozonetel\",account=\"in\"";

/// Series with their values.
type Sheet = BTreeMap<String, f64>;

/// Half past three in India.
fn now() -> Timestamp {
    "2026-11-20T10:00:00Z".parse().unwrap()
}

async fn simulator(token: bool) -> (Simulator, Clock) {
    let clock = Clock::manual(now());
    let options = Options { limits: None, ozonetel_token: token, ..Options::new(clock.clone()) };
    (Simulator::start(options).await.unwrap(), clock)
}

fn account(simulator: &Simulator, auth: &str, reports: &str) -> String {
    let credentials = simulator.credentials();
    format!(
        "vendors:
  ozonetel:
    - account: in
      base_url: {}
      user_name: {}
      api_key: {}
      auth: {auth}
      rate_limit: 60000/1m
      reports:
{reports}",
        simulator.url(Vendor::Ozonetel),
        credentials.ozonetel_user_name,
        credentials.ozonetel_api_key,
    )
}

#[expect(clippy::cast_precision_loss, reason = "seconds and calls of a day")]
fn add(sheet: &mut Sheet, name: &str, labels: &str, value: u64) {
    *sheet.entry(format!("contact_center_{name}{{{ACCOUNT},{labels}}}")).or_default() += value as f64;
}

/// The counters of one agent's calls, and of their campaigns.
fn count(sheet: &mut Sheet, agent: &Agent, calls: &[Call], now: i64) {
    let figures = Figures::of(calls, now);
    let talked = Figures::of(calls.iter().filter(|call| call.answered), now);
    let labels = format!("agent=\"{}\"", agent.key);
    for (name, value) in [
        ("agent_answered_calls_total", figures.answered),
        ("agent_unanswered_calls_total", figures.unanswered + figures.missed),
        ("agent_outbound_calls_total", figures.outbound),
        ("agent_outbound_connected_calls_total", figures.connected),
        ("agent_handled_calls_total", figures.answered + figures.connected),
        ("agent_talk_seconds_total", talked.talk),
        ("agent_hold_seconds_total", figures.hold),
        ("agent_after_call_work_seconds_total", figures.wrap_up),
        ("agent_handle_seconds_total", talked.talk + talked.hold + talked.wrap_up),
        ("agent_ring_seconds_total", figures.ring),
    ] {
        add(sheet, name, &labels, value);
    }
    for call in calls {
        let labels = format!("campaign=\"{}\"", Truth::lines(Vendor::Ozonetel)[usize::from(call.line)].1);
        let (inbound, answered) = (call.direction == Direction::In, u64::from(call.answered));
        if inbound {
            add(sheet, "campaign_answered_calls_total", &labels, answered);
            // For a minute another leg might still come.
            add(sheet, "campaign_unanswered_calls_total", &labels, u64::from(!call.answered && call.end() + 60 <= now));
        } else {
            add(sheet, "campaign_outbound_calls_total", &labels, 1);
            add(sheet, "campaign_outbound_connected_calls_total", &labels, answered);
        }
        let waited = u64::try_from(call.pickup() - call.start).unwrap();
        for (name, value) in
            [("campaign_talk_time_seconds", u64::from(call.talk)), ("campaign_time_to_answer_seconds", waited)]
        {
            add(sheet, &format!("{name}_sum"), &labels, value * answered);
            add(sheet, &format!("{name}_count"), &labels, answered);
        }
    }
}

fn states(sheet: &mut Sheet, truth: &Truth, from: i64, to: i64) {
    for agent in truth.agents(Vendor::Ozonetel) {
        let states = truth.states_in(Vendor::Ozonetel, agent.index, from..to + 1);
        let labels = format!("agent=\"{}\"", agent.key);
        add(sheet, "agent_login_seconds_total", &labels, states.login);
        for (state, seconds) in [
            ("ready", states.ready),
            ("talking", states.inbound + states.outbound),
            ("ringing", states.ringing),
            ("after_call_work", states.after_call_work),
            ("not_ready", states.paused),
        ] {
            add(sheet, "agent_state_seconds_total", &format!("{labels},state=\"{state}\""), seconds);
        }
        let info = format!("{labels},agent_name=\"{}\",agent_id=\"{}\"", agent.name, agent.number);
        if states.login > 0 {
            add(sheet, "agent_info", &info, 1);
        }
    }
}

/// Waits until the page shows all of it. What nobody did is absent.
async fn shows(running: &Running, sheet: &Sheet) {
    assert!(sheet.values().filter(|value| **value > 0.0).count() > 50);
    let page = running.until("the truth", |page| differences(sheet, &page.text).is_empty());
    let page = tokio::time::timeout(std::time::Duration::from_secs(30), page).await;
    assert!(page.is_ok(), "{}", differences(sheet, &running.page().await.text));
}

fn differences(sheet: &Sheet, page: &str) -> String {
    let shown: BTreeMap<&str, f64> = page
        .lines()
        .filter(|line| !line.starts_with('#'))
        .filter_map(|line| line.rsplit_once(' ').and_then(|(series, value)| Some((series, value.parse().ok()?))))
        .collect();
    let mut text = String::new();
    for (series, truth) in sheet {
        let value = shown.get(series.as_str()).copied().unwrap_or_default();
        if (value - truth).abs() > 1e-9 {
            let _ = writeln!(text, "{series} shows {value}, the truth is {truth}");
        }
    }
    text
}

fn midnight(at: Timestamp) -> i64 {
    let second = at.as_second() + IST;
    second - second.rem_euclid(DAY) - IST
}

/// The calls of one agent that began since `from` and had ended by `to`.
fn calls(truth: &Truth, agent: &Agent, from: i64, to: i64) -> Vec<Call> {
    let started = truth.started_in(Vendor::Ozonetel, agent.index, from..to + 1);
    started.into_iter().filter(|call| call.end() <= to).collect()
}

#[tokio::test]
async fn lists_of_calls_and_agents_days_over_midnight_with_a_token() {
    let (simulator, clock) = simulator(true).await;
    let truth = simulator.truth();
    let reports = "        call_records: { interval: 1s }\n        agent_summary: { interval: 1s }\n";
    let yaml = account(&simulator, "token", reports);
    let running = Running::start_in(tempfile::tempdir().unwrap(), &yaml, &clock).await;
    // The afternoon, the hole after midnight, and the morning after, when yesterday can be read again.
    for hours in [0, 5, 4, 12] {
        clock.set(clock.now() + SignedDuration::from_hours(hours));
        let to = clock.now().as_second();
        let in_hole = (to + IST).rem_euclid(DAY) < 3 * 3600;
        if in_hole {
            tokio::time::sleep(std::time::Duration::from_secs(3)).await;
            assert!(running.page().await.up("ozonetel"));
            continue;
        }
        let mut sheet = Sheet::new();
        for agent in truth.agents(Vendor::Ozonetel) {
            count(&mut sheet, agent, &calls(truth, agent, midnight(now()), to), to);
        }
        states(&mut sheet, truth, midnight(now()), to);
        sheet.retain(|series, _| !series.contains("agent_info"));
        shows(&running, &sheet).await;
    }
    let page = running.page().await;
    assert!(page.sum("lost_days_total", &[]) + page.sum("rejected_records_total", &[]) < 1.0);
    // The vendor's clock leapt: each token but the first was made because the one before had died.
    assert_eq!(simulator.log(Vendor::Ozonetel).of("generateToken").len(), 4);
    running.stop().await;
}

#[tokio::test]
async fn single_calls_averages_and_agents_days_with_the_key() {
    let (simulator, clock) = simulator(false).await;
    let truth = simulator.truth();
    let (from, to) = (now().as_second() - 1800, now().as_second());
    let listed = simulator.ozonetel_ucids(now() - SignedDuration::from_mins(30), now());
    let folder = tempfile::tempdir().unwrap();
    let lines: Vec<_> = listed.iter().map(|(id, day)| format!("{id},{day}")).collect();
    write(folder.path(), "ucids.txt", lines.join("\n"));
    let agents: Vec<_> = truth.agents(Vendor::Ozonetel).iter().map(|agent| agent.key.as_str()).collect();
    let campaigns: Vec<_> = Truth::lines(Vendor::Ozonetel).iter().map(|line| line.1).collect();
    let reports = format!(
        "        average_handling_time: {{ interval: 1s, agents: [{}], campaigns: [{}] }}
        call_details: {{ interval: 1s, ucid_file: ucids.txt }}
        agent_summary: {{ interval: 1s }}
",
        agents.join(","),
        campaigns.join(",")
    );
    let running = Running::start_in(folder, &account(&simulator, "api_key", &reports), &clock).await;
    let mut sheet = Sheet::new();
    states(&mut sheet, truth, midnight(now()), to);
    // Two reports know the names; either may give them, the summary with the vendor's number.
    sheet.retain(|series, _| !series.contains("agent_info"));
    for agent in truth.agents(Vendor::Ozonetel) {
        count(&mut sheet, agent, &truth.ended_in(Vendor::Ozonetel, agent.index, from + 1..to + 1), to);
        if let Some(average) = truth.average_handle_time(Some(agent.index), None, to) {
            let labels = format!("agent=\"{}\",direction=\"outbound\",window=\"2h\"", agent.key);
            add(&mut sheet, "agent_average_handle_time_seconds", &labels, average);
        }
    }
    for (line, campaign) in (0..).zip(campaigns) {
        if let Some(average) = truth.average_handle_time(None, Some(line), to) {
            let labels = format!("campaign=\"{campaign}\",direction=\"outbound\",window=\"2h\"");
            add(&mut sheet, "campaign_average_handle_time_seconds", &labels, average);
        }
    }
    shows(&running, &sheet).await;
    running.stop().await;
}

#[tokio::test]
async fn agents_are_named_with_the_vendors_number() {
    let (simulator, clock) = simulator(false).await;
    let yaml = account(&simulator, "api_key", "        agent_summary: { interval: 1s }\n");
    let running = Running::start_in(tempfile::tempdir().unwrap(), &yaml, &clock).await;
    let mut sheet = Sheet::new();
    states(&mut sheet, simulator.truth(), midnight(now()), now().as_second());
    shows(&running, &sheet).await;
    assert!(sheet.keys().any(|series| series.contains("agent_info")));
    running.stop().await;
}
