//! What a scrape costs, beside nginx serving the same bytes from a file and pushgateway holding the same series: time, CPU,
//! memory; with a million series also while accounts change, and with twenty scrapers at once.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Options, Simulator};
use jiff::tz::TimeZone;

use crate::operators::{SERIES, answer};
use crate::processes::{Guard, exporter, first_scrape, free_address, quietly, sample};
use crate::{Row, median};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";

/// Scrapes whose CPU is counted.
const SCRAPES: u32 = 500;
/// Time for the exporter to have all series, and for pushgateway to take them.
const READY: Duration = Duration::from_mins(2);
/// Scrapers at once, each of them every second, and for how long.
const SCRAPERS: usize = 20;
const A_MINUTE: Duration = Duration::from_mins(1);
/// Scrapers that do not read.
const SLOW: usize = 300;

/// How large a page.
struct Size {
    accounts: usize,
    operators: usize,
    rounds: usize,
    resident: f64,
}

const SMALL: Size = Size { accounts: 1, operators: 100_000 / SERIES + 1, rounds: 201, resident: 60.0 };
const LARGE: Size = Size { accounts: 10, operators: 100_000 / SERIES + 1, rounds: 41, resident: 450.0 };

/// A connection that asks for the same again and again.
struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

pub(crate) fn measure() -> anyhow::Result<Vec<Row>> {
    let vendor = serve_vendor()?;
    let mut rows = small(vendor)?;
    rows.extend(large(vendor)?);
    Ok(rows)
}

fn small(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &SMALL, "1h")?;
    let nginx = Nginx::start(folder.path(), address)?;
    let mut rows = Vec::new();
    let mut plain = 0.0;
    for (gzip, what) in [(false, "scrape of 100000 series"), (true, "the same, gzip")] {
        let (mine, theirs) = interleaved(&SMALL, address, &nginx, gzip)?;
        if !gzip {
            plain = mine;
        }
        rows.push(Row {
            what,
            ours: format!("{mine:.2} ms"),
            theirs: format!("nginx {theirs:.2} ms"),
            verdict: format!("ratio {:.2}, at most 1.1 or 0.2 ms more", mine / theirs),
            met: mine <= (1.1 * theirs).max(theirs + 0.2),
        });
    }
    for (gzip, what) in [(false, "CPU of a scrape"), (true, "the same, gzip")] {
        let mut mine = Client::new(address, "/metrics", gzip)?;
        let mut theirs = Client::new(nginx.address, if gzip { "/page.gz" } else { "/page" }, false)?;
        let (mine, theirs) = (cpu(&ours, &mut mine)?, cpu(&nginx.child, &mut theirs)?);
        rows.push(Row {
            what,
            ours: format!("{mine:.2} ms"),
            theirs: format!("nginx {theirs:.2} ms"),
            verdict: format!("ratio {:.2}, at most 2", mine / theirs),
            met: mine <= 2.0 * theirs,
        });
    }
    rows.push(resident(&ours, &SMALL, "resident memory, 100000 series")?);
    rows.push(pushgateway(address, plain)?);
    rows.push(twenty(&ours, address)?);
    rows.push(unread(&ours, address)?);
    Ok(rows)
}

