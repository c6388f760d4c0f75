"""Integers and bool without rounding (floor 4).

A sum of integer products is exact in float32 while sum |x||w| < 2**24, in float64 while < 2**53; then the fast float
kernels compute it. Otherwise an integer kernel computes it modulo 2**64, and a float64 estimate tells how often it
wrapped: the exact value is the number congruent to the wrapped one that lies nearest the estimate.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial

import numpy as np

from . import _plan
from ._schedule import empty_like_layout, native
from ._stored import ends

LITTLE = 1 << 16  # weights that are summed without delay


def largest(array: np.ndarray) -> int:
    """max |array| as a Python integer, without overflow."""
    if array.size == 0:
        return 0
    if array.dtype.kind == "b":
        return 1
    return max(abs(int(array.min())), abs(int(array.max())))


def bound(problem, x, w, bias) -> int:
    """An upper bound of |y| and of every partial sum."""
    top = max(largest(x) if x.dtype.itemsize > 1 else max(map(abs, ends(x.dtype))), abs(int(problem.cval)))
    return problem.terms * top * largest(w) + (0 if bias is None else largest(bias))


def _bound_of_types(problem, x, w, bias) -> int | None:
    """The same from the range of x's type and the sum of |w|, without a look at x; None where that costs more."""
    if x.dtype.itemsize > 2 or w.size > LITTLE:
        return None
    top = max(*map(abs, ends(x.dtype)), abs(int(problem.cval)))
    weight = problem.terms * largest(w)
    if not problem.rims:  # through which an output may meet a weight twice
        weight = min(weight, int(np.abs(w.astype(np.float64)).sum() * (1 + 2**-30)) + 1)
    return weight * top + (0 if bias is None else largest(bias))


def _as(plan, dtype, **changes):
    """The same plan computing in another dtype, with its own choice of solver."""
    changes["y_dtype"] = np.dtype(dtype)
    return plan._child(("as", *changes.items()), partial(replace, plan.problem, normwise=None, **changes))


def _fits(problem, x, w, bias, top: int) -> bool:
    """Whether every result is sure to fit its dtype."""
    least, most = ends(problem.y_dtype)
    signed = any(a is not None and a.dtype.kind == "i" for a in (x, w, bias)) or problem.cval < 0
    return top <= most and (not signed or -top >= least)


def integers(plan, x, w, bias, out, threads):
    """y of the problem's integer dtype, by its overflow rule; in out, if that may be written to at once."""
    problem = plan.problem
    top = _bound_of_types(problem, x, w, bias)
    if top is None or top >= 2**53:
        top = bound(problem, x, w, bias)
    if top < 2**53:
        dtype = np.dtype(np.float32 if top < 2**24 else np.float64)
        fits = _fits(problem, x, w, bias, top)
        if fits or problem.overflow == "saturate":
            child = _as(plan, problem.y_dtype, sums=dtype, overflow="wrap" if fits else "saturate")
            return _plan.floating(child, x, w, bias, out, threads)
        wide = _as(plan, np.min_scalar_type(-top), sums=dtype, overflow="wrap")
        return narrow(_plan.floating(wide, x, w, bias, None, threads), problem)
    wrapped = _wrapped(plan, x, w, bias, threads)
    if problem.overflow == "wrap":
        return wrapped.astype(problem.y_dtype)
    if top < 2**63:
        return narrow(wrapped.view(np.int64), problem)
    return _unwrapped(plan, x, w, bias, threads, wrapped, top)


def _wrapped(plan, x, w, bias, threads):
    """y modulo 2**64, as uint64."""
    child = _as(plan, np.uint64, cval=plan.problem.cval % 2**64)
    x, w = x.astype(np.int64, copy=False), w.astype(np.int64, copy=False)
    bias = None if bias is None else np.ascontiguousarray(bias).astype(np.int64).view(np.uint64)
    y = empty_like_layout(plan.problem, x, np.dtype(np.uint64))
    if y.size:
        _plan.compute(child, native(x, x.dtype).view(np.uint64), native(w, w.dtype).view(np.uint64),
                      bias, y, threads)
    return y


def _unwrapped(plan, x, w, bias, threads, wrapped, top):
    """Exact values as Python integers from the wrapped ones, then the overflow rule."""
    if top * (plan.problem.terms + 2) < 2**53 * 2**61:  # the float64 estimate is off by less than 2**62
        near = _plan.floating(_as(plan, np.float64), x, w, bias, None, threads)
        y = wrapped.astype(object)
        turns = np.round((near - wrapped.astype(np.float64)) / 2.0**64)
        y = y + (2**64 * turns.astype(object).astype(int).astype(object) if turns.size else 0)
    else:
        child = _as(plan, np.dtype(object), algorithm="reference")
        y = np.empty(plan.problem.y_shape, object)
        _plan.compute(child, x.astype(object), w.astype(object), None if bias is None else bias.astype(object), y, 1)
    return narrow(y, plan.problem)


def narrow(y, problem):
    """Exact y (int64 or Python integers) in the result's dtype: raise, saturate or wrap."""
    dtype = problem.y_dtype
    least, most = ends(dtype)
    if y.size == 0:
        return y.astype(dtype)
    low, high = int(y.min()), int(y.max())
    if least <= low and high <= most:
        return y.astype(dtype)
    if problem.overflow == "raise":
        raise OverflowError(f"results from {low} to {high} do not fit {dtype} ({least} to {most}); give a wider "
                            "dtype=, or overflow='saturate' or 'wrap'")
    if problem.overflow == "saturate":
        most = None if dtype == np.uint64 and y.dtype != object else most  # which is above all of int64
        return np.clip(y, least, most).astype(dtype)
    return (y % 2**64 if y.dtype == object else y).astype(np.uint64).astype(dtype)
