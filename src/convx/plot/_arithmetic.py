"""Pictures of the arithmetic of convolutions, one step after the other (floor 8)."""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.patches import Patch, Rectangle

from . import _figure as f
from ._figure import number, times
from ._step import MOST_STEPS, Step, listed

if TYPE_CHECKING:
    from os import PathLike
    from typing import Any

    from matplotlib.figure import Figure
    from numpy.typing import ArrayLike

    from .._typing import Counts

GAP = 2.5  # cells between input and output


class _Scene:
    """The figure of one operator: cells that stay, and what moves with the step."""

    def __init__(self, job: Step):
        self.job, self.moving = job, []
        self.flat = len(job.size) == 1
        across = [high - low + 1 for low, high in zip(job.low, job.high, strict=True)]
        if self.flat:
            columns, rows = across[0] + 1.0, 3.7
        else:
            columns, rows = across[1] + GAP + job.out[1], max(across[0], job.out[0])
        self.cell = min(0.56, 11 / columns, 7.5 / rows)  # inches
        below, above = 1.05, 0.45
        width, height = max(columns * self.cell + 0.4, 6.4), rows * self.cell + below + above
        self.figure = f.blank(width, height)
        self.axes = self.figure.add_axes((0.2 / width, below / height, 1 - 0.4 / width, rows * self.cell / height))
        self.x_at = (-job.low[0] + 0.5, 0.3) if self.flat else (
            -job.low[1], (rows - across[0]) / 2 - job.low[0])
        self.y_at = None if self.flat else (across[1] + GAP, (rows - job.out[0]) / 2)
        self.axes.set_xlim(0, columns)
        self.axes.set_ylim(0, rows)
        f.bare(self.axes)
        self.outputs = {}
        self._stage()

    # Where things are ---------------------------------------------------------------------------------------------

    def x_corner(self, position):
        """The upper left corner of a position of the input plane."""
        if self.flat:
            return position[0] + self.x_at[0], self.x_at[1]
        return position[1] + self.x_at[0], position[0] + self.x_at[1]

    def y_corner(self, o):
        if self.flat:  # under the middle of its window
            axis = self.job.axes[0]
            middle = axis.stride * o[0] - axis.offset + axis.dilation * (axis.taps - 1) / 2
            return middle + self.x_at[0], 2.5
        return o[1] + self.y_at[0], o[0] + self.y_at[1]

    # Drawing ------------------------------------------------------------------------------------------------------

    def rectangle(self, corner, colour, name, edge=f.LINE, width=0.8, dashed=False, order=1.0, size=(1, 1)):
        patch = Rectangle(corner, *size, facecolor=colour, edgecolor=edge, linewidth=width, zorder=order, gid=name,
                          linestyle=(0, (2.5, 2)) if dashed else "solid", clip_on=False)
        self.axes.add_patch(patch)
        return patch

    def write(self, corner, text, share=0.34, colour=f.INK, at=(0.5, 0.5), order=6.0):
        points = max(self.cell * 72 * min(share, 1.3 / len(text) if "$" not in text else share), 3)
        return self.axes.text(corner[0] + at[0], corner[1] + at[1], text, fontsize=points, color=colour, ha="center",
                              va="center", zorder=order)

    def _stage(self):
        """All that does not move."""
        job, present = self.job, {"tap"}
        for position in product(*(range(low, high + 1) for low, high in zip(job.low, job.high, strict=True))):
            kind = job.kind(position)
            present.add(kind)
            colour = {"input": f.INPUT, "read": f.READ}.get(kind, f.ZERO)
            self.rectangle(self.x_corner(position), colour, f"{kind} {listed(position)}",
                           dashed=kind in ("padding", "read"), order=2 if kind == "input" else 1)
            if job.x is not None:
                inside = kind == "input"
                self.write(self.x_corner(position), number(job.value(position)), colour=f.INK if inside else f.SOFT)
            elif kind == "zero":
                self.write(self.x_corner(position), "0", colour=f.SOFT, order=2.5)  # a tap hides it
        for o in np.ndindex(job.out):
            self.outputs[o] = self.rectangle(self.y_corner(o), f.LATER, f"output {listed(o)}")
        if any(abs(axis.dilation) > 1 for axis in job.axes):
            present.add("hole")
        self._titles(present)

    def _titles(self, present):
        job, figure = self.job, self.figure
        width, height = figure.get_size_inches()
        size_in, size_out = f"input {times(job.size)}", f"output {times(job.out)}"
        if self.flat:
            head = f"{size_in}, {size_out}"
            figure.text(0.5, 1 - 0.12 / height, head, ha="center", va="top", fontsize=11, color=f.INK)
        else:
            columns = self.axes.get_xlim()[1]
            left, right = self.x_at[0] + job.low[1], self.y_at[0]
            room = self.axes.get_position()
            for middle, text in ((left + (job.high[1] - job.low[1] + 1) / 2, size_in),
                                 (right + job.out[1] / 2, size_out)):
                scale = self.cell / width  # a cell as a share of the figure
                centre = room.x0 + room.width / 2 + (middle - columns / 2) * scale
                figure.text(centre, 1 - 0.12 / height, text, ha="center", va="top", fontsize=11, color=f.INK)
        self.caption = figure.text(0.5, 0.86 / height, "", ha="center", va="center", fontsize=10, color=f.INK)
        figure.text(0.5, 0.58 / height, job.text(), ha="center", va="center", fontsize=9, color=f.SOFT)
        names = {"input": ("input", f.INPUT, False), "padding": ("padding", f.ZERO, True),
                 "read": ("padding by its rule", f.READ, True), "zero": ("inserted zero", f.ZERO, False),
                 "tap": ("tap", f.TAP, False)}
        handles = [Patch(facecolor=colour, edgecolor=f.LINE, linestyle="--" if dashed else "-", label=text)
                   for name, (text, colour, dashed) in names.items() if name in present]
        if "hole" in present:
            handles.append(Patch(facecolor="none", edgecolor=f.WINDOW, label="window with holes"))
        handles += [Patch(facecolor=colour, edgecolor=f.LINE, label=text)
                    for text, colour in (("this output", f.NOW), ("outputs before", f.DONE))]
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, labelcolor=f.INK,
                      fontsize=8 if len(handles) < 7 else 7, handlelength=1.1, handleheight=1.1, columnspacing=1.3,
                      borderaxespad=0.4)

    def show(self, o):
        """Move to the step of output o."""
        job = self.job
        for artist in self.moving:
            artist.remove()
        done = np.ravel_multi_index(o, job.out)
        for place, patch in enumerate(self.outputs.values()):
            patch.set_facecolor(f.DONE if place < done else f.NOW if place == done else f.LATER)
        taps = dict(job.met(o))
        self.moving = [self._tap(k, position) for k, position in taps.items()]
        self.moving += [artist for k, position in taps.items() for artist in self._labels(k, position)]
        corners = np.array([self.x_corner(position) for position in taps.values()])
        low, span = corners.min(axis=0), np.ptp(corners, axis=0) + 1
        self.moving.append(self.rectangle(low, "none", "window", f.WINDOW, 2.2, order=5, size=span))
        self.moving.append(self.rectangle(self.y_corner(o), "none", "now", f.WINDOW, 2.2, order=5))
        self.moving += self._rays(low, span, self.y_corner(o), taps)
        for index in self.outputs if job.y is not None else (o,):
            if np.ravel_multi_index(index, job.out) <= done:
                text = number(job.y[index]) if job.y is not None else f"$y_{{{listed(index)}}}$"
                self.moving.append(self.write(self.y_corner(index), text))
        self.caption.set_text(job.sum(o))
        self._fit_caption()

    def _tap(self, k, position):
        inside = self.job.kind(position) == "input"
        return self.rectangle(self.x_corner(position), f.TAP if inside else f.TAP_OUTSIDE, f"tap {listed(k)}",
                              dashed=not inside, order=3)

    def _labels(self, k, position):
        if self.job.w is None:
            return [self.write(self.x_corner(position), f"$w_{{{listed(k)}}}$")]
        weight = f"\N{MULTIPLICATION SIGN}{number(self.job.w[k])}"
        size = min(0.2, 1.2 / len(weight))
        return [self.write(self.x_corner(position), weight, size, f.WINDOW, (0.93 - 0.3 * size * len(weight), 0.84))]

    def _rays(self, low, span, target, taps):
        """From the window to the output; in one dimension from each tap."""
        if self.flat:
            starts = [np.add(self.x_corner(position), (0.5, 1)) for position in taps.values()]
            pairs = [(start, np.add(target, (0.5, 0))) for start in starts]
        else:
            pairs = [(np.add(low, (span[0], 0)), target), (low + span, np.add(target, (0, 1)))]
        return [self.axes.plot(*np.transpose(pair), color=f.WINDOW, linewidth=0.9, alpha=0.55, zorder=4, gid="ray")[0]
                for pair in pairs]

    def _fit_caption(self):
        """A sum of nine products may be longer than the figure: its letters shrink."""
        room = self.figure.get_size_inches()[0] - 0.3
        self.caption.set_fontsize(min(10, room * 72 / (0.58 * max(len(self.caption.get_text()), 1))))


