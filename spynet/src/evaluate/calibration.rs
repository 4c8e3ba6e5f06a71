//! Is Ψ the length of the motion, and what is it where nothing moves?

use std::f64::consts::TAU;

use nca_core::Result;
use nca_core::philox::{PhiloxRng, Stream};
use serde::Serialize;

use super::accuracy::{Accuracy, AccuracyRow, Set};
use super::exhibit::Exhibit;
use crate::estimator::FlowEstimator;
use crate::field::FlowField;

/// Distances of a calibration, in pixels.
pub const DISTANCES: [f64; 8] = [0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0];
/// Directions of a calibration, evenly spread.
pub const DIRECTIONS: usize = 8;

/// Part of the shortest period up to which a motion can be told from others.
const UNAMBIGUOUS: f64 = 0.4;

/// What an estimator makes of one distance.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CalibrationRow {
    /// Name of the estimator.
    pub flow: String,
    /// True length of the motion, pixels.
    pub distance: f64,
    /// Textures and directions.
    pub cases: usize,
    /// Mean Ψ, pixels.
    pub psi: f64,
    /// Smallest Ψ.
    pub psi_min: f64,
    /// Largest Ψ.
    pub psi_max: f64,
    /// Share of cases with Ψ within 10 % ± 0.05 px of the truth.
    pub within: f64,
    /// Mean endpoint error, pixels.
    pub epe: f64,
    /// The texture and direction that is furthest off.
    pub worst: String,
}

impl CalibrationRow {
    /// How far Ψ may be off: a tenth, and 0.05 px.
    #[must_use]
    pub fn allowance(distance: f64) -> f64 {
        0.1 * distance + 0.05
    }
}

/// Ψ of textures moved by [`DISTANCES`] in [`DIRECTIONS`] directions, in frames of `size`×`size`
/// pixels. A texture too fine for a distance (above 0.4 of its shortest period) is enlarged until the
/// motion is defined. `seen` is called after each texture and distance.
///
/// # Errors
/// When an estimator fails or what it finds is no flow ([`FlowEstimator::estimate`]).
pub fn calibrate(
    estimators: &[&dyn FlowEstimator],
    exhibits: &[Exhibit],
    size: usize,
    mut seen: impl FnMut(),
) -> Result<Vec<CalibrationRow>> {
    /// Ψ, endpoint error, name.
    type Case = (f64, f64, String);
    let mut rows = Vec::new();
    for distance in DISTANCES {
        let mut cases: Vec<Vec<Case>> = vec![Vec::new(); estimators.len()];
        let directions = if distance > 0.0 { DIRECTIONS } else { 1 };
        for exhibit in exhibits {
            let scale = (distance / (UNAMBIGUOUS * exhibit.period)).max(1.0);
            let first = exhibit.frame(size, size, scale, |x, y| (x, y));
            for direction in 0..directions {
                let (sin, cos) = (TAU * direction as f64 / directions as f64).sin_cos();
                let (dx, dy) = (distance * cos, distance * sin);
                let second = exhibit.frame(size, size, scale, |x, y| (x - dx, y - dy));
                for (estimator, cases) in estimators.iter().zip(&mut cases) {
                    let field = estimator.estimate(size, size, &first, &second)?;
                    let pixels = (size * size) as f64;
                    let error = field
                        .vectors()
                        .map(|(u, v)| (f64::from(u) - dx).hypot(f64::from(v) - dy));
                    let name = format!("{} by ({dx:.2}, {dy:.2})", exhibit.name);
                    cases.push((psi(&field), error.sum::<f64>() / pixels, name));
                }
            }
            seen();
        }
        for (estimator, cases) in estimators.iter().zip(cases) {
            let Some(worst) = cases
                .iter()
                .max_by(|a, b| (a.0 - distance).abs().total_cmp(&(b.0 - distance).abs()))
            else {
                continue;
            };
            let count = cases.len() as f64;
            let within = |case: &&Case| (case.0 - distance).abs() <= CalibrationRow::allowance(distance);
            rows.push(CalibrationRow {
                flow: estimator.name().to_owned(),
                distance,
                cases: cases.len(),
                psi: cases.iter().map(|c| c.0).sum::<f64>() / count,
                psi_min: cases.iter().map(|c| c.0).fold(f64::INFINITY, f64::min),
                psi_max: cases.iter().map(|c| c.0).fold(0.0, f64::max),
                within: cases.iter().filter(within).count() as f64 / count,
                epe: cases.iter().map(|c| c.1).sum::<f64>() / count,
                worst: worst.2.clone(),
            });
        }
    }
    Ok(rows)
}

