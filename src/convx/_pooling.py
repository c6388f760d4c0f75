"""What all of pooling shares (floor 5): checked arguments to a `Pooling`, cached on shapes and options; the way a call
is remembered."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from . import _layout, _threads, _windows
from ._accept import accept_out, shares
from ._arguments import LIMIT, SIMPLE, checked_shape, paddings, per_axis, plainly
from ._arguments import real as real_number
from ._geometry import forward_axis, margins
from ._kernels.ready import SLOTS, Front
from ._windows import Pooling

# Arguments ------------------------------------------------------------------------------------------------------------

def spatial_axes(window, layout, ndim: int) -> int:
    """The number of spatial axes: a tuple window tells it; else every axis of x but the channels and the batch, which
    is there unless layout leaves N out."""
    if hasattr(window, "__iter__") and not isinstance(window, (str, bytes)):
        rank = len(tuple(window))
        if ndim not in (rank + 1, rank + 2) or rank < 1:
            raise ValueError(f"x has {ndim} axes; window has {rank} entries, one per spatial axis, so x needs "
                             f"{rank + 2}, or {rank + 1} without a batch, and at least one spatial axis")
        return rank
    batched = not isinstance(layout, str) or "N" in layout
    if ndim < 2 + batched:
        raise ValueError(f"x has {ndim} axes; {'a batch, ' if batched else ''}channels and at least one spatial axis "
                         f"make {2 + batched} (layout={layout!r})")
    return ndim - 1 - batched


def _taps(window, sizes, padding, dilations) -> tuple[tuple[int, ...], object]:
    """(taps, strides for stride=None) of window."""
    rank = len(sizes)
    if not isinstance(window, str):
        taps = per_axis(window, rank, "window", 1)
        return taps, taps
    if window != "global":
        raise ValueError(f"window={window!r}: an integer, one per spatial axis, or 'global' is needed")
    if set(dilations) != {1} or any(p not in ("valid", (0, 0)) for p in padding):
        raise ValueError("window='global' takes the whole axis: padding and dilation have nothing to do")
    for a, size in enumerate(sizes):
        if size < 1:
            raise ValueError(f"spatial axis {a} has size 0: window='global' needs at least one cell")
    return tuple(sizes), (1,) * rank


def _cells(axis, size_before: int, size: int):
    """Per output, how many taps fall on the positions from -size_before to size - 1."""
    start = axis.stride * np.arange(axis.out) - axis.offset
    low = np.clip(-((start + size_before) // axis.dilation), 0, axis.taps)
    high = np.clip((size - 1 - start) // axis.dilation + 1, 0, axis.taps)
    return np.maximum(high - low, 0).astype(np.float64)


def _counts(axes, real, edges, count_include_pad, divisor):
    """What sums are divided by, per axis; every factor of one axis multiplies those of the others."""
    if divisor is None:
        return tuple(_cells(axis, *edge) for axis, edge in zip(axes, edges, strict=True)) if count_include_pad else real
    return tuple(np.full(axis.out, real_number(divisor, "divisor") if a == 0 else 1.0) for a, axis in enumerate(axes))


def _pooling(x_shape, window, average, stride, padding, dilation, ceil_mode, layout, count_include_pad=False,
             divisor=None) -> Pooling:
    """The pooling of checked arguments."""
    rank = spatial_axes(window, layout, len(x_shape))
    n_at, c_at, s_at = _layout.x_places(_layout.family(layout, rank), rank, len(x_shape) == rank + 2)
    sizes = [x_shape[s] for s in s_at]
    dilations, pads = per_axis(dilation, rank, "dilation", 1), paddings(padding, rank)
    taps, strides = _taps(window, sizes, pads, dilations)
    if stride is not None:
        strides = per_axis(stride, rank, "stride", 1)
    if ceil_mode and isinstance(padding, str) and padding != "valid":
        raise ValueError(f"ceil_mode goes with padding='valid' or numbers, not with padding={padding!r}")
    axes, edges, real = [], [], []
    for a, (size, k, step, spread, pad) in enumerate(zip(sizes, taps, strides, dilations, pads, strict=True)):
        axis = forward_axis(size, k, step, spread, pad, name=f"spatial axis {a}", ceil=bool(ceil_mode))
        before, after = margins(size, k, step, spread, pad)
        for name, number in (("dilation", spread * (k - 1)), ("padding", before + after), ("stride", step * axis.out)):
            if number >= LIMIT:
                raise ValueError(f"spatial axis {a}: {name} reaches over {number} samples, too many for an index")
        checked_shape((axis.out,), 8)
        axes.append(axis)
        edges.append((before, size + after))
    y_shape = list(x_shape)
    for s, axis in zip(s_at, axes, strict=True):
        y_shape[s] = axis.out
    checked_shape(y_shape, 8)
    for a, axis in enumerate(axes):
        real.append(_cells(axis, 0, axis.size))
        if axis.out and not real[a].all() and not (average and (count_include_pad or divisor is not None)):
            raise ValueError(f"spatial axis {a}: the window of output {int(np.argmin(real[a]))} holds no cell of x "
                             f"({axis.taps} taps, dilation {axis.dilation}, {axis.offset} cells of padding before "
                             f"{axis.size})")
    counts = _counts(axes, real, edges, count_include_pad, divisor) if average else ()
    return Pooling(tuple(a.trimmed() for a in axes), n_at, c_at, s_at, tuple(x_shape), tuple(y_shape), counts)


_cached = lru_cache(maxsize=1024, typed=True)(_pooling)


def planned(x_shape, *arguments) -> Pooling:
    """`_pooling`, made on first use: the cache's key is what was passed."""
    if SIMPLE.issuperset(map(type, arguments)):
        return _cached(x_shape, *arguments)
    arguments, are_key = plainly(arguments)
    return (_cached if are_key else _pooling)(x_shape, *arguments)