fn large(vendor: SocketAddr) -> anyhow::Result<Vec<Row>> {
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &LARGE, "1h")?;
    let nginx = Nginx::start(folder.path(), address)?;
    let mut rows = Vec::new();
    for (gzip, what) in [(false, "scrape of 1000000 series"), (true, "the same, gzip")] {
        let (mine, theirs) = interleaved(&LARGE, address, &nginx, gzip)?;
        rows.push(Row {
            what,
            ours: format!("{mine:.2} ms"),
            theirs: format!("nginx {theirs:.2} ms"),
            verdict: format!("ratio {:.2}, at most 1.1", mine / theirs),
            met: mine <= 1.1 * theirs,
        });
    }
    rows.push(resident(&ours, &LARGE, "resident memory, 1000000 series")?);
    drop((ours, nginx));

    // Ten accounts, each polled every ten seconds: one of them is always changing.
    let folder = tempfile::tempdir()?;
    let (ours, address) = start(folder.path(), vendor, &LARGE, "10s")?;
    let mut client = Client::new(address, "/metrics", true)?;
    let mut times = Vec::new();
    let began = now();
    while began.elapsed() < Duration::from_secs(30) {
        times.push(client.timed()?);
        thread::sleep(Duration::from_millis(20));
    }
    let middle = median(&mut times);
    let slow = times.get(times.len() * 99 / 100).copied().unwrap_or(f64::NAN);
    println!("page: {} scrapes while accounts changed, resident {:.0} MB", times.len(), megabytes(&ours)?);
    rows.push(Row {
        what: "99 of 100 scrapes while accounts change",
        ours: format!("{slow:.2} ms"),
        theirs: format!("median {middle:.2} ms"),
        verdict: format!("ratio {:.2}, below 3", slow / middle),
        met: slow < 3.0 * middle,
    });
    Ok(rows)
}

/// Both sides in turn; the medians.
fn interleaved(size: &Size, address: SocketAddr, nginx: &Nginx, gzip: bool) -> anyhow::Result<(f64, f64)> {
    let mut ours = Client::new(address, "/metrics", gzip)?;
    let mut theirs = Client::new(nginx.address, if gzip { "/page.gz" } else { "/page" }, false)?;
    let (mut mine, mut other) = (Vec::new(), Vec::new());
    for round in 0..size.rounds + 5 {
        let (a, b) = (ours.timed()?, theirs.timed()?);
        if round >= 5 {
            mine.push(a);
            other.push(b);
        }
    }
    Ok((median(&mut mine), median(&mut other)))
}

fn resident(ours: &Guard, size: &Size, what: &'static str) -> anyhow::Result<Row> {
    let found = megabytes(ours)?;
    Ok(Row {
        what,
        ours: format!("{found:.0} MB"),
        theirs: "–".to_owned(),
        verdict: format!("below {} MB", size.resident),
        met: found < size.resident,
    })
}

/// The vendor's series alone: pushgateway has a `process_*` of its own.
fn pushgateway(address: SocketAddr, ours: f64) -> anyhow::Result<Row> {
    let page = first_scrape(address)?;
    let (_, page) = page.split_once("\r\n\r\n").context("no body")?;
    let is_vendors = |line: &&str| line.contains("contact_center_agent_");
    let page: String = page.lines().filter(is_vendors).flat_map(|line| [line, "\n"]).collect();
    let gateway = free_address()?;
    let _child = quietly(Command::new("prometheus-pushgateway").arg(format!("--web.listen-address={gateway}")))?;
    first_scrape(gateway)?;
    let mut stream = TcpStream::connect(gateway)?;
    stream.set_read_timeout(Some(READY))?;
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
    let mut client = Client::new(address, "/metrics", false)?;
    for _ in 0..11 {
        let began = now();
        let answer = first_scrape(gateway)?;
        theirs.push(began.elapsed().as_secs_f64() * 1e3);
        ensure!(answer.len() >= page.len(), "pushgateway holds less");
        mine.push(client.timed()?);
    }
    let theirs = median(&mut theirs);
    let mine = median(&mut mine).min(ours);
    Ok(Row {
        what: "scrape of 100000 series, again",
        ours: format!("{mine:.2} ms"),
        theirs: format!("pushgateway {theirs:.0} ms"),
        verdict: format!("{:.0} times as fast, at least 25", theirs / mine),
        met: theirs >= 25.0 * mine,
    })
}

