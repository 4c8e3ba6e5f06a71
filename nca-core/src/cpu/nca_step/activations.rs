//! Hidden layers kept for the backward pass, which need not compute them again.
//!
//! They are those of the active cells, tile by tile of the backward tiling. Tiles take room as they come, so where
//! a tile's lie depends on chance, but not what they are; a tile that finds no room is computed again.

// One array holds offsets and vectors.
#![allow(unsafe_code)]

use std::sync::atomic::{AtomicU32, Ordering};

use super::super::Buffer;
use super::super::arena::Shared;
use super::super::gemm::Strided;
use super::super::simd::Isa;
use super::{Plan, SMALL_HIDDEN};

/// Fewest channels for which the hidden layer is kept: with fewer it is computed again in less time than memory
/// takes to store and to load it.
const LEAST_CHANNELS: usize = 24;
/// Room beyond the expected number of active cells, in standard deviations.
const DEVIATIONS: f64 = 4.0;
/// Where a tile has found no room.
const NOWHERE: u32 = u32::MAX;
/// Floats in a cache line.
const LINE: usize = 16;

/// How an array of activations is laid out: the number of vectors taken, alone in its cache line; the first vector
/// of each tile; then the vectors, D rows of them for each block of columns.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    hidden: usize,
    lanes: usize,
    tiles: usize,
    /// Vectors of cells that have room.
    vectors: usize,
}

impl Layout {
    /// For vectors of `lanes` cells; `None` where keeping does not pay.
    pub(super) fn new(plan: &Plan, lanes: usize) -> Option<Self> {
        let (channels, hidden, tiles) = (plan.stencil.channels, plan.hidden, plan.backward.len());
        // Units for bf16 compute it again in less time than memory takes.
        if plan.bf16.is_some() {
            return None;
        }
        // Small hidden layers are summed up part by part, by tiles of their own.
        if channels < LEAST_CHANNELS || hidden <= SMALL_HIDDEN {
            return None;
        }
        let (cells, rate) = (plan.grid.cells() as f64, plan.fire_rate());
        let active = (cells * rate + DEVIATIONS * (cells * rate * (1.0 - rate)).sqrt()).min(cells);
        // On average half the last vector of a tile is empty.
        let vectors = (active / lanes as f64) as usize + tiles;
        // The numbers of all, even of those that find no room, must stay below `NOWHERE`.
        u32::try_from(plan.grid.cells() / lanes + 2 * tiles).ok()?;
        Some(Self {
            hidden,
            lanes,
            tiles,
            vectors,
        })
    }

    /// Floats before the vectors.
    fn head(&self) -> usize {
        LINE + self.tiles.next_multiple_of(LINE)
    }

    /// Floats of the array.
    pub(super) fn len(&self) -> usize {
        self.head() + self.vectors * self.lanes * self.hidden
    }

    fn activations(self, len: usize, start: *mut f32) -> Activations {
        assert_eq!(len, self.len(), "callers check the length (`check::activations`)");
        Activations {
            layout: self,
            start: Shared(start),
        }
    }

    /// The activations in `buffer`, none of them yet.
    pub(super) fn clear(self, buffer: &mut Buffer) -> Activations {
        buffer[0] = f32::from_bits(0);
        self.activations(buffer.len(), buffer.as_mut_ptr())
    }

    /// The activations that a step has left in `buffer`, to be read only.
    pub(super) fn find(self, buffer: &Buffer) -> Activations {
        self.activations(buffer.len(), buffer.as_ptr().cast_mut())
    }
}

/// The activations of a step.
#[derive(Clone, Copy)]
pub(super) struct Activations {
    layout: Layout,
    start: Shared<f32>,
}

impl Activations {
    /// Takes room for `vectors` vectors of cells of a tile.
    ///
    /// # Safety
    /// The array must be writable ([`Layout::clear`]), the tile one of the plan's that nobody else is at work on.
    pub(super) unsafe fn take(&self, tile: usize, vectors: usize) -> Option<*mut f32> {
        // SAFETY: the first element, which has the size and alignment of an atomic.
        let taken = unsafe { AtomicU32::from_ptr(self.start.get().cast()) };
        let first = taken.fetch_add(vectors as u32, Ordering::Relaxed);
        let fits = self.fits(first, vectors);
        // SAFETY: every tile has its element, and this one is its owner's.
        unsafe { self.first(tile).write(if fits { first } else { NOWHERE }) };
        fits.then(|| self.vector(first))
    }

    /// Where those of a tile are that has `vectors` vectors of cells, if they are kept.
    ///
    /// # Safety
    /// The tile must be one of the plan's. Whatever the array holds, what is returned lies within it.
    pub(super) unsafe fn get(&self, tile: usize, vectors: usize) -> Option<*const f32> {
        // SAFETY: every tile has its element.
        let first = unsafe { self.first(tile).read() };
        self.fits(first, vectors).then(|| self.vector(first).cast_const())
    }

    /// Whether that many vectors have room from `first` on: never from [`NOWHERE`].
    fn fits(&self, first: u32, vectors: usize) -> bool {
        (first as usize)
            .checked_add(vectors)
            .is_some_and(|end| end <= self.layout.vectors)
    }

    fn first(&self, tile: usize) -> *mut u32 {
        self.start.get().wrapping_add(LINE + tile).cast()
    }

    fn vector(&self, number: u32) -> *mut f32 {
        let Layout { hidden, lanes, .. } = self.layout;
        self.start
            .get()
            .wrapping_add(self.layout.head() + number as usize * lanes * hidden)
    }
}

