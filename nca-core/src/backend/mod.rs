//! The seam between algorithms and devices.
//!
//! A backend owns buffers and implements one small trait per operation; [`Backend`] is their sum.
//! Code above this crate is generic over `B: Backend` and never asks which one it has.
//!
//! # Rules that hold for every operation
//!
//! * **No tape.** Each forward `op` has a named `op_backward` beside it; networks chain them by hand.
//! * **Accumulation.** A backward *adds* to gradients of parameters (`+=`) and *overwrites*
//!   gradients of activations (`=`). Scalar results are *added* to `out[slot]`, so that one
//!   download an iteration fetches them all.
//! * **Ownership.** Operations write into buffers the caller owns. Scratch memory is passed in;
//!   `op_scratch` says how many elements each scratch buffer needs.
//! * **Shapes** are those of the doc comments, row-major; an operation returns
//!   [`Error::Length`](crate::Error::Length) when a buffer does not have that many elements.
//! * **Determinism.** The same input gives the same bits on the same backend, whatever the number of
//!   threads.
//!
//! # Notation
//!
//! B batch, C channels, D hidden neurons, H×W cells, K perception kernels; state `x [B,C,H,W]`,
//! perception `z [B,KC,H,W]` (kernel-major), hidden `h [B,D,H,W]`, update `dx [B,C,H,W]`. The
//! gradient of the loss with respect to `v` is called `g_v`.

mod adam;
mod avg_pool2;
mod axpy;
mod channel_affine;
pub mod check;
mod conv2d;
mod device;
mod flow_magnitude;
mod gather_columns;
mod l1;
mod l2;
mod matmul;
mod max_pool2;
mod minima;
mod mlp;
mod nca_step;
mod normalize;
mod normalize_rows;
mod overflow;
mod perceive;
mod relu;
mod resize;
mod rgb;
mod rollout;
mod sort_rows;
mod update;
mod upsample2;
mod warp;

pub use adam::{Adam, AdamStep};
pub use avg_pool2::AvgPool2;
pub use axpy::Axpy;
pub use channel_affine::ChannelAffine;
pub use conv2d::{Conv2d, ConvShape};
pub use device::{Device, download_params, upload_params, zero_params};
pub use flow_magnitude::FlowMagnitude;
pub use gather_columns::GatherColumns;
pub use l1::L1;
pub use l2::L2;
pub use matmul::{Matmul, MatmulShape};
pub use max_pool2::MaxPool2;
pub use minima::Minima;
pub use mlp::Mlp;
pub use nca_step::{
    NcaStep, composed_step, composed_step_backward, composed_step_backward_scratch, composed_step_scratch,
};
pub use normalize::Normalize;
pub use normalize_rows::NormalizeRows;
pub use overflow::Overflow;
pub use perceive::Perceive;
pub use relu::Relu;
pub use resize::{Resize, ResizeShape};
pub use rgb::Rgb;
pub use rollout::RolloutSteps;
pub use sort_rows::SortRows;
pub use update::Update;
pub use upsample2::{Upsample2, Upsample2Shape};
pub use warp::Warp;

/// Which random mask a step uses: a cell's bit is
/// [`is_active`](crate::philox::is_active)`(seed, step, sample, cell, threshold)`, `sample` being
/// the batch slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaskKey {
    /// Rollout seed.
    pub seed: u64,
    /// Step number; of several steps, the first.
    pub step: u32,
}

impl MaskKey {
    /// The key `steps` later.
    #[must_use]
    pub fn after(self, steps: u32) -> Self {
        Self {
            step: self.step.wrapping_add(steps),
            ..self
        }
    }
}

/// A device with every operation.
pub trait Backend:
    Perceive
    + Mlp
    + Update
    + NcaStep
    + RolloutSteps
    + Rgb
    + Conv2d
    + AvgPool2
    + SortRows
    + L1
    + Overflow
    + Normalize
    + Adam
    + Axpy
    + GatherColumns
    + L2
    + Matmul
    + MaxPool2
    + Minima
    + NormalizeRows
    + Relu
    + ChannelAffine
    + FlowMagnitude
    + Resize
    + Upsample2
    + Warp
{
}

impl<T> Backend for T where
    T: Perceive
        + Mlp
        + Update
        + NcaStep
        + RolloutSteps
        + Rgb
        + Conv2d
        + AvgPool2
        + SortRows
        + L1
        + Overflow
        + Normalize
        + Adam
        + Axpy
        + GatherColumns
        + L2
        + Matmul
        + MaxPool2
        + Minima
        + NormalizeRows
        + Relu
        + ChannelAffine
        + FlowMagnitude
        + Resize
        + Upsample2
        + Warp
{
}
