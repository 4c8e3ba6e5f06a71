//! Max pooling against the oracle, bit for bit: nothing is computed, only chosen.

use proptest::prelude::*;

use super::cases::{first_of_seeds, for_all, numbers};
use super::compare::{Mismatch, compare_bits};
use super::derivative::check_gradient;
use super::host::{download, oracle, poisoned, refuses_wrong_lengths, upload};
use super::kinks::STEP_MARGIN;
use crate::backend::Backend;
use crate::error::Result;

/// `planes` pictures of `height × width`.
#[derive(Clone, Copy, Debug)]
struct Case {
    planes: usize,
    height: usize,
    width: usize,
    seed: u64,
}

impl Case {
    fn x_len(&self) -> usize {
        self.planes * self.height * self.width
    }

    fn y_len(&self) -> usize {
        self.planes * (self.height / 2) * (self.width / 2)
    }
}

fn cases(planes: usize, side: usize) -> impl Strategy<Value = Case> {
    (1..=planes, 1..=side, 1..=side, any::<u64>()).prop_map(|(planes, height, width, seed)| Case {
        planes,
        height,
        width,
        seed,
    })
}

fn forward<B: Backend>(backend: &B, case: &Case, x: &[f64]) -> Result<Vec<f64>> {
    let (x, mut y) = (upload(backend, x)?, poisoned(backend, case.y_len())?);
    backend.max_pool2(case.planes, case.height, case.width, &x, &mut y)?;
    download(backend, &y)
}

fn backward<B: Backend>(backend: &B, case: &Case, x: &[f64], g_y: &[f64]) -> Result<Vec<f64>> {
    let (x, g_y) = (upload(backend, x)?, upload(backend, g_y)?);
    let mut g_x = poisoned(backend, case.x_len())?;
    backend.max_pool2_backward(case.planes, case.height, case.width, &x, &g_y, &mut g_x)?;
    download(backend, &g_x)
}

/// Forward and backward against the oracle, odd sizes included, most blocks with ties; NaN by rule.
pub fn parity<B: Backend<Elem = f32>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(4, 40), |case| {
        let levels = numbers(case.seed, 0, case.x_len());
        let x: Vec<f64> = levels.iter().map(|v| (2.0 * v).round()).collect();
        let g_y = numbers(case.seed, 1, case.y_len());
        compare_bits(
            "max_pool2",
            "y",
            &forward(backend, case, &x)?,
            &forward(&oracle(), case, &x)?,
        )?;
        let want = backward(&oracle(), case, &x, &g_y)?;
        compare_bits("max_pool2_backward", "g_x", &backward(backend, case, &x, &g_y)?, &want)?;
        lengths(backend, case)
    })?;
    let one = Case {
        planes: 1,
        height: 2,
        width: 2,
        seed: 0,
    };
    for nan in 0..4 {
        let mut x = [1.0; 4];
        x[nan] = f64::NAN;
        compare_bits(
            "max_pool2",
            "y of a block with NaN",
            &forward(backend, &one, &x)?,
            &[f64::NAN],
        )?;
    }
    Ok(())
}

fn lengths<B: Backend>(backend: &B, case: &Case) -> Result<(), Mismatch> {
    let Case {
        planes, height, width, ..
    } = *case;
    let buffer = |wrong, i, len| backend.zeros(len + usize::from(i == wrong));
    refuses_wrong_lengths("max_pool2", 2, |wrong| {
        let (x, mut y) = (buffer(wrong, 0, case.x_len())?, buffer(wrong, 1, case.y_len())?);
        backend.max_pool2(planes, height, width, &x, &mut y)
    })?;
    refuses_wrong_lengths("max_pool2_backward", 3, |wrong| {
        let (x, g_y) = (buffer(wrong, 0, case.x_len())?, buffer(wrong, 1, case.y_len())?);
        backend.max_pool2_backward(planes, height, width, &x, &g_y, &mut buffer(wrong, 2, case.x_len())?)
    })
}

/// Backward against differences, where no two elements of a block are near each other.
pub fn gradient<B: Backend<Elem = f64>>(backend: &B) -> Result<(), Mismatch> {
    for_all(&cases(2, 7), |case| {
        let (x, g_y) = first_of_seeds(case.seed, "max_pool2", |seed| {
            let x = numbers(seed, 0, case.x_len());
            let mut sorted = x.clone();
            sorted.sort_by(f64::total_cmp);
            let clear = sorted.windows(2).all(|pair| pair[1] - pair[0] >= STEP_MARGIN);
            clear.then(|| (x, numbers(seed, 1, case.y_len())))
        })?;
        let g_x = backward(backend, case, &x, &g_y)?;
        check_gradient("max_pool2_backward", "g_x", &x, &g_x, &g_y, |x| {
            forward(backend, case, x)
        })
    })
}
