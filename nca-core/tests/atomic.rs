//! Files that are old or new, never half written.

use std::io::Write;
use std::path::PathBuf;

use nca_core::Error;
use nca_core::checkpoint::write_atomic;

fn scratch() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("file.safetensors");
    (dir, path)
}

#[test]
fn a_failed_write_leaves_the_old_file_alone() {
    let (dir, path) = scratch();
    write_atomic(&path, |file| file.write_all(b"old")).unwrap();
    let failed = write_atomic(&path, |file| {
        file.write_all(b"half of the new")?;
        Err(std::io::Error::other("disk on fire"))
    });
    let message = failed.unwrap_err().to_string();
    assert!(
        message.contains("disk on fire") && message.contains("file.safetensors"),
        "{message}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"old");
    assert_eq!(
        std::fs::read_dir(dir.path()).unwrap().count(),
        1,
        "a temporary file was left"
    );
    let nowhere = dir.path().join("missing/file");
    assert!(matches!(write_atomic(&nowhere, |_| Ok(())), Err(Error::Io { path, .. }) if path == nowhere));
}

#[cfg(unix)]
#[test]
fn links_permissions_and_pipes_stay_what_they_are() {
    use std::os::unix::fs::{PermissionsExt, symlink};
    let (dir, path) = scratch();
    let elsewhere = dir.path().join("elsewhere");
    std::fs::create_dir(&elsewhere).unwrap();
    let file = elsewhere.join("file");
    std::fs::write(&file, "old").unwrap();
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o604)).unwrap();
    symlink(&file, &path).unwrap();
    write_atomic(&path, |file| file.write_all(b"new")).unwrap();
    assert!(path.is_symlink(), "the link was replaced");
    assert_eq!(std::fs::read(&file).unwrap(), b"new");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o604);

    // A link to nothing makes the file; links may be relative, and lead on to others.
    let (nothing, dangling, chain) = (
        elsewhere.join("new"),
        dir.path().join("dangling"),
        dir.path().join("chain"),
    );
    symlink("elsewhere/new", &dangling).unwrap();
    symlink("dangling", &chain).unwrap();
    write_atomic(&chain, |file| file.write_all(b"new")).unwrap();
    assert!(chain.is_symlink() && dangling.is_symlink());
    assert_eq!(std::fs::read(&nothing).unwrap(), b"new");

    let circle = dir.path().join("circle");
    symlink("circle", &circle).unwrap();
    let message = write_atomic(&circle, |_| Ok(())).unwrap_err().to_string();
    assert!(
        message.contains("circle") && message.contains("symbolic link"),
        "{message}"
    );
    let message = write_atomic(&elsewhere, |_| Ok(())).unwrap_err().to_string();
    assert!(
        message.contains("elsewhere") && message.contains("directory"),
        "{message}"
    );

    // A pipe is written to, not replaced by a file. (Not a device: a fault here would replace the machine's.)
    let pipe = dir.path().join("pipe");
    let made = std::process::Command::new("mkfifo").arg(&pipe).status();
    if !made.is_ok_and(|status| status.success()) {
        eprintln!("skipped: no mkfifo");
        return;
    }
    let reader = std::thread::spawn({
        let pipe = pipe.clone();
        move || std::fs::read(pipe).unwrap()
    });
    write_atomic(&pipe, |file| file.write_all(b"new")).unwrap();
    assert!(!std::fs::metadata(&pipe).unwrap().is_file(), "the pipe was replaced");
    assert_eq!(reader.join().unwrap(), b"new");
}
