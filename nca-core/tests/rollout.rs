//! The rollout's schedule: how often steps run, how much memory they take, what is refused.
//!
//! That its values and gradients are right is the suite's business (`nca_core::testkit::rollout`).

use std::collections::HashMap;

use nca_core::backend::{Device, MaskKey, NcaStep, upload_params, zero_params};
use nca_core::reference::Reference;
use nca_core::testkit::Faulty;
use nca_core::{Error, Grid, HostParams, Nca, NcaConfig, Params, Preset, Rollout, seed_state};
use proptest::prelude::*;

type Backend = Faulty<Reference<f32>>;

const GRID: Grid = Grid {
    batch: 2,
    height: 3,
    width: 4,
};
/// Elements of a state of [`Fixture`].
const STATE: usize = 4 * 2 * 3 * 4;
/// Bytes of a state.
const BYTES: usize = STATE * size_of::<f32>();

/// An automaton on a backend that counts.
struct Fixture {
    backend: Backend,
    config: NcaConfig,
    params: Params<Vec<f32>>,
    x0: Vec<f32>,
}

impl Fixture {
    fn new() -> Self {
        let backend = Faulty::new(Reference::new(), None);
        let Nca { config, params } = Nca::preset(Preset::Notebook, 4, 5, 1).unwrap();
        Self {
            params: upload_params(&backend, &params).unwrap(),
            x0: seed_state(&config, GRID, 2),
            backend,
            config,
        }
    }

    fn rollout(&self, max_steps: u32, slots: usize) -> Rollout<Backend> {
        Rollout::new(&self.backend, &self.config, GRID, max_steps, slots * BYTES).unwrap()
    }

    fn forward(&self, rollout: &mut Rollout<Backend>, steps: u32, frames: &[u32]) -> nca_core::Result<()> {
        rollout.forward(&self.backend, &self.params, &self.x0, 3, steps, frames, |_, _| Ok(()))
    }

    fn backward(&self, rollout: &mut Rollout<Backend>, frames: &[u32]) -> nca_core::Result<()> {
        let mut grads = zero_params(&self.backend, &self.config)?;
        rollout.backward(&self.backend, &self.params, &mut grads, frames, |_, _, _| Ok(()))
    }
}

/// Fewest steps run to reverse `n` steps from a stored state with room for `free` more, the last
/// step's own forward not counted, found by trying every place for the next stored state.
fn fewest_steps(n: u32, free: usize, known: &mut HashMap<(u32, usize), u64>) -> u64 {
    if n <= 1 {
        return 0;
    }
    if free == 0 {
        return u64::from(u32::MAX);
    }
    if let Some(&steps) = known.get(&(n, free)) {
        return steps;
    }
    let steps = (1..n)
        .map(|m| u64::from(m) + fewest_steps(n - m, free - 1, known) + fewest_steps(m, free, known))
        .min()
        .unwrap_or(0);
    known.insert((n, free), steps);
    steps
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn as_few_steps_run_as_the_memory_allows(steps in 1..=60_u32, slots in 2..=61_usize, frames in any::<u64>()) {
        let fixture = Fixture::new();
        let mut rollout = fixture.rollout(60, slots);
        let frames: Vec<u32> = (1..steps).filter(|t| frames >> t & 1 == 1).collect();
        fixture.forward(&mut rollout, steps, &frames).unwrap();
        prop_assert_eq!(fixture.backend.steps(), u64::from(steps));
        fixture.backward(&mut rollout, &frames).unwrap();
        // The forward pass is the first descent of the schedule, plus its very last step.
        let fewest = fewest_steps(steps, rollout.slots() - 1, &mut HashMap::new()) + 1;
        prop_assert_eq!(fixture.backend.steps(), fewest);
        prop_assert_eq!(u64::from(steps) + rollout.recomputed(steps), fewest);
        prop_assert_eq!(fixture.backend.backward_steps(), u64::from(steps));
    }
}

