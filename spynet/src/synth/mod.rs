//! Synthetic flow data: pairs of frames whose true flow is known exactly.
//!
//! A scene is a stack of layers, a background and pieces in front of it. Each has a texture, a
//! function of continuous coordinates in the first frame, and its own motion. The first frame shows
//! the layers where they are; a pixel of the second frame shows the layers' points that have moved
//! there (affine maps are inverted exactly, smooth bends by iteration to 1e-6 px). Nothing is ever
//! resampled, so both frames are equally sharp and the flow of the front layer is the truth, with
//! what is hidden known from the order of the layers.
//!
//! Everything is a pure function of `(settings, seed, index)`, whatever the number of threads.
//!
//! ```
//! use spynet::synth::{Synth, SynthSettings};
//!
//! let synth = Synth::new(SynthSettings { height: 48, width: 64, ..SynthSettings::default() })?;
//! let pair = synth.pair(7, 0);
//! assert_eq!(pair.flow.len(), 2 * 48 * 64);
//! assert_eq!(pair, synth.pair(7, 0));
//! # Ok::<(), nca_core::Error>(())
//! ```

mod draw;
mod lattice;
mod motion;
mod nuisance;
mod scene;
mod shape;
mod spline;
mod texture;

use std::sync::Arc;

use nca_core::philox::{PhiloxRng, derive_seed};
use nca_core::{Error, Result, check_len};
use rayon::prelude::*;

use draw::{Draw, generator};
use nuisance::Nuisance;

/// Two frames and the true flow between them.
#[derive(Clone, Debug, PartialEq)]
pub struct FlowPair {
    /// Rows, H.
    pub height: usize,
    /// Columns, W.
    pub width: usize,
    /// First frame `[3,H,W]`, RGB in `[0, 1]`.
    pub first: Vec<f32>,
    /// Second frame `[3,H,W]`.
    pub second: Vec<f32>,
    /// Flow from the first frame to the second `[2,H,W]`, pixels: x (to the right), then y (down).
    /// It is how far a point has moved, on a torus too, where what leaves on the right comes in on the left.
    pub flow: Vec<f32>,
    /// Pixels `[H,W]` of the first frame that the second shows too: neither hidden nor outside.
    pub visible: Vec<bool>,
    /// What kind of scene it is.
    pub kind: Kind,
}

/// Kinds of scenes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// Nothing moves, though noise, flicker, brightness and the texture itself may change.
    Still,
    /// One texture, shifted.
    Translation,
    /// One texture, shifted, turned, zoomed and sheared.
    Affine,
    /// One texture, moving differently from place to place.
    Smooth,
    /// Pieces over a background, each moving in its own way.
    Layers,
    /// As frames of a cellular automaton: a periodic texture on a torus.
    Torus,
    /// Many stiff pieces before a moving camera; at 512×384 by 2 to 5 px on average.
    Chairs,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Still,
        Self::Translation,
        Self::Affine,
        Self::Smooth,
        Self::Layers,
        Self::Torus,
        Self::Chairs,
    ];

    /// Its name in tables.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Still => "still",
            Self::Translation => "translation",
            Self::Affine => "affine",
            Self::Smooth => "smooth",
            Self::Layers => "layers",
            Self::Torus => "torus",
            Self::Chairs => "chairs",
        }
    }
}

/// A picture to take textures from, continued periodically.
#[derive(Clone, Debug, PartialEq)]
pub struct Raster {
    /// Rows, H.
    pub height: usize,
    /// Columns, W.
    pub width: usize,
    /// `[3,H,W]` in `[0, 1]`.
    pub rgb: Vec<f32>,
}

