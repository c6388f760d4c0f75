"""Layers one after the other, with joins (floor 7)."""

from __future__ import annotations

from operator import index
from typing import TYPE_CHECKING, overload

import numpy as np

from .._arguments import shape_of
from ._layer import Layer, batched, matched

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from numpy.typing import ArrayLike, DTypeLike

    from .._typing import Array, Arrays, Seed, Shape


def _named(i: int, layer, error):
    """The error with the layer in which it came up."""
    kind = TypeError if isinstance(error, TypeError) else ValueError
    return kind(f"layer {i}, {type(layer).__name__}: {error}")


class Join(Layer):
    """A layer of several earlier outputs of its `Sequential`.

    Parameters
    ----------
    *sources : int
        Numbers of layers, or negative: so many layers back, -1 the one before.
    layout : str, optional
    """

    def __init__(self, *sources: int, layout: str | None = None) -> None:
        if not sources:
            raise ValueError(f"{type(self).__name__} needs the number of at least one layer")
        for source in sources:
            if isinstance(source, bool) or not hasattr(source, "__index__"):
                raise TypeError(f"{type(self).__name__} takes numbers of layers, not {type(source).__name__}")
        self.sources, self.layout = tuple(map(index, sources)), batched(layout)

    def init(self, x_shape: Any, rng: Seed | None = None, dtype: DTypeLike = np.float32) -> tuple[int, ...]:
        """Nothing to make; x_shape is a list of shapes."""
        return self.output_shape(x_shape)

    def _input(self, x):
        return [np.asarray(a) for a in x]


class Route(Join):
    """Outputs of earlier layers joined along the channels; of one layer: that output itself.

    Examples
    --------
    >>> from convx import nn
    >>> net = nn.Sequential(nn.Conv(4, 1), nn.Conv(6, 1), nn.Route(-1, 0))
    >>> net.output_shape((1, 3, 5, 5))
    (1, 10, 5, 5)
    """

    def output_shape(self, x_shape: Any) -> tuple[int, ...]:
        _, c_at, _ = self._places(len(x_shape[0]))
        others = {tuple(size for a, size in enumerate(shape) if a != c_at) for shape in x_shape}
        if len(others) > 1:
            raise ValueError(f"Route joins arrays that agree but for their channels, not {[*map(tuple, x_shape)]}")
        return tuple(sum(shape[c_at] for shape in x_shape) if a == c_at else size
                     for a, size in enumerate(x_shape[0]))

    def _apply(self, x, training, keep):
        self.output_shape([a.shape for a in x])
        _, c_at, _ = self._places(x[0].ndim)
        return x[0] if len(x) == 1 else np.concatenate(x, axis=c_at), [a.shape[c_at] for a in x]

    def _gradients(self, dy, seen):
        return (np.split(dy, np.cumsum(seen)[:-1], axis=self._places(dy.ndim)[1]),)


class Add(Join):
    """The sum of earlier outputs of one shape: the shortcut of a residual network.

    Examples
    --------
    >>> from convx import nn
    >>> nn.Sequential(nn.Conv(4, 1), nn.ReLU(), nn.Conv(4, 1), nn.Add(-1, 0)).output_shape((1, 3, 5, 5))
    (1, 4, 5, 5)
    """

    def output_shape(self, x_shape: Any) -> tuple[int, ...]:
        if len({tuple(shape) for shape in x_shape}) > 1:
            raise ValueError(f"Add takes arrays of one shape, not {[*map(tuple, x_shape)]}")
        return tuple(x_shape[0])

    def _apply(self, x, training, keep):
        self.output_shape([a.shape for a in x])
        return sum(x[1:], x[0]), len(x)

    def _gradients(self, dy, seen):
        return ([dy] * seen,)


