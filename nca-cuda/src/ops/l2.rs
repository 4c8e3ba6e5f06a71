//! Weighted squared L2 distance to a target shared by all samples.

use nca_core::backend::L2;
use nca_core::{Result, check_len};

use super::l1::check_samples;
use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::workspace::check_slot;
use crate::{Buffer, Cuda};

const L2: Kernel = Kernel::new("l2", "l2");
const L2_BACKWARD: Kernel = Kernel::new("l2", "l2_backward");

impl L2 for Cuda {
    fn l2(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        check_samples("l2", a, b)?;
        check_slot("l2", out, slot)?;
        let (len, period) = (a.len(), b.len());
        self.add_sum(len, weight, out, slot, |shape, partial| {
            launch!(
                self,
                L2,
                shape,
                a.address(),
                b.address(),
                len as u64,
                period as u64,
                partial
            )
        })
    }

    fn l2_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        check_samples("l2_backward", a, b)?;
        check_len("l2_backward", "g_a", g_a.len(), a.len())?;
        let (len, period) = (a.len(), b.len());
        launch!(
            self,
            L2_BACKWARD,
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
