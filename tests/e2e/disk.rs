//! The disk under the state is full, and then read-only, while the program runs: polls fail, the page keeps what is stored
//! until it is stale and shows nothing else, and once there is room everything is right again without a restart.
//!
//! The state is on a small tmpfs of its own. Who may not mount gets a limit on the size of files instead, and is told so;
//! `DISK=limit` asks for that.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use jiff::SignedDuration;

use crate::children::Exporter;
use crate::expected::{self, Family, Values};
use crate::vendors::{self, Vendors};

/// Nothing here should take longer.
const DEADLINE: Duration = Duration::from_mins(2);
/// Somebody hangs up every second: most pages of the state change, and a poll needs as many new ones. A token lives longer.
const LEAP: SignedDuration = SignedDuration::from_secs(40);
/// Room for the state several times over.
const SIZE: &str = "size=8m";

/// What the state is on.
struct Disk {
    state: PathBuf,
    mounted: bool,
}

/// One look at `/metrics`.
struct Page(String);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_or_read_only_disk_costs_nothing_but_time() {
    let _turn = crate::turn().await;
    vendors::away_from_midnight().await;
    let folder = tempfile::tempdir().unwrap();
    let mut vendors = Vendors::start(folder.path(), ", stale_after: 15s").await;
    let disk = Disk::new(folder.path());
    let mut exporter = Exporter::launch(folder.path(), "127.0.0.1:0");
    exporter.listens().await;
    let address = exporter.address.clone();
    until(&address, "every report is up", Page::all_up).await;
    let stopped = vendors.stop().await;
    let before = expected::families(vendors.truth(), &stopped);
    until(&address, "the truth is shown", |page| page.shows(&before)).await;

    disk.fill(&exporter);
    let free = disk.free();
    vendors.leap(LEAP);
    let stopped = vendors.stop().await;
    let after = expected::families(vendors.truth(), &stopped);
    until(&address, "the poll that needs most room fails", |page| page.fails(&GREEDY)).await;
    let page = look(&address).await;
    // What others could store in the pages that were free in the file may be shown.
    let behind = |page: &Page| after.iter().filter(|family| family.is_counter() && !page.has(family)).count();
    assert!(behind(&page) > 5, "nothing has happened that could not be stored");
    // A poll may also have been stored that began before the truth stood still.
    for new in after.iter().filter(|family| family.is_counter()) {
        let old = before.iter().find(|old| old.query == new.query);
        for (entity, value) in page.vector(&new.query) {
            let least = old.and_then(|old| old.values.get(&entity)).copied().unwrap_or_default();
            let most = new.values.get(&entity).copied().unwrap_or_default();
            assert!((least..=most).contains(&value), "{} of {entity}: {value} of {least} to {most}", new.query);
        }
    }
    same(folder.path(), &exporter, &page).await;
    println!("full ({free}): {} counters are shown as they are stored", page.vendor_counters().len());

    disk.freeze().await;
    let told = || !disk.mounted || exporter.log().contains("Read-only file system");
    until(&address, "every poll fails", |page| page.fails(&COUNTING) && told()).await;
    same(folder.path(), &exporter, &look(&address).await).await;
    until(&address, "stale counters leave", |page| page.vendor_counters().is_empty()).await;
    println!("read-only: every poll fails, counters stay as they are stored until they are stale");

    disk.free_again(&exporter);
    until(&address, "the truth is shown again", |page| page.all_up() && page.shows(&after)).await;
    assert!(exporter.ended().is_none(), "{}", exporter.log());
    let page = look(&address).await;
    println!("with room: {} counters are the truth, without a restart", page.vendor_counters().len());
    same(folder.path(), &exporter, &page).await;
}

/// The report whose transaction grows most.
const GREEDY: [&str; 1] = ["call_details"];
/// The reports with counters.
const COUNTING: [&str; 4] = ["call_details", "agent_hold_mute", "agent_call_statistics", "operator_statistics"];

/// The page is what another process makes of the state as it is on disk at this instant.
async fn same(folder: &Path, exporter: &Exporter, page: &Page) {
    exporter.signal("STOP");
    let stored = elsewhere(folder).await;
    exporter.signal("CONT");
    assert_eq!(stored.vendor_counters(), page.vendor_counters(), "the state and the page");
}

/// What the exporter shows at first on a copy of the state.
async fn elsewhere(folder: &Path) -> Page {
    let copy = tempfile::tempdir().unwrap();
    for file in ["api_key", "token", "guids.json", "credentials.json", "ucids.txt"] {
        fs::copy(folder.join(file), copy.path().join(file)).unwrap();
    }
    // Its first polls come too late to change anything.
    let yml = fs::read_to_string(folder.join("exporter.yml")).unwrap();
    let yml = yml.replace("interval: 1s", "interval: 1h").replace("stale_after: 15s", "stale_after: 9h");
    fs::write(copy.path().join("exporter.yml"), yml).unwrap();
    fs::create_dir(copy.path().join("state")).unwrap();
    fs::copy(folder.join("state/state.redb"), copy.path().join("state/state.redb")).unwrap();
    let mut exporter = Exporter::launch(copy.path(), "127.0.0.1:0");
    exporter.listens().await;
    look(&exporter.address).await
}

async fn look(address: &str) -> Page {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    Page(client.get(format!("http://{address}/metrics")).send().await.unwrap().text().await.unwrap())
}

