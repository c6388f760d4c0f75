"""What Winograd's layers and weight gradients share: tiles, the transforms of their lines, strips, the products.

Interpolation points 0, +-a, +-b and infinity, a = 5/8, b = 3/2. For 4 outputs of 3 taps y = AT ((G w) * (BT x)); the
same trilinear form read for the taps is dw = GT ((A dy) * (BT x)): 3 outputs of 4 taps from the same tile of x.
"""

from _real cimport real, vreal, V, MR, v_load, v_store, v_set, v_copy, v_transpose
from _nest cimport Nest, Window, locate
from _pack cimport NV, copy, turn

cdef enum:
    Q = 36          # products of a tile and channel
    RUN = 16        # neighbouring tiles that are transformed together: their strip stays in L1
    WIDE = 4*RUN + 2
    CHUNK = 64      # input channels whose weights are gathered together
    LIMIT = 12582912  # bytes of transformed arrays that exist at a time


ctypedef struct Job:
    const Nest* nest
    const real* x
    const real* w
    real* y
    const real* bias
    const real* u        # transformed weights of all groups, or NULL: made by the task
    real cval
    bint first
    Py_ssize_t down, across, tiles        # tiles of a plane along o1 and o2; of all batches and planes
    Py_ssize_t kper, cper, cparts, slices, depth   # taps and channels of a slice, their number, its most products
    Py_ssize_t row, plane, grain          # V: steps of a tile and of a product; tiles of a block


ctypedef struct Slice:
    Py_ssize_t k0, k1, c0, c1


ctypedef struct Run:
    # Neighbouring tiles of one row of them, and how many of the 4 rows and 4*length columns of outputs exist.
    Py_ssize_t n, o0, t1, t2, length, rows, columns


cdef inline Py_ssize_t odd_lines(Py_ssize_t count) noexcept nogil:
    """At least count values: an odd number of cache lines, so that 36 such planes do not share a set of L1."""
    cdef Py_ssize_t line = 64 // <Py_ssize_t>sizeof(real)
    return ((count + line - 1) // line | 1)*line


cdef inline void survey(Job* job, const Nest* nest, Py_ssize_t most) noexcept nogil:
    """What follows from the nest alone, with slices of at most `most` products (if they fit a vector)."""
    job.nest = nest
    job.down = (nest.axis[1].out + 3) // 4
    job.across = (nest.axis[2].out + 3) // 4
    job.tiles = nest.n*nest.axis[0].out*job.down*job.across
    job.cparts = (nest.c + most - 1) // most
    job.cper = (nest.c + job.cparts - 1) // job.cparts
    job.kper = 1
    if job.cparts > 1:
        job.cper = (job.cper + V - 1) // V*V
        job.cparts = (nest.c + job.cper - 1) // job.cper
    else:
        job.kper = min(nest.axis[0].taps, most // job.cper)
    job.slices = (nest.axis[0].taps + job.kper - 1) // job.kper*job.cparts
    job.depth = job.kper*job.cper
    job.row = (job.depth + V - 1) // V*V + max(V, MR)
    job.u = NULL


cdef inline Py_ssize_t slice_at(const Job* job, Py_ssize_t number, Slice* to) noexcept nogil:
    """The slice of this number; returns its products."""
    to.c0 = number % job.cparts*job.cper
    to.c1 = min(to.c0 + job.cper, job.nest.c)
    to.k0 = number // job.cparts*job.kper
    to.k1 = min(to.k0 + job.kper, job.nest.axis[0].taps)
    return (to.k1 - to.k0)*(to.c1 - to.c0)


cdef inline void run_at(const Job* job, Py_ssize_t tile, Py_ssize_t most, Run* to) noexcept nogil:
    """The run that starts at a tile: to the end of its row, of RUN, or of `most`."""
    to.t2 = tile % job.across
    tile = tile // job.across
    to.t1 = tile % job.down
    tile = tile // job.down
    to.o0 = tile % job.nest.axis[0].out
    to.n = tile // job.nest.axis[0].out
    to.length = min(min(most, <Py_ssize_t>RUN), job.across - to.t2)
    to.rows = min(<Py_ssize_t>4, job.nest.axis[1].out - 4*to.t1)
    to.columns = min(4*to.length, job.nest.axis[2].out - 4*to.t2)


# ---- the transforms of a line of vectors

cdef inline void input_line(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step) noexcept nogil:
    """to = BT p: six vectors, p and to may be the same."""
    cdef real a = 0.625, b = 1.5, aa = 0.390625, bb = 2.25, product = 0.87890625, total = 2.640625
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step)
    cdef vreal z3 = v_load(p + 3*step), z4 = v_load(p + 4*step), z5 = v_load(p + 5*step)
    cdef vreal even = z4 - z2*bb, odd = z3 - z1*bb
    v_store(to, z4 + z0*product - z2*total)
    v_store(to + to_step, even + odd*a)
    v_store(to + 2*to_step, even - odd*a)
    even = z4 - z2*aa
    odd = z3 - z1*aa
    v_store(to + 3*to_step, even + odd*b)
    v_store(to + 4*to_step, even - odd*b)
    v_store(to + 5*to_step, z5 + z1*product - z3*total)


cdef inline void weight_line(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step) noexcept nogil:
    """to = G p: three vectors become six."""
    cdef real one = 1/0.87890625, a0 = 1/(2*0.390625*(0.390625 - 2.25)), b0 = 1/(2*2.25*(2.25 - 0.390625))
    cdef real a1 = 0.625/(2*0.390625*(0.390625 - 2.25)), b1 = 1.5/(2*2.25*(2.25 - 0.390625))
    cdef real a2 = 0.5/(0.390625 - 2.25), b2 = 0.5/(2.25 - 0.390625)
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step)
    cdef vreal even = z0*a0 + z2*a2, odd = z1*a1
    v_store(to, z0*one)
    v_store(to + to_step, even + odd)
    v_store(to + 2*to_step, even - odd)
    even = z0*b0 + z2*b2
    odd = z1*b1
    v_store(to + 3*to_step, even + odd)
    v_store(to + 4*to_step, even - odd)
    v_store(to + 5*to_step, z2)


