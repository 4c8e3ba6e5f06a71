//! Means, ranks and correlations.

/// Pearson's product-moment correlation r.
///
/// `None` where it is not defined: a length differs, there are fewer than two pairs, a value is not
/// finite, or one side does not vary.
#[must_use]
pub fn pearson(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() != y.len() || x.len() < 2 || constant(x) || constant(y) {
        return None;
    }
    if !x.iter().chain(y).all(|v| v.is_finite()) {
        return None;
    }
    let (x, y) = (centred(x)?, centred(y)?);
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    let r = dot(&x, &y) / (dot(&x, &x).sqrt() * dot(&y, &y).sqrt());
    // Rounding may leave the interval by an ulp.
    r.is_finite().then(|| r.clamp(-1.0, 1.0))
}

/// Spearman's rank correlation ρ: [`pearson`] of the ranks, equal values sharing their mean rank.
#[must_use]
pub fn spearman(x: &[f64], y: &[f64]) -> Option<f64> {
    pearson(&ranks(x)?, &ranks(y)?)
}

/// Ranks from 1, equal values sharing the mean of the ranks they take up; `None` if a value is not
/// finite.
#[must_use]
pub fn ranks(values: &[f64]) -> Option<Vec<f64>> {
    if !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    Some(Order::of(values).ranks(&vec![1.0; values.len()]))
}

/// Groups of equal values in increasing order: what the ranks of any resample follow from.
pub(super) struct Order(Vec<Vec<usize>>);

impl Order {
    pub(super) fn of(values: &[f64]) -> Self {
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_by(|&a, &b| values[a].total_cmp(&values[b]));
        let groups = order.chunk_by(|&a, &b| values[a] == values[b]);
        Self(groups.map(<[usize]>::to_vec).collect())
    }

    /// Rank of each value, counted from 1, where each is there as often as its weight says; equal values
    /// share the mean of the ranks they take up.
    pub(super) fn ranks(&self, weights: &[f64]) -> Vec<f64> {
        let mut ranks = vec![0.0; weights.len()];
        let mut below = 0.0;
        for group in &self.0 {
            let size: f64 = group.iter().map(|&i| weights[i]).sum();
            for &i in group {
                ranks[i] = below + (size + 1.0) / 2.0;
            }
            below += size;
        }
        ranks
    }
}

/// Mean of the finite values; `None` if there are none.
#[must_use]
pub fn mean(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let (mut sum, mut n) = (0.0, 0usize);
    for value in values.into_iter().filter(|v| v.is_finite()) {
        sum += value;
        n += 1;
    }
    (n > 0).then(|| sum / n as f64)
}

/// Standard error of the mean of values drawn alike: their sample deviation over √n; `None` of fewer
/// than two or if one is not finite.
#[must_use]
pub fn standard_error(values: &[f64]) -> Option<f64> {
    let n = values.len() as f64;
    if values.len() < 2 || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let mean = mean(values.iter().copied())?;
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    Some((squares / (n - 1.0) / n).sqrt())
}

/// The middle value, of an even number the mean of the middle two; `None` if there are none or one
/// is not finite.
#[must_use]
pub fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || !values.iter().all(|v| v.is_finite()) {
        return None;
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let (low, high) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
    // Halved first, lest the sum overflow.
    Some(low / 2.0 + high / 2.0)
}

fn constant(values: &[f64]) -> bool {
    values.windows(2).all(|pair| pair[0] == pair[1])
}

