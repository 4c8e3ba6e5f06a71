//! A backend that is wrong in one place, to prove that the suite would notice.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::backend::{Backend, Device};
use crate::error::Result;
use crate::precision::Precision;
use crate::real::Real;

/// How an operation treats what an output held before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// `=`.
    Overwrites,
    /// `+=`.
    Adds,
    /// The output is an input too.
    InPlace,
}

/// What goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The last element is off by 1/64 of `1 + |v|`.
    Element,
    /// `+=` where it should be `=`, and the other way round; nothing for outputs in place.
    Accumulation,
    /// A call that is refused passes for done; whatever the output.
    Acceptance,
}

/// One output of one operation, spoiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// Method of the backend.
    pub op: &'static str,
    /// Argument of the method.
    pub output: &'static str,
    /// What goes wrong.
    pub kind: Kind,
}

/// Passes every call on to a backend and spoils the outputs that [`Fault`] names; counts what passes
/// through.
#[derive(Debug)]
pub struct Faulty<B> {
    inner: B,
    fault: Option<Fault>,
    seen: Mutex<BTreeMap<(&'static str, &'static str), Rule>>,
    steps: AtomicU64,
    backward_steps: AtomicU64,
    allocated: AtomicU64,
}

impl<B: Backend> Faulty<B> {
    /// `inner` with a fault, or as it is.
    pub fn new(inner: B, fault: Option<Fault>) -> Self {
        Self {
            inner,
            fault,
            seen: Mutex::default(),
            steps: AtomicU64::new(0),
            backward_steps: AtomicU64::new(0),
            allocated: AtomicU64::new(0),
        }
    }

    /// Every output of every operation called so far, `(op, output, rule)`.
    pub fn seen(&self) -> Vec<(&'static str, &'static str, Rule)> {
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        seen.iter().map(|(&(op, output), &rule)| (op, output, rule)).collect()
    }

    /// Forward steps done so far, alone or in runs.
    pub fn steps(&self) -> u64 {
        self.steps.load(Ordering::Relaxed)
    }

    /// Backward steps done so far, alone or in runs.
    pub fn backward_steps(&self) -> u64 {
        self.backward_steps.load(Ordering::Relaxed)
    }

    /// Elements of all buffers made so far.
    pub fn allocated(&self) -> u64 {
        self.allocated.load(Ordering::Relaxed)
    }

    fn fault_in(&self, op: &str, output: &str) -> Option<Kind> {
        let fault = self.fault.filter(|fault| fault.op == op && fault.output == output)?;
        Some(fault.kind)
    }

    /// `done`, unless the fault is that nothing is refused.
    fn refusal(&self, op: &str, done: Result<()>) -> Result<()> {
        let accepts = |fault: Fault| fault.op == op && fault.kind == Kind::Acceptance;
        if self.fault.is_some_and(accepts) { Ok(()) } else { done }
    }

    /// What `buffer` holds before the call, if the fault needs it.
    fn before(&self, op: &'static str, output: &'static str, buffer: &B::Buffer) -> Result<Option<Vec<B::Elem>>> {
        match self.fault_in(op, output) {
            Some(Kind::Accumulation) => self.inner.to_vec(buffer).map(Some),
            _ => Ok(None),
        }
    }

    /// Spoils `buffer` after the call, if it is the one.
    fn after(
        &self,
        op: &'static str,
        output: &'static str,
        rule: Rule,
        before: Option<Vec<B::Elem>>,
        buffer: &mut B::Buffer,
    ) -> Result<()> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((op, output), rule);
        let Some(kind) = self.fault_in(op, output) else {
            return Ok(());
        };
        let mut values = self.inner.to_vec(buffer)?;
        match (kind, rule) {
            (Kind::Element, _) => spoil(&mut values),
            (Kind::Accumulation, Rule::Overwrites) => {
                for (v, old) in values.iter_mut().zip(before.unwrap_or_default()) {
                    *v += old;
                }
            }
            (Kind::Accumulation, Rule::Adds) => {
                for (v, old) in values.iter_mut().zip(before.unwrap_or_default()) {
                    *v -= old;
                }
            }
            (Kind::Accumulation, Rule::InPlace) | (Kind::Acceptance, _) => {}
        }
        self.inner.upload(&values, buffer)
    }

    /// As [`Self::after`] for indices: the last of each becomes the first, so that it stays in range.
    fn after_indices(
        &self,
        op: &'static str,
        output: &'static str,
        len: usize,
        indices: &mut B::Indices,
    ) -> Result<()> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .insert((op, output), Rule::InPlace);
        if self.fault_in(op, output).is_none() {
            return Ok(());
        }
        let mut values = vec![0; len];
        self.inner.download_indices(indices, &mut values)?;
        if let [first, .., last] = &mut values[..] {
            *last = *first;
        }
        self.inner.upload_indices(&values, indices)
    }
}

