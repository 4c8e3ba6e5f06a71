//! The backends that tests run on.

use std::sync::OnceLock;

use nca_core::Precision;
use nca_cuda::{Cuda, Unavailable};

/// Whether a test that finds no GPU fails.
fn required() -> bool {
    std::env::var("NCA_REQUIRE_GPU").is_ok_and(|value| value == "1")
}

/// The GPU, or `None` with the reason printed; where `NCA_REQUIRE_GPU=1`, a failure instead. All tests of a program share it,
/// so that its kernels are loaded once.
pub(crate) fn gpu() -> Option<Cuda> {
    static GPU: OnceLock<Result<Cuda, Unavailable>> = OnceLock::new();
    match GPU.get_or_init(Cuda::new) {
        Ok(cuda) => Some(cuda.clone()),
        Err(reason) if required() => panic!("NCA_REQUIRE_GPU=1, but: {reason}"),
        Err(reason) => {
            eprintln!("skipped on the GPU: {reason}");
            None
        }
    }
}

/// The emulated kernels, and the compiled ones where there is a GPU; those alone where one is required, whose time is
/// not for what runs anywhere.
#[allow(
    dead_code,
    reason = "each test file is a program of its own, and one of them wants the GPU alone"
)]
pub(crate) fn backends() -> Vec<Cuda> {
    let emulated = (!required()).then(Cuda::emulated);
    emulated.into_iter().chain(gpu()).collect()
}

/// [`backends`] in every precision of products.
#[allow(dead_code, reason = "as above")]
pub(crate) fn precise_backends() -> Vec<Cuda> {
    let all = |cuda: Cuda| Precision::ALL.map(|precision| cuda.clone().with_precision(precision));
    backends().into_iter().flat_map(all).collect()
}
