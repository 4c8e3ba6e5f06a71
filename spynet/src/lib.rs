#![doc = include_str!("../README.md")]

mod choice;
mod classical;
mod color;
mod endpoint;
mod estimator;
pub mod evaluate;
mod field;
mod flo;
mod kitti;
mod network;
mod spynet;
pub mod synth;
pub mod train;
mod weights;

pub use choice::FlowChoice;
pub use classical::Classical;
pub use color::{automatic_max, color_wheel, flow_to_rgb};
pub use endpoint::{EndpointError, endpoint_error};
pub use estimator::FlowEstimator;
pub use field::{FlowField, UNKNOWN_THRESHOLD, is_known};
pub use flo::{encode_flo, parse_flo, read_flo, write_flo};
pub use kitti::{read_kitti, write_kitti};
pub use network::{FlowPass, Layer, Round, SpyNet};
pub use spynet::SpyNetFlow;
pub use weights::{LayerWeights, SpyNetWeights};
