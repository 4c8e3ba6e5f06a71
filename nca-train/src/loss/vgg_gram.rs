//! Gram matrices of features (Gatys, Ecker & Bethge, *Texture Synthesis Using Convolutional Neural
//! Networks*, NeurIPS 2015): which channels respond together, wherever that may be.
//!
//! With F `[C,P]` a picture's features divided by the RMS of the exemplar's, `G = F·Fᵀ/P`, and Ĝ the
//! exemplar's, a layer contributes `1/(4C²) Σ (G − Ĝ)²`, the mean over the pictures of that.
//!
//! Cost: two products of `C²·P` a picture.

use nca_core::Result;
use nca_core::backend::{Backend, MatmulShape};

use super::vgg::{LayerLoss, LayerTarget, VggLoss};

/// The Gram loss on VGG features, `vgg-gram`.
pub type VggGram<B> = VggLoss<B, GramLayer<B>>;

/// One layer of [`VggGram`].
#[derive(Debug)]
pub struct GramLayer<B: Backend> {
    batch: usize,
    channels: usize,
    positions: usize,
    /// `scale²/P`, the factor of `F·Fᵀ` for features as they come.
    factor: f64,
    /// `[C,C]`.
    target: B::Buffer,
    /// `[B,C,C]`.
    gram: B::Buffer,
    g_gram: B::Buffer,
}

impl<B: Backend> GramLayer<B> {
    /// Factor of `Σ (G − Ĝ)²`.
    fn weight(&self) -> f64 {
        1.0 / (4 * self.batch * self.channels * self.channels) as f64
    }
}

impl<B: Backend> LayerLoss<B> for GramLayer<B> {
    const NAME: &'static str = "vgg-gram";
    type Settings = ();

    fn new(backend: &B, (): &(), target: &LayerTarget<'_, B::Buffer>) -> Result<Self> {
        let (batch, channels, positions) = (target.batch, target.shape.channels, target.shape.positions());
        let factor = target.scale * target.scale / positions as f64;
        let mut gram = backend.zeros(channels * channels)?;
        let shape = MatmulShape::new(1, channels, positions, channels).transpose_b();
        backend.matmul(&shape, factor, target.features, target.features, 0.0, &mut gram)?;
        Ok(Self {
            batch,
            channels,
            positions,
            factor,
            target: gram,
            gram: backend.zeros(batch * channels * channels)?,
            g_gram: backend.zeros(batch * channels * channels)?,
        })
    }

    fn evaluate(
        &mut self,
        backend: &B,
        _draw: u64,
        x: &B::Buffer,
        g_x: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        let (weight, factor) = (self.weight(), self.factor);
        let (batch, channels, positions) = (self.batch, self.channels, self.positions);
        let shape = MatmulShape::new(batch, channels, positions, channels).transpose_b();
        backend.matmul(&shape, factor, x, x, 0.0, &mut self.gram)?;
        backend.l2(weight, &self.gram, &self.target, out, slot)?;
        let Some(g_x) = g_x else { return Ok(()) };
        backend.l2_backward(weight, &self.gram, &self.target, &mut self.g_gram)?;
        // (g + gᵀ)·x, and g is symmetric.
        let shape = MatmulShape::new(batch, channels, channels, positions);
        backend.matmul(&shape, 2.0 * factor, &self.g_gram, x, 0.0, g_x)
    }
}