class Sequential(Layer):
    """Layers one after the other. `Route` and `Add` take earlier outputs too; a network may be a layer of another.

    Parameters
    ----------
    *layers : Layer
    layout : str, optional
        Given to every layer that names none. Without, the one that the layers agree on.
    name : str, optional
        What `summary` calls it where it is one row of a larger network.

    Examples
    --------
    >>> import numpy as np
    >>> from convx import nn
    >>> net = nn.Sequential(nn.Conv(8, 3, padding="same"), nn.ReLU(), nn.MaxPool(2), nn.Flatten(), nn.Dense(10))
    >>> net.init((4, 1, 8, 8), rng=0)
    (4, 10)
    >>> y = net.forward(np.ones((4, 1, 8, 8), np.float32))
    >>> dx, *gradients = net.backward(np.ones_like(y))
    >>> [gradient.shape for gradient in gradients]
    [(8, 1, 3, 3), (8,), (10, 128), (10,)]
    >>> list(net.named())
    ['0.w', '0.b', '4.w', '4.b']
    """

    def __init__(self, *layers: Layer, layout: str | None = None, name: str | None = None) -> None:
        for layer in layers:
            if not isinstance(layer, Layer):
                raise TypeError(f"a Sequential is made of layers, not of {type(layer).__name__}")
        self.layers, self.name = layers, name
        self.sources = [self._sources(i, layer) for i, layer in enumerate(layers)]
        self._last = {source: i for i, sources in enumerate(self.sources) for source in sources}
        for i in range(len(layers) - 1):
            if i not in self._last:
                raise ValueError(f"the output of layer {i} is used by no later layer")
        named = {layer.layout for layer in layers} - {None}
        self._give(batched(layout) or (named.pop() if len(named) == 1 else None))

    @staticmethod
    def _sources(i: int, layer) -> tuple[int, ...]:
        """The numbers of the layers whose outputs layer i takes; -1 is the input of the network."""
        if not isinstance(layer, Join):
            return (i - 1,)
        found = tuple(s if s >= 0 else i + s for s in layer.sources)
        for given, source in zip(layer.sources, found, strict=True):
            if not 0 <= source < i:
                raise ValueError(f"layer {i}, {type(layer).__name__}, takes the output of layer {given}: there are "
                                 f"layers 0 to {i - 1} before it")
        return found

    def _give(self, layout) -> None:
        self.layout = self.layout or layout
        for layer in self.layers:
            if isinstance(layer, Sequential):
                layer._give(layout)
            elif layer.layout is None:
                layer.layout = layout

    def __repr__(self):
        return f"Sequential({', '.join(map(repr, self.layers))})"

    def __len__(self) -> int:
        return len(self.layers)

    @overload
    def __getitem__(self, item: int) -> Layer: ...

    @overload
    def __getitem__(self, item: slice) -> Sequential: ...

    def __getitem__(self, item):
        """A layer, or the network of the first layers (a slice that starts at the first), sharing their weights."""
        if not isinstance(item, slice):
            return self.layers[item]
        if item.start not in (None, 0) or item.step not in (None, 1):
            raise ValueError("a slice of a network starts at its first layer and leaves none out")
        return Sequential(*self.layers[item], layout=self.layout)

    # Weights ----------------------------------------------------------------------------------------------------------

    def _names(self, which: str) -> list[str]:
        return [f"{i}.{name}" for i, layer in enumerate(self.layers) for name in getattr(layer, which)]

    @property
    def trained(self) -> tuple[str, ...]:
        return tuple(self._names("trained"))

    @property
    def kept(self) -> tuple[str, ...]:
        return tuple(self._names("kept"))

    @property
    def weights(self) -> list[Array]:
        return [array for layer in self.layers for array in layer.weights]

    def named(self) -> dict[str, Array]:
        return {f"{i}.{name}": array for i, layer in enumerate(self.layers) for name, array in layer.named().items()}

    def assign(self, arrays: Arrays) -> None:
        names = [f"{i}.{name}" for i, layer in enumerate(self.layers) for name in (*layer.trained, *layer.kept)]
        found = matched(names, arrays)
        for i, layer in enumerate(self.layers):
            own = (*layer.trained, *layer.kept)
            layer.assign({name: found[f"{i}.{name}"] for name in own})

    def shapes(self, x_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {f"{i}.{name}": shape for i, (layer, given, _) in enumerate(self.walk(x_shape))
                for name, shape in layer.shapes(given).items()}

    def init(self, x_shape: Shape, rng: Seed | None = None, dtype: DTypeLike = np.float32) -> tuple[int, ...]:
        rng = np.random.default_rng(rng)
        x_shape = y_shape = shape_of(x_shape, "x_shape")
        for layer, given, y_shape in self.walk(x_shape):  # noqa: B007 (the last one is the result)
            layer.init(given, rng, dtype)
        return y_shape

    # Directions -------------------------------------------------------------------------------------------------------

    def walk(self, x_shape: Shape) -> Iterator[tuple[Layer, Any, tuple[int, ...]]]:
        """(layer, the shape it takes, the shape it gives) of every layer; a join takes a list of shapes."""
        shapes = {-1: shape_of(x_shape, "x_shape")}
        for i, layer in enumerate(self.layers):
            given = self._taken(shapes, i)
            try:
                shapes[i] = layer.output_shape(given)
            except (TypeError, ValueError) as error:
                raise _named(i, layer, error) from error
            yield layer, given, shapes[i]

    def _taken(self, outputs, i: int):
        found = [outputs[source] for source in self.sources[i]]
        return found if isinstance(self.layers[i], Join) else found[0]

    def output_shape(self, x_shape: Shape) -> tuple[int, ...]:
        y_shape = tuple(x_shape)
        for _, _, y_shape in self.walk(x_shape):  # noqa: B007
            pass
        return y_shape

    def _ready(self):
        for layer in self.layers:
            layer._ready()

    def __call__(self, x: ArrayLike) -> Array:
        """y in inference mode; nothing is remembered."""
        self._ready()
        with np.errstate(all="ignore"):
            return self._apply(np.asarray(x), False, False)[0]

    def _apply(self, x, training, keep):
        outputs, seen = {-1: x}, []
        for i, layer in enumerate(self.layers):
            try:
                outputs[i], remembered = layer._apply(self._taken(outputs, i), training, keep)
            except (TypeError, ValueError) as error:
                raise _named(i, layer, error) from error
            if keep:
                seen.append(remembered)
            del remembered
            for source in set(self.sources[i]):
                if self._last[source] == i:
                    del outputs[source]
        return outputs[len(self.layers) - 1], seen

    def _gradients(self, dy, seen):
        found = []

        def one(layer, dy, seen):
            dx, *others = layer._gradients(dy, seen)
            found[:0] = others
            return dx

        return self._back(dy, seen, one), *found

    def _input_gradient(self, dy, seen):
        return self._back(dy, seen, lambda layer, dy, seen: layer._input_gradient(dy, seen))

    def _back(self, dy, seen, one):
        """dx of the network; one(layer, dy, seen) gives that of a layer."""
        dys = {len(self.layers) - 1: dy}
        for i in reversed(range(len(self.layers))):
            dx = one(self.layers[i], dys.pop(i), seen[i])
            for source, part in zip(self.sources[i], dx if isinstance(self.layers[i], Join) else [dx], strict=True):
                dys[source] = dys[source] + part if source in dys else part
        return dys[-1]
