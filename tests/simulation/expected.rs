//! What every counter must show in the end, from the truth alone: nothing here knows how vendors write it or how the
//! program reads it.

pub(crate) mod ozonetel;
pub(crate) mod voximplant;
pub(crate) mod wolkvox;

use std::collections::HashMap;
use std::fmt::Write as _;
use std::ops::Range;
use std::path::PathBuf;

use contact_center_exporter::health::{ReportHealth, ReportId};
use contact_center_exporter::simulator::truth::{Agent, Call, Direction, Figures, Truth};
use contact_center_exporter::simulator::{Simulator, Vendor};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::chaos::{Dice, Setting};
use crate::wire::BUSY;

/// The calls that the operator's file lists.
pub(crate) struct Listed {
    path: PathBuf,
    text: String,
    from: Timestamp,
    /// Every call that ended in one of these is listed.
    windows: Vec<Range<i64>>,
}

impl Listed {
    pub(crate) fn new(path: PathBuf, start: Timestamp) -> Self {
        Self { path, text: String::new(), from: start, windows: Vec::new() }
    }

    /// Lists what ended in a short while since the last time. `undated` calls are few, and never late.
    pub(crate) fn add(&mut self, simulator: &Simulator, now: Timestamp, dice: &mut Dice, undated: bool) {
        let late = now.duration_since(self.from) > SignedDuration::from_hours(3);
        let from = self.from;
        let to = (from + dice.seconds(30, 400)).min(now);
        self.from = now;
        for (id, day) in simulator.ozonetel_ucids(from, to) {
            let line = if undated && !late && dice.percent(25) { id.clone() } else { format!("{id},{day}") };
            let _ = writeln!(self.text, "{line}");
            if dice.percent(10) {
                let _ = writeln!(self.text, "{id},{day} # again");
            }
        }
        self.windows.push(from.as_second() + 1..to.as_second() + 1);
        std::fs::write(&self.path, &self.text).expect("a file in a temporary folder");
    }
}

/// When a report of a vendor last succeeded, if the story has it.
type ReadAt<'a> = dyn Fn(&str, &str) -> Option<i64> + 'a;

struct Sheet(HashMap<String, f64>);

impl Sheet {
    #[expect(clippy::cast_precision_loss, reason = "seconds and calls of some weeks")]
    fn add(&mut self, name: &str, labels: &str, value: u64) {
        *self.0.entry(format!("contact_center_{name}{{{labels}}}")).or_default() += value as f64;
    }
}

pub(crate) fn counters(
    simulator: &Simulator,
    setting: &Setting,
    listed: &Listed,
    reports: &[(ReportId, ReportHealth)],
) -> HashMap<String, f64> {
    let read_at = |vendor: &str| {
        let report = reports.iter().find(|(id, _)| id.vendor == vendor).map(|(_, report)| report);
        report.and_then(|report| report.last_success).map_or(0, Timestamp::as_second)
    };
    let report_read_at = |vendor: &str, name: &str| {
        let report = reports.iter().find(|(id, _)| id.vendor == vendor && id.report == name);
        report.map(|(_, report)| report.last_success.map_or(0, Timestamp::as_second))
    };
    let mut sheet = Sheet(HashMap::new());
    voximplant::counters(&mut sheet, simulator.truth(), setting, reports);
    let hold_mute = report_read_at("wolkvox", "agent_hold_mute").unwrap_or(0);
    wolkvox_hold_mute(&mut sheet, simulator.truth(), setting, hold_mute);
    wolkvox::counters(&mut sheet, simulator, setting, &report_read_at);
    if !setting.long_outages {
        huawei(&mut sheet, simulator.truth(), setting, read_at("huawei"));
    }
    if !setting.ozonetel.records {
        listed_calls(&mut sheet, simulator.truth(), listed);
    }
    ozonetel::bulk(&mut sheet, simulator.truth(), setting, reports);
    sheet.0
}

/// The first second of the first day in `zone`.
fn first_midnight(setting: &Setting, zone: &TimeZone) -> i64 {
    let day = zone.to_datetime(setting.start).date();
    day.to_zoned(zone.clone()).expect("a day").timestamp().as_second()
}

