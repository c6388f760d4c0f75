"""What the stencil kernel works with: how it cuts the work, and the tables of a call."""

from libc.stdint cimport int64_t
from _real cimport real, V, NS, spoiled
from _masks cimport MASKS, vmask, m_between
from _nest cimport Nest, Window, CONSTANT
from _planes cimport Planes, neighbours, apart, lay, tap_at
from _family cimport alike, take_in, between
from _tile cimport ROWS, LONE, TALL, TALLEST, PLAIN, INSIDE, SECOND, Chunk, Step
from _stored cimport Stored, SINGLE, BYTE, WORD, SHORT, bytes_of
from _down cimport POINTS, LINE, blocks_of, weights, weights_size

cdef enum:
    MOST_NESTS = 16  # of a call
    NOTHING = -2     # no index of a plane, nor that of an absent one
    HOLD = 24576     # bytes of scratch that a thread's piece of plain rows should take, of L1
    TURNED = 131072  # and with turned channels, of L2
    DOWN = 32        # blocks of rows of a task at points: half and twice as many are as fast (1024^2)
    WIDE = NS // 2*V  # columns of a tile there, of LONE rows


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
    Py_ssize_t groups, rows, columns    # of a task, at most; columns of a piece of it
    Py_ssize_t deep                     # outputs of a task along the outermost window
    Py_ssize_t jump, stride, dilation   # rows: every jump-th position is one, steps counted in them
    bint near, aside                    # rows are long and x is read in place (see `ends`); y is computed in scratch
    int how                             # rows are short and x is read in place with its rims, or PLAIN
    bint finished                       # and there becomes what is stored
    bint picture, by_tile               # y is of a picture's type: rows are stored as vectors; tile by tile
    bint beside                         # and its channels are neighbours
    Py_ssize_t y_row, y_plane
    Py_ssize_t x_size, y_size, tables, size  # of scratch: x, y, then what the outermost taps read, and steps
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
    bint down                           # outputs are summed at points (_down.pxd), four rows at a time
    const real* turned                  # weights there
    Py_ssize_t turned_size              # of an output channel and a point
    Chunk* block                        # the blocks of kernel rows
    Py_ssize_t blocks, block_chunks
    Py_ssize_t rows_at, plane, sums     # of scratch: rows of x as they are; a plane at a point; a tile of its sums

ctypedef struct Held:
    # What a place for the planes of one tap of the outermost window holds.
    Py_ssize_t plane, absent   # NOTHING: none yet; whether some of it lies outside x
    Py_ssize_t blocks, staged  # at points: blocks of rows that are there; rows of the next one that wait as they are


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
    Py_ssize_t tasks, parts, strips
    Py_ssize_t unit, units  # of rows, in which strips are cut: equal shares


cdef inline Py_ssize_t masks_of(const Window* b) noexcept nogil:
    """The vectors of outputs of a row, and those that a tile may begin behind its end."""
    return (b.out + V - 1) // V + NS


cdef inline Py_ssize_t up(Py_ssize_t count, Py_ssize_t unit) noexcept nogil:
    return (count + unit - 1) // unit*unit


