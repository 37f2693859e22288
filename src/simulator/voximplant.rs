//! Voximplant Management API: GetACDOperatorStatistics. A call falls into the bucket of its ring start, in UTC, and
//! shows once it has ended; after-call work follows when it is over. Errors come with HTTP 200.

mod statistics;
mod token;

use std::io;
use std::sync::Arc;

use http::Method;
use http::request::Parts;
use serde_json::json;

use super::form::{multipart, urlencoded, value};
use super::serve::{Api, Asked, Refusal, Reply, UNKNOWN};
use super::times::parse_stamp;
use super::truth::{Agent, Rng, Truth};
use super::{Vendor, World};
use statistics::{Aggregation, Group, ITEMS, Query};
pub(super) use token::CHILD;
use token::{Rejected, ServiceAccount};

const METHOD: &str = "GetACDOperatorStatistics";
const ROOT: &str = "/platform_api";

pub(super) struct Platform {
    world: Arc<World>,
    account: ServiceAccount,
}

/// A code of the vendor's catalogue, with its text.
type Refused = (u16, &'static str);

const AUTHORIZATION_FAILED: Refused = (100, "Authorization failed");
const RATE_LIMIT: Refused = (340, "Rate limit exceed");

impl Platform {
    /// The platform, and its service account's file.
    pub(super) fn new(world: Arc<World>) -> io::Result<(Self, String)> {
        let mut rng = Rng::of(&[world.options.seed, 6]);
        let (high, low) = (rng.next(), rng.next());
        let (a, b, c, d) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF, low >> 48);
        let key_id = format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", low & 0xFFFF_FFFF_FFFF);
        let (account, file) = ServiceAccount::generate(key_id, world.options.seed)?;
        Ok((Self { world, account }, file))
    }

    fn execute(&self, asked: &Asked, command: &str) -> Result<serde_json::Value, Refused> {
        let mut fields = asked.query();
        let kind = asked.header("content-type");
        if kind.starts_with("multipart/form-data") {
            fields.extend(multipart(kind, &asked.body).ok_or((101, "Invalid arguments"))?);
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            fields.extend(urlencoded(&asked.body));
        }
        let command = if command.is_empty() { value(&fields, "cmd").unwrap_or_default() } else { command };
        match command {
            "" => return Err((102, "Missing 'cmd' parameter.")),
            METHOD => {}
            _ => return Err((103, "Unknown command.")),
        }
        self.account.check(asked.header("authorization"), self.world.now()).map_err(|rejected| match rejected {
            Rejected::Authorization => AUTHORIZATION_FAILED,
            Rejected::Format => (447, "Invalid token format"),
            Rejected::Life => (454, "Invalid token TTL"),
            Rejected::Future => (455, "Token issued in the future"),
            Rejected::Expired => (456, "Token expired"),
        })?;
        let now = self.world.now();
        let (query, agents) = parse(&fields, &self.world.truth, now)?;
        Ok(query.run(&self.world.truth, &agents, now))
    }
}

impl Api for Platform {
    fn name(&self, asked: &Parts) -> &'static str {
        match command_of(asked.uri.path()) {
            // The command may stand in the body, which is not read yet; no other one is answered.
            Some(METHOD | "") => METHOD,
            _ => UNKNOWN,
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(command) = command_of(asked.path()) else { return Reply::page(404) };
        if asked.head.method != Method::POST && asked.head.method != Method::GET {
            return Reply::wrong_method("GET, POST");
        }
        match self.execute(asked, command) {
            Ok(result) => Reply::json(200, &json!({ "result": result })),
            Err(refused) => error(refused),
        }
    }

    fn refuse(&self, _: &Asked, why: Refusal) -> Reply {
        error(match why {
            Refusal::Credentials => AUTHORIZATION_FAILED,
            Refusal::RateLimited => RATE_LIMIT,
            Refusal::Broken => (2, "Internal error"),
        })
    }
}

fn command_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/').filter(|command| !command.contains('/')) }
}

fn parse<'a>(fields: &[(String, String)], truth: &'a Truth, now: i64) -> Result<(Query, Vec<&'a Agent>), Refused> {
    const EMPTY: Refused = (134, "Required parameter is empty.");
    let field = |name| value(fields, name).filter(|text| !text.is_empty());
    let date = |text: &str| parse_stamp(text, 0).ok_or((111, "Invalid date format."));
    let from = date(field("from_date").ok_or(EMPTY)?)?;
    let to = field("to_date").map_or(Ok(now + 1), date)?;
    if from > to {
        return Err((123, "Invalid date range."));
    }
    let agents = pick(field("user_id").ok_or(EMPTY)?, truth.agents(Vendor::Voximplant), |agent| agent.key.as_str())
        .ok_or((117, "The 'user_id' parameter is invalid."))?;
    let lines = Truth::lines(Vendor::Voximplant);
    let queues = pick(field("acd_queue_id").unwrap_or("all"), lines, |line| line.0)
        .ok_or((218, "The 'acd_queue_id' parameter is invalid."))?;
    let items = pick(field("report").unwrap_or("all"), &ITEMS, |item| item.short)
        .ok_or((229, "The 'report' parameter is invalid."))?;
    let aggregation = match field("aggregation").unwrap_or("none") {
        "none" => Aggregation::None,
        "day" => Aggregation::Day,
        "hour" => Aggregation::Hour,
        "hour_of_day" => Aggregation::HourOfDay,
        _ => return Err((228, "The 'aggregation' parameter is invalid.")),
    };
    let group = match field("group").unwrap_or("user") {
        "user" => Group::User,
        "aggregation" => Group::Aggregation,
        _ => return Err((254, "The 'group' parameter is invalid.")),
    };
    let short = match field("abbreviation").unwrap_or("true").to_ascii_lowercase().as_str() {
        "true" | "1" => true,
        "false" | "0" => false,
        _ => return Err((101, "Invalid arguments")),
    };
    let queues = lines.iter().map(|line| queues.contains(&line)).collect();
    Ok((
        Query { window: from..to, queues, items: items.into_iter().copied().collect(), aggregation, group, short },
        agents,
    ))
}

/// The named members of `all`, in its order; none if one is not known.
fn pick<'a, T>(list: &str, all: &'a [T], id: impl Fn(&T) -> &str) -> Option<Vec<&'a T>> {
    if list.eq_ignore_ascii_case("all") {
        return Some(all.iter().collect());
    }
    let wanted: std::collections::HashSet<&str> = list.split(';').map(str::trim).collect();
    let found: Vec<_> = all.iter().filter(|one| wanted.contains(id(one))).collect();
    (found.len() == wanted.len()).then_some(found)
}

fn error((code, msg): Refused) -> Reply {
    Reply::json(200, &json!({ "error": { "code": code, "msg": msg } }))
}
