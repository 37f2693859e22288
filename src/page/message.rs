//! The protobuf format, `io.prometheus.client.MetricFamily`, as far as a page of ours needs it. Written by hand: the
//! metrics of a family come from many reports, encoded at different times, and are only put behind one another.

use super::encode::Value;
use super::histogram::{HistogramValue, SCHEMA, ZERO_THRESHOLD};
use crate::catalogue::{Family, Kind};

/// `MetricFamily.metric`
const METRIC: u32 = 4;

/// Buffers for what needs its length before it.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    value: Vec<u8>,
    inner: Vec<u8>,
}

/// What stands before the metrics of a family, of which there are so many bytes.
pub(super) fn header(family: Family, metrics: u64) -> Vec<u8> {
    let spec = family.spec();
    let mut fields = Vec::new();
    put_text(&mut fields, 1, &spec.full_name());
    put_text(&mut fields, 2, spec.help);
    let kind = match spec.kind {
        Kind::Counter => 0,
        Kind::Gauge => 1,
        Kind::Histogram(_) => 4,
    };
    put_number(&mut fields, 3, kind);
    if let Some(unit) = spec.unit() {
        put_text(&mut fields, 5, unit);
    }
    let mut header = Vec::with_capacity(fields.len() + 10);
    put_varint(&mut header, fields.len() as u64 + metrics);
    header.extend_from_slice(&fields);
    header
}

/// `Metric.label`
pub(super) fn put_label(out: &mut Vec<u8>, name: &str, value: &str) {
    let length = text_length(name) + text_length(value);
    put_key(out, 1, 2);
    put_varint(out, length);
    put_text(out, 1, name);
    put_text(out, 2, value);
}

impl Scratch {
    /// A metric with these labels, which are written already.
    pub(super) fn put_metric(&mut self, out: &mut Vec<u8>, labels: &[u8], value: &Value, created: Option<f64>) {
        let Self { value: bytes, inner } = self;
        bytes.clear();
        inner.clear();
        let field = match value {
            Value::Counter(amount) => put_simple(bytes, 3, amount.as_f64()),
            Value::Seconds(seconds) => put_simple(bytes, 3, *seconds),
            Value::Gauge(value) => put_simple(bytes, 2, *value),
            Value::Histogram(histogram) => put_histogram(bytes, inner, histogram),
        };
        // A native histogram that began over an hour ago ends a Prometheus 3 that takes in both native histograms and
        // created timestamps ("unlock of unlocked mutex", known there), so it does not say when it began.
        let is_native = matches!(value, Value::Histogram(HistogramValue { native: Some(_), .. }));
        if let Some(created) = created
            && field != 2
            && !is_native
        {
            put_timestamp(bytes, inner, if field == 7 { 15 } else { 3 }, created);
        }
        put_key(out, METRIC, 2);
        let length = bytes.len() as u64;
        put_varint(out, labels.len() as u64 + 1 + varint_length(length) + length);
        out.extend_from_slice(labels);
        put_key(out, field, 2);
        put_varint(out, length);
        out.extend_from_slice(bytes);
    }
}

fn put_simple(out: &mut Vec<u8>, field: u32, value: f64) -> u32 {
    put_double(out, 1, value);
    field
}

/// Classic buckets, and native ones beside them.
fn put_histogram(out: &mut Vec<u8>, inner: &mut Vec<u8>, histogram: &HistogramValue) -> u32 {
    let HistogramValue { sum, buckets, native } = histogram;
    put_number(out, 1, buckets.iter().map(|(_, count)| count).sum());
    put_double(out, 2, *sum);
    let mut below = 0;
    for (bound, count) in buckets {
        below += count;
        inner.clear();
        put_number(inner, 1, below);
        put_double(inner, 2, *bound);
        put_bytes(out, 3, inner);
    }
    let Some(native) = native else { return 7 };
    put_number(out, 5, zigzag(SCHEMA));
    put_double(out, 6, ZERO_THRESHOLD);
    put_number(out, 7, native.zero);
    // A span is a run of buckets without a gap; its offset counts from the end of the one before.
    let (mut next, mut last) = (0_i64, 0_i64);
    let mut deltas = Vec::new();
    for run in native.buckets.chunk_by(|(a, _), (b, _)| a + 1 == *b) {
        let Some((first, _)) = run.first() else { continue };
        inner.clear();
        put_number(inner, 1, zigzag(i64::from(*first) - next));
        put_number(inner, 2, run.len() as u64);
        put_bytes(out, 12, inner);
        next = i64::from(*first) + i64::try_from(run.len()).unwrap_or(i64::MAX);
        for (_, count) in run {
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            put_number(&mut deltas, 13, zigzag(count - last));
            last = count;
        }
    }
    out.extend_from_slice(&deltas);
    if native.buckets.is_empty() {
        // Without any span it would pass for a classic histogram alone.
        put_bytes(out, 12, &[]);
    }
    7
}

/// `google.protobuf.Timestamp`
fn put_timestamp(out: &mut Vec<u8>, inner: &mut Vec<u8>, field: u32, at: f64) {
    inner.clear();
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "seconds since the epoch")]
    let (seconds, nanos) = (at.max(0.0).floor() as u64, (at.max(0.0).fract() * 1e9) as u64);
    put_number(inner, 1, seconds);
    if nanos > 0 {
        put_number(inner, 2, nanos);
    }
    put_bytes(out, field, inner);
}

const fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)).cast_unsigned()
}

fn put_key(out: &mut Vec<u8>, field: u32, wire: u8) {
    // No field that we write is above 15, so that a key is one byte.
    put_varint(out, u64::from(field) << 3 | u64::from(wire));
}

fn put_number(out: &mut Vec<u8>, field: u32, number: u64) {
    put_key(out, field, 0);
    put_varint(out, number);
}

fn put_double(out: &mut Vec<u8>, field: u32, value: f64) {
    put_key(out, field, 1);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u32, bytes: &[u8]) {
    put_key(out, field, 2);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

fn put_text(out: &mut Vec<u8>, field: u32, text: &str) {
    put_bytes(out, field, text.as_bytes());
}

/// Of a short text field.
const fn text_length(text: &str) -> u64 {
    let length = text.len() as u64;
    1 + varint_length(length) + length
}

const fn varint_length(number: u64) -> u64 {
    let bits = 64 - (number | 1).leading_zeros() as u64;
    bits.div_ceil(7)
}

#[expect(clippy::cast_possible_truncation, reason = "seven bits, and what is left is fewer")]
fn put_varint(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}
