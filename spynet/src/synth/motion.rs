//! How a layer moves: an affine map plus a smooth bend, and the exact way back.

use super::spline::weights_and_slopes;

/// Point or displacement `(x, y)` in pixels.
pub(super) type Point = [f64; 2];

/// Where the points of the first frame are in the second.
///
/// `forward(p) = c + A·(p − c) + t + bend(p)`.
#[derive(Clone, Debug)]
pub(super) struct Motion {
    /// c, which A leaves in place.
    pub(super) centre: Point,
    /// A, row by row.
    pub(super) linear: [f64; 4],
    /// t.
    pub(super) shift: Point,
    pub(super) bend: Option<Bend>,
}

impl Motion {
    /// The identity.
    pub(super) const STILL: Self = Self {
        centre: [0.0; 2],
        linear: [1.0, 0.0, 0.0, 1.0],
        shift: [0.0; 2],
        bend: None,
    };

    /// Displacement of the point that is at `p` in the first frame.
    pub(super) fn flow(&self, p: Point) -> Point {
        let [a, b, c, d] = self.linear;
        let (x, y) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        let bend = self.bend.as_ref().map_or([0.0; 2], |bend| bend.at(p).0);
        [
            (a - 1.0) * x + b * y + self.shift[0] + bend[0],
            c * x + (d - 1.0) * y + self.shift[1] + bend[1],
        ]
    }

    /// A bound on the displacement within `radius` of `p`.
    pub(super) fn longest(&self, p: Point, radius: f64) -> f64 {
        let [a, b, c, d] = self.linear;
        let (x, y) = (p[0] - self.centre[0], p[1] - self.centre[1]);
        let stretch = [a - 1.0, b, c, d - 1.0].iter().map(|v| v * v).sum::<f64>().sqrt();
        let bend = self.bend.as_ref().map_or(0.0, Bend::longest);
        self.shift[0].hypot(self.shift[1]) + stretch * (x.hypot(y) + radius) + bend
    }

    /// The point of the first frame that is at `q` in the second; `near` is a guess.
    ///
    /// Steps of Newton's method with the derivative at the guess. Should they not arrive, fixed-point
    /// iteration of `p = c + A⁻¹·(q − c − t − bend(p))` does: a contraction, since the bend's Lipschitz
    /// constant is at most [`Bend::STEEPEST`] and A is near the identity.
    pub(super) fn source(&self, q: Point, near: Point) -> Point {
        /// Steps this short leave less than this: either way shrinks the error to less than half.
        const CLOSE: f64 = 1e-6;
        const NEWTON: usize = 6;
        const LIMIT: usize = 50;
        let Some(bend) = &self.bend else {
            let rest = [0, 1].map(|k| q[k] - self.centre[k] - self.shift[k]);
            let p = solve(self.linear, rest);
            return [0, 1].map(|k| self.centre[k] + p[k]);
        };
        let (_, slope) = bend.at(near);
        let derivative: [f64; 4] = std::array::from_fn(|k| self.linear[k] + slope[k]);
        let mut p = near;
        for round in 0..LIMIT {
            let flow = self.flow(p);
            let miss = [0, 1].map(|k| q[k] - p[k] - flow[k]);
            let step = solve(if round < NEWTON { derivative } else { self.linear }, miss);
            p = [p[0] + step[0], p[1] + step[1]];
            if step[0].abs().max(step[1].abs()) < CLOSE {
                break;
            }
        }
        p
    }
}

/// `A⁻¹·v`.
fn solve([a, b, c, d]: [f64; 4], v: Point) -> Point {
    let determinant = a * d - b * c;
    [(d * v[0] - b * v[1]) / determinant, (a * v[1] - c * v[0]) / determinant]
}

/// A smooth displacement: a cubic B-spline over a coarse grid of control vectors.
#[derive(Clone, Debug)]
pub(super) struct Bend {
    columns: usize,
    rows: usize,
    /// Control points a pixel, along x and y.
    scale: Point,
    /// Whether the grid begins again after its last column and row.
    torus: bool,
    controls: Vec<Point>,
}

impl Bend {
    /// Largest Lipschitz constant.
    pub(super) const STEEPEST: f64 = 0.35;

    /// From control vectors `[rows, columns]` spread over `width`×`height` pixels; they are scaled
    /// down where the field would be steeper than [`Self::STEEPEST`].
    pub(super) fn new(
        width: usize,
        height: usize,
        columns: usize,
        rows: usize,
        torus: bool,
        controls: Vec<Point>,
    ) -> Self {
        let cells = |n: usize| if torus { n } else { n - 1 } as f64;
        let mut bend = Self {
            columns,
            rows,
            scale: [cells(columns) / width as f64, cells(rows) / height as f64],
            torus,
            controls,
        };
        let steepest = bend.lipschitz();
        if steepest > Self::STEEPEST {
            for v in bend.controls.iter_mut().flatten() {
                *v *= Self::STEEPEST / steepest;
            }
        }
        bend
    }

