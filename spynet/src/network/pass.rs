//! The whole network on one size of frames.

use nca_core::backend::{Backend, ResizeShape, check};
use nca_core::{Error, Grid, Result, check_len};

use super::level::{Level, LevelGradients};
use super::{DEVIATION, Layer, MEAN, MULTIPLE, SpyNet, pyramid};

/// Buffers of one size of frames: runs a network forward and, if asked for, backward.
///
/// Memory: `4/3 · (13 + 8 + Σ outputs)` elements for each pixel, 225 with the layers of the published
/// network, times the rounds of a level; and as many again for gradients.
#[derive(Debug)]
pub struct FlowPass<B: Backend> {
    pub(super) grid: Grid,
    /// Inputs, outputs and side of the kernel of the layers of each level that the frames reach, coarsest first.
    layers: Vec<Vec<[usize; 3]>>,
    /// Rounds of each of these levels.
    rounds: Vec<usize>,
    /// Levels that the frames would reach, had the network as many.
    reached: usize,
    /// Frames of the given size with the training colours' mean and deviation removed.
    normalized: B::Buffer,
    /// The rounds of every level, coarsest first.
    pub(super) levels: Vec<Level<B>>,
    pub(super) gradients: Option<Vec<LevelGradients<B>>>,
    /// Flow of the given size, `[B,2,H,W]`, before and after scaling.
    unscaled: B::Buffer,
    flow: B::Buffer,
}

impl<B: Backend> FlowPass<B> {
    /// Buffers for `grid.batch` pairs of frames of `grid.height` × `grid.width` pixels.
    ///
    /// # Errors
    /// When there are no frames, or the backend has no memory for the buffers.
    pub fn new(backend: &B, net: &SpyNet<B>, grid: Grid, gradients: bool) -> Result<Self> {
        if grid.cells() == 0 {
            let found = format!("{} pairs of {}x{}", grid.batch, grid.height, grid.width);
            return Err(Error::invalid(
                "frames of the flow network",
                found,
                "at least one pixel",
            ));
        }
        check_size(grid, net)?;
        let (batch, mut sizes) = (grid.batch, pyramid(grid, net.levels.len()));
        let (used, reached) = (sizes.len(), pyramid(grid, usize::MAX).len());
        sizes.reverse();
        let mut levels = Vec::new();
        let mut level_gradients = Vec::new();
        let rounds = net.rounds.iter().zip(&sizes).zip(&net.levels).enumerate();
        let rounds =
            rounds.flat_map(|(number, ((&rounds, &size), layers))| std::iter::repeat_n((number, size, layers), rounds));
        for (number, (height, width), layers) in rounds {
            let zeros = |channels: usize| backend.zeros(batch * channels * height * width);
            let widths: Vec<usize> = std::iter::once(layers[0].inputs)
                .chain(layers.iter().map(|layer| layer.outputs))
                .collect();
            let activations = || widths.iter().map(|&channels| zeros(channels)).collect::<Result<_>>();
            levels.push(Level {
                number,
                height,
                width,
                first: zeros(3)?,
                second: zeros(3)?,
                coarse: zeros(2)?,
                warped: zeros(3)?,
                activations: activations()?,
                flow: zeros(2)?,
            });
            if gradients {
                level_gradients.push(LevelGradients {
                    first: zeros(3)?,
                    second: zeros(3)?,
                    flow: zeros(2)?,
                    activations: activations()?,
                    warped: zeros(3)?,
                    image_term: zeros(3)?,
                    flow_term: zeros(2)?,
                });
            }
        }
        Ok(Self {
            grid,
            layers: net.levels[..used]
                .iter()
                .map(|layers| layers.iter().map(Layer::sizes).collect())
                .collect(),
            rounds: net.rounds[..used].to_vec(),
            reached,
            normalized: backend.zeros(3 * grid.cells())?,
            levels,
            gradients: gradients.then_some(level_gradients),
            unscaled: backend.zeros(2 * grid.cells())?,
            flow: backend.zeros(2 * grid.cells())?,
        })
    }

    /// The frames it is made for.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// Flow from each frame of `first` to the one of the same index in `second`.
    ///
    /// `first`, `second` `[B,3,H,W]`, RGB, in `[0, 1]` where they are pictures → `[B,2,H,W]` in pixels.
    ///
    /// # Errors
    /// When `net` has other levels, rounds or layers than the network that the pass was made for.
    pub fn forward(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        first: &B::Buffer,
        second: &B::Buffer,
    ) -> Result<&B::Buffer> {
        self.forward_levels(backend, net, first, second)?;
        let Some(finest) = self.levels.last() else {
            return Ok(&self.flow);
        };
        let resize = resize_shape(2 * self.grid.batch, (finest.height, finest.width), self.grid);
        backend.resize(&resize, &finest.flow, &mut self.unscaled)?;
        let scale = flow_scale(&resize);
        backend.channel_affine(self.grid.plane(), &scale, &[0.0; 2], &self.unscaled, &mut self.flow)?;
        Ok(&self.flow)
    }

