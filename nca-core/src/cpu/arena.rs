//! Scratch memory that outlives the calls that need it, so that nothing large is allocated after the
//! first one.

// Carving one buffer into typed pieces.
#![allow(unsafe_code)]

use std::sync::{Mutex, MutexGuard, PoisonError};

use super::Buffer;
use crate::error::Result;

/// Bytes every piece is aligned to.
const ALIGN: usize = 64;

/// Scratch of a backend.
#[derive(Debug)]
pub(super) struct Arenas {
    /// One for each thread, for a tile.
    threads: Vec<Mutex<Buffer>>,
    /// For whole calls: as many as there were calls at the same time.
    calls: Mutex<Vec<Buffer>>,
}

impl Arenas {
    pub(super) fn new(threads: usize) -> Self {
        Self {
            threads: (0..threads).map(|_| Mutex::new(Buffer::empty())).collect(),
            calls: Mutex::new(Vec::new()),
        }
    }

    /// The calling thread's memory; who holds it must not wait for other threads.
    ///
    /// A guard and not a closure: code in a closure would be compiled where the closure is called,
    /// without the vector instructions of the kernel that made it.
    pub(super) fn thread(&self) -> MutexGuard<'_, Buffer> {
        let thread = rayon::current_thread_index().unwrap_or(0) % self.threads.len();
        // Scratch is overwritten before it is read, so a panic elsewhere has spoilt nothing.
        self.threads[thread].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives every thread room for `pieces` now, if the machine has so much, rather than when chance hands it its first tile.
    pub(super) fn reserve_threads<P>(&self, pieces: impl Fn(&mut Carver) -> P) -> Result<()> {
        for memory in &self.threads {
            try_carve(&mut memory.lock().unwrap_or_else(PoisonError::into_inner), &pieces)?;
        }
        Ok(())
    }

    /// Lends memory for the time of a call, if the machine has so much.
    pub(super) fn with_call<P, R>(&self, pieces: impl Fn(&mut Carver) -> P, job: impl FnOnce(P) -> R) -> Result<R> {
        let mut memory = self.lock_calls().pop().unwrap_or_else(Buffer::empty);
        let result = try_carve(&mut memory, pieces).map(job);
        self.lock_calls().push(memory);
        result
    }

    fn lock_calls(&self) -> MutexGuard<'_, Vec<Buffer>> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// As [`try_carve`], of a thread's memory that [`Arenas::reserve_threads`] has made large enough.
pub(super) fn carve<P>(memory: &mut Buffer, pieces: impl Fn(&mut Carver) -> P) -> P {
    try_carve(memory, pieces).unwrap_or_else(|error| panic!("memory that was to be reserved: {error}"))
}

/// Runs `pieces` twice: once to count, once on memory that is large enough, if there is so much.
fn try_carve<P>(memory: &mut Buffer, pieces: impl Fn(&mut Carver) -> P) -> Result<P> {
    let mut count = Carver {
        start: std::ptr::null_mut(),
        used: 0,
    };
    pieces(&mut count);
    memory.reserve(count.used.div_ceil(size_of::<f32>()))?;
    Ok(pieces(&mut Carver {
        start: memory.as_mut_ptr().cast(),
        used: 0,
    }))
}

/// Cuts memory into pieces that do not overlap.
pub(super) struct Carver {
    start: *mut u8,
    used: usize,
}

impl Carver {
    /// Room for `len` values of `T`, aligned to a cache line. The contents are whatever the memory
    /// held before, so `T` must be a type for which every bit pattern is a value.
    pub(super) fn take<T: Copy>(&mut self, len: usize) -> *mut T {
        const { assert!(align_of::<T>() <= ALIGN) };
        let piece = self.start.wrapping_add(self.used).cast();
        // Where it cannot be counted it is refused: no machine has so much.
        let bytes = len.saturating_mul(size_of::<T>()).checked_next_multiple_of(ALIGN);
        self.used = self.used.saturating_add(bytes.unwrap_or(usize::MAX));
        piece
    }
}

/// A pointer that several threads use for disjoint parts of one array.
#[derive(Clone, Copy)]
pub(super) struct Shared<T>(pub(super) *mut T);

// SAFETY: a pointer by itself is harmless; those who write through it say why their parts are
// disjoint.
unsafe impl<T> Send for Shared<T> {}
// SAFETY: as above.
unsafe impl<T> Sync for Shared<T> {}

impl<T> Shared<T> {
    /// The pointer; a method, so that closures capture the whole wrapper.
    pub(super) fn get(self) -> *mut T {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What was refused is as good as new for less.
    #[test]
    fn memory_that_is_refused_does_not_spoil_the_rest() {
        let arenas = Arenas::new(2);
        let call = |len: usize| arenas.with_call(|carver| carver.take::<f32>(len), |piece| !piece.is_null());
        assert!(call(100).unwrap());
        for len in [1 << 44, 1 << 50] {
            let refused = call(len).unwrap_err().to_string();
            assert!(refused.contains("out of memory"), "{refused}");
            arenas.reserve_threads(|carver| carver.take::<f32>(len)).unwrap_err();
            assert!(call(200).unwrap());
            arenas.reserve_threads(|carver| carver.take::<f32>(200)).unwrap();
        }
    }
}
