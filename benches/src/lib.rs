//! What the benchmarks run: one table of cases, and the set-up they share.

mod arguments;
mod networks;
mod peak;
mod through;

pub use arguments::Arguments;
pub use networks::{FLOW_PAIRS, FlowPair, PICTURES, Pair, Picture, VggPass, write_vgg};
pub use peak::fma_peak;
pub use through::{THROUGH, THROUGH_STEPS, Through};

use nca_core::backend::{Backend, ConvShape, Device, MaskKey, upload_params, zero_params};
use nca_core::cpu::{Bf16Unit, Cpu};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Grid, HostParams, NcaConfig, Params, Precision, Preset, Result, Rollout};
use nca_cuda::Cuda;
use nca_train::exemplar::Exemplar;
use nca_train::loss::{AppearanceLoss, PatchLoss, PatchSettings};

/// One shape of automaton and grid.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Case {
    /// Channels, C.
    pub channels: usize,
    /// Hidden neurons, D.
    pub hidden: usize,
    /// Number and size of the grids.
    pub grid: Grid,
}

/// A case on square grids.
const fn case(channels: usize, hidden: usize, size: usize, batch: usize) -> Case {
    Case {
        channels,
        hidden,
        grid: Grid {
            batch,
            height: size,
            width: size,
        },
    }
}

/// Single steps, forward and backward: small and large networks, few and many channels, one grid
/// and a batch.
pub const STEPS: [Case; 10] = [
    case(8, 16, 128, 1),
    case(12, 96, 128, 1),
    case(16, 64, 128, 1),
    case(32, 128, 128, 1),
    case(64, 64, 128, 1),
    case(128, 16, 128, 1),
    case(128, 128, 128, 1),
    case(12, 96, 128, 4),
    case(12, 96, 64, 1),
    case(12, 96, 512, 1),
];

/// Whole training iterations.
pub const TRAINING: [Case; 3] = [case(8, 16, 128, 4), case(12, 96, 128, 4), case(32, 128, 128, 4)];

/// Steps of the rollout of a training iteration.
pub const TRAINING_STEPS: u32 = 32;

/// Sizes of the pictures of the losses, four each.
pub const LOSSES: [Case; 2] = [case(12, 96, 64, 4), case(12, 96, 128, 4)];

/// Operations of a step's gradient for each operation of the step, `28·C·D` for a cell: the hidden layer again, then
/// two products for each of the forward ones that matter, to inputs and to weights.
pub const BACKWARD: f64 = 2.8;

/// The CPU in f32, and in bf16 where the processor multiplies it.
pub fn cpus() -> Result<Vec<Cpu>> {
    let mut cpus = vec![Cpu::new()?];
    if Bf16Unit::detect().is_some() {
        cpus.push(Cpu::builder().precision(Precision::Bf16).build()?);
    }
    Ok(cpus)
}

/// What benchmarks call a backend: its name, and its precision unless that is f32.
pub fn label<D: Device>(backend: &D) -> String {
    match backend.precision() {
        Precision::F32 => backend.name().to_owned(),
        other => format!("{}-{other}", backend.name()),
    }
}

/// The GPU, where there is one; says so where there is none.
#[must_use]
pub fn gpu() -> Option<Cuda> {
    Cuda::new()
        .map_err(|reason| eprintln!("no figures of a GPU: {reason}"))
        .ok()
}

impl Case {
    /// `CxD/HxW/B`, as benchmarks are named after the backend.
    #[must_use]
    pub fn name(&self) -> String {
        let Grid { batch, height, width } = self.grid;
        format!("{}x{}/{height}x{width}/{batch}", self.channels, self.hidden)
    }

    /// Operations (additions and multiplications) of the update network of one active cell, both layers
    /// on the four perceived values of a channel: `10·C·D`.
    #[must_use]
    pub fn flop_per_cell(&self) -> f64 {
        10.0 * self.channels as f64 * self.hidden as f64
    }

