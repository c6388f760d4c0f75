"""A loss and two optimisers (floor 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from scipy import special

from .._arguments import real

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import ArrayLike

    from .._typing import Array


def cross_entropy(scores: ArrayLike, labels: ArrayLike, *, axis: int = -1) -> tuple[float, Array]:
    """The mean cross-entropy of softmax(scores) and the labels, and its gradient with respect to the scores.

    loss = mean of logsumexp(scores) - sum(p * scores),   gradient = (softmax(scores) - p) / count

    Softmax is part of it: a network ends with scores.

    Parameters
    ----------
    scores : array_like
        One score per class along `axis`: (N, classes), or with further axes.
    labels : array_like
        The number of the class for every position (integers, the shape of scores without `axis`), or probabilities p
        in the shape of scores.
    axis : int, optional
        The axis of the classes, the last by default.

    Returns
    -------
    loss : float
    dscores : ndarray
        Of the shape and dtype of scores.

    Raises
    ------
    ValueError, TypeError
        The shapes do not fit, or a label is no class.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> loss, dscores = nn.cross_entropy(np.array([[2.0, 2.0], [0.0, 0.0]]), [0, 1])
    >>> round(loss, 4), dscores.tolist()
    (0.6931, [[-0.25, 0.25], [0.25, -0.25]])
    """
    scores, labels = np.asarray(scores), np.asarray(labels)
    if scores.dtype.kind != "f":
        raise TypeError(f"scores have dtype {scores.dtype}; real floating numbers are needed")
    if not -scores.ndim <= axis < scores.ndim:
        raise ValueError(f"axis={axis}: scores have shape {scores.shape}, and one of its axes holds the classes")
    classes = scores.shape[axis]
    places = scores.shape[:axis % scores.ndim] + scores.shape[axis % scores.ndim + 1:]
    if labels.dtype.kind in "iu" and labels.shape == places:
        if labels.size and not (0 <= labels.min() and labels.max() < classes):
            wrong = labels.min() if labels.min() < 0 else labels.max()
            raise ValueError(f"labels hold {wrong}: there are classes 0 to {classes - 1}")
        p = np.moveaxis(np.eye(classes, dtype=scores.dtype)[labels], -1, axis)
    elif labels.shape == scores.shape:
        p = labels.astype(scores.dtype, copy=False)
    else:
        raise ValueError(f"labels have shape {labels.shape} and dtype {labels.dtype}: integers {places} or "
                         f"probabilities {scores.shape} are needed")
    count = max(scores.size // max(classes, 1), 1)
    logs = special.log_softmax(scores, axis=axis)
    loss = -float((p * logs).sum(dtype=float)) / count
    total = p.sum(axis=axis, keepdims=True)  # 1 for probabilities
    return loss, (np.exp(logs) * total - p) / np.asarray(count, scores.dtype)


class _Optimiser:
    """What optimisers share: the arrays, and the check of gradients."""

    def __init__(self, weights: Iterable[Array], rate: float, decay: float) -> None:
        self.weights = list(weights)
        for array in self.weights:
            if not isinstance(array, np.ndarray) or not array.flags.writeable:
                raise TypeError("weights must be arrays that can be written to")
        self.rate, self.decay = real(rate, "rate"), real(decay, "decay")

    def __call__(self, gradients: Iterable[ArrayLike]) -> None:
        gradients = list(gradients)
        if [np.shape(g) for g in gradients] != [w.shape for w in self.weights]:
            raise ValueError(f"gradients have shapes {[np.shape(g) for g in gradients]}, the weights "
                             f"{[w.shape for w in self.weights]}")
        self._step([g + self.decay * w if self.decay else np.asarray(g)
                    for g, w in zip(gradients, self.weights, strict=True)])


class SGD(_Optimiser):
    """Gradient descent with momentum: v = momentum * v + g, w -= rate * v.

    Parameters
    ----------
    weights : list of ndarray
        Changed in place at every call.
    rate : float
    momentum : float, optional
    nesterov : bool, optional
        w -= rate * (g + momentum * v) instead.
    decay : float, optional
        decay * w is added to every gradient (weight decay).

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> w = np.array([1.0, 2.0])
    >>> step = nn.SGD([w], rate=0.1)
    >>> step([np.array([10.0, 0.0])])
    >>> w
    array([0., 2.])
    """

    def __init__(self, weights: Iterable[Array], rate: float, momentum: float = 0.0, *, nesterov: bool = False,
                 decay: float = 0.0) -> None:
        super().__init__(weights, rate, decay)
        self.momentum, self.nesterov = real(momentum, "momentum"), bool(nesterov)
        self._speeds = [np.zeros_like(w) for w in self.weights]

    def _step(self, gradients):
        for w, g, v in zip(self.weights, gradients, self._speeds, strict=True):
            v *= self.momentum
            v += g
            w -= self.rate * (g + self.momentum * v if self.nesterov else v)


class Adam(_Optimiser):
    """Adam (Kingma and Ba 2015): steps of equal size for all weights.

    m = b1*m + (1 - b1)*g,   v = b2*v + (1 - b2)*g^2,   w -= rate * m/(1 - b1^t) / (sqrt(v/(1 - b2^t)) + eps)

    Parameters
    ----------
    weights : list of ndarray
        Changed in place at every call.
    rate : float, optional
    betas : pair of float, optional
    eps, decay : float, optional

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> w = np.array([1.0, 2.0])
    >>> step = nn.Adam([w], rate=0.1)
    >>> step([np.array([10.0, -0.01])])
    >>> w.round(4)
    array([0.9, 2.1])
    """

    def __init__(self, weights: Iterable[Array], rate: float = 1e-3, betas: tuple[float, float] = (0.9, 0.999), *,
                 eps: float = 1e-8, decay: float = 0.0) -> None:
        super().__init__(weights, rate, decay)
        if not hasattr(betas, "__iter__") or len(pair := tuple(betas)) != 2:
            raise TypeError(f"betas={betas!r}: a pair of numbers is needed")
        self.betas, self.eps, self.count = tuple(real(b, "betas") for b in pair), real(eps, "eps"), 0
        self._means = [np.zeros_like(w) for w in self.weights]
        self._squares = [np.zeros_like(w.real) for w in self.weights]

    def _step(self, gradients):
        self.count += 1
        first, second = self.betas
        for w, g, m, v in zip(self.weights, gradients, self._means, self._squares, strict=True):
            m += (1 - first) * (g - m)
            v += (1 - second) * ((g * np.conj(g)).real - v)
            w -= self.rate / (1 - first**self.count) * m / (np.sqrt(v / (1 - second**self.count)) + self.eps)