/// Ψ where nothing moves.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FloorRow {
    /// What differs between the frames.
    pub disturbance: String,
    /// Name of the estimator.
    pub flow: String,
    /// Mean Ψ over the textures, pixels.
    pub psi: f64,
    /// Largest Ψ.
    pub psi_max: f64,
}

/// How two frames of a still texture differ.
#[derive(Clone, Copy)]
enum Disturbance {
    None,
    /// Independent noise of this standard deviation in each frame.
    Noise(f64),
    /// The same in half of the pixels, as of an automaton whose cells update at random.
    HalfNoise(f64),
    /// The second frame brighter by this.
    Brighter(f32),
    /// The second frame's contrast times this.
    Contrast(f32),
}

impl Disturbance {
    const ALL: [Self; 8] = [
        Self::None,
        Self::Noise(0.01),
        Self::Noise(0.03),
        Self::Noise(0.1),
        Self::HalfNoise(0.03),
        Self::HalfNoise(0.1),
        Self::Brighter(0.05),
        Self::Contrast(0.9),
    ];

    fn name(self) -> String {
        match self {
            Self::None => "identical frames".to_owned(),
            Self::Noise(sigma) => format!("flicker of {sigma}"),
            Self::HalfNoise(sigma) => format!("flicker of {sigma} in half of the pixels"),
            Self::Brighter(by) => format!("brighter by {by}"),
            Self::Contrast(times) => format!("contrast times {times}"),
        }
    }

    /// Changes frame `which` (0 or 1) of the texture `index`.
    fn apply(self, frame: &mut [f32], which: u64, index: u64) {
        let mut rng = PhiloxRng::new(super::HELD_OUT_SEED, Stream::Flicker, 2 * index + which);
        let plane = frame.len() / 3;
        match self {
            Self::None => {}
            Self::Noise(sigma) | Self::HalfNoise(sigma) => {
                let half = matches!(self, Self::HalfNoise(_));
                for p in 0..plane {
                    let noise = [0; 3].map(|_| sigma * rng.normal());
                    if half && rng.below(2) == 0 {
                        continue;
                    }
                    for (c, noise) in noise.into_iter().enumerate() {
                        frame[c * plane + p] += noise as f32;
                    }
                }
            }
            Self::Brighter(by) if which == 1 => frame.iter_mut().for_each(|v| *v += by),
            Self::Contrast(times) if which == 1 => frame.iter_mut().for_each(|v| *v = 0.5 + (*v - 0.5) * times),
            Self::Brighter(_) | Self::Contrast(_) => {}
        }
        for v in frame {
            *v = v.clamp(0.0, 1.0);
        }
    }
}

