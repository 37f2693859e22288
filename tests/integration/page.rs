//! The page over HTTP in all its forms: each says the same, and every one of them can be read by others' decoders.

use std::collections::BTreeMap;
use std::sync::Arc;

use contact_center_exporter::amount::Amount;
use contact_center_exporter::catalogue::Family;
use contact_center_exporter::page::histogram::{Histogram, HistogramValue};
use contact_center_exporter::page::{Format, Representation, Sample, Value};
use proptest::prelude::*;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::representations::{Metric, check, families, read};
use super::support::{OPEN_METRICS, Running, fixture, noon, write};
use super::vendor::{Reply, Vendor};

pub(crate) const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

/// One account of each vendor whose counters have something to tell: days of India, of Bogota, and a session.
async fn ready() -> (Vendor, Running) {
    let vendor = Vendor::start(|asked| match asked.path() {
        path if path.contains("fetchCdrByUCID") => Reply::json(fixture("ozonetel/cdr_v2_inbound.json")),
        path if path.contains("statisticsEx") => Reply::json(fixture("huawei/statistics_ok.json")),
        _ => Reply::json(fixture("wolkvox/agent_9.json")),
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    write(folder.path(), "ucids.txt", "41571870688636585,2026-11-19\n");
    write(folder.path(), "guids.json", r#"{"101":"guid-of-101"}"#);
    let url = vendor.url();
    let yaml = format!(
        "vendors:
  ozonetel: [{{ account: in, base_url: '{url}', user_name: u, api_key: k, reports: {{ call_details: {{ ucid_file: ucids.txt }} }} }}]
  wolkvox: [{{ account: co, base_url: '{url}', token: t, reports: {{ agent_hold_mute: {{}} }} }}]
  huawei: [{{ account: br, base_url: '{url}', guids: {{ file: guids.json }}, reports: {{ agent_call_statistics: {{}} }} }}]
"
    );
    let running = Running::start_in(folder, &yaml, &noon()).await;
    running.until("all up", |page| page.sum("up", &[]) > 2.0).await;
    (vendor, running)
}

/// Head and body, as they came.
async fn raw(running: &Running, accept: &str, encoding: &str) -> (String, Vec<u8>) {
    let request = format!(
        "GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\naccept: {accept}\r\naccept-encoding: {encoding}\r\n\r\n"
    );
    let mut stream = TcpStream::connect(running.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").unwrap();
    let body = answer.split_off(end + 4);
    let head = String::from_utf8(answer).unwrap().to_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
    assert_eq!(length.parse(), Ok(body.len()), "{head}");
    (head, body)
}

/// What the exporter says of itself moves between two scrapes.
fn moves(name: &str) -> bool {
    name.starts_with("process_")
}

#[tokio::test]
async fn every_format_says_the_same_compressed_or_not() {
    let (_vendor, running) = ready().await;
    let mut pages = Vec::new();
    for accept in ["", OPEN_METRICS, "text/plain;version=1.0.0", PROTOBUF] {
        let (head, plain) = raw(&running, accept, "identity").await;
        assert!(!head.contains("content-encoding"), "{head}");
        let (head, packed) = raw(&running, accept, "gzip").await;
        assert!(head.contains("content-encoding: gzip"), "{head}");
        assert!(packed.len() < plain.len(), "{} of {}", packed.len(), plain.len());
        let format = match accept {
            PROTOBUF => Format::Protobuf,
            OPEN_METRICS => Format::OpenMetrics,
            _ => Format::Text004,
        };
        for (gzip, body) in [(false, plain), (true, packed)] {
            let page = read(Representation { format, gzip }, body).into_iter();
            pages.push(page.filter(|((name, _), _)| !moves(name)).collect::<BTreeMap<_, _>>());
        }
    }
    assert!(pages[0].len() > 100, "{:?}", pages[0]);
    for page in &pages[1..] {
        assert_eq!(page, &pages[0]);
    }
    running.stop().await;
}

#[tokio::test]
async fn protobuf_says_since_when_and_has_native_buckets() {
    let (_vendor, running) = ready().await;
    let families = families(&raw(&running, PROTOBUF, "identity").await.1);
    let family = |name: &str| families.iter().find(|family| family.name == format!("contact_center_{name}")).unwrap();
    let created = |name: &str, vendor: &str| {
        let of = |metric: &&Metric| metric.label.iter().any(|label| label.value == vendor);
        let metric = family(name).metric.iter().find(of).unwrap();
        let created = metric.counter.as_ref().and_then(|counter| counter.created);
        created.or(metric.histogram.as_ref().and_then(|histogram| histogram.created)).map(|at| at.seconds)
    };
    let at = |text: &str| Some(text.parse::<jiff::Timestamp>().unwrap().as_second());
    // The days begin where the accounts are. A session does not say when it began.
    assert_eq!(created("agent_hold_seconds_total", "wolkvox"), at("2026-11-20T05:00:00Z"));
    assert_eq!(created("agent_talk_seconds_total", "ozonetel"), at("2026-11-18T18:30:00Z"));
    // Prometheus cannot bear both at once.
    assert_eq!(created("campaign_talk_time_seconds", "ozonetel"), None);
    assert_eq!(created("agent_talk_seconds_total", "huawei"), None);
    assert!(created("polls_total", "huawei").is_some_and(|at| at > 1_600_000_000));
    assert_eq!(family("agent_talk_seconds_total").unit, "seconds");
    for name in ["campaign_talk_time_seconds", "campaign_time_to_answer_seconds", "api_request_duration_seconds"] {
        for metric in &family(name).metric {
            let histogram = metric.histogram.as_ref().unwrap();
            assert_eq!(histogram.schema, 3);
            let mut count = 0;
            let in_buckets: i64 = histogram.positive_delta.iter().fold(0, |sum, delta| {
                count += delta;
                sum + count
            });
            let spanned: u32 = histogram.positive_span.iter().map(|span| span.length).sum();
            assert_eq!(spanned as usize, histogram.positive_delta.len());
            assert!(histogram.count > 0);
            assert_eq!(in_buckets.cast_unsigned() + histogram.zero_count, histogram.count, "{name}");
        }
    }
    running.stop().await;
}

fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let hostile = prop_oneof!["\\PC{0,12}", "[\\\\\"\n\r# {}=,\0]{0,8}", any::<String>(), Just("# EOF\n".to_owned())];
    let value = prop_oneof![
        (0.0..1e12_f64).prop_map(|n| (Family::AgentTalk, Value::Counter(Amount::from_f64(n).unwrap()))),
        prop::num::f64::NORMAL.prop_map(|n| (Family::AgentAverageHandleTime, Value::Gauge(n))),
        Just((Family::AgentInfo, Value::Gauge(1.0))),
        prop::collection::vec(0.0..1e5_f64, 0..5).prop_map(|observed| {
            let histogram = Histogram::new(&[1.0, 60.0, 3600.0]);
            for value in observed {
                histogram.observe(value);
            }
            (Family::CampaignTalkTime, Value::Histogram(histogram.value()))
        }),
    ];
    let created = prop::option::of(0.0..2e9_f64);
    let sample = (value, prop::collection::vec(hostile, 5), created).prop_map(|((family, value), names, created)| {
        let labels = family.spec().labels.iter().copied().zip(names.into_iter().map(Arc::from)).collect();
        Sample { family, labels, value, created }
    });
    prop::collection::vec(sample, 0..12)
}

proptest! {
    /// Whatever vendors call their agents, every representation is well-formed and says the same.
    #[test]
    fn hostile_names_break_no_format(samples in samples()) {
        check(vec![samples]);
    }
}

#[test]
fn reports_that_come_later_stand_beside_those_before() {
    let report = |account: &str| {
        (0..3000)
            .map(|n| Sample {
                family: Family::AgentTalk,
                labels: vec![
                    ("vendor", "v".into()),
                    ("account", account.into()),
                    ("agent", format!("agent {n}").into()),
                ],
                value: Value::Counter(Amount::whole(n)),
                created: Some(1e9),
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(check(vec![report("a"), report("b"), Vec::new(), report("c")]).len(), 9000);
    let empty = Value::Histogram(HistogramValue { sum: 0.0, buckets: vec![(f64::INFINITY, 0)], native: None });
    let campaign = Sample { family: Family::CampaignTalkTime, labels: Vec::new(), value: empty, created: None };
    assert_eq!(check(vec![vec![campaign]]).len(), 3);
}
