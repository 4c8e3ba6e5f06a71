//! The kernels on the host.

// The emulator is C++ and works on plain memory of the host.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc, dealloc};
use std::ffi::{CString, c_char, c_int, c_uint, c_void};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nca_core::{Error, Result};

use crate::launch::MAX_ROWS;
use crate::machine::{Address, Machine, Shape};
use crate::module::Kernel;

unsafe extern "C" {
    fn nca_emulator_launch(
        name: *const c_char,
        grid: *const c_uint,
        threads: c_uint,
        shared: usize,
        arguments: *mut *mut c_void,
        sizes: *const usize,
        count: usize,
    ) -> c_int;
    fn nca_emulator_kernels() -> usize;
}

#[cfg(feature = "races")]
mod races;

/// Addresses are as round as those of the CUDA driver.
const ALIGNMENT: usize = 256;

/// What the smallest of the supported GPUs (compute 8.6) lets a block ask for.
const SHARED_LIMIT: usize = 99 * 1024;

/// What an emulated device has; both are shared by all its streams.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Bytes of memory.
    pub memory: usize,
    /// Kernels that run before the device is lost.
    pub launches: usize,
}

impl Default for Limits {
    /// A device without any.
    fn default() -> Self {
        Self {
            memory: usize::MAX,
            launches: usize::MAX,
        }
    }
}

/// Runs kernels compiled as C++, to the end before a call returns.
#[derive(Debug)]
pub(crate) struct Emulator(Arc<Emulated>);

/// An emulated device.
#[derive(Debug)]
struct Emulated {
    limits: Limits,
    /// Bytes in use, and kernels run.
    allocated: AtomicUsize,
    launched: AtomicUsize,
}

impl Emulator {
    pub(crate) fn new(limits: Limits) -> Self {
        Self(Arc::new(Emulated {
            limits,
            allocated: AtomicUsize::new(0),
            launched: AtomicUsize::new(0),
        }))
    }

    /// An error if the device is lost.
    fn check(&self, launched: usize) -> Result<()> {
        if launched <= self.0.limits.launches {
            return Ok(());
        }
        Err(Error::Lost {
            backend: "cuda",
            message: "the emulated device has run as many kernels as it was given".to_owned(),
        })
    }
}

fn layout(bytes: usize) -> Result<Layout> {
    Layout::from_size_align(bytes, ALIGNMENT).map_err(|_| out_of_memory(bytes))
}

fn out_of_memory(bytes: usize) -> Error {
    failed(format!("out of memory: {bytes} bytes were asked for"))
}

fn failed(message: String) -> Error {
    Error::Device {
        backend: "cuda",
        message,
    }
}

impl Machine for Emulator {
    fn another(&self) -> Result<Arc<dyn Machine>> {
        Ok(Arc::new(Self(Arc::clone(&self.0))))
    }

    fn describe(&self) -> String {
        // SAFETY: only counts.
        let kernels = unsafe { nca_emulator_kernels() };
        format!("cuda, emulated on the host ({kernels} kernels)")
    }

    fn memory(&self) -> Option<usize> {
        Some(self.0.limits.memory).filter(|&bytes| bytes < usize::MAX)
    }

    fn allocated(&self) -> usize {
        self.0.allocated.load(Ordering::Relaxed)
    }

    fn shared_limit(&self) -> usize {
        SHARED_LIMIT
    }

