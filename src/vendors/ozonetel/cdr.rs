//! What a call detail record says. Both generations send one row per leg; this file reads either into the same
//! legs, rejects a leg that cannot be true, and turns legs and calls into figures. When a call is asked for again is
//! the queue's business.

pub(super) mod bulk;

use std::collections::{BTreeMap, BTreeSet};

use jiff::ToSpan;
use jiff::civil::{Date, DateTime, Time};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use super::Api;
use super::api::{Envelope, NO_LIST, open, rows};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::Answer;
use crate::failure::Failure;
use crate::reading::{Bucket, CallId, Entity, Gauge, Reading};
use crate::vendors::parse::{self, Parsed, Text, is_nothing};

/// A duration beyond this is not believed.
const LONGEST: Amount = Amount::whole(24 * 3600);

/// What the vendor knows about one call.
#[derive(Debug)]
pub(super) enum Record {
    /// Nothing, or nothing yet.
    NoData,
    /// The call or its record is not completed: nothing of it counts.
    Open,
    /// The legs that could be read, by start, and how many could not.
    Legs(Vec<Leg>, u64),
}

/// One leg of a call.
pub(super) struct Leg {
    call: CallId,
    id: CallId,
    /// The local day on which it started.
    pub(super) day: Date,
    start: DateTime,
    end: DateTime,
    agent: Option<Entity>,
    agent_name: String,
    campaign: Option<Entity>,
    inbound: bool,
    answered: bool,
    talk: Option<Amount>,
    ring: Option<Amount>,
    hold: Option<Amount>,
    after_call_work: Option<Amount>,
    handle: Option<Amount>,
    /// From the start of the leg; v1 does not say.
    pickup: Option<DateTime>,
    /// Whether the vendor says who hung up: else the call may have gone on somewhere.
    hung_up: bool,
}

/// A row of CallBacks.php. Times are whole; `Duration` is the talk, `CallDuration` the leg.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct RowV1 {
    #[serde(rename = "monitorUCID")]
    monitor_ucid: Text,
    campaign_name: Text,
    start_time: Text,
    time_to_answer: Text,
    call_duration: Text,
    duration: Text,
    dialed_number: Text,
    r#type: Text,
    #[serde(rename = "AgentID")]
    agent_id: Text,
    agent_name: Text,
    status: Text,
    call_completed: Text,
}

/// A row of fetchCdrByUCID. Times lack their date; `TalkTime` is the talk, `Duration` the leg.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", default)]
#[derive(Default)]
struct RowV2 {
    #[serde(rename = "CallID")]
    call_id: Text,
    #[serde(rename = "UCID")]
    ucid: Text,
    campaign_name: Text,
    call_date: Text,
    start_time: Text,
    end_time: Text,
    pickup_time: Text,
    time_to_answer: Text,
    duration: Text,
    talk_time: Text,
    hold_duration: Text,
    wrapup_duration: Text,
    r#type: Text,
    #[serde(rename = "AgentID")]
    agent_id: Text,
    agent_name: Text,
    status: Text,
    hangup_by: Text,
}

/// A row of either generation.
trait Row: DeserializeOwned {
    /// Takes the rows out of the envelope.
    fn rows(envelope: &mut Map<String, Value>) -> Result<Vec<Value>, Failure>;
    fn is_open(&self) -> bool;
    /// The leg; none if the row cannot be true.
    fn leg(&self) -> Option<Leg>;
}

// === impl Record ===

impl Record {
    /// Reads an answer of the API in use.
    pub(super) fn decode(answer: &Answer, api: Api) -> Result<Self, Failure> {
        let Envelope::Success(envelope) = open(answer)? else { return Ok(Self::NoData) };
        match api {
            Api::V1 => Self::read::<RowV1>(envelope),
            Api::V2 => Self::read::<RowV2>(envelope),
        }
    }

    fn read<R: Row>(mut envelope: Map<String, Value>) -> Result<Self, Failure> {
        let rows = R::rows(&mut envelope)?;
        if rows.is_empty() {
            return Ok(Self::NoData);
        }
        // A list would be taken for the fields in their order, and an empty one for a call that has not ended.
        let read = |row: Value| row.is_object().then(|| serde_json::from_value(row).ok()).flatten();
        let rows: Vec<Option<R>> = rows.into_iter().map(read).collect();
        if rows.iter().flatten().any(Row::is_open) {
            return Ok(Self::Open);
        }
        let mut legs = Vec::new();
        let mut rejected = 0;
        let mut seen = BTreeSet::new();
        for leg in rows.into_iter().map(|row| row.and_then(|row| row.leg())) {
            match leg {
                // A row that is sent twice is one leg.
                Some(leg) if seen.insert((leg.id.clone(), leg.agent.clone(), leg.start)) => legs.push(leg),
                Some(_) => {}
                None => rejected += 1,
            }
        }
        legs.sort_by_key(|leg| leg.start);
        Ok(Self::Legs(legs, rejected))
    }
}

