//! A machine for the part of Python's pickle language that PyTorch writes.
//!
//! A pickle is a program for a stack machine. The one here knows the instructions that build numbers,
//! strings, lists, tuples and dictionaries, and calls nothing but the constructors of
//! [`Global::call`]; any other instruction is refused by name. It uses no recursion, and its memory is
//! bounded by the length of the program, which is bounded itself.

use std::collections::HashMap;
use std::io::Read;

use super::fault::{Fault, Result};
use super::global::Global;
use super::value::{Heap, Object, StorageView, Value};

/// Longest pickle, in bytes: a hundred thousand tensors.
const MAX_LENGTH: usize = 16 << 20;
/// Newest pickle protocol.
const MAX_PROTOCOL: u8 = 5;
/// Longest name of a storage, in bytes.
const MAX_KEY: usize = 256;
/// Longest integer, in bytes; PyTorch's magic number has ten.
const MAX_INTEGER: usize = 16;

/// Runs the pickle that `reader` stands before, and leaves it right behind.
///
/// Objects are made in `heap`.
pub(super) fn load(reader: &mut impl Read, heap: &mut Heap) -> Result<Value> {
    let mut machine = Machine {
        code: Code {
            reader,
            left: MAX_LENGTH,
        },
        heap,
        stack: Vec::new(),
        marks: Vec::new(),
        memo: HashMap::new(),
    };
    loop {
        if let Some(value) = machine.step()? {
            return Ok(value);
        }
    }
}

/// The program, read once from front to back.
struct Code<'a, R> {
    reader: &'a mut R,
    /// Bytes it may still have.
    left: usize,
}

impl<R: Read> Code<'_, R> {
    fn spend(&mut self, length: usize) -> Result<()> {
        match self.left.checked_sub(length) {
            Some(left) => {
                self.left = left;
                Ok(())
            }
            None => Err(Fault::new(
                format!("a pickle of more than {MAX_LENGTH} bytes"),
                "the tensors of a model",
            )),
        }
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        self.spend(N)?;
        let mut bytes = [0; N];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn byte(&mut self) -> Result<u8> {
        Ok(self.array::<1>()?[0])
    }

    /// A length or index of four bytes.
    fn word(&mut self) -> Result<usize> {
        Ok(u32::from_le_bytes(self.array()?) as usize)
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        self.spend(length)?;
        let mut bytes = vec![0; length];
        self.reader.read_exact(&mut bytes)?;
        Ok(bytes)
    }

    fn text(&mut self, length: usize) -> Result<String> {
        utf8(self.bytes(length)?)
    }

    /// Text up to the end of the line.
    fn line(&mut self) -> Result<String> {
        let mut bytes = Vec::new();
        loop {
            match self.byte()? {
                b'\n' => return utf8(bytes),
                byte => bytes.push(byte),
            }
        }
    }

    /// A little-endian two's complement integer of `length` bytes.
    fn integer(&mut self, length: usize) -> Result<i128> {
        if length > MAX_INTEGER {
            return Err(Fault::new(
                format!("an integer of {length} bytes"),
                format!("at most {MAX_INTEGER}"),
            ));
        }
        let bytes = self.bytes(length)?;
        let negative = bytes.last().is_some_and(|&byte| byte >= 0x80);
        let mut whole = [if negative { 0xff } else { 0 }; MAX_INTEGER];
        whole[..length].copy_from_slice(&bytes);
        Ok(i128::from_le_bytes(whole))
    }
}

fn utf8(bytes: Vec<u8>) -> Result<String> {
    String::from_utf8(bytes).map_err(|_| Fault::new("a string that is not UTF-8", "UTF-8 text"))
}

struct Machine<'a, R> {
    code: Code<'a, R>,
    heap: &'a mut Heap,
    stack: Vec<Value>,
    /// Stack heights at open marks.
    marks: Vec<usize>,
    memo: HashMap<usize, Value>,
}

