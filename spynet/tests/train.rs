//! Training: the gradients it follows, what it may change, what it learns, and that it can be stopped.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nca_core::backend::Device;
use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::reference::Reference;
use nca_core::testkit::check_gradient;
use nca_core::{Error, Grid, Result};
use spynet::train::{
    Batch, Event, Example, ExampleSource, Outcome, Recipe, Scenes, Stage, StageTrainer, Start, TrainOptions, Trained,
};
use spynet::train::{TrainState, train};
use spynet::{FlowPass, SpyNet, SpyNetWeights};

/// Waves that move as a whole, by up to a pixel along each axis.
struct Waves {
    /// Examples made; beyond `most`, none.
    made: AtomicU64,
    most: u64,
}

impl Waves {
    fn new(most: u64) -> Self {
        Self {
            made: AtomicU64::new(0),
            most,
        }
    }
}

impl ExampleSource for Waves {
    fn describe(&self) -> String {
        "waves".into()
    }

    fn example(&self, stage: &Stage, seed: u64, index: u64) -> Result<Example> {
        let (height, width) = (stage.height, stage.width);
        if self.made.fetch_add(1, Ordering::Relaxed) >= self.most {
            return Err(Error::invalid("power", "off", "on"));
        }
        let mut rng = PhiloxRng::new(seed, Stream::Test, index);
        let (u, v) = (rng.uniform_in(-1.0, 1.0), rng.uniform_in(-1.0, 1.0));
        let waves: Vec<[f64; 4]> = (0..9)
            .map(|_| {
                let (frequency, angle) = (rng.uniform_in(0.3, 0.9), rng.uniform_in(0.0, 6.3));
                [
                    frequency * angle.cos(),
                    frequency * angle.sin(),
                    rng.uniform_in(0.0, 6.3),
                    rng.uniform_in(0.05, 0.15),
                ]
            })
            .collect();
        let plane = height * width;
        let frame = |dx: f64, dy: f64| -> Vec<f32> {
            let value = |i: usize| {
                let (x, y) = ((i % plane % width) as f64 - dx, (i % plane / width) as f64 - dy);
                let own = &waves[i / plane * 3..][..3];
                let sum: f64 = own.iter().map(|[a, b, c, d]| d * (a * x + b * y + c).sin()).sum();
                (0.5 + sum) as f32
            };
            (0..3 * plane).map(value).collect()
        };
        Ok(Example {
            height,
            width,
            first: frame(0.0, 0.0),
            second: frame(u, v),
            flow: (0..2 * plane)
                .map(|i| if i < plane { u as f32 } else { v as f32 })
                .collect(),
        })
    }
}

fn stage(trained: Trained, side: usize, batch: usize, iterations: u64) -> Stage {
    Stage {
        trained,
        from_below: trained == Trained::Level(1),
        scenes: Scenes::All,
        height: side,
        width: side,
        slowest: 0.1,
        halvings: 0,
        batch,
        reuse: 2,
        iterations,
        learning_rate: 3e-3,
        exponent: 1.0,
    }
}

/// Three levels of these channels.
fn untrained(channels: &[usize]) -> Start {
    Start::Untrained {
        levels: 3,
        channels: channels.to_vec(),
        kernel: 5,
    }
}

/// Narrow levels, three stages, a few iterations each.
fn tiny() -> Recipe {
    Recipe {
        seed: 4,
        start: untrained(&[8, 6, 4, 2]),
        rounds: None,
        stages: vec![
            Stage {
                halvings: 1,
                ..stage(Trained::Level(0), 64, 2, 7)
            },
            stage(Trained::Level(1), 64, 2, 5),
            stage(Trained::UpTo(1), 64, 1, 6),
        ],
        held_out: 2,
        measurements: 2,
    }
}

fn options(resume: bool) -> TrainOptions {
    TrainOptions {
        resume,
        checkpoint_every: Duration::ZERO,
        as_it_is: false,
    }
}

