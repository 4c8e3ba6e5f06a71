//! NVIDIA GPUs through the CUDA driver.
//!
//! The crate needs nothing at build time: the driver library is looked for when the program runs.
//! [`probe`] tells whether there is a device that can be used, and if not, why, in words a user can
//! act on.
//!
//! # Where the backend plugs in
//!
//! A CUDA backend is a type of this crate that implements the traits of [`nca_core::backend`], made
//! from the device that [`probe`] found. An operation has the same file stem here as there: its
//! kernel is `kernels/OP.cu`, its launch `src/ops/OP.rs`, and the suite of `nca_core::testkit` holds
//! it against the reference like every other backend. Nothing above this crate knows CUDA: commands
//! are generic over the backend, and one place at the top of the command line chooses it.

mod probe;

pub use probe::{CudaInfo, MIN_DRIVER, Unavailable, probe};
