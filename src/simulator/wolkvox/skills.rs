//! Report skill_1: calls and service level, one row per skill for the whole window. Whoever waits is rung at once here, so
//! waiting is ringing.

use serde::Serialize;

use super::activity::percent;
use super::{Manager, Vendor, Window, listed};
use crate::simulator::serve::Reply;
use crate::simulator::times::duration;
use crate::simulator::truth::{Direction, Truth};

#[derive(Serialize)]
struct Skill {
    #[serde(rename = "skill_name")]
    name: &'static str,
    #[serde(rename = "skill_id")]
    id: &'static str,
    inbound_calls: String,
    answer_calls: String,
    abandon_calls: String,
    service_level_10seg: String,
    service_level_20seg: String,
    service_level_30seg: String,
    abandon: String,
    asa: String,
    ata: String,
}

/// Calls of one skill, and how long they waited.
#[derive(Clone, Default)]
struct Waits {
    answered: Vec<u64>,
    abandoned: Vec<u64>,
}

impl Manager {
    pub(super) fn skill_1(&self, window: &Window, skill_id: &str) -> Reply {
        let truth = &self.world.truth;
        let skills = Truth::lines(Vendor::Wolkvox);
        let mut waits = vec![Waits::default(); skills.len()];
        for agent in truth.agents(Vendor::Wolkvox) {
            let calls = truth.ended_in(Vendor::Wolkvox, agent.index, window.seconds.clone());
            for call in calls.iter().filter(|call| call.direction == Direction::In) {
                if let Some(skill) = waits.get_mut(usize::from(call.line)) {
                    let list = if call.answered { &mut skill.answered } else { &mut skill.abandoned };
                    list.push(u64::from(call.ring));
                }
            }
        }
        let rows = skills.iter().zip(&waits).filter(|((id, _), waits)| {
            (skill_id == "all" || skill_id == *id) && waits.answered.len() + waits.abandoned.len() > 0
        });
        let rows: Vec<_> = rows.map(|((id, name), waits)| Skill::of(id, name, waits)).collect();
        let found = format!("{} records were found", rows.len());
        listed(rows, found)
    }
}

impl Skill {
    fn of(id: &'static str, name: &'static str, waits: &Waits) -> Self {
        let count = |waits: &[u64]| u64::try_from(waits.len()).unwrap_or(u64::MAX);
        let (answered, abandoned) = (count(&waits.answered), count(&waits.abandoned));
        let within = |seconds| {
            let quick = waits.answered.iter().filter(|wait| **wait <= seconds).copied().collect::<Vec<_>>();
            percent(count(&quick), answered + abandoned)
        };
        let average = |waits: &[u64]| waits.iter().sum::<u64>().checked_div(count(waits)).unwrap_or(0);
        Self {
            name,
            id,
            inbound_calls: (answered + abandoned).to_string(),
            answer_calls: answered.to_string(),
            abandon_calls: abandoned.to_string(),
            service_level_10seg: within(10),
            service_level_20seg: within(20),
            service_level_30seg: within(30),
            abandon: percent(abandoned, answered + abandoned),
            // Documented as seconds, and known as H:M:S from other reports.
            asa: average(&waits.answered).to_string(),
            ata: duration(average(&waits.abandoned)),
        }
    }
}