def real_dtype(dtype, name: str):
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {dtype}: only bool, integer and real floating arrays have an order")
    return dtype.newbyteorder("=")


def average_dtype(dtype, name: str):
    """(result, dtype of the computation)."""
    if dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {dtype}: only bool, integer, float and complex arrays can be averaged")
    dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")
    return dtype, np.dtype(np.float32) if dtype == np.float16 else dtype


def accept_divisor(divisor, dtype) -> None:
    """A number that is finite and not 0 in the type of the sums."""
    if divisor is None:
        return
    if isinstance(divisor, bool):
        raise TypeError("divisor must be a number, not bool")
    number = real_number(divisor, "divisor")
    with np.errstate(all="ignore"):
        typed = dtype.type(number)
    if not typed or not np.isfinite(typed):
        raise ValueError(f"divisor={number:g}: sums are divided by it, it must be finite and not 0 in {dtype}")


@np.errstate(all="ignore")  # infinities and nan are values like others here
def sums(p: Pooling, x, y, threads: int) -> None:
    """y = the sums of x, divided by the counts."""
    if y.dtype in _windows.KINDS:
        _windows.combined(p, x, y, False, threads)
    elif y.dtype.kind == "c" and y.real.dtype in _windows.KINDS:
        for part in ("real", "imag"):
            given = _windows.laid_out(getattr(x, part), y.real.dtype)
            taken = _windows.empty(p.y_shape, given, given.dtype)
            _windows.combined(p, given, taken, False, threads)
            setattr(y, part, taken)
    else:
        _windows.by_definition(p, x, y)


class _Result:
    """What `accept_out` looks at."""

    def __init__(self, shape, dtype):
        self.y_shape, self.y_dtype, self.order = shape, dtype, ("x", "w")


def accept(out, shape, dtype, **operands) -> None:
    if out is None:
        return
    nothing = np.empty(0)
    accept_out(out, _Result(shape, dtype), nothing, nothing)
    for name, array in operands.items():
        if np.may_share_memory(out, array) and shares(out, array):
            raise ValueError(f"out overlaps {name}; pooling cannot be done in place")


@np.errstate(all="ignore")  # what a type does not hold is infinite
def handed(out, y, dtype=None):
    """y, which may be out already, as the caller wants it."""
    y = y if dtype is None else y.astype(dtype, copy=False)
    if out is None or y is out:
        return y
    out[...] = y
    return out


_X, _DY, _, _Y, TEAM = SLOTS
FRONTS = {name: Front(_threads.team) for name in ("max_pool", "avg_pool", "max_pool_grad", "avg_pool_grad")}


def kept(front, asked, used, out, options, y, result, made):
    """The result of a call, remembered (see _kernels/ready.pyx) where the kernel read and wrote the caller's arrays
    themselves. made: the function of the kernel and its arguments behind the arrays."""
    if result is y and y.dtype in _windows.KINDS and all(a is b and b.size for a, b in zip(asked, used, strict=True)):
        x, dy = (*used, None)[:2]
        if not front.knows(x, dy, None, out, options):
            kernel, *numbers = made()
            arrays = (_X, _DY, _Y) if dy is not None else (_X, _Y)
            front.keep(x, dy, None, out, options, y, [(kernel, *arrays, *numbers)])
    return result
