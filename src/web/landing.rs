//! The landing page: what is polled, how it goes, what it costs, and where the metrics are. Plain HTML without script that
//! a phone can read; the same rows as JSON for programs. Every text of a failure is a constant of ours.

use std::fmt::Write as _;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::failure::Failure;
use crate::health::{Standing, Usage};

/// On a narrow screen each report is a block, and each cell says what it is.
const STYLE: &str = ":root{color-scheme:light dark;--up:#18794e;--failing:#c62a2f;--waiting:#8a6d00}\
@media(prefers-color-scheme:dark){:root{--up:#3dd68c;--failing:#ff9592;--waiting:#f5d90a}}\
body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:90rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;vertical-align:top;padding:.4rem .8rem;border-bottom:1px solid #8884}\
th{white-space:nowrap}small{opacity:.75}td small{display:block}.up{color:var(--up)}.failing{color:var(--failing)}.waiting{color:var(--waiting)}\
@media(max-width:60rem){body{margin:1rem auto}thead{display:none}table,tbody,tr,td{display:block}\
tr{padding:.6rem 0;border-bottom:1px solid #8888}td{border:0;padding:.1rem 0 .1rem 7.5rem;overflow-wrap:anywhere}\
td:first-child{padding-left:0}td:empty{display:none}td[data-is]::before{content:attr(data-is);float:left;margin-left:-7.5rem;color:CanvasText;opacity:.75}}";

/// How one report stands. The JSON keys are public: docs/operating.md lists them.
#[derive(Debug, Serialize)]
struct Row<'a> {
    vendor: &'a str,
    account: &'a str,
    report: &'a str,
    state: &'static str,
    interval_seconds: f64,
    last_success: Option<String>,
    age_seconds: Option<i64>,
    next_poll: Option<String>,
    next_poll_seconds: Option<f64>,
    last_error: Option<Fault<'a>>,
    entity_errors: Vec<Fault<'a>>,
    requests: Vec<Requests>,
    quota: Option<Quota>,
    pending_calls: Option<usize>,
    oldest_pending_call: Option<String>,
}

/// What failed, and what to do.
#[derive(Debug, Serialize)]
struct Fault<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    at: Option<String>,
    #[serde(skip)]
    age: Option<i64>,
    reason: &'static str,
    status: Option<u16>,
    detail: &'a str,
    place: Option<&'a str>,
}

/// Requests to one API of the account.
#[derive(Debug, Serialize)]
struct Requests {
    api: &'static str,
    total: u64,
    used: Option<u64>,
    limit: Option<u32>,
    period_seconds: Option<f64>,
}

/// The account's requests of the day.
#[derive(Debug, Serialize)]
struct Quota {
    used: u64,
    limit: u64,
}

/// The page for people.
pub(super) fn html(reports: &[Standing], now: Timestamp, telemetry_path: &str) -> String {
    let rows: String = reports.iter().map(|report| Row::new(report, now).html()).collect();
    let (version, path) = (env!("CARGO_PKG_VERSION"), escape(telemetry_path));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\">\
<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><meta name=\"color-scheme\" content=\"light dark\">\
<title>contact-center-exporter</title><style>{STYLE}</style></head>\n<body>\n<h1>contact-center-exporter</h1>\n\
<p>Version {version}, revision {}. <a href=\"{path}\">Metrics</a> · <a href=\"/-/healthy\">healthy</a> · \
<a href=\"/-/ready\">ready</a> · <a href=\"/api/v1/reports\">reports as JSON</a></p>\n<table>\n\
<thead><tr><th>Report</th><th>State</th><th>Last success</th><th>Next poll</th><th>Requests</th><th>Calls waiting</th>\
<th>Last error, and what to do</th></tr></thead>\n<tbody>\n{rows}</tbody></table>\n</body>\n</html>\n",
        env!("REVISION"),
    )
}

/// The same for programs.
pub(super) fn json(reports: &[Standing], now: Timestamp) -> String {
    let rows: Vec<Row<'_>> = reports.iter().map(|report| Row::new(report, now)).collect();
    serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "revision": env!("REVISION"), "reports": rows })
        .to_string()
}

// === impl Row ===

