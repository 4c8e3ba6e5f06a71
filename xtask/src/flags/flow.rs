//! How flow is estimated.

use std::path::PathBuf;

use clap::Args;
use spynet::FlowChoice;

/// How flow is estimated.
#[derive(Args, Clone, Debug)]
pub(crate) struct FlowMethodArgs {
    /// Flow estimator: spynet, or classical, which the CPU computes in f32 whatever the backend [default: spynet]
    #[arg(long, value_name = "NAME")]
    pub(crate) flow: Option<String>,
    /// Weights of SpyNet (safetensors or PyTorch file) [default: those that come with the program]
    #[arg(long, value_name = "FILE")]
    pub(crate) flow_weights: Option<PathBuf>,
}

impl FlowMethodArgs {
    /// The method named.
    pub(crate) fn choice(&self) -> nca_core::Result<FlowChoice> {
        FlowChoice::new(
            self.flow.as_deref().unwrap_or(FlowChoice::DEFAULT),
            self.flow_weights.as_deref(),
        )
    }
}
