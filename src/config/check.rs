//! What the file as a whole, and the keys that any account or report may carry, have to be. What a vendor's own keys have
//! to be is checked in the vendor's room, and whether the requests fit the limits in [`super::plan`].

use std::collections::BTreeMap;
use std::time::Duration;

use serde_yaml::Value;
use url::{Host, Url};

use super::{AgentLabel, Config, Labels};
use crate::settings::Problems;
use crate::settings::SecretSource;

/// More requests than this at once no vendor bears.
const MAX_IN_FLIGHT: u64 = 1000;

/// Adds all that is wrong. `tree` is the same file, unread.
pub(super) fn check(config: &Config, tree: &Value, problems: &mut Problems) {
    if config.state.path.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
        problems.add("state.path", "expected a directory");
    }
    config.labels.check(problems);
    let accounts = config.vendors.accounts();
    if accounts.is_empty() {
        problems.add("vendors", "give at least one account");
    }
    let mut names = BTreeMap::new();
    for (at, account) in &accounts {
        let name = account.settings().account;
        if name.trim().is_empty() {
            problems.add(&format!("{at}.account"), "expected a name");
        } else if let Some(first) = names.insert(name, at) {
            problems.add(&format!("{at}.account"), format!("{first} has this name already; names are unique"));
        }
        if account.plan().is_empty() {
            problems.add(&format!("{at}.reports"), "give at least one report");
        }
        account.check(at, problems);
    }
    if let Some(vendors) = tree.get("vendors") {
        walk(vendors, "vendors", problems);
    }
}

/// Finds the keys that any account or report may carry where they stand in the file: no vendor can forget to check them.
fn walk(value: &Value, at: &str, problems: &mut Problems) {
    if let Some(mapping) = value.as_mapping() {
        for (key, value) in mapping {
            let Some(key) = key.as_str() else { continue };
            let at = format!("{at}.{key}");
            check_key(key, value, &at, problems);
            walk(value, &at, problems);
        }
    }
    for (index, item) in value.as_sequence().into_iter().flatten().enumerate() {
        walk(item, &format!("{at}[{index}]"), problems);
    }
}

fn check_key(key: &str, value: &Value, at: &str, problems: &mut Problems) {
    let text = value.as_str();
    let shorter_than =
        |least| text.and_then(|text| humantime::parse_duration(text).ok()).is_some_and(|span| span < least);
    match key {
        "interval" if shorter_than(Duration::from_secs(1)) => problems.add(at, "expected at least 1s"),
        "timeout" | "stale_after" | "settle" if shorter_than(Duration::from_nanos(1)) => {
            problems.add(at, "expected more than 0s");
        }
        "max_in_flight" if value.as_u64().is_some_and(|n| !(1..=MAX_IN_FLIGHT).contains(&n)) => {
            problems.add(at, format!("expected a whole number from 1 to {MAX_IN_FLIGHT}"));
        }
        // Some vendors are stricter and have said so.
        "base_url" if problems.errors.iter().any(|problem| problem.path == at) => {}
        "base_url" => check_base_url(text.unwrap_or_default(), at, problems),
        "proxy_url" if web_url(text.unwrap_or_default()).is_none() => problems.add(at, EXPECTED_URL),
        "server_name" if text.is_none_or(|name| Host::parse(name).is_err()) => {
            problems.add(at, "expected a host name");
        }
        "insecure_skip_verify" if value.as_bool() == Some(true) => {
            problems.warn(at, "anyone on the way can read and change what is sent");
        }
        "ca_file" => {
            let path = problems.folder.join(text.unwrap_or_default());
            if !path.is_file() {
                problems.warn(at, format!("no such file: {}", path.display()));
            }
        }
        "reports" => {
            for (name, report) in value.as_mapping().into_iter().flatten() {
                if let (Some(name), Value::Null) = (name.as_str(), report) {
                    problems.add(&format!("{at}.{name}"), "is empty: give {} for the defaults, or leave it out");
                }
            }
        }
        _ => {}
    }
}

const EXPECTED_URL: &str = "expected an http or https URL with a host";

fn web_url(text: &str) -> Option<Url> {
    Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
}

fn check_base_url(text: &str, at: &str, problems: &mut Problems) {
    let Some(url) = web_url(text) else { return problems.add(at, EXPECTED_URL) };
    if !url.username().is_empty() || url.password().is_some() {
        problems.add(at, "must not hold credentials: they have keys of their own");
    }
    if url.query().is_some() || url.fragment().is_some() {
        problems.add(at, "must end with the host or a path, without ? and #");
    }
    let loopback = match url.host() {
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        Some(Host::Domain(name)) => name == "localhost",
        None => false,
    };
    if url.scheme() == "http" && !loopback {
        problems.warn(at, "http sends credentials and answers unencrypted");
    }
}

// === impl Labels ===

impl Labels {
    /// Where the key of `agent: pseudonym` comes from.
    pub const fn pseudonym_source(&self) -> SecretSource<'_> {
        SecretSource {
            key: "pseudonym_key",
            inline: self.pseudonym_key.as_ref(),
            file: self.pseudonym_key_file.as_ref(),
            env: self.pseudonym_key_env.as_ref(),
        }
    }

    fn check(&self, problems: &mut Problems) {
        let source = self.pseudonym_source();
        if self.agent == AgentLabel::Pseudonym {
            let folder = problems.folder.clone();
            source.check("labels", &folder, problems);
        } else if source.inline.is_some() || source.file.is_some() || source.env.is_some() {
            problems.warn("labels", "the pseudonym key is used with agent: pseudonym only");
        }
    }
}
