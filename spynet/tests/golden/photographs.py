"""Renders pairs of frames with known flow from photographs, to compare estimators on what nobody trained on.

    pip install numpy pillow scipy scikit-image scikit-learn matplotlib
    python photographs.py DIR [PAIRS]    (16 pairs a folder if not told otherwise)
    cargo xtask flow-eval --data DIR --data-only

The photographs are those that scikit-image, scikit-learn and matplotlib come with. Pieces of them, smooth outlines now and
then with a hole, lie over another one; each moves by an affine map of its own, besides what the background shifts by. Both
frames are interpolated from the photograph where the map leads, so neither is the other one warped.
"""

import pathlib
import sys

import matplotlib
import numpy as np
import skimage
import sklearn
from PIL import Image
from scipy.ndimage import map_coordinates

HEIGHT, WIDTH = 384, 512
PHOTOGRAPHS = {
    (skimage, "data"): "coffee.png camera.png astronaut.png gravel.png brick.png motorcycle_left.png grass.png "
    "rocket.jpg chelsea.png retina.jpg coins.png",
    (sklearn, "datasets/images"): "flower.jpg china.jpg",
    (matplotlib, "mpl-data/sample_data"): "grace_hopper.jpg",
}
# Pixels by which the background shifts, and pieces beyond that; radians they turn by, which is also what they grow by;
# number of pieces. Shifts, angles and growth are normal, with these standard deviations.
FOLDERS = {
    "slow": (1.5, 2.6, 0.004, 9),
    "medium": (3.2, 3.6, 0.006, 10),
    "pieces": (3.6, 5.0, 0.006, 16),
}


def photographs():
    """All photographs, a little larger than a frame or more, `[H,W,3]` from 0 to 1."""
    for (package, folder), names in PHOTOGRAPHS.items():
        for name in names.split():
            picture = Image.open(pathlib.Path(package.__file__).parent / folder / name).convert("RGB")
            scale = max(560 / picture.width, 430 / picture.height, 1.0)
            scale = min(scale, max(900 / picture.width, 430 / picture.height))
            size = [round(side * scale) for side in picture.size]
            yield np.asarray(picture.resize(size, Image.LANCZOS), np.float64) / 255


class Layer:
    """A photograph, all of it or a piece, and how it moves about its centre."""

    def __init__(self, random, pictures, piece, shift, turn):
        self.picture = pictures[random.integers(len(pictures))]
        room = np.array(self.picture.shape[1::-1]) - [WIDTH, HEIGHT]
        self.origin = random.uniform(size=2) * np.maximum(room, 0)
        angle, scale = turn * random.normal(), np.exp(turn * random.normal())
        self.map = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        direction = random.uniform(0, 2 * np.pi)
        self.shift = shift * abs(random.normal()) * np.array([np.cos(direction), np.sin(direction)])
        self.centre = random.uniform([0, 0], [WIDTH, HEIGHT]) if piece else np.array([WIDTH, HEIGHT]) / 2
        self.radius = random.uniform(25, 90) if piece else None
        waves = random.integers(3, 7)
        self.phases = random.uniform(0, 2 * np.pi, waves)
        self.waves = random.uniform(0, 0.45, waves) / np.sqrt(np.arange(1, waves + 1))
        self.hole = random.random() < 0.3

    def cover(self, at):
        """How much of the pixels at `at`, `[2,H,W]` in the first frame, the layer covers."""
        if self.radius is None:
            return np.ones(at.shape[1:])
        x, y = at - self.centre[:, None, None]
        angle, distance = np.arctan2(y, x), np.hypot(x, y)
        outline = 1 + sum(w * np.cos((k + 1) * angle + p) for k, (w, p) in enumerate(zip(self.waves, self.phases)))
        cover = np.clip(self.radius * outline - distance + 0.5, 0, 1)
        if self.hole:
            cover *= np.clip(distance - 0.35 * self.radius * outline + 0.5, 0, 1)
        return cover

    def colour(self, at):
        x, y = at + self.origin[:, None, None]
        planes = [map_coordinates(self.picture[..., c], [y, x], order=3, mode="mirror") for c in range(3)]
        return np.stack(planes, -1)

    def apply(self, matrix, at):
        return np.tensordot(matrix, at, 1)

    def goal(self, at):
        """Where what is at `at` in the first frame is in the second."""
        centre = self.centre[:, None, None]
        return self.apply(self.map, at - centre) + centre + self.shift[:, None, None]

    def source(self, at):
        """The inverse of `goal`."""
        centre = self.centre[:, None, None]
        return self.apply(np.linalg.inv(self.map), at - centre - self.shift[:, None, None]) + centre


def pair(random, pictures, background, pieces, turn, count):
    """Two frames `[H,W,3]` and the flow `[2,H,W]`."""
    layers = [Layer(random, pictures, False, background, turn)]
    layers += [Layer(random, pictures, True, pieces, 1.5 * turn) for _ in range(count)]
    for layer in layers[1:]:
        layer.shift = layer.shift + layers[0].shift
    here = np.mgrid[0:HEIGHT, 0:WIDTH][::-1].astype(np.float64)
    frames, flow = np.zeros((2, HEIGHT, WIDTH, 3)), np.zeros((2, HEIGHT, WIDTH))
    for layer in layers:
        for frame, at in zip(frames, (here, layer.source(here))):
            cover = layer.cover(at)[..., None]
            frame += cover * (layer.colour(at) - frame)
        front = layer.cover(here) > 0.5
        flow[:, front] = (layer.goal(here) - here)[:, front]
    return frames, flow


def main():
    out, pairs = pathlib.Path(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 16
    pictures = list(photographs())
    for number, (folder, settings) in enumerate(FOLDERS.items()):
        (out / folder).mkdir(parents=True, exist_ok=True)
        for index in range(pairs):
            frames, flow = pair(np.random.default_rng([number, index]), pictures, *settings)
            for which, frame in enumerate(frames, 1):
                pixels = np.round(255 * np.clip(frame, 0, 1)).astype(np.uint8)
                Image.fromarray(pixels).save(out / folder / f"{index:05}_img{which}.png")
            header = np.array([WIDTH, HEIGHT], "<i4").tobytes()
            flo = b"PIEH" + header + flow.transpose(1, 2, 0).astype("<f4").tobytes()
            (out / folder / f"{index:05}_flow.flo").write_bytes(flo)


if __name__ == "__main__":
    main()
