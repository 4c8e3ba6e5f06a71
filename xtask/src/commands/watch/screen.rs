//! What the terminal shows.

use std::path::Path;

use nca_train::report::viridis;
use nca_train::sweep::{Snapshot, Stage};
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::{Color, Modifier, Style};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Gauge, Paragraph, Sparkline};

use super::grid::{self, CELL, Cell};

/// What is shown of a sweep.
pub(super) struct View {
    pub(super) snapshot: Snapshot,
    /// The texture whose grid is shown.
    pub(super) texture: usize,
    /// The first row and column of the grid that is shown.
    pub(super) offset: (usize, usize),
    /// Whether the terminal knows more than 256 colours.
    pub(super) true_color: bool,
    /// Why the last look at the directory failed.
    pub(super) trouble: Option<String>,
}

/// What a key asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Move {
    NextTexture,
    PreviousTexture,
    Up,
    Down,
    Left,
    Right,
}

impl View {
    pub(super) fn new(snapshot: Snapshot, true_color: bool) -> Self {
        Self {
            snapshot,
            texture: 0,
            offset: (0, 0),
            true_color,
            trouble: None,
        }
    }

    pub(super) fn go(&mut self, to: Move) {
        let textures = self.snapshot.textures.len().max(1);
        let (rows, columns) = (
            self.snapshot.settings.channels.len(),
            self.snapshot.settings.hidden.len(),
        );
        let (row, column) = &mut self.offset;
        match to {
            Move::NextTexture => self.texture = (self.texture + 1) % textures,
            Move::PreviousTexture => self.texture = (self.texture + textures - 1) % textures,
            Move::Up => *row = row.saturating_sub(1),
            Move::Down => *row = (*row + 1).min(rows.saturating_sub(1)),
            Move::Left => *column = column.saturating_sub(1),
            Move::Right => *column = (*column + 1).min(columns.saturating_sub(1)),
        }
    }

