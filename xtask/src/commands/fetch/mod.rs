//! `cargo xtask fetch`

mod convert;
mod dataset;
mod digest;
mod download;
mod unpack;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::{Args, ValueEnum};
use nca_core::Error;

use self::dataset::{Content, DTD, Dataset, SPYNET, VGG16};
use self::digest::Digest;
use self::download::{Partial, download};
use crate::output::print_line;

/// Download a data set or published weights, and make them ready for use
///
/// Nothing of this is needed to train: the built-in textures and the weight-free loss are enough. A
/// download that breaks off goes on where it stopped when the command is given again.
#[derive(Args)]
pub(crate) struct FetchArgs {
    /// What to fetch
    name: Name,
    /// Take it from this address, or from a file downloaded by hand [default: its publisher]
    #[arg(long, value_name = "URL|FILE")]
    from: Option<String>,
    /// SHA-256 that the downloaded file must have
    #[arg(long, value_name = "HEX")]
    sha256: Option<Digest>,
    /// Folder to put it in
    #[arg(long, value_name = "DIR", default_value = "data")]
    into: PathBuf,
}

/// What can be fetched.
#[derive(Clone, Copy, ValueEnum)]
enum Name {
    /// Describable Textures Dataset: DIR/dtd/images (about 600 MB; research use)
    Dtd,
    /// Weights of the optical flow network: DIR/spynet.safetensors (research use, not to be passed on)
    Spynet,
    /// Features of an image classifier for the VGG losses: DIR/vgg16.safetensors (528 MB to download)
    Vgg16,
}

impl Name {
    fn dataset(self) -> &'static Dataset {
        match self {
            Self::Dtd => &DTD,
            Self::Spynet => &SPYNET,
            Self::Vgg16 => &VGG16,
        }
    }
}

/// Where the file comes from.
enum Source<'a> {
    Url(&'a str),
    File(&'a Path),
}

impl<'a> Source<'a> {
    fn new(dataset: &Dataset, from: Option<&'a str>) -> Result<Self, Error> {
        let Some(from) = from else {
            return Ok(Self::Url(dataset.url));
        };
        match from.split_once("://") {
            Some(("http" | "https", _)) => Ok(Self::Url(from)),
            Some(_) => Err(Error::invalid(
                "--from",
                from,
                "an address with http:// or https://, or a file",
            )),
            None => Ok(Self::File(Path::new(from))),
        }
    }

    /// Name for the metadata of a converted file: without the folders of this machine.
    fn label(&self) -> String {
        match self {
            Self::Url(url) => (*url).to_owned(),
            Self::File(path) => path
                .file_name()
                .map_or_else(String::new, |name| name.to_string_lossy().into_owned()),
        }
    }
}

pub(crate) fn run(args: &FetchArgs) -> anyhow::Result<()> {
    let dataset = args.name.dataset();
    let target = args.into.join(dataset.target);
    if args.from.is_none() && args.sha256.is_none() && target.exists() {
        return print_line(&format!(
            "{} is already there; remove it to fetch it again",
            target.display()
        ));
    }
    let source = Source::new(dataset, args.from.as_deref())?;
    match &source {
        Source::File(file) => {
            let metadata = fs::metadata(file).map_err(|e| Error::io(file, e))?;
            if !metadata.is_file() {
                return Err(Error::format(file, "no file", format!("a copy of {}", dataset.file)).into());
            }
            if let Some(expected) = &args.sha256 {
                expected.check(file)?;
            }
            print_line(dataset.notice)?;
            install(dataset, file, &source, &args.into)?;
        }
        Source::Url(url) => {
            let published = dataset.digest.filter(|_| *url == dataset.url).map(Digest::prefix);
            let expected = args.sha256.clone().or(published);
            fs::create_dir_all(&args.into).map_err(|e| Error::io(&args.into, e))?;
            let partial = Partial::new(&args.into, dataset.file);
            download(url, &partial, || print_line(dataset.notice)).with_context(|| {
                format!("{url} was not downloaded (by hand: save it with a browser, then give --from FILE)")
            })?;
            let result = expected
                .map_or(Ok(()), |expected| expected.check(partial.path()))
                .and_then(|()| install(dataset, partial.path(), &source, &args.into));
            // A full disk is no reason to download again; a wrong file is.
            if !matches!(result, Err(Error::Io { .. })) {
                partial.remove()?;
            }
            result?;
        }
    }
    print_line(&format!("→ {}", target.display()))
}

/// Unpacks or converts `file` into the folder `into`.
fn install(dataset: &Dataset, file: &Path, source: &Source<'_>, into: &Path) -> nca_core::Result<()> {
    fs::create_dir_all(into).map_err(|e| Error::io(into, e))?;
    let target = into.join(dataset.target);
    match dataset.content {
        Content::Images => unpack::unpack_images(file, into, &target),
        Content::SpyNet => convert::spynet(file, &target, &dataset.metadata(source.label())),
        Content::Vgg => convert::vgg(file, &target, &dataset.metadata(source.label())),
    }
}
