//! A page in every representation, each read with a decoder that is not ours: all of them have to say the same. Tests and
//! fuzzing share this.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::sync::Arc;

use contact_center_exporter::page::{Block, Format, Page, Representation, Sample};
use prost::Message;

use super::exposition::Exposition;

/// Every series by its name and labels, with its value.
pub(crate) type Series = BTreeMap<(String, BTreeMap<String, String>), f64>;

#[derive(Clone, PartialEq, Message)]
pub(crate) struct MetricFamily {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) help: String,
    #[prost(int32, tag = "3")]
    pub(crate) kind: i32,
    #[prost(message, repeated, tag = "4")]
    pub(crate) metric: Vec<Metric>,
    #[prost(string, tag = "5")]
    pub(crate) unit: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Metric {
    #[prost(message, repeated, tag = "1")]
    pub(crate) label: Vec<LabelPair>,
    #[prost(message, tag = "2")]
    pub(crate) gauge: Option<Number>,
    #[prost(message, tag = "3")]
    pub(crate) counter: Option<Number>,
    #[prost(message, tag = "7")]
    pub(crate) histogram: Option<Histogram>,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct LabelPair {
    #[prost(string, tag = "1")]
    pub(crate) name: String,
    #[prost(string, tag = "2")]
    pub(crate) value: String,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Number {
    #[prost(double, tag = "1")]
    pub(crate) value: f64,
    #[prost(message, tag = "3")]
    pub(crate) created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Timestamp {
    #[prost(int64, tag = "1")]
    pub(crate) seconds: i64,
    #[prost(int32, tag = "2")]
    pub(crate) nanos: i32,
}

#[derive(Clone, PartialEq, Message)]
pub(crate) struct Histogram {
    #[prost(uint64, tag = "1")]
    pub(crate) count: u64,
    #[prost(double, tag = "2")]
    pub(crate) sum: f64,
    #[prost(message, repeated, tag = "3")]
    pub(crate) bucket: Vec<Bucket>,
    #[prost(sint32, tag = "5")]
    pub(crate) schema: i32,
    #[prost(double, tag = "6")]
    pub(crate) zero_threshold: f64,
    #[prost(uint64, tag = "7")]
    pub(crate) zero_count: u64,
    #[prost(message, repeated, tag = "12")]
    pub(crate) positive_span: Vec<Span>,
    #[prost(sint64, repeated, packed = "false", tag = "13")]
    pub(crate) positive_delta: Vec<i64>,
    #[prost(message, tag = "15")]
    pub(crate) created: Option<Timestamp>,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Bucket {
    #[prost(uint64, tag = "1")]
    pub(crate) below: u64,
    #[prost(double, tag = "2")]
    pub(crate) bound: f64,
}

#[derive(Clone, Copy, PartialEq, Message)]
pub(crate) struct Span {
    #[prost(sint32, tag = "1")]
    pub(crate) offset: i32,
    #[prost(uint32, tag = "2")]
    pub(crate) length: u32,
}

/// One member, and nothing behind it.
pub(crate) fn unpack(body: &[u8]) -> Vec<u8> {
    let mut reader = flate2::bufread::GzDecoder::new(body);
    let mut plain = Vec::new();
    reader.read_to_end(&mut plain).unwrap();
    assert!(reader.into_inner().is_empty());
    plain
}

pub(crate) fn families(mut body: &[u8]) -> Vec<MetricFamily> {
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
pub(crate) fn series(families: &[MetricFamily]) -> Series {
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

/// What a page says in one representation.
pub(crate) fn read(Representation { format, gzip }: Representation, body: Vec<u8>) -> Series {
    let body = if gzip { unpack(&body) } else { body };
    if format == Format::Protobuf {
        return series(&families(&body));
    }
    let text = String::from_utf8(body).unwrap();
    // A page of nothing at all is no error.
    if text.is_empty() {
        return Series::new();
    }
    assert_eq!(text.ends_with("# EOF\n"), format == Format::OpenMetrics, "{text}");
    let page = Exposition::parse(&text).unwrap_or_else(|error| panic!("{error}\n{text}"));
    page.samples.into_iter().map(|sample| ((sample.name, sample.labels), sample.value)).collect()
}

/// Shows these samples of some reports, and sees whether every representation says the same; gives back what they say.
pub(crate) fn check(reports: Vec<Vec<Sample>>) -> Series {
    let page = Page::new(reports.len());
    // Half of it is there when somebody asks first, the other half is published after that.
    let middle = reports.len() / 2;
    let mut first = None;
    for (number, samples) in reports.into_iter().enumerate() {
        if number == middle {
            for representation in Representation::all() {
                page.make(representation);
            }
        }
        page.publish(number, Arc::new(samples));
    }
    for representation in Representation::all() {
        let said = read(representation, page.make(representation).with(&Block::default()).concat());
        let first = first.get_or_insert_with(|| said.clone());
        let same = first.len() == said.len()
            && first
                .iter()
                .zip(&said)
                .all(|((a, x), (b, y))| a == b && (x.to_bits() == y.to_bits() || x.is_nan() && y.is_nan()));
        assert!(same, "{representation:?} says {said:?}, another {first:?}");
    }
    let said = first.unwrap_or_default();
    assert_eq!(said.len(), page.series());
    said
}
