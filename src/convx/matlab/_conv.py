"""conv, conv2, convn, filter2: one index rule along every axis.

    full(n) = sum over j of a(j) * b(n - j)

of which 'same' is the part of a's size from floor(taps/2) on, and 'valid' what needs no padding. The arrays never
change places, and an empty one gives zeros of the size that the rule gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import convolve
from ._values import SHAPES, MatlabError, float_class, is_text, is_vector, of_one_rank, returned, values, word

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._typing import Algorithm, Array

_SHAPE_ERROR = {"identifier": "MATLAB:conv2:unknownShapeParameter",
                "message": "SHAPE must be 'full', 'same', or 'valid'."}

_COMMON = """shape : str, optional
        'full'{full}: everything, {sizes}. 'same'{same}: the part of {first}'s size whose first element stands at
        floor(taps/2) of 'full' (counted from 0). 'valid': what needs no padding, max(size - max(taps-1, 0), 0) long.
    algorithm : str, optional
        Not MATLAB's: "sums" (default) adds the products of each output, as MATLAB does; "auto" may take transforms,
        which are faster for kernels of more than a hundred taps; see `convx.convolve`."""

_CLASSES = """Single if an operand is single, double otherwise, whatever the integer class; complex if an operand is."""


def convolved(a: np.ndarray, b: np.ndarray, shape: str, dtype: np.dtype, algorithm: str = "sums") -> np.ndarray:
    """The rule above for two arrays of any ranks; of the class of `dtype`, real if both arrays are."""
    a, b = of_one_rank(a, b)
    if dtype.kind == "c" and a.dtype.kind != "c" != b.dtype.kind:
        dtype = np.dtype(dtype.char.lower())
    if 0 in a.shape or 0 in b.shape or (shape == "valid" and any(m < n for m, n in zip(a.shape, b.shape, strict=True))):
        return np.zeros([{"full": max(m + n - 1, m, n), "same": m, "valid": max(m - max(n - 1, 0), 0)}[shape]
                         for m, n in zip(a.shape, b.shape, strict=True)], dtype)
    if dtype.kind == "f" and b.dtype != dtype:  # calls that convert nothing are remembered
        with np.errstate(over="ignore"):  # a double that no single holds is Inf
            b = b.astype(dtype)
    return convolve(a, b, shape, alignment="matlab", dtype=dtype, algorithm=algorithm)


def turned(array: np.ndarray) -> np.ndarray:
    """Reversed along every axis, as rot180: a view."""
    return array[(slice(None, None, -1),) * array.ndim]


def conv(u: ArrayLike, v: ArrayLike, shape: str = "full", *, algorithm: Algorithm = "sums") -> Array:
    """Convolution of vectors: MATLAB's conv.

    w(n) = sum over j of u(j) * v(n - j)

    Parameters
    ----------
    u, v : array_like
        Vectors: 1xN, Nx1 or 1-D, N may be 0.
    {common}

    Returns
    -------
    w : ndarray
        A vector. {classes}
        'full' is a row or column as the longer operand is, as v if both are equally long;
        'same' and 'valid' as u. 1-D if both operands are.

    Raises
    ------
    MatlabError
        MATLAB:conv:AorBNotVector, MATLAB:conv:unknownShapeParameter (no text), MATLAB:conv2:unknownShapeParameter
        (no such word), MATLAB:conv2:inputType (not numeric).

    Notes
    -----
    MATLAB's page: matlab/ref/conv. `numpy.convolve` and `scipy.signal.convolve` start 'same' at floor((taps-1)/2), one
    earlier for an even number of taps; they exchange the operands for 'valid' if v is longer, and NumPy also for
    'same'; they keep integer classes, which wrap around; an empty operand is an error there.

    Examples
    --------
    >>> from convx.matlab import conv
    >>> conv([1, 0, 1], [2, 7])
    array([2., 7., 2., 7.])
    >>> conv([-1, 2, 3, -2, 0, 1, 2], [2, 4, -1, 1], 'same')
    array([15.,  5., -9.,  7.,  6.,  7., -1.])
    >>> conv([[1], [2], [3]], [1, 1]).shape
    (4, 1)
    """
    (u, v), flat = values("MATLAB:conv2:inputType", A=u, B=v)
    if not is_vector(u) or not is_vector(v):
        raise MatlabError("A and B must be vectors.", "MATLAB:conv:AorBNotVector")
    if not is_text(shape):
        raise MatlabError(_SHAPE_ERROR["message"], "MATLAB:conv:unknownShapeParameter")
    shape = word(shape, SHAPES, **_SHAPE_ERROR)
    like = v if shape == "full" and v.size >= u.size else u
    w = convolved(u.reshape(-1), v.reshape(-1), shape, float_class(u, v), algorithm)
    return returned(w.reshape((1, -1) if like.shape[0] == 1 else (-1, 1)), flat)


def _planes(**arguments):
    """`values`, which must have two dimensions."""
    arrays, flat = values("MATLAB:conv2:inputType", **arguments)
    for array in arrays:
        if array.ndim > 2:
            raise MatlabError("N-D arrays are not supported.", "MATLAB:conv2:inputType")
    return arrays, flat


def conv2(u: ArrayLike, v: ArrayLike, A: ArrayLike | None = None, shape: str = "full", *,
          algorithm: Algorithm = "sums") -> Array:
    """Convolution of matrices: MATLAB's conv2(A, B, shape) and conv2(u, v, A, shape).

    C(n, m) = sum over j, k of A(j, k) * B(n - j, m - k)

    Parameters
    ----------
    u, v : array_like
        The matrices A and B; if three arrays are given, vectors: every column of A is convolved with u, then every
        row with v, which gives what the kernel ``u(:) * v(:).'`` gives.
    A : array_like or str, optional
        The matrix of the separable form; otherwise the shape.
    {common}

    Returns
    -------
    C : ndarray
        {classes}
        In Fortran order if A is. 1-D if it is a row and no operand has a second axis.

    Raises
    ------
    MatlabError
        MATLAB:conv2:unknownShapeParameter, MATLAB:conv2:firstTwoInputsNotVectors, MATLAB:conv2:inputType.

    Notes
    -----
    MATLAB's page: matlab/ref/conv2. `scipy.signal.convolve2d` starts 'same' at floor((taps-1)/2), one earlier for an
    even number of taps, exchanges the operands for 'valid' if B is the larger one, and keeps integer classes, which
    wrap around. The result for an even kernel is that of `scipy.ndimage.convolve` with mode='constant'.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import conv2
    >>> A = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    >>> conv2(A, [[1, 1], [1, 1]], 'same')
    array([[12., 16.,  9.],
           [24., 28., 15.],
           [15., 17.,  9.]])
    >>> conv2([1, 1], [1, 1], A, 'same')
    array([[12., 16.,  9.],
           [24., 28., 15.],
           [15., 17.,  9.]])
    """
    if A is None or is_text(A):
        (a, b), flat = _planes(A=u, B=v)
        shape = word(shape if A is None else A, SHAPES, **_SHAPE_ERROR)
        return returned(convolved(a, b, shape, float_class(a, b), algorithm), flat)
    (u, v, a), flat = _planes(HCOL=u, HROW=v, A=A)
    if not is_vector(u) or not is_vector(v):
        raise MatlabError("HCOL and HROW must be vectors.", "MATLAB:conv2:firstTwoInputsNotVectors")
    shape = word(shape, SHAPES, **_SHAPE_ERROR)
    dtype = float_class(u, v, a)
    if not (u.size and v.size and a.size):  # the rule of the whole kernel: columns first would see one of width 1
        return returned(convolved(a, np.empty((u.size, v.size), dtype), shape, dtype), flat)
    columns = convolved(a, u.reshape(-1, 1), shape, dtype, algorithm)
    return returned(convolved(columns, v.reshape(1, -1), shape, dtype, algorithm), flat)


def convn(A: ArrayLike, B: ArrayLike, shape: str = "full", *, algorithm: Algorithm = "sums") -> Array:
    """Convolution of arrays with any numbers of dimensions: MATLAB's convn.

    C(n) = sum over j of A(j) * B(n - j), with one index per dimension

    Parameters
    ----------
    A, B : array_like
        Arrays; the one with fewer dimensions has size 1 along the others.
    {common}

    Returns
    -------
    C : ndarray
        {classes}
        In Fortran order if A is. Dimensions of size 1 at the end are left out, as in
        MATLAB. 1-D if it is a row and no operand has a second axis.

    Raises
    ------
    MatlabError
        MATLAB:convn:unknownShapeParameter, MATLAB:convn:SparseInput (sparse, or not numeric).

    Notes
    -----
    MATLAB's page: matlab/ref/convn. `scipy.signal.convolve` wants arrays of equal rank, starts 'same' one earlier along
    a dimension with an even number of taps, and exchanges the operands for 'valid' if B is larger.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import convn
    >>> convn(np.ones((4, 4, 3)), np.ones((2, 2)), 'valid').shape
    (3, 3, 3)
    >>> convn(np.ones((4, 4)), np.ones((2, 2, 2)), 'valid').shape
    (3, 3, 0)
    """
    (a, b), flat = values("MATLAB:convn:SparseInput", A=A, B=B)
    shape = word(shape, SHAPES, **_SHAPE_ERROR | {"identifier": "MATLAB:convn:unknownShapeParameter"})
    return returned(convolved(a, b, shape, float_class(a, b), algorithm), flat)


def filter2(H: ArrayLike, X: ArrayLike, shape: str = "same", *, algorithm: Algorithm = "sums") -> Array:
    """Two-dimensional filter, a correlation: MATLAB's filter2. The filter comes first.

    Y(n, m) = sum over j, k of H(j, k) * X(n + j - p, m + k - q), p = floor((rows-1)/2), q alike, for 'same'

    Parameters
    ----------
    H, X : array_like
        The filter and the data, matrices. Y is conv2(X, rot180(H), shape).
    {common}

    Returns
    -------
    Y : ndarray
        {classes}
        In Fortran order if X is. 1-D if it is a row and no operand has a second axis.

    Raises
    ------
    MatlabError
        As `conv2`.

    Notes
    -----
    MATLAB's page: matlab/ref/filter2. `scipy.signal.correlate2d(X, H, 'same')` agrees for real data (it conjugates H,
    filter2 does not); `scipy.signal.correlate` starts one earlier for even filters; `scipy.ndimage.correlate` agrees
    for odd filters with mode='constant', and for even ones with origin=-1.

    Examples
    --------
    >>> from convx.matlab import filter2
    >>> filter2([1, 10], [1, 2, 3])
    array([21., 32.,  3.])
    """
    (h, x), flat = _planes(H=H, X=X)
    shape = word(shape, SHAPES, **_SHAPE_ERROR)
    return returned(convolved(x, turned(h), shape, float_class(h, x), algorithm), flat)


def _fill(function, first, sizes, default="full"):
    if function.__doc__ is None:  # python -OO
        return
    words = {name: " (default)" if name == default else "" for name in ("full", "same")}
    function.__doc__ = function.__doc__.format(common=_COMMON.format(first=first, sizes=sizes, **words),
                                               classes=_CLASSES)


_fill(conv, "u", "numel(u)+numel(v)-1 long")
_fill(conv2, "A", "size(A)+size(B)-1")
_fill(convn, "A", "size(A)+size(B)-1")
_fill(filter2, "X", "size(X)+size(H)-1", default="same")
