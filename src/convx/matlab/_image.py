"""imfilter, imgaussfilt, imboxfilt: filters of images that keep the class of the image."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import prod

import numpy as np

from .. import convolve, get_num_threads
from ._special import gaussian
from ._values import (
    BOUNDARIES,
    MatlabError,
    float_class,
    in_class,
    is_text,
    name_values,
    numeric,
    returned,
    saturated,
    values,
    word,
)

BAND = 1 << 16  # outputs that are computed at a time in a class wider than that of the image
SPLIT_DOUBLE, SPLIT_OTHERS = 49, 289  # taps from which MATLAB runs a kernel of rank 1 along columns, then rows


def exact_in(kernel: np.ndarray, most: float):
    """The smaller float class that sums products of `kernel` and whole numbers up to `most` without any rounding.

    There is one if the kernel holds multiples of a power of two, so small that all sums, counted in it, are below the
    2**24 or 2**53 up to which the class has every whole number; None otherwise.
    """
    bound = float(np.abs(kernel).sum()) * most
    if kernel.dtype.kind == "c" or not np.isfinite(bound):
        return None
    for dtype, bits in ((np.float32, 24), (np.float64, 53)):
        multiples = np.ldexp(kernel, bits - np.frexp(bound)[1])
        if np.isfinite(multiples).all() and (multiples == np.rint(multiples)).all():
            return np.dtype(dtype)
    return None


def _factors(image: np.ndarray, kernel: np.ndarray) -> list[np.ndarray]:
    """The column and the row whose product the kernel is, where MATLAB takes them; otherwise the kernel alone."""
    least = SPLIT_DOUBLE if image.dtype == np.float64 else SPLIT_OTHERS
    if kernel.ndim == 2 and image.ndim <= 3 and min(kernel.shape) > 1 and kernel.size >= least:
        if np.isfinite(kernel).all():
            u, s, v = np.linalg.svd(kernel)
            if s[0] > 0 and s[1] <= max(kernel.shape) * np.finfo(np.float64).eps * s[0]:
                root = np.sqrt(s[0])
                return [u[:, :1] * root, v[:1] * root]
    return [kernel]


def _axes(kernels) -> tuple[int, ...]:
    """Two axes at least: a row does not filter along the third one."""
    return tuple(range(max([2, *(a + 1 for k in kernels for a, taps in enumerate(k.shape) if taps > 1)])))


def _store(y: np.ndarray, out: np.ndarray, scale) -> None:
    """Sums, which are lost, as the class of the image: rounded and saturated; logical is what does not round to 0."""
    if scale is not None:
        y = np.multiply(y, scale, dtype=np.float64, out=y if y.dtype == np.float64 else None)
    if out.dtype.kind in "iu":
        saturated(y, out.dtype, out, spare=y)
    else:
        out[...] = np.abs(y) >= 0.5 if out.dtype.kind == "b" else y


def _in_bands(image, kernels, out, work, algorithm, scale) -> None:
    """out = the class of out of the sums over whole windows, band by band: only a band exists in the class `work`.

    Bands depend on the shapes alone, not on the number of threads, and every thread has one set of scratch arrays:
    with new ones for every band the system would spend more on their pages than all filters on 3 x 3 taps.
    """
    order = "F" if out.flags.f_contiguous and not out.flags.c_contiguous else "C"
    along = [n * (out.strides[a] > out.itemsize) for a, n in enumerate(out.shape)]
    axis = along.index(max(along))  # the longest but the innermost
    reach = sum(kernel.shape[axis] - 1 for kernel in kernels)
    step = max(BAND * out.shape[axis] // out.size, 4 * reach, 1)
    starts = range(0, out.shape[axis], step)
    team = min(len(starts), get_num_threads())

    def bands(thread):
        rooms: dict = {}

        def room(key, shape):
            size = prod(shape)
            if key not in rooms or rooms[key].size < size:
                rooms[key] = np.empty(size, work)
            return rooms[key][:size].reshape(shape, order=order)

        for start in starts[thread::team]:
            at = [slice(None)] * out.ndim
            at[axis] = slice(start, start + step + reach)
            given = image[tuple(at)]
            y = room("given", given.shape)
            np.copyto(y, given)
            for number, kernel in enumerate(kernels):
                shape = [n - taps + 1 for n, taps in zip(y.shape, kernel.shape, strict=True)]
                y = convolve(y, kernel, "valid", axes=_axes(kernels), algorithm=algorithm,
                                   out=room(number, shape), workers=None if len(starts) == 1 else 1)
            at[axis] = slice(start, start + step)
            _store(y, out[tuple(at)], scale)

    if team < 2:
        bands(0)
        return
    with ThreadPoolExecutor(team) as pool:
        list(pool.map(bands, range(team)))


def filtered(image, kernels, output, boundary, constant, dtype, work, algorithm, scale=None) -> np.ndarray:
    """The convolutions with `kernels`, in turn, of the image in the class `work`, as the class `dtype`.

    boundary in NumPy's words; output "same" or "full". scale: what the sums are multiplied by in double.
    """
    rank = max(image.ndim, *(kernel.ndim for kernel in kernels))
    image = image.reshape(image.shape + (1,) * (rank - image.ndim))
    kernels = [kernel.reshape(kernel.shape + (1,) * (rank - kernel.ndim)) for kernel in kernels]
    if image.dtype == work or dtype.kind == "c" or in_class(constant, image.dtype, "") != constant:
        y = image.astype(work, order="K", copy=False)
        for kernel in kernels:
            y = convolve(y, kernel, output, axes=_axes(kernels), boundary=boundary,
                               cval=constant if boundary == "constant" else 0, alignment="matlab", algorithm=algorithm)
            constant = constant * kernel.sum()  # what the next one finds around
        if y.dtype == dtype and scale is None:
            return y
        out = np.empty_like(y, dtype)
        _store(y, out, scale)
        return out
    reach = [sum(kernel.shape[a] - 1 for kernel in kernels) for a in range(rank)]
    rims = [(n, n) if output == "full" else (n // 2, n - n // 2) for n in reach]
    padded = np.pad(image, rims, mode=boundary, **({"constant_values": constant} if boundary == "constant" else {}))
    order = "F" if image.flags.f_contiguous and not image.flags.c_contiguous else "C"
    out = np.empty([n - r for n, r in zip(padded.shape, reach, strict=True)], dtype, order=order)
    _in_bands(padded, kernels, out, work, algorithm, scale)
    return out


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


def _empty(image, kernel, output: str, dtype) -> np.ndarray:
    """The result where the image or the kernel has no elements."""
    if output == "same":
        return np.zeros(image.shape, dtype)
    rank = max(image.ndim, kernel.ndim)
    shape = [a + b - 1 for a, b in zip(image.shape + (1,) * (rank - image.ndim),
                                       kernel.shape + (1,) * (rank - kernel.ndim), strict=True)]
    if min(shape) < 0:
        raise MatlabError(f"The full result would have a negative size, {shape}.",
                          "images:imfilter:negativeDimensionBadSizeB")
    return np.zeros(shape, dtype)


def imfilter(A, h, *options, algorithm=None):
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
        Not MATLAB's: that of `convx.convolve`. Default: "sums", as MATLAB does, for floating A and wherever sums are
        exact; "auto", which may take transforms, where the result is rounded anyhow.

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
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    boundary, constant, output, operation = _options(options)
    integer = image.dtype.kind in "biu"
    if integer and kernel.dtype.kind == "c":
        raise MatlabError(f"A is of class {image.dtype}, which has no complex values: h must be real.", identifier)
    dtype = image.dtype if integer else float_class(image)
    kernel = kernel.astype(np.complex128 if kernel.dtype.kind == "c" else np.float64, copy=False)
    stored = in_class(constant, dtype, identifier)
    if not integer and (np.iscomplexobj(kernel) or np.iscomplexobj(stored)):
        dtype = np.result_type(dtype, np.complex64)
    if 0 in image.shape or 0 in kernel.shape:
        return returned(_empty(image, kernel, output, dtype), flat)
    if operation == "corr":
        kernel = np.flip(kernel)
    kernels = _factors(image, kernel)
    constant = np.asarray(stored if len(kernels) == 1 else constant).item()
    most = max(_largest(dtype), abs(constant)) if integer else 2.0**24
    exact = exact_in(kernel, most) if float(np.real(constant)).is_integer() else None
    if exact is not None:
        kernels = [kernel]
    work = exact if integer and exact is not None else np.dtype(np.float64)
    kernels = [k.astype(np.result_type(work, k) if k.dtype.kind == "c" else work, copy=False) for k in kernels]
    if image.dtype.kind == "c" or isinstance(constant, complex):
        work = np.dtype(np.complex128)
    if algorithm is None:
        algorithm = "auto" if integer and exact is None else "sums"
    return returned(filtered(image, kernels, output, boundary, constant, dtype, work, algorithm), flat)


def _largest(dtype) -> int:
    return 1 if dtype.kind == "b" else max(-int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


IMAGE_CLASSES = tuple(np.dtype(name) for name in ("u1", "i1", "u2", "i2", "u4", "i4", "f4", "f8"))


def _image(A, function: str):
    (image,), flat = values(f"MATLAB:{function}:invalidType", A=A)
    image = image.astype(image.dtype.newbyteorder("="), copy=False)
    if image.dtype not in IMAGE_CLASSES:
        raise MatlabError(f"A must be single, double, or of an integer class of up to 32 bits, not {image.dtype}.",
                          f"MATLAB:{function}:invalidType")
    return image, flat


def _sides(argument, name: str, function: str, odd: bool) -> np.ndarray:
    """Two positive numbers, for rows and columns, from one or two."""
    numbers = numeric(argument, name, f"MATLAB:{function}:invalidType").ravel()
    if numbers.size not in (1, 2) or numbers.dtype.kind == "c" or not (np.isfinite(numbers).all() and
                                                                       (numbers > 0).all()):
        raise MatlabError(f"{name} must be one or two positive numbers.", f"MATLAB:{function}:expectedPositive")
    if odd and (numbers % 2 != 1).any():
        raise MatlabError(f"{name} must be odd, not {numbers.tolist()}.", f"MATLAB:{function}:expectedOdd")
    return np.array([numbers[0], numbers[-1]], int if odd else float)


def _padding(argument, dtype, function: str):
    if is_text(argument):
        return BOUNDARIES[word(argument, tuple(BOUNDARIES), abbreviated=True,
                               identifier=f"MATLAB:{function}:unrecognizedStringChoice",
                               message=f"{argument!r} is none of {', '.join(BOUNDARIES)}.")], 0
    return "constant", in_class(argument, dtype, f"MATLAB:{function}:invalidType").item()


def imgaussfilt(A, *arguments, **options):
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
    size = 2 * np.ceil(2 * sigma).astype(int) + 1 if size is None else _sides(size, "FilterSize", "imgaussfilt", True)
    boundary, constant = _padding(given["Padding"], image.dtype, "imgaussfilt")
    domain = word(given["FilterDomain"], ("auto", "spatial", "frequency"), abbreviated=True,
                  identifier="MATLAB:imgaussfilt:unrecognizedStringChoice",
                  message=f"{given['FilterDomain']!r} is none of auto, spatial, frequency.")
    if 0 in image.shape:
        return returned(image.copy(), flat)
    column = gaussian(int(size[0]), 1, sigma[0], 1)
    row = gaussian(1, int(size[1]), 1, sigma[1])
    work, kernels = np.float64, [gaussian(*map(int, size), *sigma)]
    if min(size) > 1 and prod(size) >= (SPLIT_DOUBLE if image.dtype == np.float64 else SPLIT_OTHERS):
        work = np.float32 if image.dtype.itemsize <= 2 else np.float64
        kernels = [column, row]
    algorithm = {"auto": "auto" if image.dtype.kind in "iu" else "sums", "spatial": "sums", "frequency": "fft"}[domain]
    if prod(size) == 1:
        algorithm = "sums"  # a transform of one tap is none
    kernels = [kernel.astype(work) for kernel in kernels]
    y = filtered(image, kernels, "same", boundary, constant, image.dtype, np.dtype(work), algorithm)
    return returned(y, flat)


def imboxfilt(A, *arguments, **options):
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
    rows, columns = map(int, _sides(size, "filterSize", "imboxfilt", True))
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
