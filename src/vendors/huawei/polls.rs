//! Whole polls of `agent_call_statistics`, from exporter.yml to the reading, with a gateway that is a function.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::Account;
use crate::catalogue::Family;
use crate::client::{Answer, Client, Request, Transport, TransportError};
use crate::clock::Clock;
use crate::failure::{Failure, Reason};
use crate::health::Health;
use crate::ledger::CallQueue;
use crate::reading::{Bucket, Entity, Reading};
use crate::settings::SetupError;
use crate::vendors::{Account as _, Setup};
use crate::vendors::{Poll, ReportSetup};

const GOOD: &str = include_str!("../../../tests/fixtures/huawei/statistics_ok.json");
const SIGNED_OUT: &str = include_str!("../../../tests/fixtures/huawei/signed_out.json");
const REFUSED: &str = include_str!("../../../tests/fixtures/huawei/refused.json");

/// A gateway whose answer depends on the GUID.
#[derive(Default)]
struct Seen {
    lines: Mutex<Vec<String>>,
    under_way: AtomicUsize,
    most: AtomicUsize,
}

struct Gateway(Arc<Seen>);

impl Transport for Gateway {
    fn send<'a>(&'a self, request: &'a Request) -> BoxFuture<'a, Result<Answer, TransportError>> {
        assert!(request.body.is_empty());
        let headers: BTreeMap<_, _> =
            request.headers.iter().map(|(name, value)| (name.as_str(), value.to_str().unwrap())).collect();
        let line = format!("{} {} {headers:?}", request.method, request.url);
        self.0.lines.lock().unwrap().push(line);
        let (status, body) = match headers["guid"] {
            guid if guid.starts_with("good") => (200, GOOD),
            guid if guid.starts_with("out") => (200, SIGNED_OUT),
            guid if guid.starts_with("stale") => (200, REFUSED),
            guid if guid.starts_with("busy") => (429, ""),
            _ => return Box::pin(async { Err(TransportError::Cut) }),
        };
        Box::pin(async move {
            let now = self.0.under_way.fetch_add(1, Ordering::SeqCst) + 1;
            self.0.most.fetch_max(now, Ordering::SeqCst);
            tokio::task::yield_now().await;
            self.0.under_way.fetch_sub(1, Ordering::SeqCst);
            Ok(Answer { status, retry_after: None, body: Bytes::from_static(body.as_bytes()) })
        })
    }
}

struct Site {
    client: Client,
    report: ReportSetup,
    seen: Arc<Seen>,
}

impl Site {
    fn try_new(folder: &Path, guids: &str, rest: &str) -> Result<Self, SetupError> {
        let yaml = format!(
            "account: norte\nbase_url: https://10.0.0.8:8043/\nguids: {guids}\ntimeout: 2s\n\
             reports: {{agent_call_statistics: {rest}}}"
        );
        let account: Account = serde_yaml::from_str(&yaml).unwrap();
        let seen = Arc::<Seen>::default();
        let clock = Clock::manual("2026-11-20T10:00:00Z".parse().unwrap());
        let transport = Box::new(Gateway(Arc::clone(&seen)));
        let client = Client::new(account.settings(), transport, clock, Health::default());
        let setup = Setup { client: &client, folder, at: "vendors.huawei[0]" };
        let report = account.build(&setup)?.remove(0);
        Ok(Self { client, report, seen })
    }

    fn new(folder: &Path, guids: &str) -> Self {
        Self::try_new(folder, guids, "{}").unwrap()
    }

    async fn poll(&mut self) -> Result<Reading, Failure> {
        let now: Timestamp = "2026-11-20T10:00:00Z".parse().unwrap();
        let calls = CallQueue::default();
        let poll = Poll { now, client: &self.client, days: &[], calls: &calls };
        let polled = self.report.report.poll(poll).await;
        let shown = format!("{polled:?}");
        assert!(!shown.contains("CANARY"), "{shown}");
        polled
    }
}

