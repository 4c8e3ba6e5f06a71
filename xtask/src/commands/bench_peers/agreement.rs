//! Whether a program computes what the others do.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::bail;

use super::peer::{Results, Shown};

/// Most that two results may differ, in units of the tensor's root mean square. Rounding errors of sums in another
/// order stay below 1e-5 in every case; a wrong filter or layout makes more than 1e-2.
pub(super) const TOLERANCE: f64 = 1e-4;
/// A program may have so many times as many elements behind kinks as PyTorch has, and so much more of all: they come in
/// patches, as many as a place is seen from.
const SHARES: f64 = 2.0;
/// See [`SHARES`].
const PATCH: f64 = 1.0 / 16.0;
/// Where more elements than these may differ, a result cannot be told from a wrong one, all of whose elements do.
const MOST_ALLOWED: f64 = 7.0 / 8.0;

/// See [`Kinks::of_fast_algorithms`].
const HALF: f64 = 0.5;

/// What results with kinks are measured by.
///
/// Where a ReLU is at 0, two neighbours in a pool are alike, or a frame is sampled at the very centre of a pixel,
/// rounding decides which derivative is taken, and every pixel that the network sees through that place gets another
/// gradient: an eighth of those of SpyNet differ between PyTorch in f32 and in f64. So gradients are compared with those in
/// f64, and what is counted is how many elements lie behind a kink: about as many for every program that computes in
/// f32, and nearly all for one that computes something else.
pub(super) struct Kinks {
    exact: Results,
    /// Largest share of each tensor's elements that may differ.
    allowed: BTreeMap<String, f64>,
}

impl Kinks {
    /// Of the tensors called `names`, from PyTorch's results in f64 and in f32.
    pub(super) fn new(names: &[&str], exact: Results, single: &Results) -> anyhow::Result<Self> {
        let mut allowed = BTreeMap::new();
        for &name in names {
            let share = match (exact.get(name), single.get(name)) {
                (Some(exact), Some(single)) => exact.share_beyond(TOLERANCE, single),
                _ => 1.0,
            };
            if SHARES * share + PATCH > MOST_ALLOWED {
                bail!(
                    "{name}: {:.0} % of the elements differ between PyTorch in f32 and in f64, expected at most {:.0} %",
                    100.0 * share,
                    100.0 * (MOST_ALLOWED - PATCH) / SHARES
                );
            }
            tracing::info!("{name}: {:.1} % of PyTorch's elements behind kinks", 100.0 * share);
            allowed.insert(name.to_owned(), SHARES * share + PATCH);
        }
        Ok(Self { exact, allowed })
    }

    /// The same for a program that rounds more than sums one by one do, as fast algorithms of convolution: half of the
    /// elements must be right. That it computes the same is to be shown of its plain algorithms: ours by direct sums, a
    /// library's as written.
    pub(super) fn of_fast_algorithms(&self) -> Self {
        Self {
            exact: self.exact.clone(),
            allowed: self
                .allowed
                .iter()
                .map(|(name, allowed)| (name.clone(), allowed.max(HALF)))
                .collect(),
        }
    }

    fn difference(&self, name: &str, result: &Shown) -> Option<Difference> {
        let (exact, allowed) = (self.exact.get(name)?, *self.allowed.get(name)?);
        let share = exact.share_beyond(TOLERANCE, result);
        Some(Difference {
            fine: share <= allowed,
            what: format!(
                "{name} differs from that in f64 at {:.1} % of its elements, expected at most {:.1} %",
                100.0 * share,
                100.0 * allowed
            ),
        })
    }
}

/// How two results differ.
struct Difference {
    fine: bool,
    what: String,
}

