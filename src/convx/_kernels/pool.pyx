"""Windows combined: their sum, their largest value and where it is, and the gradient of the largest.

The sum:       y[n, g, o] = sum or max over k of x[n, g, i(o, k)]; there are no weights and no sum over channels
The schedule:  the cells that an output reads are a list of rows (all axes but the inner one), times a run of positions
               along the inner axis (tables made once per call, with absent cells left out). Where a plain loop has
               unit stride, its values are the vector lanes. Otherwise the row itself is: the rows of a window are
               combined first, whole, into a padded row in scratch, then its taps, whatever their stride.
Gradient:      per row of outputs, where the largest values are, then dy is added there. One thread has all outputs of
               a plane, or of a block of lanes.
Assumes:       the lanes, or the inner axis, have stride 1 in x and y; places in dx fit a `place`.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set
from _nest cimport address, clip_low, clip_high, PyBytes_AS_STRING
from _order cimport (
    place, vplace, NOWHERE, LOWEST, p_load, p_store, p_set, p_pick, v_pick, v_only, v_even, p_even, v_mix, v_max, v_wins,
    v_same, p_same, p_less, p_line, v_every, p_every, v_part, v_put, p_part, p_put, Pool, PoolAxis, PoolPhase, Run,
)

LANES = V

cdef enum:
    SUM, MAX
    CHUNK = 64  # rows in one list
    MOST = 64   # axes of an array

ctypedef struct Walk:
    # The rows of one window: a counter over the taps of all axes but the inner one, and the list that it fills.
    const Run* run[MOST]
    Py_ssize_t k[MOST]
    Py_ssize_t total, done, count
    Py_ssize_t at[CHUNK]
    place id[CHUNK]


cdef inline vreal better(vreal a, vreal b, const int op) noexcept nogil:
    return a + b if op == SUM else v_max(a, b)


cdef void tabulate(const PoolAxis* a, Run* table) noexcept nogil:
    """What every output reads along an axis: taps k0, k0 + tap_step, ... inside the array."""
    cdef Py_ssize_t o, k, low, high, start, step = a.dilation*a.tap_step // a.base, many
    for o in range(a.out):
        table[o].count = 0
        table[o].i = 0
        table[o].step = step
        k = 0
        while k < a.taps and k < a.tap_step and (a.stride*o + a.dilation*k - a.offset) % a.base != 0:
            k += 1
        if k >= a.taps or k >= a.tap_step:
            continue
        start = (a.stride*o + a.dilation*k - a.offset) // a.base
        many = (a.taps - k + a.tap_step - 1) // a.tap_step
        if step > 0:
            low = clip_low(start, step)
            high = clip_high(start, step, a.size, many)
        else:  # seen from the other end of the axis
            low = clip_low(a.size - 1 - start, -step)
            high = clip_high(a.size - 1 - start, -step, a.size, many)
        if high > low:
            table[o].i = start + low*step
            table[o].count = high - low


cdef inline void begin(Walk* walk, const Pool* pool, const Run* const* tables, Py_ssize_t row) noexcept nogil:
    """A window's rows, for output row number `row` of the axes outside."""
    cdef Py_ssize_t a = pool.rank - 2
    walk.total, walk.done = 1, 0
    while a >= 0:
        walk.run[a] = tables[a] + row % pool.axis[a].out
        row = row // pool.axis[a].out
        walk.k[a] = 0
        walk.total *= walk.run[a].count
        a -= 1


cdef inline bint more(Walk* walk, const Pool* pool) noexcept nogil:
    """Fill the list with the next rows; whether others are left."""
    cdef Py_ssize_t a, i, at, id
    walk.count = 0
    while walk.count < CHUNK and walk.done < walk.total:
        at = id = 0
        for a in range(pool.rank - 1):
            i = walk.run[a].i + walk.k[a]*walk.run[a].step
            at += i*pool.axis[a].xs
            id += i*pool.axis[a].ps
        walk.at[walk.count] = at
        walk.id[walk.count] = <place>id
        walk.count += 1
        walk.done += 1
        a = pool.rank - 2
        while a >= 0:
            walk.k[a] += 1
            if walk.k[a] < walk.run[a].count:
                break
            walk.k[a] = 0
            a -= 1
    return walk.done < walk.total


