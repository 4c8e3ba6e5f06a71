//! The suite that every backend runs, on the GPU; each test reports itself skipped where there is none.

mod common;

nca_core::backend_suite!(common::gpu);
