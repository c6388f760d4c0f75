"""The words of annotations (beside floor 1): for type checkers, nothing imports this file at run time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, Protocol, SupportsIndex, TypeAlias, TypedDict

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, ArrayLike] | Iterable[ArrayLike]
Shape: TypeAlias = Sequence[SupportsIndex]
Counts: TypeAlias = SupportsIndex | Iterable[SupportsIndex]  # one for all axes, or one per axis
Number: TypeAlias = complex | np.number[Any] | np.bool  # to a type checker float and int are complex
Seed: TypeAlias = np.random.Generator | int
Window: TypeAlias = Literal["global"] | Counts

Boundary: TypeAlias = Literal["constant", "edge", "reflect", "symmetric", "wrap"]
NamedPadding: TypeAlias = Literal["valid", "same", "same_lower", "full"]
Padding: TypeAlias = NamedPadding | SupportsIndex | Iterable[SupportsIndex | Iterable[SupportsIndex]]
Overflow: TypeAlias = Literal["raise", "saturate", "wrap"]
Algorithm: TypeAlias = Literal["auto", "sums", "measure", "depthwise", "stencil", "stencil_winograd", "winograd",
                               "thin_winograd", "thin", "gemm", "fft", "direct", "reference"]


class LinearOptions(TypedDict, total=False):
    """The keywords of a layer that its three gradients at once have too."""

    stride: Counts
    padding: Padding
    dilation: Counts
    groups: SupportsIndex
    layout: str | None
    w_layout: str | None
    boundary: Boundary | tuple[Boundary, ...]
    cval: Number
    flip: bool
    algorithm: Algorithm


class LayerOptions(LinearOptions, total=False):
    """The keywords of `conv` but out and workers."""

    dtype: DTypeLike | None
    overflow: Overflow


class PoolOptions(TypedDict, total=False):
    """The keywords that all of pooling has, but out."""

    stride: Counts | None
    padding: Padding
    dilation: Counts
    ceil_mode: bool
    layout: str | None
    workers: SupportsIndex | None


class Described(Protocol):
    """What a plan wants to know of an operand."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...
