"""The gradient of the largest values of windows.

The sum:       dx[n, g, i] = sum of dy[n, g, o] over the outputs o whose largest value, in scan order the first, is in i
The schedule:  two passes over a few outputs at a time. `_places.pxd` finds the place of every largest value, its mark.
               Then each cell of dx looks at the outputs whose windows hold it, which is the window of the role swap, and
               adds up dy where the mark is its own place; so dx is written once and needs no zeros before. Marks and dy
               of the outputs lie in a ring: those of as many indices of the first axis as one index of dx looks at.
               Rows of windows that overlap much, or have a stride above 2, are better served by `scattered` (pool.pyx).
Threads:       have planes, or lanes or bands of them; the terms of a cell have one order.
Assumes:       as `pool`; dx lies in memory as x does.
"""

from libc.stdlib cimport malloc, free
from libc.string cimport memset
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set, v_copy
from _nest cimport address, PyBytes_AS_STRING
from _order cimport (
    place, vplace, p_load, p_set, p_line, v_part, v_put, v_at, v_low, v_high, m_between, v_give, v_give_same,
)
from _cells cimport (
    MOST, Pool, PoolAxis, PoolPhase, Run, phases_of, Walk, begin, more, make_tables, output_row, rows_of,
    bands_of, Part, begin_part, begin_rows, Group, group_size, begin_group,
)
from _places cimport row_places, lane_places

ctypedef struct Job:
    # One call. pool finds the marks; swap, from dy to dx, adds. Tasks: groups of `planes` planes, times parts of `part`
    # lanes, times blocks of `cells` cells of the inner axis, times bands of the first one. A plane's ring has `room`
    # marks, `pitch` apart along the inner axis.
    const Pool* pool
    const Pool* swap
    const Run* tables[MOST]
    const Run* swap_tables[MOST]
    const real* x
    const real* dy
    real* dx
    Py_ssize_t planes, part, cells, room, pitch, parts, blocks, bands

ctypedef struct Task:
    # Its planes (or one plane's lanes), its cells of the inner axis, and the outputs [low, high) that these look at, the
    # first of which has index `ahead` in a row of the ring.
    Group planes, ring
    Py_ssize_t n, first, cells, low, high, ahead
    Part find, add
    real* g
    place* mark
    real* rows
    place* ids


# Marks ----------------------------------------------------------------------------------------------------------------

cdef inline Py_ssize_t slabs_of(const Pool* pool) noexcept nogil:
    """Indices of the first axis, if that is not the inner one."""
    return pool.axis[0].out if pool.rank > 1 else 1


cdef inline Py_ssize_t ring_row(const Job* job, Py_ssize_t row) noexcept nogil:
    """Where the marks of output row number `row` start in a plane's ring."""
    cdef Py_ssize_t a = job.pool.rank - 2, at = 0
    while a > 0:
        at += row % job.pool.axis[a].out * job.swap.axis[a].ps
        row = row // job.pool.axis[a].out
        a -= 1
    return at + row % job.swap.ring * job.swap.axis[0].ps if a == 0 else at


cdef inline Py_ssize_t place_row(const Job* job, Py_ssize_t row) noexcept nogil:
    """The place of the first cell of row number `row` of dx."""
    cdef Py_ssize_t a = job.pool.rank - 2, at = 0
    while a > 0:
        at += row % job.swap.axis[a].out * job.pool.axis[a].ps
        row = row // job.swap.axis[a].out
        a -= 1
    return at + row*job.pool.axis[0].ps if a == 0 else at


cdef void mark_rows(const Job* job, const Task* t, Py_ssize_t row) noexcept nogil:
    """The marks of one output row of a group of planes, and its dy."""
    cdef Py_ssize_t p, to = ring_row(job, row) + t.ahead
    cdef const real* dy = job.dy + output_row(job.pool, row) + t.low
    row_places(job.pool, job.tables, &t.ring, job.x, NULL, t.mark + to, row, &t.find, t.rows, t.ids)
    for p in range(t.ring.count):
        v_copy(t.g + t.ring.y[p] + to, dy + t.planes.y[p], t.high - t.low)


