"""Asks estimators by others how strongly automata move, and how far all agree on which move more.

    pip install numpy scipy pillow opencv-contrib-python-headless
    python agreement.py MODEL.safetensors ... [-- XTASK ...]    (what runs xtask: `cargo xtask` if not told otherwise)

Each automaton is rendered by `xtask render`, measured by `xtask measure` with the flow network and with the classical
estimator, and its frames are given to the estimators of OpenCV, in 256 levels of grey. Prints Ψ of each automaton by each
estimator in pixels, Spearman's rank correlations, and how far each estimator is from the median of the five others on
average, as Markdown.
"""

import itertools
import json
import pathlib
import subprocess
import sys
import tempfile

import cv2
import numpy as np
from PIL import Image
from scipy.stats import spearmanr

PAIRS, EVERY, WARMUP = 12, 32, 1024
# Slow, usual and fast automata, by the median of all estimators but the network, in pixels.
BANDS = [-1, 0.1, 2, np.inf]


def others():
    """Estimators by name: two frames of grey in, flow `[H,W,2]` out."""
    dis = cv2.DISOpticalFlow_create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    tvl1 = cv2.optflow.createOptFlow_DualTVL1()
    deep = cv2.optflow.createOptFlow_DeepFlow()
    return {
        "DIS": lambda a, b: dis.calc(a, b, None),
        "Farnebäck": lambda a, b: cv2.calcOpticalFlowFarneback(a, b, None, 0.5, 4, 15, 5, 7, 1.5, 0),
        "TV-L1": lambda a, b: tvl1.calc(a, b, None),
        "DeepFlow": lambda a, b: deep.calc(a, b, None),
    }


def measured(xtask, model, flow):
    """Ψ by this project."""
    flags = f"--frames {PAIRS} --steps-per-frame {EVERY} --warmup {WARMUP} --size 128 --json --flow {flow}".split()
    out = subprocess.run([*xtask, "measure", "--model", model, *flags], check=True, stdout=subprocess.PIPE)
    return json.loads(out.stdout)["psi"]


def frames(xtask, model):
    """The same automaton's frames, `[H,W]` in 256 levels."""
    with tempfile.TemporaryDirectory() as folder:
        steps = str(WARMUP + PAIRS * EVERY)
        flags = ["--steps", steps, "--every", str(EVERY), "--size", "128", "--out", folder]
        subprocess.run([*xtask, "render", "--model", model, *flags], check=True, stdout=subprocess.PIPE)
        pictures = sorted(pathlib.Path(folder).glob("*.png"))[-PAIRS - 1 :]
        assert len(pictures) == PAIRS + 1, "too few frames"
        return [np.asarray(Image.open(picture).convert("L")) for picture in pictures]


def main():
    arguments = sys.argv[1:]
    split = arguments.index("--") if "--" in arguments else len(arguments)
    models, xtask = arguments[:split], arguments[split + 1 :] or ["cargo", "xtask"]
    if not models:
        sys.exit(__doc__)
    columns = {"network": [], "classical": []} | {name: [] for name in others()}
    for number, model in enumerate(models, 1):
        print(f"{number} of {len(models)}", file=sys.stderr)
        columns["network"].append(measured(xtask, model, "spynet"))
        columns["classical"].append(measured(xtask, model, "classical"))
        pictures = frames(xtask, model)
        for name, flow in others().items():
            lengths = [np.linalg.norm(flow(a, b), axis=2).mean() for a, b in itertools.pairwise(pictures)]
            columns[name].append(float(np.mean(lengths)))
    names = list(columns)
    print(f"| automaton | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for row in np.argsort(columns["network"]):
        values = " | ".join(f"{columns[name][row]:.3f}" for name in names)
        print(f"| {models[row]} | {values} |")
    print(f"\n| rank correlation | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    for a in names:
        values = " | ".join(f"{spearmanr(columns[a], columns[b]).statistic:.3f}" for b in names)
        print(f"| {a} | {values} |")
    print(f"\n| automata | {' | '.join(names)} |\n|---|{'---|' * len(names)}")
    psi = np.array([columns[name] for name in names])
    usual = np.median(psi[1:], axis=0)
    for low, high in itertools.pairwise(BANDS):
        band = psi[:, (usual > low) & (usual <= high)]
        if band.size:
            rest = [np.median(np.delete(band, k, 0), axis=0) for k in range(len(names))]
            values = " | ".join(f"{100 * np.mean(np.abs(one / median - 1)):.0f} %" for one, median in zip(band, rest))
            print(f"| {band.shape[1]} of {max(low, 0)} to {high} px | {values} |")


main()