    fn allocate(&self, bytes: usize) -> Result<Address> {
        let Emulated { limits, allocated, .. } = &*self.0;
        let layout = layout(bytes)?;
        let used = allocated.fetch_add(bytes, Ordering::Relaxed);
        if used.checked_add(bytes).is_none_or(|sum| sum > limits.memory) {
            allocated.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes));
        }
        // SAFETY: buffers are never empty.
        let pointer = unsafe { alloc(layout) };
        if pointer.is_null() {
            allocated.fetch_sub(bytes, Ordering::Relaxed);
            return Err(out_of_memory(bytes));
        }
        // What has not been written is NaN: nothing may depend on it.
        // SAFETY: just allocated.
        unsafe { pointer.write_bytes(0xff, bytes) };
        Ok(pointer as Address)
    }

    fn free(&self, address: Address, bytes: usize) {
        self.0.allocated.fetch_sub(bytes, Ordering::Relaxed);
        if let Ok(layout) = layout(bytes) {
            // SAFETY: allocated with this layout by `allocate`.
            unsafe { dealloc(address as *mut u8, layout) };
        }
    }

    fn clear(&self, address: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller owns that many bytes there.
        unsafe { (address as *mut u8).write_bytes(0, bytes) };
        Ok(())
    }

    fn upload(&self, src: &[u8], dst: Address) -> Result<()> {
        // SAFETY: the caller owns that many bytes at `dst`, and they are not `src`.
        unsafe { (dst as *mut u8).copy_from_nonoverlapping(src.as_ptr(), src.len()) };
        Ok(())
    }

    fn download(&self, src: Address, dst: &mut [u8]) -> Result<()> {
        // SAFETY: as in `upload`.
        unsafe { dst.as_mut_ptr().copy_from_nonoverlapping(src as *const u8, dst.len()) };
        Ok(())
    }

    fn copy(&self, src: Address, dst: Address, bytes: usize) -> Result<()> {
        // SAFETY: the caller owns both; different buffers do not overlap.
        unsafe { (dst as *mut u8).copy_from_nonoverlapping(src as *const u8, bytes) };
        Ok(())
    }

    fn synchronize(&self) -> Result<()> {
        self.check(self.0.launched.load(Ordering::Relaxed))
    }

    fn launch(&self, kernel: &Kernel, shape: Shape, arguments: &mut [*mut c_void], sizes: &[usize]) -> Result<()> {
        let Kernel { module, name } = kernel;
        self.check(self.0.launched.fetch_add(1, Ordering::Relaxed) + 1)?;
        if shape.grid[1..].iter().any(|&blocks| blocks as usize > MAX_ROWS) {
            let blocks = shape.grid;
            return Err(failed(format!(
                "kernel {name} of {module}.cu has too many blocks: {blocks:?}"
            )));
        }
        let c_name = CString::new(*name).map_err(|_| failed(format!("kernel {name:?} has a zero in its name")))?;
        // SAFETY: the name ends with a zero, the arguments point to values that live during the call
        // and have the sizes given, which the emulator compares with the kernel's parameters.
        let status = unsafe {
            nca_emulator_launch(
                c_name.as_ptr(),
                shape.grid.as_ptr(),
                shape.threads,
                shape.shared,
                arguments.as_mut_ptr(),
                sizes.as_ptr(),
                arguments.len(),
            )
        };
        let problem = match status {
            0 => return Ok(()),
            1 => "is unknown",
            2 => "got arguments of other number or sizes than its parameters have",
            #[cfg(feature = "races")]
            4 => {
                return Err(failed(format!(
                    "kernel {name} of {module}.cu has a race: {}",
                    races::last()
                )));
            }
            _ => "has a barrier that not all threads reach",
        };
        Err(failed(format!("kernel {name} of {module}.cu {problem}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cuda;
    use crate::launch::{Erased, launch};
    use crate::machine::Shape;
    use nca_core::backend::Device;

    /// Runs a sample on `input`, with `threads` threads in each of two blocks.
    fn run(name: &'static str, threads: u32, input: &[u32], outputs: usize) -> Result<Vec<u32>> {
        let cuda = Cuda::emulated();
        let (from, to) = (cuda.indices(input)?, cuda.zero_indices(outputs)?);
        let shape = Shape::blocks(2).threads(threads).shared(4 * threads as usize);
        launch!(
            cuda,
            Kernel::new("samples", name),
            shape,
            from.0.address(),
            to.0.address()
        )?;
        let mut output = vec![0; outputs];
        cuda.download_indices(&to, &mut output)?;
        Ok(output)
    }

    /// 96 numbers for each of two blocks.
    fn numbers() -> Vec<u32> {
        (0..192).map(|i| i * i).collect()
    }

    fn reversed() -> Vec<u32> {
        let numbers = numbers();
        numbers
            .chunks(96)
            .flat_map(|block| block.iter().rev().copied())
            .collect()
    }

    #[test]
    fn threads_meet_at_a_barrier() {
        assert_eq!(run("sample_reverse", 96, &numbers(), 192).unwrap(), reversed());
    }

    /// So a barrier forgotten in a kernel does show.
    #[test]
    #[cfg(not(feature = "races"))]
    fn without_it_they_do_not() {
        assert_ne!(run("sample_race", 96, &numbers(), 192).unwrap(), reversed());
    }

    /// Also one before what a single thread writes, whichever it is: not every block starts with the same thread.
    #[test]
    #[cfg(not(feature = "races"))]
    fn no_thread_is_always_first() {
        let numbers = numbers();
        let firsts: Vec<u32> = (0..192).map(|i| numbers[i / 96 * 96]).collect();
        for _ in 0..2 {
            let output = run("sample_broadcast", 96, &numbers, 192).unwrap();
            let right = output.iter().zip(&firsts).filter(|(a, b)| a == b).count();
            // One block of two, and of the other the thread that writes, which comes last.
            assert_eq!(right, 96 + 1);
        }
    }

    #[test]
    fn lanes_of_a_warp_see_each_other() {
        let input: Vec<u32> = (100..132).collect();
        let output = run("sample_warp", 32, &input, 128).unwrap();
        let rotated: Vec<u32> = (101..132).chain([100]).collect();
        for block in output.chunks(64) {
            assert_eq!(block[..32], rotated);
            // Eleven of 32 lanes are multiples of three.
            assert_eq!(block[32..], [input.iter().sum::<u32>() + 11; 32]);
        }
    }

    /// A barrier that is missing, or is none for those threads or that memory.
    #[test]
    #[cfg(feature = "races")]
    fn races_are_found() {
        for (name, threads, words) in [
            (
                "sample_race",
                96,
                "of a block use shared memory with no barrier in between",
            ),
            (
                "sample_broadcast",
                96,
                "of a block use shared memory with no barrier in between",
            ),
            ("sample_shuffle_is_no_barrier", 32, "of a block use shared memory"),
            ("sample_overwritten", 64, "of a block use shared memory"),
            ("sample_blocks", 32, "of two blocks use device memory: "),
        ] {
            let error = run(name, threads, &numbers(), 192).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
            // The lines of both accesses, of which one writes.
            assert_eq!(error.matches("samples.cu:").count(), 2, "{name}: {error}");
            assert!(error.contains("writes at samples.cu:"), "{name}: {error}");
        }
    }

    #[test]
    fn what_is_ordered_is_no_race() {
        let numbers = numbers();
        let output = run("sample_warp_barrier", 96, &numbers, 192).unwrap();
        for (i, &v) in output.iter().enumerate() {
            assert_eq!(v, numbers[i ^ 1]);
        }
        // Every block has its own shared memory, and its own half of the word.
        assert_eq!(run("sample_halves", 32, &[7, 9], 1).unwrap(), [7 + (9 << 16)]);
        // The next launch comes after all of this one.
        for _ in 0..2 {
            assert_eq!(run("sample_reverse", 96, &numbers, 192).unwrap(), reversed());
        }
    }

    /// What a launch of `name` with one buffer and `more` ends with.
    fn refusal(name: &'static str, more: &[Erased]) -> String {
        let cuda = Cuda::emulated();
        let buffer = cuda.zeros(64).unwrap();
        let address = buffer.address();
        let arguments: Vec<Erased> = [Erased::of(&address)].into_iter().chain(more.iter().copied()).collect();
        let answer = cuda.start(&Kernel::new("samples", name), Shape::blocks(1).threads(64), &arguments);
        answer.unwrap_err().to_string()
    }

    #[test]
    fn a_barrier_that_not_all_reach_is_an_error() {
        for name in ["sample_diverging", "sample_two_barriers"] {
            assert!(refusal(name, &[]).contains("has a barrier"), "{name}");
        }
    }

    #[test]
    fn arguments_that_do_not_fit_the_parameters_are_an_error() {
        assert!(refusal("sample_diverging", &[Erased::of(&1.0_f32)]).contains("other number or sizes"));
        assert!(refusal("sample_reverse", &[Erased::of(&1.0_f32)]).contains("other number or sizes"));
        assert!(refusal("sample_nothing", &[]).contains("is unknown"));
    }

    #[test]
    fn memory_is_refused_in_words() {
        let error = Cuda::emulated().zeros(usize::MAX / 8).unwrap_err().to_string();
        assert!(error.starts_with("cuda backend: out of memory"), "{error}");
    }
}
