//! Average handle time of outbound calls over the vendor's last two hours: one request per agent or campaign, never
//! both in one, because there is no "all" form. The page that describes a success has lost its braces, so every shape
//! that it can mean is read.

use std::collections::BTreeSet;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};

use super::api::{Access, Envelope, open};
use super::{Api, INTERVAL};
use crate::amount::Amount;
use crate::catalogue::Family;
use crate::client::{Answer, Lane, Request};
use crate::failure::Failure;
use crate::reading::{Entity, Gauge, Reading, clean_key};
use crate::settings::{Problems, RateLimit, report_config};
use crate::vendors::parse::{self, Parsed, Text};
use crate::vendors::{Poll, Report};

report_config! {
    /// `average_handling_time:`
    pub struct AverageHandlingTimeReport, default INTERVAL, {
        /// Which API to ask.
        #[serde(default)]
        pub api: Api,
        /// `agentId` of each agent.
        #[serde(default)]
        pub agents: Vec<String>,
        /// `campaignName` of each campaign.
        #[serde(default)]
        pub campaigns: Vec<String>,
    }
}

/// The report.
#[derive(Debug)]
pub(super) struct AverageHandlingTime {
    access: Access,
    lane: Lane,
    api: Api,
    targets: Vec<Target>,
    /// With whom the next poll begins, so that a poll that had to stop does not starve the end of a long list.
    next: usize,
}

/// Whom one request is about.
#[derive(Debug)]
struct Target {
    entity: Entity,
    parameter: &'static str,
    name: String,
    family: Family,
}

// === impl AverageHandlingTimeReport ===

impl AverageHandlingTimeReport {
    pub(super) const NAME: &str = "average_handling_time";
    /// The same for both APIs.
    pub(super) const LIMIT: RateLimit = RateLimit::per_minute(50);

    pub(super) const fn api_name(&self) -> &'static str {
        match self.api {
            Api::V1 => "aht_v1",
            Api::V2 => "aht",
        }
    }

    pub(super) fn check(&self, at: &str, problems: &mut Problems) {
        if self.agents.is_empty() && self.campaigns.is_empty() {
            problems.add(at, "nothing to ask for; expected at least one entry in agents or campaigns");
        }
        for (list, names) in [("agents", &self.agents), ("campaigns", &self.campaigns)] {
            let mut seen = BTreeSet::new();
            for (index, name) in names.iter().enumerate() {
                let at = format!("{at}.{list}[{index}]");
                if clean_key(name).is_none() {
                    problems.add(&at, "blank; expected a name as the vendor knows it");
                } else if !seen.insert(name.trim()) {
                    problems.add(&at, "listed twice");
                }
            }
        }
    }
}

// === impl AverageHandlingTime ===

impl AverageHandlingTime {
    pub(super) fn new(access: Access, lane: Lane, report: &AverageHandlingTimeReport) -> Self {
        let agents = report.agents.iter().filter_map(|name| {
            let (family, parameter) = (Family::AgentAverageHandleTime, "agentId");
            Some(Target { entity: Entity::agent(name)?, parameter, name: name.trim().to_owned(), family })
        });
        let campaigns = report.campaigns.iter().filter_map(|name| {
            let (family, parameter) = (Family::CampaignAverageHandleTime, "campaignName");
            Some(Target { entity: Entity::campaign(name)?, parameter, name: name.trim().to_owned(), family })
        });
        Self { access, lane, api: report.api, targets: agents.chain(campaigns).collect(), next: 0 }
    }

    fn request(&self, target: &Target) -> Result<Request, Failure> {
        let parameters = [(target.parameter, target.name.as_str())];
        match self.api {
            Api::V1 => Ok(self.access.v1("/CAServices/AgentDetails/AHT.php", &parameters)),
            Api::V2 => self.access.v2("/ca_apis/aht", &parameters),
        }
    }
}

