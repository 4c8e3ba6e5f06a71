//! Many steps, and the gradient through them, within a memory budget.

use std::iter::Peekable;
use std::ops::Range;

use crate::backend::{Backend, MaskKey};
use crate::config::{Grid, NcaConfig};
use crate::error::{Error, Result, check_len};
use crate::params::Params;
use crate::schedule::{Split, advance, least_steps};

/// The states of a rollout and its backward through time.
///
/// A rollout of T steps needs the states before each step for its backward, `T·B·C·H·W·4` bytes in
/// f32. Those that fit the budget given to [`Rollout::new`] are kept and only the rest is
/// recomputed, from the nearest state kept before it, on an optimal schedule (Griewank & Walther
/// 2000): a budget of half the states costs about half a forward pass more, √(2T) states one forward
/// pass more, and rollouts of any length fit in a handful of states at a few passes more.
///
/// Where the backend has a use for them ([`RolloutSteps::activations_len`]), activations of the steps whose states are
/// all stored are kept too, so that their backward computes less again: with what the states leave of the budget if all
/// of them fit, else in the place of as many states as makes the whole cheapest.
///
/// Memory: `(slots + 4) · B·C·H·W` elements, the activations and the backend's scratch, where
/// `slots = clamp(budget / bytes of a state, 2, T)` less those given up for activations. None of this changes a bit of
/// the results.
///
/// The gradient of the loss may enter after any step, not only the last: see
/// [`Rollout::backward`].
///
/// # What a caller must do
///
/// One [`Rollout::forward`] (or [`Rollout::forward_from`]), then the gradient with respect to the last state into
/// [`Rollout::grad_mut`], whatever it held, then one [`Rollout::backward`] with the same parameters,
/// which *adds* to `grads`: set those to zero for every iteration. The backend is the one given to [`Rollout::new`].
///
/// States may leave the finite numbers without an error: a diverging automaton shows in the loss, or in the norm
/// that [`Normalize::normalize`] reports.
///
/// ```
/// use nca_core::backend::{Adam, AdamStep, Device, L2, Normalize, Rgb, upload_params, zero_params};
/// use nca_core::philox::derive_seed;
/// use nca_core::{Grid, Nca, Preset, Rollout, cpu::Cpu, seed_state};
///
/// // Trains an automaton to be orange after eight steps: the loss is the squared distance of its colours to that.
/// let (backend, grid, seed) = (Cpu::with_threads(1)?, Grid::new(2, 8, 8), 1);
/// let nca = Nca::preset(Preset::Paper, 6, 16, seed)?;
/// let config = &nca.config;
/// let mut params = upload_params(&backend, &nca.params)?;
/// let [mut grads, mut m, mut v] = [zero_params(&backend, config)?, zero_params(&backend, config)?, zero_params(&backend, config)?];
/// let x0 = backend.buffer(&seed_state::<f32>(config, grid, seed))?;
/// let orange = backend.buffer(&[1.0, 0.6, 0.1].map(|colour| [colour; 8 * 8]).concat())?;
/// let (mut rgb, mut g_rgb) = (backend.zeros(3 * grid.cells())?, backend.zeros(3 * grid.cells())?);
/// let mut out = backend.zeros(2)?; // the loss, and the norms of the gradients
///
/// let (steps, weight) = (8, 1.0 / grid.cells() as f64);
/// let mut rollout = Rollout::new(&backend, config, grid, steps, 64 << 20)?;
/// let mut losses = Vec::new();
/// for iteration in 1..=30 {
///     backend.fill(0.0, &mut out)?;
///     rollout.forward(&backend, &params, &x0, derive_seed(seed, iteration), steps, &[], |_, _| Ok(()))?;
///     let (last, g_last) = rollout.last_and_grad_mut();
///     backend.rgb(config, grid, last, &mut rgb)?;
///     backend.l2(weight, &rgb, &orange, &mut out, 0)?;
///     backend.l2_backward(weight, &rgb, &orange, &mut g_rgb)?;
///     backend.rgb_backward(config, grid, last, &g_rgb, g_last)?;
///     for grad in grads.iter_mut() {
///         backend.fill(0.0, grad)?;
///     }
///     rollout.backward(&backend, &params, &mut grads, &[], |_, _, _| Ok(()))?;
///     let adam = AdamStep {
///         learning_rate: 0.01, beta1: 0.9, beta2: 0.999, epsilon: 1e-8, weight_decay: 0.0, step: iteration,
///     };
///     let tensors = params.iter_mut().zip(grads.iter_mut()).zip(m.iter_mut().zip(v.iter_mut()));
///     for ((p, g), (m, v)) in tensors {
///         backend.normalize(1e-8, g, &mut out, 1)?;
///         backend.adam(&adam, g, p, m, v)?;
///     }
///     losses.push(backend.to_vec(&out)?[0]);
/// }
/// assert!(losses[29] < 0.2 * losses[0], "{losses:?}");
/// # Ok::<(), nca_core::Error>(())
/// ```
///
/// [`RolloutSteps::activations_len`]: crate::backend::RolloutSteps::activations_len
/// [`Normalize::normalize`]: crate::backend::Normalize::normalize
#[derive(Debug)]
pub struct Rollout<B: Backend> {
    config: NcaConfig,
    grid: Grid,
    /// Stored states; the first `kept.len()` are in use.
    states: Vec<B::Buffer>,
    /// Step each stored state is the state before, ascending from 0.
    kept: Vec<u32>,
    /// Most states kept.
    slots: usize,
    /// Activations of the steps [`Self::activated`].
    activations: Vec<B::Buffer>,
    /// Most of them.
    most_activations: usize,
    activated: Range<u32>,
    /// Step that the gradient stops at.
    from: u32,
    steps: u32,
    seed: u64,
    last: B::Buffer,
    grad: B::Buffer,
    spare: B::Buffer,
    scratch: Vec<B::Buffer>,
    backward_scratch: Vec<B::Buffer>,
}

