//! Ozonetel's call records. The old API has one row per call; the new one has a row per leg: waiting in the queue,
//! each dial of the agent, and the system's own hang-up. Legs of an outbound call carry the call's id as their own;
//! those of an inbound call have ids of their own.

use std::ops::{Range, RangeInclusive};

use jiff::civil::Date;
use serde_json::{Map, Value, json};

use crate::simulator::times::{clock, day, duration, stamp};
use crate::simulator::truth::{Agent, Call, Direction, IST, Truth};
use crate::simulator::{Vendor, World};

/// Ids are 17 digits, well beyond 2^53 and closer together than a floating-point number can tell: this, then the day of
/// the shift (5), the agent (5), the call (3) and the leg (1).
const FIRST_ID: u64 = 30_000_000_000_000_000;
/// How the old API writes nothing.
const NO_SKILL: &str = "None";

/// One row of the new API, as far as legs differ.
struct Leg {
    flow: &'static str,
    start: i64,
    end: i64,
    /// The dial of an agent.
    dial: bool,
    /// The dial that was answered.
    answered: bool,
}

/// Ids and Indian days of the calls that ended in `window`, in order of their end.
pub(in crate::simulator) fn ucids(truth: &Truth, window: Range<i64>) -> Vec<(String, Date)> {
    ended(truth, &window).iter().map(|call| (id(call, 0).to_string(), day(call.start, IST))).collect()
}

/// The bodies of the post-call callbacks of the calls that ended in `window`: a form whose one field is JSON text. Its fields are
/// those of the old API's row, with hold and after-call work.
pub(in crate::simulator) fn callbacks(world: &World, window: &Range<i64>) -> Vec<String> {
    let body = |call: &Call| {
        let mut data = v1(world, call);
        data["HoldDuration"] = duration(call.hold.into()).into();
        data["WrapUpDuration"] = duration(call.wrap_up_by(i64::MAX).into()).into();
        if let Some(fields) = data.as_object_mut() {
            fields.retain(|name, _| !["CallCompleted", "ConferenceData"].contains(&name.as_str()));
        }
        url::form_urlencoded::Serializer::new(String::new()).append_pair("data", &data.to_string()).finish()
    };
    ended(&world.truth, window).iter().map(body).collect()
}

/// The calls that ended in `window`, in order of their end.
fn ended(truth: &Truth, window: &Range<i64>) -> Vec<Call> {
    let agents = truth.agents(Vendor::Ozonetel);
    let mut calls: Vec<_> =
        agents.iter().flat_map(|agent| truth.ended_in(Vendor::Ozonetel, agent.index, window.clone())).collect();
    calls.sort_by_key(Call::end);
    calls
}

/// The call that this id belongs to, as the call's own or a leg's.
pub(super) fn find(truth: &Truth, ucid: &str) -> Option<Call> {
    let id: u64 = ucid.parse().ok()?;
    let rest = id.checked_sub(FIRST_ID)? / 10;
    let (rest, number) = (rest / 1000, usize::try_from(rest % 1000).ok()?);
    let (shift, agent) = (i64::try_from(rest / 100_000).ok()?, u32::try_from(rest % 100_000).ok()?);
    // Days beyond any calendar would only be a waste of time.
    if shift > 99_999 {
        return None;
    }
    let call = truth.shift(Vendor::Ozonetel, agent, shift).get(number).copied()?;
    let leg = id % 10;
    (leg == 0 || call.direction == Direction::In && leg <= legs(&call).len() as u64).then_some(call)
}

fn id(call: &Call, leg: u64) -> u64 {
    let shift = call.shift.unsigned_abs();
    FIRST_ID + ((shift * 100_000 + u64::from(call.agent)) * 1000 + u64::from(call.number)) * 10 + leg
}

/// The call's legs, oldest first.
fn legs(call: &Call) -> Vec<Leg> {
    let mut legs = Vec::new();
    let mut at = call.start;
    if call.queue > 0 {
        let end = at + i64::from(call.queue);
        legs.push(Leg { flow: "Queue", start: at, end, dial: false, answered: false });
        at = end;
    }
    if call.missed > 0 {
        let end = at + i64::from(call.missed);
        legs.push(Leg { flow: "Agent Dials", start: at, end, dial: true, answered: false });
        at = end;
    }
    legs.push(Leg { flow: "Agent Dials", start: at, end: call.end(), dial: true, answered: call.answered });
    if call.direction == Direction::In && (!call.answered || call.number.is_multiple_of(4)) {
        let end = call.end();
        legs.push(Leg { flow: "Disconnect", start: end, end, dial: false, answered: false });
    }
    legs
}

