"""The gradients of pooling, and values put back (floor 5)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from . import _layout, _marks, _pooling, _threads, _windows
from ._accept import array_of
from ._arguments import checked_shape, shape_of
from ._pooling import FRONTS, TEAM, accept, accept_divisor, average_dtype, handed, kept, planned, real_dtype, sums
from ._windows import Pooling

if TYPE_CHECKING:
    from typing import Literal, SupportsFloat, SupportsIndex

    from numpy.typing import ArrayLike

    from ._typing import Array, Counts, Padding, Shape, Window


def max_pool_grad(x: ArrayLike, dy: ArrayLike, window: Window, *, stride: Counts | None = None,
                  padding: Padding = "valid", dilation: Counts = 1, ceil_mode: bool = False, layout: str | None = None,
                  ties: Literal["first", "all"] = "first", out: Array | None = None,
                  workers: SupportsIndex | None = None) -> Array:
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
    front = FRONTS["max_pool_grad"]
    if (dx := front.ready(x, dy, None, out, workers, options)) is not None:
        return dx
    asked = x, dy
    x, dy = array_of(x, "x"), array_of(dy, "dy")
    real_dtype(x.dtype, "x")
    dtype = real_dtype(dy.dtype, "dy")
    if dtype.kind == "f" and dtype.itemsize > 8:
        raise TypeError(f"dy has dtype {dtype}: gradients of max_pool are added in float64 at most")
    if dtype.kind != "f":
        dtype = np.dtype(np.float64)
    if ties not in ("first", "all"):
        raise ValueError(f"ties={ties!r} is none of first, all")
    p = planned(x.shape, window, False, stride, padding, dilation, ceil_mode, layout)
    threads = _threads.team(workers)
    _accept_dy(dy, p)
    accept(out, p.x_shape, dtype, x=x, dy=dy)
    keys, _ = _windows.ordered(x, prod(p.x_shape[s] for s in p.s_at))
    keys, dy = _alike(keys, dy, dtype)
    dx = _windows.empty(p.x_shape, keys, keys.dtype, out)
    _marks.routed(p, keys, dy, dx, ties == "all", threads)
    return kept(front, asked, (keys, dy), out, options, dx, handed(out, dx, dtype),
                lambda: _marks.routing(p, keys, dy, ties == "all", TEAM))


def avg_pool_grad(x_shape: Shape, dy: ArrayLike, window: Window, *, stride: Counts | None = None,
                  padding: Padding = "valid", dilation: Counts = 1, ceil_mode: bool = False,
                  count_include_pad: bool = False, divisor: SupportsFloat | None = None, layout: str | None = None,
                  out: Array | None = None, workers: SupportsIndex | None = None) -> Array:
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
    front = FRONTS["avg_pool_grad"]
    if (dx := front.ready(dy, None, None, out, workers, options)) is not None:
        return dx
    asked, dy = dy, array_of(dy, "dy")
    dtype, computed = average_dtype(dy.dtype, "dy")
    accept_divisor(divisor, computed)
    p = planned(checked_shape(shape_of(x_shape, "x_shape"), 8), window, True, stride, padding, dilation, ceil_mode,
                layout, count_include_pad, divisor)
    threads = _threads.team(workers)
    _accept_dy(dy, p)
    accept(out, p.x_shape, dtype, dy=dy)
    given = _windows.laid_out(dy, computed)
    swapped = p.swapped
    if not swapped.counts:  # every output has counts of its own
        with np.errstate(all="ignore"):
            given = np.divide(given, p.spread_counts(given.real.dtype), out=np.empty_like(given))
    dx = _windows.empty(p.x_shape, given, computed, out)
    sums(swapped, given, dx, threads)
    return kept(front, (asked,), (given,), out, options, dx, handed(out, dx, dtype),
                lambda: _windows.combining(swapped, given, dx, False, TEAM))


def max_unpool(y: ArrayLike, indices: ArrayLike, x_shape: Shape, *, layout: str | None = None,
               out: Array | None = None) -> Array:
    """Values put back where `max_pool` found them, zeros elsewhere.

    Parameters
    ----------
    y : array_like
        Values, one per index.
    indices : array_like of int
        Flat indices into the spatial axes, shaped as y, as `max_pool` with return_indices gives them. Where one occurs
        several times for a channel, one of its values stays.
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
    y, indices = array_of(y, "y"), array_of(indices, "indices")
    x_shape = shape_of(x_shape, "x_shape")
    if y.dtype.kind not in "biufc":
        raise TypeError(f"y has dtype {y.dtype}: numbers are needed")
    if indices.dtype.kind not in "iu":
        raise TypeError(f"indices have dtype {indices.dtype}: integers are needed")
    if indices.shape != y.shape:
        raise ValueError(f"indices have shape {indices.shape}, y has {y.shape}")
    rank = _pooling.spatial_axes(1, layout, len(x_shape))
    n_at, c_at, s_at = _layout.x_places(_layout.family(layout, rank), rank, len(x_shape) == rank + 2)
    beside = [a for a in (n_at, c_at) if a is not None]
    if y.ndim != len(x_shape) or any(y.shape[a] != x_shape[a] for a in beside):
        raise ValueError(f"y has shape {y.shape}, x_shape is {x_shape}: the number of axes, the batch and the channels "
                         "must agree")
    cells = prod(x_shape[s] for s in s_at)
    if indices.size and not (0 <= indices.min() and indices.max() < cells):
        wrong = indices.min() if indices.min() < 0 else indices.max()
        raise ValueError(f"indices hold {wrong}: the spatial axes of x have {cells} cells")
    dtype = y.dtype.newbyteorder("=")
    accept(out, checked_shape(x_shape, dtype.itemsize), dtype, y=y, indices=indices)
    x = np.empty(x_shape, dtype, order="F" if _windows.is_fortran(y) else "C") if out is None else out
    x[...] = 0
    spatial = np.unravel_index(indices.astype(np.intp, copy=False), [x_shape[s] for s in s_at]) if y.size else ()
    if y.size:
        grid = np.ogrid[tuple(slice(n) for n in y.shape)]
        at = [None] * y.ndim
        for a in beside:
            at[a] = grid[a]
        for a, s in enumerate(s_at):
            at[s] = spatial[a]
        x[tuple(at)] = y
    return x


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
