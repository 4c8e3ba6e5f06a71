//! Python and the virtual environments that commands make with it.

use std::fs;
use std::io;
use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Context, ensure};
use nca_core::Error;

/// Most characters of what a program says that an error repeats.
const MOST_SAID: usize = 1000;

/// Makes an empty virtual environment in `directory`, which is empty or not there, and leaves nothing there if it cannot be
/// made; by the Python of the system if none is named.
pub(crate) fn make_environment(directory: &Path, python: Option<&Path>) -> anyhow::Result<()> {
    if directory.read_dir().is_ok_and(|mut entries| entries.next().is_some()) {
        let expected = "a virtual environment of Python, or a directory to make one in";
        return Err(Error::format(directory, "other files", expected).into());
    }
    let existed = directory.exists();
    let default = Path::new(if cfg!(windows) { "python" } else { "python3" });
    let python = python.unwrap_or(default);
    let output = Command::new(python)
        .args(["-m", "venv"])
        .arg(directory)
        .output()
        .with_context(|| {
            format!(
                "no Python: {} does not run; install Python 3.10 or newer, or name one by --python",
                python.display()
            )
        })?;
    if !output.status.success()
        && let Err(error) = remove(directory, existed)
    {
        // It would pass for an environment.
        tracing::warn!("remove {}, which is half made: {error}", directory.display());
    }
    ensure!(
        output.status.success(),
        "{} -m venv {} failed ({}): {}",
        python.display(),
        directory.display(),
        output.status,
        said(&output)
    );
    Ok(())
}

/// Removes a directory, or if it is to stay, what is in it.
fn remove(directory: &Path, stays: bool) -> io::Result<()> {
    if !stays {
        return match fs::remove_dir_all(directory) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    }
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

/// All that a program said, or the end of it, in one line: Python's modules tell what they lack on standard output.
fn said(output: &Output) -> String {
    let text = [&output.stdout, &output.stderr].map(|bytes| String::from_utf8_lossy(bytes));
    let words: Vec<&str> = text.iter().flat_map(|text| text.split_whitespace()).collect();
    let line = words.join(" ");
    let length = line.chars().count();
    match length {
        0 => "no message".to_owned(),
        _ if length > MOST_SAID => "… ".chars().chain(line.chars().skip(length - MOST_SAID)).collect(),
        _ => line,
    }
}

#[cfg(test)]
#[cfg(unix)]
mod tests {
    use super::*;

    /// Python as Debian has it without python3-venv.
    #[test]
    fn an_environment_that_fails_leaves_nothing_but_its_message() {
        let place = tempfile::tempdir().unwrap();
        let python = place.path().join("python");
        let script = "#!/bin/sh\nmkdir -p \"$3/bin\" && : > \"$3/bin/python\" && : > \"$3/pyvenv.cfg\"\n\
                      echo 'ensurepip is not'\necho 'available.'; echo a warning >&2; exit 1\n";
        fs::write(&python, script).unwrap();
        assert!(Command::new("chmod").arg("+x").arg(&python).status().unwrap().success());
        let directory = place.path().join("new");
        let refused = || {
            let error = make_environment(&directory, Some(&python)).unwrap_err().to_string();
            assert!(error.ends_with(": ensurepip is not available. a warning"), "{error}");
        };
        refused();
        assert!(!directory.exists());
        // A directory that was there stays.
        fs::create_dir(&directory).unwrap();
        refused();
        assert_eq!(directory.read_dir().unwrap().count(), 0);
    }

    #[test]
    fn the_end_of_what_is_said_counts() {
        let output = |text: String| Output {
            status: std::process::ExitStatus::default(),
            stdout: text.into_bytes(),
            stderr: Vec::new(),
        };
        assert_eq!(said(&output(String::new())), "no message");
        let long = said(&output("x".repeat(2 * MOST_SAID) + "\nend"));
        assert!(long.starts_with("… x") && long.ends_with("x end"), "{long}");
        assert_eq!(long.chars().count(), MOST_SAID + 2);
    }
}
