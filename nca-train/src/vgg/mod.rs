//! Features of VGG16 and VGG19 (Simonyan & Zisserman, *Very Deep Convolutional Networks for
//! Large-Scale Image Recognition*, ICLR 2015), with explicit backward.
//!
//! Both networks are blocks of 3×3 convolutions with ReLU, a 2×2 max pooling between blocks; they
//! differ in the number of convolutions in the last three. torchvision numbers every module, so the
//! indices in the names `features.N.weight` tell which network a file holds, and how much of it:
//!
//! | block | 1 | 2 | 3 | 4 | 5 |
//! |---|---|---|---|---|---|
//! | VGG16 | 0, 2 | 5, 7 | 10, 12, 14 | 17, 19, 21 | 24, 26, 28 |
//! | VGG19 | 0, 2 | 5, 7 | 10, 12, 14, 16 | 19, 21, 23, 25 | 28, 30, 32, 34 |
//!
//! [`Vgg`] holds the weights, which stay fixed; [`Features`] the activations of one batch, and takes
//! gradients with respect to them back to the pictures.

mod features;

pub use features::{FeatureShape, Features};

use std::collections::BTreeSet;
use std::path::Path;

use nca_core::backend::Backend;
use nca_core::checkpoint::{Tensors, read_tensors_any};
use nca_core::{Error, Real, Result};

/// Convolutions of each block, by network.
const NETWORKS: [(&str, [usize; 5]); 2] = [("VGG19", [2, 2, 4, 4, 4]), ("VGG16", [2, 2, 3, 3, 3])];
/// Side of the kernels.
const KERNEL: usize = 3;
/// What the pictures the networks were trained on had subtracted, by channel.
const MEAN: [f64; 3] = [0.485, 0.456, 0.406];
/// What they were divided by.
const STD: [f64; 3] = [0.229, 0.224, 0.225];

/// The first layers of a VGG network on a device: as many as its file holds.
#[derive(Debug)]
pub struct Vgg<B: Backend> {
    layers: Vec<Layer<B::Buffer>>,
}

/// A convolution and the rectifier after it.
#[derive(Debug)]
struct Layer<Buffer> {
    place: Place,
    inputs: usize,
    outputs: usize,
    /// `[outputs, inputs, 3, 3]`.
    weight: Buffer,
    /// `[outputs]`.
    bias: Buffer,
}

/// Where a convolution stands in its network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// Number of its block, from 1.
    block: usize,
    /// Number within its block, from 1.
    convolution: usize,
    /// torchvision's number of the module.
    index: usize,
}

impl Place {
    /// Its rectifier's name.
    fn name(self) -> String {
        format!("relu{}_{}", self.block, self.convolution)
    }

    /// Whether a max pooling comes before it.
    fn is_pooled(self) -> bool {
        self.block > 1 && self.convolution == 1
    }
}

/// The convolutions of a network in order.
fn places(blocks: [usize; 5]) -> Vec<Place> {
    let mut places = Vec::new();
    let mut index = 0;
    for (block, convolutions) in (1..).zip(blocks) {
        for convolution in 1..=convolutions {
            places.push(Place {
                block,
                convolution,
                index,
            });
            // Its rectifier.
            index += 2;
        }
        // The pooling.
        index += 1;
    }
    places
}

impl<B: Backend> Vgg<B> {
    /// Reads `features.N.weight` and `features.N.bias` from a safetensors or PyTorch file, from the
    /// first layer to the last that is there without a gap. Tensors of other names are left alone.
    ///
    /// # Errors
    /// A file that cannot be read, or that misses the first layer, has a gap, or a tensor of a wrong
    /// shape: the error names the file and the tensor.
    pub fn load(backend: &B, path: impl AsRef<Path>) -> Result<Self> {
        let mut tensors = read_tensors_any(path)?;
        let mut layers = Vec::new();
        let mut inputs = 3;
        for place in places_in(&tensors)? {
            let layer = Layer::take(backend, &mut tensors, place, inputs)?;
            inputs = layer.outputs;
            layers.push(layer);
        }
        Ok(Self { layers })
    }

