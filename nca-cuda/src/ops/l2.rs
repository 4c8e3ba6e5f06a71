//! Weighted squared L2 distance to a target shared by all samples: launched as the L1 distance is.

use nca_core::Result;
use nca_core::backend::L2;

use crate::module::Kernel;
use crate::{Buffer, Cuda};

const L2: Kernel = Kernel::new("l2", "l2");
const L2_BACKWARD: Kernel = Kernel::new("l2", "l2_backward");

impl L2 for Cuda {
    fn l2(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        self.distance("l2", L2, weight, [a, b], out, slot)
    }

    fn l2_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        self.distance_backward("l2_backward", L2_BACKWARD, weight, [a, b], g_a)
    }
}
