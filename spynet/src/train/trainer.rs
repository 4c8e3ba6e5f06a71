//! One stage's training, an iteration at a time.

use nca_core::backend::{AdamStep, Backend};
use nca_core::{Error, Grid, Result, check_len};

use super::batch::{Batch, halve};
use super::loss::EndpointLoss;
use super::recipe::Recipe;
use super::stage::Stage;
use crate::network::{FlowPass, Round, SpyNet};
use crate::weights::SpyNetWeights;

/// Trains the levels of one stage. All buffers are allocated once.
#[derive(Debug)]
pub struct StageTrainer<'b, B: Backend<Elem = f32>> {
    backend: &'b B,
    stage: Stage,
    /// Iterations done.
    iteration: u64,
    net: SpyNet<B>,
    grads: SpyNet<B>,
    first_moments: SpyNet<B>,
    second_moments: SpyNet<B>,
    pass: FlowPass<B>,
    /// Frames `[B,3,h,w]`.
    first: B::Buffer,
    second: B::Buffer,
    /// Of each round, coarsest first.
    rounds: Vec<Supervision>,
}

/// A round's flow and what it should be, on the host, where all that is done with them is done: next to
/// the convolutions it is nothing.
#[derive(Debug)]
struct Supervision {
    round: Round,
    /// `[B,2,h,w]`, in pixels of the level, as all here.
    flow: Vec<f32>,
    truth: Vec<f32>,
    gradient: Vec<f32>,
}

impl<'b, B: Backend<Elem = f32>> StageTrainer<'b, B> {
    /// A trainer at the start of `stage`, from `weights`.
    pub fn new(backend: &'b B, stage: &Stage, weights: &SpyNetWeights) -> Result<Self> {
        let (height, width) = stage.trained_size();
        let grid = Grid::new(stage.batch, height, width);
        let net = SpyNet::new(backend, weights)?;
        let pass = FlowPass::new(backend, &net, grid, true)?;
        let rounds: Vec<_> = pass.rounds().collect();
        let levels = rounds.last().map_or(0, |round| round.level + 1);
        if levels != stage.trained.top() + 1 {
            let found = format!("{width}x{height}, which has {levels} levels");
            return Err(Error::invalid(
                "size trained on",
                found,
                format!("one for {}", stage.trained),
            ));
        }
        let rounds = rounds.into_iter().map(|round| {
            let zeros = vec![0.0; 2 * stage.batch * round.height * round.width];
            Supervision {
                round,
                flow: zeros.clone(),
                truth: zeros.clone(),
                gradient: zeros,
            }
        });
        Ok(Self {
            backend,
            stage: stage.clone(),
            iteration: 0,
            grads: SpyNet::zeros(backend, weights)?,
            first_moments: SpyNet::zeros(backend, weights)?,
            second_moments: SpyNet::zeros(backend, weights)?,
            net,
            pass,
            first: backend.zeros(3 * grid.cells())?,
            second: backend.zeros(3 * grid.cells())?,
            rounds: rounds.collect(),
        })
    }

    /// Iterations done.
    #[must_use]
    pub fn iteration(&self) -> u64 {
        self.iteration
    }

    /// Pixels of a pair.
    #[must_use]
    pub fn plane(&self) -> usize {
        self.pass.grid().plane()
    }

