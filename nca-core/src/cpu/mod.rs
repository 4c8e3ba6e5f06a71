//! The fast CPU backend: f32, or factors in bf16; explicit SIMD chosen at run time, rayon.

mod adam;
mod arena;
mod avg_pool2;
mod axpy;
mod bf16;
mod buffer;
mod builder;
mod channel_affine;
mod conv2d;
mod device;
mod flow_magnitude;
mod gather_columns;
mod gemm;
mod l1;
mod l2;
mod matmul;
mod max_pool2;
mod minima;
mod mlp;
mod nca_step;
mod normalize;
mod normalize_rows;
mod overflow;
mod perceive;
mod reduce;
mod relu;
mod resize;
mod rgb;
mod rollout;
mod simd;
mod sort_rows;
mod update;
mod upsample2;
mod warp;

pub use bf16::Bf16Unit;
pub use buffer::{Buffer, Indices};
pub use builder::{Builder, ConvAlgorithm, Simd};

use std::sync::Arc;

use rayon::ThreadPool;

use self::arena::Arenas;
use crate::error::Result;

/// The CPU as a backend, in f32 or with factors in bf16 ([`Builder::precision`]).
///
/// Results do not depend on the number of threads, to the bit; they may differ in the last bits
/// between instruction sets.
///
/// ```
/// use nca_core::backend::Device;
/// use nca_core::cpu::Cpu;
/// let cpu = Cpu::with_threads(2)?;
/// assert_eq!(cpu.name(), "cpu");
/// # Ok::<(), nca_core::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Cpu {
    /// `None`: rayon's global pool.
    pool: Option<Arc<ThreadPool>>,
    threads: usize,
    simd: Simd,
    conv: ConvAlgorithm,
    /// What multiplies bf16, if that is the precision.
    bf16: Option<Bf16Unit>,
    arenas: Arc<Arenas>,
}

impl Cpu {
    /// All the threads rayon would use (`RAYON_NUM_THREADS`, else one a core) and the best
    /// instruction set of this machine, or the one the environment variable `NCA_SIMD` names; for each
    /// convolution the cheaper algorithm, or the one `NCA_CONV` names.
    ///
    /// An `NCA_SIMD` that is unknown or that this machine cannot run is an error, as is an unknown
    /// `NCA_CONV`.
    pub fn new() -> Result<Self> {
        Self::builder().build()
    }

    /// As [`Cpu::new`] with `threads` threads of its own (at least 1).
    ///
    /// They are the backend's alone. What the other crates compute beside a backend runs on rayon's global pool, whose threads
    /// `RAYON_NUM_THREADS` limits: built-in exemplars, classical flow, synthetic pairs of frames and the bootstrap of reports.
    pub fn with_threads(threads: usize) -> Result<Self> {
        Self::builder().threads(threads).build()
    }

    /// Every setting by name.
    #[must_use]
    pub fn builder() -> Builder {
        Builder::default()
    }

    /// Number of threads.
    #[must_use]
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// Instruction set of the kernels.
    #[must_use]
    pub fn simd(&self) -> Simd {
        self.simd
    }

    /// Algorithm of convolutions.
    #[must_use]
    pub fn conv(&self) -> ConvAlgorithm {
        self.conv
    }

    /// What multiplies bf16, if that is the precision.
    #[must_use]
    pub fn bf16(&self) -> Option<Bf16Unit> {
        self.bf16
    }

    /// Runs `job` on this backend's threads.
    fn install<R: Send>(&self, job: impl FnOnce() -> R + Send) -> R {
        match &self.pool {
            Some(pool) => pool.install(job),
            None => job(),
        }
    }
}