cdef inline void output_line(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step) noexcept nogil:
    """to = AT p: six vectors become four."""
    cdef real a = 0.625, b = 1.5, aa = 0.390625, bb = 2.25, aaa = 0.244140625, bbb = 3.375
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step)
    cdef vreal z3 = v_load(p + 3*step), z4 = v_load(p + 4*step), z5 = v_load(p + 5*step)
    cdef vreal pa = z1 + z2, ma = z1 - z2, pb = z3 + z4, mb = z3 - z4
    v_store(to, z0 + pa + pb)
    v_store(to + to_step, ma*a + mb*b)
    v_store(to + 2*to_step, pa*aa + pb*bb)
    v_store(to + 3*to_step, ma*aaa + mb*bbb + z5)


cdef inline void gradient_line(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step) noexcept nogil:
    """to = A p: four vectors become six, p and to may be the same."""
    cdef real a = 0.625, b = 1.5, aa = 0.390625, bb = 2.25, aaa = 0.244140625, bbb = 3.375
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step), z3 = v_load(p + 3*step)
    cdef vreal even = z0 + z2*aa, odd = z1*a + z3*aaa
    v_store(to, z0)
    v_store(to + to_step, even + odd)
    v_store(to + 2*to_step, even - odd)
    even = z0 + z2*bb
    odd = z1*b + z3*bbb
    v_store(to + 3*to_step, even + odd)
    v_store(to + 4*to_step, even - odd)
    v_store(to + 5*to_step, z3)


cdef inline void taps_line(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step) noexcept nogil:
    """to = GT p: six vectors become three."""
    cdef real one = 1/0.87890625, a0 = 1/(2*0.390625*(0.390625 - 2.25)), b0 = 1/(2*2.25*(2.25 - 0.390625))
    cdef real a1 = 0.625/(2*0.390625*(0.390625 - 2.25)), b1 = 1.5/(2*2.25*(2.25 - 0.390625))
    cdef real a2 = 0.5/(0.390625 - 2.25), b2 = 0.5/(2.25 - 0.390625)
    cdef vreal z0 = v_load(p), z1 = v_load(p + step), z2 = v_load(p + 2*step)
    cdef vreal z3 = v_load(p + 3*step), z4 = v_load(p + 4*step), z5 = v_load(p + 5*step)
    cdef vreal pa = z1 + z2, pb = z3 + z4
    v_store(to, z0*one + pa*a0 + pb*b0)
    v_store(to + to_step, (z1 - z2)*a1 + (z3 - z4)*b1)
    v_store(to + 2*to_step, pa*a2 + pb*b2 + z5)


# ---- input

cdef inline void fill(real* to, real value, Py_ssize_t columns) noexcept nogil:
    cdef Py_ssize_t j
    for j in range(columns):
        v_store(to + j*V, v_set(value))


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


cdef inline void fill_row(const Job* job, const real* p, Py_ssize_t start, Py_ssize_t columns, Py_ssize_t lanes,
                   real* to) noexcept nogil:
    """One row of the strip: positions start .. start + columns of `lanes` channels, other lanes zero."""
    cdef const Nest* nest = job.nest
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


