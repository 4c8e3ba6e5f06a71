//! What is measured: each case with our side of it, and its inputs for the peers.

use std::collections::BTreeMap;
use std::path::Path;

use benches::{
    Case, FLOW_PAIRS, FlowPair, PICTURES, Pair, Picture, STEPS, Setup, THROUGH, THROUGH_STEPS, Through, VggPass,
    write_vgg,
};
use clap::ValueEnum;
use nca_core::backend::{Device as _, download_params};
use nca_core::checkpoint::{TensorView, read_tensors, write_tensors};
use nca_core::cpu::{Buffer, Cpu};
use nca_core::{Grid, Result};
use serde_json::{Value, json};

use super::peer::{Results, Shown};

/// What `--groups` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// Steps of an automaton
    Step,
    /// The gradient through 64 steps
    Train,
    /// Flow of two frames, and its gradient
    Spynet,
    /// Features of VGG16, and their gradient
    Vgg,
}

/// Steps of one unit of the group `step`.
const STEPS_TIMED: u32 = 16;
/// Steps whose result is compared.
const STEPS_CHECKED: u32 = 4;
/// Cases at the beginning of [`STEPS`] that are of one grid of the same size.
const SHAPES: usize = 7;
/// Operations of a step by channels and hidden neurons of a cell, and of its gradient: what a program computes
/// again does not count.
const FORWARD: f64 = 10.0;
const BACKWARD: f64 = 20.0;

/// One case.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Work {
    /// Steps with a fire rate.
    Step(Case, f64),
    /// Many steps and back.
    Train(Case, u32),
    /// Flow, with its gradient or without.
    Flow(Pair, bool),
    /// Features, with their gradient or without.
    Vgg(Picture, bool),
}

/// The cases of a group; with `quick` a single small one.
pub(super) fn cases(group: Group, quick: bool) -> Vec<Work> {
    let small = Case {
        channels: 12,
        hidden: 16,
        grid: Grid::new(2, 32, 32),
    };
    match (group, quick) {
        (Group::Step, true) => vec![Work::Step(small, 0.5)],
        (Group::Train, true) => vec![Work::Train(small, 8)],
        (Group::Spynet, true) => vec![Work::Flow(Pair { size: 64 }, true)],
        (Group::Vgg, true) => {
            let picture = Picture {
                batch: 1,
                size: 32,
                blocks: 3,
            };
            vec![Work::Vgg(picture, true)]
        }
        (Group::Step, false) => {
            let shapes = &STEPS[..SHAPES];
            let batch = |case: &Case| Case {
                grid: Grid { batch: 4, ..case.grid },
                ..*case
            };
            let one = shapes.iter().map(|case| Work::Step(*case, 0.5));
            let four = shapes.iter().map(|case| Work::Step(batch(case), 0.5));
            let every = shapes.iter().map(|case| Work::Step(*case, 1.0));
            one.chain(four).chain(every).collect()
        }
        (Group::Train, false) => THROUGH.iter().map(|case| Work::Train(*case, THROUGH_STEPS)).collect(),
        (Group::Spynet, false) => both(&FLOW_PAIRS, Work::Flow),
        (Group::Vgg, false) => both(&PICTURES, Work::Vgg),
    }
}

/// Each item forward, then with its gradient.
fn both<T: Copy>(items: &[T], work: impl Fn(T, bool) -> Work) -> Vec<Work> {
    let both = items.iter().flat_map(|&item| [(item, false), (item, true)]);
    both.map(|(item, gradient)| work(item, gradient)).collect()
}

/// Our side of a case, made ready.
pub(super) trait Ours {
    /// What is compared with the peers' results.
    fn check(&mut self) -> Result<Results>;
    /// What comes before a unit and is not timed.
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }
    /// One unit of what is timed.
    fn run(&mut self) -> Result<()>;
}

impl Work {
    /// What the table calls it.
    pub(super) fn name(&self) -> String {
        let gradient = |gradient: bool| if gradient { " and back" } else { "" };
        match self {
            Self::Step(case, fire_rate) => format!("{}, rate {fire_rate}", case.name()),
            Self::Train(case, steps) => format!("{}, {steps} steps", case.name()),
            Self::Flow(pair, back) => format!("{}{}", pair.name(), gradient(*back)),
            Self::Vgg(picture, back) => format!("{}{}", picture.name(), gradient(*back)),
        }
    }

