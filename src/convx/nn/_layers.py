"""Layers without windows: normalisation, dense layers, and what only moves or chooses values (floor 7)."""

from __future__ import annotations

from math import prod
from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from .._arguments import real, whole
from ._layer import Layer, batched
from ._windowed import _normal

if TYPE_CHECKING:
    from .._typing import Seed, Shape


class BatchNorm(Layer):
    """Every channel scaled to mean 0 and variance 1, then by gamma and beta.

    y = gamma * (x - mean) / sqrt(var + eps) + beta

    In training mean and var are those of the batch, over all axes but the channels, and the running ones move towards
    them: mean += momentum * (batch mean - mean), with the variance of n values divided by n - 1, as PyTorch does. In
    inference they are the running ones.

    Parameters
    ----------
    momentum, eps : float, optional
    layout : str, optional
        Where the channels are.

    Attributes
    ----------
    gamma, beta : ndarray
        Trained.
    mean, var : ndarray
        Running statistics; `forward` in training writes into them.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.BatchNorm(eps=0)
    >>> layer.init((2, 1), dtype=float)
    (2, 1)
    >>> layer.forward(np.array([[1.0], [5.0]])).tolist()
    [[-1.0], [1.0]]
    >>> round(float(layer.mean[0]), 3), round(float(layer.var[0]), 3)
    (0.3, 1.7)
    """

    trained, kept = ("gamma", "beta"), ("mean", "var")

    def __init__(self, *, momentum: float = 0.1, eps: float = 1e-5, layout: str | None = None) -> None:
        self.momentum, self.eps, self.layout = real(momentum, "momentum"), real(eps, "eps"), batched(layout)
        self.gamma = self.beta = self.mean = self.var = None

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        return dict.fromkeys((*self.trained, *self.kept), (x_shape[self._places(len(x_shape))[1]],))

    def _start(self, name, shape, rng, dtype):
        return np.full(shape, name in ("gamma", "var"), dtype)

    def _apply(self, x, training, keep):
        self._check(x)
        if not training:
            scale = self.gamma / np.sqrt(self.var + self.eps)
            y = x * self._along_channels(scale, x.ndim)
            y += self._along_channels(self.beta - self.mean * scale, x.ndim)
            return y, (x, self.mean, self.var, False)
        others = self._others(x.ndim)
        count = prod(x.shape[a] for a in others)
        if count < 2:
            raise ValueError(f"x has shape {x.shape}: a channel needs two values for a variance in training")
        wide = np.result_type(x.dtype, np.float64)  # the sums of a large batch in float32 would lose digits
        mean = x.mean(axis=others, dtype=wide)
        centred = x - self._along_channels(mean.astype(x.dtype), x.ndim)
        var = np.square(centred).mean(axis=others, dtype=wide)
        self.mean += self.momentum * (mean - self.mean).astype(self.mean.dtype)
        self.var += self.momentum * (var * (count / (count - 1)) - self.var).astype(self.var.dtype)
        centred *= self._along_channels((self.gamma / np.sqrt(var + self.eps)).astype(x.dtype), x.ndim)
        centred += self._along_channels(self.beta, x.ndim).astype(x.dtype)
        return centred, (x, mean, var, True)

    def _gradients(self, dy, seen):
        x, mean, var, training = seen
        others, dtype = self._others(x.ndim), np.result_type(x, dy)
        inverse = 1 / np.sqrt(var + self.eps)

        def along(array):
            return self._along_channels(array.astype(dtype, copy=False), x.ndim)

        spread = (x - along(mean)) * along(inverse)
        dbeta, dgamma = dy.sum(axis=others, dtype=float), (dy * spread).sum(axis=others, dtype=float)
        dx = dy
        if training:
            count = prod(x.shape[a] for a in others)
            dx = dy - (spread * along(dgamma / count) + along(dbeta / count))
        return dx * along(self.gamma * inverse), dgamma.astype(self.gamma.dtype), dbeta.astype(self.beta.dtype)

    def _others(self, ndim: int):
        return tuple(a for a in range(ndim) if a != self._places(ndim)[1])

    def _check(self, x) -> None:
        if x.dtype.kind != "f":
            raise TypeError(f"x has dtype {x.dtype}; BatchNorm is for real floating arrays")
        channels = x.shape[self._places(x.ndim)[1]]
        for name in (*self.trained, *self.kept):
            if np.shape(getattr(self, name)) != (channels,):
                raise ValueError(f"{name} has shape {np.shape(getattr(self, name))}, x has {channels} channels")


