"""The convolution of an image in a wider class, stored in the class of the image (what the filters of images share)."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from math import frexp, isfinite, ldexp, prod

import numpy as np

from .. import convolve, get_num_threads
from ._values import in_class, of_one_rank, saturated

BAND = 1 << 16  # outputs between two kernels at a time (2**15 to 2**18: within a tenth)
SPLIT_DOUBLE, SPLIT_OTHERS = 49, 289  # taps from which MATLAB runs a kernel of rank 1 along columns, then rows


def exact_in(kernel: np.ndarray, most: float):
    """The smaller float class that sums products of `kernel` and whole numbers up to `most` without any rounding.

    There is one if the kernel holds multiples of a power of two, so small that all sums, counted in it, are below the
    2**24 or 2**53 up to which the class has every whole number; None otherwise. `kernel` is not empty, most at least 1.
    """
    bound = float(np.abs(kernel).sum()) * most
    if kernel.dtype.kind == "c" or not isfinite(bound):
        return None
    if not ldexp(kernel.item(0), 53 - frexp(bound)[1]).is_integer():  # as with most
        return None
    found = None
    for dtype, bits in ((np.float64, 53), (np.float32, 24)):  # most kernels are multiples of neither
        multiples = np.ldexp(kernel, bits - np.frexp(bound)[1])
        if not np.isfinite(multiples).all() or (multiples != np.rint(multiples)).any():
            break
        found = np.dtype(dtype)
    return found


def _axes(kernels) -> tuple[int, ...]:
    """Two axes at least: a row does not filter along the third one."""
    if all(kernel.ndim == 2 for kernel in kernels):
        return 0, 1
    return tuple(range(max([2, *(a + 1 for k in kernels for a, taps in enumerate(k.shape) if taps > 1)])))


def _are_means(kernels, work, scale) -> bool:
    """Whether what comes out lies between what goes in and zero: no weight is negative, and the sum is one at most."""
    total = prod(float(kernel.sum()) for kernel in kernels) * (1 if scale is None else scale)
    return all((kernel >= 0).all() for kernel in kernels) and 0 <= total <= 1 + (1e-6 if work == np.float32 else 1e-12)


def _store(y: np.ndarray, out: np.ndarray, scale, inside=False) -> None:
    """Sums, which are lost, as the class of the image: rounded and saturated; logical is what does not round to 0."""
    if scale is not None:
        y = np.multiply(y, scale, dtype=np.float64, out=y if y.dtype == np.float64 else None)
    if out.dtype.kind in "iu":
        saturated(y, out.dtype, out, y, inside)
    else:
        with np.errstate(over="ignore"):  # a double that no single holds is Inf
            out[...] = np.abs(y) >= 0.5 if out.dtype.kind == "b" else y


def _is_stored(dtype, scale) -> bool:
    """Whether `convolve` stores sums in the class as MATLAB does: logical is another thing to it, and has no scale."""
    return scale is None and dtype.kind in "iuf"


def _in_bands(image, kernels, out, work, algorithm, scale) -> None:
    """out = the class of out of the sums over whole windows, band by band: only a band exists in the class `work`.

    Bands depend on the shapes alone, not on the number of threads, and every thread has one set of scratch arrays:
    with new ones for every band the system would spend more on their pages than all filters on 3 x 3 taps.
    """
    order = "F" if out.flags.f_contiguous and not out.flags.c_contiguous else "C"
    along = [n * (out.strides[a] > out.itemsize) for a, n in enumerate(out.shape)]
    axis = along.index(max(along))  # the longest but the innermost
    reach = sum(kernel.shape[axis] - 1 for kernel in kernels)
    step = max(BAND * out.shape[axis] // out.size, 8 * reach, 1)  # of what is read an eighth is read twice at most
    starts = range(0, out.shape[axis], step)
    inside = out.dtype.itemsize < 8 and _are_means(kernels, work, scale)  # the ends of 64 bits are no floats
    team = max(1, min(len(starts) // 2, get_num_threads()))  # a pool takes 0.1 ms, 3 x 3 taps 0.15 a band

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
            y = image[tuple(at)]
            at[axis] = slice(start, start + step)
            for number, kernel in enumerate(kernels):
                shape = [n - taps + 1 for n, taps in zip(y.shape, kernel.shape, strict=True)]
                last = number == len(kernels) - 1 and _is_stored(out.dtype, scale)
                y = convolve(y, kernel, "valid", axes=_axes(kernels), algorithm=algorithm, sums=work,
                             overflow="saturate", out=out[tuple(at)] if last else room(number, shape),
                             workers=None if team == 1 else 1)
            if not last:
                _store(y, out[tuple(at)], scale, inside)

    if team == 1:  # convolve has threads too
        bands(0)
        return
    with ThreadPoolExecutor(team) as pool:
        list(pool.map(bands, range(team)))


def filtered(image, kernels, output, boundary, constant, dtype, work, algorithm, scale=None) -> np.ndarray:
    """The convolutions with `kernels`, in turn, of the image in the class `work`, as the class `dtype`.

    boundary in NumPy's words; output "same" or "full". scale: what the sums are multiplied by in double.
    """
    image, *kernels = of_one_rank(image, *kernels)
    if len(kernels) == 1 and _is_stored(dtype, scale) and image.dtype.kind != "c":
        return convolve(image, kernels[0], output, axes=_axes(kernels), boundary=boundary, alignment="matlab",
                        cval=constant if boundary == "constant" else 0, algorithm=algorithm, dtype=dtype,
                        overflow="saturate", sums=work)
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
    reach = [sum(kernel.shape[a] - 1 for kernel in kernels) for a in range(image.ndim)]
    rims = [(n, n) if output == "full" else (n // 2, n - n // 2) for n in reach]
    padded = np.pad(image, rims, mode=boundary, **({"constant_values": constant} if boundary == "constant" else {}))
    order = "F" if image.flags.f_contiguous and not image.flags.c_contiguous else "C"
    out = np.empty([n - r for n, r in zip(padded.shape, reach, strict=True)], dtype, order=order)
    _in_bands(padded, kernels, out, work, algorithm, scale)
    return out
