"""Pooling (floor 5): the largest value, and the average, of every window."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING, overload

import numpy as np

from . import _threads, _windows
from ._accept import array_of
from ._pooling import FRONTS, TEAM, accept, accept_divisor, average_dtype, handed, kept, planned, real_dtype, sums

if TYPE_CHECKING:
    from typing import Literal, SupportsFloat, SupportsIndex, Unpack

    from numpy.typing import ArrayLike

    from ._typing import Array, Counts, Padding, PoolOptions, Window


@overload
def max_pool(x: ArrayLike, window: Window, *, return_indices: Literal[False] = False, out: Array | None = None,
             **options: Unpack[PoolOptions]) -> Array: ...


@overload
def max_pool(x: ArrayLike, window: Window, *, return_indices: Literal[True], out: Array | None = None,
             **options: Unpack[PoolOptions]) -> tuple[Array, Array]: ...


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
        One more window where the last stride leaves cells over, as where a window spans less than a stride more than
        there is; a last one that would start in the padding behind x is dropped: the rule of PyTorch and ONNX. For
        padding="valid" or numbers.
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
    front = FRONTS["max_pool"]
    if (y := front.ready(x, None, None, out, workers, options)) is not None:
        return y
    asked, x = x, array_of(x, "x")
    dtype = real_dtype(x.dtype, "x")
    p = planned(x.shape, window, False, stride, padding, dilation, ceil_mode, layout)
    threads = _threads.team(workers)
    accept(out, p.y_shape, dtype, x=x)
    keys, back = _windows.ordered(x, prod(p.x_shape[s] for s in p.s_at))
    y = _windows.empty(p.y_shape, keys, keys.dtype, out)
    if not return_indices:
        _windows.combined(p, keys, y, True, threads)
        return kept(front, (asked,), (keys,), out, options, y, handed(out, back(y)),
                    lambda: _windows.combining(p, keys, y, True, TEAM))
    places = _windows.located(p, keys, y, threads)
    return handed(out, back(y)), places.astype(np.int64, copy=False)


def avg_pool(x: ArrayLike, window: Window, *, stride: Counts | None = None, padding: Padding = "valid",
             dilation: Counts = 1, ceil_mode: bool = False, count_include_pad: bool = False,
             divisor: SupportsFloat | None = None, layout: str | None = None, out: Array | None = None,
             workers: SupportsIndex | None = None) -> Array:
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
        pairs. Padded cells are absent: they are not summed, and not counted unless count_include_pad says so.
    dilation : int or tuple of int, optional
        Step between taps.
    ceil_mode : bool, optional
        One more window where the last stride leaves cells over, as where a window spans less than a stride more than
        there is; a last one that would start in the padding behind x is dropped: the rule of PyTorch and ONNX. For
        padding="valid" or numbers.
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
    front = FRONTS["avg_pool"]
    if (y := front.ready(x, None, None, out, workers, options)) is not None:
        return y
    asked, x = x, array_of(x, "x")
    dtype, computed = average_dtype(x.dtype, "x")
    accept_divisor(divisor, computed)
    p = planned(x.shape, window, True, stride, padding, dilation, ceil_mode, layout, count_include_pad, divisor)
    threads = _threads.team(workers)
    accept(out, p.y_shape, dtype, x=x)
    given = _windows.laid_out(x, computed)
    y = _windows.empty(p.y_shape, given, computed, out)
    sums(p, given, y, threads)
    return kept(front, (asked,), (given,), out, options, y, handed(out, y, dtype),
                lambda: _windows.combining(p, given, y, False, TEAM))
