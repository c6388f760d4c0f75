"""Values combined by sum or by the larger one: rows of a window into one, then its taps along that row."""

from _real cimport real, vreal, V, v_load, v_store, v_set
from _masks cimport v_part, v_put
from _order cimport v_max, v_second, v_every, v_mix
from _cells cimport Walk, Pool, PoolPhase

cdef enum:
    SUM, MAX


cdef inline vreal better(vreal a, vreal b, const int op) noexcept nogil:
    return a + b if op == SUM else v_max(a, b)


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
