//! Bubbles in deep water.

use super::Shader;
use super::torus::{Fractal, displacement, mix, rng, scale, smoothstep};

/// A bubble on the unit torus.
struct Bubble {
    centre: [f64; 2],
    radius: f64,
    brightness: f64,
}

/// Glassy bubbles of several sizes, apart from each other: a bright rim, brightest at the lower
/// right, a dark middle and a glint at the upper left.
pub(super) fn shader(seed: u64) -> Shader {
    const DEEP: [f64; 3] = [0.01, 0.15, 0.19];
    const SHALLOW: [f64; 3] = [0.05, 0.33, 0.38];
    const RIM: [f64; 3] = [0.42, 0.85, 0.88];
    const GLINT: [f64; 3] = [0.93, 1.0, 1.0];

    let bubbles = scatter(seed);
    let water = Fractal::new(4, 2, seed, 1);
    Box::new(move |x, y| {
        let background = mix(DEEP, SHALLOW, (0.45 + 0.5 * water.at(x, y)).clamp(0.0, 1.0));
        let inside = bubbles.iter().find_map(|bubble| {
            let [dx, dy] = displacement(bubble.centre, [x, y]);
            let place = [dx / bubble.radius, dy / bubble.radius];
            (place[0].hypot(place[1]) < 1.0).then_some((bubble, place))
        });
        let Some((bubble, [u, v])) = inside else {
            return background;
        };
        let r = u.hypot(v);
        // 1 at the lower right of the rim, 0 at the upper left.
        let lit = 0.5 + 0.5 * (u + v) / (2.0_f64.sqrt() * r.max(1e-9));
        let rim = smoothstep(0.45, 0.88, r) * (0.30 + 0.70 * lit);
        let colour = mix(scale(background, 0.75), RIM, rim * bubble.brightness);
        let glint = (u + 0.34).hypot(v + 0.38);
        let colour = mix(colour, GLINT, 1.0 - smoothstep(0.12, 0.30, glint));
        // The outermost film reflects the water again.
        mix(colour, background, smoothstep(0.93, 1.0, r))
    })
}

/// Bubbles that do not touch, by throwing darts: the large ones first, while there is room.
fn scatter(seed: u64) -> Vec<Bubble> {
    const DARTS: usize = 600;
    const GAP: f64 = 0.022;

    let mut rng = rng(seed, 0);
    let mut bubbles: Vec<Bubble> = Vec::new();
    for dart in 0..DARTS {
        let shrink = 1.0 - dart as f64 / DARTS as f64;
        let candidate = Bubble {
            centre: [rng.uniform(), rng.uniform()],
            radius: 0.060 + 0.034 * shrink * rng.uniform(),
            brightness: rng.uniform_in(0.75, 1.0),
        };
        let free = bubbles.iter().all(|other| {
            let [dx, dy] = displacement(other.centre, candidate.centre);
            dx.hypot(dy) > other.radius + candidate.radius + GAP
        });
        if free {
            bubbles.push(candidate);
        }
    }
    bubbles
}
