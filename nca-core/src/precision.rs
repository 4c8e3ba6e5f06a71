//! How exactly products are computed.

use std::fmt;
use std::str::FromStr;

use half::{bf16, f16};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The format that the factors of products of matrices are rounded to: those of the update network, of convolutions
/// and of [`Matmul`](crate::backend::Matmul).
///
/// Their sums, everything else that is computed, and all that is stored are f32 whatever the precision; masks are the
/// same bits. A backend may leave factors exact where that is not slower: the CPU does with those of `Matmul` and of `Mlp`, and
/// of convolutions by transforms. A backend says which precision it has with
/// [`Device::precision`](crate::backend::Device::precision).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits of significand: factors are not rounded.
    #[default]
    F32,
    /// 11 bits of significand, the exponents of f32; ties away from zero.
    Tf32,
    /// 11 bits of significand, 6·10⁻⁸ to 65504; what is larger becomes infinite. Where a factor is a gradient, or may
    /// be, factors are rounded to [`Tf32`](Self::Tf32) instead: gradients of a mean over many cells are smaller than
    /// that.
    F16,
    /// 8 bits of significand, the exponents of f32.
    Bf16,
}

impl Precision {
    /// Every precision.
    pub const ALL: [Self; 4] = [Self::F32, Self::Tf32, Self::F16, Self::Bf16];

    /// Its name on the command line and in results.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Tf32 => "tf32",
            Self::F16 => "f16",
            Self::Bf16 => "bf16",
        }
    }

    /// What products with gradients are computed in: the same, but for [`F16`](Self::F16).
    #[must_use]
    pub fn of_gradients(self) -> Self {
        match self {
            Self::F16 => Self::Tf32,
            other => other,
        }
    }

    /// Unit roundoff: the largest relative error of rounding a number, unless it is too small for the format.
    #[must_use]
    pub fn roundoff(self) -> f64 {
        let bits = match self {
            Self::F32 => 24,
            Self::Tf32 | Self::F16 => 11,
            Self::Bf16 => 8,
        };
        0.5_f64.powi(bits)
    }

    /// An f32 as a factor.
    ///
    /// ```
    /// use nca_core::Precision;
    /// assert_eq!(Precision::Bf16.round(1.003), 1.0);
    /// assert_eq!(Precision::Tf32.round(1.003), 1.0029297);
    /// ```
    #[must_use]
    pub fn round(self, v: f32) -> f32 {
        match self {
            Self::F32 => v,
            Self::Tf32 => tf32(v),
            Self::F16 => f16::from_f32(v).to_f32(),
            Self::Bf16 => bf16::from_f32(v).to_f32(),
        }
    }
}

/// Rounds to 10 bits after the point, ties away from zero.
fn tf32(v: f32) -> f32 {
    const DROPPED: u32 = 13;
    if !v.is_finite() {
        return v;
    }
    // A carry into the exponent is the next power of two, or infinity.
    f32::from_bits((v.to_bits() + (1 << (DROPPED - 1))) & !((1 << DROPPED) - 1))
}

impl fmt::Display for Precision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Precision {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|precision| precision.name() == s)
            .ok_or_else(|| Error::invalid("precision", s, "f32, tf32, f16 or bf16"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        for precision in Precision::ALL {
            assert_eq!(precision.to_string().parse::<Precision>().unwrap(), precision);
            let json = format!("\"{precision}\"");
            assert_eq!(serde_json::to_string(&precision).unwrap(), json);
            assert_eq!(serde_json::from_str::<Precision>(&json).unwrap(), precision);
        }
        let error = "half".parse::<Precision>().unwrap_err().to_string();
        assert_eq!(error, "precision is half, expected f32, tf32, f16 or bf16");
    }

    #[test]
    fn the_roundoff_is_the_largest_relative_error() {
        for precision in Precision::ALL {
            let u = precision.roundoff();
            let mut largest = 0.0_f64;
            // Every eighth number of an octave.
            for step in 0..1_u32 << 20 {
                let v = f32::from_bits(1.0_f32.to_bits() + 8 * step + 4);
                let rounded = f64::from(precision.round(v));
                largest = largest.max((rounded - f64::from(v)).abs() / f64::from(v));
                assert_eq!(precision.round(-v), -precision.round(v));
            }
            match precision {
                Precision::F32 => assert_eq!(largest, 0.0),
                // Halfway from 1 to the next number.
                _ => assert!(largest <= u && largest > 0.99 * u, "{precision}: {largest} of {u}"),
            }
        }
    }

    #[test]
    fn ties_go_where_the_format_says() {
        // 1 + 2⁻¹¹ lies halfway for eleven bits, 1 + 2⁻⁸ for eight.
        let halfway = |bits: i32| 1.0 + 0.5_f32.powi(bits);
        assert_eq!(Precision::Tf32.round(halfway(11)), 1.0 + 0.5_f32.powi(10));
        assert_eq!(Precision::F16.round(halfway(11)), 1.0);
        assert_eq!(Precision::Bf16.round(halfway(8)), 1.0);
    }

    #[test]
    fn what_is_too_large_or_no_number_is_seen() {
        for precision in Precision::ALL {
            assert!(precision.round(f32::NAN).is_nan());
            assert_eq!(precision.round(f32::NEG_INFINITY), f32::NEG_INFINITY);
        }
        assert_eq!(Precision::F16.round(70_000.0), f32::INFINITY);
        assert_eq!(Precision::Tf32.round(f32::MAX), f32::INFINITY);
        assert_eq!(Precision::F16.round(1e-8), 0.0);
        assert!(Precision::F16.of_gradients().round(1e-8) > 0.0);
    }
}
