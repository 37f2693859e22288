//! The accounts that are being polled. At a reload those that the new configuration changes are exchanged; all others keep
//! their tasks, budgets and connections. Everything that can be wrong is found out before the first account is stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt as _;
use secrecy::{ExposeSecret as _, SecretString};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use url::Url;

use super::callbacks::{Callbacks, Target, Targets};
use super::{StartError, TransportMaker};
use crate::client::Client;
use crate::clock::Clock;
use crate::config::{Config, Digest, Loaded};
use crate::health::{Allowance, Health, ReportId};
use crate::ledger::Ledger;
use crate::ledger::names::AgentNames;
use crate::ledger::store::StoreError;
use crate::page::Page;
use crate::poll::{Task, Workshop};
use crate::settings::{AgentLabel, SetupError};
use crate::vendors::{Calendar, PlanRow, ReportSetup, Setup};

/// First polls are spread over this, or over the interval if that is shorter.
const SPREAD: Duration = Duration::from_secs(5);
/// No poll is earlier: a first request readies TLS, and the first scrape should not wait for that.
const FIRST_POLL: Duration = Duration::from_millis(100);
/// A stopped account has so long to finish a transaction before a reload gives up.
const STOP_TIME: Duration = Duration::from_secs(10);

/// What all accounts share.
pub(super) struct Shared {
    pub(super) clock: Clock,
    pub(super) ledger: Ledger,
    pub(super) health: Health,
    pub(super) page: Arc<Page>,
    pub(super) transport: TransportMaker,
    pub(super) store: Workshop,
    pub(super) encoder: Workshop,
    pub(super) callbacks: Callbacks,
}

/// The accounts.
pub(super) struct Fleet {
    shared: Shared,
    accounts: BTreeMap<Name, Polled>,
}

