"""Checks of user arguments, and the cache of plans (floor 5)."""

from __future__ import annotations

import sys
from functools import lru_cache
from math import inf, prod
from numbers import Real
from operator import index

import numpy as np

from . import _select
from ._geometry import BOUNDARIES, NAMED_PADDINGS
from ._plan import Plan
from ._stored import PLAIN

LIMIT = 2**61  # numbers above cannot be indices
OPTION = 1000  # entries that an option may have: data in the place of an option are not copied into a key


def whole(value, name: str, least: int) -> int:
    """A count that the user gives."""
    try:
        number = index(None if isinstance(value, bool) else value)
    except TypeError:
        raise TypeError(f"{name} must be an integer, not {type(value).__name__}") from None
    if not least <= number < LIMIT:
        raise ValueError(f"{name}={number}: it must be at least {least} and fit an index")
    return number


def per_axis(value, rank: int, name: str, least: int) -> tuple[int, ...]:
    if hasattr(value, "__iter__") and not isinstance(value, (str, bytes)):
        values = tuple(value)
        if len(values) != rank:
            raise ValueError(f"{name} has {len(values)} entries, there are {rank} spatial axes")
        return tuple(whole(v, name, least) for v in values)
    return (whole(value, name, least),) * rank


def paddings(padding, rank: int) -> tuple:
    """One name or (before, after) per axis."""
    if isinstance(padding, str):
        if padding not in NAMED_PADDINGS:
            raise ValueError(f"padding={padding!r} is none of {', '.join(NAMED_PADDINGS)}")
        return (padding,) * rank
    if not hasattr(padding, "__iter__") or isinstance(padding, bytes):
        return ((whole(padding, "padding", 0),) * 2,) * rank
    entries = tuple(padding)
    if len(entries) != rank:
        raise ValueError(f"padding has {len(entries)} entries, there are {rank} spatial axes")
    pairs = []
    for entry in entries:
        if hasattr(entry, "__iter__"):
            pair = tuple(entry)
            if len(pair) != 2:
                raise ValueError(f"padding entry {entry!r} is no (before, after) pair")
            pairs.append(tuple(whole(p, "padding", 0) for p in pair))
        else:
            pairs.append((whole(entry, "padding", 0),) * 2)
    return tuple(pairs)


def stored_sums(x, w, dtype, out_dtype, overflow, sums, divisor, offset):
    """(result dtype, dtype of the sums or None, divisor and offset) where float sums may become another type."""
    how = real(divisor, "divisor"), real(offset, "offset")
    common = np.result_type(x, w)
    target = out_dtype if dtype is None else numeric(dtype, "dtype=")
    exact = x.kind in "biu" and w.kind in "biu"  # also uint64 with signed integers, whose common type is a float
    rounds = overflow == "saturate" and common.kind == "f" and not exact
    rounds = rounds and target is not None and target.kind in "biu"
    if sums is None and how == PLAIN and not rounds:
        return result_dtype(x, w, dtype, out_dtype), None, PLAIN
    if common.kind == "c" or (target is not None and target.kind not in "biuf"):
        raise TypeError(f"sums=, divisor= and offset= are for real arrays; here are {x}, {w} and {target or common}")
    sums = np.result_type(common, np.float64 if exact else np.float32) if sums is None else _float_type(sums)
    target = (sums if exact else common) if target is None else target.newbyteorder("=")
    if out_dtype is not None and out_dtype.newbyteorder("=") != target:
        raise TypeError(f"out has dtype {out_dtype}, dtype= asks for {target}")
    if target.kind in "biu" and overflow != "saturate":
        raise TypeError(f"dtype={target} cannot hold a {sums} result; overflow='saturate' rounds it")
    with np.errstate(all="ignore"):
        by, to = map(sums.type, how)
    if by == 0 or not np.isfinite(by) or not np.isfinite(to):
        raise ValueError(f"divisor={how[0]:g}, offset={how[1]:g}: both must be finite, and the divisor not 0, in the "
                         f"type of the sums, {sums}")
    return target, sums, how


def real(value, name: str) -> float:
    """A real number of Python or NumPy; what no float holds is infinite."""
    number = value[()] if isinstance(value, np.ndarray) and not value.ndim else value
    if not isinstance(number, (Real, np.bool_)):
        raise TypeError(f"{name}={value!r}: it must be a real number")
    try:
        return float(number)
    except OverflowError:  # an integer beyond every float
        return inf


def _float_type(sums) -> np.dtype:
    try:
        dtype = np.dtype(sums).newbyteorder("=")
    except (TypeError, ValueError, SyntaxError):  # the last from words with commas
        dtype = repr(sums)
    if dtype not in (np.float32, np.float64):
        raise TypeError(f"sums={dtype}: products are summed in float32 or float64")
    return dtype


def boundaries(boundary, rank: int) -> tuple[str, ...]:
    words = tuple(boundary) if isinstance(boundary, tuple) else (boundary,) * rank
    if len(words) != rank:
        raise ValueError(f"boundary has {len(words)} entries, there are {rank} spatial axes")
    for word in words:
        if not isinstance(word, str):
            raise TypeError(f"boundary={boundary!r}: a word, or a tuple of words, is needed")
        if word not in BOUNDARIES:
            raise ValueError(f"boundary={word!r} is none of {', '.join(BOUNDARIES)}")
    return words


def checked_shape(shape, itemsize: int):
    if prod(shape) * itemsize > sys.maxsize:
        raise ValueError(f"the result would have shape {tuple(shape)}: more bytes than an address can name")
    return tuple(shape)


