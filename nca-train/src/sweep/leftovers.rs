//! Files that a killed run was in the middle of writing.

use std::fs;
use std::io::ErrorKind;
use std::path::Path;
use std::time::{Duration, SystemTime};

/// Files that nobody has written to for so long are no longer being written.
const OLD: Duration = Duration::from_secs(3600);

/// Removes what [`write_atomic`](nca_core::checkpoint::write_atomic) has left in `directory`, if there is such a directory.
///
/// To be called by who alone writes there; where others may (`shared`), what may still be theirs is left.
pub(super) fn remove_leftovers(directory: &Path, shared: bool) {
    // What cannot be removed is in nobody's way.
    let Ok(entries) = fs::read_dir(directory) else { return };
    for entry in entries.flatten() {
        if !entry.file_name().to_str().is_some_and(is_temporary) {
            continue;
        }
        // Not one behind a link.
        let Ok(found) = entry.metadata() else { continue };
        let age = found
            .modified()
            .ok()
            .and_then(|at| SystemTime::now().duration_since(at).ok());
        if found.is_file()
            && (!shared || age.is_some_and(|age| age >= OLD))
            && let Err(error) = fs::remove_file(entry.path())
            && error.kind() != ErrorKind::NotFound
        {
            tracing::warn!("{}: {error}", entry.path().display());
        }
    }
}

/// Whether a file that is being written has such a name: `.` and six letters and digits and `.tmp`.
fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix('.').and_then(|rest| rest.strip_suffix(".tmp"));
    random.is_some_and(|random| random.len() == 6 && random.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs::File;
    use std::io::Write;

    use nca_core::checkpoint::write_atomic;

    use super::*;

    #[test]
    fn what_is_being_written_has_a_name_of_its_own() {
        let place = tempfile::tempdir().unwrap();
        let mut during = Vec::new();
        write_atomic(place.path().join("a.json"), |file| {
            let entries = fs::read_dir(place.path())?;
            during.extend(entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()));
            file.write_all(b"{}")
        })
        .unwrap();
        assert_eq!(during.len(), 1);
        assert!(is_temporary(&during[0]), "{during:?}");
        for other in [
            "a.tmp",
            ".tmp",
            ".abc.tmp",
            ".ab cd1.tmp",
            ".abcdef.tmp.json",
            "abcdef.tmp",
            ".sweep.lock",
        ] {
            assert!(!is_temporary(other), "{other}");
        }
    }

    #[test]
    fn only_leftovers_are_removed() {
        let place = tempfile::tempdir().unwrap();
        let names = || -> BTreeSet<String> {
            let entries = fs::read_dir(place.path()).unwrap();
            entries
                .map(|entry| entry.unwrap().file_name().into_string().unwrap())
                .collect()
        };
        fs::create_dir(place.path().join(".folder.tmp")).unwrap();
        for name in [".a1B2c3.tmp", ".older1.tmp", "notes.tmp", "result.json"] {
            fs::write(place.path().join(name), "x").unwrap();
        }
        let older = File::options()
            .write(true)
            .open(place.path().join(".older1.tmp"))
            .unwrap();
        older.set_modified(SystemTime::now() - 2 * OLD).unwrap();
        let mut left = names();
        remove_leftovers(place.path(), true);
        left.remove(".older1.tmp");
        assert_eq!(names(), left);
        remove_leftovers(place.path(), false);
        left.remove(".a1B2c3.tmp");
        assert_eq!(names(), left);
        remove_leftovers(&place.path().join("nowhere"), false);
    }
}