class Dense(Layer):
    """Fully connected layer: y = x @ w.T + b, with w of shape (units, features).

    Parameters
    ----------
    units : int
    bias : bool, optional

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.Dense(1)
    >>> layer.forward(np.array([[1.0, 2.0]]), np.array([[10.0, 100.0]]), np.array([0.5]))
    array([[210.5]])
    >>> [gradient.tolist() for gradient in layer.backward(np.array([[1.0]]))]
    [[[10.0, 100.0]], [[1.0, 2.0]], [1.0]]
    """

    def __init__(self, units: int, *, bias: bool = True) -> None:
        self.units, self.bias = whole(units, "units", 1), bool(bias)
        self.trained = ("w", "b") if bias else ("w",)
        self.w = self.b = None

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        self._features(x_shape)
        return (x_shape[0], self.units)

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"w": (self.units, self._features(x_shape))} | ({"b": (self.units,)} if self.bias else {})

    def _features(self, x_shape) -> int:
        if len(x_shape) != 2:
            raise ValueError(f"x has shape {tuple(x_shape)}: Dense takes (batch, features); Flatten makes that")
        return x_shape[1]

    def _start(self, name, shape, rng, dtype):
        return np.zeros(shape, dtype) if name == "b" else _normal(rng, shape, shape[1], dtype)

    def _apply(self, x, training, keep):
        features = self._features(x.shape)
        if np.shape(self.w) != (self.units, features):
            raise ValueError(f"w has shape {np.shape(self.w)}, {self.units} units of {features} features need "
                             f"{(self.units, features)}")
        if self.bias and np.shape(self.b) != (self.units,):
            raise ValueError(f"b has shape {np.shape(self.b)}, {self.units} units need ({self.units},)")
        y = x @ self.w.T
        return y + self.b if self.bias else y, (x, self.w)

    def _gradients(self, dy, seen):
        x, w = seen
        return (dy @ w.conj(), dy.T @ x.conj(), *((dy.sum(axis=0),) if self.bias else ()))

    def _input_gradient(self, dy, seen):
        return dy @ seen[1].conj()


class Flatten(Layer):
    """All axes but the batch in one, in the order in which the layout names them: (N, C*H*W) or (N, H*W*C).

    Parameters
    ----------
    layout : str, optional

    Examples
    --------
    >>> from convx import nn
    >>> nn.Flatten().output_shape((2, 3, 4, 5)), nn.Flatten(layout="HWCN").output_shape((4, 5, 3, 2))
    ((2, 60), (2, 60))
    """

    def __init__(self, *, layout: str | None = None) -> None:
        self.layout = batched(layout)

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        n_at = self._places(len(x_shape))[0]
        return (x_shape[n_at], prod(size for a, size in enumerate(x_shape) if a != n_at))

    def _apply(self, x, training, keep):
        return np.moveaxis(x, self._places(x.ndim)[0], 0).reshape(self.output_shape(x.shape)), x.shape

    def _gradients(self, dy, seen):
        n_at = self._places(len(seen))[0]
        rest = [size for a, size in enumerate(seen) if a != n_at]
        return (np.moveaxis(dy.reshape(seen[n_at], *rest), 0, n_at),)


