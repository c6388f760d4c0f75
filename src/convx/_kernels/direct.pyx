"""The nest as it stands, for everything: any strides, clipped taps, shared or unshared weights.

The sum:       y[n, g, m, o] = init + sum over k, c of x[n, g, c, i(o, k)] * w[g, m, c, k (, o)]
The schedule:  one output row along the innermost window at a time. Where a plain loop (groups, output channels or
               batch) has stride 1 in y and stride 0 or 1 in x and w, its values are the lanes of LV vectors in
               registers; otherwise the innermost window's inside part is, when x and y run along it with stride 1.
               What is left is computed one output at a time.
Assumes:       nothing about strides; taps that read nothing are left out, so infinities stay where they belong.
"""

from cython.parallel cimport prange
from _real cimport real, vreal, V, v_load, v_store, v_set
from _nest cimport Nest, Window, Box, address, locate, exact, whole, clip_low, clip_high, PyBytes_AS_STRING

LANES = V

cdef enum:
    LV = 4  # vectors of lanes in registers at a time: four chains of additions hide the latency


cdef inline void lanes(const Nest* nest, const real* x, const real* w, real* y, const Py_ssize_t* o,
                       Py_ssize_t xl, Py_ssize_t wl, const real* init, Py_ssize_t il, real cval,
                       const int vectors) noexcept nogil:
    """`vectors` vectors of outputs whose lanes move x by xl, w by wl, the initial value by il (0 or 1)."""
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef vreal acc[LV]
    cdef Py_ssize_t k0, k1, k2, i0, i1, i2, c
    cdef const real* p
    cdef const real* q
    cdef int v
    for v in range(vectors):
        acc[v] = v_load(init + v*V) if il else v_set(init[0])
    w = w + o[0]*a.wo + o[1]*b.wo + o[2]*d.wo
    for k0 in range(a.taps):
        i0 = locate(a, a.stride*o[0] + a.dilation*k0 - a.offset)
        for k1 in range(b.taps):
            i1 = locate(b, b.stride*o[1] + b.dilation*k1 - b.offset)
            for k2 in range(d.taps):
                i2 = locate(d, d.stride*o[2] + d.dilation*k2 - d.offset)
                q = w + k0*a.ws + k1*b.ws + k2*d.ws
                if i0 < 0 or i1 < 0 or i2 < 0:
                    if cval != 0:
                        for c in range(nest.c):
                            for v in range(vectors):
                                acc[v] += cval * (v_load(q + v*V) if wl else v_set(q[0]))
                            q += nest.wc
                    continue
                p = x + i0*a.xs + i1*b.xs + i2*d.xs
                if xl and wl:
                    for c in range(nest.c):
                        for v in range(vectors):
                            acc[v] += v_load(p + v*V) * v_load(q + v*V)
                        p += nest.xc
                        q += nest.wc
                elif xl:
                    for c in range(nest.c):
                        for v in range(vectors):
                            acc[v] += v_load(p + v*V) * q[0]
                        p += nest.xc
                        q += nest.wc
                else:
                    for c in range(nest.c):
                        for v in range(vectors):
                            acc[v] += v_load(q + v*V) * p[0]
                        p += nest.xc
                        q += nest.wc
    for v in range(vectors):
        v_store(y + v*V, acc[v])


cdef void line(const Nest* nest, const real* x, const real* w, real* y, Py_ssize_t* o, Py_ssize_t count,
               Py_ssize_t xl, Py_ssize_t wl, Py_ssize_t yl, const real* init, Py_ssize_t il, bint vector,
               real cval) noexcept nogil:
    """`count` outputs at one position o: lanes in vectors while they last, then one by one."""
    cdef Py_ssize_t j = 0
    cdef Box box
    whole(nest, &box)
    if vector:
        while j + LV*V <= count:
            lanes(nest, x + j*xl, w + j*wl, y + j, o, xl, wl, init + j*il, il, cval, LV)
            j += LV*V
        while j + V <= count:
            lanes(nest, x + j*xl, w + j*wl, y + j, o, xl, wl, init + j*il, il, cval, 1)
            j += V
    while j < count:
        y[j*yl] = exact(nest, &box, x + j*xl, w + j*wl, o[0], o[1], o[2], init[j*il], cval)
        j += 1