def arithmetic(x: ArrayLike, w: ArrayLike, *, operator: str = "conv", step: Counts = 0,
               **options: Any) -> Figure:
    """The arithmetic of a convolution in one step: input, padding, the window with its taps, and the output.

    For every axis the window of output o lies on the positions stride*o + dilation*k - offset of the plan. A transposed
    convolution is drawn as the convolution that it equals: zeros stand between its inputs, and padding around them.

    Parameters
    ----------
    x : int, tuple of int, or ndarray
        One or two spatial sizes of the input, or the input itself: then all numbers are written into the cells.
    w : int, tuple of int, or ndarray
        The taps, likewise; an array if x is one.
    operator : str, optional
        "conv" (default), "conv_transpose", "convolve" or "correlate".
    step : int or tuple of int, optional
        The output that is drawn: its number in C order, or its index.
    **options
        Of that operator: stride, padding, dilation, boundary, cval, flip, output_padding, output_shape; mode, boundary,
        cval, alignment for the last two.

    Returns
    -------
    figure : matplotlib.figure.Figure
        Its patches carry names (`get_gid`): "input 0,1", "padding -1,0", "zero 1,1", "read -1,2" (what a boundary rule
        reads), "tap 0,2", "window", "output 3,1", "now".

    Raises
    ------
    ValueError, TypeError
        As the operator itself; for other numbers of axes than one or two, more than 40 cells along an axis, a step
        that does not exist, a kernel that `convolve` exchanges with its input, a boundary in a conv_transpose.

    Notes
    -----
    The kind of picture is that of Dumoulin and Visin, "A guide to convolution arithmetic for deep learning" (2016).

    Examples
    --------
    >>> from convx import plot
    >>> figure = plot.arithmetic((5, 5), (3, 3), stride=2, padding=1, step=(1, 2))
    >>> names = [patch.get_gid() for patch in figure.axes[0].patches]
    >>> sum(name.startswith("padding") for name in names), sum(name.startswith("output") for name in names)
    (24, 9)
    """
    job = Step(x, w, operator, options)
    scene = _Scene(job)
    scene.show(job.step(step))
    return scene.figure


