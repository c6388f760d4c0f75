"""Winograd's transforms of a line, for each row of one table.

    points  at              outputs of 2, 3, 4, 5 taps
    1       (no transform)  1 output of 1 tap
    4       0, +-1          3, 2
    6       0, +-5/8, +-3/2 5, 4, 3, 2

The last point is infinity. `outs` outputs of `taps` taps take points = outs + taps - 1 products,
y = AT ((G w) * (BT x)); the same trilinear form read for the taps is dw = GT ((A dy) * (BT x)). BT depends on the
points alone (`interpolate`). A row of A has the powers of a point, and G has them divided by N = the product of its distances
to the others: `evaluate` and `combine` are these two and their transposes, N is left out of A (`weighted` = False).

With 6 points, +-1 and +-2 in the place of +-5/8 and +-3/2 have four times the error in float32.
"""

from _real cimport real, vreal, v_load, v_store, v_set


ctypedef struct Line:
    # One axis of a tile.
    Py_ssize_t points, taps, outs


cdef inline void line_of(Line* to, Py_ssize_t points, Py_ssize_t taps) noexcept nogil:
    to.points, to.taps, to.outs = points, taps, points + 1 - taps


# ---- one line of vectors, `step` apart; p and to may be the same

cdef inline void interpolate(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step,
                             const int points) noexcept nogil:
    """to = BT p: as many vectors as points."""
    cdef real a = 0.625, b = 1.5, aa = 0.390625, bb = 2.25, product = 0.87890625, total = 2.640625
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step), z3 = v_load(p + 3*step), z4, z5
    cdef vreal even, odd
    if points == 4:
        v_store(to, z0 - z2)
        v_store(to + to_step, z2 + z1)
        v_store(to + 2*to_step, z2 - z1)
        v_store(to + 3*to_step, z3 - z1)
        return
    z4 = v_load(p + 4*step)
    z5 = v_load(p + 5*step)
    even = z4 - z2*bb
    odd = z3 - z1*bb
    v_store(to, z4 + z0*product - z2*total)
    v_store(to + to_step, even + odd*a)
    v_store(to + 2*to_step, even - odd*a)
    even = z4 - z2*aa
    odd = z3 - z1*aa
    v_store(to + 3*to_step, even + odd*b)
    v_store(to + 4*to_step, even - odd*b)
    v_store(to + 5*to_step, z5 + z1*product - z3*total)


cdef inline void evaluate(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step, const int points,
                          const int terms, const bint weighted) noexcept nogil:
    """to = G p or A p: `terms` vectors, the coefficients of a polynomial, become as many as points."""
    cdef double a = 0.625 if points == 6 else 1, b = 1.5, aa = a*a, bb = b*b
    cdef double na = 1 if not weighted else 1/(2*aa*(aa - bb)) if points == 6 else 0.5
    cdef double nb = 1 if not weighted else 1/(2*bb*(bb - aa)), n0 = 1/(aa*bb) if weighted and points == 6 else 1
    cdef real a1 = a*na, a2 = aa*na, a3 = a*aa*na, a4 = aa*aa*na, a0 = na
    cdef real b1 = b*nb, b2 = bb*nb, b3 = b*bb*nb, b4 = bb*bb*nb, b0 = nb, one = n0
    cdef vreal z0 = v_load(p), z1 = z0, z2 = z0, z3 = z0, z4 = z0, even, odd
    if terms > 1:
        z1 = v_load(p + step)
    if terms > 2:
        z2 = v_load(p + 2*step)
    if terms > 3:
        z3 = v_load(p + 3*step)
    if terms > 4:
        z4 = v_load(p + 4*step)
    even = z0*a0
    odd = v_set(0)
    if terms > 1:
        odd = z1*a1
    if terms > 2:
        even = even + z2*a2
    if terms > 3:
        odd = odd + z3*a3
    if terms > 4:
        even = even + z4*a4
    v_store(to, z0*one)
    v_store(to + to_step, even + odd)
    v_store(to + 2*to_step, even - odd)
    if points == 6:
        even = z0*b0
        odd = v_set(0)
        if terms > 1:
            odd = z1*b1
        if terms > 2:
            even = even + z2*b2
        if terms > 3:
            odd = odd + z3*b3
        if terms > 4:
            even = even + z4*b4
        v_store(to + 3*to_step, even + odd)
        v_store(to + 4*to_step, even - odd)
    if terms <= 2:
        v_store(to + (points - 1)*to_step, z1)
    elif terms == 3:
        v_store(to + (points - 1)*to_step, z2)
    elif terms == 4:
        v_store(to + (points - 1)*to_step, z3)
    else:
        v_store(to + (points - 1)*to_step, z4)


cdef inline void keep(vreal z, const vreal start, vreal* bad, real* to, const bint last) noexcept nogil:
    if last:
        bad[0] = bad[0] + z*0
        z = z + start
    v_store(to, z)


