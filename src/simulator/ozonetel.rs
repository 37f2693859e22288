//! Ozonetel CloudAgent: average handle time and calls by UCID, each in its old form (v1, keys in the query) and its
//! new one (v2, keys in a header, parameters in a JSON body even with GET). When a call can be read, who is let in
//! and how often is decided here; how a call's legs look, in `rows`; what lists a whole account, in `bulk`.

mod bulk;
mod rows;

use std::sync::Arc;

use http::Method;
use http::request::Parts;
use serde_json::{Map, Value, json};

use super::form::value;
use super::limits::Limiter;
use super::serve::{Api, Asked, Refusal, Reply, UNKNOWN};
use super::times::{self, duration};
use super::truth::{Call, DAY, IST, Truth};
use super::{Vendor, World};
pub(super) use rows::{callbacks, ucids};

const AHT_V1: &str = "/CAServices/AgentDetails/AHT.php";
const CDR_V1: &str = "/CAServices/CDR/CallBacks.php";
const AHT_V2: &str = "/ca_apis/aht";
const CDR_V2: &str = "/ca_reports/fetchCdrByUCID";
const PAGES: &str = "/ca_reports/fetchCdrByPagination";
const SUMMARY: &str = "/ca_reports/summaryReport";
const TOKEN: &str = "/ca_apis/CAToken/generateToken";
/// Days that a call stays readable.
const KEPT_DAYS: i64 = 15;
/// Second of the Indian day at which yesterday's calls have been moved.
const MOVED: i64 = 3 * 3600;
/// How the new API says that it wanted JSON.
const NOT_JSON: &str = "Invalid Json Pass Valid Json";

pub(super) struct CloudAgent {
    world: Arc<World>,
    aht_v1: Limiter,
    cdr_v1: Limiter,
    aht_v2: Limiter,
    /// Shared by all that list calls: the documents do not say otherwise.
    cdr_v2: Limiter,
    summaries: Limiter,
    tokens: Limiter,
    token: bulk::Token,
}

impl CloudAgent {
    pub(super) fn new(world: Arc<World>) -> Self {
        let limiter = |per_minute| Limiter::new(per_minute, world.options.limits);
        let (aht_v1, cdr_v1, aht_v2, cdr_v2) = (limiter(50), limiter(50), limiter(50), limiter(2));
        let (summaries, tokens) = (limiter(5), Limiter::hourly(10, world.options.limits));
        Self { world, aht_v1, cdr_v1, aht_v2, cdr_v2, summaries, tokens, token: bulk::Token::default() }
    }

    fn known(&self, user: &str, key: &str) -> bool {
        user == self.world.user_name && key == self.world.api_key
    }

    // --- average handle time

    fn aht_v1(&self, asked: &Asked) -> Reply {
        let query = asked.query();
        let field = |name| value(&query, name).unwrap_or_default();
        let (user, key) = (field("userName"), field("apiKey"));
        self.aht(&self.aht_v1, user, key, field("agentId"), field("campaignName"))
    }

    fn aht_v2(&self, asked: &Asked) -> Reply {
        let Some(body) = json_body(asked) else { return failed("false", NOT_JSON) };
        let user = text(&body, "userName");
        let key = if self.world.options.ozonetel_token {
            if let Some(reply) = self.stranger(asked, user) {
                return reply;
            }
            self.world.api_key.as_str()
        } else {
            asked.header("apikey")
        };
        self.aht(&self.aht_v2, user, key, text(&body, "agentId"), text(&body, "campaignName"))
    }

