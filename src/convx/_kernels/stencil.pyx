"""One or few channels, vectors along the row: image filters and depthwise layers.

The sum:       y[o1, o2] = init + sum over planes (c, k0), k1, k2 of x[plane, o1 + k1, o2 + d*k2] * w[plane, k1, k2]
The schedule:  a tile of ROWS rows x NS vectors of y stays in registers. Kernel rows come in chunks of up to TALL: the
               TALL + ROWS - 1 rows of x under a chunk are loaded once per k2 and serve TALL x ROWS products: 0.4 loads
               a multiply-add, and no tap is multiplied in vain.
Edges:         tiles that leave the array (or y) are computed on a copy that the boundary rule has filled. Where taps
               read nothing (zero padding) and the result is not finite, the tile is done again by the definition.
Assumes:       x, y run along the innermost window with stride 1; stride 1 and dilation 1 along the middle one.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, NS, v_load, v_store, v_set, v_keep, v_copy, spoiled
from _nest cimport Nest, Window, Box, address, locate, exact, whole, clip_low, clip_high, PyBytes_AS_STRING

cdef enum:
    ROWS = 4
    TALL = 5

LANES = NS*V


cdef inline void line(const real* x, const real* taps, vreal acc[ROWS][NS], const int h, const int tall,
                      const int rows) noexcept nogil:
    """Row h of x under a chunk, for every output row that it serves."""
    cdef vreal xv[NS]
    cdef int r, v
    if h < tall + rows - 1:
        for v in range(NS):
            xv[v] = v_keep(v_load(x + v*V))
        for r in range(TALL):
            if r < tall and 0 <= h - r and h - r < rows:
                for v in range(NS):
                    acc[h - r][v] += xv[v] * taps[r]


cdef inline void chunk(const real* x, Py_ssize_t row, const real* w, Py_ssize_t wr, Py_ssize_t ws, Py_ssize_t S,
                       Py_ssize_t step, vreal acc[ROWS][NS], const int tall, const int rows) noexcept nogil:
    """Add `tall` kernel rows to the tile. The lines are written out: GCC keeps acc in registers only where every
    index is a constant, and does not unroll a loop this large by itself."""
    cdef real taps[TALL]
    cdef Py_ssize_t s
    cdef int r
    for s in range(S):
        for r in range(tall):
            taps[r] = w[r*wr]
        line(x, taps, acc, 0, tall, rows)
        line(x + row, taps, acc, 1, tall, rows)
        line(x + 2*row, taps, acc, 2, tall, rows)
        line(x + 3*row, taps, acc, 3, tall, rows)
        line(x + 4*row, taps, acc, 4, tall, rows)
        line(x + 5*row, taps, acc, 5, tall, rows)
        line(x + 6*row, taps, acc, 6, tall, rows)
        line(x + 7*row, taps, acc, 7, tall, rows)
        w += ws
        x += step


cdef inline void tile(const real* x, Py_ssize_t row, const real* w, Py_ssize_t wr, Py_ssize_t ws, Py_ssize_t R,
                      Py_ssize_t S, Py_ssize_t step, real* y, Py_ssize_t y_row, bint add, real init,
                      const int rows) noexcept nogil:
    """y (rows x NS vectors) = init, or y, plus one plane of products."""
    cdef vreal acc[ROWS][NS]
    cdef int i, v
    cdef Py_ssize_t r = 0, left = (R + TALL - 1) // TALL, tall
    for i in range(rows):
        for v in range(NS):
            acc[i][v] = v_load(y + i*y_row + v*V) if add else v_set(init)
    while left > 0:
        tall = (R - r + left - 1) // left
        if tall == 5:
            chunk(x + r*row, row, w + r*wr, wr, ws, S, step, acc, 5, rows)
        elif tall == 4:
            chunk(x + r*row, row, w + r*wr, wr, ws, S, step, acc, 4, rows)
        elif tall == 3:
            chunk(x + r*row, row, w + r*wr, wr, ws, S, step, acc, 3, rows)
        elif tall == 2:
            chunk(x + r*row, row, w + r*wr, wr, ws, S, step, acc, 2, rows)
        else:
            chunk(x + r*row, row, w + r*wr, wr, ws, S, step, acc, 1, rows)
        r += tall
        left -= 1
    for i in range(rows):
        for v in range(NS):
            v_store(y + i*y_row + v*V, acc[i][v])


cdef bint fill(const Nest* nest, const real* x, Py_ssize_t plane, Py_ssize_t top, Py_ssize_t left, Py_ssize_t height,
               Py_ssize_t width, real cval, real* to) noexcept nogil:
    """Copy positions top.. x left.. of one plane by the boundary rule; whether some of them read nothing."""
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t h, j, i, low = min(clip_low(left, 1), width), high = max(clip_high(left, 1, b.size, width), low)
    cdef const real* p
    cdef bint absent = not plane or (b.boundary == 0 and (low > 0 or high < width))
    for h in range(height):
        i = locate(a, top + h) if plane else -1
        if i < 0:
            for j in range(width):
                to[j] = cval
            absent = True
        else:
            p = x + i*a.xs + left
            for j in range(low):
                i = locate(b, left + j)
                to[j] = cval if i < 0 else p[i - left]
            v_copy(to + low, p + low, high - low)
            for j in range(high, width):
                i = locate(b, left + j)
                to[j] = cval if i < 0 else p[i - left]
        to += width
    return absent


cdef void edge(const Nest* nest, const real* x, const real* w, real* y, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t o2,
               bint first, real init, real cval, real* scratch) noexcept nogil:
    """One tile through copies: every plane, then what belongs to y."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t height = ROWS + a.taps - 1, width = NS*V + (b.taps - 1)*b.dilation
    cdef Py_ssize_t rows = min(<Py_ssize_t>ROWS, a.out - o1), columns = min(<Py_ssize_t>NS*V, b.out - o2)
    cdef Py_ssize_t c, k0, i0, i, j
    cdef real* part = scratch
    cdef real* copy = scratch + ROWS*NS*V
    cdef bint absent = False, bad = False
    cdef Box box
    for i in range(ROWS*NS*V):
        part[i] = 0
    for k0 in range(p.taps):
        i0 = locate(p, p.stride*o0 + p.dilation*k0 - p.offset)
        absent = absent or i0 < 0
        if i0 < 0 and cval == 0:
            continue
        for c in range(nest.c):
            if fill(nest, x + i0*p.xs + c*nest.xc, i0 >= 0, o1 - a.offset, o2 - b.offset, height, width, cval, copy):
                absent = True
            tile(copy, width, w + k0*p.ws + c*nest.wc, a.ws, b.ws, a.taps, b.taps, b.dilation, part, NS*V, True, 0,
                 ROWS)
    if absent and cval == 0:
        for i in range(rows):
            for j in range(columns):
                bad |= spoiled(part[i*NS*V + j])
    if bad:
        whole(nest, &box)
        for i in range(rows):
            for j in range(columns):
                part[i*NS*V + j] = exact(nest, &box, x, w, o0, o1 + i, o2 + j, 0, cval)
    for i in range(rows):
        settle(part + i*NS*V, y + i*a.ys, columns, first, init)


