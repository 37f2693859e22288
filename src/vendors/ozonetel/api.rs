//! How both generations of the vendor's API are asked, and what their envelope says before anybody looks at the
//! payload: success, "no data", or which failure. What a payload means is the reports' business.

use std::sync::Arc;

use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderName, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, Value};
use url::Url;

use super::Api;
use super::token::Token;
use crate::client::{Answer, Client, Lane, Request};
use crate::failure::{Failure, RATE_LIMITED, Reason};

/// Where to ask, and as whom.
#[derive(Debug, Clone)]
pub(super) struct Access {
    base: Url,
    pub(super) user_name: String,
    pub(super) api_key: SecretString,
    /// Where the account's authentication wants one.
    token: Option<Arc<Token>>,
}

/// The start of an answer's meaning.
#[derive(Debug, PartialEq)]
pub(super) enum Envelope {
    /// The vendor says that there is nothing.
    NoData,
    /// Success; the payload is yet to be read.
    Success(Map<String, Value>),
}

/// Where the rows should be there is something else.
pub(super) const NO_LIST: Failure = Failure::malformed("the answer holds no list of records");

// === impl Access ===

impl Access {
    pub(super) fn new(base: Url, user_name: &str, api_key: SecretString) -> Self {
        Self { base, user_name: user_name.trim().to_owned(), api_key, token: None }
    }

    /// The old APIs want everything in the query, the key too.
    pub(super) fn v1(&self, path: &str, parameters: &[(&str, &str)]) -> Request {
        let mut url = self.url(path);
        url.query_pairs_mut()
            .append_pair("userName", &self.user_name)
            .append_pair("apiKey", self.api_key.expose_secret())
            .extend_pairs(parameters);
        Request::get(url)
    }

    /// The present APIs are asked with GET and a JSON body: the reports refuse a query string as invalid JSON and
    /// POST with 405. The pages of the AHT API show POST first and GET later, so GET is what all of them share.
    pub(super) fn v2(&self, path: &str, parameters: &[(&str, &str)]) -> Result<Request, Failure> {
        let mut body = Map::new();
        body.insert("userName".to_owned(), self.user_name.as_str().into());
        body.extend(parameters.iter().map(|(name, value)| ((*name).to_owned(), Value::from(*value))));
        let mut request =
            Request::get(self.url(path)).header(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if self.token.is_none() {
            request = request.secret_header(HeaderName::from_static("apikey"), self.api_key.expose_secret())?;
        }
        request.body = Value::Object(body).to_string().into();
        Ok(request)
    }

    /// The same with the account's token in place of the key.
    pub(super) fn with_token(self, token: Token) -> Self {
        Self { token: Some(Arc::new(token)), ..self }
    }

    /// Sends a request of [`Access::v1`] or [`Access::v2`]. A token that the vendor refuses is replaced, once.
    pub(super) async fn ask<T>(
        &self,
        client: &Client,
        lane: &Lane,
        api: Api,
        request: &Request,
        decode: impl Fn(&Answer) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        if api == Api::V1 {
            return client.ask(lane, request, decode).await.map_err(at_v1);
        }
        let Some(token) = &self.token else { return client.ask(lane, request, decode).await };
        let first = token.get(client, self).await?;
        let is_refused = |asked: &Result<T, Failure>| matches!(asked, Err(failure) if failure.reason == Reason::Auth);
        let asked = client.ask(lane, &bearing(request, &first)?, &decode).await;
        if !is_refused(&asked) {
            return asked;
        }
        let Some(next) = token.replace(client, self, &first).await? else { return asked };
        let asked = client.ask(lane, &bearing(request, &next)?, decode).await;
        if is_refused(&asked) {
            token.note_refused_fresh().await;
        }
        asked
    }

    pub(super) fn url(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url.set_query(None);
        url
    }
}

/// The vendor is switching the old APIs off, account by account, and their web server answers then.
fn at_v1(failure: Failure) -> Failure {
    match failure.status {
        Some(404 | 405 | 410) if failure.reason == Reason::Http => {
            Failure { detail: "the vendor no longer has its v1 API for this account: set api: v2", ..failure }
        }
        _ => failure,
    }
}

fn bearing(request: &Request, token: &SecretString) -> Result<Request, Failure> {
    request.clone().secret_header(AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))
}

