"""The arithmetic of convolutions, one step after the other (floor 8).

A plan states for each axis base*p = stride*o + dilation*k - offset. Drawn are the positions stride*o + dilation*k -
offset themselves: the inputs lie on the multiples of base, between them the zeros that a transposed convolution puts
in, and around them the padding. So one picture serves all operators.
"""

from __future__ import annotations

from itertools import product
from math import prod
from pathlib import Path

import numpy as np
from matplotlib.animation import PillowWriter
from matplotlib.patches import Patch, Rectangle

import convx

from ._figure import (
    DONE,
    INK,
    INPUT,
    LATER,
    LINE,
    NOW,
    READ,
    SOFT,
    TAP,
    TAP_OUTSIDE,
    WINDOW,
    ZERO,
    bare,
    blank,
    number,
    once,
    real,
    times,
)

LAYERS, SIGNALS = ("conv", "conv_transpose"), ("convolve", "correlate")
OPTIONS = {**dict.fromkeys(LAYERS, ("stride", "padding", "dilation", "boundary", "cval", "flip")),
           **dict.fromkeys(SIGNALS, ("mode", "boundary", "cval", "alignment"))}
OPTIONS["conv_transpose"] += ("output_padding", "output_shape")
MOST_CELLS, MOST_STEPS = 40, 400  # along an axis: beyond, cells are smaller than their labels; frames of an animation
GAP = 2.5  # cells between input and output


def _sizes(value, name: str) -> tuple[tuple[int, ...], np.ndarray | None]:
    """(shape, values or None) of an array, or of sizes."""
    if isinstance(value, np.ndarray):
        shape, values = value.shape, real(value, name)
    else:
        values = None
        shape = tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value,)
        if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in shape):
            raise TypeError(f"{name}={value!r}: an integer, a tuple of integers, or a NumPy array is needed")
    if len(shape) not in (1, 2):
        raise ValueError(f"{name} has {len(shape)} axes; one or two can be drawn")
    if min(shape) < 1:
        raise ValueError(f"{name} has the sizes {shape}; each must be at least 1")
    return tuple(int(n) for n in shape), values


