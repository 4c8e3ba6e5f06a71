//! `cargo xtask export`

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use nca_core::Error;
use nca_core::checkpoint::write_atomic;
use nca_train::Texture;
use nca_train::provenance::trained_size;
use nca_train::report::page::Exhibit;

use crate::files::{check_extension, check_outputs};
use crate::flags::{ConventionsArgs, Size, check_dtd};
use crate::model::load;

/// Put an automaton into a page of HTML that runs it
///
/// The page is complete in itself: it opens from disk, in any browser with WebGL 2, and asks nothing
/// of the network. Weights are rounded to 16 bits.
#[derive(Args)]
pub(crate) struct ExportArgs {
    /// Model file (safetensors or PyTorch)
    #[arg(long, value_name = "FILE")]
    model: PathBuf,
    #[command(flatten)]
    conventions: ConventionsArgs,
    /// Rows and columns of the grid it starts on, as 96x128 or 128
    #[arg(long, value_name = "HxW", default_value = "128x128")]
    size: Size,
    /// Decides initial state and masks, until the reader chooses another
    #[arg(long, value_name = "N", default_value_t = 0)]
    seed: u64,
    /// Texture shown beside it: bubbly, chequered, interlaced, cracked (built in), an image file, or
    /// with --dtd a name such as bubbly_0101
    #[arg(long, value_name = "NAME|PATH")]
    texture: Option<String>,
    /// Folder of the Describable Textures Dataset
    #[arg(long, value_name = "DIR", requires = "texture")]
    dtd: Option<PathBuf>,
    /// Title of the page [default: the model file's name]
    #[arg(long, value_name = "TEXT")]
    title: Option<String>,
    /// HTML file to write
    #[arg(long, value_name = "FILE.html")]
    out: PathBuf,
}

pub(crate) fn run(args: &ExportArgs) -> anyhow::Result<()> {
    let Size { height, width } = args.size;
    if height.max(width) > Exhibit::MAX_SIDE {
        let expected = format!("sides of at most {}, which a page can run", Exhibit::MAX_SIDE);
        return Err(Error::invalid("--size", format!("{height}x{width}"), expected).into());
    }
    let texture = args.texture.as_deref();
    check_dtd(args.dtd.as_deref(), texture)?;
    check_outputs(
        &[("--out", Some(&args.out))],
        &[Some(&args.model), texture.map(Path::new).filter(|path| path.is_file())],
        None,
    )?;
    check_extension("--out", Some(&args.out), "a page of HTML", &["html", "htm"])?;
    let (nca, metadata) = load(&args.model, args.conventions.get())?;
    let target = texture
        .map(|name| {
            // As large as the automaton learned it.
            let side = trained_size(&args.model, &metadata)?.unwrap_or(height.min(width));
            let side = side.clamp(Texture::MIN_SIZE, Exhibit::MAX_SIDE);
            Texture::resolve(name, args.dtd.as_deref(), side)
        })
        .transpose()?;
    let stem = args.model.file_stem().unwrap_or_default().to_string_lossy();
    let exhibit = Exhibit {
        name: args.title.as_deref().unwrap_or(&stem),
        nca: &nca,
        height,
        width,
        seed: args.seed,
        target: target.as_ref(),
    };
    let page = exhibit.page().with_context(|| args.model.display().to_string())?;
    write_atomic(&args.out, |file| file.write_all(page.as_bytes()))?;
    Ok(())
}
