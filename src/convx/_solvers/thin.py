"""Layers with few channels on one side, and the gradients of their weights (floor 3).

The heads of the two kernels describe the schedules.
"""

from __future__ import annotations

from math import prod

from .. import _kernels
from ._base import not_dense

name = "thin"
error_factor = 1.0
normwise = False

FLAT, ROWS, LOW = range(3)  # the kernel's tiles
FEW = 16  # channels of one side at most: with 32 on both, gemm is as fast or faster (1x1, an Emerald Rapids server)
ROOM = 131072  # values of the strip of one row of outputs, and weights, at most
PARTS, LEAST = 16, 4  # parts of the sum of a weight gradient at most, and rows of taps of each at least
SUMS = 1 << 20  # values of all parts together


def is_gradient(nest) -> bool:
    """Whether the outputs are the fewer ones, as those of a weight gradient."""
    return prod(v.axis.taps for v in nest.windows) > prod(v.axis.out for v in nest.windows)


def line_values(nest, rows: int = 1) -> int:
    """Values of the strip of some rows of outputs."""
    height = 1
    if len(nest.windows) > 1:
        b = nest.windows[-2].axis
        height = (rows - 1) * b.stride + (b.taps - 1) * b.dilation + 1
    if len(nest.windows) > 2:
        height *= nest.windows[0].axis.taps
    d = nest.windows[-1].axis
    span = (d.taps - 1) * d.dilation
    return nest.c * height * (min(d.out, 480) + 16 + span // d.stride) * min(d.stride, span + 1)


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if not nest.windows:
        return "no axis to run along"
    if nest.products == 0:
        return "nothing to compute"
    few = min(nest.n if is_gradient(nest) else nest.c, nest.m)
    if few > FEW:
        return f"{few} channels and more on both sides (at most {FEW} on one)"
    if is_gradient(nest):
        values = line_values(nest.swap_wy(), 8)
        outputs = nest.outputs // nest.g
        if values > 2 * ROOM or outputs > SUMS // 4:
            return f"{values} values of x under eight rows of taps (at most {2 * ROOM}), {outputs} outputs of a group"
        return None
    if line_values(nest) > ROOM:
        return f"{line_values(nest)} values of x under a row of outputs (at most {ROOM})"
    if nest.g * nest.m * nest.depth > ROOM:
        return f"{nest.g * nest.m * nest.depth} weights (at most {ROOM})"
    return None


def tile_of(nest):
    """Which tile: it does not change the order of any sum."""
    if nest.y[2] == 1 and nest.windows[-1].ys != 1:
        return FLAT
    return LOW if nest.m <= 3 else ROWS


def _up(count: int, unit: int) -> int:
    return -(-count // unit) * unit


def row_vectors(nest, kind, tile) -> int:
    """Vectors of whole tiles for one row of outputs."""
    kernel, out = _kernels.load("thin", kind), nest.windows[-1].axis.out
    height, most = kernel.SHAPES[tile]
    if tile == FLAT:
        return -(-nest.m // kernel.LANES) * _up(out, height)
    columns = -(-out // kernel.LANES)
    return _up(nest.m, height) * (_up(columns, (most + 3) // 4) if tile == LOW else columns)


def _layer_seconds(nest, kind, threads):
    """Vectors of whole tiles, 0.19 ns a product (0.4 where three channels share each vector of x) and 40 ns around a
    tile; 30 ns for a copied run of x, 1.6 a vector of it, 0.8 a value where these are no neighbours, all of it 1.3
    times since strips overlap; 1.5 ns a weight, 2 us for scratch.

    One core of an Emerald Rapids server, first layers, stems and gradients of their inputs, each solver by its name
    (`benchmarks/crossover.py --lines` shows the like).
    """
    lanes, last, tile = _kernels.load("thin", kind).LANES, nest.windows[-1], tile_of(nest)
    height, most = _kernels.load("thin", kind).SHAPES[tile]
    vectors = row_vectors(nest, kind, tile) * nest.outputs // max(nest.m * last.axis.out, 1)
    time = vectors * (nest.depth * (0.4 if tile == LOW else 0.19) + 40.0 / (height * most))
    if last.ys != 1 and tile != FLAT:
        time += nest.outputs * 0.3
    time += 1.3 * copies(nest, lanes)
    return 2e-6 + 1e-9 * (1.5 * nest.g * nest.m * nest.depth + time / threads)


def copies(nest, lanes: int) -> float:
    """Nanoseconds that bring every row of x into a strip once."""
    last = nest.windows[-1]
    a, runs = last.axis, nest.n * nest.g * nest.c
    runs *= min(a.stride, (a.taps - 1) * a.dilation + 1)
    for number, v in enumerate(nest.windows[-2::-1]):
        runs *= v.axis.out * v.axis.taps if number else v.axis.out * v.axis.stride + (v.axis.taps - 1) * v.axis.dilation
    step = {1: 1.6 / lanes, 2: 3.2 / lanes}.get(last.xs * a.stride, 0.8)
    return runs * (30.0 + step * (a.out + (a.taps - 1) * a.dilation // a.stride))


def _parts(nest) -> int:
    """Parts of the sum of a weight gradient: the order of its additions."""
    lines = nest.c * prod(v.axis.taps for v in nest.windows[:-1])
    return max(1, min(PARTS, lines // LEAST, SUMS // max(nest.outputs, 1)))


def _gradient_seconds(nest, kind, threads):
    """Vectors of whole tiles at 0.19 ns a tap, 20 ns more a row of them in L1; 2 ns a vector of w that is turned or
    copied; copies of x as in layers; 1 ns a sum of each part, 5 us for scratch and two regions."""
    kernel = _kernels.load("thin_grad", kind)
    lanes, last = kernel.LANES, nest.windows[-1]
    vectors = -(-nest.m // lanes)
    outputs = nest.outputs // max(nest.g * nest.m, 1)
    taps = nest.c * prod(v.axis.taps for v in nest.windows)
    tiles = -(-outputs // kernel.ROWS) * -(-vectors // kernel.VECTORS)
    pieces = taps / max(min(last.axis.taps, 6144 // (vectors * lanes)), 1)
    time = _up(outputs, kernel.ROWS) * vectors * taps * 0.19 + tiles * pieces * 20
    if 1 not in (last.ws, nest.w[1]):
        time += taps * nest.m
    elif last.ws == 1 or nest.m % lanes:
        time += taps * vectors * 2.0
    parts = _parts(nest)
    time += 1.2 * copies(nest.swap_wy(), lanes) / nest.g + parts * outputs * vectors * lanes
    return 5e-6 + 1e-9 * nest.g * time / min(threads, parts)


def seconds(nest, kind, threads):
    return (_gradient_seconds if is_gradient(nest) else _layer_seconds)(nest, kind, threads)


def scratch(nest, kind, threads):
    size = 8 if kind == "f64" else 4
    if is_gradient(nest):
        return size * (_parts(nest) * nest.outputs + threads * (line_values(nest.swap_wy(), 8) + 6144))
    return size * (nest.g * nest.m * nest.depth + threads * max(65536, line_values(nest)))


def way(nest, model, kind, bound):
    """(kernel, its options: which tile and one point, or the parts of a weight gradient)."""
    return ("thin_grad", (_parts(model),)) if is_gradient(nest) else ("thin", (tile_of(nest), 1))


def ready(nest, call):
    kernel, options = call.way
    return [(_kernels.load(kernel, call.kind).run, None, call.packed, nest.first, call.cval, *options)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
