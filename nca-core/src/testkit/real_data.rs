//! Real textures and weights for tests, where they are at hand.

use std::path::{Path, PathBuf};

/// The file `name` of the data directory, or `None` where it is not there (said on stderr: the test is skipped).
///
/// The directory is that of the environment variable `NCA_DATA`, or `shared/data` beside the repository.
#[must_use]
pub fn real_data(name: &str) -> Option<PathBuf> {
    let beside = || Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/data");
    let path = std::env::var_os("NCA_DATA")
        .map_or_else(beside, PathBuf::from)
        .join(name);
    if path.exists() {
        return Some(path);
    }
    eprintln!("skipped: no {} (NCA_DATA names another directory)", path.display());
    None
}