/// What pairs are made of.
#[derive(Clone, Debug, PartialEq)]
pub struct SynthSettings {
    /// Rows of a frame, at least 16.
    pub height: usize,
    /// Columns of a frame, at least 16.
    pub width: usize,
    /// How often each kind occurs, relative to the others.
    pub mix: Vec<(Kind, f64)>,
    /// Share of motions (of a layer, or a part of its motion) that are exactly zero, 0 to 1.
    pub still: f64,
    /// Smallest length of the other motions in pixels; lengths are logarithmically uniform.
    pub slowest: f64,
    /// Greatest length as a part of the width, up to 0.25.
    pub fastest: f64,
    /// How often frames differ by more than motion (noise, flicker, brightness, blur, cross-fades):
    /// 0 is never, 1 is often.
    pub nuisance: f64,
    /// How often scenes are like photographs, 0 (as if there were no such setting) to 1 (always): textures that fade out
    /// in places, where there is next to nothing to follow, and values rounded to the 256 levels of a file.
    pub photographic: f64,
    /// How often a texture is enlarged, by a factor of 1 to 6, so that its finest features are larger: 0 (as if there were no
    /// such setting) to 1 (always).
    pub enlarged: f64,
    /// Pictures that serve as textures beside the procedural ones.
    pub rasters: Vec<Raster>,
}

impl Default for SynthSettings {
    fn default() -> Self {
        Self {
            height: 128,
            width: 128,
            mix: vec![
                (Kind::Still, 1.0),
                (Kind::Translation, 1.5),
                (Kind::Affine, 1.5),
                (Kind::Smooth, 1.5),
                (Kind::Layers, 2.5),
                (Kind::Torus, 2.0),
                (Kind::Chairs, 2.0),
            ],
            still: 0.15,
            slowest: 0.02,
            fastest: 0.1,
            nuisance: 1.0,
            photographic: 0.0,
            enlarged: 0.0,
            rasters: Vec::new(),
        }
    }
}

impl SynthSettings {
    /// Smallest side of a frame.
    pub const MIN_SIDE: usize = 16;
    /// Largest side of a frame.
    pub const MAX_SIDE: usize = 4096;

    /// Refuses what no scene can be made of.
    pub fn validate(&self) -> Result<()> {
        for (what, side) in [("height", self.height), ("width", self.width)] {
            if !(Self::MIN_SIDE..=Self::MAX_SIDE).contains(&side) {
                let expected = format!("{} to {}", Self::MIN_SIDE, Self::MAX_SIDE);
                return Err(Error::invalid(format!("{what} of synthetic frames"), side, expected));
            }
        }
        if self.mix.iter().any(|(_, share)| !(*share >= 0.0 && share.is_finite()))
            || self.mix.iter().map(|(_, share)| share).sum::<f64>() <= 0.0
        {
            let found = format!("{:?}", self.mix);
            return Err(Error::invalid(
                "mix of synthetic scenes",
                found,
                "shares of 0 or more, one above 0",
            ));
        }
        for (what, value, low, high) in [
            ("share of still motions", self.still, 0.0, 1.0),
            ("slowest motion", self.slowest, 1e-6, self.fastest * self.width as f64),
            ("fastest motion", self.fastest, 1e-6, 0.25),
            ("nuisance", self.nuisance, 0.0, 1.0),
            ("photographic scenes", self.photographic, 0.0, 1.0),
            ("enlarged textures", self.enlarged, 0.0, 1.0),
        ] {
            if !(low..=high).contains(&value) {
                return Err(Error::invalid(what, value, format!("{low} to {high}")));
            }
        }
        for raster in &self.rasters {
            if raster.height < 4 || raster.width < 4 {
                let found = format!("{}×{}", raster.width, raster.height);
                return Err(Error::invalid("size of a raster", found, "at least 4×4"));
            }
            check_len(
                "synthetic flow",
                "raster",
                raster.rgb.len(),
                3 * raster.height * raster.width,
            )?;
            if let Some(v) = raster.rgb.iter().find(|v| !(0.0..=1.0).contains(*v)) {
                return Err(Error::invalid("value of a raster", v, "0 to 1"));
            }
        }
        Ok(())
    }
}

/// A source of pairs.
#[derive(Clone, Debug)]
pub struct Synth {
    settings: SynthSettings,
    /// Each raster with its halves, quarters, …
    rasters: Vec<Vec<Arc<Raster>>>,
}

