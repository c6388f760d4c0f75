"""The stage of a pooling along the row: vectors of outputs whose windows lie side by side, or a stride apart.

The cells of a vector's windows that the row does not have are left out by masks, which are the same for all rows.
"""

from _real cimport real, vreal, V, v_set
from _order cimport (
    place, vplace, NOWHERE, LOWEST, p_load, p_set, p_line, v_low, v_high, v_evens, v_odds, p_bits, v_bits, vmask, m_between,
    v_where, v_some, v_at, v_strided, v_scatter, p_where,
)
from _stage cimport (
    SUM, MAX, FIRST, PLACED, ROUTE, X, MARK, Y, KEY, ID, PoolPhase, Stage, Cursor, begin, advance, times_at, quotient, fold,
)

cdef enum:
    FEW = 16  # taps at a time

ctypedef struct Reads:
    # Where V outputs of a phase read a row: taps at i + stride*lane, as far as there is something. Where the stride is 2
    # that is every second value of two vectors, and the others as well (the next tap) if `both`.
    Py_ssize_t count, next
    Py_ssize_t i[FEW]
    Py_ssize_t start[FEW]
    Py_ssize_t stop[FEW]
    bint both[FEW]
    vmask here[FEW]
    vmask there[FEW]


cdef inline Py_ssize_t up(Py_ssize_t a, Py_ssize_t b) noexcept nogil:
    """a / b, rounded up."""
    return (a + b - 1) // b if a > 0 else -(-a // b)


cdef inline bint survey(Reads* r, const PoolPhase* f, Py_ssize_t i0, Py_ssize_t k, Py_ssize_t low,
                        Py_ssize_t high) noexcept nogil:
    """The next FEW taps from tap k on of outputs the first of which starts at i0; whether others are left."""
    cdef Py_ssize_t end = min(f.taps, up(high - i0, f.dilation)), i, t = 0
    k = max(k, up(low - i0 - f.stride*(V - 1), f.dilation))
    while k < end and t < FEW:
        i = i0 + f.dilation*k
        r.i[t] = i
        r.both[t] = f.stride == 2 and f.dilation == 1 and k + 1 < f.taps
        r.start[t] = up(low - i, f.stride)
        r.stop[t] = up(high - i, f.stride)
        r.here[t] = m_between(low - i, high - i)
        r.there[t] = m_between(low - i - V, high - i - V)
        k += 2 if r.both[t] else 1
        t += 1
    r.count, r.next = t, k
    return k < end


cdef inline vreal taken(const real* p, vmask m, vreal absent, const int op) noexcept nogil:
    return v_some(p, m) if op == SUM or op >= ROUTE else v_where(p, m, absent)


cdef inline vreal window(const Reads* r, const real* x, const place* mark, vplace ids, vplace next_id, place id_hop,
                         vreal acc, vplace* at, vplace key, bint empty, Py_ssize_t far, const int op,
                         const int stride) noexcept nogil:
    """The taps of `r` in a row, combined with acc, in which nothing is yet if `empty`. ids: of position 0 and those a
    stride apart; next_id: an id_hop in all lanes; far: the stride, if it is none of the known ones."""
    cdef vreal a, b, odd = v_set(0), absent = v_set(0) if op == SUM or op >= ROUTE else v_set(LOWEST)
    cdef vplace here = key, other = key, qa, qb
    cdef Py_ssize_t t, i
    for t in range(r.count):
        i = r.i[t]
        if op == FIRST:
            here = ids + p_set(<place>i*id_hop)
            other = here + next_id
        if stride == 1:
            b = taken(x + i, r.here[t], absent, op)
            if op >= PLACED:
                here = p_where(mark + i, r.here[t])
        elif stride == 2:
            a, b = taken(x + i, r.here[t], absent, op), taken(x + i + V, r.there[t], absent, op)
            if op >= PLACED:
                qa, qb = p_where(mark + i, r.here[t]), p_where(mark + i + V, r.there[t])
                here, other = v_bits(v_evens(p_bits(qa), p_bits(qb))), v_bits(v_odds(p_bits(qa), p_bits(qb)))
            odd = v_odds(a, b)
            b = v_evens(a, b)
        else:
            b = v_strided(x + i, far, r.start[t], r.stop[t], absent)
            if op >= PLACED:
                here = v_bits(v_strided(<const real*>mark + i, far, r.start[t], r.stop[t], p_bits(p_set(NOWHERE))))
        if empty and t == 0 and (op == SUM or op == MAX):
            acc = b
        else:
            fold(&acc, at, b, here, key, op)
        if stride == 2 and r.both[t]:
            fold(&acc, at, odd, other, key, op)
    return acc


cdef inline vreal picked(const real* p, Py_ssize_t phases, Py_ssize_t f, Py_ssize_t count) noexcept nogil:
    """Outputs f + phases*lane, of which `count` more than f are there."""
    cdef vreal a, b
    if phases == 1:
        return v_some(p, m_between(0, count))
    if phases == 2:
        a, b = v_some(p, m_between(0, count)), v_some(p + V, m_between(0, count - V))
        return v_odds(a, b) if f == 1 else v_evens(a, b)
    return v_strided(p + f, phases, 0, up(count - f, phases), v_set(0))


cdef inline void put(real* p, vreal a, vreal b, Py_ssize_t phases, Py_ssize_t f, Py_ssize_t count) noexcept nogil:
    if phases == 1:
        v_at(p, a, m_between(0, count))
    elif phases == 2:
        v_at(p, v_low(a, b), m_between(0, count))
        v_at(p + V, v_high(a, b), m_between(0, count - V))
    else:
        v_scatter(p + f, phases, a, up(count - f, phases))


