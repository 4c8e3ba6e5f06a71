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
#[cfg(target_arch = "aarch64")]
mod neon;
mod portable;
mod words;

#[cfg(target_arch = "x86_64")]
pub(super) use avx512::Avx512;
pub(super) use portable::Wide;
pub(super) use words::Words;

use super::Simd;

/// An instruction set: a vector of [`Isa::LANES`] f32 and the register tile that suits it.
pub(super) trait Isa: Words {
    /// A vector.
    type V: Copy;
    /// A subset of the lanes.
    type Select: Copy;
    /// How the lanes of a subset are appended to others, as it is stored; every bit pattern is a value.
    type Packing: Copy;
    /// The same, in registers.
    type Packer: Copy;
    /// Floats in a vector.
    const LANES: usize;
    /// Rows of the register tile: 8, 6 or 4.
    const ROWS: usize;
    /// Vectors in a row of the register tile: 3 or 2.
    const VECTORS: usize;

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
    /// `c − a · b`, rounded once where the instruction set can.
    fn fnma(self, a: Self::V, b: Self::V, c: Self::V) -> Self::V;
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
    /// How the lanes whose bit is set are appended to `number` others.
    fn packing(self, bits: u32, number: usize) -> Self::Packing;
    /// A packing of `lanes`, for use.
    fn packer(self, lanes: Self::Select, packing: Self::Packing) -> Self::Packer;
    /// Appends lanes of `v` to the `number` floats of the row `to` that were appended before. `rest` is what the last call
    /// for the row has returned, anything at first.
    ///
    /// # Safety
    /// `to` must be valid for the floats appended, rounded up to whole vectors, and one vector more.
    unsafe fn append(self, packer: Self::Packer, to: *mut f32, number: usize, rest: Self::V, v: Self::V) -> Self::V;
    /// Ends a row to which `number` floats were appended: only now do all lie there, followed by zeros up to a whole
    /// vector.
    ///
    /// # Safety
    /// As [`Isa::append`].
    unsafe fn finish(self, to: *mut f32, number: usize, rest: Self::V);
    /// The front lanes spread to the selected places, 0 elsewhere.
    fn expand(self, v: Self::V, lanes: Self::Select) -> Self::V;
    /// The sum of each vector's lanes.
    fn sums(self, v: [Self::V; 4]) -> [f32; 4];
    /// Transposes a square: float `j` of row `i` of `from` becomes float `i` of row `j` of `to`, for
    /// [`Isa::LANES`] rows of as many floats, which are `from_stride` and `to_stride` floats apart.
    ///
    /// # Safety
    /// All rows must be valid; `from` and `to` must not overlap.
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize);
}

