//! The rectifier between layers.

use super::Device;
use crate::error::Result;

/// `max(x, 0)`, in place: a network keeps what came out, and that is all backward needs.
pub trait Relu: Device {
    /// `x = max(x, 0)`; NaN stays NaN.
    fn relu(&self, x: &mut Self::Buffer) -> Result<()>;

    /// Turns `g`, the gradient after the rectifier, into the gradient before it: 0 wherever `y`, the
    /// output of [`Relu::relu`], is not positive. The derivative at 0 is 0.
    fn relu_backward(&self, y: &Self::Buffer, g: &mut Self::Buffer) -> Result<()>;
}
