//! `--web.config.file`: good and bad files, passwords, headers, the rate limit, and what changes while the program runs.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use contact_center_exporter::web::{Access, WebConfigError};
use rcgen::SanType;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::Instant;

use super::config::files;
use super::process::Process;
use super::site::{ACCOUNT, Authority, DEADLINE, Site, TLS, folder, identity};
use super::support::{Answer, read, write};

/// After so long the files are looked at again.
const NEXT_LOOK: Duration = Duration::from_millis(1100);

#[tokio::test]
async fn good_files_are_accepted() {
    let folder = folder(&Authority::new());
    for file in files("tests/config/web/good") {
        let text = std::fs::read_to_string(&file).unwrap();
        let access = Access::load(&write(folder.path(), "web.yml", &text), false);
        let access = access.unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert_eq!(access.tls(), text.contains("cert_file"), "{}", file.display());
    }
}

/// Files whose names begin with `file_` are right, and what they name is not.
#[tokio::test]
async fn bad_files_are_answered_with_the_text_beside_them() {
    let folder = folder(&Authority::new());
    for file in files("tests/config/web/bad") {
        let name = file.file_name().unwrap().to_str().unwrap();
        let copy = write(folder.path(), name, std::fs::read(&file).unwrap());
        let Err(error) = Access::load(&copy, false) else { panic!("{name} is accepted") };
        let text = format!("{error}\n").replace(&format!("{}/", folder.path().display()), "");
        assert_eq!(text, std::fs::read_to_string(file.with_extension("err")).unwrap_or_default(), "{name}");
        assert!(!text.contains("hunter2"), "{text}");
        assert_eq!(matches!(error, WebConfigError::File { .. }), name.starts_with("file_"), "{name}");
    }
}

#[tokio::test]
async fn a_wrong_file_ends_the_start_with_its_text() {
    let folder = folder(&Authority::new());
    for (web, code, told) in [
        ("basic_auth_users: { asha: hunter2 }", 78, "line 1: basic_auth_users.asha: expected a bcrypt hash"),
        ("tls_server_config: { cert_file: gone.pem, key_file: server.key }", 1, "gone.pem: no such file"),
    ] {
        let web = format!("--web.config.file={}", write(folder.path(), "web.yml", web).display());
        let (exit, log) = Process::serve_with(&[&web], folder.path(), ACCOUNT, &[]).end().await;
        assert_eq!(exit, Some(code), "{log}");
        assert!(log.contains(told) && !log.contains("hunter2"), "{log}");
    }
    let (exit, log) = Process::serve_with(&["--web.systemd-socket"], folder.path(), ACCOUNT, &[]).end().await;
    assert!(exit == Some(1) && log.contains("--web.systemd-socket: no socket was passed"), "{log}");
    let (exit, log) = Process::serve_with(&["--web.config.file=gone.yml"], folder.path(), ACCOUNT, &[]).end().await;
    assert!(exit == Some(78) && log.contains("gone.yml: cannot be read: no such file"), "{log}");
}

/// A bcrypt hash that is quickly compared.
fn hash(password: &str) -> String {
    bcrypt::hash(password, 4).unwrap()
}

fn users(pairs: &[(&str, &str)]) -> String {
    let line = |(user, password): &(&str, &str)| format!("  {user}: '{}'\n", hash(password));
    format!("basic_auth_users:\n{}", pairs.iter().map(line).collect::<String>())
}

async fn ask(site: &Site, path: &str, user: Option<(&str, &str)>) -> Answer {
    let request = site.client().build().unwrap().get(format!("https://{}{path}", site.address()));
    let request = match user {
        Some((user, password)) => request.basic_auth(user, Some(password)),
        None => request,
    };
    read(request.send().await.unwrap()).await
}