    /// Elements of a state.
    #[must_use]
    pub fn len(&self) -> usize {
        self.channels * self.grid.cells()
    }

    /// Whether the grid has no cell (never in the tables).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The paper's model in this shape.
    pub fn config(&self) -> Result<NcaConfig> {
        NcaConfig::preset(Preset::Paper, self.channels, self.hidden)
    }
}

/// A model on a backend with everything a step, forward or backward, needs.
#[derive(Debug)]
pub struct Setup<B: Backend> {
    /// The model.
    pub config: NcaConfig,
    /// Its grids.
    pub grid: Grid,
    /// Weights.
    pub params: Params<B::Buffer>,
    /// Gradients of the weights.
    pub grads: Params<B::Buffer>,
    /// State before a step.
    pub x: B::Buffer,
    /// State after a step.
    pub x_next: B::Buffer,
    /// Gradient after a step.
    pub g_next: B::Buffer,
    /// Gradient before a step.
    pub g_x: B::Buffer,
    scratch: Vec<B::Buffer>,
    backward_scratch: Vec<B::Buffer>,
}

impl<B: Backend> Setup<B> {
    /// `case` with fire rate `fire_rate`, normal states and gradients, small random weights.
    pub fn new(backend: &B, case: Case, fire_rate: f64) -> Result<Self> {
        let config = NcaConfig {
            fire_rate,
            ..case.config()?
        };
        let normals = |index: u64, sigma: f64, len: usize| -> Vec<B::Elem> {
            let mut rng = PhiloxRng::new(0, Stream::Test, index);
            (0..len).map(|_| nca_core::Real::of(sigma * rng.normal())).collect()
        };
        let mut params = HostParams::init(&config, 0);
        for (i, w) in params.w2.iter_mut().enumerate() {
            *w = ((i * 37 % 101) as f32 - 50.0) * 1e-4;
        }
        let grid = case.grid;
        Ok(Self {
            params: upload_params(backend, &params)?,
            grads: zero_params(backend, &config)?,
            x: backend.buffer(&normals(1, 0.5, case.len()))?,
            x_next: backend.zeros(case.len())?,
            g_next: backend.buffer(&normals(2, 1.0, case.len()))?,
            g_x: backend.zeros(case.len())?,
            scratch: backend.scratch(&backend.nca_step_scratch(&config, grid))?,
            backward_scratch: backend.scratch(&backend.nca_step_backward_scratch(&config, grid))?,
            config,
            grid,
        })
    }

    /// One step with the mask of `step`.
    pub fn forward(&mut self, backend: &B, step: u32) -> Result<()> {
        let key = MaskKey { seed: 1, step };
        backend.nca_step(
            &self.config,
            self.grid,
            &self.params,
            key,
            &self.x,
            &mut self.x_next,
            &mut self.scratch,
        )?;
        backend.synchronize()
    }

    /// `steps` steps from the mask of `step`, the state going on from call to call.
    pub fn run(&mut self, backend: &B, step: u32, steps: u32) -> Result<()> {
        let key = MaskKey { seed: 1, step };
        backend.rollout(
            &self.config,
            self.grid,
            &self.params,
            key,
            steps,
            &mut self.x,
            &mut self.x_next,
            &mut self.scratch,
        )?;
        backend.synchronize()
    }

    /// The gradient of one step with the mask of `step`.
    pub fn backward(&mut self, backend: &B, step: u32) -> Result<()> {
        self.run_backward(backend, step, 1)
    }

    /// The gradients of `steps` steps, each from the same state, handed over together.
    pub fn run_backward(&mut self, backend: &B, step: u32, steps: u32) -> Result<()> {
        for step in step..step + steps {
            let key = MaskKey { seed: 1, step };
            backend.nca_step_backward(
                &self.config,
                self.grid,
                &self.params,
                key,
                &self.x,
                &self.g_next,
                &mut self.g_x,
                &mut self.grads,
                &mut self.backward_scratch,
            )?;
        }
        backend.synchronize()
    }
}

