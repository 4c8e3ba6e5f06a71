//! Two-dimensional convolution.

// Structs of C go to the kernels.
#![allow(unsafe_code)]

use nca_core::backend::check::elements;
use nca_core::backend::{Conv2d, ConvShape};
use nca_core::{Error, Grid, Result, check_len};

use super::product::{Extent, Slices, depth_of};
use crate::launch::{Argument, MAX_ROWS, count, launch};
use crate::machine::{Address, Shape};
use crate::module::{Kernel, PrecisionKernel, gradient_kernel, precision_kernel};
use crate::{Buffer, Cuda};

const CONV2D_PACK: Kernel = Kernel::new("conv2d", "conv2d_pack");
const CONV2D_ADD_SLICES: Kernel = Kernel::new("conv2d", "conv2d_add_slices");

/// A shape of tiles, and the kernels for it.
struct Tiles {
    height: usize,
    width: usize,
    correlation: PrecisionKernel,
    weight_gradient: PrecisionKernel,
}

/// `tiles!(HEIGHT, WIDTH, CORRELATION, WEIGHT_GRADIENT)`
macro_rules! tiles {
    ($height:literal, $width:literal, $correlation:literal, $weight_gradient:literal) => {
        Tiles {
            height: $height,
            width: $width,
            correlation: precision_kernel!("conv2d", $correlation),
            weight_gradient: gradient_kernel!("conv2d", $weight_gradient),
        }
    };
}

impl Tiles {
    /// The lowest that `rows` fit into, else the highest.
    fn of(rows: usize) -> &'static Self {
        let fits = TILES.iter().find(|tiles| rows <= tiles.height);
        fits.unwrap_or(&TILES[TILES.len() - 1])
    }
}

/// The template arguments in the kernels.
const TILES: [Tiles; 4] = [
    tiles!(16, 256, "conv2d_16", "conv2d_weight_16"),
    tiles!(32, 256, "conv2d_32", "conv2d_weight_32"),
    tiles!(64, 128, "conv2d_64", "conv2d_weight_64"),
    tiles!(128, 128, "conv2d_128", "conv2d_weight_128"),
];

/// Rows and columns of an image with its padding: taps are packed into 16 bits each.
const MAX_SIDE: usize = 32_767;

/// Floats that a tap takes.
const TAP: usize = 2;

/// Most terms that a block multiplies at a time.
const MAX_DEPTH: usize = 16;

/// `Correlation` in the kernels.
#[repr(C)]
struct Correlation {
    x: Address,
    weight: Address,
    taps: Address,
    bias: Address,
    y: Address,
    height: i32,
    width: i32,
    out_height: i32,
    out_width: i32,
    origin: i32,
    channels: i32,
    outputs: i32,
    stride: i32,
    pixels: i32,
    span: i32,
    end: i32,
    slice: u64,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Correlation {}

/// `WeightGradient` in the kernels.
#[repr(C)]
struct WeightGradient {
    x: Address,
    g_y: Address,
    partial: Address,
    height: i32,
    width: i32,
    out_height: i32,
    out_width: i32,
    padding: i32,
    inputs: i32,
    outputs: i32,
    side: i32,
    columns: i32,
    pixels: i32,
    span: i32,
}

// SAFETY: as above.
unsafe impl Argument for WeightGradient {}

impl Conv2d for Cuda {
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        weight: &Buffer,
        bias: Option<&Buffer>,
        y: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "conv2d";
        check(OP, shape)?;
        check_len(OP, "x", x.len(), shape.input_len())?;
        check_len(OP, "weight", weight.len(), shape.weight_len())?;
        check_len(OP, "y", y.len(), shape.output_len())?;
        if let Some(bias) = bias {
            check_len(OP, "bias", bias.len(), shape.outputs)?;
        }
        self.correlate(shape, false, x, weight, bias, y)
    }

    fn conv2d_backward_input(&self, shape: &ConvShape, weight: &Buffer, g_y: &Buffer, g_x: &mut Buffer) -> Result<()> {
        const OP: &str = "conv2d_backward_input";
        check(OP, shape)?;
        check_len(OP, "weight", weight.len(), shape.weight_len())?;
        check_len(OP, "g_y", g_y.len(), shape.output_len())?;
        check_len(OP, "g_x", g_x.len(), shape.input_len())?;
        self.correlate(shape, true, g_y, weight, None, g_x)
    }

    fn conv2d_backward_weight(
        &self,
        shape: &ConvShape,
        x: &Buffer,
        g_y: &Buffer,
        g_weight: &mut Buffer,
        g_bias: Option<&mut Buffer>,
    ) -> Result<()> {
        const OP: &str = "conv2d_backward_weight";
        check(OP, shape)?;
        check_len(OP, "x", x.len(), shape.input_len())?;
        check_len(OP, "g_y", g_y.len(), shape.output_len())?;
        check_len(OP, "g_weight", g_weight.len(), shape.weight_len())?;
        let (out_height, out_width) = (shape.out_height(), shape.out_width());
        if let Some(g_bias) = g_bias {
            check_len(OP, "g_bias", g_bias.len(), shape.outputs)?;
            self.add_rows(Grid::new(shape.batch, out_height, out_width), g_y, g_bias)?;
        }
        if g_weight.len() == 0 {
            return Ok(());
        }
        let columns = shape.inputs * shape.kernel * shape.kernel;
        let pixels = shape.batch * out_height * out_width;
        let tiles = Tiles::of(shape.outputs);
        let grid = [columns.div_ceil(tiles.width), shape.outputs.div_ceil(tiles.height)];
        let slices = Slices::of(Extent {
            tiles: grid[0] * grid[1],
            terms: pixels,
            depth: depth_of(self.precision.of_gradients()),
        });
        let partial = self.workspace(slices.count * g_weight.len())?;
        let gradient = WeightGradient {
            x: x.address(),
            g_y: g_y.address(),
            partial: partial.address(),
            height: shape.height as i32,
            width: shape.width as i32,
            out_height: out_height as i32,
            out_width: out_width as i32,
            padding: shape.padding as i32,
            inputs: shape.inputs as i32,
            outputs: shape.outputs as i32,
            side: shape.kernel as i32,
            columns: columns as i32,
            pixels: pixels as i32,
            span: slices.span as i32,
        };
        let blocks = [grid[0], grid[1], slices.count].map(|n| n as u32);
        let kernel = tiles.weight_gradient.of(self.precision);
        launch!(self, *kernel, Shape::grid(blocks), gradient)?;
        self.add_slices(slices.count, partial.address(), g_weight)
    }
}

