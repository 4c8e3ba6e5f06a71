#!/usr/bin/env python3
"""Writes the golden files of this directory with PyTorch, in f64.

    python3 make.py            (needs torch and numpy; any recent version)

Inputs are multiples of 1/1024: exact in f32, and short as text. Nothing here is copied from the
Rust side: kernels, colour maps and masks are stated once more.
"""

import json
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from philox import mask

HERE = Path(__file__).parent
IDENTITY = [[0, 0, 0], [0, 1, 0], [0, 0, 0]]
SOBEL_X = [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]]
SOBEL_Y = [[-1, -2, -1], [0, 0, 0], [1, 2, 1]]
LAPLACIAN_12 = [[1, 2, 1], [2, -12, 2], [1, 2, 1]]
LAPLACIAN_8 = [[1, 1, 1], [1, -8, 1], [1, 1, 1]]

# Kernels with their divisors, clamp, presence of b2.
PRESETS = {
    "paper": ([(IDENTITY, 1), (SOBEL_X, 1), (SOBEL_Y, 1), (LAPLACIAN_12, 1)], None, False),
    "notebook": ([(SOBEL_X, 1), (SOBEL_Y, 1), (LAPLACIAN_8, 1), (IDENTITY, 1)], None, True),
    "distill": ([(IDENTITY, 1), (SOBEL_X, 8), (SOBEL_Y, 8), (LAPLACIAN_12, 8)], 2.0, True),
}
PAD_MODE = {"circular": "circular", "zero": "constant", "replicate": "replicate"}
BATCH, CHANNELS, HIDDEN, HEIGHT, WIDTH = 2, 5, 11, 7, 9
FIRE_RATE = 0.5
# Distance that every ReLU and clamp argument keeps from its kink, so that f32 takes the same branch.
MARGIN = 2e-5


def draw(rng, *shape, scale=1.0):
    """Normal numbers rounded to multiples of 1/1024."""
    return torch.from_numpy(np.round(rng.standard_normal(shape) * scale * 1024) / 1024)


def flat(tensor):
    """A list of plain numbers, integers as integers to keep the file short."""
    numbers = (float(v) for v in tensor.detach().reshape(-1))
    return [int(v) if v.is_integer() else v for v in numbers]


def write(name, cases):
    text = ",\n".join(json.dumps(case, separators=(",", ":")) for case in cases)
    (HERE / f"{name}.json").write_text(f"[\n{text}\n]\n")


class Automaton:
    """One step as the formula reads, and the distance of its kinks."""

    def __init__(self, preset, padding, rng, scale=0.15):
        kernels, self.clamp, bias = PRESETS[preset]
        self.kernels = [torch.tensor(k, dtype=torch.float64) / divisor for k, divisor in kernels]
        self.padding = padding
        perceived = len(kernels) * CHANNELS
        self.params = {
            "w1": draw(rng, HIDDEN, perceived, scale=scale),
            "b1": draw(rng, HIDDEN, scale=0.3),
            "w2": draw(rng, CHANNELS, HIDDEN, scale=scale),
        }
        if bias:
            self.params["b2"] = draw(rng, CHANNELS, scale=0.2)
        for tensor in self.params.values():
            tensor.requires_grad_()
        self.margin = float("inf")

    def step(self, x, active):
        padded = F.pad(x, (1, 1, 1, 1), mode=PAD_MODE[self.padding])
        depthwise = [F.conv2d(padded, k.expand(CHANNELS, 1, 3, 3), groups=CHANNELS) for k in self.kernels]
        z = torch.cat(depthwise, dim=1)
        p = self.params
        before = F.conv2d(z, p["w1"][:, :, None, None], p["b1"])
        dx = F.conv2d(before.relu(), p["w2"][:, :, None, None], p.get("b2"))
        x = x + active * dx
        self.note(before.abs())
        if self.clamp is not None:
            # A clamped cell that does not update stays on the bound exactly, whatever the precision.
            distance = (x.abs() - self.clamp).abs()
            self.note(distance[distance > 0])
            x = x.clamp(-self.clamp, self.clamp)
        return x

    def note(self, distance):
        self.margin = min(self.margin, distance.min().item())

    def gradients(self):
        return {f"g_{name}": flat(tensor.grad) for name, tensor in self.params.items()}