/// The figures that the documentation of `Rollout` gives.
#[test]
fn the_price_of_memory() {
    let recomputed = |steps: u32, slots: usize| {
        let fixture = Fixture::new();
        let mut rollout = fixture.rollout(steps, slots);
        fixture.forward(&mut rollout, steps, &[]).unwrap();
        fixture.backward(&mut rollout, &[]).unwrap();
        (fixture.backend.steps() - u64::from(steps)) as f64 / f64::from(steps)
    };
    assert_eq!(recomputed(100, 100), 0.0);
    assert!(recomputed(100, 50) <= 0.5);
    assert!(recomputed(100, 14) <= 1.0, "a little more than √(2·100) states");
    assert!(recomputed(1000, 8) <= 5.0, "a handful of states for a long rollout");
}

#[test]
fn slots_follow_the_budget() {
    let fixture = Fixture::new();
    for (budget, slots) in [
        (0, 2),
        (BYTES, 2),
        (5 * BYTES + 1, 5),
        (6 * BYTES - 1, 5),
        (99 * BYTES, 20),
    ] {
        let rollout = Rollout::new(&fixture.backend, &fixture.config, GRID, 20, budget).unwrap();
        assert_eq!(rollout.slots(), slots, "{budget} bytes");
    }
    assert_eq!(fixture.rollout(1, 9).slots(), 2);
}

#[test]
fn memory_is_as_documented_and_taken_once() {
    for slots in [2, 5, 20] {
        let fixture = Fixture::new();
        let reference = Reference::<f32>::new();
        let scratch: usize = [
            reference.nca_step_scratch(&fixture.config, GRID),
            reference.nca_step_backward_scratch(&fixture.config, GRID),
        ]
        .concat()
        .iter()
        .sum();
        let before = fixture.backend.allocated();
        let mut rollout = fixture.rollout(20, slots);
        for round in 0..3 {
            fixture.forward(&mut rollout, 20, &[7]).unwrap();
            let at_most = before + ((slots + 4) * STATE + scratch) as u64;
            let allocated = fixture.backend.allocated();
            assert!(allocated <= at_most, "{allocated} > {at_most} with {slots} slots");
            let peak = allocated;
            rollout
                .backward(
                    &fixture.backend,
                    &fixture.params,
                    &mut HostParams::zeros(&fixture.config),
                    &[7],
                    |_, _, _| Ok(()),
                )
                .unwrap();
            assert_eq!(
                fixture.backend.allocated(),
                peak,
                "backward took memory in round {round}"
            );
        }
    }
}

#[test]
fn frames_are_visited_in_order_and_once() {
    let fixture = Fixture::new();
    for slots in [2, 4, 12] {
        let mut rollout = fixture.rollout(12, slots);
        let frames = [1, 2, 6, 11, 12];
        let mut visited = Vec::new();
        let visit = |t: u32, state: &Vec<f32>| {
            visited.push((t, state.clone()));
            Ok(())
        };
        rollout
            .forward(&fixture.backend, &fixture.params, &fixture.x0, 3, 12, &frames, visit)
            .unwrap();
        assert_eq!(visited.iter().map(|(t, _)| *t).collect::<Vec<_>>(), frames);
        assert_eq!(visited[4].1, *rollout.last());

        let mut injected = Vec::new();
        let inject = |t: u32, state: &Vec<f32>, _: &mut Vec<f32>| {
            injected.push((t, state.clone()));
            Ok(())
        };
        let mut grads = zero_params(&fixture.backend, &fixture.config).unwrap();
        rollout
            .backward(&fixture.backend, &fixture.params, &mut grads, &frames[..4], inject)
            .unwrap();
        injected.reverse();
        assert_eq!(injected, visited[..4]);
    }
}

