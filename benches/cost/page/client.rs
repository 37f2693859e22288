//! A scraper that costs as little as one can: one connection, kept alive, and a buffer that is there already.

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

const OPEN_METRICS: &str = "application/openmetrics-text;version=1.0.0";
/// Time for an answer.
const ANSWER: Duration = Duration::from_mins(1);

/// A connection that asks for the same again and again.
pub(super) struct Client {
    stream: TcpStream,
    request: Vec<u8>,
    buffer: Vec<u8>,
}

impl Client {
    pub(super) fn new(address: SocketAddr, path: &str, gzip: bool) -> anyhow::Result<Self> {
        let encoding = if gzip { "gzip" } else { "identity" };
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept: {OPEN_METRICS}\r\nAccept-Encoding: {encoding}\r\n\r\n"
        );
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(ANSWER))?;
        Ok(Self { stream, request: request.into_bytes(), buffer: vec![0; 1 << 20] })
    }

    /// Asks, and reads no more than the first line.
    pub(super) fn status(&mut self) -> anyhow::Result<String> {
        self.stream.write_all(&self.request)?;
        let mut line = [0; 12];
        self.stream.read_exact(&mut line)?;
        Ok(String::from_utf8_lossy(&line).into_owned())
    }

    /// Milliseconds from the request to the last byte.
    pub(super) fn timed(&mut self) -> anyhow::Result<f64> {
        let began = now();
        self.get(None)?;
        Ok(began.elapsed().as_secs_f64() * 1e3)
    }

    pub(super) fn get(&mut self, mut body: Option<&mut Vec<u8>>) -> anyhow::Result<()> {
        self.stream.write_all(&self.request)?;
        let mut filled = 0;
        let end = loop {
            let read = self.stream.read(&mut self.buffer[filled..])?;
            ensure!(read > 0, "hung up");
            filled += read;
            if let Some(end) = self.buffer[..filled].windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break end + 4;
            }
        };
        let head = std::str::from_utf8(&self.buffer[..end])?.to_lowercase();
        ensure!(head.starts_with("http/1.1 200"), "no page: {head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).context("no length")?;
        let mut left: usize = length.trim().parse()?;
        let mut have = end..filled;
        loop {
            left = left.checked_sub(have.len()).context("more than was said")?;
            if let Some(body) = &mut body {
                body.extend_from_slice(&self.buffer[have]);
            }
            if left == 0 {
                return Ok(());
            }
            let read = self.stream.read(&mut self.buffer)?;
            ensure!(read > 0, "hung up");
            have = 0..read;
        }
    }
}

pub(super) fn now() -> Instant {
    #[expect(clippy::disallowed_methods, reason = "it is the machine's time that is measured")]
    Instant::now()
}
