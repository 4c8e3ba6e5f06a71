//! The grid of architectures as characters.

use std::time::Duration;

use indicatif::HumanDuration;
use nca_train::report::Status;
use nca_train::sweep::{ModelProgress, Snapshot, Stage};

/// Characters of a cell.
pub(super) const CELL: usize = 7;
/// Marks what is not above its motion floor: the estimator may have seen no motion but flicker.
pub(super) const STILL: char = '*';

/// What is shown of an architecture, over its seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// Mean Ψ, pixels per frame.
    Psi {
        mean: f64,
        /// Whether no seed's is above its motion floor.
        still: bool,
    },
    /// Share of the iterations done.
    Begun(f64),
    Waiting,
    Diverged,
    Failed,
    Unreadable,
}

impl Cell {
    pub(super) fn of(snapshot: &Snapshot, texture: usize, channels: usize, hidden: usize) -> Self {
        let here = |m: &&ModelProgress| m.texture == texture && m.channels == channels && m.hidden == hidden;
        let stages: Vec<_> = snapshot.models.iter().filter(here).map(|m| &m.stage).collect();
        let psi: Vec<(f64, bool)> = stages.iter().filter_map(|stage| measured(stage)).collect();
        if !psi.is_empty() {
            return Self::Psi {
                mean: psi.iter().map(|(psi, _)| psi).sum::<f64>() / psi.len() as f64,
                still: psi.iter().all(|(_, still)| *still),
            };
        }
        let begun = stages.iter().filter_map(|stage| match stage {
            Stage::Begun(rows) => Some(snapshot.share(rows)),
            Stage::Done(_) | Stage::Unreadable | Stage::Waiting => None,
        });
        if let Some(share) = begun.reduce(f64::max) {
            return Self::Begun(share);
        }
        let ended = |status| {
            stages
                .iter()
                .any(|s| matches!(s, Stage::Done(record) if record.status == status))
        };
        if stages.contains(&&Stage::Unreadable) {
            Self::Unreadable
        } else if ended(Status::Failed) {
            Self::Failed
        } else if ended(Status::Diverged) {
            Self::Diverged
        } else {
            Self::Waiting
        }
    }

    /// Its text, right-aligned in [`CELL`] characters, the last of which is for [`STILL`].
    pub(super) fn text(self) -> String {
        let text = match self {
            Self::Psi { mean, .. } if mean < 100.0 => format!("{mean:.3}"),
            Self::Psi { mean, .. } => format!("{mean:.0e}"),
            // A model at 100 % is being measured.
            Self::Begun(share) => format!("{:.0}%", (100.0 * share).floor()),
            Self::Waiting => "·".to_owned(),
            Self::Diverged => "×".to_owned(),
            Self::Failed => "!".to_owned(),
            Self::Unreadable => "?".to_owned(),
        };
        let mark = match self {
            Self::Psi { still: true, .. } => STILL,
            _ => ' ',
        };
        format!("{text:>width$}{mark}", width = CELL - 1)
    }
}

/// Ψ of a model that has one, and whether it is not above its motion floor.
fn measured(stage: &Stage) -> Option<(f64, bool)> {
    match stage {
        Stage::Done(record) => Some((record.measured_psi()?, record.above_floor() == Some(false))),
        Stage::Begun(_) | Stage::Unreadable | Stage::Waiting => None,
    }
}

/// What [`STILL`] means, where a cell of the texture bears it.
pub(super) fn still_note(snapshot: &Snapshot, texture: usize) -> Option<String> {
    let settings = &snapshot.settings;
    let mut cells = settings.channels.iter().flat_map(|&channels| {
        let cell = move |&hidden: &usize| Cell::of(snapshot, texture, channels, hidden);
        settings.hidden.iter().map(cell)
    });
    let is_still = |cell: Cell| matches!(cell, Cell::Psi { still: true, .. });
    cells
        .any(is_still)
        .then(|| format!("{STILL} not above its motion floor"))
}

/// The largest Ψ there is, for the colours; 0 if there is none.
pub(super) fn highest(snapshot: &Snapshot) -> f64 {
    done(snapshot).map(|mover| mover.psi).fold(0.0, f64::max)
}

/// A model that has a Ψ.
pub(super) struct Mover<'a> {
    pub(super) model: &'a ModelProgress,
    pub(super) psi: f64,
    /// [`STILL`], or a space.
    pub(super) mark: char,
}

/// The models that have a Ψ.
fn done(snapshot: &Snapshot) -> impl Iterator<Item = Mover<'_>> {
    snapshot.models.iter().filter_map(|model| {
        let (psi, still) = measured(&model.stage)?;
        let mark = if still { STILL } else { ' ' };
        Some(Mover { model, psi, mark })
    })
}

/// The strongest movers, strongest first.
pub(super) fn movers(snapshot: &Snapshot, most: usize) -> Vec<Mover<'_>> {
    let mut models: Vec<_> = done(snapshot).collect();
    models.sort_by(|a, b| b.psi.total_cmp(&a.psi));
    models.truncate(most);
    models
}

/// A model in words: `bubbly C=12 D=96 seed 0`.
pub(super) fn label(snapshot: &Snapshot, model: &ModelProgress) -> String {
    let texture = snapshot.textures.get(model.texture).map_or("", String::as_str);
    format!("{texture} C={} D={} seed {}", model.channels, model.hidden, model.seed)
}

/// How far a begun model is: `540 of 1200, loss 1.234, Ψ 0.31`.
pub(super) fn progress(snapshot: &Snapshot, model: &ModelProgress) -> Option<String> {
    let Stage::Begun(rows) = &model.stage else { return None };
    let iterations = snapshot.settings.train.iterations;
    let Some(last) = rows.last() else {
        return Some(format!("begun, of {iterations} iterations"));
    };
    let mut text = format!("{} of {iterations}, loss {:.4}", last.iteration, last.loss);
    if let Some(psi) = rows.iter().rev().find_map(|row| row.psi) {
        text += &format!(", Ψ {psi:.3}");
    }
    Some(text)
}

/// What models that have begun are in: that nobody is at work on them should not pass for training.
pub(super) fn begun_title(snapshot: &Snapshot) -> &'static str {
    if snapshot.is_abandoned() {
        "begun"
    } else {
        "in training"
    }
}

/// The models that have begun.
pub(super) fn begun(snapshot: &Snapshot) -> impl Iterator<Item = &ModelProgress> {
    let begun = |model: &&ModelProgress| matches!(model.stage, Stage::Begun(_));
    snapshot.models.iter().filter(begun)
}

/// The state of the whole in a line. That nobody works on it comes first, where narrow terminals show it.
pub(super) fn overview(snapshot: &Snapshot) -> String {
    let who = if snapshot.is_abandoned() {
        "nobody is at work on it (--resume goes on); "
    } else {
        ""
    };
    let tally = snapshot.tally();
    let left = match snapshot.remaining() {
        Some(Duration::ZERO) => String::new(),
        Some(time) => format!("; about {} of training left for one process", HumanDuration(time)),
        None => "; time left unknown before the first model is done".to_owned(),
    };
    let unreadable = match tally.unreadable {
        0 => String::new(),
        count => format!(", {count} with a damaged result"),
    };
    format!(
        "{who}{} of {} models done: {} ok, {} diverged, {} failed{unreadable}; {} begun, {} waiting{left}",
        tally.done(),
        snapshot.models.len(),
        tally.ok,
        tally.diverged,
        tally.failed,
        tally.begun,
        tally.waiting
    )
}
