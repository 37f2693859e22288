//! What it costs to keep a poll of ten thousand agents: the time of a transaction beside writing and syncing as many bytes to
//! a plain file, the size of the state on disk and in memory.

use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use contact_center_exporter::amount::Amount;
use contact_center_exporter::catalogue::Family;
use contact_center_exporter::ledger::calendar::Due;
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::ledger::store::{Store, StoreError, Writes};
use contact_center_exporter::ledger::{Book, Ledger};
use contact_center_exporter::reading::{Bucket, Entity, Reading};
use contact_center_exporter::settings::{AgentLabel, ReportSettings};
use contact_center_exporter::vendors::Calendar;
use jiff::civil::{Date, date};
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan as _};

use crate::{Row, median};

const AGENTS: usize = 10_000;
/// Ten, all of which change with every poll.
const FAMILIES: [Family; 10] = [
    Family::AgentAfterCallWork,
    Family::AgentAnsweredCalls,
    Family::AgentHandle,
    Family::AgentHandledCalls,
    Family::AgentHoldMuteEvents,
    Family::AgentHold,
    Family::AgentMute,
    Family::AgentRing,
    Family::AgentTalk,
    Family::AgentUnanswered,
];
/// Days that are still open.
const DAYS: i64 = 3;
/// Polls that count, after a first one.
const ROUNDS: usize = 25;
const START: Date = date(2026, 3, 2);

/// A store that remembers how many bytes the last transaction had, and how many nanoseconds it took.
struct Counting {
    store: RedbStore,
    last: Arc<[AtomicU64; 2]>,
}

impl Store for Counting {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.store.read(prefix)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        let bytes: usize = writes.iter().map(|(key, value)| key.len() + value.as_ref().map_or(0, Vec::len)).sum();
        let start = now();
        self.store.commit(writes)?;
        let took = u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX);
        self.last[0].store(bytes as u64, Ordering::Relaxed);
        self.last[1].store(took, Ordering::Relaxed);
        Ok(())
    }
}

/// A book of days, polled in turn.
struct Polls {
    book: Book,
    agents: Vec<Entity>,
    now: Timestamp,
    turn: u64,
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let last = Arc::new([AtomicU64::new(0), AtomicU64::new(0)]);
    let store = Counting { store: RedbStore::open(&folder.path().join("state"))?, last: Arc::clone(&last) };
    let last = |place: usize| last[place].load(Ordering::Relaxed);
    let mut polls = Polls::open(Box::new(store))?;
    let mut rows = Vec::new();
    for days in 1..=DAYS {
        let (mut ours, mut stored, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
        for round in 0..=ROUNDS {
            let reading = polls.next();
            let took = timed(|| polls.take_in(&reading))?;
            let plain = vec![0x5a; usize::try_from(last(0))?];
            let beside = timed(|| write_plain(folder.path(), &plain))?;
            if round > 0 {
                ours.push(took);
                stored.push(mega(last(1)));
                theirs.push(beside);
            }
        }
        let fastest = |figures: &[f64]| figures.iter().copied().fold(f64::INFINITY, f64::min);
        println!(
            "ledger: fastest {:.1} ms, {:.1} ms of it in the store; plain file {:.1} ms",
            fastest(&ours),
            fastest(&stored),
            fastest(&theirs)
        );
        let (ours, stored, theirs) = (median(&mut ours), median(&mut stored), median(&mut theirs));
        println!(
            "ledger: {days} open days, {} bytes: {ours:.1} ms, {stored:.1} ms of it in the store; plain file {theirs:.1} ms",
            last(0)
        );
        if days == 1 || days == DAYS {
            rows.push(Row {
                what: if days == 1 { "10000 agents x 10 figures stored" } else { "the same with 3 open days" },
                ours: format!("{ours:.1} ms"),
                theirs: format!("plain file {theirs:.1} ms"),
                verdict: format!("ratio {:.2}, at most 5", ours / theirs),
                met: ours <= 5.0 * theirs,
            });
        }
        polls.tomorrow()?;
    }
    drop(polls);
    let size = std::fs::metadata(folder.path().join("state/state.redb"))?.len();
    rows.push(Row {
        what: "state on disk, 3 open days",
        ours: format!("{:.1} MB", mega(size)),
        theirs: String::new(),
        verdict: "below 50 MB".to_owned(),
        met: mega(size) < 50.0,
    });
    // A process of its own: what was in use before tells nothing.
    let mut command = Command::new(std::env::current_exe()?);
    let output = command.arg("ledger-memory").arg(folder.path()).output()?;
    let said = String::from_utf8(output.stdout)?;
    let each: f64 = said.trim().parse().with_context(|| format!("no figure: {said}"))?;
    rows.push(Row {
        what: "memory per series and bucket, after a poll",
        ours: format!("{each:.0} bytes"),
        theirs: String::new(),
        verdict: "below 200 bytes".to_owned(),
        met: each < 200.0,
    });
    Ok(rows)
}

/// Loads the state that lies in `folder`, polls once more, and prints what that took of memory.
#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
pub(crate) fn memory(folder: &Path) -> anyhow::Result<()> {
    let store = RedbStore::open(&folder.join("state"))?;
    let before = resident()?;
    let mut polls = Polls::open(Box::new(store))?;
    polls.turn = 1_000_000;
    polls.now = (START + (DAYS - 1).days()).to_zoned(TimeZone::UTC)?.timestamp() + 20.hours();
    let reading = polls.next();
    polls.take_in(&reading)?;
    drop(reading);
    let series: usize = polls.book.totals().values().map(Vec::len).sum();
    ensure!(series == AGENTS * FAMILIES.len(), "{series} series");
    println!("{}", (resident()? - before) as f64 / (series as f64 * DAYS as f64));
    Ok(())
}

impl Polls {
    fn open(store: Box<dyn Store>) -> anyhow::Result<Self> {
        let ledger = Ledger::open(store, "bench")?;
        let book = ledger.book("voximplant", "shop-eu", "operators", ledger.names(AgentLabel::Plain, None))?;
        let agents = (0..AGENTS).filter_map(|number| Entity::agent(&format!("operator.{number:05}"))).collect();
        Ok(Self { book, agents, now: START.to_zoned(TimeZone::UTC)?.timestamp() + 8.hours(), turn: 0 })
    }

