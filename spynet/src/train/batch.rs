//! Pairs of frames with their flow, made on the host.

use nca_core::philox::{PhiloxRng, Stream, derive_seed};
use nca_core::{Result, check_len};
use rayon::prelude::*;

use super::augment::Variant;
use super::stage::Stage;

/// A pair of frames and the flow from the first to the second.
#[derive(Clone, Debug, PartialEq)]
pub struct Example {
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// First frame, `[3,H,W]` in `[0, 1]`.
    pub first: Vec<f32>,
    /// Second frame, `[3,H,W]` in `[0, 1]`.
    pub second: Vec<f32>,
    /// Flow `[2,H,W]` in pixels: x, then y.
    pub flow: Vec<f32>,
}

/// Where examples come from: any number of them, each a pure function of its arguments.
pub trait ExampleSource: Sync {
    /// Name and settings, for the record of a training.
    fn describe(&self) -> String;

    /// Example `index` under `seed`, of the size of the stage's pairs and with its motions.
    fn example(&self, stage: &Stage, seed: u64, index: u64) -> Result<Example>;
}

/// The pairs of one iteration, at the size that is trained on.
#[derive(Clone, Debug, PartialEq)]
pub struct Batch {
    /// First frames, `[B,3,h,w]`.
    pub first: Vec<f32>,
    /// Second frames, `[B,3,h,w]`.
    pub second: Vec<f32>,
    /// Flow `[B,2,h,w]`, in pixels of this size.
    pub flow: Vec<f32>,
}

/// Number of the variants' seed under a stage's seed. The second example's seed has the same number: the first
/// variants and that example's scene are drawn from the same random numbers, for different ends.
const AUGMENTATION: u64 = 1;

impl Batch {
    /// Zeros for a batch of `stage`.
    #[must_use]
    pub fn zeros(stage: &Stage) -> Self {
        let (height, width) = stage.trained_size();
        let cells = stage.batch * height * width;
        Self {
            first: vec![0.0; 3 * cells],
            second: vec![0.0; 3 * cells],
            flow: vec![0.0; 2 * cells],
        }
    }

    /// Batch number `number` of `stage` under `seed`; pairs are made in parallel.
    pub fn fill(&mut self, source: &dyn ExampleSource, stage: &Stage, seed: u64, number: u64) -> Result<()> {
        let (height, width) = stage.trained_size();
        let (plane, full) = (height * width, stage.height * stage.width);
        self.slots(plane).try_for_each(|(slot, pair)| {
            let index = number * stage.batch as u64 + slot as u64;
            let example = source.example(stage, seed, index)?;
            check_len("flow training", "first frame", example.first.len(), 3 * full)?;
            check_len("flow training", "second frame", example.second.len(), 3 * full)?;
            check_len("flow training", "true flow", example.flow.len(), 2 * full)?;
            let example = (0..stage.halvings).fold(example, |example, _| halved(&example));
            pair.first.copy_from_slice(&example.first);
            pair.second.copy_from_slice(&example.second);
            pair.flow.copy_from_slice(&example.flow);
            Ok(())
        })
    }

    /// The pairs of `batch`, each mirrored, turned and recoloured at random; `number` decides how.
    pub fn vary(&mut self, batch: &Batch, stage: &Stage, seed: u64, number: u64) -> Result<()> {
        let size = stage.trained_size();
        let plane = size.0 * size.1;
        check_len("flow training", "batch", batch.flow.len(), self.flow.len())?;
        let seed = derive_seed(seed, AUGMENTATION);
        self.slots(plane).for_each(|(slot, pair)| {
            let index = number * stage.batch as u64 + slot as u64;
            let mut rng = PhiloxRng::new(seed, Stream::Synth, index);
            let variant = Variant::draw(&mut rng, size.0 == size.1);
            variant.frame(size, &batch.first[3 * slot * plane..][..3 * plane], pair.first);
            variant.frame(size, &batch.second[3 * slot * plane..][..3 * plane], pair.second);
            variant.flow(size, &batch.flow[2 * slot * plane..][..2 * plane], pair.flow);
        });
        Ok(())
    }

    /// The pairs of `plane` pixels, with their numbers.
    fn slots(&mut self, plane: usize) -> impl IndexedParallelIterator<Item = (usize, Pair<'_>)> {
        self.first
            .par_chunks_exact_mut(3 * plane)
            .zip(self.second.par_chunks_exact_mut(3 * plane))
            .zip(self.flow.par_chunks_exact_mut(2 * plane))
            .map(|((first, second), flow)| Pair { first, second, flow })
            .enumerate()
    }
}

/// One pair's place in a batch.
struct Pair<'a> {
    first: &'a mut [f32],
    second: &'a mut [f32],
    flow: &'a mut [f32],
}

/// Makes the batches of a stage, each a pure function of its number.
///
/// To make a pair can cost more than to train on it. So [`Kept::BATCHES`] batches are kept, take turns,
/// and each is replaced after [`Stage::reuse`] turns, not all in the same one. Every turn varies its
/// pairs anew.
pub(super) struct Kept<'a> {
    source: &'a dyn ExampleSource,
    stage: &'a Stage,
    seed: u64,
    /// Batches with their numbers.
    batches: Vec<(Option<u64>, Batch)>,
}