impl<B: Backend> Rollout<B> {
    /// Fewest states kept, whatever the budget.
    pub const MIN_SLOTS: usize = 2;

    /// Room for rollouts of up to `max_steps` steps that keeps at most `budget_bytes` of states and activations.
    ///
    /// They are allocated when a rollout first needs them.
    pub fn new(backend: &B, config: &NcaConfig, grid: Grid, max_steps: u32, budget_bytes: usize) -> Result<Self> {
        config.validate()?;
        let len = config.state_len(grid)?;
        if max_steps == 0 {
            return Err(Error::invalid("steps of a rollout", 0, "at least 1"));
        }
        let bytes = len * size_of::<B::Elem>();
        let activation_bytes = backend.activations_len(config, grid) * size_of::<B::Elem>();
        let split = Split::new(budget_bytes, bytes, activation_bytes, max_steps, Self::MIN_SLOTS);
        Ok(Self {
            config: config.clone(),
            grid,
            states: Vec::new(),
            kept: Vec::new(),
            slots: split.slots,
            activations: Vec::new(),
            most_activations: split.activations,
            activated: 0..0,
            from: 0,
            steps: 0,
            seed: 0,
            last: backend.zeros(len)?,
            grad: backend.zeros(len)?,
            spare: backend.zeros(len)?,
            scratch: backend.scratch(&backend.nca_step_scratch(config, grid))?,
            backward_scratch: backend.scratch(&backend.nca_step_backward_scratch(config, grid))?,
        })
    }

    /// The grids it runs on.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// States kept at most.
    #[must_use]
    pub fn slots(&self) -> usize {
        self.slots
    }

    /// Steps that [`Rollout::backward`] runs a second time after `steps` steps with a gradient.
    #[must_use]
    pub fn recomputed(&self, steps: u32) -> u64 {
        if steps == 0 {
            return 0;
        }
        // The forward pass, which runs the last step too, is the first descent of the schedule.
        least_steps(steps, self.slots - 1) + 1 - u64::from(steps)
    }

