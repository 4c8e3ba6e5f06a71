//! The weights of an automaton, on the host or on a device.

use crate::config::{Init, NcaConfig};
use crate::error::{Error, Result, check_len};
use crate::philox::{PhiloxRng, Stream};

/// One value of type `S` for each parameter tensor: the weights themselves (`Vec<f32>` on the host,
/// a backend's buffer on a device), their gradients, or their Adam moments.
///
/// Tensors are row-major: w1 `[D, KC]` (kernel-major columns), b1 `[D]`, w2 `[C, D]`, b2 `[C]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Params<S> {
    /// First layer, `[D, KC]`.
    pub w1: S,
    /// Bias of the first layer, `[D]`.
    pub b1: S,
    /// Second layer, `[C, D]`.
    pub w2: S,
    /// Bias of the second layer, `[C]`, where the model has one.
    pub b2: Option<S>,
}

/// Weights on the host.
pub type HostParams = Params<Vec<f32>>;

impl<S> Params<S> {
    /// PyTorch-style names, in the order of [`Params::iter`].
    pub const NAMES: [&'static str; 4] = ["w1.weight", "w1.bias", "w2.weight", "w2.bias"];

    /// The tensors in the order w1, b1, w2, b2.
    pub fn iter(&self) -> impl Iterator<Item = &S> {
        [&self.w1, &self.b1, &self.w2].into_iter().chain(self.b2.as_ref())
    }

    /// As [`Params::iter`], mutably.
    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut S> {
        [&mut self.w1, &mut self.b1, &mut self.w2]
            .into_iter()
            .chain(self.b2.as_mut())
    }

    /// The same structure with each tensor replaced by `f(tensor)`.
    pub fn try_map<R, E>(
        &self,
        mut f: impl FnMut(&S) -> std::result::Result<R, E>,
    ) -> std::result::Result<Params<R>, E> {
        Ok(Params {
            w1: f(&self.w1)?,
            b1: f(&self.b1)?,
            w2: f(&self.w2)?,
            b2: self.b2.as_ref().map(f).transpose()?,
        })
    }
}

/// Number of elements of each tensor of `config`.
#[must_use]
pub fn param_sizes(config: &NcaConfig) -> Params<usize> {
    Params {
        w1: config.hidden * config.perceived(),
        b1: config.hidden,
        w2: config.channels * config.hidden,
        b2: config.output_bias.then_some(config.channels),
    }
}

impl HostParams {
    /// All zeros, in the shapes of `config`.
    #[must_use]
    pub fn zeros(config: &NcaConfig) -> Self {
        let sizes = param_sizes(config);
        Self {
            w1: vec![0.0; sizes.w1],
            b1: vec![0.0; sizes.b1],
            w2: vec![0.0; sizes.w2],
            b2: sizes.b2.map(|n| vec![0.0; n]),
        }
    }

    /// Untrained weights of the distribution `config.init`, a pure function of `seed`.
    #[must_use]
    pub fn init(config: &NcaConfig, seed: u64) -> Self {
        let mut params = Self::zeros(config);
        let (inputs, hidden) = (config.perceived() as f64, config.hidden as f64);
        let uniform = |values: &mut [f32], index: u64, bound: f64| {
            let mut rng = PhiloxRng::new(seed, Stream::Init, index);
            values.fill_with(|| rng.uniform_in(-bound, bound) as f32);
        };
        uniform(&mut params.b1, 1, 1.0 / inputs.sqrt());
        match config.init {
            Init::Paper => {
                let sigma = 0.2 * (2.0 / (inputs + hidden)).sqrt();
                let mut rng = PhiloxRng::new(seed, Stream::Init, 0);
                params.w1.fill_with(|| (sigma * rng.normal()) as f32);
            }
            Init::Linear => {
                uniform(&mut params.w1, 0, 1.0 / inputs.sqrt());
                uniform(&mut params.w2, 2, 1.0 / hidden.sqrt());
                if let Some(b2) = &mut params.b2 {
                    uniform(b2, 3, 1.0 / hidden.sqrt());
                }
            }
        }
        params
    }

    /// Checks every tensor's length against `config`, and that every weight is finite.
    pub fn validate(&self, config: &NcaConfig) -> Result<()> {
        let sizes = param_sizes(config);
        if self.b2.is_some() != sizes.b2.is_some() {
            return Err(Error::invalid(
                "bias of the second layer",
                if self.b2.is_some() { "present" } else { "absent" },
                if sizes.b2.is_some() { "present" } else { "absent" },
            ));
        }
        for ((name, values), &size) in Self::NAMES.into_iter().zip(self.iter()).zip(sizes.iter()) {
            check_len("parameters", name, values.len(), size)?;
            if let Some(v) = values.iter().find(|v| !v.is_finite()) {
                return Err(Error::invalid(format!("a weight of {name}"), v, "a finite number"));
            }
        }
        Ok(())
    }

    /// Number of weights.
    #[must_use]
    pub fn count(&self) -> usize {
        self.iter().map(Vec::len).sum()
    }
}
