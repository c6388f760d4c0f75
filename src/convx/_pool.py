"""Pooling and its gradients (floor 5): arguments to a `Pooling`, which is cached on shapes and options."""

from __future__ import annotations

from functools import lru_cache
from math import prod

import numpy as np

from . import _layout, _marks, _threads, _windows
from ._arguments import LIMIT, SIMPLE, _is_key, _plain, checked_shape, paddings, per_axis, whole
from ._geometry import forward_axis, margins
from ._kernels.ready import SLOTS, Front
from ._plan import _shares, accept_out
from ._windows import Pooling

# Arguments ------------------------------------------------------------------------------------------------------------

def _spatial(window, layout, ndim: int) -> int:
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
    return tuple(np.full(axis.out, divisor if a == 0 else 1.0) for a, axis in enumerate(axes))


def _divisor(value):
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"divisor must be a number, not {type(value).__name__}")
    if not value or value != value or abs(value) == float("inf"):
        raise ValueError(f"divisor={value}: sums are divided by it, it must be finite and not 0")
    return float(value)


def _pooling(x_shape, window, average, stride, padding, dilation, ceil_mode, layout, count_include_pad=False,
             divisor=None) -> Pooling:
    """The pooling of checked arguments."""
    rank = _spatial(window, layout, len(x_shape))
    n_at, c_at, s_at = _layout.x_places(_layout.family(layout, rank), rank, len(x_shape) == rank + 2)
    sizes = [x_shape[s] for s in s_at]
    dilations, pads = per_axis(dilation, rank, "dilation", 1), paddings(padding, rank)
    taps, strides = _taps(window, sizes, pads, dilations)
    if stride is not None:
        strides = per_axis(stride, rank, "stride", 1)
    if ceil_mode and isinstance(padding, str) and padding != "valid":
        raise ValueError(f"ceil_mode goes with padding='valid' or numbers, not with padding={padding!r}")
    divisor = _divisor(divisor)
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


def _planned(x_shape, *arguments) -> Pooling:
    """`_pooling`, made on first use: the cache's key is what was passed."""
    if not SIMPLE.issuperset(map(type, arguments)):
        arguments = tuple(map(_plain, arguments))
        try:
            if not all(map(_is_key, arguments)):
                raise TypeError
            hash(arguments)
        except TypeError:
            return _pooling(x_shape, *arguments)  # the checks give the sentence
    return _cached(x_shape, *arguments)


def _real(dtype, name: str):
    if dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {dtype}: only bool, integer and real floating arrays have an order")
    return dtype.newbyteorder("=")


class _Result:
    """What `accept_out` looks at."""

    def __init__(self, shape, dtype):
        self.y_shape, self.y_dtype, self.order = shape, dtype, ("x", "w")


def _accept_out(out, shape, dtype, **operands) -> None:
    if out is None:
        return
    nothing = np.empty(0)
    accept_out(out, _Result(shape, dtype), nothing, nothing)
    for name, array in operands.items():
        if np.may_share_memory(out, array) and _shares(out, array):
            raise ValueError(f"out overlaps {name}; pooling cannot be done in place")


def _given(out, y):
    """y, which may be out already, as the caller wants it."""
    if out is None or y is out:
        return y
    out[...] = y
    return out


_X, _DY, _, _Y, _TEAM = SLOTS
_FRONTS = {name: Front(_threads.team) for name in ("max_pool", "avg_pool", "max_pool_grad", "avg_pool_grad")}


def _kept(front, asked, used, out, options, y, result, made):
    """The result of a call, remembered (see _kernels/ready.pyx) where the kernel read and wrote the caller's arrays
    themselves. made: the function of the kernel and its arguments behind the arrays."""
    if result is y and y.dtype in _windows.KINDS and all(a is b and b.size for a, b in zip(asked, used, strict=True)):
        x, dy = (*used, None)[:2]
        if not front.knows(x, dy, None, out, options):
            kernel, *numbers = made()
            arrays = (_X, _DY, _Y) if dy is not None else (_X, _Y)
            front.keep(x, dy, None, out, options, y, [(kernel, *arrays, *numbers)])
    return result


# The functions --------------------------------------------------------------------------------------------------------

