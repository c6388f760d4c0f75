"""The operators: from arguments to a checked `Problem` (floor 5), with layouts resolved and all errors raised.

Everything is the forward convolution of a layer and its role swaps:

    conv               forward                     its gradients: swap_xy, swap_wy
    conv_transpose     swap_xy                     forward, swap_wy
    locally_connected  forward, w along outputs    swap_xy, swap_wy
"""

from __future__ import annotations

from dataclasses import replace

from . import _layout
from ._arguments import (
    LIMIT,
    boundaries,
    checked_shape,
    constant,
    numeric,
    overflow_word,
    paddings,
    per_axis,
    result_dtype,
    shape_of,
    whole,
)
from ._geometry import Geometry, forward_axis, transposed_axis
from ._problem import Problem
from ._signal import signal_problem

NORMWISE = ("winograd", "thin_winograd", "stencil_winograd", "fft")  # what auto may take for layers


def _rank_of(x_shape, w_shape, rank, local: bool, name: str) -> int:
    """The number of spatial axes that the weights have; what conv1d and its like assert is `rank`."""
    axes = len(w_shape) - 2
    if local and axes % 2:
        raise ValueError(f"w has {len(w_shape)} axes; two channel axes, and for each spatial axis the outputs and the "
                         "taps, make an even number")
    found = axes // 2 if local else axes
    if found < 1:
        raise ValueError(f"w has {len(w_shape)} axes; an output and an input channel axis and at least one "
                         f"spatial axis make {'four' if local else 'three'}")
    if rank is not None and found != rank:
        raise ValueError(f"w has {len(w_shape)} axes, {name.format(rank)} needs {rank + 2}")
    if len(x_shape) not in (found + 1, found + 2):
        front = f" ({len(w_shape)} axes with the outputs in front)" if local else ""
        raise ValueError(f"x has {len(x_shape)} axes; w has {found} spatial axes{front}, so x needs {found + 2}, "
                         f"or {found + 1} without a batch")
    return found


def _axes(sizes, taps, rank, stride, dilation, padding, boundary, flip, make):
    """One checked axis per spatial axis: make(size, taps, stride, dilation, padding, boundary, flip, name)."""
    strides, dilations = per_axis(stride, rank, "stride", 1), per_axis(dilation, rank, "dilation", 1)
    edges = boundaries(boundary, rank)
    rows = zip(sizes, taps, strides, dilations, paddings(padding, rank), edges, strict=True)
    axes = tuple(make(*row, bool(flip), f"spatial axis {a}") for a, row in enumerate(rows))
    for a, axis in enumerate(axes):
        for name, number in (("dilation", axis.dilation * (axis.taps - 1)), ("padding", axis.offset)):
            if abs(number) >= LIMIT:
                raise ValueError(f"spatial axis {a}: {name} reaches over {abs(number)} samples, too many for an index")
    return axes


