//! Whole convolutional networks, forward and backward to their pictures: SpyNet and VGG16.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::backend::Backend;
use nca_core::checkpoint::{TensorView, write_tensors};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Grid, Real, Result};
use nca_train::vgg::{Features, Vgg};
use spynet::{FlowPass, SpyNet, SpyNetWeights};

/// A pair of square frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pair {
    /// Side of the frames.
    pub size: usize,
}

/// Pairs that flow is estimated of.
pub const FLOW_PAIRS: [Pair; 2] = [Pair { size: 128 }, Pair { size: 256 }];

/// Square pictures for VGG16.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Number of pictures.
    pub batch: usize,
    /// Their side.
    pub size: usize,
    /// Blocks of the network: the last layer is the first of this one.
    pub blocks: usize,
}

const fn picture(batch: usize, size: usize, blocks: usize) -> Picture {
    Picture { batch, size, blocks }
}

/// Pictures that losses look at: one and four through the whole network, and four as far as a file of
/// weights that ends within the third block goes, be it VGG16's or VGG19's.
pub const PICTURES: [Picture; 3] = [picture(1, 128, 5), picture(4, 128, 5), picture(4, 128, 3)];

/// Convolutions of VGG16 up to the first of the fifth block: torchvision's number, inputs, outputs.
const VGG16: [(usize, usize, usize); 11] = [
    (0, 3, 64),
    (2, 64, 64),
    (5, 64, 128),
    (7, 128, 128),
    (10, 128, 256),
    (12, 256, 256),
    (14, 256, 256),
    (17, 256, 512),
    (19, 512, 512),
    (21, 512, 512),
    (24, 512, 512),
];
/// Index in [`VGG16`] of the first convolution of each block.
const FIRST: [usize; 5] = [0, 2, 4, 7, 10];

impl Pair {
    /// `HxW`.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{0}x{0}", self.size)
    }

    /// The frames as a grid.
    #[must_use]
    pub fn grid(&self) -> Grid {
        Grid::square(self.size)
    }

    /// Pixels of all levels.
    fn pixels(&self) -> usize {
        let mut pixels = 0;
        let mut size = self.size;
        for _ in 0..SpyNetWeights::LEVELS {
            pixels += size * size;
            if size <= 32 {
                break;
            }
            size /= 2;
        }
        pixels
    }

    /// Operations of the convolutions, as direct sums. The gradient of the frames takes as many again.
    #[must_use]
    pub fn flop(&self) -> f64 {
        let taps = SpyNetWeights::KERNEL * SpyNetWeights::KERNEL;
        let products: usize = SpyNetWeights::CHANNELS.windows(2).map(|pair| pair[0] * pair[1]).sum();
        (2 * taps * products * self.pixels()) as f64
    }

    /// Numbers that the convolutions read and write: their inputs and outputs.
    #[must_use]
    pub fn numbers(&self) -> f64 {
        let channels: usize = SpyNetWeights::CHANNELS.windows(2).map(|pair| pair[0] + pair[1]).sum();
        (channels * self.pixels()) as f64
    }
}

impl Picture {
    /// `N layers/HxW/B`, N the number of convolutions.
    #[must_use]
    pub fn name(&self) -> String {
        format!("{} layers/{1}x{1}/{2}", self.layers(), self.size, self.batch)
    }

    /// Number of convolutions.
    #[must_use]
    pub fn layers(&self) -> usize {
        FIRST[self.blocks - 1] + 1
    }

    /// Inputs, outputs and side of the pictures of each convolution.
    fn convolutions(&self) -> impl Iterator<Item = [usize; 3]> {
        let (layers, size) = (self.layers(), self.size);
        VGG16[..layers]
            .iter()
            .enumerate()
            .map(move |(i, &(_, inputs, outputs))| {
                let block = FIRST.iter().filter(|&&first| first <= i).count();
                [inputs, outputs, size >> (block - 1)]
            })
    }

    /// Operations of the convolutions, as direct sums. The gradient of the pictures takes as many again.
    #[must_use]
    pub fn flop(&self) -> f64 {
        let products = |[inputs, outputs, side]: [usize; 3]| 2 * 9 * inputs * outputs * side * side;
        (self.batch * self.convolutions().map(products).sum::<usize>()) as f64
    }

    /// Numbers that the convolutions read and write: their inputs, outputs and weights.
    #[must_use]
    pub fn numbers(&self) -> f64 {
        let numbers =
            |[inputs, outputs, side]: [usize; 3]| self.batch * (inputs + outputs) * side * side + 9 * inputs * outputs;
        self.convolutions().map(numbers).sum::<usize>() as f64
    }
}

/// Numbers of the benchmarks: uniform between `low` and `high`, by index.
fn uniform<E: Real>(index: u64, low: f64, high: f64, len: usize) -> Vec<E> {
    let mut rng = PhiloxRng::new(0, Stream::Test, index);
    (0..len).map(|_| E::of(rng.uniform_in(low, high))).collect()
}

/// SpyNet of the published size, untrained, on one pair of frames.
#[derive(Debug)]
pub struct FlowPair<B: Backend> {
    net: SpyNet<B>,
    pass: FlowPass<B>,
    /// The frames, `[1,3,H,W]`.
    pub frames: [B::Buffer; 2],
    /// Gradient of the flow, `[1,2,H,W]`.
    pub g_flow: B::Buffer,
    /// Gradients of the frames.
    pub g_frames: [B::Buffer; 2],
}

