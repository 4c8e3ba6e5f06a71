//! Convolution of tiles by Fourier transforms.
//!
//! The image is cut into windows of 16 × 16 that overlap by the kernel's side less one. In the
//! frequency domain a convolution is a product for each frequency, a matrix product over the channels:
//! for a 7 × 7 kernel a window yields 10 × 10 outputs for 4 multiplications at each of 130 frequencies
//! instead of 49 for each output, about a tenth. The windows are transformed with one channel a lane,
//! read from the image as it lies and transposed in registers.
//!
//! # Rounding
//! Everything a window computes carries the rounding errors of the whole window. With ‖·‖ the root of
//! the sum of squares over a window (16 × 16 inputs) or filter, an output differs from the exact one by
//! at most about
//!
//! `ε · (4·⌈log₂ 16²⌉ + I) · Σᵢ ‖xᵢ‖·‖wᵢ‖`, with ε = 2⁻²⁴:
//!
//! a transform of 2ᵐ numbers, here three of m = 8 in each path, keeps an error of at most a few ε a
//! radix-2 level relative to the norm (Higham, *Accuracy and Stability of Numerical Algorithms*, 24.1),
//! and the sum over channels adds one ε a channel. So the error is small beside the largest numbers near
//! an output, not beside its own terms: zeros amid large numbers come out as ε times those, and an
//! infinity or NaN spoils its whole window.

// Kernels on buffers whose lengths have been checked by the callers.
#![allow(unsafe_code)]

mod correlate;
mod dft;
mod gradient;
mod tile;
mod window;

use self::tile::{FREQUENCIES, SIDE, Spectrum};
use super::super::gemm::Complex;
use super::super::simd::Isa;
use super::Work;
use super::tiles::{Costs, Layout, Tiling};

/// Whether a window holds a kernel of this side.
pub(super) fn suits(kernel: usize) -> bool {
    kernel <= SIDE
}

/// As measured; a product costs half as much again as its multiply-adds.
const COSTS: Costs = Costs {
    product: 6 * FREQUENCIES,
    tile: 5650,
    filter: 5500,
};

/// Cost of a convolution, or of the gradient of its weights, in multiply-adds of vectors.
pub(super) fn cost(work: Work) -> usize {
    COSTS.of(tiling(work.batch, work.kernel, work.out).count(), work)
}

/// Floats of the spectra of all filters.
pub(super) fn filter_floats(work: Work) -> usize {
    2 * FREQUENCIES * work.inputs * work.outputs.next_multiple_of(work.lanes)
}

/// The windows of a batch of images.
fn tiling(batch: usize, kernel: usize, out: (usize, usize)) -> Tiling {
    Tiling::new(batch, SIDE + 1 - kernel, out)
}

/// Spectra of `rows` × `channels`, the channels in vectors of `lanes`: real parts, then imaginary ones.
fn spectra(lanes: usize, rows: usize, channels: usize) -> Layout {
    // What a product may read behind the last element: two blocks of 16 lanes.
    Layout::new(FREQUENCIES, rows, 2 * channels.next_multiple_of(lanes), 64)
}

impl Layout {
    /// The spectra of a block of channels in a row.
    ///
    /// # Safety
    /// `start` must be valid for [`Layout::len`] floats, and the row and block be there.
    #[inline(always)]
    unsafe fn spectrum<S: Isa>(self, start: *mut f32, row: usize, block: usize) -> Spectrum {
        // SAFETY: the caller's condition.
        unsafe {
            let re = start.add(row * self.row + block * 2 * S::LANES);
            Spectrum {
                re,
                im: re.add(S::LANES),
                stride: self.stride,
            }
        }
    }

    /// The matrix of a frequency.
    ///
    /// # Safety
    /// As in [`Layout::spectrum`].
    #[inline(always)]
    unsafe fn matrix(self, start: *mut f32, frequency: usize) -> Complex {
        Complex {
            // SAFETY: the caller's condition.
            start: unsafe { start.add(frequency * self.stride) },
            row: self.row,
        }
    }
}
