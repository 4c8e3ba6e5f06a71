//! Ψ over the grid of architectures, a panel for each texture.

use super::collect::{Collection, ModelResult};
use super::draw::axis::{LABEL_SIZE, Scale, TICK_SIZE, Tick, widest_label};
use super::draw::{Anchor, Color, Figure, Paint, Point, Style, shorten, text_width, viridis};
use super::record::{ModelRecord, Status};
use super::stats;

/// What a cell of the grid knows.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cell {
    /// No model was run.
    Missing,
    /// Mean Ψ over the seeds that have one, pixels per frame.
    Value {
        psi: f64,
        /// Whether other seeds have none.
        some_lost: bool,
    },
    /// Every seed diverged.
    Diverged,
    /// No seed has a value, and one at least failed.
    Failed,
}

impl Cell {
    fn of(records: &[&ModelRecord]) -> Self {
        let values: Vec<f64> = records.iter().filter_map(|r| r.measured_psi()).collect();
        if let Some(psi) = stats::mean(values.iter().copied()) {
            let some_lost = values.len() < records.len();
            return Self::Value { psi, some_lost };
        }
        match records {
            [] => Self::Missing,
            records if records.iter().all(|r| r.status == Status::Diverged) => Self::Diverged,
            _ => Self::Failed,
        }
    }

    fn psi(self) -> Option<f64> {
        match self {
            Self::Value { psi, .. } => Some(psi),
            _ => None,
        }
    }
}

/// Rows C, columns D.
struct Grid<'a> {
    texture: &'a str,
    cells: Vec<Vec<Cell>>,
}

const LEFT: f64 = 58.0;
const TOP: f64 = 34.0;
/// Between panels: room for the tick labels, and a title.
const GAP_X: f64 = 44.0;
const GAP_Y: f64 = 78.0;
const FOOT: f64 = 76.0;
const BAR_GAP: f64 = 22.0;
const BAR_WIDTH: f64 = 14.0;
/// Panels stand side by side up to this width.
const MAX_PANELS_WIDTH: f64 = 1250.0;

/// Ψ over (C, D) for each of `textures`, all with the same colours.
///
/// Rows are C and columns D, in the order of the contact sheet.
pub(super) fn heatmap(collection: &Collection, textures: &[&str]) -> Figure {
    let (channels, hidden) = (collection.channels(), collection.hidden());
    let grids: Vec<_> = textures
        .iter()
        .map(|texture| grid(collection, texture, &channels, &hidden))
        .collect();
    let highest = grids
        .iter()
        .flat_map(|g| g.cells.iter().flatten())
        .filter_map(|c| c.psi())
        .fold(0.0, f64::max);
    let (columns, rows) = (hidden.len() as f64, channels.len() as f64);
    let cell = ((340.0 / columns).clamp(30.0, 76.0), (340.0 / rows).clamp(21.0, 56.0));
    let panel = (columns * cell.0, rows * cell.1);

    let across = ((MAX_PANELS_WIDTH / (panel.0 + GAP_X)) as usize).max(1);
    let down = grids.len().div_ceil(across).max(1);
    let across = grids.len().div_ceil(down).max(1);
    let panels_width = across as f64 * (panel.0 + GAP_X) - GAP_X;
    let panels_height = down as f64 * (panel.1 + GAP_Y) - GAP_Y;
    let foot = foot_notes(collection, &grids);
    // As high as a panel: a taller bar shows no more.
    let bar_height = panel.1.max(84.0);
    let scale = Scale::exactly(0.0, if highest > 0.0 { highest } else { 1.0 });
    let ticks = scale.ticks((bar_height / 24.0) as usize);
    let bar_room = 7.0 + widest_label(&ticks) + 12.0 + LABEL_SIZE + 8.0;
    let widest_note = foot.iter().map(|note| note.width() - NOTE_GAP).fold(0.0, f64::max);
    let width = LEFT + (panels_width + BAR_GAP + BAR_WIDTH + bar_room).max(widest_note + 10.0);
    let lines = wrap(&foot, width - LEFT - 10.0);
    let height = TOP + panels_height + FOOT + FOOT_LINE * (lines.len() - 1) as f64;
    let mut figure = Figure::new(format!("Motion strength of {}", textures.join(", ")), width, height);

    for (i, grid) in grids.iter().enumerate() {
        let (column, row) = (i % across, i / across);
        let origin = (
            LEFT + column as f64 * (panel.0 + GAP_X),
            TOP + row as f64 * (panel.1 + GAP_Y),
        );
        draw_grid(&mut figure, grid, origin, cell, highest);
        draw_labels(&mut figure, origin, cell, &channels, &hidden, column == 0);
    }
    if highest > 0.0 {
        let left = LEFT + panels_width + BAR_GAP;
        draw_bar(&mut figure, (left, TOP), bar_height, &scale, &ticks);
    }
    for (i, line) in lines.iter().enumerate() {
        let baseline = height - 14.0 - FOOT_LINE * (lines.len() - 1 - i) as f64;
        draw_foot(&mut figure, (LEFT, baseline), line);
    }
    figure
}