impl<R: Read> Machine<'_, R> {
    /// Executes one instruction; the value of the whole pickle once it is complete.
    fn step(&mut self) -> Result<Option<Value>> {
        let instruction = self.code.byte()?;
        match instruction {
            // Framing.
            0x80 => self.protocol()?,              // PROTO
            0x95 => drop(self.code.array::<8>()?), // FRAME
            b'.' => return Ok(Some(self.pop()?)),  // STOP
            // Constants.
            b'N' => self.stack.push(Value::Opaque),      // NONE
            0x88 => self.stack.push(Value::Bool(true)),  // NEWTRUE
            0x89 => self.stack.push(Value::Bool(false)), // NEWFALSE
            b'J' => self.push_integer(4)?,               // BININT, signed
            b'K' => self.push_unsigned(1)?,              // BININT1
            b'M' => self.push_unsigned(2)?,              // BININT2
            0x8a => self.push_long()?,                   // LONG1
            b'G' => self.push_opaque(8)?,                // BINFLOAT
            b'X' => self.push_text(4)?,                  // BINUNICODE
            0x8c => self.push_text(1)?,                  // SHORT_BINUNICODE
            b'T' => self.push_text(4)?,                  // BINSTRING, Python 2
            b'U' => self.push_text(1)?,                  // SHORT_BINSTRING, Python 2
            b'B' => self.push_bytes(4)?,                 // BINBYTES
            b'C' => self.push_bytes(1)?,                 // SHORT_BINBYTES
            // Containers.
            b'(' => self.marks.push(self.stack.len()),     // MARK
            b'0' => drop(self.pop()?),                     // POP
            b'1' => drop(self.pop_mark()?),                // POP_MARK
            b')' => self.push(Object::Tuple(Vec::new()))?, // EMPTY_TUPLE
            0x85 => self.tuple(1)?,                        // TUPLE1
            0x86 => self.tuple(2)?,                        // TUPLE2
            0x87 => self.tuple(3)?,                        // TUPLE3
            b't' => self.marked_tuple()?,                  // TUPLE
            b']' => self.push(Object::List(Vec::new()))?,  // EMPTY_LIST
            b'a' => self.append()?,                        // APPEND
            b'e' => self.appends()?,                       // APPENDS
            b'}' => self.push(Object::Dict(Vec::new()))?,  // EMPTY_DICT
            b's' => self.set_item()?,                      // SETITEM
            b'u' => self.set_items()?,                     // SETITEMS
            // Memory.
            b'q' => self.put(1)?,                    // BINPUT
            b'r' => self.put(4)?,                    // LONG_BINPUT
            0x94 => self.remember(self.memo.len())?, // MEMOIZE
            b'h' => self.recall(1)?,                 // BINGET
            b'j' => self.recall(4)?,                 // LONG_BINGET
            // Names and what they make.
            b'c' => self.global()?,       // GLOBAL
            0x93 => self.stack_global()?, // STACK_GLOBAL
            b'R' | 0x81 => self.call()?,  // REDUCE, NEWOBJ
            b'b' => self.build()?,        // BUILD
            b'Q' => self.persistent()?,   // BINPERSID
            other => return Err(unknown(other)),
        }
        Ok(None)
    }

    fn pop(&mut self) -> Result<Value> {
        let floor = self.marks.last().copied().unwrap_or(0);
        if self.stack.len() <= floor {
            return Err(broken("takes a value from an empty stack"));
        }
        self.stack
            .pop()
            .ok_or_else(|| broken("takes a value from an empty stack"))
    }

    /// The value on top, which stays there.
    fn top(&self) -> Result<Value> {
        let top = self.stack.last().copied();
        top.ok_or_else(|| broken("looks at the top of an empty stack"))
    }

    /// Everything above the last mark.
    fn pop_mark(&mut self) -> Result<Vec<Value>> {
        let mark = self
            .marks
            .pop()
            .ok_or_else(|| broken("closes a mark it never opened"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push(&mut self, object: Object) -> Result<()> {
        let value = self.heap.add(object)?;
        self.stack.push(value);
        Ok(())
    }

    fn protocol(&mut self) -> Result<()> {
        match self.code.byte()? {
            0..=MAX_PROTOCOL => Ok(()),
            newer => Err(Fault::new(
                format!("pickle protocol {newer}"),
                format!("at most {MAX_PROTOCOL}"),
            )),
        }
    }

    fn push_integer(&mut self, length: usize) -> Result<()> {
        let value = self.code.integer(length)?;
        self.stack.push(Value::Int(value));
        Ok(())
    }

    fn push_unsigned(&mut self, length: usize) -> Result<()> {
        let value = self.unsigned(length)?;
        self.stack.push(Value::Int(value as i128));
        Ok(())
    }

    fn push_long(&mut self) -> Result<()> {
        let length = self.code.byte()?;
        self.push_integer(usize::from(length))
    }

    fn push_opaque(&mut self, length: usize) -> Result<()> {
        self.code.bytes(length)?;
        self.stack.push(Value::Opaque);
        Ok(())
    }

    fn push_bytes(&mut self, width: usize) -> Result<()> {
        let length = self.unsigned(width)?;
        self.push_opaque(length)
    }

    fn push_text(&mut self, width: usize) -> Result<()> {
        let length = self.unsigned(width)?;
        let text = self.code.text(length)?;
        self.push(Object::Text(text))
    }

    /// An unsigned integer of 1, 2 or 4 bytes.
    fn unsigned(&mut self, width: usize) -> Result<usize> {
        Ok(match width {
            1 => usize::from(self.code.byte()?),
            2 => usize::from(u16::from_le_bytes(self.code.array()?)),
            _ => self.code.word()?,
        })
    }

    fn tuple(&mut self, count: usize) -> Result<()> {
        let mut items = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>>>()?;
        items.reverse();
        self.push(Object::Tuple(items))
    }

    fn marked_tuple(&mut self) -> Result<()> {
        let items = self.pop_mark()?;
        self.push(Object::Tuple(items))
    }

    fn append(&mut self) -> Result<()> {
        let item = self.pop()?;
        self.list()?.push(item);
        Ok(())
    }

    fn appends(&mut self) -> Result<()> {
        let items = self.pop_mark()?;
        self.list()?.extend(items);
        Ok(())
    }

    /// The list on top of the stack.
    fn list(&mut self) -> Result<&mut Vec<Value>> {
        match self.heap.get_mut(self.top()?) {
            Some(Object::List(items)) => Ok(items),
            _ => Err(broken("appends to something that is no list")),
        }
    }

    fn set_item(&mut self) -> Result<()> {
        let (value, key) = (self.pop()?, self.pop()?);
        self.dict()?.push((key, value));
        Ok(())
    }

    fn set_items(&mut self) -> Result<()> {
        let items = self.pop_mark()?;
        let (pairs, rest) = items.as_chunks::<2>();
        if !rest.is_empty() {
            return Err(broken("sets a key without a value"));
        }
        self.dict()?.extend(pairs.iter().map(|&[key, value]| (key, value)));
        Ok(())
    }

    /// The dictionary on top of the stack.
    fn dict(&mut self) -> Result<&mut Vec<(Value, Value)>> {
        match self.heap.get_mut(self.top()?) {
            Some(Object::Dict(items)) => Ok(items),
            _ => Err(broken("sets items of something that is no dictionary")),
        }
    }

    fn put(&mut self, width: usize) -> Result<()> {
        let index = self.unsigned(width)?;
        self.remember(index)
    }

    fn remember(&mut self, index: usize) -> Result<()> {
        let value = self.top()?;
        self.memo.insert(index, value);
        Ok(())
    }

    fn recall(&mut self, width: usize) -> Result<()> {
        let index = self.unsigned(width)?;
        let value = self.memo.get(&index).copied();
        self.stack
            .push(value.ok_or_else(|| broken("recalls what it never stored"))?);
        Ok(())
    }

    fn global(&mut self) -> Result<()> {
        let (module, name) = (self.code.line()?, self.code.line()?);
        self.stack.push(Value::Global(Global::find(&module, &name)?));
        Ok(())
    }

    fn stack_global(&mut self) -> Result<()> {
        let (name, module) = (self.pop()?, self.pop()?);
        let global = Global::find(self.heap.text(module, "a module")?, self.heap.text(name, "a name")?)?;
        self.stack.push(Value::Global(global));
        Ok(())
    }

    fn call(&mut self) -> Result<()> {
        let (args, function) = (self.pop()?, self.pop()?);
        let Value::Global(function) = function else {
            return Err(self.heap.unexpected(function, "something that can be called"));
        };
        let made = function.call(self.heap, args)?;
        self.stack.push(made);
        Ok(())
    }

    /// Attributes of an object: none matter but the data of the oldest parameters.
    fn build(&mut self) -> Result<()> {
        let state = self.pop()?;
        let target = self.top()?;
        let data = match self.heap.get(state) {
            Some(Object::Tuple(items)) => items.first().copied(),
            _ => None,
        };
        match self.heap.get_mut(target) {
            // `_metadata` of a state dictionary.
            Some(Object::Dict(_)) => Ok(()),
            Some(Object::Parameter(tensor)) => {
                *tensor = tensor.or(data);
                Ok(())
            }
            _ => Err(self.heap.unexpected(target, "an object that has attributes")),
        }
    }

    /// A reference to data outside of the pickle:
    /// `('storage', type, key, location, elements[, view])`.
    fn persistent(&mut self) -> Result<()> {
        let id = self.pop()?;
        let (kind, storage, key, total, view) = match *self.heap.tuple(id, "reference to a storage")? {
            [kind, storage, key, _, total] => (kind, storage, key, total, None),
            [kind, storage, key, _, total, view] => (kind, storage, key, total, Some(view)),
            _ => return Err(broken("refers to a storage in an unknown way")),
        };
        let Value::Global(Global::Storage(element)) = storage else {
            return Err(self.heap.unexpected(storage, "a storage type"));
        };
        if self.heap.text(kind, "kind of a reference")? != "storage" {
            return Err(self.heap.unexpected(kind, "a reference to a storage"));
        }
        let total = self.heap.size(total, "size of a storage")?;
        let (offset, count) = match view {
            None | Some(Value::Opaque) => (0, total),
            Some(view) => self.view(view, total)?,
        };
        let key = self.heap.text(key, "key of a storage")?;
        if key.len() > MAX_KEY {
            return Err(Fault::new(
                format!("a storage key of {} bytes", key.len()),
                format!("at most {MAX_KEY}"),
            ));
        }
        let view = StorageView {
            key: key.to_owned(),
            element,
            total,
            offset,
            count,
        };
        self.push(Object::Storage(view))
    }

    /// `(key of the view, offset, size)`, a part of a storage of `total` elements.
    fn view(&self, view: Value, total: usize) -> Result<(usize, usize)> {
        let &[_, offset, count] = self.heap.tuple(view, "view of a storage")? else {
            return Err(broken("describes a view of a storage in an unknown way"));
        };
        let offset = self.heap.size(offset, "offset of a view")?;
        let count = self.heap.size(count, "size of a view")?;
        if offset.checked_add(count).is_none_or(|end| end > total) {
            return Err(Fault::new(
                format!("a view of {count} elements from {offset}"),
                format!("a view within its storage of {total}"),
            ));
        }
        Ok((offset, count))
    }
}

/// A program that no pickler writes.
fn broken(what: &str) -> Fault {
    Fault::new(format!("a pickle that {what}"), "a valid pickle")
}

/// An instruction that is not known here, by its name in Python's `pickletools`.
fn unknown(instruction: u8) -> Fault {
    let name = match instruction {
        b'i' => "INST",
        b'o' => "OBJ",
        b'P' => "PERSID",
        b'F' => "FLOAT",
        b'I' => "INT",
        b'L' => "LONG",
        b'S' => "STRING",
        b'V' => "UNICODE",
        b'd' => "DICT",
        b'g' => "GET",
        b'l' => "LIST",
        b'p' => "PUT",
        b'2' => "DUP",
        0x82 => "EXT1",
        0x83 => "EXT2",
        0x84 => "EXT4",
        0x8b => "LONG4",
        0x8d => "BINUNICODE8",
        0x8e => "BINBYTES8",
        0x8f => "EMPTY_SET",
        0x90 => "ADDITEMS",
        0x91 => "FROZENSET",
        0x92 => "NEWOBJ_EX",
        0x96 => "BYTEARRAY8",
        0x97 => "NEXT_BUFFER",
        0x98 => "READONLY_BUFFER",
        _ => "of no name",
    };
    Fault::new(
        format!("the pickle instruction {instruction:#04x} {name}"),
        "the instructions that PyTorch writes",
    )
}
