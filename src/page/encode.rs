//! Samples into bytes: text lines, which are the same in every text format, and the metrics of protobuf messages. A source
//! tells the encoder whom the next samples are about, then adds them; what they have in common is written once. Headers
//! are the business of [`super::join`].

use std::sync::Arc;

use super::histogram::HistogramValue;
use super::message;
use crate::amount::Amount;
use crate::catalogue::{ALL, Family};

/// What has samples to show. It is asked at every publication, and again when somebody wants a format that was not
/// encoded then: it tells what is true at that moment.
pub trait Source: Send + Sync {
    /// Adds all samples. Those of one family come in the order of their labels.
    fn write(&self, encoder: &mut Encoder<'_>);
}

/// A label with its value.
pub(super) type Label<'a> = (&'static str, &'a Arc<str>);

/// A value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// A counter.
    Counter(Amount),
    /// A counter that is measured, not counted.
    Seconds(f64),
    /// A gauge.
    Gauge(f64),
    /// A histogram.
    Histogram(HistogramValue),
}

/// One series with its value, where there are few.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Which family.
    pub family: Family,
    /// Labels in the catalogue's order.
    pub labels: Vec<(&'static str, Arc<str>)>,
    /// The value.
    pub value: Value,
    /// Since when it counts, in seconds since the epoch.
    pub created: Option<f64>,
}

/// Which of the two notations are wanted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Notations {
    /// Lines of text.
    pub lines: bool,
    /// Metrics of protobuf.
    pub messages: bool,
}

/// The samples of one family.
#[derive(Debug)]
pub(super) struct Rows {
    pub(super) family: Family,
    name: String,
    pub(super) lines: Vec<u8>,
    pub(super) messages: Vec<u8>,
    /// A line is a series: a histogram is as many as Prometheus makes of it.
    pub(super) series: usize,
}

/// Takes samples.
pub struct Encoder<'a> {
    notations: Notations,
    rows: Vec<Option<Rows>>,
    may_show: MayShow<'a>,
    /// Labels of the samples to come, in three forms.
    scope: Vec<Arc<str>>,
    text: Vec<u8>,
    message: Vec<u8>,
    scratch: message::Scratch,
}

/// Whether a name may be shown: once per entity.
pub(super) type MayShow<'a> = Box<dyn FnMut(Family, &[Arc<str>]) -> bool + 'a>;

// === impl Encoder ===

impl<'a> Encoder<'a> {
    pub(super) fn new(notations: Notations, may_show: MayShow<'a>) -> Self {
        Self {
            notations,
            rows: ALL.iter().map(|_| None).collect(),
            may_show,
            scope: Vec::new(),
            text: Vec::new(),
            message: Vec::new(),
            scratch: message::Scratch::default(),
        }
    }

