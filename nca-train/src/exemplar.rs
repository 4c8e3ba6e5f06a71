//! Built-in procedural exemplars.
