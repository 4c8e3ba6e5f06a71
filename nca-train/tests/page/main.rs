//! The page in a real browser. Without Chromium on PATH these tests report themselves skipped; with
//! it, a missing WebGL 2 is a failure.

mod browser;
mod controls;
mod parity;
mod sweep;
