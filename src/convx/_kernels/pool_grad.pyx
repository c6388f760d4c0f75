"""The gradient of the largest values of windows.

The sum:       dx[n, g, i] = sum of dy[n, g, o] over the outputs o whose largest value, in scan order the first, is in i
The schedule:  `_places.pxd` finds the place of every largest value, its mark. In rows dy is then added where the marks
               say, one by one, while a row's marks and the planes of dx are in the cache. In lanes nothing is: each cell
               of dx looks at the outputs whose windows hold it, which is the window of the role swap, and adds up dy
               where the mark is its own place; so dx is written once and needs no zeros before. The marks of the outputs
               lie in a ring: those of as many indices of the first axis as one index of dx looks at.
Threads:       have planes, or lanes or bands of them; the terms of a cell have one order.
Assumes:       as `pool`; dx lies in memory as x does, and planes of rows are in one piece.
"""

from libc.stdlib cimport malloc, free
from libc.string cimport memset
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set
from _nest cimport address, PyBytes_AS_STRING
from _masks cimport v_part, v_put
from _order cimport place, vplace, p_load, p_set, v_give, v_give_same
from _cells cimport (
    MOST, Pool, PoolAxis, Run, Walk, begin, more, make_tables, output_row, rows_of, blocks_of, bands_of, Part,
    begin_block, begin_rows, Group, group_size, groups_of, begin_group,
)
from _places cimport row_places, lane_places

LANES = V


# Rows -----------------------------------------------------------------------------------------------------------------

cdef void rows_task(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx,
                    Py_ssize_t number, Py_ssize_t size, real* rows, place* marks) noexcept nogil:
    """All outputs of a group of planes. rows: padded ones; marks: theirs, then those of a block of a row of outputs."""
    cdef Py_ssize_t row, block, p, j, cells = 1
    cdef place* mark = marks + size*pool.width
    cdef const real* g
    cdef real* to
    cdef Part part
    cdef Group group, ring
    begin_group(pool, number, size, &group)
    ring = group
    ring.y, ring.yp = 0, pool.block
    for j in range(pool.rank):
        cells *= pool.axis[j].size
    for p in range(group.count):
        memset(dx + group.x + p*group.xp, 0, cells*sizeof(real))
    for block in range(blocks_of(pool)):
        begin_block(pool, block, &part)
        begin_rows(pool, &group, &part, rows, marks)
        for row in range(rows_of(pool)):
            row_places(pool, tables, &ring, x, NULL, mark, row, &part, rows, marks)
            for p in range(group.count):
                g = dy + group.y + p*group.yp + output_row(pool, row) + part.first
                to = dx + group.x + p*group.xp
                for j in range(part.outs):
                    to[mark[p*pool.block + j]] += g[j]


