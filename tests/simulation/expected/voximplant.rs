//! What Voximplant's counters must show, report by report. The seed decides which reports there are beside the statistics of
//! operators.

use std::fmt::Write as _;

use contact_center_exporter::health::{ReportHealth, ReportId};
use contact_center_exporter::simulator::Vendor;
use contact_center_exporter::simulator::truth::{Figures, Status, Truth};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use super::{Sheet, first_midnight};
use crate::chaos::{Dice, Setting};

/// The lines of the account's reports. Each poll signs a token, which takes longer than all else in it.
pub(crate) fn reports(seed: u64, interval: u64) -> String {
    let mut dice = Dice::of(&[seed, 41]);
    let common = |interval: u64| format!("interval: {interval}s, backfill: 10d, stale_after: 400h");
    let mut yml = format!("operator_statistics: {{ {} }}", common(interval));
    for (name, chance, more) in [
        ("operator_status", 20, ""),
        ("queue_statistics", 20, ", queues: [54, 55]"),
        ("directory", 10, ", application: shop"),
    ] {
        if dice.percent(chance) {
            let _ = write!(yml, ", {name}: {{ {}{more} }}", common(dice.between(7200, 14_400)));
        }
    }
    yml
}

pub(super) fn counters(sheet: &mut Sheet, truth: &Truth, setting: &Setting, reports: &[(ReportId, ReportHealth)]) {
    let from = first_midnight(setting, &TimeZone::UTC);
    let read_at = |name: &str| {
        let report = reports.iter().find(|(id, _)| id.vendor == "voximplant" && id.report == name)?;
        report.1.last_success.map(Timestamp::as_second)
    };
    if let Some(now) = read_at("operator_statistics") {
        operators(sheet, truth, from, now);
    }
    if let Some(now) = read_at("operator_status") {
        states(sheet, truth, from, now);
    }
    if let Some(now) = read_at("queue_statistics") {
        queues(sheet, truth, from, now);
    }
}

fn operators(sheet: &mut Sheet, truth: &Truth, from: i64, now: i64) {
    for agent in truth.agents(Vendor::Voximplant) {
        let calls = truth.started_in(Vendor::Voximplant, agent.index, from - 3600..now + 1);
        let figures = Figures::of(calls.iter().filter(|call| call.ring_start() >= from), now);
        let answered = figures.answered + figures.connected;
        let labels = format!("vendor=\"voximplant\",account=\"d\",agent=\"{}\"", agent.key);
        sheet.add("agent_answered_calls_total", &labels, answered);
        sheet.add("agent_handled_calls_total", &labels, answered);
        sheet.add("agent_unanswered_calls_total", &labels, figures.unanswered + figures.outbound - figures.connected);
        sheet.add("agent_talk_seconds_total", &labels, figures.talk);
        sheet.add("agent_after_call_work_seconds_total", &labels, figures.wrap_up);
        sheet.add("agent_handle_seconds_total", &labels, figures.talk + figures.wrap_up);
        sheet.add("agent_ring_seconds_total", &labels, figures.ring);
    }
}

/// Until the second of the last reading, what lasts included.
fn states(sheet: &mut Sheet, truth: &Truth, from: i64, now: i64) {
    for agent in truth.agents(Vendor::Voximplant) {
        for stay in truth.statuses(agent.index, from..now) {
            let state = match stay.status {
                Status::Offline => continue,
                Status::Online | Status::Ready => "ready",
                Status::InService => "talking",
                Status::AfterService => "after_call_work",
                Status::Timeout | Status::Dnd => "not_ready",
                Status::Banned => "banned",
            };
            let labels = format!("vendor=\"voximplant\",account=\"d\",agent=\"{}\",state=\"{state}\"", agent.key);
            sheet.add("agent_state_seconds_total", &labels, (stay.to - stay.from).unsigned_abs());
        }
    }
}

fn queues(sheet: &mut Sheet, truth: &Truth, from: i64, now: i64) {
    for (line, (queue, _)) in (0_u8..).zip(Truth::lines(Vendor::Voximplant)) {
        let of = |agent| truth.started_in(Vendor::Voximplant, agent, from..now);
        let agents = truth.agents(Vendor::Voximplant).iter();
        let calls: Vec<_> =
            agents.flat_map(|agent| of(agent.index)).filter(|call| call.line == line && call.end() <= now).collect();
        let figures = Figures::of(&calls, now);
        let wait = |answered| {
            let of_kind = calls.iter().filter(|call| call.answered == answered);
            of_kind.map(|call| u64::from(call.queue) + u64::from(call.ring)).sum::<u64>()
        };
        let rejected = truth.turned_away(line, &(from..now)).len() as u64;
        let labels = format!("vendor=\"voximplant\",account=\"d\",queue=\"{queue}\"");
        sheet.add("queue_calls_total", &labels, figures.answered + figures.unanswered + rejected);
        sheet.add("queue_answered_calls_total", &labels, figures.answered);
        sheet.add("queue_unanswered_calls_total", &labels, figures.unanswered);
        sheet.add("queue_rejected_calls_total", &labels, rejected);
        sheet.add("queue_wait_seconds_total", &labels, wait(true) + wait(false));
        sheet.add("queue_answer_wait_seconds_total", &labels, wait(true));
        sheet.add("queue_abandon_wait_seconds_total", &labels, wait(false));
        sheet.add("queue_talk_seconds_total", &labels, figures.talk);
        sheet.add("queue_handle_seconds_total", &labels, figures.talk + figures.wrap_up);
        sheet.add("queue_after_call_work_seconds_total", &labels, figures.wrap_up);
    }
}
