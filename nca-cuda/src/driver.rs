//! The GPU, through the CUDA driver.

// The driver is a C library found at run time; every call into it is unsafe by nature.
#![allow(unsafe_code)]

mod error;
mod gpu;

use std::ffi::c_void;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cudarc::driver::sys::{self, CUresult};
use cudarc::driver::{DriverError, result};
use nca_core::Result;

use self::error::{device_error, explain};
use self::gpu::Gpu;
use crate::device::FILL;
use crate::machine::{Address, Machine, Shape};
use crate::module::Kernel;
use crate::probe::{CudaInfo, Unavailable};

/// A stream of a GPU: work is done in the order in which it is handed over.
#[derive(Debug)]
pub(crate) struct Driver {
    stream: Stream,
    /// Bytes allocated here and not freed yet.
    allocated: AtomicUsize,
    // After the stream, which goes first.
    gpu: Arc<Gpu>,
}

#[derive(Clone, Copy, Debug)]
struct Stream(sys::CUstream);

// SAFETY: handles of the driver may be used by any thread that has the context current, and the
// driver serialises what it must.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}

impl Driver {
    /// A stream of the device that the probe found.
    pub(crate) fn new(info: CudaInfo) -> Result<Self, Unavailable> {
        let gpu = Arc::new(Gpu::new(info)?);
        // A driver may show a device and not be able to translate kernels for it: better known before the work begins.
        gpu.function(&FILL).map_err(|error| Unavailable::Failed {
            call: "the loading of kernels",
            reason: error.to_string(),
        })?;
        Self::on(gpu).map_err(|error| Unavailable::failed("cuStreamCreate", &error))
    }

    /// A stream of `gpu`, whose context this thread has.
    fn on(gpu: Arc<Gpu>) -> Result<Self, DriverError> {
        let stream = result::stream::create(result::stream::StreamKind::NonBlocking)?;
        Ok(Self {
            stream: Stream(stream),
            allocated: AtomicUsize::new(0),
            gpu,
        })
    }

    fn try_allocate(&self, bytes: usize) -> Result<Address, DriverError> {
        // SAFETY: the memory is written before it is read, by work in the same stream.
        unsafe {
            match self.gpu.pool {
                Some(_) => result::malloc_async(self.stream.0, bytes),
                None => result::malloc_sync(bytes),
            }
        }
    }

    /// Gives memory that was freed, by whichever stream, back to the device, where all of it can serve anyone.
    fn reclaim(&self) -> Result<(), DriverError> {
        result::ctx::synchronize()?;
        match &self.gpu.pool {
            // SAFETY: the pool of a device always exists.
            Some(pool) => unsafe { result::mem_pool::trim_to(pool.0, 0) },
            None => Ok(()),
        }
    }

    /// What `call` returns, which is tried once more with all freed memory given back where there was none left: kernels
    /// take memory too when they are loaded or first started, and not from the pool.
    fn with_room<T>(&self, mut call: impl FnMut() -> Result<T, DriverError>) -> Result<T, DriverError> {
        match call() {
            Err(error) if is_full(&error) => {
                self.reclaim()?;
                call()
            }
            other => other,
        }
    }

    /// Where the device's memory is when `bytes` more are not to be had.
    fn out_of_memory(&self, bytes: usize) -> String {
        let (own, all) = (
            self.allocated.load(Ordering::Relaxed),
            self.gpu.allocated.load(Ordering::Relaxed),
        );
        let free = result::mem_get_info().map_or_else(
            |_| String::new(),
            |(free, total)| format!(", and {} of {} MiB are free", mebibytes(free), mebibytes(total)),
        );
        let others = match all.saturating_sub(own) {
            0 => String::new(),
            others => format!(", other models of this process {} MiB", mebibytes(others)),
        };
        let advice = if others.is_empty() { "" } else { ", or fewer --jobs" };
        format!(
            "out of memory: {} MiB were asked for, {} MiB are held already{others}{free}; use a smaller grid, batch or memory \
             budget{advice}",
            mebibytes(bytes),
            mebibytes(own),
        )
    }
}

