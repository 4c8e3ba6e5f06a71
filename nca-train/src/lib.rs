//! Training automata, measuring how strongly they move, and sweeping over architectures.

pub mod exemplar;
pub mod loss;
pub mod motion;
mod texture;

pub use texture::Texture;
