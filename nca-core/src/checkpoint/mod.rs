//! Files: automata and named tensors.
//!
//! * [`Nca::save`](crate::Nca::save) and [`Nca::load`](crate::Nca::load): an automaton as a
//!   safetensors file with PyTorch-style tensor names and its configuration in the metadata;
//! * [`read_tensors`] and [`write_tensors`]: any named tensors, bit for bit; [`parse_tensors`] from
//!   memory, [`write_tensors_f16`] in half the size;
//! * [`read_tensors_any`]: the same from PyTorch's files, none of whose code is run;
//! * [`write_atomic`]: a file that is either the old one or the complete new one.
//!
//! Everything read is taken as hostile: sizes are checked against the length of the file before
//! memory is reserved, and whatever is wrong becomes one [`Error`](crate::Error) that names the
//! file, what was found and what was expected.
//!
//! # Model file, format 1
//!
//! Tensors `w1.weight [D,KC,1,1]`, `w1.bias [D]`, `w2.weight [C,D,1,1]`, `w2.bias [C]` (where the
//! model has one), so that a PyTorch module of two 1×1 convolutions loads them as they are. Metadata:
//!
//! | key | value |
//! |---|---|
//! | `nca.format` | `1` |
//! | `nca.config` | [`NcaConfig`](crate::NcaConfig) as JSON |
//! | `nca.perception_order` | `kernel-major` (column `k·C + c` of `w1.weight`) or `channel-major` (column `c·K + k`) |
//!
//! Other keys are the writer's own. Readers also take two-dimensional weights and f16, bf16 and f64
//! elements, and *bare* files: the same tensors, or `w1`, `b1`, `w2`, `b2`, without configuration,
//! which then comes from [`Conventions`].

mod any;
mod atomic;
mod element;
mod model;
mod order;
mod pytorch;
mod safetensors;
mod tensors;

pub use any::{parse_tensors_any, read_tensors_any};
pub use atomic::write_atomic;
pub use model::{FORMAT, KEY_CONFIG, KEY_FORMAT, KEY_PERCEPTION_ORDER};
pub use order::{Conventions, PerceptionOrder};
pub use safetensors::{parse_tensors, read_tensors, write_tensors, write_tensors_f16};
pub use tensors::{Tensor, TensorView, Tensors};
