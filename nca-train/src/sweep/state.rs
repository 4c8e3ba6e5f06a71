//! The checkpoint of a model in training.

use std::collections::BTreeMap;
use std::path::Path;

use nca_core::checkpoint::{Tensor, TensorView, read_tensors};
use nca_core::{Error, NcaConfig, Result};

use super::inputs::changed;
use crate::report::MetricRow;
use crate::settings::TrainSettings;
use crate::train_state::{TrainState, check_format, field, number};

const KEY_SECONDS: &str = "nca.train.seconds";
const KEY_SETTINGS: &str = "nca.train.settings";
/// Where format 1 has the rows of the metrics, as JSON. The metadata of a file must not grow with the training: it is
/// part of the header, whose length is bounded.
const KEY_METRICS: &str = "nca.train.metrics";
/// The rows of the metrics, `[rows, COLUMNS, 2]`: the 64 bits of each number, the low half first.
const METRICS: &str = "metrics";
/// Numbers of a row.
const COLUMNS: usize = 11;

/// A training state with what its model directory shows of it.
pub(super) struct Checkpoint {
    pub(super) state: TrainState<f32>,
    pub(super) metrics: Vec<MetricRow>,
    /// Seconds of training so far.
    pub(super) seconds: f64,
}

impl Checkpoint {
    /// Writes the checkpoint atomically. `settings` is the text of the model's `config.json`: it is read back only
    /// under the same settings.
    pub(super) fn save(&self, path: &Path, settings: &str) -> Result<()> {
        let metrics: Vec<f32> = self.metrics.iter().flat_map(numbers).flat_map(halves).collect();
        let extra = BTreeMap::from([
            (KEY_SECONDS.to_owned(), self.seconds.to_string()),
            (KEY_SETTINGS.to_owned(), settings.to_owned()),
        ]);
        let metrics = TensorView::new(METRICS, &[self.metrics.len(), COLUMNS, 2], &metrics);
        self.state.save_with(path, &extra, Some(metrics))
    }

    /// Reads the checkpoint of a model `config` that is trained as `train` says.
    ///
    /// # Errors
    /// [`Error::Format`] if the file is damaged, [`Error::Invalid`] if it was made under other settings, or is of another
    /// layout.
    pub(super) fn load(path: &Path, config: &NcaConfig, train: &TrainSettings, settings: &str) -> Result<Self> {
        let mut tensors = read_tensors(path)?;
        check_format(&tensors)?;
        if let Some(found) = changed(field(&tensors, KEY_SETTINGS)?, settings) {
            return Err(Error::invalid(
                path.display().to_string(),
                format!("a checkpoint of other settings ({found})"),
                "one of this sweep's; go on with what it was made with, or delete it to train the model from the start",
            ));
        }
        let seconds = number(&tensors, KEY_SECONDS)?;
        let metrics = match tensors.metadata().get(KEY_METRICS) {
            Some(text) => serde_json::from_str(text)
                .map_err(|e| Error::format(path, format!("metrics that end in '{e}'"), "a JSON list of metric rows"))?,
            None => rows(path, &tensors.take(METRICS)?)?,
        };
        Ok(Self {
            state: TrainState::take(&mut tensors, config, train)?,
            metrics,
            seconds,
        })
    }
}

/// What a row is made of, as 64 bits each. What is not there is NaN, as in [`row`].
fn numbers(row: &MetricRow) -> [u64; COLUMNS] {
    let MetricRow {
        iteration,
        loss,
        appearance_loss,
        motion_loss,
        psi_training,
        overflow_loss,
        learning_rate,
        steps,
        seconds,
        psi,
        psi_se,
    } = row;
    let real = |value: &f64| value.to_bits();
    let perhaps = |value: &Option<f64>| value.unwrap_or(f64::NAN).to_bits();
    [
        *iteration,
        real(loss),
        real(appearance_loss),
        perhaps(motion_loss),
        perhaps(psi_training),
        real(overflow_loss),
        real(learning_rate),
        u64::from(*steps),
        real(seconds),
        perhaps(psi),
        perhaps(psi_se),
    ]
}

/// The row of which [`numbers`] are.
fn row(numbers: [u64; COLUMNS]) -> MetricRow {
    let real = |index: usize| f64::from_bits(numbers[index]);
    let perhaps = |index: usize| Some(real(index)).filter(|value| !value.is_nan());
    MetricRow {
        iteration: numbers[0],
        loss: real(1),
        appearance_loss: real(2),
        motion_loss: perhaps(3),
        psi_training: perhaps(4),
        overflow_loss: real(5),
        learning_rate: real(6),
        steps: numbers[7] as u32,
        seconds: real(8),
        psi: perhaps(9),
        psi_se: perhaps(10),
    }
}

/// 64 bits in tensors of 32, whose bits files keep whatever number they are.
fn halves(bits: u64) -> [f32; 2] {
    [bits as u32, (bits >> 32) as u32].map(f32::from_bits)
}