cdef inline void along_rows(const Stage* s, const Reads* reads, Py_ssize_t j, Py_ssize_t f, const vplace* first,
                            bint empty, bint last, const int op, const int stride, const int known) noexcept nogil:
    """What `reads` says, of outputs j + f + phases*lane (of both phases if there are two) of all rows. known: the phases,
    if they are 1 or 2; empty: these are the first taps; last: no others follow."""
    cdef Cursor c
    cdef Py_ssize_t r, e, phases = known if known > 0 else s.phases, count = s.high - j, rows = 1, d = s.loops.rank - 1
    cdef Py_ssize_t far = s.phase[f].stride, x_hop = 0, mark_hop = 0, y_hop = 0, key_hop = 0, ids_hop = 0
    cdef int many = 2 if phases == 2 else 1
    cdef vreal acc[2]
    cdef vplace at[2]
    cdef vplace keys[2]
    cdef place id_hop = <place>s.hop[ID]
    cdef vplace line = p_line(<place>far*id_hop), next_id = p_set(id_hop), ids, own
    cdef vreal by = v_set(s.times), over = v_set(s.over), across = v_set(1)
    cdef bint left = True, varied = s.varied, divided = s.divided and last
    cdef const real* x
    cdef const place* mark
    cdef real* y
    cdef place* key
    own = p_line(<place>phases*id_hop) + p_set(<place>(j + f)*id_hop)
    if op == SUM and varied:
        across = v_some(s.across + j, m_between(0, count))
    acc[1], at[1] = v_set(0), p_set(0)
    begin(s, &c)
    if d >= 0:
        rows, x_hop, mark_hop = s.loops.count[d], s.loops.hop[d][X], s.loops.hop[d][MARK]
        y_hop, key_hop, ids_hop = s.loops.hop[d][Y], s.loops.hop[d][KEY], s.loops.hop[d][ID]
    while left:
        x, mark, y, key = s.x + c.at[X], s.mark + c.at[MARK], s.y + c.at[Y] + j, s.key + c.at[KEY] + j
        ids = line + p_set(<place>c.at[ID])
        for r in range(rows):
            for e in range(many):
                at[e], keys[e] = p_set(NOWHERE), p_set(0)
                acc[e] = v_set(LOWEST) if op == FIRST or op == PLACED or op == MAX else v_set(0)
                if not empty:
                    acc[e] = picked(y, phases, f + e, count)
                if op == FIRST and empty:
                    at[e] = first[e] + p_set(<place>(c.at[ID] + r*ids_hop))
                elif (op == FIRST or op == PLACED) and not empty:
                    at[e] = v_bits(picked(<const real*>key, phases, f + e, count))
                if op == ROUTE:
                    keys[e] = own + p_set(<place>(c.at[ID] + r*ids_hop + e*id_hop))
                elif op > ROUTE:
                    keys[e] = v_bits(picked(<const real*>key, phases, f + e, count))
                acc[e] = window(reads + e, x, mark, ids, next_id, id_hop, acc[e], &at[e], keys[e], empty, far, op, stride)
                if op == SUM and divided:
                    if varied:
                        c.k[d] = r
                        by = across*v_set(times_at(s, &c))
                        over = v_set(1)/by
                    acc[e] = quotient(s, acc[e], by, over)
            put(y, acc[0], acc[1], phases, f, count)
            if op == FIRST or op == PLACED:
                put(<real*>key, p_bits(at[0]), p_bits(at[1]), phases, f, count)
            x += x_hop
            mark += mark_hop
            y += y_hop
            key += key_hop
            if op == FIRST:
                ids = ids + p_set(<place>ids_hop)
        left = False
        if d > 0:
            c.k[d] = rows - 1  # on to the next index of the loops outside
            for e in range(5):
                c.at[e] += (rows - 1)*s.loops.hop[d][e]
            left = advance(&s.loops, &c)


cdef inline void along_outputs(const Stage* s, Py_ssize_t j, Py_ssize_t f, const int op, const int stride,
                               const int known) noexcept nogil:
    cdef Reads reads[2]
    cdef Py_ssize_t e, l, o
    cdef vplace first[2]
    cdef place lanes[V]
    cdef bint empty = True, left = True
    reads[0].next, reads[1].next, first[1] = 0, 0, p_set(0)
    for e in range(2 if s.phases == 2 else 1):
        for l in range(V):
            o = min(j + f + e + s.phases*l, s.high - 1)
            lanes[l] = <place>(s.table[o].i*s.hop[ID])
        first[e] = p_load(lanes)
    while left:
        left = False
        for e in range(2 if s.phases == 2 else 1):
            if survey(&reads[e], s.phase + f + e, s.phase[f + e].start + s.phase[f + e].stride*(j // s.phases),
                      reads[e].next, s.x_low, s.x_high):
                left = True
        if empty and not left:
            along_rows(s, reads, j, f, first, True, True, op, stride, known)
        else:
            along_rows(s, reads, j, f, first, empty, not left, op, stride, known)
        empty = False


cdef inline void along_stage(const Stage* s, const int op, const int stride, const int known) noexcept nogil:
    cdef Py_ssize_t j = s.low, f
    while j < s.high:
        if s.phases <= 2:
            along_outputs(s, j, 0, op, stride, known)
        else:
            for f in range(min(s.phases, s.high - j)):
                along_outputs(s, j, f, op, stride, known)
        j += V*s.phases
