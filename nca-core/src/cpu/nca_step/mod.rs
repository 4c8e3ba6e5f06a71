//! One step of the automaton, fused: only active cells are computed.
//!
//! The grid is cut into tiles that fit the second-level cache. For each tile:
//!
//! 1. [`mask`]: the mask bits; [`active`]: the active cells, numbered.
//! 2. [`stencil`]: perception, vectorised over columns, of which only the active cells are stored:
//!    a panel `z [KC, active]`, all kernels of a channel together. The presets' kernels have short cuts ([`sobel`],
//!    [`classic`]).
//! 3. [`forward`]: `h = relu(W1·z + b1)` ([`hidden`]) and `dx = W2·h + b2`, block of columns by block of
//!    columns, so that `h` never leaves L1, or if `h` is small part by part of the channels, so that `z`
//!    does not either; then `x' = clamp(x + mask·dx)` with `dx` spread to the cells again.
//!    Inactive cells cost a copy.
//!    Where factors are bf16, [`bf16`] does both layers, and no `h` is kept.
//!
//! Backward recomputes 1–3 ([`backward`]), of which a rollout may have kept `h` ([`activations`]): the gradient is
//! gathered at the active cells, goes back through both layers, and the gradient of the perception is spread and
//! sent through the mirrored stencil ([`adjoint`]). Gradients of the weights are summed in a fixed
//! number of groups of tiles, group by group: no result depends on the number of threads.

// Runs kernels on buffers whose lengths have been checked here.
#![allow(unsafe_code)]

mod activations;
mod active;
mod adjoint;
mod backward;
mod bf16;
mod classic;
mod forward;
mod hidden;
mod mask;
mod reduce;
mod sobel;
mod stencil;
mod tiling;
mod weights;

use std::ops::Range;

use rayon::prelude::*;

use self::activations::Layout;
use self::adjoint::{add_rings, ring_len};
use self::backward::{BackwardGroup, GradLayout};
use self::forward::ForwardTile;
use self::mask::Mask;
use self::reduce::AddGroups;
use self::stencil::Stencil;
use self::tiling::Tiling;
use self::weights::{Pack, Weights};
use super::arena::{Carver, Shared};
use super::bf16::Bf16Unit;
use super::gemm::block_columns;
use super::mlp::check_params;
use super::simd::{Isa, Kernel, dispatch, lanes};
use super::update::bound;
use super::{Buffer, Cpu};
use crate::backend::{MaskKey, NcaStep, check};
use crate::config::{Grid, NcaConfig};
use crate::error::{Result, check_len};
use crate::params::Params;
use crate::philox::fire_threshold;

/// Floats of the panel of a forward tile: 128 KiB, a part of any second-level cache.
const FORWARD_FLOATS: usize = 32 * 1024;
/// Floats of the panels of a backward tile for vectors of eight lanes or fewer: 256 KiB. Twice that for sixteen, as
/// processors that have them have a second-level cache of 1 MiB or more.
const BACKWARD_FLOATS: usize = 64 * 1024;
/// Active cells a tile is made for, if vectors have eight lanes or fewer: at least so many that blocks of vectors fill
/// it well and that the sums over its cells outweigh entering them once a tile. Twice that for sixteen lanes.
const ACTIVE_CELLS: (usize, usize) = (128, 256);
/// Tiles that a grid is cut into before they become larger than must be, so that cores have some each.
const MANY_TILES: f64 = 8.0;
/// Floats of the right operand of the first layer that are multiplied at a time: with the hidden layer of a block
/// of columns they stay in L1.
const DEPTH_FLOATS: usize = 6 * 1024;
/// Largest hidden layer that is summed up part by part, and the channels of a part: few enough that their
/// perception and the whole hidden layer of a tile stay in L1. Larger layers would be stored and loaded
/// again too often.
const SMALL_HIDDEN: usize = 32;
const PART_CHANNELS: usize = 8;
/// Most cells of a tile, however few of them are active.
const MOST_CELLS: usize = 2048;
/// Floats of a state that the second-level caches keep from step to step, so that nothing of it needs to be asked for:
/// 512 KiB.
const NEAR_FLOATS: usize = 128 * 1024;
/// Most groups of tiles that have parameter gradients of their own, and the bytes these may take.
const GROUPS: (usize, usize) = (8, 32);
const GROUP_BYTES: usize = 4 << 20;

