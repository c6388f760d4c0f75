"""conv and its ranks, plan and explain (floor 5). No computing here: everything becomes a plan."""

from __future__ import annotations

from functools import wraps

import numpy as np

from . import _plan, _threads
from ._arguments import conv_problem, plan_of
from ._signal import signal_problem

_CONV_DOC = """{first}

    y[n, m, o] = bias[m] + sum over c, k of x[n, c, stride*o + dilation*k - before] * w[m, c, k]

    where x reads as its boundary says outside the array, c runs over the input channels of m's group, and o, k
    are one index per spatial axis. This is the correlation of deep learning; `flip=True` turns the taps around,
    which is the convolution of mathematics and MATLAB.

    Parameters
    ----------
    x : array_like
        Input, (N, C, *S) or unbatched (C, *S) in the default layout, with {rank} spatial axes.
    w : array_like
        Weights, (O, C/groups, *K) in the default layout.
    bias : array_like, optional
        One value per output channel, (O,).
    stride, dilation : int or tuple of int, optional
        Step between outputs, and between taps, in input samples; one per spatial axis or one for all. At least 1.
    padding : str, int, or tuple, optional
        "valid" (none), "same" (ceil(size / stride) outputs, the odd cell after), "same_lower" (the odd cell
        before), "full" (every overlap), one int for all axes, an int per axis, or a (before, after) pair per axis.
    groups : int, optional
        Channels are split into this many independent convolutions.
    layout : str, optional
        "NCHW" (default), "NHWC" or "HWCN" with the letters of the rank: NCW, NCDHW, NWC, NDHWC, WCN, DHWCN. The
        two-dimensional word stands for its family at any rank. N may be left out for unbatched arrays.
    w_layout : str, optional
        "OIHW", "OHWI" or "HWIO"; by default the one that goes with layout, in this order.
    boundary : str or tuple of str, optional
        What padding reads: "constant" (default), "edge", "reflect", "symmetric", "wrap", as numpy.pad; one for
        all axes or one per axis.
    cval : scalar, optional
        The value of the constant boundary. With 0 (default) padded taps contribute nothing at all, even where
        a weight is infinite or nan.
    flip : bool, optional
        False (default) correlates, True convolves.
    dtype : dtype, optional
        Result dtype. Default: NumPy's promotion of x and w, computed in that type (float16 is computed in
        float32); integers and bool give exact int64 or uint64 results.
    overflow : str, optional
        For integer results that do not fit: "raise" (default, OverflowError), "saturate" or "wrap".
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    algorithm : str, optional
        "auto" (default), "stencil", "gemm", "fft", "direct" or "reference". See `explain`.
    workers : int, optional
        Threads of this call; default `get_num_threads()`. The result does not depend on it.

    Returns
    -------
    y : ndarray
        (N, O, *out) in the layout of x; in Fortran order where x is.

    Raises
    ------
    ValueError, TypeError
        Before anything is computed or written; the message names the argument, the numbers and the rule.
    OverflowError
        An exact integer result does not fit the result dtype and overflow="raise".

    Notes
    -----
    Outputs are partitioned over threads and sums never are, so the bits do not depend on `workers` or on how a
    batch is split. Rounding error: at most (L + 2) eps (|x| conv |w|) for L products per output; "fft", which "auto"
    takes for large kernels of floats, holds twice that with max|x| * sum|w| in the place of (|x| conv |w|):
    outputs that are small beside what the largest inputs near them would give lose relative accuracy. Another
    `algorithm` avoids it.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x = np.arange({size}.0).reshape({shape})
    >>> w = np.ones({w_shape})
    >>> convx.{name}(x, w, padding="same").shape
    {y_shape}
    >>> float(convx.{name}(x, w).sum())
    {total}
    """


def _conv(rank, x, w, bias, out, workers, options):
    x, w = np.asarray(x), np.asarray(w)
    p = plan_of(conv_problem, x, w, out, {"rank": rank, **options})
    return _plan.run(p, x, w, bias, out, _threads.team(workers))


