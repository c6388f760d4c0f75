"""What a network costs, and what an output sees (floor 7)."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING

import numpy as np

from .._arguments import per_axis
from ._layer import Layer
from ._layers import Dense, Flatten, Reorg
from ._network import Join, Sequential
from ._windowed import _Pool, _Windowed

if TYPE_CHECKING:
    from numpy.typing import DTypeLike

    from .._typing import Counts, Shape

WORDS = {"Conv": "conv", "ConvTranspose": "deconv", "LocallyConnected": "local", "MaxPool": "max", "AvgPool": "avg",
         "Dense": "dense"}
HEAD = ("", "layer", "filters", "size", "input", "", "output", "weights", "multiply-adds", "result", "algorithm",
        "dense")
SIDES = "><><><<>>>>>"  # how the columns stand


@dataclass(frozen=True)
class Row:
    """One layer: what it is, what goes in and out, what it costs for one image of the batch."""

    layer: str
    filters: int | None
    size: str  # taps / stride
    input: tuple[int, ...]  # without the batch: H, W, C
    output: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    algorithm: str  # what convx picks for the batch; "" where there is nothing to pick
    dense_parameters: int  # weights of a fully connected layer between the same input and output; 0: not a window


@dataclass(frozen=True)
class Summary:
    """The table of `summary`: `rows`, totals, and `str()` as text."""

    rows: tuple[Row, ...]
    dtype: np.dtype

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows)

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def activation_bytes(self) -> int:
        return sum(row.activation_bytes for row in self.rows)

    @property
    def dense_parameters(self) -> int:
        """Weights if every layer with windows and weights were fully connected; dense layers count as they are."""
        return sum(row.dense_parameters or row.parameters for row in self.rows)

    def __str__(self):
        lines = _table([HEAD, *(_cells(i, row) for i, row in enumerate(self.rows))])
        size = self.dtype.itemsize
        return "\n".join([
            *lines, "",
            f"weights          {self.parameters:,} ({_bytes(self.parameters * size)} of {self.dtype})",
            f"multiply-adds    {self.multiply_adds:,} for one image",
            f"results          {_bytes(self.activation_bytes)} for one image",
            f"fully connected  {self.dense_parameters:,} weights ({_bytes(self.dense_parameters * size)}) would be "
            f"needed instead: {self.dense_parameters / max(self.parameters, 1):,.0f} times as many",
        ])

    __repr__ = __str__


def _cells(i: int, row: Row) -> tuple[str, ...]:
    filters = "" if row.filters is None else str(row.filters)
    return (str(i), row.layer, filters, row.size, _shape(row.input), "->", _shape(row.output), _short(row.parameters),
            _short(row.multiply_adds), _bytes(row.activation_bytes), row.algorithm, _short(row.dense_parameters))


def _table(lines) -> list[str]:
    """Lines of cells as text, every column as wide as its widest cell."""
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return ["  ".join(f"{cell:{side}{width}}" for cell, side, width in zip(line, SIDES, widths, strict=True)).rstrip()
            for line in lines]


def _shape(shape) -> str:
    if len(shape) < 2:
        return " x ".join(map(str, shape))
    return " x ".join(f"{size:>3}" for size in shape[:-1]) + f" x{shape[-1]:>4}"


def _short(number: float) -> str:
    """Four digits and a thousand's letter; nothing for 0."""
    power = 0 if number < 1000 else min(int(np.log10(number) / 3), 4)
    return f"{number / 1000**power:.4g}{('', ' k', ' M', ' G', ' T')[power]}" if number else ""


def _bytes(number: float) -> str:
    power = 0 if number < 1000 else min(int(np.log10(number) / 3), 4)
    return f"{number / 1000**power:.4g} {('', 'k', 'M', 'G', 'T')[power]}B"


def _places(layer, ndim: int):
    n_at, c_at, s_at = layer._places(ndim)
    return n_at, (*s_at, c_at)


def _leaves(layer, given):
    """Every layer inside with the shape it takes and gives, joins with a list of shapes."""
    if not isinstance(layer, Sequential):
        yield layer, given, layer.output_shape(given)
        return
    for inner, taken, _ in layer.walk(given):
        yield from _leaves(inner, taken)


