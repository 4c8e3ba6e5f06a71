//! The reference backend: in f32 against itself in f64, in f64 against differences.

use nca_core::Precision;
use nca_core::reference::Reference;

mod parity {
    use super::Reference;
    nca_core::backend_suite!(Reference::<f32>::new);
}

mod gradient {
    use super::Reference;
    nca_core::backend_suite!(gradients Reference::<f64>::new);
}

/// With rounded products: the tolerances that other backends are held to must fit the definition.
macro_rules! rounded {
    ($($name:ident $precision:ident;)*) => {
        $(mod $name {
            use super::{Precision, Reference};
            nca_core::backend_suite!(|| Reference::<f32>::new().with_precision(Precision::$precision));
        })*
    };
}

rounded! {
    tf32 Tf32;
    f16 F16;
    bf16 Bf16;
}
