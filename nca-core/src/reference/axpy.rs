//! Scaled vector addition.

use super::Reference;
use crate::backend::Axpy;
use crate::error::{Result, check_len};
use crate::real::Real;

impl<T: Real> Axpy for Reference<T> {
    fn axpy(&self, alpha: f64, x: &Vec<T>, y: &mut Vec<T>) -> Result<()> {
        check_len("axpy", "x", x.len(), y.len())?;
        for (y, &x) in y.iter_mut().zip(x) {
            *y += T::of(alpha) * x;
        }
        Ok(())
    }
}
