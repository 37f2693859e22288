//! The account's token, where its authentication is set so. A new one kills the one before, so all reports of the account
//! share one; it lives for an hour and is replaced a little earlier, or once when the vendor refuses it. Where it refuses a
//! fresh one too the token is not what is wrong, and no other is made for a while. The vendor makes ten an hour: whoever
//! needs more is not this program alone, and waits. Where asking fails nobody asks again for a while, as each agent and
//! each page of every report would.

use std::collections::VecDeque;
use std::time::Duration;

use http::header::CONTENT_TYPE;
use http::{HeaderName, HeaderValue, Method};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Value, json};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::api::{Access, open};
use crate::client::{Answer, Client, Lane, Request};
use crate::failure::{Failure, Reason};
use crate::settings::RateLimit;

/// Ten minutes before the vendor lets it die.
pub(super) const LIFE: Duration = Duration::from_mins(50);
/// What the vendor makes.
pub(super) const LIMIT: RateLimit = RateLimit { count: 10, per: Duration::from_hours(1) };
/// So many are made in this time: a minute more than the vendor's, as the way there is uneven.
const PERIOD: Duration = Duration::from_mins(61);

/// After a failure none is asked for so long: an outage alone leaves the ten.
const PAUSE: Duration = Duration::from_secs(61 * 60 / 10);

/// After a fresh token was refused none is made in place of a refused one for so long: with those that grow old it stays
/// below ten an hour.
const PATIENCE: Duration = Duration::from_mins(10);

/// The account's token.
#[derive(Debug)]
pub(super) struct Token {
    lane: Lane,
    /// Whether the vendor's own limit holds.
    limited: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    current: Option<(SecretString, Instant)>,
    made: VecDeque<Instant>,
    /// The last attempt, if it failed.
    failed: Option<(Instant, Failure)>,
    /// When a token was refused that had just been made in place of another.
    refused_fresh: Option<Instant>,
}

impl Token {
    pub(super) fn new(lane: Lane, limited: bool) -> Self {
        Self { lane, limited, state: Mutex::default() }
    }

    /// The present token, made if there is none or if it grows old.
    pub(super) async fn get(&self, client: &Client, access: &Access) -> Result<SecretString, Failure> {
        self.current(&mut *self.state.lock().await, client, access, None).await
    }

    /// The one in place of a refused one; none while that would not help. Reports that wait here for another's get that one.
    pub(super) async fn replace(
        &self,
        client: &Client,
        access: &Access,
        refused: &SecretString,
    ) -> Result<Option<SecretString>, Failure> {
        let mut state = self.state.lock().await;
        let is_current = state.current.as_ref().is_some_and(|(token, _)| is_same(token, refused));
        if is_current && state.refused_fresh.is_some_and(|at| at.elapsed() < PATIENCE) {
            return Ok(None);
        }
        self.current(&mut state, client, access, Some(refused)).await.map(Some)
    }

    /// Keeps that a token was refused that stood in place of another.
    pub(super) async fn note_refused_fresh(&self) {
        self.state.lock().await.refused_fresh = Some(Instant::now());
    }

    async fn current(
        &self,
        state: &mut State,
        client: &Client,
        access: &Access,
        refused: Option<&SecretString>,
    ) -> Result<SecretString, Failure> {
        let now = Instant::now();
        let current = state
            .current
            .as_ref()
            .filter(|(token, made)| now.duration_since(*made) < LIFE && !refused.is_some_and(|no| is_same(token, no)));
        if let Some((token, _)) = current {
            return Ok(token.clone());
        }
        if let Some((at, failure)) = &state.failed
            && now.duration_since(*at) < PAUSE
        {
            return Err(failure.clone());
        }
        while state.made.front().is_some_and(|made| now.duration_since(*made) >= PERIOD) {
            state.made.pop_front();
        }
        if self.limited && state.made.len() as u64 >= u64::from(LIMIT.count) {
            return Err(Failure::new(
                Reason::RateLimited,
                "no further token this hour; does another program make some?",
            ));
        }
        state.made.push_back(now);
        let asked = client.ask(&self.lane, &request(access)?, decode).await;
        if asked.as_ref().is_err_and(made_none) {
            state.made.pop_back();
        }
        state.failed = asked.as_ref().err().map(|failure| (now, failure.clone()));
        let token: SecretString = asked?.into();
        state.current = Some((token.clone(), now));
        Ok(token)
    }
}

fn is_same(one: &SecretString, other: &SecretString) -> bool {
    one.expose_secret() == other.expose_secret()
}

