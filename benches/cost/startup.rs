//! From exec to the first answered scrape, beside Debian's pushgateway: a small exporter-like server that people know. The
//! exporter comes with an account of each vendor, once with the state of an earlier run and once without any.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::processes::{exporter, first_scrape, free_address, quietly};
use crate::simulators::Simulators;
use crate::{Row, median};

/// Rounds; each starts every side once.
const ROUNDS: usize = 25;

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let (_simulators, site) = Simulators::start()?;
    let folder = tempfile::tempdir()?;
    site.four_vendors(folder.path())?;
    let (mut fresh, mut again, mut theirs) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms the page cache and is not counted.
    for round in 0..=ROUNDS {
        let _ = std::fs::remove_dir_all(folder.path().join("state"));
        let figures = [ours(folder.path())?, pushgateway()?, ours(folder.path())?];
        println!(
            "start-up {round:>2}: fresh state {:5.1} ms, pushgateway {:5.1} ms, earlier state {:5.1} ms",
            figures[0], figures[1], figures[2]
        );
        if round > 0 {
            fresh.push(figures[0]);
            theirs.push(figures[1]);
            again.push(figures[2]);
        }
    }
    let theirs = median(&mut theirs);
    let row = |what, figures: &mut [f64]| {
        let ours = median(figures);
        Row {
            what,
            ours: format!("{ours:.1} ms"),
            theirs: format!("pushgateway {theirs:.1} ms"),
            verdict: format!("ratio {:.2}, at most 1", ours / theirs),
            met: ours <= theirs,
        }
    };
    Ok(vec![row("first scrape, with earlier state", &mut again), row("first scrape, with no state yet", &mut fresh)])
}

fn ours(folder: &Path) -> anyhow::Result<f64> {
    let config = format!("--config.file={}", folder.join("exporter.yml").display());
    timed(exporter().arg(config))
}

fn pushgateway() -> anyhow::Result<f64> {
    timed(&mut Command::new("prometheus-pushgateway"))
}

#[expect(clippy::disallowed_methods, reason = "it is the machine's time that is measured")]
fn timed(command: &mut Command) -> anyhow::Result<f64> {
    let address = free_address()?;
    command.arg(format!("--web.listen-address={address}"));
    let start = Instant::now();
    let _child = quietly(command)?;
    first_scrape(address)?;
    Ok(start.elapsed().as_secs_f64() * 1e3)
}
