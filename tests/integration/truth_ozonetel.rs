//! Every figure that Ozonetel feeds, read from the page of the real program and compared with what really happened.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use contact_center_exporter::app::App;
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::Loaded;
use contact_center_exporter::simulator::truth::{Agent, Call, DAY, Direction, Figures, IST, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use jiff::{SignedDuration, Timestamp};
use tokio::net::TcpListener;

use super::support::{Running, client, write};

const ACCOUNT: &str = "vendor=\"ozonetel\",account=\"in\"";

/// Who says which calls there are.
const FILE: &str = "ucid_file: ucids.txt";
const CALLBACK: &str = "callback: true";

/// Series with their values.
type Sheet = BTreeMap<String, f64>;

/// Who tells of the calls: each knows more or less of them.
#[derive(Clone, Copy, PartialEq)]
enum Source {
    /// Lists of legs, where a call without an answered leg waits for a minute.
    Records,
    /// The legs of one call.
    Legs,
    /// One row per call, without hold and after-call work.
    OldRow,
}

const TALK_BUCKETS: [u64; 11] = [5, 15, 30, 60, 120, 180, 300, 600, 1200, 1800, 3600];
const ANSWER_BUCKETS: [u64; 11] = [2, 5, 10, 15, 20, 30, 45, 60, 90, 120, 300];

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

fn add(sheet: &mut Sheet, name: &str, labels: &str, value: u64) {
    add_to(sheet, &format!("{name}{{{ACCOUNT},{labels}}}"), value);
}

#[expect(clippy::cast_precision_loss, reason = "seconds and calls of a day")]
fn add_to(sheet: &mut Sheet, series: &str, value: u64) {
    *sheet.entry(format!("contact_center_{series}")).or_default() += value as f64;
}

/// The counters of one agent's calls, and of their campaigns.
fn count(sheet: &mut Sheet, agent: &Agent, calls: &[Call], now: i64, source: Source) {
    let figures = Figures::of(calls, now);
    let talked = Figures::of(calls.iter().filter(|call| call.answered), now);
    let waited = |call: &Call| u64::try_from(call.pickup() - call.start).unwrap();
    let labels = format!("agent=\"{}\"", agent.key);
    let old = source == Source::OldRow;
    // The old row is one leg, and its ringing the whole wait.
    let missed = if old { 0 } else { figures.missed };
    let ring = if old { calls.iter().filter(|call| call.answered).map(waited).sum() } else { figures.ring };
    for (name, value) in [
        ("agent_answered_calls_total", figures.answered),
        ("agent_unanswered_calls_total", figures.unanswered + missed),
        ("agent_outbound_calls_total", figures.outbound),
        ("agent_outbound_connected_calls_total", figures.connected),
        ("agent_handled_calls_total", figures.answered + figures.connected),
        ("agent_talk_seconds_total", talked.talk),
        ("agent_ring_seconds_total", ring),
    ] {
        add(sheet, name, &labels, value);
    }
    for (name, value) in [
        ("agent_hold_seconds_total", figures.hold),
        ("agent_after_call_work_seconds_total", figures.wrap_up),
        ("agent_handle_seconds_total", talked.talk + talked.hold + talked.wrap_up),
    ] {
        if !old {
            add(sheet, name, &labels, value);
        }
    }
    for call in calls {
        let labels = format!("campaign=\"{}\"", Truth::lines(Vendor::Ozonetel)[usize::from(call.line)].1);
        let (inbound, answered) = (call.direction == Direction::In, u64::from(call.answered));
        let undecided = source == Source::Records && call.end() + 60 > now;
        if inbound {
            add(sheet, "campaign_answered_calls_total", &labels, answered);
            add(sheet, "campaign_unanswered_calls_total", &labels, u64::from(!call.answered && !undecided));
        } else {
            add(sheet, "campaign_outbound_calls_total", &labels, 1);
            add(sheet, "campaign_outbound_connected_calls_total", &labels, answered);
        }
        for (name, value, buckets) in [
            ("campaign_talk_time_seconds", u64::from(call.talk), TALK_BUCKETS),
            ("campaign_time_to_answer_seconds", waited(call), ANSWER_BUCKETS),
        ] {
            add(sheet, &format!("{name}_sum"), &labels, value * answered);
            add(sheet, &format!("{name}_count"), &labels, answered);
            let bounds = buckets.iter().map(|most| (format!("{most}.0"), u64::from(value <= *most)));
            for (most, within) in bounds.chain([("+Inf".to_owned(), 1)]) {
                add_to(sheet, &format!("{name}_bucket{{le=\"{most}\",{ACCOUNT},{labels}}}"), answered * within);
            }
        }
    }
}

/// The name of an agent of whom there is something to tell.
fn name(sheet: &mut Sheet, agent: &Agent, id: &str) {
    let labels = format!("agent=\"{}\",agent_name=\"{}\",agent_id=\"{id}\"", agent.key, agent.name);
    add(sheet, "agent_info", &labels, 1);
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
        if states.login > 0 {
            name(sheet, agent, &agent.number.to_string());
        }
    }
}

