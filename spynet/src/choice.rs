//! The estimator that a name and a file stand for.

use std::path::Path;

use nca_core::backend::Backend;
use nca_core::{Error, Result};

use crate::classical::Classical;
use crate::estimator::FlowEstimator;
use crate::spynet::SpyNetFlow;
use crate::weights::SpyNetWeights;

/// A flow method that is yet to be put on a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowChoice {
    /// [`Classical`], which needs no weights.
    Classical,
    /// [`SpyNetFlow`] with these weights.
    SpyNet(SpyNetWeights),
}

impl FlowChoice {
    /// What `--flow` takes.
    pub const NAMES: [&'static str; 2] = ["classical", "spynet"];

    /// The method called `name`; `weights` is the file of a network's weights.
    pub fn new(name: &str, weights: Option<&Path>) -> Result<Self> {
        match (name, weights) {
            ("classical", None) => Ok(Self::Classical),
            ("classical", Some(path)) => Err(Error::invalid(
                "--flow-weights",
                format!("{} for classical flow, which has none", path.display()),
                "--flow spynet with it",
            )),
            ("spynet", Some(path)) => SpyNetWeights::load(path).map(Self::SpyNet),
            ("spynet", None) => Err(Error::invalid(
                "--flow-weights",
                "missing",
                "a file of weights for --flow spynet",
            )),
            _ => Err(Error::invalid("--flow", name, Self::NAMES.join(" or "))),
        }
    }

    /// The weights of the network: training can follow its flow's derivative.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a method that has no derivative.
    pub fn network(&self) -> Result<&SpyNetWeights> {
        match self {
            Self::SpyNet(weights) => Ok(weights),
            Self::Classical => Err(Error::invalid(
                "--flow",
                "classical, which has no derivative",
                "spynet where the objective asks for motion",
            )),
        }
    }

    /// The estimator on `backend`.
    pub fn estimator<'b, B: Backend<Elem = f32>>(&self, backend: &'b B) -> Result<Box<dyn FlowEstimator + 'b>> {
        Ok(match self {
            Self::Classical => Box::new(Classical::default()),
            Self::SpyNet(weights) => Box::new(SpyNetFlow::new(backend, weights)?),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |name, path: Option<&str>| FlowChoice::new(name, path.map(Path::new)).unwrap_err().to_string();
        assert!(refused("magic", None).contains("classical or spynet"));
        assert!(refused("spynet", None).contains("--flow-weights is missing"));
        assert!(refused("classical", Some("w.safetensors")).contains("w.safetensors"));
        assert!(refused("spynet", Some("none.safetensors")).contains("none.safetensors"));
        assert_eq!(FlowChoice::new("classical", None).unwrap(), FlowChoice::Classical);
        let error = FlowChoice::Classical.network().unwrap_err().to_string();
        assert!(
            error.contains("--flow is classical") && error.contains("spynet"),
            "{error}"
        );
    }
}