fn wolkvox_hold_mute(sheet: &mut Sheet, truth: &Truth, setting: &Setting, now: i64) {
    let from = first_midnight(setting, &setting.zone);
    for agent in truth.agents(Vendor::Wolkvox) {
        let calls = truth.ended_in(Vendor::Wolkvox, agent.index, from..now + 1);
        let figures = Figures::of(&calls, now);
        let labels = format!("vendor=\"wolkvox\",account=\"b\",agent=\"{}\"", agent.key);
        sheet.add("agent_hold_seconds_total", &labels, figures.hold);
        sheet.add("agent_mute_seconds_total", &labels, figures.mute);
        sheet.add("agent_hold_mute_seconds_total", &labels, figures.hold + figures.mute);
        sheet.add("agent_hold_mute_events_total", &labels, figures.hold_events + figures.mute_events);
    }
}

/// The last figures of every sign-in since the first contact.
fn huawei(sheet: &mut Sheet, truth: &Truth, setting: &Setting, now: i64) {
    for agent in truth.agents(Vendor::Huawei) {
        let labels = format!("vendor=\"huawei\",account=\"c\",agent=\"{}\"", agent.key);
        let mut signed_in_at = None;
        let moments = (setting.start.as_second()..now).step_by(600).chain([now]);
        for at in moments {
            if let Some(session) = truth.session(agent.index, at)
                && signed_in_at != Some(session.since)
            {
                signed_in_at = Some(session.since);
                let last = now.min(session.since + BUSY).max(session.since);
                let figures = truth.session(agent.index, last).map(|session| session.figures).unwrap_or_default();
                sheet.add("agent_talk_seconds_total", &labels, figures.talk);
                sheet.add("agent_answered_calls_total", &labels, figures.answered);
                sheet.add("agent_outbound_calls_total", &labels, figures.outbound);
            }
        }
    }
}

fn listed_calls(sheet: &mut Sheet, truth: &Truth, listed: &Listed) {
    for agent in truth.agents(Vendor::Ozonetel) {
        let of = |window: &Range<i64>| truth.ended_in(Vendor::Ozonetel, agent.index, window.clone());
        let calls: Vec<Call> = listed.windows.iter().flat_map(of).collect();
        count_calls(sheet, agent, &calls, i64::MAX);
    }
}

/// Legs and calls of one agent, with the after-call work that was over by `now`.
fn count_calls(sheet: &mut Sheet, agent: &Agent, calls: &[Call], now: i64) {
    let campaigns = Truth::lines(Vendor::Ozonetel);
    {
        let figures = Figures::of(calls, now);
        let answered = Figures::of(calls.iter().filter(|call| call.answered), now);
        let labels = format!("vendor=\"ozonetel\",account=\"a\",agent=\"{}\"", agent.key);
        sheet.add("agent_answered_calls_total", &labels, figures.answered);
        sheet.add("agent_unanswered_calls_total", &labels, figures.unanswered + figures.missed);
        sheet.add("agent_outbound_calls_total", &labels, figures.outbound);
        sheet.add("agent_outbound_connected_calls_total", &labels, figures.connected);
        sheet.add("agent_handled_calls_total", &labels, figures.answered + figures.connected);
        sheet.add("agent_talk_seconds_total", &labels, answered.talk);
        sheet.add("agent_hold_seconds_total", &labels, figures.hold);
        sheet.add("agent_after_call_work_seconds_total", &labels, figures.wrap_up);
        sheet.add("agent_handle_seconds_total", &labels, answered.talk + answered.hold + answered.wrap_up);
        sheet.add("agent_ring_seconds_total", &labels, figures.ring);
        for call in calls {
            let (_, campaign) = campaigns[usize::from(call.line)];
            let labels = format!("vendor=\"ozonetel\",account=\"a\",campaign=\"{campaign}\"");
            // An agent's leg might still come.
            if call.direction == Direction::In && !call.answered && call.end() + 60 > now {
                continue;
            }
            let kind = match (call.direction, call.answered) {
                (Direction::In, true) => "campaign_answered_calls_total",
                (Direction::In, false) => "campaign_unanswered_calls_total",
                (Direction::Out, _) => "campaign_outbound_calls_total",
            };
            sheet.add(kind, &labels, 1);
            if call.direction == Direction::Out && call.answered {
                sheet.add("campaign_outbound_connected_calls_total", &labels, 1);
            }
            if call.answered {
                sheet.add("campaign_talk_time_seconds_count", &labels, 1);
                sheet.add("campaign_talk_time_seconds_sum", &labels, u64::from(call.talk));
                sheet.add("campaign_time_to_answer_seconds_count", &labels, 1);
            }
        }
    }
}