cdef void along(const Nest* nest, const real* x, const real* w, real* y, Py_ssize_t* o, const real* init, Py_ssize_t il,
                Py_ssize_t low, Py_ssize_t high, real cval) noexcept nogil:
    """One row of outputs: its inside [low, high) in vectors, the rims one by one."""
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t j = 0
    cdef Box box
    whole(nest, &box)
    while j < d.out:
        o[2] = j
        if low <= j and j + LV*V <= high:
            lanes(nest, x, w, y + j, o, 1, 0, init + j*il, il, cval, LV)
            j += LV*V
        elif low <= j and j + V <= high:
            lanes(nest, x, w, y + j, o, 1, 0, init + j*il, il, cval, 1)
            j += V
        else:
            y[j*d.ys] = exact(nest, &box, x, w, o[0], o[1], j, init[j*il], cval)
            j += 1


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int lane, int threads):
    """y of one nest. lane: which loop is vectorised, 0 none, 1 batch, 2 groups, 3 output channels, 4 the row."""
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef const real* x = address(x_array) + nest.x0
    cdef const real* w = address(w_array) + nest.w0
    cdef real* y = address(y_array) + nest.y0
    cdef const real* bias = NULL
    cdef real cval = address(cval_array)[0]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t N = nest.n, G = nest.g, M = nest.m, count = 1, xl = 0, wl = 0, yl = 0, bl = 0
    if bias_array is not None:
        bias = address(bias_array)
    if lane == 1:
        count, xl, yl, N = N, nest.xn, nest.yn, 1
    elif lane == 2:
        count, xl, wl, yl, G = G, nest.xg, nest.wg, nest.yg, 1
        bl = M if bias != NULL else 0
    elif lane == 3:
        count, wl, yl, M = M, nest.wm, nest.ym, 1
        bl = 1 if bias != NULL else 0
    cdef Py_ssize_t low = 0, high = 0, t
    if lane == 4:
        low = clip_low(-d.offset, d.stride)
        high = clip_high(d.dilation*(d.taps - 1) - d.offset, d.stride, d.size, d.out)
    cdef Py_ssize_t tasks = N*G*M*nest.axis[0].out*nest.axis[1].out
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
        task(nest, x, w, y, bias, first, cval, lane, t, G, M, count, xl, wl, yl, bl, low, high)


cdef void task(const Nest* nest, const real* x, const real* w, real* y, const real* bias, bint first, real cval,
               int lane, Py_ssize_t t, Py_ssize_t G, Py_ssize_t M, Py_ssize_t count, Py_ssize_t xl, Py_ssize_t wl,
               Py_ssize_t yl, Py_ssize_t bl, Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """All outputs of one row (a line of the innermost window) of one batch, group and channel, or of its lanes."""
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t o[3]
    cdef Py_ssize_t m, g, n, j
    cdef real zero = 0
    cdef const real* init
    cdef bint vector = V > 1 and xl <= 1 and wl <= 1 and yl == 1
    o[1] = t % nest.axis[1].out
    t = t // nest.axis[1].out
    o[0] = t % nest.axis[0].out
    t = t // nest.axis[0].out
    m = t % M
    t = t // M
    g = t % G
    n = t // G
    x = x + n*nest.xn + g*nest.xg
    w = w + g*nest.wg + m*nest.wm
    y = y + n*nest.yn + g*nest.yg + m*nest.ym + o[0]*nest.axis[0].ys + o[1]*nest.axis[1].ys
    init = &zero
    if bias != NULL:
        init = bias + g*nest.m + m
    if lane == 4:
        if first:
            along(nest, x, w, y, o, init, 0, low, high, cval)
        else:
            along(nest, x, w, y, o, y, 1, low, high, cval)
        return
    vector = vector and bl <= 1
    for j in range(d.out):
        o[2] = j
        if first:
            line(nest, x, w, y + j*d.ys, o, count, xl, wl, yl, init, bl, vector, cval)
        else:
            line(nest, x, w, y + j*d.ys, o, count, xl, wl, yl, y + j*d.ys, yl, vector, cval)
