"""Pictures: named kernels and the convolution matrix of image editors (floor 8).

`kernel` makes the matrices, `apply` filters with one: grey, RGB or RGBA pictures and stacks of them in uint8, uint16 or
floats, with divisor, offset, border rule and weighting by alpha. Numbers are used as stored: no gamma is undone.
"""

from ._apply import BORDERS, apply, normalised
from ._named import DIRECTIONS, kernel, kernels

__all__ = ["BORDERS", "DIRECTIONS", "apply", "kernel", "kernels", "normalised"]
