"""Activations: functions of single values, with their slopes (floor 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from .._arguments import real
from ._layer import Layer, batched

if TYPE_CHECKING:
    from .._typing import Array, Shape


def _halves(function):
    """A function of SciPy that returns float16 for float16."""
    def kept(x):
        y = function(x)
        return y.astype(np.float16) if np.asarray(x).dtype == np.float16 else y
    return kept


sigmoid, erf, normal = _halves(special.expit), _halves(special.erf), _halves(special.ndtr)


class Activation(Layer):
    """y = value(x) for every element; dx = dy * slope(x, y). Floats keep their dtype, integers become float64."""

    def value(self, x: Array) -> Array:
        """The function."""
        raise NotImplementedError

    def slope(self, x: Array, y: Array) -> Array:
        """Its derivative, given x and y = value(x)."""
        raise NotImplementedError

    def _input(self, x):
        x = np.asarray(x)
        return x.astype(float) if x.dtype.kind in "biu" else x

    def _apply(self, x, training, keep):
        x = self._input(x)  # in a network nobody else has done it
        y = self.value(x)
        return y, (x, y)

    def _gradients(self, dy, seen):
        return (dy * self.slope(*seen),)


class ReLU(Activation):
    """max(x, 0); its derivative at 0 is 0.

    Examples
    --------
    >>> from convx import nn
    >>> nn.ReLU()([[-1.0, 2.0]])
    array([[0., 2.]])
    """

    def value(self, x):
        return np.maximum(x, 0)

    def slope(self, x, y):
        return x > 0


class LeakyReLU(Activation):
    """x where it is positive, alpha * x elsewhere.

    Parameters
    ----------
    alpha : float, optional
        Default 0.01; darknet has 0.1.

    Examples
    --------
    >>> from convx import nn
    >>> nn.LeakyReLU(0.1)([[-1.0, 2.0]])
    array([[-0.1,  2. ]])
    """

    def __init__(self, alpha: float = 0.01) -> None:
        self.alpha = real(alpha, "alpha")

    def value(self, x):
        if 0 < self.alpha <= 1:
            y = np.asarray(x * self.alpha)
            return np.maximum(x, y, out=y)
        return np.where(x > 0, x, x * self.alpha)

    def slope(self, x, y):
        return np.where(x > 0, np.ones((), x.dtype), np.asarray(self.alpha, x.dtype))


class PReLU(Activation):
    """x where it is positive, a * x elsewhere, with a learned a for each channel (0.25 at first).

    Parameters
    ----------
    layout : str, optional
        Where the channels are.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.PReLU()
    >>> layer.forward(np.array([[-1.0, 2.0]]), [0.5, 0.5])
    array([[-0.5,  2. ]])
    >>> dx, da = layer.backward(np.ones((1, 2)))
    >>> dx.tolist(), da.tolist()
    ([[0.5, 1.0]], [-1.0, 0.0])
    """

    trained = ("a",)

    def __init__(self, *, layout: str | None = None) -> None:
        self.layout, self.a = batched(layout), None

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"a": (x_shape[self._places(len(x_shape))[1]],)}

    def _start(self, name, shape, rng, dtype):
        return np.full(shape, 0.25, dtype)

    def value(self, x):
        return np.where(x > 0, x, x * self._along_channels(self.a, x.ndim))

    def slope(self, x, y):
        return np.where(x > 0, np.ones((), x.dtype), self._along_channels(self.a, x.ndim))

    def _gradients(self, dy, seen):
        x, y = seen
        others = tuple(a for a in range(x.ndim) if a != self._places(x.ndim)[1])
        return dy * self.slope(x, y), np.where(x > 0, 0, dy * x).sum(axis=others)


class ELU(Activation):
    """x where it is positive, alpha * (exp(x) - 1) elsewhere.

    Parameters
    ----------
    alpha : float, optional

    Examples
    --------
    >>> from convx import nn
    >>> nn.ELU()([[-1.0, 2.0]]).round(3)
    array([[-0.632,  2.   ]])
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = real(alpha, "alpha")

    def value(self, x):
        return np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x, y):
        return np.where(x > 0, np.ones((), x.dtype), y + self.alpha)


class SELU(Activation):
    """1.0507 * (x where it is positive, 1.67326 * (exp(x) - 1) elsewhere): Klambauer and others 2017.

    Examples
    --------
    >>> from convx import nn
    >>> nn.SELU()([[-1.0, 2.0]]).round(3)
    array([[-1.111,  2.101]])
    """

    alpha, gamma = 1.6732632423543772, 1.0507009873554805

    def value(self, x):
        return self.gamma * np.where(x > 0, x, self.alpha * np.expm1(np.minimum(x, 0)))

    def slope(self, x, y):
        return np.where(x > 0, np.asarray(self.gamma, x.dtype), y + self.alpha * self.gamma)


class Sigmoid(Activation):
    """1 / (1 + exp(-x)).

    Examples
    --------
    >>> from convx import nn
    >>> nn.Sigmoid()([[0.0, 2.0]]).round(3)
    array([[0.5  , 0.881]])
    """

    def value(self, x):
        return sigmoid(x)

    def slope(self, x, y):
        return y * (1 - y)


