//! One step of the automaton, fused; layer by layer for networks that are too large for that.

// Structs of C go to the kernels.
#![allow(unsafe_code)]

use nca_core::backend::{
    MaskKey, NcaStep, check, composed_step, composed_step_backward, composed_step_backward_scratch,
    composed_step_scratch,
};
use nca_core::{Grid, NcaConfig, Params, Precision, Result, check_len};

use super::nca::{MaskArgument, PerceptionArgument, check_automaton, check_lengths, check_params, clamp_argument};
use crate::launch::{Argument, launch};
use crate::machine::{Address, Shape};
use crate::module::{Kernel, PrecisionKernel, precision_kernel};
use crate::{Buffer, Cuda};

const NCA_PACK: Kernel = Kernel::new("nca_step", "nca_pack");
const NCA_STEP: [PrecisionKernel; 2] = [
    precision_kernel!("nca_step", "nca_step_64"),
    precision_kernel!("nca_step", "nca_step_128"),
];
const NCA_STEP_BACKWARD: [PrecisionKernel; 2] = [
    precision_kernel!("nca_step_backward", "nca_step_backward_64"),
    precision_kernel!("nca_step_backward", "nca_step_backward_128"),
];
const NCA_GATHER: Kernel = Kernel::new("nca_step_backward", "nca_gather");
const NCA_ADD_PARTIAL: Kernel = Kernel::new("nca_step_backward", "nca_add_partial");

// The constants of the kernels.
const STEP_THREADS: u32 = 128;
const COLUMNS: usize = 64;
const ROWS: usize = 32;
const WARPS: usize = 4;
const WARP_ROWS: usize = 16;
const MAX_TILE: usize = 512;
const GATHERED: usize = 4;
const SHARES: usize = 8;

/// Largest number of channels and of hidden neurons of the fused kernels.
const MAX_FUSED: usize = 128;

/// Shared memory besides what a launch asks for: the list of active cells, and what the device keeps.
const OTHER_SHARED: usize = 4 * (MAX_TILE + WARPS) + 1024;

/// Floats that the partial gradients of all blocks may take together: 128 MiB.
const MAX_PARTIAL: usize = 32 << 20;

/// Blocks that a large GPU runs at a time: four on each of an H200's 132 multiprocessors. The same number whatever the
/// device, as sums are cut by it.
const SLOTS: usize = 528;

/// Most tiles that are few: each has a block of its own, and a tile that takes twice as long as the others is waited for.
const FEW_TILES: usize = 2 * SLOTS;

/// `Step` in the kernels.
#[repr(C)]
struct StepArgument {
    perception: PerceptionArgument,
    key: MaskArgument,
    clamp: f32,
    channels: i32,
    hidden: i32,
    state_rows: i32,
    hidden_rows: i32,
    height: i32,
    width: i32,
    tile: i32,
    sample_tiles: i32,
    tiles: i32,
    packed: Address,
    x: Address,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for StepArgument {}

/// `Backward` in the kernels.
#[repr(C)]
struct BackwardArgument {
    w1: Address,
    w2: Address,
    g_next: Address,
    g_x: Address,
    g_z: Address,
    column: Address,
    partial: Address,
    partial_len: u64,
    columns: u64,
    groups: i32,
}

// SAFETY: `repr(C)`, the same fields in the same order.
unsafe impl Argument for BackwardArgument {}

/// How products want their factors in shared memory: the constants of `Exact` and `Rounded` in the kernels.
struct Layout {
    /// Added to rows of weights.
    pad: usize,
    /// Between rows of values, forward and backward.
    stride: usize,
    padded: usize,
    /// Floats of perception, forward and backward: at least, and with partial sums of the second layer.
    perception: usize,
    perception_backward: usize,
}

impl Layout {
    fn of(precision: Precision, clamp: bool) -> Self {
        let partial = WARPS * WARP_ROWS * COLUMNS;
        match precision {
            Precision::F32 => {
                let padded = COLUMNS + 4;
                Self {
                    pad: 0,
                    stride: COLUMNS,
                    padded,
                    perception: partial,
                    perception_backward: if clamp { partial } else { ROWS * padded },
                }
            }
            // Tensor cores leave no partial sums.
            _ => {
                let stride = COLUMNS + 8;
                Self {
                    pad: 8,
                    stride,
                    padded: stride,
                    perception: ROWS * stride,
                    perception_backward: ROWS * stride,
                }
            }
        }
    }
}

/// How the fused kernels divide an automaton and its grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Neurons and channels, rounded up to the rows of a warp.
    hidden_rows: usize,
    state_rows: usize,
    /// Cells of a tile, tiles of a sample and of all samples.
    tile: usize,
    sample_tiles: usize,
    tiles: usize,
    /// Floats of the packed weights, and of a block's partial gradients.
    packed: usize,
    partial: usize,
    /// Blocks of the backward kernel.
    blocks: usize,
    /// Bytes of shared memory, forward and backward.
    shared: usize,
    shared_backward: usize,
    /// Whether the backward kernel can do it too.
    backward: bool,
}

