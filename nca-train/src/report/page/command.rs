//! The command line that makes a sweep.

use std::path::PathBuf;

use crate::Objective;
use crate::sweep::SweepSettings;

/// The command line of these settings: the preset, and every flag whose value is not the preset's.
///
/// A model that was trained from another one is `cargo xtask train`'s, all others are made by
/// `cargo xtask sweep`.
#[must_use]
pub fn command(settings: &SweepSettings) -> String {
    let preset = SweepSettings::preset(settings.preset, &settings.backend);
    let (train, measure) = (&settings.train, &settings.measure);
    let (usual, usually) = (&preset.train, &preset.measure);
    let mut line = Line {
        text: "cargo xtask sweep".to_owned(),
        all: false,
    };
    if let Some(init) = &settings.init {
        // The presets of `train` are others: everything is said.
        line.text = "cargo xtask train".to_owned();
        line.all = true;
        line.path("--init", Some(init));
        line.option("--perception", settings.init_perception);
        line.option("--perception-order", settings.init_perception_order);
    }
    line.add("--preset", settings.preset.name());
    line.set("--channels", &list(&settings.channels), &list(&preset.channels));
    line.set("--hidden", &list(&settings.hidden), &list(&preset.hidden));
    if line.all || settings.textures != preset.textures {
        for texture in &settings.textures {
            line.add("--texture", texture);
        }
    }
    line.path("--dtd", settings.dtd.as_ref());
    line.set("--size", &train.size, &usual.size);
    line.set("--iterations", &train.iterations, &usual.iterations);
    line.set("--batch", &train.batch, &usual.batch);
    line.set("--pool", &train.pool, &usual.pool);
    line.set("--learning-rate", &train.learning_rate, &usual.learning_rate);
    line.set("--steps-min", &train.steps_min, &usual.steps_min);
    line.set("--steps-max", &train.steps_max, &usual.steps_max);
    line.option("--clamp", settings.clamp);
    line.set("--overflow-weight", &train.overflow_weight, &usual.overflow_weight);
    line.set(
        "--memory-budget",
        &(train.memory_budget >> 20),
        &(usual.memory_budget >> 20),
    );
    line.objective(&train.objective, &usual.objective);
    line.set("--flow", &measure.flow, &usually.flow);
    line.path("--flow-weights", measure.flow_weights.as_ref());
    line.path("--vgg", settings.vgg.as_ref());
    let appearance = if settings.vgg.is_some() {
        "vgg-ot"
    } else {
        &preset.appearance
    };
    if train.objective.has_appearance() {
        line.set("--appearance", &settings.appearance.as_str(), &appearance);
    }
    line.set("--frames", &measure.pairs, &usually.pairs);
    line.set("--steps-per-frame", &measure.steps_per_frame, &usually.steps_per_frame);
    line.set("--warmup", &measure.warmup, &usually.warmup);
    line.set("--measure-every", &measure.every, &usually.every);
    let first = settings.seeds.first().copied().unwrap_or(0);
    line.set("--seed", &first, &preset.seeds.first().copied().unwrap_or(0));
    if settings.init.is_none() {
        line.set("--seeds", &settings.seeds.len(), &preset.seeds.len());
    }
    line.add("--backend", &settings.backend);
    line.set("--precision", &settings.precision, &preset.precision);
    line.text
}

fn list(values: &[usize]) -> String {
    let words: Vec<_> = values.iter().map(ToString::to_string).collect();
    words.join(",")
}

struct Line {
    text: String,
    /// Whether flags are stated even where they say what the preset says.
    all: bool,
}

impl Line {
    fn add(&mut self, flag: &str, value: &str) {
        self.text += &format!(" {flag} {}", quoted(value));
    }

    fn set<T: PartialEq + ToString>(&mut self, flag: &str, value: &T, usual: &T) {
        if self.all || value != usual {
            self.add(flag, &value.to_string());
        }
    }

    fn option<T: ToString>(&mut self, flag: &str, value: Option<T>) {
        if let Some(value) = value {
            self.add(flag, &value.to_string());
        }
    }

    fn path(&mut self, flag: &str, value: Option<&PathBuf>) {
        self.option(flag, value.map(|path| path.display()));
    }

    fn objective(&mut self, objective: &Objective, usual: &Objective) {
        self.set("--objective", &objective.name(), &usual.name());
        let Some(term) = objective.motion() else { return };
        // Beside a look the usual weight is another than that of motion alone.
        let same = usual.name() == objective.name();
        let weight = usual.motion().filter(|_| same).map(|usual| usual.weight);
        self.option(
            "--motion-weight",
            Some(term.weight).filter(|_| weight != Some(term.weight)),
        );
        let usual = usual.motion().cloned().unwrap_or_default();
        self.option("--motion-target", term.target);
        self.set("--motion-frames", &term.frames, &usual.frames);
        self.set("--motion-pairs", &term.pairs, &usual.pairs);
        // Without a word it is the preset's.
        if term.window != usual.window {
            self.option("--motion-window", Some(term.window.unwrap_or(0)));
        }
    }
}

/// As a shell takes it for one word.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./,=+:@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.to_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MotionTerm;
    use crate::sweep::SweepPreset;

    #[test]
    fn only_what_differs_is_said() {
        let mut settings = SweepSettings::preset(SweepPreset::Quick, "cpu");
        assert_eq!(command(&settings), "cargo xtask sweep --preset quick --backend cpu");
        settings.channels = vec![4, 8];
        settings.textures = vec!["a b's.jpg".to_owned(), "bubbly".to_owned()];
        settings.seeds = vec![7, 8];
        assert_eq!(
            command(&settings),
            r"cargo xtask sweep --preset quick --channels 4,8 --texture 'a b'\''s.jpg' --texture bubbly --seed 7 --seeds 2 --backend cpu"
        );
    }

    /// The usual weight depends on what is asked for besides, so it is left out only where the preset asks for the same.
    #[test]
    fn the_weight_of_motion_is_said() {
        let term = |weight| MotionTerm {
            weight,
            ..MotionTerm::default()
        };
        let mut quick = SweepSettings::preset(SweepPreset::Quick, "cpu");
        for (objective, words) in [
            (Objective::Both(term(0.02)), " --objective both --motion-weight 0.02"),
            (Objective::Motion(term(1.0)), " --objective motion --motion-weight 1"),
        ] {
            quick.train.objective = objective;
            assert!(command(&quick).contains(words), "{}", command(&quick));
        }
        let mut notebook = SweepSettings::preset(SweepPreset::Notebook, "cpu");
        assert!(
            !command(&notebook).contains("--motion-weight"),
            "{}",
            command(&notebook)
        );
        notebook.train.objective = Objective::Both(MotionTerm::notebook());
        assert!(
            command(&notebook).contains("--motion-weight 1"),
            "{}",
            command(&notebook)
        );
    }
}
