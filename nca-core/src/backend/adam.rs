//! The Adam optimiser (Kingma & Ba, ICLR 2015).

use super::Device;
use crate::error::{Error, Result};

/// Settings of one Adam step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamStep {
    /// Learning rate of this step.
    pub learning_rate: f64,
    /// Decay of the first moment.
    pub beta1: f64,
    /// Decay of the second moment.
    pub beta2: f64,
    /// Summand in the denominator.
    pub epsilon: f64,
    /// L2 penalty, added to the gradient as `weight_decay · p` (PyTorch's `Adam`, not AdamW).
    pub weight_decay: f64,
    /// Number of this step, counted from 1.
    pub step: u64,
}

impl AdamStep {
    /// A step is counted from 1: the corrections of step 0 are zero, and would make NaN of every parameter.
    pub fn validate(&self) -> Result<()> {
        if self.step == 0 {
            return Err(Error::invalid("adam: step", 0, "a number from 1"));
        }
        Ok(())
    }

    /// `1 − β1ᵗ` and `1 − β2ᵗ`.
    #[must_use]
    pub fn bias_corrections(&self) -> (f64, f64) {
        let t = self.step as f64;
        (1.0 - self.beta1.powf(t), 1.0 - self.beta2.powf(t))
    }
}

/// One optimiser step of one tensor.
pub trait Adam: Device {
    /// `g' = g + weight_decay·p; m = β1·m + (1−β1)·g'; v = β2·v + (1−β2)·g'²;`
    /// `p −= lr/(1−β1ᵗ) · m / (√v/√(1−β2ᵗ) + ε)`. All buffers have the same length; `settings` must be
    /// [valid](AdamStep::validate).
    fn adam(
        &self,
        settings: &AdamStep,
        g: &Self::Buffer,
        p: &mut Self::Buffer,
        m: &mut Self::Buffer,
        v: &mut Self::Buffer,
    ) -> Result<()>;
}
