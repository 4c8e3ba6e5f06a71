//! Training automata, measuring how strongly they move, and sweeping over architectures.
//!
//! [`Trainer`] runs the iterations; [`objective`] says what they are after: to look like a [`Texture`]
//! (the losses of [`loss`]), to move at a given strength, or both. [`motion`] and [`distance`] measure
//! what has come of it, [`sweep`] does so for many architectures, and [`report`] shows it.

pub mod animation;
pub mod distance;
pub mod exemplar;
pub mod loss;
pub mod montage;
pub mod motion;
pub mod objective;
pub mod picture;
mod plot;
mod pool;
mod read;
pub mod report;
mod settings;
pub mod sweep;
pub mod texture;
mod trainer;
pub mod vgg;
mod video;

pub use objective::{MotionTerm, Objective, Pairing};
pub use pool::{Draw, Pool};
pub use settings::TrainSettings;
pub use texture::{Texture, rgb8};
pub use trainer::{Iteration, TrainState, Trainer};
