//! Several steps: the default, one step after the other.

use super::Reference;
use crate::backend::RolloutSteps;
use crate::real::Real;

impl<T: Real> RolloutSteps for Reference<T> {}
