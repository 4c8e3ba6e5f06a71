//! Files that a command will write, looked at before anything is computed.

use std::path::{Component, Path, PathBuf};

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

/// Refuses a file whose name promises another format than the one that is written, which `what` and `extensions` are.
pub(crate) fn check_extension(flag: &str, path: Option<&Path>, what: &str, extensions: &[&str]) -> Result<()> {
    let Some(path) = path else { return Ok(()) };
    let extension = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    if extensions.contains(&extension.as_str()) {
        return Ok(());
    }
    let expected = format!("a name that ends in .{}: {what} is written", extensions.join(" or ."));
    Err(Error::invalid(flag, path.display(), expected))
}

/// Refuses a directory for results, named by `flag`, that is one of `inputs` (flags with the directories that are read) or
/// lies in one: what is written there could have the name of something that was there before.
pub(crate) fn check_out_directory(flag: &str, out: Option<&Path>, inputs: &[(&str, Option<&Path>)]) -> Result<()> {
    let Some(out) = out else { return Ok(()) };
    let place = directory_place(out)?;
    for &(input, directory) in inputs {
        let Some(directory) = directory else { continue };
        if place.starts_with(directory_place(directory)?) {
            let expected = format!(
                "a directory outside of that of {input} ({}), which is read",
                directory.display()
            );
            return Err(Error::invalid(flag, out.display(), expected));
        }
    }
    Ok(())
}

/// Where a directory is, or would be once it and those above it were made.
fn directory_place(path: &Path) -> Result<PathBuf> {
    let mut place = PathBuf::new();
    for component in std::path::absolute(path).map_err(|e| Error::io(path, e))?.components() {
        match component {
            Component::ParentDir => {
                place.pop();
            }
            Component::Normal(_) => {
                place.push(component);
                // What is not there yet is no link.
                place = place.canonicalize().unwrap_or(place);
            }
            _ => place.push(component),
        }
    }
    Ok(place)
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

    #[test]
    #[cfg(unix)]
    fn results_do_not_go_where_things_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str| directory.path().join(name);
        let (data, link) = (file("data"), file("link"));
        std::fs::create_dir_all(data.join("training")).unwrap();
        std::os::unix::fs::symlink(data.join("training"), &link).unwrap();
        let check = |out: &str| {
            check_out_directory(
                "--out",
                Some(&file(out)),
                &[("--textures", None), ("--data", Some(&data))],
            )
        };
        for out in ["out", "data-2", "data/../out", "none/../out", ".", "link/../../out"] {
            check(out).unwrap();
        }
        for out in [
            "data",
            "./data/",
            "data/training",
            "data/new/folder",
            "none/../data/new",
            "link",
            "link/new",
        ] {
            let message = check(out).unwrap_err().to_string();
            assert!(
                message.starts_with("--out is ") && message.contains("of --data"),
                "{out}: {message}"
            );
        }
        check_out_directory("--out", None, &[("--data", Some(&data))]).unwrap();
    }

    #[test]
    fn a_name_promises_a_format() {
        let check = |name: &str| check_extension("--out", Some(Path::new(name)), "a page", &["html", "htm"]);
        for name in ["a.html", "A.HTM", "x/b.c.html"] {
            check(name).unwrap();
        }
        for name in ["a.png", "html", ".html", "a.html/b"] {
            let message = check(name).unwrap_err().to_string();
            assert_eq!(
                message,
                format!("--out is {name}, expected a name that ends in .html or .htm: a page is written")
            );
        }
    }
}
