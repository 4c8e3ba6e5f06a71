//! Over-and-under basket weave.

use super::Shader;
use super::torus::{Fractal, mix, rng, scale, smoothstep};

/// Strands along an axis; even, so that over and under close.
const STRANDS: usize = 6;

/// Straw strands in two directions, each passing over and under in turn: round across, dipping
/// where they go under, with dark gaps at the corners and a tint of their own.
pub(super) fn shader(seed: u64) -> Shader {
    const ACROSS: [f64; 3] = [0.86, 0.66, 0.36];
    const DOWN: [f64; 3] = [0.62, 0.36, 0.17];
    const GAP: [f64; 3] = [0.10, 0.06, 0.04];
    /// Half the width of a strand, in cells.
    const HALF_WIDTH: f64 = 0.42;

    let (bend_x, bend_y) = (Fractal::new(3, 2, seed, 1), Fractal::new(3, 2, seed, 3));
    let fibre = Fractal::new(6, 3, seed, 5);
    let mut rng = rng(seed, 0);
    let tints: Vec<[f64; 2]> = (0..STRANDS)
        .map(|_| [rng.uniform_in(0.80, 1.14), rng.uniform_in(0.80, 1.14)])
        .collect();
    Box::new(move |x, y| {
        let n = STRANDS as f64;
        let u = (x * n + 0.30 * bend_x.at(x, y)).rem_euclid(n);
        let v = (y * n + 0.30 * bend_y.at(x, y)).rem_euclid(n);
        let (column, row) = (u as usize % STRANDS, v as usize % STRANDS);
        let (along, over) = (u.fract() - 0.5, v.fract() - 0.5);
        // `across` and `length` are the place within a strand, from its middle.
        let strand = |colour: [f64; 3], tint: f64, across: f64, length: f64, above: bool| {
            let round = (1.0 - (across / HALF_WIDTH).powi(2)).max(0.0).sqrt();
            let height = if above { 1.0 } else { -1.0 } * (1.0 - 3.2 * length * length);
            let light = (0.35 + 0.65 * round) * (0.85 + 0.25 * height);
            let inside = 1.0 - smoothstep(HALF_WIDTH - 0.06, HALF_WIDTH, across.abs());
            (scale(colour, tint * light), inside)
        };
        let horizontal_above = (column + row).is_multiple_of(2);
        let horizontal = strand(ACROSS, tints[row][0], over, along, horizontal_above);
        let vertical = strand(DOWN, tints[column][1], along, over, !horizontal_above);
        let (upper, lower) = if horizontal_above {
            (horizontal, vertical)
        } else {
            (vertical, horizontal)
        };
        let colour = mix(mix(GAP, lower.0, 0.8 * lower.1), upper.0, upper.1);
        // Fibres run along the strand that is seen.
        let grain = if horizontal_above {
            fibre.at(x, 3.0 * y)
        } else {
            fibre.at(3.0 * x, y)
        };
        scale(colour, 1.0 + 0.30 * grain)
    })
}