/// A rollout whose gradient starts at step 7 is one of its last steps from the state there: the same
/// states, the same gradients, and no more recomputed than those steps ask for.
#[test]
fn a_truncated_rollout_is_its_last_part() {
    const FROM: u32 = 7;
    const STEPS: u32 = 18;
    let fixture = Fixture::new();
    let Fixture {
        backend, params, x0, ..
    } = &fixture;
    for slots in [2, 4, 18] {
        let frames = [3, FROM, 9, STEPS];
        let run = |from: u32| {
            let mut rollout = fixture.rollout(STEPS, slots);
            let mut visited = Vec::new();
            let visit = |t: u32, state: &Vec<f32>| {
                visited.push((t, state.clone()));
                Ok(())
            };
            rollout
                .forward_from(backend, params, x0, 3, from, STEPS, &frames, visit)
                .unwrap();
            let (last, grad) = rollout.last_and_grad_mut();
            backend.copy(last, 0, grad, 0, STATE).unwrap();
            let mut grads = zero_params(backend, &fixture.config).unwrap();
            let before = backend.steps();
            let inject = |_: u32, state: &Vec<f32>, grad: &mut Vec<f32>| {
                grad.iter_mut().zip(state).for_each(|(g, s)| *g += s);
                Ok(())
            };
            rollout.backward(backend, params, &mut grads, &[9], inject).unwrap();
            assert_eq!(backend.steps() - before, rollout.recomputed(STEPS - from));
            (visited, rollout.grad_mut().clone(), grads)
        };
        let (visited, grad, grads) = run(FROM);
        let (all_visited, _, all_grads) = run(0);
        assert_eq!(visited, all_visited);
        assert_ne!(grads, all_grads, "the first steps had a part");

        // The same by hand: single steps with the same masks.
        let mut states = vec![visited[1].1.clone()];
        let mut scratch = backend
            .scratch(&backend.nca_step_scratch(&fixture.config, GRID))
            .unwrap();
        for step in FROM..STEPS {
            let mut next = vec![0.0; STATE];
            let key = MaskKey { seed: 3, step };
            let x = states.last().unwrap();
            backend
                .nca_step(&fixture.config, GRID, params, key, x, &mut next, &mut scratch)
                .unwrap();
            states.push(next);
        }
        assert_eq!(states.last(), Some(&visited[3].1));
        let mut g = states.last().unwrap().clone();
        let mut by_hand = zero_params(backend, &fixture.config).unwrap();
        let mut scratch = backend
            .scratch(&backend.nca_step_backward_scratch(&fixture.config, GRID))
            .unwrap();
        for step in (FROM..STEPS).rev() {
            let mut before = vec![0.0; STATE];
            let x = &states[(step - FROM) as usize];
            let key = MaskKey { seed: 3, step };
            backend
                .nca_step_backward(
                    &fixture.config,
                    GRID,
                    params,
                    key,
                    x,
                    &g,
                    &mut before,
                    &mut by_hand,
                    &mut scratch,
                )
                .unwrap();
            g = before;
            if step == 9 {
                g.iter_mut().zip(x).for_each(|(g, s)| *g += s);
            }
        }
        assert_eq!(grad, g);
        assert_eq!(grads, by_hand);
    }
    let mut rollout = fixture.rollout(6, 3);
    let refused = rollout.forward_from(backend, params, x0, 3, 7, 6, &[], |_, _| Ok(()));
    assert!(refused.unwrap_err().to_string().contains("at most 6"));
    // Frames at or before the start of the gradient take none.
    rollout
        .forward_from(backend, params, x0, 3, 4, 6, &[4], |_, _| Ok(()))
        .unwrap();
    assert!(
        fixture
            .backward(&mut rollout, &[4])
            .unwrap_err()
            .to_string()
            .contains("5 to 5")
    );
    fixture.backward(&mut rollout, &[5]).unwrap();
}

#[test]
fn frames_out_of_order_or_range_are_refused() {
    let fixture = Fixture::new();
    let mut rollout = fixture.rollout(10, 3);
    for frames in [&[0][..], &[11], &[3, 3], &[4, 2], &[1, 10, 11]] {
        let error = fixture.forward(&mut rollout, 10, frames).unwrap_err();
        assert!(matches!(error, Error::Invalid { .. }), "{error}");
        assert!(error.to_string().contains("1 to 10"), "{error}");
    }
    fixture.forward(&mut rollout, 10, &[10]).unwrap();
    // The gradient after the last step is set before backward, not injected.
    for frames in [&[0][..], &[10], &[3, 3], &[4, 2]] {
        let error = fixture.backward(&mut rollout, frames).unwrap_err();
        assert!(error.to_string().contains("1 to 9"), "{error}");
    }
    fixture.backward(&mut rollout, &[9]).unwrap();
}