def conv(x, w, bias=None, *, stride=1, padding="valid", dilation=1, groups=1, layout=None, w_layout=None,
         boundary="constant", cval=0, flip=False, dtype=None, overflow="raise", out=None, algorithm="auto",
         workers=None):
    return _conv(None, x, w, bias, out, workers, {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "layout": layout,
        "w_layout": w_layout, "boundary": boundary, "cval": cval, "flip": flip, "dtype": dtype, "overflow": overflow,
        "algorithm": algorithm})


def _of_rank(rank: int):
    @wraps(conv)
    def ranked(x, w, bias=None, *, out=None, workers=None, **options):
        return _conv(rank, x, w, bias, out, workers, options)

    size = (12, 48, 54)[rank - 1]
    shape = ((1, 2, 6), (1, 3, 4, 4), (1, 2, 3, 3, 3))[rank - 1]
    w_shape = ((4, 2, 3), (2, 3, 3, 3), (1, 2, 3, 3, 3))[rank - 1]
    total = (528.0, 5076.0, 1431.0)[rank - 1]
    ranked.__name__ = ranked.__qualname__ = f"conv{rank}d"
    ranked.__doc__ = _CONV_DOC.format(
        first=f"Convolution of an input with {rank} spatial {'axis' if rank == 1 else 'axes'}: `conv`, which see, "
              "with the rank asserted.",
        rank=rank, name=f"conv{rank}d", size=size, shape=shape, w_shape=w_shape, total=total,
        y_shape=(1, w_shape[0], *shape[2:]))
    return ranked


conv.__doc__ = _CONV_DOC.format(
    first="Convolution layer of any rank on plain arrays, forward.", rank="any number of (at least one)",
    name="conv", size=48, shape=(1, 3, 4, 4), w_shape=(2, 3, 3, 3), total=5076.0, y_shape=(1, 2, 4, 4))
conv1d, conv2d, conv3d = map(_of_rank, (1, 2, 3))

_OPERATORS = {
    "conv": (conv_problem, {}),
    "conv1d": (conv_problem, {"rank": 1}),
    "conv2d": (conv_problem, {"rank": 2}),
    "conv3d": (conv_problem, {"rank": 3}),
    "convolve": (signal_problem, {"correlates": False}),
    "correlate": (signal_problem, {"correlates": True}),
}


class _Described:
    """Anything with shape and dtype."""

    def __init__(self, thing):
        if not hasattr(thing, "shape") or not hasattr(thing, "dtype"):
            thing = np.asarray(thing)
        self.shape, self.dtype = tuple(thing.shape), np.dtype(thing.dtype)


def plan(operator, x, w, **options) -> _plan.Plan:
    """A convolution checked and planned once, to be called many times.

    Parameters
    ----------
    operator : str
        "conv", "conv1d", "conv2d", "conv3d", "convolve" or "correlate".
    x, w : array_like, or anything with `shape` and `dtype`
        What the plan is for; their values are not looked at.
    **options
        The keywords of that function except out and workers.

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
    """
    if operator not in _OPERATORS:
        raise ValueError(f"operator={operator!r} is none of {', '.join(_OPERATORS)}")
    build, fixed = _OPERATORS[operator]
    return plan_of(build, _Described(x), _Described(w), None, {**fixed, **options})


def explain(operator, x, w, **options) -> _plan.Explanation:
    """What a call would do: the problem line, every solver's refusal or predicted time, and the choice.

    Takes the arguments of `plan`; print the result or read its `problem`, `rows` and `chosen`.

    Examples
    --------
    >>> import numpy as np, convx
    >>> e = convx.explain("conv", np.empty((1, 3, 32, 32)), np.empty((8, 3, 3, 3)), padding=1, algorithm="reference")
    >>> e.problem
    'n1 g1 c3 m8 i32x32 k3x3 o32x32 s1 d1 p1  float64'
    >>> e.chosen
    'reference'
    """
    return _plan.explanation(plan(operator, x, w, **options))
