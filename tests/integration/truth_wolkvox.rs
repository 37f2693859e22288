//! Every cell of the metric tables that Wolkvox fills, read from the page of the real program and compared with what the
//! simulated operation really did: today's figures, and after midnight the sum of two days.

use std::collections::BTreeMap;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::truth::{Call, Direction, Figures, States, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use jiff::Timestamp;

use super::exposition::Exposition;
use super::support::Running;

const REPORTS: [&str; 4] = ["agent_activity", "agent_hold_mute", "skill_service", "token_usage"];
/// Enough for a namesake.
const AGENTS: usize = 17;
/// Requests of other tokens.
const OTHERS: u32 = 123;

/// What the agents of one name did.
#[derive(Default)]
struct Deeds {
    namesakes: u64,
    number: u32,
    states: States,
    figures: Figures,
}

/// What became of the calls of one skill.
#[derive(Default)]
struct Waits {
    answered: Vec<f64>,
    abandoned: Vec<f64>,
}

fn second(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_second()
}

fn agents(truth: &Truth, from: i64, now: i64) -> BTreeMap<String, Deeds> {
    let mut all = BTreeMap::<String, Deeds>::new();
    for agent in truth.agents(Vendor::Wolkvox) {
        let states = truth.states_in(Vendor::Wolkvox, agent.index, from..now);
        if states.login > 0 {
            let deeds =
                all.entry(agent.key.clone()).or_insert_with(|| Deeds { number: agent.number, ..Deeds::default() });
            deeds.namesakes += 1;
            deeds.states += states;
            deeds.figures += Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, from..now + 1), now);
        }
    }
    all
}

fn skills(truth: &Truth, from: i64, now: i64) -> BTreeMap<&'static str, Waits> {
    let mut all = BTreeMap::<_, Waits>::new();
    for agent in truth.agents(Vendor::Wolkvox) {
        let calls = truth.ended_in(Vendor::Wolkvox, agent.index, from..now + 1);
        for call in calls.iter().filter(|call: &&Call| call.direction == Direction::In) {
            let (id, _) = Truth::lines(Vendor::Wolkvox)[usize::from(call.line)];
            let skill = all.entry(id).or_default();
            let list = if call.answered { &mut skill.answered } else { &mut skill.abandoned };
            list.push(f64::from(call.ring));
        }
    }
    all
}

#[expect(clippy::cast_precision_loss, reason = "seconds and calls of two days")]
fn check_agents(page: &Exposition, truth: &Truth, from: i64, now: i64) {
    let all = agents(truth, from, now);
    assert!(all.values().any(|deeds| deeds.namesakes > 1) && all.len() > 10);
    for (agent, Deeds { states, figures, .. }) in &all {
        let talk = states.inbound + states.outbound;
        let cells = [
            ("agent_answered_calls_total", None, figures.answered),
            ("agent_outbound_calls_total", None, figures.outbound),
            ("agent_handled_calls_total", None, figures.answered + figures.outbound),
            ("agent_talk_seconds_total", None, talk),
            ("agent_after_call_work_seconds_total", None, states.after_call_work),
            ("agent_handle_seconds_total", None, talk + states.after_call_work),
            ("agent_ring_seconds_total", None, states.ringing),
            ("agent_login_seconds_total", None, states.login),
            ("agent_state_seconds_total", Some("ready"), states.ready),
            ("agent_state_seconds_total", Some("talking"), talk),
            ("agent_state_seconds_total", Some("ringing"), states.ringing),
            ("agent_state_seconds_total", Some("after_call_work"), states.after_call_work),
            ("agent_state_seconds_total", Some("not_ready"), states.paused),
            // agent_9 lists those who had calls.
            ("agent_hold_seconds_total", None, figures.hold),
            ("agent_mute_seconds_total", None, figures.mute),
            ("agent_hold_mute_seconds_total", None, figures.hold + figures.mute),
            ("agent_hold_mute_events_total", None, figures.hold_events + figures.mute_events),
        ];
        for (name, state, expected) in cells {
            let labels: Vec<_> =
                [("vendor", "wolkvox"), ("agent", agent)].into_iter().chain(state.map(|s| ("state", s))).collect();
            let shown = page.value(name, &labels);
            assert!(
                shown == Some(expected as f64) || expected == 0 && shown.is_none(),
                "{name} {agent} {state:?}: {shown:?}, not {expected}"
            );
        }
    }
    let shown = page.find("agent_login_seconds_total", &[]).count();
    assert_eq!(shown, all.len(), "nobody else is shown");
}

#[expect(clippy::cast_precision_loss, reason = "seconds and calls of a day")]
fn check_today_s_agents(page: &Exposition, truth: &Truth, from: i64, now: i64) {
    let mut averages = 0;
    for (agent, Deeds { namesakes, number, states, figures }) in &agents(truth, from, now) {
        let busy = states.inbound + states.outbound + states.after_call_work;
        let average = busy.checked_div(figures.answered + figures.outbound).filter(|s| *namesakes == 1 && *s > 0);
        let labels = [("agent", agent.as_str()), ("direction", "all"), ("window", "today")];
        assert_eq!(page.value("agent_average_handle_time_seconds", &labels), average.map(|s| s as f64), "{agent}");
        averages += usize::from(average.is_some());
        let number = number.to_string();
        let labels = [("agent", agent.as_str()), ("agent_name", agent), ("agent_id", &number)];
        assert_eq!(page.value("agent_info", &labels), Some(1.0), "{agent}");
    }
    assert!(averages > 5);
    assert_eq!(page.find("agent_average_handle_time_seconds", &[]).count(), averages, "averages of today alone");
}

