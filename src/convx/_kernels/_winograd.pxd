"""What Winograd's layers and weight gradients share: tiles, strips, the transforms of tiles. (`_taps.pxd` has the weights,
`_products.pxd` the products.)

A tile has outs x outs outputs along the last two windows, and points x points products a channel; `_points.pxd` has the
table of both and the transforms of a line.
"""

from _real cimport real, V, MR, v_copy, v_transpose
from _nest cimport Nest, Window, locate
from _pack cimport copy, turn
from _taps cimport all_taps, fill
from _points cimport EVALUATE, Line, line_of, interpolate_lines, transform_lines

cdef enum:
    MOST_Q = 36     # products of a tile and channel
    TALL = 6        # rows of a strip
    RUN = 64        # columns of outputs whose tiles are transformed together: their strip stays in L1
    WIDE = RUN + 4  # columns of a strip
    CHUNK = 576     # taps of some input channels that are gathered together: so many where these are neighbours,
    FEW = 144       # else so many, which stay in L1 beside U (512 channels of 7 x 7 pixels: 1.1 times as fast)
    LIMIT = 12582912  # bytes of transformed arrays that exist at a time


ctypedef struct Job:
    const Nest* nest     # the first of the phases
    const real* x        # and w: the arrays' first elements, from which each phase has its own origin
    const real* w
    real* y
    const real* bias
    const real* u        # transformed weights of all groups, or NULL: made by the task
    real cval
    bint first
    Line line[2]         # of a tile, along o1 and o2
    Py_ssize_t phases, beside             # nests that are summed in each output; those that read the same rows
    Py_ssize_t q, run, chunk              # products of a tile and channel; tiles of a run; channels of CHUNK taps
    Py_ssize_t down, across, tiles        # tiles of a plane along o1 and o2; of all batches and planes
    Py_ssize_t kper, cper, kparts, cparts, slices, depth   # taps and channels of a slice, their parts; its most products
    Py_ssize_t row, plane, grain          # V: steps of a tile and of a product; tiles of a block


ctypedef struct Slice:
    const Nest* nest
    Py_ssize_t k0, k1, c0, c1


ctypedef struct Run:
    # Neighbouring tiles of one row of them, and how many of their rows and columns of outputs exist.
    Py_ssize_t n, o0, t1, t2, o1, o2, length, rows, columns