def max_pool(x, window, *, stride=None, padding="valid", dilation=1, ceil_mode=False, layout=None,
             return_indices=False, out=None, workers=None):
    """The largest value of every window.

    A nan is larger than any number: a window that holds one gives nan.

    Parameters
    ----------
    x : array_like
        Bool, integer or real floating.
    window : int, tuple of int, or "global"
        Taps, for all spatial axes or one per axis; "global" takes each axis whole, and gives one output. A tuple tells
        the number of spatial axes, and x may then come without a batch; otherwise x has a batch, (N, C, *S) in the
        default layout, unless layout leaves N out (as "CHW" or "HWC").
    stride : int or tuple of int, optional
        Step between windows. Default: the window, so that windows do not overlap.
    padding : str, int, or tuple, optional
        As in `conv`: "valid" (none), "same", "same_lower", "full", a number of cells, one per axis, or (before, after)
        pairs. Padded cells are absent: they never win. A window of padding alone is an error.
    dilation : int or tuple of int, optional
        Step between taps.
    ceil_mode : bool, optional
        One more window where the last stride leaves cells over; a last window that would start in the padding behind
        x is dropped. For padding="valid" or numbers.
    layout : str, optional
        As in `conv`: "NCHW" (default), "NHWC", "HWCN", with the letters of the rank.
    return_indices : bool, optional
        Also return where the values were found: flat indices into the spatial axes of x, row by row in the order in
        which layout names these axes. Of equal values the first counts, of several nan the first.
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    workers : int, optional
        Threads of this call; default `get_num_threads()`. The bits do not depend on it.

    Returns
    -------
    y : ndarray
        Of the dtype of x, in the layout of x; in Fortran order where x is.
    indices : ndarray of int64
        Only with return_indices: shaped as y. See `max_unpool`.

    Raises
    ------
    ValueError, TypeError
        Before anything is computed or written; the message names the argument, the numbers and the rule.

    Notes
    -----
    float32, float64 and 64-bit integers have compiled kernels. Narrower dtypes are widened to the next of them, long
    double is replaced by its ranks (a sort): the result is exact in every case.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x = np.array([[[[1, 3, 2, 0], [4, 2, 5, 5]]]])
    >>> y, indices = convx.max_pool(x, 2, return_indices=True)
    >>> y, indices
    (array([[[[4, 5]]]]), array([[[[4, 6]]]]))
    >>> convx.max_pool(x[0], (1, 3), stride=1)
    array([[[3, 3],
            [5, 5]]])
    """
    options = window, stride, padding, dilation, ceil_mode, layout, return_indices
    front = _FRONTS["max_pool"]
    if (y := front.ready(x, None, None, out, workers, options)) is not None:
        return y
    asked, x = x, np.asarray(x)
    dtype = _real(x.dtype, "x")
    p = _planned(x.shape, window, False, stride, padding, dilation, ceil_mode, layout)
    threads = _threads.team(workers)
    _accept_out(out, p.y_shape, dtype, x=x)
    keys, back = _windows.ordered(x, prod(p.x_shape[s] for s in p.s_at))
    y = _windows.empty(p.y_shape, keys, keys.dtype, out)
    if not return_indices:
        _windows.combined(p, keys, y, True, threads)
        return _kept(front, (asked,), (keys,), out, options, y, _given(out, back(y)),
                     lambda: _windows.combining(p, keys, y, True, _TEAM))
    places = _windows.located(p, keys, y, threads)
    return _given(out, back(y)), places.astype(np.int64, copy=False)


def _average_dtype(dtype, name: str):
    """(result, dtype of the computation)."""
    if dtype.kind not in "biufc":
        raise TypeError(f"{name} has dtype {dtype}: only bool, integer, float and complex arrays can be averaged")
    dtype = np.dtype(np.float64) if dtype.kind in "biu" else dtype.newbyteorder("=")
    return dtype, np.dtype(np.float32) if dtype == np.float16 else dtype


def _sums(p: Pooling, x, y, threads: int) -> None:
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


