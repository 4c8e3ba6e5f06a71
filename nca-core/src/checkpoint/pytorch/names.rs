//! The tensors of a pickle by name.

use super::fault::{Fault, Result};
use super::value::{Heap, Object, TensorSpec, Value};

/// Deepest nesting of containers that tensors are looked for in.
const MAX_DEPTH: usize = 16;
/// Most items looked at, those that are reached in several ways counted every time.
const MAX_VISITS: usize = 1 << 20;
/// Most tensors.
const MAX_TENSORS: usize = 1 << 17;
/// Longest name of a tensor, in bytes.
const MAX_NAME: usize = 1024;
/// Bytes of all names on the way, those of containers included: a short file can refer to one thing a million times, and
/// every time it has another name.
const MAX_NAMES: usize = 32 << 20;

/// Every tensor that `root` leads to, named by the keys and positions on the way, joined with dots.
///
/// What is no tensor (numbers, strings, settings) is left out.
pub(super) fn tensors(heap: &Heap, root: Value) -> Result<Vec<(String, TensorSpec)>> {
    let mut found = Vec::new();
    let (mut visits, mut named) = (0, 0);
    let mut open = vec![(String::new(), root, 0)];
    while let Some((name, value, depth)) = open.pop() {
        let Some(object) = heap.get(value) else { continue };
        let mut descend = |key: &dyn std::fmt::Display, item: Value| {
            visits += 1;
            if visits > MAX_VISITS || depth >= MAX_DEPTH {
                return Err(Fault::new(
                    format!("more than {MAX_VISITS} items or {MAX_DEPTH} levels of them"),
                    "the tensors of a model",
                ));
            }
            if leads_on(heap, item) {
                let name = join(&name, key)?;
                named += name.len();
                if named > MAX_NAMES {
                    let found = format!("more than {MAX_NAMES} bytes of names");
                    return Err(Fault::new(found, "the tensors of a model"));
                }
                open.push((name, item, depth + 1));
            }
            Ok(())
        };
        match object {
            Object::Tensor(_) if found.len() >= MAX_TENSORS => {
                return Err(Fault::new(
                    format!("more than {MAX_TENSORS} tensors"),
                    "the tensors of a model",
                ));
            }
            Object::Tensor(spec) => found.push((name, spec.clone())),
            Object::Parameter(Some(tensor)) => descend(&"", *tensor)?,
            Object::List(items) | Object::Tuple(items) => {
                for (i, &item) in items.iter().enumerate() {
                    descend(&i, item)?;
                }
            }
            Object::Dict(items) => {
                for &(key, item) in items {
                    match (key, heap.get(key)) {
                        (_, Some(Object::Text(text))) => descend(text, item)?,
                        (Value::Int(n), _) => descend(&n, item)?,
                        _ => return Err(heap.unexpected(key, "strings or numbers as keys of a dictionary")),
                    }
                }
            }
            Object::Text(_) | Object::Storage(_) | Object::Parameter(None) => {}
        }
    }
    Ok(found)
}

/// Whether `value` is, or may hold, a tensor.
fn leads_on(heap: &Heap, value: Value) -> bool {
    !matches!(heap.get(value), None | Some(Object::Text(_) | Object::Storage(_)))
}

/// `name.key`, or one of them where the other is empty.
fn join(name: &str, key: &dyn std::fmt::Display) -> Result<String> {
    let key = key.to_string();
    let joined = match (name, key.as_str()) {
        ("", _) => key,
        (_, "") => name.to_owned(),
        _ => format!("{name}.{key}"),
    };
    if joined.len() > MAX_NAME {
        return Err(Fault::new(
            format!("a tensor name of {} bytes", joined.len()),
            format!("at most {MAX_NAME}"),
        ));
    }
    Ok(joined)
}
