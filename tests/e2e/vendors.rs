//! The simulated vendors on a clock that stands still or runs with the machine's, as the test wants it, and the
//! exporter.yml that names them. A dialler lists Ozonetel's calls, as an operator's own would.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::truth::{DAY, IST, Truth};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Vendors.
pub(crate) const COUNT: usize = 4;
/// Reports in exporter.yml.
pub(crate) const REPORTS: usize = 5;
/// Where the days of the Wolkvox tenant begin, in seconds east of Greenwich.
pub(crate) const BOGOTA: i64 = -5 * 3600;
/// Ozonetel agents whose average handle time is asked for: one request each.
pub(crate) const AVERAGED: usize = 8;

/// So many that somebody's call ends every second.
const AGENTS: usize = 200;
/// A call is listed this long after its end: its after-call work is over, and what its record says is final.
const LISTED_AFTER: SignedDuration = SignedDuration::from_secs(60);
/// Calls that ended this long before the start are listed too, in seconds,
const HISTORY: i64 = 600;
/// or this long, after a leap.
const LONG_HISTORY: i64 = 3600;
/// How often time moves.
const TICK: Duration = Duration::from_millis(100);
/// The vendors' clock is so far ahead of the machine's: when it stands still, no token should come from its future.
const AHEAD: SignedDuration = SignedDuration::from_secs(10);
/// No Huawei agent signs out for so long: what he did after the last reading nobody could know.
const SIGNED_IN: i64 = 240;

/// Four running vendors.
pub(crate) struct Vendors {
    world: Arc<World>,
    time: Option<(CancellationToken, JoinHandle<()>)>,
}

/// What moves with time.
struct World {
    simulator: Simulator,
    clock: Clock,
    since: Timestamp,
    history: AtomicI64,
    ucids: PathBuf,
}

/// Where the truth stands still.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stopped {
    /// When the vendors started.
    pub(crate) since: Timestamp,
    /// Their present.
    pub(crate) at: Timestamp,
    /// The calls that ended after the first and until the second were listed, those of `at`'s Indian day.
    pub(crate) listed: (Timestamp, Timestamp),
}

/// Waits until no vendor's day begins soon, or has begun so lately that nobody has ended a call yet. What happens at
/// midnight is the matter of other tests, whose clocks can be set.
pub(crate) async fn away_from_midnight() {
    let clock = Clock::system();
    let near = |offset: i64| {
        let second = (clock.now().as_second() + offset).rem_euclid(DAY);
        !(300..DAY - 300).contains(&second)
    };
    if [0, IST, BOGOTA].into_iter().any(near) {
        println!("a vendor's midnight is near; waiting until it is over");
    }
    while [0, IST, BOGOTA].into_iter().any(near) {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

impl Vendors {
    /// Starts them, and time with them, with the exporter's configuration in `folder`. Every report gets `settings`
    /// besides its interval.
    pub(crate) async fn start(folder: &Path, settings: &str) -> Self {
        let since = ahead();
        let clock = Clock::manual(since);
        let seed = (1..10_000).find(|seed| stay(*seed)).unwrap();
        let options = Options { seed, agents: AGENTS, limits: None, ..Options::new(clock.clone()) };
        let simulator = Simulator::start(options).await.unwrap();
        configure(&simulator, folder, settings);
        let world =
            World { simulator, clock, since, history: AtomicI64::new(HISTORY), ucids: folder.join("ucids.txt") };
        let mut vendors = Self { world: Arc::new(world), time: None };
        vendors.go();
        vendors
    }

    /// Has time run with the machine's.
    pub(crate) fn go(&mut self) {
        let (world, stop) = (Arc::clone(&self.world), CancellationToken::new());
        let stopped = stop.clone();
        let time = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(TICK);
            while !stopped.is_cancelled() {
                ticks.tick().await;
                world.clock.set(ahead());
                world.list();
            }
        });
        self.time = Some((stop, time));
    }

    /// Has so much happen at once, and many calls listed that nobody had listed before.
    pub(crate) fn leap(&self, time: SignedDuration) {
        self.world.history.store(LONG_HISTORY, Ordering::Relaxed);
        self.world.clock.set(self.world.clock.now() + time);
        self.world.list();
    }

    /// Has time stand still.
    pub(crate) async fn stop(&mut self) -> Stopped {
        if let Some((stop, time)) = self.time.take() {
            stop.cancel();
            time.await.unwrap();
        }
        self.world.stopped()
    }

    pub(crate) fn truth(&self) -> &Truth {
        self.world.simulator.truth()
    }
}

