//! The vendor's post-call callback: stored before it is acknowledged, taken from the account alone, and nothing of it anywhere
//! else.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use contact_center_exporter::app::{App, Ground};
use contact_center_exporter::client::Http;
use contact_center_exporter::ledger::redb::RedbStore;
use contact_center_exporter::ledger::store::{Store, StoreError, Writes};
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::exposition::Exposition;
use super::process::Process;
use super::site::DEADLINE;
use super::support::{Answer, Running, client, fixture, noon, read};
use super::vendor::{Asked, Reply, Vendor};

pub(crate) const KEY: &str = "CANARY-key";
const CALLS: &str = "agent_outbound_calls_total";

/// A running program that takes callbacks.
pub(crate) struct Hooked {
    pub(crate) running: Running,
    pub(crate) hooks: SocketAddr,
    pub(crate) client: reqwest::Client,
}

impl Hooked {
    pub(crate) async fn start(yaml: &str) -> Self {
        Self::start_app(yaml, |loaded| App::new(loaded, &noon(), "/metrics").unwrap()).await
    }

    pub(crate) async fn start_app(
        yaml: &str,
        make: impl FnOnce(&contact_center_exporter::config::Loaded) -> App,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let hooks = listener.local_addr().unwrap();
        let app = |loaded: &_| make(loaded).receiving(listener);
        let running = Running::start_app(tempfile::tempdir().unwrap(), yaml, app).await;
        running.ready().await;
        Self { running, hooks, client: client() }
    }

    pub(crate) async fn post(&self, account: &str, body: String) -> Answer {
        post(&self.client, &format!("http://{}/hooks/ozonetel/{account}", self.hooks), body).await
    }

    pub(crate) async fn pending(&self) -> f64 {
        self.running.page().await.sum("pending_calls", &[])
    }
}

pub(crate) async fn post(client: &reqwest::Client, url: &str, body: impl Into<reqwest::Body>) -> Answer {
    let request = client.post(url).header("content-type", "application/x-www-form-urlencoded").body(body);
    read(request.send().await.unwrap()).await
}

/// What the vendor sends: the sample with this key and call, all the rest canaries.
pub(crate) fn callback(key: Value, ucid: Value) -> String {
    let mut data: Value = serde_json::from_str(&fixture("ozonetel/callback.json")).unwrap();
    for (_, value) in data.as_object_mut().unwrap() {
        *value = "CANARY 98123000451".into();
    }
    (data["Apikey"], data["monitorUCID"]) = (key, ucid);
    form(&data.to_string())
}

fn form(data: &str) -> String {
    url::form_urlencoded::Serializer::new(String::new()).append_pair("data", data).finish()
}

pub(crate) fn right(ucid: u64) -> String {
    callback(KEY.into(), ucid.to_string().into())
}

/// One account with callbacks, one without.
pub(crate) fn yaml(url: &str, interval: &str) -> String {
    format!(
        "vendors:
  ozonetel:
  - {{ account: in, base_url: '{url}', user_name: acme, api_key: {KEY}, rate_limit: 60000/1m, reports: {{ call_details: {{ interval: {interval}, callback: true }} }} }}
  - {{ account: silent, base_url: '{url}', user_name: acme, api_key: {KEY}, reports: {{ agent_summary: {{ interval: 1h }} }} }}
"
    )
}

/// A vendor who knows every call, on the day on which he is asked.
pub(crate) async fn vendor() -> Vendor {
    Vendor::start(|asked| {
        if asked.path() == "/ca_reports/summaryReport" {
            return Reply::json(fixture("ozonetel/summary.json"));
        }
        let day = asked.parameter("fromDate");
        let record = fixture("ozonetel/cdr_v2_outbound.json").replace("2026-11-20", day.get(..10).unwrap_or_default());
        Reply::json(record.replace("41571870688640001", &asked.parameter("ucid")))
    })
    .await
}

pub(crate) fn calls_asked(vendor: &Vendor) -> Vec<Asked> {
    vendor.asked().into_iter().filter(|asked| asked.path() == "/ca_reports/fetchCdrByUCID").collect()
}

