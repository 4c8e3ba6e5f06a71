//! The kernels, compiled for the host, through the suite that every backend runs.

use nca_core::Precision;
use nca_cuda::Cuda;

nca_core::backend_suite!(Cuda::emulated);

/// With products on tensor cores.
macro_rules! rounded {
    ($($name:ident $precision:ident;)*) => {
        $(mod $name {
            use super::{Cuda, Precision};
            nca_core::backend_suite!(|| Cuda::emulated().with_precision(Precision::$precision));
        })*
    };
}

rounded! {
    tf32 Tf32;
    f16 F16;
    bf16 Bf16;
}
