"""The products of Winograd's tiles: V and U of one point, with what is to be read next asked for on the way."""

from _real cimport real, vreal, V, MR, v_load, v_store, v_set, v_prefetch_far
from _pack cimport NV


ctypedef struct Want:
    # Lines to ask for: a product passes by for each of them.
    const real* p
    Py_ssize_t step


cdef inline void tile(Py_ssize_t kc, const real* v, Py_ssize_t row, Py_ssize_t count, const real* u, Py_ssize_t step,
                      real* p, bint add, Want ahead, Want also, const int rows, const int nv, const bint turned
                      ) noexcept nogil:
    """`rows` rows of `product`, of which `count` exist: the last one is repeated, or what lies behind it is read."""
    cdef vreal acc[MR][NV]
    cdef vreal uv[NV]
    cdef const real* a[MR]
    cdef Py_ssize_t k
    cdef int i, j
    for i in range(rows):
        a[i] = v + min(<Py_ssize_t>i, count - 1)*row
        for j in range(nv):
            acc[i][j] = v_set(0)
    for k in range(kc):
        for j in range(nv):
            uv[j] = v_load(u + j*V)
        v_prefetch_far(ahead.p)
        v_prefetch_far(also.p)
        for i in range(rows):
            for j in range(nv):
                acc[i][j] += uv[j] * (v[i] if turned else a[i][k])
        u += step
        ahead.p += ahead.step
        also.p += also.step
        if turned:
            v += row
    if add:
        for i in range(rows):
            for j in range(nv):
                acc[i][j] += v_load(p + (i*nv + j)*V)
    for i in range(rows):
        for j in range(nv):
            v_store(p + (i*nv + j)*V, acc[i][j])


cdef inline void product(Py_ssize_t kc, const real* v, Py_ssize_t row, Py_ssize_t count, const real* u,
                         Py_ssize_t step, real* p, bint add, Py_ssize_t ahead, const Want* wants, const int nv,
                         const bint turned) noexcept nogil:
    """p (count rows x nv vectors) = or += v times u (kc x nv vectors, `step` apart).

    v has `count` rows of kc products, `row` apart; or, turned, kc rows of `count`. At most MR rows at a time, in parts
    as even as can be: 49 rows are seven times seven. p has room for MR/2. ahead: from u, where what is read next begins:
    all parts ask for an equal share of it (where the first ones asked for all, a line each product, loads waited for
    line fill buffers: 512 channels of 14 x 14 took 1.1 times as long on an Emerald Rapids server). wants: one for each
    part, or NULL.
    """
    cdef Py_ssize_t parts = (count + MR - 1) // MR, t, start, here
    cdef Want own, also
    cdef const real* from_
    cdef real* to
    own.p, own.step = u, 0
    also = own
    for t in range(parts):
        start = t*count // parts
        here = (t + 1)*count // parts - start
        if ahead:
            own.p, own.step = u + ahead + t*kc*step//parts, step//parts
        if wants != NULL:
            also = wants[t]
        from_ = v + start*(1 if turned else row)
        to = p + start*nv*V
        if here == MR:
            tile(kc, from_, row, here, u, step, to, add, own, also, MR, nv, turned)
        elif here == MR - 1:
            tile(kc, from_, row, here, u, step, to, add, own, also, MR - 1, nv, turned)
        elif MR == 4 or here <= 4:
            tile(kc, from_, row, here, u, step, to, add, own, also, MR // 2, nv, turned)
        elif here == 6:
            tile(kc, from_, row, here, u, step, to, add, own, also, MR*3 // 4, nv, turned)
        else:
            tile(kc, from_, row, here, u, step, to, add, own, also, MR*5 // 8, nv, turned)


cdef inline void products(Py_ssize_t kc, const real* v, Py_ssize_t row, Py_ssize_t count, const real* u,
                          Py_ssize_t step, Py_ssize_t width, real* p, bint add, Py_ssize_t ahead, const Want* wants,
                          const bint turned) noexcept nogil:
    """`product` with a panel of any width; step: of u, or 0 for panels of their own."""
    if width == 3*V:
        product(kc, v, row, count, u, step or 3*V, p, add, ahead, wants, 3, turned)
    elif width == 2*V:
        product(kc, v, row, count, u, step or 2*V, p, add, ahead, wants, 2, turned)
    else:
        product(kc, v, row, count, u, step or V, p, add, ahead, wants, 1, turned)
