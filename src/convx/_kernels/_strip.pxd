"""Strips: the rows of x under a block of output rows, copied once; every tap reads them from another place.

A block of pixels is some rows (of one image and one outermost position) by some columns. For each channel and outermost
tap of a box its strip holds the input rows, every stride-th of them side by side, each cut into as many phases as the
row has stride: the pixels of a row are neighbours for every tap, and rows follow each other at one pitch for all of
them. `where` gives the place of each product of the inner sum; a panel adds its own.
Panels begin with each row, or (`open`) run on over the few places between two rows, which belong to no pixel.
"""

from _real cimport real, V
from _nest cimport Nest, Window, Box, locate, clip_low, clip_high, CONSTANT
from _pack cimport Job, Cut, steps, copy, constant, fill_ends

cdef enum:
    STRIP = 65536  # values of a strip: 256 KB in float32, half of the smallest L2 in use (flat from 32 K to 96 K)
    ASIDE = 12     # products that take as long as storing a vector which does not lie in one row (estimated, not swept)


ctypedef struct Strip:
    # Rows and columns of a block, and the sizes of its strip.
    Py_ssize_t rows, columns
    bint open
    Py_ssize_t pitch             # from a row to the next, in the strip
    Py_ssize_t across            # and among the pixels of the block; those beyond `columns` are holes
    Py_ssize_t downs, phases     # strides of rows and columns, as far as taps tell them apart
    Py_ssize_t high              # rows of each of the `downs`
    Py_ssize_t plane             # values of a channel and an outermost tap


cdef inline Py_ssize_t box_taps(const Cut* cuts, bint channel_last, int axis) noexcept nogil:
    """The taps of an axis (3: the channels) in a whole box."""
    if axis == 3:
        return cuts.size[0 if channel_last else 3]
    return cuts.size[2 - axis + channel_last]


cdef inline void strip_of(const Nest* nest, Py_ssize_t taps1, Py_ssize_t taps2, Py_ssize_t rows, Py_ssize_t columns,
                          Py_ssize_t width, Strip* to) noexcept nogil:
    """The strip under rows x columns pixels for boxes of taps1 x taps2 taps; its rows have room for `width` pixels."""
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t down = b.dilation*(taps1 - 1), right = d.dilation*(taps2 - 1)
    to.rows, to.columns, to.pitch = rows, columns, width + right // d.stride
    to.downs, to.phases = min(b.stride, down + 1), min(d.stride, right + 1)
    to.high = rows + down // b.stride
    to.plane = to.downs*to.phases*to.high*to.pitch
    to.open, to.across = False, columns


cdef inline void shape(const Job* job, const Cut* cuts, Py_ssize_t rows, Py_ssize_t columns, Strip* to) noexcept nogil:
    """The strip of a block of gemm."""
    cdef Py_ssize_t kc = 1, closed
    cdef int j
    for j in range(4):
        kc *= cuts.size[j]
    strip_of(job.nest, box_taps(cuts, job.channel_last, 1), box_taps(cuts, job.channel_last, 2), rows, columns, columns, to)
    # Panels of one vector are slower, by about a quarter: 256 channels of 14 x 14 took 1.70 ms open and 2.11 closed.
    closed = (columns + V - 1) // V*(V if columns > V else V + V // 4)
    to.open = rows > 1 and (closed - to.pitch)*kc > ASIDE*to.pitch
    if to.open:
        to.across = to.pitch


cdef inline bint fill_phase(const Job* job, const real* plane, bint exists, Py_ssize_t top, Py_ssize_t rows,
                            Py_ssize_t left, Py_ssize_t columns, const Strip* strip, real* to) noexcept nogil:
    """Every stride-th row from `top` and column from `left` of a plane of x; whether some of them are not there."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t low = min(clip_low(left, d.stride), columns)
    cdef Py_ssize_t high = max(clip_high(left, d.stride, d.size, columns), low), r, i1, j
    cdef const real* line
    cdef bint absent = False
    for r in range(strip.high):
        i1 = locate(b, top + r*b.stride)
        if i1 < 0 or not exists or r >= rows:
            absent |= r < rows and columns > 0
            constant(to, job.cval if r < rows else 0, 1, columns)
        else:
            line = plane + i1*b.xs
            copy(to + low, line + (left + low*d.stride)*d.xs, d.stride*d.xs, high - low)
            if high - low < columns:
                absent |= fill_ends(job, line, left, d.stride, low, high, columns, to)
        for j in range(columns, strip.pitch):
            to[j] = 0
        to += strip.pitch
    return absent


cdef inline bint fill_strip(const Job* job, const real* x, const Box* box, const Strip* strip, const Py_ssize_t* at,
                            real* to, Py_ssize_t* where) noexcept nogil:
    """Copy what a box needs for the block that starts at `at`; whether some taps read nothing."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t top = b.stride*at[2] + b.dilation*box.k0[1] - b.offset
    cdef Py_ssize_t left = d.stride*at[3] + d.dilation*box.k0[2] - d.offset
    cdef Py_ssize_t down = b.dilation*(box.k1[1] - 1 - box.k0[1]), right = d.dilation*(box.k1[2] - 1 - box.k0[2])
    cdef Py_ssize_t k0, c, r, j, i0, p, q, sc, index, planes = box.k1[0] - box.k0[0]
    cdef Py_ssize_t sk[3]
    cdef real* line = to
    cdef bint absent = False
    for c in range(box.c0, box.c1):
        for k0 in range(planes):
            i0 = locate(a, a.stride*at[1] + a.dilation*(k0 + box.k0[0]) - a.offset)
            for q in range(strip.downs):
                for p in range(strip.phases):
                    absent |= fill_phase(job, x + c*nest.xc + i0*a.xs, i0 >= 0,
                                         top + q, strip.rows + (down - q) // b.stride if q <= down else 0,
                                         left + p, strip.columns + (right - p) // d.stride if p <= right else 0,
                                         strip, line)
                    line += strip.high*strip.pitch
    for j in range(V):
        line[j] = 0
    steps(box, job.channel_last, &sc, sk)
    for c in range(box.c1 - box.c0):
        for k0 in range(planes):
            for r in range(box.k1[1] - box.k0[1]):
                index = c*sc + k0*sk[0] + r*sk[1]
                q = b.dilation*r
                q = (c*planes + k0)*strip.plane + (q % b.stride*strip.phases*strip.high + q // b.stride)*strip.pitch
                for j in range(box.k1[2] - box.k0[2]):
                    p = d.dilation*j
                    where[index + j*sk[2]] = q + p % d.stride*strip.high*strip.pitch + p // d.stride
    return absent


cdef inline bint taps_absent(const Nest* nest, const Box* box, const Py_ssize_t* at, Py_ssize_t columns) noexcept nogil:
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
