//! Where the agents' GUIDs come from: a file, a URL or a command, read anew at each poll because a GUID may live for two
//! minutes only. Here is decided what a usable source and a usable entry are. GUIDs and cookies are live credentials:
//! they become sensitive header values at once and stand in no error. What is asked with them is [`super::statistics`].

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::header::AUTHORIZATION;
use http::HeaderValue;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::client::{Answer, Client, Http, Lane, Request};
use crate::config::{Problems, SecretSource, Setup, SetupError, Tls};
use crate::failure::{Failure, Reason};

/// The name of the source's own requests on the metrics.
const API: &str = "guids";
/// A command may print so much.
const MAX_OUTPUT: u64 = 1 << 20;

/// `guids:` of an account: one of file, url and command.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// A JSON file; relative to the folder of exporter.yml.
    pub file: Option<PathBuf>,
    /// A URL that answers the JSON.
    pub url: Option<String>,
    /// Sent to `url` as `Authorization: Bearer …`.
    pub bearer_token: Option<SecretString>,
    /// The token in a file.
    pub bearer_token_file: Option<PathBuf>,
    /// The token in an environment variable.
    pub bearer_token_env: Option<String>,
    /// Trust in `url`; the account's own `tls` is about the gateway.
    pub tls: Option<Tls>,
    /// A program and its arguments that print the JSON.
    pub command: Option<Vec<String>>,
}

/// A source that is ready to be read.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    timeout: Duration,
}

enum Kind {
    File(PathBuf),
    Url { client: Client, lane: Lane, request: Request },
    Command { program: PathBuf, arguments: Vec<String> },
}

/// What one agent is asked with. Both never print.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The header `Guid`.
    pub guid: HeaderValue,
    /// The header `Cookie`, for gateways behind a load balancer; never shared between agents.
    pub cookie: Option<HeaderValue>,
}

/// What a source gave.
#[derive(Debug, Default)]
pub struct Guids {
    /// The agents that can be asked.
    pub agents: BTreeMap<u32, Credentials>,
    /// All agents that the source names, those with an unusable GUID too.
    pub named: BTreeSet<u32>,
    /// The entries that cannot be used.
    pub failures: Vec<Failure>,
}

/// The entries in the order of the source, not yet looked into: a bad one must not spoil the others.
struct Entries<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(Deserialize)]
#[serde(untagged)]
enum Entry {
    Guid(String),
    WithCookie { guid: String, cookie: Option<String> },
}

// === impl Config ===

impl Config {
    fn bearer_token(&self) -> Option<SecretSource<'_>> {
        let source = SecretSource {
            key: "bearer_token",
            inline: self.bearer_token.as_ref(),
            file: self.bearer_token_file.as_ref(),
            env: self.bearer_token_env.as_ref(),
        };
        (source.inline.is_some() || source.file.is_some() || source.env.is_some()).then_some(source)
    }

    /// Adds what is wrong; `at` is the key path of `guids`.
    pub fn check(&self, at: &str, problems: &mut Problems) {
        let Self { file, url, tls, command, .. } = self;
        let given = usize::from(file.is_some()) + usize::from(url.is_some()) + usize::from(command.is_some());
        if given != 1 {
            problems.add(at, "give exactly one of file, url and command");
        } else if url.is_none() && (tls.is_some() || self.bearer_token().is_some()) {
            problems.add(at, "bearer_token and tls belong to url");
        }
        if let Some(file) = file
            && let path = problems.folder.join(file)
            && !path.exists()
        {
            problems.warn(&format!("{at}.file"), format!("no such file: {}", path.display()));
        }
        if let Some(text) = url {
            let path = format!("{at}.url");
            match web_url(text) {
                None => problems.add(&path, NO_URL),
                Some(url) if url.scheme() == "http" && !is_loopback(&url) => {
                    problems.warn(&path, "GUIDs are credentials and travel unencrypted over http");
                }
                Some(_) => {}
            }
            if let Some(token) = self.bearer_token() {
                let folder = problems.folder.clone();
                token.check(at, &folder, problems);
            }
        }
        if command.as_ref().is_some_and(|words| words.first().is_none_or(String::is_empty)) {
            problems.add(&format!("{at}.command"), "name the program: [program, argument, …]");
        }
    }

    /// Readies the source.
    pub fn source(&self, setup: &Setup<'_>) -> Result<Source, SetupError> {
        let at = format!("{}.guids", setup.at);
        let fail = |message: &str| SetupError { path: at.clone(), message: message.to_owned() };
        let kind = match (&self.file, &self.url, self.command.as_deref()) {
            (Some(file), None, None) => Kind::File(setup.folder.join(file)),
            (None, Some(text), None) => {
                let url = web_url(text).ok_or_else(|| fail(NO_URL))?;
                let mut settings = setup.client.settings().clone();
                settings.tls = self.tls.clone().unwrap_or_default();
                // The source is the operator's own: the way out to the vendor is not the way to it.
                settings.proxy_url = None;
                let transport = Http::new(&settings, &at, setup.folder, &url)?;
                let client = setup.client.beside(settings, Box::new(transport));
                let lane = client.free_lane(API);
                let mut request = Request::get(url);
                if let Some(source) = self.bearer_token() {
                    let token = source.read(&at, setup.folder)?;
                    request = request
                        .secret_header(AUTHORIZATION, &format!("Bearer {}", token.expose_secret()))
                        .map_err(|failure| fail(failure.detail))?;
                }
                Kind::Url { client, lane, request }
            }
            (None, None, Some([program, arguments @ ..])) => {
                // A bare name is looked up in PATH, a path is relative to the file's folder as everywhere.
                let path = Path::new(program);
                let bare = path.components().count() == 1;
                let program = if bare { path.to_owned() } else { setup.folder.join(path) };
                Kind::Command { program, arguments: arguments.to_vec() }
            }
            _ => return Err(fail("give exactly one of file, url and command")),
        };
        Ok(Source { kind, timeout: setup.client.settings().timeout })
    }
}