cdef inline Py_ssize_t output_row(const Pool* pool, Py_ssize_t row) noexcept nogil:
    """Where output row number `row` starts in a plane of y."""
    cdef Py_ssize_t a = pool.rank - 2, at = 0
    while a >= 0:
        at += row % pool.axis[a].out * pool.axis[a].ys
        row = row // pool.axis[a].out
        a -= 1
    return at


# Values ---------------------------------------------------------------------------------------------------------------

cdef inline void combine_lanes(real* to, const real* x, const Walk* walk, Py_ssize_t taps, Py_ssize_t step,
                               Py_ssize_t n, bint first, const int op, const int vectors) noexcept nogil:
    """`vectors` vectors (0: one of n lanes) of a combination of rows x taps."""
    cdef vreal acc[4]
    cdef Py_ssize_t r, k
    cdef const real* p
    cdef int v
    if vectors == 0:
        acc[0] = v_part(to, n) if not first else v_set(0 if op == SUM else LOWEST)
    for v in range(vectors):
        acc[v] = v_load(to + v*V) if not first else v_set(0 if op == SUM else LOWEST)
    for r in range(walk.count):
        p = x + walk.at[r]
        for k in range(taps):
            if vectors == 0:
                acc[0] = better(acc[0], v_part(p, n), op)
            for v in range(vectors):
                acc[v] = better(acc[v], v_load(p + v*V), op)
            p += step
    if vectors == 0:
        v_put(to, acc[0], n)
    for v in range(vectors):
        v_store(to + v*V, acc[v])


cdef inline void combine(real* to, const real* x, const Walk* walk, Py_ssize_t taps, Py_ssize_t step, Py_ssize_t n,
                         bint first, const int op) noexcept nogil:
    """to[:n] = the combination of the listed rows at `taps` positions `step` apart (and of to, but the first time)."""
    cdef Py_ssize_t j = 0
    while j + 4*V <= n:
        combine_lanes(to + j, x + j, walk, taps, step, V, first, op, 4)
        j += 4*V
    while j + V <= n:
        combine_lanes(to + j, x + j, walk, taps, step, V, first, op, 1)
        j += V
    if j < n:
        combine_lanes(to + j, x + j, walk, taps, step, n - j, first, op, 0)


cdef inline vreal every(const real* p, Py_ssize_t stride, const int known) noexcept nogil:
    """p[0], p[stride], ..."""
    if known == 1:
        return v_load(p)
    if known == 2:
        return v_even(v_load(p), v_load(p + V - 1))
    return v_every(p, stride)


cdef inline void along_by(real* to, const real* p, const PoolPhase* f, Py_ssize_t n, const int op,
                          const int known) noexcept nogil:
    cdef Py_ssize_t j = 0, k
    cdef vreal acc
    cdef const real* q
    while j < n:
        q = p + j*f.stride
        acc = v_set(0)
        if f.taps > 0:
            acc = every(q, f.stride, known)
        for k in range(1, f.taps):
            q += f.dilation
            acc = better(acc, every(q, f.stride, known), op)
        v_put(to + j, acc, n - j)
        j += V


cdef inline void along(real* to, const real* p, const PoolPhase* f, Py_ssize_t n, const int op) noexcept nogil:
    """n outputs of a phase from a padded row."""
    if f.stride == 1:
        along_by(to, p, f, n, op, 1)
    elif f.stride == 2:
        along_by(to, p, f, n, op, 2)
    else:
        along_by(to, p, f, n, op, 0)


