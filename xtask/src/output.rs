//! What goes to standard output and to standard error.

use std::fmt::Arguments;
use std::io::Write;

use serde::Serialize;

/// Prints one JSON object and nothing else.
pub(crate) fn print_json(value: &impl Serialize) -> anyhow::Result<()> {
    print_line(&serde_json::to_string_pretty(value)?)
}

/// Prints a line. A reader that has gone away is no error.
pub(crate) fn print_line(line: &str) -> anyhow::Result<()> {
    match writeln!(std::io::stdout().lock(), "{line}") {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(()),
    }
}

/// Prints a line to standard error, in the way of [`std::format!`].
macro_rules! say {
    ($($format:tt)*) => {
        $crate::output::say_line(std::format_args!($($format)*))
    };
}
pub(crate) use say;

/// Prints a line to standard error. That nobody can be told anything is no reason to stop, as `eprintln!` would.
pub(crate) fn say_line(line: Arguments<'_>) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}
