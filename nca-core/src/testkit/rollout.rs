//! Rollouts: the same bits whatever the memory budget, and the oracle's values.

use proptest::prelude::*;

use super::cases::{NcaCase, first_of_seeds, for_all, tiny_nca_cases, wide_nca_cases};
use super::compare::{Mismatch, Tolerance, compare, compare_bits};
use super::derivative::check_gradient;
use super::host::{
    download, download_all, oracle, poisoned, poisoned_scratch, refuses_wrong_lengths, upload, upload_all,
};
use super::kinks::{STEP_MARGIN, step_distance};
use super::mlp::check_param_gradients;
use crate::backend::{Backend, MaskKey, zero_params};
use crate::error::Result;
use crate::params::Params;
use crate::precision::Precision;
use crate::reference::Reference;
use crate::rollout::Rollout;

type HostParams = Params<Vec<f64>>;

/// Size of the second layer's weights. Small updates keep the growth of rounding errors over
/// [`MAX_STEPS`] steps far below [`STEP_MARGIN`].
const GAIN: f64 = 0.05;

/// Longest rollout.
const MAX_STEPS: u32 = 20;

/// How much larger than the reference's own f32 error that of another f32 implementation may be.
///
/// A rollout multiplies rounding errors by the norm of a product of Jacobians, which no bound known
/// beforehand describes usefully. So the error of f32 arithmetic is measured for each chain, as the
/// largest difference between the reference in f32, with products in the backend's precision, and in f64. Another order of summation gives
/// errors of the same distribution, but other ones.
const OTHER_ORDER: f64 = 16.0;

/// A rollout and the frames at which losses enter besides the last.
#[derive(Clone, Debug)]
pub struct RolloutCase {
    /// The automaton; its key's seed is that of the rollout.
    pub nca: NcaCase,
    /// Steps.
    pub steps: u32,
    /// Ascending, each in `1..steps`.
    pub frames: Vec<u32>,
}

fn rollout_cases(automata: impl Strategy<Value = NcaCase>, most_steps: u32) -> impl Strategy<Value = RolloutCase> {
    // Each bit says whether a step is a frame; two words together make frames rare.
    (automata, 1..=most_steps, any::<u32>(), any::<u32>()).prop_map(|(nca, steps, a, b)| RolloutCase {
        nca: NcaCase {
            key: MaskKey {
                seed: nca.key.seed,
                step: 0,
            },
            ..nca
        },
        steps,
        frames: (1..steps).filter(|t| (a & b) >> t & 1 == 1).collect(),
    })
}

/// What goes into a rollout.
#[derive(Clone)]
struct Inputs {
    params: HostParams,
    x0: Vec<f64>,
    /// Gradients of the loss with respect to each frame, then to the last state.
    g_states: Vec<f64>,
    /// What the gradients of the parameters hold before.
    grads: HostParams,
}

/// What comes out of it.
struct Outputs {
    /// The states at each frame, then the last.
    states: Vec<f64>,
    g_x0: Vec<f64>,
    grads: HostParams,
}

impl RolloutCase {
    /// The case with inputs that stay [`STEP_MARGIN`] away from all kinks along the way.
    fn clear(&self) -> Result<(Self, Inputs), Mismatch> {
        first_of_seeds(self.nca.seed, "rollout", |seed| {
            let nca = self.nca.with_seed(seed);
            let case = Self { nca, ..self.clone() };
            let (nca, inputs) = (&case.nca, case.inputs());
            let distance =
                step_distance(&nca.config, nca.grid, &inputs.params, nca.key, self.steps, &inputs.x0).ok()?;
            (distance >= STEP_MARGIN).then_some((case, inputs))
        })
    }

    fn inputs(&self) -> Inputs {
        let nca = &self.nca;
        Inputs {
            params: nca.params(GAIN),
            x0: nca.numbers(0, nca.state_len()),
            g_states: nca.numbers(1, (self.frames.len() + 1) * nca.state_len()),
            grads: nca.param_numbers(2),
        }
    }

