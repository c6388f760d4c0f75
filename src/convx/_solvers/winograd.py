"""Layers of 2 to 5 taps along one or two axes, and the gradients of their weights, by Winograd's tiles (floor 3).

The heads of the two kernels describe the transforms and the schedules.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import inf, prod

from .. import _kernels
from .._geometry import Axis
from .._kernels.ready import empty
from ._base import not_dense

name = "winograd"
# benchmarks/winograd_error.py: 4.6 for one channel of 3x3 taps, 0.05 for 16 and more; other taps up to 2.7, weight
# gradients up to 1.6 where dy has 4x4 pixels, 0.05 for 16x16.
error_factor = 8.0
normwise = True

# How weight gradients are cut, found on an AVX-512 core with 2 MB of L2; all of them are flat within a factor 1.5.
LEAST, PARTS = 96, 16  # tiles of a part at least, or its taps cost too much; parts at most
OWN, ROOM = 1300000, 640000  # bytes of the products, and of V and D of a block, that together stay in L2
KEEP = 5500000  # bytes of products that are kept from block to block
LIMIT = 12 << 20  # bytes of transformed arrays that exist at a time, as in the kernels

# Taps of a line -> its points, by choice (the table of `_kernels/_points.pxd`); points + 1 - taps outputs.
POINTS = {1: (1,), 2: (4, 6), 3: (4, 6), 4: (6,), 5: (6,)}
NONE = Axis(1, 1, 1)
LINE = {1: 8, 4: 30, 6: 50}  # cost of the transform of a line of vectors with so many points
AGAIN = 11.5  # products that take as long as a block's reading of a vector of weights again
# Cycles of each of `_parts`: one core of an Emerald Rapids server, least squares over all tiles of 52 layers in both
# dtypes (a spread of 12 %); `python benchmarks/crossover.py --lines` sets predictions beside what was measured.
COSTS = 0.66, 13, 0.49, 0.05, 0.33


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    axes = _plane(_arranged(nest))
    said = _unfit(axes)
    return said if said and _unfit([a.swap_wy() for a in axes]) else None


def _arranged(nest):
    """The nest with a middle window of one tap before one of several, so that the last two have what there is.

    A view may keep apart what is one window of a contiguous array: 3x1x1 taps are 3x1 in the model.
    """
    if len(nest.windows) < 3:
        return nest
    a, b, d = nest.windows
    swapped = replace(nest, windows=(b, a, d))
    if b.axis.taps == 1 < a.axis.taps and not _unfit(_plane(swapped)):
        return swapped
    if b.axis.out == 1 < a.axis.out and not _unfit([v.swap_wy() for v in _plane(swapped)]):
        return swapped
    return nest


def _plane(nest):
    """The last two axes."""
    return [NONE] * (2 - len(nest.windows)) + [v.axis for v in nest.windows[-2:]]


def _unfit(axes):
    """Why a layer with these last two axes is refused."""
    for a in axes:
        if a.stride != 1 or (a.dilation != 1 and a.taps > 1):
            return f"stride {a.stride} and dilation {a.dilation} along one of the last two axes (only 1)"
        if a.taps not in POINTS:
            return f"{a.taps} taps along one of the last two axes (only 2 to 5, or so many outputs along both)"
    if all(a.taps == 1 for a in axes):
        return "a single tap along the last two axes (2 to 5 are needed)"
    return None


def _is_gradient(nest) -> bool:
    """Whether only the outputs are few, as those of a weight gradient."""
    return _unfit(_plane(nest)) is not None


def _variants(axes):
    """Points along both axes of a layer."""
    return [pair for pair in product(*(POINTS[a.taps] for a in axes)) if pair != (1, 1)]


# ---- layers

def _tiles(axes, points):
    """Tiles of a plane with these outputs."""
    return prod(-(-a.out // (p + 1 - a.taps)) for a, p in zip(axes, points, strict=True))


def _lines(down, across):
    """Cost of a tile's transform: (how many lines, points of each) down the columns and along the rows."""
    return sum(n * LINE[p] for n, p in (down, across))


def _moved(channel_step: int, row_step: int, channels: int, lanes: int, values: int) -> float:
    """Cycles that carry a tile's values of all channels between x or y and the strip, beyond whole vectors."""
    if channel_step == 1:
        loose = 12.0 if channels % lanes else 0.0
    elif row_step == 1:
        loose = channels // lanes * 8.0 + channels % lanes * 3.0
    else:
        loose = channels * 4.0
    return values * loose