    /// One optimiser step; the loss before it.
    ///
    /// # Errors
    /// [`Error::NonFinite`] for a loss that is not a number; the weights are then those before.
    pub fn step(&mut self, batch: &Batch) -> Result<f64> {
        let backend = self.backend;
        self.forward(batch)?;
        self.halve_truths();

        let lowest = self.stage.trained.lowest();
        let endpoint = EndpointLoss {
            exponent: self.stage.exponent,
            epsilon: Recipe::EPSILON,
        };
        let last = self.rounds.len() - 1;
        let mut loss = 0.0;
        for (number, own) in self.rounds.iter_mut().enumerate() {
            if own.round.level < lowest {
                continue;
            }
            backend.download(self.pass.round_flow(number), &mut own.flow)?;
            let weight = if number == last { 1.0 } else { Recipe::LOWER_WEIGHT };
            let plane = own.round.height * own.round.width;
            loss += endpoint.evaluate(plane, weight, &own.flow, &own.truth, &mut own.gradient);
        }
        if !loss.is_finite() {
            return Err(Error::NonFinite {
                what: "the loss of the flow network",
                unit: "iteration",
                at: self.iteration,
            });
        }

        for levels in &mut self.grads.levels_mut()[lowest..] {
            for layer in levels {
                backend.fill(0.0, &mut layer.weight)?;
                backend.fill(0.0, &mut layer.bias)?;
            }
        }
        let rounds = &self.rounds;
        self.pass.backward_supervised(
            backend,
            &self.net,
            lowest,
            |round, _, g_flow| backend.upload(&rounds[round].gradient, g_flow),
            &mut self.grads,
        )?;
        self.update(lowest)?;
        self.iteration += 1;
        Ok(loss)
    }

    /// Flow of the finest level for a batch, `[B,2,h,w]`; nothing is trained.
    pub fn flow(&mut self, batch: &Batch) -> Result<Vec<f32>> {
        self.forward(batch)?;
        self.backend.to_vec(self.pass.round_flow(self.rounds.len() - 1))
    }

    fn forward(&mut self, batch: &Batch) -> Result<()> {
        let backend = self.backend;
        backend.upload(&batch.first, &mut self.first)?;
        backend.upload(&batch.second, &mut self.second)?;
        if let Some(finest) = self.rounds.last_mut() {
            check_len("flow training", "true flow", batch.flow.len(), finest.truth.len())?;
            finest.truth.copy_from_slice(&batch.flow);
        }
        self.pass.forward_levels(backend, &self.net, &self.first, &self.second)
    }

    /// Each coarser level's truth: the mean over four pixels, in pixels twice as large. Rounds of a level have the same.
    fn halve_truths(&mut self) {
        for number in (1..self.rounds.len()).rev() {
            let (before, own) = self.rounds.split_at_mut(number);
            let (before, own) = (&mut before[number - 1], &own[0]);
            let Round { level, height, width } = own.round;
            if before.round.level == level {
                before.truth.copy_from_slice(&own.truth);
            } else {
                halve(height, width, 0.5, &own.truth, &mut before.truth);
            }
        }
    }

    /// Adam, for the levels from `lowest` to the stage's top.
    fn update(&mut self, lowest: usize) -> Result<()> {
        let adam = AdamStep {
            learning_rate: self.stage.learning_rate_at(self.iteration),
            beta1: Recipe::BETA1,
            beta2: Recipe::BETA2,
            epsilon: Recipe::ADAM_EPSILON,
            weight_decay: 0.0,
            step: self.iteration + 1,
        };
        for level in lowest..=self.stage.trained.top() {
            let moments = self.first_moments.levels_mut()[level]
                .iter_mut()
                .zip(&mut self.second_moments.levels_mut()[level]);
            let layers = self.net.levels_mut()[level].iter_mut().zip(&self.grads.levels()[level]);
            for ((layer, grad), (m, v)) in layers.zip(moments) {
                self.backend
                    .adam(&adam, &grad.weight, &mut layer.weight, &mut m.weight, &mut v.weight)?;
                self.backend
                    .adam(&adam, &grad.bias, &mut layer.bias, &mut m.bias, &mut v.bias)?;
            }
        }
        Ok(())
    }

    /// The weights as trained so far.
    pub fn weights(&self) -> Result<SpyNetWeights> {
        self.net.download(self.backend)
    }

    /// Adam's first and second moments.
    pub fn moments(&self) -> Result<[SpyNetWeights; 2]> {
        Ok([
            self.first_moments.download(self.backend)?,
            self.second_moments.download(self.backend)?,
        ])
    }

    /// Goes on from `iteration` with these moments; the weights are those it was made from.
    pub fn restore(&mut self, iteration: u64, moments: &[SpyNetWeights; 2]) -> Result<()> {
        self.first_moments = SpyNet::new(self.backend, &moments[0])?;
        self.second_moments = SpyNet::new(self.backend, &moments[1])?;
        self.iteration = iteration;
        Ok(())
    }
}
