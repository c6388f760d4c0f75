"""One stage of a pooling: windows combined along one axis, for all indices of the others.

A stage reads an array `x`, perhaps with a mark beside every value, and writes an array `y`, perhaps with a key. What
is combined how is an `op`:

    SUM, MAX    y = the sum, the largest of the values
    FIRST       and key = the place where it is (the cell of x: `ids` count them)
    PLACED      the same of values whose marks are places already
    ROUTE       y = the sum of those values whose marks are the place of the cell of y
    ROUTE_KEY   ... whose marks are the key of the cell (a place, found by a later stage of the forward pooling)
    ROUTE_ALL   ... the same of keys that are values

Where cells that are next to each other belong to different windows they are the lanes of vectors (`lane_stage`);
along the row itself (`along_stage`) a vector has the windows of V outputs, which may lie a stride apart.
"""

from _real cimport real, vreal, V, v_load, v_store, v_set
from _order cimport (
    place, vplace, p_load, p_store, p_set, p_line, vmask, m_between, v_some, v_at, p_where, p_at, v_max, v_first, v_placed,
    v_route, v_route_all, v_quotient,
)

cdef extern from "_pool.h" nogil:
    ctypedef struct PoolAxis:
        Py_ssize_t out, taps, size, base, stride, dilation, offset, tap_step, xs, ys, id, turn
    ctypedef struct PoolPhase:
        Py_ssize_t taps, stride, dilation, start
    ctypedef struct Pool:
        Py_ssize_t n, g, xn, xg, yn, yg, lanes, rank, turns, along, phases, counts, inverse
        PoolAxis axis[1]
    ctypedef struct Run:
        Py_ssize_t i, count, step
    const PoolPhase* phases_of(const Pool*)

cdef enum:
    SUM, MAX, FIRST, PLACED, ROUTE, ROUTE_KEY, ROUTE_ALL
    X = 0  # what strides belong to
    MARK = 1
    Y = 2
    KEY = 3
    ID = 4
    ROLES = 5
    MOST = 64  # axes of an array

ctypedef struct Loops:
    # The indices of the other axes and the planes.
    Py_ssize_t rank
    Py_ssize_t count[MOST + 1]
    Py_ssize_t hop[MOST + 1][ROLES]
    const real* factors[MOST + 1]  # what sums are divided by, where it depends on the index

ctypedef struct Stage:
    # hop: along the axis. y: its outputs low .. high - 1, in lanes of n cells that follow each other; ids of lanes lie
    # `id_hop` apart, and start at id0. Positions from x_low to x_high exist. tables: a run for every output.
    const real* x
    const place* mark
    real* y
    place* key
    Py_ssize_t low, high, x_low, x_high, n, id_hop, id0
    Py_ssize_t hop[ROLES]
    const Run* table
    const PoolPhase* phase
    Py_ssize_t phases
    Loops loops
    # Another axis that is combined at the same time (the last of the loops; SUM and MAX only), or NULL.
    const Run* partner
    Py_ssize_t partner_hop
    # What sums are divided by: times (over is 1/times), and, if that varies, factors of the other indices, of the outputs
    # of this axis and of the lanes, where they are not NULL.
    bint divided, varied, inverse
    real times, over
    const real* own
    const real* across

ctypedef struct Cursor:
    Py_ssize_t k[MOST + 1]
    Py_ssize_t at[ROLES]


cdef inline bint advance(const Loops* l, Cursor* c) noexcept nogil:
    cdef Py_ssize_t d = l.rank - 1
    cdef int i
    while d >= 0:
        c.k[d] += 1
        for i in range(ROLES):
            c.at[i] += l.hop[d][i]
        if c.k[d] < l.count[d]:
            return True
        for i in range(ROLES):
            c.at[i] -= l.count[d]*l.hop[d][i]
        c.k[d] = 0
        d -= 1
    return False


cdef inline void begin(const Stage* s, Cursor* c) noexcept nogil:
    cdef Py_ssize_t d
    for d in range(s.loops.rank):
        c.k[d] = 0
    for d in range(ROLES):
        c.at[d] = 0
    c.at[ID] = s.id0


cdef inline real times_at(const Stage* s, const Cursor* c) noexcept nogil:
    """What the sums at this place are divided by, but for the factors of the outputs of this axis and of the lanes."""
    cdef Py_ssize_t d
    cdef real times = s.times
    for d in range(s.loops.rank):
        if s.loops.factors[d] != NULL:
            times *= s.loops.factors[d][c.k[d]]
    return times


cdef inline vreal quotient(const Stage* s, vreal sums, vreal by, vreal inverse) noexcept nogil:
    return sums*by if s.inverse else v_quotient(sums, by, inverse)


cdef inline void fold(vreal* acc, vplace* at, vreal b, vplace mark, vplace key, const int op) noexcept nogil:
    if op == SUM:
        acc[0] = acc[0] + b
    elif op == MAX:
        acc[0] = v_max(acc[0], b)
    elif op == FIRST:
        v_first(acc, at, b, mark)
    elif op == PLACED:
        v_placed(acc, at, b, mark)
    elif op == ROUTE_ALL:
        acc[0] = v_route_all(acc[0], b, mark, key)
    else:
        acc[0] = v_route(acc[0], b, mark, key)


