"""Steps of a neural cellular automaton in JAX, scanned in one compiled program, and the gradient through
many of them. What is computed is said in torch_nca.py."""

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from serve import Unavailable, Work

KERNELS = 4
# The cheapest random numbers that XLA has.
GENERATOR = "unsafe_rbg"


def stencils(x, down, across):
    """The four filters on a torus, sums of rows shared."""
    above, below = jnp.roll(x, 1, down), jnp.roll(x, -1, down)
    smooth = above + 2 * x + below
    slope = below - above
    left, right = jnp.roll(smooth, 1, across), jnp.roll(smooth, -1, across)
    sobel_x = right - left
    sobel_y = jnp.roll(slope, 1, across) + 2 * slope + jnp.roll(slope, -1, across)
    laplacian = left + 2 * smooth + right - 16 * x
    return x, sobel_x, sobel_y, laplacian


class Rows:
    """Layers as matrix products [BHW,KC] x [KC,D]. State [B,H,W,C]."""

    def __init__(self, w1, b1, w2):
        self.weights = (w1.T, b1, w2.T)

    def state(self, x):
        return np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def back(self, x):
        return np.asarray(x).transpose(0, 3, 1, 2)

    def gradients(self, g1, gb, g2):
        return g1.T, gb, g2.T

    def update(self, x, weights):
        w1, b1, w2 = weights
        z = jnp.concatenate(stencils(x, 1, 2), 3).reshape(-1, w1.shape[0])
        return (jax.nn.relu(z @ w1 + b1) @ w2).reshape(x.shape)

    def mask(self, key, x):
        return jax.random.uniform(key, (*x.shape[:3], 1))


class Planes:
    """Layers as matrix products [D,KC] x [KC,HW]. State [B,C,H,W]."""

    def __init__(self, w1, b1, w2):
        self.weights = (w1, b1[:, None], w2)

    def state(self, x):
        return x

    def back(self, x):
        return np.asarray(x)

    def gradients(self, g1, gb, g2):
        return g1, gb[:, 0], g2

    def update(self, x, weights):
        w1, b1, w2 = weights
        batch, channels, height, width = x.shape
        z = jnp.concatenate(stencils(x, 2, 3), 1).reshape(batch, KERNELS * channels, height * width)
        return jnp.stack([w2 @ jax.nn.relu(w1 @ sample + b1) for sample in z]).reshape(x.shape)

    def mask(self, key, x):
        return jax.random.uniform(key, (x.shape[0], 1, *x.shape[2:]))


class ProjectFirst(Rows):
    """W1 before the filters, which then run on hidden neurons: less work where C > D."""

    def __init__(self, w1, b1, w2):
        hidden, channels = w1.shape[0], w2.shape[0]
        if channels <= hidden:
            raise Unavailable(f"C = {channels} is not above D = {hidden}")
        by_filter = w1.reshape(hidden, KERNELS, channels).transpose(2, 1, 0).reshape(channels, KERNELS * hidden)
        self.weights = (by_filter, b1, w2.T)

    def gradients(self, g1, gb, g2):
        channels, hidden = g1.shape[0], g1.shape[1] // KERNELS
        return g1.reshape(channels, KERNELS, hidden).transpose(2, 1, 0).reshape(hidden, -1), gb, g2.T

    def update(self, x, weights):
        w1, b1, w2 = weights
        batch, height, width, channels = x.shape
        hidden = w1.shape[1] // KERNELS
        u = (x.reshape(-1, channels) @ w1).reshape(batch, height, width, KERNELS, hidden)
        parts = [stencils(u[..., k, :], 1, 2)[k] for k in range(KERNELS)]
        h = jax.nn.relu(sum(parts) + b1)
        return (h.reshape(-1, hidden) @ w2).reshape(x.shape)


def rollout(model, weights, x, rate, key, steps, masked, remat=False):
    def step(x, key):
        dx = model.update(x, weights)
        if masked:
            dx = jnp.where(model.mask(key, x) < rate, dx, 0.0)
        return x + dx, None

    if remat:
        step = jax.checkpoint(step)
    return lax.scan(step, x, jax.random.split(key, steps))[0]


def prepare(formulation, inputs, shape):
    model = formulation(inputs["w1"], inputs["b1"], inputs["w2"])
    weights = tuple(jnp.asarray(weight) for weight in model.weights)
    return model, weights, jnp.asarray(model.state(inputs["x"])), jax.random.key(0, impl=GENERATOR)


def step(formulation):
    def make(inputs, shape):
        model, weights, x0, key = prepare(formulation, inputs, shape)
        run = jax.jit(
            lambda weights, x, rate, key, steps: rollout(model, weights, x, rate, key, steps, shape["masked"]),
            static_argnames="steps",
        )
        return Work(
            check=lambda: {"x": model.back(run(weights, x0, 1.0, key, steps=shape["check_steps"]))},
            run=lambda: run(weights, x0, shape["fire_rate"], key, steps=shape["steps"]).block_until_ready(),
        )

    return make


def train(formulation, remat, by_sample=False):
    """Back through time. `remat` keeps states alone and computes each step again; `by_sample` takes one grid
    after another."""

    def make(inputs, shape):
        if by_sample and shape["batch"] == 1:
            raise Unavailable("there is one grid only")
        model, weights, x0, key = prepare(formulation, inputs, shape)
        g_last = jnp.asarray(model.state(inputs["g_x"]))

        def loss(weights, x, g_last, rate, key, steps):
            return jnp.vdot(rollout(model, weights, x, rate, key, steps, shape["masked"], remat), g_last)

        gradient = jax.grad(loss, argnums=(0, 1))

        def through(weights, x, g_last, rate, key, steps):
            if not by_sample:
                return gradient(weights, x, g_last, rate, key, steps)

            def one(sums, sample):
                x, g, key = sample
                g_weights, g_x = gradient(weights, x[None], g[None], rate, key, steps)
                return jax.tree.map(jnp.add, sums, g_weights), g_x[0]

            zeros = jax.tree.map(jnp.zeros_like, weights)
            return lax.scan(one, zeros, (x, g_last, jax.random.split(key, x.shape[0])))

        through = jax.jit(through, static_argnames="steps")

        def run(steps, rate):
            return jax.block_until_ready(through(weights, x0, g_last, rate, key, steps=steps))

        def check():
            g_weights, g_x = run(shape["check_steps"], 1.0)
            w1, b1, w2 = model.gradients(*(np.asarray(g) for g in g_weights))
            return {"w1": w1, "b1": b1, "w2": w2, "x": model.back(g_x)}

        return Work(check, lambda: run(shape["steps"], shape["fire_rate"]))

    return make


FORMS = {"rows": Rows, "planes": Planes, "project first": ProjectFirst}
STEP = {name: step(form) for name, form in FORMS.items()}
TRAIN = {
    **{name: train(form, remat=False) for name, form in FORMS.items()},
    **{f"{name}, checkpoints": train(form, remat=True) for name, form in FORMS.items()},
    **{f"{name}, checkpoints, by grid": train(form, remat=True, by_sample=True) for name, form in FORMS.items()},
}
