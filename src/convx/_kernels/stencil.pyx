"""One or few channels in a group, vectors along the row: image filters, depthwise and grouped layers.

The sum:       y[o1, o2] = init + sum over planes (k0, c), k1, k2 of x[plane, s*o1 + d*k1, t*o2 + e*k2] * w[plane, k1, k2]
The schedule:  a tile of up to 4 rows x NS vectors of y (or 8 x 1, or one row) stays in registers. Kernel rows come in
               chunks of up to TALL that lie one output row apart: the TALL + 3 rows of x under a chunk are loaded once
               per k2 and serve TALL x 4 products, 0.4 loads a multiply-add. A stride above 1 splits the kernel rows
               into phases, which are such chunks each.
In place:      where zeros surround x, short rows of depthwise layers, with a stride of one or two, are read where they
               lie: what is outside is masked (_tile.pxd, a table of masks for a call), absent rows are a row of zeros.
               What a tile reads next, and writes next, is asked for ahead.
Edges:         what a tile cannot read in place is copied (_planes.pxd): rims by the boundary rule, columns by phases of
               the stride, channels-last arrays turned, several groups at a time. Along long rows only rims are, and not
               even they where zeros surround x: tiles at the ends read what is inside, under masks. Tiles that would
               reach beyond the last column begin earlier, and do outputs again. The planes that the taps of
               the outermost window read are kept for the next outputs along it. Where taps read nothing (zero padding)
               and a result is not finite, the tile is done again by the definition.
               Where y does not run along the row it is turned, or written value by value, from planes in scratch.
Phases:        nests that read the same rows of x (_family.pxd) share the copy, piece by piece; of two whose columns
               lie in turn in y both are computed in scratch and written together, as whole vectors.
Types:         x may be stored in another type than `real`: it becomes real on its way into planes. y may be, too, or may
               be sums / divisor + offset: then it is written from planes in scratch (_stored.h).
Assumes:       weights shared by all outputs.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, NS, v_load, v_store, v_set, v_copy, v_transpose, v_store_second, v_store_pair
from _real cimport v_prefetch, v_prefetch_read, spoiled
from _masks cimport MASKS, vmask, m_between, v_at
from _order cimport v_low, v_high
from _nest cimport Nest, Window, Box, CONSTANT, address, clip_low, locate, exact_of, whole, PyBytes_AS_STRING
from _planes cimport Planes, neighbours, lay, tap_at, fill, copy
from _family cimport alike, take_in, between
from _tile cimport ROWS, LONE, TALL, PLAIN, EDGE, INSIDE, SECOND, Chunk, Sum, Target, tile
from _stored cimport Stored, STORES_HALF, bytes_of, write_run

cdef enum:
    MOST_NESTS = 16  # of a call
    NOTHING = -2     # no index of a plane, nor that of an absent one
    HOLD = 24576     # bytes of scratch that a thread's piece of plain rows should take, of L1
    TURNED = 131072  # and with turned channels, of L2

LANES = V
MOST = MOST_NESTS
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
    Py_ssize_t deep                     # outputs of a task along the outermost window
    Py_ssize_t jump, stride, dilation   # rows: every jump-th position is one, steps counted in them
    bint near, aside                    # rows are long and x is read in place (see `ends`); y is computed in scratch
    int how                             # rows are short and x is read in place with its rims, or PLAIN
    bint finished                       # and there becomes what is stored
    bint beside                         # and its channels are neighbours
    Py_ssize_t y_row, y_plane
    Py_ssize_t x_size, y_size, tables, size  # of scratch: x, y, then what the taps of the outermost window read
    Py_ssize_t chunks
    Chunk* chunk
    char* unsafe_of                     # output channels whose weights are not finite
    bint unsafe                         # there are some
    Py_ssize_t* at                      # of taps in planes; and in place
    Py_ssize_t loads                    # of a vector of outputs and a tap
    vmask* mask                         # of each of them, tap by tap: made in the tile, as for EDGE, they cost 5 to 9 %
    const real* none                    # zeros, as many as a row of x
    bint even                           # the columns of the next job lie between those of this one
    bint ends                           # the ends of long rows are read in place too


ctypedef struct Held:
    # What a place for the planes of one tap of the outermost window holds.
    Py_ssize_t plane, absent  # NOTHING: none yet; whether some of it lies outside x


ctypedef struct Inner:
    # Rows and columns of a task: from the first on, up to the last.
    Py_ssize_t top, bottom, left, right


ctypedef struct Family:
    # Jobs that read the same rows of x.
    Nest nest             # what they read together
    Job whole             # how that is cut
    Job* jobs
    int count
    bint alone            # what is in place is one sum, along the rows: narrow rims, and whole rows at a time
    Py_ssize_t tasks, parts


ctypedef void (*Tile)(const Sum*, const real*, const real*, Target*) noexcept nogil


cdef void full_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS, PLAIN)


cdef void edge_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS, EDGE)


cdef void half_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS // 2, PLAIN)


cdef void lone_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, LONE, 1, PLAIN)


cdef void flat_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, 1, NS, PLAIN)


cdef void full_inside(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS, INSIDE)


cdef void half_inside(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS // 2, INSIDE)


cdef void lone_inside(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, LONE, 1, INSIDE)


cdef void half_second(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS // 2, SECOND)


cdef void lone_second(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, LONE, 1, SECOND)


cdef inline Tile chosen(int how, Py_ssize_t high, Py_ssize_t wide) noexcept nogil:
    """The tile of this form."""
    if high == 1:
        return flat_tile
    if MASKS and how == EDGE:
        return edge_tile
    if MASKS and how == INSIDE:
        return lone_inside if high == LONE else full_inside if wide == NS*V else half_inside
    if MASKS and how == SECOND:
        return lone_second if high == LONE else half_second
    return lone_tile if high == LONE else full_tile if wide == NS*V else half_tile


cdef inline Py_ssize_t masks_of(const Window* b) noexcept nogil:
    """The vectors of outputs of a row, and those that a tile may begin behind its end."""
    return (b.out + V - 1) // V + NS


cdef inline Py_ssize_t up(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1) // unit*unit


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


cdef inline void ahead(const real* p, Py_ssize_t count, bint write) noexcept nogil:
    """Ask for what comes next."""
    cdef Py_ssize_t j = 0, line = 64 // <Py_ssize_t>sizeof(real)
    while j < count:
        if write:
            v_prefetch(p + j)
        else:
            v_prefetch_read(p + j)
        j += line


cdef void sweep(const Job* job, Sum* s, const real* x, const real* w, Target* to, Py_ssize_t rows, Py_ssize_t o2,
                Py_ssize_t columns, bint near) noexcept nogil:
    """Tile by tile over `rows` x `columns` outputs of one channel, x and to.y at their corner. near: in place, where
    x holds what whole tiles read, and no more."""
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t i, j = 0, left, high, wide, step = 2 if job.how == SECOND else 1, top = s.top
    cdef Py_ssize_t first = b.offset - o2, last = first + b.size - b.dilation*(b.taps - 1) - NS*V  # of tiles inside
    cdef real* y = to.y
    cdef const vmask* mask = s.mask
    cdef const real* none = s.none
    cdef Tile add_up
    while j < columns:
        if near:
            j = max(<Py_ssize_t>0, min(j, columns - NS*V))
        left = columns - j
        high, wide = ROWS, NS*V
        if job.rows == 1:
            high = 1
        elif near:
            pass
        elif left <= V or (NS == 2 and job.how == SECOND):
            high, wide = LONE, V
        elif NS > 2 and (left <= NS // 2*V or job.how == SECOND):
            wide = NS // 2*V
        to.columns, to.times = wide if job.aside else left, 1
        if not near:
            add_up = chosen(job.how, high, wide)
        elif first <= j <= last:
            add_up = chosen(PLAIN, high, wide)
            to.times = max(<Py_ssize_t>1, (min(last + NS*V, columns) - j) // (NS*V))
        else:
            add_up = chosen(EDGE if job.ends else PLAIN, high, wide)
            s.column, s.width = o2 + j - b.offset, b.size
        s.mask, s.none = mask + j // V*job.loads, none + j*step
        i = 0
        while i < rows:
            to.rows = high if job.aside else rows - i
            to.y = y + i*to.row + j
            s.top = top + i*s.down
            if job.how != PLAIN and s.row <= 8*NS*V:  # rows that nearly adjoin
                ahead(x + (i + high)*s.row, high*s.row, False)
                if not job.aside and to.row <= 4*NS*V:
                    ahead(to.y + high*to.row, high*to.row, True)
            add_up(s, x + i*s.row + j*step, w, to)
            i += high
        j += wide*to.times
    s.top, s.mask, s.none = top, mask, none


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


cdef void put_pair(const Job* even, const real* planes, const real* odd_planes, char* y, Py_ssize_t g,
                   Py_ssize_t groups, Py_ssize_t rows, Py_ssize_t columns, Py_ssize_t odd_columns) noexcept nogil:
    """`put` for columns of two jobs in turn, as many of them or one more of `even`."""
    cdef const Nest* nest = even.nest
    cdef Py_ssize_t c, i, j, at, left
    cdef vreal a, b
    cdef real add
    cdef real* to
    for c in range(groups*nest.m):
        add = 0 if even.bias == NULL else even.bias[g*nest.m + c]
        for i in range(rows):
            to = <real*>y + c // nest.m*nest.yg + c % nest.m*nest.ym + i*nest.axis[1].ys
            at = c*even.y_plane + i*even.y_row
            j = 0
            left = columns + odd_columns
            while left > 0:
                a, b = v_load(planes + at + j) + v_set(add), v_load(odd_planes + at + j) + v_set(add)
                if left >= 2*V:
                    v_store_pair(to + 2*j, a, b)
                else:
                    v_at(to + 2*j, v_low(a, b), m_between(0, left))
                    v_at(to + 2*j + V, v_high(a, b), m_between(0, left - V))
                j, left = j + V, left - 2*V


cdef bint in_place(const Family* family, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t o2, Inner* inner) noexcept nogil:
    """Shrink outputs, counted from o1 and o2, to those that whole tiles read from x; whether there are any."""
    cdef const Job* job = &family.whole
    cdef const Window* p = &job.nest.axis[0]
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t tall = 1 if job.rows == 1 else ROWS, k, unit = V if family.alone else NS*V
    cdef Py_ssize_t lowest = a.size - 1 + a.offset - a.dilation*(a.taps - 1)  # of what the first taps may read
    if not job.near or lowest < 0:
        return False
    for k in range(p.taps):
        if job.cval != 0 and locate(p, p.stride*o0 + p.dilation*k - p.offset) < 0:
            return False
    inner.top = up(max(<Py_ssize_t>0, clip_low(-a.offset, a.stride) - o1), tall)
    inner.bottom = min(up(inner.bottom, tall), (lowest // a.stride - o1 + 1) // tall*tall)
    inner.left = 0
    if family.jobs.ends:
        return inner.top < inner.bottom and inner.right >= NS*V
    inner.left = up(max(<Py_ssize_t>0, b.offset - o2), unit)
    inner.right = min(inner.right, b.size + b.offset - b.dilation*(b.taps - 1) - o2)
    if not family.alone:  # no tile does an output again
        inner.right = inner.left + (inner.right - inner.left) // (NS*V)*(NS*V)
    return inner.top < inner.bottom and inner.right - inner.left >= NS*V


cdef bint gather(const Job* job, Sum* s, const char* x, Py_ssize_t groups, Py_ssize_t o0, Py_ssize_t o1,
                 Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, Held* held, real* scratch) noexcept nogil:
    """Copy what the outputs read and is not held yet; whether some of it is absent."""
    cdef const Window* p = &job.nest.axis[0]
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Planes planes = job.planes
    cdef Py_ssize_t k, i0, slot, size = groups*job.nest.c*planes.plane
    cdef Py_ssize_t height = job.stride*(rows - 1) + job.dilation*(a.taps - 1) + 1
    cdef bint absent = False
    if planes.phases == 1:
        planes.width = min(planes.width, up(columns + planes.shift*(b.taps - 1) // planes.step, V))
    for k in range(p.taps):
        i0 = locate(p, p.stride*o0 + p.dilation*k - p.offset)
        if i0 < 0 and job.cval == 0:
            continue
        slot = (p.stride*o0 // p.dilation + k) % p.taps if p.taps > 1 else 0
        s.x_at[s.present], s.w_at[s.present] = slot*size, k*p.ws
        if held[slot].plane != i0:
            held[slot].plane, held[slot].absent = i0, False
            if i0 < 0:
                fill(scratch + slot*size, size, job.cval)
            else:
                held[slot].absent = copy(&planes, a, b, x + i0*p.xs*bytes_of(job.stored.x), groups,
                                         a.stride*o1 - a.offset, height, job.jump, b.stride*o2 - b.offset, job.cval,
                                         scratch + slot*size)
        absent = absent or held[slot].absent
        s.present += 1
    return absent


cdef void piece(const Family* family, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
                Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, bint near, Held* held,
                real* scratch) noexcept nogil:
    """Some rows and columns of some groups of all jobs, in place (near) or through one copy."""
    cdef const Job* whole = &family.whole
    cdef const Job* job
    cdef const Nest* nest = whole.nest
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t k, i0, high, wide, odd_wide = 0, step = nest.xg
    cdef const char* origin = whole.x + (n*nest.xn + g*nest.xg)*bytes_of(whole.stored.x)
    cdef const real* from_x = <const real*>origin
    cdef bint absent = False
    cdef real* planes = scratch + whole.x_size
    cdef char* y
    s.present = 0
    if near or whole.how != PLAIN:
        absent = whole.how != PLAIN  # rows end somewhere
        for k in range(p.taps):
            i0 = locate(p, p.stride*o0 + p.dilation*k - p.offset)
            if i0 >= 0:
                s.x_at[s.present], s.w_at[s.present] = i0*p.xs, k*p.ws
                s.present += 1
        if near:
            from_x += (a.stride*o1 - a.offset)*a.xs + (o2 - b.offset)*b.xs
        s.xc, s.pitch = nest.xc, whole.jump*a.xs
    else:
        absent = gather(whole, s, origin, groups, o0, o1, rows, o2, columns, held, scratch) and whole.cval == 0
        from_x = scratch
        step = nest.c*whole.planes.plane
        s.xc, s.pitch = whole.planes.plane, whole.planes.row
    s.row = whole.stride*s.pitch
    k = 0
    while k < family.count:
        job = family.jobs + k
        high, wide = min(rows, job.nest.axis[1].out - o1), min(columns, job.nest.axis[2].out - o2)
        y = job.y + (n*nest.yn + g*nest.yg + o0*p.ys + o1*a.ys + o2*b.ys)*bytes_of(job.stored.y)
        k += 2 if job.even else 1
        if high <= 0 or wide <= 0:
            continue
        sums(job, s, near, absent, origin, from_x, step, g, groups, o0, o1, high, o2, wide, <real*>y, planes)
        if job.even:
            odd_wide = min(columns, job[1].nest.axis[2].out - o2)
            if odd_wide > 0:
                sums(job + 1, s, near, absent, origin, from_x, step, g, groups, o0, o1, high, o2, odd_wide, NULL,
                     planes + whole.y_size)
            put_pair(job, planes, planes + whole.y_size, y, g, groups, high, wide, odd_wide)
        elif job.aside:
            put(job, planes, y, g, groups, high, wide)


cdef inline void place(const Job* job, Sum* s, Py_ssize_t o1, Py_ssize_t o2) noexcept nogil:
    """Where the outputs from o1 and o2 on read x."""
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    s.top, s.high, s.down, s.apart = a.stride*o1 - a.offset, a.size, a.stride, a.dilation
    s.left = b.stride*o2 - b.offset
    s.none, s.mask, s.masks = job.none + s.left, job.mask + o2 // V*job.loads, masks_of(b)*job.loads


cdef void sums(const Job* job, Sum* s, bint near, bint absent, const char* origin, const real* from_x,
               Py_ssize_t step, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0, Py_ssize_t o1, Py_ssize_t rows,
               Py_ssize_t o2, Py_ssize_t columns, real* y, real* planes) noexcept nogil:
    """The outputs of one job in a piece, in y or in planes."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t j, m
    cdef const real* w
    cdef Target to
    s.chunk, s.chunks, s.w1, s.w2, s.taps = job.chunk, job.chunks, nest.axis[1].ws, nest.axis[2].ws, nest.axis[2].taps
    s.c, s.wc, s.dilation = nest.c, nest.wc, job.dilation
    s.at = job.at + (s.taps if near or job.how != PLAIN else 0)
    place(job, s, o1, o2)
    if job.how != PLAIN:
        from_x += s.top*nest.axis[1].xs + s.left
    for j in range(groups):
        for m in range(nest.m):
            to.init, to.add = 0, False
            if job.aside:
                to.y, to.row = planes + (j*nest.m + m)*job.y_plane, job.y_row
            else:
                to.y, to.row, to.add = y + j*nest.yg + m*nest.ym, nest.axis[1].ys, not job.first
                if job.bias != NULL and job.first:
                    to.init = job.bias[(g + j)*nest.m + m]
            w = job.w + (g + j)*nest.wg + m*nest.wm
            if absent and job.unsafe and job.unsafe_of[(g + j)*nest.m + m]:
                by_definition(job, &to, origin + j*nest.xg*bytes_of(job.stored.x), w, o0, o1, o2, rows, columns)
            else:
                sweep(job, s, from_x + j*step, w, &to, rows, o2, columns, near)


