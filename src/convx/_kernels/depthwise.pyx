"""Pairs of group and output channel as lanes: depthwise and grouped layers, and their weight gradients, in any layout.

The sum:       y[g, m, o] = init + sum over (c, k) of x[g, c, i(o, k)] * w[g, m, c, k], V pairs (g, m) at once.
The copies:    x comes in strips (_lanes.pxd) in which every column is a vector: rims filled by the boundary rule, rows
               of channels-first arrays turned. So loads are aligned, and channels that lie a power of two apart do
               not drive each other out of the L1 cache.
Two schedules: `pixels`, many outputs: T neighbours of a row stay in registers; a vector of weights (copied with lanes
               innermost) is loaded once for all of them. `sums`, few outputs of many products, as in the weight
               gradient: R x S outputs stay in registers and run along strips of x and w.
Edges:         absent values are zeros in a strip. If weights are not finite (`pixels`), or a sum is not (`sums`), the
               outputs are done again by the definition.
Assumes:       weights shared by all outputs.
Threads:       have outputs of their own, so no sum depends on their number.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep, v_transpose, v_prefetch, spoiled
from _nest cimport Nest, Window, Box, address, locate, exact, whole, PyBytes_AS_STRING
from _lanes cimport Lanes, NEIGHBOURS, AMONG, find, touch, copy_strip

LANES = V

cdef enum:
    T = 8          # outputs of a row in registers: eight chains of additions hide the latency
    R = 3          # rows and columns of outputs that `sums` has in registers
    S = 3
    WIDE = 64      # outputs (`sums`: taps) of a row that a strip serves
    HOLD = 36864   # bytes of strips, of L1; more if FEWEST rows take more
    FEWEST = 4
    TOGETHER = 4   # vectors of a task of `sums`


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    bint first
    real cval
    Py_ssize_t lanes, vectors                # pairs (g, m), and vectors of them
    Py_ssize_t x_near                        # channels that are neighbours in x, if those of a group are
    Py_ssize_t jump, stride, dilation        # of rows, counted in those that are copied
    Py_ssize_t rows, wide, height, width     # of outputs (taps) of a strip; of the strip
    Py_ssize_t strip, x_size, y_size, size   # elements: a strip, all of x, a row of y or the sums, all scratch
    const real* copied                       # weights: vector, product, lane
    const Py_ssize_t* at                     # products in the strips
    bint unsafe                              # some weights are not finite


cdef inline Py_ssize_t divisor(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    while b:
        a, b = b, a % b
    return a


cdef inline void by_definition(const Job* job, Py_ssize_t first, Py_ssize_t n, Py_ssize_t o0, Py_ssize_t o1,
                               Py_ssize_t o2, int lane, real* to) noexcept nogil:
    """One sum."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t g = (first + lane) // nest.m, m = (first + lane) % nest.m
    cdef Box box
    whole(nest, &box)
    to[0] = exact(nest, &box, job.x + n*nest.xn + g*nest.xg, job.w + g*nest.wg + m*nest.wm, o0, o1, o2, 0, job.cval)


cdef inline Py_ssize_t first_lane(const Job* job, Py_ssize_t vector) noexcept nogil:
    """The last vector overlaps the one before, so that it is whole."""
    return max(<Py_ssize_t>0, min(vector*V, job.lanes - V))


# ---- many outputs

cdef inline void tile(const Job* job, const real* x, const real* w, Py_ssize_t depth, Py_ssize_t step, real* y,
                      Py_ssize_t y_step, const real* init, bint add, int times, const int count) noexcept nogil:
    """`count` neighbouring outputs, y_step apart."""
    cdef vreal acc[T]
    cdef vreal wv
    cdef Py_ssize_t q
    cdef const real* p
    cdef int t, once
    for once in range(times):  # GCC unrolls early enough to keep acc in registers only inside a loop
        for t in range(count):
            acc[t] = v_set(0)
            v_prefetch(y + (t + T)*y_step)
        for q in range(depth):
            wv = v_keep(v_load(w + q*V))
            p = x + job.at[q]
            for t in range(count):
                acc[t] += v_load(p + t*step) * wv
        for t in range(count):
            v_store(y + t*y_step, acc[t] + (v_load(y + t*y_step) if add else v_load(init)))


