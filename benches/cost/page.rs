//! What a scrape costs, beside nginx serving the same bytes from a file and pushgateway holding the same series: time, CPU,
//! memory. Memory is that of an exporter that polls, and has polled for a while: the first poll says little.

mod client;
mod stage;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};

use crate::operators::SERIES;
use crate::processes::{Guard, first_scrape, free_address, quietly};
use crate::{Row, median};
use client::{Client, now};
use stage::{Nginx, Size, serve_vendor, start};

/// Rounds in which CPU is counted, and scrapes of each side in one.
const CPU_ROUNDS: u32 = 10;
const CPU_SCRAPES: u32 = 50;
/// Scrapers at once, each of them every second, and for how long.
const SCRAPERS: usize = 20;
const A_MINUTE: Duration = Duration::from_mins(1);
/// Scrapers that do not read, and time in which they come.
const SLOW: u32 = 300;
const SLOW_TIME: Duration = Duration::from_secs(10);
/// Between two polls of an account that changes, and time in which it has been polled twenty times.
const INTERVAL: &str = "2s";
const TWENTY_POLLS: Duration = Duration::from_secs(45);
/// Between two looks at the memory.
const LOOK: Duration = Duration::from_millis(50);

const ONE: Size = Size { accounts: 1, operators: 100_000 / SERIES + 1 };
const FORTY: Size = Size { accounts: 40, operators: 2500 / SERIES + 1 };
const HUNDRED: Size = Size { accounts: 100, operators: 1000 / SERIES + 1 };
const MILLION: Size = Size { accounts: 10, operators: 100_000 / SERIES + 1 };

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let vendor = serve_vendor()?;
    let mut rows = one(vendor)?;
    rows.extend(forty(vendor)?);
    rows.extend(changing(vendor)?);
    rows.push(hundred(vendor)?);
    rows.extend(million(vendor)?);
    rows.extend(million_changing(vendor)?);
    Ok(rows)
}

/// 100,000 series of one report that stand.
fn one(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &ONE, "1h")?;
    let nginx = Nginx::start(folder.path(), address)?;
    let mut rows = scrapes("scrape of 100000 series", 201, 0.2, address, &nginx)?;
    for (gzip, what) in [(false, "CPU of a scrape"), (true, "the same, gzip")] {
        let mut sides = [
            (&ours, Client::new(address, "/metrics", gzip)?, 0.0),
            (&nginx.child, Client::new(nginx.address, if gzip { "/page.gz" } else { "/page" }, false)?, 0.0),
        ];
        for _ in 0..CPU_ROUNDS {
            for (process, client, sum) in &mut sides {
                *sum += cpu(process, client)?;
            }
        }
        let [mine, theirs] = sides.map(|(_, _, sum)| sum / f64::from(CPU_ROUNDS * CPU_SCRAPES));
        rows.push(Row {
            what,
            ours: format!("{mine:.2} ms"),
            theirs: format!("nginx {theirs:.2} ms"),
            verdict: format!("ratio {:.2}, at most 2", mine / theirs),
            met: mine <= 2.0 * theirs,
        });
    }
    rows.push(pushgateway(address)?);
    Ok(rows)
}

/// As many series of forty reports, of each of which the exporter also says how its polls went.
fn forty(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (_ours, address) = start(folder.path(), vendor, &FORTY, "1h")?;
    let nginx = Nginx::start(folder.path(), address)?;
    scrapes("100000 series of 40 reports", 201, 0.2, address, &nginx)
}

/// 100,000 series that change.
fn changing(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &ONE, INTERVAL)?;
    let resident = while_scraped(&ours, address, TWENTY_POLLS)?;
    Ok(vec![
        memory("memory, 100000 series polled 20 times", &resident, 60.0),
        twenty(&ours, address)?,
        unread(&ours, address)?,
    ])
}

/// 100,000 series of a hundred small accounts that change.
fn hundred(vendor: SocketAddr) -> anyhow::Result<Row> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &HUNDRED, INTERVAL)?;
    let resident = while_scraped(&ours, address, TWENTY_POLLS)?;
    Ok(memory("memory, the same of 100 accounts", &resident, f64::INFINITY))
}

/// A million series that stand.
fn million(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (_ours, address) = start(folder.path(), vendor, &MILLION, "1h")?;
    let nginx = Nginx::start(folder.path(), address)?;
    scrapes("scrape of 1000000 series", 41, 0.0, address, &nginx)
}

