//! What real scrapers make of the page, each in the format that it is told to ask for: Prometheus as Debian has it, and the
//! newest builds of Prometheus and VictoriaMetrics, which `scripts/newest` fetches. Each has to arrive at the truth.
//!
//! `make test-scrapers` runs it; `NEWEST` is the folder of the newest builds.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::children::{Exporter, Guard, listening, ready, start};
use super::promql::Prometheus;
use super::vendors::{self, Vendors};
use super::{ALL_TIME, DEADLINE, expected, turn};

const TEXT: &str = "text/plain;version=0.0.4";

/// A scraper, and where it answers queries.
struct Scraper {
    name: &'static str,
    prometheus: Prometheus,
    _child: Guard,
}

fn newest(program: &str) -> PathBuf {
    let folder = std::env::var_os("NEWEST").expect("NEWEST names the folder of the newest builds: make test-scrapers");
    Path::new(&folder).join("usr/bin").join(program)
}

/// A Prometheus whose scrape configuration has these settings more.
async fn prometheus(name: &'static str, program: PathBuf, folder: &Path, target: &str, settings: &str) -> Scraper {
    let folder = folder.join(name.replace(' ', "-"));
    std::fs::create_dir(&folder).unwrap();
    let yml = scrape_config(target, settings);
    std::fs::write(folder.join("prometheus.yml"), yml).unwrap();
    let mut command = Command::new(program);
    command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
    command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
    command.args(["--web.listen-address=127.0.0.1:0", "--log.level=debug"]);
    if name.contains("protobuf") {
        command.arg("--enable-feature=native-histograms,created-timestamp-zero-ingestion");
    }
    let log = folder.join("log");
    let mut child = start(&mut command, &log);
    let address = listening(&mut child, &log, "\"Listening on\"").await;
    ready(&format!("http://{address}/-/ready")).await;
    Scraper { name, prometheus: Prometheus::new(&address), _child: child }
}

async fn victoria(folder: &Path, target: &str) -> Scraper {
    let folder = folder.join("victoria");
    std::fs::create_dir(&folder).unwrap();
    std::fs::write(folder.join("scrape.yml"), scrape_config(target, "")).unwrap();
    // It does not say which port it took.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let mut command = Command::new(newest("victoria-metrics"));
    command.arg(format!("-promscrape.config={}", folder.join("scrape.yml").display()));
    command.arg(format!("-storageDataPath={}", folder.join("data").display()));
    command.arg(format!("-httpListenAddr={address}"));
    command.args(["-search.latencyOffset=0s", "-search.disableCache", "-memory.allowedBytes=200MB"]);
    let child = start(&mut command, &folder.join("log"));
    ready(&format!("http://{address}/health")).await;
    Scraper { name: "VictoriaMetrics", prometheus: Prometheus::new(&address), _child: child }
}

fn scrape_config(target: &str, settings: &str) -> String {
    format!(
        "global: {{ scrape_interval: 1s, scrape_timeout: 1s }}\n\
         scrape_configs:\n  - {{ job_name: exporter, static_configs: [{{ targets: ['{target}'] }}]{settings} }}\n"
    )
}

/// Asks the exporter in another format than the scraper does: an old Prometheus knows no setting for that.
async fn relay(target: String, accept: &'static str) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (client, url) = (client.clone(), format!("http://{target}/metrics"));
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = stream.read(&mut request).await;
                let Ok(answer) = client.get(url).header("accept", accept).send().await else { return };
                let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
                let body = answer.bytes().await.unwrap();
                let head = format!(
                    "HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
                    body.len()
                );
                let _ = stream.write_all(&[head.as_bytes(), &body].concat()).await;
            });
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs the newest builds: make test-scrapers"]
async fn every_scraper_arrives_at_the_truth() {
    let _turn = turn().await;
    vendors::away_from_midnight().await;
    let folder = tempfile::tempdir().unwrap();
    let mut vendors = Vendors::start(folder.path(), "").await;
    let exporter = Exporter::start(folder.path()).await;
    let target = exporter.address.as_str();
    let as_text = relay(target.to_owned(), TEXT).await;
    let protocol = |name: &str| format!(", scrape_protocols: [{name}]");
    let both = format!("{}, always_scrape_classic_histograms: true", protocol("PrometheusProto"));
    let open = protocol("OpenMetricsText1.0.0");
    let folder = folder.path();
    let scrapers = [
        prometheus("Debian's OpenMetrics", super::children::prometheus(), folder, target, "").await,
        prometheus("Debian's text", super::children::prometheus(), folder, &as_text, "").await,
        prometheus("newest OpenMetrics", newest("prometheus"), folder, target, &open).await,
        prometheus("newest protobuf", newest("prometheus"), folder, target, &both).await,
        victoria(folder, target).await,
    ];

    // Figures move for a while; then the truth stands still, and all of it has been stored, shown and scraped.
    let moved =
        format!("min(contact_center_polls_total) > 10 and count(contact_center_up == 1) == {}", vendors::REPORTS);
    for scraper in &scrapers {
        scraper.prometheus.until(&moved, DEADLINE).await;
    }
    let stopped = vendors.stop().await;
    let after = contact_center_exporter::clock::Clock::system().now().as_second() + 4;
    let seen = format!("min(contact_center_last_success_timestamp_seconds) > {after}");
    let expected = expected::families(vendors.truth(), &stopped);
    for Scraper { name, prometheus, .. } in &scrapers {
        prometheus.until(&seen, DEADLINE).await;
        for family in &expected {
            let answered = prometheus.vector(&family.query).await;
            assert_eq!(answered, family.values, "{name}: {}", family.query);
        }
        println!("{name}: {} families as they are in truth", expected.len());
    }

    // Only protobuf says since when a counter counts: Prometheus then begins it there, with a zero.
    let began = "contact_center_polls_total";
    for Scraper { name, prometheus, .. } in &scrapers {
        let zeros = prometheus.samples(&format!("{began}{ALL_TIME}")).await;
        let with_zero = zeros.values().filter(|values| values[0] == 0.0).count();
        println!("{name}: {with_zero} of {} series begin with a zero", zeros.len());
        assert_eq!(with_zero == zeros.len(), name.contains("protobuf"), "{name}: {zeros:?}");
    }
    let [.., protobuf, _] = &scrapers;
    for family in ["campaign_talk_time_seconds", "campaign_time_to_answer_seconds", "api_request_duration_seconds"] {
        let name = format!("contact_center_{family}");
        for part in ["count", "sum"] {
            // In one query, so that both are of one scrape: requests go on.
            let apart = format!("abs(sum(histogram_{part}({name})) - sum({name}_{part})) / sum({name}_{part})");
            let apart = protobuf.prometheus.vector(&apart).await.values().copied().next();
            println!("{name}: native and classic {part} differ by {apart:?} of it");
            assert!(apart.is_some_and(|apart| apart < 1e-9), "{name} {part}: {apart:?}");
        }
    }
}
