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
    let mut value: u128 = 1;
    for i in 1..=repeats {
        // The product is divided at once: 128 bits hold it wherever 64 hold the result.
        value = value * u128::from(checkpoints + i) / u128::from(i);
        if value > u128::from(u64::MAX) {
            return u64::MAX;
        }
    }
    value as u64
}

/// How often steps must run forward for `n` of them to be reversed with that many checkpoints, at least one.
fn repeats_for(n: u64, checkpoints: u64) -> u64 {
    let (mut repeats, mut reach) = (1, checkpoints + 1);
    while reach < n {
        repeats += 1;
        reach = reach * (checkpoints + repeats) / repeats;
    }
    repeats
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
    if free == 1 {
        return steps - 1;
    }
    // The state at the start of the segment is a checkpoint, one free slot is the working state.
    let checkpoints = free as u64;
    let repeats = repeats_for(n, checkpoints);
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
    let repeats = repeats_for(n, checkpoints);
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
            .saturating_sub(most.saturating_mul(state))
            .checked_div(activations)
            .unwrap_or(0);
        if left > 0 {
            return with(left.min(steps as usize));
        }
        let affordable = budget
            .saturating_sub(least * state)
            .checked_div(activations)
            .unwrap_or(0);
        let mut best = with(0);
        let mut least = best.cost(steps, f64::INFINITY);
        for split in (1..=affordable.min(MOST_FOR_STATES)).map(with) {
            let cost = split.cost(steps, least);
            if cost < least {
                (best, least) = (split, cost);
            }
        }
        best
    }

    /// What depends on the split of the time of `steps` steps and back, in steps; at least `enough` where it is not
    /// below that.
    fn cost(self, steps: u32, enough: f64) -> f64 {
        let run = least_steps(steps, self.slots - 1) as f64;
        // Were all of them spared, it would not be enough; and to follow so long a schedule takes long.
        if (1.0 - SAVED) * run >= enough {
            return enough;
        }
        run - SAVED * self.activated(steps) as f64
    }

    /// Steps that have activations when they are reversed, of `steps` steps.
    fn activated(self, steps: u32) -> u64 {
        if self.activations == 0 {
            return 0;
        }
        let (mut activated, mut segments) = (0, vec![(steps, self.slots - 1)]);
        while let Some((steps, free)) = segments.pop() {
            let run = (steps as usize).saturating_sub(1);
            if run <= free {
                activated += run.min(self.activations) as u64;
            } else {
                let distance = advance(steps, free);
                segments.extend([(steps - distance, free - 1), (distance, free)]);
            }
        }
        activated
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

    /// With one slot more than the first state, step `n` is reached from the start, and then each of those before.
    #[test]
    fn long_rollouts_are_counted_exactly() {
        let n = 4_000_000;
        assert_eq!(least_steps(n, 1), u64::from(n) * u64::from(n - 1) / 2);
    }

    #[test]
    fn the_budget_is_split_to_advantage() {
        let (state, activations) = (100, 50);
        let split = |budget: usize, steps: u32| Split::new(budget, state, activations, steps, 2);
        for steps in [1, 2, 20, 64, 300, 50_000] {
            for budget in [0, 99, 250, 500, 1600, 3200, 6400, 9000, 100_000] {
                let Split {
                    slots,
                    activations: kept,
                } = split(budget, steps);
                assert!(kept <= (steps as usize).max(MOST_FOR_STATES), "{kept} of {steps} steps");
                assert!(
                    kept == 0 || slots * state + kept * activations <= budget,
                    "{slots}, {kept} in {budget}"
                );
                let plain = Split::new(budget, state, 0, steps, 2);
                let fitting = (budget / state).clamp(2, (steps as usize).max(2));
                assert_eq!((plain.slots, plain.activations), (fitting, 0));
                let cost = |split: Split| split.cost(steps, f64::INFINITY);
                assert!(cost(split(budget, steps)) <= cost(plain), "{budget}, {steps}");
            }
        }
        // Half the states of 64 steps: some of them make room for the activations of what is recomputed.
        let Split {
            slots,
            activations: kept,
        } = split(32 * state, 64);
        assert!(kept > 3 && slots > 25, "{slots}, {kept}");
        // All states, and activations of half the steps.
        let Split {
            slots,
            activations: kept,
        } = split(64 * state + 32 * activations, 64);
        assert_eq!((slots, kept), (64, 32));
    }

    /// By the definition of the schedule.
    #[test]
    fn activations_are_counted_where_all_states_are_stored() {
        fn count(steps: u32, free: usize, most: u64) -> u64 {
            let run = u64::from(steps) - 1;
            if run <= free as u64 {
                return run.min(most);
            }
            let distance = advance(steps, free);
            count(steps - distance, free - 1, most) + count(distance, free, most)
        }
        for (steps, slots, activations) in [(1, 2, 3), (9, 9, 4), (64, 20, 7), (100, 3, 1)] {
            let split = Split { slots, activations };
            assert_eq!(split.activated(steps), count(steps, slots - 1, activations as u64));
        }
    }

    #[test]
    fn nothing_is_recomputed_when_all_fits() {
        assert_eq!(planned(64, 63), 63);
    }
}
