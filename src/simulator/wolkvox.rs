//! Wolkvox Manager: report agent_9, hold and mute per agent. Two requests at once per token, licences × 1000 a day,
//! and 404 where a window holds nothing.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use http::Method;
use http::request::Parts;
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use serde::Serialize;

use super::form::value;
use super::limits::scaled;
use super::serve::{Api, Asked, Refusal, Reply, UNKNOWN};
use super::times::duration;
use super::truth::Figures;
use super::{Vendor, World};

const REPORTS: &str = "/api/v2/reports_manager.php";
/// Requests that one token may have under way.
const AT_ONCE: usize = 2;
/// Longest window, in days.
const MOST_DAYS: i64 = 31;

pub(super) struct Manager {
    world: Arc<World>,
    /// The local day, and the requests that it has seen.
    used: Mutex<(Date, usize)>,
}

#[derive(Serialize)]
struct Envelope<R> {
    code: u16,
    error: Option<&'static str>,
    msg: String,
    data: Vec<R>,
}

/// Errors carry their code as a string, and no data.
#[derive(Serialize)]
struct Refused {
    code: &'static str,
    error: &'static str,
    msg: &'static str,
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

    /// Takes one request off the day's quota.
    fn spend(&self) -> bool {
        let options = &self.world.options;
        let Some(times) = options.limits else { return true };
        let today = options.wolkvox_zone.to_datetime(options.clock.now()).date();
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        if used.0 != today {
            *used = (today, 0);
        }
        used.1 += 1;
        used.1 <= scaled(options.wolkvox_licences * 1000, times)
    }

    /// A window is wall time, as its rows are: an hour that the clock shows twice is in it twice.
    fn window(&self, from: &str, to: &str) -> Option<(DateTime, DateTime, Timestamp, Timestamp)> {
        let zone = &self.world.options.wolkvox_zone;
        let (first, last) = (wall(from)?, wall(to)?);
        let from = zone.to_ambiguous_timestamp(first).compatible().ok()?;
        let to = zone.to_ambiguous_timestamp(last).later().ok()?;
        Some((first, last, from, to))
    }

    fn agent_9(&self, from: &str, to: &str) -> Reply {
        let Some((first, last, from, to)) = self.window(from, to) else { return empty() };
        let (from, now) = (from.as_second(), self.world.now());
        let days = i64::from(first.date().until(last.date()).map_or(i32::MAX, |span| span.get_days()));
        if days >= MOST_DAYS {
            return empty();
        }
        // The last second of the window is part of it.
        let window = from..(to.as_second() + 1).min(now + 1);
        let truth = &self.world.truth;
        let mut all = Figures::default();
        let mut rows = Vec::new();
        // Sorted as the Manager's own table is; namesakes get a row each.
        let agents: BTreeMap<_, _> =
            truth.agents(Vendor::Wolkvox).iter().map(|agent| ((&agent.key, agent.index), agent)).collect();
        for agent in agents.into_values() {
            let figures = Figures::of(&truth.ended_in(Vendor::Wolkvox, agent.index, window.clone()), now);
            if figures.calls() > 0 {
                all += figures;
                rows.push(HoldMute::of(agent.key.clone(), &figures));
            }
        }
        if rows.is_empty() {
            return empty();
        }
        if self.world.options.wolkvox_total {
            let name = if first.date().day() % 2 == 0 { "TOTAL" } else { "" };
            rows.push(HoldMute::of(name.to_owned(), &all));
        }
        Reply::json(
            200,
            &Envelope { code: 200, error: None, msg: format!("{} records were found", rows.len()), data: rows },
        )
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
        let reports = asked.uri.path() == REPORTS;
        if reports && asked.uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "api=agent_9")) {
            "agent_9"
        } else {
            UNKNOWN
        }
    }

    fn answer(&self, asked: &Asked) -> Reply {
        if asked.path() != REPORTS {
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
        match (field("api"), field("date_ini"), field("date_end")) {
            (None, ..) | (Some("agent_9"), None, _) | (Some("agent_9"), _, None) => {
                error(400, "400", "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED")
            }
            (Some("agent_9"), Some(from), Some(to)) => self.agent_9(from, to),
            _ => error(400, "400", "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST"),
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
