//! A whole automaton: its configuration and its weights.

use crate::config::{NcaConfig, Preset};
use crate::error::Result;
use crate::params::HostParams;

/// A neural cellular automaton on the host.
///
/// ```
/// use nca_core::{Nca, NcaConfig, Preset};
/// let nca = Nca::new(NcaConfig::preset(Preset::Paper, 12, 96)?, 0)?;
/// assert_eq!(nca.params.count(), 96 * 48 + 96 + 12 * 96);
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Nca {
    /// What it is.
    pub config: NcaConfig,
    /// What it has learned.
    pub params: HostParams,
}

impl Nca {
    /// An untrained automaton; its weights are a pure function of `seed`.
    pub fn new(config: NcaConfig, seed: u64) -> Result<Self> {
        config.validate()?;
        let params = HostParams::init(&config, seed);
        Ok(Self { config, params })
    }

    /// As [`Nca::new`] with the conventions of `preset`.
    pub fn preset(preset: Preset, channels: usize, hidden: usize, seed: u64) -> Result<Self> {
        Self::new(NcaConfig::preset(preset, channels, hidden)?, seed)
    }

    /// Checks the configuration, and the weights against it.
    pub fn validate(&self) -> Result<()> {
        self.config.validate()?;
        self.params.validate(&self.config)
    }
}
