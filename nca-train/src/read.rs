//! Files read whole, if they are not too large, and what tells their contents apart.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use nca_core::{Error, Result};
use sha2::{Digest, Sha256};

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

/// The first twelve hexadecimal digits of the SHA-256 of a file, as the names of flow networks have them.
pub(crate) fn hash_of(path: &Path) -> Result<String> {
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
    Ok(hash
        .finalize()
        .iter()
        .take(6)
        .map(|byte| format!("{byte:02x}"))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hash_is_that_of_the_contents() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "abc").unwrap();
        // FIPS 180-4, of the same message.
        assert_eq!(hash_of(file.path()).unwrap(), "ba7816bf8f01");
    }
}