    fn aht(&self, limiter: &Limiter, user: &str, key: &str, agent: &str, campaign: &str) -> Reply {
        if let Some(empty) = first_empty(&[("userName", user), ("apiKey", key)]) {
            return error(&format!("{empty} should not be empty"));
        }
        match (agent, campaign) {
            ("", "") => return error("Both agentId and campaignName cannot be empty"),
            ("", _) | (_, "") => {}
            _ => return error("Both agentId and campaignName cannot be passed at a time"),
        }
        if !self.known(user, key) {
            return error("userName or apiKey is Invalid");
        }
        if !limiter.allow() {
            return error("max limit exceeded");
        }
        let (truth, now) = (&self.world.truth, self.world.now());
        if campaign.is_empty() {
            let Some(one) = truth.agents(Vendor::Ozonetel).iter().find(|one| one.key == agent) else {
                return error("agentId is Invalid");
            };
            let average = average(truth.average_handle_time(Some(one.index), None, now));
            success(&json!({ "AgentID": one.key, "AgentName": one.name, "AHT": average }))
        } else {
            let lines = Truth::lines(Vendor::Ozonetel);
            let Some((place, (id, name))) = (0..).zip(lines).find(|(_, (_, name))| *name == campaign) else {
                return error("campaignName is Invalid");
            };
            let average = average(truth.average_handle_time(None, Some(place), now));
            success(&json!({ "CampaignID": id, "CampaignName": name, "AHT": average }))
        }
    }

    // --- calls by UCID

    fn cdr_v1(&self, asked: &Asked) -> Reply {
        let query = asked.query();
        let field = |name| value(&query, name).unwrap_or_default();
        let (user, key, ucid, kind) = (field("userName"), field("apiKey"), field("ucid"), field("reportType"));
        let required = [("userName", user), ("apiKey", key), ("ucid", ucid), ("reportType", kind)];
        if let Some(empty) = first_empty(&required) {
            return error(&format!("{empty} should not be empty"));
        }
        if kind != "historical" {
            return error("Invalid reportType");
        }
        if !ucid.bytes().all(|b| b.is_ascii_digit()) {
            return error("ucid should be numeric only");
        }
        if !self.known(user, key) {
            return error("userName or apiKey is Invalid");
        }
        if !self.cdr_v1.allow() {
            return error("max limit exceeded");
        }
        let now = self.world.now();
        let found = rows::find(&self.world.truth, ucid).filter(|call| day(call.start) < day(now));
        match found.filter(|call| readable(call, now)) {
            Some(call) => success(&json!([rows::v1(&self.world, &call)])),
            None => success(&format!("No Data Found with UCID {ucid}").into()),
        }
    }

    /// The body of a request that lists calls, and its range; or how it is turned away.
    fn listing(&self, asked: &Asked) -> Result<(Map<String, Value>, i64, i64), Reply> {
        let body = json_body(asked).ok_or_else(|| failed("false", NOT_JSON))?;
        if let Some(reply) = self.stranger(asked, text(&body, "userName")) {
            return Err(reply);
        }
        if !self.cdr_v2.allow() {
            return Err(too_often());
        }
        let (from, to) = (text(&body, "fromDate"), text(&body, "toDate"));
        if from.is_empty() || to.is_empty() {
            return Err(failed("fail", "Missing fromDate and toDate"));
        }
        let first = times::parse_stamp(from, IST).ok_or_else(|| failed("fail", &wrong_format("fromDate")))?;
        let last = times::parse_stamp(to, IST).ok_or_else(|| failed("fail", &wrong_format("toDate")))?;
        Ok((body, first, last))
    }

    fn cdr_v2(&self, asked: &Asked) -> Reply {
        let (body, first, last) = match self.listing(asked) {
            Ok(asked) => asked,
            Err(reply) => return reply,
        };
        let ucid = text(&body, "ucid");
        if ucid.is_empty() {
            return failed("fail", "Missing ucid");
        }
        let now = self.world.now();
        if day(first) > day(now) || day(last) > day(now) {
            return failed("fail", "fromDate and toDate should not be future date");
        }
        let call = rows::find(&self.world.truth, ucid).filter(|call| day(call.start) == day(first));
        let call = call.filter(|call| day(first) == day(last) && readable(call, now));
        let mut details = call.map_or_else(Vec::new, |call| rows::v2(&self.world, &call, first..=last, now));
        details.reverse(); // newest first
        Reply::json(200, &json!({ "details": details, "message": "success", "status": "success" }))
    }
}

