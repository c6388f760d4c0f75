"""Arrays stored in one type and summed in another (floor 4).

Where the chosen kernel can (`stores` of a solver), it reads and writes the stored types piece by piece. Elsewhere whole
arrays are converted, by the functions here, to the same values.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np

PLAIN = (1.0, 0.0)  # divisor, offset: sums as they are


def differs(problem, x, w, y) -> bool:
    """Whether x or y is not simply of the type in which products are summed, that of w."""
    if w.dtype.kind != "f" or y.dtype.kind == "c":
        return False
    return x.dtype != w.dtype or y.dtype != w.dtype or problem.finish != PLAIN


@lru_cache
def ends(dtype: np.dtype) -> tuple[int, int]:
    """The smallest and the largest value of an integer type or bool."""
    return (0, 1) if dtype.kind == "b" else (int(np.iinfo(dtype).min), int(np.iinfo(dtype).max))


def finish(sums: np.ndarray, y: np.ndarray, problem) -> None:
    """y = sums / divisor + offset in y's type; the sums are lost."""
    divisor, offset = problem.finish
    if divisor != 1:
        sums /= sums.dtype.type(divisor)
    if offset:
        sums += sums.dtype.type(offset)
    if y.dtype.kind == "f" or problem.overflow != "saturate":
        y[...] = sums  # what a type does not hold is infinite, as in compiled loops; integers are sure to fit
    else:
        y[...] = rounded(sums, y.dtype)


def rounded(values: np.ndarray, dtype) -> np.ndarray:
    """Floats, which are lost, as integers or bool: halves away from zero, the ends for what lies beyond, 0 for nan.

    What is added before the fraction is cut off is the number below one half: a half would make 1 of 0.5 - 2**-54.
    """
    real = values.dtype.type
    low, high = ends(dtype)
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
