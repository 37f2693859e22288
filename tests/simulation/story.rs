//! One seed's story: start, calm first hours, turmoil with crashes and restarts, calm again, and the reckoning.

use std::collections::HashMap;
use std::ops::Add;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use contact_center_exporter::app::{App, Ground};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::{self, Loaded};
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::ledger::store::Store as _;
use contact_center_exporter::page::{Block, Format};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use contact_center_exporter::web::Site;
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::chaos::{Dice, Setting, india};
use crate::disk::Disk;
use crate::expected::{self, Listed};
use crate::wire::{Net, Wire, clock_error};

/// What the stories were like.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Tally {
    days: u64,
    boots: u64,
    requests: u64,
    scrapes: u64,
    counters: u64,
    syncs: u64,
    largest_state: usize,
}

/// Everything that outlives the program.
struct Stage {
    setting: Setting,
    dice: Dice,
    net: Arc<Net>,
    disk: Disk,
    loaded: Loaded,
    listed: Listed,
    /// The exporter's own clock.
    clock: Clock,
    /// The highest value of every counter that a scrape has shown.
    shown: HashMap<String, f64>,
    tally: Tally,
}

const HOUR: SignedDuration = SignedDuration::from_hours(1);

pub(crate) fn tell(seed: u64) -> Result<Tally, String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .map_err(|error| error.to_string())?;
    runtime.block_on(async {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let mut stage = Stage::new(seed, folder.path())?;
        stage.play().await?;
        Ok(stage.tally)
    })
}

impl Stage {
    fn new(seed: u64, folder: &Path) -> Result<Self, String> {
        let setting = Setting::of(seed);
        let vendors = Clock::scaled(setting.start, 1.0);
        let options = Options {
            seed,
            agents: 3,
            limits: None,
            wolkvox_zone: setting.zone.clone(),
            wolkvox_licences: 10,
            ozonetel_token: setting.ozonetel.token,
            ..Options::new(vendors.clone())
        };
        let simulator = Simulator::offline(options).map_err(|error| error.to_string())?;
        let loaded = configure(&simulator, &setting, seed, folder)?;
        let listed = Listed::new(folder.join("ucids.txt"), setting.start);
        Ok(Self {
            dice: Dice::of(&[seed, 3]),
            net: Arc::new(Net::new(simulator, vendors, seed, setting.failures)),
            disk: Disk::default(),
            loaded,
            listed,
            clock: Clock::scaled(setting.start, 1.0),
            shown: HashMap::new(),
            tally: Tally::default(),
            setting,
        })
    }

    async fn play(&mut self) -> Result<(), String> {
        // Everything has to be met once before it can go wrong: what came before the first contact is nobody's.
        let calm_until = self.setting.start + HOUR * 3;
        let turmoil_until = calm_until + self.setting.turmoil;
        let mut site = None;
        while self.now() < turmoil_until {
            let boot = self.boot()?;
            // The first polls after an outage close days that nobody reads again.
            if site.is_some() && self.dice.percent(20) {
                self.disk.die_after_syncs(self.dice.between(1, 12));
            }
            let life =
                if site.is_none() { HOUR * 3 + self.dice.seconds(0, 7200) } else { self.dice.seconds(60, 120_000) };
            let ends = (self.now() + life).min(turmoil_until);
            self.live(&boot, ends, calm_until).await?;
            self.end(boot).await;
            let outage = if self.setting.long_outages && self.dice.percent(15) {
                self.dice.seconds(40_000, 200_000)
            } else {
                self.dice.seconds(1, 5000)
            };
            tokio::time::sleep(outage.unsigned_abs()).await;
            site = Some(());
        }
        self.reckon().await
    }

    fn now(&self) -> Timestamp {
        self.net.clock.now()
    }

