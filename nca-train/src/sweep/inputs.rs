//! The files that training starts from, by what is in them: their paths, which the settings know, say little.

use std::fs;
use std::path::PathBuf;

use nca_core::{Error, Result};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spynet::{Classical, FlowChoice, FlowEstimator};

use super::differences::differences;
use super::settings::SweepSettings;
use crate::digest::sha256;
use crate::report::layout::ModelDir;

/// Hashes of the files that settings name, part of every model's `config.json`.
///
/// The flow network has its own, in its name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inputs {
    /// Of the file of [`SweepSettings::vgg`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    vgg_hash: Option<String>,
    /// Of the file of [`SweepSettings::init`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    init_hash: Option<String>,
}

/// So many digits as the names of flow networks have.
fn start_of(mut hash: String) -> String {
    hash.truncate(12);
    hash
}

impl Inputs {
    /// Of the files as they are. One that is missing is an error, unless it `may_lack`: where all is trained, none is needed.
    pub(super) fn of(settings: &SweepSettings, may_lack: bool) -> Result<Self> {
        let hash = |path: &Option<PathBuf>| match path {
            Some(path) if path.exists() || !may_lack => Ok(Some(start_of(sha256(path)?))),
            _ => Ok(None),
        };
        Ok(Self {
            vgg_hash: hash(&settings.vgg)?,
            init_hash: hash(&settings.init)?,
        })
    }

    /// Of the files that the model in `directory` was made with, as far as that was recorded.
    pub(super) fn recorded(directory: &ModelDir) -> Self {
        let text = fs::read_to_string(directory.config()).unwrap_or_default();
        serde_json::from_str(&text).unwrap_or_default()
    }

    /// Refuses files other than those of `before`, where they are known; `whose` says in words what was made with them.
    pub(super) fn refuse_other(&self, settings: &SweepSettings, before: &Self, whose: &str) -> Result<()> {
        let files = [
            (&settings.vgg, &self.vgg_hash, &before.vgg_hash),
            (&settings.init, &self.init_hash, &before.init_hash),
        ];
        for (path, found, expected) in files {
            if let (Some(path), Some(found), Some(expected)) = (path, found, expected)
                && found != expected
            {
                return Err(Error::format(
                    path,
                    format!("another file ({found})"),
                    format!("{expected}, with which {whose}; put that back, or choose another --out"),
                ));
            }
        }
        Ok(())
    }
}

/// What results call the estimator: a network by the hash of its weights.
pub(super) fn flow_name(flow: &FlowChoice) -> String {
    match flow {
        FlowChoice::Classical => Classical::default().name().to_owned(),
        FlowChoice::SpyNet { name, .. } => name.clone(),
    }
}

/// Where the settings `before` and `now` of a model, texts of its `config.json`, differ, if they do. What older ones did
/// not record is no difference.
pub(super) fn changed(before: &str, now: &str) -> Option<String> {
    if before == now {
        return None;
    }
    let value = |text: &str| serde_json::from_str::<Value>(text).unwrap_or_default();
    let (before, mut now) = (value(before), value(now));
    if let (Value::Object(before), Value::Object(now)) = (&before, &mut now) {
        now.retain(|key, _| before.contains_key(key) || !["vgg_hash", "init_hash"].contains(&key.as_str()));
    }
    (before != now).then(|| differences(&before, &now))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_recorded_is_no_difference() {
        let config = |hash: &str| format!("{{\"seed\": 3{hash}}}");
        let (older, a, b) = (
            config(""),
            config(", \"vgg_hash\": \"a\""),
            config(", \"vgg_hash\": \"b\""),
        );
        assert_eq!(changed(&a, &a), None);
        assert_eq!(changed(&older, &a), None);
        assert_eq!(changed(&a, &b).unwrap(), "vgg_hash \"a\" instead of \"b\"");
        assert_eq!(changed("{\"seed\": 4}", &a).unwrap(), "seed 4 instead of 3");
        assert!(changed("no JSON", &a).is_some());
    }
}
