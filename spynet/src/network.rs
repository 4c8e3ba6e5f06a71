//! SpyNet: optical flow from a spatial pyramid of small convolutional networks.
//!
//! Ranjan & Black, *Optical Flow Estimation using a Spatial Pyramid Network*, CVPR 2017. Both frames
//! are halved until they are small. From the coarsest size up, each level doubles the flow found so
//! far, warps the second frame back by it, and adds the correction that its five convolutions see
//! between the first frame and the warped second one. So every level only ever has to find small
//! motions.

use nca_core::backend::{Backend, ConvShape, ResizeShape, Upsample2Shape};
use nca_core::{Error, Grid, Real, Result, check_len};

use crate::weights::SpyNetWeights;

/// Means of the colours that the network was trained on.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// Standard deviations of those colours.
const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];
/// Frames are halved while a side is longer than this.
const COARSEST: usize = 32;
/// Frames are halved at most so often.
const MOST_HALVINGS: usize = 5;
/// Sides that are no multiple of this are resized to the next one.
const MULTIPLE: usize = 32;

/// One convolution on the device; as gradients, the same tensors.
#[derive(Debug)]
pub struct Layer<B: Backend> {
    inputs: usize,
    outputs: usize,
    kernel: usize,
    /// `[O,I,k,k]`.
    pub weight: B::Buffer,
    /// `[O]`.
    pub bias: B::Buffer,
}

/// The network's weights on a device, or their gradients.
#[derive(Debug)]
pub struct SpyNet<B: Backend> {
    levels: Vec<Vec<Layer<B>>>,
}

impl<B: Backend> SpyNet<B> {
    /// Copies weights to the device.
    pub fn new(backend: &B, weights: &SpyNetWeights) -> Result<Self> {
        Self::from_layers(weights, |values| {
            let values: Vec<B::Elem> = values.iter().map(|&v| B::Elem::of(f64::from(v))).collect();
            backend.buffer(&values)
        })
    }

    /// Zeros in the shapes of `weights`, to accumulate gradients in.
    pub fn zeros(backend: &B, weights: &SpyNetWeights) -> Result<Self> {
        Self::from_layers(weights, |values| backend.zeros(values.len()))
    }

    fn from_layers(weights: &SpyNetWeights, mut buffer: impl FnMut(&[f32]) -> Result<B::Buffer>) -> Result<Self> {
        let mut levels = Vec::new();
        for level in weights.levels() {
            let mut layers = Vec::new();
            for layer in level {
                layers.push(Layer {
                    inputs: layer.inputs,
                    outputs: layer.outputs,
                    kernel: layer.kernel,
                    weight: buffer(&layer.weight)?,
                    bias: buffer(&layer.bias)?,
                });
            }
            levels.push(layers);
        }
        Ok(Self { levels })
    }

    /// All layers, coarsest level first, each from input to output.
    pub fn layers(&self) -> impl Iterator<Item = &Layer<B>> {
        self.levels.iter().flatten()
    }

    /// As [`SpyNet::layers`], mutably.
    pub fn layers_mut(&mut self) -> impl Iterator<Item = &mut Layer<B>> {
        self.levels.iter_mut().flatten()
    }
}

/// What one level keeps: everything its backward needs.
struct Level<B: Backend> {
    height: usize,
    width: usize,
    /// Frames of this size, `[B,3,h,w]`.
    first: B::Buffer,
    second: B::Buffer,
    /// Flow of the level below, doubled, `[B,2,h,w]`.
    coarse: B::Buffer,
    /// The second frame warped back by it, `[B,3,h,w]`.
    warped: B::Buffer,
    /// Input of the first convolution, `[B,8,h,w]`, then the output of each.
    activations: Vec<B::Buffer>,
    /// `coarse` plus the last activation, `[B,2,h,w]`.
    flow: B::Buffer,
}

/// Gradients of a level.
struct LevelGradients<B: Backend> {
    first: B::Buffer,
    second: B::Buffer,
    flow: B::Buffer,
    activations: Vec<B::Buffer>,
    warped: B::Buffer,
    /// `[B,3,h,w]` and `[B,2,h,w]`, for summands.
    image_term: B::Buffer,
    flow_term: B::Buffer,
}

/// Buffers of one size of frames: runs a network forward and, if asked for, backward.
///
/// Memory: `4/3 · (13 + 8 + Σ outputs)` elements for each pixel, 225 with the layers of the published
/// network, and as many again for gradients.
pub struct FlowPass<B: Backend> {
    grid: Grid,
    /// Frames of the given size with the training colours' mean and deviation removed.
    normalized: B::Buffer,
    /// Coarsest first.
    levels: Vec<Level<B>>,
    gradients: Option<Vec<LevelGradients<B>>>,
    /// Flow of the given size, `[B,2,H,W]`, before and after scaling.
    unscaled: B::Buffer,
    flow: B::Buffer,
}

