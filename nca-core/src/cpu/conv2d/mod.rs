//! Convolution: directly, or tile by tile by Fourier transforms or Winograd's algorithm where that is cheaper; directly
//! with factors in bf16, where that is the precision and cheaper still.

mod bf16;
mod direct;
mod fft;
mod flat;
mod image;
mod tiles;
mod winograd;

use std::ops::Range;

use rayon::prelude::*;

use self::image::Image;
use super::arena::Shared;
use super::gemm::Panels;
use super::simd::lanes;
use super::{Bf16Unit, Buffer, ConvAlgorithm, Cpu};
use crate::backend::{Conv2d, ConvShape};
use crate::error::{Result, check_len};

impl Conv2d for Cpu {
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        weight: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        shape.validate()?;
        check_len("conv2d", "x", x.len(), shape.input_len())?;
        check_len("conv2d", "weight", weight.len(), shape.weight_len())?;
        check_len("conv2d", "y", y.len(), shape.output_len())?;
        if let Some(bias) = bias {
            check_len("conv2d", "bias", bias.len(), shape.outputs)?;
        }
        let filters = Filters {
            weight,
            kernel: shape.kernel,
            inputs: shape.inputs,
            outputs: shape.outputs,
            adjoint: false,
        };
        self.correlate(shape, x, filters, bias.map(|bias| &bias[..]), y)
    }

    fn conv2d_backward_input(&self, shape: &ConvShape, weight: &Buffer, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("conv2d_backward_input", "weight", weight.len(), shape.weight_len())?;
        check_len("conv2d_backward_input", "g_y", g_y.len(), shape.output_len())?;
        check_len("conv2d_backward_input", "g_x", g_x.len(), shape.input_len())?;
        let filters = Filters {
            weight,
            kernel: shape.kernel,
            inputs: shape.outputs,
            outputs: shape.inputs,
            adjoint: true,
        };
        self.correlate(shape, g_y, filters, None, g_x)
    }

    fn conv2d_backward_weight(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        g_y: &Buffer,
        g_weight: &mut Buffer,
        g_bias: Option<&mut Buffer>,
    ) -> Result<()> {
        shape.validate()?;
        check_len("conv2d_backward_weight", "x", x.len(), shape.input_len())?;
        check_len("conv2d_backward_weight", "g_y", g_y.len(), shape.output_len())?;
        check_len("conv2d_backward_weight", "g_weight", g_weight.len(), shape.weight_len())?;
        if let Some(g_bias) = g_bias {
            check_len("conv2d_backward_weight", "g_bias", g_bias.len(), shape.outputs)?;
            let plane = (shape.out_height() * shape.out_width()).max(1);
            self.install(|| {
                g_bias.par_iter_mut().enumerate().for_each(|(output, g_bias)| {
                    let planes = g_y.chunks_exact(plane).skip(output).step_by(shape.outputs);
                    *g_bias += planes.flatten().map(|&g| f64::from(g)).sum::<f64>() as f32;
                });
            });
        }
        if g_weight.is_empty() || g_y.is_empty() {
            return Ok(());
        }
        let work = Work {
            batch: shape.batch,
            kernel: shape.kernel,
            inputs: shape.inputs,
            outputs: shape.outputs,
            out: (shape.out_height(), shape.out_width()),
            lanes: lanes(self.simd, usize::MAX),
        };
        match self.gradient_algorithm(work) {
            Algorithm::Bf16(unit) => self.weight_gradient_bf16(unit, work, shape, x, g_y, g_weight),
            Algorithm::Fft => self.weight_gradient_fft(shape, x, g_y, g_weight),
            Algorithm::Direct | Algorithm::Winograd => self.weight_gradient_direct(shape, x, g_y, g_weight),
        }
    }
}

/// The filters of a convolution, or of the one that takes gradients of its outputs to its inputs.
#[derive(Clone, Copy)]
struct Filters<'a> {
    /// `[O,I,k,k]` of the convolution.
    weight: &'a [f32],
    kernel: usize,
    /// Channels that the filters are applied to: I, of the adjoint O.
    inputs: usize,
    /// Channels that come out: O, of the adjoint I.
    outputs: usize,
    /// Whether to apply the adjoint, whose filters are mirrored.
    adjoint: bool,
}

impl<'a> Filters<'a> {
    /// The weights from `input` to `output`, as they lie (of the adjoint: mirrored).
    fn taps(self, output: usize, input: usize) -> &'a [f32] {
        let filter = if self.adjoint {
            input * self.outputs + output
        } else {
            output * self.inputs + input
        };
        let taps = self.kernel * self.kernel;
        &self.weight[filter * taps..][..taps]
    }

    /// Packs the weights from `inputs` to the rows of `panels`, which are the outputs from `first` on, as
    /// [`Panels::pack`] does.
    fn pack(self, panels: Panels, first: usize, inputs: Range<usize>, packed: &mut [f32]) {
        let taps = self.kernel * self.kernel;
        let depth = inputs.len() * taps;
        for (start, height) in panels.list() {
            let panel = &mut packed[start * depth..][..height * depth];
            for row in 0..height {
                let output = start + row;
                if output >= panels.rows() {
                    panel.iter_mut().skip(row).step_by(height).for_each(|v| *v = 0.0);
                    continue;
                }
                for (input, columns) in inputs.clone().zip(panel.chunks_exact_mut(taps * height)) {
                    let taps = self.taps(first + output, input);
                    let column = columns.iter_mut().skip(row).step_by(height);
                    if self.adjoint {
                        column.zip(taps.iter().rev()).for_each(|(v, &w)| *v = w);
                    } else {
                        column.zip(taps).for_each(|(v, &w)| *v = w);
                    }
                }
            }
        }
    }
}