/// As systemd does it: the socket is the descriptor after standard error, and the environment says for whom.
#[tokio::test]
async fn systemd_passes_a_socket() {
    const PASS: &str = "exec 3<&0 </dev/null; LISTEN_FDS=1 LISTEN_PID=${FOR:-$$} exec \"$@\"";
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{ACCOUNT}"));
    for (whose, expected) in [("", true), ("1", false)] {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let mut command = tokio::process::Command::new("sh");
        command
            .args(["-c", PASS, "sh", env!("CARGO_BIN_EXE_contact-center-exporter"), "--web.systemd-socket"])
            .arg(format!("--config.file={}", file.display()))
            .env("FOR", whose)
            .stdin(std::os::fd::OwnedFd::from(listener));
        let mut process = Process::spawn(command);
        if expected {
            assert_eq!(process.address().await, address);
            assert_eq!(reqwest::get(format!("http://{address}/-/healthy")).await.unwrap().status(), 200);
            process.signal("TERM");
        }
        let (code, log) = process.end().await;
        assert_eq!(code, Some(i32::from(!expected)), "{log}");
    }
}

#[tokio::test]
async fn only_known_users_are_answered() {
    let site = Site::new(&format!("{TLS}{}", users(&[("asha", "hunter2"), ("ravi", "other")]))).await;
    for path in ["/", "/metrics", "/api/v1/reports", "/-/healthy", "/-/ready", "/-/reload", "/nowhere"] {
        for user in [None, Some(("asha", "other")), Some(("asha", "")), Some(("nobody", "hunter2")), Some(("", ""))] {
            let answer = ask(&site, path, user).await;
            assert_eq!(answer.status, 401, "{path} {user:?}");
            assert!(answer.header("www-authenticate").starts_with("Basic"), "{path} {user:?}");
            assert!(!answer.body.contains("contact_center"), "{}", answer.body);
        }
    }
    for user in [("asha", "hunter2"), ("ravi", "other")] {
        let answer = ask(&site, "/metrics", Some(user)).await;
        assert!(answer.status == 200 && answer.body.contains("exporter_build_info"), "{user:?} {}", answer.status);
    }
    site.running.stop().await;
}

#[tokio::test]
async fn health_needs_no_password_if_it_is_exempt() {
    let web = format!("{TLS}{}rate_limit: {{ interval: 1h, burst: 2 }}\n", users(&[("asha", "hunter2")]));
    let site = Site::with(Authority::new(), &web, true).await;
    // Nor does the rate limit count it.
    for _ in 0..5 {
        assert_eq!(ask(&site, "/-/healthy", None).await.status, 200);
        assert_ne!(ask(&site, "/-/ready", None).await.status, 401);
    }
    assert_eq!(ask(&site, "/metrics", None).await.status, 401);
    assert_eq!(ask(&site, "/-/healthy/", Some(("asha", "hunter2"))).await.status, 404);
    assert_eq!(ask(&site, "/metrics", Some(("asha", "hunter2"))).await.status, 429);
    assert_eq!(ask(&site, "/-/healthy", None).await.status, 200);
    site.running.stop().await;
}

#[tokio::test]
async fn passwords_are_not_guessed_on_health_paths_without_limit() {
    let web = format!("{TLS}{}rate_limit: {{ interval: 1h, burst: 3 }}\n", users(&[("asha", "hunter2")]));
    let site = Site::new(&web).await;
    let right = Some(("asha", "hunter2"));
    for (path, user, status) in [
        ("/-/healthy", right, 200),
        ("/-/healthy", Some(("asha", "one")), 401),
        ("/-/ready", Some(("nobody", "two")), 401),
        ("/-/healthy", Some(("asha", "three")), 429),
        ("/-/ready", Some(("asha", "hunter2x")), 429),
        ("/metrics", right, 429),
        ("/-/healthy", None, 401),
        ("/-/healthy", right, 200),
    ] {
        assert_eq!(ask(&site, path, user).await.status, status, "{path} {user:?}");
    }
    site.running.stop().await;
}

/// Exit code and what it tells.
async fn health(site: &Site) -> (Option<i32>, String) {
    health_at(site.address()).await
}

