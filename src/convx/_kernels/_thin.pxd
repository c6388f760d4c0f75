"""The tile of `thin`: sums of all products that stay in registers, pixels by vectors of channels or the reverse."""

from _real cimport real, vreal, V, MR, TR, TV, LR, LV, v_load, v_store, v_set, v_prefetch

cdef enum:
    MOST = 32        # vectors of a tile, at most
    FLAT, ROWS, LOW  # tiles: TR pixels x TV vectors of channels; MR or LR channels x 3 or LV vectors of pixels


ctypedef struct Tile:
    const real* x       # in the strip
    const real* w
    const real* init
    const Py_ssize_t* where
    Py_ssize_t depth
    real* to
    const real* y       # where outputs will be, if `to` has their sums
    Py_ssize_t step     # of the tile's rows in y
    bint add            # to what is there
    int times           # 1, or the points:
    Py_ssize_t pitch, next, rows  # from a point to the next in x; rows of outputs, and from one to the next


cdef inline void product(const Tile* t, const bint bare, const bint flat, const int rows, const int nv) noexcept nogil:
    """rows x nv vectors: outputs, or `bare` sums one after another. The outermost loop runs once where there are no
    points: GCC unrolls early enough to keep acc in registers only inside a loop."""
    cdef vreal acc[MOST]
    cdef vreal bv[8]
    cdef const real* a
    cdef const real* b
    cdef const real* x = t.x
    cdef const real* w = t.w
    cdef const Py_ssize_t* where = t.where
    cdef real* to = t.to
    cdef const real* y = t.y if bare else to
    cdef Py_ssize_t k, depth = t.depth, step = t.step
    cdef int i, j, once
    for once in range(t.times):
        for i in range(rows):
            for j in range(nv):
                v_prefetch(y + i*step + j*V)  # rows of y lie far apart: their lines arrive during the sum
                acc[i*nv + j] = v_set(0)
        for k in range(depth):
            a = x + where[k] if flat else w
            b = w if flat else x + where[k]
            for j in range(nv):
                bv[j] = v_load(b + j*V)
            for i in range(rows):
                for j in range(nv):
                    acc[i*nv + j] += bv[j]*a[i]
            w += nv*V if flat else rows
        if bare:
            for i in range(rows):
                for j in range(nv):
                    v_store(to + (i*nv + j)*V, acc[i*nv + j])
            to += rows*nv*V
            x += t.pitch
            if once + 1 < t.rows:
                y += t.next
        elif t.add:
            for i in range(rows):
                for j in range(nv):
                    v_store(to + i*step + j*V, acc[i*nv + j] + v_load(to + i*step + j*V))
        elif flat:
            for j in range(nv):
                bv[j] = v_load(t.init + j*V)
            for i in range(rows):
                for j in range(nv):
                    v_store(to + i*step + j*V, acc[i*nv + j] + bv[j])
        else:
            for i in range(rows):
                for j in range(nv):
                    v_store(to + i*step + j*V, acc[i*nv + j] + v_set(t.init[i]))


cdef inline void dispatch(const Tile* t, const bint bare, int kind, int nv) noexcept nogil:
    if kind == FLAT:
        if nv > 3:
            product(t, bare, True, TR, TV)  # with fewer registers TV is 3
        elif nv == 3:
            product(t, bare, True, TR, 3)
        elif nv == 2:
            product(t, bare, True, TR, 2)
        else:
            product(t, bare, True, TR, 1)
    elif kind == ROWS:
        if nv == 3:
            product(t, bare, False, MR, 3)
        elif nv == 2:
            product(t, bare, False, MR, 2)
        else:
            product(t, bare, False, MR, 1)
    elif nv == LV:
        product(t, bare, False, LR, LV)
    elif nv == (LV + 1)//2:
        product(t, bare, False, LR, (LV + 1)//2)
    else:
        product(t, bare, False, LR, (LV + 3)//4)


cdef inline int height(int kind) noexcept nogil:
    """Rows of a tile."""
    return TR if kind == FLAT else MR if kind == ROWS else LR


cdef inline int vectors(int kind, Py_ssize_t left) noexcept nogil:
    """Vectors of the next tile of a line with so many values left."""
    cdef Py_ssize_t count = (left + V - 1)//V, tiles
    cdef int most = TV if kind == FLAT else 3
    if kind == LOW:
        return LV if count > (LV + 1)//2 else (LV + 1)//2 if count > (LV + 3)//4 else (LV + 3)//4
    tiles = (count + most - 1)//most
    return (count + tiles - 1)//tiles


cdef inline Py_ssize_t up(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1)//unit*unit
