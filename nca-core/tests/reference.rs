//! The reference backend: in f32 against itself in f64, in f64 against differences.

use nca_core::reference::Reference;

mod parity {
    use super::Reference;
    nca_core::backend_suite!(Reference::<f32>::new);
}

mod gradient {
    use super::Reference;
    nca_core::backend_suite!(gradients Reference::<f64>::new);
}
