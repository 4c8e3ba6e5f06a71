//! The suite that every backend runs.
//!
//! One file per operation, with the stem it has in [`crate::backend`], and two checks in it:
//!
//! * `parity` holds an f32 backend against the f64 reference, to a [`Tolerance`] derived from the
//!   lengths of the sums involved. Outputs start as NaNs and parameter gradients as numbers, so
//!   that the accumulation rules are checked along; wrong lengths must be refused.
//! * `gradient` holds the backward of an f64 backend against central differences of its forward.
//!
//! [`crate::backend_suite`] makes a test of each, [`Faulty`] proves that they can fail.

pub mod adam;
pub mod avg_pool2;
pub mod axpy;
pub mod cases;
pub mod channel_affine;
mod compare;
pub mod conv2d;
mod derivative;
pub mod device;
mod faulty;
pub mod flow_magnitude;
pub mod gather_columns;
pub mod host;
pub mod kinks;
pub mod l1;
pub mod l2;
pub mod matmul;
pub mod max_pool2;
pub mod minima;
pub mod mlp;
pub mod nca_step;
pub mod normalize;
pub mod normalize_rows;
pub mod overflow;
pub mod perceive;
mod real_data;
pub mod refusals;
pub mod relu;
pub mod resize;
pub mod rgb;
pub mod rollout;
mod slots;
pub mod sort_rows;
mod suite;
mod undecided;
pub mod update;
pub mod upsample2;
pub mod warp;

pub use compare::{Mismatch, Tolerance, compare, compare_bits};
pub use derivative::check_gradient;
pub use faulty::{Fault, Faulty, Kind, Rule};
pub use real_data::real_data;
pub use suite::{Candidate, run, suite};
