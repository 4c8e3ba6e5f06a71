//! Motion as an objective: the trainer's loss and gradient against an independent forward pass, on both
//! backends, and what training makes of it.

use nca_core::backend::{Backend, Device, MaskKey, Overflow, Rgb, RolloutSteps};
use nca_core::cpu::Cpu;
use nca_core::philox::{PhiloxRng, Stream, derive_seed};
use nca_core::reference::Reference;
use nca_core::testkit::{Faulty, check_gradient};
use nca_core::{Error, Grid, Nca, NcaConfig, Params, Preset, Real, Result, param_sizes};
use nca_train::loss::{AppearanceLoss, MotionLoss, PatchLoss, PatchSettings};
use nca_train::{Draw, Iteration, MotionTerm, Objective, Pairing, Texture, TrainSettings, TrainState, Trainer};
use spynet::{FlowPass, LayerWeights, SpyNet, SpyNetWeights};

const SEED: u64 = 3;
/// Adam's summand that makes an update invertible: see [`gradient_of`].
const EPSILON: f64 = 1.0;
/// The iteration looked at: not one that reseeds.
const ITERATION: u64 = 1;

/// A network of two levels with few channels, its weights trebled so that flows are of the order of a
/// pixel.
fn narrow() -> SpyNetWeights {
    let init = SpyNetWeights::init(2, &[8, 4, 3, 2], 3, 5).unwrap();
    let trebled = |values: &[f32]| values.iter().map(|v| 3.0 * v).collect();
    let layer = |layer: &LayerWeights| LayerWeights {
        weight: trebled(&layer.weight),
        bias: trebled(&layer.bias),
        ..layer.clone()
    };
    let levels = init.levels().iter().map(|level| level.iter().map(layer).collect());
    SpyNetWeights::new(levels.collect()).unwrap()
}

/// Numbers uniform in (−1, 1).
fn numbers(index: u64, len: usize) -> Vec<f64> {
    let mut rng = PhiloxRng::new(9, Stream::Test, index);
    (0..len).map(|_| rng.uniform_in(-1.0, 1.0)).collect()
}

/// A short run whose Adam step tells its gradient: no memory, no decay, no normalisation.
fn settings(objective: Objective) -> TrainSettings {
    TrainSettings {
        objective,
        size: 9,
        batch: 2,
        pool: 3,
        reseed_every: 2,
        steps_min: 3,
        steps_max: 6,
        learning_rate: 1.0,
        decay_at: Vec::new(),
        beta1: 0.0,
        beta2: 0.0,
        epsilon: EPSILON,
        weight_decay: 0.0,
        normalize_gradient: false,
        overflow_weight: 0.01,
        // Few states, so that most are recomputed.
        memory_budget: 0,
        ..TrainSettings::preset(Preset::Paper)
    }
}

fn nca(preset: Preset) -> Nca {
    Nca::preset(preset, 4, 5, 1).unwrap()
}

fn patches<'b, B: Backend + 'b>(backend: &'b B, settings: &TrainSettings) -> Box<dyn AppearanceLoss<B> + 'b> {
    let rgb = numbers(0, 3 * settings.size * settings.size);
    let rgb = rgb.into_iter().map(|v| 0.5 + 0.5 * v as f32).collect();
    let texture = Texture::new("numbers", settings.size, settings.size, rgb).unwrap();
    let patches = PatchSettings {
        patch: 3,
        projections: 4,
        levels: 2,
    };
    Box::new(PatchLoss::new(backend, patches, &texture, settings.batch).unwrap())
}

fn trainer<'b, B: Backend>(backend: &'b B, preset: Preset, settings: &TrainSettings) -> Trainer<'b, B> {
    let appearance = settings.objective.has_appearance().then(|| patches(backend, settings));
    let weights = settings.objective.motion().map(|_| narrow());
    Trainer::with_objective(
        backend,
        &nca(preset),
        settings.clone(),
        appearance,
        weights.as_ref(),
        SEED,
    )
    .unwrap()
}