# Lanes ----------------------------------------------------------------------------------------------------------------

cdef inline void combine_lanes(const Stage* s, real* y, place* key, const real* x, const place* mark, const Run* run,
                               const Run* rows, vplace id, const real* across, vreal by, vreal inverse, vmask m, const int op,
                               const int vectors) noexcept nogil:
    """`vectors` vectors (0: the lanes of m) of one output. id: of the first cell of its run, or (ROUTE) its own."""
    cdef vreal acc[4]
    cdef vplace at[4]
    cdef vplace keys[4]
    cdef vreal b
    cdef vplace one = p_set(<place>(run.step*s.hop[ID])), ahead = p_set(<place>(V*s.id_hop)), here = id
    cdef Py_ssize_t k, r, step = run.step*s.hop[X], mark_step = run.step*s.hop[MARK], row_step = rows.step*s.partner_hop
    cdef int v, many = vectors if vectors > 0 else 1
    cdef bint empty = op < ROUTE
    cdef const real* p
    for v in range(many):
        acc[v] = v_set(0)
        if op == ROUTE or op == FIRST:
            keys[v] = id
            id = id + ahead
        elif op >= ROUTE:
            keys[v] = p_load(key + v*V) if vectors > 0 else p_where(key, m)
    for r in range(rows.count):
        p = x + r*row_step
        for k in range(run.count):
            for v in range(many):
                b = v_load(p + v*V) if vectors > 0 else v_some(p, m)
                if op == FIRST:
                    here = keys[v]
                    keys[v] = here + one
                elif op >= PLACED:
                    here = p_load(mark + v*V) if vectors > 0 else p_where(mark, m)
                if empty:
                    acc[v] = b
                    if op == FIRST or op == PLACED:
                        at[v] = here
                elif op < FIRST:
                    acc[v] = acc[v] + b if op == SUM else v_max(acc[v], b)
                else:
                    fold(&acc[v], &at[v], b, here, keys[v], op)
            empty = False
            p += step
            if op >= PLACED:
                mark += mark_step
    for v in range(many):
        if op == SUM and s.divided:
            if across != NULL:
                b = by*(v_load(across + v*V) if vectors > 0 else v_some(across, m))
                acc[v] = quotient(s, acc[v], b, v_set(1)/b)
            else:
                acc[v] = quotient(s, acc[v], by, inverse)
        if vectors > 0:
            v_store(y + v*V, acc[v])
        else:
            v_at(y, acc[v], m)
        if (op == FIRST or op == PLACED) and vectors > 0:
            p_store(key + v*V, at[v])
        elif op == FIRST or op == PLACED:
            p_at(key, at[v], m)


cdef inline void combine(const Stage* s, real* y, place* key, const real* x, const place* mark, const Run* run,
                         const Run* rows, Py_ssize_t id, vplace line, vmask m, real times, const int op) noexcept nogil:
    """All lanes of one output. What is left behind whole vectors is done with the last whole one again."""
    cdef Py_ssize_t j = 0, n = s.n
    cdef vreal by = v_set(times), inverse = v_set(1/times) if op == SUM and s.varied else v_set(s.over)
    cdef const real* across = s.across
    while j < n:
        if n < V:
            combine_lanes(s, y, key, x, mark, run, rows, line + p_set(<place>id), across, by, inverse, m, op, 0)
            return
        if j + 4*V <= n:
            combine_lanes(s, y + j, key + j, x + j, mark + j, run, rows, line + p_set(<place>(id + j*s.id_hop)),
                          across + j if across != NULL else NULL, by, inverse, m, op, 4)
            j += 4*V
            continue
        j = min(j, n - V)
        combine_lanes(s, y + j, key + j, x + j, mark + j, run, rows, line + p_set(<place>(id + j*s.id_hop)),
                      across + j if across != NULL else NULL, by, inverse, m, op, 1)
        j += V


cdef inline void lane_stage(const Stage* s, const int op) noexcept nogil:
    cdef Cursor c
    cdef Py_ssize_t o
    cdef const Run* run
    cdef const Run* rows
    cdef const real* x
    cdef Run single
    cdef real times
    cdef bint left = True
    cdef vplace line = p_line(<place>s.id_hop)
    cdef vmask m = m_between(0, s.n)
    single.i, single.count, single.step = 0, 1, 0
    rows = &single
    begin(s, &c)
    while left:
        times = times_at(s, &c) if op == SUM and s.varied else s.times
        if op < FIRST and s.partner != NULL:
            rows = s.partner + c.k[s.loops.rank - 1]
        x = s.x + c.at[X] + rows.i*s.partner_hop
        for o in range(s.low, s.high):
            run = s.table + o
            combine(s, s.y + c.at[Y] + o*s.hop[Y], s.key + c.at[KEY] + o*s.hop[KEY],
                    x + run.i*s.hop[X], s.mark + c.at[MARK] + run.i*s.hop[MARK], run, rows,
                    c.at[ID] + (o if op == ROUTE else run.i)*s.hop[ID], line, m,
                    times*s.own[o] if s.own != NULL else times, op)
        left = advance(&s.loops, &c)
