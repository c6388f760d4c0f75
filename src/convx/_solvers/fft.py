"""Overlap-save with real transforms of scipy.fft (floor 3): kernels too large for sums one by one.

The outputs are cut into tiles. A tile's input, gathered by the boundary rules (or read in place where it lies inside
the array), is transformed, multiplied by the spectrum of the turned kernel, summed over the input channels, and
transformed back; what wrapped around is dropped. Taps are spread by the dilation, strides keep some of the outputs.

Error: with t = log2 of a tile's N positions, u the unit roundoff, ||x|| the 2-norm of what one tile reads (all
channels) and ||w|| that of one output channel's weights, every output is off by at most

    (3 t eta + O(c u)) ||x|| ||w||,    eta = u + gamma_4 (sqrt(2) + u)

(Higham, Accuracy and Stability of Numerical Algorithms, 2nd ed., theorem 24.2 for each of the three transforms, and
Cauchy-Schwarz for the sum of products); `error_bound` computes it. The bound knows norms only: outputs that are small
beside the largest input of their tile lose relative accuracy.

An infinity or nan spoils its whole tile. Such tiles are computed again by a solver that sums one by one, so the law
that one nan reaches only the outputs whose windows hold it is kept. Bits depend on tiles and on the order of channels,
decided on the model, and not on how many transforms are done at once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from math import log2, prod, sqrt
from typing import NamedTuple

import numpy as np

from .._nest import Nest
from . import direct, gemm, stencil
from ._base import at, not_dense
from ._tiles import Cut, gather, groups, lengths, outputs_only

name = "fft"
error_factor = 4.0
normwise = True

MOST_STRIDE = 4
ROOM = 16 << 20  # bytes of scratch that every problem may use
KEPT = 64 << 20  # bytes of spectra that a bound plan keeps
BLOCK = 1 << 18  # positions transformed at once by one thread: 1 to 2 MB, flat between 2^16 and 2^20
ALONE = 1 << 15  # positions below which scipy's thread pool costs more than it gains


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
    stride = max(v.axis.stride for v in windows)
    if stride > MOST_STRIDE:
        return f"stride {stride} would drop all but one of {stride} computed outputs (at most {MOST_STRIDE})"
    return None


# What a tile costs, and which tiles.


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile lengths and the sizes of blocks of groups, output and input channels; `seconds` for one image, n = 1."""

    lengths: tuple[int, ...]
    g: int
    m: int
    c: int
    kernel: float  # seconds for the weights
    image: float  # seconds for an image


