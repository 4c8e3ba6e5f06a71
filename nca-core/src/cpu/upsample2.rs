//! Bilinear upsampling by two.

use super::resize::Taps;
use super::{Buffer, Cpu};
use crate::backend::{Upsample2, Upsample2Shape};
use crate::error::{Result, check_len};

impl Upsample2 for Cpu {
    fn upsample2(&self, shape: &Upsample2Shape, factor: f64, x: &Buffer, y: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("upsample2", "x", x.len(), shape.input_len())?;
        check_len("upsample2", "y", y.len(), shape.output_len())?;
        if x.is_empty() {
            return Ok(());
        }
        let (rows, columns) = taps(shape);
        self.interpolate((shape.height, shape.width), &rows, &columns, factor as f32, x, y);
        Ok(())
    }

    fn upsample2_backward(&self, shape: &Upsample2Shape, factor: f64, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        shape.validate()?;
        check_len("upsample2_backward", "g_x", g_x.len(), shape.input_len())?;
        check_len("upsample2_backward", "g_y", g_y.len(), shape.output_len())?;
        if g_x.is_empty() {
            return Ok(());
        }
        let (rows, columns) = taps(shape);
        self.interpolate_backward((shape.height, shape.width), &rows, &columns, factor as f32, g_y, g_x);
        Ok(())
    }
}

fn taps(shape: &Upsample2Shape) -> (Taps, Taps) {
    let line = |input: usize, output: usize| {
        (0..output)
            .map(|i| {
                let (low, high, t) = Upsample2Shape::taps(input, i);
                (low, high, t as f32)
            })
            .collect()
    };
    (line(shape.height, shape.out_height), line(shape.width, shape.out_width))
}
