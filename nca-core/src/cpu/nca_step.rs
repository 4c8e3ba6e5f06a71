//! One step of the automaton.

use super::Cpu;
use crate::backend::NcaStep;

impl NcaStep for Cpu {}
