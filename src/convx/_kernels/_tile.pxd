"""The register tile of the stencil kernel: rows x vectors of y, to which chunks of kernel rows are added.

A tile stays in registers while a chunk of up to TALL kernel rows passes by: each of the rows of x under them is loaded
once per tap of the row and serves every output row that it belongs to.
"""

from _real cimport real, vreal, V, NS, v_load, v_store, v_set, v_and, v_keep, p_keep, v_copy

cdef enum:
    ROWS = 4
    LONE = 8   # rows of a tile of one vector
    TALL = 5
    MOST = 16  # vectors of a tile: ROWS*NS or LONE


ctypedef struct Chunk:
    # Kernel rows first, first + step, ... (`tall` of them): neighbours, seen from the outputs.
    Py_ssize_t first, step, tall


ctypedef struct Sum:
    # What every tile of a piece of x adds up.
    Py_ssize_t present         # taps of the outermost window that read something
    Py_ssize_t* x_at           # of each of them
    Py_ssize_t* w_at
    Py_ssize_t c, xc, wc
    Py_ssize_t pitch, row      # from one row of x to the next, and between those of neighbouring output rows
    Py_ssize_t dilation        # rows between kernel rows
    const Chunk* chunk
    Py_ssize_t chunks, w1, taps, w2
    const Py_ssize_t* at       # where the taps of a kernel row start
    const real* within         # bits of the columns that there are, under the first tap: others are read as zeros


ctypedef struct Target:
    # The corner of a tile in y (or in scratch), its rows, columns, and what is added to the sums.
    real* y
    Py_ssize_t row, rows, columns
    bint add
    Py_ssize_t times  # tiles side by side
    real init


cdef inline void line(const real** x, Py_ssize_t row, const real* taps, const vreal* inside, vreal* acc, const int h,
                      const int tall, const int rows, const int ns, const bint edge) noexcept nogil:
    """Row h of x under a chunk, for every output row that it serves; on to the next one."""
    cdef vreal xv[NS]
    cdef int r, v
    if h < tall + rows - 1:
        for v in range(ns):
            xv[v] = v_and(v_load(x[0] + v*V), inside[v]) if edge else v_keep(v_load(x[0] + v*V))
        x[0] = p_keep(x[0] + row)
        for r in range(TALL):
            if r < tall and 0 <= h - r and h - r < rows:
                for v in range(ns):
                    acc[(h - r)*ns + v] += xv[v] * taps[r]


cdef inline void chunk(const Sum* s, const real* x, const real* w, Py_ssize_t wr, vreal* acc, const int tall,
                       const int rows, const int ns, const bint edge) noexcept nogil:
    """Add `tall` kernel rows to the tile. The lines are written out: GCC keeps acc in registers only where every
    index is a constant, and does not unroll a loop this large by itself."""
    cdef real taps[TALL]
    cdef vreal inside[NS]
    cdef Py_ssize_t k, row = s.row
    cdef const real* p
    cdef int r, v
    for k in range(s.taps):
        for r in range(tall):
            taps[r] = w[r*wr]
        p = x + s.at[k]
        if edge:
            for v in range(ns):
                inside[v] = v_load(s.within + s.at[k] + v*V)
        line(&p, row, taps, inside, acc, 0, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 1, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 2, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 3, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 4, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 5, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 6, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 7, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 8, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 9, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 10, tall, rows, ns, edge)
        line(&p, row, taps, inside, acc, 11, tall, rows, ns, edge)
        w += s.w2


cdef inline void tile(const Sum* s, const real* x, const real* w, Target* to, const int rows, const int ns,
                      const bint edge) noexcept nogil:
    """rows x ns vectors of outputs, and those beside them; edge: of columns that are not all there."""
    cdef vreal acc[MOST]
    cdef Py_ssize_t t, c, q, wr, once
    cdef const real* xq
    cdef const real* wq
    cdef const Chunk* p
    cdef int i, v
    for once in range(to.times):  # GCC unrolls early enough to keep acc in registers only inside a loop
        for i in range(rows):
            for v in range(ns):
                acc[i*ns + v] = v_set(0)
        for t in range(s.present):
            for c in range(s.c):
                for q in range(s.chunks):
                    p = s.chunk + q
                    xq = x + s.x_at[t] + c*s.xc + p.first*s.dilation*s.pitch
                    wq = w + s.w_at[t] + c*s.wc + p.first*s.w1
                    wr = p.step*s.w1
                    if p.tall == 5:
                        chunk(s, xq, wq, wr, acc, 5, rows, ns, edge)
                    elif p.tall == 4:
                        chunk(s, xq, wq, wr, acc, 4, rows, ns, edge)
                    elif p.tall == 3:
                        chunk(s, xq, wq, wr, acc, 3, rows, ns, edge)
                    elif p.tall == 2:
                        chunk(s, xq, wq, wr, acc, 2, rows, ns, edge)
                    else:
                        chunk(s, xq, wq, wr, acc, 1, rows, ns, edge)
        if to.add:
            store(to, to.y + once*ns*V, acc, True, rows, ns)
        else:
            store(to, to.y + once*ns*V, acc, False, rows, ns)
        x += ns*V


cdef inline void store(const Target* to, real* y, vreal* acc, const bint add, const int rows,
                       const int ns) noexcept nogil:
    """The part of a tile that belongs to y: whole vectors, and of a last one the first few values."""
    cdef real part[LONE*V]
    cdef vreal init = v_set(to.init)
    cdef Py_ssize_t left = 0, first = 0, row = to.row
    cdef int i, v
    if to.columns >= ns*V and to.rows >= rows:
        for i in range(rows):
            for v in range(ns):
                v_store(y + v*V, acc[i*ns + v] + (v_load(y + v*V) if add else init))
            y += row
        return
    for v in range(ns):
        if (v + 1)*V <= to.columns:
            for i in range(rows):
                if i < to.rows:
                    v_store(y + i*row + v*V, acc[i*ns + v] + (v_load(y + i*row + v*V) if add else init))
        elif v*V < to.columns:
            first, left = v*V, to.columns - v*V
            for i in range(rows):
                v_store(part + i*V, acc[i*ns + v] + init)
    if left > 0:
        settle(to, y + first, part, left, rows)


cdef inline void settle(const Target* to, real* y, const real* part, Py_ssize_t left, Py_ssize_t rows) noexcept nogil:
    """`left` values of each row."""
    cdef Py_ssize_t i, j
    for i in range(min(to.rows, rows)):
        if to.add:
            for j in range(left):
                y[j] += part[i*V + j]
        else:
            v_copy(y, part + i*V, left)
        y += to.row