fn grid<'a>(collection: &Collection, texture: &'a str, channels: &[usize], hidden: &[usize]) -> Grid<'a> {
    let of = |c: usize, d: usize| {
        let records: Vec<_> = collection
            .of_texture(texture)
            .map(ModelResult::record)
            .filter(|r| r.channels == c && r.hidden == d)
            .collect();
        Cell::of(&records)
    };
    let cells = channels
        .iter()
        .map(|&c| hidden.iter().map(|&d| of(c, d)).collect())
        .collect();
    Grid { texture, cells }
}

fn draw_grid(figure: &mut Figure, grid: &Grid<'_>, (left, top): Point, cell: (f64, f64), highest: f64) {
    for (row, cells) in grid.cells.iter().enumerate() {
        for (column, &value) in cells.iter().enumerate() {
            let corner = (left + column as f64 * cell.0, top + row as f64 * cell.1);
            draw_cell(figure, value, corner, cell, highest);
        }
    }
    let width = grid.cells.first().map_or(0, Vec::len) as f64 * cell.0;
    let title = Style::new(12.0, Anchor::Middle).bold();
    figure.text(
        (left + width / 2.0, top - 10.0),
        shorten(grid.texture, title, width.max(80.0)),
        title,
    );
}

fn draw_cell(figure: &mut Figure, cell: Cell, (x, y): Point, (width, height): (f64, f64), highest: f64) {
    // A hair of paper between the cells.
    const SEAM: f64 = 0.75;
    let corner = (x + SEAM, y + SEAM);
    let (inner_width, inner_height) = (width - 2.0 * SEAM, height - 2.0 * SEAM);
    let centre = (x + width / 2.0, y + height / 2.0);
    let plain = |color| Paint::fill(color);
    match cell {
        Cell::Missing => hatch(figure, corner, inner_width, inner_height),
        Cell::Value { psi, some_lost } => {
            let color = viridis(if highest > 0.0 { psi / highest } else { 0.0 });
            figure.rect(corner, inner_width, inner_height, plain(color));
            let ink = color.contrast();
            let text = value_text(psi, highest);
            let size = (0.5 * height)
                .min(0.88 * width * TICK_SIZE / text_width(&text, TICK_SIZE, false))
                .min(10.5);
            // Smaller than this nobody reads.
            if size >= 6.5 {
                figure.text_centred(centre, text, Style::new(size, Anchor::Middle).color(ink));
            }
            if some_lost {
                let (right, leg) = (corner.0 + inner_width, 6.0);
                let triangle = vec![(right - leg, corner.1), (right, corner.1), (right, corner.1 + leg)];
                figure.polygon(triangle, plain(ink));
            }
        }
        Cell::Diverged => {
            figure.rect(corner, inner_width, inner_height, plain(Color::NO_VALUE));
            figure.cross(centre, 0.4 * width.min(height), Color::INK, 1.3);
        }
        Cell::Failed => {
            figure.rect(corner, inner_width, inner_height, plain(Color::NO_VALUE));
            figure.text_centred(centre, "!", Style::new(0.5 * width.min(height), Anchor::Middle).bold());
        }
    }
}

/// Two digits after the point, three or an exponent where the largest value needs them.
fn value_text(psi: f64, highest: f64) -> String {
    match highest {
        h if h >= 1e3 || (h < 0.01 && h > 0.0) => format!("{psi:.0e}"),
        h if h >= 10.0 => format!("{psi:.1}"),
        h if h >= 0.2 => format!("{psi:.2}"),
        _ => format!("{psi:.3}"),
    }
}

/// Diagonal lines in a rectangle.
fn hatch(figure: &mut Figure, (x, y): Point, width: f64, height: f64) {
    const SPACING: f64 = 6.0;
    let mut offset = SPACING / 2.0;
    while offset < width + height {
        // From the left or lower edge up to the upper or right one, along x + y = offset.
        let from = if offset <= height {
            (0.0, offset)
        } else {
            (offset - height, height)
        };
        let to = if offset <= width {
            (offset, 0.0)
        } else {
            (width, offset - width)
        };
        figure.line((x + from.0, y + from.1), (x + to.0, y + to.1), Color::NO_VALUE, 0.8);
        offset += SPACING;
    }
    figure.rect((x, y), width, height, Paint::line(Color::NO_VALUE, 0.8));
}

