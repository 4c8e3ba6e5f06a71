//! SpyNet: optical flow from a spatial pyramid of small convolutional networks.
//!
//! Ranjan & Black, *Optical Flow Estimation using a Spatial Pyramid Network*, CVPR 2017. Both frames
//! are halved until they are small. From the coarsest size up, each level doubles the flow found so
//! far, warps the second frame back by it, and adds the correction that its five convolutions see
//! between the first frame and the warped second one. So every level only ever has to find small
//! motions.
//!
//! A level may do so in several rounds: it warps once more by what it has found and corrects that (as IRR of Hur & Roth
//! 2019 does with shared weights). The published network has one round each.

use nca_core::backend::{Backend, ConvShape};
use nca_core::{Grid, Real, Result};

use crate::weights::{LayerWeights, SpyNetWeights};

mod level;
mod pass;
mod supervised;

pub use pass::FlowPass;
pub use supervised::Round;

/// Means of the colours that the network was trained on.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// Standard deviations of those colours.
const DEVIATION: [f64; 3] = [0.229, 0.224, 0.225];
/// Frames are halved while a side is longer than this.
pub(crate) const COARSEST: usize = 32;
/// Frames are halved at most so often.
const MOST_HALVINGS: usize = 5;
/// Sides that are no multiple of this are resized to the next one.
pub(crate) const MULTIPLE: usize = 32;

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
    /// Of each level.
    rounds: Vec<usize>,
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
        let rounds = weights.rounds().to_vec();
        Ok(Self { levels, rounds })
    }

    /// Copies the weights, or gradients, to the host, rounded to f32.
    pub fn download(&self, backend: &B) -> Result<SpyNetWeights> {
        let host = |buffer: &B::Buffer| -> Result<Vec<f32>> {
            Ok(backend.to_vec(buffer)?.into_iter().map(|v| v.to_f64() as f32).collect())
        };
        let mut levels = Vec::new();
        for level in &self.levels {
            let mut layers = Vec::new();
            for layer in level {
                layers.push(LayerWeights {
                    inputs: layer.inputs,
                    outputs: layer.outputs,
                    kernel: layer.kernel,
                    weight: host(&layer.weight)?,
                    bias: host(&layer.bias)?,
                });
            }
            levels.push(layers);
        }
        SpyNetWeights::new(levels)?.with_rounds(self.rounds.clone())
    }

    /// The layers of each level, coarsest level first.
    #[must_use]
    pub fn levels(&self) -> &[Vec<Layer<B>>] {
        &self.levels
    }

    /// As [`SpyNet::levels`], mutably.
    pub fn levels_mut(&mut self) -> &mut [Vec<Layer<B>>] {
        &mut self.levels
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

impl<B: Backend> Layer<B> {
    /// Inputs, outputs, side of the kernel.
    fn sizes(&self) -> [usize; 3] {
        [self.inputs, self.outputs, self.kernel]
    }

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