    /// Draws everything.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, directory: &Path) {
        let rows = self.snapshot.settings.channels.len() as u16;
        let lists = grid::begun(&self.snapshot).count().clamp(3, 8) as u16;
        // The grid with its header and frame, if there is room beside the rest.
        let grid = Constraint::Max(rows + 3);
        let [head, gauge, middle, bottom, keys] = Layout::vertical([
            Constraint::Length(1),
            Constraint::Length(1),
            grid,
            Constraint::Min(lists.min(4) + 2),
            Constraint::Length(1),
        ])
        .areas(frame.area());
        let title = format!("{}: {}", directory.display(), grid::overview(&self.snapshot));
        let style = if self.snapshot.is_abandoned() {
            Style::new().fg(Color::Red)
        } else {
            Style::new()
        };
        frame.render_widget(Paragraph::new(title).style(style), head);
        self.draw_gauge(frame, gauge);
        self.draw_grid(frame, middle);
        let [left, right] = Layout::horizontal([Constraint::Percentage(62), Constraint::Percentage(38)]).areas(bottom);
        self.draw_begun(frame, left);
        self.draw_movers(frame, right);
        let keys_text = match &self.trouble {
            Some(trouble) => Line::styled(trouble.as_str(), Style::new().fg(Color::Red)),
            None => Line::styled(
                "q quits   Tab next texture   arrows scroll   · waiting   n% in training   × diverged   ! failed   ? damaged",
                Style::new().add_modifier(Modifier::DIM),
            ),
        };
        frame.render_widget(Paragraph::new(keys_text), keys);
    }

    fn draw_gauge(&self, frame: &mut Frame<'_>, area: Rect) {
        let share: f64 = self
            .snapshot
            .models
            .iter()
            .map(|model| match &model.stage {
                Stage::Waiting => 0.0,
                Stage::Begun(rows) => self.snapshot.share(rows),
                Stage::Done(_) | Stage::Unreadable => 1.0,
            })
            .sum();
        let ratio = share / self.snapshot.models.len().max(1) as f64;
        let gauge = Gauge::default()
            .gauge_style(Style::new().fg(Color::Cyan))
            .ratio(ratio.clamp(0.0, 1.0));
        frame.render_widget(gauge, area);
    }

    fn draw_grid(&self, frame: &mut Frame<'_>, area: Rect) {
        let (settings, (first_row, first_column)) = (&self.snapshot.settings, self.offset);
        let highest = grid::highest(&self.snapshot);
        let hidden = settings.hidden.get(first_column..).unwrap_or_default();
        let mut header = vec![Span::raw("   C\\D")];
        let number = |d: &usize| Span::raw(format!("{d:>width$} ", width = CELL - 1));
        header.extend(hidden.iter().map(number));
        let mut lines = vec![Line::from(header)];
        for &channels in settings.channels.get(first_row..).unwrap_or_default() {
            let mut line = vec![Span::raw(format!("{channels:>5} "))];
            for &hidden in hidden {
                let cell = Cell::of(&self.snapshot, self.texture, channels, hidden);
                line.push(Span::styled(cell.text(), self.style(cell, highest)));
            }
            lines.push(Line::from(line));
        }
        let name = self.snapshot.textures.get(self.texture).map_or("", String::as_str);
        let place = format!("{} of {}", self.texture + 1, self.snapshot.textures.len());
        let note = grid::still_note(&self.snapshot, self.texture).map_or_else(String::new, |note| format!("; {note}"));
        let title = format!(" {name} ({place}): Ψ in px/frame, up to {highest:.3}{note} ");
        frame.render_widget(Paragraph::new(lines).block(Block::bordered().title(title)), area);
    }

    fn style(&self, cell: Cell, highest: f64) -> Style {
        match cell {
            Cell::Psi { mean, .. } => {
                let [red, green, blue] = viridis(if highest > 0.0 { mean / highest } else { 0.0 });
                // Black on the light end of the colours, white on the dark one.
                let light = 299 * u32::from(red) + 587 * u32::from(green) + 114 * u32::from(blue) > 128_000;
                let ink = if light { Color::Black } else { Color::White };
                Style::new().bg(self.color([red, green, blue])).fg(ink)
            }
            Cell::Begun(_) => Style::new().fg(Color::Cyan),
            Cell::Waiting => Style::new().add_modifier(Modifier::DIM),
            Cell::Diverged | Cell::Failed | Cell::Unreadable => {
                Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
            }
        }
    }

    /// The colour, or the nearest of the 6×6×6 that every terminal of 256 has.
    fn color(&self, [red, green, blue]: [u8; 3]) -> Color {
        if self.true_color {
            return Color::Rgb(red, green, blue);
        }
        // Levels are 0, 95, 135, 175, 215 and 255.
        let level = |v: u8| if v < 48 { 0 } else { (v.max(75) - 35) / 40 };
        Color::Indexed(16 + 36 * level(red) + 6 * level(green) + level(blue))
    }

    fn draw_begun(&self, frame: &mut Frame<'_>, area: Rect) {
        let title = format!(" {}: loss ", grid::begun_title(&self.snapshot));
        let block = Block::bordered().title(title);
        let inner = block.inner(area);
        frame.render_widget(block, area);
        for (row, model) in (0..inner.height).zip(grid::begun(&self.snapshot)) {
            let line = Rect::new(inner.x, inner.y + row, inner.width, 1);
            let Some(progress) = grid::progress(&self.snapshot, model) else {
                continue;
            };
            let text = format!("{}: {progress} ", grid::label(&self.snapshot, model));
            let [words, curve] =
                Layout::horizontal([Constraint::Length(text.chars().count() as u16), Constraint::Fill(1)]).areas(line);
            frame.render_widget(Paragraph::new(text), words);
            if let Stage::Begun(rows) = &model.stage {
                let losses: Vec<f64> = rows.iter().map(|row| row.loss).collect();
                let bars = bars(&losses, usize::from(curve.width));
                frame.render_widget(
                    Sparkline::default().data(bars).style(Style::new().fg(Color::Cyan)),
                    curve,
                );
            }
        }
    }

    fn draw_movers(&self, frame: &mut Frame<'_>, area: Rect) {
        let block = Block::bordered().title(" strongest movers: Ψ ");
        let movers = grid::movers(&self.snapshot, usize::from(area.height.saturating_sub(2)));
        let lines = movers.into_iter().map(|mover| {
            Line::raw(format!(
                "{:.3}{} {}",
                mover.psi,
                mover.mark,
                grid::label(&self.snapshot, mover.model)
            ))
        });
        frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()).block(block), area);
    }
}

