//! The program put together: state, accounts, poll tasks and web, from a checked configuration. Whoever starts it binds
//! the sockets and owns the stop signal. A new configuration is taken over while it runs: `fleet` exchanges the accounts
//! that it changes and leaves all others alone.

mod callbacks;
mod fleet;

use std::path::PathBuf;
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::client::{Http, Transport};
use crate::clock::Clock;
use crate::config::{self, Loaded};
use crate::health::Health;
use crate::ledger::Ledger;
use crate::ledger::redb::RedbStore;
use crate::ledger::store::{Store, StoreError};
use crate::page::Page;
use crate::poll::Workshop;
use crate::settings::{AccountSettings, SetupError};
use crate::web::{self, Access, Hooks, Reloader, Site};
use callbacks::Callbacks;
use fleet::{Fleet, Shared};

/// Why the program cannot start, or cannot take over a new configuration.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A secret or file that the configuration names.
    #[error(transparent)]
    Setup(#[from] SetupError),
    /// The state.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// What the program stands on. A test puts its own in the place of each.
pub struct Ground {
    /// Wall time.
    pub clock: Clock,
    /// Opens what counters are kept in.
    pub store: Box<dyn FnOnce() -> Result<Box<dyn Store>, StoreError>>,
    /// The way out of one account.
    pub transport: TransportMaker,
    /// Whether transactions leave the event loop while they wait for the disk.
    pub offload: bool,
}

/// Makes the transport of an account at this key path, from its settings and its `base_url`.
pub type TransportMaker =
    Box<dyn Fn(&AccountSettings, &str, &Url) -> Result<Box<dyn Transport>, SetupError> + Send + Sync>;

/// A program that is ready to run.
pub struct App {
    site: Arc<Site>,
    access: Arc<Access>,
    fleet: Fleet,
    callbacks: Callbacks,
    hooks: Option<TcpListener>,
    /// Whether there is such a listener.
    receives: bool,
    /// Where the configuration came from.
    file: PathBuf,
    state_path: PathBuf,
    reloads: mpsc::Receiver<oneshot::Sender<Result<(), String>>>,
}

impl App {
    /// Readies every account over the network and the state directory that `loaded` names.
    pub fn new(loaded: &Loaded, clock: &Clock, telemetry_path: &str) -> Result<Self, StartError> {
        let folder = loaded.folder.clone();
        let path = loaded.state_path();
        let ground = Ground {
            clock: clock.clone(),
            store: Box::new(move || Ok(Box::new(RedbStore::open(&path)?))),
            transport: Box::new(move |settings, at, base| Ok(Box::new(Http::new(settings, at, &folder, base)?))),
            offload: true,
        };
        Self::on(loaded, ground, telemetry_path)
    }

    /// Readies every account on ground of the caller's. Secrets are read before the state is opened: a configuration that
    /// cannot work should not make a state directory.
    pub fn on(loaded: &Loaded, ground: Ground, telemetry_path: &str) -> Result<Self, StartError> {
        let Ground { clock, store, transport, offload } = ground;
        let health = Health::default();
        let muster = fleet::ready(loaded, &clock, &health, &transport, |_, _| true)?;
        let ledger = Ledger::open(store()?, &loaded.state_path().display().to_string())?;
        let page = Arc::new(Page::new(0));
        let store = Workshop::new(offload);
        let callbacks = Callbacks::new(store.clone(), health.clone(), clock.clone());
        let shared = Shared {
            clock: clock.clone(),
            ledger: ledger.clone(),
            health: health.clone(),
            page: Arc::clone(&page),
            transport,
            store,
            encoder: Workshop::new(offload),
            callbacks: callbacks.clone(),
        };
        let mut fleet = Fleet::new(shared);
        let books = fleet.enlist(muster, &mut fleet::Places::new())?;
        ledger.forget_all_but(&books, clock.now())?;
        health.loaded(clock.now());
        let (reloader, reloads) = Reloader::new();
        let site = Arc::new(Site::new(page, health, clock, telemetry_path.to_owned(), reloader));
        Ok(Self {
            site,
            access: Access::open(),
            fleet,
            callbacks,
            hooks: None,
            receives: false,
            file: loaded.file.clone(),
            state_path: loaded.state_path(),
            reloads,
        })
    }

    /// Serves only those whom `access` lets in.
    #[must_use]
    pub fn guarded(self, access: Arc<Access>) -> Self {
        Self { access, ..self }
    }

    /// Takes vendors' callbacks on a listener of their own.
    #[must_use]
    pub fn receiving(self, hooks: TcpListener) -> Self {
        Self { hooks: Some(hooks), receives: true, ..self }
    }

    /// What is served.
    pub fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site)
    }

    /// Serves and polls until `stop`; lets open requests and transactions finish. Dropped, it ends at once.
    pub async fn run(mut self, listeners: Vec<TcpListener>, stop: CancellationToken) {
        let mut servers = JoinSet::new();
        for listener in listeners {
            servers.spawn(web::serve(listener, Arc::clone(&self.site), Arc::clone(&self.access), stop.clone()));
        }
        self.fleet.tell_callbacks(self.receives);
        self.fleet.receive().await;
        if let Some(listener) = self.hooks.take() {
            let hooks = Hooks::new(Box::new(self.callbacks.clone()));
            servers.spawn(web::serve_hooks(listener, hooks, Arc::clone(&self.access), stop.clone()));
        }
        self.fleet.start();
        loop {
            tokio::select! {
                () = stop.cancelled() => break,
                Some(answer) = self.reloads.recv() => {
                    let _ = answer.send(self.reload().await);
                }
            }
        }
        self.fleet.stop().await;
        while servers.join_next().await.is_some() {}
    }

    /// Reads the file again and takes over what it says, or nothing of it.
    async fn reload(&mut self) -> Result<(), String> {
        let file = self.file.clone();
        let loaded = tokio::task::spawn_blocking(move || config::load(&file)).await;
        let taken = match loaded {
            Ok(Ok(loaded)) => self.take_over(&loaded).await,
            Ok(Err(error)) => Err(error.to_string()),
            Err(_panic) => Err("the configuration could not be read: a fault of the exporter's".to_owned()),
        };
        let health = &self.site.health;
        match &taken {
            Ok(()) => {
                health.loaded(self.site.clock.now());
                tracing::info!(file = %self.file.display(), "configuration reloaded");
            }
            Err(error) => {
                health.load_failed();
                tracing::error!(file = %self.file.display(), %error, "configuration not reloaded, the old one goes on");
            }
        }
        taken
    }

    async fn take_over(&mut self, loaded: &Loaded) -> Result<(), String> {
        if loaded.state_path() != self.state_path {
            return Err(format!("{}: state.path: a new one needs a restart", self.file.display()));
        }
        loaded.tell_warnings();
        self.fleet.exchange(loaded).await.map_err(|error| error.to_string())?;
        self.fleet.tell_callbacks(self.receives);
        Ok(())
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "App({:?})", self.fleet)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::amount::Amount;
    use crate::catalogue::Family;
    use crate::client::{Answer, Request, TransportError};
    use crate::ledger::store::Writes;
    use crate::page::Value;

    /// Panics at what account `a` writes.
    #[derive(Default)]
    struct Trap(BTreeMap<String, Vec<u8>>);

    impl Store for Trap {
        fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
            let pairs = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
            Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
        }

        fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
            assert!(!writes.iter().any(|(key, _)| key.contains("\u{1f}a\u{1f}")), "the trap");
            self.0.extend(writes.iter().filter_map(|(key, value)| Some((key.clone(), value.clone()?))));
            Ok(())
        }
    }

    struct NoData;

    impl Transport for NoData {
        fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            let body = bytes::Bytes::from_static(b"{\"code\":200,\"data\":[]}");
            Box::pin(async { Ok(Answer { status: 200, retry_after: None, body }) })
        }
    }

    /// Panics at every request.
    struct Tripwire;

    impl Transport for Tripwire {
        fn send<'a>(&'a self, _: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
            Box::pin(async { panic!("tripped") })
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_report_that_panics_is_counted_and_polled_again() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("exporter.yml");
        let account =
            |name| format!("{{account: {name}, server: '0010', token: t, reports: {{agent_hold_mute: {{}}}}}}");
        std::fs::write(&file, format!("vendors: {{wolkvox: [{}, {}]}}", account("broken"), account("whole"))).unwrap();
        let ground = Ground {
            clock: Clock::scaled(jiff::Timestamp::UNIX_EPOCH, 1.0),
            store: Box::new(|| Ok(Box::<Trap>::default())),
            transport: Box::new(|settings, _, _| {
                Ok(if settings.account == "broken" {
                    Box::new(Tripwire) as Box<dyn Transport>
                } else {
                    Box::new(NoData)
                })
            }),
            offload: false,
        };
        let app = App::on(&crate::config::load(&file).unwrap(), ground, "/metrics").unwrap();
        let (site, stop) = (app.site(), CancellationToken::new());
        let running = tokio::spawn(app.run(Vec::new(), stop.clone()));
        tokio::time::sleep(Duration::from_mins(21)).await;
        let failures = |account: &str| {
            let mut reports = site.health.reports().into_iter();
            let (id, _) = reports.find(|(id, _)| *id.account == *account).unwrap();
            let samples = site.health.samples_of(&id).into_iter();
            let failures = samples.filter(|sample| {
                sample.family == Family::PollFailures
                    && !matches!(sample.value, Value::Counter(polls) if polls == Amount::whole(0))
            });
            failures.map(|sample| (format!("{:?}", sample.labels), sample.value)).collect::<Vec<_>>()
        };
        let broken = failures("broken");
        assert!(
            matches!(broken.as_slice(), [(labels, Value::Counter(polls))] if labels.contains("internal") && *polls >= Amount::whole(4)),
            "{broken:?}"
        );
        assert!(failures("whole").is_empty());
        stop.cancel();
        running.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_panic_in_one_task_leaves_the_others_alone() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("exporter.yml");
        let account =
            |name| format!("{{account: {name}, server: '0010', token: t, reports: {{agent_hold_mute: {{}}}}}}");
        std::fs::write(&file, format!("vendors: {{wolkvox: [{}, {}]}}", account("a"), account("b"))).unwrap();
        let loaded = crate::config::load(&file).unwrap();
        let clock = Clock::scaled(jiff::Timestamp::UNIX_EPOCH, 1.0);
        let ground = Ground {
            clock: clock.clone(),
            store: Box::new(|| Ok(Box::<Trap>::default())),
            transport: Box::new(|_, _, _| Ok(Box::new(NoData))),
            // The store's panic is then the task's.
            offload: false,
        };
        let app = App::on(&loaded, ground, "/metrics").unwrap();
        let (site, stop) = (app.site(), CancellationToken::new());
        let running = tokio::spawn(app.run(Vec::new(), stop.clone()));
        tokio::time::sleep(Duration::from_mins(61)).await;
        let last_success = site.health.reports().into_iter().map(|(id, report)| (id.account, report.last_success));
        let last_success: BTreeMap<_, _> = last_success.collect();
        assert_eq!(last_success["a"], None);
        let age = last_success["b"].map(|at| clock.now().duration_since(at).as_secs());
        assert!(age.is_some_and(|age| age <= 300), "{age:?}");
        stop.cancel();
        running.await.unwrap();
    }
}
