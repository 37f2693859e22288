//! The reports that a story may have beside Wolkvox's hold and mute: which ones it has, and what their counters must show.

use std::fmt::Write as _;

use contact_center_exporter::simulator::truth::{Direction, Figures, Truth};
use contact_center_exporter::simulator::{Simulator, Vendor};

use super::{ReadAt, Sheet, first_midnight};
use crate::chaos::{Dice, Setting};

/// The reports of this seed, as they stand in exporter.yml.
pub(crate) fn reports(seed: u64) -> String {
    let mut dice = Dice::of(&[seed, 30]);
    let mut yml = String::new();
    for (report, share) in [("agent_activity", 30), ("skill_service", 25), ("token_usage", 15)] {
        let interval = dice.between(1800, 7200);
        if dice.percent(share) {
            let _ = write!(yml, ", {report}: {{ interval: {interval}s, backfill: 10d, stale_after: 400h }}");
        }
    }
    yml
}

pub(super) fn counters(sheet: &mut Sheet, simulator: &Simulator, setting: &Setting, read_at: &ReadAt<'_>) {
    let from = first_midnight(setting, &setting.zone);
    if let Some(now) = read_at("wolkvox", "agent_activity") {
        activity(sheet, simulator.truth(), from, now);
    }
    if let Some(now) = read_at("wolkvox", "skill_service") {
        skills(sheet, simulator.truth(), from, now);
    }
}

fn activity(sheet: &mut Sheet, truth: &Truth, from: i64, now: i64) {
    for agent in truth.agents(Vendor::Wolkvox) {
        let figures = Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, from..now + 1), now);
        let states = truth.states_in(Vendor::Wolkvox, agent.index, from..now);
        let talk = states.inbound + states.outbound;
        let labels = format!("vendor=\"wolkvox\",account=\"b\",agent=\"{}\"", agent.key);
        sheet.add("agent_answered_calls_total", &labels, figures.answered);
        sheet.add("agent_outbound_calls_total", &labels, figures.outbound);
        sheet.add("agent_handled_calls_total", &labels, figures.answered + figures.outbound);
        sheet.add("agent_talk_seconds_total", &labels, talk);
        sheet.add("agent_after_call_work_seconds_total", &labels, states.after_call_work);
        sheet.add("agent_handle_seconds_total", &labels, talk + states.after_call_work);
        sheet.add("agent_ring_seconds_total", &labels, states.ringing);
        sheet.add("agent_login_seconds_total", &labels, states.login);
        for (state, seconds) in [
            ("ready", states.ready),
            ("talking", talk),
            ("ringing", states.ringing),
            ("after_call_work", states.after_call_work),
            ("not_ready", states.paused),
        ] {
            sheet.add("agent_state_seconds_total", &format!("{labels},state=\"{state}\""), seconds);
        }
    }
}

fn skills(sheet: &mut Sheet, truth: &Truth, from: i64, now: i64) {
    for agent in truth.agents(Vendor::Wolkvox) {
        let calls = truth.ended_in(Vendor::Wolkvox, agent.index, from..now + 1);
        for call in calls.iter().filter(|call| call.direction == Direction::In) {
            let (queue, _) = Truth::lines(Vendor::Wolkvox)[usize::from(call.line)];
            let labels = format!("vendor=\"wolkvox\",account=\"b\",queue=\"{queue}\"");
            sheet.add("queue_calls_total", &labels, 1);
            sheet.add("queue_answered_calls_total", &labels, u64::from(call.answered));
            sheet.add("queue_unanswered_calls_total", &labels, u64::from(!call.answered));
        }
    }
}
