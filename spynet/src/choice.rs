//! The estimator that a name and a file stand for.

use std::fs;
use std::path::Path;

use nca_core::backend::Backend;
use nca_core::{Error, Result};
use sha2::{Digest, Sha256};

use crate::classical::Classical;
use crate::estimator::FlowEstimator;
use crate::spynet::SpyNetFlow;
use crate::weights::SpyNetWeights;

/// A flow method that is yet to be put on a backend.
#[derive(Clone, Debug, PartialEq)]
pub enum FlowChoice {
    /// [`Classical`], which needs no weights.
    Classical,
    /// [`SpyNetFlow`].
    SpyNet {
        /// Its weights.
        weights: SpyNetWeights,
        /// What results call it: `spynet:builtin-` or, where its file was named, `spynet:`, and the first
        /// hexadecimal digits of the SHA-256 of the file, six or twelve.
        name: String,
    },
}

impl FlowChoice {
    /// What `--flow` takes.
    pub const NAMES: [&'static str; 2] = ["spynet", "classical"];
    /// What it is unless told otherwise.
    pub const DEFAULT: &'static str = Self::NAMES[0];

    /// The method called `name`; `weights` is the file of a network's weights, in place of those that
    /// come with the crate.
    pub fn new(name: &str, weights: Option<&Path>) -> Result<Self> {
        match (name, weights) {
            ("classical", None) => Ok(Self::Classical),
            ("classical", Some(path)) => Err(Error::invalid(
                "--flow-weights",
                format!("{} for classical flow, which has none", path.display()),
                "--flow spynet with it",
            )),
            ("spynet", Some(path)) => Self::of_file(path),
            ("spynet", None) => Ok(Self::SpyNet {
                weights: SpyNetWeights::builtin()?,
                name: builtin_name(),
            }),
            _ => Err(Error::invalid("--flow", name, Self::NAMES.join(" or "))),
        }
    }

    /// The weights of the network: training can follow its flow's derivative.
    ///
    /// # Errors
    /// [`Error::Invalid`] for a method that has no derivative.
    pub fn network(&self) -> Result<&SpyNetWeights> {
        match self {
            Self::SpyNet { weights, .. } => Ok(weights),
            Self::Classical => Err(Error::invalid(
                "--flow",
                "classical, which has no derivative",
                "spynet where the objective asks for motion",
            )),
        }
    }

    /// The network of a file, by the file's hash: a path says little about what was measured.
    fn of_file(path: &Path) -> Result<Self> {
        let weights = SpyNetWeights::load(path)?;
        let bytes = fs::read(path).map_err(|e| Error::io(path, e))?;
        Ok(Self::SpyNet {
            weights,
            name: format!("spynet:{}", hash(&bytes, 12)),
        })
    }

    /// The estimator on `backend`.
    pub fn estimator<'b, B: Backend<Elem = f32>>(&self, backend: &'b B) -> Result<Box<dyn FlowEstimator + 'b>> {
        Ok(match self {
            Self::Classical => Box::new(Classical::default()),
            Self::SpyNet { weights, name } => Box::new(SpyNetFlow::named(backend, weights, name)?),
        })
    }
}

/// What results call the network that comes with the crate: that of another release is another one.
pub(crate) fn builtin_name() -> String {
    format!("spynet:builtin-{}", hash(SpyNetWeights::BUILTIN, 6))
}

/// The first hexadecimal digits of the SHA-256 of `bytes`.
pub(crate) fn hash(bytes: &[u8], digits: usize) -> String {
    let mut text: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    text.truncate(digits);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_fit_together_is_refused() {
        let refused = |name, path: Option<&str>| FlowChoice::new(name, path.map(Path::new)).unwrap_err().to_string();
        assert!(refused("magic", None).contains("spynet or classical"));
        assert!(refused("classical", Some("w.safetensors")).contains("w.safetensors"));
        assert!(refused("spynet", Some("none.safetensors")).contains("none.safetensors"));
        assert_eq!(FlowChoice::new("classical", None).unwrap(), FlowChoice::Classical);
        let error = FlowChoice::Classical.network().unwrap_err().to_string();
        assert!(
            error.contains("--flow is classical") && error.contains("spynet"),
            "{error}"
        );
    }

    /// Results tell the weights that come with the crate from any file, even one of the same weights.
    #[test]
    fn names_tell_weights_apart() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.safetensors");
        let builtin = SpyNetWeights::builtin().unwrap();
        builtin.save(&path, &std::collections::BTreeMap::new()).unwrap();
        let backend = nca_core::cpu::Cpu::with_threads(1).unwrap();
        let name = |path: Option<&Path>| {
            let choice = FlowChoice::new(FlowChoice::DEFAULT, path).unwrap();
            choice.estimator(&backend).unwrap().name().to_owned()
        };
        let digits = |name: String, prefix: &str| {
            let digits = name.strip_prefix(prefix).unwrap_or_default();
            assert!(digits.bytes().all(|b| b.is_ascii_hexdigit()), "{name}");
            digits.len()
        };
        assert_eq!(digits(name(None), "spynet:builtin-"), 6);
        assert_eq!(SpyNetFlow::builtin(&backend).unwrap().name(), name(None));
        let first = name(Some(&path));
        assert_eq!(digits(first.clone(), "spynet:"), 12);
        assert_eq!(name(Some(&path)), first);
        // Of the same bytes the digits are the same.
        fs::write(&path, SpyNetWeights::BUILTIN).unwrap();
        let built_in = name(None);
        let digits = built_in.strip_prefix("spynet:builtin-").unwrap();
        assert!(name(Some(&path)).starts_with(&format!("spynet:{digits}")));
        SpyNetWeights::init(1, &[8, 2], 3, 0)
            .unwrap()
            .save(&path, &std::collections::BTreeMap::new())
            .unwrap();
        assert_ne!(name(Some(&path)), first);
    }
}
