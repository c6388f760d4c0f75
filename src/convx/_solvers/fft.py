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
from ._tiles import Cut, blocks, boxes, gather, outputs_only

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


@lru_cache(maxsize=1024)
def smooth(least: int, most: int) -> tuple[int, ...]:
    """About six numbers without prime factors beyond 5, spread evenly from `least` to beyond `most`."""
    found = sorted({a * b * c for a in _powers(2, 2 * most) for b in _powers(3, 2 * most // a)
                    for c in _powers(5, 2 * most // (a * b)) if a * b * c >= least})
    first = next(i for i, size in enumerate(found) if size >= most)
    found = found[:first + 1]
    ratio = (found[-1] / found[0]) ** (1 / 6)
    chosen = [found[0]]
    for size in found:
        if size >= chosen[-1] * ratio:
            chosen.append(size)
    return tuple(sorted({*chosen, found[-1]}))


def _powers(base: int, most: int):
    power = 1
    while power <= most:
        yield power
        power *= base


@dataclass(frozen=True, slots=True)
class Tiling:
    """Tile lengths and the sizes of blocks of groups, output and input channels; `seconds` for one image, n = 1."""

    lengths: tuple[int, ...]
    g: int
    m: int
    c: int
    kernel: float  # seconds for the weights
    image: float  # seconds for an image


def _tiling(nest, windows, lengths, kind) -> tuple[float, Tiling]:
    """How blocks share the room for these tiles, and the bytes beside the arrays and seconds that this takes.

    0.17 ns (f64: 0.26) for one of N log2 N in a transform, 1.2 ns to read or store a position, 1 ns for a complex
    product, 60 us for the calls of a block: one core of a Zen 3 server; a factor 1.5 in any changes few choices.
    """
    size = 8 if kind == "f64" else 4
    cuts = [Cut(v.axis, length) for v, length in zip(windows, lengths, strict=True)]
    n, room = prod(lengths), _room(nest, kind)
    one = size * n
    most = max(1, room // (3 * one))  # spectra of weights in a third of the room
    c = min(nest.c, most)
    m = min(nest.m, max(1, most // c))
    g = min(nest.g, max(1, most // (c * m)))
    while g * (c + m) * 2 * one > room // 2 and g * c * m > 1:  # a tile's spectra and results in half of it
        g, m, c = (-(-g // 2), m, c) if g > 1 else (g, -(-m // 2), c) if m > 1 else (g, m, -(-c // 2))
    nano = 1e-9 * (1 if kind == "f32" else 1.6)
    transform = (0.17 * log2(n) + 1.2) * n * nano
    tiles = prod(cut.tiles for cut in cuts)
    again = -(-nest.m // m)  # the input is transformed for every block of output channels
    passes = -(-nest.g // g) * again * -(-nest.c // c)
    kernel = nest.g * nest.m * nest.c * transform * 0.7
    if nest.c > c:  # and then the spectra of weights for every block of tiles
        kernel *= max(1, tiles * n // BLOCK)
    image = tiles * nest.g * ((nest.c * again + nest.m) * transform + nest.c * nest.m * n * nano)
    image += 6e-5 * passes * max(1, tiles * n * g * (c + m) // BLOCK)
    return Tiling(tuple(lengths), g, m, c, kernel, image)


def _room(nest, kind) -> int:
    """Bytes of scratch: a quarter of the arrays, or `ROOM`."""
    size = 8 if kind == "f64" else 4
    x = nest.n * nest.g * nest.c * prod(v.axis.size for v in nest.windows)
    return max(ROOM, (x + nest.outputs + nest.g * nest.m * nest.depth) * size // 4) * 7 // 8


def _lengths(nest, kind):
    """Candidates for the tile lengths, one tuple per choice: from little more than the taps to the whole axis."""
    windows = tapped(nest)
    limit = _room(nest, kind) // (4 * (8 if kind == "f64" else 4))
    candidates = []
    for v in windows:
        reach, span = Cut(v.axis, 0).reach, v.axis.stride * (v.axis.out - 1)
        candidates.append(smooth(reach + min(span, reach // 4 + 4), reach + min(span, 8 * reach + 4096)))
    able = [lengths for lengths in product(*candidates) if prod(lengths) <= limit]
    return able or [tuple(found[0] for found in candidates)]


@lru_cache(maxsize=1024)
def tiling(nest, kind) -> Tiling:
    """The cheapest tiles for one image of this nest."""
    nest, windows = replace(nest, n=1), tapped(nest)
    return min((_tiling(nest, windows, lengths, kind) for lengths in _lengths(nest, kind)),
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
    plain = [v for v in nest.windows if v.is_plain()]
    each = prod(tiling.lengths) * tiling.g * (tiling.c + tiling.m)
    room = _room(way.model, call.kind) // (4 * call.dtype.itemsize)
    most = max(1, min(BLOCK * call.threads, room) // each)
    for runs in boxes(way.cuts):
        for block in blocks((nest.n, *(v.axis.out for v in plain), *(run.count for run in runs)), most):
            total = None
            for c in channels:
                spectra = kept if kept is not None else part.spectra(c)
                total = _add(_forward(part, plain, runs, block, c), spectra, total)
            _store(part, plain, runs, block, _backward(total, part, runs, block))


def _loops(nest, plain, block):
    """Extents of a block's plain loops, and for x and y where they start and their strides."""
    x, y = [nest.x[0], *(v.xs for v in plain)], [nest.y[0], *(v.ys for v in plain)]
    batch = block[:1 + len(plain)]
    starts = [sum(b.start * step for b, step in zip(batch, steps, strict=True)) for steps in (x, y)]
    return [b.stop - b.start for b in batch], starts, x, y


def _forward(part, plain, runs, block, c):
    """Spectra (B, g, c, *F) of a block of tiles, for the input channels c."""
    from scipy import fft

    nest, call, way, g = part.nest, part.call, part.call.way, part.g
    extents, (start, _), steps, _ = _loops(nest, plain, block)
    origin = nest.origin[0] + start + g.start * nest.x[1] + c.start * nest.x[2]
    counts, strides, sizes, inner = [], [], [], []
    for place, cut, run, tiles in zip(way.places, way.cuts, runs, block[-len(runs):], strict=True):
        xs = nest.windows[place].xs
        if run.inside:
            origin += ((run.first + tiles.start) * cut.step - cut.axis.offset) * xs
        counts.append(tiles.stop - tiles.start)
        strides.append(cut.step * xs)
        sizes.append(cut.length if run.inside else cut.axis.size)
        inner.append(xs)
    view = at(part.x, call.dtype, origin, (*extents, *counts, g.stop - g.start, c.stop - c.start, *sizes),
              (*steps, *strides, *nest.x[1:], *inner))
    if not all(run.inside for run in runs):
        view = gather(view, way.cuts, runs, call.cval[0])
    workers = _workers(view, call.threads)
    found = fft.rfft(view, axis=-1, workers=workers)
    if len(runs) > 1:
        found = fft.fftn(found, axes=range(-len(runs), -1), overwrite_x=True, workers=workers)
    return found.reshape(-1, *found.shape[-len(runs) - 2:])


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


def _kept(cut, run):
    """The outputs of a tile among its positions."""
    first = cut.reach - 1
    return slice(first, first + (cut.here(run.first) - 1) * cut.axis.stride + 1, cut.axis.stride)


def _backward(total, part, runs, block):
    """Outputs (*loops, *tiles, g, m, *o) from spectra; rows of dropped outputs are not transformed along the last."""
    from scipy import fft

    call, cuts = part.call, part.call.way.cuts
    workers = _workers(total, call.threads)
    if len(cuts) > 1:
        total = fft.ifftn(total, axes=range(-len(cuts), -1), overwrite_x=True, workers=workers)
        total = total[(..., *(_kept(cut, run) for cut, run in zip(cuts[:-1], runs[:-1], strict=True)), slice(None))]
    found = fft.irfft(total, cuts[-1].length, axis=-1, workers=workers)[..., _kept(cuts[-1], runs[-1])]
    return found.reshape(*(b.stop - b.start for b in block), *found.shape[1:])


def _store(part, plain, runs, block, found):
    """Outputs into y with the bias, or added to it; those of spoiled tiles are computed again."""
    nest, call, way, g, m = part.nest, part.call, part.call.way, part.g, part.m
    extents, (_, start), _, steps = _loops(nest, plain, block)
    origin = nest.origin[2] + start + g.start * nest.y[1] + m.start * nest.y[2]
    tiles, strides, sizes, inner = block[-len(runs):], [], [], []
    for place, cut, run, b in zip(way.places, way.cuts, runs, tiles, strict=True):
        ys = nest.windows[place].ys
        origin += (run.first + b.start) * cut.outs * ys
        strides.append(cut.outs * ys)
        sizes.append(cut.here(run.first))
        inner.append(ys)
    view = at(part.y, call.dtype, origin, (*extents, *(b.stop - b.start for b in tiles), g.stop - g.start,
              m.stop - m.start, *sizes), (*steps, *strides, *nest.y[1:], *inner))
    rank = len(runs)
    whole = np.isfinite(np.add.reduce(found, tuple(range(-rank - 1, 0))))  # false for each tile with an inf or nan
    bad = [] if whole.all() else [at for at in np.argwhere(~whole).tolist() if not np.isfinite(found[tuple(at)]).all()]
    kept = [view[tuple(at)].copy() for at in bad] if not nest.first else []
    if not nest.first:
        view += found
    elif call.bias is None:
        view[...] = found
    else:
        bias = call.bias.reshape(nest.g, nest.m, *(1 for _ in runs))
        np.add(found, bias[g, m], out=view)
    for i, place in enumerate(bad):
        if kept:
            view[tuple(place)] = kept[i]
        _again(part, plain, runs, block, place)


# Exact sums where transforms cannot be used.


def _again(part, plain, runs, block, place):
    """The outputs of one tile, one image and one group by a solver that sums one by one."""
    nest, call, way, m = part.nest, part.call, part.call.way, part.m
    loops = [b.start + i for b, i in zip(block, place, strict=False)]
    group = part.g.start + place[-1]
    tiles = [run.first + tile for run, tile in zip(runs, loops[1 + len(plain):], strict=True)]
    bias = None
    if call.bias is not None:
        bias = call.bias[group * nest.m + m.start:group * nest.m + m.stop]
    sub = _restricted(nest, way, way.places, loops[0], loops[1:1 + len(plain)], group, m, tiles)
    model = _restricted(way.model, way, way.model_places, 0, None, 0, m, tiles)
    _exactly(sub, model, call, bias, part.x, part.w, part.y)


def _restricted(nest, way, places, n, plain, group, m, tiles):
    """The nest of one image, one group, some output channels and one tile."""
    x0, w0, y0 = nest.origin
    x0 += n * nest.x[0] + group * nest.x[1]
    w0 += group * nest.w[0] + m.start * nest.w[1]
    y0 += n * nest.y[0] + group * nest.y[1] + m.start * nest.y[2]
    rest = [v for v in nest.windows if v.is_plain()]
    for v, o in zip(rest, plain or [0] * len(rest), strict=True):
        x0, y0 = x0 + o * v.xs, y0 + o * v.ys
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