impl Drop for Vendors {
    fn drop(&mut self) {
        if let Some((_, time)) = &self.time {
            time.abort();
        }
    }
}

impl World {
    /// Where it stands.
    fn stopped(&self) -> Stopped {
        let at = self.clock.now();
        let history = SignedDuration::from_secs(self.history.load(Ordering::Relaxed));
        Stopped { since: self.since, at, listed: (self.since - history, at - LISTED_AFTER) }
    }

    /// Lists the calls of the day.
    fn list(&self) {
        let Stopped { at, listed: (from, to), .. } = self.stopped();
        let today = day(at.as_second());
        let calls = self.simulator.ozonetel_ucids(from, to).into_iter();
        let lines: Vec<_> =
            calls.filter(|(_, date)| *date == today).map(|(id, date)| format!("{id},{date}\n")).collect();
        // Renamed into place: the exporter never reads half a file.
        let aside = self.ucids.with_extension("new");
        std::fs::write(&aside, lines.concat()).unwrap();
        std::fs::rename(&aside, &self.ucids).unwrap();
    }
}

fn ahead() -> Timestamp {
    Clock::system().now() + AHEAD
}

/// Whether all Huawei agents of this seed who are at work stay there.
fn stay(seed: u64) -> bool {
    let truth = Truth::with_huawei(seed, AGENTS, AGENTS);
    let now = Clock::system().now().as_second();
    let at_work = |agent, at| truth.on_shift(Vendor::Huawei, agent, at).is_some();
    (0..).take(AGENTS).all(|agent| !at_work(agent, now - SIGNED_IN) || at_work(agent, now + SIGNED_IN))
}

/// The Indian day.
fn day(at: i64) -> jiff::civil::Date {
    jiff::tz::TimeZone::UTC.to_datetime(Timestamp::from_second(at + IST).unwrap()).date()
}

fn configure(simulator: &Simulator, folder: &Path, settings: &str) {
    let write = |name: &str, text: &str| std::fs::write(folder.join(name), text).unwrap();
    let credentials = simulator.credentials();
    write("api_key", &credentials.ozonetel_api_key);
    write("token", &credentials.wolkvox_token);
    write("guids.json", &credentials.huawei_guids);
    write("credentials.json", &credentials.voximplant_key);
    write("ucids.txt", "");
    let agents = simulator.truth().agents(Vendor::Ozonetel).iter().take(AVERAGED).map(|agent| agent.key.clone());
    let agents = serde_json::Value::from(agents.collect::<Vec<_>>());
    let campaigns = Truth::lines(Vendor::Ozonetel).iter().map(|(_, name)| *name);
    let campaigns = serde_json::Value::from(campaigns.collect::<Vec<_>>());
    let [ozonetel, wolkvox, huawei, voximplant] =
        [Vendor::Ozonetel, Vendor::Wolkvox, Vendor::Huawei, Vendor::Voximplant].map(|vendor| simulator.url(vendor));
    let user_name = credentials.ozonetel_user_name;
    let yml = format!(
        "state: {{ path: state }}
vendors:
  ozonetel:
    - account: support-in
      base_url: {ozonetel}
      user_name: {user_name}
      api_key_file: api_key
      rate_limit: 60000/1m
      reports:
        average_handling_time: {{ interval: 1s{settings}, agents: {agents}, campaigns: {campaigns} }}
        call_details: {{ interval: 1s{settings}, ucid_file: ucids.txt }}
  wolkvox:
    - account: ventas-co
      base_url: {wolkvox}
      token_file: token
      licences: 1000
      reports: {{ agent_hold_mute: {{ interval: 1s{settings} }} }}
  huawei:
    - account: aicc-br
      base_url: {huawei}
      guids: {{ file: guids.json }}
      reports: {{ agent_call_statistics: {{ interval: 1s{settings} }} }}
  voximplant:
    - account: shop-eu
      base_url: {voximplant}
      credentials_file: credentials.json
      reports: {{ operator_statistics: {{ interval: 1s{settings} }} }}
"
    );
    write("exporter.yml", &yml);
}
