//! The landing page: what is polled, how it goes, and where the metrics are. Plain HTML that a phone can read; the same
//! as JSON for scripts. Every text of a failure is a constant of ours.

use std::fmt::Write as _;

use jiff::Timestamp;

use crate::health::{ReportHealth, ReportId};

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:72rem;padding:0 1rem}\
table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #8884}\
.up{color:#18794e}.failing{color:#c62a2f}.waiting{color:#8a6d00}.scroll{overflow-x:auto}td:nth-child(-n+6),th{white-space:nowrap}";

/// One row: state, age of the last success, and the last error.
struct Row {
    state: &'static str,
    age: String,
    error: String,
}

/// The page for people.
pub(super) fn html(reports: &[(ReportId, ReportHealth)], now: Timestamp, telemetry_path: &str) -> String {
    let mut rows = String::new();
    for (id, report) in reports {
        let Row { state, age, error } = describe(report, now);
        let (account, error) = (escape(&id.account), escape(&error));
        // Writing into a string does not fail.
        let _ = writeln!(
            rows,
            "<tr><td>{}</td><td>{account}</td><td>{}</td><td class=\"{state}\">{state}</td><td>{age}</td><td>{}</td><td>{error}</td></tr>",
            id.vendor,
            id.report,
            humantime::format_duration(report.interval),
        );
    }
    let (version, path) = (env!("CARGO_PKG_VERSION"), escape(telemetry_path));
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
<title>contact-center-exporter</title><style>{STYLE}</style></head>\n<body>\n<h1>contact-center-exporter</h1>\n\
<p>Version {version}, revision {}. <a href=\"{path}\">Metrics</a> · <a href=\"/-/healthy\">healthy</a> · \
<a href=\"/-/ready\">ready</a> · <a href=\"/api/v1/reports\">reports as JSON</a></p>\n<div class=\"scroll\"><table>\n\
<tr><th>Vendor</th><th>Account</th><th>Report</th><th>State</th><th>Last success</th><th>Polled every</th><th>Last error</th></tr>\n\
{rows}</table></div>\n</body>\n</html>\n",
        env!("REVISION"),
    )
}

/// The same for scripts.
pub(super) fn json(reports: &[(ReportId, ReportHealth)], now: Timestamp) -> String {
    let rows: Vec<serde_json::Value> = reports
        .iter()
        .map(|(id, report)| {
            serde_json::json!({
                "vendor": id.vendor,
                "account": &*id.account,
                "report": id.report,
                "state": state(report),
                "interval_seconds": report.interval.as_secs_f64(),
                "last_success": report.last_success.map(|at| at.to_string()),
                "age_seconds": report.last_success.map(|at| now.duration_since(at).as_secs()),
                "last_error": report.last_failure.as_ref().map(|(at, failure)| serde_json::json!({
                    "at": at.to_string(),
                    "reason": failure.reason.label(),
                    "status": failure.status,
                    "detail": failure.detail,
                    "place": failure.place,
                })),
            })
        })
        .collect();
    serde_json::json!({ "version": env!("CARGO_PKG_VERSION"), "revision": env!("REVISION"), "reports": rows })
        .to_string()
}

const fn state(report: &ReportHealth) -> &'static str {
    match report.up {
        None => "waiting",
        Some(true) => "up",
        Some(false) => "failing",
    }
}

fn describe(report: &ReportHealth, now: Timestamp) -> Row {
    let ago = |at: Timestamp| {
        let seconds = u64::try_from(now.duration_since(at).as_secs()).unwrap_or(0);
        format!("{} ago", humantime::format_duration(std::time::Duration::from_secs(seconds)))
    };
    let age = report.last_success.map_or_else(|| "never".to_owned(), ago);
    let error = report.last_failure.as_ref().map_or_else(String::new, |(at, failure)| {
        let status = failure.status.map(|status| format!(", HTTP {status}")).unwrap_or_default();
        let place = failure.place.as_deref().map(|place| format!(", {place}")).unwrap_or_default();
        format!("{}, {}{status}{place}: {}", ago(*at), failure.reason.label(), failure.detail)
    });
    Row { state: state(report), age, error }
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_the_operator_are_escaped() {
        let id = ReportId { vendor: "huawei", account: "<b>&\"".into(), report: "agent_call_statistics" };
        let page = html(&[(id, ReportHealth::default())], Timestamp::UNIX_EPOCH, "/metrics");
        assert!(page.contains("&lt;b&gt;&amp;&quot;") && !page.contains("<b>"));
        assert!(page.contains("waiting") && page.contains("never"));
    }
}