    /// Runs `steps` steps from `x0 [B,C,H,W]` with the masks of `seed`, steps counted from 0, and
    /// keeps what [`Rollout::backward`] will need.
    ///
    /// `visit(t, state)` is called with the state after `t` steps for each `t` of `frames`
    /// (ascending, each in `1..=steps`).
    ///
    /// # Errors
    /// [`Error::Length`] for an `x0` of another size, [`Error::Invalid`] for frames that are not so, those of `visit`
    /// and of the device; the rollout can then begin anew.
    pub fn forward(
        &mut self,
        backend: &B,
        params: &Params<B::Buffer>,
        x0: &B::Buffer,
        seed: u64,
        steps: u32,
        frames: &[u32],
        visit: impl FnMut(u32, &B::Buffer) -> Result<()>,
    ) -> Result<()> {
        self.forward_from(backend, params, x0, seed, 0, steps, frames, visit)
    }

    /// As [`Rollout::forward`], but the state after `from` steps (at most `steps`) is taken as given:
    /// no gradient flows beyond it, and the steps before it keep and recompute nothing.
    ///
    /// This is backpropagation through time, truncated: [`Rollout::backward`] takes `steps − from`
    /// steps, and `grad_mut` then holds the gradient with respect to the state after `from` steps.
    ///
    /// # Errors
    /// Those of [`Rollout::forward`], and [`Error::Invalid`] for a `from` beyond `steps`.
    pub fn forward_from(
        &mut self,
        backend: &B,
        params: &Params<B::Buffer>,
        x0: &B::Buffer,
        seed: u64,
        from: u32,
        steps: u32,
        frames: &[u32],
        mut visit: impl FnMut(u32, &B::Buffer) -> Result<()>,
    ) -> Result<()> {
        check_frames(frames, 0, steps)?;
        if from > steps {
            let expected = format!("at most {steps}, the steps of the rollout");
            return Err(Error::invalid("start of the gradient in a rollout", from, expected));
        }
        let len = self.config.channels * self.grid.cells();
        check_len("rollout", "x0", backend.len(x0), len)?;
        self.seed = seed;
        self.from = from;
        self.steps = steps;
        self.kept.clear();
        self.activated = steps..steps;
        backend.copy(x0, 0, &mut self.last, 0, len)?;
        let mut frames = frames.iter().copied().peekable();
        let mut at = 0;
        self.walk(backend, params, &mut at, from, &mut frames, &mut visit)?;
        self.keep(backend, from)?;
        backend.copy(&self.last, 0, &mut self.states[0], 0, len)?;
        // The first descent of the schedule is the forward pass itself; it also passes every frame.
        while at < steps {
            let (left, free) = (steps - at, self.slots - self.kept.len());
            if left as usize - 1 <= free {
                return self.walk_through_slots(backend, params, at, &mut frames, &mut visit);
            }
            // `free ≥ 1`, as `advance` with one free slot leaves one step.
            let stop = at + advance(left, free);
            self.walk(backend, params, &mut at, stop, &mut frames, &mut visit)?;
            self.keep(backend, stop)?;
            backend.copy(&self.last, 0, &mut self.states[self.kept.len() - 1], 0, len)?;
        }
        Ok(())
    }

    /// The state after the last step of [`Rollout::forward`].
    #[must_use]
    pub fn last(&self) -> &B::Buffer {
        &self.last
    }

    /// The gradient buffer, `[B,C,H,W]`: set it to the gradient with respect to
    /// [`Rollout::last`] before [`Rollout::backward`], after which it holds the gradient with
    /// respect to the initial state.
    pub fn grad_mut(&mut self) -> &mut B::Buffer {
        &mut self.grad
    }

    /// The last state and the gradient buffer at once.
    pub fn last_and_grad_mut(&mut self) -> (&B::Buffer, &mut B::Buffer) {
        (&self.last, &mut self.grad)
    }

