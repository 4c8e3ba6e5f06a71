//! How a file that holds only weights is meant.

use clap::Args;
use nca_core::Preset;
use nca_core::checkpoint::{Conventions, PerceptionOrder};

/// The flags of commands that read models.
#[derive(Args, Clone, Copy)]
pub(crate) struct ConventionsArgs {
    /// Conventions of a file that holds only weights: paper, notebook or distill
    #[arg(long, value_name = "PRESET")]
    pub(crate) perception: Option<Preset>,
    /// How the first layer of such a file numbers what a cell perceives: kernel-major (all channels of the first filter,
    /// then of the second: filtered states joined by torch.cat) or channel-major (all filters of the first channel, then
    /// of the second: one convolution with all filters for each channel) [default: kernel-major]
    #[arg(long, value_name = "ORDER")]
    pub(crate) perception_order: Option<PerceptionOrder>,
}

impl ConventionsArgs {
    pub(crate) fn get(self) -> Conventions {
        Conventions {
            preset: self.perception,
            order: self.perception_order,
        }
    }
}
