//! Names that a vendor might send, by the thousand: Prometheus and promtool read the page that they stand on to the last line.

use std::collections::BTreeSet;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::children::{Exporter, Server};
use super::promql::Prometheus;
use super::{DEADLINE, turn};

const NAMES: usize = 3000;
/// What formats are made of, and what breaks lines elsewhere.
const PIECES: [&str; 24] = [
    "\"",
    "\\",
    "\n",
    "\r",
    "#",
    " ",
    "{",
    "}",
    "=",
    ",",
    "\0",
    "\t",
    "# EOF\n",
    "# HELP x y\n",
    "\u{2028}",
    "\u{85}",
    "\u{feff}",
    "\u{7f}",
    "é",
    "語",
    "😀",
    "a",
    "Z",
    "0",
];

fn names() -> Vec<String> {
    let mut chance = StdRng::seed_from_u64(7);
    let name = |_| (0..chance.random_range(1..12)).filter_map(|_| PIECES.choose(&mut chance).copied()).collect();
    (0..NAMES).map(name).collect()
}

/// Answers every request with these rows.
async fn vendor(rows: Value) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let body = rows.to_string();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let body = body.clone();
            tokio::spawn(async move {
                let mut request = [0; 8192];
                let _ = stream.read(&mut request).await;
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await;
            });
        }
    });
    format!("http://{address}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_agents_are_called_the_page_is_read_to_the_end() {
    let _turn = turn().await;
    let folder = tempfile::tempdir().unwrap();
    let names = names();
    let fixture = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/wolkvox/agent_9.json"));
    let mut answer: Value = serde_json::from_str(&fixture.unwrap()).unwrap();
    let row = answer["data"][0].clone();
    let row_of = |name: &String| {
        let mut row = row.clone();
        row["agent_name"] = json!(name);
        row
    };
    answer["data"] = names.iter().map(row_of).collect();
    let url = vendor(answer).await;
    let yml = format!(
        "state: {{ path: state }}\nvendors: {{ wolkvox: [{{ account: co, base_url: '{url}', token: t, \
         reports: {{ agent_hold_mute: {{}} }} }}] }}\n"
    );
    std::fs::write(folder.path().join("exporter.yml"), yml).unwrap();
    let exporter = Exporter::start(folder.path()).await;
    let server = Server::start(folder.path(), &exporter.address, "1s").await;
    let prometheus = Prometheus::new(&server.address);
    let counted = "count(contact_center_agent_hold_mute_seconds_total)";
    // Blanks around a name are not part of it, and a name of blanks is none.
    let different: BTreeSet<&str> = names.iter().map(|name| name.trim()).filter(|name| !name.is_empty()).collect();
    prometheus.until(&format!("{counted} > 0"), DEADLINE).await;
    let read = prometheus.number(counted).await;
    println!("{read} series of {} different names", different.len());
    assert!((read - f64::from(u32::try_from(different.len()).unwrap())).abs() < 0.5);
    assert_eq!(prometheus.vector("min_over_time(up[10m])").await.into_values().collect::<Vec<_>>(), [1.0]);
    assert!(server.complaints().is_empty(), "Prometheus complains:\n{}", server.complaints().join("\n"));
    exporter.check_metrics().await;
}