def _work(layer, given, result) -> int:
    """Multiply-adds: one for each output (of a transposed convolution: input), channel of its group and tap."""
    if isinstance(layer, Dense):
        return prod(layer.shapes(given)["w"]) * given[0]
    if not isinstance(layer, _Windowed):
        return 0
    w_shape = layer.shapes(given)["w"]
    if layer.operator == "conv_transpose":
        return prod(given) * prod(w_shape) // given[layer._places(len(given))[1]]
    w_shape = w_shape[len(w_shape) - len(given):]
    return prod(result) * prod(w_shape) // layer.filters


def _size(layer, given) -> str:
    if isinstance(layer, Reorg):
        return f"/ {layer.step}"
    if not isinstance(layer, (_Windowed, _Pool)):
        return ""
    if getattr(layer, "window", None) == "global":
        return "global"
    axes = layer.axes(given)
    taps, spread = " x ".join(str(axis.taps) for axis in axes), _once(abs(axis.dilation) for axis in axes)
    return f"{taps} / {_once(max(axis.stride, axis.base) for axis in axes)}" + (f" d{spread}" if spread != "1" else "")


def _once(numbers) -> str:
    """One number if all are equal, else each."""
    numbers = [str(number) for number in numbers]
    return numbers[0] if len(set(numbers)) == 1 else "x".join(numbers)


def _row(layer, sources, given, result, dtype) -> Row:
    """One layer of the network; a network in its place is summed up and named after its first layer with weights."""
    first = given[0] if isinstance(layer, Join) else given
    leaves = list(_leaves(layer, given))
    head = next((leaf for leaf in leaves if isinstance(leaf[0], (_Windowed, Dense, _Pool))), leaves[0])
    main, taken, made = head
    name = WORDS.get(type(main).__name__, type(main).__name__.lower())
    algorithm = main.explain(taken, dtype).chosen if isinstance(main, _Windowed) else ""
    size = " ".join(map(str, sources)) if isinstance(layer, Join) else _size(main, taken)
    n_at, order = _places(main, len(first))
    _, r_order = _places(main, len(result))
    given_shape, y_shape = tuple(first[a] for a in order), tuple(result[a] for a in r_order)
    parameters = sum(prod(shape) for leaf, taken, _ in leaves
                     for array, shape in leaf.shapes(taken).items() if array in leaf.trained)
    dense = prod(given_shape) * prod(y_shape) if isinstance(main, _Windowed) else 0
    return Row(
        layer=getattr(layer, "name", None) or name,
        filters=made[main._places(len(made))[1]] if isinstance(main, (_Windowed, Dense)) else None,
        size=size, input=given_shape, output=y_shape, parameters=parameters,
        multiply_adds=sum(_work(*leaf) for leaf in leaves) // max(first[n_at], 1),
        activation_bytes=prod(y_shape) * dtype.itemsize, algorithm=algorithm, dense_parameters=dense)


def summary(net: Layer, input_shape: Shape, dtype: DTypeLike = np.float32) -> Summary:
    """The table of a network, layer by layer, in the manner of darknet; no weights are needed.

    Parameters
    ----------
    net : Layer
        Usually a `Sequential`. A `Sequential` inside it is one row.
    input_shape : tuple of int
        With its batch axis; the numbers are those of one image.
    dtype : dtype, optional
        Of inputs and weights.

    Returns
    -------
    table : Summary
        Print it, or read its `rows` and totals. Besides the shapes there are, of every layer, the trained weights, the
        multiply-adds, the bytes of its result, the algorithm that convx picks for the batch of input_shape, and the
        weights that a fully connected layer between the same two arrays would have.

    Examples
    --------
    >>> from convx import nn
    >>> net = nn.Sequential(nn.Conv(32, 3, padding="same"), nn.MaxPool(2))
    >>> table = nn.summary(net, (1, 3, 416, 416))
    >>> table.rows[0].output, table.rows[1].output, table.parameters
    ((416, 416, 32), (208, 208, 32), 896)
    >>> table.multiply_adds, table.dense_parameters
    (149520384, 2875044397056)
    """
    net = net if isinstance(net, Sequential) else Sequential(net)
    dtype = np.dtype(dtype)
    rows = (_row(layer, sources, given, result, dtype)
            for sources, (layer, given, result) in zip(net.sources, net.walk(input_shape), strict=True))
    return Summary(tuple(rows), dtype)