fn run(recipe: &Recipe, source: &Waves, directory: &Path, resume: bool) -> Result<Outcome> {
    let backend = Cpu::with_threads(2)?;
    train(&backend, recipe, source, directory, &options(resume), &mut |_| {})
}

type Oracle = Reference<f64>;

fn noise(len: usize, index: u64) -> Vec<f64> {
    let mut rng = PhiloxRng::new(8, Stream::Test, index);
    (0..len).map(|_| rng.uniform_in(-0.5, 0.5)).collect()
}

/// Losses on both levels against difference quotients, for the weights of both levels and for those of
/// the upper one with the lower one frozen.
#[test]
fn supervised_gradients_are_those_of_the_forward() {
    // Flows are of the order of a pixel.
    check_supervised([1, 1], 3.0);
}

#[test]
fn supervised_gradients_are_summed_over_rounds() {
    // Less, as each round multiplies what a change does, and difference quotients would meet kinks.
    check_supervised([2, 3], 1.0);
}

fn check_supervised(rounds: [usize; 2], gain: f64) {
    let backend = Oracle::new();
    let weights = SpyNetWeights::init(2, &[8, 4, 3, 2], 3, 5).unwrap();
    let weights = weights.with_rounds(rounds.to_vec()).unwrap();
    let total = rounds[0] + rounds[1];
    let grid = Grid::new(2, 64, 32);
    let mut net = SpyNet::new(&backend, &weights).unwrap();
    for layer in net.layers_mut() {
        layer.weight.iter_mut().chain(&mut layer.bias).for_each(|w| *w *= gain);
    }
    let (first, second) = (noise(3 * grid.cells(), 0), noise(3 * grid.cells(), 1));
    let flows = |net: &SpyNet<Oracle>| -> Result<Vec<f64>> {
        let mut pass = FlowPass::new(&backend, net, grid, false)?;
        pass.forward_levels(&backend, net, &first, &second)?;
        Ok((0..total).flat_map(|round| pass.round_flow(round).clone()).collect())
    };
    let length = |round: usize| {
        if round < rounds[0] {
            2 * grid.cells() / 4
        } else {
            2 * grid.cells()
        }
    };
    let start = |round: usize| (0..round).map(length).sum::<usize>();
    let g_flow = noise(start(total), 2);
    for lowest in [0, 1] {
        let mut pass = FlowPass::new(&backend, &net, grid, true).unwrap();
        pass.forward_levels(&backend, &net, &first, &second).unwrap();
        let mut grads = SpyNet::zeros(&backend, &weights).unwrap();
        let mut asked = Vec::new();
        pass.backward_supervised(
            &backend,
            &net,
            lowest,
            |round, flow, g| {
                assert_eq!(flow.len(), length(round));
                asked.push(round);
                backend.upload(&g_flow[start(round)..][..length(round)], g)
            },
            &mut grads,
        )
        .unwrap();
        let first = if lowest == 0 { 0 } else { rounds[0] };
        assert_eq!(asked, (first..total).rev().collect::<Vec<_>>());
        if lowest == 1 {
            assert!(
                grads.levels()[0]
                    .iter()
                    .all(|layer| layer.weight.iter().all(|&g| g == 0.0))
            );
        }
        let values = |net: &SpyNet<Oracle>| -> Vec<f64> {
            let layers = net.levels()[lowest..].iter().flatten();
            layers
                .flat_map(|layer| [&layer.weight[..], &layer.bias].concat())
                .collect()
        };
        let set = |net: &mut SpyNet<Oracle>, mut values: &[f64]| {
            for layer in net.levels_mut()[lowest..].iter_mut().flatten() {
                for buffer in [&mut layer.weight, &mut layer.bias] {
                    let (own, rest) = values.split_at(buffer.len());
                    buffer.copy_from_slice(own);
                    values = rest;
                }
            }
        };
        let (at, gradient) = (values(&net), values(&grads));
        let moved = std::cell::RefCell::new(&mut net);
        check_gradient("spynet", "g_weights", &at, &gradient, &g_flow, |x| {
            let net = &mut **moved.borrow_mut();
            set(net, x);
            flows(net)
        })
        .unwrap();
        set(&mut net, &at);
    }
}

