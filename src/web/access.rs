//! Who may ask, over what, and how often: what `--web.config.file` says now. The file and those that it names are read again
//! while the program runs, at most once a second and only when somebody asks; they are parsed only if a byte changed, and
//! what is wrong changes nothing.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::Duration;

use arc_swap::ArcSwap;
use http::{HeaderMap, StatusCode};
use rustls::ServerConfig;
use sha2::{Digest as _, Sha256};
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

use super::auth::{Passwords, Users, Verdict};
use super::config::{self, Checked, RateLimit, WebConfig};
use super::tls;
use super::{HEALTHY, READY};
use crate::config::ConfigError;
use crate::settings::Problem;

/// The files are read no more often.
const READ_PERIOD: Duration = Duration::from_secs(1);

/// Why the file of `--web.config.file` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum WebConfigError {
    /// It is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A certificate or key that it names.
    #[error("{file}: {place}: {message}")]
    File {
        /// The file of `--web.config.file`.
        file: String,
        /// Key path.
        place: String,
        /// What is wrong, with the path that it is wrong with.
        message: String,
    },
}

/// What every connection and request has to pass.
pub struct Access {
    file: Option<PathBuf>,
    exempt_health: bool,
    rules: ArcSwap<Rules>,
    passwords: Passwords,
    fixed: Fixed,
    bucket: Option<Bucket>,
    looked: Mutex<Instant>,
    seen: Mutex<Seen>,
}

/// What may change while the program runs.
#[derive(Default)]
struct Rules {
    tls: Option<Arc<ServerConfig>>,
    users: Option<Users>,
    headers: HeaderMap,
    /// Whether clients have to show a certificate,
    certificate: bool,
    /// and one with a certain name.
    names: bool,
}

/// What stays as it was at the start, as in the toolkit; TLS too, as a listener cannot turn it on or off without cutting
/// somebody off.
#[derive(Debug, Clone, Copy, Default)]
struct Fixed {
    tls: bool,
    http2: bool,
    rate_limit: Option<RateLimit>,
}

/// The files as they were last time, whether they were of use or not.
#[derive(Debug, Default)]
struct Seen {
    digest: Option<[u8; 32]>,
    /// The certificates and keys.
    files: Vec<PathBuf>,
}

/// `rate_limit`: a token comes every `interval`, `burst` are kept, a request takes one.
#[derive(Debug)]
struct Bucket {
    interval: Duration,
    burst: f64,
    tokens: Mutex<(f64, Instant)>,
}

// === impl Access ===

impl Access {
    /// Everybody may ask, in plain text.
    pub fn open() -> Arc<Self> {
        Arc::new(Self::with(None, false, Rules::default(), Fixed::default(), Seen::default()))
    }

    /// As `file` says. With `exempt_health` nobody needs a password for the health paths.
    pub fn load(file: &Path, exempt_health: bool) -> Result<Arc<Self>, WebConfigError> {
        let mut seen = Seen::default();
        let (rules, fixed) = seen.load(file, None)?;
        Ok(Arc::new(Self::with(Some(file.to_owned()), exempt_health, rules, fixed, seen)))
    }

    fn with(file: Option<PathBuf>, exempt_health: bool, rules: Rules, fixed: Fixed, seen: Seen) -> Self {
        Self {
            file,
            exempt_health,
            rules: ArcSwap::from_pointee(rules),
            passwords: Passwords::new(),
            fixed,
            bucket: fixed.rate_limit.and_then(Bucket::new),
            looked: Mutex::new(Instant::now()),
            seen: Mutex::new(seen),
        }
    }

    /// Whether connections are encrypted.
    pub fn tls(&self) -> bool {
        self.fixed.tls
    }

    /// What makes the handshake of a new connection, if there is to be one.
    pub(super) async fn acceptor(self: &Arc<Self>) -> Option<TlsAcceptor> {
        if !self.fixed.tls {
            return None;
        }
        if let Some(looking) = self.refresh() {
            let _ = looking.await;
        }
        self.rules.load().tls.clone().map(TlsAcceptor::from)
    }

