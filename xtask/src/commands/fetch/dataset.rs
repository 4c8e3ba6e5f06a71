//! What can be fetched: addresses, licences, and where it ends up.

use std::collections::BTreeMap;

/// One published file.
pub(super) struct Dataset {
    /// Address at its publisher.
    pub(super) url: &'static str,
    /// Name of the published file.
    pub(super) file: &'static str,
    /// First digits of the file's SHA-256, where the publisher states them.
    pub(super) digest: Option<&'static str>,
    /// What may be done with it, in a few lines.
    pub(super) notice: &'static str,
    /// What becomes of it.
    pub(super) content: Content,
    /// Where that is put, below the folder of `--into`.
    pub(super) target: &'static str,
}

/// What a published file holds.
#[derive(Clone, Copy)]
pub(super) enum Content {
    /// An archive of pictures.
    Images,
    /// Weights of the flow network.
    SpyNet,
    /// Weights of a VGG network.
    Vgg,
}

impl Dataset {
    /// Strings that a converted file carries along, so that its terms stay with it.
    pub(super) fn metadata(&self, source: String) -> BTreeMap<String, String> {
        [("source", source), ("notice", self.notice.to_owned())]
            .map(|(key, value)| (key.to_owned(), value))
            .into()
    }
}

pub(super) const DTD: Dataset = Dataset {
    url: "https://www.robots.ox.ac.uk/~vgg/data/dtd/download/dtd-r1.0.1.tar.gz",
    file: "dtd-r1.0.1.tar.gz",
    digest: None,
    notice: "Describable Textures Dataset (Cimpoi, Maji, Kokkinos, Mohamed, Vedaldi, CVPR 2014; Visual Geometry \
             Group, Oxford)\nLicence: made available for research purposes; the rights in the pictures remain with \
             their owners.",
    content: Content::Images,
    target: "dtd/images",
};

pub(super) const SPYNET: Dataset = Dataset {
    url: "http://content.sniklaus.com/github/pytorch-spynet/network-sintel-final.pytorch",
    file: "network-sintel-final.pytorch",
    digest: None,
    notice: "SpyNet weights, Sintel final (Ranjan and Black, CVPR 2017; converted by S. Niklaus, pytorch-spynet)\n\
             Licence: for academic research only; they must not be redistributed.",
    content: Content::SpyNet,
    target: "spynet.safetensors",
};

pub(super) const VGG16: Dataset = Dataset {
    url: "https://download.pytorch.org/models/vgg16-397923af.pth",
    file: "vgg16-397923af.pth",
    // As in its name, by the convention of torch.hub.
    digest: Some("397923af"),
    notice: "VGG16 weights of torchvision (architecture: Simonyan and Zisserman, ICLR 2015)\n\
             Licence: torchvision is BSD-3-Clause; the weights were trained on ImageNet, whose terms (non-commercial \
             research) may apply to them.",
    content: Content::Vgg,
    target: "vgg16.safetensors",
};
