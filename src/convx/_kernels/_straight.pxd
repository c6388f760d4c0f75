"""Windows of few cells, read straight from the rows of an array: no padded row, a vector of outputs at a time."""

from _real cimport real, vreal, V, v_load, v_store, v_set, v_prefetch_read
from _masks cimport vmask, m_between, v_where, v_some, v_at, v_put
from _order cimport LOWEST, v_evens, v_odds, v_next, v_after, v_low, v_high
from _cells cimport CHUNK, GROUP, Walk, Pool, PoolPhase, phases_of, Part, Group
from _combine cimport SUM, better, divided

cdef enum:
    VECTORS = 2048 // V  # of a block of a row at most (BLOCK in _windows.py)
    FEW = 12  # cells of a window that is read straight
    SEGMENTS = 4  # of a row at a time: few have more
    NEXT = 8192 // sizeof(real)  # values: how far ahead lines are asked for (8 x 64 x 56 x 56 and 256 x 28 x 28 floats)
    PADDED, STRAIGHT, BESIDE  # ways to combine the rows of a window

ctypedef struct Reads:
    # What a vector of outputs of one phase reads of every row of a window: at position i (and i + V where the stride is
    # 2: every second value, and the others as well if `both`). Lanes outside the array are left out.
    Py_ssize_t count
    Py_ssize_t i[FEW]
    bint both[FEW]
    vmask here[FEW]
    vmask there[FEW]


ctypedef struct Segment:
    # Vectors of outputs (with two phases: pairs) that read alike: so many from output j on. mask: the outputs wanted.
    Py_ssize_t j, count
    Reads reads[2]
    vmask mask[2]


ctypedef struct Steps:
    # A loop over rows, xs and ys apart.
    Py_ssize_t count, xs, ys


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


cdef inline vreal straight_at(const real* x, const Py_ssize_t* at, Py_ssize_t rows, const Reads* reads, const int op,
                              const int stride, const int known, const bint square, bint part,
                              const bint ahead) noexcept nogil:
    """The combination of a window's rows and taps, for a vector of outputs. known: the rows, where they are known when
    this is compiled; square: there are as many taps, one beside the other; part: the last output is not wanted; ahead:
    ask for what lies NEXT behind."""
    cdef vreal acc = v_set(0), a, b = v_set(0), c
    cdef Py_ssize_t t, r, count = reads.count
    cdef const real* p
    cdef bint both
    if known > 0:
        rows = known
    if rows == 0:
        return acc
    if square:
        count = known if stride == 1 else (known + 1) // 2
    for t in range(count):
        p = x + reads.i[t]
        both = 2*t + 1 < known if square else reads.both[t]
        if ahead:
            for r in range(rows):
                v_prefetch_read(p + at[r] + NEXT)
                if stride == 2:
                    v_prefetch_read(p + at[r] + V + NEXT)
        a = some(p + at[0], reads.here[t], op)
        if stride == 2:
            b = some(p + at[0] + V, reads.there[t], op)
        for r in range(1, rows):
            a = better(a, some(p + at[r], reads.here[t], op), op)
            if stride == 2:
                b = better(b, some(p + at[r] + V, reads.there[t], op), op)
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


cdef inline Py_ssize_t alike(const Reads* reads, Py_ssize_t size, const int stride) noexcept nogil:
    """How many vectors of outputs from this one on read alike: those that lie in the array with all lanes, or one."""
    cdef Py_ssize_t end
    if reads.count == 0 or reads.i[0] < 0:
        return 1
    end = reads.i[reads.count - 1] + stride*V
    return (size - end) // (stride*V) + 1 if end <= size else 1