cdef inline void spread(const Pool* pool, real* to, const real* rows, Py_ssize_t row, Py_ssize_t outs) noexcept nogil:
    """The phases' outputs, in turn."""
    cdef Py_ssize_t j = 0, f, k
    if pool.step == 2:
        while 2*(j + V) <= outs:
            v_mix(to + 2*j, v_load(rows + j), v_load(rows + row + j))
            j += V
    for f in range(pool.step):
        for k in range(j, (outs - f + pool.step - 1) // pool.step):
            to[pool.step*k + f] = rows[f*row + k]


cdef inline void divide(real* y, Py_ssize_t n, const real* many, real times) noexcept nogil:
    cdef Py_ssize_t j = 0
    while j < n:
        v_put(y + j, v_part(y + j, n - j) / (v_part(many + j, n - j) * v_set(times)), n - j)
        j += V


cdef inline void divide_all(real* y, Py_ssize_t n, real many) noexcept nogil:
    cdef Py_ssize_t j = 0
    while j < n:
        v_put(y + j, v_part(y + j, n - j) / v_set(many), n - j)
        j += V


cdef inline Py_ssize_t padded(const Pool* pool, Py_ssize_t block, Py_ssize_t* low, Py_ssize_t* high) noexcept nogil:
    """Where a block's padded row starts, and which of its positions [low, high) are in the array."""
    cdef Py_ssize_t start = pool.low + block*pool.block*(<const PoolPhase*>&pool.axis[pool.rank]).stride
    low[0] = min(max(start, 0), start + pool.width)
    high[0] = max(min(start + pool.width, pool.axis[pool.rank - 1].size), low[0])
    return start


cdef void row_values(const Pool* pool, const Run* const* tables, const real* x, real* y, Py_ssize_t row,
                     Py_ssize_t block, real* scratch, const int op) noexcept nogil:
    """One block of one output row, lanes along the row."""
    cdef Walk walk
    cdef const PoolPhase* f = <const PoolPhase*>&pool.axis[pool.rank]
    cdef Py_ssize_t low, high, start = padded(pool, block, &low, &high), j, size = pool.block + V
    cdef Py_ssize_t outs = min(pool.block*pool.step, pool.axis[pool.rank - 1].out - block*pool.block*pool.step)
    cdef real* tmp = scratch + pool.width
    cdef bint left = True, first = True
    for j in range(low - start):
        scratch[j] = 0 if op == SUM else LOWEST
    for j in range(high - start, pool.width):
        scratch[j] = 0 if op == SUM else LOWEST
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        combine(scratch + low - start, x + low, &walk, 1, 0, high - low, first, op)
        first = False
    if pool.step == 1:
        along(y, scratch + f.start, f, outs, op)
        return
    for j in range(pool.step):
        along(tmp + j*size, scratch + f[j].start, f + j, (outs - j + pool.step - 1) // pool.step, op)
    spread(pool, y, tmp, size, outs)


cdef void lane_values(const Pool* pool, const Run* const* tables, const real* x, real* y, Py_ssize_t step,
                      Py_ssize_t row, Py_ssize_t n, const int op) noexcept nogil:
    """One output row, n lanes of every output."""
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
            combine(y + o*step, x + run.i*d.xs, &walk, run.count, run.step*d.xs, n, first, op)
        first = False


# Where the largest value is -------------------------------------------------------------------------------------------

cdef inline void find_lanes(real* to, place* at, const real* x, const Walk* walk, place id, Py_ssize_t taps,
                            Py_ssize_t step, place id_step, vplace line, Py_ssize_t n, bint first) noexcept nogil:
    """One vector of n lanes: the larger values of rows x taps and their places."""
    cdef vreal best, b
    cdef vplace where, here, m
    cdef Py_ssize_t r, k
    cdef const real* p
    if first:
        best = v_part(x + walk.at[0], n)
        where = line + p_set(walk.id[0] + id)
    else:
        best = v_part(to, n)
        where = p_part(at, n)
    for r in range(walk.count):
        p = x + walk.at[r]
        here = line + p_set(walk.id[r] + id)
        for k in range(taps):
            b = v_part(p, n)
            m = v_wins(best, b)
            best = v_pick(m, best, b)
            where = p_pick(m, where, here)
            here = here + p_set(id_step)
            p += step
    v_put(to, best, n)
    p_put(at, where, n)


cdef inline void find(real* to, place* at, const real* x, const Walk* walk, place id, Py_ssize_t taps, Py_ssize_t step,
                      place id_step, place lane, Py_ssize_t n, bint first) noexcept nogil:
    """As `combine`, with places: id of the first position, id_step from tap to tap, lane from lane to lane."""
    cdef Py_ssize_t j = 0
    cdef vplace line = p_line(lane)
    while j + V <= n:
        find_lanes(to + j, at + j, x + j, walk, id + <place>j*lane, taps, step, id_step, line, V, first)
        j += V
    if j < n:
        find_lanes(to + j, at + j, x + j, walk, id + <place>j*lane, taps, step, id_step, line, n - j, first)


cdef inline vplace every_place(const place* p, Py_ssize_t stride, const int known) noexcept nogil:
    if known == 1:
        return p_load(p)
    if known == 2:
        return p_even(p_load(p), p_load(p + V - 1))
    return p_every(p, stride)


cdef inline void find_along_by(real* to, place* at, const real* p, const place* q, const PoolPhase* f, Py_ssize_t n,
                               bint by_place, const int known) noexcept nogil:
    cdef Py_ssize_t j = 0, k, i
    cdef vreal best, b
    cdef vplace where, here, m
    while j < n:
        i = j*f.stride
        best = every(p + i, f.stride, known)
        where = every_place(q + i, f.stride, known)
        for k in range(1, f.taps):
            i += f.dilation
            b = every(p + i, f.stride, known)
            here = every_place(q + i, f.stride, known)
            m = v_wins(best, b)
            if by_place:
                m = m | (v_same(best, b) & p_less(here, where))
            best = v_pick(m, best, b)
            where = p_pick(m, where, here)
        v_put(to + j, best, n - j)
        p_put(at + j, where, n - j)
        j += V


cdef inline void find_along(real* to, place* at, const real* p, const place* q, const PoolPhase* f, Py_ssize_t n,
                            bint by_place) noexcept nogil:
    """n outputs and places from a padded row. by_place: of equal values the smaller place, else the earlier tap."""
    if f.stride == 1:
        find_along_by(to, at, p, q, f, n, by_place, 1)
    elif f.stride == 2:
        find_along_by(to, at, p, q, f, n, by_place, 2)
    else:
        find_along_by(to, at, p, q, f, n, by_place, 0)


cdef void row_places(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t row,
                     Py_ssize_t block, real* scratch, place* ids) noexcept nogil:
    """One block of one output row and its places, lanes along the row. Padding is below all values, at no place."""
    cdef Walk walk
    cdef const PoolPhase* f = <const PoolPhase*>&pool.axis[pool.rank]
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef Py_ssize_t low, high, start = padded(pool, block, &low, &high), j
    cdef Py_ssize_t outs = min(pool.block, d.out - block*pool.block)
    cdef bint left = True, first = True
    for j in range(low - start):
        scratch[j] = LOWEST
        ids[j] = NOWHERE
    for j in range(high - start, pool.width):
        scratch[j] = LOWEST
        ids[j] = NOWHERE
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        find(scratch + low - start, ids + low - start, x + low, &walk, <place>(low*d.ps), 1, 0, 0, <place>d.ps,
             high - low, first)
        first = False
    find_along(y, at, scratch + f.start, ids + f.start, f, outs, pool.tie_by_place)


cdef void lane_places(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t step,
                      Py_ssize_t row, Py_ssize_t n) noexcept nogil:
    """One output row and its places, n lanes of every output."""
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
            find(y + o*step, at + o*step, x + run.i*d.xs, &walk, <place>(run.i*d.ps), run.count, run.step*d.xs,
                 <place>(run.step*d.ps), 0, n, first)
        first = False


# Gradient of the largest ----------------------------------------------------------------------------------------------

cdef inline void add_lanes(real* dx, const real* x, const real* dy, const real* best, const place* at,
                           const Walk* walk, place id, Py_ssize_t taps, Py_ssize_t step, place id_step, Py_ssize_t n,
                           bint ties_all) noexcept nogil:
    """dx += dy at the cells that are the place of the largest value, or (ties_all) equal to it: one vector of n lanes."""
    cdef vreal g = v_part(dy, n), top = v_part(best, n)
    cdef vplace where = p_part(at, n), m
    cdef Py_ssize_t r, k, i
    cdef place here
    for r in range(walk.count):
        i = walk.at[r]
        here = walk.id[r] + id
        for k in range(taps):
            m = v_same(v_part(x + i, n), top) if ties_all else p_same(where, p_set(here))
            v_put(dx + i, v_part(dx + i, n) + v_only(m, g), n)
            i += step
            here += id_step


cdef void lane_gradient(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx,
                        const real* best, const place* at, Py_ssize_t step, Py_ssize_t row, Py_ssize_t n,
                        bint ties_all) noexcept nogil:
    """Add one output row to dx; best and at lie step apart from output to output."""
    cdef Walk walk
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef const Run* run
    cdef Py_ssize_t o, j
    cdef bint left = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for o in range(d.out):
            run = &tables[pool.rank - 1][o]
            j = 0
            while j < n:
                add_lanes(dx + run.i*d.xs + j, x + run.i*d.xs + j, dy + o*d.ys + j, best + o*step + j,
                          at + o*step + j, &walk, <place>(run.i*d.ps), run.count, run.step*d.xs,
                          <place>(run.step*d.ps), n - j, ties_all)
                j += V


# The calls ------------------------------------------------------------------------------------------------------------

cdef Run* make_tables(const Pool* pool, const Run** tables) except NULL:
    """One table after another, and where each starts; the caller frees them."""
    cdef Py_ssize_t a, total = 1
    for a in range(pool.rank):
        total += pool.axis[a].out
    cdef Run* found = <Run*>malloc(total*sizeof(Run))
    if found == NULL:
        raise MemoryError("tables of the pool kernel")
    cdef Run* p = found
    for a in range(pool.rank):
        tabulate(&pool.axis[a], p)
        tables[a] = p
        p += pool.axis[a].out
    return found


cdef inline Py_ssize_t rows_of(const Pool* pool) noexcept nogil:
    cdef Py_ssize_t a, rows = 1
    for a in range(pool.rank - 1):
        rows *= pool.axis[a].out
    return rows


cdef inline Py_ssize_t blocks_of(const Pool* pool) noexcept nogil:
    cdef Py_ssize_t outs = pool.block*pool.step
    return (pool.axis[pool.rank - 1].out + outs - 1) // outs if pool.along_row else 1


cdef void average(const Pool* pool, real* y, const real* counts, Py_ssize_t row, Py_ssize_t o, Py_ssize_t outs) noexcept nogil:
    """Divide `outs` outputs from o on by the product of their axes' counts."""
    cdef Py_ssize_t a, at = 0
    cdef real many = 1
    for a in range(pool.rank - 1):
        at += pool.axis[a].out
    cdef const real* inner = counts + at
    a = pool.rank - 2
    while a >= 0:
        at -= pool.axis[a].out
        many *= counts[at + row % pool.axis[a].out]
        row = row // pool.axis[a].out
        a -= 1
    if pool.along_row:
        divide(y, outs, inner + o, many)
    else:
        for a in range(outs):
            divide_all(y + a*pool.axis[pool.rank - 1].ys, pool.lanes, inner[o + a]*many)


cdef void values_task(const Pool* pool, const Run* const* tables, const real* x, real* y, const real* counts,
                      Py_ssize_t t, real* scratch, const int op) noexcept nogil:
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef Py_ssize_t blocks = blocks_of(pool), rows = rows_of(pool), block, row, outs, o
    block = t % blocks
    t = t // blocks
    row = t % rows
    t = t // rows
    x = x + t // pool.g * pool.xn + t % pool.g * pool.xg
    y = y + t // pool.g * pool.yn + t % pool.g * pool.yg + output_row(pool, row)
    if pool.along_row:
        o = block*pool.block*pool.step
        outs = min(pool.block*pool.step, d.out - o)
        y = y + o
        row_values(pool, tables, x, y, row, block, scratch, op)
    else:
        o, outs = 0, d.out
        lane_values(pool, tables, x, y, d.ys, row, pool.lanes, op)
    if counts != NULL:
        average(pool, y, counts, row, o, outs)


def values(x_array, y_array, pool_bytes, counts_array, bint largest, int threads):
    """y of a pooling. counts_array: None, or per axis after the other what the sums are divided by."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef real* y = address(y_array)
    cdef const real* counts = NULL
    cdef const Run* tables[MOST]
    if counts_array is not None:
        counts = address(counts_array)
    cdef Py_ssize_t tasks = pool.n*pool.g*rows_of(pool)*blocks_of(pool), t
    cdef Py_ssize_t size = pool.width + pool.step*(pool.block + V) if pool.along_row else 1
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
            values_task(pool, tables, x, y, counts, t, scratch + size*threadid(), MAX)
        else:
            values_task(pool, tables, x, y, counts, t, scratch + size*threadid(), SUM)
    free(scratch)
    free(made)


cdef void places_task(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t t,
                      real* scratch, place* ids) noexcept nogil:
    cdef Py_ssize_t blocks = blocks_of(pool), rows = rows_of(pool), block, row, start
    block = t % blocks
    t = t // blocks
    row = t % rows
    t = t // rows
    x = x + t // pool.g * pool.xn + t % pool.g * pool.xg
    start = t // pool.g * pool.yn + t % pool.g * pool.yg + output_row(pool, row)
    if pool.along_row:
        start += block*pool.block
        row_places(pool, tables, x, y + start, at + start, row, block, scratch, ids)
    else:
        lane_places(pool, tables, x, y + start, at + start, pool.axis[pool.rank - 1].ys, row, pool.lanes)


def places(x_array, y_array, places_array, pool_bytes, int threads):
    """y of a max pooling and where it was found, as wide as y's values."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef real* y = address(y_array)
    cdef place* at = <place*>address(places_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t tasks = pool.n*pool.g*rows_of(pool)*blocks_of(pool), t
    cdef Py_ssize_t size = pool.width if pool.along_row else 1
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
        places_task(pool, tables, x, y, at, t, scratch + size*threadid(), ids + size*threadid())
    free(scratch)
    free(made)


cdef void gradient_task(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx,
                        bint ties_all, Py_ssize_t t, Py_ssize_t lanes, real* scratch, place* ids) noexcept nogil:
    """All outputs of a plane, or of a block of lanes of a plane. scratch, ids: a row of outputs, then padded rows."""
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef Py_ssize_t parts = (pool.lanes + lanes - 1) // lanes, part = t % parts, n, row, block, j, outs
    cdef const real* q
    t = t // parts
    n = min(lanes, pool.lanes - part*lanes)
    x = x + t // pool.g * pool.xn + t % pool.g * pool.xg + part*lanes
    dx = dx + t // pool.g * pool.xn + t % pool.g * pool.xg + part*lanes
    dy = dy + t // pool.g * pool.yn + t % pool.g * pool.yg + part*lanes
    for row in range(rows_of(pool)):
        q = dy + output_row(pool, row)
        if not pool.along_row:
            lane_places(pool, tables, x, scratch, ids, n, row, n)
            lane_gradient(pool, tables, x, q, dx, scratch, ids, n, row, n, ties_all)
            continue
        for block in range(blocks_of(pool)):
            outs = min(pool.block, d.out - block*pool.block)
            row_places(pool, tables, x, scratch, ids, row, block, scratch + pool.block, ids + pool.block)
            for j in range(outs):
                dx[ids[j]] += q[block*pool.block + j]


def gradient(x_array, dy_array, dx_array, pool_bytes, bint ties_all, Py_ssize_t lanes, int threads):
    """Add dy to dx where x is the largest of its window; dx lies in memory as x does. lanes: how many to a task."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef const real* dy = address(dy_array)
    cdef real* dx = address(dx_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t tasks = pool.n*pool.g*((pool.lanes + lanes - 1) // lanes), t
    cdef Py_ssize_t size = pool.block + pool.width if pool.along_row else pool.axis[pool.rank - 1].out*lanes
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
        gradient_task(pool, tables, x, dy, dx, ties_all, t, lanes, scratch + size*threadid(), ids + size*threadid())
    free(scratch)
    free(made)
