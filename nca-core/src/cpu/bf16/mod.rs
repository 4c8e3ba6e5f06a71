//! Products of factors in bf16, summed in f32.
//!
//! A bf16 is the upper half of an f32. Two numbers that follow each other in the sum of a product share one 32-bit
//! lane, a *pair*, as the instructions want it; vectors of pairs travel as vectors of f32, of which only the bits
//! matter. [`Unit`] is the little that an instruction set must do; [`product`] and [`over_cells`] are what is made of it.

mod over_cells;
mod product;
mod unit;

#[cfg(target_arch = "x86_64")]
mod amx;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

pub(super) use over_cells::{Turned, narrow_rows, natural_row, padded_rows, product_over_cells};
pub(super) use product::{
    BLOCK, Finish, Left, Right, SQUARE, pack_left, packed_len, pad_pairs, padded_pairs, pair_row, pair_rows, product,
    store_pairs,
};
pub(super) use unit::{Job, Unit, Vector, dispatch};

/// What multiplies bf16.
///
/// Results differ in the last bits of f32, as those of [`Simd`](super::Simd) do, and in that instructions take subnormal
/// numbers (below 2⁻¹²⁶) for 0, while [`Portable`](Self::Portable) rounds them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Bf16Unit {
    /// AMX: products of tiles of 16 × 32 and 32 × 16 (Intel since Sapphire Rapids; Linux).
    Amx,
    /// AVX-512 BF16: dot products of pairs. By AMD's count of instructions twice as fast as f32 since Zen 4; half as
    /// fast as f32, as measured, on processors that have AMX for it.
    Avx512,
    /// Factors are rounded and then multiplied as f32: the same numbers on every machine, slower than f32.
    Portable,
}

impl Bf16Unit {
    /// Everything that multiplies bf16, best first.
    pub const ALL: [Self; 3] = [Self::Amx, Self::Avx512, Self::Portable];

    /// Its name in `NCA_BF16`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Amx => "amx",
            Self::Avx512 => "avx512",
            Self::Portable => "portable",
        }
    }

    /// Whether this machine can run it. Linux must be asked for AMX, once a process: from then on signal handlers need a
    /// larger stack.
    #[must_use]
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Amx => avx512::available() && amx::available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => avx512::available(),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Amx | Self::Avx512 => false,
            Self::Portable => true,
        }
    }

    /// How many times as fast as products of f32 it is, about: measured, but for [`Avx512`](Self::Avx512) without AMX.
    pub(super) fn speed(self) -> f64 {
        match self {
            Self::Amx => 8.0,
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 if amx::has_instructions() => 0.5,
            Self::Avx512 => 1.8,
            Self::Portable => 0.25,
        }
    }

    /// The best that this machine has instructions for.
    #[must_use]
    pub fn detect() -> Option<Self> {
        [Self::Amx, Self::Avx512].into_iter().find(|unit| unit.available())
    }
}

/// What [`Bf16Unit::from_str`] takes.
pub(super) const EXPECTED_NAMES: &str = "amx, avx512 or portable";

impl fmt::Display for Bf16Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Bf16Unit {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|unit| unit.name() == name)
            .ok_or_else(|| Error::invalid("NCA_BF16", name, EXPECTED_NAMES))
    }
}
