//! Memory of a device.

use std::fmt::Debug;

use crate::config::NcaConfig;
use crate::error::Result;
use crate::memory::filled;
use crate::params::{HostParams, Params, param_sizes};
use crate::precision::Precision;
use crate::real::Real;

/// Where buffers live and how they are filled and read.
pub trait Device: Send + Sync {
    /// Scalar of host slices.
    type Elem: Real;
    /// A one-dimensional array of [`Device::Elem`] on the device.
    type Buffer: Debug + Send + Sync;
    /// A one-dimensional array of 32-bit indices on the device.
    type Indices: Debug + Send + Sync;

    /// Short name, as `--backend` takes it.
    fn name(&self) -> &'static str;

    /// One line for logs: the device, its threads or memory, its instruction set.
    fn describe(&self) -> String;

    /// What the factors of products may be rounded to.
    fn precision(&self) -> Precision {
        Precision::F32
    }

    /// A new buffer of `len` zeros.
    fn zeros(&self, len: usize) -> Result<Self::Buffer>;

    /// A new index array of `len` zeros.
    fn zero_indices(&self, len: usize) -> Result<Self::Indices>;

    /// Number of elements.
    fn len(&self, buffer: &Self::Buffer) -> usize;

    /// Copies `src` into all of `dst`.
    fn upload(&self, src: &[Self::Elem], dst: &mut Self::Buffer) -> Result<()>;

    /// Copies all of `src` into `dst`; waits for the device.
    fn download(&self, src: &Self::Buffer, dst: &mut [Self::Elem]) -> Result<()>;

    /// Copies `src` into all of `dst`.
    fn upload_indices(&self, src: &[u32], dst: &mut Self::Indices) -> Result<()>;

    /// Copies all of `src` into `dst`; waits for the device.
    fn download_indices(&self, src: &Self::Indices, dst: &mut [u32]) -> Result<()>;

    /// `dst[dst_offset..][..len] = src[src_offset..][..len]`.
    fn copy(
        &self,
        src: &Self::Buffer,
        src_offset: usize,
        dst: &mut Self::Buffer,
        dst_offset: usize,
        len: usize,
    ) -> Result<()>;

    /// Sets every element.
    fn fill(&self, value: f64, dst: &mut Self::Buffer) -> Result<()>;

    /// Waits until all work handed to the device is done.
    fn synchronize(&self) -> Result<()>;

    /// A new buffer holding `src`.
    fn buffer(&self, src: &[Self::Elem]) -> Result<Self::Buffer> {
        let mut dst = self.zeros(src.len())?;
        self.upload(src, &mut dst)?;
        Ok(dst)
    }

    /// A new index array holding `src`.
    fn indices(&self, src: &[u32]) -> Result<Self::Indices> {
        let mut dst = self.zero_indices(src.len())?;
        self.upload_indices(src, &mut dst)?;
        Ok(dst)
    }

    /// The contents of a buffer.
    fn to_vec(&self, src: &Self::Buffer) -> Result<Vec<Self::Elem>> {
        let mut dst = filled("host", self.len(src), Self::Elem::default())?;
        self.download(src, &mut dst)?;
        Ok(dst)
    }

    /// New buffers of the given lengths, as the `…_scratch` methods return them.
    fn scratch(&self, lengths: &[usize]) -> Result<Vec<Self::Buffer>> {
        lengths.iter().map(|&len| self.zeros(len)).collect()
    }
}

/// Weights copied to the device.
pub fn upload_params<B: Device>(backend: &B, params: &HostParams) -> Result<Params<B::Buffer>> {
    params.try_map(|values| {
        let values: Vec<B::Elem> = values.iter().map(|&v| B::Elem::of(f64::from(v))).collect();
        backend.buffer(&values)
    })
}

/// Zeros on the device in the shapes of `config`: gradients, Adam moments.
pub fn zero_params<B: Device>(backend: &B, config: &NcaConfig) -> Result<Params<B::Buffer>> {
    param_sizes(config).try_map(|&len| backend.zeros(len))
}

/// Weights copied to the host, rounded to f32.
pub fn download_params<B: Device>(backend: &B, params: &Params<B::Buffer>) -> Result<HostParams> {
    params.try_map(|buffer| Ok(backend.to_vec(buffer)?.into_iter().map(|v| v.to_f64() as f32).collect()))
}
