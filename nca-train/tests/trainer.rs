//! The trainer: it learns, it can be stopped at any iteration, and it notices when numbers go bad.

use nca_core::cpu::Cpu;
use nca_core::{Error, Nca, Preset};
use nca_train::loss::{PatchLoss, PatchSettings};
use nca_train::{Objective, Texture, TrainSettings, Trainer};

const SIZE: usize = 16;

fn settings(preset: Preset) -> TrainSettings {
    TrainSettings {
        objective: Objective::Appearance,
        size: SIZE,
        batch: 2,
        pool: 5,
        reseed_every: 3,
        steps_min: 4,
        steps_max: 9,
        decay_at: vec![3],
        ..TrainSettings::preset(preset)
    }
}

fn trainer<'b>(backend: &'b Cpu, nca: &Nca, settings: TrainSettings) -> Trainer<'b, Cpu> {
    let texture = Texture::resolve("chequered", None, SIZE).expect("a built-in exemplar");
    let patches = PatchSettings {
        projections: 8,
        ..PatchSettings::default()
    };
    let loss = PatchLoss::new(backend, patches, &texture, settings.batch).expect("a valid loss");
    Trainer::new(backend, nca, settings, Box::new(loss), 3).expect("valid settings")
}

#[test]
fn stopped_and_restored_is_bit_identical() {
    let backend = Cpu::new().expect("a CPU");
    for preset in Preset::ALL {
        let nca = Nca::preset(preset, 5, 7, 1).expect("a valid model");
        let mut whole = trainer(&backend, &nca, settings(preset));
        let mut first = trainer(&backend, &nca, settings(preset));
        for _ in 0..3 {
            assert_eq!(whole.step().expect("finite"), first.step().expect("finite"));
        }
        let state = first.state().expect("a state");
        drop(first);
        let mut second = trainer(&backend, &nca, settings(preset));
        second.restore(&state).expect("the same shapes");
        for _ in 0..4 {
            assert_eq!(
                whole.step().expect("finite"),
                second.step().expect("finite"),
                "{preset}"
            );
        }
        assert_eq!(
            whole.state().expect("a state"),
            second.state().expect("a state"),
            "{preset}"
        );
        assert_ne!(
            whole.state().expect("a state").params,
            state.params,
            "{preset} has not moved"
        );
    }
}

/// The notebook begins every iteration from noise, in all samples; other presets go on from the pool.
#[test]
fn the_notebook_begins_anew_in_every_sample() {
    let backend = Cpu::new().expect("a CPU");
    for preset in [Preset::Notebook, Preset::Paper] {
        let nca = Nca::preset(preset, 5, 7, 1).expect("a valid model");
        let start = TrainSettings::preset(preset);
        let settings = TrainSettings {
            reseed_every: start.reseed_every,
            ..settings(preset)
        };
        let mut from = [0.0, 0.5].map(|cell| {
            let mut trainer = trainer(&backend, &nca, settings.clone());
            // Past the first iteration, which every preset reseeds, and into another pool.
            trainer.step().expect("finite");
            let mut state = trainer.state().expect("a state");
            state.pool.fill(cell);
            trainer.restore(&state).expect("the same shapes");
            trainer
        });
        let [a, b] = from.each_mut().map(|trainer| trainer.step().expect("finite"));
        let anew = preset == Preset::Notebook;
        assert_eq!(a == b, anew, "{preset}: {a:?} {b:?}");
        if anew {
            // No two samples begin alike: after one iteration their states differ.
            let state = from[0].state().expect("a state");
            let len = state.pool.len() / settings.pool;
            let moved: Vec<&[f32]> = state.pool.chunks(len).filter(|s| s.iter().any(|&v| v != 0.0)).collect();
            assert_eq!(moved.len(), settings.batch);
            assert_ne!(moved[0], moved[1]);
        }
    }
}

#[test]
fn the_loss_falls() {
    let backend = Cpu::new().expect("a CPU");
    let nca = Nca::preset(Preset::Paper, 8, 16, 0).expect("a valid model");
    let settings = TrainSettings {
        steps_min: 8,
        steps_max: 16,
        decay_at: Vec::new(),
        ..settings(Preset::Paper)
    };
    let mut trainer = trainer(&backend, &nca, settings);
    // The first hundred iterations or so are spent on states that overflow.
    let losses: Vec<f64> = (0..300)
        .map(|_| trainer.step().expect("finite").appearance_loss.expect("a look"))
        .collect();
    let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
    let (before, after) = (mean(&losses[..5]), mean(&losses[280..]));
    assert!(after < 0.7 * before, "from {before} to {after}");
}

