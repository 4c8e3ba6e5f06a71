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
use crate::report::collect::{Collection, ModelResult};
use crate::report::findings::{ArchitectureCorrelation, Moving};
use crate::report::grid;
use crate::report::layout::ModelDir;
use crate::report::record::{ModelRecord, Status};
use crate::report::summary::ReportSummary;
use crate::sweep::{Sweep, SweepSettings};

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
    unfinished: usize,
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

/// The page about the sweep in `dir`.
pub(crate) fn sweep_page(dir: &Path, collection: &Collection, summary: &ReportSummary) -> Result<String> {
    let textures: Vec<&str> = collection.textures();
    let shown = shown(collection)?;
    let flows = Flows::read(shown.iter().map(|model| ModelDir::new(&model.path)))?;
    let mut automata = Automata::default();
    let mut models = Vec::new();
    for model in &shown {
        let data = model_data(model, &textures, &mut automata, &flows)?;
        models.push((model.record(), data));
    }
    let settings = Sweep::settings_of(dir)?;
    let size = settings.as_ref().map_or(DEFAULT_SIZE, |settings| settings.train.size);
    let count = |status| collection.records().filter(|r| r.status == status).count();
    let pretty = |settings| serde_json::to_string_pretty(settings).map_err(|e| Error::format(dir, e, "settings"));
    let data = SweepData {
        channels: collection.channels(),
        hidden: collection.hidden(),
        seeds: collection.seeds().len(),
        maps: maps(collection, &models),
        correlations: summary.correlations.clone(),
        moving: summary.moving.clone(),
        ok: count(Status::Ok),
        diverged: count(Status::Diverged),
        failed: count(Status::Failed),
        unfinished: still_to_come(collection, settings.as_ref()),
        provenance: collection.provenance(),
        flow_full: flows.full(),
        flow_wheel: flows.wheel()?,
        command: settings.as_ref().map(command),
        settings: settings.as_ref().map(pretty).transpose()?,
    };
    let page = PageData {
        title: TITLE.to_owned(),
        textures: textures
            .iter()
            .map(|name| texture_data(collection, name, size))
            .collect::<Result<_>>()?,
        models: models.into_iter().map(|(_, data)| data).collect(),
        conventions: automata.conventions,
        sweep: Some(data),
    };
    html::page(TITLE, &page, &automata.weights)
}

/// Models of the sweep that have not finished, begun or not; of a directory without settings those begun.
fn still_to_come(collection: &Collection, settings: Option<&SweepSettings>) -> usize {
    let models = settings.map_or(0, |settings| settings.models().len());
    models
        .saturating_sub(collection.models.len())
        .max(collection.unfinished.len())
}

const TITLE: &str = "Which neural cellular automata move?";
/// Side of the grid where neither settings nor target say it.
const DEFAULT_SIZE: usize = 128;

/// The models on the page: of each architecture and texture one, the best to be shown.
fn shown(collection: &Collection) -> Result<Vec<&ModelResult>> {
    let key = |model: &ModelResult| {
        let record = model.record();
        (record.texture.clone(), record.channels, record.hidden)
    };
    collection
        .models
        .chunk_by(|a, b| key(a) == key(b))
        .map(best_of)
        .collect()
}

/// Of the seeds of an architecture the first that can be run, or else that has a Ψ, or else the first.
fn best_of(seeds: &[ModelResult]) -> Result<&ModelResult> {
    let first = seeds.iter().find(|model| model.record().measured_psi().is_some());
    let first = first.unwrap_or(&seeds[0]);
    if seeds.len() == 1 {
        return Ok(first);
    }
    for model in seeds.iter().filter(|model| model.record().measured_psi().is_some()) {
        if load(model)?.is_some_and(|nca| as_shown(&nca).is_ok()) {
            return Ok(model);
        }
    }
    Ok(first)
}

/// The automaton of a model, if there is one and it was kept.
fn load(model: &ModelResult) -> Result<Option<Nca>> {
    let path = ModelDir::new(&model.path).model();
    let kept = model.record().status == Status::Ok && path.exists();
    kept.then(|| Nca::load(path, None)).transpose()
}

fn model_data(model: &ModelResult, textures: &[&str], automata: &mut Automata, flows: &Flows) -> Result<ModelData> {
    let record = model.record();
    let directory = ModelDir::new(&model.path);
    let (weights, conventions, dead) = match load(model)? {
        Some(nca) => add(automata, &nca, &directory),
        None => (
            None,
            0,
            match record.status {
                Status::Ok => Some("its weights were not kept".to_owned()),
                Status::Diverged | Status::Failed => model.result.reason.clone(),
            },
        ),
    };
    let frame = Some(directory.frame()).filter(|path| path.exists());
    Ok(ModelData {
        texture: textures.iter().position(|name| *name == record.texture).unwrap_or(0),
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
        frame: frame.map(|path| thumbnail(&read_picture(path)?)).transpose()?,
        flow: flows.thumbnail(&directory)?,
        curve: Some(Curve::of(&model.metrics)),
    })
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

fn texture_data(collection: &Collection, name: &str, size: usize) -> Result<TextureData> {
    let path = collection
        .of_texture(name)
        .map(|model| ModelDir::new(&model.path).target())
        .find(|path| path.exists());
    let target = path.map(read_picture).transpose()?;
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
fn maps(collection: &Collection, models: &[(&ModelRecord, ModelData)]) -> Vec<Map> {
    let (channels, hidden) = (collection.channels(), collection.hidden());
    let map = |map: grid::Map| {
        let texture = map.texture.as_deref();
        let row = |(&c, cells): (&usize, &Vec<grid::Cell>)| {
            let cells = hidden.iter().zip(cells);
            let cell = |(&d, &cell)| Cell::of(cell, collection, models, (texture, c, d));
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
    /// What `cell`, of an architecture on a texture or on all of them, knows, and which model it runs.
    fn of(
        cell: grid::Cell,
        collection: &Collection,
        models: &[(&ModelRecord, ModelData)],
        (texture, channels, hidden): (Option<&str>, usize, usize),
    ) -> Self {
        let here = |r: &ModelRecord| {
            (r.channels, r.hidden) == (channels, hidden) && texture.is_none_or(|texture| texture == r.texture)
        };
        let records = collection.records().filter(|r| here(r));
        let above: Vec<bool> = records.filter_map(ModelRecord::above_floor).collect();
        let strength = cell.strength();
        let runs = models.iter().enumerate().filter(|(_, (record, _))| here(record));
        // Of several textures the strongest mover, by preference one that can be run.
        let rank = |data: &ModelData| (data.weights.is_some(), data.psi.unwrap_or(f64::NEG_INFINITY));
        let best = runs.max_by(|(_, (_, a)), (_, (_, b))| {
            let (a, b) = (rank(a), rank(b));
            a.0.cmp(&b.0).then(a.1.total_cmp(&b.1))
        });
        Self {
            status: cell.status(),
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
