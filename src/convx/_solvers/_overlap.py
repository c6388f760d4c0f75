"""Tiles to spectra, products, and back: one call of `fft` (floor 3)."""

from __future__ import annotations

from dataclasses import replace
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from .. import _threads
from .._nest import Nest
from . import direct, gemm, stencil
from ._base import at
from ._tiles import Cut, edge, gather, groups, outputs_only

BLOCK = 1 << 18  # positions that a thread transforms at once, x and y counted: 1 or 2 MB lie in its L2 cache
WIDE = 1 << 19  # for each thread if the spectra of weights are made anew for every block
LANES = 8  # transforms that scipy.fft does side by side: 4, or 8 in wide vectors
ALONE = 1 << 15  # positions, about 100 us of a transform: handing it to scipy's threads costs 25 us


class Way(NamedTuple):
    """Decided once per plan: the model, the tiles, and which window of the nest each cut belongs to."""

    model: Nest
    tiling: object  # lengths of tiles, groups and channels at once
    cuts: tuple[Cut, ...]
    places: tuple[int, ...]
    model_places: tuple[int, ...]
    room: int  # bytes of scratch


class Weights(NamedTuple):
    """Whether all weights are finite, and their spectra (g, m, c, *F) if all of them are kept."""

    finite: bool
    spectra: np.ndarray | None


def prepared(nest, call, w, most):
    way, size = call.way, call.dtype.itemsize
    taps = _taps(nest, way, call.dtype, w)
    finite = bool(np.isfinite(taps).all())
    total = nest.g * nest.m * nest.c * prod(way.tiling.lengths) * size
    if not finite or total > most:
        return Weights(finite, None)
    return Weights(finite, _spectra(taps, way.cuts, call.threads))


def _taps(nest, way, dtype, w):
    """w as (g, m, c, *k), its axes in the order of the cuts."""
    windows = [nest.windows[i] for i in way.places]
    return at(w, dtype, nest.origin[1], (nest.g, nest.m, nest.c, *(v.axis.taps for v in windows)),
              (*nest.w, *(v.ws for v in windows)))


def _spectra(taps, cuts, threads):
    """Conjugated transforms of kernels (those of the kernels turned around the first tap), axis by axis from the last,
    so that rows without taps are not transformed."""
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
    return np.conj(taps, out=taps)


def _workers(array, threads):
    return threads if array.size > ALONE else 1


def _parts(whole, size):
    return [slice(a, min(a + size, whole.stop)) for a in range(whole.start, whole.stop, size)]


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


