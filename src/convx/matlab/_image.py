"""imfilter: a filter of arrays of any class and rank, which keeps the class."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

from ._conv import turned
from ._filtered import SPLIT_DOUBLE, SPLIT_OTHERS, exact_in, filtered
from ._values import BOUNDARIES, MatlabError, float_class, in_class, is_text, of_one_rank, returned, values, word

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike

    from .._typing import Algorithm, Array

EPS = np.finfo(np.float64).eps
LARGE = 100  # taps from which transforms may be faster than sums


def _factors(image: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
    """The column and the row whose product the kernel is, where MATLAB takes them; otherwise the kernel alone."""
    least = SPLIT_DOUBLE if image.dtype == np.float64 else SPLIT_OTHERS
    if kernel.ndim > 2 or image.ndim > 3 or min(kernel.shape) == 1 or kernel.size < least:
        return [kernel]
    p, q = np.unravel_index(np.abs(kernel).argmax(), kernel.shape)
    if not kernel[p, q] or not np.isfinite(kernel).all():
        return [kernel]
    column, row = kernel[:, q:q + 1] / kernel[p, q], kernel[p:p + 1]
    rest = np.linalg.norm(kernel - column * row)  # of rank 1 if the second singular value is not above its rounding
    return [column, row] if rest <= max(kernel.shape) * EPS * np.linalg.norm(kernel) else [kernel]


def _options(arguments):
    """(boundary in NumPy's words, constant, output, operation), the last word of a kind wins."""
    if len(arguments) > 3:
        raise MatlabError("Too many input arguments.", "MATLAB:narginchk:tooManyInputs")
    found = {"boundary": 0, "output": "same", "operation": "corr"}
    kinds = {**dict.fromkeys(BOUNDARIES, "boundary"), "same": "output", "full": "output", "corr": "operation",
             "conv": "operation"}
    for argument in arguments:
        if is_text(argument):
            name = word(argument, tuple(kinds), abbreviated=True, identifier="MATLAB:imfilter:unrecognizedStringChoice",
                        message=f"{argument!r} is none of {', '.join(kinds)}.")
            found[kinds[name]] = name
        else:
            found["boundary"] = argument
    boundary = found["boundary"]
    rule = BOUNDARIES[boundary] if is_text(boundary) else "constant"
    return rule, 0 if is_text(boundary) else boundary, found["output"], found["operation"]


_words = lru_cache(_options)  # of words alone: 1, 1.0 and True would be one to it


def _empty(image, kernel, output: str, dtype) -> np.ndarray:
    """The result where the image or the kernel has no elements."""
    if output == "same":
        return np.zeros(image.shape, dtype)
    image, kernel = of_one_rank(image, kernel)
    shape = [a + b - 1 for a, b in zip(image.shape, kernel.shape, strict=True)]
    if min(shape) < 0:
        raise MatlabError(f"The full result would have a negative size, {shape}.",
                          "images:imfilter:negativeDimensionBadSizeB")
    return np.zeros(shape, dtype)


def imfilter(A: ArrayLike, h: ArrayLike, *options: Any, algorithm: Algorithm | None = None) -> Array:
    """Filter an array, keeping its class: MATLAB's imfilter.

    B[i] = sum over j of h[j] A[i + j - floor((k-1)/2)]      "corr", the default
    B[i] = sum over j of h[j] A[i - j + floor(k/2)]          "conv": h is turned around

    along every axis, with k the size of h there.

    Parameters
    ----------
    A : array_like
        Numeric or logical, of any rank, also complex. A 1-D array is a row.
    h : array_like
        The kernel, real or complex. One with two axes filters every plane ``A[:, :, k, ...]`` by itself, one with more
        axes filters along all of them.
    *options : scalar or str
        At most three, in any order, words in any case and abbreviated as far as they are unique; of two of a kind the
        last one counts. What A is outside: a number (default 0), "symmetric", "replicate" or "circular", as in
        `padarray`. The size: "same" (default), that of A, or "full", size(A) + size(h) - 1, which pads by k - 1 on
        both sides with what A is outside. The operation: "corr" (default) or "conv".
    algorithm : str, optional
        Not MATLAB's: that of `convx.convolve`. Default: "sums", as MATLAB does, for double A and wherever sums of whole
        numbers are exact; "auto", which may take transforms, where double sums are rounded to A's class anyhow (for
        single A from 100 taps on).

    Returns
    -------
    B : ndarray
        Of the class of A, in Fortran order where A is. Sums are taken in double; integer classes are rounded, halves
        away from zero, and saturated; logical is true where the sum does not round to 0. An empty A or h gives zeros.

    Raises
    ------
    MatlabError
        ``MATLAB:imfilter:invalidType`` for what is no numeric array, ``MATLAB:imfilter:unrecognizedStringChoice`` for
        an unknown or ambiguous word, ``images:imfilter:negativeDimensionBadSizeB``.

    Notes
    -----
    MATLAB's page: images/ref/imfilter.

    A constant outside is first converted to the class of A (300 is 255 in uint8). As in MATLAB, a kernel of rank 1
    with at least 289 taps (49 for double A) is run along columns and then along rows; then the constant is taken as it
    is. Kernels of multiples of a power of two are not split: with integer images their sums are exact. Other sums round
    as doubles do, so at an exact half the last bit decides, in MATLAB as here.

    ``scipy.ndimage.correlate`` has another default boundary (reflect, which is "symmetric"), centres even kernels one
    cell further on, truncates sums and lets them wrap around; `convx.correlate` keeps none of MATLAB's class rules.
    Current releases of MATLAB sum 8 and 16 bit images in single for an h with more than two axes, here it is double.
    MATLAB takes h in double only; here all numeric classes are widened to it. NumPy has no complex integers, so a
    complex h needs a floating A.

    Examples
    --------
    >>> import numpy as np
    >>> from convx.matlab import imfilter
    >>> A = np.array([[17, 24, 1, 8, 15], [23, 5, 7, 14, 16]], np.uint8)
    >>> imfilter(A, [-1, 0, 1])
    array([[24,  0,  0, 14,  0],
           [ 5,  0,  9,  9,  0]], dtype=uint8)
    >>> imfilter(A, [[0.5, 0.5]], "replicate", "full")
    array([[17, 21, 13,  5, 12, 15],
           [23, 14,  6, 11, 15, 16]], dtype=uint8)
    """
    identifier = "MATLAB:imfilter:invalidType"
    (image, kernel), flat = values(identifier, A=A, h=h)
    if not image.dtype.isnative:
        image = image.astype(image.dtype.newbyteorder("="))
    boundary, constant, output, operation = (_words if all(map(is_text, options)) else _options)(options)
    integer = image.dtype.kind in "biu"
    if integer and kernel.dtype.kind == "c":
        raise MatlabError(f"A is of class {image.dtype}, which has no complex values: h must be real.", identifier)
    dtype = image.dtype if integer else float_class(image)
    kernel = kernel.astype(np.complex128 if kernel.dtype.kind == "c" else np.float64, copy=False)
    stored = in_class(constant, dtype, identifier) if boundary == "constant" else dtype.type(0)
    if not integer and "c" in (kernel.dtype.kind, stored.dtype.kind):
        dtype = np.result_type(dtype, np.complex64)
    if 0 in image.shape or 0 in kernel.shape:
        return returned(_empty(image, kernel, output, dtype), flat)
    if operation == "corr":
        kernel = turned(kernel)
    kernels = _factors(image, kernel)
    constant = stored.item() if len(kernels) == 1 else np.asarray(constant).item()
    exact, rounded = None, integer or (dtype == np.float32 and kernel.size >= LARGE)
    if (rounded or len(kernels) > 1) and float(np.real(constant)).is_integer():
        exact = exact_in(kernel, max(_largest(dtype), abs(constant)) if integer else 2.0**24)
    if exact is not None:
        kernels = [kernel]
    work = exact if integer and exact is not None and algorithm is None else np.dtype(np.float64)
    kernels = [k.astype(np.result_type(work, k) if k.dtype.kind == "c" else work, copy=False) for k in kernels]
    if image.dtype.kind == "c" or isinstance(constant, complex):
        work = np.dtype(np.complex128)
    if algorithm is None:
        algorithm = "auto" if rounded and exact is None else "sums"
    return returned(filtered(image, kernels, output, boundary, constant, dtype, work, algorithm), flat)


def _largest(dtype) -> int:
    return 1 if dtype.kind == "b" else max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))
