//! The HTTP side and the process: routes, methods, limits, and what the shell sees when the program ends.

use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;

use super::process::Process;
use super::support::{OPEN_METRICS, Running, client, noon, read};
use super::vendor::{Reply, Vendor};

const KNOWN: [&str; 5] = ["/", "/metrics", "/api/v1/reports", "/-/healthy", "/-/ready"];

fn wolkvox(url: &str, rest: &str) -> String {
    format!("  wolkvox: [{{ account: co, base_url: '{url}', token: t, reports: {{ agent_hold_mute: {{}} }} {rest} }}]")
}

/// A listener that takes connections and never says a word.
async fn silent() -> (TcpListener, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    (listener, url)
}

async fn ready() -> (Vendor, Running) {
    let vendor = Vendor::start(|_| Reply::json(r#"{"data":[]}"#)).await;
    let running = Running::start(&wolkvox(&vendor.url(), ""), &noon()).await;
    running.ready().await;
    (vendor, running)
}

#[tokio::test]
async fn every_route_answers_get_and_head_and_nothing_else() {
    let (_vendor, running) = ready().await;
    for path in KNOWN {
        let url = format!("http://{}{path}", running.address);
        let get = running.get(path).await;
        assert_eq!(get.status, 200, "{path}");
        assert!(!get.body.is_empty(), "{path}");
        assert_eq!(get.header("x-content-type-options"), "nosniff", "{path}");
        // The client takes a length away that is that of compressed bytes.
        let head = read(client().head(&url).header("accept-encoding", "identity").send().await.unwrap()).await;
        assert_eq!((head.status, head.body.as_str()), (200, ""), "{path}");
        assert_eq!(head.header("content-type"), get.header("content-type"), "{path}");
        assert!(head.header("content-length").parse::<u64>().is_ok_and(|length| length > 0), "{path}");
        for method in [http::Method::POST, http::Method::PUT, http::Method::DELETE] {
            let refused = read(client().request(method.clone(), &url).send().await.unwrap()).await;
            assert_eq!((refused.status, refused.header("allow")), (405, "GET, HEAD"), "{method} {path}");
        }
    }
    for path in ["/metric", "/metrics/", "/-/", "/favicon.ico", "/-/healthy/x", "/hooks/ozonetel/in"] {
        assert_eq!(running.get(path).await.status, 404, "{path}");
    }
    running.stop().await;
}

#[tokio::test]
async fn the_format_is_negotiated() {
    let (_vendor, running) = ready().await;
    let newest = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=0.0.4;q=0.2";
    for (accept, content_type, end) in [
        ("", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        ("text/html,*/*;q=0.8", "text/plain; version=0.0.4; charset=utf-8", "\n"),
        (OPEN_METRICS, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=underscores", "\n# EOF\n"),
        (newest, "application/openmetrics-text; version=1.0.0; charset=utf-8; escaping=allow-utf-8", "\n# EOF\n"),
        ("text/plain;version=1.0.0", "text/plain; version=1.0.0; charset=utf-8; escaping=underscores", "\n"),
        ("application/openmetrics-text;q=0", "text/plain; version=0.0.4; charset=utf-8", "\n"),
    ] {
        let answer = running.get_as("/metrics", accept).await;
        assert_eq!(answer.header("content-type"), content_type, "{accept}");
        assert_eq!(answer.header("vary"), "Accept, Accept-Encoding");
        assert!(answer.body.ends_with(end), "{accept}");
        assert_eq!(answer.body.contains("# EOF"), end.contains("EOF"), "{accept}");
    }
    assert_eq!(running.get("/").await.header("content-type"), "text/html; charset=utf-8");
    assert_eq!(running.get("/api/v1/reports").await.header("content-type"), "application/json");
    running.stop().await;
}

#[tokio::test]
async fn the_reports_are_told_to_people_and_to_scripts() {
    let (_vendor, running) = ready().await;
    let json: serde_json::Value = serde_json::from_str(&running.get("/api/v1/reports").await.body).unwrap();
    let report = &json["reports"][0];
    assert_eq!(
        (&report["vendor"], &report["account"], &report["report"], &report["state"]),
        (&"wolkvox".into(), &"co".into(), &"agent_hold_mute".into(), &"up".into())
    );
    let page = running.get("/").await.body;
    for part in ["href=\"/metrics\"", "wolkvox", "agent_hold_mute", env!("CARGO_PKG_VERSION")] {
        assert!(page.contains(part), "{part} is missing:\n{page}");
    }
    running.stop().await;
}

/// Sends bytes and gives the first line of what comes back.
async fn raw(running: &Running, request: &str) -> String {
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    // It may hang up before all of it is sent.
    let _ = stream.write_all(request.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(10), stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn headers_have_a_limit() {
    let (_vendor, running) = ready().await;
    let with = |bytes: usize| {
        format!("GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {}\r\n\r\n", "x".repeat(bytes))
    };
    assert_eq!(raw(&running, &with(15 * 1024)).await, "HTTP/1.1 200 OK");
    assert_eq!(raw(&running, &with(17 * 1024)).await, "HTTP/1.1 431 Request Header Fields Too Large");
    assert_eq!(raw(&running, "nonsense\r\n\r\n").await, "HTTP/1.1 400 Bad Request");
    running.stop().await;
}

#[tokio::test]
async fn ready_means_that_every_report_was_tried() {
    let (_listener, url) = silent().await;
    let running = Running::start(&wolkvox(&url, ", timeout: 2s"), &noon()).await;
    assert_eq!(running.get("/-/ready").await.status, 503);
    assert_eq!(running.get("/-/healthy").await.status, 200);
    let page = running.ready().await;
    assert_eq!(page.value("up", &[]), Some(0.0));
    assert_eq!(running.get("/-/healthy").await.status, 200, "a vendor's failure is none of ours");
    running.stop().await;
}

#[tokio::test]
async fn a_signal_ends_it_within_five_seconds() {
    let (_listener, url) = silent().await;
    let folder = tempfile::tempdir().unwrap();
    for signal in ["TERM", "INT"] {
        let mut process = Process::serve(folder.path(), &format!("vendors:\n{}", wolkvox(&url, "")), &[]);
        let address = process.address().await;
        // A poll that hangs and a connection that idles hold nothing up.
        let _idle = TcpStream::connect(address.as_str()).await.unwrap();
        let answer = read(client().get(format!("http://{address}/metrics")).send().await.unwrap()).await;
        assert_eq!(answer.status, 200);
        let started = Instant::now();
        process.signal(signal);
        let (code, log) = process.end().await;
        assert_eq!(code, Some(0), "{signal}: {log}");
        assert!(started.elapsed() < Duration::from_secs(5), "{signal} took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn a_port_in_use_is_exit_1_with_the_address() {
    let (listener, url) = silent().await;
    let address = listener.local_addr().unwrap().to_string();
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("vendors:\n{}", wolkvox(&url, ""));
    let process = Process::serve_on(&address, folder.path(), &yaml, &[]);
    let (code, log) = process.end().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&address), "{log}");
}

#[tokio::test]
async fn a_missing_secret_is_exit_78_with_its_place() {
    let folder = tempfile::tempdir().unwrap();
    let account = "account: co, server: '0010', reports: { agent_hold_mute: {} }";
    for (secret, expected) in [
        ("token_file: no/such/file", "vendors.wolkvox[0].token_file: cannot read "),
        (
            "token_env: NO_SUCH_VARIABLE",
            "vendors.wolkvox[0].token_env: environment variable NO_SUCH_VARIABLE is not set",
        ),
    ] {
        let yaml = format!("vendors: {{ wolkvox: [{{ {account}, {secret} }}] }}");
        let (code, log) = Process::serve(folder.path(), &yaml, &[]).end().await;
        assert_eq!(code, Some(78), "{log}");
        assert!(log.contains(expected), "{log}");
        assert!(!folder.path().join("state").exists(), "a state was made for a program that cannot run");
    }
}

#[tokio::test]
async fn a_state_has_one_owner() {
    let (_listener, url) = silent().await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!("vendors:\n{}", wolkvox(&url, ""));
    let mut first = Process::serve(folder.path(), &yaml, &[]);
    first.address().await;
    let (code, log) = Process::serve(folder.path(), &yaml, &[]).end().await;
    assert_eq!(code, Some(1), "{log}");
    let path = folder.path().join("state").join("state.redb");
    assert!(log.contains("in use by another process") && log.contains(&path.display().to_string()), "{log}");
    first.signal("TERM");
    assert_eq!(first.end().await.0, Some(0));
    // A damaged file is refused, and left as it is.
    std::fs::write(&path, b"not a database, but somebody's last copy").unwrap();
    let (code, log) = Process::serve(folder.path(), &yaml, &[]).end().await;
    assert_eq!(code, Some(1), "{log}");
    assert!(log.contains(&path.display().to_string()), "{log}");
    assert_eq!(std::fs::read(&path).unwrap(), b"not a database, but somebody's last copy");
}
