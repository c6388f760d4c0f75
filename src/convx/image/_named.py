"""The kernels of image editors by name (floor 8)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from .._arguments import real

if TYPE_CHECKING:
    from typing import Any

#: Unit steps in the picture: rows grow downwards.
DIRECTIONS = MappingProxyType({
    "up": (-1, 0), "down": (1, 0), "left": (0, -1), "right": (0, 1),
    "up-left": (-1, -1), "up-right": (-1, 1), "down-left": (1, -1), "down-right": (1, 1)})

_SHARPEN = [[0, -1, 0], [-1, 5, -1], [0, -1, 0]]
_EDGE_DETECT = [[0, 1, 0], [1, -4, 1], [0, 1, 0]]
_EDGE_ENHANCE = [[0, 0, 0], [-1, 1, 0], [0, 0, 0]]
_EMBOSS = [[-2, -1, 0], [-1, 1, 1], [0, 1, 2]]


def _odd(size, name="size") -> int:
    number = _whole(size, name)
    if number % 2 == 0:
        raise ValueError(f"{name}={number}: it must be odd, so that the kernel has a centre")
    return number


def _whole(value, name) -> int:
    try:
        number = 0.0 if isinstance(value, bool) else real(value, name)
    except TypeError:
        number = 0.0
    if not 1 <= number < np.inf or number != int(number):
        raise ValueError(f"{name}={value!r}: it must be a whole number above 0")
    return int(number)


def finite(value, name, low=float("-inf"), low_included=True) -> float:
    """A finite number from `low` on."""
    number = real(value, name)
    if not (low <= number and abs(number) < float("inf")) or (number == low and not low_included):
        bound = "" if low == float("-inf") else f" {'from' if low_included else 'above'} {low}"
        raise ValueError(f"{name}={value!r}: it must be a finite number{bound}")
    return number


def _identity(size=1):
    size = _odd(size)
    values = np.zeros((size, size))
    values[size // 2, size // 2] = 1
    return values


def _shift(direction="down", distance=1):
    if not isinstance(direction, str) or direction not in DIRECTIONS:
        raise ValueError(f"direction={direction!r} is none of {', '.join(DIRECTIONS)}")
    distance = _whole(distance, "distance")
    values = np.zeros((2 * distance + 1,) * 2)
    down, right = DIRECTIONS[direction]
    values[distance - down * distance, distance - right * distance] = 1
    return values


def _derivative(smooth, direction):
    """The change from left to right ("x") or from top to bottom ("y"), smoothed across."""
    if not isinstance(direction, str) or direction not in ("x", "y"):
        raise ValueError(f"direction={direction!r} is neither x nor y")
    values = np.outer(smooth, [-1, 0, 1]).astype(float)
    return values if direction == "x" else values.T


def _fspecial(*arguments):
    from ..matlab import fspecial

    return np.ascontiguousarray(fspecial(*arguments))


def _gaussian(sigma=1.0, size=None):
    sigma = finite(sigma, "sigma", 0, False)
    return _fspecial("gaussian", _odd(2 * np.ceil(2 * sigma) + 1 if size is None else size), sigma)


def _log(sigma=0.5, size=None):
    sigma = finite(sigma, "sigma", 0, False)
    return _fspecial("log", _odd(2 * np.ceil(3 * sigma) + 1 if size is None else size), sigma)


def _share(alpha):
    share = finite(alpha, "alpha")
    if not 0 <= share <= 1:
        raise ValueError(f"alpha={alpha!r}: it must lie from 0 to 1")
    return share


_KERNELS = {
    "identity": ("the picture itself", _identity),
    "shift": ("moves the picture by `distance` pixels: up, down, left, right, up-left, ...", _shift),
    "box": ("mean of a square", lambda size=3: np.full((_odd(size),) * 2, 1 / _odd(size) ** 2)),
    "gaussian": ("Gaussian blur; size reaches 2 sigma by default", _gaussian),
    "disk": ("mean of a disk: out of focus", lambda radius=5: _fspecial("disk", finite(radius, "radius", 0, False))),
    "motion": ("mean along a line: camera moved; angle in degrees, counter-clockwise",
               lambda length=9, angle=0: _fspecial("motion", finite(length, "length", 1), finite(angle, "angle"))),
    "sharpen": ("difference from the four neighbours added", lambda: np.array(_SHARPEN, float)),
    "unsharp": ("sharpening by a negative Laplacian", lambda alpha=0.2: _fspecial("unsharp", _share(alpha))),
    "emboss": ("relief lit from the upper left", lambda: np.array(_EMBOSS, float)),
    "edge-detect": ("difference from the four neighbours", lambda: np.array(_EDGE_DETECT, float)),
    "edge-enhance": ("difference from the left neighbour", lambda: np.array(_EDGE_ENHANCE, float)),
    "sobel": ("derivative along x or y, smoothed 1 2 1", lambda direction="x": _derivative([1, 2, 1], direction)),
    "prewitt": ("derivative along x or y, smoothed 1 1 1", lambda direction="x": _derivative([1, 1, 1], direction)),
    "scharr": ("derivative along x or y, smoothed 3 10 3", lambda direction="x": _derivative([3, 10, 3], direction)),
    "laplacian": ("sum of the second derivatives", lambda alpha=0.2: _fspecial("laplacian", _share(alpha))),
    "log": ("Laplacian of a Gaussian", _log),
}


def kernels() -> Mapping[str, str]:
    """The names that `kernel` knows, each with what it does.

    Examples
    --------
    >>> from convx import image
    >>> image.kernels()["box"]
    'mean of a square'
    """
    return MappingProxyType({name: text for name, (text, _) in _KERNELS.items()})


def kernel(name: str, **parameters: Any) -> np.ndarray:
    """The matrix of a named kernel, to be used without turning it around (a correlation), as image editors show it.

    Parameters
    ----------
    name : str
        identity(size=1), shift(direction="down", distance=1), box(size=3), gaussian(sigma=1.0, size=None),
        disk(radius=5), motion(length=9, angle=0), sharpen, unsharp(alpha=0.2), emboss, edge-detect, edge-enhance,
        sobel(direction="x"), prewitt(direction="x"), scharr(direction="x"), laplacian(alpha=0.2),
        log(sigma=0.5, size=None).
    **parameters
        Those in brackets.

    Returns
    -------
    kernel : ndarray of float64, two axes of odd length

    Raises
    ------
    ValueError, TypeError
        An unknown name or direction, a parameter that the kernel does not have or that is out of range.

    Notes
    -----
    gaussian, disk, motion, unsharp, laplacian and log are those of `convx.matlab.fspecial`. sobel, prewitt and scharr
    with direction="x" are positive where the picture gets brighter to the right, with "y" where it gets brighter
    downwards; fspecial's are those of "y" with the sign turned. The matrices of sharpen, edge-detect, edge-enhance and
    emboss are those that the manual of GIMP gives for its convolution matrix.

    Examples
    --------
    >>> from convx import image
    >>> image.kernel("shift", direction="down")
    array([[0., 1., 0.],
           [0., 0., 0.],
           [0., 0., 0.]])
    >>> image.kernel("scharr", direction="y")[0]
    array([ -3., -10.,  -3.])
    """
    if not isinstance(name, str) or name not in _KERNELS:
        raise ValueError(f"kernel {name!r} is none of {', '.join(_KERNELS)}")
    try:
        return _KERNELS[name][1](**parameters)
    except TypeError as error:
        if "argument" not in str(error):
            raise
        raise TypeError(f"kernel {name!r} has no such parameter: {', '.join(parameters)}") from None
