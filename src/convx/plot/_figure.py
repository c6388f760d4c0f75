"""What the drawings share: figures without pyplot, colours, numbers as text (floor 8)."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure

INK, SOFT, LINE = "#1f2933", "#66727f", "#9aa5b1"  # text, notes, edges of cells
INPUT, READ, ZERO = "#cfe3f5", "#e9f2fa", "#ffffff"  # cells of x; what a boundary rule reads; padding, inserted zeros
TAP, TAP_OUTSIDE, WINDOW = "#f7b267", "#fbe3c8", "#c2410c"  # taps on x; taps on padding; the window's outline
DONE, NOW, LATER = "#cfe8d5", "#6fbf83", "#ffffff"  # outputs: computed, of this step, not yet


def blank(width: float, height: float) -> Figure:
    """A white figure of so many inches."""
    return Figure(figsize=(width, height), dpi=120, facecolor="white")


def bare(axes) -> None:
    """No frame, no ticks; a unit is as high as it is wide, and y grows downwards."""
    axes.set_axis_off()
    axes.set_aspect("equal")
    axes.invert_yaxis()


def number(value) -> str:
    """Up to four digits, with the minus sign of mathematics."""
    return f"{value:.4g}".replace("-", "\N{MINUS SIGN}")


def times(sizes) -> str:
    return " \N{MULTIPLICATION SIGN} ".join(map(str, sizes))


def once(values) -> str:
    """One number if all are equal, else each."""
    values = tuple(values)
    return str(values[0]) if len(set(values)) == 1 else "(" + ", ".join(map(str, values)) + ")"


def real(array, name: str) -> np.ndarray:
    array = np.asarray(array)
    if array.dtype.kind not in "biuf":
        raise TypeError(f"{name} has dtype {array.dtype}: only real numbers can be drawn")
    return array