impl Report for AverageHandlingTime {
    fn poll<'a>(&'a mut self, poll: Poll<'a>) -> BoxFuture<'a, Result<Reading, Failure>> {
        Box::pin(async move {
            let mut reading = Reading {
                roster: Some(self.targets.iter().map(|target| target.entity.clone()).collect()),
                ..Reading::default()
            };
            let (first, count) = (self.next, self.targets.len());
            for step in 0..count {
                let index = (first + step) % count;
                self.next = (index + 1) % count;
                let target = &self.targets[index];
                let request = self.request(target)?;
                match self.access.ask(poll.client, &self.lane, self.api, &request, decode).await {
                    Ok(average) => {
                        reading.read += 1;
                        match average {
                            Some(average) => reading.gauges.push(target.gauge(average)),
                            None => reading.silent.push(target.entity.clone()),
                        }
                    }
                    Err(failure) => {
                        // The credentials are the account's: nobody else would fare better.
                        let stop = failure.ends_account();
                        reading.failures.push(failure);
                        if stop || reading.is_hopeless() {
                            break;
                        }
                    }
                }
            }
            Ok(reading)
        })
    }
}

// === impl Target ===

impl Target {
    fn gauge(&self, average: Amount) -> Gauge {
        let labels = vec![("direction", "outbound".to_owned()), ("window", "2h".to_owned())];
        Gauge { family: self.family, entity: self.entity.clone(), labels, value: average.as_f64() }
    }
}

/// The average; none where the vendor has none. It writes an average over no calls in several ways, zero among them.
fn decode(answer: &Answer) -> Result<Option<Amount>, Failure> {
    let Envelope::Success(envelope) = open(answer)? else { return Ok(None) };
    let text = match find(&envelope) {
        Some(Found::Average(text)) => text,
        Some(Found::Nobody) => return Ok(None),
        None => return Err(Failure::malformed("the answer holds no AHT")),
    };
    match parse::duration(text.as_str()) {
        Parsed::Value(average) => Ok(Some(average).filter(|average| *average > Amount::ZERO)),
        Parsed::Absent => Ok(None),
        Parsed::Wrong => Err(Failure::malformed("AHT is no duration")),
    }
}

enum Found {
    Average(Text),
    /// A list without entries.
    Nobody,
}

/// AHT at the top, or in `message` or `details`.
fn find(envelope: &Map<String, Value>) -> Option<Found> {
    average_of(envelope).or_else(|| ["message", "details"].into_iter().find_map(|key| find_in(envelope.get(key)?)))
}

/// AHT in an object, in a list of one object, or in a string that holds either.
fn find_in(value: &Value) -> Option<Found> {
    match value {
        Value::Object(object) => average_of(object),
        Value::Array(list) => match list.as_slice() {
            [] => Some(Found::Nobody),
            [Value::Object(object)] => average_of(object),
            _ => None,
        },
        Value::String(text) => match serde_json::from_str(text).ok()? {
            Value::String(_) => None,
            inner => find_in(&inner),
        },
        _ => None,
    }
}

