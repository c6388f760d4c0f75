"""Overlap-save with real transforms of scipy.fft (floor 3): kernels too large for sums one by one.

The outputs are cut into tiles. A tile's input, gathered by the boundary rules (or read in place where it lies inside
the array), is transformed, multiplied by the spectrum of the turned kernel, summed over the input channels, and
transformed back; what wrapped around is dropped. Taps are spread by the dilation, strides keep some of the outputs.

Error: with t = log2 of a tile's N positions, u the unit roundoff, ||x|| the 2-norm of what one tile reads (all
channels) and ||w|| that of one output channel's weights, every output is off by at most

    (3 t eta + O(c u)) ||x|| ||w||,    eta = u + gamma_4 (sqrt(2) + u)

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., section 24.1 for each of the three transforms, and
Cauchy-Schwarz for the sum of products); `error_bound` computes it. That section proves it for powers of two; here
lengths have factors 3 and 5 as well, and the constant of O(c u) is a generous allowance, so the bound as computed is
checked by tests, not proved. It knows norms only: outputs that are small beside the largest input of their tile lose
relative accuracy.

An infinity or nan spoils its whole tile. Such tiles are computed again by a solver that sums one by one, so the law
that one nan reaches only the outputs whose windows hold it is kept. Bits depend on tiles and on the order of channels,
decided on the model, and not on how many transforms are done at once; those of a tile that is computed again are the
other solver's.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import log2, prod, sqrt

import numpy as np

from . import _overlap
from ._base import not_dense
from ._overlap import BLOCK, WIDE, Way, prepared
from ._tiles import LONGEST, cut_into, lengths, reach_of, twos

name = "fft"
error_factor = 2.0  # 1-D float32 data, random, constant, positive and spiked, used at most 0.14 of this bound
normwise = True

MOST_STRIDE = 4
ROOM = 16 << 20  # bytes of scratch that every problem may use
TOGETHER = 1 << 17  # positions of a few rows
KEPT = 64 << 20  # bytes of spectra that a bound plan keeps


def tapped(nest):
    """The windows that are transformed, in the order of the nest; the others are loops."""
    return [v for v in nest.windows if not v.is_plain()]


def refuse(nest, kind):
    reason = not_dense(nest, kind)
    if reason:
        return reason
    if not nest.products or any(v.axis.size == 0 for v in nest.windows):
        return "an empty array has no transform"
    windows = tapped(nest)
    if not windows:
        return "no axis has more than one tap"
    longest = max(reach_of(v.axis) + v.axis.stride * (v.axis.out - 1) for v in windows)
    if longest > LONGEST:
        return f"an axis of {longest} positions is longer than any transform (at most {LONGEST})"
    stride = max(v.axis.stride for v in windows)
    if stride > MOST_STRIDE:
        return f"stride {stride} would drop all but one of {stride} computed outputs (at most {MOST_STRIDE})"
    spread = prod(reach_of(v.axis) for v in windows)
    if spread > max(1 << 20, 4 * _elements(replace(nest, n=1))):
        return f"the taps lie spread over {spread} positions, far more than the arrays hold"
    return None


# What a tile costs, and which tiles.


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile lengths and the sizes of blocks of groups, output and input channels; `seconds` for one image, n = 1."""

    lengths: tuple[int, ...]
    g: int
    m: int
    c: int
    rows: int  # positions along the first axis that are transformed at once along the last
    beside: int  # values that a tile of a group takes beside the spectra of the weights
    kernel: float  # seconds for the weights
    image: float  # seconds for an image


