"""What all layers have in common: weights, forward, backward (floor 7)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

import convx

from .._arguments import shape_of

if TYPE_CHECKING:
    from typing import Any

    from numpy.typing import ArrayLike, DTypeLike

    from .._typing import Array, Arrays, Seed, Shape


class Layer:
    """A function of an array, with weights that may be None, a forward and a backward direction.

    y = forward(x) remembers what backward(dy) needs; calling the layer, ``layer(x)``, computes the same in inference
    mode and remembers nothing, so that many threads may do it at once. Arrays are remembered, not copied: do not write
    into x or the weights between the two. x always has a batch axis.

    Attributes
    ----------
    trained : tuple of str
        The names of the weights that have a gradient, in the order of `backward`.
    kept : tuple of str
        The names of arrays that belong to the layer and have no gradient.
    layout : str or None
        As in `convx.conv`; None takes that of the `Sequential` it is put in, or "NCHW".

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> layer = nn.Conv(4, 3, padding="same")
    >>> layer.init((8, 2, 6, 6), rng=0)
    (8, 4, 6, 6)
    >>> y = layer.forward(np.ones((8, 2, 6, 6), np.float32))
    >>> dx, dw, db = layer.backward(np.ones_like(y))
    >>> dx.shape, dw.shape, db.shape
    ((8, 2, 6, 6), (4, 2, 3, 3), (4,))
    """

    trained: tuple[str, ...] = ()
    kept: tuple[str, ...] = ()
    layout: str | None = None
    _seen = None

    # What a layer defines ---------------------------------------------------------------------------------------------

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        """The shape of y for an x of this shape; no weights are needed."""
        return tuple(x_shape)

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        """The shapes of the arrays that belong to the layer, by name, for an x of this shape."""
        return {}

    def _start(self, name: str, shape, rng, dtype):
        """The first value of an array."""
        return np.zeros(shape, dtype)

    def _apply(self, x, training: bool, keep: bool):
        """(y, what `_gradients` needs)."""
        raise NotImplementedError

    def _gradients(self, dy, seen) -> tuple:
        """(dx, gradients of the trained arrays)."""
        raise NotImplementedError

    def _input_gradient(self, dy, seen):
        """dx alone; layers with weights leave the others out."""
        return self._gradients(dy, seen)[0]

    # What a user calls ------------------------------------------------------------------------------------------------

    def init(self, x_shape: Shape, rng: Seed | None = None, dtype: DTypeLike = np.float32) -> tuple[int, ...]:
        """Make weights for inputs of this shape: normal with variance 2 / (inputs of an output), biases 0.

        Parameters
        ----------
        x_shape : tuple of int
            With its batch axis.
        rng : numpy.random.Generator or int, optional
        dtype : dtype, optional

        Returns
        -------
        y_shape : tuple of int
        """
        if np.dtype(dtype).kind not in "fc":
            raise TypeError(f"dtype={np.dtype(dtype)}: weights are floating or complex")
        x_shape = shape_of(x_shape, "x_shape")
        y_shape = self.output_shape(x_shape)
        rng = np.random.default_rng(rng)
        for name, shape in self.shapes(x_shape).items():
            setattr(self, name, self._start(name, shape, rng, np.dtype(dtype)))
        return y_shape

    @property
    def weights(self) -> list[Array]:
        """The trained arrays, in the order of `backward`: the layer's own, so that an optimiser may write into them."""
        self._ready()
        return [getattr(self, name) for name in self.trained]

    def named(self) -> dict[str, Array]:
        """All arrays of the layer by name, those without a gradient too."""
        self._ready()
        return {name: getattr(self, name) for name in (*self.trained, *self.kept)}

    def assign(self, arrays: Arrays) -> None:
        """Take weights: a mapping by the names of `named`, or a sequence in their order. Arrays are not copied.

        Raises
        ------
        ValueError
            A name or the number of arrays is not that of the layer; nothing is taken then.
        """
        names = (*self.trained, *self.kept)
        for name, array in matched(names, arrays).items():
            setattr(self, name, array)

    def forward(self, x: ArrayLike, *weights: ArrayLike, training: bool = True) -> Array:
        """y, remembering what `backward` needs.

        Parameters
        ----------
        x : array_like
        *weights : array_like, optional
            Weights to take first, as `assign` of a sequence does: ``forward(x, w, b)``.
        training : bool, optional
            Whether `BatchNorm` and `Dropout` behave as in training (default) or as in inference.

        Returns
        -------
        y : ndarray
        """
        if weights:
            self.assign(weights)
        self._ready()
        with np.errstate(all="ignore"):  # infinities and nan are values like others
            y, seen = self._apply(self._input(x), training, True)
        self._seen = (y.shape, seen)
        return y

    def backward(self, dy: ArrayLike) -> Any:
        """Gradients of the last `forward`: dx alone for a layer without weights, else [dx, then one per weight].

        Parameters
        ----------
        dy : array_like
            The gradient with respect to y, of its shape.

        Raises
        ------
        RuntimeError
            There was no `forward`.
        ValueError
            dy has another shape than y.
        """
        with np.errstate(all="ignore"):
            dx, *others = self._gradients(*self._remembered(dy, "backward"))
        return [dx, *others] if self.trained else dx

    def input_gradient(self, dy: ArrayLike) -> Array:
        """dx of the last `forward` alone: what `backward` gives first, without the work for the weights' gradients.

        Parameters
        ----------
        dy : array_like
            The gradient with respect to y, of its shape.

        Raises
        ------
        RuntimeError, ValueError
            As `backward`.
        """
        with np.errstate(all="ignore"):
            return self._input_gradient(*self._remembered(dy, "input_gradient"))

    def _remembered(self, dy, name: str):
        """dy, and what the last forward kept for it."""
        if self._seen is None:
            raise RuntimeError(f"{type(self).__name__}.{name} needs a forward before it")
        shape, seen = self._seen
        dy = np.asarray(dy)
        if dy.shape != shape:
            raise ValueError(f"dy has shape {dy.shape}, the result of this layer had {shape}")
        return dy, seen

    def __call__(self, x: ArrayLike, *weights: ArrayLike) -> Array:
        """y in inference mode; nothing is remembered, and weights that are given serve this call only."""
        layer = self
        if weights:
            layer = object.__new__(type(self))
            layer.__dict__.update(self.__dict__)
            layer.assign(weights)
        layer._ready()
        with np.errstate(all="ignore"):
            return layer._apply(layer._input(x), False, False)[0]

    def __repr__(self):
        held = [f"{name} {np.shape(getattr(self, name)) if getattr(self, name) is not None else 'not made yet'}"
                for name in (*self.trained, *self.kept)]
        return f"{type(self).__name__}({', '.join(held)})"

    # Help for layers --------------------------------------------------------------------------------------------------

    def _input(self, x):
        return np.asarray(x)

    def _ready(self) -> None:
        for name in (*self.trained, *self.kept):
            if getattr(self, name, None) is None:
                raise ValueError(f"{type(self).__name__} has no {name} yet: call init(x_shape), or assign arrays")

    def _places(self, ndim: int):
        """Positions of N, C and the spatial axes in an array with a batch."""
        return places(self.layout, ndim)

    def _along_channels(self, array, ndim: int):
        """A value per channel, in a shape that broadcasts over x."""
        _, c_at, _ = self._places(ndim)
        return np.reshape(array, [-1 if a == c_at else 1 for a in range(ndim)])


def places(layout, ndim: int):
    """Positions of N, C and the spatial axes of arrays with a batch; without space there are N and C."""
    if ndim < 2:
        raise ValueError(f"x has {ndim} axes; a batch and channels make two")
    if ndim == 2:
        return 0, 1, ()
    return convx.x_axes(layout, ndim - 2)


def batched(layout):
    """The layout word, which must name a batch."""
    if layout is not None and "N" not in str(layout):
        raise ValueError(f"layout={layout!r} leaves the batch out; layers have one")
    return layout


def matched(names, arrays) -> dict:
    """{name: array} of a mapping or of a sequence, with exactly these names."""
    if not hasattr(arrays, "keys"):
        arrays = list(arrays)
        if len(arrays) != len(names):
            raise ValueError(f"{len(arrays)} arrays are given, {len(names)} are needed: {', '.join(names)}")
        return {name: np.asarray(array) for name, array in zip(names, arrays, strict=True)}
    missing, foreign = set(names) - set(arrays), set(arrays) - set(names)
    if missing or foreign:
        raise ValueError("; ".join(f"{what}: {', '.join(sorted(some))}" for what, some in
                                   (("missing", missing), ("not known here", foreign)) if some))
    return {name: np.asarray(array) for name, array in arrays.items()}
