//! Floods of HTTP/2 frames, while a scraper goes on over a connection of its own.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::time::timeout;

use super::attacks::beside;
use super::site::{DEADLINE, Site, TLS};
use super::web_tls::connect;

/// Times that each connection sends its frames.
const FRAMES: u32 = 20_000;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A request for the metrics, taken back at once.
fn reset(stream: u32) -> Vec<u8> {
    // GET, https, the path and the authority as literals.
    let fields = [b"\x82\x87\x04\x08/metrics".as_slice(), b"\x01\x01x"].concat();
    [frame(1, 5, stream, &fields), frame(3, 0, stream, &8_u32.to_be_bytes())].concat()
}

/// Sends until it is told to stop or has sent all; true if it was hung up.
async fn flood(site: &Site, frames: impl Fn(u32) -> Vec<u8>) -> bool {
    let stream = connect(site, &[b"h2"]).await;
    let (mut read, mut write) = tokio::io::split(stream);
    let reading = tokio::spawn(async move {
        let mut answers = Vec::new();
        timeout(DEADLINE * 3, read.read_to_end(&mut answers)).await.is_ok()
    });
    let sending = async {
        write.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").await?;
        write.write_all(&frame(4, 0, 0, &[])).await?;
        for n in 0..FRAMES {
            write.write_all(&frames(n)).await?;
        }
        write.flush().await
    };
    let _ = timeout(Duration::from_secs(10), sending).await;
    reading.await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn frames_of_http2_hold_nobody_up() {
    let site = Site::new(TLS).await;
    let url = format!("https://{}/metrics", site.address());
    let client = || site.client().build().unwrap();
    let resets = join_all((0..8).map(|_| flood(&site, |n| reset(2 * n + 1))));
    let hung_up = beside("HTTP/2 requests reset at once", client(), &url, resets).await;
    assert!(hung_up.iter().all(|hung_up| *hung_up), "{hung_up:?}");
    let settings = join_all((0..8).map(|_| flood(&site, |_| frame(4, 0, 0, &[]))));
    let hung_up = beside("HTTP/2 settings", client(), &url, settings).await;
    assert!(hung_up.iter().all(|hung_up| *hung_up), "{hung_up:?}");
    let pings = join_all((0..8).map(|_| flood(&site, |n| frame(6, 0, 0, &u64::from(n).to_be_bytes()))));
    let hung_up = beside("HTTP/2 pings", client(), &url, pings).await;
    assert!(hung_up.iter().all(|hung_up| *hung_up), "{hung_up:?}");
    site.running.stop().await;
}