/// Losses as the heights of at most `width` bars: logarithmic, each the mean of its rows.
fn bars(losses: &[f64], width: usize) -> Vec<u64> {
    const HIGHEST: f64 = 1000.0;
    let usable: Vec<f64> = losses.iter().copied().filter(|l| l.is_finite() && *l > 0.0).collect();
    if usable.is_empty() || width == 0 {
        return Vec::new();
    }
    let means: Vec<f64> = usable
        .chunks(usable.len().div_ceil(width))
        .map(|chunk| chunk.iter().map(|l| l.ln()).sum::<f64>() / chunk.len() as f64)
        .collect();
    let low = means.iter().copied().fold(f64::INFINITY, f64::min);
    let span = means.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    let height = |v: &f64| {
        if span > 0.0 {
            (HIGHEST * (v - low) / span).round() as u64
        } else {
            HIGHEST as u64 / 2
        }
    };
    means.iter().map(height).collect()
}

#[cfg(test)]
mod tests {
    use nca_train::report::Status;
    use ratatui::Terminal;
    use ratatui::backend::TestBackend;
    use ratatui::buffer::Buffer;

    use super::super::made::{begun, done, snapshot};
    use super::*;

    fn drawn(view: &View, width: u16, height: u16) -> Buffer {
        let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
        terminal
            .draw(|frame| view.draw(frame, Path::new("runs/quick")))
            .unwrap();
        terminal.backend().buffer().clone()
    }

    fn lines(buffer: &Buffer) -> Vec<String> {
        let area = buffer.area;
        let line = |y| (0..area.width).map(|x| buffer[(x, y)].symbol()).collect();
        (0..area.height).map(line).collect()
    }

    /// Where a text begins.
    fn find(buffer: &Buffer, text: &str) -> (u16, u16) {
        let all = lines(buffer);
        let found = all.iter().enumerate().find_map(|(y, line)| {
            let at = line.find(text)?;
            Some((line[..at].chars().count() as u16, y as u16))
        });
        found.unwrap_or_else(|| panic!("no '{text}' in\n{}", all.join("\n")))
    }

    /// The smallest C on both textures, with every kind of outcome.
    fn view() -> View {
        let stages = [
            ((6, 16, 0), done(Status::Ok, 0.5)),
            ((6, 16, 1), done(Status::Ok, 0.001)),
            ((6, 32, 0), done(Status::Diverged, 0.0)),
            ((6, 32, 1), done(Status::Ok, 0.25)),
            ((6, 64, 0), done(Status::Failed, 0.0)),
            ((6, 64, 1), begun(600)),
        ];
        View::new(snapshot(&stages), true)
    }

    #[test]
    fn the_grid_shows_every_kind_of_model() {
        let mut view = view();
        let buffer = drawn(&view, 120, 30);
        for text in [
            "5 of 18 models done: 3 ok, 1 diverged, 1 failed; 1 begun, 12 waiting",
            "chequered (1 of 2)",
        ] {
            find(&buffer, text);
        }
        let row = &lines(&buffer)[usize::from(find(&buffer, "C\\D").1) + 1];
        let cells: Vec<_> = row.trim_matches(['│', ' ']).split_whitespace().collect();
        assert_eq!(cells, ["6", "0.500", "×", "!"]);
        find(&buffer, "bubbly C=6 D=64 seed 0: 600 of 1200, loss 1.6667, Ψ 0.250");
        find(&buffer, "0.500  chequered C=6 D=16 seed 0");
        view.go(Move::NextTexture);
        let buffer = drawn(&view, 120, 30);
        find(&buffer, "bubbly (2 of 2)");
        let row = &lines(&buffer)[usize::from(find(&buffer, "C\\D").1) + 1];
        let cells: Vec<_> = row.trim_matches(['│', ' ']).split_whitespace().collect();
        assert_eq!(cells, ["6", "0.001*", "0.250", "50%"]);
    }

