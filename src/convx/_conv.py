"""The forward operators of layers (floor 5): conv, conv_transpose and their ranks, locally_connected.

No computing here: everything becomes a plan.
"""

from __future__ import annotations

from inspect import Parameter, signature
from typing import TYPE_CHECKING

from . import _plan, _threads
from ._accept import array_of
from ._arguments import plan_of
from ._kernels.ready import Front
from ._operators import OPERATORS, builder

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import SupportsIndex, TypeVar, Unpack

    from numpy.typing import ArrayLike, DTypeLike

    from ._typing import Algorithm, Array, Boundary, Counts, LayerOptions, Number, Overflow, Padding

    Function = TypeVar("Function", bound=Callable)

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
        float32); integers and bool give exact int64 or uint64 results. uint64 with signed integers has no common
        integer type, hence float64; dtype=numpy.int64 makes that exact too.
    overflow : str, optional
        For integer results that do not fit: "raise" (default, OverflowError), "saturate" or "wrap".
    out : ndarray, optional
        Array for the result: its exact shape and dtype, any strides, not overlapping an input.
    algorithm : str, optional
        "auto" (default), "sums" (auto without transforms: each output is the sum of its own products), "measure" (the
        first call tries what auto may take and the process remembers the fastest, whose bits may differ), "depthwise",
        "stencil", "stencil_winograd", "thin", "thin_winograd", "winograd", "gemm", "fft", "direct" or "reference". See
        `explain`.
    workers : int, optional
        Threads of this call; default `get_num_threads()`, -1 for what `set_num_threads` says outside `threads`. The
        result does not depend on it.

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
    Outputs are partitioned over threads and sums never are, so the bits never depend on `workers` or on how a
    batch is split; on the order of the axes of x, w and out in memory they may.

    Rounding error: at most (L + 2) eps (|x| conv |w|) for L products per output; where "winograd" or "thin_winograd"
    is taken, which "auto" does for 2 to 5 taps of floats along an axis (the latter also for up to 5 in each phase of a
    stride, as in stems of 7 x 7) if it is faster, at most 8 (L + 2) eps max|x| S with S the largest sum of |w| over
    one output channel (measured: a twentieth of that from 16 channels on). The gradient of such weights holds it with
    dy in the place of w.
    "stencil_winograd", which "auto" takes for kernels of 11 x 11 taps and more on few channels, holds the latter, too.
    "fft", which "auto" takes for larger ones, holds twice the first bound with max|x| * sum|w| in the
    place of (|x| conv |w|): outputs that are small beside what the largest inputs near them would give lose relative
    accuracy. algorithm="sums" avoids all of them.

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


_TRANSPOSE_DOC = """{first}

    y[n, c, i] = bias[c] + sum of x[n, m, o] * w[m, c, k] over all m, o, k with stride*o + dilation*k - before = i

    The transpose of `conv` as a linear map of x, for the same w and options: ``(conv(u, w) * x).sum()`` equals
    ``(u * conv_transpose(x, w)).sum()``. Complex weights are not conjugated (`conv_grad_input` does that).

    Parameters
    ----------
    x : array_like
        (N, O, *S) or unbatched (O, *S) in the default layout: what the convolution with these weights would return.
    w : array_like
        Weights of that convolution, (O, C/groups, *K) in the default layout: PyTorch's (in, out/groups, *K).
    bias : array_like, optional
        One value per channel of the result, (C,).
    output_padding : int or tuple of int, optional
        Cells that the result has more than the smallest size whose convolution has the size of x, at the end. Less
        than the larger one of stride and dilation.
    output_shape : int or tuple of int, optional
        The spatial sizes of the result, instead of output_padding.
    stride, padding, dilation, groups, layout, w_layout, boundary, flip
        Those of the convolution; see `conv`. With padding="same" the result has stride times the size of x. A boundary
        rule other than "constant" is transposed too: what it read outside is added where it was read.
    dtype, overflow, out, algorithm, workers
        As in `conv`.

    Returns
    -------
    y : ndarray
        (N, C, *out) in the layout of x, with out = stride*(size - 1) + dilation*(taps - 1) + 1 - before - after +
        output_padding.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `conv`.

    Notes
    -----
    A strided one runs as ordinary convolutions on every stride-th output; no zeros are put between inputs. cval has no
    effect: the constant that padding reads does not depend on the input.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x, w = np.ones({shape}), np.ones({w_shape})
    >>> convx.{name}(x, w, stride=2, padding=1, output_padding=1).shape
    {y_shape}
    """

_LOCAL_DOC = """Locally connected layer: a convolution whose weights differ from output to output.

    y[n, m, o] = bias[m] + sum over c, k of x[n, c, stride*o + dilation*k - before] * w[o, m, c, k]

    Parameters
    ----------
    x : array_like
        As in `conv`.
    w : array_like
        Weights with the output positions in front: (*OUT, O, C/groups, *K) in the default layout, (*OUT, O, *K,
        C/groups) for NHWC, (*OUT, *K, C/groups, O) for HWCN.
    bias : array_like, optional
        One value per output channel, (O,), or one per unit: the shape of y without its batch axis.
    stride, padding, dilation, groups, layout, w_layout, boundary, cval, flip, dtype, overflow, out, algorithm, workers
        As in `conv`.

    Returns
    -------
    y : ndarray
        As in `conv`.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `conv`.

    Examples
    --------
    >>> import numpy as np, convx
    >>> x = np.arange(4.0).reshape(1, 1, 4)
    >>> w = np.arange(6.0).reshape(3, 1, 1, 2)  # three outputs, each with its own two taps
    >>> convx.locally_connected(x, w)
    array([[[ 1.,  8., 23.]]])
    """


