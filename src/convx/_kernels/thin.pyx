"""Layers with few channels on one side, as the first of a network and the gradient of its input: straight to y.

The sum:       y[n, m, o] = init + sum over (c, k) of x[n, c, i(o, k)] * w[m, c, k], for each group, never cut.
The schedule:  a thread copies the rows of x under some output rows once (_strip.pxd). A tile of sums stays in registers
               while all products pass by: neighbouring pixels by output channels in vectors where channels are
               neighbours in y (`flat`: the pixels are broadcast), output channels by vectors of pixels where pixels
               are. The products of a tile lie at the same places in the strip for every tile, and the weights are packed
               in the order of the tile, so that nothing but two addresses changes from tile to tile: with 27 products
               what is around a tile costs as much as the tile itself.
Points:        or, down the columns, Winograd's lines (`_points.pxd`): the rows under some rows of outputs, and a column
               of taps, are turned into as many rows, and weights, as there are points. A tile at each point, its sums
               kept aside; these are combined into the rows of outputs. Rows have phases if they have a stride: each is
               a column of taps of its own, summed as channels are. What no output asks for is zero.
Edges:         taps that read nothing read zeros of the strip; where such a tile has sums that are not finite, and
               wherever points have them, these are done again by the definition. Tiles that are not whole go through
               a copy.
Assumes:       weights shared by all outputs (no w stride along o); with points, no dilation down the columns.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, TR, TV, LR, LV, v_load, v_store, v_set, v_store_second, v_copy, spoiled, v_spoiled
from _nest cimport Nest, Window, Box, address, exact, whole, PyBytes_AS_STRING
from _pack cimport Job
from _points cimport EVALUATE, Line, line_of, transform_lines, interpolate_lines, finish_lines
from _strip cimport STRIP, Strip, strip_of, fill_strip, taps_absent
from _thin cimport FLAT, ROWS, MOST, Tile, dispatch, height, vectors, up

cdef enum:
    WIDEST = 480     # columns of a strip, as in gemm
    LONGEST = 1344   # pixels of a block
    PART = 7         # vectors of a part of a row, at least
    POINTS = 6       # at most, and OUTS rows of outputs and of taps
    OUTS = 5

LANES = V
SHAPES = (TR, TV), (MR, 3), (LR, LV)  # of FLAT, ROWS and LOW


ctypedef struct Layer:
    Job packing         # what a strip needs
    Box box             # all products
    const Nest* nest
    const real* x
    const real* w
    const real* packed  # weights: group, unit of channels, point, product, channels of the unit
    const real* init    # one value a channel, and zeros up to whole units
    real* y
    bint first, unsafe  # weights that are not finite must not meet zeros in the place of what is not there
    int kind
    Line tall           # rows of outputs that are done together, and their points
    Py_ssize_t depth, lines             # products of a point; channels of a group, whole units
    Py_ssize_t rows, columns            # of a block
    Py_ssize_t down, across             # blocks of an image
    Py_ssize_t y_row, y_lane            # steps of the rows of a tile and of its lanes in y
    Py_ssize_t values, at_points, sums  # of a strip, of one at the points, of a tile at the points and its outputs
    Py_ssize_t size                     # bytes of a thread's scratch


# ---- weights

cdef inline Py_ssize_t unit_at(const Layer* job, Py_ssize_t m) noexcept nogil:
    """Channels of the unit that starts at m."""
    return vectors(FLAT, job.lines - m)*V if job.kind == FLAT else height(job.kind)


cdef bint take(const Layer* job, const real* w, Py_ssize_t count, Py_ssize_t unit, real* to) noexcept nogil:
    """One tap of `count` channels of a unit, zeros for the others; whether some are not finite."""
    cdef bint bad = False
    cdef Py_ssize_t i
    for i in range(count):
        to[i] = w[i*job.nest.wm]
        bad |= spoiled(to[i])
    for i in range(count, unit):
        to[i] = 0
    return bad


cdef bint pack(const Layer* job, Py_ssize_t g, real* to) noexcept nogil:
    """The weights of a group in the order in which tiles meet them, or what they are at the points: there each phase of
    rows has a column of taps. Whether some weights are not finite."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const real* w
    cdef Py_ssize_t m = 0, unit, count, wide, c, k0, k1, k2, phase, q, i
    cdef Py_ssize_t phases = b.taps if job.tall.points == 1 else min(b.stride, b.taps)
    cdef real taps[OUTS*MOST*V]
    cdef real turned[POINTS*MOST*V]
    cdef bint bad = False
    while m < job.lines:
        unit = unit_at(job, m)
        count, wide = min(unit, nest.m - m), up(unit, V)
        for c in range(nest.c):
            for k0 in range(nest.axis[0].taps):
                for phase in range(phases):
                    for k2 in range(nest.axis[2].taps):
                        w = job.w + g*nest.wg + m*nest.wm + c*nest.wc + k0*nest.axis[0].ws + k2*nest.axis[2].ws
                        if job.tall.points == 1:
                            bad |= take(job, w + phase*b.ws, count, unit, to)
                            to += unit
                            continue
                        for q in range(job.tall.taps):
                            k1 = phase + q*b.stride
                            bad |= take(job, w + k1*b.ws, count if k1 < b.taps else 0, wide, taps + q*wide)
                        transform_lines(EVALUATE, job.tall.points, job.tall.taps, taps, wide, V, turned, wide, V,
                                        wide//V, True)
                        for q in range(job.tall.points):
                            for i in range(unit):
                                to[q*job.depth*unit + i] = turned[q*wide + i]
                        to += unit
        to += (job.tall.points - 1)*job.depth*unit
        m += unit
    return bad


# ---- tiles

cdef void multiply(const Tile* t, int kind, int nv) noexcept nogil:
    """A tile of outputs."""
    dispatch(t, False, kind, nv)


cdef void multiply_bare(const Tile* t, int kind, int nv) noexcept nogil:
    """A tile of sums, at each point, one after another."""
    dispatch(t, True, kind, nv)


cdef void mend(const Layer* job, real* sums, const real* x, Py_ssize_t g, Py_ssize_t m, const Py_ssize_t* at,
               Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t width) noexcept nogil:
    """Sums that are not finite, by the definition."""
    cdef Py_ssize_t i, j
    cdef bint flat = job.kind == FLAT
    for i in range(rows):
        for j in range(columns):
            if spoiled(sums[i*width + j]):
                sums[i*width + j] = exact(
                    job.nest, &job.box, x, job.w + g*job.nest.wg + (m + (j if flat else i))*job.nest.wm, at[1], at[2],
                    at[3] + (i if flat else j), 0, job.packing.cval)


cdef void put(const Layer* job, const Tile* t, const real* sums, real* y, Py_ssize_t rows, Py_ssize_t columns,
              int nv) noexcept nogil:
    """`rows` x `columns` sums of a tile into y."""
    cdef real part[V]
    cdef vreal values
    cdef real* line
    cdef Py_ssize_t i, j, k, left, width = nv*V
    cdef bint flat = job.kind == FLAT
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


cdef void aside(const Layer* job, Tile* t, const real* x, Py_ssize_t g, Py_ssize_t m, const Py_ssize_t* at, real* y,
                Py_ssize_t rows, Py_ssize_t columns, int nv, bint absent) noexcept nogil:
    """A tile of which `rows` x `columns` belong to y, or in which some taps read nothing."""
    cdef real sums[MOST*V]
    t.to, t.y = sums, t.to
    multiply_bare(t, job.kind, nv)
    if absent:
        mend(job, sums, x, g, m, at, rows, columns, nv*V)
    put(job, t, sums, y, rows, columns, nv)


cdef bint outputs(const Layer* job, const Tile* t, const real* sums, int nv, real* to, Py_ssize_t row,
                  const real* init) noexcept nogil:
    """The sums of a tile at all points become its rows of outputs, `t.next` apart; whether some are not finite. One
    function for all tiles: a compiler may contract products and sums otherwise in the next one, which changes bits."""
    cdef Py_ssize_t i, width = nv*V, rows = height(job.kind)
    cdef bint flat = job.kind == FLAT
    cdef vreal bad = v_set(0)
    for i in range(rows):
        bad = bad + finish_lines(&job.tall, sums + i*width, rows*width, V, to + i*row, t.next, V, nv,
                                 init + (0 if flat else i*V), V if flat else 0)
    return v_spoiled(bad)


cdef void pointwise(const Layer* job, Tile* t, Py_ssize_t pitch, real* sums, const real* x, Py_ssize_t g, Py_ssize_t m,
                    Py_ssize_t* at, real* y, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t outs, bint straight,
                    int nv) noexcept nogil:
    """A tile of which `outs` rows of `rows` x `columns` outputs belong to y; straight: all of them."""
    cdef real* done = sums + POINTS*MOST*V
    cdef real* init = done + OUTS*MOST*V
    cdef Py_ssize_t q, i, each = height(job.kind)*nv*V
    t.to, t.times, t.pitch = sums, job.tall.points, pitch
    t.y, t.rows, t.next = y, outs, job.nest.axis[1].ys
    multiply_bare(t, job.kind, nv)
    for i in range(nv if job.kind == FLAT else height(job.kind)):
        v_store(init + i*V, v_load(t.init + i*V) if job.kind == FLAT else v_set(t.init[i]))
    if straight and not outputs(job, t, sums, nv, y, job.y_row, init):
        return
    t.next = each
    for i in range(MOST*V):
        init[i] = 0
    if outputs(job, t, sums, nv, done, nv*V, init):
        for q in range(outs):
            mend(job, done + q*each, x, g, m, at, rows, columns, nv*V)
            at[2] += 1
        at[2] -= outs
    for q in range(outs):
        put(job, t, done + q*each, y + q*job.nest.axis[1].ys, rows, columns, nv)


cdef void line(const Layer* job, const real* strip, Py_ssize_t pitch, real* sums, const Py_ssize_t* where,
               const real* x, real* y, Py_ssize_t g, Py_ssize_t* at, Py_ssize_t columns, Py_ssize_t outs,
               bint absent) noexcept nogil:
    """All channels of `columns` pixels of `outs` rows, from `at` on. x: of this image and group; y: of these pixels, too;
    pitch: from a point to the next."""
    cdef Py_ssize_t m = 0, o, unit, count, wide, most, number, first = at[3], rows, width
    cdef bint flat = job.kind == FLAT, straight
    cdef int nv = 0
    cdef char lacks[WIDEST]
    cdef Tile t
    t.where, t.depth, t.add, t.times, t.pitch, t.rows = where, job.depth, not job.first, 1, 0, 1
    while m < job.nest.m:
        unit = unit_at(job, m)
        if flat:
            nv = unit//V
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
            t.w, t.init = job.packed + (g*job.lines + m)*job.tall.points*job.depth, job.init + g*job.lines + m
            t.to, t.step = y + m*job.nest.ym + o*job.nest.axis[2].ys, job.y_row
            straight = count == unit and most == wide and job.y_lane == 1 and not lacks[number]
            rows, width = (most, count) if flat else (count, most)
            if job.tall.points > 1:
                pointwise(job, &t, pitch, sums, x, g, m, at, t.to, rows, width, outs,
                          straight and outs == job.tall.outs and not t.add, nv)
            elif straight:
                multiply(&t, job.kind, nv)
            else:
                aside(job, &t, x, g, m, at, t.to, rows, width, nv, lacks[number])
            o += wide
            number += 1
        m += unit
    at[3] = first


# ---- blocks

cdef void spread(const Layer* job, const Strip* strip, const real* lines, Py_ssize_t row, Py_ssize_t pitch,
                 real* to) noexcept nogil:
    """The rows under the next rows of outputs, from `row` of a strip, at the points: (plane, phases, point, column)."""
    cdef const Window* b = &job.nest.axis[1]
    cdef Py_ssize_t points = job.tall.points, planes = job.nest.c*job.nest.axis[0].taps, plane, q, p, i, j, count
    cdef real some[POINTS*V]
    lines += row*strip.pitch
    for plane in range(planes*strip.downs):
        q = plane % strip.downs
        count = min(job.tall.outs + (b.taps - q + b.stride - 1)//b.stride - 1, strip.high - row)
        for p in range(strip.phases):
            if count >= points:
                interpolate_lines(&job.tall, lines, strip.pitch, V, to, pitch, V, pitch//V)
            else:
                for i in range(count, points):
                    v_store(some + i*V, v_set(0))
                for j in range(pitch//V):
                    for i in range(count):
                        v_store(some + i*V, v_load(lines + i*strip.pitch + j*V))
                    interpolate_lines(&job.tall, some, V, V, to + j*V, pitch, V, 1)
            lines += strip.high*strip.pitch
            to += points*pitch


cdef void places(const Layer* job, const Strip* strip, Py_ssize_t pitch, Py_ssize_t* where) noexcept nogil:
    """Where the products of a point lie in what `spread` writes."""
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t plane, k, p
    for plane in range(job.nest.c*job.nest.axis[0].taps*strip.downs):
        for k in range(d.taps):
            p = d.dilation*k
            where[0] = (plane*strip.phases + p % d.stride)*job.tall.points*pitch + p//d.stride
            where += 1


cdef void block(const Layer* job, Py_ssize_t number, char* memory) noexcept nogil:
    """Some rows of some columns of one image, group and outermost position."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef real* values = <real*>memory
    cdef real* turned = values + job.values
    cdef real* sums = turned + job.at_points
    cdef Py_ssize_t* where = <Py_ssize_t*>(sums + job.sums)
    cdef Py_ssize_t q = number % job.across, r, g, last, outs, units = (b.out + job.tall.outs - 1)//job.tall.outs, pitch
    cdef Py_ssize_t at[4]
    cdef Strip strip
    cdef bint absent
    cdef const real* x
    cdef real* y
    number = number // job.across
    at[3] = q*job.columns
    r = number % job.down
    number = number // job.down
    at[2], last = r*units//job.down*job.tall.outs, min((r + 1)*units//job.down*job.tall.outs, b.out)
    at[1] = number % nest.axis[0].out
    number = number // nest.axis[0].out
    g, at[0] = number % nest.g, number // nest.g
    strip_of(nest, b.taps, d.taps, last - at[2], min(job.columns, d.out - at[3]), job.columns, &strip)
    x = job.x + at[0]*nest.xn + g*nest.xg
    absent = fill_strip(&job.packing, x, &job.box, &strip, at, values, where) and job.unsafe
    y = job.y + at[0]*nest.yn + g*nest.yg + at[1]*nest.axis[0].ys + at[3]*d.ys
    pitch = up(strip.pitch, V)
    if job.tall.points > 1:
        places(job, &strip, pitch, where)
    r = 0
    while r < strip.rows:
        outs = min(job.tall.outs, strip.rows - r)
        if job.tall.points > 1:
            spread(job, &strip, values, r, pitch, turned)
            line(job, turned, pitch, sums, where, x, y + at[2]*b.ys, g, at, strip.columns, outs, False)
        else:
            line(job, values + r*strip.pitch, 0, sums, where, x, y + at[2]*b.ys, g, at, strip.columns, outs, absent)
        at[2] += outs
        r += outs


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
    rows = max(min(min(rows, LONGEST//columns), b.out)//job.tall.outs, <Py_ssize_t>1)*job.tall.outs
    job.down = (b.out + rows - 1)//rows
    strip_of(nest, b.taps, d.taps, rows, columns, job.columns, &strip)
    return <double>strip.plane/(rows*columns)


cdef void cut(Layer* job, int threads) noexcept nogil:
    """Blocks: a strip of some rows, of parts of rows where much less is copied then; a few for each thread."""
    cdef const Nest* nest = job.nest
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t others = nest.n*nest.g*nest.axis[0].out, across = (d.out + WIDEST - 1)//WIDEST, best, parts, rows
    cdef Py_ssize_t units = (b.out + job.tall.outs - 1)//job.tall.outs
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
        job.down = max(job.down, min(min((b.out + b.taps)//(b.taps + 1), units),
                                     (parts + others*job.across - 1)//(others*job.across)))
    rows = (units + job.down - 1)//job.down*job.tall.outs
    strip_of(nest, b.taps, d.taps, rows, min(job.columns, d.out), job.columns, &strip)
    job.values = up(nest.c*nest.axis[0].taps*strip.plane + MOST*V, V)
    job.at_points, job.sums = 0, 0
    if job.tall.points > 1:
        job.at_points = nest.c*nest.axis[0].taps*strip.downs*strip.phases*job.tall.points*up(strip.pitch, V) + MOST*V
        job.sums = (POINTS + OUTS + 1)*MOST*V
    job.size = up((job.values + job.at_points + job.sums)*<Py_ssize_t>sizeof(real)
                  + nest.c*job.box.k1[0]*job.box.k1[1]*job.box.k1[2]*<Py_ssize_t>sizeof(Py_ssize_t), 64)


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, int kind, Py_ssize_t points,
        int threads):
    """y of one nest; kind: of SHAPES, in their order; points: down the columns, 1 for none."""
    cdef Layer job
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef Py_ssize_t unit, size, t, m, tasks, taps
    cdef const real* bias = NULL if bias_array is None or not first else address(bias_array)
    cdef real* to
    cdef char* memory
    job.nest, job.packing.nest, job.kind, job.first = nest, nest, FLAT + kind, first
    job.packing.cval, job.packing.channel_last = address(cval_array)[0], False
    job.x, job.w, job.y = address(x_array) + nest.x0, address(w_array) + nest.w0, address(y_array) + nest.y0
    whole(nest, &job.box)
    taps = 1 if points == 1 else (nest.axis[1].taps + nest.axis[1].stride - 1)//nest.axis[1].stride
    if 1 < points <= taps:  # no two outputs
        raise ValueError(f"{points} points for {taps} taps")
    line_of(&job.tall, points, taps)
    job.depth = nest.c*nest.axis[0].taps*nest.axis[2].taps
    job.depth *= nest.axis[1].taps if points == 1 else min(nest.axis[1].stride, nest.axis[1].taps)
    job.lines = up(nest.m, V if job.kind == FLAT else height(job.kind))
    job.y_row, job.y_lane = nest.ym, nest.axis[2].ys
    if job.kind == FLAT:
        job.y_row, job.y_lane = job.y_lane, job.y_row
    cut(&job, threads)
    unit = job.lines*points*job.depth
    size = up(nest.g*(unit + job.lines)*<Py_ssize_t>sizeof(real), 64)
    cdef void* scratch = malloc(size + threads*job.size + 64)
    if scratch == NULL:
        raise MemoryError("scratch of the thin kernel")
    memory = <char*>scratch + (64 - <Py_ssize_t>(<size_t>scratch % 64))
    to = <real*>memory
    job.packed, job.init = to, to + nest.g*unit
    job.unsafe = False
    with nogil:
        for t in range(nest.g):
            job.unsafe |= pack(&job, t, to + t*unit)
            for m in range(job.lines):
                to[nest.g*unit + t*job.lines + m] = 0 if bias == NULL or m >= nest.m else bias[t*nest.m + m]
    job.unsafe = job.unsafe and job.packing.cval == 0
    memory += size
    tasks = nest.n*nest.g*nest.axis[0].out*job.down*job.across
    # guided: a thread's blocks are neighbours, and so are the lines of y that it writes
    for t in prange(tasks, nogil=True, num_threads=threads, schedule='guided'):
        block(&job, t, memory + threadid()*job.size)
    free(scratch)