    /// The samples that follow have these labels first.
    pub fn about(&mut self, labels: &[Label<'_>]) {
        self.scope.clear();
        self.text.clear();
        self.message.clear();
        for (name, value) in labels {
            self.scope.push(Arc::clone(value));
            if self.notations.lines {
                write_label(&mut self.text, name, value);
            }
            if self.notations.messages {
                message::put_label(&mut self.message, name, value);
            }
        }
    }

    /// Adds a sample; `more` are its labels after the common ones, `created` is since when it counts.
    pub fn add(&mut self, family: Family, more: &[(&'static str, &str)], value: &Value, created: Option<f64>) {
        if family.spec().is_info() && !(self.may_show)(family, &self.scope) {
            return;
        }
        let rows = self.rows[family as usize].get_or_insert_with(|| Rows::new(family));
        rows.series += match value {
            Value::Histogram(histogram) => histogram.buckets.len() + 2,
            Value::Counter(_) | Value::Seconds(_) | Value::Gauge(_) => 1,
        };
        if self.notations.lines {
            let common = self.text.len();
            for (name, value) in more {
                write_label(&mut self.text, name, value);
            }
            rows.write_lines(&self.text, value);
            self.text.truncate(common);
        }
        if self.notations.messages {
            let common = self.message.len();
            for (name, value) in more {
                message::put_label(&mut self.message, name, value);
            }
            self.scratch.put_metric(&mut rows.messages, &self.message, value, created);
            self.message.truncate(common);
        }
    }

    /// All rows, in the order of the catalogue.
    pub(super) fn finish(self) -> impl Iterator<Item = Rows> {
        self.rows.into_iter().flatten()
    }
}

// === impl Source for samples ===

impl Source for Vec<Sample> {
    fn write(&self, encoder: &mut Encoder<'_>) {
        let mut samples: Vec<&Sample> = self.iter().collect();
        samples.sort_by(|a, b| (a.family, &a.labels).cmp(&(b.family, &b.labels)));
        // Of two with the same labels the first stays: a page with both would be refused whole.
        samples.dedup_by(|b, a| a.family == b.family && a.labels == b.labels);
        for sample in samples {
            let labels: Vec<Label<'_>> = sample.labels.iter().map(|(name, value)| (*name, value)).collect();
            // The first three name the entity; the others are what is said of it.
            let common = if sample.family.spec().is_info() { labels.len().min(3) } else { labels.len() };
            let more: Vec<(&'static str, &str)> =
                labels.iter().skip(common).map(|(name, value)| (*name, &***value)).collect();
            encoder.about(&labels[..common]);
            encoder.add(sample.family, &more, &sample.value, sample.created);
        }
    }
}

// === impl Rows ===

impl Rows {
    fn new(family: Family) -> Self {
        let name = family.spec().full_name();
        Self { family, name, lines: Vec::new(), messages: Vec::new(), series: 0 }
    }

    fn write_lines(&mut self, labels: &[u8], value: &Value) {
        match value {
            Value::Counter(amount) => match amount.as_whole() {
                Some(whole) => self.write_line("", &[], labels, itoa::Buffer::new().format(whole)),
                None => self.write_line("", &[], labels, dtoa::Buffer::new().format(amount.as_f64())),
            },
            Value::Seconds(value) | Value::Gauge(value) => {
                self.write_line("", &[], labels, dtoa::Buffer::new().format(*value));
            }
            Value::Histogram(HistogramValue { sum, buckets, .. }) => {
                self.write_line("_sum", &[], labels, dtoa::Buffer::new().format(*sum));
                let count: u64 = buckets.iter().map(|(_, count)| count).sum();
                self.write_line("_count", &[], labels, itoa::Buffer::new().format(count));
                let mut below = 0;
                for (bound, count) in buckets {
                    below += count;
                    let mut digits = dtoa::Buffer::new();
                    let bound = if bound.is_infinite() { "+Inf" } else { digits.format(*bound) };
                    let mut le = Vec::with_capacity(16);
                    write_label(&mut le, "le", bound);
                    self.write_line("_bucket", &le, labels, itoa::Buffer::new().format(below));
                }
            }
        }
    }

    fn write_line(&mut self, suffix: &str, first: &[u8], labels: &[u8], value: &str) {
        let Self { name, lines, .. } = self;
        lines.reserve(name.len() + suffix.len() + first.len() + labels.len() + value.len() + 5);
        lines.extend_from_slice(name.as_bytes());
        lines.extend_from_slice(suffix.as_bytes());
        if !first.is_empty() || !labels.is_empty() {
            lines.push(b'{');
            lines.extend_from_slice(first);
            if !first.is_empty() && !labels.is_empty() {
                lines.push(b',');
            }
            lines.extend_from_slice(labels);
            lines.push(b'}');
        }
        lines.push(b' ');
        lines.extend_from_slice(value.as_bytes());
        lines.push(b'\n');
    }
}

/// `name="value"`, after a comma if it is not the first.
fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    if !out.is_empty() {
        out.push(b',');
    }
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"=\"");
    let mut rest = value.as_bytes();
    while let Some(at) = rest.iter().position(|byte| matches!(byte, b'\\' | b'"' | b'\n')) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\\' => b"\\\\",
            b'"' => b"\\\"",
            _ => b"\\n",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
    use prometheus_client::metrics::MetricType;
    use prometheus_client::registry::Registry;
    use proptest::prelude::*;

    use super::*;
    use crate::catalogue::Kind;

    /// Hands samples to prometheus-client.
    #[derive(Debug)]
    struct Theirs(Vec<Sample>);

    impl Collector for Theirs {
        fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
            for sample in &self.0 {
                let full = sample.family.spec().full_name();
                // The encoder adds `_total` itself.
                let (name, kind) = match sample.family.spec().kind {
                    Kind::Counter => (full.trim_end_matches("_total"), MetricType::Counter),
                    Kind::Gauge => (full.as_str(), MetricType::Gauge),
                    Kind::Histogram(_) => (full.as_str(), MetricType::Histogram),
                };
                let mut metrics = encoder.encode_descriptor(name, "", None, kind)?;
                if sample.labels.is_empty() {
                    encode_value(&sample.value, metrics)?;
                } else {
                    let labels: Vec<(&str, &str)> =
                        sample.labels.iter().map(|(name, value)| (*name, &**value)).collect();
                    encode_value(&sample.value, metrics.encode_family(&labels)?)?;
                }
            }
            Ok(())
        }
    }

    fn encode_value(value: &Value, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        match value {
            Value::Counter(amount) => match amount.as_whole() {
                Some(whole) => encoder.encode_counter::<NoLabelSet, u64, u64>(&whole, None),
                None => encoder.encode_counter::<NoLabelSet, f64, u64>(&amount.as_f64(), None),
            },
            Value::Seconds(seconds) => encoder.encode_counter::<NoLabelSet, f64, u64>(seconds, None),
            Value::Gauge(value) => encoder.encode_gauge(value),
            Value::Histogram(HistogramValue { sum, buckets, .. }) => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
            }
        }
    }

