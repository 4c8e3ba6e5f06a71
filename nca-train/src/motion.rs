//! Motion strength Ψ: how fast a running automaton's picture moves, by itself.
//!
//! `Ψ = mean over pairs of successive frames of (1/HW) Σ ‖flow‖₂`, in pixels per frame (Xu,
//! Pajouheshgar & Süsstrunk, *Emergent Dynamics in Neural Cellular Automata*, ALIFE 2024). Frames are
//! `steps_per_frame` automaton steps apart, taken after a warm-up and clipped to `[0, 1]`. Ψ grows
//! with `steps_per_frame`, so it is reported with it.
//!
//! An optical-flow method reports some motion where there is none. Two controls say how much:
//!
//! * *static*: frames paired with themselves;
//! * *flicker*: a frame paired with itself, each copy with independent noise as strong as what
//!   changes between successive frames. With `σ²` half the mean square of successive differences,
//!   cell by cell and channel by channel, the two noisy copies differ as much as two successive
//!   frames do, but by nothing that moves. (Of frames that flicker independently about a mean, σ is
//!   their temporal standard deviation; unlike the deviation about the mean of the series it does
//!   not count slow drift as flicker.)

use std::fmt;

use nca_core::backend::Backend;
use nca_core::philox::{PhiloxRng, Stream};
use nca_core::{Error, Grid, Nca, Real, Result, Simulation, check_len};
use serde::{Deserialize, Serialize};
use spynet::FlowEstimator;

/// What is run and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MotionSettings {
    /// Frame pairs N; N + 1 frames are taken.
    pub pairs: usize,
    /// Automaton steps between frames.
    pub steps_per_frame: u32,
    /// Automaton steps before the first frame.
    pub warmup: u32,
    /// Seed of the start state, the update masks and the flicker control.
    pub seed: u64,
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
}

impl Default for MotionSettings {
    fn default() -> Self {
        Self {
            pairs: 100,
            steps_per_frame: 32,
            warmup: 1024,
            seed: 0,
            height: 128,
            width: 128,
        }
    }
}

impl MotionSettings {
    /// Fewest pairs that have a standard error.
    pub const MIN_PAIRS: usize = 2;
    /// Smallest side of a grid.
    pub const MIN_SIDE: usize = 8;
    /// Largest side of a grid.
    pub const MAX_SIDE: usize = 4096;

    /// Refuses what gives no Ψ, and runs whose steps cannot be counted in 32 bits.
    pub fn validate(&self) -> Result<()> {
        if self.pairs < Self::MIN_PAIRS {
            return Err(Error::invalid(
                "--frames",
                self.pairs,
                format!("at least {}", Self::MIN_PAIRS),
            ));
        }
        if self.steps_per_frame == 0 {
            return Err(Error::invalid("--steps-per-frame", 0, "at least 1"));
        }
        let steps = self.pairs as u128 * u128::from(self.steps_per_frame) + u128::from(self.warmup);
        if steps > u128::from(u32::MAX) {
            return Err(Error::invalid(
                "--warmup + --frames × --steps-per-frame",
                steps,
                format!("at most {}", u32::MAX),
            ));
        }
        for side in [self.height, self.width] {
            if !(Self::MIN_SIDE..=Self::MAX_SIDE).contains(&side) {
                return Err(Error::invalid(
                    "--size",
                    side,
                    format!("{} to {}", Self::MIN_SIDE, Self::MAX_SIDE),
                ));
            }
        }
        Ok(())
    }
}

/// Motion strength of one automaton. Lengths are pixels per frame.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Motion {
    /// Motion strength Ψ, the mean of [`Motion::psi_series`].
    pub psi: f64,
    /// Its standard error; see [`batch_means_error`].
    pub psi_se: f64,
    /// Ψ of each pair of successive frames.
    pub psi_series: Vec<f64>,
    /// Ψ of identical frames.
    pub psi_floor_static: f64,
    /// Ψ of frames that flicker as strongly as these and do not move.
    pub psi_floor_flicker: f64,
    /// Whether Ψ is [`above_floor`].
    pub above_floor: bool,
    /// Optical-flow method.
    pub flow: String,
    /// Automaton steps between frames.
    pub steps_per_frame: u32,
    /// Automaton steps before the first frame.
    pub warmup: u32,
    /// Seed of the run.
    pub seed: u64,
    /// Rows of the grid.
    pub height: usize,
    /// Columns of the grid.
    pub width: usize,
}