    /// As [`FlowPass::forward`] as far as the flow of every round ([`FlowPass::round_flow`]); that of
    /// the last is not brought to the given size.
    pub fn forward_levels(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        first: &B::Buffer,
        second: &B::Buffer,
    ) -> Result<()> {
        self.check_weights(net)?;
        self.build_pyramids(backend, first, second)?;
        for l in 0..self.levels.len() {
            let (below, level) = self.levels.split_at_mut(l);
            let level = &mut level[0];
            match below.last() {
                // There is no flow yet.
                None => backend.fill(0.0, &mut level.coarse)?,
                Some(below) => level.start_from(backend, below, self.grid.batch)?,
            }
            level.forward(backend, &net.levels[level.number], self.grid.batch)?;
        }
        Ok(())
    }

    /// `net` must have the levels, rounds and layers that the pass has buffers for.
    pub(super) fn check_weights(&self, net: &SpyNet<B>) -> Result<()> {
        let used = net.rounds.len().min(self.reached);
        if net.rounds[..used] != self.rounds {
            let found = format!("a network of {:?} rounds of its levels", &net.rounds[..used]);
            let expected = format!("{:?}, what it was made for", self.rounds);
            return Err(Error::invalid("weights of a flow pass", found, expected));
        }
        self.check_layers("weights", net)
    }

    /// `grads` must have the shapes of the weights that the pass was made for; rounds share them.
    pub(super) fn check_gradients(&self, grads: &SpyNet<B>) -> Result<()> {
        let (found, expected) = (grads.levels.len(), self.layers.len());
        if found < expected {
            let found = format!("a network of {found} levels");
            let expected = format!("{expected}, what it was made for");
            return Err(Error::invalid("gradients of a flow pass", found, expected));
        }
        self.check_layers("gradients", grads)
    }

    fn check_layers(&self, what: &str, net: &SpyNet<B>) -> Result<()> {
        for (number, (own, layers)) in self.layers.iter().zip(&net.levels).enumerate() {
            if layers.iter().map(Layer::sizes).eq(own.iter().copied()) {
                continue;
            }
            let found: Vec<_> = layers.iter().map(Layer::sizes).collect();
            return Err(Error::invalid(
                format!("level {number} of the {what} of a flow pass"),
                format!("layers of {found:?} inputs, outputs and side of the kernel"),
                format!("{own:?}, what it was made for"),
            ));
        }
        Ok(())
    }

    /// Flow of the last [`FlowPass::forward`], `[B,2,H,W]`.
    #[must_use]
    pub fn flow(&self) -> &B::Buffer {
        &self.flow
    }

    /// Normalises both frames, resizes them to multiples of 32, and halves them down the levels.
    fn build_pyramids(&mut self, backend: &B, first: &B::Buffer, second: &B::Buffer) -> Result<()> {
        let (grid, len) = (self.grid, 3 * self.grid.cells());
        let scale = DEVIATION.map(|deviation| 1.0 / deviation);
        let offset = [0, 1, 2].map(|c| -MEAN[c] / DEVIATION[c]);
        for (is_second, frames) in [(false, first), (true, second)] {
            check_len(
                "flow network",
                if is_second { "second" } else { "first" },
                backend.len(frames),
                len,
            )?;
            backend.channel_affine(grid.plane(), &scale, &offset, frames, &mut self.normalized)?;
            let mut finer: Option<&mut Level<B>> = None;
            for level in self.levels.iter_mut().rev() {
                match finer {
                    None => {
                        let shape = ResizeShape {
                            planes: 3 * grid.batch,
                            height: grid.height,
                            width: grid.width,
                            out_height: level.height,
                            out_width: level.width,
                        };
                        backend.resize(&shape, &self.normalized, level.frames_mut(is_second))?;
                    }
                    Some(finer) if finer.repeats(level) => {
                        let len = 3 * grid.batch * level.height * level.width;
                        let (source, target) = (finer.frames_mut(is_second), level.frames_mut(is_second));
                        backend.copy(source, 0, target, 0, len)?;
                    }
                    Some(finer) => {
                        let (height, width) = (finer.height, finer.width);
                        let (source, target) = (finer.frames_mut(is_second), level.frames_mut(is_second));
                        backend.avg_pool2(3 * grid.batch, height, width, source, target)?;
                    }
                }
                finer = Some(level);
            }
        }
        Ok(())
    }

