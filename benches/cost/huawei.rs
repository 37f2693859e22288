//! Ten thousand Huawei agents within an interval of thirty seconds, in real time, against the simulated gateway in a process
//! of its own: once with answers at once and the default concurrency, once with answers that take a while and more
//! concurrency. The gateway has no documented limit; what is under way at once must stay what was configured.

use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use contact_center_exporter::simulator::Options;

use crate::Row;
use crate::processes::{exporter, first_scrape, free_address, quietly, sample};
use crate::simulators::Simulators;

const AGENTS: usize = 10_000;
/// The interval that a poll has to keep, in seconds.
const INTERVAL: f64 = 30.0;
/// Polls that are waited for; the slowest counts.
const POLLS: f64 = 2.0;
/// The page is looked at so often, and so many times at most.
const LOOK: Duration = Duration::from_millis(500);
const MOST_LOOKS: u32 = 300;
/// How long the slower gateway takes for an answer.
const LATENCY: Duration = Duration::from_millis(40);
const LABELS: &str = r#"{vendor="huawei",account="aicc-br",report="agent_call_statistics"}"#;

/// What the gateway has to tell.
pub(crate) fn load(options: &mut Options) {
    options.huawei_agents = Some(AGENTS);
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    Ok(vec![
        case("10,000 Huawei agents, 8 at once", Duration::ZERO, 8)?,
        case("10,000 Huawei agents, 32 at once, 40 ms each", LATENCY, 32)?,
    ])
}

fn case(what: &'static str, latency: Duration, concurrency: usize) -> anyhow::Result<Row> {
    let (mut simulators, site) = Simulators::under("huawei", latency)?;
    let folder = tempfile::tempdir()?;
    site.huawei_alone(folder.path(), "30s", concurrency)?;
    let address = free_address()?;
    let config = format!("--config.file={}", folder.path().join("exporter.yml").display());
    let _child = quietly(exporter().arg(config).arg(format!("--web.listen-address={address}")))?;
    let (mut slowest, mut last, mut polls) = (0.0_f64, 0.0, 0.0);
    for _ in 0..MOST_LOOKS {
        let page = first_scrape(address)?;
        let family = |name: &str| sample(&page, &format!("contact_center_{name}{LABELS}"));
        if let Some(success) = family("last_success_timestamp_seconds").filter(|success| *success > last) {
            (last, polls) = (success, polls + 1.0);
            slowest = slowest.max(family("last_poll_duration_seconds").context("no duration on the page")?);
        }
        if polls >= POLLS {
            ensure!(
                family("up") == Some(1.0) && family("polls_skipped_total") == Some(0.0),
                "a poll failed or was skipped"
            );
            let cpu = sample(&page, "process_cpu_seconds_total").context("no CPU time on the page")?;
            let [.., peak, _] = simulators.peaks()?;
            let (cpu, rate) = (cpu / polls, agents() / slowest);
            println!("{what}: {slowest:.2} s a poll, {rate:.0} requests/s, {peak} under way, {cpu:.2} s of CPU a poll");
            return Ok(Row {
                what,
                ours: format!("{slowest:.2} s"),
                theirs: format!("{peak} under way, CPU {cpu:.1} s"),
                verdict: format!("within {INTERVAL} s, at most {concurrency} under way"),
                met: slowest < INTERVAL && peak <= concurrency,
            });
        }
        thread::sleep(LOOK);
    }
    bail!("the exporter does not poll")
}

#[expect(clippy::cast_precision_loss, reason = "ten thousand")]
fn agents() -> f64 {
    AGENTS as f64
}
