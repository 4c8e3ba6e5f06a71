//! Memory of the backend.

// Viewing aligned lines as floats needs raw slices.
#![allow(unsafe_code)]

use std::alloc::{Layout, alloc_zeroed};
use std::fmt;
use std::ops::{Deref, DerefMut};

use crate::error::Result;
use crate::memory::{check_memory, out_of_memory};

/// One cache line, so that a vector of lines starts on a line boundary.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
struct Line([f32; LINE]);

/// Floats in a cache line.
const LINE: usize = 16;

/// An array of f32 that starts on a cache line.
pub struct Buffer {
    lines: Vec<Line>,
    len: usize,
}

impl Buffer {
    /// An array of no elements.
    pub(super) const fn empty() -> Self {
        Self {
            lines: Vec::new(),
            len: 0,
        }
    }

    /// `len` zeros, or an error where there is no room for them. They are written, so that what is left for others counts
    /// them as used.
    pub(super) fn zeros(len: usize) -> Result<Self> {
        check_memory::<f32>("cpu", len)?;
        let lines = len.div_ceil(LINE);
        let full = || out_of_memory("cpu", len as u128 * size_of::<f32>() as u128, None);
        let layout = Layout::array::<Line>(lines).map_err(|_| full())?;
        if layout.size() == 0 {
            return Ok(Self::empty());
        }
        // SAFETY: the layout is not empty.
        let start = unsafe { alloc_zeroed(layout) };
        if start.is_null() {
            return Err(full());
        }
        // SAFETY: allocated above for `lines` lines, by the allocator of `Vec`, which nobody else owns; zeros are floats.
        let lines = unsafe { Vec::from_raw_parts(start.cast(), lines, lines) };
        Ok(Self { lines, len })
    }

    /// Makes room for at least `len` elements; the contents are unspecified afterwards.
    pub(super) fn reserve(&mut self, len: usize) -> Result<()> {
        if self.len < len {
            // Not both at a time.
            *self = Self::empty();
            *self = Self::zeros(len)?;
        }
        Ok(())
    }
}

impl Deref for Buffer {
    type Target = [f32];
    fn deref(&self) -> &[f32] {
        // SAFETY: `lines` holds at least `len` contiguous, initialised floats (`Line` is `repr(C)`
        // without padding: 16·4 bytes, aligned to 64).
        unsafe { std::slice::from_raw_parts(self.lines.as_ptr().cast(), self.len) }
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        // SAFETY: as in `deref`; the mutable borrow of `self` makes it unique.
        unsafe { std::slice::from_raw_parts_mut(self.lines.as_mut_ptr().cast(), self.len) }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} f32)", self.len)
    }
}

/// An array of 32-bit indices.
#[derive(Debug)]
pub struct Indices(pub(super) Vec<u32>);

#[cfg(test)]
mod tests {
    use super::*;

    /// What was refused leaves nothing that looks like memory.
    #[test]
    fn a_refused_array_is_empty() {
        let mut buffer = Buffer::zeros(100).unwrap();
        buffer.reserve(1 << 44).unwrap_err();
        assert!(buffer.is_empty());
        buffer.reserve(7).unwrap();
        assert_eq!(buffer[..], [0.0; 7]);
    }
}
