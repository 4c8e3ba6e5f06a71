//! PyTorch weights as safetensors, which load faster and hold nothing that could be run.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::checkpoint::{TensorView, read_tensors_any, write_tensors};
use nca_core::{Error, Result};
use spynet::SpyNetWeights;

/// The part of a VGG network that losses use.
const VGG_PREFIX: &str = "features.";
/// Its first tensor.
const VGG_FIRST: &str = "features.0.weight";

/// Weights of the flow network, complete and of the right shapes, under the names of the newer edition.
pub(super) fn spynet(source: &Path, target: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    SpyNetWeights::load(source)?.save(target, metadata)
}

/// Convolutions of a VGG network. The classifier, nine tenths of the published file, is left out:
/// every run that loads the file would read it for nothing.
pub(super) fn vgg(source: &Path, target: &Path, metadata: &BTreeMap<String, String>) -> Result<()> {
    let tensors = read_tensors_any(source)?;
    if tensors.get(VGG_FIRST).is_none() {
        return Err(Error::format(
            source,
            format!("no tensor {VGG_FIRST}"),
            "the weights of a VGG network",
        ));
    }
    let views: Vec<_> = tensors
        .iter()
        .filter(|(name, _)| name.starts_with(VGG_PREFIX))
        .map(|(name, tensor)| TensorView::new(name, &tensor.shape, &tensor.values))
        .collect();
    write_tensors(target, &views, metadata)
}