/// Deviations from the mean, scaled to at most 1 so that squares neither overflow nor vanish.
fn centred(values: &[f64]) -> Option<Vec<f64>> {
    let scale = values.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    let mean = mean(values.iter().map(|v| v / scale))?;
    let deviations: Vec<f64> = values.iter().map(|v| v / scale - mean).collect();
    let largest = deviations.iter().fold(0.0, |m: f64, v| m.max(v.abs()));
    Some(deviations.into_iter().map(|v| v / largest).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Rounding of sums of a few hundred terms of order one.
    const TOLERANCE: f64 = 256.0 * f64::EPSILON;

    fn close(a: Option<f64>, b: f64) -> bool {
        a.is_some_and(|a| (a - b).abs() <= TOLERANCE)
    }

    #[test]
    fn a_line_correlates_perfectly() {
        let x = [1.0, 2.0, 3.0, 4.0];
        assert!(close(pearson(&x, &x.map(|v| 3.0 * v - 7.0)), 1.0));
        assert!(close(pearson(&x, &x.map(|v| -v)), -1.0));
    }

    #[test]
    fn a_case_worked_by_hand() {
        // Deviations (−1.5, −.5, .5, 1.5) and (−1, 1, −1, 1): 2 / √(5·4).
        let (x, y) = ([1.0, 2.0, 3.0, 4.0], [1.0, 3.0, 1.0, 3.0]);
        assert!(close(pearson(&x, &y), 2.0 / 20f64.sqrt()));
        // Ranks of y: 1.5, 3.5, 1.5, 3.5, the same shape.
        assert!(close(spearman(&x, &y), 2.0 / 20f64.sqrt()));
    }

    #[test]
    fn ties_share_their_mean_rank() {
        assert_eq!(
            ranks(&[10.0, 20.0, 20.0, 5.0, 20.0]).unwrap(),
            [2.0, 4.0, 4.0, 1.0, 4.0]
        );
        // The two zeros are equal.
        assert_eq!(ranks(&[0.0, -0.0, 1.0]).unwrap(), [1.5, 1.5, 3.0]);
    }

    #[test]
    fn undefined_is_none() {
        assert_eq!(pearson(&[1.0, 1.0, 1.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(pearson(&[0.1, 0.1, 0.1], &[1.0, 2.0, 3.0]), None);
        assert_eq!(spearman(&[1.0, 2.0], &[5.0, 5.0]), None);
        assert_eq!(pearson(&[1.0, f64::NAN], &[1.0, 2.0]), None);
        assert_eq!(spearman(&[1.0, f64::INFINITY], &[1.0, 2.0]), None);
        assert_eq!(pearson(&[1.0], &[1.0]), None);
        assert_eq!(pearson(&[1.0, 2.0], &[1.0, 2.0, 3.0]), None);
        assert_eq!(mean([f64::NAN]), None);
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn standard_errors() {
        // Deviations −1, 0, 1: variance 1, over three.
        assert!(close(standard_error(&[4.0, 5.0, 6.0]), (1.0 / 3.0f64).sqrt()));
        assert_eq!(standard_error(&[2.0, 2.0]), Some(0.0));
        assert_eq!(standard_error(&[1.0]), None);
        assert_eq!(standard_error(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn medians() {
        assert_eq!(median(&[3.0]), Some(3.0));
        assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 9.0]), Some(3.0));
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..Default::default() })]

        #[test]
        fn bounded_symmetric_and_blind_to_scale(
            pairs in prop::collection::vec((-1e3..1e3f64, -1e3..1e3f64), 2..60),
            scale in prop::sample::select(vec![1e-200, 1.0, 1e200]),
        ) {
            let (x, y): (Vec<_>, Vec<_>) = pairs.iter().copied().unzip();
            let scaled: Vec<_> = x.iter().map(|v| v * scale).collect();
            let r = pearson(&x, &y);
            prop_assert!(r.is_some_and(|r| (-1.0..=1.0).contains(&r)));
            prop_assert!(close(pearson(&y, &x), r.unwrap()));
            prop_assert!(close(pearson(&scaled, &y), r.unwrap()));
        }

        #[test]
        fn spearman_is_blind_to_monotone_maps(pairs in prop::collection::vec((-5i32..5, -5i32..5), 2..60)) {
            let x: Vec<_> = pairs.iter().map(|p| f64::from(p.0)).collect();
            let y: Vec<_> = pairs.iter().map(|p| f64::from(p.1)).collect();
            let cubed: Vec<_> = x.iter().map(|v| v * v * v).collect();
            prop_assert_eq!(spearman(&x, &y), spearman(&cubed, &y));
        }
    }
}
