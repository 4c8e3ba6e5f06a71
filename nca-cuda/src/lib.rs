//! NVIDIA GPUs through the CUDA driver.
//!
//! The crate needs nothing at build time: the driver library is looked for when the program runs, and
//! the kernels come with it as PTX, which every driver translates for its device. [`probe`] tells
//! whether there is a device that can be used, and if not, why, in words a user can act on; [`Cuda`]
//! is the backend, with every operation of [`nca_core::backend`] in f32, or with products on tensor cores
//! ([`Cuda::with_precision`]).
//!
//! An operation has the same file stem here as there: its kernels are `kernels/OP.cu`, their launch
//! `src/ops/OP.rs`.
//!
//! # Where there is no GPU
//!
//! With the feature `emulate`, `Cuda::emulated` runs the same `.cu` files compiled as C++: slow, but
//! exact in what it proves, the logic of the kernels. The tests of this crate run the suite of
//! `nca_core::testkit` on it.

mod buffer;
mod device;
mod driver;
#[cfg(feature = "emulate")]
mod emulator;
mod launch;
mod machine;
mod module;
mod ops;
mod probe;
mod workspace;

pub use buffer::{Buffer, Indices};
#[cfg(feature = "emulate")]
pub use emulator::Limits;
pub use module::{MODULES, Module};
pub use probe::{CudaInfo, MIN_COMPUTE, MIN_DRIVER, Unavailable, probe};

use std::sync::Arc;

use nca_core::Precision;

use self::driver::Driver;
use self::machine::Machine;
use self::workspace::Workspace;

/// The GPU as a backend, in f32 or with products in another [`Precision`].
///
/// All work goes to one stream, in the order of the calls; only downloads and `synchronize` wait for
/// it. A clone uses the same stream; [`Cuda::another`] has its own. Results are the same bits in every run: sums have a fixed order, and no kernel adds floats
/// atomically.
///
/// ```
/// use nca_core::backend::Device;
/// match nca_cuda::Cuda::new() {
///     Ok(cuda) => println!("{}", cuda.describe()),
///     Err(reason) => println!("no GPU: {reason}"),
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Cuda {
    // Before the machine: buffers go first.
    workspace: Arc<Workspace>,
    machine: Arc<dyn Machine>,
    precision: Precision,
}

impl Cuda {
    /// The first device that the driver shows (`CUDA_VISIBLE_DEVICES` chooses).
    pub fn new() -> Result<Self, Unavailable> {
        let driver = Driver::new(probe()?)?;
        Ok(Self::on(Arc::new(driver)))
    }

    /// Another stream of the same device, for work that does not wait for this one's: several models at once, each from
    /// a thread of its own. Both share the kernels that are loaded, and the device's memory; a buffer belongs to the one
    /// that made it.
    pub fn another(&self) -> nca_core::Result<Self> {
        Ok(Self::on(self.machine.another()?).with_precision(self.precision))
    }

    /// The kernels compiled as C++, on this thread: for tests.
    #[cfg(feature = "emulate")]
    #[must_use]
    pub fn emulated() -> Self {
        Self::emulated_with(Limits::default())
    }

    /// As [`Cuda::emulated`], of a device that fails as real ones do.
    #[cfg(feature = "emulate")]
    #[must_use]
    pub fn emulated_with(limits: Limits) -> Self {
        Self::on(Arc::new(emulator::Emulator::new(limits)))
    }

    /// Bytes of memory of the device; `None` where it is emulated without a limit.
    #[must_use]
    pub fn memory(&self) -> Option<usize> {
        self.machine.memory()
    }

    /// Bytes that buffers of this backend and of [others](Self::another) on the device hold now.
    #[must_use]
    pub fn allocated(&self) -> usize {
        self.machine.allocated()
    }

    /// The same backend with the factors of products in `precision`, multiplied by tensor cores; sums, everything else
    /// and all buffers stay f32, and the same buffers go with both. [`Precision::F32`] to begin with.
    ///
    /// ```
    /// use nca_core::Precision;
    /// use nca_core::backend::Device;
    /// if let Ok(cuda) = nca_cuda::Cuda::new() {
    ///     assert_eq!(cuda.with_precision(Precision::Bf16).precision(), Precision::Bf16);
    /// }
    /// ```
    #[must_use]
    pub fn with_precision(self, precision: Precision) -> Self {
        Self { precision, ..self }
    }

    fn on(machine: Arc<dyn Machine>) -> Self {
        Self {
            workspace: Arc::default(),
            machine,
            precision: Precision::F32,
        }
    }

    fn machine(&self) -> &Arc<dyn Machine> {
        &self.machine
    }
}
