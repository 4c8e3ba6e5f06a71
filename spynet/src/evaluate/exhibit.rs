//! Textures as functions of continuous coordinates, with a known shortest period, so that a frame may
//! be moved by any fraction of a pixel, exactly.

use std::f64::consts::TAU;
use std::fmt;

use nca_core::backend::check;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Result};
use rayon::prelude::*;

use crate::synth::Raster;

/// Colour at column `x`, row `y`.
type Colour = Box<dyn Fn(f64, f64) -> [f64; 3] + Send + Sync>;

/// A texture on the whole plane.
pub struct Exhibit {
    /// Its name.
    pub name: String,
    /// Shortest period or feature, in pixels: motions below 0.4 of it are unambiguous.
    pub period: f64,
    colour: Colour,
}

impl fmt::Debug for Exhibit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, period) = (&self.name, self.period);
        f.debug_struct("Exhibit")
            .field("name", name)
            .field("period", &period)
            .finish_non_exhaustive()
    }
}

impl Exhibit {
    fn new(name: &str, period: f64, colour: impl Fn(f64, f64) -> [f64; 3] + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            period,
            colour: Box::new(colour),
        }
    }

    /// The textures made here: noise in octaves, blobs, a chequerboard, wavy bands.
    #[must_use]
    pub fn procedural() -> Vec<Self> {
        vec![Self::octaves(), Self::blobs(), Self::checker(), Self::weave()]
    }

    /// Noise in octaves: eight plane waves of random direction, phase and colour for each of the
    /// wavelengths 8, 16, 32 and 64, amplitude falling with the frequency.
    #[must_use]
    pub fn octaves() -> Self {
        let mut rng = PhiloxRng::new(1, Stream::Test, 100);
        let mut waves = Vec::new();
        for wavelength in [8.0_f64, 16.0, 32.0, 64.0] {
            for _ in 0..8 {
                let angle = rng.uniform_in(0.0, TAU);
                let k = TAU / wavelength;
                let phases: [f64; 3] = std::array::from_fn(|_| rng.uniform_in(0.0, TAU));
                let amplitude = 0.06 * (wavelength / 64.0).sqrt();
                waves.push((k * angle.cos(), k * angle.sin(), phases, amplitude));
            }
        }
        Self::new("octaves", 8.0, move |x, y| {
            let mut colour = [0.5; 3];
            for (kx, ky, phases, amplitude) in &waves {
                for (c, phase) in colour.iter_mut().zip(phases) {
                    *c += amplitude * (kx * x + ky * y + phase).sin();
                }
            }
            colour
        })
    }

    /// Round blobs of standard deviation 2.5 px, one in each cell of a 12 px grid, off its centre.
    #[must_use]
    pub fn blobs() -> Self {
        const CELL: f64 = 12.0;
        let blob = |column: i64, row: i64| {
            let index = (column + 4096) as u64 * 8192 + (row + 4096) as u64;
            let mut rng = PhiloxRng::new(2, Stream::Test, index);
            let x = (column as f64 + rng.uniform_in(0.2, 0.8)) * CELL;
            let y = (row as f64 + rng.uniform_in(0.2, 0.8)) * CELL;
            (x, y, [rng.uniform(), rng.uniform(), rng.uniform()])
        };
        Self::new("blobs", CELL, move |x, y| {
            let mut colour = [0.2; 3];
            let (column, row) = ((x / CELL).floor() as i64, (y / CELL).floor() as i64);
            for i in column - 1..=column + 1 {
                for j in row - 1..=row + 1 {
                    let (bx, by, tint) = blob(i, j);
                    let height = 0.6 * (-((x - bx).powi(2) + (y - by).powi(2)) / (2.0 * 2.5 * 2.5)).exp();
                    for (c, t) in colour.iter_mut().zip(tint) {
                        *c += height * t;
                    }
                }
            }
            colour
        })
    }

    /// A chequerboard of period 16 with edges about two pixels wide.
    #[must_use]
    pub fn checker() -> Self {
        // It is also its own image half a period further in both directions at once.
        Self::new("checker", 16.0 / std::f64::consts::SQRT_2, |x, y| {
            let wave = |v: f64| (2.5 * (TAU * v / 16.0).sin()).tanh();
            let value = wave(x + 0.3) * wave(y - 0.2);
            [0.5 + 0.35 * value, 0.5 + 0.3 * value, 0.4 - 0.2 * value]
        })
    }

    /// Crossing wavy bands, stronger in one direction than in the other.
    #[must_use]
    pub fn weave() -> Self {
        Self::new("weave", 10.0, |x, y| {
            let along = (TAU * (x + 1.5 * (TAU * y / 37.0).sin()) / 10.0).sin();
            let across = (TAU * (y + 2.0 * (TAU * x / 29.0).sin()) / 14.0).sin();
            [0.5 + 0.3 * along, 0.5 + 0.3 * along * across, 0.5 + 0.12 * across]
        })
    }

    /// A picture, mirrored beyond its edges, with every pixel a Gaussian of a standard deviation of
    /// 0.7 px, so that it is a smooth function. `period` is that of its shortest features in pixels.
    ///
    /// # Errors
    /// When the picture is empty or `rgb` has not `3·H·W` elements.
    pub fn from_picture(name: &str, period: f64, picture: &Raster) -> Result<Self> {
        let (height, width) = (picture.height, picture.width);
        if height == 0 || width == 0 {
            return Err(Error::invalid(
                "size of a picture",
                format!("{width}×{height}"),
                "at least 1×1",
            ));
        }
        check::shape("exhibit", "picture", picture.rgb.len(), &[3, height, width])?;
        let plane = height * width;
        let pixels: Vec<[f64; 3]> = (0..plane)
            .map(|p| [0, 1, 2].map(|c| f64::from(picture.rgb[c * plane + p])))
            .collect();
        let mirror = |i: i64, n: usize| {
            let i = i.rem_euclid(2 * n as i64) as usize;
            if i < n { i } else { 2 * n - 1 - i }
        };
        Ok(Self::new(name, period, move |x, y| {
            let (mut colour, mut weight) = ([0.0; 3], 0.0);
            for row in y.floor() as i64 - 3..=y.floor() as i64 + 4 {
                for column in x.floor() as i64 - 3..=x.floor() as i64 + 4 {
                    let d2 = (x - column as f64).powi(2) + (y - row as f64).powi(2);
                    let w = (-d2 / (2.0 * 0.7 * 0.7)).exp();
                    weight += w;
                    let pixel = pixels[mirror(row, height) * width + mirror(column, width)];
                    for (c, v) in colour.iter_mut().zip(pixel) {
                        *c += w * v;
                    }
                }
            }
            colour.map(|c| c / weight)
        }))
    }

    /// A frame `[3,H,W]` that shows at pixel `(x, y)` the texture's point `source(x, y)`; with a
    /// `scale` above 1, a texture that many times as large.
    #[must_use]
    pub fn frame(
        &self,
        height: usize,
        width: usize,
        scale: f64,
        source: impl Fn(f64, f64) -> (f64, f64) + Sync,
    ) -> Vec<f32> {
        let plane = height * width;
        let pixels: Vec<[f64; 3]> = (0..plane)
            .into_par_iter()
            .map(|p| {
                let (x, y) = source((p % width) as f64, (p / width) as f64);
                (self.colour)(x / scale, y / scale)
            })
            .collect();
        (0..3).flat_map(|c| pixels.iter().map(move |p| p[c] as f32)).collect()
    }

    /// Two frames between which the texture moves by `(dx, dy)` pixels.
    #[must_use]
    pub fn translated(&self, height: usize, width: usize, scale: f64, dx: f64, dy: f64) -> (Vec<f32>, Vec<f32>) {
        (
            self.frame(height, width, scale, |x, y| (x, y)),
            self.frame(height, width, scale, |x, y| (x - dx, y - dy)),
        )
    }
}
