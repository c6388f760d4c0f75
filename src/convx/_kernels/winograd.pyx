"""F(4x4, 3x3) of Winograd: 36 products for 16 outputs and a channel, where the definition has 144.

The sum:       y[n, m, o0, o1, o2] = init + sum over c and k0, k1, k2 of x[n, c, i(o, k)] * w[m, c, k], where the last two
               windows have 3 taps, stride 1 and dilation 1. A tile is 4 x 4 outputs (o1, o2); the taps k0 of a third
               window are summed as input channels are. With interpolation points 0, +-a, +-b and infinity,
               a = 5/8, b = 3/2:  y = AT ((G w GT) * (BT x B)) A, the inner product summed over (k0, c).
The schedule:  for a block of tiles V = BT x B (vectors along c), then for each panel of output channels 36 matrix
               products of V with U = G w GT (MR tiles x up to three vectors of m in registers) and the way back
               (vectors along m). The sum is cut into slices of at most KC products. With many tiles U is made once
               (`many`) and a thread makes V of a block that stays in L2; with few tiles V is made once (`few`) and a
               thread makes U of a panel, so that U, four times the weights, never exists as a whole.
Layouts:       x is read straight where channels are contiguous, else turned into a strip of rows on its way; y alike.
Edges:         boundary rules fill the strip. Tiles do not span rows or images, and every value takes the same path
               whatever its block: bits depend on neither.
Not finite:    an infinity spoils a whole tile, so a tile with sums that are not finite is done again by the definition.
"""

from libc.stdlib cimport malloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, MR, v_load, v_store, v_store_even, v_set, v_copy, v_transpose, spoiled, v_spoiled
from _nest cimport Nest, Box, address, exact, whole, PyBytes_AS_STRING
from _pack cimport NV, panels, panel_start
from _winograd cimport (Q, WIDE, CHUNK, LIMIT, Job, Slice, Run, Order, survey, slice_at, run_at, odd_lines, weight_line,
                        output_line, transform_tiles, order_taps, gather, products, aligned)

cdef enum:
    KC = 128        # products of a slice: a panel of U of them (24 KB on AVX2) stays in L1 for all tiles of the block
    ROOM = 327680   # bytes of V of a block, where a thread makes it for itself
    LEAST = 16      # tiles of a block at least, or U is read too often;
    MOST = 256      # and at most, or products fill too much memory

LANES, ROWS, SLICE = V, MR, KC


cdef void transform_input(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t number,
                          real* strip, real* to) noexcept nogil:
    """V of `count` tiles in a slice."""
    transform_tiles(job, g, tile, count, number, strip, to, 2)


# ---- weights

cdef inline Py_ssize_t panel_width(const Job* job, Py_ssize_t panel) noexcept nogil:
    return panel_start(job.nest.m, panel + 1) - panel_start(job.nest.m, panel)


cdef inline Py_ssize_t u_plane(const Job* job, Py_ssize_t width) noexcept nogil:
    """Step of U from one product of a tile to the next."""
    return odd_lines(job.depth*width)


cdef inline Py_ssize_t u_start(const Job* job, Py_ssize_t g, Py_ssize_t panel) noexcept nogil:
    """Where U of a panel starts among all; U is (group, panel, slice, 36, product, lane)."""
    cdef Py_ssize_t each = Q*job.slices*u_plane(job, NV*V)
    return (g*panels(job.nest.m) + panel)*each


