//! How tiled algorithms cut images, how they lay out what they multiply, and what that costs.

use rayon::prelude::*;

use super::super::Cpu;
use super::super::arena::{Carver, Shared};
use super::super::simd::{Kernel, dispatch};
use super::Work;
use crate::error::Result;

/// Tasks that large images are cut into at least, for as many threads.
const TASKS: usize = 8;

/// How the outputs of a batch of images are dealt to square tiles.
#[derive(Clone, Copy)]
pub(super) struct Tiling {
    /// Outputs of a tile in each direction.
    pub(super) step: usize,
    down: usize,
    /// Tiles in a row of them.
    pub(super) across: usize,
    batch: usize,
}

impl Tiling {
    /// Tiles of `step` × `step` for `out` rows and columns of outputs.
    pub(super) fn new(batch: usize, step: usize, out: (usize, usize)) -> Self {
        Self {
            step,
            down: out.0.div_ceil(step),
            across: out.1.div_ceil(step),
            batch,
        }
    }

    /// Number of tiles.
    pub(super) fn count(&self) -> usize {
        self.batch * self.down * self.across
    }

    /// Tiles of a task, a multiple of `multiple`: as many of `floats` floats as `budget` holds, fewer where
    /// that makes too few tasks.
    pub(super) fn chunk(&self, budget: usize, floats: usize, multiple: usize) -> usize {
        let chunk = (budget / floats).min(self.count().div_ceil(TASKS));
        chunk.max(1).next_multiple_of(multiple)
    }

    /// Sample and first output row and column of a tile.
    pub(super) fn place(&self, tile: usize) -> (usize, usize, usize) {
        let (sample, tile) = (tile / (self.down * self.across), tile % (self.down * self.across));
        let (row, column) = (tile / self.across, tile % self.across);
        (sample, row * self.step, column * self.step)
    }
}

/// Layout of matrices of the same shape, one for each frequency (or point) of a transform.
#[derive(Clone, Copy)]
pub(super) struct Layout {
    count: usize,
    /// Floats from row to row.
    pub(super) row: usize,
    /// Floats from matrix to matrix.
    pub(super) stride: usize,
    slack: usize,
}

impl Layout {
    /// `count` matrices of `rows` rows of `row` floats, and `slack` floats behind them.
    pub(super) fn new(count: usize, rows: usize, row: usize, slack: usize) -> Self {
        // An odd number of cache lines, or the elements of a tile would fall into a few cache sets.
        let lines = (rows * row).div_ceil(16) | 1;
        Self {
            count,
            row,
            stride: 16 * lines,
            slack,
        }
    }

    /// Floats of all matrices and what lies behind.
    pub(super) fn len(self) -> usize {
        self.count * self.stride + self.slack
    }
}

/// Prices of an algorithm's parts, in multiply-adds of vectors.
pub(super) struct Costs {
    /// An input's product with a vector of outputs at all frequencies (or points) of a tile.
    pub(super) product: usize,
    /// Transforming a vector of tiles there or back.
    pub(super) tile: usize,
    /// Transforming a vector of filters.
    pub(super) filter: usize,
}

impl Costs {
    /// Cost of a convolution by this many tiles.
    pub(super) fn of(&self, tiles: usize, work: Work) -> usize {
        let (inputs, outputs) = (work.inputs.div_ceil(work.lanes), work.outputs.div_ceil(work.lanes));
        let tile = self.product * work.inputs * outputs + self.tile * (inputs + outputs);
        tiles * tile + self.filter * work.inputs * outputs
    }
}

impl Cpu {
    /// Runs the kernels that transform groups of filters to memory of the layout `filters`, then those of the tasks, which
    /// read it.
    pub(super) fn filters_then_tiles<F, T>(
        &self,
        filters: Layout,
        groups: usize,
        tasks: usize,
        filter: impl Fn(Shared<f32>, usize) -> F + Sync,
        tiles: impl Fn(Shared<f32>, usize) -> T + Sync,
    ) -> Result<()>
    where
        F: Kernel<Output = ()>,
        T: Kernel<Output = ()>,
    {
        let pieces = |carver: &mut Carver| Shared(carver.take::<f32>(filters.len()));
        let call = |memory: Shared<f32>| {
            let filter = |group| dispatch(self.simd, usize::MAX, filter(memory, group));
            (0..groups).into_par_iter().for_each(filter);
            let tiles = |task| dispatch(self.simd, usize::MAX, tiles(memory, task));
            (0..tasks).into_par_iter().for_each(tiles);
        };
        self.install(|| self.arenas.with_call(pieces, call))
    }
}
