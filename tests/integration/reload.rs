//! A new configuration while the program runs: what it changes is exchanged, everything else does not notice, and what is
//! wrong changes nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use contact_center_exporter::cli::PlanFormat;
use contact_center_exporter::cli::check_config;
use contact_center_exporter::simulator::{Options, Simulator, Vendor};
use tokio::time::Instant;

use super::exposition::Exposition;
use super::process::Process;
use super::support::{Answer, Running, afternoon, client, read, write};

/// Wolkvox as one account, Voximplant as another.
struct Parts {
    simulator: Simulator,
}

impl Parts {
    async fn new() -> (Self, Running) {
        let clock = afternoon();
        let options = Options { agents: 4, limits: None, ..Options::new(clock.clone()) };
        let parts = Self { simulator: Simulator::start(options).await.unwrap() };
        let folder = tempfile::tempdir().unwrap();
        write(folder.path(), "credentials.json", parts.simulator.credentials().voximplant_key);
        write(folder.path(), "token", parts.simulator.credentials().wolkvox_token);
        let yaml = vendors(&[parts.wolkvox(), parts.voximplant("1s")]);
        let running = Running::start_in(folder, &yaml, &clock).await;
        running.until("both are up", |page| page.up("wolkvox") && page.up("voximplant")).await;
        (parts, running)
    }

    fn wolkvox(&self) -> String {
        let url = self.simulator.url(Vendor::Wolkvox);
        format!(
            "  wolkvox: [{{ account: co, base_url: '{url}', token_file: token, reports: {{ agent_hold_mute: {{ interval: 1s }} }} }}]\n"
        )
    }

    fn voximplant(&self, interval: &str) -> String {
        let url = self.simulator.url(Vendor::Voximplant);
        format!(
            "  voximplant: [{{ account: eu, base_url: '{url}', credentials_file: credentials.json, reports: {{ operator_statistics: {{ interval: {interval} }} }} }}]\n"
        )
    }
}

fn vendors(parts: &[String]) -> String {
    format!("vendors:\n{}", parts.concat())
}