cdef void copied(const Family* family, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
                 Py_ssize_t deep, Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, Held* held,
                 real* scratch) noexcept nogil:
    """Outputs through copies, piece by piece, each for all `deep` outputs along the outermost window."""
    cdef Py_ssize_t j = 0, k, o
    while j < columns and rows > 0:
        for k in range(family.whole.nest.axis[0].taps):
            held[k].plane = NOTHING
        for o in range(o0, o0 + deep):
            piece(family, s, n, g, groups, o, o1, rows, o2 + j, min(family.whole.columns, columns - j), False, held,
                  scratch)
        j += family.whole.columns


cdef void inside(const Family* family, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
                 Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, real* scratch) noexcept nogil:
    """Outputs whose tiles read x in place: some rows at a time, along them; piece by piece if several sums read x."""
    cdef Py_ssize_t tall = 1 if family.whole.rows == 1 else ROWS, i = 0, j
    cdef Py_ssize_t wide = columns if family.alone else NS*V
    while i < rows:
        j = 0
        while j < columns:
            piece(family, s, n, g, groups, o0, o1 + i, min(tall, rows - i), o2 + j, wide, True, NULL, scratch)
            j += wide
        i += tall


cdef void task(const Family* family, Py_ssize_t t, real* scratch) noexcept nogil:
    """`rows` rows of a few groups, or a part of their columns, for `deep` outputs along the outermost window."""
    cdef const Job* job = &family.whole
    cdef const Nest* nest = job.nest
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t strips = (a.out + job.rows - 1) // job.rows, bundles = (nest.g + job.groups - 1) // job.groups
    cdef Py_ssize_t blocks = (p.out + job.deep - 1) // job.deep, parts = family.parts, part = t % parts
    cdef Py_ssize_t columns = (b.out + job.columns - 1) // job.columns, n, g, groups, o0, o1, o2, rows, deep
    cdef Py_ssize_t high, right
    cdef Sum s
    cdef Inner inner
    cdef Held* held
    t = t // parts
    o1 = t % strips*job.rows
    t = t // strips
    o0 = t % blocks*job.deep
    t = t // blocks
    g = t % bundles*job.groups
    n = t // bundles
    o2 = part*columns // parts*job.columns
    columns = min((part + 1)*columns // parts*job.columns, b.out) - o2
    groups, rows, deep = min(job.groups, nest.g - g), min(job.rows, a.out - o1), min(job.deep, p.out - o0)
    s.x_at = <Py_ssize_t*>(scratch + job.tables)
    s.w_at = s.x_at + p.taps
    held = <Held*>(s.w_at + p.taps)
    inner.bottom, inner.right = rows, columns
    if not in_place(family, o0, o1, o2, &inner):
        copied(family, &s, n, g, groups, o0, deep, o1, rows, o2, columns, held, scratch)
        return
    inner.bottom = min(inner.bottom, rows)
    high, right = inner.bottom - inner.top, columns - inner.right
    copied(family, &s, n, g, groups, o0, 1, o1, inner.top, o2, columns, held, scratch)
    copied(family, &s, n, g, groups, o0, 1, o1 + inner.top, high, o2, inner.left, held, scratch)
    inside(family, &s, n, g, groups, o0, o1 + inner.top, high, o2 + inner.left, inner.right - inner.left, scratch)
    copied(family, &s, n, g, groups, o0, 1, o1 + inner.top, high, o2 + inner.right, right, held, scratch)
    copied(family, &s, n, g, groups, o0, 1, o1 + inner.bottom, rows - inner.bottom, o2, columns, held, scratch)


cdef void task_of_each(const Family* families, int count, Py_ssize_t part, Py_ssize_t parts,
                       real* scratch) noexcept nogil:
    """A part of the tasks of every family."""
    cdef Py_ssize_t t
    cdef int i
    for i in range(count):
        for t in range(part*families[i].tasks // parts, (part + 1)*families[i].tasks // parts):
            task(families + i, t, scratch)


cdef void shape(Job* job, const Nest* nest) noexcept nogil:
    """How the work is cut, and the scratch that a thread needs (job.size)."""
    cdef const Window* p = &nest.axis[0]
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Planes* planes = &job.planes
    cdef Py_ssize_t room, each, again, held
    job.nest = nest
    job.jump, again = a.stride, a.dilation if a.taps > 1 else a.stride
    while again:
        job.jump, again = again, job.jump % again
    job.stride, job.dilation = a.stride // job.jump, a.dilation // job.jump if a.taps > 1 else 1
    job.finished = job.stored.y != 0 or job.stored.divisor != 1 or job.stored.offset != 0
    job.near = (b.stride == 1 and b.xs == 1 and b.ys == 1 and job.stored.x == 0 and not job.finished
                and p.taps == 1)
    job.how = PLAIN
    # Masks cost more than copies where a place is read often: 64^2, 5 x 5 as much, 15 x 15 half as much again; 56^2 in
    # steps of two, 7 x 7 as much in float64; 3^3 less in rows of one tile. With 4 x 4 channels in a group one copy
    # serves four outputs.
    if (MASKS and nest.c == nest.m == 1 and 1 < a.out and b.out < 3*NS*V and b.xs == 1 and job.stored.x == 0
            and job.cval == 0 and a.boundary == b.boundary == CONSTANT):
        if b.stride == 1 and p.taps*a.taps*b.taps < (28 if p.taps > 1 and b.out <= NS*V else 16):
            job.how = INSIDE
        elif b.stride == 2 and b.dilation == 1 and p.taps*a.taps*b.taps < 36:
            job.how = SECOND
    job.deep = p.out if p.taps > 1 else 1
    job.aside = b.ys != 1 or job.finished
    job.beside = not job.finished and neighbours(nest.g, nest.m, nest.yg, nest.ym, b.ys)
    planes.type = job.stored.x
    planes.turned = planes.type == 0 and neighbours(nest.g, nest.c, nest.xg, nest.xc, b.xs)
    planes.channels, planes.groups_step, planes.channels_step = nest.c, nest.xg, nest.xc
    job.groups = 1
    if planes.turned or job.beside:
        job.groups = max(<Py_ssize_t>1, min(nest.g, 2*V // max(nest.c, nest.m)))
    job.columns = NS*V if job.near and (nest.m*nest.c > 1 or b.out >= 3*NS*V) else min(up(b.out, V), 4*NS*V)
    job.near = job.near and b.out >= 3*NS*V and job.how == PLAIN
    lay(planes, b.stride, b.dilation, b.taps, up(job.columns, NS*V), 1)
    job.y_row = up(job.columns, NS*V)
    held = p.taps*job.groups*nest.c*planes.row if job.how == PLAIN else 0
    each = held*job.stride + (job.groups*nest.m*job.y_row if job.aside else 0)
    room = HOLD
    if planes.turned or (job.aside and not job.finished):
        room = TURNED
    elif job.finished or job.deep > 1:  # of x and y: 2048^2, uint8, 3x3 and 5x5 take a tenth less than with TURNED;
        room = 2*HOLD                   # of planes: 128^3, 3^3 and 5^3 take up to a tenth less than with HOLD
    room = room // <Py_ssize_t>sizeof(real)
    room -= held*job.dilation*(a.taps - 1)
    job.rows = 1 if a.out == 1 else max(<Py_ssize_t>ROWS, min(up(a.out, ROWS), room // max(each, 1) // ROWS*ROWS))
    if job.near and job.rows > 1:  # its rims alone are copied, and threads want equal shares
        job.rows = min(job.rows, <Py_ssize_t>8*ROWS)
    again = 1 if job.rows == 1 else up(job.rows, LONE)
    lay(planes, b.stride, b.dilation, b.taps, up(job.columns, NS*V), job.stride*(again - 1)
        + job.dilation*(a.taps - 1) + 1)
    job.y_plane = again*job.y_row
    if job.y_plane // V % 2 == 0:
        job.y_plane += V
    job.x_size = p.taps*job.groups*nest.c*planes.plane if job.how == PLAIN else 0
    again = job.groups*nest.m  # planes of y; `put` turns V of them together
    job.y_size = (up(again, V) if job.beside else again)*job.y_plane if job.aside else 0
    job.tables = job.x_size + job.y_size
    job.size = job.tables + p.taps*(2*sizeof(Py_ssize_t) + sizeof(Held)) // <Py_ssize_t>sizeof(real) + 16


cdef void plain(Stored* stored) noexcept nogil:
    """Reals in, reals out."""
    stored.x, stored.y, stored.divisor, stored.offset = 0, 0, 1, 0


def scratch_size(nest_bytes):
    """Elements of scratch per thread."""
    cdef Job job
    plain(&job.stored)
    job.cval = 1  # the most: rims are copied
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


cdef void cut_tasks(Family* family, int threads) noexcept nogil:
    """Enough tasks for the threads, even if more rows are copied then."""
    cdef Job* whole = &family.whole
    cdef const Nest* nest = whole.nest
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t bundles = (nest.g + whole.groups - 1) // whole.groups, out = nest.axis[1].out
    cdef Py_ssize_t tasks = nest.n*bundles, strips = (out + whole.rows - 1) // whole.rows, deep = nest.axis[0].out
    if threads > 1:
        while whole.deep > 4*nest.axis[0].taps and tasks*strips*((deep + whole.deep - 1) // whole.deep) < 4*threads:
            whole.deep = (whole.deep + 1) // 2
    tasks *= (deep + whole.deep - 1) // whole.deep
    if threads > 1 and out > 1:
        while whole.rows > ROWS and tasks*((out + whole.rows - 1) // whole.rows) < 4*threads:
            whole.rows = up(whole.rows // 2, ROWS)
    tasks *= (out + whole.rows - 1) // whole.rows
    family.parts = 1
    if tasks < 4*threads:
        family.parts = max(<Py_ssize_t>1, min((b.out + whole.columns - 1) // whole.columns, 4*threads // max(tasks, 1)))
    family.tasks = tasks*family.parts
    family.alone = family.count == nest.m == 1 and whole.first and (whole.rows == 1 or whole.rows >= LONE)


cdef int gather_families(const Job* given, const Nest* nests, int count, int threads, Job* jobs,
                         Family* families) noexcept nogil:
    """The jobs of all nests, and how many families of neighbours they are."""
    cdef const Nest* nest
    cdef Family* family = families
    cdef int i, k, number = 0
    for i in range(count):
        if number and alike(nests + i - 1, nests + i):
            take_in(&family.nest, nests + i)
            family.count += 1
        else:
            family = families + number
            family.nest, family.whole, family.jobs, family.count = nests[i], given[0], jobs + i, 1
            number += 1
        jobs[i].nest = nests + i
    for i in range(number):
        family = families + i
        shape(&family.whole, &family.nest)
        cut_tasks(family, threads)
        for k in range(family.count):
            nest = family.jobs[k].nest
            family.jobs[k] = family.whole
            family.jobs[k].nest, family.jobs[k].even = nest, False
        if pair(family):  # both in scratch
            family.whole.tables += family.whole.y_size
            family.whole.size += family.whole.y_size
    return number


cdef bint pair(Family* family) noexcept nogil:
    """Find the jobs whose columns lie in turn in y, and put those first that begin; whether there are any."""
    cdef Job* job
    cdef Job* before
    cdef const Nest* nest
    cdef int k = 1
    cdef bint found = False
    while k < family.count and family.whole.first and family.whole.aside and not family.whole.finished \
            and not family.whole.beside:
        job = family.jobs + k
        before = job - 1
        if between(job.nest, before.nest):
            nest = job.nest
            job.nest, before.nest = before.nest, nest
        before.even = between(before.nest, job.nest)
        found = found or before.even
        k += 2 if before.even else 1
    return found


cdef Py_ssize_t furnish(Job* job, const Family* family, char* memory) noexcept nogil:
    """The job's own tables, in memory (NULL: none yet), and the bytes they take."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t rows = family.nest.axis[1].offset - a.offset, columns = family.nest.axis[2].offset - b.offset, k, at
    cdef Py_ssize_t vectors = masks_of(b), v
    job.loads = 0 if job.how == PLAIN else 2 if job.how == SECOND else 1
    job.mask = <vmask*>memory
    job.at = <Py_ssize_t*>(memory + up(b.taps*vectors*job.loads*<Py_ssize_t>sizeof(vmask), 8))
    job.chunk = <Chunk*>(job.at + 2*b.taps)
    job.unsafe_of = <char*>(job.chunk + a.taps)
    if memory != NULL:
        job.x += nest.x0*bytes_of(job.stored.x)
        job.w += nest.w0
        job.y += nest.y0*bytes_of(job.stored.y)
        for k in range(b.taps):
            job.at[k] = rows*job.planes.row + tap_at(&job.planes, columns + k)
            job.at[b.taps + k] = (rows*a.xs + columns if job.how == PLAIN else 0) + k*b.dilation
            for v in range(vectors*job.loads):
                at = b.offset - k*b.dilation - v*V
                job.mask[k*vectors*job.loads + v] = m_between(at, b.size + at)
        job.unsafe = job.cval == 0 and unsafe(nest, job.w, job.unsafe_of)
        job.ends = (MASKS and family.alone and family.whole.near and family.whole.rows > 1 and job.cval == 0
                    and b.boundary == CONSTANT and not job.unsafe)  # infinite times zero
        job.chunks = cut(job.chunk, a.taps, job.stride, job.dilation)
    return (up(up(b.taps*vectors*job.loads*<Py_ssize_t>sizeof(vmask), 8) + 2*b.taps*<Py_ssize_t>sizeof(Py_ssize_t)
               + a.taps*<Py_ssize_t>sizeof(Chunk) + nest.g*nest.m, V*sizeof(real)))


cdef int compute(const Job* given, const Nest* nests, int count, int threads) noexcept nogil:
    """y of all nests in one region; 1 if there was no memory."""
    cdef Job jobs[MOST_NESTS]
    cdef Family families[MOST_NESTS]
    cdef int i, k, number = gather_families(given, nests, count, threads, jobs, families)
    cdef Py_ssize_t size = 0, parts = 0, tables = 0, none = 0, t
    for i in range(number):
        size, parts = max(size, up(families[i].whole.size, V)), max(parts, families[i].tasks)
        if families[i].whole.how != PLAIN:
            none = max(none, families[i].nest.axis[2].size)
        families[i].whole.x += families[i].nest.x0*bytes_of(given.stored.x)
        for k in range(families[i].count):
            tables += furnish(families[i].jobs + k, families + i, NULL)
    cdef real* scratch = <real*>calloc(size*threads + V + none, sizeof(real))
    cdef char* memory = <char*>calloc(tables + V*sizeof(real), 1)
    if scratch == NULL or memory == NULL:
        free(scratch)
        free(memory)
        return 1
    tables = -<Py_ssize_t>(<uintptr_t>memory % (V*sizeof(real)))
    tables = tables + V*<Py_ssize_t>sizeof(real) if tables < 0 else 0
    for i in range(number):
        for k in range(families[i].count):
            tables += furnish(families[i].jobs + k, families + i, memory + tables)
            families[i].jobs[k].none = scratch + size*threads + V
    cdef real* aligned = <real*>((<uintptr_t>scratch + V*sizeof(real) - 1) // (V*sizeof(real))*(V*sizeof(real)))
    for t in prange(parts, num_threads=threads, schedule='static'):
        task_of_each(families, number, t, parts, aligned + size*threadid())
    free(scratch)
    free(memory)
    return 0


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, stored, int threads):
    """y of one nest, or of some (at most MOST_NESTS) that share no output; cval_array holds one value of the dtype;
    stored: None, or a `Stored` as bytes, with first only."""
    cdef const Nest* nests = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef int count = min(len(nest_bytes) // <Py_ssize_t>sizeof(Nest), <Py_ssize_t>MOST_NESTS), failed
    cdef Job given
    plain(&given.stored)
    if stored is not None:
        given.stored = (<const Stored*>PyBytes_AS_STRING(stored))[0]
    given.x, given.w, given.y = <const char*>address(x_array), address(w_array), <char*>address(y_array)
    given.bias = NULL if bias_array is None else address(bias_array)
    given.first, given.cval = first, address(cval_array)[0]
    with nogil:
        failed = compute(&given, nests, count, threads)
    if failed:
        raise MemoryError("scratch of the stencil kernel")