/// Waits until the page shows all of it, and of agents and campaigns nothing else. What nobody did is absent.
async fn shows(running: &Running, sheet: &Sheet) {
    assert!(sheet.values().filter(|value| **value > 0.0).count() > 50);
    let page = running.until("the truth", |page| differences(sheet, &page.text).is_empty());
    let page = tokio::time::timeout(std::time::Duration::from_secs(30), page).await;
    assert!(page.is_ok(), "{}", differences(sheet, &running.page().await.text));
}

fn differences(sheet: &Sheet, page: &str) -> String {
    let names_counted = sheet.keys().any(|series| series.contains("agent_info"));
    let is_figure = |series: &str| {
        let entity = ["contact_center_agent_", "contact_center_campaign_"];
        entity.iter().any(|start| series.starts_with(start)) && (names_counted || !series.contains("agent_info"))
    };
    let shown: BTreeMap<&str, f64> = page
        .lines()
        .filter(|line| is_figure(line))
        .filter_map(|line| line.rsplit_once(' ').and_then(|(series, value)| Some((series, value.parse().ok()?))))
        .collect();
    let mut text = String::new();
    for (series, truth) in sheet {
        let value = shown.get(series.as_str()).copied().unwrap_or_default();
        if (value - truth).abs() > 1e-9 {
            let _ = writeln!(text, "{series} shows {value}, the truth is {truth}");
        }
    }
    for (series, value) in shown.iter().filter(|(series, _)| !sheet.contains_key(**series)) {
        let _ = writeln!(text, "{series} shows {value}, and the truth knows nothing of it");
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
            count(&mut sheet, agent, &calls(truth, agent, midnight(now()), to), to, Source::Records);
        }
        states(&mut sheet, truth, midnight(now()), to);
        // Two reports know the names.
        sheet.retain(|series, _| !series.contains("agent_info"));
        shows(&running, &sheet).await;
    }
    let page = running.page().await;
    assert!(page.sum("lost_days_total", &[]) + page.sum("rejected_records_total", &[]) < 1.0);
    // The vendor's clock leapt: each token but the first was made because the one before had died.
    assert_eq!(simulator.log(Vendor::Ozonetel).of("generateToken").len(), 4);
    running.stop().await;
}

/// The averages of the last two hours.
fn averages(sheet: &mut Sheet, truth: &Truth, now: i64) {
    for agent in truth.agents(Vendor::Ozonetel) {
        if let Some(average) = truth.average_handle_time(Some(agent.index), None, now) {
            let labels = format!("agent=\"{}\",direction=\"outbound\",window=\"2h\"", agent.key);
            add(sheet, "agent_average_handle_time_seconds", &labels, average);
        }
    }
    for (line, (_, campaign)) in (0..).zip(Truth::lines(Vendor::Ozonetel)) {
        if let Some(average) = truth.average_handle_time(None, Some(line), now) {
            let labels = format!("campaign=\"{campaign}\",direction=\"outbound\",window=\"2h\"");
            add(sheet, "campaign_average_handle_time_seconds", &labels, average);
        }
    }
}