def away_from_kinks(build):
    """The first case, over generator seeds, that keeps its distance from every kink."""
    for seed in range(1000):
        case, margin = build(np.random.default_rng(seed))
        if margin > MARGIN:
            return case
    raise RuntimeError("every case came near a kink")


def header(preset, padding, seed, step):
    return {
        "preset": preset, "padding": padding, "batch": BATCH, "channels": CHANNELS, "hidden": HIDDEN,
        "height": HEIGHT, "width": WIDTH, "seed": seed, "step": step,
    }


def masks_as_text(masks):
    """One string of 0 and 1 for each step."""
    return ["".join(str(int(v)) for v in m.reshape(-1)) for m in masks]


def nca_step():
    def case(preset, padding):
        def build(rng):
            seed, step = 0x0123456789ABCDEF, 4_000_000_000
            automaton = Automaton(preset, padding, rng)
            x = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH).requires_grad_()
            g_next = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH)
            active = torch.from_numpy(mask(seed, step, BATCH, HEIGHT, WIDTH, FIRE_RATE))
            x_next = automaton.step(x, active)
            (x_next * g_next).sum().backward()
            return {
                **header(preset, padding, seed, step), "masks": masks_as_text([active]),
                **{name: flat(tensor) for name, tensor in automaton.params.items()},
                "x": flat(x), "x_next": flat(x_next), "g_next": flat(g_next), "g_x": flat(x.grad),
                **automaton.gradients(),
            }, automaton.margin
        return away_from_kinks(build)

    write("nca_step", [
        case("paper", "circular"), case("notebook", "circular"), case("distill", "circular"),
        case("paper", "zero"), case("distill", "replicate"),
    ])


def rollout():
    steps, frame = 8, 3

    # Strong enough to clamp some states where there is a clamp, weak enough not to explode elsewhere.
    def case(preset, scale):
        def build(rng):
            seed = 20240601
            automaton = Automaton(preset, "circular", rng, scale)
            x0 = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH, scale=0.7).requires_grad_()
            g_frame = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH)
            g_last = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH)
            masks = [mask(seed, t, BATCH, HEIGHT, WIDTH, FIRE_RATE) for t in range(steps)]
            states = [x0]
            for active in masks:
                states.append(automaton.step(states[-1], torch.from_numpy(active)))
            ((states[frame] * g_frame).sum() + (states[steps] * g_last).sum()).backward()
            return {
                **header(preset, "circular", seed, 0), "masks": masks_as_text(masks),
                "steps": steps, "frame": frame,
                **{name: flat(tensor) for name, tensor in automaton.params.items()},
                "x0": flat(x0), "x_frame": flat(states[frame]), "x_last": flat(states[steps]),
                "g_frame": flat(g_frame), "g_last": flat(g_last), "g_x0": flat(x0.grad),
                **automaton.gradients(),
            }, automaton.margin
        return away_from_kinks(build)

    write("rollout", [case("paper", 0.06), case("notebook", 0.06), case("distill", 0.25)])


def rgb():
    maps = {
        "paper": lambda s: s + 0.5,
        "distill": lambda s: s / 2 + 0.5,
        "notebook": lambda s: (s - low(s)) / (s.amax((1, 2, 3), keepdim=True) - low(s) + 1e-8),
    }

    def low(s):
        return s.amin((1, 2, 3), keepdim=True)

    def case(preset, ties):
        rng = np.random.default_rng(5)
        x = draw(rng, BATCH, CHANNELS, HEIGHT, WIDTH)
        if ties:
            # Two cells share the maximum of the first sample, three the minimum of the second.
            x[0, 0, 1, 2] = x[0, 2, 6, 8] = 6.0
            x[1, 0, 0, 0] = x[1, 1, 3, 3] = x[1, 1, 3, 4] = -7.0
        x.requires_grad_()
        g_rgb = draw(rng, BATCH, 3, HEIGHT, WIDTH)
        picture = maps[preset](x[:, :3])
        (picture * g_rgb).sum().backward()
        return {
            **header(preset, "circular", 0, 0),
            "x": flat(x), "rgb": flat(picture), "g_rgb": flat(g_rgb), "g_x": flat(x.grad),
        }

    write("rgb", [case("paper", False), case("distill", False), case("notebook", False), case("notebook", True)])