impl<B: Backend> FlowPass<B> {
    /// Buffers for `grid.batch` pairs of frames of `grid.height` × `grid.width` pixels.
    pub fn new(backend: &B, net: &SpyNet<B>, grid: Grid, gradients: bool) -> Result<Self> {
        if grid.cells() == 0 {
            let found = format!("{} pairs of {}x{}", grid.batch, grid.height, grid.width);
            return Err(Error::invalid(
                "frames of the flow network",
                found,
                "at least one pixel",
            ));
        }
        let (batch, mut sizes) = (grid.batch, pyramid(grid, net.levels.len()));
        sizes.reverse();
        let mut levels = Vec::new();
        let mut level_gradients = Vec::new();
        for (&(height, width), layers) in sizes.iter().zip(&net.levels) {
            let zeros = |channels: usize| backend.zeros(batch * channels * height * width);
            let widths: Vec<usize> = std::iter::once(layers[0].inputs)
                .chain(layers.iter().map(|layer| layer.outputs))
                .collect();
            let activations = || widths.iter().map(|&channels| zeros(channels)).collect::<Result<_>>();
            levels.push(Level {
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
    pub fn forward(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        first: &B::Buffer,
        second: &B::Buffer,
    ) -> Result<&B::Buffer> {
        self.build_pyramids(backend, first, second)?;
        for l in 0..self.levels.len() {
            let (below, level) = self.levels.split_at_mut(l);
            let level = &mut level[0];
            match below.last() {
                // There is no flow yet.
                None => backend.fill(0.0, &mut level.coarse)?,
                Some(below) => {
                    let shape = upsample_shape(self.grid.batch, below, level);
                    backend.upsample2(&shape, 2.0, &below.flow, &mut level.coarse)?;
                }
            }
            level.forward(backend, &net.levels[l], self.grid.batch)?;
        }
        let Some(finest) = self.levels.last() else {
            return Ok(&self.flow);
        };
        let resize = resize_shape(2 * self.grid.batch, (finest.height, finest.width), self.grid);
        backend.resize(&resize, &finest.flow, &mut self.unscaled)?;
        let scale = flow_scale(&resize);
        backend.channel_affine(self.grid.plane(), &scale, &[0.0; 2], &self.unscaled, &mut self.flow)?;
        Ok(&self.flow)
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
    /// [`Error::Invalid`] unless the pass was made for gradients.
    pub fn backward(
        &mut self,
        backend: &B,
        net: &SpyNet<B>,
        g_flow: &B::Buffer,
        g_first: &mut B::Buffer,
        g_second: &mut B::Buffer,
        mut grads: Option<&mut SpyNet<B>>,
    ) -> Result<()> {
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
            let grads = grads.as_deref_mut().map(|grads| &mut grads.levels[l]);
            own[0].backward(backend, level, &net.levels[l], batch, grads)?;
            if let Some(below) = below.last_mut() {
                let shape = upsample_shape(batch, &self.levels[l - 1], level);
                backend.upsample2_backward(&shape, 2.0, &own[0].flow, &mut below.flow)?;
            }
        }
        // Up the pyramids: what a level got directly, and what its halved image got.
        for l in 1..gradients.len() {
            let (coarser, own) = gradients.split_at_mut(l);
            let (coarser, own) = (&coarser[l - 1], &mut own[0]);
            let (height, width) = (self.levels[l].height, self.levels[l].width);
            for (from, to) in [(&coarser.first, &mut own.first), (&coarser.second, &mut own.second)] {
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

impl<B: Backend> Level<B> {
    fn frames_mut(&mut self, second: bool) -> &mut B::Buffer {
        if second { &mut self.second } else { &mut self.first }
    }

    /// `flow = coarse + layers(first, warp(second, coarse), coarse)`.
    fn forward(&mut self, backend: &B, layers: &[Layer<B>], batch: usize) -> Result<()> {
        let (height, width) = (self.height, self.width);
        let plane = height * width;
        backend.warp(batch, 3, height, width, &self.second, &self.coarse, &mut self.warped)?;
        let input = &mut self.activations[0];
        copy_channels(backend, batch, plane, (&self.first, 3, 0), (input, 8, 0), 3)?;
        copy_channels(backend, batch, plane, (&self.warped, 3, 0), (input, 8, 3), 3)?;
        copy_channels(backend, batch, plane, (&self.coarse, 2, 0), (input, 8, 6), 2)?;
        for (i, layer) in layers.iter().enumerate() {
            let (done, rest) = self.activations.split_at_mut(i + 1);
            let shape = layer.shape(batch, height, width);
            backend.conv2d(&shape, &done[i], &layer.weight, Some(&layer.bias), &mut rest[0])?;
            if i + 1 < layers.len() {
                backend.relu(&mut rest[0])?;
            }
        }
        let correction = &self.activations[layers.len()];
        backend.copy(correction, 0, &mut self.flow, 0, batch * 2 * plane)?;
        backend.axpy(1.0, &self.coarse, &mut self.flow)
    }
}

impl<B: Backend> LevelGradients<B> {
    /// From `self.flow`, the gradient of the level's flow: sets those of its frames, and turns
    /// `self.flow` into the gradient of its coarse flow.
    fn backward(
        &mut self,
        backend: &B,
        level: &Level<B>,
        layers: &[Layer<B>],
        batch: usize,
        mut grads: Option<&mut Vec<Layer<B>>>,
    ) -> Result<()> {
        let (height, width) = (level.height, level.width);
        let plane = height * width;
        backend.copy(&self.flow, 0, &mut self.activations[layers.len()], 0, batch * 2 * plane)?;
        for (i, layer) in layers.iter().enumerate().rev() {
            let (inputs, outputs) = self.activations.split_at_mut(i + 1);
            let g_output = &mut outputs[0];
            if i + 1 < layers.len() {
                backend.relu_backward(&level.activations[i + 1], g_output)?;
            }
            let shape = layer.shape(batch, height, width);
            if let Some(grads) = grads.as_deref_mut() {
                let Layer { weight, bias, .. } = &mut grads[i];
                backend.conv2d_backward_weight(&shape, &level.activations[i], g_output, weight, Some(bias))?;
            }
            backend.conv2d_backward_input(&shape, &layer.weight, g_output, &mut inputs[i])?;
        }
        let input = &self.activations[0];
        copy_channels(backend, batch, plane, (input, 8, 0), (&mut self.first, 3, 0), 3)?;
        copy_channels(backend, batch, plane, (input, 8, 3), (&mut self.warped, 3, 0), 3)?;
        copy_channels(backend, batch, plane, (input, 8, 6), (&mut self.flow_term, 2, 0), 2)?;
        backend.axpy(1.0, &self.flow_term, &mut self.flow)?;
        backend.warp_backward(
            batch,
            3,
            height,
            width,
            &level.second,
            &level.coarse,
            &self.warped,
            &mut self.second,
            &mut self.flow_term,
        )?;
        backend.axpy(1.0, &self.flow_term, &mut self.flow)
    }
}

impl<B: Backend> Layer<B> {
    /// Same-size convolution of images of this size.
    fn shape(&self, batch: usize, height: usize, width: usize) -> ConvShape {
        ConvShape {
            batch,
            inputs: self.inputs,
            outputs: self.outputs,
            height,
            width,
            kernel: self.kernel,
            padding: self.kernel / 2,
        }
    }
}

/// Copies `count` channels of every sample; each side is a buffer, its channels and the first one.
fn copy_channels<B: Backend>(
    backend: &B,
    batch: usize,
    plane: usize,
    (src, src_channels, src_first): (&B::Buffer, usize, usize),
    (dst, dst_channels, dst_first): (&mut B::Buffer, usize, usize),
    count: usize,
) -> Result<()> {
    for b in 0..batch {
        let from = (b * src_channels + src_first) * plane;
        let to = (b * dst_channels + dst_first) * plane;
        backend.copy(src, from, dst, to, count * plane)?;
    }
    Ok(())
}

/// Sizes of the pyramid of frames of `grid`, finest first, for at most `levels` levels.
fn pyramid(grid: Grid, levels: usize) -> Vec<(usize, usize)> {
    let mut size = (
        grid.height.next_multiple_of(MULTIPLE),
        grid.width.next_multiple_of(MULTIPLE),
    );
    let mut sizes = vec![size];
    while sizes.len() < levels.min(MOST_HALVINGS + 1) && size.0.max(size.1) > COARSEST {
        size = (size.0 / 2, size.1 / 2);
        sizes.push(size);
    }
    sizes
}

fn upsample_shape<B: Backend>(batch: usize, coarse: &Level<B>, fine: &Level<B>) -> Upsample2Shape {
    Upsample2Shape {
        planes: 2 * batch,
        height: coarse.height,
        width: coarse.width,
        out_height: fine.height,
        out_width: fine.width,
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pyramids() {
        let sizes = |height, width| pyramid(Grid::new(1, height, width), 6);
        assert_eq!(sizes(32, 32), [(32, 32)]);
        assert_eq!(sizes(40, 36), [(64, 64), (32, 32)]);
        assert_eq!(sizes(416, 1024).len(), 6);
        assert_eq!(sizes(416, 1024).last(), Some(&(13, 32)));
        assert_eq!(sizes(4096, 64).last(), Some(&(128, 2)));
        assert_eq!(pyramid(Grid::square(512), 3), [(512, 512), (256, 256), (128, 128)]);
    }
}