/// What a call needs to know about the model and the grid.
#[derive(Clone, Copy, Debug)]
struct Plan {
    grid: Grid,
    hidden: usize,
    stencil: Stencil,
    /// Bound of the clamp; infinite where there is none.
    bound: f32,
    threshold: u64,
    /// Channels that a forward tile perceives at a time.
    part: usize,
    /// Channels that are multiplied at a time.
    depth: usize,
    /// Whether the next channel's rows are asked for ahead.
    ahead: bool,
    forward: Tiling,
    backward: Tiling,
    /// Groups of backward tiles.
    groups: usize,
    /// What multiplies bf16, if factors are that.
    bf16: Option<Bf16Unit>,
}

impl Plan {
    /// For vectors of `lanes` floats.
    fn new(config: &NcaConfig, grid: Grid, lanes: usize, bf16: Option<Bf16Unit>) -> Self {
        let (inputs, hidden, channels) = (config.perceived(), config.hidden, config.channels);
        let wide = if lanes > 8 { 2 } else { 1 };
        let cells = |floats: usize, per_cell: usize| {
            let (least, most) = (wide * ACTIVE_CELLS.0, wide * ACTIVE_CELLS.1);
            let share = (grid.cells() as f64 * config.fire_rate / MANY_TILES) as usize;
            let active = (floats / per_cell).min(share).clamp(least, most);
            ((active as f64 / config.fire_rate) as usize).min(MOST_CELLS)
        };
        let part = if hidden > SMALL_HIDDEN || bf16.is_some() {
            channels
        } else {
            channels.min(PART_CHANNELS)
        };
        // In equal shares, as a short one would be stored and loaded for little.
        let most = (DEPTH_FLOATS / (block_columns(lanes) * config.kernels())).max(1);
        let depth = channels.div_ceil(channels.div_ceil(most).max(1));
        let backward = Tiling::new(grid, cells(wide * BACKWARD_FLOATS, inputs + hidden + channels));
        let group_bytes = size_of::<f32>() * (hidden * inputs + channels * hidden);
        let groups = (GROUP_BYTES / group_bytes).clamp(GROUPS.0, GROUPS.1);
        Self {
            grid,
            hidden,
            stencil: Stencil::new(config),
            bound: bound(config),
            threshold: fire_threshold(config.fire_rate),
            part,
            depth,
            ahead: channels * grid.cells() > NEAR_FLOATS,
            forward: Tiling::new(grid, cells(FORWARD_FLOATS, inputs)),
            backward,
            groups: groups.min(backward.len()),
            bf16,
        }
    }

    /// Share of the cells that are active.
    fn fire_rate(&self) -> f64 {
        self.threshold as f64 / 2.0_f64.powi(32)
    }

    /// Active cells to expect in a backward tile, at least one.
    fn backward_active(&self) -> usize {
        let cells = self.backward.max_height() * self.backward.max_width();
        ((cells as f64 * self.fire_rate()) as usize).max(1)
    }

    /// Length of the perception vector, KC.
    fn inputs(&self) -> usize {
        self.stencil.kernels * self.stencil.channels
    }

    /// Tiles of a step forward. Who keeps activations for the backward pass works on its tiles.
    fn forward_tiling(&self, keep: bool) -> &Tiling {
        if keep { &self.backward } else { &self.forward }
    }

    fn clamped(&self) -> bool {
        self.bound < f32::INFINITY
    }

    fn mask(&self, key: MaskKey) -> Mask {
        Mask {
            seed: key.seed,
            step: key.step,
            threshold: self.threshold,
        }
    }

    /// Elements of a state.
    fn len(&self) -> usize {
        self.stencil.channels * self.grid.cells()
    }
}

