//! What a training starts with.

use std::fmt;
use std::fs;
use std::path::Path;

use nca_core::checkpoint::read_tensors_any;
use nca_core::{Error, Result};

use super::run::{KEY_EARLIER, KEY_RECIPE};
use crate::choice::hash;
use crate::weights::SpyNetWeights;

/// The network that a training starts with.
#[derive(Clone, Debug, PartialEq)]
pub enum Start {
    /// One that answers "no motion", its filters drawn from the recipe's seed.
    Untrained {
        /// Levels; those that no stage trains become copies of the finest that one does.
        levels: usize,
        /// Channels of a level, from input to output.
        channels: Vec<usize>,
        /// Side of the kernels.
        kernel: usize,
    },
    /// One that has been trained before.
    Weights {
        /// What the recipe calls them: must tell them from all others, as a digest does.
        name: String,
        /// The recipes that made them, where that is known.
        earlier: Option<String>,
        /// The weights.
        weights: SpyNetWeights,
    },
}

impl Start {
    /// The weights of a file ([`SpyNetWeights::load`]), named by its SHA-256.
    pub fn load(path: &Path) -> Result<Self> {
        let weights = SpyNetWeights::load(path)?;
        let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
        let tensors = read_tensors_any(path)?;
        let recipes = [KEY_EARLIER, KEY_RECIPE].map(|key| tensors.metadata().get(key).cloned());
        let recipes: Vec<String> = recipes.into_iter().flatten().collect();
        Ok(Self::Weights {
            name: format!("weights of SHA-256 {}", hash(&bytes, 64)),
            earlier: (!recipes.is_empty()).then(|| recipes.join("; then: ")),
            weights,
        })
    }

    /// Levels of the network.
    #[must_use]
    pub fn levels(&self) -> usize {
        match self {
            Self::Untrained { levels, .. } => *levels,
            Self::Weights { weights, .. } => weights.levels().len(),
        }
    }
}

impl fmt::Display for Start {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Untrained {
                levels,
                channels,
                kernel,
            } => write!(f, "{levels} levels of {channels:?}, kernel {kernel}"),
            Self::Weights { name, .. } => write!(f, "from {name}"),
        }
    }
}
