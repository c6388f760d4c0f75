"""Gradients of the layers (floor 5): role swaps of the forward problem, each again one plan.

For y = conv(x, w) and a real loss with gradient dy with respect to y these are the gradients with respect to x, w and
the bias. Complex arrays follow the convention of JAX's conjugate and PyTorch: the gradient of a real loss L is
dL/dRe + i dL/dIm, so that <conv(x, w), dy> = <x, dx> = <w, dw> with <a, b> = sum a conj(b); the other factor is
conjugated.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from . import _layout
from ._accept import array_of
from ._conv import call, conv, conv_transpose, locally_connected, with_keywords
from ._operators import KEYWORDS, OUTPUT_SIZE, only

if TYPE_CHECKING:
    from typing import SupportsIndex, Unpack

    from numpy.typing import ArrayLike

    from ._typing import Array, Counts, LayerOptions, LinearOptions, Shape

_LIKE = """    stride, padding, dilation, groups, layout, w_layout, boundary, cval, flip{more}
        Those of the forward call, see `{forward}`.
    dtype, overflow, out, algorithm, workers
        As in `conv`, for the gradient.
"""

_INPUT_DOC = """Gradient of `{forward}` with respect to its input.

    {formula}

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the result, of its shape.
    w : array_like
        The weights of the forward call.
    x_shape : tuple of int
        Shape of the input; several inputs can lead to a result of the same size.
{like}
    Returns
    -------
    dx : ndarray
        Of shape x_shape: size(dx) == size(x) always. Complex weights are conjugated.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `conv`.

    Notes
    -----
{notes}

    Examples
    --------
{examples}
    """

_WEIGHT_DOC = """Gradient of `{forward}` with respect to its weights.

    {formula}

    Parameters
    ----------
    x : array_like
        The input of the forward call.
    dy : array_like
        Gradient with respect to the result, of its shape.
    w_shape : tuple of int
        Shape of the weights.
{like}
    Returns
    -------
    dw : ndarray
        Of shape w_shape. A complex input is conjugated.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `conv`.

    Notes
    -----
    Outputs are partitioned over threads and sums are not, so the bits do not depend on `workers`.

    Examples
    --------
{examples}
    """

_BIAS_DOC = """Gradient of `{forward}` with respect to its bias: the sum of dy over batch and space.

    Parameters
    ----------
    dy : array_like
        Gradient with respect to the result.
    layout : str, optional
        That of the forward call. Where dy has no batch but two or more spatial axes, a word without N (CHW) must say
        so.
{unit}
    Returns
    -------
    db : ndarray
        {shape} Integers are summed exactly, in int64 or uint64.

    Raises
    ------
    ValueError, TypeError
        dy has too few axes, or the layout is unknown.
    OverflowError
        A sum of integers does not fit.

    Examples
    --------
{examples}
    """

_BACKWARD_DOC = """The three gradients of `{forward}` at once.

    Parameters
    ----------
    x, w : array_like
        Input and weights of the forward call.
    dy : array_like
        Gradient with respect to its result.
{unit}    stride, padding, dilation, groups, layout, w_layout, boundary, cval, flip, algorithm, workers{more}
        As in the forward call.

    Returns
    -------
    dx, dw, db : ndarray
        Gradients with respect to the input, the weights, and the bias. dx is real where x is, dw where w is.

    Raises
    ------
    ValueError, TypeError, OverflowError
        As in `conv`.

    Examples
    --------
{examples}
    """


@with_keywords
def conv_grad_input(dy: ArrayLike, w: ArrayLike, x_shape: Shape, *,
                    out: Array | None = None, workers: SupportsIndex | None = None,
                    **options: Unpack[LayerOptions]) -> Array:
    return call("conv_grad_input", dy, w, None, out, workers, {"x_shape": x_shape, **options})


@with_keywords
def conv_grad_weight(x: ArrayLike, dy: ArrayLike, w_shape: Shape, *,
                     out: Array | None = None, workers: SupportsIndex | None = None,
                     **options: Unpack[LayerOptions]) -> Array:
    return call("conv_grad_weight", x, dy, None, out, workers, {"w_shape": w_shape, **options})


@with_keywords
def conv_transpose_grad_input(dy: ArrayLike, w: ArrayLike, x_shape: Shape, *, output_padding: Counts = 0,
                              output_shape: Counts | None = None,
                              out: Array | None = None, workers: SupportsIndex | None = None,
                              **options: Unpack[LayerOptions]) -> Array:
    options |= {"output_padding": output_padding, "output_shape": output_shape, "x_shape": x_shape}
    return call("conv_transpose_grad_input", dy, w, None, out, workers, options)


@with_keywords
def conv_transpose_grad_weight(x: ArrayLike, dy: ArrayLike, w_shape: Shape, *, output_padding: Counts = 0,
                               output_shape: Counts | None = None,
                               out: Array | None = None, workers: SupportsIndex | None = None,
                               **options: Unpack[LayerOptions]) -> Array:
    options |= {"output_padding": output_padding, "output_shape": output_shape, "w_shape": w_shape}
    return call("conv_transpose_grad_weight", x, dy, None, out, workers, options)


@with_keywords
def locally_connected_grad_input(dy: ArrayLike, w: ArrayLike, x_shape: Shape, *,
                                 out: Array | None = None, workers: SupportsIndex | None = None,
                                 **options: Unpack[LayerOptions]) -> Array:
    return call("locally_connected_grad_input", dy, w, None, out, workers, {"x_shape": x_shape, **options})


@with_keywords
def locally_connected_grad_weight(x: ArrayLike, dy: ArrayLike, w_shape: Shape, *,
                                  out: Array | None = None, workers: SupportsIndex | None = None,
                                  **options: Unpack[LayerOptions]) -> Array:
    return call("locally_connected_grad_weight", x, dy, None, out, workers, {"w_shape": w_shape, **options})


def _bias(dy, layout, unit: bool, rank: int | None = None):
    """Sums of dy over its batch and, but for units, its spatial axes."""
    dy = array_of(dy, "dy")
    if dy.dtype.kind not in "biufc":
        raise TypeError(f"dy has dtype {dy.dtype}: only bool, integer, float and complex arrays have a sum")
    if dy.ndim < 2:
        raise ValueError(f"dy has {dy.ndim} axes; a channel axis and at least one spatial axis make two")
    batched = _layout.is_batched(layout, dy.ndim) if rank is None else dy.ndim == rank + 2
    rank = dy.ndim - 1 - batched
    n_at, _, s_at = _layout.x_places(_layout.family(layout, rank), rank, batched)
    over = tuple(a for a in ((n_at,) if unit else (n_at, *s_at)) if a is not None)
    if dy.dtype.kind not in "biu":
        wide = np.float32 if dy.dtype == np.float16 else None
        with np.errstate(all="ignore"):  # infinities and nan are values like others here
            return np.asarray(dy.sum(axis=over, dtype=wide), dy.dtype.newbyteorder("="))
    wide = np.uint64 if dy.dtype.kind == "u" else np.int64
    limits = np.iinfo(wide)
    count = int(np.prod([dy.shape[a] for a in over], dtype=object))
    most = max(abs(int(dy.min())), abs(int(dy.max()))) if dy.size else 0
    if most * count <= limits.max:
        return np.asarray(dy.sum(axis=over, dtype=wide))
    sums = np.asarray(dy.astype(object).sum(axis=over))
    if sums.min() < limits.min or sums.max() > limits.max:
        raise OverflowError(f"sums from {sums.min()} to {sums.max()} do not fit {np.dtype(wide)}")
    return sums.astype(wide)


def conv_grad_bias(dy: ArrayLike, *, layout: str | None = None) -> Array:
    return _bias(dy, layout, False)


def conv_transpose_grad_bias(dy: ArrayLike, *, layout: str | None = None) -> Array:
    return _bias(dy, layout, False)


def locally_connected_grad_bias(dy: ArrayLike, *, layout: str | None = None, per_unit: bool = False) -> Array:
    return _bias(dy, layout, bool(per_unit))


_LEFT = frozenset({"out", "dtype", "overflow"})  # what the three gradients at once do not take


def _real_where(gradient, operand):
    return gradient.real.copy() if gradient.dtype.kind == "c" and operand.dtype.kind != "c" else gradient


def _backward(name, x, w, dy, workers, options, per_unit=False):
    only(f"{name}_backward", options, (KEYWORDS | OUTPUT_SIZE if name == "conv_transpose" else KEYWORDS) - _LEFT)
    x, w, dy = map(array_of, (x, w, dy), ("x", "w", "dy"))
    dx = call(f"{name}_grad_input", dy, w, None, None, workers, {"x_shape": x.shape, **options})
    dw = call(f"{name}_grad_weight", x, dy, None, None, workers, {"w_shape": w.shape, **options})
    rank = (w.ndim - 2) // (2 if name == "locally_connected" else 1)
    db = _bias(dy, options.get("layout"), per_unit, rank)
    return _real_where(dx, x), _real_where(dw, w), db


def conv_backward(x: ArrayLike, w: ArrayLike, dy: ArrayLike, *, workers: SupportsIndex | None = None,
                  **options: Unpack[LinearOptions]) -> tuple[Array, Array, Array]:
    return _backward("conv", x, w, dy, workers, options)


def conv_transpose_backward(x: ArrayLike, w: ArrayLike, dy: ArrayLike, *, output_padding: Counts = 0,
                            output_shape: Counts | None = None, workers: SupportsIndex | None = None,
                            **options: Unpack[LinearOptions]) -> tuple[Array, Array, Array]:
    options |= {"output_padding": output_padding, "output_shape": output_shape}
    return _backward("conv_transpose", x, w, dy, workers, options)


def locally_connected_backward(x: ArrayLike, w: ArrayLike, dy: ArrayLike, *, per_unit: bool = False,
                               workers: SupportsIndex | None = None,
                               **options: Unpack[LinearOptions]) -> tuple[Array, Array, Array]:
    return _backward("locally_connected", x, w, dy, workers, options, per_unit)


for _function in (conv_backward, conv_transpose_backward, locally_connected_backward):
    with_keywords(_function, leave=_LEFT)

# The documentation ------------------------------------------------------------------------------------------------

_SUMS = {
    "conv": ("dx[n, c, i] = sum of dy[n, m, o] * conj(w[m, c, k]) over m, o, k with stride*o + dilation*k - before = i",
             "dw[m, c, k] = sum over n, o of conj(x[n, c, stride*o + dilation*k - before]) * dy[n, m, o]"),
    "conv_transpose": (
        "dx[n, m, o] = sum over c, k of dy[n, c, stride*o + dilation*k - before] * conj(w[m, c, k])",
        "dw[m, c, k] = sum over n, o of dy[n, c, stride*o + dilation*k - before] * conj(x[n, m, o])"),
    "locally_connected": (
        "dx[n, c, i] = sum of dy[n, m, o] * conj(w[o, m, c, k]) over m, o, k with stride*o + dilation*k - before = i",
        "dw[o, m, c, k] = sum over n of conj(x[n, c, stride*o + dilation*k - before]) * dy[n, m, o]"),
}
_NOTES = {
    "conv": """    At stride 1 and without padding it is the full convolution of dy with the turned kernel. Strides run
    as ordinary convolutions on every stride-th input: no copy of dy with holes. What a boundary rule read outside the
    array is added where it was read.""",
    "conv_transpose": "    The gradient of a transposed convolution is the convolution itself.",
    "locally_connected": "    As `conv_grad_input`, with the weights of each output.",
}
_ARRAYS = {
    "conv": ("(1, 2, 6)", "(4, 2, 3)", "(1, 4, 4)"),
    "conv_transpose": ("(1, 4, 4)", "(4, 2, 3)", "(1, 2, 6)"),
    "locally_connected": ("(1, 2, 6)", "(4, 4, 2, 3)", "(1, 4, 4)"),
}
_UNIT = """    per_unit : bool, optional
        Whether there is a bias per output unit, not per channel: the sum is over the batch only.
