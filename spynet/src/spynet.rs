//! SpyNet as a flow estimator.

use std::fmt;
use std::sync::{Mutex, PoisonError};

use nca_core::backend::Backend;
use nca_core::{Grid, Result};

use crate::choice::builtin_name;
use crate::estimator::FlowEstimator;
use crate::network::{FlowPass, SpyNet};
use crate::weights::SpyNetWeights;

/// A flow network that takes frames from the host and runs on a backend.
///
/// Its buffers are kept from call to call, for the size of frames seen last.
pub struct SpyNetFlow<'b, B: Backend<Elem = f32>> {
    backend: &'b B,
    name: String,
    net: SpyNet<B>,
    buffers: Mutex<Option<Buffers<B>>>,
}

struct Buffers<B: Backend> {
    pass: FlowPass<B>,
    first: B::Buffer,
    second: B::Buffer,
}

impl<'b, B: Backend<Elem = f32>> SpyNetFlow<'b, B> {
    /// The network that comes with the crate, under the name that results of the command line give it.
    pub fn builtin(backend: &'b B) -> Result<Self> {
        Self::named(backend, &SpyNetWeights::builtin()?, &builtin_name())
    }

    /// The network of `weights` on `backend`, called `spynet`, whatever the weights.
    pub fn new(backend: &'b B, weights: &SpyNetWeights) -> Result<Self> {
        Self::named(backend, weights, "spynet")
    }

    /// As [`SpyNetFlow::new`] under a name that tells its weights from others.
    pub fn named(backend: &'b B, weights: &SpyNetWeights, name: &str) -> Result<Self> {
        Ok(Self {
            backend,
            name: name.to_owned(),
            net: SpyNet::new(backend, weights)?,
            buffers: Mutex::new(None),
        })
    }
}

impl<B: Backend<Elem = f32>> FlowEstimator for SpyNetFlow<'_, B> {
    fn name(&self) -> &str {
        &self.name
    }

    fn flow(&self, grid: Grid, first: &[f32], second: &[f32]) -> Result<Vec<f32>> {
        // Buffers hold nothing that a panic elsewhere could have left half done: each call fills them.
        let mut slot = self.buffers.lock().unwrap_or_else(PoisonError::into_inner);
        let backend = self.backend;
        let buffers = match slot.take().filter(|buffers| buffers.pass.grid() == grid) {
            Some(buffers) => buffers,
            None => Buffers {
                pass: FlowPass::new(backend, &self.net, grid, false)?,
                first: backend.zeros(3 * grid.cells())?,
                second: backend.zeros(3 * grid.cells())?,
            },
        };
        let buffers = slot.insert(buffers);
        backend.upload(first, &mut buffers.first)?;
        backend.upload(second, &mut buffers.second)?;
        let flow = buffers
            .pass
            .forward(backend, &self.net, &buffers.first, &buffers.second)?;
        backend.to_vec(flow)
    }
}

impl<B: Backend<Elem = f32>> fmt::Debug for SpyNetFlow<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SpyNetFlow on {}", self.backend.describe())
    }
}
