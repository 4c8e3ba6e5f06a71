//! Ψ and its standard error over the grid of architectures, a panel for each texture.

mod notes;

use plotters::element::{Cross, EmptyElement, PathElement, Polygon, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::Color;
use serde::Serialize;

use self::notes::{FOOT_LINE, Note, draw_foot, foot_notes, wrap};
use super::collect::Collection;
use super::grid::{self, Cell, Map, State};
use crate::plot::axis::Scale;
use crate::plot::chart::{Axis, Chart, Panel, TICK};
use crate::plot::{
    Canvas, Drawn, Figure, INK, NO_VALUE, Point, Style, TextPlace, contrast, shorten, text_width, viridis,
};

/// What the colours of a map say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    /// Ψ.
    Psi,
    /// Its standard error.
    Error,
}

impl Shown {
    fn label(self) -> &'static str {
        match self {
            Self::Psi => "Ψ (px/frame)",
            Self::Error => "SE of Ψ (px/frame)",
        }
    }

    fn of(self, cell: Cell) -> Option<f64> {
        let strength = cell.strength()?;
        match self {
            Self::Psi => Some(strength.psi),
            Self::Error => strength.psi_se,
        }
    }
}

/// All maps in the same colours, and the bar beside them.
struct Group {
    shown: Shown,
    /// The value of the brightest colour; 0 if there is no value above it.
    highest: f64,
}

/// A row of the table of a heat map.
#[derive(Serialize)]
pub(super) struct Row {
    texture: String,
    channels: usize,
    hidden: usize,
    status: &'static str,
    psi: Option<f64>,
    psi_se: Option<f64>,
    measured: usize,
    models: usize,
}

/// Heat maps over (C, D): rows are C and columns D, in the order of the contact sheet.
pub(super) struct HeatMap {
    title: String,
    channels: Vec<usize>,
    hidden: Vec<usize>,
    maps: Vec<Map>,
    groups: Vec<Group>,
    notes: Vec<Note>,
}

/// Of each of `textures`, and, of several, their mean; all with the same colours. What has no value anywhere is shown only
/// if it comes first.
pub(super) fn heatmap(collection: &Collection, textures: &[&str], shown: &[Shown]) -> HeatMap {
    let maps = grid::maps(collection, textures);
    let values = |shown: Shown| {
        let cells = maps.iter().flat_map(|map| map.cells.iter().flatten());
        cells.filter_map(move |cell| shown.of(*cell))
    };
    let groups: Vec<Group> = shown
        .iter()
        .enumerate()
        .filter(|&(i, &shown)| i == 0 || values(shown).next().is_some())
        .map(|(_, &shown)| Group {
            shown,
            highest: values(shown).fold(0.0, f64::max),
        })
        .collect();
    HeatMap {
        title: format!("Motion strength of {}", textures.join(", ")),
        notes: foot_notes(
            collection,
            &maps,
            groups.iter().any(|group| group.shown == Shown::Error),
        ),
        channels: collection.channels(),
        hidden: collection.hidden(),
        maps,
        groups,
    }
}

const LEFT: f64 = 58.0;
const TOP: f64 = 34.0;
/// Between panels: room for the tick labels, and a title.
const GAP_X: f64 = 44.0;
const GAP_Y: f64 = 78.0;
const FOOT: f64 = 76.0;
const BAR_GAP: f64 = 22.0;
const BAR_WIDTH: f64 = 14.0;
/// Between the bar of a group and the next group.
const GROUP_GAP: f64 = 70.0;
/// Panels of a group stand side by side up to this width.
const MAX_PANELS_WIDTH: f64 = 1250.0;

/// Sizes and places, pixels.
struct Layout {
    cell: Point,
    panel: Point,
    /// Panels of a group side by side.
    across: usize,
    /// Left edges of the groups' panels.
    lefts: Vec<f64>,
    bar_height: f64,
    page: Point,
}

