//! A hand-painted chequerboard.

use super::Shader;
use super::torus::{Fractal, mix, rng, scale, smoothstep};

/// Squares along an axis; even, so that the board closes.
const SQUARES: usize = 8;

/// Red and cream squares whose edges wander, each in its own shade, with a little grain.
pub(super) fn shader(seed: u64) -> Shader {
    const RED: [f64; 3] = [0.66, 0.13, 0.11];
    const CREAM: [f64; 3] = [0.93, 0.86, 0.70];

    let (bend_x, bend_y) = (Fractal::new(4, 2, seed, 1), Fractal::new(4, 2, seed, 3));
    let grain = Fractal::new(8, 3, seed, 5);
    let mut rng = rng(seed, 0);
    let shades: Vec<f64> = (0..SQUARES * SQUARES).map(|_| rng.uniform_in(-1.0, 1.0)).collect();
    Box::new(move |x, y| {
        let n = SQUARES as f64;
        let u = (x * n + 0.35 * bend_x.at(x, y)).rem_euclid(n);
        let v = (y * n + 0.35 * bend_y.at(x, y)).rem_euclid(n);
        let (column, row) = (u as usize % SQUARES, v as usize % SQUARES);
        let shade = shades[row * SQUARES + column];
        let square = if (column + row).is_multiple_of(2) {
            scale(RED, 1.0 + 0.35 * shade)
        } else {
            scale(CREAM, 1.0 + 0.10 * shade)
        };
        // The paint thins towards the edges of a square.
        let edge = (u.fract() - 0.5).abs().max((v.fract() - 0.5).abs());
        let square = mix(square, [0.45, 0.30, 0.24], 0.6 * smoothstep(0.40, 0.5, edge));
        scale(square, 1.0 + 0.22 * grain.at(x, y))
    })
}
