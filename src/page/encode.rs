//! Samples into text. The sample lines are prometheus-client's (it knows the escapes and the number formats), the headers
//! are ours: HELP and TYPE differ between the formats, sample lines do not.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use crate::amount::Amount;
use crate::catalogue::{Family, Kind};

/// One series with its value.
#[derive(Debug, Clone)]
pub struct Sample {
    /// Which family.
    pub family: Family,
    /// Labels in the catalogue's order.
    pub labels: Vec<(&'static str, Arc<str>)>,
    /// The value.
    pub value: Value,
}

/// A value.
#[derive(Debug, Clone)]
pub enum Value {
    /// A counter.
    Counter(Amount),
    /// A counter that is measured, not counted.
    Seconds(f64),
    /// A gauge.
    Gauge(f64),
    /// A histogram: the sum, and how many fell into each bucket alone.
    Histogram {
        /// Sum of all observations.
        sum: f64,
        /// Upper bound and observations, the last one `+Inf`.
        buckets: Vec<(f64, u64)>,
    },
    /// A histogram of our own.
    Live(Histogram),
}

/// The encoded samples of one report, by family.
#[derive(Debug, Clone, Default)]
pub struct Block {
    parts: Vec<(Family, String)>,
    series: usize,
}

/// Hands sorted samples to prometheus-client, family by family.
#[derive(Debug)]
struct Sorted(Vec<Sample>);

// === impl Block ===

impl Block {
    /// The block of these samples. Of two with the same labels the first stays: a page with both would be refused whole.
    pub fn encode(mut samples: Vec<Sample>) -> Self {
        samples.sort_by(|a, b| (a.family, &a.labels).cmp(&(b.family, &b.labels)));
        samples.dedup_by(|b, a| a.family == b.family && a.labels == b.labels);
        let mut families: Vec<Family> = samples.iter().map(|sample| sample.family).collect();
        families.dedup();
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Sorted(samples)));
        let mut text = String::new();
        // Writing into a string does not fail, and neither do our values.
        if prometheus_client::encoding::text::encode_registry(&mut text, &registry).is_err() {
            tracing::error!("a block could not be encoded");
            return Self::default();
        }
        let parts: Vec<(Family, String)> = families.into_iter().zip(sections(&text)).collect();
        // A line is a series: a histogram is as many as Prometheus makes of it.
        let series = parts.iter().map(|(_, text)| text.lines().count()).sum();
        Self { parts, series }
    }

    /// The sample lines of a family.
    pub fn part(&self, family: Family) -> Option<&str> {
        self.parts.binary_search_by_key(&family, |(known, _)| *known).ok().map(|index| self.parts[index].1.as_str())
    }

    /// How many series it holds.
    pub fn series(&self) -> usize {
        self.series
    }

    /// Its length in bytes.
    pub fn size(&self) -> usize {
        self.parts.iter().map(|(_, text)| text.len()).sum()
    }
}

// === impl Sorted ===

impl Collector for Sorted {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        for family in self.0.chunk_by(|a, b| a.family == b.family) {
            let Some(first) = family.first() else { continue };
            let spec = first.family.spec();
            let kind = match spec.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram(_) => MetricType::Histogram,
            };
            let full = spec.full_name();
            // The encoder adds `_total` itself.
            let name = if spec.kind == Kind::Counter { full.trim_end_matches("_total") } else { full.as_str() };
            let mut metrics = encoder.encode_descriptor(name, "", None, kind)?;
            if first.labels.is_empty() {
                encode_value(&first.value, metrics)?;
                continue;
            }
            for sample in family {
                let labels: Vec<(&str, &str)> = sample.labels.iter().map(|(name, value)| (*name, &**value)).collect();
                encode_value(&sample.value, metrics.encode_family(&labels)?)?;
            }
        }
        Ok(())
    }
}

/// The sample lines below each pair of header lines. Only those begin with `#`: what stands in a label value never begins
/// a line, as a line break in it is escaped.
fn sections(text: &str) -> Vec<String> {
    let mut sections = Vec::new();
    for line in text.split_inclusive('\n') {
        if line.starts_with("# HELP ") {
            sections.push(String::new());
        } else if let Some(section) = sections.last_mut()
            && !line.starts_with('#')
        {
            section.push_str(line);
        }
    }
    sections
}

fn encode_value(value: &Value, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
    match value {
        Value::Counter(amount) => match amount.as_whole() {
            Some(whole) => encoder.encode_counter::<NoLabelSet, u64, u64>(&whole, None),
            None => encoder.encode_counter::<NoLabelSet, f64, u64>(&amount.as_f64(), None),
        },
        Value::Seconds(seconds) => encoder.encode_counter::<NoLabelSet, f64, u64>(seconds, None),
        Value::Gauge(value) => encoder.encode_gauge(value),
        Value::Histogram { sum, buckets } => {
            let count = buckets.iter().map(|(_, count)| count).sum();
            encoder.encode_histogram::<NoLabelSet>(*sum, count, buckets, None)
        }
        Value::Live(histogram) => histogram.encode(encoder),
    }
}
