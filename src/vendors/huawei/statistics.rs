//! `agent_call_statistics`: one GET `statisticsEx` per agent of the GUID source. The three numbers count since sign-in
//! or since midnight, by the gateway's version; whether a new session has begun is the ledger's business, so all three
//! go out as one value. A signed-out agent is a state and no failure, and no answer is ever read as zeros.

use std::borrow::Cow;
use std::collections::BTreeMap;

use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use http::header::{CONTENT_TYPE, COOKIE};
use http::{HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::value::RawValue;
use url::Url;

use super::guids::{Credentials, Source};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::{Answer, Client, Lane, Request};
use crate::failure::{Failure, Reason};
use crate::reading::{Bucket, Entity, Gauge, Reading};
use crate::vendors::{Poll, Report};

/// The report's name.
pub const REPORT: &str = "agent_call_statistics";
/// The name of its requests on the metrics.
pub const API: &str = "statistics_ex";

const GUID: HeaderName = HeaderName::from_static("guid");
/// Wanted by the vendor although nothing is sent.
const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=UTF-8");

/// The report. It keeps each agent's request until the agent's credentials change.
#[derive(Debug)]
pub struct Statistics {
    base: Url,
    source: Source,
    lane: Lane,
    concurrency: usize,
    /// None before the source was read for the first time.
    agents: Option<BTreeMap<u32, Agent>>,
    /// With whom the next poll begins, so that a poll that had to stop does not starve those who come last.
    next: u32,
}

#[derive(Debug)]
struct Agent {
    entity: Entity,
    credentials: Credentials,
    request: Request,
}

/// What the gateway says about one agent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Signed in, with these totals.
    SignedIn(Totals),
    /// Not signed in.
    SignedOut,
}

/// The totals of one agent since his sign-in or since midnight.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Totals {
    /// Talk time in seconds.
    pub talk: Amount,
    /// Calls answered.
    pub answered: Amount,
    /// Calls made.
    pub outbound: Amount,
}

#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    retcode: Cow<'a, str>,
    /// An object after success, `""` or an array otherwise.
    #[serde(borrow)]
    result: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Numbers {
    talktime: f64,
    answernums: f64,
    calloutnums: f64,
}

// === impl Statistics ===

impl Statistics {
    /// The report of one gateway.
    pub const fn new(base: Url, source: Source, lane: Lane, concurrency: usize) -> Self {
        Self { base, source, lane, concurrency, agents: None, next: 0 }
    }

    /// Takes over what the source gives now; says whether that is anything new.
    fn renew(&mut self, agents: BTreeMap<u32, Credentials>) -> bool {
        let mut changed = self.agents.is_none();
        let mut known = self.agents.take().unwrap_or_default();
        let mut renewed = BTreeMap::new();
        for (id, credentials) in agents {
            let agent = match known.remove(&id) {
                Some(agent) if agent.credentials == credentials => agent,
                _ => {
                    changed = true;
                    Agent::new(&self.base, id, credentials)
                }
            };
            renewed.insert(id, agent);
        }
        changed |= !known.is_empty();
        self.agents = Some(renewed);
        changed
    }
}

impl Report for Statistics {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let guids = self.source.read().await?;
            let mut reading = Reading {
                roster: Some(guids.named.into_iter().map(agent_entity).collect()),
                failures: guids.failures,
                source_changed: self.renew(guids.agents),
                ..Reading::default()
            };
            let agents = self.agents.get_or_insert_default();
            let mut waiting = agents.range(self.next..).chain(agents.range(..self.next));
            let mut asked = FuturesUnordered::new();
            loop {
                while asked.len() < self.concurrency
                    && let Some((id, agent)) = waiting.next()
                {
                    let asking = agent.ask(poll.client, &self.lane);
                    asked.push(async move { (*id, asking.await) });
                }
                let Some((id, (entity, answer))) = asked.next().await else { break };
                match answer {
                    Ok(state) => note(&mut reading, entity, state),
                    Err(failure) => {
                        let ends_poll = failure.ends_poll();
                        reading.failures.push(failure);
                        if ends_poll || reading.is_hopeless() {
                            self.next = id + 1;
                            break;
                        }
                    }
                }
            }
            Ok(reading)
        })
    }
}

