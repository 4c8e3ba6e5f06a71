//! How like its exemplar a synthesised texture is, on a scale with a meaning: 1 is as alike as two
//! parts of the exemplar are to each other.
//!
//! With `q_1 … q_4` the quadrants of a picture and D a sliced Wasserstein distance of patches over
//! an image pyramid, as in [`PatchLoss`](crate::loss::PatchLoss),
//!
//! `texture_distance = mean_{i≠j} D(q_i(frame), q_j(exemplar)) / mean_{i≠j} D(q_i(exemplar), q_j(exemplar))`
//!
//! Numerator and denominator compare crops of the same size over the same twelve pairs, so that both
//! have the same sampling error, and quadrants do not overlap, so that the denominator compares
//! nothing with itself. An exact copy of the exemplar has distance 1, and so in the mean has any
//! texture of the same process; the exemplar's own variation, where it is large, makes the scale
//! lenient, as it should.
//!
//! D projects on directions that no training sees, in two ways. They are drawn once, from a seed of
//! their own. And they are uniform not in patch space but in that space whitened by the exemplar:
//! patches of a picture vary hundreds of times more in brightness than in any detail, so that a
//! uniform direction sees mostly brightness, and by it the exemplar with its pixels shuffled is as
//! good as the exemplar. Whitened (with damping, for the sake of invisible detail), each kind of
//! variation counts alike, and shuffled pixels, blur, noise and flat colour all lie far from 1.

mod whitening;

use nca_core::backend::Backend;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Real, Result, check_len};

use self::whitening::{Planes, Whitening};
use crate::loss::PatchSettings;
use crate::loss::pyramid::{PatchPyramid, Views};
use crate::texture::Texture;

/// Projections a level; more than training draws, since these are drawn once.
const PROJECTIONS: usize = 256;
/// Seed of the held-out directions. Training derives its draws by hashing; none is this one but by a
/// chance of 2⁻⁶⁴ each.
const HELD_OUT: u64 = 0x7E57_D157_A9CE_0001;
/// Standard deviation that rounding to 8-bit levels leaves in a pixel, 1/(255·√12).
const ROUNDING: f64 = 1.132e-3;

/// Measures textures against one exemplar.
#[derive(Debug)]
pub struct TextureDistance<B: Backend> {
    height: usize,
    width: usize,
    pyramid: PatchPyramid<B>,
    /// Sorted projections of the exemplar's quadrants, a buffer a level.
    quadrants: Vec<Vec<B::Buffer>>,
    /// Mean distance between different quadrants of the exemplar; at least what rounding makes of it.
    unit: f64,
    crop: B::Buffer,
    views: Views<B>,
    out: B::Buffer,
}

impl<B: Backend> TextureDistance<B> {
    /// Prepares the exemplar, of at least 2 × 2 pixels.
    pub fn new(backend: &B, exemplar: &Texture) -> Result<Self> {
        let (height, width) = (exemplar.height, exemplar.width);
        let defaults = PatchSettings::default();
        let settings = PatchSettings {
            // Of a very small exemplar's quadrants the largest patch that fits.
            patch: defaults.patch.min(height / 2).min(width / 2),
            projections: PROJECTIONS,
            ..defaults
        };
        let mut pyramid = PatchPyramid::new(backend, settings, height / 2, width / 2)?;
        let rounding = draw_filters(backend, exemplar, settings, &mut pyramid)?;
        let mut distance = Self {
            height,
            width,
            quadrants: Vec::new(),
            unit: 1.0,
            crop: backend.zeros(3 * (height / 2) * (width / 2))?,
            views: pyramid.views(backend, 1)?,
            out: backend.zeros(1)?,
            pyramid,
        };
        for index in 0..4 {
            distance.project(backend, &exemplar.rgb, index)?;
            let levels = (0..distance.pyramid.levels()).map(|level| {
                let sorted = distance.views.sorted(level);
                let mut kept = backend.zeros(backend.len(sorted))?;
                backend.copy(sorted, 0, &mut kept, 0, backend.len(sorted))?;
                Ok(kept)
            });
            let levels = levels.collect::<Result<_>>()?;
            distance.quadrants.push(levels);
        }
        distance.unit = distance.distance_to_exemplar(backend, &exemplar.rgb)?.max(rounding);
        Ok(distance)
    }

    /// The distance of a frame of the exemplar's size, `[3,H,W]`; clipped to `[0, 1]` first, as it
    /// would be shown.
    pub fn of(&mut self, backend: &B, frame: &[f32]) -> Result<f64> {
        check_len("texture distance", "frame", frame.len(), 3 * self.height * self.width)?;
        Ok(self.distance_to_exemplar(backend, frame)? / self.unit)
    }

