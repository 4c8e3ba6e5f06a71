//! Settings of the backend.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use rayon::ThreadPoolBuilder;

use super::arena::Arenas;
use super::{Bf16Unit, Cpu, bf16};
use crate::error::{Error, Result};
use crate::precision::Precision;

/// An instruction set the kernels are compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Simd {
    /// x86-64 with AVX-512F: 16 lanes.
    Avx512,
    /// x86-64 with AVX2 and FMA: 8 lanes.
    Avx2,
    /// AArch64, which always has it: 4 lanes.
    Neon,
    /// Whatever the compiler makes of arrays for the baseline of the target (as SSE2): 4 lanes.
    Portable,
}

impl Simd {
    /// Every instruction set, best first.
    pub const ALL: [Self; 4] = [Self::Avx512, Self::Avx2, Self::Neon, Self::Portable];

    /// Its name in `NCA_SIMD`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Avx512 => "avx512",
            Self::Avx2 => "avx2",
            Self::Neon => "neon",
            Self::Portable => "portable",
        }
    }

    /// Whether this machine can run it.
    #[must_use]
    pub fn available(self) -> bool {
        match self {
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => std::arch::is_x86_feature_detected!("avx512f") && Self::Avx2.available(),
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma"),
            #[cfg(not(target_arch = "x86_64"))]
            Self::Avx512 | Self::Avx2 => false,
            Self::Neon => cfg!(target_arch = "aarch64"),
            Self::Portable => true,
        }
    }

    /// Those whose tiles run here, be it on arrays.
    #[cfg(test)]
    pub(super) fn emulated() -> impl Iterator<Item = Self> {
        let arrays = |simd| matches!(simd, Self::Avx512 | Self::Neon);
        Self::ALL
            .into_iter()
            .filter(move |&simd| arrays(simd) || simd.available())
    }

    /// The best instruction set of this machine.
    #[must_use]
    pub fn detect() -> Self {
        Self::ALL
            .into_iter()
            .find(|simd| simd.available())
            .unwrap_or(Self::Portable)
    }
}

const EXPECTED_NAMES: &str = "avx512, avx2, neon or portable";
const EXPECTED_ALGORITHMS: &str = "auto, direct, fft or winograd";

impl fmt::Display for Simd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Simd {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|simd| simd.name() == name)
            .ok_or_else(|| Error::invalid("NCA_SIMD", name, EXPECTED_NAMES))
    }
}

/// How convolutions are computed.
///
/// Fourier transforms need far fewer operations for large kernels and many channels, Winograd's algorithm
/// for kernels of 3 × 3. Their rounding errors are relative to the largest numbers within a tile (16 × 16
/// and 6 × 6 inputs) around an output, not to its own terms.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum ConvAlgorithm {
    /// Whatever costs less for the shape.
    #[default]
    Auto,
    /// Products of filters and shifted images; in bf16, if that is the precision (but gradients of filters for which that
    /// would take more than 64 MiB).
    Direct,
    /// Fourier transforms of tiles, wherever a kernel fits a tile (16 × 16).
    Fft,
    /// Winograd's F(4 × 4, 3 × 3) for 3 × 3 kernels, but not for gradients of weights; those and other
    /// kernels directly.
    Winograd,
}

impl ConvAlgorithm {
    /// Every algorithm.
    pub const ALL: [Self; 4] = [Self::Auto, Self::Direct, Self::Fft, Self::Winograd];

    /// Its name in `NCA_CONV`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Direct => "direct",
            Self::Fft => "fft",
            Self::Winograd => "winograd",
        }
    }
}

impl fmt::Display for ConvAlgorithm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for ConvAlgorithm {
    type Err = Error;
    fn from_str(name: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|algorithm| algorithm.name() == name)
            .ok_or_else(|| Error::invalid("NCA_CONV", name, EXPECTED_ALGORITHMS))
    }
}

/// The value of an environment variable, if it is set.
fn environment<T: FromStr<Err = Error>>(variable: &'static str, expected: &str) -> Result<Option<T>> {
    match std::env::var(variable) {
        Ok(name) => name.parse().map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(name)) => Err(Error::invalid(variable, name.to_string_lossy(), expected)),
    }
}

/// Settings of a [`Cpu`]: what is not set is chosen as [`Cpu::new`] says.
#[derive(Clone, Copy, Debug, Default)]
pub struct Builder {
    threads: Option<usize>,
    simd: Option<Simd>,
    conv: Option<ConvAlgorithm>,
    precision: Precision,
    bf16: Option<Bf16Unit>,
}

