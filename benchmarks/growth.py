"""Time against problem size for the main families, convx beside its peers: `compare.py --plot`."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec

import numpy as np
from measuring import timed
from sides import opencv_filter

import convx


def filters(side):
    from scipy import ndimage

    rng = np.random.default_rng(1)
    x, w = rng.random((side, side), np.float32), rng.random((9, 9), np.float32)
    return {"convx": lambda: convx.correlate(x, w, "same"), **opencv_filter(x, w),
            "ndimage": lambda: ndimage.correlate(x, w, mode="constant")}


def kernels(k):
    from scipy import signal

    rng = np.random.default_rng(1)
    x, w = rng.random((1024, 1024), np.float32), rng.random((k, k), np.float32)
    return {"convx": lambda: convx.correlate(x, w, "same"), **opencv_filter(x, w),
            "oaconvolve": lambda: signal.oaconvolve(x, w, "same"),
            "fftconvolve": lambda: signal.fftconvolve(x, w, "same")}


def layers(side):
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((1, 64, side, side), (64, 64, 3, 3)))
    calls: dict[str, Callable] = {"convx": lambda: convx.conv2d(x, w, padding="same")}
    if find_spec("torch"):
        import torch

        for name, order in (("torch NCHW", torch.contiguous_format), ("torch NHWC", torch.channels_last)):
            a, b = (torch.from_numpy(z).clone(memory_format=order) for z in (x, w))
            calls[name] = lambda a=a, b=b: torch.nn.functional.conv2d(a, b, padding=1)
    return calls


def signals(length):
    from scipy import signal

    rng = np.random.default_rng(1)
    x, w = rng.random(length, np.float32), rng.random(129, np.float32)
    return {"convx": lambda: convx.convolve(x, w, "same"), "numpy": lambda: np.convolve(x, w, "same"),
            "oaconvolve": lambda: signal.oaconvolve(x, w, "same")}


FAMILIES = {  # title, what grows, its values
    "filter 9x9 on a square picture": (filters, "side", (64, 128, 256, 512, 1024, 2048, 4096)),
    "filter k x k on 1024x1024": (kernels, "k", (3, 5, 9, 15, 31, 63, 127, 255)),
    "layer 64 x 64x3x3": (layers, "side", (7, 14, 28, 56, 112, 224)),
    "129 taps on a signal": (signals, "samples", (1000, 10_000, 100_000, 1_000_000, 10_000_000)),
}


def curves(rounds: int, quick: bool) -> list[dict]:
    """For each family the best seconds of every side at every size."""
    found = []
    for title, (make, unit, sizes) in FAMILIES.items():
        points: dict[str, list] = {}
        for size in sizes[:3] if quick else sizes:
            for name, seconds in timed(make(size), rounds).items():
                points.setdefault(name, []).append((size, min(seconds)))
        found.append({"title": title, "unit": unit, "points": points})
    return found


def draw(families: list[dict], path: str, caption: str) -> None:
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, places = pyplot.subplots(2, 2, figsize=(11, 8), layout="constrained")
    for family, place in zip(families, places.flat, strict=True):
        for name, points in family["points"].items():
            sizes, seconds = zip(*points, strict=True)
            mine = name == "convx"
            place.loglog(sizes, np.array(seconds) * 1e3, label=name, marker="o", markersize=3,
                         linewidth=2.2 if mine else 1.2, color="black" if mine else None)
        place.set(title=family["title"], xlabel=family["unit"], ylabel="ms")
        place.grid(True, which="major", alpha=0.3)
        place.legend()
    figure.suptitle(caption, fontsize=10)
    figure.savefig(path, dpi=110)
    pyplot.close(figure)
