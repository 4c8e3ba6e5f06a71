//! How like its exemplar a synthesised texture is, on a scale with a meaning: 1 is as alike as two
//! parts of the exemplar are to each other.
//!
//! With `q_1 … q_4` the quadrants of a picture and D the distance of [`PatchLoss`](crate::loss) with
//! projections that no training sees,
//!
//! `texture_distance = mean_{i≠j} D(q_i(frame), q_j(exemplar)) / mean_{i≠j} D(q_i(exemplar), q_j(exemplar))`
//!
//! Numerator and denominator compare crops of the same size over the same twelve pairs, so that both
//! have the same sampling error, and quadrants do not overlap, so that the denominator compares
//! nothing with itself. An exact copy of the exemplar has distance 1, and so in the mean has any
//! texture of the same process; the exemplar's own variation, where it is large, makes the scale
//! lenient, as it should.

use nca_core::backend::Backend;
use nca_core::{Real, Result, check_len};

use crate::loss::PatchSettings;
use crate::loss::pyramid::{PatchPyramid, Views};
use crate::texture::Texture;

/// Projections a level; more than training draws, since these are drawn once.
const PROJECTIONS: usize = 256;
/// The draw of the held-out projections. Training derives its draws by hashing; none is this one
/// but by a chance of 2⁻⁶⁴ each.
const HELD_OUT: u64 = 0x7E57_D157_A9CE_0001;
/// Least distance of two crops that counts as a difference: the standard deviation that rounding to
/// 8-bit levels leaves in a unit-norm projection, 1/(255·√12). It keeps flat and exactly periodic
/// exemplars measurable.
const RESOLUTION: f64 = 1.132e-3;

/// Measures textures against one exemplar.
pub struct TextureDistance<B: Backend> {
    height: usize,
    width: usize,
    pyramid: PatchPyramid<B>,
    /// Sorted projections of the exemplar's quadrants, a buffer a level.
    quadrants: Vec<Vec<B::Buffer>>,
    /// Mean distance between different quadrants of the exemplar.
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
        pyramid.draw(backend, HELD_OUT)?;
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
        distance.unit = distance.distance_to_exemplar(backend, &exemplar.rgb)?.max(RESOLUTION);
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
