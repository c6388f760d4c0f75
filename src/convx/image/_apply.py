"""Pictures filtered with a matrix, as image editors do (floor 8)."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING

import numpy as np

import convx

from .._accept import array_of
from .._arguments import real
from ._named import finite, kernel

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, SupportsFloat, SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike

    from .._typing import Array, Boundary

#: What `apply` can do at the border: NumPy's five words, and two that need no values from outside.
BORDERS = ("edge", "constant", "reflect", "symmetric", "wrap", "keep", "crop")


def normalised(matrix: ArrayLike) -> tuple[float, float]:
    """The divisor and the offset that keep the brightness: what image editors call "normalise".

    Parameters
    ----------
    matrix : array_like or str
        As in `apply`; any shape will do.

    Returns
    -------
    divisor, offset : float
        The sum of the matrix and 0. Where the sum is 0, 1 and one half; where it is negative, its magnitude and 1: the
        negative. The offset is in units of white (1 for floats, 255 or 65535 for integers).

    Examples
    --------
    >>> from convx import image
    >>> image.normalised([[1, 1, 1]]), image.normalised([[-1, 0, 1]]), image.normalised([[0, -2, 0]])
    ((3.0, 0.0), (1.0, 0.5), (2.0, 1.0))
    """
    total = float(_matrix(matrix, odd=False).sum())
    return (total, 0.0) if total > 0 else (-total, 1.0) if total else (1.0, 0.5)


def apply(picture: ArrayLike, matrix: ArrayLike, *, divisor: SupportsFloat | None = None, offset: SupportsFloat = 0.0,
          normalise: bool = False, border: Boundary | Literal["keep", "crop"] = "edge", cval: SupportsFloat = 0,
          channels: Iterable[SupportsIndex] | None = None, alpha: Literal["auto"] | SupportsIndex | None = "auto",
          channel_axis: Literal["auto"] | SupportsIndex | None = "auto", dtype: DTypeLike | None = None,
          workers: SupportsIndex | None = None) -> Array:
    """Filter a picture with a convolution matrix.

    y[o] = sum over k of x[o + k - K//2] * matrix[k] / divisor + offset, for every channel of every picture alike; with
    alpha weighting the sum is that of x[..] * a[..] * matrix[k], times sum |matrix| / sum over k of
    a[..] * |matrix[k]|, where a is the picture's alpha: transparent pixels lend no colour.

    Parameters
    ----------
    picture : array_like
        (H, W), (H, W, C) or a stack (..., H, W) or (..., H, W, C), of bool, integers of
        up to 32 bits, or floats. The rows grow downwards.
    matrix : array_like or str
        Two axes of odd length, correlated: not turned around. A name stands for `kernel(name)`.
    divisor : float, optional
        The sums are divided by it; default 1.
    offset : float, optional
        Added afterwards, in the units of the picture (0 to 255 for uint8).
    normalise : bool, optional
        Take divisor and offset from `normalised(matrix)`.
    border : str, optional
        What lies outside: "edge" (default: the border pixel), "constant" (`cval`), "reflect", "symmetric", "wrap", as
        numpy.pad. "keep": pixels whose window leaves the picture stay as they are. "crop": they are cut off.
    cval : float, optional
        The value outside with border="constant".
    channels : sequence of int, optional
        Filter only these channels and leave the others as they are.
    alpha : "auto", None or int, optional
        The channel that weights the others; None: none does. "auto": the last of two or four channels.
    channel_axis : "auto", None or int, optional
        Where the channels are. "auto": the last axis if there are at least three and it has one to four entries.
    dtype : dtype, optional
        Of the result; default that of the picture. Integers are rounded, halves away from zero, and saturate.
    workers : int, optional
        Number of threads.

    Returns
    -------
    y : ndarray
        The shape of the picture, but for border="crop".

    Raises
    ------
    ValueError, TypeError
        Before anything is computed, with the numbers in the message.

    Notes
    -----
    Integer pictures of up to 16 bits are filtered in float32 when all sums are exact in it (those of integer matrices
    and uint8 are), everything else but float32 pictures in float64: results are those of exact arithmetic, rounded
    once, but for ties that the float64 sum of a fractional matrix misses. Pixels become floats piece by piece, and
    integers again: no array of floats is made, unless alpha weights or a transform (of large matrices) needs it.

    Source: the manual of GIMP, "Convolution Matrix".

    Examples
    --------
    >>> import numpy as np
    >>> from convx import image
    >>> row = np.array([[10, 10, 200, 10]], np.uint8)
    >>> image.apply(row, [[1, 2, 1]], normalise=True)
    array([[ 10,  58, 105,  58]], dtype=uint8)
    >>> image.apply(row, "shift")                       # rows come from above; "edge" repeats the first
    array([[ 10,  10, 200,  10]], dtype=uint8)
    """
    x, w = _picture(picture), _matrix(matrix)
    target = _target(x.dtype if dtype is None else dtype)
    if not isinstance(border, str) or border not in BORDERS:
        raise ValueError(f"border={border!r} is none of {', '.join(BORDERS)}")
    pixels, axis = _channels_last(x, channel_axis)
    count = pixels.shape[-1]
    left_alone = sorted(set(range(count)) - set(_channels(channels, count)))
    alpha = _alpha(alpha, count)
    divisor, offset = _scale(w, divisor, offset, normalise, x.dtype)
    cval = real(cval, "cval")
    pad = _pad(pixels, w, border)

    if alpha is None:
        y = _filtered(pixels, w, border, cval, _work_dtype(x.dtype, w), target, divisor, offset, workers)
    else:
        work = np.float32 if x.dtype in (np.float16, np.float32) else np.float64
        with np.errstate(all="ignore"):
            cells = pixels.astype(work)
            if border not in ("keep", "crop"):
                cells = np.pad(cells, pad, border, **({"constant_values": cval} if border == "constant" else {}))
        y = _stored(_weighted(cells, w, alpha, workers), target, divisor, offset)
    inner = tuple(slice(before, n - after) for (before, after), n in zip(pad, pixels.shape, strict=True))
    if border == "keep":
        whole = _stored(pixels, target)
        if y.size:  # otherwise no window fits, and all pixels stay
            whole[inner] = y
        y = whole
    if left_alone:
        y[..., left_alone] = _stored(pixels[inner if border == "crop" else ...][..., left_alone], target)
    return y[..., 0] if axis is None else np.moveaxis(y, -1, axis)


def _storable(dtype, name) -> None:
    if dtype.kind not in "biuf" or (dtype.kind in "iu" and dtype.itemsize > 4):
        raise TypeError(f"{name} {dtype}: pictures have bool, integers of up to 32 bits, or real floats")


def _target(dtype) -> np.dtype:
    try:
        target = np.dtype(dtype)
    except (TypeError, ValueError):
        raise TypeError(f"dtype={dtype!r} is no dtype") from None
    _storable(target, "dtype")
    return target.newbyteorder("=")


def _picture(picture) -> np.ndarray:
    x = array_of(picture, "the picture")
    _storable(x.dtype, "a picture of dtype")
    if x.ndim < 2:
        raise ValueError(f"the picture has shape {x.shape}; it needs at least height and width")
    return x


def _matrix(matrix, odd=True) -> np.ndarray:
    w = kernel(matrix) if isinstance(matrix, str) else array_of(matrix, "the matrix")
    if w.dtype.kind not in "biuf":
        raise TypeError(f"the matrix has dtype {w.dtype}; it must have real numbers")
    if odd and (w.ndim != 2 or not all(k % 2 for k in w.shape)):
        raise ValueError(f"the matrix has shape {w.shape}; it needs two axes of odd length")
    if not np.isfinite(w).all():
        raise ValueError("the matrix has infinite or undefined entries")
    return w.astype(np.float64)


def _channels_last(x, channel_axis):
    """The picture with a last axis of channels, and where it was (None: nowhere)."""
    if isinstance(channel_axis, str):
        if channel_axis != "auto":
            raise ValueError(f"channel_axis={channel_axis!r}: it must be auto, None, or the number of an axis")
        channel_axis = -1 if x.ndim > 2 and 1 <= x.shape[-1] <= 4 else None
    if channel_axis is None:
        return x[..., None], None
    channel_axis = _place(channel_axis, "channel_axis")
    if not -x.ndim <= channel_axis < x.ndim:
        raise ValueError(f"channel_axis={channel_axis}: the picture has {x.ndim} axes")
    if x.ndim < 3:
        raise ValueError(f"channel_axis={channel_axis}: a picture of shape {x.shape} has no axis of channels")
    return np.moveaxis(x, channel_axis, -1), channel_axis


def _place(value, name) -> int:
    try:
        return index(value)
    except TypeError:
        raise TypeError(f"{name}: {value!r} is no integer") from None


def _channels(channels, count):
    if channels is None:
        return range(count)
    if not hasattr(channels, "__iter__") or isinstance(channels, str):
        raise TypeError(f"channels={channels!r}: a sequence of numbers of channels is needed")
    chosen = [_place(c, "channels") for c in channels]
    if not all(-count <= c < count for c in chosen):
        raise ValueError(f"channels={tuple(chosen)}: the picture has {count}")
    return [c % count for c in chosen]


def _alpha(alpha, count):
    if isinstance(alpha, str):
        if alpha != "auto":
            raise ValueError(f"alpha={alpha!r}: it must be auto, None, or the number of a channel")
        return count - 1 if count in (2, 4) else None
    if alpha is None:
        return None
    alpha = _place(alpha, "alpha")
    if not -count <= alpha < count:
        raise ValueError(f"alpha={alpha}: the picture has {count} channels")
    return alpha % count


def _scale(w, divisor, offset, normalise, dtype):
    offset = finite(offset, "offset")
    if normalise:
        if divisor is not None or offset:
            raise ValueError("normalise=True chooses divisor and offset; leave them out")
        divisor, offset = normalised(w)
        return divisor, offset * (np.iinfo(dtype).max if dtype.kind in "iu" else 1)
    divisor = 1.0 if divisor is None else finite(divisor, "divisor")
    if divisor == 0:
        raise ValueError("divisor=0: it must be another number")
    return divisor, offset


def _pad(pixels, w, border):
    """Cells on each side of each axis that the matrix reads beside the picture."""
    height, width = pixels.shape[-3:-1]
    rows, columns = w.shape
    if border == "crop" and (rows > height or columns > width):
        raise ValueError(f"a matrix of {rows}x{columns} does not fit into a picture of {height}x{width}")
    if border not in ("constant", "keep", "crop") and 0 in (height, width):
        raise ValueError(f"border={border!r} needs a pixel to read; the picture has {height}x{width}")
    return [(0, 0)] * (pixels.ndim - 3) + [(rows // 2,) * 2, (columns // 2,) * 2, (0, 0)]


def _work_dtype(dtype, w):
    """float32 where the picture has no more or all sums are exact in it."""
    if dtype in (np.float16, np.float32):
        return np.float32
    small = dtype.kind in "biu" and dtype.itemsize <= 2
    if small and (w == np.rint(w)).all() and np.abs(w).sum() * 2.0 ** (8 * dtype.itemsize) < 2**24:
        return np.float32
    return np.float64


def _filtered(cells, w, border, cval, work, dtype, divisor, offset, workers):
    """The filter of all leading axes and channels alike, summed as `work`, stored as `dtype`."""
    whole = border in ("keep", "crop")
    shape = tuple(max(0, n - k + 1) if whole else n for n, k in zip(cells.shape[-3:-1], w.shape, strict=True))
    if 0 in shape or 0 in cells.shape:
        return np.zeros((*cells.shape[:-3], *shape, cells.shape[-1]), dtype)
    v = w.astype(work).reshape((1,) * (cells.ndim - 3) + w.shape + (1,))
    edge = {} if whole else {"boundary": border, "cval": cval or 0}
    exact = cells.dtype.kind != "f" and work == np.float32  # which a transform is not
    return convx.correlate(cells, v, "valid" if whole else "same", axes=(-3, -2), workers=workers, dtype=dtype,
                           overflow="saturate", sums=work, divisor=divisor, offset=offset or 0,
                           algorithm="sums" if exact else "auto", **edge)


@np.errstate(all="ignore")  # infinities and nan are values like others
def _weighted(cells, w, alpha, workers):
    """Colours weighted by alpha, which is filtered as it is."""
    colour = [c for c in range(cells.shape[-1]) if c != alpha]
    opacity = cells[..., alpha:alpha + 1]
    plain = "crop", 0, cells.dtype, cells.dtype, 1, 0, workers
    weight = _filtered(np.ascontiguousarray(opacity), np.abs(w), *plain)
    cells[..., colour] *= opacity
    sums = _filtered(cells, w, *plain)
    share = np.divide(np.abs(w).sum(), weight, out=np.zeros_like(weight), where=weight != 0)
    sums[..., colour] *= share
    return sums


def _stored(values, dtype, divisor=1, offset=0):
    """values / divisor + offset as a new array of the dtype, by the rule of convx.correlate."""
    if values.dtype == dtype and (divisor, offset) == (1, 0):
        return values.astype(dtype)
    sums = np.float32 if values.dtype in (np.float16, np.float32) else np.float64
    return convx.correlate(values, np.ones((1,) * values.ndim, sums), "same", dtype=dtype, overflow="saturate",
                           sums=sums, divisor=divisor, offset=offset)
