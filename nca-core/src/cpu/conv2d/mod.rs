//! Convolution: directly, or of tiles by Fourier transforms where that is cheaper.

mod direct;
mod fft;

use rayon::prelude::*;

use self::direct::Image;
use super::simd::lanes;
use super::{Buffer, ConvAlgorithm, Cpu};
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
        self.correlate(shape, x, filters, bias.map(|bias| &bias[..]), y);
        Ok(())
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
        self.correlate(shape, g_y, filters, None, g_x);
        Ok(())
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
        if self.by_fft(work, direct::gradient_cost(work)) {
            self.weight_gradient_fft(shape, x, g_y, g_weight);
        } else {
            self.weight_gradient_direct(shape, x, g_y, g_weight);
        }
        Ok(())
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

    /// Weight `k`, of all inputs and taps, of `output`.
    fn value(self, output: usize, k: usize) -> f32 {
        let taps = self.kernel * self.kernel;
        let (input, tap) = (k / taps, k % taps);
        let tap = if self.adjoint { taps - 1 - tap } else { tap };
        self.taps(output, input)[tap]
    }
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

/// Spectra of filters that are worth their memory: 64 MiB.
const MOST_FILTER_FLOATS: usize = 16 << 20;

impl Cpu {
    fn correlate(&self, shape: &ConvShape, x: &[f32], filters: Filters<'_>, bias: Option<&[f32]>, y: &mut [f32]) {
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
        if self.by_fft(work, direct::cost(work)) {
            self.correlate_fft(shape.batch, x, source, margin, filters, bias, out, y);
        } else {
            let image = Image::new(shape.batch, filters.inputs, source, margin, out, shape.kernel);
            self.correlate_direct(&image, x, filters, bias, y);
        }
    }

    /// Whether to go by Fourier transforms where the direct way costs `direct`.
    fn by_fft(&self, work: Work, direct: usize) -> bool {
        work.kernel <= fft::LARGEST_KERNEL
            && match self.conv {
                ConvAlgorithm::Direct => false,
                ConvAlgorithm::Fft => true,
                ConvAlgorithm::Auto => fft::cost(work) < direct && fft::filter_floats(work) <= MOST_FILTER_FLOATS,
            }
    }
}
