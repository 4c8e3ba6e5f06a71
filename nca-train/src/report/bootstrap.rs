//! How far a correlation could have come out otherwise: the percentile bootstrap over architectures.
//!
//! What is claimed is claimed of architectures, so these are what is drawn, each with all its models: the models of
//! one architecture (its seeds and textures) share its quantities, and much of its Ψ, so to draw them one by one would take
//! a grid of four seeds for one four times as large.
//!
//! Efron, *Bootstrap methods: another look at the jackknife*, Annals of Statistics 7 (1979); Davison & Hinkley, *Bootstrap
//! Methods and their Application* (1997), section 3.8, on data in groups.

use std::collections::HashMap;
use std::hash::Hash;

use nca_core::philox::{PhiloxRng, Stream};
use rayon::prelude::*;
use serde::Serialize;

use super::stats::Order;

/// Resamples that an interval rests on.
pub const RESAMPLES: u64 = 2000;
/// Share of the resamples that lies within an interval.
pub const CONFIDENCE: f64 = 0.95;
/// Fewest architectures an interval is given for. There are (2n−1)! / n!(n−1)! different resamples of n
/// architectures: 6435 of eight, but of seven, with 1716, fewer than are drawn.
pub const FEWEST_ARCHITECTURES: usize = 8;

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
/// Spearman's ρ, the ranks taken anew in every resample. Pairs of the same architecture are drawn together.
///
/// A resample in which a side does not vary has no coefficient and is left out. `None` where there
/// are fewer than [`FEWEST_ARCHITECTURES`] different architectures, a length differs, or no resample has a coefficient.
#[must_use]
pub fn correlation_intervals<A: Eq + Hash>(architectures: &[A], x: &[f64], y: &[f64]) -> [Option<Interval>; 2] {
    let groups = Groups::of(architectures);
    if groups.count < FEWEST_ARCHITECTURES || x.len() != architectures.len() || x.len() != y.len() {
        return [None, None];
    }
    resampled(&groups, x, y).map(|coefficients| central(&coefficients, CONFIDENCE))
}

/// What is drawn together.
struct Groups {
    /// Group of each pair; groups are numbered as they first come.
    of: Vec<usize>,
    /// Groups.
    count: usize,
}

impl Groups {
    fn of<A: Eq + Hash>(labels: &[A]) -> Self {
        let mut numbers = HashMap::new();
        let of = labels
            .iter()
            .map(|label| {
                let next = numbers.len();
                *numbers.entry(label).or_insert(next)
            })
            .collect();
        Self {
            of,
            count: numbers.len(),
        }
    }

    /// How often each pair is in a resample: as often as its group, of which as many are drawn, with replacement, as
    /// there are.
    fn draw(&self, resample: u64) -> Vec<f64> {
        let mut rng = PhiloxRng::new(SEED, Stream::Bootstrap, resample);
        let mut times = vec![0.0; self.count];
        for _ in 0..self.count {
            times[rng.below(self.count as u32) as usize] += 1.0;
        }
        self.of.iter().map(|&group| times[group]).collect()
    }
}

/// How many different architectures there are.
pub(super) fn distinct<A: Eq + Hash>(architectures: &[A]) -> usize {
    Groups::of(architectures).count
}