cdef inline void fill_strip(const Job* job, const real* p, Py_ssize_t i0, const Run* run, Py_ssize_t lanes,
                            real* strip, const int halo) noexcept nogil:
    """The rows under a run, as (row, column, lane). What no output asks for is zero."""
    cdef const Window* b = &job.nest.axis[1]
    cdef Py_ssize_t j, i1, columns = run.columns + halo
    for j in range(4 + halo):
        fill(strip + (j*WIDE + columns)*V, 0, 4*run.length + halo - columns)
        if j >= run.rows + halo:
            fill(strip + j*WIDE*V, 0, columns)
            continue
        i1 = locate(b, 4*run.t1 + j - b.offset)
        if i0 < 0 or i1 < 0:
            fill(strip + j*WIDE*V, job.cval, columns)
        else:
            fill_row(job, p + i1*b.xs, 4*run.t2 - job.nest.axis[2].offset, columns, lanes, strip + j*WIDE*V)


cdef inline bint inside(const Job* job, const Run* run, const int halo) noexcept nogil:
    """Whether a run has all its outputs and all that they read lies inside x."""
    cdef const Window* b = &job.nest.axis[1]
    cdef const Window* d = &job.nest.axis[2]
    cdef Py_ssize_t i1 = 4*run.t1 - b.offset, i2 = 4*run.t2 - d.offset
    return (run.rows == 4 and run.columns == 4*run.length and i1 >= 0 and i1 + 4 + halo <= b.size
            and i2 >= 0 and i2 + 4*run.length + halo <= d.size)


cdef inline void to_points(const real* p, Py_ssize_t step, real* to, Py_ssize_t to_step, const int halo) noexcept nogil:
    """A line of a tile at the six points: 6 values of x (halo 2), or 4 of dy (halo 0)."""
    if halo:
        input_line(p, step, to, to_step)
    else:
        gradient_line(p, step, to, to_step)


cdef inline void transform_tiles(const Job* job, Py_ssize_t g, Py_ssize_t tile, Py_ssize_t count, Py_ssize_t number,
                                 real* strip, real* to, const int halo) noexcept nogil:
    """`count` tiles in a slice at the 36 points: (36, tile, product). Columns first: they serve two tiles of x."""
    cdef const Nest* nest = job.nest
    cdef const Window* a = &nest.axis[0]
    cdef const Window* b = &nest.axis[1]
    cdef const Window* d = &nest.axis[2]
    cdef Py_ssize_t k0, i0, c, j, t, row_step, step, done = 0
    cdef const real* p
    cdef const real* source
    cdef real* line
    cdef Slice part
    cdef Run run
    slice_at(job, number, &part)
    while done < count:
        run_at(job, tile + done, count - done, &run)
        for k0 in range(part.k0, part.k1):
            i0 = locate(a, a.stride*run.o0 + a.dilation*k0 - a.offset)
            c = part.c0
            while c < part.c1:
                p = job.x + run.n*nest.xn + g*nest.xg + c*nest.xc + max(i0, <Py_ssize_t>0)*a.xs
                source, row_step, step = strip, WIDE*V, V
                if nest.xc == 1 and c + V <= part.c1 and i0 >= 0 and inside(job, &run, halo):
                    source, row_step, step = p + (4*run.t1 - b.offset)*b.xs + (4*run.t2 - d.offset)*d.xs, b.xs, d.xs
                else:
                    fill_strip(job, p, i0, &run, min(<Py_ssize_t>V, part.c1 - c), strip, halo)
                for j in range(4*run.length + halo):
                    to_points(source + j*step, row_step, strip + j*V, WIDE*V, halo)
                # lanes beyond the last channel are zero; the next tap's first channels are stored over them
                line = to + done*job.row + (k0 - part.k0)*(part.c1 - part.c0) + c - part.c0
                for t in range(run.length):
                    for j in range(6):
                        to_points(strip + (j*WIDE + 4*t)*V, V, line + 6*j*job.plane, job.plane, halo)
                    line += job.row
                c += V
        done += run.length


# ---- weights

ctypedef struct Order:
    # How the nine taps of a channel are kept: tap (k1, k2) is number first + k1*s1 + k2*s2.
    Py_ssize_t first, s1, s2
    bint adjoin   # as in memory, where they are neighbours


cdef inline void order_taps(const Nest* nest, Order* to) noexcept nogil:
    cdef Py_ssize_t r = nest.axis[1].ws, s = nest.axis[2].ws
    to.first, to.s1, to.s2 = 0, 3, 1
    to.adjoin = nest.wm != 1 and -3 <= r <= 3 and -3 <= s <= 3 and r*r + s*s == 10
    if to.adjoin:
        to.first, to.s1, to.s2 = -min(2*r, <Py_ssize_t>0) - min(2*s, <Py_ssize_t>0), r, s