/// Adds the figures of the legs, and those of the calls that they make up.
pub(super) fn count(legs: &[Leg], reading: &mut Reading) {
    let mut calls = BTreeMap::<_, Vec<_>>::new();
    for leg in legs {
        leg.count(reading);
        calls.entry(&leg.call).or_default().push(leg);
    }
    for (id, legs) in calls {
        count_call(id, &legs, reading);
    }
}

/// A call is its campaign's by its first leg, and answered if any leg is.
fn count_call(id: &CallId, legs: &[&Leg], reading: &mut Reading) {
    let Some(first) = legs.first() else { return };
    let Some(campaign) = &first.campaign else { return };
    let bucket = Bucket::Call { day: first.day, id: id.clone() };
    let answered = legs.iter().find(|leg| leg.answered);
    let yes = answered.is_some();
    let flags = if first.inbound {
        [(Family::CampaignAnswered, yes), (Family::CampaignUnanswered, !yes)]
    } else {
        [(Family::CampaignOutbound, true), (Family::CampaignOutboundConnected, yes)]
    };
    for (family, flag) in flags {
        reading.figure(family, campaign, &bucket, Amount::flag(flag));
    }
    let Some(answered) = answered else { return };
    let talks: Vec<_> = legs.iter().filter_map(|leg| leg.talk).collect();
    if !talks.is_empty() {
        reading.observe(Family::CampaignTalkTime, campaign, &bucket, talks.into_iter().sum());
    }
    let to_answer = match answered.pickup {
        Some(pickup) => u64::try_from(pickup.duration_since(first.start).as_secs()).ok().map(Amount::whole),
        None => answered.ring,
    };
    if let Some(to_answer) = to_answer {
        reading.observe(Family::CampaignTimeToAnswer, campaign, &bucket, to_answer);
    }
}

// === impl Leg ===

impl Leg {
    fn count(&self, reading: &mut Reading) {
        let Some(agent) = &self.agent else { return };
        self.name(agent, reading);
        let bucket = Bucket::Call { day: self.day, id: self.id.clone() };
        // A 0 is said as well, so that a leg that comes back answered, or no longer is, is seen to have changed.
        let flags = if self.inbound {
            [(Family::AgentAnsweredCalls, self.answered), (Family::AgentUnanswered, !self.answered)]
        } else {
            [(Family::AgentOutbound, true), (Family::AgentOutboundConnected, self.answered)]
        };
        for (family, flag) in flags.into_iter().chain([(Family::AgentHandledCalls, self.answered)]) {
            reading.figure(family, agent, &bucket, Amount::flag(flag));
        }
        // The ringing time of an unanswered leg is its whole length or nothing, by type of call.
        let of_answered = |amount: Option<Amount>| amount.filter(|_| self.answered);
        for (family, amount) in [
            (Family::AgentTalk, of_answered(self.talk)),
            (Family::AgentRing, of_answered(self.ring)),
            (Family::AgentHandle, of_answered(self.handle)),
            (Family::AgentHold, self.hold),
            (Family::AgentAfterCallWork, self.after_call_work),
        ] {
            if let Some(amount) = amount {
                reading.figure(family, agent, &bucket, amount);
            }
        }
    }

    /// Whether it is a caller's wait for an agent.
    fn is_queue(&self) -> bool {
        self.inbound && self.agent.is_none() && !self.answered
    }

    /// Who the agent is; the vendor's number stands in other reports, here the key is all there is.
    fn name(&self, agent: &Entity, reading: &mut Reading) {
        let Some((_, key)) = agent.label() else { return };
        if !is_nothing(&self.agent_name) {
            let labels = vec![("agent_name", self.agent_name.clone()), ("agent_id", key.to_owned())];
            reading.gauges.push(Gauge { family: Family::AgentInfo, entity: agent.clone(), labels, value: 1.0 });
        }
    }
}

impl std::fmt::Debug for Leg {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Leg(…)")
    }
}

// === impl RowV1 ===

impl Row for RowV1 {
    fn rows(envelope: &mut Map<String, Value>) -> Result<Vec<Value>, Failure> {
        // No data is a documented text here, and nothing else.
        if let Some(Value::Array(rows)) = envelope.remove("message") { Ok(rows) } else { Err(NO_LIST) }
    }

