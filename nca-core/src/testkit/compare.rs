//! What a comparison allows, and what it says when it fails.

use std::fmt;

use crate::error::Error;
use crate::precision::Precision;
use crate::real::Real;

/// How far a result may lie from the oracle's: `relative · magnitude + absolute`.
///
/// The magnitude of an element is the sum of the absolute values of the terms it is made of, so
/// that cancellation is accounted for. The suite gets it by running the oracle on absolute values.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Tolerance {
    /// Factor of the magnitude.
    pub relative: f64,
    /// Allowed in any case.
    pub absolute: f64,
}

impl Tolerance {
    /// Unit roundoff of f32: the largest relative error of one operation.
    pub const ROUNDOFF: f64 = f32::EPSILON as f64 / 2.0;

    /// Roundings of an element besides those of its additions: constants and factors rounded to
    /// f32, the product, the final sum into an accumulated gradient.
    const FIXED_ROUNDINGS: usize = 6;

    /// λ of Higham & Mary's bound: each element exceeds it with a probability below
    /// 2·exp(−λ²/2) ≈ 3·10⁻⁸.
    const CONFIDENCE: f64 = 6.0;

    /// The same bits.
    pub const EXACT: Self = Self {
        relative: 0.0,
        absolute: 0.0,
    };

    /// `count` roundings one after another, at worst `count · u`.
    #[must_use]
    pub fn roundings(count: usize) -> Self {
        Self {
            relative: count as f64 * Self::ROUNDOFF,
            // Results below the smallest normal f32 may be flushed to zero.
            absolute: f64::from(f32::MIN_POSITIVE),
        }
    }

    /// A sum of `length` products in f32, in any order.
    ///
    /// The smaller of the worst case `n·u` and the bound `λ·√n·u` that holds with high probability
    /// for rounding errors of random sign (Higham & Mary, *A new approach to probabilistic rounding
    /// error analysis*, SISC 2019).
    #[must_use]
    pub fn reduction(length: usize) -> Self {
        let roundings = (length + Self::FIXED_ROUNDINGS) as f64;
        Self {
            relative: roundings.min(Self::CONFIDENCE * roundings.sqrt()) * Self::ROUNDOFF,
            ..Self::roundings(0)
        }
    }

    /// A sum of `length` products whose factors are rounded to `precision`, one of them being the result of another
    /// such product, and so on for `layers` products.
    ///
    /// Two roundings a layer, at worst all in the same direction; the rest is f32.
    #[must_use]
    pub fn products(precision: Precision, length: usize, layers: u16) -> Self {
        let sum = Self::reduction(length);
        let u = match precision {
            Precision::F32 => return sum,
            other => other.roundoff(),
        };
        // A factor may be too small for the format; others are of order one.
        let lost = match precision {
            Precision::F16 => f64::from(half::f16::MIN_POSITIVE_SUBNORMAL) / 2.0,
            _ => 0.0,
        };
        Self {
            relative: sum.relative + (1.0 + u).powi(2 * i32::from(layers)) - 1.0,
            absolute: sum.absolute + f64::from(2 * layers) * length as f64 * lost,
        }
    }
}

/// Why a backend failed its suite.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Mismatch {
    /// An element differs from the oracle's.
    Value {
        /// Operation.
        op: &'static str,
        /// Output of the operation.
        output: &'static str,
        /// Element of the output.
        index: usize,
        /// The backend's value.
        got: f64,
        /// The oracle's value.
        want: f64,
        /// Largest difference that would have passed.
        allowed: f64,
    },
    /// A rule of the contract is broken.
    Rule {
        /// Operation.
        op: &'static str,
        /// What happened and what should have.
        rule: String,
    },
    /// A valid call was refused.
    Refused {
        /// The backend's error.
        error: String,
    },
    /// One of the above, and the input that shows it.
    Case {
        /// The smallest failing input found.
        case: String,
        /// What failed.
        cause: Box<Self>,
    },
}

impl fmt::Display for Mismatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Value {
                op,
                output,
                index,
                got,
                want,
                allowed,
            } => write!(
                f,
                "{op}: {output}[{index}] is {got:e}, expected {want:e} to within {allowed:.1e}"
            ),
            Self::Rule { op, rule } => write!(f, "{op}: {rule}"),
            Self::Refused { error } => write!(f, "a valid call was refused: {error}"),
            Self::Case { case, cause } => write!(f, "{cause}\n  for {case}"),
        }
    }
}

impl std::error::Error for Mismatch {}

