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
    fn nothing_is_recomputed_when_all_fits() {
        assert_eq!(planned(64, 63), 63);
    }
}
