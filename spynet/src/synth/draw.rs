//! Scenes of each kind, drawn at random.

use std::sync::Arc;

use nca_core::philox::{PhiloxRng, Stream};

use super::lattice::Lattice;
use super::motion::{Bend, Motion, Point};
use super::scene::{Layer, Scene};
use super::shape::Shape;
use super::texture::{Palette, log_uniform};
use super::{Kind, Raster, SynthSettings};

/// Draws what a scene is made of.
pub(super) struct Draw<'a> {
    pub(super) settings: &'a SynthSettings,
    pub(super) rasters: &'a [Vec<Arc<Raster>>],
}

impl Draw<'_> {
    /// The scene of the pair with `seed`.
    pub(super) fn scene(&self, rng: &mut PhiloxRng, kind: Kind, seed: u64) -> Scene {
        let (width, height) = (self.settings.width as f64, self.settings.height as f64);
        let torus = (kind == Kind::Torus || kind == Kind::Still && rng.uniform() < 0.5).then_some([width, height]);
        let palette = Palette {
            torus,
            rasters: self.rasters,
            extent: width.min(height),
            photographic: self.settings.photographic,
            enlarged: self.settings.enlarged,
        };
        let mut layers = Vec::new();
        let background = match kind {
            Kind::Still => Motion::STILL,
            Kind::Translation => self.translation(rng),
            Kind::Affine => self.affine(rng, [width / 2.0, height / 2.0], width / 2.0),
            Kind::Smooth => self.smooth(rng, false),
            Kind::Layers => match rng.below(4) {
                0 => Motion::STILL,
                1 => self.smooth(rng, false),
                2 => self.affine(rng, [width / 2.0, height / 2.0], width / 2.0),
                _ => self.translation(rng),
            },
            Kind::Torus => match rng.below(5) {
                0 => Motion::STILL,
                1 | 2 => self.smooth(rng, true),
                _ => self.translation(rng),
            },
            Kind::Chairs => self.rigid(rng, [width / 2.0, height / 2.0], 0.4 * width, None),
        };
        layers.push(self.layer(rng, &palette, None, background.clone()));
        let pieces = match kind {
            Kind::Layers => 1 + rng.below(8),
            Kind::Chairs => 3 + rng.below(10),
            Kind::Torus if rng.uniform() < 0.4 => 1 + rng.below(8),
            _ => 0,
        };
        for _ in 0..pieces {
            let centre = [rng.uniform_in(0.0, width), rng.uniform_in(0.0, height)];
            let largest = if kind == Kind::Chairs { 0.45 } else { 0.3 };
            let radius = log_uniform(rng, 0.04, largest) * width.min(height);
            let shape = Shape::draw(rng, centre, radius.max(3.0));
            let motion = match kind {
                Kind::Chairs => self.rigid(rng, centre, radius, Some(&background)),
                Kind::Torus => self.translation(rng),
                _ => match rng.below(4) {
                    0 => self.translation(rng),
                    1 => Motion {
                        shift: background.flow(centre),
                        ..Motion::STILL
                    },
                    _ => self.affine(rng, centre, radius),
                },
            };
            layers.push(self.layer(rng, &palette, Some(shape), motion));
        }
        Scene {
            lattice: Lattice::new(seed, 1),
            layers,
            torus,
        }
    }

    fn layer(&self, rng: &mut PhiloxRng, palette: &Palette<'_>, shape: Option<Shape>, motion: Motion) -> Layer {
        let (width, height) = (self.settings.width as f64, self.settings.height as f64);
        let longest = match &shape {
            Some(shape) => motion.longest(shape.centre, shape.reach),
            None => motion.longest([width / 2.0, height / 2.0], width.hypot(height) / 2.0),
        };
        let texture = palette.draw(rng, longest);
        let fade = (rng.uniform() < 0.2 * self.settings.nuisance).then(|| {
            let other = palette.draw(rng, 0.0);
            // What is left of the texture must outweigh what is new.
            let most = 0.5 * texture.contrast() / (texture.contrast() + other.contrast());
            (other, log_uniform(rng, 0.02, 0.7) as f32 * most)
        });
        Layer {
            texture,
            shape,
            motion,
            fade,
        }
    }

    /// Length of a motion in pixels: at times exactly zero, else logarithmically uniform.
    fn length(&self, rng: &mut PhiloxRng) -> f64 {
        let settings = self.settings;
        if rng.uniform() < settings.still {
            return 0.0;
        }
        log_uniform(rng, settings.slowest, settings.fastest * settings.width as f64)
    }

    fn translation(&self, rng: &mut PhiloxRng) -> Motion {
        let length = self.length(rng);
        Motion {
            shift: direction(rng, length),
            ..Motion::STILL
        }
    }

    /// A translation with rotation, zoom and shear, each of which moves the points at `radius` from
    /// the centre about as far.
    fn affine(&self, rng: &mut PhiloxRng, centre: Point, radius: f64) -> Motion {
        let shift = self.length(rng);
        let turn = (self.length(rng) / radius).min(0.25);
        let mut part = || turn * rng.uniform_in(-1.0, 1.0);
        let (rotation, zoom, shear, squeeze) = (part(), part(), part() / 2.0, part() / 2.0);
        let (sin, cos) = rotation.sin_cos();
        let (sx, sy) = (1.0 + zoom + squeeze, 1.0 + zoom - squeeze);
        Motion {
            centre,
            linear: [cos * sx, cos * shear - sin * sy, sin * sx, sin * shear + cos * sy],
            shift: direction(rng, shift),
            bend: None,
        }
    }

    /// A translation and a bend with grains of an eighth of the frame or more.
    fn smooth(&self, rng: &mut PhiloxRng, torus: bool) -> Motion {
        let (width, height) = (self.settings.width, self.settings.height);
        let columns = 3 + rng.below(6) as usize;
        let rows = (columns * height / width).max(3);
        let (shift, amplitude) = (self.length(rng), self.length(rng));
        let controls = (0..columns * rows)
            .map(|_| [amplitude * rng.normal(), amplitude * rng.normal()])
            .collect();
        let shift = if rng.uniform() < 0.5 { 0.0 } else { shift };
        Motion {
            shift: direction(rng, shift),
            bend: Some(Bend::new(width, height, columns, rows, torus, controls)),
            ..Motion::STILL
        }
    }

    /// Rotation, zoom and translation as of a stiff object filmed by a moving camera, several pixels
    /// at a width of 512.
    fn rigid(&self, rng: &mut PhiloxRng, centre: Point, radius: f64, camera: Option<&Motion>) -> Motion {
        let unit = self.settings.width as f64 / 512.0;
        // Heavy tails: most move by a few pixels, some by twenty and more.
        let length = log_uniform(rng, 0.3, 14.0) * unit;
        let mut shift = direction(rng, length);
        if let Some(camera) = camera {
            let flow = camera.flow(centre);
            shift = [shift[0] + flow[0], shift[1] + flow[1]];
        }
        let turn = (log_uniform(rng, 0.1, 5.0) * unit / radius).min(0.3);
        let (sin, cos) = (turn * rng.normal()).clamp(-0.4, 0.4).sin_cos();
        let zoom = 1.0 + (0.5 * turn * rng.normal()).clamp(-0.2, 0.2);
        Motion {
            centre,
            linear: [zoom * cos, -zoom * sin, zoom * sin, zoom * cos],
            shift,
            bend: None,
        }
    }
}

fn direction(rng: &mut PhiloxRng, length: f64) -> Point {
    let (sin, cos) = rng.uniform_in(0.0, std::f64::consts::TAU).sin_cos();
    [length * cos, length * sin]
}

/// The scene's generator: everything but noise follows from it.
pub(super) fn generator(seed: u64) -> PhiloxRng {
    PhiloxRng::new(seed, Stream::Synth, 0)
}
