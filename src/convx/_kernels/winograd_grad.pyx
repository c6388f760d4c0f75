"""The gradient of 3x3 weights by Winograd's tiles: 36 products for 9 outputs and a 4x4 piece of dy (not 144).

The sum:       as the nest has it, y[n, m, o0, o1, o2] = init + sum over c and k of x[n, c, i(o, k)] * w[m, c, k], with
               1 to 5 outputs along the last two windows, stride 1 and dilation 1. Its outputs are the taps of a layer,
               its taps the layer's outputs: `survey_layer` exchanges them back; from then on x, w and dy are the
               layer's. A tile is a piece of dy and what it reads of x (the table in `_points.pxd`; 4 x 4 and 6 x 6 for
               3 x 3 taps and 6 points):  dw = GT [sum over tiles of (A dy AT) * (BT x B)] G.
The schedule:  for a block of tiles V = BT x B (rows: k0 and c) and D = A dy AT (vectors along m), then a product of V
               turned with D. `own`, for few channels: the tiles are cut into parts, a thread sums the blocks of a
               part that stay in L2 and keeps the nine taps of the part; all parts are added in their order.
               `shared`: V and D of a block are made once for all, threads take rows and columns. Either the products
               of all of them are kept from block to block (one part), or the taps of each block are added to dw.
Bits:          parts and blocks are given by the caller, who knows neither threads nor the number of rows.
Not finite:    what a part or a block adds to a tap and is not finite is done again by the definition.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, v_load, v_store, v_set, spoiled, v_spoiled
from _nest cimport Nest, Box, address, exact, PyBytes_AS_STRING
from _pack cimport NV, panels, panel_start
from _points cimport COMBINE, Line, line_of, transform_lines
from _taps cimport Order, order_taps, gather, scatter
from _products cimport products
from _winograd cimport (MOST_Q, TALL, WIDE, CHUNK, LIMIT, Job, Slice, Run, survey, slice_at, run_at, odd_lines, aligned,
                        transform_tiles)

cdef enum:
    ROWS_AT_ONCE = 64   # rows and
    PANELS_AT_ONCE = 2  # panels of a task of `shared`: their products stay in L2

LANES, ROWS = V, MR


ctypedef struct Gradient:
    const Nest* nest     # the caller's: its outputs are the taps
    Nest layer           # of x, and of w where dw has its place
    Nest above           # dy as an input of single taps
    Line line[2]
    Py_ssize_t q         # products of a tile, row and column
    Job x
    Job dy
    Order order
    real* dw
    const real* bias
    bint first
    Py_ssize_t rows, vectors    # of all dw: (k0, c), and vectors of m


ctypedef struct Part:
    # Tiles tile .. tile + count of a group with a slice of rows and some panels of columns.
    Py_ssize_t g, tile, count, number, p0, p1


ctypedef struct Shared:
    # Of `shared`: the block (its number, of how many) and its transforms; rows and panels of a task, tasks across,
    # products of a task, whether each task keeps its own for all blocks; room for each thread.
    Part part
    Py_ssize_t number, blocks, tall, wide, across, each
    bint keep
    real* v
    real* d
    real* p
    real* room


cdef void survey_layer(Gradient* job, const Nest* nest, Py_ssize_t down, Py_ssize_t across) noexcept nogil:
    """The layer whose weight gradient the nest is."""
    cdef Nest* to = &job.layer
    cdef Nest* dy = &job.above
    cdef int a
    job.nest = nest
    to.n, to.g, to.c, to.m = nest.c, nest.g, nest.n, nest.m
    to.xn, to.xg, to.xc = nest.xc, nest.xg, nest.xn
    to.wg, to.wm, to.wc = nest.yg, nest.ym, nest.yn
    for a in range(3):
        to.axis[a] = nest.axis[a]
        to.axis[a].out, to.axis[a].taps = nest.axis[a].taps, nest.axis[a].out
        to.axis[a].stride, to.axis[a].dilation = nest.axis[a].dilation, nest.axis[a].stride
        to.axis[a].ws = nest.axis[a].ys
        dy.axis[a] = to.axis[a]
        dy.axis[a].size, dy.axis[a].taps, dy.axis[a].stride = to.axis[a].out, 1, 1
        dy.axis[a].offset, dy.axis[a].boundary, dy.axis[a].xs = 0, 0, nest.axis[a].ws
    dy.n, dy.g, dy.c = nest.c, nest.g, nest.m
    dy.xn, dy.xg, dy.xc = nest.wc, nest.wg, nest.wm
    to.x0, dy.x0 = 0, 0  # of the arrays that they are given
    order_taps(to, to, 1, &job.order)
    line_of(&job.line[0], down, to.axis[1].taps)
    line_of(&job.line[1], across, to.axis[2].taps)
    job.q = down*across
    survey(&job.dy, dy, 1, job.line, dy.c)
    job.rows, job.vectors = to.axis[0].taps*to.c, (to.m + V - 1) // V


cdef void transform_x(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t number, real* strip,
                      real* to) noexcept nogil:
    transform_tiles(job, g, tile, count, number, strip, to, True)


cdef void transform_dy(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, real* strip,
                       real* to) noexcept nogil:
    transform_tiles(job, g, tile, count, 0, strip, to, False)


# ---- products

cdef inline Py_ssize_t p_plane(Py_ssize_t rows) noexcept nogil:
    """Step of the products of a panel from one point to the next."""
    return odd_lines((rows + MR - 1) // MR*MR*NV*V)


cdef void multiply(const Gradient* job, const Part* part, const real* v, const real* d, Py_ssize_t rows, real* p,
                   bint add) noexcept nogil:
    """p (panel, point, row, lane) = or += the sum over tiles of V (point, tile, row) times D (point, tile, column)."""
    cdef Py_ssize_t q, panel, plane = p_plane(rows), start
    for q in range(job.q):
        for panel in range(part.p0, part.p1):
            start = panel_start(job.layer.m, panel)
            products(part.count, v + q*job.x.plane, job.x.row, rows, d + q*job.dy.plane + start, job.dy.row,
                     panel_start(job.layer.m, panel + 1) - start, p + (job.q*(panel - part.p0) + q)*plane, add, 0, NULL, True)


# ---- taps

cdef inline bint back(const Gradient* job, const real* p, Py_ssize_t plane, real* to) noexcept nogil:
    """One row and V columns: (point, lane) -> (tap, lane); whether all is finite."""
    cdef const Line* down = &job.line[0]
    cdef const Line* across = &job.line[1]
    cdef const Order* order = &job.order
    cdef real middle[MOST_Q*V]
    cdef vreal bad = v_set(0)
    cdef Py_ssize_t i
    transform_lines(COMBINE, down.points, down.taps, p, across.points*plane, plane, middle, across.points*V, V,
                    across.points, True)
    transform_lines(COMBINE, across.points, across.taps, middle, V, across.points*V, to + order.first*V, order.s2*V,
                    order.s1*V, down.taps, True)
    for i in range(order.taps):
        bad += v_load(to + i*V)*0
    return not v_spoiled(bad)


cdef real defined(const Gradient* job, const Part* part, Py_ssize_t k0, Py_ssize_t c, Py_ssize_t m, Py_ssize_t k1,
                  Py_ssize_t k2) noexcept nogil:
    """What a part adds to one tap, by the definition."""
    cdef const Nest* nest = job.nest
    cdef const real* x = job.x.x + part.g*nest.xg + c*nest.xn
    cdef const real* dy = job.dy.x + part.g*nest.wg + m*nest.wm
    cdef Py_ssize_t done = 0
    cdef real total = 0
    cdef Box box
    cdef Run run
    while done < part.count and total == total:  # nan stays nan
        run_at(&job.dy, part.tile + done, part.count - done, &run)
        box.c0, box.c1 = run.n, run.n + 1
        box.k0[0], box.k1[0] = run.o0, run.o0 + 1
        box.k0[1], box.k1[1] = run.o1, run.o1 + run.rows
        box.k0[2], box.k1[2] = run.o2, run.o2 + run.columns
        total = exact(nest, &box, x, dy, k0, k1, k2, total, job.x.cval)
        done += run.length
    return total


cdef void mend(const Gradient* job, const Part* part, Py_ssize_t k0, Py_ssize_t c, Py_ssize_t m,
               real* taps) noexcept nogil:
    """The sums among the taps and V columns that are not finite, by the definition."""
    cdef Py_ssize_t lane, k1, k2, at
    for k1 in range(job.order.t1):
        for k2 in range(job.order.t2):
            for lane in range(min(<Py_ssize_t>V, job.layer.m - m)):
                at = (job.order.first + k1*job.order.s1 + k2*job.order.s2)*V + lane
                if spoiled(taps[at]):
                    taps[at] = defined(job, part, k0, c, m + lane, k1, k2)


cdef void deliver(const Gradient* job, Py_ssize_t g, Py_ssize_t k0, Py_ssize_t c, Py_ssize_t channels, Py_ssize_t m,
                  bint add, real* taps, real* room) noexcept nogil:
    """(channel, tap, lane) into dw, or added to what is there."""
    cdef const Nest* nest = &job.layer
    cdef Py_ssize_t lanes = min(<Py_ssize_t>V, nest.m - m), i
    cdef real* dw = job.dw + g*nest.wg + k0*nest.axis[0].ws + c*nest.wc + m*nest.wm
    if add:
        gather(nest, &job.order, dw, lanes, channels, room)
    elif job.bias != NULL:
        for i in range(lanes):
            room[i] = job.bias[g*nest.m + m + i]
        for i in range(1, job.order.taps*channels):
            v_store(room + i*V, v_load(room))
    if add or job.bias != NULL:
        for i in range(job.order.taps*channels):
            v_store(taps + i*V, v_load(room + i*V) + v_load(taps + i*V))
    scatter(nest, &job.order, taps, lanes, channels, dw)


cdef void finish(const Gradient* job, const Part* part, Py_ssize_t r0, Py_ssize_t r1, const real* p, bint add,
                 real* sums, real* room) noexcept nogil:
    """The products of rows r0 .. r1 become taps: kept in `sums` (vector, row, tap, lane), or without it put into dw."""
    cdef Py_ssize_t plane = p_plane(r1 - r0), taps = job.order.taps, c = job.layer.c, panel, width, m, v, r, i, channels
    cdef const real* from_
    cdef real* to
    for panel in range(part.p0, part.p1):
        width = panel_start(job.layer.m, panel + 1) - panel_start(job.layer.m, panel)
        for v in range(width // V):
            m = panel_start(job.layer.m, panel) + v*V
            from_ = p + (panel - part.p0)*job.q*plane + v*V
            r = r0
            while r < r1:
                channels = min(min(job.x.chunk, c - r % c), r1 - r)
                to = room if sums == NULL else sums + (m // V*job.rows + r)*taps*V
                for i in range(channels):
                    if not back(job, from_ + (r - r0 + i)*width, plane, to + taps*i*V):
                        mend(job, part, r // c, r % c + i, m, to + taps*i*V)
                if sums == NULL:
                    deliver(job, part.g, r // c, r % c, channels, m, add, to, room + CHUNK*V)
                r += channels


# ---- schedules

cdef inline Py_ssize_t first_row(const Job* job, Py_ssize_t number, Py_ssize_t* rows) noexcept nogil:
    """The first row of a slice, and how many there are."""
    cdef Slice part
    rows[0] = slice_at(job, number, &part)
    return part.k0*job.nest.c + part.c0


cdef int own(Gradient* job, Py_ssize_t parts, Py_ssize_t block, int threads) noexcept nogil:
    """Threads have parts, and slices of rows where there are more threads than parts; 1 if there was no memory."""
    cdef Py_ssize_t each = job.order.taps*V*job.rows*job.vectors, channels = panels(job.layer.m), groups = job.layer.g
    cdef Py_ssize_t most, t, size
    cdef char* memory
    cdef real* sums
    cdef real* scratch
    most = LIMIT // (job.q*<Py_ssize_t>sizeof(real)*max(block, V*job.vectors)*threads)
    if groups*parts < threads:
        most = min(most, job.rows*groups*parts // threads)
    survey(&job.x, &job.layer, 1, job.line, max(most, <Py_ssize_t>MR))
    block = min(block, (job.x.tiles + parts - 1) // parts)
    job.x.plane, job.dy.plane = odd_lines(block*job.x.row), odd_lines(block*job.dy.row)
    size = odd_lines(job.q*(job.x.plane + job.dy.plane + channels*p_plane(job.x.depth)) + TALL*WIDE*V + 2*CHUNK*V)
    memory = <char*>malloc((size*threads + groups*parts*each)*sizeof(real) + 64)
    if memory == NULL:
        return 1
    scratch = aligned(memory)
    sums = scratch + size*threads
    for t in prange(groups*parts*job.x.slices, num_threads=threads, schedule='dynamic'):
        own_task(job, parts, block, t, sums, scratch + threadid()*size)
    for t in prange(groups*job.vectors*job.layer.axis[0].taps, num_threads=threads, schedule='static'):
        add_parts(job, parts, t, sums, scratch + threadid()*size)
    free(memory)
    return 0


cdef void own_task(const Gradient* job, Py_ssize_t parts, Py_ssize_t block, Py_ssize_t number, real* sums,
                   real* scratch) noexcept nogil:
    """A slice of rows in a part of the tiles, block by block."""
    cdef Py_ssize_t of = number // job.x.slices % parts, start = of*job.x.tiles // parts, rows, r0, blocks, b
    cdef Py_ssize_t count = (of + 1)*job.x.tiles // parts - start
    cdef real* v = scratch
    cdef real* d = v + job.q*job.x.plane
    cdef real* strip = d + job.q*job.dy.plane
    cdef real* p = strip + TALL*WIDE*V + 2*CHUNK*V
    cdef Part part
    part.g, part.number = number // job.x.slices // parts, number % job.x.slices
    part.p0, part.p1 = 0, panels(job.layer.m)
    r0 = first_row(&job.x, part.number, &rows)
    blocks = max(<Py_ssize_t>1, (count + block - 1) // block)
    for b in range(blocks):
        part.tile = start + b*count // blocks
        part.count = start + (b + 1)*count // blocks - part.tile
        transform_x(&job.x, part.g, part.tile, part.count, part.number, strip, v)
        transform_dy(&job.dy, part.g, part.tile, part.count, strip, d)
        multiply(job, &part, v, d, rows, p, b > 0)
    part.tile, part.count = start, count
    finish(job, &part, r0, r0 + rows, p, False, sums + (part.g*parts + of)*job.order.taps*V*job.rows*job.vectors, strip)


cdef void add_parts(const Gradient* job, Py_ssize_t parts, Py_ssize_t number, const real* sums,
                    real* room) noexcept nogil:
    """The parts of V columns and all channels of a tap k0, in their order, into dw."""
    cdef Py_ssize_t each = job.order.taps*V*job.rows*job.vectors, planes = job.layer.axis[0].taps
    cdef Py_ssize_t c = 0, channels, part, i
    cdef Py_ssize_t k0 = number % planes, v = number // planes % job.vectors, g = number // planes // job.vectors
    cdef const real* p
    cdef vreal total
    while c < job.layer.c:
        channels = min(job.x.chunk, job.layer.c - c)
        p = sums + g*parts*each + (v*job.rows + k0*job.layer.c + c)*job.order.taps*V
        for i in range(job.order.taps*channels):
            total = v_load(p + i*V)
            for part in range(1, parts):
                total = total + v_load(p + part*each + i*V)
            v_store(room + i*V, total)
        deliver(job, g, k0, c, channels, v*V, not job.first, room, room + CHUNK*V)
        c += channels


cdef int shared(Gradient* job, bint keep, Py_ssize_t block, int threads) noexcept nogil:
    """Blocks of tiles one after the other, their transforms made by all threads; 1 if there was no memory."""
    cdef Py_ssize_t blocks = max(<Py_ssize_t>1, (job.dy.tiles + block - 1) // block), channels = panels(job.layer.m)
    cdef Py_ssize_t most, t, s, b, rows, across, tall = ROWS_AT_ONCE, wide = PANELS_AT_ONCE, size, tasks
    cdef char* memory
    cdef Shared to
    block = (job.dy.tiles + blocks - 1) // blocks
    most = LIMIT // (job.q*<Py_ssize_t>sizeof(real)*max(block, V*job.vectors if keep else <Py_ssize_t>1))
    survey(&job.x, &job.layer, 1, job.line, max(most, <Py_ssize_t>MR))
    job.x.plane, job.dy.plane = odd_lines(block*job.x.row), odd_lines(block*job.dy.row)
    if keep:
        tall, wide = (job.x.depth + MR - 1) // MR*MR, channels
    across = (channels + wide - 1) // wide
    while threads > 1 and tall > MR and (job.x.depth + tall - 1) // tall*across < 4*threads:
        tall = (tall // 2 + MR - 1) // MR*MR
    tasks = (job.x.depth + tall - 1) // tall*across
    to.tall, to.wide, to.across, to.keep, to.blocks = tall, wide, across, keep, blocks
    to.each = job.q*wide*p_plane(tall)
    size = TALL*WIDE*V + 2*CHUNK*V
    memory = <char*>malloc((job.q*(job.x.plane + job.dy.plane) + threads*size
                            + (tasks if keep else threads)*to.each)*sizeof(real) + 64)
    if memory == NULL:
        return 1
    to.v = aligned(memory)
    to.d = to.v + job.q*job.x.plane
    to.p = to.d + job.q*job.dy.plane
    to.room = to.p + (tasks if keep else threads)*to.each
    for s in range(job.layer.g*job.x.slices):
        to.part.g, to.part.number = s // job.x.slices, s % job.x.slices
        first_row(&job.x, to.part.number, &rows)
        for b in range(blocks):
            to.number, to.part.tile = b, b*job.dy.tiles // blocks
            to.part.count = (b + 1)*job.dy.tiles // blocks - to.part.tile
            for t in prange((to.part.count + job.x.run - 1) // job.x.run*2, num_threads=threads, schedule='static'):
                shared_transform(job, &to, t // 2*job.x.run, t % 2, to.room + threadid()*size)
            for t in prange((rows + tall - 1) // tall*across, num_threads=threads, schedule='dynamic'):
                shared_task(job, &to, t, rows, to.p + (t if keep else threadid())*to.each,
                            to.room + threadid()*size)
    free(memory)
    return 0


cdef void shared_transform(const Gradient* job, const Shared* to, Py_ssize_t start, bint dy,
                           real* strip) noexcept nogil:
    """A run of tiles of the block."""
    cdef const Part* part = &to.part
    cdef Py_ssize_t count = min(job.x.run, part.count - start)
    if dy:
        transform_dy(&job.dy, part.g, part.tile + start, count, strip, to.d + start*job.dy.row)
    else:
        transform_x(&job.x, part.g, part.tile + start, count, part.number, strip, to.v + start*job.x.row)


cdef void shared_task(const Gradient* job, const Shared* to, Py_ssize_t task, Py_ssize_t rows, real* p,
                      real* room) noexcept nogil:
    """Some rows of the slice in some panels: the products of a block, and the taps if they are not to be kept."""
    cdef Py_ssize_t r0 = task // to.across*to.tall, r1 = min(r0 + to.tall, rows), all_rows
    cdef Py_ssize_t start = first_row(&job.x, to.part.number, &all_rows)
    cdef Part part = to.part
    part.p0 = task % to.across*to.wide
    part.p1 = min(part.p0 + to.wide, panels(job.layer.m))
    multiply(job, &part, to.v + r0, to.d, r1 - r0, p, to.keep and to.number > 0)
    if to.keep:
        if to.number < to.blocks - 1:
            return
        part.tile, part.count = 0, job.x.tiles
    finish(job, &part, start + r0, start + r1, p, (to.number > 0 and not to.keep) or not job.first, NULL, room)


# ---- entry

def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, Py_ssize_t parts, Py_ssize_t block,
        Py_ssize_t down, Py_ssize_t across, int threads):
    """y of one nest; block: tiles whose products are summed at a time; parts: the sums that the blocks go into before
    they become taps, 0: each block by itself; down, across: the points along the last two windows."""
    cdef Gradient job
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef Py_ssize_t sums
    cdef int failed
    if not nest.n*nest.g*nest.m*nest.axis[0].out:
        return
    survey_layer(&job, nest, down, across)
    job.x.x, job.x.cval = address(x_array) + nest.x0, address(cval_array)[0]
    job.dy.x, job.dy.cval = address(w_array) + nest.w0, 0
    job.dw, job.first, job.bias = address(y_array) + nest.y0, first, NULL
    if bias_array is not None and first:
        job.bias = address(bias_array)
    sums = job.layer.g*job.order.taps*V*job.rows*job.vectors*<Py_ssize_t>sizeof(real)
    with nogil:
        if parts > 1 or (parts == 1 and job.layer.g >= max(threads, 2) and sums <= LIMIT):  # the same bits either way
            failed = own(&job, parts, block, threads)
        else:
            failed = shared(&job, parts == 1, block, threads)
    if failed:
        raise MemoryError("scratch of the winograd_grad kernel")