/// Twenty scrapers for a minute.
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
    // What every thread of the exporter takes once it has anything to do.
    for _ in 0..100 {
        Client::new(address, "/metrics", true)?.timed()?;
    }
    let before = megabytes(ours)?;
    let scrapers: Vec<_> = (0..SCRAPERS).map(|_| thread::spawn(scrape)).collect();
    let mut sum = 0;
    for scraper in scrapers {
        sum += scraper.join().map_err(|_| anyhow::anyhow!("a scraper panicked"))??;
    }
    let after = megabytes(ours)?;
    println!("page: {sum} scrapes by {SCRAPERS} scrapers, none failed");
    Ok(Row {
        what: "memory, 20 scrapers for a minute",
        ours: format!("{after:.1} MB"),
        theirs: format!("before {before:.1} MB"),
        verdict: "at most 2 MB more, none failed".to_owned(),
        met: after <= before + 2.0,
    })
}

/// CPU milliseconds of one scrape.
fn cpu(process: &Guard, client: &mut Client) -> anyhow::Result<f64> {
    // The scheduler's own account, thread by thread: `stat` counts in hundredths of a second.
    let used = || -> anyhow::Result<f64> {
        let mut nanoseconds = 0.0;
        for thread in std::fs::read_dir(format!("/proc/{}/task", process.0.id()))? {
            let said = std::fs::read_to_string(thread?.path().join("schedstat"))?;
            nanoseconds += said.split(' ').next().context("no schedstat")?.parse::<f64>()?;
        }
        Ok(nanoseconds / 1e6)
    };
    let before = used()?;
    for _ in 0..SCRAPES {
        client.timed()?;
    }
    Ok((used()? - before) / f64::from(SCRAPES))
}

/// Hundreds who ask for the page and do not read it.
fn unread(ours: &Guard, address: SocketAddr) -> anyhow::Result<Row> {
    let before = megabytes(ours)?;
    let mut clients = Vec::new();
    for _ in 0..SLOW {
        let mut client = Client::new(address, "/metrics", false)?;
        client.stream.write_all(&client.request)?;
        clients.push(client);
    }
    thread::sleep(Duration::from_secs(3));
    let after = megabytes(ours)?;
    Ok(Row {
        what: "memory, 300 who ask and do not read",
        ours: format!("{after:.1} MB"),
        theirs: format!("before {before:.1} MB"),
        verdict: "at most 10 MB more, as much as one page".to_owned(),
        met: after <= before + 10.0,
    })
}

fn megabytes(process: &Guard) -> anyhow::Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.0.id()))?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib: f64 = resident.and_then(|text| text.split_whitespace().next()?.parse().ok()).context("no VmRSS")?;
    Ok(kib * 1024.0 / 1e6)
}

/// An exporter that has read all its accounts.
fn start(folder: &Path, vendor: SocketAddr, size: &Size, interval: &str) -> anyhow::Result<(Guard, SocketAddr)> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let key = runtime.block_on(Simulator::start(Options::new(Clock::system())))?.credentials().voximplant_key;
    std::fs::write(folder.join("credentials.json"), key)?;
    let account = |number: usize| {
        format!(
            "    - {{ account: shop-{number}, base_url: 'http://{vendor}/{}/{number}', credentials_file: credentials.json, \
             reports: {{ operator_statistics: {{ interval: {interval} }} }} }}\n",
            size.operators
        )
    };
    let accounts: String = (0..size.accounts).map(account).collect::<Vec<_>>().concat();
    let config = format!("state: {{ path: state }}\nvendors:\n  voximplant:\n{accounts}");
    std::fs::write(folder.join("exporter.yml"), config)?;
    let address = free_address()?;
    let child = quietly(
        exporter()
            .arg(format!("--config.file={}", folder.join("exporter.yml").display()))
            .arg(format!("--web.listen-address={address}")),
    )?;
    let began = now();
    #[expect(clippy::cast_precision_loss, reason = "a million")]
    let wanted = (size.accounts * size.operators * SERIES) as f64;
    loop {
        let page = first_scrape(address)?;
        if sample(&page, "contact_center_exporter_series").is_some_and(|series| series >= wanted) {
            return Ok((child, address));
        }
        ensure!(began.elapsed() < READY, "the exporter does not get its series");
        thread::sleep(Duration::from_millis(200));
    }
}