    /// Names of the layers, `relu1_1`, `relu1_2`, …
    pub fn names(&self) -> impl Iterator<Item = String> + '_ {
        self.layers.iter().map(|layer| layer.place.name())
    }

    /// Number of the layer called `name`.
    ///
    /// # Errors
    /// [`Error::Invalid`] with the names there are.
    pub fn layer(&self, name: &str) -> Result<usize> {
        self.names().position(|known| known == name).ok_or_else(|| {
            let names: Vec<_> = self.names().collect();
            Error::invalid("VGG layer", name, format!("one of {}", names.join(", ")))
        })
    }

    /// The layers that losses on pictures of this size compare: the first of each block, `relu1_1`,
    /// `relu2_1`, …, as far as the file goes and at least one position is left.
    ///
    /// One for each scale, and the cheapest of its block: the choice of Gatys et al. (*Image Style
    /// Transfer Using Convolutional Neural Networks*, CVPR 2016), and of the texture automata that
    /// are trained on VGG features.
    #[must_use]
    pub fn texture_layers(&self, height: usize, width: usize) -> Vec<usize> {
        let first = |(_, layer): &(usize, &Layer<B::Buffer>)| layer.place.convolution == 1;
        self.layers
            .iter()
            .enumerate()
            .filter(first)
            .take_while(|(_, layer)| height.min(width) >> (layer.place.block - 1) > 0)
            .map(|(i, _)| i)
            .collect()
    }
}

impl<Buffer> Layer<Buffer> {
    /// Weight and bias of the convolution at `place`, which must take `inputs` channels.
    fn take<B: Backend<Buffer = Buffer>>(
        backend: &B,
        tensors: &mut Tensors,
        place: Place,
        inputs: usize,
    ) -> Result<Self> {
        let names = ["weight", "bias"].map(|kind| format!("features.{}.{kind}", place.index));
        // The number of outputs is the file's to say.
        let shape = tensors.get(&names[0]).map_or(&[][..], |weight| &weight.shape);
        let outputs = shape.first().copied().unwrap_or(1).max(1);
        let path = tensors.path().to_owned();
        let upload = |name: &str, values: Vec<f32>| -> Result<Buffer> {
            if let Some(value) = values.iter().find(|v| !v.is_finite()) {
                return Err(Error::format(&path, format!("{value} in {name}"), "finite weights"));
            }
            let values: Vec<B::Elem> = values.into_iter().map(|v| B::Elem::of(f64::from(v))).collect();
            backend.buffer(&values)
        };
        Ok(Self {
            place,
            inputs,
            outputs,
            weight: upload(
                &names[0],
                tensors.take_shaped(&names[0], &[outputs, inputs, KERNEL, KERNEL])?,
            )?,
            bias: upload(&names[1], tensors.take_shaped(&names[1], &[outputs])?)?,
        })
    }
}

/// The places of the convolutions a file holds: the beginning of one of the two networks.
fn places_in(tensors: &Tensors) -> Result<Vec<Place>> {
    let indices: BTreeSet<usize> = tensors
        .iter()
        .filter_map(|(name, _)| name.strip_prefix("features.")?.strip_suffix(".weight")?.parse().ok())
        .collect();
    let beginnings = NETWORKS.map(|(network, blocks)| {
        let places = places(blocks);
        let held = places.iter().take_while(|place| indices.contains(&place.index)).count();
        (network, places, held)
    });
    // Of two equally long beginnings either will do: they are the same layers.
    let [(_, _, a), (_, _, b)] = &beginnings;
    let (network, mut places, held) = if a >= b {
        let [first, _] = beginnings;
        first
    } else {
        let [_, second] = beginnings;
        second
    };
    let missing = places.get(held).map(|place| format!("features.{}.weight", place.index));
    let last = indices.last().filter(|_| indices.len() > held);
    match (missing, last) {
        (Some(missing), None) if held == 0 => Err(Error::format(
            tensors.path(),
            format!("no tensor {missing}"),
            "weights of VGG16 or VGG19 by torchvision's names, features.N.weight and features.N.bias",
        )),
        (missing, Some(last)) => Err(Error::format(
            tensors.path(),
            match missing {
                Some(missing) => format!("tensor features.{last}.weight but no {missing}"),
                None => format!("a tensor features.{last}.weight, which {network} does not have"),
            },
            "layers of VGG16 or VGG19 from the first on without a gap",
        )),
        _ => {
            places.truncate(held);
            Ok(places)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers in torchvision's documentation of both networks.
    #[test]
    fn convolutions_have_torchvisions_numbers() {
        let indices = |blocks| places(blocks).iter().map(|place| place.index).collect::<Vec<_>>();
        assert_eq!(
            indices(NETWORKS[0].1),
            [0, 2, 5, 7, 10, 12, 14, 16, 19, 21, 23, 25, 28, 30, 32, 34]
        );
        assert_eq!(indices(NETWORKS[1].1), [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28]);
    }
}