/// Cells of a tile: as many as let their active ones fill [`COLUMNS`] columns once, but for one tile in
/// fifteen (one and a half standard deviations); where tiles are few, but for one in some thousands (three), because
/// the slowest tile then is the time of the step.
fn tile_of(fire_rate: f64, grid: Grid) -> usize {
    let longest = |deviations: f64| {
        let fits = |tile: usize| {
            let mean = tile as f64 * fire_rate;
            mean + deviations * (mean * (1.0 - fire_rate)).sqrt() <= COLUMNS as f64
        };
        (COLUMNS..=MAX_TILE)
            .step_by(WARP_ROWS)
            .take_while(|&tile| fits(tile))
            .last()
            .unwrap_or(COLUMNS)
    };
    let short = longest(3.0);
    if grid.plane().div_ceil(short) * grid.batch <= FEW_TILES {
        short
    } else {
        longest(1.5)
    }
}

/// Blocks of the backward kernel, each with a sum of `partial` floats to write: one for each tile where these are few;
/// otherwise as many as run at a time, with the same number of tiles, as far as possible.
fn blocks_of(tiles: usize, partial: usize) -> usize {
    let most = MAX_PARTIAL / partial;
    if tiles <= FEW_TILES.min(most) {
        return tiles;
    }
    tiles.div_ceil(tiles.div_ceil(SLOTS.min(most)))
}

impl Plan {
    /// The division, or `None` where the fused kernel of a step cannot do it.
    pub(super) fn new(config: &NcaConfig, grid: Grid, precision: Precision, shared_limit: usize) -> Option<Self> {
        let (channels, hidden, kernels) = (config.channels, config.hidden, config.kernels());
        if channels > MAX_FUSED || hidden > MAX_FUSED {
            return None;
        }
        let (hidden_rows, state_rows) = (hidden.next_multiple_of(WARP_ROWS), channels.next_multiple_of(WARP_ROWS));
        let perceived = channels.div_ceil(ROWS / kernels) * ROWS;
        let tile = tile_of(config.fire_rate, grid);
        let sample_tiles = grid.plane().div_ceil(tile);
        let tiles = sample_tiles * grid.batch;
        let partial = hidden_rows * perceived + hidden_rows + state_rows * hidden_rows + state_rows;
        let layout = Layout::of(precision, config.clamp.is_some());
        let mut plan = Self {
            hidden_rows,
            state_rows,
            tile,
            sample_tiles,
            tiles,
            packed: config.perceived() * hidden_rows + hidden_rows + hidden_rows * state_rows + state_rows,
            partial,
            blocks: blocks_of(tiles, partial),
            shared: size_of::<f32>()
                * (ROWS * (hidden_rows + layout.pad) + layout.perception + hidden_rows * layout.stride),
            shared_backward: size_of::<f32>()
                * (ROWS * (hidden_rows.max(WARPS * WARP_ROWS) + layout.pad)
                    + layout.perception_backward
                    + (hidden_rows + state_rows) * layout.padded),
            backward: false,
        };
        let fits = |shared: usize| shared + OTHER_SHARED <= shared_limit;
        // Columns, which only backward has, are counted in 32 bits.
        plan.backward = fits(plan.shared_backward) && plan.columns() <= i32::MAX as usize;
        fits(plan.shared).then_some(plan)
    }

