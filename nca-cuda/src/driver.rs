//! The GPU, through the CUDA driver.

// The driver is a C library found at run time; every call into it is unsafe by nature.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::{CString, c_void};
use std::sync::{Arc, PoisonError, RwLock};

use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute_enum, CUresult};
use cudarc::driver::{CudaContext, DriverError, result};
use nca_core::{Error, Result};

use crate::machine::{Address, Machine, Shape};
use crate::module::{Kernel, Module};
use crate::probe::{CudaInfo, Unavailable};

/// Dynamic shared memory that needs no permission.
const FREE_SHARED: usize = 48 * 1024;

/// One GPU and one stream: work is done in the order in which it is handed over.
#[derive(Debug)]
pub(crate) struct Driver {
    info: CudaInfo,
    context: Arc<CudaContext>,
    stream: Stream,
    /// Whether memory can be allocated and freed in the order of the stream, without waiting.
    pooled: bool,
    shared_limit: usize,
    functions: RwLock<HashMap<Kernel, Function>>,
    modules: RwLock<HashMap<&'static str, Loaded>>,
}

#[derive(Clone, Copy, Debug)]
struct Stream(sys::CUstream);
#[derive(Clone, Copy, Debug)]
struct Function(sys::CUfunction);
#[derive(Clone, Copy, Debug)]
struct Loaded(sys::CUmodule);

// SAFETY: handles of the driver may be used by any thread that has the context current, and the
// driver serialises what it must.
unsafe impl Send for Stream {}
// SAFETY: as above.
unsafe impl Sync for Stream {}
// SAFETY: as above.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}
// SAFETY: as above.
unsafe impl Send for Loaded {}
// SAFETY: as above.
unsafe impl Sync for Loaded {}

impl Driver {
    /// The device that the probe found.
    pub(crate) fn new(info: CudaInfo) -> Result<Self, Unavailable> {
        let failed = |call| move |error: DriverError| Unavailable::failed(call, &error);
        let context = CudaContext::new(info.ordinal).map_err(failed("the creation of a context"))?;
        context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        let attribute = |which| context.attribute(which).map_err(failed("cuDeviceGetAttribute"));
        let pooled = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0;
        let shared = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        if pooled {
            keep_freed_memory(context.cu_device()).map_err(failed("cuMemPoolSetAttribute"))?;
        }
        let stream =
            result::stream::create(result::stream::StreamKind::NonBlocking).map_err(failed("cuStreamCreate"))?;
        Ok(Self {
            info,
            context,
            stream: Stream(stream),
            pooled,
            shared_limit: usize::try_from(shared).unwrap_or(FREE_SHARED),
            functions: RwLock::default(),
            modules: RwLock::default(),
        })
    }

    /// Makes the device the one that this thread's calls mean.
    fn bind(&self) -> Result<()> {
        self.context
            .bind_to_thread()
            .map_err(|error| explain("use the device", error))
    }

    /// The function of a kernel, loaded when it is first wanted.
    fn function(&self, kernel: &Kernel) -> Result<Function> {
        if let Some(&function) = self
            .functions
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(kernel)
        {
            return Ok(function);
        }
        let module = self.module(kernel.module)?;
        let name = c_string(kernel.name)?;
        // SAFETY: the module is loaded and stays so.
        let function = unsafe { result::module::get_function(module.0, name) }
            .map_err(|error| explain(&format!("find the kernel {}", kernel.name), error))?;
        if self.shared_limit > FREE_SHARED {
            let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES;
            let limit = self.dynamic_limit(function)?;
            // SAFETY: the function was just found.
            unsafe { result::function::set_function_attribute(function, attribute, limit) }
                .map_err(|error| explain(&format!("give the kernel {} shared memory", kernel.name), error))?;
        }
        let mut functions = self.functions.write().unwrap_or_else(PoisonError::into_inner);
        Ok(*functions.entry(*kernel).or_insert(Function(function)))
    }

    /// Dynamic shared memory that a block of `function` may have beside its static one.
    fn dynamic_limit(&self, function: sys::CUfunction) -> Result<i32> {
        let attribute = CUfunction_attribute_enum::CU_FUNC_ATTRIBUTE_SHARED_SIZE_BYTES;
        // SAFETY: the function was just found.
        let fixed = unsafe { result::function::get_function_attribute(function, attribute) }
            .map_err(|error| explain("ask for the shared memory of a kernel", error))?;
        Ok(i32::try_from(self.shared_limit).unwrap_or(i32::MAX) - fixed)
    }

    fn module(&self, stem: &'static str) -> Result<Loaded> {
        if let Some(&module) = self.modules.read().unwrap_or_else(PoisonError::into_inner).get(stem) {
            return Ok(module);
        }
        let source = Module::of(stem).ok_or_else(|| device_error(format!("there is no module of kernels {stem}")))?;
        let ptx = c_string(source.ptx)?;
        // SAFETY: the image is text that ends with a zero.
        let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) }
            .map_err(|error| explain(&format!("load the kernels of {stem}"), error))?;
        let mut modules = self.modules.write().unwrap_or_else(PoisonError::into_inner);
        Ok(*modules.entry(stem).or_insert(Loaded(module)))
    }
}

impl Machine for Driver {
    fn describe(&self) -> String {
        format!("cuda ({})", self.info)
    }