fn draw_labels(
    figure: &mut Figure,
    (left, top): Point,
    (width, height): (f64, f64),
    channels: &[usize],
    hidden: &[usize],
    leftmost: bool,
) {
    let bottom = top + channels.len() as f64 * height;
    for (column, d) in hidden.iter().enumerate() {
        let x = left + (column as f64 + 0.5) * width;
        figure.text((x, bottom + 14.0), d.to_string(), Style::new(TICK_SIZE, Anchor::Middle));
    }
    for (row, c) in channels.iter().enumerate() {
        let y = top + (row as f64 + 0.5) * height;
        figure.text_centred((left - 6.0, y), c.to_string(), Style::new(TICK_SIZE, Anchor::End));
    }
    let middle = Style::new(LABEL_SIZE, Anchor::Middle);
    figure.text(
        (left + hidden.len() as f64 * width / 2.0, bottom + 32.0),
        "Hidden neurons D",
        middle,
    );
    if leftmost {
        figure.text((left - 36.0, (top + bottom) / 2.0), "Channels C", middle.upwards());
    }
}

fn draw_bar(figure: &mut Figure, (left, top): Point, height: f64, scale: &Scale, ticks: &[Tick]) {
    let steps = 64;
    let slice = height / f64::from(steps);
    for step in 0..steps {
        let color = viridis(1.0 - (f64::from(step) + 0.5) / f64::from(steps));
        // Slices overlap downwards, or antialiasing would show seams.
        let overlap = if step + 1 < steps { 0.6 } else { 0.0 };
        figure.rect(
            (left, top + f64::from(step) * slice),
            BAR_WIDTH,
            slice + overlap,
            Paint::fill(color),
        );
    }
    let right = left + BAR_WIDTH;
    for tick in ticks {
        let y = top + (1.0 - scale.map(tick.value)) * height;
        figure.line((right, y), (right + 4.0, y), Color::INK, 0.8);
        figure.text_centred(
            (right + 7.0, y),
            tick.label.as_str(),
            Style::new(TICK_SIZE, Anchor::Start),
        );
    }
    figure.text_centred(
        (right + 7.0 + widest_label(ticks) + 12.0, top + height / 2.0),
        "Ψ (px/frame)",
        Style::new(LABEL_SIZE, Anchor::Middle).upwards(),
    );
}

/// An entry at the foot: a cell as it appears, if it is one, and its meaning.
struct Note {
    sample: Option<Cell>,
    text: String,
}

const FOOT_LINE: f64 = 18.0;
const SAMPLE: (f64, f64) = (18.0, 12.0);
const NOTE_GAP: f64 = 18.0;

impl Note {
    fn width(&self) -> f64 {
        let sample = if self.sample.is_some() { SAMPLE.0 + 5.0 } else { 0.0 };
        sample + text_width(&self.text, TICK_SIZE, false) + NOTE_GAP
    }
}

/// What is to be said below the panels: only what occurs in them.
fn foot_notes(collection: &Collection, grids: &[Grid<'_>]) -> Vec<Note> {
    let cells = || grids.iter().flat_map(|g| g.cells.iter().flatten());
    let lost = Cell::Value {
        psi: 0.0,
        some_lost: true,
    };
    let samples = [
        (Cell::Diverged, "diverged"),
        (Cell::Failed, "failed"),
        (lost, "a seed without Ψ"),
        (Cell::Missing, "not run"),
    ];
    let occurs = |sample: Cell| {
        cells().any(|&cell| match (cell, sample) {
            (Cell::Value { some_lost, .. }, Cell::Value { .. }) => some_lost,
            (cell, sample) => cell == sample,
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
    notes.push(Note {
        sample: None,
        text: collection.provenance(),
    });
    notes
}

/// Distributes the notes over lines of a width; at least one line.
fn wrap(notes: &[Note], width: f64) -> Vec<Vec<&Note>> {
    let mut lines: Vec<Vec<&Note>> = vec![Vec::new()];
    let mut used = 0.0;
    for note in notes {
        if used > 0.0 && used + note.width() - NOTE_GAP > width {
            lines.push(Vec::new());
            used = 0.0;
        }
        used += note.width();
        if let Some(line) = lines.last_mut() {
            line.push(note);
        }
    }
    lines
}

fn draw_foot(figure: &mut Figure, (left, baseline): Point, notes: &[&Note]) {
    let mut x = left;
    for note in notes {
        let mut at = x;
        if let Some(sample) = note.sample {
            let corner = (at, baseline - 0.365 * TICK_SIZE - SAMPLE.1 / 2.0);
            // A value of zero would be written into the sample were it any larger.
            draw_cell(figure, sample, corner, SAMPLE, 0.0);
            at += SAMPLE.0 + 5.0;
        }
        let style = Style::new(TICK_SIZE, Anchor::Start).color(Color::FAINT_INK);
        figure.text((at, baseline), note.text.as_str(), style);
        x += note.width();
    }
}
