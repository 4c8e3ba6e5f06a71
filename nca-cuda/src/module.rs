//! The kernels that travel with the crate.

use nca_core::Precision;

/// A file of kernels: `kernels/STEM.cu`, and the PTX that `cargo xtask kernels` makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Name of the file without its ending.
    pub stem: &'static str,
    /// What it shares with other files whose names begin alike, `kernels/BEGINNING.cuh`; may be empty.
    pub header: &'static str,
    /// The source, without prelude and header.
    pub source: &'static str,
    /// The PTX.
    pub ptx: &'static str,
}

impl Module {
    /// What stands before every source.
    pub const PRELUDE: &'static str = concat!(
        include_str!("../kernels/prelude.cuh"),
        include_str!("../kernels/tensor.cuh"),
        include_str!("../kernels/product.cuh")
    );

    /// Options of the compiler: the oldest architecture with what the kernels need, so that one PTX
    /// serves it and all newer ones.
    pub const OPTIONS: [&'static str; 2] = ["--gpu-architecture=compute_80", "--std=c++17"];

    /// The PTX version written into the header: with code for compute 8.0 nothing newer is used, and
    /// a driver refuses what is newer than itself.
    pub const PTX_VERSION: &'static str = "7.0";

    /// What is compiled: the prelude, the header, then the source under its own name.
    #[must_use]
    pub fn text(&self) -> String {
        let (prelude, header) = (Self::PRELUDE, self.header);
        format!("{prelude}{header}\n#line 1 \"{}.cu\"\n{}", self.stem, self.source)
    }

    /// How the first line of the PTX starts; the SHA-256 of [`Module::compiled_from`] follows.
    pub const DIGEST: &'static str = "// Compiled by `cargo xtask kernels` from sources and options with SHA-256 ";

    /// All that the PTX depends on but the compiler's version.
    #[must_use]
    pub fn compiled_from(&self) -> String {
        format!("{}\n{}\n{}", Self::OPTIONS.join(" "), Self::PTX_VERSION, self.text())
    }

    /// The module called `stem`.
    #[must_use]
    pub fn of(stem: &str) -> Option<&'static Self> {
        MODULES.iter().find(|module| module.stem == stem)
    }
}

/// One kernel of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Kernel {
    /// Stem of the module's file.
    pub(crate) module: &'static str,
    /// Name of the function.
    pub(crate) name: &'static str,
}

impl Kernel {
    /// Kernel `name` of `kernels/MODULE.cu`.
    pub(crate) const fn new(module: &'static str, name: &'static str) -> Self {
        Self { module, name }
    }
}

/// A kernel that there is once for each precision of products, `NAME` in f32 and `NAME_tf32`, `NAME_f16`, `NAME_bf16`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PrecisionKernel {
    /// In the order of [`Precision::ALL`].
    pub(crate) kernels: [Kernel; Precision::ALL.len()],
}

impl PrecisionKernel {
    /// The one for `precision`.
    pub(crate) fn of(&self, precision: Precision) -> &Kernel {
        match precision {
            Precision::F32 => &self.kernels[0],
            Precision::Tf32 => &self.kernels[1],
            Precision::F16 => &self.kernels[2],
            Precision::Bf16 => &self.kernels[3],
        }
    }
}

/// `precision_kernel!(MODULE, NAME)`: a constant [`PrecisionKernel`].
macro_rules! precision_kernel {
    ($module:literal, $name:literal) => {
        $crate::module::PrecisionKernel {
            kernels: [
                $crate::module::Kernel::new($module, $name),
                $crate::module::Kernel::new($module, concat!($name, "_tf32")),
                $crate::module::Kernel::new($module, concat!($name, "_f16")),
                $crate::module::Kernel::new($module, concat!($name, "_bf16")),
            ],
        }
    };
}
pub(crate) use precision_kernel;

/// The same for a kernel of gradients, of which f16 has that of [`Precision::of_gradients`].
macro_rules! gradient_kernel {
    ($module:literal, $name:literal) => {{
        let mut kernel = $crate::module::precision_kernel!($module, $name);
        kernel.kernels[2] = kernel.kernels[1];
        kernel
    }};
}
pub(crate) use gradient_kernel;

macro_rules! modules {
    ($($stem:literal $(with $header:literal)?),* $(,)?) => {
        /// Every file of kernels.
        pub const MODULES: &[Module] = &[$(Module {
            stem: $stem,
            header: concat!($(include_str!(concat!("../kernels/", $header, ".cuh")))?),
            source: include_str!(concat!("../kernels/", $stem, ".cu")),
            ptx: include_str!(concat!("../kernels/ptx/", $stem, ".ptx")),
        }),*];
    };
}

modules! {
    "adam", "avg_pool2", "axpy", "channel_affine", "conv2d", "fill", "flow_magnitude", "gather_columns", "l1", "l2",
    "matmul", "max_pool2", "minima", "mlp", "nca_step" with "nca_step", "nca_step_backward" with "nca_step", "normalize",
    "normalize_rows", "overflow", "perceive", "reduce", "relu", "resize", "rgb", "sort_rows", "update", "warp",
}
