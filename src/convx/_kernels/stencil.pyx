"""One or few channels in a group, vectors along the row: image filters, depthwise and grouped layers.

The sum:       y[o1, o2] = init + sum over planes (k0, c), k1, k2 of x[plane, s*o1 + d*k1, t*o2 + e*k2] * w[plane, k1, k2]
The schedule:  a tile of up to 4 rows x NS vectors of y (or 8 x 1, or one row) stays in registers. Kernel rows come in
               chunks of up to 5 (of large kernels 9) that lie one output row apart: the 8 (12) rows of x under a chunk
               are loaded once per k2 and serve 20 (36) products each, 0.4 (0.33) loads a multiply-add. A stride above 1
               splits the kernel rows into phases, which are such chunks each.
In place:      where zeros surround x, short rows of depthwise layers, with a stride of one or two, are read where they
               lie: what is outside is masked (_tile.pxd, a table of masks for a call), absent rows are a row of zeros.
               What a tile reads next, and writes next, is asked for ahead.
Edges:         what a tile cannot read in place is copied (_planes.pxd): rims by the boundary rule, columns by phases of
               the stride, channels-last arrays turned, several groups at a time. Along long rows only rims are, and not
               even they where zeros surround x: tiles at the ends read what is inside, under masks. Tiles that would
               reach beyond the last column begin earlier, and do outputs again; so do all but the first of a row
               where vectors would else lie across cache lines. The planes that the taps of
               the outermost window read are kept for the next outputs along it. Where taps read nothing (zero padding)
               and a result is not finite, the tile is done again by the definition.
               Where y does not run along the row it is turned, or written value by value, from planes in scratch.
Phases:        nests that read the same rows of x (_family.pxd) share the copy, piece by piece; of two whose columns
               lie in turn in y both are computed in scratch and written together, as whole vectors.
Types:         x may be stored in another type than `real`: it becomes real on its way into planes. y may be, too, or may
               be sums / divisor + offset: then it is written from planes in scratch (_stored.h). Types of pictures
               need no planes: tiles store them.
Points:        or four rows of outputs at a time are combined from sums at seven points (_down.pxd), in tiles of 8 x NS/2
               vectors: with few blocks of kernel rows loads, most of them across two cache lines, take as long as
               products, and these have the fewest (three blocks: 20 for 48 products, in 4 x NS 24, a twentieth to an
               eighth slower). Rows at points come from copies. Outputs that are not finite are summed once more without.
Assumes:       weights shared by all outputs; with points, steps of one down the columns.
"""

from libc.stdint cimport uintptr_t
from libc.stdlib cimport calloc, free
from cython.parallel cimport prange, threadid
from _real cimport real, vreal, V, NS, ASKS, v_set, v_copy, v_prefetch, v_prefetch_read, spoiled, v_spoiled
from _masks cimport MASKS, vmask
from _nest cimport Nest, Window, Box, address, clip_low, locate, exact_of, whole, PyBytes_AS_STRING
from _planes cimport Planes, fill, copy
from _tile cimport (
    ROWS, LONE, MOST as MOST_VECTORS, PLAIN, NEAR, EDGE, INSIDE, SECOND, Sum, Step, Target, list_steps, tile,
)
from _stored cimport Stored, STORES_HALF, bytes_of, write_run, write_rows
from _down cimport POINTS, LINE, blocks_of, to_points, from_points
from _stencil cimport MOST_NESTS, NOTHING, WIDE, Job, Held, Inner, Family, up, masks_of, shape, gather_families, furnish
from _put cimport put, put_pair

LANES = V
MOST = MOST_NESTS
HALF = STORES_HALF  # whether x and y may be stored as float16


ctypedef void (*Tile)(const Sum*, const real*, const real*, Target*) noexcept nogil


cdef void full_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS, PLAIN)


cdef void tall_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, LONE, NS // 2, PLAIN)


cdef void near_tile(const Sum* s, const real* x, const real* w, Target* to) noexcept nogil:
    tile(s, x, w, to, ROWS, NS, NEAR)


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
    if ASKS and how == NEAR:
        return near_tile
    if MASKS and how == EDGE:
        return edge_tile
    if MASKS and how == INSIDE:
        return lone_inside if high == LONE else full_inside if wide == NS*V else half_inside
    if MASKS and how == SECOND:
        return lone_second if high == LONE else half_second
    return lone_tile if high == LONE else full_tile if wide == NS*V else half_tile