    /// Results whose elements may lie behind a kink.
    pub(super) fn kinked(&self) -> &'static [&'static str] {
        match self {
            Self::Train(..) => &["x", "w1", "b1", "w2"],
            Self::Flow(_, true) => &["first", "second"],
            Self::Vgg(_, true) => &["rgb"],
            _ => &[],
        }
    }

    /// What the peers call it.
    pub(super) fn subject(&self) -> &'static str {
        match self {
            Self::Step(..) => "step",
            Self::Train(..) => "train",
            Self::Flow(_, false) => "spynet",
            Self::Flow(_, true) => "spynet_gradient",
            Self::Vgg(_, false) => "vgg",
            Self::Vgg(_, true) => "vgg_gradient",
        }
    }

    /// Its shape, as the peers are told.
    pub(super) fn shape(&self) -> Value {
        let steps = |case: &Case, fire_rate: f64, steps: u32| {
            json!({
                "batch": case.grid.batch,
                "steps": steps,
                "check_steps": STEPS_CHECKED,
                // Whoever lets every cell fire draws no masks.
                "masked": fire_rate < 1.0,
                "fire_rate": fire_rate,
            })
        };
        match self {
            Self::Step(case, fire_rate) => steps(case, *fire_rate, STEPS_TIMED),
            Self::Train(case, n) => steps(case, 0.5, *n),
            Self::Flow(pair, _) => json!({"size": pair.size}),
            Self::Vgg(picture, _) => json!({"blocks": picture.blocks}),
        }
    }

    /// Cell updates of a unit, where it has any.
    pub(super) fn updates(&self) -> Option<f64> {
        match self {
            Self::Step(case, _) => Some(f64::from(STEPS_TIMED) * case.grid.cells() as f64),
            _ => None,
        }
    }

    /// Operations of a unit: those that ours has to do, and those that a peer has to.
    pub(super) fn flop(&self) -> (f64, f64) {
        let products = |case: &Case| (case.channels * case.hidden * case.grid.cells()) as f64;
        match self {
            Self::Step(case, fire_rate) => {
                let peers = f64::from(STEPS_TIMED) * FORWARD * products(case);
                (fire_rate * peers, peers)
            }
            Self::Train(case, steps) => {
                let peers = f64::from(*steps) * (FORWARD + BACKWARD) * products(case);
                (0.5 * peers, peers)
            }
            Self::Flow(pair, back) => twice(pair.flop(), *back),
            Self::Vgg(picture, back) => twice(picture.flop(), *back),
        }
    }

    /// Makes our side ready and writes the inputs to `inputs`.
    pub(super) fn open<'c>(&self, cpu: &'c Cpu, inputs: &Path) -> Result<Box<dyn Ours + 'c>> {
        Ok(match *self {
            Self::Step(case, fire_rate) => {
                let setup = Setup::new(cpu, case, fire_rate)?;
                write_setup(cpu, &setup, inputs)?;
                let start = cpu.buffer(&cpu.to_vec(&setup.x)?)?;
                Box::new(Steps {
                    cpu,
                    case,
                    setup,
                    start,
                    step: 0,
                })
            }
            Self::Train(case, steps) => {
                let through = Through::new(cpu, case, 0.5, steps, Through::<Cpu>::BUDGET)?;
                write_setup(cpu, &through.setup, inputs)?;
                Box::new(Gradient {
                    cpu,
                    case,
                    through,
                    steps,
                    seed: 0,
                })
            }
            Self::Flow(pair, back) => {
                let flow = FlowPair::new(cpu, pair)?;
                write_flow(cpu, pair, &flow, inputs)?;
                Box::new(Flow { cpu, flow, back })
            }
            Self::Vgg(picture, back) => {
                write_vgg(inputs, picture)?;
                let pass = VggPass::new(cpu, picture, inputs)?;
                add_pictures(cpu, picture, &pass, inputs)?;
                Box::new(Features { cpu, pass, back })
            }
        })
    }
}

/// For both sides alike; the gradient of a convolution's input takes as many operations as the convolution.
fn twice(flop: f64, back: bool) -> (f64, f64) {
    let flop = if back { 2.0 * flop } else { flop };
    (flop, flop)
}