/// Vendor and account.
type Name = (&'static str, String);

/// Where reports stand on the page.
pub(super) type Places = BTreeMap<ReportId, usize>;

/// An account that is polled.
struct Polled {
    digest: Digest,
    /// With their places on the page.
    reports: Vec<(ReportId, usize)>,
    /// Tasks that were not started yet, with the time until their first poll.
    waiting: Vec<(Task, Duration)>,
    /// Where its callbacks go.
    target: Option<Target>,
    running: JoinSet<()>,
    stop: CancellationToken,
}

/// Accounts whose secrets were read and whose reports are ready.
pub(super) struct Muster {
    accounts: Vec<Ready>,
    operator_key: Option<Vec<u8>>,
    label: AgentLabel,
}

struct Ready {
    name: Name,
    digest: Digest,
    client: Client,
    reports: Vec<ReportSetup>,
    plan: Vec<PlanRow>,
    callback_key: Option<SecretString>,
}

/// Readies those accounts of `loaded` that `wanted` wants.
pub(super) fn ready(
    loaded: &Loaded,
    clock: &Clock,
    health: &Health,
    transport: &TransportMaker,
    wanted: impl Fn(&Name, &Digest) -> bool,
) -> Result<Muster, SetupError> {
    let Loaded { config, folder, .. } = loaded;
    let mut accounts = Vec::new();
    for (at, account) in config.vendors.accounts() {
        let settings = account.settings();
        let name = (account.vendor(), settings.account.clone());
        let digest = loaded.digest(account.vendor(), &settings.account);
        if !wanted(&name, &digest) {
            continue;
        }
        let base: Url = account
            .base_url()
            .parse()
            .map_err(|_| SetupError { path: format!("{at}.base_url"), message: "no usable URL".to_owned() })?;
        let transport = transport(&settings, &at, &base)?;
        let client = Client::new(settings, transport, clock.clone(), health.clone());
        let setup = Setup { client: &client, folder, at: &at };
        let (reports, callback_key) = (account.build(&setup)?, account.callback_key(&setup)?);
        accounts.push(Ready { name, digest, client, reports, plan: account.plan(), callback_key });
    }
    Ok(Muster { accounts, operator_key: pseudonym_key(config, folder)?, label: config.labels.agent })
}

// === impl Fleet ===

impl Fleet {
    pub(super) fn new(shared: Shared) -> Self {
        Self { shared, accounts: BTreeMap::new() }
    }

    /// Gives every account its books and its places on the page, a report that was there before the one that it had, so that
    /// it stands there once at any time. [`start`](Self::start) sets them going. Says what the keys of their books begin with.
    pub(super) fn enlist(&mut self, muster: Muster, places: &mut Places) -> Result<Vec<String>, StoreError> {
        let names = self.shared.ledger.names(muster.label, muster.operator_key.as_deref());
        let reports: usize = muster.accounts.iter().map(|account| account.reports.len()).sum();
        let mut books = Vec::new();
        for Ready { name, digest, client, reports: setups, plan, callback_key } in muster.accounts {
            let mut polled = Polled {
                digest,
                reports: Vec::new(),
                waiting: Vec::new(),
                target: None,
                running: JoinSet::new(),
                stop: CancellationToken::new(),
            };
            for setup in setups {
                let delay = setup.settings.interval.min(SPREAD).mul_f64(share(books.len(), reports)).max(FIRST_POLL);
                let (task, book) = self.task(&name, setup, &client, &names, places)?;
                self.shared.health.allow(&task.id, allowance(&plan, task.id.report));
                books.push(book);
                if let (Some(key), Calendar::Calls { .. }) = (&callback_key, &task.setup.calendar) {
                    polled.target = Some(Target::new(key, task.id.clone(), Arc::clone(&task.book)));
                }
                polled.reports.push((task.id.clone(), task.slot));
                polled.waiting.push((task, delay));
            }
            self.accounts.insert(name, polled);
        }
        Ok(books)
    }

    fn task(
        &self,
        (vendor, account): &Name,
        setup: ReportSetup,
        client: &Client,
        names: &AgentNames,
        places: &mut Places,
    ) -> Result<(Task, String), StoreError> {
        let Shared { clock, ledger, health, page, store, encoder, .. } = &self.shared;
        let id = ReportId { vendor, account: account.as_str().into(), report: setup.name };
        // The call reports of one account count the same calls, whichever of them is configured.
        let calls = matches!(setup.calendar, Calendar::Calls { .. });
        let name = if setup.calendar.calls().is_some() { "calls" } else { setup.name };
        let mut book = ledger.book(vendor, account, name, names.clone())?;
        book.take_turn(setup.name, &setup.calendar, clock.now())?;
        health.register(&id, setup.settings.interval, book.last_success());
        if calls {
            let (calls, oldest) = book.backlog();
            health.backlog(&id, calls, oldest);
        }
        let slot = places.remove(&id).unwrap_or_else(|| page.join());
        let prefix = book.prefix().to_owned();
        let task = Task {
            id,
            setup,
            client: client.clone(),
            book: Arc::new(Mutex::new(book)),
            health: health.clone(),
            page: Arc::clone(page),
            slot,
            clock: clock.clone(),
            store: store.clone(),
            encoder: encoder.clone(),
        };
        Ok((task, prefix))
    }

    /// Has every account's callbacks go to its book.
    pub(super) async fn receive(&self) {
        *self.shared.callbacks.targets.write().await = self.targets();
    }

    fn targets(&self) -> Targets {
        let targets =
            self.accounts.iter().filter_map(|((_, name), account)| Some((name.clone(), account.target.clone()?)));
        targets.collect()
    }

    /// Logs what configuration and command line do not say of each other.
    pub(super) fn tell_callbacks(&self, listening: bool) {
        let targets = self.targets();
        if listening && targets.is_empty() {
            tracing::warn!(
                "--hooks.listen-address is given, and no account has callback: true: every callback is refused"
            );
        }
        for account in targets.keys().filter(|_| !listening) {
            tracing::warn!(
                account,
                "callback: true, but without --hooks.listen-address no callback arrives; only calls of ucid_file are asked for"
            );
        }
    }

    /// Sets every account going that is not yet.
    pub(super) fn start(&mut self) {
        for account in self.accounts.values_mut() {
            for (task, delay) in account.waiting.drain(..) {
                let (id, stop) = (task.id.clone(), account.stop.clone());
                account.running.spawn(async move {
                    if AssertUnwindSafe(task.run(delay, stop)).catch_unwind().await.is_err() {
                        tracing::error!(vendor = id.vendor, account = %id.account, report = id.report, "a task panicked; the others go on");
                    }
                });
            }
        }
    }

    /// Stops all, when their transactions are through.
    pub(super) async fn stop(&mut self) {
        for account in self.accounts.values() {
            account.stop.cancel();
        }
        for account in self.accounts.values_mut() {
            while account.running.join_next().await.is_some() {}
        }
    }

    /// Takes over `loaded`: accounts that it changes are exchanged, those that it lacks leave, all others go on undisturbed.
    pub(super) async fn exchange(&mut self, loaded: &Loaded) -> Result<(), StartError> {
        let Shared { clock, health, transport, .. } = &self.shared;
        let same = |name: &Name, digest: &Digest| self.accounts.get(name).is_some_and(|known| known.digest == *digest);
        let muster = ready(loaded, clock, health, transport, |name, digest| !same(name, digest))?;
        let named: BTreeSet<Name> = loaded
            .config
            .vendors
            .accounts()
            .into_iter()
            .map(|(_, account)| (account.vendor(), account.settings().account))
            .collect();
        // Callbacks wait until their accounts have new books, and those that are being stored come first.
        let targets = Arc::clone(&self.shared.callbacks.targets);
        let Ok(mut targets) = tokio::time::timeout(STOP_TIME, targets.write_owned()).await else {
            let cause = "a callback is being stored for too long; does the disk hang?".to_owned();
            return Err(StoreError::Write { path: "of the callbacks".to_owned(), cause }.into());
        };
        let changed: BTreeSet<&Name> = muster.accounts.iter().map(|account| &account.name).collect();
        let leaving = self.accounts.keys().filter(|name| changed.contains(name) || !named.contains(*name));
        let leaving: Vec<Name> = leaving.cloned().collect();
        let mut left: Vec<Polled> = leaving.iter().filter_map(|name| self.accounts.remove(name)).collect();
        for account in &left {
            account.stop.cancel();
        }
        let mut places = BTreeMap::new();
        for account in &mut left {
            // Its books are read from the store again: what is under way has to be through.
            let ended = async { while account.running.join_next().await.is_some() {} };
            if tokio::time::timeout(STOP_TIME, ended).await.is_err() {
                tracing::error!("an account does not stop: does the disk hang?");
            }
            places.extend(account.reports.drain(..));
        }
        let enlisted = self.enlist(muster, &mut places);
        *targets = self.targets();
        self.start();
        // Those that nobody has taken over.
        for (id, place) in places {
            self.shared.page.leave(place);
            self.shared.health.forget(&id, !named.contains(&(id.vendor, id.account.to_string())));
        }
        Ok(enlisted.map(drop)?)
    }
}

impl std::fmt::Debug for Fleet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} accounts", self.accounts.len())
    }
}

/// Which part of the way `place` of `reports` has gone.
fn share(place: usize, reports: usize) -> f64 {
    let whole = |n: usize| f64::from(u32::try_from(n).unwrap_or(u32::MAX));
    whole(place) / whole(reports.max(1))
}

/// What one report may ask for.
fn allowance(plan: &[PlanRow], report: &str) -> Allowance {
    let rows = || plan.iter().filter(|row| row.report == report);
    Allowance { apis: rows().map(|row| (row.api, row.limit)).collect(), quota: rows().find_map(|row| row.quota) }
}

fn pseudonym_key(config: &Config, folder: &Path) -> Result<Option<Vec<u8>>, SetupError> {
    if config.labels.agent != AgentLabel::Pseudonym {
        return Ok(None);
    }
    let key = config.labels.pseudonym_source().read("labels", folder)?;
    Ok(Some(key.expose_secret().as_bytes().to_vec()))
}
