//! What all losses on VGG features share: the way from pictures to layers and back.

use std::path::Path;

use nca_core::backend::Backend;
use nca_core::{Error, Grid, Real, Result};

use super::AppearanceLoss;
use crate::texture::Texture;
use crate::vgg::{FeatureShape, Features, Vgg};

/// How unlike an exemplar pictures are in the features of several layers of a [`Vgg`]: the sum of a
/// [`LayerLoss`] over the layers.
///
/// The layers are [`Vgg::texture_layers`]. The names of its kinds are
/// [`VggOt`](super::VggOt), [`VggSlw`](super::VggSlw) and [`VggGram`](super::VggGram).
#[derive(Debug)]
pub struct VggLoss<B: Backend, L> {
    /// Number and size of the pictures.
    grid: Grid,
    vgg: Vgg<B>,
    features: Features<B>,
    layers: Vec<L>,
    g_taps: Vec<B::Buffer>,
}

/// What is known of a layer when its loss is made.
#[derive(Clone, Copy, Debug)]
pub struct LayerTarget<'a, Buffer> {
    /// Number of the layer among those compared.
    pub layer: usize,
    /// Pictures, B.
    pub batch: usize,
    /// Shape of the features of a picture.
    pub shape: FeatureShape,
    /// 1 / the root mean square of the exemplar's features: times this, the features of all layers
    /// are of order one. Without it the layers, whose features differ by orders of magnitude, would
    /// count for as much as their scale, and of two terms of one layer the one of higher degree
    /// would swamp the other.
    pub scale: f64,
    /// The exemplar's features, `[C,P]`.
    pub features: &'a Buffer,
}

/// How unlike the exemplar's the features of one layer are.
pub trait LayerLoss<B: Backend>: Sized + Send {
    /// Name of the loss that is made of it.
    const NAME: &'static str;
    /// What a user may choose.
    type Settings: Clone + Default;

    /// The loss of one layer, with all its buffers.
    fn new(backend: &B, settings: &Self::Settings, target: &LayerTarget<'_, B::Buffer>) -> Result<Self>;

    /// Adds the mean over the pictures `x [B,C,P]` to `out[slot]` and, if asked, writes its gradient
    /// to `g_x` (`=`). `draw` decides all that is random.
    fn evaluate(
        &mut self,
        backend: &B,
        draw: u64,
        x: &B::Buffer,
        g_x: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()>;
}

impl<B: Backend, L: LayerLoss<B>> VggLoss<B, L> {
    /// The loss of `batch` pictures of the size of `texture`, with the weights in the file `vgg`.
    pub fn load(backend: &B, vgg: impl AsRef<Path>, texture: &Texture, batch: usize) -> Result<Self> {
        Self::new(
            backend,
            Vgg::load(backend, vgg)?,
            &L::Settings::default(),
            texture,
            batch,
        )
    }

    /// As [`VggLoss::load`] with weights that are there already, and settings.
    pub fn new(backend: &B, vgg: Vgg<B>, settings: &L::Settings, texture: &Texture, batch: usize) -> Result<Self> {
        if batch == 0 {
            return Err(Error::invalid("number of pictures", batch, "at least 1"));
        }
        let (height, width) = (texture.height, texture.width);
        let taps = vgg.texture_layers(height, width);
        let features = Features::new(backend, &vgg, batch, height, width, &taps)?;
        let mut exemplar = Features::new(backend, &vgg, 1, height, width, &taps)?;
        let rgb: Vec<B::Elem> = texture.rgb.iter().map(|&v| B::Elem::of(f64::from(v))).collect();
        exemplar.forward(backend, &vgg, &backend.buffer(&rgb)?)?;
        let layers = (0..exemplar.taps())
            .map(|layer| {
                let target = LayerTarget {
                    layer,
                    batch,
                    shape: exemplar.shape(layer),
                    scale: 1.0 / root_mean_square(backend, exemplar.tap(layer))?,
                    features: exemplar.tap(layer),
                };
                L::new(backend, settings, &target)
            })
            .collect::<Result<_>>()?;
        Ok(Self {
            grid: Grid::new(batch, height, width),
            g_taps: features.tap_gradients(backend)?,
            vgg,
            features,
            layers,
        })
    }

    /// Layers compared.
    #[must_use]
    pub fn layers(&self) -> usize {
        self.layers.len()
    }
}

/// √(mean of squares); 1 where that is 0, for a layer that the exemplar leaves dark.
fn root_mean_square<B: Backend>(backend: &B, features: &B::Buffer) -> Result<f64> {
    let values = backend.to_vec(features)?;
    let squares: f64 = values.iter().map(|v| Real::to_f64(*v).powi(2)).sum();
    let mean = squares / values.len() as f64;
    Ok(if mean > 0.0 { mean.sqrt() } else { 1.0 })
}

impl<B: Backend, L: LayerLoss<B>> AppearanceLoss<B> for VggLoss<B, L> {
    fn name(&self) -> &'static str {
        L::NAME
    }

    fn grid(&self) -> Grid {
        self.grid
    }

    fn evaluate(
        &mut self,
        backend: &B,
        draw: u64,
        rgb: &B::Buffer,
        g_rgb: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        self.features.forward(backend, &self.vgg, rgb)?;
        for (i, (layer, g_tap)) in self.layers.iter_mut().zip(&mut self.g_taps).enumerate() {
            let g_tap = g_rgb.is_some().then_some(g_tap);
            layer.evaluate(backend, draw, self.features.tap(i), g_tap, out, slot)?;
        }
        match g_rgb {
            Some(g_rgb) => self.features.backward(backend, &self.vgg, &self.g_taps, g_rgb),
            None => Ok(()),
        }
    }
}
