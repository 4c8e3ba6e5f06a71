//! Untrained weights that know where to look.
//!
//! From plain random filters a level learns nothing for a long while: what tells motion, the change
//! between the frames times the slope of the picture, is a small part of what such filters see, and to
//! answer "no motion" is the easy way to a smaller loss. So a level starts with filters that see the
//! change and the picture apart, and with an answer of exactly zero, so that nothing is gained by
//! silencing them.

use std::f64::consts::TAU;
use std::ops::Range;

use nca_core::Result;
use nca_core::philox::{PhiloxRng, Stream};

use crate::weights::{LayerWeights, SpyNetWeights};

/// Channels of the flow so far in a level's input.
const FLOW_CHANNELS: Range<usize> = 6..8;
/// Norm of a filter of a layer with ReLU that keeps the size of activations, √2 (He et al. 2015).
const NORM: f64 = std::f64::consts::SQRT_2;
/// The same for filters of the change between frames, which is smaller than the frames.
const CHANGE_NORM: f64 = 2.0 * NORM;

/// Weights for `levels` levels of the given channels, a pure function of `seed`.
///
/// * First layer: Gabor patches of random size, direction and phase in a random near-grey colour; every
///   even filter takes the first frame's from the second frame's, every odd one adds them. What the
///   layer makes of the flow so far starts at zero: the coarsest level never sees one but zero, and its
///   filters for it, untrained, would be noise to the level above that starts as its copy.
/// * Between: uniform with the variance of He et al. 2015.
/// * Last layer and all biases: zero.
pub(super) fn initial_weights(levels: usize, channels: &[usize], kernel: usize, seed: u64) -> Result<SpyNetWeights> {
    // From ±1/√n to ±√(6/n).
    let he = 6.0_f32.sqrt();
    let mut weights = SpyNetWeights::init(levels, channels, kernel, seed)?;
    for (l, level) in weights.levels_mut().iter_mut().enumerate() {
        let last = level.len() - 1;
        for (i, layer) in level.iter_mut().enumerate() {
            layer.bias.fill(0.0);
            layer.weight.iter_mut().for_each(|w| *w *= he);
            if i == 0 {
                // `init` has used the first sequences.
                let mut rng = PhiloxRng::new(seed, Stream::Init, 1 << 32 | l as u64);
                look(&mut rng, layer);
            }
            if i == last {
                layer.weight.fill(0.0);
            }
        }
    }
    Ok(weights)
}

/// Fills the first layer.
fn look(rng: &mut PhiloxRng, layer: &mut LayerWeights) {
    let (kernel, taps) = (layer.kernel, layer.kernel * layer.kernel);
    let centre = (kernel / 2) as f64;
    for (output, filter) in layer.weight.chunks_exact_mut(layer.inputs * taps).enumerate() {
        // Pixels; radians a pixel.
        let (size, frequency) = (rng.uniform_in(0.8, 2.0), rng.uniform_in(0.2, 1.4));
        let (angle, phase) = (rng.uniform_in(0.0, TAU), rng.uniform_in(0.0, TAU));
        let colour: [f64; 3] = std::array::from_fn(|_| 1.0 / 3.0_f64.sqrt() + 0.3 * rng.normal());
        let (sin, cos) = angle.sin_cos();
        let mut patch: Vec<f64> = (0..3 * taps)
            .map(|i| {
                let (y, x) = ((i % taps / kernel) as f64 - centre, (i % kernel) as f64 - centre);
                let window = (-(x * x + y * y) / (2.0 * size * size)).exp();
                colour[i / taps] * (frequency * (cos * x + sin * y) + phase).cos() * window
            })
            .collect();
        let (sign, norm) = if output % 2 == 0 {
            (-1.0, CHANGE_NORM)
        } else {
            (1.0, NORM)
        };
        let length = (2.0 * patch.iter().map(|v| v * v).sum::<f64>()).sqrt();
        // A patch may all but vanish by its phase.
        let scale = norm / length.max(1e-3);
        patch.iter_mut().for_each(|v| *v *= scale);
        for (i, &v) in patch.iter().enumerate() {
            filter[i] = (sign * v) as f32;
            filter[3 * taps + i] = v as f32;
        }
        filter[FLOW_CHANNELS.start * taps..FLOW_CHANNELS.end * taps].fill(0.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_see_change_and_picture_apart() {
        let weights = initial_weights(2, &[8, 6, 4, 2], 5, 3).unwrap();
        for level in weights.levels() {
            for (o, filter) in level[0].weight.chunks_exact(8 * 25).enumerate() {
                let (first, second) = (&filter[..75], &filter[75..150]);
                let sign = if o % 2 == 0 { -1.0 } else { 1.0 };
                assert!(first.iter().zip(second).all(|(a, b)| *a == sign * b));
                assert!(filter[150..].iter().all(|&w| w == 0.0));
                assert!(first.iter().any(|&w| w != 0.0));
            }
            assert!(level[2].weight.iter().all(|&w| w == 0.0));
        }
        assert_ne!(weights.levels()[0], weights.levels()[1]);
        assert_eq!(weights, initial_weights(2, &[8, 6, 4, 2], 5, 3).unwrap());
    }
}
