"""Where PyTorch computes: on its default device, to be set before the modules of the formulations are imported."""

import torch


def on_device(array):
    """A tensor of an array."""
    return torch.from_numpy(array).to(torch.get_default_device())
