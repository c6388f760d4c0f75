"""From a Geometry and the arrays' strides to loop nests in normal form (floor 2: no NumPy).

Normal form: base 1, stride > 0, dilation > 0. The reductions happen on strides and origins, never on data:
phases remove the base, reversal removes signs, folding removes axes without taps, peeling limits the rank to the
three windows that compiled kernels know. Strides count elements. A zero stride says what a loop is: no stride in x,
a row of the matrix product; none in w, a column; none in y, an inner sum.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from itertools import product
from math import gcd

from ._geometry import BOUNDARIES, Axis, Geometry

KERNEL_RANK = 3
PLANE = 2  # windows that stay though they have one tap: kernels take several rows together, and run along columns
SHORT = 16  # a run that is no use to vectors: channels of a pixel


@dataclass(frozen=True, slots=True)
class Window:
    """An output loop tied to a tap loop: the axis and the strides x per i, w per k, w per o, y per o, w per i."""

    axis: Axis
    xs: int
    ws: int
    wo: int
    ys: int
    wi: int = 0  # until `Nest.settled`; i is given by o and k

    def is_plain(self) -> bool:
        """One tap that never leaves the array: only a loop over outputs."""
        return self.axis.taps == 1 and not self.axis.is_padded()


@dataclass(frozen=True, slots=True)
class Nest:
    """Four plain loops, their strides (x: n g c, w: g m c, y: n g m), the origins, and the windows."""

    n: int
    g: int
    c: int
    m: int
    x: tuple[int, int, int]
    w: tuple[int, int, int]
    y: tuple[int, int, int]
    origin: tuple[int, int, int]
    windows: tuple[Window, ...]
    first: bool = True  # the first pass over these outputs stores; later ones add

    @property
    def products(self) -> int:
        total = self.n * self.g * self.c * self.m
        for v in self.windows:
            total *= v.axis.out * v.axis.taps
        return total

    @property
    def outputs(self) -> int:
        total = self.n * self.g * self.m
        for v in self.windows:
            total *= v.axis.out
        return total

    @property
    def depth(self) -> int:
        """Products in one output."""
        total = self.c
        for v in self.windows:
            total *= v.axis.taps
        return total

    def shares_weights(self) -> bool:
        return all(v.wo == 0 == v.wi for v in self.windows)

    def settled(self) -> Nest:
        """The same nest with w's steps along inputs, i = stride*o + dilation*k - offset, as steps along o and k.

        Only after `prove`: where no input is read, the address that the steps lead to may lie outside w.
        """
        w0, windows = self.origin[1], []
        for v in self.windows:
            a = v.axis
            w0 -= a.offset * v.wi
            windows.append(Window(a, v.xs, v.ws + a.dilation * v.wi, v.wo + a.stride * v.wi, v.ys))
        return replace(self, origin=(self.origin[0], w0, self.origin[2]), windows=tuple(windows))

    def swap_wy(self) -> Nest:
        """Taps and outputs exchanged, and with them w and y, c and n: see `Axis.swap_wy`. For shared weights."""
        windows = tuple(Window(v.axis.swap_wy(), v.xs, v.ys, 0, v.ws) for v in self.windows)
        (xn, xg, xc), (wg, wm, wc), (yn, yg, ym) = self.x, self.w, self.y
        return replace(self, n=self.c, c=self.n, x=(xc, xg, xn), w=(yg, ym, yn), y=(wc, wg, wm),
                       origin=(self.origin[0], self.origin[2], self.origin[1]), windows=windows)

    def shifted(self, x0: int, w0: int, y0: int, first: bool) -> Nest:
        a, b, c = self.origin
        return replace(self, origin=(a + x0, b + w0, c + y0), first=first)

    def pack(self) -> bytes:
        """The nest as the C struct of `_kernels/_nest.pxd`: innermost window last, missing ones trivial."""
        numbers = [self.n, self.g, self.c, self.m, *self.x, *self.w, *self.y, *self.origin]
        for v in (Window(Axis(1, 1, 1), 0, 0, 0, 0),) * (KERNEL_RANK - len(self.windows)) + self.windows:
            a = v.axis
            numbers += [a.out, a.taps, a.size, a.stride, a.dilation, a.offset, BOUNDARIES.index(a.boundary)]
            numbers += [v.xs, v.ws, v.wo, v.ys]
        return struct.pack(f"{len(numbers)}n", *numbers)

    def spans(self):
        """(lowest, highest) element that the loops can reach in x, w and y."""
        loops = [(self.n, self.x[0], 0, self.y[0]), (self.g, self.x[1], self.w[0], self.y[1]),
                 (self.c, self.x[2], self.w[2], 0), (self.m, 0, self.w[1], self.y[2])]
        for v in self.windows:
            loops += [(v.axis.size, v.xs, v.wi, 0), (v.axis.taps, 0, v.ws, 0), (v.axis.out, 0, v.wo, v.ys)]
        for operand in range(3):
            steps = [(loop[0] - 1) * loop[1 + operand] for loop in loops]
            start = self.origin[operand]
            yield start + sum(min(s, 0) for s in steps), start + sum(max(s, 0) for s in steps)


def normal_form(geometry: Geometry, x, w, y, w_out=None, w_in=None, y_tap=None) -> tuple[list[Nest], bool]:
    """Nests that together compute the geometry, and whether y must be initialised first.

    x, w, y: element strides of the canonical views, (n, g, c, *i), (g, m, c, *k), (n, g, m, *o);
    w_out, w_in: strides of w along the outputs or the inputs where weights are not shared;
    y_tap: strides of y along the taps, which are then not summed: the gradient of unshared weights.
    """
    none = (0,) * len(geometry.axes)
    strides = zip(x[3:], w[3:], w_out or none, y[3:], w_in or none, strict=True)
    choices = [[_reverse(*phase) for whole in _apart(Window(a, *s), t) for phase in _phases(*whole)]
               for a, s, t in zip(geometry.axes, strides, y_tap or none, strict=True)]
    uncovered = any(sum(part[0].axis.out for part in parts) < a.out * (a.taps if t else 1)
                    for parts, a, t in zip(choices, geometry.axes, y_tap or none, strict=True))
    nests = []
    for parts in product(*choices):
        origin = [0, 0, 0]
        for _, shift in parts:
            origin = [p + q for p, q in zip(origin, shift, strict=True)]
        nest = Nest(geometry.n, geometry.g, geometry.c, geometry.m, tuple(x[:3]), tuple(w[:3]), tuple(y[:3]),
                    tuple(origin), tuple(part for part, _ in parts))
        nests.append(_fold(nest))
    return nests, uncovered


def _apart(v: Window, tap: int):
    """The window and its origin in y; where y has a stride along the taps, one window a tap."""
    if not tap:
        yield v, 0
        return
    a = v.axis
    for k in range(a.taps):
        yield Window(replace(a, taps=1, offset=a.offset - a.dilation * k), v.xs, 0, v.wo, v.ys), k * tap


def _phases(v: Window, y0: int):
    if v.axis.base == 1:
        yield v, (0, 0, y0)
        return
    for axis, ks, os in v.axis.phases():
        yield (Window(axis, v.xs, v.ws * ks.step, v.wo * os.step, v.ys * os.step, v.wi),
               (0, ks.start * v.ws + os.start * v.wo, y0 + os.start * v.ys))


def _reverse(v: Window, shift):
    """Positive stride and dilation, by walking w or y from the other end."""
    a, (x0, w0, y0) = v.axis, shift
    if a.dilation < 0 and a.taps:
        last = a.taps - 1
        w0 += last * v.ws
        a = replace(a, dilation=-a.dilation, offset=a.offset - a.dilation * last)
        v = Window(a, v.xs, -v.ws, v.wo, v.ys, v.wi)
    if a.stride < 0 and a.out:
        last = a.out - 1
        w0, y0 = w0 + last * v.wo, y0 + last * v.ys
        a = replace(a, stride=-a.stride, offset=a.offset - a.stride * last)
        v = Window(a, v.xs, v.ws, -v.wo, -v.ys, v.wi)
    return v, (x0, w0, y0)


def _fold(nest: Nest) -> Nest:
    """Drop, merge and reorder axes: long runs innermost, axes without taps into plain loops that nobody uses.

    A batch of one keeps its loop: what a batch is cut into must not change how its parts are computed.
    """
    x0, w0, y0 = nest.origin
    windows = []
    for v in nest.windows:
        if v.is_plain() and v.axis.out:  # a strided view of x, read straight
            x0, w0 = x0 - v.axis.offset * v.xs, w0 - v.axis.offset * v.wi
            out = v.axis.out
            v = Window(Axis(out, 1, out), v.xs * v.axis.stride, 0, v.wo + v.axis.stride * v.wi, v.ys)
            if out == 1:
                continue
        windows.append(v)
    windows.sort(key=lambda v: (-abs(v.ys), -abs(v.xs)))
    merged: list[Window] = []
    for v in windows:
        both = _merge(merged[-1], v) if merged and v.is_plain() and v.axis.out else None
        if both:
            merged[-1] = both
        else:
            merged.append(v)
    nest = replace(nest, origin=(x0, w0, y0), windows=tuple(merged))
    for v in merged:  # outermost first: the innermost stays a window, kernels run along it
        if len(nest.windows) == 1 or not v.is_plain():
            continue
        rest = tuple(u for u in nest.windows if u is not v)
        if v.wo and nest.g == 1 and nest.x[1] == nest.y[1] == 0:
            nest = replace(nest, g=v.axis.out, x=(nest.x[0], v.xs, nest.x[2]), w=(v.wo, *nest.w[1:]),
                           y=(nest.y[0], v.ys, nest.y[2]), windows=rest)
        elif not v.wo and len(nest.windows) > PLANE and nest.n == 1 and nest.x[0] == nest.y[0] == 0:
            nest = replace(nest, n=v.axis.out, x=(v.xs, *nest.x[1:]), y=(v.ys, *nest.y[1:]), windows=rest)
    return nest


def _merge(u: Window, v: Window) -> Window | None:
    """One window for u and the plain v inside it, or None.

    Two plain ones join where their steps allow. A window with taps takes v in where every v filters alike: pixels of
    interleaved channels are a row of out * k, in which the taps lie k apart. The rules that read beside a row's end the
    cell of the same channel (none, or the cell a whole row away) stay what they are.
    """
    a, k = u.axis, v.axis.out
    if (u.xs, u.wo, u.ys) != (v.xs * k, v.wo * k, v.ys * k):
        return None
    if u.is_plain():
        return Window(Axis(a.out * k, 1, a.out * k), v.xs, 0, v.wo, v.ys)
    if k > SHORT or a.stride != 1 or v.wo or u.wi or a.boundary not in ("constant", "wrap"):
        return None
    return Window(replace(a, size=a.size * k, out=a.out * k, dilation=a.dilation * k, offset=a.offset * k),
                  v.xs, u.ws, 0, v.ys)


def peel(nests: list[Nest]) -> tuple[list[Nest], bool]:
    """The same nests with at most `KERNEL_RANK` windows, and whether y must be initialised first."""
    done, bare = [], False
    todo = list(nests)
    while todo:
        nest = todo.pop()
        if len(nest.windows) <= KERNEL_RANK:
            done.append(nest)
            continue
        v = min(nest.windows, key=lambda v: v.axis.out * v.axis.taps)
        rest = tuple(u for u in nest.windows if u is not v)
        x0, w0, y0 = nest.origin
        for o in range(v.axis.out):
            first = nest.first
            for k in range(v.axis.taps):
                i = v.axis.locate(v.axis.stride * o + v.axis.dilation * k - v.axis.offset)
                if i >= 0:
                    origin = (x0 + i * v.xs, w0 + k * v.ws + o * v.wo + i * v.wi, y0 + o * v.ys)
                    todo.append(replace(nest, origin=origin, windows=rest, first=first))
                    first = False
            bare = bare or first
    return done[::-1], bare


def undilated(nest: Nest, apart: bool = False) -> list[Nest]:
    """Nests without dilation along the last two windows that together are this one (see `Axis.lattices`).

    Lattices of one form are a loop of one nest, unless they are to stay apart: a batch where there is none, else a
    window where kernels have one left, else nests. (To peel another window would leave out what it has no products
    for.) For shared weights.
    """
    found, outer = [], nest.windows[:-2]
    for forms in product(*(_lattices(v, apart) for v in nest.windows[-2:])):
        part = nest.shifted(sum(form[2] for form in forms), 0, sum(form[3] for form in forms), nest.first)
        loops = []
        for loop in sorted((form[1] for form in reversed(forms)), key=lambda v: -v.axis.out):
            if loop.axis.out > 1 and part.n == 1:
                part = replace(part, n=loop.axis.out, x=(loop.xs, *part.x[1:]), y=(loop.ys, *part.y[1:]))
            elif loop.axis.out > 1:
                loops.append(loop)
        room = max(KERNEL_RANK - len(outer) - len(forms), 0)
        part = replace(part, windows=(*outer, *loops[:room], *(form[0] for form in forms)))
        for at in product(*(range(loop.axis.out) for loop in loops[room:])):
            moved = part
            for o, loop in zip(at, loops[room:], strict=True):
                moved = moved.shifted(o * loop.xs, 0, o * loop.ys, nest.first)
            found.append(moved)
    return found


def _lattices(v: Window, apart: bool):
    """(window without dilation, window over those that are alike, origins in x and y) of each form of lattice."""
    a, forms = v.axis, []
    for axis, i0, o0 in a.lattices():
        alike = forms and not apart and axis == forms[-1][0]
        if alike and i0 - a.stride * o0 == forms[-1][1] - a.stride * forms[-1][2]:
            forms[-1][3] += 1
        else:
            forms.append([axis, i0, o0, 1])
    step = a.dilation // gcd(a.dilation, a.stride)
    for axis, i0, o0, count in forms:
        dense, loop = Window(axis, v.xs * a.dilation, v.ws, 0, v.ys * step), Axis(count, 1, count)
        yield dense, Window(loop, v.xs * a.stride, 0, 0, v.ys), i0 * v.xs, o0 * v.ys


def prove(nests: list[Nest], extents) -> None:
    """Raise unless every address lies inside the arrays; extents: (lowest, highest) element of x, w, y."""
    for nest in nests:
        if not nest.products:
            continue
        for name, (low, high), (least, most) in zip("xwy", nest.spans(), extents, strict=True):
            if low < least or high > most:
                raise AssertionError(f"nest reaches {name}[{low}..{high}], the array is [{least}..{most}]")
