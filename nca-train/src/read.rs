//! Files read whole, if they are not too large.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nca_core::{Error, Result};

/// The bytes of a file of at most `mib` MiB; `what` names in an error what was expected ("an image file").
pub(crate) fn read_at_most(path: &Path, mib: u64, what: &str) -> Result<Vec<u8>> {
    let most = mib << 20;
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(|e| Error::io(path, e))?;
    if bytes.len() as u64 > most {
        return Err(Error::format(
            path,
            "a larger file",
            format!("{what} of at most {mib} MiB"),
        ));
    }
    Ok(bytes)
}