const NO_URL: &str = "expected an http or https URL without user name and password";

/// An http or https URL in which no password stands: it would print.
pub(super) fn web_url(text: &str) -> Option<url::Url> {
    let plain = |url: &url::Url| url.username().is_empty() && url.password().is_none();
    text.parse::<url::Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host() && plain(url))
}

fn is_loopback(url: &url::Url) -> bool {
    match url.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(ip)) => ip.is_loopback(),
        Some(url::Host::Ipv6(ip)) => ip.is_loopback(),
        None => false,
    }
}

// === impl Source ===

impl Source {
    /// Reads the source as it is now.
    pub async fn read(&self) -> Result<Guids, Failure> {
        match &self.kind {
            Kind::File(path) => {
                let read = tokio::time::timeout(self.timeout, tokio::fs::read(path)).await;
                let bytes = read
                    .map_err(|_| Failure::new(Reason::Timeout, "the GUID file could not be read within the timeout"))?
                    .map_err(|_| Failure::new(Reason::Config, "the GUID file cannot be read"))?;
                parse(&bytes)
            }
            Kind::Url { client, lane, request } => client.ask(lane, request, answered).await.map_err(reword),
            Kind::Command { program, arguments } => {
                let printed = tokio::time::timeout(self.timeout, run(program, arguments)).await;
                parse(&printed.map_err(|_| {
                    Failure::new(Reason::Timeout, "the GUID command did not finish within the timeout")
                })??)
            }
        }
    }
}

async fn run(program: &Path, arguments: &[String]) -> Result<Vec<u8>, Failure> {
    let failed = |_| Failure::new(Reason::Config, "the GUID command cannot be run");
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        // What it complains about could hold a GUID.
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .map_err(failed)?;
    let mut printed = Vec::new();
    if let Some(stdout) = child.stdout.take() {
        stdout.take(MAX_OUTPUT + 1).read_to_end(&mut printed).await.map_err(failed)?;
    }
    if printed.len() as u64 > MAX_OUTPUT {
        return Err(Failure::new(Reason::Config, "the GUID command printed more than 1 MiB"));
    }
    if !child.wait().await.map_err(failed)?.success() {
        return Err(Failure::new(Reason::Config, "the GUID command failed"));
    }
    Ok(printed)
}

fn answered(answer: &Answer) -> Result<Guids, Failure> {
    if (200..300).contains(&answer.status) { parse(&answer.body) } else { Err(Failure::from_status(answer.status)) }
}

/// The client's own words are about the vendor; this is another machine.
fn reword(failure: Failure) -> Failure {
    let detail = match failure.reason {
        Reason::Auth => "the GUID source refused the bearer token",
        Reason::Network => "no connection to the GUID source",
        Reason::Timeout => "the GUID source did not answer within the timeout",
        Reason::Tls => "the TLS handshake with the GUID source failed: check guids.tls and its certificate",
        Reason::Config | Reason::Malformed => failure.detail,
        _ => "the GUID source answered with an HTTP error",
    };
    Failure { detail, ..failure }
}

impl fmt::Debug for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::File(_) => "file",
            Self::Url { .. } => "url",
            Self::Command { .. } => "command",
        })
    }
}

// === impl Guids ===

