//! How tiled algorithms cut images, and how they lay out what they multiply.

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
