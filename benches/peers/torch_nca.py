"""Steps of a neural cellular automaton in PyTorch, and the gradient through many of them.

Every formulation computes x + mask * (W2 relu(W1 perceive(x) + b1)) with the filters identity, Sobel-x,
Sobel-y and the nine-point Laplacian on a torus. They differ in layout and order, and in what is done about
cells at rest: most compute the update of every cell and mask it, `Gather` takes the rows of the others.
"""

import torch
import torch.nn.functional as F

from serve import EXACT, Unavailable, Work, in_f64
from torch_device import on_device

# Identity, Sobel-x, Sobel-y, Laplacian.
FILTERS = torch.tensor(
    [
        [[0, 0, 0], [0, 1, 0], [0, 0, 0]],
        [[-1, 0, 1], [-2, 0, 2], [-1, 0, 1]],
        [[-1, -2, -1], [0, 0, 0], [1, 2, 1]],
        [[1, 2, 1], [2, -12, 2], [1, 2, 1]],
    ],
    dtype=torch.float32,
)
KERNELS = 4


def stencils(padded, dims):
    """The four filters of a padded state along two dimensions, by slices, sums of rows shared."""
    down, across = dims

    def window(x, dim, start, length):
        return x.narrow(dim, start, length)

    height, width = padded.shape[down] - 2, padded.shape[across] - 2
    above, centre, below = (window(padded, down, i, height) for i in range(3))
    smooth = above + 2 * centre + below
    slope = below - above
    left, middle, right = (window(smooth, across, i, width) for i in range(3))
    identity = window(centre, across, 1, width)
    sobel_x = right - left
    sobel_y = window(slope, across, 0, width) + 2 * window(slope, across, 1, width) + window(slope, across, 2, width)
    # [1 2 1; 2 4 2; 1 2 1] without its centre's 16.
    laplacian = left + 2 * middle + right - 16 * identity
    return identity, sobel_x, sobel_y, laplacian


def wrap(x, dims):
    """Pads by one cell on every side, as on a torus."""
    for dim in dims:
        last = x.shape[dim] - 1
        x = torch.cat([x.narrow(dim, last, 1), x, x.narrow(dim, 0, 1)], dim)
    return x


class AsWritten:
    """The usual module: a depthwise convolution with circular padding, two 1x1 convolutions, a random
    mask. State [B,C,H,W]."""

    memory_format = torch.contiguous_format

    def __init__(self, w1, b1, w2):
        channels = w2.shape[0]
        # A depthwise convolution puts the filters of a channel side by side.
        by_channel = w1.reshape(-1, KERNELS, channels).transpose(1, 2).reshape(w1.shape)
        self.weights = (
            by_channel[:, :, None, None].contiguous(memory_format=self.memory_format),
            b1,
            w2[:, :, None, None].contiguous(memory_format=self.memory_format),
        )
        self.filters = FILTERS[:, None].repeat(channels, 1, 1, 1)

    def compiled(self):
        """The step, compiled."""
        return torch.compile(self.step, dynamic=False)

    def state(self, x):
        return x.contiguous(memory_format=self.memory_format)

    def back(self, x):
        return x

    def gradients(self, g1, gb, g2):
        channels = g2.shape[0]
        g1 = g1[:, :, 0, 0].reshape(-1, channels, KERNELS).transpose(1, 2).reshape(g1.shape[0], -1)
        return g1, gb, g2[:, :, 0, 0]

    def step(self, x, weights, rate):
        w1, b1, w2 = weights
        z = F.conv2d(F.pad(x, (1, 1, 1, 1), "circular"), self.filters, groups=x.shape[1])
        dx = F.conv2d(F.relu(F.conv2d(z, w1, b1)), w2)
        if rate is None:
            return x + dx
        mask = (torch.rand_like(x[:, :1]) < rate).to(x.dtype)
        return x + dx * mask


class ChannelsLast(AsWritten):
    """The same in the layout in which a 1x1 convolution is a plain matrix product."""

    memory_format = torch.channels_last


