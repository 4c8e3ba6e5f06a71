//! What is to be cleared away when the process is told to end.

use std::io;
use std::path::Path;

/// Lets Ctrl-C and SIGTERM remove `folder` before they end the process. Of what else ends it nobody is told, nor on systems
/// that are not Unix.
#[cfg(unix)]
pub(crate) fn remove_when_interrupted(folder: &Path) -> io::Result<()> {
    use signal_hook::consts::{SIGINT, SIGTERM};
    use signal_hook::iterator::Signals;
    use signal_hook::low_level::emulate_default_handler;

    let folder = folder.to_owned();
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    std::thread::Builder::new().spawn(move || {
        for signal in signals.forever() {
            // What cannot be removed must not keep the process alive.
            let _ = std::fs::remove_dir_all(&folder);
            let _ = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}

/// Does nothing on this system.
#[cfg(not(unix))]
pub(crate) fn remove_when_interrupted(_folder: &Path) -> io::Result<()> {
    Ok(())
}
