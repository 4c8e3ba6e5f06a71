//! Running an automaton.

use num_traits::Float;

use crate::backend::check::elements;
use crate::backend::{Backend, MaskKey, upload_params};
use crate::config::{Grid, NcaConfig, SeedState};
use crate::error::{Error, Result};
use crate::memory::filled;
use crate::model::Nca;
use crate::params::{HostParams, Params};
use crate::philox::{PhiloxRng, Stream};
use crate::real::Real;

/// The initial state of batch slots `0..grid.batch`, `[B,C,H,W]`; slot `b` is a pure function of
/// `(seed, b)`.
///
/// # Panics
/// Where [`NcaConfig::state_len`] is an error for that there is no such array, or memory is not enough.
#[must_use]
pub fn seed_state<T: Real>(config: &NcaConfig, grid: Grid, seed: u64) -> Vec<T> {
    let mut state = vec![T::zero(); elements(&[grid.batch, config.channels, grid.height, grid.width])];
    fill_seed_state(config, grid, seed, &mut state);
    state
}

/// As [`seed_state`], into a slice: whole samples `[C,H,W]` of it, as many as there are.
pub fn fill_seed_state<T: Real>(config: &NcaConfig, grid: Grid, seed: u64, state: &mut [T]) {
    let sample = elements(&[config.channels, grid.height, grid.width]);
    if sample == 0 {
        return;
    }
    for (slot, values) in state.chunks_exact_mut(sample).enumerate() {
        let mut rng = PhiloxRng::new(seed, Stream::State, slot as u64);
        match config.seed {
            SeedState::Zeros => values.fill(T::zero()),
            SeedState::Normal => values.fill_with(|| T::of(rng.normal())),
            SeedState::Uniform => values.fill_with(|| T::of(rng.uniform_in(-1.0, 1.0))),
        }
    }
}

/// An automaton running on a backend.
///
/// ```
/// use nca_core::{Grid, Nca, Preset, Simulation, reference::Reference};
/// let nca = Nca::preset(Preset::Paper, 8, 16, 0)?;
/// let backend = Reference::<f32>::new();
/// let mut simulation = Simulation::new(&backend, &nca, Grid::square(16), 42)?;
/// simulation.run(10)?;
/// assert_eq!(simulation.rgb()?.len(), 3 * 16 * 16);
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Debug)]
pub struct Simulation<'b, B: Backend> {
    backend: &'b B,
    config: NcaConfig,
    grid: Grid,
    seed: u64,
    step: u32,
    params: Params<B::Buffer>,
    state: B::Buffer,
    spare: B::Buffer,
    rgb: B::Buffer,
    scratch: Vec<B::Buffer>,
}

impl<'b, B: Backend> Simulation<'b, B> {
    /// Starts `nca` from its seed state; `seed` decides that state and all masks.
    ///
    /// # Errors
    /// [`Error::Invalid`] or [`Error::Length`] for an automaton that does not pass [`Nca::validate`], [`Error::Invalid`] for a
    /// grid without cells, and [`Error::Device`] where there is no room.
    pub fn new(backend: &'b B, nca: &Nca, grid: Grid, seed: u64) -> Result<Self> {
        nca.validate()?;
        let config = nca.config.clone();
        let len = config.state_len(grid)?;
        let (mut state, spare) = (backend.zeros(len)?, backend.zeros(len)?);
        // Last, and given back at once.
        let mut host = filled("host", len, B::Elem::default())?;
        fill_seed_state(&config, grid, seed, &mut host);
        backend.upload(&host, &mut state)?;
        drop(host);
        Ok(Self {
            params: upload_params(backend, &nca.params)?,
            state,
            spare,
            rgb: backend.zeros(3 * grid.cells())?,
            scratch: backend.scratch(&backend.nca_step_scratch(&config, grid))?,
            backend,
            config,
            grid,
            seed,
            step: 0,
        })
    }

    /// Advances by `steps` steps.
    ///
    /// # Errors
    /// Those of the device. A state that leaves the finite numbers is none here: [`Simulation::rgb`] and
    /// [`Simulation::frame`] tell.
    pub fn run(&mut self, steps: u32) -> Result<()> {
        let key = MaskKey {
            seed: self.seed,
            step: self.step,
        };
        self.backend.rollout(
            &self.config,
            self.grid,
            &self.params,
            key,
            steps,
            &mut self.state,
            &mut self.spare,
            &mut self.scratch,
        )?;
        self.step = self.step.wrapping_add(steps);
        Ok(())
    }

    /// Steps done so far.
    #[must_use]
    pub fn step(&self) -> u32 {
        self.step
    }

    /// Counts the steps that follow from `step`, which decides their masks: with [`Simulation::set_state`], a run goes on
    /// where another one of the same seed stopped, bit for bit.
    pub fn set_step(&mut self, step: u32) {
        self.step = step;
    }

    /// Replaces the weights, for one automaton after another on the same grid, or one that is being trained.
    ///
    /// # Errors
    /// [`Error::Length`] or [`Error::Invalid`] for weights that are not those of its configuration; the simulation then
    /// keeps the ones it has.
    pub fn set_params(&mut self, params: &HostParams) -> Result<()> {
        params.validate(&self.config)?;
        self.params = upload_params(self.backend, params)?;
        Ok(())
    }

    /// Number and size of the grids.
    #[must_use]
    pub fn grid(&self) -> Grid {
        self.grid
    }

    /// The state, `[B,C,H,W]`.
    pub fn state(&self) -> Result<Vec<B::Elem>> {
        self.backend.to_vec(&self.state)
    }

    /// Replaces the state, `[B,C,H,W]`: to damage it, say, or to start from another one.
    pub fn set_state(&mut self, state: &[B::Elem]) -> Result<()> {
        self.backend.upload(state, &mut self.state)
    }

    /// The picture of the state, `[B,3,H,W]`, not clipped. Values may leave `[0, 1]`.
    ///
    /// # Errors
    /// [`Error::NonFinite`] where the picture has left the finite numbers (in other channels than its three a state may do
    /// so for a few steps before), and those of the device.
    pub fn rgb(&mut self) -> Result<Vec<B::Elem>> {
        self.backend.rgb(&self.config, self.grid, &self.state, &mut self.rgb)?;
        let rgb = self.backend.to_vec(&self.rgb)?;
        if rgb.iter().any(|v| !v.is_finite()) {
            return Err(Error::NonFinite {
                what: "the state",
                unit: "step",
                at: u64::from(self.step),
            });
        }
        Ok(rgb)
    }

    /// The picture of the state clipped to `[0, 1]`, `[B,3,H,W]`: what is shown and what flow is
    /// measured on.
    ///
    /// # Errors
    /// Those of [`Simulation::rgb`].
    pub fn frame(&mut self) -> Result<Vec<f32>> {
        Ok(self
            .rgb()?
            .into_iter()
            .map(|v| v.to_f64().clamp(0.0, 1.0) as f32)
            .collect())
    }
}