/// A leg of a list.
pub(super) struct Listed {
    start: i64,
    call: Call,
    place: u64,
}

/// The legs of all calls that can be read and started from `first` to `last`, newest first. A call comes with its end, but
/// for the queue, which comes once the caller has left it.
pub(super) fn listed(world: &World, first: i64, last: i64, now: i64) -> Vec<Listed> {
    // A call's legs begin within this much of its start.
    const LONGEST: i64 = 2 * 3600;
    let calls = world.truth.calls(Vendor::Ozonetel, &(first - LONGEST..last + 1));
    let mut rows = Vec::new();
    for call in calls.into_iter().filter(|call| super::kept(call, now)) {
        let listed = |leg: &Leg| call.end() <= now || !leg.dial && leg.end <= now;
        let legs = (1..).zip(legs(&call)).filter(|(_, leg)| (first..=last).contains(&leg.start) && listed(leg));
        rows.extend(legs.map(|(place, leg)| Listed { start: leg.start, call, place }));
    }
    rows.sort_by_key(|row| std::cmp::Reverse((row.start, row.call.agent, row.place)));
    rows
}

impl Listed {
    /// As it stands at `now`.
    pub(super) fn row(&self, world: &World, now: i64) -> Value {
        let leg = (1..).zip(legs(&self.call)).find(|(place, _)| *place == self.place);
        leg.map_or(Value::Null, |(place, leg)| row(world, &self.call, place, &leg, now))
    }
}

/// The legs that started in `window`, oldest first.
pub(super) fn v2(world: &World, call: &Call, window: RangeInclusive<i64>, now: i64) -> Vec<Value> {
    let legs = (1..).zip(legs(call));
    legs.filter(|(_, leg)| window.contains(&leg.start)).map(|(place, leg)| row(world, call, place, &leg, now)).collect()
}

fn row(world: &World, call: &Call, place: u64, leg: &Leg, now: i64) -> Value {
    let inbound = call.direction == Direction::In;
    let agent = agent(world, call);
    let when = |yes: bool, text: &str| if yes { text.to_owned() } else { String::new() };
    let seconds = |yes: bool, seconds: u16| duration(if yes { seconds.into() } else { 0 });
    let length = duration((leg.end - leg.start).unsigned_abs());
    let wrap_up = if leg.answered { call.wrap_up_by(now) } else { 0 };
    let handling = if leg.answered { u64::from(call.talk) + u64::from(call.hold) + u64::from(wrap_up) } else { 0 };
    // An outbound call that nobody picked up shows its whole ringing as time to answer.
    let pickup = if leg.answered { Some(call.pickup()) } else { (leg.dial && !inbound).then_some(leg.end) };
    let to_answer = pickup.map_or(0, |at| (at - leg.start).unsigned_abs());
    let customer = if inbound { leg.answered } else { leg.dial && call.answered };
    let hangup = match leg.flow {
        "Disconnect" => "SystemHangup",
        _ if !leg.answered && inbound => "",
        _ if call.number.is_multiple_of(2) => "UserHangup",
        _ => "AgentHangup",
    };
    let dial_status = match (leg.dial, leg.answered, inbound) {
        (false, ..) => "",
        (true, true, _) => "answered",
        (true, false, true) => "not_answered",
        (true, false, false) => "NormalUnspecified",
    };
    let cells: [(&str, String); 46] = [
        ("AgentDialStatus", when(leg.dial, if leg.answered || !inbound { "answered" } else { "not_answered" })),
        ("AgentID", when(leg.dial, &agent.key)),
        ("AgentName", when(leg.dial, &agent.name)),
        ("CallAudio", when(leg.answered, "https://recordings.example.invalid/acme/call.mp3")),
        ("CallDate", day(leg.start, IST).to_string()),
        ("CallFlow", leg.flow.to_owned()),
        ("CallID", id(call, 0).to_string()),
        ("CallerConfAudioFile", String::new()),
        ("CallerID", caller(call)),
        ("CampaignName", campaign(call).to_owned()),
        ("Comments", String::new()),
        ("ConferenceDuration", duration(0)),
        ("CustomerDialStatus", when(leg.dial, if customer { "answered" } else { "not_answered" })),
        ("CustomerRingTime", seconds(!inbound, call.ring)),
        ("DID", "911400000700".to_owned()),
        ("DialOutName", String::new()),
        ("DialStatus", dial_status.to_owned()),
        ("DialedNumber", when(leg.dial, &(520_000 + call.agent).to_string())),
        ("Disposition", when(leg.answered, if wrap_up > 25 { "Wrap up time exceeded :25" } else { "General Enquiry" })),
        ("Duration", length),
        ("DynamicDID", String::new()),
        ("E164", format!("+{}", caller(call).trim_start_matches('0'))),
        ("EndTime", clock(leg.end, IST)),
        ("Event", leg.flow.to_owned()),
        ("HandlingTime", duration(handling)),
        ("HangupBy", hangup.to_owned()),
        ("HoldDuration", seconds(leg.answered, call.hold)),
        ("Location", String::new()),
        ("PickupTime", pickup.map(|at| clock(at, IST)).unwrap_or_default()),
        ("QueueTime", seconds(leg.flow == "Queue", call.queue)),
        ("Rating", String::new()),
        ("RatingComments", String::new()),
        ("Skill", when(inbound, campaign(call))),
        ("StartTime", clock(leg.start, IST)),
        ("Status", if leg.answered { "Answered" } else { "Unanswered" }.to_owned()),
        ("TalkTime", seconds(leg.answered, call.talk)),
        ("TimeToAnswer", duration(to_answer)),
        ("TransferType", String::new()),
        ("TransferredTo", String::new()),
        ("Type", kind(call).to_owned()),
        ("UCID", id(call, if inbound { place } else { 0 }).to_string()),
        ("UUI", when(!inbound, "Click2Call")),
        ("VideoRecordingURL", String::new()),
        ("WrapUpEndTime", when(wrap_up > 0, &clock(call.done(), IST))),
        ("WrapUpStartTime", when(wrap_up > 0, &clock(call.end(), IST))),
        ("WrapupDuration", duration(wrap_up.into())),
    ];
    cells.into_iter().map(|(name, cell)| (name.to_owned(), cell.into())).collect::<Map<_, _>>().into()
}

