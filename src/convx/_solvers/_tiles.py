"""Axes cut into overlapping tiles (floor 3): which input positions a tile reads, which outputs it gives."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import replace
from functools import lru_cache
from itertools import product
from math import prod
from typing import NamedTuple

import numpy as np

from .._geometry import Axis


class Cut(NamedTuple):
    """An axis cut into overlapping tiles (`cut_into` makes one)."""

    axis: Axis
    length: int  # positions that a tile reads
    reach: int  # positions under the spread taps
    outs: int  # outputs of a whole tile
    step: int  # positions from one tile to the next
    tiles: int

    def here(self, tile: int) -> int:
        """Outputs of this tile: fewer in the last one."""
        return min(self.outs, self.axis.out - tile * self.outs)

    def runs(self):
        """Edge tiles one by one, and between them the whole tiles that lie inside the array."""
        a = self.axis
        low = max(0, -(-a.offset // self.step))
        high = min((a.size - self.length + a.offset) // self.step + 1, a.out // self.outs)
        low, high = (low, high) if low < high else (self.tiles, self.tiles)
        for tile in range(low):
            yield Run(tile, 1, False)
        if low < high:
            yield Run(low, high - low, True)
        for tile in range(high, self.tiles):
            yield Run(tile, 1, False)


def reach_of(axis: Axis) -> int:
    return axis.dilation * (axis.taps - 1) + 1


def needed(axis: Axis, outs: int) -> int:
    """Positions that so many neighbouring outputs read."""
    return (outs - 1) * axis.stride + reach_of(axis)


def goes_round(axis: Axis, length: int) -> bool:
    """Whether one tile of this length gives every output, because positions that are equal modulo `length` read the
    same: zeros (or cval) before the array those behind it, and a ring all of itself."""
    a, wanted = axis, needed(axis, axis.out)
    if length >= wanted or length < max(reach_of(a), (a.out - 1) * a.stride + 1):
        return length >= wanted
    if a.boundary == "constant":
        return length >= max(a.offset + a.size, wanted - max(a.offset, 0))
    return a.boundary == "wrap" and length % a.size == 0


def cut_into(axis: Axis, length: int) -> Cut:
    """The axis in tiles of this length."""
    reach = reach_of(axis)
    outs = axis.out if goes_round(axis, length) else min((length - reach) // axis.stride + 1, axis.out)
    return Cut(axis, length, reach, outs, outs * axis.stride, -(-axis.out // outs))


class Run(NamedTuple):
    first: int
    count: int
    inside: bool  # whole tiles that lie inside the array


class Edge(NamedTuple):
    """How an edge tile is gathered: positions that its outputs ask for, where they lie in the tile, what they read."""

    needed: int
    where: slice
    reads: slice | np.ndarray

    def among(self, rows: slice) -> Edge:
        """The same of these positions of the tile, counted from the first of them."""
        needed = min(max(self.needed - rows.start, 0), rows.stop - rows.start)
        low = max(self.where.start, rows.start)
        high = max(low, min(self.where.stop, rows.stop))
        reads = self.reads
        first = self.where.start - (reads.start if isinstance(reads, slice) else 0)
        reads = slice(low - first, high - first) if isinstance(reads, slice) else reads[low - first:high - first]
        return Edge(needed, slice(low - rows.start, high - rows.start), reads)


@lru_cache(maxsize=1024)
def edge(cut: Cut, tile: int) -> Edge:
    """Positions beyond the needed ones read nothing, so that a nan there cannot spoil the tile."""
    a = cut.axis
    start = tile * cut.step - a.offset
    count = min(needed(a, cut.here(tile)), cut.length)
    low, high = min(max(0, -start), count), max(0, min(count, a.size - start))
    if a.boundary == "constant" or (low, high) == (0, count):
        return Edge(count, slice(low, max(high, low)), slice(start + low, start + max(high, low)))
    reads = np.arange(start, start + count)
    if a.boundary == "wrap":
        reads %= a.size
    else:
        for t in (*range(low), *range(high, count)):
            reads[t] = a.locate(start + t)
    reads.setflags(write=False)
    return Edge(count, slice(0, count), reads)


def gather(view, cuts, runs, cval, patch, rows):
    """Tiles copied by the boundary rules into `patch`, which is zero; along the first axis `rows` of them. The last
    axes of `view` are one per cut: the whole array along an edge tile's axis, those positions along the others."""
    rank = len(cuts)
    edges = [None if run.inside else edge(cut, run.first) for cut, run in zip(cuts, runs, strict=True)]
    if edges[0] is not None:
        edges[0] = edges[0].among(rows)
    if cval:
        patch[(..., *(slice(None) if e is None else slice(e.needed) for e in edges))] = cval
    view = view[(..., *(e.reads if e is not None and isinstance(e.reads, slice) else slice(None) for e in edges))]
    for a, e in enumerate(edges):
        if e is not None and not isinstance(e.reads, slice):
            view = np.take(view, e.reads, view.ndim - rank + a)
    patch[(..., *(slice(None) if e is None else e.where for e in edges))] = view


