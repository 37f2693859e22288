//! What an error of Voximplant's means. It stands in the body, ordinarily under HTTP 200, so the body is looked into
//! first whatever the status is; the vendor's own words are read for a waiting time and otherwise thrown away.

use std::borrow::Cow;
use std::time::Duration;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::client::Answer;
use crate::failure::{Failure, Hold, RATE_LIMITED, Reason};
use crate::vendors::parse::Text;

/// An answer of any method: a result, or one of the two forms of an error.
#[derive(Deserialize)]
struct Body<'a> {
    #[serde(borrow)]
    result: Option<&'a RawValue>,
    #[serde(borrow)]
    error: Option<&'a RawValue>,
    #[serde(borrow, default)]
    errors: Option<Vec<&'a RawValue>>,
    /// Of lists that come in pages.
    #[serde(borrow)]
    total_count: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Told {
    code: Text,
    #[serde(default)]
    msg: Text,
}

/// The result in an answer, unread.
pub fn result(answer: &Answer) -> Result<Cow<'_, RawValue>, Failure> {
    page(answer).map(|(result, _)| result)
}

/// The result in an answer, and how many rows the vendor has in all, if it says so.
pub fn page(answer: &Answer) -> Result<(Cow<'_, RawValue>, Option<u64>), Failure> {
    // Names reach us from many keyboards; one bad byte must not cost the whole answer. Without one nothing is copied.
    if let Ok(body) = std::str::from_utf8(&answer.body) {
        return read(answer.status, body).map(|(result, total)| (Cow::Borrowed(result), total));
    }
    let body = String::from_utf8_lossy(&answer.body);
    read(answer.status, &body).map(|(result, total)| (Cow::Owned(result.to_owned()), total))
}

fn read(status: u16, body: &str) -> Result<(&RawValue, Option<u64>), Failure> {
    let by_status = || Failure::from_status(status);
    let body: Body<'_> = serde_json::from_str(body).map_err(|_| by_status())?;
    if let Some(error) = body.error.or_else(|| body.errors?.into_iter().next()) {
        let told = serde_json::from_str::<Told>(error.get()).ok();
        let failure = told.and_then(|told| classify(told.code.as_str().parse().ok()?, told.msg.as_str()));
        return Err(match failure {
            Some(failure) => failure,
            // An error without a code of the catalogue: a status that says more than 200 decides.
            None if (200..300).contains(&status) => UNAVAILABLE,
            None => by_status(),
        });
    }
    let result = body.result.filter(|_| (200..300).contains(&status)).ok_or_else(by_status)?;
    Ok((result, body.total_count.and_then(|raw| raw.get().parse().ok())))
}

const UNAVAILABLE: Failure =
    Failure::new(Reason::Unavailable, "the vendor failed to serve the request: if it lasts, ask the vendor");

/// The codes of the vendor's catalogue that can concern us.
fn classify(code: i64, msg: &str) -> Option<Failure> {
    let (reason, detail) = match code {
        100 | 131 | 135 | 137 | 447 => (Reason::Auth, "the vendor refused the key: check credentials and account_id"),
        104 => (
            Reason::Auth,
            "the service account's role may not call this method: give it one that may, such as Supervisor",
        ),
        321 => (
            Reason::Auth,
            "the vendor does not accept this machine's address for the key: allow it in the control panel",
        ),
        454..=456 => (Reason::Auth, "the vendor refused the token's times: check this machine's clock"),
        116 => (Reason::Config, "the vendor does not know `application`: check its name"),
        115 => (
            Reason::Config,
            "the vendor does not accept account_id: give the number of a child account, or leave it out",
        ),
        117 => (Reason::Config, "the vendor does not know one of `users`: check the ids"),
        218 => (Reason::Config, "the vendor does not know one of `queues`: check the ids"),
        101..=103 | 105 | 111 | 123 | 134 | 227..=229 | 233 | 254 | 458 | 485 | 496 | 497 | 525 | 526 => {
            (Reason::Config, "the vendor refused a parameter: check base_url, `users`, `queues` and `application`")
        }
        569 => (Reason::Config, "the vendor does not accept so long a range of days: lower `backfill`"),
        314 | 340 | 416 | 484 => (Reason::RateLimited, RATE_LIMITED),
        1 | 2 | 4 | 19 | 162 => return Some(UNAVAILABLE),
        _ => return None,
    };
    let failure = Failure::new(reason, detail);
    Some(match waiting_time(msg).filter(|_| code == 416) {
        Some(wait) => failure.with_hold(Hold::For(wait)),
        None => failure,
    })
}