    /// Columns of a tile, in groups that are computed together.
    fn groups(&self) -> usize {
        self.tile.div_ceil(COLUMNS)
    }

    /// Columns of all tiles.
    fn columns(&self) -> usize {
        self.tiles * self.groups() * COLUMNS
    }

    /// Which of two kernels: for up to 64 hidden neurons or for more.
    fn variant(&self) -> usize {
        usize::from(self.hidden_rows > WARPS * WARP_ROWS)
    }
}

/// Steps of one automaton on one grid, its weights packed.
pub(super) struct Steps<'a> {
    cuda: &'a Cuda,
    config: &'a NcaConfig,
    grid: Grid,
    plan: Plan,
    packed: Address,
}

impl<'a> Steps<'a> {
    /// Packs the weights into `packed`.
    pub(super) fn new(
        cuda: &'a Cuda,
        config: &'a NcaConfig,
        grid: Grid,
        plan: Plan,
        params: &Params<Buffer>,
        packed: &Buffer,
    ) -> Result<Self> {
        launch!(
            cuda,
            NCA_PACK,
            Shape::linear(plan.packed),
            params.w1.address(),
            params.b1.address(),
            params.w2.address(),
            params.b2.as_ref().map_or(0, Buffer::address),
            packed.address(),
            config.perceived() as i32,
            config.hidden as i32,
            config.channels as i32,
            plan.hidden_rows as i32,
            plan.state_rows as i32,
        )?;
        Ok(Self {
            cuda,
            config,
            grid,
            plan,
            packed: packed.address(),
        })
    }

    fn argument(&self, key: MaskKey, x: &Buffer) -> StepArgument {
        let (config, plan) = (self.config, &self.plan);
        StepArgument {
            perception: PerceptionArgument::new(config),
            key: MaskArgument::new(config, key),
            clamp: clamp_argument(config),
            channels: config.channels as i32,
            hidden: config.hidden as i32,
            state_rows: plan.state_rows as i32,
            hidden_rows: plan.hidden_rows as i32,
            height: self.grid.height as i32,
            width: self.grid.width as i32,
            tile: plan.tile as i32,
            sample_tiles: plan.sample_tiles as i32,
            tiles: plan.tiles as i32,
            packed: self.packed,
            x: x.address(),
        }
    }

    /// One step.
    pub(super) fn forward(&self, key: MaskKey, x: &Buffer, x_next: &Buffer) -> Result<()> {
        let shape = Shape::blocks(self.plan.tiles as u32)
            .threads(STEP_THREADS)
            .shared(self.plan.shared);
        let kernel = NCA_STEP[self.plan.variant()].of(self.cuda.precision);
        launch!(self.cuda, *kernel, shape, self.argument(key, x), x_next.address())
    }
}

/// Backward steps of one automaton on one grid.
pub(super) struct BackwardSteps<'a> {
    steps: Steps<'a>,
    w1: Address,
    w2: Address,
    partial: Address,
    g_z: Address,
    column: Address,
}

impl<'a> BackwardSteps<'a> {
    /// Packs the weights.
    pub(super) fn new(
        cuda: &'a Cuda,
        config: &'a NcaConfig,
        grid: Grid,
        plan: Plan,
        params: &Params<Buffer>,
        [packed, partial, g_z, column]: &[Buffer; 4],
    ) -> Result<Self> {
        Ok(Self {
            steps: Steps::new(cuda, config, grid, plan, params, packed)?,
            w1: params.w1.address(),
            w2: params.w2.address(),
            partial: partial.address(),
            g_z: g_z.address(),
            column: column.address(),
        })
    }