# ---- pieces of the output

cdef void by_definition(const Job* job, const Target* to, const char* x, const real* w, Py_ssize_t o0, Py_ssize_t o1,
                        Py_ssize_t o2, Py_ssize_t rows, Py_ssize_t columns) noexcept nogil:
    """What `sweep` does, for weights that must not meet the zeros in the place of absent values."""
    cdef Py_ssize_t i, j, size = bytes_of(job.stored.y)
    cdef real total
    cdef Box box
    whole(job.nest, &box)
    for i in range(rows):
        for j in range(columns):
            total = exact_of(job.nest, &box, x, job.stored.x, w, o0, o1 + i, o2 + j, 0, job.cval)
            if job.by_tile:
                write_run(<char*>to.y + (i*to.row + j)*size, 1, size, &total, 1, to.init, &job.stored)
            else:
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


cdef inline Py_ssize_t misaligned(const Target* to) noexcept nogil:
    """How far tiles begin behind the first one (less than V), so that vectors of all rows are aligned in y: where they
    lie across two cache lines a 3x3 filter of 1024^2 takes half as long again. 0 where they cannot be, or are."""
    cdef Py_ssize_t size = sizeof(real), off = <Py_ssize_t>(<uintptr_t>to.y % (V*sizeof(real)))
    return 0 if to.row % V or off % size else (V - off // size) % V


cdef void sweep(const Job* job, Sum* s, const real* x, const real* w, Target* to, Py_ssize_t rows, Py_ssize_t o2,
                Py_ssize_t columns, bint near) noexcept nogil:
    """Tile by tile over `rows` x `columns` outputs of one channel, x and to.y at their corner. near: in place, where
    x holds what whole tiles read, and no more."""
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t i, j = 0, left, high, wide, step = 2 if job.how == SECOND else 1, top = s.top
    cdef Py_ssize_t shift = misaligned(to) if near and columns > 2*NS*V else 0  # then outputs may be done again
    cdef Py_ssize_t first = b.offset - o2, last = first + b.size - b.dilation*(b.taps - 1) - NS*V  # of tiles inside
    cdef real* y = to.y
    cdef const vmask* mask = s.mask
    cdef const real* none = s.none
    cdef Py_ssize_t size = bytes_of(job.stored.y), row = to.row
    cdef real room[(MOST_VECTORS + 1)*V]
    cdef real* part = <real*>((<uintptr_t>room + V*sizeof(real) - 1) // (V*sizeof(real))*(V*sizeof(real)))
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
            if job.how == PLAIN and wide == NS*V and (not job.by_tile or (rows % high == 0 and to.bare)):
                to.times = max(<Py_ssize_t>1, left // wide)
        elif first <= j <= last:
            add_up = chosen(NEAR if ASKS and job.nest.axis[1].taps > 3 else PLAIN, high, wide)
            if j > 0 or shift == 0:
                to.times = max(<Py_ssize_t>1, (min(last + NS*V, columns) - j) // (NS*V))
        else:
            add_up = chosen(EDGE if job.ends else PLAIN, high, wide)
            s.column, s.width = o2 + j - b.offset, b.size
        s.mask, s.none = mask + j // V*job.loads, none + j*step
        i = 0
        while i < rows:
            to.rows = high if job.aside else rows - i
            to.y = y + i*row + j
            s.top = top + i*s.down
            if job.how != PLAIN and s.row <= 8*NS*V:  # rows that nearly adjoin
                ahead(x + (i + high)*s.row, high*s.row, False)
                if not job.aside and to.row <= 4*NS*V:
                    ahead(to.y + high*to.row, high*to.row, True)
            to.type = job.stored.y if job.by_tile and to.bare and high <= rows - i and wide <= left else 0
            if to.type:
                to.y, to.row = <real*>(<char*>y + (i*row + j)*size), row
            elif job.by_tile:
                to.y, to.row, to.rows, to.columns = part, wide, high, wide
            add_up(s, x + i*s.row + j*step, w, to)
            if job.by_tile and to.type == 0:
                write_rows(<char*>y + (i*row + j)*size, row*size, size, part, wide, min(high, rows - i),
                           min(wide, left), -0.0, job.stored.y)
            i += high
        j = shift if j == 0 and shift else j + wide*to.times
    s.top, s.mask, s.none, to.row = top, mask, none, row


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


cdef void spread(const Job* job, const Planes* planes, const char* x, Py_ssize_t groups, Py_ssize_t top,
                 Py_ssize_t until, Py_ssize_t left, Held* held, real* rows, real* to) noexcept nogil:
    """Rows of planes at points, from those that are held to `until`, some at a time. x: NULL if all are absent."""
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Py_ssize_t channels = groups*job.nest.c, j = held.blocks, c, some, first
    cdef real* plane
    while j < until:
        some, first = min(<Py_ssize_t>ROWS, until - j), held.staged
        if x != NULL:
            copy(planes, a, b, x, groups, top + j*LINE + first, (some + 1)*LINE - 1 - first, 1, left, job.cval,
                 rows + first*planes.row)
        elif first == 0:
            fill(rows, channels*planes.plane, job.cval)
        for c in range(channels):
            plane = rows + c*planes.plane
            to_points(plane, planes.row, some, (planes.width if planes.phases == 1 else planes.row) // V,
                      to + c*POINTS*job.plane + j*planes.row, job.plane)
            v_copy(plane, plane + some*LINE*planes.row, (LINE - 1)*planes.row)  # the next block has them, too
        held.staged = LINE - 1
        j += some
    held.blocks = j


cdef bint gather(const Job* job, Sum* s, const char* x, Py_ssize_t groups, Py_ssize_t o0, Py_ssize_t o1,
                 Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, bint down, Held* held,
                 real* scratch) noexcept nogil:
    """Copy what the outputs read and is not held yet (down: what it is at points); whether some of it is absent."""
    cdef const Window* p = &job.nest.axis[0]
    cdef const Window* a = &job.nest.axis[1]
    cdef const Window* b = &job.nest.axis[2]
    cdef Planes planes = job.planes
    cdef Py_ssize_t k, i0, slot, size = groups*job.nest.c*(POINTS*job.plane if down else planes.plane)
    cdef Py_ssize_t height = job.stride*(rows - 1) + job.dilation*(a.taps - 1) + 1
    cdef Py_ssize_t top = a.stride*o1 - a.offset, left = b.stride*o2 - b.offset
    cdef const char* x0
    cdef real* to
    cdef bint absent = False, fresh
    s.present = 0
    if planes.phases == 1:
        planes.width = min(planes.width, up(columns + planes.shift*(b.taps - 1) // planes.step, V))
    for k in range(p.taps):
        i0 = locate(p, p.stride*o0 + p.dilation*k - p.offset)
        if i0 < 0 and job.cval == 0:
            absent = True  # for all pieces alike: how outputs beside infinite weights are summed is no matter of cuts
            continue
        slot = (p.stride*o0 // p.dilation + k) % p.taps if p.taps > 1 else 0
        s.x_at[s.present], s.w_at[s.present] = slot*size, k*(job.turned_size // p.taps if down else p.ws)
        fresh = held[slot].plane != i0
        if fresh:
            held[slot].plane, held[slot].absent, held[slot].blocks, held[slot].staged = i0, False, 0, 0
        x0, to = x + i0*p.xs*bytes_of(job.stored.x), scratch + slot*size
        if down:
            spread(job, &planes, x0 if i0 >= 0 else NULL, groups, top, blocks_of(rows) + job.blocks - 1, left,
                   held + slot, scratch + job.rows_at + slot*groups*job.nest.c*planes.plane, to)
        elif fresh and i0 < 0:
            fill(to, size, job.cval)
        elif fresh:
            held[slot].absent = copy(&planes, a, b, x0, groups, top, height, job.jump, left, job.cval, to)
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
        absent = gather(whole, s, origin, groups, o0, o1, rows, o2, columns, False, held, scratch) and whole.cval == 0
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
    s.w2, s.taps = nest.axis[2].ws, nest.axis[2].taps
    s.at = job.at + (s.taps if near or job.how != PLAIN else 0)
    place(job, s, o1, o2)
    list_steps(s, job.chunk, job.chunks, nest.c, nest.wc, nest.axis[1].ws, job.dilation)
    if job.how != PLAIN:
        from_x += s.top*nest.axis[1].xs + s.left
    for j in range(groups):
        for m in range(nest.m):
            to.init, to.add, to.bare = -0.0, False, job.aside or job.first and job.bias == NULL
            if job.aside:
                to.y, to.row = planes + (j*nest.m + m)*job.y_plane, job.y_row
            else:
                to.y = <real*>(<char*>y + (j*nest.yg + m*nest.ym)*bytes_of(job.stored.y))
                to.row, to.add = nest.axis[1].ys, not job.first
                if job.bias != NULL and job.first:
                    to.init = job.bias[(g + j)*nest.m + m]
            w = job.w + (g + j)*nest.wg + m*nest.wm
            if absent and job.unsafe and job.unsafe_of[(g + j)*nest.m + m]:
                by_definition(job, &to, origin + j*nest.xg*bytes_of(job.stored.x), w, o0, o1, o2, rows, columns)
            else:
                sweep(job, s, from_x + j*step, w, &to, rows, o2, columns, near)


cdef bint sums_at_points(const Job* job, Sum* s, const real* from_x, Py_ssize_t g, Py_ssize_t groups,
                         Py_ssize_t blocks, Py_ssize_t columns, real* y) noexcept nogil:
    """One tile of blocks of outputs, in planes y, and behind them their sums; whether some of them are not finite."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t c, q, vectors = (columns + V - 1) // V
    cdef real* sums = y + job.y_size - POINTS*job.sums
    cdef vreal bad = v_set(0)
    cdef Tile add_up = lone_tile if vectors == 1 else tall_tile
    cdef const real* w
    cdef const real* x
    cdef Target to
    s.w2, s.taps, s.at, s.apart = 1, nest.axis[2].taps, job.at, 1
    s.pitch, s.row, s.xc = job.planes.row, job.planes.row, POINTS*job.plane
    list_steps(s, job.block, job.block_chunks, nest.c, job.blocks*s.taps, s.taps, 1)
    to.init, to.add, to.bare, to.type = -0.0, False, True, 0
    to.row, to.rows, to.columns, to.times = job.y_row, LONE, WIDE, 1
    for c in range(groups*nest.m):
        x, w = from_x + c // nest.m*nest.c*s.xc, job.turned + (g*nest.m + c)*POINTS*job.turned_size
        for q in range(POINTS):
            to.y = sums + q*job.sums
            add_up(s, x + q*job.plane, w + q*job.turned_size, &to)
        bad = bad + from_points(sums, job.sums, blocks, vectors, job.y_row, y + c*job.y_plane)
    return v_spoiled(bad)


cdef void mend(const Job* job, Sum* s, const char* origin, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
               Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, Held* held, real* scratch,
               real* y) noexcept nogil:
    """Outputs of a tile that are not finite, once more from the rows of x, which take the place of those in wait."""
    cdef const Nest* nest = job.nest
    cdef Held* here = held + nest.axis[0].taps
    cdef real* again = y + groups*nest.m*job.y_plane
    cdef Py_ssize_t c, i, k
    cdef bint absent
    cdef real* p
    for k in range(nest.axis[0].taps):
        here[k].plane, held[k].staged = NOTHING, 0
    scratch += job.rows_at
    absent = gather(job, s, origin, groups, o0, o1, rows, o2, columns, False, here, scratch) and job.cval == 0
    s.xc, s.pitch, s.row = job.planes.plane, job.planes.row, job.planes.row
    sums(job, s, False, absent, origin, scratch, nest.c*s.xc, g, groups, o0, o1, rows, o2, columns, NULL, again)
    for c in range(groups*nest.m):
        for i in range(rows):
            for k in range(columns):
                p = y + c*job.y_plane + i*job.y_row + k
                if spoiled(p[0]):
                    p[0] = again[p - y]


cdef void piece_at_points(const Job* job, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
                          Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, Held* held,
                          real* scratch) noexcept nogil:
    """`piece` of one job, tile by tile: rows come to the points when they are read first, and are still in L1 or near."""
    cdef const Nest* nest = job.nest
    cdef Py_ssize_t size = bytes_of(job.stored.y), i = 0, j, high, wide
    cdef const char* origin = job.x + (n*nest.xn + g*nest.xg)*bytes_of(job.stored.x)
    cdef char* y = job.y + (n*nest.yn + g*nest.yg + o0*nest.axis[0].ys + o1*nest.axis[1].ys + o2*nest.axis[2].ys)*size
    cdef real* planes = scratch + job.x_size
    cdef const real* x
    while i < rows:
        high, j = min(<Py_ssize_t>LONE*LINE, rows - i), 0
        while j < columns:
            wide, x = min(<Py_ssize_t>WIDE, columns - j), scratch + i // LINE*job.planes.row + j
            gather(job, s, origin, groups, o0, o1, i + high, o2, columns, True, held, scratch)
            if sums_at_points(job, s, x, g, groups, blocks_of(high), wide, planes):
                mend(job, s, origin, g, groups, o0, o1 + i, high, o2 + j, wide, held, scratch, planes)
            put(job, planes, y + (i*nest.axis[1].ys + j*nest.axis[2].ys)*size, g, groups, high, wide)
            j += wide
        i += high


cdef void copied(const Family* family, Sum* s, Py_ssize_t n, Py_ssize_t g, Py_ssize_t groups, Py_ssize_t o0,
                 Py_ssize_t deep, Py_ssize_t o1, Py_ssize_t rows, Py_ssize_t o2, Py_ssize_t columns, Held* held,
                 real* scratch) noexcept nogil:
    """Outputs through copies, piece by piece, each for all `deep` outputs along the outermost window."""
    cdef Py_ssize_t j = 0, k, o, wide
    while j < columns and rows > 0:
        for k in range(family.whole.nest.axis[0].taps):
            held[k].plane = NOTHING
        for o in range(o0, o0 + deep):
            wide = min(family.whole.columns, columns - j)
            if family.whole.down:
                piece_at_points(family.jobs, s, n, g, groups, o, o1, rows, o2 + j, wide, held, scratch)
            else:
                piece(family, s, n, g, groups, o, o1, rows, o2 + j, wide, False, held, scratch)
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
    cdef Py_ssize_t strips = family.strips, bundles = (nest.g + job.groups - 1) // job.groups
    cdef Py_ssize_t blocks = (p.out + job.deep - 1) // job.deep, parts = family.parts, part = t % parts
    cdef Py_ssize_t columns = (b.out + job.columns - 1) // job.columns, n, g, groups, o0, o1, o2, rows, deep
    cdef Py_ssize_t high, right
    cdef Sum s
    cdef Inner inner
    cdef Held* held
    t = t // parts
    o1 = t % strips*family.units // strips*family.unit
    rows = min((t % strips + 1)*family.units // strips*family.unit, a.out) - o1
    t = t // strips
    o0 = t % blocks*job.deep
    t = t // blocks
    g = t % bundles*job.groups
    n = t // bundles
    o2 = part*columns // parts*job.columns
    columns = min((part + 1)*columns // parts*job.columns, b.out) - o2
    groups, deep = min(job.groups, nest.g - g), min(job.deep, p.out - o0)
    s.x_at = <Py_ssize_t*>(scratch + job.tables)
    s.w_at = s.x_at + p.taps
    held = <Held*>(s.w_at + p.taps)
    s.step = <Step*>(held + 2*p.taps)
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


cdef void plain(Stored* stored) noexcept nogil:
    """Reals in, reals out."""
    stored.x, stored.y, stored.divisor, stored.offset = 0, 0, 1, 0


def scratch_size(nest_bytes, bint down):
    """Elements of scratch per thread."""
    cdef Job job
    plain(&job.stored)
    job.down, job.cval = down, 1  # the most: rims are copied
    shape(&job, <const Nest*>PyBytes_AS_STRING(nest_bytes))
    return job.size


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


def run(x_array, w_array, y_array, bias_array, nest_bytes, bint first, cval_array, stored, bint down, int threads):
    """y of one nest, or of some (at most MOST_NESTS) that share no output; cval_array holds one value of the dtype;
    stored: None, or a `Stored` as bytes, with first only; down: at points, for steps of one down the columns."""
    cdef const Nest* nests = <const Nest*>PyBytes_AS_STRING(nest_bytes)
    cdef int count = min(len(nest_bytes) // <Py_ssize_t>sizeof(Nest), <Py_ssize_t>MOST_NESTS), failed
    cdef Job given
    plain(&given.stored)
    if stored is not None:
        given.stored = (<const Stored*>PyBytes_AS_STRING(stored))[0]
    given.x, given.w, given.y = <const char*>address(x_array), address(w_array), <char*>address(y_array)
    given.bias = NULL if bias_array is None else address(bias_array)
    given.first, given.cval, given.down = first, address(cval_array)[0], down
    with nogil:
        failed = compute(&given, nests, count, threads)
    if failed:
        raise MemoryError("scratch of the stencil kernel")
