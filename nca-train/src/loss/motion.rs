//! Motion strength Ψ of a rollout's frames, and its gradient with respect to each of them.

use std::mem::swap;

use nca_core::backend::Backend;
use nca_core::{Error, Grid, NcaConfig, Result};
use spynet::{FlowPass, SpyNet, SpyNetWeights};

use crate::objective::{MotionTerm, Pairing};

/// Computes Ψ from frames that come one by one.
///
/// The flow network runs forward and, where a gradient is wanted, backward once for each pair, one
/// pair (of all samples) at a time: as soon as both frames are there for successive pairs, at the end
/// for those with the last frame. What is kept is `dΨ/dframe`; the factor that the loss puts on it is
/// known only when Ψ is.
///
/// Memory: [`MotionTerm::stored_frames`] pictures `[B,3,H,W]` and four more, one flow `[B,2,H,W]`, and
/// the flow network's buffers for one pair ([`FlowPass`]). Only the first grows with the number of
/// frames.
#[derive(Debug)]
pub struct MotionLoss<B: Backend> {
    term: MotionTerm,
    grid: Grid,
    net: SpyNet<B>,
    pass: FlowPass<B>,
    /// Frames seen.
    seen: usize,
    /// Of the frames from [`Self::first_stored`] on: gradients, and until their flow is known, the
    /// frames themselves where the last one is needed for it.
    stored: Vec<B::Buffer>,
    first_stored: usize,
    /// The frame seen last and the one before it.
    current: B::Buffer,
    previous: B::Buffer,
    g_flow: B::Buffer,
    g_first: B::Buffer,
    g_second: B::Buffer,
}

impl<B: Backend> MotionLoss<B> {
    /// The length of a flow vector is taken as `√(u² + v² + ε²) − ε`, which has a derivative at 0.
    /// ε in pixels: Ψ is too small by at most that.
    pub const EPSILON: f64 = 1e-3;

    /// The Ψ of `term` for frames of `grid`, seen by the network of `weights`.
    pub fn new(backend: &B, term: &MotionTerm, weights: &SpyNetWeights, grid: Grid) -> Result<Self> {
        term.validate()?;
        let net = SpyNet::new(backend, weights)?;
        let picture = || backend.zeros(3 * grid.cells());
        Ok(Self {
            pass: FlowPass::new(backend, &net, grid, true)?,
            net,
            grid,
            seen: 0,
            stored: (0..term.stored_frames()).map(|_| picture()).collect::<Result<_>>()?,
            first_stored: term.frames - term.stored_frames(),
            current: picture()?,
            previous: picture()?,
            g_flow: backend.zeros(2 * grid.cells())?,
            g_first: picture()?,
            g_second: picture()?,
            term: term.clone(),
        })
    }

    /// Forgets all frames.
    pub fn begin(&mut self) {
        self.seen = 0;
    }

    /// Takes the next frame, the picture of `state [B,C,H,W]`, and adds its part of Ψ to
    /// `out[slot]`; after the last frame all of Ψ is there.
    pub fn push(
        &mut self,
        backend: &B,
        config: &NcaConfig,
        state: &B::Buffer,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        let index = self.seen;
        if index == self.term.frames {
            return Err(Error::invalid(
                "number of frames",
                index + 1,
                self.term.frames.to_string(),
            ));
        }
        self.seen += 1;
        swap(&mut self.current, &mut self.previous);
        backend.rgb(config, self.grid, state, &mut self.current)?;
        match self.term.pairs {
            Pairing::Successive if index > 0 => self.successive(backend, index, out, slot),
            Pairing::Successive => self.clear_gradient(backend, 0),
            Pairing::Last if self.seen == self.term.frames => self.pairs_with_last(backend, out, slot),
            Pairing::Last => {
                let len = 3 * self.grid.cells();
                backend.copy(&self.current, 0, &mut self.stored[index], 0, len)
            }
        }
    }

    /// `dΨ/dframe [B,3,H,W]` of frame `index`, once all frames have been pushed.
    ///
    /// # Errors
    /// [`Error::Invalid`] before that, and for frames before the window.
    pub fn gradient(&self, index: usize) -> Result<&B::Buffer> {
        let stored = index.checked_sub(self.first_stored).and_then(|i| self.stored.get(i));
        match stored {
            Some(gradient) if self.seen == self.term.frames && index >= self.term.first_in_window() => Ok(gradient),
            _ => Err(Error::invalid(
                "frame whose gradient is asked for",
                format!("{index} after {} frames", self.seen),
                format!("{} to {}", self.term.first_in_window(), self.term.frames - 1),
            )),
        }
    }

    /// The pair of the frame seen last and the one before it.
    fn successive(&mut self, backend: &B, index: usize, out: &mut B::Buffer, slot: usize) -> Result<()> {
        self.pass.forward(backend, &self.net, &self.previous, &self.current)?;
        self.add_psi(backend, out, slot)?;
        let Some(second) = index.checked_sub(self.first_stored) else {
            return Ok(());
        };
        let (pass, net) = (&mut self.pass, &self.net);
        let g_second = &mut self.stored[second];
        pass.backward(backend, net, &self.g_flow, &mut self.g_first, g_second, None)?;
        match second.checked_sub(1) {
            Some(first) => backend.axpy(1.0, &self.g_first, &mut self.stored[first]),
            None => Ok(()),
        }
    }

    /// All pairs of the frame seen last with an earlier one. Each earlier frame is needed no more
    /// once its pair is done, and gives its place to its gradient.
    fn pairs_with_last(&mut self, backend: &B, out: &mut B::Buffer, slot: usize) -> Result<()> {
        let last = self.term.pair_count();
        self.clear_gradient(backend, last)?;
        for earlier in 0..last {
            self.pass
                .forward(backend, &self.net, &self.current, &self.stored[earlier])?;
            self.add_psi(backend, out, slot)?;
            let (pass, net) = (&mut self.pass, &self.net);
            pass.backward(backend, net, &self.g_flow, &mut self.g_first, &mut self.g_second, None)?;
            swap(&mut self.stored[earlier], &mut self.g_second);
            backend.axpy(1.0, &self.g_first, &mut self.stored[last])?;
        }
        Ok(())
    }

    /// Sets the gradient of frame `index` to 0, if it has one.
    fn clear_gradient(&mut self, backend: &B, index: usize) -> Result<()> {
        match index.checked_sub(self.first_stored) {
            Some(i) => backend.fill(0.0, &mut self.stored[i]),
            None => Ok(()),
        }
    }

    /// Adds the share of the flow found last to Ψ, and sets `g_flow` to its derivative.
    fn add_psi(&mut self, backend: &B, out: &mut B::Buffer, slot: usize) -> Result<()> {
        let plane = self.grid.plane();
        let weight = 1.0 / (self.term.pair_count() * self.grid.cells()) as f64;
        let flow = self.pass.flow();
        backend.flow_magnitude(plane, Self::EPSILON, weight, flow, out, slot)?;
        backend.flow_magnitude_backward(plane, Self::EPSILON, weight, flow, &mut self.g_flow)
    }
}
