//! The command line that makes a sweep.

use crate::sweep::SweepSettings;

/// The `cargo xtask sweep` of these settings: the preset, and every flag whose value is not the
/// preset's.
pub fn command(settings: &SweepSettings) -> String {
    let preset = SweepSettings::preset(settings.preset, &settings.backend);
    let mut line = Line(format!("cargo xtask sweep --preset {}", settings.preset.name()));
    let (train, measure) = (&settings.train, &settings.measure);
    let (usual, usually) = (&preset.train, &preset.measure);
    line.list("--channels", &settings.channels, &preset.channels);
    line.list("--hidden", &settings.hidden, &preset.hidden);
    if settings.textures != preset.textures {
        for texture in &settings.textures {
            line.add("--texture", texture);
        }
    }
    if let Some(dtd) = &settings.dtd {
        line.add("--dtd", &dtd.display().to_string());
    }
    line.set("--size", &train.size, &usual.size);
    line.set("--iterations", &train.iterations, &usual.iterations);
    line.set("--batch", &train.batch, &usual.batch);
    line.set("--pool", &train.pool, &usual.pool);
    line.set("--learning-rate", &train.learning_rate, &usual.learning_rate);
    line.set("--steps-min", &train.steps_min, &usual.steps_min);
    line.set("--steps-max", &train.steps_max, &usual.steps_max);
    line.set(
        "--memory-budget",
        &(train.memory_budget >> 20),
        &(usual.memory_budget >> 20),
    );
    line.set("--flow", &measure.flow, &usually.flow);
    if let Some(weights) = &measure.flow_weights {
        line.add("--flow-weights", &weights.display().to_string());
    }
    if let Some(weights) = &settings.vgg {
        line.add("--vgg", &weights.display().to_string());
    }
    let appearance = if settings.vgg.is_some() {
        "vgg-ot"
    } else {
        &preset.appearance
    };
    line.set("--appearance", &settings.appearance.as_str(), &appearance);
    line.set("--frames", &measure.pairs, &usually.pairs);
    line.set("--steps-per-frame", &measure.steps_per_frame, &usually.steps_per_frame);
    line.set("--warmup", &measure.warmup, &usually.warmup);
    line.set("--measure-every", &measure.every, &usually.every);
    let first = settings.seeds.first().copied().unwrap_or(0);
    line.set("--seed", &first, &preset.seeds.first().copied().unwrap_or(0));
    line.set("--seeds", &settings.seeds.len(), &preset.seeds.len());
    line.add("--backend", &settings.backend);
    line.0
}

struct Line(String);

impl Line {
    fn add(&mut self, flag: &str, value: &str) {
        self.0 += &format!(" {flag} {}", quoted(value));
    }

    fn set<T: PartialEq + ToString>(&mut self, flag: &str, value: &T, usual: &T) {
        if value != usual {
            self.add(flag, &value.to_string());
        }
    }

    fn list(&mut self, flag: &str, values: &[usize], usual: &[usize]) {
        if values != usual {
            let words: Vec<_> = values.iter().map(ToString::to_string).collect();
            self.add(flag, &words.join(","));
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
}