/// A level finds translations far better than no flow at all does, and the next level improves on it.
#[test]
fn levels_learn() {
    let recipe = Recipe {
        start: untrained(&[8, 16, 16, 2]),
        stages: vec![
            stage(Trained::Level(0), 32, 4, 450),
            stage(Trained::Level(1), 64, 1, 120),
        ],
        held_out: 8,
        ..tiny()
    };
    let directory = tempfile::tempdir().unwrap();
    let outcome = run(&recipe, &Waves::new(u64::MAX), directory.path(), false).unwrap();
    let last = |stage| outcome.log.iter().rev().find(|row| row.stage == stage).unwrap();
    // One that does not learn answers with no flow, and stays at 1.
    const LEARNT: f64 = 2.0 / 3.0;
    assert!(last(1).held_out_epe < LEARNT * last(1).zero_epe, "{:?}", last(1));
    assert!(last(2).held_out_epe < LEARNT * last(2).zero_epe, "{:?}", last(2));
    // The level above those trained starts as a copy.
    let levels = outcome.weights.levels();
    assert_eq!(levels[2], levels[1]);
    assert_ne!(levels[1], levels[0]);
}

/// A stage of one level changes that level; an end-to-end stage changes them all.
#[test]
fn frozen_levels_stay() {
    let backend = Cpu::with_threads(2).unwrap();
    let recipe = tiny();
    let start = recipe.initial_weights().unwrap();
    for (stage, changed) in [
        (&recipe.stages[0], [true, false, false]),
        (&recipe.stages[1], [false, true, false]),
        (&recipe.stages[2], [true, true, false]),
    ] {
        let mut batch = Batch::zeros(stage);
        batch.fill(&Waves::new(99), stage, 1, 0).unwrap();
        let mut trainer = StageTrainer::new(&backend, stage, &start).unwrap();
        trainer.step(&batch).unwrap();
        trainer.step(&batch).unwrap();
        let after = trainer.weights().unwrap();
        let differs: Vec<bool> = start.levels().iter().zip(after.levels()).map(|(a, b)| a != b).collect();
        assert_eq!(differs, changed, "{}", stage.trained);
    }
}

/// Wherever the power fails, the resumed training ends in the same bits: weights, log, metadata.
#[test]
fn resumed_training_is_the_same() {
    let recipe = tiny();
    let whole = tempfile::tempdir().unwrap();
    let expected = run(&recipe, &Waves::new(u64::MAX), whole.path(), false).unwrap();
    let timeless = |outcome: &Outcome| -> Outcome {
        let mut outcome = outcome.clone();
        outcome.log.iter_mut().for_each(|row| row.seconds = 0.0);
        outcome
    };
    assert_eq!(expected.log.len(), 6);
    // Held-out pairs count too; the last fails before the first iteration.
    for most in [27, 18, 9, 1] {
        let directory = tempfile::tempdir().unwrap();
        let stopped = run(&recipe, &Waves::new(most), directory.path(), false).unwrap_err();
        assert!(stopped.to_string().contains("power is off"), "{stopped}");
        let resumed = run(&recipe, &Waves::new(u64::MAX), directory.path(), true).unwrap();
        assert_eq!(timeless(&resumed), timeless(&expected), "after {most} examples");
    }
    // A finished one has nothing left to do.
    let again = run(&recipe, &Waves::new(0), whole.path(), true).unwrap();
    assert_eq!(again, expected);
}