impl Builder {
    /// Number of threads, at least 1; [`Cpu::with_threads`] says what they do not limit.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// Instruction set; takes precedence over `NCA_SIMD`.
    #[must_use]
    pub fn simd(mut self, simd: Simd) -> Self {
        self.simd = Some(simd);
        self
    }

    /// Algorithm of convolutions; takes precedence over `NCA_CONV`.
    #[must_use]
    pub fn conv(mut self, conv: ConvAlgorithm) -> Self {
        self.conv = Some(conv);
        self
    }

    /// What factors are rounded to in the fused step and its gradient, and in convolutions and their gradients
    /// where that is cheaper than transforms in f32: f32 (not at all) or bf16, which asks for a processor that
    /// multiplies it ([`Bf16Unit::detect`]) unless [`Builder::bf16`] says otherwise. All else is f32.
    #[must_use]
    pub fn precision(mut self, precision: Precision) -> Self {
        self.precision = precision;
        self
    }

    /// What multiplies bf16, if that is the precision; takes precedence over `NCA_BF16`.
    #[must_use]
    pub fn bf16(mut self, bf16: Bf16Unit) -> Self {
        self.bf16 = Some(bf16);
        self
    }

    /// The backend. Errors: no thread at all, threads the system refuses, an instruction set or a precision this
    /// machine lacks.
    pub fn build(self) -> Result<Cpu> {
        let simd = match self.simd {
            Some(simd) => simd,
            None => environment("NCA_SIMD", EXPECTED_NAMES)?.unwrap_or_else(Simd::detect),
        };
        self.build_for(simd, simd.available())
    }

    /// A backend for an instruction set the machine may lack; the kernels then run on arrays.
    #[cfg(test)]
    pub(super) fn build_emulated(self, simd: Simd) -> Result<Cpu> {
        self.build_for(simd, true)
    }

    fn build_for(self, simd: Simd, available: bool) -> Result<Cpu> {
        if !available {
            return Err(Error::invalid(
                "instruction set (NCA_SIMD)",
                simd,
                format!("one this machine has, at best {}", Simd::detect()),
            ));
        }
        let conv = match self.conv {
            Some(conv) => conv,
            None => environment("NCA_CONV", EXPECTED_ALGORITHMS)?.unwrap_or_default(),
        };
        let bf16 = match self.precision {
            Precision::F32 => None,
            Precision::Bf16 => Some(self.unit()?),
            other => return Err(Error::invalid("precision", other, "f32 or bf16 on the CPU")),
        };
        let pool = match self.threads {
            Some(0) => return Err(Error::invalid("number of threads", 0, "at least 1")),
            Some(threads) => {
                let pool = ThreadPoolBuilder::new()
                    .num_threads(threads)
                    .thread_name(|i| format!("nca-cpu-{i}"))
                    .build()
                    .map_err(|error| Error::Device {
                        backend: "cpu",
                        message: format!("cannot start {threads} threads: {error}"),
                    })?;
                Some(Arc::new(pool))
            }
            None => None,
        };
        let threads = pool
            .as_ref()
            .map_or_else(rayon::current_num_threads, |pool| pool.current_num_threads());
        let arenas = Arc::new(Arenas::new(threads));
        Ok(Cpu {
            pool,
            threads,
            simd,
            conv,
            bf16,
            arenas,
        })
    }

    /// What multiplies bf16.
    fn unit(self) -> Result<Bf16Unit> {
        let asked = match self.bf16 {
            Some(unit) => Some(unit),
            None => environment("NCA_BF16", bf16::EXPECTED_NAMES)?,
        };
        match asked {
            Some(unit) if unit.available() => Ok(unit),
            Some(unit) => {
                let expected = match Bf16Unit::detect() {
                    Some(best) => format!("one this machine has, at best {best}"),
                    None => format!("{}, as this machine has no other", Bf16Unit::Portable),
                };
                Err(Error::invalid("what multiplies bf16 (NCA_BF16)", unit, expected))
            }
            None => Bf16Unit::detect().ok_or_else(|| {
                let expected = "f32 on this processor, which does not multiply bf16 (NCA_BF16=portable does, slowly)";
                Error::invalid("precision", Precision::Bf16, expected)
            }),
        }
    }
}
