//! Ψ over the grid of architectures: what a cell of a table or map knows of its models.

use super::collect::{Collection, ModelResult, Unreadable};
use super::record::{ModelRecord, Status};
use super::stats;

/// An architecture, over its seeds and perhaps textures.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cell {
    /// How its models ended, and how they move.
    pub(super) state: State,
    /// Models that have a Ψ.
    pub(super) measured: usize,
    /// Models, of which others may have none.
    pub(super) models: usize,
}

/// How the models of a cell ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum State {
    /// No model was run.
    Missing,
    /// Every seed diverged.
    Diverged,
    /// No seed has a value, and one at least failed.
    Failed,
    /// No seed has a value or failed, and of one at least it cannot be read how it ended.
    Unreadable,
    /// One at least has a value.
    Measured(Strength),
}

/// Motion strength, pixels per frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Strength {
    /// Mean Ψ of the models that have one.
    pub(super) psi: f64,
    /// Standard error of it.
    pub(super) psi_se: Option<f64>,
}

impl Cell {
    /// Of all seeds of an architecture on one texture, of which `unreadable` more have no readable result.
    pub(super) fn of(records: &[&ModelRecord], unreadable: usize) -> Self {
        let psi: Vec<f64> = records.iter().filter_map(|r| r.measured_psi()).collect();
        let state = match stats::mean(psi.iter().copied()) {
            Some(mean) => {
                // One seed scatters over its frame pairs, several over each other.
                let psi_se = match psi.len() {
                    1 => records
                        .iter()
                        .find(|r| r.measured_psi().is_some())
                        .and_then(|r| r.psi_se),
                    _ => stats::standard_error(&psi),
                };
                State::Measured(Strength {
                    psi: mean,
                    psi_se: psi_se.filter(|se| se.is_finite()),
                })
            }
            None if records.iter().any(|r| r.status != Status::Diverged) => State::Failed,
            None if unreadable > 0 => State::Unreadable,
            None if records.is_empty() => State::Missing,
            None => State::Diverged,
        };
        Self {
            state,
            measured: psi.len(),
            models: records.len() + unreadable,
        }
    }

    /// The mean of an architecture over textures; those without a value are left out of it.
    pub(super) fn pooled(cells: &[Self]) -> Self {
        let known: Vec<Strength> = cells.iter().filter_map(|cell| cell.strength()).collect();
        let any = |state| cells.iter().any(|cell| cell.state == state);
        let state = match stats::mean(known.iter().map(|m| m.psi)) {
            Some(psi) => {
                let variance: Option<f64> = known.iter().map(|m| Some(m.psi_se? * m.psi_se?)).sum();
                State::Measured(Strength {
                    psi,
                    psi_se: variance.map(|sum| sum.sqrt() / known.len() as f64),
                })
            }
            None if any(State::Failed) => State::Failed,
            None if any(State::Unreadable) => State::Unreadable,
            None if any(State::Diverged) => State::Diverged,
            None => State::Missing,
        };
        Self {
            state,
            measured: cells.iter().map(|cell| cell.measured).sum(),
            models: cells.iter().map(|cell| cell.models).sum(),
        }
    }

    /// How strongly its models move, if one of them was measured.
    pub(super) fn strength(self) -> Option<Strength> {
        match self.state {
            State::Measured(strength) => Some(strength),
            _ => None,
        }
    }

    /// How its models ended, in a word.
    pub(super) fn status(self) -> &'static str {
        self.state.name()
    }
}

impl State {
    /// The state in a word.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Missing => "not run",
            Self::Measured(_) => "ok",
            Self::Diverged => "diverged",
            Self::Failed => "failed",
            Self::Unreadable => "unreadable",
        }
    }
}

/// Every architecture of a texture, or of several.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Map {
    /// Name of the texture; `None` for the mean of several.
    pub(super) texture: Option<String>,
    /// Rows C, columns D, as [`Collection::channels`] and [`Collection::hidden`] count them.
    pub(super) cells: Vec<Vec<Cell>>,
}

/// The map of each of `textures`, and, of several, that of their mean.
pub(super) fn maps(collection: &Collection, textures: &[&str]) -> Vec<Map> {
    let mut maps: Vec<Map> = textures.iter().map(|texture| map(collection, texture)).collect();
    if maps.len() > 1 {
        maps.push(mean_map(&maps));
    }
    maps
}

fn map(collection: &Collection, texture: &str) -> Map {
    let hidden = collection.hidden();
    let of = |c: usize, d: usize| {
        let records: Vec<_> = collection
            .of_texture(texture)
            .map(ModelResult::record)
            .filter(|r| (r.channels, r.hidden) == (c, d))
            .collect();
        let here = |m: &&Unreadable| m.texture == texture && (m.channels, m.hidden) == (c, d);
        Cell::of(&records, collection.unreadable.iter().filter(here).count())
    };
    let row = |c: usize| hidden.iter().map(|&d| of(c, d)).collect();
    Map {
        texture: Some(texture.to_owned()),
        cells: collection.channels().into_iter().map(row).collect(),
    }
}

fn mean_map(maps: &[Map]) -> Map {
    let place = |row: usize, column: usize| {
        let cells: Vec<_> = maps.iter().map(|map| map.cells[row][column]).collect();
        Cell::pooled(&cells)
    };
    let rows = maps[0].cells.iter().enumerate();
    Map {
        texture: None,
        cells: rows
            .map(|(row, cells)| (0..cells.len()).map(|column| place(row, column)).collect())
            .collect(),
    }
}
