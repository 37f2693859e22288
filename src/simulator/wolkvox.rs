//! Wolkvox Manager: reports agent_1 (time by state), agent_9 (hold and mute) and skill_1 (calls and service level), and
//! what the token has used. Two requests at once per token, licences × 1000 a day, and 404 where a window holds nothing.

mod activity;
mod skills;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::request::Parts;
use jiff::civil::{Date, DateTime};
use serde::Serialize;

use super::form::value;
use super::limits::scaled;
use super::serve::{Api, Asked, Refusal, Reply, UNKNOWN};
use super::times::duration;
use super::truth::Figures;
use super::{Vendor, World};

const REPORTS: &str = "/api/v2/reports_manager.php";
const INFORMATION: &str = "/api/v2/information.php";
/// Requests that one token may have under way.
const AT_ONCE: usize = 2;
/// Longest window, in days.
const MOST_DAYS: i64 = 31;

pub(super) struct Manager {
    world: Arc<World>,
    /// The local day, and the requests that it has seen.
    used: Mutex<(Date, usize)>,
}

/// What a request of a report is about.
struct Window {
    first: DateTime,
    /// Seconds since the epoch of what is in it and has passed.
    seconds: Range<i64>,
}

#[derive(Serialize)]
struct Envelope<D> {
    code: u16,
    error: Option<&'static str>,
    msg: String,
    data: D,
}

/// Errors carry their code as a string, and no data.
#[derive(Serialize)]
struct Refused {
    code: &'static str,
    error: &'static str,
    msg: &'static str,
}

/// All of it strings, and one object rather than a list.
#[derive(Serialize)]
struct TokenInfo {
    description: &'static str,
    token_limit: String,
    token_use_today: String,
    all_token_today: String,
    available_consumption_options: String,
}

#[derive(Serialize)]
struct HoldMute {
    agent_name: String,
    count: String,
    hold_time: String,
    mute_time: String,
    total_time: String,
}

impl Manager {
    pub(super) const fn new(world: Arc<World>) -> Self {
        Self { world, used: Mutex::new((Date::ZERO, 0)) }
    }

    fn check(&self, asked: &Asked) -> Result<(), Reply> {
        let token = asked.header("wolkvox-token");
        if token.is_empty() {
            return Err(error(401, "401", "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN"));
        }
        if token != self.world.token {
            return Err(self.refuse(asked, Refusal::Credentials));
        }
        if self.world.options.limits.is_some() && asked.in_flight > AT_ONCE {
            return Err(self.refuse(asked, Refusal::RateLimited));
        }
        if self.spend() { Ok(()) } else { Err(forbidden("TOKEN LIMIT EXCEEDED")) }
    }

    /// Takes one request off the day's quota, whatever is asked for.
    fn spend(&self) -> bool {
        let options = &self.world.options;
        let today = options.wolkvox_zone.to_datetime(options.clock.now()).date();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.0 != today {
            *used = (today, 0);
        }
        used.1 += 1;
        // Whoever is refused has used nothing.
        let allowed =
            options.limits.is_none() || used.1 + self.others() <= self.quota() && used.1 <= self.token_limit();
        if !allowed {
            used.1 -= 1;
        }
        allowed
    }

    fn quota(&self) -> usize {
        let options = &self.world.options;
        scaled(options.wolkvox_licences * 1000, options.limits.unwrap_or(1.0))
    }

    /// Of the one token, beside what the operation may.
    fn token_limit(&self) -> usize {
        let options = &self.world.options;
        options.wolkvox_token_limit.map_or(self.quota(), |limit| scaled(limit, options.limits.unwrap_or(1.0)))
    }

    fn others(&self) -> usize {
        usize::try_from(self.world.options.wolkvox_others).unwrap_or(usize::MAX)
    }

    /// A window is wall time, as its rows are: an hour that the clock shows twice is in it twice.
    fn window(&self, from: &str, to: &str) -> Option<Window> {
        let zone = &self.world.options.wolkvox_zone;
        let (first, last) = (wall(from)?, wall(to)?);
        let days = first.date().until(last.date()).map_or(i32::MAX, |span| span.get_days());
        let from = zone.to_ambiguous_timestamp(first).compatible().ok()?;
        let to = zone.to_ambiguous_timestamp(last).later().ok()?;
        // The last second of the window is part of it.
        let seconds = from.as_second()..(to.as_second() + 1).min(self.world.now() + 1);
        (i64::from(days) < MOST_DAYS).then_some(Window { first, seconds })
    }

