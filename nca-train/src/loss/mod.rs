//! Losses on the picture of a state, and on the motion of several.

mod motion;
mod patch;
pub(crate) mod pyramid;
mod vgg;
mod vgg_gram;
mod vgg_ot;
mod vgg_slw;

pub use motion::MotionLoss;
pub use patch::{PatchLoss, PatchSettings};
pub use vgg::{LayerLoss, LayerTarget, VggLoss};
pub use vgg_gram::{GramLayer, VggGram};
pub use vgg_ot::{OtLayer, OtSettings, VggOt};
pub use vgg_slw::{SlwLayer, SlwSettings, VggSlw};

use std::fmt;
use std::path::Path;

use nca_core::backend::Backend;
use nca_core::{Error, Grid, Result};

use crate::texture::Texture;

/// How unlike the exemplar a batch of pictures is.
pub trait AppearanceLoss<B: Backend>: Send {
    /// Name recorded with every result.
    fn name(&self) -> &'static str;

    /// Number and size of the pictures it was made for.
    fn grid(&self) -> Grid;

    /// Adds the loss of `rgb [B,3,H,W]` to `out[slot]` and, if asked, writes its gradient to
    /// `g_rgb` (`=`).
    ///
    /// `draw` seeds what the loss draws at random (projections, positions): the same value, the
    /// same loss.
    fn evaluate(
        &mut self,
        backend: &B,
        draw: u64,
        rgb: &B::Buffer,
        g_rgb: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()>;
}

impl<B: Backend> fmt::Debug for dyn AppearanceLoss<B> + '_ {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (name, grid) = (self.name(), self.grid());
        f.debug_tuple("AppearanceLoss").field(&name).field(&grid).finish()
    }
}

/// Names of the appearance losses, as `--appearance` takes them.
pub const APPEARANCES: [&str; 4] = ["patch", "vgg-ot", "vgg-slw", "vgg-gram"];

/// The appearance loss called `name`, one of [`APPEARANCES`], of `batch` pictures of the size of
/// `texture`. All but `patch` need `vgg`, a file of VGG16 or VGG19 weights.
///
/// # Errors
/// An unknown name, a missing file, or whatever is wrong with the file or the size of the texture.
pub fn appearance<'b, B: Backend + 'b>(
    name: &str,
    vgg: Option<&Path>,
    backend: &B,
    texture: &Texture,
    batch: usize,
) -> Result<Box<dyn AppearanceLoss<B> + 'b>> {
    let weights = || {
        vgg.ok_or_else(|| {
            Error::invalid(
                "--vgg",
                "missing",
                format!("a file of VGG16 or VGG19 weights for {name}"),
            )
        })
    };
    Ok(match name {
        "patch" => Box::new(PatchLoss::new(backend, PatchSettings::default(), texture, batch)?),
        "vgg-ot" => Box::new(VggOt::load(backend, weights()?, texture, batch)?),
        "vgg-slw" => Box::new(VggSlw::load(backend, weights()?, texture, batch)?),
        "vgg-gram" => Box::new(VggGram::load(backend, weights()?, texture, batch)?),
        _ => {
            return Err(Error::invalid(
                "--appearance",
                name,
                format!("one of {}", APPEARANCES.join(", ")),
            ));
        }
    })
}