#[expect(clippy::cast_precision_loss, reason = "calls of two days")]
fn check_skills(page: &Exposition, truth: &Truth, from: i64, now: i64) {
    let all = skills(truth, from, now);
    assert_eq!(all.len(), 2);
    for (queue, Waits { answered, abandoned }) in &all {
        for (name, expected) in [
            ("queue_calls_total", answered.len() + abandoned.len()),
            ("queue_answered_calls_total", answered.len()),
            ("queue_unanswered_calls_total", abandoned.len()),
        ] {
            let labels = [("vendor", "wolkvox"), ("queue", queue)];
            assert_eq!(page.value(name, &labels), Some(expected as f64), "{name} {queue}");
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "calls of a day")]
fn check_today_s_skills(page: &Exposition, truth: &Truth, from: i64, now: i64) {
    for (queue, Waits { answered, abandoned }) in &skills(truth, from, now) {
        for (threshold, seconds) in [("10", 10.0), ("20", 20.0), ("30", 30.0)] {
            let quick = answered.iter().filter(|wait| **wait <= seconds).count() as f64;
            let ratio = quick / (answered.len() + abandoned.len()) as f64;
            let labels = [("queue", *queue), ("threshold_seconds", threshold), ("window", "today")];
            let shown = page.value("queue_service_level_ratio", &labels).unwrap();
            // The vendor writes two decimals of a percent.
            assert!((shown - ratio).abs() < 0.000_051, "{queue} {threshold}: {shown}, not {ratio}");
        }
        for (name, waits) in
            [("queue_average_speed_of_answer_seconds", answered), ("queue_average_abandon_time_seconds", abandoned)]
        {
            let average = (waits.iter().sum::<f64>() / waits.len() as f64).floor();
            let labels = [("queue", *queue), ("window", "today")];
            assert_eq!(page.value(name, &labels), Some(average), "{name} {queue}");
        }
        let (_, name) = Truth::lines(Vendor::Wolkvox).iter().find(|(id, _)| id == queue).unwrap();
        assert_eq!(page.value("queue_info", &[("queue", queue), ("queue_name", name)]), Some(1.0));
    }
}

#[tokio::test]
async fn every_cell_is_the_truth_of_the_day_and_then_of_both_days() {
    // Three in the afternoon in Bogota.
    let clock = Clock::manual("2026-11-20T20:00:00Z".parse().unwrap());
    let options =
        Options { agents: AGENTS, wolkvox_others: OTHERS, wolkvox_licences: 5, ..Options::new(clock.clone()) };
    let simulator = Simulator::start(options).await.unwrap();
    let yaml = format!(
        "  wolkvox: [{{ account: ventas, base_url: '{}', token: '{}', licences: 5, reports: {{ {} }} }}]",
        simulator.url(Vendor::Wolkvox),
        simulator.credentials().wolkvox_token,
        REPORTS.map(|report| format!("{report}: {{ interval: 1s }}")).join(", "),
    );
    let running = Running::start(&yaml, &clock).await;
    let read_at = |moment: i64| {
        move |page: &Exposition| {
            REPORTS.iter().all(|report| {
                #[expect(clippy::cast_precision_loss, reason = "seconds since the epoch")]
                let moment = moment as f64;
                page.value("last_success_timestamp_seconds", &[("report", report)]) == Some(moment)
            })
        }
    };
    let (midnight, now) = (second("2026-11-20T05:00:00Z"), second("2026-11-20T20:00:00Z"));
    let page = running.until("all reports have read the day", read_at(now)).await;
    let truth = simulator.truth();
    check_agents(&page, truth, midnight, now);
    check_today_s_agents(&page, truth, midnight, now);
    check_skills(&page, truth, midnight, now);
    check_today_s_skills(&page, truth, midnight, now);
    assert_eq!(page.value("api_quota_limit", &[("account", "ventas")]), Some(5000.0));
    let used = page.value("api_quota_used", &[("account", "ventas")]).unwrap();
    assert!((f64::from(OTHERS) + 1.0..f64::from(OTHERS) + 1000.0).contains(&used), "{used}");

    // Ten hours into the next day: yesterday is read to its end, and counters go on.
    let later = second("2026-11-21T15:00:00Z");
    clock.set("2026-11-21T15:00:00Z".parse().unwrap());
    let page = running.until("all reports have read the next day", read_at(later)).await;
    check_agents(&page, truth, midnight, later);
    check_today_s_agents(&page, truth, second("2026-11-21T05:00:00Z"), later);
    check_skills(&page, truth, midnight, later);
    check_today_s_skills(&page, truth, second("2026-11-21T05:00:00Z"), later);
    running.stop().await;
}
