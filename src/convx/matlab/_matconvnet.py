"""vl_nnconv, vl_nnconvt, vl_nnpool: MatConvNet's layers, with their derivatives by position.

Arrays are H x W x D x N, of one class, single or double. A layer computes its derivatives if the derivative of its
output stands behind its operands, before the options.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import (
    avg_pool,
    avg_pool_grad,
    conv,
    conv_grad_bias,
    conv_grad_input,
    conv_grad_weight,
    conv_transpose,
    conv_transpose_grad_input,
    conv_transpose_grad_weight,
    max_pool,
    max_pool_grad,
)
from ._values import MatlabError, is_text, numeric, refusals, stripped

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Algorithm

ILLEGAL = "vl:illegalArgument"
LAYOUT = {"layout": "HWCN", "w_layout": "HWIO"}
NONE = {"verbose": False, "cudnn": False, "nocudnn": False, "cudnnworkspacelimit": None}  # nothing to do on a CPU


def _refused(function: str, message: str) -> MatlabError:
    return MatlabError(f"{function}: {message}", ILLEGAL)


def _options(function: str, arguments, named, defaults: dict) -> tuple:
    """(derivative of the output or None, options): flags, whose default is False, stand alone, others have a value."""
    arguments = list(arguments)
    dy = arguments.pop(0) if arguments and not is_text(arguments[0]) else None
    found = {**NONE, **defaults}
    while arguments:
        name = arguments.pop(0)
        low = name.lower() if is_text(name) else None
        if low not in found:
            raise _refused(function, f"Unknown option {name!r}; there are {', '.join(found)}.")
        if found[low] is False or found[low] is True:
            found[low] = True
        elif not arguments:
            raise _refused(function, f"Option {name!r} has no value.")
        else:
            found[low] = arguments.pop(0)
    for name, value in named.items():
        if name.lower() not in found:
            raise _refused(function, f"Unknown option {name!r}; there are {', '.join(found)}.")
        found[name.lower()] = value
    return dy, found


def _operands(function: str, **arguments) -> dict:
    """The arrays, of one class, with four axes; None for an empty one."""
    found, dtypes = {}, {}
    for name, argument in arguments.items():
        array = np.zeros((0, 0)) if argument is None else numeric(argument, name, ILLEGAL)
        found[name] = None
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
        if array.size:
            dtypes[name] = array.dtype
            array = stripped(array)
            if array.ndim > 4:
                raise _refused(function, f"{name} has {array.ndim} axes, there are four at most.")
            found[name] = array.reshape(array.shape + (1,) * (4 - array.ndim))
    for name, dtype in dtypes.items():
        if dtype not in (np.float32, np.float64) or dtype != next(iter(dtypes.values())):
            raise _refused(function, f"{name} is of class {dtype}; all arrays must be single, or all double.")
    if found["DATA"] is None:
        raise _refused(function, "DATA is empty.")
    return found


def _numbers(function: str, value, name: str, counts, least: int) -> list[int]:
    numbers = numeric(value, name, ILLEGAL).ravel()
    words = {(1, 2): "neither one nor two elements", (1, 4): "neither one nor four elements"}
    if numbers.size not in counts:
        raise _refused(function, f"{name} has {words[counts]}.")
    if not np.isfinite(numbers).all() or numbers.dtype.kind == "c" or (numbers != np.floor(numbers)).any():
        raise _refused(function, f"{name} must hold whole numbers, not {numbers.tolist()}.")
    if (numbers < least).any():
        raise _refused(function, {"STRIDE": "At least one element of STRIDE is smaller than one.",
                                  "DILATE": "An element of DILATE is less than one."}.get(
                                      name, f"An element of {name} is {'negative' if not least else 'less than one'}."))
    return [int(n) for n in numbers] * (counts[-1] if numbers.size == 1 else 1)


def _pads(function: str, value, name: str):
    top, bottom, left, right = _numbers(function, value, name, (1, 4), 0)
    return (top, bottom), (left, right)


def _size(function: str, x, spans, pads, stride, what: str) -> tuple[int, int]:
    """Outputs along the two axes."""
    room = [n + sum(pad) - span for n, pad, span in zip(x.shape, pads, spans, strict=False)]
    if min(room) < 0:
        raise _refused(function, f"{what} larger than the DATA (including padding).")
    return tuple(r // s + 1 for r, s in zip(room, stride, strict=True))


def _derivative(function: str, dy, wanted, dtype, others: str):
    """The derivative of the output, with four axes."""
    array = stripped(numeric(dy, "DEROUTPUT", ILLEGAL))
    if array.dtype != dtype:
        raise _refused(function, f"DEROUTPUT is of class {array.dtype}, DATA of {dtype}.")
    array = array.reshape(array.shape + (1,) * (4 - array.ndim))
    if array.shape != tuple(wanted):
        raise _refused(function, f"DEROUTPUT dimensions are incompatible with X and {others}.")
    return array


def _shaped(y: np.ndarray, like) -> np.ndarray:
    """A result H x W x D x N with as many axes as the data had, or as many as it needs."""
    rank = max(np.ndim(like), stripped(y).ndim)
    return y.reshape(y.shape[:rank])


def _biases(function: str, b, count: int):
    if b is not None and b.size != count:
        raise _refused(function, "The number of elements of BIASES is not the same as the number of filters.")
    return None if b is None else b.ravel(order="F")


def _nothing(x) -> np.ndarray:
    return np.zeros((0, 0), x.dtype)


def _results(options, given, operands, gradients) -> tuple:
    """(dx, df, db) in the shapes of their arrays, empty where there is no array or nobody wants it."""
    x = operands["DATA"]
    out = []
    for (name, flag), argument, gradient in zip((("DATA", "noderdata"), ("FILTERS", "noderfilters"),
                                                 ("BIASES", "noderbiases")), given, gradients, strict=True):
        if operands[name] is None or options[flag]:
            out.append(_nothing(x))
        else:
            with refusals(ILLEGAL):
                out.append(gradient().reshape(np.shape(argument), order="F"))
    return tuple(out)


def vl_nnconv(x: ArrayLike, f: ArrayLike, b: ArrayLike, *arguments: Any, algorithm: Algorithm = "sums",
              **named: Any) -> Any:
    """Convolution layer: MatConvNet's vl_nnconv.

    y(i, j, k, n) = b(k) + sum over u, v, c of f(u, v, c, k) x(i*sy + u*dy - top, j*sx + v*dx - left, c, n)

    ``y = vl_nnconv(x, f, b, options)`` and ``dx, df, db = vl_nnconv(x, f, b, dzdy, options)``. It correlates.

    Parameters
    ----------
    x : array_like
        H x W x D x N, trailing axes of size 1 may be missing.
    f : array_like
        FH x FW x FC x K; D/FC groups, of which group g makes the outputs g*K/G to (g+1)*K/G - 1. Empty: every channel
        is passed on (padded and subsampled).
    b : array_like
        K numbers in any shape, or empty.
    *arguments, **named
        First dzdy, the derivative with respect to y, for the derivatives. Then ``"Name", value`` or ``Name=value``, in
        any case: Stride, Dilate ([sy, sx] or one number; 1), Pad ([top, bottom, left, right] or one number; 0), and the
        flags NoDerData, NoDerFilters, NoDerBiases. Verbose, CuDNN, NoCuDNN and CudnnWorkspaceLimit have no effect.
    algorithm : str, optional
        Not MatConvNet's: that of `convx.conv`.

    Returns
    -------
    y : ndarray
        floor((H + top + bottom - ((FH-1)*dy + 1)) / sy) + 1 rows, and so on, K channels; in Fortran order where x is.
    dx, df, db : ndarray
        Instead, if dzdy is given: derivatives in the shapes of x, f, b; empty for an empty array or by a flag.

    Raises
    ------
    MatlabError
        ``vl:illegalArgument`` with MatConvNet's sentences.

    Notes
    -----
    MATLAB's page: none, MatConvNet's is vlfeat.org/matconvnet/mfiles/vl_nnconv. SciPy has no layers;
    PyTorch's weights are K x FC x FH x FW.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import vl_nnconv
    >>> x, f, b = np.ones((5, 5, 4, 2)), np.ones((3, 3, 2, 6)), np.zeros(6)
    >>> y = vl_nnconv(x, f, b, "Pad", 1, "Stride", 2)
    >>> y.shape
    (3, 3, 6, 2)
    >>> dx, df, db = vl_nnconv(x, f, b, np.ones_like(y), "Pad", 1, "Stride", 2)
    >>> dx.shape, df.shape, db
    ((5, 5, 4, 2), (3, 3, 2, 6), array([18., 18., 18., 18., 18., 18.]))
    """
    name = "vl_nnconv"
    dy, options = _options(name, arguments, named, {"stride": 1, "pad": 0, "dilate": 1, "noderdata": False,
                                                    "noderfilters": False, "noderbiases": False})
    arrays = _operands(name, DATA=x, FILTERS=f, BIASES=b)
    data, filters = arrays["DATA"], arrays["FILTERS"]
    stride = _numbers(name, options["stride"], "STRIDE", (1, 2), 1)
    dilation = _numbers(name, options["dilate"], "DILATE", (1, 2), 1)
    pads = _pads(name, options["pad"], "PAD")
    depth = data.shape[2]
    if filters is None:
        if dilation != [1, 1]:
            raise _refused(name, "Without FILTERS DILATE must be one.")
        filters = np.ones((1, 1, 1, depth), data.dtype)
    if depth % filters.shape[2]:
        raise _refused(name, "The FILTERS depth does not divide the DATA depth.")
    groups = depth // filters.shape[2]
    if filters.shape[3] % groups:
        raise _refused(name, "The number of filter groups does not divide the number of filters.")
    bias = _biases(name, arrays["BIASES"], filters.shape[3])
    spans = [(k - 1) * d + 1 for k, d in zip(filters.shape, dilation, strict=False)]
    size = _size(name, data, spans, pads, stride, "FILTERS are")
    how = {"stride": stride, "dilation": dilation, "padding": pads, "groups": groups, "algorithm": algorithm, **LAYOUT}
    if dy is None:
        with refusals(ILLEGAL):
            return _shaped(conv(data, filters, bias, **how), x)
    dy = _derivative(name, dy, (*size, filters.shape[3], data.shape[3]), data.dtype, "FILTERS")
    return _results(options, (x, f, b), arrays, (
        lambda: conv_grad_input(dy, filters, data.shape, **how),
        lambda: conv_grad_weight(data, dy, filters.shape, **how),
        lambda: conv_grad_bias(dy, layout=LAYOUT["layout"])))


def vl_nnconvt(x: ArrayLike, f: ArrayLike, b: ArrayLike, *arguments: Any, algorithm: Algorithm = "sums",
               **named: Any) -> Any:
    """Transposed convolution layer: MatConvNet's vl_nnconvt.

    y(i, j, k, n) = b(k) + sum of f(u, v, k, c) x(o, p, c, n)
                    over c and all o, p, u, v with uy*o + u - top = i, ux*p + v - left = j

    ``y = vl_nnconvt(x, f, b, options)`` and ``dx, df, db = vl_nnconvt(x, f, b, dzdy, options)``: the derivative of
    `vl_nnconv` with the same f, stride Upsample and pad Crop, with respect to its input.

    Parameters
    ----------
    x : array_like
        H x W x D x N.
    f : array_like
        FH x FW x K x D.
    b : array_like
        K*NumGroups numbers in any shape, or empty.
    *arguments, **named
        First dzdy for the derivatives. Then Upsample ([uy, ux] or one number; 1), Crop ([top, bottom, left, right] or
        one number; 0), NumGroups (1), and the flags of `vl_nnconv`.
    algorithm : str, optional
        Not MatConvNet's: that of `convx.conv`.

    Returns
    -------
    y : ndarray
        uy*(H - 1) + FH - top - bottom rows, and so on, K*NumGroups channels.
    dx, df, db : ndarray
        Instead, if dzdy is given: as in `vl_nnconv`.

    Raises
    ------
    MatlabError
        ``vl:illegalArgument``.

    Notes
    -----
    MATLAB's page: none, MatConvNet's is vlfeat.org/matconvnet/mfiles/vl_nnconvt. SciPy has no layers;
    PyTorch's weights are D x K x FH x FW.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import vl_nnconvt
    >>> x, f = np.ones((5, 5, 4, 2)), np.ones((4, 4, 3, 4))
    >>> vl_nnconvt(x, f, [], "Upsample", 2, "Crop", 1).shape
    (10, 10, 3, 2)
    """
    name = "vl_nnconvt"
    dy, options = _options(name, arguments, named, {"upsample": 1, "crop": 0, "numgroups": 1, "noderdata": False,
                                                    "noderfilters": False, "noderbiases": False})
    arrays = _operands(name, DATA=x, FILTERS=f, BIASES=b)
    data, filters = arrays["DATA"], arrays["FILTERS"]
    if filters is None:
        raise _refused(name, "FILTERS is empty.")
    stride = _numbers(name, options["upsample"], "UPSAMPLE", (1, 2), 1)
    crops = _pads(name, options["crop"], "CROP")
    (groups,) = _numbers(name, options["numgroups"], "NUMGROUPS", (1,), 1)
    if filters.shape[3] != data.shape[2]:
        raise _refused(name, "The FILTERS depth is not the DATA depth.")
    if filters.shape[3] % groups:
        raise _refused(name, "The number of filter groups does not divide the FILTERS depth.")
    outputs = filters.shape[2] * groups
    bias = _biases(name, arrays["BIASES"], outputs)
    size = [s * (n - 1) + k - sum(c) for n, k, s, c in zip(data.shape, filters.shape, stride, crops, strict=False)]
    if min(size) < 1:
        raise _refused(name, "CROP is larger than the output.")
    how = {"stride": stride, "padding": crops, "groups": groups, "algorithm": algorithm, **LAYOUT}
    if dy is None:
        with refusals(ILLEGAL):
            return _shaped(conv_transpose(data, filters, bias, **how), x)
    dy = _derivative(name, dy, (*size, outputs, data.shape[3]), data.dtype, "FILTERS")
    return _results(options, (x, f, b), arrays, (
        lambda: conv_transpose_grad_input(dy, filters, data.shape, **how),
        lambda: conv_transpose_grad_weight(data, dy, filters.shape, **how),
        lambda: conv_grad_bias(dy, layout=LAYOUT["layout"])))


def vl_nnpool(x: ArrayLike, pool: ArrayLike, *arguments: Any, **named: Any) -> Any:
    """Pooling layer: MatConvNet's vl_nnpool.

    y(i, j, k, n) = max (or mean) over u, v of x(i*sy + u - top, j*sx + v - left, k, n)

    ``y = vl_nnpool(x, pool, options)`` and ``dx = vl_nnpool(x, pool, dzdy, options)``. Windows are cut at the edges of
    x: a maximum ignores padding, a mean divides by the number of cells that are left.

    Parameters
    ----------
    x : array_like
        H x W x D x N.
    pool : array_like of int
        [py, px], or one number for both.
    *arguments, **named
        First dzdy for the derivative. Then ``"Name", value`` or ``Name=value``, in any case: Stride ([sy, sx] or one
        number; 1), Pad ([top, bottom, left, right] or one number, each smaller than the pool; 0), Method ("max" or
        "avg"). Verbose, CuDNN, NoCuDNN and CudnnWorkspaceLimit have no effect.

    Returns
    -------
    y : ndarray
        floor((H + top + bottom - py) / sy) + 1 rows, and so on; in Fortran order where x is.
    dx : ndarray
        Instead, if dzdy is given: in the shape of x. The whole derivative of a maximum goes to the first of equal
        values, down the columns.

    Raises
    ------
    MatlabError
        ``vl:illegalArgument``.

    Notes
    -----
    A NaN is never the maximum: a window of NaN gives -Inf, and passes no derivative on.

    MATLAB's page: none, MatConvNet's is vlfeat.org/matconvnet/mfiles/vl_nnpool.
    ``scipy.ndimage.maximum_filter`` has no stride and keeps the size; `convx.max_pool` lets a NaN win.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import vl_nnpool
    >>> x = np.array([[1.0, 2, 5, 3], [2, 0, 6, 6]])
    >>> vl_nnpool(x, 2, "Stride", 2)
    array([[2., 6.]])
    >>> vl_nnpool(x, 2, np.array([[10.0, 20]]), "Stride", 2)
    array([[ 0.,  0.,  0.,  0.],
           [10.,  0., 20.,  0.]])
    >>> vl_nnpool(x, [1, 2], Pad=[0, 0, 1, 1], Stride=[1, 2], Method="avg")
    array([[1. , 3.5, 3. ],
           [2. , 3. , 6. ]])
    """
    name = "vl_nnpool"
    dy, options = _options(name, arguments, named, {"stride": 1, "pad": 0, "method": "max"})
    data = _operands(name, DATA=x)["DATA"]
    taps = _numbers(name, pool, "POOL", (1, 2), 1)
    stride = _numbers(name, options["stride"], "STRIDE", (1, 2), 1)
    pads = _pads(name, options["pad"], "PAD")
    method = str(options["method"]).lower()
    if method not in ("max", "avg"):
        raise _refused(name, f"METHOD is neither max nor avg but {options['method']!r}.")
    if any(max(pad) >= tap for pad, tap in zip(pads, taps, strict=True)):
        raise _refused(name, "A padding value is larger or equal to the size of the pooling window.")
    size = _size(name, data, taps, pads, stride, "The pooling window is")
    # As N, C, W, H, so that the first of equal values is the first down the columns.
    window, how = tuple(taps[::-1]), {"stride": tuple(stride[::-1]), "padding": pads[::-1]}
    if dy is not None:
        dy = _derivative(name, dy, (*size, *data.shape[2:]), data.dtype, "POOL").T
    with refusals(ILLEGAL):
        y = (_averages if method == "avg" else _maxima)(data.T, dy, window, how)
    return _shaped(y.T, x) if dy is None else y.T.reshape(np.shape(x), order="F")


def _averages(x, dy, window, how) -> np.ndarray:
    return avg_pool(x, window, **how) if dy is None else avg_pool_grad(x.shape, dy, window, **how)


def _maxima(x, dy, window, how) -> np.ndarray:
    """Of what is no nan: -Inf, which passes no derivative on, where there is nothing else."""
    if x.size and not x.min() > -np.inf:  # true with a nan
        x = np.where(np.isnan(x), x.dtype.type(-np.inf), x)
        if dy is not None:
            dy = np.where(np.isneginf(max_pool(x, window, **how)), dy.dtype.type(0), dy)
    return max_pool(x, window, **how) if dy is None else max_pool_grad(x, dy, window, **how)