    fn theirs(sample: Sample) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Theirs(vec![sample])));
        let mut text = String::new();
        prometheus_client::encoding::text::encode_registry(&mut text, &registry).unwrap();
        text.split_inclusive('\n').filter(|line| !line.starts_with("# ")).collect()
    }

    fn ours(sample: Sample) -> String {
        let mut encoder = Encoder::new(Notations { lines: true, messages: true }, Box::new(|_, _| true));
        vec![sample].write(&mut encoder);
        let rows = encoder.finish().next().unwrap();
        let text = String::from_utf8(rows.lines).unwrap();
        assert_eq!(rows.series, text.lines().count());
        text
    }

    fn sample() -> impl Strategy<Value = Sample> {
        let histogram = (any::<f64>(), prop::collection::vec((0.001_f64..1e6, 0_u64..1_000_000), 0..4));
        let value = prop_oneof![
            (0.0..1e15_f64).prop_map(|n| (Family::AgentTalk, Value::Counter(Amount::from_f64(n).unwrap()))),
            (0_u64..1 << 50).prop_map(|n| (Family::AgentTalk, Value::Counter(Amount::whole(n)))),
            any::<f64>().prop_map(|n| (Family::ApiBudgetWait, Value::Seconds(n))),
            any::<f64>().prop_map(|n| (Family::AgentSignedIn, Value::Gauge(n))),
            histogram.prop_map(|(sum, mut buckets)| {
                buckets.push((f64::INFINITY, 3));
                (Family::CampaignTalkTime, Value::Histogram(HistogramValue { sum, buckets, native: None }))
            }),
        ];
        let name = prop_oneof!["\\PC{0,20}", "[\\\\\"\n# {}=,a]{0,12}", any::<String>()];
        let labels = (prop::collection::vec(name, 0..4), any::<bool>());
        (value, labels).prop_map(|((family, value), (values, _))| {
            let labels = ["vendor", "account", "agent"].into_iter().zip(values.into_iter().map(Arc::from)).collect();
            Sample { family, labels, value, created: None }
        })
    }

    proptest! {
        /// Our lines are prometheus-client's, whatever stands in them.
        #[test]
        fn lines_are_those_of_prometheus_client(sample in sample()) {
            prop_assert_eq!(ours(sample.clone()), theirs(sample));
        }
    }
}
