//! What tests of wrong flags and files share.

use std::process::{Command, Output};

/// Runs the command line.
pub(crate) fn xtask(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_xtask"))
        .args(args)
        .output()
        .expect("the binary runs")
}

/// Asserts that `args` is refused with a message that holds every one of `words`.
#[track_caller]
pub(crate) fn refused(args: &[&str], words: &[&str]) {
    let output = xtask(args);
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(2), "{args:?}: {message}");
    assert!(!message.contains("panicked"), "{args:?}: {message}");
    for word in words {
        assert!(message.contains(word), "{args:?}: no '{word}' in: {message}");
    }
    // Usage errors carry clap's hint to --help; all others are one line.
    if !message.contains("--help") {
        assert_eq!(message.trim_end().lines().count(), 1, "{args:?}: {message}");
    }
    // The cause of a file error once, not once for each link of the chain.
    assert!(message.matches("os error").count() <= 1, "{args:?}: {message}");
    assert!(output.stdout.is_empty(), "{args:?} printed to standard output");
}
