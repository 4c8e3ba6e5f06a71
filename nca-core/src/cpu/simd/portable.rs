//! Vectors as arrays, which the compiler turns into whatever the target's baseline offers.

use super::Isa;

/// Arrays of `N` floats, register tiles of `M` rows of `T` vectors.
#[derive(Clone, Copy)]
pub(in crate::cpu) struct Portable<const N: usize, const M: usize, const T: usize>;

/// Vectors that the baseline of most targets has, as SSE2.
pub(super) type Baseline = Portable<4, 4, 2>;
/// For rows narrower than that.
pub(super) type Scalar = Portable<1, 4, 2>;
/// The shape of NEON on machines without it.
#[cfg(test)]
pub(super) type Tall = Portable<4, 8, 3>;
/// The shape of AVX-512 on machines without it.
pub(in crate::cpu) type Wide = Portable<16, 8, 3>;

impl<const N: usize, const M: usize, const T: usize> Portable<N, M, T> {
    #[inline(always)]
    fn zip(a: [f32; N], b: [f32; N], f: impl Fn(f32, f32) -> f32) -> [f32; N] {
        std::array::from_fn(|i| f(a[i], b[i]))
    }
}

impl<const N: usize, const M: usize, const T: usize> Isa for Portable<N, M, T> {
    type V = [f32; N];
    type Select = u32;
    type Packing = ();
    type Packer = u32;
    const LANES: usize = N;
    const ROWS: usize = M;
    const VECTORS: usize = T;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; N] {
        [value; N]
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> [f32; N] {
        // SAFETY: the caller's condition.
        unsafe { from.cast::<[f32; N]>().read_unaligned() }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: [f32; N]) {
        // SAFETY: the caller's condition.
        unsafe { to.cast::<[f32; N]>().write_unaligned(v) }
    }
    #[inline(always)]
    fn add(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        Self::zip(a, b, |a, b| a + b)
    }
    #[inline(always)]
    fn sub(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        Self::zip(a, b, |a, b| a - b)
    }
    #[inline(always)]
    fn mul(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        Self::zip(a, b, |a, b| a * b)
    }
    #[inline(always)]
    fn fma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        // `mul_add` is one instruction on AArch64, but a call of a slow function on plain x86-64.
        if cfg!(target_arch = "aarch64") {
            std::array::from_fn(|i| a[i].mul_add(b[i], c[i]))
        } else {
            std::array::from_fn(|i| a[i] * b[i] + c[i])
        }
    }
    #[inline(always)]
    fn fnma(self, a: [f32; N], b: [f32; N], c: [f32; N]) -> [f32; N] {
        self.fma(a.map(|a| -a), b, c)
    }
    #[inline(always)]
    fn max(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        Self::zip(a, b, |a, b| if a > b { a } else { b })
    }
    #[inline(always)]
    fn min(self, a: [f32; N], b: [f32; N]) -> [f32; N] {
        Self::zip(a, b, |a, b| if a < b { a } else { b })
    }
    #[inline(always)]
    fn where_above(self, x: [f32; N], bound: [f32; N], v: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| if x[i] > bound[i] { v[i] } else { 0.0 })
    }
    #[inline(always)]
    fn where_within(self, x: [f32; N], bound: [f32; N], v: [f32; N]) -> [f32; N] {
        std::array::from_fn(|i| if x[i].abs() > bound[i] { 0.0 } else { v[i] })
    }
    #[inline(always)]
    fn shift_up(self, v: [f32; N], first: f32) -> [f32; N] {
        std::array::from_fn(|i| if i == 0 { first } else { v[i - 1] })
    }
    #[inline(always)]
    fn shift_down(self, v: [f32; N], last: f32) -> [f32; N] {
        std::array::from_fn(|i| if i + 1 == N { last } else { v[i + 1] })
    }
    #[inline(always)]
    fn select(self, bits: u32) -> u32 {
        bits
    }
    #[inline(always)]
    fn packing(self, _: u32, _: usize) {}
    #[inline(always)]
    fn packer(self, lanes: u32, (): ()) -> u32 {
        lanes
    }
    #[inline(always)]
    unsafe fn append(self, lanes: u32, to: *mut f32, number: usize, rest: [f32; N], v: [f32; N]) -> [f32; N] {
        let mut packed = v;
        let mut at = 0;
        for (i, &value) in v.iter().enumerate() {
            packed[at] = value;
            // Stays in bounds: at most `i` lanes came before lane `i`.
            at += usize::from(lanes >> i & 1 == 1 && i + 1 < N);
        }
        // SAFETY: the caller's condition.
        unsafe { self.store(to.add(number), packed) };
        rest
    }
    #[inline(always)]
    unsafe fn finish(self, to: *mut f32, number: usize, _: [f32; N]) {
        // SAFETY: the caller's condition.
        unsafe { self.store(to.add(number), [0.0; N]) };
    }
    #[inline(always)]
    fn expand(self, v: [f32; N], lanes: u32) -> [f32; N] {
        let mut at = 0;
        std::array::from_fn(|i| {
            if lanes >> i & 1 == 1 {
                at += 1;
                v[at - 1]
            } else {
                0.0
            }
        })
    }
    #[inline(always)]
    fn sums(self, v: [[f32; N]; 4]) -> [f32; 4] {
        v.map(|v| v.iter().sum())
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        for i in 0..N {
            for j in 0..N {
                // SAFETY: the caller's condition.
                unsafe { *to.add(j * to_stride + i) = *from.add(i * from_stride + j) };
            }
        }
    }
}