fn signed_in(reading: &Reading) -> Vec<(String, f64)> {
    let one = |gauge: &crate::reading::Gauge| (gauge.entity.label().unwrap().1.to_owned(), gauge.value);
    let mut all: Vec<_> = reading.gauges.iter().map(one).collect();
    all.sort_by(|a, b| a.0.cmp(&b.0));
    all
}

fn reasons(reading: &Reading) -> Vec<Reason> {
    let mut all: Vec<_> = reading.failures.iter().map(|failure| failure.reason).collect();
    all.sort_unstable();
    all
}

#[tokio::test]
async fn each_agent_is_asked_once_with_his_own_credentials() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"101": "good-CANARY", "205": {"guid": "JSESSIONID=out-CANARY", "cookie": "route=CANARY"}}"#;
    std::fs::write(folder.path().join("guids.json"), json).unwrap();
    let mut site = Site::new(folder.path(), "{file: guids.json}");
    let reading = site.poll().await.unwrap();
    assert_eq!(
        *site.seen.lines.lock().unwrap(),
        [
            "GET https://10.0.0.8:8043/agentgateway/resource/calldata/101/statisticsEx \
             {\"content-type\": \"application/json; charset=UTF-8\", \"guid\": \"good-CANARY\"}",
            "GET https://10.0.0.8:8043/agentgateway/resource/calldata/205/statisticsEx \
             {\"content-type\": \"application/json; charset=UTF-8\", \"cookie\": \"route=CANARY\", \
             \"guid\": \"out-CANARY\"}",
        ]
    );
    let figures: Vec<_> = reading.figures.iter().map(|f| (f.family, f.amount.to_string(), f.bucket.clone())).collect();
    assert_eq!(
        figures,
        [
            (Family::AgentTalk, "5310".to_owned(), Bucket::Session),
            (Family::AgentAnsweredCalls, "17".to_owned(), Bucket::Session),
            (Family::AgentOutbound, "4".to_owned(), Bucket::Session),
        ]
    );
    // Signed out is an answer: read, at 0, without figures, and no failure.
    assert_eq!(signed_in(&reading), [("101".to_owned(), 1.0), ("205".to_owned(), 0.0)]);
    assert_eq!((reading.read, reading.failures.len()), (2, 0));
    assert_eq!(reading.roster, Some(vec![Entity::Agent("101".into()), Entity::Agent("205".into())]));
}

