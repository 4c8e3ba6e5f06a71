//! The activations of one batch of pictures, and the way back from them.

use nca_core::backend::{Backend, ConvShape};
use nca_core::{Error, Result, check_len};

use super::{KERNEL, MEAN, STD, Vgg};

/// What one batch of pictures looks like to a [`Vgg`]: the outputs of the layers asked for, called
/// taps.
///
/// Owns every buffer: those of the forward from the start, those of the backward from the first one
/// on. Layers beyond the last tap are not computed.
#[derive(Debug)]
pub struct Features<B: Backend> {
    batch: usize,
    /// Pixels of a picture.
    plane: usize,
    /// `[B,3,H,W]`.
    normalized: B::Buffer,
    stages: Vec<Stage<B::Buffer>>,
    /// Number of the layer of each tap, ascending.
    taps: Vec<usize>,
    spare: Spare<B::Buffer>,
}

/// Shape of the features of one sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeatureShape {
    /// Channels, C.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
}

impl FeatureShape {
    /// Positions, P.
    #[must_use]
    pub fn positions(&self) -> usize {
        self.height * self.width
    }
}

/// One layer at work.
#[derive(Debug)]
struct Stage<Buffer> {
    shape: ConvShape,
    /// The layer before, pooled, where there is a pooling between.
    pooled: Option<Buffer>,
    /// After the rectifier.
    output: Buffer,
}

impl<B: Backend> Features<B> {
    /// Room for `batch` pictures of `height × width`, and the layers numbered `taps`.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no tap, taps are out of order, `vgg` has no such layer, or
    /// pooling leaves nothing of the picture there.
    pub fn new(backend: &B, vgg: &Vgg<B>, batch: usize, height: usize, width: usize, taps: &[usize]) -> Result<Self> {
        let ascending = taps.windows(2).all(|pair| pair[0] < pair[1]);
        let layers = taps.last().map_or(0, |last| last + 1);
        if layers == 0 || layers > vgg.layers.len() || !ascending {
            let expected = format!("one or more of 0 to {} in ascending order", vgg.layers.len() - 1);
            return Err(Error::invalid("layers of VGG", format!("{taps:?}"), expected));
        }
        let mut stages: Vec<Stage<B::Buffer>> = Vec::new();
        let mut size = (height, width);
        for layer in &vgg.layers[..layers] {
            let is_pooled = layer.place.is_pooled();
            if is_pooled {
                size = (size.0 / 2, size.1 / 2);
            }
            if size.0 == 0 || size.1 == 0 {
                let least = 1 << (layer.place.block - 1);
                return Err(Error::invalid(
                    "picture size",
                    format!("{height}x{width}"),
                    format!("at least {least}x{least} for {}", layer.place.name()),
                ));
            }
            let shape = ConvShape {
                batch,
                inputs: layer.inputs,
                outputs: layer.outputs,
                height: size.0,
                width: size.1,
                kernel: KERNEL,
                padding: KERNEL / 2,
            };
            stages.push(Stage {
                pooled: is_pooled.then(|| backend.zeros(shape.input_len())).transpose()?,
                output: backend.zeros(shape.output_len())?,
                shape,
            });
        }
        let plane = height * width;
        Ok(Self {
            batch,
            plane,
            normalized: backend.zeros(batch * 3 * plane)?,
            stages,
            taps: taps.to_vec(),
            spare: Spare(Vec::new()),
        })
    }