cdef void transform_weights(const Job* job, Py_ssize_t g, Py_ssize_t panel, Py_ssize_t number, real* taps,
                            real* to) noexcept nogil:
    """U of a panel in a slice: (36, product, lane)."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t width = panel_width(job, panel), plane = u_plane(job, width), m0 = panel_start(nest.m, panel)
    cdef Py_ssize_t v, k0, c, i, j, channels
    cdef real middle[18*V]
    cdef const real* w
    cdef real* line
    cdef Slice part
    cdef Order order
    order_taps(nest, &order)
    slice_at(job, number, &part)
    for v in range(width // V):
        line = to + v*V
        for k0 in range(part.k0, part.k1):
            c = part.c0
            while c < part.c1:
                channels = min(<Py_ssize_t>CHUNK, part.c1 - c)
                w = job.w + g*nest.wg + (m0 + v*V)*nest.wm + c*nest.wc + k0*nest.axis[0].ws
                gather(nest, &order, w, min(<Py_ssize_t>V, nest.m - m0 - v*V), channels, taps)
                for j in range(channels):
                    for i in range(3):
                        weight_line(taps + (9*j + order.first + i*order.s2)*V, order.s1*V, middle + i*V, 3*V)
                    for i in range(6):
                        weight_line(middle + 3*i*V, V, line + 6*i*plane, plane)
                    line += width
                c += CHUNK


# ---- products

cdef void multiply(const Job* job, Py_ssize_t kc, const real* v, Py_ssize_t count, const real* u, Py_ssize_t width,
                   real* p, Py_ssize_t p_plane, bint add) noexcept nogil:
    """The 36 products of a block with a panel in a slice."""
    cdef Py_ssize_t plane = u_plane(job, width)
    cdef int q
    for q in range(Q):
        products(kc, v, job.row, count, u, 0, width, p, add, False)
        v += job.plane
        u += plane
        p += p_plane


# ---- output

cdef inline bint back(const real* p, Py_ssize_t plane, const real* init, real* to) noexcept nogil:
    """One tile and V channels: (36, lane) -> (4, column, lane) of the strip, init added; whether all is finite."""
    cdef real middle[24*V]
    cdef vreal bad = v_set(0), start = v_load(init), z
    cdef Py_ssize_t i, j
    for j in range(6):
        output_line(p + j*plane, 6*plane, middle + j*V, 6*V)
    for i in range(4):
        output_line(middle + 6*i*V, V, to + i*WIDE*V, V)
        for j in range(4):
            z = v_load(to + (i*WIDE + j)*V)
            bad += z*0
            v_store(to + (i*WIDE + j)*V, z + start)
    return not v_spoiled(bad)


cdef void mend(const Job* job, Py_ssize_t g, const Run* run, Py_ssize_t t, Py_ssize_t m, Py_ssize_t lanes,
               const real* init, real* tile) noexcept nogil:
    """The channels of a tile that have sums which are not finite, by the definition."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t i, j, lane, o1 = 4*run.t1, o2 = 4*(run.t2 + t)
    cdef bint bad
    cdef Box box
    whole(nest, &box)
    for lane in range(lanes):
        bad = False
        for i in range(4):
            for j in range(4):
                bad = bad or spoiled(tile[(i*WIDE + j)*V + lane])
        if bad:
            for i in range(run.rows):
                for j in range(min(<Py_ssize_t>4, run.columns - 4*t)):
                    tile[(i*WIDE + j)*V + lane] = init[lane] + exact(
                        nest, &box, job.x + run.n*nest.xn + g*nest.xg, job.w + g*nest.wg + (m + lane)*nest.wm, run.o0,
                        o1 + i, o2 + j, 0, job.cval)


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
    cdef Py_ssize_t width = panel_width(job, panel), m0 = panel_start(nest.m, panel), v, m, lanes, t, i, done = 0
    cdef real init[V]
    cdef real* y
    cdef Run run
    while done < count:
        run_at(job, tile + done, count - done, &run)
        for v in range(width // V):
            m = m0 + v*V
            lanes = min(<Py_ssize_t>V, nest.m - m)
            for i in range(V):
                init[i] = job.bias[g*nest.m + m + i] if job.bias != NULL and job.first and i < lanes else 0
            for t in range(run.length):
                if not back(p + (done + t)*width + v*V, plane, init, strip + 4*t*V):
                    mend(job, g, &run, t, m, lanes, init, strip + 4*t*V)
            y = (job.y + run.n*nest.yn + g*nest.yg + m*nest.ym + run.o0*nest.axis[0].ys + 4*run.t1*nest.axis[1].ys
                 + 4*run.t2*nest.axis[2].ys)
            for i in range(run.rows):
                put_row(job, strip + i*WIDE*V, run.columns, lanes, y + i*nest.axis[1].ys)
        done += run.length


# ---- tasks

ctypedef struct Sizes:
    # Of a thread's scratch, in values: V of a block, U of a panel's slice, P of a block and panel, strips.
    Py_ssize_t v, u, p, strip, plane, each


cdef void measure(const Job* job, bint own_v, bint own_u, Py_ssize_t tiles, Sizes* to) noexcept nogil:
    to.v = job.slices*Q*job.plane if own_v else 0
    to.u = Q*u_plane(job, NV*V) if own_u else 0
    to.plane = odd_lines((tiles + MR - 1) // MR*MR*NV*V)
    to.p = Q*to.plane
    to.strip = 6*WIDE*V + V*V + 9*CHUNK*V
    to.each = odd_lines(to.v + to.u + to.p + to.strip)


cdef void task(const Job* job, const Sizes* sizes, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t p0,
               Py_ssize_t p1, const real* v, real* scratch) noexcept nogil:
    """Tiles `tile` .. tile + count, panels p0 .. p1 of a group. v: their V, or NULL."""
    cdef real* p = scratch + sizes.v + sizes.u
    cdef real* strip = p + sizes.p
    cdef const real* u
    cdef Py_ssize_t s, panel, width, kc
    cdef Slice part
    if v == NULL:
        for s in range(job.slices):
            transform_input(job, g, tile, count, s, strip, scratch + s*Q*job.plane)
        v = scratch
    for panel in range(p0, p1):
        width = panel_width(job, panel)
        for s in range(job.slices):
            kc = slice_at(job, s, &part)
            if job.u == NULL:
                transform_weights(job, g, panel, s, strip, scratch + sizes.v)
                u = scratch + sizes.v
            else:
                u = job.u + u_start(job, g, panel) + s*Q*u_plane(job, width)
            multiply(job, kc, v + s*Q*job.plane, count, u, width, p, sizes.plane, s > 0)
        transform_output(job, g, tile, count, panel, p, sizes.plane, strip)


cdef void transform_all(const Job* job, real* to, int threads) noexcept nogil:
    """U of all groups, panels and slices."""
    cdef Py_ssize_t each = panels(job.nest.m), t
    for t in prange(job.nest.g*each*job.slices, num_threads=threads, schedule='guided'):
        transform_some(job, to, t // job.slices // each, t // job.slices % each, t % job.slices)


cdef void transform_some(const Job* job, real* to, Py_ssize_t g, Py_ssize_t panel, Py_ssize_t number) noexcept nogil:
    cdef real taps[9*CHUNK*V]
    transform_weights(job, g, panel, number, taps,
                      to + u_start(job, g, panel) + number*Q*u_plane(job, panel_width(job, panel)))


cdef int many(Job* job, int threads) noexcept nogil:
    """Blocks of tiles that stay in L2, with U made before; 1 if there was no memory."""
    cdef Py_ssize_t each = Q*job.row*job.slices*<Py_ssize_t>sizeof(real), units = (job.tiles + MR - 1) // MR
    cdef Py_ssize_t block, blocks, splits = 1, channels = panels(job.nest.m), t, g, b, s, t0, t1
    cdef Sizes sizes
    block = min(max(ROOM // each, <Py_ssize_t>LEAST), <Py_ssize_t>MOST)
    blocks = (job.tiles + block - 1) // block
    if blocks*job.nest.g < 8*threads:
        blocks = (blocks + threads - 1) // threads*threads
    blocks = min(blocks, units)
    if blocks*job.nest.g < threads:
        splits = min(<Py_ssize_t>threads, channels)
    job.grain = (units + blocks - 1) // blocks*MR
    job.plane = odd_lines(job.grain*job.row)
    measure(job, True, False, job.grain, &sizes)
    cdef char* memory = <char*>malloc(sizes.each*sizeof(real)*threads + 64)
    if memory == NULL:
        return 1
    for t in prange(job.nest.g*blocks*splits, num_threads=threads, schedule='guided'):
        s = t % splits
        b = t // splits % blocks
        g = t // splits // blocks
        t0 = b*units // blocks*MR
        t1 = min((b + 1)*units // blocks*MR, job.tiles)
        task(job, &sizes, g, t0, t1 - t0, s*channels // splits, (s + 1)*channels // splits, NULL,
             aligned(memory) + threadid()*sizes.each)
    free(memory)
    return 0


cdef int few(Job* job, int threads) noexcept nogil:
    """All tiles meet a panel before the next: V is made before, U (unless given) by the panel's task."""
    cdef Py_ssize_t each = Q*job.row*job.slices*<Py_ssize_t>sizeof(real), blocks, parts, channels = panels(job.nest.m)
    cdef Py_ssize_t t, g, b, t0, count
    cdef Sizes sizes
    blocks = max((job.tiles*each + LIMIT - 1) // LIMIT, (job.tiles + MOST - 1) // MOST)
    job.grain = ((job.tiles + blocks - 1) // blocks + MR - 1) // MR*MR
    job.plane = odd_lines(job.grain*job.row)
    measure(job, False, job.u == NULL, job.grain, &sizes)
    cdef char* memory = <char*>malloc((sizes.each*threads + job.slices*Q*job.plane)*sizeof(real) + 64)
    if memory == NULL:
        return 1
    cdef real* v = aligned(memory)
    cdef real* scratch = v + job.slices*Q*job.plane
    for g in range(job.nest.g):
        t0 = 0
        while t0 < job.tiles:
            count = min(job.grain, job.tiles - t0)
            parts = (count + MR - 1) // MR
            for t in prange(parts*job.slices, num_threads=threads, schedule='static'):
                b = t % parts*MR
                transform_input(job, g, t0 + b, min(<Py_ssize_t>MR, count - b), t // parts,
                                scratch + threadid()*sizes.each, v + t // parts*Q*job.plane + b*job.row)
            for t in prange(channels, num_threads=threads, schedule='dynamic'):
                task(job, &sizes, g, t0, count, t, t + 1, v, scratch + threadid()*sizes.each)
            t0 += count
    free(memory)
    return 0


# ---- entries

def packed_size(nest_bytes):
    """Elements that `pack` writes."""
    cdef Job job
    survey(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes), KC)
    return u_start(&job, job.nest.g, 0)


def pack(w_array, to_array, nest_bytes, int threads):
    """The transformed weights of a nest."""
    cdef Job job
    cdef real* to = address(to_array)
    survey(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes), KC)
    job.w = address(w_array) + job.nest.w0
    with nogil:
        transform_all(&job, to, threads)


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, packed_array, int threads):
    """y of one nest; packed_array: what `pack` wrote, or None."""
    cdef Job job
    cdef Py_ssize_t size
    cdef real* u = NULL
    cdef char* memory = NULL
    cdef int failed = 0
    cdef bint by_panels
    survey(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes), KC)
    job.x = address(x_array) + job.nest.x0
    job.w = address(w_array) + job.nest.w0
    job.y = address(y_array) + job.nest.y0
    job.bias = NULL
    if bias_array is not None:
        job.bias = address(bias_array)
    job.cval, job.first = address(cval_array)[0], first
    if packed_array is not None:
        job.u = address(packed_array)
    size = u_start(&job, job.nest.g, 0)*<Py_ssize_t>sizeof(real)
    by_panels = job.tiles < job.nest.m and panels(job.nest.m) >= 2*threads
    if by_panels or (job.u == NULL and size > LIMIT):
        with nogil:
            failed = few(&job, threads)
    else:
        if job.u == NULL:
            memory = <char*>malloc(size + 64)
            if memory == NULL:
                raise MemoryError("transformed weights of the winograd kernel")
            u = aligned(memory)
        with nogil:
            if job.u == NULL:
                transform_all(&job, u, threads)
                job.u = u
            failed = many(&job, threads)
        free(memory)
    if failed:
        raise MemoryError("scratch of the winograd kernel")
