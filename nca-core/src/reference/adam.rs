//! The Adam optimiser.

use super::Reference;
use crate::backend::{Adam, AdamStep};
use crate::error::{Result, check_len};
use crate::real::Real;

impl<T: Real> Adam for Reference<T> {
    fn adam(&self, settings: &AdamStep, g: &Vec<T>, p: &mut Vec<T>, m: &mut Vec<T>, v: &mut Vec<T>) -> Result<()> {
        settings.validate()?;
        for (what, found) in [("p", p.len()), ("m", m.len()), ("v", v.len())] {
            check_len("adam", what, found, g.len())?;
        }
        // Constants are formed in f64: 1 − β2 of an f32 β2 would be wrong in its fifth digit.
        let (bias1, bias2) = settings.bias_corrections();
        let (beta1, rest1) = (T::of(settings.beta1), T::of(1.0 - settings.beta1));
        let (beta2, rest2) = (T::of(settings.beta2), T::of(1.0 - settings.beta2));
        let (rate, root_bias2) = (T::of(settings.learning_rate / bias1), T::of(bias2.sqrt()));
        let (epsilon, decay) = (T::of(settings.epsilon), T::of(settings.weight_decay));
        for (((&g, p), m), v) in g.iter().zip(p).zip(m).zip(v) {
            let g = g + decay * *p;
            *m = beta1 * *m + rest1 * g;
            *v = beta2 * *v + rest2 * g * g;
            *p -= rate * *m / (v.sqrt() / root_bias2 + epsilon);
        }
        Ok(())
    }
}
