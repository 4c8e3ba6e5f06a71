//! Bilinear upsampling by two, with the kernels of resizing.

use nca_core::backend::{Upsample2, Upsample2Shape};
use nca_core::{Result, check_len};

use super::resize::Line;
use crate::{Buffer, Cuda};

impl Upsample2 for Cuda {
    fn upsample2(&self, shape: &Upsample2Shape, factor: f64, x: &Buffer, y: &mut Buffer) -> Result<()> {
        const OP: &str = "upsample2";
        shape.validate()?;
        check_len(OP, "x", x.len(), shape.input_len())?;
        check_len(OP, "y", y.len(), shape.output_len())?;
        self.interpolate(OP, lines(shape), shape.planes, factor, x, y)
    }

    fn upsample2_backward(&self, shape: &Upsample2Shape, factor: f64, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "upsample2_backward";
        shape.validate()?;
        check_len(OP, "g_y", g_y.len(), shape.output_len())?;
        check_len(OP, "g_x", g_x.len(), shape.input_len())?;
        self.interpolate_backward(OP, lines(shape), shape.planes, factor, g_y, g_x)
    }
}

fn lines(shape: &Upsample2Shape) -> [Line; 2] {
    [
        Line::doubled(shape.height, shape.out_height),
        Line::doubled(shape.width, shape.out_width),
    ]
}