/// Random weights and a pool of random states at [`ITERATION`].
fn state<T: Real>(config: &NcaConfig, settings: &TrainSettings) -> TrainState<T> {
    let sizes = param_sizes(config);
    let values = |index: u64, len: usize, scale: f64| -> Vec<T> {
        numbers(index, len)
            .into_iter()
            .map(|v| T::of(f64::from((scale * v) as f32)))
            .collect()
    };
    let mut index = 20;
    let params = sizes.try_map(|&len| {
        index += 1;
        Ok::<_, Error>(values(index, len, 0.3))
    });
    let zeros = || sizes.try_map(|&len| Ok::<_, Error>(vec![T::of(0.0); len])).unwrap();
    TrainState {
        iteration: ITERATION,
        params: params.unwrap(),
        first_moments: zeros(),
        second_moments: zeros(),
        pool: values(1, settings.pool * config.channels * settings.size * settings.size, 1.3),
    }
}

fn flat<T: Real>(params: &Params<Vec<T>>) -> Vec<f64> {
    params.iter().flatten().map(|&v| Real::to_f64(v)).collect()
}

/// Runs the iteration and finds its gradient in what Adam did to the weights: without memory the step
/// is `−g/(|g| + ε)`, so `|g| = ε·|step|/(1 − |step|)`.
fn gradient_of<B: Backend>(trainer: &mut Trainer<'_, B>, state: &TrainState<B::Elem>) -> (Iteration, Vec<f64>) {
    trainer.restore(state).unwrap();
    let iteration = trainer.step().unwrap();
    let (before, after) = (flat(&state.params), flat(&trainer.state().unwrap().params));
    let gradient = before.iter().zip(&after).map(|(before, after)| {
        let step = before - after;
        EPSILON * step / (1.0 - step.abs())
    });
    (iteration, gradient.collect())
}

/// The loss of an iteration and its Ψ, computed without trainer, rollout or motion loss: plain steps,
/// the flow network, and the definitions.
struct Oracle {
    backend: Reference<f64>,
    config: NcaConfig,
    settings: TrainSettings,
    state: TrainState<f64>,
}

impl Oracle {
    fn new(preset: Preset, settings: &TrainSettings) -> Self {
        let config = nca(preset).config;
        Self {
            backend: Reference::new(),
            state: state(&config, settings),
            config,
            settings: settings.clone(),
        }
    }

    fn params(&self, mut values: &[f64]) -> Params<Vec<f64>> {
        let params = param_sizes(&self.config).try_map(|&len| {
            let (own, rest) = values.split_at(len);
            values = rest;
            Ok::<_, Error>(own.to_vec())
        });
        params.unwrap()
    }

    /// Loss and Ψ at the weights `values`. The steps before the gradient's window are taken with the
    /// weights of the state, whatever `values` are: they are given.
    fn evaluate(&self, values: &[f64]) -> Result<(f64, f64)> {
        let Self {
            backend,
            config,
            settings,
            state,
        } = self;
        let term = settings.objective.motion().unwrap();
        let grid = Grid::new(settings.batch, settings.size, settings.size);
        let draw = Draw::new(settings, SEED, ITERATION);
        let rollout_seed = derive_seed(SEED, ITERATION);
        let len = config.channels * grid.plane();
        let starts = draw.entries.iter().map(|&entry| &state.pool[entry * len..][..len]);
        let mut x: Vec<f64> = starts.flatten().copied().collect();
        let (mut spare, params) = (x.clone(), self.params(values));
        let mut scratch = backend.scratch(&nca_core::backend::NcaStep::nca_step_scratch(backend, config, grid))?;
        let total = draw.steps + (term.frames as u32 - 1) * term.steps_per_frame;
        let given = term.window.map_or(0, |w| total - w as u32 * term.steps_per_frame);
        let mut frames = Vec::new();
        for step in 0..total {
            let params = if step < given { &state.params } else { &params };
            let key = MaskKey {
                seed: rollout_seed,
                step,
            };
            backend.rollout(config, grid, params, key, 1, &mut x, &mut spare, &mut scratch)?;
            if step + 1 >= draw.steps && (step + 1 - draw.steps).is_multiple_of(term.steps_per_frame) {
                let mut rgb = backend.zeros(3 * grid.cells())?;
                backend.rgb(config, grid, &x, &mut rgb)?;
                frames.push(rgb);
            }
        }
        assert_eq!(frames.len(), term.frames);

        let weights = narrow();
        let net = SpyNet::new(backend, &weights)?;
        let last = frames.len() - 1;
        let mut psi = 0.0;
        for k in 0..last {
            let (from, to) = match term.pairs {
                Pairing::Successive => (k, k + 1),
                Pairing::Last => (last, k),
            };
            let mut pass = FlowPass::new(backend, &net, grid, false)?;
            let flow = pass.forward(backend, &net, &frames[from], &frames[to])?;
            for flow in flow.chunks(2 * grid.plane()) {
                let (u, v) = flow.split_at(grid.plane());
                let epsilon = MotionLoss::<Reference<f64>>::EPSILON;
                let length = |(u, v): (&f64, &f64)| (u * u + v * v + epsilon * epsilon).sqrt() - epsilon;
                psi += u.iter().zip(v).map(length).sum::<f64>();
            }
        }
        psi /= (last * grid.cells()) as f64;

        let mut out = backend.zeros(2)?;
        backend.overflow(settings.overflow_weight, &x, &mut out, 0)?;
        if settings.objective.has_appearance() {
            let mut patches = patches(backend, settings);
            patches.evaluate(backend, rollout_seed, &frames[last], None, &mut out, 1)?;
        }
        let motion = match term.target {
            None => -term.weight * psi,
            Some(target) => term.weight * (psi - target).abs(),
        };
        Ok((out[0] + out[1] + motion, psi))
    }
}

