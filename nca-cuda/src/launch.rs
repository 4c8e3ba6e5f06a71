//! Starting kernels.

// Arguments of kernels go to C as pointers to values whose types only the kernel knows.
#![allow(unsafe_code)]

use std::ffi::c_void;
use std::ptr::null_mut;

use nca_core::{Error, Result};

use crate::Cuda;
use crate::machine::{Address, Shape};
use crate::module::Kernel;

/// Threads of a block, `THREADS` in the prelude.
pub(crate) const THREADS: u32 = 256;

/// Most blocks that share a long array: a few for each multiprocessor of a large GPU. Fixed, so that
/// sums do not depend on the device.
const MAX_BLOCKS: usize = 1024;

/// Most blocks along the second and the third axis of a grid.
pub(crate) const MAX_ROWS: usize = 65_535;

/// Most arguments of a kernel.
const MAX_ARGUMENTS: usize = 24;

impl Shape {
    /// One thread for each of `len` elements, or fewer threads with several each.
    pub(crate) fn linear(len: usize) -> Self {
        Self::blocks(len.div_ceil(THREADS as usize).clamp(1, MAX_BLOCKS) as u32)
    }

    /// `blocks` blocks of [`THREADS`] threads.
    pub(crate) fn blocks(blocks: u32) -> Self {
        Self::grid([blocks, 1, 1])
    }

    /// A grid of blocks of [`THREADS`] threads.
    pub(crate) fn grid(grid: [u32; 3]) -> Self {
        Self {
            grid,
            threads: THREADS,
            shared: 0,
        }
    }

    /// Threads over the `len` elements of each of `planes` planes, for a kernel that goes through the
    /// planes with `FOR_PLANES`.
    pub(crate) fn planes(planes: usize, len: usize) -> Self {
        let [blocks, ..] = Self::linear(len).grid;
        Self::grid([blocks, planes.min(MAX_ROWS) as u32, 1])
    }

    /// The same with blocks of `threads` threads.
    pub(crate) fn threads(self, threads: u32) -> Self {
        Self { threads, ..self }
    }

    /// The same with `bytes` of dynamic shared memory for each block.
    pub(crate) fn shared(self, bytes: usize) -> Self {
        Self { shared: bytes, ..self }
    }
}

/// A number that kernels count with in 32 bits.
pub(crate) fn count(op: &'static str, what: &str, value: usize) -> Result<i32> {
    i32::try_from(value).map_err(|_| Error::invalid(format!("{op}: {what}"), value, "below 2^31"))
}

/// Blocks along the second or the third axis of a grid, for kernels that have one for each `what`.
pub(crate) fn blocks(op: &'static str, what: &str, value: usize) -> Result<u32> {
    match u32::try_from(value) {
        Ok(blocks) if value <= MAX_ROWS => Ok(blocks),
        _ => Err(Error::invalid(
            format!("{op}: {what}"),
            value,
            format!("at most {MAX_ROWS}"),
        )),
    }
}

/// A value that kernels take.
///
/// # Safety
/// The type is laid out as C lays it out, and the kernel that gets the value has a parameter of the same
/// layout in this place. (The emulator compares number and sizes.)
pub(crate) unsafe trait Argument {}

// SAFETY: `float`, `double`, `unsigned`, `int` and `size_t` or a pointer.
unsafe impl Argument for f32 {}
// SAFETY: as above.
unsafe impl Argument for f64 {}
// SAFETY: as above.
unsafe impl Argument for u32 {}
// SAFETY: as above.
unsafe impl Argument for i32 {}
// SAFETY: as above; an [`Address`] is a pointer of 64 bits.
unsafe impl Argument for u64 {}

const _: () = assert!(size_of::<Address>() == size_of::<*const c_void>(), "64-bit hosts only");

/// An argument without its type: where it lies, and how large it is.
#[derive(Clone, Copy)]
pub(crate) struct Erased {
    value: *const c_void,
    size: usize,
}

impl Erased {
    /// Of a value that must live until the launch.
    pub(crate) fn of<A: Argument>(value: &A) -> Self {
        Self {
            value: std::ptr::from_ref(value).cast(),
            size: size_of::<A>(),
        }
    }
}

/// `launch!(backend, kernel, shape, argument, …)`: starts a kernel with values that implement
/// [`Argument`].
macro_rules! launch {
    ($backend:expr, $kernel:expr, $shape:expr, $($argument:expr),+ $(,)?) => {
        $backend.start(&$kernel, $shape, &[$($crate::launch::Erased::of(&$argument)),+])
    };
}
pub(crate) use launch;

impl Cuda {
    /// Starts a kernel; a grid without blocks is no work. Called through [`launch!`], which keeps the
    /// values alive.
    pub(crate) fn start(&self, kernel: &Kernel, shape: Shape, arguments: &[Erased]) -> Result<()> {
        if shape.grid.contains(&0) {
            return Ok(());
        }
        assert!(arguments.len() <= MAX_ARGUMENTS, "{}: too many arguments", kernel.name);
        let (mut values, mut sizes) = ([null_mut(); MAX_ARGUMENTS], [0; MAX_ARGUMENTS]);
        for ((value, size), argument) in values.iter_mut().zip(&mut sizes).zip(arguments) {
            (*value, *size) = (argument.value.cast_mut(), argument.size);
        }
        let count = arguments.len();
        self.machine()
            .launch(kernel, shape, &mut values[..count], &sizes[..count])
    }
}