#[test]
fn what_cannot_run_is_refused() {
    let fixture = Fixture::new();
    let Fixture { backend, config, .. } = &fixture;
    assert!(Rollout::new(backend, config, GRID, 0, 0).is_err());
    assert!(Rollout::new(backend, config, Grid::new(0, 3, 3), 5, 0).is_err());
    let broken = NcaConfig {
        channels: 2,
        ..config.clone()
    };
    assert!(Rollout::new(backend, &broken, GRID, 5, 0).is_err());

    let mut rollout = fixture.rollout(5, 3);
    let short = vec![0.0; STATE - 1];
    let error = rollout
        .forward(backend, &fixture.params, &short, 0, 5, &[], |_, _| Ok(()))
        .unwrap_err();
    assert!(matches!(error, Error::Length { .. }), "{error}");
}

#[test]
fn a_second_backward_needs_a_second_forward() {
    let fixture = Fixture::new();
    let mut rollout = fixture.rollout(6, 3);
    // Nothing has run: there is nothing to go back through.
    fixture.backward(&mut rollout, &[]).unwrap();
    fixture.forward(&mut rollout, 6, &[]).unwrap();
    fixture.backward(&mut rollout, &[]).unwrap();
    assert!(fixture.backward(&mut rollout, &[]).is_err());
    fixture.forward(&mut rollout, 6, &[]).unwrap();
    fixture.backward(&mut rollout, &[]).unwrap();
}

#[test]
fn no_steps_leave_the_state_as_it_is() {
    let fixture = Fixture::new();
    let mut rollout = fixture.rollout(6, 3);
    fixture.forward(&mut rollout, 6, &[]).unwrap();
    fixture.forward(&mut rollout, 0, &[]).unwrap();
    assert_eq!(*rollout.last(), fixture.x0);
    fixture.backward(&mut rollout, &[]).unwrap();
}

#[test]
fn more_steps_than_planned_for_run_all_the_same() {
    let fixture = Fixture::new();
    let mut planned = fixture.rollout(23, 23);
    let mut surprised = fixture.rollout(4, 4);
    for rollout in [&mut planned, &mut surprised] {
        fixture.forward(rollout, 23, &[]).unwrap();
        let (last, grad) = rollout.last_and_grad_mut();
        fixture.backend.copy(last, 0, grad, 0, STATE).unwrap();
        fixture.backward(rollout, &[]).unwrap();
    }
    assert_eq!(planned.last(), surprised.last());
    assert_eq!(planned.grad_mut(), surprised.grad_mut());
}

#[test]
fn errors_of_the_caller_are_passed_on() {
    let fixture = Fixture::new();
    let mut rollout = fixture.rollout(6, 3);
    let stop = || Error::invalid("frame", "unwanted", "another one");
    let visit = |_: u32, _: &Vec<f32>| Err(stop());
    let answer = rollout.forward(&fixture.backend, &fixture.params, &fixture.x0, 3, 6, &[2], visit);
    assert!(answer.is_err());
    fixture.forward(&mut rollout, 6, &[]).unwrap();
    let mut grads = zero_params(&fixture.backend, &fixture.config).unwrap();
    let inject = |_: u32, _: &Vec<f32>, _: &mut Vec<f32>| Err(stop());
    let answer = rollout.backward(&fixture.backend, &fixture.params, &mut grads, &[4], inject);
    assert!(answer.is_err());
    // And the rollout is usable afterwards.
    fixture.forward(&mut rollout, 6, &[]).unwrap();
    fixture.backward(&mut rollout, &[]).unwrap();
}
