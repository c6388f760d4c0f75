"""Where the largest values are: as `_combine`, with the place of the cell in a second vector.

Of equal values the one in the earlier cell counts, and the first nan is larger than all numbers. Padding is below all
values, at no place.
"""

from _real cimport real, vreal, V, v_load, v_store
from _masks cimport v_part, v_put
from _order cimport (
    place, vplace, p_load, p_store, p_set, p_second, p_every, p_line, p_part, p_put, v_take, v_take_first,
)
from _cells cimport Walk, Pool, PoolAxis, PoolPhase, Run, phases_of, Part, Group, begin, more
from _combine cimport every


cdef inline void find_lanes(real* to, place* at, const real* x, const Walk* walk, place id, Py_ssize_t taps,
                            Py_ssize_t step, place id_step, vplace line, Py_ssize_t n, bint first,
                            const bint whole) noexcept nogil:
    """One vector (or n lanes of it): the larger values of rows x taps and their places."""
    cdef vreal best
    cdef vplace where, here, one = p_set(id_step)
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
            v_take(&best, &where, v_load(p) if whole else v_part(p, n), here)
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
    cdef vplace where, here
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
            if by_place:
                v_take_first(&best, &where, b, here)
            else:
                v_take(&best, &where, b, here)
        if n >= V:
            p_store(at + j, where)
        else:
            p_put(at, where, n)
        if to != NULL and n >= V:
            v_store(to + j, best)
        elif to != NULL:
            v_put(to, best, n)
        j += V


cdef inline void find_along(real* to, place* at, const real* p, const place* q, const PoolPhase* f, Py_ssize_t n,
                            bint by_place) noexcept nogil:
    """n outputs and places from a padded row (to == NULL: places alone). by_place: of equal values the smaller place,
    else the earlier tap."""
    if f.stride == 1:
        find_along_by(to, at, p, q, f, n, by_place, 1)
    elif f.stride == 2:
        find_along_by(to, at, p, q, f, n, by_place, 2)
    else:
        find_along_by(to, at, p, q, f, n, by_place, 0)


cdef inline void row_places(const Pool* pool, const Run* const* tables, const Group* group, const real* x, real* y,
                            place* at, Py_ssize_t row, const Part* part, real* scratch, place* ids) noexcept nogil:
    """One block of one output row of a group of planes and its places (y == NULL: places alone), lanes along the row."""
    cdef Walk walk
    cdef const PoolPhase* f = phases_of(pool)
    cdef place step = <place>pool.axis[pool.rank - 1].ps
    cdef Py_ssize_t p, to = part.low - part.start
    cdef bint left = True, first = True
    begin(&walk, pool, tables, row)
    while left:
        left = more(&walk, pool)
        for p in range(group.count):
            find(scratch + p*pool.width + to, ids + p*pool.width + to, x + group.x + p*group.xp + part.low, &walk,
                 <place>part.low*step, 1, 0, 0, step, part.high - part.low, first)
        first = False
    for p in range(group.count):
        find_along(y + group.y + p*group.yp if y != NULL else NULL, at + group.y + p*group.yp,
                   scratch + p*pool.width + f.start,
                   ids + p*pool.width + f.start, f, part.outs, pool.tie_by_place)


cdef inline void lane_places(const Pool* pool, const Run* const* tables, const real* x, real* y, place* at,
                             Py_ssize_t step, Py_ssize_t row, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t n) noexcept nogil:
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
