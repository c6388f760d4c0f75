"""The stage of a pooling along the row: vectors of outputs whose windows lie side by side, or a stride apart.

The cells of a vector's windows that the row does not have are left out by masks, which are the same for all rows.
"""

from _real cimport real, vreal, V, v_set
from _order cimport (
    place, vplace, NOWHERE, LOWEST, p_load, p_set, p_line, v_low, v_high, v_evens, v_odds, p_bits, v_bits, vmask, m_between,
    v_where, v_some, v_at, v_strided, v_scatter, p_where, v_max,
)
from _stage cimport (
    SUM, MAX, FIRST, PLACED, ROUTE, X, MARK, Y, KEY, ID, PoolPhase, Run, Stage, Cursor, begin, advance, times_at, quotient, fold,
)

cdef enum:
    FEW = 8     # taps at a time
    STRIPS = 8  # vectors of a row at a time

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


cdef inline vreal taken(const real* p, Py_ssize_t rows, Py_ssize_t step, vmask m, vreal absent,
                        const int op) noexcept nogil:
    """The lanes of m, of SUM and MAX those of so many rows combined; in the others what combines to nothing."""
    cdef vreal a = v_some(p, m) if op == SUM or op >= ROUTE else v_where(p, m, absent)
    cdef Py_ssize_t r
    if op < FIRST:
        for r in range(1, rows):
            p += step
            a = a + v_some(p, m) if op == SUM else v_max(a, v_where(p, m, absent))
    return a


cdef inline vreal window(const Reads* r, const real* x, const place* mark, Py_ssize_t rows, Py_ssize_t step,
                         vplace ids, vplace next_id, place id_hop, vreal acc, vplace* at, vplace key, bint empty,
                         Py_ssize_t far, const int op, const int stride, const int square) noexcept nogil:
    """The taps of `r` in a row, combined with acc, in which nothing is yet if `empty`. ids: of position 0 and those a
    stride apart; next_id: an id_hop in all lanes; far: the stride, if it is none of the known ones. square: so many rows
    and taps next to each other, if that is known when this is compiled."""
    cdef vreal a, b, odd = v_set(0), absent = v_set(0) if op == SUM or op >= ROUTE else v_set(LOWEST)
    cdef vplace here = key, other = key, qa, qb
    cdef Py_ssize_t t, i, k, count = r.count
    cdef bint both
    if square > 0:
        rows, count = square, square if stride == 1 else (square + 1) // 2
    for t in range(count):
        i = r.i[t]
        both = 2*t + 1 < square if square > 0 else r.both[t]
        if op == FIRST:
            here = ids + p_set(<place>i*id_hop)
            other = here + next_id
        if stride == 1:
            b = taken(x + i, rows, step, r.here[t], absent, op)
            if op >= PLACED:
                here = p_where(mark + i, r.here[t])
        elif stride == 2:
            a = taken(x + i, rows, step, r.here[t], absent, op)
            b = taken(x + i + V, rows, step, r.there[t], absent, op)
            if op >= PLACED:
                qa, qb = p_where(mark + i, r.here[t]), p_where(mark + i + V, r.there[t])
                here, other = v_bits(v_evens(p_bits(qa), p_bits(qb))), v_bits(v_odds(p_bits(qa), p_bits(qb)))
            odd = v_odds(a, b)
            b = v_evens(a, b)
        else:
            b = v_strided(x + i, far, r.start[t], r.stop[t], absent)
            if op < FIRST:
                for k in range(1, rows):
                    a = v_strided(x + i + k*step, far, r.start[t], r.stop[t], absent)
                    b = b + a if op == SUM else v_max(b, a)
            if op >= PLACED:
                here = v_bits(v_strided(<const real*>mark + i, far, r.start[t], r.stop[t], p_bits(p_set(NOWHERE))))
        if empty and t == 0 and (op == SUM or op == MAX):
            acc = b
        else:
            fold(&acc, at, b, here, key, op)
        if stride == 2 and both:
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


