//! With the feature `emulate`: compiles every kernel as C++, together with the emulator.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    #[cfg(feature = "emulate")]
    emulate();
}

/// One C++ file that includes the emulator, the prelude and every `.cu` file, each in a namespace of its
/// own with the headers whose names its own begins with: helpers of two files may have the same name, and messages
/// point into the `.cu` files.
#[cfg(feature = "emulate")]
fn emulate() {
    use std::fmt::Write as _;
    use std::path::PathBuf;
    use std::{env, fs};

    println!("cargo::rerun-if-changed=emulator");
    println!("cargo::rerun-if-changed=kernels");
    println!("cargo::rerun-if-env-changed=CXXFLAGS");
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let mut files: Vec<PathBuf> = fs::read_dir(root.join("kernels"))
        .expect("the directory of kernels")
        .map(|entry| entry.expect("an entry of the directory of kernels").path())
        .collect();
    files.sort();
    let stems = |wanted: &str| -> Vec<String> {
        let of_kind = files
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == wanted));
        of_kind
            .map(|path| path.file_stem().expect("a file").to_string_lossy().into_owned())
            .collect()
    };
    let before_all = ["emulator.cpp", "mma.cpp", "prelude.cuh", "tensor.cuh", "product.cuh"];
    let mut source: String = before_all.iter().map(|file| format!("#include \"{file}\"\n")).collect();
    let headers = stems("cuh");
    for stem in stems("cu") {
        writeln!(source, "namespace kernels_{stem} {{").expect("a string");
        for header in headers.iter().filter(|header| stem.starts_with(header.as_str())) {
            writeln!(source, "#include \"{header}.cuh\"").expect("a string");
        }
        writeln!(source, "#include \"{stem}.cu\"\n}}").expect("a string");
    }
    source.push_str("#include \"samples.cu\"\n");
    let generated = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it")).join("emulated.cpp");
    fs::write(&generated, source).expect("the output directory");
    let mut build = cc::Build::new();
    build
        .cpp(true)
        .std("c++17")
        // No optimisation level of its own: the emulator is only ever used in tests.
        .opt_level(2);
    #[cfg(feature = "races")]
    let mut detector = build.clone();
    #[cfg(feature = "races")]
    build
        .define("RACES", None)
        // The compiler calls a function at every load and store; which, is up to races.cpp.
        .flag("-fsanitize=thread")
        // Loops that it turned into calls of memset would not be seen.
        .flag("-fno-tree-loop-distribute-patterns")
        // Messages have lines.
        .debug(true);
    build
        // Kernels index loops by `int`, have unused parameters, and pragmas for another compiler.
        .flag("-Wno-unknown-pragmas")
        .flag("-Wno-unused-parameter")
        // glibc's check of `longjmp` takes a fibre's stack for a corrupted one.
        .flag("-U_FORTIFY_SOURCE")
        .flag("-D_FORTIFY_SOURCE=0")
        .include(root.join("emulator"))
        .include(root.join("kernels"))
        .file(generated)
        .compile("nca_cuda_emulated");
    // After what calls it, for the linker.
    #[cfg(feature = "races")]
    detector.file(root.join("emulator/races.cpp")).compile("nca_cuda_races");
}