async fn reload(running: &Running, yaml: &str) -> Answer {
    write(running.folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{yaml}"));
    let url = format!("http://{}/-/reload", running.address);
    read(client().post(url).send().await.unwrap()).await
}

fn counters(page: &Exposition, vendor: &str) -> BTreeMap<String, f64> {
    let figures = page.figures(vendor).into_iter().filter(|sample| sample.name.ends_with("_total"));
    figures.map(|sample| (format!("{} {:?}", sample.name, sample.labels), sample.value)).collect()
}

#[tokio::test]
async fn accounts_leave_and_come_back_with_their_counters() {
    let (parts, running) = Parts::new().await;
    let before = counters(&running.page().await, "voximplant");
    assert!(!before.is_empty());

    let answer = reload(&running, &vendors(&[parts.wolkvox()])).await;
    assert_eq!((answer.status, answer.body.as_str()), (200, "configuration reloaded\n"));
    let page = running.page().await;
    assert!(!page.text.contains("account=\"eu\""), "nothing of it is left\n{}", page.text);
    assert!(page.up("wolkvox"));

    assert_eq!(reload(&running, &vendors(&[parts.wolkvox(), parts.voximplant("1s")])).await.status, 200);
    let after = running.until("it is back", |page| !page.figures("voximplant").is_empty()).await;
    for (series, value) in counters(&after, "voximplant") {
        assert!(value >= before.get(&series).copied().unwrap_or_default(), "{series} fell to {value}");
    }
    running.stop().await;
}

#[tokio::test]
async fn what_is_wrong_changes_nothing_and_is_told_as_check_config_tells_it() {
    let (parts, running) = Parts::new().await;
    let good = vendors(&[parts.wolkvox(), parts.voximplant("1s")]);
    for (wrong, hint) in [
        (good.replace("token_file", "tokne_file"), "tokne_file"),
        (good.replace("interval: 1s", "interval: 1ms"), "interval"),
        ("vendors: [".to_owned(), "line 3"),
    ] {
        let answer = reload(&running, &wrong).await;
        assert_eq!(answer.status, 500, "{hint}: {}", answer.body);
        let (code, told) = check_config(&running.folder.path().join("exporter.yml"), PlanFormat::Table);
        assert_eq!(code, 78);
        assert!(answer.body.contains(told.trim_end()) && told.contains(hint), "{}\n{told}", answer.body);
        let page = running.page().await;
        assert_eq!(page.value("config_last_reload_successful", &[]), Some(0.0));
        assert!(page.up("wolkvox") && page.up("voximplant"));
    }
    // Only whoever starts with it can tell.
    let answer = reload(&running, &good.replace("token_file: token", "token_file: gone")).await;
    assert!(answer.status == 500 && answer.body.contains("vendors.wolkvox[0].token_file"), "{}", answer.body);
    let answer = reload(&running, &good.replace("vendors:", "labels: { agent: plain }\nvendors:")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    assert_eq!(running.page().await.value("config_last_reload_successful", &[]), Some(1.0));

    write(running.folder.path(), "exporter.yml", format!("state: {{ path: elsewhere }}\n{good}"));
    let url = format!("http://{}/-/reload", running.address);
    let answer = read(client().post(&url).send().await.unwrap()).await;
    assert!(answer.status == 500 && answer.body.contains("state.path"), "{}", answer.body);
    let answer = read(client().get(&url).send().await.unwrap()).await;
    assert_eq!((answer.status, answer.header("allow")), (405, "POST"));
    running.stop().await;
}

/// A secret is read again, although no line of the file is other than before.
#[tokio::test]
async fn a_new_secret_is_taken_up() {
    let (parts, running) = Parts::new().await;
    let yaml = vendors(&[parts.wolkvox(), parts.voximplant("1s")]);
    write(running.folder.path(), "token", "of last month");
    assert_eq!(reload(&running, &yaml).await.status, 200);
    running.until("the wrong token is used", |page| page.reasons("wolkvox").contains("auth")).await;
    write(running.folder.path(), "token", parts.simulator.credentials().wolkvox_token);
    assert_eq!(reload(&running, &yaml).await.status, 200);
    running.until("the right one is", |page| page.up("wolkvox")).await;
    running.stop().await;
}

#[tokio::test]
async fn a_hangup_signal_reloads() {
    let folder = tempfile::tempdir().unwrap();
    let account = |name: &str| {
        format!(
            "vendors: {{ wolkvox: [{{ account: {name}, base_url: 'http://127.0.0.1:9', token: t, reports: {{ agent_hold_mute: {{}} }} }}] }}\n"
        )
    };
    let mut process = Process::serve(folder.path(), &account("first"), &[]);
    let url = format!("http://{}/api/v1/reports", process.address().await);
    for (yaml, told, shown) in [
        (account("second"), "configuration reloaded", "second"),
        (account("third").replace("token", "tokne"), "configuration not reloaded", "second"),
    ] {
        write(folder.path(), "exporter.yml", format!("state: {{ path: state }}\n{yaml}"));
        process.signal("HUP");
        let deadline = Instant::now() + Duration::from_secs(20);
        while !process.log().contains(told) {
            assert!(Instant::now() < deadline, "never {told}: {}", process.log());
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        let reports = read(client().get(&url).send().await.unwrap()).await.body;
        assert!(reports.contains(shown) && !reports.contains("first"), "{reports}");
    }
    process.signal("TERM");
    assert_eq!(process.end().await.0, Some(0));
}

/// Two hundred reloads, every other one broken, while it is scraped: one account changes every time, the other one keeps its
/// rhythm, no scrape is lost, and nothing is left behind.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reloads_under_load_disturb_nobody() {
    const RELOADS: usize = 200;
    let (parts, running) = Parts::new().await;
    let tasks = || tokio::runtime::Handle::current().metrics().num_alive_tasks();
    let other = |n: usize| parts.voximplant(if n.is_multiple_of(2) { "2s" } else { "3s" });
    assert_eq!(reload(&running, &vendors(&[parts.wolkvox(), other(0)])).await.status, 200);
    let polls = |page: &Exposition| page.value("polls_total", &[("vendor", "wolkvox")]).unwrap();
    let (before, started, tasks_before) = (polls(&running.page().await), Instant::now(), tasks());
    let mut scrapes = 0;
    for n in 0..RELOADS {
        let (yaml, status) = if n % 2 == 0 {
            (vendors(&[parts.wolkvox(), other(n / 2 + 1)]), 200)
        } else {
            ("vendors: {".to_owned(), 500)
        };
        let (answer, page) = tokio::join!(reload(&running, &yaml), running.page());
        assert_eq!(answer.status, status, "{}", answer.body);
        assert!(page.up("wolkvox") && !page.figures("wolkvox").is_empty() && !page.figures("voximplant").is_empty());
        scrapes += 1;
        // Longer than a poll takes, so that some meet one.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let (after, elapsed) = (polls(&running.page().await), started.elapsed());
    // One a second, whatever happened: the ends of the time make one more or less.
    let expected = elapsed.as_secs_f64();
    assert!((after - before - expected).abs() <= 1.5, "{} polls in {expected} s, {scrapes} scrapes", after - before);
    let page = running.page().await;
    assert_eq!(page.value("polls_skipped_total", &[("vendor", "wolkvox")]), Some(0.0));
    assert!(page.reasons("wolkvox").is_empty() && page.reasons("voximplant").is_empty(), "{}", page.text);
    println!(
        "{RELOADS} reloads in {expected:.1} s: {} polls, {scrapes} scrapes, {tasks_before} tasks became {}",
        after - before,
        tasks()
    );
    // Connections come and go; two hundred left behind would show.
    assert!(tasks() < tasks_before + 50, "{tasks_before} tasks became {}", tasks());
    running.stop().await;
}
