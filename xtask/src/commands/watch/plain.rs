//! The same as on the screen, as text.

use std::path::Path;

use nca_train::sweep::Snapshot;

use super::grid::{self, CELL, Cell};

/// Movers listed.
const MOVERS: usize = 5;

/// Everything there is to say, in lines.
pub(super) fn text(snapshot: &Snapshot, directory: &Path) -> String {
    let mut text = format!("{}: {}\n", directory.display(), grid::overview(snapshot));
    for (index, texture) in snapshot.textures.iter().enumerate() {
        let note = grid::still_note(snapshot, index).map_or_else(String::new, |note| format!("; {note}"));
        text += &format!("\n{texture}, Ψ (px/frame){note}\n   C\\D");
        for hidden in &snapshot.settings.hidden {
            text += &format!("{hidden:>width$} ", width = CELL - 1);
        }
        text.push('\n');
        for &channels in &snapshot.settings.channels {
            text += &format!("{channels:>6}");
            for &hidden in &snapshot.settings.hidden {
                text += &Cell::of(snapshot, index, channels, hidden).text();
            }
            text.push('\n');
        }
    }
    let begun: Vec<_> = grid::begun(snapshot).collect();
    if !begun.is_empty() {
        text += &format!("\n{}\n", grid::begun_title(snapshot));
    }
    for model in begun {
        if let Some(progress) = grid::progress(snapshot, model) {
            text += &format!("  {}: {progress}\n", grid::label(snapshot, model));
        }
    }
    let movers = grid::movers(snapshot, MOVERS);
    if !movers.is_empty() {
        text += "\nstrongest movers\n";
    }
    for mover in movers {
        let label = grid::label(snapshot, mover.model);
        text += &format!("  {label}: Ψ {:.3} px/frame {}\n", mover.psi, mover.mark);
    }
    // Marks may be spaces.
    let lines: Vec<_> = text.lines().map(str::trim_end).collect();
    lines.join("\n") + "\n"
}