/// Both coefficients of every resample that has them, in increasing order.
fn resampled(groups: &Groups, x: &[f64], y: &[f64]) -> [Vec<f64>; 2] {
    let (x_order, y_order) = (Order::of(x), Order::of(y));
    let (x, y) = (unit(x), unit(y));
    let coefficients: Vec<[Option<f64>; 2]> = (0..RESAMPLES)
        .into_par_iter()
        .map(|resample| {
            let weights = groups.draw(resample);
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

    /// Intervals where each pair is of an architecture of its own.
    fn each_its_own(x: &[f64], y: &[f64]) -> [Option<Interval>; 2] {
        correlation_intervals(&numbers(x.len()), x, y)
    }

    fn numbers(n: usize) -> Vec<usize> {
        (0..n).collect()
    }

    #[test]
    fn weights_stand_for_repetition() {
        let (x, y) = pairs(30, 4.0);
        for resample in 0..20 {
            let weights = Groups::of(&numbers(30)).draw(resample);
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
    fn an_architecture_is_drawn_with_all_its_models() {
        // Three models each of ten architectures, in any order.
        let labels: Vec<(usize, usize)> = (0..30).map(|i| (i * 7 % 10, 5)).collect();
        for resample in 0..20 {
            let weights = Groups::of(&labels).draw(resample);
            assert_eq!(weights.iter().sum::<f64>(), 30.0);
            for (label, weight) in labels.iter().zip(&weights) {
                let first = labels.iter().position(|other| other == label).unwrap();
                assert_eq!(*weight, weights[first]);
            }
        }
        // So models that say nothing new narrow nothing.
        let (x, y) = pairs(10, 4.0);
        let threefold = |values: &[f64]| -> Vec<f64> { labels.iter().map(|l| values[l.0]).collect() };
        let first: Vec<f64> = threefold(&x)[..10].to_vec();
        let first_y: Vec<f64> = threefold(&y)[..10].to_vec();
        let once = each_its_own(&first, &first_y);
        let thrice = correlation_intervals(&labels, &threefold(&x), &threefold(&y));
        for (a, b) in once.iter().zip(thrice) {
            let (a, b) = (a.unwrap(), b.unwrap());
            assert!((a.low - b.low).abs() < TOLERANCE && (a.high - b.high).abs() < TOLERANCE);
        }
    }

    #[test]
    fn seeds_of_an_architecture_are_no_evidence_of_their_own() {
        // Four seeds of each architecture of the quick grid; Ψ is the architecture's own, and nothing of D/C.
        const TRIALS: u64 = 400;
        let architectures: Vec<(usize, usize)> = [6, 8, 12]
            .into_iter()
            .flat_map(|c| [16, 32, 64].map(|d| (c, d)))
            .flat_map(|architecture| [architecture; 4])
            .collect();
        let x: Vec<f64> = architectures.iter().map(|&(c, d)| d as f64 / c as f64).collect();
        let missed = |groups: &Groups| {
            let misses = |trial: u64| {
                let mut rng = PhiloxRng::new(21, Stream::Test, trial);
                let mut own = 0.0;
                let y: Vec<f64> = (0..x.len())
                    .map(|i| {
                        if i % 4 == 0 {
                            own = rng.normal();
                        }
                        own + 0.3 * rng.normal()
                    })
                    .collect();
                let [_, rho] = resampled(groups, &x, &y);
                let Interval { low, high } = central(&rho, CONFIDENCE).unwrap();
                low > 0.0 || high < 0.0
            };
            (0..TRIALS).into_par_iter().filter(|&trial| misses(trial)).count() as f64 / TRIALS as f64
        };
        // 0.05 within four standard deviations of its binomial; the percentile bootstrap of nine covers up to two
        // points more or less.
        let slack = 4.0 * (0.05 * 0.95 / TRIALS as f64).sqrt() + 0.02;
        let rate = missed(&Groups::of(&architectures));
        assert!((rate - 0.05).abs() < slack, "{rate}");
        // Models drawn one by one are what this test must be able to tell from it.
        let one_by_one = missed(&Groups::of(&numbers(x.len())));
        assert!(one_by_one > 0.2, "{one_by_one}");
    }

    #[test]
    fn an_interval_holds_the_coefficient_and_narrows_with_the_models() {
        let width = |n| {
            let (x, y) = pairs(n, 6.0);
            let found = each_its_own(&x, &y);
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
            let [coefficients, _] = resampled(&Groups::of(&numbers(64)), &x, &y);
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
        let (x, y) = pairs(FEWEST_ARCHITECTURES - 1, 1.0);
        assert_eq!(each_its_own(&x, &y), [None, None]);
        assert_eq!(each_its_own(&[1.0; 20], &[2.0; 20]), [None, None]);
        assert_eq!(each_its_own(&[1.0; 20], &[2.0; 19]), [None, None]);
        let (x, y) = pairs(FEWEST_ARCHITECTURES, 1.0);
        assert!(each_its_own(&x, &y).iter().all(Option::is_some));
        assert_eq!(correlation_intervals(&numbers(7), &x, &y), [None, None]);
        // Forty models of too few architectures are too few.
        let (x, y) = pairs(40, 1.0);
        let with = |architectures: usize| {
            let labels: Vec<usize> = (0..40).map(|i| i % architectures).collect();
            correlation_intervals(&labels, &x, &y)
        };
        assert_eq!(with(FEWEST_ARCHITECTURES - 1), [None, None]);
        assert!(with(FEWEST_ARCHITECTURES).iter().all(Option::is_some));
    }

    #[test]
    fn any_scale_gives_the_same_interval() {
        let (x, y) = pairs(20, 3.0);
        let here = each_its_own(&x, &y);
        for scale in [1e-200, 1e200] {
            let scaled: Vec<f64> = x.iter().map(|v| v * scale).collect();
            for (a, b) in here.iter().zip(each_its_own(&scaled, &y)) {
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
            pool.install(|| each_its_own(&x, &y))
        };
        assert_eq!(with(1), with(3));
    }
}
