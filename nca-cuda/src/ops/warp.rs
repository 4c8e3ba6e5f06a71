//! Warping an image back along a flow.

use nca_core::Result;
use nca_core::backend::{Warp, check};

use super::sort_rows::ITEM;
use crate::launch::{count, launch};
use crate::machine::Shape;
use crate::module::Kernel;
use crate::{Buffer, Cuda};

const WARP: Kernel = Kernel::new("warp", "warp");
const WARP_FLOW_BACKWARD: Kernel = Kernel::new("warp", "warp_flow_backward");
const WARP_CELLS: Kernel = Kernel::new("warp", "warp_cells");
const WARP_STARTS: Kernel = Kernel::new("warp", "warp_starts");
const WARP_IMAGE_BACKWARD: Kernel = Kernel::new("warp", "warp_image_backward");

impl Warp for Cuda {
    fn warp(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        flow: &Buffer,
        y: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "warp";
        let plane = check::elements(&[height, width]);
        check::shape(OP, "x", x.len(), &[batch, channels, plane])?;
        check::shape(OP, "flow", flow.len(), &[batch, 2, plane])?;
        check::shape(OP, "y", y.len(), &[batch, channels, plane])?;
        count(OP, "pixels", plane)?;
        if y.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            WARP,
            Shape::planes(batch, plane),
            x.address(),
            flow.address(),
            y.address(),
            batch as u64,
            channels as u32,
            height as i32,
            width as i32,
        )
    }

    fn warp_backward(
        &self,
        batch: usize,
        channels: usize,
        height: usize,
        width: usize,
        x: &Buffer,
        flow: &Buffer,
        g_y: &Buffer,
        g_x: &mut Buffer,
        g_flow: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "warp_backward";
        let plane = check::elements(&[height, width]);
        check::shape(OP, "x", x.len(), &[batch, channels, plane])?;
        check::shape(OP, "flow", flow.len(), &[batch, 2, plane])?;
        check::shape(OP, "g_y", g_y.len(), &[batch, channels, plane])?;
        check::shape(OP, "g_x", g_x.len(), &[batch, channels, plane])?;
        check::shape(OP, "g_flow", g_flow.len(), &[batch, 2, plane])?;
        count(OP, "pixels", plane)?;
        if g_flow.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            WARP_FLOW_BACKWARD,
            Shape::planes(batch, plane),
            x.address(),
            flow.address(),
            g_y.address(),
            g_flow.address(),
            batch as u64,
            channels as u32,
            height as i32,
            width as i32,
        )?;
        // Items, as many again to sort them, and where each cell's begin.
        let items = ITEM * batch * plane;
        let space = self.workspace(2 * items + batch * (plane + 1))?;
        let starts = space.at(2 * items);
        launch!(
            self,
            WARP_CELLS,
            Shape::planes(batch, plane),
            flow.address(),
            space.address(),
            batch as u64,
            height as i32,
            width as i32,
        )?;
        let sorted = self.sort_items(batch, plane, space.address(), space.at(items))?;
        launch!(
            self,
            WARP_STARTS,
            Shape::planes(batch, plane + 1),
            sorted,
            starts,
            batch as u64,
            plane as u32,
        )?;
        launch!(
            self,
            WARP_IMAGE_BACKWARD,
            Shape::planes(batch, plane),
            flow.address(),
            sorted,
            starts,
            g_y.address(),
            g_x.address(),
            batch as u64,
            channels as u32,
            height as i32,
            width as i32,
        )
    }
}