impl Machine for Driver {
    fn describe(&self) -> String {
        format!("cuda ({})", self.gpu.info)
    }

    fn another(&self) -> Result<Arc<dyn Machine>> {
        self.gpu.bind()?;
        let other = Self::on(Arc::clone(&self.gpu)).map_err(|error| explain("create a stream", error))?;
        Ok(Arc::new(other))
    }

    fn memory(&self) -> Option<usize> {
        Some(self.gpu.info.memory)
    }

    fn allocated(&self) -> usize {
        self.gpu.allocated.load(Ordering::Relaxed)
    }

    fn shared_limit(&self) -> usize {
        self.gpu.shared_limit
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.gpu.bind()?;
        let address = self.with_room(|| self.try_allocate(bytes)).map_err(|error| {
            if is_full(&error) {
                device_error(self.out_of_memory(bytes))
            } else {
                explain(&format!("allocate {bytes} bytes"), error)
            }
        })?;
        self.allocated.fetch_add(bytes, Ordering::Relaxed);
        self.gpu.allocated.fetch_add(bytes, Ordering::Relaxed);
        Ok(address)
    }

    fn free(&self, address: Address, bytes: usize) {
        self.allocated.fetch_sub(bytes, Ordering::Relaxed);
        self.gpu.allocated.fetch_sub(bytes, Ordering::Relaxed);
        if self.gpu.bind().is_err() {
            return;
        }
        // A device that is lost has no memory to give back.
        // SAFETY: allocated by `allocate`, and all its uses were handed to the same stream before.
        let _ = unsafe {
            match self.gpu.pool {
                Some(_) => result::free_async(address, self.stream.0),
                None => result::stream::synchronize(self.stream.0).and_then(|()| result::free_sync(address)),
            }
        };
    }

    fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the caller owns that many bytes there.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream.0) }
            .map_err(|error| explain("clear memory", error))
    }

    fn upload(&self, src: &[u8], dst: Address) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the caller owns that many bytes at `dst`; memory of the host that is not pinned has
        // been read when the call returns.
        unsafe { result::memcpy_htod_async(dst, src, self.stream.0) }
            .map_err(|error| explain("copy to the device", error))
    }

    fn download(&self, src: Address, dst: &mut [u8]) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the caller owns that many bytes at `src`; `dst` stays borrowed until all is done.
        unsafe { result::memcpy_dtoh_async(dst, src, self.stream.0) }
            .map_err(|error| explain("copy from the device", error))?;
        self.synchronize()
    }

    fn copy(&self, src: Address, dst: Address, bytes: usize) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the caller owns both.
        unsafe { result::memcpy_dtod_async(dst, src, bytes, self.stream.0) }
            .map_err(|error| explain("copy on the device", error))
    }

    fn synchronize(&self) -> Result<()> {
        self.gpu.bind()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.stream.0) }.map_err(|error| explain("finish its work", error))
    }

    fn launch(&self, kernel: &Kernel, shape: Shape, arguments: &mut [*mut c_void], _: &[usize]) -> Result<()> {
        self.gpu.bind()?;
        let function = self.gpu.function(kernel).or_else(|error| {
            // Perhaps for want of memory, as in `with_room`.
            self.reclaim().map_err(|_| error)?;
            self.gpu.function(kernel)
        })?;
        let [x, y, z] = shape.grid;
        let shared = u32::try_from(shape.shared).unwrap_or(u32::MAX);
        // SAFETY: the arguments point to values that live during the call and have the types of the
        // kernel's parameters.
        self.with_room(|| unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (shape.threads, 1, 1),
                shared,
                self.stream.0,
                arguments,
            )
        })
        .map_err(|error| explain(&format!("start the kernel {}", kernel.name), error))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.gpu.bind().is_err() {
            return;
        }
        // Nothing can be done about a failure: the device is gone.
        // SAFETY: nobody uses the stream any more.
        unsafe {
            let _ = result::stream::synchronize(self.stream.0);
            let _ = result::stream::destroy(self.stream.0);
        }
    }
}

fn is_full(error: &DriverError) -> bool {
    error.0 == CUresult::CUDA_ERROR_OUT_OF_MEMORY
}

fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}