async fn until(address: &str, what: &str, reached: impl Fn(&Page) -> bool) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let page = look(address).await;
        if reached(&page) {
            return;
        }
        let own: Vec<_> = page.0.lines().filter(|line| line.contains("report=")).collect();
        assert!(tokio::time::Instant::now() < deadline, "not so after {DEADLINE:?}: {what}\n{}", own.join("\n"));
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

// === impl Page ===

impl Page {
    fn value(&self, name: &str, labels: &[&str]) -> Option<f64> {
        let wanted = |line: &&str| line.starts_with(name) && labels.iter().all(|label| line.contains(label));
        self.0.lines().find(wanted).and_then(|line| line.rsplit(' ').next()?.parse().ok())
    }

    /// Whether all of these reports fail for a reason of our own, and more than once.
    fn fails(&self, reports: &[&str]) -> bool {
        reports.iter().all(|report| self.failures(report) >= 2.0 && self.up(report) == 0.0)
    }

    fn failures(&self, report: &str) -> f64 {
        let report = format!("report=\"{report}\"");
        self.value("contact_center_poll_failures_total{", &[&report, "reason=\"internal\""]).unwrap_or_default()
    }

    fn up(&self, report: &str) -> f64 {
        self.value("contact_center_up{", &[&format!("report=\"{report}\"")]).unwrap_or(-1.0)
    }

    fn all_up(&self) -> bool {
        let up: Vec<_> = self.0.lines().filter(|line| line.starts_with("contact_center_up{")).collect();
        up.len() == vendors::REPORTS && up.iter().all(|line| line.ends_with(" 1.0"))
    }

    /// The lines that hold counters of agents and campaigns.
    fn vendor_counters(&self) -> Vec<&str> {
        let counter = |line: &&str| {
            let name = line.split('{').next().unwrap_or_default();
            ["contact_center_agent_", "contact_center_campaign_"].iter().any(|start| name.starts_with(start))
                && ["_total", "_bucket", "_sum", "_count"].iter().any(|end| name.ends_with(end))
        };
        let mut lines: Vec<_> = self.0.lines().filter(counter).collect();
        lines.sort_unstable();
        lines
    }

    /// Whether all counters are these.
    fn shows(&self, families: &[Family]) -> bool {
        families.iter().filter(|family| family.is_counter()).all(|family| self.has(family))
    }

    fn has(&self, family: &Family) -> bool {
        self.vector(&family.query) == family.values
    }

    /// What Prometheus would answer to one of the queries of [`expected`].
    fn vector(&self, query: &str) -> Values {
        let (selector, positive) = query.strip_suffix(" > 0").map_or((query, false), |selector| (selector, true));
        let (name, labels) = selector.split_once('{').unwrap_or((selector, ""));
        let (name, labels) = (format!("{name}{{"), labels.trim_end_matches('}'));
        let lines = self.0.lines().filter(|line| line.starts_with(&name) && line.contains(labels));
        let entity = |line: &str| {
            let label = ["agent=\"", "campaign=\""].iter().find_map(|label| line.split_once(label));
            label.and_then(|(_, rest)| rest.split_once('"')).map(|(value, _)| value.to_owned())
        };
        let pairs = lines.filter_map(|line| Some((entity(line)?, line.rsplit(' ').next()?.parse().ok()?)));
        pairs.filter(|(_, value)| !positive || *value > 0.0).collect()
    }
}

// === impl Disk ===

impl Disk {
    fn new(folder: &Path) -> Self {
        let state = folder.join("state");
        fs::create_dir(&state).unwrap();
        let wanted = std::env::var_os("DISK").is_none_or(|wish| wish != "limit");
        let disk = Self { mounted: wanted && run("mount", &["-t", "tmpfs", "-o", SIZE, "none"], &state), state };
        if !disk.mounted {
            println!("no tmpfs may be mounted here: the size of files is limited instead, and nothing is read-only");
        }
        disk
    }

    /// Leaves no room.
    fn fill(&self, exporter: &Exporter) {
        if !self.mounted {
            return exporter.limit_files("1");
        }
        let mut file = fs::File::create(self.state.join("filler")).unwrap();
        let chunk = [1; 4096];
        while file.write(&chunk).is_ok_and(|written| written > 0) {}
    }

    /// Makes room and has it not writable.
    async fn freeze(&self) {
        if !self.mounted {
            return;
        }
        // Between two attempts nobody has a file open for writing.
        let deadline = tokio::time::Instant::now() + DEADLINE;
        while !run("mount", &["-o", "remount,ro,size=64m"], &self.state) {
            assert!(tokio::time::Instant::now() < deadline, "cannot be made read-only");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    fn free_again(&self, exporter: &Exporter) {
        if self.mounted {
            assert!(run("mount", &["-o", "remount,rw"], &self.state));
        } else {
            exporter.limit_files("unlimited");
        }
    }

    /// For the record.
    fn free(&self) -> String {
        let file = fs::metadata(self.state.join("state.redb")).unwrap();
        let allocated = std::os::unix::fs::MetadataExt::blocks(&file) * 512;
        format!("state of {allocated} bytes in a file of {}", file.len())
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            run("umount", &["--lazy"], &self.state);
        }
    }
}

fn run(command: &str, arguments: &[&str], at: &Path) -> bool {
    Command::new(command).args(arguments).arg(at).output().is_ok_and(|output| output.status.success())
}
