//! Attacks on the real binary's listener, each while a scraper goes on with its work: no scrape fails, and what attackers are
//! answered is what the contract says. The figures are printed.

use std::future::Future;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;

use super::hooks::{LISTEN, yaml};
use super::process::Process;
use super::site::DEADLINE;
use super::support::client;

/// Between two scrapes.
const PAUSE: Duration = Duration::from_millis(10);
/// Larger than the limit of the headers.
const HUGE: usize = 17 * 1024;

/// Scrapes over one connection until the attack is over: what the attack gave, after the figures were printed.
pub(crate) async fn beside<T>(
    name: &str,
    client: reqwest::Client,
    url: &str,
    attack: impl Future<Output = T> + Send,
) -> T {
    let over = CancellationToken::new();
    let (url, stop) = (url.to_owned(), over.clone());
    let scraper = tokio::spawn(async move {
        let (mut times, mut failures) = (Vec::new(), Vec::new());
        while !stop.is_cancelled() || times.len() + failures.len() < 20 {
            let started = Instant::now();
            let scrape = async {
                let answer = client.get(&url).send().await?.error_for_status()?;
                answer.text().await
            };
            match scrape.await {
                Ok(page) if page.contains("contact_center_exporter_build_info") => times.push(started.elapsed()),
                other => failures.push(format!("{other:?}")),
            }
            tokio::time::sleep(PAUSE).await;
        }
        (times, failures)
    });
    let given = attack.await;
    over.cancel();
    let (mut times, failures) = scraper.await.unwrap();
    times.sort();
    let at = |percent| times.get(times.len().saturating_sub(1) * percent / 100).copied().unwrap_or_default();
    println!("{name}: {} scrapes, {} failed, p50 {:?}, p99 {:?}", times.len(), failures.len(), at(50), at(99));
    assert!(failures.is_empty(), "{name}: {failures:?}");
    assert!(at(99) < Duration::from_secs(1), "{name}: p99 {:?}", at(99));
    given
}

/// What comes back until it is hung up.
async fn answer(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it is never hung up");
    String::from_utf8_lossy(&answer).into_owned()
}

/// Status of the answer to these bytes; empty if there was none.
async fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    // It may hang up before all of it is sent.
    let _ = stream.write_all(request).await;
    answer(&mut stream).await.get(9..12).unwrap_or_default().to_owned()
}

fn get(target: &[u8], headers: &str) -> Vec<u8> {
    [b"GET ", target, b" HTTP/1.1\r\nhost: x\r\nconnection: close\r\n", headers.as_bytes(), b"\r\n"].concat()
}

/// A byte now and then, until it is cut off.
async fn slow(address: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(b"GET /metrics HTTP/1.1\r\nx: ").await.unwrap();
    let (mut read, mut write) = stream.split();
    let mut answer = Vec::new();
    let drip = async {
        while write.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(500)).await;
        }
        std::future::pending::<()>().await;
    };
    tokio::select! {
        () = drip => {}
        ended = timeout(DEADLINE, read.read_to_end(&mut answer)) => drop(ended.expect("it is never cut off")),
    }
    String::from_utf8_lossy(&answer).into_owned()
}

async fn slow_headers(address: &str) {
    let answers = join_all((0..300).map(|_| slow(address))).await;
    assert!(answers.iter().all(String::is_empty), "who asked nothing was answered: {answers:?}");
}

/// Descriptors that this process, and the one that it starts, may have.
fn descriptors() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find_map(|line| line.strip_prefix("Max open files")).unwrap();
    line.split_whitespace().next().unwrap().parse().unwrap_or(usize::MAX)
}

async fn idle(address: &str) -> usize {
    let many = 10_000.min(descriptors() - 300);
    let mut idle = Vec::new();
    for _ in 0..many {
        idle.push(TcpStream::connect(address).await.unwrap());
    }
    // Held until all were taken, which a last one proves that is answered.
    assert_eq!(ask(address, &get(b"/-/healthy", "")).await, "200");
    let hung_up = join_all(idle.iter_mut().map(answer)).await;
    assert!(hung_up.iter().all(String::is_empty));
    many
}

async fn huge_headers(address: &str) {
    let long = format!("x-long: {}\r\n", "x".repeat(HUGE));
    let many = "x-many: xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\r\n".repeat(300);
    let endless = [b"GET /metrics HTTP/1.1\r\nx: ".as_slice(), &vec![b'x'; 1 << 20]].concat();
    for request in [get(b"/metrics", &long), get(b"/metrics", &many), endless] {
        let statuses = join_all((0..100).map(|_| ask(address, &request))).await;
        // Who goes on sending may find the connection reset before he reads.
        assert!(statuses.iter().all(|status| ["431", ""].contains(&status.as_str())), "{statuses:?}");
        assert!(statuses.iter().any(|status| status == "431"), "{statuses:?}");
    }
}