// === impl Envelope ===

/// Opens an answer. A documented text decides before the HTTP status, and status 200 alone proves nothing.
pub(super) fn open(answer: &Answer) -> Result<Envelope, Failure> {
    /// No documented text is longer; what is longer is a page of HTML that may hold any words.
    const LONGEST_TEXT: usize = 300;
    // Names may hold bytes that are no UTF-8; they are not worth the whole answer.
    let body = String::from_utf8_lossy(&answer.body);
    let Ok(Value::Object(envelope)) = serde_json::from_str(&body) else {
        let text = (body.len() <= LONGEST_TEXT).then(|| refusal(&body)).flatten();
        return Err(text.unwrap_or(Failure::from_status(answer.status)));
    };
    let text = |key| envelope.get(key).and_then(Value::as_str);
    for message in ["message", "details"].into_iter().filter_map(text) {
        if words(message).starts_with("no data found") {
            return Ok(Envelope::NoData);
        }
        if let Some(failure) = refusal(message) {
            return Err(failure);
        }
    }
    let success = envelope.get("status").is_some_and(says_success);
    match answer.status {
        200..=299 if success => Ok(Envelope::Success(envelope)),
        200..=299 if envelope.contains_key("status") => Err(Failure::new(
            Reason::Unavailable,
            "the vendor reported an error that is not documented: if it lasts, ask the vendor",
        )),
        status => Err(Failure::from_status(status)),
    }
}

/// The rows of a v2 list. How the vendor writes that there are none is not known: an empty list, null, an empty text and no
/// such key at all are taken for it, but where the message says anything else than that all went well.
pub(super) fn rows(envelope: &mut Map<String, Value>) -> Result<Vec<Value>, Failure> {
    let is_empty = |value: &Value| value.is_null() || value.as_str().is_some_and(|text| text.trim().is_empty());
    let went_well = envelope.get("message").is_none_or(|message| is_empty(message) || says_success(message));
    match envelope.remove("details") {
        Some(Value::Array(rows)) => Ok(rows),
        details if details.as_ref().is_none_or(is_empty) && went_well => Ok(Vec::new()),
        _ => Err(NO_LIST),
    }
}

fn says_success(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.trim().eq_ignore_ascii_case("success"))
}

/// What a text of the vendor's means. Texts come in several spellings and some end in a value.
fn refusal(text: &str) -> Option<Failure> {
    const BAD_CREDENTIALS: Failure =
        Failure::new(Reason::Auth, "the vendor refused the credentials: check user_name, api_key and auth");
    // What is said to whoever uses the other auth mode.
    const WANTS_KEY: Failure =
        Failure::new(Reason::Auth, "the vendor wants the key and no token: set auth: api_key, and check user_name");
    const WANTS_TOKEN: Failure =
        Failure::new(Reason::Auth, "the vendor wants a token in place of the key: set auth: token");
    const BAD_TOKEN: Failure = Failure::new(
        Reason::Auth,
        "the vendor refused the token: let no other program make tokens for the account, a new one kills the old",
    );
    const LIMITED: Failure = Failure::new(Reason::RateLimited, RATE_LIMITED);
    const NO_AGENT: Failure = Failure::new(Reason::Config, "the vendor does not know the agent: check agents");
    const NO_CAMPAIGN: Failure = Failure::new(Reason::Config, "the vendor does not know the campaign: check campaigns");
    const BAD_PARAMETER: Failure = Failure::new(
        Reason::Config,
        "the vendor refused a parameter as missing or invalid: check user_name, agents, campaigns and api",
    );
    const TEXTS: [(&str, Failure); 22] = [
        ("username or apikey is invalid", BAD_CREDENTIALS),
        ("missing username or apikey", WANTS_KEY),
        ("token expired", BAD_TOKEN),
        ("invalid token", BAD_TOKEN),
        ("token should not be null or empty", WANTS_TOKEN),
        ("max limit exceeded", LIMITED),
        ("rate limit", LIMITED),
        ("only 1 hit", LIMITED),
        ("agentid is invalid", NO_AGENT),
        ("campaignname is invalid", NO_CAMPAIGN),
        ("invalid campaignname", NO_CAMPAIGN),
        ("both agentid and campaignname", BAD_PARAMETER),
        ("should not be empty", BAD_PARAMETER),
        ("invalid reporttype", BAD_PARAMETER),
        ("should be numeric only", BAD_PARAMETER),
        ("from and to date", BAD_PARAMETER),
        ("from date should not", BAD_PARAMETER),
        ("between from and to", BAD_PARAMETER),
        ("mode type is invalid", BAD_PARAMETER),
        ("fromdate", BAD_PARAMETER),
        ("todate", BAD_PARAMETER),
        ("invalid json", BAD_PARAMETER),
    ];
    let text = words(text);
    TEXTS.into_iter().find(|(part, _)| text.contains(part)).map(|(_, failure)| failure)
}

