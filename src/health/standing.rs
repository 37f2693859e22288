//! How each report stands: what its polls have told, joined with what others know of it. The landing page shows it.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::Instant;

use super::usage::{Allowance, Day, Usage};
use super::{Backlog, Health, ReportHealth, ReportId};
use crate::settings::RateLimit;

/// How one report stands, with what others know of it.
#[derive(Debug, Clone)]
pub struct Standing {
    /// Which one.
    pub id: ReportId,
    /// What its polls have told.
    pub health: ReportHealth,
    /// Time until its next poll.
    pub next_poll: Option<Duration>,
    /// Requests to each of its APIs.
    pub usage: Vec<Usage>,
    /// Its account's daily quota.
    pub day: Option<Day>,
    /// Calls that wait for their figures; none if it asks for no calls.
    pub backlog: Option<Backlog>,
}

impl Health {
    /// Every report, with what is used of its budgets.
    pub fn standings(&self, now: Timestamp) -> Vec<Standing> {
        let inner = self.lock();
        let standing = |(id, health): (&ReportId, &ReportHealth)| {
            let Allowance { apis, quota } = &health.allowance;
            let usage = |(api, limit): &(&'static str, Option<RateLimit>)| {
                let sent = inner.requests.get(&(id.vendor, Arc::clone(&id.account), *api));
                sent.map_or(Usage { api, sent: 0, of: limit.map(|limit| (0, limit)) }, |sent| sent.usage(api, *limit))
            };
            let day = |limit: u64| {
                let told = inner.days.get(&(id.vendor, Arc::clone(&id.account)));
                let told = told.and_then(|day| *day.lock().unwrap_or_else(PoisonError::into_inner));
                let day = told.unwrap_or(Day { used: 0, limit, ends: now });
                if day.ends <= now { Day { used: 0, ..day } } else { day }
            };
            Standing {
                id: id.clone(),
                health: health.clone(),
                next_poll: health.next_poll.map(|at| at.saturating_duration_since(Instant::now())),
                usage: apis.iter().map(usage).collect(),
                day: quota.map(day),
                backlog: inner.backlogs.get(id).copied(),
            }
        };
        inner.reports.iter().map(standing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(account: &str, report: &'static str) -> ReportId {
        ReportId { vendor: "wolkvox", account: account.into(), report }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_stands_beside_what_its_account_has_used() {
        let (health, now) = (Health::default(), Timestamp::UNIX_EPOCH);
        let limit = RateLimit::per_minute(5);
        for account in ["a", "b"] {
            let id = id(account, "skill_service");
            health.register(&id, Duration::from_mins(1), None);
            health.allow(&id, Allowance { apis: vec![("skill_1", Some(limit)), ("agent_1", None)], quota: Some(1000) });
        }
        health.next_poll(&id("a", "skill_service"), Instant::now() + Duration::from_secs(40));
        let meter = health.api("wolkvox", "a", "skill_1").limited(Some(limit));
        meter.sent();
        meter.day(Day { used: 7, limit: 500, ends: now + Duration::from_hours(1) });
        tokio::time::advance(Duration::from_secs(30)).await;
        meter.sent();
        let standings = health.standings(now);
        let [a, b] = standings.as_slice() else { panic!("{standings:?}") };
        assert_eq!((a.next_poll, b.next_poll), (Some(Duration::from_secs(10)), None));
        let unused = Usage { api: "agent_1", sent: 0, of: None };
        assert_eq!(a.usage, [Usage { api: "skill_1", sent: 2, of: Some((2, limit)) }, unused.clone()]);
        assert_eq!(b.usage, [Usage { api: "skill_1", sent: 0, of: Some((0, limit)) }, unused]);
        let day = |standing: &Standing| standing.day.map(|day| (day.used, day.limit));
        assert_eq!((day(a), day(b)), (Some((7, 500)), Some((0, 1000))));
        tokio::time::advance(Duration::from_secs(45)).await;
        let later = health.standings(now + Duration::from_hours(1));
        assert_eq!(later[0].usage[0].of, Some((1, limit)));
        assert_eq!((later[0].next_poll, day(&later[0])), (Some(Duration::ZERO), Some((0, 500))));
    }
}
