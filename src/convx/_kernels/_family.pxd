"""Nests that read the same rows of x, as the phases of a strided gradient do: one nest that reads what all of them read.

For steps of one and a constant boundary: an output at o reads o - offset ... o - offset + taps - 1 along each axis, so
the windows of several nests are parts of one window.
"""

from libc.string cimport memcmp
from _nest cimport Nest, Window, CONSTANT


cdef inline bint same_lines(const Window* a, const Window* b) noexcept nogil:
    return (a.stride == b.stride == a.dilation == b.dilation == 1 and a.boundary == b.boundary == CONSTANT
            and a.size == b.size and a.xs == b.xs and a.ys == b.ys)


cdef inline bint alike(const Nest* a, const Nest* b) noexcept nogil:
    """Whether one copy of x can serve both, and both write in the same steps."""
    return (a.n == b.n and a.g == b.g and a.c == b.c and a.m == b.m and a.xn == b.xn and a.xg == b.xg and a.xc == b.xc
            and a.yn == b.yn and a.yg == b.yg and a.ym == b.ym and a.x0 == b.x0
            and memcmp(&a.axis[0], &b.axis[0], sizeof(Window)) == 0
            and same_lines(&a.axis[1], &b.axis[1]) and same_lines(&a.axis[2], &b.axis[2]))


cdef inline void take_in(Nest* whole, const Nest* nest) noexcept nogil:
    """Windows that read what `nest` reads too, for as many outputs."""
    cdef Window* a
    cdef const Window* b
    cdef Py_ssize_t behind
    cdef int i
    for i in range(1, 3):
        a = &whole.axis[i]
        b = &nest.axis[i]
        behind = max(a.taps - a.offset, b.taps - b.offset)
        a.offset = max(a.offset, b.offset)
        a.taps, a.out = behind + a.offset, max(a.out, b.out)


cdef inline bint between(const Nest* even, const Nest* odd) noexcept nogil:
    """Whether the outputs of `odd` lie between those of `even`, which is `alike`."""
    return (even.axis[2].ys == 2 and odd.y0 == even.y0 + 1 and even.axis[1].out == odd.axis[1].out
            and 0 <= even.axis[2].out - odd.axis[2].out <= 1)
