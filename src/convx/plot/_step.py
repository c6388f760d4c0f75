"""One operator on one channel, step by step: what lies at every position, and what meets in a step (floor 8).

A plan states for each axis base*p = stride*o + dilation*k - offset. Looked at are the positions stride*o + dilation*k -
offset themselves: the inputs lie on the multiples of base, between them the zeros that a transposed convolution puts
in, and around them the padding. So one description serves all operators.
"""

from __future__ import annotations

from math import prod

import numpy as np

import convx

from ._figure import number, once, real, times

LAYERS, SIGNALS = ("conv", "conv_transpose"), ("convolve", "correlate")
OPTIONS = {**dict.fromkeys(LAYERS, ("stride", "padding", "dilation", "boundary", "cval", "flip")),
           **dict.fromkeys(SIGNALS, ("mode", "boundary", "cval", "alignment"))}
OPTIONS["conv_transpose"] += ("output_padding", "output_shape")
MOST_CELLS, MOST_STEPS = 40, 400  # along an axis: beyond, cells are smaller than their labels; frames of an animation


def listed(index) -> str:
    return ",".join(map(str, index))


def _sizes(value, name: str) -> tuple[tuple[int, ...], np.ndarray | None]:
    """(shape, values or None) of an array, or of sizes."""
    if isinstance(value, np.ndarray):
        shape, values = value.shape, real(value, name)
        values = values.astype(np.int64) if values.dtype.kind == "b" else values
    else:
        values = None
        shape = tuple(value) if hasattr(value, "__iter__") and not isinstance(value, str) else (value,)
        if not all(isinstance(n, (int, np.integer)) and not isinstance(n, bool) for n in shape):
            raise TypeError(f"{name}={value!r}: an integer, a tuple of integers, or a NumPy array is needed")
    if len(shape) not in (1, 2):
        raise ValueError(f"{name} has {len(shape)} axes; one or two can be drawn")
    if min(shape) < 1:
        raise ValueError(f"{name} has the sizes {shape}; each must be at least 1")
    return tuple(int(n) for n in shape), values