/// What a training iteration does on the device: a rollout, the appearance loss of its last state,
/// and the gradient of both.
#[derive(Debug)]
pub struct Training<B: Backend> {
    setup: Setup<B>,
    rollout: Rollout<B>,
    loss: Appearance<B>,
}

impl<B: Backend> Training<B> {
    /// Bytes of states kept: all of [`TRAINING_STEPS`] in every case of the table.
    const BUDGET: usize = 1 << 30;

    /// `case` with the paper's fire rate.
    pub fn new(backend: &B, case: Case) -> Result<Self> {
        let setup = Setup::new(backend, case, 0.5)?;
        Ok(Self {
            rollout: Rollout::new(backend, &setup.config, setup.grid, TRAINING_STEPS, Self::BUDGET)?,
            loss: Appearance::new(backend, case)?,
            setup,
        })
    }

    /// One iteration without the optimiser; `draw` seeds masks and projections.
    pub fn iterate(&mut self, backend: &B, draw: u64) -> Result<()> {
        let Self { setup, rollout, loss } = self;
        let (params, steps) = (&setup.params, TRAINING_STEPS);
        rollout.forward(backend, params, &setup.x, draw, steps, &[], |_, _| Ok(()))?;
        let (last, grad) = rollout.last_and_grad_mut();
        backend.rgb(&setup.config, setup.grid, last, &mut loss.rgb)?;
        loss.evaluate(backend, draw)?;
        backend.rgb_backward(&setup.config, setup.grid, last, &loss.g_rgb, grad)?;
        rollout.backward(backend, params, &mut setup.grads, &[], |_, _, _| Ok(()))?;
        backend.synchronize()
    }
}

/// The weight-free appearance loss of a batch of pictures.
#[derive(Debug)]
pub struct Appearance<B: Backend> {
    loss: PatchLoss<B>,
    rgb: B::Buffer,
    g_rgb: B::Buffer,
    out: B::Buffer,
}

impl<B: Backend> Appearance<B> {
    /// Random pictures of the size and number of `case`, against a procedural exemplar.
    pub fn new(backend: &B, case: Case) -> Result<Self> {
        let grid = case.grid;
        let exemplar = Exemplar::Bubbly.render(grid.height, 0)?;
        let mut rng = PhiloxRng::new(0, Stream::Test, 3);
        let rgb: Vec<B::Elem> = (0..3 * grid.cells())
            .map(|_| nca_core::Real::of(rng.uniform()))
            .collect();
        Ok(Self {
            loss: PatchLoss::new(backend, PatchSettings::default(), &exemplar, grid.batch)?,
            rgb: backend.buffer(&rgb)?,
            g_rgb: backend.zeros(rgb.len())?,
            out: backend.zeros(1)?,
        })
    }

    /// The loss and its gradient with the projections of `draw`.
    pub fn evaluate(&mut self, backend: &B, draw: u64) -> Result<()> {
        let g_rgb = Some(&mut self.g_rgb);
        self.loss.evaluate(backend, draw, &self.rgb, g_rgb, &mut self.out, 0)?;
        backend.synchronize()
    }
}

/// A convolution that keeps the size of its images.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvLayer {
    /// Input channels, I.
    pub inputs: usize,
    /// Output channels, O.
    pub outputs: usize,
    /// Side of the kernel.
    pub kernel: usize,
}

impl ConvLayer {
    /// Whether a layer of [`VGG`] may meet images of this size in a picture of at most 128×128: where those are halved, their
    /// channels double.
    #[must_use]
    pub fn is_met_at(self, size: usize) -> bool {
        self.inputs * size <= 64 * 128
    }
}

const fn layer(inputs: usize, outputs: usize, kernel: usize) -> ConvLayer {
    ConvLayer {
        inputs,
        outputs,
        kernel,
    }
}

/// One level of SpyNet.
pub const SPYNET: [ConvLayer; 5] = [
    layer(8, 32, 7),
    layer(32, 64, 7),
    layer(64, 32, 7),
    layer(32, 16, 7),
    layer(16, 2, 7),
];