cdef void mark_lanes(const Job* job, const Task* t, Py_ssize_t row, bint ties_all) noexcept nogil:
    """The marks of one output row, n lanes of each, and its dy. ties_all: the largest values are the marks."""
    cdef Py_ssize_t o, to = ring_row(job, row), ys = job.pool.axis[job.pool.rank - 1].ys
    cdef const real* x = job.x + t.planes.x[0]
    cdef const real* dy = job.dy + t.planes.y[0] + output_row(job.pool, row)
    if ties_all:
        lane_places(job.pool, job.tables, x, <real*>t.mark + to, t.ids, job.pitch, row, t.low, t.high, t.n)
    else:
        lane_places(job.pool, job.tables, x, t.rows, t.mark + to, job.pitch, row, t.low, t.high, t.n)
    if job.pitch == ys:
        v_copy(t.g + to, dy + t.low*ys, (t.high - t.low)*ys)
        return
    for o in range(t.low, t.high):
        v_copy(t.g + to + (o - t.low)*job.pitch, dy + o*ys, t.n)


# Sums -----------------------------------------------------------------------------------------------------------------

cdef inline void gather_lanes(real* dx, const real* x, const real* g, const place* mark, const Walk* walk, place id,
                              Py_ssize_t taps, Py_ssize_t step, Py_ssize_t n, bint first, const bint ties_all,
                              const int vectors) noexcept nogil:
    """`vectors` vectors (0: n lanes of one) of a cell: dy of the listed rows x taps where the mark is id (or, ties_all,
    x); and what dx has, but the first time."""
    cdef vreal acc[4]
    cdef vreal top[4]
    cdef vplace here = p_set(id)
    cdef Py_ssize_t r, k, i
    cdef int v
    if vectors == 0:
        acc[0] = v_set(0) if first else v_part(dx, n)
        top[0] = v_part(x, n)
    for v in range(vectors):
        acc[v] = v_set(0) if first else v_load(dx + v*V)
        top[v] = v_load(x + v*V)
    for r in range(walk.count):
        i = walk.id[r]
        for k in range(taps):
            for v in range(vectors if vectors > 0 else 1):
                if ties_all:
                    acc[v] = v_give_same(acc[v], top[v], v_load(<const real*>mark + i + v*V), v_load(g + i + v*V))
                else:
                    acc[v] = v_give(acc[v], p_load(mark + i + v*V), here, v_load(g + i + v*V))
            i += step
    if vectors == 0:
        v_put(dx, acc[0], n)
    for v in range(vectors):
        v_store(dx + v*V, acc[v])


cdef inline void add_lanes(const Job* job, const Task* t, Py_ssize_t row, const bint ties_all) noexcept nogil:
    """One row of dx, n lanes of every cell."""
    cdef Walk walk
    cdef Py_ssize_t inner = job.swap.rank - 1, i, j, k, step, id = place_row(job, row), many
    cdef Py_ssize_t at = t.planes.x[0] + output_row(job.swap, row), ys = job.swap.axis[inner].ys
    cdef real* dx
    cdef const real* x
    cdef place here
    cdef bint left = True, first = True
    begin(&walk, job.swap, job.swap_tables, row)
    while left:
        left = more(&walk, job.swap)
        for i in range(t.first, t.first + t.cells):
            k = (job.swap_tables[inner][i].i - t.low)*job.pitch
            step, many = job.swap_tables[inner][i].step*job.pitch, job.swap_tables[inner][i].count
            dx, x, here, j = job.dx + at + i*ys, job.x + at + i*ys, <place>(id + i*job.pool.axis[inner].ps), 0
            while j + 4*V <= t.n:
                gather_lanes(dx + j, x + j, t.g + k + j, t.mark + k + j, &walk, here, many, step, V, first, ties_all, 4)
                j += 4*V
            while j + V <= t.n:
                gather_lanes(dx + j, x + j, t.g + k + j, t.mark + k + j, &walk, here, many, step, V, first, ties_all, 1)
                j += V
            if j < t.n:
                gather_lanes(dx + j, x + j, t.g + k + j, t.mark + k + j, &walk, here, many, step, t.n - j, first,
                             ties_all, 0)
        first = False


