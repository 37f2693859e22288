//! Children that end with their owner, and the plainest of HTTP clients: it must not be what is measured.

use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context as _, bail, ensure};

/// Between two attempts to connect. Far below what is measured.
const PAUSE: Duration = Duration::from_micros(200);
/// Attempts until a child counts as dead.
const ATTEMPTS: u32 = 100_000;

/// A child that ends with its owner.
pub(crate) struct Guard(pub(crate) Child);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Our own program, as `cargo bench` has just built it.
pub(crate) fn exporter() -> Command {
    Command::new(env!("CARGO_BIN_EXE_contact-center-exporter"))
}

/// Starts a child whose log nobody reads.
pub(crate) fn quietly(command: &mut Command) -> anyhow::Result<Guard> {
    let started = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(Guard(started.with_context(|| format!("starting {}", command.get_program().display()))?))
}

/// An address that was free a moment ago.
pub(crate) fn free_address() -> anyhow::Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The answer to a scrape, as soon as there is one.
pub(crate) fn first_scrape(address: SocketAddr) -> anyhow::Result<String> {
    for _ in 0..ATTEMPTS {
        match TcpStream::connect(address) {
            Ok(stream) => return scraped(stream),
            Err(error) if error.kind() == ErrorKind::ConnectionRefused => thread::sleep(PAUSE),
            Err(error) => return Err(error.into()),
        }
    }
    bail!("nobody listens on {address}")
}

fn scraped(mut stream: TcpStream) -> anyhow::Result<String> {
    stream.set_read_timeout(Some(Duration::from_secs(30)))?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    ensure!(answer.starts_with("HTTP/1.1 200 "), "no page: {}", answer.lines().next().unwrap_or_default());
    Ok(answer)
}

/// The value of the first line of a page that begins so.
pub(crate) fn sample(page: &str, series: &str) -> Option<f64> {
    let line = page.lines().find(|line| line.starts_with(series))?;
    line.rsplit(' ').next()?.parse().ok()
}

/// Writes `exporter.yml` and the secrets that it names.
pub(crate) fn write_all(folder: &Path, files: &[(&str, &str)]) -> anyhow::Result<()> {
    for (name, text) in files {
        std::fs::write(folder.join(name), text)?;
    }
    Ok(())
}
