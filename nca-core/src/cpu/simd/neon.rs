//! NEON: 4 lanes, 32 registers.

use std::arch::aarch64::{
    float32x4_t, uint8x16_t, vabsq_f32, vaddq_f32, vandq_u32, vbicq_u32, vbslq_f32, vcgtq_f32, vcltq_f32, vdupq_n_f32,
    vextq_f32, vfmaq_f32, vfmsq_f32, vld1q_f32, vld1q_u8, vmulq_f32, vpaddq_f32, vqtbl1q_u8, vreinterpretq_f32_f64,
    vreinterpretq_f32_u8, vreinterpretq_f32_u32, vreinterpretq_f64_f32, vreinterpretq_u8_f32, vreinterpretq_u32_f32,
    vst1q_f32, vsubq_f32, vtrn1q_f32, vtrn2q_f32, vzip1q_f64, vzip2q_f64,
};

use super::Isa;

/// Every AArch64 target that Rust's standard library supports has NEON.
#[derive(Clone, Copy)]
pub(super) struct Neon;

/// Permutations that pack and spread the lanes of a bit set.
#[derive(Clone, Copy)]
pub(super) struct Select {
    /// Source byte of each byte of the packed lanes.
    pack: uint8x16_t,
    /// Source byte of each byte of the spread lanes; outside the set one that does not exist, for which the
    /// permutation yields 0.
    spread: uint8x16_t,
}

/// [`Select`] of every set of 4 lanes.
static SELECTS: [[[u8; 16]; 2]; 16] = selects();

const fn selects() -> [[[u8; 16]; 2]; 16] {
    let mut table = [[[0; 16], [u8::MAX; 16]]; 16];
    let mut bits = 0;
    while bits < 16 {
        let (mut lane, mut packed) = (0, 0);
        while lane < 4 {
            if bits >> lane & 1 == 1 {
                let mut byte = 0;
                while byte < 4 {
                    table[bits][0][4 * packed + byte] = (4 * lane + byte) as u8;
                    table[bits][1][4 * lane + byte] = (4 * packed + byte) as u8;
                    byte += 1;
                }
                packed += 1;
            }
            lane += 1;
        }
        bits += 1;
    }
    table
}

/// The bytes of `v` that `source` names.
#[inline(always)]
fn permuted(v: float32x4_t, source: uint8x16_t) -> float32x4_t {
    // SAFETY: NEON is part of the target.
    unsafe { vreinterpretq_f32_u8(vqtbl1q_u8(vreinterpretq_u8_f32(v), source)) }
}

// SAFETY of every intrinsic below: NEON is part of the target; pointers are the caller's condition.
impl Isa for Neon {
    type V = float32x4_t;
    type Select = Select;
    type Packing = ();
    type Packer = uint8x16_t;
    const LANES: usize = 4;
    /// 8×3 accumulators, 3 vectors and a few weights, each of which is a lane of a register of its own, fill the 32
    /// registers.
    const ROWS: usize = 8;
    const VECTORS: usize = 3;