/// A convolution of a batch of images with filters: `y[b, r] = bias[r] + Σ_k x[b, k] ⋆ filter(r, k)`.
#[derive(Clone, Copy)]
struct Correlation<'a> {
    batch: usize,
    x: &'a [f32],
    /// Rows and columns of the images.
    source: (usize, usize),
    /// Zeros above and left of the images; cropped where negative.
    margin: isize,
    filters: Filters<'a>,
    bias: Option<&'a [f32]>,
    /// Valid for all results.
    y: Shared<f32>,
    /// Rows and columns of the results.
    out: (usize, usize),
}

/// What the cost of an algorithm depends on.
#[derive(Clone, Copy)]
struct Work {
    batch: usize,
    kernel: usize,
    /// Channels that the filters are applied to.
    inputs: usize,
    /// Channels that come out.
    outputs: usize,
    /// Rows and columns that come out.
    out: (usize, usize),
    /// Floats in a vector.
    lanes: usize,
}

/// What computes a convolution.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Algorithm {
    Direct,
    Bf16(Bf16Unit),
    Fft,
    Winograd,
}

/// Spectra of filters that are worth their memory: 64 MiB.
const MOST_FILTER_FLOATS: usize = 16 << 20;

impl Cpu {
    fn correlate(
        &self,
        shape: &ConvShape,
        x: &[f32],
        filters: Filters<'_>,
        bias: Option<&[f32]>,
        y: &mut [f32],
    ) -> Result<()> {
        if y.is_empty() {
            return Ok(());
        }
        let (inner, outer) = ((shape.height, shape.width), (shape.out_height(), shape.out_width()));
        let padding = shape.padding as isize;
        let (source, margin, out) = if filters.adjoint {
            (outer, shape.kernel as isize - 1 - padding, inner)
        } else {
            (inner, padding, outer)
        };
        let work = Work {
            batch: shape.batch,
            kernel: shape.kernel,
            inputs: filters.inputs,
            outputs: filters.outputs,
            out,
            lanes: lanes(self.simd, usize::MAX),
        };
        let correlation = Correlation {
            batch: shape.batch,
            x,
            source,
            margin,
            filters,
            bias,
            y: Shared(y.as_mut_ptr()),
            out,
        };
        match self.algorithm(work) {
            Algorithm::Bf16(unit) => self.correlate_bf16(unit, correlation),
            Algorithm::Fft => self.correlate_fft(correlation),
            Algorithm::Winograd => self.correlate_winograd(correlation),
            Algorithm::Direct if flat::suits(work) => self.correlate_flat(correlation),
            Algorithm::Direct => {
                let image = Image::new(shape.batch, filters.inputs, source, margin, out, shape.kernel);
                self.correlate_direct(&image, x, filters, bias, y)
            }
        }
    }

    /// How to convolve.
    fn algorithm(&self, work: Work) -> Algorithm {
        let (by_fft, by_winograd) = (fft::suits(work.kernel), winograd::suits(work.kernel));
        match self.conv {
            ConvAlgorithm::Fft if by_fft => Algorithm::Fft,
            ConvAlgorithm::Winograd if by_winograd => Algorithm::Winograd,
            ConvAlgorithm::Fft | ConvAlgorithm::Winograd => Algorithm::Direct,
            ConvAlgorithm::Direct => self.bf16.map_or(Algorithm::Direct, Algorithm::Bf16),
            ConvAlgorithm::Auto => {
                let direct = if flat::suits(work) {
                    flat::cost(work)
                } else {
                    direct::cost(work)
                };
                let mut best = (direct, Algorithm::Direct);
                let by_fft = by_fft && fft::filter_floats(work) <= MOST_FILTER_FLOATS;
                if by_fft && fft::cost(work) < best.0 {
                    best = (fft::cost(work), Algorithm::Fft);
                }
                if by_winograd && winograd::is_accurate(work) && winograd::cost(work) < best.0 {
                    best = (winograd::cost(work), Algorithm::Winograd);
                }
                if let Some(unit) = self.bf16
                    && bf16::cost(unit, work) < best.0
                {
                    best = (bf16::cost(unit, work), Algorithm::Bf16(unit));
                }
                best.1
            }
        }
    }

