"""Channels last, each a group of its own: depthwise layers whose pixels are read where they lie, V channels at once.

The sum:       y[g, o] = init + sum over k of x[g, i(o, k)] * w[g, k], in the order and so in the bits of `depthwise`.
The schedule:  DOWN x ACROSS outputs of a vector of channels stay in registers; x is read through a table of the places
               under them (_lanes.pxd), made once for all vectors, which follow in the order of memory. A value that is
               loaded serves all outputs of its row; the weights are copied with lanes innermost.
Edges:         an absent place is one that holds cval. If weights are not finite, the outputs are done again by the
               definition.
Assumes:       weights shared by all outputs; x and y have unit stride along the groups, of which there are V or more.
Threads:       have outputs of their own, so no sum depends on their number.
"""

from libc.stdlib cimport free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_keep, v_prefetch
from _nest cimport Nest, Window, locate, PyBytes_AS_STRING
from _lanes cimport point_strip
from _depthwise cimport (Job, begin, operands, first_lane, by_definition, lay_out, whole_lines, reserve, of_thread,
                         find_fixed, places, fill_nothing)

LANES = V

cdef enum:
    DOWN = 2       # rows and columns of a tile: 260 us for 256 channels of 56 x 56 (a plain copy: 225), where 4 x 4
    ACROSS = 4     # take 305 and 2 x 8 295 (3x3 taps, one core of an Emerald Rapids server)
    MOST = 5       # taps of a row that stay in registers
    WIDE = 64      # outputs of a row that a table serves
    NEXT = 4       # vectors between a store and the line that is asked for

ctypedef void (*Tile)(const Job*, const real**, Py_ssize_t, Py_ssize_t, Py_ssize_t, Py_ssize_t, real*) noexcept nogil


cdef inline void outputs(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows,
                         Py_ssize_t count, real* y, int times, const int taps, const int step) noexcept nogil:
    """rows x count outputs (DOWN x ACROSS at most) of the vectors v0 .. v1. at: the places under the first one;
    taps: of a row (0: any number, any step). With a step of one the two rows of outputs share rows of x: the second
    is one row of taps behind the first."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef vreal acc[DOWN*ACROSS]
    cdef vreal wv[MOST]
    cdef vreal above[MOST]
    cdef vreal init
    cdef real part[DOWN*ACROSS*V]
    cdef bint straight = job.first and rows == DOWN and count >= ACROSS
    cdef Py_ssize_t down = b.ys if straight else ACROSS*V, across = d.ys if straight else V
    cdef Py_ssize_t v, c, k0, k1, k2, below = job.stride*job.width
    cdef const real* w = job.copied + v0*job.depth*V
    cdef const real** p
    cdef real* to
    cdef int r, t, k, once
    for v in range(v0, v1):
        c = first_lane(job, v)
        to = y + c if straight else part
        for once in range(times):  # GCC unrolls early enough to keep acc in registers only inside a loop
            for r in range(DOWN):
                for t in range(ACROSS):
                    acc[r*ACROSS + t] = v_set(0)
                    v_prefetch(to + r*down + t*across + NEXT*V)
            for k0 in range(job.nest.axis[0].taps):
                p = at + k0*job.strip
                for k in range(taps):
                    wv[k] = v_set(0)  # no row is above the first one
                for k1 in range(b.taps):
                    for k in range(taps):
                        above[k] = wv[k]
                        wv[k] = v_keep(v_load(w + k*V))
                    if taps == 0:
                        for k2 in range(d.taps):
                            wv[0] = v_keep(v_load(w + k2*V))
                            for r in range(DOWN):
                                for t in range(ACROSS):
                                    acc[r*ACROSS + t] += v_load(p[r*below + t*d.stride + k2*d.dilation] + c) * wv[0]
                    elif step == 1 and k1 > 0:
                        places(p, c, wv, above, acc, ACROSS, taps, step, 0, 2, False)
                    else:
                        places(p, c, wv, wv, acc, ACROSS, taps, step, 0, 1, False)
                    if step == 2:
                        places(p + below, c, wv, wv, acc, ACROSS, taps, step, 1, 2, False)
                    p, w = p + job.dilation*job.width, w + d.taps*V
                if step == 1:
                    places(p, c, wv, wv, acc, ACROSS, taps, step, 1, 2, False)
            init = v_load(job.bias + c) if job.first and job.bias != NULL else v_set(0)
            for r in range(DOWN):
                for t in range(ACROSS):
                    v_store(to + r*down + t*across, acc[r*ACROSS + t] + init)
        if not straight:
            settle(job, part, v*V - c, rows, count, y + c)


cdef void settle(const Job* job, const real* part, Py_ssize_t start, Py_ssize_t rows, Py_ssize_t count,
                 real* y) noexcept nogil:
    """The outputs of a tile that belong to y. `start` lanes of a last vector belong to the one before as well, and are
    added only once."""
    cdef Py_ssize_t i, j, k
    cdef real* to
    for i in range(rows):
        for j in range(min(count, <Py_ssize_t>ACROSS)):
            to = y + i*job.nest.axis[1].ys + j*job.nest.axis[2].ys
            if job.first:
                v_store(to, v_load(part + (i*ACROSS + j)*V))
            else:
                for k in range(start, V):
                    to[k] += part[(i*ACROSS + j)*V + k]


# A function for each: with all of them in one, five taps take 8 per cent longer in 16 registers (GCC 12, row v3).

cdef void tile_31(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows, Py_ssize_t count,
                  real* y) noexcept nogil:
    outputs(job, at, v0, v1, rows, count, y, 1, 3, 1)


cdef void tile_32(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows, Py_ssize_t count,
                  real* y) noexcept nogil:
    outputs(job, at, v0, v1, rows, count, y, 1, 3, 2)


cdef void tile_51(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows, Py_ssize_t count,
                  real* y) noexcept nogil:
    outputs(job, at, v0, v1, rows, count, y, 1, 5, 1)


cdef void tile_52(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows, Py_ssize_t count,
                  real* y) noexcept nogil:
    outputs(job, at, v0, v1, rows, count, y, 1, 5, 2)


cdef void tile_any(const Job* job, const real** at, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t rows, Py_ssize_t count,
                   real* y) noexcept nogil:
    outputs(job, at, v0, v1, rows, count, y, 1, 0, 0)


cdef inline Tile tile_for(const Job* job) noexcept nogil:
    if job.fixed == 3:
        return tile_31 if job.step == 1 else tile_32
    if job.fixed == 5:
        return tile_51 if job.step == 1 else tile_52
    return tile_any


cdef void task(const Job* job, Py_ssize_t t, Py_ssize_t parts, real* scratch) noexcept nogil:
    """DOWN rows and some columns of some vectors (one of `parts`)."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t across = (d.out + job.wide - 1) // job.wide, down = (b.out + DOWN - 1) // DOWN
    cdef Py_ssize_t o0, o1, o2, n, v0, v1, k0, i0, j, rows, count
    cdef const real** at = <const real**>scratch
    cdef Tile tile = tile_for(job)
    cdef bint absent = False
    cdef real* y
    v0, v1 = t % parts*job.vectors // parts, (t % parts + 1)*job.vectors // parts
    t = t // parts
    o2 = t % across*job.wide
    t = t // across
    o1 = t % down*DOWN
    t = t // down
    o0 = t % a.out
    n = t // a.out
    rows, count = min(<Py_ssize_t>DOWN, b.out - o1), min(job.wide, d.out - o2)
    for k0 in range(a.taps):
        i0 = locate(a, a.stride*o0 + a.dilation*k0 - a.offset)
        if i0 < 0:
            absent = True
            for j in range(job.strip):
                at[k0*job.strip + j] = job.nothing
        elif point_strip(b, d, job.x + n*nest.xn + i0*a.xs, b.stride*o1 - b.offset, job.height, job.jump,
                         d.stride*o2 - d.offset, job.width, job.width, job.nothing, at + k0*job.strip):
            absent = True
    y = job.y + n*nest.yn + o0*a.ys + o1*b.ys + o2*d.ys
    if absent and job.unsafe:
        all_by_definition(job, v0, v1, n, o0, o1, o2, rows, count, y)
        return
    while count > 0:
        tile(job, at, v0, v1, rows, count, y)
        at, y, count = at + ACROSS*d.stride, y + ACROSS*d.ys, count - ACROSS


