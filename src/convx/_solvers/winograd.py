"""3x3 layers and the gradients of their weights by Winograd's F(4x4, 3x3) and F(3x3, 4x4) (floor 3).

The heads of the two kernels describe the transforms and the schedules.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from math import log2

import numpy as np

from .. import _kernels
from .._nest import peel, undilated
from ._base import not_dense

name = "winograd"
# benchmarks/winograd_error.py: 4.6 for one channel, 0.05 for 16 and more; weight gradients 3.1 where dy has 2x2 pixels,
# 1.5 for 3x3, 0.05 for 16x16.
error_factor = 8.0
normwise = True

# How weight gradients are cut, found on an AVX-512 core with 2 MB of L2; all of them are flat within a factor 1.5.
LEAST, PARTS = 96, 16  # tiles of a part at least, or its taps cost too much; parts at most
OWN, ROOM = 1300000, 640000  # bytes of the products, and of V and D of a block, that together stay in L2
KEEP = 5500000  # bytes of products that are kept from block to block
LIMIT = 12 << 20  # bytes of transformed arrays that exist at a time, as in the kernels


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if len(nest.windows) < 2:
        return f"{len(nest.windows)} axes with taps (3x3 are needed)"
    last = [v.axis for v in nest.windows[-2:]]
    gradient = _is_gradient(nest)
    for a in last:
        if a.taps != 3 and not gradient:
            return f"{a.taps} taps along one of the last two axes (only 3, or 3 outputs along both)"
        step, lattice = (a.dilation, a.stride) if gradient else (a.stride, a.dilation)
        if lattice % step:
            return (f"stride {a.stride} and dilation {a.dilation} along one of the last two axes (only "
                    f"{'strides that the dilation' if gradient else 'dilations that the stride'} divides)")
        if lattice > 1 and a.boundary != "constant" and a.is_padded():
            return f"lattices of step {lattice} beside a boundary that is {a.boundary} (only constant)"
    return None


@lru_cache(maxsize=1024)
def _parts(nest) -> list:
    """Nests in steps of one along the last two windows, as the kernels want them, that together are this one.

    A layer with dilation is a dense layer on each lattice of pixels, with the same weights; the gradient of the
    weights of such a layer is the sum of those of its lattices.
    """
    if not _is_gradient(nest):
        return peel(undilated(nest))[0]
    parts = [part.swap_wy() for part in undilated(nest.swap_wy())]
    return peel([replace(part, first=nest.first and not number) for number, part in enumerate(parts)])[0]


# ---- layers

def _tiles(nest):
    """Tiles of a group."""
    b, d = (-(-v.axis.out // 4) for v in nest.windows[-2:])
    outer = nest.windows[0].axis.out if len(nest.windows) > 2 else 1
    return nest.n * outer * b * d


def _moved(channel_step: int, row_step: int, channels: int, lanes: int, values: int) -> float:
    """Cycles that carry a tile's values of all channels between x or y and the strip, beyond whole vectors."""
    if channel_step == 1:
        loose = 12.0 if channels % lanes else 0.0
    elif row_step == 1:
        loose = channels // lanes * 8.0 + channels % lanes * 3.0
    else:
        loose = channels * 4.0
    return values * loose