def conv_problem(x_shape, x_dtype, w_shape, w_dtype, out_dtype, *, rank=None, stride=1, padding="valid", dilation=1,
                 groups=1, layout=None, w_layout=None, boundary="constant", cval=0, flip=False, dtype=None,
                 overflow="raise", algorithm="auto", local=False, _make=forward_axis, _name="conv{}d") -> Problem:
    """The problem of `conv`. rank: what conv1d, conv2d, conv3d assert; local: weights differ from output to output.

    With another _make the spatial numbers of x_shape are what that makes axes from, and channels are not compared.
    """
    x_dtype, w_dtype = numeric(x_dtype, "x"), numeric(w_dtype, "w")
    rank = _rank_of(x_shape, w_shape, rank, local, _name)
    name = _layout.family(layout, rank)
    n_at, c_at, s_at = _layout.x_places(name, rank, len(x_shape) == rank + 2)
    before = rank if local else 0  # w's axes of outputs come first
    o_at, i_at, k_at = _layout.w_places(name, w_layout, rank)
    o_at, i_at, k_at = o_at + before, i_at + before, tuple(k + before for k in k_at)
    groups = whole(groups, "groups", 1)
    channels, c, outputs = x_shape[c_at], w_shape[i_at], w_shape[o_at]
    if _make is not forward_axis:
        channels = groups * c
    if channels != groups * c:
        raise ValueError(f"x has {channels} channels; w has {c} per group and groups={groups} needs {groups * c}")
    if outputs % groups:
        raise ValueError(f"w has {outputs} output channels, which groups={groups} does not divide")
    for k in k_at:
        if w_shape[k] < 1:
            raise ValueError(f"w has shape {tuple(w_shape)}: every spatial axis needs at least one tap")
    axes = _axes([x_shape[s] for s in s_at], [w_shape[k] for k in k_at], rank, stride, dilation, padding, boundary,
                 flip, _make)
    if local and tuple(w_shape[:rank]) != (found := tuple(axis.out for axis in axes)):
        raise ValueError(f"w has weights for {tuple(w_shape[:rank])} outputs, this convolution has {found}")
    m = outputs // groups
    y_dtype = result_dtype(x_dtype, w_dtype, dtype, out_dtype)
    x_shape, y_shape = list(x_shape), list(x_shape)
    x_shape[c_at], y_shape[c_at] = channels, outputs
    for s, axis in zip(s_at, axes, strict=True):
        x_shape[s], y_shape[s] = axis.size, axis.out
    return Problem(
        geometry=Geometry(1 if n_at is None else x_shape[n_at], groups, c, m, axes),
        x_map=((n_at, 1), (c_at, c), (c_at, 1), *((s, 1) for s in s_at)),
        w_map=((o_at, m), (o_at, 1), (i_at, 1), *((k, 1) for k in k_at)),
        y_map=((n_at, 1), (c_at, m), (c_at, 1), *((s, 1) for s in s_at)),
        w_out_map=tuple((a, 1) for a in range(rank)) if local else (),
        x_shape=tuple(x_shape), w_shape=tuple(w_shape), y_shape=checked_shape(y_shape, y_dtype.itemsize),
        x_dtype=x_dtype, w_dtype=w_dtype, y_dtype=y_dtype,
        cval=constant(cval, tuple(axis.boundary for axis in axes), y_dtype), overflow=overflow_word(overflow),
        algorithm=algorithm, normwise=NORMWISE, bias="unit" if local else "channel",
    )


def transposed_problem(x_shape, x_dtype, w_shape, w_dtype, out_dtype, *, output_padding=0, output_shape=None,
                       **options) -> Problem:
    """The forward problem whose swap is conv_transpose(x, w): x has the place of its y."""
    rank = _rank_of(x_shape, w_shape, options.get("rank"), False, "conv_transpose{}d")
    extra = per_axis(output_padding, rank, "output_padding", 0)
    wanted = (None,) * rank if output_shape is None else per_axis(output_shape, rank, "output_shape", 0)
    if output_shape is not None and any(extra):
        raise ValueError(f"output_padding={output_padding} and output_shape={output_shape}: give one of the two")
    numbers = iter(zip(extra, wanted, strict=True))

    def make(*row):
        more, size = next(numbers)
        return transposed_axis(*row, extra=more, size=size)

    forward = conv_problem(x_shape, x_dtype, w_shape, w_dtype, out_dtype, _make=make, _name="conv_transpose{}d",
                           **options)
    if tuple(x_shape) != forward.y_shape:  # only channels can differ
        at = forward.y_map[2][0]
        raise ValueError(f"x has {x_shape[at]} channels; w is of a convolution with {forward.y_shape[at]} output "
                         "channels, which conv_transpose takes as its input")
    shape = checked_shape(forward.x_shape, forward.y_dtype.itemsize)
    return replace(forward, x_shape=shape)


def conv_transpose_problem(*operands, **options) -> Problem:
    return transposed_problem(*operands, **options).swap_xy()


def _expect(shape, name: str, wanted) -> None:
    if tuple(shape) != tuple(wanted):
        raise ValueError(f"{name} has shape {tuple(shape)}, the result of this operator has {tuple(wanted)}")


def grad_input_problem(dy_shape, dy_dtype, w_shape, w_dtype, out_dtype, *, x_shape, **options) -> Problem:
    """dx of conv or locally_connected: dy is laid where y was."""
    numeric(dy_dtype, "dy")
    forward = conv_problem(shape_of(x_shape, "x_shape"), dy_dtype, w_shape, w_dtype, out_dtype, **options)
    _expect(dy_shape, "dy", forward.y_shape)
    checked_shape(forward.x_shape, forward.y_dtype.itemsize)
    return replace(forward.swap_xy(), names=("dy", "w"), conjugate="w", bias="")


