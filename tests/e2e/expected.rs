//! What Prometheus should answer, from the truth alone: nothing here goes through a vendor's answer or a decoder.

use std::collections::BTreeMap;

use contact_center_exporter::simulator::Vendor;
use contact_center_exporter::simulator::truth::{Call, DAY, Direction, Figures, IST, Session, Truth};

use crate::vendors::{AVERAGED, BOGOTA, Stopped};

/// One family, or one part of a histogram, of one vendor.
pub(crate) struct Family {
    pub(crate) query: String,
    /// By agent or campaign.
    pub(crate) values: Values,
}

impl Family {
    /// Whether it says how much has happened, not how things are.
    pub(crate) fn is_counter(&self) -> bool {
        !["average_handle_time", "signed_in"].iter().any(|name| self.query.contains(name))
    }
}

pub(crate) type Values = BTreeMap<String, f64>;
type Column<T> = (&'static str, fn(&T) -> u64);

const AGENT_CALLS: [Column<Figures>; 10] = [
    ("agent_answered_calls_total", |figures| figures.answered),
    // The dial before the one that was picked up is a leg that was not.
    ("agent_unanswered_calls_total", |figures| figures.unanswered + figures.missed),
    ("agent_outbound_calls_total", |figures| figures.outbound),
    ("agent_outbound_connected_calls_total", |figures| figures.connected),
    ("agent_handled_calls_total", |figures| figures.answered + figures.connected),
    ("agent_talk_seconds_total", |figures| figures.talk),
    ("agent_hold_seconds_total", |figures| figures.hold),
    ("agent_after_call_work_seconds_total", |figures| figures.wrap_up),
    ("agent_handle_seconds_total", |figures| figures.talk + figures.hold + figures.wrap_up),
    ("agent_ring_seconds_total", |figures| figures.ring),
];
const CAMPAIGN_CALLS: [Column<Figures>; 6] = [
    ("campaign_answered_calls_total", |figures| figures.answered),
    ("campaign_unanswered_calls_total", |figures| figures.unanswered),
    ("campaign_outbound_calls_total", |figures| figures.outbound),
    ("campaign_outbound_connected_calls_total", |figures| figures.connected),
    ("campaign_talk_time_seconds_count", |figures| figures.answered + figures.connected),
    ("campaign_talk_time_seconds_sum", |figures| figures.talk),
];
const HOLD_MUTE: [Column<Figures>; 4] = [
    ("agent_hold_seconds_total", |figures| figures.hold),
    ("agent_mute_seconds_total", |figures| figures.mute),
    ("agent_hold_mute_seconds_total", |figures| figures.hold + figures.mute),
    ("agent_hold_mute_events_total", |figures| figures.hold_events + figures.mute_events),
];
const SESSION: [Column<Figures>; 3] = [
    ("agent_talk_seconds_total", |figures| figures.talk),
    ("agent_answered_calls_total", |figures| figures.answered),
    ("agent_outbound_calls_total", |figures| figures.outbound),
];
const OPERATOR: [Column<Figures>; 7] = [
    ("agent_answered_calls_total", |figures| figures.answered),
    ("agent_handled_calls_total", |figures| figures.answered),
    ("agent_unanswered_calls_total", |figures| figures.unanswered),
    ("agent_ring_seconds_total", |figures| figures.ring),
    ("agent_talk_seconds_total", |figures| figures.talk),
    ("agent_after_call_work_seconds_total", |figures| figures.wrap_up),
    ("agent_handle_seconds_total", |figures| figures.talk + figures.wrap_up),
];

/// Everything that is compared.
pub(crate) fn families(truth: &Truth, stopped: &Stopped) -> Vec<Family> {
    [ozonetel(truth, stopped), wolkvox(truth, stopped), huawei(truth, stopped), voximplant(truth, stopped)]
        .into_iter()
        .flatten()
        .collect()
}

/// One family per column. A figure of which there was nothing may be absent or 0: a vendor says either.
fn table(vendor: Vendor, columns: &[Column<Figures>], rows: &BTreeMap<String, Figures>) -> Vec<Family> {
    let family = |(name, value): &Column<Figures>| Family {
        query: format!("contact_center_{name}{{vendor=\"{}\"}} > 0", vendor.label()),
        values: present(rows.iter().map(|(key, figures)| (key.clone(), value(figures)))),
    };
    columns.iter().map(family).collect()
}

fn present(values: impl Iterator<Item = (String, u64)>) -> Values {
    values.filter(|(_, value)| *value > 0).map(|(key, value)| (key, as_f64(value))).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a few hundred thousand at most")]
fn as_f64(value: u64) -> f64 {
    value as f64
}

/// The calls that the operator's file listed, per agent and per campaign, and the vendor's own averages.
fn ozonetel(truth: &Truth, stopped: &Stopped) -> Vec<Family> {
    let vendor = Vendor::Ozonetel;
    let now = stopped.at.as_second();
    let (from, to) = (stopped.listed.0.as_second() + 1, stopped.listed.1.as_second() + 1);
    let today = |call: &Call| (call.start + IST).div_euclid(DAY) == (now + IST).div_euclid(DAY);
    let (mut agents, mut campaigns) = (BTreeMap::<_, Figures>::new(), BTreeMap::<_, Figures>::new());
    let mut waits = BTreeMap::<String, u64>::new();
    for agent in truth.agents(vendor) {
        for call in truth.ended_in(vendor, agent.index, from..to).into_iter().filter(today) {
            let campaign = Truth::lines(vendor)[usize::from(call.line)].1.to_owned();
            if call.answered {
                // A caller has waited since the first sign of the call.
                *waits.entry(campaign.clone()).or_default() += (call.pickup() - call.start).unsigned_abs();
            }
            *agents.entry(agent.key.clone()).or_default() += Figures::of([&call], now);
            *campaigns.entry(campaign).or_default() += Figures::of([&call], now);
        }
    }
    let average = |agent, line| truth.average_handle_time(agent, line, now).unwrap_or_default();
    let by_agent =
        truth.agents(vendor).iter().take(AVERAGED).map(|one| (one.key.clone(), average(Some(one.index), None)));
    let by_campaign =
        (0..).zip(Truth::lines(vendor)).map(|(line, (_, name))| ((*name).to_owned(), average(None, Some(line))));
    let mut families = table(vendor, &AGENT_CALLS, &agents);
    families.extend(table(vendor, &CAMPAIGN_CALLS, &campaigns));
    for (query, values) in [
        ("campaign_time_to_answer_seconds_sum", waits.into_iter().map(|(key, value)| (key, as_f64(value))).collect()),
        ("agent_average_handle_time_seconds{direction=\"outbound\",window=\"2h\"}", present(by_agent)),
        ("campaign_average_handle_time_seconds{direction=\"outbound\",window=\"2h\"}", present(by_campaign)),
    ] {
        families.push(Family { query: format!("contact_center_{query}"), values });
    }
    families
}

/// Everything since midnight in Bogotá; namesakes are one agent.
fn wolkvox(truth: &Truth, stopped: &Stopped) -> Vec<Family> {
    let now = stopped.at.as_second();
    let midnight = (now + BOGOTA).div_euclid(DAY) * DAY - BOGOTA;
    let mut rows = BTreeMap::<_, Figures>::new();
    for agent in truth.agents(Vendor::Wolkvox) {
        let calls = truth.ended_in(Vendor::Wolkvox, agent.index, midnight..now + 1);
        *rows.entry(agent.key.clone()).or_default() += Figures::of(&calls, now);
    }
    table(Vendor::Wolkvox, &HOLD_MUTE, &rows)
}

/// The sign-ins that the exporter has seen. Nobody signs out and in again during a test.
fn huawei(truth: &Truth, stopped: &Stopped) -> Vec<Family> {
    let agents = truth.agents(Vendor::Huawei);
    let (since, now) = (stopped.since.as_second(), stopped.at.as_second());
    // Who has signed out meanwhile keeps what he had done until then.
    let last = |agent| -> Option<Session> { (since..=now).rev().find_map(|at| truth.session(agent, at)) };
    let rows = agents.iter().filter_map(|agent| Some((agent.key.clone(), last(agent.index)?.figures))).collect();
    let signed_in = agents.iter().map(|agent| {
        let signed_in = truth.on_shift(Vendor::Huawei, agent.index, now).is_some();
        (agent.key.clone(), f64::from(u8::from(signed_in)))
    });
    let mut families = table(Vendor::Huawei, &SESSION, &rows);
    families.push(Family {
        query: "contact_center_agent_signed_in{vendor=\"huawei\"}".to_owned(),
        values: signed_in.collect(),
    });
    families
}

/// Every call since midnight in Greenwich; the day is that of the call's start.
fn voximplant(truth: &Truth, stopped: &Stopped) -> Vec<Family> {
    let now = stopped.at.as_second();
    let midnight = now.div_euclid(DAY) * DAY;
    let figures = |agent| {
        let calls = truth.started_in(Vendor::Voximplant, agent, midnight..now + 1);
        debug_assert!(calls.iter().all(|call| call.direction == Direction::In));
        Figures::of(&calls, now)
    };
    let rows = truth.agents(Vendor::Voximplant).iter().map(|agent| (agent.key.clone(), figures(agent.index))).collect();
    table(Vendor::Voximplant, &OPERATOR, &rows)
}
