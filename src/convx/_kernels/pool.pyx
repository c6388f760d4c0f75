"""Windows combined: their sum, their largest value and where it is.

The sum:       y[n, g, o] = sum or max over k of x[n, g, i(o, k)]; there are no weights and no sum over channels
The schedule:  lists of rows times runs of positions (`_cells.pxd`). Where a plain loop has unit stride, its values are
               the vector lanes. Otherwise the row itself is: the rows of a window are combined first, whole, into a
               padded row in scratch, then its taps, whatever their stride (`_combine.pxd`, `_places.pxd`); windows of
               few cells are read straight from the array, with masks at its edges (`_straight.pxd`), all rows whose
               windows are the same in one go.
Assumes:       the lanes, or the inner axis, have stride 1 in x and y; places in x fit a `place`.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, V
from _nest cimport address, PyBytes_AS_STRING
from _order cimport place, LOWEST
from _cells cimport (
    MOST, Pool, PoolAxis, PoolPhase, Run, phases_of, Walk, begin, more, make_tables, output_row, rows_of, blocks_of,
    bands_of, Part, begin_block, pad, begin_rows, Group, group_size, groups_of,
    begin_group, begin_series,
)
from _combine cimport SUM, MAX, combine, along, spread, divide_all
from _straight cimport PADDED, STRAIGHT, BESIDE, way_of, straight_by, beside_by
from _places cimport row_places, lane_places

LANES = V


cdef void row_values(const Pool* pool, const Run* const* tables, const Group* group, const real* x, real* y,
                     const real* many, real times, Py_ssize_t row, const Part* part, real* scratch, int way,
                     const int op) noexcept nogil:
    """One block of a group of output rows, lanes along the row; number `row` is the first of every plane."""
    cdef Walk walk
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t j, p, n, size = pool.block + V, to = part.low - part.start
    cdef real* tmp = scratch + group.count*pool.width
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    if way == BESIDE:
        more(&walk, pool)
        beside_by(pool, group, x, y, many, times, &walk, part, op)
        return
    if way == STRAIGHT:
        more(&walk, pool)
        if pool.step == 2:
            straight_by(pool, group, x, y, many, times, &walk, part, op, 2, 1)
        elif f.stride == 2:
            straight_by(pool, group, x, y, many, times, &walk, part, op, 1, 2)
        else:
            straight_by(pool, group, x, y, many, times, &walk, part, op, 1, 1)
        return
    while left:
        left = more(&walk, pool)
        for p in range(group.count):
            combine(scratch + p*pool.width + to, x + group.x + p*group.xp + part.low, &walk, 1, 0,
                    part.high - part.low, first, 0, False, op)
        first = False
    if pool.step == 1:
        for p in range(group.count):
            along(y + group.y + p*group.yp, scratch + p*pool.width + f.start, f, part.outs, many, times,
                  pool.inverse, op)
        return
    n = ((part.outs + pool.step - 1) // pool.step + V - 1) // V * V  # whole vectors: scratch has room for them
    for p in range(group.count):
        if many != NULL:  # the gradient of an average by one number
            divide_all(scratch + p*pool.width, (part.high - part.start + V - 1) // V * V, many[0]*times,
                       pool.inverse)
        for j in range(pool.step):
            along(tmp + (p*pool.step + j)*size, scratch + p*pool.width + f[j].start, f + j, n, NULL, 0,
                  False, op)
    for p in range(group.count):
        spread(pool, y + group.y + p*group.yp, tmp + p*pool.step*size, size, part.outs)


cdef void lane_values(const Pool* pool, const Run* const* tables, const real* x, real* y, Py_ssize_t step,
                      const real* many, real times, Py_ssize_t row, Py_ssize_t n, const int op) noexcept nogil:
    """One output row, n lanes of every output; divided by many * times."""
    cdef Walk walk
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef const Run* run
    cdef Py_ssize_t o
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for o in range(d.out):
            run = &tables[pool.rank - 1][o]
            combine(y + o*step, x + run.i*d.xs, &walk, run.count, run.step*d.xs, n, first,
                    0 if many == NULL or left else many[o]*times, pool.inverse, op)
        first = False


cdef inline real outer_count(const Pool* pool, const real** counts, Py_ssize_t row) noexcept nogil:
    """What row number `row` is divided by, and (in counts) the factors along the inner axis; 0 without counts."""
    cdef Py_ssize_t a, at = 0
    cdef real many = 1
    if counts[0] == NULL:
        return 0
    for a in range(pool.rank - 1):
        at += pool.axis[a].out
    cdef const real* inner = counts[0] + at
    a = pool.rank - 2
    while a >= 0:
        at -= pool.axis[a].out
        many *= counts[0][at + (row % pool.axis[a].out if a > 0 else row)]
        if a > 0:
            row = row // pool.axis[a].out
        a -= 1
    counts[0] = inner
    return many


cdef void rows_task(const Pool* pool, const Run* const* tables, const real* x, real* y, const real* counts,
                    Py_ssize_t t, Py_ssize_t bands, Py_ssize_t size, real* scratch, const int op) noexcept nogil:
    """A band of the rows of a group of planes, lanes along the row."""
    cdef Py_ssize_t rows = rows_of(pool), end = rows*(t % bands + 1) // bands, block, row, p
    cdef int way = way_of(pool)
    cdef const real* outer = counts
    cdef const real* many
    cdef real times
    cdef Part part
    cdef Group group
    if counts != NULL:
        for p in range(pool.rank - 2):
            outer += pool.axis[p].out
    begin_group(pool, t // bands, size, &group)
    for block in range(blocks_of(pool)):
        begin_block(pool, block, &part)
        if way == PADDED:
            for p in range(group.count):
                pad(pool, &part, scratch + p*pool.width, 0 if op == SUM else LOWEST)
        row = rows*(t % bands) // bands
        while row < end:
            if way != PADDED:
                group.rows = begin_series(pool, tables, outer, row, end, &group)
            many = counts
            times = outer_count(pool, &many, row)
            row_values(pool, tables, &group, x, y + output_row(pool, row) + part.first,
                       many + part.first if many != NULL else NULL, times, row, &part, scratch, way, op)
            row += group.rows


cdef void lanes_task(const Pool* pool, const Run* const* tables, const real* x, real* y, const real* counts,
                     Py_ssize_t t, Py_ssize_t bands, const int op) noexcept nogil:
    """A band of the rows of a plane, lanes across planes."""
    cdef Py_ssize_t rows = rows_of(pool), row
    cdef const real* many
    cdef real times
    cdef Group group
    begin_group(pool, t // bands, 1, &group)
    for row in range(rows*(t % bands) // bands, rows*(t % bands + 1) // bands):
        many = counts
        times = outer_count(pool, &many, row)
        lane_values(pool, tables, x + group.x, y + group.y + output_row(pool, row),
                    pool.axis[pool.rank - 1].ys, many, times, row, pool.lanes, op)


cdef inline void values_task(const Pool* pool, const Run* const* tables, const real* x, real* y, const real* counts,
                             Py_ssize_t t, Py_ssize_t bands, Py_ssize_t size, real* scratch,
                             const int op) noexcept nogil:
    if pool.along_row:
        rows_task(pool, tables, x, y, counts, t, bands, size, scratch, op)
    else:
        lanes_task(pool, tables, x, y, counts, t, bands, op)


def values(x_array, y_array, pool_bytes, counts_array, bint largest, int threads):
    """y of a pooling. counts_array: None, or per axis after the other what the sums are divided by."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef real* y = address(y_array)
    cdef const real* counts = NULL
    cdef const Run* tables[MOST]
    if counts_array is not None:
        counts = address(counts_array)
    cdef Py_ssize_t planes = pool.n*pool.g, bands = bands_of(planes, rows_of(pool), threads), t
    cdef Py_ssize_t group = group_size(pool, threads), tasks = groups_of(pool, group)*bands
    cdef Py_ssize_t size = group*(pool.width + pool.step*(pool.block + V)) if pool.along_row else 1
    cdef real* scratch = <real*>malloc(size*threads*sizeof(real))
    if scratch == NULL:
        raise MemoryError("scratch of the pool kernel")
    cdef Run* made
    try:
        made = make_tables(pool, tables)
    except MemoryError:
        free(scratch)
        raise
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
        if largest:
            values_task(pool, tables, x, y, counts, t, bands, group, scratch + size*threadid(), MAX)
        else:
            values_task(pool, tables, x, y, counts, t, bands, group, scratch + size*threadid(), SUM)
    free(scratch)
    free(made)


