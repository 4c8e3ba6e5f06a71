//! Vectors of f32 behind one small trait, so that a kernel is written once for every instruction
//! set.
//!
//! A kernel is a [`Kernel`] whose `run` is generic over [`Isa`] and `#[inline(always)]`, as is all
//! it calls: it is then compiled into [`dispatch`]'s `#[target_feature]` functions, once for each
//! instruction set. An `Isa` value proves that its instructions exist on this machine, for only
//! `dispatch` makes one after asking [`Simd::available`].

// Intrinsics.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
mod portable;

use super::Simd;

/// An instruction set: a vector of [`Isa::LANES`] f32 and the register tile that suits it.
pub(super) trait Isa: Copy {
    /// A vector.
    type V: Copy;
    /// A subset of the lanes.
    type Select: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of the register tile, 4 or 8; its columns are [`TILE_VECTORS`] vectors.
    const ROWS: usize;

    /// All lanes `value`.
    fn splat(self, value: f32) -> Self::V;
    /// Lanes from memory, at any alignment.
    ///
    /// # Safety
    /// `from` must be valid for reads of [`Isa::LANES`] floats.
    unsafe fn load(self, from: *const f32) -> Self::V;
    /// Lanes to memory, at any alignment.
    ///
    /// # Safety
    /// `to` must be valid for writes of [`Isa::LANES`] floats.
    unsafe fn store(self, to: *mut f32, v: Self::V);
    /// `a + b`.
    fn add(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a − b`.
    fn sub(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b`.
    fn mul(self, a: Self::V, b: Self::V) -> Self::V;
    /// `a · b + c`, rounded once where the instruction set can.
    fn fma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
    /// The larger of two; `b` where either is NaN.
    fn max(self, a: Self::V, b: Self::V) -> Self::V;
    /// The smaller of two; `b` where either is NaN.
    fn min(self, a: Self::V, b: Self::V) -> Self::V;
    /// `v` where `x > bound`, else 0.
    fn where_above(self, x: Self::V, bound: Self::V, v: Self::V) -> Self::V;
    /// 0 where `|x| > bound`, else `v` (also where `x` is NaN).
    fn where_within(self, x: Self::V, bound: Self::V, v: Self::V) -> Self::V;
    /// `[first, v₀, v₁, …]`: the lanes moved up by one.
    fn shift_up(self, v: Self::V, first: f32) -> Self::V;
    /// `[v₁, v₂, …, last]`: the lanes moved down by one.
    fn shift_down(self, v: Self::V, last: f32) -> Self::V;
    /// The lanes whose bit is set; only the low [`Isa::LANES`] bits may be.
    fn select(self, bits: u32) -> Self::Select;
    /// The selected lanes packed to the front; what follows them is unspecified.
    fn compress(self, v: Self::V, lanes: Self::Select) -> Self::V;
    /// The front lanes spread to the selected places, 0 elsewhere.
    fn expand(self, v: Self::V, lanes: Self::Select) -> Self::V;
    /// The sum of each vector's lanes.
    fn sums(self, v: [Self::V; 4]) -> [f32; 4];
}

/// Vectors in a row of the register tile.
pub(super) const TILE_VECTORS: usize = 3;

/// Work compiled once for each instruction set.
pub(super) trait Kernel {
    /// Result.
    type Output;
    /// Does it; must be `#[inline(always)]`.
    fn run<S: Isa>(self, s: S) -> Self::Output;
}

/// Runs `kernel` with the widest vectors of `simd` that are not wider than `width` floats, so that a
/// row of `width` cells always holds a whole vector.
pub(super) fn dispatch<K: Kernel>(simd: Simd, width: usize, kernel: K) -> K::Output {
    match lanes(simd, width) {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Cpu` is only built for an instruction set that is available.
        16 => unsafe { with_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; a machine with AVX-512F has AVX2 and FMA (`Simd::available` asks).
        8 => unsafe { with_avx2(kernel) },
        4 => kernel.run(portable::Portable::<4>),
        _ => kernel.run(portable::Portable::<1>),
    }
}

/// Lanes of the vectors that [`dispatch`] uses.
pub(super) fn lanes(simd: Simd, width: usize) -> usize {
    let widest = match simd {
        Simd::Avx512 => 16,
        Simd::Avx2 => 8,
        Simd::Portable => 4,
    };
    [16, 8, 4].into_iter().find(|&n| n <= widest && n <= width).unwrap_or(1)
}

/// # Safety
/// The machine must have AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own condition.
    kernel.run(unsafe { avx512::Avx512::new() })
}

/// # Safety
/// The machine must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own condition.
    kernel.run(unsafe { avx2::Avx2::new() })
}