    /// Forward and backward with room for `slots` states.
    fn run<B: Backend>(&self, backend: &B, inputs: &Inputs, slots: usize) -> Result<Outputs, Mismatch> {
        let (config, grid, seed) = (&self.nca.config, self.nca.grid, self.nca.key.seed);
        let len = self.nca.state_len();
        let params = upload_all(backend, &inputs.params)?;
        let x0 = upload(backend, &inputs.x0)?;
        let budget = slots * len * size_of::<B::Elem>();
        let mut rollout = Rollout::new(backend, config, grid, MAX_STEPS, budget)?;
        // An earlier rollout, abandoned before its backward, must leave no trace.
        rollout.forward(backend, &params, &x0, !seed, MAX_STEPS - self.steps, &[], |_, _| Ok(()))?;

        let mut states = Vec::new();
        rollout.forward(backend, &params, &x0, seed, self.steps, &self.frames, |_, state| {
            states.extend(download(backend, state)?);
            Ok(())
        })?;
        let (last, grad) = rollout.last_and_grad_mut();
        states.extend(download(backend, last)?);
        let g_of = |i: usize| -> Vec<B::Elem> { elements(&inputs.g_states[i * len..(i + 1) * len]) };
        backend.upload(&g_of(self.frames.len()), grad)?;

        let mut grads = upload_all(backend, &inputs.grads)?;
        let mut seen = Vec::new();
        rollout.backward(backend, &params, &mut grads, &self.frames, |t, state, grad| {
            let i = self.frames.iter().take_while(|&&frame| frame < t).count();
            seen.push((i, download(backend, state)?));
            backend.axpy(1.0, &backend.buffer(&g_of(i))?, grad)
        })?;
        for (i, state) in seen {
            let op = "state at a frame in Rollout::backward";
            compare_bits(op, "state", &state, &states[i * len..(i + 1) * len])?;
        }
        Ok(Outputs {
            states,
            g_x0: download(backend, rollout.grad_mut())?,
            grads: download_all(backend, &grads)?,
        })
    }

    /// Room for as few states as possible, for a few, for all.
    fn slots(&self) -> [usize; 5] {
        let steps = self.steps as usize;
        [0, 3, 5, steps / 2, steps]
    }
}

fn elements<T: crate::real::Real>(values: &[f64]) -> Vec<T> {
    values.iter().map(|&v| T::of(v)).collect()
}

/// The same bits for every budget and for steps taken one by one; the oracle's values to within
/// [`OTHER_ORDER`] times the error that f32 makes along the chain.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&rollout_cases(tiny_nca_cases(), MAX_STEPS), |case| {
        let (case, inputs) = case.clear()?;
        let got = whatever_the_budget(backend, &case, &inputs, &case.slots())?;
        compare_with_oracle(&case, &inputs, backend.precision(), &got)
    })?;
    for_all(&rollout_cases(tiny_nca_cases(), MAX_STEPS), |case| {
        let (case, inputs) = case.clear()?;
        one_by_one(backend, &case, &inputs)?;
        lengths(backend, &case.nca)
    })?;
    // Wide enough that a backend may keep activations: of no step, of some that are run again, of some, of all. For one
    // that keeps none, wide automata are like others, and slow.
    for_all(&rollout_cases(wide_nca_cases(), 8), |case| {
        if backend.activations_len(&case.nca.config, case.nca.grid) == 0 {
            return Ok(());
        }
        let (inputs, most) = (case.inputs(), MAX_STEPS as usize);
        whatever_the_budget(backend, case, &inputs, &[0, 5, most, most + 2, 4 * most])?;
        one_by_one(backend, case, &inputs)?;
        lengths(backend, &case.nca)
    })
}

/// The same bits with room for as many states as each of `slots` says; returns those of the first.
fn whatever_the_budget<B: Backend>(
    backend: &B,
    case: &RolloutCase,
    inputs: &Inputs,
    slots: &[usize],
) -> Result<Outputs, Mismatch> {
    const OP: &str = "Rollout with another budget";
    let (fewest, others) = slots.split_first().unwrap_or((&0, &[]));
    let got = case.run(backend, inputs, *fewest)?;
    for slots in others {
        let other = case.run(backend, inputs, *slots)?;
        compare_bits(OP, "states", &other.states, &got.states)?;
        compare_bits(OP, "g_x0", &other.g_x0, &got.g_x0)?;
        let pairs = other.grads.iter().zip(got.grads.iter());
        for (name, (other, got)) in HostParams::NAMES.into_iter().zip(pairs) {
            compare_bits(OP, name, other, got)?;
        }
    }
    Ok(got)
}