/// Asks for the cache lines of the `len` floats at `from`, any address being allowed: planes lie too
/// far apart for the processor to guess the next channel's rows by itself.
#[inline(always)]
pub(super) fn prefetch(from: *const f32, len: usize) {
    #[cfg(target_arch = "x86_64")]
    for at in (0..len).step_by(16) {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint that never faults; SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(from.wrapping_add(at).cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = (from, len);
}

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
        #[cfg(test)]
        16 if !simd.available() => kernel.run(Wide {}),
        #[cfg(test)]
        8 if !simd.available() => unreachable!("nothing as narrow is tested on arrays"),
        #[cfg(test)]
        4 if simd == Simd::Neon && !simd.available() => kernel.run(portable::Tall {}),
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Cpu` is only built for an instruction set that is available.
        16 => unsafe { with_avx512(kernel) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above; a machine with AVX-512F has AVX2 and FMA (`Simd::available` asks).
        8 => unsafe { with_avx2(kernel) },
        #[cfg(target_arch = "aarch64")]
        4 if simd == Simd::Neon => kernel.run(neon::Neon {}),
        4 => kernel.run(portable::Baseline {}),
        _ => kernel.run(portable::Scalar {}),
    }
}

/// Lanes of the vectors that [`dispatch`] uses.
pub(super) fn lanes(simd: Simd, width: usize) -> usize {
    let widest = match simd {
        Simd::Avx512 => 16,
        Simd::Avx2 => 8,
        Simd::Neon | Simd::Portable => 4,
    };
    [16, 8, 4].into_iter().find(|&n| n <= widest && n <= width).unwrap_or(1)
}

/// # Safety
/// The machine must have AVX-512F.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx2,fma")]
unsafe fn with_avx512<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own condition.
    kernel.run(unsafe { Avx512::new() })
}

/// # Safety
/// The machine must have AVX2 and FMA.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
unsafe fn with_avx2<K: Kernel>(kernel: K) -> K::Output {
    // SAFETY: this function's own condition.
    kernel.run(unsafe { avx2::Avx2::new() })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every function on some vectors, as one list of numbers.
    struct Everything;

    impl Kernel for Everything {
        type Output = (usize, Vec<f32>);
        #[inline(always)]
        fn run<S: Isa>(self, s: S) -> (usize, Vec<f32>) {
            let a: Vec<f32> = (0..64).map(|i| ((i * 37) % 23) as f32 - 11.0).collect();
            let mut out = Vec::new();
            let mut put = |v: S::V| {
                let mut lanes = [0.0f32; 16];
                // SAFETY: 16 floats hold any vector.
                unsafe { s.store(lanes.as_mut_ptr(), v) };
                out.extend_from_slice(&lanes[..S::LANES]);
            };
            // SAFETY: `a` holds any vector at these places.
            let [x, y, z, w] = [0, 17, 20, 33].map(|at| unsafe { s.load(a[at..].as_ptr()) });
            put(s.add(x, y));
            put(s.sub(x, y));
            put(s.mul(x, y));
            put(s.fma(x, y, z));
            put(s.fnma(x, y, z));
            put(s.max(x, y));
            put(s.min(x, y));
            put(s.where_above(x, y, z));
            put(s.where_within(x, s.splat(5.0), z));
            put(s.where_within(s.splat(f32::NAN), s.splat(5.0), z));
            for (a, b) in [(0.0, f32::NAN), (f32::NAN, 0.0)] {
                put(s.max(s.splat(a), s.splat(b)));
                put(s.min(s.splat(a), s.splat(b)));
            }
            put(s.shift_up(x, 0.5));
            put(s.shift_down(x, 0.5));
            for bits in 0..1u32 << S::LANES.min(8) {
                let bits = (bits * 0x101) & ((1 << S::LANES) - 1);
                let lanes = s.select(bits);
                put(s.expand(x, lanes));
            }
            // Subsets appended one after the other, the last of them all lanes.
            let (mut row, mut number, mut rest) = ([0.0f32; 16 * 42], 0, y);
            for i in 0..40u32 {
                let all = (1 << S::LANES) - 1;
                let bits = if i < 39 {
                    i.wrapping_mul(0x9e37_79b9) >> (i % 16) & all
                } else {
                    all
                };
                let packer = s.packer(s.select(bits), s.packing(bits, number));
                // SAFETY: the row holds 40 vectors and one more.
                unsafe {
                    let v = s.load(a[i as usize..].as_ptr());
                    rest = s.append(packer, row.as_mut_ptr(), number, rest, v);
                }
                number += bits.count_ones() as usize;
            }
            // SAFETY: as above.
            unsafe { s.finish(row.as_mut_ptr(), number, rest) };
            out.extend_from_slice(&row[..number.next_multiple_of(S::LANES)]);
            out.extend(s.sums([x, y, z, w]));
            let square: Vec<f32> = (0..16 * 19).map(|i| i as f32).collect();
            let mut transposed = vec![0.0; 16 * 17];
            // SAFETY: 16 rows of each stride hold any square.
            unsafe { s.transpose(square.as_ptr(), 19, transposed.as_mut_ptr(), 17) };
            for (i, j) in (0..S::LANES).flat_map(|i| (0..S::LANES).map(move |j| (i, j))) {
                assert_eq!(transposed[j * 17 + i], square[i * 19 + j], "{i}, {j}");
            }
            out.extend(transposed);
            (S::LANES, out)
        }
    }

    #[test]
    fn instruction_sets_agree() {
        for simd in Simd::ALL.into_iter().filter(|simd| simd.available()) {
            let (lanes, found) = dispatch(simd, 64, Everything);
            let (_, expected) = match lanes {
                16 => Everything.run(portable::Portable::<16, 8, 3> {}),
                8 => Everything.run(portable::Portable::<8, 6, 2> {}),
                _ => Everything.run(portable::Portable::<4, 4, 2> {}),
            };
            // Small integers: exact, in whatever order they are added.
            let same = found
                .iter()
                .zip(&expected)
                .all(|(f, e)| f == e || f.is_nan() && e.is_nan());
            assert!(same && found.len() == expected.len(), "{simd}: {found:?}, {expected:?}");
        }
    }
}