def avg_pool(x, window, *, stride=None, padding="valid", dilation=1, ceil_mode=False, count_include_pad=False,
             divisor=None, layout=None, out=None, workers=None):
    """The average of every window.

    Parameters
    ----------
    x : array_like
        Bool, integer, floating or complex.
    window : int, tuple of int, or "global"
        Taps, for all spatial axes or one per axis; "global" takes each axis whole, and gives one output. A tuple tells
        the number of spatial axes, and x may then come without a batch; otherwise x has a batch, (N, C, *S) in the
        default layout, unless layout leaves N out (as "CHW" or "HWC").
    stride : int or tuple of int, optional
        Step between windows. Default: the window, so that windows do not overlap.
    padding : str, int, or tuple, optional
        As in `conv`: "valid" (none), "same", "same_lower", "full", a number of cells, one per axis, or (before, after)
        pairs. Padded cells are absent: they are not summed, and not
        counted unless count_include_pad says so.
    dilation : int or tuple of int, optional
        Step between taps.
    ceil_mode : bool, optional
        One more window where the last stride leaves cells over; a last window that would start in the padding behind
        x is dropped. For padding="valid" or numbers.
    layout : str, optional
        As in `conv`: "NCHW" (default), "NHWC", "HWCN", with the letters of the rank.
    count_include_pad : bool, optional
        Divide by all cells of the window that lie in the padded area. Default: by those that lie in x, of which there
        must be one.
    divisor : float, optional
        Divide by this instead.
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    workers : int, optional
        Threads of this call; default `get_num_threads()`. The bits do not depend on it.

    Returns
    -------
    y : ndarray
        Of the dtype of x, integers give float64; in the layout of x; in Fortran order where x is.

    Raises
    ------
    ValueError, TypeError
        Before anything is computed or written; the message names the argument, the numbers and the rule.

    Notes
    -----
    float16 is computed in float32. Sums of integers are exact below 2**53. Long double has no compiled kernel: it goes
    through the reference convolution with a scalar weight.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x = np.array([[[1.0, 3.0, 5.0, 7.0]]])
    >>> convx.avg_pool(x, 2)
    array([[[2., 6.]]])
    >>> convx.avg_pool(x, 3, stride=1, padding="same")
    array([[[2., 3., 5., 6.]]])
    >>> convx.avg_pool(x, 3, stride=3, padding=1, count_include_pad=True)
    array([[[1.33333333, 4.        ]]])
    """
    options = window, stride, padding, dilation, ceil_mode, count_include_pad, divisor, layout
    front = _FRONTS["avg_pool"]
    if (y := front.ready(x, None, None, out, workers, options)) is not None:
        return y
    asked, x = x, np.asarray(x)
    dtype, computed = _average_dtype(x.dtype, "x")
    p = _planned(x.shape, window, True, stride, padding, dilation, ceil_mode, layout, count_include_pad, divisor)
    threads = _threads.team(workers)
    _accept_out(out, p.y_shape, dtype, x=x)
    given = _windows.laid_out(x, computed)
    y = _windows.empty(p.y_shape, given, computed, out)
    _sums(p, given, y, threads)
    return _kept(front, (asked,), (given,), out, options, y, _given(out, y.astype(dtype, copy=False)),
                 lambda: _windows.combining(p, given, y, False, _TEAM))


