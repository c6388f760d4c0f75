"""Layers of 2 to 5 taps along one or two axes, and the gradients of their weights, by Winograd's tiles (floor 3).

The heads of the two kernels describe the transforms and the schedules.
"""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import gcd, inf, prod

from .. import _kernels
from .._geometry import Axis
from .._kernels.ready import empty
from .._nest import undilated
from ._base import not_dense

name = "winograd"
# benchmarks/winograd_error.py: 4.6 for one channel of 3x3 taps, 0.05 for 16 and more; other taps up to 2.7, steps
# of two up to 1.2, weight gradients up to 1.6 where dy has 4x4 pixels, 0.05 for 16x16.
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
# Products that take as long as a block's reading of a vector of weights again. Least squares give 11.5, with which
# layers of 14 x 14 pixels take tiles that are 2 to 8 % slower.
AGAIN = 9
PHASES = 16  # of taps at most
# What layers in phases take of the predicted time: 0.95 to 1.3 of it on one thread of that server (3x3 to 5x5 taps
# in steps of two, 32 to 256 channels of 28 x 28 to 224 x 224 pixels); two threads gain less, so a little more.
PHASED = 1.35
# Cycles of each of `_work`: one core of an Emerald Rapids server, least squares over all tiles of 52 layers in both
# dtypes (a spread of 12 %); `python benchmarks/crossover.py --lines` sets predictions beside what was measured.
# The last: 7 x 7 pixels of 64 to 256 channels took 2 to 2.3 times as long where weights were made before the tiles.
COSTS = 0.66, 13, 0.49, 0.05, 0.33, 31


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    axes = _plane(_arranged(nest))
    said = _unfit(axes)
    return said if said and _unfit([a.swap_wy() for a in axes], False) else None


def _arranged(nest):
    """The nest with a middle window of one tap before one of several, so that the last two have what there is.

    A view may keep apart what is one window of a contiguous array: 3x1x1 taps are 3x1 in the model.
    """
    windows = tuple(replace(v, axis=_plain(v.axis)) for v in nest.windows)
    nest = replace(nest, windows=windows)
    if len(windows) < 3:
        return nest
    a, b, d = windows[-3:]
    swapped = replace(nest, windows=(*windows[:-3], b, a, d))
    if b.axis.taps == 1 < a.axis.taps and not _unfit(_plane(swapped)):
        return swapped
    if b.axis.out == 1 < a.axis.out and not _unfit([v.swap_wy() for v in _plane(swapped)], False):
        return swapped
    return nest


def _plain(axis):
    """The axis without a step that nothing takes."""
    return replace(axis, dilation=1 if axis.taps == 1 else axis.dilation, stride=1 if axis.out == 1 else axis.stride)


def _plane(nest):
    """The last two axes."""
    return [NONE] * (2 - len(nest.windows)) + [v.axis for v in nest.windows[-2:]]


def _unfit(axes, strided=True):
    """Why a layer with these last two axes is refused; strided: whether steps of outputs become phases of taps."""
    for a in axes:
        if _phase(a) not in POINTS or (not strided and _steps(a) > 1):
            return (f"{a.taps} taps and a stride of {a.stride} along one of the last two axes (only 2 to 5 a step, "
                    "or so many outputs along both)")
        if max(a.dilation, a.stride) > 1 and a.boundary != "constant" and a.is_padded():
            return f"steps of {max(a.dilation, a.stride)} beside a boundary that is {a.boundary} (only constant)"
    if prod(map(_steps, axes)) > 1 and any(a.dilation > 1 for a in axes):
        return "a stride beside a dilation along the last two axes (only one of them, or dilations that it divides)"
    if prod(map(_steps, axes)) > PHASES:
        return f"strides of {' and '.join(str(a.stride) for a in axes)} (only {PHASES} phases of taps)"
    if all(_phase(a) == 1 for a in axes):
        return "a single tap along the last two axes (2 to 5 are needed)"
    return None