struct Steps<'c> {
    cpu: &'c Cpu,
    case: Case,
    setup: Setup<Cpu>,
    /// State that every unit starts from.
    start: Buffer,
    step: u32,
}

impl Ours for Steps<'_> {
    fn check(&mut self) -> Result<Results> {
        let mut setup = Setup::new(self.cpu, self.case, 1.0)?;
        setup.run(self.cpu, 0, STEPS_CHECKED)?;
        results(self.cpu, [("x", &setup.x)])
    }

    fn prepare(&mut self) -> Result<()> {
        self.cpu.copy(&self.start, 0, &mut self.setup.x, 0, self.case.len())
    }

    fn run(&mut self) -> Result<()> {
        self.step += STEPS_TIMED;
        self.setup.run(self.cpu, self.step, STEPS_TIMED)
    }
}

struct Gradient<'c> {
    cpu: &'c Cpu,
    case: Case,
    through: Through<Cpu>,
    steps: u32,
    seed: u64,
}

impl Ours for Gradient<'_> {
    fn check(&mut self) -> Result<Results> {
        let mut through = Through::new(self.cpu, self.case, 1.0, STEPS_CHECKED, Through::<Cpu>::BUDGET)?;
        through.run(self.cpu, 0, STEPS_CHECKED)?;
        let mut found = results(self.cpu, [("x", through.grad())])?;
        let grads = &through.setup.grads;
        found.extend(results(
            self.cpu,
            [("w1", &grads.w1), ("b1", &grads.b1), ("w2", &grads.w2)],
        )?);
        Ok(found)
    }

    fn run(&mut self) -> Result<()> {
        self.seed += 1;
        self.through.run(self.cpu, self.seed, self.steps)
    }
}

struct Flow<'c> {
    cpu: &'c Cpu,
    flow: FlowPair<Cpu>,
    back: bool,
}

impl Ours for Flow<'_> {
    fn check(&mut self) -> Result<Results> {
        self.run()?;
        let mut found = results(self.cpu, [("flow", self.flow.flow())])?;
        if self.back {
            let [first, second] = &self.flow.g_frames;
            found.extend(results(self.cpu, [("first", first), ("second", second)])?);
        }
        Ok(found)
    }

    fn run(&mut self) -> Result<()> {
        if self.back {
            self.flow.both(self.cpu)
        } else {
            self.flow.forward(self.cpu)
        }
    }
}

struct Features<'c> {
    cpu: &'c Cpu,
    pass: VggPass<Cpu>,
    back: bool,
}

impl Ours for Features<'_> {
    fn check(&mut self) -> Result<Results> {
        self.run()?;
        let mut found = Results::new();
        for (k, (_, tap)) in self.pass.taps().enumerate() {
            found.extend(results(self.cpu, [(&*format!("tap{k}"), tap)])?);
        }
        if self.back {
            found.extend(results(self.cpu, [("rgb", &self.pass.g_rgb)])?);
        }
        Ok(found)
    }

    fn run(&mut self) -> Result<()> {
        if self.back {
            self.pass.both(self.cpu)
        } else {
            self.pass.forward(self.cpu)
        }
    }
}

/// What is compared of named tensors.
fn results<'a>(cpu: &Cpu, tensors: impl IntoIterator<Item = (&'a str, &'a Buffer)>) -> Result<Results> {
    tensors
        .into_iter()
        .map(|(name, buffer)| Ok((name.to_owned(), Shown::of(&cpu.to_vec(buffer)?))))
        .collect()
}

/// Weights, state, and gradient of the last state.
fn write_setup(cpu: &Cpu, setup: &Setup<Cpu>, path: &Path) -> Result<()> {
    let params = download_params(cpu, &setup.params)?;
    let (channels, hidden) = (setup.config.channels, setup.config.hidden);
    let Grid { batch, height, width } = setup.grid;
    let state = [batch, channels, height, width];
    let (x, g_x) = (cpu.to_vec(&setup.x)?, cpu.to_vec(&setup.g_next)?);
    let views = [
        TensorView::new("w1", &[hidden, setup.config.perceived()], &params.w1),
        TensorView::new("b1", &[hidden], &params.b1),
        TensorView::new("w2", &[channels, hidden], &params.w2),
        TensorView::new("x", &state, &x),
        TensorView::new("g_x", &state, &g_x),
    ];
    write_tensors(path, &views, &BTreeMap::new())
}

