//! Weighted L1 distance to a target shared by all samples.

use nca_core::backend::{L1, check};
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const L1: Kernel = Kernel::new("l1", "l1");
const L1_BACKWARD: Kernel = Kernel::new("l1", "l1_backward");

impl L1 for Cuda {
    fn l1(&self, weight: f64, a: &Buffer, b: &Buffer, out: &mut Buffer, slot: usize) -> Result<()> {
        self.distance("l1", L1, weight, [a, b], out, slot)
    }

    fn l1_backward(&self, weight: f64, a: &Buffer, b: &Buffer, g_a: &mut Buffer) -> Result<()> {
        self.distance_backward("l1_backward", L1_BACKWARD, weight, [a, b], g_a)
    }
}

impl Cuda {
    /// `out[slot] += weight · Σ over samples of the distance of a [S,N] from b [N]`, as `kernel` measures it.
    pub(super) fn distance(
        &self,
        op: &'static str,
        kernel: Kernel,
        weight: f64,
        [a, b]: [&Buffer; 2],
        out: &Buffer,
        slot: usize,
    ) -> Result<()> {
        let (len, period) = (a.len(), b.len());
        check::samples(op, len, period)?;
        check::slot(op, out.len(), slot)?;
        self.add_sum(len, weight, out, slot, |shape, partial| {
            launch!(
                self,
                kernel,
                shape,
                a.address(),
                b.address(),
                len as u64,
                period as u64,
                partial
            )
        })
    }

    /// The gradient of [`Cuda::distance`] with respect to `a`.
    pub(super) fn distance_backward(
        &self,
        op: &'static str,
        kernel: Kernel,
        weight: f64,
        [a, b]: [&Buffer; 2],
        g_a: &Buffer,
    ) -> Result<()> {
        let (len, period) = (a.len(), b.len());
        check::samples(op, len, period)?;
        check_len(op, "g_a", g_a.len(), len)?;
        launch!(
            self,
            kernel,
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
