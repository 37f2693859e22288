//! The processes of the test: the exporter and a Prometheus server, each with its log in a file, both ended when dropped.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

/// To start, on a busy machine.
const DEADLINE: Duration = Duration::from_mins(1);
/// What Prometheus says about a page that it cannot take as it is.
const COMPLAINTS: [&str; 5] = ["duplicate", "out of order", "out-of-order", "error on ingesting", "append failed"];

/// The one thing that promtool may say. The family counts days, it does not measure time; promtool goes by the name, which
/// is part of the public interface.
const A_COUNT_OF_DAYS: &str = "contact_center_lost_days_total use base unit \"seconds\" instead of \"days\"";

/// A child that ends with its owner.
pub(crate) struct Guard(Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The exporter, serving or about to.
pub(crate) struct Exporter {
    pub(crate) address: String,
    log: PathBuf,
    child: Guard,
}

/// An Alertmanager.
pub(crate) struct Alertmanager {
    pub(crate) address: String,
    _child: Guard,
}

/// A Prometheus server that scrapes it.
pub(crate) struct Server {
    pub(crate) address: String,
    log: PathBuf,
    _child: Guard,
}

impl Exporter {
    /// Starts it on the `exporter.yml` in `folder`.
    pub(crate) async fn start(folder: &Path) -> Self {
        let mut exporter = Self::launch(folder, "127.0.0.1:0");
        exporter.listens().await;
        exporter
    }

    /// Starts it and waits for nothing.
    pub(crate) fn launch(folder: &Path, address: &str) -> Self {
        // A limit on the size of files is an error to be told, not a signal to die of.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_contact-center-exporter")]);
        command.arg(format!("--config.file={}", folder.join("exporter.yml").display()));
        command.arg(format!("--web.listen-address={address}"));
        let log = folder.join("exporter.log");
        let child = start(&mut command, &log);
        Self { address: address.to_owned(), log, child }
    }

    /// Waits until it serves.
    pub(crate) async fn listens(&mut self) {
        self.address = listening(&mut self.child, &self.log, "message=listening").await;
    }

    /// What it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// How it has ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.child.0.try_wait().unwrap()
    }

    /// `kill -9`.
    pub(crate) fn kill(mut self) -> ExitStatus {
        self.child.0.kill().unwrap();
        self.child.0.wait().unwrap()
    }

    /// Sends it a signal by name.
    pub(crate) fn signal(&self, name: &str) {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-s", name, &pid]).status().unwrap().success());
    }

    /// No file of its may grow beyond so many bytes, and no byte beyond them may be written.
    pub(crate) fn limit_files(&self, bytes: &str) {
        let (pid, limit) = (format!("--pid={}", self.child.0.id()), format!("--fsize={bytes}:"));
        assert!(Command::new("prlimit").args([pid, limit]).status().unwrap().success());
    }

    /// Waits for its end.
    pub(crate) async fn end(mut self) -> ExitStatus {
        let deadline = tokio::time::Instant::now() + DEADLINE;
        loop {
            if let Some(status) = self.ended() {
                return status;
            }
            assert!(tokio::time::Instant::now() < deadline, "does not end");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Has promtool judge the page.
    pub(crate) async fn check_metrics(&self) {
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(format!("http://{}/metrics", self.address)).send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        assert!(kind.starts_with("text/plain; version=0.0.4"), "{kind}");
        let page = answer.text().await.unwrap();

        let mut command = Command::new(promtool());
        command.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(page.as_bytes()).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        let rest: Vec<_> = said.lines().filter(|line| *line != A_COUNT_OF_DAYS).collect();
        assert!(rest.is_empty(), "promtool check metrics:\n{}", rest.join("\n"));
        // 3 is its word for such remarks.
        let expected = if said.is_empty() { 0 } else { 3 };
        assert_eq!(output.status.code(), Some(expected), "promtool check metrics");
        println!("promtool has read {} lines", page.lines().count());
    }
}

impl Server {
    /// Starts it with its data in `folder`; it scrapes `target` that often.
    pub(crate) async fn start(folder: &Path, target: &str, interval: &str) -> Self {
        let yml = format!(
            "global: {{ scrape_interval: {interval}, scrape_timeout: {interval} }}\n\
             scrape_configs:\n  - {{ job_name: exporter, static_configs: [{{ targets: ['{target}'] }}] }}\n"
        );
        Self::with(folder, &yml).await
    }

    /// Starts it with this configuration and its data in `prometheus` in `folder`, where there may be some.
    pub(crate) async fn with(folder: &Path, yml: &str) -> Self {
        let file = folder.join("prometheus.yml");
        std::fs::write(&file, yml).unwrap();
        let mut command = Command::new(prometheus());
        command.arg(format!("--config.file={}", file.display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--log.level=debug"]);
        let log = folder.join("prometheus.log");
        let mut child = start(&mut command, &log);
        let address = listening(&mut child, &log, "\"Listening on\"").await;
        let server = Self { address, log, _child: child };
        ready(&format!("http://{}/-/ready", server.address)).await;
        server
    }

    /// The lines of its log that speak of samples that it could not take, and every error.
    pub(crate) fn complaints(&self) -> Vec<String> {
        let log = std::fs::read_to_string(&self.log).unwrap();
        assert!(log.contains("Listening on"), "this is no log:\n{log}");
        let bad = |line: &&str| {
            let line = line.to_lowercase();
            COMPLAINTS.iter().any(|words| line.contains(words)) || line.contains("level=error")
        };
        log.lines().filter(bad).map(str::to_owned).collect()
    }
}

/// Waits until a server says that it is ready.
pub(crate) async fn ready(url: &str) {
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !client.get(url).send().await.is_ok_and(|answer| answer.status().is_success()) {
        assert!(tokio::time::Instant::now() < deadline, "{url} does not get ready");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

impl Alertmanager {
    /// Starts it with this configuration and its data in `folder`.
    pub(crate) async fn start(folder: &Path, yml: &Path) -> Self {
        let mut command = Command::new("prometheus-alertmanager");
        command.arg(format!("--config.file={}", yml.display()));
        command.arg(format!("--storage.path={}", folder.join("alertmanager").display()));
        command.args(["--web.listen-address=127.0.0.1:0", "--cluster.listen-address="]);
        let log = folder.join("alertmanager.log");
        let mut child = start(&mut command, &log);
        let address = listening(&mut child, &log, "\"Listening on\"").await;
        Self { address, _child: child }
    }
}

pub(crate) fn prometheus() -> PathBuf {
    std::env::var_os("PROMETHEUS").map_or_else(|| "prometheus".into(), PathBuf::from)
}

pub(crate) fn promtool() -> PathBuf {
    let beside = prometheus().with_file_name("promtool");
    if beside.is_file() { beside } else { "promtool".into() }
}

pub(crate) fn start(command: &mut Command, log: &Path) -> Guard {
    let file = File::create(log).unwrap();
    let second = file.try_clone().unwrap();
    let started = command.stdin(Stdio::null()).stdout(file).stderr(second).spawn();
    Guard(started.unwrap_or_else(|error| panic!("{} does not start: {error}", command.get_program().display())))
}

/// The address in the log line that holds `message`.
pub(crate) async fn listening(child: &mut Guard, log: &Path, message: &str) -> String {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    loop {
        let text = std::fs::read_to_string(log).unwrap();
        let line = text.lines().find(|line| line.contains(message));
        if let Some((_, rest)) = line.and_then(|line| line.split_once("address=")) {
            return rest.split_whitespace().next().unwrap_or_default().trim_matches('"').to_owned();
        }
        let ended = child.0.try_wait().unwrap();
        assert!(ended.is_none(), "ended with {ended:?}:\n{text}");
        assert!(tokio::time::Instant::now() < deadline, "does not listen:\n{text}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