    /// Status and words for a request that is not to be answered.
    pub(super) async fn refuse(
        self: &Arc<Self>,
        path: &str,
        headers: &HeaderMap,
    ) -> Option<(StatusCode, &'static str)> {
        let health = matches!(path, HEALTHY | READY);
        let free = health && (self.exempt_health || self.rules.load().users.is_none());
        // Whoever finds a change waits until it holds, but what the file system does is nothing to health.
        if let Some(looking) = self.refresh()
            && !free
        {
            let _ = looking.await;
        }
        let rules = self.rules.load_full();
        let users = rules.users.as_ref().filter(|_| !(health && self.exempt_health));
        // Health is always answered, but nobody may guess passwords there.
        let counts = !health || users.is_some_and(|users| self.passwords.is_dear(users, headers));
        if counts && self.bucket.as_ref().is_some_and(|bucket| !bucket.take()) {
            return Some((StatusCode::TOO_MANY_REQUESTS, "more requests than the rate limit allows\n"));
        }
        let users = users?;
        match self.passwords.check(users, headers).await {
            Verdict::Known => None,
            Verdict::Unknown => Some((StatusCode::UNAUTHORIZED, "a user and a password are needed\n")),
            Verdict::Busy => Some((StatusCode::SERVICE_UNAVAILABLE, "too many passwords to compare at once\n")),
        }
    }

    /// Adds what every answer carries.
    pub(super) fn dress(&self, headers: &mut HeaderMap) {
        headers.extend(self.rules.load().headers.clone());
    }

    /// Looks whether the files changed, unless somebody did just now.
    fn refresh(self: &Arc<Self>) -> Option<JoinHandle<()>> {
        if self.file.is_none() || !self.due() {
            return None;
        }
        let access = Arc::clone(self);
        // All of it there: a caller that goes away must not take a change along.
        Some(tokio::task::spawn_blocking(move || access.look()))
    }

    fn due(&self) -> bool {
        let mut looked = self.looked.lock().unwrap_or_else(PoisonError::into_inner);
        let due = looked.elapsed() >= READ_PERIOD;
        if due {
            *looked = Instant::now();
        }
        due
    }

    fn look(&self) {
        let Some(file) = &self.file else { return };
        let mut seen = match self.seen.try_lock() {
            Ok(seen) => seen,
            Err(TryLockError::Poisoned(seen)) => seen.into_inner(),
            // On a file system that hangs: more of them would only wait behind the first.
            Err(TryLockError::WouldBlock) => return,
        };
        if !seen.change(file) {
            return;
        }
        match seen.load(file, Some((self.fixed, &self.rules.load_full()))) {
            Ok((rules, _)) => {
                self.rules.store(Arc::new(rules));
                tracing::info!(file = %file.display(), "web configuration read again");
            }
            Err(error) => {
                tracing::error!(file = %file.display(), %error, "web configuration not read again, the last good one goes on");
            }
        }
    }
}

// === impl Rules ===

impl Rules {
    /// Place and reason, if `config` no longer asks for what is asked for now: that looks the same as a file that is only half written.
    fn opened(&self, config: &WebConfig) -> Option<(&'static str, &'static str)> {
        let (certificate, names) = config.asks();
        if self.users.is_some() && config.basic_auth_users.is_none() {
            Some(("basic_auth_users", "passwords are turned off by a restart or by {} only"))
        } else if self.certificate && !certificate {
            Some(("tls_server_config.client_auth_type", "certificates of clients become optional by a restart only"))
        } else if self.names && !names {
            Some(("tls_server_config.client_allowed_sans", "any name becomes allowed by a restart only"))
        } else {
            None
        }
    }
}

// === impl Seen ===

impl Seen {
    /// Whether anything is other than last time; it is noted.
    fn change(&mut self, file: &Path) -> bool {
        let now = digest(std::fs::read(file).ok().as_deref(), &self.files);
        self.digest.replace(now) != Some(now)
    }

    /// Puts the file to use, beside what stays as it was if the program runs already.
    fn load(&mut self, file: &Path, running: Option<(Fixed, &Rules)>) -> Result<(Rules, Fixed), WebConfigError> {
        let checked = config::load(file)?;
        self.files = checked.config.tls_server_config.iter().flat_map(config::Tls::files).collect();
        // Before they are read for use, so that what changes in between is found next time.
        self.digest = Some(digest(Some(checked.text.as_bytes()), &self.files));
        let fixed = Fixed {
            tls: checked.config.tls_server_config.is_some(),
            http2: checked.config.http2(),
            rate_limit: checked.config.rate_limit,
        };
        if let Some((running, before)) = running {
            // Half written, as a file is that an editor has cut to write it anew, it would open every door.
            if checked.empty {
                let message = "nothing stands in it".to_owned();
                return Err(ConfigError::Read { file: file.display().to_string(), message }.into());
            }
            if fixed.tls != running.tls {
                let message = "TLS is turned on or off by a restart only";
                return Err(checked.refused("tls_server_config", message.to_owned()).into());
            }
            if let Some((place, message)) = before.opened(&checked.config) {
                return Err(checked.refused(place, message.to_owned()).into());
            }
        }
        let rules = rules(&checked, running.map_or(fixed, |(running, _)| running).http2).map_err(|refusal| {
            if refusal.elsewhere {
                let file = file.display().to_string();
                WebConfigError::File { file, place: refusal.place, message: refusal.message }
            } else {
                checked.refused(&refusal.place, refusal.message).into()
            }
        })?;
        tell(file, &checked.warnings);
        Ok((rules, fixed))
    }
}