/// Ten accounts of 100,000 series, of which most of the time one is being put on the page.
fn million_changing(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &MILLION, INTERVAL)?;
    let resident = while_scraped(&ours, address, TWENTY_POLLS)?;
    let mut client = Client::new(address, "/metrics", true)?;
    let (began, used) = (now(), cpu_used(&ours)?);
    let mut times = Vec::new();
    while began.elapsed() < Duration::from_secs(30) {
        times.push(client.timed()?);
        thread::sleep(Duration::from_millis(20));
    }
    let busy = (cpu_used(&ours)? - used) / began.elapsed().as_secs_f64() / 10.0;
    println!("page: {} scrapes while accounts changed, {busy:.0} % of a core busy", times.len());
    let middle = median(&mut times);
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    Ok(vec![
        memory("memory, 1000000 series polled 20 times", &resident, 450.0),
        Row {
            what: "99 of 100 scrapes while accounts change",
            ours: format!("{slow:.2} ms"),
            theirs: format!("median {middle:.2} ms"),
            verdict: format!("ratio {:.2}, below 3", slow / middle),
            met: slow < 3.0 * middle,
        },
    ])
}

/// Plain, and compressed.
fn scrapes(
    what: &'static str,
    rounds: usize,
    more: f64,
    address: SocketAddr,
    nginx: &Nginx,
) -> anyhow::Result<Vec<Row>> {
    let both = [(false, what), (true, "the same, gzip")];
    both.into_iter().map(|(gzip, what)| scrape(what, rounds, more, address, nginx, gzip)).collect()
}

/// Both sides in turn; at most a tenth more than nginx, or `more` milliseconds.
fn scrape(
    what: &'static str,
    rounds: usize,
    more: f64,
    address: SocketAddr,
    nginx: &Nginx,
    gzip: bool,
) -> anyhow::Result<Row> {
    let mut ours = Client::new(address, "/metrics", gzip)?;
    let mut theirs = Client::new(nginx.address, if gzip { "/page.gz" } else { "/page" }, false)?;
    let (mut mine, mut other) = (Vec::new(), Vec::new());
    for round in 0..rounds + 5 {
        let (a, b) = (ours.timed()?, theirs.timed()?);
        if round >= 5 {
            mine.push(a);
            other.push(b);
        }
    }
    let (mine, theirs) = (median(&mut mine), median(&mut other));
    let or = if more > 0.0 { format!(" or {more} ms more") } else { String::new() };
    Ok(Row {
        what,
        ours: format!("{mine:.2} ms"),
        theirs: format!("nginx {theirs:.2} ms"),
        verdict: format!("ratio {:.2}, at most 1.1{or}", mine / theirs),
        met: mine <= (1.1 * theirs).max(theirs + more),
    })
}

/// The vendor's series alone: pushgateway has a `process_*` of its own.
fn pushgateway(address: SocketAddr) -> anyhow::Result<Row> {
    let page = first_scrape(address)?;
    let (_, page) = page.split_once("\r\n\r\n").context("no body")?;
    let is_vendors = |line: &&str| line.contains("contact_center_agent_");
    let page: String = page.lines().filter(is_vendors).flat_map(|line| [line, "\n"]).collect();
    let gateway = free_address()?;
    let _child = quietly(Command::new("prometheus-pushgateway").arg(format!("--web.listen-address={gateway}")))?;
    first_scrape(gateway)?;
    let mut stream = TcpStream::connect(gateway)?;
    let head = format!(
        "POST /metrics/job/bench HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
        page.len()
    );
    stream.write_all(head.as_bytes())?;
    stream.write_all(page.as_bytes())?;
    let mut said = String::new();
    stream.read_to_string(&mut said)?;
    ensure!(said.starts_with("HTTP/1.1 200"), "pushgateway: {said}");
    let (mut theirs, mut mine) = (Vec::new(), Vec::new());
    for _ in 0..21 {
        // A connection of its own for each, on both sides.
        for (side, times) in [(gateway, &mut theirs), (address, &mut mine)] {
            let began = now();
            let answer = first_scrape(side)?;
            times.push(began.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.len() >= page.len(), "somebody holds less");
        }
    }
    let (theirs, mine) = (median(&mut theirs), median(&mut mine));
    Ok(Row {
        what: "scrape of 100000 series, again",
        ours: format!("{mine:.2} ms"),
        theirs: format!("pushgateway {theirs:.0} ms"),
        verdict: format!("{:.0} times as fast, at least 25", theirs / mine),
        met: theirs >= 25.0 * mine,
    })
}

