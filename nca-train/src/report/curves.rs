//! Ψ and loss in the course of training: a column of panels for each C, a line for each D.

use plotters::element::{Circle, Cross};
use plotters::prelude::DrawingBackend;
use plotters::series::LineSeries;
use plotters::style::{Color, RGBColor};
use serde::Serialize;

use super::collect::Collection;
use super::record::{ModelRecord, Status};
use super::series::Series;
use crate::plot::axis::Scale;
use crate::plot::chart::{Axis, LABEL, Panel, TICK};
use crate::plot::{Canvas, Drawn, FAINT_INK, Figure, INK, Point, Style, TextPlace, ordinal, shorten, text_width};

/// Most points of a curve: more would not be seen, and make a heavy file.
const MAX_POINTS: usize = 150;
/// Most columns side by side.
const MAX_COLUMNS: usize = 8;

/// Left of the labels of the y axes.
const MARGIN: f64 = 4.0;
const TOP: f64 = 62.0;
const GAP_X: f64 = 22.0;
/// Between the Ψ and the loss panels of a column.
const GAP_Y: f64 = 16.0;
/// Between rows of columns: room for an axis label and a title.
const BAND_GAP: f64 = 74.0;
const BOTTOM: f64 = 70.0;
const LEGEND: f64 = 116.0;

/// A curve and how it ended.
struct Line {
    channels: usize,
    hidden: usize,
    seed: u64,
    points: Vec<Point>,
    diverged: bool,
}

impl Line {
    fn new(record: &ModelRecord, points: Vec<Point>) -> Self {
        Self {
            channels: record.channels,
            hidden: record.hidden,
            seed: record.seed,
            points,
            diverged: record.status == Status::Diverged,
        }
    }
}

/// Training of all models of a texture: a line for each model in either kind of panel.
pub(super) struct Curves {
    texture: String,
    channels: Vec<usize>,
    hidden: Vec<usize>,
    psi: Vec<Line>,
    loss: Vec<Line>,
    /// The last iteration of all.
    last: u64,
    note: String,
    loss_scale: Scale,
}

/// A row of the table of curves.
#[derive(Serialize)]
pub(super) struct Row {
    channels: usize,
    hidden: usize,
    seed: u64,
    quantity: &'static str,
    iteration: f64,
    value: f64,
}

/// The curves of a texture; `None` if no model has one.
pub(super) fn curves(collection: &Collection, texture: &str) -> Option<Curves> {
    let models = || collection.of_texture(texture).filter(|model| !model.metrics.is_empty());
    let last = models()
        .filter_map(|model| Some(model.metrics.last()?.iteration))
        .max()?;
    let (mut psi, mut loss) = (Vec::new(), Vec::new());
    let (mut longest, mut of_training) = (1, false);
    for model in models() {
        let series = Series::of(&model.metrics, MAX_POINTS);
        psi.push(Line::new(model.record(), series.psi));
        loss.push(Line::new(model.record(), series.loss));
        longest = longest.max(series.window);
        of_training |= series.psi_of_training;
    }
    let losses = values(&loss);
    let shown = without_outliers(losses.clone());
    let mut note = collection.provenance();
    if longest > 1 {
        note += &format!("; loss averaged over {longest} rows of the log");
    }
    if of_training {
        note += "; Ψ of models trained for motion is that of their training frames";
    }
    if shown.len() < losses.len() {
        note += "; larger losses run along the upper edge";
    }
    Some(Curves {
        texture: texture.to_owned(),
        channels: collection.channels(),
        hidden: collection.hidden(),
        psi,
        loss,
        last,
        note,
        loss_scale: Scale::decades(shown),
    })
}

/// Where the panels are: columns of two, in bands of at most [`MAX_COLUMNS`].
struct Layout {
    across: usize,
    /// Left of the first column.
    margin: f64,
    panel: Point,
    iterations: Axis,
    psi: Axis,
    loss: Axis,
    page: Point,
}

impl Layout {
    /// The corner of the Ψ panel of a column; that of the loss is below it.
    fn corner(&self, column: usize) -> Point {
        let (place, band) = (column % self.across, column / self.across);
        (
            self.margin + place as f64 * (self.panel.0 + GAP_X),
            TOP + band as f64 * (2.0 * self.panel.1 + GAP_Y + BAND_GAP),
        )
    }

    fn panels_height(&self) -> f64 {
        self.page.1 - TOP - BOTTOM
    }
}

impl Curves {
    fn layout(&self) -> Layout {
        let columns = self.channels.len();
        let across = columns.clamp(1, MAX_COLUMNS);
        let bands = columns.div_ceil(across);
        let width = ((1180.0 - GAP_X * (across - 1) as f64) / across as f64).clamp(118.0, 300.0);
        let height = if bands > 1 { 118.0 } else { 180.0 };
        let psi = Axis::new(Scale::linear(values(&self.psi), true), height, 26.0);
        let loss = Axis::new(self.loss_scale, height, 26.0);
        let margin = MARGIN + psi.room().max(loss.room());
        let panels = margin + across as f64 * (width + GAP_X) + LEGEND;
        let note = margin + text_width(&self.note, TICK) + 10.0;
        let band = 2.0 * height + GAP_Y + BAND_GAP;
        Layout {
            across,
            margin,
            panel: (width, height),
            iterations: Axis::new(Scale::exactly(0.0, self.last.max(1) as f64), width, 42.0),
            psi,
            loss,
            page: (panels.max(note), TOP + bands as f64 * band - BAND_GAP + BOTTOM),
        }
    }

