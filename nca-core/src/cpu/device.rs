//! Memory: what the host sees is what the backend computes on.

use rayon::prelude::*;

use super::{Buffer, Cpu, Indices};
use crate::backend::Device;
use crate::error::{Result, check_len};
use crate::memory::filled;
use crate::precision::Precision;

/// Floats a task copies: 512 KiB.
const COPY_PART: usize = 128 * 1024;

impl Device for Cpu {
    type Elem = f32;
    type Buffer = Buffer;
    type Indices = Indices;

    fn name(&self) -> &'static str {
        "cpu"
    }

    fn describe(&self) -> String {
        let plural = if self.threads == 1 { "" } else { "s" };
        let bf16 = self.bf16.map_or_else(String::new, |unit| format!(", bf16 by {unit}"));
        format!("cpu ({} thread{plural}, {}{bf16})", self.threads, self.simd)
    }

    fn precision(&self) -> Precision {
        self.bf16.map_or(Precision::F32, |_| Precision::Bf16)
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(len)
    }

    fn zero_indices(&self, len: usize) -> Result<Indices> {
        Ok(Indices(filled("cpu", len, 0)?))
    }

    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len()
    }

    fn upload(&self, src: &[f32], dst: &mut Buffer) -> Result<()> {
        check_len("upload", "source", src.len(), dst.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn download(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        check_len("download", "destination", dst.len(), src.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn upload_indices(&self, src: &[u32], dst: &mut Indices) -> Result<()> {
        check_len("upload_indices", "source", src.len(), dst.0.len())?;
        dst.0.copy_from_slice(src);
        Ok(())
    }

    fn download_indices(&self, src: &Indices, dst: &mut [u32]) -> Result<()> {
        check_len("download_indices", "destination", dst.len(), src.0.len())?;
        dst.copy_from_slice(&src.0);
        Ok(())
    }

    fn copy(&self, src: &Buffer, src_offset: usize, dst: &mut Buffer, dst_offset: usize, len: usize) -> Result<()> {
        let (src_len, dst_len) = (src.len(), dst.len());
        let src = src.get(src_offset..).and_then(|s| s.get(..len));
        let dst = dst.get_mut(dst_offset..).and_then(|d| d.get_mut(..len));
        match (src, dst) {
            (Some(src), Some(dst)) => {
                // States of many megabytes: one core alone does not reach the memory's bandwidth.
                self.install(|| {
                    let parts = dst.par_chunks_mut(COPY_PART).zip(src.par_chunks(COPY_PART));
                    parts.for_each(|(dst, src)| dst.copy_from_slice(src));
                });
                Ok(())
            }
            (None, _) => check_len("copy", "source", src_len, src_offset.saturating_add(len)),
            (_, None) => check_len("copy", "destination", dst_len, dst_offset.saturating_add(len)),
        }
    }

    fn fill(&self, value: f64, dst: &mut Buffer) -> Result<()> {
        dst.fill(value as f32);
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
