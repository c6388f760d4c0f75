"""Layers with few channels on one side, as the first of a network and the gradient of its input: straight to y.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k], for each group, never cut.
The schedule:  a thread copies the rows of x under some output rows once (_strip.pxd). A tile of sums stays in registers
               while all products pass by: neighbouring pixels by output channels in vectors where channels are
               neighbours in y (`flat`: the pixels are broadcast), output channels by vectors of pixels where pixels
               are. The products of a tile lie at the same places in the strip for every tile, and the weights are packed
               in the order of the tile, so that nothing but two addresses changes from tile to tile: with 27 products
               what is around a tile costs as much as the tile itself.
Edges:         taps that read nothing read zeros of the strip; where such a tile has sums that are not finite, these are
               done again by the definition. Tiles that are not whole go through a copy.
Assumes:       weights shared by all outputs (no w stride along o).
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport (real, vreal, V, MR, TR, TV, LR, LV, v_load, v_store, v_set, v_prefetch, v_store_second, v_copy,
                    spoiled)
from _nest cimport Nest, Window, Box, address, exact, whole, PyBytes_AS_STRING
from _pack cimport Job
from _strip cimport STRIP, Strip, strip_of, fill_strip, taps_absent

cdef enum:
    WIDEST = 480     # columns of a strip, as in gemm
    LONGEST = 1344   # pixels of a block
    PART = 7         # vectors of a part of a row, at least
    MOST = 32        # vectors of a tile, at most
    FLAT, ROWS, LOW  # tiles: TR pixels x TV vectors of channels; MR or LR channels x 3 or LV vectors of pixels

LANES = V
SHAPES = (TR, TV), (MR, 3), (LR, LV)  # of FLAT, ROWS and LOW


ctypedef struct Layer:
    Job packing         # what a strip needs
    Box box             # all products
    const Nest* nest
    const real* x
    const real* w
    const real* packed  # weights: group, unit of channels, product, channels of the unit
    const real* init    # one value a channel, and zeros up to whole units
    real* y
    bint first, unsafe  # weights that are not finite must not meet zeros in the place of what is not there
    int kind
    Py_ssize_t depth, lines             # products; channels of a group, whole units
    Py_ssize_t rows, columns            # of a block
    Py_ssize_t down, across             # blocks of an image
    Py_ssize_t y_row, y_lane            # steps of the rows of a tile and of its lanes in y
    Py_ssize_t values, size             # of a strip; bytes of a thread's scratch


ctypedef struct Tile:
    const real* x       # in the strip
    const real* w
    const real* init
    const Py_ssize_t* where
    Py_ssize_t depth
    real* to
    Py_ssize_t step     # of its rows in `to`
    bint add, bare      # to what is there; or nothing at all
    int times           # 1


cdef inline void product(const Tile* t, const bint flat, const int rows, const int nv) noexcept nogil:
    """rows x nv vectors. The outermost loop runs once: GCC unrolls early enough to keep acc in registers only inside a
    loop."""
    cdef vreal acc[MOST]
    cdef vreal bv[8]
    cdef const real* a
    cdef const real* b
    cdef const real* x = t.x
    cdef const real* w = t.w
    cdef const Py_ssize_t* where = t.where
    cdef real* to = t.to
    cdef Py_ssize_t k, depth = t.depth, step = t.step
    cdef int i, j, once
    for once in range(t.times):
        for i in range(rows):
            for j in range(nv):
                v_prefetch(to + i*step + j*V)  # rows of y lie far apart: their lines arrive during the sum
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
        if t.bare:
            for i in range(rows):
                for j in range(nv):
                    v_store(to + i*step + j*V, acc[i*nv + j])
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


# A function for each tile: with several of them in one, tiles of rows take 3 per cent longer, with all of them 13
# (GCC 12, first layers of 224 x 224 pixels, one core of an Emerald Rapids server).

cdef void flat_4(const Tile* t) noexcept nogil:
    product(t, True, TR, TV)  # with fewer registers TV is 3


cdef void flat_3(const Tile* t) noexcept nogil:
    product(t, True, TR, 3)


cdef void flat_2(const Tile* t) noexcept nogil:
    product(t, True, TR, 2)


cdef void flat_1(const Tile* t) noexcept nogil:
    product(t, True, TR, 1)


cdef void rows_3(const Tile* t) noexcept nogil:
    product(t, False, MR, 3)


cdef void rows_2(const Tile* t) noexcept nogil:
    product(t, False, MR, 2)


cdef void rows_1(const Tile* t) noexcept nogil:
    product(t, False, MR, 1)


cdef void low_7(const Tile* t) noexcept nogil:
    product(t, False, LR, LV)


cdef void low_4(const Tile* t) noexcept nogil:
    product(t, False, LR, (LV + 1)//2)


cdef void low_2(const Tile* t) noexcept nogil:
    product(t, False, LR, (LV + 3)//4)


cdef inline void multiply(const Tile* t, int kind, int nv) noexcept nogil:
    if kind == FLAT:
        if nv > 3:
            flat_4(t)
        elif nv == 3:
            flat_3(t)
        elif nv == 2:
            flat_2(t)
        else:
            flat_1(t)
    elif kind == ROWS:
        if nv == 3:
            rows_3(t)
        elif nv == 2:
            rows_2(t)
        else:
            rows_1(t)
    elif nv == LV:
        low_7(t)
    elif nv == (LV + 1)//2:
        low_4(t)
    else:
        low_2(t)


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


cdef bint pack(const Layer* job, Py_ssize_t g, real* to) noexcept nogil:
    """The weights of a group in the order in which tiles meet them; channels that are not there are zeros. Whether
    some are not finite."""
    cdef const Nest* nest = job.nest
    cdef const real* w = job.w + g*nest.wg
    cdef const real* p
    cdef Py_ssize_t m = 0, unit, c, k0, k1, k2, i, real_ones
    cdef bint bad = False
    while m < job.lines:
        unit = vectors(FLAT, job.lines - m)*V if job.kind == FLAT else height(job.kind)
        real_ones = min(unit, nest.m - m)
        for c in range(nest.c):
            for k0 in range(nest.axis[0].taps):
                for k1 in range(nest.axis[1].taps):
                    for k2 in range(nest.axis[2].taps):
                        p = w + m*nest.wm + c*nest.wc + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws
                        for i in range(real_ones):
                            to[i] = p[i*nest.wm]
                            bad |= spoiled(to[i])
                        for i in range(real_ones, unit):
                            to[i] = 0
                        to += unit
        m += unit
    return bad


cdef void mend(const Layer* job, real* sums, const real* x, Py_ssize_t g, Py_ssize_t m, const Py_ssize_t* at,
               Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t width) noexcept nogil:
    """Sums that are not finite, by the definition."""
    cdef Py_ssize_t i, j
    cdef bint flat = job.kind == FLAT
    for i in range(rows):
        for j in range(columns):
            if spoiled(sums[i*width + j]):
                sums[i*width + j] = exact(job.nest, &job.box, x, job.w + g*job.nest.wg + (m + (j if flat else i))*job.nest.wm,
                                          at[1], at[2], at[3] + (i if flat else j), 0, job.packing.cval)


cdef void aside(const Layer* job, Tile* t, const real* x, Py_ssize_t g, Py_ssize_t m, const Py_ssize_t* at, real* y,
                Py_ssize_t rows, Py_ssize_t columns, int nv, bint absent) noexcept nogil:
    """A tile of which `rows` x `columns` belong to y, or in which some taps read nothing."""
    cdef real sums[MOST*V]
    cdef real part[V]
    cdef vreal values
    cdef real* line
    cdef Py_ssize_t i, j, k, left, width = nv*V
    cdef bint flat = job.kind == FLAT
    t.to, t.step, t.bare = sums, width, True
    multiply(t, job.kind, nv)
    t.bare = False
    if absent:
        mend(job, sums, x, g, m, at, rows, columns, width)
    for i in range(rows):
        line = y + i*job.y_row
        if job.y_lane == 1:
            for j in range(nv):
                left = columns - j*V
                if left <= 0:
                    break
                values = v_load(sums + i*width + j*V) + (v_load(t.init + j*V) if flat else v_set(t.init[i]))
                if left >= V:
                    v_store(line + j*V, values + v_load(line + j*V) if t.add else values)
                    continue
                v_store(part, values)
                if t.add:
                    for k in range(left):
                        part[k] += line[j*V + k]
                v_copy(line + j*V, part, left)
        elif job.y_lane == 2 and not flat and not t.add:
            for j in range(nv):
                if j*V < columns:
                    v_store_second(line + 2*j*V, v_load(sums + i*width + j*V) + v_set(t.init[i]),
                                   min(<Py_ssize_t>V, columns - j*V))
        else:
            for j in range(columns):
                line[j*job.y_lane] = (sums[i*width + j] + t.init[j if flat else i]
                                      + (line[j*job.y_lane] if t.add else 0))


cdef void line(const Layer* job, const real* strip, const Py_ssize_t* where, const real* x, real* y, Py_ssize_t g,
               Py_ssize_t* at, Py_ssize_t columns, bint absent) noexcept nogil:
    """All channels of `columns` pixels of a row, from `at` on. x: of this image and group; y: of these pixels, too."""
    cdef Py_ssize_t m = 0, o, unit, count, wide, most, number, first = at[3]
    cdef bint flat = job.kind == FLAT
    cdef int nv = 0
    cdef char lacks[WIDEST]
    cdef Tile t
    t.where, t.depth, t.add, t.bare, t.times = where, job.depth, not job.first, False, 1
    while m < job.nest.m:
        if flat:
            nv = vectors(FLAT, job.lines - m)
        unit = nv*V if flat else height(job.kind)
        count = min(unit, job.nest.m - m)
        o, number = 0, 0
        while o < columns:
            if not flat:
                nv = vectors(job.kind, columns - o)
            wide = height(FLAT) if flat else nv*V
            most = min(wide, columns - o)
            at[3] = first + o
            if m == 0:
                lacks[number] = absent and taps_absent(job.nest, &job.box, at, most)
            t.x = strip + o
            t.w, t.init = job.packed + (g*job.lines + m)*job.depth, job.init + g*job.lines + m
            t.to, t.step = y + m*job.nest.ym + o*job.nest.axis[2].ys, job.y_row
            if count == unit and most == wide and job.y_lane == 1 and not lacks[number]:
                multiply(&t, job.kind, nv)
            elif flat:
                aside(job, &t, x, g, m, at, t.to, most, count, nv, lacks[number])
            else:
                aside(job, &t, x, g, m, at, t.to, count, most, nv, lacks[number])
            o += wide
            number += 1
        m += unit
    at[3] = first


cdef void block(const Layer* job, Py_ssize_t number, char* memory) noexcept nogil:
    """Some rows of some columns of one image, group and outermost position."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef real* values = <real*>memory
    cdef Py_ssize_t* where = <Py_ssize_t*>(memory + job.values*<Py_ssize_t>sizeof(real))
    cdef Py_ssize_t q = number % job.across, r, g, last
    cdef Py_ssize_t at[4]
    cdef Strip strip
    cdef bint absent
    cdef const real* x
    cdef real* y
    number = number // job.across
    at[3] = q*job.columns
    r = number % job.down
    number = number // job.down
    at[2], last = r*b.out // job.down, (r + 1)*b.out // job.down
    at[1] = number % nest.axis[0].out
    number = number // nest.axis[0].out
    g, at[0] = number % nest.g, number // nest.g
    strip_of(nest, b.taps, d.taps, last - at[2], min(job.columns, d.out - at[3]), job.columns, &strip)
    x = job.x + at[0]*nest.xn + g*nest.xg
    absent = fill_strip(&job.packing, x, &job.box, &strip, at, values, where) and job.unsafe
    y = job.y + at[0]*nest.yn + g*nest.yg + at[1]*nest.axis[0].ys + at[3]*d.ys
    for r in range(strip.rows):
        line(job, values + r*strip.pitch, where, x, y + at[2]*b.ys, g, at, strip.columns, absent)
        at[2] += 1


