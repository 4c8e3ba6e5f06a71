//! The pool of states that training returns to, so that automata learn to persist.

use nca_core::backend::Device;
use nca_core::philox::{PhiloxRng, Stream, derive_seed};
use nca_core::{Error, Grid, NcaConfig, Result, check_len, fill_seed_state};

use crate::settings::TrainSettings;

/// What an iteration draws at random, a pure function of the run seed and the iteration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Pool entries of the batch slots, all different.
    pub entries: Vec<usize>,
    /// Steps of the rollout.
    pub steps: u32,
}

impl Draw {
    /// The draw of iteration `iteration`, counted from 0.
    ///
    /// # Panics
    /// If `settings` are not valid ([`TrainSettings::validate`]).
    #[must_use]
    pub fn new(settings: &TrainSettings, run_seed: u64, iteration: u64) -> Self {
        let mut rng = PhiloxRng::new(run_seed, Stream::Pool, iteration);
        let entries = rng.choose(settings.batch, settings.pool);
        let steps = settings.steps_min + rng.below(settings.steps_max - settings.steps_min);
        Self { entries, steps }
    }
}

/// States `[P,C,H,W]` on the device.
#[derive(Debug)]
pub struct Pool<B: Device> {
    states: B::Buffer,
    /// Elements of one state, `C·H·W`.
    state_len: usize,
    size: usize,
    /// A seed state on its way, on the host and on the device.
    host_seed: Vec<B::Elem>,
    seed: B::Buffer,
}

impl<B: Device> Pool<B> {
    /// A pool of `size` seed states of `grid` (its batch is not used).
    pub fn new(backend: &B, config: &NcaConfig, grid: Grid, size: usize, seed: u64) -> Result<Self> {
        let state_len = config.channels * grid.plane();
        let mut pool = Self {
            states: backend.zeros(size * state_len)?,
            state_len,
            size,
            host_seed: vec![B::Elem::default(); state_len],
            seed: backend.zeros(state_len)?,
        };
        for entry in 0..size {
            pool.draw_seed(backend, config, grid, seed, entry as u64)?;
            backend.copy(&pool.seed, 0, &mut pool.states, entry * state_len, state_len)?;
        }
        Ok(pool)
    }

    /// Sets `self.seed` to a seed state `[C,H,W]`; `index` tells random ones apart.
    fn draw_seed(&mut self, backend: &B, config: &NcaConfig, grid: Grid, seed: u64, index: u64) -> Result<()> {
        fill_seed_state(config, grid, derive_seed(seed, index), &mut self.host_seed);
        backend.upload(&self.host_seed, &mut self.seed)
    }

    /// Copies entry `entry` into batch slot `slot` of `batch [B,C,H,W]`.
    pub fn take(&self, backend: &B, entry: usize, batch: &mut B::Buffer, slot: usize) -> Result<()> {
        let n = self.state_len;
        backend.copy(&self.states, entry * n, batch, slot * n, n)
    }

    /// Copies batch slot `slot` of `batch [B,C,H,W]` into entry `entry`.
    pub fn put(&mut self, backend: &B, batch: &B::Buffer, slot: usize, entry: usize) -> Result<()> {
        let n = self.state_len;
        backend.copy(batch, slot * n, &mut self.states, entry * n, n)
    }

    /// Overwrites batch slot `slot` of `batch` with a seed state; `index` tells random ones apart.
    pub fn reseed(
        &mut self,
        backend: &B,
        config: &NcaConfig,
        grid: Grid,
        seed: u64,
        index: u64,
        batch: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        // Indices from `size` on are not those of the initial entries.
        self.draw_seed(backend, config, grid, seed, self.size as u64 + index)?;
        backend.copy(&self.seed, 0, batch, slot * self.state_len, self.state_len)
    }

    /// All states, `[P,C,H,W]`.
    pub fn download(&self, backend: &B) -> Result<Vec<B::Elem>> {
        backend.to_vec(&self.states)
    }

    /// Replaces all states, `[P,C,H,W]`.
    pub fn upload(&mut self, backend: &B, states: &[B::Elem]) -> Result<()> {
        check_len("pool", "states", states.len(), self.size * self.state_len)?;
        if states.is_empty() {
            return Err(Error::invalid("pool", "no states", "at least one"));
        }
        backend.upload(states, &mut self.states)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use nca_core::Preset;

    #[test]
    fn draws_are_distinct_and_within_bounds() {
        let settings = TrainSettings {
            pool: 9,
            batch: 4,
            steps_min: 5,
            steps_max: 8,
            ..TrainSettings::preset(Preset::Paper)
        };
        let mut lengths = [0; 3];
        for iteration in 0..200 {
            let draw = Draw::new(&settings, 7, iteration);
            let mut entries = draw.entries.clone();
            entries.sort_unstable();
            entries.dedup();
            assert_eq!(entries.len(), 4);
            assert!(entries.iter().all(|&entry| entry < 9));
            lengths[draw.steps as usize - 5] += 1;
            assert_eq!(draw, Draw::new(&settings, 7, iteration));
        }
        assert!(lengths.iter().all(|&n| n > 30), "{lengths:?}");
    }
}
