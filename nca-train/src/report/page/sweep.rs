//! A sweep as the page shows it: the grid of architectures, every model, what was found.

use std::path::Path;

use nca_core::{Error, Nca, Result};
use serde::Serialize;

use super::command::command;
use super::curve::Curve;
use super::data::{Automata, ModelData, PageData, TextureData, png_address};
use super::thumbnail::{Flows, thumbnail};
use super::weights::as_shown;
use super::{Exhibit, html};
use crate::picture::read_picture;
use crate::report::collect::{Collection, ModelResult, Unreadable};
use crate::report::damage::Damages;
use crate::report::findings::{ArchitectureCorrelation, Moving};
use crate::report::grid;
use crate::report::layout::ModelDir;
use crate::report::record::{ModelRecord, Status};
use crate::report::summary::{Lost, ReportSummary};
use crate::sweep::{SETTINGS_FILE, Sweep, SweepSettings};

/// What a page about a sweep has besides its models.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SweepData {
    /// Every C, then every D, that there is.
    channels: Vec<usize>,
    hidden: Vec<usize>,
    /// Seeds of an architecture; Ψ of a cell is their mean.
    seeds: usize,
    /// For each texture, then for all together where there are several.
    maps: Vec<Map>,
    /// Texture's name, or null for all.
    correlations: Vec<ArchitectureCorrelation>,
    moving: Vec<Moving>,
    ok: usize,
    diverged: usize,
    failed: usize,
    unreadable: usize,
    unfinished: usize,
    /// Models without a Ψ, and why.
    lost: Vec<Lost>,
    /// What a reader should know of the whole, each in a sentence.
    warnings: Vec<String>,
    /// How Ψ was measured.
    provenance: String,
    /// Length of full colour in flow pictures, pixels per frame.
    flow_full: Option<f32>,
    /// The colours of all directions.
    flow_wheel: Option<String>,
    /// The command that makes this sweep, and its settings as JSON; unknown where they were not kept.
    command: Option<String>,
    settings: Option<String>,
}

/// Ψ over the architectures.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Map {
    /// Null: the mean over textures.
    texture: Option<String>,
    /// Rows C, columns D.
    cells: Vec<Vec<Cell>>,
}

/// An architecture on a texture, or on all.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
struct Cell {
    status: &'static str,
    psi: Option<f64>,
    psi_se: Option<f64>,
    /// Models that have a Ψ, of how many.
    measured: usize,
    of: usize,
    /// Of the measured models, those above their motion floor, and those of which it is known.
    above: usize,
    judged: usize,
    /// The model that the cell runs.
    model: Option<usize>,
}

/// What the page takes from the files of a sweep.
pub(crate) struct Gathered {
    textures: Vec<TextureData>,
    models: Vec<ModelData>,
    automata: Automata,
    flows: Flows,
    settings: Option<SweepSettings>,
}

impl Gathered {
    /// From the sweep in `dir`; what cannot be read is left out, and noted.
    pub(crate) fn read(dir: &Path, collection: &Collection, damages: &mut Damages) -> Result<Self> {
        let textures: Vec<&str> = collection.textures();
        let shown = shown(collection, damages);
        let flows = Flows::read(shown.iter().map(|model| ModelDir::new(&model.path)), damages);
        let mut automata = Automata::default();
        let mut models = Vec::new();
        for model in &shown {
            models.push(model_data(model, &textures, &mut automata, &flows, damages)?);
        }
        models.extend(collection.unreadable.iter().map(|model| unreadable(model, &textures)));
        let settings = damages
            .read(&dir.join(SETTINGS_FILE), |_| Sweep::settings_of(dir))
            .flatten();
        let size = settings.as_ref().map_or(DEFAULT_SIZE, |settings| settings.train.size);
        let data = |name: &&str| texture_data(collection, name, size, damages);
        Ok(Self {
            textures: textures.iter().map(data).collect::<Result<_>>()?,
            models,
            automata,
            flows,
            settings,
        })
    }
}

