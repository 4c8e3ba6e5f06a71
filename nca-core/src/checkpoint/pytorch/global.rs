//! The names a pickle may refer to, and what calling them makes.
//!
//! A pickle is a program, and a name in it can be any function of Python. Here a name is looked up in
//! a short list of constructors that are written below; every other one is refused.

use std::fmt;

use super::fault::{Fault, Result};
use super::tensor;
use super::value::{Heap, Object, Value};
use crate::checkpoint::element::Element;

/// A name that is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Global {
    /// `collections.OrderedDict`
    OrderedDict,
    /// `torch.Size`
    Size,
    /// `torch.nn.parameter.Parameter`
    Parameter,
    /// `torch._utils._rebuild_tensor`, before 2018
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v2`
    RebuildTensorV2,
    /// `torch._utils._rebuild_parameter`
    RebuildParameter,
    /// `torch.FloatStorage` and its like
    Storage(Element),
    /// `torch.float32` and its like, which stand beside tensors in some checkpoints
    Dtype,
}

impl fmt::Display for Global {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::OrderedDict => "collections.OrderedDict",
            Self::Size => "torch.Size",
            Self::Parameter => "torch.nn.parameter.Parameter",
            Self::RebuildTensor => "torch._utils._rebuild_tensor",
            Self::RebuildTensorV2 => "torch._utils._rebuild_tensor_v2",
            Self::RebuildParameter => "torch._utils._rebuild_parameter",
            Self::Storage(_) => "a storage type",
            Self::Dtype => "an element type",
        })
    }
}

/// Longest part of a refused name that a message repeats.
const SHOWN: usize = 60;

impl Global {
    /// The global called `module.name`.
    pub(super) fn find(module: &str, name: &str) -> Result<Self> {
        let known = match (module, name) {
            ("collections", "OrderedDict") => Some(Self::OrderedDict),
            ("torch", "Size") => Some(Self::Size),
            ("torch.nn.parameter", "Parameter") => Some(Self::Parameter),
            ("torch._utils", "_rebuild_tensor") => Some(Self::RebuildTensor),
            ("torch._utils", "_rebuild_tensor_v2") => Some(Self::RebuildTensorV2),
            ("torch._utils", "_rebuild_parameter") => Some(Self::RebuildParameter),
            // Files written before 2017 name the device in the module.
            ("torch" | "torch.cuda", name) => storage(name).map(Self::Storage).or_else(|| dtype(name)),
            _ => None,
        };
        known.ok_or_else(|| {
            let shown = |text: &str| text.chars().take(SHOWN).collect::<String>().escape_debug().to_string();
            Fault::new(
                format!("a pickle that refers to {}.{}", shown(module), shown(name)),
                "nothing but tensors, dictionaries, lists and numbers (no code is run)",
            )
        })
    }

    /// `self(*args)`.
    pub(super) fn call(self, heap: &mut Heap, args: Value) -> Result<Value> {
        let args = heap.tuple(args, "arguments")?.to_vec();
        match (self, &args[..]) {
            (Self::OrderedDict, []) => heap.add(Object::Dict(Vec::new())),
            (Self::OrderedDict, &[pairs]) => ordered_dict(heap, pairs),
            (Self::Size, &[sizes]) => {
                heap.tuple(sizes, "a size")?;
                Ok(sizes)
            }
            (Self::Parameter, &[]) => heap.add(Object::Parameter(None)),
            (Self::Parameter, &[data] | &[data, _]) => heap.add(Object::Parameter(Some(data))),
            (Self::RebuildParameter, &[data, ..]) => Ok(data),
            (Self::RebuildTensor, &[storage, offset, size, stride]) => {
                tensor::rebuild(heap, storage, offset, size, stride)
            }
            (Self::RebuildTensorV2, &[storage, offset, size, stride, _, _, ref extra @ ..]) if extra.len() <= 1 => {
                refuse_lazy(heap, extra)?;
                tensor::rebuild(heap, storage, offset, size, stride)
            }
            (function, args) => Err(Fault::new(
                format!("a call of {function} with {} arguments", args.len()),
                "a call as PyTorch writes it",
            )),
        }
    }
}

/// A tensor may be stored negated or conjugated, with a note in this dictionary.
fn refuse_lazy(heap: &Heap, extra: &[Value]) -> Result<()> {
    match extra.first().map(|&value| (value, heap.get(value))) {
        None | Some((Value::Opaque, _)) => Ok(()),
        Some((_, Some(Object::Dict(items)))) if items.is_empty() => Ok(()),
        Some((value, _)) => Err(heap.unexpected(value, "a tensor without negation or conjugation left to do")),
    }
}

/// A dictionary from a list of pairs, as Python 2 wrote it.
fn ordered_dict(heap: &mut Heap, pairs: Value) -> Result<Value> {
    let Some(Object::List(items)) = heap.get(pairs) else {
        return Err(heap.unexpected(pairs, "a list of pairs"));
    };
    let pair = |&item: &Value| match heap.get(item) {
        Some(Object::List(pair) | Object::Tuple(pair)) if pair.len() == 2 => Ok((pair[0], pair[1])),
        _ => Err(heap.unexpected(item, "a pair of key and value")),
    };
    let items = items.iter().map(pair).collect::<Result<_>>()?;
    heap.add(Object::Dict(items))
}

/// The element type of `torch.NAME`, for storages.
fn storage(name: &str) -> Option<Element> {
    Some(match name {
        "FloatStorage" => Element::F32,
        "DoubleStorage" => Element::F64,
        "HalfStorage" => Element::F16,
        "BFloat16Storage" => Element::Bf16,
        "LongStorage" => Element::I64,
        "IntStorage" => Element::I32,
        "ShortStorage" => Element::I16,
        "CharStorage" => Element::I8,
        "ByteStorage" | "BoolStorage" => Element::U8,
        _ => return None,
    })
}

fn dtype(name: &str) -> Option<Global> {
    let known = [
        "float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool",
    ];
    known.contains(&name).then_some(Global::Dtype)
}
