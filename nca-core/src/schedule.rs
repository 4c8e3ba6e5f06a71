//! Which states a rollout keeps when not all of them fit.
//!
//! Reversing `n` steps is the checkpointing problem of Griewank & Walther (*Algorithm 799: revolve*,
//! TOMS 2000). Of the stored states one is the working state, the input of the step reversed next;
//! the others are checkpoints. With `c` checkpoints, `C(c + r, c)` steps can be reversed with no step
//! run forward more than `r` times: about √n checkpoints for one recomputation, and a handful for
//! very long rollouts at the price of a few more.

/// `C(checkpoints + repeats, checkpoints)`, saturating: the most steps that can be reversed when
/// each may run forward `repeats` times.
fn reach(checkpoints: u64, repeats: u64) -> u64 {
    let mut value: u64 = 1;
    for i in 1..=repeats {
        value = match value.checked_mul(checkpoints + i) {
            Some(v) => v / i,
            None => return u64::MAX,
        };
    }
    value
}

/// How far to advance from a stored state before storing the next one, when `steps` steps are to
/// be reversed and `free` more states can be kept (`steps ≥ 2`, `free ≥ 1`).
///
/// With everything kept this is 1, with one free slot `steps − 1`; the choice minimises the number
/// of steps recomputed.
pub(crate) fn advance(steps: u32, free: usize) -> u32 {
    let n = u64::from(steps);
    if n <= free as u64 + 1 {
        return 1;
    }
    // The state at the start of the segment is a checkpoint, one free slot is the working state.
    let checkpoints = free as u64;
    let mut repeats = 1;
    while reach(checkpoints, repeats) < n {
        repeats += 1;
    }
    // The right part is reversed with one checkpoint less and may use all repeats; the left part
    // keeps its checkpoints and has one repeat less. Any split within these bounds is optimal
    // (Griewank & Walther, proposition 1); take the shortest left part.
    let least = reach(checkpoints, repeats.saturating_sub(2)).max(n.saturating_sub(reach(checkpoints - 1, repeats)));
    least.clamp(1, n - 1) as u32
}

/// Fewest steps run forward to reverse `steps` steps from a stored state with room for `free` more,
/// the forward of the last step itself not counted: `r·n − C(free + r, r − 1)`, r being the repeats
/// that are needed (Griewank & Walther, proposition 1).
pub(crate) fn least_steps(steps: u32, free: usize) -> u64 {
    let (n, checkpoints) = (u64::from(steps), free as u64);
    if n <= 1 {
        return 0;
    }
    let mut repeats = 1;
    while reach(checkpoints, repeats) < n {
        repeats += 1;
    }
    repeats * n - reach(checkpoints + 1, repeats - 1)
}

/// What a rollout's budget is spent on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Split {
    /// Most states stored.
    pub(crate) slots: usize,
    /// Most activations kept at a time.
    pub(crate) activations: usize,
}

/// Share of a step that its backward saves where the activations were kept: the first of two layers on four kernels,
/// `8·C·D` of `10·C·D`.
const SAVED: f64 = 0.8;
/// Most activations for which states are given up. They are kept for a run of steps whose states are all stored, and
/// runs are short where not all states are.
const MOST_FOR_STATES: usize = 64;

impl Split {
    /// The cheapest one of `budget` bytes for rollouts of `steps` steps, of which at least `least` states are stored.
    /// `state` and `activations` are the bytes of one of each, the latter 0 where none are kept.
    pub(crate) fn new(budget: usize, state: usize, activations: usize, steps: u32, least: usize) -> Self {
        let most = (steps as usize).max(least);
        let with = |count: usize| Self {
            slots: (budget.saturating_sub(count * activations) / state).clamp(least, most),
            activations: count,
        };
        let left = budget
            .saturating_sub(most * state)
            .checked_div(activations)
            .unwrap_or(0);
        if left > 0 {
            return with(left.min(steps as usize));
        }
        let affordable = budget
            .saturating_sub(least * state)
            .checked_div(activations)
            .unwrap_or(0);
        (0..=affordable.min(MOST_FOR_STATES))
            .map(with)
            .min_by(|a, b| a.cost(steps).total_cmp(&b.cost(steps)))
            .unwrap_or(with(0))
    }

