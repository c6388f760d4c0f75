"""What the middle of every layer sees of the input (floor 8)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib
from matplotlib.patches import Rectangle

from .. import nn
from ._figure import INK, INPUT, LINE, SOFT, blank, times

if TYPE_CHECKING:
    from collections.abc import Iterable

    from matplotlib.figure import Figure

    from .._typing import Shape


def network(net) -> nn.Sequential:
    """The network of a layer, of layers, or of itself."""
    if isinstance(net, nn.Sequential):
        return net
    if isinstance(net, nn.Layer):
        return nn.Sequential(net)
    if not hasattr(net, "__iter__"):
        raise TypeError(f"net is a {type(net).__name__}: a layer, a Sequential, or a sequence of layers is needed")
    return nn.Sequential(*net)


def _fields(net, input_shape):
    """(row number, parts of the input) of every layer whose output ends a network of the layers up to it."""
    for i in range(len(net)):
        try:
            part = net[:i + 1]
        except ValueError:  # beside a branch: some earlier output is used only further on
            continue
        yield i, nn.receptive_field(part, input_shape)


def receptive_field(net: nn.Layer | Iterable[nn.Layer], input_shape: Shape) -> Figure:
    """The receptive fields of a network: how much of the input one output of each layer sees.

    Parameters
    ----------
    net : nn.Layer or sequence of nn.Layer
        With one or two spatial axes; no weights are needed.
    input_shape : tuple of int
        With its batch axis.

    Returns
    -------
    figure : matplotlib.figure.Figure
        To the left the input, with the parts that the middle output of each layer sees (they may reach into the
        padding), to the right their sizes. The patches are named "layer 0", "layer 1", ...; layers beside a branch,
        after which the network does not end, are left out.

    Raises
    ------
    ValueError, TypeError
        As `convx.nn.receptive_field`; for other numbers of spatial axes.

    Examples
    --------
    >>> from convx import nn, plot
    >>> figure = plot.receptive_field([nn.Conv(4, 3), nn.MaxPool(2), nn.Conv(8, 3)], (1, 3, 32, 32))
    >>> [patch.get_width() for patch in figure.axes[0].patches[1:]]
    [3, 4, 8]
    """
    net, input_shape = network(net), tuple(input_shape)
    rank = len(input_shape) - 2
    if rank not in (1, 2):
        raise ValueError(f"input_shape={input_shape} has {rank} spatial axes; one or two can be drawn")
    rows, fields = nn.summary(net, input_shape).rows, list(_fields(net, input_shape))
    sizes = rows[0].input[:-1]
    colours = [matplotlib.colormaps["plasma"](0.85 * (1 - n / max(len(fields) - 1, 1))) for n in range(len(fields))]
    high = max(3.2, 0.24 * len(fields) + 1.0)
    figure = blank(4.6 + 5.0, max(high, 4.6))
    left, right = figure.subplots(1, 2, width_ratios=(4.4, 4.2))
    figure.subplots_adjust(left=0.05, right=0.97, top=0.88, bottom=0.1, wspace=0.55)
    _draw_input(left, sizes, fields, colours)
    _draw_sizes(right, rows, fields, colours)
    return figure


def _draw_input(axes, sizes, fields, colours):
    """The input, and on it (in one dimension: below it, layer by layer) what is seen."""
    flat = len(sizes) == 1
    high, wide = (1, sizes[0]) if flat else sizes
    axes.add_patch(Rectangle((0, 0), wide, high, facecolor=INPUT, edgecolor=LINE, gid="input"))
    for (i, parts), colour in zip(fields, colours, strict=True):
        top, bottom = (i + 1.5, i + 2.2) if flat else parts[0]
        start, stop = parts[-1]
        axes.add_patch(Rectangle((start, top), stop - start, bottom - top, facecolor=colour if flat else "none",
                                 edgecolor=colour, linewidth=1.6, gid=f"layer {i}"))
    starts, stops = zip(*(parts[-1] for _, parts in fields), strict=True)
    margin = 0.04 * wide
    axes.set_xlim(min(0, *starts) - margin, max(wide, *stops) + margin)
    if flat:
        axes.set_ylim(fields[-1][0] + 2.6, -0.4)
        axes.set_yticks([])
    else:
        tops, bottoms = zip(*(parts[0] for _, parts in fields), strict=True)
        axes.set_ylim(max(high, *bottoms) + margin, min(0, *tops) - margin)
        axes.set_aspect("equal")
    axes.set_title(f"input {times(sizes)}: what the middle of each layer sees", fontsize=10, color=INK)
    axes.spines[:].set_visible(False)
    axes.tick_params(colors=SOFT, labelsize=8, length=2)


def _draw_sizes(axes, rows, fields, colours):
    for n, ((i, parts), colour) in enumerate(zip(fields, colours, strict=True)):
        size = [stop - start for start, stop in parts]
        axes.barh(n, max(size), color=colour, height=0.72)
        axes.text(max(size), n, f" {times(size)}", va="center", fontsize=8, color=INK)
        row = rows[i]
        axes.text(-0.02, n, f"{i}  {row.layer} {row.size}".replace(" x ", "\N{MULTIPLICATION SIGN}").rstrip(),
                  va="center", ha="right", fontsize=8, color=INK, transform=axes.get_yaxis_transform())
    axes.set_ylim(len(fields) - 0.4, -0.6)
    axes.set_xlim(0, 1.2 * max(max(stop - start for start, stop in parts) for _, parts in fields))
    axes.set_yticks([])
    axes.set_title("size of the receptive field", fontsize=10, color=INK)
    axes.spines[["top", "right", "bottom"]].set_visible(False)
    axes.spines["left"].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=8, length=2)
