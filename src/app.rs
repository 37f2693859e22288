//! The program put together: state, accounts, poll tasks and web, from a checked configuration. Whoever starts it binds
//! the sockets and owns the stop signal.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use url::Url;

use crate::client::{Client, Http, Transport};
use crate::clock::Clock;
use crate::config::{Account, AgentLabel, Config, Loaded, Setup, SetupError};
use crate::health::{Health, ReportId};
use crate::ledger::redb::RedbStore;
use crate::ledger::store::StoreError;
use crate::ledger::{Ledger, names::AgentNames};
use crate::page::Page;
use crate::poll::Task;
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
    /// Opens the state and readies every account.
    pub fn new(loaded: &Loaded, clock: &Clock, telemetry_path: &str) -> Result<Self, StartError> {
        let Loaded { config, folder, .. } = loaded;
        let health = Health::default();
        health.loaded(clock.now());
        // Secrets first: a configuration that cannot work should not make a state directory.
        let mut accounts = Vec::new();
        for (at, account) in config.vendors.accounts() {
            accounts.push(ready(account, &at, folder, clock, &health)?);
        }
        let operator_key = pseudonym_key(config, folder)?;
        let path = loaded.state_path();
        let ledger = Ledger::open(Box::new(RedbStore::open(&path)?), &path.display().to_string())?;
        let names = ledger.names(config.labels.agent, operator_key.as_deref());

        let reports: usize = accounts.iter().map(|account| account.reports.len()).sum();
        let page = Arc::new(Page::new(reports));
        let mut tasks = Vec::new();
        for Ready { vendor, account, client, reports: setups } in accounts {
            for setup in setups {
                let slot = tasks.len();
                let share =
                    f64::from(u32::try_from(slot).unwrap_or(u32::MAX)) / f64::from(u32::try_from(reports).unwrap_or(1));
                let delay = setup.settings.interval.min(SPREAD).mul_f64(share).max(FIRST_POLL);
                let task = task(&ledger, &names, vendor, &account, &client, setup, &health, &page, slot, clock)?;
                tasks.push((task, delay));
            }
        }
        let site = Arc::new(Site::new(page, health, clock.clone(), telemetry_path.to_owned()));
        Ok(Self { site, tasks })
    }

    /// Serves and polls until `stop`; lets open requests and transactions finish.
    pub async fn run(self, listeners: Vec<TcpListener>, stop: CancellationToken) {
        let tracker = TaskTracker::new();
        for listener in listeners {
            tracker.spawn(web::serve(listener, Arc::clone(&self.site), stop.clone()));
        }
        for (task, delay) in self.tasks {
            tracker.spawn(task.run(delay, stop.clone()));
        }
        tracker.close();
        tracker.wait().await;
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
) -> Result<Ready, SetupError> {
    let settings = account.settings();
    let base: Url = account
        .base_url()
        .parse()
        .map_err(|_| SetupError { path: format!("{at}.base_url"), message: "no usable URL".to_owned() })?;
    let transport: Box<dyn Transport> = Box::new(Http::new(&settings, at, folder, &base)?);
    let client = Client::new(settings.clone(), transport, clock.clone(), health.clone());
    let reports = account.build(&Setup { client: &client, folder, at })?;
    Ok(Ready { vendor: account.vendor(), account: settings.account, client, reports })
}

#[expect(clippy::too_many_arguments, reason = "it only puts them together")]
fn task(
    ledger: &Ledger,
    names: &AgentNames,
    vendor: &'static str,
    account: &str,
    client: &Client,
    setup: ReportSetup,
    health: &Health,
    page: &Arc<Page>,
    slot: usize,
    clock: &Clock,
) -> Result<Task, StoreError> {
    let id = ReportId { vendor, account: account.into(), report: setup.name };
    // The call reports of one account count the same calls, whichever of them is configured.
    let name = if matches!(setup.calendar, Calendar::Calls { .. }) { "calls" } else { setup.name };
    let book = ledger.book(vendor, account, name, names.clone())?;
    health.register(&id, setup.settings.interval, book.last_success());
    Ok(Task {
        id,
        setup,
        client: client.clone(),
        book: Arc::new(Mutex::new(book)),
        health: health.clone(),
        page: Arc::clone(page),
        slot,
        clock: clock.clone(),
    })
}

fn pseudonym_key(config: &Config, folder: &std::path::Path) -> Result<Option<Vec<u8>>, SetupError> {
    if config.labels.agent != AgentLabel::Pseudonym {
        return Ok(None);
    }
    let key = config.labels.pseudonym_source().read("labels", folder)?;
    Ok(Some(key.expose_secret().as_bytes().to_vec()))
}
