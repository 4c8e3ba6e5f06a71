//! Textures as functions of continuous coordinates, so that a frame may be moved by any fraction of
//! a pixel, exactly.

// Each test binary uses its own part.
#![allow(dead_code, unreachable_pub)]

use std::path::{Path, PathBuf};

use nca_core::philox::{PhiloxRng, Stream};

/// Colour in [0, 1] at column `x`, row `y`.
type Colour = Box<dyn Fn(f64, f64) -> [f64; 3] + Send + Sync>;

/// A texture on the whole plane.
pub struct Texture {
    pub name: String,
    /// Shortest period or feature, in pixels: motions below 0.4 of it are unambiguous.
    pub period: f64,
    colour: Colour,
}

impl Texture {
    fn new(name: &str, period: f64, colour: impl Fn(f64, f64) -> [f64; 3] + Send + Sync + 'static) -> Self {
        Self {
            name: name.to_owned(),
            period,
            colour: Box::new(colour),
        }
    }

    /// A frame `[3,H,W]` that shows at pixel `(x, y)` the texture's point `source(x, y)`.
    pub fn frame(&self, height: usize, width: usize, source: impl Fn(f64, f64) -> (f64, f64)) -> Vec<f32> {
        let plane = height * width;
        let mut frame = vec![0.0; 3 * plane];
        for p in 0..plane {
            let (x, y) = source((p % width) as f64, (p / width) as f64);
            for (c, value) in (self.colour)(x, y).into_iter().enumerate() {
                frame[c * plane + p] = value as f32;
            }
        }
        frame
    }

    /// Two frames between which the texture moves by `(dx, dy)` pixels.
    pub fn translated(&self, height: usize, width: usize, dx: f64, dy: f64) -> (Vec<f32>, Vec<f32>) {
        (
            self.frame(height, width, |x, y| (x, y)),
            self.frame(height, width, |x, y| (x - dx, y - dy)),
        )
    }
}

/// Noise in octaves: eight plane waves of random direction, phase and colour for each of the
/// wavelengths 8, 16, 32 and 64, amplitude falling with the frequency.
pub fn octaves() -> Texture {
    let mut rng = PhiloxRng::new(1, Stream::Test, 100);
    let mut waves = Vec::new();
    for wavelength in [8.0_f64, 16.0, 32.0, 64.0] {
        for _ in 0..8 {
            let angle = rng.uniform_in(0.0, std::f64::consts::TAU);
            let k = std::f64::consts::TAU / wavelength;
            let phases: [f64; 3] = std::array::from_fn(|_| rng.uniform_in(0.0, std::f64::consts::TAU));
            waves.push((
                k * angle.cos(),
                k * angle.sin(),
                phases,
                0.06 * (wavelength / 64.0).sqrt(),
            ));
        }
    }
    Texture::new("octaves", 8.0, move |x, y| {
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
pub fn blobs() -> Texture {
    const CELL: f64 = 12.0;
    let blob = |column: i64, row: i64| {
        let index = (column + 4096) as u64 * 8192 + (row + 4096) as u64;
        let mut rng = PhiloxRng::new(2, Stream::Test, index);
        let x = (column as f64 + rng.uniform_in(0.2, 0.8)) * CELL;
        let y = (row as f64 + rng.uniform_in(0.2, 0.8)) * CELL;
        (x, y, [rng.uniform(), rng.uniform(), rng.uniform()])
    };
    Texture::new("blobs", CELL, move |x, y| {
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

/// A checkerboard of period 16 with edges about two pixels wide.
pub fn checker() -> Texture {
    Texture::new("checker", 16.0, |x, y| {
        let wave = |v: f64| (2.5 * (std::f64::consts::TAU * v / 16.0).sin()).tanh();
        let value = wave(x + 0.3) * wave(y - 0.2);
        [0.5 + 0.35 * value, 0.5 + 0.3 * value, 0.4 - 0.2 * value]
    })
}

/// Crossing wavy bands, stronger in one direction than in the other.
pub fn weave() -> Texture {
    Texture::new("weave", 10.0, |x, y| {
        let k = std::f64::consts::TAU;
        let along = (k * (x + 1.5 * (k * y / 37.0).sin()) / 10.0).sin();
        let across = (k * (y + 2.0 * (k * x / 29.0).sin()) / 14.0).sin();
        [0.5 + 0.3 * along, 0.5 + 0.3 * along * across, 0.5 + 0.12 * across]
    })
}

/// The textures made here.
pub fn procedural() -> Vec<Texture> {
    vec![octaves(), blobs(), checker(), weave()]
}

/// Folder of real data: `NCA_DATA`, or `shared/data` beside the repository.
fn data() -> PathBuf {
    std::env::var_os("NCA_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data"),
        PathBuf::from,
    )
}

/// Photographs of textures, where they are at hand: every pixel becomes a Gaussian of a standard
/// deviation of 0.7 px, so that the picture is a smooth function.
pub fn photographs() -> Vec<Texture> {
    let names = [
        "bubbly_0101.jpg",
        "chequered_0121.jpg",
        "interlaced_0172.jpg",
        "cracked_0085_128.png",
    ];
    names
        .iter()
        .filter_map(|name| {
            let path = data().join("textures").join(name);
            if !path.exists() {
                eprintln!("skipped: {name} is not at hand");
                return None;
            }
            let image = image::open(&path).unwrap();
            // As a model would be trained on it: the central square at 128×128.
            let side = image.width().min(image.height());
            let square = image.crop_imm((image.width() - side) / 2, (image.height() - side) / 2, side, side);
            let small = square
                .resize_exact(128, 128, image::imageops::FilterType::Lanczos3)
                .to_rgb8();
            let pixels: Vec<[f64; 3]> = small.pixels().map(|p| p.0.map(|v| f64::from(v) / 255.0)).collect();
            // Bubbles, squares, strands and cells are ten pixels wide and more at this size.
            Some(Texture::new(name, 10.0, move |x, y| {
                // Mirrored beyond its edges.
                let mirror = |i: i64| {
                    let i = i.rem_euclid(256);
                    (if i < 128 { i } else { 255 - i }) as usize
                };
                let (mut colour, mut weight) = ([0.0; 3], 0.0);
                for row in y.floor() as i64 - 3..=y.floor() as i64 + 4 {
                    for column in x.floor() as i64 - 3..=x.floor() as i64 + 4 {
                        let d2 = (x - column as f64).powi(2) + (y - row as f64).powi(2);
                        let w = (-d2 / (2.0 * 0.7 * 0.7)).exp();
                        weight += w;
                        for (c, v) in colour.iter_mut().zip(pixels[mirror(row) * 128 + mirror(column)]) {
                            *c += w * v;
                        }
                    }
                }
                colour.map(|c| c / weight)
            }))
        })
        .collect()
}

/// Independent normal noise of standard deviation `sigma` added to a frame.
pub fn with_noise(frame: &[f32], sigma: f64, index: u64) -> Vec<f32> {
    let mut rng = PhiloxRng::new(3, Stream::Test, index);
    frame.iter().map(|v| v + (sigma * rng.normal()) as f32).collect()
}