fn compare_with_oracle(
    case: &RolloutCase,
    inputs: &Inputs,
    precision: Precision,
    got: &Outputs,
) -> Result<(), Mismatch> {
    let want = case.run(&oracle(), inputs, MAX_STEPS as usize)?;
    let reference = Reference::<f32>::new().with_precision(precision);
    let single = case.run(&reference, inputs, MAX_STEPS as usize)?;
    let roundoff = Tolerance::roundings(case.steps as usize).relative;
    // The error of all states together, and of all gradients together: that of one small tensor may
    // be small by chance.
    let error = |pairs: &[(&Vec<f64>, &Vec<f64>)]| {
        let largest = |f: fn(f64, f64) -> f64| {
            pairs
                .iter()
                .flat_map(|(single, want)| single.iter().zip(*want).map(|(&s, &w)| f(s, w)))
                .fold(0.0, f64::max)
        };
        OTHER_ORDER * largest(|single, want| (single - want).abs()) + roundoff * largest(|_, want| want.abs())
    };
    let within = |output, got: &[f64], want: &[f64], allowed: f64| {
        let tolerance = Tolerance {
            relative: 0.0,
            absolute: allowed,
        };
        compare("Rollout", output, got, want, &vec![0.0; want.len()], tolerance)
    };
    let allowed = error(&[(&single.states, &want.states)]);
    within("states", &got.states, &want.states, allowed)?;
    let mut pairs = vec![(&single.g_x0, &want.g_x0)];
    pairs.extend(single.grads.iter().zip(want.grads.iter()));
    let allowed = error(&pairs);
    within("g_x0", &got.g_x0, &want.g_x0, allowed)?;
    for (name, (got, want)) in HostParams::NAMES
        .into_iter()
        .zip(got.grads.iter().zip(want.grads.iter()))
    {
        within(name, got, want, allowed)?;
    }
    Ok(())
}

/// Runs of steps against single ones, bit for bit, across the wrap of the step counter.
fn one_by_one<B: Backend<Elem = f32>>(backend: &B, case: &RolloutCase, inputs: &Inputs) -> Result<(), Mismatch> {
    let (config, grid, len) = (&case.nca.config, case.nca.grid, case.nca.state_len());
    let key = MaskKey {
        seed: case.nca.key.seed,
        step: u32::MAX - case.steps / 2,
    };
    let params = upload_all(backend, &inputs.params)?;
    let mut scratch = poisoned_scratch(backend, &backend.nca_step_scratch(config, grid))?;
    let mut backward_scratch = poisoned_scratch(backend, &backend.nca_step_backward_scratch(config, grid))?;

    // States before each step, and the last.
    let mut states = vec![upload(backend, &inputs.x0)?];
    for step in 0..case.steps {
        let mut x_next = poisoned(backend, len)?;
        let x = &states[step as usize];
        backend.nca_step(config, grid, &params, key.after(step), x, &mut x_next, &mut scratch)?;
        states.push(x_next);
    }
    let mut run = vec![upload(backend, &inputs.x0)?];
    for _ in 0..case.steps {
        run.push(poisoned(backend, len)?);
    }
    let activations_len = backend.activations_len(config, grid);
    let mut activations = Vec::new();
    for _ in 0..case.steps.div_ceil(2) {
        activations.push(poisoned(backend, activations_len)?);
    }
    if let Some((end, run)) = run.split_last_mut() {
        backend.rollout_states(config, grid, &params, key, run, end, &mut activations, &mut scratch)?;
    }
    for (got, want) in run.iter().zip(&states) {
        compare_bits(
            "rollout_states",
            "states",
            &backend.to_vec(got)?,
            &backend.to_vec(want)?,
        )?;
    }
    let (mut x, mut spare) = (upload(backend, &inputs.x0)?, poisoned(backend, len)?);
    backend.rollout(config, grid, &params, key, case.steps, &mut x, &mut spare, &mut scratch)?;
    let last = backend.to_vec(&states[case.steps as usize])?;
    compare_bits("rollout", "x", &backend.to_vec(&x)?, &last)?;

    let mut g = upload(backend, &inputs.g_states[..len])?;
    let mut grads = upload_all(backend, &inputs.grads)?;
    let scratch = &mut backward_scratch;
    for (step, x) in states[..case.steps as usize].iter().enumerate().rev() {
        let (key, mut g_x) = (key.after(step as u32), poisoned(backend, len)?);
        backend.nca_step_backward(config, grid, &params, key, x, &g, &mut g_x, &mut grads, scratch)?;
        g = g_x;
    }
    let before = &states[..case.steps as usize];
    for activations in [&activations[..], &[]] {
        let mut g_run = upload(backend, &inputs.g_states[..len])?;
        let mut grads_run = upload_all(backend, &inputs.grads)?;
        let (g_run, grads_run) = (&mut g_run, &mut grads_run);
        backend.rollout_backward(
            config,
            grid,
            &params,
            key,
            before,
            activations,
            g_run,
            &mut spare,
            grads_run,
            scratch,
        )?;
        compare_bits("rollout_backward", "g", &backend.to_vec(g_run)?, &backend.to_vec(&g)?)?;
        for (name, (got, want)) in HostParams::NAMES.into_iter().zip(grads_run.iter().zip(grads.iter())) {
            compare_bits("rollout_backward", name, &backend.to_vec(got)?, &backend.to_vec(want)?)?;
        }
    }
    Ok(())
}

