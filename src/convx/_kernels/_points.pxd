"""Winograd's transforms of a line, for each row of one table.

    points  at                   outputs of 2, 3, 4, 5 taps
    1       (no transform)       1 output of 1 tap
    4       0, +-1               3, 2
    6       0, +-5/8, +-3/2      5, 4, 3, 2
    7       +-1/4, +-7/8, +-7/4  -, -, 4  (BT, AT and G alone, for _down.pxd)

The last point is infinity. `outs` outputs of `taps` taps take points = outs + taps - 1 products,
y = AT ((G w) * (BT x)); the same trilinear form read for the taps is dw = GT ((A dy) * (BT x)). BT depends on the
points alone (`interpolate`). A row of A has the powers of a point, and G has them divided by N = the product of its distances
to the others: `evaluate` and `combine` are these two and their transposes, N is left out of A (`weighted` = False).

With 6 points, +-1 and +-2 in the place of +-5/8 and +-3/2 have four times the error in float32. The 7 points are those
multiples of 1/8 for which the largest sum of |A| |G| |BT| over a tap and an output is least: 23 (6 points: 13).
"""

from _real cimport real, vreal, v_load, v_store, v_set


ctypedef struct Line:
    # One axis of a tile.
    Py_ssize_t points, taps, outs


cdef inline void line_of(Line* to, Py_ssize_t points, Py_ssize_t taps) noexcept nogil:
    to.points, to.taps, to.outs = points, taps, points + 1 - taps


# ---- one line of vectors, `step` apart; p and to may be the same

cdef inline double point(const int points, const int pair) noexcept nogil:
    """The points that are not 0 or infinity come in pairs, this one and its negative."""
    if points == 4:
        return 1
    if points == 6:
        return 0.625 if pair == 0 else 1.5
    return 0.25 if pair == 0 else 0.875 if pair == 1 else 1.75


cdef inline double share(const int points, const int pair) noexcept nogil:
    """1/N of a point; that of its negative is the opposite where 0 is no point."""
    cdef double a = point(points, pair), b = point(points, 1 if pair == 0 else 0), c = point(points, 1 if pair == 2 else 2)
    cdef double n = 2*a if points == 7 else 2*a*a
    if points > 4:
        n *= a*a - b*b
    if points > 6:
        n *= a*a - c*c
    return 1/n


cdef inline void two(vreal odd, vreal even, real* to, Py_ssize_t to_step) noexcept nogil:
    """The rows of a pair of points."""
    v_store(to, odd + even)
    v_store(to + to_step, odd - even)


cdef inline vreal all_of(vreal z0, vreal z2, vreal z4, vreal z6, const int points) noexcept nogil:
    """The product of x - q over all pairs q."""
    cdef double a = point(points, 0), b = point(points, 1), c = point(points, 2), aa = a*a, bb = b*b, cc = c*c
    cdef real ab = aa + bb, product = aa*bb, abc = aa + bb + cc, twos = aa*bb + aa*cc + bb*cc, threes = aa*bb*cc
    if points == 4:
        return z2 - z0
    if points == 6:
        return z4 + z0*product - z2*ab
    return z6 - z4*abc + z2*twos - z0*threes


cdef inline void pairs(vreal z0, vreal z1, vreal z2, vreal z3, vreal z4, vreal z5, vreal z6, real* to, Py_ssize_t to_step,
                       const int points) noexcept nogil:
    """For each pair the product of x - q over all others, and that over all."""
    cdef double da = point(points, 0), db = point(points, 1), dc = point(points, 2)
    cdef real a = da, b = db, c = dc, aa = da*da, bb = db*db, aabb = aa*bb, ab = aa + bb
    cdef real aacc = da*da*dc*dc, ac = da*da + dc*dc, bbcc = db*db*dc*dc, bc = db*db + dc*dc
    if points == 4:
        two(z1, z0, to, to_step)
    elif points == 6:
        two(z3 - z1*bb, (z2 - z0*bb)*a, to, to_step)
        two(z3 - z1*aa, (z2 - z0*aa)*b, to + 2*to_step, to_step)
    else:
        two(z5 - z3*bc + z1*bbcc, (z4 - z2*bc + z0*bbcc)*a, to, to_step)
        two(z5 - z3*ac + z1*aacc, (z4 - z2*ac + z0*aacc)*b, to + 2*to_step, to_step)
        two(z5 - z3*ab + z1*aabb, (z4 - z2*ab + z0*aabb)*c, to + 4*to_step, to_step)
    v_store(to + (points - 1)//2*2*to_step, all_of(z0, z2, z4, z6, points))


cdef inline void interpolate(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step,
                             const int points) noexcept nogil:
    """to = BT p: as many vectors as points."""
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step), z3 = v_load(p + 3*step)
    cdef vreal z4 = z0, z5 = z0, z6 = z0
    if points > 4:
        z4, z5 = v_load(p + 4*step), v_load(p + 5*step)
    if points == 7:
        z6 = v_load(p + 6*step)
        pairs(z0, z1, z2, z3, z4, z5, z6, to, to_step, points)
    else:  # 0 is a point: the others have a factor x more
        v_store(to, all_of(z0, z2, z4, z6, points))
        pairs(z1, z2, z3, z4, z5, z6, z6, to + to_step, to_step, points)