/// The page of a process, once `holds`.
pub(crate) async fn until(address: &str, holds: impl Fn(&Exposition) -> bool) -> Exposition {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let text = read(client().get(format!("http://{address}/metrics")).send().await.unwrap()).await.body;
        let page = Exposition::parse(&text).unwrap();
        if holds(&page) {
            return page;
        }
        assert!(Instant::now() < deadline, "never:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

pub(crate) const LISTEN: [&str; 2] = ["--web.listen-address=127.0.0.1:0", "--hooks.listen-address=127.0.0.1:0"];

#[tokio::test]
async fn what_was_acknowledged_is_counted_once_even_if_the_program_is_killed() {
    let (vendor, folder) = (vendor().await, tempfile::tempdir().unwrap());
    let polled = |page: &Exposition| page.find("up", &[("account", "in")]).any(|up| up.value > 0.0);
    let mut process = Process::serve_with(&LISTEN, folder.path(), &yaml(&vendor.url(), "1h"), &[]);
    let url = format!("http://{}/hooks/ozonetel/in", process.address_of("taking callbacks").await);
    until(&process.address().await, polled).await;
    let answer = post(&client(), &url, right(31_571_870_688_636_584)).await;
    process.signal("KILL");
    assert_eq!((answer.status, answer.body.as_str()), (200, "stored\n"));
    let (_, mut log) = process.end().await;
    assert!(calls_asked(&vendor).is_empty(), "too early to tell anything");

    let mut process = Process::serve_with(&LISTEN, folder.path(), &yaml(&vendor.url(), "1s"), &[]);
    let url = format!("http://{}/hooks/ozonetel/in", process.address_of("taking callbacks").await);
    let address = process.address().await;
    until(&address, |page| page.sum(CALLS, &[]) > 0.0).await;
    for (body, status) in [
        (right(31_571_870_688_636_584), 200),
        (callback("CANARY-wrong".into(), "7157187068860001".into()), 401),
        (callback(KEY.into(), "CANARY7157187068860002".into()), 400),
        ("data=%7B%22CANARY98123000".to_owned(), 400),
    ] {
        assert_eq!(post(&client(), &url, body).await.status, status);
    }
    let polls = |page: &Exposition| page.sum("polls_total", &[("account", "in")]);
    let before = polls(&until(&address, |_| true).await);
    let page = until(&address, |page| polls(page) > before + 2.0).await;
    assert!((page.sum(CALLS, &[]) - 1.0).abs() < 1e-9, "{}", page.text);
    assert!(page.sum("pending_calls", &[]) < 1e-9);
    assert_eq!(calls_asked(&vendor).len(), 1);

    process.signal("TERM");
    log.push_str(&process.end().await.1);
    assert!(log.contains("a callback was refused"), "{log}");
    for mark in ["CANARY", "98123000", "7157187068860001", "31571870688636584"] {
        assert!(!log.contains(mark), "{mark} is in the log:\n{log}");
    }
    let state = std::fs::read(folder.path().join("state").join("state.redb")).unwrap();
    let state = String::from_utf8_lossy(&state);
    assert!(!state.contains("CANARY") && !state.contains("98123000"), "more than the call is kept");
}

#[tokio::test]
async fn whoever_is_not_the_account_learns_nothing() {
    let vendor = vendor().await;
    let hooked = Hooked::start(&yaml(&vendor.url(), "1h")).await;
    let wrong = || callback("CANARY-other".into(), "1".into());
    let cases = [
        ("in", wrong()),
        ("in", callback(Value::Null, "1".into())),
        ("in", callback("".into(), "1".into())),
        ("in", callback("CANARY-ke".into(), "1".into())),
        ("in", callback("CANARY-wrong".into(), "no UCID".into())),
        ("in", form("{}")),
        ("nobody", wrong()),
        ("nobody", right(1)),
        ("silent", right(1)),
        ("%C3%B1", right(1)),
    ];
    let mut answers = Vec::new();
    for (account, body) in cases {
        let answer = hooked.post(account, body).await;
        assert_eq!(answer.status, 401, "{account}");
        let mut headers = answer.headers;
        headers.remove("date");
        answers.push((headers, answer.body));
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");

    let mut times = [Vec::new(), Vec::new()];
    // No more than an address may ask at once: who waits for his turn measures that.
    for _ in 0..40 {
        for (account, times) in ["in", "nobody"].into_iter().zip(&mut times) {
            let started = Instant::now();
            hooked.post(account, wrong()).await;
            times.push(started.elapsed());
        }
    }
    let [known, unknown] = times.map(|mut times| {
        times.sort();
        times[times.len() / 2]
    });
    println!("a wrong key takes {known:?}, an unknown account {unknown:?}");
    assert!(known < unknown * 2 && unknown < known * 2, "{known:?} {unknown:?}");
    assert!(hooked.pending().await < 1e-9);
    hooked.running.stop().await;
}

#[tokio::test]
async fn routes_methods_and_sizes() {
    let vendor = vendor().await;
    let hooked = Hooked::start(&yaml(&vendor.url(), "1h")).await;
    let base = format!("http://{}", hooked.hooks);
    for path in [
        "/",
        "/metrics",
        "/-/healthy",
        "/-/reload",
        "/hooks/",
        "/hooks/ozonetel/",
        "/hooks/ozonetel/in/",
        "/hooks/wolkvox/in",
    ] {
        for method in [http::Method::GET, http::Method::POST] {
            let request = hooked.client.request(method.clone(), format!("{base}{path}")).body(right(1));
            assert_eq!(read(request.send().await.unwrap()).await.status, 404, "{method} {path}");
        }
    }
    for account in ["in", "nobody"] {
        for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
            let url = format!("{base}/hooks/ozonetel/{account}");
            let request = hooked.client.request(method.parse().unwrap(), url);
            let answer = read(request.send().await.unwrap()).await;
            assert_eq!((answer.status, answer.header("allow")), (405, "POST"), "{method} {account}");
        }
    }
    assert_eq!(hooked.running.get("/hooks/ozonetel/in").await.status, 404, "not beside the metrics");

    let padded = |bytes: usize| {
        let body = right(7);
        format!("{body}&x={}", "x".repeat(bytes - body.len() - 3))
    };
    for (bytes, status) in [(65_536, 200), (65_537, 413), (900_000, 413)] {
        assert_eq!(hooked.post("in", padded(bytes)).await.status, status, "{bytes}");
        let chunks: Vec<Result<String, std::io::Error>> = padded(bytes)
            .as_bytes()
            .chunks(10_000)
            .map(|chunk| Ok(String::from_utf8_lossy(chunk).into_owned()))
            .collect();
        let body = reqwest::Body::wrap_stream(futures_util::stream::iter(chunks));
        let answer = post(&hooked.client, &format!("{base}/hooks/ozonetel/in"), body).await;
        assert_eq!(answer.status, status, "{bytes} in chunks");
    }
    for wrong in [
        String::new(),
        "CANARY".to_owned(),
        "data=".to_owned(),
        "other=%7B%7D".to_owned(),
        form("CANARY"),
        form("[\"CANARY\"]"),
        form("{\"Apikey\": {}}"),
        form(&"[".repeat(10_000)),
        fixture("ozonetel/callback.json"),
        callback(KEY.into(), "12 34".into()),
        callback(KEY.into(), Value::Null),
        callback(KEY.into(), (-7).into()),
    ] {
        let answer = hooked.post("in", wrong).await;
        assert_eq!(answer.status, 400);
        assert!(!format!("{:?} {}", answer.headers, answer.body).contains("CANARY"));
    }
    assert!((hooked.pending().await - 1.0).abs() < 1e-9, "the one of 64 KiB");

    // A body that never comes, and headers that are too large.
    let mut stream = TcpStream::connect(hooked.hooks).await.unwrap();
    let head = "POST /hooks/ozonetel/in HTTP/1.1\r\nhost: x\r\ncontent-length: 10\r\n\r\ndata";
    stream.write_all(head.as_bytes()).await.unwrap();
    let (mut answer, started) = (Vec::new(), Instant::now());
    let _ = tokio::time::timeout(DEADLINE, stream.read_to_end(&mut answer)).await.expect("it ends");
    assert!(answer.starts_with(b"HTTP/1.1 408 "), "{}", String::from_utf8_lossy(&answer));
    assert!(started.elapsed() < Duration::from_secs(15));
    // On a connection of its own: hyper's buffer grows with a long body.
    let long = client().post(format!("{base}/hooks/ozonetel/in")).header("x-long", "x".repeat(17 * 1024));
    assert_eq!(read(long.send().await.unwrap()).await.status, 431);
    hooked.running.stop().await;
}

/// A store that can be told to fail.
struct Disk(RedbStore, Arc<AtomicBool>);

impl Store for Disk {
    fn read(&mut self, prefix: &str) -> Result<Vec<(String, Vec<u8>)>, StoreError> {
        self.0.read(prefix)
    }

    fn commit(&mut self, writes: &Writes) -> Result<(), StoreError> {
        if self.1.load(Ordering::Relaxed) {
            return Err(StoreError::Write { path: "state".to_owned(), cause: "full".to_owned() });
        }
        self.0.commit(writes)
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let (vendor, full) = (vendor().await, Arc::new(AtomicBool::new(false)));
    let disk = Arc::clone(&full);
    let hooked = Hooked::start_app(&yaml(&vendor.url(), "1h"), |loaded| {
        let (path, folder) = (loaded.state_path(), loaded.folder.clone());
        let ground = Ground {
            clock: noon(),
            store: Box::new(move || Ok(Box::new(Disk(RedbStore::open(&path)?, disk)))),
            transport: Box::new(move |settings, at, base| Ok(Box::new(Http::new(settings, at, &folder, base)?))),
            offload: true,
        };
        App::on(loaded, ground, "/metrics").unwrap()
    })
    .await;
    assert_eq!(hooked.post("in", right(1)).await.status, 200);
    full.store(true, Ordering::Relaxed);
    assert_eq!(hooked.post("in", right(2)).await.status, 503);
    assert_eq!(hooked.post("in", right(1)).await.status, 200, "that one is stored");
    assert!((hooked.pending().await - 1.0).abs() < 1e-9);
    full.store(false, Ordering::Relaxed);
    assert_eq!(hooked.post("in", right(2)).await.status, 200);
    assert!((hooked.pending().await - 2.0).abs() < 1e-9);
    hooked.running.stop().await;
}
