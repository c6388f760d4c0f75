"""Windows combined: their sum, their largest value and where it is, and the gradient of the largest.

The sum:       y[n, g, o] = sum or max over k of x[n, g, i(o, k)]; there are no weights and no sum over channels
The schedule:  the cells that an output reads are a list of rows (all axes but the inner one), times a run of positions
               along the inner axis (tables made once per call, with absent cells left out). Where a plain loop has
               unit stride, its values are the vector lanes. Otherwise the row itself is: the rows of a window are
               combined first, whole, into a padded row in scratch, then its taps, whatever their stride; windows of
               few cells are read straight from the array, with masks at its edges.
Gradient:      per row of outputs, where the largest values are, then dy is added there. One thread has all outputs of
               a plane, or of a block of lanes.
Assumes:       the lanes, or the inner axis, have stride 1 in x and y; places in dx fit a `place`.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, v_load, v_store, v_set
from _nest cimport address, clip_low, clip_high, PyBytes_AS_STRING
from _order cimport (
    place, vplace, NOWHERE, LOWEST, p_load, p_store, p_set, p_pick, v_pick, v_only, v_second, p_second, v_mix, v_max,
    v_wins, v_same, p_same, p_less, p_line, v_every, p_every, v_part, v_put, p_part, p_put, vmask, m_between, v_where,
    v_some, v_at, v_next, v_evens, v_odds, v_low, v_high, Pool, PoolAxis, PoolPhase, Run, phases_of,
)

LANES = V

cdef enum:
    SUM, MAX
    CHUNK = 64  # rows in one list
    GROUP = 16   # planes at a time
    STRIP = 32  # outputs of a row whose largest values wait for their gradient: 32 kB of lanes and places
    MOST = 64   # axes of an array
    FEW = 12    # cells of a window that is read straight from x

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
        if a > 0:
            walk.run[a] = tables[a] + row % pool.axis[a].out
            row = row // pool.axis[a].out
        else:
            walk.run[a] = tables[a] + row
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
    while a > 0:
        at += row % pool.axis[a].out * pool.axis[a].ys
        row = row // pool.axis[a].out
        a -= 1
    return at + row*pool.axis[0].ys if a == 0 else at


# Values ---------------------------------------------------------------------------------------------------------------

cdef inline vreal divided(vreal sums, vreal many, bint inverse) noexcept nogil:
    """sums / many; inverse: many are the factors."""
    return sums*many if inverse else sums/many


cdef inline void combine_lanes(real* to, const real* x, const Walk* walk, Py_ssize_t taps, Py_ssize_t step,
                               Py_ssize_t n, bint first, real many, bint inverse, const int op,
                               const int vectors) noexcept nogil:
    """`vectors` vectors (0: n lanes of one) of a combination of rows x taps; divided by many, if that is not 0."""
    cdef vreal acc[4]
    cdef vreal by = v_set(many)
    cdef Py_ssize_t r, k, done = 0
    cdef const real* p
    cdef int v
    if not first:
        p = to
    elif walk.count > 0 and taps > 0:
        p, done = x + walk.at[0], 1
    else:
        p = NULL
    if vectors == 0:
        acc[0] = v_set(0) if p == NULL else v_part(p, n)
    for v in range(vectors):
        acc[v] = v_set(0) if p == NULL else v_load(p + v*V)
    for r in range(walk.count):
        p = x + walk.at[r] + done*step
        for k in range(done, taps):
            if vectors == 0:
                acc[0] = better(acc[0], v_part(p, n), op)
            for v in range(vectors):
                acc[v] = better(acc[v], v_load(p + v*V), op)
            p += step
        done = 0
    if op == SUM and many != 0:
        if vectors == 0:
            acc[0] = divided(acc[0], by, inverse)
        for v in range(vectors):
            acc[v] = divided(acc[v], by, inverse)
    if vectors == 0:
        v_put(to, acc[0], n)
    for v in range(vectors):
        v_store(to + v*V, acc[v])


cdef inline void combine(real* to, const real* x, const Walk* walk, Py_ssize_t taps, Py_ssize_t step, Py_ssize_t n,
                         bint first, real many, bint inverse, const int op) noexcept nogil:
    """to[:n] = the combination of the listed rows at `taps` positions `step` apart (and of to, but the first time),
    divided by many unless that is 0.
    What is left behind whole vectors is done with the last whole one again, where that may be."""
    cdef Py_ssize_t j = 0
    while j + 4*V <= n:
        combine_lanes(to + j, x + j, walk, taps, step, V, first, many, inverse, op, 4)
        j += 4*V
    while j + V <= n:
        combine_lanes(to + j, x + j, walk, taps, step, V, first, many, inverse, op, 1)
        j += V
    if j < n and j > 0 and first:
        j = n - V
        combine_lanes(to + j, x + j, walk, taps, step, V, True, many, inverse, op, 1)
    elif j < n:
        combine_lanes(to + j, x + j, walk, taps, step, n - j, first, many, inverse, op, 0)


cdef inline vreal every(const real* p, Py_ssize_t stride, const int known) noexcept nogil:
    """p[0], p[stride], ..."""
    if known == 1:
        return v_load(p)
    if known == 2:
        return v_second(p)
    return v_every(p, stride)


cdef inline vreal along_at(const real* p, const PoolPhase* f, const int op, const int known) noexcept nogil:
    cdef Py_ssize_t k
    cdef vreal acc = every(p, f.stride, known)
    for k in range(1, f.taps):
        p += f.dilation
        acc = better(acc, every(p, f.stride, known), op)
    return acc


cdef inline void along_by(real* to, const real* p, const PoolPhase* f, Py_ssize_t n, const real* many, real times,
                          bint inverse, const int op, const int known) noexcept nogil:
    cdef Py_ssize_t j = 0
    cdef vreal t = v_set(times), acc
    while j < n:
        if j + V > n and n >= V:  # the last whole vector again
            j = n - V
        acc = along_at(p + j*f.stride, f, op, known)
        if many != NULL:
            acc = divided(acc, v_load(many + j) * t, inverse)
        if n >= V:
            v_store(to + j, acc)
        else:
            v_put(to, acc, n)
        j += V


cdef inline void along(real* to, const real* p, const PoolPhase* f, Py_ssize_t n, const real* many, real times,
                       bint inverse, const int op) noexcept nogil:
    """n outputs of a phase from a padded row; divided by many * times, of which a vector may be read everywhere."""
    cdef Py_ssize_t j
    if f.taps == 0:
        for j in range(n):
            to[j] = 0
    elif f.stride == 1:
        along_by(to, p, f, n, many, times, inverse, op, 1)
    elif f.stride == 2:
        along_by(to, p, f, n, many, times, inverse, op, 2)
    else:
        along_by(to, p, f, n, many, times, inverse, op, 0)


cdef inline void spread(const Pool* pool, real* to, const real* rows, Py_ssize_t row, Py_ssize_t outs) noexcept nogil:
    """The phases' outputs, in turn; of two phases in vectors, the last one again."""
    cdef Py_ssize_t j = 0, f, k
    if pool.step == 2 and outs >= 2*V:
        while j + V < outs // 2:
            v_mix(to + 2*j, v_load(rows + j), v_load(rows + row + j))
            j += V
        j = outs // 2 - V
        v_mix(to + 2*j, v_load(rows + j), v_load(rows + row + j))
        if outs % 2:
            to[outs - 1] = rows[outs // 2]
        return
    for f in range(pool.step):
        for k in range((outs - f + pool.step - 1) // pool.step):
            to[pool.step*k + f] = rows[f*row + k]


cdef inline void divide_all(real* y, Py_ssize_t n, real many, bint inverse) noexcept nogil:
    """y /= many."""
    cdef Py_ssize_t j = 0
    cdef vreal t = v_set(many)
    while j + V <= n:
        v_store(y + j, divided(v_load(y + j), t, inverse))
        j += V
    if j < n:
        v_put(y + j, divided(v_part(y + j, n - j), t, inverse), n - j)


ctypedef struct Part:
    # A block of a row: which outputs, and which positions of x its padded row has: start on, [low, high) in the array.
    Py_ssize_t first, outs, start, low, high


cdef inline void begin_block(const Pool* pool, Py_ssize_t block, Part* part) noexcept nogil:
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    part.first = block*pool.block*pool.step
    part.outs = min(pool.block*pool.step, d.out - part.first)
    part.start = pool.low + block*pool.block*phases_of(pool).stride
    part.low = min(max(part.start, 0), part.start + pool.width)
    part.high = max(min(part.start + pool.width, d.size), part.low)


cdef void pad(const Pool* pool, const Part* part, real* scratch, const real value) noexcept nogil:
    """Fill the padding of a padded row; it is the same for all rows of a block."""
    cdef Py_ssize_t j
    for j in range(part.low - part.start):
        scratch[j] = value
    for j in range(part.high - part.start, pool.width):
        scratch[j] = value


ctypedef struct Group:
    # Planes that are walked over together: one list of rows serves them all, and when a padded row is read, the writes
    # to it have long left the processor's store queue.
    Py_ssize_t count
    Py_ssize_t x[GROUP]
    Py_ssize_t y[GROUP]


cdef inline Py_ssize_t group_size(const Pool* pool, Py_ssize_t planes, int threads) noexcept nogil:
    return max(1, min(GROUP, min(8192 // pool.width, planes // (2*threads)))) if pool.along_row else 1


cdef inline void begin_group(const Pool* pool, Py_ssize_t first, Py_ssize_t size, Group* group) noexcept nogil:
    cdef Py_ssize_t t
    group.count = min(size, pool.n*pool.g - first)
    group.x[0] = group.y[0] = 0
    for t in range(group.count):
        group.x[t] = (first + t) // pool.g * pool.xn + (first + t) % pool.g * pool.xg
        group.y[t] = (first + t) // pool.g * pool.yn + (first + t) % pool.g * pool.yg


ctypedef struct Reads:
    # What a vector of outputs of one phase reads of every row of a window: at position i (and i + V where the stride is
    # 2: every second value, and the others as well if `both`). Lanes outside the array are left out.
    Py_ssize_t count
    Py_ssize_t i[FEW]
    bint both[FEW]
    vmask here[FEW]
    vmask there[FEW]


cdef inline void survey(Reads* reads, const PoolPhase* f, Py_ssize_t i, Py_ssize_t size) noexcept nogil:
    """reads of the outputs of a phase from the one on whose window begins at position i."""
    cdef Py_ssize_t k = 0, t = 0
    while k < f.taps:
        reads.i[t] = i
        reads.here[t] = m_between(-i, size - i)
        reads.there[t] = m_between(-i - V, size - i - V)
        reads.both[t] = f.stride == 2 and f.dilation == 1 and k + 1 < f.taps
        i += 2*f.dilation if reads.both[t] else f.dilation
        k += 2 if reads.both[t] else 1
        t += 1
    reads.count = t


cdef inline vreal some(const real* p, vmask m, const int op) noexcept nogil:
    """The lanes of m; in the others what combines to nothing."""
    return v_some(p, m) if op == SUM else v_where(p, m, v_set(LOWEST))


cdef inline vreal straight_at(const real* x, const Walk* walk, const Reads* reads, const int op, const int stride,
                              const int known, const bint square, bint part) noexcept nogil:
    """The combination of a window's rows and taps, for a vector of outputs. known: the rows, where they are known when
    this is compiled; square: there are as many taps, one beside the other; part: the last output is not wanted."""
    cdef vreal acc = v_set(0), a, b = v_set(0), c
    cdef Py_ssize_t t, r, rows = known if known > 0 else walk.count, count = reads.count
    cdef const real* p
    cdef bint both
    if known == 0 and rows == 0:
        return acc
    if square:
        count = known if stride == 1 else (known + 1) // 2
    for t in range(count):
        p = x + reads.i[t]
        both = 2*t + 1 < known if square else reads.both[t]
        a = some(p + walk.at[0], reads.here[t], op)
        if stride == 2:
            b = some(p + walk.at[0] + V, reads.there[t], op)
        for r in range(1, rows):
            a = better(a, some(p + walk.at[r], reads.here[t], op), op)
            if stride == 2:
                b = better(b, some(p + walk.at[r] + V, reads.there[t], op), op)
        if stride == 1:
            acc = a if t == 0 else better(acc, a, op)
        else:
            c = v_evens(a, b)
            acc = c if t == 0 else better(acc, c, op)
            if both:
                acc = better(acc, v_odds(a, b), op)
            if square and known == 3 and t == 0 and part:
                return better(acc, v_next(c), op)
    return acc


cdef inline void straight(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                          const Walk* walk, const Part* part, const int op, const int step, const int stride,
                          const int rows, const bint square) noexcept nogil:
    """Outputs of one row of a group of planes, straight from the listed rows: windows of few cells in one phase, or in
    two with stride 1."""
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t j = 0, size = pool.axis[pool.rank - 1].size, p
    cdef Reads reads[2]
    cdef vreal a, b, by = v_set(1)
    cdef vmask first, second
    cdef bint shared = op == SUM and many != NULL
    while j < part.outs:
        survey(&reads[0], f, part.start + f[0].start + j // step * stride, size)
        first = m_between(0, part.outs - j)
        if step == 2:
            survey(&reads[1], f + 1, part.start + f[1].start + j // step * stride, size)
            second = m_between(0, part.outs - j - V)
        if shared:  # with two phases: the gradient of an average by one number
            by = (v_load(many + j) if step == 1 else v_set(many[0])) * v_set(times)
        for p in range(group.count):
            a = straight_at(x + group.x[p], walk, &reads[0], op, stride, rows, square, part.outs - j < V)
            if shared:
                a = divided(a, by, pool.inverse)
            if step == 1:
                v_at(y + group.y[p] + j, a, first)
                continue
            b = straight_at(x + group.x[p], walk, &reads[1], op, stride, rows, square, False)
            if shared:
                b = divided(b, by, pool.inverse)
            v_at(y + group.y[p] + j, v_low(a, b), first)
            v_at(y + group.y[p] + j + V, v_high(a, b), second)
        j += step*V


cdef inline void straight_by(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                             const Walk* walk, const Part* part, const int op, const int step,
                             const int stride) noexcept nogil:
    cdef const PoolPhase* f = phases_of(pool)
    cdef bint square = step == 1 and f.taps == walk.count and f.dilation == 1
    if square and walk.count == 2:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 2, True)
    elif square and walk.count == 3:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 3, True)
    elif walk.count == 1:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 1, False)
    elif walk.count == 2:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 2, False)
    else:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 0, False)


cdef bint is_straight(const Pool* pool, const Walk* walk) noexcept nogil:
    """Whether `straight` takes the window, and loads little."""
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t last = pool.step - 1
    if pool.step > 2 or f[0].stride > 2 or f[last].stride != f[0].stride or (pool.step == 2 and f[0].stride > 1):
        return False
    return (max(walk.total, <Py_ssize_t>1)*max(f[0].taps, f[last].taps)
            <= (FEW if pool.step == 2 or f[0].stride == 2 else FEW // 2))


cdef void row_values(const Pool* pool, const Run* const* tables, const Group* group, const real* x, real* y,
                     const real* many, real times, Py_ssize_t row, const Part* part, real* scratch,
                     const int op) noexcept nogil:
    """One block of one output row of a group of planes, lanes along the row."""
    cdef Walk walk
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t j, p, n, size = pool.block + V, to = part.low - part.start
    cdef real* tmp = scratch + group.count*pool.width
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    if is_straight(pool, &walk):
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
            combine(scratch + p*pool.width + to, x + group.x[p] + part.low, &walk, 1, 0, part.high - part.low, first, 0,
                    False, op)
        first = False
    if pool.step == 1:
        for p in range(group.count):
            along(y + group.y[p], scratch + p*pool.width + f.start, f, part.outs, many, times,
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
        spread(pool, y + group.y[p], tmp + p*pool.step*size, size, part.outs)


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


# Where the largest value is -------------------------------------------------------------------------------------------

cdef inline void find_lanes(real* to, place* at, const real* x, const Walk* walk, place id, Py_ssize_t taps,
                            Py_ssize_t step, place id_step, vplace line, Py_ssize_t n, bint first,
                            const bint whole) noexcept nogil:
    """One vector (or n lanes of it): the larger values of rows x taps and their places."""
    cdef vreal best, b
    cdef vplace where, here, m, one = p_set(id_step)
    cdef Py_ssize_t r, k
    cdef const real* p
    if first:
        best = v_load(x + walk.at[0]) if whole else v_part(x + walk.at[0], n)
        where = line + p_set(walk.id[0] + id)
    else:
        best = v_load(to) if whole else v_part(to, n)
        where = p_load(at) if whole else p_part(at, n)
    for r in range(walk.count):
        p = x + walk.at[r]
        here = line + p_set(walk.id[r] + id)
        for k in range(taps):
            b = v_load(p) if whole else v_part(p, n)
            m = v_wins(best, b)
            best = v_pick(m, best, b)
            where = p_pick(m, where, here)
            here = here + one
            p += step
    if whole:
        v_store(to, best)
        p_store(at, where)
    else:
        v_put(to, best, n)
        p_put(at, where, n)


cdef inline void find(real* to, place* at, const real* x, const Walk* walk, place id, Py_ssize_t taps, Py_ssize_t step,
                      place id_step, place lane, Py_ssize_t n, bint first) noexcept nogil:
    """As `combine`, with places: id of the first position, id_step from tap to tap, lane from lane to lane."""
    cdef Py_ssize_t j = 0
    cdef vplace line = p_line(lane)
    while j + V <= n:
        find_lanes(to + j, at + j, x + j, walk, id + <place>j*lane, taps, step, id_step, line, V, first, True)
        j += V
    if j < n and j > 0 and first:
        j = n - V
        find_lanes(to + j, at + j, x + j, walk, id + <place>j*lane, taps, step, id_step, line, V, True, True)
    elif j < n:
        find_lanes(to + j, at + j, x + j, walk, id + <place>j*lane, taps, step, id_step, line, n - j, first, False)


cdef inline vplace every_place(const place* p, Py_ssize_t stride, const int known) noexcept nogil:
    if known == 1:
        return p_load(p)
    if known == 2:
        return p_second(p)
    return p_every(p, stride)


cdef inline void find_along_by(real* to, place* at, const real* p, const place* q, const PoolPhase* f, Py_ssize_t n,
                               bint by_place, const int known) noexcept nogil:
    cdef Py_ssize_t j = 0, k, i
    cdef vreal best, b
    cdef vplace where, here, m
    while j < n:
        if j + V > n and n >= V:
            j = n - V
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
        if n >= V:
            v_store(to + j, best)
            p_store(at + j, where)
        else:
            v_put(to, best, n)
            p_put(at, where, n)
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


cdef void pad_places(const Pool* pool, const Part* part, place* ids) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(part.low - part.start):
        ids[j] = NOWHERE
    for j in range(part.high - part.start, pool.width):
        ids[j] = NOWHERE


cdef void row_places(const Pool* pool, const Run* const* tables, const Group* group, const real* x, real* y, place* at,
                     Py_ssize_t row, const Part* part, real* scratch, place* ids) noexcept nogil:
    """One block of one output row of a group of planes and its places, lanes along the row. Padding is below all
    values, at no place."""
    cdef Walk walk
    cdef const PoolPhase* f = phases_of(pool)
    cdef place step = <place>pool.axis[pool.rank - 1].ps
    cdef Py_ssize_t p, to = part.low - part.start
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for p in range(group.count):
            find(scratch + p*pool.width + to, ids + p*pool.width + to, x + group.x[p] + part.low, &walk,
                 <place>part.low*step, 1, 0, 0, step, part.high - part.low, first)
        first = False
    for p in range(group.count):
        find_along(y + group.y[p], at + group.y[p], scratch + p*pool.width + f.start, ids + p*pool.width + f.start, f,
                   part.outs, pool.tie_by_place)


cdef void lane_places(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t step,
                      Py_ssize_t row, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t n) noexcept nogil:
    """Outputs [o0, o1) of one row and their places, n lanes of each; y, at: those of o0."""
    cdef Walk walk
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef const Run* run
    cdef Py_ssize_t o
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for o in range(o0, o1):
            run = &tables[pool.rank - 1][o]
            find(y + (o - o0)*step, at + (o - o0)*step, x + run.i*d.xs, &walk, <place>(run.i*d.ps), run.count,
                 run.step*d.xs, <place>(run.step*d.ps), 0, n, first)
        first = False


# Gradient of the largest ----------------------------------------------------------------------------------------------

cdef inline void add_lanes(real* dx, const real* x, const real* dy, const real* best, const place* at,
                           const Walk* walk, place id, Py_ssize_t taps, Py_ssize_t step, place id_step, Py_ssize_t n,
                           const bint ties_all, const bint whole) noexcept nogil:
    """dx += dy at the cells that are the place of the largest value, or (ties_all) equal to it: one vector."""
    cdef vreal g = v_load(dy) if whole else v_part(dy, n), top = v_load(best) if whole else v_part(best, n)
    cdef vplace where = p_load(at) if whole else p_part(at, n), here, m, one = p_set(id_step)
    cdef Py_ssize_t r, k, i
    for r in range(walk.count):
        i = walk.at[r]
        here = p_set(walk.id[r] + id)
        for k in range(taps):
            if ties_all:
                m = v_same(v_load(x + i) if whole else v_part(x + i, n), top)
            else:
                m = p_same(where, here)
            if whole:
                v_store(dx + i, v_load(dx + i) + v_only(m, g))
            else:
                v_put(dx + i, v_part(dx + i, n) + v_only(m, g), n)
            i += step
            here = here + one


cdef inline void add(real* dx, const real* x, const real* dy, const real* best, const place* at, const Walk* walk,
                     place id, Py_ssize_t taps, Py_ssize_t step, place id_step, Py_ssize_t n,
                     const bint ties_all) noexcept nogil:
    cdef Py_ssize_t j = 0
    while j + V <= n:
        add_lanes(dx + j, x + j, dy + j, best + j, at + j, walk, id, taps, step, id_step, V, ties_all, True)
        j += V
    if j < n:
        add_lanes(dx + j, x + j, dy + j, best + j, at + j, walk, id, taps, step, id_step, n - j, ties_all, False)


cdef void lane_gradient(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx,
                        const real* best, const place* at, Py_ssize_t step, Py_ssize_t row, Py_ssize_t o0,
                        Py_ssize_t o1, Py_ssize_t n, bint ties_all) noexcept nogil:
    """Add outputs [o0, o1) of one row to dx; best and at lie step apart from output to output."""
    cdef Walk walk
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef const Run* run
    cdef Py_ssize_t o, i, j
    cdef bint left = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for o in range(o0, o1):
            run = &tables[pool.rank - 1][o]
            i = run.i*d.xs
            j = (o - o0)*step
            if ties_all:
                add(dx + i, x + i, dy + o*d.ys, best + j, at + j, &walk, <place>(run.i*d.ps), run.count,
                    run.step*d.xs, <place>(run.step*d.ps), n, True)
            else:
                add(dx + i, x + i, dy + o*d.ys, best + j, at + j, &walk, <place>(run.i*d.ps), run.count,
                    run.step*d.xs, <place>(run.step*d.ps), n, False)


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


cdef Py_ssize_t bands_of(Py_ssize_t planes, Py_ssize_t rows, int threads) noexcept nogil:
    """Into how many bands of rows a plane is cut so that all threads have work."""
    return max(1, min(rows, (4*threads + planes - 1) // max(planes, 1))) if planes < 4*threads else 1


cdef void values_task(const Pool* pool, const Run* const* tables, const real* x, real* y, const real* counts,
                      Py_ssize_t t, Py_ssize_t bands, Py_ssize_t size, real* scratch, const int op) noexcept nogil:
    """A band of the rows of a group of planes."""
    cdef const PoolAxis* d = &pool.axis[pool.rank - 1]
    cdef Py_ssize_t rows = rows_of(pool), block, row, at, o, band = t % bands
    cdef const real* many
    cdef real times
    cdef Part part
    cdef Group group
    begin_group(pool, t // bands * size, size, &group)
    for block in range(blocks_of(pool)):
        begin_block(pool, block, &part)
        if pool.along_row:
            for o in range(group.count):
                pad(pool, &part, scratch + o*pool.width, 0 if op == SUM else LOWEST)
        for row in range(rows*band // bands, rows*(band + 1) // bands):
            at = output_row(pool, row)
            many = counts
            times = outer_count(pool, &many, row)
            if pool.along_row:
                row_values(pool, tables, &group, x, y + at + part.first, many + part.first if many != NULL else NULL,
                           times, row, &part, scratch, op)
                continue
            lane_values(pool, tables, x + group.x[0], y + group.y[0] + at, d.ys, many, times, row, pool.lanes, op)


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
    cdef Py_ssize_t group = group_size(pool, planes, threads), tasks = (planes + group - 1) // group * bands
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


cdef void begin_rows(const Pool* pool, const Group* group, const Part* part, real* scratch, place* ids) noexcept nogil:
    """Fill the padding of the padded rows of a group."""
    cdef Py_ssize_t p
    for p in range(group.count):
        pad(pool, part, scratch + p*pool.width, LOWEST)
        pad_places(pool, part, ids + p*pool.width)


cdef void places_task(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at, Py_ssize_t t,
                      Py_ssize_t bands, Py_ssize_t size, real* scratch, place* ids) noexcept nogil:
    """A band of the rows of a group of planes."""
    cdef Py_ssize_t rows = rows_of(pool), block, row, to, band = t % bands
    cdef Part part
    cdef Group group
    begin_group(pool, t // bands * size, size, &group)
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
                to += group.y[0]
                lane_places(pool, tables, x + group.x[0], y + to, at + to, pool.axis[pool.rank - 1].ys, row, 0,
                            pool.axis[pool.rank - 1].out, pool.lanes)


def places(x_array, y_array, places_array, pool_bytes, int threads):
    """y of a max pooling and where it was found, as wide as y's values."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef real* y = address(y_array)
    cdef place* at = <place*>address(places_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t planes = pool.n*pool.g, bands = bands_of(planes, rows_of(pool), threads), t
    cdef Py_ssize_t group = group_size(pool, planes, threads), tasks = (planes + group - 1) // group * bands
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


cdef void lanes_task(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx, bint ties_all,
                     Py_ssize_t t, Py_ssize_t lanes, real* best, place* at) noexcept nogil:
    """All outputs of a block of lanes of a plane. best, at: room for STRIP outputs."""
    cdef Py_ssize_t parts = (pool.lanes + lanes - 1) // lanes, p = t % parts, n = min(lanes, pool.lanes - p*lanes)
    cdef Py_ssize_t row, o0, o1, out = pool.axis[pool.rank - 1].out
    cdef Group group
    begin_group(pool, t // parts, 1, &group)
    x = x + group.x[0] + p*lanes
    dx = dx + group.x[0] + p*lanes
    dy = dy + group.y[0] + p*lanes
    for row in range(rows_of(pool)):
        o0 = 0
        while o0 < out:
            o1 = min(o0 + STRIP, out)
            lane_places(pool, tables, x, best, at, n, row, o0, o1, n)
            lane_gradient(pool, tables, x, dy + output_row(pool, row), dx, best, at, n, row, o0, o1, n, ties_all)
            o0 = o1


cdef void planes_task(const Pool* pool, const Run* const* tables, const real* x, const real* dy, real* dx, Py_ssize_t t,
                      Py_ssize_t size, real* best, place* at) noexcept nogil:
    """All outputs of a group of planes. best, at: room for a block of a row of outputs of each, then padded rows."""
    cdef Py_ssize_t row, block, p, j
    cdef real* scratch = best + size*pool.block
    cdef place* ids = at + size*pool.block
    cdef const place* found
    cdef const real* g
    cdef real* to
    cdef Part part
    cdef Group group, rows
    begin_group(pool, t*size, size, &group)
    rows = group
    for p in range(group.count):
        rows.y[p] = p*pool.block
    for block in range(blocks_of(pool)):
        begin_block(pool, block, &part)
        begin_rows(pool, &group, &part, scratch, ids)
        for row in range(rows_of(pool)):
            row_places(pool, tables, &rows, x, best, at, row, &part, scratch, ids)
            for p in range(group.count):
                found = at + p*pool.block
                g = dy + group.y[p] + output_row(pool, row) + part.first
                to = dx + group.x[p]
                for j in range(part.outs):
                    to[found[j]] += g[j]


def gradient(x_array, dy_array, dx_array, pool_bytes, bint ties_all, Py_ssize_t lanes, int threads):
    """Add dy to dx where x is the largest of its window; dx lies in memory as x does. lanes: how many to a task."""
    cdef const Pool* pool = <const Pool*>PyBytes_AS_STRING(pool_bytes)
    cdef const real* x = address(x_array)
    cdef const real* dy = address(dy_array)
    cdef real* dx = address(dx_array)
    cdef const Run* tables[MOST]
    cdef Py_ssize_t planes = pool.n*pool.g, group = group_size(pool, planes, threads), t, tasks, size
    if pool.along_row:
        tasks, size = (planes + group - 1) // group, group*(pool.block + pool.width)
    else:
        tasks, size = planes*((pool.lanes + lanes - 1) // lanes), STRIP*lanes
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
        if pool.along_row:
            planes_task(pool, tables, x, dy, dx, t, group, scratch + size*threadid(), ids + size*threadid())
        else:
            lanes_task(pool, tables, x, dy, dx, ties_all, t, lanes, scratch + size*threadid(), ids + size*threadid())
    free(scratch)
    free(made)
