//! Random values on the nodes of a grid laid over the plane or over a torus.

use nca_core::philox::{PhiloxRng, Stream};

use super::motion::Point;
use super::spline::weights;

/// Four independent uniform numbers for each node, one table for all grids of a scene; each grid
/// starts at its own place in it.
pub(super) struct Lattice {
    nodes: Vec<[f32; 4]>,
}

impl Lattice {
    /// Nodes along a side; after as many cells a grid repeats itself.
    const SIDE: usize = 128;

    pub(super) fn new(seed: u64, index: u64) -> Self {
        let mut rng = PhiloxRng::new(seed, Stream::Synth, index);
        let nodes = (0..Self::SIDE * Self::SIDE)
            .map(|_| std::array::from_fn(|_| rng.uniform() as f32))
            .collect();
        Self { nodes }
    }
}

/// The cells of a torus that are the same: those apart by multiples of `(columns, 0)` and
/// `(skew, rows)`.
#[derive(Clone, Copy, Debug)]
struct Period {
    columns: i64,
    rows: i64,
    skew: i64,
}

impl Period {
    /// From the moves `(a, c)` and `(b, d)` of once round along x and along y, which are not parallel:
    /// the Hermite normal form of their lattice.
    fn new([a, b, c, d]: [i64; 4]) -> Self {
        // Euclid's algorithm on the second components, carried out on both vectors.
        let (mut v, mut w) = ([a, c], [b, d]);
        while w[1] != 0 {
            let times = v[1].div_euclid(w[1]);
            (v, w) = (w, [v[0] - times * w[0], v[1] - times * w[1]]);
        }
        let (columns, sign) = (w[0].abs(), v[1].signum());
        Self {
            columns,
            rows: v[1].abs(),
            skew: (v[0] * sign).rem_euclid(columns),
        }
    }

    /// The cell in the first of the periods.
    fn reduce(&self, i: i64, j: i64) -> [i64; 2] {
        let round = j.div_euclid(self.rows);
        [(i - round * self.skew).rem_euclid(self.columns), j - round * self.rows]
    }
}

/// A grid: a linear map from pixels to cells, and on a torus the cells that are the same.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Cells for a step along x and along y: `[ix, iy, jx, jy]`, `i = ix·x + iy·y`.
    map: [f64; 4],
    offset: Point,
    period: Option<Period>,
    start: [i64; 2],
}

impl Grid {
    /// A grid of cells about `across`×`along` pixels large, turned by `angle`; over a torus of
    /// `[W, H]` pixels the cells are fitted to it.
    pub(super) fn new(rng: &mut PhiloxRng, across: f64, along: f64, angle: f64, torus: Option<Point>) -> Self {
        let (sin, cos) = angle.sin_cos();
        let mut map = [cos / across, sin / across, -sin / along, cos / along];
        let mut period = None;
        if let Some([width, height]) = torus {
            let sides = [width, height, width, height];
            let mut whole: [i64; 4] = std::array::from_fn(|k| (map[k] * sides[k]).round() as i64);
            if whole[0] * whole[3] == whole[1] * whole[2] {
                // Too few cells to be turned.
                whole = [
                    (width / across).round().max(1.0) as i64,
                    0,
                    0,
                    (height / along).round().max(1.0) as i64,
                ];
            }
            map = std::array::from_fn(|k| whole[k] as f64 / sides[k]);
            period = Some(Period::new(whole));
        }
        let side = Lattice::SIDE as u32;
        Self {
            map,
            offset: [rng.uniform(), rng.uniform()],
            period,
            start: [i64::from(rng.below(side)), i64::from(rng.below(side))],
        }
    }

    /// Position in cells.
    pub(super) fn cell(&self, p: Point) -> Point {
        [
            self.map[0] * p[0] + self.map[1] * p[1] + self.offset[0],
            self.map[2] * p[0] + self.map[3] * p[1] + self.offset[1],
        ]
    }

    /// Offset in pixels of an offset in cells.
    pub(super) fn pixels(&self, d: Point) -> Point {
        let [a, b, c, e] = self.map;
        let determinant = a * e - b * c;
        [(e * d[0] - b * d[1]) / determinant, (a * d[1] - c * d[0]) / determinant]
    }