def adam():
    def case(weight_decay):
        rng = np.random.default_rng(6)
        count, steps = 17, 10
        p = draw(rng, count)
        start = flat(p)
        p.requires_grad_()
        optimiser = torch.optim.Adam([p], lr=1e-3, betas=(0.9, 0.999), eps=1e-8, weight_decay=weight_decay)
        rates, gradients, values = [], [], []
        for step in range(steps):
            # The schedule's halving in the middle; gradients of very different sizes.
            optimiser.param_groups[0]["lr"] = 1e-3 if step < 5 else 5e-4
            p.grad = draw(rng, count) * 4.0 ** (step - 5)
            rates.append(optimiser.param_groups[0]["lr"])
            gradients.append(flat(p.grad))
            optimiser.step()
            values.append(flat(p))
        state = optimiser.state[p]
        return {
            "weight_decay": weight_decay, "start": start, "rates": rates, "gradients": gradients,
            "values": values, "m": flat(state["exp_avg"]), "v": flat(state["exp_avg_sq"]),
        }

    write("adam", [case(0.0), case(0.01)])


def conv2d():
    def case(batch, inputs, outputs, height, width, kernel, padding, bias):
        rng = np.random.default_rng(7)
        x = draw(rng, batch, inputs, height, width).requires_grad_()
        weight = draw(rng, outputs, inputs, kernel, kernel).requires_grad_()
        b = draw(rng, outputs).requires_grad_() if bias else None
        y = F.conv2d(x, weight, b, padding=padding)
        g_y = draw(rng, *y.shape)
        (y * g_y).sum().backward()
        return {
            "batch": batch, "inputs": inputs, "outputs": outputs, "height": height, "width": width,
            "kernel": kernel, "padding": padding,
            "x": flat(x), "weight": flat(weight), "bias": flat(b) if bias else None, "y": flat(y), "g_y": flat(g_y),
            "g_x": flat(x.grad), "g_weight": flat(weight.grad), "g_bias": flat(b.grad) if bias else None,
        }

    write("conv2d", [
        case(2, 3, 4, 7, 9, 3, 1, True),
        case(1, 3, 5, 9, 11, 7, 0, False),
        case(2, 5, 2, 6, 5, 7, 3, True),
    ])


def avg_pool2():
    def case(planes, height, width):
        rng = np.random.default_rng(8)
        x = draw(rng, planes, height, width).requires_grad_()
        y = F.avg_pool2d(x, 2)
        g_y = draw(rng, *y.shape)
        (y * g_y).sum().backward()
        return {
            "planes": planes, "height": height, "width": width,
            "x": flat(x), "y": flat(y), "g_y": flat(g_y), "g_x": flat(x.grad),
        }

    write("avg_pool2", [case(6, 8, 10), case(3, 7, 9), case(2, 5, 2)])


def max_pool2():
    def case(planes, height, width):
        rng = np.random.default_rng(10)
        # A few levels only: most blocks have ties.
        x = torch.from_numpy(rng.integers(-2, 3, (planes, height, width)).astype(np.float64)).requires_grad_()
        y = F.max_pool2d(x[None], 2)[0]
        g_y = draw(rng, *y.shape)
        (y * g_y).sum().backward()
        return {
            "planes": planes, "height": height, "width": width,
            "x": flat(x), "y": flat(y), "g_y": flat(g_y), "g_x": flat(x.grad),
        }

    write("max_pool2", [case(6, 8, 10), case(3, 7, 9), case(2, 5, 2)])


def losses():
    rng = np.random.default_rng(9)
    x = draw(rng, 2, 101, scale=1.5).requires_grad_()
    weight = 10.0
    overflow = weight * (x - x.clamp(-1, 1)).abs().sum()
    overflow.backward()
    g_overflow = flat(x.grad)

    x.grad = None
    target = draw(rng, 101)
    # One exact tie: its gradient is zero.
    target[17] = x.detach()[1, 17]
    l1 = 0.25 * (x - target).abs().sum()
    l1.backward()
    g_l1 = flat(x.grad)

    gradient = draw(rng, 103)
    norm = gradient.norm()
    write("losses", [{
        "x": flat(x), "overflow_weight": weight, "overflow": overflow.item(), "g_overflow": g_overflow,
        "target": flat(target), "l1_weight": 0.25, "l1": l1.item(), "g_l1": g_l1,
        "gradient": flat(gradient), "epsilon": 1e-8, "norm": norm.item(),
        "normalized": flat(gradient / (norm + 1e-8)),
    }])


if __name__ == "__main__":
    for make in (nca_step, rollout, rgb, adam, conv2d, avg_pool2, max_pool2, losses):
        make()
