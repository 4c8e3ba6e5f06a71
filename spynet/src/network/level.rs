//! One round of a level of the pyramid, forward and backward.

use nca_core::Result;
use nca_core::backend::{Backend, Upsample2Shape};

use super::Layer;

/// What one round of a level keeps: everything its backward needs.
#[derive(Debug)]
pub(super) struct Level<B: Backend> {
    /// The level's number in the network.
    pub(super) number: usize,
    pub(super) height: usize,
    pub(super) width: usize,
    /// Frames of this size, `[B,3,h,w]`.
    pub(super) first: B::Buffer,
    pub(super) second: B::Buffer,
    /// Flow of the round before, or of the level below, doubled, `[B,2,h,w]`.
    pub(super) coarse: B::Buffer,
    /// The second frame warped back by it, `[B,3,h,w]`.
    pub(super) warped: B::Buffer,
    /// Input of the first convolution, `[B,8,h,w]`, then the output of each.
    pub(super) activations: Vec<B::Buffer>,
    /// `coarse` plus the last activation, `[B,2,h,w]`.
    pub(super) flow: B::Buffer,
}

/// Gradients of a round.
#[derive(Debug)]
pub(super) struct LevelGradients<B: Backend> {
    pub(super) first: B::Buffer,
    pub(super) second: B::Buffer,
    pub(super) flow: B::Buffer,
    pub(super) activations: Vec<B::Buffer>,
    pub(super) warped: B::Buffer,
    /// `[B,3,h,w]` and `[B,2,h,w]`, for summands.
    pub(super) image_term: B::Buffer,
    pub(super) flow_term: B::Buffer,
}

impl<B: Backend> Level<B> {
    /// Whether it is a later round of the level that `before` is a round of.
    pub(super) fn repeats(&self, before: &Self) -> bool {
        self.number == before.number
    }

    /// Takes up the flow of the round before it.
    pub(super) fn start_from(&mut self, backend: &B, before: &Self, batch: usize) -> Result<()> {
        if self.repeats(before) {
            let len = batch * 2 * self.height * self.width;
            return backend.copy(&before.flow, 0, &mut self.coarse, 0, len);
        }
        backend.upsample2(
            &upsample_shape(batch, before, self),
            2.0,
            &before.flow,
            &mut self.coarse,
        )
    }

    pub(super) fn frames_mut(&mut self, second: bool) -> &mut B::Buffer {
        if second { &mut self.second } else { &mut self.first }
    }

    /// `flow = coarse + layers(first, warp(second, coarse), coarse)`.
    pub(super) fn forward(&mut self, backend: &B, layers: &[Layer<B>], batch: usize) -> Result<()> {
        let (height, width) = (self.height, self.width);
        let plane = height * width;
        backend.warp(batch, 3, height, width, &self.second, &self.coarse, &mut self.warped)?;
        let input = &mut self.activations[0];
        copy_channels(backend, batch, plane, (&self.first, 3, 0), (input, 8, 0), 3)?;
        copy_channels(backend, batch, plane, (&self.warped, 3, 0), (input, 8, 3), 3)?;
        copy_channels(backend, batch, plane, (&self.coarse, 2, 0), (input, 8, 6), 2)?;
        for (i, layer) in layers.iter().enumerate() {
            let (done, rest) = self.activations.split_at_mut(i + 1);
            let shape = layer.shape(batch, height, width);
            backend.conv2d(&shape, &done[i], &layer.weight, Some(&layer.bias), &mut rest[0])?;
            if i + 1 < layers.len() {
                backend.relu(&mut rest[0])?;
            }
        }
        let correction = &self.activations[layers.len()];
        backend.copy(correction, 0, &mut self.flow, 0, batch * 2 * plane)?;
        backend.axpy(1.0, &self.coarse, &mut self.flow)
    }
}

