//! The weight-free appearance loss: sliced Wasserstein distance of patches over an image pyramid.
//!
//! A texture is the distribution of its small patches. Two such distributions are compared along
//! random directions of patch space, where optimal transport is a sort (the sliced Wasserstein
//! distance; Heitz, Vanhoey, Chambon & Belcour, *A Sliced Wasserstein Loss for Neural Texture
//! Synthesis*, CVPR 2021, who compare deep features this way). Taken over raw patches, the
//! projection of every patch of a picture on one direction is one convolution with a random filter
//! (Elnekave & Weiss, *Generating natural images with direct Patch Distributions Matching*, ECCV
//! 2022). New directions each iteration make the loss unbiased; a pyramid lets patches of one size
//! see structures of several.
//!
//! With `y_l,p` the values of filter p at the windows of level l that lie wholly inside the
//! picture, P filters a level, n_l windows and N pictures:
//!
//! `loss = Σ_l 1/(N·P·n_l) Σ_pictures Σ_p ‖sort(y_l,p(picture)) − sort(y_l,p(exemplar))‖₁`
//!
//! Cost: a convolution (forward and backward) with P filters of 3k² weights and a sort of P·n
//! values at each level; the level sizes shrink by four, so all of them cost 4/3 of the first.

use nca_core::backend::Backend;
use nca_core::{Error, Grid, Real, Result};
use serde::{Deserialize, Serialize};

use super::AppearanceLoss;
use super::pyramid::{GradViews, PatchPyramid, Views};
use crate::texture::Texture;

/// Settings of [`PatchLoss`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PatchSettings {
    /// Side of a patch in pixels, k.
    pub patch: usize,
    /// Random directions a level, P.
    pub projections: usize,
    /// Most levels of the pyramid; a level beyond the first is used only where the smaller side of
    /// the picture there is at least twice the patch.
    pub levels: usize,
}

impl Default for PatchSettings {
    fn default() -> Self {
        Self {
            patch: 7,
            projections: 64,
            levels: 4,
        }
    }
}

impl PatchSettings {
    /// Refuses what would compare nothing, or never end.
    pub fn validate(&self) -> Result<()> {
        let range = |what: &str, found: usize, high: usize| {
            if (1..=high).contains(&found) {
                Ok(())
            } else {
                Err(Error::invalid(what, found, format!("1 to {high}")))
            }
        };
        range("patch size", self.patch, 64)?;
        range("number of projections", self.projections, 1 << 16)?;
        range("number of pyramid levels", self.levels, 16)
    }
}

/// How unlike the patches of N pictures are to those of an exemplar of the same size.
///
/// Owns every buffer it needs: about `16/3 · N·P·H·W` elements.
#[derive(Debug)]
pub struct PatchLoss<B: Backend> {
    /// Number and size of the pictures.
    grid: Grid,
    pyramid: PatchPyramid<B>,
    exemplar: B::Buffer,
    target: Views<B>,
    views: Views<B>,
    grads: GradViews<B>,
    /// The draw that the filters and the target's projections are of.
    drawn: Option<u64>,
}

impl<B: Backend> PatchLoss<B> {
    /// The loss of `pictures` pictures of `exemplar`'s size.
    ///
    /// Refuses exemplars with a side shorter than a patch.
    pub fn new(backend: &B, settings: PatchSettings, exemplar: &Texture, pictures: usize) -> Result<Self> {
        if pictures == 0 {
            return Err(Error::invalid("number of pictures", pictures, "at least 1"));
        }
        let pyramid = PatchPyramid::new(backend, settings, exemplar.height, exemplar.width)?;
        let rgb: Vec<B::Elem> = exemplar.rgb.iter().map(|&v| B::Elem::of(f64::from(v))).collect();
        let views = pyramid.views(backend, pictures)?;
        let mut loss = Self {
            grid: Grid::new(pictures, exemplar.height, exemplar.width),
            exemplar: backend.buffer(&rgb)?,
            target: pyramid.views(backend, 1)?,
            grads: GradViews::new(backend, &pyramid, &views)?,
            views,
            pyramid,
            drawn: None,
        };
        loss.draw(backend, 0)?;
        Ok(loss)
    }

    /// Levels in use.
    #[must_use]
    pub fn levels(&self) -> usize {
        self.pyramid.levels()
    }

    /// Draws the filters of `draw` and projects the exemplar on them, if that is not done already.
    fn draw(&mut self, backend: &B, draw: u64) -> Result<()> {
        if self.drawn != Some(draw) {
            self.drawn = None;
            self.pyramid.draw(backend, draw)?;
            self.pyramid.project(backend, &self.exemplar, &mut self.target)?;
            self.drawn = Some(draw);
        }
        Ok(())
    }

    /// Replaces the filters of one level, `[P,3,k,k]`, by given ones: to compare with another
    /// implementation through [`PatchLoss::evaluate_as_drawn`].
    pub fn set_filters(&mut self, backend: &B, level: usize, filters: &[B::Elem]) -> Result<()> {
        self.drawn = None;
        self.pyramid.set_filters(backend, level, filters)?;
        self.pyramid.project(backend, &self.exemplar, &mut self.target)
    }

    /// As [`AppearanceLoss::evaluate`], with the filters drawn or set last.
    pub fn evaluate_as_drawn(
        &mut self,
        backend: &B,
        rgb: &B::Buffer,
        g_rgb: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        let Self {
            pyramid,
            target,
            views,
            grads,
            ..
        } = self;
        pyramid.project(backend, rgb, views)?;
        for level in 0..pyramid.levels() {
            let weight = 1.0 / (self.grid.batch * pyramid.projections(level)) as f64;
            backend.l1(weight, views.sorted(level), target.sorted(level), out, slot)?;
        }
        let Some(g_rgb) = g_rgb else { return Ok(()) };
        for level in 0..pyramid.levels() {
            let weight = 1.0 / (self.grid.batch * pyramid.projections(level)) as f64;
            backend.l1_backward(
                weight,
                views.sorted(level),
                target.sorted(level),
                grads.sorted_mut(level),
            )?;
        }
        grads.project_backward(backend, pyramid, views, g_rgb)
    }
}

impl<B: Backend> AppearanceLoss<B> for PatchLoss<B> {
    fn name(&self) -> &'static str {
        "patch"
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
        self.draw(backend, draw)?;
        self.evaluate_as_drawn(backend, rgb, g_rgb, out, slot)
    }
}
