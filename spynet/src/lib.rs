//! Optical flow: estimators, files, pictures and errors.

mod color;
mod endpoint;
mod estimator;
mod field;
mod flo;

pub use color::{automatic_max, color_wheel, flow_to_rgb};
pub use endpoint::{EndpointError, endpoint_error};
pub use estimator::FlowEstimator;
pub use field::{FlowField, UNKNOWN_THRESHOLD, is_known};
pub use flo::{encode_flo, parse_flo, read_flo, write_flo};
