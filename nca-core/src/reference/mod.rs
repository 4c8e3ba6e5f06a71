//! The reference backend: pure ndarray, the obvious implementation.
