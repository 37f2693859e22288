//! What an answer of the reports manager means, whichever report was asked for: rows, a day without data, or a failure.
//! HTTP statuses are overloaded (403 has four causes, 404 is the usual word for "no data"), so the documented texts
//! decide before the status. What a row holds is left to the report.

use std::borrow::Cow;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::Answer;
use crate::failure::{Failure, Hold, Reason};
use crate::vendors::parse::Text;

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(default)]
    code: Text,
    #[serde(default)]
    error: Text,
    #[serde(default)]
    msg: Text,
    #[serde(borrow, default)]
    data: Option<&'a RawValue>,
}

/// The rows of an answer, each still unread; none if the vendor has no data for the window. `next_day` is when a
/// used-up quota begins anew.
pub(super) fn rows<T>(
    answer: &Answer,
    next_day: Timestamp,
    read: impl FnMut(&RawValue) -> T,
) -> Result<Vec<T>, Failure> {
    // Names reach us from many keyboards; one bad byte must not cost the whole answer.
    let body: Cow<'_, str> = String::from_utf8_lossy(&answer.body);
    let body = body.trim_start_matches('\u{feff}').trim_start();
    // A list would be taken for the fields in their order.
    let object = body.starts_with('{').then(|| serde_json::from_str::<Envelope<'_>>(body));
    let Some(Ok(envelope)) = object else { return Err(Failure::from_status(answer.status)) };
    // `code` repeats the HTTP status as a number or a string, or says nothing ("" and "0"). An error code in a 200 is
    // an error all the same.
    let status = match (answer.status, envelope.code.as_str().trim().parse()) {
        (200, Ok(code @ 400..=599)) => code,
        (status, _) => status,
    };
    let raw = match envelope.data {
        Some(data) if status == 200 => data,
        _ => return refusal(status, &envelope, next_day).map_or_else(|| Ok(Vec::new()), Err),
    };
    let rows: Vec<&RawValue> = match raw.get().as_bytes().first() {
        Some(b'[') => serde_json::from_str(raw.get()).unwrap_or_default(),
        // Some templates have a lone object in place of a list of one.
        Some(b'{') => vec![raw],
        _ => return refusal(status, &envelope, next_day).map_or_else(|| Ok(Vec::new()), Err),
    };
    // An empty list beside the words of a refusal is no empty day.
    if rows.is_empty()
        && let Some(failure) = documented(&said(&envelope), next_day)
    {
        return Err(failure);
    }
    Ok(rows.into_iter().map(read).collect())
}

/// Why there are no rows; nothing if the vendor just has no data.
fn refusal(status: u16, envelope: &Envelope<'_>, next_day: Timestamp) -> Option<Failure> {
    let said = said(envelope);
    if said.contains("validatedatesentered") && matches!(status, 200 | 404) {
        return None;
    }
    Some(documented(&said, next_day).unwrap_or(Failure::from_status(status)))
}

/// What a documented text means.
fn documented(said: &str, next_day: Timestamp) -> Option<Failure> {
    let says = |words: &str| said.contains(words);
    let failure = if says("tokenlimitexceeded") {
        Failure::new(
            Reason::Quota,
            "the daily quota of requests is used up: give longer intervals or fewer reports, or check licences",
        )
        .with_hold(Hold::Until(next_day))
    } else if says("simultaneousrequests") {
        Failure::new(
            Reason::RateLimited,
            "the token is in use by another request: give the exporter a token of its own",
        )
    } else if says("pleaseenterthewolkvoxtoken")
        || says("pleasevalidatetoken")
        || says("tokenisinvalid")
        || says("invalidtoken")
    {
        Failure::new(
            Reason::Auth,
            "the token is wrong or expired: check it in Manager, Configuration, Integrations, and reload",
        )
    } else if says("apiyouwanttoconsultdoesnotexist") || says("someparametersarerequired") {
        Failure::new(
            Reason::Config,
            "the vendor does not know this API or misses a parameter: check server or base_url",
        )
    } else {
        return None;
    };
    Some(failure)
}

/// The vendor's words, fit to be searched.
fn said(envelope: &Envelope<'_>) -> String {
    bare(envelope.msg.as_str()) + " " + &bare(envelope.error.as_str())
}

/// The text without case, spaces and punctuation.
fn bare(text: &str) -> String {
    text.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXT_DAY: Timestamp = Timestamp::UNIX_EPOCH;

    fn outcome(status: u16, body: &str) -> Result<usize, Failure> {
        let answer = Answer { status, retry_after: None, body: body.to_owned().into() };
        rows(&answer, NEXT_DAY, |_| ()).map(|rows| rows.len())
    }

    fn reason(status: u16, body: &str) -> Option<Reason> {
        outcome(status, body).err().map(|failure| failure.reason)
    }

    #[test]
    fn every_documented_text_has_its_reason() {
        for (status, error, msg, expected) in [
            (400, "BAD REQUEST", "THE API YOU WANT TO CONSULT DOES NOT EXIST", Some(Reason::Config)),
            (400, "BAD REQUEST", "SOME PARAMETERS ARE REQUIRED", Some(Reason::Config)),
            (401, "UNAUTHORIZED", "PLEASE ENTER THE WOLKVOX-TOKEN", Some(Reason::Auth)),
            (403, "FORBIDDEN", "TOKEN LIMIT EXCEEDED", Some(Reason::Quota)),
            (403, "FORBIDDEN", "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", Some(Reason::RateLimited)),
            (403, "FORBIDDEN", "PLEASE VALIDATE TOKEN", Some(Reason::Auth)),
            (403, "FORBIDDEN", "The provided token is invalid", Some(Reason::Auth)),
            (401, "UNAUTHORIZED", "Invalid token", Some(Reason::Auth)),
            (404, "NOT FOUND", "Validate dates entered", None),
            (404, "NOT FOUND", "  VALIDATE  DATES\nENTERED. ", None),
        ] {
            let body = serde_json::json!({ "error": error, "msg": msg, "code": status.to_string() }).to_string();
            assert_eq!(reason(status, &body), expected, "{status} {msg}");
            // The same words in another status: the text decides.
            let body = serde_json::json!({ "error": error, "msg": msg, "code": status, "data": [] }).to_string();
            assert_eq!(reason(200, &body), expected, "200 {msg}");
            let body = serde_json::json!({ "error": error, "msg": msg, "data": [] }).to_string();
            assert_eq!(reason(200, &body), expected, "200 without code {msg}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (status, msg, advice) in [
            (400, "THE API YOU WANT TO CONSULT DOES NOT EXIST", "check server or base_url"),
            (403, "TOKEN LIMIT EXCEEDED", "give longer intervals or fewer reports"),
            (403, "EXCEEDS THE LIMIT OF SIMULTANEOUS REQUESTS PER TOKEN (2)", "a token of its own"),
            (403, "PLEASE VALIDATE TOKEN", "check it in Manager"),
            (403, "YOU HAVE NO ACCESS", "check the account's rights"),
            (404, "NOT HERE", "check base_url"),
        ] {
            let body = serde_json::json!({ "error": "x", "msg": msg, "code": status }).to_string();
            let detail = outcome(status, &body).unwrap_err().detail;
            assert!(detail.contains(advice), "{msg}: {detail}");
        }
    }

    #[test]
    fn a_used_up_quota_waits_for_the_next_day() {
        let failure = outcome(403, r#"{"code":"403","msg":"Token limit exceeded"}"#).unwrap_err();
        assert_eq!(failure.hold, Hold::Until(NEXT_DAY));
    }

    #[test]
    fn without_a_known_text_the_status_decides() {
        for (status, body, expected) in [
            (403, r#"{"code":"403","error":"FORBIDDEN","msg":"Backup in progress"}"#, Reason::Unavailable),
            (403, "<html>Forbidden</html>", Reason::Unavailable),
            (404, r#"{"code":404,"msg":"Not here"}"#, Reason::Http),
            (404, "<html>Not Found</html>", Reason::Http),
            (400, r#"{"msg":"Validate dates entered"}"#, Reason::Http),
            (401, "", Reason::Auth),
            (429, "slow down", Reason::RateLimited),
            (500, "", Reason::Unavailable),
            (503, "<html>", Reason::Unavailable),
            (302, "", Reason::Http),
            (200, r#"{"code":"403","error":"FORBIDDEN","msg":"?","data":null}"#, Reason::Unavailable),
            (200, "", Reason::Malformed),
            (200, "<html></html>", Reason::Malformed),
            (200, r#"[200,"","",[]]"#, Reason::Malformed),
            (200, "null", Reason::Malformed),
            (200, r#"{"code":200,"data":[{"agent_na"#, Reason::Malformed),
            (200, r#"{"code":200,"msg":"1 records were found"}"#, Reason::Malformed),
            (200, r#"{"code":200,"data":null}"#, Reason::Malformed),
            (200, r#"{"code":200,"data":"none"}"#, Reason::Malformed),
            (200, r#"{"code":{},"data":[]}"#, Reason::Malformed),
        ] {
            assert_eq!(reason(status, body), Some(expected), "{status} {body}");
        }
    }

    #[test]
    fn the_code_has_many_spellings() {
        for code in ["200", r#""200""#, r#""""#, r#""0""#, "null"] {
            let body = format!(r#"{{"code":{code},"error":"null","msg":"?","data":[{{}},7]}}"#);
            assert_eq!(outcome(200, &body), Ok(2), "{code}");
        }
        assert_eq!(outcome(200, r#"{"data":[]}"#), Ok(0));
        assert_eq!(outcome(200, "\u{feff}{\"data\":{\"agent_name\":\"X\"}}"), Ok(1));
    }
}
