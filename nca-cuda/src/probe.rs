//! Is there a GPU, and if not, why not.

// The driver is a C library found at run time; every call into it is unsafe by nature.
#![allow(unsafe_code)]

use std::ffi::c_int;
use std::fmt;

use cudarc::driver::sys::{self, CUdevice_attribute};
use cudarc::driver::{CudaContext, DriverError, result};

/// Oldest CUDA version that the driver must support, as (major, minor).
///
/// The functions bound are those of this version: an older driver lacks some of them, and a call of
/// one that is missing panics.
pub const MIN_DRIVER: (u32, u32) = (12, 0);

/// Lowest compute capability of a device, as (major, minor): that of the compiled kernels.
pub const MIN_COMPUTE: (u32, u32) = (8, 0);

/// Every function of the driver that this crate calls.
const SYMBOLS: [&str; 34] = [
    "cuInit",
    "cuDriverGetVersion",
    "cuGetErrorString",
    "cuDeviceGetCount",
    "cuDeviceGet",
    "cuDeviceGetAttribute",
    "cuDeviceTotalMem_v2",
    "cuDeviceGetName",
    "cuDevicePrimaryCtxRetain",
    "cuDevicePrimaryCtxRelease_v2",
    "cuCtxGetCurrent",
    "cuCtxSetCurrent",
    "cuCtxSynchronize",
    "cuDeviceGetDefaultMemPool",
    "cuMemPoolSetAttribute",
    "cuMemPoolTrimTo",
    "cuMemAllocAsync",
    "cuMemFreeAsync",
    "cuMemAlloc_v2",
    "cuMemFree_v2",
    "cuMemsetD8Async",
    "cuMemcpyHtoDAsync_v2",
    "cuMemcpyDtoHAsync_v2",
    "cuMemcpyDtoDAsync_v2",
    "cuMemGetInfo_v2",
    "cuStreamCreate",
    "cuStreamDestroy_v2",
    "cuStreamSynchronize",
    "cuModuleLoadData",
    "cuModuleGetFunction",
    "cuModuleUnload",
    "cuFuncGetAttribute",
    "cuFuncSetAttribute",
    "cuLaunchKernel",
];

/// A device that can be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CudaInfo {
    /// Index among the visible devices.
    pub ordinal: usize,
    /// The maker's name.
    pub name: String,
    /// Compute capability, (major, minor).
    pub compute: (u32, u32),
    /// Memory of the device, in bytes.
    pub memory: usize,
    /// Newest CUDA version that the driver supports, (major, minor).
    pub driver: (u32, u32),
    /// Multiprocessors.
    pub multiprocessors: u32,
    /// Highest clock of the multiprocessors, in kHz.
    pub clock: u32,
}

impl CudaInfo {
    /// Operations a second in f32 that the device can do at its highest clock: a multiply-add counts as two.
    #[must_use]
    pub fn peak(&self) -> f64 {
        // The A100 (8.0) has 64 units for f32 in a multiprocessor, everything since has 128.
        let units = if self.compute == (8, 0) { 64.0 } else { 128.0 };
        2.0 * units * f64::from(self.multiprocessors) * f64::from(self.clock) * 1e3
    }
}

impl fmt::Display for CudaInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name, compute, driver, ..
        } = self;
        let gib = self.memory as f64 / f64::from(1 << 30);
        write!(
            f,
            "{name} (compute {}.{}, {gib:.1} GiB, driver for CUDA {}.{})",
            compute.0, compute.1, driver.0, driver.1
        )
    }
}

/// Why there is no CUDA device.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unavailable {
    /// The driver is not installed.
    #[error("no CUDA driver (libcuda) found")]
    NoDriver,
    /// Something called libcuda is there, but it is not a CUDA driver.
    #[error("the CUDA driver (libcuda) lacks the function {symbol}; is the installation complete?")]
    NotADriver {
        /// The function that is missing.
        symbol: &'static str,
    },
    /// The driver is too old.
    #[error(
        "the CUDA driver supports CUDA {}.{}, needed is {}.{} or newer; update the NVIDIA driver",
        found.0, found.1, MIN_DRIVER.0, MIN_DRIVER.1
    )]
    OldDriver {
        /// Newest CUDA version it supports.
        found: (u32, u32),
    },
    /// The driver works, but shows no device.
    #[error("the CUDA driver shows no device (is there an NVIDIA GPU, and is CUDA_VISIBLE_DEVICES right?)")]
    NoDevice,
    /// The device is too old for the kernels.
    #[error(
        "{name} has compute capability {}.{}, needed is {}.{} or newer",
        found.0, found.1, MIN_COMPUTE.0, MIN_COMPUTE.1
    )]
    OldDevice {
        /// The maker's name.
        name: String,
        /// Its compute capability.
        found: (u32, u32),
    },
    /// The driver refused a call.
    #[error("the CUDA driver failed at {call}: {reason}")]
    Failed {
        /// What was asked of it.
        call: &'static str,
        /// Its answer.
        reason: String,
    },
}

