//! Pairs of frames with their flow, made on the host.

use nca_core::philox::{PhiloxRng, Stream, derive_seed};
use nca_core::{Result, check_len};
use rayon::prelude::*;

use super::augment::Variant;
use super::recipe::Stage;

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

    /// Example `index` of `height`×`width` pixels under `seed`.
    fn example(&self, height: usize, width: usize, seed: u64, index: u64) -> Result<Example>;
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

/// Which numbers under the recipe's seed are whose.
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

    /// Batch number `number` of `stage` under `seed`; `augmented` ones are mirrored, turned and recoloured
    /// at random. Pairs are made in parallel.
    pub fn fill(
        &mut self,
        source: &dyn ExampleSource,
        stage: &Stage,
        seed: u64,
        number: u64,
        augmented: bool,
    ) -> Result<()> {
        let size = stage.trained_size();
        let plane = size.0 * size.1;
        let full = stage.height * stage.width;
        let frames = self
            .first
            .par_chunks_exact_mut(3 * plane)
            .zip(self.second.par_chunks_exact_mut(3 * plane));
        let slots = frames.zip(self.flow.par_chunks_exact_mut(2 * plane)).enumerate();
        slots.try_for_each(|(slot, ((first, second), flow))| {
            let index = number * stage.batch as u64 + slot as u64;
            let example = source.example(stage.height, stage.width, seed, index)?;
            check_len("flow training", "first frame", example.first.len(), 3 * full)?;
            check_len("flow training", "second frame", example.second.len(), 3 * full)?;
            check_len("flow training", "true flow", example.flow.len(), 2 * full)?;
            let example = (0..stage.halvings).fold(example, |example, _| halved(&example));
            let variant = if augmented {
                let mut rng = PhiloxRng::new(derive_seed(seed, AUGMENTATION), Stream::Synth, index);
                Variant::draw(&mut rng, size.0 == size.1)
            } else {
                Variant::IDENTITY
            };
            variant.frame(size, &example.first, first);
            variant.frame(size, &example.second, second);
            variant.flow(size, &example.flow, flow);
            Ok(())
        })
    }
}

/// Half the size: means of 2×2 pixels; their flow is half as many pixels long.
fn halved(example: &Example) -> Example {
    let (height, width) = (example.height / 2, example.width / 2);
    let mean = |planes: &[f32], factor: f32| -> Vec<f32> {
        let mut half = Vec::with_capacity(planes.len() / 4);
        for plane in planes.chunks_exact(example.height * example.width) {
            for rows in plane.chunks_exact(2 * example.width).take(height) {
                let (upper, lower) = rows.split_at(example.width);
                let pairs = upper.chunks_exact(2).zip(lower.chunks_exact(2));
                half.extend(pairs.map(|(u, l)| factor * 0.25 * (u[0] + u[1] + l[0] + l[1])));
            }
        }
        half
    };
    Example {
        height,
        width,
        first: mean(&example.first, 1.0),
        second: mean(&example.second, 1.0),
        flow: mean(&example.flow, 0.5),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
