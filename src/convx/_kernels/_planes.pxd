"""Pieces of an array as planes in scratch: rows of one channel, the boundary filled in, ready for vectors along the row.

Positions along a row are base + step*lane + shift*tap. Lanes lie beside each other: a step above 1 splits a row into
phases, so tap t reads neighbours from `tap_at(t)` on. Channels that are neighbours in memory are transposed, V of them
by V columns at a time. What is stored in another type than `real` becomes real here.
"""

from libc.stdint cimport int64_t
from _real cimport real, V, v_load, v_store, v_set, v_copy, v_copy_even, v_transpose, v_even
from _nest cimport Window, locate, clip_low, clip_high, CONSTANT
from _stored cimport bytes_of, read_one, read_run


ctypedef struct Planes:
    Py_ssize_t step, shift    # of a lane and of a tap, in positions
    Py_ssize_t phases, width  # phases of a row, and the columns of each
    Py_ssize_t row, plane     # distances of rows and of planes
    Py_ssize_t groups, channels, groups_step, channels_step  # planes, and where they lie in the array
    bint turned               # channels (of all groups) are neighbours in the array, columns are not
    int64_t type              # how the array is stored


cdef inline bint neighbours(Py_ssize_t groups, Py_ssize_t channels, Py_ssize_t g_step, Py_ssize_t c_step,
                            Py_ssize_t column_step) noexcept nogil:
    """Whether the channels of all groups lie beside each other, enough of them to be worth turning."""
    return (column_step != 1 and groups*channels >= 4 and (channels == 1 or c_step == 1)
            and (groups == 1 or g_step == channels))


cdef inline Py_ssize_t apart(Py_ssize_t size) noexcept nogil:
    """The distance of planes: a power of two apart they would share one set of the L1 cache."""
    return size + V if size // V % 2 == 0 else size


