#![doc = include_str!("../README.md")]

pub mod backend;
pub mod checkpoint;
mod config;
pub mod cpu;
mod error;
mod memory;
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