impl Synth {
    /// A source of pairs as `settings` ask for.
    ///
    /// # Errors
    /// When a setting is out of its range ([`SynthSettings::validate`]).
    pub fn new(mut settings: SynthSettings) -> Result<Self> {
        settings.validate()?;
        let rasters = std::mem::take(&mut settings.rasters).into_iter().map(levels).collect();
        Ok(Self { settings, rasters })
    }

    /// Rows and columns of the frames.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        (self.settings.height, self.settings.width)
    }

    /// Pair `index` of those under `seed`.
    #[must_use]
    pub fn pair(&self, seed: u64, index: u64) -> FlowPair {
        let (height, width) = self.size();
        let seed = derive_seed(seed, index);
        let mut rng = generator(seed);
        let kind = self.kind(&mut rng);
        let draw = Draw {
            settings: &self.settings,
            rasters: &self.rasters,
        };
        let nuisance = if self.settings.nuisance > 0.0 {
            Nuisance::draw(&mut rng, self.settings.nuisance)
        } else {
            Nuisance::NONE
        };
        let scene = draw.scene(&mut rng, kind, seed);
        let rounded = self.settings.photographic > 0.0 && rng.uniform() < self.settings.photographic;

        let rows: Vec<Vec<Pixel>> = (0..height)
            .into_par_iter()
            .map(|y| {
                let mut near = vec![None; scene.layers.len()];
                (0..width)
                    .map(|x| {
                        let p = [x as f64, y as f64];
                        let (flow, visible) = scene.truth(p, width, height);
                        Pixel {
                            first: scene.first(p),
                            second: scene.second(p, &mut near),
                            flow: flow.map(|v| v as f32),
                            visible,
                        }
                    })
                    .collect()
            })
            .collect();
        let plane = |value: &dyn Fn(&Pixel) -> f32| -> Vec<f32> { rows.iter().flatten().map(value).collect() };
        let mut first = [0, 1, 2].map(|c| plane(&|p| p.first[c])).concat();
        let mut second = [0, 1, 2].map(|c| plane(&|p| p.second[c])).concat();
        nuisance.apply(&mut first, height, width, 0, seed);
        nuisance.apply(&mut second, height, width, 1, seed);
        if rounded {
            for v in first.iter_mut().chain(&mut second) {
                *v = (*v * 255.0).round() / 255.0;
            }
        }
        FlowPair {
            height,
            width,
            first,
            second,
            flow: [0, 1].map(|c| plane(&|p| p.flow[c])).concat(),
            visible: rows.iter().flatten().map(|p| p.visible).collect(),
            kind,
        }
    }

    /// A kind, as often as the mix says.
    fn kind(&self, rng: &mut PhiloxRng) -> Kind {
        let mix = &self.settings.mix;
        let mut left = rng.uniform() * mix.iter().map(|(_, share)| share).sum::<f64>();
        let mut chosen = Kind::Still;
        for &(kind, share) in mix.iter().filter(|(_, share)| *share > 0.0) {
            chosen = kind;
            left -= share;
            if left < 0.0 {
                break;
            }
        }
        chosen
    }
}

/// All that is known of a pixel.
struct Pixel {
    first: [f32; 3],
    second: [f32; 3],
    flow: [f32; 2],
    visible: bool,
}

/// A raster with its halves, quarters, … down to a side of 16 px or an odd one.
fn levels(raster: Raster) -> Vec<Arc<Raster>> {
    const SMALLEST: usize = 16;
    let mut levels = vec![Arc::new(raster)];
    loop {
        let last = &levels[levels.len() - 1];
        let (h, w) = (last.height, last.width);
        if h % 2 != 0 || w % 2 != 0 || h.min(w) < 2 * SMALLEST {
            return levels;
        }
        let (height, width) = (h / 2, w / 2);
        let mut rgb = Vec::with_capacity(3 * height * width);
        for channel in last.rgb.chunks_exact(h * w) {
            for y in 0..height {
                for x in 0..width {
                    let at = |dy: usize, dx: usize| channel[(2 * y + dy) * w + 2 * x + dx];
                    rgb.push((at(0, 0) + at(0, 1) + at(1, 0) + at(1, 1)) / 4.0);
                }
            }
        }
        levels.push(Arc::new(Raster { height, width, rgb }));
    }
}