/// Runs `nca` from its seed state and measures its motion.
///
/// `visit(i, frame)` sees each frame `[3,H,W]`, `i` from 0 to `settings.pairs`, as soon as it is
/// there: for pictures and for progress. A state that leaves the finite numbers ends in
/// [`Error::NonFinite`].
pub fn measure_motion<B: Backend>(
    backend: &B,
    nca: &Nca,
    settings: &MotionSettings,
    flow: &dyn FlowEstimator,
    visit: impl FnMut(usize, &[f32]),
) -> Result<Motion> {
    settings.validate()?;
    let grid = Grid::new(1, settings.height, settings.width);
    let mut simulation = Simulation::new(backend, nca, grid, settings.seed)?;
    measure_simulation(&mut simulation, settings, flow, visit)
}

/// As [`measure_motion`], from the present state of a simulation of one grid of the settings' size.
pub fn measure_simulation<B: Backend>(
    simulation: &mut Simulation<'_, B>,
    settings: &MotionSettings,
    flow: &dyn FlowEstimator,
    mut visit: impl FnMut(usize, &[f32]),
) -> Result<Motion> {
    settings.validate()?;
    let (found, expected) = (simulation.grid(), Grid::new(1, settings.height, settings.width));
    if found != expected {
        return Err(Error::invalid(
            "simulation to measure",
            format!("{} grids of {}x{} cells", found.batch, found.height, found.width),
            format!("one of {}x{}", expected.height, expected.width),
        ));
    }
    let mut meter = MotionMeter::new(flow, *settings)?;
    simulation.run(settings.warmup)?;
    for index in 0..=settings.pairs {
        if index > 0 {
            simulation.run(settings.steps_per_frame)?;
        }
        let frame = simulation.frame()?;
        visit(index, &frame);
        meter.push(&frame)?;
    }
    // The frames have shown the first three channels only.
    if simulation.state()?.iter().any(|v| !v.to_f64().is_finite()) {
        return Err(Error::NonFinite {
            what: "the state",
            unit: "step",
            at: u64::from(simulation.step()),
        });
    }
    meter.finish()
}

/// Measures the motion of frames that come one by one, in bounded memory.
///
/// ```
/// # use nca_core::{Grid, Result};
/// # use spynet::FlowEstimator;
/// use nca_train::motion::{MotionMeter, MotionSettings};
/// # struct Still;
/// # impl FlowEstimator for Still {
/// #     fn name(&self) -> &'static str { "still" }
/// #     fn flow(&self, grid: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> { Ok(vec![0.0; 2 * grid.cells()]) }
/// # }
/// # let flow = Still;
/// let settings = MotionSettings { pairs: 4, height: 16, width: 16, ..MotionSettings::default() };
/// let mut meter = MotionMeter::new(&flow, settings)?;
/// for _ in 0..5 {
///     meter.push(&vec![0.5; 3 * 16 * 16])?;
/// }
/// assert_eq!(meter.finish()?.psi, 0.0);
/// # Ok::<(), nca_core::Error>(())
/// ```
pub struct MotionMeter<'f> {
    flow: &'f dyn FlowEstimator,
    settings: MotionSettings,
    /// Pairs whose flow is estimated in one call.
    batch: usize,
    /// Frames that still await their flow, one after the other; the last of a batch begins the next.
    pending: Vec<f32>,
    /// The last frame.
    last: Vec<f32>,
    /// Frames seen.
    frames: usize,
    psi_series: Vec<f64>,
    /// Sum of squared differences of successive frames, of each cell and channel.
    squares: Vec<f64>,
    /// Frames kept for the controls, one after the other.
    controls: Vec<f32>,
}

impl fmt::Debug for MotionMeter<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MotionMeter")
            .field("flow", &self.flow.name())
            .field("settings", &self.settings)
            .field("frames", &self.frames)
            .finish_non_exhaustive()
    }
}

