"""Arrays stored in one type and summed in another (floor 4).

Where the chosen kernel can (`stores` of a solver), it reads and writes the stored types piece by piece. Elsewhere whole
arrays are converted, by the functions here, to the same values.
"""

from __future__ import annotations

import numpy as np

PLAIN = (1.0, 0.0)  # divisor, offset: sums as they are


def differs(problem, x, w, y) -> bool:
    """Whether x or y is not simply of the type in which products are summed, that of w."""
    if w.dtype.kind != "f" or y.dtype.kind == "c":
        return False
    return x.dtype != w.dtype or y.dtype != w.dtype or problem.finish != PLAIN


def finish(sums: np.ndarray, y: np.ndarray, how) -> None:
    """y = sums / divisor + offset in y's type; the sums are lost."""
    divisor, offset = how
    if divisor != 1:
        sums /= sums.dtype.type(divisor)
    if offset:
        sums += sums.dtype.type(offset)
    if y.dtype.kind == "f":
        y[...] = sums  # what a type does not hold is infinite, as in compiled loops
    else:
        y[...] = rounded(sums, y.dtype)


def rounded(values: np.ndarray, dtype) -> np.ndarray:
    """Floats, which are lost, as integers or bool: halves away from zero, the ends for what lies beyond, 0 for nan.

    What is added before the fraction is cut off is the number below one half: a half would make 1 of 0.5 - 2**-54.
    """
    real = values.dtype.type
    low, high = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    values += np.copysign(np.nextafter(real(0.5), real(0)), values)
    np.trunc(values, out=values)
    values[np.isnan(values)] = 0
    top = real(high)
    above = values >= top if int(top) > high else None  # the upper end of a wide type is no float
    np.clip(values, real(low), top if above is None else np.nextafter(top, real(0)), out=values)
    y = values.astype(dtype)
    if above is not None:
        y[above] = high
    return y
