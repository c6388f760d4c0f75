"""Winograd's tiles: 36 products for 4 x 4 outputs and a channel of 3 x 3 taps, where the definition has 144.

The sum:       y[n, m, o0, o1, o2] = init + sum over c and k0, k1, k2 of x[n, c, i(o, k)] * w[m, c, k], where the last
               two windows have 1 to 5 taps, stride 1 and dilation 1. A tile has some outputs along both (`_points.pxd` has
               the table), the caller says how many points: one along a window of a single tap, which is not
               transformed. The taps k0 of a third window are summed as input channels are, and so are the phases of
               a layer with a stride: nests of some taps each, on the pixels that they read. Where a phase has one tap
               less, the product at the point infinity vanishes.
               y = AT ((G w GT) * (BT x B)) A, the inner product summed over (k0, c).
The schedule:  for a block of tiles V = BT x B (vectors along c), then for each panel of output channels a matrix
               product of V with U = G w GT for each point (MR tiles x up to three vectors of m in registers) and the way back
               (vectors along m). The sum is cut into slices of at most KC products. With many tiles U is made once
               (`many`) and a thread makes V of a block that stays in L2; with few tiles V is made once (`few`) and a
               thread makes U of a panel, so that U never exists as a whole. U that is given (bound weights) is read
               once, in order of points: a plane of V stays in L1 for several panels, whose products stay in L2.
Layouts:       x is read straight where channels are contiguous, else turned into a strip of rows on its way; y alike.
Edges:         boundary rules fill the strip. Tiles do not span rows or images, and every value takes the same path
               whatever its block: bits depend on neither.
Not finite:    an infinity spoils a whole tile, so a tile with sums that are not finite is done again by the definition.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, v_load, v_store, v_store_even, v_set, v_copy, v_transpose, spoiled, v_spoiled
from _nest cimport Nest, Box, address, exact, whole, PyBytes_AS_STRING
from _pack cimport NV, panels
from _ahead cimport Ahead, ask_next, next_run
from _points cimport COMBINE, EVALUATE, Line, line_of, transform_lines, finish_lines
from _taps cimport Order, order_taps, ask_taps, gather
from _products cimport Want, products
from _winograd cimport (MOST_Q, TALL, WIDE, CHUNK, LIMIT, Job, Slice, Run, survey, slice_at, with_rows, run_at, odd_lines,
                        aligned, transform_tiles)

cdef enum:
    KC = 128        # products of a slice: a panel of U of them (24 KB on AVX2) stays in L1 for all tiles of the block
    ROOM = 327680   # bytes of V of a block, where a thread makes it for itself
    LEAST = 16      # tiles of a block at least, or U is read too often;
    MOST = 256      # and at most, or products fill too much memory
    PARTS = 16      # nests of one region
    WANTS = 64      # tiles of `products` for so many (MOST/4)
    PRODUCTS = 819200  # bytes of products of some panels with all tiles, where slices are added to them

LANES, ROWS, SLICE, BYTES, BLOCK = V, MR, KC, ROOM, (LEAST, MOST)


cdef void transform_input(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t number,
                          real* strip, real* to) noexcept nogil:
    """V of `count` tiles in a slice, and those beside it."""
    transform_tiles(job, g, tile, count, number, strip, to, True)


# ---- weights

cdef inline Py_ssize_t panel_count(Py_ssize_t m) noexcept nogil:
    """Panels of m output channels: an even number, so that halves of them are halves of the channels."""
    cdef Py_ssize_t count = panels(m)
    return count + (count & 1 if count > 4 else 0)


cdef inline Py_ssize_t panel_start(Py_ssize_t m, Py_ssize_t panel) noexcept nogil:
    """First channel of a panel, a multiple of V; of panel number panel_count(m): the rounded-up m."""
    return panel*((m + V - 1) // V) // panel_count(m)*V


cdef inline Py_ssize_t panel_width(const Job* job, Py_ssize_t panel) noexcept nogil:
    return panel_start(job.nest.m, panel + 1) - panel_start(job.nest.m, panel)


cdef inline Py_ssize_t u_plane(const Job* job, Py_ssize_t width) noexcept nogil:
    """Step of U from one product of a tile to the next."""
    return odd_lines(job.depth*width)


cdef inline Py_ssize_t u_start(const Job* job, Py_ssize_t g, Py_ssize_t panel) noexcept nogil:
    """Where U of a panel starts among all; U is (group, panel, slice, point, product, lane)."""
    cdef Py_ssize_t each = job.q*job.slices*u_plane(job, NV*V)
    return (g*panel_count(job.nest.m) + panel)*each


ctypedef struct Taps:
    # What is gathered together: some channels of V output channels, and where their first taps lie.
    Py_ssize_t v, channels
    const real* w


cdef inline void taps_at(const Job* job, Py_ssize_t g, Py_ssize_t m0, const Slice* part, Py_ssize_t number,
                         Taps* to) noexcept nogil:
    """Of a slice and the output channels from m0 on: channels first, then k0, then lanes."""
    cdef const Nest* nest = part.nest
    cdef Py_ssize_t each = (part.c1 - part.c0 + job.chunk - 1) // job.chunk, c = part.c0 + number % each*job.chunk
    cdef Py_ssize_t k0 = part.k0 + number // each % (part.k1 - part.k0)
    to.v, to.channels = number // each // (part.k1 - part.k0), min(job.chunk, part.c1 - c)
    to.w = job.w + nest.w0 + g*nest.wg + (m0 + to.v*V)*nest.wm + c*nest.wc + k0*nest.axis[0].ws


cdef void transform_weights(const Job* job, Py_ssize_t g, Py_ssize_t panel, Py_ssize_t number, real* taps,
                            real* to) noexcept nogil:
    """U of a panel in a slice: (point, product, lane). What comes next is asked for on the way."""
    cdef Py_ssize_t width = panel_width(job, panel), plane = u_plane(job, width), m0 = panel_start(job.nest.m, panel)
    cdef const Line* down = &job.line[0]
    cdef const Line* across = &job.line[1]
    cdef Py_ssize_t t = 0, j
    cdef real middle[MOST_Q*V]
    cdef real* line = to
    cdef Slice part
    cdef Order order
    cdef Taps here, next
    slice_at(job, number, &part)
    cdef const Nest* nest = part.nest
    order_taps(nest, job.nest, job.phases, &order)
    taps_at(job, g, m0, &part, 0, &here)
    while here.v*V < width:
        t += 1
        taps_at(job, g, m0, &part, t, &next)
        gather(nest, &order, here.w, min(<Py_ssize_t>V, nest.m - m0 - here.v*V), here.channels, taps)
        for j in range(here.channels):
            ask_taps(nest, &order, next.w, here.channels, j)
            transform_lines(EVALUATE, down.points, order.t1, taps + (order.taps*j + order.first)*V,
                            order.s1*V, order.s2*V, middle, order.t2*V, V, order.t2, True)
            transform_lines(EVALUATE, across.points, order.t2, middle, V, order.t2*V, line, plane,
                            across.points*plane, down.points, True)
            line += width
        if next.v > here.v:
            line = to + next.v*V
        here = next


# ---- products

cdef inline bint vanishes(const Job* job, const Nest* nest, Py_ssize_t q) noexcept nogil:
    """Whether a product of a tile is that of the leading tap of a line which has a tap less in this phase."""
    cdef Py_ssize_t down = q // job.line[1].points, across = q % job.line[1].points
    return ((nest.axis[1].taps < job.line[0].taps and down == job.line[0].points - 1)
            or (nest.axis[2].taps < job.line[1].taps and across == job.line[1].points - 1))


cdef void multiply(const Job* job, const Nest* nest, Py_ssize_t kc, const real* v, Py_ssize_t count, const real* u,
                   Py_ssize_t panel, Py_ssize_t number, Py_ssize_t u_step, real* p, Py_ssize_t p_plane, bint add,
                   Ahead* x, Ahead* y) noexcept nogil:
    """The products of a block with some panels in a slice, point by point: a plane of V stays in L1 for all panels.

    u_step: from a panel's U to the next one's; the products of a panel follow those of the one before. x, y: what the
    next block reads and these panels write. NULL: V is all there, and its next plane is asked for.
    """
    cdef Py_ssize_t parts = (count + MR - 1) // MR, share = count*job.row // (parts*number)
    cdef Py_ssize_t q, i, t, width, plane, ahead
    cdef Want wants[WANTS]
    for q in range(job.q):
        if vanishes(job, nest, q):
            continue
        for i in range(number):
            width = panel_width(job, panel + i)
            plane = u_plane(job, width)
            ahead = u_step + q*(u_plane(job, panel_width(job, panel + i + 1)) - plane)
            if i == number - 1:
                ahead = (q + 1)*u_plane(job, panel_width(job, panel)) - i*u_step - q*plane
            for t in range(parts):
                if x == NULL:
                    wants[t].p, wants[t].step = v + (q + 1)*job.plane + (i*parts + t)*share, share // kc
                elif not ask_next(job, y, kc, &wants[t]) and not ask_next(job, x, kc, &wants[t]):
                    wants[t].p, wants[t].step = u, 0
            products(kc, v + q*job.plane, job.row, count, u + i*u_step + q*plane, 0, width,
                     p + (i*job.q + q)*p_plane, add, ahead if job.u != NULL else 0, wants, False)


# ---- output

cdef inline vreal back(const Job* job, const real* p, Py_ssize_t plane, const real* init, real* to) noexcept nogil:
    """One tile and V channels: (point, lane) -> (row, column, lane) of the strip, init added; nan where a sum of the
    lane is not finite."""
    cdef const Line* down = &job.line[0]
    cdef const Line* across = &job.line[1]
    cdef real middle[MOST_Q*V]
    transform_lines(COMBINE, down.points, down.outs, p, across.points*plane, plane, middle, across.points*V, V,
                    across.points, False)
    return finish_lines(across, middle, V, across.points*V, to, V, WIDE*V, down.outs, init, 0)


cdef void mend(const Job* job, Py_ssize_t g, const Run* run, Py_ssize_t t, Py_ssize_t m, Py_ssize_t lanes,
               const real* init, real* tile) noexcept nogil:
    """The channels of a tile that have sums which are not finite, by the definition."""
    cdef const Nest* nest
    cdef Py_ssize_t rows = job.line[0].outs, columns = job.line[1].outs, i, j, lane, phase
    cdef bint bad
    cdef real total
    cdef Box box
    for lane in range(lanes):
        bad = False
        for i in range(rows):
            for j in range(columns):
                bad = bad or spoiled(tile[(i*WIDE + j)*V + lane])
        if bad:
            for i in range(run.rows):
                for j in range(min(columns, run.columns - columns*t)):
                    total = 0
                    for phase in range(job.phases):
                        nest = job.nest + phase
                        whole(nest, &box)
                        total = exact(nest, &box, job.x + nest.x0 + run.n*nest.xn + g*nest.xg,
                                      job.w + nest.w0 + g*nest.wg + (m + lane)*nest.wm, run.o0, run.o1 + i,
                                      run.o2 + columns*t + j, total, job.cval)
                    tile[(i*WIDE + j)*V + lane] = init[lane] + total


cdef void put_row(const Job* job, const real* strip, Py_ssize_t columns, Py_ssize_t lanes, real* y) noexcept nogil:
    """A row of the strip (column, lane) into y, or added to what is there."""
    cdef Py_ssize_t step = job.nest.axis[2].ys, ym = job.nest.ym, j = 0, lane, i, count
    cdef real square[V*V]
    cdef bint add = not job.first
    if ym == 1:
        for j in range(columns):
            if not add:
                v_copy(y, strip, lanes)
            elif lanes == V:
                v_store(y, v_load(y) + v_load(strip))
            else:
                for lane in range(lanes):
                    y[lane] = y[lane] + strip[lane]
            y += step
            strip += V
    elif step == 1:
        while j < columns:
            v_transpose(square, V, strip + j*V, V)
            count = min(<Py_ssize_t>V, columns - j)
            for lane in range(lanes):
                if not add:
                    v_copy(y + lane*ym + j, square + lane*V, count)
                else:
                    for i in range(count):
                        y[lane*ym + j + i] = y[lane*ym + j + i] + square[lane*V + i]
            j += V
    elif step == 2 and not add and columns >= V:
        while j < columns:
            i = min(j, columns - V)
            v_transpose(square, V, strip + i*V, V)
            for lane in range(lanes):
                v_store_even(y + lane*ym + 2*i, v_load(square + lane*V))
            j += V
    else:
        for j in range(columns):
            for lane in range(lanes):
                if add:
                    y[j*step + lane*ym] = y[j*step + lane*ym] + strip[j*V + lane]
                else:
                    y[j*step + lane*ym] = strip[j*V + lane]


cdef void transform_output(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t panel,
                           const real* p, Py_ssize_t plane, real* strip) noexcept nogil:
    """The products of `count` tiles and a panel become outputs in y."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t width = panel_width(job, panel), m0 = panel_start(nest.m, panel), v, m, lanes, t, i
    cdef Py_ssize_t outs = job.line[1].outs, done = 0
    cdef real init[V]
    cdef vreal bad
    cdef real* y
    cdef Run run
    while done < count:
        run_at(job, tile + done, count - done, &run)
        for v in range(width // V):
            m = m0 + v*V
            lanes = min(<Py_ssize_t>V, nest.m - m)
            for i in range(V):
                init[i] = job.bias[g*nest.m + m + i] if job.bias != NULL and job.first and i < lanes else 0
            bad = v_set(0)
            for t in range(run.length):
                bad += back(job, p + (done + t)*width + v*V, plane, init, strip + outs*t*V)
            if v_spoiled(bad):
                for t in range(run.length):
                    if v_spoiled(back(job, p + (done + t)*width + v*V, plane, init, strip + outs*t*V)):
                        mend(job, g, &run, t, m, lanes, init, strip + outs*t*V)
            y = (job.y + run.n*nest.yn + g*nest.yg + m*nest.ym + run.o0*nest.axis[0].ys + run.o1*nest.axis[1].ys
                 + run.o2*nest.axis[2].ys)
            for i in range(run.rows):
                put_row(job, strip + i*WIDE*V, run.columns, lanes, y + i*nest.axis[1].ys)
        done += run.length


# ---- tasks

ctypedef struct Sizes:
    # Of a thread's scratch, in values: V of a block, U of a panel's slice, P of a block and `panels` panels, strips.
    Py_ssize_t v, u, p, strip, plane, each, panels


cdef void measure(const Job* job, bint own_v, bint own_u, Py_ssize_t tiles, Py_ssize_t most, Sizes* to) noexcept nogil:
    to.v = job.slices*job.q*job.plane if own_v else 0
    to.u = job.q*u_plane(job, NV*V) if own_u else 0
    to.plane = odd_lines((tiles + MR - 1) // MR*MR*NV*V)
    to.panels = min(most, max(<Py_ssize_t>1, PRODUCTS // (job.q*to.plane*<Py_ssize_t>sizeof(real))))
    to.p = to.panels*job.q*to.plane
    to.strip = TALL*WIDE*V + CHUNK*V
    to.each = odd_lines(to.v + to.u + to.p + to.strip)


cdef void task(const Job* job, const Sizes* sizes, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t p0,
               Py_ssize_t p1, const real* v, real* scratch) noexcept nogil:
    """Tiles `tile` .. tile + count, panels p0 .. p1 of a group. v: their V, or NULL."""
    cdef real* p = scratch + sizes.v + sizes.u
    cdef real* strip = p + sizes.p
    cdef const real* u
    cdef Py_ssize_t s, panel, each, kc, number
    cdef Slice part
    cdef Ahead x, y
    cdef bint own = v == NULL
    if own:
        x.tile, x.count, x.g, x.m0, x.m1 = tile + count, min(count, job.tiles - tile - count), g, 0, 0
        next_run(job, &x)
        for panel in range(job.slices // job.beside):
            s = with_rows(job, panel)
            transform_input(job, g, tile, count, s, strip, scratch + s*job.q*job.plane)
        v = scratch
    while p0 < p1:
        number = min(p1 - p0, sizes.panels)
        for s in range(job.slices):
            kc = slice_at(job, s, &part)
            if job.u == NULL:
                for panel in range(p0, p0 + number):
                    transform_weights(job, g, panel, s, strip, scratch + sizes.v)
                    multiply(job, part.nest, kc, v + s*job.q*job.plane, count, scratch + sizes.v, panel, 1, 0,
                             p + (panel - p0)*job.q*sizes.plane, sizes.plane, s > 0, NULL, NULL)
            else:
                u = job.u + u_start(job, g, p0) + s*job.q*u_plane(job, NV*V)
                if own:
                    y.tile, y.count, y.g = tile, count, g
                    y.m0, y.m1 = panel_start(job.nest.m, p0), panel_start(job.nest.m, p0 + number)
                    next_run(job, &y)
                multiply(job, part.nest, kc, v + s*job.q*job.plane, count, u, p0, number,
                         u_start(job, g, 1) - u_start(job, g, 0), p, sizes.plane, s > 0, &x if own else NULL, &y)
        for panel in range(number):
            transform_output(job, g, tile, count, p0 + panel, p + panel*job.q*sizes.plane, sizes.plane, strip)
        p0 += number


# ---- several nests of one call, none of which stores what another does, in one region

ctypedef struct Part:
    Job job
    Sizes sizes
    real* made              # where U goes, or NULL: it is given, or made by the tasks
    Py_ssize_t blocks, splits   # of its tiles, and of its panels where there are few blocks


cdef void transform_all(const Part* parts, Py_ssize_t count, int threads) noexcept nogil:
    """U of all groups, panels and slices."""
    cdef Py_ssize_t i, t, total = 0
    for i in range(count):
        total += parts[i].job.nest.g*panel_count(parts[i].job.nest.m)*parts[i].job.slices
    for t in prange(total, num_threads=threads, schedule='guided'):
        transform_some(parts, t)


cdef void transform_some(const Part* part, Py_ssize_t t) noexcept nogil:
    cdef real taps[CHUNK*V]
    cdef Py_ssize_t each = panel_count(part.job.nest.m)*part.job.slices, panel, s
    while t >= part.job.nest.g*each:
        t -= part.job.nest.g*each
        part += 1
        each = panel_count(part.job.nest.m)*part.job.slices
    panel, s = t % each // part.job.slices, t % part.job.slices
    transform_weights(&part.job, t // each, panel, s, taps,
                      part.made + u_start(&part.job, t // each, panel) + s*part.job.q*u_plane(&part.job, NV*V))


cdef void lay(Part* part, int threads) noexcept nogil:
    """Blocks of tiles that stay in L2."""
    cdef Job* job = &part.job
    cdef Py_ssize_t each = job.q*job.row*job.slices*<Py_ssize_t>sizeof(real), units = (job.tiles + MR - 1) // MR
    cdef Py_ssize_t block = min(max(ROOM // each, <Py_ssize_t>LEAST), <Py_ssize_t>MOST)
    part.blocks, part.splits = (job.tiles + block - 1) // block, 1
    if part.blocks*job.nest.g < 8*threads:
        part.blocks = (part.blocks + threads - 1) // threads*threads
    part.blocks = min(part.blocks, units)
    if part.blocks*job.nest.g < threads:
        part.splits = min(<Py_ssize_t>threads, panel_count(job.nest.m))
    job.grain = (units + part.blocks - 1) // part.blocks*MR
    job.plane = odd_lines(job.grain*job.row)
    measure(job, True, False, job.grain, 1, &part.sizes)


cdef void block(const Part* part, Py_ssize_t t, real* scratch) noexcept nogil:
    cdef Py_ssize_t units, channels, g, b, s, t0, t1
    while t >= part.job.nest.g*part.blocks*part.splits:
        t -= part.job.nest.g*part.blocks*part.splits
        part += 1
    units, channels = (part.job.tiles + MR - 1) // MR, panel_count(part.job.nest.m)
    s = t % part.splits
    b = t // part.splits % part.blocks
    g = t // part.splits // part.blocks
    t0 = b*units // part.blocks*MR
    t1 = min((b + 1)*units // part.blocks*MR, part.job.tiles)
    task(&part.job, &part.sizes, g, t0, t1 - t0, s*channels // part.splits, (s + 1)*channels // part.splits, NULL,
         scratch)


cdef int many(Part* parts, Py_ssize_t count, int threads) noexcept nogil:
    """Block by block, with U made before; 1 if there was no memory."""
    cdef Py_ssize_t i, t, each = 0, total = 0
    for i in range(count):
        lay(&parts[i], threads)
        each = max(each, parts[i].sizes.each)
        total += parts[i].job.nest.g*parts[i].blocks*parts[i].splits
    cdef char* memory = <char*>malloc(each*sizeof(real)*threads + 64)
    if memory == NULL:
        return 1
    if parts.made != NULL:
        transform_all(parts, count, threads)
        for i in range(count):
            parts[i].job.u = parts[i].made
    for t in prange(total, num_threads=threads, schedule='guided'):
        block(parts, t, aligned(memory) + threadid()*each)
    free(memory)
    return 0


cdef int few(Job* job, int threads) noexcept nogil:
    """All tiles meet a panel before the next: V is made before, U (unless given) by the panel's task."""
    cdef Py_ssize_t each = job.q*job.row*job.slices*<Py_ssize_t>sizeof(real), channels = panel_count(job.nest.m)
    cdef Py_ssize_t row = max(job.across, <Py_ssize_t>1), unit = max(MR // row, <Py_ssize_t>1)*row
    cdef Py_ssize_t t, g, b, s, t0, count, blocks, parts, tasks
    cdef Sizes sizes
    blocks = max((job.tiles*each + LIMIT - 1) // LIMIT, (job.tiles + MOST - 1) // MOST)
    job.grain = ((job.tiles + blocks - 1) // blocks + MR - 1) // MR*MR
    job.plane = odd_lines(job.grain*job.row)
    measure(job, False, job.u == NULL, job.grain, (channels + threads - 1) // threads, &sizes)
    tasks = min(channels, (channels + sizes.panels*threads - 1) // (sizes.panels*threads)*threads)
    if channels % tasks:  # 6 panels in 4 tasks would be 4 for one of two threads
        tasks = min(channels, <Py_ssize_t>threads)
    cdef char* memory = <char*>malloc((sizes.each*threads + job.slices*job.q*job.plane)*sizeof(real) + 64)
    if memory == NULL:
        return 1
    cdef real* v = aligned(memory)
    cdef real* scratch = v + job.slices*job.q*job.plane
    for g in range(job.nest.g):
        t0 = 0
        while t0 < job.tiles:
            count = min(job.grain, job.tiles - t0)
            parts = (count + unit - 1) // unit
            for t in prange(parts*(job.slices // job.beside), num_threads=threads, schedule='static'):
                b = t % parts*unit
                s = with_rows(job, t // parts)
                transform_input(job, g, t0 + b, min(unit, count - b), s, scratch + threadid()*sizes.each,
                                v + s*job.q*job.plane + b*job.row)
            for t in prange(tasks, num_threads=threads, schedule='dynamic'):
                task(job, &sizes, g, t0, count, t*channels // tasks, (t + 1)*channels // tasks, v,
                     scratch + threadid()*sizes.each)
            t0 += count
    free(memory)
    return 0


# ---- entries

cdef void begin(Job* job, nest_bytes, Py_ssize_t down, Py_ssize_t across):
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef Line line[2]
    line_of(&line[0], down, nest.axis[1].taps)
    line_of(&line[1], across, nest.axis[2].taps)
    survey(job, nest, len(nest_bytes) // <Py_ssize_t>sizeof(Nest), line, KC)


def packed_size(nest_bytes, Py_ssize_t down, Py_ssize_t across):
    """Elements that `pack` writes."""
    cdef Job job
    begin(&job, nest_bytes, down, across)
    return u_start(&job, job.nest.g, 0)


def pack(w_array, to_array, nest_bytes, Py_ssize_t down, Py_ssize_t across, int threads):
    """The transformed weights of a nest, or of phases."""
    cdef Part part
    part.made = address(to_array)
    begin(&part.job, nest_bytes, down, across)
    part.job.w = address(w_array)
    with nogil:
        transform_all(&part, 1, threads)


cdef bint by_panels(const Job* job, int threads) noexcept nogil:
    """Whether the tiles are the fewer ones, or U would be too large."""
    return ((job.tiles < job.nest.m and panel_count(job.nest.m) >= 2*threads)
            or (job.u == NULL and u_start(job, job.nest.g, 0)*<Py_ssize_t>sizeof(real) > LIMIT))


cdef int together(Part* parts, Py_ssize_t count, int threads) noexcept nogil:
    """The nests in one region, U made for all that have none; 1 if there was no memory."""
    cdef Py_ssize_t i, size = 0
    cdef char* memory = NULL
    cdef int failed
    if by_panels(&parts.job, threads):
        return few(&parts.job, threads)
    for i in range(count):
        parts[i].made = NULL
        size += u_start(&parts[i].job, parts[i].job.nest.g, 0)
    if parts.job.u == NULL:
        memory = <char*>malloc(size*sizeof(real) + 64)
        if memory == NULL:
            return 1
        size = 0
        for i in range(count):
            parts[i].made = aligned(memory) + size
            size += u_start(&parts[i].job, parts[i].job.nest.g, 0)
    failed = many(parts, count, threads)
    free(memory)
    return failed


def run(x_array, w_array, y_array, bias_array, nests, cval_array, packed_arrays, int threads):
    """y of some nests, each (its phases, first, points down, across); packed_arrays: what `pack` wrote, or None."""
    cdef Part parts[PARTS]
    cdef Job* job
    cdef Py_ssize_t i = 0, count, size, each
    cdef int failed
    while i < len(nests):
        count, size = 0, 0
        while i + count < len(nests) and count < PARTS:
            job = &parts[count].job
            nest_bytes, first, down, across = nests[i + count]
            begin(job, nest_bytes, down, across)
            job.x, job.w = address(x_array), address(w_array)
            job.y = address(y_array) + job.nest.y0
            job.bias = NULL if bias_array is None else address(bias_array)
            job.cval, job.first = address(cval_array)[0], first
            each = 0
            if packed_arrays is not None:
                job.u = address(packed_arrays[i + count])
            else:
                each = u_start(job, job.nest.g, 0)*<Py_ssize_t>sizeof(real)
            if count and (not first or not parts[0].job.first or by_panels(&parts[0].job, threads)
                          or by_panels(job, threads) or size + each > LIMIT):
                break
            count, size = count + 1, size + each
        with nogil:
            failed = together(parts, count, threads)
        if failed:
            raise MemoryError("scratch of the winograd kernel")
        i += count
