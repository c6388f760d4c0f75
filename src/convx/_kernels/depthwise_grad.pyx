"""Few outputs of many products with pairs of group and output channel as lanes: weight gradients, in any layout.

The sum:       y[g, m, o] = init + sum over (c, k) of x[g, c, i(o, k)] * w[g, m, c, k], V pairs (g, m) at once.
The copies:    both x and w come in strips (_lanes.pxd) in which every column is a vector, as in `depthwise`.
The schedule:  R x S outputs stay in registers and run along the strips.
Edges:         absent values are zeros in a strip. If a sum is not finite, it is done again by the definition.
Assumes:       weights shared by all outputs.
Threads:       have outputs of their own, so no sum depends on their number.
"""

from libc.stdlib cimport free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep
from _nest cimport Nest, Window, locate, PyBytes_AS_STRING
from _lanes cimport Lanes, find, touch, copy_strip
from _depthwise cimport Job, begin, operands, cut_taps, finish, whole_lines, reserve, of_thread

LANES = V

cdef enum:
    R = 3          # rows and columns of outputs in registers
    S = 3
    TOGETHER = 4   # vectors of a task


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


cdef void sums_of(const Job* job, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t n0, Py_ssize_t n1,
                  real* scratch) noexcept nogil:
    """All outputs of a few vectors (TOGETHER at most) in the images n0 .. n1, which share the strips of w."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t size = (n1 - n0)*job.sums*V, v, c, k0, k1, k2, i
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


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    begin(job, nest)
    cut_taps(job)
    job.x_near = nest.xg if nest.n == nest.xg and nest.xn == 1 else 0
    job.strip = job.x_size = job.height*job.width*V
    job.size = job.x_size + job.rows*job.wide*V + TOGETHER*nest.n*job.sums*V + V


def scratch_size(nest_bytes):
    """Elements of scratch per thread, and of what all threads share."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size, 0


cdef void spread(const Job* job, int threads, real* scratch) noexcept nogil:
    """All tasks."""
    cdef Py_ssize_t t, n = job.nest.n, parts = 1, size = of_thread(job)
    cdef Py_ssize_t each = max(<Py_ssize_t>1, min(<Py_ssize_t>TOGETHER, job.vectors // (2*threads)))
    cdef Py_ssize_t blocks = (job.vectors + each - 1) // each
    if blocks < 2*threads:
        parts = max(<Py_ssize_t>1, min(n, 2*threads // max(blocks, 1)))
    for t in prange(blocks*parts, num_threads=threads, schedule='static'):
        sums_of(job, t // parts*each, min(t // parts*each + each, job.vectors), t % parts*n // parts,
                (t % parts + 1)*n // parts, scratch + size*threadid())


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int threads):
    """y of one nest."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    operands(&job, x_array, w_array, y_array, bias_array, first, cval_array)
    cdef real* memory = reserve(&job, threads, 0)
    with nogil:
        spread(&job, threads, whole_lines(memory))
    free(memory)
