//! Rollouts that keep activations: within their budget, and to the bit as those that keep none.

use nca_core::backend::{Device, RolloutSteps, upload_params, zero_params};
use nca_core::cpu::{Buffer, Cpu};
use nca_core::testkit::Faulty;
use nca_core::{Error, Grid, Nca, NcaConfig, Params, Preset, Result, Rollout, seed_state};

type Backend = Faulty<Cpu>;

const GRID: Grid = Grid {
    batch: 2,
    height: 6,
    width: 17,
};
/// Steps that rollouts have room for.
const PLANNED: u32 = 20;

/// An automaton wide enough on a backend that counts.
struct Fixture {
    backend: Backend,
    config: NcaConfig,
    params: Params<Buffer>,
    x0: Buffer,
    /// Elements of a state.
    state: usize,
    /// Elements of the activations of a step.
    activations: usize,
}

impl Fixture {
    fn new() -> Self {
        let backend = Faulty::new(Cpu::with_threads(2).unwrap(), None);
        let Nca { config, mut params } = Nca::preset(Preset::Notebook, 24, 33, 1).unwrap();
        params.w2 = (0..params.w2.len()).map(|i| 0.1 * (i as f32 * 0.7).sin()).collect();
        Self {
            params: upload_params(&backend, &params).unwrap(),
            x0: backend.buffer(&seed_state(&config, GRID, 2)).unwrap(),
            state: config.channels * GRID.cells(),
            activations: backend.activations_len(&config, GRID),
            backend,
            config,
        }
    }

    /// Room for so many states and activations.
    fn rollout(&self, states: usize, activations: usize) -> (Rollout<Backend>, usize) {
        let elements = states * self.state + activations * self.activations;
        let bytes = elements * size_of::<f32>();
        let rollout = Rollout::new(&self.backend, &self.config, GRID, PLANNED, bytes).unwrap();
        (rollout, elements)
    }

    fn forward(
        &self,
        rollout: &mut Rollout<Backend>,
        (from, steps): (u32, u32),
        frames: &[u32],
        visit: impl FnMut(u32, &Buffer) -> Result<()>,
    ) -> Result<()> {
        rollout.forward_from(&self.backend, &self.params, &self.x0, 3, from, steps, frames, visit)
    }

    /// The last state, its gradient through steps `from..steps` and those of the parameters, for a loss that is half the
    /// square of the last state and of that after the middle step.
    fn run(&self, rollout: &mut Rollout<Backend>, (from, steps): (u32, u32)) -> Vec<Vec<f32>> {
        let backend = &self.backend;
        let frame = Some(u32::midpoint(from, steps)).filter(|&frame| from < frame && frame < steps);
        let frames: Vec<u32> = frame.into_iter().collect();
        self.forward(rollout, (from, steps), &frames, |_, _| Ok(())).unwrap();
        let (last, grad) = rollout.last_and_grad_mut();
        backend.copy(last, 0, grad, 0, self.state).unwrap();
        let mut found = vec![last.to_vec()];
        let mut grads = zero_params(backend, &self.config).unwrap();
        let inject = |_: u32, state: &Buffer, grad: &mut Buffer| {
            grad.iter_mut().zip(&state[..]).for_each(|(g, s)| *g += s);
            Ok(())
        };
        rollout
            .backward(backend, &self.params, &mut grads, &frames, inject)
            .unwrap();
        found.push(rollout.grad_mut().to_vec());
        found.extend(grads.iter().map(|grad| grad.to_vec()));
        found
    }
}

#[test]
fn budgets_are_kept_and_change_no_bit() {
    let fixture = Fixture::new();
    assert!(fixture.activations > 0);
    // Longer than planned for, too.
    let rollouts = [(0, PLANNED), (7, PLANNED), (0, 26), (3, 4), (5, 5)];
    let (mut plain, _) = fixture.rollout(0, 0);
    let expected = rollouts.map(|steps| fixture.run(&mut plain, steps));
    for (states, activations) in [(3, 0), (8, 0), (12, 0), (20, 0), (20, 3), (20, 20), (40, 40)] {
        let before = fixture.backend.allocated();
        let (mut rollout, budget) = fixture.rollout(states, activations);
        for round in 0..2 {
            let peak = fixture.backend.allocated();
            for (steps, expected) in rollouts.into_iter().zip(&expected) {
                let found = fixture.run(&mut rollout, steps);
                assert!(
                    found == *expected,
                    "{states} states, {activations} activations, {steps:?}"
                );
            }
            // Those of the parameters are the test's own.
            let grads = rollouts.len() * fixture.params.iter().map(|p| p.len()).sum::<usize>();
            let taken = fixture.backend.allocated() as usize - before as usize - (round + 1) * grads;
            assert!(taken <= budget + 4 * fixture.state, "{taken} > {budget} + 4 states");
            if round > 0 {
                assert_eq!(fixture.backend.allocated(), peak + grads as u64, "memory is taken once");
            }
            // Whole states alone would be a multiple of one.
            let some = !taken.is_multiple_of(fixture.state);
            assert!(
                some || activations == 0,
                "none kept: {states} states, {activations} activations"
            );
        }
    }
}

#[test]
fn a_rollout_that_was_interrupted_leaves_nothing_behind() {
    let fixture = Fixture::new();
    let (mut rollout, _) = fixture.rollout(20, 20);
    let steps = (0, PLANNED);
    let stop = |t: u32, _: &Buffer| match t {
        19 => Err(Error::invalid("frame", t, "another one")),
        _ => Ok(()),
    };
    assert!(fixture.forward(&mut rollout, steps, &[4, 19], stop).is_err());
    // The gradient of a rollout without an end means nothing; it is computed from what there is.
    let mut grads = zero_params(&fixture.backend, &fixture.config).unwrap();
    rollout
        .backward(&fixture.backend, &fixture.params, &mut grads, &[], |_, _, _| Ok(()))
        .unwrap();
    let expected = fixture.run(&mut fixture.rollout(0, 0).0, steps);
    assert!(fixture.run(&mut rollout, steps) == expected);
}