impl<'f> MotionMeter<'f> {
    /// Pixels whose flow is estimated in one call: eight pairs of 256×256, for the layers of a flow network take hundreds of
    /// bytes a pixel.
    const PIXELS: usize = 8 << 16;
    /// Most pairs of a call.
    const BATCH: usize = 8;
    /// Frames the controls are measured on, spread evenly over the series.
    const CONTROLS: usize = 8;

    /// A meter for `settings.pairs + 1` frames of the settings' size.
    pub fn new(flow: &'f dyn FlowEstimator, settings: MotionSettings) -> Result<Self> {
        settings.validate()?;
        let plane = settings.height * settings.width;
        let len = 3 * plane;
        let batch = (Self::PIXELS / plane).clamp(1, Self::BATCH);
        Ok(Self {
            flow,
            settings,
            batch,
            pending: Vec::with_capacity((batch + 1) * len),
            last: Vec::with_capacity(len),
            frames: 0,
            psi_series: Vec::new(),
            squares: vec![0.0; len],
            controls: Vec::with_capacity(Self::CONTROLS * len),
        })
    }

    /// Elements of a frame.
    fn len(&self) -> usize {
        self.squares.len()
    }

    /// Takes the next frame, `[3,H,W]` in `[0, 1]`.
    pub fn push(&mut self, frame: &[f32]) -> Result<()> {
        check_len("motion", "frame", frame.len(), self.len())?;
        if self.frames > self.settings.pairs {
            return Err(Error::invalid(
                "number of frames",
                self.frames + 1,
                format!("{} for {} pairs", self.settings.pairs + 1, self.settings.pairs),
            ));
        }
        for (sum, (new, old)) in self.squares.iter_mut().zip(frame.iter().zip(&self.last)) {
            *sum += f64::from(new - old).powi(2);
        }
        self.last.clear();
        self.last.extend_from_slice(frame);
        if self.is_control(self.frames) {
            self.controls.extend_from_slice(frame);
        }
        self.pending.extend_from_slice(frame);
        self.frames += 1;
        if self.pending.len() == (self.batch + 1) * self.len() {
            self.estimate()?;
        }
        Ok(())
    }

    /// Whether the controls use frame `index` of `0..pairs`: those where the count of controls due
    /// goes up.
    fn is_control(&self, index: usize) -> bool {
        let (pairs, controls) = (self.settings.pairs, Self::CONTROLS.min(self.settings.pairs));
        index < pairs && (index * controls) % pairs < controls
    }

    /// Ψ of the pairs that are pending.
    fn estimate(&mut self) -> Result<()> {
        let len = self.len();
        let pairs = (self.pending.len() / len).saturating_sub(1);
        if pairs > 0 {
            let (first, second) = (&self.pending[..pairs * len], &self.pending[len..]);
            let psi = self.strengths("the optical flow", self.psi_series.len(), first, second)?;
            self.psi_series.extend(psi);
            self.pending.drain(..pairs * len);
        }
        Ok(())
    }

    /// `(1/HW) Σ ‖flow‖₂` of each pair of frames, those of the flow called `what` from number `number` on.
    fn strengths(&self, what: &'static str, number: usize, first: &[f32], second: &[f32]) -> Result<Vec<f64>> {
        let (height, width) = (self.settings.height, self.settings.width);
        let grid = Grid::new(first.len() / self.len(), height, width);
        let flow = self.flow.flow(grid, first, second)?;
        check_len("motion", "flow", flow.len(), 2 * grid.cells())?;
        let psi: Vec<f64> = flow.chunks_exact(2 * grid.plane()).map(motion_strength).collect();
        match psi.iter().position(|v| !v.is_finite()) {
            Some(pair) => Err(Error::NonFinite {
                what,
                unit: "frame pair",
                at: (number + pair) as u64,
            }),
            None => Ok(psi),
        }
    }

    /// Ψ of the control frames, each paired with itself after `alter(k, copy, frame)` has seen both.
    fn control(&self, mut alter: impl FnMut(u64, u64, &mut [f32])) -> Result<f64> {
        let len = self.len();
        let (mut total, count) = (0.0, self.controls.len() / len);
        // One by one: they are few, and two batches of copies would double the memory.
        for (k, frame) in self.controls.chunks_exact(len).enumerate() {
            let [first, second] = [0, 1].map(|copy| {
                let mut frame = frame.to_vec();
                alter(k as u64, copy, &mut frame);
                frame
            });
            total += self
                .strengths("the optical flow of a control", k, &first, &second)?
                .iter()
                .sum::<f64>();
        }
        Ok(total / count as f64)
    }