    /// How to compute the gradient of the weights.
    fn gradient_algorithm(&self, work: Work) -> Algorithm {
        let by_fft = fft::suits(work.kernel);
        let bf16 = self.bf16.filter(|_| bf16::gradient::suits(work));
        match self.conv {
            ConvAlgorithm::Fft if by_fft => Algorithm::Fft,
            ConvAlgorithm::Fft | ConvAlgorithm::Winograd => Algorithm::Direct,
            ConvAlgorithm::Direct => bf16.map_or(Algorithm::Direct, Algorithm::Bf16),
            ConvAlgorithm::Auto => {
                let mut best = (direct::gradient_cost(work), Algorithm::Direct);
                let by_fft = by_fft && fft::filter_floats(work) <= MOST_FILTER_FLOATS;
                if by_fft && fft::cost(work) < best.0 {
                    best = (fft::cost(work), Algorithm::Fft);
                }
                if let Some(unit) = bf16
                    && bf16::gradient::cost(unit, work) < best.0
                {
                    best.1 = Algorithm::Bf16(unit);
                }
                best.1
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::bf16::Bf16Unit;
    use super::super::{ConvAlgorithm, Cpu, Simd};
    use super::Algorithm::{self, Bf16, Direct, Fft, Winograd};
    use super::Work;
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

    /// What is chosen by itself, for the image and for the filters' gradient, where measurements say which is faster
    /// (PERFORMANCE.md): no test of results would see it if an algorithm were never taken.
    #[test]
    fn the_faster_algorithm_is_chosen() {
        let mut cpu = Cpu::builder().threads(1).conv(ConvAlgorithm::Auto).build().unwrap();
        let mut chosen = |unit: Option<Bf16Unit>, kernel, inputs, outputs, side| -> [Algorithm; 2] {
            let work = Work {
                batch: 1,
                kernel,
                inputs,
                outputs,
                out: (side, side),
                lanes: 16,
            };
            // Only asked, not used: any processor can.
            cpu.bf16 = unit;
            [cpu.algorithm(work), cpu.gradient_algorithm(work)]
        };
        let amx = Bf16Unit::Amx;
        for (kernel, inputs, outputs, side, f32, bf16) in [
            // Layers of the published SpyNet,
            (7, 8, 32, 64, [Fft, Fft], [Bf16(amx), Bf16(amx)]),
            (7, 32, 64, 64, [Fft, Fft], [Bf16(amx), Bf16(amx)]),
            (7, 64, 32, 32, [Fft, Fft], [Bf16(amx), Bf16(amx)]),
            // and of VGG.
            (3, 64, 64, 64, [Winograd, Fft], [Bf16(amx), Bf16(amx)]),
            (3, 512, 512, 16, [Winograd, Direct], [Bf16(amx), Bf16(amx)]),
            (3, 8, 24, 64, [Direct, Direct], [Bf16(amx), Bf16(amx)]),
        ] {
            let layer = format!("{inputs}→{outputs}, {kernel}×{kernel}, {side}²");
            assert_eq!(chosen(None, kernel, inputs, outputs, side), f32, "{layer}");
            assert_eq!(chosen(Some(amx), kernel, inputs, outputs, side), bf16, "{layer}, bf16");
        }
    }

    /// The lanes and the register tile of each instruction set, if need be on arrays, against direct sums on the
    /// baseline's.
    #[test]
    fn wide_tiles_agree_with_direct_sums() {
        let direct = Cpu::builder().threads(1).simd(Simd::Portable);
        let direct = direct.conv(ConvAlgorithm::Direct).build().unwrap();
        let small = (23, 20);
        let cases = [
            // Images as one row, and row by row.
            (ConvAlgorithm::Direct, small, 2, 3, 18, 7),
            (ConvAlgorithm::Direct, (17, 84), 1, 4, 13, 3),
            (ConvAlgorithm::Fft, small, 2, 3, 18, 7),
            (ConvAlgorithm::Fft, small, 2, 17, 2, 7),
            (ConvAlgorithm::Fft, small, 2, 32, 16, 3),
            (ConvAlgorithm::Winograd, small, 2, 32, 17, 3),
            (ConvAlgorithm::Winograd, small, 2, 5, 48, 3),
            // By outputs both ways, and by tiles.
            (ConvAlgorithm::Winograd, small, 2, 70, 100, 3),
            (ConvAlgorithm::Winograd, small, 4, 35, 40, 3),
        ];
        let all = cases
            .iter()
            .flat_map(|&case| Simd::emulated().map(move |simd| (case, simd)));
        for ((conv, (height, width), batch, inputs, outputs, kernel), simd) in all {
            let wide = Cpu::builder().threads(1).conv(conv);
            let wide = wide.build_emulated(simd).unwrap();
            let shape = ConvShape {
                batch,
                inputs,
                outputs,
                height,
                width,
                kernel,
                padding: kernel / 2,
            };
            let (found, expected) = (passes(&wide, &shape), passes(&direct, &shape));
            // Sums of at most 1,900 products of numbers up to 1, on either side.
            let worst = found
                .iter()
                .zip(&expected)
                .map(|(f, e)| (f - e).abs())
                .fold(0.0, f32::max);
            assert!(worst < 2e3 * f32::EPSILON, "{conv}, {simd}: {worst}, {shape:?}");
        }
    }
}
