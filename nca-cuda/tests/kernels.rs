//! The PTX that travels with the crate is that of the sources beside it.

use std::collections::BTreeSet;
use std::path::Path;

use nca_cuda::{MODULES, Module};
use sha2::{Digest, Sha256};

#[test]
fn every_ptx_was_made_from_its_source() {
    for module in MODULES {
        let digest = Sha256::digest(module.compiled_from());
        let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
        let first = module.ptx.lines().next().unwrap_or_default();
        assert_eq!(
            first,
            format!("{}{digest}", Module::DIGEST),
            "{}.cu, the prelude or the options have changed: run `cargo xtask kernels`",
            module.stem
        );
    }
}

#[test]
fn the_ptx_is_for_every_driver_and_device_from_the_oldest_on() {
    for module in MODULES {
        let version = format!(".version {}\n.target sm_80\n", Module::PTX_VERSION);
        assert!(module.ptx.contains(&version), "{}", module.stem);
        assert!(!module.ptx.contains('\0'), "{}", module.stem);
    }
}

/// A file of kernels that is in no list would be neither compiled nor found; and a header stands before those files whose
/// names begin with its own, here and in the emulator.
#[test]
fn every_file_of_kernels_is_a_module() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("kernels");
    let files = |wanted: &str| -> BTreeSet<String> {
        std::fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.extension().is_some_and(|extension| extension == wanted))
            .map(|path| path.file_stem().unwrap().to_string_lossy().into_owned())
            .collect()
    };
    let modules = MODULES.iter().map(|module| module.stem.to_owned()).collect();
    assert_eq!(files("cu"), modules);
    let headers = files("cuh");
    for module in MODULES {
        let own = headers.iter().filter(|header| module.stem.starts_with(header.as_str()));
        let own: String = own
            .map(|header| std::fs::read_to_string(directory.join(format!("{header}.cuh"))).unwrap())
            .collect();
        assert_eq!(module.header, own, "{}", module.stem);
    }
}
