//! What changes between two frames without moving: noise, flicker, brightness, blur.

use nca_core::philox::{PhiloxRng, Stream, derive_seed};

use super::texture::log_uniform;

/// Changes made to finished frames.
#[derive(Clone, Debug)]
pub(super) struct Nuisance {
    /// Standard deviation of the sensor's noise in both frames.
    sensor: f32,
    /// Standard deviation of flicker in both frames, and the share of pixels that flicker.
    flicker: Option<(f32, f64)>,
    /// Gain and offset of each channel of the second frame.
    drift: Option<[(f32, f32); 3]>,
    /// Share of a 3×3 binomial blur in each frame.
    blur: Option<[f32; 2]>,
}

impl Nuisance {
    /// None at all.
    pub(super) const NONE: Self = Self {
        sensor: 0.0,
        flicker: None,
        drift: None,
        blur: None,
    };

    /// Random ones, most of them faint; `strength` scales how often there are any.
    pub(super) fn draw(rng: &mut PhiloxRng, strength: f64) -> Self {
        let chance = |share: f64, rng: &mut PhiloxRng| rng.uniform() < share * strength;
        let sensor = if chance(0.4, rng) {
            log_uniform(rng, 0.002, 0.03) as f32
        } else {
            0.0
        };
        let flicker = chance(0.35, rng).then(|| {
            let share = if rng.uniform() < 0.5 {
                0.5
            } else {
                rng.uniform_in(0.2, 1.0)
            };
            (log_uniform(rng, 0.005, 0.1) as f32, share)
        });
        let drift = chance(0.3, rng).then(|| {
            let (gain, offset) = (0.08 * rng.normal(), 0.04 * rng.normal());
            std::array::from_fn(|_| {
                let gain = 1.0 + (gain + 0.02 * rng.normal()).clamp(-0.25, 0.25);
                let offset = (offset + 0.01 * rng.normal()).clamp(-0.15, 0.15);
                (gain as f32, offset as f32)
            })
        });
        let blur = chance(0.15, rng).then(|| {
            let both = rng.uniform();
            [both, (both + 0.3 * rng.normal()).clamp(0.0, 1.0)].map(|v| v as f32)
        });
        Self {
            sensor,
            flicker,
            drift,
            blur,
        }
    }

    /// Changes `frame [3,H,W]`, the first (0) or second (1) one of the pair with `seed`.
    pub(super) fn apply(&self, frame: &mut [f32], height: usize, width: usize, which: usize, seed: u64) {
        let plane = height * width;
        if let Some(shares) = self.blur {
            for channel in frame.chunks_exact_mut(plane) {
                blur(channel, height, width, shares[which]);
            }
        }
        if let (Some(drift), 1) = (&self.drift, which) {
            for (channel, (gain, offset)) in frame.chunks_exact_mut(plane).zip(drift) {
                for v in channel {
                    *v = 0.5 + (*v - 0.5) * gain + offset;
                }
            }
        }
        let seed = derive_seed(seed, 1 + which as u64);
        if let Some((sigma, share)) = self.flicker {
            let mut rng = PhiloxRng::new(seed, Stream::Synth, 0);
            for p in 0..plane {
                if rng.uniform() < share {
                    // Partly light and dark, partly each channel on its own.
                    let common = rng.normal();
                    for c in 0..3 {
                        frame[c * plane + p] += sigma * (0.7 * common + 0.7 * rng.normal()) as f32;
                    }
                }
            }
        }
        if self.sensor > 0.0 {
            let mut rng = PhiloxRng::new(seed, Stream::Synth, 1);
            for v in frame.iter_mut() {
                *v += self.sensor * rng.normal() as f32;
            }
        }
        for v in frame {
            *v = v.clamp(0.0, 1.0);
        }
    }
}

/// `share` of the 3×3 binomial mean, the rest of the pixel itself; edges repeat.
fn blur(channel: &mut [f32], height: usize, width: usize, share: f32) {
    let old = channel.to_vec();
    let at = |y: usize, x: usize| old[y * width + x];
    for y in 0..height {
        let (up, down) = (y.saturating_sub(1), (y + 1).min(height - 1));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(1), (x + 1).min(width - 1));
            let line = |y: usize| at(y, left) + 2.0 * at(y, x) + at(y, right);
            let mean = (line(up) + 2.0 * line(y) + line(down)) / 16.0;
            channel[y * width + x] += share * (mean - at(y, x));
        }
    }
}
