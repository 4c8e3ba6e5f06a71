"""Times of PyTorch's formulations on a GPU, for a look beside ours: `python torch_times.py [DEVICE [SECONDS]]`.

Prints a line for each formulation of each case as soon as it is timed, the best of several runs. That the formulations
compute the same as ours is checked on the CPU (`cargo xtask bench-peers`). All in f32: TF32 is switched off. After SECONDS
nothing more is begun.
"""

import sys
import time

import numpy as np
import torch

DEVICE = sys.argv[1] if len(sys.argv) > 1 else "cuda"
END = time.perf_counter() + (float(sys.argv[2]) if len(sys.argv) > 2 else float("inf"))
torch.set_default_device(DEVICE)
torch.backends.cuda.matmul.allow_tf32 = False
torch.backends.cudnn.allow_tf32 = False
# Sizes stay the same: the fastest algorithm for each is worth a search.
torch.backends.cudnn.benchmark = True
torch.manual_seed(0)

import torch_nca  # noqa: E402: constants of these modules are made on the default device
import torch_spynet  # noqa: E402
import torch_vgg  # noqa: E402
from serve import EXACT, Unavailable  # noqa: E402
from vgg16 import BLOCKS  # noqa: E402

# Channels, hidden neurons, side and number of grids; the benchmark of the device has the same.
STEPS = [(8, 16, 128, 1), (12, 96, 128, 1), (12, 96, 128, 4), (128, 128, 128, 1), (12, 96, 2048, 1)]
RUN = 32
THROUGH = [(12, 96, 128, 4), (32, 128, 128, 4), (128, 128, 128, 1)]
THROUGH_STEPS = 64
FLOW = [128, 256]
LEVELS, CHANNELS, KERNEL = 6, [8, 32, 64, 32, 16, 2], 7
# Number and side of pictures, and blocks of the network.
PICTURES = [(1, 128, 5), (4, 128, 5), (4, 128, 3)]
WIDTHS = [64, 128, 256, 512, 512]
# Seconds that a formulation is timed for, and the fewest runs.
SECONDS, RUNS = 0.3, 3


def normal(*shape, scale=1.0):
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype(np.float32)


def wait():
    if DEVICE.startswith("cuda"):
        torch.cuda.synchronize()


def best(run):
    """The shortest time of a run, in seconds."""
    run()
    wait()
    times, start = [], time.perf_counter()
    while len(times) < RUNS or time.perf_counter() - start < SECONDS:
        before = time.perf_counter()
        run()
        wait()
        times.append(time.perf_counter() - before)
    return min(times)


def captured(run):
    """The same launches from a CUDA graph: what a program without Python in between takes."""
    side = torch.cuda.Stream()
    with torch.cuda.stream(side):
        run()
    wait()
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        run()
    return graph.replay


def show(what, of, formulation, seconds):
    print(f"{what:<10} {of:<28} {seconds * 1e6:>11.1f} µs  {formulation}", flush=True)


def time_all(what, of, formulations, inputs, shape, per=1, graphs=False):
    for formulation, make in formulations.items():
        if time.perf_counter() > END:
            return
        try:
            run = make(inputs, shape).run
            show(what, of, formulation, best(run) / per)
            # How many cells update is asked of the device in between, which no graph can do.
            if graphs and DEVICE.startswith("cuda") and "gathered" not in formulation:
                show(what, of, formulation + ", as a graph", best(captured(run)) / per)
        except Unavailable:
            pass
        except Exception as error:  # noqa: BLE001: one formulation must not lose the others
            reason = (f"{type(error).__name__}: {error}".splitlines() or ["no reason given"])[0]
            print(f"{what:<10} {of:<28} {formulation}: {reason}", flush=True)


def automaton(channels, hidden, size, batch):
    perceived = 4 * channels
    inputs = {
        "w1": normal(hidden, perceived, scale=0.2 * (2 / (hidden + perceived)) ** 0.5),
        "b1": normal(hidden, scale=0.1),
        "w2": normal(channels, hidden, scale=1e-3),
        "x": normal(batch, channels, size, size, scale=0.5),
        "g_x": normal(batch, channels, size, size),
    }
    return f"{channels}x{hidden}/{size}x{size}/{batch}", inputs


def eager(formulations):
    return chosen_from(formulations, False)


def compiled(formulations):
    return chosen_from(formulations, True)


def chosen_from(formulations, compiled):
    # What takes one grid after another is for less memory than a GPU has, double precision to compare with.
    return {
        name: make
        for name, make in formulations.items()
        if name.startswith("compiled") == compiled and "by grid" not in name and name != EXACT
    }


def steps(chosen):
    for case in STEPS:
        of, inputs = automaton(*case)
        shape = {"batch": case[3], "steps": RUN, "check_steps": 4, "masked": True, "fire_rate": 0.5}
        time_all("in a run", of, chosen(torch_nca.STEP), inputs, shape, RUN, graphs=True)


def through(chosen):
    for case in THROUGH:
        of, inputs = automaton(*case)
        shape = {"batch": case[3], "steps": THROUGH_STEPS, "check_steps": 4, "masked": True, "fire_rate": 0.5}
        time_all("through", f"{of}, {THROUGH_STEPS} steps", chosen(torch_nca.TRAIN), inputs, shape)


def flow(chosen):
    for size in FLOW:
        inputs = {
            "first": normal(1, 3, size, size),
            "second": normal(1, 3, size, size),
            "g_flow": normal(1, 2, size, size),
        }
        for level in range(LEVELS):
            for layer, (narrow, wide) in enumerate(zip(CHANNELS, CHANNELS[1:])):
                name = f"netBasic.{level}.netBasic.{2 * layer}"
                inputs[f"{name}.weight"] = normal(wide, narrow, KERNEL, KERNEL, scale=(KERNEL**2 * narrow) ** -0.5)
                inputs[f"{name}.bias"] = normal(wide, scale=0.1)
        time_all("flow", f"{size}x{size}", chosen(torch_spynet.FORWARD), inputs, {"size": size}, graphs=True)
        time_all("and back", f"{size}x{size}", chosen(torch_spynet.GRADIENT), inputs, {"size": size}, graphs=True)


def vgg(chosen):
    for batch, size, blocks in PICTURES:
        inputs, narrow = {"rgb": normal(batch, 3, size, size)}, 3
        for block, (numbers, wide) in enumerate(zip(BLOCKS[:blocks], WIDTHS)):
            for number in numbers[: 1 if block + 1 == blocks else None]:
                inputs[f"features.{number}.weight"] = normal(wide, narrow, 3, 3, scale=(4.5 * narrow) ** -0.5)
                inputs[f"features.{number}.bias"] = normal(wide, scale=0.1)
                narrow = wide
            inputs[f"g_tap{block}"] = normal(batch, wide, size >> block, size >> block)
        layers = sum(name.endswith("weight") for name in inputs)
        of = f"{layers} layers/{size}x{size}/{batch}"
        time_all("vgg", of, chosen(torch_vgg.FORWARD), inputs, {"blocks": blocks}, graphs=True)
        time_all("and back", of, chosen(torch_vgg.GRADIENT), inputs, {"blocks": blocks}, graphs=True)


print(f"torch {torch.__version__}", torch.cuda.get_device_name() if DEVICE.startswith("cuda") else DEVICE, flush=True)
# What is compiled comes last: that takes long.
for chosen in (eager, compiled):
    for part in (steps, through, flow, vgg):
        part(chosen)
