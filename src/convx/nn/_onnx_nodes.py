"""What the operators of ONNX are made from (floor 7): nodes, and the table of builders.

A builder looks at a node once, when the file is read: it takes every attribute, refuses what it cannot do, and returns
the function of arrays that runs. The package onnx is not needed here.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

# The numbers of TensorProto.DataType that NumPy has a dtype for.
DTYPES = {1: np.float32, 2: np.uint8, 3: np.int8, 4: np.uint16, 5: np.int16, 6: np.int32, 7: np.int64, 9: np.bool_,
          10: np.float16, 11: np.float64, 12: np.uint32, 13: np.uint64, 14: np.complex64, 15: np.complex128}

BUILDERS: dict = {}


class Unsupported(Exception):
    """An option of an operator that is not known here; the reader adds the node."""


@dataclass
class Node:
    """One node of a graph as a builder sees it."""

    name: str
    operator: str
    opset: int
    attributes: dict
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    constants: tuple = ()  # per input its array where the file holds it, else None
    taken: set = field(default_factory=set)

    def take(self, attribute: str, default=None):
        self.taken.add(attribute)
        return self.attributes.get(attribute, default)

    def only(self, attribute: str, *values) -> None:
        """Refuse every value of an attribute but these, the first of which is the default."""
        found = self.take(attribute, values[0])
        if found not in values:
            raise Unsupported(f"{attribute}={found!r}")

    def ignore(self, *attributes: str) -> None:
        """Attributes without an effect in inference."""
        self.taken.update(attributes)

    def constant(self, i: int):
        return self.constants[i] if i < len(self.constants) else None

    def leftovers(self) -> list[str]:
        return [name for name in self.attributes if name not in self.taken]

    def since(self, opset: int) -> bool:
        return self.opset >= opset

    def input_or(self, attribute: str, i: int, opset: int):
        """What was an attribute before this opset and is input i from there on: a function of the inputs."""
        if self.since(opset):
            return lambda given: given[i] if i < len(given) else None
        value = self.take(attribute)
        return lambda given: value


def operator(*names: str):
    """Enter a builder into the table."""
    def enter(build):
        for name in names:
            BUILDERS[name] = build
        return build
    return enter


def dtype_of(number) -> np.dtype:
    if number not in DTYPES:
        raise Unsupported(f"data type {number}")
    return np.dtype(DTYPES[number])


def whole(array) -> tuple[int, ...]:
    """A list of integers that came as an array or an attribute."""
    return tuple(int(n) for n in np.atleast_1d(array).ravel())