ctypedef struct Strip:
    # V outputs (of each phase): from output j on, and where every output starts.
    Py_ssize_t j
    vmask out, far_out
    Reads reads[2]
    vplace first[2]


cdef inline void put(real* p, vreal a, vreal b, Py_ssize_t phases, Py_ssize_t f, const Strip* strip,
                     Py_ssize_t high) noexcept nogil:
    if phases == 1:
        v_at(p, a, strip.out)
    elif phases == 2:
        v_at(p, v_low(a, b), strip.out)
        v_at(p + V, v_high(a, b), strip.far_out)
    else:
        v_scatter(p + f, phases, a, up(high - strip.j - f, phases))


cdef inline void along_rows(const Stage* s, const Strip* strips, Py_ssize_t many, Py_ssize_t f, bint empty, bint last,
                            const int op, const int stride, const int known, const int square) noexcept nogil:
    """What the `many` strips read, of phase f (of both if there are two), in all rows. known: the phases, if they are 1 or
    2; empty: these are the first taps; last: no others follow; square: as in `window`."""
    cdef Cursor c
    cdef const Strip* strip
    cdef const Run* run
    cdef Py_ssize_t r, e, count, phases = known if known > 0 else s.phases, rows = 1, d = s.loops.rank - 1
    cdef Py_ssize_t far = s.phase[f].stride, beside = 1, step = 0, high = s.high, partner_hop = s.partner_hop
    cdef Py_ssize_t hop[5]
    cdef int two = 2 if phases == 2 else 1
    cdef vreal acc[2]
    cdef vplace at[2]
    cdef vplace key
    cdef place id_hop = <place>s.hop[ID], id
    cdef vplace line = p_line(<place>far*id_hop), next_id = p_set(id_hop), own = p_line(<place>phases*id_hop)
    cdef vreal by = v_set(s.times), over = v_set(s.over)
    cdef bint left = True, varied = s.varied, divided = s.divided and last, paired = op < FIRST and s.partner != NULL
    cdef const real* x
    cdef const place* mark
    cdef real* y
    cdef place* keys
    cdef real* y_row
    cdef place* key_row
    acc[1], at[1] = v_set(0), p_set(0)
    for e in range(5):
        hop[e] = s.loops.hop[d][e] if d >= 0 else 0
    if d >= 0:
        rows = s.loops.count[d]
    begin(s, &c)
    while left:
        for r in range(rows):
            x, mark = s.x + c.at[X] + r*hop[X], s.mark + c.at[MARK] + r*hop[MARK]
            y_row, key_row = s.y + c.at[Y] + r*hop[Y], s.key + c.at[KEY] + r*hop[KEY]
            id = <place>(c.at[ID] + r*hop[ID])
            if paired:
                run = s.partner + r
                x, beside, step = x + run.i*partner_hop, run.count, run.step*partner_hop
            if op == SUM and varied:
                c.k[d] = r
                by = v_set(times_at(s, &c))
            for strip in strips[:many]:
                y, keys, count = y_row + strip.j, key_row + strip.j, high - strip.j
                for e in range(two):
                    key, at[e] = p_set(0), p_set(NOWHERE)
                    acc[e] = v_set(LOWEST) if op == FIRST or op == PLACED or op == MAX else v_set(0)
                    if not empty:
                        acc[e] = picked(y, phases, f + e, count)
                    if op == FIRST and empty:
                        at[e] = strip.first[e] + p_set(id)
                    elif (op == FIRST or op == PLACED) and not empty:
                        at[e] = v_bits(picked(<const real*>keys, phases, f + e, count))
                    if op == ROUTE:
                        key = own + p_set(id + <place>(strip.j + f + e)*id_hop)
                    elif op > ROUTE:
                        key = v_bits(picked(<const real*>keys, phases, f + e, count))
                    if square > 0 and beside == square:
                        acc[e] = window(&strip.reads[e], x, mark, beside, step, line, next_id, id_hop, acc[e], &at[e], key,
                                        True, far, op, stride, square)
                    elif beside > 0:
                        acc[e] = window(&strip.reads[e], x, mark, beside, step, line + p_set(id), next_id, id_hop, acc[e],
                                        &at[e], key, empty, far, op, stride, 0)
                    if op == SUM and divided:
                        if varied:
                            over = by if s.across == NULL else by*v_some(s.across + strip.j, m_between(0, count))
                            acc[e] = quotient(s, acc[e], over, v_set(1)/over)
                        else:
                            acc[e] = quotient(s, acc[e], by, over)
                put(y, acc[0], acc[1], phases, f, strip, high)
                if op == FIRST or op == PLACED:
                    put(<real*>keys, p_bits(at[0]), p_bits(at[1]), phases, f, strip, high)
        left = False
        if d > 0:
            c.k[d] = rows - 1  # on to the next index of the loops outside
            for e in range(5):
                c.at[e] += (rows - 1)*hop[e]
            left = advance(&s.loops, &c)