#[test]
fn a_checkpoint_is_taken_up_by_its_own_recipe_alone() {
    let recipe = tiny();
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    let none = TrainOptions {
        as_it_is: true,
        ..options(false)
    };
    let backend = Cpu::with_threads(1).unwrap();
    let source = Waves::new(20);
    let as_it_is = || train(&backend, &recipe, &source, path, &none, &mut |_: Event<'_>| {});
    assert!(as_it_is().unwrap_err().to_string().contains("no checkpoint"));
    run(&recipe, &source, path, false).unwrap_err();

    let refused = run(&recipe, &Waves::new(99), path, false).unwrap_err().to_string();
    assert!(refused.contains("--resume"), "{refused}");
    let other = Recipe { seed: 5, ..tiny() };
    let refused = run(&other, &Waves::new(99), path, true).unwrap_err().to_string();
    assert!(refused.contains("another recipe"), "{refused}");

    // The weights so far, without training; nothing above the level in training is left untrained.
    let outcome = as_it_is().unwrap();
    assert!(
        outcome.metadata["spynet.iterations"].starts_with("level 0 "),
        "{:?}",
        outcome.metadata
    );
    assert_ne!(outcome.weights, recipe.initial_weights().unwrap());
    assert_eq!(outcome.weights.levels()[2], outcome.weights.levels()[1]);
    std::fs::write(path.join("state.safetensors"), b"nothing of the kind").unwrap();
    assert!(as_it_is().unwrap_err().to_string().contains("state.safetensors"));
}

/// A training that starts from the weights of another changes what its stages train and nothing else, and its
/// file tells of both.
#[test]
fn trained_weights_are_refined() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second, third] = ["first", "second", "third"].map(|name| directory.path().join(name));
    for path in [&first, &second, &third] {
        std::fs::create_dir(path).unwrap();
    }
    let source = Waves::new(u64::MAX);
    let before = run(&tiny(), &source, &first, false).unwrap();
    let file = directory.path().join("w.safetensors");
    before.weights.save(&file, &before.metadata).unwrap();

    let recipe = Recipe {
        start: Start::load(&file).unwrap(),
        stages: vec![stage(Trained::Level(1), 64, 1, 3)],
        ..tiny()
    };
    let after = run(&recipe, &source, &second, false).unwrap();
    // Not `assert_eq`, which would print thousands of weights.
    let same = |a: &Outcome, i: usize, b: &Outcome, j: usize| a.weights.levels()[i] == b.weights.levels()[j];
    assert!(same(&after, 0, &before, 0) && !same(&after, 1, &before, 1));
    assert!(same(&after, 2, &after, 1), "a level above one that began anew");
    let mut onwards = recipe.clone();
    onwards.stages[0].from_below = false;
    let kept = run(&onwards, &source, &third, false).unwrap();
    assert!(!same(&kept, 1, &before, 1) && !same(&kept, 1, &after, 1));
    assert!(same(&kept, 2, &before, 2), "a finer level that was given");
    assert_eq!(after.metadata["spynet.earlier"], before.metadata["spynet.recipe"]);
    assert!(after.metadata["spynet.recipe"].contains("weights of SHA-256"));
    assert!(!before.metadata.contains_key("spynet.earlier"));

    // Its checkpoint is of these weights alone.
    let again = |start| {
        let recipe = Recipe {
            start,
            ..recipe.clone()
        };
        run(&recipe, &source, &second, true).map(|outcome| outcome.weights)
    };
    assert!(again(Start::load(&file).unwrap()).unwrap() == after.weights);
    after.weights.save(&file, &after.metadata).unwrap();
    let refused = again(Start::load(&file).unwrap()).unwrap_err().to_string();
    assert!(refused.contains("another recipe"), "{refused}");
}

/// Every round has a loss of its own on the same truth, the last one a full one, others half: an untrained network
/// answers with no flow in each of them.
#[test]
fn rounds_are_supervised() {
    let backend = Cpu::with_threads(1).unwrap();
    let loss = |rounds: usize| {
        let recipe = Recipe {
            rounds: Some(vec![rounds, 1, 1]),
            ..tiny()
        };
        let stage = &recipe.stages[0];
        let mut batch = Batch::zeros(stage);
        batch.fill(&Waves::new(99), stage, 1, 0).unwrap();
        let start = recipe.initial_weights().unwrap();
        StageTrainer::new(&backend, stage, &start)
            .unwrap()
            .step(&batch)
            .unwrap()
    };
    let one = loss(1);
    assert!(one > 0.1);
    assert!((loss(2) - 1.5 * one).abs() < 1e-12 * one);
    assert!((loss(3) - 2.0 * one).abs() < 1e-12 * one);
}