cdef inline void lay(Planes* p, Py_ssize_t step, Py_ssize_t shift, Py_ssize_t taps, Py_ssize_t lanes,
                     Py_ssize_t height) noexcept nogil:
    """Room for `lanes` columns under each of the taps, and for `height` rows."""
    cdef Py_ssize_t a = step, b = shift
    while b:
        a, b = b, a % b
    p.step, p.shift = step, shift
    p.phases = max(<Py_ssize_t>1, min(taps, step // a))
    p.width = (lanes + shift*(taps - 1) // step + V - 1) // V*V
    p.row = p.phases*p.width
    p.plane = apart(height*p.row)


cdef inline Py_ssize_t tap_at(const Planes* p, Py_ssize_t tap) noexcept nogil:
    """Where a tap's first lane lies in a row."""
    return tap % p.phases*p.width + p.shift*tap // p.step


cdef inline void fill(real* to, Py_ssize_t count, real value) noexcept nogil:
    cdef Py_ssize_t j = 0
    while j + V <= count:
        v_store(to + j, v_set(value))
        j += V
    if count >= V:
        v_store(to + count - V, v_set(value))
        return
    while j < count:
        to[j] = value
        j += 1


cdef inline void copy_run(real* to, const char* x, Py_ssize_t step, Py_ssize_t count, int64_t type) noexcept nogil:
    """`count` values, `step` apart."""
    if type == 0 and step == 1:
        v_copy(to, <const real*>x, count)
    elif type == 0 and step == 2:
        v_copy_even(to, <const real*>x, count)
    else:
        read_run(to, x, step, count, type)


cdef inline void turn(const real* x, Py_ssize_t column, Py_ssize_t columns, Py_ssize_t channels, real* to,
                      Py_ssize_t plane) noexcept nogil:
    """to[channel*plane + j] = x[j*column + channel]."""
    cdef real square[V*V]
    cdef real turned[V*V]
    cdef Py_ssize_t i, j, k, c, wide, high
    for i in range((channels + V - 1) // V):
        c = i*V
        high = min(<Py_ssize_t>V, channels - c)
        j = 0
        while j < columns:
            wide = min(<Py_ssize_t>V, columns - j)
            if wide < V and columns >= V:  # the last columns again, with those before them
                j, wide = columns - V, V
            if wide == V and high == V:
                v_transpose(to + c*plane + j, plane, x + j*column + c, column)
            else:
                for k in range(wide):
                    v_copy(square + k*V, x + (j + k)*column + c, high)
                v_transpose(turned, V, square, V)
                for k in range(high):
                    v_copy(to + (c + k)*plane + j, turned + k*V, wide)
            j += wide


cdef inline void beside(const Planes* p, const Window* b, const char* line, Py_ssize_t start, Py_ssize_t first,
                        Py_ssize_t last, Py_ssize_t count, real* to) noexcept nogil:
    """Places first to last of a row, which lie outside the array, by the boundary rule."""
    cdef Py_ssize_t i, j, k
    for j in range(first, last):
        i = locate(b, start + p.step*j) - start
        for k in range(count):
            to[k*p.plane + j] = read_one(line + (i*b.xs + k)*bytes_of(p.type), p.type)


cdef inline bint phase(const Planes* p, const Window* a, const Window* b, const char* x, Py_ssize_t count,
                       Py_ssize_t top, Py_ssize_t height, Py_ssize_t jump, Py_ssize_t start, real cval,
                       real* to) noexcept nogil:
    """One phase of the rows of a plane, or of all `count` of them if they are turned; `start`: the first position."""
    cdef Py_ssize_t h, i, k, size = bytes_of(p.type), step = p.step*b.xs, low = min(clip_low(start, p.step), p.width)
    cdef Py_ssize_t high = max(low, clip_high(start, p.step, b.size, p.width))
    cdef const char* line
    cdef bint absent = b.boundary == CONSTANT and (low > 0 or high < p.width)
    x += start*b.xs*size
    for h in range(height):
        i = locate(a, top + h*jump)
        if i < 0:
            absent = True
            for k in range(count):
                fill(to + k*p.plane, p.width, cval)
            to += p.row
            continue
        line = x + i*a.xs*size
        if count > 1:
            turn(<const real*>line + low*step, step, high - low, count, to + low, p.plane)
        else:
            copy_run(to + low, line + low*step*size, step, high - low, p.type)
        if b.boundary == CONSTANT:
            for k in range(count):
                fill(to + k*p.plane, low, cval)
                fill(to + k*p.plane + high, p.width - high, cval)
        else:
            beside(p, b, line, start, 0, low, count, to)
            beside(p, b, line, start, high, p.width, count, to)
        to += p.row
    return absent


cdef inline bint halves(const Planes* p, const Window* a, const Window* b, const real* x, Py_ssize_t top,
                        Py_ssize_t height, Py_ssize_t jump, Py_ssize_t left, real cval, real* to) noexcept nogil:
    """`phase` for both phases of a step of two at once: every second value of a row, and those between them, with a
    constant boundary, reals, and at least a vector of columns where both lie inside."""
    cdef Py_ssize_t h, i, j, low = clip_low(left, 2), high = clip_high(left + 1, 2, b.size, p.width)
    cdef Py_ssize_t far = clip_high(left, 2, b.size, p.width)
    cdef const real* line
    cdef real* even
    cdef real* odd
    cdef bint absent = low > 0 or high < p.width
    for h in range(height):
        i = locate(a, top + h*jump)
        even, odd = to + h*p.row, to + h*p.row + p.width
        if i < 0:
            absent = True
            fill(even, 2*p.width, cval)
            continue
        line = x + i*a.xs + left
        j = high // V*V
        while j < p.width:
            v_store(even + j, v_set(cval))
            v_store(odd + j, v_set(cval))
            j += V
        for j in range(low):
            even[j] = cval
            odd[j] = line[2*j + 1] if left + 2*j + 1 >= 0 else cval
        j = low
        while j < high:
            j = min(j, high - V)
            v_store(even + j, v_even(v_load(line + 2*j), v_load(line + 2*j + V - 1)))
            v_store(odd + j, v_even(v_load(line + 2*j + 1), v_load(line + 2*j + V)))
            j += V
        if far > high:
            even[high] = line[2*high]
    return absent


cdef inline bint halved(const Planes* p, const Window* b, Py_ssize_t left) noexcept nogil:
    """Whether `halves` can do it."""
    return (p.step == p.phases == 2 and p.type == 0 and b.xs == 1 and b.boundary == CONSTANT and not p.turned
            and clip_high(left + 1, 2, b.size, p.width) - clip_low(left, 2) >= V)


cdef inline bint copy(const Planes* p, const Window* a, const Window* b, const char* x, Py_ssize_t groups,
                      Py_ssize_t top, Py_ssize_t height, Py_ssize_t jump, Py_ssize_t left, real cval,
                      real* to) noexcept nogil:
    """Rows top, top + jump, ... of the planes of `groups` groups; whether some places have nothing to read."""
    cdef Py_ssize_t g, c, q, start, size = bytes_of(p.type)
    cdef bint absent = False
    if halved(p, b, left):
        for g in range(groups):
            for c in range(p.channels):
                if halves(p, a, b, <const real*>x + g*p.groups_step + c*p.channels_step, top, height, jump, left,
                          cval, to + (g*p.channels + c)*p.plane):
                    absent = True
        return absent
    for q in range(p.phases):
        start = left + p.shift*q % p.step
        if p.turned:
            if phase(p, a, b, x, groups*p.channels, top, height, jump, start, cval, to + q*p.width):
                absent = True
            continue
        for g in range(groups):
            for c in range(p.channels):
                if phase(p, a, b, x + (g*p.groups_step + c*p.channels_step)*size, 1, top, height, jump, start, cval,
                         to + (g*p.channels + c)*p.plane + q*p.width):
                    absent = True
    return absent
