//! What lists a whole account: calls by the page, newest first, and the agents' day. And the token that the v2 APIs want
//! of an account whose authentication is set so.

use std::sync::{Mutex, PoisonError};

use serde_json::{Value, json};

use super::super::form::value;
use super::super::serve::{Asked, Reply};
use super::super::times::{self, duration};
use super::super::truth::{DAY, IST, Rng, States};
use super::super::{Vendor, World};
use super::{CloudAgent, NOT_JSON, day, denied, error, failed, json_body, rows, text};

/// A token lives so long, in seconds.
const TOKEN_LIFE: i64 = 3600;
/// Rows of one page.
const MOST_ROWS: usize = 500;
/// Days that one summary may span.
const MOST_DAYS: i64 = 30;

/// The one token of the account that is good.
#[derive(Debug, Default)]
pub(super) struct Token(Mutex<(u64, Option<(String, i64)>)>);

impl Token {
    /// A new one; the one before is dead at once.
    fn make(&self, world: &World) -> String {
        let mut current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        current.0 += 1;
        let mut rng = Rng::of(&[world.options.seed, 11, current.0]);
        let token = format!("eyJhbGciOiJIUzUxMiJ9.{:016x}.{:016x}", rng.next(), rng.next());
        current.1 = Some((token.clone(), world.now()));
        token
    }

    fn refusal(&self, asked: &Asked, now: i64) -> Option<Reply> {
        let given = asked.header("authorization").strip_prefix("Bearer ").unwrap_or_default();
        let current = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = match &current.1 {
            _ if given.is_empty() => "Token Should Not be Null or Empty.",
            Some((token, made)) if token == given && now - made < TOKEN_LIFE => return None,
            Some((token, _)) if token == given => "Token Expired",
            _ => "Invalid Token",
        };
        Some(Reply::json(401, &json!({ "status": "false", "message": text, "data": null })))
    }
}

impl CloudAgent {
    /// Whether a v2 request may pass, by the account's own way to prove who asks. The wrong way gets a misleading answer.
    pub(super) fn stranger(&self, asked: &Asked, user: &str) -> Option<Reply> {
        if user.is_empty() {
            return Some(denied("Missing userName or apiKey"));
        }
        if self.world.options.ozonetel_token {
            if user != self.world.user_name {
                return Some(denied("userName or apiKey is Invalid"));
            }
            return self.token.refusal(asked, self.world.now());
        }
        match asked.header("apikey") {
            "" => Some(denied("Missing userName or apiKey")),
            key => (!self.known(user, key)).then(|| denied("userName or apiKey is Invalid")),
        }
    }

    pub(super) fn generate_token(&self, asked: &Asked) -> Reply {
        let Some(body) = json_body(asked) else { return failed("false", NOT_JSON) };
        if !self.known(text(&body, "userName"), asked.header("apikey")) {
            return failed("false", "userName or apiKey is Invalid");
        }
        if !self.tokens.allow() {
            return failed("false", "Token generation rate limit exceeded");
        }
        Reply::json(200, &json!({ "token": self.token.make(&self.world) }))
    }

    pub(super) fn pages(&self, asked: &Asked) -> Reply {
        let (_, first, last) = match self.listing(asked) {
            Ok(asked) => asked,
            Err(reply) => return reply,
        };
        let query = asked.query();
        let number = |name| value(&query, name).and_then(|text| text.parse::<usize>().ok()).filter(|n| *n > 0);
        let (page, size) = (number("pageNo").unwrap_or(1), number("pageSize").unwrap_or(100).min(MOST_ROWS));
        let now = self.world.now();
        if day(first) > day(now) || day(last) > day(now) {
            return failed("fail", "fromDate and toDate should not be future date");
        }
        // A range over midnight returns nothing useful.
        let rows = if day(first) == day(last) { rows::listed(&self.world, first, last, now) } else { Vec::new() };
        let page = rows.iter().skip((page - 1) * size).take(size).map(|leg| leg.row(&self.world, now));
        let details: Vec<Value> = page.collect();
        let total = rows.len().to_string();
        Reply::json(200, &json!({ "details": details, "message": "success", "status": "success", "totalCount": total }))
    }

    pub(super) fn summary(&self, asked: &Asked) -> Reply {
        let Some(body) = json_body(asked) else { return failed("false", NOT_JSON) };
        if let Some(reply) = self.stranger(asked, text(&body, "userName")) {
            return reply;
        }
        if !self.summaries.allow() {
            return error("max limit exceeded");
        }
        let stamp = |name| times::parse_stamp(text(&body, name), IST);
        let (Some(first), Some(last)) = (stamp("fromDate"), stamp("toDate")) else {
            return error("From and To Date should be in yyyy-mm-dd HH:mm:ss Format");
        };
        if first > last {
            return error("From Date Should not be Greater than To Date");
        }
        if last - first > MOST_DAYS * DAY {
            return error("Difference Between From and To date should not be Greater than 30 Days");
        }
        let now = self.world.now();
        let mut details = Vec::new();
        for day in day(first)..=day(last).min(day(now)) {
            details.extend(self.day_of_agents(day, now));
        }
        if details.is_empty() {
            return error("No Data Found");
        }
        Reply::json(200, &json!({ "details": details, "message": "success", "status": "success" }))
    }

    /// A row per agent and mode, of those who were at work on that Indian day; none while the day is moved.
    fn day_of_agents(&self, day: i64, now: i64) -> Vec<Value> {
        let midnight = day * DAY - IST;
        if super::moving(midnight, now) {
            return Vec::new();
        }
        let mut rows = Vec::new();
        for agent in self.world.truth.agents(Vendor::Ozonetel) {
            let window = midnight..(midnight + DAY).min(now + 1);
            let all = self.world.truth.states_in(Vendor::Ozonetel, agent.index, window);
            // What is dialled by hand is a mode of its own.
            let manual = States { login: all.outbound, outbound: all.outbound, ..States::default() };
            let blended = States { login: all.login - all.outbound, outbound: 0, ..all };
            for (mode, states) in [("Manual", manual), ("Blended", blended)] {
                if states.login == 0 {
                    continue;
                }
                rows.push(json!({
                    "AgentIncrID": agent.number.to_string(),
                    "AgentName": agent.name,
                    "AgentUniqueID": agent.key,
                    "CallDate": times::day(midnight, IST).to_string(),
                    "ModeType": mode,
                    "TotalBusyTime": duration(states.inbound + states.outbound),
                    "TotalDialTime": duration(states.ringing),
                    "TotalIdleTime": duration(states.ready),
                    "TotalLoginDuration": duration(states.login),
                    "TotalPauseTime": duration(states.paused),
                    "TotalWrapupTime": duration(states.after_call_work),
                }));
            }
        }
        rows
    }
}