    /// Starts the program on what the disk holds.
    fn boot(&mut self) -> Result<Boot, String> {
        self.tally.boots += 1;
        self.clock.set(self.now());
        let (net, disk) = (Arc::clone(&self.net), self.disk.clone());
        let ground = Ground {
            clock: self.clock.clone(),
            store: Box::new(move || {
                let mut store = RedbStore::over("simulated", move || Ok(disk.open()))?;
                if store.read("")?.is_empty() {
                    // A key that chance had made would make each run another story.
                    let key = vec![7; 32];
                    let format = 1_u32.to_be_bytes().to_vec();
                    store
                        .commit(&vec![("meta/format".to_owned(), Some(format)), ("meta/key".to_owned(), Some(key))])?;
                }
                Ok(Box::new(store))
            }),
            transport: Box::new(move |settings, _, _| {
                let vendor = Vendor::ALL.into_iter().find(|vendor| vendor.label() == settings.vendor);
                let vendor = vendor.expect("one of the four");
                Ok(Box::new(Wire { net: Arc::clone(&net), vendor }))
            }),
            offload: false,
        };
        let app = App::on(&self.loaded, ground, "/metrics").map_err(|error| format!("boot: {error}"))?;
        let site = app.site();
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(Vec::new(), stop.clone()));
        Ok(Boot { site, stop, running })
    }

    /// Scrapes now and then, and lets things go wrong after `calm_until`.
    async fn live(&mut self, boot: &Boot, ends: Timestamp, calm_until: Timestamp) -> Result<(), String> {
        while self.now() < ends {
            let calm = self.now() < calm_until || self.huawei_is_late();
            self.net.calm.store(calm, Ordering::SeqCst);
            if calm {
                self.disk.set_full(false);
            } else {
                self.disturb();
            }
            let step = self.dice.seconds(600, 7200).min(ends.duration_since(self.now()));
            if !self.pass(step.unsigned_abs()).await {
                return self.scrape(&boot.site).map(drop);
            }
            self.scrape(&boot.site)?;
            let undated = !self.setting.long_outages;
            self.listed.add(&self.net.simulator, self.now(), &mut self.dice, undated);
        }
        Ok(())
    }

    /// Whether Huawei agents may soon sign out with figures that were never stored. In long outages they do.
    fn huawei_is_late(&self) -> bool {
        let success = *self.net.huawei_success.lock().expect("no panic");
        !self.setting.long_outages && success.is_some_and(|at| self.now().duration_since(at) > HOUR)
    }

    /// Lets time pass; false if the disk died meanwhile.
    async fn pass(&self, mut left: Duration) -> bool {
        while !left.is_zero() && !self.disk.is_dead() {
            let step = left.min(Duration::from_mins(5));
            tokio::time::sleep(step.max(Duration::from_secs(1))).await;
            left -= step;
        }
        !self.disk.is_dead()
    }

    fn disturb(&mut self) {
        self.disk.set_full(self.dice.percent(4));
        if self.dice.percent(4) {
            self.disk.die_after(self.dice.between(1, 60));
        } else if self.dice.percent(3) {
            self.disk.die_after_syncs(self.dice.between(1, 12));
        }
        if self.dice.percent(10) {
            let error = clock_error(&mut self.dice);
            let error = if self.somebody_signs_in() { SignedDuration::ZERO } else { error };
            self.clock.set(self.now() + error);
        } else if self.dice.percent(30) || self.somebody_signs_in() {
            self.clock.set(self.now());
        }
    }

    /// Whether a Huawei agent signs in about now. With a clock that is minutes off, numbers that fit a new sign-in may look
    /// like a stale node's: that is not promised.
    fn somebody_signs_in(&self) -> bool {
        let truth = self.net.simulator.truth();
        let about = self.now().as_second() - 3600..self.now().as_second() + 3 * 3600;
        truth.agents(Vendor::Huawei).iter().any(|agent| {
            let later = truth.session(agent.index, about.end);
            later.is_some_and(|session| about.contains(&session.since))
        })
    }

    /// Now and then the program is told to stop; mostly it is just gone, wherever it is.
    async fn end(&mut self, boot: Boot) {
        if self.dice.percent(10) && !self.disk.is_dead() {
            boot.stop.cancel();
            let _ = tokio::time::timeout(Duration::from_mins(2), boot.running).await;
        } else {
            boot.running.abort();
            let _ = boot.running.await;
        }
        self.disk.set_full(false);
        self.disk.crash(&mut self.dice);
    }

    fn scrape(&mut self, site: &Site) -> Result<HashMap<String, f64>, String> {
        self.tally.scrapes += 1;
        let now = self.now();
        let reports = site.health.reports();
        let huawei = reports.iter().find(|(id, _)| id.vendor == "huawei").and_then(|(_, report)| report.last_success);
        *self.net.huawei_success.lock().expect("no panic") = huawei;
        let page = site.page.render(Format::Text004, &Block::default());
        let mut values = HashMap::new();
        // How polls went is counted from each boot.
        let is_vendors = |line: &&str| !line.starts_with('#') && !line.contains(",report=\"");
        for line in page.lines().filter(is_vendors) {
            let (series, value) = line.rsplit_once(' ').ok_or("a line without value")?;
            let value: f64 = value.parse().map_err(|_| format!("no number: {line}"))?;
            if values.insert(series.to_owned(), value).is_some() {
                return Err(format!("twice on the page: {series}"));
            }
            let name = series.split('{').next().unwrap_or_default();
            if ["_total", "_bucket", "_count", "_sum"].iter().any(|end| name.ends_with(end)) {
                let highest = self.shown.entry(series.to_owned()).or_insert(value);
                if value < *highest {
                    return Err(format!("{series} fell from {highest} to {value} at {now}"));
                }
                *highest = value;
            }
        }
        self.tally.largest_state = self.tally.largest_state.max(self.disk.size());
        Ok(values)
    }

    /// Nothing goes wrong any more: after a day and a half every counter must be what happened.
    async fn reckon(&mut self) -> Result<(), String> {
        self.net.calm.store(true, Ordering::SeqCst);
        let boot = self.boot()?;
        let zones = [jiff::tz::TimeZone::UTC, self.setting.zone.clone(), india()];
        let settled_at = self.now() + HOUR * 32;
        // Not while yesterday may still be incomplete anywhere.
        let india_is_early = |now: Timestamp| (0..8).contains(&india().to_datetime(now).hour());
        let lists = self.setting.ozonetel.records || self.setting.ozonetel.summary;
        let awkward = |now: Timestamp| {
            // Yesterday is read at the first poll after three, which may be hours later.
            zones.iter().any(|zone| zone.to_datetime(now).hour() < 4) || lists && india_is_early(now)
        };
        while self.now() < settled_at || awkward(self.now()) {
            tokio::time::sleep(Duration::from_mins(50)).await;
            self.scrape(&boot.site)?;
        }
        let values = self.scrape(&boot.site)?;
        let reports = boot.site.health.reports();
        for (id, report) in &reports {
            if report.up != Some(true) {
                return Err(format!("{}/{} is not up in the end: {:?}", id.vendor, id.report, report.last_failure));
            }
        }
        let expected = expected::counters(&self.net.simulator, &self.setting, &self.listed, &reports);
        self.tally.counters += expected.len() as u64;
        for (series, truth) in &expected {
            let shown = values.get(series).copied();
            if shown != Some(*truth) && !(shown.is_none() && *truth == 0.0) {
                return Err(format!("{series} shows {shown:?}, the truth is {truth} at {}", self.now()));
            }
        }
        boot.stop.cancel();
        let _ = boot.running.await;
        self.tally.days += self.now().duration_since(self.setting.start).as_hours().unsigned_abs() / 24;
        self.tally.requests += self.net.requests.load(Ordering::SeqCst);
        self.tally.syncs += self.disk.syncs();
        Ok(())
    }
}