def _tiling(nest, windows, lengths, kind) -> Tiling:
    """How blocks share the room for these tiles, and the seconds that this takes.

    Found on one core of an Emerald Rapids server, where scipy.fft 1.17 takes the same for rows and for columns of what
    lies in the L2 cache, and more for more (`python benchmarks/crossover.py --lines`).
    """
    size = 8 if kind == "f64" else 4
    cuts = [cut_into(v.axis, length) for v, length in zip(windows, lengths, strict=True)]
    n, room = prod(lengths), _room(nest, kind)
    one = size * n
    most = max(1, room // (3 * one))  # spectra of weights in a third of the room
    c = min(nest.c, most)
    m = min(nest.m, max(1, most // c))
    g = min(nest.g, max(1, most // (c * m)))
    while g * (c + m) * 2 * one > room // 2 and g * c * m > 1:  # a tile's spectra and results in half of it
        g, m, c = (-(-g // 2), m, c) if g > 1 else (g, -(-m // 2), c) if m > 1 else (g, m, -(-c // 2))
    tiles = prod(cut.tiles for cut in cuts)
    transform = n * 1e-9 * _each(lengths, kind, tiles * g * c)
    again = -(-nest.m // m)  # the input is transformed for every block of output channels
    rounds = -(-tiles // max(1, (BLOCK if nest.c == c else WIDE) // (n * g * (c + m))))
    kernel = nest.g * nest.m * nest.c * transform * 0.9
    if nest.c > c:  # and then the spectra of weights for every block of tiles
        kernel *= rounds
    image = tiles * nest.g * ((nest.c * again + nest.m) * transform + 0.06e-9 * size * nest.c * nest.m * n)
    pieces = prod(min(3, cut.tiles) for cut in cuts)
    image += -(-nest.g // g) * again * -(-nest.c // c) * (2e-4 * rounds + 3e-5 * pieces)
    rows, beside = _rows(lengths, g, m, c, room // size)
    return Tiling(tuple(lengths), g, m, c, rows, beside, kernel, image)


def _rows(lengths, g, m, c, room) -> tuple[int, int]:
    """How many rows are transformed at once, and values that a tile then takes: all, if two tiles have room for that.

    A tile and its spectrum lie side by side, then the spectrum and its result. Rows a few at a time need no second
    whole, and take an eighth longer.
    """
    n = prod(lengths)
    most = max(c, m) * n * 9 // 4
    if len(lengths) == 1 or g * (m * c * n + 2 * most) <= room:
        return lengths[0], most
    rows = min(lengths[0], max(1, TOGETHER * lengths[0] // n))
    return rows, (1 if c == m == 1 else c + m) * n + 2 * max(c, m) * rows * n // lengths[0]


def _each(lengths, kind, count) -> float:
    """Nanoseconds for a position that is transformed once along all axes, and read or stored; `count`: transforms.

    Lengths with few factors 2 take longer, and axes beyond 1024 positions more passes; a tile of more than 350 kB
    leaves L2 with its spectrum, beyond 3.5 MB most of its lines miss.
    """
    wide = kind == "f64"
    time = sum((2.0 if wide else 1.25) + (0.4 if wide else 0.25) * max(0.0, log2(length) - 10) for length in lengths)
    time *= 1 + sum(0.02 * max(0, 5 - twos(length)) for length in lengths) / len(lengths)
    large = log2(prod(lengths) * (8 if wide else 4) / 350e3)
    time *= 1 + 0.08 * max(0.0, large) + 0.1 * max(0.0, large - log2(10))
    if len(lengths) == 1 and count < 4:  # nothing to fill the lanes of vectors
        time *= 1.4 if wide else 2.2
    return time + (0.8 if wide else 0.4)


def _elements(nest) -> int:
    x = nest.n * nest.g * nest.c * prod(v.axis.size for v in nest.windows)
    return x + nest.outputs + nest.g * nest.m * nest.depth


def _room(nest, kind) -> int:
    """Bytes of scratch: a quarter of the arrays, or `ROOM`; an eighth of it is left for what is small."""
    return max(ROOM, _elements(nest) * (8 if kind == "f64" else 4) // 4) * 7 // 8


def _choices(nest, kind):
    """Candidates for the tile lengths, one tuple per choice, of those that fit into the room."""
    windows = tapped(nest)
    room = _room(nest, kind) // (8 if kind == "f64" else 4)
    candidates = [lengths(v.axis, (16, 12, 5)[len(windows) - 1]) for v in windows]
    able = [choice for choice in product(*candidates) if prod(choice) + 2 * _rows(choice, 1, 1, 1, room)[1] <= room]
    return able or [tuple(found[0] for found in candidates)]


@lru_cache(maxsize=1024)
def tiling(nest, kind) -> Tiling:
    """The cheapest tiles for one image of this nest. Few are the less welcome: threads have tiles of their own."""
    nest, windows = replace(nest, n=1), tapped(nest)
    images = _images(nest)

    def cost(t):
        tiles = images * prod(cut_into(v.axis, length).tiles for v, length in zip(windows, t.lengths, strict=True))
        return t.kernel + t.image * images * (1 + 0.3 / tiles), t.lengths

    return min((_tiling(nest, windows, choice, kind) for choice in _choices(nest, kind)), key=cost)


def _images(nest) -> int:
    return nest.n * prod(v.axis.out for v in nest.windows if v.is_plain())


def seconds(nest, kind, threads):
    """The transforms of the cheapest tiles (`_tiling`), and 200 us for a call.

    A quarter more than one thread takes: choices are made for one thread, and two make sums 1.9 times as fast, tiles
    1.5 to 1.8 times (`python benchmarks/crossover.py --lines`).
    """
    found = tiling(replace(nest, n=1), kind)
    return 2e-4 + 1.25 * (found.kernel + found.image * _images(nest)) / threads


def scratch(nest, kind, threads):
    """The room, into which blocks are made to fit, or what one tile with one channel in and out needs."""
    nest = replace(nest, n=1)
    found = tiling(nest, kind)
    one = prod(found.lengths) * (8 if kind == "f64" else 4)
    return max(_room(nest, kind), one * (found.g * found.m * found.c + 2 * found.g * (found.c + found.m)))


def error_bound(length: int, channels: int, x_norm, w_norm, dtype):
    """The a-priori bound of the module's head: `length` positions in a tile, 2-norms of what it reads and of w."""
    u = np.finfo(dtype).eps / 2
    gamma = 4 * u / (1 - 4 * u)
    eta = u + gamma * (sqrt(2) + u)
    return (3 * log2(max(length, 2)) * eta + (channels + 4) * 3 * u) * x_norm * w_norm


# One call.


def way(nest, model, kind, bound):
    """Tiles and the order of the axes as on the model, whatever the strides of the arrays."""
    places = _match(nest, model)
    if places is None:  # a view of rank 4 and more whose axes were peeled otherwise
        model = replace(nest, n=1)
        places = _match(nest, model)
    found = tiling(replace(model, n=1, origin=(0, 0, 0)), kind)
    model_places = tuple(i for i, v in enumerate(model.windows) if not v.is_plain())
    cuts = tuple(cut_into(model.windows[i].axis, length) for i, length in zip(model_places, found.lengths, strict=True))
    return Way(model, found, cuts, places, model_places, _room(replace(model, n=1), kind))


def _match(nest, model):
    """For each transformed window of the model, its place in the nest; None if the nest has others."""
    left = [i for i, v in enumerate(nest.windows) if not v.is_plain()]
    places = []
    for v in tapped(model):
        same = [i for i in left if (nest.windows[i].axis, nest.windows[i].ws) == (v.axis, v.ws)]
        if not same:
            return None
        places.append(same[0])
        left.remove(same[0])
    return None if left else tuple(places)


def prepare(nest, call, w):
    """The spectra of all weights, unless they take more than `KEPT` bytes."""
    return prepared(nest, call, w, KEPT)


def run(nest, call, x, w, y):
    _overlap.run(nest, call, x, w, y)
