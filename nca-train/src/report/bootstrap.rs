//! How far a correlation could have come out otherwise: the percentile bootstrap over models.
//!
//! Efron, *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7 (1979).

use nca_core::philox::{PhiloxRng, Stream};
use rayon::prelude::*;
use serde::Serialize;

use super::stats::Order;

/// Resamples that an interval rests on.
pub const RESAMPLES: u64 = 2000;
/// Share of the resamples that lies within an interval.
pub const CONFIDENCE: f64 = 0.95;
/// Fewest models an interval is given for. There are (2n−1)! / n!(n−1)! different resamples of n
/// models: 6435 of eight, but of seven, with 1716, fewer than are drawn.
pub const FEWEST_MODELS: usize = 8;

/// Seed of all resamples: intervals are the same whenever they are computed.
const SEED: u64 = 0;

/// A confidence interval.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Interval {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

/// The intervals of both coefficients of the pairs (x, y), all finite: of Pearson's r and of
/// Spearman's ρ, the ranks taken anew in every resample.
///
/// A resample in which a side does not vary has no coefficient and is left out. `None` where there
/// are fewer than [`FEWEST_MODELS`] pairs, a length differs, or no resample has a coefficient.
#[must_use]
pub fn correlation_intervals(x: &[f64], y: &[f64]) -> [Option<Interval>; 2] {
    if x.len() < FEWEST_MODELS || x.len() != y.len() {
        return [None, None];
    }
    resampled(x, y).map(|coefficients| central(&coefficients, CONFIDENCE))
}

/// Both coefficients of every resample that has them, in increasing order.
fn resampled(x: &[f64], y: &[f64]) -> [Vec<f64>; 2] {
    let (x_order, y_order) = (Order::of(x), Order::of(y));
    let (x, y) = (unit(x), unit(y));
    let coefficients: Vec<[Option<f64>; 2]> = (0..RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let weights = draw(resample, x.len());
            [
                weighted_pearson(&x, &y, &weights),
                weighted_pearson(&x_order.ranks(&weights), &y_order.ranks(&weights), &weights),
            ]
        })
        .collect();
    [0, 1].map(|which| {
        let mut values: Vec<f64> = coefficients.iter().filter_map(|c| c[which]).collect();
        values.sort_by(f64::total_cmp);
        values
    })
}

/// How often each of `n` models is in a resample: `n` draws with replacement.
fn draw(resample: u64, n: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(SEED, Stream::Bootstrap, resample);
    let mut weights = vec![0.0; n];
    for _ in 0..n {
        weights[rng.below(n as u32) as usize] += 1.0;
    }
    weights
}

/// Values in `[-1, 1]`, in proportion, so that squares neither overflow nor vanish.
fn unit(values: &[f64]) -> Vec<f64> {
    let scale = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let scale = if scale > 0.0 { scale } else { 1.0 };
    values.iter().map(|v| v / scale).collect()
}