    /// Gradients of the last [`FlowPass::forward`], whose weights `net` must be.
    ///
    /// `g_flow [B,2,H,W]` → `g_first`, `g_second` `[B,3,H,W]` (`=`), `grads` (`+=`) if given.
    ///
    /// # Errors
    /// [`Error::Invalid`] unless the pass was made for gradients, of a network with the shapes of `net` and `grads`.
    pub fn backward(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        g_flow: &B::Buffer,
        g_first: &mut B::Buffer,
        g_second: &mut B::Buffer,
        mut grads: Option<&mut SpyNet<B>>,
    ) -> Result<()> {
        self.check_weights(net)?;
        grads.as_deref().map_or(Ok(()), |grads| self.check_gradients(grads))?;
        let batch = self.grid.batch;
        let (Some(gradients), Some(finest)) = (self.gradients.as_mut(), self.levels.last()) else {
            return Err(Error::invalid(
                "flow pass",
                "made without gradients",
                "one made for them",
            ));
        };
        let resize = resize_shape(2 * batch, (finest.height, finest.width), self.grid);
        backend.channel_affine_backward(self.grid.plane(), &flow_scale(&resize), g_flow, &mut self.unscaled)?;
        if let Some(top) = gradients.last_mut() {
            backend.resize_backward(&resize, &self.unscaled, &mut top.flow)?;
        }
        for l in (0..self.levels.len()).rev() {
            let (below, own) = gradients.split_at_mut(l);
            let level = &self.levels[l];
            let grads = grads.as_deref_mut().map(|grads| &mut grads.levels[level.number][..]);
            own[0].layers_backward(backend, level, &net.levels[level.number], batch, grads, true)?;
            own[0].inputs_backward(backend, level, batch)?;
            if let Some(below) = below.last_mut() {
                own[0].start_backward(backend, level, &self.levels[l - 1], batch, &mut below.flow)?;
            }
        }
        // Up the pyramids: what a round got directly, and what its copy or its halved image got.
        for l in 1..gradients.len() {
            let (coarser, own) = gradients.split_at_mut(l);
            let (coarser, own) = (&coarser[l - 1], &mut own[0]);
            let (height, width) = (self.levels[l].height, self.levels[l].width);
            let repeats = self.levels[l].repeats(&self.levels[l - 1]);
            for (from, to) in [(&coarser.first, &mut own.first), (&coarser.second, &mut own.second)] {
                if repeats {
                    backend.axpy(1.0, from, to)?;
                    continue;
                }
                backend.avg_pool2_backward(3 * batch, height, width, from, &mut own.image_term)?;
                backend.axpy(1.0, &own.image_term, to)?;
            }
        }
        let Some(top) = gradients.last() else {
            return Ok(());
        };
        let shape = ResizeShape {
            planes: 3 * batch,
            height: self.grid.height,
            width: self.grid.width,
            out_height: finest.height,
            out_width: finest.width,
        };
        let scale = DEVIATION.map(|deviation| 1.0 / deviation);
        for (from, to) in [(&top.first, g_first), (&top.second, g_second)] {
            backend.resize_backward(&shape, from, &mut self.normalized)?;
            backend.channel_affine_backward(self.grid.plane(), &scale, &self.normalized, to)?;
        }
        Ok(())
    }
}

/// Every buffer must be one that memory could address, sides made multiples of 32 included: their lengths are products.
fn check_size<B: Backend>(grid: Grid, net: &SpyNet<B>) -> Result<()> {
    let [height, width] = [grid.height, grid.width].map(|side| side.checked_next_multiple_of(MULTIPLE));
    // Frames have 3 channels and flows 2, the first layer's input 8.
    let widest = net
        .layers()
        .flat_map(|layer| [layer.inputs, layer.outputs])
        .max()
        .unwrap_or(0);
    if let (Some(height), Some(width)) = (height, width)
        // No array has more bytes, whatever its element.
        && check::elements(&[grid.batch, widest, height, width]) <= isize::MAX as usize / size_of::<f64>()
    {
        return Ok(());
    }
    Err(Error::invalid(
        "frames of the flow network",
        format!("{} pairs of {}x{}", grid.batch, grid.height, grid.width),
        "no more than memory can address",
    ))
}

fn resize_shape(planes: usize, (height, width): (usize, usize), grid: Grid) -> ResizeShape {
    ResizeShape {
        planes,
        height,
        width,
        out_height: grid.height,
        out_width: grid.width,
    }
}

/// Pixels of the frames to a pixel of the resized ones, along x and y.
fn flow_scale(resize: &ResizeShape) -> [f64; 2] {
    [
        resize.out_width as f64 / resize.width as f64,
        resize.out_height as f64 / resize.height as f64,
    ]
}
