"""plan, explain, geometry (floor 5): any operator by its name, checked and chosen once; problem lines."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from ._accept import array_of
from ._arguments import plan_of
from ._explanation import Explanation, explanation
from ._geometry import Geometry, parse
from ._operators import OPERATORS, builder
from ._plan import Plan

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from ._typing import Described

DTYPE = re.compile(r"\s+((?:u?int|float|complex)\d+|bool|c?longdouble)\s*$")  # what stands behind a problem's words


class _Described:
    """Anything with shape and dtype."""

    def __init__(self, thing, name):
        if not hasattr(thing, "shape") or not hasattr(thing, "dtype"):
            thing = array_of(thing, name)
        self.shape, self.dtype = tuple(thing.shape), np.dtype(thing.dtype)


def plan(operator: str, x: ArrayLike | Described, w: ArrayLike | Described, **options: Any) -> Plan:
    """A convolution checked and planned once, to be called many times.

    Parameters
    ----------
    operator : str
        The name of a function: "conv", "conv_transpose" (both also with 1d, 2d, 3d), "locally_connected", their
        gradients "conv_grad_input", "conv_grad_weight", "conv_transpose_grad_input" and so on, "convolve" or
        "correlate".
    x, w : array_like, or anything with `shape` and `dtype`
        Its two operands (for a gradient those of that function, as dy and w); values are not looked at.
    **options
        The keywords of that function except out and workers, and the shape that a gradient wants (x_shape, w_shape).

    Returns
    -------
    p : Plan
        ``p(x, w, bias=None, out=None)`` computes; ``p.bind(w, bias=None)`` fixes the weights and packs them once.
        Plans may be used by many threads at the same time.

    Examples
    --------
    >>> import numpy as np, convx
    >>> p = convx.plan("conv1d", np.empty((1, 1, 5)), np.empty((1, 1, 3)), padding="full")
    >>> p(np.ones((1, 1, 5)), np.ones((1, 1, 3)))
    array([[[1., 2., 3., 3., 3., 2., 1.]]])
    >>> p = convx.plan("conv_grad_input", np.empty((1, 4, 3)), np.empty((4, 2, 3)), x_shape=(1, 2, 5))
    >>> p(np.ones((1, 4, 3)), np.ones((4, 2, 3)))[0, 0]
    array([ 4.,  8., 12.,  8.,  4.])
    """
    if not isinstance(operator, str) or operator not in OPERATORS:
        raise ValueError(f"operator={operator!r} is none of {', '.join(OPERATORS)}")
    build, options = builder(operator, options)
    return plan_of(build, _Described(x, "x"), _Described(w, "w"), None, options)


def explain(operator: str, x: ArrayLike | Described, w: ArrayLike | Described, **options: Any) -> Explanation:
    """What a call would do: the problem line, every solver's refusal or predicted time, and the choice.

    Takes the arguments of `plan`; print the result or read its `problem`, `rows` and `chosen`. The choice compares the
    times on one thread, so that it does not depend on the number of threads; those in `rows` are for the number in use.

    Examples
    --------
    >>> import numpy as np, convx
    >>> e = convx.explain("conv", np.empty((1, 3, 32, 32)), np.empty((8, 3, 3, 3)), padding=1, algorithm="reference")
    >>> e.problem
    'n1 g1 c3 m8 i32x32 k3x3 o32x32 s1 d1 p1  float64'
    >>> e.chosen
    'reference'
    """
    return explanation(plan(operator, x, w, **options).problem)


def geometry(line: str) -> Geometry:
    """The geometry of a problem line, such as the first line of what `explain` tells.

    Parameters
    ----------
    line : str
        Words in any order, each once: batch n, groups g, input and output channels of a group c and m, input sizes i,
        taps k, outputs o, base b, strides s, dilations d, offsets p, a boundary by its name. i, k and o have a number
        for every axis; of b, s, d, p and the boundary one stands for all axes. i and k are needed. What is left out is
        1, offsets are 0, the boundary is "constant"; without o the offsets are padding on both sides. A dtype at the
        end is passed over.

    Returns
    -------
    g : Geometry
        Its `n`, `g`, `c`, `m`, and `axes`, one for each spatial axis; ``g.text()`` is the whole line. A plan has its
        own as `Plan.geometry`.

    Raises
    ------
    ValueError
        A word that is none, one that is missing or repeated, different numbers of axes, a kernel that does not fit.

    Examples
    --------
    >>> import numpy as np, convx
    >>> g = convx.geometry("c3 m8 i32x32 k3x3 s2 p1")
    >>> g.text()
    'n1 g1 c3 m8 i32x32 k3x3 o16x16 s2 d1 p1'
    >>> g.axes[0].out, g.axes[0].stride, g.axes[0].padding()
    (16, 2, (1, 0))
    >>> p = convx.plan("conv", np.empty((1, 3, 32, 32)), np.empty((8, 3, 3, 3)), stride=2, padding=1)
    >>> p.geometry == g, p.y_shape, convx.geometry("i5 k3 o3  float32").axes[0].out
    (True, (1, 8, 16, 16), 3)
    """
    if not isinstance(line, str):
        raise TypeError(f"a problem line is text, not {type(line).__name__}")
    return parse(parts(line)[0])


def parts(line: str) -> tuple[str, str]:
    """The words of a problem line, and the dtype at its end, "" if there is none."""
    found = DTYPE.search(line)
    return (line[:found.start()], found[1]) if found else (line, "")
