"""Pieces of an array with V channels side by side: strips in scratch whose every column is one vector.

A lane is a pair of group and output channel (of any layout), so a strip of x repeats a channel that several outputs of
its group read. What lies outside the array is filled in by the boundary rule.
"""

from _real cimport real, V, v_load, v_store, v_set, v_transpose_rows, v_copy_permuted, v_prefetch_read
from _nest cimport Window, locate, clip_low, clip_high, CONSTANT

cdef enum:
    NEIGHBOURS = 0  # lane after lane in memory
    AMONG = 1       # among V neighbours
    BY_ROWS = 2     # each along its row
    SINGLE = 3
    LINE = 64       # bytes of the cache


ctypedef struct Lanes:
    # Where V lanes lie in an array, from its first; `start` of them belong to the vector before.
    int how, start, count
    Py_ssize_t at[V]


cdef inline void find(Lanes* l, Py_ssize_t first, Py_ssize_t total, Py_ssize_t m, Py_ssize_t g_step, Py_ssize_t m_step,
                      Py_ssize_t channels, Py_ssize_t column) noexcept nogil:
    """Lanes first .. first + V (the last ones if there are fewer) of `total` = groups * m; `channels`: how many
    neighbours of a lane the array has for other channels (1: none); `column`: its step along a row."""
    cdef Py_ssize_t i, lane, span = 0
    l.start, l.count = 0, min(<Py_ssize_t>V, total)
    if first + V > total:
        l.start = max(<Py_ssize_t>0, first + V - total) if total >= V else 0
        first = total - l.count
    l.how = NEIGHBOURS
    for i in range(V):
        lane = first + min(i, <Py_ssize_t>l.count - 1)
        l.at[i] = lane*g_step if m == 1 else lane // m*g_step + lane % m*m_step
        span = max(span, l.at[i] - l.at[0])
        if l.at[i] != l.at[0] + i:
            l.how = SINGLE
    if l.how == SINGLE and column == 1:
        l.how = BY_ROWS
    elif (l.how == SINGLE and g_step == channels and m_step >= 0 and span + channels <= V
          and l.at[0] + V <= total // m*channels):
        l.how = AMONG


cdef inline void copy_columns(const Lanes* l, const real* x, Py_ssize_t other, Py_ssize_t step, Py_ssize_t count,
                              real* to) noexcept nogil:
    """`count` columns; x: at channel 0, other: the channel's distance from it."""
    cdef Py_ssize_t j = 0, i
    cdef Py_ssize_t index[V]
    if l.how == NEIGHBOURS:
        x += other + l.at[0]
        for j in range(count):
            v_store(to + j*V, v_load(x + j*step))
    elif l.how == AMONG:
        for i in range(V):
            index[i] = l.at[i] - l.at[0] + other
        v_copy_permuted(to, x + l.at[0], step, count, index)
    elif l.how == BY_ROWS and count >= V:
        while j < count:
            j = min(j, count - V)
            v_transpose_rows(to + j*V, x + other + j, l.at)
            j += V
    else:
        for j in range(count):
            for i in range(V):
                to[j*V + i] = x[other + l.at[i] + j*step]


cdef inline void touch(const Window* a, const Window* b, const real* x, Py_ssize_t top, Py_ssize_t height,
                       Py_ssize_t jump, Py_ssize_t left, Py_ssize_t width, Py_ssize_t channels) noexcept nogil:
    """Ask for rows of many channels in the order of memory, which the hardware follows far ahead: strips of V channels
    read a line here and a line there. Only where the channels of a column lie together."""
    cdef Py_ssize_t h, i, j, k, low = max(left, <Py_ssize_t>0), high = min(left + width, b.size)
    if channels <= V or channels > (b.xs if b.xs > 0 else -b.xs):
        return
    for h in range(height):
        i = top + h*jump
        if i < 0 or i >= a.size:
            continue
        for j in range(low, high):
            k = 0
            while k < channels:
                v_prefetch_read(x + i*a.xs + j*b.xs + k)
                k += LINE // <Py_ssize_t>sizeof(real)


cdef inline bint copy_strip(const Lanes* l, const Window* a, const Window* b, const real* x, Py_ssize_t other,
                            Py_ssize_t top, Py_ssize_t height, Py_ssize_t jump, Py_ssize_t left, Py_ssize_t width,
                            real cval, real* to) noexcept nogil:
    """Rows top, top + jump, ... of columns left .. left + width; whether some places have nothing to read."""
    cdef Py_ssize_t h, i, j, k, q, low = min(clip_low(left, 1), width), high = max(low, clip_high(left, 1, b.size, width))
    cdef bint absent = b.boundary == CONSTANT and (low > 0 or high < width)
    for h in range(height):
        i = locate(a, top + h*jump)
        if i < 0:
            absent = True
            for j in range(width):
                v_store(to + j*V, v_set(cval))
        else:
            copy_columns(l, x + i*a.xs + (left + low)*b.xs, other, b.xs, high - low, to + low*V)
            j = 0 if low > 0 else high
            while j < width:
                k = locate(b, left + j)
                if k < 0:
                    v_store(to + j*V, v_set(cval))
                else:
                    for q in range(V):
                        to[j*V + q] = x[i*a.xs + k*b.xs + other + l.at[q]]
                j += 1
                if j == low:
                    j = high
        to += width*V
    return absent


cdef inline bint point_strip(const Window* a, const Window* b, const real* x, Py_ssize_t top, Py_ssize_t height,
                             Py_ssize_t jump, Py_ssize_t left, Py_ssize_t width, Py_ssize_t pitch,
                             const real* nothing, const real** to) noexcept nogil:
    """Where the places of such a strip lie, instead of a copy, rows `pitch` apart. What has nothing to read lies at
    `nothing`."""
    cdef Py_ssize_t h, i, j, k, low = min(clip_low(left, 1), width), high = max(low, clip_high(left, 1, b.size, width))
    cdef bint absent = b.boundary == CONSTANT and (low > 0 or high < width)
    for h in range(height):
        i = locate(a, top + h*jump)
        if i < 0:
            absent = True
            for j in range(width):
                to[j] = nothing
        else:
            for j in range(low, high):
                to[j] = x + i*a.xs + (left + j)*b.xs
            j = 0 if low > 0 else high
            while j < width:
                k = locate(b, left + j)
                to[j] = nothing if k < 0 else x + i*a.xs + k*b.xs
                j += 1
                if j == low:
                    j = high
        to += pitch
    return absent