# Receptive fields -----------------------------------------------------------------------------------------------------

def receptive_field(net: Layer, input_shape: Shape, at: Counts | None = None, *,
                    clip: bool = False) -> tuple[tuple[int, int], ...]:
    """The part of the input that one position of the output can see.

    Parameters
    ----------
    net : Layer
    input_shape : tuple of int
        With its batch axis.
    at : int or tuple of int, optional
        The position in the output, one index per spatial axis or one for all; the one in the middle by default.
    clip : bool, optional
        Whether to cut the part to the input. Without (default), its size is that of the window: for inputs that are
        large enough it does not depend on the position.

    Returns
    -------
    parts : tuple of (start, stop)
        Per spatial axis of the input. After a `Flatten` every output sees all of its input.

    Raises
    ------
    ValueError, TypeError
        There is no such position.

    Notes
    -----
    It is the hull of what is seen, walked backwards through the index relations of the layers. Padding counts as cells
    outside; what another boundary rule than "constant" reads there is not followed to where it reads.

    Examples
    --------
    >>> from convx import nn
    >>> net = nn.Sequential(nn.Conv(1, 3), nn.MaxPool(2), nn.Conv(1, 3))
    >>> nn.receptive_field(net, (1, 1, 20, 20), at=(0, 0))
    ((0, 8), (0, 8))
    >>> nn.receptive_field(net, (1, 1, 20, 20), at=(1, 2))
    ((2, 10), (4, 12))
    """
    net = net if isinstance(net, Sequential) else Sequential(net)
    y_shape = net.output_shape(input_shape)
    sizes = [y_shape[s] for s in net._places(len(y_shape))[2]]
    at = tuple(size // 2 for size in sizes) if at is None else per_axis(at, len(sizes), "at", 0)
    if any(i >= size for i, size in zip(at, sizes, strict=True)):
        raise ValueError(f"at={at} is no position of an output with spatial sizes {tuple(sizes)}")
    return tuple((low, high + 1) for low, high in _seen(net, tuple(input_shape), [(i, i) for i in at], clip))


def _seen(net: Sequential, x_shape, parts, clip: bool):
    """The (first, last) cells of x that the (first, last) outputs of the network see."""
    wanted = {len(net) - 1: parts}
    steps = list(net.walk(x_shape))
    for i in reversed(range(len(net))):
        layer, given, _ = steps[i]
        if i not in wanted:
            continue
        parts = wanted.pop(i)
        for source, shape in zip(net.sources[i], given if isinstance(layer, Join) else [given], strict=True):
            found = _step(layer, shape, parts, clip)
            before = wanted.get(source, found)
            wanted[source] = [(min(a[0], b[0]), max(a[1], b[1])) for a, b in zip(before, found, strict=True)]
    return wanted[-1]


def _step(layer, x_shape, parts, clip: bool):
    sizes = [x_shape[s] for s in layer._places(len(x_shape))[2]]
    if isinstance(layer, Sequential):
        return _seen(layer, x_shape, parts, clip)
    if isinstance(layer, Flatten):
        return [(0, size - 1) for size in sizes]
    if isinstance(layer, Reorg):
        return [(low * layer.step, high * layer.step + layer.step - 1) for low, high in parts]
    if not isinstance(layer, (_Windowed, _Pool)):
        return parts
    found = []
    for axis, (low, high), size in zip(layer.axes(x_shape), parts, sizes, strict=True):
        reach = sorted((0, axis.dilation * (axis.taps - 1)))
        first = -((axis.offset - axis.stride * low - reach[0]) // axis.base)  # rounded up
        last = (axis.stride * high + reach[1] - axis.offset) // axis.base
        found.append((min(max(first, 0), size - 1), min(max(last, 0), size - 1)) if clip else (first, last))
    return found
