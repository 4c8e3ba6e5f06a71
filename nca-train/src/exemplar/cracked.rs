//! Dried mud.

use super::Shader;
use super::torus::{Fractal, Points, mix, rng, scale, smoothstep};

/// Plates along an axis.
const PLATES: usize = 6;

/// Plates of a Voronoi diagram of warped space, dark cracks of varying width between them, each
/// plate in its own shade, lit at its upper-left edge.
pub(super) fn shader(seed: u64) -> Shader {
    const CLAY: [f64; 3] = [0.72, 0.52, 0.33];
    const SAND: [f64; 3] = [0.80, 0.66, 0.48];
    const CRACK: [f64; 3] = [0.16, 0.09, 0.05];

    let points = Points::new(PLATES, 0.85, rng(seed, 0));
    let (warp_x, warp_y) = (Fractal::new(6, 2, seed, 1), Fractal::new(6, 2, seed, 4));
    let stain = Fractal::new(4, 4, seed, 7);
    let width = Fractal::new(3, 2, seed, 11);
    Box::new(move |x, y| {
        let (wx, wy) = (x + 0.06 * warp_x.at(x, y), y + 0.06 * warp_y.at(x, y));
        let owner = points
            .around(wx, wy)
            .min_by(|a, b| a.distance().total_cmp(&b.distance()));
        let Some(owner) = owner else { return CRACK };
        // Distance to the nearest wall, the perpendicular bisector towards a neighbour.
        let mut wall = f64::INFINITY;
        for p in points.around(wx, wy) {
            let apart = [p.offset[0] - owner.offset[0], p.offset[1] - owner.offset[1]];
            let length = apart[0].hypot(apart[1]);
            if length > 1e-9 {
                let middle = [
                    0.5 * (p.offset[0] + owner.offset[0]),
                    0.5 * (p.offset[1] + owner.offset[1]),
                ];
                wall = wall.min((middle[0] * apart[0] + middle[1] * apart[1]) / length);
            }
        }
        let half_width = 0.025 + 0.065 * (0.5 + width.at(x, y)).clamp(0.0, 1.0);
        let plate = mix(CLAY, SAND, (0.5 + 0.9 * stain.at(x, y)).clamp(0.0, 1.0));
        let plate = scale(plate, 0.82 + 0.3 * owner.tone);
        // The rim of a plate curls up: a light line beside the crack.
        let rim = smoothstep(half_width, half_width + 0.06, wall)
            * (1.0 - smoothstep(half_width + 0.06, half_width + 0.22, wall));
        let plate = scale(plate, 1.0 + 0.12 * rim);
        mix(CRACK, plate, smoothstep(half_width - 0.05, half_width + 0.05, wall))
    })
}