/// A training in rounds trains another level than one without, is taken up to the bit where it stopped, and leaves weights
/// whose file tells of the rounds.
#[test]
fn rounds_are_trained() {
    let recipe = Recipe {
        rounds: Some(vec![2, 3, 1]),
        stages: vec![stage(Trained::Level(0), 32, 2, 3), stage(Trained::Level(1), 64, 1, 4)],
        ..tiny()
    };
    let [whole, halves, single] = [(); 3].map(|()| tempfile::tempdir().unwrap());
    let all = Waves::new(u64::MAX);
    let expected = run(&recipe, &all, whole.path(), false).unwrap();
    assert_eq!(expected.weights.rounds(), [2, 3, 1]);
    let path = whole.path().join("w.safetensors");
    expected.weights.save(&path, &expected.metadata).unwrap();
    assert!(SpyNetWeights::load(&path).unwrap() == expected.weights);

    run(&recipe, &Waves::new(9), halves.path(), false).unwrap_err();
    let resumed = run(&recipe, &all, halves.path(), true).unwrap();
    assert!(resumed.weights == expected.weights);

    let one = run(&Recipe { rounds: None, ..recipe }, &all, single.path(), false).unwrap();
    assert!(one.weights.levels()[1] != expected.weights.levels()[1]);
}

/// f16 has a mantissa of 11 bits: each weight comes back within 2⁻¹¹ of itself, or within half the
/// smallest subnormal, 2⁻²⁵; what is f16 already comes back as it is.
#[test]
fn half_precision_round_trip() {
    let weights = Recipe::quick(1).initial_weights().unwrap();
    let directory = tempfile::tempdir().unwrap();
    let (path, again) = (directory.path().join("w"), directory.path().join("again"));
    let metadata = BTreeMap::from([("spynet.seed".to_owned(), "1".to_owned())]);
    weights.save_f16(&path, &metadata).unwrap();
    let bytes = std::fs::read(&path).unwrap();
    assert!(bytes.len() < 3_000_000, "{} bytes", bytes.len());
    let loaded = SpyNetWeights::load(&path).unwrap();
    assert_eq!(loaded, SpyNetWeights::parse("w", &bytes).unwrap());
    let values = |weights: &SpyNetWeights| -> Vec<f32> {
        let layers = weights.levels().iter().flatten();
        layers
            .flat_map(|layer| [&layer.weight[..], &layer.bias].concat())
            .collect()
    };
    for (stored, value) in values(&loaded).into_iter().zip(values(&weights)) {
        let bound = (value.abs() * 2.0_f32.powi(-11)).max(2.0_f32.powi(-25));
        assert!((stored - value).abs() <= bound, "{value} became {stored}");
    }
    assert_ne!(loaded, weights);
    loaded.save_f16(&again, &metadata).unwrap();
    assert_eq!(std::fs::read(&again).unwrap(), bytes);
}

#[test]
fn losses_that_are_no_numbers_are_reported() {
    let backend = Cpu::with_threads(1).unwrap();
    let recipe = tiny();
    let mut batch = Batch::zeros(&recipe.stages[0]);
    batch.fill(&Waves::new(99), &recipe.stages[0], 1, 0).unwrap();
    batch.first[17] = f32::NAN;
    let state = TrainState::new(&recipe).unwrap();
    let mut trainer = StageTrainer::new(&backend, &recipe.stages[0], &state.weights).unwrap();
    assert!(matches!(trainer.step(&batch), Err(Error::NonFinite { .. })));
    assert_eq!(trainer.weights().unwrap(), state.weights);
}
