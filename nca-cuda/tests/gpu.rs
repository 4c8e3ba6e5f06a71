//! The suite that every backend runs, on the GPU; each test reports itself skipped where there is none.

use nca_cuda::Cuda;

/// The GPU, or `None` with the reason printed; where `NCA_REQUIRE_GPU=1`, a failure instead.
fn gpu() -> Option<Cuda> {
    match Cuda::new() {
        Ok(cuda) => Some(cuda),
        Err(reason) if std::env::var("NCA_REQUIRE_GPU").is_ok_and(|value| value == "1") => {
            panic!("NCA_REQUIRE_GPU=1, but: {reason}")
        }
        Err(reason) => {
            eprintln!("skipped: {reason}");
            None
        }
    }
}

nca_core::backend_suite!(gpu);