fn note(reading: &mut Reading, entity: &Entity, state: State) {
    reading.read += 1;
    let signed_in = match state {
        State::SignedIn(Totals { talk, answered, outbound }) => {
            reading.rows += 1;
            reading.figure(Family::AgentTalk, entity, &Bucket::Session, talk);
            reading.figure(Family::AgentAnsweredCalls, entity, &Bucket::Session, answered);
            reading.figure(Family::AgentOutbound, entity, &Bucket::Session, outbound);
            1.0
        }
        State::SignedOut => 0.0,
    };
    let (family, entity) = (Family::AgentSignedIn, entity.clone());
    reading.gauges.push(Gauge { family, entity, labels: Vec::new(), value: signed_in });
}

// === impl Agent ===

impl Agent {
    fn new(base: &Url, id: u32, credentials: Credentials) -> Self {
        let mut url = base.clone();
        let folder = base.path().trim_end_matches('/');
        url.set_path(&format!("{folder}/agentgateway/resource/calldata/{id}/statisticsEx"));
        let mut request = Request::get(url).header(CONTENT_TYPE, JSON).header(GUID, credentials.guid.clone());
        if let Some(cookie) = &credentials.cookie {
            request = request.header(COOKIE, cookie.clone());
        }
        Self { entity: agent_entity(id), credentials, request }
    }

    async fn ask(&self, client: &Client, lane: &Lane) -> (&Entity, Result<State, Failure>) {
        (&self.entity, client.ask(lane, &self.request, decode).await)
    }
}

fn agent_entity(id: u32) -> Entity {
    Entity::Agent(id.to_string().into())
}

// === impl State ===

/// Reads an answer. The gateway is known to say what is wrong in `retcode`, with any HTTP status.
pub fn decode(answer: &Answer) -> Result<State, Failure> {
    let by_status = Failure::from_status(answer.status);
    // A byte that is no UTF-8 beside the figures must not cost them.
    let body = String::from_utf8_lossy(&answer.body);
    let Ok(body) = serde_json::from_str::<Body<'_>>(&body) else { return Err(by_status) };
    match &*body.retcode {
        "100-006" => Ok(State::SignedOut),
        "000-003" => Err(Failure::new(Reason::Auth, "the gateway refused the agent's GUID: is the GUID source fresh?")),
        "0" if (200..300).contains(&answer.status) => {
            let numbers = body.result.and_then(|raw| serde_json::from_str::<Numbers>(raw.get()).ok());
            let totals = numbers.and_then(|numbers| {
                Some(State::SignedIn(Totals {
                    talk: Amount::from_f64(numbers.talktime)?,
                    answered: Amount::from_f64(numbers.answernums)?,
                    outbound: Amount::from_f64(numbers.calloutnums)?,
                }))
            });
            totals.ok_or(Failure::malformed("the answer lacks one of talktime, answernums and calloutnums"))
        }
        "105-005" | "105-006" | "105-007" => Err(Failure::new(
            Reason::Unavailable,
            "the gateway has switched over and the agent has to sign in anew: the GUID source needs his new GUID",
        )),
        "000-004" | "105-001" | "105-002" | "105-003" | "105-004" => {
            Err(Failure::new(Reason::Unavailable, "the gateway is being switched over: if it lasts, ask its operator"))
        }
        code if is_retcode(code) || (200..300).contains(&answer.status) => Err(Failure::new(
            Reason::Unavailable,
            "the gateway could not serve the request: if it lasts, ask its operator",
        )),
        _ => Err(by_status),
    }
}