    /// Number of taps.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.taps.len()
    }

    /// Shape of tap number `tap`, which must exist.
    #[must_use]
    pub fn shape(&self, tap: usize) -> FeatureShape {
        let shape = &self.stages[self.taps[tap]].shape;
        FeatureShape {
            channels: shape.outputs,
            height: shape.out_height(),
            width: shape.out_width(),
        }
    }

    /// Tap number `tap`, which must exist: `[B,C,H',W']`, as of the last [`Features::forward`].
    #[must_use]
    pub fn tap(&self, tap: usize) -> &B::Buffer {
        &self.stages[self.taps[tap]].output
    }

    /// A buffer for each tap's gradient.
    pub fn tap_gradients(&self, backend: &B) -> Result<Vec<B::Buffer>> {
        let lengths = self.taps.iter().map(|&layer| self.stages[layer].shape.output_len());
        lengths.map(|len| backend.zeros(len)).collect()
    }

    /// Computes every tap of `rgb [B,3,H,W]`, colours in `[0, 1]` (others are taken as they are).
    /// `vgg` is that of [`Features::new`].
    pub fn forward(&mut self, backend: &B, vgg: &Vgg<B>, rgb: &B::Buffer) -> Result<()> {
        check_len("vgg", "rgb", backend.len(rgb), self.batch * 3 * self.plane)?;
        let offset = [0, 1, 2].map(|c| -MEAN[c] / STD[c]);
        backend.channel_affine(self.plane, &scale(), &offset, rgb, &mut self.normalized)?;
        let mut before: Option<&Stage<B::Buffer>> = None;
        for (stage, layer) in self.stages.iter_mut().zip(&vgg.layers) {
            let Stage { shape, pooled, output } = &mut *stage;
            let input = match (before, pooled) {
                (None, _) => &self.normalized,
                (Some(before), None) => &before.output,
                (Some(before), Some(pooled)) => {
                    let (height, width) = (before.shape.out_height(), before.shape.out_width());
                    backend.max_pool2(shape.batch * shape.inputs, height, width, &before.output, pooled)?;
                    pooled
                }
            };
            backend.conv2d(shape, input, &layer.weight, Some(&layer.bias), output)?;
            backend.relu(output)?;
            before = Some(stage);
        }
        Ok(())
    }

    /// Gradient with respect to the pictures of the last [`Features::forward`]: `g_taps`, one for
    /// each tap and of its shape, → `g_rgb [B,3,H,W]` (`=`).
    pub fn backward(&mut self, backend: &B, vgg: &Vgg<B>, g_taps: &[B::Buffer], g_rgb: &mut B::Buffer) -> Result<()> {
        check_len("vgg_backward", "list of g_taps", g_taps.len(), self.taps.len())?;
        let mut taps = self.taps.iter().zip(g_taps).rev().peekable();
        // With respect to the output of the layer at hand, as far as later layers go.
        let mut g: Option<B::Buffer> = None;
        for i in (0..self.stages.len()).rev() {
            let Stage { shape, pooled, output } = &self.stages[i];
            let g_tap = taps.next_if(|(layer, _)| **layer == i).map(|(_, g_tap)| g_tap);
            let mut g_output = match (g, g_tap) {
                (Some(mut g), Some(g_tap)) => {
                    backend.axpy(1.0, g_tap, &mut g)?;
                    g
                }
                (Some(g), None) => g,
                (None, Some(g_tap)) => {
                    let mut g = self.spare.take(backend, shape.output_len())?;
                    backend.copy(g_tap, 0, &mut g, 0, shape.output_len())?;
                    g
                }
                // The last layer is a tap.
                (None, None) => return check_len("vgg_backward", "list of g_taps", 0, self.taps.len()),
            };
            backend.relu_backward(output, &mut g_output)?;
            let mut g_input = self.spare.take(backend, shape.input_len())?;
            backend.conv2d_backward_input(shape, &vgg.layers[i].weight, &g_output, &mut g_input)?;
            self.spare.0.push(g_output);
            g = Some(match i.checked_sub(1).map(|before| &self.stages[before]) {
                Some(before) if pooled.is_some() => {
                    let (height, width) = (before.shape.out_height(), before.shape.out_width());
                    let mut g_before = self.spare.take(backend, before.shape.output_len())?;
                    let planes = shape.batch * shape.inputs;
                    backend.max_pool2_backward(planes, height, width, &before.output, &g_input, &mut g_before)?;
                    self.spare.0.push(g_input);
                    g_before
                }
                _ => g_input,
            });
        }
        if let Some(g_normalized) = g {
            backend.channel_affine_backward(self.plane, &scale(), &g_normalized, g_rgb)?;
            self.spare.0.push(g_normalized);
        }
        Ok(())
    }
}

/// Factors of the normalisation of pictures.
fn scale() -> [f64; 3] {
    STD.map(|std| 1.0 / std)
}

/// Buffers that a backward is done with: the next one of the same length takes them again, so that
/// only the first backward allocates, and no more than two of a length.
#[derive(Debug)]
struct Spare<Buffer>(Vec<Buffer>);

impl<Buffer> Spare<Buffer> {
    /// A buffer of `len` elements with unspecified contents.
    fn take<B: Backend<Buffer = Buffer>>(&mut self, backend: &B, len: usize) -> Result<Buffer> {
        match self.0.iter().position(|buffer| backend.len(buffer) == len) {
            Some(i) => Ok(self.0.swap_remove(i)),
            None => backend.zeros(len),
        }
    }
}