def _parts(nest, kind, points):
    """What a layer consists of, on vectors: products, sums of a slice (and their way back to y), lines of tiles of x,
    cycles that carry x into strips, lines of weights."""
    kernel = _kernels.load("winograd", kind)
    lanes, axes = kernel.LANES, _plane(nest)
    planes, outer = (nest.windows[0].axis.taps, nest.windows[0].axis.out) if len(nest.windows) > 2 else (1, 1)
    tiles, last = nest.n * outer * _tiles(axes, points), nest.windows[-1]
    (p, q), outs = points, [n + 1 - a.taps for n, a in zip(points, axes, strict=True)]
    u, v, depth = -(-nest.m // lanes), -(-nest.c // lanes), nest.c * planes
    least, most = kernel.BLOCK
    room = tiles if tiles < nest.m else kernel.BYTES // max((8 if kind == "f64" else 4) * p * q * (depth + lanes), 1)
    block = max(min(max(room, least), most, tiles), 1)
    sums = p * q * u * max(tiles, kernel.ROWS // 2)
    return (sums * depth * (1 if u > 1 else 3) * (1 + AGAIN / block), sums * -(-depth // kernel.SLICE),
            tiles * planes * v * _lines((outs[1], p), (p, q)),
            tiles * planes * _moved(nest.x[2], last.xs, nest.c, lanes, (p + outs[0]) / 2 * (q + outs[1]) / 2),
            depth * u * (1 if 1 in nest.w[1:] or abs(last.ws) == 1 else 1.4) * _lines((axes[1].taps, p), (p, q)))


def _cycles(nest, kind, points) -> float:
    return nest.g * sum(n * cost for n, cost in zip(_parts(nest, kind, points), COSTS, strict=True))


def _choice(nest, kind):
    """The points along the last two axes that cost least."""
    return min(_variants(_plane(nest)), key=lambda points: _cycles(nest, kind, points))


# ---- weight gradients

def _layer_of(nest, points):
    """(rows, columns, tiles) of the products: taps k0 and channels of x, channels of dy, pieces of dy."""
    outer = nest.windows[0].axis if len(nest.windows) > 2 else None
    tiles = nest.c * (outer.taps if outer else 1) * _tiles([a.swap_wy() for a in _plane(nest)], points)
    return nest.n * (outer.out if outer else 1), nest.m, tiles


def _cut(nest, kind, points):
    """(parts, block) of the tiles: the order of the sums; the head of the kernel says what becomes of them."""
    lanes, size = _kernels.load("winograd_grad", kind).LANES, 8 if kind == "f64" else 4
    rows, m, tiles = _layer_of(nest, points)
    columns = -(-m // lanes) * lanes
    q, taps = prod(points), prod(a.out for a in _plane(nest))
    products, each = q * size * rows * columns, q * size * (rows + columns)
    parts, room = min(tiles // LEAST, PARTS, LIMIT // max(taps * size * nest.g * rows * columns, 1)), ROOM
    if products > KEEP:
        parts, room = 0, LIMIT // 2
    elif products > OWN or parts < 2:
        parts, room = 1, max(ROOM, products * 6 // 10)
    else:
        parts = 1 << parts.bit_length() - 1
        tiles = -(-tiles // parts)
    return parts, max(1, -(-tiles // max(-(-tiles * each // room), 1)))


def _gradient_cycles(nest, kind, points) -> float:
    """Cost in the units of gemm: a product of a vector 1 (1.2 where a panel has one vector only), LINE to transform a
    line of vectors (0.6 of it for x, where columns serve two tiles; 1.5 for taps that do not adjoin), 0.8 for a sum
    that is kept between blocks. One core of an AVX-512 server (`python benchmarks/crossover.py --lines`).
    """
    kernel = _kernels.load("winograd_grad", kind)
    lanes, mr, axes = kernel.LANES, kernel.ROWS, [a.swap_wy() for a in _plane(nest)]
    rows, m, tiles = _layer_of(nest, points)
    (p, q), outs = points, [n + 1 - a.taps for n, a in zip(points, axes, strict=True)]
    u, v = -(-m // lanes), -(-nest.n // lanes)
    last, planes = nest.windows[-1], rows // max(nest.n, 1)
    parts, block = _cut(nest, kind, points)
    blocks = -(-tiles // block)
    adjoin = abs(last.ys) == 1 or nest.y[2] == 1
    work = p * q * tiles * -(-rows // mr) * mr * (u if u > 1 else 1.2)
    x_cost = tiles * planes * (0.6 * v * _lines((outs[1], p), (p, q)) + 0.25 * _moved(
        nest.x[0], last.xs, nest.n, lanes, (p + outs[0]) / 2 * (q + outs[1]) / 2))
    dy_cost = tiles * (u * _lines((outs[1], p), (p, q)) + 0.5 * _moved(nest.w[1], last.ws, m, lanes, prod(outs)))
    y_cost = rows * u * ((1 if adjoin else 1.5) * (parts or blocks) * _lines((q, p), (axes[0].taps, q))
                         + 0.8 * p * q * blocks)
    return (work + x_cost + dy_cost + y_cost) * nest.g


def _gradient_choice(nest, kind):
    return min(_variants([a.swap_wy() for a in _plane(nest)]), key=lambda points: _gradient_cycles(nest, kind, points))


def _gradient_scratch(nest, kind, threads):
    """V and D of a block, the products of a task, and the taps of the parts."""
    lanes, size = _kernels.load("winograd_grad", kind).LANES, 8 if kind == "f64" else 4
    points = _gradient_choice(nest, kind)
    rows, m, _ = _layer_of(nest, points)
    columns, q, taps = -(-m // lanes) * lanes, prod(points), prod(a.out for a in _plane(nest))
    parts, block = _cut(nest, kind, points)
    block *= q * size * (rows + columns + 2 * lanes)
    if parts > 1:
        return threads * (block + q * size * rows * columns) + parts * taps * size * nest.g * rows * columns
    task = q * size * (rows * columns if parts else threads * 64 * 6 * lanes)
    return block + task + threads * 1600 * size * lanes


# ---- what is asked of a solver

def seconds(nest, kind, threads):
    """Cycles at 3.5 GHz, 3 us (weight gradients 5 us) for the scratch and the regions."""
    if refuse(nest, kind):  # the model of a view that is not refused
        return inf
    nest = _arranged(nest)
    if _is_gradient(nest):
        return 5e-6 + _gradient_cycles(nest, kind, _gradient_choice(nest, kind)) / 3.5e9 / threads
    return 3e-6 + _cycles(nest, kind, _choice(nest, kind)) / 3.5e9 / threads


def scratch(nest, kind, threads):
    """Transformed weights or transformed input, and a thread's block of the other and of the products."""
    nest = _arranged(nest)
    if _is_gradient(nest):
        return _gradient_scratch(nest, kind, threads)
    kernel, size = _kernels.load("winograd", kind), 8 if kind == "f64" else 4
    planes = nest.windows[0].axis.taps if len(nest.windows) > 2 else 1
    depth, width, q = nest.c * planes, 3 * kernel.LANES, prod(_choice(nest, kind))
    weights = q * nest.g * depth * -(-nest.m // kernel.LANES) * kernel.LANES * size
    block = q * size * (16 * depth + 256 * width + min(depth, kernel.SLICE) * width) + 327680
    return min(weights, LIMIT) + threads * block


def way(nest, model, kind, bound):
    """(kernel, nest, what else it is given): the tiles, and how the sums of a weight gradient are cut."""
    nest, model = _arranged(nest), _arranged(model)
    if _plane(nest) != _plane(model):
        model = nest
    if _is_gradient(nest):
        points = _gradient_choice(model, kind)
        return "winograd_grad", nest.pack(), (*_cut(model, kind, points), *points)
    return "winograd", nest.pack(), _choice(model, kind)


def prepare(nest, call, w):
    """The transformed weights, or None where w is the y of a layer."""
    name, packed_nest, options = call.way
    if name == "winograd_grad":
        return None
    kernel = _kernels.load(name, call.kind)
    packed = empty((kernel.packed_size(packed_nest, *options),), call.dtype, False)
    kernel.pack(w, packed, packed_nest, *options, call.threads)
    return packed


def ready(nest, call):
    name, packed_nest, options = call.way
    weights = () if name == "winograd_grad" else (call.weights,)
    return _kernels.load(name, call.kind).run, None, packed_nest, nest.first, call.cval, *weights, *options


def run(nest, call, x, w, y):
    kernel, _, *rest = ready(nest, call)
    kernel(x, w, y, call.bias, *rest, call.threads)
