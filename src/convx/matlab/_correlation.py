"""xcorr, xcorr2, normxcorr2."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from .. import avg_pool, conv1d
from ._conv import convolved, turned
from ._values import MatlabError, float_class, is_text, is_vector, outputs, returned, sized, values, whole, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Algorithm, Array

_SCALES = ("none", "biased", "unbiased", "normalized", "coeff")
_UNKNOWN = "signal:xcorr:UnknInput"


def _xcorr_options(y, options):
    """(y, maxlag, scaleopt) from what stands behind x: a lone number is the lag, a word the scale."""
    maxlag, scaleopt, numbers = None, "none", []
    for option in (y, *options):
        if is_text(option):
            scaleopt = word(option, _SCALES, identifier=_UNKNOWN, message=f"Input {option!r} is not recognized.")
        elif option is not None:
            numbers.append(option)
    y = numbers.pop(0) if len(numbers) > 1 or (numbers and np.size(numbers[0]) != 1) else None
    if numbers:
        maxlag = whole(numbers.pop(0), "MAXLAG", identifier=_UNKNOWN)
    if numbers:
        raise MatlabError("Too many input arguments.", _UNKNOWN)
    return y, maxlag, scaleopt


def _cross(x, y, lag: int, dtype) -> np.ndarray:
    """sum over n of x(n + m) * conj(y(n)) for |m| <= lag, of every row of x with every row of y."""
    taps = y.shape[1]
    x = x[:, :taps + lag]  # what lies further away meets nothing
    padding = lag, lag + taps - x.shape[1]
    with np.errstate(over="ignore"):  # a double that no single holds is Inf
        return conv1d(x[:, None], y.conj()[:, None], padding=(padding,), dtype=dtype)


def xcorr(x: ArrayLike, y: ArrayLike | None = None, *options: Any, nargout: int = 1) -> Any:
    """Cross-correlation of signals: MATLAB's xcorr(x, y, maxlag, scaleopt) and xcorr(x, maxlag, scaleopt).

    r(m) = sum over n of x(n + m) * conj(y(n)),    m = -maxlag .. maxlag

    Parameters
    ----------
    x : array_like
        A vector; or, without y, a matrix, whose columns are signals.
    y : array_like, optional
        A vector. The shorter one of x and y is extended by zeros at its end to the length N of the longer one.
        Default: x. A single number in this place is maxlag.
    *options : int, str
        maxlag, N-1 by default; lags from N on are zeros. scaleopt: 'none' (default), 'biased' (1/N), 'unbiased'
        (1/(N-abs(m))), 'normalized' or 'coeff' (autocorrelations are 1 at lag 0); with another one than 'none' x and y
        must be equally long.
    nargout : int, optional
        2: return the lags too. (As in MATLAB's own engine for Python.)

    Returns
    -------
    r : ndarray
        2*maxlag+1 values, a row if x is one, otherwise a column; for a matrix of P columns, column (i-1)*P + j is the
        correlation of columns i and j. Single if an operand is single, otherwise double. 1-D if the operands are.
    lags : ndarray
        -maxlag .. maxlag, integers, a row.

    Raises
    ------
    MatlabError
        signal:xcorr:UnknInput, signal:xcorr:BMustBeVector, signal:xcorr:MismatchedAB, signal:xcorr:NoScale.

    Notes
    -----
    MATLAB's page: matlab/ref/xcorr. `numpy.correlate` and `scipy.signal.correlate` in mode 'full' have the same order
    of lags and conjugate the second operand too, but have no maxlag and no scaling, and give M+N-1 values where the
    lengths differ. Only the lags that are asked for are computed; long ones by transforms, where zeros may come out as
    1e-16, as in MATLAB.

    Examples
    --------
    >>> from convx.matlab import xcorr
    >>> xcorr([1, 2, 3], [0, 1, 0.5])
    array([0.5, 2. , 3.5, 3. , 0. ])
    >>> r, lags = xcorr([1, 2, 3], 1, 'coeff', nargout=2)
    >>> r.round(4), lags
    (array([0.5714, 1.    , 0.5714]), array([-1,  0,  1]))
    """
    outputs(nargout, 2)
    y, maxlag, scaleopt = _xcorr_options(y, options)
    (x, *other), flat = values(_UNKNOWN, A=x, **({} if y is None else {"B": y}))
    row, alone = x.shape[0] == 1, not other
    if other and not is_vector(other[0]):
        raise MatlabError("B must be a vector.", "signal:xcorr:BMustBeVector")
    if other and not is_vector(x):
        raise MatlabError("When B is a vector, A must be a vector.", "signal:xcorr:MismatchedAB")
    if x.ndim > 2 or not x.size or (other and not other[0].size):
        raise MatlabError("Inputs must be nonempty vectors, or one nonempty matrix.", _UNKNOWN)
    dtype = float_class(x, *other)
    x, y = (a.reshape(1, -1) if is_vector(a) else a.T for a in (x, x if alone else other[0]))
    if scaleopt != "none" and x.shape[1] != y.shape[1]:
        raise MatlabError("Scale option must be 'none' for different length vectors A and B.", "signal:xcorr:NoScale")
    count = max(x.shape[1], y.shape[1])
    asked = count - 1 if maxlag is None else maxlag
    lag = min(asked, count - 1)
    sized((2 * asked + 1, x.shape[0] * y.shape[0]), dtype)
    r = _cross(x, y, lag, dtype)
    _scale(r, x, y, count, lag, scaleopt, alone)
    r = r.reshape(-1, 2 * lag + 1)
    if asked > lag:
        r = np.pad(r, ((0, 0), (asked - lag,) * 2))
    r = returned(r if row else r.T, flat)
    lags = np.arange(-asked, asked + 1)
    return (r, lags if flat else lags[None]) if nargout > 1 else r


def _scale(r, x, y, count, lag, scaleopt, alone):
    """Divide r, of shape (rows of x, rows of y, lags), in place."""
    if scaleopt == "none":
        return
    if scaleopt == "biased":
        divisor = count
    elif scaleopt == "unbiased":
        divisor = count - np.abs(np.arange(-lag, lag + 1))
    else:
        if alone:  # what stands at lag 0 itself, which becomes 1
            powers = [np.einsum("ii->i", r[:, :, lag]).real] * 2
        else:
            powers = [(np.abs(a.astype(r.dtype)) ** 2).sum(1) for a in (x, y)]
        divisor = np.sqrt(powers[0][:, None, None] * powers[1][:, None])
    with np.errstate(divide="ignore", invalid="ignore"):  # a signal of zeros gives NaN
        for part in (r.real, r.imag) if r.dtype.kind == "c" else (r,):  # by a complex number 1 would not come out as 1
            part /= divisor


def xcorr2(A: ArrayLike, B: ArrayLike | None = None, *, algorithm: Algorithm = "sums") -> Array:
    """Cross-correlation of matrices: MATLAB's xcorr2.

    C(k, l) = sum over m, n of A(m, n) * conj(B(m - k, n - l)),    k > -rows of B, l > -columns of B

    Parameters
    ----------
    A, B : array_like
        Matrices. Default of B: A.
    algorithm : str, optional
        Not MATLAB's: "sums" (default) adds the products of each output, "auto" may take transforms; see
        `convx.convolve`.

    Returns
    -------
    C : ndarray
        size(A)+size(B)-1; lag (k, l) stands at C[k + rows of B - 1, l + columns of B - 1]. Single if an operand is
        single, otherwise double; complex if an operand is. 1-D if it is a row and no operand has a second axis.

    Raises
    ------
    MatlabError
        signal:xcorr2:inputType.

    Notes
    -----
    MATLAB's page: signal/ref/xcorr2. It is conv2(A, rot180(conj(B))). `scipy.signal.correlate2d(A, B)` has the same
    order and conjugates B too, but keeps integer classes, which wrap around.

    Examples
    --------
    >>> from convx.matlab import xcorr2
    >>> xcorr2([[1, 1, 1], [1, 1, 1]], [[1, 2], [3, 4], [5, 6]])
    array([[ 6., 11., 11.,  5.],
           [10., 18., 18.,  8.],
           [ 6., 10., 10.,  4.],
           [ 2.,  3.,  3.,  1.]])
    """
    (a, b), flat = values("signal:xcorr2:inputType", A=A, B=A if B is None else B)
    if a.ndim > 2 or b.ndim > 2:
        raise MatlabError("A and B must be matrices.", "signal:xcorr2:inputType")
    return returned(convolved(a, turned(b.conj()), "full", float_class(a, b), algorithm), flat)


def normxcorr2(template: ArrayLike, A: ArrayLike, *, algorithm: Algorithm = "auto") -> Array:
    """Normalized cross-correlation of a template with an image: MATLAB's normxcorr2.

    C = (X - S sum(T)/mn) / sqrt((mn-1) var(T) (Q - S^2/mn))

    with T the template of mn elements, X the full correlation of the image with it, and S and Q the sums of the image
    and of its squares under it, all with zeros around the image, also where T only overlaps. If the smallest value of
    T is negative it is subtracted from T first, and the image's from the image. C is 0 where the image does not vary.

    Parameters
    ----------
    template, A : array_like
        Real matrices; A is at least as large as the template, whose values are not all the same.
    algorithm : str, optional
        Not MATLAB's: of X, as in `convx.convolve`. "auto" (default) may take transforms, "sums" does not.

    Returns
    -------
    C : ndarray
        size(A)+size(template)-1, double. The largest value at C[r, c] means that the first pixel of the template lies
        on A[r - rows + 1, c - columns + 1].

    Raises
    ------
    MatlabError
        images:normxcorr2:invalidTemplate, images:normxcorr2:sameElementsInTemplate, images:normxcorr2:invalidSizeForA,
        images:normxcorr2:inputType.

    Notes
    -----
    MATLAB's page: images/ref/normxcorr2. `skimage.feature.match_template` with pad_input=False has the interior only
    (C[rows-1 : 1-rows, columns-1 : 1-columns]); SciPy has no such function.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import normxcorr2
    >>> A = np.array([[1, 2, 3], [4, 5, 6], [7, 8, 9]])
    >>> C = normxcorr2(A, A)
    >>> float(C[2, 2].round(12)), C[0].round(4)
    (1.0, array([0.5477, 0.71  , 0.8165, 0.5249, 0.2739]))
    """
    (t, a), flat = values("images:normxcorr2:inputType", template=template, A=A)
    if t.ndim > 2 or a.ndim > 2 or "c" in (t.dtype.kind, a.dtype.kind):
        raise MatlabError("TEMPLATE and A must be real matrices.", "images:normxcorr2:inputType")
    if t.size < 2:
        raise MatlabError("TEMPLATE must contain at least 2 elements.", "images:normxcorr2:invalidTemplate")
    if (t == t[0, 0]).all():
        raise MatlabError("The values of TEMPLATE cannot all be the same.", "images:normxcorr2:sameElementsInTemplate")
    if a.shape[0] < t.shape[0] or a.shape[1] < t.shape[1]:
        raise MatlabError("A must be the same size or larger than TEMPLATE.", "images:normxcorr2:invalidSizeForA")
    t, a = (_from_zero(array.astype(np.float64)) for array in (t, a))
    with np.errstate(over="ignore", invalid="ignore"):  # an infinite image
        sums, squares = _box_sums(a, t.shape), _box_sums(a * a, t.shape)
        numerator = convolved(a, turned(t), "full", t.dtype, algorithm) - sums * t.sum() / t.size
        below = np.sqrt(t.size - 1) * t.std(ddof=1) * np.sqrt(np.maximum(squares - sums * sums / t.size, 0))
        c = np.zeros_like(below)
        np.divide(numerator, below, out=c, where=below > np.sqrt(np.spacing(np.fmax.reduce(below, axis=None))))
        c[np.abs(c) - 1 > np.sqrt(np.spacing(1.0))] = 0
    return returned(c, flat)


def _from_zero(array):
    least = array.min()
    return array - least if least < 0 else array


def _box_sums(a, shape):
    """The sums of a under a box at every place that it reaches, zeros around: averages of windows times their size."""
    padding = tuple((n - 1, n - 1) for n in shape)
    averages = avg_pool(a[None, None], shape, stride=1, padding=padding, count_include_pad=True)[0, 0]
    averages *= shape[0] * shape[1]
    if (a == np.rint(a)).all():  # sums of whole numbers are whole, and exact in MATLAB
        np.rint(averages, out=averages)
    return averages