class Tanh(Activation):
    """The hyperbolic tangent.

    Examples
    --------
    >>> from convx import nn
    >>> nn.Tanh()([[0.0, 2.0]]).round(3)
    array([[0.   , 0.964]])
    """

    def value(self, x):
        return np.tanh(x)

    def slope(self, x, y):
        return 1 - y * y


class Softplus(Activation):
    """log(1 + exp(x)).

    Examples
    --------
    >>> from convx import nn
    >>> nn.Softplus()([[0.0, 2.0]]).round(3)
    array([[0.693, 2.127]])
    """

    def value(self, x):
        return np.logaddexp(x, np.zeros((), np.asarray(x).dtype))

    def slope(self, x, y):
        return sigmoid(x)


class SiLU(Activation):
    """x * sigmoid(x), also called Swish.

    Examples
    --------
    >>> from convx import nn
    >>> nn.SiLU()([[-1.0, 2.0]]).round(3)
    array([[-0.269,  1.762]])
    """

    def value(self, x):
        return x * sigmoid(x)

    def slope(self, x, y):
        s = sigmoid(x)
        return s + y * (1 - s)


class Mish(Activation):
    """x * tanh(log(1 + exp(x))).

    Examples
    --------
    >>> from convx import nn
    >>> nn.Mish()([[-1.0, 2.0]]).round(3)
    array([[-0.303,  1.944]])
    """

    def value(self, x):
        return x * np.tanh(Softplus().value(x))

    def slope(self, x, y):
        t = np.tanh(Softplus().value(x))
        return t + x * sigmoid(x) * (1 - t * t)


class GELU(Activation):
    """x * Phi(x), with Phi the normal distribution function.

    Parameters
    ----------
    approximate : bool, optional
        True: Phi(x) = (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3))) / 2, as some networks were trained with.

    Examples
    --------
    >>> from convx import nn
    >>> nn.GELU()([[-1.0, 2.0]]).round(3)
    array([[-0.159,  1.954]])
    """

    def __init__(self, approximate: bool = False) -> None:
        self.approximate = bool(approximate)

    def value(self, x):
        if self.approximate:
            return x * (1 + np.tanh(self._inner(x))) / 2
        return x * normal(x)

    def slope(self, x, y):
        if not self.approximate:
            return normal(x) + x * np.exp(-x * x / 2) * float(1 / np.sqrt(2 * np.pi))
        t = np.tanh(self._inner(x))
        return (1 + t) / 2 + x * (1 - t * t) / 2 * (float(np.sqrt(2 / np.pi)) * (1 + 3 * 0.044715 * x * x))

    @staticmethod
    def _inner(x):
        return float(np.sqrt(2 / np.pi)) * (x + 0.044715 * x * x * x)


class HardSigmoid(Activation):
    """alpha * x + beta between 0 and 1.

    Parameters
    ----------
    alpha, beta : float, optional
        Default 1/6 and 1/2, as MobileNetV3 and PyTorch have them; Keras and ONNX start from 0.2 and 0.5.

    Examples
    --------
    >>> from convx import nn
    >>> nn.HardSigmoid()([[-4.0, 0.0, 1.5]])
    array([[0.  , 0.5 , 0.75]])
    """

    def __init__(self, alpha: float = 1 / 6, beta: float = 0.5) -> None:
        self.alpha, self.beta = real(alpha, "alpha"), real(beta, "beta")

    def value(self, x):
        return np.clip(self.alpha * x + self.beta, 0, 1)

    def slope(self, x, y):
        return np.where((y > 0) & (y < 1), np.asarray(self.alpha, x.dtype), np.zeros((), x.dtype))


class HardSwish(Activation):
    """x * HardSigmoid(x).

    Examples
    --------
    >>> from convx import nn
    >>> nn.HardSwish()([[-1.5, 1.5, 4.0]])
    array([[-0.375,  1.125,  4.   ]])
    """

    def value(self, x):
        return x * HardSigmoid().value(x)

    def slope(self, x, y):
        inner = HardSigmoid()
        gate = inner.value(x)
        return gate + x * inner.slope(x, gate)


class Clip(Activation):
    """x between two bounds; ReLU6 is ``Clip(0, 6)``.

    Parameters
    ----------
    low, high : float or None

    Examples
    --------
    >>> from convx import nn
    >>> nn.Clip(0, 6)([[-1.0, 2.0, 7.0]])
    array([[0., 2., 6.]])
    """

    def __init__(self, low: float | None = None, high: float | None = None) -> None:
        self.low = None if low is None else real(low, "low")
        self.high = None if high is None else real(high, "high")

    def value(self, x):
        return np.asarray(x) if self.low is None and self.high is None else np.clip(x, self.low, self.high)

    def slope(self, x, y):
        inside = np.ones(x.shape, bool)
        if self.low is not None:
            inside &= x > self.low
        if self.high is not None:
            inside &= x < self.high
        return inside
