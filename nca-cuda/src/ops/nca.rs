//! What the operations of the automaton share: arguments of their kernels, checks of their buffers.

// Structs of C go to the kernels.
#![allow(unsafe_code)]

use nca_core::backend::{MaskKey, check};
use nca_core::philox::fire_threshold;
use nca_core::{Error, Grid, NcaConfig, Padding, Params, Perception, Result, check_len};

use crate::Buffer;
use crate::launch::{Argument, blocks};

/// `Perception` in the kernels.
#[repr(C)]
pub(super) struct PerceptionArgument {
    kernels: i32,
    padding: i32,
    weights: [[f32; 9]; Perception::MAX_KERNELS],
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for PerceptionArgument {}

impl PerceptionArgument {
    pub(super) fn new(config: &NcaConfig) -> Self {
        let mut weights = [[0.0; 9]; Perception::MAX_KERNELS];
        for (to, from) in weights.iter_mut().zip(&config.perception.kernels) {
            for (to, &from) in to.iter_mut().zip(from.iter().flatten()) {
                *to = from as f32;
            }
        }
        Self {
            kernels: config.kernels() as i32,
            padding: match config.padding {
                Padding::Circular => 0,
                Padding::Zero => 1,
                Padding::Replicate => 2,
            },
            weights,
        }
    }
}

/// `MaskKey` in the kernels.
#[repr(C)]
pub(super) struct MaskArgument {
    seed_low: u32,
    seed_high: u32,
    step: u32,
    always: u32,
    threshold: u32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for MaskArgument {}

impl MaskArgument {
    pub(super) fn new(config: &NcaConfig, key: MaskKey) -> Self {
        let threshold = fire_threshold(config.fire_rate);
        let threshold = u32::try_from(threshold);
        Self {
            seed_low: key.seed as u32,
            seed_high: (key.seed >> 32) as u32,
            step: key.step,
            always: u32::from(threshold.is_err()),
            threshold: threshold.unwrap_or(u32::MAX),
        }
    }
}

/// The bound of the clamp as kernels take it: negative for none.
pub(super) fn clamp_argument(config: &NcaConfig) -> f32 {
    config.clamp.map_or(-1.0, |bound| bound as f32)
}

/// Each buffer must have its length.
pub(super) fn check_lengths(op: &'static str, buffers: &[(&'static str, &Buffer, usize)]) -> Result<()> {
    for &(what, buffer, expected) in buffers {
        check_len(op, what, buffer.len(), expected)?;
    }
    Ok(())
}

/// Weights, or their gradients, must have the shapes of `config`.
pub(super) fn check_params(op: &'static str, config: &NcaConfig, params: &Params<Buffer>) -> Result<()> {
    check::params(op, config, params, Buffer::len)
}

/// The automaton must be valid, and kernels count in 32 bits: rows and columns of a grid, cells of a sample, samples.
pub(super) fn check_automaton(op: &'static str, config: &NcaConfig, grid: Grid) -> Result<()> {
    check::automaton(op, config, grid)?;
    if grid.plane() > i32::MAX as usize {
        let found = format!("{}x{}", grid.height, grid.width);
        return Err(Error::invalid(format!("{op}: grid"), found, "fewer than 2^31 cells"));
    }
    // One layer of blocks, and a number in the counter of the mask.
    blocks(op, "samples", grid.batch).map(drop)
}
