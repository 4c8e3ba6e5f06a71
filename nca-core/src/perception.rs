//! Perception kernels as data: the fixed 3×3 filters through which a cell sees its neighbourhood.

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// A 3×3 filter in row-major order, applied as a cross-correlation: `kernel[dy][dx]` weighs the
/// cell at `(y + dy − 1, x + dx − 1)`.
pub type Kernel = [[f64; 3]; 3];

/// The cell itself.
pub const IDENTITY: Kernel = [[0.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 0.0]];
/// Horizontal gradient.
pub const SOBEL_X: Kernel = [[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]];
/// Vertical gradient, the transpose of [`SOBEL_X`].
pub const SOBEL_Y: Kernel = [[-1.0, -2.0, -1.0], [0.0, 0.0, 0.0], [1.0, 2.0, 1.0]];
/// Nine-point Laplacian with weights 1, 2 and −12 (`paper`, `distill`).
pub const LAPLACIAN_12: Kernel = [[1.0, 2.0, 1.0], [2.0, -12.0, 2.0], [1.0, 2.0, 1.0]];
/// Nine-point Laplacian with weights 1 and −8 (`notebook`).
pub const LAPLACIAN_8: Kernel = [[1.0, 1.0, 1.0], [1.0, -8.0, 1.0], [1.0, 1.0, 1.0]];

fn scaled(kernel: &Kernel, factor: f64) -> Kernel {
    kernel.map(|row| row.map(|w| w * factor))
}

/// The K kernels of a model; each is applied to every channel.
///
/// The perception vector is kernel-major: kernel `k` of channel `c` is entry `k·C + c`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Perception {
    /// The filters, in the order of the perception vector.
    pub kernels: Vec<Kernel>,
}

impl Perception {
    /// Most kernels a model may have.
    pub const MAX_KERNELS: usize = 16;

    /// Identity, Sobel-x, Sobel-y, Laplacian (centre −12), unnormalised: the paper's.
    #[must_use]
    pub fn paper() -> Self {
        Self {
            kernels: vec![IDENTITY, SOBEL_X, SOBEL_Y, LAPLACIAN_12],
        }
    }

    /// Sobel-x, Sobel-y, Laplacian (centre −8), identity, unnormalised: the notebook's.
    #[must_use]
    pub fn notebook() -> Self {
        Self {
            kernels: vec![SOBEL_X, SOBEL_Y, LAPLACIAN_8, IDENTITY],
        }
    }

    /// As [`Perception::paper`] with every filter but the identity divided by 8: that of Niklasson
    /// et al., *Self-Organising Textures*, Distill 2021.
    #[must_use]
    pub fn distill() -> Self {
        Self {
            kernels: vec![
                IDENTITY,
                scaled(&SOBEL_X, 0.125),
                scaled(&SOBEL_Y, 0.125),
                scaled(&LAPLACIAN_12, 0.125),
            ],
        }
    }

    /// Number of kernels, K.
    #[must_use]
    pub fn len(&self) -> usize {
        self.kernels.len()
    }

    /// Whether there is no kernel at all (never in a valid model).
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.kernels.is_empty()
    }

    /// Between 1 and [`Self::MAX_KERNELS`] kernels with finite weights.
    pub fn validate(&self) -> Result<()> {
        if self.is_empty() || self.len() > Self::MAX_KERNELS {
            return Err(Error::invalid(
                "number of perception kernels",
                self.len(),
                format!("1 to {}", Self::MAX_KERNELS),
            ));
        }
        for (k, kernel) in self.kernels.iter().enumerate() {
            if let Some(w) = kernel.iter().flatten().find(|w| !w.is_finite()) {
                return Err(Error::invalid(
                    format!("weight of perception kernel {k}"),
                    w,
                    "a finite number",
                ));
            }
        }
        Ok(())
    }
}
