//! What an account may say about the way to its vendor: `timeout`, `rate_limit`, `tls` and `proxy_url`, each through one
//! vendor, and that all vendors take all of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use contact_center_exporter::app::App;
use contact_center_exporter::clock::Clock;
use contact_center_exporter::config::{self};
use contact_center_exporter::settings::RateLimit;
use rcgen::{CertificateParams, KeyPair};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};

use super::exposition::Exposition;
use super::process::Process;
use super::site::Authority;
use super::support::{Running, fixture, noon, voximplant_key, write};
use super::vendor::{Asked, Reply, Vendor};

fn answer(_: &Asked) -> Reply {
    Reply::json(fixture("wolkvox/agent_9.json"))
}

/// The first poll of a Wolkvox account with these keys; `files` lie beside exporter.yml.
async fn polled(url: &str, keys: &str, files: &[(&str, &str)]) -> Exposition {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        write(folder.path(), name, text);
    }
    let yaml = format!(
        "vendors: {{ wolkvox: [{{ account: co, base_url: '{url}', token: t, {keys} reports: {{ agent_hold_mute: {{ interval: 1h }} }} }}] }}"
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    let page = running.ready().await;
    running.stop().await;
    page
}

fn reason(page: &Exposition) -> String {
    page.reasons("wolkvox").into_iter().collect::<Vec<_>>().join(",")
}

#[tokio::test]
async fn timeout_ends_a_request() {
    // Accepts into its backlog, and never answers.
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    let page = polled(&url, "timeout: 400ms,", &[]).await;
    assert_eq!(reason(&page), "timeout");
    let took = page.value("last_poll_duration_seconds", &[]).unwrap();
    assert!((0.4..10.0).contains(&took), "{took}");
    assert_eq!(page.value("api_requests_total", &[]), Some(1.0), "a timeout is not tried again");
}

#[tokio::test]
async fn rate_limit_spaces_requests_evenly() {
    let vendor = Vendor::start(|_| Reply::json(fixture("huawei/statistics_ok.json"))).await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "guids.json", r#"{"101":"a","102":"b","103":"c","104":"d","105":"e"}"#);
    let yaml = format!(
        "vendors: {{ huawei: [{{ account: br, base_url: '{}', guids: {{ file: guids.json }}, rate_limit: 600/1m, reports: {{ agent_call_statistics: {{ interval: 1h, rate_limit: 4/1s }} }} }}] }}",
        vendor.url()
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    let page = running.ready().await;
    let times: Vec<_> = vendor.asked().iter().map(|asked| asked.at).collect();
    assert_eq!(times.len(), 5);
    for pair in times.windows(2) {
        // The report's own limit holds: one in 250 ms, less what the network may lend.
        assert!(pair[1] - pair[0] > Duration::from_millis(150), "{times:?}");
    }
    assert!(times[4] - times[0] > Duration::from_millis(950), "{times:?}");
    let waited = page.value("api_budget_wait_seconds_total", &[("vendor", "huawei")]).unwrap();
    // Four of them waited 0.25, 0.5, 0.75 and 1 s.
    assert!((2.0..6.0).contains(&waited), "{waited}");
    running.stop().await;
}

#[tokio::test]
async fn http_needs_no_root_certificates() {
    let vendor = Vendor::start(answer).await;
    let folder = tempfile::tempdir().unwrap();
    let yaml = format!(
        "vendors: {{ wolkvox: [{{ account: co, base_url: '{}', token: t, reports: {{ agent_hold_mute: {{ interval: 1h }} }} }}] }}",
        vendor.url()
    );
    let nowhere = [("SSL_CERT_FILE", "/nonexistent"), ("SSL_CERT_DIR", "/nonexistent")];
    let process = Process::serve(folder.path(), &yaml, &nowhere);
    let deadline = Instant::now() + Duration::from_secs(20);
    while !process.log().contains("report is up") {
        assert!(Instant::now() < deadline && !process.log().contains("poll failed"), "{}", process.log());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// An authority, as PEM, and a server certified by it for `name`.
fn certified(name: &str) -> (String, TlsAcceptor) {
    let Authority(authority) = Authority::new();
    let key = KeyPair::generate().unwrap();
    let server = CertificateParams::new(vec![name.to_owned()]).unwrap().signed_by(&key, &authority).unwrap();
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let config = ServerConfig::builder().with_no_client_auth().with_single_cert(vec![server.der().clone()], key);
    (authority.pem(), TlsAcceptor::from(Arc::new(config.unwrap())))
}

#[tokio::test]
async fn tls_trusts_whom_the_account_trusts() {
    let (authority, tls) = certified("127.0.0.1");
    let (stranger, _) = certified("127.0.0.1");
    let vendor = Vendor::start_tls(tls, answer).await;
    let url = format!("https://{}", vendor.address);
    let files = [("ca.pem", authority.as_str()), ("stranger.pem", stranger.as_str())];
    for (keys, expected) in [
        ("tls: { ca_file: ca.pem },", ""),
        ("tls: { insecure_skip_verify: true },", ""),
        ("tls: { ca_file: stranger.pem },", "tls"),
        ("", "tls"),
    ] {
        let page = polled(&url, keys, &files).await;
        assert_eq!(reason(&page), expected, "{keys}");
        assert_eq!(page.up("wolkvox"), expected.is_empty(), "{keys}");
    }
    assert_eq!(vendor.asked().len(), 2, "nothing is sent to a stranger");
}

#[tokio::test]
async fn server_name_is_what_the_certificate_must_carry() {
    let (authority, tls) = certified("vendor.example");
    let vendor = Vendor::start_tls(tls, answer).await;
    let url = format!("https://{}", vendor.address);
    let files = [("ca.pem", authority.as_str())];
    for (keys, expected) in [
        ("tls: { ca_file: ca.pem, server_name: vendor.example },", ""),
        ("tls: { ca_file: ca.pem, server_name: other.example },", "tls"),
        ("tls: { ca_file: ca.pem },", "tls"),
    ] {
        assert_eq!(reason(&polled(&url, keys, &files).await), expected, "{keys}");
    }
    let asked = vendor.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].headers["host"], vendor.address.to_string(), "the vendor is asked by its own name");
}

#[tokio::test]
async fn a_proxy_sees_plain_requests_whole() {
    let proxy = Vendor::start(answer).await;
    let page = polled("http://vendor.invalid", &format!("proxy_url: '{}',", proxy.url()), &[]).await;
    assert!(page.up("wolkvox"), "{}", page.text);
    let asked = proxy.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].uri.host(), Some("vendor.invalid"));
}