def numeric(dtype, name: str):
    try:
        dtype = np.dtype(dtype)
    except (TypeError, ValueError, SyntaxError):
        raise TypeError(f"{name}{dtype!r} is no dtype") from None
    if dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {dtype}: only bool, integer, float and complex arrays can be convolved")
    return dtype


def result_dtype(x, w, dtype, out_dtype):
    """The dtype of y: NumPy's promotion; integers widen to int64 or uint64 unless dtype or out say otherwise.

    NumPy has no integer type for uint64 and signed integers, so their default is float64; an integer type that the
    user names holds the exact result of these too.
    """
    common = np.result_type(x, w)
    exact = x.kind in "biu" and w.kind in "biu"
    if common.kind in "biu":
        common = np.dtype(np.uint64 if common.kind == "u" else np.int64)
    if dtype is None:
        if out_dtype is None:
            return common
        if exact and out_dtype.kind in "iu":
            return out_dtype.newbyteorder("=")
        if out_dtype != common:
            raise TypeError(f"out has dtype {out_dtype}, the result is {common}; dtype= changes the result")
        return common
    dtype = numeric(dtype, "dtype=").newbyteorder("=")
    if dtype.kind == "b" or (dtype.kind in "iu" and not exact) or (dtype.kind == "f" and common.kind == "c"):
        raise TypeError(f"dtype={dtype} cannot hold a {common} result")
    if out_dtype is not None and out_dtype != dtype:
        raise TypeError(f"out has dtype {out_dtype}, dtype= asks for {dtype}")
    return dtype


def _accept_finite(value, dtype, what: str) -> None:
    """A finite number must stay finite in this floating dtype."""
    try:
        with np.errstate(all="ignore"):
            fits = np.isfinite(np.array(value).astype(dtype)) or not np.isfinite(value)
        shown = f"={value}"
    except (OverflowError, TypeError):  # an integer beyond every float
        fits, shown = False, f": an integer of {value.bit_length()} bits"
    if not fits:
        raise ValueError(f"cval{shown} does not fit: the {what} {dtype}")


def constant(cval, boundary, dtype, what: str = "result is"):
    """cval as a Python number that the dtype can hold: that of the result or, where these are others, of the sums."""
    if not np.isscalar(cval) and np.ndim(cval):
        raise TypeError("cval must be a scalar")
    value = cval if isinstance(cval, int) else np.asarray(cval).item()
    if not isinstance(value, (int, float, complex, np.longdouble, np.clongdouble)):
        raise TypeError(f"cval must be a number, not {type(cval).__name__}")
    if isinstance(value, complex) and dtype.kind != "c":
        if value.imag:
            raise TypeError(f"cval={cval} is complex, the {what} {dtype}")
        value = value.real
    if dtype.kind in "iu":
        if not isinstance(value, int) and not float(value).is_integer():
            raise TypeError(f"cval={cval} is no integer, the {what} {dtype}")
    else:
        _accept_finite(value, dtype, what)
    if "constant" not in boundary:
        return 0
    return int(value) if dtype.kind in "iu" else value


def overflow_word(overflow: str) -> str:
    if overflow not in ("raise", "saturate", "wrap"):
        raise ValueError(f"overflow={overflow!r} is none of raise, saturate, wrap")
    return overflow


def _make(build, *arguments, **options) -> Plan:
    _select.known(options.get("algorithm", "auto"))
    return Plan(build(*arguments, **options))


_planned = lru_cache(maxsize=1024, typed=True)(_make)


def _plain(value):
    """Arrays and lists among the options as tuples, NumPy's scalars as Python's; what is no option stays an array."""
    if isinstance(value, np.ndarray) and value.size < OPTION:
        value = value.tolist()
    if isinstance(value, (list, tuple)):
        return tuple(map(_plain, value))
    return value.item() if isinstance(value, (np.integer, np.bool_)) else value


def _is_key(value) -> bool:
    """Inside a tuple only integers and words are safe keys: 1.0 and True would find the plan of 1."""
    if isinstance(value, tuple):
        return all(_is_key(v) if isinstance(v, tuple) else isinstance(v, (int, str)) and not isinstance(v, bool)
                   for v in value)
    return True


def plainly(values) -> tuple[tuple, bool]:
    """The values of options as plain ones, and whether they are the key of a cache; if not, a check has a sentence for
    them."""
    values = tuple(map(_plain, values))
    try:
        hash(values)
    except TypeError:
        return values, False
    return values, all(map(_is_key, values))


SIMPLE = {int, str, bool, type(None)}  # types whose values are keys as they stand


def plan_of(build, x, w, out, options) -> Plan:
    """The plan of these arguments, made on first use: the cache's key is what was passed."""
    arguments = build, x.shape, x.dtype, w.shape, w.dtype, out.dtype if isinstance(out, np.ndarray) else None
    if SIMPLE.issuperset(map(type, options.values())):
        return _planned(*arguments, **options)
    values, are_key = plainly(options.values())
    return (_planned if are_key else _make)(*arguments, **dict(zip(options, values, strict=True)))


def shape_of(shape, name: str) -> tuple[int, ...]:
    """A shape that the user gives in place of an array."""
    if not hasattr(shape, "__iter__") or isinstance(shape, (str, bytes)):
        raise TypeError(f"{name}={shape!r}: a shape is a tuple of integers")
    sizes = tuple(shape)
    if any(isinstance(n, (tuple, list, np.ndarray)) for n in sizes):
        raise TypeError(f"{name} is a whole array: a shape is a tuple of integers, what that array has as its shape")
    return tuple(whole(n, name, 0) for n in sizes)