def boxes(cuts):
    """Every combination of the axes' runs: together all tiles, each once."""
    return product(*(tuple(cut.runs()) for cut in cuts))


def blocks(extents, most: int):
    """Cut loops (outermost first) into boxes of at most `most` iterations: tuples of slices, one per loop."""
    sizes = []
    for extent in reversed(extents):
        sizes.append(max(1, min(extent, most)))
        most //= sizes[-1]
    return product(*(tuple(slice(a, min(a + size, extent)) for a in range(0, extent, size))
                     for extent, size in zip(extents, reversed(sizes), strict=True)))


class Piece(NamedTuple):
    """Tiles that are read and stored by one view: a box of runs, and slices of the plain loops and of the runs."""

    runs: tuple[Run, ...]
    block: tuple[slice, ...]
    extents: tuple[int, ...]
    count: int


def groups(cuts, loops, most: int):
    """All tiles of all iterations of the plain loops, in lists of pieces with at most `most` tiles together."""
    found, filled = [], 0
    for runs in boxes(cuts):
        for block in blocks((*loops, *(run.count for run in runs)), most):
            extents = tuple([b.stop - b.start for b in block])
            piece = Piece(runs, block, extents, prod(extents))
            if found and filled + piece.count > most:
                yield found
                found, filled = [], 0
            found.append(piece)
            filled += piece.count
    yield found


LONGEST = 2**39  # a transform, far more than fits into memory


@lru_cache(maxsize=1)
def _smooth() -> list[int]:
    twos, threes, fives = ([base**e for e in range(64) if base**e <= LONGEST] for base in (2, 3, 5))
    return sorted(a * b * c for a in twos for b in threes for c in fives if a * b * c <= LONGEST)


def fast(least: int) -> int:
    """The smallest good length of a real transform: scipy.fft.next_fast_len(least, real=True), without importing it."""
    return _smooth()[bisect_left(_smooth(), least)]


def twos(length: int) -> int:
    """How many factors 2 it has."""
    return (length & -length).bit_length() - 1


def _quick(least: int) -> int:
    """A length that takes least time: whole cache lines of columns for the price of a few positions more."""
    short, even = fast(least), 32 * fast(-(-least // 32))
    return even if even <= 1.06 * short else short


def shortest(axis: Axis) -> int:
    """A good length of a tile that gives every output."""
    if goes_round(axis, axis.size) and fast(axis.size) == axis.size:
        return axis.size
    able = fast(needed(axis, axis.out))
    if axis.boundary == "constant":
        least = fast(max(reach_of(axis), axis.size))
        while least < able and not goes_round(axis, least):
            least = fast(least + 1)
        able = least
    return _quick(able)


def lengths(axis: Axis, choices: int) -> tuple[int, ...]:
    """Tile lengths for about 1, 2, 3, 4, 6, 8, ... tiles: until half a tile is not output, evenly at most `choices`."""
    reach, found, count = reach_of(axis), [shortest(axis)], 2
    while True:
        outs = -(-axis.out // count)
        if outs * axis.stride < max(reach // 2, 32):
            break
        found.append(_quick(needed(axis, outs)))
        count += max(1, count // 2)
        if outs == 1:
            break
    found = sorted(set(found))
    return tuple(found[(len(found) - 1) * i // max(1, choices - 1)] for i in range(choices)) \
        if len(found) > choices else tuple(found)


def outputs_only(axis: Axis, first: int, count: int) -> Axis:
    """The axis with these outputs only."""
    return replace(axis, out=count, offset=axis.offset - axis.stride * first)
