//! Sorting the rows of a matrix.

use nca_core::backend::{SortRows, check};
use nca_core::{Error, Result};

use crate::launch::{MAX_ROWS, launch};
use crate::machine::{Address, Shape};
use crate::module::Kernel;
use crate::{Buffer, Cuda, Indices};

const SORT_ROWS_CHUNKS: Kernel = Kernel::new("sort_rows", "sort_rows_chunks");
const SORT_ITEMS_CHUNKS: Kernel = Kernel::new("sort_rows", "sort_items_chunks");
const SORT_ROWS_MERGE: Kernel = Kernel::new("sort_rows", "sort_rows_merge");
const SORT_ROWS_BACKWARD: Kernel = Kernel::new("sort_rows", "sort_rows_backward");

/// Threads of a block, `SORTERS` in the kernels.
const SORTERS: u32 = 512;

/// Items that a block sorts in shared memory, `CHUNK` in the kernels.
const CHUNK: usize = 4096;

/// Floats that an item takes.
pub(super) const ITEM: usize = 2;

/// Items that are on their way at a time: two copies of them stay in the cache of a large GPU.
const MAX_ITEMS: usize = 1 << 21;

/// Nothing is to be written there.
const NOWHERE: Address = 0;

impl SortRows for Cuda {
    fn sort_rows(&self, rows: usize, len: usize, x: &Buffer, sorted: &mut Buffer, order: &mut Indices) -> Result<()> {
        const OP: &str = "sort_rows";
        check::shape(OP, "x", x.len(), &[rows, len])?;
        check::shape(OP, "sorted", sorted.len(), &[rows, len])?;
        check::shape(OP, "order", order.0.len(), &[rows, len])?;
        if u32::try_from(len).is_err() {
            return Err(Error::invalid("sort_rows: row length", len, "below 2^32"));
        }
        if x.len() == 0 {
            return Ok(());
        }
        if len <= CHUNK {
            return launch!(
                self,
                SORT_ROWS_CHUNKS,
                chunks(rows, len),
                x.address(),
                NOWHERE,
                sorted.address(),
                order.0.address(),
                rows as u64,
                len as u64,
            );
        }
        let group = (MAX_ITEMS / len).clamp(1, rows);
        let items = self.workspace(2 * ITEM * group * len)?;
        for first in (0..rows).step_by(group) {
            let rows = group.min(rows - first);
            launch!(
                self,
                SORT_ROWS_CHUNKS,
                chunks(rows, len),
                x.at(first * len),
                items.address(),
                NOWHERE,
                NOWHERE,
                rows as u64,
                len as u64,
            )?;
            let [mut from, mut to] = [items.address(), items.at(ITEM * group * len)];
            let mut run = CHUNK;
            while 2 * run < len {
                self.merge(rows, len, run, from, to)?;
                (from, to) = (to, from);
                run *= 2;
            }
            launch!(
                self,
                SORT_ROWS_MERGE,
                chunks(rows, len),
                from,
                NOWHERE,
                x.at(first * len),
                sorted.at(first * len),
                order.0.at(first * len),
                rows as u64,
                len as u64,
                run as u64,
            )?;
        }
        Ok(())
    }

    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &Indices,
        g_sorted: &Buffer,
        g_x: &mut Buffer,
    ) -> Result<()> {
        const OP: &str = "sort_rows_backward";
        check::shape(OP, "order", order.0.len(), &[rows, len])?;
        check::shape(OP, "g_sorted", g_sorted.len(), &[rows, len])?;
        check::shape(OP, "g_x", g_x.len(), &[rows, len])?;
        if g_x.len() == 0 {
            return Ok(());
        }
        launch!(
            self,
            SORT_ROWS_BACKWARD,
            Shape::planes(rows, len),
            order.0.address(),
            g_sorted.address(),
            g_x.address(),
            rows as u64,
            len as u64,
        )
    }
}

impl Cuda {
    /// Sorts rows of items, with as much space again at `spare`; returns where they are in the end.
    pub(super) fn sort_items(&self, rows: usize, len: usize, items: Address, spare: Address) -> Result<Address> {
        launch!(
            self,
            SORT_ITEMS_CHUNKS,
            chunks(rows, len),
            items,
            rows as u64,
            len as u64
        )?;
        let (mut from, mut to, mut run) = (items, spare, CHUNK);
        while run < len {
            self.merge(rows, len, run, from, to)?;
            (from, to) = (to, from);
            run *= 2;
        }
        Ok(from)
    }

    /// Runs of `run` items become runs of twice as many.
    fn merge(&self, rows: usize, len: usize, run: usize, from: Address, to: Address) -> Result<()> {
        launch!(
            self,
            SORT_ROWS_MERGE,
            chunks(rows, len),
            from,
            to,
            NOWHERE,
            NOWHERE,
            NOWHERE,
            rows as u64,
            len as u64,
            run as u64,
        )
    }
}

/// A block for each chunk of each row.
fn chunks(rows: usize, len: usize) -> Shape {
    Shape::grid([len.div_ceil(CHUNK) as u32, rows.min(MAX_ROWS) as u32, 1]).threads(SORTERS)
}