/// The page about a sweep.
pub(crate) fn sweep_page(collection: &Collection, summary: &ReportSummary, gathered: Gathered) -> Result<String> {
    let Gathered {
        textures,
        models,
        automata,
        flows,
        settings,
    } = gathered;
    let pretty = |settings| serde_json::to_string_pretty(settings).map_err(|e| Error::invalid("settings", e, "JSON"));
    let data = SweepData {
        channels: collection.channels(),
        hidden: collection.hidden(),
        seeds: collection.seeds().len(),
        maps: maps(collection, &textures, &models),
        correlations: summary.correlations.clone(),
        moving: summary.moving.clone(),
        ok: summary.ok,
        diverged: summary.diverged,
        failed: summary.failed,
        unreadable: summary.unreadable,
        unfinished: still_to_come(collection, settings.as_ref()),
        lost: summary.lost.clone(),
        warnings: summary.warnings.clone(),
        provenance: collection.provenance(),
        flow_full: flows.full(),
        flow_wheel: flows.wheel()?,
        command: settings.as_ref().map(command),
        settings: settings.as_ref().map(pretty).transpose()?,
    };
    let page = PageData {
        title: TITLE.to_owned(),
        textures,
        models,
        conventions: automata.conventions,
        sweep: Some(data),
    };
    html::page(TITLE, &page, &automata.weights)
}

/// Models of the sweep that have not finished, begun or not; of a directory without settings those begun.
fn still_to_come(collection: &Collection, settings: Option<&SweepSettings>) -> usize {
    let models = settings.map_or(0, |settings| settings.models().len());
    models
        .saturating_sub(collection.models.len() + collection.unreadable.len())
        .max(collection.unfinished.len())
}

const TITLE: &str = "Which neural cellular automata move?";
/// Side of the grid where neither settings nor target say it.
const DEFAULT_SIZE: usize = 128;

/// The models on the page: of each architecture and texture one, the best to be shown.
fn shown<'a>(collection: &'a Collection, damages: &mut Damages) -> Vec<&'a ModelResult> {
    let key = |model: &ModelResult| {
        let record = model.record();
        (record.texture.clone(), record.channels, record.hidden)
    };
    let architectures = collection.models.chunk_by(|a, b| key(a) == key(b));
    architectures.map(|seeds| best_of(seeds, damages)).collect()
}

/// Of the seeds of an architecture the first that can be run, or else that has a Ψ, or else the first.
fn best_of<'a>(seeds: &'a [ModelResult], damages: &mut Damages) -> &'a ModelResult {
    let measured = || seeds.iter().filter(|model| model.record().measured_psi().is_some());
    let first = measured().next().unwrap_or(&seeds[0]);
    if seeds.len() == 1 {
        return first;
    }
    let mut runs = |model: &&ModelResult| load(model, damages).is_some_and(|nca| as_shown(&nca).is_ok());
    measured().find(|model| runs(model)).unwrap_or(first)
}

/// The automaton of a model, if there is one, and it was kept and can be read.
fn load(model: &ModelResult, damages: &mut Damages) -> Option<Nca> {
    if model.record().status != Status::Ok {
        return None;
    }
    damages.read(&ModelDir::new(&model.path).model(), |path| Nca::load(path, None))
}

fn model_data(
    model: &ModelResult,
    textures: &[&str],
    automata: &mut Automata,
    flows: &Flows,
    damages: &mut Damages,
) -> Result<ModelData> {
    let record = model.record();
    let directory = ModelDir::new(&model.path);
    let (weights, conventions, dead) = match load(model, damages) {
        Some(nca) => add(automata, &nca, &directory),
        None => {
            let damaged = || damages.reason(&directory.model());
            let why = match record.status {
                Status::Ok => Some(damaged().map_or_else(
                    || "its weights were not kept".to_owned(),
                    |reason| format!("its weights cannot be read: {reason}"),
                )),
                Status::Diverged | Status::Failed => model.result.reason.clone(),
            };
            (None, 0, why)
        }
    };
    let frame = damages.read(&directory.frame(), read_picture);
    Ok(ModelData {
        texture: index_of(&record.texture, textures),
        channels: record.channels,
        hidden: record.hidden,
        seed: record.seed.to_string(),
        weights,
        conventions,
        dead,
        status: record.status.name(),
        psi: record.measured_psi(),
        psi_se: record.psi_se,
        above_floor: record.above_floor(),
        distance: record.texture_distance,
        frame: frame.as_ref().map(thumbnail).transpose()?,
        flow: flows.thumbnail(&directory, damages)?,
        curve: Some(Curve::of(&model.metrics)),
    })
}

