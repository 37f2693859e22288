//! A vendor that is a function: records what was asked and answers as the test says.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use url::Url;

use super::api::Access;
use crate::client::{Answer, Client, Lane, Request, Transport, TransportError};
use crate::clock::Clock;
use crate::health::Health;
use crate::settings::{AccountSettings, RateLimit, ReportSettings};

/// One recorded request.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) method: http::Method,
    pub(super) url: Url,
    headers: Vec<(http::HeaderName, http::HeaderValue)>,
    pub(super) body: String,
}

impl Asked {
    /// A header's value; empty if absent.
    pub(super) fn header(&self, name: &str) -> &str {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.and_then(|(_, value)| value.to_str().ok()).unwrap_or_default()
    }

    /// A parameter of the JSON body.
    pub(super) fn parameter(&self, name: &str) -> String {
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap_or_default();
        body[name].as_str().unwrap_or_default().to_owned()
    }
}

/// The account's way out to a function.
pub(super) struct Vendor {
    pub(super) client: Client,
    pub(super) lane: Lane,
    asked: Arc<Mutex<Vec<Asked>>>,
}

struct Fake<F> {
    asked: Arc<Mutex<Vec<Asked>>>,
    respond: F,
}

impl<F: Fn(&Asked) -> Answer + Send + Sync> Transport for Fake<F> {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let asked = Asked {
                method: request.method.clone(),
                url: request.url.clone(),
                headers: request.headers.clone(),
                body: String::from_utf8_lossy(&request.body).into_owned(),
            };
            let answer = (self.respond)(&asked);
            self.asked.lock().expect("one thread").push(asked);
            Ok(answer)
        })
    }
}

impl Vendor {
    /// A vendor without rate limit.
    pub(super) fn new(respond: impl Fn(&Asked) -> Answer + Send + Sync + 'static) -> Self {
        let asked = Arc::<Mutex<Vec<Asked>>>::default();
        let account = AccountSettings::new("ozonetel", "in");
        let report = ReportSettings {
            rate_limit: Some(RateLimit { count: 1000, per: Duration::from_secs(1) }),
            ..ReportSettings::every(Duration::from_mins(5))
        };
        let transport = Fake { asked: Arc::clone(&asked), respond };
        let clock = Clock::manual(Timestamp::UNIX_EPOCH);
        let client = Client::new(account, Box::new(transport), clock, Health::default());
        let lane = client.lane("test", None, &report);
        Self { client, lane, asked }
    }

    /// What was asked since the last call.
    pub(super) fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.asked.lock().expect("one thread"))
    }
}

pub(super) fn access() -> Access {
    let base = Url::parse("https://vendor.example/prefix/").expect("a URL");
    Access::new(base, "acme", "canary-key".into())
}

pub(super) fn answer(status: u16, body: &str) -> Answer {
    Answer { status, retry_after: None, body: body.as_bytes().to_vec().into() }
}
