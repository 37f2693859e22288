//! What a process has not got enough of: file descriptors that run out, and memory that hostile answers and reloads would
//! take. The real binary lives on.

use std::time::Duration;

use tokio::net::TcpStream;
use tokio::process::Command;
use tokio::time::Instant;

use super::exposition::Exposition;
use super::process::Process;
use super::site::DEADLINE;
use super::support::{client, read, write};
use super::vendor::{Reply, Vendor};

fn yaml(url: &str, interval: &str) -> String {
    format!(
        "vendors: {{ wolkvox: [{{ account: co, base_url: '{url}', token: t, reports: {{ agent_hold_mute: {{ interval: {interval} }} }} }}] }}\n"
    )
}

async fn page(address: &str) -> Option<Exposition> {
    let answer = client().get(format!("http://{address}/metrics")).send().await.ok()?;
    Some(Exposition::parse(&answer.text().await.ok()?).unwrap())
}

async fn until(process: &Process, address: &str, what: &str, holds: impl Fn(&Exposition) -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !page(address).await.is_some_and(|page| holds(&page)) {
        assert!(Instant::now() < deadline, "never {what}: {}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn descriptors_run_out_and_come_back() {
    let vendor = Vendor::start(|_| Reply::json(r#"{"data":[]}"#).with("connection", "close")).await;
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{}", yaml(&vendor.url(), "1s")));
    let mut command = Command::new("sh");
    command
        .args(["-c", "ulimit -n 64; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_contact-center-exporter")])
        .arg(format!("--config.file={}", file.display()))
        .arg("--web.listen-address=127.0.0.1:0");
    let mut process = Process::spawn(command);
    let address = process.address().await;
    until(&process, &address, "up", |page| page.up("wolkvox")).await;
    let mut flood = Vec::new();
    for _ in 0..300 {
        flood.push(TcpStream::connect(&address).await.unwrap());
    }
    let deadline = Instant::now() + DEADLINE;
    while !process.log().contains("connection not accepted") {
        assert!(Instant::now() < deadline, "they never run out: {}", process.log());
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    // Long enough for many attempts.
    tokio::time::sleep(Duration::from_secs(5)).await;
    drop(flood);
    let asked = vendor.asked().len();
    until(&process, &address, "up again", |page| page.up("wolkvox") && vendor.asked().len() > asked + 1).await;
    let lines = process.log().lines().count();
    println!("300 connections at 64 descriptors: {lines} lines in the log");
    assert!(lines < 30, "{}", process.log());
    process.signal("TERM");
    assert_eq!(process.end().await.0, Some(0));
}

#[tokio::test]
async fn endless_bodies_leave_memory_bounded() {
    let endless = Reply::json(vec![b' '; 1 << 20]).repeated(usize::MAX);
    let vendor = Vendor::start(move |_| endless.clone()).await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), &yaml(&vendor.url(), "1s"), &[]);
    let address = process.address().await;
    let before = process.resident();
    let (mut most, deadline) = (before, Instant::now() + DEADLINE);
    while vendor.asked().len() < 5 {
        assert!(Instant::now() < deadline, "{} polls", vendor.asked().len());
        most = most.max(process.resident());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    until(&process, &address, "refused", |page| page.reasons("wolkvox").contains("malformed")).await;
    println!("endless bodies: {before} kB at first, {most} kB at most");
    // One body and what it grows by.
    assert!(most < before + 160 * 1024, "{before} kB became {most} kB");
}

#[tokio::test]
async fn two_hundred_reloads_leave_no_memory_behind() {
    let vendor = Vendor::start(|_| Reply::json(r#"{"data":[]}"#)).await;
    let folder = tempfile::tempdir().unwrap();
    let mut process = Process::serve(folder.path(), &yaml(&vendor.url(), "1s"), &[]);
    let address = process.address().await;
    let (client, url) = (client(), format!("http://{address}/-/reload"));
    let reload = async |n: usize| {
        let (text, status) = match n % 4 {
            0 => (yaml(&vendor.url(), "2s"), 200),
            2 => (yaml(&vendor.url(), "3s"), 200),
            _ => ("vendors: {".to_owned(), 500),
        };
        write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{text}"));
        assert_eq!(read(client.post(&url).send().await.unwrap()).await.status, status);
        assert!(page(&address).await.is_some());
    };
    // What is made once is there after some.
    for n in 0..40 {
        reload(n).await;
    }
    let before = process.resident();
    for n in 0..200 {
        reload(n).await;
    }
    let after = process.resident();
    println!("200 reloads: {before} kB before, {after} kB after");
    assert!(after < before + 8 * 1024, "{before} kB became {after} kB");
}
