//! The sum of the parameter gradients of all groups of tiles.

use rayon::prelude::*;

use super::super::Buffer;
use super::super::simd::{Isa, Kernel};
use super::Plan;
use super::backward::GradLayout;
use crate::params::Params;

/// Elements a task adds up.
const PART: usize = 4096;

/// Adds the gradients of all groups, in their order, to `grads`.
pub(super) struct AddGroups<'a> {
    pub(super) plan: &'a Plan,
    /// One [`GradLayout`] after the other; the first is used as the sum.
    pub(super) groups: &'a mut [f32],
    pub(super) grads: &'a mut Params<Buffer>,
}

impl Kernel for AddGroups<'_> {
    type Output = ();
    #[inline(always)]
    fn run<S: Isa>(self, _: S) {
        add_groups(self.plan, &GradLayout::new::<S>(self.plan), self.groups, self.grads);
    }
}

fn add_groups(plan: &Plan, layout: &GradLayout, groups: &mut [f32], grads: &mut Params<Buffer>) {
    let (sums, rest) = groups.split_at_mut(layout.len);
    sums.par_chunks_mut(PART).enumerate().for_each(|(i, sums)| {
        for group in rest.chunks_exact(layout.len) {
            for (sum, &v) in sums.iter_mut().zip(&group[i * PART..]) {
                *sum += v;
            }
        }
    });
    let sums = &*sums;
    let (kernels, channels) = (plan.stencil.kernels, plan.stencil.channels);
    let w1 = |row: usize, column: usize| sums[layout.matrices.w1(row, column)];
    add_matrix(w1, kernels, channels, &mut grads.w1);
    let w2 = |row: usize, column: usize| sums[layout.w2_start + layout.matrices.w2(row, column)];
    add_matrix(w2, 1, plan.hidden, &mut grads.w2);
    add_vector(&sums[layout.b1_start..], &mut grads.b1);
    if let Some(b2) = &mut grads.b2 {
        add_vector(&sums[layout.b2_start..], b2);
    }
}

/// Adds a product to a row-major matrix: column `i·kernels + k` of the product to column
/// `k·inputs + i` of the matrix.
fn add_matrix(product: impl Fn(usize, usize) -> f32 + Sync, kernels: usize, inputs: usize, to: &mut [f32]) {
    to.par_chunks_exact_mut(kernels * inputs)
        .enumerate()
        .for_each(|(row, to)| {
            for (kernel, to) in to.chunks_exact_mut(inputs).enumerate() {
                for (input, to) in to.iter_mut().enumerate() {
                    *to += product(row, input * kernels + kernel);
                }
            }
        });
}

fn add_vector(sums: &[f32], to: &mut [f32]) {
    for (to, &v) in to.iter_mut().zip(sums) {
        *to += v;
    }
}