impl<B: Backend> FlowPair<B> {
    /// The network's weights.
    pub fn weights() -> Result<SpyNetWeights> {
        SpyNetWeights::init(
            SpyNetWeights::LEVELS,
            &SpyNetWeights::CHANNELS,
            SpyNetWeights::KERNEL,
            0,
        )
    }

    /// Random frames of the size of `pair`.
    pub fn new(backend: &B, pair: Pair) -> Result<Self> {
        let (net, grid) = (SpyNet::new(backend, &Self::weights()?)?, pair.grid());
        let frame = |index| backend.buffer(&uniform(index, 0.0, 1.0, 3 * grid.cells()));
        Ok(Self {
            pass: FlowPass::new(backend, &net, grid, true)?,
            net,
            frames: [frame(20)?, frame(21)?],
            g_flow: backend.buffer(&uniform(22, -1.0, 1.0, 2 * grid.cells()))?,
            g_frames: [backend.zeros(3 * grid.cells())?, backend.zeros(3 * grid.cells())?],
        })
    }

    /// Estimates the flow.
    pub fn forward(&mut self, backend: &B) -> Result<()> {
        self.pass
            .forward(backend, &self.net, &self.frames[0], &self.frames[1])?;
        backend.synchronize()
    }

    /// Estimates the flow and takes its gradient to both frames.
    pub fn both(&mut self, backend: &B) -> Result<()> {
        self.forward(backend)?;
        let [first, second] = &mut self.g_frames;
        self.pass
            .backward(backend, &self.net, &self.g_flow, first, second, None)?;
        backend.synchronize()
    }

    /// The flow estimated last, `[1,2,H,W]`.
    pub fn flow(&self) -> &B::Buffer {
        self.pass.flow()
    }
}

/// Writes untrained weights of the convolutions of VGG16 that `picture` takes, under torchvision's
/// names.
pub fn write_vgg(path: &Path, picture: Picture) -> Result<()> {
    let layers = &VGG16[..picture.layers()];
    let mut values: Vec<(String, Vec<usize>, Vec<f32>)> = Vec::new();
    for (index, &(module, inputs, outputs)) in (30..).zip(layers) {
        // Keeps the activations' magnitude from layer to layer (He et al. 2015).
        let bound = (6.0 / (9 * inputs) as f64).sqrt();
        values.push((
            format!("features.{module}.weight"),
            vec![outputs, inputs, 3, 3],
            uniform(index, -bound, bound, outputs * inputs * 9),
        ));
        values.push((
            format!("features.{module}.bias"),
            vec![outputs],
            uniform(100 + index, -0.1, 0.1, outputs),
        ));
    }
    let views: Vec<TensorView<'_>> = values
        .iter()
        .map(|(name, shape, values)| TensorView::new(name.clone(), shape, values))
        .collect();
    write_tensors(path, &views, &BTreeMap::new())
}

/// Features of pictures and the gradient from the first layer of every block back to them.
#[derive(Debug)]
pub struct VggPass<B: Backend> {
    vgg: Vgg<B>,
    features: Features<B>,
    /// The pictures, `[B,3,H,W]`.
    pub rgb: B::Buffer,
    /// Gradients of the features, one for each block.
    pub g_taps: Vec<B::Buffer>,
    /// Gradient of the pictures.
    pub g_rgb: B::Buffer,
}

impl<B: Backend> VggPass<B> {
    /// Random pictures; the weights are those of a file that [`write_vgg`] wrote.
    pub fn new(backend: &B, picture: Picture, weights: &Path) -> Result<Self> {
        let vgg = Vgg::load(backend, weights)?;
        let Picture { batch, size, blocks } = picture;
        let features = Features::new(backend, &vgg, batch, size, size, &FIRST[..blocks])?;
        let len = 3 * batch * size * size;
        let mut g_taps = features.tap_gradients(backend)?;
        for (index, g_tap) in (24..).zip(&mut g_taps) {
            backend.upload(&uniform(index, -1.0, 1.0, backend.len(g_tap)), g_tap)?;
        }
        Ok(Self {
            vgg,
            features,
            rgb: backend.buffer(&uniform(23, 0.0, 1.0, len))?,
            g_taps,
            g_rgb: backend.zeros(len)?,
        })
    }

    /// Computes the features.
    pub fn forward(&mut self, backend: &B) -> Result<()> {
        self.features.forward(backend, &self.vgg, &self.rgb)?;
        backend.synchronize()
    }

    /// Computes the features and the gradient of the pictures.
    pub fn both(&mut self, backend: &B) -> Result<()> {
        self.forward(backend)?;
        self.features
            .backward(backend, &self.vgg, &self.g_taps, &mut self.g_rgb)?;
        backend.synchronize()
    }

    /// The features of each block computed last, `[B,C,H',W']`, with their shapes.
    pub fn taps(&self) -> impl Iterator<Item = ([usize; 3], &B::Buffer)> {
        (0..self.features.taps()).map(|tap| {
            let shape = self.features.shape(tap);
            ([shape.channels, shape.height, shape.width], self.features.tap(tap))
        })
    }
}