_FRONTS = {name: Front(_threads.team) for name in OPERATORS}


def call(name: str, first, second, bias, out, workers, options):
    """An operator by its name: as a call like it was done before, else through the cache of plans."""
    front = _FRONTS[name]
    y = front.ready(first, second, bias, out, workers, options)
    if y is not None:
        return y
    build, full = builder(name, options)
    first = array_of(first, "dy" if name.endswith("_grad_input") else "x")
    second = array_of(second, "dy" if name.endswith("_grad_weight") else "w")
    p = plan_of(build, first, second, out, full)
    return _plan.answer(p, first, second, bias, out, workers, front, options)


def conv(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, *, stride: Counts = 1, padding: Padding = "valid",
         dilation: Counts = 1, groups: SupportsIndex = 1, layout: str | None = None, w_layout: str | None = None,
         boundary: Boundary | tuple[Boundary, ...] = "constant", cval: Number = 0, flip: bool = False,
         dtype: DTypeLike | None = None, overflow: Overflow = "raise", out: Array | None = None,
         algorithm: Algorithm = "auto", workers: SupportsIndex | None = None) -> Array:
    return call("conv", x, w, bias, out, workers, {
        "stride": stride, "padding": padding, "dilation": dilation, "groups": groups, "layout": layout,
        "w_layout": w_layout, "boundary": boundary, "cval": cval, "flip": flip, "dtype": dtype, "overflow": overflow,
        "algorithm": algorithm})


_KEYWORDS = [p for p in signature(conv).parameters.values() if p.kind is Parameter.KEYWORD_ONLY]


def with_keywords(function: Function, leave=()) -> Function:
    """Show conv's keywords in the signature of a function that takes them as **options."""
    own = [p for p in signature(function).parameters.values()
           if p.kind is not Parameter.VAR_KEYWORD and p.name not in ("out", "workers")]
    function.__signature__ = signature(function).replace(
        parameters=own + [p for p in _KEYWORDS if p.name not in leave])
    return function


@with_keywords
def conv_transpose(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, *, output_padding: Counts = 0,
                   output_shape: Counts | None = None, out: Array | None = None, workers: SupportsIndex | None = None,
                   **options: Unpack[LayerOptions]) -> Array:
    options |= {"output_padding": output_padding, "output_shape": output_shape}
    return call("conv_transpose", x, w, bias, out, workers, options)


@with_keywords
def locally_connected(x: ArrayLike, w: ArrayLike, bias: ArrayLike | None = None, *, out: Array | None = None,
                      workers: SupportsIndex | None = None, **options: Unpack[LayerOptions]) -> Array:
    return call("locally_connected", x, w, bias, out, workers, options)


def _of_rank(general: Function, rank: int) -> Function:
    name = f"{general.__name__}{rank}d"

    def ranked(x, w, bias=None, *, out=None, workers=None, **options):
        return call(name, x, w, bias, out, workers, options)

    ranked.__name__ = ranked.__qualname__ = name
    ranked.__signature__ = signature(general)
    return ranked


def _first(general: str, rank: int, what: str) -> str:
    return (f"{what} of an input with {rank} spatial {'axis' if rank == 1 else 'axes'}: `{general}`, which see, with "
            "the rank asserted.")


conv1d, conv2d, conv3d = (_of_rank(conv, rank) for rank in (1, 2, 3))
conv_transpose1d, conv_transpose2d, conv_transpose3d = (_of_rank(conv_transpose, rank) for rank in (1, 2, 3))

conv.__doc__ = _CONV_DOC.format(
    first="Convolution layer of any rank on plain arrays, forward.", rank="any number of (at least one)",
    name="conv", size=48, shape=(1, 3, 4, 4), w_shape=(2, 3, 3, 3), total=5076.0, y_shape=(1, 2, 4, 4))
conv_transpose.__doc__ = _TRANSPOSE_DOC.format(
    first="Transposed convolution layer of any rank, forward.", name="conv_transpose", shape=(1, 4, 8, 8),
    w_shape=(4, 2, 3, 3), y_shape=(1, 2, 16, 16))
locally_connected.__doc__ = _LOCAL_DOC
for _rank, _size, _shape, _weights, _total in ((1, 12, (1, 2, 6), (4, 2, 3), 528.0),
                                               (2, 48, (1, 3, 4, 4), (2, 3, 3, 3), 5076.0),
                                               (3, 54, (1, 2, 3, 3, 3), (1, 2, 3, 3, 3), 1431.0)):
    (conv1d, conv2d, conv3d)[_rank - 1].__doc__ = _CONV_DOC.format(
        first=_first("conv", _rank, "Convolution"), rank=_rank, name=f"conv{_rank}d", size=_size, shape=_shape,
        w_shape=_weights, total=_total, y_shape=(1, _weights[0], *_shape[2:]))
    (conv_transpose1d, conv_transpose2d, conv_transpose3d)[_rank - 1].__doc__ = _TRANSPOSE_DOC.format(
        first=_first("conv_transpose", _rank, "Transposed convolution"), name=f"conv_transpose{_rank}d",
        shape=(1, 4) + (8,) * _rank, w_shape=(4, 2) + (3,) * _rank, y_shape=(1, 2) + (16,) * _rank)