cdef inline void powers(vreal z0, vreal z1, vreal z2, vreal z3, vreal z4, const double a, const double n, real* to,
                        Py_ssize_t to_step, const int terms, const bint opposite) noexcept nogil:
    """A polynomial at a pair of points, times n, which is -n for the second one if `opposite`."""
    cdef real a0 = n, a1 = a*n, a2 = a*a*n, a3 = a*a*a*n, a4 = a*a*a*a*n
    cdef vreal even = z0*a0, odd = v_set(0)
    if terms > 1:
        odd = z1*a1
    if terms > 2:
        even = even + z2*a2
    if terms > 3:
        odd = odd + z3*a3
    if terms > 4:
        even = even + z4*a4
    v_store(to, even + odd)
    v_store(to + to_step, odd - even if opposite else even - odd)


cdef inline void evaluate(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step, const int points,
                          const int terms, const bint weighted) noexcept nogil:
    """to = G p or A p: `terms` vectors, the coefficients of a polynomial, become as many as points."""
    cdef double a = point(points, 0), b = point(points, 1)
    cdef real n0 = 1 if not weighted else -1/(a*a) if points == 4 else 1/(a*a*b*b)
    cdef vreal z0 = v_load(p), z1 = z0, z2 = z0, z3 = z0, z4 = z0
    cdef bint opposite = weighted and points == 7
    if terms > 1:
        z1 = v_load(p + step)
    if terms > 2:
        z2 = v_load(p + 2*step)
    if terms > 3:
        z3 = v_load(p + 3*step)
    if terms > 4:
        z4 = v_load(p + 4*step)
    if points != 7:
        v_store(to, z0*n0)
        to += to_step
    powers(z0, z1, z2, z3, z4, a, share(points, 0) if weighted else 1, to, to_step, terms, opposite)
    if points > 4:
        powers(z0, z1, z2, z3, z4, b, share(points, 1) if weighted else 1, to + 2*to_step, to_step, terms, opposite)
    if points > 6:
        powers(z0, z1, z2, z3, z4, point(points, 2), share(points, 2) if weighted else 1, to + 4*to_step, to_step,
               terms, opposite)
    to += (points - 1)//2*2*to_step
    v_store(to, z1 if terms <= 2 else z2 if terms == 3 else z3 if terms == 4 else z4)


cdef inline void keep(vreal z, const vreal start, vreal* bad, real* to, const bint last) noexcept nogil:
    if last:
        bad[0] = bad[0] + z*0
        z = z + start
    v_store(to, z)


cdef inline vreal combine(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step, const int points,
                          const int terms, const bint weighted, const vreal start, const bint last) noexcept nogil:
    """to = AT p or GT p: as many vectors as points become `terms`. last: plus `start`, which is not looked at; nan where
    a sum of the lane is not finite."""
    cdef double a = point(points, 0), b = point(points, 1), c = point(points, 2)
    cdef double na = share(points, 0) if weighted else 1, nb = share(points, 1) if weighted else 1
    cdef real n0 = 1 if not weighted else -1/(a*a) if points == 4 else 1/(a*a*b*b)
    cdef real a0 = na, a1 = a*na, a2 = a*a*na, a3 = a*a*a*na, a4 = a*a*a*a*na
    cdef real b0 = nb, b1 = b*nb, b2 = b*b*nb, b3 = b*b*b*nb, b4 = b*b*b*b*nb
    cdef real c1 = c, c2 = c*c, c3 = c*c*c
    cdef const real* q = p if points == 7 else p + step
    cdef vreal pa = v_load(q), ma = v_load(q + step), pb = pa, mb = pa, pc = pa, mc = pa, z, bad = v_set(0)
    cdef vreal end = v_load(p + (points - 1)*step)
    pa, ma = pa + ma, pa - ma
    if points > 4:
        pb, mb = v_load(q + 2*step), v_load(q + 3*step)
        pb, mb = pb + mb, pb - mb
    if points > 6:
        pc, mc = v_load(q + 4*step), v_load(q + 5*step)
        pc, mc = pc + mc, pc - mc
    z = pa*a0
    if points > 4:
        z = z + pb*b0
    if points > 6:
        z = z + pc
    if points != 7:
        z = z + v_load(p)*n0
    keep(z, start, &bad, to, last)
    z = ma*a1
    if points > 4:
        z = z + mb*b1
    if points > 6:
        z = z + mc*c1
    keep(z + end if terms == 2 else z, start, &bad, to + to_step, last)
    if terms > 2:
        z = pa*a2
        if points > 4:
            z = z + pb*b2
        if points > 6:
            z = z + pc*c2
        keep(z + end if terms == 3 else z, start, &bad, to + 2*to_step, last)
    if terms > 3:
        z = ma*a3
        if points > 4:
            z = z + mb*b3
        if points > 6:
            z = z + mc*c3
        keep(z + end if terms == 4 else z, start, &bad, to + 3*to_step, last)
    if terms > 4:
        keep(pa*a4 + pb*b4 + end, start, &bad, to + 4*to_step, last)
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
