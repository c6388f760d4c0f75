"""fspecial: the predefined kernels of image filtering."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ._values import MatlabError, numeric, sized, word

if TYPE_CHECKING:
    from typing import Any

    from .._typing import Array

EPS, TINY = np.finfo(np.float64).eps, np.finfo(np.float64).tiny
INVALID = "MATLAB:fspecial:invalidType"


def _reals(argument, name: str) -> np.ndarray:
    """A real, finite scalar or vector."""
    numbers = numeric(argument, name, INVALID)
    if numbers.dtype.kind == "c" or not np.isfinite(numbers).all():
        raise MatlabError(f"{name} must be real and finite.", INVALID)
    return numbers.astype(np.float64).ravel()


def _scalar(argument, name: str, least=None, above=None) -> float:
    numbers = _reals(argument, name)
    if numbers.size != 1:
        raise MatlabError(f"{name} must be a scalar, not {numbers.size} numbers.", INVALID)
    number = float(numbers[0])
    if above is not None and number <= above:
        raise MatlabError(f"{name} must be greater than {above}, not {number:g}.", "MATLAB:fspecial:expectedPositive")
    if least is not None and number < least:
        raise MatlabError(f"{name} must be at least {least}, not {number:g}.", "MATLAB:fspecial:expectedNonnegative")
    return number


def _size(argument) -> tuple[int, int]:
    sides = _reals(argument, "HSIZE")
    if sides.size not in (1, 2):
        raise MatlabError(f"HSIZE must have 1 or 2 elements, not {sides.size}.", "images:fspecial:wrongSizeN")
    if (sides < 1).any() or (sides != np.floor(sides)).any():
        raise MatlabError(f"HSIZE must hold positive whole numbers, not {sides.tolist()}.",
                          "MATLAB:fspecial:expectedInteger")
    shape = int(sides[0]), int(sides[-1])
    sized(shape, np.float64)
    return shape


def _grid(rows: int, columns: int):
    """x to the right, y downwards, from the middle of the kernel."""
    return np.arange(columns) - (columns - 1) / 2, (np.arange(rows) - (rows - 1) / 2)[:, None]


def gaussian(rows: int, columns: int, vertical: float, horizontal: float) -> np.ndarray:
    """The kernel 'gaussian' with a sigma for each axis."""
    x, y = _grid(rows, columns)
    with np.errstate(over="ignore"):
        across, down = (max(2 * np.float64(sigma)**2, TINY) for sigma in (horizontal, vertical))
        e = np.exp(-(x**2 / across + y**2 / down))
    e[e < EPS * e.max()] = 0
    total = e.sum()
    return e / total if total else e


def _average(hsize=(3, 3)):
    rows, columns = _size(hsize)
    return np.full((rows, columns), 1 / (rows * columns))


def _quadrant(x, y, r: float):
    """Signed area of the disc of radius r inside the rectangle between the origin and (x, y)."""
    sign = np.sign(x) * np.sign(y)
    x, y = np.minimum(abs(x), r), np.minimum(abs(y), r)
    start = np.minimum(np.sqrt(r * r - y * y), x)  # the circle is the upper side from here on

    def under(t):  # the integral of sqrt(r^2 - t^2)
        return (t * np.sqrt(r * r - t * t) + r * r * np.arcsin(t / r)) / 2

    return sign * (start * y + under(x) - under(start))


def _disk(radius=5):
    r = _scalar(radius, "RADIUS", above=0)
    half = int(np.ceil(r - 0.5))
    if not half:
        return np.ones((1, 1))
    sized((2 * half + 2,) * 2, np.float64)
    edges = np.arange(2 * half + 2) - (half + 0.5)
    areas = np.diff(np.diff(_quadrant(edges, edges[:, None], r), axis=0), axis=1)
    near = np.maximum(abs(np.arange(-half, half + 1)) - 0.5, 0)
    areas[np.hypot(near, near[:, None]) >= r] = 0  # outside: the differences leave noise
    return np.maximum(areas, 0) / (np.pi * r * r)


def _gaussian(hsize=(3, 3), sigma=0.5):
    sigma = _scalar(sigma, "SIGMA", above=0)
    return gaussian(*_size(hsize), sigma, sigma)


def _laplacian(alpha=0.2):
    a = _scalar(alpha, "ALPHA")
    if not 0 <= a <= 1:
        raise MatlabError(f"ALPHA must be from 0 to 1, not {a:g}.", "images:fspecial:outOfRangeAlpha")
    corner, side = a / (a + 1), (1 - a) / (a + 1)
    return np.array([[corner, side, corner], [side, -4 / (a + 1), side], [corner, side, corner]])


def _log(hsize=(5, 5), sigma=0.5):
    rows, columns = _size(hsize)
    sigma = np.float64(_scalar(sigma, "SIGMA", above=0))
    x, y = _grid(rows, columns)
    with np.errstate(all="ignore"):  # a sigma whose powers no double holds
        t = gaussian(rows, columns, sigma, sigma) * (x**2 + y**2 - 2 * sigma**2) / sigma**4
        return t - t.mean()


def _motion(length=9, theta=0):
    length, phi = max(1.0, _scalar(length, "LEN")), np.deg2rad(np.mod(_scalar(theta, "THETA"), 180))
    half, cos, sin = (length - 1) / 2, np.cos(phi), np.sin(phi)
    right = int(abs(np.trunc(half * cos + np.sign(cos) - length * EPS)))
    up = int(np.trunc(half * sin + 1 - length * EPS))
    sized((2 * up + 1, 2 * right + 1), np.float64)
    x, y = np.arange(-right, right + 1), np.arange(up, -up - 1, -1)[:, None]
    along = np.clip(x * cos + y * sin, -half, half)
    h = np.maximum(1 - np.hypot(x - along * cos, y - along * sin), 0)
    return h / h.sum()


def _prewitt():
    return np.array([[1.0, 1, 1], [0, 0, 0], [-1, -1, -1]])


def _sobel():
    return np.array([[1.0, 2, 1], [0, 0, 0], [-1, -2, -1]])


def _unsharp(alpha=0.2):
    return np.array([[0.0, 0, 0], [0, 1, 0], [0, 0, 0]]) - _laplacian(alpha)


KERNELS = {"average": (_average, 1), "disk": (_disk, 1), "gaussian": (_gaussian, 2), "laplacian": (_laplacian, 1),
           "log": (_log, 2), "motion": (_motion, 2), "prewitt": (_prewitt, 0), "sobel": (_sobel, 0),
           "unsharp": (_unsharp, 1)}


def fspecial(type: str, *parameters: Any) -> Array:
    """Predefined two-dimensional kernels: MATLAB's fspecial.

    All are kernels for correlation, as `imfilter` takes them. With x to the right, y downwards, both from the middle
    of an m x n kernel:

    ============ ======================= =======================================================================
    type         parameters (default)    kernel
    ============ ======================= =======================================================================
    "average"    hsize ([3, 3])          1/(mn)
    "disk"       radius (5)              the part of each pixel inside the disc, / (pi radius^2); 2c+1 wide with
                                         c = ceil(radius - 0.5)
    "gaussian"   hsize ([3, 3]), sigma   e = exp(-(x^2 + y^2) / (2 sigma^2)), 0 where less than eps max(e),
                 (0.5)                   divided by its sum
    "laplacian"  alpha (0.2)             4/(alpha+1) [a b a; b -1 b; a b a] with a = alpha/4, b = (1-alpha)/4
    "log"        hsize ([5, 5]), sigma   t = e (x^2 + y^2 - 2 sigma^2) / sigma^4 with e of "gaussian"; t - mean(t)
                 (0.5)
    "motion"     len (9), theta (0)      max(1 - distance to a segment of len pixels at theta degrees, counted
                                         counter-clockwise, 0), divided by its sum
    "prewitt"    --                      [1 1 1; 0 0 0; -1 -1 -1]
    "sobel"      --                      [1 2 1; 0 0 0; -1 -2 -1]
    "unsharp"    alpha (0.2)             [0 0 0; 0 1 0; 0 0 0] - laplacian(alpha)
    ============ ======================= =======================================================================

    Parameters
    ----------
    type : str
        In any case; a beginning that fits one type only will do.
    *parameters
        As above, in this order; those left out take their defaults. A scalar hsize is both sides.

    Returns
    -------
    h : ndarray of float64

    Raises
    ------
    MatlabError
        ``MATLAB:fspecial:unrecognizedStringChoice`` for an unknown type, ``images:fspecial:tooManyArgsForThisFilter``,
        ``images:fspecial:wrongSizeN`` for an hsize that has neither one nor two elements,
        ``images:fspecial:outOfRangeAlpha``.

    Notes
    -----
    MATLAB's page: images/ref/fspecial.

    SciPy has no such function; ``scipy.ndimage.gaussian_filter`` cuts its kernel at 4 sigma, "gaussian" at hsize.
    Octave's "log" does not subtract the mean, and its "motion" is another kernel.

    Examples
    --------
    >>> from convx.matlab import fspecial
    >>> fspecial("sobel")
    array([[ 1.,  2.,  1.],
           [ 0.,  0.,  0.],
           [-1., -2., -1.]])
    >>> fspecial("motion", 4, 0)
    array([[0.125, 0.25 , 0.25 , 0.25 , 0.125]])
    >>> fspecial("disk", 1).round(4)
    array([[0.0251, 0.1453, 0.0251],
           [0.1453, 0.3183, 0.1453],
           [0.0251, 0.1453, 0.0251]])
    """
    name = word(type, tuple(KERNELS), abbreviated=True, identifier="MATLAB:fspecial:unrecognizedStringChoice",
                message=f"{type!r} is none of the types {', '.join(KERNELS)}.")
    make, most = KERNELS[name]
    if len(parameters) > most:
        raise MatlabError(f"'{name}' takes {most or 'no'} parameters, {len(parameters)} were given.",
                          "images:fspecial:tooManyArgsForThisFilter")
    return make(*parameters)