/// Pearson's r of pairs of which each counts as often as its weight says; `None` if a side does not
/// vary.
fn weighted_pearson(x: &[f64], y: &[f64], weights: &[f64]) -> Option<f64> {
    let varies = |values: &[f64]| {
        let mut drawn = values.iter().zip(weights).filter(|(_, w)| **w > 0.0).map(|(v, _)| v);
        let first = drawn.next();
        drawn.any(|v| Some(v) != first)
    };
    if !varies(x) || !varies(y) {
        return None;
    }
    let total: f64 = weights.iter().sum();
    let mean = |values: &[f64]| values.iter().zip(weights).map(|(v, w)| v * w).sum::<f64>() / total;
    let (x_mean, y_mean) = (mean(x), mean(y));
    let (mut xx, mut xy, mut yy) = (0.0, 0.0, 0.0);
    for ((x, y), w) in x.iter().zip(y).zip(weights) {
        let (dx, dy) = (x - x_mean, y - y_mean);
        xx += w * dx * dx;
        xy += w * dx * dy;
        yy += w * dy * dy;
    }
    let r = xy / (xx.sqrt() * yy.sqrt());
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Ends of the central `share` of ordered values, interpolated linearly between neighbours.
fn central(values: &[f64], share: f64) -> Option<Interval> {
    let last = values.len().checked_sub(1)?;
    let at = |part: f64| {
        let position = part * last as f64;
        let below = position as usize;
        let above = (below + 1).min(last);
        values[below] + (position - below as f64) * (values[above] - values[below])
    };
    let tail = (1.0 - share) / 2.0;
    Some(Interval {
        low: at(tail),
        high: at(1.0 - tail),
    })
}

#[cfg(test)]
mod tests {
    use super::super::stats::{pearson, ranks, spearman};
    use super::*;

    /// Rounding of sums of a few dozen terms of order one.
    const TOLERANCE: f64 = 256.0 * f64::EPSILON;

    /// Made-up pairs in which y follows x, with ties in x.
    fn pairs(n: usize, noise: f64) -> (Vec<f64>, Vec<f64>) {
        let mut rng = PhiloxRng::new(5, Stream::Test, n as u64);
        let x: Vec<f64> = (0..n).map(|i| (i % 12) as f64).collect();
        let y = x.iter().map(|x| x + noise * rng.normal()).collect();
        (x, y)
    }

    #[test]
    fn weights_stand_for_repetition() {
        let (x, y) = pairs(30, 4.0);
        for resample in 0..20 {
            let weights = draw(resample, x.len());
            assert_eq!(weights.iter().sum::<f64>(), 30.0);
            let repeat = |values: &[f64]| -> Vec<f64> {
                let times = values.iter().zip(&weights);
                times.flat_map(|(v, w)| std::iter::repeat_n(*v, *w as usize)).collect()
            };
            let (long_x, long_y) = (repeat(&x), repeat(&y));
            let r = weighted_pearson(&x, &y, &weights).unwrap();
            assert!((r - pearson(&long_x, &long_y).unwrap()).abs() < TOLERANCE);
            let (rank_x, rank_y) = (Order::of(&x).ranks(&weights), Order::of(&y).ranks(&weights));
            assert_eq!(repeat(&rank_x), ranks(&long_x).unwrap());
            let rho = weighted_pearson(&rank_x, &rank_y, &weights).unwrap();
            assert!((rho - spearman(&long_x, &long_y).unwrap()).abs() < TOLERANCE);
        }
    }

    #[test]
    fn an_interval_holds_the_coefficient_and_narrows_with_the_models() {
        let width = |n| {
            let (x, y) = pairs(n, 6.0);
            let found = correlation_intervals(&x, &y);
            for (interval, value) in found.iter().zip([pearson(&x, &y), spearman(&x, &y)]) {
                let (interval, value) = (interval.unwrap(), value.unwrap());
                assert!(interval.low < value && value < interval.high, "{interval:?} {value}");
            }
            found.map(|i| i.map_or(0.0, |i| i.high - i.low))
        };
        let (few, many) = (width(24), width(24 * 16));
        // Widths go with 1/√n: a quarter, were the two samples equally noisy.
        assert!(many[0] < few[0] / 2.0 && many[1] < few[1] / 2.0, "{few:?} {many:?}");
    }

    #[test]
    fn an_interval_covers_the_truth_nineteen_times_in_twenty() {
        // y = x + noise of the variance of x, both normal: r = 1/√2.
        const TRIALS: u64 = 800;
        let truth = std::f64::consts::FRAC_1_SQRT_2;
        let shares = [CONFIDENCE, 0.90, 0.99];
        let mut covered = [0u32; 3];
        for trial in 0..TRIALS {
            let mut rng = PhiloxRng::new(8, Stream::Test, trial);
            let x: Vec<f64> = (0..64).map(|_| rng.normal()).collect();
            let y: Vec<f64> = x.iter().map(|x| x + rng.normal()).collect();
            let [coefficients, _] = resampled(&x, &y);
            for (covered, share) in covered.iter_mut().zip(shares) {
                let interval = central(&coefficients, share).unwrap();
                *covered += u32::from((interval.low..=interval.high).contains(&truth));
            }
        }
        // The percentile bootstrap of 64 pairs covers one to two points too little; two and a half
        // standard deviations of a binomial of 0.935 around that.
        let expected = 0.935;
        let slack = 2.5 * (expected * (1.0 - expected) / TRIALS as f64).sqrt();
        let within = covered.map(|n| (f64::from(n) / TRIALS as f64 - expected).abs() < slack);
        // Other tails are told from those of the interval.
        assert_eq!(within, [true, false, false], "{covered:?} of {TRIALS}");
    }

    #[test]
    fn too_few_and_constant_have_none() {
        let (x, y) = pairs(FEWEST_MODELS - 1, 1.0);
        assert_eq!(correlation_intervals(&x, &y), [None, None]);
        assert_eq!(correlation_intervals(&[1.0; 20], &[2.0; 20]), [None, None]);
        assert_eq!(correlation_intervals(&[1.0; 20], &[2.0; 19]), [None, None]);
        let (x, y) = pairs(FEWEST_MODELS, 1.0);
        assert!(correlation_intervals(&x, &y).iter().all(Option::is_some));
    }

    #[test]
    fn any_scale_gives_the_same_interval() {
        let (x, y) = pairs(20, 3.0);
        let here = correlation_intervals(&x, &y);
        for scale in [1e-200, 1e200] {
            let scaled: Vec<f64> = x.iter().map(|v| v * scale).collect();
            for (a, b) in here.iter().zip(correlation_intervals(&scaled, &y)) {
                let (a, b) = (a.unwrap(), b.unwrap());
                assert!((a.low - b.low).abs() < TOLERANCE && (a.high - b.high).abs() < TOLERANCE);
            }
        }
    }

    #[test]
    fn the_number_of_threads_changes_nothing() {
        let (x, y) = pairs(40, 3.0);
        let with = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| correlation_intervals(&x, &y))
        };
        assert_eq!(with(1), with(3));
    }
}