def max_pool_grad(x, dy, window, *, stride=None, padding="valid", dilation=1, ceil_mode=False, layout=None,
                  ties="first", out=None, workers=None):
    """The gradient of `max_pool` with respect to x: dy, added where the largest values are.

    Parameters
    ----------
    x : array_like
        What was pooled.
    dy : array_like
        The gradient with respect to y, shaped as `max_pool` of x.
    window, stride, padding, dilation, ceil_mode, layout
        As they were in `max_pool`.
    ties : str, optional
        "first" (default): the first of several largest values in scan order gets dy (of several nan the first), as
        return_indices tells. "all": each of them gets dy in full, dx += dy * (x == max).
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    workers : int, optional
        Threads of this call; default `get_num_threads()`. The bits do not depend on it.

    Returns
    -------
    dx : ndarray
        Shaped and laid out as x, of the dtype of dy (float64 for integers); sums over overlapping windows.

    Raises
    ------
    ValueError, TypeError
        Before anything is computed or written; the message names the argument, the numbers and the rule.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x = np.array([[[1.0, 3.0, 3.0, 2.0]]])
    >>> convx.max_pool_grad(x, np.array([[[10.0, 1.0]]]), 3, stride=1)
    array([[[ 0., 11.,  0.,  0.]]])
    >>> convx.max_pool_grad(x, np.array([[[10.0, 1.0]]]), 3, stride=1, ties="all")
    array([[[ 0., 11., 11.,  0.]]])
    """
    options = window, stride, padding, dilation, ceil_mode, layout, ties
    front = _FRONTS["max_pool_grad"]
    if (dx := front.ready(x, dy, None, out, workers, options)) is not None:
        return dx
    asked = x, dy
    x, dy = np.asarray(x), np.asarray(dy)
    _real(x.dtype, "x")
    dtype = _real(dy.dtype, "dy")
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise TypeError(f"dy has dtype {dtype}: gradients of max_pool are added in float64 at most")
    if dtype.kind != "f":
        dtype = np.dtype(np.float64)
    if ties not in ("first", "all"):
        raise ValueError(f"ties={ties!r} is none of first, all")
    p = _planned(x.shape, window, False, stride, padding, dilation, ceil_mode, layout)
    threads = _threads.team(workers)
    _accept_dy(dy, p)
    _accept_out(out, p.x_shape, dtype, x=x, dy=dy)
    keys, _ = _windows.ordered(x, prod(p.x_shape[s] for s in p.s_at))
    keys, dy = _alike(keys, dy, dtype)
    dx = _windows.empty(p.x_shape, keys, keys.dtype, out)
    _marks.routed(p, keys, dy, dx, ties == "all", threads)
    return _kept(front, asked, (keys, dy), out, options, dx, _given(out, dx.astype(dtype, copy=False)),
                 lambda: _marks.routing(p, keys, dy, ties == "all", _TEAM))


def avg_pool_grad(x_shape, dy, window, *, stride=None, padding="valid", dilation=1, ceil_mode=False,
                  count_include_pad=False, divisor=None, layout=None, out=None, workers=None):
    """The gradient of `avg_pool` with respect to x: dy divided as the averages were, and spread over the windows.

    Parameters
    ----------
    x_shape : tuple of int
        The shape of what was pooled.
    dy : array_like
        The gradient with respect to y, shaped as `avg_pool` of x.
    window, stride, padding, dilation, ceil_mode, count_include_pad, divisor, layout
        As they were in `avg_pool`.
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    workers : int, optional
        Threads of this call; default `get_num_threads()`. The bits do not depend on it.

    Returns
    -------
    dx : ndarray
        Of shape x_shape and the dtype of dy (float64 for integers); in Fortran order where dy is.

    Raises
    ------
    ValueError, TypeError
        Before anything is computed or written; the message names the argument, the numbers and the rule.

    Examples
    --------
    >>> import numpy as np, convx
    >>> convx.avg_pool_grad((1, 1, 4), np.array([[[2.0, 6.0]]]), 2)
    array([[[1., 1., 3., 3.]]])
    """
    options = x_shape, window, stride, padding, dilation, ceil_mode, count_include_pad, divisor, layout
    front = _FRONTS["avg_pool_grad"]
    if (dx := front.ready(dy, None, None, out, workers, options)) is not None:
        return dx
    asked, dy = dy, np.asarray(dy)
    dtype, computed = _average_dtype(dy.dtype, "dy")
    p = _planned(_shape(x_shape), window, True, stride, padding, dilation, ceil_mode, layout, count_include_pad,
                 divisor)
    threads = _threads.team(workers)
    _accept_dy(dy, p)
    _accept_out(out, p.x_shape, dtype, dy=dy)
    given = _windows.laid_out(dy, computed)
    swapped = p.swapped
    if not swapped.counts:  # every output has counts of its own
        given = np.divide(given, p.spread_counts(given.real.dtype), out=np.empty_like(given))
    dx = _windows.empty(p.x_shape, given, computed, out)
    _sums(swapped, given, dx, threads)
    return _kept(front, (asked,), (given,), out, options, dx, _given(out, dx.astype(dtype, copy=False)),
                 lambda: _windows.combining(swapped, given, dx, False, _TEAM))


