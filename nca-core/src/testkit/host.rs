//! Numbers between the host, where the suite holds them in f64, and a backend.

use super::compare::Mismatch;
use crate::backend::Device;
use crate::config::NcaConfig;
use crate::error::{Error, Result};
use crate::params::Params;
use crate::real::Real;
use crate::reference::Reference;

/// What results are held against.
#[must_use]
pub fn oracle() -> Reference<f64> {
    Reference::new()
}

/// A buffer holding `values`, rounded to the backend's scalar.
pub fn upload<B: Device>(backend: &B, values: &[f64]) -> Result<B::Buffer> {
    let values: Vec<B::Elem> = values.iter().map(|&v| B::Elem::of(v)).collect();
    backend.buffer(&values)
}

/// Buffers holding the tensors of `params`.
pub fn upload_all<B: Device>(backend: &B, params: &Params<Vec<f64>>) -> Result<Params<B::Buffer>> {
    params.try_map(|values| upload(backend, values))
}

/// The contents of a buffer.
pub fn download<B: Device>(backend: &B, buffer: &B::Buffer) -> Result<Vec<f64>> {
    Ok(backend.to_vec(buffer)?.into_iter().map(Real::to_f64).collect())
}

/// The contents of the tensors of `params`.
pub fn download_all<B: Device>(backend: &B, params: &Params<B::Buffer>) -> Result<Params<Vec<f64>>> {
    params.try_map(|buffer| download(backend, buffer))
}

/// A buffer of NaNs, for outputs that an operation must overwrite whatever they held.
pub fn poisoned<B: Device>(backend: &B, len: usize) -> Result<B::Buffer> {
    let mut buffer = backend.zeros(len)?;
    backend.fill(f64::NAN, &mut buffer)?;
    Ok(buffer)
}

/// Scratch buffers of NaNs: nothing may depend on what scratch memory held.
pub fn poisoned_scratch<B: Device>(backend: &B, lengths: &[usize]) -> Result<Vec<B::Buffer>> {
    lengths.iter().map(|&len| poisoned(backend, len)).collect()
}

/// The absolute value of each number.
#[must_use]
pub fn absolute(values: &[f64]) -> Vec<f64> {
    values.iter().map(|v| v.abs()).collect()
}

/// The absolute value of each weight.
#[must_use]
pub fn absolute_params(params: &Params<Vec<f64>>) -> Params<Vec<f64>> {
    Params {
        w1: absolute(&params.w1),
        b1: absolute(&params.b1),
        w2: absolute(&params.w2),
        b2: params.b2.as_deref().map(absolute),
    }
}

/// `config` with the absolute value of each kernel weight and no clamp: what it does to absolute
/// values is the magnitude of what `config` does.
#[must_use]
pub fn absolute_config(config: &NcaConfig) -> NcaConfig {
    let mut config = config.clone();
    config.clamp = None;
    for w in config.perception.kernels.iter_mut().flatten().flatten() {
        *w = w.abs();
    }
    config
}

/// An operation must answer [`Error::Length`] when one of its buffers is too long.
///
/// `call(wrong)` calls it with its buffer number `wrong` one element too long, `buffers` being
/// their number.
pub fn refuses_wrong_lengths(
    op: &'static str,
    buffers: usize,
    call: impl Fn(usize) -> Result<()>,
) -> Result<(), Mismatch> {
    for wrong in 0..buffers {
        let answer = call(wrong);
        if !matches!(answer, Err(Error::Length { .. })) {
            return Err(Mismatch::Rule {
                op,
                rule: format!("argument {wrong} one element too long: answered {answer:?}, expected Error::Length"),
            });
        }
    }
    match call(buffers) {
        Ok(()) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