    fn is_open(&self) -> bool {
        !self.call_completed.as_str().trim().eq_ignore_ascii_case("TRUE")
    }

    fn leg(&self) -> Option<Leg> {
        let call = id(&self.monitor_ucid)?;
        let start = DateTime::strptime("%Y-%m-%d %H:%M:%S", self.start_time.as_str().trim()).ok()?;
        let length = believable(&self.call_duration)?;
        // The rows of a call share its id; what tells them apart is when they began, and for whom.
        let parts = [call, self.start_time.as_str().trim(), self.agent_id.as_str().trim(), self.dialed_number.as_str()];
        Some(Leg {
            call: CallId::new(call),
            id: CallId::new(parts.join("|")),
            day: start.date(),
            start,
            end: after(start, length.unwrap_or_default()),
            agent: Entity::agent(self.agent_id.as_str()),
            agent_name: self.agent_name.as_str().trim().to_owned(),
            campaign: Entity::campaign(self.campaign_name.as_str()),
            inbound: is_inbound(&self.r#type)?,
            answered: is_answered(&self.status),
            talk: believable(&self.duration)?,
            ring: believable(&self.time_to_answer)?,
            hold: None,
            after_call_work: None,
            handle: None,
            pickup: None,
            hung_up: true,
        })
    }
}

// === impl RowV2 ===

impl Row for RowV2 {
    fn rows(envelope: &mut Map<String, Value>) -> Result<Vec<Value>, Failure> {
        rows(envelope)
    }

    fn is_open(&self) -> bool {
        is_nothing(self.end_time.as_str())
    }

    fn leg(&self) -> Option<Leg> {
        let day = Date::strptime("%Y-%m-%d", self.call_date.as_str().trim()).ok()?;
        let start = day.to_datetime(time(&self.start_time)?);
        let end = time(&self.end_time)?;
        let length = believable(&self.duration)?;
        let talk = believable(&self.talk_time)?;
        let ring = believable(&self.time_to_answer)?;
        let hold = believable(&self.hold_duration)?;
        let after_call_work = believable(&self.wrapup_duration)?;
        let pickup = if is_nothing(self.pickup_time.as_str()) {
            ring.map(|ring| after(start, ring))
        } else {
            Some(at_or_after(start, time(&self.pickup_time)?))
        };
        Some(Leg {
            call: CallId::new(id(&self.call_id)?),
            id: CallId::new(id(&self.ucid)?),
            day,
            start,
            end: length.map_or_else(|| at_or_after(start, end), |length| after(start, length)),
            agent: Entity::agent(self.agent_id.as_str()),
            agent_name: self.agent_name.as_str().trim().to_owned(),
            campaign: Entity::campaign(self.campaign_name.as_str()),
            inbound: is_inbound(&self.r#type)?,
            answered: is_answered(&self.status),
            talk,
            ring,
            hold,
            after_call_work,
            handle: talk.map(|talk| talk + hold.unwrap_or_default() + after_call_work.unwrap_or_default()),
            pickup,
            hung_up: !is_nothing(self.hangup_by.as_str()),
        })
    }
}

/// An id as the vendor writes it, without the blanks around it.
fn id(text: &Text) -> Option<&str> {
    Some(text.as_str().trim()).filter(|id| !is_nothing(id))
}

/// A duration that is there and can be true, or is not there; none at all if it is there and cannot.
#[expect(clippy::option_option, reason = "the outer one rejects the row")]
fn believable(text: &Text) -> Option<Option<Amount>> {
    match parse::duration(text.as_str()) {
        Parsed::Value(amount) if amount <= LONGEST => Some(Some(amount)),
        Parsed::Absent => Some(None),
        Parsed::Value(_) | Parsed::Wrong => None,
    }
}

fn is_inbound(text: &Text) -> Option<bool> {
    let text = text.as_str().trim();
    (!is_nothing(text)).then(|| text.eq_ignore_ascii_case("inbound"))
}

fn is_answered(text: &Text) -> bool {
    text.as_str().trim().eq_ignore_ascii_case("answered")
}

fn time(text: &Text) -> Option<Time> {
    Time::strptime("%H:%M:%S", text.as_str().trim()).ok()
}

fn after(start: DateTime, length: Amount) -> DateTime {
    start.saturating_add(std::time::Duration::from_secs_f64(length.as_f64()))
}

/// The first moment with this time of day that is not before `start`: a call may cross midnight.
fn at_or_after(start: DateTime, time: Time) -> DateTime {
    let same_day = start.date().to_datetime(time);
    if same_day < start { same_day.saturating_add(1.day()) } else { same_day }
}

#[cfg(test)]
mod tests;
