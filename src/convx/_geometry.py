"""The one relation behind every operator (floor 1: standard library only).

For each spatial axis an input index i, a tap k and an output index o meet exactly when

    base*i = stride*o + dilation*k - offset,     0 <= i < size,  0 <= k < taps,  0 <= o < out

and y[n, g, m, o] = sum over c, k (and the i that meets them) of x[n, g, c, i] * w[g, m, c, k].
Stride, dilation and offset may be negative. The gradients and the transposed operator are the same
relation with two letters exchanged (`swap_xy`, `swap_wy`), so no K-1-p formula exists anywhere.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from math import gcd

BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
NAMED_PADDINGS = ("valid", "same", "same_lower", "full")


@dataclass(frozen=True, slots=True)
class Axis:
    """One spatial axis: the seven numbers of the relation and what lies outside the array.

        base*i = stride*o + dilation*k - offset,     0 <= i < size,  0 <= k < taps,  0 <= o < out

    Attributes
    ----------
    size, taps, out : int
        Cells of the input, of the kernel and of the output.
    base, stride, dilation, offset : int
        The relation. A convolution has base 1, and offset is its padding before; a transposed one has its stride here
        as base.
    boundary : str
        What positions outside the array read.
    """

    size: int
    taps: int
    out: int
    base: int = 1
    stride: int = 1
    dilation: int = 1
    offset: int = 0
    boundary: str = "constant"

    def swap_xy(self) -> Axis:
        """Exchange input and output: the input gradient, or the transposed operator."""
        if self.boundary != "constant" and self.is_padded():
            raise ValueError(f"the role swap of a {self.boundary!r} boundary is not one relation: see `folds`")
        return Axis(self.out, self.taps, self.size, self.stride, self.base, -self.dilation, -self.offset)

    def swap_wy(self) -> Axis:
        """Exchange taps and output: the weight gradient."""
        return Axis(
            self.size, self.out, self.taps, self.base, self.dilation, self.stride, self.offset, self.boundary
        )

    def phases(self):
        """Yield (axis with base 1, slice of the taps, slice of the outputs) that together are this axis.

        Outputs that no phase names have no partner and are zero.
        """
        step_k, step_o = self.base // gcd(self.base, self.dilation), self.base // gcd(self.base, self.stride)
        shared = self.base // step_o
        inverse = pow(self.stride // shared, -1, step_o)
        for k0 in range(min(step_k, self.taps)):
            ahead = self.offset - self.dilation * k0
            o0 = ahead // shared * inverse % step_o  # the first output with stride*o0 = ahead modulo base
            if ahead % shared == 0 and o0 < self.out:
                axis = Axis(
                    self.size,
                    len(range(k0, self.taps, step_k)),
                    len(range(o0, self.out, step_o)),
                    1,
                    self.stride * step_o // self.base,
                    self.dilation * step_k // self.base,
                    (ahead - self.stride * o0) // self.base,
                    self.boundary,
                )
                yield axis, slice(k0, None, step_k), slice(o0, None, step_o)

    def lattices(self):
        """Yield (axis with dilation 1, its first input, its first output) that together are this axis.

        Outputs that lie dilation / gcd(dilation, stride) apart read inputs that lie a dilation apart. For base 1,
        positive stride and dilation, and outputs that ask for nothing outside the array or for a constant there.
        """
        step = self.dilation // gcd(self.dilation, self.stride)
        for o0 in range(max(min(step, self.out), 1)):
            before, i0 = divmod(self.stride * o0 - self.offset, self.dilation)
            size, out = len(range(i0, self.size, self.dilation)), len(range(o0, self.out, step))
            yield Axis(size, self.taps, out, 1, self.stride * step // self.dilation, 1, -before, self.boundary), i0, o0

    def folds(self):
        """Yield (axis with the constant boundary, positions of its inputs or None) that together are this one.

        The first is the array itself; the others are what lies before and after it, if the boundary rule reads there
        (`locate` says what). For base 1.
        """
        yield replace(self, boundary="constant"), None
        if self.boundary == "constant" or not self.is_padded():
            return
        low, high = self.reach()
        for start, stop in ((low, 0), (self.size, high + 1)):
            if start < stop:
                rim = replace(self, size=stop - start, offset=self.offset + start, boundary="constant")
                yield rim, range(start, stop)

    def trimmed(self) -> Axis:
        """Without the taps that no output finds in the array (dilation, stride positive, base 1)."""
        first = max(0, -((self.stride * (self.out - 1) - self.offset) // self.dilation)) if self.out else 0
        last = min(self.taps, (self.size - 1 + self.offset) // self.dilation + 1)
        offset = self.offset - self.dilation * first
        return Axis(self.size, max(last - first, 0), self.out, 1, self.stride, self.dilation, offset, self.boundary)

    def reach(self) -> tuple[int, int]:
        """Smallest and largest base*i that an output asks for (taps and out at least 1)."""
        across, along = self.stride * (self.out - 1), self.dilation * (self.taps - 1)
        return min(across, 0) + min(along, 0) - self.offset, max(across, 0) + max(along, 0) - self.offset

    def is_padded(self) -> bool:
        """Whether some output asks for an input outside the array."""
        if self.taps == 0 or self.out == 0:
            return False
        low, high = self.reach()
        return low < 0 or high > self.base * (self.size - 1)

    def padding(self) -> tuple[int, int]:
        """Cells of padding before and after with which a layer has this axis.

        Cells after the array that the last stride leaves over are none. What is no axis of a layer (of which base is 1,
        stride and dilation are positive) raises a ValueError.
        """
        if self.base != 1 or self.stride < 1 or self.dilation < 1:
            raise ValueError(f"base {self.base}, stride {self.stride}, dilation {self.dilation}: in a layer base is 1, "
                             "and stride and dilation are above 0")
        after = self.stride * (self.out - 1) + self.dilation * (self.taps - 1) + 1 - self.size - self.offset
        return self.offset, 0 if -self.stride < after < 0 else after

    def locate(self, i: int) -> int:
        """The index that position i reads after the boundary rule; -1 where nothing (or cval) is read."""
        if 0 <= i < self.size:
            return i
        if self.boundary == "constant" or self.size == 0:
            return -1
        if self.boundary == "edge":
            return min(max(i, 0), self.size - 1)
        if self.boundary == "wrap":
            return i % self.size
        period = 2 * self.size - (2 if self.boundary == "reflect" else 0)
        if period == 0:
            return 0
        i %= period
        if i < self.size:
            return i
        return period - i - (1 if self.boundary == "symmetric" else 0)


def margins(size, taps, stride, dilation, padding) -> tuple[int, int]:
    """Cells of padding before and after; padding is a name of `NAMED_PADDINGS` or just that."""
    reach = dilation * (taps - 1)
    if padding == "valid":
        return 0, 0
    if padding == "full":
        return reach, reach
    if padding in ("same", "same_lower"):
        total = max((-(-size // stride) - 1) * stride + reach + 1 - size, 0) if size else 0
        before = total // 2 if padding == "same" else total - total // 2
        return before, total - before
    return padding


def _tied(size, taps, out, stride, dilation, before, boundary, flip) -> Axis:
    """The axis whose first window starts `before` cells before the array; a flipped kernel runs from its last tap."""
    if flip:
        return Axis(size, taps, out, 1, stride, -dilation, before - dilation * (taps - 1), boundary)
    return Axis(size, taps, out, 1, stride, dilation, before, boundary)


def forward_axis(size, taps, stride, dilation, padding, boundary="constant", flip=False, name="axis",
                 ceil=False) -> Axis:
    """The axis of a forward convolution; padding is a name of `NAMED_PADDINGS` or (before, after).

    ceil: one more output where the last stride leaves cells over, also where the kernel spans less than a stride more
    than the input; a last one that starts in the padding after the input is dropped.
    """
    span = dilation * (taps - 1) + 1
    before, after = margins(size, taps, stride, dilation, padding)
    if padding in ("same", "same_lower") and size == 0:
        return Axis(0, taps, 0, 1, stride, -dilation if flip else dilation, 0, boundary)
    room = size + before + after - span
    out = (room + (stride - 1 if ceil else 0)) // stride + 1
    if out < 1:
        raise ValueError(
            f"{name}: a kernel of {taps} taps with dilation {dilation} spans {span}, more than the padded "
            f"input ({before} + {size} + {after} = {size + before + after})"
        )
    if size == 0 and boundary != "constant":
        raise ValueError(f"{name}: boundary={boundary!r} cannot extend an axis of size 0")
    out -= ceil and (out - 1) * stride >= size + before
    return _tied(size, taps, out, stride, dilation, before, boundary, flip)


def transposed_axis(out, taps, stride, dilation, padding, boundary="constant", flip=False, name="axis", extra=0,
                    size=None) -> Axis:
    """The forward axis with `out` outputs whose swap a transposed convolution is: its `size` is what that returns.

    Several sizes belong to one `out`: the smallest plus `extra` is taken (for "same": stride * out), or `size` itself.
    """
    span = dilation * (taps - 1) + 1
    if padding in ("same", "same_lower"):
        low, high = max(stride * (out - 1) + 1, 0), stride * out
        natural = high
    else:
        before, after = margins(0, taps, stride, dilation, padding)
        natural = low = stride * (out - 1) + span - before - after if out else 0
        high = low + max(stride, dilation) - 1
    if size is None:
        size = natural + extra
    if size < 0:
        raise ValueError(f"{name}: {out} inputs and a kernel that spans {span} leave {size} outputs inside the padding")
    if not low <= size <= high:
        added = f" (output_padding={extra})" if extra else ""
        raise ValueError(f"{name}: {out} inputs make from {low} to {high} outputs, not {size}{added}")
    if size == 0 and boundary != "constant" and out:
        raise ValueError(f"{name}: boundary={boundary!r} cannot extend an axis of size 0")
    return _tied(size, taps, out, stride, dilation, margins(size, taps, stride, dilation, padding)[0], boundary, flip)


@dataclass(frozen=True, slots=True)
class Geometry:
    """A whole problem: the four plain loops and the axes.

    Attributes
    ----------
    n, g : int
        Batch, groups.
    c, m : int
        Input and output channels of a group.
    axes : tuple of Axis
        The index relation of each spatial axis.
    """

    n: int
    g: int
    c: int
    m: int
    axes: tuple[Axis, ...]

    def swap_xy(self) -> Geometry:
        """dy, w (c and m exchanged) -> dx."""
        return Geometry(self.n, self.g, self.m, self.c, tuple(a.swap_xy() for a in self.axes))

    def swap_wy(self) -> Geometry:
        """x (n and c exchanged), dy in the place of w -> dw (n and c exchanged)."""
        return Geometry(self.c, self.g, self.n, self.m, tuple(a.swap_wy() for a in self.axes))

    @property
    def products(self) -> int:
        """Multiply-adds, counting padded taps."""
        total = self.n * self.g * self.c * self.m
        for a in self.axes:
            total *= a.out * a.taps
        return total

    def is_padded(self) -> bool:
        return any(a.is_padded() for a in self.axes)

    def text(self) -> str:
        """The problem line, e.g. ``n1 g1 c3 m8 i32x32 k3x3 o32x32 b1 s1 d1 p1``; `parse` reads it back."""

        def many(values, collapse=True):
            values = tuple(values)
            if collapse and len(set(values)) == 1:
                values = values[:1]
            return "x".join(map(str, values))

        words = [f"n{self.n}", f"g{self.g}", f"c{self.c}", f"m{self.m}"]
        for letter, field in (("i", "size"), ("k", "taps"), ("o", "out")):
            words.append(letter + many((getattr(a, field) for a in self.axes), collapse=False))
        if any(a.base != 1 for a in self.axes):
            words.append("b" + many(a.base for a in self.axes))
        for letter, field in (("s", "stride"), ("d", "dilation"), ("p", "offset")):
            words.append(letter + many(getattr(a, field) for a in self.axes))
        if any(a.boundary != "constant" for a in self.axes):
            words.append(many(a.boundary for a in self.axes))
        return " ".join(words)


_WORD = re.compile(r"([ngcmikobsdp])(-?\d+(?:x-?\d+)*)")


def parse(line: str) -> Geometry:
    """The Geometry of a problem line. Words left out take base, stride, dilation 1, offset 0, constant; without o the
    offset is padding on both sides."""
    numbers: dict[str, tuple[int, ...]] = {}
    boundary: tuple[str, ...] = ()
    for word in line.split():
        match = _WORD.fullmatch(word)
        if not match and not all(part in BOUNDARIES for part in word.split("x")):
            raise ValueError(f"problem line: {word!r} is no word of {line!r}")
        if match[1] in numbers if match else boundary:
            raise ValueError(f"problem line: {line!r} has two words such as {word!r}")
        if match:
            numbers[match[1]] = tuple(map(int, match[2].split("x")))
        else:
            boundary = tuple(word.split("x"))
    if "i" not in numbers or "k" not in numbers:
        raise ValueError(f"problem line: {line!r} needs at least the words i and k, as in i56x56 k3x3")
    rank = len(numbers["k"])
    for letter, values in numbers.items():
        if letter in "ngcm" and len(values) != 1:
            raise ValueError(f"problem line: {letter} of {line!r} is one number")
        if letter in "ngcmikob" and min(values) < (letter in "gb"):
            raise ValueError(f"problem line: {letter} of {line!r} must be at least {int(letter in 'gb')}")

    def spread(name, values):
        if len(values) != rank and (len(values) != 1 or name in ("i", "o")):
            raise ValueError(f"problem line: {name} of {line!r} has {len(values)} entries, k has {rank}")
        return values * rank if len(values) == 1 else values

    size, taps, base, stride, dilation, offset = (
        spread(letter, numbers.get(letter, default)) for letter, default in
        (("i", ()), ("k", ()), ("b", (1,)), ("s", (1,)), ("d", (1,)), ("p", (0,))))
    rules = spread("the boundary", boundary or ("constant",))
    if "o" in numbers:
        out = spread("o", numbers["o"])
    elif set(base) != {1} or min(*stride, *dilation) < 1 or min(offset) < 0:
        raise ValueError(f"problem line: without o {line!r} is a layer, whose strides and dilations are above 0, and "
                         "whose padding is not below")
    else:
        out = [forward_axis(n, t, s, d, (p, p), rule, name=f"spatial axis {a}").out
               for a, (n, t, s, d, p, rule) in enumerate(zip(size, taps, stride, dilation, offset, rules, strict=True))]
    axes = tuple(map(Axis, size, taps, out, base, stride, dilation, offset, rules))
    return Geometry(*(numbers.get(letter, (1,))[0] for letter in "ngcm"), axes)