def row_gradient(x_array, dy_array, dx_array, pool_bytes, int threads):
    """dx, whose planes are rows one behind the other: dy where x is the largest of its window, 0 elsewhere."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef const real* dy = address(dy_array)
    cdef real* dx = address(dx_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t group = group_size(pool, threads), t
    cdef Py_ssize_t tasks = groups_of(pool, group), size = group*(pool.block + 2*pool.width)
    cdef Run* made = make_tables(pool, tables)
    cdef real* scratch = <real*>malloc(size*threads*sizeof(real))
    if scratch == NULL:
        free(made)
        raise MemoryError("scratch of the pool kernel")
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
        rows_task(pool, tables, x, dy, dx, t, group, scratch + size*threadid(),
                  <place*>(scratch + size*threadid() + group*pool.width))
    free(scratch)
    free(made)


# Lanes ----------------------------------------------------------------------------------------------------------------

ctypedef struct Job:
    # One call. pool finds the marks; swap, from dy to dx, adds. Tasks: planes, times parts of `part` lanes, times blocks
    # of `cells` cells of the inner axis, times bands of the first one. A ring has `room` marks.
    const Pool* pool
    const Pool* swap
    const Run* tables[MOST]
    const Run* swap_tables[MOST]
    const real* x
    const real* dy
    real* dx
    Py_ssize_t part, cells, room, parts, blocks, bands

ctypedef struct Task:
    # Where its lanes begin in x and dx, and in dy; how many they are; its cells of the inner axis, and the outputs
    # [low, high) that these look at.
    Py_ssize_t x, y, n, first, cells, low, high
    place* mark
    real* best
    place* spare


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


cdef void mark(const Job* job, const Task* t, Py_ssize_t row, bint ties_all) noexcept nogil:
    """The marks of one output row, n lanes of each. ties_all: the largest values are the marks."""
    cdef Py_ssize_t to = ring_row(job, row)
    if ties_all:
        lane_places(job.pool, job.tables, job.x + t.x, <real*>t.mark + to, t.spare, job.part, row, t.low, t.high, t.n)
    else:
        lane_places(job.pool, job.tables, job.x + t.x, t.best, t.mark + to, job.part, row, t.low, t.high, t.n)


cdef inline vreal given(vreal sum, const place* mark, vplace here, vreal top, vreal dy,
                        const bint ties_all) noexcept nogil:
    """sum + dy where the mark is `here` (ties_all: the value `top`)."""
    if ties_all:
        return v_give_same(sum, top, v_load(<const real*>mark), dy)
    return v_give(sum, p_load(mark), here, dy)


cdef inline void gather(real* dx, const real* x, const real* dy, const place* mark, const Walk* walk, place id,
                        Py_ssize_t taps, Py_ssize_t dy_step, Py_ssize_t step, Py_ssize_t n, bint first,
                        const bint ties_all, const int vectors) noexcept nogil:
    """`vectors` vectors (0: n lanes of one) of a cell: dy of the listed rows x taps where the mark is id (or, ties_all,
    x); and what dx has, but the first time."""
    cdef vreal acc[4]
    cdef vreal top[4]
    cdef vplace here = p_set(id)
    cdef Py_ssize_t r, k, i, j
    cdef int v
    if vectors == 0:
        acc[0] = v_set(0) if first else v_part(dx, n)
        top[0] = v_part(x, n)
    for v in range(vectors):
        acc[v] = v_set(0) if first else v_load(dx + v*V)
        top[v] = v_load(x + v*V)
    for r in range(walk.count):
        i, j = walk.at[r], walk.id[r]
        for k in range(taps):
            if vectors == 0:
                acc[0] = given(acc[0], mark + j, here, top[0], v_part(dy + i, n), ties_all)
            for v in range(vectors):
                acc[v] = given(acc[v], mark + j + v*V, here, top[v], v_load(dy + i + v*V), ties_all)
            i += dy_step
            j += step
    if vectors == 0:
        v_put(dx, acc[0], n)
    for v in range(vectors):
        v_store(dx + v*V, acc[v])


cdef inline void add(const Job* job, const Task* t, Py_ssize_t row, const bint ties_all) noexcept nogil:
    """One row of dx, n lanes of every cell."""
    cdef Walk walk
    cdef const PoolAxis* d = &job.swap.axis[job.swap.rank - 1]
    cdef const Run* run
    cdef Py_ssize_t i, j, at = t.x + output_row(job.swap, row), id = place_row(job, row), step, dy_step
    cdef real* dx
    cdef const real* x
    cdef const real* dy
    cdef const place* mark
    cdef place here
    cdef bint left = True, first = True
    begin(&walk, job.swap, job.swap_tables, row)
    while left:
        left = more(&walk, job.swap)
        for i in range(t.first, t.first + t.cells):
            run = &job.swap_tables[job.swap.rank - 1][i]
            dx, x = job.dx + at + i*d.ys, job.x + at + i*d.ys
            here = <place>(id + i*job.pool.axis[job.pool.rank - 1].ps)
            dy, mark = job.dy + t.y + run.i*d.xs, t.mark + (run.i - t.low)*d.ps
            dy_step, step, j = run.step*d.xs, run.step*d.ps, 0
            while j + 4*V <= t.n:
                gather(dx + j, x + j, dy + j, mark + j, &walk, here, run.count, dy_step, step, V, first, ties_all, 4)
                j += 4*V
            while j + V <= t.n:
                gather(dx + j, x + j, dy + j, mark + j, &walk, here, run.count, dy_step, step, V, first, ties_all, 1)
                j += V
            if j < t.n:
                gather(dx + j, x + j, dy + j, mark + j, &walk, here, run.count, dy_step, step, t.n - j, first, ties_all,
                       0)
        first = False


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
    cdef Py_ssize_t i, block = number % job.blocks, part = number // job.blocks % job.parts, inner = job.swap.rank - 1
    cdef Group plane
    begin_group(job.pool, number // job.blocks // job.parts, 1, &plane)
    t.x, t.y = plane.x + part*job.part, plane.y + part*job.part
    t.n = min(job.part, job.pool.lanes - part*job.part)
    t.first = block*job.cells
    t.cells = min(job.cells, job.swap.axis[inner].out - t.first)
    t.mark, t.best, t.spare = <place*>scratch, scratch + job.room + V, <place*>(scratch + job.room + V)
    t.low, t.high = job.swap.axis[inner].size, 0
    for i in range(t.first, t.first + t.cells):
        widen(&job.swap_tables[inner][i], &t.low, &t.high)
    t.low = min(t.low, t.high)


cdef void lanes_task(const Job* job, Py_ssize_t number, bint ties_all, real* scratch) noexcept nogil:
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
                mark(job, &t, row, ties_all)
            made += 1
        for row in range(i*sums, (i + 1)*sums):
            if ties_all:
                add(job, &t, row, True)
            else:
                add(job, &t, row, False)


def lane_gradient(x_array, dy_array, dx_array, pool_bytes, swap_bytes, Py_ssize_t part, Py_ssize_t cells,
                  Py_ssize_t room, bint ties_all, int threads):
    """dx: dy where x is the largest of its window, 0 elsewhere."""
    cdef Job job
    cdef Run* made = NULL
    cdef Run* swap_made = NULL
    cdef real* scratch = NULL
    cdef Py_ssize_t tasks, t, size = 2*(room + V), reach
    job.pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    job.swap = <const Pool*>PyBytes_AS_STRING(swap_bytes)
    job.x, job.dy, job.dx = address(x_array), address(dy_array), address(dx_array)
    job.part, job.cells, job.room = part, cells, room
    job.parts = (job.pool.lanes + part - 1) // part
    job.blocks = (job.swap.axis[job.swap.rank - 1].out + cells - 1) // cells
    tasks = job.pool.n*job.pool.g*job.parts*job.blocks
    reach = max(2*job.swap.ring, 1)  # where a band begins, marks are found again
    job.bands = max(1, min(bands_of(tasks, slabs_of(job.swap), threads), slabs_of(job.pool) // reach))
    tasks *= job.bands
    try:
        made, swap_made = make_tables(job.pool, job.tables), make_tables(job.swap, job.swap_tables)
        scratch = <real*>malloc(size*threads*sizeof(real))
        if scratch == NULL:
            raise MemoryError("scratch of the pool kernel")
        for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
            lanes_task(&job, t, ties_all, scratch + size*threadid())
    finally:
        free(scratch)
        free(made)
        free(swap_made)
