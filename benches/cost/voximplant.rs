//! A thousand Voximplant users and fifty queues, all reports, against the simulated platform in a process of its own, which
//! takes a fifth of a second for each answer. Time is real, but polls come six times as often as they have to: what they
//! take is compared with the interval of a minute.

use std::fmt::Write as _;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};
use contact_center_exporter::simulator::{Options, Vendor};

use crate::Row;
use crate::processes::{exporter, first_scrape, free_address, quietly, sample, write_all};
use crate::simulators::{Simulators, Site};

const USERS: usize = 1000;
const QUEUES: usize = 50;
/// The interval that a poll has to keep, in seconds, and the one at which it is measured.
const INTERVAL: f64 = 60.0;
const MEASURED: &str = "10s";
/// How long the platform takes for an answer.
const LATENCY: Duration = Duration::from_millis(200);
/// Polls of each report that are waited for; the slowest counts.
const POLLS: f64 = 3.0;
const LOOK: Duration = Duration::from_millis(250);
const MOST_LOOKS: u32 = 600;
const REPORTS: [&str; 4] = ["operator_statistics", "operator_status", "queue_statistics", "directory"];

/// What the platform has to tell.
pub(crate) fn load(options: &mut Options) {
    options.agents = USERS;
    options.huawei_agents = Some(1);
    options.voximplant_queues = QUEUES;
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (mut simulators, site) = Simulators::under("voximplant", LATENCY)?;
    let folder = tempfile::tempdir()?;
    configure(&site, folder.path())?;
    let address = free_address()?;
    let config = format!("--config.file={}", folder.path().join("exporter.yml").display());
    let child = quietly(exporter().arg(config).arg(format!("--web.listen-address={address}")))?;
    let mut slowest = [0.0_f64; REPORTS.len()];
    for _ in 0..MOST_LOOKS {
        let page = first_scrape(address)?;
        let family = |name: &str, report: &str| {
            let labels = format!("{{vendor=\"voximplant\",account=\"shop-eu\",report=\"{report}\"}}");
            sample(&page, &format!("contact_center_{name}{labels}"))
        };
        for (slowest, report) in slowest.iter_mut().zip(REPORTS) {
            *slowest = slowest.max(family("last_poll_duration_seconds", report).unwrap_or_default());
        }
        // The poll after the last one that counts has begun.
        if REPORTS.iter().all(|report| family("polls_total", report) > Some(POLLS)) {
            for report in REPORTS {
                let skipped = family("polls_skipped_total", report);
                ensure!(family("up", report) == Some(1.0) && skipped == Some(0.0), "{report} failed or was skipped");
            }
            let series = sample(&page, "contact_center_exporter_series").context("no series on the page")?;
            let [.., peak] = simulators.peaks()?;
            drop(child);
            for (report, seconds) in REPORTS.iter().zip(slowest) {
                println!("voximplant {report}: {seconds:.2} s a poll");
            }
            let worst = slowest.into_iter().fold(0.0, f64::max);
            let queues = u32::try_from(QUEUES)?;
            return Ok(vec![Row {
                what: "Voximplant, 1000 users, 50 queues, 0.2 s each",
                ours: format!("{worst:.1} s"),
                theirs: format!("{series:.0} series"),
                verdict: format!("within {INTERVAL} s; {} requests a minute, {peak} under way", queues + 2),
                met: worst < INTERVAL,
            }]);
        }
        thread::sleep(LOOK);
    }
    bail!("the exporter does not poll")
}

fn configure(site: &Site, folder: &Path) -> anyhow::Result<()> {
    let mut queues = String::new();
    for queue in (54..).take(QUEUES) {
        write!(queues, "{queue}, ")?;
    }
    let yml = format!(
        "state: {{ path: state }}
vendors:
  voximplant:
    - account: shop-eu
      base_url: {}
      credentials_file: credentials.json
      reports:
        operator_statistics: {{ interval: {MEASURED} }}
        operator_status: {{ interval: {MEASURED} }}
        queue_statistics: {{ interval: {MEASURED}, queues: [{}] }}
        directory: {{ interval: {MEASURED}, application: shop }}
",
        site.url(Vendor::Voximplant),
        queues.trim_end_matches(", ")
    );
    write_all(folder, &[("exporter.yml", &yml), ("credentials.json", &site.voximplant_key)])
}
