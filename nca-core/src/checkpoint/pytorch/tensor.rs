//! Tensors as views into storages.

use super::fault::{Fault, Result};
use super::value::{Heap, Object, StorageView, TensorSpec, Value};
use crate::checkpoint::Tensor;

/// A tensor of `size` and `stride` whose first element is `offset` in `storage`.
pub(super) fn rebuild(heap: &mut Heap, storage: Value, offset: Value, size: Value, stride: Value) -> Result<Value> {
    let Some(Object::Storage(view)) = heap.get(storage) else {
        return Err(heap.unexpected(storage, "a storage to make a tensor of"));
    };
    let view = view.clone();
    let offset = heap.size(offset, "offset of a tensor")?;
    let shape = heap.sizes(size, "shape of a tensor")?;
    let strides = heap.sizes(stride, "strides of a tensor")?;
    let spec = spec(view, offset, shape, strides)?;
    heap.add(Object::Tensor(spec))
}

/// Checks that every element lies within the view.
fn spec(view: StorageView, offset: usize, shape: Vec<usize>, strides: Vec<usize>) -> Result<TensorSpec> {
    let outside = || {
        Fault::new(
            format!("a tensor of shape {shape:?}, strides {strides:?} and offset {offset}"),
            format!("a tensor within its storage of {} elements", view.count),
        )
    };
    if shape.len() != strides.len() {
        return Err(Fault::new(
            format!("a tensor of {} extents and {} strides", shape.len(), strides.len()),
            "as many of one as of the other",
        ));
    }
    let count = shape.iter().try_fold(1_usize, |n, &extent| n.checked_mul(extent));
    let count = count.ok_or_else(outside)?;
    // An empty tensor touches nothing, wherever it says it is.
    if count > 0 {
        let last = shape.iter().zip(&strides).try_fold(offset, |at, (&extent, &stride)| {
            at.checked_add(stride.checked_mul(extent - 1)?)
        });
        if last.is_none_or(|last| last >= view.count) {
            return Err(outside());
        }
    }
    Ok(TensorSpec {
        offset: view.offset.saturating_add(offset),
        storage: view,
        shape,
        strides,
        count,
    })
}

impl TensorSpec {
    /// Whether the tensor is the whole storage, in order.
    pub(super) fn is_whole(&self) -> bool {
        self.offset == 0 && self.count == self.storage.total && self.is_contiguous()
    }

    fn is_contiguous(&self) -> bool {
        let dimensions = self.shape.iter().zip(&self.strides).rev();
        let expected = dimensions.scan(1_usize, |expected, (&extent, &stride)| {
            let fits = extent <= 1 || stride == *expected;
            *expected = expected.saturating_mul(extent);
            Some(fits)
        });
        self.count == 0 || expected.into_iter().all(|fits| fits)
    }

    /// The tensor's elements, gathered from those of its whole storage.
    pub(super) fn gather(&self, storage: &[f32]) -> Tensor {
        let shape = self.shape.clone();
        if self.count == 0 {
            return Tensor {
                shape,
                values: Vec::new(),
            };
        }
        if self.is_contiguous() {
            let values = storage[self.offset..][..self.count].to_vec();
            return Tensor { shape, values };
        }
        let mut values = Vec::with_capacity(self.count);
        let mut index = vec![0; shape.len()];
        let mut at = self.offset;
        loop {
            values.push(storage[at]);
            // Count up like an odometer, the last dimension fastest.
            let mut dimension = shape.len();
            loop {
                if dimension == 0 {
                    return Tensor { shape, values };
                }
                dimension -= 1;
                index[dimension] += 1;
                // Wrapping: the stride of a dimension of one element may be anything.
                at = at.wrapping_add(self.strides[dimension]);
                if index[dimension] < shape[dimension] {
                    break;
                }
                at = at.wrapping_sub(self.strides[dimension].wrapping_mul(shape[dimension]));
                index[dimension] = 0;
            }
        }
    }
}
