"""The convolution layer of a tutorial: one fixed input shape, channels last, no bias (floor 7).

The constructor and the names are those of the package `cnn` in adamtiger/DeepLearningTutorial (notebook
DL9_Convolution, 2018), where the formulas are written for them.
"""

from __future__ import annotations

import numpy as np

import convx

from .._arguments import shape_of, whole
from ._windowed import _each, like

_WORDS = {"VALID": "valid", "SAME": "same"}


class Convolution:
    """A convolution layer with channels last and a kernel (F, kh, kw, C), without a bias.

    O[b, i, j, f] = sum over ki, kj, kc of I[b, s*i + d*ki - before, s*j + d*kj - before, kc] * K[f, ki, kj, kc]

    Parameters
    ----------
    input_shape : tuple of int
        (N, H, W, C); the batch of a call may be another. One spatial axis, or three, will do as well.
    filters : int
        F.
    kernel_size : int or tuple of int
        Per spatial axis.
    strides : int or tuple of int, optional
    dilations : int or tuple of int, optional
        The number of zeros *inserted* between taps, as the tutorial counts: 0 (default) is a plain kernel, and a window
        spans (k - 1) * (dilations + 1) + 1 cells.
    padding : str, optional
        "VALID" (default) or "SAME", which gives ceil(size / stride) outputs with the odd cell after, as TensorFlow
        does; also all that `convx.conv` takes.
    dilation : int or tuple of int, optional
        The usual count instead, the step between taps: ``dilation = dilations + 1``.
    rng : numpy.random.Generator or int, optional
        For the first kernel.

    Attributes
    ----------
    kernel : ndarray
        (F, kh, kw, C), uniform between 0 and 1 at first; to be set at will.

    Raises
    ------
    ValueError, TypeError
        In the constructor already, if there is no such layer.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> conv = nn.Convolution((1, 3, 3, 2), 1, (2, 2), (1, 1), (0, 0), "SAME")
    >>> conv.kernel = np.ones((1, 2, 2, 2))
    >>> conv.output_shape()
    (1, 3, 3, 1)
    >>> conv(np.ones((1, 3, 3, 2)))[0, :, :, 0]
    array([[8., 8., 4.],
           [8., 8., 4.],
           [4., 4., 2.]])
    """

    def __init__(self, input_shape, filters, kernel_size, strides=1, dilations=0, padding="VALID", *, dilation=None,
                 rng=None):
        self.input_shape = shape_of(input_shape, "input_shape")
        rank = len(self.input_shape) - 2
        if rank < 1:
            raise ValueError(f"input_shape={self.input_shape}: a batch, at least one spatial axis and channels are "
                             "needed")
        inserted = _each(dilations, rank, "dilations")
        if dilation is None:
            dilation = tuple(d + 1 for d in inserted)
        elif any(inserted):
            raise ValueError(f"dilations={dilations} and dilation={dilation}: give one of the two")
        self.filters = filters = whole(filters, "filters", 1)
        self.options = {"stride": strides, "dilation": dilation, "layout": "NHWC",
                        "padding": _WORDS.get(padding, padding) if isinstance(padding, str) else padding}
        shape = (filters, *_each(kernel_size, rank, "kernel_size"), self.input_shape[-1])
        convx.plan("conv", like(self.input_shape), like(shape), **self.options)  # raises what is wrong
        self._kernel = np.random.default_rng(rng).random(shape)

    @property
    def kernel(self) -> np.ndarray:
        return self._kernel

    @kernel.setter
    def kernel(self, array) -> None:
        array = np.asarray(array)
        if array.shape != self._kernel.shape:
            raise ValueError(f"kernel has shape {array.shape}, this layer has {self._kernel.shape}")
        self._kernel = array

    def output_shape(self) -> tuple[int, ...]:
        """The shape of the result for an input of `input_shape`."""
        return convx.plan("conv", like(self.input_shape), self._kernel, **self.options).y_shape

    def execute(self, x) -> np.ndarray:
        """The result for x; the same as calling the layer."""
        return convx.conv(self._accept(x), self._kernel, **self.options)

    __call__ = execute

    def kernel_gradient(self, dy, x) -> np.ndarray:
        """dL/dK of shape (F, kh, kw, C), from dy = dL/dO and the input."""
        return convx.conv_grad_weight(self._accept(x), dy, self._kernel.shape, **self.options)

    def input_gradient(self, dy) -> np.ndarray:
        """dL/dI, from dy = dL/dO; its batch is that of dy."""
        dy = np.asarray(dy)
        return convx.conv_grad_input(dy, self._kernel, (*dy.shape[:1], *self.input_shape[1:]), **self.options)

    def jacobian(self, x) -> np.ndarray:
        """J[b, i, j, f] = dO[b, i, j, f] / dK[f]: the window of x under output (i, j), zero where it is padded.

        Returns
        -------
        J : ndarray
            (N, oh, ow, F, kh, kw, C), read-only: the F slices are one and the same memory.
        """
        x = self._accept(x)
        # The gradient of weights that are not shared is the window itself, for a dy of ones and one image at a time.
        y_shape = convx.plan("conv", like((1, *x.shape[1:])), self._kernel, **self.options).y_shape
        local = (*y_shape[1:-1], 1, *self._kernel.shape[1:])
        ones = np.ones((*y_shape[:-1], 1), x.dtype)
        found = np.empty((len(x), *local), np.result_type(x, np.float64) if x.dtype.kind in "biu" else x.dtype)
        for image, windows in zip(x, found, strict=True):
            windows[...] = convx.locally_connected_grad_weight(image[None].conj(), ones, local, **self.options)
        return np.broadcast_to(found, (*found.shape[:len(y_shape) - 1], self.filters, *found.shape[len(y_shape):]))

    def _accept(self, x):
        x = np.asarray(x)
        if x.ndim != len(self.input_shape) or x.shape[1:] != self.input_shape[1:]:
            raise ValueError(f"x has shape {x.shape}, this layer takes (N, "
                             f"{', '.join(map(str, self.input_shape[1:]))})")
        return x


class ConvGrad:
    """The tutorial's backward module for a `Convolution`.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer, x = nn.Convolution((1, 3, 3, 1), 2, 2), np.arange(9.0).reshape(1, 3, 3, 1)
    >>> J = nn.ConvGrad(layer).gradient(x)
    >>> J.shape, J[0, 1, 1, 0, :, :, 0].tolist()
    ((1, 2, 2, 2, 2, 2, 1), [[4.0, 5.0], [7.0, 8.0]])
    >>> delta = np.ones((1, 2, 2, 2))
    >>> dK = nn.ConvGrad(layer).backrop(delta, x)
    >>> np.array_equal(dK, np.einsum("bijf,bijfklc->fklc", delta, J))
    True
    """

    def __init__(self, layer: Convolution):
        if not isinstance(layer, Convolution):
            raise TypeError(f"ConvGrad is for a Convolution, not for {type(layer).__name__}")
        self.layer = layer

    def gradient(self, x) -> np.ndarray:
        """The Jacobian slices J (N, oh, ow, F, kh, kw, C): `Convolution.jacobian`."""
        return self.layer.jacobian(x)

    def backrop(self, delta, x) -> np.ndarray:
        """The kernel gradient, delta contracted with J: `Convolution.kernel_gradient`, which never makes J."""
        return self.layer.kernel_gradient(delta, x)