    /// One step back. Gradients of parameters are added after each step, so that their bits do not depend on how
    /// many steps a call goes back.
    pub(super) fn backward(
        &self,
        key: MaskKey,
        x: &Buffer,
        g_next: &Buffer,
        g_x: &Buffer,
        grads: &Params<Buffer>,
    ) -> Result<()> {
        let (steps, plan) = (&self.steps, &self.steps.plan);
        let argument = BackwardArgument {
            w1: self.w1,
            w2: self.w2,
            g_next: g_next.address(),
            g_x: g_x.address(),
            g_z: self.g_z,
            column: self.column,
            partial: self.partial,
            partial_len: plan.partial as u64,
            columns: plan.columns() as u64,
            groups: plan.groups() as i32,
        };
        let shape = Shape::blocks(plan.blocks as u32)
            .threads(STEP_THREADS)
            .shared(plan.shared_backward);
        let kernel = NCA_STEP_BACKWARD[plan.variant()].of(steps.cuda.precision);
        launch!(steps.cuda, *kernel, shape, steps.argument(key, x), argument)?;
        let (config, grid) = (steps.config, steps.grid);
        let [blocks, ..] = Shape::linear(grid.plane()).grid;
        launch!(
            steps.cuda,
            NCA_GATHER,
            Shape::grid([blocks, config.channels.div_ceil(GATHERED) as u32, grid.batch as u32]),
            PerceptionArgument::new(config),
            self.g_z,
            self.column,
            g_x.address(),
            config.channels as i32,
            grid.height as i32,
            grid.width as i32,
            plan.columns() as u64,
        )?;
        self.add_partial(grads)
    }

    /// Adds the blocks' partial gradients to `grads`.
    fn add_partial(&self, grads: &Params<Buffer>) -> Result<()> {
        let (config, plan) = (self.steps.config, &self.steps.plan);
        let elements = Shape::linear(1).threads as usize / SHARES;
        launch!(
            self.steps.cuda,
            NCA_ADD_PARTIAL,
            Shape::blocks(plan.partial.div_ceil(elements) as u32),
            self.partial,
            plan.partial as u64,
            plan.blocks as i32,
            grads.w1.address(),
            grads.b1.address(),
            grads.w2.address(),
            grads.b2.as_ref().map_or(0, Buffer::address),
            config.kernels() as i32,
            config.hidden as i32,
            config.channels as i32,
            plan.hidden_rows as i32,
            plan.state_rows as i32,
        )
    }
}

impl Cuda {
    /// How the fused kernel would do a step, if it can.
    pub(super) fn plan(&self, config: &NcaConfig, grid: Grid) -> Option<Plan> {
        check_automaton("nca_step", config, grid).ok()?;
        Plan::new(config, grid, self.precision, self.machine().shared_limit())
    }

    /// How the fused kernels would do a step's gradient, if they can: it takes more shared memory than the step.
    pub(super) fn plan_backward(&self, config: &NcaConfig, grid: Grid) -> Option<Plan> {
        self.plan(config, grid).filter(|plan| plan.backward)
    }

