//! One step: the default composition of the fine operations is already the obvious one.

use super::Reference;
use crate::backend::NcaStep;
use crate::real::Real;

impl<T: Real> NcaStep for Reference<T> {}