    /// The result, once every frame has been pushed.
    pub fn finish(mut self) -> Result<Motion> {
        let settings = self.settings;
        if self.frames != settings.pairs + 1 {
            return Err(Error::invalid(
                "number of frames",
                self.frames,
                format!("{} for {} pairs", settings.pairs + 1, settings.pairs),
            ));
        }
        self.estimate()?;
        let sigma: Vec<f64> = self
            .squares
            .iter()
            .map(|sum| (sum / (2.0 * settings.pairs as f64)).sqrt())
            .collect();
        let psi_floor_static = self.control(|_, _, _| {})?;
        let psi_floor_flicker = self.control(|k, copy, frame| {
            let mut rng = PhiloxRng::new(settings.seed, Stream::Flicker, 2 * k + copy);
            for (value, &sigma) in frame.iter_mut().zip(&sigma) {
                *value = (f64::from(*value) + sigma * rng.normal()).clamp(0.0, 1.0) as f32;
            }
        })?;
        let psi = mean(&self.psi_series);
        let psi_se = batch_means_error(&self.psi_series);
        Ok(Motion {
            psi,
            psi_se,
            above_floor: above_floor(psi, psi_se, psi_floor_static, psi_floor_flicker),
            psi_series: self.psi_series,
            psi_floor_static,
            psi_floor_flicker,
            flow: self.flow.name().to_owned(),
            steps_per_frame: settings.steps_per_frame,
            warmup: settings.warmup,
            seed: settings.seed,
            height: settings.height,
            width: settings.width,
        })
    }
}

/// Whether Ψ exceeds its motion floor, the larger Ψ of the two controls, by more than two of its
/// standard errors; all in pixels per frame.
///
/// Where it does not, the estimator may have seen no motion but noise.
#[must_use]
pub fn above_floor(psi: f64, psi_se: f64, psi_floor_static: f64, psi_floor_flicker: f64) -> bool {
    psi - 2.0 * psi_se > psi_floor_static.max(psi_floor_flicker)
}

/// `(1/HW) Σ ‖flow‖₂` of one flow field `[2,H,W]`, pixels.
#[must_use]
pub fn motion_strength(flow: &[f32]) -> f64 {
    let (u, v) = flow.split_at(flow.len() / 2);
    let total: f64 = u.iter().zip(v).map(|(&u, &v)| f64::from(u).hypot(f64::from(v))).sum();
    total / u.len() as f64
}

/// Standard error of the mean of a series whose neighbours may be alike.
///
/// Successive pairs share a frame and the automaton has a memory, so `s/√n` would be too small. With
/// 25 values or more this is the method of batch means: the series is cut into batches of ⌊√n⌋
/// values, longer than its memory one hopes, whose means are nearly independent. (Ten batches of ten for
/// n = 100, which makes the error itself uncertain by a quarter.) What is left over at the start, less than a batch, tells
/// nothing of the scatter, but the mean is one of all n values: its variance is smaller by as much as it
/// has more of them. Shorter series are taken as independent. NaN below two values.
#[must_use]
pub fn batch_means_error(series: &[f64]) -> f64 {
    const ENOUGH_FOR_BATCHES: usize = 25;
    if series.len() < ENOUGH_FOR_BATCHES {
        return independent_error(series);
    }
    let size = series.len().isqrt();
    let means: Vec<f64> = series.rchunks_exact(size).map(mean).collect();
    let used = (size * means.len()) as f64;
    independent_error(&means) * (used / series.len() as f64).sqrt()
}

