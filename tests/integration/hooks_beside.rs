//! Callbacks beside everything else that goes on: polls, reloads, TLS, and what the command line says.

use std::sync::Arc;
use std::time::Duration;

use contact_center_exporter::app::App;
use contact_center_exporter::web::Access;
use serde_json::json;
use tokio::net::TcpListener;
use tokio::time::Instant;

use super::hooks::{Hooked, KEY, LISTEN, callback, calls_asked, post, right, until, vendor, yaml};
use super::process::Process;
use super::site::{Authority, DEADLINE, TLS, folder};
use super::support::{Running, client, noon, read, write};
use super::vendor::{Reply, Vendor};

#[tokio::test]
async fn a_poll_under_way_holds_nobody_up() {
    let vendor = Vendor::start(|_| Reply::json("{}").late(Duration::from_mins(1))).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/hooks/ozonetel/in", listener.local_addr().unwrap());
    let app = |loaded: &_| App::new(loaded, &noon(), "/metrics").unwrap().receiving(listener);
    let running = Running::start_app(tempfile::tempdir().unwrap(), &yaml(&vendor.url(), "1s"), app).await;
    assert_eq!(post(&client(), &url, right(1)).await.status, 200);
    let deadline = Instant::now() + DEADLINE;
    while calls_asked(&vendor).is_empty() && !vendor.asked().iter().any(|asked| asked.path().contains("Cdr")) {
        // The vendor notes a request before it waits.
        assert!(Instant::now() < deadline, "never asked");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let started = Instant::now();
    assert_eq!(post(&client(), &url, right(2)).await.status, 200);
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
    running.until("both wait", |page| (page.sum("pending_calls", &[]) - 2.0).abs() < 1e-9).await;
    running.stop().await;
}

#[tokio::test]
async fn a_reload_changes_keys_and_accounts_and_loses_no_call() {
    let vendor = Vendor::start(|_| Reply::json(r#"{"status":"error","message":"No Data Found"}"#)).await;
    let hooked = Arc::new(Hooked::start(&yaml(&vendor.url(), "1s")).await);
    let reload = async |yaml: &str| {
        let running = &hooked.running;
        write(running.folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{yaml}"));
        let answer = read(client().post(format!("http://{}/-/reload", running.address)).send().await.unwrap()).await;
        assert_eq!(answer.status, 200, "{}", answer.body);
    };
    let (first, other) = (yaml(&vendor.url(), "1s"), yaml(&vendor.url(), "1s").replace(KEY, "CANARY-new"));
    let with_new = |ucid: u64| callback("CANARY-new".into(), ucid.into());
    assert_eq!(hooked.post("in", right(1)).await.status, 200);
    reload(&other).await;
    assert_eq!((hooked.post("in", right(2)).await.status, hooked.post("in", with_new(2)).await.status), (401, 200));
    reload(&other.replace(", callback: true", ", ucid_file: /dev/null")).await;
    assert_eq!(hooked.post("in", with_new(3)).await.status, 401);
    reload(&other.replace("account: in", "account: out")).await;
    assert_eq!((hooked.post("in", with_new(3)).await.status, hooked.post("out", with_new(3)).await.status), (401, 200));
    reload(&first).await;
    assert_eq!(hooked.post("in", right(3)).await.status, 200);
    hooked.running.until("all three", |page| (page.sum("pending_calls", &[]) - 3.0).abs() < 1e-9).await;

    // Each reload gives the account a new book.
    let sender = {
        let hooked = Arc::clone(&hooked);
        tokio::spawn(async move {
            let mut stored = 0_u32;
            for ucid in 100..400 {
                stored += u32::from(hooked.post("in", right(ucid)).await.status == 200);
            }
            stored
        })
    };
    let mut reloads = 0;
    while !sender.is_finished() {
        reload(&first.replace("interval: 1s", if reloads % 2 == 0 { "interval: 2s" } else { "interval: 1s" })).await;
        reloads += 1;
    }
    let stored = sender.await.unwrap();
    println!("{stored} callbacks of 300 were taken over {reloads} reloads");
    assert!(stored == 300 && reloads > 5, "{stored} {reloads}");
    // What the last book knows is what is on disk.
    reload(&first.replace("interval: 1s", "interval: 3s")).await;
    let all = f64::from(3 + stored);
    hooked.running.until("all", |page| (page.sum("pending_calls", &[("account", "in")]) - all).abs() < 1e-9).await;
    Arc::into_inner(hooked).unwrap().running.stop().await;
}

#[tokio::test]
async fn tls_is_the_pages_and_passwords_are_not() {
    let (vendor, authority) = (vendor().await, Authority::new());
    let files = folder(&authority);
    let hash = bcrypt::hash("hunter2", 4).unwrap();
    let web = write(files.path(), "web.yml", format!("{TLS}basic_auth_users: {{ prometheus: {hash} }}\n"));
    let access = Access::load(&web, false);
    let access = access.unwrap_or_else(|error| panic!("{error}"));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = |loaded: &_| App::new(loaded, &noon(), "/metrics").unwrap().guarded(access).receiving(listener);
    let running = Running::start_app(tempfile::tempdir().unwrap(), &yaml(&vendor.url(), "1h"), app).await;
    let root = reqwest::Certificate::from_pem(authority.0.pem().as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().timeout(DEADLINE).tls_certs_only([root]).build().unwrap();
    let url = format!("https://{address}/hooks/ozonetel/in");
    assert_eq!(post(&client, &url, right(1)).await.status, 200);
    assert_eq!(post(&client, &url, callback("x".into(), json!(1))).await.status, 401);
    let metrics = client.get(format!("https://{}/metrics", running.address)).send().await.unwrap();
    assert_eq!(metrics.status(), 401, "those are behind a password");
    assert!(client.post(url.replace("https", "http")).body(right(2)).send().await.is_err(), "in clear");
    running.stop().await;
}

#[tokio::test]
async fn what_file_and_command_line_do_not_say_of_each_other_is_told_at_the_start() {
    let vendor = vendor().await;
    let with = yaml(&vendor.url(), "1h");
    let without = with.replace(", callback: true", ", ucid_file: /dev/null");
    let (nothing, unheard) = ("no account has callback: true", "without --hooks.listen-address no callback arrives");
    for (yaml, listen, expected) in [
        (&with, LISTEN.as_slice(), None),
        (&without, &LISTEN[..1], None),
        (&without, &LISTEN, Some(nothing)),
        (&with, &LISTEN[..1], Some(unheard)),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let mut process = Process::serve_with(listen, folder.path(), yaml, &[]);
        let address = process.address().await;
        until(&address, |page| page.find("up", &[]).count() > 0).await;
        process.signal("TERM");
        let (code, log) = process.end().await;
        assert_eq!(code, Some(0), "{log}");
        for warning in [nothing, unheard] {
            assert_eq!(log.contains(warning), expected == Some(warning), "{log}");
        }
    }
    // The address is taken.
    let taken = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let _taken = TcpListener::bind(taken).await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let hooks = format!("--hooks.listen-address={taken}");
    let (code, log) = Process::serve_with(&[LISTEN[0], &hooks], folder.path(), &with, &[]).end().await;
    assert!(code == Some(1) && log.contains(&taken.to_string()), "{log}");
}
