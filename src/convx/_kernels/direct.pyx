"""The nest as it stands, for everything: any strides, clipped taps, shared or unshared weights.

The sum:       y[n, g, m, o] = init + sum over k, c of x[n, g, c, i(o, k)] * w[g, m, c, k (, o)]
The schedule:  one output row along the innermost window at a time. The values of one loop (groups, output channels,
               batch, or the inside of the row) are the lanes of up to LV vectors in registers; what is left over is
               computed one output at a time.
Assumes:       nothing about strides: x is loaded as its step along the lanes allows (`broadcast`, neighbours, every
               second value, one by one), results are scattered where they are no neighbours. Along the lanes w has
               step 0 or 1. Taps that read nothing are left out, so infinities stay where they belong.
"""

from cython.parallel cimport prange
from _real cimport real, vreal, V, v_load, v_store, v_set, v_even
from _nest cimport Nest, Window, Box, address, locate, exact, whole, clip_low, clip_high, PyBytes_AS_STRING

LANES = V

cdef enum:
    LV = 4  # vectors of lanes in registers at a time: four chains of additions hide the latency
    BROADCAST = 0
    NEIGHBOURS = 1
    SECOND = 2
    SINGLE = 3


ctypedef struct Lanes:
    # One loop as lanes: its steps in x, w (0 or 1), y and the initial value.
    Py_ssize_t x, w, y, init


cdef inline vreal load(const real* p, Py_ssize_t step, const int how) noexcept nogil:
    """V values, `step` apart; nothing behind the last one is read."""
    cdef real values[V]
    cdef int i
    if how == BROADCAST:
        return v_set(p[0])
    if how == NEIGHBOURS:
        return v_load(p)
    if how == SECOND:
        return v_even(v_load(p), v_load(p + V - 1))
    for i in range(V):
        values[i] = p[i*step]
    return v_load(values)


cdef inline void products(const real* p, const real* q, vreal* acc, Py_ssize_t count, Py_ssize_t p_step,
                          Py_ssize_t q_step, Py_ssize_t xl, const int how, const bint wl,
                          const int vectors) noexcept nogil:
    """acc += p * q for `count` steps of both: channels, or the taps of a row."""
    cdef Py_ssize_t j
    cdef int v
    for j in range(count):
        for v in range(vectors):
            if wl:
                acc[v] += load(p + v*V*xl, xl, how) * v_load(q + v*V)
            else:
                acc[v] += load(p + v*V*xl, xl, how) * q[0]
        p += p_step
        q += q_step


cdef inline void lanes(const Nest* nest, const real* x, const real* w, real* y, const Py_ssize_t* o, const Lanes* by,
                       const real* init, real cval, const int how, const bint wl, const int vectors) noexcept nogil:
    """`vectors` vectors of outputs at position o."""
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef vreal acc[LV]
    cdef real values[V]
    cdef Py_ssize_t k0, k1, k2, i0, i1, i2, first = d.stride*o[2] - d.offset, c, i
    cdef const real* p
    cdef const real* q
    cdef bint inside = first >= 0 and first + d.dilation*(d.taps - 1) < d.size
    cdef int v
    for v in range(vectors):
        if by.init == 1:
            acc[v] = v_load(init + v*V)
        elif by.init == 0:
            acc[v] = v_set(init[0])
        else:
            acc[v] = load(init + v*V*by.init, by.init, SINGLE)
    w = w + o[0]*a.wo + o[1]*b.wo + o[2]*d.wo
    for k0 in range(a.taps):
        i0 = locate(a, a.stride*o[0] + a.dilation*k0 - a.offset)
        for k1 in range(b.taps):
            i1 = locate(b, b.stride*o[1] + b.dilation*k1 - b.offset)
            p = x + i0*a.xs + i1*b.xs
            q = w + k0*a.ws + k1*b.ws
            if inside and i0 >= 0 and i1 >= 0:
                p += first*d.xs
                if nest.c == 1:
                    products(p, q, acc, d.taps, d.dilation*d.xs, d.ws, by.x, how, wl, vectors)
                else:
                    for k2 in range(d.taps):
                        products(p + k2*d.dilation*d.xs, q + k2*d.ws, acc, nest.c, nest.xc, nest.wc, by.x, how, wl,
                                 vectors)
                continue
            for k2 in range(d.taps):
                i2 = locate(d, first + d.dilation*k2)
                if i0 >= 0 and i1 >= 0 and i2 >= 0:
                    products(p + i2*d.xs, q + k2*d.ws, acc, nest.c, nest.xc, nest.wc, by.x, how, wl, vectors)
                elif cval != 0:
                    products(&cval, q + k2*d.ws, acc, nest.c, 0, nest.wc, 0, BROADCAST, wl, vectors)
    for v in range(vectors):
        if by.y == 1:
            v_store(y + v*V, acc[v])
        else:
            v_store(values, acc[v])
            for i in range(V):
                y[(v*V + i)*by.y] = values[i]