/// A connection whose buffer has grown takes no more than a new one. Where callbacks arrive, as bodies are read there.
async fn reused_connection(hooks: &str) {
    let body = "x".repeat(60_000);
    let first = format!("POST /hooks/ozonetel/in HTTP/1.1\r\nhost: x\r\ncontent-length: {}\r\n\r\n{body}", body.len());
    let long = get(b"/", &format!("x-long: {}\r\n", "x".repeat(HUGE)));
    for _ in 0..50 {
        let mut stream = TcpStream::connect(hooks).await.unwrap();
        stream.write_all(first.as_bytes()).await.unwrap();
        let mut status = [0; 12];
        stream.read_exact(&mut status).await.unwrap();
        assert!(status.starts_with(b"HTTP/1.1 4"), "{status:?}");
        stream.write_all(&long).await.unwrap();
        let answer = answer(&mut stream).await;
        assert!(answer.contains("HTTP/1.1 431"), "17 KiB of headers passed: {answer}");
    }
}

async fn paths(address: &str) {
    let long = [b"/".as_slice(), &vec![b'a'; 100_000]].concat();
    let cases: [(&[u8], &[&str]); 18] = [
        (b"/metrics?name=../../etc/passwd", &["200"]),
        (b"http://other.example/metrics", &["200"]),
        (b"/%2e%2e/metrics", &["404"]),
        (b"/../metrics", &["404"]),
        (b"/-/../metrics", &["404"]),
        (b"/./metrics", &["404"]),
        (b"//metrics", &["404"]),
        (b"/metrics/", &["404"]),
        (b"/metrics;x", &["404"]),
        (b"/metrics%00", &["404"]),
        (b"/%6detrics", &["404"]),
        (b"/METRICS", &["404"]),
        (b"http://other.example//metrics", &["404"]),
        (b"file:///etc/passwd", &["404", "400"]),
        (b"/metrics\0", &["400"]),
        (b"/\xff\xfe", &["404", "400"]),
        (b"metrics", &["404", "400"]),
        (&long, &["431", "414", ""]),
    ];
    for _ in 0..20 {
        for (target, expected) in &cases {
            let status = ask(address, &get(target, "")).await;
            assert!(expected.contains(&status.as_str()), "{} {status}", String::from_utf8_lossy(target));
        }
    }
}

async fn garbage(address: &str) {
    let mut hello = vec![0x16, 3, 1, 2, 0, 1, 0, 1, 0xfc, 3, 3];
    hello.resize(517, 7);
    let noise: Vec<u8> = (0..50_000_u32).map(|n| n.wrapping_mul(2_654_435_761).to_be_bytes()[0]).collect();
    let cases: [&[u8]; 6] = [
        &hello,
        &noise,
        &[0; 5000],
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
        b"GET /metrics HTTP/9.9\r\n\r\n",
        b"GET /metrics HTTP/1.1\r\ntransfer-encoding: chunked\r\ncontent-length: 5\r\nhost x\r\n\r\n",
    ];
    for _ in 0..20 {
        for bytes in cases {
            let status = ask(address, bytes).await;
            assert!(status.is_empty() || status.starts_with('4') || status.starts_with('5'), "{status}: {bytes:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn scrapes_go_on() {
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve_with(&LISTEN, folder.path(), &yaml("http://127.0.0.1:9", "1h"), &[]);
    let address = process.address().await;
    let hooks = process.address_of("taking callbacks").await;
    let (url, at) = (format!("http://{address}/metrics"), address.as_str());
    beside("slow headers, 300 connections", client(), &url, slow_headers(at)).await;
    beside("huge headers", client(), &url, huge_headers(at)).await;
    beside("huge headers after a long body", client(), &url, reused_connection(&hooks)).await;
    beside("paths", client(), &url, paths(at)).await;
    beside("garbage", client(), &url, garbage(at)).await;
    let many = beside("idle connections", client(), &url, idle(at)).await;
    println!("{many} connections idled at once; it holds {} kB afterwards", process.resident());
    process.signal("TERM");
    let (code, log) = process.end().await;
    assert_eq!(code, Some(0), "{log}");
    assert!(!log.contains("panicked"), "{log}");
}
