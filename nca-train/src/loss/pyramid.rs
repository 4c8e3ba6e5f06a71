//! Pictures seen through random filters at several scales: what the patch loss and the texture
//! distance compare.

use nca_core::backend::{Backend, ConvShape};
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Real, Result, check_len};

use super::PatchSettings;

/// One set of filters a level, for pictures of one size.
///
/// Level 0 is the picture itself, each further level the 2×2 means of the one before it; a level
/// beyond the first exists only where its smaller side is at least twice the patch.
#[derive(Debug)]
pub(crate) struct PatchPyramid<B: Backend> {
    settings: PatchSettings,
    levels: Vec<FilterLevel<B>>,
    host: Vec<B::Elem>,
}

/// The filters of one level, `[P,3,k,k]`, and the shape of their convolution with one picture.
#[derive(Debug)]
struct FilterLevel<B: Backend> {
    shape: ConvShape,
    filters: B::Buffer,
}

/// N pictures at every level, projected and sorted.
#[derive(Debug)]
pub(crate) struct Views<B: Backend> {
    pictures: usize,
    levels: Vec<View<B>>,
}

#[derive(Debug)]
struct View<B: Backend> {
    /// `[N,3,h,w]`; of level 0 this is the caller's buffer.
    image: Option<B::Buffer>,
    /// `[N,P,n]`, n being the number of windows.
    projected: B::Buffer,
    /// The same, each row ascending.
    sorted: B::Buffer,
    order: B::Indices,
}

impl<B: Backend> PatchPyramid<B> {
    /// Filters for pictures of `height` × `width`, drawn from the sequence 0.
    pub(crate) fn new(backend: &B, settings: PatchSettings, height: usize, width: usize) -> Result<Self> {
        settings.validate()?;
        let patch = settings.patch;
        if height.min(width) < patch {
            return Err(Error::invalid(
                "picture for the patch loss",
                format!("{height}x{width}"),
                format!("sides of at least {patch}, the size of a patch"),
            ));
        }
        let mut levels = Vec::with_capacity(settings.levels);
        for level in 0..settings.levels {
            let shape = ConvShape {
                batch: 1,
                inputs: 3,
                outputs: settings.projections,
                height: height >> level,
                width: width >> level,
                kernel: patch,
                padding: 0,
            };
            if level > 0 && shape.height.min(shape.width) < 2 * patch {
                break;
            }
            levels.push(FilterLevel {
                filters: backend.zeros(shape.weight_len())?,
                shape,
            });
        }
        let mut pyramid = Self {
            settings,
            levels,
            host: vec![B::Elem::default(); settings.projections * 3 * patch * patch],
        };
        pyramid.draw(backend, 0)?;
        Ok(pyramid)
    }

    /// Number of levels.
    pub(crate) fn levels(&self) -> usize {
        self.levels.len()
    }

    /// Projections of one picture at a level, `P·n`.
    pub(crate) fn projections(&self, level: usize) -> usize {
        self.levels[level].shape.output_len()
    }

    /// The convolution of `pictures` pictures with the filters of a level.
    fn shape(&self, level: usize, pictures: usize) -> ConvShape {
        ConvShape {
            batch: pictures,
            ..self.levels[level].shape
        }
    }

    /// Draws all filters anew: directions uniform on the unit sphere, a pure function of `draw`.
    pub(crate) fn draw(&mut self, backend: &B, draw: u64) -> Result<()> {
        let mut direction = vec![0.0; 3 * self.settings.patch * self.settings.patch];
        for (level, FilterLevel { filters, .. }) in self.levels.iter_mut().enumerate() {
            let mut rng = PhiloxRng::new(draw, Stream::Projection, level as u64);
            for filter in self.host.chunks_exact_mut(direction.len()) {
                direction.fill_with(|| rng.normal());
                let norm = direction.iter().map(|v| v * v).sum::<f64>().sqrt();
                for (weight, v) in filter.iter_mut().zip(&direction) {
                    *weight = B::Elem::of(v / norm);
                }
            }
            backend.upload(&self.host, filters)?;
        }
        Ok(())
    }

    /// Replaces the filters of one level, `[P,3,k,k]`.
    pub(crate) fn set_filters(&mut self, backend: &B, level: usize, filters: &[B::Elem]) -> Result<()> {
        let levels = self.levels();
        let Some(target) = self.levels.get_mut(level) else {
            return Err(Error::invalid(
                "level of the patch loss",
                level,
                format!("less than {levels}"),
            ));
        };
        check_len("patch loss", "filters", filters.len(), self.host.len())?;
        backend.upload(filters, &mut target.filters)
    }