/// A range of channels, `part` at a time.
fn parts(channels: Range<usize>, part: usize) -> impl Iterator<Item = Range<usize>> {
    let end = channels.end;
    channels
        .step_by(part.max(1))
        .map(move |start| start..(start + part).min(end))
}

/// Memory of a whole backward call.
#[derive(Clone, Copy)]
struct BackwardMemory {
    weights: Weights,
    grads: Shared<f32>,
    rings: Shared<f32>,
}

/// Length of the parameter gradients of a group.
struct GradLength<'a>(&'a Plan);

impl Kernel for GradLength<'_> {
    type Output = usize;
    #[inline(always)]
    fn run<S: Isa>(self, _: S) -> usize {
        GradLayout::new::<S>(self.0).len
    }
}

impl BackwardMemory {
    fn carve(carver: &mut Carver, plan: &Plan, grad_len: usize) -> Self {
        let ring = plan.stencil.channels * ring_len(&plan.backward);
        Self {
            weights: Weights::carve(carver, plan, true),
            grads: Shared(carver.take(plan.groups * grad_len)),
            rings: Shared(carver.take(plan.backward.len() * ring)),
        }
    }
}

impl Cpu {
    fn plan(&self, config: &NcaConfig, grid: Grid) -> Plan {
        Plan::new(config, grid, lanes(self.simd, grid.width), self.bf16)
    }

    /// Floats of the activations of a step ([`activations`]), 0 where none are kept.
    pub(super) fn activations_len_of(&self, config: &NcaConfig, grid: Grid) -> usize {
        if grid.cells() == 0 || check::automaton("rollout_states", config, grid).is_err() {
            return 0;
        }
        let plan = self.plan(config, grid);
        Layout::new(&plan, lanes(self.simd, grid.width)).map_or(0, |layout| layout.len())
    }

    /// Runs `steps` with the plan and the packed weights, on the backend's threads.
    pub(super) fn with_forward(
        &self,
        op: &'static str,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        keep: bool,
        steps: impl FnOnce(&Forward<'_>) -> Result<()> + Send,
    ) -> Result<()> {
        check::automaton(op, config, grid)?;
        check_params(op, config, params)?;
        if grid.cells() == 0 {
            return Ok(());
        }
        let plan = &self.plan(config, grid);
        self.install(|| {
            self.arenas.with_call(
                |carver| Weights::carve(carver, plan, false),
                |weights| {
                    let pack = Pack {
                        plan,
                        params,
                        arenas: &self.arenas,
                        weights,
                        backward: false,
                        keep,
                    };
                    dispatch(self.simd, grid.width, pack)?;
                    steps(&Forward {
                        cpu: self,
                        op,
                        plan,
                        weights,
                    })
                },
            )?
        })
    }

    /// As [`Cpu::with_forward`], for steps backward.
    pub(super) fn with_backward(
        &self,
        op: &'static str,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        steps: impl FnOnce(&Backward<'_>) -> Result<()> + Send,
    ) -> Result<()> {
        check::automaton(op, config, grid)?;
        check_params(op, config, params)?;
        if grid.cells() == 0 {
            return Ok(());
        }
        let plan = &self.plan(config, grid);
        let grad_len = dispatch(self.simd, grid.width, GradLength(plan));
        self.install(|| {
            self.arenas.with_call(
                |carver| BackwardMemory::carve(carver, plan, grad_len),
                |memory| {
                    let pack = Pack {
                        plan,
                        params,
                        arenas: &self.arenas,
                        weights: memory.weights,
                        backward: true,
                        keep: false,
                    };
                    dispatch(self.simd, grid.width, pack)?;
                    steps(&Backward {
                        cpu: self,
                        op,
                        plan,
                        grad_len,
                        memory,
                    })
                },
            )?
        })
    }
}

/// Steps forward with the same weights.
pub(super) struct Forward<'a> {
    cpu: &'a Cpu,
    op: &'static str,
    plan: &'a Plan,
    weights: Weights,
}

