//! Counter-based random numbers: Philox4x32-10 (Salmon et al., *Parallel random numbers: as easy
//! as 1, 2, 3*, SC 2011).
//!
//! Every random number of the project is a pure function of `(seed, counter)`. That is what makes
//! recomputation in the backward pass, resuming after a crash and parity between devices exact:
//! there is no generator state to carry along.

/// Multipliers of the two 32×32→64 products of a round.
pub(crate) const M0: u32 = 0xD251_1F53;
pub(crate) const M1: u32 = 0xCD9E_8D57;
/// Weyl increments of the two key words.
pub(crate) const W0: u32 = 0x9E37_79B9;
pub(crate) const W1: u32 = 0xBB67_AE85;

/// Philox4x32-10: four random words for a counter and a key.
#[inline]
#[must_use]
pub fn philox4x32_10(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    for round in 0..10 {
        if round > 0 {
            key[0] = key[0].wrapping_add(W0);
            key[1] = key[1].wrapping_add(W1);
        }
        let p0 = u64::from(M0) * u64::from(counter[0]);
        let p1 = u64::from(M1) * u64::from(counter[2]);
        counter = [
            (p1 >> 32) as u32 ^ counter[1] ^ key[0],
            p1 as u32,
            (p0 >> 32) as u32 ^ counter[3] ^ key[1],
            p0 as u32,
        ];
    }
    counter
}

/// What a random number is for; the last counter word, so that no two uses share numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Stream {
    /// Which cells update in a step.
    Mask = 0,
    /// Initial weights.
    Init = 1,
    /// Initial states.
    State = 2,
    /// Derived seeds ([`derive_seed`]).
    Seed = 3,
    /// Samples drawn from the pool, rollout lengths.
    Pool = 4,
    /// Random projections of the patch loss.
    Projection = 5,
    /// Crops of an exemplar.
    Crop = 6,
    /// Procedural exemplars.
    Exemplar = 7,
    /// Noise of the flicker control.
    Flicker = 8,
    /// Positions sampled from feature maps.
    Sample = 9,
    /// Synthetic flow data.
    Synth = 10,
    /// Resampling for confidence intervals.
    Bootstrap = 11,
    /// Inputs made up by tests.
    Test = 12,
}

/// Low and high word of a seed: the Philox key.
#[inline]
#[must_use]
pub fn key(seed: u64) -> [u32; 2] {
    [seed as u32, (seed >> 32) as u32]
}

/// A seed for `index` that is independent of every other index: a hash of `(seed, index)`.
#[must_use]
pub fn derive_seed(seed: u64, index: u64) -> u64 {
    let [lo, hi, ..] = philox4x32_10([index as u32, (index >> 32) as u32, 0, Stream::Seed as u32], key(seed));
    (u64::from(hi) << 32) | u64::from(lo)
}

/// `fire_rate · 2³²`: a cell is active iff its word is below this. `2³²` (fire rate 1) is always above.
///
/// `fire_rate` must lie in `[0, 1]` ([`crate::NcaConfig::validate`]).
#[inline]
#[must_use]
pub fn fire_threshold(fire_rate: f64) -> u64 {
    (fire_rate * 4_294_967_296.0).round() as u64
}

/// Whether `cell = y·W + x` of batch slot `sample` updates in `step`.
#[inline]
#[must_use]
pub fn is_active(seed: u64, step: u32, sample: u32, cell: u32, threshold: u64) -> bool {
    let words = philox4x32_10([cell / 4, sample, step, Stream::Mask as u32], key(seed));
    u64::from(words[(cell % 4) as usize]) < threshold
}

/// A sequence of numbers from one stream: counter `[block, index low, index high, stream]`.
///
/// Two sequences with different `(seed, stream, index)` share no numbers.
#[derive(Clone, Debug)]
pub struct PhiloxRng {
    key: [u32; 2],
    counter: [u32; 4],
    words: [u32; 4],
    used: usize,
    spare_normal: Option<f64>,
}

impl PhiloxRng {
    /// The sequence `index` of `stream` under `seed`.
    #[must_use]
    pub fn new(seed: u64, stream: Stream, index: u64) -> Self {
        Self {
            key: key(seed),
            counter: [0, index as u32, (index >> 32) as u32, stream as u32],
            words: [0; 4],
            used: 4,
            spare_normal: None,
        }
    }

