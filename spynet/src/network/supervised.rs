//! A loss on the flow of each level: what training needs of a pass.

use nca_core::backend::Backend;
use nca_core::{Error, Result};

use super::pass::upsample_shape;
use super::{FlowPass, SpyNet};

impl<B: Backend> FlowPass<B> {
    /// Rows and columns of each level, coarsest first.
    pub fn level_sizes(&self) -> impl Iterator<Item = (usize, usize)> + '_ {
        self.levels.iter().map(|level| (level.height, level.width))
    }

    /// Flow of `level` in the last forward, `[B,2,h,w]`, in pixels of that level.
    ///
    /// # Panics
    /// If the pass has no such level.
    #[must_use]
    pub fn level_flow(&self, level: usize) -> &B::Buffer {
        &self.levels[level].flow
    }

    /// Gradients of a sum of losses on the levels' flows, with respect to the weights of the levels from
    /// `lowest` up (`+=`). Nothing flows into the levels below: they count as given.
    ///
    /// `g_loss(level, flow, g_flow)` sets the gradient of the level's own loss, both `[B,2,h,w]`; it is
    /// asked for each level from the finest down to `lowest`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the pass was made for gradients.
    pub fn backward_supervised(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        lowest: usize,
        mut g_loss: impl FnMut(usize, &B::Buffer, &mut B::Buffer) -> Result<()>,
        grads: &mut SpyNet<B>,
    ) -> Result<()> {
        let (batch, levels) = (self.grid.batch, &self.levels);
        let Some(gradients) = self.gradients.as_mut() else {
            return Err(Error::invalid(
                "flow pass",
                "made without gradients",
                "one made for them",
            ));
        };
        for l in (lowest..levels.len()).rev() {
            let (below, own) = gradients.split_at_mut(l);
            let (level, own) = (&levels[l], &mut own[0]);
            if l + 1 == levels.len() {
                g_loss(l, &level.flow, &mut own.flow)?;
            } else {
                // `own.flow` holds what came down from the level above.
                g_loss(l, &level.flow, &mut own.flow_term)?;
                backend.axpy(1.0, &own.flow_term, &mut own.flow)?;
            }
            let inputs = l > lowest;
            own.layers_backward(
                backend,
                level,
                &net.levels[l],
                batch,
                Some(&mut grads.levels[l]),
                inputs,
            )?;
            if inputs && let Some(below) = below.last_mut() {
                own.inputs_backward(backend, level, batch)?;
                let shape = upsample_shape(batch, &levels[l - 1], level);
                backend.upsample2_backward(&shape, 2.0, &own.flow, &mut below.flow)?;
            }
        }
        Ok(())
    }
}
