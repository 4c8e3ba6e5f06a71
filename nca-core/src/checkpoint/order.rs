//! The order of the columns of w1 in a file, and what a bare file of weights leaves unsaid.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::any::read_tensors_any;
use super::model::KEY_PERCEPTION_ORDER;
use super::tensors::Tensors;
use crate::config::{NcaConfig, Preset};
use crate::error::{Error, Result};

/// How the columns of w1, the entries of the perception vector, are numbered in a file: by kernel first, or by channel.
///
/// Two programs with the same kernels in the same order (that is the preset's) still differ here, and nothing in a file of
/// weights alone tells which one wrote it: an automaton read in the wrong order runs, but is another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PerceptionOrder {
    /// Kernel k of channel c is column `k·C + c`, as in memory: all channels through the first kernel, then all through the
    /// second. So it is where a program filters the state once for each kernel and joins the results
    /// (`torch.cat([x, dx, dy, lap], 1)`), as DyNCA does and the ports of *Growing Neural Cellular Automata*.
    #[default]
    KernelMajor,
    /// Kernel k of channel c is column `c·K + k`: the first channel through all kernels, then the second. So it is where one
    /// convolution applies all kernels to each channel, be it depthwise (`groups=C`) or of the channels as so many samples
    /// (`x.reshape(B*C, 1, H, W)`), as in the PyTorch and TensorFlow programs of *Self-Organising Textures*.
    ChannelMajor,
}

impl PerceptionOrder {
    /// Both orders.
    pub const ALL: [Self; 2] = [Self::KernelMajor, Self::ChannelMajor];

    /// Its name in files and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::KernelMajor => "kernel-major",
            Self::ChannelMajor => "channel-major",
        }
    }

    /// Brings rows of K·C columns from this order into that of memory.
    pub(super) fn to_kernel_major(self, config: &NcaConfig, w1: Vec<f32>) -> Vec<f32> {
        if self == Self::KernelMajor {
            return w1;
        }
        let (kernels, channels) = (config.kernels(), config.channels);
        w1.chunks(config.perceived())
            .flat_map(|row| (0..kernels).flat_map(move |k| (0..channels).map(move |c| row[c * kernels + k])))
            .collect()
    }
}

impl PerceptionOrder {
    /// The order that the model file `path` states, `None` where it leaves that to [`Conventions::order`].
    ///
    /// # Errors
    /// [`Error::Io`] and [`Error::Format`], as [`Nca::load`](crate::Nca::load).
    pub fn stated_in(path: impl AsRef<Path>) -> Result<Option<Self>> {
        Self::stated_by(&read_tensors_any(path)?)
    }

    /// The order in the metadata of `tensors`.
    pub(super) fn stated_by(tensors: &Tensors) -> Result<Option<Self>> {
        let Some(name) = tensors.metadata().get(KEY_PERCEPTION_ORDER) else {
            return Ok(None);
        };
        let stated = name.parse().map_err(|_| {
            let expected = "kernel-major or channel-major";
            Error::format(tensors.path(), format!("{KEY_PERCEPTION_ORDER} = {name:?}"), expected)
        })?;
        Ok(Some(stated))
    }
}

impl fmt::Display for PerceptionOrder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for PerceptionOrder {
    type Err = Error;
    fn from_str(s: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|order| order.name() == s)
            .ok_or_else(|| Error::invalid("perception order", s, "kernel-major or channel-major"))
    }
}

/// How the weights of a bare file, which says nothing itself, are meant.
///
/// `None`, `Some(preset)` and `preset` convert into this.
///
/// ```no_run
/// use nca_core::checkpoint::{Conventions, PerceptionOrder};
/// use nca_core::{Nca, Preset};
/// // The state_dict of a PyTorch program whose perception is one depthwise convolution with all kernels.
/// let theirs = Conventions::from(Preset::Paper).order(PerceptionOrder::ChannelMajor);
/// let nca = Nca::load("theirs.pt", theirs)?;
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Conventions {
    /// Everything but C, D and the presence of b2; a bare file cannot be read without. Where a file states its
    /// configuration, the kernels must be the same.
    pub preset: Option<Preset>,
    /// Order of the columns of w1 in a file that does not state it; kernel-major, if not given.
    pub order: Option<PerceptionOrder>,
}

impl Conventions {
    /// These, with the columns of w1 in `order`.
    #[must_use]
    pub fn order(self, order: PerceptionOrder) -> Self {
        Self {
            order: Some(order),
            ..self
        }
    }
}

impl From<Option<Preset>> for Conventions {
    fn from(preset: Option<Preset>) -> Self {
        Self { preset, order: None }
    }
}

impl From<Preset> for Conventions {
    fn from(preset: Preset) -> Self {
        Some(preset).into()
    }
}
