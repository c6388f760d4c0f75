"""The executable definition: one NumPy product per tap and channel. It never refuses (floor 3).

Taps that fall outside the array under a zero boundary are left out, not multiplied by zero. Works for every rank and
every dtype that NumPy can multiply, object and long double included.
"""

from __future__ import annotations

from itertools import product

import numpy as np

from ._base import at

name = "reference"
error_factor = 1.0
normwise = False


def refuse(nest, kind):
    return None


def seconds(nest, kind, threads):
    """For each tap and channel 40 us of NumPy calls and 0.3 us per line of outputs; 5 to 60 ns per product: here 5.

    One core of a Zen 3 desktop. It is the last resort where compiled code refuses; what it must not be is too cheap.
    """
    lines = sum(v.axis.out for v in nest.windows)
    return nest.depth * (4e-5 + 3e-7 * lines) + 5e-9 * nest.products


def scratch(nest, kind, threads):
    sizes = [v.axis.out for v in nest.windows]
    return 16 * nest.n * nest.g * (nest.c + nest.m) * int(np.prod(sizes, dtype=object))


def way(nest, model, kind, bound):
    return None


def run(nest, call, x, w, y):
    axes = [v.axis for v in nest.windows]
    xv = at(x, call.dtype, nest.origin[0], (nest.n, nest.g, nest.c, *[a.size for a in axes]),
               (*nest.x, *[v.xs for v in nest.windows]))
    yv = at(y, call.dtype, nest.origin[2], (nest.n, nest.g, nest.m, *[a.out for a in axes]),
               (*nest.y, *[v.ys for v in nest.windows]))
    wv = at(w, call.dtype, nest.origin[1], (nest.g, nest.m, nest.c, *[a.taps for a in axes], *[a.out for a in axes]),
               (*nest.w, *[v.ws for v in nest.windows], *[v.wo for v in nest.windows]))
    if nest.first:
        yv[...] = 0 if call.bias is None else call.bias.reshape(1, nest.g, -1, *(1 for _ in axes))
    with np.errstate(all="ignore"):  # infinities and nan are values like others here
        for tap in product(*(range(a.taps) for a in axes)):
            for c in range(nest.c):
                _add(axes, tap, xv[:, :, c], wv[:, :, c], yv, call.cval[0])


def _add(axes, tap, xv, wv, yv, cval):
    """y (n g m o...) += x (n g i...) * w (g m k... o...) at one tap."""
    rank = len(axes)
    reads = [np.array([a.locate(a.stride * o + a.dilation * k - a.offset) for o in range(a.out)], np.intp)
             for a, k in zip(axes, tap, strict=True)]
    weight = wv[(slice(None),) * 2 + tap][None]
    if not cval:
        keep = [np.flatnonzero(r >= 0) for r in reads]
        if any(k.size == 0 for k in keep):
            return
        here = tuple(k[(slice(None),) + (None,) * (rank - 1 - a)] for a, k in enumerate(keep))
        there = tuple(r[k] for r, k in zip(reads, here, strict=True))
        yv[(slice(None),) * 3 + here] += xv[(slice(None),) * 2 + there][:, :, None] * weight[(slice(None),) * 3 + here]
        return
    there = tuple(r[(slice(None),) + (None,) * (rank - 1 - a)] for a, r in enumerate(reads))
    inside = np.ones((1,) * rank, bool)
    for r in there:
        inside = inside & (r >= 0)
    if xv.size:
        part = np.where(inside, xv[(slice(None),) * 2 + tuple(np.maximum(r, 0) for r in there)], cval)
    else:
        part = np.full((*xv.shape[:2], *inside.shape), cval)
    yv += part.astype(xv.dtype, copy=False)[:, :, None] * weight
