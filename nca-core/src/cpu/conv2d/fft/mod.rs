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

/// Largest kernel of a window: one output remains in each direction.
pub(super) const LARGEST_KERNEL: usize = SIDE;

/// Cost of an input's product with a vector of outputs at all frequencies of a window, in multiply-adds of
/// vectors: as measured, half as much again as their number.
const PRODUCT_COST: usize = 6 * FREQUENCIES;
/// Cost of transforming a vector of windows there or back, as measured.
const WINDOW_COST: usize = 5650;
/// Cost of transforming a vector of filters, as measured.
const FILTER_COST: usize = 5500;

/// Cost of a convolution, or of the gradient of its weights, in multiply-adds of vectors.
pub(super) fn cost(work: Work) -> usize {
    let (inputs, outputs) = (work.inputs.div_ceil(work.lanes), work.outputs.div_ceil(work.lanes));
    let windows = Tiling::new(work.batch, work.kernel, work.out).count();
    let window = PRODUCT_COST * work.inputs * outputs + WINDOW_COST * (inputs + outputs);
    windows * window + FILTER_COST * work.inputs * outputs
}

/// Floats of the spectra of all filters.
pub(super) fn filter_floats(work: Work) -> usize {
    2 * FREQUENCIES * work.inputs * work.outputs.next_multiple_of(work.lanes)
}

/// How the outputs of a batch of images are dealt to windows.
#[derive(Clone, Copy)]
struct Tiling {
    kernel: usize,
    down: usize,
    across: usize,
    batch: usize,
}

impl Tiling {
    fn new(batch: usize, kernel: usize, out: (usize, usize)) -> Self {
        let step = SIDE + 1 - kernel;
        Self {
            kernel,
            down: out.0.div_ceil(step),
            across: out.1.div_ceil(step),
            batch,
        }
    }

    /// Outputs of a window in each direction.
    fn step(&self) -> usize {
        SIDE + 1 - self.kernel
    }

    /// Number of windows.
    fn count(&self) -> usize {
        self.batch * self.down * self.across
    }

    /// Sample and first output row and column of a window.
    fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (sample, tile) = (tile / (self.down * self.across), tile % (self.down * self.across));
        let (row, column) = (tile / self.across, tile % self.across);
        (sample, row * self.step(), column * self.step())
    }
}

/// Layout of the spectra of a matrix: for each frequency a matrix of complex numbers.
#[derive(Clone, Copy)]
struct Layout {
    /// Floats from row to row.
    row: usize,
    /// Floats from frequency to frequency.
    stride: usize,
}

impl Layout {
    /// `rows` rows of `channels` channels, which are vector lanes.
    fn new(lanes: usize, rows: usize, channels: usize) -> Self {
        let row = 2 * channels.next_multiple_of(lanes);
        // An odd number of cache lines, or the frequencies of a window would fall into a few sets.
        let lines = (rows * row).div_ceil(16) | 1;
        Self {
            row,
            stride: 16 * lines,
        }
    }

    /// Floats of all spectra, and what a product may read behind the last one: two blocks of 16 lanes.
    fn len(self) -> usize {
        FREQUENCIES * self.stride + 64
    }

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

#[cfg(test)]
mod tests {
    use super::super::super::{ConvAlgorithm, Cpu, Simd};
    use crate::backend::{Conv2d, ConvShape, Device};

    /// Forward, then both gradients.
    fn passes(cpu: &Cpu, shape: &ConvShape) -> Vec<f32> {
        let numbers = |len: usize, factor: usize| -> Vec<f32> {
            (0..len).map(|i| ((i * factor) % 23) as f32 / 11.0 - 1.0).collect()
        };
        let x = cpu.buffer(&numbers(shape.input_len(), 7)).unwrap();
        let weight = cpu.buffer(&numbers(shape.weight_len(), 5)).unwrap();
        let g_y = cpu.buffer(&numbers(shape.output_len(), 9)).unwrap();
        let mut y = cpu.zeros(shape.output_len()).unwrap();
        let mut g_x = cpu.zeros(shape.input_len()).unwrap();
        let mut g_weight = cpu.zeros(shape.weight_len()).unwrap();
        cpu.conv2d(shape, &x, &weight, None, &mut y).unwrap();
        cpu.conv2d_backward_input(shape, &weight, &g_y, &mut g_x).unwrap();
        cpu.conv2d_backward_weight(shape, &x, &g_y, &mut g_weight, None)
            .unwrap();
        [&y[..], &g_x[..], &g_weight[..]].concat()
    }

    /// Sixteen lanes, on arrays where the machine lacks them, against direct sums on four.
    #[test]
    fn wide_vectors_agree_with_direct_sums() {
        let direct = Cpu::builder().threads(1).simd(Simd::Portable);
        let direct = direct.conv(ConvAlgorithm::Direct).build().unwrap();
        let wide = Cpu::builder().threads(1).conv(ConvAlgorithm::Fft);
        let wide = wide.build_emulated(Simd::Avx512).unwrap();
        for (inputs, outputs, kernel) in [(3, 18, 7), (17, 2, 7), (32, 16, 3)] {
            let shape = ConvShape {
                batch: 2,
                inputs,
                outputs,
                height: 23,
                width: 20,
                kernel,
                padding: kernel / 2,
            };
            let (found, expected) = (passes(&wide, &shape), passes(&direct, &shape));
            // Sums of at most 1,000 products of numbers up to 1, on either side.
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(f, e)| (f - e).abs())
                .fold(0.0, f32::max);
            assert!(worst < 2e3 * f32::EPSILON, "{worst}, {shape:?}");
        }
    }
}