def _cycles(nest, kind) -> float:
    """Cost in the units of gemm: a product of a vector 1 (3 where a panel has one vector only), 520 to transform a tile
    of a vector of x, 450 of y, 350 of w (500 where neither its taps nor its channels adjoin), 12 around a vector's sum.

    One core of a Zen 3 server (`python benchmarks/crossover.py --lines`), where a unit is about half a cycle.
    """
    kernel = _kernels.load("winograd", kind)
    lanes, rows = kernel.LANES, kernel.ROWS
    tiles, planes = _tiles(nest), nest.windows[0].axis.taps if len(nest.windows) > 2 else 1
    u, v = -(-nest.m // lanes), -(-nest.c // lanes)
    last = nest.windows[-1]
    groups = -(-tiles // rows)
    adjoin = sorted(abs(w.ws) for w in nest.windows[-2:]) == [1, 3] or 1 in nest.w[1:]
    work = groups * rows * 36.0 * (u if u > 1 else 3) * nest.c * planes
    around = 36.0 * groups * rows * u * -(-nest.c * planes // kernel.SLICE) * 12
    x_cost = tiles * planes * (520.0 * v + _moved(nest.x[2], last.xs, nest.c, lanes, 26))
    y_cost = tiles * (450.0 * u + _moved(nest.y[2], last.ys, nest.m, lanes, 16))
    w_cost = nest.c * planes * u * (350.0 if adjoin else 500.0)
    return (work + around + x_cost + y_cost + w_cost) * nest.g


# ---- weight gradients

def _is_gradient(nest) -> bool:
    """Whether the outputs are 3x3, as those of a weight gradient."""
    last = [v.axis for v in nest.windows[-2:]]
    return any(a.taps != 3 for a in last) and all(a.out == 3 for a in last)


def _layer_of(nest):
    """(rows, columns, tiles) of the products: taps k0 and channels of x, channels of dy, pieces of dy."""
    outer = nest.windows[0].axis if len(nest.windows) > 2 else None
    tiles = nest.c * (outer.taps if outer else 1)
    for v in nest.windows[-2:]:
        tiles *= -(-v.axis.taps // 4)
    return nest.n * (outer.out if outer else 1), nest.m, tiles


def _cut(nest, kind):
    """(parts, block) of the tiles: the order of the sums; the head of the kernel says what becomes of them."""
    lanes, size = _kernels.load("winograd_grad", kind).LANES, 8 if kind == "f64" else 4
    rows, m, tiles = _layer_of(nest)
    columns = -(-m // lanes) * lanes
    products, each = 36 * size * rows * columns, 36 * size * (rows + columns)
    parts, room = min(tiles // LEAST, PARTS, LIMIT // max(9 * size * nest.g * rows * columns, 1)), ROOM
    if products > KEEP:
        parts, room = 0, LIMIT // 2
    elif products > OWN or parts < 2:
        parts, room = 1, max(ROOM, products * 6 // 10)
    else:
        parts = 1 << parts.bit_length() - 1
        tiles = -(-tiles // parts)
    return parts, max(1, -(-tiles // max(-(-tiles * each // room), 1)))


def _gradient_cycles(nest, kind) -> float:
    """Cost in the units of gemm: a product of a vector 1 (1.2 where a panel has one vector only), 280 to transform a
    tile of a vector of x, 410 of dy, 480 for the taps of a row and a vector (720 where they do not adjoin), 0.8 for a
    sum that is kept between blocks. One core of an AVX-512 server (`python benchmarks/crossover.py --lines`).
    """
    kernel = _kernels.load("winograd_grad", kind)
    lanes, mr = kernel.LANES, kernel.ROWS
    rows, m, tiles = _layer_of(nest)
    u, v = -(-m // lanes), -(-nest.n // lanes)
    last, planes = nest.windows[-1], rows // max(nest.n, 1)
    parts, block = _cut(nest, kind)
    blocks = -(-tiles // block)
    adjoin = sorted(abs(w.ys) for w in nest.windows[-2:]) == [1, 3] or nest.y[2] == 1
    work = 36.0 * tiles * -(-rows // mr) * mr * (u if u > 1 else 1.2)
    x_cost = tiles * planes * (280.0 * v + 0.25 * _moved(nest.x[0], last.xs, nest.n, lanes, 26))
    dy_cost = tiles * (410.0 * u + 0.5 * _moved(nest.w[1], last.ws, m, lanes, 16))
    y_cost = rows * u * ((480.0 if adjoin else 720.0) * (parts or blocks) + 29.0 * blocks)
    return (work + x_cost + dy_cost + y_cost) * nest.g


def _gradient_scratch(nest, kind, threads):
    """V and D of a block, the products of a task, and the taps of the parts."""
    lanes, size = _kernels.load("winograd_grad", kind).LANES, 8 if kind == "f64" else 4
    rows, m, _ = _layer_of(nest)
    columns = -(-m // lanes) * lanes
    parts, block = _cut(nest, kind)
    block *= 36 * size * (rows + columns + 2 * lanes)
    if parts > 1:
        return threads * (block + 36 * size * rows * columns) + parts * 9 * size * nest.g * rows * columns
    task = 36 * size * (rows * columns if parts else threads * 64 * 6 * lanes)
    return block + task + threads * 1600 * size * lanes


# ---- what is asked of a solver

def seconds(nest, kind, threads):
    """Cycles at 3.5 GHz, 5 us for the scratch and the regions.

    AVX-512 cores take 0.55 of the cycles of `_cycles` with 8 channels and 1.1 with 512, 0.7 with fewer: an Emerald
    Rapids server, `benchmarks/crossover.py`.
    """
    if _is_gradient(nest):
        return sum(5e-6 + _gradient_cycles(part, kind) / 3.5e9 / threads for part in _parts(nest))
    share = 0.7 if nest.c < 8 else 0.55 + 0.1 * log2(min(nest.c, 512) / 8)
    return sum(5e-6 + share * _cycles(part, kind) / 3.5e9 / threads for part in _parts(nest))


def scratch(nest, kind, threads):
    return max((_gradient_scratch if _is_gradient(nest) else _scratch)(part, kind, threads) for part in _parts(nest))


def _scratch(nest, kind, threads):
    """Transformed weights or transformed input, and a thread's block of the other and of the products."""
    kernel, size = _kernels.load("winograd", kind), 8 if kind == "f64" else 4
    planes = nest.windows[0].axis.taps if len(nest.windows) > 2 else 1
    depth, width = nest.c * planes, 3 * kernel.LANES
    weights = 36 * nest.g * depth * -(-nest.m // kernel.LANES) * kernel.LANES * size
    block = 36 * size * (16 * depth + 256 * width + min(depth, kernel.SLICE) * width) + 327680
    return min(weights, LIMIT) + threads * block


def way(nest, model, kind, bound):
    """(packed, first, how the sums are cut if it is a weight gradient) of each part."""
    parts, models = _parts(nest), _parts(model)
    if not _is_gradient(nest):
        return [(part.pack(), part.first, ()) for part in parts]
    if len(models) != len(parts):
        models = parts  # a view whose axes lie in another order, at rank 3 and more
    return [(part.pack(), part.first, _cut(alike, kind)) for part, alike in zip(parts, models, strict=True)]


def prepare(nest, call, w):
    """The transformed weights of each part (once where parts share them), or None where w is the y of a layer."""
    if _is_gradient(nest):
        return None
    kernel, known, found = _kernels.load("winograd", call.kind), {}, []
    for part, (packed_nest, *_) in zip(_parts(nest), call.way, strict=True):
        form = part.origin[1], tuple((v.axis.taps, v.ws) for v in part.windows if v.axis.taps > 1)
        if form not in known:
            known[form] = np.empty(kernel.packed_size(packed_nest), call.dtype)
            kernel.pack(w, known[form], packed_nest, call.threads)
        found.append(known[form])
    return found


def ready(nest, call):
    if _is_gradient(nest):
        kernel = _kernels.load("winograd_grad", call.kind).run
        return [(kernel, None, packed_nest, first, call.cval, *cut) for packed_nest, first, cut in call.way]
    kernel, weights = _kernels.load("winograd", call.kind).run, call.weights or [None] * len(call.way)
    return [(kernel, None, packed_nest, first, call.cval, transformed)
            for (packed_nest, first, _), transformed in zip(call.way, weights, strict=True)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