/// Stores the rows of a block of `vectors` vectors as activations.
///
/// # Safety
/// The rows must be valid and must not overlap; `to` must come from [`Activations::take`].
#[inline(always)]
pub(super) unsafe fn store_block<S: Isa>(s: S, rows: usize, vectors: usize, from: Strided, to: *mut f32) {
    // SAFETY: the caller's condition.
    unsafe {
        for row in 0..rows {
            for v in 0..vectors {
                let value = s.load(from.start.add(row * from.stride + v * S::LANES));
                s.store(to.add((row * vectors + v) * S::LANES), value);
            }
        }
    }
}

/// Loads what [`store_block`] stored.
///
/// # Safety
/// As there, with `from` from [`Activations::get`].
#[inline(always)]
pub(super) unsafe fn load_block<S: Isa>(s: S, rows: usize, vectors: usize, from: *const f32, to: *mut f32, ld: usize) {
    // SAFETY: the caller's condition.
    unsafe {
        for row in 0..rows {
            for v in 0..vectors {
                let value = s.load(from.add((row * vectors + v) * S::LANES));
                s.store(to.add(row * ld + v * S::LANES), value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::Cpu;
    use super::*;
    use crate::backend::{Device, MaskKey, RolloutSteps, upload_params, zero_params};
    use crate::config::{Grid, NcaConfig, Preset};
    use crate::params::HostParams;

    #[test]
    fn tiles_find_their_room_again_or_have_none() {
        let layout = Layout {
            hidden: 3,
            lanes: 4,
            tiles: 4,
            vectors: 10,
        };
        let mut buffer = Buffer::zeros(layout.len()).unwrap();
        buffer.fill(f32::NAN);
        let activations = layout.clear(&mut buffer);
        // SAFETY: the layout has four tiles, and nobody else writes them.
        let taken = [(2, 5), (0, 0), (3, 6), (1, 1)].map(|(tile, vectors)| unsafe { activations.take(tile, vectors) });
        assert!(taken[0].is_some() && taken[1].is_some(), "they fit");
        assert!(taken[2].is_none(), "5 + 6 vectors of 10");
        for ((tile, vectors), taken) in [(2, 5), (0, 0), (3, 6)].into_iter().zip(taken) {
            // SAFETY: as above.
            let found = unsafe { layout.find(&buffer).get(tile, vectors) };
            assert_eq!(found.map(<*const f32>::cast_mut), taken);
        }
        // Whatever the array holds, nothing beyond it is found.
        for (value, vectors, found) in [(0.0, 10, true), (0.0, 11, false), (f32::NAN, 1, false), (1.0, 0, false)] {
            let mut other = Buffer::zeros(layout.len()).unwrap();
            other.fill(value);
            // SAFETY: as above.
            let place = unsafe { layout.find(&other).get(3, vectors) };
            assert_eq!(place.is_some(), found, "{value}, {vectors}");
        }
        let start = taken[0].unwrap() as usize - buffer.as_ptr() as usize;
        assert_eq!(start, layout.head() * size_of::<f32>());
        assert_eq!(layout.len(), layout.head() + 10 * 12);
    }

    /// Some tiles compute their hidden layer again, as if they had found no room; with clamp, the update too.
    #[test]
    fn a_tile_without_room_is_computed_again() {
        for preset in [Preset::Paper, Preset::Notebook] {
            let cpu = Cpu::builder().threads(2).build().unwrap();
            let config = NcaConfig::preset(preset, 33, 41).unwrap();
            let grid = Grid::new(2, 29, 67);
            let lanes = super::super::lanes(cpu.simd(), grid.width);
            let layout = Layout::new(&cpu.plan(&config, grid), lanes).unwrap();
            assert!(layout.tiles > 3, "{layout:?}");
            let len = config.channels * grid.cells();
            let wave = |f: f32| (0..len).map(|i| (i as f32 * f).sin()).collect::<Vec<_>>();
            let mut params = HostParams::init(&config, 0);
            params.w2 = (0..params.w2.len()).map(|i| (i as f32 * 0.7).sin()).collect();
            let params = upload_params(&cpu, &params).unwrap();
            let mut states = [cpu.buffer(&wave(0.37)).unwrap()];
            let (mut last, mut spare) = (cpu.zeros(len).unwrap(), cpu.zeros(len).unwrap());
            let mut kept = [cpu.zeros(layout.len()).unwrap()];
            let key = MaskKey { seed: 5, step: 6 };
            cpu.rollout_states(&config, grid, &params, key, &mut states, &mut last, &mut kept, &mut [])
                .unwrap();
            let mut gradients = |kept: &[Buffer]| {
                let (mut g, mut grads) = (cpu.buffer(&wave(0.11)).unwrap(), zero_params(&cpu, &config).unwrap());
                cpu.rollout_backward(
                    &config,
                    grid,
                    &params,
                    key,
                    &states,
                    kept,
                    &mut g,
                    &mut spare,
                    &mut grads,
                    &mut [],
                )
                .unwrap();
                [&g, &grads.w1, &grads.b1, &grads.w2].map(|buffer| buffer.to_vec())
            };
            let expected = gradients(&[]);
            let all = gradients(&kept);
            let (head, vectors) = (layout.head(), kept[0][layout.head()..].to_vec());
            for tile in [0, 2] {
                kept[0][LINE + tile] = f32::from_bits(NOWHERE);
            }
            let some = gradients(&kept);
            // What is kept is what is used: other numbers give another gradient.
            kept[0][head..]
                .iter_mut()
                .zip(&vectors)
                .for_each(|(v, old)| *v = 2.0 * old);
            let other = gradients(&kept);
            assert!(all == expected && some == expected, "{preset}, {}", cpu.simd());
            assert!(other[3] != expected[3], "{preset}");
        }
    }
}