/// Lower case, single spaces.
fn words(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendors::ozonetel::testing::{Vendor, access, answer};

    #[test]
    fn every_documented_error_text_has_its_reason() {
        for (text, reason) in [
            ("userName should not be empty", Reason::Config),
            ("apiKey should not be empty", Reason::Config),
            ("Both agentId and campaignName cannot be passed at a time", Reason::Config),
            ("Both agentId and campaignName cannot be\nempty", Reason::Config),
            ("userName or apiKey is Invalid", Reason::Auth),
            ("agentId is Invalid", Reason::Config),
            ("campaignName is Invalid", Reason::Config),
            ("max limit exceeded", Reason::RateLimited),
            ("ucid should not be empty", Reason::Config),
            ("reportType should not be empty", Reason::Config),
            ("Invalid reportType", Reason::Config),
            ("ucid should be numeric only", Reason::Config),
            ("Max limit exceeded", Reason::RateLimited),
            ("only 1 hit will be allowed within a time frame of 5mins", Reason::RateLimited),
            ("API Rate Limit reached", Reason::RateLimited),
            ("Missing userName or apiKey", Reason::Auth),
            ("Missing fromDate and toDate", Reason::Config),
            ("Invalid Json Pass Valid Json", Reason::Config),
            ("From and To Date should be in yyyy-mm-dd HH:mm:ss Format", Reason::Config),
            ("From Date Should not be Greater than To Date", Reason::Config),
            ("Difference Between From and To date should not be Greater than 30 Days", Reason::Config),
            ("Mode Type is Invalid", Reason::Config),
            ("Invalid Token", Reason::Auth),
            ("Token Expired", Reason::Auth),
            ("Token Should Not be Null or Empty.", Reason::Auth),
            ("something new", Reason::Unavailable),
        ] {
            for status in ["error", "Error", "fail", "false", "failure"] {
                let body = serde_json::json!({"status": status, "message": text}).to_string();
                assert_eq!(open(&answer(200, &body)).map_err(|f| f.reason), Err(reason), "{status}: {text}");
            }
            // The text decides before the HTTP status; only a text that nobody documented leaves it to the status.
            let body = serde_json::json!({"status": "error", "message": text}).to_string();
            let with_401 = if reason == Reason::Unavailable { Reason::Auth } else { reason };
            assert_eq!(open(&answer(401, &body)).map_err(|f| f.reason), Err(with_401), "{text}");
        }
    }

    #[test]
    fn a_refusal_says_what_to_do() {
        for (text, advice) in [
            ("userName or apiKey is Invalid", "check user_name, api_key and auth"),
            ("Missing userName or apiKey", "set auth: api_key"),
            ("Token Should Not be Null or Empty.", "set auth: token"),
            ("Invalid Token", "let no other program make tokens"),
            ("max limit exceeded", "does another program use the account?"),
            ("agentId is Invalid", "check agents"),
            ("campaignName is Invalid", "check campaigns"),
            ("Invalid reportType", "check user_name, agents, campaigns and api"),
            ("something new", "ask the vendor"),
        ] {
            let body = serde_json::json!({"status": "error", "message": text}).to_string();
            let detail = open(&answer(200, &body)).unwrap_err().detail;
            assert!(detail.contains(advice), "{text}: {detail}");
        }
    }

    /// An old API that is gone, and a path that is wrong at the present ones.
    #[tokio::test]
    async fn who_asks_an_api_that_is_gone_is_told_of_the_present_one() {
        for (status, api, advice) in [
            (404, Api::V1, "set api: v2"),
            (410, Api::V1, "set api: v2"),
            (404, Api::V2, "check base_url"),
            (401, Api::V1, "give a valid key"),
        ] {
            let vendor = Vendor::new(move |_| answer(status, "<html>gone</html>"));
            let access = access();
            let request = access.v1("/path", &[]);
            let asked = access.ask(&vendor.client, &vendor.lane, api, &request, |answer| open(answer).map(drop)).await;
            let failure = asked.unwrap_err();
            assert!(failure.detail.contains(advice) && failure.status == Some(status), "{status}: {failure}");
        }
    }

    #[test]
    fn a_success_needs_its_word_and_its_status() {
        for (status, body, expected) in [
            (200, r#"{"status":"Success","message":{}}"#, None),
            (200, r#"{"status":"success","message":"max limit exceeded"}"#, Some(Reason::RateLimited)),
            (200, r#"{"message":{}}"#, Some(Reason::Malformed)),
            (200, r#"{"status":"error"}"#, Some(Reason::Unavailable)),
            (200, "max limit exceeded", Some(Reason::RateLimited)),
            (200, "[]", Some(Reason::Malformed)),
            (200, "", Some(Reason::Malformed)),
            (200, "<html>", Some(Reason::Malformed)),
            (200, r#"{"status":"succ"#, Some(Reason::Malformed)),
            (429, r#"{"status":"error","message":"wait"}"#, Some(Reason::RateLimited)),
            (500, r#"{"status":"success","message":{}}"#, Some(Reason::Unavailable)),
            (404, "<html>", Some(Reason::Http)),
        ] {
            assert_eq!(open(&answer(status, body)).err().map(|f| f.reason), expected, "{status} {body}");
        }
    }

    #[test]
    fn no_data_is_no_failure_whatever_the_status_word() {
        for body in [
            r#"{"status":"success","message":"No Data Found with UCID 31571870688636584"}"#,
            r#"{"status":"error","message":"No Data Found"}"#,
        ] {
            assert_eq!(open(&answer(200, body)), Ok(Envelope::NoData), "{body}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_name() {
        let mut answer = answer(200, "");
        answer.body = b"{\"status\":\"success\",\"message\":{\"AgentName\":\"A\xff\"}}".to_vec().into();
        assert!(matches!(open(&answer), Ok(Envelope::Success(_))));
    }

    #[test]
    fn v1_asks_with_a_query_and_v2_with_a_body_and_a_header() {
        let request = access().v1("/CAServices/X.php", &[("agentId", "a&b")]);
        assert_eq!(
            request.url.as_str(),
            "https://vendor.example/prefix/CAServices/X.php?userName=acme&apiKey=canary-key&agentId=a%26b"
        );
        assert!(request.headers.is_empty() && request.body.is_empty());

        let request = access().v2("/ca_apis/x", &[("agentId", "asha")]).expect("a request");
        assert_eq!(request.url.as_str(), "https://vendor.example/prefix/ca_apis/x");
        assert_eq!(request.method, http::Method::GET);
        assert_eq!(&request.body[..], br#"{"agentId":"asha","userName":"acme"}"#);
        let headers: Vec<_> = request.headers.iter().map(|(name, value)| (name.as_str(), value.as_bytes())).collect();
        assert_eq!(headers, [("content-type", &b"application/json"[..]), ("apikey", b"canary-key")]);
        for print in [format!("{request:?}"), format!("{:?}", request.headers), format!("{:?}", access())] {
            assert!(!print.contains("canary"), "{print}");
        }
    }
}
