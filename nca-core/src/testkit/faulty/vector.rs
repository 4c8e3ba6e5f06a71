//! Operations on vectors and matrices.

use super::{Faulty, Rule};
use crate::backend::{
    Adam, AdamStep, Axpy, Backend, GatherColumns, L1, L2, Matmul, MatmulShape, Minima, Normalize, NormalizeRows,
    SortRows,
};
use crate::error::Result;

impl<B: Backend> SortRows for Faulty<B> {
    fn sort_rows(
        &self,
        rows: usize,
        len: usize,
        x: &B::Buffer,
        sorted: &mut B::Buffer,
        order: &mut B::Indices,
    ) -> Result<()> {
        let done: Result<()> = call!(self.sort_rows(rows, len, x, sorted, order); Overwrites "sorted" sorted);
        done?;
        self.after_indices("sort_rows", "order", rows * len, order)
    }

    fn sort_rows_backward(
        &self,
        rows: usize,
        len: usize,
        order: &B::Indices,
        g_sorted: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.sort_rows_backward(rows, len, order, g_sorted, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> L1 for Faulty<B> {
    fn l1(&self, weight: f64, a: &B::Buffer, b: &B::Buffer, out: &mut B::Buffer, slot: usize) -> Result<()> {
        call!(self.l1(weight, a, b, out, slot); Adds "out" out)
    }

    fn l1_backward(&self, weight: f64, a: &B::Buffer, b: &B::Buffer, g_a: &mut B::Buffer) -> Result<()> {
        call!(self.l1_backward(weight, a, b, g_a); Overwrites "g_a" g_a)
    }
}

impl<B: Backend> L2 for Faulty<B> {
    fn l2(&self, weight: f64, a: &B::Buffer, b: &B::Buffer, out: &mut B::Buffer, slot: usize) -> Result<()> {
        call!(self.l2(weight, a, b, out, slot); Adds "out" out)
    }

    fn l2_backward(&self, weight: f64, a: &B::Buffer, b: &B::Buffer, g_a: &mut B::Buffer) -> Result<()> {
        call!(self.l2_backward(weight, a, b, g_a); Overwrites "g_a" g_a)
    }
}

impl<B: Backend> Matmul for Faulty<B> {
    fn matmul(
        &self,
        shape: &MatmulShape,
        alpha: f64,
        a: &B::Buffer,
        b: &B::Buffer,
        beta: f64,
        c: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.matmul(shape, alpha, a, b, beta, c); InPlace "c" c)
    }
}

impl<B: Backend> Minima for Faulty<B> {
    fn minima(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        x: &B::Buffer,
        row_min: &mut B::Buffer,
        row_at: &mut B::Indices,
        column_min: &mut B::Buffer,
        column_at: &mut B::Indices,
    ) -> Result<()> {
        let done: Result<()> = call!(
            self.minima(batch, rows, columns, x, row_min, row_at, column_min, column_at);
            Overwrites "row_min" row_min; Overwrites "column_min" column_min
        );
        done?;
        self.after_indices("minima", "row_at", batch * rows, row_at)?;
        self.after_indices("minima", "column_at", batch * columns, column_at)
    }

    fn minima_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        row_at: &B::Indices,
        column_at: &B::Indices,
        g_row: &B::Buffer,
        g_column: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(
            self.minima_backward(batch, rows, columns, row_at, column_at, g_row, g_column, g_x);
            Overwrites "g_x" g_x
        )
    }
}

impl<B: Backend> GatherColumns for Faulty<B> {
    fn gather_columns(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        x: &B::Buffer,
        index: &B::Indices,
        y: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.gather_columns(batch, rows, columns, count, x, index, y); Overwrites "y" y)
    }

    fn gather_columns_backward(
        &self,
        batch: usize,
        rows: usize,
        columns: usize,
        count: usize,
        index: &B::Indices,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(
            self.gather_columns_backward(batch, rows, columns, count, index, g_y, g_x);
            Overwrites "g_x" g_x
        )
    }
}

impl<B: Backend> NormalizeRows for Faulty<B> {
    fn normalize_rows(
        &self,
        rows: usize,
        len: usize,
        epsilon: f64,
        x: &B::Buffer,
        y: &mut B::Buffer,
        norms: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.normalize_rows(rows, len, epsilon, x, y, norms); Overwrites "y" y; Overwrites "norms" norms)
    }

    fn normalize_rows_backward(
        &self,
        rows: usize,
        len: usize,
        y: &B::Buffer,
        norms: &B::Buffer,
        g_y: &B::Buffer,
        g_x: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.normalize_rows_backward(rows, len, y, norms, g_y, g_x); Overwrites "g_x" g_x)
    }
}

impl<B: Backend> Normalize for Faulty<B> {
    fn normalize(&self, epsilon: f64, g: &mut B::Buffer, out: &mut B::Buffer, slot: usize) -> Result<()> {
        call!(self.normalize(epsilon, g, out, slot); InPlace "g" g; Adds "out" out)
    }
}

impl<B: Backend> Adam for Faulty<B> {
    fn adam(
        &self,
        settings: &AdamStep,
        g: &B::Buffer,
        p: &mut B::Buffer,
        m: &mut B::Buffer,
        v: &mut B::Buffer,
    ) -> Result<()> {
        call!(self.adam(settings, g, p, m, v); InPlace "p" p; InPlace "m" m; InPlace "v" v)
    }
}

impl<B: Backend> Axpy for Faulty<B> {
    fn axpy(&self, alpha: f64, x: &B::Buffer, y: &mut B::Buffer) -> Result<()> {
        call!(self.axpy(alpha, x, y); Adds "y" y)
    }
}
