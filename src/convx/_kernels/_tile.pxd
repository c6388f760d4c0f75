"""The register tile of the stencil kernel: rows x vectors of y, to which chunks of kernel rows are added.

A tile stays in registers while a chunk of kernel rows passes by: each of the rows of x under them is loaded once per
tap of the row and serves every output row that it belongs to. Chunks have up to TALL kernel rows, of large kernels up
to TALLEST where there are 32 registers (7x7 to 31x31 taps: 1.06 to 1.2 times as fast; AVX-512).

Rows lie in planes, or in x itself. There places outside x become zeros as they are loaded, under masks, and a stride
of two takes every second value of two vectors. Tiles that read whole rows of x ask for the columns of the next one, with
each tap for one line of each row or every second row: all at once they would wait for each other (5x5 takes 6 to 10 %
less, 9x9 2 %; lines of 3x3 come as fast by themselves, and those of planes lie in L1).
"""

from libc.stdint cimport int64_t
from _real cimport real, vreal, V, NS, v_load, v_store, v_set, v_keep, p_keep, v_prefetch_read
from _order cimport v_evens, v_odds
from _stored cimport SINGLE, BYTE, WORD, SHORT, bytes_of, v_store_as
from _masks cimport vmask, m_between, v_some, v_part, v_put

cdef enum:
    ROWS = 4
    LONE = 8   # rows of a tile of one vector, or of NS/2
    TALL = 5
    TALLEST = 9
    MOST = 16  # vectors of a tile: ROWS*NS or LONE
    MOST_LINES = 12  # under a chunk of tiles that do not walk: LONE + TALL - 1

cdef enum:  # how a tile reads x: as it lies; and asks for the next; the columns inside, and zeros; what is inside, and
    PLAIN, NEAR, EDGE, INSIDE, SECOND, KEPT  # zeros; every second column of that, and those between


ctypedef struct Chunk:
    # Kernel rows first, first + step, ... (`tall` of them): neighbours, seen from the outputs.
    Py_ssize_t first, step, tall


ctypedef struct Step:
    # A chunk of one plane, as a tile adds it: where x and w lie, from one kernel row of w to the next, and how many.
    Py_ssize_t x, w, wr, tall
    Py_ssize_t down            # rows of x from the top to the first of the chunk


ctypedef struct Sum:
    # What every tile of a piece of x adds up.
    Py_ssize_t present         # taps of the outermost window that read something
    Py_ssize_t* x_at           # of each of them
    Py_ssize_t* w_at
    Py_ssize_t xc
    Py_ssize_t pitch, row      # from one row of x to the next, and between those of neighbouring output rows
    Step* step                 # every chunk of every plane that reads something
    Py_ssize_t steps, taps, w2
    const Py_ssize_t* at       # where the taps of a kernel row start
    Py_ssize_t column, width   # EDGE: the column of x under the corner and the first tap, and the columns of x
    # Neither:
    Py_ssize_t top, left, high  # the row and column of x under the corner, and its rows
    Py_ssize_t down, apart     # rows of x between output rows, and between kernel rows
    const real* none           # zeros in the place of an absent row
    const vmask* mask          # of the vectors that a tap loads, here and from one tap to the next
    Py_ssize_t masks


ctypedef struct Target:
    # The corner of a tile in y (or in scratch), its rows, columns, and what is added to the sums.
    real* y
    Py_ssize_t row, rows, columns
    bint add          # what y holds is added to the sums, and not init
    bint bare         # nothing is: init is -0.0, which changes no sum
    int64_t type      # of a picture, which the whole tile belongs to, and nothing is added; 0: y is of reals
    Py_ssize_t times  # tiles side by side
    real init


cdef inline void list_steps(Sum* s, const Chunk* chunk, Py_ssize_t chunks, Py_ssize_t c, Py_ssize_t wc, Py_ssize_t w1,
                            Py_ssize_t dilation) noexcept nogil:
    """What the tiles of a piece add, in order (found by each tile, 3x3 and 3^3 taps took a tenth longer)."""
    cdef Py_ssize_t t, i, q
    cdef Step* p = s.step
    for t in range(s.present):
        for i in range(c):
            for q in range(chunks):
                p.x = s.x_at[t] + i*s.xc + chunk[q].first*dilation*s.pitch
                p.w, p.wr = s.w_at[t] + i*wc + chunk[q].first*w1, chunk[q].step*w1
                p.tall, p.down = chunk[q].tall, chunk[q].first*s.apart
                p += 1
    s.steps = p - s.step


cdef inline void find(const Sum* s, const real* x, Py_ssize_t number, const real** from_x, const int h, const int tall,
                      const int rows) noexcept nogil:
    """Row h of x under a chunk, the first of which has this number."""
    if h < tall + rows - 1:
        from_x[h] = x + h*s.row if 0 <= number + h*s.down < s.high else s.none


