"""The problems of `problems.txt`, their arrays, and convx's options for them: what every benchmark here reads."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod
from pathlib import Path

import numpy as np

FILE = Path(__file__).with_name("problems.txt")


@cache
def problems() -> dict[str, dict[str, tuple[int, ...]]]:
    """tag -> letter -> numbers."""
    found = {}
    for line in FILE.read_text().splitlines():
        words = line.split("#")[0].split()
        if words:
            found[words[0]] = letters(words[1:])
    return found


def letters(words) -> dict[str, tuple[int, ...]]:
    """letter -> numbers of the words of a problem line; one number for an axis serves all axes."""
    numbers = {word[0]: tuple(map(int, word[1:].split("x"))) for word in words}
    rank = len(numbers["k"])
    return {a: v if a in "ngcm" or len(v) == rank else v * rank for a, v in numbers.items()}


@dataclass(frozen=True)
class Case:
    """One problem in one dtype and layout."""

    tag: str
    dtype: str
    layout: str

    @property
    def transposed(self) -> bool:
        """The line is that of the convolution whose transpose is called: its y is the input."""
        return self.tag.startswith("transposed")

    def __getattr__(self, letter):
        return problems()[self.tag][letter]

    @property
    def products(self) -> int:
        (n,), (g,), (c,), (m,) = self.n, self.g, self.c, self.m
        return n * g * c * m * prod(self.k) * prod(self.o)

    @property
    def shapes(self):
        """x, w, y with channels first."""
        (n,), (g,), (c,), (m,) = self.n, self.g, self.c, self.m
        return (n, g * c, *self.i), (g * m, c, *self.k), (n, g * m, *self.o)

    def options(self) -> dict:
        ends = [(o - 1) * s + d * (k - 1) + 1 - i - p
                for o, s, d, k, i, p in zip(self.o, self.s, self.d, self.k, self.i, self.p, strict=True)]
        padding = tuple((p, max(end, 0)) for p, end in zip(self.p, ends, strict=True))
        if all(2 * p == d * (k - 1) for p, d, k in zip(self.p, self.d, self.k, strict=True)) and max(self.s) == 1:
            padding = "same"
        return {"stride": self.s, "dilation": self.d, "padding": padding, "groups": self.g[0], "layout": self.layout}


@cache
def operands(tag: str, dtype: str):
    """x, w and y (the input of a transposed layer, or a gradient), channels first, values around zero."""
    rng = np.random.default_rng(7)
    return tuple(rng.standard_normal(shape, dtype=dtype) for shape in Case(tag, dtype, "NCHW").shapes)


def laid_out(array, layout):
    return np.ascontiguousarray(np.moveaxis(array, 1, -1)) if layout == "NHWC" else array