impl<B: Backend> LevelGradients<B> {
    /// From `self.flow`, the gradient of the level's flow, the gradients of the layers' weights (`+=`,
    /// if asked for) and, with `input`, that of the first layer's input.
    pub(super) fn layers_backward(
        &mut self,
        backend: &B,
        level: &Level<B>,
        layers: &[Layer<B>],
        batch: usize,
        mut grads: Option<&mut [Layer<B>]>,
        input: bool,
    ) -> Result<()> {
        let (height, width) = (level.height, level.width);
        let flow_len = batch * 2 * height * width;
        backend.copy(&self.flow, 0, &mut self.activations[layers.len()], 0, flow_len)?;
        for (i, layer) in layers.iter().enumerate().rev() {
            let (inputs, outputs) = self.activations.split_at_mut(i + 1);
            let g_output = &mut outputs[0];
            if i + 1 < layers.len() {
                backend.relu_backward(&level.activations[i + 1], g_output)?;
            }
            let shape = layer.shape(batch, height, width);
            if let Some(grads) = grads.as_deref_mut() {
                let Layer { weight, bias, .. } = &mut grads[i];
                backend.conv2d_backward_weight(&shape, &level.activations[i], g_output, weight, Some(bias))?;
            }
            if i > 0 || input {
                backend.conv2d_backward_input(&shape, &layer.weight, g_output, &mut inputs[i])?;
            }
        }
        Ok(())
    }

    /// After [`LevelGradients::layers_backward`] with `input`: sets the gradients of the level's
    /// frames, and turns `self.flow` into the gradient of its coarse flow.
    pub(super) fn inputs_backward(&mut self, backend: &B, level: &Level<B>, batch: usize) -> Result<()> {
        let (height, width) = (level.height, level.width);
        let plane = height * width;
        let input = &self.activations[0];
        copy_channels(backend, batch, plane, (input, 8, 0), (&mut self.first, 3, 0), 3)?;
        copy_channels(backend, batch, plane, (input, 8, 3), (&mut self.warped, 3, 0), 3)?;
        copy_channels(backend, batch, plane, (input, 8, 6), (&mut self.flow_term, 2, 0), 2)?;
        backend.axpy(1.0, &self.flow_term, &mut self.flow)?;
        backend.warp_backward(
            batch,
            3,
            height,
            width,
            &level.second,
            &level.coarse,
            &self.warped,
            &mut self.second,
            &mut self.flow_term,
        )?;
        backend.axpy(1.0, &self.flow_term, &mut self.flow)
    }

    /// After [`LevelGradients::inputs_backward`]: the gradient of the flow of the round before (`=`).
    pub(super) fn start_backward(
        &self,
        backend: &B,
        level: &Level<B>,
        before: &Level<B>,
        batch: usize,
        g_before: &mut B::Buffer,
    ) -> Result<()> {
        if level.repeats(before) {
            let len = batch * 2 * level.height * level.width;
            return backend.copy(&self.flow, 0, g_before, 0, len);
        }
        backend.upsample2_backward(&upsample_shape(batch, before, level), 2.0, &self.flow, g_before)
    }
}

fn upsample_shape<B: Backend>(batch: usize, coarse: &Level<B>, fine: &Level<B>) -> Upsample2Shape {
    Upsample2Shape {
        planes: 2 * batch,
        height: coarse.height,
        width: coarse.width,
        out_height: fine.height,
        out_width: fine.width,
    }
}

/// Copies `count` channels of every sample; each side is a buffer, its channels and the first one.
fn copy_channels<B: Backend>(
    backend: &B,
    batch: usize,
    plane: usize,
    (src, src_channels, src_first): (&B::Buffer, usize, usize),
    (dst, dst_channels, dst_first): (&mut B::Buffer, usize, usize),
    count: usize,
) -> Result<()> {
    for b in 0..batch {
        let from = (b * src_channels + src_first) * plane;
        let to = (b * dst_channels + dst_first) * plane;
        backend.copy(src, from, dst, to, count * plane)?;
    }
    Ok(())
}
