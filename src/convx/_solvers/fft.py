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
from ._tiles import Cut, cut_into, gather, groups, lengths, outputs_only

name = "fft"
error_factor = 4.0
normwise = True

MOST_STRIDE = 4
ROOM = 16 << 20  # bytes of scratch that every problem may use
KEPT = 64 << 20  # bytes of spectra that a bound plan keeps
BLOCK = 1 << 19  # positions transformed at once for each thread: 2 to 4 MB, flat between 2^17 and 2^21
LANES = 8  # transforms that scipy.fft does side by side: 4, or 8 in wide vectors
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

    One of N positions takes 0.18 log2(N) + 0.85 R ns in a transform of R axes and 0.4 ns to be read or stored, in a
    product 0.8 ns, in float64 1.6 times that; a block of tiles 100 us, and 30 us for each of its pieces. One core of a
    busy Zen 3 server, set against the other solvers in the same minutes; a factor 1.5 changes few choices.
    """
    size = 8 if kind == "f64" else 4
    cuts = [cut_into(v.axis, length) for v, length in zip(windows, lengths, strict=True)]
    n, room, rank = prod(lengths), _room(nest, kind), len(lengths)
    one = size * n
    most = max(1, room // (3 * one))  # spectra of weights in a third of the room
    c = min(nest.c, most)
    m = min(nest.m, max(1, most // c))
    g = min(nest.g, max(1, most // (c * m)))
    while g * (c + m) * 2 * one > room // 2 and g * c * m > 1:  # a tile's spectra and results in half of it
        g, m, c = (-(-g // 2), m, c) if g > 1 else (g, -(-m // 2), c) if m > 1 else (g, m, -(-c // 2))
    nano = 1e-9 * (1 if kind == "f32" else 1.6)
    transform = (0.18 * log2(n) + 0.85 * rank + 0.4) * n * nano
    tiles = prod(cut.tiles for cut in cuts)
    if rank == 1 and tiles * g * c < 4:  # nothing to fill the lanes of vectors
        transform *= 1.6
    again = -(-nest.m // m)  # the input is transformed for every block of output channels
    rounds = max(1, tiles * n * g * (c + m) // BLOCK)
    kernel = nest.g * nest.m * nest.c * transform * 0.9
    if nest.c > c:  # and then the spectra of weights for every block of tiles
        kernel *= rounds
    image = tiles * nest.g * ((nest.c * again + nest.m) * transform + 0.8 * nest.c * nest.m * n * nano)
    pieces = prod(min(3, cut.tiles) for cut in cuts)
    image += -(-nest.g // g) * again * -(-nest.c // c) * (1e-4 * rounds + 3e-5 * pieces)
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
    """The transforms of the cheapest tiles (`_tiling`), and 100 us for a call."""
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
    cuts = tuple(cut_into(model.windows[i].axis, length) for i, length in zip(model_places, found.lengths, strict=True))
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
        plain = [v for v in nest.windows if v.is_plain()]
        x_loops = _Loops(nest.origin[0], (nest.x[0], *(v.xs for v in plain)), nest.x[1:],
                         tuple(nest.windows[i].xs for i in way.places))
        y_loops = _Loops(nest.origin[2], (nest.y[0], *(v.ys for v in plain)), nest.y[1:],
                         tuple(nest.windows[i].ys for i in way.places))
        for g, m in product(_parts(nest.g, tiling.g), _parts(nest.m, tiling.m)):
            _channels(_Part(nest, call, x, w, y, weights, g, m, x_loops, y_loops))


def _parts(extent, size):
    return [slice(a, min(a + size, extent)) for a in range(0, extent, size)]


class _Loops(NamedTuple):
    """Strides in x or y: of the plain loops, of groups and channels, and of the positions along each cut."""

    origin: int
    plain: tuple[int, ...]
    channel: tuple[int, int]
    inner: tuple[int, ...]


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
    x_loops: _Loops
    y_loops: _Loops

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
    for pieces in groups(way.cuts, loops, _at_once(way, call)):
        total = None
        for c in channels:
            total = _add(_forward(part, pieces, c), kept if kept is not None else part.spectra(c), total)
        found, first = _backward(total, part, pieces), 0
        whole = np.isfinite(np.add.reduce(found, tuple(range(2, found.ndim))))  # false where an inf or nan is
        for piece in pieces:
            last = first + piece.count
            _store(part, piece, found[first:last], whole[first:last])
            first = last


def _at_once(way, call) -> int:
    """Tiles that are transformed together; along one axis at least as many as vectors have lanes."""
    each = prod(way.tiling.lengths) * way.tiling.g * (way.tiling.c + way.tiling.m)
    room = _room(way.model, call.kind) // (4 * call.dtype.itemsize)
    least = -(-LANES // way.tiling.g) if len(way.cuts) == 1 else 1
    return max(1, min(max(BLOCK * call.threads // each, least), room // each))


def _view(array, dtype, loops, piece, g, channels, firsts, steps, counts):
    """The tiles of a piece in x or y: (*loops, *tiles, g, channels, one axis per cut).

    For each cut: where its first tile begins, the step to the next one, and how many positions it has.
    """
    origin = loops.origin + g.start * loops.channel[0] + channels.start * loops.channel[1]
    strides = list(loops.plain)
    for first, step, s in zip(firsts, steps, loops.inner, strict=True):
        strides.append(step * s)
        origin += first * s
    for b, step in zip(piece.block, strides, strict=True):
        origin += b.start * step
    shape = *piece.extents, g.stop - g.start, channels.stop - channels.start, *counts
    return at(array, dtype, origin, shape, (*strides, *loops.channel, *loops.inner))


def _tiles_of(part, piece, c):
    """A piece's tiles in x; along the axis of an edge tile the whole array."""
    firsts, steps, counts = [], [], []
    for cut, run in zip(part.call.way.cuts, piece.runs, strict=True):
        firsts.append(run.first * cut.step - cut.axis.offset if run.inside else 0)
        steps.append(cut.step)
        counts.append(cut.length if run.inside else cut.axis.size)
    return _view(part.x, part.call.dtype, part.x_loops, piece, part.g, c, firsts, steps, counts)


