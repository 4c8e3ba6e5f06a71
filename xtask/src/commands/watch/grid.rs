//! The grid of architectures as characters.

use std::time::Duration;

use indicatif::HumanDuration;
use nca_train::report::Status;
use nca_train::sweep::{ModelProgress, Snapshot, Stage};

/// Characters of a cell.
pub(super) const CELL: usize = 7;

/// What is shown of an architecture, over its seeds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Cell {
    /// Mean Ψ, pixels per frame.
    Psi(f64),
    /// Share of the iterations done.
    Begun(f64),
    Waiting,
    Diverged,
    Failed,
}

impl Cell {
    pub(super) fn of(snapshot: &Snapshot, texture: usize, channels: usize, hidden: usize) -> Self {
        let here = |m: &&ModelProgress| m.texture == texture && m.channels == channels && m.hidden == hidden;
        let stages: Vec<_> = snapshot.models.iter().filter(here).map(|m| &m.stage).collect();
        let psi: Vec<f64> = stages
            .iter()
            .filter_map(|stage| match stage {
                Stage::Done(record) => record.measured_psi(),
                Stage::Begun(_) | Stage::Waiting => None,
            })
            .collect();
        if !psi.is_empty() {
            return Self::Psi(psi.iter().sum::<f64>() / psi.len() as f64);
        }
        let begun = stages.iter().filter_map(|stage| match stage {
            Stage::Begun(rows) => Some(snapshot.share(rows)),
            Stage::Done(_) | Stage::Waiting => None,
        });
        if let Some(share) = begun.reduce(f64::max) {
            return Self::Begun(share);
        }
        let ended = |status| {
            stages
                .iter()
                .any(|s| matches!(s, Stage::Done(record) if record.status == status))
        };
        if ended(Status::Failed) {
            Self::Failed
        } else if ended(Status::Diverged) {
            Self::Diverged
        } else {
            Self::Waiting
        }
    }

    /// Its text, right-aligned in [`CELL`] characters.
    pub(super) fn text(self) -> String {
        let text = match self {
            Self::Psi(psi) if psi < 100.0 => format!("{psi:.3}"),
            Self::Psi(psi) => format!("{psi:.0e}"),
            // A model at 100 % is being measured.
            Self::Begun(share) => format!("{:.0}%", (100.0 * share).floor()),
            Self::Waiting => "·".to_owned(),
            Self::Diverged => "×".to_owned(),
            Self::Failed => "!".to_owned(),
        };
        format!("{text:>width$} ", width = CELL - 1)
    }
}

/// The largest Ψ there is, for the colours; 0 if there is none.
pub(super) fn highest(snapshot: &Snapshot) -> f64 {
    done(snapshot).map(|(_, psi)| psi).fold(0.0, f64::max)
}

/// The models that have a Ψ, and it.
fn done(snapshot: &Snapshot) -> impl Iterator<Item = (&ModelProgress, f64)> {
    snapshot.models.iter().filter_map(|model| match &model.stage {
        Stage::Done(record) => Some((model, record.measured_psi()?)),
        Stage::Begun(_) | Stage::Waiting => None,
    })
}

/// The strongest movers, strongest first.
pub(super) fn movers(snapshot: &Snapshot, most: usize) -> Vec<(&ModelProgress, f64)> {
    let mut models: Vec<_> = done(snapshot).collect();
    models.sort_by(|a, b| b.1.total_cmp(&a.1));
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

/// The models that have begun.
pub(super) fn begun(snapshot: &Snapshot) -> impl Iterator<Item = &ModelProgress> {
    let begun = |model: &&ModelProgress| matches!(model.stage, Stage::Begun(_));
    snapshot.models.iter().filter(begun)
}

/// The state of the whole in a line.
pub(super) fn overview(snapshot: &Snapshot) -> String {
    let tally = snapshot.tally();
    let left = match snapshot.remaining() {
        Some(Duration::ZERO) => String::new(),
        Some(time) => format!("; about {} of training left for one process", HumanDuration(time)),
        None => "; time left unknown before the first model is done".to_owned(),
    };
    format!(
        "{} of {} models done: {} ok, {} diverged, {} failed; {} begun, {} waiting{left}",
        tally.done(),
        snapshot.models.len(),
        tally.ok,
        tally.diverged,
        tally.failed,
        tally.begun,
        tally.waiting
    )
}
