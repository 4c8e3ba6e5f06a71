//! The Adam optimiser.

// A struct of C goes to the kernel.
#![allow(unsafe_code)]

use nca_core::backend::{Adam, AdamStep};
use nca_core::{Result, check_len};

use crate::launch::{Argument, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const ADAM: Kernel = Kernel::new("adam", "adam");

/// `AdamStep` in the kernel. Formed in f64: 1 − β2 of an f32 β2 would be wrong in its fifth digit.
#[repr(C)]
struct Constants {
    beta1: f32,
    rest1: f32,
    beta2: f32,
    rest2: f32,
    rate: f32,
    root_bias2: f32,
    epsilon: f32,
    decay: f32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for Constants {}

impl Adam for Cuda {
    fn adam(&self, settings: &AdamStep, g: &Buffer, p: &mut Buffer, m: &mut Buffer, v: &mut Buffer) -> Result<()> {
        settings.validate()?;
        let len = g.len();
        for (what, found) in [("p", p.len()), ("m", m.len()), ("v", v.len())] {
            check_len("adam", what, found, len)?;
        }
        let (bias1, bias2) = settings.bias_corrections();
        let constants = Constants {
            beta1: settings.beta1 as f32,
            rest1: (1.0 - settings.beta1) as f32,
            beta2: settings.beta2 as f32,
            rest2: (1.0 - settings.beta2) as f32,
            rate: (settings.learning_rate / bias1) as f32,
            root_bias2: bias2.sqrt() as f32,
            epsilon: settings.epsilon as f32,
            decay: settings.weight_decay as f32,
        };
        launch!(
            self,
            ADAM,
            Shape::linear(len),
            constants,
            g.address(),
            p.address(),
            m.address(),
            v.address(),
            len as u64,
        )
    }
}