cdef inline Py_ssize_t begin_segments(const Pool* pool, const Part* part, Segment* segment, Py_ssize_t* j,
                                      const int step, const int stride) noexcept nogil:
    """Some segments from output j on, which moves; how many."""
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t s = 0, t, n, size = pool.axis[pool.rank - 1].size
    while s < SEGMENTS and j[0] < part.outs:
        n = (part.outs - j[0]) // (step*V)
        for t in range(step):
            survey(&segment.reads[t], f + t, part.start + f[t].start + j[0] // step * stride, size)
            segment.mask[t] = m_between(0, part.outs - j[0] - t*V)
            n = min(n, alike(&segment.reads[t], size, stride))
        segment.j, segment.count = j[0], max(n, <Py_ssize_t>1)
        j[0] += segment.count*step*V
        segment += 1
        s += 1
    return s


cdef inline void straight_vector(Py_ssize_t n, Py_ssize_t xs, Py_ssize_t ys, const real* x, real* y, const Walk* walk,
                                 const Segment* s, bint shared, vreal by, bint inverse, bint part, const int op,
                                 const int step, const int stride, const int rows, const bint square,
                                 const bint ahead) noexcept nogil:
    """A vector of outputs, or two, in each of n rows, xs and ys apart; divided by `by` if that is shared."""
    cdef Py_ssize_t k, r
    cdef Py_ssize_t near[3]
    cdef const Py_ssize_t* at = &walk.at[0]
    cdef Reads own
    cdef const Reads* reads = &s.reads[0]
    cdef vmask first = s.mask[0]
    cdef vreal a, b
    for r in range(rows):  # what is known goes to registers: see Group
        near[r] = walk.at[r]
        at = near
    if square:
        own = s.reads[0]
        reads = &own
    for k in range(n):
        a = straight_at(x, at, walk.count, reads, op, stride, rows, square, part, ahead)
        if shared:
            a = divided(a, by, inverse)
        if step == 1:
            v_at(y, a, first)
        else:
            b = straight_at(x, at, walk.count, &s.reads[1], op, stride, rows, square, False, ahead)
            if shared:
                b = divided(b, by, inverse)
            v_at(y, v_low(a, b), first)
            v_at(y + V, v_high(a, b), s.mask[1])
        x += xs
        y += ys


cdef inline void straight(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                          const Walk* walk, const Part* part, const int op, const int step, const int stride,
                          const int rows, const bint square, const bint down) noexcept nogil:
    """Outputs of a group of rows, straight from the listed rows: windows of few cells in one phase, or in two with
    stride 1. A place in a row is followed from plane to plane; down: through some rows of a plane, all in the order of
    memory, and what comes next is asked for."""
    cdef Py_ssize_t j = 0, k, p, s, v, count, i, n, outs = part.outs
    cdef Segment segments[SEGMENTS]
    cdef vreal by = v_set(1)
    cdef bint shared = op == SUM and many != NULL, inverse = pool.inverse
    cdef Steps outer = Steps(group.rows, group.xs, group.ys), inner = Steps(group.count, group.xp, group.yp)
    cdef Py_ssize_t most = inner.count
    if down:
        outer, inner, most = inner, outer, NEXT // group.xs
    x += group.x
    y += group.y
    while j < outs:
        count = begin_segments(pool, part, segments, &j, step, stride)
        for p in range(outer.count):
            k = 0
            while k < inner.count:
                n = min(most, inner.count - k)
                for s in range(count):
                    for v in range(segments[s].count):
                        i = segments[s].j + v*step*V
                        if shared:  # with two phases: the gradient of an average by one number
                            by = (v_load(many + i) if step == 1 else v_set(many[0])) * v_set(times)
                        straight_vector(n, inner.xs, inner.ys, x + p*outer.xs + k*inner.xs + v*stride*V,
                                        y + p*outer.ys + k*inner.ys + i, walk, &segments[s], shared, by, inverse,
                                        outs - i < V, op, step, stride, rows, square, down)
                k += n


cdef inline void straight_by(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                             const Walk* walk, const Part* part, const int op, const int step,
                             const int stride) noexcept nogil:
    cdef const PoolPhase* f = phases_of(pool)
    cdef bint square = step == 1 and f.taps == walk.count and f.dilation == 1
    cdef Group one = group[0]
    if group.xp == group.rows*group.xs and group.yp == group.rows*group.ys:  # the next plane's rows follow
        one.rows, one.count = group.count*group.rows, 1
    if square and walk.count == 2 and one.rows >= GROUP and 0 < GROUP*group.xs <= NEXT:
        straight(pool, &one, x, y, many, times, walk, part, op, step, stride, 2, True, True)
    elif square and walk.count == 2:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 2, True, False)
    elif square and walk.count == 3:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 3, True, False)
    elif walk.count == 1:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 1, False, False)
    elif walk.count == 2:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 2, False, False)
    else:
        straight(pool, group, x, y, many, times, walk, part, op, step, stride, 0, False, False)