/// A proxy that tunnels every CONNECT to `target`, and counts them.
async fn tunnel(target: std::net::SocketAddr, seen: Arc<AtomicUsize>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let seen = Arc::clone(&seen);
            tokio::spawn(async move {
                let mut stream = BufReader::new(stream);
                let mut head = String::new();
                while !head.ends_with("\r\n\r\n") {
                    if stream.read_line(&mut head).await.unwrap() == 0 {
                        return;
                    }
                }
                assert!(head.starts_with("CONNECT vendor.example:443 "), "{head}");
                seen.fetch_add(1, Ordering::SeqCst);
                stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await.unwrap();
                let mut vendor = TcpStream::connect(target).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut vendor).await;
            });
        }
    });
    url
}

#[tokio::test]
async fn a_proxy_tunnels_tls_and_sees_nothing() {
    let (authority, tls) = certified("vendor.example");
    let vendor = Vendor::start_tls(tls, answer).await;
    let tunnels = Arc::<AtomicUsize>::default();
    let proxy = tunnel(vendor.address, Arc::clone(&tunnels)).await;
    let keys = format!("proxy_url: '{proxy}', tls: {{ ca_file: ca.pem }},");
    let page = polled("https://vendor.example", &keys, &[("ca.pem", &authority)]).await;
    assert!(page.up("wolkvox"), "{}", page.text);
    assert_eq!((tunnels.load(Ordering::SeqCst), vendor.asked().len()), (1, 1));
}

#[tokio::test]
async fn every_vendor_takes_every_common_key() {
    const ACCOUNTS: [(&str, &str, &str); 4] = [
        ("ozonetel", "user_name: acme, api_key: k", "average_handling_time: { agents: [asha], "),
        ("wolkvox", "token: t", "agent_hold_mute: { "),
        ("huawei", "guids: { file: guids.json }", "agent_call_statistics: { "),
        ("voximplant", "credentials_file: key.json", "operator_statistics: { "),
    ];
    const WAYS: [&str; 2] = [
        "proxy_url: 'http://127.0.0.1:9', tls: { ca_file: ca.pem, insecure_skip_verify: true }",
        "tls: { ca_file: ca.pem, server_name: vendor.example }",
    ];
    for way in WAYS {
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "key.json", voximplant_key().await);
        write(folder.path(), "guids.json", r#"{"101":"a"}"#);
        write(folder.path(), "ca.pem", certified("vendor.example").0);
        let account = |(vendor, own, report): (&str, &str, &str)| {
            format!(
                "  {vendor}: [{{ account: {vendor}, base_url: 'https://127.0.0.1:9', {own}, timeout: 7s, rate_limit: 50/1m, max_in_flight: 3, {way}, \
                 reports: {{ {report} interval: 7m, rate_limit: 40/1m, stale_after: 8m, settle: 9h, backfill: 2d }} }} }}]\n"
            )
        };
        let yaml = format!("state: {{ path: state }}\nvendors:\n{}", ACCOUNTS.map(account).concat());
        let loaded =
            config::load(&write(folder.path(), "exporter.yml", &yaml)).unwrap_or_else(|error| panic!("{error}"));
        for (at, account) in loaded.config.vendors.accounts() {
            let settings = account.settings();
            assert_eq!(settings.timeout, Duration::from_secs(7), "{at}");
            assert_eq!(settings.rate_limit, Some(RateLimit::per_minute(50)), "{at}");
            assert_eq!(settings.max_in_flight, Some(3), "{at}");
            assert_eq!(settings.proxy_url.is_some(), way.contains("proxy_url"), "{at}");
            assert!(settings.tls.ca_file.is_some(), "{at}");
            assert_eq!(settings.tls.server_name.is_some(), way.contains("server_name"), "{at}");
            assert_eq!(settings.tls.insecure_skip_verify, way.contains("insecure_skip_verify"), "{at}");
            let row = &account.plan()[0];
            assert_eq!((row.interval, row.limit), (Duration::from_mins(7), Some(RateLimit::per_minute(40))), "{at}");
        }
        // And each of them can be made ready with it.
        assert_eq!(format!("{:?}", App::new(&loaded, &Clock::system(), "/metrics").unwrap()), "App(4 accounts)");
    }
}
