//! What is measured: an exporter, the vendor that it polls, and nginx with the same page in a file.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, ensure};
use contact_center_exporter::clock::Clock;
use contact_center_exporter::simulator::{Options, Simulator};
use jiff::tz::TimeZone;

use super::client::{Client, now};
use crate::operators::{SERIES, answer};
use crate::processes::{Guard, exporter, first_scrape, free_address, quietly, sample};

/// Time for the exporter to have all series.
const READY: Duration = Duration::from_mins(2);

/// How large a page.
pub(super) struct Size {
    pub(super) accounts: usize,
    /// Of each account.
    pub(super) operators: usize,
}

/// An exporter that has read all its accounts.
pub(super) fn start(
    folder: &Path,
    vendor: SocketAddr,
    size: &Size,
    interval: &str,
) -> anyhow::Result<(Guard, SocketAddr)> {
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

pub(super) struct Nginx {
    pub(super) child: Guard,
    pub(super) address: SocketAddr,
}

impl Nginx {
    /// Serves the very bytes that the exporter serves now.
    pub(super) fn start(folder: &Path, exporter: SocketAddr) -> anyhow::Result<Self> {
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

/// A vendor whose operators work a little more with every request. The path says how many there are.
pub(super) fn serve_vendor() -> anyhow::Result<SocketAddr> {
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
