"""Layers with windows: convolutions and pooling (floor 7). The computing is convx's, by its public functions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import convx

from .._arguments import whole
from ._layer import Layer, batched, places

if TYPE_CHECKING:
    from typing import Any, Literal, SupportsFloat, SupportsIndex

    from numpy.typing import DTypeLike

    from .._explanation import Explanation
    from .._geometry import Axis
    from .._typing import Algorithm, Boundary, Counts, Padding, Shape, Window


def like(shape, dtype=np.float32) -> np.ndarray:
    """An array of this shape and dtype that takes no memory: plans look at nothing else."""
    return np.broadcast_to(np.zeros((), dtype), tuple(shape))


def _each(value, rank: int, name: str) -> tuple[int, ...]:
    values = tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value,) * rank
    if len(values) != rank:
        raise ValueError(f"{name}={value} has {len(values)} entries, x has {rank} spatial axes")
    return tuple(whole(v, name, 0) for v in values)


class _Windowed(Layer):
    """What Conv, ConvTranspose and LocallyConnected share."""

    operator = "conv"

    def __init__(self, filters: SupportsIndex, taps: Counts, *, stride: Counts = 1, padding: Padding = "valid",
                 dilation: Counts = 1, groups: SupportsIndex = 1, bias: bool | str = True, layout: str | None = None,
                 w_layout: str | None = None, boundary: Boundary | tuple[Boundary, ...] = "constant",
                 flip: bool = False, algorithm: Algorithm = "auto", workers: SupportsIndex | None = None) -> None:
        self.filters, self.taps, self.layout = whole(filters, "filters", 1), taps, batched(layout)
        self.options = {"stride": stride, "padding": padding, "dilation": dilation,
                        "groups": whole(groups, "groups", 1), "w_layout": w_layout, "boundary": boundary, "flip": flip,
                        "algorithm": algorithm}
        self.workers = workers
        self.bias = bias
        self.trained = ("w", "b") if bias else ("w",)
        self.w = self.b = None

    def _call(self):
        return {**self.options, "layout": self.layout}

    def _w_shape(self, x_shape) -> tuple[int, ...]:
        rank = len(x_shape) - 2
        if rank < 1:
            raise ValueError(f"x has shape {tuple(x_shape)}: batch, channels and at least one spatial axis are needed")
        _, c_at, _ = places(self.layout, len(x_shape))
        channels, groups = x_shape[c_at], self.options["groups"]
        if channels % groups or self.filters % groups:
            raise ValueError(f"groups={groups} does not divide {channels} channels and {self.filters} filters")
        outer, inner = self.filters, channels // groups
        if self.operator == "conv_transpose":
            outer, inner = channels, self.filters // groups
        o_at, i_at, k_at = convx.w_axes(self.layout, rank, self.options["w_layout"])
        shape = {o_at: outer, i_at: inner} | dict(zip(k_at, _each(self.taps, rank, "taps"), strict=True))
        return tuple(shape[a] for a in range(rank + 2))

    def _planned(self, x_shape, dtype=np.float32):
        """The plan for inputs of this shape."""
        shapes = self.shapes(x_shape)
        return convx.plan(self.operator, like(x_shape, dtype), like(shapes["w"], dtype), **self._call())

    def axes(self, x_shape: Shape) -> tuple[Axis, ...]:
        """The index relation of each spatial axis, base*i = stride*o + dilation*k - offset, as a plan states it."""
        return self._planned(x_shape).geometry.axes

    def explain(self, x_shape: Shape, dtype: DTypeLike = np.float32) -> Explanation:
        """`convx.explain` of the forward call for inputs of this shape and dtype."""
        return convx.explain(self.operator, like(x_shape, dtype), like(self.shapes(x_shape)["w"], dtype),
                             **self._call())

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        return self._planned(x_shape).y_shape

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"w": self._w_shape(x_shape)} | ({"b": (self.filters,)} if self.bias else {})

    def _start(self, name, shape, rng, dtype):
        if name != "w":
            return np.zeros(shape, dtype)
        o_at, _, k_at = convx.w_axes(self.layout, len(shape) - 2, self.options["w_layout"])
        inputs = np.prod([size for a, size in enumerate(shape) if a != o_at])
        if self.operator == "conv_transpose":  # of all taps, those that meet an input
            inputs = shape[o_at] * np.prod([shape[k] for k in k_at]) / np.prod(
                _each(self.options["stride"], len(k_at), "stride"))
        return _normal(rng, shape, inputs, dtype)

    def _apply(self, x, training, keep):
        y = getattr(convx, self.operator)(x, self.w, self.b, workers=self.workers, **self._call())
        return y, (x, self.w)

    def _gradients(self, dy, seen):
        x, w = seen
        backward = getattr(convx, f"{self.operator}_backward")
        found = backward(x, w, dy, workers=self.workers, **self._call(), **self._bias_kind())
        return found if self.bias else found[:2]

    def _input_gradient(self, dy, seen):
        x, w = seen
        return getattr(convx, f"{self.operator}_grad_input")(dy, w, x.shape, workers=self.workers, **self._call())

    def _bias_kind(self) -> dict:
        return {}


def _normal(rng, shape, inputs, dtype):
    """Normal numbers with variance 2 / inputs (He and others 2015); complex ones have it over both parts."""
    scale = np.sqrt(2 / max(float(inputs), 1))
    if dtype.kind == "c":
        parts = rng.standard_normal((2, *shape)) * (scale / np.sqrt(2))
        return (parts[0] + 1j * parts[1]).astype(dtype)
    if dtype == np.float32:
        return rng.standard_normal(shape, dtype=np.float32) * np.float32(scale)
    return (rng.standard_normal(shape) * scale).astype(dtype)


class Conv(_Windowed):
    """Convolution layer, `convx.conv` with weights of its own.

    Parameters
    ----------
    filters : int
        Output channels.
    taps : int or tuple of int
        Size of the kernel, for all spatial axes or one per axis.
    stride, padding, dilation, groups, layout, w_layout, boundary, flip, algorithm, workers
        As in `convx.conv`.
    bias : bool, optional
        Whether there is one, a value per filter.

    Attributes
    ----------
    w, b : ndarray or None
        Weights, laid out as `convx.conv` takes them, and bias; set them, `assign` them, or let `init` make them.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.Conv(1, 2, bias=False)
    >>> x, w = np.arange(9.0).reshape(1, 1, 3, 3), np.ones((1, 1, 2, 2))
    >>> layer.forward(x, w)
    array([[[[ 8., 12.],
             [20., 24.]]]])
    >>> dx, dw = layer.backward(np.ones((1, 1, 2, 2)))
    >>> dx[0, 0].tolist(), dw[0, 0].tolist()
    ([[1.0, 2.0, 1.0], [2.0, 4.0, 2.0], [1.0, 2.0, 1.0]], [[8.0, 12.0], [20.0, 24.0]])
    """


class ConvTranspose(_Windowed):
    """Transposed convolution layer, `convx.conv_transpose` with weights of its own.

    Parameters
    ----------
    filters : int
        Channels of the result.
    taps, stride, padding, dilation, groups, bias, layout, w_layout, boundary, flip, algorithm, workers
        As in `Conv`; stride, padding and dilation are those of the convolution that is transposed.
    output_padding, output_shape : int or tuple of int, optional
        As in `convx.conv_transpose`.

    Examples
    --------
    >>> from convx import nn
    >>> nn.ConvTranspose(3, 4, stride=2, padding=1).output_shape((1, 8, 16, 16))
    (1, 3, 32, 32)
    """

    operator = "conv_transpose"

    def __init__(self, filters: SupportsIndex, taps: Counts, *, output_padding: Counts = 0,
                 output_shape: Counts | None = None, **options: Any) -> None:
        super().__init__(filters, taps, **options)
        self.options |= {"output_padding": output_padding, "output_shape": output_shape}


class LocallyConnected(_Windowed):
    """Layer whose weights differ from output to output, `convx.locally_connected` with weights of its own.

    Parameters
    ----------
    filters, taps, stride, padding, dilation, groups, layout, w_layout, boundary, flip, algorithm, workers
        As in `Conv`.
    bias : str or bool, optional
        "unit" (default): a value per output unit; "channel": one per filter; False: none.

    Examples
    --------
    >>> from convx import nn
    >>> layer = nn.LocallyConnected(4, 3)
    >>> layer.shapes((1, 2, 6, 6))
    {'w': (4, 4, 4, 2, 3, 3), 'b': (4, 4, 4)}
    """

    operator = "locally_connected"

    def __init__(self, filters: SupportsIndex, taps: Counts, *, bias: Literal["unit", "channel", False] = "unit",
                 **options: Any) -> None:
        if bias not in ("unit", "channel", False):
            raise ValueError(f"bias={bias!r} is none of 'unit', 'channel', False")
        super().__init__(filters, taps, bias=bias, **options)

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        w_shape = self._w_shape(x_shape)
        y_shape = convx.plan("conv", like(x_shape), like(w_shape), **self._call()).y_shape
        n_at, _, s_at = places(self.layout, len(y_shape))
        found = {"w": (*(y_shape[s] for s in s_at), *w_shape)}
        if self.bias:
            unit = tuple(size for a, size in enumerate(y_shape) if a != n_at)
            found["b"] = unit if self.bias == "unit" else (self.filters,)
        return found

    def _start(self, name, shape, rng, dtype):
        rank = (len(shape) - 2) // 2
        if name != "w":
            return np.zeros(shape, dtype)
        o_at, _, _ = convx.w_axes(self.layout, rank, self.options["w_layout"])
        inputs = np.prod([size for a, size in enumerate(shape[rank:]) if a != o_at])
        return _normal(rng, shape, inputs, dtype)

    def _bias_kind(self):
        return {"per_unit": self.bias == "unit"}


class _Pool(Layer):
    """What MaxPool and AvgPool share."""

    def __init__(self, window: Window, stride: Counts | None = None, *, padding: Padding = "valid",
                 dilation: Counts = 1, ceil_mode: bool = False, layout: str | None = None,
                 workers: SupportsIndex | None = None) -> None:
        self.window, self.layout, self.workers = window, batched(layout), workers
        self.options = {"stride": stride, "padding": padding, "dilation": dilation, "ceil_mode": ceil_mode}

    def _call(self):
        return {**self.options, "layout": self.layout, "workers": self.workers}

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        # One image with one channel tells: no rule about sizes stands here a second time.
        n_at, c_at, _ = places(self.layout, len(x_shape))
        kept = (n_at, c_at)
        small = self(np.zeros([1 if a in kept else size for a, size in enumerate(x_shape)], np.float32)).shape
        return tuple(x_shape[a] if a in kept else size for a, size in enumerate(small))

    def axes(self, x_shape: Shape) -> tuple[Axis, ...]:
        """The index relation of each spatial axis, base*i = stride*o + dilation*k - offset."""
        rank = len(x_shape) - 2
        sizes = [x_shape[s] for s in places(self.layout, len(x_shape))[2]]
        taps = sizes if self.window == "global" else _each(self.window, rank, "window")
        stride = self.options["stride"] or (1 if self.window == "global" else tuple(taps))
        plan = convx.plan("conv", like((1, 1, *sizes)), like((1, 1, *taps)), stride=stride,
                          padding=self.options["padding"], dilation=self.options["dilation"])
        return plan.geometry.axes


class MaxPool(_Pool):
    """Largest value of every window, `convx.max_pool`.

    Parameters
    ----------
    window : int, tuple of int, or "global"
    stride : int or tuple of int, optional
        Default: the window.
    padding, dilation, ceil_mode, layout, workers
        As in `convx.max_pool`.
    ties : str, optional
        Which of several largest values get the gradient: "first" (default) or "all", as in `convx.max_pool_grad`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.MaxPool(2)
    >>> layer.forward(np.array([[[1.0, 3.0, 2.0, 0.0]]]))
    array([[[3., 2.]]])
    >>> layer.backward(np.array([[[10.0, 20.0]]]))
    array([[[ 0., 10., 20.,  0.]]])
    """

    def __init__(self, window: Window, stride: Counts | None = None, *, ties: Literal["first", "all"] = "first",
                 **options: Any) -> None:
        super().__init__(window, stride, **options)
        if ties not in ("first", "all"):
            raise ValueError(f"ties={ties!r} is none of first, all")
        self.ties = ties

    def _apply(self, x, training, keep):
        return convx.max_pool(x, self.window, **self._call()), x

    def _gradients(self, dy, seen):
        return (convx.max_pool_grad(seen, dy, self.window, ties=self.ties, **self._call()),)


class AvgPool(_Pool):
    """Average of every window, `convx.avg_pool`.

    Parameters
    ----------
    window : int, tuple of int, or "global"
    stride : int or tuple of int, optional
        Default: the window.
    padding, dilation, ceil_mode, count_include_pad, divisor, layout, workers
        As in `convx.avg_pool`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> nn.AvgPool("global")(np.arange(8.0).reshape(1, 2, 2, 2))
    array([[[[1.5]],
    <BLANKLINE>
            [[5.5]]]])
    """

    def __init__(self, window: Window, stride: Counts | None = None, *, count_include_pad: bool = False,
                 divisor: SupportsFloat | None = None, **options: Any) -> None:
        super().__init__(window, stride, **options)
        self.options |= {"count_include_pad": count_include_pad, "divisor": divisor}

    def _apply(self, x, training, keep):
        return convx.avg_pool(x, self.window, **self._call()), x.shape

    def _gradients(self, dy, seen):
        return (convx.avg_pool_grad(seen, dy, self.window, **self._call()),)
