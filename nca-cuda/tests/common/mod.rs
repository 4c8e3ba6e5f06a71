//! The backends that tests run on.

use nca_cuda::Cuda;

/// The GPU, or `None` with the reason printed; where `NCA_REQUIRE_GPU=1`, a failure instead.
pub(crate) fn gpu() -> Option<Cuda> {
    match Cuda::new() {
        Ok(cuda) => Some(cuda),
        Err(reason) if std::env::var("NCA_REQUIRE_GPU").is_ok_and(|value| value == "1") => {
            panic!("NCA_REQUIRE_GPU=1, but: {reason}")
        }
        Err(reason) => {
            eprintln!("skipped on the GPU: {reason}");
            None
        }
    }
}

/// The emulated kernels, and the compiled ones where there is a GPU.
#[allow(
    dead_code,
    reason = "each test file is a program of its own, and one of them wants the GPU alone"
)]
pub(crate) fn backends() -> Vec<Cuda> {
    // Where a GPU is required, for its sake and not for what runs anywhere.
    let gpu = gpu();
    [Cuda::emulated()].into_iter().chain(gpu).collect()
}