class Planes:
    """Filters by slices, layers as matrix products [D,KC] x [KC,HW]. State [B,C,H,W]."""

    compiled = AsWritten.compiled

    def __init__(self, w1, b1, w2):
        self.weights = (w1, b1[:, None], w2)

    def state(self, x):
        return x

    def back(self, x):
        return x

    def gradients(self, g1, gb, g2):
        return g1, gb[:, 0], g2

    def step(self, x, weights, rate):
        w1, b1, w2 = weights
        batch, channels, height, width = x.shape
        z = torch.cat(stencils(wrap(x, (2, 3)), (2, 3)), 1).reshape(batch, KERNELS * channels, height * width)
        # One product for each sample, with a bias that is added on the way.
        dx = [torch.mm(w2, torch.addmm(b1, w1, sample).relu_()) for sample in z]
        dx = torch.stack(dx).reshape(x.shape)
        if rate is None:
            return x + dx
        mask = (torch.rand(batch, 1, height, width, device=x.device) < rate).to(x.dtype)
        return torch.addcmul(x, dx, mask)


class Rows:
    """Filters by slices, layers as matrix products [BHW,KC] x [KC,D]. State [B,H,W,C]."""

    compiled = AsWritten.compiled

    def __init__(self, w1, b1, w2):
        self.weights = (w1.t().contiguous(), b1, w2.t().contiguous())

    def state(self, x):
        return x.permute(0, 2, 3, 1).contiguous()

    def back(self, x):
        return x.permute(0, 3, 1, 2)

    def gradients(self, g1, gb, g2):
        return g1.t(), gb, g2.t()

    def perceive(self, x):
        """Perception vectors [BHW,KC]."""
        return torch.cat(stencils(wrap(x, (1, 2)), (1, 2)), 3).reshape(-1, KERNELS * x.shape[3])

    def step(self, x, weights, rate):
        w1, b1, w2 = weights
        dx = torch.mm(torch.addmm(b1, self.perceive(x), w1).relu_(), w2).reshape(x.shape)
        if rate is None:
            return x + dx
        mask = (torch.rand(*x.shape[:3], 1, device=x.device) < rate).to(x.dtype)
        return torch.addcmul(x, dx, mask)


class Gather(Rows):
    """`Rows` of which only those of cells that update are multiplied. How many these are is another number in every
    step, so only the filters can be compiled."""

    def compiled(self):
        self.perceive = torch.compile(self.perceive, dynamic=False)
        return self.step

    def step(self, x, weights, rate):
        w1, b1, w2 = weights
        z = self.perceive(x)
        active = (torch.rand(z.shape[0], device=x.device) < rate).nonzero()[:, 0]
        dx = torch.mm(torch.addmm(b1, z.index_select(0, active), w1).relu_(), w2)
        return x.reshape(-1, x.shape[3]).index_add(0, active, dx).reshape(x.shape)


class ProjectFirst(Rows):
    """W1 before the filters, which then run on hidden neurons: less work where C > D."""

    def __init__(self, w1, b1, w2):
        hidden, channels = w1.shape[0], w2.shape[0]
        if channels <= hidden:
            raise Unavailable(f"C = {channels} is not above D = {hidden}")
        by_filter = w1.reshape(hidden, KERNELS, channels).permute(2, 1, 0).reshape(channels, KERNELS * hidden)
        self.weights = (by_filter.contiguous(), b1, w2.t().contiguous())

    def gradients(self, g1, gb, g2):
        channels, hidden = g1.shape[0], g1.shape[1] // KERNELS
        return g1.reshape(channels, KERNELS, hidden).permute(2, 1, 0).reshape(hidden, -1), gb, g2.t()

    def step(self, x, weights, rate):
        w1, b1, w2 = weights
        batch, height, width, channels = x.shape
        hidden = w1.shape[1] // KERNELS
        u = torch.mm(x.reshape(-1, channels), w1).reshape(batch, height, width, KERNELS, hidden)
        identity = u[..., 0, :]
        padded = [wrap(u[..., k, :], (1, 2)) for k in range(1, KERNELS)]
        sobel_x = stencils(padded[0], (1, 2))[1]
        sobel_y = stencils(padded[1], (1, 2))[2]
        laplacian = stencils(padded[2], (1, 2))[3]
        h = (identity + sobel_x + sobel_y + laplacian + b1).relu_()
        dx = torch.mm(h.reshape(-1, hidden), w2).reshape(x.shape)
        if rate is None:
            return x + dx
        mask = (torch.rand(batch, height, width, 1, device=x.device) < rate).to(x.dtype)
        return torch.addcmul(x, dx, mask)


