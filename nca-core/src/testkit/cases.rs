//! Inputs for the suite: shapes from proptest, numbers from Philox.

use std::fmt::Debug;

use proptest::prelude::*;
use proptest::test_runner::{Config, RngSeed, TestCaseError, TestError, TestRunner};

use super::compare::Mismatch;
use crate::backend::MaskKey;
use crate::config::{Grid, NcaConfig, Padding, Preset};
use crate::params::{Params, param_sizes};
use crate::perception::Perception;
use crate::philox::{PhiloxRng, Stream, derive_seed};

/// Inputs tried in each property.
const CASES: u32 = 24;
/// Simplifications tried after a failure.
const SHRINK_STEPS: u32 = 64;
/// Seeds tried until one gives an input that is clear of kinks. The margins are such that most do.
const ATTEMPTS: u64 = 64;

/// Checks `property` on inputs of `strategy`, the same in every run; the error carries the smallest
/// failing input found.
pub fn for_all<S: Strategy>(
    strategy: &S,
    property: impl Fn(&S::Value) -> Result<(), Mismatch>,
) -> Result<(), Mismatch> {
    let mut runner = TestRunner::new(Config {
        cases: CASES,
        max_shrink_iters: SHRINK_STEPS,
        failure_persistence: None,
        rng_seed: RngSeed::Fixed(0),
        ..Config::default()
    });
    let verdict = runner.run(strategy, |case| {
        property(&case).map_err(|mismatch| TestCaseError::fail(mismatch.to_string()))
    });
    let (case, reason) = match verdict {
        Ok(()) => return Ok(()),
        Err(TestError::Fail(reason, case)) => (format!("{case:?}"), (reason, property(&case).err())),
        Err(TestError::Abort(reason)) => ("every input".to_owned(), (reason, None)),
    };
    // A failure that does not come back when repeated is worse than one that does.
    let cause = reason.1.unwrap_or_else(|| Mismatch::Rule {
        op: "property",
        rule: format!("failed once and not again: {}", reason.0),
    });
    Err(Mismatch::Case {
        case,
        cause: Box::new(cause),
    })
}

/// `len` numbers uniform in (−1, 1), the same in f32 and f64; a pure function of `seed` and `index`.
#[must_use]
pub fn numbers(seed: u64, index: u64, len: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(seed, Stream::Test, index);
    rounded((0..len).map(|_| rng.uniform_in(-1.0, 1.0)))
}

/// Numbers rounded to f32, so that the oracle starts from what an f32 backend is given.
pub fn rounded(values: impl Iterator<Item = f64>) -> Vec<f64> {
    values.map(|v| f64::from(v as f32)).collect()
}

/// The first of a sequence of seeds derived from `seed` for which `make` gives something.
pub fn first_of_seeds<T>(seed: u64, op: &'static str, make: impl Fn(u64) -> Option<T>) -> Result<T, Mismatch> {
    (0..ATTEMPTS)
        .find_map(|attempt| make(derive_seed(seed, attempt)))
        .ok_or_else(|| Mismatch::Rule {
            op,
            rule: format!("none of {ATTEMPTS} inputs is clear of kinks"),
        })
}

/// An automaton, the grids it runs on, and a seed for all numbers.
#[derive(Clone, Debug)]
pub struct NcaCase {
    /// The automaton.
    pub config: NcaConfig,
    /// Its grids.
    pub grid: Grid,
    /// Seed of the weights, the state and the gradients.
    pub seed: u64,
    /// The mask.
    pub key: MaskKey,
}

impl NcaCase {
    /// Elements of a state, B·C·H·W.
    #[must_use]
    pub fn state_len(&self) -> usize {
        self.config.channels * self.grid.cells()
    }

    /// Elements of a perception, B·KC·H·W.
    #[must_use]
    pub fn perceived_len(&self) -> usize {
        self.config.perceived() * self.grid.cells()
    }

    /// Elements of the hidden layer, B·D·H·W.
    #[must_use]
    pub fn hidden_len(&self) -> usize {
        self.config.hidden * self.grid.cells()
    }

    /// The same case with other numbers.
    #[must_use]
    pub fn with_seed(&self, seed: u64) -> Self {
        Self { seed, ..self.clone() }
    }

    /// Numbers uniform in (−1, 1); each `index` gives others.
    #[must_use]
    pub fn numbers(&self, index: u64, len: usize) -> Vec<f64> {
        numbers(self.seed, index, len)
    }