cdef double lay(Layer* job, Py_ssize_t across) noexcept nogil:
    """Blocks of a row cut into `across` parts; the values of x that are copied for each output."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t rows, planes = nest.c*nest.axis[0].taps, columns
    cdef Strip strip
    job.columns = up((d.out + across - 1)//across, V)
    job.across = (d.out + job.columns - 1)//job.columns
    columns = min(job.columns, d.out)
    strip_of(nest, b.taps, d.taps, 1, columns, job.columns, &strip)
    rows = STRIP*strip.high//(planes*strip.plane) - strip.high + 1
    rows = max(<Py_ssize_t>1, min(min(rows, LONGEST//columns), b.out))
    job.down = (b.out + rows - 1)//rows
    strip_of(nest, b.taps, d.taps, rows, columns, job.columns, &strip)
    return <double>strip.plane/(rows*columns)


cdef void cut(Layer* job, int threads) noexcept nogil:
    """Blocks: a strip of some rows, of parts of rows where much less is copied then; a few for each thread."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t others = nest.n*nest.g*nest.axis[0].out, across = (d.out + WIDEST - 1)//WIDEST, best, parts, rows
    cdef double least = lay(job, across), copied
    cdef Strip strip
    best, parts = across, 2*across
    while d.out//parts >= PART*V:
        copied = lay(job, parts)
        if copied < 0.8*least:
            best, least = parts, copied
        parts *= 2
    lay(job, best)
    parts = 4*threads if threads > 1 else 1
    if others*job.across*job.down < parts:  # the more blocks, the more rows are copied twice
        job.down = max(job.down, min((b.out + b.taps)//(b.taps + 1), (parts + others*job.across - 1)//(others*job.across)))
    rows = (b.out + job.down - 1)//job.down
    strip_of(nest, b.taps, d.taps, rows, min(job.columns, d.out), job.columns, &strip)
    job.values = up(nest.c*nest.axis[0].taps*strip.plane + MOST*V, V)
    job.size = up(job.values*<Py_ssize_t>sizeof(real) + job.depth*<Py_ssize_t>sizeof(Py_ssize_t), 64)


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int kind, int threads):
    """y of one nest; kind: of SHAPES, in their order."""
    cdef Layer job
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef Py_ssize_t unit, t, m, tasks
    cdef const real* bias = NULL if bias_array is None or not first else address(bias_array)
    cdef real* to
    cdef char* memory
    job.nest, job.packing.nest, job.kind, job.first = nest, nest, FLAT + kind, first
    job.packing.cval, job.packing.channel_last = address(cval_array)[0], False
    job.x, job.w, job.y = address(x_array) + nest.x0, address(w_array) + nest.w0, address(y_array) + nest.y0
    whole(nest, &job.box)
    job.depth = nest.c*nest.axis[0].taps*nest.axis[1].taps*nest.axis[2].taps
    job.lines = up(nest.m, V if job.kind == FLAT else height(job.kind))
    job.y_row, job.y_lane = nest.ym, nest.axis[2].ys
    if job.kind == FLAT:
        job.y_row, job.y_lane = job.y_lane, job.y_row
    cut(&job, threads)
    unit = up(nest.g*job.lines*(job.depth + 1)*<Py_ssize_t>sizeof(real), 64)
    cdef void* scratch = malloc(unit + threads*job.size + 64)
    if scratch == NULL:
        raise MemoryError("scratch of the thin kernel")
    memory = <char*>scratch + (64 - <Py_ssize_t>(<size_t>scratch % 64))
    to = <real*>memory
    job.packed, job.init = to, to + nest.g*job.lines*job.depth
    job.unsafe = False
    with nogil:
        for t in range(nest.g):
            job.unsafe |= pack(&job, t, to + t*job.lines*job.depth)
            for m in range(job.lines):
                to[nest.g*job.lines*job.depth + t*job.lines + m] = 0 if bias == NULL or m >= nest.m else bias[t*nest.m + m]
    job.unsafe = job.unsafe and job.packing.cval == 0
    memory += unit
    tasks = nest.n*nest.g*nest.axis[0].out*job.down*job.across
    # guided: a thread's blocks are neighbours, and so are the lines of y that it writes
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='guided'):
        block(&job, t, memory + threadid()*job.size)
    free(scratch)
