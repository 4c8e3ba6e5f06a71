//! Ψ and loss in the course of training: a column of panels for each C, a line for each D.

use super::collect::{Collection, ModelResult};
use super::draw::axis::{AxisText, LABEL_SIZE, Panel, Scale, TICK_SIZE};
use super::draw::{Anchor, Color, Figure, Paint, Point, Style, ordinal, shorten, text_width};
use super::record::{MetricRow, Status};
use super::stats;

/// Most points of a loss curve: more would not be seen, and make a heavy file.
const MAX_POINTS: usize = 150;
/// Most columns side by side.
const MAX_COLUMNS: usize = 8;

const TOP: f64 = 62.0;
const GAP_X: f64 = 22.0;
/// Between the Ψ and the loss panels of a column.
const GAP_Y: f64 = 16.0;
/// Between rows of columns: room for an axis label and a title.
const BAND_GAP: f64 = 66.0;
const BOTTOM: f64 = 62.0;
const LEGEND: f64 = 116.0;

/// A curve and how it ended.
struct Line {
    column: usize,
    color: Color,
    points: Vec<Point>,
    diverged: bool,
}

/// What is drawn: a line for each model in either kind of panel.
struct Curves {
    psi: Vec<Line>,
    loss: Vec<Line>,
    /// Iterations that a point of a loss curve stands for.
    window: usize,
    /// Whether some Ψ is that of training frames.
    training: bool,
    /// The last iteration of all.
    last: u64,
}

impl Curves {
    fn of(collection: &Collection, texture: &str, channels: &[usize], hidden: &[usize]) -> Option<Self> {
        let models = || collection.of_texture(texture).filter(|model| !model.metrics.is_empty());
        let mut curves = Self {
            psi: Vec::new(),
            loss: Vec::new(),
            window: 1,
            training: models().any(|model| is_motion_trained(&model.metrics)),
            last: models()
                .filter_map(|model| model.metrics.last())
                .map(|row| row.iteration)
                .max()?,
        };
        for model in models() {
            let record = model.record();
            let line = |points| Line {
                column: channels.partition_point(|&c| c < record.channels),
                color: ordinal(hidden.partition_point(|&d| d < record.hidden), hidden.len()),
                points,
                diverged: record.status == Status::Diverged,
            };
            let (loss, window) = loss_points(&model.metrics);
            curves.psi.push(line(psi_points(model)));
            curves.loss.push(line(loss));
            curves.window = curves.window.max(window);
        }
        Some(curves)
    }
}

/// Where the panels are: columns of two, in bands of at most [`MAX_COLUMNS`].
struct Layout {
    across: usize,
    bands: usize,
    /// Left of the first column.
    margin: f64,
    panel: (f64, f64),
    iterations: Scale,
    psi: Scale,
    loss: Scale,
    /// Whether losses lie beyond the scale.
    loss_cut: bool,
}

impl Layout {
    fn new(curves: &Curves, columns: usize) -> Self {
        let across = columns.clamp(1, MAX_COLUMNS);
        let bands = columns.div_ceil(across);
        let width = ((1180.0 - GAP_X * (across - 1) as f64) / across as f64).clamp(118.0, 300.0);
        let height = if bands > 1 { 118.0 } else { 180.0 };
        let psi = Scale::linear(values(&curves.psi), true);
        let losses = values(&curves.loss);
        let shown = without_outliers(losses.clone());
        let loss_cut = shown.len() < losses.len();
        let loss = Scale::decades(shown);
        Self {
            across,
            bands,
            margin: Panel::left_room(&psi, height).max(Panel::left_room(&loss, height)),
            panel: (width, height),
            iterations: Scale::exactly(0.0, curves.last.max(1) as f64),
            psi,
            loss,
            loss_cut,
        }
    }

    fn band_height(&self) -> f64 {
        2.0 * self.panel.1 + GAP_Y
    }

    fn page(&self) -> (f64, f64) {
        let width = self.margin + self.across as f64 * (self.panel.0 + GAP_X) + LEGEND;
        let height = TOP + self.bands as f64 * (self.band_height() + BAND_GAP) - BAND_GAP + BOTTOM;
        (width, height)
    }

    /// The Ψ panel of a column and the loss panel below it.
    fn panels(&self, column: usize) -> [Panel; 2] {
        let (place, band) = (column % self.across, column / self.across);
        let (width, height) = self.panel;
        let upper = Panel {
            left: self.margin + place as f64 * (width + GAP_X),
            top: TOP + band as f64 * (self.band_height() + BAND_GAP),
            width,
            height,
            x: self.iterations,
            y: self.psi,
        };
        let lower = Panel {
            top: upper.bottom() + GAP_Y,
            y: self.loss,
            ..upper
        };
        [upper, lower]
    }
}

