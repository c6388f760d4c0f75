"""What a call brings, checked against its Problem (floor 4)."""

from __future__ import annotations

import numpy as np

from ._problem import Problem


def array_of(given, name: str) -> np.ndarray:
    """The argument as an array, or a sentence where it is none, or hides elements."""
    if type(given) is np.ndarray:
        return given
    try:
        array = np.asarray(given)
    except ValueError as error:
        ragged = "inhomogeneous" in str(error)
        raise ValueError(f"{name} makes no array: {'its rows differ in length' if ragged else error}") from None
    if isinstance(given, np.ndarray) and np.ma.is_masked(given):
        raise TypeError(f"{name} has masked elements, whose values would be used: fill them first, as "
                        f"{name.removeprefix('the ')}.filled(0) does")
    return array


def accept_operand(name, array, shape, dtype) -> None:
    if array.shape != shape:
        raise ValueError(f"{name} has shape {array.shape}, the plan was made for {shape}")
    if array.dtype != dtype:
        raise TypeError(f"{name} has dtype {array.dtype}, the plan was made for {dtype}")


def accept_bias(bias, problem: Problem):
    """bias as an array: a value per output channel or, where the problem allows it, per output unit."""
    if bias is None:
        return None
    if not problem.bias:
        raise TypeError("a gradient takes no bias")
    bias = array_of(bias, "bias")
    outputs = problem.geometry.g * problem.geometry.m
    unit = tuple(s for a, s in enumerate(problem.y_shape) if a != problem.y_map[0][0])
    if bias.shape != (outputs,) and (problem.bias != "unit" or bias.shape != unit):
        also = f", or {unit} for a value per unit" if problem.bias == "unit" else ""
        raise ValueError(f"bias has shape {bias.shape}, {outputs} output channels need ({outputs},){also}")
    if bias.dtype.kind not in "biufc":
        raise TypeError(f"bias has dtype {bias.dtype}: a number per output channel is needed")
    integers = bias.dtype.kind in "biu" and problem.y_dtype.kind in "iu"  # exact whatever the signs
    if not integers and not np.can_cast(bias.dtype, problem.y_dtype, "same_kind"):
        raise TypeError(f"bias has dtype {bias.dtype}, which does not fit a {problem.y_dtype} result")
    return bias


def accept_out(out, problem: Problem, x, w) -> None:
    if not isinstance(out, np.ndarray):
        raise TypeError(f"out must be an ndarray, not {type(out).__name__}")
    if out.shape != problem.y_shape:
        raise ValueError(f"out has shape {out.shape}, the result has {problem.y_shape}")
    if out.dtype != problem.y_dtype:
        raise TypeError(f"out has dtype {out.dtype}, the result is {problem.y_dtype}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    covered = out.itemsize
    for n, s in sorted(((n, abs(s)) for n, s in zip(out.shape, out.strides, strict=True) if n > 1), key=lambda d: d[1]):
        if s < covered and out.size:
            raise ValueError(f"out overlaps itself (strides {out.strides} for shape {out.shape})")
        covered += (n - 1) * s
    for name, array in zip(problem.order, (x, w), strict=True):
        if np.may_share_memory(out, array) and shares(out, array):
            raise ValueError(f"out overlaps {name}; a convolution cannot be done in place")


def shares(a, b) -> bool:
    try:
        return np.shares_memory(a, b, max_work=10**6)
    except Exception:  # NumPy's TooHardError: undecided counts as overlapping
        return True