    /// Backward through all steps of the last [`Rollout::forward`]; adds to `grads`.
    ///
    /// For each `t` of `frames` (ascending, each after the start of the gradient and before the last
    /// step), `inject(t, state, grad)` is called
    /// with the state after `t` steps and the gradient that arrives there from later steps, and may
    /// add to it. The gradient after the last step is set through [`Rollout::grad_mut`].
    /// Uses up the states kept: a second call needs another forward pass.
    ///
    /// # Errors
    /// [`Error::Invalid`] for frames that are not so and where no forward pass came before, those of `inject` and of the
    /// device; `grads` then hold a part of the sum.
    pub fn backward(
        &mut self,
        backend: &B,
        params: &Params<B::Buffer>,
        grads: &mut Params<B::Buffer>,
        frames: &[u32],
        mut inject: impl FnMut(u32, &B::Buffer, &mut B::Buffer) -> Result<()>,
    ) -> Result<()> {
        check_frames(frames, self.from, self.steps.saturating_sub(1))?;
        if self.steps > 0 && self.kept.is_empty() {
            return Err(Error::invalid(
                "number of forward passes before Rollout::backward",
                0,
                "one for each backward pass, which uses up its states",
            ));
        }
        let mut frames = frames.iter().rev().copied().peekable();
        // The gradient held is that of the state after `at` steps.
        let mut at = self.steps;
        while at > self.from {
            self.descend(backend, params, at)?;
            // Now the states before steps `first..at` stand at the top of the stack.
            let run = self
                .kept
                .iter()
                .rev()
                .zip((0..at).rev())
                .take_while(|(kept, step)| **kept == *step)
                .count();
            // A frame at `t` needs the state after t steps, which must then be the lowest of its run.
            let floor = frames.peek().copied().unwrap_or(0);
            let mut run = run.min((at - floor) as usize);
            // The last step before `at` was not run again where those below it were, and has no activations: it goes
            // first.
            let above = at.saturating_sub(self.activated.end) as usize;
            if above > 0 && !self.activated.is_empty() {
                run = run.min(above);
            }
            let low = self.kept.len() - run;
            let first = self.kept[low];
            let key = self.key(first);
            let activations = self.activations_of(first..at);
            backend.rollout_backward(
                &self.config,
                self.grid,
                params,
                key,
                &self.states[low..self.kept.len()],
                &self.activations[activations],
                &mut self.grad,
                &mut self.spare,
                grads,
                &mut self.backward_scratch,
            )?;
            at = first;
            if frames.next_if_eq(&at).is_some() {
                inject(at, &self.states[low], &mut self.grad)?;
            }
            self.kept.truncate(low);
        }
        Ok(())
    }

    /// Recomputes states until the one before step `end − 1` is stored.
    fn descend(&mut self, backend: &B, params: &Params<B::Buffer>, end: u32) -> Result<()> {
        let len = self.config.channels * self.grid.cells();
        loop {
            let top = self.kept.len() - 1;
            let from = self.kept[top];
            let steps = end - from;
            let free = self.slots - self.kept.len();
            if steps == 1 {
                return Ok(());
            }
            if steps as usize - 1 <= free {
                // Those kept before have been used: their steps came after `end`.
                let activated = self.first_activated(from, end - 1);
                return self.fill(backend, params, end - 1, activated);
            }
            // `free ≥ 1` always: the forward pass ends with the state before the last step kept, and
            // each backward step frees the slot of its state.
            let distance = advance(steps, free);
            self.keep(backend, from + distance)?;
            let key = self.key(from);
            let (below, above) = self.states.split_at_mut(top + 1);
            backend.copy(&below[top], 0, &mut above[0], 0, len)?;
            backend.rollout(
                &self.config,
                self.grid,
                params,
                key,
                distance,
                &mut above[0],
                &mut self.spare,
                &mut self.scratch,
            )?;
        }
    }

    /// Advances `last` from step `at` to `stop`, pausing at frames on the way.
    fn walk(
        &mut self,
        backend: &B,
        params: &Params<B::Buffer>,
        at: &mut u32,
        stop: u32,
        frames: &mut Peekable<impl Iterator<Item = u32>>,
        visit: &mut impl FnMut(u32, &B::Buffer) -> Result<()>,
    ) -> Result<()> {
        while *at < stop {
            let next = frames.peek().map_or(stop, |&frame| frame.min(stop));
            self.run(backend, params, *at, next - *at)?;
            *at = next;
            if frames.next_if_eq(at).is_some() {
                visit(*at, &self.last)?;
            }
        }
        Ok(())
    }

