//! Several models in the making at a time.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use nca_core::backend::Backend;
use nca_core::{Error, Result};

use super::model::ModelRun;
use super::plan::Plan;
use super::runner::{Event, Sweep};
use super::settings::ModelSpec;
use crate::report::ModelRecord;

/// Makes the models that are `left` of `sweep`, each on one of `backends` and on a thread of its own, and tells `observe` of
/// it as [`Sweep::run`] says. The records of those that were made are returned, in the order of `left`.
pub(super) fn make_models<B: Backend<Elem = f32>>(
    sweep: &Sweep,
    left: &[&ModelSpec],
    plan: Plan,
    backends: &[B],
    observe: &mut (dyn FnMut(usize, Event<'_>) + Send),
) -> Result<Vec<ModelRecord>> {
    let work = Work {
        sweep,
        left,
        next: AtomicUsize::new(0),
        stop: AtomicBool::new(false),
        shared: Mutex::new(Shared {
            plan,
            observe,
            records: vec![None; left.len()],
            error: None,
        }),
    };
    std::thread::scope(|scope| {
        for (job, backend) in backends.iter().enumerate().take(left.len()) {
            let work = &work;
            scope.spawn(move || work.run(job, backend));
        }
    });
    let Shared { records, error, .. } = work.shared.into_inner().unwrap_or_else(PoisonError::into_inner);
    error.map_or(Ok(records.into_iter().flatten().collect()), Err)
}

/// The models that are left, and the jobs that make them.
struct Work<'a> {
    sweep: &'a Sweep,
    left: &'a [&'a ModelSpec],
    /// The first model that no job has taken.
    next: AtomicUsize,
    /// Set when the sweep is to end.
    stop: AtomicBool,
    shared: Mutex<Shared<'a>>,
}

/// What the jobs tell.
struct Shared<'a> {
    plan: Plan,
    observe: &'a mut (dyn FnMut(usize, Event<'_>) + Send),
    /// Of the models left, by index.
    records: Vec<Option<ModelRecord>>,
    /// What ends the sweep.
    error: Option<Error>,
}

impl<'a> Work<'a> {
    fn shared(&self) -> MutexGuard<'_, Shared<'a>> {
        // Who panicked has not left anything half done that others read.
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes one model after another on `backend`.
    fn run<B: Backend<Elem = f32>>(&self, job: usize, backend: &B) {
        if let Err(error) = self.make_models(job, backend) {
            self.stop.store(true, Ordering::Relaxed);
            // The others' errors follow from the first.
            self.shared().error.get_or_insert(error);
        }
    }

    fn make_models<B: Backend<Elem = f32>>(&self, job: usize, backend: &B) -> Result<()> {
        let sweep = self.sweep;
        let flow = match sweep.flow.estimator(backend) {
            Ok(flow) => flow,
            // A device without room for one job more has fewer.
            Err(error @ Error::Device { .. }) if job > 0 => {
                tracing::warn!("one model less at a time: {error}");
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        while !self.stop.load(Ordering::Relaxed) {
            let index = self.next.fetch_add(1, Ordering::Relaxed);
            let Some(&spec) = self.left.get(index) else {
                break;
            };
            let run = ModelRun {
                backend,
                settings: &sweep.settings,
                spec,
                texture: &sweep.textures[spec.texture],
                inputs: &sweep.inputs,
                flow: flow.as_ref(),
                network: sweep.network()?,
                directory: sweep.directory_of(spec),
                checkpoint_every: sweep.checkpoint_every,
                stop: &self.stop,
            };
            let mut observe = |event: Event<'_>| {
                let mut shared = self.shared();
                if let Event::Trained { iteration, .. } = &event {
                    let part = |iterations: u64| iterations as f64 / sweep.settings.train.iterations as f64;
                    let before = iteration.iteration;
                    shared.plan.advance(index, part(before), part(before + 1));
                }
                (shared.observe)(job, event);
            };
            let record = match run.run(&mut observe) {
                Ok(Some(record)) => record,
                Ok(None) => break,
                // A disk that is full or gone will not serve the next model either, nor will a device.
                Err(error @ (Error::Io { .. } | Error::Lost { .. })) => return Err(error),
                Err(error) => {
                    observe(Event::Failed {
                        label: &run.label(),
                        reason: error.to_string(),
                    });
                    run.fail(&error)?
                }
            };
            let mut shared = self.shared();
            shared.plan.advance(index, 1.0, 1.0);
            let remaining = shared.plan.remaining();
            let event = Event::Finished {
                record: &record,
                remaining,
            };
            (shared.observe)(job, event);
            shared.records[index] = Some(record);
        }
        Ok(())
    }
}