async fn health_at(address: SocketAddr) -> (Option<i32>, String) {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_contact-center-exporter"));
    command.args(["health", &format!("--web.listen-address={address}")]);
    Process::spawn(command).end().await
}

#[tokio::test]
async fn the_health_command_speaks_what_the_exporter_speaks() {
    let site = Site::new(TLS).await;
    assert_eq!(health(&site).await.0, Some(0));
    site.running.stop().await;
    let web = format!("{TLS}{}", users(&[("asha", "hunter2")]));
    for (exempt, code, told) in [(false, 1, "--web.auth-exempt-health"), (true, 0, "")] {
        let site = Site::with(Authority::new(), &web, exempt).await;
        let (exit, log) = health(&site).await;
        assert!(exit == Some(code) && log.contains(told), "{log}");
        site.running.stop().await;
    }
}

/// At the start, in the log, and not instead of it.
#[tokio::test]
async fn keys_and_secrets_that_others_can_read_are_told_at_the_start() {
    use std::os::unix::fs::PermissionsExt as _;
    let folder = folder(&Authority::new());
    write(folder.path(), "web.yml", TLS);
    write(folder.path(), "token", "t");
    let yaml = ACCOUNT.replace("token: t", "token_file: token");
    for (mode, told) in [(0o644, true), (0o600, false)] {
        for name in ["server.key", "token"] {
            let mode = std::fs::Permissions::from_mode(mode);
            std::fs::set_permissions(folder.path().join(name), mode).unwrap();
        }
        let web = format!("--web.config.file={}", folder.path().join("web.yml").display());
        let mut process = Process::serve_with(&[&web, "--web.listen-address=127.0.0.1:0"], folder.path(), &yaml, &[]);
        process.address().await;
        process.signal("TERM");
        let (exit, log) = process.end().await;
        assert_eq!(exit, Some(0), "{log}");
        for place in ["line 3: tls_server_config.key_file: others", "line 2: vendors.wolkvox[0].token_file: others"] {
            let lines = log.lines().filter(|line| line.contains("level=warn") && line.contains(place)).count();
            assert_eq!(lines, usize::from(told), "{mode:o} {place}: {log}");
        }
    }
}

/// The exporter answers nobody without a certificate, and by asking for it says that it serves. Whoever speaks TLS and
/// breaks off otherwise does not.
#[tokio::test]
async fn the_health_command_takes_being_asked_for_a_certificate_as_an_answer() {
    for version in ["TLS12", "TLS13"] {
        let clients = "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.pem\n";
        let site = Site::new(&format!("{TLS}{clients}  min_version: {version}\n  max_version: {version}\n")).await;
        let (exit, log) = health(&site).await;
        assert_eq!(exit, Some(0), "{version}: {log}");
        site.running.stop().await;
    }
    // TLS alert 40, handshake failure.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let refusing = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.read(&mut [0; 4096]).await;
            let _ = stream.write_all(&[21, 3, 3, 0, 2, 2, 40]).await;
        }
    });
    assert_eq!(health_at(address).await.0, Some(1));
    refusing.abort();
}

#[tokio::test]
async fn headers_stand_on_every_answer() {
    let web = "http_server_config:\n  headers:\n    X-Frame-Options: deny\n    X-Content-Type-Options: nosniff\n    X-XSS-Protection: '0'\n    Strict-Transport-Security: max-age=60\n    Content-Security-Policy: default-src 'none'\n";
    let site = Site::new(&format!("{TLS}{web}{}", users(&[("asha", "hunter2")]))).await;
    for (path, user, status) in [
        ("/metrics", Some(("asha", "hunter2")), 200),
        ("/", Some(("asha", "hunter2")), 200),
        ("/nowhere", Some(("asha", "hunter2")), 404),
        ("/metrics", None, 401),
    ] {
        let answer = ask(&site, path, user).await;
        assert_eq!(answer.status, status, "{path}");
        for (name, value) in [
            ("x-frame-options", "deny"),
            ("x-content-type-options", "nosniff"),
            ("x-xss-protection", "0"),
            ("strict-transport-security", "max-age=60"),
            ("content-security-policy", "default-src 'none'"),
        ] {
            let values: Vec<_> = answer.headers.get_all(name).iter().collect();
            assert_eq!(values, [value], "{path} {name}");
        }
    }
    site.running.stop().await;
}

