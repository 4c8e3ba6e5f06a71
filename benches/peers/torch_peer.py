"""PyTorch as a peer: `python torch_peer.py THREADS`."""

import sys

import torch

import torch_nca
import torch_spynet
import torch_vgg
from serve import serve

threads = int(sys.argv[1])
torch.set_num_threads(threads)
# One seed for all: masks need not be the same, only as many.
torch.manual_seed(0)
serve(
    "torch",
    torch.__version__,
    threads,
    {
        "step": torch_nca.STEP,
        "train": torch_nca.TRAIN,
        "spynet": torch_spynet.FORWARD,
        "spynet_gradient": torch_spynet.GRADIENT,
        "vgg": torch_vgg.FORWARD,
        "vgg_gradient": torch_vgg.GRADIENT,
    },
    # A function is compiled for so many shapes at most; more would run as they are written, and not say so.
    forget=torch.compiler.reset,
)
