//! Named tensors on the host.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// Shape and row-major elements.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    /// Extent of each dimension; empty for a scalar.
    pub shape: Vec<usize>,
    /// Elements, the last dimension fastest.
    pub values: Vec<f32>,
}

/// A named tensor that someone else owns, as [`write_tensors`](super::write_tensors) takes it.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorView<'a> {
    /// Name in the file.
    pub name: String,
    /// Extent of each dimension.
    pub shape: Vec<usize>,
    /// Elements, the last dimension fastest.
    pub values: &'a [f32],
}

impl<'a> TensorView<'a> {
    /// `values` as tensor `name` of the given shape.
    pub fn new(name: impl Into<String>, shape: &[usize], values: &'a [f32]) -> Self {
        Self {
            name: name.into(),
            shape: shape.to_vec(),
            values,
        }
    }
}

/// What a tensor file holds: named tensors and named strings.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensors {
    path: PathBuf,
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
}

impl Tensors {
    pub(super) fn new(path: &Path, tensors: BTreeMap<String, Tensor>, metadata: BTreeMap<String, String>) -> Self {
        Self {
            path: path.to_owned(),
            tensors,
            metadata,
        }
    }

    /// The file they came from.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The strings beside the tensors.
    #[must_use]
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Names and tensors in the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.tensors.iter().map(|(name, tensor)| (name.as_str(), tensor))
    }

    /// Number of tensors.
    #[must_use]
    pub fn len(&self) -> usize {
        self.tensors.len()
    }

    /// Whether there is no tensor.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.tensors.is_empty()
    }

    /// The tensor called `name`, if there is one.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Removes and returns the tensor called `name`, of whatever shape; an error that names the file
    /// if it is missing.
    pub fn take(&mut self, name: &str) -> Result<Tensor> {
        self.tensors
            .remove(name)
            .ok_or_else(|| Error::format(&self.path, format!("no tensor {name}"), format!("a tensor {name}")))
    }

    /// Removes and returns the elements of the tensor called `name`; an error that names the file,
    /// the tensor and both shapes if it is missing or of another shape.
    pub fn take_shaped(&mut self, name: &str, shape: &[usize]) -> Result<Vec<f32>> {
        let Some(tensor) = self.tensors.remove(name) else {
            return Err(Error::format(
                &self.path,
                format!("no tensor {name}"),
                format!("a tensor {name} of shape {shape:?}"),
            ));
        };
        if tensor.shape == shape {
            return Ok(tensor.values);
        }
        Err(Error::format(
            &self.path,
            format!("tensor {name} of shape {:?}", tensor.shape),
            format!("shape {shape:?}"),
        ))
    }

    /// Refuses what has not been taken: call it once everything known has been.
    pub fn refuse_rest(&self) -> Result<()> {
        match self.tensors.first_key_value() {
            None => Ok(()),
            Some((name, tensor)) => Err(Error::format(
                &self.path,
                format!("an unknown tensor {name} of shape {:?}", tensor.shape),
                "no tensors but the known ones",
            )),
        }
    }
}
