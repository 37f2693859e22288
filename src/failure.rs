//! Why a poll, or one agent, campaign, queue or call of it, failed. The reason is a label and a log field; the text
//! beside it is always a constant of ours, because what a vendor wrote may hold keys and telephone numbers.

use std::time::Duration;

use jiff::Timestamp;

/// The bounded vocabulary of `poll_failures_total{reason}` and `entity_failures_total{reason}`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Reason {
    /// Bad, missing or expired credentials, or a missing role.
    Auth,
    /// A parameter, agent, campaign or file named in the configuration is wrong.
    Config,
    /// The vendor's rate or concurrency limit.
    RateLimited,
    /// The vendor's daily quota is used up.
    Quota,
    /// No answer within `timeout`.
    Timeout,
    /// No connection, or it broke before the answer began.
    Network,
    /// Certificate or handshake.
    Tls,
    /// An HTTP status that no other reason explains.
    Http,
    /// An answer that cannot be read.
    Malformed,
    /// The vendor says that it cannot serve now.
    Unavailable,
    /// The state could not be stored, or a fault of our own.
    Internal,
    /// A call that the vendor never gave within its retention (entities only).
    Expired,
}

/// Every reason, in the order of their labels.
pub const REASONS: [Reason; 12] = [
    Reason::Auth,
    Reason::Config,
    Reason::Expired,
    Reason::Http,
    Reason::Internal,
    Reason::Malformed,
    Reason::Network,
    Reason::Quota,
    Reason::RateLimited,
    Reason::Timeout,
    Reason::Tls,
    Reason::Unavailable,
];

/// What to do about a rate limit is the same at every vendor.
pub const RATE_LIMITED: &str = "the vendor's rate limit was exceeded: does another program use the account? else give a lower rate_limit or longer intervals";

/// One failed request, entity or poll.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Failure {
    /// Label and log field.
    pub reason: Reason,
    /// What happened and, where we know it, what to do next. Never a vendor's own text.
    pub detail: &'static str,
    /// HTTP status, if an answer came.
    pub status: Option<u16>,
    /// How long the vendor asked us to wait.
    pub hold: Hold,
    /// Where in a file of the operator's, such as `line 3`.
    pub place: Option<String>,
}

/// What a failure means for the requests that come next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hold {
    /// Go on.
    None,
    /// The API's next request waits this long, at most the report's interval.
    For(Duration),
    /// Nothing is sent for this account until then.
    Until(Timestamp),
}

// === impl Reason ===

impl Reason {
    /// The label value.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Auth => "auth",
            Self::Config => "config",
            Self::RateLimited => "rate_limited",
            Self::Quota => "quota",
            Self::Timeout => "timeout",
            Self::Network => "network",
            Self::Tls => "tls",
            Self::Http => "http",
            Self::Malformed => "malformed",
            Self::Unavailable => "unavailable",
            Self::Internal => "internal",
            Self::Expired => "expired",
        }
    }
}

// === impl Failure ===

impl Failure {
    /// A failure with a constant text.
    pub const fn new(reason: Reason, detail: &'static str) -> Self {
        Self { reason, detail, status: None, hold: Hold::None, place: None }
    }

    /// The answer could not be read.
    pub const fn malformed(detail: &'static str) -> Self {
        Self::new(Reason::Malformed, detail)
    }

    /// What an HTTP status means when no documented text in the body decided. 2xx means that the body was expected
    /// to be readable and was not.
    pub const fn from_status(status: u16) -> Self {
        let (reason, detail) = match status {
            401 => (Reason::Auth, "the vendor refused the credentials: give a valid key or token, and reload"),
            403 => (
                Reason::Unavailable,
                "the vendor refuses for now: if it lasts, check the account's rights and that this machine's address is allowed",
            ),
            407 => (Reason::Http, "the proxy wants a user and a password: give them in proxy_url"),
            404 | 410 => (Reason::Http, "the vendor has no such API here: check base_url"),
            429 => (Reason::RateLimited, RATE_LIMITED),
            200..=299 => (
                Reason::Malformed,
                "the answer is not the JSON that was asked for: if it lasts, check base_url, and whether a proxy answers",
            ),
            300..=399 => (Reason::Http, "the answer is a redirect, which is not followed: check the URL"),
            500..=599 => (Reason::Unavailable, "the vendor's server failed: if it lasts, ask the vendor"),
            _ => (Reason::Http, "unexpected HTTP status: check base_url"),
        };
        Self { reason, detail, status: Some(status), hold: Hold::None, place: None }
    }

    /// With the HTTP status of the answer.
    #[must_use]
    pub const fn with_status(mut self, status: u16) -> Self {
        self.status = Some(status);
        self
    }

    /// With a wait for the requests that come next.
    #[must_use]
    pub const fn with_hold(mut self, hold: Hold) -> Self {
        self.hold = hold;
        self
    }

    /// With a place in a file of the operator's.
    #[must_use]
    pub fn at(mut self, place: String) -> Self {
        self.place = Some(place);
        self
    }

    /// Whether it is the same thing again, which the log need not say twice.
    pub fn is_like(&self, next: &Self) -> bool {
        (self.reason, self.detail, &self.place) == (next.reason, next.detail, &next.place)
    }

    /// Whether asking for the next entity at once would only fail the same way.
    pub const fn ends_poll(&self) -> bool {
        matches!(self.reason, Reason::RateLimited | Reason::Quota | Reason::Internal)
    }

    /// The same, where all entities are asked for with the account's own credentials.
    pub const fn ends_account(&self) -> bool {
        self.ends_poll() || matches!(self.reason, Reason::Auth)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_status_says_what_to_do() {
        for (status, reason, advice) in [
            (200, Reason::Malformed, "check base_url"),
            (302, Reason::Http, "check the URL"),
            (401, Reason::Auth, "give a valid key or token"),
            (403, Reason::Unavailable, "check the account's rights"),
            (404, Reason::Http, "check base_url"),
            (407, Reason::Http, "proxy_url"),
            (418, Reason::Http, "check base_url"),
            (429, Reason::RateLimited, "longer intervals"),
            (503, Reason::Unavailable, "ask the vendor"),
        ] {
            let failure = Failure::from_status(status);
            assert!(failure.reason == reason && failure.detail.contains(advice), "{status}: {failure:?}");
        }
    }
}
