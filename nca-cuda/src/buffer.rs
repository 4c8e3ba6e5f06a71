//! Memory of the backend.

use std::fmt;
use std::sync::Arc;

use nca_core::Result;

use crate::machine::{Address, Machine};

/// Bytes of an element: f32 and u32 alike.
const ELEMENT: usize = 4;

/// An array of f32 in the memory of the device; freed when dropped.
pub struct Buffer {
    machine: Arc<dyn Machine>,
    address: Address,
    len: usize,
}

impl Buffer {
    /// `len` zeros.
    pub(crate) fn zeros(machine: &Arc<dyn Machine>, len: usize) -> Result<Self> {
        let buffer = Self::uninitialized(machine, len)?;
        if len > 0 {
            machine.clear(buffer.address, buffer.bytes())?;
        }
        Ok(buffer)
    }

    /// `len` elements of unspecified contents.
    pub(crate) fn uninitialized(machine: &Arc<dyn Machine>, len: usize) -> Result<Self> {
        let address = match len {
            0 => 0,
            _ => machine.allocate(len.saturating_mul(ELEMENT))?,
        };
        Ok(Self {
            machine: Arc::clone(machine),
            address,
            len,
        })
    }

    /// Where it starts.
    pub(crate) fn address(&self) -> Address {
        self.address
    }

    /// Where element `index` lies.
    pub(crate) fn at(&self, index: usize) -> Address {
        self.address + (index * ELEMENT) as Address
    }

    /// Number of elements.
    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// Number of bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.len * ELEMENT
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        if self.len > 0 {
            self.machine.free(self.address, self.bytes());
        }
    }
}

impl fmt::Debug for Buffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Buffer({} f32)", self.len)
    }
}

/// An array of 32-bit indices in the memory of the device.
#[derive(Debug)]
pub struct Indices(pub(crate) Buffer);