    #[test]
    fn what_is_not_above_its_floor_is_marked() {
        let mut view = view();
        let note = "; * not above its motion floor";
        let text = |view: &View| lines(&drawn(view, 120, 30)).join("\n");
        assert!(!text(&view).contains(note), "a note about nothing");
        view.go(Move::NextTexture);
        let text = text(&view);
        for part in [note, "0.001* bubbly C=6 D=16 seed 0", "0.250  bubbly C=6 D=32 seed 0"] {
            assert!(text.contains(part), "no '{part}' in\n{text}");
        }
    }

    #[test]
    fn a_sweep_that_nobody_works_on_says_so() {
        let mut view = view();
        let (nobody, at_work) = ("runs/quick: nobody is at work on it", " in training: loss ");
        for (known, shown, hidden) in [
            (None, at_work, nobody),
            (Some(true), at_work, nobody),
            (Some(false), nobody, at_work),
        ] {
            view.snapshot.at_work = known;
            let text = lines(&drawn(&view, 80, 30)).join("\n");
            assert!(text.contains(shown) && !text.contains(hidden), "{known:?}\n{text}");
        }
        // Done is not abandoned.
        view.snapshot
            .models
            .retain(|model| matches!(model.stage, Stage::Done(_)));
        assert!(!lines(&drawn(&view, 80, 30)).join("\n").contains(nobody));
    }

    #[test]
    fn psi_is_coloured_and_stays_readable() {
        let mut view = view();
        // The first digit of a number in the grid.
        let cell = |view: &View, number: &str| {
            let buffer = drawn(view, 120, 30);
            let (x, y) = find(&buffer, &format!("  {number}"));
            (buffer[(x + 2, y)].bg, buffer[(x + 2, y)].fg)
        };
        let [red, green, blue] = viridis(1.0);
        assert_eq!(cell(&view, "0.500"), (Color::Rgb(red, green, blue), Color::Black));
        view.go(Move::NextTexture);
        assert_eq!(cell(&view, "0.001").1, Color::White);
        view.true_color = false;
        assert!(matches!(cell(&view, "0.001").0, Color::Indexed(16..=231)));
    }

    #[test]
    fn colours_are_those_that_256_colours_have() {
        let mut view = view();
        view.true_color = false;
        for (rgb, index) in [
            ([0, 0, 0], 16),
            ([255, 255, 255], 231),
            ([95, 135, 175], 67),
            ([90, 140, 0], 64),
        ] {
            assert_eq!(view.color(rgb), Color::Indexed(index), "{rgb:?}");
        }
    }

    #[test]
    fn scrolling_and_any_size_of_terminal() {
        let mut view = view();
        view.go(Move::Down);
        view.go(Move::Right);
        let buffer = drawn(&view, 120, 30);
        let (_, y) = find(&buffer, "C\\D");
        let header: Vec<_> = lines(&buffer)[usize::from(y)]
            .trim_matches(['│', ' '])
            .split_whitespace()
            .map(str::to_owned)
            .collect();
        assert_eq!(header, ["C\\D", "32", "64"]);
        assert!(
            lines(&buffer)[usize::from(y) + 1]
                .trim_matches(['│', ' '])
                .starts_with('8')
        );
        for _ in 0..20 {
            view.go(Move::Down);
            view.go(Move::Right);
        }
        view.trouble = Some("gone".to_owned());
        for (width, height) in [(1, 1), (10, 5), (80, 24), (300, 100)] {
            drawn(&view, width, height);
        }
        find(&drawn(&view, 80, 24), "gone");
    }

    #[test]
    fn bars_of_losses() {
        assert_eq!(bars(&[100.0, 10.0, 1.0], 3), [1000, 500, 0]);
        assert_eq!(bars(&[f64::NAN, 5.0, 5.0], 9), [500, 500]);
        assert_eq!(bars(&[8.0, 8.0, 2.0, 2.0], 2), [1000, 0]);
        assert!(bars(&[], 9).is_empty() && bars(&[1.0], 0).is_empty());
    }
}
