"""Windows of few cells, read straight from the rows of an array: no padded row, a vector of outputs at a time."""

from _real cimport real, vreal, V, v_load, v_store, v_set
from _order cimport (
    LOWEST, vmask, m_between, v_where, v_some, v_at, v_put, v_evens, v_odds, v_next, v_after, v_low, v_high,
)
from _cells cimport CHUNK, Walk, Pool, PoolPhase, phases_of, Part, Group
from _combine cimport SUM, better, divided

cdef enum:
    FEW = 12  # cells of a window that is read straight

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
                return better(acc, v_next(c, c), op)
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


cdef inline bint is_straight(const Pool* pool, const Walk* walk) noexcept nogil:
    """Whether `straight` takes the window, and loads little."""
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t last = pool.step - 1
    if pool.step > 2 or f[0].stride > 2 or f[last].stride != f[0].stride or (pool.step == 2 and f[0].stride > 1):
        return False
    return max(walk.total, <Py_ssize_t>1)*max(f[0].taps, f[last].taps) <= FEW


# Two or three taps, one beside the other, in steps of one -------------------------------------------------------------

cdef inline vreal pile(const real* x, const Walk* walk, Py_ssize_t i, Py_ssize_t size, const int op,
                       const int known) noexcept nogil:
    """The rows of a window combined, at positions i .. i + V - 1."""
    cdef Py_ssize_t r, rows = known if known > 0 else walk.count
    cdef vmask m
    cdef vreal acc
    if i >= 0 and i + V <= size:
        acc = v_load(x + walk.at[0] + i)
        for r in range(1, rows):
            acc = better(acc, v_load(x + walk.at[r] + i), op)
        return acc
    if i >= size or i + V <= 0:
        return v_set(0 if op == SUM else LOWEST)
    m = m_between(-i, size - i)
    acc = some(x + walk.at[0] + i, m, op)
    for r in range(1, rows):
        acc = better(acc, some(x + walk.at[r] + i, m, op), op)
    return acc


cdef inline void beside(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                        const Walk* walk, const Part* part, const int op, const int rows) noexcept nogil:
    """Outputs of one row of a group of planes: what one vector of them reads behind its own places is where the next
    one begins, so that every place is read once."""
    cdef Py_ssize_t p, j, size = pool.axis[pool.rank - 1].size, taps = phases_of(pool).taps
    cdef Py_ssize_t start = part.start + phases_of(pool).start
    cdef vreal a, next, acc
    for p in range(group.count):
        next = pile(x + group.x[p], walk, start, size, op, rows)
        j = 0
        while j < part.outs:
            a = next
            next = pile(x + group.x[p], walk, start + j + V, size, op, rows)
            acc = better(a, v_next(a, next), op)
            if taps == 3:
                acc = better(acc, v_after(a, next), op)
            if op == SUM and many != NULL:
                acc = divided(acc, v_load(many + j)*v_set(times), pool.inverse)
            if j + V <= part.outs:
                v_store(y + group.y[p] + j, acc)
            else:
                v_put(y + group.y[p] + j, acc, part.outs - j)
            j += V


cdef inline void beside_by(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                           const Walk* walk, const Part* part, const int op) noexcept nogil:
    if walk.count == 2:
        beside(pool, group, x, y, many, times, walk, part, op, 2)
    elif walk.count == 3:
        beside(pool, group, x, y, many, times, walk, part, op, 3)
    else:
        beside(pool, group, x, y, many, times, walk, part, op, 0)


cdef inline bint is_beside(const Pool* pool, const Walk* walk) noexcept nogil:
    """Whether `beside` takes the window."""
    cdef const PoolPhase* f = phases_of(pool)
    return (pool.step == 1 and f.dilation == 1 and f.stride == 1 and 2 <= f.taps <= 3 and f.taps - 1 <= V
            and 0 < walk.total <= CHUNK)
