//! The suite that every backend runs, on the GPU; each test reports itself skipped where there is none.

mod common;

nca_core::backend_suite!(common::gpu);

/// With products on tensor cores: this is where their fragments are those of a real GPU.
macro_rules! rounded {
    ($($name:ident $precision:ident;)*) => {
        $(mod $name {
            use super::common;
            use nca_core::Precision;
            nca_core::backend_suite!(|| common::gpu().map(|gpu| gpu.with_precision(Precision::$precision)));
        })*
    };
}

rounded! {
    tf32 Tf32;
    f16 F16;
    bf16 Bf16;
}