/// Training of all models of a texture; `None` if no model has a curve.
pub(super) fn curves(collection: &Collection, texture: &str) -> Option<Figure> {
    let (channels, hidden) = (collection.channels(), collection.hidden());
    let curves = Curves::of(collection, texture, &channels, &hidden)?;
    let layout = Layout::new(&curves, channels.len());
    let mut note = collection.provenance();
    if curves.window > 1 {
        note += &format!("; loss averaged over {} iterations", curves.window);
    }
    if curves.training {
        note += "; Ψ of models trained for motion is that of their training frames";
    }
    if layout.loss_cut {
        note += "; larger losses run along the upper edge";
    }
    let (panels_width, height) = layout.page();
    let width = panels_width.max(layout.margin + text_width(&note, TICK_SIZE, false) + 10.0);
    let mut figure = Figure::new(format!("Training on {texture}"), width, height);
    let title = Style::new(13.0, Anchor::Start).bold();
    figure.text(
        (layout.margin, 24.0),
        shorten(texture, title, width - layout.margin - 10.0),
        title,
    );
    for (column, c) in channels.iter().enumerate() {
        draw_column(&mut figure, &curves, &layout, column, *c);
    }
    let any_diverged = curves.loss.iter().any(|line| line.diverged);
    let legend = (panels_width - LEGEND + 8.0, TOP);
    draw_legend(&mut figure, legend, height - TOP - BOTTOM, &hidden, any_diverged);
    let style = Style::new(TICK_SIZE, Anchor::Start).color(Color::FAINT_INK);
    figure.text((layout.margin, height - 10.0), note, style);
    Some(figure)
}

fn draw_column(figure: &mut Figure, curves: &Curves, layout: &Layout, column: usize, channels: usize) {
    let [upper, lower] = layout.panels(column);
    let place = column % layout.across;
    let left = |label| AxisText {
        tick_labels: place == 0,
        label: (place == 0).then_some(label),
    };
    let bottom = AxisText {
        tick_labels: true,
        label: (place == (layout.across - 1) / 2).then_some("Iteration"),
    };
    upper.draw(figure, AxisText::default(), left("Ψ (px/frame)"));
    lower.draw(figure, bottom, left("Loss"));
    let title = Style::new(LABEL_SIZE, Anchor::Middle).bold();
    figure.text(
        (upper.left + upper.width / 2.0, upper.top - 8.0),
        format!("C = {channels}"),
        title,
    );
    for (panel, lines, dots) in [(&upper, &curves.psi, true), (&lower, &curves.loss, false)] {
        for line in lines.iter().filter(|line| line.column == column) {
            draw_line(figure, panel, line, dots);
        }
    }
}

/// Whether training itself computed Ψ.
fn is_motion_trained(rows: &[MetricRow]) -> bool {
    rows.iter().any(|row| row.psi_training.is_some())
}

/// Ψ as it was measured, or, of models trained for motion, as training saw it: it saw it far more often.
fn psi_points(model: &ModelResult) -> Vec<Point> {
    if is_motion_trained(&model.metrics) {
        let points = |row: &MetricRow| row.psi_training;
        return averaged(&model.metrics, points).0;
    }
    let rows = model.metrics.iter();
    rows.filter_map(|row| Some((row.iteration as f64, row.psi?)))
        .filter(|p| p.1.is_finite())
        .collect()
}

/// The loss, averaged over windows of the returned length, which is 1 for short runs.
fn loss_points(rows: &[MetricRow]) -> (Vec<Point>, usize) {
    averaged(rows, |row| Some(row.loss))
}

/// What `value` finds in the rows, averaged over windows of the returned length.
fn averaged(rows: &[MetricRow], value: impl Fn(&MetricRow) -> Option<f64>) -> (Vec<Point>, usize) {
    let window = rows.len().div_ceil(MAX_POINTS);
    let points = rows.chunks(window.max(1)).filter_map(|chunk| {
        let iteration = stats::mean(chunk.iter().map(|row| row.iteration as f64))?;
        Some((iteration, stats::mean(chunk.iter().filter_map(&value))?))
    });
    (points.collect(), window)
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

fn draw_line(figure: &mut Figure, panel: &Panel, line: &Line, dots: bool) {
    let points: Vec<Point> = line.points.iter().map(|&(x, y)| panel.at(x, y)).collect();
    if dots {
        for &point in &points {
            figure.circle(point, 1.7, Paint::fill(line.color));
        }
    }
    if line.diverged
        && let Some(&end) = points.last()
    {
        figure.cross(end, 7.0, line.color, 1.6);
    }
    figure.path(points, Paint::line(line.color, 1.3));
}

fn draw_legend(figure: &mut Figure, (left, top): Point, room: f64, hidden: &[usize], any_diverged: bool) {
    // A long list is set tighter.
    let line = (room / (hidden.len() + 2) as f64).min(16.0);
    let style = Style::new(TICK_SIZE, Anchor::Start);
    figure.text((left, top + 8.0), "Hidden neurons D", style);
    let mut y = top + 8.0 + line;
    for (i, d) in hidden.iter().enumerate() {
        let color = ordinal(i, hidden.len());
        figure.line((left, y - 3.5), (left + 20.0, y - 3.5), color, 2.2);
        figure.text((left + 27.0, y), d.to_string(), style);
        y += line;
    }
    if any_diverged {
        figure.cross((left + 10.0, y - 3.5), 7.0, Color::INK, 1.6);
        figure.text((left + 27.0, y), "diverged", style);
    }
}