cdef inline void shape(Job* job, const Nest* nest) noexcept nogil:
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
                and p.taps == 1 and not job.down)
    job.how = PLAIN
    # Masks cost more than copies where a place is read often: 64^2, 5 x 5 as much, 15 x 15 half as much again; 56^2 in
    # steps of two, 7 x 7 as much in float64; 3^3 less in rows of one tile. With 4 x 4 channels in a group one copy
    # serves four outputs.
    if (MASKS and nest.c == nest.m == 1 and 1 < a.out and b.out < 3*NS*V and b.xs == 1 and job.stored.x == 0
            and job.cval == 0 and a.boundary == b.boundary == CONSTANT and not job.down):
        if b.stride == 1 and p.taps*a.taps*b.taps < (28 if p.taps > 1 and b.out <= NS*V else 16):
            job.how = INSIDE
        elif b.stride == 2 and b.dilation == 1 and p.taps*a.taps*b.taps < 36:
            job.how = SECOND
    job.picture = ((job.stored.y == SINGLE or job.stored.y == BYTE or job.stored.y == WORD or job.stored.y == SHORT)
                   and job.stored.divisor == 1 and job.stored.offset == 0 and b.ys == 1 and job.how == PLAIN)
    job.by_tile = job.picture and not job.down
    job.finished = job.finished and not job.by_tile
    job.deep = p.out if p.taps > 1 else 1
    job.aside = b.ys != 1 or job.finished or job.down
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
    room = HOLD*5 // 4 if job.stored.x else HOLD  # 15 x 15 of 1024^2 take a tenth less; with 3/2, 3 x 3 a tenth more
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
    if job.down:
        job.rows, again = LINE*min(up(blocks_of(a.out), LONE), <Py_ssize_t>DOWN), LINE*LONE
        job.blocks, job.y_row = blocks_of(a.taps), WIDE
        job.plane, job.sums = apart((job.rows // LINE + job.blocks - 1)*planes.row), apart(LONE*WIDE)
    lay(planes, b.stride, b.dilation, b.taps, up(job.columns, NS*V), job.stride*(again - 1)
        + job.dilation*(a.taps - 1) + 1)
    job.y_plane = apart(again*job.y_row)
    job.x_size = p.taps*job.groups*nest.c*planes.plane if job.how == PLAIN else 0
    again = job.groups*nest.m  # planes of y; `put` turns V of them together
    job.y_size = (up(again, V) if job.beside else again)*job.y_plane if job.aside else 0
    if job.down:
        job.rows_at = p.taps*job.groups*nest.c*POINTS*job.plane
        job.x_size += job.rows_at
        job.y_size += job.y_size + POINTS*job.sums  # those that are summed once more, and sums at points
    job.tables = job.x_size + job.y_size
    each = 2*sizeof(Py_ssize_t) + 2*sizeof(Held) + nest.c*a.taps*<Py_ssize_t>sizeof(Step)  # bytes of tables a tap
    job.size = job.tables + p.taps*each // <Py_ssize_t>sizeof(real) + 16


cdef inline Py_ssize_t cut(Chunk* chunk, Py_ssize_t taps, Py_ssize_t stride, Py_ssize_t dilation,
                           Py_ssize_t most) noexcept nogil:
    """The kernel rows as chunks: those of one phase of the stride, if they lie one output row apart, else each alone."""
    cdef Py_ssize_t phase, first, count, left, found = 0, tall
    if dilation != 1:
        for first in range(taps):
            chunk[first].first, chunk[first].step, chunk[first].tall = first, 1, 1
        return taps
    for phase in range(min(stride, taps)):
        count = (taps - phase + stride - 1) // stride
        left = (count + most - 1) // most
        first = phase
        while left > 0:
            tall = (count + left - 1) // left
            chunk[found].first, chunk[found].step, chunk[found].tall = first, stride, tall
            first += tall*stride
            count -= tall
            left -= 1
            found += 1
    return found


cdef inline void cut_tasks(Family* family, int threads) noexcept nogil:
    """Enough tasks for the threads, and strips of rows of one height (1024 rows were 51 strips of 20 and one of 4), as many
    for each thread if that takes few more of them (128^3 of float64 had 72 for one and 56 for the other: 3 % more); with
    32 tasks a thread one more is no matter."""
    cdef Job* whole = &family.whole
    cdef const Nest* nest = whole.nest
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t bundles = (nest.g + whole.groups - 1) // whole.groups, out = nest.axis[1].out
    cdef Py_ssize_t tasks = nest.n*bundles, strips = (out + whole.rows - 1) // whole.rows, deep = nest.axis[0].out
    cdef Py_ssize_t unit = LONE*LINE if whole.down else ROWS if whole.rows > 1 else 1
    cdef Py_ssize_t taps = nest.axis[0].taps, even, blocks = (deep + whole.deep - 1) // whole.deep
    family.unit, family.units = unit, (out + unit - 1) // unit
    while threads > 1 and ((whole.deep > 4*taps and tasks*strips*blocks < 4*threads)
                           or (whole.deep > taps and tasks*family.units*blocks < threads)):
        whole.deep = (whole.deep + 1) // 2
        blocks = (deep + whole.deep - 1) // whole.deep
    tasks *= blocks
    while threads > 1 and whole.rows > unit and tasks*strips < 4*threads:
        whole.rows = up(whole.rows // 2, unit)
        strips = (out + whole.rows - 1) // whole.rows
    even = strips
    while even*tasks % threads:
        even += 1
    if tasks*strips < 32*threads and even <= min(strips + max(strips // 4, <Py_ssize_t>1), family.units):
        strips = even
    whole.rows = (family.units + strips - 1) // strips*unit
    family.strips = strips
    tasks *= strips
    family.parts = 1
    if tasks < 4*threads:
        family.parts = max(<Py_ssize_t>1, min((b.out + whole.columns - 1) // whole.columns, 4*threads // max(tasks, 1)))
    family.tasks = tasks*family.parts
    family.alone = family.count == nest.m == 1 and whole.first and (whole.rows == 1 or whole.rows >= LONE)


cdef inline int gather_families(const Job* given, const Nest* nests, int count, int threads, Job* jobs,
                                Family* families) noexcept nogil:
    """The jobs of all nests, and how many families of neighbours they are."""
    cdef const Nest* nest
    cdef Family* family = families
    cdef int i, k, number = 0
    for i in range(count):
        if number and not given.down and alike(nests + i - 1, nests + i):
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


cdef inline bint pair(Family* family) noexcept nogil:
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


cdef inline bint unsafe(const Nest* nest, const real* w, char* found) noexcept nogil:
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


cdef inline Py_ssize_t furnish(Job* job, const Family* family, char* memory) noexcept nogil:
    """The job's own tables, in memory (NULL: none yet), and the bytes they take."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[1]
    cdef const Window* b = &nest.axis[2]
    cdef Py_ssize_t rows = family.nest.axis[1].offset - a.offset, columns = family.nest.axis[2].offset - b.offset
    cdef Py_ssize_t k, at, size
    cdef Py_ssize_t vectors = masks_of(b), v, most = TALLEST if NS > 2 else TALL
    cdef bint many = nest.axis[0].taps*a.taps*b.taps >= 36  # never in place under masks: the order of sums is the same
    job.loads = 0 if job.how == PLAIN else 2 if job.how == SECOND else 1
    job.mask = <vmask*>memory
    job.at = <Py_ssize_t*>(memory + up(b.taps*vectors*job.loads*<Py_ssize_t>sizeof(vmask), 8))
    job.chunk = <Chunk*>(job.at + 2*b.taps)
    job.block = job.chunk + a.taps
    job.unsafe_of = <char*>(job.block + (job.blocks if job.down else 0))
    size = up(<char*>job.unsafe_of - memory + nest.g*nest.m, V*sizeof(real))
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
        job.chunks = cut(job.chunk, a.taps, job.stride, job.dilation, most if many else TALL)
    if not job.down:
        return size
    job.turned, job.turned_size = <const real*>(memory + size), weights_size(nest)
    if memory != NULL:
        job.block_chunks = cut(job.block, job.blocks, 1, 1, most)
        for k in range(nest.g*nest.m):
            weights(nest, job.w + k // nest.m*nest.wg + k % nest.m*nest.wm,
                    <real*>job.turned + k*POINTS*job.turned_size)
    return size + up(nest.g*nest.m*POINTS*job.turned_size*<Py_ssize_t>sizeof(real), V*sizeof(real))
