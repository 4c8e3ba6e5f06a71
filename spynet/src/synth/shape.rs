//! Outlines of foreground pieces.

use nca_core::philox::PhiloxRng;

use super::motion::Point;
use super::texture::{log_uniform, smooth_step};

/// A piece's outline: simple bodies united, with holes and a wavy rim.
#[derive(Clone, Debug)]
pub(super) struct Shape {
    pub(super) centre: Point,
    /// Nothing of the piece is further from the centre.
    pub(super) reach: f64,
    bodies: Vec<Body>,
    holes: Vec<Body>,
    /// Waves added to the distance from the rim: wave vector, phase, amplitude in pixels.
    waves: Vec<(Point, f64, f64)>,
}

/// A simple body about a point, relative to the piece's centre.
#[derive(Clone, Debug)]
struct Body {
    at: Point,
    /// Direction of its first axis.
    axis: Point,
    half: Point,
    round: bool,
}

impl Body {
    /// Roughly the distance from the rim, in pixels; negative inside.
    fn distance(&self, p: Point) -> f64 {
        let (x, y) = (p[0] - self.at[0], p[1] - self.at[1]);
        let u = (x * self.axis[0] + y * self.axis[1]).abs();
        let v = (y * self.axis[0] - x * self.axis[1]).abs();
        let [a, b] = self.half;
        if self.round {
            // f / |∇f| for f = |p/half| − 1, which is the distance near the rim.
            let (s, t) = (u / a, v / b);
            let k = s.hypot(t);
            let gradient = (s / a).hypot(t / b);
            if gradient < 1e-9 {
                -a.min(b)
            } else {
                k * (k - 1.0) / gradient
            }
        } else {
            let (dx, dy) = (u - a, v - b);
            dx.max(0.0).hypot(dy.max(0.0)) + dx.max(dy).min(0.0)
        }
    }

    fn reach(&self) -> f64 {
        self.at[0].hypot(self.at[1]) + self.half[0].hypot(self.half[1])
    }
}

impl Shape {
    /// Width over which a rim fades, in pixels: that of a pixel and its blur.
    const RIM: f64 = 1.4;

    /// A random piece of about `radius` pixels.
    pub(super) fn draw(rng: &mut PhiloxRng, centre: Point, radius: f64) -> Self {
        let turn = |rng: &mut PhiloxRng| {
            let (sin, cos) = rng.uniform_in(0.0, std::f64::consts::TAU).sin_cos();
            [cos, sin]
        };
        let main = turn(rng);
        let mut bodies = Vec::new();
        let mut holes = Vec::new();
        match rng.below(4) {
            // One body.
            0 => {
                let half = [radius, radius * rng.uniform_in(0.35, 1.0)];
                bodies.push(Body {
                    at: [0.0; 2],
                    axis: main,
                    half,
                    round: rng.uniform() < 0.5,
                });
            }
            // A heap of them.
            1 => {
                for _ in 0..2 + rng.below(4) {
                    let at = [rng.normal() * 0.4 * radius, rng.normal() * 0.4 * radius];
                    let size = radius * rng.uniform_in(0.3, 0.7);
                    let half = [size, size * rng.uniform_in(0.5, 1.0)];
                    bodies.push(Body {
                        at,
                        axis: turn(rng),
                        half,
                        round: rng.uniform() < 0.6,
                    });
                }
            }
            // Slats about a middle: legs, arms, backs.
            2 => {
                let half = [radius * 0.5, radius * rng.uniform_in(0.15, 0.5)];
                bodies.push(Body {
                    at: [0.0; 2],
                    axis: main,
                    half,
                    round: rng.uniform() < 0.3,
                });
                for _ in 0..2 + rng.below(4) {
                    let axis = if rng.uniform() < 0.7 {
                        [-main[1], main[0]]
                    } else {
                        turn(rng)
                    };
                    let along = radius * rng.uniform_in(-0.5, 0.5);
                    let out = radius * rng.uniform_in(-0.5, 0.5);
                    let half = [
                        radius * rng.uniform_in(0.3, 0.7),
                        (radius * rng.uniform_in(0.03, 0.12)).max(1.5),
                    ];
                    let at = [along * main[0] + out * axis[0], along * main[1] + out * axis[1]];
                    bodies.push(Body {
                        at,
                        axis,
                        half,
                        round: false,
                    });
                }
            }
            // A frame.
            _ => {
                let half = [radius, radius * rng.uniform_in(0.6, 1.0)];
                let round = rng.uniform() < 0.5;
                bodies.push(Body {
                    at: [0.0; 2],
                    axis: main,
                    half,
                    round,
                });
                let inner = rng.uniform_in(0.4, 0.8);
                holes.push(Body {
                    at: [0.0; 2],
                    axis: main,
                    half: half.map(|h| h * inner),
                    round,
                });
            }
        }
        let waves: Vec<_> = (0..rng.below(4))
            .map(|_| {
                let direction = turn(rng);
                let length = log_uniform(rng, 0.4 * radius, 2.0 * radius).max(8.0);
                let k = std::f64::consts::TAU / length;
                // The rim must not become much steeper or softer: slope of the wave at most 0.3.
                let amplitude = 0.3 / k * rng.uniform();
                (
                    [k * direction[0], k * direction[1]],
                    rng.uniform_in(0.0, std::f64::consts::TAU),
                    amplitude,
                )
            })
            .collect();
        let reach = bodies.iter().map(Body::reach).fold(0.0, f64::max)
            + waves.iter().map(|w| w.2).sum::<f64>() * 2.0
            + Self::RIM;
        Self {
            centre,
            reach,
            bodies,
            holes,
            waves,
        }
    }

    /// How much of the pixel at `d` from the centre the piece covers, 0 to 1.
    pub(super) fn cover(&self, d: Point) -> f64 {
        if d[0].hypot(d[1]) > self.reach {
            return 0.0;
        }
        let mut distance = self.bodies.iter().map(|b| b.distance(d)).fold(f64::INFINITY, f64::min);
        for hole in &self.holes {
            distance = distance.max(-hole.distance(d));
        }
        for (k, phase, amplitude) in &self.waves {
            distance += amplitude * (k[0] * d[0] + k[1] * d[1] + phase).sin();
        }
        smooth_step(0.5 - distance / Self::RIM)
    }

    /// A square of the given half width, which covers its rim's pixels by half.
    #[cfg(test)]
    pub(super) fn square(centre: Point, half: f64) -> Self {
        let body = Body {
            at: [0.0; 2],
            axis: [1.0, 0.0],
            half: [half; 2],
            round: false,
        };
        Self {
            centre,
            reach: body.reach() + Self::RIM,
            bodies: vec![body],
            holes: Vec::new(),
            waves: Vec::new(),
        }
    }
}
