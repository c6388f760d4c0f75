"""How often auto errs: every solver's time on a grid of problems, and auto's choice beside the best one.

    python benchmarks/crossover.py [--lines] [--threads N] [--seconds 0.03]

The grid has ranks 1 to 3, kernels of 1 to 255 taps, 1 to 512 channels, float32 and float64, NCHW and NHWC: hundreds of
problems of at most some tens of milliseconds. Solvers whose prediction is ten times the smallest are not run. A line of
--lines is: solver measured/predicted in microseconds, the fastest, and by what factor auto's choice is slower.
Target: auto takes on average no more than 1.15 times the best solver's time, and never more than twice.
Run it on an idle machine.
"""

from __future__ import annotations

import argparse
import time
from math import exp, log, prod
from statistics import mean

import numpy as np
from problems_file import letters

import convx

MOST = 2.5e9  # products


def grid():
    """Problem lines without outputs; padding keeps the size, as far as the kernel is odd."""
    for n in (100, 3000, 100_000, 1_000_000):
        yield from (f"n1 g1 c1 m1 i{n} k{k} p{k // 2}" for k in (3, 9, 33, 129, 255) if k < n)
    for n in (500, 20_000):
        yield from (f"n1 g1 c{c} m{c} i{n} k{k} p{k // 2}" for c in (8, 64) for k in (1, 3, 9))
    for side in (16, 64, 256, 1024):
        yield from (f"n1 g1 c1 m1 i{side}x{side} k{k}x{k} p{k // 2}" for k in (3, 5, 9, 15, 31, 63, 127, 255)
                    if k <= side)
    for c, m in ((3, 16), (3, 64), (1, 16), (16, 1), (8, 8), (32, 32), (64, 128), (128, 128), (512, 512), (256, 64)):
        for side in (7, 14, 28, 56, 112):
            yield from (f"n1 g1 c{c} m{m} i{side}x{side} k{k}x{k} p{k // 2}" for k in (1, 3, 5))
        yield f"n1 g1 c{c} m{m} i56x56 k3x3 s2 p1"
        yield f"n1 g1 c{c} m{m} i56x56 k3x3 d2 p2"
    for g, c in ((16, 1), (128, 1), (512, 1), (32, 4), (8, 16)):
        for side in (7, 14, 28, 56, 112):
            yield from (f"n1 g{g} c{c} m{c} i{side}x{side} k3x3 s{s} p1" for s in (1, 2))
    for c in (1, 8, 32):
        for side in (12, 32, 64):
            yield from (f"n1 g1 c{c} m{c} i{side}x{side}x{side} k{k}x{k}x{k} p{k // 2}" for k in (3, 5))


def cases():
    """(title, x, w, options): the grid, dtypes and layouts taking turns where there are channels."""
    rng = np.random.default_rng(0)
    for number, line in enumerate(grid()):
        word = letters(line.split())
        n, g, c, m = (word[letter][0] for letter in "ngcm")
        if n * g * c * m * prod(word["i"]) * prod(word["k"]) > MOST and c > 1:
            continue
        layouts = ("NCHW",) if g * c * m == 1 else (("NCHW", "NHWC")[number % 2],)
        for dtype in ("float32", "float64"):
            for layout in layouts:
                x, w = (n, g * c, *word["i"]), (g * m, c, *word["k"])
                if layout == "NHWC":
                    x, w = (n, *word["i"], g * c), (g * m, *word["k"], c)
                rank = len(word["k"])
                yield (f"{dtype} {layout} {line}", *(rng.standard_normal(s).astype(dtype) for s in (x, w)),
                       {"groups": g, "layout": layout, "stride": word.get("s", (1,) * rank),
                        "dilation": word.get("d", (1,) * rank), "padding": word["p"]})


def best(call, seconds):
    """The fastest of the calls that fit into this time; a slow call is made once."""
    call()
    fastest, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or fastest == float("inf"):
        start = time.perf_counter()
        call()
        fastest = min(fastest, time.perf_counter() - start)
    return fastest


def measure(seconds: float, lines: bool = False):
    """For each case (title, auto's choice, {solver: (measured, predicted)})."""
    for title, x, w, options in cases():
        explained = convx.explain("conv", x, w, **options)
        able = {name: predicted for name, refusal, predicted in explained.rows if refusal is None}
        limit, found = 10 * min(able.values()), {}
        for name, predicted in able.items():
            if name == explained.chosen or (predicted <= limit and name != "reference"):
                p = convx.plan("conv", x, w, algorithm=name, **options)
                out = p(x, w)
                found[name] = best(lambda p=p, x=x, w=w, out=out: p(x, w, out=out), seconds), predicted
        if lines:
            fastest = min(found, key=lambda name: found[name][0])
            slower = found[explained.chosen][0] / found[fastest][0]
            words = "  ".join(f"{name} {a * 1e6:.0f}/{b * 1e6:.0f}" for name, (a, b) in found.items())
            print(f"{title:<54} {words}  fastest {fastest}"
                  + (f"  chosen {explained.chosen}, {slower:.2f} times slower" if slower > 1 else ""), flush=True)
        yield title, explained.chosen, found


def summary(results) -> None:
    losses = sorted(((found[chosen][0] / min(t for t, _ in found.values()), title, chosen,
                      min(found, key=lambda name: found[name][0])) for title, chosen, found in results), reverse=True)
    factors = [loss for loss, *_ in losses]
    print(f"{len(losses)} problems: auto takes {mean(factors):.3f} times the best solver's time on average "
          f"(geometric {exp(mean(map(log, factors))):.3f}), at most {factors[0]:.2f} times; "
          f"{sum(f > 1.15 for f in factors)} above 1.15, {sum(f > 2 for f in factors)} above 2")
    for loss, title, chosen, fastest in losses[:12]:
        print(f"  {loss:5.2f}  {title}: {chosen}, but {fastest} is faster")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", action="store_true", help="print each problem")
    parser.add_argument("--threads", type=int, help="default: what convx uses here")
    parser.add_argument("--seconds", type=float, default=0.03, help="for each solver and problem (default 0.03)")
    options = parser.parse_args()
    if options.threads:
        convx.set_num_threads(options.threads)
    summary(list(measure(options.seconds, options.lines)))


if __name__ == "__main__":
    main()
