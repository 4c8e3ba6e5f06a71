//! Built-in procedural exemplars, so that nothing need be downloaded to train something.
//!
//! Four textures in the spirit of the paper's (DTD bubbly_0101, chequered_0121, interlaced_0172 and
//! cracked_0085). Each is a function on the unit torus, therefore seamless, and irregular in shape
//! and colour: of an exactly periodic texture every crop looks the same, which leaves nothing to
//! measure [`texture_distance`](crate::distance) by. Features scale with the picture, as those of a
//! photograph do that is resized.

mod bubbly;
mod chequered;
mod cracked;
mod interlaced;
mod torus;

use std::fmt;

use nca_core::Result;
use rayon::prelude::*;

use crate::texture::{Texture, check_size};

/// A colour for each point of the unit torus: `(x, y)` in `[0, 1)²` → RGB.
type Shader = Box<dyn Fn(f64, f64) -> [f64; 3] + Send + Sync>;

/// A texture made by a formula.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Exemplar {
    /// Glassy bubbles in deep water.
    Bubbly,
    /// A hand-painted chequerboard.
    Chequered,
    /// Over-and-under basket weave.
    Interlaced,
    /// Dried mud.
    Cracked,
}

impl Exemplar {
    /// Every built-in, in the paper's order.
    pub const ALL: [Self; 4] = [Self::Bubbly, Self::Chequered, Self::Interlaced, Self::Cracked];
    /// Seed of the pictures that go by the bare name.
    pub const SEED: u64 = 0;
    /// Samples a pixel along each axis; edges are as soft as those of a photograph made small.
    const SUPERSAMPLING: usize = 4;

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Bubbly => "bubbly",
            Self::Chequered => "chequered",
            Self::Interlaced => "interlaced",
            Self::Cracked => "cracked",
        }
    }

    /// The built-in of that name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|exemplar| exemplar.name() == name)
    }

    /// The picture of `size` × `size` pixels, a pure function of `(self, size, seed)`.
    pub fn render(self, size: usize, seed: u64) -> Result<Texture> {
        check_size(size)?;
        let shader = self.shader(seed);
        let pixels: Vec<[f64; 3]> = (0..size * size)
            .into_par_iter()
            .map(|cell| pixel(&shader, size, cell / size, cell % size))
            .collect();
        let rgb = (0..3)
            .flat_map(|channel| pixels.iter().map(move |p| p[channel].clamp(0.0, 1.0) as f32))
            .collect();
        Texture::new(self.name(), size, size, rgb)
    }

    fn shader(self, seed: u64) -> Shader {
        match self {
            Self::Bubbly => bubbly::shader(seed),
            Self::Chequered => chequered::shader(seed),
            Self::Interlaced => interlaced::shader(seed),
            Self::Cracked => cracked::shader(seed),
        }
    }
}

impl fmt::Display for Exemplar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The mean of a pixel's samples.
fn pixel(shader: &Shader, size: usize, row: usize, column: usize) -> [f64; 3] {
    const N: usize = Exemplar::SUPERSAMPLING;
    let at = |pixel: usize, sample: usize| (pixel as f64 + (sample as f64 + 0.5) / N as f64) / size as f64;
    let mut sum = [0.0; 3];
    for sample in 0..N * N {
        let colour = shader(at(column, sample % N), at(row, sample / N));
        for (sum, value) in sum.iter_mut().zip(colour) {
            *sum += value.clamp(0.0, 1.0);
        }
    }
    sum.map(|v| v / (N * N) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Fraction of points of the seam where the colours of its two sides differ visibly.
    fn seam(colour: impl Fn(f64, f64) -> [f64; 3]) -> f64 {
        const POINTS: usize = 2000;
        const STEP: f64 = 1e-6;
        let differs = |a: [f64; 3], b: [f64; 3]| a.iter().zip(b).any(|(a, b)| (a - b).abs() > 0.02);
        let seen = (0..POINTS).filter(|&i| {
            let t = (i as f64 + 0.5) / POINTS as f64;
            differs(colour(STEP, t), colour(1.0 - STEP, t)) || differs(colour(t, STEP), colour(t, 1.0 - STEP))
        });
        seen.count() as f64 / POINTS as f64
    }

    #[test]
    fn seamless() {
        // Hard edges of a texture may cross the seam, some dozens at most.
        const CROSSINGS: f64 = 0.02;
        for exemplar in Exemplar::ALL {
            for seed in 0..3 {
                let shader = exemplar.shader(seed);
                assert!(seam(&shader) < CROSSINGS, "{exemplar}, seed {seed}: {}", seam(&shader));
                // A part of it has a seam, and this test would see it.
                assert!(
                    seam(|x, y| shader(0.37 * x, 0.37 * y)) > 5.0 * CROSSINGS,
                    "{exemplar}, seed {seed}"
                );
            }
        }
    }
}