def _tiling(nest, windows, lengths, kind) -> Tiling:
    """How blocks share the room for these tiles, and the seconds that this takes.

    One of N positions in a transform of R axes takes 0.13 log2(N) + 0.6 R - 0.2 ns, reading or storing it 0.5 ns, a
    complex product 0.5 ns a position, in float64 1.6 times that; a block of tiles 80 us, and 10 us for each of its
    pieces. One core of a Zen 3 server; a factor 1.5 in any of them changes few choices.
    """
    size = 8 if kind == "f64" else 4
    cuts = [Cut(v.axis, length) for v, length in zip(windows, lengths, strict=True)]
    n, room, rank = prod(lengths), _room(nest, kind), len(lengths)
    one = size * n
    most = max(1, room // (3 * one))  # spectra of weights in a third of the room
    c = min(nest.c, most)
    m = min(nest.m, max(1, most // c))
    g = min(nest.g, max(1, most // (c * m)))
    while g * (c + m) * 2 * one > room // 2 and g * c * m > 1:  # a tile's spectra and results in half of it
        g, m, c = (-(-g // 2), m, c) if g > 1 else (g, -(-m // 2), c) if m > 1 else (g, m, -(-c // 2))
    nano = 1e-9 * (1 if kind == "f32" else 1.6)
    transform = (0.13 * log2(n) + 0.6 * rank + 0.3) * n * nano
    tiles = prod(cut.tiles for cut in cuts)
    if rank == 1 and tiles * g * c < 4:  # nothing to fill the lanes of vectors
        transform *= 1.6
    again = -(-nest.m // m)  # the input is transformed for every block of output channels
    rounds = max(1, tiles * n * g * (c + m) // BLOCK)
    kernel = nest.g * nest.m * nest.c * transform * 0.7
    if nest.c > c:  # and then the spectra of weights for every block of tiles
        kernel *= rounds
    image = tiles * nest.g * ((nest.c * again + nest.m) * transform + 0.5 * nest.c * nest.m * n * nano)
    pieces = prod(min(3, cut.tiles) for cut in cuts)
    image += -(-nest.g // g) * again * -(-nest.c // c) * (8e-5 * rounds + 1e-5 * pieces)
    return Tiling(tuple(lengths), g, m, c, kernel, image)


def _room(nest, kind) -> int:
    """Bytes of scratch: a quarter of the arrays, or `ROOM`."""
    size = 8 if kind == "f64" else 4
    x = nest.n * nest.g * nest.c * prod(v.axis.size for v in nest.windows)
    return max(ROOM, (x + nest.outputs + nest.g * nest.m * nest.depth) * size // 4) * 7 // 8


def _choices(nest, kind):
    """Candidates for the tile lengths, one tuple per choice, of those that fit into the room."""
    windows = tapped(nest)
    limit = _room(nest, kind) // (4 * (8 if kind == "f64" else 4))
    candidates = [lengths(v.axis, (16, 8, 5)[len(windows) - 1]) for v in windows]
    able = [choice for choice in product(*candidates) if prod(choice) <= limit]
    return able or [tuple(found[0] for found in candidates)]


@lru_cache(maxsize=1024)
def tiling(nest, kind) -> Tiling:
    """The cheapest tiles for one image of this nest."""
    nest, windows = replace(nest, n=1), tapped(nest)
    return min((_tiling(nest, windows, choice, kind) for choice in _choices(nest, kind)),
               key=lambda t: (t.kernel + t.image * _images(nest), t.lengths))


def _images(nest) -> int:
    return nest.n * prod(v.axis.out for v in nest.windows if v.is_plain())


def seconds(nest, kind, threads):
    """The transforms of the cheapest tiles (`_tiling`), and 60 us for a call."""
    found = tiling(replace(nest, n=1), kind)
    return 1e-4 + (found.kernel + found.image * _images(nest)) / threads


def scratch(nest, kind, threads):
    return max(_room(replace(nest, n=1), kind), 8 * prod(tiling(replace(nest, n=1), kind).lengths) * 4)


def error_bound(length: int, channels: int, x_norm, w_norm, dtype):
    """The a-priori bound of the module's head: `length` positions in a tile, 2-norms of what it reads and of w."""
    u = np.finfo(dtype).eps / 2
    gamma = 4 * u / (1 - 4 * u)
    eta = u + gamma * (sqrt(2) + u)
    return (3 * log2(max(length, 2)) * eta + (channels + 4) * 3 * u) * x_norm * w_norm


# One call.


class Way(NamedTuple):
    """Decided once per plan: the model, the tiles, and which window of the nest each cut belongs to."""

    model: Nest
    tiling: Tiling
    cuts: tuple[Cut, ...]
    places: tuple[int, ...]
    model_places: tuple[int, ...]


def way(nest, model, kind, bound):
    """Tiles and the order of the axes as on the model, whatever the strides of the arrays."""
    places = _match(nest, model)
    if places is None:  # a view of rank 4 and more whose axes were peeled otherwise
        model = replace(nest, n=1)
        places = _match(nest, model)
    found = tiling(replace(model, n=1, origin=(0, 0, 0)), kind)
    model_places = tuple(i for i, v in enumerate(model.windows) if not v.is_plain())
    cuts = tuple(Cut(model.windows[i].axis, length) for i, length in zip(model_places, found.lengths, strict=True))
    return Way(model, found, cuts, places, model_places)


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


class Weights(NamedTuple):
    """Whether all weights are finite, and their spectra (g, m, c, *F) if all of them are kept."""

    finite: bool
    spectra: np.ndarray | None


def prepare(nest, call, w):
    """The spectra of all weights, unless they take more than `KEPT` bytes."""
    return _prepared(nest, call, w, KEPT)


def _prepared(nest, call, w, most):
    way, size = call.way, call.dtype.itemsize
    taps = _taps(nest, way, call.dtype, w)
    finite = bool(np.isfinite(taps).all())
    total = nest.g * nest.m * nest.c * prod(way.tiling.lengths) * size
    if not finite or total > most:
        return Weights(finite, None)
    return Weights(finite, _spectra(taps, way.cuts, call.threads))


def _taps(nest, way, dtype, w):
    """w as (g, m, c, *k), turned around, its axes in the order of the cuts."""
    windows = [nest.windows[i] for i in way.places]
    origin = nest.origin[1] + sum((v.axis.taps - 1) * v.ws for v in windows)
    return at(w, dtype, origin, (nest.g, nest.m, nest.c, *(v.axis.taps for v in windows)),
              (*nest.w, *(-v.ws for v in windows)))


def _spectra(taps, cuts, threads):
    """Transforms of kernels, axis by axis from the last, so that rows without taps are not transformed."""
    from scipy import fft

    rank = len(cuts)
    for a in range(rank - 1, -1, -1):
        cut, axis = cuts[a], taps.ndim - rank + a
        shape = (*taps.shape[:axis], cut.length, *taps.shape[axis + 1:])
        spread = np.zeros(shape, taps.dtype)
        spread[(slice(None),) * axis + (slice(0, cut.reach, cut.axis.dilation),)] = taps
        workers = _workers(spread, threads)
        if a == rank - 1:
            taps = fft.rfft(spread, axis=axis, workers=workers)
        else:
            taps = fft.fft(spread, axis=axis, overwrite_x=True, workers=workers)
    return taps


def _workers(array, threads):
    return threads if array.size > ALONE else 1


def run(nest, call, x, w, y):
    way = call.way
    tiling = way.tiling
    with np.errstate(all="ignore"):  # infinities and nan are looked for afterwards
        weights = call.weights or _prepared(nest, call, w, _room(way.model, call.kind) // 3)
        if not weights.finite:
            _exactly(nest, way.model, call, call.bias, x, w, y)
            return
        for g, m in product(_parts(nest.g, tiling.g), _parts(nest.m, tiling.m)):
            _channels(_Part(nest, call, x, w, y, weights, g, m))


def _parts(extent, size):
    return [slice(a, min(a + size, extent)) for a in range(0, extent, size)]


class _Part(NamedTuple):
    """One call for some groups and output channels."""

    nest: Nest
    call: tuple
    x: np.ndarray
    w: np.ndarray
    y: np.ndarray
    weights: Weights
    g: slice
    m: slice

    def spectra(self, c):
        """Spectra of the weights for these input channels."""
        where = (self.g, self.m, c)
        if self.weights.spectra is not None:
            return self.weights.spectra[where]
        way = self.call.way
        return _spectra(_taps(self.nest, way, self.call.dtype, self.w)[where], way.cuts, self.call.threads)


def _channels(part):
    """All tiles of all images for some groups and output channels."""
    nest, call = part.nest, part.call
    way, tiling = call.way, call.way.tiling
    channels = _parts(nest.c, tiling.c)
    kept = part.spectra(channels[0]) if len(channels) == 1 else None
    loops = nest.n, *(v.axis.out for v in nest.windows if v.is_plain())
    each = prod(tiling.lengths) * tiling.g * (tiling.c + tiling.m)
    room = _room(way.model, call.kind) // (4 * call.dtype.itemsize)
    for pieces in groups(way.cuts, loops, max(1, min(BLOCK * call.threads, room) // each)):
        total = None
        for c in channels:
            total = _add(_forward(part, pieces, c), kept if kept is not None else part.spectra(c), total)
        found, first = _backward(total, part, pieces), 0
        for piece in pieces:
            last = first + prod(piece.extents)
            _store(part, piece, found[first:last])
            first = last


def _view(part, array, operand, piece, channels, positions):
    """The tiles of a piece in x (operand 0) or y (2): (*loops, *tiles, g, channels, one axis per cut).

    positions: for each cut, where its first tile begins, the step to the next one, and how many positions it has.
    """
    nest, way, g = part.nest, part.call.way, part.g
    plain = [v for v in nest.windows if v.is_plain()]
    if operand == 0:
        steps, inner = [nest.x[0], *(v.xs for v in plain)], [nest.windows[i].xs for i in way.places]
    else:
        steps, inner = [nest.y[0], *(v.ys for v in plain)], [nest.windows[i].ys for i in way.places]
    _, by_group, by_channel = nest.x if operand == 0 else nest.y
    steps += [step * s for (_, step, _), s in zip(positions, inner, strict=True)]
    origin = nest.origin[operand] + g.start * by_group + channels.start * by_channel
    origin += sum(b.start * step for b, step in zip(piece.block, steps, strict=True))
    origin += sum(first * s for (first, _, _), s in zip(positions, inner, strict=True))
    shape = *piece.extents, g.stop - g.start, channels.stop - channels.start, *(count for _, _, count in positions)
    return at(array, part.call.dtype, origin, shape, (*steps, by_group, by_channel, *inner))


def _tiles_of(part, piece, c):
    """A piece's tiles in x; along the axis of an edge tile the whole array."""
    positions = [(run.first * cut.step - cut.axis.offset, cut.step, cut.length) if run.inside else (0, 0, cut.axis.size)
                 for cut, run in zip(part.call.way.cuts, piece.runs, strict=True)]
    return _view(part, part.x, 0, piece, c, positions)


def _forward(part, pieces, c):
    """Spectra (B, g, c, *F) of the tiles of some pieces, for the input channels c."""
    from scipy import fft

    call, cuts, rank = part.call, part.call.way.cuts, len(part.call.way.cuts)
    if len(pieces) == 1 and all(run.inside for run in pieces[0].runs):
        tiles = _tiles_of(part, pieces[0], c)
    else:
        counts = [prod(piece.extents) for piece in pieces]
        tiles = np.zeros((sum(counts), part.g.stop - part.g.start, c.stop - c.start, *part.call.way.tiling.lengths),
                         call.dtype)
        first = 0
        for piece, count in zip(pieces, counts, strict=True):
            patch = tiles[first:first + count].reshape(*piece.extents, *tiles.shape[1:])
            gather(_tiles_of(part, piece, c), cuts, piece.runs, call.cval[0], patch)
            first += count
    workers = _workers(tiles, call.threads)
    found = fft.rfft(tiles, axis=-1, workers=workers)
    for axis in range(-rank, -1):
        found = fft.fft(found, axis=axis, overwrite_x=True, workers=workers)
    return found.reshape(-1, *found.shape[-rank - 2:])


def _add(x, w, total):
    """total (B, g, m, *F) plus the products of x (B, g, c, *F) and w (g, m, c, *F), summed over c in order."""
    if total is None and x.shape[2] == 1 and w.shape[1] == 1:
        return np.multiply(x, w[None, :, :, 0], out=x)
    first = 0
    if total is None:
        total = x[:, :, :1] * w[None, :, :, 0]
        first = 1
    size = max(1, (1 << 15) // max(1, total[:, :, 0].size))  # a scratch that stays in the cache
    for m in _parts(w.shape[1], size):
        scratch = np.empty_like(total[:, :, m])
        for c in range(first, x.shape[2]):
            np.multiply(x[:, :, c:c + 1], w[None, :, m, c], out=scratch)
            total[:, :, m] += scratch
    return total


def _backward(total, part, pieces):
    """Outputs (B, g, m, *o) from spectra; along the last axis, rows of dropped outputs are not transformed."""
    from scipy import fft

    call, cuts = part.call, part.call.way.cuts
    workers = _workers(total, call.threads)
    most = (max(cut.here(piece.runs[a].first) for piece in pieces) for a, cut in enumerate(cuts))
    kept = [slice(cut.reach - 1, cut.reach + (outs - 1) * cut.axis.stride, cut.axis.stride)
            for cut, outs in zip(cuts, most, strict=True)]
    for axis in range(-len(cuts), -1):
        total = fft.ifft(total, axis=axis, overwrite_x=True, workers=workers)
    total = total[(..., *kept[:-1], slice(None))]
    return fft.irfft(total, cuts[-1].length, axis=-1, workers=workers)[..., kept[-1]]


def _store(part, piece, found):
    """Outputs of a piece into y with the bias, or added to it; those of spoiled tiles are computed again."""
    nest, call, cuts, rank = part.nest, part.call, part.call.way.cuts, len(piece.runs)
    sizes = [cut.here(run.first) for cut, run in zip(cuts, piece.runs, strict=True)]
    found = found[(..., *(slice(size) for size in sizes))].reshape(*piece.extents, *found.shape[1:-rank], *sizes)
    positions = [(run.first * cut.outs, cut.outs, size)
                 for cut, run, size in zip(cuts, piece.runs, sizes, strict=True)]
    view = _view(part, part.y, 2, piece, part.m, positions)
    whole = np.isfinite(np.add.reduce(found, tuple(range(-rank - 1, 0))))  # false for each tile with an inf or nan
    bad = [] if whole.all() else [at for at in np.argwhere(~whole).tolist() if not np.isfinite(found[tuple(at)]).all()]
    kept = [view[tuple(place)].copy() for place in bad] if not nest.first else []
    if not nest.first:
        view += found
    elif call.bias is None:
        view[...] = found
    else:
        np.add(found, call.bias.reshape(nest.g, nest.m, *(1 for _ in sizes))[part.g, part.m], out=view)
    for i, place in enumerate(bad):
        if kept:
            view[tuple(place)] = kept[i]
        _again(part, piece, place)


# Exact sums where transforms cannot be used.


def _again(part, piece, place):
    """The outputs of one tile, one image and one group by a solver that sums one by one."""
    nest, call, way, m = part.nest, part.call, part.call.way, part.m
    *loops, group = [b.start + i for b, i in zip((*piece.block, part.g), place, strict=True)]
    tiles = [run.first + tile for run, tile in zip(piece.runs, loops[-len(piece.runs):], strict=True)]
    bias = None
    if call.bias is not None:
        bias = call.bias[group * nest.m + m.start:group * nest.m + m.stop]
    sub = _restricted(nest, way, way.places, loops[:-len(tiles)], group, m, tiles)
    model = _restricted(way.model, way, way.model_places, (), 0, m, tiles)
    _exactly(sub, model, call, bias, part.x, part.w, part.y)


def _restricted(nest, way, places, loops, group, m, tiles):
    """The nest of one image (one iteration of the plain loops), one group, some output channels and one tile."""
    x0, w0, y0 = nest.origin
    x0 += group * nest.x[1]
    w0 += group * nest.w[0] + m.start * nest.w[1]
    y0 += group * nest.y[1] + m.start * nest.y[2]
    steps = [(nest.x[0], nest.y[0]), *((v.xs, v.ys) for v in nest.windows if v.is_plain())]
    for o, (xs, ys) in zip(loops, steps, strict=False):
        x0, y0 = x0 + o * xs, y0 + o * ys
    windows = {}
    for place, cut, tile in zip(places, way.cuts, tiles, strict=True):
        v = nest.windows[place]
        y0 += tile * cut.outs * v.ys
        windows[place] = replace(v, axis=outputs_only(v.axis, tile * cut.outs, cut.here(tile)))
    return replace(nest, n=1, g=1, m=m.stop - m.start, origin=(x0, w0, y0),
                   windows=tuple(windows[place] for place in sorted(windows)))


def _exactly(nest, model, call, bias, x, w, y):
    """The nest by the cheapest solver that leaves absent taps out and keeps nan where it belongs."""
    able = [s for s in (stencil, gemm, direct) if s.refuse(nest, call.kind) is None]
    solver = min(able, key=lambda s: s.seconds(model, call.kind, 1))
    way = solver.way(nest, model, call.kind, False)
    solver.run(nest, call._replace(bias=bias, packed=nest.pack(), way=way, weights=None), x, w, y)