    fn agent_9(&self, window: &Window) -> Reply {
        let (truth, now) = (&self.world.truth, self.world.now());
        let mut all = Figures::default();
        let mut rows = Vec::new();
        // Sorted as the Manager's own table is; namesakes get a row each.
        let agents: BTreeMap<_, _> =
            truth.agents(Vendor::Wolkvox).iter().map(|agent| ((&agent.key, agent.index), agent)).collect();
        for agent in agents.into_values() {
            let figures = Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, window.seconds.clone()), now);
            if figures.calls() > 0 {
                all += figures;
                rows.push(HoldMute::of(agent.key.clone(), &figures));
            }
        }
        if self.world.options.wolkvox_total && !rows.is_empty() {
            let name = if window.first.date().day() % 2 == 0 { "TOTAL" } else { "" };
            rows.push(HoldMute::of(name.to_owned(), &all));
        }
        let found = format!("{} records were found", rows.len());
        listed(rows, found)
    }

    fn token_info(&self) -> Reply {
        let (limit, others) = (self.token_limit(), self.others());
        let used = self.used.lock().unwrap_or_else(PoisonError::into_inner).1;
        let data = TokenInfo {
            description: "exporter",
            token_limit: limit.to_string(),
            token_use_today: used.to_string(),
            all_token_today: (used + others).to_string(),
            available_consumption_options: limit.saturating_sub(used).to_string(),
        };
        Reply::json(200, &Envelope { code: 200, error: None, msg: "1 records were found".to_owned(), data })
    }
}

impl HoldMute {
    fn of(agent_name: String, figures: &Figures) -> Self {
        Self {
            agent_name,
            count: (figures.hold_events + figures.mute_events).to_string(),
            hold_time: duration(figures.hold),
            mute_time: duration(figures.mute),
            total_time: duration(figures.hold + figures.mute),
        }
    }
}

fn wall(text: &str) -> Option<DateTime> {
    let shaped = text.len() == 14 && text.bytes().all(|b| b.is_ascii_digit());
    DateTime::strptime("%Y%m%d%H%M%S", text).ok().filter(|_| shaped)
}

impl Api for Manager {
    fn name(&self, asked: &Parts) -> &'static str {
        let query = asked.uri.query().unwrap_or_default();
        let api = query.split('&').find_map(|pair| pair.strip_prefix("api=")).unwrap_or_default();
        let known: &[&str] = match asked.uri.path() {
            REPORTS => &["agent_1", "agent_9", "skill_1"],
            INFORMATION => &["token_info"],
            _ => &[],
        };
        known.iter().copied().find(|name| *name == api).unwrap_or(UNKNOWN)
    }

    fn answer(&self, asked: &Asked) -> Reply {
        if !matches!(asked.path(), REPORTS | INFORMATION) {
            return Reply::page(404);
        }
        if asked.head.method != Method::GET {
            return Reply::wrong_method("GET");
        }
        if let Err(refusal) = self.check(asked) {
            return refusal;
        }
        let query = asked.query();
        let field = |name| value(&query, name).filter(|text| !text.is_empty());
        let missing = || error(400, "400", "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED");
        let Some(api) = field("api") else { return missing() };
        match (self.name(&asked.head), field("date_ini"), field("date_end"), field("skill_id")) {
            (UNKNOWN, ..) => error(400, "400", "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
            ("token_info", ..) => self.token_info(),
            (_, None, ..) | (_, _, None, _) | ("skill_1", _, _, None) => missing(),
            (_, Some(from), Some(to), skill) => match (self.window(from, to), api) {
                (None, _) => empty(),
                (Some(window), "agent_1") => self.agent_1(&window, field("agent_id")),
                (Some(window), "skill_1") => self.skill_1(&window, skill.unwrap_or("all")),
                (Some(window), _) => self.agent_9(&window),
            },
        }
    }

    fn refuse(&self, _: &Asked, why: Refusal) -> Reply {
        match why {
            Refusal::Credentials => forbidden("PLEASE VALIDATE TOKEN"),
            Refusal::RateLimited => forbidden("EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)"),
            // Maintenance; its real words are not known.
            Refusal::Broken => forbidden("API UNDER MAINTENANCE"),
        }
    }
}

/// Rows, or the word for none.
fn listed<R: Serialize>(rows: Vec<R>, msg: String) -> Reply {
    if rows.is_empty() {
        return empty();
    }
    Reply::json(200, &Envelope { code: 200, error: None, msg, data: rows })
}

/// Nothing in the window; the text blames the dates, and would for real ones too.
fn empty() -> Reply {
    error(404, "404", "NOT FOUND", "Validate dates entered")
}

fn forbidden(msg: &'static str) -> Reply {
    error(403, "403", "FORBIDDEN", msg)
}

fn error(status: u16, code: &'static str, error: &'static str, msg: &'static str) -> Reply {
    Reply::json(status, &Refused { code, error, msg })
}
