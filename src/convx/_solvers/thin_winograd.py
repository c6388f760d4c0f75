"""Layers of few input channels by Winograd's lines down the columns: the tiles of `thin`, fewer products (floor 3).

The head of the kernel, `thin.pyx`, describes the points.
"""

from __future__ import annotations

from math import inf

from .. import _kernels
from . import thin
from .winograd import POINTS

name = "thin_winograd"
error_factor = 4.0  # benchmarks/winograd_error.py: 1.0 for one channel of 3x3 taps, 1.8 of 2x2, 0.02 for 16 channels
normwise = True


def refuse(nest, kind):
    reason = thin.refuse(nest, kind)
    if reason:
        return reason
    if thin.is_gradient(nest):
        return "fewer outputs than taps"
    if len(nest.windows) < 2:
        return "no axis beside the one along rows"
    if nest.c > thin.FEW:
        return f"{nest.c} input channels (at most {thin.FEW})"
    down = nest.windows[-2].axis
    if down.dilation > 1:
        return f"dilation {down.dilation} down the columns (only 1)"
    if down.out == 1 or not 2 <= _taps(down) <= 5:
        return f"{down.out} outputs of {_taps(down)} taps in a phase down the columns (several of 2 to 5 are needed)"
    return None


def _taps(axis) -> int:
    """Taps of the first phase of rows."""
    return -(-axis.taps // axis.stride)


def _tile(nest) -> int:
    return thin.FLAT if thin.tile_of(nest) == thin.FLAT else thin.ROWS


def _cycle(nest, points) -> tuple[int, int, int]:
    """Times that some rows of outputs are made, how many these are, and their products for an output channel."""
    down = nest.windows[-2].axis
    outs = points + 1 - _taps(down)
    times = nest.outputs // max(nest.m * nest.windows[-1].axis.out * down.out, 1) * -(-down.out // outs)
    return times, outs, points * nest.depth // down.taps * min(down.stride, down.taps)


def _layer_seconds(nest, kind, threads, points):
    """Vectors of whole tiles for a cycle of rows: 0.2 ns a product, 11.5 to combine them and to store; 1.2 ns a vector
    and point of x, and copies as in `thin`; 2 ns a weight at a point, 4 us for scratch.

    One core of an Emerald Rapids server, a first layer (3x3) and a stem (7x7 /2) in both dtypes and layouts, which take
    22 and 62 ns a vector and cycle (`benchmarks/crossover.py --lines` shows the like).
    """
    times, _, products = _cycle(nest, points)
    lanes, last = _kernels.load("thin", kind).LANES, nest.windows[-1]
    time = times * thin.row_vectors(nest, kind, _tile(nest)) * (0.2 * products + 11.5)
    if last.ys != 1 and _tile(nest) == thin.ROWS:
        time += nest.outputs * 0.3
    time += times * 1.2 * products / last.axis.taps * last.axis.out * last.axis.stride / lanes
    time += 1.3 * thin.copies(nest, lanes)
    return 4e-6 + 1e-9 * (2 * nest.g * nest.m * products + time / threads)


def _choice(nest, kind) -> int:
    """Points down the columns."""
    return min(POINTS[_taps(nest.windows[-2].axis)], key=lambda points: _layer_seconds(nest, kind, 1, points))


def seconds(nest, kind, threads):
    if refuse(nest, kind):  # the model of a view that is not refused
        return inf
    return _layer_seconds(nest, kind, threads, _choice(nest, kind))


def scratch(nest, kind, threads):
    """As in `thin`, the weights at the points, and some rows of x at the points."""
    _, outs, products = _cycle(nest, _choice(nest, kind))
    down, size = nest.windows[-2].axis, 8 if kind == "f64" else 4
    more = thin.line_values(nest) * products * down.taps // max(nest.depth * (outs + _taps(down) - 1), 1)
    return thin.scratch(nest, kind, threads) + size * (nest.g * nest.m * products + threads * more)


def way(nest, model, kind, bound):
    """(kernel, which of its tiles and the points)."""
    if refuse(model, kind) or [v.axis for v in model.windows[-2:]] != [v.axis for v in nest.windows[-2:]]:
        model = nest  # a view whose axes lie in another order
    return "thin", (_tile(nest), _choice(model, kind))


ready, run = thin.ready, thin.run
