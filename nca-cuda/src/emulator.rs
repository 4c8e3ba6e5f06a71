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

    /// What a copy writes is there once it has been waited for, and not before.
    #[test]
    fn copies_are_made_when_they_are_waited_for() {
        let numbers: Vec<u32> = (0..192u16).map(|i| f32::from(i).to_bits()).collect();
        let copied = |i: usize| {
            if (95 - i % 96).is_multiple_of(3) {
                0
            } else {
                numbers[i / 96 * 96 + 95 - i % 96]
            }
        };
        let expected: Vec<u32> = (0..192).map(copied).collect();
        assert_eq!(run("sample_copy", 96, &numbers, 192).unwrap(), expected);
        let early = run("sample_copy_not_awaited", 96, &numbers, 192).unwrap();
        assert!(early.iter().all(|&bits| f32::from_bits(bits).is_nan()), "{early:?}");
    }

    /// So a copy that begins while others still read what it overwrites does show.
    #[test]
    #[cfg(not(feature = "races"))]
    fn copies_begin_at_once() {
        let numbers: Vec<u32> = (0..192u16).map(|i| f32::from(i).to_bits()).collect();
        let output = run("sample_copy_early", 96, &numbers, 192).unwrap();
        let overwritten = output.iter().filter(|&&bits| f32::from_bits(bits).is_nan()).count();
        // Of two threads that read each other's, the second.
        assert_eq!(overwritten, 96);
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
            ("sample_copy_early", 96, "of a block use shared memory"),
            ("sample_blocks", 32, "of two blocks use device memory: "),
        ] {
            let error = run(name, threads, &numbers(), 192).unwrap_err().to_string();
            assert!(error.contains(words), "{name}: {error}");
            // The lines of both accesses, of which one writes; more where the compiler parts a kernel.
            assert!(error.matches("samples.cu:").count() >= 2, "{name}: {error}");
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

    /// A 16-bit format or TF32, and the kernel that multiplies it.
    struct Format {
        kernel: &'static str,
        /// Terms of a product, of which a lane has a quarter.
        terms: usize,
        bits: fn(f32) -> u32,
    }

    const TF32: Format = Format {
        kernel: "sample_mma_tf32",
        terms: 8,
        bits: f32::to_bits,
    };

    impl Format {
        /// Row and term of the `i`-th element of A that `lane` has, as the PTX ISA states it.
        fn a(&self, lane: usize, i: usize) -> (usize, usize) {
            let (group, in_group) = (lane >> 2, lane % 4);
            if self.terms == 8 {
                let row = if i == 0 || i == 2 { group } else { group + 8 };
                return (row, if i < 2 { in_group } else { in_group + 4 });
            }
            let row = if i < 2 || (4..6).contains(&i) { group } else { group + 8 };
            let column = in_group * 2 + (i & 1);
            (row, if i < 4 { column } else { column + 8 })
        }

        /// Term and column of the `i`-th element of B.
        fn b(&self, lane: usize, i: usize) -> (usize, usize) {
            let (group, in_group) = (lane >> 2, lane % 4);
            let row = match (self.terms, i) {
                (8, 0) => in_group,
                (8, _) => in_group + 4,
                (_, 0 | 1) => in_group * 2 + (i & 1),
                (_, _) => in_group * 2 + (i & 1) + 8,
            };
            (row, group)
        }

        /// Registers of elements: the first of two in the lower half.
        fn registers(&self, elements: &[f32]) -> Vec<u32> {
            if self.terms == 8 {
                return elements.iter().map(|&v| (self.bits)(v)).collect();
            }
            let pair = |two: &[f32]| (self.bits)(two[0]) | (self.bits)(two[1]) << 16;
            elements.chunks(2).map(pair).collect()
        }
    }

    /// Row and column of the `i`-th element of the sum.
    fn sum_at(lane: usize, i: usize) -> (usize, usize) {
        let (group, in_group) = (lane >> 2, lane % 4);
        (if i < 2 { group } else { group + 8 }, in_group * 2 + (i & 1))
    }

    /// The largest difference of `kernel`'s A·B + C from what it should be. All numbers are small integers, exact in
    /// every format.
    fn product_error(format: &Format, kernel: &'static str) -> f32 {
        let a = |(row, k): (usize, usize)| ((row * 5 + k * 3) % 13) as f32 - 6.0;
        let b = |(k, column): (usize, usize)| ((k * 7 + column * 11) % 17) as f32 - 8.0;
        let c = |(row, column): (usize, usize)| (row * 8 + column) as f32;
        let mut input = Vec::new();
        for lane in 0..32 {
            let of_a: Vec<f32> = (0..format.terms / 2).map(|i| a(format.a(lane, i))).collect();
            let of_b: Vec<f32> = (0..format.terms / 4).map(|i| b(format.b(lane, i))).collect();
            input.extend(format.registers(&of_a));
            input.extend(format.registers(&of_b));
            input.extend((0..4).map(|i| c(sum_at(lane, i)).to_bits()));
        }
        let output = run_once(kernel, &input, 32 * 4).unwrap();
        let mut largest = 0.0_f32;
        for (at, bits) in output.into_iter().enumerate() {
            let (row, column) = sum_at(at / 4, at % 4);
            let terms = (0..format.terms).map(|k| a((row, k)) * b((k, column)));
            let want = terms.sum::<f32>() + c((row, column));
            largest = largest.max((f32::from_bits(bits) - want).abs());
        }
        largest
    }

    /// Runs a sample on `input` in one warp.
    fn run_once(name: &'static str, input: &[u32], outputs: usize) -> Result<Vec<u32>> {
        let cuda = Cuda::emulated();
        let (from, to) = (cuda.indices(input)?, cuda.zero_indices(outputs)?);
        let (kernel, shape) = (Kernel::new("samples", name), Shape::blocks(1).threads(32));
        launch!(cuda, kernel, shape, from.0.address(), to.0.address())?;
        let mut output = vec![0; outputs];
        cuda.download_indices(&to, &mut output)?;
        Ok(output)
    }

    #[test]
    fn tensor_cores_have_the_fragments_of_the_ptx_isa() {
        let half = |kernel, bits| Format {
            kernel,
            terms: 16,
            bits,
        };
        let f16 = half("sample_mma_f16", |v| u32::from(half::f16::from_f32(v).to_bits()));
        let bf16 = half("sample_mma_bf16", |v| u32::from(half::bf16::from_f32(v).to_bits()));
        for format in [TF32, f16, bf16] {
            assert_eq!(product_error(&format, format.kernel), 0.0, "{}", format.kernel);
        }
    }

    /// So a fragment that is loaded wrongly does show.
    #[test]
    fn registers_in_each_others_place_are_seen() {
        assert!(product_error(&TF32, "sample_mma_swapped") >= 1.0);
    }

    #[test]
    fn factors_are_rounded_as_the_reference_rounds_them() {
        use nca_core::Precision;
        let special = [0.0, -0.0, 1e-8, 3e-8, 6.2e-5, 65_504.0, 65_519.0, 65_520.0, 1e30];
        let odd = [f32::NAN, f32::INFINITY, f32::MAX, f32::MIN_POSITIVE, 1.0 + 1.0 / 2048.0];
        // Any bits, many of them small enough for f16's smallest.
        let any = (0..18_u32).map(|i| f32::from_bits(0x3200_0000_u32.wrapping_add(i.wrapping_mul(0x00a7_31d5))));
        let values: Vec<f32> = special.into_iter().chain(odd).chain(any).collect();
        let input: Vec<u32> = values.iter().map(|v| v.to_bits()).collect();
        let output = run_once("sample_factors", &input, 3 * input.len()).unwrap();
        let same = |got: f32, want: f32| got.to_bits() == want.to_bits() || got.is_nan() && want.is_nan();
        for (&v, bits) in values.iter().zip(output.chunks(3)) {
            assert!(same(f32::from_bits(bits[0]), Precision::Tf32.round(v)), "tf32 of {v:e}");
            let f16: fn(u16) -> f32 = |bits| half::f16::from_bits(bits).to_f32();
            let bf16: fn(u16) -> f32 = |bits| half::bf16::from_bits(bits).to_f32();
            for (precision, bits, of) in [(Precision::F16, bits[1], f16), (Precision::Bf16, bits[2], bf16)] {
                let (low, high) = (of(bits as u16), of((bits >> 16) as u16));
                assert!(same(low, precision.round(v)), "{precision} of {v:e} is {low:e}");
                assert!(same(high, precision.round(-v)), "{precision} of -{v:e} is {high:e}");
            }
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
