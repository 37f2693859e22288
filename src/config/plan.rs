//! The request plan: what every report of every account costs in requests, against what the vendor allows. A plan that
//! cannot fit makes `check-config` fail; a running exporter only says so, because its budgets keep every limit anyway
//! and polls then just come later.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};

use super::Config;
use crate::settings::Problems;
use crate::vendors::PlanRow;

/// Above this part of a limit a plan is worth a warning.
const TIGHT: f64 = 0.8;
/// Requests and limits are divided: what is this close to the whole is the whole.
const ROUNDING: f64 = 1e-9;
const DAY: Duration = Duration::from_hours(24);

/// Every report of every account.
#[derive(Debug)]
pub struct Plan {
    /// One line per report and API.
    pub lines: Vec<PlanLine>,
    /// What does not fit, and what only just fits.
    pub problems: Problems,
}

/// One line of the plan.
#[derive(Debug)]
pub struct PlanLine {
    /// Vendor label.
    pub vendor: &'static str,
    /// Account label.
    pub account: String,
    /// Report, API, requests and limits.
    pub row: PlanRow,
}

// === impl Plan ===

impl Plan {
    /// The plan of a configuration.
    pub fn of(config: &Config) -> Self {
        let mut plan = Self { lines: Vec::new(), problems: Problems::default() };
        for (at, account) in config.vendors.accounts() {
            let settings = account.settings();
            let rows = account.plan();
            plan.weigh(&at, &rows);
            plan.lines.extend(rows.into_iter().map(|row| PlanLine {
                vendor: settings.vendor,
                account: settings.account.clone(),
                row,
            }));
        }
        plan
    }

    /// Compares one account's requests with its limits.
    fn weigh(&mut self, at: &str, rows: &[PlanRow]) {
        // Reports that ask the same API share its limit.
        let mut lanes: BTreeMap<_, Vec<&PlanRow>> = BTreeMap::new();
        for row in rows {
            if let Some(limit) = row.limit {
                lanes.entry((row.api, limit.count, limit.per)).or_default().push(row);
            }
        }
        for ((api, count, per), rows) in lanes {
            let used: f64 = rows.iter().filter_map(|row| row.requests_per(per)).sum();
            let limit = crate::settings::RateLimit { count, per };
            self.compare(
                at,
                &rows,
                per,
                used / f64::from(count),
                &format!("{} requests to {api}", number(used)),
                &format!("the limit is {limit}"),
            );
        }
        if let Some(quota) = rows.iter().filter_map(|row| row.quota).max() {
            let rows: Vec<_> = rows.iter().filter(|row| row.quota.is_some()).collect();
            let used: f64 = rows.iter().filter_map(|row| row.requests_per(DAY)).sum();
            self.compare(
                at,
                &rows,
                DAY,
                used / float(quota),
                &format!("{} requests a day", number(used)),
                &format!("the quota is {quota}"),
            );
        }
    }

    fn compare(&mut self, at: &str, rows: &[&PlanRow], per: Duration, share: f64, used: &str, limit: &str) {
        if share <= TIGHT + ROUNDING {
            return;
        }
        let Some(hungriest) = rows.iter().max_by(|a, b| a.hunger().total_cmp(&b.hunger())) else { return };
        let path = format!("{at}.reports.{}.interval", hungriest.report);
        let message = format!("{used}, {limit} ({} %)", percent(share));
        if share > 1.0 + ROUNDING {
            // One report alone fits with a longer interval; of several the operator chooses.
            let advice = match rows {
                [row] if row.room(per, share) > 0.0 => {
                    let polls = row.requests_per(per).unwrap_or(0.0) - row.fixed_per(per);
                    format!("at least {}", time((row.interval.as_secs_f64() * polls / row.room(per, share)).ceil()))
                }
                _ => "longer intervals".to_owned(),
            };
            self.problems.add(&path, format!("{message}: give {advice}, or ask for less"));
        } else {
            self.problems.warn(&path, message);
        }
    }