cdef inline vreal gather(const real* g, const place* mark, const Walk* walk, const PoolPhase* f, vplace here,
                         const int known_rows, const int known_taps) noexcept nogil:
    """dy of the listed rows x taps where the mark is the cell. known: how many these are, if that is compiled in."""
    cdef vreal acc = v_set(0)
    cdef Py_ssize_t r, k, i
    for r in range(known_rows if known_rows > 0 else walk.count):
        i = walk.id[r]
        for k in range(known_taps if known_taps > 0 else f.taps):
            acc = v_give(acc, p_load(mark + i), here, v_load(g + i))
            i += f.dilation
    return acc


cdef inline void add_rows_by(const Job* job, const Task* t, const Walk* walk, Py_ssize_t row, const int step,
                             const int rows, const int taps) noexcept nogil:
    """One row of dx of a group of planes, in `step` (1 or 2) phases. rows, taps: of a window, or 0."""
    cdef const PoolPhase* f = phases_of(job.swap)
    cdef const real* g
    cdef const place* mark
    cdef real* dx
    cdef Py_ssize_t p, j, i, at = output_row(job.swap, row) + t.first, id = place_row(job, row) + t.first
    cdef vplace line = p_line(step), here
    cdef vreal a, b
    for p in range(t.ring.count):
        g, mark, dx = t.g + t.ring.y[p] + f.start, t.mark + t.ring.y[p] + f.start, job.dx + t.planes.x[p] + at
        j = i = 0
        while i < t.cells:
            here = line + p_set(<place>(id + i))
            a = gather(g + j, mark + j, walk, f, here, rows, taps)
            if step == 1:
                v_at(dx + i, a, m_between(0, t.cells - i))
            else:
                b = gather(g + j + f[1].start - f.start, mark + j + f[1].start - f.start, walk, f + 1,
                           here + p_set(1), rows, taps)
                v_at(dx + i, v_low(a, b), m_between(0, t.cells - i))
                v_at(dx + i + V, v_high(a, b), m_between(0, t.cells - i - V))
            j += V
            i += step*V


cdef void add_rows(const Job* job, const Task* t, Py_ssize_t row) noexcept nogil:
    cdef Walk walk
    begin(&walk, job.swap, job.swap_tables, row)
    more(&walk, job.swap)  # all of them: there are few
    if job.swap.step == 1:
        add_rows_by(job, t, &walk, row, 1, 0, 0)
    else:
        add_rows_by(job, t, &walk, row, 2, 0, 0)


# Tasks ----------------------------------------------------------------------------------------------------------------