fn rules(checked: &Checked, http2: bool) -> Result<Rules, tls::Refusal> {
    let config = &checked.config;
    let tls = config.tls_server_config.as_ref().map(|tls| tls::server(tls, http2)).transpose()?;
    let users = config.basic_auth_users.clone().and_then(Users::new);
    let (certificate, names) = config.asks();
    Ok(Rules { tls: tls.map(Arc::new), users, headers: config.headers(), certificate, names })
}

fn tell(file: &Path, warnings: &[Problem]) {
    for warning in warnings {
        tracing::warn!(file = %file.display(), %warning, "web configuration");
    }
}

/// Equal if nobody changed a byte. A file that cannot be read is like no file.
fn digest(text: Option<&[u8]>, files: &[PathBuf]) -> [u8; 32] {
    let mut digest = Sha256::new();
    let mut add = |content: Option<&[u8]>| {
        digest.update([u8::from(content.is_some())]);
        digest.update(content.map_or(0, <[u8]>::len).to_be_bytes());
        digest.update(content.unwrap_or_default());
    };
    add(text);
    for file in files {
        add(std::fs::read(file).ok().as_deref());
    }
    digest.finalize().into()
}

// === impl Bucket ===

impl Bucket {
    /// No limit without an interval.
    fn new(limit: RateLimit) -> Option<Self> {
        let interval = limit.interval?.0;
        let burst = f64::from(limit.burst);
        (!interval.is_zero()).then(|| Self { interval, burst, tokens: Mutex::new((burst, Instant::now())) })
    }

    fn take(&self) -> bool {
        let mut tokens = self.tokens.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let came = now.duration_since(tokens.1).as_secs_f64() / self.interval.as_secs_f64();
        *tokens = ((tokens.0 + came).min(self.burst), now);
        let taken = tokens.0 >= 1.0;
        if taken {
            tokens.0 -= 1.0;
        }
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::Span;

    /// A pipe to which nobody writes hangs as a file system does whose server is gone.
    #[tokio::test]
    async fn a_file_system_that_hangs_holds_nobody_up() {
        let folder = tempfile::tempdir().unwrap();
        let (file, pipe, next) =
            (folder.path().join("web.yml"), folder.path().join("pipe"), folder.path().join("next"));
        std::fs::write(&file, "").unwrap();
        std::fs::write(&next, "http_server_config: { headers: { X-Frame-Options: deny } }\n").unwrap();
        let access = Access::load(&file, false).unwrap();
        assert!(std::process::Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        std::fs::rename(&pipe, &file).unwrap();
        let ask = async |path: &str| {
            *access.looked.lock().unwrap() -= READ_PERIOD;
            let headers = HeaderMap::new();
            matches!(tokio::time::timeout(Duration::from_secs(2), access.refuse(path, &headers)).await, Ok(None))
        };
        let health = ask(HEALTHY).await;
        // Opened as soon as the other end is.
        let (tell, opened) = tokio::sync::oneshot::channel();
        let pipe = file.clone();
        std::thread::spawn(move || tell.send(std::fs::File::options().write(true).open(pipe)));
        let writer =
            tokio::time::timeout(Duration::from_secs(30), opened).await.expect("nobody looks").unwrap().unwrap();
        let (metrics, again) = (ask("/metrics").await, ask(HEALTHY).await);
        // It goes on before anything is asserted: the test would hang too.
        std::fs::rename(&next, &file).unwrap();
        drop(writer);
        assert!(health, "health waits for the file");
        assert!(metrics && again, "the others wait behind it");
        let deadline = Instant::now() + Duration::from_secs(30);
        while access.rules.load().headers.is_empty() {
            assert!(Instant::now() < deadline, "the change is never found");
            ask("/metrics").await;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_and_then_one_per_interval() {
        let limit = RateLimit { interval: Some(Span(Duration::from_secs(2))), burst: 3 };
        let bucket = Bucket::new(limit).unwrap();
        let many = || (0..10).filter(|_| bucket.take()).count();
        assert_eq!((many(), many()), (3, 0));
        for (seconds, expected) in [(1, 0), (1, 1), (4, 2), (60, 3)] {
            tokio::time::sleep(Duration::from_secs(seconds)).await;
            assert_eq!(many(), expected, "after {seconds} s");
        }
        for off in [None, Some(Span(Duration::ZERO))] {
            assert!(Bucket::new(RateLimit { interval: off, burst: 3 }).is_none());
        }
    }
}