fn lengths<B: Backend>(backend: &B, case: &NcaCase) -> Result<(), Mismatch> {
    let (config, grid, key, len) = (&case.config, case.grid, case.key, case.state_len());
    let params = zero_params(backend, config)?;
    let scratch = || backend.scratch(&backend.nca_step_scratch(config, grid));
    refuses_wrong_lengths("rollout", 1, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let (mut x, mut spare) = (buffer(0)?, backend.zeros(len)?);
        backend.rollout(config, grid, &params, key, 2, &mut x, &mut spare, &mut scratch()?)
    })?;
    let activations_len = backend.activations_len(config, grid);
    refuses_wrong_lengths("rollout_states", 4, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let (mut states, mut last) = ([buffer(0)?, buffer(1)?], buffer(2)?);
        let mut activations = [backend.zeros(activations_len + usize::from(wrong == 3))?];
        let (last, scratch) = (&mut last, &mut scratch()?);
        backend.rollout_states(config, grid, &params, key, &mut states, last, &mut activations, scratch)
    })?;
    refuses_wrong_lengths("rollout_backward", 4, |wrong| {
        let buffer = |i| backend.zeros(len + usize::from(i == wrong));
        let states = [buffer(0)?, buffer(1)?];
        let (mut g, mut spare, mut grads) = (buffer(2)?, backend.zeros(len)?, zero_params(backend, config)?);
        // Those of no step: whatever they hold, the call is safe.
        let activations = [poisoned(backend, activations_len + usize::from(wrong == 3))?];
        let (g, spare, grads) = (&mut g, &mut spare, &mut grads);
        let mut scratch = backend.scratch(&backend.nca_step_backward_scratch(config, grid))?;
        backend.rollout_backward(
            config,
            grid,
            &params,
            key,
            &states,
            &activations,
            g,
            spare,
            grads,
            &mut scratch,
        )
    })
}

/// Backward through time against differences with respect to the initial state and each parameter
/// tensor; losses at several frames. Kinks are avoided as in parity.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&rollout_cases(tiny_nca_cases(), MAX_STEPS), |case| {
        let (case, mut inputs) = case.clear()?;
        for tensor in inputs.grads.iter_mut() {
            tensor.fill(0.0);
        }
        const OP: &str = "Rollout::backward";
        let slots = 4;
        let Outputs { g_x0, grads, .. } = case.run(backend, &inputs, slots)?;
        let states = |inputs: &Inputs| -> Result<Vec<f64>> { case.states(backend, inputs) };
        check_gradient(OP, "g_x0", &inputs.x0, &g_x0, &inputs.g_states, |x0| {
            let x0 = x0.to_vec();
            states(&Inputs { x0, ..inputs.clone() })
        })?;
        check_param_gradients(OP, &inputs.params, &grads, &inputs.g_states, |params| {
            let params = params.clone();
            states(&Inputs {
                params,
                ..inputs.clone()
            })
        })
    })
}

impl RolloutCase {
    /// The states at each frame, then the last: the forward pass alone.
    fn states<B: Backend>(&self, backend: &B, inputs: &Inputs) -> Result<Vec<f64>> {
        let (config, grid) = (&self.nca.config, self.nca.grid);
        let (params, x0) = (upload_all(backend, &inputs.params)?, upload(backend, &inputs.x0)?);
        let mut rollout = Rollout::new(backend, config, grid, self.steps, 0)?;
        let frames: Vec<u32> = self.frames.iter().copied().chain([self.steps]).collect();
        let mut states = Vec::new();
        rollout.forward(
            backend,
            &params,
            &x0,
            self.nca.key.seed,
            self.steps,
            &frames,
            |_, state| {
                states.extend(download(backend, state)?);
                Ok(())
            },
        )?;
        Ok(states)
    }
}
