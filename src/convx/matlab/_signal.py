"""cconv and deconv: circular convolution, and convolution undone."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import convolve
from ._conv import convolved
from ._matrix import band
from ._values import (
    SHAPES,
    MatlabError,
    float_class,
    is_vector,
    name_values,
    numeric,
    outputs,
    returned,
    sized,
    values,
    whole,
    word,
)

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Array

_METHODS = ("long-division", "least-squares")


def _folded(vector: np.ndarray, n: int, dtype) -> np.ndarray:
    """The sums of the elements whose indices are equal modulo n; as it is if it is not longer than n."""
    if vector.size <= n:
        return vector
    rows = -(-vector.size // n)
    whole_rows = np.zeros(rows * n, dtype)
    whole_rows[:vector.size] = vector
    return whole_rows.reshape(rows, n).sum(0)


def _round(signal, kernel, n, dtype):
    """Circular convolution of vectors that are not longer than n."""
    signal = np.concatenate([signal, np.zeros(n - signal.size, signal.dtype)])
    with np.errstate(over="ignore"):  # a double that no single holds is Inf
        c = convolve(signal, kernel, "same", alignment="matlab", boundary="wrap", dtype=dtype)
    return np.roll(c, kernel.size // 2)


def cconv(a: ArrayLike, b: ArrayLike, n: ArrayLike | None = None) -> Array:
    """Circular convolution of vectors: MATLAB's cconv.

    c(k) = sum over all j with mod(j, n) = k of w(j),    w = conv(a, b),    k = 0 .. n-1

    Parameters
    ----------
    a, b : array_like
        Vectors, not empty.
    n : int, optional
        Length of the result: any, at least 1. Default: numel(a)+numel(b)-1, where nothing falls together.

    Returns
    -------
    c : ndarray
        A column if an operand is one, otherwise a row; 1-D if both operands are. Single if one of them is single,
        otherwise double; complex if one is.

    Raises
    ------
    MatlabError
        signal:cconv:inputType, signal:cconv:invalidLength.

    Notes
    -----
    MATLAB's page: signal/ref/cconv. SciPy has no such function; ``ifft(fft(a, n) * fft(b, n))`` is it for n not less
    than both lengths, because NumPy's fft cuts what is longer where MATLAB's cconv adds it. Operands longer than n are
    folded before they are convolved; long ones are transformed (fastest if n has no factors but 2, 3, 5), where zeros
    may come out as 1e-16, as in MATLAB.

    Examples
    --------
    >>> from convx.matlab import cconv
    >>> cconv([2, 1, 2, 1], [1, 2, 3, 4], 4)
    array([14., 16., 14., 16.])
    >>> cconv([1, 2, 3, 2, 1], [-1, 1], 3)
    array([0., 0., 0.])
    """
    (a, b), flat = values("signal:cconv:inputType", A=a, B=b)
    if not (is_vector(a) and is_vector(b) and a.size and b.size):
        raise MatlabError("A and B must be vectors that are not empty.", "signal:cconv:inputType")
    size = a.size + b.size - 1
    n = size if n is None else whole(n, "N", identifier="signal:cconv:invalidLength", least=1)
    row, dtype = a.shape[0] == 1 == b.shape[0], float_class(a, b)
    sized((n,), dtype)
    a, b = (_folded(x.reshape(-1), n, x.dtype if x.dtype.kind in "fc" else np.float64) for x in (a, b))
    if a.size + b.size - 1 > n:
        c = _round(*sorted((a, b), key=np.size, reverse=True), n, dtype)
    else:
        c = convolved(a, b, "full", dtype, "auto")
        c = np.concatenate([c, np.zeros(n - c.size, dtype)])
    return returned(c.reshape((1, -1) if row else (-1, 1)), flat)


def deconv(u: ArrayLike, v: ArrayLike, *arguments: Any, nargout: int = 1, **options: Any) -> Any:
    """Deconvolution, the division of polynomials: MATLAB's deconv.

    ``deconv(u, v)``, ``deconv(u, v, shape, "Method", "least-squares", "RegularizationFactor", alpha)``; options may
    also be given as ``Method="least-squares"``.

    u = conv(v, q, shape) + r

    Parameters
    ----------
    u, v : array_like
        Vectors; v is not empty, and for the long division v(1) is not 0.
    shape : str, optional
        Which part of the convolution u is: 'full' (default); for least squares also 'same' or 'valid', see `conv`.
    Method : str, optional
        'long-division' (default) or 'least-squares'.
    RegularizationFactor : float, optional
        alpha of least squares, which minimize norm(r)^2 + norm(alpha*q)^2.
    nargout : int, optional
        2: return the remainder too. (As in MATLAB's own engine for Python.)

    Returns
    -------
    q : ndarray
        numel(u)-numel(v)+1 values ('same': numel(u), 'valid': numel(u)+numel(v)-1); a single 0 if v is longer than u.
        Row or column as u; 1-D if both operands are. Single if one of them is single, otherwise double.
    r : ndarray
        The remainder, of the size of u. Exact zeros where the long division leaves nothing: its first numel(q) values.

    Raises
    ------
    MatlabError
        MATLAB:deconv:ZeroCoef1, MATLAB:deconv:badMethod, MATLAB:deconv:polydivShape, MATLAB:deconv:polydivRegularizer,
        MATLAB:deconv:invalidOption, MATLAB:deconv:inputType.

    Notes
    -----
    MATLAB's page: matlab/ref/deconv. `scipy.signal.deconvolve` is the long division, returns an empty q if v is longer,
    and leaves rounding errors in the first values of r. Least squares solve a dense system: cubic in numel(q).

    Examples
    --------
    >>> from convx.matlab import conv, deconv
    >>> deconv([2, 7, 4, 9], [1, 0, 1], nargout=2)
    (array([2., 7.]), array([0., 0., 2., 2.]))
    >>> deconv(conv([1, 2, 3], [0, 1, 5]), [0, 1, 5], Method='least-squares').round(12)
    array([1., 2., 3.])
    """
    outputs(nargout, 2)
    (u, v), flat = values("MATLAB:deconv:inputType", Y=u, H=v)
    if not (is_vector(u) and is_vector(v) and v.size):
        raise MatlabError("Y and H must be vectors, and H not empty.", "MATLAB:deconv:inputType")
    named = "shape" in options
    shape = options.pop("shape", "full")
    if len(arguments) % 2:
        if named:
            raise MatlabError(f"SHAPE is given twice: {arguments[0]!r} and {shape!r}.", "MATLAB:deconv:invalidOption")
        shape, *arguments = arguments
    given = name_values(arguments, options, {"Method": "long-division", "RegularizationFactor": 0},
                        "MATLAB:deconv:invalidOption")
    method = word(given["Method"], _METHODS, identifier="MATLAB:deconv:badMethod", abbreviated=True,
                  message="Method must be 'long-division' or 'least-squares'.")
    shape = word(shape, SHAPES, identifier="MATLAB:conv2:unknownShapeParameter",
                 message="SHAPE must be 'full', 'same', or 'valid'.")
    factor = numeric(given["RegularizationFactor"], "RegularizationFactor", "MATLAB:deconv:inputType")
    if factor.size != 1 or factor.dtype.kind == "c":
        raise MatlabError("RegularizationFactor must be a real scalar.", "MATLAB:deconv:inputType")
    factor, dtype, column = factor.item(), float_class(u, v), u.shape[0] != 1
    with np.errstate(over="ignore"):
        u, v = (a.reshape(-1).astype(dtype) for a in (u, v))
    if method == "long-division":
        if shape != "full":
            raise MatlabError("SHAPE is not supported for the 'long-division' method.", "MATLAB:deconv:polydivShape")
        if factor != 0:
            raise MatlabError("RegularizationFactor is not supported for the 'long-division' method.",
                              "MATLAB:deconv:polydivRegularizer")
        if v[0] == 0:
            raise MatlabError("First coefficient of A must be non-zero.", "MATLAB:deconv:ZeroCoef1")
    if not u.size or (shape == "full" and v.size > u.size):
        q, r = np.zeros(1, dtype), u
    elif method == "long-division":
        q, r = _divided(u, v)
    else:
        q = _least_squares(u, v, shape, factor)
        r = u - convolved(q, v, shape, dtype)
    q, r = (returned(a.reshape((-1, 1) if column else (1, -1)), flat) for a in (q, r))
    return (q, r) if nargout > 1 else q


def _divided(u, v):
    """(q, r) of the long division: q is the impulse response of 1/v to the first values of u."""
    from scipy.signal import lfilter  # half a second, which only this method needs

    count = u.size - v.size + 1
    with np.errstate(all="ignore"):
        q = lfilter([1], v / v[0], u[:count] / v[0]).astype(u.dtype, copy=False)
    r = np.zeros_like(u)
    r[count:] = u[count:] - convolved(q, v, "full", u.dtype)[count:]
    return q, r


def _least_squares(u, v, shape, factor):
    """The q whose convolution with v comes closest to u; of several the smallest one. NaN where there is none."""
    from scipy.linalg import lstsq

    count = u.size + {"full": 1 - v.size, "same": 0, "valid": v.size - 1}[shape]
    start = {"full": 0, "same": v.size // 2, "valid": v.size - 1}[shape]  # convolved with q: v is the kernel
    system = band(v, count).T[start:start + u.size]
    if factor:
        system = np.concatenate([system, np.eye(count, dtype=u.dtype) * u.dtype.type(factor)])
        u = np.concatenate([u, np.zeros(count, u.dtype)])
    if not (np.isfinite(system).all() and np.isfinite(u).all()):
        return np.full(count, np.nan, u.dtype)
    return lstsq(system, u)[0]
