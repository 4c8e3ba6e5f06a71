//! Memory: what the host sees is what the kernels compute on.

// Bytes of the host are viewed as numbers and back.
#![allow(unsafe_code)]

use nca_core::backend::Device;
use nca_core::{Precision, Result, check_len};

use crate::launch::launch;
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda, Indices};

pub(crate) const FILL: Kernel = Kernel::new("fill", "fill");

/// Numbers without padding and without invalid bit patterns.
///
/// # Safety
/// That is what implementors promise.
unsafe trait Plain: Copy {}
// SAFETY: any bits are a float.
unsafe impl Plain for f32 {}
// SAFETY: any bits are an integer.
unsafe impl Plain for u32 {}

fn bytes_of<T: Plain>(values: &[T]) -> &[u8] {
    // SAFETY: `T` has no padding; bytes need no alignment.
    unsafe { std::slice::from_raw_parts(values.as_ptr().cast(), size_of_val(values)) }
}

fn bytes_of_mut<T: Plain>(values: &mut [T]) -> &mut [u8] {
    // SAFETY: as in `bytes_of`; any bytes are a `T`.
    unsafe { std::slice::from_raw_parts_mut(values.as_mut_ptr().cast(), size_of_val(values)) }
}

impl Cuda {
    fn write<T: Plain>(&self, src: &[T], dst: &Buffer) -> Result<()> {
        if src.is_empty() {
            return Ok(());
        }
        self.machine().upload(bytes_of(src), dst.address())
    }

    fn read<T: Plain>(&self, src: &Buffer, dst: &mut [T]) -> Result<()> {
        if dst.is_empty() {
            return self.machine().synchronize();
        }
        self.machine().download(src.address(), bytes_of_mut(dst))
    }
}

impl Device for Cuda {
    type Elem = f32;
    type Buffer = Buffer;
    type Indices = Indices;

    fn name(&self) -> &'static str {
        "cuda"
    }

    fn describe(&self) -> String {
        let machine = self.machine().describe();
        match self.precision {
            Precision::F32 => machine,
            precision => format!("{machine}, products in {precision}"),
        }
    }

    fn precision(&self) -> Precision {
        self.precision
    }

    fn zeros(&self, len: usize) -> Result<Buffer> {
        Buffer::zeros(self.machine(), len)
    }

    fn zero_indices(&self, len: usize) -> Result<Indices> {
        Buffer::zeros(self.machine(), len).map(Indices)
    }

    fn len(&self, buffer: &Buffer) -> usize {
        buffer.len()
    }

    fn upload(&self, src: &[f32], dst: &mut Buffer) -> Result<()> {
        check_len("upload", "source", src.len(), dst.len())?;
        self.write(src, dst)
    }

    fn download(&self, src: &Buffer, dst: &mut [f32]) -> Result<()> {
        check_len("download", "destination", dst.len(), src.len())?;
        self.read(src, dst)
    }

    fn upload_indices(&self, src: &[u32], dst: &mut Indices) -> Result<()> {
        check_len("upload_indices", "source", src.len(), dst.0.len())?;
        self.write(src, &dst.0)
    }

    fn download_indices(&self, src: &Indices, dst: &mut [u32]) -> Result<()> {
        check_len("download_indices", "destination", dst.len(), src.0.len())?;
        self.read(&src.0, dst)
    }

    fn copy(&self, src: &Buffer, src_offset: usize, dst: &mut Buffer, dst_offset: usize, len: usize) -> Result<()> {
        for (what, offset, found) in [
            ("source", src_offset, src.len()),
            ("destination", dst_offset, dst.len()),
        ] {
            let end = offset.saturating_add(len);
            if end > found {
                check_len("copy", what, found, end)?;
            }
        }
        if len == 0 {
            return Ok(());
        }
        self.machine()
            .copy(src.at(src_offset), dst.at(dst_offset), len * size_of::<f32>())
    }

    fn fill(&self, value: f64, dst: &mut Buffer) -> Result<()> {
        let len = dst.len();
        launch!(self, FILL, Shape::linear(len), value as f32, dst.address(), len as u64)
    }

    fn synchronize(&self) -> Result<()> {
        self.machine().synchronize()
    }
}
