//! The program put together: state, accounts, poll tasks and web, from a checked configuration. Whoever starts it binds
//! the sockets and owns the stop signal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::client::{Client, Http, Transport};
use crate::clock::Clock;
use crate::config::{Config, Loaded};
use crate::health::{Health, ReportId};
use crate::ledger::Ledger;
use crate::ledger::redb::RedbStore;
use crate::ledger::store::{Store, StoreError};
use crate::page::Page;
use crate::poll::Task;
use crate::settings::{AccountSettings, AgentLabel, SetupError};
use crate::vendors::{Account, Setup};
use crate::vendors::{Calendar, ReportSetup};
use crate::web::{self, Site};

/// First polls are spread over this, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(5);
/// No poll is earlier: a first request readies TLS, and the first scrape should not wait for that.
const FIRST_POLL: Duration = Duration::from_millis(100);

/// Why the program cannot start.
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
pub type TransportMaker = Box<dyn Fn(&AccountSettings, &str, &Url) -> Result<Box<dyn Transport>, SetupError>>;

/// A program that is ready to run.
pub struct App {
    site: Arc<Site>,
    tasks: Vec<(Task, Duration)>,
}

struct Ready {
    vendor: &'static str,
    account: String,
    client: Client,
    reports: Vec<ReportSetup>,
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
        let Loaded { config, folder, .. } = loaded;
        let health = Health::default();
        health.loaded(clock.now());
        let mut accounts = Vec::new();
        for (at, account) in config.vendors.accounts() {
            accounts.push(ready(account, &at, folder, &clock, &health, &transport)?);
        }
        let operator_key = pseudonym_key(config, folder)?;
        let ledger = Ledger::open(store()?, &loaded.state_path().display().to_string())?;
        let names = ledger.names(config.labels.agent, operator_key.as_deref());

        let reports: usize = accounts.iter().map(|account| account.reports.len()).sum();
        let page = Arc::new(Page::new(reports));
        let mut tasks = Vec::new();
        let mut books = Vec::new();
        for Ready { vendor, account, client, reports: setups } in accounts {
            for setup in setups {
                let id = ReportId { vendor, account: account.as_str().into(), report: setup.name };
                // The call reports of one account count the same calls, whichever of them is configured.
                let name = if matches!(setup.calendar, Calendar::Calls { .. }) { "calls" } else { setup.name };
                let book = ledger.book(vendor, &account, name, names.clone())?;
                health.register(&id, setup.settings.interval, book.last_success());
                if matches!(setup.calendar, Calendar::Calls { .. }) {
                    let (calls, oldest) = book.backlog();
                    health.backlog(&id, calls, oldest);
                }
                books.push(book.prefix().to_owned());
                let slot = tasks.len();
                let delay = setup.settings.interval.min(SPREAD).mul_f64(share(slot, reports)).max(FIRST_POLL);
                let task = Task {
                    id,
                    setup,
                    client: client.clone(),
                    book: Arc::new(Mutex::new(book)),
                    health: health.clone(),
                    page: Arc::clone(&page),
                    slot,
                    clock: clock.clone(),
                    offload,
                };
                tasks.push((task, delay));
            }
        }
        ledger.forget_all_but(&books, clock.now())?;
        let site = Arc::new(Site::new(page, health, clock.clone(), telemetry_path.to_owned()));
        Ok(Self { site, tasks })
    }

    /// What is served.
    pub fn site(&self) -> Arc<Site> {
        Arc::clone(&self.site)
    }

    /// Serves and polls until `stop`; lets open requests and transactions finish. Dropped, it ends at once.
    pub async fn run(self, listeners: Vec<TcpListener>, stop: CancellationToken) {
        let mut running = JoinSet::new();
        for listener in listeners {
            running.spawn(web::serve(listener, Arc::clone(&self.site), stop.clone()));
        }
        for (task, delay) in self.tasks {
            running.spawn(task.run(delay, stop.clone()));
        }
        // Joined one by one: to join all would end all where one panics.
        while let Some(ended) = running.join_next().await {
            if ended.is_err() {
                tracing::error!("a task panicked; the others go on");
            }
        }
    }
}

impl std::fmt::Debug for App {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "App({} reports)", self.tasks.len())
    }
}

fn ready(
    account: &dyn Account,
    at: &str,
    folder: &std::path::Path,
    clock: &Clock,
    health: &Health,
    transport: &TransportMaker,
) -> Result<Ready, SetupError> {
    let settings = account.settings();
    let base: Url = account
        .base_url()
        .parse()
        .map_err(|_| SetupError { path: format!("{at}.base_url"), message: "no usable URL".to_owned() })?;
    let transport = transport(&settings, at, &base)?;
    let client = Client::new(settings.clone(), transport, clock.clone(), health.clone());
    let reports = account.build(&Setup { client: &client, folder, at })?;
    Ok(Ready { vendor: account.vendor(), account: settings.account, client, reports })
}

/// Which part of the way `slot` of `reports` has gone.
fn share(slot: usize, reports: usize) -> f64 {
    let whole = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    whole(slot) / whole(reports.max(1))
}

fn pseudonym_key(config: &Config, folder: &std::path::Path) -> Result<Option<Vec<u8>>, SetupError> {
    if config.labels.agent != AgentLabel::Pseudonym {
        return Ok(None);
    }
    let key = config.labels.pseudonym_source().read("labels", folder)?;
    Ok(Some(key.expose_secret().as_bytes().to_vec()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures_util::future::BoxFuture;

    use super::*;
    use crate::client::{Answer, Request, TransportError};
    use crate::ledger::store::Writes;

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
