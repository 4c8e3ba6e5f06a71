//! Whether the machine has the memory a backend on the host is asked for.
//!
//! A system that hands out more than it has ends a process that uses it, without a word. So large arrays
//! are refused before they are made.

use sysinfo::System;

use crate::error::{Error, Result};

/// Bytes from which the operating system is asked, which takes about as long as it does to write a megabyte.
const LARGE: usize = 64 << 20;

/// Refuses an array of `len` elements of `T` that the machine has no room for, as [`Error::Device`] of `backend`.
pub(crate) fn check_memory<T>(backend: &'static str, len: usize) -> Result<()> {
    // `Vec` and the allocators take no more.
    let Some(bytes) = len.checked_mul(size_of::<T>()).filter(|&b| isize::try_from(b).is_ok()) else {
        return Err(out_of_memory(backend, len as u128 * size_of::<T>() as u128, None));
    };
    if bytes < LARGE {
        return Ok(());
    }
    match free_memory() {
        Some(free) if bytes as u64 > free => Err(out_of_memory(backend, bytes as u128, Some(free))),
        _ => Ok(()),
    }
}

/// `len` times `zero`, or an error of `backend` where there is no room for them. They are written, so that what is left for
/// others counts them as used.
pub(crate) fn filled<T: Clone>(backend: &'static str, len: usize, zero: T) -> Result<Vec<T>> {
    check_memory::<T>(backend, len)?;
    let mut values = Vec::new();
    values
        .try_reserve_exact(len)
        .map_err(|_| out_of_memory(backend, len as u128 * size_of::<T>() as u128, None))?;
    values.resize(len, zero);
    Ok(values)
}

/// Bytes that can still be had, of this machine or of the container the process is in; `None` where that is not known.
fn free_memory() -> Option<u64> {
    if !sysinfo::IS_SUPPORTED_SYSTEM {
        return None;
    }
    let mut system = System::new();
    system.refresh_memory();
    let free = system.available_memory().saturating_add(system.free_swap());
    // Pages of files that a group has read count as used there, and yet are given back when they are needed. Its swap may be
    // less than the machine's, or none.
    let group = system.cgroup_limits();
    let group = group.map(|group| group.total_memory.saturating_sub(group.rss));
    let free = group.map_or(free, |group| free.min(group));
    (free > 0).then_some(free)
}

/// The error of an array of `bytes` bytes where only `free` are left, if that is known.
pub(crate) fn out_of_memory(backend: &'static str, bytes: u128, free: Option<u64>) -> Error {
    let free = free.map_or_else(String::new, |free| format!(", and {} MiB are free", free >> 20));
    Error::Device {
        backend,
        message: format!(
            "out of memory: {} MiB are asked for{free}; smaller grids, batches and pools need less",
            bytes.div_ceil(1 << 20)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::Device;
    use crate::cpu::Cpu;
    use crate::reference::Reference;
    use crate::{Grid, Nca, Preset, Rollout, Simulation};

    #[test]
    fn what_no_machine_has_is_refused() {
        let cpu = Cpu::with_threads(1).unwrap();
        let reference = Reference::<f64>::default();
        // 2^44 elements, and more than an address can tell apart.
        for len in [1 << 44, usize::MAX / 2, usize::MAX] {
            let errors = [
                cpu.zeros(len).map(drop),
                cpu.zero_indices(len).map(drop),
                reference.zeros(len).map(drop),
                reference.zero_indices(len).map(drop),
            ];
            for error in errors.map(|result| result.unwrap_err().to_string()) {
                assert!(error.contains("backend: out of memory: "), "{error}");
                assert!(error.contains(" MiB are asked for"), "{error}");
            }
        }
    }

    /// A state that is too large for memory, or for its elements to be counted.
    #[test]
    fn states_that_do_not_fit_are_refused() {
        let cpu = Cpu::with_threads(1).unwrap();
        let nca = Nca::preset(Preset::Paper, 128, 4, 0).unwrap();
        let config = &nca.config;
        for (grid, reason) in [
            (Grid::new(1 << 20, 1 << 10, 1 << 10), "out of memory"),
            (Grid::new(usize::MAX, 2, 2), "no more than memory can address"),
            (Grid::new(1, 1 << 40, 1 << 40), "no more than memory can address"),
            (Grid::new(0, 8, 8), "at least one cell"),
        ] {
            let simulation = Simulation::new(&cpu, &nca, grid, 0).map(drop);
            let rollout = Rollout::new(&cpu, config, grid, 4, 0).map(drop);
            for error in [simulation, rollout].map(|result| result.unwrap_err().to_string()) {
                assert!(error.contains(reason), "{error}");
            }
        }
    }

    #[test]
    fn what_is_free_is_not_refused() {
        if let Some(free) = free_memory() {
            assert!(free > 1 << 20, "{free} bytes free");
            check_memory::<u8>("cpu", usize::try_from(free / 8).unwrap()).unwrap();
            let error = check_memory::<u8>("cpu", usize::try_from(free).unwrap().saturating_mul(8)).unwrap_err();
            assert!(error.to_string().contains(" MiB are free; smaller"), "{error}");
        }
    }
}