class _Step:
    """One operator on one channel: its axes, its numbers, and what meets in a step."""

    def __init__(self, x, w, operator, options):
        if operator not in OPTIONS:
            raise ValueError(f"operator={operator!r} is none of {', '.join(OPTIONS)}")
        for name in options:
            if name not in OPTIONS[operator]:
                raise TypeError(f"{name}= is no option of a drawing of {operator}: {', '.join(OPTIONS[operator])}")
        self.operator, self.options = operator, options
        self.size, self.x = _sizes(x, "x")
        self.taps, self.w = _sizes(w, "w")
        if len(self.size) != len(self.taps):
            raise ValueError(f"x has {len(self.size)} axes, w has {len(self.taps)}")
        if (self.x is None) != (self.w is None):
            raise TypeError("x and w are both arrays, or both sizes")
        layer = operator in LAYERS
        shape = {True: lambda sizes: (1, 1, *sizes), False: tuple}[layer]
        like = [np.broadcast_to(np.zeros(()), shape(sizes)) for sizes in (self.size, self.taps)]
        problem = convx.plan(operator, *like, **options).problem
        self.axes = problem.geometry.axes
        self.boundary = options.get("boundary", "constant")
        if operator == "conv_transpose" and set(np.atleast_1d(self.boundary)) != {"constant"}:
            raise ValueError(f"boundary={self.boundary!r}: a conv_transpose adds what lies outside to where the rule "
                             "reads, which is not one window; only 'constant' can be drawn")
        if problem.swap:
            raise ValueError(f"w with sizes {self.taps} is larger than x with {self.size}: {operator} exchanges them")
        self.out = tuple(axis.out for axis in self.axes)
        if not prod(self.out):
            raise ValueError(f"the output has the sizes {self.out}: there is no step to draw")
        self.low, self.high = zip(*map(_extent, self.axes), strict=True)
        cells = max(*self.out, *(high - low + 1 for low, high in zip(self.low, self.high, strict=True)))
        if cells > MOST_CELLS:
            raise ValueError(f"x with sizes {self.size} and its padding, or the output with {self.out}, has {cells} "
                             f"cells along an axis; {MOST_CELLS} can be drawn")
        self.y = None
        if self.x is not None:
            x, w = (a if a.dtype.kind == "f" else a.astype(np.int64) for a in (self.x, self.w))
            y = getattr(convx, operator)(x.reshape(shape(x.shape)), w.reshape(shape(w.shape)), **options)
            self.y = y.reshape(self.out)

    def kind(self, position) -> str:
        """What lies at a position: input, inserted zero, padding, or what a boundary rule reads there."""
        index = self.index(position)
        if index is not None:
            inside = all(0 <= p <= a.base * (a.size - 1) for p, a in zip(position, self.axes, strict=True))
            return "input" if inside else "read"
        between = all(0 <= p <= a.base * (a.size - 1) for p, a in zip(position, self.axes, strict=True))
        return "zero" if between else "padding"

    def index(self, position):
        """The index into x that is read at a position; None where zero, or cval, is."""
        found = tuple(-1 if p % axis.base else axis.locate(p // axis.base)
                      for p, axis in zip(position, self.axes, strict=True))
        return None if min(found) < 0 else found

    def value(self, position):
        index = self.index(position)
        if index is not None:
            return self.x[index]
        return 0 if self.kind(position) == "zero" else self.options.get("cval", 0)

    def met(self, o):
        """(tap, position) of every tap of output o."""
        for k in np.ndindex(self.taps):
            yield k, tuple(a.stride * oo + a.dilation * kk - a.offset
                           for a, oo, kk in zip(self.axes, o, k, strict=True))

    def step(self, step) -> tuple[int, ...]:
        """The output of a step: its number in C order, or its index."""
        if isinstance(step, (int, np.integer)):
            if not 0 <= step < prod(self.out):
                raise ValueError(f"step={step}: there are {prod(self.out)} steps, counted from 0")
            return tuple(int(i) for i in np.unravel_index(step, self.out))
        index = tuple(int(i) for i in step)
        if len(index) != len(self.out) or not all(0 <= i < n for i, n in zip(index, self.out, strict=True)):
            raise ValueError(f"step={index} is no index of an output with the sizes {self.out}")
        return index

    def text(self) -> str:
        """The numbers of the operator in words."""
        words = [{"conv": "", "conv_transpose": "transposed convolution: "}.get(self.operator, f"{self.operator}: ")
                 + f"{times(self.taps)} taps"]
        if self.operator in SIGNALS:
            words.append(f"mode {self.options.get('mode', 'full')}")
        else:
            words += [f"{name} {once(np.broadcast_to(self.options.get(name, 1), len(self.size)).tolist())}"
                      for name in ("stride", "dilation")]
            padding = self.options.get("padding", "valid")
            words.append(f"padding {padding if isinstance(padding, (str, int)) else once(padding)}")
        if self.boundary != "constant":
            words.append(f"boundary {self.boundary if isinstance(self.boundary, str) else once(self.boundary)}")
        if self.options.get("flip"):
            words.append("kernel turned around")
        return ", ".join(words)

    def sum(self, o) -> str:
        """The sum of an output, with numbers if there are any and they fit."""
        name = f"y[{', '.join(map(str, o))}]"
        if self.y is None:
            met = [(k, self.index(p)) for k, p in self.met(o)]
            met = [f"w[{_index(k)}]\N{MIDDLE DOT}x[{_index(i)}]" for k, i in met if i is not None]
            return f"{name} = {(' + '.join(met) or '0') if len(met) <= 5 else f'the sum of {len(met)} products'}"
        terms = [(self.value(p), self.w[k]) for k, p in self.met(o)]
        products = " + ".join(f"{number(a)}\N{MIDDLE DOT}{number(b)}" for a, b in terms)
        return f"{name} = {products} = {number(self.y[o])}" if len(terms) <= 9 else f"{name} = {number(self.y[o])}"


def _extent(axis) -> tuple[int, int]:
    """The first and the last position that is drawn: all of x, and all that is asked for."""
    low, high = axis.reach()
    return min(low, 0), max(high, axis.base * (axis.size - 1))


class _Scene:
    """The figure of one operator: cells that stay, and what moves with the step."""

    def __init__(self, job: _Step):
        self.job, self.moving = job, []
        self.flat = len(job.size) == 1
        across = [high - low + 1 for low, high in zip(job.low, job.high, strict=True)]
        if self.flat:
            columns, rows = across[0] + 1.0, 4.2
        else:
            columns, rows = across[1] + GAP + job.out[1], max(across[0], job.out[0])
        self.cell = min(0.56, 11 / columns, 7.5 / rows)  # inches
        below, above = 1.05, 0.42
        width, height = max(columns * self.cell + 0.4, 6.4), rows * self.cell + below + above
        self.figure = blank(width, height)
        self.axes = self.figure.add_axes((0.2 / width, below / height, 1 - 0.4 / width, rows * self.cell / height))
        self.x_at = (-job.low[0] + 0.5, 0.9) if self.flat else (
            -job.low[1], (rows - across[0]) / 2 - job.low[0])
        self.y_at = None if self.flat else (across[1] + GAP, (rows - job.out[0]) / 2)
        self.axes.set_xlim(0, columns)
        self.axes.set_ylim(0, rows)
        bare(self.axes)
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
            return middle + self.x_at[0], 3.1
        return o[1] + self.y_at[0], o[0] + self.y_at[1]

    # Drawing ------------------------------------------------------------------------------------------------------

    def rectangle(self, corner, colour, name, edge=LINE, width=0.8, dashed=False, order=1.0, size=(1, 1)):
        patch = Rectangle(corner, *size, facecolor=colour, edgecolor=edge, linewidth=width, zorder=order, gid=name,
                          linestyle=(0, (2.5, 2)) if dashed else "solid", clip_on=False)
        self.axes.add_patch(patch)
        return patch

    def write(self, corner, text, share=0.34, colour=INK, at=(0.5, 0.5), order=6.0):
        points = max(self.cell * 72 * share, 3)
        return self.axes.text(corner[0] + at[0], corner[1] + at[1], text, fontsize=points, color=colour, ha="center",
                              va="center", zorder=order)

    def _stage(self):
        """All that does not move."""
        job, present = self.job, {"tap"}
        for position in product(*(range(low, high + 1) for low, high in zip(job.low, job.high, strict=True))):
            kind = job.kind(position)
            present.add(kind)
            colour = {"input": INPUT, "read": READ}.get(kind, ZERO)
            self.rectangle(self.x_corner(position), colour, f"{kind} {_index(position)}",
                           dashed=kind in ("padding", "read"), order=2 if kind == "input" else 1)
            if job.x is not None:
                inside = kind == "input"
                self.write(self.x_corner(position), number(job.value(position)), colour=INK if inside else SOFT)
            elif kind == "zero":
                self.write(self.x_corner(position), "0", colour=SOFT, order=2.5)  # a tap hides it
        for o in np.ndindex(job.out):
            self.outputs[o] = self.rectangle(self.y_corner(o), LATER, f"output {_index(o)}")
        if any(abs(axis.dilation) > 1 for axis in job.axes):
            present.add("hole")
        self._titles(present)

    def _titles(self, present):
        job, figure = self.job, self.figure
        width, height = figure.get_size_inches()
        size_in, size_out = f"input {times(job.size)}", f"output {times(job.out)}"
        if self.flat:
            head = f"{size_in}, {size_out}"
            figure.text(0.5, 1 - 0.08 / height, head, ha="center", va="top", fontsize=11, color=INK)
        else:
            columns = self.axes.get_xlim()[1]
            left, right = self.x_at[0] + job.low[1], self.y_at[0]
            room = self.axes.get_position()
            for middle, text in ((left + (job.high[1] - job.low[1] + 1) / 2, size_in),
                                 (right + job.out[1] / 2, size_out)):
                scale = self.cell / width  # a cell as a share of the figure
                centre = room.x0 + room.width / 2 + (middle - columns / 2) * scale
                figure.text(centre, 1 - 0.08 / height, text, ha="center", va="top", fontsize=11, color=INK)
        self.caption = figure.text(0.5, 0.86 / height, "", ha="center", va="center", fontsize=10, color=INK)
        figure.text(0.5, 0.58 / height, job.text(), ha="center", va="center", fontsize=9, color=SOFT)
        names = {"input": ("input", INPUT, False), "padding": ("padding", ZERO, True),
                 "read": ("padding, read from the input", READ, True), "zero": ("inserted zero", ZERO, False),
                 "tap": ("tap", TAP, False)}
        handles = [Patch(facecolor=colour, edgecolor=LINE, linestyle="--" if dashed else "-", label=text)
                   for name, (text, colour, dashed) in names.items() if name in present]
        if "hole" in present:
            handles.append(Patch(facecolor="none", edgecolor=WINDOW, label="window (holes by dilation)"))
        handles += [Patch(facecolor=colour, edgecolor=LINE, label=text)
                    for text, colour in (("this output", NOW), ("outputs before", DONE))]
        figure.legend(handles=handles, loc="lower center", ncols=len(handles), frameon=False, fontsize=8,
                      handlelength=1.1, handleheight=1.1, columnspacing=1.3, borderaxespad=0.4, labelcolor=INK)

    def show(self, o):
        """Move to the step of output o."""
        job = self.job
        for artist in self.moving:
            artist.remove()
        done = np.ravel_multi_index(o, job.out)
        for place, patch in enumerate(self.outputs.values()):
            patch.set_facecolor(DONE if place < done else NOW if place == done else LATER)
        taps = dict(job.met(o))
        self.moving = [self._tap(k, position) for k, position in taps.items()]
        self.moving += [artist for k, position in taps.items() for artist in self._labels(k, position)]
        corners = np.array([self.x_corner(position) for position in taps.values()])
        low, span = corners.min(axis=0), np.ptp(corners, axis=0) + 1
        self.moving.append(self.rectangle(low, "none", "window", WINDOW, 2.2, order=5, size=span))
        self.moving.append(self.rectangle(self.y_corner(o), "none", "now", WINDOW, 2.2, order=5))
        self.moving += self._rays(low, span, self.y_corner(o), taps)
        for index in self.outputs if job.y is not None else (o,):
            if np.ravel_multi_index(index, job.out) <= done:
                text = number(job.y[index]) if job.y is not None else f"$y_{{{_index(index)}}}$"
                self.moving.append(self.write(self.y_corner(index), text))
        self.caption.set_text(job.sum(o))
        self._fit_caption()

    def _tap(self, k, position):
        inside = self.job.kind(position) == "input"
        return self.rectangle(self.x_corner(position), TAP if inside else TAP_OUTSIDE, f"tap {_index(k)}",
                              dashed=not inside, order=3)

    def _labels(self, k, position):
        if self.job.w is None:
            return [self.write(self.x_corner(position), f"$w_{{{_index(k)}}}$")]
        weight = f"\N{MULTIPLICATION SIGN}{number(self.job.w[k])}"
        return [self.write(self.x_corner(position), weight, 0.2, WINDOW, (0.7, 0.84))]

    def _rays(self, low, span, target, taps):
        """From the window to the output; in one dimension from each tap."""
        if self.flat:
            starts = [np.add(self.x_corner(position), (0.5, 1)) for position in taps.values()]
            pairs = [(start, np.add(target, (0.5, 0))) for start in starts]
        else:
            pairs = [(np.add(low, (span[0], 0)), target), (low + span, np.add(target, (0, 1)))]
        return [self.axes.plot(*np.transpose(pair), color=WINDOW, linewidth=0.9, alpha=0.55, zorder=4, gid="ray")[0]
                for pair in pairs]

    def _fit_caption(self):
        """A sum of nine products may be longer than the figure: its letters shrink."""
        room = self.figure.get_size_inches()[0] - 0.3
        self.caption.set_fontsize(min(10, room * 72 / (0.58 * max(len(self.caption.get_text()), 1))))


def _index(index) -> str:
    return ",".join(map(str, index))


def arithmetic(x, w, *, operator="conv", step=0, **options):
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
    job = _Step(x, w, operator, options)
    scene = _Scene(job)
    scene.show(job.step(step))
    return scene.figure


def arithmetic_gif(path, x, w, *, operator="conv", rate=2.0, **options) -> None:
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
    job = _Step(x, w, operator, options)
    if prod(job.out) > MOST_STEPS:
        raise ValueError(f"an output with the sizes {job.out} takes {prod(job.out)} steps; an animation has at most "
                         f"{MOST_STEPS}")
    scene, writer = _Scene(job), PillowWriter(fps=rate)
    with writer.saving(scene.figure, str(path), dpi=100):
        for o in np.ndindex(job.out):
            scene.show(o)
            writer.grab_frame()
