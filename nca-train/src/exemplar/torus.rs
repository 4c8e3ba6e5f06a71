//! Building blocks on the unit torus: scattered points, smooth noise, colour arithmetic.

use std::f64::consts::TAU;

use nca_core::philox::{PhiloxRng, Stream};

/// A random sequence for one part of an exemplar.
pub(super) fn rng(seed: u64, part: u64) -> PhiloxRng {
    PhiloxRng::new(seed, Stream::Exemplar, part)
}

/// The shortest vector from `a` to `b`.
pub(super) fn displacement(a: [f64; 2], b: [f64; 2]) -> [f64; 2] {
    std::array::from_fn(|i| {
        let d = b[i] - a[i];
        d - d.round()
    })
}

/// One of the [`Points`], seen from somewhere.
pub(super) struct Neighbour {
    /// Vector from the place asked about to the point, in cells of the grid.
    pub(super) offset: [f64; 2],
    /// A random number in (0, 1) that is the point's own.
    pub(super) tone: f64,
}

impl Neighbour {
    pub(super) fn distance(&self) -> f64 {
        self.offset[0].hypot(self.offset[1])
    }
}

/// One point in each cell of an n × n grid (n even), odd rows shifted by half a cell, displaced by
/// up to `jitter / 2` cells.
pub(super) struct Points {
    n: usize,
    places: Vec<[f64; 2]>,
    tones: Vec<f64>,
}

impl Points {
    pub(super) fn new(n: usize, jitter: f64, mut rng: PhiloxRng) -> Self {
        let mut displaced = || 0.5 + jitter * (rng.uniform() - 0.5);
        let places = (0..n * n)
            .map(|cell| [displaced() + 0.5 * (cell / n % 2) as f64, displaced()])
            .collect();
        let tones = (0..n * n).map(|_| rng.uniform()).collect();
        Self { n, places, tones }
    }

    /// Every point within two cells of `(x, y)`, and some beyond.
    pub(super) fn around(&self, x: f64, y: f64) -> impl Iterator<Item = Neighbour> {
        const REACH: i64 = 3;
        let n = self.n as i64;
        let (x, y) = (x * self.n as f64, y * self.n as f64);
        let (column, row) = (x.floor() as i64, y.floor() as i64);
        (row - REACH..=row + REACH).flat_map(move |r| {
            (column - REACH..=column + REACH).map(move |c| {
                let cell = (r.rem_euclid(n) * n + c.rem_euclid(n)) as usize;
                let place = self.places[cell];
                Neighbour {
                    offset: [c as f64 + place[0] - x, r as f64 + place[1] - y],
                    tone: self.tones[cell],
                }
            })
        })
    }
}

/// Gradient noise (Perlin, *An image synthesizer*, SIGGRAPH 1985) that repeats after 1: about
/// ±0.7, mean 0.
pub(super) struct Noise {
    n: usize,
    gradients: Vec<[f64; 2]>,
}

impl Noise {
    /// Noise with `n` bumps along an axis.
    pub(super) fn new(n: usize, mut rng: PhiloxRng) -> Self {
        let gradients = (0..n * n)
            .map(|_| {
                let (sin, cos) = (TAU * rng.uniform()).sin_cos();
                [cos, sin]
            })
            .collect();
        Self { n, gradients }
    }

    pub(super) fn at(&self, x: f64, y: f64) -> f64 {
        let (x, y) = (x * self.n as f64, y * self.n as f64);
        let (column, row) = (x.floor(), y.floor());
        let (fx, fy) = (x - column, y - row);
        let n = self.n as i64;
        let corner = |dx: i64, dy: i64| {
            let (c, r) = ((column as i64 + dx).rem_euclid(n), (row as i64 + dy).rem_euclid(n));
            let g = self.gradients[(r * n + c) as usize];
            g[0] * (fx - dx as f64) + g[1] * (fy - dy as f64)
        };
        let fade = |t: f64| t * t * t * (t * (6.0 * t - 15.0) + 10.0);
        let (u, v) = (fade(fx), fade(fy));
        let top = corner(0, 0) + u * (corner(1, 0) - corner(0, 0));
        let bottom = corner(0, 1) + u * (corner(1, 1) - corner(0, 1));
        top + v * (bottom - top)
    }
}

/// Noise with detail: octaves of [`Noise`] of doubling frequency and halving strength.
pub(super) struct Fractal(Vec<Noise>);

impl Fractal {
    /// `octaves` octaves, the first with `n` bumps; uses parts `part..part + octaves` of the seed.
    pub(super) fn new(n: usize, octaves: usize, seed: u64, part: u64) -> Self {
        Self(
            (0..octaves)
                .map(|i| Noise::new(n << i, rng(seed, part + i as u64)))
                .collect(),
        )
    }

    pub(super) fn at(&self, x: f64, y: f64) -> f64 {
        self.0.iter().rev().fold(0.0, |sum, noise| 0.5 * sum + noise.at(x, y))
    }
}

/// 0 below `low`, 1 above `high`, smooth between.
pub(super) fn smoothstep(low: f64, high: f64, x: f64) -> f64 {
    let t = ((x - low) / (high - low)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// From `a` (t = 0) to `b` (t = 1).
pub(super) fn mix(a: [f64; 3], b: [f64; 3], t: f64) -> [f64; 3] {
    std::array::from_fn(|i| a[i] + t * (b[i] - a[i]))
}

/// A colour made lighter or darker.
pub(super) fn scale(colour: [f64; 3], factor: f64) -> [f64; 3] {
    colour.map(|v| v * factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_repeats_and_has_mean_zero() {
        let noise = Fractal::new(4, 3, 5, 0);
        let mut sum = 0.0;
        for i in 0..64 * 64 {
            let (x, y) = (f64::from(i % 64) / 64.0, f64::from(i / 64) / 64.0);
            sum += noise.at(x, y);
            // Exact: the lattice coordinates are multiples of 1/16 and the wrap is in integers.
            assert_eq!(noise.at(x, y), noise.at(x + 1.0, y));
            assert_eq!(noise.at(x, y), noise.at(x, y - 1.0));
        }
        // Some 16 independent bumps of standard deviation 0.25 in the first octave: five sigma.
        assert!((sum / 4096.0).abs() < 5.0 * 0.25 / 4.0, "{sum}");
    }

    #[test]
    fn points_repeat() {
        let points = Points::new(6, 0.8, rng(1, 0));
        let nearest = |x: f64, y: f64| points.around(x, y).map(|p| p.distance()).fold(f64::INFINITY, f64::min);
        for i in 0..200 {
            let (x, y) = (f64::from(i) * 0.0371 % 1.0, f64::from(i) * 0.0613 % 1.0);
            assert!((nearest(x, y) - nearest(x - 1.0, y + 1.0)).abs() < 1e-12);
        }
    }
}
