//! The page over HTTP in all its forms: each says the same, and every one of them can be read by others' decoders.

use std::collections::BTreeMap;
use std::io::Read as _;

use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::exposition::Exposition;
use super::support::{OPEN_METRICS, Running, fixture, noon, write};
use super::vendor::{Reply, Vendor};

pub(crate) const PROTOBUF: &str =
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";

#[derive(Clone, PartialEq, Message)]
struct MetricFamily {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    help: String,
    #[prost(int32, tag = "3")]
    kind: i32,
    #[prost(message, repeated, tag = "4")]
    metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    unit: String,
}

#[derive(Clone, PartialEq, Message)]
struct Metric {
    #[prost(message, repeated, tag = "1")]
    label: Vec<LabelPair>,
    #[prost(message, tag = "2")]
    gauge: Option<Number>,
    #[prost(message, tag = "3")]
    counter: Option<Number>,
    #[prost(message, tag = "7")]
    histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
struct LabelPair {
    #[prost(string, tag = "1")]
    name: String,
    #[prost(string, tag = "2")]
    value: String,
}

#[derive(Clone, PartialEq, Message)]
struct Number {
    #[prost(double, tag = "1")]
    value: f64,
    #[prost(message, tag = "3")]
    created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Timestamp {
    #[prost(int64, tag = "1")]
    seconds: i64,
    #[prost(int32, tag = "2")]
    nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Histogram {
    #[prost(uint64, tag = "1")]
    count: u64,
    #[prost(double, tag = "2")]
    sum: f64,
    #[prost(message, repeated, tag = "3")]
    bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    schema: i32,
    #[prost(double, tag = "6")]
    zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    positive_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    positive_delta: Vec<i64>,
    #[prost(message, tag = "15")]
    created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Bucket {
    #[prost(uint64, tag = "1")]
    below: u64,
    #[prost(double, tag = "2")]
    bound: f64,
}

#[derive(Clone, Copy, PartialEq, Message)]
struct Span {
    #[prost(sint32, tag = "1")]
    offset: i32,
    #[prost(uint32, tag = "2")]
    length: u32,
}

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

/// One member, and nothing behind it.
fn unpack(body: &[u8]) -> Vec<u8> {
    let mut reader = flate2::bufread::GzDecoder::new(body);
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).unwrap();
    assert!(reader.into_inner().is_empty());
    plain
}

fn families(mut body: &[u8]) -> Vec<MetricFamily> {
    let mut families = Vec::new();
    while !body.is_empty() {
        families.push(MetricFamily::decode_length_delimited(&mut body).unwrap());
    }
    families
}

#[expect(clippy::cast_precision_loss, reason = "small counts")]
fn count(count: u64) -> f64 {
    count as f64
}

/// Every series with its value, as the text formats would name it.
fn series(families: &[MetricFamily]) -> BTreeMap<(String, BTreeMap<String, String>), f64> {
    let mut all = BTreeMap::new();
    for family in families {
        for metric in &family.metric {
            let labels: BTreeMap<_, _> =
                metric.label.iter().map(|label| (label.name.clone(), label.value.clone())).collect();
            let mut add = |suffix: &str, le: Option<String>, value| {
                let mut labels = labels.clone();
                labels.extend(le.map(|le| ("le".to_owned(), le)));
                assert!(all.insert((format!("{}{suffix}", family.name), labels), value).is_none());
            };
            match (family.kind, &metric.counter, &metric.gauge, &metric.histogram) {
                (0, Some(number), None, None) | (1, None, Some(number), None) => add("", None, number.value),
                (4, None, None, Some(histogram)) => {
                    add("_sum", None, histogram.sum);
                    add("_count", None, count(histogram.count));
                    for Bucket { below, bound } in &histogram.bucket {
                        let le = if bound.is_infinite() { "+Inf".to_owned() } else { format!("{bound:?}") };
                        add("_bucket", Some(le), count(*below));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }
    all
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
        for body in [plain, unpack(&packed)] {
            let page: BTreeMap<_, _> = if accept == PROTOBUF {
                series(&families(&body))
            } else {
                let text = String::from_utf8(body).unwrap();
                let page = Exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
                page.samples.into_iter().map(|sample| ((sample.name, sample.labels), sample.value)).collect()
            };
            pages.push(page.into_iter().filter(|((name, _), _)| !moves(name)).collect::<BTreeMap<_, _>>());
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
    assert_eq!(created("campaign_talk_time_seconds", "ozonetel"), at("2026-11-18T18:30:00Z"));
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