/// Every kind of term that differs in what is computed.
fn terms() -> Vec<MotionTerm> {
    let base = |pairs| MotionTerm {
        weight: 1.5,
        frames: 4,
        steps_per_frame: 2,
        pairs,
        ..MotionTerm::default()
    };
    let mut terms = Vec::new();
    for pairs in Pairing::ALL {
        terms.push(base(pairs));
        terms.push(MotionTerm {
            weight: -0.7,
            frames: 2,
            ..base(pairs)
        });
        for window in 1..=3 {
            terms.push(MotionTerm {
                window: Some(window),
                ..base(pairs)
            });
        }
        // Above and below any Ψ of these cases.
        for target in [0.0, 100.0] {
            terms.push(MotionTerm {
                target: Some(target),
                ..base(pairs)
            });
        }
    }
    terms
}

fn check(preset: Preset, settings: &TrainSettings) -> std::result::Result<f64, String> {
    let oracle = Oracle::new(preset, settings);
    let backend = Reference::<f64>::new();
    let (iteration, gradient) = gradient_of(&mut trainer(&backend, preset, settings), &oracle.state);
    let values = flat(&oracle.state.params);
    let (loss, psi) = oracle.evaluate(&values).unwrap();
    // Sums of thousands of terms of both signs in another order.
    let near = |a: f64, b: f64| (a - b).abs() <= 1e4 * f64::EPSILON * (1.0 + b.abs());
    let what = format!("{preset}, {:?}", settings.objective);
    if !(near(iteration.loss, loss) && near(iteration.psi.unwrap(), psi)) {
        return Err(format!("{what}: {iteration:?}, expected {loss} and Ψ {psi}"));
    }
    check_gradient("motion objective", "weights", &values, &gradient, &[1.0], |values| {
        Ok(vec![oracle.evaluate(values)?.0])
    })
    .map_err(|mismatch| format!("{what}: {mismatch}"))?;
    Ok(psi)
}

#[test]
fn gradients_of_motion_alone_agree_with_differences() {
    for preset in Preset::ALL {
        for term in terms() {
            let psi = check(preset, &settings(Objective::Motion(term))).unwrap_or_else(|mismatch| panic!("{mismatch}"));
            assert!((0.05..100.0).contains(&psi), "{preset}: Ψ = {psi} tests little");
        }
    }
}

#[test]
fn gradients_of_look_and_motion_agree_with_differences() {
    for pairs in Pairing::ALL {
        let term = MotionTerm {
            weight: 0.5,
            frames: 3,
            steps_per_frame: 3,
            pairs,
            window: Some(1),
            ..MotionTerm::default()
        };
        for window in [None, Some(1)] {
            let term = MotionTerm { window, ..term.clone() };
            check(Preset::Paper, &settings(Objective::Both(term))).unwrap_or_else(|mismatch| panic!("{mismatch}"));
        }
    }
}

/// Frames above 32 cells: two levels of the network, with a warp between.
#[test]
fn gradients_through_two_levels_agree_with_differences() {
    let term = MotionTerm {
        frames: 2,
        steps_per_frame: 2,
        ..MotionTerm::default()
    };
    let settings = TrainSettings {
        size: 33,
        batch: 1,
        steps_max: 4,
        ..settings(Objective::Motion(term))
    };
    check(Preset::Notebook, &settings).unwrap_or_else(|mismatch| panic!("{mismatch}"));
}

