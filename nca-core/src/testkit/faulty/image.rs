//! Operations on images and feature maps.

use super::{Faulty, Rule};
use crate::backend::{
    AvgPool2, Backend, ChannelAffine, Conv2d, ConvShape, FlowMagnitude, MaxPool2, Relu, Resize, ResizeShape, Upsample2,
    Upsample2Shape, Warp,
};
use crate::error::Result;

impl<B: Backend> Conv2d for Faulty<B> {
    fn conv2d(
        &self,
        shape: &ConvShape,
        x: &B::Buffer,
        weight: &B::Buffer,
        bias: Option<&B::Buffer>,
        y: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.conv2d(shape, x, weight, bias, y); Overwrites "y" y)
    }

    fn conv2d_backward_input(
        &self,
        shape: &ConvShape,
        weight: &B::Buffer,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.conv2d_backward_input(shape, weight, g_y, g_x); Overwrites "g_x" g_x)
    }

    fn conv2d_backward_weight(
        &self,
        shape: &ConvShape,
        x: &B::Buffer,
        g_y: &B::Buffer,
        g_weight: &mut B::Buffer,
        g_bias: Option<&mut B::Buffer>,
    ) -> Result<()> {
        match g_bias {
            Some(g_bias) => call!(
                self.conv2d_backward_weight(shape, x, g_y, g_weight, Some(g_bias));
                Adds "g_weight" g_weight; Adds "g_bias" g_bias
            ),
            None => call!(
                self.conv2d_backward_weight(shape, x, g_y, g_weight, None);
                Adds "g_weight" g_weight
            ),
        }
    }
}

impl<B: Backend> AvgPool2 for Faulty<B> {
    fn avg_pool2(&self, planes: usize, height: usize, width: usize, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        call!(self.avg_pool2(planes, height, width, x, y); Overwrites "y" y)
    }

    fn avg_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.avg_pool2_backward(planes, height, width, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> MaxPool2 for Faulty<B> {
    fn max_pool2(&self, planes: usize, height: usize, width: usize, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        call!(self.max_pool2(planes, height, width, x, y); Overwrites "y" y)
    }

    fn max_pool2_backward(
        &self,
        planes: usize,
        height: usize,
        width: usize,
        x: &B::Buffer,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.max_pool2_backward(planes, height, width, x, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Relu for Faulty<B> {
    fn relu(&self, x: &mut B::Buffer) -> Result<()> {
        call!(self.relu(x); InPlace "x" x)
    }

    fn relu_backward(&self, y: &B::Buffer, g: &mut B::Buffer) -> Result<()> {
        call!(self.relu_backward(y, g); InPlace "g" g)
    }
}

impl<B: Backend> Resize for Faulty<B> {
    fn resize(&self, shape: &ResizeShape, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        call!(self.resize(shape, x, y); Overwrites "y" y)
    }

    fn resize_backward(&self, shape: &ResizeShape, g_y: &B::Buffer, g_x: &mut B::Buffer) -> Result<()> {
        call!(self.resize_backward(shape, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Upsample2 for Faulty<B> {
    fn upsample2(&self, shape: &Upsample2Shape, factor: f64, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        call!(self.upsample2(shape, factor, x, y); Overwrites "y" y)
    }

    fn upsample2_backward(
        &self,
        shape: &Upsample2Shape,
        factor: f64,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.upsample2_backward(shape, factor, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Warp for Faulty<B> {
    fn warp(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &B::Buffer,
        flow: &B::Buffer,
        y: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.warp(batch, channels, height, width, x, flow, y); Overwrites "y" y)
    }

    fn warp_backward(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &B::Buffer,
        flow: &B::Buffer,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
        g_flow: &mut B::Buffer,
    ) -> Result<()> {
        call!(
            self.warp_backward(batch, channels, height, width, x, flow, g_y, g_x, g_flow);
            Overwrites "g_x" g_x; Overwrites "g_flow" g_flow
        )
    }
}

impl<B: Backend> ChannelAffine for Faulty<B> {
    fn channel_affine(
        &self,
        plane: usize,
        scale: &[f64],
        offset: &[f64],
        x: &B::Buffer,
        y: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.channel_affine(plane, scale, offset, x, y); Overwrites "y" y)
    }

    fn channel_affine_backward(&self, plane: usize, scale: &[f64], g_y: &B::Buffer, g_x: &mut B::Buffer) -> Result<()> {
        call!(self.channel_affine_backward(plane, scale, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> FlowMagnitude for Faulty<B> {
    fn flow_magnitude(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &B::Buffer,
        out: &mut B::Buffer,
        slot: usize,
    ) -> Result<()> {
        call!(self.flow_magnitude(plane, epsilon, weight, flow, out, slot); Adds "out" out)
    }

    fn flow_magnitude_backward(
        &self,
        plane: usize,
        epsilon: f64,
        weight: f64,
        flow: &B::Buffer,
        g_flow: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.flow_magnitude_backward(plane, epsilon, weight, flow, g_flow); Overwrites "g_flow" g_flow)
    }
}
