//! Days of the demo in seconds: the whole program in this process, on paused time against the demo's vendors, its page
//! kept every four minutes with the time of the story. A real Prometheus server then has the days in its storage, ending now,
//! as if it had scraped them all.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::ops::Range;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use contact_center_exporter::app::{App, Ground};
use contact_center_exporter::client::{Answer, Request, Transport, TransportError};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config;
use contact_center_exporter::demo;
use contact_center_exporter::ledger::store::{Store, StoreError, Writes};
use contact_center_exporter::page::Format;
use contact_center_exporter::simulator::{Fault, Options, Simulator, Vendor};
use futures_util::future::BoxFuture;
use jiff::tz::{self, TimeZone};
use jiff::{SignedDuration, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::children::promtool;

/// How often the page is kept.
pub(crate) const SCRAPE: Duration = Duration::from_mins(4);
/// Intervals of the demo are those of a show.
const INTERVAL: &str = "interval: 5m";

/// What to play.
pub(crate) struct Story {
    /// How long.
    pub(crate) length: SignedDuration,
    /// A second exporter was there for so long before the end, and showed the same.
    pub(crate) second: SignedDuration,
    /// A vendor fails from when to when before the end, and how.
    pub(crate) fault: (Range<SignedDuration>, Vendor, Fault),
    /// What stands otherwise in exporter.yml: replaced by what.
    pub(crate) settings: Vec<(&'static str, String)>,
    /// Wolkvox licences that the vendor knows; 1000 requests a day each.
    pub(crate) licences: u32,
    /// Requests that other tokens spend each day.
    pub(crate) others: u32,
    /// Where the Wolkvox tenant is, in hours east of Greenwich.
    pub(crate) zone: i8,
}

/// The label `instance` of the two exporters.
pub(crate) const INSTANCES: [&str; 2] = ["exporter-a:10048", "exporter-b:10048"];

/// Nothing has to outlive this process.
#[derive(Default)]
struct Memory(BTreeMap<String, Vec<u8>>);

/// The way to a vendor without sockets.
struct Wire {
    simulator: Arc<Simulator>,
    vendor: Vendor,
    requests: AtomicU64,
}

impl Story {
    /// Plays it, with its end now, into `data`, the storage of a Prometheus server that has not started.
    pub(crate) fn play(&self, data: &Path) {
        let folder = tempfile::tempdir().unwrap();
        let text = folder.path().join("history.txt");
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        let lines = runtime.block_on(self.tell(folder.path(), &text));
        let mut command = Command::new(promtool());
        command.args(["tsdb", "create-blocks-from", "openmetrics", "--max-block-duration=512h", "--quiet"]);
        let output = command.arg(&text).arg(data).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        println!("{lines} samples of {:#} are in the storage", self.length);
    }

    async fn tell(&self, folder: &Path, text: &Path) -> usize {
        let end = Clock::system().now();
        let clock = Clock::scaled(end - self.length, 1.0);
        let options = Options {
            agents: 12,
            limits: None,
            wolkvox_licences: self.licences,
            wolkvox_others: self.others,
            wolkvox_zone: TimeZone::fixed(tz::offset(self.zone)),
            ..Options::new(clock.clone())
        };
        let simulator = Arc::new(Simulator::offline(options).unwrap());
        demo::configure(&simulator, folder).unwrap();
        let file = folder.join("exporter.yml");
        let mut yml = std::fs::read_to_string(&file).unwrap();
        for seconds in ["interval: 2s", "interval: 5s", "interval: 30s"] {
            yml = yml.replace(seconds, INTERVAL);
        }
        for (old, new) in &self.settings {
            assert!(yml.contains(*old), "no {old} in exporter.yml");
            yml = yml.replace(*old, new.as_str());
        }
        std::fs::write(&file, yml).unwrap();
        let loaded = config::load(&file).unwrap();

        let vendors = Arc::clone(&simulator);
        let ground = Ground {
            clock: clock.clone(),
            store: Box::new(|| Ok(Box::<Memory>::default())),
            transport: Box::new(move |settings, _, _| {
                let vendor = Vendor::ALL.into_iter().find(|vendor| vendor.label() == settings.vendor).unwrap();
                Ok(Box::new(Wire { simulator: Arc::clone(&vendors), vendor, requests: AtomicU64::new(0) }))
            }),
            offload: false,
        };
        let app = App::on(&loaded, ground, "/metrics").unwrap();
        let (site, stop) = (app.site(), CancellationToken::new());
        let running = tokio::spawn(app.run(Vec::new(), stop.clone()));

        let mut out = BufWriter::new(File::create(text).unwrap());
        let (mut lines, mut listed, mut ucids) = (0, clock.now(), Vec::new());
        while clock.now() < end {
            tokio::time::sleep(SCRAPE).await;
            let now = clock.now();
            let (times, vendor, fault) = &self.fault;
            let failing = times.contains(&end.duration_since(now));
            simulator.set_fault(*vendor, if failing { *fault } else { Fault::None });
            ucids.extend(simulator.ozonetel_ucids(listed, now).into_iter().map(|(id, day)| format!("{id},{day}\n")));
            ucids.drain(..ucids.len().saturating_sub(1000));
            listed = now;
            std::fs::write(folder.join("ucids.txt"), ucids.concat()).unwrap();
            let page = site.page.render(Format::Text004, &site.health.block(site.page.series()));
            lines += keep(&mut out, &page, INSTANCES[0], now);
            if end.duration_since(now) < self.second {
                lines += keep(&mut out, &page, INSTANCES[1], now);
            }
        }
        out.write_all(b"# EOF\n").unwrap();
        out.flush().unwrap();
        stop.cancel();
        running.await.unwrap();
        lines
    }
}

/// Adds what Prometheus adds to a scrape.
fn keep(out: &mut impl std::io::Write, page: &str, instance: &str, now: Timestamp) -> usize {
    let target = format!("job=\"contact-center\",instance=\"{instance}\"");
    let at = now.as_millisecond().cast_unsigned();
    let at = format!("{}.{:03}", at / 1000, at % 1000);
    let mut lines = 0;
    for line in page.lines().filter(|line| !line.starts_with('#')) {
        let (series, value) = line.rsplit_once(' ').unwrap();
        match series.split_once('{') {
            Some((name, labels)) => writeln!(out, "{name}{{{target},{labels} {value} {at}").unwrap(),
            None => writeln!(out, "{series}{{{target}}} {value} {at}").unwrap(),
        }
        lines += 1;
    }
    let own = [("up", 1), ("scrape_samples_scraped", lines)];
    for (name, value) in own {
        writeln!(out, "{name}{{{target}}} {value} {at}").unwrap();
    }
    writeln!(out, "scrape_duration_seconds{{{target}}} 0.004 {at}").unwrap();
    lines
}

// === impl Memory ===

impl Store for Memory {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        let pairs = self.0.iter().filter(|(key, _)| key.starts_with(prefix));
        Ok(pairs.map(|(key, value)| (key.clone(), value.clone())).collect())
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        for (key, value) in writes {
            match value {
                Some(value) => _ = self.0.insert(key.clone(), value.clone()),
                None => _ = self.0.remove(key),
            }
        }
        Ok(())
    }
}

// === impl Wire ===

impl Transport for Wire {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            // Some answer sooner than others.
            let number = self.requests.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(Duration::from_millis(30 + number.wrapping_mul(7919) % 211)).await;
            let target = &request.url[url::Position::BeforePath..];
            let mut asked = http::Request::builder().method(request.method.clone()).uri(target);
            for (name, value) in &request.headers {
                asked = asked.header(name, value);
            }
            let (status, body) = self.simulator.answer(self.vendor, asked.body(request.body.clone()).unwrap());
            Ok(Answer { status, retry_after: None, body })
        })
    }
}