cdef inline void widen(const Run* run, Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """[low, high) and what the run reads."""
    cdef Py_ssize_t last = run.i + (run.count - 1)*run.step
    if run.count > 0:
        low[0] = min(low[0], min(run.i, last))
        high[0] = max(high[0], max(run.i, last) + 1)


cdef inline void look_at(const Job* job, Py_ssize_t slab, Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """[low, high) and the slabs of outputs that this one of dx looks at."""
    if job.swap.rank > 1:
        widen(&job.swap_tables[0][slab], low, high)
    else:
        low[0], high[0] = 0, 1


cdef void begin_task(const Job* job, Py_ssize_t number, real* scratch, Task* t) noexcept nogil:
    cdef Py_ssize_t p, i, block = number % job.blocks, part = number // job.blocks % job.parts
    cdef Py_ssize_t total = job.planes*job.room + V, inner = job.swap.rank - 1
    begin_group(job.pool, number // job.blocks // job.parts * job.planes, job.planes, &t.planes)
    t.ring = t.planes
    t.first = block*job.cells
    t.cells = min(job.cells, job.swap.axis[inner].out - t.first)
    t.g, t.mark, t.rows = scratch, <place*>(scratch + total), scratch + 2*total
    for p in range(t.planes.count):
        t.ring.y[p] = p*job.room
    if job.swap.along_row:
        begin_part(job.swap, t.first, t.cells, &t.add)
        t.low, t.high, t.ahead, t.n = t.add.low, t.add.high, t.add.low - t.add.start, 1
        begin_part(job.pool, t.low, t.high - t.low, &t.find)
        t.ids = <place*>(t.rows + job.planes*job.pool.width)
        begin_rows(job.pool, &t.ring, &t.find, t.rows, t.ids)
        memset(t.g, 0, total*sizeof(real))
        memset(t.mark, -1, total*sizeof(place))
        return
    t.ids = <place*>(t.rows + job.room)
    t.n = min(job.part, job.pool.lanes - part*job.part)
    t.planes.x[0] += part*job.part
    t.planes.y[0] += part*job.part
    t.low, t.high, t.ahead = job.swap.axis[inner].size, 0, 0
    for i in range(t.first, t.first + t.cells):
        widen(&job.swap_tables[inner][i], &t.low, &t.high)
    t.low = min(t.low, t.high)


cdef void gradient_task(const Job* job, Py_ssize_t number, bint ties_all, real* scratch) noexcept nogil:
    """A block of cells of a band of slabs of dx: a slab is an index of the first axis."""
    cdef Py_ssize_t slabs = slabs_of(job.swap), band = number % job.bands, low = slabs*band // job.bands
    cdef Py_ssize_t high = slabs*(band + 1) // job.bands, made = slabs_of(job.pool), last = 0, none, i, row
    cdef Py_ssize_t marks = rows_of(job.pool) // made, sums = rows_of(job.swap) // slabs
    cdef Task t
    begin_task(job, number // job.bands, scratch, &t)
    for i in range(low, high):
        look_at(job, i, &made, &last)
    last = 0
    for i in range(low, high):
        none = made
        look_at(job, i, &none, &last)
        while made < last:
            for row in range(made*marks, (made + 1)*marks):
                if job.swap.along_row:
                    mark_rows(job, &t, row)
                else:
                    mark_lanes(job, &t, row, ties_all)
            made += 1
        for row in range(i*sums, (i + 1)*sums):
            if job.swap.along_row:
                add_rows(job, &t, row)
            elif ties_all:
                add_lanes(job, &t, row, True)
            else:
                add_lanes(job, &t, row, False)


def gradient(x_array, dy_array, dx_array, pool_bytes, swap_bytes, Py_ssize_t part, Py_ssize_t cells, Py_ssize_t room,
             bint ties_all, int threads):
    """dx: dy where x is the largest of its window, 0 elsewhere."""
    cdef Job job
    cdef Run* made = NULL
    cdef Run* swap_made = NULL
    cdef real* scratch = NULL
    cdef Py_ssize_t size, tasks, t, planes, reach
    job.pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    job.swap = <const Pool*>PyBytes_AS_STRING(swap_bytes)
    job.x, job.dy, job.dx = address(x_array), address(dy_array), address(dx_array)
    cdef const PoolAxis* d = &job.swap.axis[job.swap.rank - 1]
    planes = job.pool.n*job.pool.g
    job.part, job.cells, job.room, job.pitch = part, cells, room, d.ps
    job.planes = 1
    if job.swap.along_row:
        job.planes = max(1, min(group_size(job.pool, planes, threads), 32768 // room))
    job.parts, job.blocks = (job.pool.lanes + part - 1) // part, (d.out + cells - 1) // cells
    tasks = (planes + job.planes - 1) // job.planes * job.parts*job.blocks
    reach = max(2*job.swap.ring, 1)  # where a band begins, marks are found again
    job.bands = max(1, min(bands_of(tasks, slabs_of(job.swap), threads), slabs_of(job.pool) // reach))
    tasks *= job.bands
    size = 2*(job.planes*room + V) + 2*(job.planes*job.pool.width if job.swap.along_row else room + V)
    try:
        made, swap_made = make_tables(job.pool, job.tables), make_tables(job.swap, job.swap_tables)
        scratch = <real*>malloc(size*threads*sizeof(real))
        if scratch == NULL:
            raise MemoryError("scratch of the pool kernel")
        for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
            gradient_task(&job, t, ties_all, scratch + size*threadid())
    finally:
        free(scratch)
        free(made)
        free(swap_made)
