//! Models that commands read and run.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::checkpoint::{Conventions, PerceptionOrder};
use nca_core::{Error, Nca, Preset, Result};

/// The automaton of the file `path` and its metadata; says so where the order of its first layer had to be assumed.
pub(crate) fn load(path: &Path, conventions: Conventions) -> Result<(Nca, BTreeMap<String, String>)> {
    let loaded = Nca::load_with_extra(path, conventions)?;
    if conventions.order.is_none() && is_bare(path) {
        tracing::warn!(
            "{} does not say in what order its first layer takes what a cell perceives: {} is assumed, and \
             --perception-order says it",
            path.display(),
            PerceptionOrder::default()
        );
    }
    Ok(loaded)
}

/// Whether the file, which can be read with conventions, says nothing of its own.
fn is_bare(path: &Path) -> bool {
    Nca::load(path, None).is_err()
}

/// What `error`, of running the automaton of the file `path` under `conventions`, says of that file: that
/// it left the finite numbers, and that the conventions may be others. Any other error stays as it is.
pub(crate) fn about_model(error: Error, path: &Path, conventions: Conventions) -> Error {
    let Error::NonFinite {
        what: what @ "the state",
        unit,
        at,
    } = error
    else {
        return error;
    };
    // Only a file that does not state its conventions can be misunderstood.
    let guessed = conventions.preset.filter(|_| is_bare(path));
    let expected = match guessed {
        Some(given) => {
            let others: Vec<_> = Preset::ALL.into_iter().filter(|other| *other != given).collect();
            let others = others.into_iter().map(Preset::name).collect::<Vec<_>>().join(" or ");
            let order = match (PerceptionOrder::stated_in(path), conventions.order.unwrap_or_default()) {
                (Ok(None), PerceptionOrder::KernelMajor) => ", or for --perception-order channel-major",
                (Ok(None), PerceptionOrder::ChannelMajor) => ", or for --perception-order kernel-major",
                _ => "",
            };
            format!(
                "a model that stays finite; the file holds only weights, perhaps not for --perception {given} but \
                 {others}{order}"
            )
        }
        None => "a model that stays finite".to_owned(),
    };
    Error::format(path, format!("{what} not finite at {unit} {at}"), expected)
}
