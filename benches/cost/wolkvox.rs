//! A Wolkvox operation of five hundred agents with all four reports on their documented intervals and one licence: a whole
//! local day on a virtual clock against the simulator with its real limits. Every answer takes the vendor two seconds.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use contact_center_exporter::app::{App, Ground};
use contact_center_exporter::client::{Answer, Request, Transport, TransportError};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config;
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::page::Format;
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use futures_util::future::BoxFuture;
use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::Row;
use crate::processes::sample;

const AGENTS: usize = 500;
const QUOTA: u64 = 1000;
const LATENCY: Duration = Duration::from_secs(2);
/// The reports with their intervals in seconds.
const REPORTS: [(&str, i64); 4] =
    [("agent_activity", 300), ("agent_hold_mute", 300), ("skill_service", 300), ("token_usage", 3600)];
/// Six in the evening in Bogota, so that the day has a yesterday; and the midnights of the measured day.
const START: &str = "2026-11-19T23:00:00Z";
const DAY: [&str; 2] = ["2026-11-20T05:00:00Z", "2026-11-21T05:00:00Z"];
/// How often the reports' ages are looked at.
const LOOK: Duration = Duration::from_secs(20);

/// The way to the vendor, and how many are on it at once.
struct Wire {
    simulator: Arc<Simulator>,
    under_way: Arc<AtomicUsize>,
    peak: Arc<AtomicUsize>,
    largest: Arc<AtomicUsize>,
}

impl Transport for Wire {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            self.peak.fetch_max(self.under_way.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
            tokio::time::sleep(LATENCY).await;
            let mut asked =
                http::Request::builder().method(request.method.clone()).uri(&request.url[url::Position::BeforePath..]);
            for (name, value) in &request.headers {
                asked = asked.header(name, value);
            }
            let asked = asked.body(Bytes::new()).map_err(|_| TransportError::Network)?;
            let (status, body) = self.simulator.answer(Vendor::Wolkvox, asked);
            self.largest.fetch_max(body.len(), Ordering::SeqCst);
            self.under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(Answer { status, retry_after: None, body })
        })
    }
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(day(folder.path()))
}

async fn day(folder: &Path) -> anyhow::Result<Vec<Row>> {
    let clock = Clock::scaled(START.parse()?, 1.0);
    let simulator = Arc::new(Simulator::offline(Options { agents: AGENTS, ..Options::new(clock.clone()) })?);
    let reports = REPORTS.map(|(report, seconds)| format!("{report}: {{ interval: {seconds}s }}")).join(", ");
    let yml = format!(
        "vendors: {{ wolkvox: [{{ account: v, base_url: 'http://127.0.0.1', token: '{}', licences: 1, reports: {{ {reports} }} }}] }}",
        simulator.credentials().wolkvox_token
    );
    let file = folder.join("exporter.yml");
    std::fs::write(&file, yml)?;
    let loaded = config::load(&file)?;
    let planned: f64 =
        loaded.plan.json().as_array().into_iter().flatten().filter_map(|r| r["requests_per_day"].as_f64()).sum();
    let [peak, largest] = [const { AtomicUsize::new(0) }; 2].map(Arc::new);
    let (shared, wire_peak, wire_largest) = (Arc::clone(&simulator), Arc::clone(&peak), Arc::clone(&largest));
    let state = folder.join("state");
    let ground = Ground {
        clock: clock.clone(),
        store: Box::new(move || Ok(Box::new(RedbStore::open(&state)?))),
        transport: Box::new(move |_, _, _| {
            Ok(Box::new(Wire {
                simulator: Arc::clone(&shared),
                under_way: Arc::default(),
                peak: Arc::clone(&wire_peak),
                largest: Arc::clone(&wire_largest),
            }))
        }),
        offload: false,
    };
    let app = App::on(&loaded, ground, "/metrics")?;
    let (site, stop) = (app.site(), CancellationToken::new());
    let running = tokio::spawn(app.run(Vec::new(), stop.clone()));
    let until = async |to: &str| -> anyhow::Result<i64> {
        let (to, mut latest) = (to.parse::<Timestamp>()?, 0);
        while clock.now() < to {
            tokio::time::sleep(LOOK).await;
            for (id, report) in site.health.reports() {
                let (_, interval) = REPORTS.iter().find(|(name, _)| *name == id.report).context("an unknown report")?;
                let age = report.last_success.map_or(SignedDuration::ZERO, |at| clock.now().duration_since(at));
                latest = latest.max(age.as_secs() - interval);
            }
        }
        Ok(latest)
    };
    until(DAY[0]).await?;
    let (before, started) = (simulator.log(Vendor::Wolkvox).total, Instant::now());
    let late = until(DAY[1]).await?;
    let used = simulator.log(Vendor::Wolkvox).total - before;
    ensure!(started.elapsed() >= Duration::from_hours(24), "less than a day was measured");
    let page = site.page.render(Format::Text004, &site.health.block(0));
    let sum = |name: &str| -> f64 {
        let of = |(report, _): (&str, i64)| {
            let series = format!("contact_center_{name}{{vendor=\"wolkvox\",account=\"v\",report=\"{report}\"");
            page.lines().filter(|line| line.starts_with(&series)).filter_map(|line| sample(line, &series)).sum::<f64>()
        };
        REPORTS.map(of).iter().sum()
    };
    let (skipped, failed) = (sum("polls_skipped_total"), sum("poll_failures_total"));
    stop.cancel();
    running.await?;

    let (peak, largest) = (peak.load(Ordering::SeqCst), largest.load(Ordering::SeqCst));
    println!("wolkvox: {AGENTS} agents, largest answer {largest} bytes, {skipped} polls skipped, {failed} failed");
    #[expect(clippy::cast_precision_loss, reason = "a thousand")]
    let share = used as f64 / QUOTA as f64;
    Ok(vec![
        Row {
            what: "Wolkvox requests of a day, 4 reports, virtual",
            ours: used.to_string(),
            theirs: format!("plan {planned}, quota {QUOTA}"),
            verdict: format!("{:.0} %, nothing refused or skipped", share * 100.0),
            met: used <= QUOTA && skipped == 0.0 && failed == 0.0,
        },
        Row {
            what: "Wolkvox requests at once",
            ours: peak.to_string(),
            theirs: "vendor 1".to_owned(),
            verdict: "1".to_owned(),
            met: peak == 1,
        },
        Row {
            what: "Wolkvox figures older than their interval by",
            ours: format!("{late} s"),
            theirs: format!("answer {} s", LATENCY.as_secs()),
            verdict: "at most 40 s".to_owned(),
            met: late <= 40,
        },
    ])
}
