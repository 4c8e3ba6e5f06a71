//! AMX: matrices of 16 rows of 64 bytes as registers.
//!
//! The compiler never uses these registers, so what they hold from one instruction to the next is ours; while a job runs,
//! only its own [`Unit::multiply`] uses them.

// Instructions that have no intrinsics.
#![allow(unsafe_code)]

use std::arch::asm;
use std::arch::x86_64::__m512;

use super::super::simd::Avx512;
use super::avx512::Avx512Bf16;
use super::product::{BLOCK, Left, Right, padded_pairs};
use super::unit::{Job, Unit};

/// Proof that the machine has AMX and AVX-512 BF16, and that the tiles are configured.
#[derive(Clone, Copy)]
struct Amx(Avx512Bf16);

/// Whether the processor has AMX for bf16 and the system lets this process use it.
pub(super) fn available() -> bool {
    use std::sync::OnceLock;
    static AVAILABLE: OnceLock<bool> = OnceLock::new();
    *AVAILABLE.get_or_init(|| has_instructions() && permitted())
}

/// Whether the processor has them, permitted or not.
pub(super) fn has_instructions() -> bool {
    const TILE: u32 = 1 << 24;
    const BF16: u32 = 1 << 22;
    // Leaf 7 exists where there is AVX-512.
    let features = std::arch::x86_64::__cpuid_count(7, 0).edx;
    features & TILE != 0 && features & BF16 != 0
}

/// Asks for the state that tiles add to a thread's context, once a process.
#[cfg(target_os = "linux")]
fn permitted() -> bool {
    /// `ARCH_REQ_XCOMP_PERM` and the number of the tiles' data (Linux 5.16, asm/prctl.h).
    const REQUEST: libc::c_long = 0x1023;
    const TILE_DATA: libc::c_long = 18;
    // SAFETY: the call reads no memory; where it is unknown it fails.
    unsafe { libc::syscall(libc::SYS_arch_prctl, REQUEST, TILE_DATA) == 0 }
}

#[cfg(not(target_os = "linux"))]
fn permitted() -> bool {
    false
}

/// The shapes of all tiles, as `ldtilecfg` reads them.
#[repr(C, align(64))]
struct Shapes {
    palette: u8,
    start_row: u8,
    reserved: [u8; 14],
    row_bytes: [u16; 16],
    rows: [u8; 16],
}

/// Eight tiles of 16 rows of 64 bytes.
static SHAPES: Shapes = Shapes {
    palette: 1,
    start_row: 0,
    reserved: [0; 14],
    row_bytes: [64, 64, 64, 64, 64, 64, 64, 64, 0, 0, 0, 0, 0, 0, 0, 0],
    rows: [16, 16, 16, 16, 16, 16, 16, 16, 0, 0, 0, 0, 0, 0, 0, 0],
};

/// Tiles in use on this thread; given back even if a job panics.
struct Configured;

impl Configured {
    /// # Safety
    /// The unit must be available.
    unsafe fn new() -> Self {
        // SAFETY: the caller's condition; the configuration is valid.
        unsafe { asm!("ldtilecfg [{}]", in(reg) &raw const SHAPES, options(nostack, preserves_flags, readonly)) };
        Self
    }
}

impl Drop for Configured {
    fn drop(&mut self) {
        // SAFETY: whoever made this had the unit.
        unsafe { asm!("tilerelease", options(nostack, preserves_flags, nomem)) };
    }
}

/// # Safety
/// The unit must be available.
#[target_feature(enable = "avx512f,avx512bw,avx512bf16,avx2,fma")]
pub(super) unsafe fn run<J: Job>(job: J) {
    // SAFETY: this function's own condition.
    unsafe {
        let _tiles = Configured::new();
        job.run(Amx(Avx512Bf16::new()));
    }
}

/// Rows of a tile.
const TILE: usize = 16;
/// Bytes from row to row of a square.
const BLOCK_BYTES: usize = BLOCK * size_of::<f32>();

macro_rules! clear {
    ($tile:literal) => {
        asm!(concat!("tilezero tmm", $tile), options(nostack, preserves_flags, nomem))
    };
}
macro_rules! load {
    ($tile:literal, $from:expr, $bytes:expr) => {
        asm!(
            concat!("tileloadd tmm", $tile, ", [{} + {}]"),
            in(reg) $from,
            in(reg) $bytes,
            options(nostack, preserves_flags, readonly)
        )
    };
}
macro_rules! store {
    ($tile:literal, $to:expr) => {
        asm!(
            concat!("tilestored [{} + {}], tmm", $tile),
            in(reg) $to,
            in(reg) BLOCK_BYTES,
            options(nostack, preserves_flags)
        )
    };
}
/// `c += a·b`
macro_rules! multiply {
    ($c:literal, $a:literal, $b:literal) => {
        asm!(
            concat!("tdpbf16ps tmm", $c, ", tmm", $a, ", tmm", $b),
            options(nostack, preserves_flags, nomem)
        )
    };
}

impl Unit for Amx {
    type S = Avx512;
    #[inline(always)]
    fn isa(self) -> Avx512 {
        self.0.isa()
    }
    #[inline(always)]
    fn pair(self, low: __m512, high: __m512) -> __m512 {
        self.0.pair(low, high)
    }
    #[inline(always)]
    fn narrow(self, a: __m512, b: __m512) -> __m512 {
        self.0.narrow(a, b)
    }
    #[inline(always)]
    fn where_positive(self, x: __m512, v: [__m512; 2]) -> [__m512; 2] {
        self.0.where_positive(x, v)
    }
    #[inline(always)]
    unsafe fn multiply(self, a: Left, rows: usize, pairs: usize, b: Right, vectors: usize, c: *mut f32) {
        // SAFETY: the caller's condition; tiles are configured, and nobody else uses them on this thread.
        unsafe {
            match (rows > TILE, vectors > 1) {
                (true, true) => multiply_tiles::<true, true>(a, pairs, b, c),
                (true, false) => multiply_tiles::<true, false>(a, pairs, b, c),
                (false, true) => multiply_tiles::<false, true>(a, pairs, b, c),
                (false, false) => multiply_tiles::<false, false>(a, pairs, b, c),
            }
        }
    }
}

/// One tile of `C`, or two, or four: tiles 0 to 3 are `C`, 4 and 5 of `A`, 6 and 7 of `B`.
#[inline(always)]
unsafe fn multiply_tiles<const TALL: bool, const WIDE: bool>(a: Left, pairs: usize, b: Right, c: *mut f32) {
    let (a_bytes, b_bytes) = (a.row * size_of::<f32>(), b.row * size_of::<f32>());
    // SAFETY: the caller's condition.
    unsafe {
        clear!("0");
        clear!("1");
        clear!("2");
        clear!("3");
        for number in 0..a.runs {
            for start in (0..padded_pairs(pairs)).step_by(TILE) {
                let b = b.at(number, start);
                load!("6", b, b_bytes);
                load!("4", a.at(0, number, start), a_bytes);
                multiply!("0", "4", "6");
                if WIDE {
                    load!("7", b.add(TILE), b_bytes);
                    multiply!("1", "4", "7");
                }
                if TALL {
                    load!("5", a.at(TILE, number, start), a_bytes);
                    multiply!("2", "5", "6");
                }
                if TALL && WIDE {
                    multiply!("3", "5", "7");
                }
            }
        }
        store!("0", c);
        if WIDE {
            store!("1", c.add(TILE));
        }
        if TALL {
            store!("2", c.add(TILE * BLOCK));
        }
        if TALL && WIDE {
            store!("3", c.add(TILE * BLOCK + TILE));
        }
    }
}
