//! The kernels that travel with the crate.

/// A file of kernels: `kernels/STEM.cu`, and the PTX that `cargo xtask kernels` makes of it.
#[derive(Clone, Copy, Debug)]
pub struct Module {
    /// Name of the file without its ending.
    pub stem: &'static str,
    /// The source, without the prelude.
    pub source: &'static str,
    /// The PTX.
    pub ptx: &'static str,
}

impl Module {
    /// What stands before every source.
    pub const PRELUDE: &'static str = concat!(
        include_str!("../kernels/prelude.cuh"),
        include_str!("../kernels/product.cuh")
    );

    /// Options of the compiler: the oldest architecture with what the kernels need, so that one PTX
    /// serves it and all newer ones.
    pub const OPTIONS: [&'static str; 2] = ["--gpu-architecture=compute_80", "--std=c++17"];

    /// The PTX version written into the header: with code for compute 8.0 nothing newer is used, and
    /// a driver refuses what is newer than itself.
    pub const PTX_VERSION: &'static str = "7.0";

    /// What is compiled: the prelude, then the source under its own name.
    #[must_use]
    pub fn text(&self) -> String {
        format!("{}\n#line 1 \"{}.cu\"\n{}", Self::PRELUDE, self.stem, self.source)
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

macro_rules! modules {
    ($($stem:literal)*) => {
        /// Every file of kernels.
        pub const MODULES: &[Module] = &[$(Module {
            stem: $stem,
            source: include_str!(concat!("../kernels/", $stem, ".cu")),
            ptx: include_str!(concat!("../kernels/ptx/", $stem, ".ptx")),
        }),*];
    };
}

modules! {
    "adam" "avg_pool2" "axpy" "channel_affine" "conv2d" "fill" "flow_magnitude" "gather_columns" "l1" "l2"
    "matmul" "max_pool2" "minima" "mlp" "nca_step" "normalize" "normalize_rows" "overflow" "perceive"
    "reduce" "relu" "resize" "rgb" "sort_rows" "update" "warp"
}