impl From<Unavailable> for nca_core::Error {
    fn from(reason: Unavailable) -> Self {
        Self::Device {
            backend: "cuda",
            message: reason.to_string(),
        }
    }
}

/// Looks for the first CUDA device and makes sure that a context can be created on it.
///
/// Never panics, and asks nothing of the machine: where there is no driver, no device or no
/// permission, the answer says so.
///
/// ```
/// match nca_cuda::probe() {
///     Ok(device) => println!("using {device}"),
///     Err(reason) => println!("using the CPU: {reason}"),
/// }
/// ```
pub fn probe() -> Result<CudaInfo, Unavailable> {
    check_driver()?;
    result::init().map_err(|error| Unavailable::failed("cuInit", &error))?;
    let driver = driver_version()?;
    let count = result::device::get_count().map_err(|error| Unavailable::failed("cuDeviceGetCount", &error))?;
    if count < 1 {
        return Err(Unavailable::NoDevice);
    }
    describe(0, driver)
}

/// Name, size and capability of device `ordinal`, after creating a context on it.
fn describe(ordinal: c_int, driver: (u32, u32)) -> Result<CudaInfo, Unavailable> {
    let device = result::device::get(ordinal).map_err(|error| Unavailable::failed("cuDeviceGet", &error))?;
    let attribute = |which: CUdevice_attribute| {
        // SAFETY: `device` was returned by `result::device::get`.
        unsafe { result::device::get_attribute(device, which) }
            .map(|value| u32::try_from(value).unwrap_or(0))
            .map_err(|error| Unavailable::failed("cuDeviceGetAttribute", &error))
    };
    let compute = (
        attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR)?,
        attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR)?,
    );
    // SAFETY: `device` was returned by `result::device::get`.
    let memory = unsafe { result::device::total_mem(device) }
        .map_err(|error| Unavailable::failed("cuDeviceTotalMem", &error))?;
    let name = result::device::get_name(device).map_err(|error| Unavailable::failed("cuDeviceGetName", &error))?;
    if compute < MIN_COMPUTE {
        return Err(Unavailable::OldDevice { name, found: compute });
    }
    // A device may be there and still refuse work: exclusive mode, a lost GPU, no memory left.
    let ordinal = usize::try_from(ordinal).unwrap_or(0);
    CudaContext::new(ordinal).map_err(|error| Unavailable::failed("the creation of a context", &error))?;
    Ok(CudaInfo {
        ordinal,
        name,
        compute,
        memory,
        driver,
        multiprocessors: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT)?,
        clock: attribute(CUdevice_attribute::CU_DEVICE_ATTRIBUTE_CLOCK_RATE)?,
    })
}

/// The library must be there, be a driver, and be recent enough; each step makes the next one safe.
fn check_driver() -> Result<(), Unavailable> {
    // SAFETY: loads the driver library, if there is one, and runs its initialisers.
    if !unsafe { sys::is_culib_present() } {
        return Err(Unavailable::NoDriver);
    }
    // SAFETY: the library is present, so this returns a handle; only addresses are looked up.
    let library = unsafe { sys::culib() };
    for symbol in SYMBOLS {
        // SAFETY: the symbol is not called through this type.
        if unsafe { library.get::<unsafe extern "C" fn()>(symbol.as_bytes()) }.is_err() {
            return Err(Unavailable::NotADriver { symbol });
        }
    }
    let found = driver_version()?;
    if found < MIN_DRIVER {
        return Err(Unavailable::OldDriver { found });
    }
    Ok(())
}

/// Newest CUDA version the driver supports; may be asked before `cuInit`.
fn driver_version() -> Result<(u32, u32), Unavailable> {
    let mut version: c_int = 0;
    // SAFETY: `version` outlives the call, which writes one integer to it.
    unsafe { sys::cuDriverGetVersion(&raw mut version) }
        .result()
        .map_err(|error| Unavailable::failed("cuDriverGetVersion", &error))?;
    let version = u32::try_from(version).unwrap_or(0);
    Ok((version / 1000, version % 1000 / 10))
}

impl Unavailable {
    /// The driver's answer in its own words; "no device" is an answer of its own.
    pub(crate) fn failed(call: &'static str, error: &DriverError) -> Self {
        if error.0 == sys::CUresult::CUDA_ERROR_NO_DEVICE {
            return Self::NoDevice;
        }
        let words = error.error_string().map(|text| text.to_string_lossy().into_owned());
        Self::Failed {
            call,
            reason: words.unwrap_or_else(|_| format!("error {}", error.0 as u32)),
        }
    }
}
