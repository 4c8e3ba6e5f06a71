//! The numbered frames of an animation in a folder.

use std::fs;
use std::io::Write;
use std::path::Path;

use nca_core::checkpoint::write_atomic;
use nca_core::{Error, Result};

/// Name of the frame with this number, counted from 0.
pub(crate) fn name(number: u32) -> String {
    format!("{number:06}.png")
}

/// The number of the frame with this name.
fn number(of: &str) -> Option<u32> {
    let number = of.strip_suffix(".png")?.parse().ok()?;
    (name(number) == of).then_some(number)
}

/// In a folder of frames, how many its run was to have: others number pictures so, too, and theirs are not to be removed.
const MARK: &str = ".frames";

/// How many frames of an earlier run are in `folder`, which must exist.
///
/// # Errors
/// [`Error::Format`] for pictures with names of frames that are not those of a run, numbered from 0 without gaps and no more
/// than [`mark`] has noted: somebody else's, which are not to be written over.
pub(crate) fn earlier(folder: &Path) -> Result<u32> {
    let mut numbers = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| Error::io(folder, e))? {
        let name = entry.map_err(|e| Error::io(folder, e))?.file_name();
        numbers.extend(name.to_str().and_then(number));
    }
    numbers.sort_unstable();
    let Some(last) = numbers.last() else { return Ok(0) };
    let refused = |found: String| {
        let expected =
            "no pictures with names of frames, or those of an earlier run: another --out, or a folder without them";
        Err(Error::format(folder, found, expected))
    };
    if let Some((missing, _)) = (0..).zip(&numbers).find(|(expected, found)| expected != *found) {
        return refused(format!("{} without {}", name(*last), name(missing)));
    }
    // A mark that cannot be read is none.
    let noted: u32 = match fs::read_to_string(folder.join(MARK)).map(|text| text.trim().parse()) {
        Ok(Ok(noted)) => noted,
        _ => 0,
    };
    if *last >= noted {
        return refused(format!("{}, which no run is known to have made", name(*last)));
    }
    Ok(numbers.len() as u32)
}

/// Notes in `folder` that a run is about to write `frames` frames there.
pub(crate) fn mark(folder: &Path, frames: u32) -> Result<()> {
    write_atomic(folder.join(MARK), |file| writeln!(file, "{frames}"))
}

/// Removes all of the first `count` frames of `folder` but the one that is first.
pub(crate) fn remove(folder: &Path, count: u32) -> Result<()> {
    // The last one first: whenever this ends, what is left is numbered without gaps.
    for number in (1..count).rev() {
        let path = folder.join(name(number));
        fs::remove_file(&path).map_err(|e| Error::io(&path, e))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_the_number() {
        for frame in [0, 7, 999_999, 1_000_000, u32::MAX] {
            assert_eq!(number(&name(frame)), Some(frame));
        }
        for other in [
            "7.png",
            "0000007.png",
            "000007.jpg",
            "+00007.png",
            "000007.png~",
            "frame000007.png",
            "",
        ] {
            assert_eq!(number(other), None, "{other}");
        }
    }

    #[test]
    fn what_is_no_run_is_refused() {
        let place = tempfile::tempdir().unwrap();
        let folder = place.path();
        let make = |name: &str| fs::write(folder.join(name), name).unwrap();
        make("7.png");
        make("notes.txt");
        assert_eq!(earlier(folder).unwrap(), 0);
        // As others number them.
        make("000001.png");
        make("000002.png");
        let message = earlier(folder).unwrap_err().to_string();
        assert!(message.contains("000002.png without 000000.png"), "{message}");
        make("000000.png");
        let message = earlier(folder).unwrap_err().to_string();
        assert!(message.contains("000002.png, which no run is known"), "{message}");
        // One too few, as where somebody has added a picture.
        mark(folder, 2).unwrap();
        earlier(folder).unwrap_err();
        mark(folder, 3).unwrap();
        assert_eq!(earlier(folder).unwrap(), 3);
        make("000004.png");
        let message = earlier(folder).unwrap_err().to_string();
        assert!(message.contains("000004.png without 000003.png"), "{message}");
    }
}