def _forward(part, pieces, c):
    """Spectra (B, g, c, *F) of the tiles of some pieces, for the input channels c."""
    from scipy import fft

    call, cuts, rank = part.call, part.call.way.cuts, len(part.call.way.cuts)
    if len(pieces) == 1 and all(run.inside for run in pieces[0].runs):
        tiles = _tiles_of(part, pieces[0], c)
    else:
        count = sum(piece.count for piece in pieces)
        tiles = np.zeros((count, part.g.stop - part.g.start, c.stop - c.start, *part.call.way.tiling.lengths),
                         call.dtype)
        first = 0
        for piece in pieces:
            patch = tiles[first:first + piece.count].reshape(*piece.extents, *tiles.shape[1:])
            gather(_tiles_of(part, piece, c), cuts, piece.runs, call.cval[0], patch)
            first += piece.count
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


def _store(part, piece, found, whole):
    """Outputs (tiles, g, m, *o) of a piece into y with the bias, or added to it.

    Those of a tile and group that may not be finite (`whole` is false) are computed again if they are not.
    """
    nest, call, cuts = part.nest, part.call, part.call.way.cuts
    sizes = [cut.here(run.first) for cut, run in zip(cuts, piece.runs, strict=True)]
    found = found[(..., *map(slice, sizes))].reshape(*piece.extents, *found.shape[1:3], *sizes)
    outs = [cut.outs for cut in cuts]
    firsts = [run.first * cut.outs for cut, run in zip(cuts, piece.runs, strict=True)]
    view = _view(part.y, call.dtype, part.y_loops, piece, part.g, part.m, firsts, outs, sizes)
    bad = [] if whole.all() else [place for place in np.argwhere(~whole.reshape(found.shape[:-len(cuts) - 1])).tolist()
                                  if not np.isfinite(found[tuple(place)]).all()]
    kept = [] if nest.first else [view[tuple(place)].copy() for place in bad]
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
