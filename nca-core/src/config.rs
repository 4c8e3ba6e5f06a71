//! What a neural cellular automaton is, apart from its weights.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::perception::Perception;

/// What lies beyond the edge of the grid when a cell looks at its neighbourhood.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Padding {
    /// The opposite edge: the grid is a torus.
    Circular,
    /// Zeros.
    Zero,
    /// The nearest cell of the grid.
    Replicate,
}

/// How the first three channels become a picture.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RgbMap {
    /// `scale · s + offset`, not clipped.
    Affine {
        /// Factor.
        scale: f64,
        /// Summand.
        offset: f64,
    },
    /// `(s − min) / (max − min + 1e-8)`, minimum and maximum taken over the three channels of a
    /// sample together.
    MinMax,
}

impl RgbMap {
    /// Summand in the denominator of [`RgbMap::MinMax`].
    pub const MIN_MAX_EPSILON: f64 = 1e-8;
}

/// The state a rollout starts from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SeedState {
    /// All zeros.
    Zeros,
    /// Independent standard normal entries.
    Normal,
    /// Independent entries uniform in (−1, 1).
    Uniform,
}

/// How weights are drawn before training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// w1 Xavier-normal with gain 0.2, b1 uniform in ±1/√(KC), w2 zero.
    ///
    /// With b1 = 0 and a zero seed every gradient would be exactly zero.
    Paper,
    /// PyTorch's defaults of a linear layer for both layers: uniform in ±1/√(inputs), weights and
    /// biases alike.
    Linear,
}

/// The named sets of conventions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Preset {
    /// Xu, Pajouheshgar, Süsstrunk, *Emergent Dynamics in Neural Cellular Automata*, ALIFE 2024.
    Paper,
    /// A PyTorch notebook after that paper, which trains for motion alone (the objective is −Ψ): colours
    /// scaled between their minimum and maximum, PyTorch's initialisation, a start from normal noise.
    Notebook,
    /// Niklasson et al., *Self-Organising Textures*, Distill 2021.
    Distill,
}

impl Preset {
    /// Every preset.
    pub const ALL: [Self; 3] = [Self::Paper, Self::Notebook, Self::Distill];

    /// Its name on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Paper => "paper",
            Self::Notebook => "notebook",
            Self::Distill => "distill",
        }
    }
}

impl fmt::Display for Preset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Preset {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|p| p.name() == s)
            .ok_or_else(|| Error::invalid("preset", s, "paper, notebook or distill"))
    }
}

/// Everything that defines an automaton but its weights.
///
/// A step is `x' = clamp(x + mask · (W2·relu(W1·perceive(x) + b1) + b2))`, with one mask value per
/// cell shared by its channels.
///
/// ```
/// use nca_core::{NcaConfig, Preset};
/// let config = NcaConfig::preset(Preset::Paper, 12, 96)?;
/// assert_eq!(config.perceived(), 48); // four kernels of twelve channels
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NcaConfig {
    /// Channels of a cell, C; the first three are its colour.
    pub channels: usize,
    /// Hidden neurons of the update network, D.
    pub hidden: usize,
    /// Perception kernels.
    pub perception: Perception,
    /// What lies beyond the edge.
    pub padding: Padding,
    /// Probability that a cell updates in a step, in `[0, 1]`.
    pub fire_rate: f64,
    /// The state is clamped to `[−clamp, clamp]` after each step, if given.
    pub clamp: Option<f64>,
    /// Picture of a state.
    pub rgb: RgbMap,
    /// Initial state.
    pub seed: SeedState,
    /// Whether the second layer has a bias, b2.
    pub output_bias: bool,
    /// Distribution of untrained weights.
    pub init: Init,
}

impl NcaConfig {
    /// Largest number of channels accepted.
    pub const MAX_CHANNELS: usize = 1024;
    /// Largest number of hidden neurons accepted.
    pub const MAX_HIDDEN: usize = 8192;