impl<'a> Row<'a> {
    fn new(standing: &'a Standing, now: Timestamp) -> Self {
        let Standing { id, health, next_poll, usage, day, backlog } = standing;
        let due = |wait: Duration| now.saturating_add(SignedDuration::try_from(wait).unwrap_or_default()).ok();
        let oldest = backlog.and_then(|(_, oldest)| Timestamp::from_second(oldest?).ok());
        Self {
            vendor: id.vendor,
            account: &id.account,
            report: id.report,
            state: match health.up {
                None => "waiting",
                Some(true) => "up",
                Some(false) => "failing",
            },
            interval_seconds: health.interval.as_secs_f64(),
            last_success: health.last_success.map(|at| at.to_string()),
            age_seconds: health.last_success.map(|at| age(at, now)),
            next_poll: next_poll.and_then(due).map(|at| at.to_string()),
            next_poll_seconds: next_poll.map(|wait| (wait.as_secs_f64() * 1000.0).round() / 1000.0),
            last_error: health.last_failure.as_ref().map(|(at, failure)| Fault {
                at: Some(at.to_string()),
                age: Some(age(*at, now)),
                ..Fault::new(failure)
            }),
            entity_errors: health.entities.iter().map(Fault::new).collect(),
            requests: usage.iter().map(Requests::new).collect(),
            quota: day.map(|day| Quota { used: day.used, limit: day.limit }),
            pending_calls: backlog.map(|(calls, _)| calls),
            oldest_pending_call: oldest.map(|at| at.to_string()),
        }
    }

    fn html(&self) -> String {
        let Self { vendor, account, report, state, .. } = self;
        let success = self.age_seconds.map_or_else(|| "never".to_owned(), ago);
        let next = self.next_poll_seconds.map(|wait| format!("in {}", span(wait.ceil()))).unwrap_or_default();
        let interval = span(self.interval_seconds);
        let mut requests: Vec<String> = self.requests.iter().map(Requests::text).collect();
        requests.extend(self.quota.as_ref().map(|Quota { used, limit }| format!("account: {used} of {limit} today")));
        let requests = requests.join("<br>");
        let oldest =
            self.oldest_pending_call.as_ref().map(|at| format!("<small>since {at}</small>")).unwrap_or_default();
        let calls = self.pending_calls.map(|calls| format!("{calls}{oldest}")).unwrap_or_default();
        let faults: String = self.entity_errors.iter().chain(&self.last_error).map(Fault::html).collect();
        let mut row = String::new();
        // Writing into a string does not fail.
        let _ = writeln!(
            row,
            "<tr><td><strong>{report}</strong><small>{vendor} · {}</small></td>\
             <td data-is=\"State\" class=\"{state}\">{state}</td><td data-is=\"Last success\">{success}</td>\
             <td data-is=\"Next poll\">{next}<small>every {interval}</small></td>\
             <td data-is=\"Requests\">{requests}</td><td data-is=\"Calls waiting\">{calls}</td>\
             <td data-is=\"Last error\">{faults}</td></tr>",
            escape(account)
        );
        row
    }
}

// === impl Fault ===

impl<'a> Fault<'a> {
    fn new(failure: &'a Failure) -> Self {
        let Failure { reason, detail, status, place, .. } = failure;
        Self { at: None, age: None, reason: reason.label(), status: *status, detail, place: place.as_deref() }
    }

    fn html(&self) -> String {
        let status = self.status.map(|status| format!(", HTTP {status}")).unwrap_or_default();
        let place = self.place.map(|place| format!(", {}", escape(place))).unwrap_or_default();
        let when = self.age.map_or_else(|| "part of the last poll".to_owned(), ago);
        format!("<div><small>{when}, {}{status}{place}</small>{}</div>", self.reason, escape(self.detail))
    }
}

// === impl Requests ===

impl Requests {
    fn new(usage: &Usage) -> Self {
        Self {
            api: usage.api,
            total: usage.sent,
            used: usage.of.map(|(used, _)| used),
            limit: usage.of.map(|(_, limit)| limit.count),
            period_seconds: usage.of.map(|(_, limit)| limit.per.as_secs_f64()),
        }
    }

    fn text(&self) -> String {
        match (self.used, self.limit, self.period_seconds) {
            (Some(used), Some(limit), Some(period)) => {
                format!("{}: {used} of {limit} in {}", self.api, span(period))
            }
            _ => format!("{}: {} since the start", self.api, self.total),
        }
    }
}

/// Whole seconds, and never below zero, as clocks may be set back.
fn age(at: Timestamp, now: Timestamp) -> i64 {
    now.duration_since(at).as_secs().max(0)
}