cdef inline void along_strips(const Stage* s, Py_ssize_t j, Py_ssize_t f, const int op, const int stride,
                              const int known) noexcept nogil:
    """Some strips from output j on, of phase f (of both if there are two)."""
    cdef Strip strips[STRIPS]
    cdef Strip* p
    cdef Reads* r
    cdef const PoolPhase* phase
    cdef Py_ssize_t e, l, o, many = 0, two = 2 if s.phases == 2 else 1
    cdef place lanes[V]
    cdef bint empty = True, left = True, square
    while many < STRIPS and j + many*V*s.phases < s.high:
        p = &strips[many]
        p.j = j + many*V*s.phases
        p.out, p.far_out = m_between(0, s.high - p.j), m_between(0, s.high - p.j - V)
        for e in range(two):
            p.reads[e].next = 0
            for l in range(V if op == FIRST else 0):
                o = min(p.j + f + e + s.phases*l, s.high - 1)
                lanes[l] = <place>(s.table[o].i*s.hop[ID])
            p.first[e] = p_load(lanes) if op == FIRST else p_set(0)
        many += 1
    while left:
        left, square = False, op < FIRST and known == 1 and stride > 0 and s.partner != NULL and s.phase.dilation == 1
        for l in range(many):
            for e in range(two):
                r, phase = &strips[l].reads[e], s.phase + f + e
                if survey(r, phase, phase.start + phase.stride*(strips[l].j // s.phases), r.next, s.x_low, s.x_high):
                    left = True
                square = square and r.count == up(phase.taps, stride)
        if left or not empty:
            along_rows(s, strips, many, f, empty, not left, op, stride, known, 0)
        elif square and s.phase.taps == 2 and many == 1:
            along_rows(s, strips, 1, f, True, True, op, stride, known, 2 if op < FIRST and known == 1 else 0)
        elif square and s.phase.taps == 2:
            along_rows(s, strips, many, f, True, True, op, stride, known, 2 if op < FIRST and known == 1 else 0)
        elif square and s.phase.taps == 3 and many == 1:
            along_rows(s, strips, 1, f, True, True, op, stride, known, 3 if op < FIRST and known == 1 else 0)
        elif square and s.phase.taps == 3:
            along_rows(s, strips, many, f, True, True, op, stride, known, 3 if op < FIRST and known == 1 else 0)
        else:
            along_rows(s, strips, many, f, True, True, op, stride, known, 0)
        empty = False


cdef inline void along_stage(const Stage* s, const int op, const int stride, const int known) noexcept nogil:
    cdef Py_ssize_t j = s.low, f
    while j < s.high:
        for f in range(1 if s.phases <= 2 else min(s.phases, s.high - j)):
            along_strips(s, j, f, op, stride, known)
        j += STRIPS*V*s.phases
