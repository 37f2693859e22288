//! How a method of the Management API is asked: a form by POST, and a token of the account's own in a header. What is asked
//! and what the answer means are the reports' business.

use std::sync::Arc;

use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method as Verb};
use jiff::Timestamp;
use jiff::civil::{Date, DateTime};
use jiff::tz::TimeZone;
use url::{Url, form_urlencoded};

use super::credentials::Credentials;
use crate::client::{Lane, Request};
use crate::failure::Failure;

const FORM: HeaderValue = HeaderValue::from_static("application/x-www-form-urlencoded");

/// One method of one account.
#[derive(Debug, Clone)]
pub struct Method {
    /// The method's URL.
    pub url: Url,
    /// Who asks.
    pub credentials: Arc<Credentials>,
    /// The method's lane.
    pub lane: Lane,
    /// Seconds that a token lives.
    pub token_life: i64,
}

impl Method {
    /// A token for the requests of one poll.
    pub fn token(&self, now: Timestamp) -> Result<String, Failure> {
        self.credentials.token(now, self.token_life)
    }

    /// A request with these parameters.
    pub fn request(&self, token: &str, form: &[(&str, &str)]) -> Result<Request, Failure> {
        let body = form_urlencoded::Serializer::new(String::new()).extend_pairs(form).finish();
        let (url, body) = (self.url.clone(), Bytes::from(body));
        let request = Request { method: Verb::POST, url, headers: Vec::new(), body };
        request.header(CONTENT_TYPE, FORM).secret_header(AUTHORIZATION, &format!("Bearer {token}"))
    }
}

/// `from_date` and `to_date` of a range from the beginning of a day until now.
pub fn range(from: Date, now: Timestamp) -> [String; 2] {
    let text = |at: DateTime| at.strftime("%Y-%m-%d %H:%M:%S").to_string();
    // At the stroke of midnight the range would be empty, which the vendor may call wrong.
    let to = TimeZone::UTC.to_datetime(now).max(from.at(0, 0, 1, 0));
    [text(from.at(0, 0, 0, 0)), text(to)]
}
