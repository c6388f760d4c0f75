"""convx.matlab.imfilter on a uint8 image beside Octave's, and beside the same work through convx.convolve.

    python benchmarks/imfilter.py

1024 x 1024, k x k taps of three kinds: any numbers (sums in double), whole numbers (sums exact in float32), and a
Gaussian, which from 17 x 17 taps on runs along columns and then along rows. The same work is the image in double,
`convx.convolve`, and what that gives rounded, cut at 0 and 255, and made uint8 by NumPy. Best of several rounds on the
wall clock, in milliseconds; rounds of the first two are interleaved. Octave (with its image package) is left out where
it is not installed. Figures need a quiet machine; the load is printed first.
"""

import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np

import convx
from convx.matlab import fspecial, imfilter

SIZES = (3, 9, 15, 31)
ROUNDS = 15

OCTAVE = """pkg load image
h = dlmread('{kernel}'); a = uint8(reshape(mod((0:2^20-1) * 7919, 256), 1024, 1024)); best = Inf;
for r = 1:5, t = tic; b = imfilter(a, h); best = min(best, toc(t)); end
printf('%.9f', best)
"""


def same_work(a, h):
    y = convx.convolve(a.astype(np.float64), np.flip(h), "same", alignment="matlab")
    np.add(y, 0.5, out=y)
    np.clip(y, 0, 255, out=y)
    return y.astype(np.uint8)


def best_of(*functions):
    times = [[] for _ in functions]
    for _ in range(ROUNDS):
        for function, spent in zip(functions, times, strict=True):
            start = time.perf_counter()
            function()
            spent.append(time.perf_counter() - start)
    return [min(spent) * 1e3 for spent in times]


def octaves(h):
    """Milliseconds of Octave's imfilter, or None without it."""
    if shutil.which("octave") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        kernel, script = Path(folder, "kernel.txt"), Path(folder, "run.m")
        np.savetxt(kernel, h, "%.17g")
        script.write_text(OCTAVE.format(kernel=kernel), encoding="utf-8")
        done = subprocess.run(["octave", "-qf", str(script)], capture_output=True, text=True)
    return float(done.stdout) * 1e3 if done.returncode == 0 else None


def main():
    print(f"load {os.getloadavg()[0]:.2f}, {convx.get_num_threads()} threads")
    a = (np.arange(2**20) * 7919 % 256).astype(np.uint8).reshape(1024, 1024, order="F")
    rng = np.random.default_rng(0)
    print("   k  kernel     imfilter  convolve  ratio   Octave  Octave / imfilter")
    for k in SIZES:
        kernels = {"any": rng.random((k, k)), "whole": rng.integers(-3, 4, (k, k)).astype(float),
                   "gaussian": fspecial("gaussian", k, k / 6)}
        kernels["any"] /= kernels["any"].sum()
        for name, h in kernels.items():
            ours, plain = best_of(lambda h=h: imfilter(a, h), lambda h=h: same_work(a, h))
            theirs = octaves(h)
            row = "" if theirs is None else f"{theirs:9.1f}  {theirs / ours:6.1f}"
            print(f"{k:4}  {name:9}  {ours:8.2f}  {plain:8.2f}  {ours / plain:5.2f}{row}")


if __name__ == "__main__":
    main()
