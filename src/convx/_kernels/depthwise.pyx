"""Pairs of group and output channel as lanes: depthwise and grouped layers, in any layout.

The sum:       y[g, m, o] = init + sum over (c, k) of x[g, c, i(o, k)] * w[g, m, c, k], V pairs (g, m) at once.
The copies:    x comes in strips (_lanes.pxd) in which every column is a vector: rims filled by the boundary rule, rows
               of channels-first arrays turned. So loads are aligned, and channels that lie a power of two apart do
               not drive each other out of the L1 cache. (`depthwise_last` reads plain channels-last layers in place.)
The schedule:  T neighbours of a row stay in registers; a vector of weights (copied with lanes innermost) is loaded
               once for all of them.
Edges:         absent values are zeros in a strip. If weights are not finite, the outputs are done again by the
               definition.
Assumes:       weights shared by all outputs.
Threads:       have outputs of their own, so no sum depends on their number.
"""

from libc.stdlib cimport free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep, v_transpose, v_prefetch
from _nest cimport Nest, Window, locate, PyBytes_AS_STRING
from _lanes cimport Lanes, NEIGHBOURS, AMONG, find, touch, copy_strip
from _depthwise cimport Job, begin, operands, first_lane, by_definition, lay_out, whole_lines, reserve, of_thread

LANES = V

cdef enum:
    T = 8          # outputs of a row in registers: eight chains of additions hide the latency
    WIDE = 64      # outputs of a row that a strip serves
    HOLD = 36864   # bytes of strips, of L1; more if FEWEST rows take more
    FEWEST = 4


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
    cdef Py_ssize_t depth = job.depth, step = job.nest.axis[2].stride*V
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


cdef void task(const Job* job, Py_ssize_t t, real* scratch) noexcept nogil:
    """Some rows and columns of a vector."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t across = (d.out + job.wide - 1) // job.wide, down = (b.out + job.rows - 1) // job.rows
    cdef Py_ssize_t o0, o1, o2, v, n, c, k0, i0, i, j, rows, outputs, first, depth = job.depth
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
                    part[j*V + k] = by_definition(job, first + k, n, o0, o1 + i, o2 + j) + init[k]
        put(&to_y, part, outputs, y, d.ys, not job.first)


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t least
    begin(job, nest)
    job.x_near = nest.xg if nest.c == nest.xg and nest.xc == 1 else 0
    job.wide = min(d.out, WIDE)
    job.width = d.stride*(job.wide - 1) + d.dilation*(d.taps - 1) + 1
    least = job.dilation*(b.taps - 1) + 1 - job.stride
    job.rows = HOLD // <Py_ssize_t>sizeof(real) // max(a.taps*nest.c*job.width*V, 1)
    job.rows = min(b.out, max(<Py_ssize_t>FEWEST, (job.rows - least) // job.stride))
    job.height = least + job.stride*job.rows
    job.strip = job.height*job.width*V
    job.x_size = a.taps*nest.c*job.strip
    job.size = job.x_size + job.wide*V + V


def scratch_size(nest_bytes):
    """Elements of scratch per thread, and of what all threads share."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size, job.depth*(job.vectors*V + 1)


cdef void places(const Job* job, Py_ssize_t* at) noexcept nogil:
    """Where each product of an output lies in the strips, in the order of the weights."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t p, k1, k2
    for p in range(nest.axis[0].taps*nest.c):
        for k1 in range(nest.axis[1].taps):
            for k2 in range(nest.axis[2].taps):
                at[0] = p*job.strip + (job.dilation*k1*job.width + nest.axis[2].dilation*k2)*V
                at += 1


cdef void spread(const Job* job, int threads, real* scratch) noexcept nogil:
    """All tasks."""
    cdef Py_ssize_t t, size = of_thread(job), tasks = job.nest.n*job.nest.axis[0].out*job.vectors
    tasks *= ((job.nest.axis[1].out + job.rows - 1) // job.rows)*((job.nest.axis[2].out + job.wide - 1) // job.wide)
    for t in prange(tasks, num_threads=threads, schedule='static'):
        task(job, t, scratch + size*threadid())


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int threads):
    """y of one nest."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    operands(&job, x_array, w_array, y_array, bias_array, first, cval_array)
    cdef Py_ssize_t weights = job.depth*job.vectors*V, table = job.depth*<Py_ssize_t>sizeof(Py_ssize_t)
    cdef real* memory = reserve(&job, threads, weights + table // <Py_ssize_t>sizeof(real))
    cdef real* copied = whole_lines(memory)
    cdef Py_ssize_t* at = <Py_ssize_t*>(copied + weights)
    with nogil:
        job.copied, job.at = copied, at
        job.unsafe = lay_out(&job, copied) and job.cval == 0
        places(&job, at)
        spread(&job, threads, whole_lines(<real*>(at + job.depth)))
    free(memory)
