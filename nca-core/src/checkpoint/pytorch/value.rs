//! What a pickle may build.
//!
//! Objects live in a table and refer to each other by index: a pickle can nest them a million deep
//! or tie them into a knot, and dropping the table still is one flat loop.

use std::collections::BTreeMap;

use super::fault::{Fault, Result};
use super::global::Global;
use crate::checkpoint::element::Element;

/// Index into [`Heap`].
pub(super) type ObjectId = u32;

/// A value on the machine's stack.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Value {
    /// `None`, floating-point numbers, bytes: whatever a tensor is never made of.
    Opaque,
    Bool(bool),
    Int(i128),
    Global(Global),
    Object(ObjectId),
}

/// What a [`Value::Object`] is.
#[derive(Debug)]
pub(super) enum Object {
    Text(String),
    List(Vec<Value>),
    Tuple(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(StorageView),
    Tensor(TensorSpec),
    /// `torch.nn.Parameter` in its oldest form: the tensor may arrive later.
    Parameter(Option<Value>),
}

/// A run of elements of a stored array.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct StorageView {
    /// Name of the array in the file.
    pub(super) key: String,
    pub(super) element: Element,
    /// Elements of the whole array.
    pub(super) total: usize,
    /// First element of this view.
    pub(super) offset: usize,
    /// Elements of this view.
    pub(super) count: usize,
}

/// Which elements of a storage make a tensor.
#[derive(Clone, Debug)]
pub(super) struct TensorSpec {
    pub(super) storage: StorageView,
    /// First element, counted from the start of the whole array.
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
    /// Product of the shape.
    pub(super) count: usize,
}

/// Most objects a pickle may build: a tensor takes about ten.
const MAX_OBJECTS: usize = 1 << 20;
/// Most items that the objects may have when they are made.
const MAX_ITEMS: usize = 1 << 23;
/// Most dimensions of a tensor, and arguments of a call.
pub(super) const MAX_SHORT: usize = 16;

/// All objects of a pickle.
#[derive(Debug, Default)]
pub(super) struct Heap {
    objects: Vec<Object>,
    items: usize,
}

impl Heap {
    pub(super) fn add(&mut self, object: Object) -> Result<Value> {
        self.items += match &object {
            Object::List(items) | Object::Tuple(items) => items.len(),
            Object::Dict(items) => items.len(),
            _ => 0,
        };
        if self.objects.len() >= MAX_OBJECTS || self.items > MAX_ITEMS {
            return Err(Fault::new(
                format!("a pickle of more than {MAX_OBJECTS} objects or {MAX_ITEMS} items"),
                "the tensors of a model",
            ));
        }
        self.objects.push(object);
        Ok(Value::Object(self.objects.len() as ObjectId - 1))
    }

    /// The object `value` refers to.
    pub(super) fn get(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(id) => self.objects.get(id as usize),
            _ => None,
        }
    }

    pub(super) fn get_mut(&mut self, value: Value) -> Option<&mut Object> {
        match value {
            Value::Object(id) => self.objects.get_mut(id as usize),
            _ => None,
        }
    }

    /// A string, or an error that says where one was expected.
    pub(super) fn text(&self, value: Value, what: &str) -> Result<&str> {
        match self.get(value) {
            Some(Object::Text(text)) => Ok(text),
            _ => Err(self.unexpected(value, &format!("a string as {what}"))),
        }
    }

    /// A tuple of at most [`MAX_SHORT`] items.
    pub(super) fn tuple(&self, value: Value, what: &str) -> Result<&[Value]> {
        match self.get(value) {
            Some(Object::Tuple(items)) if items.len() <= MAX_SHORT => Ok(items),
            _ => Err(self.unexpected(value, &format!("a tuple of at most {MAX_SHORT} as {what}"))),
        }
    }

    /// A number of things: an integer that is not negative.
    pub(super) fn size(&self, value: Value, what: &str) -> Result<usize> {
        match value {
            Value::Int(n) => usize::try_from(n).map_err(|_| {
                Fault::new(
                    format!("{n} as {what}"),
                    "a number that is not negative and fits memory",
                )
            }),
            _ => Err(self.unexpected(value, &format!("a number as {what}"))),
        }
    }

    pub(super) fn sizes(&self, value: Value, what: &str) -> Result<Vec<usize>> {
        let items = self.tuple(value, what)?;
        items.iter().map(|&item| self.size(item, what)).collect()
    }

    /// Every storage referred to, by key: element type and number of elements.
    pub(super) fn storages(&self) -> Result<BTreeMap<&str, (Element, usize)>> {
        let mut storages = BTreeMap::new();
        for object in &self.objects {
            let Object::Storage(view) = object else { continue };
            let kind = (view.element, view.total);
            if *storages.entry(view.key.as_str()).or_insert(kind) != kind {
                return Err(Fault::new(
                    format!("two descriptions of storage {}", view.key),
                    "one type and one size for each storage",
                ));
            }
        }
        Ok(storages)
    }

    /// "Found a list, expected …".
    pub(super) fn unexpected(&self, value: Value, expected: &str) -> Fault {
        let found = match (value, self.get(value)) {
            (Value::Bool(_), _) => "a truth value".to_owned(),
            (Value::Int(n), _) => format!("the number {n}"),
            (Value::Global(global), _) => global.to_string(),
            (_, Some(Object::Text(_))) => "a string".to_owned(),
            (_, Some(Object::List(_))) => "a list".to_owned(),
            (_, Some(Object::Tuple(_))) => "a tuple".to_owned(),
            (_, Some(Object::Dict(_))) => "a dictionary".to_owned(),
            (_, Some(Object::Storage(_))) => "a storage".to_owned(),
            (_, Some(Object::Tensor(_) | Object::Parameter(_))) => "a tensor".to_owned(),
            (Value::Opaque | Value::Object(_), _) => "an object of no use".to_owned(),
        };
        Fault::new(found, expected)
    }
}