/// Puts the last element off.
fn spoil<T: Real>(values: &mut [T]) {
    if let Some(v) = values.last_mut() {
        *v += (T::one() + v.abs()) * T::of(1.0 / 64.0);
    }
}

/// Calls the method of the same name of the inner backend, and spoils the outputs listed:
/// `call!(self.op(arguments); Rule "output" buffer; …)`.
macro_rules! call {
    ($self:ident.$op:ident($($arg:expr),* $(,)?) $(; $rule:ident $output:literal $buffer:expr)*) => {{
        let op = stringify!($op);
        let before = [$($self.before(op, $output, &*$buffer)?),*];
        let done = $self.inner.$op($($arg),*);
        if done.is_err() {
            return $self.refusal(op, done);
        }
        let mut before = before.into_iter();
        $($self.after(op, $output, Rule::$rule, before.next().flatten(), &mut *$buffer)?;)*
        Ok(())
    }};
}

/// As `call!` for operations that also add to the gradients of all parameters.
macro_rules! call_with_grads {
    ($self:ident.$op:ident($($arg:expr),* $(,)?), $grads:ident $(; $rule:ident $output:literal $buffer:expr)*) => {{
        let op = stringify!($op);
        let mut before = Vec::new();
        for (name, grad) in Params::<B::Buffer>::NAMES.into_iter().zip($grads.iter()) {
            before.push($self.before(op, name, grad)?);
        }
        let done: Result<()> = call!($self.$op($($arg),*) $(; $rule $output $buffer)*);
        done?;
        for ((name, grad), before) in Params::<B::Buffer>::NAMES.into_iter().zip($grads.iter_mut()).zip(before) {
            $self.after(op, name, Rule::Adds, before, grad)?;
        }
        Ok(())
    }};
}

mod image;
mod nca;
mod vector;

impl<B: Backend> Device for Faulty<B> {
    type Elem = B::Elem;
    type Buffer = B::Buffer;
    type Indices = B::Indices;

    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn describe(&self) -> String {
        match self.fault {
            Some(fault) => format!("{} with {fault:?}", self.inner.describe()),
            None => self.inner.describe(),
        }
    }

    fn precision(&self) -> Precision {
        self.inner.precision()
    }

    fn zeros(&self, len: usize) -> Result<B::Buffer> {
        self.allocated.fetch_add(len as u64, Ordering::Relaxed);
        let mut buffer = self.inner.zeros(len)?;
        self.after("zeros", "buffer", Rule::InPlace, None, &mut buffer)?;
        Ok(buffer)
    }

    fn zero_indices(&self, len: usize) -> Result<B::Indices> {
        self.inner.zero_indices(len)
    }

    fn len(&self, buffer: &B::Buffer) -> usize {
        self.inner.len(buffer)
    }

    fn upload(&self, src: &[B::Elem], dst: &mut B::Buffer) -> Result<()> {
        call!(self.upload(src, dst); Overwrites "dst" dst)
    }

    fn download(&self, src: &B::Buffer, dst: &mut [B::Elem]) -> Result<()> {
        self.inner.download(src, dst)?;
        if self.fault_in("download", "dst").is_some() {
            spoil(dst);
        }
        Ok(())
    }

    fn upload_indices(&self, src: &[u32], dst: &mut B::Indices) -> Result<()> {
        self.inner.upload_indices(src, dst)
    }

    fn download_indices(&self, src: &B::Indices, dst: &mut [u32]) -> Result<()> {
        self.inner.download_indices(src, dst)
    }

    fn copy(&self, src: &B::Buffer, from: usize, dst: &mut B::Buffer, to: usize, len: usize) -> Result<()> {
        call!(self.copy(src, from, dst, to, len); Overwrites "dst" dst)
    }

    fn fill(&self, value: f64, dst: &mut B::Buffer) -> Result<()> {
        call!(self.fill(value, dst); Overwrites "dst" dst)
    }

    fn synchronize(&self) -> Result<()> {
        self.inner.synchronize()
    }
}
