//! Tensors from PyTorch's own files, without PyTorch and without running what they contain.
//!
//! `torch.save` writes a pickle, which is a program in disguise, and the raw storages that its tensors
//! are views of. Here a machine that can only build data ([`pickle`]) runs the program; a short list
//! of constructors ([`global`]) is all it can call. Two containers carry them: a zip archive
//! ([`archive`]) and, before version 1.6, a plain stream ([`stream`]).
//!
//! Memory is bounded by the length of the file: a pickle has at most 16 MiB, storages are read only
//! when the file is long enough to hold them, and all tensors together take at most
//! [`EXPANSION`] times that length, however often they share a storage.
//!
//! Sources: PyTorch's `torch/serialization.py`, and Python's `pickletools`, which describes every
//! instruction.

mod archive;
mod fault;
mod global;
mod names;
mod pickle;
mod stream;
mod tensor;
mod value;

use std::collections::{BTreeMap, HashMap};
use std::io::{BufRead, Read, Seek};
use std::path::Path;

use self::fault::{Fault, Result};
use self::value::{Heap, TensorSpec, Value};
use super::element::{Element, ReadError};
use super::tensors::{Tensor, Tensors};

/// The containers a PyTorch file may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Container {
    Zip,
    Stream,
}

impl Container {
    /// How many of the first bytes of a file [`Container::of`] looks at.
    pub(super) const HEAD: u64 = 32;

    /// The container that begins with `head`, if it is one.
    pub(super) fn of(head: &[u8]) -> Option<Self> {
        let magic = |window: &[u8]| window == stream::MAGIC;
        if head.starts_with(b"PK\x03\x04") {
            Some(Self::Zip)
        } else if head.first() == Some(&0x80) && head.windows(stream::MAGIC.len()).any(magic) {
            Some(Self::Stream)
        } else {
            None
        }
    }
}

/// Reads a PyTorch file of `length` bytes; `path` is for messages.
pub(super) fn read(
    path: &Path,
    container: Container,
    reader: impl BufRead + Seek,
    length: u64,
) -> crate::error::Result<Tensors> {
    let pieces = match container {
        Container::Zip => archive::read(reader, length),
        Container::Stream => stream::read(reader, length),
    };
    match pieces {
        Ok(pieces) => Ok(Tensors::new(path, pieces.tensors, BTreeMap::new())),
        Err(fault) => Err(fault.at(path)),
    }
}

/// Bytes of f32 tensors for each byte of the file; what an array of bytes becomes.
const EXPANSION: u64 = 4;
/// Bytes of f32 tensors that even the shortest file may hold.
const ALLOWANCE: u64 = 1 << 20;

/// Tensors in the making: names and views are known, storages arrive one by one.
struct Pieces {
    /// Views still without data, by storage.
    wanted: HashMap<String, Vec<(String, TensorSpec)>>,
    tensors: BTreeMap<String, Tensor>,
}

impl Pieces {
    /// The tensors that `root` leads to, in a file of `length` bytes.
    fn new(heap: &Heap, root: Value, length: u64) -> Result<Self> {
        let named = names::tensors(heap, root)?;
        if named.is_empty() {
            return Err(Fault::new("no tensors", "a dictionary of tensors (a state_dict)"));
        }
        let bytes = named.iter().fold(0_u64, |sum, (_, spec)| {
            sum.saturating_add((spec.count as u64).saturating_mul(size_of::<f32>() as u64))
        });
        let most = length.saturating_mul(EXPANSION).saturating_add(ALLOWANCE);
        if bytes > most {
            return Err(Fault::new(
                format!("tensors of {bytes} bytes in a file of {length}"),
                format!("at most {most} bytes of tensors"),
            ));
        }
        let mut wanted = HashMap::<_, Vec<_>>::new();
        for (name, spec) in named {
            wanted.entry(spec.storage.key.clone()).or_default().push((name, spec));
        }
        Ok(Self {
            wanted,
            tensors: BTreeMap::new(),
        })
    }

    /// Whether a tensor still needs the storage `key`.
    fn wants(&self, key: &str) -> bool {
        self.wanted.contains_key(key)
    }

    /// Reads the `count` elements of storage `key` and makes its tensors; the caller has checked that
    /// the file is long enough.
    fn read(&mut self, key: &str, element: Element, count: usize, reader: &mut impl Read) -> Result<()> {
        let wanted = self.wanted.remove(key).unwrap_or_default();
        let storage = element.read(reader, count).map_err(|error| match error {
            ReadError::Io(error) => Fault::Io(error),
            ReadError::Inexact(value) => Fault::new(
                format!("{value} in a tensor ({})", wanted.first().map_or("", |(name, _)| name)),
                "integers of at most 2^24, which f32 holds exactly",
            ),
        })?;
        if let [(name, spec)] = &wanted[..]
            && spec.is_whole()
        {
            let shape = spec.shape.clone();
            return self.insert(name, Tensor { shape, values: storage });
        }
        wanted
            .iter()
            .try_for_each(|(name, spec)| self.insert(name, spec.gather(&storage)))
    }

    fn insert(&mut self, name: &str, tensor: Tensor) -> Result<()> {
        match self.tensors.insert(name.to_owned(), tensor) {
            None => Ok(()),
            Some(_) => Err(Fault::new(
                format!("two tensors called {name}"),
                "one tensor of each name",
            )),
        }
    }
}
