//! Voximplant Management API: operators' and queues' statistics and the directory. A call falls into the bucket of its ring
//! start (operators) or of its arrival (queues), in UTC, and shows once it has ended; after-call work follows when it is
//! over. Errors come with HTTP 200. A request that comes again at once may be taken for a machine gone wild.

mod directory;
mod queues;
mod statistics;
mod token;

use std::io;
use std::ops::Range;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::request::Parts;
use serde_json::{Value, json};
use tokio::time::Instant;

use super::form::{multipart, urlencoded, value};
use super::serve::{Api, Asked, Refusal, Reply, UNKNOWN};
use super::times::parse_stamp;
use super::truth::{Agent, Call, Rng, Status, Truth};
use super::{Vendor, World};
use statistics::{Aggregation, Group, ITEMS, Query, What};
pub(super) use token::CHILD;
use token::{Rejected, ServiceAccount};

const OPERATORS: &str = "GetACDOperatorStatistics";
const STATUSES: &str = "GetACDOperatorStatusStatistics";
const QUEUES: &str = "GetACDQueueStatistics";
const USERS: &str = "GetUsers";
const QUEUE_LIST: &str = "GetQueues";
const METHODS: [&str; 5] = [OPERATORS, STATUSES, QUEUES, USERS, QUEUE_LIST];
const ROOT: &str = "/platform_api";

pub(super) struct Platform {
    world: Arc<World>,
    account: ServiceAccount,
    queues: Vec<Queue>,
    /// The latest requests, to the letter.
    latest: Mutex<Vec<(Instant, u64)>>,
}

/// A queue of the account.
pub(super) struct Queue {
    id: String,
    number: u32,
    name: String,
}

