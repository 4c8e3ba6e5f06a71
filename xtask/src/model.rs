//! Errors of models that commands run.

use std::path::Path;

use nca_core::{Error, Nca, Preset};

/// What `error`, of running the automaton of the file `path` under the conventions of `perception`, says of that file: that
/// it left the finite numbers, and that the conventions may be others. Any other error stays as it is.
pub(crate) fn about_model(error: Error, path: &Path, perception: Option<Preset>) -> Error {
    let Error::NonFinite {
        what: what @ "the state",
        unit,
        at,
    } = error
    else {
        return error;
    };
    // Only a file that does not state its conventions can be misunderstood.
    let guessed = perception.filter(|_| Nca::load(path, None).is_err());
    let expected = match guessed {
        Some(given) => {
            let others: Vec<_> = Preset::ALL.into_iter().filter(|other| *other != given).collect();
            let others = others.into_iter().map(Preset::name).collect::<Vec<_>>().join(" or ");
            format!(
                "a model that stays finite; the file holds only weights, perhaps not for --perception {given} but {others}"
            )
        }
        None => "a model that stays finite".to_owned(),
    };
    Error::format(path, format!("{what} not finite at {unit} {at}"), expected)
}
