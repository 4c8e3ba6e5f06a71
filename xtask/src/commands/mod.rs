//! One module for each command.

pub(crate) mod bench_peers;
pub(crate) mod export;
pub(crate) mod fetch;
pub(crate) mod flow;
pub(crate) mod flow_eval;
pub(crate) mod flow_train;
pub(crate) mod gpu_bundle;
pub(crate) mod kernels;
pub(crate) mod measure;
pub(crate) mod render;
pub(crate) mod report;
pub(crate) mod sweep;
pub(crate) mod train;
pub(crate) mod watch;