/// A code of the vendor's catalogue, with its text.
type Refused = (u16, &'static str);

const AUTHORIZATION_FAILED: Refused = (100, "Authorization failed");
const RATE_LIMIT: Refused = (340, "Rate limit exceed");
const EMPTY: Refused = (134, "Required parameter is empty.");
const INVALID: Refused = (101, "Invalid arguments");

impl Platform {
    /// The platform, and its service account's file.
    pub(super) fn new(world: Arc<World>) -> io::Result<(Self, String)> {
        let mut rng = Rng::of(&[world.options.seed, 6]);
        let (high, low) = (rng.next(), rng.next());
        let (a, b, c, d) = (high >> 32, high >> 16 & 0xFFFF, high & 0xFFFF, low >> 48);
        let key_id = format!("{a:08x}-{b:04x}-{c:04x}-{d:04x}-{:012x}", low & 0xFFFF_FFFF_FFFF);
        let (account, file) = ServiceAccount::generate(key_id, world.options.seed)?;
        let queues = queues(world.options.voximplant_queues);
        Ok((Self { world, account, queues, latest: Mutex::default() }, file))
    }

    fn execute(&self, asked: &Asked, command: &str) -> Result<Value, Refused> {
        let mut fields = asked.query();
        let kind = asked.header("content-type");
        if kind.starts_with("multipart/form-data") {
            fields.extend(multipart(kind, &asked.body).ok_or(INVALID)?);
        } else if kind.starts_with("application/x-www-form-urlencoded") {
            fields.extend(urlencoded(&asked.body));
        }
        let command = if command.is_empty() { value(&fields, "cmd").unwrap_or_default() } else { command };
        if command.is_empty() {
            return Err((102, "Missing 'cmd' parameter."));
        }
        if !METHODS.contains(&command) {
            return Err((103, "Unknown command."));
        }
        self.account.check(asked.header("authorization"), self.world.now()).map_err(|rejected| match rejected {
            Rejected::Authorization => AUTHORIZATION_FAILED,
            Rejected::Format => (447, "Invalid token format"),
            Rejected::Life => (454, "Invalid token TTL"),
            Rejected::Future => (455, "Token issued in the future"),
            Rejected::Expired => (456, "Token expired"),
        })?;
        if self.is_resent(asked) {
            return Err((484, "The request was rejected due to probable automatic request resend. Try again later."));
        }
        let now = self.world.now() - self.world.lag.load(Ordering::Relaxed);
        let truth = &self.world.truth;
        let result = match command {
            OPERATORS => {
                let what = self.calls(&fields)?;
                operators(&fields, truth, now, what)?
            }
            STATUSES => {
                let statuses = pick(field(&fields, "acd_status").unwrap_or("all"), &Status::ALL, |status| {
                    statistics::name(*status)
                });
                let statuses = statuses.ok_or((227, "The 'acd_status' parameter is invalid."))?;
                operators(&fields, truth, now, What::Statuses(statuses.into_iter().copied().collect()))?
            }
            QUEUES => {
                let items = pick(field(&fields, "report").unwrap_or("all"), &queues::ITEMS, |item| item.short);
                let query = queues::Query {
                    window: window(&fields, now)?,
                    queues: self.picked(&fields, None)?,
                    items: items.ok_or(BAD_REPORT)?.into_iter().copied().collect(),
                    aggregation: aggregation(&fields)?,
                    short: short(&fields)?,
                };
                query.run(truth, now)
            }
            USERS => return directory::users(&fields, truth.agents(Vendor::Voximplant)),
            _ => return directory::queues(&fields, &self.queues),
        };
        Ok(json!({ "result": result }))
    }

    /// Whether the very same request came just now.
    fn is_resent(&self, asked: &Asked) -> bool {
        use std::hash::{DefaultHasher, Hash as _, Hasher as _};
        let mut digest = DefaultHasher::new();
        (&asked.head.uri, asked.header("authorization"), &asked.body).hash(&mut digest);
        let (now, digest, window) = (Instant::now(), digest.finish(), self.world.options.voximplant_resend_window);
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        latest.retain(|(at, _)| now.duration_since(*at) < window);
        let resent = latest.iter().any(|(_, known)| *known == digest);
        latest.push((now, digest));
        resent
    }

    fn calls(&self, fields: &[(String, String)]) -> Result<What, Refused> {
        let items = pick(field(fields, "report").unwrap_or("all"), &ITEMS, |item| item.short).ok_or(BAD_REPORT)?;
        Ok(What::Calls { queues: self.picked(fields, Some("all"))?, items: items.into_iter().copied().collect() })
    }

    /// Per queue, whether it is asked for.
    fn picked(&self, fields: &[(String, String)], default: Option<&str>) -> Result<Vec<bool>, Refused> {
        let list = field(fields, "acd_queue_id").or(default).ok_or(EMPTY)?;
        let picked = pick(list, &self.queues, |queue| queue.id.as_str());
        let picked = picked.ok_or((218, "The 'acd_queue_id' parameter is invalid."))?;
        Ok(self.queues.iter().map(|queue| picked.iter().any(|one| one.number == queue.number)).collect())
    }
}

impl Api for Platform {
    fn name(&self, asked: &Parts) -> &'static str {
        match command_of(asked.uri.path()) {
            // The command may stand in the body, which is not read yet; that of the oldest client is likeliest.
            Some("") => OPERATORS,
            Some(command) => METHODS.into_iter().find(|method| *method == command).unwrap_or(UNKNOWN),
            None => UNKNOWN,
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        let Some(command) = command_of(asked.path()) else { return Reply::page(404) };
        if asked.head.method != Method::POST && asked.head.method != Method::GET {
            return Reply::wrong_method("GET, POST");
        }
        match self.execute(asked, command) {
            Ok(body) => Reply::json(200, &body),
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

const BAD_REPORT: Refused = (229, "The 'report' parameter is invalid.");

fn command_of(path: &str) -> Option<&str> {
    let rest = path.strip_prefix(ROOT)?;
    let rest = rest.strip_suffix('/').unwrap_or(rest);
    if rest.is_empty() { Some("") } else { rest.strip_prefix('/').filter(|command| !command.contains('/')) }
}

/// The queues of the account: those of the truth's lines, and as many more as are wanted.
fn queues(count: usize) -> Vec<Queue> {
    let lines = Truth::lines(Vendor::Voximplant);
    let queue = |(index, number): (usize, u32)| {
        let name = lines.get(index).map_or_else(|| format!("queue {number}"), |(_, name)| (*name).to_owned());
        Queue { id: number.to_string(), number, name }
    };
    (0..count).zip(54..).map(queue).collect()
}

/// The place of the queue that a call came into, of so many; the truth knows two lines, and more are more of the same.
fn queue_of(call: &Call, queues: usize) -> usize {
    let pairs = queues / Truth::lines(Vendor::Voximplant).len();
    usize::from(call.line) + 2 * (call.agent as usize % pairs.max(1))
}

fn operators(fields: &[(String, String)], truth: &Truth, now: i64, what: What) -> Result<Value, Refused> {
    let agents: Vec<&Agent> =
        pick(field(fields, "user_id").ok_or(EMPTY)?, truth.agents(Vendor::Voximplant), |agent| agent.key.as_str())
            .ok_or((117, "The 'user_id' parameter is invalid."))?;
    let group = match field(fields, "group").unwrap_or("user") {
        "user" => Group::User,
        "aggregation" => Group::Aggregation,
        _ => return Err((254, "The 'group' parameter is invalid.")),
    };
    let (window, aggregation, short) = (window(fields, now)?, aggregation(fields)?, short(fields)?);
    Ok(Query { window, what, aggregation, group, short }.run(truth, &agents, now))
}

fn field<'a>(fields: &'a [(String, String)], name: &str) -> Option<&'a str> {
    value(fields, name).filter(|text| !text.is_empty())
}

fn window(fields: &[(String, String)], now: i64) -> Result<Range<i64>, Refused> {
    let date = |text: &str| parse_stamp(text, 0).ok_or((111, "Invalid date format."));
    let from = date(field(fields, "from_date").ok_or(EMPTY)?)?;
    let to = field(fields, "to_date").map_or(Ok(now + 1), date)?;
    if from > to {
        return Err((123, "Invalid date range."));
    }
    Ok(from..to)
}

fn aggregation(fields: &[(String, String)]) -> Result<Aggregation, Refused> {
    Ok(match field(fields, "aggregation").unwrap_or("none") {
        "none" => Aggregation::None,
        "day" => Aggregation::Day,
        "hour" => Aggregation::Hour,
        "hour_of_day" => Aggregation::HourOfDay,
        _ => return Err((228, "The 'aggregation' parameter is invalid.")),
    })
}

fn short(fields: &[(String, String)]) -> Result<bool, Refused> {
    match field(fields, "abbreviation").unwrap_or("true").to_ascii_lowercase().as_str() {
        "true" | "1" => Ok(true),
        "false" | "0" => Ok(false),
        _ => Err(INVALID),
    }
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