/// Averages and listed calls, of the half hour up to `until`, from either generation of the vendor's API.
async fn single_calls(api: &str, until: Timestamp, source: Source, listed_by: &str) {
    let (simulator, clock) = simulator(false).await;
    let truth = simulator.truth();
    let (from, to) = (until - SignedDuration::from_mins(30), until.as_second());
    let folder = tempfile::tempdir().unwrap();
    if listed_by != CALLBACK {
        let listed = simulator.ozonetel_ucids(from, until);
        let lines: Vec<_> = listed.iter().map(|(id, day)| format!("{id},{day}")).collect();
        write(folder.path(), "ucids.txt", lines.join("\n"));
    }
    let agents: Vec<_> = truth.agents(Vendor::Ozonetel).iter().map(|agent| agent.key.as_str()).collect();
    let campaigns: Vec<_> = Truth::lines(Vendor::Ozonetel).iter().map(|line| line.1).collect();
    let reports = format!(
        "        average_handling_time: {{ interval: 1s, api: {api}, agents: [{}], campaigns: [{}] }}
        call_details: {{ interval: 1s, api: {api}, {listed_by} }}
",
        agents.join(","),
        campaigns.join(",")
    );
    let hooks = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/ozonetel/in", hooks.local_addr().unwrap());
    let yaml = account(&simulator, "api_key", &reports);
    let start = |loaded: &Loaded| App::new(loaded, &clock, "/metrics").unwrap().receiving(hooks);
    let running = Running::start_app(folder, &yaml, start).await;
    if listed_by == CALLBACK {
        let client = client();
        for body in simulator.ozonetel_callbacks(from, until) {
            // The vendor sends it again if it is unsure.
            for _ in 0..2 {
                let request = client.post(&url).header("content-type", "application/x-www-form-urlencoded");
                assert_eq!(request.body(body.clone()).send().await.unwrap().status(), 200);
            }
        }
    }
    let mut sheet = Sheet::new();
    averages(&mut sheet, truth, now().as_second());
    for agent in truth.agents(Vendor::Ozonetel) {
        let calls = truth.ended_in(Vendor::Ozonetel, agent.index, from.as_second() + 1..to + 1);
        if !calls.is_empty() {
            count(&mut sheet, agent, &calls, now().as_second(), source);
            name(&mut sheet, agent, &agent.key);
        }
    }
    shows(&running, &sheet).await;
    running.stop().await;
}

#[tokio::test]
async fn single_calls_and_averages_of_the_present_api() {
    single_calls("v2", now(), Source::Legs, FILE).await;
}

#[tokio::test]
async fn single_calls_that_the_vendor_calls_back() {
    single_calls("v2", now(), Source::Legs, CALLBACK).await;
}

#[tokio::test]
async fn single_calls_and_averages_of_the_old_api() {
    // It knows calls of past days alone.
    single_calls("v1", now() - SignedDuration::from_hours(24), Source::OldRow, FILE).await;
}

#[tokio::test]
async fn agents_are_named_by_each_report_that_knows_them() {
    let (simulator, clock) = simulator(false).await;
    let truth = simulator.truth();
    let (from, to) = (midnight(now()), now().as_second());
    for report in ["agent_summary", "call_records"] {
        let yaml = account(&simulator, "api_key", &format!("        {report}: {{ interval: 1s }}\n"));
        let running = Running::start_in(tempfile::tempdir().unwrap(), &yaml, &clock).await;
        let mut sheet = Sheet::new();
        if report == "agent_summary" {
            states(&mut sheet, truth, from, to);
        } else {
            for agent in truth.agents(Vendor::Ozonetel) {
                let calls = calls(truth, agent, from, to);
                if !calls.is_empty() {
                    count(&mut sheet, agent, &calls, to, Source::Records);
                    name(&mut sheet, agent, &agent.key);
                }
            }
        }
        shows(&running, &sheet).await;
        assert!(sheet.keys().any(|series| series.contains("agent_info")));
        running.stop().await;
    }
}
