"""What was asked, in canonical terms, and its role swaps (floor 4)."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import product

import numpy as np

from ._geometry import Axis, Geometry
from ._stored import PLAIN


@dataclass(frozen=True)
class Problem:
    """Geometry, where its loops live in the three arrays (axis or None, multiplier), shapes, dtypes, rules.

    x_map: n g c *i, w_map: g m c *k, y_map: n g m *o. Where weights are not shared, w_out_map (or, after `swap_xy`,
    w_in_map) places their steps along the outputs (inputs); y_tap_map places those of y along taps that are not summed.
    """

    geometry: Geometry
    x_map: tuple
    w_map: tuple
    y_map: tuple
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    y_shape: tuple[int, ...]
    x_dtype: np.dtype
    w_dtype: np.dtype
    y_dtype: np.dtype
    cval: complex = 0
    overflow: str = "raise"
    algorithm: str = "auto"
    w_out_map: tuple = ()
    w_in_map: tuple = ()
    y_tap_map: tuple = ()
    conjugate: str = ""  # the operand that is conjugated: x, w or none
    swap: bool = False  # the caller's x and w have changed places
    normwise: tuple[str, ...] | None = ()  # `normwise` solvers that auto may take; None: results must be exact
    names: tuple[str, str] = ("x", "w")  # what the caller calls the operands, in the caller's order
    bias: str = "channel"  # what may be added: "", a value per "channel", or also one per "unit"
    batched: bool = True  # n is the batch of the user, on which no decision may depend
    rims: tuple[Rim, ...] = field(default=(), repr=False)
    sums: np.dtype | None = None  # the float type of the sums, where it is not that of the result
    finish: tuple[float, float] = PLAIN  # y = sum / divisor + offset

    def text(self) -> str:
        return f"{self.geometry.text()}  {self.y_dtype.name}"

    @cached_property
    def compute_dtype(self) -> np.dtype:
        """float16 is stored, float32 computes; everything else computes in its own type, if not told otherwise."""
        if self.sums is not None:
            return self.sums
        return np.dtype(np.float32) if self.y_dtype == np.float16 else self.y_dtype

    @cached_property
    def real_only(self) -> bool:
        """Operands of the compute dtype suffice: no complex numbers."""
        return self.compute_dtype.kind != "c"

    @property
    def order(self) -> tuple[str, str]:
        """The caller's names of x and w."""
        return self.names[::-1] if self.swap else self.names

    @cached_property
    def terms(self) -> int:
        """At least the number of products in any output."""
        total = self.geometry.c
        for axis in self.geometry.axes:
            total *= axis.taps
        return total + sum(rim.terms for rim in self.rims)

    def swap_xy(self) -> Problem:
        """y in the place of x: the input gradient (not conjugated), the transposed operator.

        A boundary rule makes several inputs read one: what lies outside is computed apart and folded back (`rims`).
        """
        def of(axes) -> Problem:
            geometry = replace(self.geometry, axes=tuple(axes)).swap_xy()
            g, m, c, *k = self.w_map
            shape = list(self.x_shape)
            for (at, _), axis in zip(self.x_map[3:], axes, strict=True):
                shape[at] = axis.size
            return replace(self, geometry=geometry, x_map=self.y_map, w_map=(g, c, m, *k), y_map=self.x_map,
                           x_shape=self.y_shape, y_shape=tuple(shape), w_out_map=self.w_in_map,
                           w_in_map=self.w_out_map, cval=0)

        here = self.geometry.axes
        whole, *outside = product(*(tuple(axis.folds()) for axis in here))
        rims = tuple(Rim(of([axis for axis, _ in parts]), here, tuple(at for _, at in parts)) for parts in outside)
        return replace(of([axis for axis, _ in whole]), rims=rims)

    def swap_wy(self) -> Problem:
        """y in the place of w: the weight gradient (not conjugated), with n summed and c in the place of n."""
        (n, g, c, *i), (wg, wm, wc, *k), (yn, yg, ym, *o) = self.x_map, self.w_map, self.y_map
        swapped = replace(self, x_map=(c, g, n, *i), w_shape=self.y_shape, y_shape=self.w_shape, batched=False)
        if not self.w_out_map:
            return replace(swapped, geometry=self.geometry.swap_wy(), w_map=(yg, ym, yn, *o), y_map=(wc, wg, wm, *k))
        geometry = replace(self.geometry, n=self.geometry.c, c=self.geometry.n)
        return replace(swapped, geometry=geometry, w_map=(yg, ym, yn, *((None, 1) for _ in o)), w_out_map=tuple(o),
                       y_map=(wc, wg, wm, *self.w_out_map), y_tap_map=tuple(k))


@dataclass(frozen=True)
class Rim:
    """A part of an input gradient outside the array: its positions along each of the axes (None: the axis itself)."""

    problem: Problem
    axes: tuple[Axis, ...]
    positions: tuple[range | None, ...]

    @cached_property
    def targets(self) -> tuple[tuple[int, ...] | None, ...]:
        """The indices that the positions are folded to; made only when there is something to fold."""
        return tuple(at and tuple(map(axis.locate, at)) for axis, at in zip(self.axes, self.positions, strict=True))

    @property
    def terms(self) -> int:
        """Products that an element of the gradient may get from here."""
        total = self.problem.terms
        for to in self.targets:
            if to is not None:
                total *= max(Counter(to).values())
        return total

    def fold(self, part: np.ndarray, y: np.ndarray) -> None:
        """Add part to y, run by run."""
        axes = [at for at, _ in self.problem.y_map[3:]]
        for runs in product(*(_runs(to) for to in self.targets)):
            here, there = [slice(None)] * y.ndim, [slice(None)] * y.ndim
            for at, (start, stop, first, step) in zip(axes, runs, strict=True):
                if stop is not None:
                    here[at] = slice(start, stop)
                    there[at] = _walk(first, step, stop - start)
            piece = part[tuple(here)]
            for at, (_, stop, _, step) in zip(axes, runs, strict=True):
                if stop is not None and not step:
                    piece = piece.sum(axis=at, keepdims=True, dtype=y.dtype)
            y[tuple(there)] += piece


def _walk(first: int, step: int, count: int) -> slice:
    if step >= 0:
        return slice(first, first + (count if step else 1))
    last = first - count
    return slice(first, last if last >= 0 else None, -1)


def _runs(targets):
    """(start, stop, first target, step) of the stretches of targets that go up, down, or stay; all of an axis: None."""
    if targets is None:
        return [(0, None, 0, 1)]
    found, start = [], 0
    while start < len(targets):
        stop = start + 1
        step = targets[stop] - targets[start] if stop < len(targets) else 1
        step = step if step in (-1, 0, 1) else 1
        while stop < len(targets) and targets[stop] - targets[stop - 1] == step:
            stop += 1
        found.append((start, stop, targets[start], step))
        start = stop
    return found
