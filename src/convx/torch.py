"""convx as differentiable functions of PyTorch tensors (floor 7, imported only when asked for).

A layer y = Y(x, w) has two more contractions, X(dy, w) and W(x, dy), its gradients. Each of the three is linear in one
operand and linear or antilinear in the other, and

    <Y(x, w), dy> = <x, X(dy, w)> = <w, W(x, dy)>,     <a, b> = sum a conj(b)

so the gradients of each are the two others: three autograd functions that call each other, any number of times.
Tensors are seen as NumPy arrays, and results are NumPy's memory seen as tensors: nothing is copied on the way.
"""

from __future__ import annotations

from inspect import signature
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

import convx

try:
    import torch
except ImportError as error:
    raise ImportError('convx.torch needs PyTorch: pip install "convx-nd[torch]"') from error

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["conv", "conv1d", "conv2d", "conv3d", "conv_transpose", "conv_transpose1d", "conv_transpose2d",
           "conv_transpose3d", "locally_connected"]

DTYPES = {getattr(torch, name): np.dtype(name) for name in ("float16", "float32", "float64", "complex64", "complex128")}


class Layer(NamedTuple):
    """One call: the operator, the shapes of its operands, its keywords."""

    operator: str
    x_shape: tuple[int, ...]
    w_shape: tuple[int, ...]
    options: dict

    @property
    def rank(self) -> int:
        return (len(self.w_shape) - 2) // (2 if self.operator == "locally_connected" else 1)

    @property
    def places(self):
        """Positions of N, C and the spatial axes in x and y."""
        return convx.x_axes(self.options["layout"], self.rank, len(self.x_shape) == self.rank + 2)

    @property
    def linear(self) -> Layer:
        """The layer without the constant that its padding may read."""
        return self._replace(options=self.options | {"cval": 0})

    def seen_by(self, tensor) -> tuple[Layer, tuple[int, ...]]:
        """The same layer in the memory order of a tensor, and the permutation of x and y that leads there.

        Channels that are innermost in memory make a channels-last layer, so that nothing is copied and the result is
        laid as the tensor is.
        """
        axes = tuple(range(len(self.x_shape)))
        _, c_at, s_at = self.places
        last = (*axes[:c_at], *s_at, c_at)
        if c_at > s_at[0] or tensor.is_contiguous() or not tensor.permute(last).is_contiguous():
            return self, axes
        options = self.options | {"layout": "NHWC", "w_layout": self.options["w_layout"] or "OIHW"}
        return self._replace(x_shape=tuple(self.x_shape[a] for a in last), options=options), last


def _array(tensor, axes=None):
    """The tensor as an array in this order of its axes: its own memory wherever kernels can walk it at full speed.

    A view without a dense first or last axis (an expanded gradient, one in another memory format) is copied: a pass
    over the memory, where the kernels would make many. So is one whose conjugation or sign is still to be done.
    """
    tensor = tensor.detach().resolve_conj().resolve_neg()
    array = (tensor if axes is None else tensor.permute(axes)).numpy()
    steps = [step for step, size in zip(array.strides, array.shape, strict=True) if size > 1]
    return array if not steps or array.itemsize in (steps[0], steps[-1]) else np.ascontiguousarray(array)


def _tensor(array, axes=None):
    """The array as a tensor with its axes back in place."""
    result = torch.from_numpy(array)
    return result if axes is None else result.permute([axes.index(a) for a in range(len(axes))])


def _as(gradient, dtype):
    """A gradient for an operand of this dtype: real where that is."""
    if gradient.is_complex() and not dtype.is_complex:
        gradient = gradient.real
    return gradient.to(dtype)


class _Function(torch.autograd.Function):
    """What a Layer has no rule for is refused in one sentence."""

    @staticmethod
    def vmap(info, in_dims, *arguments):
        raise NotImplementedError("functions of convx.torch cannot be mapped by torch.func.vmap, jacrev or hessian: "
                                  "let the batch axis of x do it")

    @staticmethod
    def jvp(ctx, *tangents):
        raise NotImplementedError("functions of convx.torch have no forward-mode derivatives (torch.func.jvp, jacfwd, "
                                  "hessian): a layer is linear in x and in w, so call it with the tangents")


