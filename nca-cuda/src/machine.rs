//! What the backend needs of whatever runs its kernels.

use std::ffi::c_void;
use std::fmt::Debug;
use std::sync::Arc;

use nca_core::Result;

use crate::module::Kernel;

/// An address in the memory of a [`Machine`]; 0 for no memory at all.
pub(crate) type Address = u64;

/// The extent of a launch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Shape {
    /// Blocks along x, y and z.
    pub(crate) grid: [u32; 3],
    /// Threads of a block.
    pub(crate) threads: u32,
    /// Bytes of dynamic shared memory of a block.
    pub(crate) shared: usize,
}

/// Runs kernels, one after another, in the order of the calls: a GPU, or the emulator.
///
/// Calls may return before the work is done; only [`Machine::download`] and [`Machine::synchronize`]
/// wait for it. An error of a kernel may show at any later call.
pub(crate) trait Machine: Debug + Send + Sync {
    /// One line for logs.
    fn describe(&self) -> String;

    /// Another one on the same device, with an order of its own.
    fn another(&self) -> Result<Arc<dyn Machine>>;

    /// Bytes of memory; `None` where there is no limit.
    fn memory(&self) -> Option<usize>;

    /// Bytes that are allocated, by all machines on the same device.
    fn allocated(&self) -> usize;

    /// Bytes of shared memory a block may ask for.
    fn shared_limit(&self) -> usize;

    /// New memory of `bytes > 0` bytes, aligned to 256, with unspecified contents.
    fn allocate(&self, bytes: usize) -> Result<Address>;

    /// Frees what [`Machine::allocate`] returned, after all work handed over so far. Does not fail: there
    /// is nobody to tell.
    fn free(&self, address: Address, bytes: usize);

    /// Sets `bytes` bytes to zero.
    fn clear(&self, address: Address, bytes: usize) -> Result<()>;

    /// Copies from the host; `src` may be reused after the call.
    fn upload(&self, src: &[u8], dst: Address) -> Result<()>;

    /// Copies to the host and waits.
    fn download(&self, src: Address, dst: &mut [u8]) -> Result<()>;

    /// Copies within the machine.
    fn copy(&self, src: Address, dst: Address, bytes: usize) -> Result<()>;

    /// Waits for all work handed over.
    fn synchronize(&self) -> Result<()>;

    /// Starts a kernel. `arguments` point to values of the sizes `sizes`, which are those of the
    /// kernel's parameters.
    fn launch(&self, kernel: &Kernel, shape: Shape, arguments: &mut [*mut c_void], sizes: &[usize]) -> Result<()>;
}
