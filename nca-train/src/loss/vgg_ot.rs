//! Relaxed optimal transport between feature vectors (Kolkin, Salavon & Shakhnarovich, *Style
//! Transfer by Relaxed Optimal Transport and Self-Similarity*, CVPR 2019).
//!
//! Of each layer, n positions of a picture and n of the exemplar are drawn without replacement;
//! their feature vectors, divided by the RMS of the exemplar's layer, are x_i and y_j. With the
//! cosine distance `d(x, y) = 1 − x·y/(‖x‖‖y‖)`, mean μ and covariance Σ (divided by n), the layer
//! contributes
//!
//! `max(1/n Σ_i min_j d(x_i, y_j), 1/n Σ_j min_i d(x_i, y_j)) + 1/C ‖μ_x − μ_y‖₁ + 1/C² ‖Σ_x − Σ_y‖₁`,
//!
//! the mean over the pictures of that. Each vector is to be near one of the other set, both ways;
//! the moments keep what cosines do not see, how long the vectors are.
//!
//! Cost: two products of `n²·C` and two of `n·C²` a picture.

use nca_core::backend::{Backend, MatmulShape};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Result};

use super::vgg::{LayerLoss, LayerTarget, VggLoss};

/// The relaxed optimal transport loss on VGG features, `vgg-ot`.
pub type VggOt<B> = VggLoss<B, OtLayer<B>>;

/// Settings of [`VggOt`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OtSettings {
    /// Most positions of a layer that are compared, n; all of them if there are no more.
    pub samples: usize,
}

impl Default for OtSettings {
    fn default() -> Self {
        Self { samples: 1024 }
    }
}

/// Added to the squared length of vectors, in units of the mean square of the exemplar's layer: a
/// cosine with a vector of zeros is 0, and its derivative finite.
const EPSILON: f64 = 1e-6;

/// One layer of [`VggOt`].
#[derive(Debug)]
pub struct OtLayer<B: Backend> {
    layer: usize,
    /// The exemplar's features, `[C,P]`.
    features: B::Buffer,
    target: Sample<B>,
    pictures: Sample<B>,
    transport: Transport<B>,
    /// Gradients of the pictures' covariances `[B,C,C]`, means `[B,C]` and vectors `[B,n,C]`.
    g_covariance: B::Buffer,
    g_mean: B::Buffer,
    g_vectors: B::Buffer,
    g_unit: B::Buffer,
    /// The draw that the target's vectors are of.
    drawn: Option<u64>,
}

/// Feature vectors of N pictures at n positions each, and what is compared of them.
#[derive(Debug)]
struct Sample<B: Backend> {
    pictures: usize,
    channels: usize,
    positions: usize,
    count: usize,
    scale: f64,
    index: B::Indices,
    host_index: Vec<u32>,
    /// Every position, partly shuffled.
    deck: Vec<u32>,
    /// `[N,n,C]`, as they come.
    vectors: B::Buffer,
    /// Vectors of length one, `[N,n,C]`, and the lengths they had, `[N,n]`.
    unit: B::Buffer,
    lengths: B::Buffer,
    /// Vectors less their mean, `[N,n,C]`.
    centred: B::Buffer,
    /// `[N,C]` and `[N,C,C]`, of the scaled vectors.
    mean: B::Buffer,
    covariance: B::Buffer,
    /// n ones.
    ones: B::Buffer,
}

impl<B: Backend> Sample<B> {
    fn new(backend: &B, pictures: usize, count: usize, target: &LayerTarget<'_, B::Buffer>) -> Result<Self> {
        let (channels, positions) = (target.shape.channels, target.shape.positions());
        let vectors = pictures * count * channels;
        let mut ones = backend.zeros(count)?;
        backend.fill(1.0, &mut ones)?;
        Ok(Self {
            pictures,
            channels,
            positions,
            count,
            scale: target.scale,
            index: backend.zero_indices(pictures * count)?,
            host_index: vec![0; pictures * count],
            deck: vec![0; positions],
            vectors: backend.zeros(vectors)?,
            unit: backend.zeros(vectors)?,
            lengths: backend.zeros(pictures * count)?,
            centred: backend.zeros(vectors)?,
            mean: backend.zeros(pictures * channels)?,
            covariance: backend.zeros(pictures * channels * channels)?,
            ones,
        })
    }

    /// Draws the positions of each picture from a sequence of its own, the first being `sequence`.
    fn draw(&mut self, backend: &B, draw: u64, sequence: u64) -> Result<()> {
        for (index, sequence) in self.host_index.chunks_exact_mut(self.count).zip(sequence..) {
            for (position, place) in (0..).zip(&mut self.deck) {
                *place = position;
            }
            if self.count < self.positions {
                let mut rng = PhiloxRng::new(draw, Stream::Sample, sequence);
                for i in 0..self.count {
                    let j = i + rng.below((self.positions - i) as u32) as usize;
                    self.deck.swap(i, j);
                }
            }
            index.copy_from_slice(&self.deck[..self.count]);
        }
        backend.upload_indices(&self.host_index, &mut self.index)
    }