/// Reads `{"101":"<guid>"}` or `{"101":{"guid":"…","cookie":"…"}}`.
pub fn parse(bytes: &[u8]) -> Result<Guids, Failure> {
    let Entries(entries) = serde_json::from_slice(bytes)
        .map_err(|_| Failure::new(Reason::Config, "the GUID source is no JSON object of agent ids and GUIDs"))?;
    let mut guids = Guids::default();
    for (index, (id, raw)) in entries.iter().enumerate() {
        let bad = |detail| Failure::new(Reason::Config, detail).at(format!("entry {}", index + 1));
        let Some(id) = agent_id(id) else {
            guids.failures.push(bad("an agent id of the GUID source is no number from 101 to 999999"));
            continue;
        };
        // An agent that is named twice could be asked twice at once.
        if !guids.named.insert(id) {
            guids.failures.push(bad("the GUID source names an agent twice"));
            continue;
        }
        match serde_json::from_str(raw.get()).ok().and_then(Entry::credentials) {
            Some(credentials) => {
                guids.agents.insert(id, credentials);
            }
            None => guids.failures.push(bad("an agent of the GUID source has no usable GUID")),
        }
    }
    Ok(guids)
}

/// 101 to 999999; one spelling only, because it becomes part of a URL.
fn agent_id(text: &str) -> Option<u32> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && !text.starts_with('0');
    text.parse().ok().filter(|id| plain && (101..=999_999).contains(id))
}

impl Entry {
    fn credentials(self) -> Option<Credentials> {
        let (guid, cookie) = match self {
            Self::Guid(guid) => (guid, None),
            Self::WithCookie { guid, cookie } => (guid, cookie),
        };
        let guid = guid.trim();
        let guid = guid.strip_prefix("JSESSIONID=").unwrap_or(guid);
        let cookie = cookie.as_deref().map(str::trim).filter(|cookie| !cookie.is_empty());
        Some(Credentials {
            guid: sensitive(guid).filter(|_| !guid.is_empty())?,
            cookie: match cookie {
                Some(cookie) => Some(sensitive(cookie)?),
                None => None,
            },
        })
    }
}

fn sensitive(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

impl<'de> Deserialize<'de> for Entries<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'de>, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms_of_an_entry_are_read_and_never_print() {
        let guids = parse(include_bytes!("../../../tests/fixtures/huawei/guids.json")).unwrap();
        let read: Vec<_> = guids
            .agents
            .iter()
            .map(|(id, Credentials { guid, cookie })| (*id, guid.to_str().unwrap(), cookie.as_ref().map(|c| c.to_str().unwrap())))
            .collect();
        assert_eq!(
            read,
            [
                (101, "5b1f7a20-3c4d-4e5f-8a9b-0c1d2e3f4a5b.AgentGateway0", None),
                (4402, "7d2c9b31-1a2b-4c3d-9e8f-6a5b4c3d2e1f.AgentGateway1", Some("route=gw1")),
                (999_999, "9e3d8c42-2b3c-4d4e-8f7a-5b4c3d2e1f0a.AgentGateway0", None),
            ]
        );
        let shown = format!("{guids:?}");
        assert!(!shown.contains("AgentGateway") && !shown.contains("route"), "{shown}");
    }

    #[test]
    fn a_bad_entry_is_told_by_its_place_and_the_others_go_on() {
        let text = include_str!("../../../tests/fixtures/huawei/guids_bad_entries.json");
        let guids = parse(text.as_bytes()).unwrap();
        assert_eq!(guids.agents.keys().copied().collect::<Vec<_>>(), [102, 103]);
        // An agent whose GUID is empty is still named.
        assert_eq!(guids.named.iter().copied().collect::<Vec<_>>(), [102, 103, 104, 105, 106, 107, 108]);
        let places: Vec<_> = guids.failures.iter().map(|failure| failure.place.clone().unwrap_or_default()).collect();
        let expected: Vec<_> = [1, 2, 3, 4, 7, 8, 9, 10, 11, 12].iter().map(|n| format!("entry {n}")).collect();
        assert_eq!(places, expected);
        assert!(guids.failures.iter().all(|failure| failure.reason == Reason::Config));
        let shown = format!("{:?}", guids.failures);
        assert!(!shown.contains("CANARY") && !shown.contains("1000000"), "{shown}");
    }

    #[test]
    fn what_is_no_object_is_refused() {
        for text in ["", "[]", "\"x\"", "{\"101\":", "{\"101\":\"a\"} x", "<html>", "null"] {
            assert_eq!(parse(text.as_bytes()).unwrap_err().reason, Reason::Config, "{text}");
        }
        assert!(parse(b"{}").unwrap().agents.is_empty());
    }
}
