//! Sliced Wasserstein distance of features (Heitz, Vanhoey, Chambon & Belcour, *A Sliced Wasserstein
//! Loss for Neural Texture Synthesis*, CVPR 2021): the distributions of feature vectors, whole, and
//! not only their moments.
//!
//! With F `[C,P]` a picture's features divided by the RMS of the exemplar's, F̂ the exemplar's, and
//! v one of Q random unit vectors of C channels, a layer contributes
//! `1/(Q·P) Σ_v ‖sort(v·F) − sort(v·F̂)‖²`, the mean over the pictures of that. New vectors in each
//! draw make the loss unbiased.
//!
//! Cost: two products of `Q·C·P` and Q sorts of P values, for each picture and for the exemplar.

use nca_core::backend::{Backend, MatmulShape};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Real, Result};

use super::vgg::{LayerLoss, LayerTarget, VggLoss};

/// The sliced Wasserstein loss on VGG features, `vgg-slw`.
pub type VggSlw<B> = VggLoss<B, SlwLayer<B>>;

/// Settings of [`VggSlw`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SlwSettings {
    /// Random directions a layer, Q.
    pub directions: usize,
}

impl Default for SlwSettings {
    /// As many as the first layer of VGG has channels, and as the loss on patches has.
    fn default() -> Self {
        Self { directions: 64 }
    }
}

/// One layer of [`VggSlw`].
#[derive(Debug)]
pub struct SlwLayer<B: Backend> {
    layer: usize,
    channels: usize,
    scale: f64,
    directions: usize,
    /// The exemplar's features, `[C,P]`.
    features: B::Buffer,
    /// `[Q,C]`, and on the host.
    vectors: B::Buffer,
    host_vectors: Vec<B::Elem>,
    target: Slices<B>,
    slices: Slices<B>,
    /// The draw that the vectors and the target's slices are of.
    drawn: Option<u64>,
}

/// Projections of N pictures.
#[derive(Debug)]
struct Slices<B: Backend> {
    pictures: usize,
    /// `[N,Q,P]`; after sorting, gradients of `sorted`.
    values: B::Buffer,
    sorted: B::Buffer,
    order: B::Indices,
}

impl<B: Backend> Slices<B> {
    fn new(backend: &B, pictures: usize, directions: usize, positions: usize) -> Result<Self> {
        let len = pictures * directions * positions;
        Ok(Self {
            pictures,
            values: backend.zeros(len)?,
            sorted: backend.zeros(len)?,
            order: backend.zero_indices(len)?,
        })
    }
}

impl<B: Backend> SlwLayer<B> {
    /// Positions, P.
    fn positions(&self, backend: &B) -> usize {
        backend.len(&self.features) / self.channels
    }

    /// Draws the vectors of `draw` and slices the exemplar along them, if that is not done already.
    fn draw(&mut self, backend: &B, draw: u64) -> Result<()> {
        if self.drawn == Some(draw) {
            return Ok(());
        }
        self.drawn = None;
        let mut rng = PhiloxRng::new(draw, Stream::Projection, self.layer as u64);
        for vector in self.host_vectors.chunks_exact_mut(self.channels) {
            let mut squares = 0.0;
            for v in vector.iter_mut() {
                let normal = rng.normal();
                squares += normal * normal;
                *v = B::Elem::of(normal);
            }
            for v in vector {
                *v = B::Elem::of(Real::to_f64(*v) / squares.sqrt());
            }
        }
        backend.upload(&self.host_vectors, &mut self.vectors)?;
        let positions = self.positions(backend);
        let shape = MatmulShape::new(1, self.directions, self.channels, positions);
        slice(
            backend,
            &shape,
            self.scale,
            &self.vectors,
            &self.features,
            &mut self.target,
        )?;
        self.drawn = Some(draw);
        Ok(())
    }
}

/// Projects features and sorts what comes out.
fn slice<B: Backend>(
    backend: &B,
    shape: &MatmulShape,
    scale: f64,
    vectors: &B::Buffer,
    x: &B::Buffer,
    slices: &mut Slices<B>,
) -> Result<()> {
    backend.matmul(shape, scale, vectors, x, 0.0, &mut slices.values)?;
    let rows = shape.batch * shape.rows;
    backend.sort_rows(
        rows,
        shape.columns,
        &slices.values,
        &mut slices.sorted,
        &mut slices.order,
    )
}

impl<B: Backend> LayerLoss<B> for SlwLayer<B> {
    const NAME: &'static str = "vgg-slw";
    type Settings = SlwSettings;

    fn new(backend: &B, settings: &SlwSettings, target: &LayerTarget<'_, B::Buffer>) -> Result<Self> {
        let directions = settings.directions;
        if directions == 0 {
            return Err(Error::invalid("number of directions", directions, "at least 1"));
        }
        let (channels, positions) = (target.shape.channels, target.shape.positions());
        let mut features = backend.zeros(channels * positions)?;
        backend.copy(target.features, 0, &mut features, 0, channels * positions)?;
        Ok(Self {
            layer: target.layer,
            channels,
            scale: target.scale,
            directions,
            features,
            vectors: backend.zeros(directions * channels)?,
            host_vectors: vec![B::Elem::default(); directions * channels],
            target: Slices::new(backend, 1, directions, positions)?,
            slices: Slices::new(backend, target.batch, directions, positions)?,
            drawn: None,
        })
    }

    fn evaluate(
        &mut self,
        backend: &B,
        draw: u64,
        x: &B::Buffer,
        g_x: Option<&mut B::Buffer>,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        self.draw(backend, draw)?;
        let (directions, channels, positions) = (self.directions, self.channels, self.positions(backend));
        let slices = &mut self.slices;
        let batch = slices.pictures;
        let shape = MatmulShape::new(batch, directions, channels, positions);
        slice(backend, &shape, self.scale, &self.vectors, x, slices)?;
        let weight = 1.0 / (batch * directions * positions) as f64;
        backend.l2(weight, &slices.sorted, &self.target.sorted, out, slot)?;
        let Some(g_x) = g_x else { return Ok(()) };
        backend.l2_backward(weight, &slices.sorted, &self.target.sorted, &mut slices.values)?;
        let (g_sorted, g_values) = (&slices.values, &mut slices.sorted);
        backend.sort_rows_backward(batch * directions, positions, &slices.order, g_sorted, g_values)?;
        let shape = MatmulShape::new(batch, channels, directions, positions).transpose_a();
        backend.matmul(&shape, self.scale, &self.vectors, g_values, 0.0, g_x)
    }
}