/// One incarnation of the program.
struct Boot {
    site: Arc<Site>,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

/// A row of outages and failures may be longer than the default `backfill`; that days beyond it are lost and counted is
/// for others to test.
fn configure(simulator: &Simulator, setting: &Setting, seed: u64, folder: &Path) -> Result<Loaded, String> {
    let credentials = simulator.credentials();
    let [ozonetel, wolkvox, huawei, voximplant] = setting.intervals;
    let voximplant = expected::voximplant::reports(simulator.truth().seed(), voximplant);
    let wolkvox_more = expected::wolkvox::reports(seed);
    let zone = setting.zone.iana_name().unwrap_or("UTC");
    let key = serde_json::Value::from(credentials.voximplant_key).to_string();
    let yml = format!(
        "vendors:
  ozonetel:
    - account: a
      base_url: http://127.0.0.1
      user_name: {}
      api_key: {}
{}  wolkvox:
    - account: b
      base_url: http://127.0.0.1
      token: '{}'
      timezone: {zone}
      licences: 10
      reports: {{ agent_hold_mute: {{ interval: {wolkvox}s, backfill: 10d, stale_after: 400h }}{wolkvox_more} }}
  huawei:
    - account: c
      base_url: http://127.0.0.1
      guids: {{ file: guids.json }}
      reports: {{ agent_call_statistics: {{ interval: {huawei}s, stale_after: 400h }} }}
  voximplant:
    - account: d
      base_url: http://127.0.0.1
      credentials: {key}
      reports: {{ {voximplant} }}
",
        credentials.ozonetel_user_name,
        credentials.ozonetel_api_key,
        setting.ozonetel.yml(ozonetel),
        credentials.wolkvox_token,
    );
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).map_err(|error| error.to_string());
    write("guids.json", &credentials.huawei_guids)?;
    write("ucids.txt", "")?;
    write("exporter.yml", &yml)?;
    config::load(&folder.join("exporter.yml")).map_err(|error| error.to_string())
}

impl Add for Tally {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self {
            days: self.days + other.days,
            boots: self.boots + other.boots,
            requests: self.requests + other.requests,
            scrapes: self.scrapes + other.scrapes,
            counters: self.counters + other.counters,
            syncs: self.syncs + other.syncs,
            largest_state: self.largest_state.max(other.largest_state),
        }
    }
}
