"""JAX as a peer: `python jax_peer.py THREADS`."""

import os
import sys


def apart(processors, count):
    """So many of the processors, on cores of their own as far as there are so many."""
    alone, beside, seen = [], [], set()
    for processor in sorted(processors):
        try:
            with open(f"/sys/devices/system/cpu/cpu{processor}/topology/thread_siblings_list") as file:
                core = file.read()
        except OSError:
            core = str(processor)
        (beside if core in seen else alone).append(processor)
        seen.add(core)
    return (alone + beside)[:count]


threads = int(sys.argv[1])
if hasattr(os, "sched_setaffinity"):
    # XLA takes as many threads as there are processors that it may run on.
    os.sched_setaffinity(0, apart(os.sched_getaffinity(0), threads))
    threads = len(os.sched_getaffinity(0))
else:
    threads = os.cpu_count()

import jax  # noqa: E402

import jax_nca  # noqa: E402
import jax_spynet  # noqa: E402
import jax_vgg  # noqa: E402
from serve import serve  # noqa: E402

serve(
    "jax",
    jax.__version__,
    threads,
    {
        "step": jax_nca.STEP,
        "train": jax_nca.TRAIN,
        "spynet": jax_spynet.FORWARD,
        "spynet_gradient": jax_spynet.GRADIENT,
        "vgg": jax_vgg.FORWARD,
        "vgg_gradient": jax_vgg.GRADIENT,
    },
)
