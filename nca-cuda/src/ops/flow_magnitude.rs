//! The length of a flow field's vectors.

use nca_core::backend::{FlowMagnitude, check};
use nca_core::{Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const FLOW_MAGNITUDE: Kernel = Kernel::new("flow_magnitude", "flow_magnitude");
const FLOW_MAGNITUDE_BACKWARD: Kernel = Kernel::new("flow_magnitude", "flow_magnitude_backward");

impl FlowMagnitude for Cuda {
    fn flow_magnitude(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Buffer,
        out: &mut Buffer,
        slot: usize,
    ) -> Result<()> {
        const OP: &str = "flow_magnitude";
        check::planes(OP, 2, plane, flow.len())?;
        check::slot(OP, out.len(), slot)?;
        let vectors = flow.len() / 2;
        self.add_sum(vectors, weight, out, slot, |shape, partial| {
            launch!(
                self,
                FLOW_MAGNITUDE,
                shape,
                flow.address(),
                vectors as u64,
                plane as u64,
                epsilon as f32,
                partial,
            )
        })
    }

    fn flow_magnitude_backward(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &Buffer,
        g_flow: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "flow_magnitude_backward";
        check::planes(OP, 2, plane, flow.len())?;
        check_len(OP, "g_flow", g_flow.len(), flow.len())?;
        let vectors = flow.len() / 2;
        launch!(
            self,
            FLOW_MAGNITUDE_BACKWARD,
            Shape::linear(vectors),
            flow.address(),
            vectors as u64,
            plane as u64,
            epsilon as f32,
            weight as f32,
            g_flow.address(),
        )
    }
}