cdef void places_task(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t t,
                      Py_ssize_t bands, Py_ssize_t size, real* scratch, place* ids) noexcept nogil:
    """A band of the rows of a group of planes."""
    cdef Py_ssize_t rows = rows_of(pool), block, row, to, band = t % bands
    cdef Part part
    cdef Group group
    begin_group(pool, t // bands, size, &group)
    for block in range(blocks_of(pool)):
        begin_block(pool, block, &part)
        if pool.along_row:
            begin_rows(pool, &group, &part, scratch, ids)
        for row in range(rows*band // bands, rows*(band + 1) // bands):
            to = output_row(pool, row)
            if pool.along_row:
                to += part.first
                row_places(pool, tables, &group, x, y + to, at + to, row, &part, scratch, ids)
            else:
                to += group.y
                lane_places(pool, tables, x + group.x, y + to, at + to, pool.axis[pool.rank - 1].ys, row, 0,
                            pool.axis[pool.rank - 1].out, pool.lanes)


def places(x_array, y_array, places_array, pool_bytes, int threads):
    """y of a max pooling and where it was found, as wide as y's values."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef real* y = address(y_array)
    cdef place* at = <place*>address(places_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t planes = pool.n*pool.g, bands = bands_of(planes, rows_of(pool), threads), t
    cdef Py_ssize_t group = group_size(pool, threads), tasks = groups_of(pool, group)*bands
    cdef Py_ssize_t size = group*pool.width if pool.along_row else 1
    cdef real* scratch = <real*>malloc(2*size*threads*sizeof(real))
    if scratch == NULL:
        raise MemoryError("scratch of the pool kernel")
    cdef place* ids = <place*>(scratch + size*threads)
    cdef Run* made
    try:
        made = make_tables(pool, tables)
    except MemoryError:
        free(scratch)
        raise
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
        places_task(pool, tables, x, y, at, t, bands, group, scratch + size*threadid(), ids + size*threadid())
    free(scratch)
    free(made)