cdef inline Py_ssize_t odd_lines(Py_ssize_t count) noexcept nogil:
    """At least count values: an odd number of cache lines, so that such planes do not share a set of L1."""
    cdef Py_ssize_t line = 64 // <Py_ssize_t>sizeof(real)
    return ((count + line - 1) // line | 1)*line


cdef inline real* aligned(char* memory) noexcept nogil:
    return <real*>(memory + (64 - <Py_ssize_t>(<size_t>memory % 64)))


cdef inline Py_ssize_t begins(const Nest* nest) noexcept nogil:
    """Where the first output's first tap reads x, or would."""
    return nest.x0 - nest.axis[1].offset*nest.axis[1].xs - nest.axis[2].offset*nest.axis[2].xs


cdef inline bint whole_row(const Nest* nest, Py_ssize_t count, Nest* to) noexcept nogil:
    """The nest that reads whole rows where `count` phases read every count-th column of them; whether they do."""
    cdef Window* d = &to.axis[2]
    cdef Py_ssize_t step = nest.axis[2].xs // count, low = 0, high = 0, least = 0, most = 0, start, end, i
    for i in range(count):
        start = count*(nest[i].axis[2].offset - nest.axis[2].offset) + i
        end = start + count*nest[i].axis[2].size
        low = min(low, start)
        high = max(high, end)
        least = end if i == 0 else min(least, end)
        most = max(most, start)
        if (begins(nest + i) != begins(nest) + i*step or nest[i].axis[1].size != nest.axis[1].size
                or nest[i].axis[1].offset != nest.axis[1].offset):
            return False
    to[0] = nest[0]
    d.size, d.offset, d.xs = high - count + 1 - low, count*d.offset + low, step
    to.x0 += low*step
    return most - low < count and high - least < count


cdef inline Py_ssize_t beside(const Nest* nest, Py_ssize_t phases) noexcept nogil:
    """How many phases at a time read the same rows."""
    cdef Py_ssize_t step = begins(nest + 1) - begins(nest) if phases > 1 else 0, count, i
    cdef Nest wide
    if step == 0 or nest.axis[2].xs % step:
        return 1
    count = nest.axis[2].xs // step
    if count < 2 or phases % count:
        return 1
    for i in range(phases // count):
        if not whole_row(nest + i*count, count, &wide):
            return 1
    return count


cdef inline void survey(Job* job, const Nest* nest, Py_ssize_t phases, const Line* line, Py_ssize_t most) noexcept nogil:
    """What follows from the nests and their tiles alone, with slices of at most `most` products (if they fit a vector).
    """
    job.nest, job.phases, job.beside = nest, phases, beside(nest, phases)
    job.line[0], job.line[1] = line[0], line[1]
    job.q, job.run = line[0].points*line[1].points, RUN // line[1].outs
    if job.beside > 1:
        job.run = (WIDE // job.beside - line[1].taps + 1) // line[1].outs
    if job.run < 1:
        job.run, job.beside = RUN // line[1].outs, 1
    job.chunk = max((CHUNK if nest.wc == 1 else FEW) // all_taps(nest, phases), <Py_ssize_t>1)
    job.down = (nest.axis[1].out + line[0].outs - 1) // line[0].outs
    job.across = (nest.axis[2].out + line[1].outs - 1) // line[1].outs
    job.tiles = nest.n*nest.axis[0].out*job.down*job.across
    job.cparts = (nest.c + most - 1) // most
    job.cper = (nest.c + job.cparts - 1) // job.cparts
    job.kper = 1
    if job.cparts > 1:
        job.cper = (job.cper + V - 1) // V*V
        job.cparts = (nest.c + job.cper - 1) // job.cper
    else:
        job.kper = min(nest.axis[0].taps, most // job.cper)
    job.kparts = (nest.axis[0].taps + job.kper - 1) // job.kper
    job.slices = phases*job.kparts*job.cparts
    job.depth = job.kper*job.cper
    job.row = (job.depth + V - 1) // V*V + max(V, MR)
    job.u = NULL


cdef inline Py_ssize_t slice_at(const Job* job, Py_ssize_t number, Slice* to) noexcept nogil:
    """The slice of this number; returns its products."""
    to.c0 = number % job.cparts*job.cper
    to.c1 = min(to.c0 + job.cper, job.nest.c)
    to.k0 = number // job.cparts % job.kparts*job.kper
    to.k1 = min(to.k0 + job.kper, job.nest.axis[0].taps)
    to.nest = job.nest + number // (job.kparts*job.cparts)
    return (to.k1 - to.k0)*(to.c1 - to.c0)


cdef inline Py_ssize_t with_rows(const Job* job, Py_ssize_t number) noexcept nogil:
    """The first slice of those that are made together, since they read the same rows: there are slices // beside of them.
    """
    cdef Py_ssize_t each = job.kparts*job.cparts
    return number // each*each*job.beside + number % each


cdef inline void run_at(const Job* job, Py_ssize_t tile, Py_ssize_t most, Run* to) noexcept nogil:
    """The run that starts at a tile: to the end of its row, of RUN, or of `most`."""
    to.t2 = tile % job.across
    tile = tile // job.across
    to.t1 = tile % job.down
    tile = tile // job.down
    to.o0 = tile % job.nest.axis[0].out
    to.n = tile // job.nest.axis[0].out
    to.length = min(min(most, job.run), job.across - to.t2)
    to.o1, to.o2 = job.line[0].outs*to.t1, job.line[1].outs*to.t2
    to.rows = min(job.line[0].outs, job.nest.axis[1].out - to.o1)
    to.columns = min(job.line[1].outs*to.length, job.nest.axis[2].out - to.o2)


# ---- input

cdef inline void turn_row(real* to, const real* p, Py_ssize_t step, Py_ssize_t apart, Py_ssize_t columns) noexcept nogil:
    """V rows of `columns` values, which lie `apart`, become lanes; the last square overlaps the one before."""
    cdef Py_ssize_t j = 0, first, lane, count
    cdef real square[V*V]
    while apart != 1 and j < columns:
        first, count = max(min(j, columns - V), <Py_ssize_t>0), min(columns, <Py_ssize_t>V)
        for lane in range(V):
            copy(square + lane*V, p + lane*step + first*apart, apart, count)
        if count == V:
            v_transpose(to + first*V, V, square, V)
        else:
            turn(to, V, square, V, V, count)
        j += V
    if apart != 1:
        return
    if columns < V:
        turn(to, V, p, step, V, columns)
        return
    while j + V < columns:
        v_transpose(to + j*V, V, p + j, step)
        j += V
    v_transpose(to + (columns - V)*V, V, p + columns - V, step)


cdef inline void fill_row(const Job* job, const Nest* nest, const real* p, Py_ssize_t start, Py_ssize_t columns,
                          Py_ssize_t lanes, real* to) noexcept nogil:
    """One row of the strip: positions start .. start + columns of `lanes` channels, other lanes zero."""
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t low = min(max(<Py_ssize_t>0, -start), columns), high = max(min(columns, d.size - start), low)
    cdef Py_ssize_t j, i, lane
    if lanes < V:
        fill(to, 0, columns)
    if nest.xc != 1 and lanes == V:
        turn_row(to + low*V, p + (start + low)*d.xs, nest.xc, d.xs, high - low)
    elif nest.xc == 1:
        for j in range(low, high):
            v_copy(to + j*V, p + (start + j)*d.xs, lanes)
    else:
        for j in range(low, high):
            for lane in range(lanes):
                to[j*V + lane] = p[(start + j)*d.xs + lane*nest.xc]
    for j in range(columns):
        if low <= j and j < high:
            continue
        i = locate(d, start + j)
        for lane in range(lanes):
            to[j*V + lane] = job.cval if i < 0 else p[i*d.xs + lane*nest.xc]


cdef inline void fill_strip(const Job* job, const Nest* nest, const real* p, Py_ssize_t i0, const Run* run,
                            Py_ssize_t lanes, real* strip, const bint halo) noexcept nogil:
    """The rows under a run, as (row, column, lane). What no output asks for is zero."""
    cdef const Window* b = &nest.axis[1]
    cdef Py_ssize_t below = job.line[0].taps - 1 if halo else 0, beside = job.line[1].taps - 1 if halo else 0
    cdef Py_ssize_t j, i1, columns = job.beside*(run.columns + beside)
    for j in range(job.line[0].outs + below):
        fill(strip + (j*WIDE + columns)*V, 0, job.beside*(job.line[1].outs*run.length + beside) - columns)
        if j >= run.rows + below:
            fill(strip + j*WIDE*V, 0, columns)
            continue
        i1 = locate(b, run.o1 + j - b.offset)
        if i0 < 0 or i1 < 0:
            fill(strip + j*WIDE*V, job.cval, columns)
        else:
            fill_row(job, nest, p + i1*b.xs, job.beside*run.o2 - nest.axis[2].offset, columns, lanes, strip + j*WIDE*V)


cdef inline bint inside(const Job* job, const Nest* nest, const Run* run, const bint halo) noexcept nogil:
    """Whether a run has all its outputs and all that they read lies inside x."""
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t i1 = run.o1 - b.offset, i2 = job.beside*run.o2 - d.offset
    cdef Py_ssize_t rows = job.line[0].outs, columns = job.line[1].outs*run.length
    return (run.rows == rows and run.columns == columns and i1 >= 0 and i2 >= 0
            and i1 + rows + (job.line[0].taps - 1 if halo else 0) <= b.size
            and i2 + job.beside*(columns + (job.line[1].taps - 1 if halo else 0)) <= d.size)


cdef inline void to_points(const Line* line, const real* p, Py_ssize_t step, Py_ssize_t next, real* to,
                           Py_ssize_t to_step, Py_ssize_t to_next, Py_ssize_t count, const bint x) noexcept nogil:
    """Lines of x under a tile, or of dy, at the points."""
    if x:
        interpolate_lines(line, p, step, next, to, to_step, to_next, count)
    else:
        transform_lines(EVALUATE, line.points, line.outs, p, step, next, to, to_step, to_next, count, False)


cdef inline void transform_tiles(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t number,
                                 real* strip, real* to, const bint x) noexcept nogil:
    """`count` tiles of x, or of dy, in a slice (and those `beside` it) at the points: (point, tile, product). Columns
    first: they serve two tiles of x."""
    cdef const Line* down = &job.line[0]
    cdef const Line* across = &job.line[1]
    cdef Py_ssize_t k0, i0, c, t, i, row_step, step, done = 0, each = job.kparts*job.cparts*job.q*job.plane
    cdef const real* p
    cdef const real* source
    cdef real* line
    cdef Slice part
    cdef Run run
    cdef Nest wide
    slice_at(job, number, &part)
    cdef const Nest* nest = part.nest
    if job.beside > 1:
        whole_row(part.nest, job.beside, &wide)
        nest = &wide
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    while done < count:
        run_at(job, tile + done, count - done, &run)
        for k0 in range(part.k0, part.k1):
            i0 = locate(a, a.stride*run.o0 + a.dilation*k0 - a.offset)
            c = part.c0
            while c < part.c1:
                p = job.x + nest.x0 + run.n*nest.xn + g*nest.xg + c*nest.xc + max(i0, <Py_ssize_t>0)*a.xs
                source, row_step, step = strip, WIDE*V, V
                if nest.xc == 1 and c + V <= part.c1 and i0 >= 0 and inside(job, nest, &run, x):
                    source, row_step, step = p + (run.o1 - b.offset)*b.xs + (job.beside*run.o2 - d.offset)*d.xs, b.xs, d.xs
                else:
                    fill_strip(job, nest, p, i0, &run, min(<Py_ssize_t>V, part.c1 - c), strip, x)
                if down.points > 1:
                    to_points(down, source, row_step, step, strip, WIDE*V, V,
                              job.beside*(across.outs*run.length + (across.taps - 1 if x else 0)), x)
                    source, row_step, step = strip, WIDE*V, V
                # lanes beyond the last channel are zero; the next tap's first channels are stored over them
                for i in range(job.beside):
                    line = to + i*each + done*job.row + (k0 - part.k0)*(part.c1 - part.c0) + c - part.c0
                    for t in range(run.length):
                        to_points(across, source + (job.beside*across.outs*t + i)*step, job.beside*step, row_step, line,
                                  job.plane, across.points*job.plane, down.points, x)
                        line += job.row
                c += V
        done += run.length
