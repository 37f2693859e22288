//! Report agent_1: calls and time by state, one row per agent for the whole window. What was spent by now is in it; a call
//! is, once it has ended.

use serde::Serialize;

use super::{Manager, Vendor, Window, listed};
use crate::simulator::serve::Reply;
use crate::simulator::times::{duration, wall};
use crate::simulator::truth::{Agent, Figures, States};

/// All fields of the vendor's own example, in its order; the misspelt one is the vendor's.
#[derive(Serialize)]
struct Activity {
    agent_id: String,
    agent_dni: String,
    agent_name: String,
    calls: String,
    inbound: String,
    outbound: String,
    internal: String,
    ready_time: String,
    inbound_time: String,
    outbound_time: String,
    acw_time: String,
    ring_time: String,
    login_time: String,
    aht: String,
    occupancy: String,
    aux_time: String,
    hits: String,
    rpc: String,
    aht_outbund: String,
    aht_inbound: String,
    login: String,
    logout: String,
}

impl Manager {
    pub(super) fn agent_1(&self, window: &Window, agent_id: Option<&str>) -> Reply {
        let (truth, now) = (&self.world.truth, self.world.now());
        let passed = window.seconds.start..window.seconds.end.min(now);
        let asked_for = |agent: &&Agent| agent_id.is_none_or(|id| id == agent.number.to_string());
        let rows = truth.agents(Vendor::Wolkvox).iter().filter(asked_for).filter_map(|agent| {
            let states = truth.states_in(Vendor::Wolkvox, agent.index, passed.clone());
            let figures = Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, window.seconds.clone()), now);
            let shift = truth.on_shift(Vendor::Wolkvox, agent.index, now);
            (states.login > 0).then(|| Activity::of(agent, &states, &figures, shift.is_some().then_some(now)))
        });
        listed(rows.collect(), "Information found for the current month".to_owned())
    }
}

impl Activity {
    fn of(agent: &Agent, states: &States, figures: &Figures, seen: Option<i64>) -> Self {
        let average = |seconds: u64, calls: u64| duration(seconds.checked_div(calls).unwrap_or(0));
        let talk = states.inbound + states.outbound;
        let calls = figures.answered + figures.outbound;
        Self {
            agent_id: agent.number.to_string(),
            // A national id; nobody's.
            agent_dni: format!("99{:08}", agent.number),
            agent_name: agent.name.clone(),
            calls: calls.to_string(),
            inbound: figures.answered.to_string(),
            outbound: figures.outbound.to_string(),
            internal: "0".to_owned(),
            ready_time: duration(states.ready),
            inbound_time: duration(states.inbound),
            outbound_time: duration(states.outbound),
            acw_time: duration(states.after_call_work),
            ring_time: duration(states.ringing),
            login_time: duration(states.login),
            aht: average(talk + states.after_call_work, calls),
            occupancy: percent(talk + states.after_call_work, states.login - states.paused),
            aux_time: duration(states.paused),
            hits: "0".to_owned(),
            rpc: "0".to_owned(),
            aht_outbund: average(states.outbound, figures.outbound),
            aht_inbound: average(states.inbound, figures.answered),
            login: "-".to_owned(),
            // It moves on by itself while the agent is signed in.
            logout: seen.map_or_else(|| "-".to_owned(), |now| wall(now, 0).strftime("%Y-%m-%d %H:%M:%S").to_string()),
        }
    }
}

/// `28.81 %`; a comma parts thousands.
pub(super) fn percent(part: u64, whole: u64) -> String {
    let hundredths = (part * 10_000 + whole / 2).checked_div(whole).unwrap_or(0);
    match (hundredths / 100_000, hundredths / 100 % 1000, hundredths % 100) {
        (0, 0, 0) => "0 %".to_owned(),
        (0, ones, rest) => format!("{ones}.{rest:02} %"),
        (thousands, ones, rest) => format!("{thousands},{ones:03}.{rest:02} %"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percents_look_as_documented() {
        for (part, whole, text) in [
            (2881, 10_000, "28.81 %"),
            (0, 3, "0 %"),
            (1_523_333, 10_000, "15,233.33 %"),
            (1, 0, "0 %"),
            (3, 3, "100.00 %"),
        ] {
            assert_eq!(percent(part, whole), text);
        }
    }
}
