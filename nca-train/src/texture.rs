//! Target images.

/// An RGB image to be learned, `[3,H,W]`, values in `[0, 1]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Texture {
    /// Name for tables and directories: the built-in's, or the file's stem.
    pub name: String,
    /// Rows, H.
    pub height: usize,
    /// Columns, W.
    pub width: usize,
    /// Red, green and blue plane, row-major.
    pub rgb: Vec<f32>,
}