/// The network's weights, the frames, and the gradient of their flow.
fn write_flow(cpu: &Cpu, pair: Pair, flow: &FlowPair<Cpu>, path: &Path) -> Result<()> {
    FlowPair::<Cpu>::weights()?.save(path, &BTreeMap::new())?;
    let frames = [cpu.to_vec(&flow.frames[0])?, cpu.to_vec(&flow.frames[1])?];
    let g_flow = cpu.to_vec(&flow.g_flow)?;
    let size = pair.size;
    add_tensors(
        path,
        &[
            TensorView::new("first", &[1, 3, size, size], &frames[0]),
            TensorView::new("second", &[1, 3, size, size], &frames[1]),
            TensorView::new("g_flow", &[1, 2, size, size], &g_flow),
        ],
    )
}

/// Adds the pictures and the gradients of their features to the file of weights.
fn add_pictures(cpu: &Cpu, picture: Picture, pass: &VggPass<Cpu>, path: &Path) -> Result<()> {
    let Picture { batch, size, .. } = picture;
    let rgb = cpu.to_vec(&pass.rgb)?;
    let gradients: Vec<Vec<f32>> = pass.g_taps.iter().map(|g| cpu.to_vec(g)).collect::<Result<_>>()?;
    let mut views = vec![TensorView::new("rgb", &[batch, 3, size, size], &rgb)];
    for (k, (([channels, height, width], _), g)) in pass.taps().zip(&gradients).enumerate() {
        views.push(TensorView::new(
            format!("g_tap{k}"),
            &[batch, channels, height, width],
            g,
        ));
    }
    add_tensors(path, &views)
}

/// Adds tensors to a file.
fn add_tensors(path: &Path, more: &[TensorView<'_>]) -> Result<()> {
    let tensors = read_tensors(path)?;
    let mut views: Vec<TensorView<'_>> = tensors
        .iter()
        .map(|(name, tensor)| TensorView::new(name, &tensor.shape, &tensor.values))
        .collect();
    views.extend_from_slice(more);
    write_tensors(path, &views, &BTreeMap::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As published for a pair of 128 × 128: three levels of 4896 products of channels, 49 taps.
    #[test]
    fn operations_of_flow() {
        let (flop, _) = Work::Flow(Pair { size: 128 }, false).flop();
        let pixels = 128.0 * 128.0 * (1.0 + 0.25 + 0.0625);
        assert!((flop - 2.0 * 49.0 * 4896.0 * pixels).abs() < 1.0, "{flop}");
        assert!((Work::Flow(Pair { size: 128 }, true).flop().0 - 2.0 * flop).abs() < 1.0);
    }

    #[test]
    fn ours_counts_active_cells_only() {
        let case = STEPS[1];
        let (ours, peers) = Work::Step(case, 0.5).flop();
        assert!((ours / peers - 0.5).abs() < 1e-12);
        assert!(
            (peers - 16.0 * 128.0 * 128.0 * 10.0 * 12.0 * 96.0).abs() < 1.0,
            "{peers}"
        );
    }

    #[test]
    fn names_are_told_apart() {
        for group in Group::value_variants() {
            for quick in [false, true] {
                let cases = cases(*group, quick);
                let mut names: Vec<String> = cases.iter().map(Work::name).collect();
                names.sort();
                names.dedup();
                assert!(!names.is_empty() && names.len() == cases.len(), "{names:?}");
            }
        }
    }

    /// Every case that the quick run has can be made ready, checked and run.
    #[test]
    fn ours_runs() -> Result<()> {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let inputs = directory.path().join("inputs.safetensors");
        let cpu = Cpu::with_threads(2)?;
        for group in Group::value_variants() {
            for work in cases(*group, true) {
                let mut ours = work.open(&cpu, &inputs)?;
                let first = ours.check()?;
                assert!(
                    first.values().all(|shown| shown.rms > 0.0 && shown.rms.is_finite()),
                    "{first:?}"
                );
                ours.prepare()?;
                ours.run()?;
                assert_eq!(ours.check()?, first, "{}", work.name());
                assert!(read_tensors(&inputs)?.len() > 4);
            }
        }
        Ok(())
    }
}
