//! Memory that operations need between their kernels.

use std::sync::{Mutex, MutexGuard, PoisonError};

use nca_core::Result;

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const ADD_PARTIAL_SUMS: Kernel = Kernel::new("reduce", "add_partial_sums");

/// A buffer that grows to what has been needed so far and is used again by every call.
///
/// Work is done in the order of the calls, so a kernel finds its predecessor's results as long as no
/// other thread starts kernels in between: that is what the lock is for.
#[derive(Debug, Default)]
pub(crate) struct Workspace(Mutex<Option<Buffer>>);

/// The workspace, for as long as kernels that belong together are being started.
pub(crate) struct Held<'a>(MutexGuard<'a, Option<Buffer>>);

impl Held<'_> {
    /// Where it starts.
    pub(crate) fn address(&self) -> u64 {
        self.0.as_ref().map_or(0, Buffer::address)
    }

    /// Where element `index` lies.
    pub(crate) fn at(&self, index: usize) -> u64 {
        self.0.as_ref().map_or(0, |buffer| buffer.at(index))
    }
}

impl Cuda {
    /// At least `len` f32 of unspecified contents.
    pub(crate) fn workspace(&self, len: usize) -> Result<Held<'_>> {
        let mut held = self.workspace.0.lock().unwrap_or_else(PoisonError::into_inner);
        if held.as_ref().is_none_or(|buffer| buffer.len() < len) {
            // The old one first: both together might not fit.
            *held = None;
            *held = Some(Buffer::uninitialized(self.machine(), len)?);
        }
        Ok(Held(held))
    }

    /// `out[slot] += weight · Σ partial`: `terms(shape, partial)` starts a kernel that writes one partial
    /// sum for each block, over `len` elements.
    pub(crate) fn add_sum(
        &self,
        len: usize,
        weight: f64,
        out: &Buffer,
        slot: usize,
        terms: impl FnOnce(Shape, u64) -> Result<()>,
    ) -> Result<()> {
        let shape = Shape::linear(len);
        let blocks = shape.grid[0];
        let partial = self.workspace(blocks as usize)?;
        terms(shape, partial.address())?;
        launch!(
            self,
            ADD_PARTIAL_SUMS,
            Shape::blocks(1),
            partial.address(),
            blocks,
            weight as f32,
            out.address(),
            slot as u64,
        )
    }
}