class Softmax(Layer):
    """exp(x) divided by its sum over the channels.

    Parameters
    ----------
    layout : str, optional
        Where the channels are.

    Examples
    --------
    >>> from convx import nn
    >>> nn.Softmax()([[0.0, 0.0]])
    array([[0.5, 0.5]])
    """

    def __init__(self, *, layout: str | None = None) -> None:
        self.layout = batched(layout)

    def _apply(self, x, training, keep):
        y = special.softmax(x, axis=self._places(x.ndim)[1])
        return y, y

    def _gradients(self, dy, seen):
        return (seen * (dy - (seen * dy).sum(axis=self._places(seen.ndim)[1], keepdims=True)),)


class Dropout(Layer):
    """Zeros in random places in training, the others divided by 1 - rate; nothing in inference.

    Parameters
    ----------
    rate : float, optional
        The share of zeros, from 0 up to but not including 1.
    rng : numpy.random.Generator or int, optional

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.Dropout(0.5, rng=1)
    >>> y = layer.forward(np.ones((1, 6)))
    >>> sorted(set(y.ravel().tolist()))
    [0.0, 2.0]
    >>> np.array_equal(layer.backward(np.ones((1, 6))), y)
    True
    """

    def __init__(self, rate: float = 0.5, *, rng: Seed | None = None) -> None:
        self.rate, self.rng = real(rate, "rate"), np.random.default_rng(rng)
        if not 0 <= self.rate < 1:
            raise ValueError(f"rate={rate} is no share of zeros from 0 up to but not including 1")

    def _apply(self, x, training, keep):
        if not training or not self.rate:
            return x, None
        dtype = x.dtype if x.dtype.kind in "fc" else float
        factor = (self.rng.random(x.shape) >= self.rate) * np.asarray(1 / (1 - self.rate), dtype)
        return x * factor, factor

    def _gradients(self, dy, seen):
        return (dy if seen is None else dy * seen,)


class Reorg(Layer):
    """Blocks of step x step cells become channels: space to depth, the passthrough layer of YOLOv2.

    Channel ``(row * step + column) * C + c`` of y is channel c of x at that row and column of each block, as in ONNX's
    SpaceToDepth. (Darknet's own reorg permutes the channels in a way of its own.)

    Parameters
    ----------
    step : int, optional
        A divisor of every spatial size.
    layout : str, optional

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> nn.Reorg(2)(np.arange(4).reshape(1, 1, 2, 2)).ravel()
    array([0, 1, 2, 3])
    """

    def __init__(self, step: int = 2, *, layout: str | None = None) -> None:
        self.step, self.layout = whole(step, "step", 1), batched(layout)

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        _, c_at, s_at = self._places(len(x_shape))
        if any(x_shape[s] % self.step for s in s_at):
            raise ValueError(f"x has shape {tuple(x_shape)}: step={self.step} does not divide every spatial size")
        shape = [size // self.step if a in s_at else size for a, size in enumerate(x_shape)]
        shape[c_at] *= self.step ** len(s_at)
        return tuple(shape)

    def _canonical(self, ndim: int):
        """The order of the axes that makes x channels-first."""
        n_at, c_at, s_at = self._places(ndim)
        return (n_at, c_at, *s_at)

    def _apply(self, x, training, keep):
        self.output_shape(x.shape)
        order = self._canonical(x.ndim)
        n, c, *sizes = (x.shape[a] for a in order)
        rank = len(sizes)
        blocks = x.transpose(order).reshape(n, c, *(part for s in sizes for part in (s // self.step, self.step)))
        outer, inner = range(2, 2 + 2 * rank, 2), range(3, 3 + 2 * rank, 2)
        y = blocks.transpose(0, *inner, 1, *outer).reshape(n, -1, *(s // self.step for s in sizes))
        return y.transpose(np.argsort(order)), x.shape

    def _gradients(self, dy, seen):
        order = self._canonical(len(seen))
        n, c, *sizes = (seen[a] for a in order)
        rank = len(sizes)
        blocks = dy.transpose(order).reshape(n, *(self.step,) * rank, c, *(s // self.step for s in sizes))
        pairs = [a for i in range(rank) for a in (rank + 2 + i, 1 + i)]
        return (blocks.transpose(0, rank + 1, *pairs).reshape(n, c, *sizes).transpose(np.argsort(order)),)