    fn control(&self, column: i64, row: i64) -> Point {
        let index = |i: i64, n: usize| {
            if self.torus {
                i.rem_euclid(n as i64) as usize
            } else {
                i.clamp(0, n as i64 - 1) as usize
            }
        };
        self.controls[index(row, self.rows) * self.columns + index(column, self.columns)]
    }

    /// A bound: the derivative of a B-spline is a weighted mean of the differences of its controls.
    fn lipschitz(&self) -> f64 {
        let mut largest = [0.0_f64; 4];
        for row in 0..self.rows as i64 {
            for column in 0..self.columns as i64 {
                let here = self.control(column, row);
                let (right, below) = (self.control(column + 1, row), self.control(column, row + 1));
                for c in 0..2 {
                    largest[c] = largest[c].max((right[c] - here[c]).abs() * self.scale[0]);
                    largest[2 + c] = largest[2 + c].max((below[c] - here[c]).abs() * self.scale[1]);
                }
            }
        }
        // The Frobenius norm bounds the spectral norm.
        largest.iter().map(|v| v * v).sum::<f64>().sqrt()
    }

    /// Displacement at `p`, and its derivative row by row.
    fn at(&self, p: Point) -> (Point, [f64; 4]) {
        let (x, y) = (p[0] * self.scale[0], p[1] * self.scale[1]);
        let (column, row) = (x.floor(), y.floor());
        let ([wx, dx], [wy, dy]) = (weights_and_slopes(x - column), weights_and_slopes(y - row));
        let (column, row) = (column as i64 - 1, row as i64 - 1);
        let (mut value, mut slope) = ([0.0; 2], [0.0; 4]);
        for (j, (wy, dy)) in (0..).zip(wy.into_iter().zip(dy)) {
            let (mut line, mut along) = ([0.0; 2], [0.0; 2]);
            for (i, (wx, dx)) in (0..).zip(wx.into_iter().zip(dx)) {
                let control = self.control(column + i, row + j);
                for k in 0..2 {
                    line[k] += wx * control[k];
                    along[k] += dx * control[k];
                }
            }
            for k in 0..2 {
                value[k] += wy * line[k];
                slope[2 * k] += wy * along[k] * self.scale[0];
                slope[2 * k + 1] += dy * line[k] * self.scale[1];
            }
        }
        (value, slope)
    }

    /// A bound on the displacement's components: a B-spline is a weighted mean of its controls.
    fn longest(&self) -> f64 {
        self.controls.iter().map(|v| v[0].hypot(v[1])).fold(0.0, f64::max)
    }
}

#[cfg(test)]
mod tests {
    use nca_core::philox::{PhiloxRng, Stream};

    use super::*;

    #[test]
    fn source_undoes_the_flow() {
        let mut rng = PhiloxRng::new(1, Stream::Test, 0);
        for torus in [false, true] {
            // Far steeper than allowed, so scaled down to the bound.
            let controls = (0..20).map(|_| [20.0 * rng.normal(), 20.0 * rng.normal()]).collect();
            let motion = Motion {
                centre: [30.0, 20.0],
                linear: [1.02, 0.1, -0.1, 0.97],
                shift: [2.5, -1.25],
                bend: Some(Bend::new(64, 48, 5, 4, torus, controls)),
            };
            assert!(motion.bend.as_ref().unwrap().lipschitz() <= Bend::STEEPEST * (1.0 + 1e-12));
            for _ in 0..200 {
                let p = [rng.uniform_in(-10.0, 74.0), rng.uniform_in(-10.0, 58.0)];
                let flow = motion.flow(p);
                let q = [p[0] + flow[0], p[1] + flow[1]];
                let back = motion.source(q, q);
                assert!(
                    (back[0] - p[0]).abs().max((back[1] - p[1]).abs()) < 1e-5,
                    "{p:?} {back:?}"
                );
            }
        }
    }

    #[test]
    fn bend_of_a_torus_is_periodic() {
        let mut rng = PhiloxRng::new(2, Stream::Test, 0);
        let controls = (0..12).map(|_| [rng.normal(), rng.normal()]).collect();
        let bend = Bend::new(40, 24, 4, 3, true, controls);
        let ((a, _), (b, _)) = (bend.at([3.25, 7.5]), bend.at([43.25, -16.5]));
        assert!((a[0] - b[0]).abs() < 1e-12 && (a[1] - b[1]).abs() < 1e-12);
    }
}
