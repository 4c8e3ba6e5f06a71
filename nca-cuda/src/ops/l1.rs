//! Weighted L1 distance to a target shared by all samples.

use nca_core::backend::L1;
use nca_core::{Error, Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::workspace::check_slot;
use crate::{Buffer, Cuda};

const L1: Kernel = Kernel::new("l1", "l1");
const L1_BACKWARD: Kernel = Kernel::new("l1", "l1_backward");

impl L1 for Cuda {
    fn l1(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check_samples("l1", a, b)?;
        check_slot("l1", out, slot)?;
        let (len, period) = (a.len(), b.len());
        self.add_sum(len, weight, out, slot, |shape, partial| {
            launch!(
                self,
                L1,
                shape,
                a.address(),
                b.address(),
                len as u64,
                period as u64,
                partial
            )
        })
    }

    fn l1_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        check_samples("l1_backward", a, b)?;
        check_len("l1_backward", "g_a", g_a.len(), a.len())?;
        let (len, period) = (a.len(), b.len());
        launch!(
            self,
            L1_BACKWARD,
            Shape::linear(len),
            weight as f32,
            a.address(),
            b.address(),
            g_a.address(),
            len as u64,
            period as u64,
        )
    }
}

/// `a` must be a whole number of samples as long as `b`.
pub(super) fn check_samples(op: &'static str, a: &Buffer, b: &Buffer) -> Result<()> {
    if a.len() == 0 || (b.len() > 0 && a.len().is_multiple_of(b.len())) {
        return Ok(());
    }
    Err(Error::Length {
        op,
        what: "a",
        found: a.len(),
        expected: b.len(),
    })
}
