"""Pictures of weights and of results: one tile for each plane (floor 8)."""

from __future__ import annotations

from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

import convx

from .._arguments import whole
from ._figure import real

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Literal, SupportsIndex

    from numpy.typing import ArrayLike

EPS = 1e-7  # of the tutorial, so that a constant plane is black and not undefined


def bytes_of(shares) -> np.ndarray:
    """From 0..1 to 0..255, cut off at both ends and rounded down."""
    return np.clip(shares * 255, 0, 255).astype(np.uint8)


def stretched(plane) -> np.ndarray:
    """(x - min) / (max - min + eps) as bytes."""
    plane = np.asarray(plane, np.float64)
    low = plane.min()
    return bytes_of((plane - low) / (plane.max() - low + EPS))


def finite(array, name: str) -> np.ndarray:
    array = real(array, name)
    bad = array.size - np.count_nonzero(np.isfinite(array))
    if bad or not array.size:
        raise ValueError(f"{name} has the shape {array.shape} and {bad} infinite or undefined values; "
                         "a picture needs values, and finite ones")
    return array


def tiled(pictures: Iterable[ArrayLike], *, margin: SupportsIndex = 8) -> np.ndarray:
    """Pictures of one size as a square of tiles, row by row; what is left of the square is black.

    Parameters
    ----------
    pictures : sequence of ndarray
        (H, W) or (H, W, C), all alike.
    margin : int, optional
        Black pixels between tiles.

    Returns
    -------
    sheet : ndarray
        side*(H + margin) - margin high and side*(W + margin) - margin wide, with side = ceil(sqrt(number)).

    Raises
    ------
    ValueError
        No picture, or different shapes.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import plot
    >>> plot.tiled([np.full((1, 2), n, np.uint8) for n in (1, 2, 3)], margin=1)
    array([[1, 1, 0, 2, 2],
           [0, 0, 0, 0, 0],
           [3, 3, 0, 0, 0]], dtype=uint8)
    """
    pictures, margin = [np.asarray(p) for p in pictures], whole(margin, "margin", 0)
    shapes = {p.shape for p in pictures}
    if len(shapes) != 1 or len(next(iter(shapes))) not in (2, 3):
        raise ValueError(f"pictures have the shapes {sorted(shapes)}; at least one is needed, and all alike, "
                         "(H, W) or (H, W, C)")
    side, (high, wide, *rest) = ceil(sqrt(len(pictures))), pictures[0].shape
    sheet = np.zeros((side * (high + margin) - margin, side * (wide + margin) - margin, *rest), pictures[0].dtype)
    for number, picture in enumerate(pictures):
        top, left = number // side * (high + margin), number % side * (wide + margin)
        sheet[top:top + high, left:left + wide] = picture
    return sheet


def kernel_tiles(w: ArrayLike, *, order: Literal["out", "in"] = "out", w_layout: str | None = None,
                 most: SupportsIndex = 25, zoom: SupportsIndex = 16, margin: SupportsIndex = 2) -> np.ndarray:
    """The kernels of a layer as grey tiles, each stretched from its least to its largest weight.

    tile = (w - min w) / (max w - min w + 1e-7), in 0..255

    Parameters
    ----------
    w : array_like
        Weights of a layer with two spatial axes.
    order : str, optional
        "out" (default): all input channels of filter 0, then of filter 1, ...; "in": input channel 0 of all filters,
        then input channel 1, ...
    w_layout : str, optional
        "OIHW" (default), "OHWI" or "HWIO".
    most : int, optional
        How many tiles are made of the first kernels.
    zoom : int, optional
        Pixels of a weight, in both directions.
    margin : int, optional
        Black pixels between tiles.

    Returns
    -------
    picture : ndarray of uint8, two axes

    Raises
    ------
    ValueError, TypeError
        Another number of axes, an unknown word, numbers that are complex, infinite or undefined.

    Notes
    -----
    The numbers are those of tiagoshibata/neural-network-visualizations (2018), whose text describes the order "out" and
    whose program shows "in".

    Examples
    --------
    >>> import numpy as np
    >>> from convx import plot
    >>> w = np.random.default_rng(0).standard_normal((64, 3, 3, 3))
    >>> plot.kernel_tiles(w).shape                          # 5 x 5 tiles of 48 pixels
    (248, 248)
    """
    w = finite(w, "w")
    if w.ndim != 4:
        raise ValueError(f"w has {w.ndim} axes; the kernels of a layer with two spatial axes have four")
    o_at, i_at, k_at = convx.w_axes(None, 2, w_layout)
    if order not in ("out", "in"):
        raise ValueError(f"order={order!r} is neither 'out' nor 'in'")
    most, zoom = whole(most, "most", 1), whole(zoom, "zoom", 1)
    w = w.transpose(*((o_at, i_at) if order == "out" else (i_at, o_at)), *k_at)
    kernels = w.reshape(-1, *w.shape[2:])[:most]
    return tiled([stretched(kernel.repeat(zoom, 0).repeat(zoom, 1)) for kernel in kernels], margin=margin)


def feature_maps(y: ArrayLike, *, image: SupportsIndex = 0, layout: str | None = None, most: SupportsIndex = 64,
                 margin: SupportsIndex = 8) -> np.ndarray:
    """The first channels of a result as grey tiles, each stretched from its least to its largest value.

    Parameters
    ----------
    y : array_like
        With channels and two spatial axes, and a batch axis or none.
    image : int, optional
        Which one of the batch.
    layout : str, optional
        "NCHW" (default), "NHWC" or "HWCN"; for arrays without a batch "CHW" or "HWC".
    most : int, optional
        How many channels are shown.
    margin : int, optional
        Black pixels between tiles.

    Returns
    -------
    picture : ndarray of uint8, two axes

    Raises
    ------
    ValueError, TypeError
        Another number of axes, an image that is not there, numbers that are complex, infinite or undefined.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import plot
    >>> plot.feature_maps(np.random.default_rng(0).standard_normal((1, 256, 20, 30))).shape      # 8 x 8 tiles
    (216, 296)
    """
    y = finite(y, "y")
    if y.ndim not in (3, 4):
        raise ValueError(f"y has {y.ndim} axes; channels and two spatial axes make three, a batch four")
    n_at, c_at, s_at = convx.x_axes(layout, 2, y.ndim == 4)
    if y.ndim == 4:
        if not -y.shape[n_at] <= image < y.shape[n_at]:
            raise ValueError(f"image={image}: the batch has {y.shape[n_at]}")
        y = np.moveaxis(y, (n_at, c_at, *s_at), (0, 1, 2, 3))[image]
    else:
        y = np.moveaxis(y, (c_at, *s_at), (0, 1, 2))
    return tiled([stretched(plane) for plane in y[:whole(most, "most", 1)]], margin=margin)