    /// Advances from the state kept last, that before step `at`, to the end of the rollout, pausing at
    /// frames on the way. Each state is written where it is kept: to copy it takes a good part of the time of a step.
    fn walk_through_slots(
        &mut self,
        backend: &B,
        params: &Params<B::Buffer>,
        mut at: u32,
        frames: &mut Peekable<impl Iterator<Item = u32>>,
        visit: &mut impl FnMut(u32, &B::Buffer) -> Result<()>,
    ) -> Result<()> {
        let activated = self.first_activated(at, self.steps);
        while at < self.steps {
            let stop = frames.peek().copied().unwrap_or(self.steps);
            self.fill(backend, params, stop, activated)?;
            at = stop;
            if frames.next_if_eq(&at).is_some() {
                let kept = &self.states[self.kept.len() - 1];
                visit(at, if at < self.steps { kept } else { &self.last })?;
            }
        }
        Ok(())
    }

    /// First of the steps `from..stop` whose activations there is room for.
    fn first_activated(&self, from: u32, stop: u32) -> u32 {
        stop - (stop - from).min(self.most_activations as u32)
    }

    /// Runs from the state kept last to that after `stop` steps and keeps each, but the last one of the rollout in
    /// `last`; from step `activated` on also activations.
    fn fill(&mut self, backend: &B, params: &Params<B::Buffer>, stop: u32, activated: u32) -> Result<()> {
        let top = self.kept.len() - 1;
        let from = self.kept[top];
        for step in from + 1..=stop.min(self.steps - 1) {
            self.keep(backend, step)?;
        }
        let place = |step: u32| step.saturating_sub(activated) as usize;
        let run = place(from)..place(stop);
        while self.activations.len() < run.end {
            let len = backend.activations_len(&self.config, self.grid);
            self.activations.push(backend.zeros(len)?);
        }
        let (config, grid, key) = (&self.config, self.grid, self.key(from));
        let slots = &mut self.states[top..self.kept.len()];
        let (states, last) = match slots.split_last_mut() {
            Some((last, states)) if stop < self.steps => (states, last),
            _ => (slots, &mut self.last),
        };
        let (activations, scratch) = (&mut self.activations[run], &mut self.scratch);
        backend.rollout_states(config, grid, params, key, states, last, activations, scratch)?;
        self.activated = activated..stop.max(activated);
        Ok(())
    }

    /// Where the activations of those of the `steps` are that have some: the last ones, or none.
    fn activations_of(&self, steps: Range<u32>) -> Range<usize> {
        let Range { start, end } = self.activated;
        let place = |step: u32| (step.clamp(start, end) - start) as usize;
        place(steps.start)..place(steps.end)
    }

    /// The masks of the rollout from `step` on.
    fn key(&self, step: u32) -> MaskKey {
        MaskKey { seed: self.seed, step }
    }

    /// Advances `last` by `steps` from the state before `step`.
    fn run(&mut self, backend: &B, params: &Params<B::Buffer>, step: u32, steps: u32) -> Result<()> {
        let (config, grid, key) = (&self.config, self.grid, self.key(step));
        let (x, spare, scratch) = (&mut self.last, &mut self.spare, &mut self.scratch);
        backend.rollout(config, grid, params, key, steps, x, spare, scratch)
    }

    /// Marks the next slot as holding the state before `step`, allocating it the first time.
    fn keep(&mut self, backend: &B, step: u32) -> Result<()> {
        if self.kept.len() == self.states.len() {
            self.states
                .push(backend.zeros(self.config.channels * self.grid.cells())?);
        }
        self.kept.push(step);
        Ok(())
    }
}

/// Frames must be ascending, after `from` and at most `last`.
fn check_frames(frames: &[u32], from: u32, last: u32) -> Result<()> {
    let ordered = frames.windows(2).all(|pair| pair[0] < pair[1]);
    let inside = frames.iter().all(|&frame| from < frame && frame <= last);
    if ordered && inside {
        return Ok(());
    }
    Err(Error::invalid(
        "frames of a rollout",
        format!("{frames:?}"),
        format!("ascending step counts from {} to {last}", u64::from(from) + 1),
    ))
}