    /// Takes the vectors from features `[N,C,P]`, and their lengths and moments.
    fn take(&mut self, backend: &B, x: &B::Buffer) -> Result<()> {
        let (n, c) = (self.count, self.channels);
        backend.gather_columns(self.pictures, c, self.positions, n, x, &self.index, &mut self.vectors)?;
        // In units of features as they come.
        let epsilon = EPSILON / (self.scale * self.scale);
        let rows = self.pictures * n;
        backend.normalize_rows(rows, c, epsilon, &self.vectors, &mut self.unit, &mut self.lengths)?;

        let mean = MatmulShape::new(self.pictures, 1, n, c);
        backend.matmul(
            &mean,
            self.scale / n as f64,
            &self.ones,
            &self.vectors,
            0.0,
            &mut self.mean,
        )?;
        backend.copy(&self.vectors, 0, &mut self.centred, 0, rows * c)?;
        let repeat = MatmulShape::new(self.pictures, n, 1, c);
        backend.matmul(
            &repeat,
            -1.0 / self.scale,
            &self.ones,
            &self.mean,
            1.0,
            &mut self.centred,
        )?;
        let product = MatmulShape::new(self.pictures, c, n, c).transpose_a();
        let (factor, centred) = (self.covariance_factor(), &self.centred);
        backend.matmul(&product, factor, centred, centred, 0.0, &mut self.covariance)
    }

    /// What makes a covariance of a product of centred vectors.
    fn covariance_factor(&self) -> f64 {
        self.scale * self.scale / self.count as f64
    }

    /// Adds the gradients through the moments to `g_vectors`.
    fn moments_backward(
        &self,
        backend: &B,
        g_mean: &B::Buffer,
        g_covariance: &B::Buffer,
        g_vectors: &mut B::Buffer,
    ) -> Result<()> {
        let (n, c) = (self.count, self.channels);
        let repeat = MatmulShape::new(self.pictures, n, 1, c);
        backend.matmul(&repeat, self.scale / n as f64, &self.ones, g_mean, 1.0, g_vectors)?;
        // centred·(g + gᵀ), and g is symmetric. Taking the mean of that away again, as the derivative
        // of the centring would, changes nothing: it is zero, for that of the centred vectors is.
        let product = MatmulShape::new(self.pictures, n, c, c);
        let factor = 2.0 * self.covariance_factor();
        backend.matmul(&product, factor, &self.centred, g_covariance, 1.0, g_vectors)
    }
}

/// The larger of the mean distances to the nearest vector of the other set.
#[derive(Debug)]
struct Transport<B: Backend> {
    pictures: usize,
    count: usize,
    channels: usize,
    /// `[B,n,n]`, then its gradient.
    distance: B::Buffer,
    row_min: B::Buffer,
    row_at: B::Indices,
    column_min: B::Buffer,
    column_at: B::Indices,
    /// Means over the rows and the columns, `[B]`.
    row_mean: B::Buffer,
    column_mean: B::Buffer,
    /// What the rows' mean has over the columns', or 0, `[B]`.
    excess: B::Buffer,
    /// 1 where the rows' mean is the larger one, and where the columns' is, `[B]`.
    rows_count: B::Buffer,
    columns_count: B::Buffer,
    /// n ones and B zeros.
    ones: B::Buffer,
    zeros: B::Buffer,
}

impl<B: Backend> Transport<B> {
    fn new(backend: &B, pictures: usize, count: usize, channels: usize) -> Result<Self> {
        let minima = || backend.zeros(pictures * count);
        let places = || backend.zero_indices(pictures * count);
        let scalars = || backend.zeros(pictures);
        let mut ones = backend.zeros(count)?;
        backend.fill(1.0, &mut ones)?;
        Ok(Self {
            pictures,
            count,
            channels,
            distance: backend.zeros(pictures * count * count)?,
            row_min: minima()?,
            row_at: places()?,
            column_min: minima()?,
            column_at: places()?,
            row_mean: scalars()?,
            column_mean: scalars()?,
            excess: scalars()?,
            rows_count: scalars()?,
            columns_count: scalars()?,
            ones,
            zeros: scalars()?,
        })
    }

    /// Adds `weight · Σ_pictures max(mean of the row minima, mean of the column minima)`.
    ///
    /// `x [B,n,C]` and `y [n,C]` are rows of length one.
    fn forward(
        &mut self,
        backend: &B,
        weight: f64,
        x: &B::Buffer,
        y: &B::Buffer,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        let (b, n) = (self.pictures, self.count);
        let cosines = MatmulShape::new(b, n, self.channels, n).transpose_b();
        backend.fill(1.0, &mut self.distance)?;
        backend.matmul(&cosines, -1.0, x, y, 1.0, &mut self.distance)?;
        let distance = &self.distance;
        let (row_min, column_min) = (&mut self.row_min, &mut self.column_min);
        backend.minima(
            b,
            n,
            n,
            distance,
            row_min,
            &mut self.row_at,
            column_min,
            &mut self.column_at,
        )?;
        let mean = MatmulShape::new(1, b, n, 1);
        let factor = 1.0 / n as f64;
        backend.matmul(&mean, factor, &self.row_min, &self.ones, 0.0, &mut self.row_mean)?;
        backend.matmul(&mean, factor, &self.column_min, &self.ones, 0.0, &mut self.column_mean)?;

        // max(r, c) = c + max(r − c, 0); distances are not negative, so a distance to 0 is their sum.
        backend.copy(&self.row_mean, 0, &mut self.excess, 0, b)?;
        backend.axpy(-1.0, &self.column_mean, &mut self.excess)?;
        backend.relu(&mut self.excess)?;
        backend.axpy(1.0, &self.excess, &mut self.column_mean)?;
        backend.l1(weight, &self.column_mean, &self.zeros, out, slot)
    }

