"""An input that a filter answers to, found by climbing its gradient (floor 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import convx

from .._arguments import per_axis, whole
from ._receptive import network
from ._tiles import EPS, bytes_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any, SupportsIndex

    from numpy.typing import ArrayLike, DTypeLike

    from .. import nn
    from .._typing import Counts, Seed


class Ascent(NamedTuple):
    """What `ascend` found.

    Attributes
    ----------
    filter : int
    loss : float
        The mean of the filter's map, the last of `losses`.
    losses : tuple of float
        That mean before each step.
    x : ndarray
        The input after the last step, (H, W, C).
    picture : ndarray of uint8
        It as a picture, (H, W, C): 0.1 * (x - mean) / (std + 1e-7) + 0.5 in 0..255.
    """

    filter: int
    loss: float
    losses: tuple[float, ...]
    x: np.ndarray
    picture: np.ndarray


def centred(x) -> np.ndarray:
    """0.1 * (x - mean) / (std + eps) + 0.5 as bytes: grey in the middle, ten per cent for a standard deviation."""
    x = np.asarray(x, np.float64)
    return bytes_of(0.1 * (x - x.mean()) / (x.std() + EPS) + 0.5)


def _part(net, layer, size, channels):
    """The network up to a layer, its input's shape and places, and the shape and place of channels of its output."""
    net = network(net)
    if whole(layer, "layer", -len(net)) >= len(net):
        raise ValueError(f"layer={layer}: the network has {len(net)}, counted from 0")
    part = net[:layer % len(net) + 1]
    n_at, c_at, s_at = convx.x_axes(net.layout, 2)
    shape = {n_at: 1, c_at: whole(channels, "channels", 1)}
    shape |= dict(zip(s_at, per_axis(size, 2, "size", 1), strict=True))
    x_shape = tuple(shape[a] for a in range(4))
    y_shape = part.output_shape(x_shape)
    return part, x_shape, (n_at, *s_at, c_at), y_shape, c_at if len(y_shape) == 4 else 1


def ascend(net: nn.Layer | Iterable[nn.Layer], layer: SupportsIndex, filter: SupportsIndex, *,
           size: Counts = 128, channels: SupportsIndex = 3, steps: SupportsIndex = 80, step: float = 1.0,
           rng: Seed | None = None, start: ArrayLike | None = None, dtype: DTypeLike = np.float32) -> Ascent:
    """Climb from noise to an input that makes one filter answer strongly.

    x <- x + step * g / (sqrt(mean g^2) + 1e-7),     g = the gradient of mean(map of the filter) with respect to x

    Parameters
    ----------
    net : nn.Layer or sequence of nn.Layer
        With two spatial axes, and with weights.
    layer : int
        The filter is one of this layer's, counted from 0 (a `Sequential` inside the network is one layer).
    filter : int
        Which channel of the layer's output.
    size : int or (int, int), optional
        Height and width of the input.
    channels : int, optional
        Channels of the input.
    steps : int, optional
        How many are taken, unless the loss falls to 0 or below: then the filter is stuck and climbing ends.
    step : float, optional
        The root mean square of a step.
    rng : numpy.random.Generator or int, optional
        Of the noise, 128 + 20 * (uniform - 0.5).
    start : array_like, optional
        (H, W, C), to start from instead.
    dtype : dtype, optional
        Of the input.

    Returns
    -------
    found : Ascent

    Raises
    ------
    ValueError, TypeError
        A layer or filter that is not there, weights that are missing, a start of another shape.

    Notes
    -----
    The settings are those of tiagoshibata/neural-network-visualizations (2018) after F. Chollet, "How convolutional
    neural networks see the world" (2016). Of the layers' gradients only that of their input is computed.

    Examples
    --------
    >>> from convx import nn, plot
    >>> net = nn.Sequential(nn.Conv(4, 3, padding="same"), nn.ReLU())
    >>> net.init((1, 3, 16, 16), rng=0)
    (1, 4, 16, 16)
    >>> found = plot.ascend(net, 1, 3, size=16, steps=10, rng=0)
    >>> found.losses[-1] > found.losses[0], found.picture.shape
    (True, (16, 16, 3))
    """
    steps, dtype = whole(steps, "steps", 1), np.dtype(dtype)
    if dtype.kind != "f":
        raise TypeError(f"dtype={dtype}: an input that climbs is of floats")
    if start is not None:
        start = np.asarray(start)
        if start.ndim != 3:
            raise ValueError(f"start has the shape {start.shape}; (H, W, C) is needed")
        size, channels = start.shape[:2], start.shape[2]
    part, x_shape, order, y_shape, c_at = _part(net, layer, size, channels)
    if whole(filter, "filter", 0) >= y_shape[c_at]:
        raise ValueError(f"filter={filter}: layer {layer} has {y_shape[c_at]}, counted from 0")
    if start is None:
        noise = np.random.default_rng(rng).random([x_shape[a] for a in order[1:]])
        start = (noise - 0.5) * 20 + 128
    # A view in the network's order on memory of the picture's own: (N, H, W, C).
    picture = np.array(start, dtype)[None]
    x = np.moveaxis(picture, range(4), order)
    chosen = tuple(filter if a == c_at else slice(None) for a in range(len(y_shape)))
    losses = []
    for _ in range(steps):
        y = part.forward(x, training=False)
        losses.append(float(y[chosen].mean()))
        dy = np.zeros_like(y)
        dy[chosen] = 1 / y[chosen].size
        g = part.input_gradient(dy)
        x += (step * g / (np.sqrt(np.square(g).mean()) + EPS)).astype(dtype, copy=False)
        if not losses[-1] > 0:
            break
    return Ascent(int(filter), losses[-1], tuple(losses), picture[0], centred(picture[0]))


def ascents(net: nn.Layer | Iterable[nn.Layer], layer: SupportsIndex, filters: Counts = 10, *, rng: Seed | None = None,
            **options: Any) -> list[Ascent]:
    """`ascend` for the first filters of a layer: those that did not get stuck, the largest loss first.

    Parameters
    ----------
    net, layer, rng, **options
        As in `ascend`. The noise of all filters comes from one generator.
    filters : int or sequence of int, optional
        How many of the first, or which.

    Returns
    -------
    found : list of Ascent
        ``tiled([a.picture for a in found])`` is their sheet.

    Examples
    --------
    >>> from convx import nn, plot
    >>> net = nn.Sequential(nn.Conv(4, 3, padding="same"), nn.ReLU())
    >>> net.init((1, 3, 16, 16), rng=0)
    (1, 4, 16, 16)
    >>> found = plot.ascents(net, 1, size=16, steps=10, rng=0)
    >>> losses = [ascent.loss for ascent in found]
    >>> losses == sorted(losses, reverse=True), plot.tiled([ascent.picture for ascent in found]).shape
    (True, (40, 40, 3))
    """
    rng = np.random.default_rng(rng)
    if not hasattr(filters, "__iter__"):
        options_of_shape = {name: options[name] for name in ("size", "channels") if name in options}
        *_, y_shape, c_at = _part(net, layer, **({"size": 128, "channels": 3} | options_of_shape))
        filters = range(min(whole(filters, "filters", 1), y_shape[c_at]))
    found = [ascend(net, layer, filter, rng=rng, **options) for filter in filters]
    return sorted((a for a in found if a.loss > 0), key=lambda a: a.loss, reverse=True)
