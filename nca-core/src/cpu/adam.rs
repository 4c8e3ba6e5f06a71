//! The Adam optimiser.

use rayon::prelude::*;

use super::reduce::CHUNK;
use super::{Buffer, Cpu};
use crate::backend::{Adam, AdamStep};
use crate::error::{Result, check_len};

impl Adam for Cpu {
    fn adam(&self, settings: &AdamStep, g: &Buffer, p: &mut Buffer, m: &mut Buffer, v: &mut Buffer) -> Result<()> {
        settings.validate()?;
        check_len("adam", "p", p.len(), g.len())?;
        check_len("adam", "m", m.len(), g.len())?;
        check_len("adam", "v", v.len(), g.len())?;
        let (correction1, correction2) = settings.bias_corrections();
        let step_size = settings.learning_rate / correction1;
        let (beta1, beta2) = (settings.beta1, settings.beta2);
        // A model has some ten thousand weights: f64 costs nothing here and keeps the rounding of
        // the moments to their storage.
        let one = |g: f32, p: &mut f32, m: &mut f32, v: &mut f32| {
            let g = f64::from(g) + settings.weight_decay * f64::from(*p);
            let m_new = beta1 * f64::from(*m) + (1.0 - beta1) * g;
            let v_new = beta2 * f64::from(*v) + (1.0 - beta2) * g * g;
            let denominator = v_new.sqrt() / correction2.sqrt() + settings.epsilon;
            *p = (f64::from(*p) - step_size * m_new / denominator) as f32;
            *m = m_new as f32;
            *v = v_new as f32;
        };
        self.install(|| {
            p.par_chunks_mut(CHUNK)
                .zip(g.par_chunks(CHUNK))
                .zip(m.par_chunks_mut(CHUNK).zip(v.par_chunks_mut(CHUNK)))
                .for_each(|((p, g), (m, v))| {
                    for ((p, &g), (m, v)) in p.iter_mut().zip(g).zip(m.iter_mut().zip(v)) {
                        one(g, p, m, v);
                    }
                });
        });
        Ok(())
    }
}