class _Output(_Function):
    """Y(x, w) and a bias."""

    @staticmethod
    def forward(x, w, bias, layer):
        layer, axes = layer.seen_by(x)
        bias = None if bias is None else _array(bias, None if bias.ndim == 1 else _without(layer, axes))
        return _tensor(getattr(convx, layer.operator)(_array(x, axes), _array(w), bias, **layer.options), axes)

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, w, bias, ctx.layer = inputs
        ctx.dtypes = x.dtype, w.dtype
        ctx.bias = None if bias is None else (bias.dtype, bias.ndim)
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx, dy):
        x, w = ctx.saved_tensors
        dx = dw = db = None
        if ctx.needs_input_grad[0]:
            dx = _as(_Input.apply(dy, w, ctx.layer), ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            dw = _as(_Weight.apply(x, dy, ctx.layer), ctx.dtypes[1])
        if ctx.needs_input_grad[2]:
            dtype, rank = ctx.bias
            n_at, _, s_at = ctx.layer.places
            over = [a for a in (n_at, *(s_at if rank == 1 else ())) if a is not None]
            db = _as(dy.sum(over) if over else dy, dtype)
        return dx, dw, db, None


class _Input(_Function):
    """X(dy, w): the gradient of a layer with respect to its input."""

    @staticmethod
    def forward(dy, w, layer):
        layer, axes = layer.seen_by(dy)
        compute = getattr(convx, f"{layer.operator}_grad_input")
        return _tensor(compute(_array(dy, axes), _array(w), layer.x_shape, **layer.options), axes)

    @staticmethod
    def setup_context(ctx, inputs, output):
        dy, w, ctx.layer = inputs
        ctx.dtypes = dy.dtype, w.dtype
        ctx.save_for_backward(dy if ctx.needs_input_grad[1] else None, w if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx, x):
        dy, w = ctx.saved_tensors
        ddy = dw = None
        if ctx.needs_input_grad[0]:
            ddy = _as(_Output.apply(x, w, None, ctx.layer.linear), ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            dw = _as(_Weight.apply(x, dy, ctx.layer.linear), ctx.dtypes[1])
        return ddy, dw, None


class _Weight(_Function):
    """W(x, dy): the gradient of a layer with respect to its weights."""

    @staticmethod
    def forward(x, dy, layer):
        layer, axes = layer.seen_by(x)
        compute = getattr(convx, f"{layer.operator}_grad_weight")
        return _tensor(compute(_array(x, axes), _array(dy, axes), layer.w_shape, **layer.options))

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, dy, ctx.layer = inputs
        ctx.dtypes = x.dtype, dy.dtype
        ctx.save_for_backward(x if ctx.needs_input_grad[1] else None, dy if ctx.needs_input_grad[0] else None)

    @staticmethod
    def backward(ctx, w):
        x, dy = ctx.saved_tensors
        dx = ddy = None
        if ctx.needs_input_grad[0]:
            dx = _as(_Input.apply(dy, w, ctx.layer), ctx.dtypes[0])
        if ctx.needs_input_grad[1]:
            ddy = _as(_Output.apply(x, w, None, ctx.layer), ctx.dtypes[1])
        return dx, ddy, None


def _without(layer: Layer, axes):
    """The permutation for arrays without the batch axis that x has: a bias per unit."""
    return axes if len(axes) == layer.rank + 1 else tuple(a - 1 for a in axes if a)


class _Described(NamedTuple):
    """What a plan wants to know of an operand."""

    shape: tuple[int, ...]
    dtype: np.dtype


def _described(tensor, name: str) -> _Described:
    """Shape and dtype of a tensor that NumPy can see."""
    if not isinstance(tensor, torch.Tensor):
        raise TypeError(f"{name} must be a tensor, not {type(tensor).__name__}")
    if tensor.device.type != "cpu" or tensor.layout is not torch.strided:
        raise TypeError(f"{name} is a {tensor.layout} tensor on {tensor.device}; dense tensors on the CPU are needed")
    if tensor.dtype not in DTYPES:
        known = ", ".join(map(str, DTYPES))
        raise TypeError(f"{name} has dtype {tensor.dtype}; differentiable here are {known}")
    return _Described(tuple(tensor.shape), DTYPES[tensor.dtype])


_DOC = """`convx.{name}` of tensors: differentiable with respect to x, w and bias, any number of times.

    Parameters
    ----------
    x, w : torch.Tensor
        Dense tensors on the CPU of float16, float32, float64, complex64 or complex128, shaped as the arrays there.
    bias : torch.Tensor, optional
        As there.
    **options
        The keywords of `convx.{name}` except dtype, overflow and out. An algorithm that is asked for by name has to
        serve the gradients, too.

    Returns
    -------
    y : torch.Tensor
        In the memory format of x: contiguous, or channels last. Operands in either are not copied, nor are views of
        them with a dense first or last axis.

    Raises
    ------
    TypeError, ValueError
        As `convx.{name}`; and for tensors on another device or of another dtype.

    Notes
    -----
    Gradients follow PyTorch's convention for complex numbers; those of operands that require none are not computed.
    Threads are those of convx (`convx.set_num_threads`, workers=), not those of PyTorch. Forward-mode derivatives and
    torch.func.vmap are refused (NotImplementedError).

    Examples
    --------
    >>> import torch, convx.torch
    >>> x, w = torch.ones({x}, requires_grad=True), torch.ones({w}, requires_grad=True)
    >>> y = convx.torch.{name}(x, w)
    >>> y.shape
    torch.Size({y})
    >>> y.sum().backward()
    >>> x.grad.shape == x.shape, w.grad.shape == w.shape
    (True, True)
    """


def _made(operator: str, rank: int | None, x, w, y) -> Callable[..., torch.Tensor]:
    """The function of tensors of an operator, with its keywords except those of the result."""
    name = operator if rank is None else f"{operator}{rank}d"
    model = signature(getattr(convx, name))
    shown = [p for p in model.parameters.values() if p.name not in ("dtype", "overflow", "out")]
    defaults = {p.name: p.default for p in shown if p.kind is p.KEYWORD_ONLY}

    def function(x, w, bias=None, **options):
        for keyword in options:
            if keyword not in defaults:
                raise TypeError(f"{name}() of tensors has no keyword {keyword!r}")
        options = defaults | options
        x_is, w_is = _described(x, "x"), _described(w, "w")
        if bias is not None:
            _described(bias, "bias")
        checked = {keyword: value for keyword, value in options.items() if keyword != "workers"}
        convx.plan(name, x_is, w_is, **checked)  # raises what is wrong, and is found again by the call itself
        return _Output.apply(x, w, bias, Layer(operator, x_is.shape, w_is.shape, options))

    function.__name__ = function.__qualname__ = name
    function.__signature__ = model.replace(parameters=shown)
    function.__doc__ = _DOC.format(name=name, x=x, w=w, y=[*y])
    return function


def _ranks(operator: str, x, w, y) -> Iterator[Callable[..., torch.Tensor]]:
    """The functions of any rank and of ranks 1, 2, 3: examples have these channels and sizes along every axis."""
    for rank in (None, 1, 2, 3):
        shapes = ((*start, *(size,) * (rank or 2)) for *start, size in (x, w, y))
        yield _made(operator, rank, *shapes)


conv, conv1d, conv2d, conv3d = _ranks("conv", (1, 2, 4), (3, 2, 3), (1, 3, 2))
conv_transpose, conv_transpose1d, conv_transpose2d, conv_transpose3d = _ranks(
    "conv_transpose", (1, 3, 4), (3, 2, 3), (1, 2, 6))
locally_connected = _made("locally_connected", None, (1, 2, 4), (2, 3, 2, 3), (1, 3, 2))