    /// Checks all buffers of a step, or of steps.
    pub(super) fn check_step(
        &self,
        op: &'static str,
        config: &NcaConfig,
        grid: Grid,
        params: &[&Params<Buffer>],
        states: &[(&'static str, &Buffer)],
        (scratch, lengths): (&[Buffer], &[usize]),
    ) -> Result<()> {
        check_automaton(op, config, grid)?;
        for params in params {
            check_params(op, config, params)?;
        }
        for (what, buffer) in states {
            check_lengths(op, &[(what, buffer, config.channels * grid.cells())])?;
        }
        check_len(op, "list of scratch buffers", scratch.len(), lengths.len())?;
        for (buffer, &len) in scratch.iter().zip(lengths) {
            check_len(op, "scratch", buffer.len(), len)?;
        }
        Ok(())
    }
}

impl NcaStep for Cuda {
    fn nca_step_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        match self.plan(config, grid) {
            Some(plan) => vec![plan.packed],
            None => composed_step_scratch(config, grid),
        }
    }

    fn nca_step(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        x: &Buffer,
        x_next: &mut Buffer,
        scratch: &mut [Buffer],
    ) -> Result<()> {
        const OP: &str = "nca_step";
        let lengths = self.nca_step_scratch(config, grid);
        let states = [("x", x), ("x_next", &*x_next)];
        self.check_step(OP, config, grid, &[params], &states, (scratch, &lengths))?;
        if let Some(plan) = self.plan(config, grid) {
            return Steps::new(self, config, grid, plan, params, &scratch[0])?.forward(key, x, x_next);
        }
        composed_step(self, config, grid, params, key, x, x_next, scratch)
    }

    fn nca_step_backward_scratch(&self, config: &NcaConfig, grid: Grid) -> Vec<usize> {
        match self.plan_backward(config, grid) {
            Some(plan) => vec![
                plan.packed,
                plan.blocks * plan.partial,
                config.perceived() * plan.columns(),
                grid.cells(),
            ],
            None => composed_step_backward_scratch(config, grid),
        }
    }

    fn nca_step_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        x: &Buffer,
        g_next: &Buffer,
        g_x: &mut Buffer,
        grads: &mut Params<Buffer>,
        scratch: &mut [Buffer],
    ) -> Result<()> {
        const OP: &str = "nca_step_backward";
        let lengths = self.nca_step_backward_scratch(config, grid);
        let states = [("x", x), ("g_next", g_next), ("g_x", &*g_x)];
        self.check_step(OP, config, grid, &[params, grads], &states, (scratch, &lengths))?;
        if let Some(plan) = self.plan_backward(config, grid) {
            let steps = BackwardSteps::new(self, config, grid, plan, params, check::scratch(OP, scratch)?)?;
            return steps.backward(key, x, g_next, g_x, grads);
        }
        composed_step_backward(self, config, grid, params, key, x, g_next, g_x, grads, scratch)
    }
}

#[cfg(test)]
mod tests {
    use nca_core::Preset;

    use super::*;

    #[test]
    fn few_tiles_are_short() {
        // Four of the paper's grids, and what is larger.
        assert_eq!(tile_of(0.5, Grid::new(4, 128, 128)), 96);
        assert_eq!(tile_of(0.5, Grid::new(1, 512, 512)), 112);
        for fire_rate in [0.9, 1.0] {
            assert_eq!(tile_of(fire_rate, Grid::new(1, 8, 8)), COLUMNS);
        }
        assert_eq!(tile_of(0.01, Grid::new(1, 8, 8)), MAX_TILE);
    }

    #[test]
    fn every_tile_has_a_block_and_no_block_is_idle() {
        for partial in [1, 800, 7_792, 82_176, MAX_PARTIAL] {
            for tiles in (0..3000).chain([37_450, 1 << 20]) {
                let blocks = blocks_of(tiles, partial);
                assert!(blocks * partial <= MAX_PARTIAL && blocks <= FEW_TILES.min(tiles));
                // Blocks take every `blocks`-th tile.
                assert!(tiles == 0 || blocks > 0);
            }
        }
        assert_eq!(blocks_of(684, 7_792), 684);
        assert_eq!(blocks_of(2_341, 7_792), 469);
    }

    /// Where a block may have less shared memory (compute 8.6) only the gradient of the largest automata goes layer by layer.
    #[test]
    fn a_step_is_fused_where_its_gradient_is_not() {
        let grid = Grid::square(128);
        let largest = NcaConfig::preset(Preset::Paper, 128, 128).unwrap();
        let plan = |precision, shared| Plan::new(&largest, grid, precision, shared);
        for precision in Precision::ALL {
            assert!(plan(precision, 227 << 10).unwrap().backward, "{precision}");
            assert_eq!(plan(precision, 99 << 10).unwrap().backward, precision == Precision::F32);
            assert!(plan(precision, 48 << 10).is_none());
        }
    }
}