cdef inline void settle(const real* part, real* y, Py_ssize_t columns, bint first, real init) noexcept nogil:
    """y = init, or y, plus part."""
    cdef Py_ssize_t j = 0
    while j + V <= columns:
        v_store(y + j, v_load(part + j) + (v_set(init) if first else v_load(y + j)))
        j += V
    while j < columns:
        y[j] = part[j] + (init if first else y[j])
        j += 1


cdef bint inside(const Nest* nest, Py_ssize_t o0, Py_ssize_t o1, real cval) noexcept nogil:
    """Whether the row block has all its rows, and planes that a tile may read straight from x."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef Py_ssize_t k0, found = 0
    if o1 + ROWS > a.out or o1 < a.offset or o1 + ROWS + a.taps - 2 - a.offset >= a.size:
        return False
    for k0 in range(p.taps):
        if locate(p, p.stride*o0 + p.dilation*k0 - p.offset) >= 0:
            found += 1
    return found == p.taps or (found > 0 and cval == 0)


cdef void block(const Nest* nest, const real* x, const real* w, real* y, const real* bias, bint first, real cval,
                Py_ssize_t t, real* scratch) noexcept nogil:
    """ROWS rows of one output plane."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t blocks = (a.out + ROWS - 1) // ROWS, o0, o1, o2, n, g, m, k0, c, i0
    cdef Py_ssize_t reach = (b.taps - 1)*b.dilation
    cdef real init
    cdef const real* from_x
    cdef bint full, add
    o1 = t % blocks * ROWS
    t = t // blocks
    o0 = t % p.out
    t = t // p.out
    m = t % nest.m
    t = t // nest.m
    g = t % nest.g
    n = t // nest.g
    x = x + n*nest.xn + g*nest.xg
    w = w + g*nest.wg + m*nest.wm
    y = y + n*nest.yn + g*nest.yg + m*nest.ym + o0*p.ys + o1*a.ys
    init = 0 if bias == NULL else bias[g*nest.m + m]
    full = inside(nest, o0, o1, cval)
    o2 = 0
    while o2 < b.out:
        if not full or o2 < b.offset or o2 + NS*V > b.out or o2 + NS*V - 1 + reach - b.offset >= b.size:
            edge(nest, x, w, y + o2, o0, o1, o2, first, init, cval, scratch)
        else:
            add = not first
            for k0 in range(p.taps):
                i0 = locate(p, p.stride*o0 + p.dilation*k0 - p.offset)
                if i0 < 0:
                    continue
                from_x = x + i0*p.xs + (o1 - a.offset)*a.xs + o2 - b.offset
                for c in range(nest.c):
                    tile(from_x + c*nest.xc, a.xs, w + k0*p.ws + c*nest.wc, a.ws, b.ws, a.taps, b.taps, b.dilation,
                         y + o2, a.ys, add, init, ROWS)
                    add = True
        o2 += NS*V


def scratch_size(Py_ssize_t height, Py_ssize_t reach):
    """Elements of scratch per thread for a kernel of this height and horizontal reach."""
    return ROWS*NS*V + (ROWS + height - 1)*(NS*V + reach) + V


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int threads):
    """y of one nest; cval_array holds one value of the dtype."""
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef const real* x = address(x_array) + nest.x0
    cdef const real* w = address(w_array) + nest.w0
    cdef real* y = address(y_array) + nest.y0
    cdef const real* bias = NULL
    cdef real cval = address(cval_array)[0]
    cdef const Window* a = &nest.axis[1]
    cdef Py_ssize_t tasks = nest.n*nest.g*nest.m*nest.axis[0].out*((a.out + ROWS - 1) // ROWS), t
    cdef Py_ssize_t size = scratch_size(a.taps, (nest.axis[2].taps - 1)*nest.axis[2].dilation)
    if bias_array is not None:
        bias = address(bias_array)
    cdef real* scratch = <real*>malloc(size * threads * sizeof(real))
    if scratch == NULL:
        raise MemoryError("scratch of the stencil kernel")
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='static'):
        block(nest, x, w, y, bias, first, cval, t, scratch + size*threadid())
    free(scratch)