impl<'a> Kept<'a> {
    /// Batches that take turns.
    const BATCHES: u64 = 16;

    pub(super) fn new(source: &'a dyn ExampleSource, stage: &'a Stage, seed: u64) -> Self {
        // A batch that is used once need not be kept for another turn.
        let count = if stage.reuse > 1 { Self::BATCHES } else { 1 };
        Self {
            source,
            stage,
            seed,
            batches: (0..count).map(|_| (None, Batch::zeros(stage))).collect(),
        }
    }

    /// Writes the batch of `iteration`.
    pub(super) fn make(&mut self, iteration: u64, target: &mut Batch) -> Result<()> {
        let count = self.batches.len() as u64;
        let (turn, place) = (iteration / count, iteration % count);
        // Each turn replaces one place in `reuse`.
        let generation = (turn + place % self.stage.reuse) / self.stage.reuse;
        let number = generation * count + place;
        let (kept, batch) = &mut self.batches[place as usize];
        if *kept != Some(number) {
            batch.fill(self.source, self.stage, self.seed, number)?;
            *kept = Some(number);
        }
        target.vary(batch, self.stage, self.seed, iteration)
    }
}

/// Half the size: means of 2×2 pixels; their flow is half as many pixels long.
fn halved(example: &Example) -> Example {
    let (height, width) = (example.height, example.width);
    let half = |planes: &[f32], factor: f32| {
        let mut half = vec![0.0; planes.len() / 4];
        halve(height, width, factor, planes, &mut half);
        half
    };
    Example {
        height: height / 2,
        width: width / 2,
        first: half(&example.first, 1.0),
        second: half(&example.second, 1.0),
        flow: half(&example.flow, 0.5),
    }
}

/// Means of 2×2 pixels of planes of `height`×`width`, both even, times `factor`.
pub(super) fn halve(height: usize, width: usize, factor: f32, planes: &[f32], half: &mut [f32]) {
    debug_assert!(height.is_multiple_of(2) && width.is_multiple_of(2) && half.len() == planes.len() / 4);
    let rows = planes.chunks_exact(2 * width).zip(half.chunks_exact_mut(width / 2));
    for (rows, half) in rows {
        let (upper, lower) = rows.split_at(width);
        let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
        for ((u, l), mean) in pairs.zip(half) {
            *mean = factor * 0.25 * (u[0] + u[1] + l[0] + l[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::recipe::Recipe;
    use super::*;

    /// Pairs that only say which ones they are.
    struct Named;

    impl ExampleSource for Named {
        fn describe(&self) -> String {
            "named".into()
        }

        fn example(&self, stage: &Stage, _: u64, index: u64) -> Result<Example> {
            let (height, width) = (stage.height, stage.width);
            Ok(Example {
                height,
                width,
                first: vec![0.5; 3 * height * width],
                second: vec![0.5; 3 * height * width],
                flow: vec![index as f32 + 1.0; 2 * height * width],
            })
        }
    }

    /// Every batch takes `reuse` turns, but for the first ones that are replaced early; and each is the
    /// same when a training begins at its iteration.
    #[test]
    fn batches_take_turns() {
        const TURNS: u64 = 12;
        for reuse in [1, 4] {
            let stage = Stage {
                height: 32,
                width: 32,
                halvings: 0,
                batch: 2,
                reuse,
                ..Recipe::quick(0).stages[0].clone()
            };
            let mut kept = Kept::new(&Named, &stage, 3);
            let mut uses = std::collections::BTreeMap::new();
            for iteration in 0..TURNS * Kept::BATCHES {
                let mut batch = Batch::zeros(&stage);
                kept.make(iteration, &mut batch).unwrap();
                let (first, second) = (batch.flow[0].abs(), batch.flow[2 * 32 * 32].abs());
                assert_eq!(second, first + 1.0);
                *uses.entry(first as u64).or_insert(0) += 1;
                if iteration % 37 == 5 {
                    let mut again = Batch::zeros(&stage);
                    Kept::new(&Named, &stage, 3).make(iteration, &mut again).unwrap();
                    assert_eq!(again, batch);
                }
            }
            assert!(uses.values().all(|&n| n <= reuse), "{uses:?}");
            let whole = uses.values().filter(|&&n| n == reuse).count() as u64;
            assert!(whole * reuse >= (TURNS - 2 * reuse) * Kept::BATCHES, "{uses:?}");
        }
    }

    #[test]
    fn halving_keeps_colours_and_halves_flow() {
        let example = Example {
            height: 2,
            width: 4,
            first: (0..24).map(|i| i as f32).collect(),
            second: vec![0.5; 24],
            flow: (0..16).map(|i| if i < 8 { 3.0 } else { -1.0 }).collect(),
        };
        let half = halved(&example);
        assert_eq!((half.height, half.width), (1, 2));
        // Means of {0, 1, 4, 5} and {2, 3, 6, 7}, and 8 more in each channel.
        assert_eq!(half.first, [2.5, 4.5, 10.5, 12.5, 18.5, 20.5]);
        assert_eq!(half.second, [0.5; 6]);
        assert_eq!(half.flow, [1.5, 1.5, -0.5, -0.5]);
    }
}