class Step:
    """One operator on one channel: its axes, its numbers, and what meets in a step."""

    def __init__(self, x, w, operator, options):
        if operator not in OPTIONS:
            raise ValueError(f"operator={operator!r} is none of {', '.join(OPTIONS)}")
        for name in options:
            if name not in OPTIONS[operator]:
                raise TypeError(f"{name}= is no option of a drawing of {operator}: {', '.join(OPTIONS[operator])}")
        self.operator, self.options = operator, options
        self.size, self.x = _sizes(x, "x")
        self.taps, self.w = _sizes(w, "w")
        if len(self.size) != len(self.taps):
            raise ValueError(f"x has {len(self.size)} axes, w has {len(self.taps)}")
        if (self.x is None) != (self.w is None):
            raise TypeError("x and w are both arrays, or both sizes")
        shape = (lambda sizes: (1, 1, *sizes)) if operator in LAYERS else tuple
        like = [np.broadcast_to(np.zeros(()), shape(sizes)) for sizes in (self.size, self.taps)]
        self.axes = convx.plan(operator, *like, **options).geometry.axes
        self.boundary = options.get("boundary", "constant")
        if operator == "conv_transpose" and set(np.atleast_1d(self.boundary)) != {"constant"}:
            raise ValueError(f"boundary={self.boundary!r}: a conv_transpose adds what lies outside to where the rule "
                             "reads, which is not one window; only 'constant' can be drawn")
        if tuple(axis.size for axis in self.axes) != self.size:
            raise ValueError(f"w with sizes {self.taps} is larger than x with {self.size}: {operator} exchanges them")
        self.out = tuple(axis.out for axis in self.axes)
        if not prod(self.out):
            raise ValueError(f"the output has the sizes {self.out}: there is no step to draw")
        self.low, self.high = zip(*map(_extent, self.axes), strict=True)
        cells = max(*self.out, *(high - low + 1 for low, high in zip(self.low, self.high, strict=True)))
        if cells > MOST_CELLS:
            raise ValueError(f"x with sizes {self.size} and its padding, or the output with {self.out}, has {cells} "
                             f"cells along an axis; {MOST_CELLS} can be drawn")
        self.y = None
        if self.x is not None:
            arrays = (a.reshape(shape(a.shape)) for a in (self.x, self.w))
            self.y = getattr(convx, operator)(*arrays, **options).reshape(self.out)

    def kind(self, position) -> str:
        """What lies at a position: input, inserted zero, padding, or what a boundary rule reads there."""
        index = self.index(position)
        if index is not None:
            inside = all(0 <= p <= a.base * (a.size - 1) for p, a in zip(position, self.axes, strict=True))
            return "input" if inside else "read"
        between = all(0 <= p <= a.base * (a.size - 1) for p, a in zip(position, self.axes, strict=True))
        return "zero" if between else "padding"

    def index(self, position):
        """The index into x that is read at a position; None where zero, or cval, is."""
        found = tuple(-1 if p % axis.base else axis.locate(p // axis.base)
                      for p, axis in zip(position, self.axes, strict=True))
        return None if min(found) < 0 else found

    def value(self, position):
        index = self.index(position)
        if index is not None:
            return self.x[index]
        return 0 if self.kind(position) == "zero" else self.options.get("cval", 0)

    def met(self, o):
        """(tap, position) of every tap of output o."""
        for k in np.ndindex(self.taps):
            yield k, tuple(a.stride * oo + a.dilation * kk - a.offset
                           for a, oo, kk in zip(self.axes, o, k, strict=True))

    def step(self, step) -> tuple[int, ...]:
        """The output of a step: its number in C order, or its index."""
        if isinstance(step, (int, np.integer)):
            if not 0 <= step < prod(self.out):
                raise ValueError(f"step={step}: there are {prod(self.out)} steps, counted from 0")
            return tuple(int(i) for i in np.unravel_index(step, self.out))
        index = tuple(int(i) for i in step)
        if len(index) != len(self.out) or not all(0 <= i < n for i, n in zip(index, self.out, strict=True)):
            raise ValueError(f"step={index} is no index of an output with the sizes {self.out}")
        return index

    def text(self) -> str:
        """The numbers of the operator in words."""
        words = [{"conv": "", "conv_transpose": "transposed convolution: "}.get(self.operator, f"{self.operator}: ")
                 + f"{times(self.taps)} taps"]
        if self.operator in SIGNALS:
            words.append(f"mode {self.options.get('mode', 'full')}")
            words += [f"alignment {self.options['alignment']}"] if "alignment" in self.options else []
        else:
            words += [f"{name} {once(np.broadcast_to(self.options.get(name, 1), len(self.size)).tolist())}"
                      for name in ("stride", "dilation")]
            words.append(f"padding {_padding(self.options.get('padding', 'valid'))}")
        if set(np.atleast_1d(self.boundary)) != {"constant"}:
            words.append(f"boundary {once(np.atleast_1d(self.boundary))}")
        if self.options.get("flip"):
            words.append("kernel turned around")
        return ", ".join(words)

    def sum(self, o) -> str:
        """The sum of an output, with numbers if there are any and they fit."""
        name = f"y[{', '.join(map(str, o))}]"
        if self.y is None:
            met = [(k, self.index(p)) for k, p in self.met(o)]
            met = [f"w[{listed(k)}]\N{MIDDLE DOT}x[{listed(i)}]" for k, i in met if i is not None]
            return f"{name} = {(' + '.join(met) or '0') if len(met) <= 5 else f'the sum of {len(met)} products'}"
        terms = [(self.value(p), self.w[k]) for k, p in self.met(o)]
        products = " + ".join(f"{number(a)}\N{MIDDLE DOT}{number(b) if b >= 0 else f'({number(b)})'}" for a, b in terms)
        return f"{name} = {products} = {number(self.y[o])}" if len(terms) <= 9 else f"{name} = {number(self.y[o])}"


def _padding(padding) -> str:
    """The word, the number, or per axis the number or pair."""
    if not hasattr(padding, "__iter__") or isinstance(padding, str):
        return str(padding)
    return once(once(pair) if hasattr(pair, "__iter__") else str(pair) for pair in padding)


def _extent(axis) -> tuple[int, int]:
    """The first and the last position that is drawn: all of x, and all that is asked for."""
    low, high = axis.reach()
    return min(low, 0), max(high, axis.base * (axis.size - 1))
