//! Models in a directory whose `sweep.json` is gone: each has its own settings, by which it can be told whose it is.

use std::collections::BTreeMap;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use nca_core::{Error, Result};
use spynet::FlowChoice;

use super::inputs::{Inputs, changed, flow_name};
use super::model::{STATE_FILE, config_text};
use super::runner::SETTINGS_FILE;
use super::settings::{ModelSpec, SweepSettings};
use crate::report::layout::{self, ModelDir};
use crate::report::{ModelRecord, Status, read_result};
use crate::texture::Texture;

/// Whether there are models in `directory`, which has no `sweep.json`.
///
/// # Errors
/// If one of them is not of the sweep of `settings`, or cannot be told to be.
pub(super) fn has_models(
    directory: &Path,
    settings: &SweepSettings,
    textures: &[Texture],
    inputs: &Inputs,
    flow: &FlowChoice,
) -> Result<bool> {
    let own: BTreeMap<PathBuf, ModelSpec> = settings
        .models()
        .into_iter()
        .map(|spec| {
            let texture = &textures[spec.texture].name;
            let own = ModelDir::of(directory, texture, spec.channels, spec.hidden, spec.seed);
            (own.path().to_owned(), spec)
        })
        .collect();
    let config = |path: &Path, spec: &ModelSpec| {
        let nca = settings.initial(spec.channels, spec.hidden, spec.seed)?;
        let model = (textures[spec.texture].name.as_str(), spec.seed);
        config_text(path, settings, inputs, &nca.config, model, &flow_name(flow))
    };
    let mut any = false;
    for path in model_directories(directory)? {
        let model = ModelDir::new(&path);
        let files = [
            model.config(),
            model.model(),
            model.metrics(),
            model.result(),
            path.join(STATE_FILE),
        ];
        if !files.iter().any(|file| file.exists()) {
            continue;
        }
        any = true;
        let refused = |file: &Path, found: String| {
            let expected = "that of a model of the settings given";
            let advice =
                format!("{SETTINGS_FILE} is missing: put it back, give the flags of before, or choose another --out");
            Err(Error::format(file, found, format!("{expected}; {advice}")))
        };
        let Some(spec) = own.get(&path) else {
            return refused(&path, "another sweep's model".to_owned());
        };
        let record = read_result(model.result()).ok().map(|result| result.record);
        match fs::read_to_string(model.config()) {
            Ok(found) => {
                if let Some(differences) = changed(&found, &config(&model.config(), spec)?) {
                    return refused(&model.config(), differences);
                }
            }
            // One that failed before it was begun is made anew in any case.
            Err(error) if error.kind() == ErrorKind::NotFound && failed(record.as_ref()) => {}
            Err(error) => return refused(&model.config(), format!("nothing that can be read ({error})")),
        }
        // Of a model that is not finished, nobody wrote down where it was trained.
        if let Some(record) = record {
            let made = (record.backend.as_str(), record.precision);
            if made != (settings.backend.as_str(), settings.precision.to_string()) {
                let found = format!("a model made by {} in {}", made.0, made.1);
                return refused(&model.result(), found);
            }
        }
    }
    Ok(any)
}

fn failed(record: Option<&ModelRecord>) -> bool {
    record.is_some_and(|record| record.status == Status::Failed)
}

/// Folders two below that of the models.
fn model_directories(directory: &Path) -> Result<Vec<PathBuf>> {
    let models = layout::models_dir(directory);
    if !models.is_dir() {
        return Ok(Vec::new());
    }
    let mut found = Vec::new();
    for texture in layout::subdirectories(&models)? {
        found.extend(layout::subdirectories(&texture)?);
    }
    Ok(found)
}