struct Nginx {
    child: Guard,
    address: SocketAddr,
}

impl Nginx {
    /// Serves the very bytes that the exporter serves now.
    fn start(folder: &Path, exporter: SocketAddr) -> anyhow::Result<Self> {
        for (gzip, name) in [(false, "page"), (true, "page.gz")] {
            let mut body = Vec::new();
            Client::new(exporter, "/metrics", gzip)?.get(Some(&mut body))?;
            std::fs::write(folder.join(name), body)?;
        }
        let address = free_address()?;
        let folder = folder.display();
        let config = format!(
            "daemon off; master_process off; pid {folder}/nginx.pid; error_log {folder}/nginx.log; events {{}}\n\
             http {{ access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000; default_type text/plain;\n\
             client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3;\n\
             uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;\n\
             server {{ listen {address}; root {folder}; }} }}\n"
        );
        let file = format!("{folder}/nginx.conf");
        std::fs::write(&file, config)?;
        let child = quietly(Command::new("/usr/sbin/nginx").args(["-c", &file, "-e", &format!("{folder}/nginx.log")]))?;
        for _ in 0..10_000 {
            if TcpStream::connect(address).is_ok() {
                break;
            }
            thread::sleep(Duration::from_millis(1));
        }
        Ok(Self { child, address })
    }
}

impl Client {
    fn new(address: SocketAddr, path: &str, gzip: bool) -> anyhow::Result<Self> {
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {OPEN_METRICS}\r\nAccept-Encoding: {encoding}\r\n\r\n"
        );
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READY))?;
        Ok(Self { stream, request: request.into_bytes(), buffer: vec![0; 1 << 20] })
    }

    /// Milliseconds from the request to the last byte.
    fn timed(&mut self) -> anyhow::Result<f64> {
        let began = now();
        self.get(None)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    fn get(&mut self, mut body: Option<&mut Vec<u8>>) -> anyhow::Result<()> {
        self.stream.write_all(&self.request)?;
        let mut filled = 0;
        let end = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "hung up");
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end])?.to_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "no page: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        let mut left: usize = length.trim().parse()?;
        let mut have = end..filled;
        loop {
            left = left.checked_sub(have.len()).context("more than was said")?;
            if let Some(body) = &mut body {
                body.extend_from_slice(&self.buffer[have]);
            }
            if left == 0 {
                return Ok(());
            }
            let read = self.stream.read(&mut self.buffer)?;
            ensure!(read > 0, "hung up");
            have = 0..read;
        }
    }
}

/// A vendor whose operators work a little more with every request. The path says how many there are.
fn serve_vendor() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || while answer_one(&stream).is_ok() {});
        }
    });
    Ok(address)
}

fn answer_one(mut stream: &TcpStream) -> anyhow::Result<()> {
    let mut request = Vec::new();
    let mut piece = [0; 4096];
    loop {
        let text = String::from_utf8_lossy(&request).to_lowercase();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            if body.len() >= length.and_then(|length| length.trim().parse().ok()).unwrap_or(0) {
                let operators = head.split('/').nth(1).and_then(|part| part.parse().ok()).context("no operators")?;
                let at = Clock::system().now();
                let turn = usize::try_from(at.as_second().rem_euclid(100_000))?;
                let body = answer(TimeZone::UTC.to_datetime(at).date(), operators, turn);
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                );
                stream.write_all(head.as_bytes())?;
                return Ok(stream.write_all(body.as_bytes())?);
            }
        }
        let read = stream.read(&mut piece)?;
        ensure!(read > 0, "hung up");
        request.extend_from_slice(&piece[..read]);
    }
}

fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "it is the machine's time that is measured")]
    Instant::now()
}
