//! How a grid is cut into tiles: by its size and the model alone, never by the number of threads.

use crate::config::Grid;

/// A rectangle of cells of one sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tile {
    pub(super) sample: usize,
    /// First row.
    pub(super) y: usize,
    /// First column.
    pub(super) x: usize,
    pub(super) height: usize,
    pub(super) width: usize,
}

/// All tiles of a grid, row by row, sample by sample.
#[derive(Clone, Copy, Debug)]
pub(super) struct Tiling {
    grid: Grid,
    down: usize,
    across: usize,
}

/// Column cuts are multiples of this, so that rows of a tile start on a cache line where rows of
/// the grid do.
const CUT: usize = 16;
/// Narrowest part a wide row is cut into: two of the widest vectors and a half.
const NARROWEST: usize = 5 * CUT / 2;
/// Longest rows of tiles, before cuts are rounded: longer ones would leave a tile few of them, each read with a row above and one below.
const WIDEST: usize = 128;

impl Tiling {
    /// Tiles of about `cells` cells: whole rows where they are neither longer than that nor than [`WIDEST`].
    pub(super) fn new(grid: Grid, cells: usize) -> Self {
        // A part may be up to one cut shorter than the average.
        let longest = cells.clamp(2 * NARROWEST, WIDEST);
        let across = grid.width.div_ceil(longest);
        let width = grid.width / across;
        let height = ((cells + width / 2) / width).clamp(1, grid.height);
        Self {
            grid,
            down: grid.height.div_ceil(height),
            across,
        }
    }

    /// Tiles of one sample.
    pub(super) fn per_sample(&self) -> usize {
        self.down * self.across
    }

    /// Tiles of all samples.
    pub(super) fn len(&self) -> usize {
        self.grid.batch * self.per_sample()
    }

    /// Tile `index`.
    pub(super) fn tile(&self, index: usize) -> Tile {
        let (sample, index) = (index / self.per_sample(), index % self.per_sample());
        let (row, column) = (index / self.across, index % self.across);
        let (y, x) = (self.row_cut(row), self.column_cut(column));
        Tile {
            sample,
            y,
            x,
            height: self.row_cut(row + 1) - y,
            width: self.column_cut(column + 1) - x,
        }
    }

    /// Most rows of any tile.
    pub(super) fn max_height(&self) -> usize {
        self.grid.height.div_ceil(self.down)
    }

    /// Most columns of any tile.
    pub(super) fn max_width(&self) -> usize {
        if self.across == 1 {
            self.grid.width
        } else {
            self.grid.width.div_ceil(self.across) + CUT
        }
    }

    fn row_cut(&self, i: usize) -> usize {
        i * self.grid.height / self.down
    }

    fn column_cut(&self, i: usize) -> usize {
        if i == self.across {
            self.grid.width
        } else {
            i * self.grid.width / self.across / CUT * CUT
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tiles_cover_every_cell_once() {
        for (height, width) in [(1, 1), (3, 5), (128, 128), (7, 700), (2, 129), (50, 33), (2048, 4)] {
            for cells in [1, 64, 256, 1000] {
                let grid = Grid::new(2, height, width);
                let tiling = Tiling::new(grid, cells);
                let mut seen = vec![0; grid.cells()];
                for tile in (0..tiling.len()).map(|i| tiling.tile(i)) {
                    assert!(tile.height <= tiling.max_height() && tile.width <= tiling.max_width());
                    assert!(tile.width >= width.min(16), "{tile:?} of {grid:?}");
                    assert!(tile.width < WIDEST + CUT, "{tile:?} of {grid:?}");
                    for y in tile.y..tile.y + tile.height {
                        for x in tile.x..tile.x + tile.width {
                            seen[(tile.sample * height + y) * width + x] += 1;
                        }
                    }
                }
                assert!(seen.iter().all(|&n| n == 1), "{grid:?}, {cells}");
            }
        }
    }
}