impl Forward<'_> {
    /// `x → x_next`, one step with the mask of `key`; keeps its activations, if there is a buffer for them.
    pub(super) fn step(
        &self,
        key: MaskKey,
        x: &Buffer,
        x_next: &mut Buffer,
        activations: Option<&mut Buffer>,
    ) -> Result<()> {
        let (plan, width) = (self.plan, self.plan.grid.width);
        check_len(self.op, "x", x.len(), plan.len())?;
        check_len(self.op, "x_next", x_next.len(), plan.len())?;
        let layout = Layout::new(plan, lanes(self.cpu.simd, width));
        let activations = layout.zip(activations).map(|(layout, buffer)| layout.clear(buffer));
        let x_next = Shared(x_next.as_mut_ptr());
        let tiling = plan.forward_tiling(activations.is_some());
        (0..tiling.len()).into_par_iter().for_each(|index| {
            let tile = ForwardTile {
                plan,
                tiling,
                activations,
                arenas: &self.cpu.arenas,
                weights: &self.weights,
                mask: plan.mask(key),
                index,
                x,
                x_next,
            };
            dispatch(self.cpu.simd, width, tile);
        });
        Ok(())
    }
}

/// Steps backward with the same weights.
pub(super) struct Backward<'a> {
    cpu: &'a Cpu,
    op: &'static str,
    plan: &'a Plan,
    grad_len: usize,
    memory: BackwardMemory,
}

impl Backward<'_> {
    /// `g_next → g_x` through the step with the mask of `key` from the state `x`, of which the activations may
    /// have been kept; adds to `grads`.
    pub(super) fn step(
        &self,
        config: &NcaConfig,
        key: MaskKey,
        x: &Buffer,
        activations: Option<&Buffer>,
        g_next: &Buffer,
        g_x: &mut Buffer,
        grads: &mut Params<Buffer>,
    ) -> Result<()> {
        let plan = self.plan;
        check_params(self.op, config, grads)?;
        check_len(self.op, "x", x.len(), plan.len())?;
        check_len(self.op, "g_next", g_next.len(), plan.len())?;
        check_len(self.op, "g_x", g_x.len(), plan.len())?;
        let (simd, width) = (self.cpu.simd, plan.grid.width);
        let layout = Layout::new(plan, lanes(simd, width));
        let activations = layout.zip(activations).map(|(layout, buffer)| layout.find(buffer));
        let (rings, group_grads) = (self.memory.rings, self.memory.grads);
        let g_x_start = Shared(g_x.as_mut_ptr());
        (0..plan.groups).into_par_iter().for_each(|group| {
            let cut = |i: usize| i * plan.backward.len() / plan.groups;
            let group = BackwardGroup {
                plan,
                arenas: &self.cpu.arenas,
                weights: &self.memory.weights,
                mask: plan.mask(key),
                tiles: cut(group)..cut(group + 1),
                x,
                activations,
                g_next,
                g_x: g_x_start,
                rings,
                grads: Shared(group_grads.get().wrapping_add(group * self.grad_len)),
            };
            dispatch(simd, width, group);
        });
        let (channels, ring_len) = (plan.stencil.channels, ring_len(&plan.backward));
        g_x.par_chunks_exact_mut(plan.grid.plane())
            .enumerate()
            .for_each(|(i, g_x)| {
                let (sample, channel) = (i / channels, i % channels);
                add_rings(plan, g_x, |tile| {
                    let tile = sample * plan.backward.per_sample() + tile;
                    // SAFETY: every tile has written its ring; nobody writes them now.
                    unsafe {
                        let start = rings.get().add((tile * channels + channel) * ring_len);
                        std::slice::from_raw_parts(start, ring_len)
                    }
                });
            });
        // SAFETY: `BackwardMemory::carve` took so much; every group has written its part.
        let group_grads = unsafe { std::slice::from_raw_parts_mut(group_grads.get(), plan.groups * self.grad_len) };
        dispatch(
            simd,
            width,
            AddGroups {
                plan,
                groups: group_grads,
                grads,
            },
        );
        Ok(())
    }
}