/// The gradients of the cpu backend and of the reference in f32 lie as near to those in f64 as f32
/// can be expected to.
#[test]
fn backends_agree() {
    /// Relative error of a gradient: some thousand roundings in a chain of 9 steps, 2 × 3 layers of
    /// up to 72 products and sums over hundreds of cells, of 6e-8 each; a ReLU that falls on the
    /// other side costs more, but there are few.
    const TOLERANCE: f64 = 1e-3;
    for preset in Preset::ALL {
        for pairs in Pairing::ALL {
            let term = MotionTerm {
                frames: 4,
                steps_per_frame: 2,
                pairs,
                ..MotionTerm::default()
            };
            let settings = settings(Objective::Both(term));
            let config = nca(preset).config;
            let oracle = Reference::<f64>::new();
            let (want, truth) = gradient_of(&mut trainer(&oracle, preset, &settings), &state(&config, &settings));
            let (reference, cpu) = (Reference::<f32>::new(), Cpu::with_threads(2).unwrap());
            let state = state(&config, &settings);
            for (name, (got, gradient)) in [
                (
                    "reference",
                    gradient_of(&mut trainer(&reference, preset, &settings), &state),
                ),
                ("cpu", gradient_of(&mut trainer(&cpu, preset, &settings), &state)),
            ] {
                let difference: f64 = gradient.iter().zip(&truth).map(|(a, b)| (a - b).powi(2)).sum();
                let length: f64 = truth.iter().map(|v| v * v).sum();
                let error = (difference / length).sqrt();
                assert!(error < TOLERANCE, "{preset}, {pairs}, {name}: {error}");
                let (got, want) = (got.psi.unwrap(), want.psi.unwrap());
                assert!((got - want).abs() < TOLERANCE * want, "{name}: {got} {want}");
            }
        }
    }
}

/// The comparison above can fail: one element of one operation of the chain is spoiled.
#[test]
fn a_wrong_operation_is_seen() {
    use nca_core::testkit::{Fault, Kind};
    let term = MotionTerm {
        frames: 3,
        steps_per_frame: 2,
        ..MotionTerm::default()
    };
    let settings = settings(Objective::Motion(term));
    let config = nca(Preset::Paper).config;
    let state = state(&config, &settings);
    let right = Reference::<f64>::new();
    let (_, truth) = gradient_of(&mut trainer(&right, Preset::Paper, &settings), &state);
    let same = Faulty::new(Reference::<f64>::new(), None);
    assert_eq!(
        gradient_of(&mut trainer(&same, Preset::Paper, &settings), &state).1,
        truth
    );
    for (op, output) in [
        ("flow_magnitude_backward", "g_flow"),
        ("rgb_backward", "g_x"),
        ("conv2d_backward_input", "g_x"),
    ] {
        let fault = Fault {
            op,
            output,
            kind: Kind::Element,
        };
        let wrong = Faulty::new(Reference::<f64>::new(), Some(fault));
        let (_, gradient) = gradient_of(&mut trainer(&wrong, Preset::Paper, &settings), &state);
        assert!(
            wrong.seen().iter().any(|(o, out, _)| (*o, *out) == (op, output)),
            "{op} is not called"
        );
        let far = gradient.iter().zip(&truth).any(|(a, b)| (a - b).abs() > 1e-6 * b.abs());
        assert!(far, "{op} may be wrong unseen");
    }
}

#[test]
fn frames_that_are_not_there_are_refused() {
    let backend = Reference::<f64>::new();
    let (config, grid) = (nca(Preset::Paper).config, Grid::new(1, 8, 8));
    let term = MotionTerm {
        frames: 3,
        window: Some(1),
        ..MotionTerm::default()
    };
    let mut motion = MotionLoss::new(&backend, &term, &narrow(), grid).unwrap();
    let (state, mut out) = (numbers(2, config.channels * grid.cells()), vec![0.0; 2]);
    let mut push = |motion: &mut MotionLoss<_>| motion.push(&backend, &config, &state, &mut out, 1);
    motion.begin();
    for _ in 0..2 {
        push(&mut motion).unwrap();
        assert!(motion.gradient(2).is_err(), "not all frames are there");
    }
    push(&mut motion).unwrap();
    assert!(motion.gradient(2).is_ok());
    assert!(motion.gradient(1).unwrap_err().to_string().contains("2 to 2"));
    assert!(motion.gradient(3).is_err());
    assert!(push(&mut motion).is_err());
    // One frame seen three times: Ψ is the network's bias alone, the same for either pair.
    assert_eq!(out[0], 0.0);
    assert!(out[1] > 0.0);
}

