//! The format of torch.save before version 1.6: five pickles (magic number, protocol version, facts
//! about the machine, the object, the keys of its storages), then each storage as its number of
//! elements and the elements.

use std::io::{BufRead, Read};

use super::Pieces;
use super::fault::{Fault, Result};
use super::pickle;
use super::value::{Heap, Object, Value};
use crate::checkpoint::element::Element;

/// The number such a file begins with, as its pickle spells it.
pub(super) const MAGIC: [u8; 10] = [0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19];
/// The only version of the format there ever was.
const PROTOCOL: i128 = 1001;

/// Reads a stream of `length` bytes.
pub(super) fn read(mut reader: impl BufRead, length: u64) -> Result<Pieces> {
    let mut preface = Heap::default();
    pickle::load(&mut reader, &mut preface)?;
    let protocol = pickle::load(&mut reader, &mut preface)?;
    if protocol != Value::Int(PROTOCOL) {
        return Err(preface.unexpected(protocol, &format!("protocol version {PROTOCOL}")));
    }
    let machine = pickle::load(&mut reader, &mut preface)?;
    check_byte_order(&preface, machine)?;
    let mut heap = Heap::default();
    let root = pickle::load(&mut reader, &mut heap)?;
    let mut keys = Heap::default();
    let list = pickle::load(&mut reader, &mut keys)?;
    let Some(Object::List(order)) = keys.get(list) else {
        return Err(keys.unexpected(list, "a list of storage keys"));
    };

    let mut pieces = Pieces::new(&heap, root, length)?;
    let mut storages = heap.storages()?;
    for &key in order {
        let key = keys.text(key, "key of a storage")?;
        let Some((element, count)) = storages.remove(key) else {
            return Err(Fault::new(
                format!("a storage {key:?} that nothing refers to, or for the second time"),
                "each storage once",
            ));
        };
        read_storage(&mut reader, &mut pieces, key, element, count, length)?;
    }
    match storages.keys().find(|key| pieces.wants(key)) {
        Some(key) => Err(Fault::new(format!("no data for storage {key:?}"), "all storages")),
        None => Ok(pieces),
    }
}

/// Reads one storage, or skips it if no tensor needs it.
fn read_storage(
    reader: &mut impl BufRead,
    pieces: &mut Pieces,
    key: &str,
    element: Element,
    count: usize,
    length: u64,
) -> Result<()> {
    let mut stated = [0; 8];
    reader.read_exact(&mut stated)?;
    let stated = i64::from_le_bytes(stated);
    if i64::try_from(count) != Ok(stated) {
        return Err(Fault::new(
            format!("{stated} elements in storage {key:?}"),
            format!("{count} elements"),
        ));
    }
    let bytes = (count as u64).checked_mul(element.size() as u64);
    let Some(bytes) = bytes.filter(|&bytes| bytes <= length) else {
        return Err(Fault::new(
            format!("a storage {key:?} of {count} elements in a file of {length} bytes"),
            "a complete file",
        ));
    };
    if pieces.wants(key) {
        return pieces.read(key, element, count, reader);
    }
    let skipped = std::io::copy(&mut reader.take(bytes), &mut std::io::sink())?;
    if skipped < bytes {
        return Err(std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into());
    }
    Ok(())
}

fn check_byte_order(heap: &Heap, machine: Value) -> Result<()> {
    let Some(Object::Dict(facts)) = heap.get(machine) else {
        return Err(heap.unexpected(machine, "a dictionary of facts about the machine"));
    };
    let named =
        |&&(key, _): &&(Value, Value)| matches!(heap.get(key), Some(Object::Text(text)) if text == "little_endian");
    match facts.iter().find(named) {
        Some((_, Value::Bool(false))) => Err(Fault::new("big-endian data", "little-endian data")),
        _ => Ok(()),
    }
}
