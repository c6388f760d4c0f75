"""Channels last, each a group of its own: weight gradients of depthwise layers, read where they lie.

The sum:       y[g, o] = init + sum over (c, k) of x[g, c, i(o, k)] * w[g, c, k], few outputs of many products, in the
               order and so in the bits of `depthwise_grad`. Its outputs are the taps of a layer, w is dy.
The schedule:  PIXELS neighbours of w stay in registers, and a row of outputs; x is read through a table of the places
               under them (_lanes.pxd), where a value that is loaded serves all outputs of the row. The sums of all
               vectors, which follow in the order of memory, stay in L1.
Edges:         an absent place is one that holds cval. If a sum is not finite, it is done again by the definition.
Assumes:       weights shared by all outputs; x and w have unit stride along the groups, of which there are V or more;
               one image in the place of a batch (the channels of a group).
Threads:       have outputs of their own, so no sum depends on their number.
"""

from libc.stdlib cimport free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep
from _nest cimport Nest, Window, locate, PyBytes_AS_STRING
from _lanes cimport point_strip
from _depthwise cimport (Job, begin, operands, first_lane, cut_taps, finish, whole_lines, reserve, of_thread,
                         find_fixed, places, fill_nothing)

LANES = V

cdef enum:
    PIXELS = 4      # 270 us for 256 channels of 56 x 56, where 2, 7, 8, 14 and 28 take 270, 280, 290, 315 and 395
                    # (3x3 outputs, one core of an Emerald Rapids server)
    MOST = 5        # outputs of a row in registers
    TOGETHER = 16   # vectors of a task

ctypedef void (*Taps)(const Job*, const real**, const real*, Py_ssize_t, Py_ssize_t, Py_ssize_t, real*) noexcept nogil


cdef inline void some_taps(const Job* job, const real** at, const real* w, Py_ssize_t v0, Py_ssize_t v1, real* sums,
                           const int pixels, const int outputs, const int step) noexcept nogil:
    """What some neighbours of w add to all outputs of a plane. at: the places under the first of them; outputs: of a
    row (0: any number, any step)."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t v, c, o1, o2, high = job.nest.axis[1].out
    cdef const real** q
    cdef real* s
    cdef vreal acc[MOST]
    cdef vreal wv[PIXELS]
    cdef int p, o
    for v in range(v0, v1):
        c = first_lane(job, v)
        s = sums + (v - v0)*job.sums*V
        q = at
        for p in range(pixels):
            wv[p] = v_keep(v_load(w + p*d.ws + c))
        for o1 in range(high):
            if outputs > 0:
                for o in range(outputs):
                    acc[o] = v_load(s + o*V)
                places(q, c, wv, wv, acc, pixels, outputs, step, 0, 1, True)
                for o in range(outputs):
                    v_store(s + o*V, acc[o])
                s += outputs*V
            else:
                for o2 in range(d.out):
                    acc[0] = v_load(s)
                    for p in range(pixels):
                        acc[0] += v_load(q[d.stride*o2 + d.dilation*p] + c) * wv[p]
                    v_store(s, acc[0])
                    s += V
            q += job.stride*job.width


cdef inline void taps_of(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0,
                         Py_ssize_t v1, real* sums, const int outputs, const int step) noexcept nogil:
    """`count` neighbours of w."""
    cdef Py_ssize_t x_step = PIXELS*job.nest.axis[2].dilation, w_step = PIXELS*job.nest.axis[2].ws
    while count >= PIXELS:
        some_taps(job, at, w, v0, v1, sums, PIXELS, outputs, step)
        at, w, count = at + x_step, w + w_step, count - PIXELS
    if count == 3:
        some_taps(job, at, w, v0, v1, sums, 3, outputs, step)
    elif count == 2:
        some_taps(job, at, w, v0, v1, sums, 2, outputs, step)
    elif count == 1:
        some_taps(job, at, w, v0, v1, sums, 1, outputs, step)


# A function for each, as in depthwise_last.

cdef void taps_31(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0, Py_ssize_t v1,
                  real* sums) noexcept nogil:
    taps_of(job, at, w, count, v0, v1, sums, 3, 1)


cdef void taps_32(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0, Py_ssize_t v1,
                  real* sums) noexcept nogil:
    taps_of(job, at, w, count, v0, v1, sums, 3, 2)


cdef void taps_51(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0, Py_ssize_t v1,
                  real* sums) noexcept nogil:
    taps_of(job, at, w, count, v0, v1, sums, 5, 1)


cdef void taps_52(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0, Py_ssize_t v1,
                  real* sums) noexcept nogil:
    taps_of(job, at, w, count, v0, v1, sums, 5, 2)


cdef void taps_any(const Job* job, const real** at, const real* w, Py_ssize_t count, Py_ssize_t v0, Py_ssize_t v1,
                   real* sums) noexcept nogil:
    taps_of(job, at, w, count, v0, v1, sums, 0, 0)


cdef inline Taps taps_for(const Job* job) noexcept nogil:
    if job.fixed == 3:
        return taps_31 if job.step == 1 else taps_32
    if job.fixed == 5:
        return taps_51 if job.step == 1 else taps_52
    return taps_any


cdef bint strip_of(const Job* job, Taps taps, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t c, Py_ssize_t k0, Py_ssize_t k1,
                   Py_ssize_t k2, const real** at, real* sums) noexcept nogil:
    """What some rows and columns of w add to all outputs; whether some places of x are absent."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t rows = min(job.rows, b.taps - k1), count = min(job.wide, d.taps - k2), o0, i0, h
    cdef Py_ssize_t height = job.dilation*(rows - 1) + job.stride*(b.out - 1) + 1
    cdef const real* w = job.w + c*nest.wc + k0*a.ws + k1*b.ws + k2*d.ws
    cdef bint absent = False
    for o0 in range(a.out):
        i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
        if i0 < 0:
            absent = True
            if job.cval == 0:
                continue
            for h in range(height*job.width):
                at[h] = job.nothing
        elif point_strip(b, d, job.x + c*nest.xc + i0*a.xs, b.dilation*k1 - b.offset, height, job.jump,
                         d.dilation*k2 - d.offset, d.dilation*(count - 1) + d.stride*(d.out - 1) + 1, job.width,
                         job.nothing, at):
            absent = True
        for h in range(rows):
            taps(job, at + job.dilation*h*job.width, w + h*b.ws, count, v0, v1, sums + o0*b.out*d.out*V)
    return absent