/// The shape of the documented codes, `100-007`; what else stands there may be a proxy's.
fn is_retcode(code: &str) -> bool {
    let digits = |part: &str| part.len() == 3 && part.bytes().all(|b| b.is_ascii_digit());
    code.split_once('-').is_some_and(|(group, number)| digits(group) && digits(number))
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn read(status: u16, body: &'static str) -> Result<State, Reason> {
        let answer = Answer { status, retry_after: None, body: Bytes::from(body) };
        decode(&answer).map_err(|failure| failure.reason)
    }

    #[test]
    fn success_is_retcode_0_with_all_three_numbers() {
        let totals = Totals { talk: Amount::whole(5310), answered: Amount::whole(17), outbound: Amount::whole(4) };
        for body in [
            include_str!("../../../tests/fixtures/huawei/statistics_ok.json"),
            include_str!("../../../tests/fixtures/huawei/statistics_more_fields.json"),
        ] {
            assert_eq!(read(200, body), Ok(State::SignedIn(totals)));
        }
        let idle = r#"{"message":"","retcode":"0","result":{"talktime":0,"answernums":0,"calloutnums":0}}"#;
        assert!(matches!(read(200, idle), Ok(State::SignedIn(_))), "zeros of the gateway's own are figures");
    }

    #[test]
    fn documented_codes_decide_under_any_status() {
        for status in [200, 401, 500] {
            let signed_out = include_str!("../../../tests/fixtures/huawei/signed_out.json");
            assert_eq!(read(status, signed_out), Ok(State::SignedOut), "{status}");
            let refused = include_str!("../../../tests/fixtures/huawei/refused.json");
            assert_eq!(read(status, refused), Err(Reason::Auth), "{status}");
            for body in [
                r#"{"message":"","result":"","retcode":"100-007"}"#,
                r#"{"message":"","result":[],"retcode":"000-007"}"#,
                r#"{"retcode":"105-005"}"#,
            ] {
                assert_eq!(read(status, body), Err(Reason::Unavailable), "{status} {body}");
            }
        }
        assert_eq!(read(200, r#"{"retcode":"NETWORKERROR","message":"x"}"#), Err(Reason::Unavailable));
        // A firewall before the gateway speaks no JSON.
        assert_eq!(read(429, "<html>CloudWAF</html>"), Err(Reason::RateLimited));
        assert_eq!(read(429, r#"{"retcode":"slow down"}"#), Err(Reason::RateLimited));
    }

    /// DR: an agent is being switched over, or has to sign in anew afterwards; an operator does something else about each.
    #[test]
    fn a_switch_over_passes_or_wants_new_guids() {
        let told = |code: &str| {
            let body = format!(r#"{{"message":"","result":"","retcode":"{code}"}}"#);
            let failure = decode(&Answer { status: 200, retry_after: None, body: body.into() }).unwrap_err();
            assert_eq!(failure.reason, Reason::Unavailable, "{code}");
            failure.detail.contains("new GUID")
        };
        assert!(!["000-004", "105-001", "105-002", "105-003", "105-004"].into_iter().any(told));
        assert!(["105-005", "105-006", "105-007"].into_iter().all(told));
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, advice) in [
            ("000-003", "is the GUID source fresh?"),
            ("100-007", "ask its operator"),
            ("105-001", "ask its operator"),
            ("105-005", "needs his new GUID"),
        ] {
            let body = format!(r#"{{"message":"","result":"","retcode":"{code}"}}"#);
            let failure = decode(&Answer { status: 200, retry_after: None, body: body.into() }).unwrap_err();
            assert!(failure.detail.contains(advice), "{code}: {failure}");
        }
    }

    #[test]
    fn no_other_answer_becomes_figures() {
        for body in [
            "",
            "<html></html>",
            "null",
            "[]",
            r#"{"retcode":"0","result":{"talktime":5"#,
            r#"{"result":{"talktime":5,"answernums":1,"calloutnums":1}}"#,
            r#"{"retcode":0,"result":{"talktime":5,"answernums":1,"calloutnums":1}}"#,
            r#"{"retcode":"0","result":""}"#,
            r#"{"retcode":"0","result":[]}"#,
            r#"{"retcode":"0","result":null}"#,
            r#"{"retcode":"0"}"#,
            r#"{"retcode":"0","result":{"talktime":5,"answernums":1}}"#,
            r#"{"retcode":"0","result":{"talktime":null,"answernums":1,"calloutnums":1}}"#,
            r#"{"retcode":"0","result":{"talktime":"5","answernums":1,"calloutnums":1}}"#,
            r#"{"retcode":"0","result":{"talktime":5,"answernums":-1,"calloutnums":1}}"#,
            r#"{"retcode":"0","result":{"talktime":1e18,"answernums":1,"calloutnums":1}}"#,
            r#"{"retcode":"0","result":{"talktime":1e999,"answernums":1,"calloutnums":1}}"#,
        ] {
            assert_eq!(read(200, body), Err(Reason::Malformed), "{body}");
        }
        let good = include_str!("../../../tests/fixtures/huawei/statistics_ok.json");
        for (status, reason) in [
            (401, Reason::Auth),
            (403, Reason::Unavailable),
            (418, Reason::Http),
            (302, Reason::Http),
            (502, Reason::Unavailable),
        ] {
            assert_eq!(read(status, "<html></html>"), Err(reason), "{status}");
            assert_eq!(read(status, good), Err(reason), "{status}");
        }
    }
}