cdef void row(const Job* job, const real* x, const real* w, Py_ssize_t outputs, real* y, Py_ssize_t y_step,
              const real* init, bint add, int times) noexcept nogil:
    """`outputs` neighbours."""
    cdef Py_ssize_t depth = job.nest.c, step = job.nest.axis[2].stride*V
    cdef int a
    for a in range(3):
        depth = depth*job.nest.axis[a].taps
    while outputs >= T:
        tile(job, x, w, depth, step, y, y_step, init, add, times, T)
        x, y, outputs = x + T*step, y + T*y_step, outputs - T
    if outputs >= T // 2:
        tile(job, x, w, depth, step, y, y_step, init, add, times, T // 2)
        x, y, outputs = x + T // 2*step, y + T // 2*y_step, outputs - T // 2
    if outputs >= 2:
        tile(job, x, w, depth, step, y, y_step, init, add, times, 2)
        x, y, outputs = x + 2*step, y + 2*y_step, outputs - 2
    if outputs > 0:
        tile(job, x, w, depth, step, y, y_step, init, add, times, 1)


cdef void put(const Lanes* l, real* part, Py_ssize_t outputs, real* y, Py_ssize_t step, bint add) noexcept nogil:
    """y = or += a row of vectors, lane by lane."""
    cdef real square[V*V]
    cdef real* to
    cdef Py_ssize_t j = 0, i
    cdef int k
    if step == 1:
        while j + V <= outputs:
            v_transpose(square, V, part + j*V, V)
            for k in range(l.start, l.count):
                to = y + l.at[k] + j
                v_store(to, v_load(square + k*V) + v_load(to) if add else v_load(square + k*V))
            j += V
    while j < outputs:
        for k in range(l.start, l.count):
            to = y + l.at[k] + j*step
            to[0] = part[j*V + k] + (to[0] if add else 0)
        j += 1


cdef void pixels(const Job* job, Py_ssize_t t, real* scratch) noexcept nogil:
    """Some rows and columns of a vector."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t across = (d.out + job.wide - 1) // job.wide, down = (b.out + job.rows - 1) // job.rows
    cdef Py_ssize_t o0, o1, o2, v, n, c, k0, i0, i, j, rows, outputs, first, depth = nest.c*a.taps*b.taps*d.taps
    cdef bint absent = False, direct
    cdef Lanes from_x, to_y
    cdef real init[V]
    cdef real* part = scratch + job.x_size
    cdef real* y
    cdef const real* x
    cdef int k
    v = t % job.vectors  # innermost: lines that two vectors share, or that come in pairs, are still in L2
    t = t // job.vectors
    o2 = t % across*job.wide
    t = t // across
    o1 = t % down*job.rows
    t = t // down
    o0 = t % a.out
    n = t // a.out
    rows, outputs = min(job.rows, b.out - o1), min(job.wide, d.out - o2)
    find(&from_x, v*V, job.lanes, nest.m, nest.xg, 0, job.x_near, d.xs)
    find(&to_y, v*V, job.lanes, nest.m, nest.yg, nest.ym, 1, d.ys)
    first = first_lane(job, v)
    if v == 0 and (from_x.how == NEIGHBOURS or from_x.how == AMONG):
        for k0 in range(a.taps):
            i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
            if i0 >= 0:
                touch(b, d, job.x + n*nest.xn + i0*a.xs, b.stride*o1 - b.offset,
                      job.stride*(rows - 1) + job.dilation*(b.taps - 1) + 1, job.jump, d.stride*o2 - d.offset,
                      job.width, job.lanes // nest.m*nest.xg)
    for k in range(V):
        init[k] = job.bias[first + k] if job.first and job.bias != NULL and k < to_y.count else 0
    for k0 in range(a.taps):
        i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
        for c in range(nest.c):
            x = scratch + (k0*nest.c + c)*job.strip
            if i0 < 0:
                absent = True
                for i in range(job.height*job.width):
                    v_store(scratch + (k0*nest.c + c)*job.strip + i*V, v_set(job.cval))
            elif copy_strip(&from_x, b, d, job.x + n*nest.xn + i0*a.xs, c*nest.xc, b.stride*o1 - b.offset,
                            job.stride*(rows - 1) + job.dilation*(b.taps - 1) + 1, job.jump, d.stride*o2 - d.offset,
                            job.width, job.cval, scratch + (k0*nest.c + c)*job.strip):
                absent = True
    direct = to_y.how == NEIGHBOURS and to_y.start == 0 and to_y.count == V
    absent = absent and job.unsafe
    for i in range(rows):
        y = job.y + n*nest.yn + o0*a.ys + (o1 + i)*b.ys + o2*d.ys
        x = scratch + job.stride*i*job.width*V
        if direct and not absent:
            row(job, x, job.copied + v*depth*V, outputs, y + to_y.at[0], d.ys, init, not job.first, 1)
            continue
        row(job, x, job.copied + v*depth*V, outputs, part, V, init, False, 1)
        if absent:
            for j in range(outputs):
                for k in range(to_y.start, to_y.count):
                    by_definition(job, first, n, o0, o1 + i, o2 + j, k, part + j*V + k)
                    part[j*V + k] += init[k]
        put(&to_y, part, outputs, y, d.ys, not job.first)


cdef bint lay_out(const Job* job, real* to) noexcept nogil:
    """Weights with lanes innermost; whether some are not finite."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t v, k0, c, k1, k2, first
    cdef Lanes l
    cdef const real* p
    cdef int i, bad = 0
    for v in range(job.vectors):
        find(&l, v*V, job.lanes, nest.m, nest.wg, nest.wm, 1, 0)
        for k0 in range(a.taps):
            for c in range(nest.c):
                for k1 in range(b.taps):
                    for k2 in range(d.taps):
                        p = job.w + k0*a.ws + c*nest.wc + k1*b.ws + k2*d.ws
                        for i in range(V):
                            to[i] = p[l.at[i]]
                            bad |= spoiled(to[i])
                        to += V
    return bad


# ---- few outputs

cdef inline void run_along(const real* x, const real* w, Py_ssize_t rows, Py_ssize_t count, Py_ssize_t x_row,
                           Py_ssize_t x_step, Py_ssize_t w_row, Py_ssize_t down, Py_ssize_t across, real* sums,
                           Py_ssize_t line, int times, const int high, const int wide) noexcept nogil:
    """sums += x * w over `rows` x `count` taps, for high x wide outputs."""
    cdef vreal acc[R*S]
    cdef vreal wv
    cdef Py_ssize_t h, k
    cdef const real* p
    cdef const real* q
    cdef int i, j, once
    for once in range(times):
        for i in range(high):
            for j in range(wide):
                acc[i*S + j] = v_load(sums + i*line + j*V)
        for h in range(rows):
            p = x + h*x_row
            q = w + h*w_row
            for k in range(count):
                wv = v_keep(v_load(q))
                for i in range(high):
                    for j in range(wide):
                        acc[i*S + j] += v_load(p + i*down + j*across) * wv
                p += x_step
                q += V
        for i in range(high):
            for j in range(wide):
                v_store(sums + i*line + j*V, acc[i*S + j])


cdef void outputs_of(const Job* job, const real* x, const real* w, Py_ssize_t rows, Py_ssize_t count, real* sums,
                     int times) noexcept nogil:
    """All outputs of a plane, some rows and columns of taps."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t i = 0, j, x_row = job.dilation*job.width*V, down = job.stride*job.width*V, across = d.stride*V
    cdef Py_ssize_t step = d.dilation*V, w_row = job.wide*V, line = d.out*V
    cdef const real* p
    cdef real* s
    while i < b.out:
        j = 0
        while j < d.out:
            p = x + i*down + j*across
            s = sums + i*line + j*V
            if i + R <= b.out and j + S <= d.out:
                run_along(p, w, rows, count, x_row, step, w_row, down, across, s, line, times, R, S)
            elif j + S <= d.out:
                run_along(p, w, rows, count, x_row, step, w_row, down, across, s, line, times, 1, S)
            elif i + R <= b.out:
                run_along(p, w, rows, count, x_row, step, w_row, down, across, s, line, times, R, 1)
            else:
                run_along(p, w, rows, count, x_row, step, w_row, down, across, s, line, times, 1, 1)
            j += S if j + S <= d.out else 1
        i += R if i + R <= b.out else 1


cdef bint tap_strip(const Job* job, Py_ssize_t v, Py_ssize_t n0, Py_ssize_t n1, Py_ssize_t c, Py_ssize_t k0,
                    Py_ssize_t k1, Py_ssize_t k2, real* scratch, real* sums) noexcept nogil:
    """What a strip of w adds to all outputs of a vector; whether some values of x are absent."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t rows = min(job.rows, b.taps - k1), count = min(job.wide, d.taps - k2), n, o0, i0, i
    cdef real* w = scratch + job.x_size
    cdef Lanes from_x, from_w
    cdef Window wb, wd  # w as an array that is read like x
    cdef bint absent = False
    find(&from_x, v*V, job.lanes, nest.m, nest.xg, 0, job.x_near, d.xs)
    find(&from_w, v*V, job.lanes, nest.m, nest.wg, nest.wm, 1, d.ws)
    wb.size, wb.boundary, wb.xs = b.taps, 0, b.ws
    wd.size, wd.boundary, wd.xs = d.taps, 0, d.ws
    copy_strip(&from_w, &wb, &wd, job.w + k0*a.ws + c*nest.wc, 0, k1, rows, 1, k2, job.wide, 0, w)
    for n in range(n0, n1):
        for o0 in range(a.out):
            i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
            if i0 < 0:
                absent = True
                if job.cval == 0:
                    continue
                for i in range(job.height*job.width):
                    v_store(scratch + i*V, v_set(job.cval))
            elif copy_strip(&from_x, b, d, job.x + c*nest.xc + i0*a.xs, n*nest.xn, b.dilation*k1 - b.offset,
                            job.dilation*(rows - 1) + job.stride*(b.out - 1) + 1, job.jump, d.dilation*k2 - d.offset,
                            job.width, job.cval, scratch):
                absent = True
            outputs_of(job, scratch, w, rows, count, sums + ((n - n0)*a.out + o0)*b.out*d.out*V, 1)
    return absent


cdef void ask(const Job* job, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t c, Py_ssize_t k0, Py_ssize_t k1,
              Py_ssize_t k2) noexcept nogil:
    """`touch` for the strips of these vectors in x and w, if lanes are neighbours there (o0 = 0 stands for all)."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t rows = min(job.rows, b.taps - k1), count = min(job.wide, d.taps - k2), i0
    cdef Py_ssize_t first = v0*V // nest.m, groups = min((v1 - v0)*V // nest.m, nest.g - first)
    cdef Window wb, wd
    i0 = locate(a, a.dilation*k0 - a.offset)
    if i0 >= 0 and d.xs != 1:
        touch(b, d, job.x + c*nest.xc + i0*a.xs + first*nest.xg, b.dilation*k1 - b.offset,
              job.dilation*(rows - 1) + job.stride*(b.out - 1) + 1, job.jump, d.dilation*k2 - d.offset, job.width,
              groups*nest.xg)
    if d.ws != 1:
        wb.size, wb.xs, wd.size, wd.xs = b.taps, b.ws, d.taps, d.ws
        touch(&wb, &wd, job.w + c*nest.wc + k0*a.ws + first*nest.wg, k1, rows, 1, k2, count, groups*nest.wg)


cdef void finish(const Job* job, Py_ssize_t v, Py_ssize_t n0, Py_ssize_t n1, bint absent, real* sums) noexcept nogil:
    """y = init, or y, plus the sums."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t n, o0, o1, o2, first = first_lane(job, v)
    cdef Lanes to_y
    cdef real init
    cdef real* y
    cdef int k
    find(&to_y, v*V, job.lanes, nest.m, nest.yg, nest.ym, 1, 0)
    for n in range(n0, n1):
        for o0 in range(nest.axis[0].out):
            for o1 in range(nest.axis[1].out):
                for o2 in range(nest.axis[2].out):
                    for k in range(to_y.start, to_y.count):
                        if absent and spoiled(sums[k]):
                            by_definition(job, first, n, o0, o1, o2, k, sums + k)
                        y = job.y + n*nest.yn + to_y.at[k] + o0*nest.axis[0].ys + o1*nest.axis[1].ys
                        init = 0 if job.bias == NULL else job.bias[first + k]
                        if not job.first:
                            init = y[o2*nest.axis[2].ys]
                        y[o2*nest.axis[2].ys] = sums[k] + init
                    sums += V


cdef void sums_of(const Job* job, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t n0, Py_ssize_t n1,
                  real* scratch) noexcept nogil:
    """All outputs of a few vectors (TOGETHER at most) in the images n0 .. n1, which share the strips of w."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t size = (n1 - n0)*nest.axis[0].out*nest.axis[1].out*nest.axis[2].out*V, v, c, k0, k1, k2, i
    cdef real* sums = scratch + job.x_size + job.rows*job.wide*V
    cdef bint absent = False
    for i in range((v1 - v0)*size // V):
        v_store(sums + i*V, v_set(0))
    for c in range(nest.c):
        for k0 in range(nest.axis[0].taps):
            k1 = 0
            while k1 < nest.axis[1].taps:
                k2 = 0
                while k2 < nest.axis[2].taps:
                    ask(job, v0, v1, c, k0, k1, k2)
                    for v in range(v0, v1):
                        if tap_strip(job, v, n0, n1, c, k0, k1, k2, scratch, sums + (v - v0)*size):
                            absent = True
                    k2 += job.wide
                k1 += job.rows
    for v in range(v0, v1):
        finish(job, v, n0, n1, absent and job.cval == 0, sums + (v - v0)*size)


# ---- the whole

cdef void shape(Job* job, const Nest* nest, bint few) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t planes, least, each
    job.nest = nest
    job.lanes = nest.g*nest.m
    job.vectors = (job.lanes + V - 1) // V
    job.x_near = 0
    if (nest.n if few else nest.c) == nest.xg and (nest.xn if few else nest.xc) == 1:
        job.x_near = nest.xg
    job.jump = divisor(b.stride, b.dilation)
    job.stride, job.dilation = b.stride // job.jump, b.dilation // job.jump
    if few:
        job.wide = min(d.taps, WIDE)
        job.width = d.dilation*(job.wide - 1) + d.stride*(d.out - 1) + 1
        least, each, planes = job.stride*(b.out - 1) + 1 - job.dilation, job.dilation, 1
    else:
        job.wide = min(d.out, WIDE)
        job.width = d.stride*(job.wide - 1) + d.dilation*(d.taps - 1) + 1
        least, each, planes = job.dilation*(b.taps - 1) + 1 - job.stride, job.stride, a.taps*nest.c
    job.rows = HOLD // <Py_ssize_t>sizeof(real) // max(planes*job.width*V, 1)
    job.rows = max(<Py_ssize_t>FEWEST, (job.rows - least) // each)
    job.rows = min(b.taps if few else b.out, job.rows)
    job.height = least + each*job.rows
    job.strip = job.height*job.width*V
    job.x_size = planes*job.strip
    job.y_size = job.rows*job.wide*V + TOGETHER*nest.n*a.out*b.out*d.out*V if few else job.wide*V
    job.size = job.x_size + job.y_size + V


def scratch_size(nest_bytes, bint few):
    """Elements of scratch per thread, and of copied weights."""
    cdef Job job
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    shape(&job, nest, few)
    return job.size, 0 if few else (
        nest.c*nest.axis[0].taps*nest.axis[1].taps*nest.axis[2].taps*(job.vectors*V + 1))


cdef void places(const Job* job, Py_ssize_t* at) noexcept nogil:
    """Where each product of an output lies in the strips, in the order of the weights."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t p, k1, k2
    for p in range(nest.axis[0].taps*nest.c):
        for k1 in range(nest.axis[1].taps):
            for k2 in range(nest.axis[2].taps):
                at[0] = p*job.strip + (job.dilation*k1*job.width + nest.axis[2].dilation*k2)*V
                at += 1


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, bint few, int threads):
    """y of one nest; few: by the schedule for few outputs."""
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t depth = nest.c*a.taps*b.taps*d.taps, tasks, t, parts = 1, size, each, blocks
    cdef real* copied = NULL
    cdef real* scratch = NULL
    cdef Py_ssize_t* at = NULL
    cdef Job job
    shape(&job, nest, few)
    job.first, job.cval = first, address(cval_array)[0]
    job.x = address(x_array) + nest.x0
    job.w = address(w_array) + nest.w0
    job.y = address(y_array) + nest.y0
    job.bias = NULL if bias_array is None else address(bias_array)
    size = (job.size + V - 1) // V*V
    if not few:
        copied = <real*>malloc((depth*job.vectors + 1)*V*sizeof(real))
        at = <Py_ssize_t*>malloc((depth + 1)*sizeof(Py_ssize_t))
    scratch = <real*>malloc((size*threads + V)*sizeof(real))
    if scratch == NULL or not few and (copied == NULL or at == NULL):
        free(copied)
        free(at)
        free(scratch)
        raise MemoryError("scratch of the depthwise kernel")
    cdef real* aligned = whole_lines(scratch)
    if few:
        each = max(<Py_ssize_t>1, min(<Py_ssize_t>TOGETHER, job.vectors // (2*threads)))
        blocks = (job.vectors + each - 1) // each
        if blocks < 2*threads:
            parts = max(<Py_ssize_t>1, min(nest.n, 2*threads // max(blocks, 1)))
        for t in prange(blocks*parts, nogil=True, num_threads=threads, schedule='static'):
            sums_of(&job, t // parts*each, min(t // parts*each + each, job.vectors), t % parts*nest.n // parts,
                    (t % parts + 1)*nest.n // parts, aligned + size*threadid())
    else:
        job.copied, job.at = whole_lines(copied), at
        job.unsafe = lay_out(&job, whole_lines(copied)) and job.cval == 0
        places(&job, at)
        tasks = nest.n*a.out*job.vectors*((b.out + job.rows - 1) // job.rows)*((d.out + job.wide - 1) // job.wide)
        for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
            pixels(&job, t, aligned + size*threadid())
    free(copied)
    free(at)
    free(scratch)


cdef real* whole_lines(real* p) noexcept nogil:
    """The next address that loads of vectors find aligned."""
    cdef uintptr_t unit = V*sizeof(real)
    return <real*>((<uintptr_t>p + unit - 1) // unit*unit)
