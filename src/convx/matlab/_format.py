"""Formats and options of the Deep Learning Toolbox (what dlconv, maxpool and the others share).

A dlarray is an array and a format, one letter for each axis: S (spatial), C (channels), B (batch), T (time). Here the
format is the option DataFormat. Windows move along the axes S; without any along T, and with them T is more batch. An
array is brought into the order S..., C, batch by a view, which convx reads as it lies in memory.
"""

from __future__ import annotations

from math import prod

import numpy as np

from ._values import MatlabError, is_text, numeric, word


def error(function: str, what: str, message: str) -> MatlabError:
    return MatlabError(message, f"deep:{function}:invalid{what}")


class Arranged:
    """A view x of an array in the order S..., C, N, and the way back for a result."""

    def __init__(self, array, letters, function: str, pooled=None):
        if not is_text(letters):
            raise error(function, "DataFormat", "DataFormat must say what the axes of X are, as 'SSCB'.")
        self.letters = letters = letters.upper()
        if not set(letters) <= set("SCBT") or any(letters.count(letter) > 1 for letter in "CBT"):
            raise error(function, "DataFormat", f"DataFormat '{letters}' must be S, and one C, B and T at most.")
        if array.ndim > len(letters):
            raise error(function, "DataFormat", f"DataFormat '{letters}' is too short, X has {array.ndim} axes.")
        self.shape = array.shape + (1,) * (len(letters) - array.ndim)
        moving = pooled or ("S" if "S" in letters else "T")
        self.window = [a for a, letter in enumerate(letters) if letter in moving]
        if not self.window or "C" in moving or "B" in moving:
            raise error(function, "DataFormat", f"DataFormat '{letters}' has no axis for windows to move along.")
        self.channels = [a for a, letter in enumerate(letters) if letter == "C"]
        self.rest = [a for a in range(len(letters)) if a not in self.window and a not in self.channels]
        self.sizes = [self.shape[a] for a in self.window]
        self.rank = len(self.window)
        view = array.reshape(self.shape).transpose(*self.window, *self.channels, *self.rest)
        self.counts = view.shape[self.rank + len(self.channels):]
        channels = view.shape[self.rank] if self.channels else 1
        # a copy only of two axes of batch in C order
        self.x = view.reshape((*self.sizes, channels, prod(self.counts)), order="F")

    def back(self, y: np.ndarray) -> np.ndarray:
        """A result S..., C, N in the order of the axes of X."""
        channels = y.shape[self.rank:self.rank + 1] if self.channels else ()
        y = y.reshape((*y.shape[:self.rank], *channels, *self.counts), order="F")
        return y.transpose(np.argsort(self.window + self.channels + self.rest))

    def linear(self, places: np.ndarray) -> np.ndarray:
        """Column-major indices from 1 into X, of column-major places in the planes S of an array S..., C, N."""
        steps = np.cumprod([1, *self.shape[:-1]])
        channel = np.arange(places.shape[self.rank])[:, None] * (steps[self.channels[0]] if self.channels else 0)
        found = np.ones((1, 1), np.int64) + channel
        n = np.arange(places.shape[-1])
        for a in self.rest:
            found = found + n % self.shape[a] * steps[a]
            n = n // self.shape[a]
        if self.window == list(range(self.rank)):  # planes lie in one piece
            return places + found
        found = np.broadcast_to(found, places.shape)
        for a in self.window:
            found = found + places % self.shape[a] * steps[a]
            places = places // self.shape[a]
        return found


def whole_numbers(value, count: int, name: str, function: str, least: int) -> list[int]:
    """One whole number for all window axes, or one for each."""
    numbers = numeric(value, name, f"deep:{function}:invalid{name}").ravel()
    if numbers.dtype.kind == "c" or numbers.size not in (1, count):
        raise error(function, name, f"{name} must hold 1 or {count} numbers, not {numbers.size}.")
    if not np.isfinite(numbers).all() or (numbers != np.floor(numbers)).any() or (numbers < least).any():
        raise error(function, name, f"{name} must hold whole numbers of at least {least}, not {numbers.tolist()}.")
    return [int(n) for n in numbers] * (count if numbers.size == 1 else 1)


def sides(value, spans, name: str, function: str, words=("same",)):
    """'same', or (low, high) for each window axis: a scalar, a number for each axis, or a matrix [low; high]."""
    rank = len(spans)
    if is_text(value):
        chosen = word(value, words, abbreviated=True, identifier=f"deep:{function}:invalid{name}",
                      message=f"{name} {value!r} is none of {', '.join(words)}.")
        if chosen == "same":
            return chosen
        if rank != 1:
            raise error(function, name, f"{name} 'causal' is for one axis, the windows move along {rank}.")
        return ((spans[0] - 1, 0),)
    numbers = numeric(value, name, f"deep:{function}:invalid{name}")
    if numbers.shape == (2, rank) and numbers.size > 1:
        return tuple(zip(*(whole_numbers(side, rank, name, function, 0) for side in numbers), strict=True))
    return tuple((n, n) for n in whole_numbers(numbers, rank, name, function, 0))


def fits(at: Arranged, spans, pads, what: str, function: str) -> None:
    """A window must not be larger than the padded input, and a pad must be smaller than the window."""
    if pads == "same":
        return
    for size, span, (low, high) in zip(at.sizes, spans, pads, strict=True):
        if max(low, high) >= span and (low or high):
            raise error(function, "Padding", f"Padding of {max(low, high)} is not smaller than the {what} ({span}).")
        if span > size + low + high:
            raise error(function, "Size", f"The {what} spans {span}, the padded input {size + low + high}.")