impl NcaStep for Cpu {
    fn nca_step_scratch(&self, _: &NcaConfig, _: Grid) -> Vec<usize> {
        Vec::new()
    }

    fn nca_step(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        x: &Buffer,
        x_next: &mut Buffer,
        _: &mut [Buffer],
    ) -> Result<()> {
        self.with_forward("nca_step", config, grid, params, false, |forward| {
            forward.step(key, x, x_next, None)
        })
    }

    fn nca_step_backward_scratch(&self, _: &NcaConfig, _: Grid) -> Vec<usize> {
        Vec::new()
    }

    fn nca_step_backward(
        &self,
        config: &NcaConfig,
        grid: Grid,
        params: &Params<Buffer>,
        key: MaskKey,
        x: &Buffer,
        g_next: &Buffer,
        g_x: &mut Buffer,
        grads: &mut Params<Buffer>,
        _: &mut [Buffer],
    ) -> Result<()> {
        self.with_backward("nca_step_backward", config, grid, params, |backward| {
            backward.step(config, key, x, None, g_next, g_x, grads)
        })
    }
}

#[cfg(test)]
mod tests {
    use super::super::Simd;
    use super::*;
    use crate::backend::{Device, upload_params, zero_params};
    use crate::config::Preset;
    use crate::params::HostParams;

    /// `x'`, `g_x` and the gradients of w1 and w2.
    fn outputs(cpu: &Cpu, config: &NcaConfig, grid: Grid) -> Vec<Vec<f32>> {
        let len = config.channels * grid.cells();
        let wave = |len: usize, f: f32| (0..len).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
        let mut params = HostParams::init(config, 0);
        params.w2 = wave(params.w2.len(), 0.7);
        let params = upload_params(cpu, &params).unwrap();
        let (x, g_next) = (
            cpu.buffer(&wave(len, 0.37)).unwrap(),
            cpu.buffer(&wave(len, 0.11)).unwrap(),
        );
        let (mut x_next, mut g_x) = (cpu.zeros(len).unwrap(), cpu.zeros(len).unwrap());
        let mut grads = zero_params(cpu, config).unwrap();
        let key = MaskKey { seed: 5, step: 6 };
        cpu.nca_step(config, grid, &params, key, &x, &mut x_next, &mut [])
            .unwrap();
        cpu.nca_step_backward(config, grid, &params, key, &x, &g_next, &mut g_x, &mut grads, &mut [])
            .unwrap();
        [x_next, g_x, grads.w1, grads.w2].map(|buffer| buffer.to_vec()).to_vec()
    }

    /// The lanes and the register tile of each instruction set, if need be on arrays, against those of the baseline.
    #[test]
    fn wide_tiles_agree_with_narrow_ones() {
        let cases = [
            (5, 13, Grid::new(2, 6, 37)),
            // The gradient of w1 by transposing the perception, and by transposing that of the hidden layer.
            (12, 40, Grid::new(1, 20, 64)),
            (33, 48, Grid::new(1, 20, 32)),
        ];
        let all = cases
            .iter()
            .flat_map(|&case| Simd::emulated().map(move |simd| (case, simd)));
        for ((channels, hidden, grid), simd) in all {
            let config = NcaConfig::preset(Preset::Distill, channels, hidden).unwrap();
            let wide = Cpu::builder().threads(1).build_emulated(simd).unwrap();
            let narrow = Cpu::builder().threads(1).simd(Simd::Portable).build().unwrap();
            let pairs = outputs(&wide, &config, grid)
                .into_iter()
                .zip(outputs(&narrow, &config, grid));
            for (wide, narrow) in pairs {
                // Sums of at most so many terms, relative to the largest.
                let terms = (grid.cells() + config.perceived() + hidden) as f32;
                let scale = narrow.iter().fold(1.0f32, |m, v| m.max(v.abs()));
                let worst = wide.iter().zip(&narrow).map(|(w, n)| (w - n).abs()).fold(0.0, f32::max);
                assert!(worst <= terms * f32::EPSILON * scale, "{simd}: {worst} of {scale}");
            }
        }
    }
}