fn average_of(object: &Map<String, Value>) -> Option<Found> {
    serde_json::from_value(object.get("AHT")?.clone()).ok().map(Found::Average)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use serde::Deserialize;

    use super::*;
    use crate::failure::Reason;
    use crate::ledger::CallQueue;
    use crate::vendors::ozonetel::testing::{Asked, Vendor, access, answer};

    const ANSWERS: &str = include_str!("../../../tests/fixtures/ozonetel/aht_answers.json");

    #[derive(Deserialize)]
    struct Case {
        body: Value,
        seconds: Option<u64>,
    }

    fn report(vendor: &Vendor, yaml: &str) -> AverageHandlingTime {
        let config = serde_yaml::from_str(yaml).expect("the YAML of the test");
        AverageHandlingTime::new(access(), vendor.lane.clone(), &config)
    }

    async fn poll(report: &mut AverageHandlingTime, vendor: &Vendor) -> Reading {
        let calls = CallQueue::default();
        let poll = Poll { now: Timestamp::UNIX_EPOCH, client: &vendor.client, days: &[], calls: &calls };
        report.poll(poll).await.expect("a reading")
    }

    fn names(asked: &[Asked]) -> Vec<String> {
        let name = |body: &String| {
            let body: BTreeMap<String, String> = serde_json::from_str(body).expect("a JSON body");
            body.into_iter().find(|(key, _)| key != "userName").map(|(key, value)| format!("{key}={value}"))
        };
        asked.iter().filter_map(|asked| name(&asked.body)).collect()
    }

    #[test]
    fn every_shape_of_success_is_read_and_nothing_is_not_zero() {
        let cases: BTreeMap<String, Case> = serde_json::from_str(ANSWERS).expect("the fixture");
        for (name, Case { body, seconds }) in cases {
            let read = decode(&answer(200, &body.to_string()));
            assert_eq!(read, Ok(seconds.map(Amount::whole)), "{name}");
        }
    }

    #[test]
    fn success_without_its_payload_is_malformed() {
        for body in [
            r#"{"status":"success"}"#,
            r#"{"status":"success","message":"success"}"#,
            r#"{"status":"success","message":{"AgentID":"asha"}}"#,
            r#"{"status":"success","message":[{"AHT":"00:00:01"},{"AHT":"00:00:02"}]}"#,
            r#"{"status":"success","message":{"AHT":"soon"}}"#,
            r#"{"status":"success","message":{"AHT":"-00:00:05"}}"#,
            r#"{"status":"success","message":{"AHT":{}}}"#,
        ] {
            assert_eq!(decode(&answer(200, body)).map_err(|f| f.reason), Err(Reason::Malformed), "{body}");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_request_per_entity_with_one_parameter() {
        let vendor = Vendor::new(|_| answer(200, r#"{"status":"success","message":{"AHT":"00:02:37"}}"#));
        let mut v2 = report(&vendor, "{agents: [asha, ravi], campaigns: [sales]}");
        let reading = poll(&mut v2, &vendor).await;
        let asked = vendor.asked();
        assert_eq!(names(&asked), ["agentId=asha", "agentId=ravi", "campaignName=sales"]);
        assert!(asked.iter().all(|asked| asked.url.path() == "/prefix/ca_apis/aht" && asked.url.query().is_none()));
        assert_eq!((reading.read, reading.gauges.len()), (3, 3));
        let labels = vec![("direction", "outbound".to_owned()), ("window", "2h".to_owned())];
        assert_eq!((&reading.gauges[0].labels, reading.gauges[0].value), (&labels, 157.0));
        assert_eq!(reading.gauges[2].family, Family::CampaignAverageHandleTime);
        assert_eq!(reading.roster.map(|roster| roster.len()), Some(3));

        let mut v1 = report(&vendor, "{api: v1, campaigns: [sales & more]}");
        poll(&mut v1, &vendor).await;
        let queries: Vec<_> = vendor.asked().into_iter().map(|asked| (asked.url.to_string(), asked.body)).collect();
        let url = "https://vendor.example/prefix/CAServices/AgentDetails/AHT.php?userName=acme&apiKey=canary-key&campaignName=sales+%26+more";
        assert_eq!(queries, [(url.to_owned(), String::new())]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_unknown_agent_does_not_end_the_poll() {
        let vendor = Vendor::new(|Asked { body, .. }| {
            let gone = body.contains("gone");
            answer(
                200,
                if gone {
                    r#"{"status":"error","message":"agentId is Invalid"}"#
                } else {
                    r#"{"status":"success","message":{"AHT":"None"}}"#
                },
            )
        });
        let mut report = report(&vendor, "{agents: [gone, asha]}");
        let reading = poll(&mut report, &vendor).await;
        assert_eq!(reading.failures.iter().map(|f| f.reason).collect::<Vec<_>>(), [Reason::Config]);
        assert_eq!((reading.read, reading.silent), (1, Entity::agent("asha").into_iter().collect()));
        assert!(reading.gauges.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_poll_is_taken_up_where_it_stopped() {
        for (text, reason) in
            [("max limit exceeded", Reason::RateLimited), ("userName or apiKey is Invalid", Reason::Auth)]
        {
            let error = format!(r#"{{"status":"error","message":"{text}"}}"#);
            let vendor = Vendor::new(move |Asked { body, .. }| {
                answer(
                    200,
                    if body.contains("ravi") { &error } else { r#"{"status":"success","message":{"AHT":"00:00:01"}}"# },
                )
            });
            let mut report = report(&vendor, "{agents: [asha, ravi], campaigns: [sales]}");
            let reading = poll(&mut report, &vendor).await;
            assert_eq!((reading.read, reading.failures[0].reason), (1, reason));
            assert_eq!(names(&vendor.asked()), ["agentId=asha", "agentId=ravi"]);
            poll(&mut report, &vendor).await;
            assert_eq!(names(&vendor.asked()), ["campaignName=sales", "agentId=asha", "agentId=ravi"]);
        }
    }
}