/// Ψ of still textures, in frames of `size`×`size` pixels, that are identical, flicker, or change their
/// brightness. `seen` is called after each disturbance.
///
/// # Errors
/// When an estimator fails or what it finds is no flow ([`FlowEstimator::estimate`]).
pub fn floors(
    estimators: &[&dyn FlowEstimator],
    exhibits: &[Exhibit],
    size: usize,
    mut seen: impl FnMut(),
) -> Result<Vec<FloorRow>> {
    let frames: Vec<Vec<f32>> = exhibits
        .iter()
        .map(|e| e.frame(size, size, 1.0, |x, y| (x, y)))
        .collect();
    let mut rows = Vec::new();
    for disturbance in Disturbance::ALL {
        let mut sums = vec![(0.0, 0.0_f64); estimators.len()];
        for (index, frame) in (0..).zip(&frames) {
            let [first, second] = [0, 1].map(|which| {
                let mut frame = frame.clone();
                disturbance.apply(&mut frame, which, index);
                frame
            });
            for (estimator, (sum, max)) in estimators.iter().zip(&mut sums) {
                let psi = psi(&estimator.estimate(size, size, &first, &second)?);
                *sum += psi;
                *max = max.max(psi);
            }
        }
        for (estimator, (sum, psi_max)) in estimators.iter().zip(sums) {
            rows.push(FloorRow {
                disturbance: disturbance.name(),
                flow: estimator.name().to_owned(),
                psi: sum / frames.len().max(1) as f64,
                psi_max,
            });
        }
        seen();
    }
    Ok(rows)
}

/// Endpoint errors on motions that differ from place to place: 2° of rotation and 3 % of zoom about the
/// centre, and a shear wave of half a pixel and 32 px length.
///
/// # Errors
/// When an estimator fails or what it finds is no flow ([`FlowEstimator::estimate`]).
pub fn fields(estimators: &[&dyn FlowEstimator], exhibits: &[Exhibit], size: usize) -> Result<Vec<AccuracyRow>> {
    type Map = fn(f64, f64) -> (f64, f64);
    // Forward from the centre, and back: the inverse of each is exact.
    const ROTATION: (Map, Map) = (|x, y| rotate(x, y, 2.0), |x, y| rotate(x, y, -2.0));
    const ZOOM: (Map, Map) = (|x, y| (1.03 * x, 1.03 * y), |x, y| (x / 1.03, y / 1.03));
    const SHEAR: (Map, Map) = (
        |x, y| (x + 0.5 * (TAU * y / 32.0).sin(), y),
        |x, y| (x - 0.5 * (TAU * y / 32.0).sin(), y),
    );
    let centre = (size as f64 - 1.0) / 2.0;
    let mut accuracy = Accuracy::new(estimators.to_vec());
    for (name, (forward, back)) in [
        ("rotation by 2°", ROTATION),
        ("zoom by 3 %", ZOOM),
        ("shear wave of 0.5 px", SHEAR),
    ] {
        let vectors: Vec<_> = (0..size * size)
            .map(|p| {
                let (x, y) = ((p % size) as f64 - centre, (p / size) as f64 - centre);
                let (to_x, to_y) = forward(x, y);
                ((to_x - x) as f32, (to_y - y) as f32)
            })
            .collect();
        let data = vectors.iter().map(|v| v.0).chain(vectors.iter().map(|v| v.1)).collect();
        let truth = FlowField::new(size, size, data)?;
        for exhibit in exhibits {
            let first = exhibit.frame(size, size, 1.0, |x, y| (x, y));
            let second = exhibit.frame(size, size, 1.0, |x, y| {
                let (x, y) = back(x - centre, y - centre);
                (centre + x, centre + y)
            });
            accuracy.add(&[Set::Named(name.to_owned())], &first, &second, &truth)?;
        }
    }
    Ok(accuracy.rows())
}

fn rotate(x: f64, y: f64, degrees: f64) -> (f64, f64) {
    let (sin, cos) = degrees.to_radians().sin_cos();
    (cos * x - sin * y, sin * x + cos * y)
}

/// Mean length of an estimate, pixels, which is known everywhere.
fn psi(estimate: &FlowField) -> f64 {
    let lengths = estimate.vectors().map(|(u, v)| f64::from(u).hypot(f64::from(v)));
    lengths.sum::<f64>() / estimate.u().len() as f64
}
