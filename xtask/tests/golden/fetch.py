"""Writes the PyTorch files of tests/fetch.rs: run it in this folder with PyTorch 2.

Small networks under the published names; element i of every tensor is i / 8.
"""

from collections import OrderedDict

import torch


def ramp(*shape):
    return (torch.arange(torch.Size(shape).numel(), dtype=torch.float32) / 8).reshape(shape)


spynet = OrderedDict(
    [("moduleBasic.0.moduleBasic.0.weight", ramp(2, 8, 1, 1)), ("moduleBasic.0.moduleBasic.0.bias", ramp(2))]
)
vgg = OrderedDict(
    [
        ("features.0.weight", ramp(4, 3, 3, 3)),
        ("features.0.bias", ramp(4)),
        ("classifier.0.weight", ramp(2, 4)),
        ("classifier.0.bias", ramp(2)),
    ]
)
torch.save(spynet, "spynet_stream.pytorch", _use_new_zipfile_serialization=False)
torch.save(spynet, "spynet_zip.pytorch")
torch.save(vgg, "vgg_stream.pth", _use_new_zipfile_serialization=False)