    #[inline(always)]
    fn splat(self, value: f32) -> float32x4_t {
        unsafe { vdupq_n_f32(value) }
    }
    #[inline(always)]
    unsafe fn load(self, from: *const f32) -> float32x4_t {
        unsafe { vld1q_f32(from) }
    }
    #[inline(always)]
    unsafe fn store(self, to: *mut f32, v: float32x4_t) {
        unsafe { vst1q_f32(to, v) }
    }
    #[inline(always)]
    fn add(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vaddq_f32(a, b) }
    }
    #[inline(always)]
    fn sub(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vsubq_f32(a, b) }
    }
    #[inline(always)]
    fn mul(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vmulq_f32(a, b) }
    }
    #[inline(always)]
    fn fma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmaq_f32(c, a, b) }
    }
    #[inline(always)]
    fn fnma(self, a: float32x4_t, b: float32x4_t, c: float32x4_t) -> float32x4_t {
        unsafe { vfmsq_f32(c, a, b) }
    }
    /// Not `vmaxq_f32`, which is NaN where either is.
    #[inline(always)]
    fn max(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcgtq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn min(self, a: float32x4_t, b: float32x4_t) -> float32x4_t {
        unsafe { vbslq_f32(vcltq_f32(a, b), a, b) }
    }
    #[inline(always)]
    fn where_above(self, x: float32x4_t, bound: float32x4_t, v: float32x4_t) -> float32x4_t {
        unsafe { vreinterpretq_f32_u32(vandq_u32(vcgtq_f32(x, bound), vreinterpretq_u32_f32(v))) }
    }
    #[inline(always)]
    fn where_within(self, x: float32x4_t, bound: float32x4_t, v: float32x4_t) -> float32x4_t {
        unsafe {
            let beyond = vcgtq_f32(vabsq_f32(x), bound);
            vreinterpretq_f32_u32(vbicq_u32(vreinterpretq_u32_f32(v), beyond))
        }
    }
    #[inline(always)]
    fn shift_up(self, v: float32x4_t, first: f32) -> float32x4_t {
        unsafe { vextq_f32::<3>(vdupq_n_f32(first), v) }
    }
    #[inline(always)]
    fn shift_down(self, v: float32x4_t, last: f32) -> float32x4_t {
        unsafe { vextq_f32::<1>(v, vdupq_n_f32(last)) }
    }
    #[inline(always)]
    fn select(self, bits: u32) -> Select {
        let [pack, spread] = &SELECTS[bits as usize & 0xf];
        unsafe {
            Select {
                pack: vld1q_u8(pack.as_ptr()),
                spread: vld1q_u8(spread.as_ptr()),
            }
        }
    }
    #[inline(always)]
    fn packing(self, _: u32, _: usize) {}
    #[inline(always)]
    fn packer(self, lanes: Select, (): ()) -> uint8x16_t {
        lanes.pack
    }
    #[inline(always)]
    unsafe fn append(
        self,
        pack: uint8x16_t,
        to: *mut f32,
        number: usize,
        rest: float32x4_t,
        v: float32x4_t,
    ) -> float32x4_t {
        unsafe { vst1q_f32(to.add(number), permuted(v, pack)) };
        rest
    }
    #[inline(always)]
    unsafe fn finish(self, to: *mut f32, number: usize, _: float32x4_t) {
        unsafe { vst1q_f32(to.add(number), vdupq_n_f32(0.0)) };
    }
    #[inline(always)]
    fn expand(self, v: float32x4_t, lanes: Select) -> float32x4_t {
        permuted(v, lanes.spread)
    }
    #[inline(always)]
    fn sums(self, [a, b, c, d]: [float32x4_t; 4]) -> [f32; 4] {
        let mut out = [0.0; 4];
        unsafe { vst1q_f32(out.as_mut_ptr(), vpaddq_f32(vpaddq_f32(a, b), vpaddq_f32(c, d))) };
        out
    }
    #[inline(always)]
    unsafe fn transpose(self, from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
        unsafe {
            let [a, b, c, d] = [0, 1, 2, 3].map(|i| vld1q_f32(from.add(i * from_stride)));
            // Columns 0 and 2, then 1 and 3, of two rows; then of all four.
            let [even, odd] = [vtrn1q_f32(a, b), vtrn2q_f32(a, b)].map(|v| vreinterpretq_f64_f32(v));
            let [even2, odd2] = [vtrn1q_f32(c, d), vtrn2q_f32(c, d)].map(|v| vreinterpretq_f64_f32(v));
            vst1q_f32(to, vreinterpretq_f32_f64(vzip1q_f64(even, even2)));
            vst1q_f32(to.add(to_stride), vreinterpretq_f32_f64(vzip1q_f64(odd, odd2)));
            vst1q_f32(to.add(2 * to_stride), vreinterpretq_f32_f64(vzip2q_f64(even, even2)));
            vst1q_f32(to.add(3 * to_stride), vreinterpretq_f32_f64(vzip2q_f64(odd, odd2)));
        }
    }
}