def grad_weight_problem(x_shape, x_dtype, dy_shape, dy_dtype, out_dtype, *, w_shape, **options) -> Problem:
    """dw of conv or locally_connected: dy takes the place of w."""
    numeric(dy_dtype, "dy")
    w_shape = shape_of(w_shape, "w_shape")
    forward = conv_problem(x_shape, x_dtype, w_shape, dy_dtype, out_dtype, **options)
    _expect(dy_shape, "dy", forward.y_shape)
    checked_shape(w_shape, forward.y_dtype.itemsize)
    return replace(forward.swap_wy(), names=("x", "dy"), conjugate="x", bias="", cval=forward.cval.conjugate())


def transpose_grad_input_problem(dy_shape, dy_dtype, w_shape, w_dtype, out_dtype, *, x_shape, **options) -> Problem:
    """dx of conv_transpose: the forward convolution of dy."""
    numeric(dy_dtype, "dy")
    forward = transposed_problem(shape_of(x_shape, "x_shape"), dy_dtype, w_shape, w_dtype, out_dtype, **options)
    _expect(dy_shape, "dy", forward.x_shape)
    return replace(forward, names=("dy", "w"), conjugate="w", bias="", cval=0)


def transpose_grad_weight_problem(x_shape, x_dtype, dy_shape, dy_dtype, out_dtype, *, w_shape, **options) -> Problem:
    """dw of conv_transpose: dy is what the forward convolution reads, x takes the place of w."""
    numeric(dy_dtype, "dy")
    w_shape = shape_of(w_shape, "w_shape")
    forward = transposed_problem(x_shape, x_dtype, w_shape, dy_dtype, out_dtype, **options)
    _expect(dy_shape, "dy", forward.x_shape)
    checked_shape(w_shape, forward.y_dtype.itemsize)
    swapped = replace(forward.swap_wy(), x_dtype=forward.w_dtype, w_dtype=forward.x_dtype)
    return replace(swapped, names=("x", "dy"), swap=True, conjugate="w", bias="", cval=0)


def _family(forward, grad_input, grad_weight, name: str, fixed: dict, ranks: bool, more: frozenset) -> dict:
    """The rows of one operator: itself, its ranks, its two gradients."""
    known = KEYWORDS | more
    rows = {name: (forward, fixed, known, None)}
    if ranks:
        rows |= {f"{name}{rank}d": (forward, {**fixed, "rank": rank}, known, None) for rank in (1, 2, 3)}
    return rows | {f"{name}_grad_input": (grad_input, fixed, known | {"x_shape"}, "x_shape"),
                   f"{name}_grad_weight": (grad_weight, fixed, known | {"w_shape"}, "w_shape")}


KEYWORDS = frozenset({"stride", "padding", "dilation", "groups", "layout", "w_layout", "boundary", "cval", "flip",
                      "dtype", "overflow", "algorithm"})
OUTPUT_SIZE = frozenset({"output_padding", "output_shape"})
_SIGNAL = frozenset({"mode", "axes", "boundary", "cval", "alignment", "dtype", "overflow", "algorithm", "sums",
                     "divisor", "offset"})

# name: what makes its problem, with which fixed options, the keywords of the user, the one that cannot be left out
OPERATORS = {
    **_family(conv_problem, grad_input_problem, grad_weight_problem, "conv", {}, True, frozenset()),
    **_family(conv_transpose_problem, transpose_grad_input_problem, transpose_grad_weight_problem, "conv_transpose", {},
              True, OUTPUT_SIZE),
    **_family(conv_problem, grad_input_problem, grad_weight_problem, "locally_connected", {"local": True}, False,
              frozenset()),
    "convolve": (signal_problem, {"correlates": False}, _SIGNAL, None),
    "correlate": (signal_problem, {"correlates": True}, _SIGNAL, None),
}


def only(name: str, options, known) -> None:
    """Raise what Python raises for a keyword that a function does not have."""
    if not known.issuperset(options):
        raise TypeError(f"{name}() got an unexpected keyword argument {next(o for o in options if o not in known)!r}")


def builder(name: str, options: dict):
    """What makes the problem of an operator, and all options for it."""
    build, fixed, known, needed = OPERATORS[name]
    only(name, options, known)
    if needed and needed not in options:
        raise TypeError(f"{name} needs {needed}")
    return build, {**fixed, **options}
