//! VGG networks with a few channels and random weights, and pictures for them.
//!
//! All numbers are uniform ones of Philox scaled and rounded to f32, so that `golden/vgg.py` makes
//! the same bits.

#![allow(dead_code, reason = "each test binary uses its part")]

use std::collections::BTreeMap;
use std::path::PathBuf;

use nca_core::Real;
use nca_core::backend::Backend;
use nca_core::checkpoint::{TensorView, write_tensors};
use nca_core::philox::{PhiloxRng, Stream};
use nca_train::Texture;
use nca_train::vgg::Vgg;
use tempfile::TempDir;

/// `(index, outputs)` of each convolution up to relu4_1.
pub(crate) const VGG16: [(usize, usize); 8] = [(0, 4), (2, 4), (5, 6), (7, 6), (10, 8), (12, 8), (14, 8), (17, 10)];
/// As [`VGG16`].
pub(crate) const VGG19: [(usize, usize); 9] = [
    (0, 4),
    (2, 4),
    (5, 6),
    (7, 6),
    (10, 8),
    (12, 8),
    (14, 8),
    (16, 8),
    (19, 10),
];

/// Seed of weights and pictures.
const SEED: u64 = 7;
/// Sequence of the exemplar; that of the pictures is the next one.
const EXEMPLAR: u64 = 1000;

/// A tensor with its name.
pub(crate) type Named = (String, Vec<usize>, Vec<f32>);

/// Weights and biases of `layers`: uniform in ±√(6/(9·inputs)), which keeps activations from
/// growing or fading, and in ±0.1.
pub(crate) fn tensors(layers: &[(usize, usize)]) -> Vec<Named> {
    let mut inputs = 3;
    let mut tensors = Vec::new();
    for &(index, outputs) in layers {
        let mut rng = PhiloxRng::new(SEED, Stream::Test, index as u64);
        let bound = (6.0 / (9 * inputs) as f64).sqrt();
        let mut uniform = |len: usize, bound: f64| -> Vec<f32> {
            (0..len).map(|_| (bound * rng.uniform_in(-1.0, 1.0)) as f32).collect()
        };
        let weight = uniform(outputs * inputs * 9, bound);
        let bias = uniform(outputs, 0.1);
        tensors.push((format!("features.{index}.weight"), vec![outputs, inputs, 3, 3], weight));
        tensors.push((format!("features.{index}.bias"), vec![outputs], bias));
        inputs = outputs;
    }
    tensors
}

/// A file with `tensors`, in a folder that is deleted with it.
pub(crate) fn file(tensors: &[Named]) -> (TempDir, PathBuf) {
    let dir = TempDir::new().unwrap();
    let path = dir.path().join("vgg.safetensors");
    let views: Vec<_> = tensors
        .iter()
        .map(|(name, shape, values)| TensorView::new(name, shape, values))
        .collect();
    write_tensors(&path, &views, &BTreeMap::new()).unwrap();
    (dir, path)
}

/// The network of `layers`.
pub(crate) fn load<B: Backend>(backend: &B, layers: &[(usize, usize)]) -> Vgg<B> {
    let (_dir, path) = file(&tensors(layers));
    Vgg::load(backend, path).unwrap()
}

/// Noise as an exemplar.
pub(crate) fn exemplar(height: usize, width: usize) -> Texture {
    Texture::new("noise", height, width, noise(EXEMPLAR, 3 * height * width)).unwrap()
}

/// `[batch,3,height,width]`.
pub(crate) fn pictures(batch: usize, height: usize, width: usize) -> Vec<f64> {
    let noise = noise(EXEMPLAR + 1, batch * 3 * height * width);
    noise.into_iter().map(f64::from).collect()
}

fn noise(sequence: u64, len: usize) -> Vec<f32> {
    let mut rng = PhiloxRng::new(SEED, Stream::Test, sequence);
    (0..len).map(|_| rng.uniform() as f32).collect()
}

/// A buffer holding `values`.
pub(crate) fn upload<B: Backend>(backend: &B, values: &[f64]) -> B::Buffer {
    let values: Vec<B::Elem> = values.iter().map(|&v| B::Elem::of(v)).collect();
    backend.buffer(&values).unwrap()
}

/// The contents of a buffer.
pub(crate) fn download<B: Backend>(backend: &B, buffer: &B::Buffer) -> Vec<f64> {
    let values = backend.to_vec(buffer).unwrap();
    values.into_iter().map(Real::to_f64).collect()
}