    /// The next 32 random bits.
    pub fn next_u32(&mut self) -> u32 {
        if self.used == 4 {
            self.words = philox4x32_10(self.counter, self.key);
            self.counter[0] = self.counter[0].wrapping_add(1);
            self.used = 0;
        }
        self.used += 1;
        self.words[self.used - 1]
    }

    /// Uniform in the open interval (0, 1): 32 bits, centred in their cells.
    pub fn uniform(&mut self) -> f64 {
        (f64::from(self.next_u32()) + 0.5) / 4_294_967_296.0
    }

    /// Uniform in `[low, high)`.
    pub fn uniform_in(&mut self, low: f64, high: f64) -> f64 {
        low + (high - low) * self.uniform()
    }

    /// Uniform integer in `0..bound` (`bound > 0`) by Lemire's multiplication; the bias is below
    /// `bound / 2³²`.
    pub fn below(&mut self, bound: u32) -> u32 {
        ((u64::from(self.next_u32()) * u64::from(bound)) >> 32) as u32
    }

    /// Standard normal by Box–Muller; both numbers of a pair are used.
    pub fn normal(&mut self) -> f64 {
        if let Some(z) = self.spare_normal.take() {
            return z;
        }
        let radius = (-2.0 * self.uniform().ln()).sqrt();
        let (sin, cos) = (std::f64::consts::TAU * self.uniform()).sin_cos();
        self.spare_normal = Some(radius * sin);
        radius * cos
    }

    /// `count` distinct integers of `0..bound` in random order (partial Fisher–Yates;
    /// `count ≤ bound`).
    pub fn choose(&mut self, count: usize, bound: usize) -> Vec<usize> {
        let count = count.min(bound);
        let mut items: Vec<usize> = (0..bound).collect();
        for i in 0..count {
            let j = i + self.below((bound - i) as u32) as usize;
            items.swap(i, j);
        }
        items.truncate(count);
        items
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The three known-answer vectors of Random123 (`kat_vectors`, philox4x32 10).
    #[test]
    fn random123_vectors() {
        let ff = u32::MAX;
        assert_eq!(
            philox4x32_10([0; 4], [0; 2]),
            [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]
        );
        assert_eq!(
            philox4x32_10([ff; 4], [ff; 2]),
            [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]
        );
        assert_eq!(
            philox4x32_10(
                [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
                [0xa409_3822, 0x299f_31d0]
            ),
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1]
        );
    }

    #[test]
    fn fire_rate_bounds_are_exact() {
        for cell in 0..256 {
            assert!(!is_active(7, 3, 1, cell, fire_threshold(0.0)));
            assert!(is_active(7, 3, 1, cell, fire_threshold(1.0)));
        }
    }

    #[test]
    fn half_of_the_cells_fire_at_one_half() {
        let n = 40_000;
        let active = (0..n).filter(|&c| is_active(1, 0, 0, c, fire_threshold(0.5))).count();
        // Five standard deviations of a binomial.
        let sigma = (f64::from(n) * 0.25).sqrt();
        assert!((active as f64 - f64::from(n) / 2.0).abs() < 5.0 * sigma);
    }

    #[test]
    fn moments() {
        let mut rng = PhiloxRng::new(3, Stream::Test, 0);
        let n = 50_000;
        let z: Vec<f64> = (0..n).map(|_| rng.normal()).collect();
        let mean = z.iter().sum::<f64>() / f64::from(n);
        let var = z.iter().map(|v| v * v).sum::<f64>() / f64::from(n);
        assert!(mean.abs() < 5.0 / f64::from(n).sqrt(), "{mean}");
        assert!((var - 1.0).abs() < 5.0 * (2.0 / f64::from(n)).sqrt(), "{var}");
    }

    #[test]
    fn choose_gives_distinct_items() {
        let mut rng = PhiloxRng::new(9, Stream::Test, 1);
        let mut items = rng.choose(40, 64);
        items.sort_unstable();
        items.dedup();
        assert_eq!(items.len(), 40);
        assert!(items.iter().all(|&i| i < 64));
    }
}
