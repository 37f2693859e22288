//! Ozonetel's lists of calls and agents' days: whether a story has them, and what they must come to.

use std::fmt::Write as _;

use contact_center_exporter::health::{ReportHealth, ReportId};
use contact_center_exporter::simulator::Vendor;
use contact_center_exporter::simulator::truth::{Call, Truth};
use jiff::{SignedDuration, Timestamp};

use super::{Sheet, count_calls, first_midnight};
use crate::chaos::{Dice, Setting, india};

/// What the account asks for, as the seed decides.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Choice {
    /// All calls by the page; else single calls by id.
    pub(crate) records: bool,
    pub(crate) summary: bool,
    /// Whether the vendor wants a token.
    pub(crate) token: bool,
}

impl Choice {
    /// Pages of hundreds of rows take longer than all else in a story: few stories have them, and none of the long ones.
    pub(crate) fn of(seed: u64, turmoil: SignedDuration) -> Self {
        let mut dice = Dice::of(&[seed, 21]);
        let share = std::env::var("RECORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(5);
        Self {
            records: dice.percent(share) && turmoil < SignedDuration::from_hours(100),
            summary: dice.percent(30),
            token: dice.percent(25),
        }
    }

    /// The account's authentication and reports.
    pub(crate) fn yml(self, interval: u64) -> String {
        let common = format!("interval: {}s, stale_after: 400h", if self.records { interval * 2 } else { interval });
        let mut yml = format!("      auth: {}\n      reports:\n", if self.token { "token" } else { "api_key" });
        // Written faster than the vendor allows: what is read last should be read at one moment.
        let calls = if self.records {
            "call_records: { backfill: 10d, rate_limit: 6000/1m"
        } else {
            "call_details: { ucid_file: ucids.txt"
        };
        let _ = writeln!(yml, "        {calls}, {common} }}");
        if self.summary {
            let _ = writeln!(yml, "        agent_summary: {{ backfill: 10d, rate_limit: 6000/1m, {common} }}");
        }
        yml
    }
}

pub(super) fn bulk(sheet: &mut Sheet, truth: &Truth, setting: &Setting, reports: &[(ReportId, ReportHealth)]) {
    let read_at = |name: &str| {
        let report = reports.iter().find(|(id, _)| id.vendor == "ozonetel" && id.report == name);
        report.and_then(|(_, report)| report.last_success).map_or(0, Timestamp::as_second)
    };
    let from = first_midnight(setting, &india());
    for agent in truth.agents(Vendor::Ozonetel) {
        if setting.ozonetel.records {
            let now = read_at("call_records");
            let started = truth.started_in(Vendor::Ozonetel, agent.index, from..now + 1);
            let calls: Vec<Call> = started.into_iter().filter(|call| call.end() <= now).collect();
            count_calls(sheet, agent, &calls, now);
        }
        if setting.ozonetel.summary {
            let states = truth.states_in(Vendor::Ozonetel, agent.index, from..read_at("agent_summary") + 1);
            let labels = format!("vendor=\"ozonetel\",account=\"a\",agent=\"{}\"", agent.key);
            sheet.add("agent_login_seconds_total", &labels, states.login);
            for (state, seconds) in [
                ("after_call_work", states.after_call_work),
                ("not_ready", states.paused),
                ("ready", states.ready),
                ("ringing", states.ringing),
                ("talking", states.inbound + states.outbound),
            ] {
                sheet.add("agent_state_seconds_total", &format!("{labels},state=\"{state}\""), seconds);
            }
        }
    }
}