    /// The conventions of `preset` for C = `channels`, D = `hidden`.
    pub fn preset(preset: Preset, channels: usize, hidden: usize) -> Result<Self> {
        let config = match preset {
            Preset::Paper => Self {
                channels,
                hidden,
                perception: Perception::paper(),
                padding: Padding::Circular,
                fire_rate: 0.5,
                clamp: None,
                rgb: RgbMap::Affine {
                    scale: 1.0,
                    offset: 0.5,
                },
                seed: SeedState::Zeros,
                output_bias: false,
                init: Init::Paper,
            },
            Preset::Notebook => Self {
                channels,
                hidden,
                perception: Perception::notebook(),
                padding: Padding::Circular,
                fire_rate: 0.5,
                clamp: None,
                rgb: RgbMap::MinMax,
                seed: SeedState::Normal,
                output_bias: true,
                init: Init::Linear,
            },
            Preset::Distill => Self {
                channels,
                hidden,
                perception: Perception::distill(),
                padding: Padding::Circular,
                fire_rate: 0.5,
                clamp: Some(2.0),
                rgb: RgbMap::Affine {
                    scale: 0.5,
                    offset: 0.5,
                },
                seed: SeedState::Zeros,
                output_bias: true,
                init: Init::Paper,
            },
        };
        config.validate()?;
        Ok(config)
    }

    /// Number of perception kernels, K.
    #[must_use]
    pub fn kernels(&self) -> usize {
        self.perception.len()
    }

    /// Length of the perception vector, K·C.
    #[must_use]
    pub fn perceived(&self) -> usize {
        self.kernels().saturating_mul(self.channels)
    }

    /// Elements of states `[B,C,H,W]`; [`Error::Invalid`] where there are none, or more than memory could address.
    pub fn state_len(&self, grid: Grid) -> Result<usize> {
        let sizes = [grid.batch, self.channels, grid.height, grid.width];
        let len = sizes.into_iter().try_fold(1_usize, usize::checked_mul);
        len.filter(|&len| (1..=isize::MAX as usize / size_of::<f64>()).contains(&len))
            .ok_or_else(|| {
                let [batch, channels, height, width] = sizes;
                Error::invalid(
                    "states",
                    format!("{batch} of {channels} channels of {height}x{width} cells"),
                    "at least one cell, and no more than memory can address",
                )
            })
    }

    /// Refuses what no backend could run.
    pub fn validate(&self) -> Result<()> {
        let range = |what: &str, found: usize, low: usize, high: usize| {
            if (low..=high).contains(&found) {
                Ok(())
            } else {
                Err(Error::invalid(what, found, format!("{low} to {high}")))
            }
        };
        range("number of channels", self.channels, 3, Self::MAX_CHANNELS)?;
        range("number of hidden neurons", self.hidden, 1, Self::MAX_HIDDEN)?;
        self.perception.validate()?;
        if !(0.0..=1.0).contains(&self.fire_rate) {
            return Err(Error::invalid("fire rate", self.fire_rate, "a number from 0 to 1"));
        }
        if let Some(clamp) = self.clamp
            && !(clamp > 0.0 && clamp.is_finite())
        {
            return Err(Error::invalid("clamp", clamp, "a positive number"));
        }
        if let RgbMap::Affine { scale, offset } = self.rgb
            && !(scale.is_finite() && offset.is_finite())
        {
            return Err(Error::invalid(
                "rgb map",
                format!("{scale} and {offset}"),
                "finite scale and offset",
            ));
        }
        Ok(())
    }
}

/// Number and size of the grids that run side by side.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Grid {
    /// Samples, B.
    pub batch: usize,
    /// Rows, H.
    pub height: usize,
    /// Columns, W.
    pub width: usize,
}

impl Grid {
    /// B grids of H × W cells.
    #[must_use]
    pub fn new(batch: usize, height: usize, width: usize) -> Self {
        Self { batch, height, width }
    }

    /// One square grid.
    #[must_use]
    pub fn square(size: usize) -> Self {
        Self::new(1, size, size)
    }

    /// Cells of one sample, H·W; `usize::MAX`, which no array has, where they cannot be counted.
    #[must_use]
    pub fn plane(self) -> usize {
        self.height.saturating_mul(self.width)
    }

    /// Cells of all samples, B·H·W; `usize::MAX`, which no array has, where they cannot be counted.
    #[must_use]
    pub fn cells(self) -> usize {
        self.batch.saturating_mul(self.plane())
    }
}
