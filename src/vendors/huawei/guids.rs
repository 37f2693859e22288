//! Where the agents' GUIDs come from: a file, a URL or a command, read anew at each poll because a GUID may live for two
//! minutes only. Here is decided what a usable source is and how it is read; what stands in it, in [`entries`]. GUIDs and
//! cookies are live credentials: they become sensitive header values at once and stand in no error.

pub mod entries;

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use http::header::AUTHORIZATION;
use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::io::AsyncReadExt as _;
use tokio::process::Command;

use crate::client::{Answer, Client, Http, Lane, Request};
use crate::failure::{Failure, Reason};
use crate::settings::{Hidden, Problems, SecretSource, SetupError, Tls};
use crate::vendors::Setup;
pub use entries::{Credentials, Guids, parse};

/// The name of the source's own requests on the metrics.
const API: &str = "guids";
/// A command may print so much: ten times what ten thousand agents with cookies need.
const MAX_OUTPUT: u64 = 16 << 20;

/// `guids:` of an account: one of file, url and command.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Guids")]
pub struct Config {
    /// A JSON file; relative to the folder of exporter.yml.
    pub file: Option<PathBuf>,
    /// A URL that answers the JSON.
    pub url: Option<Hidden<String>>,
    /// Sent to `url` as `Authorization: Bearer …`.
    #[schemars(with = "Option<String>")]
    pub bearer_token: Option<SecretString>,
    /// The token in a file.
    pub bearer_token_file: Option<PathBuf>,
    /// The token in an environment variable.
    pub bearer_token_env: Option<String>,
    /// Trust in `url`; the account's own `tls` is about the gateway.
    pub tls: Option<Tls>,
    /// A program and its arguments that print the JSON.
    pub command: Option<Hidden<Vec<String>>>,
}

/// A source that is ready to be read.
#[derive(Debug)]
pub struct Source {
    kind: Kind,
    timeout: Duration,
}

enum Kind {
    File(PathBuf),
    Url { client: Client, lane: Lane, request: Box<Request> },
    Command { program: PathBuf, arguments: Vec<String> },
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
        if let Some(file) = file {
            let path = problems.folder.join(file);
            problems.check_secret_file(&format!("{at}.file"), &path);
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
        let kind = match (&self.file, &self.url, self.command.as_ref().map(|command| command.as_slice())) {
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
                Kind::Url { client, lane, request: Box::new(request) }
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
                    .map_err(|_| {
                        Failure::new(
                            Reason::Timeout,
                            "the GUID file could not be read within the timeout: does its file system hang?",
                        )
                    })?
                    .map_err(|_| {
                        Failure::new(
                            Reason::Config,
                            "the GUID file cannot be read: check guids.file and that this user may read it",
                        )
                    })?;
                parse(&bytes)
            }
            Kind::Url { client, lane, request } => client.ask(lane, request, answered).await.map_err(reword),
            Kind::Command { program, arguments } => {
                let printed = tokio::time::timeout(self.timeout, run(program, arguments)).await;
                parse(&printed.map_err(|_| {
                    Failure::new(
                        Reason::Timeout,
                        "the GUID command did not finish within the timeout: raise timeout, or make it faster",
                    )
                })??)
            }
        }
    }
}

async fn run(program: &Path, arguments: &[String]) -> Result<Vec<u8>, Failure> {
    let failed = |_| {
        Failure::new(
            Reason::Config,
            "the GUID command cannot be run: check guids.command and that this user may execute it",
        )
    };
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
        return Err(Failure::new(Reason::Config, "the GUID command printed more than 16 MiB"));
    }
    if !child.wait().await.map_err(failed)?.success() {
        return Err(Failure::new(Reason::Config, "the GUID command failed: run it as the exporter's user to see why"));
    }
    Ok(printed)
}

fn answered(answer: &Answer) -> Result<Guids, Failure> {
    if (200..300).contains(&answer.status) { parse(&answer.body) } else { Err(Failure::from_status(answer.status)) }
}

/// The client's own words are about the vendor; this is another machine.
fn reword(failure: Failure) -> Failure {
    let detail = match failure.reason {
        Reason::Auth => "the GUID source refused the bearer token: give a valid one, and reload",
        Reason::Network => "no connection to the GUID source: check guids.url and the firewall",
        Reason::Timeout => "the GUID source did not answer within the timeout: if it lasts, raise timeout",
        Reason::Tls => "the TLS handshake with the GUID source failed: check guids.tls and its certificate",
        Reason::Config | Reason::Malformed => failure.detail,
        _ => "the GUID source answered with an HTTP error: check guids.url",
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