/// Asks until the answer is this one.
async fn until(site: &Site, user: Option<(&str, &str)>, status: u16) {
    let deadline = Instant::now() + DEADLINE;
    while ask(site, "/metrics", user).await.status != status {
        assert!(Instant::now() < deadline, "never {status} for {user:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn users_and_headers_change_without_a_restart() {
    let (asha, ravi) = (Some(("asha", "hunter2")), Some(("ravi", "other")));
    let site = Site::new(&format!("{TLS}{}", users(&[("asha", "hunter2")]))).await;
    assert_eq!((ask(&site, "/", asha).await.status, ask(&site, "/", ravi).await.status), (200, 401));
    let headers = "http_server_config: { headers: { X-Frame-Options: deny } }\n";
    write(site.path(), "web.yml", format!("{TLS}{headers}{}", users(&[("ravi", "other")])));
    until(&site, ravi, 200).await;
    let answer = ask(&site, "/", asha).await;
    assert_eq!((answer.status, answer.header("x-frame-options")), (401, "deny"), "her password was remembered");
    // Broken, cut off, without TLS, gone: the last good one stays.
    for broken in ["basic_auth_users: [", "", "http_server_config: {}\n", "basic_auth_users: { ravi: plain }\n"] {
        write(site.path(), "web.yml", broken);
        tokio::time::sleep(NEXT_LOOK).await;
        assert_eq!((ask(&site, "/", asha).await.status, ask(&site, "/", ravi).await.status), (401, 200), "{broken}");
    }
    std::fs::remove_file(site.path().join("web.yml")).unwrap();
    tokio::time::sleep(NEXT_LOOK).await;
    assert_eq!((ask(&site, "/", asha).await.status, ask(&site, "/", ravi).await.status), (401, 200));
    write(site.path(), "web.yml", format!("{TLS}{}", users(&[("asha", "hunter2")])));
    until(&site, asha, 200).await;
    site.running.stop().await;
}

/// The program behind this file.
fn served(file: &Path, folder: &Path) -> Process {
    let options = [&format!("--web.config.file={}", file.display()), "--web.listen-address=127.0.0.1:0"];
    Process::serve_with(&options, folder, ACCOUNT, &[])
}

/// Asks until the program has said these words so often.
async fn told(process: &Process, url: &str, words: &str, times: usize) {
    let deadline = Instant::now() + DEADLINE;
    while process.log().matches(words).count() < times {
        assert!(Instant::now() < deadline, "never {words}: {}", process.log());
        reqwest::get(url).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// As an editor or a copy leaves it for a moment. What is cut off would let everybody in.
#[tokio::test]
async fn a_file_that_is_half_written_opens_nothing() {
    let folder = folder(&Authority::new());
    let web =
        format!("http_server_config: {{ headers: {{ X-Frame-Options: deny }} }}\n{}", users(&[("asha", "hunter2")]));
    let file = write(folder.path(), "web.yml", &web);
    let mut process = served(&file, folder.path());
    let url = format!("http://{}/metrics", process.address().await);
    let status = async || reqwest::get(&url).await.unwrap().status().as_u16();
    assert_eq!(status().await, 401);
    let cut = web.find("basic_auth_users:").unwrap();
    for (number, end) in [(1, cut), (2, cut + "basic_auth_users:".len())] {
        write(folder.path(), "web.yml", &web[..end]);
        told(&process, &url, "passwords are turned off by a restart or by {} only", number).await;
        assert_eq!(status().await, 401, "{}", &web[..end]);
    }
    write(folder.path(), "web.yml", "basic_auth_users: {}\n");
    told(&process, &url, "web configuration read again", 1).await;
    assert_eq!(status().await, 200, "it is written out");
    // Nor is there anything to be left out now.
    write(folder.path(), "web.yml", "rate_limit: {}\n");
    told(&process, &url, "web configuration read again", 2).await;
    process.signal("TERM");
    assert_eq!(process.end().await.0, Some(0));
}

#[tokio::test]
async fn certificates_of_clients_stay_required() {
    let web = format!(
        "{TLS}  client_ca_file: ca.pem\n  client_auth_type: RequireAndVerifyClientCert\n  client_allowed_sans: [prometheus.example]\n"
    );
    let site = Site::new(&web).await;
    let stranger = || identity(site.authority.certify(vec![SanType::DnsName("other.example".try_into().unwrap())]));
    for cut in [TLS, web.split_inclusive("ClientCert\n").next().unwrap()] {
        write(site.path(), "web.yml", cut);
        tokio::time::sleep(NEXT_LOOK).await;
        assert!(site.get(site.client(), "/metrics").await.is_err(), "no certificate: {cut}");
        assert!(site.get(site.client().identity(stranger()), "/metrics").await.is_err(), "another name: {cut}");
        assert!(site.get(site.client().identity(site.authority.client()), "/metrics").await.is_ok(), "{cut}");
    }
    site.running.stop().await;
}

#[tokio::test]
async fn certificates_change_without_a_restart() {
    let site = Site::new(TLS).await;
    let (first, second) = (site.client().build().unwrap(), Authority::new());
    let url = format!("https://{}/metrics", site.address());
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200);
    let trusting = |authority: &Authority| {
        let root = reqwest::Certificate::from_pem(authority.0.pem().as_bytes()).unwrap();
        reqwest::Client::builder().no_proxy().tls_certs_only([root]).build().unwrap()
    };
    let (certificate, key) = second.server();
    // Between the two the pair does not fit, and nothing changes.
    write(site.path(), "server.pem", certificate);
    tokio::time::sleep(NEXT_LOOK).await;
    assert!(site.get(site.client(), "/metrics").await.is_ok());
    assert!(trusting(&second).get(&url).send().await.is_err());
    write(site.path(), "server.key", key);
    let deadline = Instant::now() + DEADLINE;
    while trusting(&second).get(&url).send().await.is_err() {
        assert!(Instant::now() < deadline, "the new certificate is never shown");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    assert!(site.get(site.client(), "/metrics").await.is_err(), "the old one is gone");
    assert_eq!(first.get(&url).send().await.unwrap().status(), 200, "a connection that stands is not cut");
    site.running.stop().await;
}

/// What is wrong is told once, however many ask.
#[tokio::test]
async fn a_broken_file_is_told_once_per_change() {
    let folder = tempfile::tempdir().unwrap();
    let file = write(folder.path(), "web.yml", "http_server_config: { headers: { X-Frame-Options: deny } }\n");
    let mut process = served(&file, folder.path());
    let url = format!("http://{}/-/healthy", process.address().await);
    for (text, words, times) in [
        ("http_server_config: { headers: { X-Frame-Options: hunter2 } }\n", "web configuration not read again", 1),
        ("http_server_config: { headers: { X-Frame-Options: sameorigin } }\n", "web configuration read again", 1),
        ("basic_auth_users: { asha: hunter2 }\n", "web configuration not read again", 2),
    ] {
        write(folder.path(), "web.yml", text);
        told(&process, &url, words, times).await;
        assert_eq!(reqwest::get(&url).await.unwrap().status(), 200);
    }
    for _ in 0..3 {
        tokio::time::sleep(NEXT_LOOK).await;
        assert_eq!(reqwest::get(&url).await.unwrap().headers()["x-frame-options"], "sameorigin");
    }
    assert_eq!(process.log().matches("web configuration not read again").count(), 2);
    assert!(!process.log().contains("hunter2"), "{}", process.log());
    process.signal("TERM");
    assert_eq!(process.end().await.0, Some(0));
}