/// The layers of VGG16 up to the first of its fifth block.
pub const VGG: [ConvLayer; 8] = [
    layer(3, 64, 3),
    layer(64, 64, 3),
    layer(64, 128, 3),
    layer(128, 128, 3),
    layer(128, 256, 3),
    layer(256, 256, 3),
    layer(256, 512, 3),
    layer(512, 512, 3),
];

/// What is computed of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConvPass {
    /// Outputs.
    Forward,
    /// Gradient of the images.
    ToImages,
    /// Gradient of weights and bias.
    ToWeights,
}

/// Every pass.
pub const PASSES: [ConvPass; 3] = [ConvPass::Forward, ConvPass::ToImages, ConvPass::ToWeights];

impl ConvPass {
    /// Its name in benchmarks.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::ToImages => "to_images",
            Self::ToWeights => "to_weights",
        }
    }
}

impl ConvLayer {
    /// `IxO/k/HxW/B`.
    #[must_use]
    pub fn name(&self, size: usize, batch: usize) -> String {
        format!("{}x{}/{}/{size}x{size}/{batch}", self.inputs, self.outputs, self.kernel)
    }

    /// Its shape on `batch` images of `size` × `size`.
    #[must_use]
    pub fn shape(&self, size: usize, batch: usize) -> ConvShape {
        ConvShape {
            batch,
            inputs: self.inputs,
            outputs: self.outputs,
            height: size,
            width: size,
            kernel: self.kernel,
            padding: self.kernel / 2,
        }
    }

    /// Operations of one pass.
    #[must_use]
    pub fn flop(&self, size: usize, batch: usize) -> f64 {
        let terms = self.inputs * self.kernel * self.kernel;
        2.0 * (self.shape(size, batch).output_len() * terms) as f64
    }
}

/// A convolution with the buffers of every pass.
#[derive(Debug)]
pub struct ConvSetup<B: Backend> {
    shape: ConvShape,
    x: B::Buffer,
    weight: B::Buffer,
    bias: B::Buffer,
    y: B::Buffer,
    g_y: B::Buffer,
    g_x: B::Buffer,
    g_weight: B::Buffer,
    g_bias: B::Buffer,
}

impl<B: Backend> ConvSetup<B> {
    /// `layer` on `batch` images of `size` × `size`, all numbers normal.
    pub fn new(backend: &B, layer: ConvLayer, size: usize, batch: usize) -> Result<Self> {
        let shape = layer.shape(size, batch);
        let normals = |index: u64, len: usize| {
            let mut rng = PhiloxRng::new(0, Stream::Test, index);
            let normals: Vec<B::Elem> = (0..len).map(|_| nca_core::Real::of(rng.normal())).collect();
            backend.buffer(&normals)
        };
        Ok(Self {
            x: normals(10, shape.input_len())?,
            weight: normals(11, shape.weight_len())?,
            bias: normals(12, shape.outputs)?,
            y: backend.zeros(shape.output_len())?,
            g_y: normals(13, shape.output_len())?,
            g_x: backend.zeros(shape.input_len())?,
            g_weight: backend.zeros(shape.weight_len())?,
            g_bias: backend.zeros(shape.outputs)?,
            shape,
        })
    }

    /// One pass.
    pub fn run(&mut self, backend: &B, pass: ConvPass) -> Result<()> {
        let shape = &self.shape;
        match pass {
            ConvPass::Forward => backend.conv2d(shape, &self.x, &self.weight, Some(&self.bias), &mut self.y)?,
            ConvPass::ToImages => backend.conv2d_backward_input(shape, &self.weight, &self.g_y, &mut self.g_x)?,
            ConvPass::ToWeights => {
                let g_bias = Some(&mut self.g_bias);
                backend.conv2d_backward_weight(shape, &self.x, &self.g_y, &mut self.g_weight, g_bias)?;
            }
        }
        backend.synchronize()
    }
}