    /// Room for `pictures` pictures.
    pub(crate) fn views(&self, backend: &B, pictures: usize) -> Result<Views<B>> {
        let levels = (0..self.levels()).map(|level| {
            let shape = self.shape(level, pictures);
            Ok(View {
                image: (level > 0).then(|| backend.zeros(shape.input_len())).transpose()?,
                projected: backend.zeros(shape.output_len())?,
                sorted: backend.zeros(shape.output_len())?,
                order: backend.zero_indices(shape.output_len())?,
            })
        });
        Ok(Views {
            pictures,
            levels: levels.collect::<Result<_>>()?,
        })
    }

    /// Projects and sorts `rgb [N,3,H,W]`.
    pub(crate) fn project(&self, backend: &B, rgb: &B::Buffer, views: &mut Views<B>) -> Result<()> {
        let pictures = views.pictures;
        check_len(
            "patch loss",
            "rgb",
            backend.len(rgb),
            self.shape(0, pictures).input_len(),
        )?;
        for level in 0..self.levels() {
            let shape = self.shape(level, pictures);
            let (finer, rest) = views.levels.split_at_mut(level);
            let View {
                image,
                projected,
                sorted,
                order,
            } = &mut rest[0];
            let image = match (image, finer.last()) {
                (Some(image), Some(finer)) => {
                    let from = self.levels[level - 1].shape;
                    let source = finer.image.as_ref().unwrap_or(rgb);
                    backend.avg_pool2(3 * pictures, from.height, from.width, source, image)?;
                    &*image
                }
                _ => rgb,
            };
            backend.conv2d(&shape, image, &self.levels[level].filters, None, projected)?;
            let windows = shape.out_height() * shape.out_width();
            backend.sort_rows(pictures * shape.outputs, windows, projected, sorted, order)?;
        }
        Ok(())
    }
}

impl<B: Backend> Views<B> {
    /// The sorted projections of a level, `[N,P,n]`.
    pub(crate) fn sorted(&self, level: usize) -> &B::Buffer {
        &self.levels[level].sorted
    }
}

/// Gradients with respect to N pictures at every level.
#[derive(Debug)]
pub(crate) struct GradViews<B: Backend>(Vec<GradView<B>>);

#[derive(Debug)]
struct GradView<B: Backend> {
    /// Gradient of the sorted projections, `[N,P,n]`.
    sorted: B::Buffer,
    /// Gradient of the image, `[N,3,h,w]`; of level 0 this is the caller's buffer.
    image: Option<B::Buffer>,
    /// What arrives at the image from the next coarser level, where there is one.
    from_coarser: Option<B::Buffer>,
}

impl<B: Backend> GradViews<B> {
    /// Room for the gradient of `views`.
    pub(crate) fn new(backend: &B, pyramid: &PatchPyramid<B>, views: &Views<B>) -> Result<Self> {
        let last = pyramid.levels() - 1;
        let levels = (0..=last).map(|level| {
            let shape = pyramid.shape(level, views.pictures);
            let image = |wanted: bool| wanted.then(|| backend.zeros(shape.input_len())).transpose();
            Ok(GradView {
                sorted: backend.zeros(shape.output_len())?,
                image: image(level > 0)?,
                from_coarser: image(level < last)?,
            })
        });
        Ok(Self(levels.collect::<Result<_>>()?))
    }

    /// The gradient with respect to [`Views::sorted`] of a level, to be set before
    /// [`GradViews::project_backward`].
    pub(crate) fn sorted_mut(&mut self, level: usize) -> &mut B::Buffer {
        &mut self.0[level].sorted
    }

    /// Backward of [`PatchPyramid::project`]: from the gradients of the sorted projections to
    /// `g_rgb [N,3,H,W]` (`=`). The projections themselves are overwritten by their gradient.
    pub(crate) fn project_backward(
        &mut self,
        backend: &B,
        pyramid: &PatchPyramid<B>,
        views: &mut Views<B>,
        g_rgb: &mut B::Buffer,
    ) -> Result<()> {
        let pictures = views.pictures;
        for level in (0..pyramid.levels()).rev() {
            let shape = pyramid.shape(level, pictures);
            let View { projected, order, .. } = &mut views.levels[level];
            let (finer, coarser) = self.0.split_at_mut(level + 1);
            let GradView {
                sorted,
                image,
                from_coarser,
            } = &mut finer[level];
            let g_image = image.as_mut().unwrap_or(&mut *g_rgb);
            let windows = shape.out_height() * shape.out_width();
            backend.sort_rows_backward(pictures * shape.outputs, windows, order, sorted, projected)?;
            backend.conv2d_backward_input(&shape, &pyramid.levels[level].filters, projected, g_image)?;
            let g_coarser = coarser.first().and_then(|coarser| coarser.image.as_ref());
            if let (Some(g_coarser), Some(from_coarser)) = (g_coarser, from_coarser) {
                backend.avg_pool2_backward(3 * pictures, shape.height, shape.width, g_coarser, from_coarser)?;
                backend.axpy(1.0, from_coarser, g_image)?;
            }
        }
        Ok(())
    }
}
