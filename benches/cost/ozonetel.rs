//! A day of 20,000 call legs through the whole program within two requests a minute: the simulator keeps the vendor's own
//! limit, and time is virtual, so that a day and the night after it take a minute. Nothing is measured but how often the
//! vendor was asked, how long polls took in virtual time, and whether every leg was counted.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contact_center_exporter::app::{App, Ground};
use contact_center_exporter::client::{Answer, Request, Transport, TransportError};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config;
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::page::{Block, Format};
use contact_center_exporter::simulator::truth::{DAY, IST};
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::Row;

/// So many agents have about 20,000 legs a day between them.
const AGENTS: usize = 58;
const LEGS: usize = 20_000;
/// Midnight in India.
const START: &str = "2026-11-18T18:30:00Z";
/// How long an answer takes; days of real accounts are megabytes.
const LATENCY: Duration = Duration::from_secs(3);
const INTERVAL: u64 = 300;
/// So many intervals after its end a leg has to be counted: two of three crowded polls read the latest windows alone, and a long
/// call stands in an older one.
const LATE: i64 = 4;

struct Wire(Arc<Simulator>);

impl Transport for Wire {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        Box::pin(async move {
            let mut asked =
                http::Request::builder().method(request.method.clone()).uri(&request.url[url::Position::BeforePath..]);
            for (name, value) in &request.headers {
                asked = asked.header(name, value);
            }
            let asked = asked.body(request.body.clone()).map_err(|_| TransportError::Network)?;
            let (status, body) = self.0.answer(Vendor::Ozonetel, asked);
            tokio::time::sleep(LATENCY).await;
            Ok(Answer { status, retry_after: None, body })
        })
    }
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build()?;
    runtime.block_on(day())
}

async fn day() -> anyhow::Result<Vec<Row>> {
    let start: jiff::Timestamp = START.parse()?;
    let clock = Clock::scaled(start, 1.0);
    let options = Options { agents: AGENTS, ozonetel_token: true, ..Options::new(clock.clone()) };
    let simulator = Arc::new(Simulator::offline(options)?);
    let folder = tempfile::tempdir()?;
    let credentials = simulator.credentials();
    let file = folder.path().join("exporter.yml");
    let yml = format!(
        "state: {{ path: state }}
vendors:
  ozonetel:
    - account: support-in
      base_url: http://127.0.0.1
      user_name: {}
      api_key: {}
      auth: token
      reports: {{ call_records: {{ interval: {INTERVAL}s }}, agent_summary: {{ interval: {INTERVAL}s }} }}
",
        credentials.ozonetel_user_name, credentials.ozonetel_api_key
    );
    std::fs::write(&file, yml)?;
    let loaded = config::load(&file)?;
    let (path, way) = (folder.path().join("state"), Arc::clone(&simulator));
    let ground = Ground {
        clock: clock.clone(),
        store: Box::new(move || Ok(Box::new(RedbStore::open(&path)?))),
        transport: Box::new(move |_, _, _| Ok(Box::new(Wire(Arc::clone(&way))))),
        offload: false,
    };
    let app = App::on(&loaded, ground, "/metrics")?;
    let (site, stop) = (app.site(), CancellationToken::new());
    let running = tokio::spawn(app.run(Vec::new(), stop.clone()));

    let (mut longest, mut skipped, mut busiest, mut before) = (0.0_f64, 0.0, 0, 0);
    // The day, and the night in which it settles.
    for _ in 0..(24 + 9) * 12 {
        tokio::time::sleep(Duration::from_secs(INTERVAL)).await;
        for (id, report) in site.health.reports() {
            ensure!(report.up != Some(false), "{} failed: {:?}", id.report, report.last_failure);
        }
        let health = site.page.render(Format::Text004, &site.health.block(0));
        longest = longest.max(sum(&health, "last_poll_duration_seconds", "call_records"));
        skipped = sum(&health, "polls_skipped_total", "");
        let sent = simulator.log(Vendor::Ozonetel).total;
        busiest = busiest.max(sent - before);
        before = sent;
    }
    // Read before the new day adds its own: what both days hold is compared.
    let now = clock.now().as_second();
    let from = start.as_second();
    let mut calls = simulator.truth().calls(Vendor::Ozonetel, &(from..now + 1));
    calls.retain(|call| call.end() <= now - LATE * INTERVAL.cast_signed());
    let (mut legs, mut first_day) = (0, 0);
    for call in &calls {
        let count = 1 + usize::from(call.missed > 0) + usize::from(call.queue > 0);
        legs += 1 + usize::from(call.missed > 0);
        first_day += if call.start < from + DAY { count } else { 0 };
    }
    ensure!((start.as_second() + IST).rem_euclid(DAY) == 0, "the day begins at midnight");
    let page = site.page.render(Format::Text004, &Block::default());
    let counted: f64 = ["answered", "unanswered", "outbound"]
        .iter()
        .map(|kind| sum(&page, &format!("agent_{kind}_calls_total"), "support-in"))
        .sum();
    stop.cancel();
    running.await.context("the program")?;
    #[expect(clippy::cast_precision_loss, reason = "some tens of thousands")]
    let counted_all = counted >= legs as f64;
    let log = simulator.log(Vendor::Ozonetel);
    let pages = log.of("fetchCdrByPagination").len();
    println!(
        "ozonetel: {first_day} rows on the first day, {pages} pages and {} summaries in 33 h, {} tokens; {counted} legs of agents counted, {legs} had ended 20 minutes before",
        log.of("summaryReport").len(),
        log.of("generateToken").len()
    );
    Ok(vec![
        Row {
            what: "Ozonetel, longest poll of a busy day",
            ours: format!("{longest:.0} s"),
            theirs: format!("interval {INTERVAL} s"),
            verdict: format!("{skipped} polls skipped, none allowed"),
            met: skipped < 1.0 && counted_all && first_day >= LEGS,
        },
        Row {
            what: "Ozonetel, pages per poll on average",
            ours: format!("{:.1}", f64::from(u32::try_from(pages)?) / f64::from(33 * 12)),
            theirs: format!("{busiest} requests at most"),
            verdict: "2 a minute allow 10".to_owned(),
            met: pages <= 10 * 33 * 12,
        },
    ])
}

/// The samples of a family whose labels hold `part`, added up.
fn sum(page: &str, family: &str, part: &str) -> f64 {
    let family = format!("contact_center_{family}{{");
    let lines = page.lines().filter(|line| line.starts_with(&family) && line.contains(part));
    lines.filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok()).sum()
}
