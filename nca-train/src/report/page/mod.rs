//! One page of HTML, complete in itself, in which automata run.
//!
//! The sources are in `web/`: style, scripts and shaders, each a file of one subject, put together
//! by `html.rs` as they are. The page's automaton computes what [`nca_core`] computes, on the
//! graphics processor and with 16-bit weights ([`as_shown`]).

mod command;
mod curve;
mod data;
mod html;
mod sweep;
mod thumbnail;
mod weights;

use nca_core::{Error, Nca, Result};

pub use self::command::command;
use self::data::{Automata, ModelData, PageData, TextureData, png_address};
pub(super) use self::sweep::{Gathered, sweep_page};
pub use self::weights::as_shown;
use super::record::Status;
use crate::texture::Texture;

/// One automaton to be shown alone.
#[derive(Clone, Copy, Debug)]
pub struct Exhibit<'a> {
    /// Its name, the title of the page.
    pub name: &'a str,
    /// The automaton.
    pub nca: &'a Nca,
    /// Rows of the grid it runs on at first.
    pub height: usize,
    /// Columns of that grid.
    pub width: usize,
    /// Seed of its initial state and of all masks at first.
    pub seed: u64,
    /// What it was to look like, shown beside it.
    pub target: Option<&'a Texture>,
}

impl Exhibit<'_> {
    /// Largest side of a grid on the page.
    pub const MAX_SIDE: usize = 1024;

    /// The page, as the text of an HTML file.
    ///
    /// # Errors
    /// When the automaton is not valid, a weight is beyond the largest 16-bit float, or the grid has
    /// no cells or too many.
    pub fn page(&self) -> Result<String> {
        for side in [self.height, self.width] {
            if !(1..=Self::MAX_SIDE).contains(&side) {
                let expected = format!("1 to {}", Self::MAX_SIDE);
                return Err(Error::invalid("side of the page's grid", side, expected));
            }
        }
        let mut automata = Automata::default();
        let (weights, conventions) = automata.add(self.nca)?;
        let target = self.target.map(Texture::to_image).transpose()?;
        let texture = TextureData {
            name: self.target.map_or(self.name, |texture| &texture.name).to_owned(),
            height: self.height,
            width: self.width,
            target: target.as_ref().map(png_address).transpose()?,
        };
        let model = ModelData {
            texture: 0,
            channels: self.nca.config.channels,
            hidden: self.nca.config.hidden,
            seed: self.seed.to_string(),
            weights: Some(weights),
            conventions,
            status: Status::Ok.name(),
            ..ModelData::default()
        };
        let data = PageData {
            title: self.name.to_owned(),
            textures: vec![texture],
            models: vec![model],
            conventions: automata.conventions,
            sweep: None,
        };
        html::page(self.name, &data, &automata.weights)
    }
}