cdef inline bint walks(const int how) noexcept nogil:
    """Whether all rows that a tile reads are there: one pointer walks from row to row."""
    return how == PLAIN or how == NEAR or how == EDGE


cdef inline void line(const real** x, Py_ssize_t row, const vmask* mask, vreal* odd, const real* taps, vreal* acc,
                      const int h, const int tall, const int rows, const int ns, const int how) noexcept nogil:
    """Row h of x under a chunk, for every output row that it serves."""
    cdef vreal xv[NS]
    cdef vreal a, b
    cdef const real* p
    cdef int r, v
    if h < tall + rows - 1:
        if how != KEPT:
            p = x[0] if walks(how) else x[h] + row
        for v in range(ns):
            if how == PLAIN or how == NEAR:
                xv[v] = v_keep(v_load(p + v*V))
            elif how == EDGE or how == INSIDE:
                xv[v] = v_keep(v_some(p + v*V, mask[v]))
            elif how == SECOND:
                a, b = v_some(p + 2*v*V, mask[2*v]), v_some(p + (2*v + 1)*V, mask[2*v + 1])
                xv[v], odd[h*ns + v] = v_keep(v_evens(a, b)), v_keep(v_odds(a, b))
            else:
                xv[v] = odd[h*ns + v]
        if walks(how):
            x[0] = p_keep(p + row)
        for r in range(TALLEST):
            if r < tall and 0 <= h - r and h - r < rows:
                for v in range(ns):
                    acc[(h - r)*ns + v] += xv[v] * taps[r]


cdef inline void lines(const real** x, Py_ssize_t row, const vmask* mask, vreal* odd, const real* w, Py_ssize_t wr,
                       vreal* acc, const int tall, const int rows, const int ns, const int how) noexcept nogil:
    """All rows of x under a chunk, for one tap of each kernel row. Written out: GCC keeps acc in registers only where
    every index is a constant, and does not unroll a loop this large by itself."""
    cdef real taps[TALLEST]
    cdef int r
    for r in range(tall):
        taps[r] = w[r*wr]
    line(x, row, mask, odd, taps, acc, 0, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 1, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 2, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 3, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 4, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 5, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 6, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 7, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 8, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 9, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 10, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 11, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 12, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 13, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 14, tall, rows, ns, how)
    line(x, row, mask, odd, taps, acc, 15, tall, rows, ns, how)


