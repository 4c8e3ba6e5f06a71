//! What tells the contents of files apart.

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use nca_core::{Error, Result};
use sha2::{Digest, Sha256};

/// The SHA-256 of a file's bytes (FIPS 180-4), 64 lower-case hexadecimal digits.
///
/// # Errors
/// [`Error::Io`], which names the file.
pub fn sha256(path: &Path) -> Result<String> {
    let io = |e| Error::io(path, e);
    let mut file = File::open(path).map_err(io)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let n = file.read(&mut buffer).map_err(io)?;
        if n == 0 {
            break;
        }
        hash.update(&buffer[..n]);
    }
    Ok(hash.finalize().iter().fold(String::new(), |mut hex, byte| {
        // Writing to a string cannot fail.
        let _ = write!(hex, "{byte:02x}");
        hex
    }))
}
