"""imgaussfilt, imboxfilt: smoothing of images, plane by plane."""

from __future__ import annotations

from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from ._filtered import SPLIT_DOUBLE, SPLIT_OTHERS, filtered
from ._special import gaussian
from ._values import BOUNDARIES, MatlabError, in_class, is_text, name_values, numeric, returned, sized, values, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Array

IMAGE_CLASSES = tuple(np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"))


def _image(A, function: str):
    (image,), flat = values(f"MATLAB:{function}:invalidType", A=A)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.dtype not in IMAGE_CLASSES:
        raise MatlabError(f"A must be single, double, or of an integer class of up to 32 bits, not {image.dtype}.",
                          f"MATLAB:{function}:invalidType")
    return image, flat


def _sides(argument, name: str, function: str, odd: bool) -> list:
    """Two positive numbers, for rows and columns, from one or two."""
    numbers = numeric(argument, name, f"MATLAB:{function}:invalidType").ravel()
    if numbers.size not in (1, 2) or numbers.dtype.kind == "c" or not (np.isfinite(numbers).all() and
                                                                       (numbers > 0).all()):
        raise MatlabError(f"{name} must be one or two positive numbers.", f"MATLAB:{function}:expectedPositive")
    if odd and (numbers % 2 != 1).any():
        raise MatlabError(f"{name} must be odd, not {numbers.tolist()}.", f"MATLAB:{function}:expectedOdd")
    return [(int if odd else float)(n) for n in (numbers[0], numbers[-1])]


def _padding(argument, dtype, function: str):
    """(boundary in NumPy's words, constant)."""
    if is_text(argument):
        return BOUNDARIES[word(argument, tuple(BOUNDARIES), abbreviated=True,
                               identifier=f"MATLAB:{function}:unrecognizedStringChoice",
                               message=f"{argument!r} is none of {', '.join(BOUNDARIES)}.")], 0
    constant = in_class(argument, dtype, f"MATLAB:{function}:invalidType").item()
    if isinstance(constant, complex):
        raise MatlabError("Padding must be real.", f"MATLAB:{function}:invalidType")
    return "constant", constant


def imgaussfilt(A: ArrayLike, *arguments: Any, **options: Any) -> Array:
    """Gaussian filter of images: MATLAB's imgaussfilt.

    ``imgaussfilt(A)``, ``imgaussfilt(A, sigma)``, ``imgaussfilt(A, sigma, "FilterSize", 5, ...)``; options may also be
    given as ``FilterSize=5``.

    The kernel is exp(-(x^2 / (2 sigma_x^2) + y^2 / (2 sigma_y^2))), divided by its sum; see `fspecial`.

    Parameters
    ----------
    A : array_like
        Single, double or an integer class of up to 32 bits; planes ``A[:, :, k, ...]`` are filtered one by one.
    sigma : float or pair of float, optional
        Standard deviation (default 0.5), one for both axes or one along columns and one along rows.
    FilterSize : int or pair of int, optional
        Odd; default 2 ceil(2 sigma) + 1.
    Padding : scalar or str, optional
        "replicate" (default), "symmetric", "circular" or a number, which is converted to the class of A.
    FilterDomain : str, optional
        "auto" (default), "spatial" (sums of products) or "frequency" (transforms).

    Returns
    -------
    B : ndarray
        Of the class and size of A, in Fortran order where A is.

    Raises
    ------
    MatlabError
        ``MATLAB:imgaussfilt:invalidType``, ``MATLAB:imgaussfilt:expectedPositive``, ``MATLAB:imgaussfilt:expectedOdd``,
        ``MATLAB:imgaussfilt:unrecognizedStringChoice``, ``MATLAB:imgaussfilt:invalidOption``.

    Notes
    -----
    MATLAB's page: images/ref/imgaussfilt.

    As in MATLAB, kernels with at least 49 taps (double A) or 289 (others) and no side of 1 run along columns and then
    along rows, 8 and 16 bit integers in single, without rounding in between.
    ``scipy.ndimage.gaussian_filter`` cuts at int(4 sigma + 0.5) and reflects; it agrees with ``truncate=ceil(2 sigma) /
    sigma, mode="nearest"``.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import imgaussfilt
    >>> A = np.zeros((3, 5), np.uint8)
    >>> A[1, 2] = 200
    >>> imgaussfilt(A, 1)
    array([[ 3, 12, 20, 12,  3],
           [ 4, 20, 32, 20,  4],
           [ 3, 12, 20, 12,  3]], dtype=uint8)
    """
    image, flat = _image(A, "imgaussfilt")
    sigma = 0.5
    if arguments and not is_text(arguments[0]):
        sigma, *arguments = arguments
    sigma = _sides(sigma, "SIGMA", "imgaussfilt", False)
    given = name_values(arguments, options, {"FilterSize": None, "Padding": "replicate", "FilterDomain": "auto"},
                        "MATLAB:imgaussfilt:invalidOption")
    size = given["FilterSize"]
    if size is None:
        size = [2 * ceil(2 * s) + 1 for s in sigma]
    else:
        size = _sides(size, "FilterSize", "imgaussfilt", True)
    boundary, constant = _padding(given["Padding"], image.dtype, "imgaussfilt")
    domain = word(given["FilterDomain"], ("auto", "spatial", "frequency"), abbreviated=True,
                  identifier="MATLAB:imgaussfilt:unrecognizedStringChoice",
                  message=f"{given['FilterDomain']!r} is none of auto, spatial, frequency.")
    if 0 in image.shape:
        return returned(image.copy(), flat)
    work = np.float64
    if min(size) > 1 and prod(size) >= (SPLIT_DOUBLE if image.dtype == np.float64 else SPLIT_OTHERS):
        for side in size:
            sized((side,), work)
        kernels = [gaussian(size[0], 1, sigma[0], 1), gaussian(1, size[1], 1, sigma[1])]
        work = np.float32 if image.dtype.itemsize <= 2 else np.float64
    else:
        sized(size, work)
        kernels = [gaussian(*size, *sigma)]
    algorithm = {"auto": "auto" if image.dtype.kind in "iu" else "sums", "spatial": "sums", "frequency": "fft"}[domain]
    if prod(size) == 1:
        algorithm = "sums"  # a transform of one tap is none
    kernels = [kernel.astype(work) for kernel in kernels]
    y = filtered(image, kernels, "same", boundary, constant, image.dtype, np.dtype(work), algorithm)
    return returned(y, flat)


def imboxfilt(A: ArrayLike, *arguments: Any, **options: Any) -> Array:
    """Box filter of images: MATLAB's imboxfilt.

    ``imboxfilt(A)``, ``imboxfilt(A, filterSize)``, ``imboxfilt(A, filterSize, "Padding", "symmetric", ...)``; options
    may also be given as ``Padding="symmetric"``.

    B = NormalizationFactor times the sum over the box centred on each pixel.

    Parameters
    ----------
    A : array_like
        Single, double or an integer class of up to 32 bits; planes ``A[:, :, k, ...]`` are filtered one by one.
    filterSize : int or pair of int, optional
        Odd; default 3.
    Padding : scalar or str, optional
        "replicate" (default), "symmetric", "circular" or a number, which is converted to the class of A.
    NormalizationFactor : float, optional
        Default 1/(rows x columns of the box): the mean.

    Returns
    -------
    B : ndarray
        Of the class and size of A, in Fortran order where A is; integers are rounded, halves away from zero, and
        saturated.

    Raises
    ------
    MatlabError
        ``MATLAB:imboxfilt:invalidType``, ``MATLAB:imboxfilt:expectedPositive``, ``MATLAB:imboxfilt:expectedOdd``,
        ``MATLAB:imboxfilt:unrecognizedStringChoice``, ``MATLAB:imboxfilt:invalidOption``.

    Notes
    -----
    MATLAB's page: images/ref/imboxfilt.

    Sums run along columns, then along rows, and those of integers are exact. ``scipy.ndimage.uniform_filter`` reflects
    by default and truncates the means of integers.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import imboxfilt
    >>> imboxfilt(np.array([[10, 20, 31], [40, 50, 61]], np.uint8))
    array([[23, 30, 37],
           [33, 40, 47]], dtype=uint8)
    """
    image, flat = _image(A, "imboxfilt")
    size = 3
    if arguments and not is_text(arguments[0]):
        size, *arguments = arguments
    rows, columns = _sides(size, "filterSize", "imboxfilt", True)
    sized((rows + columns,), np.float64)
    given = name_values(arguments, options, {"Padding": "replicate", "NormalizationFactor": None},
                        "MATLAB:imboxfilt:invalidOption")
    boundary, constant = _padding(given["Padding"], image.dtype, "imboxfilt")
    factor = 1 / (rows * columns)
    if given["NormalizationFactor"] is not None:
        factor = numeric(given["NormalizationFactor"], "NormalizationFactor", "MATLAB:imboxfilt:invalidType")
        if factor.size != 1 or factor.dtype.kind == "c":
            raise MatlabError("NormalizationFactor must be a real scalar.", "MATLAB:imboxfilt:invalidType")
        factor = float(factor.item())
    if 0 in image.shape:
        return returned(image.copy(), flat)
    most = 2 ** (8 * image.dtype.itemsize) * rows * columns
    work = np.float32 if image.dtype.kind in "iu" and most < 2**24 else np.float64
    kernels = [np.ones((rows, 1), work), np.ones((1, columns), work)]
    y = filtered(image, kernels, "same", boundary, constant, image.dtype, np.dtype(work), "sums", factor)
    return returned(y, flat)