#[test]
fn losses_must_fit_the_objective() {
    let backend = Cpu::with_threads(1).unwrap();
    let refused = |objective: Objective, look: bool, motion: bool| {
        let settings = settings(objective);
        let loss = look.then(|| patches(&backend, &settings));
        let weights = motion.then(narrow);
        let trainer = Trainer::with_objective(&backend, &nca(Preset::Paper), settings, loss, weights.as_ref(), SEED);
        trainer.expect_err("should be refused").to_string()
    };
    let term = MotionTerm::default;
    assert!(refused(Objective::Appearance, false, false).contains("'appearance' asks for"));
    assert!(refused(Objective::Appearance, true, true).contains("flow network given"));
    assert!(refused(Objective::Motion(term()), true, true).contains("appearance given"));
    assert!(refused(Objective::Both(term()), true, false).contains("flow network not given"));
}

#[test]
fn stopped_and_restored_is_bit_identical() {
    let backend = Cpu::new().unwrap();
    for pairs in Pairing::ALL {
        let term = MotionTerm {
            target: Some(0.4),
            frames: 3,
            steps_per_frame: 3,
            pairs,
            window: Some(1),
            ..MotionTerm::default()
        };
        let settings = TrainSettings {
            size: 16,
            ..TrainSettings {
                objective: Objective::Both(term),
                steps_min: 3,
                steps_max: 7,
                pool: 5,
                batch: 2,
                reseed_every: 3,
                ..TrainSettings::preset(Preset::Paper)
            }
        };
        let mut whole = trainer(&backend, Preset::Paper, &settings);
        let mut first = trainer(&backend, Preset::Paper, &settings);
        for _ in 0..4 {
            assert_eq!(whole.step().unwrap(), first.step().unwrap());
        }
        let state = first.state().unwrap();
        drop(first);
        let mut second = trainer(&backend, Preset::Paper, &settings);
        second.restore(&state).unwrap();
        for _ in 0..4 {
            assert_eq!(whole.step().unwrap(), second.step().unwrap(), "{pairs}");
        }
        assert_eq!(whole.state().unwrap(), second.state().unwrap(), "{pairs}");
        assert_ne!(whole.state().unwrap().params, state.params, "{pairs} has not moved");
    }
}

/// Ψ, as this network sees it, goes where the objective says.
#[test]
fn training_steers_psi() {
    let backend = Cpu::new().unwrap();
    let train = |weight: f64, target: Option<f64>| -> (f64, f64) {
        let term = MotionTerm {
            weight,
            target,
            steps_per_frame: 4,
            ..MotionTerm::default()
        };
        let settings = TrainSettings {
            objective: Objective::Motion(term),
            size: 12,
            batch: 2,
            pool: 4,
            steps_min: 4,
            steps_max: 8,
            learning_rate: 3e-3,
            decay_at: Vec::new(),
            // The clamp of the preset is enough.
            overflow_weight: 0.0,
            ..TrainSettings::preset(Preset::Distill)
        };
        let mut trainer = trainer(&backend, Preset::Distill, &settings);
        let config = nca(Preset::Distill).config;
        let start = TrainState {
            iteration: 0,
            ..state(&config, &settings)
        };
        trainer.restore(&start).unwrap();
        let psi: Vec<f64> = (0..150).map(|_| trainer.step().unwrap().psi.unwrap()).collect();
        let mean = |psi: &[f64]| psi.iter().sum::<f64>() / psi.len() as f64;
        (mean(&psi[..10]), mean(&psi[130..]))
    };
    let (before, more) = train(1.0, None);
    let (_, less) = train(-1.0, None);
    assert!(more > 1.2 * before, "from {before} to {more}");
    assert!(less < 0.8 * before, "from {before} to {less}");
    let target = 0.5 * (before + more);
    let (_, reached) = train(1.0, Some(target));
    assert!(
        (reached - target).abs() < 0.3 * (more - before),
        "{reached}, asked for {target}"
    );
}