cdef void some(const Nest* nest, const real* x, const real* w, real* y, const Py_ssize_t* o, const Lanes* by,
               const real* init, real cval, const int vectors) noexcept nogil:
    """`lanes` for these steps."""
    if by.w:
        if by.x == 0:
            lanes(nest, x, w, y, o, by, init, cval, BROADCAST, True, vectors)
        elif by.x == 1:
            lanes(nest, x, w, y, o, by, init, cval, NEIGHBOURS, True, vectors)
        else:
            lanes(nest, x, w, y, o, by, init, cval, SINGLE, True, vectors)
    elif by.x == 1:
        lanes(nest, x, w, y, o, by, init, cval, NEIGHBOURS, False, vectors)
    elif by.x == 2:
        lanes(nest, x, w, y, o, by, init, cval, SECOND, False, vectors)
    else:
        lanes(nest, x, w, y, o, by, init, cval, SINGLE, False, vectors)


cdef void many(const Nest* nest, const real* x, const real* w, real* y, const Py_ssize_t* o, const Lanes* by,
               const real* init, real cval) noexcept nogil:
    some(nest, x, w, y, o, by, init, cval, LV)


cdef void few(const Nest* nest, const real* x, const real* w, real* y, const Py_ssize_t* o, const Lanes* by,
              const real* init, real cval) noexcept nogil:
    some(nest, x, w, y, o, by, init, cval, 1)


cdef void line(const Nest* nest, const real* x, const real* w, real* y, Py_ssize_t* o, Py_ssize_t low, Py_ssize_t high,
               const Lanes* by, const real* init, real cval) noexcept nogil:
    """Lanes low .. high of one position o: in vectors while they last, then one by one."""
    cdef Py_ssize_t j = low
    cdef Box box
    whole(nest, &box)
    while V > 1 and j + LV*V <= high:
        many(nest, x + j*by.x, w + j*by.w, y + j*by.y, o, by, init + j*by.init, cval)
        j += LV*V
    while V > 1 and j + V <= high:
        few(nest, x + j*by.x, w + j*by.w, y + j*by.y, o, by, init + j*by.init, cval)
        j += V
    while j < high:
        y[j*by.y] = exact(nest, &box, x + j*by.x, w + j*by.w, o[0], o[1], o[2], init[j*by.init], cval)
        j += 1


cdef void along(const Nest* nest, const real* x, const real* w, real* y, Py_ssize_t* o, const Lanes* by,
                const real* init, Py_ssize_t low, Py_ssize_t high, real cval) noexcept nogil:
    """One row of outputs: its inside [low, high) in vectors, the rims one by one."""
    cdef Py_ssize_t j = 0
    cdef Box box
    whole(nest, &box)
    while j < nest.axis[2].out:
        o[2] = j
        if V > 1 and low <= j and j + LV*V <= high:
            many(nest, x, w, y + j*by.y, o, by, init + j*by.init, cval)
            j += LV*V
        elif V > 1 and low <= j and j + V <= high:
            few(nest, x, w, y + j*by.y, o, by, init + j*by.init, cval)
            j += V
        else:
            y[j*by.y] = exact(nest, &box, x, w, o[0], o[1], j, init[j*by.init], cval)
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
    cdef Py_ssize_t N = nest.n, G = nest.g, M = nest.m, count = 1, parts = 1
    cdef Lanes by
    if bias_array is not None:
        bias = address(bias_array)
    by.x, by.w, by.y, by.init = 0, 0, 0, 0
    if lane == 1:
        count, by.x, by.y, N = N, nest.xn, nest.yn, 1
    elif lane == 2:
        count, by.x, by.w, by.y, G = G, nest.xg, nest.wg, nest.yg, 1
        by.init = M if bias != NULL else 0
    elif lane == 3:
        count, by.w, by.y, M = M, nest.wm, nest.ym, 1
        by.init = 1 if bias != NULL else 0
    elif lane == 4:
        by.x, by.y = d.stride*d.xs, d.ys
    if not first:
        by.init = by.y
    cdef Py_ssize_t low = 0, high = 0, t
    if lane == 4:
        low = clip_low(-d.offset, d.stride)
        high = clip_high(d.dilation*(d.taps - 1) - d.offset, d.stride, d.size, d.out)
    cdef Py_ssize_t tasks = N*G*M*nest.axis[0].out*nest.axis[1].out
    if lane != 4 and 0 < tasks < 4*threads:  # few positions: the lanes are shared out too
        parts = max(<Py_ssize_t>1, min(<Py_ssize_t>4*threads, count // (LV*V)))
    for t in prange(tasks*parts, nogil=True, num_threads=threads, schedule='static'):
        task(nest, x, w, y, bias, first, cval, lane, t // parts, G, M, t % parts*count // parts,
             (t % parts + 1)*count // parts, &by, low, high)


cdef void task(const Nest* nest, const real* x, const real* w, real* y, const real* bias, bint first, real cval,
               int lane, Py_ssize_t t, Py_ssize_t G, Py_ssize_t M, Py_ssize_t start, Py_ssize_t stop, const Lanes* by,
               Py_ssize_t low, Py_ssize_t high) noexcept nogil:
    """All outputs of one row (a line of the innermost window) of one batch, group and channel, or lanes start .. stop
    of one of these loops."""
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t o[3]
    cdef Py_ssize_t m, g, n, j
    cdef real zero = 0
    cdef const real* init
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
        along(nest, x, w, y, o, by, init if first else y, low, high, cval)
        return
    for j in range(d.out):
        o[2] = j
        line(nest, x, w, y + j*d.ys, o, start, stop, by, init if first else y + j*d.ys, cval)