    fn shared_limit(&self) -> usize {
        self.shared_limit
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        self.bind()?;
        // SAFETY: the memory is written before it is read, by work in the same stream.
        let answer = if self.pooled {
            unsafe { result::malloc_async(self.stream.0, bytes) }
        } else {
            // SAFETY: as above.
            unsafe { result::malloc_sync(bytes) }
        };
        answer.map_err(|error| match (error.0, result::mem_get_info()) {
            (CUresult::CUDA_ERROR_OUT_OF_MEMORY, Ok((free, total))) => device_error(format!(
                "out of memory: {} MiB were asked for, {} of {} MiB are free; use a smaller grid, batch or memory budget",
                mebibytes(bytes),
                mebibytes(free),
                mebibytes(total)
            )),
            _ => explain(&format!("allocate {bytes} bytes"), error),
        })
    }

    fn free(&self, address: Address, _: usize) {
        if self.context.bind_to_thread().is_err() {
            return;
        }
        // A device that is lost has no memory to give back.
        // SAFETY: allocated by `allocate`, and all its uses were handed to the same stream before.
        let _ = unsafe {
            if self.pooled {
                result::free_async(address, self.stream.0)
            } else {
                result::stream::synchronize(self.stream.0).and_then(|()| result::free_sync(address))
            }
        };
    }

    fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller owns that many bytes there.
        unsafe { result::memset_d8_async(address, 0, bytes, self.stream.0) }
            .map_err(|error| explain("clear memory", error))
    }

    fn upload(&self, src: &[u8], dst: Address) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller owns that many bytes at `dst`; memory of the host that is not pinned has
        // been read when the call returns.
        unsafe { result::memcpy_htod_async(dst, src, self.stream.0) }
            .map_err(|error| explain("copy to the device", error))
    }

    fn download(&self, src: Address, dst: &mut [u8]) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller owns that many bytes at `src`; `dst` stays borrowed until all is done.
        unsafe { result::memcpy_dtoh_async(dst, src, self.stream.0) }
            .map_err(|error| explain("copy from the device", error))?;
        self.synchronize()
    }

    fn copy(&self, src: Address, dst: Address, bytes: usize) -> Result<()> {
        self.bind()?;
        // SAFETY: the caller owns both.
        unsafe { result::memcpy_dtod_async(dst, src, bytes, self.stream.0) }
            .map_err(|error| explain("copy on the device", error))
    }

    fn synchronize(&self) -> Result<()> {
        self.bind()?;
        // SAFETY: the stream lives as long as `self`.
        unsafe { result::stream::synchronize(self.stream.0) }.map_err(|error| explain("finish its work", error))
    }

    fn launch(&self, kernel: &Kernel, shape: Shape, arguments: &mut [*mut c_void], _: &[usize]) -> Result<()> {
        self.bind()?;
        let function = self.function(kernel)?;
        let [x, y, z] = shape.grid;
        let shared = u32::try_from(shape.shared).unwrap_or(u32::MAX);
        // SAFETY: the arguments point to values that live during the call and have the types of the
        // kernel's parameters.
        unsafe {
            result::launch_kernel(
                function.0,
                (x, y, z),
                (shape.threads, 1, 1),
                shared,
                self.stream.0,
                arguments,
            )
        }
        .map_err(|error| explain(&format!("start the kernel {}", kernel.name), error))
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_err() {
            return;
        }
        let modules = self.modules.get_mut().unwrap_or_else(PoisonError::into_inner);
        // Nothing can be done about a failure: the device is gone.
        // SAFETY: nobody uses the stream and the modules any more.
        unsafe {
            let _ = result::stream::synchronize(self.stream.0);
            let _ = result::stream::destroy(self.stream.0);
            for module in modules.values() {
                let _ = result::module::unload(module.0);
            }
        }
    }
}

/// Freed memory stays with the process: training frees and allocates the same sizes again and again.
fn keep_freed_memory(device: sys::CUdevice) -> Result<(), DriverError> {
    let mut threshold = u64::MAX;
    // SAFETY: the pool of a device always exists; the attribute is a 64-bit number.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        result::mem_pool::set_attribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut threshold).cast(),
        )
    }
}

fn mebibytes(bytes: usize) -> usize {
    bytes.div_ceil(1 << 20)
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| device_error("a kernel has a zero in its text".to_owned()))
}

fn device_error(message: String) -> Error {
    Error::Device {
        backend: "cuda",
        message,
    }
}

/// What the driver says, and what can be done.
fn explain(what: &str, error: DriverError) -> Error {
    let words = error.error_string().map_or_else(
        |_| format!("error {}", error.0 as u32),
        |text| text.to_string_lossy().into_owned(),
    );
    let advice = match error.0 {
        CUresult::CUDA_ERROR_OUT_OF_MEMORY => "; use a smaller grid, batch or memory budget",
        CUresult::CUDA_ERROR_NO_BINARY_FOR_GPU
        | CUresult::CUDA_ERROR_INVALID_PTX
        | CUresult::CUDA_ERROR_UNSUPPORTED_PTX_VERSION => "; the driver cannot run these kernels: update it",
        CUresult::CUDA_ERROR_ILLEGAL_ADDRESS
        | CUresult::CUDA_ERROR_LAUNCH_FAILED
        | CUresult::CUDA_ERROR_LAUNCH_TIMEOUT
        | CUresult::CUDA_ERROR_ECC_UNCORRECTABLE
        | CUresult::CUDA_ERROR_HARDWARE_STACK_ERROR
        | CUresult::CUDA_ERROR_ILLEGAL_INSTRUCTION
        | CUresult::CUDA_ERROR_MISALIGNED_ADDRESS => {
            "; the device is lost to this process: start again, finished work is on disk"
        }
        _ => "",
    };
    device_error(format!("the device could not {what}: {words}{advice}"))
}
