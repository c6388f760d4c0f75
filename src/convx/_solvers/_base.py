"""What a solver must answer (floor 3)."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from .._nest import KERNEL_RANK, Nest


class Solver(Protocol):
    """One algorithm for nests in normal form.

    `error_factor` multiplies the bound (L + 2) * eps * (|x| conv |w|) of a dot product of L terms. A `normwise` solver
    holds that bound only with max|x| * (the largest sum of |w| over one output channel) in the place of the last
    factor: it is never used for integers, and auto takes it only where `Problem.normwise` names it.
    """

    name: str
    error_factor: float
    normwise: bool

    def refuse(self, nest: Nest, kind: str) -> str | None:
        """None, or in one sentence why this nest is not for this solver; kind: f32, f64, i64, or object."""

    def seconds(self, nest: Nest, kind: str, threads: int) -> float:
        """Predicted time, comparable across solvers."""

    def scratch(self, nest: Nest, kind: str, threads: int) -> int:
        """Bytes needed beside the arrays."""

    def way(self, nest: Nest, model: Nest, kind: str, bound: bool) -> object:
        """What is decided once per plan and handed to `run` as `call.way`; `bound`: packing w costs nothing.

        What can change the bits of a result is decided on the model (`_schedule.model`), never on the nest.
        """

    def run(self, nest: Nest, call, x, w, y) -> None:
        """Compute; `call` (`_schedule.Call`) carries kind, bias, cval, threads and prepared weights.

        A solver may also have `prepare(nest, call, w)`, whose result reaches `run` as `call.weights`, and
        `ready(nest, call)`: a list of functions, the weights that each reads (None: those of the call) and further
        arguments, so that function(x, weights, y, bias, *arguments, threads) one after the other do what `run` does;
        such calls can be remembered.
        `joined(call, other)`: one call that does the nests of both, which store and share no output, or None; what it
        computes has the bits of the two.
        `stores(nest, kind, x_dtype, y_dtype, divisor, offset)`: None, or the `call.stored` with which the kernel
        reads x and writes y = sum / divisor + offset in types that are not that of the sums.
        """


def not_compiled(nest: Nest, kind: str) -> str | None:
    """What every compiled solver refuses."""
    if kind == "other":
        return "this dtype has no compiled kernel"
    if len(nest.windows) > KERNEL_RANK:
        return f"{len(nest.windows)} axes with taps and cval != 0 (kernels know {KERNEL_RANK})"
    return None


def not_dense(nest: Nest, kind: str) -> str | None:
    """What solvers of floating-point products with shared weights refuse."""
    reason = not_compiled(nest, kind)
    if reason:
        return reason
    if kind == "i64":
        return "integers beyond float64 are for the direct kernel"
    if not nest.shares_weights():
        return "weights differ from output to output"
    return None


class _At:
    """An array interface at `origin` elements from the first element of `array` (prove() keeps it inside)."""

    def __init__(self, array, dtype, origin, shape, strides):
        address, read_only = array.__array_interface__["data"]
        self.array = array
        self.__array_interface__ = {
            "version": 3,
            "typestr": dtype.str,
            "data": (address + origin * dtype.itemsize, read_only),
            "shape": shape,
            "strides": tuple(s * dtype.itemsize for s in strides),
        }


def at(array, dtype, origin, shape, strides):
    """A view by a nest's numbers: `origin` and `strides` count elements of dtype."""
    return np.asarray(_At(array, dtype, origin, shape, strides))