cdef void all_by_definition(const Job* job, Py_ssize_t v0, Py_ssize_t v1, Py_ssize_t n, Py_ssize_t o0, Py_ssize_t o1,
                            Py_ssize_t o2, Py_ssize_t rows, Py_ssize_t count, real* y) noexcept nogil:
    """What the tiles do, for weights that must not meet the zeros in the place of absent values."""
    cdef Py_ssize_t i, j, lane
    cdef real init
    cdef real* to
    for i in range(rows):
        for j in range(count):
            for lane in range(v0*V, min(v1*V, job.lanes)):
                to = y + i*job.nest.axis[1].ys + j*job.nest.axis[2].ys + lane
                init = job.bias[lane] if job.bias != NULL else 0
                to[0] = by_definition(job, lane, n, o0, o1 + i, o2 + j) + (init if job.first else to[0])


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    begin(job, nest)
    # in steps of one the rows of a tile share rows of x
    find_fixed(job, d.taps, d.stride, d.dilation == 1 and (d.stride == 2 or job.stride == job.dilation == 1))
    job.rows, job.wide = DOWN, min(d.out, WIDE)
    job.height = job.stride*(DOWN - 1) + job.dilation*(b.taps - 1) + 1
    job.width = d.stride*((job.wide + ACROSS - 1) // ACROSS*ACROSS - 1) + d.dilation*(d.taps - 1) + 1
    job.strip = job.height*job.width
    job.size = nest.axis[0].taps*job.strip*<Py_ssize_t>sizeof(real*) // <Py_ssize_t>sizeof(real) + V


def scratch_size(nest_bytes):
    """Elements of scratch per thread, and of what all threads share."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size, job.depth*(job.vectors*V + 1) + job.lanes


cdef void spread(const Job* job, int threads, real* scratch) noexcept nogil:
    """All tasks."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t t, tasks, parts = 1, size = of_thread(job)
    tasks = nest.n*nest.axis[0].out*((nest.axis[1].out + DOWN - 1) // DOWN)
    tasks *= (nest.axis[2].out + job.wide - 1) // job.wide
    if tasks < 4*threads and threads > 1:  # the last two vectors may overlap: they stay together
        parts = max(<Py_ssize_t>1, min(4*threads // max(tasks, 1), job.vectors - 1))
    for t in prange(tasks*parts, num_threads=threads, schedule='static'):
        task(job, t, parts, scratch + size*threadid())


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int threads):
    """y of one nest."""
    cdef Job job
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    operands(&job, x_array, w_array, y_array, bias_array, first, cval_array)
    cdef real* memory = reserve(&job, threads, job.depth*job.vectors*V + job.lanes)
    cdef real* copied = whole_lines(memory)
    cdef real* nothing = copied + job.depth*job.vectors*V
    with nogil:
        job.copied = copied
        job.unsafe = lay_out(&job, copied) and job.cval == 0
        fill_nothing(&job, nothing)
        spread(&job, threads, whole_lines(nothing + job.lanes))
    free(memory)
