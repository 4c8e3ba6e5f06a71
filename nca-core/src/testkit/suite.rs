//! The list of operations, and the tests made of it.

use super::compare::Mismatch;
use crate::backend::{Backend, Device};

/// What a test's closure may return: a backend, or `None` where its device is missing.
pub trait Candidate {
    /// The backend.
    type Backend: Backend;
    /// The backend, unless its device is missing.
    fn candidate(self) -> Option<Self::Backend>;
}

impl<B: Backend> Candidate for B {
    type Backend = B;
    fn candidate(self) -> Option<B> {
        Some(self)
    }
}

impl<B: Backend> Candidate for Option<B> {
    type Backend = B;
    fn candidate(self) -> Self {
        self
    }
}

/// Runs one check of the suite as the body of a test: panics with the mismatch, or reports itself
/// skipped where the device is missing.
#[track_caller]
pub fn run<C: Candidate>(candidate: C, check: impl Fn(&C::Backend) -> Result<(), Mismatch>) {
    match candidate.candidate() {
        None => eprintln!("skipped: no device"),
        Some(backend) => {
            if let Err(mismatch) = check(&backend) {
                panic!("{}: {mismatch}", backend.describe());
            }
        }
    }
}

macro_rules! operations {
    ($d:tt parity: $($op:ident)*; gradient: $($differentiable:ident)*;) => {
        /// Every check of the suite by the stem of its operation.
        #[must_use]
        pub fn suite<B: Backend<Elem = f32>>() -> Vec<(&'static str, fn(&B) -> Result<(), Mismatch>)> {
            vec![$((stringify!($op), super::$op::parity::<B>)),*]
        }

        /// Expands to one `#[test]` per operation that holds a backend against the oracle.
        ///
        /// The argument is a function or closure that makes the backend (with f32 buffers), or an
        /// `Option` of it where its device may be missing. `gradients` before it makes the tests that hold
        /// the gradients of a backend with f64 buffers against central differences.
        ///
        /// ```
        /// use nca_core::reference::Reference;
        /// nca_core::backend_suite!(Reference::<f32>::new);
        /// mod gradients {
        ///     use super::*;
        ///     nca_core::backend_suite!(gradients Reference::<f64>::new);
        /// }
        /// ```
        #[macro_export]
        macro_rules! backend_suite {
            (gradients $d make:expr) => {
                $(
                    #[test]
                    fn $differentiable() {
                        $crate::testkit::run(($d make)(), $crate::testkit::$differentiable::gradient);
                    }
                )*
            };
            ($d make:expr) => {
                $(
                    #[test]
                    fn $op() {
                        $crate::testkit::run(($d make)(), $crate::testkit::$op::parity);
                    }
                )*
            };
        }
    };
}

operations! {
    $
    parity: device perceive mlp update nca_step rollout rgb conv2d avg_pool2 sort_rows l1 overflow normalize adam axpy relu max_pool2 matmul normalize_rows gather_columns minima l2 channel_affine flow_magnitude resize upsample2 warp refusals;
    gradient: perceive mlp update nca_step rollout rgb conv2d avg_pool2 sort_rows l1 overflow relu max_pool2 matmul normalize_rows gather_columns minima l2 channel_affine flow_magnitude resize upsample2 warp;
}