    /// What depends on the split of the time of `steps` steps and back, in steps.
    fn cost(self, steps: u32) -> f64 {
        let (run, saved) = self.reverse(steps, self.slots - 1);
        run as f64 - SAVED * saved as f64
    }

    /// Steps run to reverse `steps` steps from a stored state with room for `free` more, and how many of them then
    /// have activations.
    fn reverse(self, steps: u32, free: usize) -> (u64, u64) {
        let runs = u64::from(steps.saturating_sub(1));
        if runs <= free as u64 {
            return (runs, runs.min(self.activations as u64));
        }
        let distance = advance(steps, free);
        let (right, left) = (self.reverse(steps - distance, free - 1), self.reverse(distance, free));
        (u64::from(distance) + right.0 + left.0, right.1 + left.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

    const IMPOSSIBLE: u64 = u64::MAX / 4;

    /// Fewest forward steps needed to reverse `n` steps from a stored state with `free` more slots,
    /// by trying every split.
    fn optimal(n: u32, free: usize, memo: &mut HashMap<(u32, usize), u64>) -> u64 {
        if n <= 1 {
            return 0;
        }
        if free == 0 {
            return IMPOSSIBLE;
        }
        if let Some(&cost) = memo.get(&(n, free)) {
            return cost;
        }
        let mut best = IMPOSSIBLE;
        for m in 1..n {
            best = best.min(u64::from(m) + optimal(n - m, free - 1, memo) + optimal(m, free, memo));
        }
        memo.insert((n, free), best);
        best
    }

    fn planned(n: u32, free: usize) -> u64 {
        match (n, free) {
            (0 | 1, _) => 0,
            (_, 0) => IMPOSSIBLE,
            _ => {
                let m = advance(n, free);
                u64::from(m) + planned(n - m, free - 1) + planned(m, free)
            }
        }
    }

    #[test]
    fn splits_are_optimal() {
        let mut memo = HashMap::new();
        for free in 1..12 {
            for n in 2..90 {
                assert_eq!(planned(n, free), optimal(n, free, &mut memo), "{n} steps, {free} slots");
                assert_eq!(planned(n, free), least_steps(n, free), "{n} steps, {free} slots");
            }
        }
    }

    #[test]
    fn the_budget_is_split_to_advantage() {
        let (state, activations) = (100, 50);
        for steps in [1, 2, 20, 64, 300] {
            for budget in [0, 99, 250, 500, 1600, 3200, 6400, 9000, 100_000] {
                let split = Split::new(budget, state, activations, steps, 2);
                let plain = Split::new(budget, state, 0, steps, 2);
                let Split {
                    slots,
                    activations: kept,
                } = split;
                assert_eq!(
                    plain,
                    Split {
                        slots: (budget / state).clamp(2, (steps as usize).max(2)),
                        activations: 0
                    }
                );
                assert!(kept <= steps as usize || kept <= MOST_FOR_STATES, "{split:?}");
                assert!(
                    kept == 0 || slots * state + kept * activations <= budget,
                    "{split:?} in {budget}"
                );
                assert!(split.cost(steps) <= plain.cost(steps), "{split:?}, {plain:?}");
                // The schedule counted is the one that is known to be optimal for the slots.
                assert_eq!(split.reverse(steps, slots - 1).0, least_steps(steps, slots - 1));
            }
        }
        // Half the states of 64 steps: some of them make room for the activations of what is recomputed.
        let split = Split::new(32 * state, state, activations, 64, 2);
        assert!(split.activations > 3 && split.slots > 25, "{split:?}");
        // All states, and activations of half the steps.
        let split = Split::new(64 * state + 32 * activations, state, activations, 64, 2);
        assert_eq!(
            split,
            Split {
                slots: 64,
                activations: 32
            }
        );
    }

    #[test]
    fn nothing_is_recomputed_when_all_fits() {
        assert_eq!(planned(64, 63), 63);
    }
}
