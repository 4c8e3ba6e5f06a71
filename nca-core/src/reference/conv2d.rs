//! Two-dimensional convolution: a sum of shifted images.

use ndarray::{Array4, ArrayView4, s};

use super::{Reference, view, view_mut};
use crate::backend::{Conv2d, ConvShape};
use crate::error::Result;
use crate::real::Real;

impl<T: Real> Conv2d for Reference<T> {
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &Vec<T>,
        weight: &Vec<T>,
        bias: Option<&Vec<T>>,
        y: &mut Vec<T>,
    ) -> Result<()> {
        // x [B,I,H,W], weight [O,I,k,k], bias [O] -> y [B,O,H',W']. Backward needs x.
        const OP: &str = "conv2d";
        shape.validate()?;
        let (x, weight) = (self.factors(x), self.factors(weight));
        let x = view(OP, "x", &x, input(shape))?;
        let weight = view(OP, "weight", &weight, kernel(shape))?;
        let bias = bias.map(|bias| view(OP, "bias", bias, shape.outputs)).transpose()?;
        let mut y = view_mut(OP, "y", y, output(shape))?;
        // Only now is it known that the padding is not too large.
        let x = padded(shape, &x);
        for b in 0..shape.batch {
            for o in 0..shape.outputs {
                let mut y = y.slice_mut(s![b, o, .., ..]);
                y.fill(bias.map_or(T::zero(), |bias| bias[o]));
                for ((i, ky, kx), &w) in weight.slice(s![o, .., .., ..]).indexed_iter() {
                    y.scaled_add(w, &x.slice(window(shape, b, i, ky, kx)));
                }
            }
        }
        Ok(())
    }

    fn conv2d_backward_input(&self, shape: &ConvShape, weight: &Vec<T>, g_y: &Vec<T>, g_x: &mut Vec<T>) -> Result<()> {
        // g_y [B,O,H',W'] -> g_x [B,I,H,W] (=).
        const OP: &str = "conv2d_backward_input";
        shape.validate()?;
        let (weight, g_y) = (self.gradient_factors(weight), self.gradient_factors(g_y));
        let weight = view(OP, "weight", &weight, kernel(shape))?;
        let g_y = view(OP, "g_y", &g_y, output(shape))?;
        let mut g_x = view_mut(OP, "g_x", g_x, input(shape))?;
        if g_y.is_empty() {
            g_x.fill(T::zero());
            return Ok(());
        }
        let mut g_padded = Array4::zeros(padded_input(shape));
        for b in 0..shape.batch {
            for ((o, i, ky, kx), &w) in weight.indexed_iter() {
                g_padded
                    .slice_mut(window(shape, b, i, ky, kx))
                    .scaled_add(w, &g_y.slice(s![b, o, .., ..]));
            }
        }
        g_x.assign(&g_padded.slice(interior(shape)));
        Ok(())
    }

    fn conv2d_backward_weight(
        &self,
        shape: &ConvShape,
        x: &Vec<T>,
        g_y: &Vec<T>,
        g_weight: &mut Vec<T>,
        g_bias: Option<&mut Vec<T>>,
    ) -> Result<()> {
        // g_y [B,O,H',W'] -> g_weight [O,I,k,k] (+=), g_bias [O] (+=).
        const OP: &str = "conv2d_backward_weight";
        shape.validate()?;
        let (x, factors) = (self.gradient_factors(x), self.gradient_factors(g_y));
        let x = view(OP, "x", &x, input(shape))?;
        let factors = view(OP, "g_y", &factors, output(shape))?;
        let x = padded(shape, &x);
        let g_y = view(OP, "g_y", g_y, output(shape))?;
        let mut g_weight = view_mut(OP, "g_weight", g_weight, kernel(shape))?;
        let mut g_bias = g_bias
            .map(|g_bias| view_mut(OP, "g_bias", g_bias, shape.outputs))
            .transpose()?;
        for b in 0..shape.batch {
            for ((o, i, ky, kx), g_w) in g_weight.indexed_iter_mut() {
                *g_w += (&x.slice(window(shape, b, i, ky, kx)) * &factors.slice(s![b, o, .., ..])).sum();
            }
            if let Some(g_bias) = &mut g_bias {
                for (o, g_b) in g_bias.indexed_iter_mut() {
                    *g_b += g_y.slice(s![b, o, .., ..]).sum();
                }
            }
        }
        Ok(())
    }
}

fn input(shape: &ConvShape) -> [usize; 4] {
    [shape.batch, shape.inputs, shape.height, shape.width]
}

fn output(shape: &ConvShape) -> [usize; 4] {
    [shape.batch, shape.outputs, shape.out_height(), shape.out_width()]
}

fn kernel(shape: &ConvShape) -> [usize; 4] {
    [shape.outputs, shape.inputs, shape.kernel, shape.kernel]
}

fn padded_input(shape: &ConvShape) -> [usize; 4] {
    let both = 2 * shape.padding;
    [shape.batch, shape.inputs, shape.height + both, shape.width + both]
}

type Slice4To2 = ndarray::SliceInfo<[ndarray::SliceInfoElem; 4], ndarray::Ix4, ndarray::Ix2>;
type Slice4 = ndarray::SliceInfo<[ndarray::SliceInfoElem; 4], ndarray::Ix4, ndarray::Ix4>;

/// The part of the padded input that kernel element `(ky, kx)` meets, one value for each output.
fn window(shape: &ConvShape, b: usize, i: usize, ky: usize, kx: usize) -> Slice4To2 {
    s![b, i, ky..ky + shape.out_height(), kx..kx + shape.out_width()]
}

/// The part of the padded input that is not padding.
fn interior(shape: &ConvShape) -> Slice4 {
    let p = shape.padding;
    s![.., .., p..p + shape.height, p..p + shape.width]
}

/// `x` in a frame of zeros.
fn padded<T: Real>(shape: &ConvShape, x: &ArrayView4<'_, T>) -> Array4<T> {
    let mut padded = Array4::zeros(padded_input(shape));
    padded.slice_mut(interior(shape)).assign(x);
    padded
}
