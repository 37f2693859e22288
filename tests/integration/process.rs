//! The real binary as a child process, with its log.

use std::path::Path;
use std::process::Stdio;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::support::write;

const DEADLINE: Duration = Duration::from_secs(20);

/// A child process. It is killed when dropped.
pub(crate) struct Process {
    child: Child,
    log: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Process {
    /// Serves this exporter.yml from `folder` on any free port, with these environment variables and no others.
    pub(crate) fn serve(folder: &Path, yaml: &str, environment: &[(&str, &str)]) -> Self {
        Self::serve_on("127.0.0.1:0", folder, yaml, environment)
    }

    pub(crate) fn serve_on(address: &str, folder: &Path, yaml: &str, environment: &[(&str, &str)]) -> Self {
        Self::serve_with(&[&format!("--web.listen-address={address}")], folder, yaml, environment)
    }

    /// With these options.
    pub(crate) fn serve_with(options: &[&str], folder: &Path, yaml: &str, environment: &[(&str, &str)]) -> Self {
        let file = write(folder, "exporter.yml", format!("state: {{ path: state }}\n{yaml}"));
        let mut command = Command::new(env!("CARGO_BIN_EXE_contact-center-exporter"));
        command
            .arg(format!("--config.file={}", file.display()))
            .args(options)
            .arg("--log.level=debug")
            .env_clear()
            .envs(environment.iter().copied())
            .stdin(Stdio::null());
        Self::spawn(command)
    }

    /// Starts what becomes the exporter.
    pub(crate) fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
        let log = Arc::<Mutex<String>>::default();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines();
        let kept = Arc::clone(&log);
        let reader = tokio::spawn(async move {
            while let Ok(Some(line)) = lines.next_line().await {
                let mut log = kept.lock().unwrap();
                log.push_str(&line);
                log.push('\n');
            }
        });
        Self { child, log, reader }
    }

    /// Where it listens, which its log says.
    pub(crate) async fn address(&mut self) -> String {
        self.address_of("listening").await
    }

    /// The address that its log tells with this word.
    pub(crate) async fn address_of(&mut self, word: &str) -> String {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let log = self.log();
            let listening = log.lines().find(|line| line.contains(word));
            let address =
                listening.and_then(|line| line.split("address=").nth(1)?.split([' ', '"']).find(|a| !a.is_empty()));
            if let Some(address) = address {
                return address.to_owned();
            }
            assert!(Instant::now() < deadline && self.child.try_wait().unwrap().is_none(), "it does not listen: {log}");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Memory that it holds, in kilobytes.
    pub(crate) fn resident(&self) -> u64 {
        let id = self.child.id().expect("it runs");
        let status = std::fs::read_to_string(format!("/proc/{id}/status")).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    pub(crate) fn signal(&self, name: &str) {
        let id = self.child.id().expect("it runs");
        let sent = std::process::Command::new("sh").args(["-c", &format!("kill -{name} {id}")]).status().unwrap();
        assert!(sent.success());
    }

    /// Waits for its end: exit code and log.
    pub(crate) async fn end(mut self) -> (Option<i32>, String) {
        let ended = tokio::time::timeout(DEADLINE, self.child.wait()).await;
        let status = ended.unwrap_or_else(|_| panic!("it does not end: {}", self.log())).unwrap();
        let _ = self.reader.await;
        let log = self.log.lock().unwrap().clone();
        (status.code(), log)
    }
}
