//! Files that a command will write, looked at before anything is computed.

use std::path::{Path, PathBuf};

use nca_core::{Error, Result};

/// Refuses files in directories that do not exist, and files whose writing would destroy what is read.
///
/// `outputs` are flags with the files they name; `inputs` are the files that the command reads; `made` is the directory
/// that it makes itself.
pub(crate) fn check_outputs(
    outputs: &[(&str, Option<&Path>)],
    inputs: &[Option<&Path>],
    made: Option<&Path>,
) -> Result<()> {
    let mut seen: Vec<(&str, PathBuf)> = Vec::new();
    for &(flag, path) in outputs {
        let Some(path) = path else { continue };
        let refused = |expected: String| Err(Error::invalid(flag, path.display(), expected));
        if path.is_dir() || Some(path) == made {
            return refused("a file, not a directory".to_owned());
        }
        let Some(place) = place(path) else {
            if path.parent() == made {
                continue;
            }
            return refused("a file in a directory that exists".to_owned());
        };
        if inputs
            .iter()
            .flatten()
            .any(|input| self::place(input).as_ref() == Some(&place))
        {
            return refused("another file than those that are read".to_owned());
        }
        if let Some((other, _)) = seen.iter().find(|(_, other)| *other == place) {
            return refused(format!("another file than that of {other}"));
        }
        seen.push((flag, place));
    }
    Ok(())
}

/// Where `path` is, or would be: whatever it is called, one file has one place. `None` if its directory does not exist.
fn place(path: &Path) -> Option<PathBuf> {
    path.canonicalize().ok().or_else(|| {
        let parent = match path.parent()? {
            parent if parent == Path::new("") => Path::new("."),
            parent => parent,
        };
        Some(parent.canonicalize().ok()?.join(path.file_name()?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_that_is_read_is_written() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (read, other) = (file("read"), file("other"));
        std::fs::write(&read, "text").unwrap();
        let check = |out: &Path, color: Option<&Path>| {
            let made = file("made");
            check_outputs(
                &[("--out", Some(out)), ("--color", color)],
                &[Some(&read), None],
                Some(&made),
            )
        };
        let refused = |out: &Path, color: Option<&Path>| check(out, color).unwrap_err().to_string();
        check(&other, None).unwrap();
        check(&other, Some(&file("third"))).unwrap();
        check(&file("made").join("x"), None).unwrap();
        assert!(refused(&file("made"), None).contains("not a directory"));
        let again = directory.path().join(".").join("read");
        for path in [&read, &again] {
            let message = refused(path, None);
            assert!(
                message.starts_with("--out is ") && message.contains("those that are read"),
                "{message}"
            );
            assert!(refused(&other, Some(path)).starts_with("--color is "));
        }
        assert!(refused(&other, Some(&other)).contains("another file than that of --out"));
        assert!(refused(directory.path(), None).contains("not a directory"));
        assert!(refused(&file("none").join("x"), None).contains("a directory that exists"));
        assert_eq!(
            place(Path::new("x")),
            Some(std::env::current_dir().unwrap().canonicalize().unwrap().join("x"))
        );
    }
}
