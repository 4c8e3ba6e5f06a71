//! Products of matrices against the oracle, and the products that are their gradients.

use proptest::prelude::*;

use super::cases::{for_all, numbers};
use super::compare::{Mismatch, Tolerance, compare};
use super::derivative::check_gradient;
use super::host::{absolute, download, oracle, poisoned, refuses_wrong_lengths, upload};
use crate::backend::{Backend, MatmulShape};
use crate::error::Result;

/// A product and which of its operands all products of the batch share.
#[derive(Clone, Copy, Debug)]
struct Case {
    shape: MatmulShape,
    share_a: bool,
    share_b: bool,
    alpha: f64,
    beta: f64,
    seed: u64,
}

impl Case {
    fn lengths(&self) -> [usize; 3] {
        let shape = &self.shape;
        let count = |shared| if shared { 1 } else { shape.batch };
        [
            count(self.share_a) * shape.a_len(),
            count(self.share_b) * shape.b_len(),
            shape.batch * shape.c_len(),
        ]
    }
}

fn cases(batch: usize, side: impl Strategy<Value = usize> + Clone) -> impl Strategy<Value = Case> {
    (
        (1..=batch, side.clone(), side.clone(), side),
        any::<[bool; 4]>(),
        (
            proptest::sample::select(vec![1.0, -0.5]),
            proptest::sample::select(vec![0.0, 1.0, -2.0]),
        ),
        any::<u64>(),
    )
        .prop_map(
            |(sizes, [transpose_a, transpose_b, share_a, share_b], (alpha, beta), seed)| Case {
                shape: MatmulShape {
                    transpose_a,
                    transpose_b,
                    ..MatmulShape::new(sizes.0, sizes.1, sizes.2, sizes.3)
                },
                share_a,
                share_b,
                alpha,
                beta,
                seed,
            },
        )
}

/// `alpha·op(A)·op(B) + beta·C`; where `beta` is 0, C is NaN before.
fn product<B: Backend>(
    backend: &B,
    shape: &MatmulShape,
    alpha: f64,
    a: &[f64],
    b: &[f64],
    beta: f64,
    c: &[f64],
) -> Result<Vec<f64>> {
    let (a, b) = (upload(backend, a)?, upload(backend, b)?);
    let mut c = if beta == 0.0 {
        poisoned(backend, c.len())?
    } else {
        upload(backend, c)?
    };
    backend.matmul(shape, alpha, &a, &b, beta, &mut c)?;
    download(backend, &c)
}

/// Products against the oracle: transposed, shared, scaled, accumulated.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    // Now and then beyond a tile of the CPU's. (A GPU's largest tiles want many products: they are its own tests' affair.)
    let side = prop_oneof![4 => 1..=20_usize, 1 => 60..=70_usize, 1 => 120..=300_usize];
    for_all(&cases(3, side), |case| {
        let (shape, [a_len, b_len, c_len]) = (&case.shape, case.lengths());
        let a = numbers(case.seed, 0, a_len);
        let b = numbers(case.seed, 1, b_len);
        let c = numbers(case.seed, 2, c_len);
        let got = product(backend, shape, case.alpha, &a, &b, case.beta, &c)?;
        let want = product(&oracle(), shape, case.alpha, &a, &b, case.beta, &c)?;
        let (alpha, beta) = (case.alpha.abs(), case.beta.abs());
        let magnitude = product(
            &oracle(),
            shape,
            alpha,
            &absolute(&a),
            &absolute(&b),
            beta,
            &absolute(&c),
        )?;
        compare(
            "matmul",
            "c",
            &got,
            &want,
            &magnitude,
            Tolerance::products(backend.precision().of_gradients(), shape.inner, 1),
        )?;
        lengths(backend, case)
    })
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let lengths = case.lengths();
    refuses_wrong_lengths("matmul", 3, |wrong| {
        let buffer = |i: usize| backend.zeros(lengths[i] + usize::from(i == wrong));
        backend.matmul(
            &case.shape,
            case.alpha,
            &buffer(0)?,
            &buffer(1)?,
            case.beta,
            &mut buffer(2)?,
        )
    })
}

/// The gradients that the trait's documentation states, against differences.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(2, 1..=6_usize), |case| {
        let case = Case {
            share_a: false,
            share_b: false,
            ..*case
        };
        let (shape, alpha, [a_len, b_len, c_len]) = (&case.shape, case.alpha, case.lengths());
        let a = numbers(case.seed, 0, a_len);
        let b = numbers(case.seed, 1, b_len);
        let g_c = numbers(case.seed, 2, c_len);
        let forward = |a: &[f64], b: &[f64]| product(backend, shape, alpha, a, b, 0.0, &g_c);
        let MatmulShape {
            batch,
            rows,
            inner,
            columns,
            transpose_a,
            transpose_b,
        } = *shape;

        // g_op(A) = alpha·g_C·op(B)ᵀ, or transposed alpha·op(B)·g_Cᵀ.
        let g_a = if transpose_a {
            let shape = MatmulShape {
                transpose_a: transpose_b,
                ..MatmulShape::new(batch, inner, columns, rows).transpose_b()
            };
            product(backend, &shape, alpha, &b, &g_c, 0.0, &a)?
        } else {
            let shape = MatmulShape {
                transpose_b: !transpose_b,
                ..MatmulShape::new(batch, rows, columns, inner)
            };
            product(backend, &shape, alpha, &g_c, &b, 0.0, &a)?
        };
        check_gradient("matmul", "g_a", &a, &g_a, &g_c, |a| forward(a, &b))?;

        // g_op(B) = alpha·op(A)ᵀ·g_C, or transposed alpha·g_Cᵀ·op(A).
        let g_b = if transpose_b {
            let shape = MatmulShape {
                transpose_b: transpose_a,
                ..MatmulShape::new(batch, columns, rows, inner).transpose_a()
            };
            product(backend, &shape, alpha, &g_c, &a, 0.0, &b)?
        } else {
            let shape = MatmulShape {
                transpose_a: !transpose_a,
                ..MatmulShape::new(batch, inner, rows, columns)
            };
            product(backend, &shape, alpha, &a, &g_c, 0.0, &b)?
        };
        check_gradient("matmul", "g_b", &b, &g_b, &g_c, |b| forward(&a, b))
    })
}