impl HeatMap {
    fn layout(&self) -> Layout {
        let (columns, rows) = (self.hidden.len() as f64, self.channels.len() as f64);
        let cell = ((340.0 / columns).clamp(30.0, 76.0), (340.0 / rows).clamp(21.0, 56.0));
        let panel = (columns * cell.0, rows * cell.1);
        let count = self.maps.len();
        let across = ((MAX_PANELS_WIDTH / (panel.0 + GAP_X)) as usize).max(1);
        let down = count.div_ceil(across).max(1);
        let across = count.div_ceil(down).max(1);
        let panels = (
            across as f64 * (panel.0 + GAP_X) - GAP_X,
            down as f64 * (panel.1 + GAP_Y) - GAP_Y,
        );
        // As high as a panel: a taller bar shows no more.
        let has_bar = self.groups.iter().any(|group| group.highest > 0.0);
        let bar_height = if has_bar { panel.1.max(120.0) } else { panel.1 };
        let mut lefts = Vec::new();
        let mut right = 0.0;
        for group in &self.groups {
            let left = if lefts.is_empty() { LEFT } else { right + GROUP_GAP };
            lefts.push(left);
            let bar = if has_bar {
                BAR_WIDTH + bar_axis(group, bar_height).room()
            } else {
                0.0
            };
            right = left + panels.0 + BAR_GAP + bar;
        }
        let widest_note = self.notes.iter().map(Note::width).fold(0.0, f64::max);
        let width = (right + 8.0).max(LEFT + widest_note + 10.0);
        let lines = wrap(&self.notes, width - LEFT - 10.0).len();
        let height = TOP + panels.1.max(bar_height) + FOOT + FOOT_LINE * (lines - 1) as f64;
        Layout {
            cell,
            panel,
            across,
            lefts,
            bar_height,
            page: (width, height),
        }
    }

    fn draw_map<DB: DrawingBackend>(
        &self,
        canvas: &Canvas<DB>,
        (group, map): (&Group, &Map),
        (left, top): Point,
        layout: &Layout,
        leftmost: bool,
    ) -> Drawn<DB> {
        let names = |numbers: &[usize]| numbers.iter().map(ToString::to_string).collect::<Vec<_>>();
        let channels = Axis::places(names(&self.channels), true);
        let panel = Panel {
            corner: (left, top),
            size: layout.panel,
            x: Axis::places(names(&self.hidden), false),
            side: channels.room(),
            y: channels,
            x_label: Some("Hidden neurons D"),
            y_label: Some(if leftmost { "Channels C" } else { "" }),
            on_the_right: false,
            grid: false,
        };
        let title = Style::new(12.0, TextPlace::Center).bold();
        let text = shorten(title_of(map), title, layout.panel.0.max(80.0));
        canvas.text((left + layout.panel.0 / 2.0, top - 14.0), text, title)?;
        panel.draw(canvas, |chart| {
            for (row, cells) in map.cells.iter().enumerate() {
                for (column, &cell) in cells.iter().enumerate() {
                    draw_cell(canvas, chart, group, cell, (column, row), layout.cell)?;
                }
            }
            Ok(())
        })
    }
}

impl HeatMap {
    /// What is drawn, as numbers.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for map in &self.maps {
            for (&channels, cells) in self.channels.iter().zip(&map.cells) {
                for (&hidden, cell) in self.hidden.iter().zip(cells) {
                    let strength = cell.strength();
                    rows.push(Row {
                        texture: title_of(map).to_owned(),
                        channels,
                        hidden,
                        status: cell.status(),
                        psi: strength.map(|s| s.psi),
                        psi_se: strength.and_then(|s| s.psi_se),
                        measured: cell.measured,
                        models: cell.models,
                    });
                }
            }
        }
        rows
    }
}

impl Figure for HeatMap {
    fn title(&self) -> String {
        self.title.clone()
    }

    fn size(&self) -> Point {
        self.layout().page
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let layout = self.layout();
        for (group, &left) in self.groups.iter().zip(&layout.lefts) {
            for (i, map) in self.maps.iter().enumerate() {
                let (column, row) = (i % layout.across, i / layout.across);
                let corner = (
                    left + column as f64 * (layout.panel.0 + GAP_X),
                    TOP + row as f64 * (layout.panel.1 + GAP_Y),
                );
                self.draw_map(canvas, (group, map), corner, &layout, column == 0)?;
            }
            let panels = layout.across as f64 * (layout.panel.0 + GAP_X) - GAP_X;
            draw_bar(canvas, group, (left + panels + BAR_GAP, TOP), layout.bar_height)?;
        }
        let (width, height) = layout.page;
        let lines = wrap(&self.notes, width - LEFT - 10.0);
        for (i, line) in lines.iter().enumerate() {
            let middle = height - 18.0 - FOOT_LINE * (lines.len() - 1 - i) as f64;
            draw_foot(canvas, (LEFT, middle), line)?;
        }
        Ok(())
    }
}

