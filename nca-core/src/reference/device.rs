//! Memory: plain vectors.

use super::{Reference, mismatch};
use crate::backend::Device;
use crate::error::{Result, check_len};
use crate::memory::filled;
use crate::precision::Precision;
use crate::real::Real;

impl<T: Real> Device for Reference<T> {
    type Elem = T;
    type Buffer = Vec<T>;
    type Indices = Vec<u32>;

    fn name(&self) -> &'static str {
        "reference"
    }

    fn describe(&self) -> String {
        let products = match self.precision {
            Precision::F32 => String::new(),
            precision => format!(", products in {precision}"),
        };
        format!(
            "reference: ndarray, {}, one thread{products}",
            std::any::type_name::<T>()
        )
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn zeros(&self, len: usize) -> Result<Vec<T>> {
        filled("reference", len, T::zero())
    }

    fn zero_indices(&self, len: usize) -> Result<Vec<u32>> {
        filled("reference", len, 0)
    }

    fn len(&self, buffer: &Vec<T>) -> usize {
        buffer.len()
    }

    fn upload(&self, src: &[T], dst: &mut Vec<T>) -> Result<()> {
        check_len("upload", "source", src.len(), dst.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn download(&self, src: &Vec<T>, dst: &mut [T]) -> Result<()> {
        check_len("download", "destination", dst.len(), src.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn upload_indices(&self, src: &[u32], dst: &mut Vec<u32>) -> Result<()> {
        check_len("upload_indices", "source", src.len(), dst.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn download_indices(&self, src: &Vec<u32>, dst: &mut [u32]) -> Result<()> {
        check_len("download_indices", "destination", dst.len(), src.len())?;
        dst.copy_from_slice(src);
        Ok(())
    }

    fn copy(&self, src: &Vec<T>, src_offset: usize, dst: &mut Vec<T>, dst_offset: usize, len: usize) -> Result<()> {
        let (src_end, dst_end) = (src_offset.saturating_add(len), dst_offset.saturating_add(len));
        let (src_len, dst_len) = (src.len(), dst.len());
        let from = src
            .get(src_offset..src_end)
            .ok_or_else(|| mismatch("copy", "source", src_len, src_end))?;
        dst.get_mut(dst_offset..dst_end)
            .ok_or_else(|| mismatch("copy", "destination", dst_len, dst_end))?
            .copy_from_slice(from);
        Ok(())
    }

    fn fill(&self, value: f64, dst: &mut Vec<T>) -> Result<()> {
        dst.fill(T::of(value));
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        Ok(())
    }
}
