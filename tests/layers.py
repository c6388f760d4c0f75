"""Calls of the layers and their gradients, drawn at random, and what they mean by the oracle's triples.

In the words of the forward convolution u (n, g*c, *size) and w give v (n, g*m, *out). A layer and its two gradients are
the three contractions of those arrays: V(u, w), U(v, w), W(u, v). conv_transpose has u and v exchanged.
"""

from dataclasses import dataclass, field

import numpy as np
import oracle
from hypothesis import note
from hypothesis import strategies as st

import convx
from convx._select import SOLVERS

FLOATS = ("f2", "f4", "f8", "c8", "c16")
BOUNDARIES = ("constant", "edge", "reflect", "symmetric", "wrap")
LAYOUTS = ("NCHW", "NHWC", "HWCN")
OPERATORS = ("conv", "conv_transpose", "locally_connected")
W_OF = {"NCHW": "OIHW", "NHWC": "OHWI", "HWCN": "HWIO"}
ROLES = {"conv": "uwv", "locally_connected": "uwv", "conv_transpose": "vwu"}  # x, w, y


def axis_of(size, taps, stride, dilation, padding, boundary):
    """The oracle's axis of a forward convolution; padding is a word or (before, after)."""
    span = dilation * (taps - 1) + 1
    if padding in ("same", "same_lower"):
        out = (size + stride - 1) // stride
        missing = max(stride * (out - 1) + span - size, 0)
        before = missing // 2 if padding == "same" else (missing + 1) // 2
    else:
        before, after = {"valid": (0, 0), "full": (span - 1, span - 1)}.get(padding, padding)
        out = (size + before + after - span) // stride + 1
    return size, taps, out, 1, stride, dilation, before, boundary


