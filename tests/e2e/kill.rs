//! The program is killed at random moments, often, while it polls and while a Prometheus server scrapes it. What
//! Prometheus has in the end, and by how much it grew meanwhile, is the truth, and no counter has ever fallen.
//!
//! `KILL_SEED=17` repeats the moments of another run, as far as the machine does.

use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::time::{Duration, SystemTime};

use contact_center_exporter::clock::Clock;

use crate::children::{Exporter, Server};
use crate::expected::{self, Family, Values};
use crate::promql::Prometheus;
use crate::vendors::{self, Vendors};
use crate::{ALL_TIME, DEADLINE};

/// Kills with signal 9; polite stops come on top.
const KILLS: usize = 40;
const STOPS: usize = 8;
/// Everything that grows with calls; the exporter's own figures begin anew with each process.
const VENDOR_COUNTERS: &str = r#"{__name__=~"contact_center_(agent|campaign|queue)_.+_(total|bucket|count|sum)"}"#;

/// How one process ends.
#[derive(Debug, Clone, Copy)]
enum End {
    /// So soon after its start that it may not serve yet.
    Early(Duration),
    /// At any moment.
    Late(Duration),
    /// As soon as it writes its state.
    Writing,
    /// SIGTERM while it serves.
    Polite(Duration),
}

/// SplitMix64.
struct Dice(u64);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_dozens_of_times_no_counter_falls_and_none_is_wrong() {
    let _turn = crate::turn().await;
    vendors::away_from_midnight().await;
    let now = Clock::system().now();
    let seed = std::env::var("KILL_SEED").map_or(now.as_millisecond().unsigned_abs(), |seed| seed.parse().unwrap());
    println!("KILL_SEED={seed}");
    let folder = tempfile::tempdir().unwrap();
    let mut vendors = Vendors::start(folder.path(), "").await;
    let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().to_string();
    let mut exporter = Exporter::launch(folder.path(), &address);
    let server = Server::start(folder.path(), &address, "500ms").await;
    let prometheus = Prometheus::new(&server.address);

    prometheus.until(&format!("count(contact_center_up == 1) == {}", vendors::REPORTS), DEADLINE).await;
    let first = polled(&prometheus, &mut vendors).await;
    vendors.go();
    let ends = ends(&mut Dice(seed));
    for end in &ends {
        let stopped = stop(exporter, *end, folder.path()).await;
        exporter = Exporter::launch(folder.path(), &address);
        assert!(stopped, "{end:?} has left something behind");
    }
    let last = polled(&prometheus, &mut vendors).await;
    assert!(exporter.ended().is_none(), "{}", exporter.log());

    let (counters, scrapes) = fallen(&prometheus).await;
    let mut wrong = Vec::new();
    let mut compared = [0; 2];
    for ((family, at_last), at_first) in last.families.iter().zip(&last.seen).zip(&first.seen) {
        let before = first.families.iter().find(|one| one.query == family.query);
        for (key, truth) in &family.values {
            let of = |seen: &Values| seen.get(key).copied().unwrap_or_default();
            let truth_before = before.and_then(|before| before.values.get(key)).copied().unwrap_or_default();
            compared[0] += 1;
            if of(at_last).to_bits() != truth.to_bits() {
                wrong.push(format!("{} of {key}: {}, the truth is {truth}", family.query, of(at_last)));
            }
            let grown = of(at_last) - of(at_first);
            compared[1] += usize::from(*truth > truth_before);
            if (grown - (truth - truth_before)).abs() > f64::EPSILON {
                wrong.push(format!("{} of {key}: grew by {grown}, truly by {}", family.query, truth - truth_before));
            }
        }
        wrong.extend(
            at_last
                .keys()
                .filter(|key| !family.values.contains_key(*key))
                .map(|key| format!("{} of {key} is there and should not be", family.query)),
        );
    }
    let kinds = |kind: fn(&End) -> bool| ends.iter().filter(|end| kind(end)).count();
    println!(
        "{} kills ({} within milliseconds of the start, {} while the state was written), {} polite stops; {counters} \
         counters in {scrapes} scrapes, none of them fell; {} last values compared, {} of which grew; {} mismatches",
        kinds(|end| !matches!(end, End::Polite(_))),
        kinds(|end| matches!(end, End::Early(_))),
        kinds(|end| matches!(end, End::Writing)),
        kinds(|end| matches!(end, End::Polite(_))),
        compared[0],
        compared[1],
        wrong.len(),
    );
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(compared[0] > 1000 && compared[1] > 200, "there should be something to compare");
    assert!(server.complaints().is_empty(), "Prometheus complains:\n{}", server.complaints().join("\n"));
}

