//! Training SpyNet: coarse to fine, then all levels together.
//!
//! As in Ranjan & Black 2017, a level is trained with the levels below it frozen and starts from the
//! weights of the level below; later stages train all levels end to end, with a loss on the flow of
//! each level and round (deep supervision). The loss is the endpoint error `(‖flow − truth‖² + ε²)^(q/2) − ε^q`, q = 1 or,
//! when trained weights are refined, less ([`Stage::exponent`]), a mean over all pixels: what became of an occluded pixel is known too, so it counts like any other. The truth of
//! a level is the true flow, averaged over the pixels that a pixel of the level stands for and divided
//! by their number along a side.
//!
//! * [`Recipe`]: the stages, and everything else that decides the result;
//! * [`ExampleSource`]: where pairs of frames with their flow come from;
//! * [`StageTrainer`]: one optimiser step, readable from top to bottom;
//! * [`train`]: all stages, with a log, held-out errors, checkpoints and resume.
//!
//! Every random number is a function of the recipe's seed and the iteration. A training that is killed
//! and resumed gives the bits of one that was not.

mod augment;
mod batch;
mod initial;
mod loss;
mod recipe;
mod run;
mod source;
mod stage;
mod start;
mod state;
mod trainer;

pub use batch::{Batch, Example, ExampleSource};
pub use recipe::Recipe;
pub use run::{Event, HeldOutError, LogRow, Outcome, TrainOptions, train};
pub use source::SynthSource;
pub use stage::{Scenes, Stage, Trained};
pub use start::Start;
pub use state::TrainState;
pub use trainer::StageTrainer;