/// Nothing if `result` is what `expected` is: tensors with kinks by what is in f64, all others by their elements.
///
/// # Errors
/// For a tensor that is missing or differs too much.
pub(super) fn agree(expected: &Results, result: &Results, kinks: Option<&Kinks>) -> anyhow::Result<()> {
    let names: BTreeSet<&String> = expected.keys().chain(result.keys()).collect();
    for name in names {
        let difference = match (expected.get(name), result.get(name)) {
            (Some(expected), Some(result)) => kinks.and_then(|kinks| kinks.difference(name, result)).unwrap_or_else(
                || {
                    let differs = expected.difference(result);
                    Difference {
                        fine: differs <= TOLERANCE,
                        what: format!(
                            "{name} differs by {differs:.1e} of its root mean square, expected at most {TOLERANCE:.0e}"
                        ),
                    }
                },
            ),
            _ => Difference {
                fine: false,
                what: format!("{name} is in one result only"),
            },
        };
        if !difference.fine {
            bail!("{}", difference.what);
        }
        tracing::info!("{}", difference.what);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(change: impl Fn(usize) -> f32) -> Vec<f32> {
        (0..5000).map(|i| (i as f32 * 0.37).sin() + change(i)).collect()
    }

    fn results(change: impl Fn(usize) -> f32) -> Results {
        Results::from([(String::from("x"), Shown::of(&values(change)))])
    }

    /// 1 in the first `share` of the elements, 0 elsewhere.
    fn patch(share: f32) -> impl Fn(usize) -> f32 {
        move |i| if (i as f32) < 5000.0 * share { 1.0 } else { 0.0 }
    }

    #[test]
    fn every_element_counts_without_kinks() {
        let ours = results(|_| 0.0);
        agree(&ours, &ours, None).expect("the same");
        agree(&ours, &results(|_| 3e-5), None).expect("rounded");
        let refused = |theirs: &Results| agree(&ours, theirs, None).expect_err("another").to_string();
        assert!(refused(&results(patch(1e-3))).contains("x differs by"));
        assert!(refused(&results(|i| if i == 0 { f32::NAN } else { 0.0 })).contains("inf"));
        assert!(refused(&Results::new()).contains("one result only"));
        assert!(agree(&Results::new(), &ours, None).is_err());
        let reversed: Vec<f32> = values(|_| 0.0).into_iter().rev().collect();
        assert!(refused(&Results::from([("x".into(), Shown::of(&reversed))])).contains("differs"));
        assert!(refused(&Results::from([("x".into(), Shown::of(&reversed[..10]))])).contains("inf"));
    }

    /// About as many elements as PyTorch's may differ, wherever they are; no more.
    #[test]
    fn elements_behind_kinks_are_counted() {
        let kinks = |share| Kinks::new(&["x"], results(|_| 0.0), &results(patch(share)));
        let with = kinks(0.1).expect("few");
        let ours = results(|_| 0.0);
        let reversed = |i: usize| patch(0.2)(4999 - i);
        agree(&ours, &results(reversed), Some(&with)).expect("as many elsewhere");
        let refused = |theirs: &Results| agree(&ours, theirs, Some(&with)).expect_err("another").to_string();
        assert!(refused(&results(patch(0.3))).contains("expected at most 26."));
        assert!(refused(&results(|_| 1e-2)).contains("100.0 %"));
        assert!(refused(&results(|_| f32::NAN)).contains("100.0 %"));
        assert!(refused(&Results::new()).contains("one result only"));
        agree(&ours, &results(patch(0.4)), Some(&with.of_fast_algorithms())).expect("fewer than half");
        assert!(agree(&ours, &results(patch(0.6)), Some(&with.of_fast_algorithms())).is_err());
        // One that no kink changes must have nearly none.
        let smooth = kinks(0.0).expect("none");
        assert!(agree(&ours, &results(patch(0.1)), Some(&smooth)).is_err());
        // Where most differ nothing can be said, nor where there is nothing to compare with.
        assert!(kinks(0.5).is_err_and(|e| e.to_string().contains("50 %")));
        assert!(Kinks::new(&["y"], results(|_| 0.0), &results(|_| 0.0)).is_err());
    }
}