def prepare(formulation, inputs, shape, compiled):
    """The formulation with its weights, its step, the initial state and the rate (None: every cell)."""
    tensors = {name: on_device(array) for name, array in inputs.items()}
    if formulation is Gather and not shape["masked"]:
        raise Unavailable("every cell updates")
    model = formulation(tensors["w1"], tensors["b1"], tensors["w2"])
    step = model.compiled() if compiled else model.step
    rate = torch.tensor(shape["fire_rate"]) if shape["masked"] else None
    return tensors, model, step, model.state(tensors["x"]), rate


# A mask of every cell: computed as any mask is, and comparable.
EVERY = torch.tensor(1.0)


def step(formulation, compiled=False):
    def make(inputs, shape):
        _, model, step, x0, rate = prepare(formulation, inputs, shape, compiled)

        @torch.no_grad()
        def rollout(steps, rate):
            x = x0
            for _ in range(steps):
                x = step(x, model.weights, rate)
            return x

        every = None if rate is None else EVERY
        return Work(
            check=lambda: {"x": model.back(rollout(shape["check_steps"], every)).numpy()},
            run=lambda: rollout(shape["steps"], rate),
        )

    return make


def train(formulation, compiled=False, by_sample=False):
    """Back through time. `by_sample` takes one grid after another: less memory at a time."""

    def make(inputs, shape):
        if by_sample and shape["batch"] == 1:
            raise Unavailable("there is one grid only")
        tensors, model, step, x0, rate = prepare(formulation, inputs, shape, compiled)
        g_last = model.state(tensors["g_x"])
        weights = [weight.requires_grad_() for weight in model.weights]
        parts = [slice(b, b + 1) for b in range(shape["batch"])] if by_sample else [slice(None)]

        def through(steps, rate):
            for weight in weights:
                weight.grad = None
            states = []
            for part in parts:
                first = x = x0[part].detach().requires_grad_()
                for _ in range(steps):
                    x = step(x, weights, rate)
                x.backward(g_last[part])
                states.append(first.grad)
            return states

        def check():
            states = through(shape["check_steps"], None if rate is None else EVERY)
            w1, b1, w2 = model.gradients(*(weight.grad for weight in weights))
            return {
                "w1": w1.numpy(),
                "b1": b1.numpy(),
                "w2": w2.numpy(),
                "x": model.back(torch.cat(states)).numpy(),
            }

        return Work(check, lambda: through(shape["steps"], rate))

    return make


FORMS = {
    "channels-last": ChannelsLast,
    "planes": Planes,
    "rows": Rows,
    "gathered rows": Gather,
    "project first": ProjectFirst,
}
# A convolution stays what it is.
COMPILED = {f"compiled {name}": form for name, form in FORMS.items() if form is not ChannelsLast}
STEP = {
    "as written": step(AsWritten),
    **{name: step(form) for name, form in FORMS.items()},
    **{name: step(form, compiled=True) for name, form in COMPILED.items()},
}
TRAIN = {
    "as written": train(AsWritten),
    **{name: train(form) for name, form in FORMS.items()},
    **{f"{name}, by grid": train(form, by_sample=True) for name, form in FORMS.items()},
    **{name: train(form, compiled=True) for name, form in COMPILED.items()},
    **{f"{name}, by grid": train(form, compiled=True, by_sample=True) for name, form in COMPILED.items()},
    EXACT: in_f64(train(Planes)),
}