    /// An aligned table.
    pub fn table(&self) -> String {
        const HEAD: [&str; 9] =
            ["vendor", "account", "report", "api", "interval", "per poll", "per minute", "per day", "limit"];
        let mut cells: Vec<Vec<String>> =
            vec![HEAD.into_iter().chain(["share"]).map(str::to_owned).collect::<Vec<String>>()];
        cells.extend(self.lines.iter().map(PlanLine::cells));
        let widths: Vec<usize> = (0..=HEAD.len())
            .map(|column| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0))
            .collect();
        let mut table = String::new();
        for row in cells {
            let mut line = String::new();
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                // Numbers stand to the right.
                let _ = if matches!(column, 5..=7 | 9) {
                    write!(line, "{cell:>width$}  ")
                } else {
                    write!(line, "{cell:<width$}  ")
                };
            }
            table.push_str(line.trim_end());
            table.push('\n');
        }
        if self.lines.iter().any(|line| line.row.requests.is_none()) {
            table.push_str("?: depends on what a poll finds: files, sources and pages\n");
        }
        table
    }

    /// The same for programs.
    pub fn json(&self) -> Value {
        self.lines.iter().map(PlanLine::json).collect()
    }
}

// === impl PlanLine ===

impl PlanLine {
    fn cells(&self) -> Vec<String> {
        let row = &self.row;
        let or_unknown = |value: Option<f64>| value.map_or_else(|| "?".to_owned(), number);
        let limits: Vec<String> = row
            .limit
            .map(|limit| limit.to_string())
            .into_iter()
            .chain(row.quota.map(|quota| format!("{quota}/1day")))
            .collect();
        let share = match (limits.is_empty(), row.share()) {
            (true, _) => "-".to_owned(),
            (false, share) => share.map_or_else(|| "?".to_owned(), |share| format!("{} %", percent(share))),
        };
        vec![
            self.vendor.to_owned(),
            self.account.clone(),
            row.report.to_owned(),
            row.api.to_owned(),
            humantime::format_duration(row.interval).to_string(),
            or_unknown(row.requests.map(float)),
            or_unknown(row.requests_per(Duration::from_mins(1))),
            or_unknown(row.requests_per(DAY)),
            if limits.is_empty() { "-".to_owned() } else { limits.join(", ") },
            share,
        ]
    }

    fn json(&self) -> Value {
        let row = &self.row;
        json!({
            "vendor": self.vendor,
            "account": self.account,
            "report": row.report,
            "api": row.api,
            "interval_seconds": row.interval.as_secs_f64(),
            "requests_per_poll": row.requests,
            "rereads_per_day": row.rereads,
            "requests_per_minute": row.requests_per(Duration::from_mins(1)),
            "requests_per_day": row.requests_per(DAY),
            "limit": row.limit.map(|limit| limit.to_string()),
            "quota_per_day": row.quota,
            "share": row.share(),
        })
    }
}

// === impl PlanRow ===

impl PlanRow {
    /// Requests in so much time, if they can be told.
    fn requests_per(&self, time: Duration) -> Option<f64> {
        let polls = |requests| float(requests) * time.as_secs_f64() / self.interval.as_secs_f64();
        self.requests.map(|requests| polls(requests) + self.fixed_per(time))
    }

    /// Of these, the requests that no interval changes. They are few, and come a little later where a rate is short: only in
    /// whole days do they count.
    fn fixed_per(&self, time: Duration) -> f64 {
        if time < DAY { 0.0 } else { float(self.rereads) * time.as_secs_f64() / DAY.as_secs_f64() }
    }

    /// What a limit, of which this row takes so large a share, leaves for polls.
    fn room(&self, per: Duration, share: f64) -> f64 {
        self.requests_per(per).unwrap_or(0.0) / share - self.fixed_per(per)
    }

    /// The part of the limit, or of the quota, that this row alone takes; the larger one.
    fn share(&self) -> Option<f64> {
        let limit = self.limit.and_then(|limit| Some(self.requests_per(limit.per)? / f64::from(limit.count)));
        let quota = self.quota.and_then(|quota| Some(self.requests_per(DAY)? / float(quota)));
        limit.into_iter().chain(quota).reduce(f64::max)
    }