cdef inline void gather(const Nest* nest, const Order* order, const real* w, Py_ssize_t lanes, Py_ssize_t channels,
                        real* to) noexcept nogil:
    """The nine taps of some channels as (channel, 9, lane of m)."""
    cdef Py_ssize_t c, k, lane
    cdef const real* p
    if lanes < V:
        fill(to, 0, 9*channels)
    if order.adjoin:
        if nest.wc == 9:
            turn(to, V, w - order.first, nest.wm, lanes, 9*channels)
        else:
            for c in range(channels):
                turn(to + 9*c*V, V, w - order.first + c*nest.wc, nest.wm, lanes, 9)
        return
    for k in range(9):
        p = w + k // 3*nest.axis[1].ws + k % 3*nest.axis[2].ws
        if nest.wm == 1:
            for c in range(channels):
                v_copy(to + (9*c + k)*V, p + c*nest.wc, lanes)
        elif nest.wc == 1:
            turn(to + k*V, 9*V, p, nest.wm, lanes, channels)
        else:
            for c in range(channels):
                for lane in range(lanes):
                    to[(9*c + k)*V + lane] = p[c*nest.wc + lane*nest.wm]


cdef inline void scatter(const Nest* nest, const Order* order, const real* taps, Py_ssize_t lanes, Py_ssize_t channels,
                         real* w) noexcept nogil:
    """What `gather` would have read."""
    cdef Py_ssize_t c, k, lane
    cdef real* p
    if order.adjoin:
        if nest.wc == 9:
            turn(w - order.first, nest.wm, taps, V, 9*channels, lanes)
        else:
            for c in range(channels):
                turn(w - order.first + c*nest.wc, nest.wm, taps + 9*c*V, V, 9, lanes)
        return
    for k in range(9):
        p = w + k // 3*nest.axis[1].ws + k % 3*nest.axis[2].ws
        if nest.wm == 1:
            for c in range(channels):
                v_copy(p + c*nest.wc, taps + (9*c + k)*V, lanes)
        elif nest.wc == 1:
            turn(p, nest.wm, taps + k*V, 9*V, channels, lanes)
        else:
            for c in range(channels):
                for lane in range(lanes):
                    p[c*nest.wc + lane*nest.wm] = taps[(9*c + k)*V + lane]


# ---- products

cdef inline void product(Py_ssize_t kc, const real* v, Py_ssize_t row, Py_ssize_t count, const real* u,
                         Py_ssize_t step, real* p, bint add, const int nv, const bint turned) noexcept nogil:
    """p (count rows x nv vectors) = or += v times u (kc x nv vectors, `step` apart), MR rows at a time.

    v has `count` rows of kc products, `row` apart; or, turned, kc rows of `count`. A short last group repeats the last
    row, or reads on behind it; p has room for it.
    """
    cdef vreal acc[MR][NV]
    cdef vreal uv[NV]
    cdef const real* a[MR]
    cdef const real* at
    cdef const real* b
    cdef Py_ssize_t t, k
    cdef int i, j
    for t in range((count + MR - 1) // MR):
        at = v + t*MR
        for i in range(MR):
            a[i] = v + min(t*MR + i, count - 1)*row
            for j in range(nv):
                acc[i][j] = v_set(0)
        b = u
        for k in range(kc):
            for j in range(nv):
                uv[j] = v_load(b + j*V)
            for i in range(MR):
                for j in range(nv):
                    acc[i][j] += uv[j] * (at[i] if turned else a[i][k])
            b += step
            if turned:
                at += row
        if add:
            for i in range(MR):
                for j in range(nv):
                    acc[i][j] += v_load(p + (i*nv + j)*V)
        for i in range(MR):
            for j in range(nv):
                v_store(p + (i*nv + j)*V, acc[i][j])
        p += MR*nv*V


cdef inline void products(Py_ssize_t kc, const real* v, Py_ssize_t row, Py_ssize_t count, const real* u,
                          Py_ssize_t step, Py_ssize_t width, real* p, bint add, const bint turned) noexcept nogil:
    """`product` with a panel of any width; step: of u, or 0 for panels of their own."""
    if width == 3*V:
        product(kc, v, row, count, u, step or 3*V, p, add, 3, turned)
    elif width == 2*V:
        product(kc, v, row, count, u, step or 2*V, p, add, 2, turned)
    else:
        product(kc, v, row, count, u, step or V, p, add, 1, turned)


cdef inline real* aligned(char* memory) noexcept nogil:
    return <real*>(memory + (64 - <Py_ssize_t>(<size_t>memory % 64)))
