"""Strips: the rows of x under a block of output rows, copied once; every tap reads them from another place.

A block of pixels is some rows (of one image and one outermost position) by some columns. For each channel and outermost
tap of a box its strip holds the input rows, each cut into as many phases as the row has stride, so that the pixels of a
row are neighbours for every tap. `where` gives the place of each product of the inner sum; a panel adds its own.
"""

from _real cimport real, V
from _nest cimport Nest, Window, Box, locate, CONSTANT
from _pack cimport Job, Cut, KC, steps, pack_rim

cdef enum:
    STRIP = 65536  # values of a strip: 256 KB in float32, half of the smallest L2 in use (flat from 32 K to 96 K)


ctypedef struct Strip:
    # Rows and columns of a block, and the sizes of its strip.
    Py_ssize_t rows, columns
    Py_ssize_t height, pitch, line   # input rows; values of a phase, and of a row


cdef inline void shape(const Nest* nest, Py_ssize_t taps1, Py_ssize_t taps2, Py_ssize_t rows, Py_ssize_t columns,
                       Strip* to) noexcept nogil:
    """The strip of a block for boxes of taps1 x taps2 taps."""
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    to.rows, to.columns = rows, columns
    to.height = (rows - 1)*b.stride + b.dilation*(taps1 - 1) + 1
    to.pitch = (columns + V - 1) // V*V + d.dilation*(taps2 - 1) // d.stride
    to.line = to.pitch*min(d.stride, d.dilation*(taps2 - 1) + 1)


cdef inline Py_ssize_t box_taps(const Cut* cuts, bint channel_last, int axis) noexcept nogil:
    """The taps of an axis (3: the channels) in a whole box."""
    if axis == 3:
        return cuts.size[0 if channel_last else 3]
    return cuts.size[2 - axis + channel_last]


cdef inline bint fill_strip(const Job* job, const real* x, const Box* box, const Strip* strip, const Py_ssize_t* at,
                            real* to, Py_ssize_t* where) noexcept nogil:
    """Copy what a box needs for the block that starts at `at`; whether some taps read nothing."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t top = b.stride*at[2] + b.dilation*box.k0[1] - b.offset
    cdef Py_ssize_t left = d.stride*at[3] + d.dilation*box.k0[2] - d.offset
    cdef Py_ssize_t reach = d.dilation*(box.k1[2] - 1 - box.k0[2]), phases = min(d.stride, reach + 1)
    cdef Py_ssize_t count, k0, c, r, j, i0, i1, p, sc, index, planes = box.k1[0] - box.k0[0]
    cdef Py_ssize_t sk[3]
    cdef real* line
    cdef const real* plane
    cdef bint absent = False
    for c in range(box.c0, box.c1):
        for k0 in range(planes):
            i0 = locate(a, a.stride*at[1] + a.dilation*(k0 + box.k0[0]) - a.offset)
            plane = x + c*nest.xc + i0*a.xs
            line = to + ((c - box.c0)*planes + k0)*strip.height*strip.line
            for r in range(strip.height):
                i1 = locate(b, top + r)
                for p in range(phases):
                    count = strip.columns + (reach - p) // d.stride
                    absent |= pack_rim(job, plane + i1*b.xs, left + p, d.stride, i0 >= 0 and i1 >= 0, count,
                                       line + p*strip.pitch)
                    for j in range(count, strip.pitch):
                        line[p*strip.pitch + j] = 0
                line += strip.line
    steps(box, job.channel_last, &sc, sk)
    for c in range(box.c1 - box.c0):
        for k0 in range(planes):
            for r in range(box.k1[1] - box.k0[1]):
                index = c*sc + k0*sk[0] + r*sk[1]
                for j in range(box.k1[2] - box.k0[2]):
                    p = d.dilation*j
                    where[index + j*sk[2]] = (((c*planes + k0)*strip.height + b.dilation*r)*strip.line
                                              + p % d.stride*strip.pitch + p // d.stride)
    return absent


cdef inline bint panel_absent(const Nest* nest, const Box* box, const Py_ssize_t* at, Py_ssize_t columns) noexcept nogil:
    """Whether some taps of `columns` pixels of a row, from `at`, read nothing."""
    cdef const Window* d = &nest.axis[2]
    cdef const Window* v
    cdef Py_ssize_t k, first = d.stride*at[3] + d.dilation*box.k0[2] - d.offset
    cdef int axis
    if d.boundary == CONSTANT and (
            first < 0 or first + d.stride*(columns - 1) + d.dilation*(box.k1[2] - 1 - box.k0[2]) >= d.size):
        return True
    for axis in range(2):
        v = &nest.axis[axis]
        for k in range(box.k0[axis], box.k1[axis]):
            if locate(v, v.stride*at[axis + 1] + v.dilation*k - v.offset) < 0:
                return True
    return d.size == 0