# Two or three taps, one beside the other, in steps of one -------------------------------------------------------------

ctypedef struct Place:
    # Of a vector in a row: whether all its lanes, or some, lie in the array, and which.
    bint all, some
    vmask mask


cdef inline vreal pile(const real* x, const Py_ssize_t* at, Py_ssize_t rows, const Place* place,
                       const int op) noexcept nogil:
    """The rows of a window combined, at a vector of positions."""
    cdef Py_ssize_t r
    cdef vreal acc
    if not place.some or rows == 0:
        return v_set(0 if op == SUM else LOWEST)
    if place.all:
        acc = v_load(x + at[0])
        for r in range(1, rows):
            acc = better(acc, v_load(x + at[r]), op)
        return acc
    acc = some(x + at[0], place.mask, op)
    for r in range(1, rows):
        acc = better(acc, some(x + at[r], place.mask, op), op)
    return acc


cdef inline void beside(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                        const Walk* walk, const Part* part, const int op, const int known) noexcept nogil:
    """Outputs of a group of rows: what one vector of them reads behind its own places is where the next one begins, so
    that every place is read once."""
    cdef Py_ssize_t p, k, j, v, size = pool.axis[pool.rank - 1].size, taps = phases_of(pool).taps
    cdef Py_ssize_t start = part.start + phases_of(pool).start
    cdef bint shared = op == SUM and many != NULL, inverse = pool.inverse
    cdef vreal a, next, acc
    cdef Place places[VECTORS + 1]
    cdef Py_ssize_t near[3]
    cdef const Py_ssize_t* at = &walk.at[0]
    cdef Py_ssize_t count = known if known > 0 else walk.count, outs = part.outs
    cdef const real* from_
    cdef real* to
    for v in range(known):
        near[v] = walk.at[v]
        at = near
    for v in range((part.outs + V - 1) // V + 1):
        j = start + v*V
        places[v].all, places[v].some = j >= 0 and j + V <= size, j < size and j + V > 0
        places[v].mask = m_between(-j, size - j)
    for k in range(group.rows):
        for p in range(group.count):
            from_ = x + group.x + p*group.xp + k*group.xs + start
            to = y + group.y + p*group.yp + k*group.ys
            next = pile(from_, at, count, &places[0], op)
            j = v = 0
            while j < outs:
                a = next
                v += 1
                next = pile(from_ + j + V, at, count, &places[v], op)
                acc = better(a, v_next(a, next), op)
                if taps == 3:
                    acc = better(acc, v_after(a, next), op)
                if shared:
                    acc = divided(acc, v_load(many + j)*v_set(times), inverse)
                if j + V <= outs:
                    v_store(to + j, acc)
                else:
                    v_put(to + j, acc, outs - j)
                j += V


cdef inline void beside_by(const Pool* pool, const Group* group, const real* x, real* y, const real* many, real times,
                           const Walk* walk, const Part* part, const int op) noexcept nogil:
    if walk.count == 2:
        beside(pool, group, x, y, many, times, walk, part, op, 2)
    elif walk.count == 3:
        beside(pool, group, x, y, many, times, walk, part, op, 3)
    else:
        beside(pool, group, x, y, many, times, walk, part, op, 0)


# Which of them --------------------------------------------------------------------------------------------------------

cdef inline int way_of(const Pool* pool) noexcept nogil:
    """How rows are combined: without a padded row where windows are of one list and `straight` loads little."""
    cdef const PoolPhase* f = phases_of(pool)
    cdef Py_ssize_t last = pool.step - 1, rows = 1, a
    for a in range(pool.rank - 1):
        rows *= (pool.axis[a].taps + pool.axis[a].tap_step - 1) // pool.axis[a].tap_step
        if rows > CHUNK:
            return PADDED
    if pool.step == 1 and f.dilation == 1 and f.stride == 1 and 2 <= f.taps <= 3 and f.taps - 1 <= V:
        return BESIDE
    if pool.step > 2 or f[0].stride > 2 or f[last].stride != f[0].stride or (pool.step == 2 and f[0].stride > 1):
        return PADDED
    return STRAIGHT if max(rows, 1)*max(f[0].taps, f[last].taps) <= FEW else PADDED