/// What there is to show of a model whose result cannot be read: why.
fn unreadable(model: &Unreadable, textures: &[&str]) -> ModelData {
    ModelData {
        texture: index_of(&model.texture, textures),
        channels: model.channels,
        hidden: model.hidden,
        seed: model.seed.to_string(),
        dead: Some(format!("its result cannot be read: {}", model.reason)),
        status: grid::State::Unreadable.name(),
        ..ModelData::default()
    }
}

fn index_of(texture: &str, textures: &[&str]) -> usize {
    textures.iter().position(|name| *name == texture).unwrap_or(0)
}

/// Indices of the weights and conventions of `nca`, or why it cannot be run: it may have weights beyond
/// 16-bit floats.
fn add(automata: &mut Automata, nca: &Nca, directory: &ModelDir) -> (Option<usize>, usize, Option<String>) {
    match automata.add(nca) {
        Ok((weights, conventions)) => (Some(weights), conventions, None),
        Err(error) => {
            tracing::warn!("{} cannot run on the page: {error}", directory.path().display());
            (None, 0, Some("its weights are too large to run here".to_owned()))
        }
    }
}

fn texture_data(collection: &Collection, name: &str, size: usize, damages: &mut Damages) -> Result<TextureData> {
    let path = collection
        .of_texture(name)
        .map(|model| ModelDir::new(&model.path).target())
        .find(|path| path.exists());
    let target = path.and_then(|path| damages.read(&path, read_picture));
    // A sweep may train on more than the page can run on.
    let side = |side: Option<u32>| side.map_or(size, |side| side as usize).min(Exhibit::MAX_SIDE);
    Ok(TextureData {
        name: name.to_owned(),
        height: side(target.as_ref().map(image::RgbImage::height)),
        width: side(target.as_ref().map(image::RgbImage::width)),
        target: target.as_ref().map(png_address).transpose()?,
    })
}

/// The maps of all textures, and, of several, their mean.
fn maps(collection: &Collection, textures: &[TextureData], models: &[ModelData]) -> Vec<Map> {
    let (channels, hidden) = (collection.channels(), collection.hidden());
    let map = |map: grid::Map| {
        let texture = map.texture.as_deref();
        let index = texture.and_then(|texture| textures.iter().position(|data| data.name == texture));
        let row = |(&c, cells): (&usize, &Vec<grid::Cell>)| {
            let cells = hidden.iter().zip(cells);
            let cell = |(&d, &cell)| {
                let records = collection.records().filter(|r| (r.channels, r.hidden) == (c, d));
                let records = records.filter(|r| texture.is_none_or(|texture| texture == r.texture));
                let model = |data: &ModelData| {
                    (data.channels, data.hidden) == (c, d) && index.is_none_or(|index| index == data.texture)
                };
                let models = models.iter().enumerate().filter(|(_, data)| model(data));
                Cell::of(cell, records, models)
            };
            cells.map(cell).collect()
        };
        Map {
            cells: channels.iter().zip(&map.cells).map(row).collect(),
            texture: map.texture,
        }
    };
    grid::maps(collection, &collection.textures())
        .into_iter()
        .map(map)
        .collect()
}

impl Cell {
    /// What `cell` knows, of which these are the records and, by their indices, the models on the page.
    fn of<'a>(
        cell: grid::Cell,
        records: impl Iterator<Item = &'a ModelRecord>,
        models: impl Iterator<Item = (usize, &'a ModelData)>,
    ) -> Self {
        let above: Vec<bool> = records.filter_map(ModelRecord::above_floor).collect();
        let strength = cell.strength();
        // Of several textures the strongest mover, by preference one that can be run.
        // Of those that cannot, one of which is true what the cell says.
        let status = cell.status();
        let rank = |data: &ModelData| {
            let runs = (data.weights.is_some(), data.status == status);
            (runs, data.psi.unwrap_or(f64::NEG_INFINITY))
        };
        let best = models.max_by(|(_, a), (_, b)| {
            let (a, b) = (rank(a), rank(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        Self {
            status,
            psi: strength.map(|s| s.psi),
            psi_se: strength.and_then(|s| s.psi_se),
            measured: cell.measured,
            of: cell.models,
            above: above.iter().filter(|above| **above).count(),
            judged: above.len(),
            model: best.map(|(index, _)| index),
        }
    }
}
