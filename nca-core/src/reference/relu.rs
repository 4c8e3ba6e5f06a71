//! The rectifier between layers.

use super::Reference;
use crate::backend::Relu;
use crate::error::{Result, check_len};
use crate::real::Real;

impl<T: Real> Relu for Reference<T> {
    fn relu(&self, x: &mut Vec<T>) -> Result<()> {
        // x of any shape, in place. Backward needs the result.
        for v in x {
            // Not `max`, which would turn NaN into 0.
            if *v <= T::zero() {
                *v = T::zero();
            }
        }
        Ok(())
    }

    fn relu_backward(&self, y: &Vec<T>, g: &mut Vec<T>) -> Result<()> {
        // g as y, in place.
        check_len("relu_backward", "g", g.len(), y.len())?;
        for (g, &y) in g.iter_mut().zip(y) {
            *g = if y > T::zero() { *g } else { T::zero() };
        }
        Ok(())
    }
}
