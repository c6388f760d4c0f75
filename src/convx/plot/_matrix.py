"""A convolution as the matrix that it is (floor 8)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, MaxNLocator

from ..linop import as_linear_operator, as_sparse
from ._figure import INK, LINE, SOFT, blank, number, real, times

if TYPE_CHECKING:
    from typing import Any

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from .._typing import Shape

MOST = 512  # rows and columns: an entry keeps a pixel of its own
MOST_NUMBERS = 26  # columns up to which the entries are written out


def operator_matrix(w: ArrayLike, x_shape: Shape, *, operator: str = "conv", **options: Any) -> Figure:
    """The matrix of a convolution, each entry in the colour of its value; where no weight stands it is blank.

    Drawn is `convx.linop.as_sparse`: row and column are the indices of y and x in C order. Grey lines part the runs of
    the last axes of y and x, so that the blocks of a two-dimensional convolution can be seen.

    Parameters
    ----------
    w, x_shape, operator, **options
        As in `convx.linop.as_sparse`.

    Returns
    -------
    figure : matplotlib.figure.Figure
        The image in its first axes holds a masked array: the matrix, masked where it has no entry.

    Raises
    ------
    ValueError, TypeError
        As `as_sparse`; for more than 512 rows or columns, and for complex weights.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import plot
    >>> figure = plot.operator_matrix(np.arange(1.0, 10).reshape(1, 1, 3, 3), (1, 5, 5))
    >>> matrix = figure.axes[0].images[0].get_array()
    >>> matrix.shape, int(matrix.count()), float(matrix[0, 6])           # y[0, 0] takes x[1, 1] five times
    ((9, 25), 81, 5.0)
    """
    w = real(w, "w")
    matrix = as_sparse(w, x_shape, operator=operator, format="coo", **options)
    if max(matrix.shape) > MOST:
        raise ValueError(f"the matrix has {matrix.shape[0]} rows and {matrix.shape[1]} columns; {MOST} can be drawn")
    if not min(matrix.shape):
        raise ValueError(f"the matrix has {matrix.shape[0]} rows and {matrix.shape[1]} columns: there is nothing to "
                         "draw")
    entries = np.ma.masked_array(np.zeros(matrix.shape), True)
    entries[matrix.row, matrix.col] = matrix.data
    y_shape = as_linear_operator(w, x_shape, operator=operator, **options).y_shape
    return _drawn(entries, tuple(x_shape), y_shape, operator)


def _drawn(entries, x_shape, y_shape, operator):
    rows, columns = entries.shape
    cell = min(0.42, 8.5 / columns, 8.5 / rows)  # inches
    wide, high = max(columns * cell, 2.4), max(rows * cell, 0.8)
    left, right, top, bottom = 0.8, 1.0, 0.75, 0.55
    figure = blank(left + wide + right, top + high + bottom)
    width, height = figure.get_size_inches()
    axes = figure.add_axes((left / width, bottom / height, wide / width, high / height))
    largest = float(np.abs(entries).max() or 1) if entries.count() else 1.0
    written = columns <= MOST_NUMBERS and rows <= MOST_NUMBERS
    limit = (1.8 if written else 1.25) * largest  # pale enough for the numbers in the cells
    picture = axes.imshow(entries, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest", aspect="equal")
    for along, shape, line in ((columns, x_shape, axes.axvline), (rows, y_shape, axes.axhline)):
        run = shape[-1]
        for place in range(run, along, run) if 1 < run < along else ():
            line(place - 0.5, color=LINE, linewidth=0.7, zorder=2)
    axes.spines[:].set_color(LINE)
    axes.tick_params(colors=SOFT, labelsize=8, length=2)
    for ticks, along in ((axes.xaxis, columns), (axes.yaxis, rows)):
        ticks.set_major_locator(_whole_ticks(along))
    axes.set_xlabel("index of x", fontsize=9, color=SOFT)
    axes.set_ylabel("index of y", fontsize=9, color=SOFT)
    share = entries.count() / prod(entries.shape)
    figure.text(left / width, 1 - 0.12 / height, f"{operator}: x {_shape(x_shape)} to y {_shape(y_shape)}", ha="left",
                va="top", fontsize=11, color=INK)
    figure.text(left / width, 1 - 0.38 / height,
                f"{times(entries.shape)} matrix, {entries.count()} entries ({share:.0%} of its places)", ha="left",
                va="top", fontsize=9, color=SOFT)
    if written:
        for row, column in zip(*np.nonzero(~np.ma.getmaskarray(entries)), strict=True):
            text = number(entries[row, column])
            axes.text(column, row, text, ha="center", va="center", color=INK,
                      fontsize=max(min(9, cell * 72 * 0.9 / max(len(text), 2)), 3))
    else:
        bar = figure.add_axes(((left + wide + 0.2) / width, bottom / height, 0.16 / width, high / height))
        figure.colorbar(picture, cax=bar)
        bar.tick_params(colors=SOFT, labelsize=8, length=2)
        bar.set_ylim(-largest, largest)
        bar.spines[:].set_color(LINE)
    return figure


def _shape(shape) -> str:
    return f"({times(shape)})"


def _whole_ticks(along):
    return FixedLocator(range(along)) if along <= MOST_NUMBERS else MaxNLocator(integer=True)
