//! Neural cellular automata: the model, the devices it runs on, and its explicit derivative.
//!
//! A neural cellular automaton (NCA) is a tiny network that every cell of a torus runs on its 3×3
//! neighbourhood. This crate holds what everything else stands on:
//!
//! * [`NcaConfig`], [`Params`] and [`Nca`]: what an automaton is, and its file format;
//! * [`backend`]: the traits a device implements, one operation each, forward and backward;
//! * [`cpu`] and [`reference`](mod@reference): the fast implementation of them, and the obvious one;
//! * [`Precision`]: what a backend may round the factors of products to;
//! * [`checkpoint`]: files of tensors, safetensors and PyTorch's;
//! * [`Rollout`]: many steps, and the gradient through them within a memory budget;
//! * [`Simulation`]: running a trained automaton;
//! * [`philox`]: the random numbers, the same bits on every device.

pub mod backend;
pub mod checkpoint;
mod config;
pub mod cpu;
mod error;
mod model;
mod params;
mod perception;
pub mod philox;
mod precision;
mod real;
pub mod reference;
mod rollout;
mod schedule;
mod simulation;
#[cfg(feature = "testkit")]
pub mod testkit;

pub use config::{Grid, Init, NcaConfig, Padding, Preset, RgbMap, SeedState};
pub use error::{Error, Result, check_len};
pub use model::Nca;
pub use params::{HostParams, Params, param_sizes};
pub use perception::{IDENTITY, Kernel, LAPLACIAN_8, LAPLACIAN_12, Perception, SOBEL_X, SOBEL_Y};
pub use precision::Precision;
pub use real::Real;
pub use rollout::Rollout;
pub use simulation::{Simulation, fill_seed_state, seed_state};