    /// Mean distance of the frame's quadrants to the exemplar's other quadrants.
    fn distance_to_exemplar(&mut self, backend: &B, frame: &[f32]) -> Result<f64> {
        const PAIRS: f64 = 12.0;
        backend.fill(0.0, &mut self.out)?;
        for index in 0..4 {
            self.project(backend, frame, index)?;
            let others = self.quadrants.iter().enumerate().filter(|(other, _)| *other != index);
            for (_, quadrant) in others {
                for (level, target) in quadrant.iter().enumerate() {
                    let weight = 1.0 / (PAIRS * self.pyramid.projections(level) as f64);
                    backend.l1(weight, self.views.sorted(level), target, &mut self.out, 0)?;
                }
            }
        }
        Ok(backend.to_vec(&self.out)?.first().map_or(0.0, |v| v.to_f64()))
    }

    /// Projects one quadrant of a picture.
    fn project(&mut self, backend: &B, rgb: &[f32], index: usize) -> Result<()> {
        let (h, w) = (self.height / 2, self.width / 2);
        let (top, left) = ((index / 2) * (self.height - h), (index % 2) * (self.width - w));
        let mut crop = Vec::with_capacity(3 * h * w);
        for plane in rgb.chunks_exact(self.height * self.width) {
            for row in plane.chunks_exact(self.width).skip(top).take(h) {
                let row = row[left..left + w].iter();
                crop.extend(row.map(|&v| B::Elem::of(f64::from(v.clamp(0.0, 1.0)))));
            }
        }
        backend.upload(&crop, &mut self.crop)?;
        self.pyramid.project(backend, &self.crop, &mut self.views)
    }
}

/// Sets the held-out filters of every level, and returns the distance that rounding to 8-bit levels
/// makes: it keeps flat and exactly periodic exemplars measurable.
fn draw_filters<B: Backend>(
    backend: &B,
    exemplar: &Texture,
    settings: PatchSettings,
    pyramid: &mut PatchPyramid<B>,
) -> Result<f64> {
    let mut picture = Planes::new(exemplar.height, exemplar.width, &exemplar.rgb);
    let mut rounding = 0.0;
    for level in 0..pyramid.levels() {
        if level > 0 {
            picture = picture.halved();
        }
        let whitening = Whitening::of(&picture, settings.patch, ROUNDING * ROUNDING);
        let mut rng = PhiloxRng::new(HELD_OUT, Stream::Projection, level as u64);
        let mut filters = Vec::new();
        for _ in 0..settings.projections {
            let direction = whitening.direction(&mut rng);
            let norm = direction.iter().map(|w| w * w).sum::<f64>().sqrt();
            rounding += ROUNDING * norm / settings.projections as f64;
            filters.extend(direction.into_iter().map(B::Elem::of));
        }
        pyramid.set_filters(backend, level, &filters)?;
    }
    Ok(rounding)
}

/// Mean [`TextureDistance`] of frames `[F,3,H,W]` to an exemplar of their size.
pub fn texture_distance<B: Backend>(backend: &B, exemplar: &Texture, frames: &[f32]) -> Result<f64> {
    let len = exemplar.rgb.len();
    let count = frames.len() / len.max(1);
    check_len("texture distance", "frames", frames.len(), count.max(1) * len)?;
    let mut distance = TextureDistance::new(backend, exemplar)?;
    let mut total = 0.0;
    for frame in frames.chunks_exact(len) {
        total += distance.of(backend, frame)?;
    }
    Ok(total / count as f64)
}

/// The frames of an automaton whose mean distance to an exemplar is taken, kept while its motion is measured:
/// [`DistanceFrames::COUNT`] of them, evenly spaced from the first one on.
#[derive(Clone, Debug)]
pub struct DistanceFrames {
    stride: usize,
    kept: usize,
    frames: Vec<f32>,
}

impl DistanceFrames {
    /// Frames that are kept, if there are as many.
    pub const COUNT: usize = 4;

    /// For a measurement of `pairs` pairs of frames.
    #[must_use]
    pub fn new(pairs: usize) -> Self {
        Self {
            stride: (pairs / Self::COUNT).max(1),
            kept: 0,
            frames: Vec::new(),
        }
    }

    /// Sees frame `index`, `[3,H,W]`, as [`measure_motion`](crate::motion::measure_motion) shows them.
    pub fn visit(&mut self, index: usize, frame: &[f32]) {
        if index.is_multiple_of(self.stride) && self.kept < Self::COUNT {
            self.kept += 1;
            self.frames.extend(frame);
        }
    }

    /// Their mean distance to an exemplar of their size; an error if none was seen.
    pub fn mean<B: Backend>(&self, backend: &B, exemplar: &Texture) -> Result<f64> {
        texture_distance(backend, exemplar, &self.frames)
    }
}