def arithmetic_gif(path: str | PathLike[str], x: ArrayLike, w: ArrayLike, *, operator: str = "conv", rate: float = 2.0,
                   **options: Any) -> None:
    """All steps of `arithmetic` as an animation that repeats.

    Parameters
    ----------
    path : str or path-like
        The file to write, which ends in .gif; one that exists is replaced.
    x, w, operator, **options
        As in `arithmetic`.
    rate : float, optional
        Steps in a second.

    Raises
    ------
    ValueError, TypeError
        As `arithmetic`; for another suffix, a rate that is not above 0, or more than 400 steps.

    Examples
    --------
    >>> import os, tempfile
    >>> from convx import plot
    >>> path = os.path.join(tempfile.mkdtemp(), "steps.gif")
    >>> plot.arithmetic_gif(path, 5, 3, padding=1)
    >>> from PIL import Image
    >>> with Image.open(path) as film:
    ...     film.n_frames
    5
    """
    path = Path(path)
    if path.suffix.lower() != ".gif":
        raise ValueError(f"path={path.name!r}: an animation ends in .gif")
    if not 0 < rate <= 50:
        raise ValueError(f"rate={rate}: it must lie above 0 and reach 50 at most, in steps in a second")
    job = Step(x, w, operator, options)
    if prod(job.out) > MOST_STEPS:
        raise ValueError(f"an output with the sizes {job.out} takes {prod(job.out)} steps; an animation has at most "
                         f"{MOST_STEPS}")
    scene, writer = _Scene(job), PillowWriter(fps=rate)
    with writer.saving(scene.figure, str(path), dpi=100):
        for o in np.ndindex(job.out):
            scene.show(o)
            writer.grab_frame()
