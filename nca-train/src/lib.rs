#![doc = include_str!("../README.md")]

pub mod animation;
pub mod digest;
pub mod distance;
pub mod exemplar;
mod frames;
pub mod loss;
pub mod montage;
pub mod motion;
pub mod objective;
pub mod picture;
mod plot;
mod pool;
pub mod provenance;
mod read;
pub mod report;
mod settings;
pub mod sweep;
pub mod texture;
mod train_state;
mod trainer;
pub mod vgg;
mod video;

// What signatures of this crate speak of.
pub use {image, nca_core, spynet};

pub use distance::TextureDistance;
pub use loss::{AppearanceLoss, PatchLoss, PatchSettings};
pub use motion::{Motion, MotionSettings, measure_motion};
pub use objective::{MotionTerm, Objective, Pairing};
pub use pool::{Draw, Pool};
pub use settings::TrainSettings;
pub use texture::{Texture, rgb8};
pub use train_state::TrainState;
pub use trainer::{Iteration, Trainer};