cdef inline void ask(const real* x, Py_ssize_t row, Py_ssize_t k, const int rows, const int each) noexcept nogil:
    """For line k of all rows, or of every second one in turn."""
    cdef int h
    x += k // each*V + k % each*row
    for h in range((rows + each - 1) // each):
        v_prefetch_read(x)
        x += each*row


cdef inline void chunk(const Sum* s, const real* x, const real* w, Py_ssize_t wr, Py_ssize_t number, vreal* acc,
                       const int tall, const int rows, const int ns, const int how) noexcept nogil:
    """Add `tall` kernel rows to the tile; number: the row of x under the first of them."""
    cdef const real* from_x[MOST_LINES]  # one that walks, or all rows
    cdef vreal odd[MOST]
    cdef vmask inside[NS]
    cdef const vmask* mask = s.mask
    cdef Py_ssize_t k = 0, at
    cdef int v
    if not walks(how):
        find(s, x, number, from_x, 0, tall, rows)
        find(s, x, number, from_x, 1, tall, rows)
        find(s, x, number, from_x, 2, tall, rows)
        find(s, x, number, from_x, 3, tall, rows)
        find(s, x, number, from_x, 4, tall, rows)
        find(s, x, number, from_x, 5, tall, rows)
        find(s, x, number, from_x, 6, tall, rows)
        find(s, x, number, from_x, 7, tall, rows)
        find(s, x, number, from_x, 8, tall, rows)
        find(s, x, number, from_x, 9, tall, rows)
        find(s, x, number, from_x, 10, tall, rows)
        find(s, x, number, from_x, 11, tall, rows)
    while k < s.taps:
        if walks(how):
            from_x[0] = x + s.at[k]
            if how == NEAR:
                ask(x + NS*V, s.row, k, tall + rows - 1, 1 if tall <= TALL else 2)
            if how == EDGE:
                for v in range(ns):
                    at = s.column + s.at[k] - s.at[0] + v*V
                    inside[v] = m_between(-at, s.width - at)
            lines(from_x, s.row, inside, odd, w, wr, acc, tall, rows, ns, how)
        else:
            lines(from_x, s.at[k], mask, odd, w, wr, acc, tall, rows, ns, how)
            mask += s.masks
        k, w = k + 1, w + s.w2
        if how == SECOND and k < s.taps:  # what this one left, in the order of taps
            lines(from_x, 0, NULL, odd, w, wr, acc, tall, rows, ns, KEPT)
            k, w, mask = k + 1, w + s.w2, mask + s.masks


cdef inline void tile(const Sum* s, const real* x, const real* w, Target* to, const int rows,
                      const int ns, const int how) noexcept nogil:
    """rows x ns vectors of outputs."""
    cdef vreal acc[MOST]
    cdef Py_ssize_t n, number, once
    cdef const real* xq
    cdef const real* wq
    cdef const Step* p
    cdef int i, v
    for once in range(to.times):  # GCC unrolls early enough to keep acc in registers only inside a loop
        for i in range(rows):
            for v in range(ns):
                acc[i*ns + v] = v_set(0)
        for n in range(s.steps):
            p = s.step + n
            xq, wq, number = x + p.x, w + p.w, s.top + p.down
            if NS > 2 and walks(how) and p.tall > TALL:
                if p.tall == 9:
                    chunk(s, xq, wq, p.wr, number, acc, 9, rows, ns, how)
                elif p.tall == 8:
                    chunk(s, xq, wq, p.wr, number, acc, 8, rows, ns, how)
                elif p.tall == 7:
                    chunk(s, xq, wq, p.wr, number, acc, 7, rows, ns, how)
                else:
                    chunk(s, xq, wq, p.wr, number, acc, 6, rows, ns, how)
            elif p.tall == 5:
                chunk(s, xq, wq, p.wr, number, acc, 5, rows, ns, how)
            elif p.tall == 4:
                chunk(s, xq, wq, p.wr, number, acc, 4, rows, ns, how)
            elif p.tall == 3:
                chunk(s, xq, wq, p.wr, number, acc, 3, rows, ns, how)
            elif p.tall == 2:
                chunk(s, xq, wq, p.wr, number, acc, 2, rows, ns, how)
            else:
                chunk(s, xq, wq, p.wr, number, acc, 1, rows, ns, how)
        if how == PLAIN and to.type:
            store_picture(to, once*ns*V, acc, rows, ns)
        elif to.bare and to.rows >= rows and to.columns >= ns*V:
            store_whole(to, to.y + once*ns*V, acc, rows, ns)
        elif to.add:
            store(to, to.y + once*ns*V, acc, True, rows, ns)
        else:
            store(to, to.y + once*ns*V, acc, False, rows, ns)
        x += ns*V


cdef inline void store_picture(const Target* to, Py_ssize_t column, vreal* acc, const int rows,
                               const int ns) noexcept nogil:
    """A tile that belongs to y, in the type of a picture."""
    if to.type == SINGLE:
        store_as(to, column, acc, rows, ns, SINGLE)
    elif to.type == BYTE:
        store_as(to, column, acc, rows, ns, BYTE)
    elif to.type == WORD:
        store_as(to, column, acc, rows, ns, WORD)
    else:
        store_as(to, column, acc, rows, ns, SHORT)


cdef inline void store_as(const Target* to, Py_ssize_t column, vreal* acc, const int rows, const int ns,
                          const int64_t type) noexcept nogil:
    cdef char* y = <char*>to.y + column*bytes_of(type)
    cdef int i, v
    for i in range(rows):
        for v in range(ns):
            v_store_as(y + v*V*bytes_of(type), acc[i*ns + v], type)
        y = <char*>p_keep(<real*>(y + to.row*bytes_of(type)))


cdef inline void store_whole(const Target* to, real* y, vreal* acc, const int rows, const int ns) noexcept nogil:
    """A tile that belongs to y, as it is."""
    cdef int i, v
    for i in range(rows):
        for v in range(ns):
            v_store(y + v*V, acc[i*ns + v])
        y = <real*>p_keep(y + to.row)


cdef inline void store(const Target* to, real* y, vreal* acc, const bint add, const int rows,
                       const int ns) noexcept nogil:
    """The part of a tile that belongs to y, column by column (written out as the lines are)."""
    store_column(to, y, acc, 0, add, rows, ns)
    store_column(to, y, acc, 1, add, rows, ns)
    store_column(to, y, acc, 2, add, rows, ns)
    store_column(to, y, acc, 3, add, rows, ns)


cdef inline void store_column(const Target* to, real* y, vreal* acc, const int v, const bint add, const int rows,
                              const int ns) noexcept nogil:
    """Column v of vectors: all of them, or the first few values."""
    cdef vreal init = v_set(to.init)
    cdef Py_ssize_t left = to.columns - v*V
    cdef int i
    y += v*V
    if v < ns and left >= V:
        for i in range(rows):
            if i < to.rows:
                v_store(y + i*to.row, acc[i*ns + v] + (v_load(y + i*to.row) if add else init))
    elif v < ns and left > 0:
        for i in range(rows):
            if i < to.rows:
                v_put(y + i*to.row, acc[i*ns + v] + (v_part(y + i*to.row, left) if add else init), left)
