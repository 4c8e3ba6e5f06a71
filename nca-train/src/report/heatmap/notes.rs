//! What stands at the foot of a heat map: the marks of its cells, and how Ψ was measured.

use plotters::element::Polygon;
use plotters::prelude::DrawingBackend;
use plotters::style::Color;

use crate::plot::chart::TICK;
use crate::plot::{
    Canvas, Drawn, FAINT_INK, INK, NO_VALUE, PAPER, Point, Style, TextPlace, break_lines, text_width, viridis,
};
use crate::report::collect::Collection;
use crate::report::grid::{Map, State};

/// An entry at the foot: how a cell looks, if it is one, and its meaning.
pub(super) struct Note {
    sample: Option<Sample>,
    text: String,
}

/// A mark that a cell may bear.
#[derive(Clone, Copy, PartialEq)]
enum Sample {
    Diverged,
    Failed,
    Unreadable,
    SomeLost,
    Missing,
}

/// Height of a line at the foot.
pub(super) const FOOT_LINE: f64 = 18.0;
const SAMPLE: Point = (18.0, 12.0);
const NOTE_GAP: f64 = 18.0;
const NOTE: Style = Style::new(TICK.size, TextPlace::Left).color(FAINT_INK);

impl Note {
    pub(super) fn width(&self) -> f64 {
        let sample = if self.sample.is_some() { SAMPLE.0 + 5.0 } else { 0.0 };
        sample + text_width(&self.text, NOTE)
    }
}

/// What is to be said below the maps: only what occurs in them.
pub(super) fn foot_notes(collection: &Collection, maps: &[Map], with_errors: bool) -> Vec<Note> {
    let samples = [
        (Sample::Diverged, "diverged"),
        (Sample::Failed, "failed"),
        (Sample::Unreadable, "unreadable"),
        (Sample::SomeLost, "a seed without Ψ"),
        (Sample::Missing, "not run"),
    ];
    let occurs = |sample: Sample| {
        let mut cells = maps.iter().flat_map(|map| map.cells.iter().flatten());
        cells.any(|cell| match cell.state {
            State::Diverged => sample == Sample::Diverged,
            State::Failed => sample == Sample::Failed,
            State::Unreadable => sample == Sample::Unreadable,
            State::Missing => sample == Sample::Missing,
            State::Measured(_) => sample == Sample::SomeLost && cell.measured < cell.models,
        })
    };
    let mut notes: Vec<_> = samples
        .into_iter()
        .filter(|(sample, _)| occurs(*sample))
        .map(|(sample, text)| Note {
            sample: Some(sample),
            text: text.to_owned(),
        })
        .collect();
    let error = if with_errors {
        match collection.seeds().len() {
            1 => "; SE: standard error over frame pairs",
            _ => "; SE: standard error over seeds, of a single one over frame pairs",
        }
    } else {
        ""
    };
    notes.push(Note {
        sample: None,
        text: format!("{}{error}", collection.provenance()),
    });
    notes
}

/// Distributes the notes over lines of a width; at least one line.
pub(super) fn wrap(notes: &[Note], width: f64) -> Vec<&[Note]> {
    let widths: Vec<f64> = notes.iter().map(Note::width).collect();
    let lines = break_lines(&widths, NOTE_GAP, width);
    lines.into_iter().map(|line| &notes[line]).collect()
}

/// Draws a line of notes, from its left end and the middle of its height.
pub(super) fn draw_foot<DB: DrawingBackend>(canvas: &Canvas<DB>, (left, middle): Point, notes: &[Note]) -> Drawn<DB> {
    let mut x = left;
    for note in notes {
        let mut at = x;
        if let Some(sample) = note.sample {
            draw_sample(canvas, sample, (at, middle - SAMPLE.1 / 2.0))?;
            at += SAMPLE.0 + 5.0;
        }
        canvas.text((at, middle), &note.text, NOTE)?;
        x += note.width() + NOTE_GAP;
    }
    Ok(())
}

fn draw_sample<DB: DrawingBackend>(canvas: &Canvas<DB>, sample: Sample, (x, y): Point) -> Drawn<DB> {
    let (right, bottom) = (x + SAMPLE.0, y + SAMPLE.1);
    let centre = ((x + right) / 2.0, (y + bottom) / 2.0);
    match sample {
        Sample::Diverged => {
            canvas.fill((x, y), SAMPLE, NO_VALUE)?;
            canvas.cross(centre, 0.4 * SAMPLE.1, INK, 1.3)
        }
        Sample::Failed | Sample::Unreadable => {
            let mark = if sample == Sample::Failed { "!" } else { "?" };
            canvas.fill((x, y), SAMPLE, NO_VALUE)?;
            canvas.text(centre, mark, Style::new(0.7 * SAMPLE.1, TextPlace::Center).bold())
        }
        Sample::SomeLost => {
            canvas.fill((x, y), SAMPLE, viridis(0.0))?;
            let corners = [(right - 6.0, y), (right, y), (right, y + 6.0)].map(|(x, y)| (canvas.px(x), canvas.px(y)));
            canvas.element(&Polygon::new(corners.to_vec(), PAPER.filled()))
        }
        Sample::Missing => {
            canvas.frame((x, y), SAMPLE, NO_VALUE)?;
            canvas.line((x + 2.0, bottom - 2.0), (right - 2.0, y + 2.0), NO_VALUE, 0.75)
        }
    }
}
