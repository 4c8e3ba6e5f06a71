//! The loop of keys and looks at the directory.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use nca_train::sweep::Snapshot;
use ratatui::crossterm::event::{self, Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};

use super::screen::{Move, View};

/// The terminal as it was found comes back when this goes, and in a panic.
struct Restore;

impl Drop for Restore {
    fn drop(&mut self) {
        ratatui::restore();
    }
}

/// Shows the sweep until a key ends it.
pub(super) fn run(directory: &Path, snapshot: Snapshot, interval: Duration) -> anyhow::Result<()> {
    let mut view = View::new(snapshot, has_true_color());
    let mut terminal = ratatui::try_init().context("the terminal cannot be drawn on; --once prints text")?;
    let _restore = Restore;
    let mut looked = Instant::now();
    loop {
        terminal.draw(|frame| view.draw(frame, directory))?;
        if event::poll(interval.saturating_sub(looked.elapsed()))?
            && let Event::Key(key) = event::read()?
        {
            match meaning(key) {
                Some(Key::Quit) => return Ok(()),
                Some(Key::Go(to)) => view.go(to),
                None => {}
            }
        }
        if looked.elapsed() >= interval {
            // What was seen last stays on the screen if the directory is away for a while.
            match Snapshot::read(directory) {
                Ok(snapshot) => (view.snapshot, view.trouble) = (snapshot, None),
                Err(error) => view.trouble = Some(error.to_string()),
            }
            looked = Instant::now();
        }
    }
}

/// What a key means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Key {
    Quit,
    Go(Move),
}

fn meaning(key: KeyEvent) -> Option<Key> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    let control = key.modifiers.contains(KeyModifiers::CONTROL);
    Some(match key.code {
        KeyCode::Char('c' | 'd') if control => Key::Quit,
        KeyCode::Char('q') | KeyCode::Esc => Key::Quit,
        KeyCode::Tab => Key::Go(Move::NextTexture),
        KeyCode::BackTab => Key::Go(Move::PreviousTexture),
        KeyCode::Up => Key::Go(Move::Up),
        KeyCode::Down => Key::Go(Move::Down),
        KeyCode::Left => Key::Go(Move::Left),
        KeyCode::Right => Key::Go(Move::Right),
        _ => return None,
    })
}

/// Whether the terminal says that it knows 24-bit colours.
fn has_true_color() -> bool {
    std::env::var("COLORTERM").is_ok_and(|value| value == "truecolor" || value == "24bit")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys() {
        let press = |code, modifiers| meaning(KeyEvent::new(code, modifiers));
        let plain = KeyModifiers::NONE;
        assert_eq!(press(KeyCode::Char('q'), plain), Some(Key::Quit));
        assert_eq!(press(KeyCode::Char('c'), KeyModifiers::CONTROL), Some(Key::Quit));
        assert_eq!(press(KeyCode::Char('c'), plain), None);
        assert_eq!(press(KeyCode::Tab, plain), Some(Key::Go(Move::NextTexture)));
        let mut release = KeyEvent::new(KeyCode::Char('q'), plain);
        release.kind = KeyEventKind::Release;
        assert_eq!(meaning(release), None);
    }
}