    fn hunger(&self) -> f64 {
        self.requests_per(DAY).unwrap_or(0.0)
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts of requests stay far below 2^53")]
const fn float(n: u64) -> f64 {
    n as f64
}

/// At most two decimals, and none that say nothing.
fn number(n: f64) -> String {
    let text = format!("{n:.2}");
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Whole percents, never rounded across the limit.
fn percent(share: f64) -> String {
    let percent = share * 100.0 - ROUNDING;
    format!("{:.0}", if percent > 99.0 { percent.ceil() } else { percent.round() })
}

fn time(seconds: f64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::RateLimit;

    fn row(api: &'static str, seconds: u64, requests: u64, limit: Option<u32>, quota: Option<u64>) -> PlanRow {
        PlanRow {
            report: "agent_hold_mute",
            api,
            interval: Duration::from_secs(seconds),
            requests: Some(requests),
            rereads: 0,
            limit: limit.map(RateLimit::per_minute),
            quota,
        }
    }

    /// Errors and warnings of one account.
    fn weighed(rows: &[PlanRow]) -> (Vec<String>, Vec<String>) {
        let mut plan = Plan { lines: Vec::new(), problems: Problems::default() };
        plan.weigh("a", rows);
        let texts = |problems: Vec<crate::settings::Problem>| problems.into_iter().map(|p| p.message).collect();
        (texts(plan.problems.errors), texts(plan.problems.warnings))
    }

    #[test]
    fn a_limit_may_be_used_up_and_not_exceeded() {
        let none: Vec<String> = Vec::new();
        assert_eq!(weighed(&[row("x", 60, 40, Some(50), None)]), (none.clone(), none.clone()));
        let (errors, warnings) = weighed(&[row("x", 60, 50, Some(50), None)]);
        assert_eq!((errors, warnings), (none.clone(), vec!["50 requests to x, the limit is 50/1m (100 %)".to_owned()]));
        let (errors, _) = weighed(&[row("x", 60, 51, Some(50), None)]);
        assert_eq!(errors, ["51 requests to x, the limit is 50/1m (102 %): give at least 1m 2s, or ask for less"]);
    }

    #[test]
    fn reports_share_an_api_and_a_quota() {
        let (errors, _) = weighed(&[row("x", 60, 30, Some(50), None), row("x", 60, 30, Some(50), None)]);
        assert_eq!(errors, ["60 requests to x, the limit is 50/1m (120 %): give longer intervals, or ask for less"]);
        let quota = |seconds| row("y", seconds, 1, None, Some(1000));
        assert_eq!(weighed(&[quota(300), quota(300)]).1, Vec::<String>::new());
        assert_eq!(weighed(&[quota(300), quota(300), quota(300)]).1, ["864 requests a day, the quota is 1000 (86 %)"]);
        assert_eq!(
            weighed(&[quota(60)]).0,
            ["1440 requests a day, the quota is 1000 (144 %): give at least 1m 27s, or ask for less"]
        );
    }

    #[test]
    fn past_days_count_and_no_interval_spares_them() {
        let row = PlanRow { rereads: 7, ..row("agent_9", 60, 1, None, Some(1000)) };
        let (errors, _) = weighed(std::slice::from_ref(&row));
        assert_eq!(errors, ["1447 requests a day, the quota is 1000 (145 %): give at least 1m 28s, or ask for less"]);
        assert_eq!(weighed(&[PlanRow { interval: Duration::from_secs(88), ..row.clone() }]).0, Vec::<String>::new());
        let (errors, _) = weighed(&[PlanRow { rereads: 1500, ..row }]);
        assert!(errors[0].ends_with("give longer intervals, or ask for less"), "{errors:?}");
    }

    #[test]
    fn what_cannot_be_told_is_a_question_mark() {
        let line = |row| PlanLine { vendor: "wolkvox", account: "ventas".to_owned(), row };
        let unknown = PlanRow { requests: None, ..row("agent_9", 30, 0, Some(50), None) };
        let lines = vec![line(row("agent_9", 300, 1, None, Some(1000))), line(unknown)];
        let plan = Plan { lines, problems: Problems::default() };
        let expected = "\
vendor   account  report           api      interval  per poll  per minute  per day  limit      share
wolkvox  ventas   agent_hold_mute  agent_9  5m               1         0.2      288  1000/1day   29 %
wolkvox  ventas   agent_hold_mute  agent_9  30s              ?           ?        ?  50/1m          ?
?: depends on what a poll finds: files, sources and pages
";
        assert_eq!(plan.table(), expected);
        assert_eq!(plan.json()[0]["requests_per_day"], 288.0);
        assert_eq!(plan.json()[1]["share"], Value::Null);
    }
}