impl From<Error> for Mismatch {
    fn from(error: Error) -> Self {
        Self::Refused {
            error: error.to_string(),
        }
    }
}

/// Compares every element of `got` with `want`, allowing `tolerance` of its `magnitude`.
///
/// NaN agrees with NaN only, an infinity with the same infinity only.
pub fn compare(
    op: &'static str,
    output: &'static str,
    got: &[f64],
    want: &[f64],
    magnitude: &[f64],
    tolerance: Tolerance,
) -> Result<(), Mismatch> {
    if got.len() != want.len() || magnitude.len() != want.len() {
        let lengths = (got.len(), want.len(), magnitude.len());
        return Err(Mismatch::Rule {
            op,
            rule: format!("{output} and its oracle and magnitude have lengths {lengths:?}"),
        });
    }
    for (index, ((&got, &want), magnitude)) in got.iter().zip(want).zip(magnitude).enumerate() {
        let allowed = tolerance.relative * magnitude + tolerance.absolute;
        let same = got == want || (got.is_nan() && want.is_nan());
        let near = allowed.is_finite() && (got - want).abs() <= allowed;
        if !same && !near {
            return Err(Mismatch::Value {
                op,
                output,
                index,
                got,
                want,
                allowed,
            });
        }
    }
    Ok(())
}

/// Compares bits; NaNs agree whatever their payload, zeros only when their signs do.
pub fn compare_bits<T: Real>(op: &'static str, output: &'static str, got: &[T], want: &[T]) -> Result<(), Mismatch> {
    if got.len() != want.len() {
        return Err(Mismatch::Rule {
            op,
            rule: format!("{output} has {} elements, expected {}", got.len(), want.len()),
        });
    }
    for (index, (&got, &want)) in got.iter().zip(want).enumerate() {
        let (got, want) = (got.to_f64(), want.to_f64());
        if got.to_bits() != want.to_bits() && !(got.is_nan() && want.is_nan()) {
            return Err(Mismatch::Value {
                op,
                output,
                index,
                got,
                want,
                allowed: 0.0,
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(got: f64, want: f64) -> bool {
        compare("op", "y", &[got], &[want], &[1.0], Tolerance::roundings(4)).is_ok()
    }

    #[test]
    fn numbers_agree_within_the_tolerance_only() {
        let allowed = 4.0 * Tolerance::ROUNDOFF;
        assert!(verdict(1.0 + 0.9 * allowed, 1.0));
        assert!(!verdict(1.0 + 1.1 * allowed, 1.0));
        assert!(!verdict(1.0 - 1.1 * allowed, 1.0));
    }

    #[test]
    fn what_is_not_a_number_agrees_with_its_like_only() {
        assert!(verdict(f64::NAN, f64::NAN));
        assert!(!verdict(f64::NAN, 1.0));
        assert!(!verdict(1.0, f64::NAN));
        assert!(verdict(f64::INFINITY, f64::INFINITY));
        assert!(!verdict(f64::INFINITY, f64::NEG_INFINITY));
        assert!(!verdict(1.0, f64::INFINITY));
        assert!(compare("op", "y", &[1.0], &[2.0], &[f64::INFINITY], Tolerance::roundings(1)).is_err());
    }

    #[test]
    fn lengths_are_compared() {
        assert!(compare("op", "y", &[1.0], &[1.0, 2.0], &[1.0, 1.0], Tolerance::EXACT).is_err());
        assert!(compare_bits("op", "y", &[1.0], &[1.0, 2.0]).is_err());
    }

    #[test]
    fn bits_tell_zeros_apart() {
        assert!(compare_bits("op", "y", &[0.0], &[-0.0]).is_err());
        assert!(compare_bits("op", "y", &[f32::NAN], &[-f32::NAN]).is_ok());
    }

    #[test]
    fn two_factors_a_layer_are_rounded() {
        let of = |precision, layers| Tolerance::products(precision, 3, layers).relative;
        assert_eq!(of(Precision::F32, 2), Tolerance::reduction(3).relative);
        let per_mille = |relative: f64| (relative * 1000.0).round();
        assert_eq!(per_mille(of(Precision::Tf32, 2)), 2.0);
        assert_eq!(per_mille(of(Precision::Bf16, 1)), 8.0);
    }

    #[test]
    fn long_reductions_use_the_probabilistic_bound() {
        assert_eq!(Tolerance::reduction(3).relative, 9.0 * Tolerance::ROUNDOFF);
        assert_eq!(Tolerance::reduction(9994).relative, 600.0 * Tolerance::ROUNDOFF);
    }
}