fn draw_cell<DB: DrawingBackend>(
    canvas: &Canvas<DB>,
    chart: &mut Chart<'_, DB>,
    group: &Group,
    cell: Cell,
    (column, row): (usize, usize),
    (width, height): Point,
) -> Drawn<DB> {
    let (x, y) = (column as f64, row as f64);
    let centre = (x + 0.5, y + 0.5);
    // A hair of paper between the cells.
    let seam = canvas.px(0.75);
    let value = group.shown.of(cell);
    let background = value.map_or(NO_VALUE, |v| color_of(v, group.highest));
    let area = chart.plotting_area();
    if cell.state != State::Missing {
        let margin = seam.unsigned_abs();
        let mut block = Rectangle::new([(x, y), (x + 1.0, y + 1.0)], background.filled());
        block.set_margin(margin, margin, margin, margin);
        area.draw(&block)?;
    }
    let small = width.min(height);
    let text = |text: &str, style: Style| {
        let lowered =
            EmptyElement::at(centre) + Text::new(text.to_owned(), (0, canvas.rise(style)), canvas.style(style));
        area.draw(&lowered)
    };
    match cell.state {
        State::Missing => {
            // Around and across.
            let edges = [
                (0.03, 0.97),
                (0.97, 0.97),
                (0.97, 0.03),
                (0.03, 0.03),
                (0.03, 0.97),
                (0.97, 0.03),
            ];
            let line = edges.map(|(dx, dy)| (x + dx, y + dy)).to_vec();
            area.draw(&PathElement::new(line, canvas.stroke(NO_VALUE, 0.75)))
        }
        State::Diverged => area.draw(&Cross::new(centre, canvas.px(0.2 * small), canvas.stroke(INK, 1.3))),
        State::Failed => text("!", Style::new(0.5 * small, TextPlace::Center).bold()),
        State::Unreadable => text("?", Style::new(0.5 * small, TextPlace::Center).bold()),
        State::Measured(_) => {
            let ink = contrast(background);
            if let Some(value) = value {
                let number = value_text(value, group.highest);
                let size = (0.5 * height)
                    .min(0.88 * width * TICK.size / text_width(&number, TICK))
                    .min(10.5);
                // Smaller than this nobody reads.
                if size >= 6.5 {
                    text(&number, Style::new(size, TextPlace::Center).color(ink))?;
                }
            }
            if cell.measured < cell.models {
                let leg = canvas.px(6.0);
                let corner = EmptyElement::at((x + 1.0, y))
                    + Polygon::new(vec![(-leg, seam), (-seam, seam), (-seam, leg)], ink.filled());
                area.draw(&corner)?;
            }
            Ok(())
        }
    }
}

/// A map's name: that of its texture.
fn title_of(map: &Map) -> &str {
    map.texture.as_deref().unwrap_or("mean of all")
}

fn color_of(value: f64, highest: f64) -> plotters::style::RGBColor {
    viridis(if highest > 0.0 { value / highest } else { 0.0 })
}

/// Two digits after the point, more or an exponent where the largest value needs them.
fn value_text(value: f64, highest: f64) -> String {
    match highest {
        h if h >= 1e3 || (h < 5e-4 && h > 0.0) => format!("{value:.0e}"),
        h if h < 0.01 && h > 0.0 => format!("{value:.4}"),
        h if h >= 10.0 => format!("{value:.1}"),
        h if h >= 0.2 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

fn bar_axis(group: &Group, height: f64) -> Axis {
    let highest = if group.highest > 0.0 { group.highest } else { 1.0 };
    Axis::new(Scale::exactly(0.0, highest), height, 24.0)
}

fn draw_bar<DB: DrawingBackend>(canvas: &Canvas<DB>, group: &Group, corner: Point, height: f64) -> Drawn<DB> {
    const STEPS: u32 = 128;
    if group.highest <= 0.0 {
        return Ok(());
    }
    let axis = bar_axis(group, height);
    let panel = Panel {
        corner,
        size: (BAR_WIDTH, height),
        x: Axis::bare(0.0, 1.0),
        side: axis.room(),
        y: axis,
        x_label: None,
        y_label: Some(group.shown.label()),
        on_the_right: true,
        grid: false,
    };
    panel.draw(canvas, |chart| {
        let slices = (0..STEPS).map(|step| {
            let ends = [step, step + 1].map(|s| group.highest * f64::from(s) / f64::from(STEPS));
            let color = color_of((ends[0] + ends[1]) / 2.0, group.highest);
            // Up to the top, where the next ones cover it: between slices side by side, seams would show.
            Rectangle::new([(0.0, ends[0]), (1.0, group.highest)], color.filled())
        });
        for slice in slices {
            chart.plotting_area().draw(&slice)?;
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_tell_values_apart_at_every_scale() {
        for (value, highest, text) in [
            (12.34, 56.0, "12.3"),
            (0.123, 0.56, "0.12"),
            (0.0123, 0.056, "0.012"),
            (0.001_23, 0.005_6, "0.0012"),
            (0.000_123, 0.000_4, "1e-4"),
            (0.0, 0.0, "0.000"),
        ] {
            assert_eq!(value_text(value, highest), text);
        }
    }
}
