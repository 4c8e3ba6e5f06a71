//! The stochastic residual update of the state.

use super::{Reference, view, view_mut};
use crate::backend::{MaskKey, Update, check};
use crate::config::{Grid, NcaConfig};
use crate::error::Result;
use crate::philox::{fire_threshold, is_active};
use crate::real::Real;

impl<T: Real> Update for Reference<T> {
    fn update(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Vec<T>,
        dx: &Vec<T>,
        x_next: &mut Vec<T>,
    ) -> Result<()> {
        // x, dx, x_next [B,C,HW]. Backward needs x and dx.
        check::automaton("update", config, grid)?;
        let shape = (grid.batch, config.channels, grid.plane());
        let x = view("update", "x", x, shape)?;
        let dx = view("update", "dx", dx, shape)?;
        let mut x_next = view_mut("update", "x_next", x_next, shape)?;
        let mask = Mask::new(config, key);
        for ((b, c, cell), next) in x_next.indexed_iter_mut() {
            let v = mask.step(b, cell, x[[b, c, cell]], dx[[b, c, cell]]);
            *next = match config.clamp {
                Some(bound) => num_traits::clamp(v, T::of(-bound), T::of(bound)),
                None => v,
            };
        }
        Ok(())
    }

    fn update_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        key: MaskKey,
        x: &Vec<T>,
        dx: &Vec<T>,
        g_next: &Vec<T>,
        g_x: &mut Vec<T>,
        g_dx: &mut Vec<T>,
    ) -> Result<()> {
        // g_next -> g_x (=), g_dx (=), all [B,C,HW].
        const OP: &str = "update_backward";
        check::automaton(OP, config, grid)?;
        let shape = (grid.batch, config.channels, grid.plane());
        let x = view(OP, "x", x, shape)?;
        let dx = view(OP, "dx", dx, shape)?;
        let g_next = view(OP, "g_next", g_next, shape)?;
        let mut g_x = view_mut(OP, "g_x", g_x, shape)?;
        let mut g_dx = view_mut(OP, "g_dx", g_dx, shape)?;
        let mask = Mask::new(config, key);
        for ((b, c, cell), &g) in g_next.indexed_iter() {
            let at = [b, c, cell];
            let v = mask.step(b, cell, x[at], dx[at]);
            // A NaN passes: it must not look like a state at rest.
            let stopped = config.clamp.is_some_and(|bound| v.abs() > T::of(bound));
            g_x[at] = if stopped { T::zero() } else { g };
            g_dx[at] = if !stopped && mask.at(b, cell) { g } else { T::zero() };
        }
        Ok(())
    }
}

/// The random mask of one step.
struct Mask {
    key: MaskKey,
    threshold: u64,
}

impl Mask {
    fn new(config: &NcaConfig, key: MaskKey) -> Self {
        let threshold = fire_threshold(config.fire_rate);
        Self { key, threshold }
    }

    fn at(&self, sample: usize, cell: usize) -> bool {
        is_active(self.key.seed, self.key.step, sample as u32, cell as u32, self.threshold)
    }

    /// `x + mask·dx`.
    fn step<T: Real>(&self, sample: usize, cell: usize, x: T, dx: T) -> T {
        if self.at(sample, cell) { x + dx } else { x }
    }
}