cdef inline vreal combine(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step, const int points,
                          const int terms, const bint weighted, const vreal start, const bint last) noexcept nogil:
    """to = AT p or GT p: as many vectors as points become `terms`. last: plus `start`, which is not looked at; nan where
    a sum of the lane is not finite."""
    cdef double a = 0.625 if points == 6 else 1, b = 1.5, aa = a*a, bb = b*b
    cdef double na = 1 if not weighted else 1/(2*aa*(aa - bb)) if points == 6 else 0.5
    cdef double nb = 1 if not weighted else 1/(2*bb*(bb - aa)), n0 = 1/(aa*bb) if weighted and points == 6 else 1
    cdef real a1 = a*na, a2 = aa*na, a3 = a*aa*na, a4 = aa*aa*na, a0 = na
    cdef real b1 = b*nb, b2 = bb*nb, b3 = b*bb*nb, b4 = bb*bb*nb, b0 = nb, one = n0
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step), z3 = v_load(p + 3*step), z4, z5
    cdef vreal pa = z1 + z2, ma = z1 - z2, pb, mb, z, bad = v_set(0)
    if points == 4:
        keep(z0*one + pa*a0, start, &bad, to, last)
        keep(ma*a1 + z3 if terms == 2 else ma*a1, start, &bad, to + to_step, last)
        if terms == 3:
            keep(pa*a2 + z3, start, &bad, to + 2*to_step, last)
        return bad
    z4 = v_load(p + 4*step)
    z5 = v_load(p + 5*step)
    pb = z3 + z4
    mb = z3 - z4
    keep(z0*one + pa*a0 + pb*b0, start, &bad, to, last)
    z = ma*a1 + mb*b1
    keep(z + z5 if terms == 2 else z, start, &bad, to + to_step, last)
    if terms > 2:
        z = pa*a2 + pb*b2
        keep(z + z5 if terms == 3 else z, start, &bad, to + 2*to_step, last)
    if terms > 3:
        z = ma*a3 + mb*b3
        keep(z + z5 if terms == 4 else z, start, &bad, to + 3*to_step, last)
    if terms > 4:
        keep(pa*a4 + pb*b4 + z5, start, &bad, to + 4*to_step, last)
    return bad


# ---- `count` lines: the first vectors of neighbours lie `next` apart, and `to_next` in what is written

cdef enum:
    EVALUATE, COMBINE


cdef inline void copy_lines(const real* p, Py_ssize_t next, real* to, Py_ssize_t to_next,
                            Py_ssize_t count) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        v_store(to + j*to_next, v_load(p + j*next))


cdef inline void interpolate_lines(const Line* line, const real* p, Py_ssize_t step, Py_ssize_t next, real* to,
                                   Py_ssize_t to_step, Py_ssize_t to_next, Py_ssize_t count) noexcept nogil:
    """BT of the values of x under a tile."""
    cdef Py_ssize_t j
    if line.points == 6:
        for j in range(count):
            interpolate(p + j*next, step, to + j*to_next, to_step, 6)
    elif line.points == 4:
        for j in range(count):
            interpolate(p + j*next, step, to + j*to_next, to_step, 4)
    else:
        copy_lines(p, next, to, to_next, count)


cdef inline void each(const int what, const real* p, Py_ssize_t step, Py_ssize_t next, real* to, Py_ssize_t to_step,
                      Py_ssize_t to_next, Py_ssize_t count, const int points, const int terms,
                      const bint weighted) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(count):
        if what == EVALUATE:
            evaluate(p + j*next, step, to + j*to_next, to_step, points, terms, weighted)
        else:
            combine(p + j*next, step, to + j*to_next, to_step, points, terms, weighted, v_set(0), False)


cdef inline void transform_lines(const int what, Py_ssize_t points, Py_ssize_t terms, const real* p, Py_ssize_t step,
                                 Py_ssize_t next, real* to, Py_ssize_t to_step, Py_ssize_t to_next, Py_ssize_t count,
                                 const bint weighted) noexcept nogil:
    """EVALUATE: G of taps (weighted), A of outputs. COMBINE: GT for taps, AT for outputs."""
    if points == 1:
        copy_lines(p, next, to, to_next, count)
    elif points == 4:
        if terms == 3:
            each(what, p, step, next, to, to_step, to_next, count, 4, 3, weighted)
        elif terms == 1:
            each(what, p, step, next, to, to_step, to_next, count, 4, 1, weighted)
        else:
            each(what, p, step, next, to, to_step, to_next, count, 4, 2, weighted)
    elif terms == 3:
        each(what, p, step, next, to, to_step, to_next, count, 6, 3, weighted)
    elif terms == 4:
        each(what, p, step, next, to, to_step, to_next, count, 6, 4, weighted)
    elif terms == 5:
        each(what, p, step, next, to, to_step, to_next, count, 6, 5, weighted)
    elif terms == 1:
        each(what, p, step, next, to, to_step, to_next, count, 6, 1, weighted)
    else:
        each(what, p, step, next, to, to_step, to_next, count, 6, 2, weighted)


cdef inline vreal finish_some(const real* p, Py_ssize_t step, Py_ssize_t next, real* to, Py_ssize_t to_step,
                              Py_ssize_t to_next, Py_ssize_t count, const real* start, Py_ssize_t start_next,
                              const int points, const int terms) noexcept nogil:
    cdef vreal bad = v_set(0)
    cdef Py_ssize_t j
    for j in range(count):
        bad = bad + combine(p + j*next, step, to + j*to_next, to_step, points, terms, False,
                            v_load(start + j*start_next), True)
    return bad


cdef inline vreal finish_lines(const Line* line, const real* p, Py_ssize_t step, Py_ssize_t next, real* to,
                               Py_ssize_t to_step, Py_ssize_t to_next, Py_ssize_t count, const real* start,
                               Py_ssize_t start_next) noexcept nogil:
    """AT of lines of products, plus for each its `start`: outputs. nan where a sum of the lane is not finite."""
    cdef vreal bad = v_set(0)
    cdef Py_ssize_t j
    if line.points == 6:
        if line.outs == 4:
            return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 6, 4)
        if line.outs == 3:
            return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 6, 3)
        if line.outs == 5:
            return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 6, 5)
        return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 6, 2)
    if line.points == 4:
        if line.outs == 2:
            return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 4, 2)
        return finish_some(p, step, next, to, to_step, to_next, count, start, start_next, 4, 3)
    for j in range(count):
        keep(v_load(p + j*next), v_load(start + j*start_next), &bad, to + j*to_next, True)
    return bad