def max_unpool(y, indices, x_shape, *, layout=None, out=None):
    """Values put back where `max_pool` found them, zeros elsewhere.

    Parameters
    ----------
    y : array_like
        Values, one per index.
    indices : array_like of int
        Flat indices into the spatial axes, shaped as y, as `max_pool` with return_indices gives them. Where one occurs
        several times for a channel, one of its values is kept.
    x_shape : tuple of int
        The shape of the result.
    layout : str, optional
        As in `max_pool`; x_shape has a batch unless layout leaves N out.
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.

    Returns
    -------
    x : ndarray
        Of shape x_shape and the dtype of y; in Fortran order where y is.

    Raises
    ------
    ValueError, TypeError
        Before anything is written, and for an index that is no cell of x.

    Examples
    --------
    >>> import numpy as np, convx
    >>> y, indices = convx.max_pool(np.array([[[1.0, 3.0, 5.0, 4.0]]]), 2, return_indices=True)
    >>> convx.max_unpool(y, indices, (1, 1, 4))
    array([[[0., 3., 5., 0.]]])
    """
    y, indices = np.asarray(y), np.asarray(indices)
    x_shape = _shape(x_shape)
    if y.dtype.kind not in "biufc":
        raise TypeError(f"y has dtype {y.dtype}: numbers are needed")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices have dtype {indices.dtype}: integers are needed")
    if indices.shape != y.shape:
        raise ValueError(f"indices have shape {indices.shape}, y has {y.shape}")
    rank = _spatial(1, layout, len(x_shape))
    n_at, c_at, s_at = _layout.x_places(_layout.family(layout, rank), rank, len(x_shape) == rank + 2)
    kept = [a for a in (n_at, c_at) if a is not None]
    if y.ndim != len(x_shape) or any(y.shape[a] != x_shape[a] for a in kept):
        raise ValueError(f"y has shape {y.shape}, x_shape is {x_shape}: the number of axes, the batch and the channels "
                         "must agree")
    cells = prod(x_shape[s] for s in s_at)
    if indices.size and not (0 <= indices.min() and indices.max() < cells):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"indices hold {wrong}: the spatial axes of x have {cells} cells")
    dtype = y.dtype.newbyteorder("=")
    _accept_out(out, checked_shape(x_shape, dtype.itemsize), dtype, y=y, indices=indices)
    x = np.empty(x_shape, dtype, order="F" if _windows.is_fortran(y) else "C") if out is None else out
    x[...] = 0
    spatial = np.unravel_index(indices.astype(np.intp, copy=False), [x_shape[s] for s in s_at]) if y.size else ()
    if y.size:
        grid = np.ogrid[tuple(slice(n) for n in y.shape)]
        at = [None] * y.ndim
        for a in kept:
            at[a] = grid[a]
        for a, s in enumerate(s_at):
            at[s] = spatial[a]
        x[tuple(at)] = y
    return x


def _shape(x_shape) -> tuple[int, ...]:
    if not hasattr(x_shape, "__iter__") or isinstance(x_shape, (str, bytes)):
        raise TypeError(f"x_shape must be a tuple of integers, not {type(x_shape).__name__}")
    return checked_shape(tuple(whole(n, "x_shape", 0) for n in x_shape), 8)


def _accept_dy(dy, p: Pooling) -> None:
    if dy.shape != p.y_shape:
        raise ValueError(f"dy has shape {dy.shape}, the pooling of x {p.x_shape} has {p.y_shape}")


def _alike(keys, dy, dtype):
    """x and dy in one compiled dtype that holds both, and in the memory order of x."""
    if keys.dtype == np.uint64:  # dy is a float: ranks are ordered as the values are
        keys = np.unique(keys, return_inverse=True)[1].reshape(keys.shape)
        keys = _windows.laid_out(keys, np.dtype(np.float64))
    common = np.result_type(keys.dtype, np.float32 if dtype == np.float16 else dtype)
    keys = _windows.laid_out(keys, common)
    order = "F" if _windows.is_fortran(keys) else "C"
    return keys, np.asarray(dy, common, order=order)
