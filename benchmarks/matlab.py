"""convx.matlab against GNU Octave, and against convx.convolve: python benchmarks/matlab.py [--quick]

conv2, filter2, convn, imfilter ('replicate') on 1024 x 1024 with 3, 9, 15, 31 taps a side, convn on 128^3 with 3, 5, 9;
single, double and uint8. One process of Octave (octave-cli with the package image) takes turns with convx, times its
own calls with tic and toc, and has the same arrays: sums of the results are compared before anything is timed. The last
column is the work of the MATLAB function done with convx.convolve: the same classes, boundary and conversions by hand,
sums in double where MATLAB's are. As in compare.py, a sample of each side is calls of 4 ms, or one, and one that is not
timed precedes it.

Ratios compare the minima of the rounds, seven or more. Aims: ten times the speed of Octave, no more than 1.2 times
convx.convolve. Without Octave only the last column is measured.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
from functools import partial
from math import exp, log
from time import perf_counter

import numpy as np

import convx
from convx import matlab

CLASSES = {"single": np.float32, "double": np.float64, "uint8": np.uint8}
SIDES, VOLUME = {2: 1024, 3: 128}, (3, 5, 9)
SAMPLE, AT_LEAST = 0.004, 0.5  # seconds of a sample: as many calls as that takes; of all rounds: as many as that takes
COMMANDS = {"conv2": "conv2(A, K, 'same')", "filter2": "filter2(K, A)", "convn": "convn(A, K, 'same')",
            "imfilter": "imfilter(A, K, 'replicate')"}


class Octave:
    """One process that is sent lines and answers with a number to each."""

    def __init__(self):
        self.process = subprocess.Popen(["octave-cli", "--quiet", "--norc"], stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, text=True, bufsize=1)
        self.number("pkg load image; printf('%d\\n', 1);")

    def number(self, line: str) -> float:
        self.process.stdin.write(line + " fflush(stdout);\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"Octave has ended at: {line}")
        return float(answer)

    def seconds(self, command: str, calls: int) -> float:
        return self.number(f"C = {command}; t = tic; for i = 1:{calls} C = {command}; end; "
                           f"printf('%.9g\\n', toc(t) / {calls});")


def _formula(size: int, factors, rank: int) -> str:
    """Octave's text for the sum of factor * index over the axes, indices from 0."""
    places = ("[{0} 1]", "[1 {0}]", "[1 1 {0}]")[:rank]
    return " + ".join(f"{factor} * reshape(0:{size - 1}, {place.format(size)})"
                      for factor, place in zip(factors, places, strict=False))


def arrays(rank: int, taps: int, name: str):
    """A and K by a formula, and its text for Octave."""
    big, small, size = (7919, 104729, 1299709), (3, 5, 2), SIDES[rank]

    def drawn(count, factors):
        return sum(factor * index for factor, index in zip(factors, np.ogrid[(slice(count),) * rank], strict=False))

    x, w = (drawn(size, big) % 251).astype(CLASSES[name]), 1.0 + drawn(taps, small) % 7
    text = f"A = {name}(mod({_formula(size, big, rank)}, 251)); K = 1 + mod({_formula(taps, small, rank)}, 7);"
    return x, w / w.sum(), text + " K = K / sum(K(:));"


def by_hand(function: str, x, w):
    """The work of a MATLAB function with convx.convolve; imfilter sums singles in double."""
    wide = np.float32 if x.dtype == np.float32 and function != "imfilter" else np.float64
    a, v = x.astype(wide, copy=False), (w if function.startswith("conv") else w[::-1, ::-1]).astype(wide, copy=False)
    if function != "imfilter":
        return convx.convolve(a, v, "same", alignment="matlab", algorithm="sums")
    y = convx.convolve(a, v, "same", boundary="edge", algorithm="sums")
    return y.astype(x.dtype, copy=False) if x.dtype.kind == "f" else (y + 0.5).clip(0, 255).astype(x.dtype)


def call(function: str, x, w):
    """The function of convx.matlab with its arguments."""
    last = {"conv2": ("same",), "convn": ("same",), "filter2": (), "imfilter": ("replicate",)}[function]
    return partial(getattr(matlab, function), *((w, x) if function == "filter2" else (x, w)), *last)


def seconds(function, calls: int) -> float:
    function()
    start = perf_counter()
    for _ in range(calls):
        function()
    return (perf_counter() - start) / calls


def measure(octave, function, rank, taps, name, rounds):
    """(convx.matlab, Octave or None, convx.convolve): smallest seconds."""
    x, w, text = arrays(rank, taps, name)
    ours, hand = call(function, x, w), lambda: by_hand(function, x, w)
    y = ours()
    assert y.dtype == hand().dtype and np.allclose(y, hand(), rtol=1e-4, atol=1)
    if octave:
        total = octave.number(f"{text} C = {COMMANDS[function]}; printf('%.17g\\n', sum(double(C(:))));")
        assert abs(total - y.sum(dtype=float)) <= 1e-6 * abs(total), (function, rank, taps, name, total, y.sum())
    sides = [partial(seconds, ours), octave and partial(octave.seconds, COMMANDS[function]), partial(seconds, hand)]
    calls = [max(1, round(SAMPLE / max(side(1), 1e-6))) if side else 1 for side in sides]
    samples, start = [], perf_counter()
    while len(samples) < rounds or (rounds > 1 and perf_counter() - start < AT_LEAST):
        samples.append([side and side(n) for side, n in zip(sides, calls, strict=True)])
    return [min(column) if column[0] is not None else None for column in zip(*samples, strict=True)]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="two sizes of kernels, one round: does it work?")
    quick = parser.parse_args().quick
    octave = Octave() if shutil.which("octave-cli") else None
    rounds = 1 if quick else 7
    cases = [(function, 2, taps, name) for function in COMMANDS for name in CLASSES
             for taps in ((3, 9) if quick else (3, 9, 15, 31))]
    cases += [("convn", 3, taps, name) for name in CLASSES for taps in (VOLUME[:1] if quick else VOLUME)]
    print(f"convx {convx.__version__}, {convx.get_num_threads()} threads; "
          f"{'Octave takes turns' if octave else 'no Octave here'}; milliseconds")
    row = "{:<10} {:<8} {:>9} {:>7} {:>9} {:>9} {:>9} {:>14}".format
    print(row("function", "class", "size", "taps", "convx", "Octave", "ratio", "over convolve"))
    faster, over = [], []
    for function, rank, taps, name in cases:
        ours, theirs, hand = measure(octave, function, rank, taps, name, rounds)
        faster += [theirs / ours] if theirs else []
        over.append(ours / hand)
        beside = (f"{1e3 * theirs:.1f}", f"{theirs / ours:.1f}") if theirs else ("", "")
        print(row(function, name, f"{SIDES[rank]}^{rank}", taps, f"{1e3 * ours:.2f}", *beside, f"{ours / hand:.2f}"),
              flush=True)
    for what, ratios in (("Octave / convx.matlab", faster), ("convx.matlab / convx.convolve", over)):
        if ratios:
            print(f"{what}: geometric mean {exp(sum(map(log, ratios)) / len(ratios)):.2f}, "
                  f"from {min(ratios):.2f} to {max(ratios):.2f}")


if __name__ == "__main__":
    main()