/// The rows in the tensor [`METRICS`] of the file at `path`.
fn rows(path: &Path, tensor: &Tensor) -> Result<Vec<MetricRow>> {
    if tensor.shape.len() != 3 || tensor.shape[1..] != [COLUMNS, 2] {
        return Err(Error::format(
            path,
            format!("tensor {METRICS} of shape {:?}", tensor.shape),
            format!("shape [rows, {COLUMNS}, 2]"),
        ));
    }
    let whole = |halves: &[f32]| {
        halves
            .iter()
            .rev()
            .fold(0, |bits, half| bits << 32 | u64::from(half.to_bits()))
    };
    let rows = tensor.values.chunks_exact(2 * COLUMNS).map(|values| {
        let mut numbers = [0; COLUMNS];
        for (number, halves) in numbers.iter_mut().zip(values.chunks_exact(2)) {
            *number = whole(halves);
        }
        row(numbers)
    });
    Ok(rows.collect())
}

#[cfg(test)]
mod tests {
    use nca_core::checkpoint::write_tensors;
    use nca_core::{Grid, Params, Preset, param_sizes};

    use super::*;

    const TEXT: &str = "{}";

    fn config() -> (NcaConfig, TrainSettings) {
        let train = TrainSettings {
            size: 8,
            pool: 4,
            ..TrainSettings::preset(Preset::Paper)
        };
        (NcaConfig::preset(Preset::Paper, 4, 3).unwrap(), train)
    }

    fn checkpoint(metrics: Vec<MetricRow>) -> Checkpoint {
        let (config, train) = config();
        let sizes = param_sizes(&config);
        let params = || -> Params<Vec<f32>> { sizes.try_map(|&len| Result::<_>::Ok(vec![0.5; len])).unwrap() };
        let pool = config.state_len(Grid::new(train.pool, train.size, train.size)).unwrap();
        Checkpoint {
            state: TrainState {
                iteration: 7,
                params: params(),
                first_moments: params(),
                second_moments: params(),
                pool: vec![0.25; pool],
            },
            metrics,
            seconds: 1.5,
        }
    }

    fn any_row(iteration: u64) -> MetricRow {
        MetricRow {
            iteration,
            loss: 0.1 + 0.2,
            appearance_loss: f64::MIN_POSITIVE,
            motion_loss: None,
            psi_training: Some(-0.0),
            overflow_loss: f64::INFINITY,
            learning_rate: 1e-3,
            steps: u32::MAX,
            // Halves of signalling NaNs.
            seconds: f64::from_bits(0x3FA0_0001_7FA0_0001),
            psi: Some(1.0 / 3.0),
            psi_se: None,
        }
    }

    fn load(path: &Path) -> Result<Checkpoint> {
        let (config, train) = config();
        Checkpoint::load(path, &config, &train, TEXT)
    }

    #[test]
    fn rows_of_a_long_training_come_back_to_the_bit() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.safetensors");
        // Those of two million iterations, more than a header holds.
        let numbers_of = |count: u64| {
            let written = checkpoint((0..count).map(|i| any_row(u64::MAX - i)).collect());
            written.save(&path, TEXT).unwrap();
            let read = load(&path).unwrap();
            assert_eq!(read.state, written.state);
            assert_eq!(read.seconds, 1.5);
            assert_eq!(read.metrics, written.metrics);
            assert!(read.metrics.iter().map(numbers).eq(written.metrics.iter().map(numbers)));
        };
        numbers_of(200_000);
        numbers_of(0);
        // NaN is what equals nothing.
        let nan = MetricRow {
            loss: f64::NAN,
            ..any_row(1)
        };
        checkpoint(vec![nan]).save(&path, TEXT).unwrap();
        let read = load(&path).unwrap().metrics;
        assert!(read[0].loss.is_nan() && read[0].motion_loss.is_none());
    }

    #[test]
    fn a_checkpoint_of_format_1_is_read_and_a_later_one_refused() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("state.safetensors");
        let written = checkpoint(vec![MetricRow {
            overflow_loss: 0.0,
            ..any_row(3)
        }]);
        written.save(&path, TEXT).unwrap();
        let older = |format: &str, metrics: bool| {
            let tensors = read_tensors(&path).unwrap();
            let views: Vec<_> = tensors
                .iter()
                .filter(|(name, _)| *name != METRICS)
                .map(|(name, tensor)| TensorView::new(name, &tensor.shape, &tensor.values))
                .collect();
            let mut metadata = tensors.metadata().clone();
            metadata.insert("nca.train.format".to_owned(), format.to_owned());
            if metrics {
                let text = serde_json::to_string(&written.metrics).unwrap();
                metadata.insert(KEY_METRICS.to_owned(), text);
            }
            let to = directory.path().join("older.safetensors");
            write_tensors(&to, &views, &metadata).unwrap();
            load(&to)
        };
        let read = older("1", true).unwrap();
        assert_eq!(read.metrics, written.metrics);
        assert_eq!(read.state, written.state);
        let refused = |format: &str| older(format, false).err().unwrap().to_string();
        assert!(refused("2").contains("a tensor metrics"), "{}", refused("2"));
        let later = refused("3");
        assert!(later.contains("format 3") && later.contains("format 1 or 2"), "{later}");
    }

    #[test]
    fn rows_of_another_length_are_refused() {
        let tensor = Tensor {
            shape: vec![1, COLUMNS + 1, 2],
            values: vec![0.0; 2 * COLUMNS + 2],
        };
        let error = rows(Path::new("state.safetensors"), &tensor).unwrap_err().to_string();
        assert!(error.contains("tensor metrics of shape [1, 12, 2]"), "{error}");
    }
}