/// `s/√n`, s being the sample standard deviation.
fn independent_error(values: &[f64]) -> f64 {
    let (n, mean) = (values.len() as f64, mean(values));
    let squares: f64 = values.iter().map(|v| (v - mean).powi(2)).sum();
    (squares / (n - 1.0) / n).sqrt()
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_of_short_series_are_plain() {
        // s² = 5/3, n = 4.
        assert!((batch_means_error(&[1.0, 2.0, 3.0, 4.0]) - (5.0_f64 / 12.0).sqrt()).abs() < 1e-15);
        assert!(batch_means_error(&[1.0]).is_nan());
    }

    /// First-order autoregression with coefficient a: the variance of the mean is (1 + a)/(1 − a)
    /// times that of independent values.
    #[test]
    fn correlation_is_accounted_for() {
        const A: f64 = 0.6;
        const SERIES: u64 = 400;
        let (mut squares, mut batch, mut plain) = (0.0, 0.0, 0.0);
        for index in 0..SERIES {
            let mut rng = PhiloxRng::new(0, Stream::Test, index);
            let mut x = rng.normal() / (1.0 - A * A).sqrt();
            let series: Vec<f64> = std::iter::repeat_with(|| {
                x = A * x + rng.normal();
                x
            })
            .take(400)
            .collect();
            squares += mean(&series).powi(2) / SERIES as f64;
            batch += batch_means_error(&series).powi(2) / SERIES as f64;
            plain += independent_error(&series).powi(2) / SERIES as f64;
        }
        // The variance of 400 means is known to √(2/400) = 7 %, the mean square batch error to much
        // less; batches of 20 keep a bias of some 2a/(1 − a²)/20 = 9 %.
        let ratio = batch / squares;
        assert!((0.7..1.25).contains(&ratio), "{ratio}");
        assert!(plain / squares < 0.4, "{}", plain / squares);
    }

    /// Mean square of the error of `SERIES` autoregressions with coefficient `a`, over what the variance of their mean is.
    fn ratio_to_truth(n: usize, a: f64) -> f64 {
        const SERIES: u64 = 4000;
        let mut squares = 0.0;
        for index in 0..SERIES {
            let mut rng = PhiloxRng::new(n as u64, Stream::Test, index);
            let mut x = rng.normal() / (1.0 - a * a).sqrt();
            let series: Vec<f64> = std::iter::repeat_with(|| {
                x = a * x + rng.normal();
                x
            })
            .take(n)
            .collect();
            squares += batch_means_error(&series).powi(2) / SERIES as f64;
        }
        // Σ of the covariances of all pairs, over n².
        let n = n as f64;
        let pairs: f64 = (1..n as i32).map(|k| 2.0 * (n - f64::from(k)) * a.powi(k)).sum();
        squares / ((n + pairs) / (1.0 - a * a) / (n * n))
    }

    /// Lengths just below and above a square, and in between.
    #[test]
    fn the_error_is_right_at_any_length() {
        for n in [25, 26, 35, 36, 50, 63, 80, 99, 100, 120] {
            // Independent values: the mean square of the error is the variance itself. Of six means or so it scatters by
            // √(2/5), of 4000 series by 1 %.
            let ratio = ratio_to_truth(n, 0.0);
            assert!((ratio - 1.0).abs() < 0.04, "{n}: {ratio}");
            // Batches of b values that are alike take some 2a/(1 − a²)/b away, 13 % of five, and as much again as
            // each batch is of the whole.
            let ratio = ratio_to_truth(n, 0.3);
            assert!((0.8..1.0).contains(&ratio), "{n}: {ratio}");
        }
    }

    #[test]
    fn controls_are_spread_over_the_series() {
        struct Never;
        impl FlowEstimator for Never {
            fn name(&self) -> &'static str {
                "never"
            }
            fn flow(&self, _: Grid, _: &[f32], _: &[f32]) -> Result<Vec<f32>> {
                Err(Error::invalid("flow", "asked for", "not asked for"))
            }
        }
        for (pairs, expected) in [
            (2, vec![0, 1]),
            (8, (0..8).collect()),
            (16, (0..8).map(|k| 2 * k).collect()),
        ] {
            let settings = MotionSettings {
                pairs,
                ..MotionSettings::default()
            };
            let meter = MotionMeter::new(&Never, settings).unwrap();
            let found: Vec<usize> = (0..=pairs).filter(|&i| meter.is_control(i)).collect();
            assert_eq!(found, expected);
        }
        let meter = MotionMeter::new(&Never, MotionSettings::default()).unwrap();
        assert_eq!((0..=100).filter(|&i| meter.is_control(i)).count(), 8);
    }
}