impl Cuda {
    /// The convolution, or, `mirrored`, the gradient of its input: `x` is what is read, `y` what is written.
    fn correlate(
        &self,
        shape: &ConvShape,
        mirrored: bool,
        x: &Buffer,
        weight: &Buffer,
        bias: Option<&Buffer>,
        y: &Buffer,
    ) -> Result<()> {
        if y.len() == 0 {
            return Ok(());
        }
        let (input, output) = ([shape.height, shape.width], [shape.out_height(), shape.out_width()]);
        let padding = shape.padding as i32;
        let (channels, rows, [height, width], [out_height, out_width], origin) = if mirrored {
            let origin = padding + 1 - shape.kernel as i32;
            (shape.outputs, shape.inputs, output, input, origin)
        } else {
            (shape.inputs, shape.outputs, input, output, -padding)
        };
        let precision = if mirrored {
            self.precision.of_gradients()
        } else {
            self.precision
        };
        let tiles = Tiles::of(rows);
        let (plane, pixels) = (out_height * out_width, shape.batch * out_height * out_width);
        let stride = rows.next_multiple_of(tiles.height);
        let at_a_time = depth_of(precision);
        let depth = (channels * shape.kernel * shape.kernel)
            .next_multiple_of(at_a_time)
            .max(at_a_time);
        let grid = [pixels.div_ceil(tiles.width), stride / tiles.height];
        let slices = Slices::of(Extent {
            tiles: grid[0] * grid[1],
            terms: depth,
            depth: at_a_time,
        });

        // Weights, taps, and the sums of slices.
        let (taps, sums) = (depth * stride, depth * (stride + TAP));
        let split = slices.count > 1;
        let space = self.workspace(sums + if split { slices.count * y.len() } else { 0 })?;
        launch!(
            self,
            CONV2D_PACK,
            Shape::linear(depth * stride),
            weight.address(),
            space.address(),
            space.at(taps),
            shape.inputs as i32,
            shape.outputs as i32,
            shape.kernel as i32,
            i32::from(mirrored),
            stride as i32,
            depth as i32,
            (height * width) as i32,
            width as i32,
        )?;
        let bias = bias.map_or(0, Buffer::address);
        let correlation = Correlation {
            x: x.address(),
            weight: space.address(),
            taps: space.at(taps),
            bias: if split { 0 } else { bias },
            y: if split { space.at(sums) } else { y.address() },
            height: height as i32,
            width: width as i32,
            out_height: out_height as i32,
            out_width: out_width as i32,
            origin,
            channels: channels as i32,
            outputs: rows as i32,
            stride: stride as i32,
            pixels: pixels as i32,
            span: slices.span as i32,
            end: depth as i32,
            slice: y.len() as u64,
        };
        let blocks = [grid[0], grid[1], slices.count].map(|n| n as u32);
        launch!(self, *tiles.correlation.of(precision), Shape::grid(blocks), correlation)?;
        if !split {
            return Ok(());
        }
        launch!(
            self,
            CONV2D_ADD_SLICES,
            Shape::planes(shape.batch * rows, plane),
            space.at(sums),
            bias,
            y.address(),
            (shape.batch * rows) as u64,
            rows as i32,
            plane as i32,
            slices.count as i32,
        )
    }
}

/// The shape must be possible, and its parts countable in the kernels' integers.
fn check(op: &'static str, shape: &ConvShape) -> Result<()> {
    shape.validate()?;
    let side = shape.height.max(shape.width).saturating_add(shape.padding);
    if side.max(shape.kernel) > MAX_SIDE {
        return Err(Error::invalid(
            format!("{op}: rows or columns with padding"),
            side.max(shape.kernel),
            format!("at most {MAX_SIDE}"),
        ));
    }
    let channels = shape.inputs.max(shape.outputs);
    let largest_tile = 256;
    for (what, value) in [
        (
            "elements of a sample",
            elements(&[shape.inputs, shape.height, shape.width]),
        ),
        (
            "elements of a sample's result",
            elements(&[shape.outputs, shape.out_height(), shape.out_width()]),
        ),
        (
            "elements of a filter",
            elements(&[channels, shape.kernel, shape.kernel]).saturating_add(MAX_DEPTH),
        ),
        (
            "pixels",
            elements(&[shape.batch, shape.height, shape.width]).saturating_add(largest_tile),
        ),
        (
            "pixels of the result",
            elements(&[shape.batch, shape.out_height(), shape.out_width()]).saturating_add(largest_tile),
        ),
    ] {
        count(op, what, value)?;
    }
    if channels > MAX_ROWS {
        return Err(Error::invalid(
            format!("{op}: channels"),
            channels,
            format!("at most {MAX_ROWS}"),
        ));
    }
    Ok(())
}