    /// Four uniform numbers of the node in column `i`, row `j`.
    pub(super) fn node(&self, lattice: &Lattice, i: i64, j: i64) -> [f32; 4] {
        let [i, j] = self.period.map_or([i, j], |period| period.reduce(i, j));
        lattice.nodes[self.row(j) + self.column(i)]
    }

    /// Where row `j` begins in the table.
    fn row(&self, j: i64) -> usize {
        (j + self.start[1]) as usize % Lattice::SIDE * Lattice::SIDE
    }

    /// Where column `i` is in a row of the table. (Negative numbers become large ones, which are the
    /// same modulo a power of two.)
    fn column(&self, i: i64) -> usize {
        (i + self.start[0]) as usize % Lattice::SIDE
    }

    /// Four independent smooth noises of mean 0 and variance 1: a cubic B-spline over the nodes.
    pub(super) fn noise(&self, lattice: &Lattice, p: Point) -> [f32; 4] {
        /// Standard deviation of a uniform number, times the root mean square of the spline's 16
        /// weights, 151/315 for each direction.
        const DEVIATION: f32 = 0.288_675 * 0.479_365;
        let [x, y] = self.cell(p);
        let (i, j) = (x.floor(), y.floor());
        let (wx, wy) = (weights((x - i) as f32), weights((y - j) as f32));
        let (i, j) = (i as i64 - 1, j as i64 - 1);
        let mut sum = [0.0_f32; 4];
        for (row, wy) in (j..).zip(wy) {
            let (nodes, columns) = match self.period {
                None => (self.row(row), [0, 1, 2, 3].map(|k| self.column(i + k))),
                Some(period) => {
                    let [first, row] = period.reduce(i, row);
                    let mut column = first;
                    let columns = std::array::from_fn(|k| {
                        if k > 0 {
                            column = if column + 1 == period.columns { 0 } else { column + 1 };
                        }
                        self.column(column)
                    });
                    (self.row(row), columns)
                }
            };
            for (column, wx) in columns.into_iter().zip(wx) {
                let w = wx * wy;
                for (sum, v) in sum.iter_mut().zip(lattice.nodes[nodes + column]) {
                    *sum += w * v;
                }
            }
        }
        sum.map(|v| (v - 0.5) / DEVIATION)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grids_of_a_torus_are_periodic() {
        let mut rng = PhiloxRng::new(3, Stream::Test, 0);
        let lattice = Lattice::new(5, 0);
        for _ in 0..50 {
            let (across, along) = (rng.uniform_in(2.5, 60.0), rng.uniform_in(2.5, 60.0));
            let angle = rng.uniform_in(0.0, 6.3);
            let grid = Grid::new(&mut rng, across, along, angle, Some([64.0, 48.0]));
            let p = [rng.uniform_in(-70.0, 70.0), rng.uniform_in(-70.0, 70.0)];
            let here = grid.noise(&lattice, p);
            for q in [[p[0] + 64.0, p[1]], [p[0], p[1] - 48.0], [p[0] - 128.0, p[1] + 48.0]] {
                let there = grid.noise(&lattice, q);
                for (a, b) in here.iter().zip(there) {
                    // A slope of a few a cell, rounding of the place to 1e-7 of a cell.
                    assert!((a - b).abs() < 1e-4, "{grid:?} {p:?} {a} {b}");
                }
            }
        }
    }

    #[test]
    fn noise_has_mean_0_and_variance_1() {
        let mut rng = PhiloxRng::new(4, Stream::Test, 0);
        let lattice = Lattice::new(6, 0);
        let grid = Grid::new(&mut rng, 3.0, 4.0, 0.4, None);
        // Far enough apart to be independent, within one period of the table.
        let values: Vec<f32> = (0..900)
            .map(|k| grid.noise(&lattice, [f64::from(k % 30) * 12.3, f64::from(k / 30) * 16.1])[1])
            .collect();
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        let variance = values.iter().map(|v| f64::from(*v).powi(2)).sum::<f64>() / n;
        // Five standard deviations of each.
        assert!(mean.abs() < 5.0 / n.sqrt(), "{mean}");
        assert!((variance - 1.0).abs() < 5.0 * (2.0 / n).sqrt(), "{variance}");
    }
}
