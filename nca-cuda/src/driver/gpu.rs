//! One GPU: what all streams of this process on it share.

// The driver is a C library found at run time; every call into it is unsafe by nature.
#![allow(unsafe_code)]

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use cudarc::driver::sys::{self, CUdevice_attribute, CUfunction_attribute_enum};
use cudarc::driver::{CudaContext, DriverError, result};
use nca_core::Result;

use super::error::{device_error, explain};
use crate::module::{Kernel, Module};
use crate::probe::{CudaInfo, Unavailable};

/// Dynamic shared memory that needs no permission.
const FREE_SHARED: usize = 48 * 1024;

/// A GPU, its context, and the kernels that have been loaded into that.
#[derive(Debug)]
pub(super) struct Gpu {
    pub(super) info: CudaInfo,
    context: Arc<CudaContext>,
    /// Where memory can be allocated and freed in the order of a stream, without waiting: from there.
    pub(super) pool: Option<Pool>,
    pub(super) shared_limit: usize,
    /// Bytes that the streams of this process hold together.
    pub(super) allocated: AtomicUsize,
    functions: RwLock<HashMap<Kernel, Function>>,
    modules: Mutex<HashMap<&'static str, Loaded>>,
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Function(pub(super) sys::CUfunction);
#[derive(Clone, Copy, Debug)]
pub(super) struct Pool(pub(super) sys::CUmemoryPool);
#[derive(Clone, Copy, Debug)]
struct Loaded(sys::CUmodule);

// SAFETY: handles of the driver may be used by any thread that has the context current, and the
// driver serialises what it must.
unsafe impl Send for Function {}
// SAFETY: as above.
unsafe impl Sync for Function {}
// SAFETY: as above.
unsafe impl Send for Pool {}
// SAFETY: as above.
unsafe impl Sync for Pool {}
// SAFETY: as above.
unsafe impl Send for Loaded {}

impl Gpu {
    /// The device that the probe found.
    pub(super) fn new(info: CudaInfo) -> Result<Self, Unavailable> {
        let failed = |call| move |error: DriverError| Unavailable::failed(call, &error);
        let context = CudaContext::new(info.ordinal).map_err(failed("the creation of a context"))?;
        context.bind_to_thread().map_err(failed("cuCtxSetCurrent"))?;
        let attribute = |which| context.attribute(which).map_err(failed("cuDeviceGetAttribute"));
        let pooled = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED)? != 0;
        let shared = attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN)?;
        let pool = if pooled {
            let pool = pool_of(context.cu_device()).map_err(failed("cuMemPoolSetAttribute"))?;
            Some(Pool(pool))
        } else {
            None
        };
        Ok(Self {
            info,
            context,
            pool,
            shared_limit: usize::try_from(shared).unwrap_or(FREE_SHARED),
            allocated: AtomicUsize::new(0),
            functions: RwLock::default(),
            modules: Mutex::default(),
        })
    }

    /// Makes the device the one that this thread's calls mean.
    pub(super) fn bind(&self) -> Result<()> {
        self.context
            .bind_to_thread()
            .map_err(|error| explain("use the device", error))
    }

    /// The function of a kernel, loaded when it is first wanted.
    pub(super) fn function(&self, kernel: &Kernel) -> Result<Function> {
        let functions = self.functions.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(&function) = functions.get(kernel) {
            return Ok(function);
        }
        drop(functions);
        // Held until the function is there: of several threads that want a module one loads it.
        let modules = self.modules.lock().unwrap_or_else(PoisonError::into_inner);
        let module = Self::module(modules, kernel.module)?;
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

    fn module(mut modules: MutexGuard<'_, HashMap<&'static str, Loaded>>, stem: &'static str) -> Result<Loaded> {
        if let Some(&module) = modules.get(stem) {
            return Ok(module);
        }
        let source = Module::of(stem).ok_or_else(|| device_error(format!("there is no module of kernels {stem}")))?;
        let ptx = c_string(source.ptx)?;
        // SAFETY: the image is text that ends with a zero.
        let module = unsafe { result::module::load_data(ptx.as_ptr().cast()) }
            .map_err(|error| explain(&format!("load the kernels of {stem}"), error))?;
        modules.insert(stem, Loaded(module));
        Ok(Loaded(module))
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        if self.context.bind_to_thread().is_err() {
            return;
        }
        let modules = self.modules.get_mut().unwrap_or_else(PoisonError::into_inner);
        for module in modules.values() {
            // Nothing can be done about a failure: the device is gone.
            // SAFETY: the streams that used the module are gone.
            let _ = unsafe { result::module::unload(module.0) };
        }
    }
}

/// The device's pool of memory, told to keep what is freed: training frees and allocates the same sizes again and again.
fn pool_of(device: sys::CUdevice) -> Result<sys::CUmemoryPool, DriverError> {
    let mut threshold = u64::MAX;
    // SAFETY: the pool of a device always exists; the attribute is a 64-bit number.
    unsafe {
        let pool = result::device::get_default_mem_pool(device)?;
        result::mem_pool::set_attribute(
            pool,
            sys::CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD,
            (&raw mut threshold).cast(),
        )?;
        Ok(pool)
    }
}

fn c_string(text: &str) -> Result<CString> {
    CString::new(text).map_err(|_| device_error("a kernel has a zero in its text".to_owned()))
}
