"""The taps of Winograd's layers, gathered some channels at a time so that lanes are output channels, and put back.

Taps that are neighbours in memory are turned as they lie, those of all phases of a stride together.
"""

from _real cimport real, V, v_load, v_store, v_set, v_copy, v_transpose, v_prefetch_far
from _nest cimport Nest
from _pack cimport turn

cdef extern from "Python.h":
    Py_ssize_t PY_SSIZE_T_MIN, PY_SSIZE_T_MAX


ctypedef struct Order:
    # How the taps of a channel are kept: tap (k1, k2) is number first + k1*s1 + k2*s2.
    Py_ssize_t t1, t2, taps, first, s1, s2
    bint adjoin   # as in memory, where they are neighbours


cdef inline Py_ssize_t all_taps(const Nest* nest, Py_ssize_t phases) noexcept nogil:
    """Taps along the last two windows."""
    cdef Py_ssize_t i, count = 0
    for i in range(phases):
        count += nest[i].axis[1].taps*nest[i].axis[2].taps
    return count


cdef inline void fill(real* to, real value, Py_ssize_t columns) noexcept nogil:
    """Vectors of one value."""
    cdef Py_ssize_t j
    for j in range(columns):
        v_store(to + j*V, v_set(value))


cdef inline bint steps(Py_ssize_t taps, Py_ssize_t step, Py_ssize_t wanted) noexcept nogil:
    return taps == 1 or step == wanted or step == -wanted


cdef inline void order_taps(const Nest* nest, const Nest* phase, Py_ssize_t phases, Order* to) noexcept nogil:
    """Of a nest, one of some phases whose taps may be neighbours together: then they are kept together."""
    cdef Py_ssize_t r = nest.axis[1].ws, s = nest.axis[2].ws, t1 = nest.axis[1].taps, t2 = nest.axis[2].taps
    cdef Py_ssize_t low = PY_SSIZE_T_MAX, high = PY_SSIZE_T_MIN, down, across, i
    to.t1, to.t2, to.taps = t1, t2, t1*t2
    to.first, to.s1, to.s2 = 0, t2, 1
    to.adjoin = nest.wm != 1 and ((steps(t1, r, t2) and steps(t2, s, 1)) or (steps(t1, r, 1) and steps(t2, s, t1)))
    if to.adjoin:
        to.first, to.s1, to.s2 = -min((t1 - 1)*r, <Py_ssize_t>0) - min((t2 - 1)*s, <Py_ssize_t>0), r, s
    if phases == 1:
        return
    for i in range(phases):
        down, across = (phase[i].axis[1].taps - 1)*phase[i].axis[1].ws, (phase[i].axis[2].taps - 1)*phase[i].axis[2].ws
        low = min(low, phase[i].w0 + min(down, <Py_ssize_t>0) + min(across, <Py_ssize_t>0))
        high = max(high, phase[i].w0 + max(down, <Py_ssize_t>0) + max(across, <Py_ssize_t>0))
    if nest.wm != 1 and high - low + 1 == all_taps(phase, phases):
        to.adjoin, to.taps, to.first, to.s1, to.s2 = True, high - low + 1, nest.w0 - low, r, s


cdef inline void turn_whole(real* to, const real* p, Py_ssize_t taps) noexcept nogil:
    """V rows of fewer taps than V, one after another, as squares: from a copy, since those of the last rows end late."""
    cdef real rows[V*V + V]
    cdef real square[V*V]
    cdef Py_ssize_t k
    for k in range(taps):
        v_store(rows + k*V, v_load(p + k*V))
    v_transpose(square, V, rows, taps)
    for k in range(taps):
        v_store(to + k*V, v_load(square + k*V))


cdef inline void gather(const Nest* nest, const Order* order, const real* w, Py_ssize_t lanes, Py_ssize_t channels,
                        real* to) noexcept nogil:
    """The taps of some channels as (channel, tap, lane of m)."""
    cdef Py_ssize_t c, k, lane
    cdef const real* p
    if lanes < V:
        fill(to, 0, order.taps*channels)
    if order.adjoin:
        if nest.wc == order.taps:
            turn(to, V, w - order.first, nest.wm, lanes, order.taps*channels)
        else:
            for c in range(channels):
                p = w - order.first + c*nest.wc
                if nest.wm == order.taps and order.taps < V == lanes:
                    turn_whole(to + order.taps*c*V, p, order.taps)
                else:
                    turn(to + order.taps*c*V, V, p, nest.wm, lanes, order.taps)
        return
    for k in range(order.taps):
        p = w + k // order.t2*nest.axis[1].ws + k % order.t2*nest.axis[2].ws
        if nest.wm == 1:
            for c in range(channels):
                v_copy(to + (order.taps*c + k)*V, p + c*nest.wc, lanes)
        elif nest.wc == 1:
            turn(to + k*V, order.taps*V, p, nest.wm, lanes, channels)
        else:
            for c in range(channels):
                for lane in range(lanes):
                    to[(order.taps*c + k)*V + lane] = p[c*nest.wc + lane*nest.wm]


cdef inline void ask(const real* p, Py_ssize_t count) noexcept nogil:
    """For the lines of some neighbours."""
    cdef Py_ssize_t line = 64 // <Py_ssize_t>sizeof(real), j
    for j in range((count + line - 1) // line):
        v_prefetch_far(p + j*line)


cdef inline void ask_taps(const Nest* nest, const Order* order, const real* w, Py_ssize_t channels,
                          Py_ssize_t number) noexcept nogil:
    """A share, one of `channels`, of what `gather` will read. Rows of one tap the hardware finds by itself."""
    cdef Py_ssize_t rows = V, step = nest.wm, length = channels*order.taps, each
    if not order.adjoin:
        return
    if nest.wc != order.taps:
        rows, step, length = channels, nest.wc, V*order.taps
    each = max(channels // rows, <Py_ssize_t>1)
    if number < rows*each:
        ask(w - order.first + number // each*step + number % each*length // each, length // each)


cdef inline void scatter(const Nest* nest, const Order* order, const real* taps, Py_ssize_t lanes, Py_ssize_t channels,
                         real* w) noexcept nogil:
    """What `gather` would have read."""
    cdef Py_ssize_t c, k, lane
    cdef real* p
    if order.adjoin:
        if nest.wc == order.taps:
            turn(w - order.first, nest.wm, taps, V, order.taps*channels, lanes)
        else:
            for c in range(channels):
                turn(w - order.first + c*nest.wc, nest.wm, taps + order.taps*c*V, V, order.taps, lanes)
        return
    for k in range(order.taps):
        p = w + k // order.t2*nest.axis[1].ws + k % order.t2*nest.axis[2].ws
        if nest.wm == 1:
            for c in range(channels):
                v_copy(p + c*nest.wc, taps + (order.taps*c + k)*V, lanes)
        elif nest.wc == 1:
            turn(p, nest.wm, taps + k*V, order.taps*V, channels, lanes)
        else:
            for c in range(channels):
                for lane in range(lanes):
                    p[c*nest.wc + lane*nest.wm] = taps[(order.taps*c + k)*V + lane]