/// Whether the vendor made no token for sure. A gateway's error, or a connection that broke, may come after it did.
fn made_none(failure: &Failure) -> bool {
    failure.reason == Reason::Tls || failure.reason == Reason::Unavailable && failure.status == Some(503)
}

fn request(access: &Access) -> Result<Request, Failure> {
    let mut request = Request::get(access.url("/ca_apis/CAToken/generateToken"))
        .header(CONTENT_TYPE, HeaderValue::from_static("application/json"))
        .secret_header(HeaderName::from_static("apikey"), access.api_key.expose_secret())?;
    request.method = Method::POST;
    request.body = json!({ "userName": access.user_name }).to_string().into();
    Ok(request)
}

/// A token counts wherever it comes: some answers hold one beside a warning.
fn decode(answer: &Answer) -> Result<String, Failure> {
    let body: Option<Value> = serde_json::from_slice(&answer.body).ok();
    let token = body.as_ref().and_then(|body| body["token"].as_str()).map(str::trim).filter(|token| !token.is_empty());
    match token {
        Some(token) => Ok(token.to_owned()),
        None => Err(open(answer).err().unwrap_or(Failure::malformed("the answer holds no token"))),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU64, Ordering};
    use std::sync::{Arc, Mutex as Lock};

    use super::*;
    use crate::vendors::ozonetel::Api;
    use crate::vendors::ozonetel::testing::{Asked, Vendor, access, answer};

    /// A vendor with one good token, the latest; `killed` is one that it refuses all the same.
    fn vendor() -> (Vendor, Arc<AtomicU64>, Arc<Lock<String>>) {
        let (made, killed) = (Arc::new(AtomicU64::new(0)), Arc::new(Lock::new(String::new())));
        let (count, dead) = (Arc::clone(&made), Arc::clone(&killed));
        let vendor = Vendor::new(move |asked: &Asked| {
            if asked.url.path().ends_with("generateToken") {
                assert_eq!((asked.header("apikey"), &*asked.body), ("canary-key", "{\"userName\":\"acme\"}"));
                let number = count.fetch_add(1, Ordering::SeqCst) + 1;
                return answer(
                    200,
                    &json!({"token": format!("t{number}"), "message": "max limit exceeded"}).to_string(),
                );
            }
            assert_eq!(asked.header("apikey"), "", "the key stays at home");
            let given = asked.header("authorization").to_owned();
            let good = format!("Bearer t{}", count.load(Ordering::SeqCst));
            if given == good && given != *dead.lock().unwrap() {
                answer(200, r#"{"status":"success","message":"success","details":[]}"#)
            } else {
                answer(401, r#"{"status":"false","message":"Invalid Token","data":null}"#)
            }
        });
        (vendor, made, killed)
    }

    async fn ask(vendor: &Vendor, access: &Access) -> Result<(), Reason> {
        let request = access.v2("/x", &[]).unwrap();
        let asked = access.ask(&vendor.client, &vendor.lane, Api::V2, &request, |answer| open(answer).map(drop)).await;
        asked.map_err(|failure| failure.reason)
    }

    fn with_token(vendor: &Vendor) -> Access {
        access().with_token(Token::new(vendor.lane.clone(), true))
    }

    #[tokio::test(start_paused = true)]
    async fn one_token_serves_all_reports_and_is_renewed_early() {
        let (vendor, made, _) = vendor();
        let (one, other) = {
            let access = with_token(&vendor);
            (access.clone(), access)
        };
        let both = futures_util::future::join(ask(&vendor, &one), ask(&vendor, &other)).await;
        assert_eq!((both, made.load(Ordering::SeqCst)), ((Ok(()), Ok(())), 1));
        tokio::time::advance(Duration::from_mins(49)).await;
        assert_eq!((ask(&vendor, &one).await, made.load(Ordering::SeqCst)), (Ok(()), 1));
        tokio::time::advance(Duration::from_mins(2)).await;
        assert_eq!((ask(&vendor, &other).await, made.load(Ordering::SeqCst)), (Ok(()), 2));
        assert_eq!(ask(&vendor, &one).await, Ok(()), "it knows the new one");
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_token_is_replaced_once() {
        let (vendor, made, killed) = vendor();
        let access = with_token(&vendor);
        assert_eq!(ask(&vendor, &access).await, Ok(()));
        *killed.lock().unwrap() = "Bearer t1".to_owned();
        assert_eq!((ask(&vendor, &access).await, made.load(Ordering::SeqCst)), (Ok(()), 2));
        *killed.lock().unwrap() = "Bearer t2".to_owned();
        // Somebody else makes tokens too: ours is dead whenever it is used.
        made.store(100, Ordering::SeqCst);
        vendor.asked();
        assert_eq!(ask(&vendor, &access).await, Ok(()));
        assert_eq!(vendor.asked().len(), 3, "refused, replaced, answered");
    }

    fn made(vendor: &Vendor) -> usize {
        vendor.asked().iter().filter(|asked| asked.url.path().ends_with("generateToken")).count()
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_than_ten_tokens_are_made_in_an_hour() {
        let (vendor, count, killed) = vendor();
        let access = with_token(&vendor);
        let mut reasons = Vec::new();
        for _ in 0..20 {
            reasons.push(ask(&vendor, &access).await);
            // Each is good until another program makes one.
            *killed.lock().unwrap() = format!("Bearer t{}", count.load(Ordering::SeqCst));
        }
        assert_eq!((made(&vendor), reasons[0], reasons[9]), (10, Ok(()), Ok(())));
        assert_eq!((reasons[10], reasons[19]), (Err(Reason::RateLimited), Err(Reason::RateLimited)));
        tokio::time::advance(Duration::from_mins(61)).await;
        assert_eq!(ask(&vendor, &access).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_is_refused_for_ever_goes_on_saying_so() {
        let vendor = Vendor::new(|asked: &Asked| {
            let token = asked.url.path().ends_with("generateToken");
            if token { answer(200, r#"{"token":"t"}"#) } else { answer(401, r#"{"message":"Token Expired"}"#) }
        });
        let access = with_token(&vendor);
        for _ in 0..120 {
            assert_eq!(ask(&vendor, &access).await, Err(Reason::Auth));
            tokio::time::advance(Duration::from_mins(1)).await;
        }
        let made = made(&vendor);
        assert!((10..20).contains(&made), "{made} in two hours");
    }

    #[tokio::test(start_paused = true)]
    async fn an_outage_uses_up_no_token() {
        for status in [500, 502, 503, 504] {
            let good = Arc::new(AtomicU64::new(0));
            let shared = Arc::clone(&good);
            let vendor = Vendor::new(move |asked: &Asked| match shared.load(Ordering::SeqCst) {
                0 => answer(status, "<html>"),
                _ if asked.url.path().ends_with("generateToken") => answer(200, r#"{"token":"t"}"#),
                _ => answer(200, r#"{"status":"success","message":"success","details":[]}"#),
            });
            let access = with_token(&vendor);
            let mut sent = Vec::new();
            for _minute in 0..180 {
                // Many agents at each poll.
                for _ in 0..5 {
                    assert_eq!(ask(&vendor, &access).await, Err(Reason::Unavailable), "{status}");
                }
                sent.push(made(&vendor));
                tokio::time::advance(Duration::from_mins(1)).await;
            }
            assert!(sent.windows(60).all(|hour| hour.iter().sum::<usize>() <= 10), "{status}: {sent:?}");
            good.store(1, Ordering::SeqCst);
            tokio::time::advance(PAUSE).await;
            assert_eq!(ask(&vendor, &access).await, Ok(()), "{status}");
        }
    }

    #[test]
    fn a_failure_after_which_a_token_may_be_there_counts_as_one() {
        let status = |status| Failure::from_status(status);
        let reason = |reason| Failure::new(reason, "test");
        let none = [status(503), reason(Reason::Tls)];
        let perhaps = [500, 502, 504, 200].map(status).into_iter();
        let mut perhaps = perhaps.chain([Reason::Network, Reason::Timeout, Reason::Malformed].map(reason));
        assert!(none.iter().all(made_none));
        assert!(!perhaps.any(|failure| made_none(&failure)));
    }

    #[test]
    fn an_answer_without_token_says_why() {
        for (status, body, reason) in [
            (200, r#"{"status":"false","message":"userName or apiKey is Invalid"}"#, Reason::Auth),
            (200, r#"{"status":"false","message":"rate limit exceeded"}"#, Reason::RateLimited),
            (200, r#"{"status":"success","token":""}"#, Reason::Malformed),
            (200, "<html>", Reason::Malformed),
            (503, "", Reason::Unavailable),
        ] {
            assert_eq!(decode(&answer(status, body)).map_err(|failure| failure.reason), Err(reason), "{body}");
        }
        assert_eq!(decode(&answer(200, r#"{"token":"a.b.c","message":"rate limit"}"#)), Ok("a.b.c".to_owned()));
    }
}