def _steps(axis) -> int:
    """The phases into which a stride cuts the taps."""
    return min(axis.stride // gcd(axis.stride, axis.dilation), max(axis.taps, 1))


def _phase(axis) -> int:
    """Taps of the first of them."""
    return -(-axis.taps // (axis.stride // gcd(axis.stride, axis.dilation)))


@lru_cache(maxsize=1024)
def _split(nest):
    """Whether this is the gradient of weights (only the outputs are few), and nests in steps of one along the last two
    windows, as the kernels want them, that together are this one: those of a group are summed in the same tiles.

    A layer with dilation is a dense layer on each lattice of pixels, with the same weights. A layer with a stride is
    the sum of dense layers, each of some taps on the lattice that they read: the same with taps and outputs exchanged.
    """
    nest, groups = _arranged(nest), []
    gradient = _unfit(_plane(nest)) is not None
    for lattice in undilated(nest):
        parts = [replace(part.swap_wy(), first=nest.first and not number)
                 for number, part in enumerate(undilated(lattice.swap_wy(), apart=not gradient))]
        for part in parts:
            if groups and not gradient and _adds(groups[-1], part):
                groups[-1].append(part)
            else:
                groups.append([part])
    return gradient, groups


def _adds(phases, part) -> bool:
    """Whether a nest adds to what these compute, in the same tiles."""
    first = phases[0]
    tiles, others = [[(v.axis.out, v.ys) for v in nest.windows[-2:]] for nest in (first, part)]
    return (not part.first and tiles == others and len(phases) < PHASES
            and (first.n, first.g, first.c, first.m, first.y, first.origin[2]) == (
                part.n, part.g, part.c, part.m, part.y, part.origin[2])
            and [(v.axis, v.ys) for v in first.windows[:-2]] == [(v.axis, v.ys) for v in part.windows[:-2]]
            and all(0 <= a.taps - b.taps <= 1 for a, b in zip(_plane(first), _plane(part), strict=True)))


def _variants(axes):
    """Points along both axes of a layer."""
    alone = all(a.taps == 1 for a in axes)  # of a strided layer whose phases do not fit one group
    return [pair for pair in product(*(POINTS[a.taps] for a in axes)) if alone or pair != (1, 1)]


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


def _work(phases, kind, points):
    """What a layer consists of, on vectors: products, sums of a slice (and their way back to y), lines of tiles of x,
    cycles that carry x into strips, lines of weights, weights that are written before the tiles and read by them."""
    nest, kernel = phases[0], _kernels.load("winograd", kind)
    lanes, axes = kernel.LANES, _plane(nest)
    planes, outer = (nest.windows[0].axis.taps, nest.windows[0].axis.out) if len(nest.windows) > 2 else (1, 1)
    tiles, last = nest.n * outer * _tiles(axes, points), nest.windows[-1]
    (p, q), outs = points, [n + 1 - a.taps for n, a in zip(points, axes, strict=True)]
    planes *= len(phases)
    u, v, depth = -(-nest.m // lanes), -(-nest.c // lanes), nest.c * planes
    met = sum(prod(n - a.taps + b.taps for n, a, b in zip(points, axes, _plane(part), strict=True)) for part in phases)
    depth_met = depth * met / (p * q * len(phases))
    least, most = kernel.BLOCK
    room = tiles if tiles < nest.m else kernel.BYTES // max((8 if kind == "f64" else 4) * p * q * (depth + lanes), 1)
    block = max(min(max(room, least), most, tiles), 1)
    sums = p * q * u * max(tiles, kernel.ROWS // 2)
    return (sums * depth_met * (1 if u > 1 else 3) * (1 + AGAIN / block), sums * -(-depth // kernel.SLICE),
            tiles * planes * v * _lines((outs[1], p), (p, q)),
            tiles * planes * _moved(nest.x[2], last.xs, nest.c, lanes, (p + outs[0]) / 2 * (q + outs[1]) / 2),
            depth * u * (1 if 1 in nest.w[1:] or abs(last.ws) == 1 else 1.4) * _lines((axes[1].taps, p), (p, q)),
            depth * nest.m if tiles >= nest.m or u <= 9 else 0)


def _cycles(phases, kind, points) -> float:
    once = sum(n * cost for n, cost in zip(_work(phases, kind, points), COSTS, strict=True))
    return phases[0].g * once * (PHASED if len(phases) > 1 else 1)


def _choice(phases, kind):
    """The points along the last two axes that cost least."""
    return min(_variants(_plane(phases[0])), key=lambda points: _cycles(phases, kind, points))


# ---- weight gradients: each nest alone, a group of one

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


def _gradient_cycles(alone, kind, points) -> float:
    """Cost in the units of gemm: a product of a vector 1 (1.2 where a panel has one vector only), LINE to transform a
    line of vectors (0.6 of it for x, where columns serve two tiles; 1.5 for taps that do not adjoin), 0.8 for a sum
    that is kept between blocks. One core of an AVX-512 server (`python benchmarks/crossover.py --lines`).
    """
    (nest,), kernel = alone, _kernels.load("winograd_grad", kind)
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


def _gradient_choice(alone, kind):
    return min(_variants([a.swap_wy() for a in _plane(alone[0])]),
               key=lambda points: _gradient_cycles(alone, kind, points))


def _gradient_scratch(alone, kind, threads):
    """V and D of a block, the products of a task, and the taps of the parts."""
    (nest,) = alone
    lanes, size = _kernels.load("winograd_grad", kind).LANES, 8 if kind == "f64" else 4
    points = _gradient_choice(alone, kind)
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
    gradient, groups = _split(nest)
    cycles, choice, around = (_gradient_cycles, _gradient_choice, 5e-6) if gradient else (_cycles, _choice, 3e-6)
    return sum(around + cycles(part, kind, choice(part, kind)) / 3.5e9 / threads for part in groups)


def scratch(nest, kind, threads):
    gradient, groups = _split(nest)
    return max((_gradient_scratch if gradient else _scratch)(part, kind, threads) for part in groups)


def _scratch(phases, kind, threads):
    """Transformed weights or transformed input, and a thread's block of the other and of the products."""
    nest = phases[0]
    kernel, size = _kernels.load("winograd", kind), 8 if kind == "f64" else 4
    planes = nest.windows[0].axis.taps if len(nest.windows) > 2 else 1
    depth, width, q = len(phases) * nest.c * planes, 3 * kernel.LANES, prod(_choice(phases, kind))
    weights = q * nest.g * depth * -(-nest.m // kernel.LANES) * kernel.LANES * size
    block = q * size * (16 * depth + 256 * width + min(depth, kernel.SLICE) * width) + 327680
    return min(weights, LIMIT) + threads * block


def way(nest, model, kind, bound):
    """(kernel, its calls): of each part its phases, whether it stores, its points and how a weight gradient is cut."""
    gradient, groups = _split(nest)
    # By their axes: a batch has lattices apart that one image has together, and a view may have axes in another order.
    models = {tuple(map(tuple, map(_plane, alike))): alike for alike in _split(model)[1][::-1]}
    calls = []
    for part in groups:
        alike = models.get(tuple(map(tuple, map(_plane, part))), part)
        points = (_gradient_choice if gradient else _choice)(alike, kind)
        options = (*_cut(alike[0], kind, points), *points) if gradient else points
        calls.append((b"".join(phase.pack() for phase in part), part[0].first, options))
    return "winograd_grad" if gradient else "winograd", calls


def prepare(nest, call, w):
    """The transformed weights of each part (once where parts share them), or None where w is the y of a layer."""
    name, calls = call.way
    if name == "winograd_grad":
        return None
    kernel, known, found = _kernels.load(name, call.kind), {}, []
    for part, (packed_nests, _, points) in zip(_split(nest)[1], calls, strict=True):
        form = points, *((phase.origin[1], *((v.axis.taps, v.ws) for v in phase.windows if v.axis.taps > 1))
                         for phase in part)
        if form not in known:
            known[form] = empty((kernel.packed_size(packed_nests, *points),), call.dtype, False, w)
            kernel.pack(w, known[form], packed_nests, *points, call.threads)
        found.append(known[form])
    return found


def joined(call, other):
    """One call for the nests of both layers, which store and share no output, or None: in one region."""
    if {call.way[0], other.way[0]} != {"winograd"}:
        return None
    return call._replace(way=("winograd", call.way[1] + other.way[1]))


def ready(nest, call):
    name, calls = call.way
    kernel = _kernels.load(name, call.kind).run
    if name == "winograd_grad":
        return [(kernel, None, packed_nest, first, call.cval, *options) for packed_nest, first, options in calls]
    nests = tuple((packed_nest, first, *points) for packed_nest, first, points in calls)
    return [(kernel, None, nests, call.cval, call.weights)]


def run(nest, call, x, w, y):
    for kernel, _, *rest in ready(nest, call):
        kernel(x, w, y, call.bias, *rest, call.threads)