cdef void task(const Job* job, Py_ssize_t v0, Py_ssize_t v1, real* scratch) noexcept nogil:
    """All outputs of a few vectors (TOGETHER at most)."""
    cdef const Nest* nest = job.nest
    cdef const real** at = <const real**>scratch
    cdef real* sums = scratch + job.x_size
    cdef Taps taps = taps_for(job)
    cdef Py_ssize_t v, c, k0, k1, k2, i
    cdef bint absent = False
    for i in range((v1 - v0)*job.sums):
        v_store(sums + i*V, v_set(0))
    for c in range(nest.c):
        for k0 in range(nest.axis[0].taps):
            k1 = 0
            while k1 < nest.axis[1].taps:
                k2 = 0
                while k2 < nest.axis[2].taps:
                    if strip_of(job, taps, v0, v1, c, k0, k1, k2, at, sums):
                        absent = True
                    k2 += job.wide
                k1 += job.rows
    for v in range(v0, v1):
        finish(job, v, 0, 1, absent and job.cval == 0, sums + (v - v0)*job.sums*V)


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    begin(job, nest)
    cut_taps(job)
    find_fixed(job, nest.axis[2].out, nest.axis[2].dilation, nest.axis[2].stride == 1)
    job.x_size = job.height*job.width*<Py_ssize_t>sizeof(real*) // <Py_ssize_t>sizeof(real)
    job.x_size = (job.x_size + V) // V*V
    job.size = job.x_size + min(<Py_ssize_t>TOGETHER, job.vectors)*job.sums*V + V


def scratch_size(nest_bytes):
    """Elements of scratch per thread, and of what all threads share."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size, job.lanes


cdef void spread(const Job* job, int threads, real* scratch) noexcept nogil:
    """All tasks."""
    cdef Py_ssize_t each = min(<Py_ssize_t>TOGETHER, max(<Py_ssize_t>1, (job.vectors + threads - 1) // threads))
    cdef Py_ssize_t t, size = of_thread(job)
    for t in prange((job.vectors + each - 1) // each, num_threads=threads, schedule='static'):
        task(job, t*each, min(t*each + each, job.vectors), scratch + size*threadid())


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int threads):
    """y of one nest."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    operands(&job, x_array, w_array, y_array, bias_array, first, cval_array)
    cdef real* memory = reserve(&job, threads, job.lanes)
    with nogil:
        fill_nothing(&job, memory)
        spread(&job, threads, whole_lines(memory + job.lanes))
    free(memory)
