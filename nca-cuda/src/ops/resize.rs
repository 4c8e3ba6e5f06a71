//! Bilinear resizing to any size, and what it shares with upsampling.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::backend::{Resize, ResizeShape};
use nca_core::{Result, check_len};

use crate::launch::{Argument, count, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const RESIZE: Kernel = Kernel::new("resize", "resize");
const RESIZE_BACKWARD: Kernel = Kernel::new("resize", "resize_backward");

/// How the outputs of a line lie among its inputs, `Line` in the kernels: output `i` is at
/// `(step · i + start) / den`, but within the inputs.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Line {
    step: i64,
    start: i64,
    den: i64,
    inputs: i32,
    outputs: i32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Line {}

impl Line {
    /// As [`ResizeShape::taps`]: `(i + ½) · inputs/outputs − ½`.
    fn resized(inputs: usize, outputs: usize) -> Self {
        let (n, m) = (inputs as i64, outputs as i64);
        Self {
            step: 2 * n,
            start: n - m,
            den: 2 * m,
            inputs: inputs as i32,
            outputs: outputs as i32,
        }
    }

    /// As `Upsample2Shape::taps`: `i · (inputs − 1) / (2 · inputs − 1)`.
    pub(super) fn doubled(inputs: usize, outputs: usize) -> Self {
        let n = inputs as i64;
        Self {
            step: n - 1,
            start: 0,
            den: 2 * n - 1,
            inputs: inputs as i32,
            outputs: outputs as i32,
        }
    }
}

impl Resize for Cuda {
    fn resize(&self, shape: &ResizeShape, x: &Buffer, y: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("resize", "x", x.len(), shape.input_len())?;
        check_len("resize", "y", y.len(), shape.output_len())?;
        self.interpolate("resize", lines(shape), shape.planes, 1.0, x, y)
    }

    fn resize_backward(&self, shape: &ResizeShape, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "resize_backward";
        shape.validate()?;
        check_len(OP, "g_y", g_y.len(), shape.output_len())?;
        check_len(OP, "g_x", g_x.len(), shape.input_len())?;
        self.interpolate_backward(OP, lines(shape), shape.planes, 1.0, g_y, g_x)
    }
}

fn lines(shape: &ResizeShape) -> [Line; 2] {
    [
        Line::resized(shape.height, shape.out_height),
        Line::resized(shape.width, shape.out_width),
    ]
}

impl Cuda {
    /// `y = factor · interpolate(x)` for every plane, along rows and columns.
    pub(super) fn interpolate(
        &self,
        op: &'static str,
        [rows, columns]: [Line; 2],
        planes: usize,
        factor: f64,
        x: &Buffer,
        y: &Buffer,
    ) -> Result<()> {
        if planes == 0 {
            return Ok(());
        }
        check_planes(op, planes, x, y)?;
        launch!(
            self,
            RESIZE,
            Shape::planes(planes, y.len() / planes),
            rows,
            columns,
            factor as f32,
            x.address(),
            y.address(),
            planes as u64,
        )
    }

    /// Adjoint of [`Cuda::interpolate`].
    pub(super) fn interpolate_backward(
        &self,
        op: &'static str,
        [rows, columns]: [Line; 2],
        planes: usize,
        factor: f64,
        g_y: &Buffer,
        g_x: &Buffer,
    ) -> Result<()> {
        if planes == 0 {
            return Ok(());
        }
        check_planes(op, planes, g_x, g_y)?;
        launch!(
            self,
            RESIZE_BACKWARD,
            Shape::planes(planes, g_x.len() / planes),
            rows,
            columns,
            factor as f32,
            g_y.address(),
            g_x.address(),
            planes as u64,
        )
    }
}

/// Planes are counted in 32 bits.
fn check_planes(op: &'static str, planes: usize, input: &Buffer, output: &Buffer) -> Result<()> {
    count(op, "elements of an input plane", input.len() / planes)?;
    count(op, "elements of an output plane", output.len() / planes)?;
    Ok(())
}