    /// What the vendor says of today, a while later: every figure has grown.
    fn next(&mut self) -> Reading {
        self.turn += 1;
        self.now += 5.minutes();
        let day = TimeZone::UTC.to_datetime(self.now).date();
        let mut reading = Reading { days: vec![day], ..Reading::default() };
        for (number, agent) in self.agents.iter().enumerate() {
            for (place, family) in FAMILIES.iter().enumerate() {
                let amount = Amount::whole(self.turn * (7 + place as u64) + number as u64);
                reading.figure(*family, agent, &Bucket::Day(day), amount);
            }
        }
        reading
    }

    fn take_in(&mut self, reading: &Reading) -> anyhow::Result<()> {
        let calendar = Calendar::Days { zone: TimeZone::UTC };
        self.book.apply(reading, self.now, &calendar, &settings(), &Due::default())?;
        Ok(())
    }

    /// The next day; nobody reads the last one again, so that it stays open.
    fn tomorrow(&mut self) -> anyhow::Result<()> {
        let day = TimeZone::UTC.to_datetime(self.now).date().tomorrow()?;
        self.now = day.to_zoned(TimeZone::UTC)?.timestamp() + 8.hours();
        Ok(())
    }
}

pub(crate) fn settings() -> ReportSettings {
    let minutes = std::time::Duration::from_mins;
    ReportSettings::every(minutes(5))
}

fn write_plain(folder: &Path, bytes: &[u8]) -> anyhow::Result<()> {
    let mut file = std::fs::File::create(folder.join("plain"))?;
    file.write_all(bytes)?;
    Ok(file.sync_all()?)
}

fn timed(action: impl FnOnce() -> anyhow::Result<()>) -> anyhow::Result<f64> {
    let start = now();
    action()?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}

#[expect(clippy::disallowed_methods, reason = "it is the machine's time that is measured")]
fn now() -> Instant {
    Instant::now()
}

/// Resident memory of this process in bytes.
fn resident() -> anyhow::Result<u64> {
    let status = std::fs::read_to_string("/proc/self/status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kilobytes: u64 = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kilobytes * 1024)
}

#[expect(clippy::cast_precision_loss, reason = "some megabytes")]
pub(crate) fn mega(bytes: u64) -> f64 {
    bytes as f64 / 1e6
}