#[tokio::test]
async fn a_rotated_source_is_seen_at_the_next_poll() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("guids.json");
    let mut site = Site::new(folder.path(), &format!("{{file: {}}}", path.display()));
    assert_eq!(site.poll().await.unwrap_err().reason, Reason::Config, "no file yet");
    for (json, changed, read) in [
        (r#"{"101": "good-1", "102": "good-2"}"#, true, 2),
        (r#"{"102": "good-2", "101": "good-1"}"#, false, 2),
        (r#"{"101": "good-1b", "102": "good-2"}"#, true, 2),
        (r#"{"101": {"guid": "good-1b", "cookie": "a=b"}, "102": "good-2"}"#, true, 2),
        (r#"{"101": {"guid": "good-1b", "cookie": "a=b"}}"#, true, 1),
        ("{}", true, 0),
        ("{}", false, 0),
    ] {
        std::fs::write(&path, json).unwrap();
        let reading = site.poll().await.unwrap();
        assert_eq!((reading.source_changed, reading.read), (changed, read), "{json}");
        assert_eq!(reading.roster.as_ref().map(Vec::len), usize::try_from(read).ok());
        assert_eq!(reading.verdict(), Ok(()), "{json}");
    }
    std::fs::write(&path, "{\"101\": \"good-CANARY").unwrap();
    assert_eq!(site.poll().await.unwrap_err().reason, Reason::Config, "half written");
    std::fs::write(&path, "{}").unwrap();
    assert!(!site.poll().await.unwrap().source_changed, "a poll that could not read has seen nothing new");
}

#[tokio::test]
async fn one_agent_s_failure_does_not_stop_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let json = r#"{"99": "good-CANARY", "101": "stale-CANARY", "102": "good", "103": "cut", "104": "out", "105": ""}"#;
    std::fs::write(folder.path().join("g.json"), json).unwrap();
    let mut site = Site::new(folder.path(), "{file: g.json}");
    let reading = site.poll().await.unwrap();
    assert_eq!(signed_in(&reading), [("102".to_owned(), 1.0), ("104".to_owned(), 0.0)]);
    assert_eq!(reasons(&reading), [Reason::Auth, Reason::Config, Reason::Config, Reason::Malformed]);
    assert_eq!((reading.read, reading.verdict()), (2, Ok(())));
    assert_eq!(reading.roster.map(|all| all.len()), Some(5), "an agent without a usable GUID is still there");

    std::fs::write(folder.path().join("g.json"), r#"{"101": "stale-CANARY", "102": "stale"}"#).unwrap();
    assert_eq!(site.poll().await.unwrap().verdict().unwrap_err().reason, Reason::Auth);
}

#[tokio::test(start_paused = true)]
async fn a_rate_limit_ends_the_poll() {
    let folder = tempfile::tempdir().unwrap();
    let agents: Vec<_> = (200..300).map(|id| format!("\"{id}\": \"good\"")).collect();
    let json = format!("{{\"101\": \"good\", \"102\": \"busy\", {}}}", agents.join(","));
    std::fs::write(folder.path().join("g.json"), json).unwrap();
    let mut site = Site::try_new(folder.path(), "{file: g.json}", "{concurrency: 1}").unwrap();
    let reading = site.poll().await.unwrap();
    assert_eq!((reading.read, reasons(&reading)), (1, vec![Reason::RateLimited]));
    assert_eq!(site.seen.lines.lock().unwrap().len(), 2);
    let reading = site.poll().await.unwrap();
    assert_eq!(reading.read, 101, "the next poll begins where this one stopped");
    let first = site.seen.lines.lock().unwrap()[2].clone();
    assert!(first.contains("/200/"), "{first}");
}

#[tokio::test]
async fn so_many_agents_are_asked_at_once_and_no_more() {
    let folder = tempfile::tempdir().unwrap();
    let agents: Vec<_> = (101..1101).map(|id| format!("\"{id}\": \"good-{id}\"")).collect();
    std::fs::write(folder.path().join("g.json"), format!("{{{}}}", agents.join(","))).unwrap();
    for (rest, most) in [("{}", 8), ("{concurrency: 32}", 32)] {
        let mut site = Site::try_new(folder.path(), "{file: g.json}", rest).unwrap();
        assert_eq!(site.poll().await.unwrap().read, 1000);
        assert_eq!(site.seen.most.load(Ordering::SeqCst), most);
        let lines = site.seen.lines.lock().unwrap();
        assert_eq!(lines.iter().collect::<std::collections::BTreeSet<_>>().len(), 1000, "each agent once");
    }
}

#[tokio::test]
async fn a_command_prints_the_guids() {
    let folder = tempfile::tempdir().unwrap();
    let mut site = Site::new(folder.path(), r#"{command: [printf, '%s', '{"101": "good"}']}"#);
    assert_eq!(site.poll().await.unwrap().read, 1);
    for (command, reason) in [
        ("[/no/such/program]", Reason::Config),
        ("['false']", Reason::Config),
        ("[sh, -c, 'echo CANARY; echo CANARY >&2; exit 3']", Reason::Config),
        ("[sh, -c, 'echo CANARY']", Reason::Config),
        ("[head, -c, '16777217', /dev/zero]", Reason::Config),
        ("[sleep, '60']", Reason::Timeout),
    ] {
        let mut site = Site::new(folder.path(), &format!("{{command: {command}}}"));
        assert_eq!(site.poll().await.unwrap_err().reason, reason, "{command}");
    }
}

#[tokio::test]
async fn a_command_prints_ten_thousand_agents_with_cookies() {
    let folder = tempfile::tempdir().unwrap();
    let entry = |id: u32| {
        let cookie = format!("ELB_SESSION_STICKINESS_COOKIE={:026x}", u128::from(id) << 64);
        format!(r#""{id}": {{"guid": "good-3c4d-4e5f-8a9b-{id:012x}.AgentGateway1", "cookie": "{cookie}"}}"#)
    };
    let json = format!("{{{}}}", (101..10_101).map(entry).collect::<Vec<_>>().join(",\n"));
    assert!(json.len() > 1 << 20, "{}", json.len());
    std::fs::write(folder.path().join("guids.json"), json).unwrap();
    let path = folder.path().join("guids.json");
    let mut site = Site::new(folder.path(), &format!("{{command: [cat, {}]}}", path.display()));
    assert_eq!(site.poll().await.unwrap().read, 10_000);
}

/// Answers one request after the other with these; gives back what was asked.
async fn serve(answers: Vec<String>) -> (String, tokio::task::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/guids?site=5", listener.local_addr().unwrap());
    let served = tokio::spawn(async move {
        let mut asked = Vec::new();
        for answer in answers {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = Vec::new();
            while !request.ends_with(b"\r\n\r\n") {
                let mut byte = [0];
                assert_eq!(stream.read(&mut byte).await.unwrap(), 1);
                request.push(byte[0]);
            }
            asked.push(String::from_utf8(request).unwrap());
            stream.write_all(answer.as_bytes()).await.unwrap();
        }
        asked
    });
    (url, served)
}

#[tokio::test]
async fn a_url_answers_the_guids() {
    let reply = |status: &str, body: &str| {
        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}", body.len())
    };
    let (url, served) = serve(vec![
        reply("200", r#"{"101": "good"}"#),
        reply("401", "CANARY"),
        reply("500", "CANARY"),
        reply("200", "CANARY"),
    ])
    .await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "t0ken\n").unwrap();
    let mut site = Site::new(folder.path(), &format!("{{url: '{url}', bearer_token_file: token}}"));
    let reading = site.poll().await.unwrap();
    assert_eq!((reading.read, reading.source_changed), (1, true));
    for reason in [Reason::Auth, Reason::Unavailable, Reason::Config] {
        let failure = site.poll().await.unwrap_err();
        assert_eq!(failure.reason, reason);
        assert!(failure.detail.contains("GUID source"), "{failure}");
    }
    let asked = served.await.unwrap();
    assert!(asked.iter().all(|request| request.starts_with("GET /guids?site=5 HTTP/1.1\r\n")));
    assert!(asked.iter().all(|request| request.contains("authorization: Bearer t0ken\r\n")));
    assert_eq!(site.poll().await.unwrap_err().reason, Reason::Network, "nobody listens any more");
}

#[test]
fn a_source_that_cannot_be_readied_is_told_by_its_key() {
    for (guids, path) in [
        ("{url: 'https://x/', bearer_token_file: none}", "vendors.huawei[0].guids.bearer_token_file"),
        ("{url: 'https://x/', bearer_token: \"CANARY\\nx\"}", "vendors.huawei[0].guids"),
        ("{url: 'https://x/', tls: {ca_file: none.pem}}", "vendors.huawei[0].guids.tls.ca_file"),
        ("{file: a, url: 'https://x/'}", "vendors.huawei[0].guids"),
    ] {
        let error = Site::try_new(Path::new("/nowhere"), guids, "{}").err().unwrap();
        assert_eq!(error.path, path);
        assert!(!error.to_string().contains("CANARY"), "{error}");
    }
    assert_eq!(Site::new(Path::new(""), "{file: a}").report.settings.interval, Duration::from_secs(30));
}
