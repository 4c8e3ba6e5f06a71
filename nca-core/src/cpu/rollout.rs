//! Several steps in one call.

use super::Cpu;
use crate::backend::RolloutSteps;

impl RolloutSteps for Cpu {}