/// The truth where it stood still, and what Prometheus had by then.
struct Moment {
    families: Vec<Family>,
    seen: Vec<Values>,
}

/// Has time stand still until every report has been polled since and scraped.
async fn polled(prometheus: &Prometheus, vendors: &mut Vendors) -> Moment {
    let stopped = vendors.stop().await;
    let after = Clock::system().now().as_second() + 2;
    let seen = format!(
        "min(contact_center_last_success_timestamp_seconds) > {after} and count(contact_center_up == 1) == {}",
        vendors::REPORTS
    );
    prometheus.until(&seen, DEADLINE).await;
    let families = expected::families(vendors.truth(), &stopped);
    let families: Vec<_> = families.into_iter().filter(Family::is_counter).collect();
    let mut seen = Vec::new();
    for family in &families {
        seen.push(prometheus.vector(&family.query).await);
    }
    Moment { families, seen }
}

/// Ends the process; true if it ended as it should.
async fn stop(mut exporter: Exporter, end: End, folder: &Path) -> bool {
    let ended = match end {
        End::Early(after) | End::Late(after) => tokio::time::timeout(after, died(&mut exporter)).await.ok(),
        End::Writing => {
            let written = tokio::task::spawn_blocking({
                let file = folder.join("state/state.redb");
                move || written(&file)
            });
            let _ = tokio::time::timeout(Duration::from_secs(5), written).await;
            exporter.ended()
        }
        End::Polite(after) => {
            exporter.listens().await;
            tokio::time::sleep(after).await;
            exporter.signal("TERM");
            return exporter.end().await.code() == Some(0);
        }
    };
    assert_eq!(ended, None, "ended by itself:\n{}", exporter.log());
    exporter.kill().signal() == Some(9)
}

async fn died(exporter: &mut Exporter) -> std::process::ExitStatus {
    loop {
        if let Some(status) = exporter.ended() {
            return status;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Returns as soon as the file changes.
fn written(file: &Path) {
    let changed = || std::fs::metadata(file).and_then(|file| file.modified()).unwrap_or(SystemTime::UNIX_EPOCH);
    let before = changed();
    for _ in 0..200_000 {
        if changed() != before {
            return;
        }
        std::thread::sleep(Duration::from_micros(20));
    }
}

fn ends(dice: &mut Dice) -> Vec<End> {
    let mut ends: Vec<_> = (0..KILLS + STOPS)
        .map(|number| match number {
            _ if number < STOPS => End::Polite(dice.millis(0, 1500)),
            _ if number % 4 == 0 => End::Early(dice.millis(0, 40)),
            _ if number % 4 == 1 => End::Writing,
            _ => End::Late(dice.millis(40, 2500)),
        })
        .collect();
    for place in (1..ends.len()).rev() {
        let other = usize::try_from(dice.next() % (place as u64 + 1)).unwrap();
        ends.swap(place, other);
    }
    ends
}

/// How many counters there are, in how many scrapes; fails if one ever fell.
async fn fallen(prometheus: &Prometheus) -> (usize, usize) {
    let (mut counters, mut scrapes) = (0, 0);
    for name in prometheus.names(VENDOR_COUNTERS).await {
        let fell = prometheus.vector(&format!("resets({name}{ALL_TIME}) > 0")).await;
        assert!(fell.is_empty(), "{name} fell: {fell:?}");
        // The same from the samples themselves.
        for (series, values) in prometheus.samples(&format!("{name}{ALL_TIME}")).await {
            assert!(values.is_sorted(), "{series} fell: {values:?}");
            counters += 1;
            scrapes = scrapes.max(values.len());
        }
    }
    (counters, scrapes)
}

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(low + self.next() % (high - low))
    }
}
