//! Motion as an objective in bounded memory: a hundred frames, 32 steps apart.

use nca_core::backend::Backend;
use nca_core::cpu::Cpu;
use nca_core::testkit::Faulty;
use nca_core::{Nca, Preset};
use nca_train::{MotionTerm, Objective, Pairing, TrainSettings, Trainer};
use spynet::SpyNetWeights;

type Counting = Faulty<Cpu>;

const SIZE: usize = 8;
const CHANNELS: usize = 4;
/// Bytes of a state, and of a frame.
const STATE: usize = CHANNELS * SIZE * SIZE * size_of::<f32>();
const FRAME: usize = 3 * SIZE * SIZE * size_of::<f32>();

fn narrow() -> SpyNetWeights {
    SpyNetWeights::init(1, &[8, 3, 2], 3, 5).unwrap()
}

fn settings(term: MotionTerm, memory_budget: usize) -> TrainSettings {
    TrainSettings {
        objective: Objective::Motion(term),
        size: SIZE,
        memory_budget,
        ..TrainSettings::preset(Preset::Notebook)
    }
}

fn trainer<B: Backend>(backend: &B, settings: TrainSettings) -> Trainer<'_, B> {
    // Its untrained states neither grow nor fade, so that no number of steps leaves the finite numbers.
    let nca = Nca::preset(Preset::Paper, CHANNELS, 5, 1).unwrap();
    Trainer::with_objective(backend, &nca, settings, None, Some(&narrow()), 1).unwrap()
}

/// Bytes of all buffers after an iteration, and the steps it ran forward and backward.
fn iteration(settings: TrainSettings) -> (usize, u64, u64) {
    let backend = Counting::new(Cpu::with_threads(1).unwrap(), None);
    let mut trainer = trainer(&backend, settings);
    trainer.step().unwrap();
    let bytes = backend.allocated() as usize * size_of::<f32>();
    (bytes, backend.steps(), backend.backward_steps())
}

/// The steps of the notebook: 32 to the first frame and 32 to each of the 99 others.
const STEPS: u64 = 3200;

#[test]
fn a_hundred_frames_keep_within_the_budget() {
    // Two frames and the fewest states: what an iteration of any length needs besides.
    let short = |pairs| MotionTerm {
        frames: 2,
        pairs,
        window: None,
        ..MotionTerm::notebook()
    };
    for pairs in Pairing::ALL {
        let long = MotionTerm {
            pairs,
            window: None,
            ..MotionTerm::notebook()
        };
        let (fixed, ..) = iteration(settings(short(pairs), 0));
        let budget = 100 * FRAME + 80 * STATE;
        let (bytes, steps, backward) = iteration(settings(long.clone(), budget));
        assert!(bytes <= fixed + budget, "{pairs}: {bytes} > {fixed} + {budget}");
        assert_eq!(backward, STEPS);
        // √(2·3200) = 80 states: every step runs about twice.
        assert!(
            (STEPS + 1..=2 * STEPS + STEPS / 20).contains(&steps),
            "{pairs}: {steps} steps"
        );

        let (_, steps, backward) = iteration(settings(long.clone(), 100 * FRAME + STEPS as usize * STATE));
        assert_eq!(
            (steps, backward),
            (STEPS, STEPS),
            "{pairs}: nothing is to be recomputed"
        );

        // Through the last three pairs only: their steps alone are reversed, and 95 states are enough.
        let windowed = MotionTerm {
            window: Some(3),
            ..long
        };
        let frames = if pairs == Pairing::Last { 100 } else { 3 };
        assert_eq!(windowed.stored_frames(), frames);
        let budget = frames * FRAME + 96 * STATE;
        let (bytes, steps, backward) = iteration(settings(windowed, budget));
        assert!(bytes <= fixed + budget, "{pairs}: {bytes} > {fixed} + {budget}");
        assert_eq!((steps, backward), (STEPS, 3 * 32), "{pairs}");
    }
}

/// Memory changes no result, nor does a second iteration take more of it.
#[test]
fn the_budget_decides_nothing_else() {
    let term = MotionTerm {
        frames: 6,
        window: None,
        ..MotionTerm::notebook()
    };
    let run = |budget: usize| {
        let backend = Counting::new(Cpu::with_threads(1).unwrap(), None);
        let mut trainer = trainer(&backend, settings(term.clone(), budget));
        let first = trainer.step().unwrap();
        let allocated = backend.allocated();
        let second = trainer.step().unwrap();
        assert_eq!(backend.allocated(), allocated);
        (first, second, trainer.state().unwrap())
    };
    assert_eq!(run(0), run(1 << 30));
}