    /// Gradient of [`Transport::forward`] with respect to `x`: `g_x [B,n,C]` (`=`).
    fn backward(&mut self, backend: &B, weight: f64, y: &B::Buffer, g_x: &mut B::Buffer) -> Result<()> {
        let (b, n) = (self.pictures, self.count);
        backend.fill(1.0, &mut self.rows_count)?;
        backend.relu_backward(&self.excess, &mut self.rows_count)?;
        backend.fill(1.0, &mut self.columns_count)?;
        backend.axpy(-1.0, &self.rows_count, &mut self.columns_count)?;
        // From here on the minima are their own gradients.
        let (g_row, g_column) = (&mut self.row_min, &mut self.column_min);
        let repeat = MatmulShape::new(1, b, 1, n);
        let factor = weight / n as f64;
        backend.matmul(&repeat, factor, &self.rows_count, &self.ones, 0.0, g_row)?;
        backend.matmul(&repeat, factor, &self.columns_count, &self.ones, 0.0, g_column)?;
        let (row_at, column_at) = (&self.row_at, &self.column_at);
        backend.minima_backward(b, n, n, row_at, column_at, g_row, g_column, &mut self.distance)?;
        let product = MatmulShape::new(b, n, n, self.channels);
        backend.matmul(&product, -1.0, &self.distance, y, 0.0, g_x)
    }
}

impl<B: Backend> LayerLoss<B> for OtLayer<B> {
    const NAME: &'static str = "vgg-ot";
    type Settings = OtSettings;

    fn new(backend: &B, settings: &OtSettings, target: &LayerTarget<'_, B::Buffer>) -> Result<Self> {
        if settings.samples == 0 {
            return Err(Error::invalid("number of positions compared", 0, "at least 1"));
        }
        let (batch, channels, positions) = (target.batch, target.shape.channels, target.shape.positions());
        let count = settings.samples.min(positions);
        let mut features = backend.zeros(channels * positions)?;
        backend.copy(target.features, 0, &mut features, 0, channels * positions)?;
        Ok(Self {
            layer: target.layer,
            features,
            target: Sample::new(backend, 1, count, target)?,
            pictures: Sample::new(backend, batch, count, target)?,
            transport: Transport::new(backend, batch, count, channels)?,
            g_covariance: backend.zeros(batch * channels * channels)?,
            g_mean: backend.zeros(batch * channels)?,
            g_vectors: backend.zeros(batch * count * channels)?,
            g_unit: backend.zeros(batch * count * channels)?,
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
        let Self {
            layer,
            features,
            target,
            pictures,
            transport,
            g_covariance,
            g_mean,
            g_vectors,
            g_unit,
            drawn,
        } = self;
        if *drawn != Some(draw) {
            *drawn = None;
            // One sequence for each picture of each layer, and one for the exemplar.
            let sequence = (*layer * (pictures.pictures + 1)) as u64;
            target.draw(backend, draw, sequence)?;
            target.take(backend, features)?;
            pictures.draw(backend, draw, sequence + 1)?;
            *drawn = Some(draw);
        }
        pictures.take(backend, x)?;
        let (batch, channels, count) = (pictures.pictures, pictures.channels, pictures.count);
        let weight = 1.0 / batch as f64;
        let mean_weight = weight / channels as f64;
        let covariance_weight = mean_weight / channels as f64;
        transport.forward(backend, weight, &pictures.unit, &target.unit, out, slot)?;
        backend.l1(mean_weight, &pictures.mean, &target.mean, out, slot)?;
        backend.l1(covariance_weight, &pictures.covariance, &target.covariance, out, slot)?;

        let Some(g_x) = g_x else { return Ok(()) };
        let (unit, lengths) = (&pictures.unit, &pictures.lengths);
        transport.backward(backend, weight, &target.unit, g_unit)?;
        backend.normalize_rows_backward(batch * count, channels, unit, lengths, g_unit, g_vectors)?;
        backend.l1_backward(mean_weight, &pictures.mean, &target.mean, g_mean)?;
        backend.l1_backward(
            covariance_weight,
            &pictures.covariance,
            &target.covariance,
            g_covariance,
        )?;
        pictures.moments_backward(backend, g_mean, g_covariance, g_vectors)?;
        let (positions, index) = (pictures.positions, &pictures.index);
        backend.gather_columns_backward(batch, channels, positions, count, index, g_vectors, g_x)
    }
}