def run(nest, call, x, w, y):
    """All of the nest: tile by tile, or by sums one by one if a weight is not finite."""
    way = call.way
    weights = call.weights or prepared(nest, call, w, 0 if _is_one(nest, way) else way.room // 3)
    if not weights.finite:
        _exactly(nest, way.model, call, call.bias, x, w, y)
        return
    plain = [v for v in nest.windows if v.is_plain()]
    x_loops = _Loops(nest.origin[0], (nest.x[0], *(v.xs for v in plain)), nest.x[1:],
                     tuple(nest.windows[i].xs for i in way.places))
    y_loops = _Loops(nest.origin[2], (nest.y[0], *(v.ys for v in plain)), nest.y[1:],
                     tuple(nest.windows[i].ys for i in way.places))
    for g, m in product(_parts(slice(0, nest.g), way.tiling.g), _parts(slice(0, nest.m), way.tiling.m)):
        _channels(_Part(nest, call, x, w, y, weights, g, m, x_loops, y_loops))


def _loops(nest):
    return nest.n, *(v.axis.out for v in nest.windows if v.is_plain())


def _is_one(nest, way) -> bool:
    """Whether all is one tile along one axis, whose transforms scipy.fft does on one thread."""
    return len(way.cuts) == way.cuts[0].tiles * prod(_loops(nest)) == 1


def _channels(part):
    """All tiles of all images for some groups and output channels."""
    nest, call = part.nest, part.call
    way, tiling = call.way, call.way.tiling
    channels = _parts(slice(0, nest.c), tiling.c)
    loops, single = _loops(nest), _is_one(nest, way)
    kept = part.spectra(channels[0]) if len(channels) == 1 and not single else None
    team, most = _team(way, call, kept is not None, prod(loops))
    part = part._replace(call=call._replace(threads=call.threads // team))

    def block(pieces):
        with np.errstate(all="ignore"):  # infinities and nan are looked for afterwards
            _block(part, pieces, channels, kept, part.call.threads if single else 1)

    _threads.share(block, groups(way.cuts, loops, most), team)


def _block(part, pieces, channels, kept, side_by_side):
    """Some tiles, through all input channels.

    `kept`: the spectra of the weights; None if they are made here, beside those of the tiles if `side_by_side` threads
    are more than one.
    """
    total, made = None, {"w": kept}
    for c in channels:
        def make(which, c=c):
            made[which] = _rows(part, pieces, c) if which == "x" else part.spectra(c)

        _threads.share(make, "xw" if kept is None else "x", side_by_side)
        total = _columns(made.pop("x"), made["w"], total, c is channels[-1], part.call.threads)
    _outputs(part, pieces, total)


def _team(way, call, shared, loops):
    """Threads that have blocks of tiles of their own, and tiles in a block; others help inside the transforms.

    Along one axis a block has at least as many tiles as vectors have lanes.
    """
    tiling, tiles = way.tiling, loops * prod(cut.tiles for cut in way.cuts)
    one = prod(tiling.lengths) * tiling.g
    room = way.room // call.dtype.itemsize - one * tiling.m * tiling.c  # beside the spectra of weights
    each = tiling.beside * tiling.g
    team = min(call.threads, tiles, max(1, room // each)) if shared else 1
    block = BLOCK if shared else WIDE * call.threads
    least = -(-LANES // tiling.g) if len(way.cuts) == 1 else 1
    most = min(max(block // (one * (tiling.c + tiling.m)), least), -(-tiles // team), room // (team * each))
    return team, max(1, most)


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


def _tiles_of(part, piece, c, rows):
    """A piece's tiles in x, `rows` of them along the first axis; along the axis of an edge tile the whole array."""
    firsts, steps, counts = [], [], []
    for cut, run in zip(part.call.way.cuts, piece.runs, strict=True):
        firsts.append(run.first * cut.step - cut.axis.offset if run.inside else 0)
        steps.append(cut.step)
        counts.append(cut.length if run.inside else cut.axis.size)
    if piece.runs[0].inside:
        firsts[0], counts[0] = firsts[0] + rows.start, rows.stop - rows.start
    return _view(part.x, part.call.dtype, part.x_loops, piece, part.g, c, firsts, steps, counts)


def _gathered(part, pieces, c, rows):
    """Rows of the tiles of some pieces: a view of x, or a copy by the boundary rules."""
    call, cuts = part.call, part.call.way.cuts
    if len(pieces) == 1 and all(run.inside for run in pieces[0].runs):
        return _tiles_of(part, pieces[0], c, rows)
    tiles = np.zeros((sum(piece.count for piece in pieces), part.g.stop - part.g.start, c.stop - c.start,
                      rows.stop - rows.start, *call.way.tiling.lengths[1:]), call.dtype)
    first = 0
    for piece in pieces:
        patch = tiles[first:first + piece.count].reshape(*piece.extents, *tiles.shape[1:])
        gather(_tiles_of(part, piece, c, rows), cuts, piece.runs, call.cval[0], patch, rows)
        first += piece.count
    return tiles


def _rows(part, pieces, c):
    """The tiles of some pieces (B, g, c, *F), transformed along the last axis, a few rows at a time."""
    from scipy import fft

    call, rank = part.call, len(part.call.way.cuts)
    lengths = call.way.tiling.lengths
    step = call.way.tiling.rows
    used = slice(0, lengths[0]) if step >= lengths[0] else _used(call, pieces)
    found = None
    for rows in _parts(used, step):
        tiles = _gathered(part, pieces, c, rows)
        spectra = fft.rfft(tiles, axis=-1, workers=_workers(tiles, call.threads))
        spectra = spectra.reshape(-1, *spectra.shape[-rank - 2:])
        if step >= lengths[0]:
            return spectra
        if found is None:
            found = np.empty((*spectra.shape[:3], lengths[0], *spectra.shape[4:]), spectra.dtype)
            found[:, :, :, :used.start] = 0
            found[:, :, :, used.stop:] = 0
        found[:, :, :, rows] = spectra
    return found


def _used(call, pieces):
    """The rows of these tiles that are not all zero; at least one."""
    cut = call.way.cuts[0]
    if call.cval[0] or any(piece.runs[0].inside for piece in pieces):
        return slice(0, cut.length)
    wheres = [edge(cut, piece.runs[0].first).where for piece in pieces]
    low = min(min(where.start for where in wheres), cut.length - 1)
    return slice(low, max(low + 1, *(where.stop for where in wheres)))


def _columns(x, w, total, last, threads):
    """Along all axes but the last: x (B, g, c, *F) transformed, its products with w (g, m, c, *F) added to total
    (B, g, m, *F), and if these are the last channels the sums on their way back."""
    from scipy import fft

    axes = range(3 - w.ndim, -1)
    for axis in axes:
        x = fft.fft(x, axis=axis, overwrite_x=True, workers=_workers(x, threads))
    total = _add(x, w, total)
    for axis in axes if last else ():
        total = fft.ifft(total, axis=axis, overwrite_x=True, workers=_workers(total, threads))
    return total


def _add(x, w, total):
    """total (B, g, m, *F) plus the products of x (B, g, c, *F) and w (g, m, c, *F), summed over c in order."""
    if total is None and x.shape[2] == 1 and w.shape[1] == 1:
        return np.multiply(x, w[None, :, :, 0], out=x)
    first = 0
    if total is None:
        total = x[:, :, :1] * w[None, :, :, 0]
        first = 1
    size = max(1, (1 << 15) // max(1, total[:, :, 0].size))  # a scratch that stays in the cache
    for m in _parts(slice(0, w.shape[1]), size):
        scratch = np.empty_like(total[:, :, m])
        for c in range(first, x.shape[2]):
            np.multiply(x[:, :, c:c + 1], w[None, :, m, c], out=scratch)
            total[:, :, m] += scratch
    return total


def _outputs(part, pieces, total):
    """The outputs of some tiles from spectra that lack the way back along the last axis, a few rows at a time."""
    from scipy import fft

    call, cuts = part.call, part.call.way.cuts
    lengths = call.way.tiling.lengths
    outs = [max(cut.here(piece.runs[a].first) for piece in pieces) for a, cut in enumerate(cuts)]
    kept = [slice(0, (n - 1) * cut.axis.stride + 1, cut.axis.stride) for cut, n in zip(cuts, outs, strict=True)]
    stride = cuts[0].axis.stride
    for rows in _parts(slice(0, outs[0]), call.way.tiling.rows):
        some = total
        if len(cuts) > 1:
            some = total[(..., slice(rows.start * stride, (rows.stop - 1) * stride + 1, stride), *kept[1:-1],
                          slice(None))]
        found = fft.irfft(some, lengths[-1], axis=-1, workers=_workers(some, call.threads))
        whole = np.isfinite(np.add.reduce(found.reshape(*found.shape[:2], -1), 2))  # false where an inf or nan is
        found, first = found[..., kept[-1]], 0
        for piece in pieces:
            last = first + piece.count
            _store(part, piece, found[first:last], whole[first:last], rows)
            first = last


def _store(part, piece, found, whole, rows):
    """Outputs (tiles, g, m, *o) of a piece into y with the bias, or added to it: `rows` of each tile.

    Those of a tile and group that may not be finite (`whole` is false) are computed again if they are not.
    """
    nest, call, cuts = part.nest, part.call, part.call.way.cuts
    sizes = [cut.here(run.first) for cut, run in zip(cuts, piece.runs, strict=True)]
    sizes[0] = min(sizes[0], rows.stop) - rows.start
    if sizes[0] <= 0:
        return
    found = found[(..., *map(slice, sizes))].reshape(*piece.extents, *found.shape[1:3], *sizes)
    outs = [cut.outs for cut in cuts]
    firsts = [run.first * cut.outs for cut, run in zip(cuts, piece.runs, strict=True)]
    firsts[0] += rows.start
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
        _again(part, piece, place, firsts, sizes)


# Exact sums where transforms cannot be used.


def _again(part, piece, place, firsts, sizes):
    """Outputs of one tile, one image and one group by a solver that sums one by one: `sizes` from `firsts` on, which
    are those of the piece's first tile."""
    nest, call, way, m = part.nest, part.call, part.call.way, part.m
    *loops, group = [b.start + i for b, i in zip((*piece.block, part.g), place, strict=True)]
    rank = len(way.cuts)
    firsts = [first + tile * cut.outs for first, tile, cut in zip(firsts, loops[-rank:], way.cuts, strict=True)]
    bias = None
    if call.bias is not None:
        bias = call.bias[group * nest.m + m.start:group * nest.m + m.stop]
    sub = _restricted(nest, way.places, loops[:-rank], group, m, firsts, sizes)
    model = _restricted(way.model, way.model_places, (), 0, m, firsts, sizes)
    _exactly(sub, model, call, bias, part.x, part.w, part.y)


def _restricted(nest, places, loops, group, m, firsts, sizes):
    """The nest of one image (one iteration of the plain loops), one group, some output channels and some outputs."""
    x0, w0, y0 = nest.origin
    x0 += group * nest.x[1]
    w0 += group * nest.w[0] + m.start * nest.w[1]
    y0 += group * nest.y[1] + m.start * nest.y[2]
    steps = [(nest.x[0], nest.y[0]), *((v.xs, v.ys) for v in nest.windows if v.is_plain())]
    for o, (xs, ys) in zip(loops, steps, strict=False):
        x0, y0 = x0 + o * xs, y0 + o * ys
    windows = {}
    for place, first, size in zip(places, firsts, sizes, strict=True):
        v = nest.windows[place]
        y0 += first * v.ys
        windows[place] = replace(v, axis=outputs_only(v.axis, first, size))
    return replace(nest, n=1, g=1, m=m.stop - m.start, origin=(x0, w0, y0),
                   windows=tuple(windows[place] for place in sorted(windows)))


def _exactly(nest, model, call, bias, x, w, y):
    """The nest by the cheapest solver that leaves absent taps out and keeps nan where it belongs."""
    able = [s for s in (stencil, gemm, direct) if s.refuse(nest, call.kind) is None]
    solver = min(able, key=lambda s: s.seconds(model, call.kind, 1))
    way = solver.way(nest, model, call.kind, False)
    solver.run(nest, call._replace(bias=bias, packed=nest.pack(), way=way, weights=None), x, w, y)
