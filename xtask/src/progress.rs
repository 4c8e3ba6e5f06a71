//! Progress bars: how they look, and those of a sweep.

use std::time::Duration;

use indicatif::{HumanDuration, MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use nca_train::report::{ModelRecord, Status};
use nca_train::sweep::Event;

use crate::output::say;

/// Iterations that take longer are announced with their time.
const SLOW: Duration = Duration::from_secs(1);

/// The look of every bar; `template` is a constant, and a wrong one would only fall back to the default look.
pub(crate) fn bar_style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .unwrap_or_else(|_| ProgressStyle::default_bar())
        .progress_chars("━╸─")
}

/// Bars on standard error: the sweep, and each model in training.
pub(crate) struct SweepProgress {
    bars: MultiProgress,
    sweep: ProgressBar,
    models: Vec<ProgressBar>,
    quiet: bool,
}

impl SweepProgress {
    /// For a sweep with `jobs` models at a time.
    pub(crate) fn new(quiet: bool, jobs: usize) -> Self {
        let target = if quiet {
            ProgressDrawTarget::hidden()
        } else {
            ProgressDrawTarget::stderr()
        };
        let bars = MultiProgress::with_draw_target(target);
        let bar = |template: &str| ProgressBar::new(0).with_style(bar_style(template));
        let sweep = bars.add(bar("{prefix:10} {bar:30.cyan} {pos}/{len} models  {msg}"));
        let model = |_| bars.add(bar("{prefix:10} {bar:30.green} {pos}/{len}  {msg}"));
        let models = (0..jobs).map(model).collect();
        sweep.set_prefix("sweep");
        Self {
            bars,
            sweep,
            models,
            quiet,
        }
    }

    /// Shows one event of a job.
    pub(crate) fn show(&mut self, job: usize, event: &Event<'_>) {
        let model = &self.models[job];
        match event {
            Event::Planned {
                models,
                done,
                estimate,
                iteration,
                directory,
            } => {
                let time = estimate.map_or_else(String::new, |t| format!(", about {}", HumanDuration(t)));
                // Who asks for a hundred frames should know before the first iteration ends.
                let each = iteration.filter(|t| *t >= SLOW).map_or_else(String::new, |t| {
                    format!(" ({} an iteration, as timed pieces of it say)", HumanDuration(t))
                });
                let already = if *done > 0 {
                    format!(", {done} of them done")
                } else {
                    String::new()
                };
                self.say(&format!(
                    "{models} models{already}{time}{each} → {}",
                    directory.display()
                ));
                self.sweep.set_length(*models as u64);
                self.sweep.set_position(*done as u64);
                self.sweep.enable_steady_tick(Duration::from_secs(1));
            }
            Event::Started { label, iterations } => {
                model.reset();
                model.set_length(*iterations);
                model.set_prefix((*label).to_owned());
                model.set_message("");
            }
            Event::Trained { iteration, psi } => {
                model.set_position(iteration.iteration + 1);
                let shown = psi.map_or_else(String::new, |psi| format!("  Ψ {psi:.3} px/frame"));
                let seen = iteration
                    .psi
                    .map_or_else(String::new, |psi| format!("  in training {psi:.3}"));
                model.set_message(format!("loss {:.4}{shown}{seen}", iteration.loss));
            }
            Event::Measuring { done, total } => {
                model.set_message(format!("measuring Ψ: frame {done} of {total}"));
            }
            Event::Finished { record, remaining } => {
                self.sweep.inc(1);
                if let Some(remaining) = remaining {
                    self.sweep.set_message(format!("{} left", HumanDuration(*remaining)));
                }
                self.say(&one_line(record));
            }
            Event::Failed { label, reason } => self.say(&format!("{label}: {reason}")),
        }
    }

    /// A line above the bars; also where there is no terminal to draw bars on.
    fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        if self.bars.is_hidden() {
            say!("{line}");
        } else {
            // The terminal may have gone away; the sweep goes on without it.
            let _ = self.bars.println(line);
        }
    }
}

/// A finished model in one line.
fn one_line(record: &ModelRecord) -> String {
    let name = format!("{:12} C={:<3} D={:<3}", record.texture, record.channels, record.hidden);
    let seconds = record.seconds.map_or_else(String::new, |s| format!("  {s:.0} s"));
    match (record.status, record.psi, record.texture_distance) {
        (Status::Ok, Some(psi), Some(distance)) => {
            let floor = if record.above_floor() == Some(false) {
                " (not above its motion floor)"
            } else {
                ""
            };
            format!("{name}  Ψ {psi:.3} px/frame{floor}  texture distance {distance:.2}{seconds}")
        }
        (status, ..) => format!(
            "{name}  {} after {} iterations{seconds}",
            status.name(),
            record.iterations
        ),
    }
}
