//! What `emulator/races.cpp` found, in words.

use std::ffi::{c_uint, c_void};
use std::fmt;

unsafe extern "C" {
    fn nca_emulator_race(race: *mut Race);
}

/// Two accesses that conflict, the earlier one first; laid out as in `races.cpp`.
#[repr(C)]
pub(super) struct Race {
    places: [*const c_void; 2],
    threads: [c_uint; 2],
    writes: [bool; 2],
    shared: bool,
    blocks: bool,
}

/// The race that the last launch of this thread ended with.
pub(super) fn last() -> Race {
    let mut race = Race {
        places: [std::ptr::null(); 2],
        threads: [0; 2],
        writes: [false; 2],
        shared: false,
        blocks: false,
    };
    // SAFETY: fills in the structure, whose layout it has.
    unsafe { nca_emulator_race(&raw mut race) };
    race
}

impl fmt::Display for Race {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { threads, writes, .. } = self;
        let whose = if self.blocks { "two blocks" } else { "a block" };
        let (memory, barrier) = if self.shared {
            ("shared", " with no barrier in between")
        } else if self.blocks {
            ("device", "")
        } else {
            ("device", " with no barrier in between")
        };
        write!(
            f,
            "threads {} and {} of {whose} use {memory} memory{barrier}:",
            threads[0], threads[1]
        )?;
        for (i, place) in self.places.iter().enumerate() {
            let verb = if writes[i] { "writes" } else { "reads" };
            let (thread, place) = (threads[i], lines(*place));
            write!(f, "{} {thread} {verb} at {place}", if i > 0 { "," } else { "" })?;
        }
        Ok(())
    }
}

/// The line of a place in the program, and those it was inlined into.
fn lines(place: *const c_void) -> String {
    let mut lines: Vec<String> = Vec::new();
    // The place is where the call of the detector returns to: one byte before is within the call.
    let within = place.wrapping_byte_sub(1).cast_mut();
    backtrace::resolve(within, |symbol| {
        let name = symbol.filename().and_then(|path| path.file_name());
        if let (Some(name), Some(line)) = (name, symbol.lineno()) {
            let name = name.to_string_lossy();
            // Of the kernel's files, not of the emulator's.
            if name.ends_with(".cu") || name.ends_with(".cuh") {
                lines.push(format!("{name}:{line}"));
            }
        }
    });
    if lines.is_empty() {
        return format!("{place:?}");
    }
    lines.join(" in ")
}
