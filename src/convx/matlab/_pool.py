"""maxpool, avgpool, maxunpool: pooling of the Deep Learning Toolbox on plain arrays."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .. import avg_pool, max_pool
from ._format import Arranged, error, fits, sides, whole_numbers
from ._values import float_class, is_text, name_values, numeric, outputs, refusals, sized, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Array


def _pooling(function: str, X, poolsize, given):
    """(the arranged X, it as batch, channels, S reversed, the arguments of convx's poolings).

    Reversed, so that row by row is down the columns: the first of equal values, and what an index counts.
    """
    array = numeric(X, "X", f"deep:{function}:invalidX")
    if array.dtype.kind == "c":
        raise error(function, "X", "X must be real.")
    pooled = given["PoolFormat"]
    letters = given["DataFormat"]
    if pooled is not None and is_text(letters):
        pooled = str(pooled).upper()
        if not set(pooled) <= set("ST") or any(pooled.count(p) != letters.upper().count(p) for p in set(pooled)):
            raise error(function, "PoolFormat", f"PoolFormat {pooled!r} must name axes S and T of '{letters}'.")
    at = Arranged(array.astype(float_class(array), copy=False), letters, function, pooled)
    stride = whole_numbers(given["Stride"], at.rank, "Stride", function, 1)
    if is_text(poolsize):
        word(poolsize, ("global",), abbreviated=True, identifier=f"deep:{function}:invalidPoolsize",
             message=f"The pool size {poolsize!r} is no number and not 'global'.")
        size = at.sizes
    else:
        size = whole_numbers(poolsize, at.rank, "Poolsize", function, 1)
    pads = sides(given["Padding"], size, "Padding", function)
    fits(at, size, pads, "pool", function)
    if not all(at.sizes):
        raise error(function, "X", f"X has {at.sizes} cells to pool: a pool needs at least one.")
    return at, at.x.T, (tuple(size[::-1]),), {"stride": tuple(stride[::-1]),
                                              "padding": pads if pads == "same" else pads[::-1]}


def maxpool(X: ArrayLike, poolsize: ArrayLike, *arguments: Any, nargout: int = 1, **options: Any) -> Any:
    """Largest values of windows: MATLAB's [Y, indx, inputSize] = maxpool(X, poolsize, Name=Value).

    Y(i) = max over k of X(stride*i + k - low)    without the padding

    Parameters
    ----------
    X : array_like
        Real, of any rank; its axes are named by DataFormat.
    poolsize : int, array_like of int, or "global"
        One number, or one for each window axis; "global" takes each axis whole.
    *arguments, **options
        ``"Name", value`` or ``Name=value``: DataFormat as in `dlconv` (needed); PoolFormat: the letters of the axes
        that are pooled (S; T where there is no S); Stride (1, not the size of the pool); Padding: a number, a vector
        with one for each axis, a matrix [low; high] or "same" (0), each smaller than the pool.
    nargout : int, optional
        How many of the results are returned; one by default.

    Returns
    -------
    Y : ndarray
        With the axes of X, floor((size + low + high - pool) / stride) + 1 along window axes. Single or double.
    indx : ndarray of int64
        Shaped as Y: linear indices into X, counted from 1 down the columns; of equal values the first one in this
        order counts. See `maxunpool`.
    inputSize : tuple
        The size of X.

    Raises
    ------
    MatlabError
        ``deep:maxpool:invalidDataFormat``, ``invalidPoolsize``, ``invalidStride``, ``invalidPadding``, ``invalidSize``
        and so on, by what is wrong.

    Notes
    -----
    MATLAB's page: deeplearning/ref/dlarray.maxpool. ``scipy.ndimage.maximum_filter`` has no stride and keeps the size;
    in PyTorch the stride is the size of the pool by default, and indices count within a plane, row by row, from 0. A
    NaN is larger than all numbers here.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import maxpool
    >>> X = np.array([[1, 2, 5, 3], [4, 0, 6, 6]])
    >>> Y, indx, inputSize = maxpool(X, 2, Stride=2, DataFormat="SS", nargout=3)
    >>> Y, indx, inputSize
    (array([[4., 6.]]), array([[2, 6]]), (2, 4))
    """
    outputs(nargout, 3)
    given = name_values(arguments, options, {"DataFormat": None, "PoolFormat": None, "Stride": 1, "Padding": 0},
                        "deep:maxpool:invalidOption")
    at, x, window, moved = _pooling("maxpool", X, poolsize, given)
    with refusals("deep:maxpool:invalidX"):
        y = max_pool(x, *window, return_indices=nargout > 1, **moved)
    if nargout < 2:
        return at.back(y.T)
    y, places = y
    return (at.back(y.T), at.back(at.linear(places.T)), at.shape)[:nargout]


def avgpool(X: ArrayLike, poolsize: ArrayLike, *arguments: Any, **options: Any) -> Array:
    """Means of windows: MATLAB's Y = avgpool(X, poolsize, Name=Value).

    Y(i) = sum over k of X(stride*i + k - low) / (number of cells k)

    Parameters
    ----------
    X : array_like
        Real, of any rank; its axes are named by DataFormat.
    poolsize : int, array_like of int, or "global"
        One number, or one for each window axis; "global" takes each axis whole.
    *arguments, **options
        DataFormat (needed), PoolFormat, Stride (1), Padding (0) as in `maxpool`; PaddingValue: 0, so that padding
        counts as zeros, or "mean", so that it does not count (0).

    Returns
    -------
    Y : ndarray
        As in `maxpool`.

    Raises
    ------
    MatlabError
        ``deep:avgpool:invalidDataFormat`` and so on, by what is wrong.

    Notes
    -----
    MATLAB's page: deeplearning/ref/dlarray.avgpool. ``scipy.ndimage.uniform_filter`` has no stride and keeps the size;
    in PyTorch the stride is the size of the pool by default.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import avgpool
    >>> avgpool([[4.0, 8.0, 12.0]], [1, 2], DataFormat="SS", Padding=[[0, 1], [0, 1]])
    array([[ 2.,  6., 10.,  6.]])
    >>> avgpool([[4.0, 8.0, 12.0]], [1, 2], DataFormat="SS", Padding=[[0, 1], [0, 1]], PaddingValue="mean")
    array([[ 4.,  6., 10., 12.]])
    """
    given = name_values(arguments, options, {"DataFormat": None, "PoolFormat": None, "Stride": 1, "Padding": 0,
                                             "PaddingValue": 0}, "deep:avgpool:invalidOption")
    value = given["PaddingValue"]
    if is_text(value):
        word(value, ("mean",), abbreviated=True, identifier="deep:avgpool:invalidPaddingValue",
             message=f"PaddingValue {value!r} is neither 0 nor 'mean'.")
    elif np.size(value) != 1 or np.any(value):
        raise error("avgpool", "PaddingValue", f"PaddingValue {value!r} is neither 0 nor 'mean'.")
    at, x, window, moved = _pooling("avgpool", X, poolsize, given)
    with refusals("deep:avgpool:invalidX"):
        y = avg_pool(x, *window, count_include_pad=not is_text(value), **moved)
    return at.back(y.T)


def maxunpool(Y: ArrayLike, indx: ArrayLike, outputSize: ArrayLike) -> Array:
    """Values back where `maxpool` found them: MATLAB's X = maxunpool(Y, indx, outputSize).

    X(indx(i)) = Y(i), zeros elsewhere.

    Parameters
    ----------
    Y : array_like
        The largest values.
    indx : array_like of int
        As many linear indices, counted from 1 down the columns, as `maxpool` gives them.
    outputSize : array_like of int
        The size of X, the third result of `maxpool`.

    Returns
    -------
    X : ndarray
        Of the class of Y, in Fortran order.

    Raises
    ------
    MatlabError
        ``deep:maxunpool:invalidIndx``, ``deep:maxunpool:invalidOutputSize``.

    Notes
    -----
    MATLAB's page: deeplearning/ref/dlarray.maxunpool. Windows that overlap may give an index twice; the last value
    stays. SciPy has no such function; `convx.max_unpool` counts within planes, from 0.

    Examples
    --------
    >>> from convx.matlab import maxunpool
    >>> maxunpool([[4.0, 6.0]], [[2, 6]], (2, 4))
    array([[0., 0., 0., 0.],
           [4., 0., 6., 0.]])
    """
    values = numeric(Y, "Y", "deep:maxunpool:invalidY")
    places = numeric(indx, "INDX", "deep:maxunpool:invalidIndx").ravel(order="F")
    size = numeric(outputSize, "OUTPUTSIZE", "deep:maxunpool:invalidOutputSize").ravel()
    size = whole_numbers(size, size.size, "OutputSize", "maxunpool", 0)
    if places.size != values.size:
        raise error("maxunpool", "Indx", f"INDX has {places.size} elements, Y has {values.size}.")
    if places.size and (places.dtype.kind == "c" or (places != np.floor(places)).any() or places.min() < 1
                        or places.max() > prod(size)):
        raise error("maxunpool", "Indx", f"INDX must hold whole numbers from 1 to {prod(size)}, the cells of X.")
    sized(size, values.dtype)
    x = np.zeros(prod(size), values.dtype)
    x[places.astype(np.int64) - 1] = values.ravel(order="F")
    return x.reshape(size, order="F")
