//! Histograms: the classic buckets of the catalogue, and beside them native ones, whose bounds are powers of 2^(1/8).
//! Native buckets are shown only if they hold as many observations as the classic ones.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Eight buckets to a doubling.
pub const SCHEMA: i64 = 3;
/// Observations up to here are counted as zero; the value that client libraries use, 2^-128.
pub const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// Upper bounds of the buckets between 0.5 and 1, as Prometheus has them.
const BOUNDS: [f64; 8] = [
    0.5,
    0.545_253_866_332_628_8,
    0.594_603_557_501_360_5,
    0.648_419_777_325_504_8,
    0.707_106_781_186_547_5,
    0.771_105_412_703_970_4,
    0.840_896_415_253_714_4,
    0.917_004_043_204_671_1,
];

/// What a histogram shows.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct HistogramValue {
    /// Sum of all observations.
    pub sum: f64,
    /// Upper bound and observations that fell into this bucket alone, the last one `+Inf`.
    pub buckets: Vec<(f64, u64)>,
    /// The same observations in native buckets.
    pub native: Option<Native>,
}

/// Native buckets with something in them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Native {
    /// Observations of zero.
    pub zero: u64,
    /// Index and observations, in order.
    pub buckets: Vec<(i32, u64)>,
}

/// A histogram that is observed while it is shown. Clones share it.
#[derive(Debug, Clone)]
pub struct Histogram(Arc<Mutex<Observed>>);

#[derive(Debug)]
struct Observed {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    zero: u64,
    native: BTreeMap<i32, u64>,
}

/// The native bucket of a positive value: the one whose bounds are 2^((index-1)/8), exclusive, and 2^(index/8). None for zero.
pub fn native_bucket(value: f64) -> Option<i32> {
    if !value.is_finite() || value <= ZERO_THRESHOLD {
        return None;
    }
    // value = fraction × 2^exponent, the fraction from 0.5 up to but not 1. Above the threshold no value is subnormal.
    let bits = value.to_bits();
    let exponent = i32::try_from((bits >> 52) & 0x7ff).unwrap_or_default() - 1022;
    let fraction = f64::from_bits((bits & !(0x7ff << 52)) | (1022 << 52));
    let place = BOUNDS.partition_point(|bound| *bound < fraction);
    Some(i32::try_from(place).unwrap_or_default() + (exponent - 1) * 8)
}

impl Native {
    /// How many observations these are.
    pub fn count(&self) -> u64 {
        self.zero + self.buckets.iter().map(|(_, count)| count).sum::<u64>()
    }
}

// === impl Histogram ===

impl Histogram {
    /// An empty one with these bounds.
    pub fn new(bounds: &'static [f64]) -> Self {
        let counts = vec![0; bounds.len() + 1];
        Self(Arc::new(Mutex::new(Observed { bounds, counts, sum: 0.0, zero: 0, native: BTreeMap::new() })))
    }

    /// Adds one observation.
    pub fn observe(&self, value: f64) {
        let mut observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let place = observed.bounds.partition_point(|bound| *bound < value);
        if let Some(count) = observed.counts.get_mut(place) {
            *count += 1;
        }
        observed.sum += value;
        match native_bucket(value) {
            Some(index) => *observed.native.entry(index).or_default() += 1,
            None => observed.zero += 1,
        }
    }

    /// What it shows now.
    pub fn value(&self) -> HistogramValue {
        let observed = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let bounds = observed.bounds.iter().copied().chain([f64::INFINITY]);
        let native = Native {
            zero: observed.zero,
            buckets: observed.native.iter().map(|(index, count)| (*index, *count)).collect(),
        };
        HistogramValue {
            sum: observed.sum,
            buckets: bounds.zip(observed.counts.iter().copied()).collect(),
            native: Some(native),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_between_the_bounds_of_its_native_bucket() {
        for (value, index) in [(1.0, 0), (1.000_001, 1), (2.0, 8), (0.5, -8), (3.0, 13), (86_400.0, 132), (0.001, -79)]
        {
            assert_eq!(native_bucket(value), Some(index), "{value}");
            let bound = |index: i32| (f64::from(index) / 8.0).exp2();
            assert!(bound(index - 1) * 0.999_999 < value && value <= bound(index) * 1.000_001, "{value}");
        }
        assert_eq!((native_bucket(0.0), native_bucket(f64::INFINITY)), (None, None));
    }

    #[test]
    fn both_kinds_of_buckets_hold_the_same_observations() {
        let histogram = Histogram::new(&[1.0, 5.0]);
        for value in [0.0, 0.3, 1.0, 4.9, 5.0, 77.0] {
            histogram.observe(value);
        }
        let value = histogram.value();
        assert_eq!(value.buckets, [(1.0, 3), (5.0, 2), (f64::INFINITY, 1)]);
        assert_eq!(value.native.as_ref().map(Native::count), Some(6));
        assert!((value.sum - 88.2).abs() < 1e-9);
    }
}
