"""One or few channels in a group, vectors along the row: image filters, depthwise and grouped layers.

The sum:       y[o1, o2] = init + sum over planes (k0, c), k1, k2 of x[plane, s*o1 + d*k1, t*o2 + e*k2] * w[plane, k1, k2]
The schedule:  a tile of up to 4 rows x NS vectors of y (or 8 x 1, or one row) stays in registers. Kernel rows come in
               chunks of up to TALL that lie one output row apart: the TALL + 3 rows of x under a chunk are loaded once
               per k2 and serve TALL x 4 products, 0.4 loads a multiply-add. A stride above 1 splits the kernel rows
               into phases, which are such chunks each.
Edges:         what a tile cannot read in place is copied (_planes.pxd): rims by the boundary rule, columns by phases of
               the stride, channels-last arrays turned, several groups at a time. Where taps read nothing (zero padding)
               and a result is not finite, the tile is done again by the definition.
               Where y does not run along the row it is turned, or written value by value, from planes in scratch.
Types:         x may be stored in another type than `real`: it becomes real on its way into planes. y may be, too, or may
               be sums / divisor + offset: then it is written from planes in scratch (_stored.h).
Assumes:       weights shared by all outputs.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, V, NS, v_load, v_store, v_set, v_copy, v_transpose, v_store_second, spoiled
from _nest cimport Nest, Window, Box, address, locate, exact_of, whole, PyBytes_AS_STRING
from _planes cimport Planes, neighbours, lay, tap_at, fill, copy
from _tile cimport ROWS, LONE, TALL, Chunk, Sum, Target, tile
from _stored cimport Stored, STORES_HALF, bytes_of, write_run

cdef enum:
    HOLD = 24576     # bytes of scratch that a thread's piece of plain rows should take, of L1
    TURNED = 131072  # and with turned channels, of L2

LANES = V
HALF = STORES_HALF  # whether x and y may be stored as float16


ctypedef struct Job:
    const Nest* nest
    const char* x
    const real* w
    char* y
    const real* bias
    Stored stored                       # what x and y are, and what becomes of the sums
    bint first
    real cval
    Planes planes
    Py_ssize_t groups, rows, columns    # of a task; columns of a piece of it
    Py_ssize_t jump, stride, dilation   # rows: every jump-th position is one, steps counted in them
    bint near, aside                    # x may be read in place; y is computed in scratch
    bint finished                       # and there becomes what is stored
    bint beside                         # and its channels are neighbours
    Py_ssize_t y_row, y_plane, x_size, y_size, size
    Py_ssize_t chunks
    Chunk* chunk
    char* unsafe_of                     # output channels whose weights are not finite
    bint unsafe                         # there are some
    Py_ssize_t* at                      # of taps in planes; and in place


cdef void full_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS)


cdef void half_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS // 2)


cdef void lone_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, LONE, 1)


cdef void flat_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, 1, NS)


# ---- pieces of the output

cdef bint unsafe(const Nest* nest, const real* w, char* found) noexcept nogil:
    """Which output channels (of all groups) have weights that are not finite, so that zeros in the place of absent
    values would make nan; whether there are any."""
    cdef Py_ssize_t g, m, k0, k1, k2, c
    cdef const real* p
    cdef int bad, any_bad = 0
    for g in range(nest.g):
        for m in range(nest.m):
            bad = 0
            for k0 in range(nest.axis[0].taps):
                for k1 in range(nest.axis[1].taps):
                    for k2 in range(nest.axis[2].taps):
                        p = w + g*nest.wg + m*nest.wm + k0*nest.axis[0].ws + k1*nest.axis[1].ws + k2*nest.axis[2].ws
                        for c in range(nest.c):
                            bad |= spoiled(p[c*nest.wc])
            found[g*nest.m + m] = bad
            any_bad |= bad
    return any_bad


cdef void by_definition(const Job* job, const Target* to, const char* x, const real* w, Py_ssize_t o0, Py_ssize_t o1,
                        Py_ssize_t o2, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """What `sweep` does, for weights that must not meet the zeros in the place of absent values."""
    cdef Py_ssize_t i, j
    cdef real total
    cdef Box box
    whole(job.nest, &box)
    for i in range(rows):
        for j in range(columns):
            total = exact_of(job.nest, &box, x, job.stored.x, w, o0, o1 + i, o2 + j, 0, job.cval)
            to.y[i*to.row + j] = total + (to.y[i*to.row + j] if to.add else to.init)


cdef void sweep(const Job* job, const Sum* s, const real* x, const real* w, Target* to, Py_ssize_t rows,
                Py_ssize_t columns) noexcept nogil:
    """Tile by tile over `rows` x `columns` outputs of one channel, x and to.y at their corner."""
    cdef Py_ssize_t i, j = 0, left, high, wide
    cdef real* y = to.y
    while j < columns:
        left = columns - j
        high, wide = ROWS, NS*V
        if job.rows == 1:
            high = 1
        elif left <= V:
            high, wide = LONE, V
        elif NS > 2 and left <= NS // 2*V:
            wide = NS // 2*V
        to.columns = wide if job.aside else left
        i = 0
        while i < rows:
            to.rows = high if job.aside else rows - i
            to.y = y + i*to.row + j
            if high == 1:
                flat_tile(s, x + i*s.row + j, w, to)
            elif high == LONE:
                lone_tile(s, x + i*s.row + j, w, to)
            elif wide == NS*V:
                full_tile(s, x + i*s.row + j, w, to)
            else:
                half_tile(s, x + i*s.row + j, w, to)
            i += high
        j += wide


cdef void put(const Job* job, const real* planes, char* y, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t rows,
              Py_ssize_t columns) noexcept nogil:
    """y from planes in scratch: turned where its channels are neighbours, else one by one."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t i, j, k, c, d, p, q, at, wide, high, count = groups*nest.m
    cdef Py_ssize_t size = bytes_of(job.stored.y)
    cdef real square[V*V]
    cdef real init[V]
    cdef real* to
    cdef const real* part
    cdef real add
    if job.beside:
        for q in range((count + V - 1) // V):
            c = q*V
            high = min(<Py_ssize_t>V, count - c)
            for k in range(V):
                init[k] = 0 if job.bias == NULL or k >= high else job.bias[g*nest.m + c + k]
            for i in range(rows):
                for p in range((columns + V - 1) // V):
                    j = p*V
                    wide = min(<Py_ssize_t>V, columns - j)
                    v_transpose(square, V, planes + c*job.y_plane + i*job.y_row + j, job.y_plane)
                    to = <real*>y + c + i*a.ys + j*b.ys
                    for k in range(wide):
                        if high == V:
                            v_store(to, v_load(square + k*V) + (v_load(init) if job.first else v_load(to)))
                        elif job.first:
                            v_store(square + k*V, v_load(square + k*V) + v_load(init))
                            v_copy(to, square + k*V, high)
                        else:
                            for d in range(high):
                                to[d] += square[k*V + d]
                        to += b.ys
        return
    for c in range(count):
        add = 0 if job.bias == NULL else job.bias[g*nest.m + c]
        for i in range(rows):
            part = planes + c*job.y_plane + i*job.y_row
            at = c // nest.m*nest.yg + c % nest.m*nest.ym + i*a.ys
            to = <real*>y + at
            j = 0
            if job.finished:
                write_run(y + at*size, b.ys, size, part, columns, add, &job.stored)
            elif b.ys == 2 and job.first:
                while j < columns:
                    v_store_second(to + 2*j, v_load(part + j) + v_set(add), min(<Py_ssize_t>V, columns - j))
                    j += V
            elif job.first:
                for j in range(columns):
                    to[j*b.ys] = part[j] + add
            else:
                for j in range(columns):
                    to[j*b.ys] += part[j]


cdef bint in_place(const Job* job, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2,
                   Py_ssize_t columns) noexcept nogil:
    """Whether whole tiles over these outputs read nothing outside x but planes that are left out."""
    cdef const Window* p = &job.nest.axis[0]
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t top = a.stride*o1 - a.offset, left = o2 - b.offset, tall = 1 if job.rows == 1 else ROWS, k
    if not job.near or columns != NS*V:
        return False
    rows = (rows + tall - 1) // tall*tall
    for k in range(p.taps):
        if job.cval != 0 and locate(p, p.stride*o0 + p.dilation*k - p.offset) < 0:
            return False
    return (top >= 0 and top + a.stride*(rows - 1) + a.dilation*(a.taps - 1) < a.size and left >= 0
            and left + columns - 1 + b.dilation*(b.taps - 1) < b.size)


cdef bint gather(const Job* job, Sum* s, const char* x, Py_ssize_t groups, Py_ssize_t o0, Py_ssize_t o1,
                 Py_ssize_t rows, Py_ssize_t o2, real* scratch) noexcept nogil:
    """Copy what the outputs read; whether some of it is absent."""
    cdef const Window* p = &job.nest.axis[0]
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t k, i0, size = groups*job.nest.c*job.planes.plane
    cdef Py_ssize_t height = job.stride*(rows - 1) + job.dilation*(a.taps - 1) + 1
    cdef bint absent = False
    for k in range(p.taps):
        i0 = locate(p, p.stride*o0 + p.dilation*k - p.offset)
        if i0 < 0 and job.cval == 0:
            continue
        s.x_at[s.present], s.w_at[s.present] = s.present*size, k*p.ws
        if i0 < 0:
            fill(scratch + s.present*size, size, job.cval)
        elif copy(&job.planes, a, b, x + i0*p.xs*bytes_of(job.stored.x), groups, a.stride*o1 - a.offset, height, job.jump,
                  b.stride*o2 - b.offset, job.cval, scratch + s.present*size):
            absent = True
        s.present += 1
    return absent


cdef void piece(const Job* job, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0, Py_ssize_t o1,
                Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, real* scratch) noexcept nogil:
    """Some rows and columns of some groups, in place or through a copy."""
    cdef const Nest* nest = job.nest
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t k, i0, j, m, step = nest.xg
    cdef Py_ssize_t y_at = n*nest.yn + g*nest.yg + o0*p.ys + o1*a.ys + o2*b.ys
    cdef const char* origin = job.x + (n*nest.xn + g*nest.xg)*bytes_of(job.stored.x)
    cdef const real* from_x = <const real*>origin
    cdef const real* w
    cdef bint absent = False
    cdef char* y = job.y + y_at*bytes_of(job.stored.y)
    cdef Target to
    s.present = 0
    to.times = 1
    if in_place(job, o0, o1, rows, o2, columns):
        for k in range(p.taps):
            i0 = locate(p, p.stride*o0 + p.dilation*k - p.offset)
            if i0 >= 0:
                s.x_at[s.present], s.w_at[s.present] = i0*p.xs, k*p.ws
                s.present += 1
        from_x += (a.stride*o1 - a.offset)*a.xs + (o2 - b.offset)*b.xs
        s.xc, s.pitch, s.at = nest.xc, job.jump*a.xs, job.at + b.taps
    else:
        absent = gather(job, s, origin, groups, o0, o1, rows, o2, scratch) and job.cval == 0
        from_x = scratch
        step = nest.c*job.planes.plane
        s.xc, s.pitch, s.at = job.planes.plane, job.planes.row, job.at
    s.row = job.stride*s.pitch
    for j in range(groups):
        for m in range(nest.m):
            to.init, to.add = 0, False
            if job.aside:
                to.y, to.row = scratch + job.x_size + (j*nest.m + m)*job.y_plane, job.y_row
            else:
                to.y, to.row, to.add = <real*>y + j*nest.yg + m*nest.ym, a.ys, not job.first
                if job.bias != NULL and job.first:
                    to.init = job.bias[(g + j)*nest.m + m]
            w = job.w + (g + j)*nest.wg + m*nest.wm
            if absent and job.unsafe and job.unsafe_of[(g + j)*nest.m + m]:
                by_definition(job, &to, origin + j*nest.xg*bytes_of(job.stored.x), w, o0, o1, o2, rows, columns)
            else:
                sweep(job, s, from_x + j*step, w, &to, rows, columns)
    if job.aside:
        put(job, scratch + job.x_size, y, g, groups, rows, columns)


cdef void task(const Job* job, Py_ssize_t t, Py_ssize_t parts, real* scratch) noexcept nogil:
    """`job.rows` rows of a few groups, or a part of their columns."""
    cdef const Nest* nest = job.nest
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t strips = (a.out + job.rows - 1) // job.rows, bundles = (nest.g + job.groups - 1) // job.groups
    cdef Py_ssize_t pieces = (b.out + job.columns - 1) // job.columns, q, o0, o1, o2, g
    cdef Sum s
    cdef Py_ssize_t part = t % parts
    t = t // parts
    o1 = t % strips*job.rows
    t = t // strips
    o0 = t % p.out
    t = t // p.out
    g = t % bundles*job.groups
    s.x_at = <Py_ssize_t*>(scratch + job.x_size + job.y_size)
    s.w_at = s.x_at + p.taps
    s.c, s.wc, s.w1, s.w2, s.taps, s.dilation = nest.c, nest.wc, a.ws, b.ws, b.taps, job.dilation
    s.chunk, s.chunks = job.chunk, job.chunks
    for q in range(part*pieces // parts, (part + 1)*pieces // parts):
        o2 = q*job.columns
        piece(job, &s, t // bundles, g, min(job.groups, nest.g - g), o0, o1, min(job.rows, a.out - o1), o2,
              min(job.columns, b.out - o2), scratch)


cdef inline Py_ssize_t up(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1) // unit*unit


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Planes* planes = &job.planes
    cdef Py_ssize_t room, each, again
    job.nest = nest
    job.jump, again = a.stride, a.dilation if a.taps > 1 else a.stride
    while again:
        job.jump, again = again, job.jump % again
    job.stride, job.dilation = a.stride // job.jump, a.dilation // job.jump if a.taps > 1 else 1
    job.finished = job.stored.y != 0 or job.stored.divisor != 1 or job.stored.offset != 0
    job.near = b.stride == 1 and b.xs == 1 and b.ys == 1 and job.stored.x == 0 and not job.finished
    job.aside = b.ys != 1 or job.finished
    job.beside = not job.finished and neighbours(nest.g, nest.m, nest.yg, nest.ym, b.ys)
    planes.type = job.stored.x
    planes.turned = planes.type == 0 and neighbours(nest.g, nest.c, nest.xg, nest.xc, b.xs)
    planes.channels, planes.groups_step, planes.channels_step = nest.c, nest.xg, nest.xc
    job.groups = 1
    if planes.turned or job.beside:
        job.groups = max(<Py_ssize_t>1, min(nest.g, 2*V // max(nest.c, nest.m)))
    job.columns = NS*V if job.near else min(up(b.out, V), 4*NS*V)
    lay(planes, b.stride, b.dilation, b.taps, up(job.columns, NS*V), 1)
    job.y_row = up(job.columns, NS*V)
    each = p.taps*job.groups*nest.c*planes.row*job.stride + (job.groups*nest.m*job.y_row if job.aside else 0)
    room = HOLD
    if planes.turned or (job.aside and not job.finished):
        room = TURNED
    elif job.finished:  # of x and y: 2048^2, uint8, 3x3 and 5x5 take a tenth less than with TURNED
        room = 2*HOLD
    room = room // <Py_ssize_t>sizeof(real)
    room -= p.taps*job.groups*nest.c*planes.row*job.dilation*(a.taps - 1)
    if job.near and b.out >= 3*job.columns:  # most of x is read in place, along long rows
        room = 0
    job.rows = 1 if a.out == 1 else max(<Py_ssize_t>ROWS, min(up(a.out, ROWS), room // max(each, 1) // ROWS*ROWS))
    again = 1 if job.rows == 1 else up(job.rows, LONE)
    lay(planes, b.stride, b.dilation, b.taps, up(job.columns, NS*V), job.stride*(again - 1)
        + job.dilation*(a.taps - 1) + 1)
    job.y_plane = again*job.y_row
    if job.y_plane // V % 2 == 0:
        job.y_plane += V
    job.x_size = p.taps*job.groups*nest.c*planes.plane
    again = job.groups*nest.m  # planes of y; `put` turns V of them together
    job.y_size = (up(again, V) if job.beside else again)*job.y_plane if job.aside else 0
    job.size = job.x_size + job.y_size + (2*p.taps*sizeof(Py_ssize_t)) // <Py_ssize_t>sizeof(real) + 16


cdef void plain(Stored* stored) noexcept nogil:
    """Reals in, reals out."""
    stored.x, stored.y, stored.divisor, stored.offset = 0, 0, 1, 0


def scratch_size(nest_bytes):
    """Elements of scratch per thread."""
    cdef Job job
    plain(&job.stored)
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size


cdef Py_ssize_t cut(Chunk* chunk, Py_ssize_t taps, Py_ssize_t stride, Py_ssize_t dilation) noexcept nogil:
    """The kernel rows as chunks: those of one phase of the stride, if they lie one output row apart, else each alone."""
    cdef Py_ssize_t phase, first, count, left, found = 0, tall
    if dilation != 1:
        for first in range(taps):
            chunk[first].first, chunk[first].step, chunk[first].tall = first, 1, 1
        return taps
    for phase in range(min(stride, taps)):
        count = (taps - phase + stride - 1) // stride
        left = (count + TALL - 1) // TALL
        first = phase
        while left > 0:
            tall = (count + left - 1) // left
            chunk[found].first, chunk[found].step, chunk[found].tall = first, stride, tall
            first += tall*stride
            count -= tall
            left -= 1
            found += 1
    return found


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, stored, int threads):
    """y of one nest; cval_array holds one value of the dtype; stored: None, or a `Stored` as bytes, with first only."""
    cdef const Nest* nest = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Job job
    cdef Py_ssize_t tasks, t, parts = 1, k
    plain(&job.stored)
    if stored is not None:
        job.stored = (<const Stored*>PyBytes_AS_STRING(stored))[0]
    shape(&job, nest)
    job.x = <const char*>address(x_array) + nest.x0*bytes_of(job.stored.x)
    job.w = address(w_array) + nest.w0
    job.y = <char*>address(y_array) + nest.y0*bytes_of(job.stored.y)
    job.bias = NULL if bias_array is None else address(bias_array)
    job.first, job.cval = first, address(cval_array)[0]
    tasks = nest.n*((nest.g + job.groups - 1) // job.groups)*nest.axis[0].out
    if threads > 1 and a.out > 1:  # a few tasks for each thread, even if more rows are copied then
        while job.rows > ROWS and tasks*((a.out + job.rows - 1) // job.rows) < 4*threads:
            job.rows = up(job.rows // 2, ROWS)
    tasks *= (a.out + job.rows - 1) // job.rows
    if tasks < 4*threads:
        parts = max(<Py_ssize_t>1, min((b.out + job.columns - 1) // job.columns, 4*threads // max(tasks, 1)))
    job.at = <Py_ssize_t*>calloc(2*b.taps, sizeof(Py_ssize_t))
    job.chunk = <Chunk*>calloc(a.taps, sizeof(Chunk))
    cdef Py_ssize_t size = up(job.size, V)
    cdef real* scratch = <real*>calloc(size*threads + V, sizeof(real))
    job.unsafe_of = <char*>calloc(nest.g*nest.m, 1)
    if scratch == NULL or job.at == NULL or job.chunk == NULL or job.unsafe_of == NULL:
        free(scratch)
        free(job.unsafe_of)
        free(job.at)
        free(job.chunk)
        raise MemoryError("scratch of the stencil kernel")
    for k in range(b.taps):
        job.at[k], job.at[b.taps + k] = tap_at(&job.planes, k), k*b.dilation
    job.unsafe = job.cval == 0 and unsafe(nest, job.w, job.unsafe_of)
    job.chunks = cut(job.chunk, a.taps, job.stride, job.dilation)
    cdef real* aligned = <real*>((<uintptr_t>scratch + V*sizeof(real) - 1) // (V*sizeof(real))*(V*sizeof(real)))
    for t in prange(tasks*parts, nogil=True, num_threads=threads, schedule='static'):
        task(&job, t, parts, aligned + size*threadid())
    free(scratch)
    free(job.unsafe_of)
    free(job.at)
    free(job.chunk)