impl Api for CloudAgent {
    fn name(&self, asked: &Parts) -> &'static str {
        match asked.uri.path() {
            AHT_V1 => "AHT.php",
            CDR_V1 => "CallBacks.php",
            AHT_V2 => "aht",
            CDR_V2 => "fetchCdrByUCID",
            PAGES => "fetchCdrByPagination",
            SUMMARY => "summaryReport",
            TOKEN => "generateToken",
            _ => UNKNOWN,
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let method = &asked.head.method;
        match asked.path() {
            AHT_V2 if method == Method::POST => self.aht_v2(asked),
            SUMMARY if method == Method::POST => self.summary(asked),
            AHT_V2 | SUMMARY if method != Method::GET => Reply::wrong_method("GET, POST"),
            TOKEN if method != Method::POST => Reply::wrong_method("POST"),
            AHT_V1 | CDR_V1 | CDR_V2 | PAGES if method != Method::GET => Reply::wrong_method("GET"),
            AHT_V1 => self.aht_v1(asked),
            CDR_V1 => self.cdr_v1(asked),
            AHT_V2 => self.aht_v2(asked),
            CDR_V2 => self.cdr_v2(asked),
            PAGES => self.pages(asked),
            SUMMARY => self.summary(asked),
            TOKEN => self.generate_token(asked),
            _ => Reply::page(404),
        }
    }

    fn refuse(&self, asked: &Asked, why: Refusal) -> Reply {
        match (why, asked.path()) {
            (Refusal::Credentials, CDR_V2 | PAGES | SUMMARY) => denied("userName or apiKey is Invalid"),
            (Refusal::Credentials, _) => error("userName or apiKey is Invalid"),
            (Refusal::RateLimited, CDR_V2 | PAGES) => too_often(),
            (Refusal::RateLimited, _) => error("max limit exceeded"),
            (Refusal::Broken, _) => Reply::page(504),
        }
    }
}

/// The Indian day of a moment.
fn day(at: i64) -> i64 {
    (at + IST).div_euclid(DAY)
}

/// Whether a call can be read at `now`: ended, and kept.
fn readable(call: &Call, now: i64) -> bool {
    call.end() <= now && kept(call, now)
}

/// Whether its legs can be listed at `now`: at most fifteen days old, and not yesterday's while those are moved.
fn kept(call: &Call, now: i64) -> bool {
    let age = day(now) - day(call.start);
    (0..=KEPT_DAYS).contains(&age) && !moving(call.start, now)
}

/// Whether `at` lies on yesterday, and yesterday is on its way to the historical store.
fn moving(at: i64, now: i64) -> bool {
    day(now) - day(at) == 1 && (now + IST).rem_euclid(DAY) < MOVED
}

fn average(seconds: Option<u64>) -> String {
    seconds.map_or_else(|| "None".to_owned(), duration)
}

/// The name of the first that is empty.
fn first_empty<'a>(fields: &[(&'a str, &str)]) -> Option<&'a str> {
    fields.iter().find(|(_, text)| text.is_empty()).map(|(name, _)| *name)
}

fn json_body(asked: &Asked) -> Option<Map<String, Value>> {
    serde_json::from_slice(&asked.body).ok()
}

fn text<'a>(body: &'a Map<String, Value>, name: &str) -> &'a str {
    body.get(name).and_then(Value::as_str).unwrap_or_default()
}

fn too_often() -> Reply {
    Reply::json(429, &json!({ "message": "Rate limit exceeded", "status": "fail" }))
}

fn wrong_format(field: &str) -> String {
    format!("Invalid {field} format. Please pass the date in the format yyyy-MM-dd HH:mm:ss")
}

fn success(message: &Value) -> Reply {
    Reply::json(200, &json!({ "status": "success", "message": message }))
}

fn error(message: &str) -> Reply {
    failed("error", message)
}

fn failed(status: &str, message: &str) -> Reply {
    Reply::json(200, &json!({ "status": status, "message": message }))
}

fn denied(message: &str) -> Reply {
    Reply::json(401, &json!({ "status": "false", "message": message }))
}
