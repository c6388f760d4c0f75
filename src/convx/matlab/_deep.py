"""dlconv, dltranspconv: convolutions of the Deep Learning Toolbox on plain arrays."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import conv, conv_transpose
from ._format import Arranged, error, fits, sides, whole_numbers
from ._values import float_class, is_text, name_values, numeric, refusals, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Algorithm, Array

EDGES = {"symmetric-include-edge": "symmetric", "symmetric-exclude-edge": "reflect", "replicate": "edge"}
LAYOUT = {"layout": "HWCN", "w_layout": "HWIO"}  # S, C, B; S, channels of a group, filters


def _weights(weights, letters, rank: int, order: str, function: str):
    """(w with the axes S..., I, O and all groups in O, number of groups); order: what C and U are, in this order."""
    w = numeric(weights, "WEIGHTS", f"deep:{function}:invalidWeights")
    if letters is not None:
        letters = str(letters).upper()
        window = "S" if "S" in letters else "T"
        axes = [a for a, letter in enumerate(letters) if letter == window]
        filters = [a for a, letter in enumerate(letters) if letter == "U"]
        channels = [a for a, letter in enumerate(letters) if letter == "C"]
        if (w.ndim > len(letters) or len(axes) != rank or len(channels) != 1 or len(filters) > 2
                or not set(letters) <= {window, "C", "U"}):
            raise error(function, "WeightsFormat", f"WeightsFormat '{letters}' must name the {w.ndim} axes: {rank} "
                         f"{window}, one C and up to two U (filters, groups).")
        w = w.reshape(w.shape + (1,) * (len(letters) - w.ndim))
        if not filters:
            w, filters = w[..., None], [w.ndim]
        w = w.transpose(axes + (channels + filters if order == "CU" else filters[:1] + channels + filters[1:]))
    if w.ndim > rank + 3:
        raise error(function, "Weights", f"WEIGHTS has {w.ndim} axes; {rank} for windows, channels, filters and "
                     f"groups make {rank + 3}.")
    w = w.reshape(w.shape + (1,) * (rank + 3 - w.ndim))
    if 0 in w.shape[:rank] or not w.shape[-1]:
        raise error(function, "Weights", f"WEIGHTS of {'x'.join(map(str, w.shape))} has no taps or no groups.")
    return w.reshape((*w.shape[:rank + 1], w.shape[rank + 1] * w.shape[-1]), order="F"), w.shape[-1]


def _bias(bias, filters: int, dtype, function: str):
    """One number per filter, or None for zeros."""
    values = numeric(bias, "BIAS", f"deep:{function}:invalidBias").ravel(order="F")
    if values.size not in (1, filters):
        raise error(function, "Bias", f"BIAS has {values.size} elements, there are {filters} filters.")
    if values.dtype.kind == "c" and dtype.kind != "c":
        raise error(function, "Bias", "BIAS is complex, X and WEIGHTS are real.")
    if values.size == 1 and not values[0]:
        return None
    return np.broadcast_to(values.astype(dtype), (filters,))


def _layer(function: str, X, weights, bias, given, order: str):
    """What both convolutions begin with: the arranged X, its values and weights in their class, groups, bias."""
    array = numeric(X, "X", f"deep:{function}:invalidX")
    at = Arranged(array, given["DataFormat"], function)
    if not at.channels:
        raise error(function, "DataFormat", f"DataFormat '{at.letters}' has no C.")
    w, groups = _weights(weights, given["WeightsFormat"], at.rank, order, function)
    dtype = float_class(array, w)
    channels, per_group, outer = at.x.shape[at.rank], *w.shape[at.rank:]
    needed, filters = (per_group * groups, outer) if order == "CU" else (outer, per_group * groups)
    if channels != needed:
        raise error(function, "Weights", f"X has {channels} channels, the weights of {groups} groups need {needed}.")
    bias = _bias(bias, filters, dtype, function)
    return at, at.x.astype(dtype, copy=False), w.astype(dtype, copy=False), groups, bias


def dlconv(X: ArrayLike, weights: ArrayLike, bias: ArrayLike, *arguments: Any, algorithm: Algorithm = "sums",
           **options: Any) -> Array:
    """Deep learning convolution: MATLAB's Y = dlconv(X, weights, bias, Name=Value).

    Y(i, f) = bias(f) + sum over c, k of weights(k, c, f) * X(stride*i + dilation*k - low, c)

    for every observation, with the channels c of the group of filter f. It correlates: weights are not turned around.

    Parameters
    ----------
    X : array_like
        Of any rank; its axes are named by DataFormat.
    weights : array_like
        k1 x ... x kd x C x F, or for G groups k1 x ... x kd x C/G x F/G x G.
    bias : array_like
        A scalar or a number for each of the F filters.
    *arguments, **options
        ``"Name", value`` or ``Name=value``:

        - DataFormat: a letter for each axis of X, "SSCB" for height x width x channels x batch. Needed.
        - Stride, DilationFactor: a number, or one for each window axis (1).
        - Padding: a number, a vector with one for each axis, a matrix [low; high] (for images [top left; bottom
          right]), "same" or "causal" (one axis only) (0). Each smaller than the window.
        - PaddingValue: a number, "symmetric-include-edge", "symmetric-exclude-edge" or "replicate" (0).
        - WeightsFormat: S, C and up to two U for filters and groups, where weights come in another order.
    algorithm : str, optional
        Not MATLAB's: that of `convx.conv`. "auto" may take Winograd and transforms.

    Returns
    -------
    Y : ndarray
        With the axes of X, floor((size + low + high - ((k-1)*dilation + 1)) / stride) + 1 along window axes, for
        "same" ceil(size / stride), where the odd cell of padding lies behind. Single if X or weights are, otherwise
        double; in Fortran order where X is.

    Raises
    ------
    MatlabError
        ``deep:dlconv:invalidDataFormat``, ``invalidWeights``, ``invalidBias``, ``invalidStride``, ``invalidPadding``,
        ``invalidSize`` and so on, by what is wrong.

    Notes
    -----
    MATLAB's page: deeplearning/ref/dlarray.dlconv. A layer of MATLAB has its paddings as [top bottom left right].
    `scipy.signal.correlate` has one channel, no stride and no dilation; PyTorch's weights are F x C x k1 x ... x kd.
    Derivatives are those of `convx.conv_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import dlconv
    >>> X, weights = np.ones((28, 28, 3, 8), np.float32, order="F"), np.ones((5, 5, 3, 16), np.float32, order="F")
    >>> Y = dlconv(X, weights, 0, DataFormat="SSCB", Padding="same", Stride=2)
    >>> Y.shape, float(Y.max()), Y.flags.f_contiguous
    ((14, 14, 16, 8), 75.0, True)
    """
    given = name_values(arguments, options, {"DataFormat": None, "Stride": 1, "DilationFactor": 1, "Padding": 0,
                                             "PaddingValue": 0, "WeightsFormat": None}, "deep:dlconv:invalidOption")
    at, x, w, groups, bias = _layer("dlconv", X, weights, bias, given, "CU")
    stride = whole_numbers(given["Stride"], at.rank, "Stride", "dlconv", 1)
    dilation = whole_numbers(given["DilationFactor"], at.rank, "DilationFactor", "dlconv", 1)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    pads = sides(given["Padding"], spans, "Padding", "dlconv", ("same", "causal"))
    fits(at, spans, pads, "filter", "dlconv")
    value, boundary = given["PaddingValue"], "constant"
    if is_text(value):
        boundary = EDGES[word(value, tuple(EDGES), abbreviated=True, identifier="deep:dlconv:invalidPaddingValue",
                              message=f"PaddingValue {value!r} is none of {', '.join(EDGES)}.")]
        value = 0
    value = numeric(value, "PaddingValue", "deep:dlconv:invalidPaddingValue")
    if value.size != 1:
        raise error("dlconv", "PaddingValue", "PaddingValue must be a scalar.")
    with refusals("deep:dlconv:invalidX"):
        y = conv(x, w, bias, stride=stride, dilation=dilation, padding=pads, groups=groups, boundary=boundary,
                 cval=value.item(), algorithm=algorithm, **LAYOUT)
    return at.back(y)


def dltranspconv(X: ArrayLike, weights: ArrayLike, bias: ArrayLike, *arguments: Any, algorithm: Algorithm = "sums",
                 **options: Any) -> Array:
    """Deep learning transposed convolution: MATLAB's Y = dltranspconv(X, weights, bias, Name=Value).

    Y(i, f) = bias(f) + sum over c, k, o with stride*o + dilation*k - low = i of weights(k, f, c) * X(o, c)

    the transpose of `dlconv` with the same weights, with Cropping in the place of Padding.

    Parameters
    ----------
    X : array_like
        Of any rank; its axes are named by DataFormat.
    weights : array_like
        k1 x ... x kd x F x C, the filters before the channels; for G groups k1 x ... x kd x F/G x C/G x G.
    bias : array_like
        A scalar or a number for each of the F filters.
    *arguments, **options
        ``"Name", value`` or ``Name=value``: DataFormat (needed), Stride (1), DilationFactor (1), WeightsFormat as in
        `dlconv`; Cropping: a number, a vector with one for each window axis, a matrix [low; high], or "same" (0).
    algorithm : str, optional
        Not MATLAB's: that of `convx.conv`.

    Returns
    -------
    Y : ndarray
        With the axes of X, stride*(size - 1) + (k-1)*dilation + 1 - low - high along window axes, for "same"
        stride*size, where the odd cell is cut off behind. Of the class that `dlconv` gives.

    Raises
    ------
    MatlabError
        ``deep:dltranspconv:invalidDataFormat`` and so on, by what is wrong.

    Notes
    -----
    MATLAB's page: deeplearning/ref/dlarray.dltranspconv. SciPy has no transposed convolution; PyTorch's weights are
    C x F x k1 x ... x kd. Derivatives are those of `convx.conv_transpose_backward`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import dltranspconv
    >>> X, weights = np.ones((14, 14, 16, 8)), np.ones((4, 4, 3, 16))
    >>> dltranspconv(X, weights, 0, DataFormat="SSCB", Stride=2, Cropping="same").shape
    (28, 28, 3, 8)
    """
    given = name_values(arguments, options, {"DataFormat": None, "Stride": 1, "DilationFactor": 1, "Cropping": 0,
                                             "WeightsFormat": None}, "deep:dltranspconv:invalidOption")
    at, x, w, groups, bias = _layer("dltranspconv", X, weights, bias, given, "UC")
    stride = whole_numbers(given["Stride"], at.rank, "Stride", "dltranspconv", 1)
    dilation = whole_numbers(given["DilationFactor"], at.rank, "DilationFactor", "dltranspconv", 1)
    spans = [(k - 1) * d + 1 for k, d in zip(w.shape, dilation, strict=False)]
    crop = sides(given["Cropping"], spans, "Cropping", "dltranspconv")
    for n, s, span, pair in zip(at.sizes, stride, spans, () if crop == "same" else crop, strict=False):
        if sum(pair) > s * (n - 1) + span:
            raise error("dltranspconv", "Cropping", f"Cropping of {sum(pair)} leaves nothing of {s * (n - 1) + span}.")
    with refusals("deep:dltranspconv:invalidX"):
        y = conv_transpose(x, w, bias, stride=stride, dilation=dilation, padding=crop, groups=groups,
                           algorithm=algorithm, **LAYOUT)
    return at.back(y)