/// The one row of the call in the old API; it repeats the account's key, as the real one does.
pub(super) fn v1(world: &World, call: &Call) -> Value {
    let agent = agent(world, call);
    let dialled = if call.answered { "answered" } else { "not_answered" };
    // Talk is `Duration` here, and the whole call `CallDuration`.
    let waited = (call.pickup() - call.start).unsigned_abs();
    json!({
        "monitorUCID": id(call, 0).to_string(),
        "UUI": "",
        "Did": "911400000700",
        "CampaignName": campaign(call),
        "Location": "",
        "CallerID": caller(call),
        "PhoneName": agent.key,
        "Skill": if call.direction == Direction::In { campaign(call) } else { NO_SKILL },
        "StartTime": stamp(call.start, IST),
        "EndTime": stamp(call.end(), IST),
        "TimeToAnswer": if call.answered { duration(waited) } else { String::new() },
        "CallDuration": duration((call.end() - call.start).unsigned_abs()),
        "Duration": duration(call.talk.into()),
        "FallBackRule": "AgentDial",
        "DialedNumber": (520_000 + call.agent).to_string(),
        "Type": kind(call).to_lowercase(),
        "AgentID": agent.key,
        "AgentPhoneNumber": (520_000 + call.agent).to_string(),
        "AgentUniqueID": agent.number.to_string(),
        "AgentName": agent.name,
        "Disposition": "",
        "HangupBy": if call.number.is_multiple_of(2) { "UserHangup" } else { "AgentHangup" },
        "Status": if call.answered { "Answered" } else { "NotAnswered" },
        "AudioFile": "",
        "TransferType": "No Transfers",
        "TransferredTo": "",
        "Comments": "",
        "DialStatus": dialled,
        "Apikey": world.api_key,
        "AgentStatus": dialled,
        "CustomerStatus": dialled,
        "UserName": world.user_name,
        "CallerConfAudioFile": "",
        "ConfDuration": duration(0),
        "CampaignStatus": "ONLINE",
        "DataUniqueId": "",
        "CallCompleted": "TRUE",
        "ConferenceData": "",
    })
}

fn agent<'a>(world: &'a World, call: &Call) -> &'a Agent {
    let agents = world.truth.agents(Vendor::Ozonetel);
    // A call was found through its agent.
    &agents[call.agent as usize]
}

fn campaign(call: &Call) -> &'static str {
    Truth::lines(Vendor::Ozonetel).get(usize::from(call.line)).map_or("", |line| line.1)
}

fn kind(call: &Call) -> &'static str {
    match (call.direction, call.number % 3) {
        (Direction::In, _) => "Inbound",
        (Direction::Out, 0) => "Progressive",
        (Direction::Out, _) => "Manual",
    }
}

/// A number that nobody has.
fn caller(call: &Call) -> String {
    let digits = (u64::from(call.agent) * 1000 + u64::from(call.number)) % 1_000_000;
    if call.number.is_multiple_of(2) { format!("0091900{digits:07}") } else { format!("91900{digits:07}") }
}
