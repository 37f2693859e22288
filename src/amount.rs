//! Exact figures. Vendors give whole seconds and whole calls, now and then a fraction: thousandths in an integer
//! add up to the same total in any order, which floating point does not promise and a counter must.

use std::fmt;
use std::ops::{Add, AddAssign, Sub};

use serde::{Deserialize, Serialize};

const SCALE: u64 = 1000;

/// A non-negative figure in thousandths.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Amount(u64);

impl Amount {
    /// Nothing.
    pub const ZERO: Self = Self(0);
    /// One call, one event.
    pub const ONE: Self = Self(SCALE);

    /// A whole number of seconds, calls or events.
    pub const fn whole(n: u64) -> Self {
        Self(n.saturating_mul(SCALE))
    }

    /// One if `yes`, else zero.
    pub const fn flag(yes: bool) -> Self {
        if yes { Self::ONE } else { Self::ZERO }
    }

    /// A JSON number, rounded to thousandths; none when negative, not finite or beyond 2^53.
    pub fn from_f64(n: f64) -> Option<Self> {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            clippy::cast_precision_loss,
            reason = "checked to lie in 0..=2^53"
        )]
        (n >= 0.0 && n <= (1_u64 << 53) as f64).then(|| Self((n * SCALE as f64).round() as u64))
    }

    /// As a floating-point number, for histogram bounds and tests.
    #[expect(clippy::cast_precision_loss, reason = "figures stay far below 2^53")]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / SCALE as f64
    }

    /// The number of thousandths, as it is stored.
    pub(crate) const fn thousandths(self) -> u64 {
        self.0
    }

    /// The whole number, if it is one.
    pub const fn as_whole(self) -> Option<u64> {
        if self.0.is_multiple_of(SCALE) { Some(self.0 / SCALE) } else { None }
    }

    /// What `self` has above `other`, zero if nothing.
    #[must_use]
    pub const fn above(self, other: Self) -> Self {
        Self(self.0.saturating_sub(other.0))
    }
}

impl Add for Amount {
    type Output = Self;
    fn add(self, other: Self) -> Self {
        Self(self.0.saturating_add(other.0))
    }
}

impl AddAssign for Amount {
    fn add_assign(&mut self, other: Self) {
        *self = *self + other;
    }
}

impl Sub for Amount {
    type Output = Self;
    fn sub(self, other: Self) -> Self {
        self.above(other)
    }
}

impl std::iter::Sum for Amount {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::ZERO, Add::add)
    }
}

/// Decimal without trailing zeros: `12`, `12.5`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / SCALE, self.0 % SCALE);
        if rest == 0 {
            return write!(f, "{whole}");
        }
        let digits = format!("{rest:03}");
        write!(f, "{whole}.{}", digits.trim_end_matches('0'))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_without_trailing_zeros() {
        for (n, text) in [(0.0, "0"), (12.0, "12"), (12.5, "12.5"), (0.001, "0.001"), (7.25, "7.25")] {
            assert_eq!(Amount::from_f64(n).map(|a| a.to_string()).as_deref(), Some(text));
        }
    }

    #[test]
    fn refuses_what_is_no_figure() {
        for n in [-1.0, f64::NAN, f64::INFINITY, 1e17] {
            assert_eq!(Amount::from_f64(n), None, "{n}");
        }
    }
}