    fn color(&self, line: &Line) -> RGBColor {
        ordinal(self.hidden.partition_point(|&d| d < line.hidden), self.hidden.len())
    }

    fn draw_column<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, layout: &Layout, column: usize) -> Drawn<DB> {
        let place = column % layout.across;
        let (left, top) = layout.corner(column);
        let (width, height) = layout.panel;
        let title = Style::new(LABEL.size, TextPlace::Center).bold();
        let channels = self.channels[column];
        canvas.text((left + width / 2.0, top - 12.0), format!("C = {channels}"), title)?;
        let upper = Panel {
            corner: (left, top),
            size: layout.panel,
            x: layout.iterations.clone(),
            y: layout.psi.clone(),
            x_label: None,
            y_label: (place == 0).then_some("Ψ (px/frame)"),
            // The same for both, so that their labels are in line.
            side: layout.margin - MARGIN,
            on_the_right: false,
            grid: true,
        };
        let named = place == (layout.across - 1) / 2;
        let lower = Panel {
            corner: (left, top + height + GAP_Y),
            y: layout.loss.clone(),
            x_label: Some(if named { "Iteration" } else { "" }),
            y_label: (place == 0).then_some("Loss"),
            ..upper.clone()
        };
        for (panel, lines, dots) in [(upper, &self.psi, true), (lower, &self.loss, false)] {
            panel.draw(canvas, |chart| {
                for line in lines.iter().filter(|line| line.channels == channels) {
                    let color = self.color(line);
                    let points = || line.points.iter().copied();
                    chart.draw_series(LineSeries::new(points(), canvas.stroke(color, 1.3)))?;
                    // A line needs two points.
                    if dots || line.points.len() == 1 {
                        let dot = |point| Circle::new(point, canvas.px(1.7), color.filled());
                        chart.draw_series(points().map(dot))?;
                    }
                    let end = points().last().filter(|_| line.diverged);
                    let cross = |end| Cross::new(end, canvas.px(3.5), canvas.stroke(color, 1.6));
                    chart.draw_series(end.map(cross))?;
                }
                Ok(())
            })?;
        }
        Ok(())
    }

    fn draw_legend<DB: DrawingBackend>(&self, canvas: &Canvas<DB>, (left, top): Point, room: f64) -> Drawn<DB> {
        // A long list is set tighter.
        let line = (room / (self.hidden.len() + 2) as f64).min(16.0);
        let style = Style::new(TICK.size, TextPlace::Left);
        canvas.text((left, top + 4.0), "Hidden neurons D", style)?;
        let mut y = top + 4.0 + line;
        for (i, d) in self.hidden.iter().enumerate() {
            canvas.line((left, y), (left + 20.0, y), ordinal(i, self.hidden.len()), 2.2)?;
            canvas.text((left + 27.0, y), d.to_string(), style)?;
            y += line;
        }
        if self.loss.iter().any(|line| line.diverged) {
            canvas.cross((left + 10.0, y), 7.0, INK, 1.6)?;
            canvas.text((left + 27.0, y), "diverged", style)?;
        }
        Ok(())
    }
}

impl Curves {
    /// What is drawn, as numbers.
    pub(super) fn rows(&self) -> Vec<Row> {
        let rows = |lines: &[Line], quantity: &'static str| -> Vec<Row> {
            let of = |line: &Line| -> Vec<Row> {
                let row = |&(iteration, value): &Point| Row {
                    channels: line.channels,
                    hidden: line.hidden,
                    seed: line.seed,
                    quantity,
                    iteration,
                    value,
                };
                line.points.iter().map(row).collect()
            };
            lines.iter().flat_map(of).collect()
        };
        let mut table = rows(&self.psi, "psi");
        table.extend(rows(&self.loss, "loss"));
        table
    }
}

impl Figure for Curves {
    fn title(&self) -> String {
        format!("Training on {}", self.texture)
    }

    fn size(&self) -> Point {
        self.layout().page
    }

    fn draw<DB: DrawingBackend>(&self, canvas: &Canvas<DB>) -> Drawn<DB> {
        let layout = self.layout();
        let (width, height) = layout.page;
        let title = Style::new(13.0, TextPlace::Left).bold();
        let text = shorten(&self.texture, title, width - layout.margin - 10.0);
        canvas.text((layout.margin, 20.0), text, title)?;
        for column in 0..self.channels.len() {
            self.draw_column(canvas, &layout, column)?;
        }
        let right = layout.margin + layout.across as f64 * (layout.panel.0 + GAP_X);
        self.draw_legend(canvas, (right + 8.0, TOP), layout.panels_height())?;
        let style = Style::new(TICK.size, TextPlace::Left).color(FAINT_INK);
        canvas.text((layout.margin, height - 14.0), &self.note, style)
    }
}

fn values(lines: &[Line]) -> Vec<f64> {
    lines.iter().flat_map(|line| line.points.iter().map(|p| p.1)).collect()
}

/// A diverging run passes any bound; it shall not flatten the others. Beyond it, lines run along
/// the edge of the panel.
fn without_outliers(mut values: Vec<f64>) -> Vec<f64> {
    const BOUND_OVER_MEDIAN: f64 = 1e4;
    values.sort_by(f64::total_cmp);
    if let Some(&median) = values.get(values.len() / 2)
        && median > 0.0
    {
        values.retain(|&v| v <= BOUND_OVER_MEDIAN * median);
    }
    values
}
