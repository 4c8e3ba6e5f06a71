//! A loss on the flow of each round: what training needs of a pass.

use nca_core::backend::Backend;
use nca_core::{Error, Result};

use super::{FlowPass, SpyNet};

/// One application of a level.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round {
    /// The level's number, the coarsest being 0.
    pub level: usize,
    /// Rows of its flow.
    pub height: usize,
    /// Columns of its flow.
    pub width: usize,
}

impl<B: Backend> FlowPass<B> {
    /// The rounds of all levels, coarsest first.
    pub fn rounds(&self) -> impl Iterator<Item = Round> + '_ {
        self.levels.iter().map(|level| Round {
            level: level.number,
            height: level.height,
            width: level.width,
        })
    }

    /// Flow of a round in the last forward, `[B,2,h,w]`, in pixels of its level.
    ///
    /// # Panics
    /// If the pass has no such round.
    #[must_use]
    pub fn round_flow(&self, round: usize) -> &B::Buffer {
        &self.levels[round].flow
    }

    /// Gradients of a sum of losses on the rounds' flows, with respect to the weights of the levels from
    /// `lowest` up (`+=`). Nothing flows into the levels below: they count as given.
    ///
    /// `g_loss(round, flow, g_flow)` sets the gradient of the round's own loss, both `[B,2,h,w]`; it is
    /// asked for each round from the last down to the first of level `lowest`.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the pass was made for gradients, of a network with the shapes of `net` and `grads`.
    pub fn backward_supervised(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        lowest: usize,
        mut g_loss: impl FnMut(usize, &B::Buffer, &mut B::Buffer) -> Result<()>,
        grads: &mut SpyNet<B>,
    ) -> Result<()> {
        self.check_weights(net)?;
        self.check_gradients(grads)?;
        let (batch, levels) = (self.grid.batch, &self.levels);
        let Some(gradients) = self.gradients.as_mut() else {
            return Err(Error::invalid(
                "flow pass",
                "made without gradients",
                "one made for them",
            ));
        };
        let first = levels.partition_point(|level| level.number < lowest);
        for l in (first..levels.len()).rev() {
            let (below, own) = gradients.split_at_mut(l);
            let (level, own) = (&levels[l], &mut own[0]);
            if l + 1 == levels.len() {
                g_loss(l, &level.flow, &mut own.flow)?;
            } else {
                // `own.flow` holds what came down from the round above.
                g_loss(l, &level.flow, &mut own.flow_term)?;
                backend.axpy(1.0, &own.flow_term, &mut own.flow)?;
            }
            let inputs = l > first;
            own.layers_backward(
                backend,
                level,
                &net.levels[level.number],
                batch,
                Some(&mut grads.levels[level.number]),
                inputs,
            )?;
            if inputs && let Some(below) = below.last_mut() {
                own.inputs_backward(backend, level, batch)?;
                own.start_backward(backend, level, &levels[l - 1], batch, &mut below.flow)?;
            }
        }
        Ok(())
    }
}