"""


def _document(forward) -> None:
    name = forward.__name__
    x, w, y = _ARRAYS[name]
    more = ", output_padding, output_shape" if name == "conv_transpose" else ""
    unit = _UNIT if name == "locally_connected" else ""
    like = _LIKE.format(forward=name, more=more)
    start = "    >>> import numpy as np, convx\n"
    found = globals()
    found[f"{name}_grad_input"].__doc__ = _INPUT_DOC.format(
        forward=name, formula=_SUMS[name][0], like=like, notes=_NOTES[name],
        examples=f"{start}    >>> convx.{name}_grad_input(np.ones({y}), np.ones({w}), {x}).shape\n    {x}")
    found[f"{name}_grad_weight"].__doc__ = _WEIGHT_DOC.format(
        forward=name, formula=_SUMS[name][1], like=like,
        examples=f"{start}    >>> convx.{name}_grad_weight(np.ones({x}), np.ones({y}), {w}).shape\n    {w}")
    found[f"{name}_grad_bias"].__doc__ = _BIAS_DOC.format(
        forward=name, unit=unit, shape="(O,), or with per_unit the shape of dy without its batch." if unit else "(O,).",
        examples=f"{start}    >>> convx.{name}_grad_bias(np.ones((2, 3, 4, 5)))\n    array([40., 40., 40.])")
    found[f"{name}_backward"].__doc__ = _BACKWARD_DOC.format(
        forward=name, unit=unit, more=more,
        examples=f"{start}    >>> x, w, dy = np.ones({x}), np.ones({w}), np.ones({y})\n"
                 f"    >>> dx, dw, db = convx.{name}_backward(x, w, dy)\n"
                 f"    >>> dx.shape == x.shape, dw.shape == w.shape, db.shape\n    (True, True, ({y.split(', ')[1]},))")


for _forward in (conv, conv_transpose, locally_connected):
    _document(_forward)
