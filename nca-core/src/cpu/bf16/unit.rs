//! The operations on bf16 that an instruction set must have.

// Products of tiles in scratch memory.
#![allow(unsafe_code)]

use super::super::simd::Isa;
use super::Bf16Unit;
use super::portable::Portable;
use super::product::{BLOCK, Left, Right};

/// Vector of a unit: 16 floats, 16 pairs or 32 numbers.
pub(in crate::cpu) type Vector<U> = <<U as Unit>::S as Isa>::V;

/// What multiplies bf16, with vectors of sixteen lanes.
pub(in crate::cpu) trait Unit: Copy {
    /// The instruction set of its f32.
    type S: Isa;
    /// Proof that the machine has that.
    fn isa(self) -> Self::S;
    /// Pairs of two vectors of f32, rounded to nearest, ties to even: `low` in the lower halves.
    fn pair(self, low: Vector<Self>, high: Vector<Self>) -> Vector<Self>;
    /// 32 numbers one after the other: `a`, then `b`, rounded as by [`Unit::pair`].
    fn narrow(self, a: Vector<Self>, b: Vector<Self>) -> Vector<Self>;
    /// `v` where the 32 numbers `x` are above 0, else 0. (Rounding keeps signs; what rounds to 0 counts as 0.)
    fn where_positive(self, x: Vector<Self>, v: [Vector<Self>; 2]) -> [Vector<Self>; 2];
    /// `C = A·B` for the first `rows ≤ 32` rows of `A` and the first `vectors ≤ 2` vectors of columns of `B`, summed over
    /// `pairs` pairs of each run; behind these, up to [`padded_pairs`](super::product::padded_pairs), one of the operands must
    /// hold zeros and the other finite numbers. A row of `A`, or a column of `B`, that holds others spoils itself alone.
    /// `c` has [`BLOCK`] floats a row; written are `vectors` vectors of `rows` rows and of those that fill up a tile of 16.
    ///
    /// # Safety
    /// `A` must be valid for whole tiles of 16 rows, `B` for the padded pairs, and `c` for what is written.
    unsafe fn multiply(self, a: Left, rows: usize, pairs: usize, b: Right, vectors: usize, c: *mut f32);
}

/// Work compiled once for each unit, on the calling thread.
pub(in crate::cpu) trait Job {
    /// Does it; must be `#[inline(always)]`, as all it calls, and must neither wait for other threads nor [`dispatch`]
    /// another job: a unit may have state of the thread's.
    fn run<U: Unit>(self, u: U);
}

/// Runs `job` on `unit`, which must be available.
pub(in crate::cpu) fn dispatch<J: Job>(unit: Bf16Unit, job: J) {
    match unit {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: a `Cpu` is only built for a unit that is available.
        Bf16Unit::Amx => unsafe { super::amx::run(job) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Bf16Unit::Avx512 => unsafe { super::avx512::run(job) },
        #[cfg(not(target_arch = "x86_64"))]
        Bf16Unit::Amx | Bf16Unit::Avx512 => unreachable!("not available here"),
        Bf16Unit::Portable => job.run(Portable),
    }
}

/// A unit that multiplies two vectors of pairs.
pub(super) trait Dots: Unit {
    /// `c` and the products of both numbers of each pair.
    fn dot(self, a: Vector<Self>, b: Vector<Self>, c: Vector<Self>) -> Vector<Self>;
}

/// Rows of the register tile of [`multiply_by_dots`].
const ROWS: usize = 8;

/// [`Unit::multiply`] in vectors.
///
/// # Safety
/// As there.
#[inline(always)]
pub(super) unsafe fn multiply_by_dots<U: Dots>(
    u: U,
    a: Left,
    rows: usize,
    pairs: usize,
    b: Right,
    vectors: usize,
    c: *mut f32,
) {
    // SAFETY: the caller's condition.
    unsafe {
        if vectors == 1 {
            dots_of::<U, 1>(u, a, rows, pairs, b, c);
        } else {
            dots_of::<U, 2>(u, a, rows, pairs, b, c);
        }
    }
}

#[expect(clippy::needless_range_loop)] // Constant bounds unroll, so that the tile stays in registers.
#[inline(always)]
unsafe fn dots_of<U: Dots, const N: usize>(u: U, a: Left, rows: usize, pairs: usize, b: Right, c: *mut f32) {
    let s = u.isa();
    for first in (0..rows).step_by(ROWS) {
        // SAFETY: the caller's condition; `ROWS` divides the rows of a tile.
        unsafe {
            let mut sums = [[s.splat(0.0); N]; ROWS];
            for run in 0..a.runs {
                for start in (0..pairs).step_by(16) {
                    let weights = a.at(first, run, start);
                    for pair in 0..16.min(pairs - start) {
                        let mut columns = [s.splat(0.0); N];
                        for v in 0..N {
                            columns[v] = s.load(b.at(run, start + pair).add(16 * v));
                        }
                        for r in 0..ROWS {
                            let weight = s.splat(*weights.add(r * a.row + pair));
                            for v in 0..N {
                                sums[r][v] = u.dot(weight, columns[v], sums[r][v]);
                            }
                        }
                    }
                }
            }
            for r in 0..ROWS {
                for v in 0..N {
                    s.store(c.add((first + r) * BLOCK + 16 * v), sums[r][v]);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every conversion of every unit on numbers that must be rounded, as bits.
    struct Conversions<'a>(&'a mut Vec<u32>);

    impl Job for Conversions<'_> {
        #[inline(always)]
        fn run<U: Unit>(self, u: U) {
            let s = u.isa();
            let mut values: Vec<f32> = (0..60).map(|i| (i as f32 * 0.7).sin() * 1.5_f32.powi(i - 30)).collect();
            // Ties, to even; what is no number, and what is none in bf16.
            values.extend([
                1.0 + 0.5_f32.powi(8),
                1.0 + 3.0 * 0.5_f32.powi(8),
                f32::INFINITY,
                f32::NEG_INFINITY,
                0.0,
                -0.0,
                f32::MAX,
                f32::NAN,
            ]);
            // SAFETY: three vectors lie within the values at these places.
            let [a, b, c] = [0, 36, 52].map(|at| unsafe { s.load(values[at..].as_ptr()) });
            let positive = u.where_positive(u.narrow(b, c), [a, b]);
            for v in [u.pair(a, b), u.pair(b, c), u.narrow(a, b), positive[0], positive[1]] {
                let mut bits = [0.0_f32; 16];
                // SAFETY: sixteen floats are a vector.
                unsafe { s.store(bits.as_mut_ptr(), v) };
                self.0.extend(bits.map(f32::to_bits));
            }
        }
    }

    #[test]
    fn units_round_alike() {
        let bits = |unit| {
            let mut bits = Vec::new();
            dispatch(unit, Conversions(&mut bits));
            bits
        };
        let expected = bits(Bf16Unit::Portable);
        for unit in Bf16Unit::ALL.into_iter().filter(|unit| unit.available()) {
            assert_eq!(bits(unit), expected, "{unit}");
        }
        // 1 + 2⁻⁸ and 1 + 3·2⁻⁸, in lanes 8 and 9 of `c`, the upper halves of the second vector.
        assert_eq!([expected[16 + 8] >> 16, expected[16 + 9] >> 16], [0x3f80, 0x3f82]);
    }
}