/// `Repeat after N seconds`
fn waiting_time(msg: &str) -> Option<Duration> {
    let digits = msg.split(|c: char| !c.is_ascii_digit()).find(|part| !part.is_empty())?;
    digits.parse().ok().map(Duration::from_secs)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn outcome(status: u16, body: impl Into<String>) -> Result<String, Failure> {
        let answer = Answer { status, retry_after: None, body: Bytes::from(body.into()) };
        result(&answer).map(|raw| raw.get().to_owned())
    }

    /// Names reach the vendor in other encodings, and come back that way.
    #[test]
    fn a_byte_that_is_no_utf_8_costs_itself_and_a_good_answer_is_not_copied() {
        let answer = |body: &'static [u8]| Answer { status: 200, retry_after: None, body: Bytes::from_static(body) };
        let bad = answer(b"{\"result\":[{\"user_display_name\":\"Beno\xeet\"}],\"total_count\":7}");
        let (result, total) = page(&bad).unwrap();
        assert_eq!((result.get(), total), ("[{\"user_display_name\":\"Beno\u{fffd}t\"}]", Some(7)));
        let good = answer(r#"{"result":[{"user_display_name":"Benoît"}]}"#.as_bytes());
        assert!(matches!(super::result(&good), Ok(Cow::Borrowed(_))));
        let error = answer(b"{\"error\":{\"code\":104,\"msg\":\"\xff\"}}");
        assert_eq!(super::result(&error).unwrap_err().reason, Reason::Auth);
    }

    #[test]
    fn every_code_has_its_reason_in_both_forms_and_under_any_status() {
        let table: [(Reason, &[i64]); 4] = [
            (Reason::Auth, &[100, 104, 131, 135, 137, 321, 447, 454, 455, 456]),
            (
                Reason::Config,
                &[
                    101, 102, 103, 105, 111, 115, 116, 117, 123, 134, 218, 227, 228, 229, 233, 254, 458, 485, 496, 497,
                    525, 526, 569,
                ],
            ),
            (Reason::RateLimited, &[314, 340, 416, 484]),
            (Reason::Unavailable, &[1, 2, 4, 19, 162]),
        ];
        for (reason, codes) in table {
            for code in codes {
                for status in [200, 400, 401, 429, 500] {
                    for body in [
                        format!(r#"{{"error":{{"code":{code},"msg":"CANARY"}}}}"#),
                        format!(r#"{{"error":{{"msg":"CANARY","code":"{code}","field_name":"user_id"}}}}"#),
                        format!(r#"{{"errors":[{{"code":{code},"msg":"CANARY"}},{{"code":1,"msg":""}}]}}"#),
                    ] {
                        let failure = outcome(status, body).unwrap_err();
                        assert_eq!(failure.reason, reason, "{code} under {status}");
                        assert_eq!(failure.hold, Hold::None);
                        assert!(!format!("{failure:?} {failure}").contains("CANARY"));
                    }
                }
            }
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (code, advice) in [
            (100, "check credentials and account_id"),
            (104, "give it one that may"),
            (115, "leave it out"),
            (116, "check its name"),
            (117, "check the ids"),
            (218, "check the ids"),
            (321, "allow it in the control panel"),
            (340, "does another program use the account?"),
            (455, "check this machine's clock"),
            (458, "check base_url"),
            (569, "lower `backfill`"),
            (1, "ask the vendor"),
        ] {
            let failure = outcome(200, format!(r#"{{"error":{{"code":{code},"msg":""}}}}"#)).unwrap_err();
            assert!(failure.detail.contains(advice), "{code}: {failure}");
        }
    }

    #[test]
    fn an_unknown_code_leaves_the_word_to_the_status() {
        let body = include_str!("../../../tests/fixtures/voximplant/error_unknown_code.json");
        for (status, reason) in [(200, Reason::Unavailable), (401, Reason::Auth), (429, Reason::RateLimited)] {
            assert_eq!(outcome(status, body).unwrap_err().reason, reason);
        }
        for odd in [r#"{"error":"no"}"#, r#"{"error":{}}"#, r#"{"error":{"code":"x","msg":7}}"#] {
            assert_eq!(outcome(200, odd).unwrap_err().reason, Reason::Unavailable, "{odd}");
        }
    }

    #[test]
    fn a_told_wait_is_obeyed() {
        let body = include_str!("../../../tests/fixtures/voximplant/error_416.json");
        assert_eq!(outcome(200, body).unwrap_err().hold, Hold::For(Duration::from_secs(17)));
        let untold = outcome(200, r#"{"error":{"code":416,"msg":"Repeat later"}}"#).unwrap_err();
        assert_eq!((untold.reason, untold.hold), (Reason::RateLimited, Hold::None));
    }

    #[test]
    fn what_is_no_answer_is_judged_by_its_status() {
        for (status, body, reason) in [
            (200, "", Reason::Malformed),
            (200, "<html>busy</html>", Reason::Malformed),
            (200, r#"{"result":[{"user_id":1"#, Reason::Malformed),
            (200, "{}", Reason::Malformed),
            (200, "[]", Reason::Malformed),
            (200, r#"{"result":null}"#, Reason::Malformed),
            (401, "<html/>", Reason::Auth),
            (403, "", Reason::Unavailable),
            (404, "{}", Reason::Http),
            (429, "", Reason::RateLimited),
            (502, "<html/>", Reason::Unavailable),
            (500, r#"{"result":[]}"#, Reason::Unavailable),
        ] {
            assert_eq!(outcome(status, body).unwrap_err().reason, reason, "{status} {body}");
        }
        for body in [r#"{"result":[]}"#, r#"{"error":null,"errors":[],"result":[]}"#] {
            assert_eq!(outcome(200, body).as_deref(), Ok("[]"), "{body}");
        }
    }
}
