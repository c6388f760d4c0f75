"""convmtx and convmtx2: convolutions as matrices."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._values import MatlabError, float_class, is_vector, refusals, sized, values, whole

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from .._typing import Array


def band(h: np.ndarray, n: int) -> np.ndarray:
    """n rows, each with h one place further to the right: rows of a square with one column more, cut at its side."""
    columns = h.size + n - 1
    cells = np.zeros(n * (columns + 1), h.dtype)
    cells.reshape(n, columns + 1)[:, :h.size] = h
    return cells[:n * columns].reshape(n, columns)


def convmtx(h: ArrayLike, n: ArrayLike) -> Array:
    """The matrix whose product with a vector of n elements is its convolution with h: MATLAB's convmtx.

    A(i, j) = h(i - j) for a column h, and the plain transpose of that for a row

    Parameters
    ----------
    h : array_like
        A vector, not empty; 1-D is a row.
    n : int
        Length of the vectors, at least 1.

    Returns
    -------
    A : ndarray
        (numel(h)+n-1, n) for a column: A @ x is conv(h, x) for columns x. (n, numel(h)+n-1) for a row: x @ A is
        conv(h, x) for rows x. Class of h.

    Raises
    ------
    MatlabError
        signal:convmtx:inputType, signal:convmtx:invalidLength.

    Notes
    -----
    MATLAB's page: signal/ref/convmtx. `scipy.linalg.convolution_matrix` has the column form only, and takes 1-D arrays.

    Examples
    --------
    >>> from convx.matlab import convmtx
    >>> convmtx([1, 2, 3], 3)
    array([[1, 2, 3, 0, 0],
           [0, 1, 2, 3, 0],
           [0, 0, 1, 2, 3]])
    """
    (h,), _ = values("signal:convmtx:inputType", H=h)
    if not is_vector(h) or not h.size:
        raise MatlabError("H must be a vector that is not empty.", "signal:convmtx:inputType")
    n = whole(n, "N", identifier="signal:convmtx:invalidLength", least=1)
    sized((n, h.size + n), h.dtype)
    rows = band(h.reshape(-1), n)
    return rows if h.shape[0] == 1 else rows.T


def convmtx2(H: ArrayLike, m: ArrayLike, n: ArrayLike | None = None) -> Array:
    """The sparse matrix of a two-dimensional convolution: MATLAB's convmtx2(H, m, n) and convmtx2(H, [m n]).

    T[(i+k) + (j+l)(m+p-1), i + j m] = H(k, l),    all counted from 0, H of size p x q

    Parameters
    ----------
    H : array_like
        A matrix.
    m, n : int
        Size of the matrices to be convolved with H, each at least 1; or both in the place of m.

    Returns
    -------
    T : scipy.sparse.csc_array
        ((m+p-1)(n+q-1), m n), double (complex if H is), without zeros. Rows and columns follow MATLAB's order, down
        the columns first: ``(T @ X.ravel(order="F")).reshape(shape, order="F")`` is conv2(X, H) to rounding.

    Raises
    ------
    MatlabError
        images:convmtx2:inputType, images:convmtx2:invalidSize.

    Notes
    -----
    MATLAB's page: images/ref/convmtx2. SciPy has no such function; `convx.linop.as_sparse` is the general one, with
    NumPy's order of elements.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import conv2, convmtx2
    >>> X, H = np.arange(6).reshape(2, 3), [[1, 2], [3, 4]]
    >>> T = convmtx2(H, X.shape)
    >>> T.shape, bool((T @ X.ravel(order="F") == conv2(X, H).ravel(order="F")).all())
    ((12, 6), True)
    """
    from ..linop import as_sparse  # brings in scipy.sparse

    (h,), _ = values("images:convmtx2:inputType", H=H)
    if h.ndim > 2 or not h.size:
        raise MatlabError("H must be a matrix that is not empty.", "images:convmtx2:inputType")
    sizes = np.ravel(m).tolist() if n is None else [m, n]
    if len(sizes) != 2:
        raise MatlabError("M and N, or [M N], are the size of a matrix.", "images:convmtx2:invalidSize")
    m, n = (whole(size, name, identifier="images:convmtx2:invalidSize", least=1)
            for size, name in zip(sizes, "MN", strict=True))
    dtype = np.result_type(float_class(h), np.float64)
    with refusals("images:convmtx2:invalidSize"):
        matrix = as_sparse(h.T, (n, m), operator="convolve", format="csc", dtype=dtype)  # the transposes, in C order
    matrix.eliminate_zeros()
    return matrix
