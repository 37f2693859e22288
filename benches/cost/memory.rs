//! Resident memory of the demo, simulators and all, while it is being scraped.

use std::thread;
use std::time::Duration;

use anyhow::Context as _;

use crate::Row;
use crate::processes::{exporter, first_scrape, free_address, quietly};

/// How long the demo runs, in seconds; it is scraped once in each.
const SECONDS: u32 = 30;
/// What it may take, in MB.
const LIMIT: f64 = 30.0;

pub(crate) fn measure() -> anyhow::Result<Row> {
    let address = free_address()?;
    let demo = quietly(exporter().arg("demo").arg(format!("--web.listen-address={address}")))?;
    for _ in 0..SECONDS {
        thread::sleep(Duration::from_secs(1));
        first_scrape(address)?;
    }
    let status = std::fs::read_to_string(format!("/proc/{}/status", demo.0.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("no VmRSS")?;
    let megabytes = kib * 1024.0 / 1e6;
    Ok(Row {
        what: "resident memory of the demo after 30 s",
        ours: format!("{megabytes:.1} MB"),
        theirs: "–".to_owned(),
        verdict: format!("below {LIMIT} MB"),
        met: megabytes < LIMIT,
    })
}