    /// Weights: those of the first layer uniform in ±1/√(KC), biases alike, those of the second
    /// uniform in ±`gain`/√D.
    #[must_use]
    pub fn params(&self, gain: f64) -> Params<Vec<f64>> {
        let (inputs, hidden) = (self.config.perceived() as f64, self.config.hidden as f64);
        let scales = [1.0 / inputs.sqrt(), 1.0 / inputs.sqrt(), gain / hidden.sqrt(), gain];
        let mut params = self.param_numbers(100);
        for (values, scale) in params.iter_mut().zip(scales) {
            *values = rounded(values.iter().map(|v| v * scale));
        }
        params
    }

    /// Numbers uniform in (−1, 1) in the shapes of the parameters; uses four indices from `index`.
    #[must_use]
    pub fn param_numbers(&self, index: u64) -> Params<Vec<f64>> {
        let sizes = param_sizes(&self.config);
        Params {
            w1: self.numbers(index, sizes.w1),
            b1: self.numbers(index + 1, sizes.b1),
            w2: self.numbers(index + 2, sizes.w2),
            b2: sizes.b2.map(|len| self.numbers(index + 3, len)),
        }
    }
}

/// Automata of every convention, on small grids of any shape, one in a while wide enough for
/// vector instructions; channels and neurons are rarely multiples of anything.
pub fn nca_cases() -> impl Strategy<Value = NcaCase> {
    let width = prop_oneof![3 => 1..=9_usize, 1 => 15..=35_usize, 1 => 61..=67_usize];
    cases_of(3..=21, 1..=40, (1..=3, 1..=6), width)
}

/// As [`nca_cases`], tiny: for derivatives, which are evaluated many times, and long rollouts.
pub fn tiny_nca_cases() -> impl Strategy<Value = NcaCase> {
    cases_of(3..=6, 1..=9, (1..=2, 1..=4), 1..=5_usize)
}

/// As [`nca_cases`], with more channels: backends may go about wide layers in other ways.
pub fn wide_nca_cases() -> impl Strategy<Value = NcaCase> {
    let width = prop_oneof![1..=9_usize, 15..=35_usize, 61..=67_usize];
    cases_of(24..=40, 33..=50, (1..=2, 1..=3), width)
}

type Range = std::ops::RangeInclusive<usize>;

fn cases_of(
    channels: Range,
    hidden: Range,
    (batch, height): (Range, Range),
    width: impl Strategy<Value = usize>,
) -> impl Strategy<Value = NcaCase> {
    let padding = prop_oneof![Just(Padding::Circular), Just(Padding::Zero), Just(Padding::Replicate)];
    let fire_rate = proptest::sample::select(vec![0.0, 0.1, 0.5, 1.0]);
    // 0.75 and not the preset's 2, so that states of order one are clamped.
    let clamp = proptest::option::of(Just(0.75));
    (
        (channels, hidden, perceptions()),
        (padding, fire_rate, clamp, any::<bool>()),
        (batch, height, width),
        (any::<u64>(), any::<u64>(), any::<u32>()),
    )
        .prop_map(|(network, convention, grid, seeds)| {
            let (channels, hidden, perception) = network;
            let (padding, fire_rate, clamp, output_bias) = convention;
            let (seed, mask_seed, step) = seeds;
            let base = NcaConfig::preset(Preset::Paper, channels, hidden);
            NcaCase {
                config: NcaConfig {
                    perception,
                    padding,
                    fire_rate,
                    clamp,
                    output_bias,
                    ..base.expect("the ranges above are valid")
                },
                grid: Grid::new(grid.0, grid.1, grid.2),
                seed,
                key: MaskKey { seed: mask_seed, step },
            }
        })
}

/// The presets' kernels, and any one to five kernels.
fn perceptions() -> impl Strategy<Value = Perception> {
    let presets = vec![Perception::paper(), Perception::notebook(), Perception::distill()];
    let random = (1..=5_u64, any::<u64>()).prop_map(|(count, seed)| Perception {
        kernels: (0..count)
            .map(|k| {
                let weights = numbers(seed, k, 9);
                [0, 1, 2].map(|row| [0, 1, 2].map(|column| weights[3 * row + column]))
            })
            .collect(),
    });
    prop_oneof![2 => proptest::sample::select(presets), 1 => random]
}