@dataclass
class Case:
    """One layer: its axes as the oracle takes them (taps not yet flipped), channels, and the keywords of the call."""

    operator: str
    n: int
    g: int
    c: int
    m: int
    axes: list
    options: dict
    layout: str = "NCHW"
    w_layout: str | None = None
    batched: bool = True
    extra: dict = field(default_factory=dict)  # output_shape of conv_transpose

    @property
    def rank(self):
        return len(self.axes)

    @property
    def local(self):
        return self.operator == "locally_connected"

    @property
    def flip(self):
        return self.options.get("flip", False)

    def shape(self, letter):
        """The canonical shape: u (n, g, c, *i), v (n, g, m, *o), w (g, m, c, *k) and, for its own weights, *o."""
        out = tuple(axis[2] for axis in self.axes)
        return {"u": (self.n, self.g, self.c, *(axis[0] for axis in self.axes)), "v": (self.n, self.g, self.m, *out),
                "w": (self.g, self.m, self.c, *(axis[1] for axis in self.axes), *(out if self.local else ()))}[letter]

    def arrays(self, dtype, seed=0, most=9):
        """u, w, v at random; whole numbers up to most where the dtype has no fractions."""
        rng, dtype, found = np.random.default_rng(seed), np.dtype(dtype), {}
        for letter in "uwv":
            shape = self.shape(letter)
            if dtype.kind in "iu":
                found[letter] = rng.integers(0 if dtype.kind == "u" else -most, most, shape, dtype, endpoint=True)
            else:
                a = rng.standard_normal(shape)
                found[letter] = (a + 1j * rng.standard_normal(shape) if dtype.kind == "c" else a).astype(dtype)
        return found

    def order(self, letter):
        """Where the axes of the caller's array stand in (n, channels, *space) or (out, in, *taps), for `transpose`."""
        word = (self.w_layout or W_OF[self.layout]) if letter == "w" else self.layout
        first, second = ("O", "I") if letter == "w" else ("N", "C")
        at = {first: (0,), second: (1,), "S": tuple(range(2, 2 + self.rank))}
        return [place for sign in word.replace("HW", "S") for place in at[sign]]

    def user(self, letter, a):
        """The canonical array as the caller has it: a view."""
        if letter == "w":
            a = np.moveaxis(a, range(3 + self.rank, a.ndim), range(a.ndim - 3 - self.rank))
            lead = a.ndim - 3 - self.rank
            a = a.reshape(*a.shape[:lead], self.g * self.m, *a.shape[lead + 2:])
            return a.transpose(*range(lead), *(lead + at for at in self.order("w")))
        a = a.reshape(a.shape[0], a.shape[1] * a.shape[2], *a.shape[3:]).transpose(self.order(letter))
        return a if self.batched else a.squeeze(self.order(letter).index(0))

    def canonical(self, letter, a):
        """The inverse of `user`."""
        if letter == "w":
            lead = self.rank if self.local else 0
            a = a.transpose(*range(lead), *(lead + at for at in np.argsort(self.order("w"))))
            a = a.reshape(*a.shape[:lead], self.g, self.m, *a.shape[lead + 1:])
            return np.moveaxis(a, range(lead), range(a.ndim - lead, a.ndim))
        a = a if self.batched else np.expand_dims(a, self.order(letter).index(0))
        a = a.transpose(np.argsort(self.order(letter)))
        return a.reshape(a.shape[0], self.g, a.shape[1] // self.g, *a.shape[2:])

    def outside(self, letter):
        """What the constant boundary adds to this contraction."""
        return 0 if letter == "u" or self.operator == "conv_transpose" else self.options.get("cval", 0)

    def keywords(self):
        words = {"layout": self.layout, "w_layout": self.w_layout} if self.layout != "NCHW" or self.w_layout else {}
        return self.options | self.extra | words

    def call(self, letter, arrays, **more):
        """The contraction with this result by the function of its name, in canonical order: V of conv is conv(u, w)."""
        x, w, y = ROLES[self.operator]
        given = {name: self.user(name, arrays[name]) for name in "uwv" if name != letter}
        options = self.keywords() | more
        if letter == y:
            found = getattr(convx, self.operator)(given[x], given[w], **options)
        else:
            shape = self.user(letter, np.broadcast_to(np.int8(0), self.shape(letter))).shape
            if letter == x:
                found = getattr(convx, f"{self.operator}_grad_input")(given[y], given[w], shape, **options)
            else:
                found = getattr(convx, f"{self.operator}_grad_weight")(given[x], given[y], shape, **options)
            assert found.shape == shape
        return self.canonical(letter, found)

    def conjugated(self, letter):
        """The operand that this contraction conjugates, in the caller's reading: the other factor of a gradient."""
        x, _, y = ROLES[self.operator]
        return None if letter == y else "w" if letter == x else x

    def expected(self, letter, arrays):
        """The contraction by enumeration, in extended precision or Python integers, with conjugates as documented."""
        given = {name: arrays[name] for name in "uwv" if name != letter}
        kind = np.result_type(*given.values()).kind
        wide = {"f": np.longdouble, "c": np.clongdouble}.get(kind, object)
        given = {name: a.astype(wide) for name, a in given.items()}
        other = self.conjugated(letter)
        if other:
            given[other] = given[other].conj()
        cval = self.outside(letter)
        return self.contract(letter, given, np.conj(cval) if letter == "w" else cval)

    def contract(self, letter, given, cval=0):
        """`contract` with the taps turned where the layer flips them."""
        taps = tuple(range(3, 3 + self.rank))
        given = {name: np.flip(a, taps) if name == "w" and self.flip else a for name, a in given.items()}
        found = contract(letter, self.axes, given, self.shape(letter), cval, self.local)
        return np.flip(found, taps) if letter == "w" and self.flip else found


def contract(letter, axes, given, shape, cval=0, local=False):
    """u[i] += v[o] w[k], w[k] += u[i] v[o] or v[o] += u[i] w[k] over every (o, k, i) that meet, in the given types."""
    o, k, i, inside = oracle.meetings(tuple(axes), bool(cval))
    at = {"u": i, "v": o, "w": (*k, *o) if local else k}
    found = np.zeros(shape, np.result_type(*given.values()))
    if not o[0].size:
        return found
    with np.errstate(all="ignore"):
        part = {}
        for name, a in given.items():
            part[name] = a[(..., *at[name])] if a.size else np.zeros((*a.shape[:3], o[0].size), a.dtype)
        if cval and "u" in part:
            part["u"] = np.where(inside, part["u"], np.asarray(cval, part["u"].dtype))
        if letter == "v":
            terms = (part["u"][:, :, None] * part["w"]).sum(3)
        elif letter == "u":
            terms = (part["v"][:, :, :, None] * part["w"]).sum(2)
        else:
            terms = (part["u"][:, :, None] * part["v"][:, :, :, None]).sum(0)
        oracle.add(found, at[letter], terms)
    return found


def attempt(case, letter, arrays, algorithm="auto", **more):
    """The contraction, or None where the named algorithm refuses."""
    try:
        return case.call(letter, arrays, algorithm=algorithm, **more)
    except ValueError as error:
        if f"{algorithm!r} refused: " not in str(error):
            raise
        return None


class Bounds:
    """The tolerances for one contraction: (L + 2) * eps * (that of absolute values), or by norms; as in problems.py."""

    def __init__(self, case, letter, arrays):
        names = [name for name in "uwv" if name != letter]
        size = {name: np.abs(arrays[name]).astype(float) for name in names}
        cval = abs(case.outside(letter))
        count = case.contract(letter, {name: np.ones(size[name].shape) for name in names}, bool(cval))
        absolute = case.contract(letter, size, cval)
        dtype = np.result_type(*(arrays[name] for name in names))
        eps = np.finfo("f4" if dtype == np.float16 else dtype).eps
        self.elements = (count + 2) * eps * absolute
        walked, weights = {"v": "uw", "u": "vw", "w": "uv"}[letter]
        over = {"v": (0, 1), "u": (0, 2), "w": (1, 2)}[letter]  # the loops that weights have beside the summed ones
        sums = size[weights].sum(axis=tuple(a for a in range(size[weights].ndim) if a not in over))
        most = max(size[walked].max(initial=0), cval) * sums.max(initial=0)
        self.norms = np.full(case.shape(letter), (count.max(initial=0) + 2) * eps * most)
        half = dtype == np.float16  # stored rounded
        self.stored = absolute * np.finfo(dtype).eps + np.finfo(dtype).tiny if half else 0

    def of(self, algorithm):
        """That of a named algorithm, or of whatever "auto" may take."""
        return self.stored + np.max([solver.error_factor * (self.norms if solver.normwise else self.elements)
                                     for solver in SOLVERS if algorithm in ("auto", solver.name)], axis=0)


@st.composite
def cases(draw, operators=OPERATORS, ranks=(1, 2, 3, 4), layouts=("NCHW",), boundaries=BOUNDARIES, cval=False):
    """A layer with every form of geometry."""
    operator, rank = draw(st.sampled_from(operators)), draw(st.sampled_from(ranks))
    most, high = ((11, 5), (8, 4), (5, 3), (3, 2))[rank - 1]
    n, g, c, m = (draw(st.integers(1, top)) for top in (3, 2, 3, 3))
    word = draw(st.sampled_from(("valid", "same", "same_lower", "full", "pairs", "pairs", "int")))
    flip, number = draw(st.booleans()), draw(st.integers(0, 3))
    axes, pads, edges = [], [], []
    for _ in range(rank):
        size, taps = draw(st.integers(1, most)), draw(st.integers(1, high))
        stride, dilation = draw(st.integers(1, 4)), draw(st.integers(1, 3))
        pad = {"pairs": (draw(st.integers(0, 4)), draw(st.integers(0, 4))), "int": (number, number)}.get(word, word)
        room = {"valid": size}.get(pad, size + 99 if isinstance(pad, str) else size + sum(pad))
        taps = min(taps, (room - 1) // dilation + 1)
        edges.append(draw(st.sampled_from(boundaries)))
        pads.append(pad)
        axes.append(axis_of(size, taps, stride, dilation, pad, edges[-1]))
    padding = {"pairs": tuple(pads), "int": number}.get(word, word)
    options = {"stride": tuple(a[4] for a in axes), "dilation": tuple(a[5] for a in axes), "padding": padding,
               "groups": g, "boundary": tuple(edges), "flip": flip}
    if cval and draw(st.booleans()):
        options["cval"] = draw(st.integers(-2, 2))
    extra = {"output_shape": tuple(a[0] for a in axes)} if operator == "conv_transpose" else {}
    layout = draw(st.sampled_from(layouts))
    w_layout = draw(st.sampled_from([None, *W_OF.values()])) if len(layouts) > 1 else None
    batched = n > 1 or draw(st.booleans())
    if "cval" in options and "constant" not in edges:
        options["cval"] = 0
    case = Case(operator, n, g, c, m, axes, options, layout, w_layout, batched, extra)
    note(f"{operator} n{n} g{g} c{c} m{m} {axes} {case.keywords()}")
    return case
