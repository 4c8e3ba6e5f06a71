//! Convolution, row by row.

use rayon::prelude::*;

use super::{Buffer, Cpu};
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
        let plane = shape.out_height() * shape.out_width();
        self.install(|| {
            y.par_chunks_exact_mut(plane.max(1)).enumerate().for_each(|(i, y)| {
                let (sample, output) = (i / shape.outputs, i % shape.outputs);
                y.fill(bias.map_or(0.0, |b| b[output]));
                for_taps(shape, sample, output, |weight_at, x_at, y_at, len| {
                    let w = weight[weight_at];
                    for (y, &x) in y[y_at..y_at + len].iter_mut().zip(&x[x_at..x_at + len]) {
                        *y += w * x;
                    }
                });
            });
        });
        Ok(())
    }

    fn conv2d_backward_input(&self, shape: &ConvShape, weight: &Buffer, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("conv2d_backward_input", "weight", weight.len(), shape.weight_len())?;
        check_len("conv2d_backward_input", "g_y", g_y.len(), shape.output_len())?;
        check_len("conv2d_backward_input", "g_x", g_x.len(), shape.input_len())?;
        let plane = shape.out_height() * shape.out_width();
        let sample_len = shape.inputs * shape.height * shape.width;
        self.install(|| {
            g_x.par_chunks_exact_mut(sample_len.max(1))
                .enumerate()
                .for_each(|(sample, g_x)| {
                    g_x.fill(0.0);
                    for output in 0..shape.outputs {
                        let g_y = &g_y[(sample * shape.outputs + output) * plane..][..plane];
                        for_taps(shape, 0, output, |weight_at, x_at, y_at, len| {
                            let w = weight[weight_at];
                            for (g_x, &g) in g_x[x_at..x_at + len].iter_mut().zip(&g_y[y_at..y_at + len]) {
                                *g_x += w * g;
                            }
                        });
                    }
                });
        });
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
        let plane = shape.out_height() * shape.out_width();
        let filter = shape.inputs * shape.kernel * shape.kernel;
        self.install(|| {
            g_weight
                .par_chunks_exact_mut(filter.max(1))
                .enumerate()
                .for_each(|(output, g_weight)| {
                    for sample in 0..shape.batch {
                        let g_y = &g_y[(sample * shape.outputs + output) * plane..][..plane];
                        for_taps(shape, sample, output, |weight_at, x_at, y_at, len| {
                            let pairs = g_y[y_at..y_at + len].iter().zip(&x[x_at..x_at + len]);
                            g_weight[weight_at - output * filter] += pairs.map(|(g, x)| g * x).sum::<f32>();
                        });
                    }
                });
        });
        if let Some(g_bias) = g_bias {
            check_len("conv2d_backward_weight", "g_bias", g_bias.len(), shape.outputs)?;
            for (output, g_bias) in g_bias.iter_mut().enumerate() {
                let planes = g_y.chunks_exact(plane.max(1)).skip(output).step_by(shape.outputs);
                *g_bias += planes.flatten().map(|&g| f64::from(g)).sum::<f64>() as f32;
            }
        }
        Ok(())
    }
}

/// Every tap of the filter of `output` at every output row:
/// `f(weight index, index in x, index in the output plane, length of the run)`.
fn for_taps(shape: &ConvShape, sample: usize, output: usize, mut f: impl FnMut(usize, usize, usize, usize)) {
    let (rows, cols) = (shape.out_height(), shape.out_width());
    for input in 0..shape.inputs {
        let plane = (sample * shape.inputs + input) * shape.height * shape.width;
        for ky in 0..shape.kernel {
            for kx in 0..shape.kernel {
                let weight_at = ((output * shape.inputs + input) * shape.kernel + ky) * shape.kernel + kx;
                // Output columns whose input column `x + kx − padding` exists.
                let first = shape.padding.saturating_sub(kx);
                let end = (shape.width + shape.padding).saturating_sub(kx).min(cols);
                for y in 0..rows {
                    let Some(from) = (y + ky).checked_sub(shape.padding) else {
                        continue;
                    };
                    if from < shape.height && first < end {
                        let x_at = plane + from * shape.width + first + kx - shape.padding;
                        f(weight_at, x_at, y * cols + first, end - first);
                    }
                }
            }
        }
    }
}
