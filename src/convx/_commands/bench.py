"""``convx bench`` (floor 9): a quick look beside the libraries found here; benchmarks/compare.py is the full one."""

from __future__ import annotations

from importlib.util import find_spec
from time import perf_counter

import numpy as np

import convx

from ._files import Failure


def add(commands) -> None:
    parser = commands.add_parser(
        "bench", help="time some filters and layers beside the libraries found here",
        description="Times a few jobs in float32 with convx and with those of SciPy, OpenCV and PyTorch that are "
                    "installed, in turns, compares the results, and prints the best times. Close other programs first.")
    parser.add_argument("--rounds", type=int, default=7, help="calls of each side (default: 7)")
    parser.set_defaults(run=run)


def jobs(rng):
    """name, convx's call, and for each peer a function that makes its call from the modules."""
    image, signal = rng.random((1024, 1024), np.float32), rng.random(1_000_000, np.float32)
    layer, w = rng.random((1, 64, 56, 56), np.float32), rng.random((64, 64, 3, 3), np.float32)
    for k in (3, 9, 31):
        v = rng.random((k, k), np.float32)
        yield (f"filter {k}x{k} on 1024x1024", lambda v=v: convx.correlate(image, v, "same"),
               {"scipy.ndimage": lambda m, v=v: lambda: m["scipy.ndimage"].correlate(image, v, mode="constant"),
                "scipy.signal": lambda m, v=v: lambda: m["scipy.signal"].correlate(image, v, "same"),
                "cv2": lambda m, v=v: lambda: m["cv2"].filter2D(image, -1, v, borderType=m["cv2"].BORDER_CONSTANT)})
    taps = rng.random(129, np.float32)
    yield ("129 taps on 1000000 samples", lambda: convx.convolve(signal, taps),
           {"scipy.signal": lambda m: lambda: m["scipy.signal"].oaconvolve(signal, taps),
            "numpy": lambda m: lambda: np.convolve(signal, taps)})
    yield ("layer 64 x 64x3x3 on 56x56", lambda: convx.conv2d(layer, w, padding=1),
           {"torch": lambda m: torch_layer(m["torch"], layer, w)})


def torch_layer(torch, x, w):
    a, b = torch.from_numpy(x), torch.from_numpy(w)

    def call():
        with torch.no_grad():
            return torch.nn.functional.conv2d(a, b, padding=1).numpy()
    return call


def modules() -> dict:
    """The peers found here by name."""
    from importlib import import_module

    found = {name: import_module(name) for name in ("numpy", "scipy.signal", "scipy.ndimage", "cv2", "torch")
             if find_spec(name)}
    if "cv2" in found:
        found["cv2"].setNumThreads(convx.get_num_threads())
    if "torch" in found:
        found["torch"].set_num_threads(convx.get_num_threads())
    return found


def run(options) -> None:
    if options.rounds < 1:
        raise Failure(f"--rounds {options.rounds}: it must be above 0")
    found = modules()
    print(f"{'job':<30}{'convx':>10}   others, ms (times slower than convx)")
    for name, ours, peers in jobs(np.random.default_rng(0)):
        calls = {"convx": ours} | {peer: make(found) for peer, make in peers.items() if peer in found}
        reference = calls["convx"]()
        for peer, call in calls.items():
            difference = abs(call() - reference).max() / abs(reference).max()
            if not difference < 1e-4:
                raise Failure(f"{name}: {peer} and convx differ by {difference:.1e} of the largest value")
        best = dict.fromkeys(calls, np.inf)
        for _ in range(options.rounds):
            for peer, call in calls.items():
                start = perf_counter()
                call()
                best[peer] = min(best[peer], perf_counter() - start)
        others = "  ".join(f"{peer} {best[peer] * 1e3:.2f} ({best[peer] / best['convx']:.1f}x)"
                           for peer in calls if peer != "convx")
        print(f"{name:<30}{best['convx'] * 1e3:>10.3f}   {others}")
