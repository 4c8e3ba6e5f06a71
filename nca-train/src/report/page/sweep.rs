//! A sweep as the page shows it: the grid of architectures, every model, what was found.

use std::path::Path;

use nca_core::{Error, Nca, Result};
use serde::Serialize;

use super::command::command;
use super::curve::Curve;
use super::data::{Automata, ModelData, PageData, TextureData, png_address};
use super::html;
use super::thumbnail::{Flows, thumbnail};
use crate::picture::read_picture;
use crate::report::collect::{Collection, ModelResult};
use crate::report::findings::{ArchitectureCorrelation, Moving};
use crate::report::heatmap;
use crate::report::layout::ModelDir;
use crate::report::record::{ModelRecord, Status};
use crate::report::summary::ReportSummary;
use crate::sweep::Sweep;

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
    let shown = shown(collection);
    let flows = Flows::read(shown.iter().map(|model| ModelDir::new(&model.path)))?;
    let mut automata = Automata::default();
    let mut models = Vec::new();
    for model in &shown {
        models.push(model_data(model, &textures, &mut automata, &flows)?);
    }
    let settings = Sweep::settings_of(dir)?;
    let size = settings.as_ref().map_or(DEFAULT_SIZE, |settings| settings.train.size);
    let count = |status| collection.records().filter(|r| r.status == status).count();
    let pretty = |settings| serde_json::to_string_pretty(settings).map_err(|e| Error::format(dir, e, "settings"));
    let data = SweepData {
        channels: collection.channels(),
        hidden: collection.hidden(),
        seeds: collection.seeds().len(),
        maps: maps(collection, &shown),
        correlations: summary.correlations.clone(),
        moving: summary.moving.clone(),
        ok: count(Status::Ok),
        diverged: count(Status::Diverged),
        failed: count(Status::Failed),
        unfinished: collection.unfinished.len(),
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
        models,
        conventions: automata.conventions,
        sweep: Some(data),
    };
    html::page(TITLE, &page, &automata.weights)
}

const TITLE: &str = "Which neural cellular automata move?";
/// Side of the grid where neither settings nor target say it.
const DEFAULT_SIZE: usize = 128;

/// The models on the page: of each architecture and texture one, by preference one with a Ψ, of those
/// the one of the smallest seed.
fn shown(collection: &Collection) -> Vec<&ModelResult> {
    let of = |model: &ModelResult| {
        (
            model.record().texture.clone(),
            model.record().channels,
            model.record().hidden,
        )
    };
    let models: Vec<&ModelResult> = collection.models.iter().collect();
    models
        .chunk_by(|a, b| of(a) == of(b))
        .filter_map(|seeds| {
            let measured = seeds.iter().find(|model| model.record().measured_psi().is_some());
            measured.or(seeds.first()).copied()
        })
        .collect()
}

fn model_data(model: &ModelResult, textures: &[&str], automata: &mut Automata, flows: &Flows) -> Result<ModelData> {
    let record = model.record();
    let directory = ModelDir::new(&model.path);
    let (weights, conventions) = if record.status == Status::Ok && directory.model().exists() {
        add(automata, &directory)?
    } else {
        (None, 0)
    };
    let frame = Some(directory.frame()).filter(|path| path.exists());
    Ok(ModelData {
        texture: textures.iter().position(|name| *name == record.texture).unwrap_or(0),
        channels: record.channels,
        hidden: record.hidden,
        seed: record.seed.to_string(),
        weights,
        conventions,
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

/// Indices of the weights and conventions of the model in `directory`. One that has weights beyond
/// 16-bit floats is shown, but cannot be run.
fn add(automata: &mut Automata, directory: &ModelDir) -> Result<(Option<usize>, usize)> {
    let nca = Nca::load(directory.model(), None)?;
    match automata.add(&nca) {
        Ok((weights, conventions)) => Ok((Some(weights), conventions)),
        Err(error) => {
            tracing::warn!("{} cannot run on the page: {error}", directory.path().display());
            Ok((None, 0))
        }
    }
}

fn texture_data(collection: &Collection, name: &str, size: usize) -> Result<TextureData> {
    let path = collection
        .of_texture(name)
        .map(|model| ModelDir::new(&model.path).target())
        .find(|path| path.exists());
    let target = path.map(read_picture).transpose()?;
    let side = |side: Option<u32>| side.map_or(size, |side| side as usize);
    Ok(TextureData {
        name: name.to_owned(),
        height: side(target.as_ref().map(image::RgbImage::height)),
        width: side(target.as_ref().map(image::RgbImage::width)),
        target: target.as_ref().map(png_address).transpose()?,
    })
}

/// The maps of all textures, and, of several, their mean.
fn maps(collection: &Collection, shown: &[&ModelResult]) -> Vec<Map> {
    let textures = collection.textures();
    let all = (textures.len() > 1).then_some(None);
    let map = |texture: Option<&str>| Map {
        texture: texture.map(str::to_owned),
        cells: collection
            .channels()
            .into_iter()
            .map(|c| {
                let hidden = collection.hidden().into_iter();
                hidden.map(|d| Cell::of(collection, shown, texture, c, d)).collect()
            })
            .collect(),
    };
    textures.iter().copied().map(Some).chain(all).map(map).collect()
}

impl Cell {
    /// Of a texture, or the mean of all.
    fn of(
        collection: &Collection,
        shown: &[&ModelResult],
        texture: Option<&str>,
        channels: usize,
        hidden: usize,
    ) -> Self {
        let here = |r: &ModelRecord| {
            (r.channels, r.hidden) == (channels, hidden) && texture.is_none_or(|texture| texture == r.texture)
        };
        let records: Vec<&ModelRecord> = collection.records().filter(|r| here(r)).collect();
        let cells: Vec<_> = records
            .chunk_by(|a, b| a.texture == b.texture)
            .map(heatmap::Cell::of)
            .collect();
        let cell = match cells[..] {
            [one] => one,
            _ => heatmap::Cell::pooled(&cells),
        };
        let measured = cell.measured();
        let above: Vec<bool> = records.iter().filter_map(|r| r.above_floor()).collect();
        let runs = shown.iter().enumerate().filter(|(_, model)| here(model.record()));
        // Of several textures the strongest mover.
        let strongest = runs.max_by(|a, b| {
            let psi = |model: &ModelResult| model.record().measured_psi().unwrap_or(f64::NEG_INFINITY);
            psi(a.1).total_cmp(&psi(b.1))
        });
        Self {
            status: cell.status(),
            psi: measured.map(|m| m.psi),
            psi_se: measured.and_then(|m| m.psi_se),
            measured: measured.map_or(0, |m| m.measured),
            of: measured.map_or(records.len(), |m| m.models),
            above: above.iter().filter(|above| **above).count(),
            judged: above.len(),
            model: strongest.map(|(index, _)| index),
        }
    }
}