/// Twenty scrapers for a minute, while the page changes.
fn twenty(ours: &Guard, address: SocketAddr) -> anyhow::Result<Row> {
    let scrape = move || -> anyhow::Result<usize> {
        let mut client = Client::new(address, "/metrics", true)?;
        let (began, mut scrapes) = (now(), 0);
        while began.elapsed() < A_MINUTE {
            client.timed()?;
            scrapes += 1;
            thread::sleep(Duration::from_secs(1));
        }
        Ok(scrapes)
    };
    let before = median(&mut while_scraped(ours, address, TWENTY_POLLS)?);
    let scrapers: Vec<_> = (0..SCRAPERS).map(|_| thread::spawn(scrape)).collect();
    let mut resident = Vec::new();
    while scrapers.iter().any(|scraper| !scraper.is_finished()) {
        resident.push(megabytes(ours)?);
        thread::sleep(LOOK);
    }
    let mut sum = 0;
    for scraper in scrapers {
        sum += scraper.join().map_err(|_| anyhow::anyhow!("a scraper panicked"))??;
    }
    println!("page: {sum} scrapes by {SCRAPERS} scrapers, none failed");
    let mut last = resident.split_off(resident.len() / 2);
    let after = median(&mut last);
    Ok(Row {
        what: "memory, 20 scrapers for a minute",
        ours: format!("{after:.1} MB"),
        theirs: format!("before {before:.1} MB"),
        verdict: "at most 2 MB more, none failed".to_owned(),
        met: after <= before + 2.0,
    })
}

/// Hundreds who ask for a page that changes, one after the other, and do not read it. Who finds no place is told so.
fn unread(ours: &Guard, address: SocketAddr) -> anyhow::Result<Row> {
    let before = median(&mut while_scraped(ours, address, TWENTY_POLLS / 4)?);
    let (mut clients, mut held) = (Vec::new(), 0);
    for _ in 0..SLOW {
        let mut client = Client::new(address, "/metrics", false)?;
        held += usize::from(client.status()? == "HTTP/1.1 200");
        clients.push(client);
        thread::sleep(SLOW_TIME / SLOW);
    }
    let most = megabytes(ours)?;
    drop(clients);
    let after = median(&mut while_scraped(ours, address, TWENTY_POLLS / 4)?);
    println!("page: {held} of {SLOW} who did not read were answered; {most:.0} MB while they were there");
    Ok(Row {
        what: "memory after 300 who did not read",
        ours: format!("{after:.1} MB"),
        theirs: format!("before {before:.1} MB"),
        verdict: "at most 2 MB more".to_owned(),
        met: after <= before + 2.0,
    })
}

/// What it holds from moment to moment, while it is scraped plain and compressed; of the second half of the time.
fn while_scraped(ours: &Guard, address: SocketAddr, time: Duration) -> anyhow::Result<Vec<f64>> {
    let mut scrapers = [Client::new(address, "/metrics", false)?, Client::new(address, "/metrics", true)?];
    let (began, mut resident, mut scraped) = (now(), Vec::new(), 0);
    while began.elapsed() < time {
        if began.elapsed().as_secs() >= scraped {
            scraped += 1;
            for scraper in &mut scrapers {
                scraper.timed()?;
            }
        }
        resident.push(megabytes(ours)?);
        thread::sleep(LOOK);
    }
    Ok(resident.split_off(resident.len() / 2))
}

fn memory(what: &'static str, resident: &[f64], limit: f64) -> Row {
    let middle = median(&mut resident.to_vec());
    let most = resident.iter().copied().fold(0.0, f64::max);
    let verdict = if limit.is_finite() { format!("below {limit} MB") } else { "–".to_owned() };
    Row {
        what,
        ours: format!("{middle:.0} MB"),
        theirs: format!("at times {most:.0} MB"),
        verdict,
        met: middle < limit,
    }
}

/// CPU milliseconds of some scrapes.
fn cpu(process: &Guard, client: &mut Client) -> anyhow::Result<f64> {
    let before = cpu_used(process)?;
    for _ in 0..CPU_SCRAPES {
        client.timed()?;
    }
    Ok(cpu_used(process)? - before)
}

/// CPU milliseconds so far. The scheduler's own account, thread by thread: `stat` counts in hundredths of a second.
fn cpu_used(process: &Guard) -> anyhow::Result<f64> {
    let mut nanoseconds = 0.0;
    for thread in std::fs::read_dir(format!("/proc/{}/task", process.0.id()))? {
        let said = std::fs::read_to_string(thread?.path().join("schedstat"))?;
        nanoseconds += said.split(' ').next().context("no schedstat")?.parse::<f64>()?;
    }
    Ok(nanoseconds / 1e6)
}

fn megabytes(process: &Guard) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("no VmRSS")?;
    Ok(kib * 1024.0 / 1e6)
}
