"""Axes cut into overlapping tiles (floor 3): which input positions a tile reads, which outputs it gives."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from typing import NamedTuple

import numpy as np

from .._geometry import Axis


@dataclass(frozen=True, slots=True)
class Cut:
    """An axis cut into tiles that read `length` neighbouring positions each."""

    axis: Axis
    length: int

    @property
    def reach(self) -> int:
        """Positions under the spread taps."""
        return self.axis.dilation * (self.axis.taps - 1) + 1

    @property
    def outs(self) -> int:
        """Outputs of a whole tile."""
        return min((self.length - self.reach) // self.axis.stride + 1, self.axis.out)

    @property
    def step(self) -> int:
        """Positions from one tile to the next."""
        return self.outs * self.axis.stride

    @property
    def tiles(self) -> int:
        return -(-self.axis.out // self.outs)

    def here(self, tile: int) -> int:
        """Outputs of this tile: fewer in the last one."""
        return min(self.outs, self.axis.out - tile * self.outs)

    def runs(self):
        """(first tile, number of tiles, whether they are whole and lie inside the array): edge tiles one by one."""
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


class Run(NamedTuple):
    first: int
    count: int
    inside: bool


class Edge(NamedTuple):
    """How an edge tile is gathered: positions that its outputs ask for, where they lie in the tile, what they read."""

    needed: int
    where: slice
    reads: slice | np.ndarray


@lru_cache(maxsize=1024)
def edge(cut: Cut, tile: int) -> Edge:
    """Positions beyond the needed ones read nothing, so that a nan there cannot spoil the tile."""
    a = cut.axis
    start = tile * cut.step - a.offset
    needed = (cut.here(tile) - 1) * a.stride + cut.reach
    low, high = min(max(0, -start), needed), max(0, min(needed, a.size - start))
    if a.boundary == "constant" or (low, high) == (0, needed):
        return Edge(needed, slice(low, max(high, low)), slice(start + low, start + max(high, low)))
    reads = np.array([a.locate(start + t) for t in range(needed)], np.intp)
    reads.setflags(write=False)
    return Edge(needed, slice(0, needed), reads)


def gather(view, cuts, runs, cval):
    """Tiles as a new array, by the boundary rules. The last axes of `view` are one per cut: the whole array along an
    edge tile's axis, the tile's own positions along the others."""
    rank = len(cuts)
    lead = (slice(None),) * (view.ndim - rank)
    edges = [None if run.inside else edge(cut, run.first) for cut, run in zip(cuts, runs, strict=True)]
    patch = np.zeros((*view.shape[:-rank], *(cut.length for cut in cuts)), view.dtype)
    if cval:
        patch[(*lead, *(slice(None) if e is None else slice(e.needed) for e in edges))] = cval
    view = view[(*lead, *(e.reads if e is not None and isinstance(e.reads, slice) else slice(None) for e in edges))]
    for a, e in enumerate(edges):
        if e is not None and not isinstance(e.reads, slice):
            view = np.take(view, e.reads, view.ndim - rank + a)
    patch[(*lead, *(slice(None) if e is None else e.where for e in edges))] = view
    return patch


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


def outputs_only(axis: Axis, first: int, count: int) -> Axis:
    """The axis with these outputs only."""
    return replace(axis, out=count, offset=axis.offset - axis.stride * first)
