//! Optical flow: estimators, files, pictures and errors.

mod estimator;

pub use estimator::FlowEstimator;