#[test]
fn the_learning_rate_falls_where_it_should() {
    let backend = Cpu::new().expect("a CPU");
    let nca = Nca::preset(Preset::Paper, 4, 4, 0).expect("a valid model");
    let mut trainer = trainer(&backend, &nca, settings(Preset::Paper));
    let rates: Vec<f64> = (0..5).map(|_| trainer.step().expect("finite").learning_rate).collect();
    assert_eq!(rates, [1e-3, 1e-3, 1e-3, 5e-4, 5e-4]);
}

#[test]
fn a_diverged_iteration_is_named_and_leaves_the_weights() {
    let backend = Cpu::new().expect("a CPU");
    for preset in [Preset::Paper, Preset::Notebook] {
        let mut nca = Nca::preset(preset, 5, 7, 1).expect("a valid model");
        nca.params.b1.fill(1.0);
        nca.params.w2.fill(1e38);
        let mut trainer = trainer(&backend, &nca, settings(preset));
        let before = trainer.state().expect("a state");
        assert!(
            matches!(trainer.step(), Err(Error::NonFinite { at: 0, .. })),
            "{preset}"
        );
        assert_eq!(trainer.state().expect("a state"), before, "{preset}");
        assert_eq!(trainer.iteration(), 0);
    }
}

#[test]
fn what_is_not_of_this_training_is_not_restored() {
    let backend = Cpu::new().expect("a CPU");
    let nca = |hidden| Nca::preset(Preset::Notebook, 4, hidden, 1).expect("a valid model");
    let mut trainer = trainer(&backend, &nca(4), settings(Preset::Notebook));
    let own = trainer.state().expect("a state");
    // Another state throughout, so that any part of it that was taken shows.
    let mut other = own.clone();
    other.iteration = 9;
    for params in [&mut other.params, &mut other.first_moments, &mut other.second_moments] {
        params.iter_mut().for_each(|values| values.fill(0.5));
    }
    other.pool.fill(0.25);
    let mut wider = other.clone();
    wider.second_moments.b1.push(0.0);
    let mut without_bias = other.clone();
    without_bias.params.b2 = None;
    let mut pool = other.clone();
    pool.pool.pop();
    for state in [wider, without_bias, pool] {
        assert!(matches!(trainer.restore(&state), Err(Error::Length { .. })));
        assert_eq!(trainer.state().expect("a state"), own);
    }
    let mut moment = other.clone();
    moment.second_moments.w1[3] = f32::NAN;
    let mut cell = other.clone();
    cell.pool[7] = f32::INFINITY;
    for state in [moment, cell] {
        assert!(matches!(trainer.restore(&state), Err(Error::NonFinite { .. })));
        assert_eq!(trainer.state().expect("a state"), own);
    }
    trainer.restore(&other).expect("a state of this training");
    assert_eq!(trainer.state().expect("a state"), other);
}

#[test]
fn a_loss_of_other_pictures_is_refused() {
    let backend = Cpu::new().expect("a CPU");
    let nca = Nca::preset(Preset::Paper, 4, 4, 1).expect("a valid model");
    let settings = settings(Preset::Paper);
    for (size, batch) in [(settings.size + 1, settings.batch), (settings.size, settings.batch + 1)] {
        let texture = Texture::resolve("bubbly", None, size).expect("a texture");
        let loss = PatchLoss::new(&backend, PatchSettings::default(), &texture, batch).expect("a loss");
        let error = Trainer::new(&backend, &nca, settings.clone(), Box::new(loss), 0).err();
        let error = error.expect("refused").to_string();
        let found = format!("appearance loss is for {batch} pictures of {size}x{size}, expected ");
        assert!(error.starts_with(&found), "{error}");
    }
}

#[test]
fn shorter_trainings_slow_down_sooner() {
    let settings = TrainSettings::preset(Preset::Paper).with_iterations(300);
    assert_eq!((settings.iterations, &settings.decay_at[..]), (300, &[50, 100][..]));
    // The first iteration's is that of the settings.
    let settings = TrainSettings::preset(Preset::Paper).with_iterations(2);
    assert_eq!(
        (settings.learning_rate_at(0), settings.learning_rate_at(1)),
        (1e-3, 2.5e-4)
    );
}