fn ago(seconds: i64) -> String {
    let seconds = Duration::from_secs(seconds.unsigned_abs());
    format!("{} ago", humantime::format_duration(seconds))
}

fn span(seconds: f64) -> humantime::FormattedDuration {
    humantime::format_duration(Duration::try_from_secs_f64(seconds).unwrap_or_default())
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;
    use crate::failure::Reason;
    use crate::health::{Day, ReportHealth, ReportId};
    use crate::settings::RateLimit;

    fn standing(account: &str) -> Standing {
        let id = ReportId { vendor: "ozonetel", account: account.into(), report: "call_details" };
        Standing { id, health: ReportHealth::default(), next_poll: None, usage: vec![], day: None, backlog: None }
    }

    fn now() -> Timestamp {
        "2026-11-20T12:00:00Z".parse().unwrap()
    }

    fn busy() -> Standing {
        let refused = Failure::new(Reason::Auth, "refused: check api_key").with_status(401);
        let wrong = Failure::new(Reason::Config, "no number").at("line 3".to_owned());
        let minute = SignedDuration::from_mins(1);
        let mut standing = standing("support-in");
        let health = &mut standing.health;
        health.up = Some(false);
        health.interval = Duration::from_mins(5);
        health.last_success = Some(now() - minute * 61);
        health.last_failure = Some((now() - minute, refused));
        health.entities = vec![wrong];
        Standing {
            next_poll: Some(Duration::from_millis(90_500)),
            usage: vec![
                Usage { api: "cdr", sent: 40, of: Some((2, RateLimit::per_minute(5))) },
                Usage { api: "token", sent: 7, of: None },
            ],
            day: Some(Day { used: 300, limit: 1000, ends: now() }),
            backlog: Some((12, Some(now().as_second() - 7200))),
            ..standing
        }
    }

    #[test]
    fn names_of_the_operator_are_escaped_and_what_is_not_known_is_not_made_up() {
        let page = html(&[standing("<b>&\"")], now(), "/metrics");
        assert!(page.contains("&lt;b&gt;&amp;&quot;") && !page.contains("<b>"));
        assert!(page.contains(">waiting<") && page.contains(">never<"));
        let json: Value = serde_json::from_str(&json(&[standing("a")], now())).unwrap();
        let row = json["reports"][0].as_object().unwrap();
        for key in
            ["last_success", "age_seconds", "next_poll", "next_poll_seconds", "last_error", "quota", "pending_calls"]
        {
            assert_eq!(row[key], Value::Null, "{key}");
        }
    }

    #[test]
    fn a_row_says_how_a_report_stands_and_what_to_do() {
        let json: Value = serde_json::from_str(&json(&[busy()], now())).unwrap();
        let expected = serde_json::json!({
            "vendor": "ozonetel", "account": "support-in", "report": "call_details", "state": "failing",
            "interval_seconds": 300.0,
            "last_success": "2026-11-20T10:59:00Z", "age_seconds": 3660,
            "next_poll": "2026-11-20T12:01:30.5Z", "next_poll_seconds": 90.5,
            "last_error": {"at": "2026-11-20T11:59:00Z", "reason": "auth", "status": 401, "detail": "refused: check api_key", "place": null},
            "entity_errors": [{"reason": "config", "status": null, "detail": "no number", "place": "line 3"}],
            "requests": [
                {"api": "cdr", "total": 40, "used": 2, "limit": 5, "period_seconds": 60.0},
                {"api": "token", "total": 7, "used": null, "limit": null, "period_seconds": null},
            ],
            "quota": {"used": 300, "limit": 1000},
            "pending_calls": 12, "oldest_pending_call": "2026-11-20T10:00:00Z",
        });
        assert_eq!(json["reports"][0], expected);
        let page = html(&[busy()], now(), "/metrics");
        for part in [
            "1h 1m ago",
            "in 1m 31s",
            "every 5m",
            "cdr: 2 of 5 in 1m",
            "token: 7 since the start",
            "account: 300 of 1000 today",
            ">12<small>since 2026-11-20T10:00:00Z",
            "1m ago, auth, HTTP 401</small>refused: check api_key",
            "part of the last poll, config, line 3</small>no number",
        ] {
            assert!(page.contains(part), "{part} is missing: {page}");
        }
        assert!(!page.contains("<script") && page.contains("width=device-width"));
    }
}
