"""Winograd's lines down the columns of planes: 7 products for 4 rows of outputs of 4 kernel rows.

Kernel rows come in blocks of four, and rows of a plane too: rows 4j to 4j + 6 become row j of seven planes, one a
point. There a block of kernel rows is one kernel row, and a stencil of a quarter of the rows sums them: outputs i of
the seven become rows 4i to 4i + 3 of y. A kernel of k rows takes 7/4 ceil(k/4) products an output, not k, for each tap
of a row.
"""

from _real cimport real, vreal, V, v_set, v_copy
from _nest cimport Nest, Window
from _points cimport interpolate, evaluate, combine

cdef enum:
    POINTS = 7
    LINE = 4  # outputs, and taps, of a line


cdef inline Py_ssize_t blocks_of(Py_ssize_t rows) noexcept nogil:
    return (rows + LINE - 1) // LINE


cdef inline void to_points(const real* p, Py_ssize_t row, Py_ssize_t count, Py_ssize_t vectors, real* to,
                           Py_ssize_t plane) noexcept nogil:
    """Rows of a plane, `row` apart, as `count` rows of one plane a point, in which they lie as far apart."""
    cdef Py_ssize_t i, j
    for i in range(count):
        for j in range(vectors):
            interpolate(p + j*V, row, to + j*V, plane, POINTS)
        p += LINE*row
        to += row


cdef inline vreal from_points(const real* p, Py_ssize_t plane, Py_ssize_t count, Py_ssize_t vectors, Py_ssize_t row,
                              real* to) noexcept nogil:
    """`count` rows of sums at the points as rows of outputs; nan in lanes of sums that are not finite."""
    cdef vreal bad = v_set(0)
    cdef Py_ssize_t i, j
    for i in range(count):
        for j in range(vectors):
            bad = bad + combine(p + j*V, plane, to + j*V, row, POINTS, LINE, False, v_set(0), True)
        p += row
        to += LINE*row
    return bad


cdef inline Py_ssize_t weights_size(const Nest* nest) noexcept nogil:
    """Of one output channel and point."""
    return nest.axis[0].taps*nest.c*blocks_of(nest.axis[1].taps)*nest.axis[2].taps


cdef inline void weights(const Nest* nest, const real* w, real* to) noexcept nogil:
    """One output channel's: point, tap of the outermost window, channel, block of kernel rows, tap of the row."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t size = weights_size(nest), k0, c, k, k2, i, j, wide
    cdef const real* row
    cdef real taps[LINE*V]
    cdef real turned[POINTS*V]
    for i in range(LINE*V):
        taps[i] = 0
    for k0 in range(p.taps):
        for c in range(nest.c):
            for k in range(blocks_of(a.taps)):
                k2 = 0
                while k2 < b.taps:
                    wide = min(<Py_ssize_t>V, b.taps - k2)
                    for j in range(LINE):
                        row = w + k0*p.ws + c*nest.wc + (k*LINE + j)*a.ws + k2*b.ws
                        for i in range(wide):
                            taps[j*V + i] = row[i*b.ws] if k*LINE + j < a.taps else 0
                    evaluate(taps, V, turned, V, POINTS, LINE, True)
                    for j in range(POINTS):
                        v_copy(to + j*size, turned + j*V, wide)
                    to += wide
                    k2 += wide
