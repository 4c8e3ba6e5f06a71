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

/// A grid: a linear map from pixels to cells, and on a torus the cells that are the same.
#[derive(Clone, Debug)]
pub(super) struct Grid {
    /// Cells for a step along x and along y: `[ix, iy, jx, jy]`, `i = ix·x + iy·y`.
    map: [f64; 4],
    offset: Point,
    /// On a torus of `[W, H]` pixels, going round along x moves by `(period[0], period[2])` cells
    /// and along y by `(period[1], period[3])`.
    period: Option<[i64; 4]>,
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
            period = Some(whole);
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
    pub(super) fn node(&self, lattice: &Lattice, mut i: i64, mut j: i64) -> [f32; 4] {
        if let Some([a, b, c, d]) = self.period {
            let determinant = a * d - b * c;
            let floor = |n: i64| {
                if determinant > 0 {
                    n.div_euclid(determinant)
                } else {
                    (-n).div_euclid(-determinant)
                }
            };
            let (round_x, round_y) = (floor(d * i - b * j), floor(a * j - c * i));
            i -= a * round_x + b * round_y;
            j -= c * round_x + d * round_y;
        }
        let index = |i: i64| i as usize % Lattice::SIDE;
        let [i, j] = [i + self.start[0], j + self.start[1]].map(|v| v.rem_euclid(Lattice::SIDE as i64));
        lattice.nodes[index(j) * Lattice::SIDE + index(i)]
    }

    /// Four independent smooth noises of mean 0 and variance 1: a cubic B-spline over the nodes.
    pub(super) fn noise(&self, lattice: &Lattice, p: Point) -> [f32; 4] {
        /// Standard deviation of a uniform number, times the root mean square of the spline's 16
        /// weights, (151/315) in each direction.
        const DEVIATION: f32 = 0.288_675 * 0.479_365;
        let [x, y] = self.cell(p);
        let (i, j) = (x.floor(), y.floor());
        let (wx, wy) = (weights(x - i).map(|w| w as f32), weights(y - j).map(|w| w as f32));
        let (i, j) = (i as i64 - 1, j as i64 - 1);
        let mut sum = [0.0_f32; 4];
        for (row, wy) in (j..).zip(wy) {
            for (column, wx) in (i..).zip(wx) {
                let w = wx * wy;
                for (sum, v) in sum.iter_mut().zip(self.node(lattice, column, row)) {
                    *sum += w * v;
                }
            }
        }
        sum.map(|v| (v - 0.5) / DEVIATION)
    }
}
